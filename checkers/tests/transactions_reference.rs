//! Isolation levels against their definitions, by brute force on small random histories of transactions.
//!
//! The references share nothing with the checkers: they execute. Serializability is an order of the transactions that, executed
//! one after the other, returns what was read; snapshots are an interleaving of snapshots and commits; the weaker levels are an
//! order of all commits that satisfies the axioms word by word (Biswas and Enea 2019); consistent view is every order of
//! versions tried (Adya 1999). Indeterminate transactions are tried with and without.

use hearsay_checkers::transactions::{
    Level, MicroOp, TransactionHistory, TransactionHistoryBuilder, Value, analyse, notation,
};
use hearsay_checkers::{CheckOptions, Judgement, OpIndex, Outcome, ProcessId};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Write(usize, i64),
    /// A list, or a register with at most one value.
    Read(usize, Vec<i64>),
}

#[derive(Clone, Debug)]
struct Txn {
    process: u64,
    invoked: u64,
    completed: u64,
    outcome: Outcome,
    ops: Vec<Op>,
}

#[derive(Clone, Debug)]
struct Small {
    lists: [bool; KEYS],
    txns: Vec<Txn>,
}

const KEYS: usize = 3;

/// What proptest draws; made a history by [`small`] so that it shrinks well.
#[derive(Clone, Debug)]
struct Raw {
    process: u64,
    delay: u64,
    length: u64,
    outcome: u8,
    /// Key, whether it writes, what it reads.
    ops: Vec<(usize, bool, u8)>,
}

fn raws() -> impl Strategy<Value = ([bool; KEYS], Vec<Raw>, bool)> {
    let op = (0..KEYS, any::<bool>(), any::<u8>());
    let raw = (0..3_u64, 0..3_u64, 0..4_u64, 0..12_u8, prop::collection::vec(op, 1..4))
        .prop_map(|(process, delay, length, outcome, ops)| Raw { process, delay, length, outcome, ops });
    (any::<[bool; KEYS]>(), prop::collection::vec(raw, 2..6), any::<bool>())
}

/// Most reads are those of an execution in the order drawn; the others return something else that was or will be there. With
/// `touching`, many transactions begin the moment another one ends, also one of their own session.
fn small(lists: [bool; KEYS], raws: &[Raw], honest: u8, touching: bool) -> Small {
    let mut value = 0;
    let mut txns: Vec<Txn> = Vec::new();
    let (mut ends, mut now) = ([0; 3], 0);
    // Writes first, so that reads may see the future.
    let mut written: [Vec<i64>; KEYS] = Default::default();
    for (at, raw) in (0_u64..).zip(raws) {
        now += raw.delay;
        let invoked = now.max(ends[raw.process as usize]);
        let completed = invoked + raw.length;
        ends[raw.process as usize] = if touching { completed } else { completed + 1 };
        let outcome = match raw.outcome {
            0 => Outcome::Fail,
            1 => Outcome::Info,
            _ => Outcome::Ok,
        };
        let mut ops = Vec::new();
        for (key, is_write, _) in &raw.ops {
            if *is_write {
                value += 1;
                written[*key].push(value);
                ops.push(Op::Write(*key, value));
            } else {
                ops.push(Op::Read(*key, Vec::new()));
            }
        }
        txns.push(Txn {
            process: raw.process,
            invoked: if touching { invoked } else { invoked * 64 + at },
            completed: if touching { completed } else { completed * 64 + 32 + at },
            outcome,
            ops,
        });
    }
    let mut state: [Vec<i64>; KEYS] = Default::default();
    for (txn, raw) in txns.iter_mut().zip(raws) {
        let before = state.clone();
        for (op, (_, _, choice)) in txn.ops.iter_mut().zip(&raw.ops) {
            match op {
                Op::Write(key, value) if lists[*key] => state[*key].push(*value),
                Op::Write(key, value) => state[*key] = vec![*value],
                Op::Read(key, read) if *choice <= honest => *read = state[*key].clone(),
                Op::Read(key, read) => {
                    let all = &written[*key];
                    let choice = *choice as usize;
                    *read = match (lists[*key], choice % (all.len() + 2)) {
                        (false, at) if at > all.len() => vec![99],
                        (false, 0) => Vec::new(),
                        (false, at) => vec![all[at - 1]],
                        (true, at) if at > all.len() => state[*key].iter().rev().copied().collect(),
                        (true, at) => all[..at].to_vec(),
                    };
                }
            }
        }
        if txn.outcome == Outcome::Fail {
            state = before;
        }
    }
    Small { lists, txns }
}

