//! Causal convergence (CCv, also called causal+): causal consistency, and all sessions order the versions that do not know
//! of each other in the same way, as last-write-wins does.
//!
//! Bouajjani et al. 2017: none of the bad patterns of CC, nor CyclicCF.

use crate::causal::{Model, judge};
use crate::{Case, CheckOptions, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "causal-convergence";

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    match case.registers() {
        Ok(registers) => judge(NAME, Model::Convergent, &registers, options),
        Err(unknown) => unknown.verdict(NAME),
    }
}
