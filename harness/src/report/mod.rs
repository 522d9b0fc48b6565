//! What a run ended with: as data ([`RunReport`], the content of `verdict.json`) and as text for people.

mod expectations;
pub mod marks;
mod operations;
mod text;
mod types;

pub use expectations::{outcome_of, required_outcome};
pub use operations::{PhaseOperations, operations_by_phase};
pub use text::{header, render, render_judgement, render_verdicts, simulated_header};
pub use types::{FaultReport, JudgedVerdict, Problem, ProblemKind, RunReport, Simulation};
