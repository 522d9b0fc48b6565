//! Cluster metadata: a small versioned map that every node holds, and that becomes equal on all of them.
//!
//! ```text
//!   name            record                                          who changes it
//!   member n7       state, incarnation, tokens, address | gone      n7; the failure mark: anybody
//!   option x.y      value, version, origin                          any node, at a client's request
//! ```
//!
//! Records merge ([`members`], [`options`]); the map is their product ([`map`]), so that it does not matter in which order,
//! how often and by whom changes arrive. Changes travel as broadcasts of the selected dissemination protocol; behind it stands a
//! periodic exchange of digests with one peer ([`exchange`]).
//!
//! Invariants:
//! - Merging is commutative, associative and idempotent, and nothing ever goes back in its order.
//! - Only a member itself raises its incarnation, and says so only after that is durable.
//! - A member that is gone never returns under its id, whatever old digest or message still names it.
//! - Messages are bounded whatever the size of the cluster: what is longer is split, never refused.
//!
//! Left out: removal of options (an empty value stands for it), conditional changes of options.

pub mod exchange;
pub mod map;
pub mod members;
pub mod options;
pub mod plane;
#[cfg(test)]
mod plane_tests;
#[cfg(all(test, feature = "planted-bugs"))]
pub(crate) mod planted_tests;
#[cfg(test)]
mod tests;

pub use exchange::{MetadataMessage, Page};
pub use map::{Merged, MetadataMap, Name, Record};
pub use members::{Member, MemberRecord, MemberState};
pub use options::OptionRecord;
pub use plane::{LEFT_KEPT_MS, Plane, PlaneCounters, PlaneEffects};