fn history(small: &Small) -> TransactionHistory {
    let mut builder = TransactionHistoryBuilder::default();
    let keys: Vec<_> = (0..KEYS).map(|key| builder.key(&format!("k{key}"))).collect();
    for (at, txn) in (0..).zip(&small.txns) {
        builder.begin(OpIndex(at), ProcessId(txn.process), txn.invoked);
        for op in &txn.ops {
            match op {
                Op::Write(key, value) if small.lists[*key] => builder.push(MicroOp::Append(keys[*key], Value(*value))),
                Op::Write(key, value) => builder.push(MicroOp::Write(keys[*key], Value(*value))),
                Op::Read(key, _) if txn.outcome != Outcome::Ok => builder.push(MicroOp::Unread(keys[*key])),
                Op::Read(key, read) if small.lists[*key] => {
                    builder.read_list(keys[*key], read.iter().map(|value| Value(*value)));
                }
                Op::Read(key, read) => {
                    builder.push(MicroOp::Read(keys[*key], read.first().map(|value| Value(*value))));
                }
            }
        }
        let completed = if txn.outcome == Outcome::Info { None } else { Some(txn.completed) };
        builder.end(txn.outcome, completed);
    }
    builder.finish().unwrap()
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    Free,
    Sessions,
    RealTime,
}

impl Small {
    /// Every choice of transactions that may have taken part.
    fn parts(&self) -> Vec<Small> {
        let info: Vec<usize> = (0..self.txns.len()).filter(|at| self.txns[*at].outcome == Outcome::Info).collect();
        (0..1_u32 << info.len())
            .map(|bits| {
                let left_out = |at: &usize| info.iter().position(|i| i == at).is_some_and(|bit| bits >> bit & 1 == 0);
                let kept = (0..self.txns.len()).filter(|at| self.txns[*at].outcome != Outcome::Fail && !left_out(at));
                Small { lists: self.lists, txns: kept.map(|at| self.txns[at].clone()).collect() }
            })
            .collect()
    }

    fn before(&self, order: Order, a: usize, b: usize) -> bool {
        let (one, other) = (&self.txns[a], &self.txns[b]);
        let ended = one.outcome == Outcome::Ok && one.completed < other.invoked;
        // A session is sequential, also where its times touch.
        let in_session = one.outcome == Outcome::Ok && one.process == other.process && a < b;
        match order {
            Order::Free => false,
            Order::Sessions => in_session,
            Order::RealTime => ended || in_session,
        }
    }

    /// Executes the reads of a transaction on a state; gives the state with its own writes.
    fn execute(&self, at: usize, state: &[Vec<i64>; KEYS]) -> Option<[Vec<i64>; KEYS]> {
        let txn = &self.txns[at];
        let mut state = state.clone();
        for op in &txn.ops {
            match op {
                Op::Write(key, value) if self.lists[*key] => state[*key].push(*value),
                Op::Write(key, value) => state[*key] = vec![*value],
                Op::Read(key, read) if txn.outcome == Outcome::Ok && *read != state[*key] => return None,
                Op::Read(..) => {}
            }
        }
        Some(state)
    }

    fn serial(&self, order: Order, placed: &mut Vec<usize>, state: &[Vec<i64>; KEYS]) -> bool {
        if placed.len() == self.txns.len() {
            return true;
        }
        (0..self.txns.len()).any(|at| {
            let is_next = !placed.contains(&at)
                && (0..self.txns.len()).all(|other| !self.before(order, other, at) || placed.contains(&other));
            if !is_next {
                return false;
            }
            let Some(state) = self.execute(at, state) else { return false };
            placed.push(at);
            let found = self.serial(order, placed, &state);
            placed.pop();
            found
        })
    }

