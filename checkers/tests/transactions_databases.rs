//! Isolation levels on longer histories of simulated databases: each satisfies what it promises, and what is planted into the
//! history of a correct one is found, by its name.

mod simulated;

use hearsay_checkers::transactions::{Analysis, Anomaly, Level, Scope, analyse, anomaly_svg};
use hearsay_checkers::{CheckOptions, Judgement, Outcome};
use simulated::{Isolation, Op, Shape, Txn, draw, history, simulate};

const SHAPE: Shape = Shape {
    isolation: Isolation::Serializable,
    lists: true,
    transactions: 300,
    operations: 4,
    processes: 8,
    keys: 6,
    writes_per_key: 30,
    seed: 0,
};

fn judged(txns: &[Txn], lists: bool) -> Analysis {
    analyse(&history(txns, lists), &CheckOptions::default())
}

fn says(analysis: &Analysis, level: Level, expected: Judgement, what: &str) {
    let verdict = analysis.level(level);
    assert_eq!(verdict.judgement, expected, "{what}, {}: {}", level.name(), verdict.reason);
}

#[test]
fn a_serializable_database_satisfies_every_level() {
    for seed in 0..12 {
        for lists in [true, false] {
            let analysis = judged(&simulate(Shape { seed, lists, ..SHAPE }), lists);
            for level in Level::ALL {
                says(&analysis, level, Judgement::Holds, &format!("seed {seed}, lists {lists}"));
            }
            assert_eq!((analysis.strongest(), analysis.findings), (vec![Level::StrictSerializable], vec![]));
        }
    }
}

#[test]
fn a_database_of_snapshots_has_write_skew_and_nothing_worse() {
    let mut skewed = 0;
    for seed in 0..12 {
        for lists in [true, false] {
            let shape = Shape { seed, lists, isolation: Isolation::Snapshot, ..SHAPE };
            let analysis = judged(&simulate(shape), lists);
            let what = format!("seed {seed}, lists {lists}");
            says(&analysis, Level::StrongSnapshotIsolation, Judgement::Holds, &what);
            skewed += u64::from(analysis.level(Level::Serializable).judgement == Judgement::Violated);
            let is_skew = |anomaly| matches!(anomaly, Anomaly::G2Item(_) | Anomaly::NoOrder(_));
            assert!(
                analysis.findings.iter().all(|finding| is_skew(finding.anomaly)),
                "{what}: {:?}",
                analysis.findings
            );
        }
    }
    assert!(skewed > 18, "{skewed} of 24 histories of snapshots are not serializable");
}

#[test]
fn a_database_that_only_reads_committed_loses_updates() {
    for seed in 0..12 {
        let shape = Shape { seed, isolation: Isolation::ReadCommitted, ..SHAPE };
        let analysis = judged(&simulate(shape), true);
        let what = format!("seed {seed}");
        says(&analysis, Level::ReadCommitted, Judgement::Holds, &what);
        says(&analysis, Level::SnapshotIsolation, Judgement::Violated, &what);
        says(&analysis, Level::ConsistentView, Judgement::Violated, &what);
        assert!(analysis.findings.iter().any(|finding| finding.anomaly == Anomaly::LostUpdate), "{what}");
    }
}

/// A committed transaction and an external read in it of more than transactions under way can have written, from a random
/// place on.
fn some_read(txns: &[Txn], seed: &mut u64) -> (usize, usize) {
    let from = draw(seed, txns.len());
    let at = (0..txns.len()).map(|at| (from + at) % txns.len());
    let read = |at: usize| {
        let ops = &txns[at].ops;
        let position = ops.iter().enumerate().position(|(position, op)| {
            let Op::Read(key, read) = op else { return false };
            let own = ops[..position].iter().any(|op| matches!(op, Op::Write(of, _) if of == key));
            read.len() > 14 && !own
        })?;
        Some((at, position))
    };
    at.filter(|at| txns[*at].outcome == Outcome::Ok).find_map(read).expect("some transaction read something")
}

