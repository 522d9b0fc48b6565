//! Tests of whole replicas: tables of (inputs -> outputs) for one, and simulated clusters of several.

mod broadcast;
mod cluster;
mod dcc;
mod dcc_nemesis;
mod hints;
mod levels;
mod metadata;
mod nemesis;
#[cfg(feature = "planted-bugs")]
mod planted;
mod protocol;
mod read_repair;
mod ring;
mod scans;
mod single;
mod sloppy;
