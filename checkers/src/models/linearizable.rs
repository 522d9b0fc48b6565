//! Linearizability of each register (Herlihy and Wing, 1990): all operations on a key fit one order in which every read
//! returns the newest version, and an operation that was over before another began comes first. Registers are
//! independent: a history is linearizable if and only if it is for every key.
//!
//! With unique values it is known which write a read saw, and versions are ordered instead of operations (Gibbons and
//! Korach, *Testing shared memories*, 1997): one version comes before another when any operation on it, its write or a
//! read, was over before any operation on the other began. The register is linearizable if and only if that order has no
//! cycle and no read was over before its write began. A write that is indeterminate counts from its invocation on, and
//! only if it was read; that it was acknowledged counts as an observation of its own version. So an acknowledged write
//! that a crash loses is found by the first read after it, also when it is overwritten soon.
//!
//! Deletes have no value of their own. What is said of them is certain, but a violation can be missed that follows only
//! from several reads of `null`, each of which several deletes could explain ([`crate::version_graph`]).

use crate::version_graph::{Promise, SessionPromise};
use crate::{Case, CheckOptions, Judgement, Verdict, version_order};

/// Name of the checker.
pub(crate) const NAME: &str = "linearizable";

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    if !options.real_time_writes {
        let reason =
            "Linearizability is about real time, and writes are said not to follow it (`real_time_writes: false`).";
        return Verdict::new(NAME).because(Judgement::Unknown, reason);
    }
    version_order::judge(NAME, Promise { session: SessionPromise::Everything, real_time: true }, case, options)
}
