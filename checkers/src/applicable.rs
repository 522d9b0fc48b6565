//! Which models a recording is about, by its functions and the shapes of its values.
//!
//! | functions | models |
//! |---|---|
//! | `add` (or `broadcast`) and reads of lists or sets | set, set-full |
//! | `add` and reads of numbers, or equal adds and no read | counter |
//! | `add`, `remove` and reads of lists or sets | removals |
//! | `scan` beside writes and deletes | scans |
//! | `enqueue`, `dequeue`, `drain` | queue, total-queue |
//! | `generate` | unique-ids |
//! | `transfer`, or reads of maps of balances | bank |
//! | lists of micro-operations that only read, or write one key | long-fork |
//! | `publish` and `deliver` | broadcast |
//! | `view` | views |
//!
//! | `read`, `write` and `delete`, every value written once per key | the models of registers |
//! | the same with `cas`, `append` or equal values | linearizable |
//! | other lists of micro-operations | the levels of transactions |

use std::collections::BTreeSet;

use crate::data::functions;
use crate::models::{
    bank, broadcast, counter, linearizable, long_fork, queue, removals, scans, set, set_full, staleness, total_queue,
    unique_ids, views,
};
use crate::record::{Datum, Record, Recording};
use crate::register_models::{REGISTER_MODELS, find_register_model};
use crate::{Case, EventType, checkers, find};

/// Models of other data types than registers.
const OF_DATA: [&str; 12] = [
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
    removals::NAME,
    scans::NAME,
];

/// Levels of transactions, weakest first.
const OF_TRANSACTIONS: [&str; 15] = [
    "read-uncommitted",
    "read-committed",
    "session-read-committed",
    "read-atomic",
    "session-read-atomic",
    "transactional-causal",
    "consistent-view",
    "parallel-snapshot-isolation",
    "prefix-consistency",
    "snapshot-isolation",
    "strong-session-snapshot-isolation",
    "strong-snapshot-isolation",
    "serializable",
    "strong-session-serializable",
    "strict-serializable",
];

/// Whether it is a model of registers that a history of another system can be judged by.
pub(crate) fn is_of_registers(model: &str) -> bool {
    find_register_model(model).is_some_and(|model| model.name != staleness::NAME)
}

/// Names of the models that a case is about: those of registers where it has a history of them, else those of its recording.
pub fn models_of(case: &Case) -> Vec<&'static str> {
    match &case.recording {
        None if case.transactions.is_some() && case.history.operations.is_empty() => OF_TRANSACTIONS.to_vec(),
        Some(recording) if case.history.operations.is_empty() => applicable(recording),
        _ => checkers()
            .iter()
            .map(|checker| checker.name)
            .filter(|name| !OF_DATA.contains(name) && !OF_TRANSACTIONS.contains(name))
            .collect(),
    }
}

/// Names of the models that a recording is about.
pub fn applicable(recording: &Recording) -> Vec<&'static str> {
    let functions = functions(recording);
    let has = |name: &str| functions.contains(&name);
    let any = |f: &str| recording.records.iter().any(|record| record.f.as_ref() == f);
    let mut names = Vec::new();
    if has("add") || has("broadcast") {
        names.extend(match results(recording).next() {
            Some(Datum::Int(_)) => &[counter::NAME][..],
            None if repeats(recording, "add") => &[counter::NAME],
            _ => &[set::NAME, set_full::NAME],
        });
    }
    if has("add") && has("remove") {
        // The other models of sets know of no removals.
        names = vec![removals::NAME];
    }
    if has("scan") {
        names.push(scans::NAME);
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
    } else if recording.client_records().any(is_transaction) {
        names.extend(OF_TRANSACTIONS.iter().filter(|name| find(name).is_some()));
    }
    if any("deliver") {
        names.push(broadcast::NAME);
    }
    if any("view") {
        names.push(views::NAME);
    }
    let of_registers = |f: &&str| matches!(*f, "read" | "write" | "delete" | "get" | "put" | "append" | "cas");
    if !functions.is_empty() && functions.iter().all(of_registers) && names.is_empty() {
        let plain = functions.iter().all(|f| matches!(*f, "read" | "write" | "delete")) && !repeats(recording, "write");
        let unasked = REGISTER_MODELS.iter().filter(|model| model.unasked).map(|model| model.name);
        let all = unasked.filter(|name| plain || *name == linearizable::NAME);
        names.extend(all);
    }
    names
}

fn is_transaction(record: &Record) -> bool {
    long_fork::micro_operations(&record.value).is_some_and(|all| !all.is_empty())
}

/// What reads returned.
fn results(recording: &Recording) -> impl Iterator<Item = &Datum> {
    let ok_read = |record: &&Record| record.kind == EventType::Ok && record.f.as_ref() == "read";
    recording.client_records().filter(ok_read).map(|record| &record.value).filter(|value| !value.is_nil())
}

/// Whether two operations of that function have equal keys and values.
fn repeats(recording: &Recording, f: &str) -> bool {
    let mut seen = BTreeSet::new();
    let begins = |record: &&Record| record.kind == EventType::Invoke && record.f.as_ref() == f;
    !recording.client_records().filter(begins).all(|record| seen.insert((&record.key, &record.value)))
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
