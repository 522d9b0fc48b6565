//! The fast checkers against the definitions: small random histories, every order of the versions tried one by one.
//!
//! The reference shares nothing with the checkers but the types. It is exponential, so histories have at most six writes
//! and deletes. Where nothing is deleted both must agree, and for linearizability always; with deletes the checkers of
//! sessions may not know (which delete a `null` came from is not always known), but never say what is not so.

mod common;

use std::collections::BTreeSet;

use common::{Clients, SINGLE, text};
use hearsay_checkers::{
    Case, CheckOptions, EventType, FinalEntry, FinalState, Function, History, Judgement, Operation, Outcome, judge,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const CHANGES_MAX: usize = 6;

/// Tries every order of the changes; `accept` gets the place of each change, from 1 (0 is the initial version).
fn some_order(changes: &[&Operation], real_time: bool, accept: &mut dyn FnMut(&[usize]) -> bool) -> bool {
    fn place_next(
        changes: &[&Operation],
        real_time: bool,
        places: &mut Vec<usize>,
        next: usize,
        accept: &mut dyn FnMut(&[usize]) -> bool,
    ) -> bool {
        if next > changes.len() {
            return accept(places);
        }
        for at in 0..changes.len() {
            let early = |other: usize| places[other] == 0 && other != at && over_before(changes[other], changes[at]);
            if places[at] != 0 || (real_time && (0..changes.len()).any(early)) {
                continue;
            }
            places[at] = next;
            if place_next(changes, real_time, places, next + 1, accept) {
                return true;
            }
            places[at] = 0;
        }
        false
    }
    place_next(changes, real_time, &mut vec![0; changes.len()], 1, accept)
}

fn over_before(a: &Operation, b: &Operation) -> bool {
    a.outcome == Outcome::Ok && a.completed.unwrap() < b.invoked
}

/// Whether the read can have seen the change: it had begun, and the reader itself did not begin it later.
fn had_begun(change: &Operation, read: &Operation) -> bool {
    change.invoked <= read.completed.unwrap() && !(change.process == read.process && change.index > read.index)
}

fn changes(history: &History) -> Vec<&Operation> {
    let operations = history.operations.iter();
    operations.filter(|op| op.f != Function::Read && op.outcome != Outcome::Fail).collect()
}

/// Whether the operations can take effect one after the other: every order is tried (Wing and Gong), remembering which
/// operations with which value have been tried in vain. What is indeterminate takes effect after it began, or never.
fn is_linearizable(history: &History) -> bool {
    fn take_next(
        operations: &[&Operation],
        done: u32,
        held: Option<u64>,
        vain: &mut BTreeSet<(u32, Option<u64>)>,
    ) -> bool {
        let is_left = |at: &usize| done & (1 << at) == 0;
        let left: Vec<usize> = (0..operations.len()).filter(is_left).collect();
        if left.iter().all(|at| operations[*at].outcome == Outcome::Info) {
            return true;
        }
        if vain.contains(&(done, held)) {
            return false;
        }
        for at in &left {
            let next = operations[*at];
            let earlier = |other: &Operation| {
                let in_session = other.process == next.process && other.index < next.index;
                in_session || over_before(other, next)
            };
            if left.iter().any(|other| earlier(operations[*other])) || (next.f == Function::Read && next.value != held)
            {
                continue;
            }
            let held = if next.f == Function::Read { held } else { next.value };
            if take_next(operations, done | (1 << at), held, vain) {
                return true;
            }
        }
        vain.insert((done, held));
        false
    }
    let operations = history.operations.iter().filter(|op| match op.f {
        Function::Read => op.outcome == Outcome::Ok,
        _ => op.outcome != Outcome::Fail,
    });
    take_next(&operations.collect::<Vec<_>>(), 0, None, &mut BTreeSet::new())
}

/// With and without real time between writes; linearizability has no meaning without.
fn real_times(model: &str) -> &'static [bool] {
    if model == "linearizable" { &[true] } else { &[true, false] }
}

