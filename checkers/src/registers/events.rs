//! A history of registers as a stream ([`Events`]): one event after another, each checked against what is open in its
//! process. Here is that of `history.jsonl`; those of other systems are [`super::foreign`].
//!
//! Accepts and refuses what [`crate::read_jsonl`] does; lines that are not exactly as this program writes them go to
//! serde_json. What is kept is the names of keys and one state per process: coordinators and errors are left out.

use std::io::BufRead;

use super::{Clock, Sessions};
use crate::history::{LINE_BYTES_MAX, malformed, parse_line};
use crate::{Event, EventType, Function, HistoryError, OpIndex, ProcessId, ReadError};

/// What an event says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said<'a> {
    pub(crate) index: u64,
    /// Nanoseconds.
    pub(crate) time: u64,
    pub(crate) kind: EventType,
    pub(crate) process: ProcessId,
    pub(crate) f: Function,
    pub(crate) key: &'a str,
    pub(crate) value: Option<u64>,
}

/// A history that is gone through event by event, from its beginning each time.
pub(crate) trait Events {
    /// Why it can't be gone through.
    type Error;

    /// Hands over every event. Returns notes for the reader of the verdict.
    ///
    /// # Errors
    /// The first thing that is wrong in the file, or what `sink` refuses.
    fn read(&mut self, sink: impl FnMut(&Said<'_>) -> Result<(), String>) -> Result<Vec<String>, Self::Error>;

    /// What its times mean.
    fn clock(&self) -> Clock {
        Clock::Nanoseconds
    }

    /// Texts of the values so far, where they are numbers of values that are not whole numbers.
    fn values(&self) -> Option<Vec<Box<str>>> {
        None
    }

    /// Its processes, before the first event.
    fn processes(&self) -> Processes {
        Processes { go_on: self.clock() != Clock::Nanoseconds, ..Processes::default() }
    }
}

/// A `history.jsonl` that is gone through once.
pub(crate) struct Lines<R>(pub(crate) R);

impl<R: BufRead> Events for Lines<R> {
    type Error = ReadError;

    fn read(&mut self, sink: impl FnMut(&Said<'_>) -> Result<(), String>) -> Result<Vec<String>, ReadError> {
        read_events(&mut self.0, sink)
    }
}

/// An operation under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    pub(crate) index: OpIndex,
    pub(crate) invoked: u64,
    /// What it writes.
    pub(crate) value: Option<u64>,
    pub(crate) key: u32,
    /// What the caller wants to know again at its end.
    pub(crate) token: u32,
    pub(crate) f: Function,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Where its operation is.
    Busy(u32),
    /// When its last operation ended.
    Idle(u64),
    Retired,
}

/// The processes of a history, and what each is doing.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    sessions: Sessions,
    states: Vec<State>,
    /// A process may go on after an indeterminate operation, as a new session.
    go_on: bool,
    /// Operations under way, and places for more.
    open: Vec<Option<Begun>>,
    free: Vec<u32>,
}

impl Processes {
    /// How many sessions there were.
    pub(crate) fn sessions(&self) -> u32 {
        self.sessions.count
    }

    /// Operations under way.
    pub(crate) fn open(&self) -> impl Iterator<Item = &Begun> {
        self.open.iter().flatten()
    }

    /// What to say of operations that are open at the end.
    pub(crate) fn note(&self) -> Option<String> {
        let open = self.open().count();
        let (was, they) = if open == 1 { ("operation was", "it is") } else { ("operations were", "they are") };
        (open > 0).then(|| format!("{open} {was} still open at the end of the history: {they} taken as indeterminate."))
    }

    fn session_of(&mut self, process: ProcessId) -> u32 {
        let session = self.sessions.of(process);
        if self.states.len() <= session as usize {
            self.states.push(State::Idle(0));
        }
        session
    }

    /// An operation begins: its session, and what it is.
    pub(crate) fn begin(&mut self, event: &Said<'_>, key: u32, token: u32) -> Result<(u32, Begun), String> {
        let Said { process, time, f, value, .. } = *event;
        if !f.is_of_register() {
            return Err(format!("`{}` is no function of a register: expected read, write or delete", f.as_str()));
        }
        let mut session = self.session_of(process);
        if self.go_on && matches!(self.states[session as usize], State::Retired) {
            self.sessions.retire(process);
            session = self.session_of(process);
        }
        match self.states[session as usize] {
            State::Busy(at) => {
                let open = self.open[at as usize].expect("a busy process has an operation").index;
                return Err(format!("{process} begins a {} while its {open} is open", f.as_str()));
            }
            State::Retired => {
                return Err(format!(
                    "{process} is used again after an indeterminate operation: expected a process number of its own"
                ));
            }
            State::Idle(since) if time < since => {
                return Err(format!("{process} begins at {time} ns, before its operation before ended at {since} ns"));
            }
            State::Idle(_) => {}
        }
        match (f, value) {
            (Function::Write, None) => return Err("a write is begun without a value: expected a number".to_owned()),
            (Function::Delete, Some(value)) => {
                return Err(format!("a delete is begun with value {value}: expected null"));
            }
            _ => {}
        }
        // What a reader expects is not what it read.
        let value = value.filter(|_| f == Function::Write);
        let begun = Begun { index: OpIndex(event.index), invoked: time, value, key, token, f };
        let at = self.free.pop().unwrap_or_else(|| {
            self.open.push(None);
            self.open.len() as u32 - 1
        });
        self.open[at as usize] = Some(begun);
        self.states[session as usize] = State::Busy(at);
        Ok((session, begun))
    }

