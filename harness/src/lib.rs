//! Hearsay puts gossip on trial: the harness. Plans, sandboxes, faults, recorder, campaigns, reports.

pub mod campaign;
pub mod plan;
