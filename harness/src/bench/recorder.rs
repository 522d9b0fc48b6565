//! How fast the recorder takes what clients saw, and whether it ever makes them wait, against writing the same bytes to a
//! file with nothing around it.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use hearsay_checkers::{Event, EventType, Function, ProcessId};

use super::{Figure, Options};
use crate::recorder::Recorder;

/// Operations a second that are offered, evenly, by all clients together.
const OFFERED_PER_S: u64 = 200_000;
/// Clients, each a thread.
const CLIENTS: u64 = 2;
/// A client that waits longer than this for the recorder was blocked by it.
const BLOCKED: Duration = Duration::from_millis(5);

fn event(kind: EventType, process: u64, number: u64) -> Event {
    Event {
        index: 0,
        time: 0,
        kind,
        process: ProcessId(process),
        f: Function::Write,
        key: format!("k{}", number % 32),
        value: Some(number),
        items: None,
        node: Some("n1".to_string()),
        error: None,
    }
}

/// Offers 200k operations (400k events) a second for the measured time.
///
/// # Errors
/// The disk, or a recorder that gave up.
pub(super) fn recorder(options: &Options) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("history.jsonl");
    let operations_each = (OFFERED_PER_S as f64 * options.duration.as_secs_f64()) as u64 / CLIENTS;
    let gap = Duration::from_secs_f64(CLIENTS as f64 / OFFERED_PER_S as f64);
    let begin = Instant::now();
    let (recorder, writer) = Recorder::create(&path, begin)?;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|process| {
            let recorder = recorder.clone();
            std::thread::spawn(move || -> Result<Histogram<u64>> {
                let mut waited_ns = Histogram::<u64>::new(3)?;
                for number in 0..operations_each {
                    // Spinning keeps the offered rate exact; a sleep this short would not.
                    while begin.elapsed() < gap * number as u32 {
                        std::hint::spin_loop();
                    }
                    for kind in [EventType::Invoke, EventType::Ok] {
                        let event = event(kind, process, number);
                        let before = Instant::now();
                        recorder.record(event)?;
                        waited_ns.record(before.elapsed().as_nanos() as u64)?;
                    }
                }
                Ok(waited_ns)
            })
        })
        .collect();
    let mut waited_ns = Histogram::<u64>::new(3)?;
    for client in clients {
        waited_ns.add(client.join().expect("a client of the benchmark does not panic")?)?;
    }
    let offered = begin.elapsed();
    let summary = writer.finish()?;
    let rate = (operations_each * CLIENTS) as f64 / offered.as_secs_f64();
    ensure!(summary.events == operations_each * CLIENTS * 2, "events were lost: {} arrived", summary.events);

    let bytes = std::fs::read(&path)?;
    let before = Instant::now();
    let mut plain = std::io::BufWriter::new(std::fs::File::create(folder.path().join("plain"))?);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        plain.write_all(line)?;
    }
    plain.flush()?;
    let plain_rate = summary.events as f64 / 2.0 / before.elapsed().as_secs_f64();
    let at = |percent| Duration::from_nanos(waited_ns.value_at_percentile(percent));
    let longest = Duration::from_nanos(waited_ns.max());
    Ok(vec![Figure {
        what: format!("recorder, {OFFERED_PER_S} operations/s offered by {CLIENTS} busy clients"),
        measured: format!(
            "{rate:.0} operations/s; a client waits p50 {:?}, p99.9 {:?}, at most {longest:?}",
            at(50.0),
            at(99.9)
        ),
        reference: format!("the same bytes to a plain file {plain_rate:.0} operations/s"),
        ratio: Some(rate / plain_rate),
        goal: Some(format!("{OFFERED_PER_S}/s, p99.9 of the wait below {BLOCKED:?}")),
        met: Some(rate >= 0.97 * OFFERED_PER_S as f64 && at(99.9) < BLOCKED),
    }])
}
