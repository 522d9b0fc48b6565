//! The models of registers on histories of the sizes that peers were measured on: parsing apart, judging apart, and both.
//!
//! `cargo bench -p hearsay-checkers --bench registers`; with a name, such as `-- one-key`, only that. Histories are made by a small simulation of
//! atomic registers with overlapping operations, so every model holds and all of its work is done.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use hearsay_checkers::registers::Registers;
use hearsay_checkers::search::{CasRegister, Ended, Limits, linearize};
use hearsay_checkers::{Budget, Case, CheckOptions, Judgement, find, read_jsonl, registers_from_jsonl};

#[path = "made/mod.rs"]
mod made;

use made::{compare_and_set, jsonl};

fn holds(model: &str, case: &Case) {
    let verdict = (find(model).expect("a model").check)(case, &CheckOptions::default());
    assert_eq!(verdict.judgement, Judgement::Holds, "{:?}", verdict.explanation);
    black_box(verdict);
}

fn compact(text: &[u8]) -> Case {
    Case { registers: Some(registers_from_jsonl(text).expect("a history")), ..Case::default() }
}

fn one_key(c: &mut Criterion) {
    let text = jsonl(100_000, 1, 5, 0);
    let mut group = c.benchmark_group("one-key-100k");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    group.bench_function("parse", |b| b.iter(|| black_box(registers_from_jsonl(text.as_slice()).unwrap())));
    let case = compact(&text);
    group.bench_function("linearizable", |b| b.iter(|| holds("linearizable", &case)));
    group.bench_function("parse-and-linearizable", |b| b.iter(|| holds("linearizable", &compact(&text))));
    group.finish();
}

fn hundred_keys(c: &mut Criterion) {
    let mut group = c.benchmark_group("100-keys-100k");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for (name, info) in [("parse-and-linearizable", 0), ("parse-and-linearizable-5-percent-info", 5)] {
        let text = jsonl(100_000, 100, 20, info);
        group.bench_function(name, |b| b.iter(|| holds("linearizable", &compact(&text))));
    }
    group.finish();
}

fn swaps(c: &mut Criterion) {
    let mut group = c.benchmark_group("compare-and-set-20-clients");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(3));
    for operations in [200, 1_000, 2_000, 10_000] {
        let calls = compare_and_set(operations, 20);
        let budget = Budget::default();
        group.bench_function(format!("{operations}"), |b| {
            b.iter(|| {
                assert_eq!(linearize(&CasRegister, &[0], &calls, Limits { budget: &budget }), Ended::Linearizable)
            });
        });
    }
    group.finish();
}

fn sessions(c: &mut Criterion) {
    let mut group = c.benchmark_group("sessions-1M-10-clients");
    group.sample_size(10).warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_secs(1));
    let case = compact(&jsonl(1_000_000, 100, 10, 0));
    let models = [
        "monotonic-reads",
        "read-your-writes",
        "monotonic-writes",
        "writes-follow-reads",
        "pram",
        "causal",
        "causal-convergence",
    ];
    for model in models {
        group.bench_function(model, |b| b.iter(|| holds(model, &case)));
    }
    group.finish();
    let mut group = c.benchmark_group("sessions-100k-10-clients");
    group.sample_size(10).warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_secs(1));
    let case = compact(&jsonl(100_000, 100, 10, 0));
    group.bench_function("causal-memory", |b| b.iter(|| holds("causal-memory", &case)));
    group.finish();
}

/// Once, since it is long: ten million operations.
fn ten_million(c: &mut Criterion) {
    let mut group = c.benchmark_group("one-key-10M");
    group.sample_size(10).warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_secs(1));
    let mut text = Vec::new();
    group.bench_function("parse-and-linearizable", |b| {
        if text.is_empty() {
            text = jsonl(10_000_000, 1, 5, 0);
        }
        b.iter(|| holds("linearizable", &compact(&text)));
    });
    group.finish();
}

/// The way through the history with names, for comparison.
fn with_names(c: &mut Criterion) {
    let text = jsonl(100_000, 1, 5, 0);
    let mut group = c.benchmark_group("one-key-100k-with-names");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    group.bench_function("parse", |b| b.iter(|| black_box(read_jsonl(text.as_slice()).unwrap())));
    let history = read_jsonl(text.as_slice()).unwrap();
    group.bench_function("to-registers", |b| b.iter(|| black_box(Registers::from_history(&history))));
    group.finish();
}

criterion_group!(benches, one_key, with_names, hundred_keys, swaps, sessions, ten_million);
criterion_main!(benches);
