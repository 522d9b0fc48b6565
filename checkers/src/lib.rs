//! Histories and the pure functions that judge them.
//!
//! A checker is a pure function: [`Case`] in, [`Verdict`] out. It shares no code with the system it judges, and infers
//! the order of versions from the history alone.

mod case;
mod history;
mod verdict;

pub use case::{Case, FaultWindow, FinalEntry, FinalState, Phase};
pub use history::{Event, EventType, Function, History, OpIndex, Operation, Outcome, ProcessId};
pub use verdict::{Judgement, Verdict};
