//! Shrinking: from a plan that shows an anomaly to the few faults and operations that matter.
//!
//! Delta debugging (Zeller and Hildebrandt, *Simplifying and isolating failure-inducing input*, 2002) that knows what a plan
//! is made of: whole faults first, then keys, clients and operations in chunks, then times, nodes, and parts of faults, and
//! all again until nothing can be taken away any more.
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
mod outcome;
mod passes;
mod search;
mod size;
mod sweep;
mod times;
mod trial;

#[cfg(test)]
mod tests;

pub use anomaly::{Anomaly, Choice, NothingToShrink, anomalies_of, choose};
pub use outcome::{Ended, Shrunk, render};
pub use search::{Budget, Search};
pub use size::PlanSize;
pub use trial::{Simulator, Trial, Witness, witness_of};