/// Whether the reads fit one order of the versions, by the words of the models' definitions.
fn model_holds(model: &str, history: &History, real_time: bool) -> bool {
    if model == "linearizable" {
        return is_linearizable(history);
    }
    let changes = changes(history);
    let mut visits: Vec<&Operation> = history.operations.iter().filter(|op| op.outcome == Outcome::Ok).collect();
    visits.sort_by_key(|op| (op.invoked, op.index));
    some_order(&changes, real_time, &mut |places| {
        let mut seen: Vec<(&Operation, usize)> = Vec::new();
        for visit in &visits {
            if visit.f != Function::Read {
                let at = changes.iter().position(|change| change.index == visit.index).unwrap();
                seen.push((visit, places[at]));
                continue;
            }
            let must_not_be_behind = |other: &Operation| {
                let before = other.process == visit.process && other.index < visit.index;
                match model {
                    "monotonic-reads" => before && other.f == Function::Read,
                    "monotonic-quorum-reads" => other.f == Function::Read && (before || over_before(other, visit)),
                    "read-your-writes" => before && other.f != Function::Read,
                    _ => panic!("no reference for {model}"),
                }
            };
            let floor = seen.iter().filter(|(other, _)| must_not_be_behind(other)).map(|(_, place)| *place).max();
            let floor = floor.unwrap_or(0);
            let possible = |change: &Operation, place: usize| {
                let begun = had_begun(change, visit);
                let in_time = changes
                    .iter()
                    .zip(places)
                    .all(|(other, other_place)| !real_time || !over_before(visit, other) || place < *other_place);
                begun && in_time && place >= floor
            };
            let place = match visit.value {
                Some(value) => {
                    let written = changes.iter().zip(places).find(|(change, _)| change.value == Some(value));
                    written.filter(|(change, place)| possible(change, **place)).map(|(_, place)| *place)
                }
                None if floor == 0 => Some(0),
                // The oldest that is possible: it leaves the most room for what is read later.
                None => {
                    let deletes = changes.iter().zip(places).filter(|(change, _)| change.f == Function::Delete);
                    deletes.filter(|(change, place)| possible(change, **place)).map(|(_, place)| *place).min()
                }
            };
            let Some(place) = place else { return false };
            seen.push((visit, place));
        }
        true
    })
}

/// Whether some order of what happened ends with `held`.
fn can_end_with(history: &History, held: Option<u64>, real_time: bool) -> bool {
    let all = changes(history);
    let (certain, maybe): (Vec<&Operation>, Vec<&Operation>) =
        all.into_iter().partition(|op| op.outcome == Outcome::Ok);
    (0..1_u32 << maybe.len()).any(|chosen| {
        let chosen = maybe.iter().enumerate().filter(|(at, _)| chosen & (1 << at) != 0).map(|(_, op)| *op);
        let mut happened = certain.clone();
        happened.extend(chosen);
        let reads: Vec<&Operation> =
            history.operations.iter().filter(|op| op.f == Function::Read && op.outcome == Outcome::Ok).collect();
        some_order(&happened, real_time, &mut |places| {
            let in_time = reads.iter().all(|read| {
                // What was read before it was written says nothing about the order; other checkers name it.
                let saw = |op: &&Operation| op.value == read.value && had_begun(op, read);
                let seen = happened.iter().position(|op| read.value.is_some() && saw(op));
                seen.is_none_or(|seen| {
                    let later = happened.iter().zip(places).filter(|(op, _)| over_before(read, op));
                    !real_time || later.into_iter().all(|(_, place)| places[seen] < *place)
                })
            });
            let last = places.iter().position(|place| *place == places.len());
            in_time && last.map_or(held.is_none(), |last| happened[last].value == held)
        })
    })
}

/// One step of a client: process, what, how long before and during, outcome, what a read returns.
type Step = (u64, u8, u64, u64, u8, usize);

fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (0..3_u64, 0..10_u8, 0..6_u64, 0..12_u64, 0..20_u8, 0..8_usize);
    (proptest::collection::vec(step, 2..length), 0..6_u8).prop_map(|(mut steps, shape)| {
        for step in &mut steps {
            // Two of six: next to no time passes, so that ends and beginnings touch within and across sessions.
            if shape == 1 || shape == 2 {
                (step.2, step.3) = (step.2 / 5, step.3 / 8);
            }
            // Two of six: a third is indeterminate.
            if shape == 2 || shape == 3 {
                step.4 %= 6;
            }
            // One of six: every session does one thing.
            if shape == 4 {
                step.0 += SINGLE;
                (step.2, step.3) = (step.2 / 2, step.3 / 3);
            }
        }
        steps
    })
}

/// Builds a history of one key. Without `deletes`, they become reads. What a read returns is chosen among null, the
/// values written so far or a little later and, rarely, one that nobody wrote.
fn history(steps: &[Step], deletes: bool) -> History {
    let mut clients = Clients::new(3);
    let (mut written, mut changes) = (0_u64, 0);
    for (client, what, pause, length, outcome, returned) in steps.iter().copied() {
        let f = match what {
            0..4 if changes < CHANGES_MAX => Function::Write,
            4 if changes < CHANGES_MAX && deletes => Function::Delete,
            _ => Function::Read,
        };
        changes += usize::from(f != Function::Read);
        let kind = match outcome {
            0 | 1 => EventType::Info,
            2 => EventType::Fail,
            _ => EventType::Ok,
        };
        let value = match f {
            Function::Write => {
                written += 1;
                Some(written)
            }
            Function::Delete => None,
            Function::Read if returned == 7 => Some(written + 1),
            _ => Some(written.saturating_sub(returned as u64)).filter(|value| *value > 0),
        };
        clients.take(&common::Step { client, pause, length, f, key: "k", value, kind });
    }
    History::from_events(clients.events()).expect("a generated history is well formed")
}

