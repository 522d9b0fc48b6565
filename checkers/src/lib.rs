//! Histories and the pure functions that judge them.
//!
//! A checker is a pure function: [`Case`] in, [`Verdict`] out. It shares no code with the system it judges, and infers
//! the order of versions from the history alone. [`judge`] runs checkers by name; [`checkers`] lists them.
//!
//! The way of a history: `history.jsonl` ([`read_jsonl`]) -> [`Event`]s -> [`History`] (validated) -> operations by key
//! (`key_history`) -> what is known about the order of versions (`version_graph`, `order`) -> a verdict in sentences.

mod case;
mod causal;
pub mod dsl;
mod explain;
pub mod export;
mod final_keys;
mod history;
pub mod import;
mod intervals;
mod key_history;
mod models;
mod options;
mod order;
pub mod record;
pub mod registers;
mod registry;
mod table;
mod verdict;
mod version_graph;
mod version_order;
mod version_story;

pub use case::{Case, FaultWindow, FinalEntry, FinalState, Phase};
pub use history::{
    Event, EventType, Function, History, HistoryBuilder, HistoryError, OpIndex, Operation, Outcome, ProcessId,
    ReadError, read_jsonl,
};
pub use options::{AvailabilityBounds, Budget, CheckOptions, Stop, StopFn};
pub use registry::{Checker, UnknownChecker, checkers, find, judge};
pub use verdict::{Judgement, KindCount, Verdict};
