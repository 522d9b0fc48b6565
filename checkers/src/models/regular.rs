//! Regular register, for many writers: a read returns a version that was being written while it ran, or one that was not
//! overwritten before it began (Lamport 1986; Shao, Welch, Pierce, Lee 2011, MWRegWeak).
//!
//! Weaker than linearizable: two reads one after the other may return a new version and then an older one while the newer
//! is still being written. Times that touch count as overlapping. Equal values are allowed.

use crate::intervals::{Promise, judge};
use crate::{Case, CheckOptions, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "regular";

/// Judges a case.
pub(crate) fn check(case: &Case, _: &CheckOptions) -> Verdict {
    match case.registers() {
        Ok(registers) => judge(NAME, Promise::Regular, &registers),
        Err(unknown) => unknown.verdict(NAME),
    }
}
