//! Histories and the pure functions that judge them.
//!
//! A checker is a pure function: [`Case`] in, [`Verdict`] out. It shares no code with the system it judges, and infers
//! the order of versions from the history alone. [`judge`] runs checkers by name; [`checkers`] lists them.
//!
//! The way of a history: `history.jsonl` ([`read_jsonl`]) -> [`Event`]s -> [`History`] (validated) -> operations by key
//! (`key_history`) -> what is known about the order of versions (`version_graph`, `order`) -> a verdict in sentences.

mod applicable;
mod case;
mod causal;
mod data;
pub mod dsl;
mod explain;
pub mod export;
mod fast;
mod final_keys;
mod history;
pub mod import;
mod intervals;
mod key_history;
mod lattice;
mod models;
mod options;
mod order;
mod picture;
pub mod record;
pub mod registers;
mod registry;
pub mod search;
mod table;
pub mod transactions;
mod verdict;
mod version_graph;
mod version_order;
mod version_story;
mod zones;

pub use applicable::{applicable, models_of};
pub use case::{Case, DotLog, FaultWindow, FinalEntry, FinalNode, FinalState, Phase, SecondExchange};
pub use history::{
    Event, EventType, Function, History, HistoryBuilder, HistoryError, Items, OpIndex, Operation, Outcome, ProcessId,
    ReadError, read_jsonl,
};
pub use lattice::{Lattice, Standing, strongest};
pub use options::{AvailabilityBounds, Budget, CheckOptions, DataOptions, Stop, StopFn};
pub use picture::timeline_svg;
pub use registers::registers_from_jsonl;
pub use registry::{Checker, UnknownChecker, checkers, find, judge};
pub use verdict::{Judgement, KindCount, Verdict};
