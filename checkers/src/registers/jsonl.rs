//! `history.jsonl` straight to compact registers: no text is kept but the names of keys.
//!
//! Accepts and refuses what [`crate::read_jsonl`] does; lines that are not exactly as this program writes them go to
//! serde_json. Coordinators and errors are left out.

use std::io::BufRead;

use super::{Clock, OPEN, RegisterOp, Registers, Sessions};
use crate::history::{LINE_BYTES_MAX, malformed, parse_line};
use crate::table::Interner;
use crate::{Event, EventType, Function, HistoryError, OpIndex, Outcome, ProcessId, ReadError};

#[derive(Clone, Copy, Debug)]
enum State {
    Busy(u32),
    Idle(u64),
    Retired,
}

#[derive(Default)]
struct Builder {
    ops: Vec<RegisterOp>,
    keys: Interner,
    sessions: Sessions,
    states: Vec<State>,
    events: u64,
}

/// What an event says.
struct Said<'a> {
    index: u64,
    time: u64,
    kind: EventType,
    process: ProcessId,
    f: Function,
    key: &'a str,
    value: Option<u64>,
}

impl Builder {
    fn push(&mut self, event: &Said<'_>) -> Result<(), HistoryError> {
        let added = if event.index == self.events {
            self.add(event)
        } else {
            Err(format!("its index should be {}: an event is missing, doubled or out of order", self.events))
        };
        self.events += 1;
        added.map_err(|problem| HistoryError { index: event.index, problem })
    }

    fn add(&mut self, event: &Said<'_>) -> Result<(), String> {
        let Said { process, time, f, value, .. } = *event;
        if !f.is_of_register() {
            return Err(format!("`{}` is no function of a register: expected read, write or delete", f.as_str()));
        }
        let session = self.sessions.of(process) as usize;
        if self.states.len() <= session {
            self.states.push(State::Idle(0));
        }
        if event.kind == EventType::Invoke {
            match self.states[session] {
                State::Busy(open) => {
                    let open = self.ops[open as usize].index;
                    return Err(format!("{process} begins a {} while its {open} is open", f.as_str()));
                }
                State::Retired => {
                    return Err(format!(
                        "{process} is used again after an indeterminate operation: expected a process number of its own"
                    ));
                }
                State::Idle(since) if time < since => {
                    return Err(format!(
                        "{process} begins at {time} ns, before its operation before ended at {since} ns"
                    ));
                }
                State::Idle(_) => {}
            }
            match (f, value) {
                (Function::Write, None) => {
                    return Err("a write is begun without a value: expected a number".to_owned());
                }
                (Function::Delete, Some(value)) => {
                    return Err(format!("a delete is begun with value {value}: expected null"));
                }
                _ => {}
            }
            let value = value.filter(|_| f == Function::Write);
            self.states[session] = State::Busy(self.ops.len() as u32);
            self.ops.push(RegisterOp {
                invoked: time,
                completed: OPEN,
                value: value.unwrap_or_default(),
                index: OpIndex(event.index),
                process,
                session: session as u32,
                key: self.keys.number(event.key),
                f,
                outcome: Outcome::Info,
                absent: value.is_none(),
            });
            return Ok(());
        }
        let kind = event.kind.as_str();
        let State::Busy(open) = self.states[session] else {
            return Err(format!("{process} completes ({kind}) a {} that it never began", f.as_str()));
        };
        let key = self.keys.number(event.key);
        let op = &mut self.ops[open as usize];
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
        match f {
            Function::Write if value.is_some_and(|value| value != op.value) => {
                return Err(format!(
                    "{process} completes a write of {}, but began to write {} ({})",
                    value.unwrap_or_default(),
                    op.value,
                    op.index
                ));
            }
            Function::Delete if value.is_some() => {
                return Err("a delete is completed with a value: expected null".to_owned());
            }
            Function::Read if event.kind == EventType::Ok => {
                (op.value, op.absent) = (value.unwrap_or_default(), value.is_none());
            }
            _ => {}
        }
        (op.outcome, op.completed, self.states[session]) = match event.kind {
            EventType::Ok => (Outcome::Ok, time, State::Idle(time)),
            EventType::Fail => (Outcome::Fail, time, State::Idle(time)),
            EventType::Info | EventType::Invoke => (Outcome::Info, OPEN, State::Retired),
        };
        Ok(())
    }
}

/// Reads a history into compact form. What is wrong is refused as [`crate::read_jsonl`] does, and a last line that is cut
/// off is left out with a note.
///
/// # Errors
/// The first line that is no event or does not fit the ones before, with what was expected.
pub fn registers_from_jsonl(mut reader: impl BufRead) -> Result<Registers, ReadError> {
    let mut builder = Builder::default();
    let mut line = 1;
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
            let said = Said {
                index: event.index,
                time: event.time,
                kind: event.kind,
                process: event.process,
                f: event.f,
                key: event.key,
                value: event.value,
            };
            builder.push(&said).map_err(|source| ReadError::History { line, source })?;
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
        let said = Said { index, time, kind, process, f, key: &key, value };
        builder.push(&said).map_err(|source| ReadError::History { line, source })?;
        line += 1;
    }
    let open = builder.states.iter().filter(|state| matches!(state, State::Busy(_))).count();
    if open > 0 {
        let (was, they) = if open == 1 { ("operation was", "it is") } else { ("operations were", "they are") };
        notes.push(format!("{open} {was} still open at the end of the history: {they} taken as indeterminate."));
    }
    Ok(Registers {
        ops: builder.ops,
        keys: builder.keys.into_texts(),
        sessions: builder.sessions.count,
        values: None,
        clock: Clock::Nanoseconds,
        notes,
    })
}
