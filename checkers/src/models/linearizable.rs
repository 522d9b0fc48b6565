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
//! Deletes have no value of their own. What is said of them is certain, but a violation can be missed that follows only
//! from several reads of `null`, each of which several deletes could explain ([`crate::version_graph`]).

use std::collections::BTreeSet;

use crate::key_history::by_key;
use crate::search::{judge_equal_values, judge_recording};
use crate::version_graph::{Promise, SessionPromise};
use crate::{Case, CheckOptions, Judgement, Verdict, version_order};

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
                version_order::judge(NAME, PROMISE, &case, options)
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
        if verdict.judgement == Judgement::Holds || registers.values.is_some() {
            return verdict;
        }
    }
    let Ok(history) = case.named_history() else {
        return version_order::judge(NAME, PROMISE, case, options);
    };
    let doubled: BTreeSet<String> =
        by_key(&history).iter().filter(|key| key.doubled.is_some()).map(|key| key.key.to_owned()).collect();
    if doubled.is_empty() {
        return version_order::judge(NAME, PROMISE, case, options);
    }
    let (mut unique, mut equal) = (history.clone().into_owned(), history.into_owned());
    unique.operations.retain(|operation| !doubled.contains(&operation.key));
    equal.operations.retain(|operation| doubled.contains(&operation.key));
    let case = Case { history: unique, faults: case.faults.clone(), ..Case::default() };
    let fast = version_order::judge(NAME, PROMISE, &case, options);
    if fast.judgement == Judgement::Violated {
        return fast;
    }
    judge_equal_values(&equal, options, fast)
}
