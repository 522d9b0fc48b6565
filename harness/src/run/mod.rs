//! A run on real processes.

pub mod client;
