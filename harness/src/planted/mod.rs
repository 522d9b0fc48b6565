//! Planted bugs: is every one of them found, and nothing without them? Only with the feature `planted-bugs`.
//!
//! A bug is in the node's core, chosen when a process starts; the catalogue says who made the mistake, which campaign finds
//! it, which checker has to say so, and within how many seeds. Hunts run in the simulator, so that a hunt that found its bug
//! finds it again, as long as program and campaign stay the same.

mod catalogue;
mod hunt;
mod shrink;

pub use catalogue::{CASES, Case, case};
pub use hunt::{FIRST_SEED, Found, hunt, is_as_expected, seeds};
pub use shrink::{ShrinkBugError, ShrunkBug, planted_plan, shrink_planted};
