//! The recorder: every event of every client, in one order, on disk while it happens.
//!
//! Stamping and ordering are one step under one lock: an event gets its time and its place together, so the order of
//! the file is the order of the times. An invocation is recorded before its request is sent and a completion after its
//! answer has come, so the recorded interval of an operation always covers the real one, and real-time order read from
//! a history is never stronger than it was.
//!
//! Invariants:
//! - Clients never wait for the disk: they append to a bounded buffer that one writer thread empties at least every
//!   [`FLUSH_INTERVAL`].
//! - A full buffer or a failed write stops the recorder for good: later events are refused, nobody guesses. What was
//!   written stays readable, the last line is whole.
//! - A history that misses completions (crash, stop) is sound: an operation without completion is indeterminate.

mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hearsay_checkers::{Event, EventType};

/// Events wait in memory for at most this long before they are handed to the kernel.
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(20);
/// Events that wait for the writer at most. At a hundred thousand operations per second this is more than a second of
/// a disk that does not answer.
pub const BUFFERED_EVENTS_MAX: usize = 1 << 18;

/// Why a history can't be recorded (any more).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecorderError {
    /// The file could not be made or written.
    #[error("the history {path} could not be written: {reason}; make room there or give another --store")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The disk did not keep up with the clients.
    #[error(
        "{BUFFERED_EVENTS_MAX} events were waiting for the disk under {path}: it is too slow for this load; lower the \
         campaign's rate or give another --store"
    )]
    Overflow {
        /// The file.
        path: PathBuf,
    },
}

/// Operations that ended so far, for the progress display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Started.
    pub invoked: u64,
    /// Ended `ok`.
    pub ok: u64,
    /// Ended `fail`.
    pub fail: u64,
    /// Ended `info`.
    pub info: u64,
}

/// What the recorder had written when it was finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Events in the file.
    pub events: u64,
    /// Bytes in the file.
    pub bytes: u64,
}

/// A handle for clients. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
}

/// The one that ends the recording.
#[derive(Debug)]
pub struct RecorderWriter {
    shared: Arc<Shared>,
    thread: std::thread::JoinHandle<Result<Summary, RecorderError>>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    start: Instant,
    buffer: Mutex<Buffer>,
    wake: Condvar,
    failed: tokio::sync::watch::Sender<Option<RecorderError>>,
    counts: [AtomicU64; 4],
    acknowledged_writes: AtomicU64,
}

#[derive(Debug, Default)]
struct Buffer {
    events: Vec<Event>,
    next_index: u64,
    finished: bool,
    failure: Option<RecorderError>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().expect("nobody panics while holding the recorder's buffer")
    }

    fn stop(&self, buffer: &mut Buffer, error: RecorderError) {
        if buffer.failure.is_none() {
            buffer.failure = Some(error.clone());
            self.failed.send_replace(Some(error));
        }
    }
}

impl Recorder {
    /// Starts a history at `path` (which must not exist) with its writer thread. Times count from `start`.
    ///
    /// # Errors
    /// The file can't be made.
    pub fn create(path: &Path, start: Instant) -> Result<(Recorder, RecorderWriter), RecorderError> {
        let open = |path: &Path| std::fs::OpenOptions::new().write(true).create_new(true).open(path);
        let file =
            open(path).map_err(|error| RecorderError::Write { path: path.to_owned(), reason: error.to_string() })?;
        Ok(Recorder::over(file, path, start))
    }

    fn over(file: std::fs::File, path: &Path, start: Instant) -> (Recorder, RecorderWriter) {
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            start,
            buffer: Mutex::default(),
            wake: Condvar::new(),
            failed: tokio::sync::watch::Sender::new(None),
            counts: Default::default(),
            acknowledged_writes: AtomicU64::new(0),
        });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || writer::write_events(&for_thread, file));
        (Recorder { shared: Arc::clone(&shared) }, RecorderWriter { shared, thread })
    }

    /// When the run started.
    pub fn start(&self) -> Instant {
        self.shared.start
    }

    /// Nanoseconds since the start of the run.
    pub fn now(&self) -> u64 {
        u64::try_from(self.shared.start.elapsed().as_nanos()).expect("a run lasts less than 584 years")
    }

    /// Records an event: gives it its index and its time (whatever it holds there), and returns the time. Never waits
    /// for the disk.
    ///
    /// # Errors
    /// The recorder has stopped, now or before: an invocation that gets this must not be sent.
    pub fn record(&self, mut event: Event) -> Result<u64, RecorderError> {
        let shared = &*self.shared;
        let kind = event.kind;
        let acknowledges = kind == EventType::Ok && !event.f.is_read();
        let mut buffer = shared.lock();
        if let Some(error) = &buffer.failure {
            return Err(error.clone());
        }
        if buffer.events.len() >= BUFFERED_EVENTS_MAX {
            let error = RecorderError::Overflow { path: shared.path.clone() };
            shared.stop(&mut buffer, error.clone());
            return Err(error);
        }
        assert!(!buffer.finished, "an event was recorded after the recording had been finished");
        let time = self.now();
        event.index = buffer.next_index;
        event.time = time;
        buffer.next_index += 1;
        buffer.events.push(event);
        drop(buffer);
        shared.counts[slot(kind)].fetch_add(1, Ordering::Relaxed);
        if acknowledges {
            shared.acknowledged_writes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(time)
    }

    /// Operations so far.
    pub fn counts(&self) -> Counts {
        let [invoked, ok, fail, info] = [EventType::Invoke, EventType::Ok, EventType::Fail, EventType::Info]
            .map(|kind| self.shared.counts[slot(kind)].load(Ordering::Relaxed));
        Counts { invoked, ok, fail, info }
    }

    /// Writes and deletes acknowledged so far.
    pub fn acknowledged_writes(&self) -> u64 {
        self.shared.acknowledged_writes.load(Ordering::Relaxed)
    }

    /// Waits until the recorder has stopped with an error; for ever if it never does.
    pub async fn failed(&self) -> RecorderError {
        let mut failed = self.shared.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(error) => error.clone().expect("just waited for it"),
            Err(_) => unreachable!("the sender lives in `shared`, which this handle holds"),
        }
    }
}

fn slot(kind: EventType) -> usize {
    match kind {
        EventType::Invoke => 0,
        EventType::Ok => 1,
        EventType::Fail => 2,
        EventType::Info => 3,
    }
}

impl RecorderWriter {
    /// Writes what is still buffered and ends the recording. All clients must have stopped recording.
    ///
    /// # Errors
    /// The recorder had stopped, or stops now.
    pub fn finish(self) -> Result<Summary, RecorderError> {
        self.shared.lock().finished = true;
        self.shared.wake.notify_one();
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

#[cfg(test)]
mod tests;