fn says_violated(model: &str, history: &History, real_time: bool) -> Option<Vec<hearsay_checkers::OpIndex>> {
    let case = Case { history: history.clone(), ..Case::default() };
    let options = CheckOptions { real_time_writes: real_time, ..CheckOptions::default() };
    let verdict = judge(&case, &[model], &options).unwrap().remove(0);
    assert_eq!(verdict.judgement == Judgement::Violated, verdict.violations > 0, "{verdict:?}");
    (verdict.judgement == Judgement::Violated).then_some(verdict.operations)
}

/// Whether nothing contradicts the model, and no order of the versions was found either.
fn is_unsure(model: &str, history: &History, real_time: bool) -> bool {
    let case = Case { history: history.clone(), ..Case::default() };
    let options = CheckOptions { real_time_writes: real_time, ..CheckOptions::default() };
    let verdict = judge(&case, &[model], &options).unwrap().remove(0);
    verdict.judgement == Judgement::Unknown && verdict.explanation.iter().any(|said| said.contains("several deletes"))
}

/// Runs a property over many histories; proptest prints the failing one shrunk.
fn for_histories(
    cases: u32,
    length: usize,
    deletes: bool,
    mut property: impl FnMut(&History) -> Result<(), TestCaseError>,
) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let property = std::cell::RefCell::new(&mut property);
    let ended = runner.run(&steps(length), |steps| (property.borrow_mut())(&history(&steps, deletes)));
    if let Err(error) = ended {
        panic!("{error}");
    }
}

fn agrees_without_deletes(model: &str) {
    let mut seen = [0_u32; 2];
    for_histories(6_000, 14, false, |history| {
        for real_time in real_times(model).iter().copied() {
            let holds = model_holds(model, history, real_time);
            let violated = says_violated(model, history, real_time);
            prop_assert_eq!(violated.is_none(), holds, "real time {}: \n{}", real_time, text(history));
            seen[usize::from(holds)] += 1;
            if let Some(operations) = violated {
                // What the explanation names is enough for the contradiction, whatever the other reads returned.
                let mut named = history.clone();
                named.operations.retain(|op| op.f != Function::Read || operations.contains(&op.index));
                prop_assert!(!model_holds(model, &named, real_time), "{:?} of \n{}", operations, text(history));
            }
        }
        Ok(())
    });
    assert!(seen.iter().all(|count| *count > 1_000), "both answers must be common: {seen:?}");
}

fn is_sound_with_deletes(model: &str) {
    let (mut found, mut missed, mut unsure) = (0_u32, 0_u32, 0_u32);
    for_histories(6_000, 14, true, |history| {
        for real_time in real_times(model).iter().copied() {
            let holds = model_holds(model, history, real_time);
            match says_violated(model, history, real_time) {
                Some(operations) => {
                    prop_assert!(!holds, "real time {}: \n{}", real_time, text(history));
                    found += 1;
                    let mut named = history.clone();
                    named.operations.retain(|op| op.f != Function::Read || operations.contains(&op.index));
                    prop_assert!(!model_holds(model, &named, real_time), "{:?} of \n{}", operations, text(history));
                }
                // What is not found is not known: never `holds`.
                None if is_unsure(model, history, real_time) => {
                    unsure += u32::from(holds);
                    missed += u32::from(!holds);
                }
                None => prop_assert!(holds, "real time {}: \n{}", real_time, text(history)),
            }
        }
        Ok(())
    });
    println!("{model}: {found} violations found, {missed} not known, and {unsure} that hold not known");
    assert!(found > 1_000 && (missed + unsure) * 20 < found, "{found} found, {missed} and {unsure} not known");
    assert!(missed == 0 || model != "linearizable", "all are found where operations are put in order: {missed} missed");
}

#[test]
fn monotonic_reads_agree() {
    agrees_without_deletes("monotonic-reads");
}

#[test]
fn monotonic_quorum_reads_agree() {
    agrees_without_deletes("monotonic-quorum-reads");
}

#[test]
fn linearizable_agrees() {
    agrees_without_deletes("linearizable");
}

#[test]
fn read_your_writes_agree() {
    agrees_without_deletes("read-your-writes");
}

#[test]
fn monotonic_reads_are_sound_with_deletes() {
    is_sound_with_deletes("monotonic-reads");
}

#[test]
fn monotonic_quorum_reads_are_sound_with_deletes() {
    is_sound_with_deletes("monotonic-quorum-reads");
}

