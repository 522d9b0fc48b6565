//! How long isolation levels take, with parsing and without: `cargo bench -p hearsay-checkers --bench transactions`.
//!
//! The rows of the peers: 100,000 list-append transactions judged strict serializable (Elle), and 100,000 transactions of 8
//! operations on 1000 registers by 20 sessions judged read committed, read atomic and causal (AWDIT).

#![allow(missing_docs, reason = "criterion's macros make public items without any")]

#[path = "../tests/simulated/mod.rs"]
mod simulated;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use hearsay_checkers::import::{ImportOptions, read_recording};
use hearsay_checkers::transactions::TransactionHistory;
use hearsay_checkers::{Case, CheckOptions, Judgement, judge};
use simulated::{Isolation, Shape, edn, history, plume, simulate};

const LISTS: Shape = Shape {
    isolation: Isolation::Serializable,
    lists: true,
    transactions: 100_000,
    operations: 4,
    processes: 20,
    keys: 100,
    writes_per_key: 64,
    seed: 1,
};

const REGISTERS: Shape = Shape { lists: false, operations: 8, keys: 1_000, writes_per_key: usize::MAX, ..LISTS };

fn holds(case: &Case, level: &str) {
    let verdict = judge(black_box(case), &[level], &CheckOptions::default()).unwrap().remove(0);
    assert_eq!(verdict.judgement, Judgement::Holds, "{verdict:#?}");
}

fn parsed(text: &str) -> Case {
    let recording = read_recording(black_box(text).as_bytes(), &ImportOptions::default()).unwrap();
    let transactions = TransactionHistory::from_recording(&recording).unwrap();
    Case { transactions, ..Case::default() }
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("transactions");
    group.sample_size(10);
    let txns = simulate(LISTS);
    let (case, text) = (Case { transactions: Some(history(&txns, true)), ..Case::default() }, edn(&txns));
    for level in ["serializable", "strict-serializable", "snapshot-isolation"] {
        group.bench_function(format!("list-append 100k {level}"), |bencher| bencher.iter(|| holds(&case, level)));
    }
    let name = format!("list-append 100k strict-serializable with parsing ({} MB EDN)", text.len() / 1_000_000);
    group.bench_function(name, |bencher| bencher.iter(|| holds(&parsed(&text), "strict-serializable")));
    let txns = simulate(REGISTERS);
    let (case, text) = (Case { transactions: Some(history(&txns, false)), ..Case::default() }, plume(&txns));
    for level in ["session-read-committed", "session-read-atomic", "transactional-causal"] {
        group.bench_function(format!("registers 100k x 8 {level}"), |bencher| bencher.iter(|| holds(&case, level)));
        let name = format!("registers 100k x 8 {level} with parsing ({} MB)", text.len() / 1_000_000);
        group.bench_function(name, |bencher| bencher.iter(|| holds(&parsed(&text), level)));
    }
    group.bench_function("registers 100k x 8 serializable", |bencher| bencher.iter(|| holds(&case, "serializable")));
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
