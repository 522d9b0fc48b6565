//! Safe register, for many writers: a read that overlaps no write returns a version that was not overwritten before the read
//! began; one that overlaps a write may return anything (Lamport 1986).
//!
//! An indeterminate write overlaps every later read of its key. Times that touch count as overlapping. Equal values are
//! allowed.

use crate::intervals::{Promise, judge};
use crate::{Case, CheckOptions, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "safe";

/// Judges a case.
pub(crate) fn check(case: &Case, _: &CheckOptions) -> Verdict {
    match case.registers() {
        Ok(registers) => judge(NAME, Promise::Safe, &registers),
        Err(unknown) => unknown.verdict(NAME),
    }
}
