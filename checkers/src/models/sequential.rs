//! Sequential consistency of each register by itself (Lamport 1979; also called coherence): one order of all operations of a
//! key keeps the order of every session and has each read return the latest write. Real time does not count.
//!
//! With unique values this is decidable fast: a write and its reads stand together in such an order, so it exists exactly
//! when the versions have an order that fits all sessions. Sequential consistency over all keys together is more than
//! that, and is not judged.

use crate::version_graph::{Promise, SessionPromise};
use crate::{Case, CheckOptions, Verdict, version_order};

/// Name of the checker.
pub(crate) const NAME: &str = "sequential";

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    let promise = Promise { session: SessionPromise::Everything, real_time: false };
    let options = CheckOptions { real_time_writes: false, ..options.clone() };
    version_order::judge(NAME, promise, case, &options)
}