fn planted(what: &str, plant: impl Fn(&mut Vec<Txn>, &mut u64), expected: &[Anomaly], broken: Level) {
    for seed in 0..12 {
        let mut txns = simulate(Shape { seed, ..SHAPE });
        plant(&mut txns, &mut (seed + 1_000));
        let history = history(&txns, true);
        let analysis = analyse(&history, &CheckOptions::default());
        let found: Vec<Anomaly> = analysis.findings.iter().map(|finding| finding.anomaly).collect();
        assert!(expected.iter().any(|anomaly| found.contains(anomaly)), "{what}, seed {seed}: {found:?}");
        says(&analysis, broken, Judgement::Violated, what);
        for finding in &analysis.findings {
            assert!(finding.sentences.len() >= 2 && anomaly_svg(&history, finding).ends_with("</svg>\n"));
        }
    }
}

#[test]
fn what_is_planted_into_a_correct_history_is_found() {
    planted(
        "a read misses all but the oldest element",
        |txns, seed| {
            let (at, position) = some_read(txns, seed);
            let Op::Read(_, read) = &mut txns[at].ops[position] else { unreachable!("it is a read") };
            read.truncate(1);
        },
        &[
            Anomaly::GSingle(Scope::Plain),
            Anomaly::GSingle(Scope::RealTime),
            Anomaly::G2Item(Scope::RealTime),
            Anomaly::G1b,
            Anomaly::UnrepeatableRead,
            Anomaly::G2Item(Scope::Plain),
            Anomaly::LostUpdate,
        ],
        Level::StrictSerializable,
    );
    planted(
        "a read has two elements in the wrong order",
        |txns, seed| {
            let (at, position) = some_read(txns, seed);
            let Op::Read(_, read) = &mut txns[at].ops[position] else { unreachable!("it is a read") };
            let last = read.len() - 1;
            read.swap(last, last - 1);
        },
        &[
            Anomaly::IncompatibleOrder,
            Anomaly::G0(Scope::RealTime),
            Anomaly::G1c(Scope::RealTime),
            Anomaly::G1c(Scope::Plain),
            Anomaly::GSingle(Scope::RealTime),
        ],
        Level::StrictSerializable,
    );
    planted(
        "an element is read twice",
        |txns, seed| {
            let (at, position) = some_read(txns, seed);
            let Op::Read(_, read) = &mut txns[at].ops[position] else { unreachable!("it is a read") };
            read.push(read[0]);
        },
        &[Anomaly::DuplicateElements],
        Level::ReadUncommitted,
    );
    planted(
        "a read returns what nobody wrote",
        |txns, seed| {
            let (at, position) = some_read(txns, seed);
            let Op::Read(_, read) = &mut txns[at].ops[position] else { unreachable!("it is a read") };
            read.push(1_000_000);
        },
        &[Anomaly::GarbageRead],
        Level::ReadUncommitted,
    );
    planted(
        "whoever wrote what was read is said to be aborted",
        |txns, seed| {
            let (at, position) = some_read(txns, seed);
            let Op::Read(key, read) = &txns[at].ops[position] else { unreachable!("it is a read") };
            let (key, last) = (*key, *read.last().unwrap());
            let wrote = |op: &Op| matches!(op, Op::Write(of, value) if (*of, *value) == (key, last));
            let writer = txns.iter_mut().find(|txn| txn.ops.iter().any(wrote)).unwrap();
            writer.outcome = Outcome::Fail;
        },
        &[Anomaly::G1a],
        Level::ReadCommitted,
    );
    planted(
        "a write is left out of its transaction",
        |txns, seed| {
            let (at, position) = some_read(txns, seed);
            let Op::Read(key, read) = &txns[at].ops[position] else { unreachable!("it is a read") };
            let (key, last) = (*key, *read.last().unwrap());
            for txn in txns.iter_mut() {
                txn.ops.retain(|op| !matches!(op, Op::Write(of, value) if (*of, *value) == (key, last)));
            }
        },
        &[Anomaly::GarbageRead],
        Level::ReadUncommitted,
    );
}