#[test]
fn linearizable_is_sound_with_deletes() {
    is_sound_with_deletes("linearizable");
}

#[test]
fn read_your_writes_are_sound_with_deletes() {
    is_sound_with_deletes("read-your-writes");
}

/// An atomic register: every operation takes effect at one moment between its ends.
fn atomic(steps: &[Step], deletes: bool) -> History {
    let mut history = history(steps, deletes);
    let mut moments: Vec<(u64, usize)> = history
        .operations
        .iter()
        .enumerate()
        .filter(|(_, op)| op.outcome != Outcome::Fail)
        .map(|(at, op)| ((op.invoked + op.completed.unwrap_or(op.invoked + 5)) / 2, at))
        .collect();
    moments.sort_unstable();
    let mut current = None;
    for (_, at) in moments {
        let operation = &mut history.operations[at];
        match operation.f {
            Function::Read if operation.outcome == Outcome::Ok => operation.value = current,
            Function::Read => {}
            _ => current = operation.value,
        }
    }
    history
}

#[test]
fn an_atomic_register_holds_and_swapped_reads_are_found() {
    let mut runner = TestRunner::new(Config { cases: 4_000, failure_persistence: None, ..Config::default() });
    let swapped_and_found = std::cell::Cell::new(0_u32);
    let strategy = (steps(20), any::<bool>(), any::<prop::sample::Index>(), 0..=CHANGES_MAX as u64);
    let models = ["monotonic-reads", "monotonic-quorum-reads", "read-your-writes", "linearizable"];
    let ended = runner.run(&strategy, |(steps, deletes, victim, value)| {
        let mut history = atomic(&steps, deletes);
        for model in models {
            prop_assert!(says_violated(model, &history, true).is_none(), "{}: \n{}", model, text(&history));
        }
        let mut reads: Vec<&mut Operation> = history.operations.iter_mut().collect();
        reads.retain(|op| op.f == Function::Read && op.outcome == Outcome::Ok);
        if reads.is_empty() {
            return Ok(());
        }
        let read = victim.index(reads.len());
        reads[read].value = Some(value).filter(|value| *value > 0);
        for model in models {
            let holds = model_holds(model, &history, true);
            let found = says_violated(model, &history, true).is_some();
            if !deletes {
                prop_assert_eq!(found, !holds, "{}: \n{}", model, text(&history));
            }
            prop_assert!(!found || !holds, "{}: \n{}", model, text(&history));
            swapped_and_found.set(swapped_and_found.get() + u32::from(found));
        }
        Ok(())
    });
    if let Err(error) = ended {
        panic!("{error}");
    }
    assert!(swapped_and_found.get() > 1_000, "swaps must often be violations: {}", swapped_and_found.get());
}

#[test]
fn acknowledged_writes_agree() {
    let mut seen = [0_u32; 2];
    for_histories(3_000, 12, true, |history| {
        for real_time in [true, false] {
            for held in 0..=CHANGES_MAX as u64 {
                let held = Some(held).filter(|held| *held > 0);
                let written = changes(history).iter().any(|change| change.value == held && held.is_some());
                if held.is_some() && !written {
                    continue;
                }
                let entries = ["n1", "n2", "n3"].map(|node| FinalEntry {
                    node: node.to_owned(),
                    key: "k".to_owned(),
                    value: held,
                    stamp: 0,
                    content: None,
                });
                let final_state = FinalState {
                    replication: 3,
                    converged_after: Some(1),
                    deadline: 2,
                    entries: entries.to_vec(),
                    unreachable: Vec::new(),
                    nodes: Vec::new(),
                };
                let case = Case { history: history.clone(), final_state: Some(final_state), ..Case::default() };
                let options = CheckOptions { real_time_writes: real_time, ..CheckOptions::default() };
                let verdict = judge(&case, &["acknowledged-writes"], &options).unwrap().remove(0);
                let explained = can_end_with(history, held, real_time);
                let lost = verdict.judgement == Judgement::Violated;
                prop_assert_eq!(lost, !explained, "held {:?}: {:?} \n{}", held, verdict, text(history));
                seen[usize::from(lost)] += 1;
            }
        }
        Ok(())
    });
    assert!(seen.iter().all(|count| *count > 1_000), "both answers must be common: {seen:?}");
}

/// Only the session says that the second write came after the first: it began the moment the first one ended.
#[test]
fn the_last_indeterminate_write_of_a_session_is_newer_than_the_one_before_it() {
    let history =
        hearsay_checkers::dsl::history("p2 r k=2 [2..11]\np1 w k=1 [4..11]\np1 w k=2 [11..] info\np4 r k=1 [12..12]\n");
    let history = history.unwrap();
    assert!(!is_linearizable(&history));
    assert!(says_violated("linearizable", &history, true).is_some());
}
