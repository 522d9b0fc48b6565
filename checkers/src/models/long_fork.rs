//! Two reads see two writes in opposite orders (Jepsen's `tests.long-fork`), which snapshot isolation forbids and parallel
//! snapshot isolation allows.
//!
//! Transactions write one key once, or read a group of keys. Reads of the same keys must be comparable: one of two saw all
//! that the other saw. So the reads of a group form a chain; the first two that do not are the long fork. Unknown: a key
//! is written twice or read with two values, so that nothing orders the reads; or no group was read twice.

use std::collections::BTreeMap;

use crate::data;
use crate::explain::{counted, sentence};
use crate::record::{Datum, RecordedOperation};
use crate::{Case, CheckOptions, Judgement, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "long-fork";

/// Judges a case.
pub(crate) fn check(case: &Case, _options: &CheckOptions) -> Verdict {
    data::judge(NAME, case, check_one)
}

/// The micro-operations of a value, if it is a list of them.
pub(crate) fn micro_operations(value: &Datum) -> Option<Vec<(&str, &Datum, &Datum)>> {
    let mut all = Vec::new();
    for item in value.as_list()? {
        let [f, key, value] = item.as_list()? else { return None };
        all.push((f.as_name()?, key, value));
    }
    Some(all)
}

/// What one read saw: the keys of its group, sorted, with values; `nil` is nothing yet.
type State<'d> = Vec<(&'d Datum, &'d Datum)>;

fn check_one(operations: &[RecordedOperation<'_>], mut verdict: Verdict) -> Verdict {
    let mut groups: BTreeMap<Vec<&Datum>, BTreeMap<State<'_>, &RecordedOperation<'_>>> = BTreeMap::new();
    let mut written: BTreeMap<&Datum, &RecordedOperation<'_>> = BTreeMap::new();
    let (mut reads, mut others) = (0_u64, 0_u64);
    let mut reads_of: BTreeMap<Vec<&Datum>, u64> = BTreeMap::new();
    for operation in operations {
        let Some(all) = micro_operations(operation.value()).filter(|all| !all.is_empty()) else { continue };
        if all.iter().all(|(f, ..)| matches!(*f, "r" | "read")) {
            if operation.is_ok() {
                reads += 1;
                let mut state: State<'_> = all.iter().map(|(_, key, value)| (*key, *value)).collect();
                state.sort();
                state.dedup();
                let keys: Vec<&Datum> = state.iter().map(|(key, _)| *key).collect();
                *reads_of.entry(keys.clone()).or_default() += 1;
                groups.entry(keys).or_default().entry(state).or_insert(operation);
            }
        } else if let [("w" | "write", key, _)] = all.as_slice() {
            if let Some(before) = written.insert(key, operation) {
                let reason = format!(
                    "Key {key} is written twice ({} and {}): nothing orders its values.",
                    before.index(),
                    operation.index()
                );
                return verdict.because(Judgement::Unknown, reason);
            }
        } else {
            others += 1;
        }
    }
    verdict.count("reads", reads);
    verdict.count("writes", written.len() as u64);
    verdict.count("groups", groups.len() as u64);
    if others > 0 {
        let reason = format!(
            "{} neither read a group nor write one key: that is another workload.",
            counted(others, "transaction")
        );
        return verdict.because(Judgement::Unknown, reason);
    }
    let mut told = false;
    for states in groups.values() {
        let seen = |state: &State<'_>| state.iter().filter(|(_, value)| !value.is_nil()).count();
        let mut chain: Vec<(&State<'_>, &RecordedOperation<'_>)> =
            states.iter().map(|(state, read)| (state, *read)).collect();
        chain.sort_by_key(|(state, read)| (seen(state), read.began));
        for pair in chain.windows(2) {
            let ((fewer, first), (more, second)) = (pair[0], pair[1]);
            let both = || fewer.iter().zip(more.iter()).map(|((key, a), (_, b))| (*key, *a, *b));
            if let Some((key, a, b)) = both().find(|(_, a, b)| !a.is_nil() && !b.is_nil() && a != b) {
                let reason = format!(
                    "Key {key} was read as {a} ({}) and as {b} ({}): nothing orders its values.",
                    first.index(),
                    second.index()
                );
                return verdict.because(Judgement::Unknown, reason);
            }
            let only_first = both().find(|(_, a, b)| !a.is_nil() && b.is_nil());
            let only_second = both().find(|(_, a, b)| a.is_nil() && !b.is_nil());
            if let (Some((x, a, _)), Some((y, _, b))) = (only_first, only_second) {
                verdict.violations += 1;
                verdict.found("long-fork", 1);
                if !told {
                    told = true;
                    for (read, saw, value, missed) in [(first, x, a, y), (second, y, b, x)] {
                        verdict.involve(read.index());
                        let who = sentence(&data::who(read));
                        verdict
                            .explanation
                            .push(format!("{who} read {value} of key {saw} and nothing of key {missed}."));
                    }
                    verdict
                        .explanation
                        .push(format!("So {x} was written before {y}, and {y} before {x}: a long fork."));
                }
            }
        }
    }
    if told {
        verdict.judgement = Judgement::Violated;
        return verdict;
    }
    if reads_of.values().all(|reads| *reads < 2) {
        return verdict.because(Judgement::Unknown, "No group of keys was read twice.");
    }
    let sentence = format!(
        "{} of {}: of any two, one saw all that the other saw.",
        counted(reads, "read"),
        counted(groups.len() as u64, "group")
    );
    verdict.because(Judgement::Holds, sentence)
}