    fn writes(&self, at: usize, key: usize) -> bool {
        self.txns[at].ops.iter().any(|op| matches!(op, Op::Write(of, _) if *of == key))
    }

    /// Snapshots and commits in every order; `exclusive`: concurrent transactions do not write the same key.
    fn snapshots(
        &self,
        order: Order,
        exclusive: bool,
        begun: &mut Vec<usize>,
        ended: &mut Vec<usize>,
        state: &[Vec<i64>; KEYS],
    ) -> bool {
        if ended.len() == self.txns.len() {
            return true;
        }
        (0..self.txns.len()).any(|at| {
            if !begun.contains(&at) {
                let may = (0..self.txns.len()).all(|other| !self.before(order, other, at) || ended.contains(&other));
                let clash = begun.iter().any(|other| {
                    !ended.contains(other) && (0..KEYS).any(|k| self.writes(at, k) && self.writes(*other, k))
                });
                if !may || (exclusive && clash) || self.execute(at, state).is_none() {
                    return false;
                }
                begun.push(at);
                let found = self.snapshots(order, exclusive, begun, ended, state);
                begun.pop();
                return found;
            }
            if ended.contains(&at) {
                return false;
            }
            let mut state = state.clone();
            for op in &self.txns[at].ops {
                match op {
                    Op::Write(key, value) if self.lists[*key] => state[*key].push(*value),
                    Op::Write(key, value) => state[*key] = vec![*value],
                    Op::Read(..) => {}
                }
            }
            ended.push(at);
            let found = self.snapshots(order, exclusive, begun, ended, &state);
            ended.pop();
            found
        })
    }

    /// Reads of others' writes: (position among the operations, key, writer or nobody), if all are of final versions, own
    /// writes are seen (`see_own`), and values were written by somebody.
    fn sources(&self, at: usize, see_own: bool) -> Option<Vec<(usize, usize, Option<usize>)>> {
        let txn = &self.txns[at];
        let mut sources = Vec::new();
        if txn.outcome != Outcome::Ok {
            return Some(sources);
        }
        for (position, op) in txn.ops.iter().enumerate() {
            let Op::Read(key, read) = op else { continue };
            let own: Vec<i64> = own_writes(&txn.ops[..position], *key);
            let mut external = read.clone();
            if !own.is_empty() {
                if !self.lists[*key] {
                    if see_own && *read != own[own.len() - 1..] {
                        return None;
                    }
                    continue;
                }
                if !read.ends_with(&own) {
                    if see_own {
                        return None;
                    }
                    continue;
                }
                external.truncate(read.len() - own.len());
            }
            let Some(last) = external.last() else {
                sources.push((position, *key, None));
                continue;
            };
            let writer =
                (0..self.txns.len()).find(|other| own_writes(&self.txns[*other].ops, *key).last() == Some(last))?;
            if writer == at {
                return None;
            }
            sources.push((position, *key, Some(writer)));
        }
        Some(sources)
    }

    /// Whether the lists read are those that commits in this order make.
    fn lists_fit(&self, order: &[usize], sources: &[Vec<(usize, usize, Option<usize>)>]) -> bool {
        (0..self.txns.len()).all(|at| {
            sources[at].iter().filter(|(_, key, _)| self.lists[*key]).all(|(position, key, from)| {
                let Op::Read(_, read) = &self.txns[at].ops[*position] else { unreachable!("sources are of reads") };
                let mut expected = Vec::new();
                if let Some(from) = from {
                    let until = order.iter().position(|other| other == from).unwrap();
                    for writer in &order[..=until] {
                        if *writer != at {
                            expected.extend(own_writes(&self.txns[*writer].ops, *key));
                        }
                    }
                }
                expected.extend(own_writes(&self.txns[at].ops[..*position], *key));
                expected == *read
            })
        })
    }

