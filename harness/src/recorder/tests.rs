//! Order, readability after a crash, and the bounds of the recorder.

use std::io::Read;
use std::time::{Duration, Instant};

use hearsay_checkers::{Event, EventType, Function, ProcessId};

use super::*;

fn event(kind: EventType, process: u64) -> Event {
    Event {
        index: 0,
        time: 0,
        kind,
        process: ProcessId(process),
        f: Function::Write,
        key: "k1".to_owned(),
        value: Some(process),
        items: None,
        node: Some("n1".to_owned()),
        error: None,
    }
}

fn lines_of(path: &Path) -> Vec<Event> {
    let mut text = String::new();
    std::fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
    // A torn last line is allowed while the writer lives.
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn index_order_is_time_order_across_threads() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.jsonl");
    let (recorder, writer) = Recorder::create(&path, Instant::now()).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|process| {
            let recorder = recorder.clone();
            std::thread::spawn(move || {
                for _ in 0..1000 {
                    recorder.record(event(EventType::Invoke, process)).unwrap();
                    recorder.record(event(EventType::Ok, process)).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(recorder.counts(), Counts { invoked: 4000, ok: 4000, fail: 0, info: 0 });
    let summary = writer.finish().unwrap();
    assert_eq!(summary.events, 8000);
    assert_eq!(summary.bytes, std::fs::metadata(&path).unwrap().len());
    let events = lines_of(&path);
    assert!(events.iter().enumerate().all(|(at, event)| event.index == at as u64));
    assert!(events.is_sorted_by_key(|event| event.time));
    for process in 0..4 {
        let kinds: Vec<_> = events.iter().filter(|e| e.process.0 == process).map(|e| e.kind).collect();
        assert!(kinds.chunks(2).all(|pair| pair == [EventType::Invoke, EventType::Ok]));
    }
}

#[test]
fn what_was_recorded_is_on_disk_soon_without_finishing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("history.jsonl");
    let (recorder, writer) = Recorder::create(&path, Instant::now()).unwrap();
    recorder.record(event(EventType::Invoke, 1)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while lines_of(&path).is_empty() {
        assert!(Instant::now() < deadline, "the event did not reach the file");
        std::thread::sleep(Duration::from_millis(1));
    }
    writer.finish().unwrap();
}

#[test]
fn an_existing_history_is_not_overwritten() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Recorder::create(file.path(), Instant::now()).unwrap_err();
    assert!(error.to_string().contains("could not be written"), "{error}");
}

#[test]
fn a_full_disk_stops_the_recorder_with_a_sentence() {
    // Every write to this device fails as on a full disk.
    let path = Path::new("/dev/full");
    let full = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    let (recorder, writer) = Recorder::over(full, path, Instant::now());
    recorder.record(event(EventType::Invoke, 1)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    let error = loop {
        match recorder.record(event(EventType::Ok, 1)) {
            Err(error) => break error,
            Ok(_) => assert!(Instant::now() < deadline, "the failed write went unnoticed"),
        }
    };
    assert!(matches!(error, RecorderError::Write { .. }), "{error}");
    assert!(error.to_string().contains("No space left on device"), "{error}");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(recorder.failed()), error);
    assert_eq!(writer.finish().unwrap_err(), error);
}

#[test]
fn a_full_buffer_refuses_and_stops_instead_of_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // A pipe that nobody empties stands for a disk that does not answer.
    let pipe = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut reader = pipe.try_clone().unwrap();
    let (recorder, writer) = Recorder::over(pipe, &path, Instant::now());
    let mut recorded = 0;
    let error = loop {
        match recorder.record(event(EventType::Invoke, recorded)) {
            Ok(_) => recorded += 1,
            Err(error) => break error,
        }
        assert!(recorded < 4 * BUFFERED_EVENTS_MAX as u64, "the buffer has no bound");
    };
    assert_eq!(error, RecorderError::Overflow { path: path.clone() });
    assert!(recorded >= BUFFERED_EVENTS_MAX as u64);
    // Emptied at last, everything that was accepted comes out.
    let draining = std::thread::spawn(move || {
        let mut seen = 0;
        let mut bytes = [0; 1 << 16];
        while seen < recorded {
            let got = reader.read(&mut bytes).unwrap();
            seen += bytes[..got].iter().filter(|&&byte| byte == b'\n').count() as u64;
        }
        seen
    });
    assert_eq!(writer.finish().unwrap_err(), error);
    assert_eq!(draining.join().unwrap(), recorded);
}
