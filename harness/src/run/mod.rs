//! A run on real processes.

pub mod client;
pub mod convergence;
pub mod proof;
