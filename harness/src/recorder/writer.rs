//! The writer thread: takes what has gathered, writes it in one go, waits for the next lot.

use std::fs::File;
use std::io::Write;

use super::{FLUSH_INTERVAL, RecorderError, Shared, Summary};

/// Writes until finished or failed. A failed write is undone up to the last whole line.
pub(super) fn write_events(shared: &Shared, mut file: File) -> Result<Summary, RecorderError> {
    let mut summary = Summary { events: 0, bytes: 0 };
    let mut taken = Vec::new();
    let mut lines = Vec::new();
    loop {
        let finished = {
            let mut buffer = shared.lock();
            // Even when events wait already: few large writes cost less than many small ones.
            if !buffer.finished && buffer.failure.is_none() {
                let waited = shared.wake.wait_timeout(buffer, FLUSH_INTERVAL);
                buffer = waited.expect("nobody panics while holding the recorder's buffer").0;
            }
            std::mem::swap(&mut buffer.events, &mut taken);
            buffer.finished || buffer.failure.is_some()
        };
        lines.clear();
        for event in &taken {
            event.write_json_line(&mut lines);
        }
        if let Err(error) = file.write_all(&lines) {
            // Best effort: readers accept a torn last line as well.
            let _ = file.set_len(summary.bytes);
            let error = RecorderError::Write { path: shared.path.clone(), reason: error.to_string() };
            let mut buffer = shared.lock();
            shared.stop(&mut buffer, error.clone());
            buffer.events = Vec::new();
            return Err(error);
        }
        summary.events += taken.len() as u64;
        summary.bytes += lines.len() as u64;
        let idle = taken.is_empty();
        taken.clear();
        if finished && idle {
            return match shared.lock().failure.clone() {
                Some(error) => Err(error),
                None => Ok(summary),
            };
        }
    }
}