    /// An order of commits that satisfies the axiom of a level.
    fn axioms(&self, sessions: bool, level: Level) -> bool {
        let count = self.txns.len();
        let Some(sources) =
            (0..count).map(|at| self.sources(at, level != Level::ReadCommitted)).collect::<Option<Vec<_>>>()
        else {
            return false;
        };
        let order = if sessions { Order::Sessions } else { Order::Free };
        let is_direct = |other: usize, reader: usize| {
            self.before(order, other, reader) || sources[reader].iter().any(|(_, _, from)| *from == Some(other))
        };
        let direct: Vec<Vec<bool>> =
            (0..count).map(|other| (0..count).map(|reader| is_direct(other, reader)).collect()).collect();
        let mut closed = direct.clone();
        close(&mut closed);
        if (0..count).any(|at| closed[at][at]) {
            return false;
        }
        let seen = |earlier: usize, reader: usize, position: usize| match level {
            Level::ReadCommitted => false,
            Level::SessionReadCommitted => {
                sources[reader].iter().any(|(at, _, from)| *at < position && *from == Some(earlier))
            }
            Level::Causal => closed[earlier][reader],
            _ => direct[earlier][reader],
        };
        permutations(count).iter().any(|order| {
            let place = |at: usize| order.iter().position(|other| *other == at).unwrap();
            (0..count).all(|a| (0..count).all(|b| !direct[a][b] || place(a) < place(b)))
                && self.lists_fit(order, &sources)
                && (0..count).all(|reader| {
                    sources[reader].iter().all(|(position, key, from)| {
                        (0..count).all(|earlier| {
                            let applies = self.writes(earlier, *key)
                                && Some(earlier) != *from
                                && earlier != reader
                                && seen(earlier, reader, *position);
                            !applies || from.is_some_and(|from| place(earlier) < place(from))
                        })
                    })
                })
        })
    }

    /// An order of the versions of each key without a cycle that has at most one rw.
    fn one_rw(&self, order: Order) -> bool {
        let count = self.txns.len();
        let Some(sources) = (0..count).map(|at| self.sources(at, true)).collect::<Option<Vec<_>>>() else {
            return false;
        };
        let by_key: Vec<Vec<Vec<usize>>> = (0..KEYS)
            .map(|key| {
                let writers: Vec<usize> = (0..count).filter(|at| self.writes(*at, key)).collect();
                permutations(writers.len()).iter().map(|order| order.iter().map(|at| writers[*at]).collect()).collect()
            })
            .collect();
        by_key[0].iter().any(|first| {
            by_key[1]
                .iter()
                .any(|second| by_key[2].iter().any(|third| self.has_no_skew(order, &sources, &[first, second, third])))
        })
    }

    fn has_no_skew(
        &self,
        order: Order,
        sources: &[Vec<(usize, usize, Option<usize>)>],
        versions: &[&Vec<usize>; KEYS],
    ) -> bool {
        let count = self.txns.len();
        let mut deps = vec![vec![false; count]; count];
        let mut overwritten = Vec::new();
        for (a, row) in deps.iter_mut().enumerate() {
            for (b, cell) in row.iter_mut().enumerate() {
                *cell = self.before(order, a, b)
                    || versions.iter().any(|writers| {
                        let place = |at: usize| writers.iter().position(|other| *other == at);
                        matches!((place(a), place(b)), (Some(a), Some(b)) if a < b)
                    });
            }
        }
        for (reader, sources) in sources.iter().enumerate() {
            for (_, key, from) in sources {
                let writers = versions[*key];
                let next = from.map_or(0, |from| writers.iter().position(|other| *other == from).unwrap() + 1);
                overwritten.extend(writers[next..].iter().filter(|to| **to != reader).map(|to| (reader, *to)));
                if let Some(from) = from {
                    deps[*from][reader] = true;
                }
            }
        }
        for key in (0..KEYS).filter(|key| self.lists[*key]) {
            let of_key = |all: &Vec<(usize, usize, Option<usize>)>| {
                all.iter().copied().filter(|(_, of, _)| *of == key).collect::<Vec<_>>()
            };
            let sources: Vec<_> = sources.iter().map(of_key).collect();
            if !self.lists_fit(versions[key], &sources) {
                return false;
            }
        }
        close(&mut deps);
        (0..count).all(|at| !deps[at][at]) && overwritten.iter().all(|(reader, to)| !deps[*to][*reader])
    }

