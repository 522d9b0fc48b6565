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
//! Where values are equal, and for registers with compare-and-set and texts with append (from foreign recordings), the
//! operations themselves are ordered, by a search with a budget ([`crate::search`]); beyond the budget it is `unknown`.
//!
//! Deletes have no value of their own, so versions alone do not say which one a read of `null` saw
//! ([`crate::version_graph`]). Where the versions of such a key show no violation, an order of them in which each of these
//! reads has its delete shows that it holds: by version, then its change before its reads, the operations are in an order
//! that keeps real time. Where none of the orders tried does, the operations are ordered by the search too, and what that
//! finds counts.

use std::collections::BTreeSet;

use crate::key_history::by_key;
use crate::null_reads::are_explained;
use crate::registers::begins_as_zero;
use crate::search::{confirm, judge_equal_values, judge_recording};
use crate::version_graph::{Promise, SessionPromise, VersionGraph};
use crate::{Case, CheckOptions, Function, History, Judgement, Verdict, version_order};

/// Name of the checker.
pub(crate) const NAME: &str = "linearizable";

const PROMISE: Promise = Promise { session: SessionPromise::Everything, real_time: true };

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    if !options.real_time_writes {
        let reason =
            "Linearizability is about real time, and writes are said not to follow it (`real_time_writes: false`).";
        return Verdict::new(NAME).because(Judgement::Unknown, reason);
    }
    if let Some(recording) = &case.recording
        && case.history.operations.is_empty()
        && case.registers.is_none()
    {
        // Histories of others repeat their values as a rule; those that do not are ordered fast.
        return match case.named_history() {
            Ok(history) if by_key(&history).iter().all(|key| key.doubled.is_none()) => {
                let case = Case { history: history.into_owned(), ..Case::default() };
                let verdict = version_order::judge(NAME, PROMISE, &case, options);
                if verdict.judgement == Judgement::Violated && begins_as_zero(recording) {
                    // The 0 that was there at first may be read beside one that was written.
                    judge_recording(NAME, recording, options).unwrap_or(verdict)
                } else if verdict.judgement == Judgement::Violated {
                    verdict
                } else {
                    with_deletes(&case.history, options, verdict)
                }
            }
            _ => judge_recording(NAME, recording, options).unwrap_or_else(|reason| {
                let reason = format!("This is no history of registers or texts: {reason}.");
                Verdict::new(NAME).because(Judgement::Unknown, reason)
            }),
        };
    }
    if let Some(registers) = &case.registers
        && case.history.operations.is_empty()
        && case.faults.is_empty()
    {
        let verdict = version_order::judge(NAME, PROMISE, case, options);
        let is_deleted = || registers.ops.iter().any(|op| op.f == Function::Delete && op.is_change());
        if registers.values.is_some() || (verdict.judgement == Judgement::Holds && !is_deleted()) {
            return verdict;
        }
    }
    let Ok(history) = case.named_history() else {
        return version_order::judge(NAME, PROMISE, case, options);
    };
    let doubled: BTreeSet<String> =
        by_key(&history).iter().filter(|key| key.doubled.is_some()).map(|key| key.key.to_owned()).collect();
    if doubled.is_empty() {
        let verdict = version_order::judge(NAME, PROMISE, case, options);
        return if verdict.judgement == Judgement::Violated {
            verdict
        } else {
            with_deletes(&history, options, verdict)
        };
    }
    let (mut unique, mut equal) = (history.clone().into_owned(), history.into_owned());
    unique.operations.retain(|operation| !doubled.contains(&operation.key));
    equal.operations.retain(|operation| doubled.contains(&operation.key));
    let case = Case { history: unique, faults: case.faults.clone(), ..Case::default() };
    let fast = version_order::judge(NAME, PROMISE, &case, options);
    if fast.judgement == Judgement::Violated {
        return fast;
    }
    let fast = with_deletes(&case.history, options, fast);
    if fast.judgement == Judgement::Violated {
        return fast;
    }
    judge_equal_values(&equal, options, fast)
}

/// The verdict on a history whose versions show no violation, after the operations on keys of which `null` may have been
/// read after a delete were put in order.
fn with_deletes(history: &History, options: &CheckOptions, verdict: Verdict) -> Verdict {
    let keys = by_key(history);
    let unsure = keys.iter().filter(|key| {
        let first = key.deletes.iter().map(|delete| key.operation(*delete).invoked).min();
        let may_be_of_one = |read: &u32| {
            let read = key.operation(*read);
            read.value.is_none() && first <= read.completed
        };
        first.is_some()
            && key.reads.iter().any(may_be_of_one)
            && !are_explained(&VersionGraph::new(key, PROMISE, true), PROMISE, true)
    });
    let unsure: BTreeSet<&str> = unsure.map(|key| key.key).collect();
    if unsure.is_empty() {
        return verdict;
    }
    let of_them = history.operations.iter().filter(|operation| unsure.contains(operation.key.as_str()));
    let of_them = History { operations: of_them.cloned().collect(), has_collections: false, notes: Vec::new() };
    confirm(&of_them, options, verdict)
}
