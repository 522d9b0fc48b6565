//! The models of registers on histories of the sizes that peers were measured on: parsing apart, judging apart, and both.
//!
//! `cargo bench -p hearsay-checkers --bench registers`; with a name, such as `-- one-key`, only that. Histories are made by a small simulation of
//! atomic registers with overlapping operations, so every model holds and all of its work is done.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use hearsay_checkers::registers::Registers;
use hearsay_checkers::search::{Called, CasRegister, Ended, Limits, RegisterCall, linearize};
use hearsay_checkers::{
    Budget, Case, CheckOptions, Event, EventType, Function, Judgement, ProcessId, find, read_jsonl,
    registers_from_jsonl,
};

struct Spread(u64);

impl Spread {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// `history.jsonl` of atomic registers; `info` of a hundred operations never answer.
fn jsonl(operations: u64, keys: u64, clients: u64, info: u64) -> Vec<u8> {
    let mut spread = Spread(7);
    let mut registers = vec![None; keys as usize];
    let mut processes: Vec<u64> = (0..clients).collect();
    let mut next_process = clients;
    let mut open: Vec<Option<(u64, Function, Option<u64>)>> = vec![None; clients as usize];
    let (mut begun, mut time, mut index) = (0, 0, 0);
    let mut text = Vec::with_capacity(operations as usize * 200);
    while begun < operations || open.iter().any(Option::is_some) {
        time += 1 + spread.below(20_000);
        let client = spread.below(clients) as usize;
        let (kind, f, key, value) = match open[client].take() {
            None if begun == operations => continue,
            None => {
                begun += 1;
                let f = if spread.below(2) == 0 { Function::Write } else { Function::Read };
                let value = (f == Function::Write).then_some(begun);
                let key = spread.below(keys);
                open[client] = Some((key, f, value));
                (EventType::Invoke, f, key, value)
            }
            Some((key, f, value)) => {
                let lost = spread.below(100) < info;
                let result = match f {
                    Function::Read => registers[key as usize],
                    _ => {
                        registers[key as usize] = value;
                        value
                    }
                };
                (if lost { EventType::Info } else { EventType::Ok }, f, key, result)
            }
        };
        let event = Event {
            index,
            time,
            kind,
            process: ProcessId(processes[client]),
            f,
            key: format!("k{key}"),
            value,
            items: None,
            node: Some(format!("n{}", client % 5 + 1)),
            error: None,
        };
        event.write_json_line(&mut text);
        index += 1;
        if kind == EventType::Info {
            processes[client] = next_process;
            next_process += 1;
        }
    }
    text
}

fn holds(model: &str, case: &Case) {
    let verdict = (find(model).expect("a model").check)(case, &CheckOptions::default());
    assert_eq!(verdict.judgement, Judgement::Holds, "{:?}", verdict.explanation);
    black_box(verdict);
}

fn compact(text: &[u8]) -> Case {
    Case { registers: Some(registers_from_jsonl(text).expect("a history")), ..Case::default() }
}

/// Compare-and-set of the values 0 to 4: a register that works, `clients` at once.
fn compare_and_set(operations: u64, clients: u64) -> Vec<Called<RegisterCall>> {
    let mut spread = Spread(11);
    let mut state = 0;
    let mut open: Vec<Option<usize>> = vec![None; clients as usize];
    let mut calls: Vec<Called<RegisterCall>> = Vec::new();
    let mut time = 0;
    while (calls.len() as u64) < operations || open.iter().any(Option::is_some) {
        time += 1;
        let client = spread.below(clients) as usize;
        match open[client].take() {
            None if calls.len() as u64 == operations => {}
            None => {
                let (a, b) = (spread.below(5) as u32, spread.below(5) as u32);
                let call = match spread.below(3) {
                    0 => RegisterCall::Read(a),
                    1 => RegisterCall::Write(a),
                    _ => RegisterCall::CompareAndSet(a, b),
                };
                open[client] = Some(calls.len());
                calls.push(Called { call, began: time, ended: None, optional: false });
            }
            Some(at) => {
                // It takes effect at its end; a compare-and-set that finds something else is a read of that.
                match &mut calls[at].call {
                    RegisterCall::Read(value) => *value = state,
                    RegisterCall::Write(value) => state = *value,
                    RegisterCall::CompareAndSet(from, to) if *from == state => state = *to,
                    other => *other = RegisterCall::Read(state),
                }
                calls[at].ended = Some(time);
            }
        }
    }
    calls
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
