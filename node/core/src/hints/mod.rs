//! What a node keeps for others that are out of reach, and how it hands it over.
//!
//! ```text
//!  a replica is held for dead, or did not acknowledge in time          its stand-in took the write
//!                         | (hints: coordinator)                            | (sloppy: true)
//!                         v                                                v
//!                    Kind::Hint ------------> queue of the owner <---- Kind::StandIn
//!                                                  |  owner not held for dead
//!                                                  v
//!                         batch in flight --acknowledged as durable--> removed
//!                           ^       | no answer in time: wait twice as long
//!                           +-------+
//! ```
//!
//! Two ways to one queue. A *hint* is kept by the coordinator of a write and counts toward no level but `any`. A *stand-in's
//! copy* is kept by the next node on the ring with the name of the replica it stands in for; it counts toward W and is read
//! meanwhile. Both lie apart from the node's own data, under a prefix of their own, and survive restarts.
//!
//! Invariants:
//! - One record for each (owner, key): the greatest version. So the order of handing over can't matter.
//! - A record is removed only when its owner has acknowledged *that* version as durable, or at the end of its time.
//! - A record lives at most as long as a tombstone (the lesser of the grace when it was made and the grace now), counted from
//!   the stamp of its version: what was deleted meanwhile can't come back by it.
//! - The queue of each owner is bounded in bytes. A full one drops hints and refuses stand-ins' copies; it never fails a write.
//! - At most one batch per owner is in flight, and the rate is bounded.
//!
//! Source: *Database Internals*, chapter 12, "Hinted handoff" and "Sloppy quorums"; the window and the time to live are
//! Cassandra's, the stand-ins Dynamo's and Riak's.
//!
//! When the ring changes, what is kept for nodes that are no owners of its key any more goes on to those that are.
//!
//! Left out: a copy whose owner stays away for the whole grace is dropped with a warning, as a hint is.

mod hand_over;
mod queue;
#[cfg(test)]
mod tests;

pub(crate) use hand_over::HandOver;
pub(crate) use queue::{Held, HintQueues, Kind, Put};
