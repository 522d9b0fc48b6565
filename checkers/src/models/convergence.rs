//! Convergence: after everything was healed and the load had ended, all replicas of every key become equal within the
//! deadline, and equal to something that was written and not certainly overwritten (strong eventual consistency, Shapiro
//! et al., *Conflict-free replicated data types*, 2011).
//!
//! A key that is stored anywhere must be stored on exactly as many nodes as its replication asks for. Two kinds of
//! violation are told apart: *not (yet) equal* is one of liveness, a wrong value is one of safety and outranks it.

use crate::explain::{at, counted, listed};
use crate::final_keys::{FinalKey, final_keys, survival};
use crate::key_history::{Origin, by_key};
use crate::{Case, CheckOptions, FinalState, Judgement, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "convergence";

/// Keys that an explanation names; the rest are counted.
const NAMED_MAX: usize = 5;

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    let mut verdict = Verdict::new(NAME);
    let Some(state) = &case.final_state else {
        return verdict.because(Judgement::Unknown, "What the nodes stored at the end was not looked at.");
    };
    if options.real_time_writes {
        let assumption = "A write that was acknowledged or read before another one began is older than it.";
        verdict.assumptions.push(assumption.to_owned());
    }
    let histories = by_key(&case.history);
    let keys = final_keys(case, &histories);
    let everyone = state.unreachable.is_empty();
    let (mut stored, mut differing, mut wrong, mut doubled) = (0, Vec::new(), Vec::new(), None);
    for key in &keys {
        stored += u64::from(!key.entries.is_empty());
        if let Some(pair) = key.entries.windows(2).find(|pair| pair[0].node == pair[1].node) {
            doubled.get_or_insert_with(|| format!("{} is listed twice for key {}.", pair[0].node, key.key));
        }
        let equal = is_equal(key, state, options);
        if !equal {
            differing.push(key);
        }
        if let Some((kind, sentences)) = impossible(key) {
            wrong.push((kind, sentences, Vec::new()));
        } else if let (true, true, Some(history)) = (equal, everyone, key.history.filter(|key| key.doubled.is_none())) {
            let held = key.entries.first().and_then(|entry| entry.value);
            let survival = survival(history, &[held], options.real_time_writes);
            if let Some(lost) = survival.lost.first() {
                let mut sentences = lost.tell_held(&key.holders());
                sentences.push(format!("So the replicas of {} agree on something overwritten.", key.key));
                wrong.push((lost.kind, sentences, lost.operations.clone()));
            }
        }
    }
    verdict.count("keys_judged", keys.len() as u64);
    verdict.count("keys_stored", stored);
    verdict.count("keys_differing", differing.len() as u64);
    verdict.count("keys_wrong", wrong.len() as u64);
    verdict.count("entries", state.entries.len() as u64);
    if let Some(after) = state.converged_after {
        verdict.measure("converged_after_ms", after as f64 / 1e6);
    }
    let violations = (wrong.len() + differing.len()) as u64;
    wrong.iter().for_each(|(kind, ..)| verdict.found(kind, 1));
    if let Some((_, sentences, operations)) = wrong.into_iter().next() {
        verdict.violations = violations;
        verdict.judgement = Judgement::Violated;
        verdict.explanation = sentences;
        operations.into_iter().for_each(|operation| verdict.involve(operation));
        return verdict;
    }
    if !everyone {
        let nodes = listed(&state.unreachable);
        return verdict.because(Judgement::Unknown, format!("Not every node could be looked at: {nodes}."));
    }
    if let Some(sentence) = doubled {
        return verdict.because(Judgement::Unknown, format!("The final state contradicts itself: {sentence}"));
    }
    let differ = differing.iter().take(NAMED_MAX).map(|key| format!("Key {}: {}.", key.key, describe(key, state)));
    let more = differing.len().saturating_sub(NAMED_MAX) as u64;
    let more = (more > 0).then(|| format!("So it is with {} more.", counted(more, "key")));
    match state.converged_after {
        None => {
            verdict.violations = violations.max(1);
            verdict.liveness = true;
            verdict.found("not-equal", violations.max(1));
            verdict.explanation.push(format!("The replicas were not seen equal within {}.", at(state.deadline)));
            if differing.is_empty() {
                verdict.explanation.push("They were equal when they were looked at last, after that.".to_owned());
            }
            verdict.explanation.extend(differ.chain(more));
            verdict.judgement = Judgement::Violated;
            verdict
        }
        Some(after) if !differing.is_empty() => {
            verdict.violations = violations;
            verdict.found("equal-no-longer", violations);
            let sentence = format!("The replicas were seen equal after {}, and are not equal at the end.", at(after));
            verdict.explanation.push(sentence);
            verdict.explanation.extend(differ.chain(more));
            verdict.judgement = Judgement::Violated;
            verdict
        }
        Some(_) if stored == 0 => {
            verdict.because(Judgement::Unknown, "No node stores anything: there is nothing to compare.")
        }
        Some(after) => {
            let keys = counted(stored, "key");
            // What replaces what in a set or counter is for other models.
            let collections = state.entries.iter().any(|entry| entry.content.is_some());
            let end = if collections { "" } else { ", and none holds something overwritten" };
            let sentence = format!(
                "All {} replicas of {keys} are equal, {} after the end of the load{end}.",
                state.replication,
                at(after)
            );
            verdict.because(Judgement::Holds, sentence)
        }
    }
}

fn is_equal(key: &FinalKey<'_>, state: &FinalState, options: &CheckOptions) -> bool {
    let Some(first) = key.entries.first() else { return true };
    let same = key.entries.iter().all(|entry| entry.value == first.value);
    let enough = key.entries.len() as u64 == state.replication;
    let collected =
        options.tombstones_collected && first.value.is_none() && key.entries.len() as u64 <= state.replication;
    same && (enough || collected)
}

fn describe(key: &FinalKey<'_>, state: &FinalState) -> String {
    let holders = key.holders();
    if key.entries.len() as u64 == state.replication {
        return holders;
    }
    format!("{holders}; that is {} instead of {}", counted(key.entries.len() as u64, "replica"), state.replication)
}

/// Why a stored value cannot be there, and the kind of violation.
fn impossible(key: &FinalKey<'_>) -> Option<(&'static str, Vec<String>)> {
    key.entries.iter().filter(|entry| entry.content.is_none()).find_map(|entry| {
        let held = entry.value?;
        let claim = format!("Key {}: {} holds {held} at the end.", key.key, entry.node);
        let (kind, reason) = match key.history.map_or(Origin::Nobody, |history| history.origin(held, u64::MAX)) {
            Origin::Written(_) | Origin::LaterWrite(_) => return None,
            Origin::FailedWrite(write) => {
                let write = key.history?.operation(write);
                let failed =
                    format!("The only write of {held}, by {} ({}), had certainly failed.", write.process, write.index);
                ("failed-write-kept", failed)
            }
            Origin::Nobody => ("unwritten-value", format!("Nobody wrote {held} to {}.", key.key)),
        };
        Some((kind, vec![claim, reason]))
    })
}
