//! A set that is added to and read at the end (Jepsen's `checker/set`).
//!
//! The last `ok` read must hold every element whose add was acknowledged before it began (else it is *lost*) and nothing
//! that nobody tried to add (*unexpected*). An element of an indeterminate add that is there is *recovered*. Stricter than
//! Jepsen in one point: an add that was still under way when the read began loses nothing. Elements that stand in the
//! read twice are counted; they break only [`super::set_full`]. Never read: unknown.

use std::collections::BTreeMap;

use crate::data;
use crate::explain::counted;
use crate::record::{Datum, RecordedOperation};
use crate::{Case, CheckOptions, Judgement, Outcome, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "set";

/// Judges a case.
pub(crate) fn check(case: &Case, _options: &CheckOptions) -> Verdict {
    data::judge(NAME, case, check_one)
}

/// Whether an operation adds an element.
pub(super) fn is_add(operation: &RecordedOperation<'_>) -> bool {
    matches!(operation.f(), "add" | "broadcast")
}

/// How sure it is that an operation happened.
fn certainty(operation: &RecordedOperation<'_>) -> u8 {
    match operation.outcome {
        Outcome::Fail => 0,
        Outcome::Info => 1,
        Outcome::Ok => 2,
    }
}

fn check_one(operations: &[RecordedOperation<'_>], mut verdict: Verdict) -> Verdict {
    let reads = operations.iter().filter(|operation| operation.f() == "read" && operation.is_ok());
    let last = reads.max_by_key(|read| read.ended);
    let Some((read, elements)) = last.and_then(|read| Some((read, read.value().items()?))) else {
        return verdict.because(Judgement::Unknown, "The set was never read.");
    };
    // The first add that may have brought each element; several adds of one element bring it once.
    let mut adds: BTreeMap<&Datum, &RecordedOperation<'_>> = BTreeMap::new();
    for add in operations.iter().filter(|operation| is_add(operation)) {
        let best = adds.entry(add.argument()).or_insert(add);
        let sooner = best.is_ok() && add.is_ok() && add.ended < best.ended;
        if sooner || certainty(add) > certainty(best) {
            *best = add;
        }
    }
    let mut found: BTreeMap<&Datum, u64> = BTreeMap::new();
    elements.iter().for_each(|element| *found.entry(element).or_default() += 1);
    let acknowledged = adds.values().filter(|add| add.is_ok()).count() as u64;
    let lost: Vec<_> = adds
        .iter()
        .filter(|(element, add)| add.is_ok() && add.ended < Some(read.began) && !found.contains_key(*element))
        .collect();
    let before = adds.values().filter(|add| add.is_ok() && add.ended < Some(read.began)).count();
    let unexpected: Vec<&Datum> = found.keys().copied().filter(|element| !adds.contains_key(element)).collect();
    let there = |outcome: Outcome| {
        adds.iter().filter(|(element, add)| add.outcome == outcome && found.contains_key(*element)).count() as u64
    };
    let duplicated = found.values().filter(|count| **count > 1).count() as u64;
    let recovered = there(Outcome::Info);
    verdict.count("adds", adds.len() as u64);
    verdict.count("acknowledged", acknowledged);
    verdict.count("read", found.len() as u64);
    verdict.count("recovered", recovered);
    verdict.count("duplicated", duplicated);
    verdict.count("failed_but_read", there(Outcome::Fail));
    verdict.count("lost", lost.len() as u64);
    verdict.count("unexpected", unexpected.len() as u64);
    verdict.violations = (lost.len() + unexpected.len()) as u64;
    if let Some((element, add)) = lost.first() {
        verdict.found("lost", lost.len() as u64);
        verdict.involve(add.index());
        verdict.explanation.push(format!("{} added {element}, and that was acknowledged.", cap(&data::who(add))));
    }
    if !unexpected.is_empty() {
        verdict.found("unexpected", unexpected.len() as u64);
    }
    verdict.involve(read.index());
    let reader = format!("The last read, by {},", data::who(read));
    if verdict.violations > 0 {
        let lost_words = (!lost.is_empty()).then(|| {
            let elements = data::some(lost.iter().map(|(element, _)| **element));
            format!("lacks {elements} though acknowledged before it began")
        });
        let unexpected_words =
            (!unexpected.is_empty()).then(|| format!("holds {} that nobody added", data::some(unexpected)));
        let words: Vec<String> = lost_words.into_iter().chain(unexpected_words).collect();
        return verdict.because(Judgement::Violated, format!("{reader} {}.", words.join(" and ")));
    }
    if before == 0 {
        return verdict
            .because(Judgement::Unknown, "No add was acknowledged before the last read, so none could be lost.");
    }
    let mut sentence = format!(
        "{reader} holds {} whose add was acknowledged before it began{} and nothing that nobody added",
        if before == 1 { "the 1 element".to_owned() } else { format!("all {before} elements") },
        if recovered > 0 { format!(", {recovered} of indeterminate adds") } else { String::new() }
    );
    if duplicated > 0 {
        sentence += &format!("; {} in it more than once", counted(duplicated, "element"));
    }
    verdict.because(Judgement::Holds, sentence + ".")
}

fn cap(text: &str) -> String {
    crate::explain::sentence(text)
}
