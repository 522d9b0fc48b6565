//! A plan: everything a run will do, as data. `campaign + seed -> plan` is pure; execution, replay and shrinking take the
//! plan, never the seed.

mod file;
mod make;
mod schedule;
mod shapes;
mod types;
mod validate;

#[cfg(test)]
mod tests;

pub use file::{FORMAT, PlanError};
pub use make::make_plan;
pub use schedule::FAULTS_MAX;
pub use types::{Endpoint, Fault, PartitionShape, Phases, Plan, PlannedFault, PlannedOperation};
pub(crate) use validate::DISK_WAIT_MAX_MS;
