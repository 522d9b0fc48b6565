//! Foreign recordings of plain registers: reads, writes and deletes by the names that systems use.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{Clock, OPEN, RegisterOp, Registers, Sessions};
use crate::record::{Datum, Operations, PairingError, Process, RecordedOperation, Recording};
use crate::table::Interner;
use crate::{Function, Outcome, ProcessId};

/// Process number of records without one.
const UNNAMED: u64 = u64::MAX;

/// Why a recording is no history of registers.
#[derive(Clone, Debug, Error)]
pub enum NotRegisters {
    /// Its records do not pair.
    #[error(transparent)]
    Pairing(#[from] PairingError),
    /// It does something else than reading and writing.
    #[error("line {line}: `{f}` is no function of a register: expected read, write or delete")]
    Function {
        /// Line of the record, from 1; 0 where there is no file.
        line: u32,
        /// The function.
        f: String,
    },
}

/// What a function of a foreign history does to a register; `None`: something else.
pub(crate) fn register_function(f: &str) -> Option<Function> {
    match f {
        "read" | "r" | "get" => Some(Function::Read),
        "write" | "w" | "put" => Some(Function::Write),
        "delete" | "d" => Some(Function::Delete),
        _ => None,
    }
}

/// What is said with a verdict on registers that began as 0.
pub(crate) const ZERO_AT_FIRST: &str = "The registers held 0 at the beginning, where nobody had written yet.";

/// Whether registers begin as 0 instead of nil, as systems under test often do: 0 was read, and nil never.
pub(crate) fn begins_as_zero(recording: &Recording) -> bool {
    let mut zero = false;
    for record in recording.client_records() {
        if record.kind == crate::EventType::Ok && register_function(&record.f) == Some(Function::Read) {
            if record.value.is_nil() {
                return false;
            }
            zero |= record.value == Datum::Int(0);
        }
    }
    zero
}

/// Of each key, from which position on 0 may have been written.
fn zeros_written<'r>(all: &[RecordedOperation<'r>]) -> BTreeMap<Option<&'r Datum>, u32> {
    let mut written = BTreeMap::new();
    for operation in all.iter().filter(|operation| register_function(operation.f()) == Some(Function::Write)) {
        if *operation.argument() == Datum::Int(0) && operation.outcome != Outcome::Fail {
            written.entry(operation.key()).or_insert(operation.began);
        }
    }
    written
}

impl Registers {
    /// The registers of a recording. Values that are not whole numbers from 0 get numbers; one without a key has the key
    /// `register`. Writing `nil` is deleting. Where nil is never read, a 0 that was read before anybody began to write one
    /// is the initial version. Times are positions in the recording, which is their real-time order.
    ///
    /// # Errors
    /// The first record that does not pair or is neither a read, a write nor a delete.
    pub fn from_recording(recording: &Recording) -> Result<Registers, NotRegisters> {
        let Operations { all, notes } = recording.operations()?;
        let mut keys = Interner::default();
        let mut sessions = Sessions::default();
        let plain = all.iter().all(|operation| match operation.value() {
            Datum::Nil => true,
            value => value.as_int().is_some_and(|value| value >= 0),
        });
        let mut texts = Interner::default();
        let zeros = begins_as_zero(recording).then(|| zeros_written(&all));
        let mut ops = Vec::with_capacity(all.len());
        for operation in &all {
            let f = register_function(operation.f()).ok_or_else(|| NotRegisters::Function {
                line: operation.invocation.line,
                f: operation.f().to_owned(),
            })?;
            let process = ProcessId(match operation.process() {
                Process::Client(number) => *number,
                _ => UNNAMED,
            });
            let value = match f {
                Function::Read => operation.result(),
                Function::Write => Some(operation.argument()),
                _ => None,
            };
            let is_initial = |value: &Datum| {
                let before = |zeros: &BTreeMap<_, u32>| {
                    zeros.get(&operation.key()).is_none_or(|written| operation.ended < Some(*written))
                };
                f == Function::Read && *value == Datum::Int(0) && zeros.as_ref().is_some_and(before)
            };
            let value = value.filter(|value| !value.is_nil() && !is_initial(value));
            let number = value.map(|value| match value.as_int() {
                Some(number) if plain => number as u64,
                _ => u64::from(texts.number(&value.to_string())),
            });
            ops.push(RegisterOp {
                invoked: u64::from(operation.began),
                completed: operation.ended.map_or(OPEN, u64::from),
                value: number.unwrap_or_default(),
                index: operation.index(),
                process,
                session: sessions.of(process),
                key: keys.number(&operation.key().map_or_else(|| "register".to_owned(), ToString::to_string)),
                f: if f == Function::Write && value.is_none() { Function::Delete } else { f },
                outcome: operation.outcome,
                absent: number.is_none(),
            });
            if operation.outcome == Outcome::Info {
                sessions.retire(process);
            }
        }
        Ok(Registers {
            ops,
            keys: keys.into_texts(),
            sessions: sessions.count,
            values: (!plain).then(|| texts.into_texts()),
            clock: if recording.no_real_time { Clock::Nothing } else { Clock::Positions },
            notes: recording.notes.iter().cloned().chain(notes).collect(),
        })
    }
}
