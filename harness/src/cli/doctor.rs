//! `hearsay doctor`.

use std::process::ExitCode;

use clap::Args;

use crate::disk::DiskKind;
use crate::exit::Outcome;
use crate::faults::FirewallKind;
use crate::sandbox::doctor::{Needs, examine};

use super::{print, print_json};

/// What to examine for.
#[derive(Clone, Debug, Args)]
pub(super) struct DoctorArgs {
    /// For runs of so many nodes
    #[arg(long, value_name = "N", default_value_t = 5)]
    nodes: usize,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Says what this machine can do. Exit code 70 when a run would be impossible.
pub(super) fn run(args: &DoctorArgs) -> ExitCode {
    let checks = examine(Needs { nodes: args.nodes, firewall: FirewallKind::default(), disks: DiskKind::default() });
    if args.json {
        print_json(&checks);
    } else {
        for check in &checks {
            print(&format!("{check}\n"));
        }
    }
    let hindered = checks.iter().any(|check| check.hinders());
    ExitCode::from(if hindered { Outcome::HarnessFailed.exit_code() } else { 0 })
}
