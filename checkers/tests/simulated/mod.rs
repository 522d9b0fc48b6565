//! A simulated database of lists and registers, and what its clients saw: for tests and benchmarks of isolation levels.
//!
//! Clients take turns at random; a transaction takes effect when it completes. What it *reads* depends on the database.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::fmt::Write as _;

use hearsay_checkers::transactions::{MicroOp, TransactionHistory, TransactionHistoryBuilder, Value};
use hearsay_checkers::{OpIndex, Outcome, ProcessId};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Isolation {
    /// Executes transactions one by one.
    Serializable,
    /// Reads the state in which the transaction began; of two writers of a key that overlap the second is aborted.
    Snapshot,
    /// Reads what is committed at each moment; nothing else is prevented.
    ReadCommitted,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub isolation: Isolation,
    pub lists: bool,
    pub transactions: usize,
    pub operations: usize,
    pub processes: usize,
    pub keys: usize,
    /// Writes of a key, after which a new key takes its place.
    pub writes_per_key: usize,
    pub seed: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Write(usize, i64),
    Read(usize, Vec<i64>),
}

#[derive(Clone, Debug)]
pub(crate) struct Txn {
    pub process: usize,
    pub invoked: u64,
    pub completed: u64,
    pub outcome: Outcome,
    pub ops: Vec<Op>,
}

/// A step of splitmix64.
pub(crate) fn draw(seed: &mut u64, below: usize) -> usize {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut number = *seed;
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((number ^ (number >> 31)) % below as u64) as usize
}

/// Committed versions: of a list its elements, of a register all values, the last one being current.
#[derive(Default)]
struct Store {
    versions: Vec<Vec<i64>>,
    /// When each key was committed last.
    committed: Vec<u64>,
}

impl Store {
    fn grow(&mut self, key: usize) {
        if self.versions.len() <= key {
            self.versions.resize(key + 1, Vec::new());
            self.committed.resize(key + 1, 0);
        }
    }
}

struct Open {
    txn: Txn,
    /// How many versions there were of each of its operations' keys when it began.
    lengths: Vec<usize>,
}

pub(crate) fn simulate(shape: Shape) -> Vec<Txn> {
    let (mut seed, mut now, mut next_value) = (shape.seed, 0_u64, 0_i64);
    let mut store = Store::default();
    // Which key is in use at each place, and how often it was written.
    let mut places: Vec<(usize, usize)> = (0..shape.keys).map(|key| (key, 0)).collect();
    let mut open: Vec<Option<Open>> = (0..shape.processes).map(|_| None).collect();
    let mut done = Vec::with_capacity(shape.transactions);
    let mut begun = 0;
    while done.len() < shape.transactions {
        now += 1;
        let process = draw(&mut seed, shape.processes);
        if let Some(ready) = open[process].take() {
            done.push(commit(shape, &mut store, ready, now));
            continue;
        }
        if begun == shape.transactions {
            continue;
        }
        begun += 1;
        let mut ops = Vec::with_capacity(shape.operations);
        let mut lengths = Vec::with_capacity(shape.operations);
        for _ in 0..shape.operations {
            let place = &mut places[draw(&mut seed, shape.keys)];
            let key = place.0;
            store.grow(key);
            lengths.push(store.versions[key].len());
            if draw(&mut seed, 2) == 0 {
                ops.push(Op::Read(key, Vec::new()));
                continue;
            }
            next_value += 1;
            place.1 += 1;
            ops.push(Op::Write(key, next_value));
            if place.1 == shape.writes_per_key {
                let newest = places.iter().map(|(key, _)| *key).max().unwrap();
                *places.iter_mut().find(|(of, _)| *of == key).unwrap() = (newest + 1, 0);
            }
        }
        let txn = Txn { process, invoked: now, completed: 0, outcome: Outcome::Ok, ops };
        open[process] = Some(Open { txn, lengths });
    }
    done
}

