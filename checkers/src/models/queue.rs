//! Every dequeue comes from somewhere (Jepsen's `checker/queue` with an unordered queue).
//!
//! In the order of the recording, with every enqueue that did not fail taken as done when it begins and every `ok` dequeue
//! when it ends: a dequeue must return an element that is there. Elements that remain are no mistake
//! ([`super::total_queue`] counts those). A `drain` is the dequeues of its elements. Unknown: nothing was dequeued.

use std::collections::BTreeMap;

use crate::data;
use crate::explain::{counted, sentence};
use crate::record::{Datum, RecordedOperation};
use crate::{Case, CheckOptions, Judgement, Outcome, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "queue";

/// Judges a case.
pub(crate) fn check(case: &Case, _options: &CheckOptions) -> Verdict {
    data::judge(NAME, case, check_one)
}

/// The elements that an operation took out.
pub(super) fn dequeued<'r>(operation: &RecordedOperation<'r>) -> &'r [Datum] {
    match operation.f() {
        "dequeue" if operation.is_ok() => std::slice::from_ref(operation.value()),
        "drain" if operation.is_ok() => operation.value().items().unwrap_or_default(),
        _ => &[],
    }
}

fn check_one(operations: &[RecordedOperation<'_>], mut verdict: Verdict) -> Verdict {
    let mut steps: Vec<(u32, bool, &RecordedOperation<'_>)> = Vec::new();
    for operation in operations {
        match operation.f() {
            "enqueue" if operation.outcome != Outcome::Fail => steps.push((operation.began, false, operation)),
            _ if !dequeued(operation).is_empty() => {
                steps.push((operation.ended.expect("an operation that is ok has ended"), true, operation));
            }
            _ => {}
        }
    }
    steps.sort_by_key(|(position, takes, _)| (*position, *takes));
    let mut there: BTreeMap<&Datum, u64> = BTreeMap::new();
    let mut taken_by: BTreeMap<&Datum, &RecordedOperation<'_>> = BTreeMap::new();
    let (mut enqueues, mut dequeues) = (0_u64, 0_u64);
    let mut broken: Vec<(&Datum, &RecordedOperation<'_>, Option<&RecordedOperation<'_>>)> = Vec::new();
    for (_, takes, operation) in &steps {
        if !takes {
            enqueues += 1;
            *there.entry(operation.argument()).or_default() += 1;
            continue;
        }
        for element in dequeued(operation) {
            dequeues += 1;
            match there.get_mut(element) {
                Some(count @ 1..) => *count -= 1,
                _ => broken.push((element, operation, taken_by.get(element).copied())),
            }
            taken_by.insert(element, operation);
        }
    }
    verdict.count("enqueues", enqueues);
    verdict.count("dequeues", dequeues);
    verdict.count("left", there.values().sum());
    verdict.violations = broken.len() as u64;
    let Some((element, operation, before)) = broken.first() else {
        if dequeues == 0 {
            return verdict.because(Judgement::Unknown, "Nothing was dequeued.");
        }
        let dequeues = counted(dequeues, "dequeue");
        return verdict.because(Judgement::Holds, format!("{dequeues}, each of something that had been enqueued."));
    };
    let twice = broken.iter().filter(|(_, _, before)| before.is_some()).count() as u64;
    let mut kinds = [("duplicated", twice), ("unexpected", broken.len() as u64 - twice)];
    if before.is_none() {
        kinds.reverse();
    }
    kinds.into_iter().filter(|(_, count)| *count > 0).for_each(|(kind, count)| verdict.found(kind, count));
    if let Some(before) = before {
        verdict.involve(before.index());
        verdict.explanation.push(format!("{} dequeued {element}.", sentence(&data::who(before))));
    }
    verdict.involve(operation.index());
    verdict.explanation.push(format!("{} dequeued {element}.", sentence(&data::who(operation))));
    let sentence = match before {
        Some(_) => "It had not been enqueued again, so it was in the queue once at most.",
        None => "Nobody had begun to enqueue it until then.",
    };
    verdict.because(Judgement::Violated, sentence)
}
