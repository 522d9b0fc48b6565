//! Monotonic writes (Terry et al. 1994): who sees a write of a session also sees the writes before it of that session, in
//! that order.
//!
//! With registers that shows only to a session that goes on reading, so the sessions that read are taken to read
//! monotonically: one order of the versions must keep the writes of each session in order and never go backward for a
//! reader, over all keys. Viotti and Vukolic 2016, with visibility closed under session order among writes.

use crate::causal::{Kept, Model, judge};
use crate::{Case, CheckOptions, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "monotonic-writes";

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    match case.registers() {
        Ok(registers) => judge(NAME, Model::Kept(Kept::WritesAndReads), &registers, options),
        Err(unknown) => unknown.verdict(NAME),
    }
}