    /// An operation ends: its session, and what it was.
    pub(crate) fn end(&mut self, event: &Said<'_>, key: u32) -> Result<(u32, Begun), String> {
        let Said { process, time, f, value, .. } = *event;
        let session = self.session_of(process);
        let kind = event.kind.as_str();
        let State::Busy(at) = self.states[session as usize] else {
            return Err(format!("{process} completes ({kind}) a {} that it never began", f.as_str()));
        };
        let op = self.open[at as usize].expect("a busy process has an operation");
        if (op.f, op.key) != (f, key) {
            return Err(format!(
                "{process} completes ({kind}) a {} of {}, but its open operation is another ({})",
                f.as_str(),
                event.key,
                op.index
            ));
        }
        if time < op.invoked {
            return Err(format!("{process} completes {} at {time} ns, before it began at {} ns", op.index, op.invoked));
        }
        match (f, value) {
            (Function::Write, Some(value)) if op.value != Some(value) => {
                return Err(format!(
                    "{process} completes a write of {value}, but began to write {} ({})",
                    op.value.unwrap_or_default(),
                    op.index
                ));
            }
            (Function::Delete, Some(_)) => {
                return Err("a delete is completed with a value: expected null".to_owned());
            }
            _ => {}
        }
        self.open[at as usize] = None;
        self.free.push(at);
        self.states[session as usize] = if event.kind == EventType::Info { State::Retired } else { State::Idle(time) };
        Ok((session, op))
    }
}

/// Reads event by event. Returns notes for the reader of the verdict: a last line that is cut off is left out.
///
/// # Errors
/// The first line that is no event, or what `sink` refuses, with what was expected.
pub(crate) fn read_events(
    mut reader: impl BufRead,
    mut sink: impl FnMut(&Said<'_>) -> Result<(), String>,
) -> Result<Vec<String>, ReadError> {
    let mut events = 0_u64;
    let mut line = 1;
    let mut take = |said: &Said<'_>, line: u64| {
        let taken = if said.index == events {
            sink(said)
        } else {
            Err(format!("its index should be {events}: an event is missing, doubled or out of order"))
        };
        events += 1;
        taken.map_err(|problem| ReadError::History { line, source: HistoryError { index: said.index, problem } })
    };
    let mut buffer = Vec::with_capacity(256);
    let mut notes = Vec::new();
    loop {
        let text = reader.fill_buf().map_err(|source| ReadError::Io { line, source })?;
        if text.is_empty() {
            break;
        }
        // Whole lines as they are in the reader's buffer, without a copy.
        let mut rest = text;
        while let Some((event, after)) = parse_line(rest)
            && let Some(after) = after.strip_prefix(b"\n")
        {
            let crate::history::Line { index, time, kind, process, f, key, value, .. } = event;
            take(&Said { index, time, kind, process, f, key, value }, line)?;
            line += 1;
            rest = after;
        }
        let used = text.len() - rest.len();
        reader.consume(used);
        // A line of another form, or one that goes on behind the buffer.
        buffer.clear();
        let mut limited = std::io::Read::take(&mut reader, LINE_BYTES_MAX as u64 + 1);
        let read = limited.read_until(b'\n', &mut buffer).map_err(|source| ReadError::Io { line, source })?;
        if read == 0 {
            break;
        }
        let complete = buffer.last() == Some(&b'\n');
        if !complete && buffer.len() > LINE_BYTES_MAX {
            let problem = format!("the line is longer than {LINE_BYTES_MAX} bytes: this is no history");
            return Err(ReadError::Malformed { line, column: LINE_BYTES_MAX, problem });
        }
        let text = buffer.trim_ascii();
        if text.is_empty() {
            line += 1;
            continue;
        }
        let event: Event = match serde_json::from_slice(text) {
            Ok(event) => event,
            Err(_) if !complete => {
                notes.push(format!("Line {line}, the last, is cut off and left out: the recording ended there."));
                break;
            }
            Err(error) => return Err(malformed(line, &error)),
        };
        let Event { index, time, kind, process, f, key, value, .. } = event;
        take(&Said { index, time, kind, process, f, key: &key, value }, line)?;
        line += 1;
    }
    Ok(notes)
}
