//! The models, one file each. A file here and a line in [`crate::registry`] make a checker.

pub(crate) mod acknowledged_writes;
pub(crate) mod availability;
pub(crate) mod convergence;
pub(crate) mod linearizable;
pub(crate) mod monotonic_quorum_reads;
pub(crate) mod monotonic_reads;
pub(crate) mod read_your_writes;
