//! What goes in must come out (Jepsen's `checker/total-queue`), for queues that are drained at the end.
//!
//! Elements are counted as multisets. *Lost*: acknowledged and never dequeued. *Unexpected*: dequeued and never enqueued.
//! *Recovered*: dequeued though the enqueue was not acknowledged. *Duplicated*: dequeued more often than enqueued, which is
//! counted and allowed. Lost and unexpected ones break the model. Stricter with itself than Jepsen in one point: an
//! indeterminate dequeue may have taken an element, so as many losses as there are such dequeues stay unknown, and so does
//! any loss with an indeterminate drain. Unknown too: no acknowledged enqueue or no dequeue.

use std::collections::BTreeMap;

use super::queue::dequeued;
use crate::data;
use crate::explain::{counted, sentence};
use crate::record::{Datum, RecordedOperation};
use crate::{Case, CheckOptions, Judgement, Outcome, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "total-queue";

/// Judges a case.
pub(crate) fn check(case: &Case, _options: &CheckOptions) -> Verdict {
    data::judge(NAME, case, check_one)
}

#[derive(Default)]
struct Element<'o, 'r> {
    attempts: u64,
    acknowledged: u64,
    dequeued: u64,
    first: Option<&'o RecordedOperation<'r>>,
}

fn check_one(operations: &[RecordedOperation<'_>], mut verdict: Verdict) -> Verdict {
    let mut elements: BTreeMap<&Datum, Element<'_, '_>> = BTreeMap::new();
    let (mut open_dequeues, mut open_drain) = (0_u64, false);
    for operation in operations {
        match (operation.f(), operation.outcome) {
            ("enqueue", outcome) => {
                let element = elements.entry(operation.argument()).or_default();
                element.attempts += 1;
                if outcome == Outcome::Ok {
                    element.acknowledged += 1;
                    element.first.get_or_insert(operation);
                }
            }
            ("dequeue", Outcome::Info) => open_dequeues += 1,
            ("drain", Outcome::Info) => open_drain = true,
            _ => {}
        }
        for value in dequeued(operation) {
            let element = elements.entry(value).or_default();
            element.dequeued += 1;
            if element.attempts == 0 {
                element.first.get_or_insert(operation);
            }
        }
    }
    let sum = |count: fn(&Element<'_, '_>) -> u64| elements.values().map(count).sum::<u64>();
    let (attempts, acknowledged, taken) = (sum(|e| e.attempts), sum(|e| e.acknowledged), sum(|e| e.dequeued));
    let lost = sum(|e| e.acknowledged.saturating_sub(e.dequeued));
    let unexpected = sum(|e| if e.attempts == 0 { e.dequeued } else { 0 });
    let duplicated = sum(|e| if e.attempts == 0 { 0 } else { e.dequeued.saturating_sub(e.attempts) });
    let recovered = sum(|e| e.dequeued.min(e.attempts).saturating_sub(e.acknowledged));
    for (name, count) in [
        ("enqueues", attempts),
        ("acknowledged", acknowledged),
        ("dequeues", taken),
        ("lost", lost),
        ("unexpected", unexpected),
        ("duplicated", duplicated),
        ("recovered", recovered),
        ("indeterminate_dequeues", open_dequeues),
    ] {
        verdict.count(name, count);
    }
    let lost_ones = || elements.iter().filter(|(_, element)| element.acknowledged > element.dequeued);
    let lost_surely = lost > 0 && !open_drain && lost > open_dequeues;
    if lost_surely && let Some((element, Element { first: Some(enqueue), .. })) = lost_ones().next() {
        verdict.found("lost", lost);
        verdict.violations += lost;
        verdict.involve(enqueue.index());
        verdict
            .explanation
            .push(format!("{} enqueued {element}, and that was acknowledged.", sentence(&data::who(enqueue))));
        let others = data::some(lost_ones().map(|(element, _)| *element));
        verdict.explanation.push(format!("Enqueued and never dequeued: {others}."));
    }
    if unexpected > 0 {
        let mut strange = elements.iter().filter(|(_, element)| element.attempts == 0);
        verdict.found("unexpected", unexpected);
        verdict.violations += unexpected;
        if let Some((element, Element { first: Some(dequeue), .. })) = strange.next() {
            verdict.involve(dequeue.index());
            let who = sentence(&data::who(dequeue));
            verdict.explanation.push(format!("{who} dequeued {element}, which nobody enqueued."));
        }
    }
    if verdict.violations > 0 {
        verdict.judgement = Judgement::Violated;
        return verdict;
    }
    if lost > 0 {
        let lost = format!("{} acknowledged and never dequeued", counted(lost, "element"));
        let reason = if open_drain {
            format!("{lost}, but a drain is indeterminate and may have taken them.")
        } else {
            format!("{lost}, but {} may have taken them.", counted(open_dequeues, "indeterminate dequeue"))
        };
        return verdict.because(Judgement::Unknown, reason);
    }
    if acknowledged == 0 || taken == 0 {
        return verdict.because(Judgement::Unknown, "Nothing was enqueued with an acknowledgement and dequeued.");
    }
    let also = match (duplicated, recovered) {
        (0, 0) => String::new(),
        _ => format!("; {duplicated} came out more than once, {recovered} without an acknowledgement"),
    };
    let all = counted(acknowledged, "acknowledged element");
    verdict.because(Judgement::Holds, format!("{all}, and every one came out{also}."))
}
