//! Verdicts on parts of the keys, put together.

use crate::explain::{NO_EVIDENCE, counted};
use crate::{Judgement, Verdict};

/// One verdict over all parts, for a model that judges each key by itself: the explanation is that of the first part with
/// the worst judgement. A part that could not have been stale takes nothing from what the others show.
pub(super) fn together(parts: Vec<Verdict>) -> Verdict {
    let count = parts.len() as u64;
    let says_nothing = |part: &Verdict| {
        part.judgement == Judgement::Unknown && part.explanation.iter().any(|line| line.starts_with(NO_EVIDENCE))
    };
    let of = |judgement| {
        parts
            .iter()
            .position(|part| part.judgement == judgement && (judgement != Judgement::Unknown || !says_nothing(part)))
    };
    let worst =
        of(Judgement::Violated).or_else(|| of(Judgement::Unknown)).or_else(|| of(Judgement::Holds)).unwrap_or(0);
    let mut verdict = parts[worst].clone();
    for (_, part) in parts.into_iter().enumerate().filter(|(at, _)| *at != worst) {
        for (name, number) in part.evidence {
            let sum = verdict.evidence.entry(name.clone()).or_default();
            *sum = if name.ends_with("_ms") || name.ends_with("_max") { sum.max(number) } else { *sum + number };
        }
        verdict.violations += part.violations;
        part.kinds.into_iter().for_each(|kind| verdict.found(&kind.kind, kind.count));
        for assumption in part.assumptions {
            if !verdict.assumptions.contains(&assumption) {
                verdict.assumptions.push(assumption);
            }
        }
    }
    if count > 1 && verdict.judgement == Judgement::Holds {
        let number = |name: &str| verdict.evidence.get(name).copied().unwrap_or_default() as u64;
        verdict.explanation = vec![format!(
            "{} judged, {} of them could have been stale, and none was; the keys were judged in {}.",
            counted(number("reads_judged"), "read"),
            number("reads_possibly_stale"),
            counted(count, "part")
        )];
    }
    verdict
}
