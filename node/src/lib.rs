//! The real node: drives `hearsay-core` with tokio, quinn, rustls and a store on disk. Also the client library, the
//! certificates of a cluster, and the command line around them.
//!
//! ```text
//! cli -> config, certificates -> node -> driver -> Replica (hearsay-core)
//!                                          |  \-> commit -> store (redb)
//!                                          \----> transport: links, lanes, requests (quinn, rustls)
//! client -> transport's other side
//! ```
//!
//! Invariants:
//! - *Durable first*: nothing that states a fact leaves before that fact is on the disk (`driver`, `commit`, `release`).
//! - Who speaks is proven by its certificate, and refused before it can open a stream (`tls`, `names`, `transport`).
//! - Everything that waits has a bound, and everything dropped or refused has a counter.
//! - One current-thread runtime and two commit threads, and now and then one that brings a full journal into the table.

pub mod certificates;
pub mod cli;
pub mod client;
mod clock;
pub mod clock_correction;
mod commit;
pub mod config;
pub mod counters;
mod driver;
mod group;
mod journal;
pub mod logs;
pub mod names;
pub mod node;
mod release;
mod store;
mod table;
pub mod tls;
mod transport;

pub use store::StoreError;
