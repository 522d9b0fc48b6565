//! 2-atomicity: one order of all operations keeps real time and has each read return one of the last two versions written
//! before it (Aiyer, Alvisi, Bazzi 2005; Golab, Hurwitz, Li, *On the k-atomicity-verification problem*, 2013). 1-atomicity
//! is linearizability.
//!
//! Decided by search ([`crate::search`]) over registers that remember two versions; memory does not grow with the length
//! of the history, work may explode with many operations under way at once: then `unknown`. Equal values are allowed.

use crate::search::judge_last_two;
use crate::{Case, CheckOptions, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "two-atomic";

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    match case.named_history() {
        Ok(history) => judge_last_two(NAME, &history, options),
        Err(unknown) => unknown.verdict(NAME),
    }
}
