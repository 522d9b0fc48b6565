//! Monotonic reads: no session reads a version older than one it has read before (Terry et al., *Session guarantees for
//! weakly consistent replicated data*, 1994).
//!
//! A session is a process. Every key has one order of versions for all sessions, so two sessions that read two versions
//! in opposite orders break the model too. A value that nobody wrote breaks it as well.

use crate::version_graph::{Promise, SessionPromise};
use crate::{Case, CheckOptions, Verdict, version_order};

/// Name of the checker.
pub(crate) const NAME: &str = "monotonic-reads";

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    let promise = Promise { session: SessionPromise::Reads, real_time: false };
    version_order::judge(NAME, promise, case, options)
}
