//! Acknowledged writes are not lost: what is there at the end is not older than any acknowledged write or delete (lost
//! updates, as in Jepsen's analyses).
//!
//! "There at the end" are the final states of all nodes. Where the replicas differ, a write that one of them still holds
//! is not lost (convergence is another checker). Final reads (phase `final-reads`) are judged one by one when all
//! replicas were seen equal before, since then it does not matter which of them a read asked; without a final state all
//! final reads of a key together stand for it, which is stated as an assumption. Reads during the run say nothing here: a
//! replica that has not heard of a write yet is stale, and the write is not lost.
//!
//! Under last-write-wins concurrent acknowledged writes replace each other; that is counted, not judged.

use std::collections::BTreeMap;

use crate::explain::{counted, listed, value};
use crate::final_keys::{FinalKey, Lost, final_keys, survival};
use crate::key_history::by_key;
use crate::{Case, CheckOptions, Function, Judgement, OpIndex, Operation, Outcome, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "acknowledged-writes";

/// What is there under a key.
struct Observation {
    held: Vec<Option<u64>>,
    words: String,
    operation: Option<OpIndex>,
}

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    let mut verdict = Verdict::new(NAME);
    verdict.assumptions.push(if options.real_time_writes {
        "A write that was acknowledged or read before another one began is older than it (the clocks of the nodes agree)."
            .to_owned()
    } else {
        "Nothing about the order of writes in time: only keys that were never deleted and are gone are certain.".to_owned()
    });
    let acknowledged = |f| {
        let of_function = case.history.operations.iter().filter(move |operation| operation.f == f);
        of_function.filter(|operation| operation.outcome == Outcome::Ok).count() as u64
    };
    let (writes, deletes) = (acknowledged(Function::Write), acknowledged(Function::Delete));
    verdict.count("acknowledged_writes", writes);
    verdict.count("acknowledged_deletes", deletes);
    let final_from = case.phases.iter().find(|phase| phase.name == "final-reads").map(|phase| phase.from);
    let final_reads: Vec<&Operation> = case
        .history
        .operations
        .iter()
        .filter(|operation| operation.f == Function::Read && operation.outcome == Outcome::Ok)
        .filter(|operation| final_from.is_some_and(|from| operation.invoked >= from))
        .collect();
    verdict.count("final_reads", final_reads.len() as u64);
    let mut final_reads_of: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for read in &final_reads {
        final_reads_of.entry(&read.key).or_default().push(read);
    }
    match &case.final_state {
        Some(state) if !state.unreachable.is_empty() => {
            let nodes = listed(&state.unreachable);
            let reason = format!("A write may still be where nobody could look: {nodes}.");
            return verdict.because(Judgement::Unknown, reason);
        }
        None if final_reads.is_empty() => {
            let reason = "Neither the final states nor final reads say what is there at the end.";
            return verdict.because(Judgement::Unknown, reason);
        }
        None => verdict.assumptions.push("The final reads of a key see all that is left of it.".to_owned()),
        Some(_) => {}
    }
    if writes + deletes == 0 {
        return verdict.because(Judgement::Unknown, "No write was acknowledged: none could be lost.");
    }

    let histories = by_key(&case.history);
    let (mut judged, mut lost_writes, mut superseded, mut not_judged) = (0_u64, 0, 0, None);
    let mut clearest: Option<(Lost, Observation)> = None;
    for key in &final_keys(case, &histories) {
        let Some(history) = key.history else { continue };
        if let Some(sentence) = history.doubled_sentence() {
            not_judged.get_or_insert(sentence);
            continue;
        }
        let observations = observations(case, key, final_reads_of.get(key.key).map_or(&[], Vec::as_slice));
        judged += u64::from(!observations.is_empty());
        let (mut lost_here, mut kinds_here) = (0, Vec::new());
        for (at, observation) in observations.into_iter().enumerate() {
            let survival = survival(history, &observation.held, options.real_time_writes);
            if survival.lost.len() as u64 > lost_here {
                lost_here = survival.lost.len() as u64;
                kinds_here = survival.lost.iter().map(|lost| lost.kind).collect();
            }
            if at == 0 {
                superseded += survival.superseded;
            }
            if let (None, Some(lost)) = (&clearest, survival.lost.into_iter().next()) {
                clearest = Some((lost, observation));
            }
        }
        lost_writes += lost_here;
        kinds_here.into_iter().for_each(|kind| verdict.found(kind, 1));
    }
    verdict.count("keys_judged", judged);
    verdict.count("lost", lost_writes);
    verdict.count("superseded_by_concurrent", superseded);
    verdict.violations = lost_writes;
    if let Some((lost, observation)) = clearest {
        verdict.judgement = Judgement::Violated;
        verdict.explanation = match observation.operation {
            Some(_) => lost.tell_read(&observation.words),
            None => lost.tell_held(&observation.words),
        };
        lost.operations.into_iter().chain(observation.operation).for_each(|operation| verdict.involve(operation));
        return verdict;
    }
    if let Some(sentence) = not_judged {
        return verdict.because(Judgement::Unknown, sentence);
    }
    if judged == 0 {
        return verdict
            .because(Judgement::Unknown, "Nothing says what is there at the end under any key that was used.");
    }
    let sentence = format!(
        "{} and {} were acknowledged on {}, and nothing there at the end is older; {} lost to concurrent ones, as \
         last-write-wins may.",
        counted(writes, "write"),
        counted(deletes, "delete"),
        counted(judged, "key"),
        superseded
    );
    verdict.because(Judgement::Holds, sentence)
}

fn observations(case: &Case, key: &FinalKey<'_>, final_reads: &[&Operation]) -> Vec<Observation> {
    let reads = final_reads.iter();
    let mut observations = Vec::new();
    let Some(state) = &case.final_state else {
        let mut held: Vec<Option<u64>> = reads.map(|read| read.value).collect();
        held.sort_unstable();
        held.dedup();
        if !held.is_empty() {
            let words: Vec<String> = held.iter().map(|held| value(*held)).collect();
            let words = format!("the final reads returned {}", listed(&words));
            observations.push(Observation { held, words, operation: None });
        }
        return observations;
    };
    let mut held: Vec<Option<u64>> = key.entries.iter().map(|entry| entry.value).collect();
    if (held.len() as u64) < state.replication {
        // Missing on a replica: never there, or deleted and collected.
        held.push(None);
    }
    held.sort_unstable();
    held.dedup();
    observations.push(Observation { held, words: key.holders(), operation: None });
    if state.converged_after.is_some() {
        observations.extend(reads.map(|read| Observation {
            held: vec![read.value],
            words: format!("{} read {} at the end ({})", read.process, value(read.value), read.index),
            operation: Some(read.index),
        }));
    }
    observations
}
