//! Monotonic quorum reads: a read that begins after another one has ended, in whatever session, returns no older version.
//! What blocking read repair promises when reads and writes overlap in a replica (*Database Internals*, chapter 12).
//!
//! Weaker than linearizability: a write that was acknowledged need not be visible until some read has returned it.

use crate::version_graph::{Promise, SessionPromise};
use crate::{Case, CheckOptions, Verdict, version_order};

/// Name of the checker.
pub(crate) const NAME: &str = "monotonic-quorum-reads";

/// Said beside what version orders assume.
pub(crate) const ASSUMPTION: &str = "All clients take their times from one clock.";

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    let promise = Promise { session: SessionPromise::Reads, real_time: true };
    let mut verdict = version_order::judge(NAME, promise, case, options);
    verdict.assumptions.push(ASSUMPTION.to_owned());
    verdict
}
