//! A set whose elements are removed as they were seen (an observed-remove set; Shapiro et al., *Conflict-free replicated
//! data types*, 2011): what was added is there until its removal, and never again after it.
//!
//! An add brings one element, a removal names the elements that its client had read. A read has *lost* an element whose
//! add was acknowledged before it began, if no removal that names it had begun when the read ended. An element is
//! *resurrected* by a read that holds it and began after such a removal was acknowledged: elements are added only once.
//! One that nobody added, or whose add certainly failed, is *unexpected*. Adds and removals that are indeterminate may
//! take effect at any time. Reads are taken at their word, whenever they are made: at levels that don't overlap those of
//! the writes, they lose and resurrect. Nothing removed and read again: unknown.

use std::collections::BTreeMap;

use crate::data;
use crate::explain::{counted, sentence};
use crate::record::{Datum, RecordedOperation};
use crate::{Case, CheckOptions, Judgement, Outcome, Verdict};

use super::set::is_add;

/// Name of the checker.
pub(crate) const NAME: &str = "removals";

/// Judges a case.
pub(crate) fn check(case: &Case, _options: &CheckOptions) -> Verdict {
    data::judge(NAME, case, check_one)
}

/// What is known of an element.
#[derive(Default)]
struct Element<'o, 'r> {
    add: Option<&'o RecordedOperation<'r>>,
    /// The removal that began first and may have happened.
    removal: Option<&'o RecordedOperation<'r>>,
    /// The removal that was acknowledged first.
    removed: Option<&'o RecordedOperation<'r>>,
}

/// What is wrong with an element in a read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Lost,
    Resurrected,
    Unexpected,
}

fn check_one(operations: &[RecordedOperation<'_>], mut verdict: Verdict) -> Verdict {
    let mut elements: BTreeMap<&Datum, Element<'_, '_>> = BTreeMap::new();
    let mut removals = 0_u64;
    for operation in operations {
        if is_add(operation) {
            elements.entry(operation.argument()).or_default().add.get_or_insert(operation);
        } else if operation.f() == "remove" && operation.outcome != Outcome::Fail {
            removals += u64::from(operation.is_ok());
            for element in operation.argument().items().unwrap_or_default() {
                let element = elements.entry(element).or_default();
                element.removal.get_or_insert(operation);
                if operation.is_ok() && element.removed.is_none_or(|before| operation.ended < before.ended) {
                    element.removed = Some(operation);
                }
            }
        }
    }
    let reads = operations.iter().filter(|operation| operation.f() == "read" && operation.is_ok());
    let reads: Vec<_> = reads.filter_map(|read| Some((read, read.value().items()?))).collect();
    let (mut missed, mut avoided) = (0_u64, 0_u64);
    let mut wrong: Vec<(Wrong, &Datum, &RecordedOperation<'_>)> = Vec::new();
    for (read, items) in &reads {
        let ended = read.ended.unwrap_or(u32::MAX);
        for (&element, known) in &elements {
            let held = items.contains(element);
            let gone = known.removed.is_some_and(|removal| removal.ended < Some(read.began));
            let added = known.add.is_some_and(|add| add.is_ok() && add.ended < Some(read.began));
            let may_be_gone = known.removal.is_some_and(|removal| removal.began < ended);
            if gone {
                avoided += u64::from(!held);
                if held {
                    wrong.push((Wrong::Resurrected, element, read));
                }
            } else if added && !may_be_gone {
                missed += u64::from(held);
                if !held {
                    wrong.push((Wrong::Lost, element, read));
                }
            }
        }
        let brought = |item: &&Datum| {
            let add = elements.get(*item).and_then(|known| known.add);
            add.is_some_and(|add| add.outcome != Outcome::Fail && add.began < ended)
        };
        wrong.extend(items.iter().filter(|item| !brought(item)).map(|item| (Wrong::Unexpected, item, *read)));
    }
    verdict.count("elements", elements.len() as u64);
    verdict.count("removals", removals);
    verdict.count("reads", reads.len() as u64);
    verdict.count("held_as_due", missed);
    verdict.count("gone_as_due", avoided);
    for (kind, name) in [(Wrong::Resurrected, "resurrected"), (Wrong::Lost, "lost"), (Wrong::Unexpected, "unexpected")]
    {
        let of_kind: Vec<_> = wrong.iter().filter(|(found, ..)| *found == kind).collect();
        let Some((_, element, read)) = of_kind.first().copied() else { continue };
        verdict.found(name, of_kind.len() as u64);
        verdict.violations += of_kind.len() as u64;
        tell(&mut verdict, kind, element, elements.get(element), read);
    }
    if verdict.violations > 0 {
        verdict.judgement = Judgement::Violated;
        return verdict;
    }
    if avoided == 0 {
        let removals = counted(removals, "removal");
        return verdict
            .because(Judgement::Unknown, format!("After {removals} nothing was read that could have come back."));
    }
    let reads = counted(reads.len() as u64, "read");
    let sentence =
        format!("{reads}: removed elements stayed away {avoided} times, others were there {missed} times, as was due.");
    verdict.because(Judgement::Holds, sentence)
}

fn tell(
    verdict: &mut Verdict,
    wrong: Wrong,
    element: &Datum,
    known: Option<&Element<'_, '_>>,
    read: &RecordedOperation<'_>,
) {
    let add = known.and_then(|known| known.add);
    if let Some(add) = add {
        let how = match add.outcome {
            Outcome::Ok => ", and that was acknowledged",
            Outcome::Fail => ", and that certainly failed",
            Outcome::Info => "",
        };
        verdict.involve(add.index());
        verdict.explanation.push(format!("{} added {element}{how}.", sentence(&data::who(add))));
    }
    if let Some(removal) = known.and_then(|known| known.removed).filter(|_| wrong == Wrong::Resurrected) {
        verdict.involve(removal.index());
        let who = sentence(&data::who(removal));
        verdict.explanation.push(format!("{who} removed it, and that was acknowledged."));
    }
    verdict.involve(read.index());
    let who = sentence(&data::who(read));
    verdict.explanation.push(match wrong {
        Wrong::Resurrected => format!("{who} read it after that: it is back."),
        Wrong::Lost => format!("{who} did not read it, and nobody had begun to remove it."),
        Wrong::Unexpected if add.is_some() => format!("{who} read it nevertheless."),
        Wrong::Unexpected => format!("{who} read {element}, which nobody added."),
    });
}
