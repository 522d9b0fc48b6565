//! Which models a recording is about, by its functions and the shapes of its values.
//!
//! | functions | models |
//! |---|---|
//! | `add` (or `broadcast`) and reads of lists or sets | set, set-full |
//! | `add` and reads of numbers, or equal adds and no read | counter |
//! | `enqueue`, `dequeue`, `drain` | queue, total-queue |
//! | `generate` | unique-ids |
//! | `transfer`, or reads of maps of balances | bank |
//! | lists of micro-operations that only read, or write one key | long-fork |
//! | `publish` and `deliver` | broadcast |
//! | `view` | views |
//!
//! A history of registers goes to the models of registers; other transactions are not decided here.

use std::collections::BTreeSet;

use crate::data::functions;
use crate::models::{bank, broadcast, counter, long_fork, queue, set, set_full, total_queue, unique_ids, views};
use crate::record::{Datum, Record, Recording};
use crate::{Case, EventType, checkers};

/// Models of other data types than registers.
const OF_DATA: [&str; 10] = [
    set::NAME,
    set_full::NAME,
    counter::NAME,
    queue::NAME,
    total_queue::NAME,
    unique_ids::NAME,
    bank::NAME,
    long_fork::NAME,
    broadcast::NAME,
    views::NAME,
];

/// Names of the models that a case is about: those of registers where it has a history of them, else those of its recording.
pub fn models_of(case: &Case) -> Vec<&'static str> {
    match &case.recording {
        Some(recording) if case.history.operations.is_empty() => applicable(recording),
        _ => checkers().iter().map(|checker| checker.name).filter(|name| !OF_DATA.contains(name)).collect(),
    }
}

/// Names of the models of other data types than registers that a recording is about, and that can judge it.
pub fn applicable(recording: &Recording) -> Vec<&'static str> {
    let functions = functions(recording);
    let has = |name: &str| functions.contains(&name);
    let any = |f: &str| recording.records.iter().any(|record| record.f.as_ref() == f);
    let mut names = Vec::new();
    if has("add") || has("broadcast") {
        names.extend(match results(recording).next() {
            Some(Datum::Int(_)) => &[counter::NAME][..],
            None if adds_repeat(recording) => &[counter::NAME],
            _ => &[set::NAME, set_full::NAME],
        });
    }
    if has("enqueue") || has("dequeue") {
        names.extend([queue::NAME, total_queue::NAME]);
    }
    if has("generate") {
        names.push(unique_ids::NAME);
    }
    let balances = |datum: &Datum| datum.entries().is_some_and(|entries| !entries.is_empty());
    if has("transfer") || (has("read") && results(recording).next().is_some_and(balances)) {
        names.push(bank::NAME);
    }
    if forks(recording) {
        names.push(long_fork::NAME);
    }
    if any("deliver") {
        names.push(broadcast::NAME);
    }
    if any("view") {
        names.push(views::NAME);
    }
    names
}

/// What reads returned.
fn results(recording: &Recording) -> impl Iterator<Item = &Datum> {
    let ok_read = |record: &&Record| record.kind == EventType::Ok && record.f.as_ref() == "read";
    recording.client_records().filter(ok_read).map(|record| &record.value).filter(|value| !value.is_nil())
}

fn adds_repeat(recording: &Recording) -> bool {
    let mut seen = BTreeSet::new();
    let add = |record: &&Record| record.kind == EventType::Invoke && record.f.as_ref() == "add";
    !recording.client_records().filter(add).all(|record| seen.insert((&record.key, &record.value)))
}

/// Whether all values are micro-operations that only read, or write one key, and some read several.
fn forks(recording: &Recording) -> bool {
    let mut groups = false;
    for record in recording.client_records() {
        let Some(all) = long_fork::micro_operations(&record.value).filter(|all| !all.is_empty()) else { return false };
        let reads = all.iter().all(|(f, ..)| *f == "r");
        if !reads && !matches!(all.as_slice(), [("w", ..)]) {
            return false;
        }
        groups |= reads && all.len() > 1;
    }
    groups
}
