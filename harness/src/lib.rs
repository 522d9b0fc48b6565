//! Hearsay puts gossip on trial: the harness. Plans, sandboxes, faults, recorder, campaigns, reports.

pub mod bench;
pub mod campaign;
pub mod claims;
pub mod cli;
pub mod disk;
pub mod exit;
pub mod faults;
pub mod input;
pub mod links;
pub mod overlay_moments;
pub mod plan;
#[cfg(feature = "planted-bugs")]
pub mod planted;
pub mod progress;
pub mod recorder;
pub mod report;
pub mod run;
pub mod sandbox;
pub mod shrink;
pub mod sim;
pub mod store;
pub mod trace;

/// The commit this program was built from; `unknown` outside a checkout.
pub const COMMIT: &str = env!("HEARSAY_COMMIT");
