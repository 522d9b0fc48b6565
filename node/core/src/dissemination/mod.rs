//! How news spreads: application broadcasts and cluster metadata, by the protocol that the configuration selects.
//!
//! ```text
//!      publish        peer messages       links        time
//!          \               |                |           /
//!           +---------- Dissemination::handle ---------+
//!           |   membership: full | hyparview           |   whom to talk to
//!           |   protocol: direct | periodic | rumor |  |   how news travels
//!           |             tree | plumtree              |
//!           |   exchange: digests, behind all of them  |   what was missed arrives
//!           |   log: what was received, what is held   |   at most once, bounded
//!           +---------------- Effects -----------------+
//! ```
//!
//! A layer of its own: no I/O, no clock, time and chance are inputs. The replica embeds it, and a light simulation drives ten
//! thousand of them.
//!
//! Invariants:
//! - A message is delivered at most once by a node, as long as its origin is among the [`log::WINDOWS_MAX`] last heard.
//! - Every table and queue is bounded; what is beyond a bound is dropped and counted, never refused with a panic.
//! - Messages between two nodes are taken to arrive in order while their link is up, as QUIC streams bring them.
//!
//! Left out: encryption of payloads, topics (one group, the cluster), total or causal order, flow control of publishers.

mod chance;
mod config;
mod counters;
mod direct;
mod exchange;
mod layer;
pub mod log;
mod membership;
mod message;
mod periodic;
mod plumtree;
mod protocol;
mod rumor;
#[cfg(test)]
pub(crate) mod tests;
mod tree;

pub use config::{
    BroadcastKind, Direction, DisseminationConfig, ExchangeConfig, HyParViewConfig, Interest, LossBy, MembershipKind,
    PlumtreeConfig, RumorConfig, TreeConfig,
};
pub use counters::DisseminationCounters;
pub use layer::{Delivery, Dissemination, DisseminationInput, Effects};
pub use membership::Peers;
pub use message::{
    DisseminationMessage, ExchangeMessage, HyParViewMessage, Message, MessageId, Payload, PlumtreeMessage, Priority,
    RumorMessage,
};
