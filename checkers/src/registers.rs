//! Register histories in compact form: what the models of registers work on.
//!
//! An operation is 56 bytes without text; keys are numbers, and so are the values of foreign histories. Invariants: operations
//! stand in the order of their invocations, the operations of a session do not overlap, and a session ends with an
//! indeterminate operation (a process that goes on after one is a new session). Made from a [`History`] or from a
//! [`Recording`] of reads and writes; what is neither is refused with the reason.

mod events;
mod from_recording;
mod jsonl;

#[cfg(test)]
pub(crate) use events::Lines;
pub(crate) use events::{Begun, Events, Processes, Said, read_events};
pub use from_recording::NotRegisters;
pub(crate) use from_recording::{ZERO_AT_FIRST, begins_as_zero, register_function};
pub use jsonl::registers_from_jsonl;
pub(crate) use jsonl::registers_of_keys;

use crate::table::Interner;
use crate::{Function, History, OpIndex, Outcome, ProcessId};

/// [`RegisterOp::completed`] of an operation that has no certain end.
pub const OPEN: u64 = u64::MAX;

/// An operation on a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterOp {
    /// When it began: nanoseconds, or the position in a recording without times.
    pub invoked: u64,
    /// When it ended, in the same unit; [`OPEN`] for an indeterminate one.
    pub completed: u64,
    /// The value read or written, unless [`RegisterOp::absent`].
    pub value: u64,
    /// Index of the invocation.
    pub index: OpIndex,
    /// The process, as explanations name it.
    pub process: ProcessId,
    /// Number of the session, from 0.
    pub session: u32,
    /// Number of the key, from 0.
    pub key: u32,
    /// What it does.
    pub f: Function,
    /// How it ended.
    pub outcome: Outcome,
    /// The register was read as absent, or deleted; or what a read returned is not known.
    pub absent: bool,
}

impl RegisterOp {
    /// Whether it is a read that is ok.
    pub fn is_read(&self) -> bool {
        self.f == Function::Read && self.outcome == Outcome::Ok
    }

    /// Whether it writes or deletes, and may have happened.
    pub fn is_change(&self) -> bool {
        self.f != Function::Read && self.outcome != Outcome::Fail
    }

    /// The value, if there is one.
    pub fn value(&self) -> Option<u64> {
        (!self.absent).then_some(self.value)
    }
}

/// What the times of a history mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// Nanoseconds of one clock.
    #[default]
    Nanoseconds,
    /// Positions in the recording: an order in real time without lengths.
    Positions,
    /// Nothing: only sessions have an order.
    Nothing,
}

/// A history of registers.
#[derive(Clone, Debug, Default)]
pub struct Registers {
    /// By invocation.
    pub ops: Vec<RegisterOp>,
    /// Names of the keys.
    pub keys: Vec<Box<str>>,
    /// How many sessions there are.
    pub sessions: u32,
    /// Texts of the values, where they are numbers of values that are not whole numbers.
    pub values: Option<Vec<Box<str>>>,
    /// What the times mean.
    pub clock: Clock,
    /// What a reader of the verdict should know.
    pub notes: Vec<String>,
}

impl Registers {
    /// The compact form of a history.
    ///
    /// # Panics
    /// The history has 2^32 operations or more.
    pub fn from_history(history: &History) -> Registers {
        assert!(
            u32::try_from(history.operations.len()).is_ok(),
            "a history of 2^32 operations or more is not supported"
        );
        let mut keys = Interner::default();
        let mut sessions = Sessions::default();
        let of_registers = history.operations.iter().filter(|operation| operation.f.is_of_register());
        let ops = of_registers.map(|operation| RegisterOp {
            invoked: operation.invoked,
            completed: operation.completed.unwrap_or(OPEN),
            value: operation.value.unwrap_or_default(),
            index: operation.index,
            process: operation.process,
            session: sessions.of(operation.process),
            key: keys.number(&operation.key),
            f: operation.f,
            outcome: operation.outcome,
            absent: operation.value.is_none(),
        });
        let ops = ops.collect();
        Registers {
            ops,
            keys: keys.into_texts(),
            sessions: sessions.count,
            values: None,
            clock: Clock::Nanoseconds,
            notes: history.notes.clone(),
        }
    }

    /// The same as a history with names and numbers as values.
    ///
    /// # Errors
    /// The values are not whole numbers from 0, or there is no real time, as a sentence.
    pub fn to_history(&self) -> Result<History, String> {
        if self.values.is_some() {
            return Err("The values are not all whole numbers from 0, or nil.".to_owned());
        }
        if self.clock == Clock::Nothing {
            return Err("The history says nothing about real time.".to_owned());
        }
        // A process that goes on after an indeterminate operation is a session of its own.
        let mut unused = self.ops.iter().map(|op| op.process.0).max().unwrap_or(0) + 1;
        let mut process_of = vec![None; self.sessions as usize];
        let mut taken = std::collections::BTreeSet::new();
        let operations = self.ops.iter().map(|op| {
            let process = *process_of[op.session as usize].get_or_insert_with(|| {
                if taken.insert(op.process) {
                    op.process
                } else {
                    unused += 1;
                    ProcessId(unused)
                }
            });
            crate::Operation {
                index: op.index,
                process,
                f: op.f,
                key: self.key_of(op).to_owned(),
                value: op.value(),
                invoked: op.invoked,
                completed: (op.completed != OPEN).then_some(op.completed),
                outcome: op.outcome,
                node: None,
                error: None,
            }
        });
        let operations = operations.collect();
        Ok(History { operations, has_collections: false, notes: self.notes.clone() })
    }

    /// Name of the key of an operation.
    pub fn key_of(&self, op: &RegisterOp) -> &str {
        &self.keys[op.key as usize]
    }

    /// A value as explanations write it.
    pub fn text_of(&self, value: Option<u64>) -> String {
        match (value, &self.values) {
            (None, _) => "null".to_owned(),
            (Some(value), Some(texts)) => texts[value as usize].to_string(),
            (Some(value), None) => value.to_string(),
        }
    }
}

/// Sessions by process: small numbers in a list, others in a table.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    small: Vec<u32>,
    large: std::collections::BTreeMap<u64, u32>,
    pub(crate) count: u32,
}

impl Sessions {
    const SMALL: u64 = 1 << 16;

    /// The session of a process, a new one if it has none.
    pub(crate) fn of(&mut self, process: ProcessId) -> u32 {
        let session = if process.0 < Self::SMALL {
            if self.small.len() <= process.0 as usize {
                self.small.resize(process.0 as usize + 1, u32::MAX);
            }
            &mut self.small[process.0 as usize]
        } else {
            self.large.entry(process.0).or_insert(u32::MAX)
        };
        if *session == u32::MAX {
            *session = self.count;
            self.count += 1;
        }
        *session
    }

    /// The process goes on in a new session.
    pub(crate) fn retire(&mut self, process: ProcessId) {
        if process.0 < Self::SMALL {
            self.small[process.0 as usize] = u32::MAX;
        } else {
            self.large.remove(&process.0);
        }
    }
}
