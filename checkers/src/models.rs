//! The models, one file each. A file here and a line in [`crate::registry`] make a checker.

pub(crate) mod acknowledged_writes;
pub(crate) mod availability;
pub(crate) mod causal;
pub(crate) mod causal_convergence;
pub(crate) mod causal_memory;
pub(crate) mod convergence;
pub(crate) mod linearizable;
pub(crate) mod monotonic_quorum_reads;
pub(crate) mod monotonic_reads;
pub(crate) mod monotonic_writes;
pub(crate) mod pram;
pub(crate) mod read_your_writes;
pub(crate) mod regular;
pub(crate) mod safe;
pub(crate) mod sequential;
pub(crate) mod writes_follow_reads;
