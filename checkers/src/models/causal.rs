//! Causal consistency (CC, also called weak causal consistency): an operation that knew of another, through its session or
//! through what was read, comes after it, and no read returns a version when it knew of one that follows it. Each read by
//! itself: sessions may disagree about versions that do not know of each other.
//!
//! Bouajjani et al. 2017: none of CyclicCO, WriteCOInitRead, ThinAirRead, WriteCORead.

use crate::causal::{Model, judge};
use crate::{Case, CheckOptions, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "causal";

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    match case.registers() {
        Ok(registers) => judge(NAME, Model::Causal, &registers, options),
        Err(unknown) => unknown.verdict(NAME),
    }
}
