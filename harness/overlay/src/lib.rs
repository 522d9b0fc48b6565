//! Dissemination alone, simulated: the gossip layer of `hearsay_core`, ten thousand nodes of it in one process.
//!
//! ```text
//! tables, scenarios: what the papers and a peer measured
//!    |
//! cycles: synchronous cycles, as the 1987 paper counts      world: virtual time, latencies, kills, cuts
//!    |                                                        |
//!    +------------ hearsay_core::dissemination --------------+
//! ```
//!
//! The big simulator of the harness runs whole nodes with disks, clients and a network; this one has messages with latencies, links
//! that break and are noticed late, and nothing else. It is what makes 10,000 nodes cost a second.
//!
//! Invariants: no clock, no thread, no ambient chance: a seed gives the same run to the bit. Messages between two nodes
//! arrive in order, as QUIC streams bring them: the latency of a pair is drawn once.

mod cycles;
mod graph;
pub mod pictures;
pub mod scenarios;
mod schedule;
pub mod tables;
pub mod ways;
mod world;

pub use cycles::{Outcome, Trial, trial};
pub use graph::{Shape, components, components_of, shape};
pub use world::{Spread, World, WorldConfig};
