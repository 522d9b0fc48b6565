//! The deterministic simulator: the same plan in one process on virtual time, bit-identical per seed.
//!
//! ```text
//!            clients, nemesis, proofs, convergence          (run, nemesis, faults, clients)
//!                              |
//!   world: events by (time, sequence) -> nodes, links, disks -> rolling hash
//!                              |
//!     node = hearsay_core::Replica + disk + outputs that wait for the disk + its links
//! ```
//!
//! What is shared with runs on real processes: plan, client state machine, what proves a healing, what counts as
//! converged, formats of the store, checkers, report, exit codes. What stands in for the real thing is here: connections
//! and streams ([`connection`], [`links`]), bad links ([`bad_links`]), disks ([`disk`]), processes ([`node`]), the firewall and signals ([`faults`]).
//!
//! Invariants:
//! - No clock, no thread, no ambient randomness: equal plans and settings give equal runs, to the bit.
//! - Every random draw comes from a stream named by its purpose and its object ([`streams`]).
//! - *Durable first* holds by construction: what an output sends waits until its batch is synced ([`node`]).
//!
//! Left out: the time that computing takes, congestion windows, limits on accepted connections, logs of
//! transport refusals (certificates and configurations always fit here).

mod bad_links;
mod clients;
mod connection;
mod disk;
mod disk_faults;
mod event_queue;
mod events;
mod faults;
pub mod lanes;
mod leave;
mod links;
mod nemesis;
mod node;
mod noise;
mod ring;
mod run;
mod run_hash;
mod settings;
mod stage;
mod streams;
mod tape;
#[cfg(test)]
mod tests;
mod wire;
mod world;

pub(crate) use event_queue::turn_bare_queue;
pub use events::{Events, LoggedEvent};
pub use run::{Simulated, simulate, simulate_with};
pub use run_hash::Watch;
pub use settings::{ClockSettings, DiskSettings, LinkSettings, Settings};
pub(crate) use stage::SimulatedCluster;
pub use tape::{Hindrance, Note, Parcel, Say, Tape, What};
