//! The Hearsay node as a pure state machine.
//!
//! Everything goes in and out as data: a driver (the real node, or the simulator) feeds [`Input`]s with the current
//! [`Now`] into a [`Replica`] and carries out the [`Output`]. The crate is `no_std`: the compiler itself keeps out
//! clocks, sockets, threads and randomly seeded hash maps.
//!
//! Invariants:
//! - *Durable first*: a driver makes `Output::durable` durable before it releases `send` and `reply` of that output
//!   **and of every later output** (outputs are released in the order they were made).
//! - Equal inputs in equal order give equal outputs, on any machine.
//! - Input from outside yields errors and counters, never a panic. Broken own invariants assert, in release too.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod anti_entropy;
mod api;
mod broadcast_host;
pub mod causal;
mod cluster;
mod cluster_options;
pub mod codec;
mod config;
mod coordinator;
mod counters;
mod dcc;
pub mod dissemination;
mod failure_detector;
mod hints;
mod io;
mod marks;
pub mod merkle;
pub mod message;
pub mod metadata;
mod metadata_host;
mod overlay_report;
mod planted;
mod repair;
mod replica;
pub mod ring;
mod rng;
mod status;
mod store;
mod store_codec;
mod sync_host;
pub mod table;
#[cfg(test)]
mod tests;
mod timers;
mod traffic;
mod types;

pub use api::{
    ClientError, ClientErrorKind, ClientRequest, ClientResponse, Delivered, KeyBound, KeyRange, KnownMember, Level,
    LocalEntry, NodeOption, PeerStatus, ReadOptions, RepairReport, Row, StatusReport, WriteOptions,
};
pub use cluster::Cluster;
pub use config::{ClusterConfig, ConfigError, Conflict, Detection, Hints, ReadRepair};
pub use io::{Event, Input, Lane, Link, Output, RecoveredState, RequestId, Send, WriteBatch};
pub use marks::{Mark, Marks, Reach};
pub use overlay_report::{OverlayBroadcast, OverlayPeer, OverlayReport};
#[cfg(feature = "planted-bugs")]
pub use planted::Bug;
pub use planted::Planted;
pub use replica::Replica;
pub use store_codec::{stored_key, stored_version};
pub use traffic::{MessageKind, SentTraffic};
pub use types::{Key, NodeId, Now, Time, Value, Version, WallTime};
