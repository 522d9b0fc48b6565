//! What clients saw. Events are what is recorded; operations are pairs of them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One sequential client. Retired after an indeterminate operation, as in Jepsen: the client goes on under a new number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessId(pub u64);

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
}

/// A line of `history.jsonl`, in the order of the fields here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the history, from 0.
    pub index: u64,
    /// Nanoseconds since the start of the run, one clock for all clients.
    pub time: u64,
    /// Type.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// Process.
    pub process: ProcessId,
    /// Function.
    pub f: Function,
    /// Register.
    pub key: String,
    /// Invocation of a write: what is written. Completion of a read: what was read, `null` for an absent register.
    pub value: Option<u64>,
    /// The coordinator that was asked, such as `n3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Why it failed or is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

/// All operations of a run, by invocation.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// By index.
    pub operations: Vec<Operation>,
}
