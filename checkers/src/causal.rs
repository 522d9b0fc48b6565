//! Models of sessions over all keys at once: which versions an operation must know of, and whether that fits its reads.
//!
//! *Visible* to an operation is every version that a chain of session order and reads-from leads from. Which steps of a
//! session count is what the models differ in ([`Kept`]). Sources: Bouajjani, Enea, Guerraoui, Hamza, *On verifying causal
//! consistency*, POPL 2017 (the bad patterns); Terry et al. 1994 and Viotti and Vukolic, *Consistency in non-transactional
//! distributed storage systems*, 2016 (session guarantees as visibility and arbitration); Lipton and Sandberg 1988 (PRAM).
//!
//! Invariants: values are unique per key (else `unknown`), so reads-from is known; only session order, reads-from and
//! impossible values count, real time does not. Left out: a read of `null` of a key that was deleted somewhere may be of
//! any delete or of the initial version; it passes on what its session knows and is not judged itself.

mod clocks;
mod cycle;
mod graph;
mod judge;
mod saturation;
mod story;

pub(crate) use clocks::Kept;
pub(crate) use graph::{Graph, INITIAL, Impossible, NONE, Node, UNKNOWN};
pub(crate) use judge::{Counts, Model, begin, held, judge};
