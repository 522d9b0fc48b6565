//! PRAM, or FIFO consistency (Lipton and Sandberg 1988): each session's reads fit one order of its own operations and of the
//! writes of all others in which the writes of each session stand in its order.
//!
//! What a session read passes nothing on to others: that is what causal memory adds.

use crate::causal::{Model, judge};
use crate::{Case, CheckOptions, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "pram";

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    match case.registers() {
        Ok(registers) => judge(NAME, Model::Pram, &registers, options),
        Err(unknown) => unknown.verdict(NAME),
    }
}
