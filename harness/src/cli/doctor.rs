//! `hearsay doctor`.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::disk::DiskKind;
use crate::exit::Outcome;
use crate::faults::FirewallKind;
use crate::sandbox::doctor::{Check, Needs, examine};

use super::{print, print_json};

/// What to examine for.
#[derive(Clone, Debug, Args)]
pub(super) struct DoctorArgs {
    /// For runs of so many nodes
    #[arg(long, value_name = "N", default_value_t = 5)]
    nodes: usize,
    /// Print the findings as one JSON object
    #[arg(long)]
    json: bool,
}

/// The findings, as `--json` prints them.
#[derive(Debug, Serialize)]
struct Findings {
    /// For runs of so many nodes.
    nodes: usize,
    /// Whether such runs are possible.
    fit: bool,
    checks: Vec<Check>,
}

/// Says what this machine can do. Exit code 70 when a run would be impossible.
pub(super) fn run(args: &DoctorArgs) -> ExitCode {
    let checks = examine(Needs { nodes: args.nodes, firewall: FirewallKind::default(), disks: DiskKind::default() });
    let hindered = checks.iter().any(|check| check.hinders());
    if args.json {
        print_json(&Findings { nodes: args.nodes, fit: !hindered, checks });
    } else {
        for check in &checks {
            print(&format!("{check}\n"));
        }
    }
    ExitCode::from(if hindered { Outcome::HarnessFailed.exit_code() } else { 0 })
}
