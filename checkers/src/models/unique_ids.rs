//! No id is given out twice (Jepsen's `checker/unique-ids`).
//!
//! Operations `generate` return ids; two that are ok never return the same. Unknown: fewer than two were ok.

use std::collections::BTreeMap;

use crate::data;
use crate::explain::sentence;
use crate::record::{Datum, RecordedOperation};
use crate::{Case, CheckOptions, Judgement, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "unique-ids";

/// Judges a case.
pub(crate) fn check(case: &Case, _options: &CheckOptions) -> Verdict {
    data::judge(NAME, case, check_one)
}

fn check_one(operations: &[RecordedOperation<'_>], mut verdict: Verdict) -> Verdict {
    let generates = || operations.iter().filter(|operation| operation.f() == "generate");
    let mut first: BTreeMap<&Datum, &RecordedOperation<'_>> = BTreeMap::new();
    let mut again: BTreeMap<&Datum, Vec<&RecordedOperation<'_>>> = BTreeMap::new();
    for operation in generates().filter(|operation| operation.is_ok()) {
        if let Some(before) = first.insert(operation.value(), operation) {
            first.insert(operation.value(), before);
            again.entry(operation.value()).or_default().push(operation);
        }
    }
    let given_twice: usize = again.values().map(Vec::len).sum();
    verdict.count("attempted", generates().count() as u64);
    verdict.count("acknowledged", (first.len() + given_twice) as u64);
    verdict.count("duplicated", again.len() as u64);
    verdict.violations = given_twice as u64;
    if let Some((id, others)) = again.first_key_value() {
        verdict.found("duplicated", given_twice as u64);
        for operation in [first[id], others[0]] {
            verdict.involve(operation.index());
            verdict.explanation.push(format!("{} was given {id}.", sentence(&data::who(operation))));
        }
        let ids = data::some(again.keys().copied());
        return verdict.because(Judgement::Violated, format!("Ids that were given out more than once: {ids}."));
    }
    if first.len() < 2 {
        return verdict.because(Judgement::Unknown, "Fewer than two ids were given out.");
    }
    let (Some((lowest, _)), Some((highest, _))) = (first.first_key_value(), first.last_key_value()) else {
        unreachable!("there are two ids")
    };
    let sentence = format!("{} ids from {lowest} to {highest}, all different.", first.len());
    verdict.because(Judgement::Holds, sentence)
}
