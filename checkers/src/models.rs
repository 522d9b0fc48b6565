//! The models, one file each. A file here and a line in [`crate::registry`] make a checker.

pub(crate) mod acknowledged_writes;
pub(crate) mod availability;
pub(crate) mod bank;
pub(crate) mod broadcast;
pub(crate) mod convergence;
pub(crate) mod counter;
pub(crate) mod linearizable;
pub(crate) mod long_fork;
pub(crate) mod monotonic_quorum_reads;
pub(crate) mod monotonic_reads;
pub(crate) mod queue;
pub(crate) mod read_your_writes;
pub(crate) mod set;
pub(crate) mod set_full;
pub(crate) mod total_queue;
pub(crate) mod unique_ids;
pub(crate) mod views;
