//! A plan: everything a run will do, as data. `campaign + seed -> plan` is pure; execution, replay and shrinking take the
//! plan, never the seed.

mod clocks;
mod file;
mod links;
mod make;
mod ring;
mod schedule;
mod shapes;
mod swarm;
mod types;
mod validate;

#[cfg(test)]
mod tests;

pub use clocks::{CLOCK_DRIFT_MAX_PPB, CLOCK_OFFSET_MAX_NS, CLOCK_SKEW_MIN_NS, ClockSkew};
pub use file::{FORMAT, PlanError};
pub use links::{
    Distribution, Fate, LINK_BANDWIDTH_BYTES_PER_S, LINK_DELAY_MAX_MS, LINK_QUEUE_MS, LINK_SHARE_MAX_PER_MILLION,
    LinkConditions, LinkScope,
};
pub use make::make_plan;
pub use ring::{members_at_end, topology_at_end};
pub use schedule::FAULTS_MAX;
pub use swarm::make_swarm_plan;
pub use types::{Disk, Endpoint, Fault, PartitionShape, Phases, Plan, PlannedFault, PlannedOperation};
pub(crate) use validate::DISK_WAIT_MAX_MS;
