//! Shrinking: from a plan that shows an anomaly to the few faults and operations that matter.
//!
//! Delta debugging (Zeller and Hildebrandt, *Simplifying and isolating failure-inducing input*, 2002) that knows what a plan
//! is made of. First the operations that the verdict names are tried alone, then with more and more of those around them
//! ([`jump`]). What is left is taken apart: whole faults first, then nodes, keys, clients and operations in chunks, then times
//! and parts of faults, and all again until nothing can be taken away any more.
//!
//! Less traffic meets at other moments, so a smaller plan seldom fails as it stands. Each candidate is therefore tried in several
//! variations ([`vary`]): other seeds of the world, operations moved a little. Small plans take milliseconds, so that is cheap.
//! The variation that failed is the plan that is kept: it replays to the bit.
//!
//! Invariants:
//! - A step is kept only when the same checker finds the same kind of violation ([`Anomaly`]) in a run of the smaller plan.
//! - What is tried is a valid plan ([`crate::plan::Plan::validate`]), and nothing that a verdict could blame on the plan gets
//!   smaller: replication, levels, time-outs and the time to converge stay.
//! - Of several candidates the first in order that shows the anomaly is kept, however many are tried at once. Only a budget
//!   that ends makes the result depend on the machine.
//!
//! Left out: other values and keys than the plan's (keys decide over the replicas), changed levels, rounded times.

mod anomaly;
mod fault_parts;
mod jump;
mod outcome;
mod passes;
mod real;
mod search;
mod size;
mod sweep;
mod times;
mod trial;
mod vary;
mod witness;

#[cfg(test)]
mod tests;

pub use anomaly::{Anomaly, Choice, NothingToShrink, anomalies_of, choose};
pub use outcome::{Ended, Shrunk, render};
pub use real::RealProcesses;
pub use search::{Budget, Search, processor_time};
pub use size::PlanSize;
pub use times::with_more_time;
pub use trial::{Simulator, Trial};
pub use witness::{Focus, Witness, witness_of};
