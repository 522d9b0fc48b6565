//! Causality: bitmap version vectors and dotted causal containers, the conflict policy `dcc`.
//!
//! Source: Gonçalves, Almeida, Baquero, Fonte, *DottedDB: Anti-Entropy without Merkle Trees, Deletes without Tombstones*
//! (SRDS 2017) and *Concise Server-Wide Causality Management for Eventually Consistent Data Stores* (DAIS 2015); *Database
//! Internals*, chapter 12.
//!
//! ```text
//! dot        who wrote, and their how manieth write it was
//! vector     per actor: all dots up to here
//! clock      per actor: all dots up to a base, and single ones above it (the bitmap). What a *node* has accounted for
//! container  per key: dot -> value, and the vector of all dots of this key that were ever seen: the rest is overwritten
//! context    what a client has seen of a key, to be sent with its next write
//! dot log    dot -> key: what to send to a node whose clock lacks the dot
//! watermarks per neighbour: the clock it was last heard to have. What all know need not be logged
//! ```
//!
//! `store` binds them together, `exchange` brings two stores up to date with each other.
//!
//! Invariant that all of it serves: *a node's clock holds a dot only if the node has accounted for it*: the dot's key is not its
//! own, or its container holds the dot's value, or that value is known to be overwritten.

mod actor;
mod clock;
pub(crate) mod codec;
mod container;
mod context;
mod dot_log;
mod exchange;
#[cfg(test)]
pub(crate) mod exchange_tests;
mod message;
#[cfg(test)]
pub(crate) mod model_tests;
#[cfg(test)]
mod reference_tests;
mod store;
mod vector;
mod watermarks;

pub use actor::{ActorId, Dot};
pub use clock::NodeClock;
pub use codec::CausalContent;
pub use container::Container;
pub use context::{CausalContext, ContextError};
pub use dot_log::DotLog;
pub use exchange::{ANSWER_TIMEOUT_MS, CLOCK_WORDS_MAX, ExchangeMessage, ExchangeOutcome, Exchanges, Reaction};
pub use message::{CausalAnswer, CausalMessage};
pub use store::{CausalConfig, CausalCounters, CausalStore, SIBLINGS_MAX, Update, WriteRefused};
pub use vector::VersionVector;
pub use watermarks::Watermarks;