fn commit(shape: Shape, store: &mut Store, ready: Open, now: u64) -> Txn {
    let Open { mut txn, lengths } = ready;
    txn.completed = now;
    let clash = |op: &Op| matches!(op, Op::Write(key, _) if store.committed[*key] > txn.invoked);
    if shape.isolation == Isolation::Snapshot && txn.ops.iter().any(clash) {
        txn.outcome = Outcome::Fail;
        return txn;
    }
    let mut own: Vec<(usize, i64)> = Vec::new();
    for (at, op) in txn.ops.iter_mut().enumerate() {
        match op {
            Op::Write(key, value) => own.push((*key, *value)),
            Op::Read(key, read) => {
                let all = &store.versions[*key];
                let len = match shape.isolation {
                    Isolation::Serializable => all.len(),
                    Isolation::Snapshot => lengths[at],
                    Isolation::ReadCommitted if at == 0 => lengths[at],
                    Isolation::ReadCommitted => all.len(),
                };
                let mut own = own.iter().filter(|(of, _)| of == key).map(|(_, value)| *value);
                *read = if shape.lists {
                    all[..len].iter().copied().chain(own).collect()
                } else {
                    own.next_back().or(all[..len].last().copied()).into_iter().collect()
                };
            }
        }
    }
    for (key, value) in own {
        store.versions[key].push(value);
        store.committed[key] = now;
    }
    txn
}

pub(crate) fn history(txns: &[Txn], lists: bool) -> TransactionHistory {
    let mut builder = TransactionHistoryBuilder::default();
    for txn in txns {
        builder.begin(OpIndex(txn.invoked), ProcessId(txn.process as u64), txn.invoked);
        for op in &txn.ops {
            let (Op::Write(key, _) | Op::Read(key, _)) = op;
            let key = builder.key(&key.to_string());
            match op {
                Op::Write(_, value) if lists => builder.push(MicroOp::Append(key, Value(*value))),
                Op::Write(_, value) => builder.push(MicroOp::Write(key, Value(*value))),
                Op::Read(..) if txn.outcome != Outcome::Ok => builder.push(MicroOp::Unread(key)),
                Op::Read(_, read) if lists => builder.read_list(key, read.iter().map(|value| Value(*value))),
                Op::Read(_, read) => builder.push(MicroOp::Read(key, read.first().map(|value| Value(*value)))),
            }
        }
        builder.end(txn.outcome, (txn.outcome != Outcome::Info).then_some(txn.completed));
    }
    builder.finish().unwrap()
}

/// As Jepsen writes it, an event per line; lists only.
pub(crate) fn edn(txns: &[Txn]) -> String {
    let mut events: Vec<(u64, usize, bool)> = Vec::new();
    for (at, txn) in txns.iter().enumerate() {
        events.push((txn.invoked, at, false));
        events.push((txn.completed, at, true));
    }
    events.sort_unstable();
    let mut out = String::new();
    for (index, (time, at, completes)) in events.into_iter().enumerate() {
        let txn = &txns[at];
        let kind = match (completes, txn.outcome) {
            (false, _) => "invoke",
            (true, Outcome::Ok) => "ok",
            (true, Outcome::Fail) => "fail",
            (true, Outcome::Info) => "info",
        };
        let process = txn.process;
        write!(out, "{{:index {index}, :time {time}, :type :{kind}, :process {process}, :f :txn, :value [").unwrap();
        for op in &txn.ops {
            match op {
                Op::Write(key, value) => write!(out, "[:append {key} {value}] ").unwrap(),
                Op::Read(key, read) if kind == "ok" => {
                    let words: Vec<String> = read.iter().map(ToString::to_string).collect();
                    write!(out, "[:r {key} [{}]] ", words.join(" ")).unwrap();
                }
                Op::Read(key, _) => write!(out, "[:r {key} nil] ").unwrap(),
            }
        }
        out.push_str("]}\n");
    }
    out
}

/// One operation a line, as AWDIT and Plume read it; registers only, reads of what was written only.
pub(crate) fn plume(txns: &[Txn]) -> String {
    let mut out = String::new();
    for (at, txn) in txns.iter().enumerate().filter(|(_, txn)| txn.outcome == Outcome::Ok) {
        for op in &txn.ops {
            match op {
                Op::Write(key, value) => writeln!(out, "w({key},{value},{},{at})", txn.process).unwrap(),
                Op::Read(key, read) => {
                    let value = read.first().copied().unwrap_or_default();
                    writeln!(out, "r({key},{value},{},{at})", txn.process).unwrap();
                }
            }
        }
    }
    out
}
