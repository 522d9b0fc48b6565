//! What clients saw. Events are what is recorded; operations are pairs of them.
//!
//! The types follow Jepsen's histories. Invariants of a [`History`], checked while it is built: a process is sequential,
//! every completion has its invocation, an operation ends no earlier than it began, and a process is never used again
//! after an indeterminate operation. Values are `u64`; other values are left out.

mod builder;
mod jsonl;
mod line;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use builder::{HistoryBuilder, HistoryError};
pub(crate) use jsonl::{LINE_BYTES_MAX, Line, malformed, parse_line};
pub use jsonl::{ReadError, read_jsonl};

/// One sequential client. Retired after an indeterminate operation, as in Jepsen: the client goes on under a new number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessId(pub u64);

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.0)
    }
}

/// Index of an operation's invocation among the events of its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpIndex(pub u64);

impl fmt::Display for OpIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op {}", self.0)
    }
}

/// Type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// Written before anything is sent.
    Invoke,
    /// It happened.
    Ok,
    /// It certainly did not happen, and never will.
    Fail,
    /// It may have happened at any time from its invocation on, or may never.
    Info,
}

impl EventType {
    /// As it is written in a history.
    pub fn as_str(self) -> &'static str {
        match self {
            EventType::Invoke => "invoke",
            EventType::Ok => "ok",
            EventType::Fail => "fail",
            EventType::Info => "info",
        }
    }
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Function {
    /// Read a register.
    Read,
    /// Write a register.
    Write,
    /// Delete a register: it reads as `null` afterwards.
    Delete,
    /// Add an element to a set, or a number to a counter.
    Add,
    /// Remove the elements of a set that were seen.
    Remove,
    /// Read a range of registers: all whose names begin with the key, in order, up to a limit.
    Scan,
}

impl Function {
    /// As it is written in a history.
    pub fn as_str(self) -> &'static str {
        match self {
            Function::Read => "read",
            Function::Write => "write",
            Function::Delete => "delete",
            Function::Add => "add",
            Function::Remove => "remove",
            Function::Scan => "scan",
        }
    }

    /// The function of that name.
    pub(crate) fn named(name: &str) -> Option<Function> {
        [Function::Read, Function::Write, Function::Delete, Function::Add, Function::Remove, Function::Scan]
            .into_iter()
            .find(|function| function.as_str() == name)
    }

    /// Whether it is about one register.
    pub fn is_of_register(self) -> bool {
        matches!(self, Function::Read | Function::Write | Function::Delete)
    }

    /// Whether it changes nothing.
    pub fn is_read(self) -> bool {
        matches!(self, Function::Read | Function::Scan)
    }
}

/// A value that one number can't say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Items {
    /// Elements: what a read of a set returned, or what is removed from it.
    Numbers(Vec<u64>),
    /// Registers with their values, in the order in which a scan returned them.
    Rows(Vec<(String, u64)>),
}

/// A line of `history.jsonl`, in the order of the fields here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "line::EventLine", into = "line::EventLine")]
pub struct Event {
    /// Position in the history, from 0.
    pub index: u64,
    /// Nanoseconds since the start of the run, one clock for all clients.
    pub time: u64,
    /// Type.
    pub kind: EventType,
    /// Process.
    pub process: ProcessId,
    /// Function.
    pub f: Function,
    /// Register.
    pub key: String,
    /// Invocation of a write: what is written. Completion of a read: what was read, `null` for an absent register.
    /// Of an add the element or the amount, of a read counter its value; invocation of a scan: most rows that it may return.
    pub value: Option<u64>,
    /// In place of the value, where that is a list: the elements of a set that was read, or that are removed; the rows of a scan.
    pub items: Option<Items>,
    /// The coordinator that was asked, such as `n3`.
    pub node: Option<String>,
    /// Why it failed or is unknown.
    pub error: Option<String>,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It happened.
    Ok,
    /// It certainly did not happen.
    Fail,
    /// Unknown; also when the history ends before its completion.
    Info,
}

/// An invocation with its completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Index of the invocation.
    pub index: OpIndex,
    /// Process.
    pub process: ProcessId,
    /// Function.
    pub f: Function,
    /// Register.
    pub key: String,
    /// Written value, or value read by a completed read; `None`: absent (or not known, for a read that is not ok).
    pub value: Option<u64>,
    /// Nanoseconds.
    pub invoked: u64,
    /// Nanoseconds; `None` for [`Outcome::Info`].
    pub completed: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// The coordinator.
    pub node: Option<String>,
    /// Why it failed or is unknown.
    pub error: Option<String>,
}

impl Operation {
    /// When it was acknowledged, for an operation that is ok.
    pub fn acknowledged(&self) -> Option<u64> {
        if self.outcome == Outcome::Ok { self.completed } else { None }
    }
}

/// All operations of a run, by invocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// By index.
    pub operations: Vec<Operation>,
    /// Its keys are sets or counters, not registers.
    pub has_collections: bool,
    /// What a reader of the verdict should know about the recording, in sentences: that it was cut off, for example.
    pub notes: Vec<String>,
}

impl History {
    /// Pairs events, in the order of the recording.
    ///
    /// # Errors
    /// The first event that breaks an invariant of histories, with its index and what was expected.
    pub fn from_events(events: Vec<Event>) -> Result<History, HistoryError> {
        let mut builder = HistoryBuilder::default();
        for event in events {
            builder.push(event)?;
        }
        Ok(builder.finish())
    }
}