    fn satisfies(&self, level: Level) -> bool {
        let empty: [Vec<i64>; KEYS] = Default::default();
        let serial = |order| self.serial(order, &mut Vec::new(), &empty);
        let snapshots = |order, exclusive| self.snapshots(order, exclusive, &mut Vec::new(), &mut Vec::new(), &empty);
        match level {
            Level::ReadUncommitted => unreachable!("not judged here"),
            Level::ReadCommitted | Level::ReadAtomic => self.axioms(false, level),
            Level::SessionReadCommitted | Level::SessionReadAtomic | Level::Causal => self.axioms(true, level),
            Level::ConsistentView => self.one_rw(Order::Free),
            Level::ParallelSnapshotIsolation => self.one_rw(Order::Sessions),
            Level::Prefix => snapshots(Order::Sessions, false),
            Level::SnapshotIsolation => snapshots(Order::Free, true),
            Level::SessionSnapshotIsolation => snapshots(Order::Sessions, true),
            Level::StrongSnapshotIsolation => snapshots(Order::RealTime, true),
            Level::Serializable => serial(Order::Free),
            Level::SessionSerializable => serial(Order::Sessions),
            Level::StrictSerializable => serial(Order::RealTime),
        }
    }
}

fn own_writes(ops: &[Op], key: usize) -> Vec<i64> {
    ops.iter()
        .filter_map(|op| if let Op::Write(of, value) = op { (*of == key).then_some(*value) } else { None })
        .collect()
}

fn close(relation: &mut [Vec<bool>]) {
    let count = relation.len();
    for middle in 0..count {
        for from in 0..count {
            for to in 0..count {
                relation[from][to] |= relation[from][middle] && relation[middle][to];
            }
        }
    }
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in permutations(count - 1) {
        for at in 0..count {
            let mut longer = shorter.clone();
            longer.insert(at, count - 1);
            all.push(longer);
        }
    }
    all
}

/// Compares all levels; gives how many hold, are violated and are unknown.
fn compare(small: &Small) -> Result<[u64; 3], TestCaseError> {
    let history = history(small);
    let analysis = analyse(&history, &CheckOptions::default());
    let parts = small.parts();
    let mut counts = [0; 3];
    for verdict in &analysis.levels {
        let level = verdict.level;
        if level == Level::ReadUncommitted {
            continue;
        }
        let expected = parts.iter().any(|part| part.satisfies(level));
        let said =
            format!("{} is {}: {}\n{}", level.name(), verdict.judgement, verdict.reason, notation::written(&history));
        match verdict.judgement {
            Judgement::Holds => {
                prop_assert!(expected, "no execution, but {said}");
                counts[0] += 1;
            }
            Judgement::Violated => {
                prop_assert!(!expected, "there is an execution, but {said}");
                counts[1] += 1;
            }
            Judgement::Unknown => {
                let no_reads = verdict.reason.starts_with("No committed transaction read");
                let open = matches!(level, Level::ConsistentView | Level::ParallelSnapshotIsolation);
                prop_assert!(no_reads || open, "{said}");
                counts[2] += 1;
            }
        }
    }
    Ok(counts)
}

/// Runs `cases` histories; the line that replays a failure is proptest's own.
fn check(cases: u32, honest: u8) {
    let totals = std::cell::Cell::new([0_u64; 3]);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases, ..ProptestConfig::default() });
    let result = runner.run(&raws(), |(lists, raws, touching)| {
        let counts = compare(&small(lists, &raws, honest, touching))?;
        let mut all = totals.get();
        all.iter_mut().zip(counts).for_each(|(all, count)| *all += count);
        totals.set(all);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let [holds, violated, unknown] = totals.get();
    let all = holds + violated + unknown;
    // A generator that makes only one kind of history proves nothing.
    assert!(
        holds * 20 > all && violated * 20 > all && unknown * 4 < all,
        "{holds} hold, {violated} not, {unknown} unknown"
    );
}

#[test]
fn levels_agree_with_executions_of_mostly_honest_histories() {
    check(15_000, 225);
}

#[test]
fn levels_agree_with_executions_of_histories_with_many_odd_reads() {
    check(15_000, 160);
}
