//! Histories and the pure functions that judge them.
//!
//! A checker is a pure function: [`Case`] in, [`Verdict`] out. It shares no code with the system it judges, and infers
//! the order of versions from the history alone.

mod case;
mod history;
mod options;
mod order;
mod verdict;

pub use case::{Case, FaultWindow, FinalEntry, FinalState, Phase};
pub use history::{
    Event, EventType, Function, History, HistoryBuilder, HistoryError, OpIndex, Operation, Outcome, ProcessId,
    ReadError, read_jsonl,
};
pub use options::{AvailabilityBounds, CheckOptions};
pub use verdict::{Judgement, Verdict};
