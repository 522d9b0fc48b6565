//! A plan: everything a run will do, as data. `campaign + seed -> plan` is pure; execution, replay and shrinking take the
//! plan, never the seed.

mod types;

pub use types::{Endpoint, Fault, PartitionShape, Phases, Plan, PlannedFault, PlannedOperation};
