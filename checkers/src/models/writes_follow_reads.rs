//! Writes follow reads (Terry et al. 1994): who sees a write also sees the versions that its session had read before it, and
//! the write is newer than those.
//!
//! With registers that shows only to a session that goes on reading, so the sessions that read are taken to read
//! monotonically: one order of the versions must put each write after what its session had read, and never go backward
//! for a reader, over all keys. Viotti and Vukolic 2016.

use crate::causal::{Kept, Model, judge};
use crate::{Case, CheckOptions, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "writes-follow-reads";

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    match case.registers() {
        Ok(registers) => judge(NAME, Model::Kept(Kept::AfterReads), &registers, options),
        Err(unknown) => unknown.verdict(NAME),
    }
}
