//! Generators of client operations, each naming its checkers, and the campaigns that ship.
//!
//! Pure: parameters and a seed in, operations out. No clock, no ambient randomness, no I/O: a campaign file that ships is
//! part of the program. What a workload does not do: final reads (the runner reads every key at the end), and deciding
//! what a result means (the recorder's and the checkers' work).

mod action;
mod campaigns;
mod collections;
mod expectation;
mod level;
mod news;
mod register;
mod scan;
mod stream;
mod workload;

pub use action::{ACTIONS_ALLOWED, Action, KEY_LENGTH_MAX};
pub use campaigns::{campaign, campaigns};
pub use collections::{CounterSpec, SetSpec};
pub use expectation::Expectation;
pub use level::{LEVELS_ALLOWED, Level, WRITE_LEVELS_ALLOWED};
pub use news::{NEWS, NewsSpec};
pub use register::{Hot, KeyChoice, Mix, RegisterSpec};
pub use scan::ScanSpec;
pub use stream::stream;
pub use workload::{DataKind, END_CHECKERS, GeneratedOperation, OPERATIONS_MAX, WorkloadSpec};
