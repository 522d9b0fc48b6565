//! How fast files of other systems become records, and records operations: `cargo bench -p hearsay-checkers --bench import`.
//!
//! 100,000 operations of one register by five clients, every value written once, in each format.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hearsay_checkers::EventType;
use hearsay_checkers::export::{ExportFormat, write_recording};
use hearsay_checkers::import::{ImportOptions, read_recording, stream_records};
use hearsay_checkers::record::{Datum, Process, Record, Recording};

const OPERATIONS: u64 = 100_000;

/// Clients take turns: all five begin, then all five end.
fn recording() -> Recording {
    let mut records = Vec::new();
    let mut written = 0;
    for round in 0..OPERATIONS / 5 {
        for kind in [EventType::Invoke, EventType::Ok] {
            for process in 0..5 {
                let (f, value) = match (process < 2, kind) {
                    (true, _) => ("write", Datum::Int((round * 2 + process) as i64)),
                    (false, EventType::Invoke) => ("read", Datum::Nil),
                    (false, _) => ("read", Datum::Int(written)),
                };
                let mut record = Record::new(kind, Process::Client(process), f, value);
                record.index = records.len() as u64;
                record.time = Some(record.index * 1_234);
                records.push(record);
            }
        }
        written = (round * 2) as i64;
    }
    Recording { records, ..Recording::default() }
}

fn import(criterion: &mut Criterion) {
    let recording = recording();
    let mut group = criterion.benchmark_group("import-100k");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for format in ExportFormat::ALL {
        let mut bytes = Vec::new();
        write_recording(&recording, format, &mut bytes).expect("memory takes all");
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("{} read", format.name()), |bencher| {
            bencher
                .iter(|| read_recording(black_box(bytes.as_slice()), &ImportOptions::default()).expect("a good file"));
        });
        group.bench_function(format!("{} streamed", format.name()), |bencher| {
            bencher.iter(|| {
                let mut count = 0_u64;
                stream_records(black_box(bytes.as_slice()), None, |_| count += 1).expect("a good file");
                count
            });
        });
        group.bench_function(format!("{} written", format.name()), |bencher| {
            let mut out = Vec::with_capacity(bytes.len());
            bencher.iter(|| {
                out.clear();
                write_recording(&recording, format, &mut out).expect("memory takes all");
            });
        });
    }
    group.throughput(Throughput::Elements(OPERATIONS));
    group.bench_function("paired", |bencher| {
        bencher.iter(|| recording.operations().expect("a good recording").all.len());
    });
    group.finish();
}

criterion_group!(benches, import);
criterion_main!(benches);
