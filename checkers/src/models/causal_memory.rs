//! Causal memory (CM; Ahamad et al. 1995): causal consistency, and each session's reads fit one order of all that it knows
//! of. Sessions may differ in that order.
//!
//! Bouajjani et al. 2017: none of the bad patterns of CC, nor WriteHBInitRead and CyclicHB.

use crate::causal::{Model, judge};
use crate::{Case, CheckOptions, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "causal-memory";

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    match case.registers() {
        Ok(registers) => judge(NAME, Model::Memory, &registers, options),
        Err(unknown) => unknown.verdict(NAME),
    }
}
