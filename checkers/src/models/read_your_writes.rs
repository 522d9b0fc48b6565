//! Read your writes: after its own acknowledged write or delete, a session reads that version or a newer one (Terry et
//! al., *Session guarantees for weakly consistent replicated data*, 1994).

use crate::version_graph::{Promise, SessionPromise};
use crate::{Case, CheckOptions, Verdict, version_order};

/// Name of the checker.
pub(crate) const NAME: &str = "read-your-writes";

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    let promise = Promise { session: SessionPromise::OwnWrites, real_time: false };
    version_order::judge(NAME, promise, case, options)
}
