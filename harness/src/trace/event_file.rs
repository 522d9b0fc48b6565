//! The events of a run in a file, to be compared with those of a run in another process, or on another machine: about
//! a dozen bytes an event.
//!
//! ```text
//! {"format":"hearsay events 1", ...}\n         what was run
//! record *                                    varints: node + 1 (1: none), time since the one before, sequence; digest, 4 bytes
//! 0, count                                    varints: the end
//! ```

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use hearsay_core::NodeId;
use serde::{Deserialize, Serialize};

use crate::sim::LoggedEvent;

const FORMAT: &str = "hearsay events 1";
/// Longest first line.
const HEADER_MAX: u64 = 1 << 16;

/// What was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventsHeader {
    format: String,
    /// Name of the campaign.
    pub campaign: String,
    /// Seed of the plan.
    pub seed: u64,
    /// Commit of the program.
    pub commit: String,
    /// Where its plan is.
    pub plan: PathBuf,
}

impl EventsHeader {
    /// Of a run with this plan, by this program.
    pub fn new(campaign: &str, seed: u64, plan: PathBuf) -> EventsHeader {
        let (format, commit) = (FORMAT.to_owned(), crate::COMMIT.to_owned());
        EventsHeader { format, campaign: campaign.to_owned(), seed, commit, plan }
    }
}

/// Why a file of events can't be written or read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct EventsError {
    path: PathBuf,
    reason: String,
}

fn failed(path: &Path, reason: impl ToString) -> EventsError {
    EventsError { path: path.to_owned(), reason: reason.to_string() }
}

/// Writes events; how many there were.
///
/// # Errors
/// The file can't be written.
pub fn write_events(
    path: &Path,
    header: &EventsHeader,
    events: impl Iterator<Item = LoggedEvent>,
) -> Result<u64, EventsError> {
    let file = File::create(path).map_err(|error| failed(path, format!("can't be made: {error}")))?;
    let mut out = BufWriter::new(file);
    let write = || -> std::io::Result<u64> {
        serde_json::to_writer(&mut out, header)?;
        out.write_all(b"\n")?;
        let (mut before, mut count) = (0, 0_u64);
        let mut record = Vec::with_capacity(32);
        for event in events {
            record.clear();
            let node = event.node.map_or(0, |node| u64::from(node.0));
            for number in [node + 1, event.time - before, event.sequence] {
                push_number(&mut record, number);
            }
            record.extend_from_slice(&(event.digest as u32).to_le_bytes());
            out.write_all(&record)?;
            before = event.time;
            count += 1;
        }
        record.clear();
        push_number(&mut record, 0);
        push_number(&mut record, count);
        out.write_all(&record)?;
        out.flush()?;
        Ok(count)
    };
    write().map_err(|error| failed(path, format!("can't be written: {error}")))
}

/// A file of events, open.
pub struct EventFile {
    path: PathBuf,
    /// What was run.
    pub header: EventsHeader,
    input: BufReader<File>,
    time: u64,
    count: u64,
}

impl EventFile {
    /// Opens a file; `None`: it is something else.
    ///
    /// # Errors
    /// It can't be read.
    pub fn open(path: &Path) -> Result<Option<EventFile>, EventsError> {
        let file = File::open(path).map_err(|error| failed(path, format!("can't be read: {error}")))?;
        let mut input = BufReader::new(file);
        let mut line = Vec::new();
        let read = input.by_ref().take(HEADER_MAX).read_until(b'\n', &mut line);
        read.map_err(|error| failed(path, format!("can't be read: {error}")))?;
        let header = serde_json::from_slice::<EventsHeader>(&line).ok().filter(|header| header.format == FORMAT);
        Ok(header.map(|header| EventFile { path: path.to_owned(), header, input, time: 0, count: 0 }))
    }

    /// The next event, its digest cut to 32 bits and without words; `None`: that was the last.
    ///
    /// # Errors
    /// The file can't be read, or does not end as it should.
    pub fn next_event(&mut self) -> Result<Option<LoggedEvent>, EventsError> {
        let path = self.path.clone();
        let cut = || failed(&path, "ends before its end: the run that wrote it did not come to its own");
        let mut number = || read_number(&mut self.input).ok_or_else(cut);
        let node = match number()? {
            0 => {
                let count = number()?;
                let lost = || failed(&path, format!("is damaged: {} of {count} events are there", self.count));
                return if count == self.count { Ok(None) } else { Err(lost()) };
            }
            node => node - 1,
        };
        let (passed, sequence) = (number()?, number()?);
        let mut digest = [0; 4];
        self.input.read_exact(&mut digest).map_err(|_| cut())?;
        self.time = self.time.saturating_add(passed);
        self.count += 1;
        let node = u16::try_from(node).map_err(|_| failed(&path, "is damaged: there is no such node"))?;
        Ok(Some(LoggedEvent {
            time: self.time,
            sequence,
            node: (node > 0).then_some(NodeId(node)),
            digest: u64::from(u32::from_le_bytes(digest)),
            words: Vec::new(),
        }))
    }
}

fn push_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(input: &mut impl Read) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        input.read_exact(&mut byte).ok()?;
        number |= u64::from(byte[0] & 0x7f) << shift;
        if byte[0] < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(time: u64, node: Option<u16>) -> LoggedEvent {
        LoggedEvent { time, sequence: time * 3, node: node.map(NodeId), digest: 0xdead_beef ^ time, words: Vec::new() }
    }

    fn read(path: &Path) -> Result<Vec<LoggedEvent>, EventsError> {
        let mut file = EventFile::open(path)?.expect("a file of events");
        std::iter::from_fn(|| file.next_event().transpose()).collect()
    }

    #[test]
    fn what_was_written_is_read_back_and_a_cut_file_is_not_taken_for_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let events: Vec<LoggedEvent> = (0..5_000).map(|time| event(time * time, (time % 4 > 0).then_some(7))).collect();
        let header = EventsHeader::new("quickstart", 7, "plan.yaml".into());
        assert_eq!(write_events(&path, &header, events.iter().cloned()).unwrap(), 5_000);
        let cut_to_32_bits = |event: &LoggedEvent| LoggedEvent { digest: event.digest & 0xffff_ffff, ..event.clone() };
        assert_eq!(read(&path).unwrap(), events.iter().map(cut_to_32_bits).collect::<Vec<_>>());
        assert_eq!(EventFile::open(&path).unwrap().unwrap().header, header);

        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("ends before its end"));
        std::fs::write(&path, b"campaign: quickstart\n").unwrap();
        assert!(EventFile::open(&path).unwrap().is_none(), "a plan is no file of events");
    }
}
