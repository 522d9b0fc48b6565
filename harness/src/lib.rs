//! Hearsay puts gossip on trial: the harness. Plans, sandboxes, faults, recorder, campaigns, reports.

pub mod faults;
pub mod plan;
pub mod sandbox;
