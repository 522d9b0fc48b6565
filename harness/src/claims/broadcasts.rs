//! What the claims on broadcasts share: rows of a broadcast's figures, simulated or of real processes.

use std::sync::OnceLock;

use hearsay_overlay::ways::{Spreading, WAYS, Way};

use super::{Measured, Options};
use crate::bench::{Gossiped, gossiped};

/// Nodes of a simulated cluster when nothing else was said that the machine can bear five times over.
pub(super) const SIMULATED_NODES: u16 = 1_000;
/// Real nodes.
const REAL_NODES: u16 = 100;
/// Real nodes of a cluster whose members all have links to each other: measured, two cores are half busy with forty that idle,
/// and it grows with the square.
const REAL_NODES_IN_MESH: u16 = 40;

/// The way of that name.
pub(super) fn way(name: &str) -> Way {
    *WAYS.iter().find(|way| way.name == name).expect("the claims name ways that there are")
}

/// Nodes of a real cluster.
pub(super) fn real_nodes(options: &Options) -> u16 {
    if options.nodes > 200 { REAL_NODES } else { options.nodes }
}

/// A table of simulated broadcasts, a row each, by the circumstances.
pub(super) fn table(rows: &[(String, Spreading)]) -> Measured {
    let columns = ["", "origin sends", "all send", "missed", "half", "99 %", "last", "quiet after"];
    let row = |(name, spreading): &(String, Spreading)| {
        let Spreading { nodes, origin_sent, sent, missed, half_ms, p99_ms, last_ms, quiet_ms, .. } = spreading;
        let mut row = vec![name.clone(), origin_sent.to_string(), sent.to_string(), format!("{missed} of {nodes}")];
        row.extend([half_ms, p99_ms, last_ms, quiet_ms].map(|ms| format!("{ms:.0} ms")));
        row
    };
    Measured { columns: columns.map(str::to_owned).into(), rows: rows.iter().map(row).collect() }
}

/// Broadcasts of real clusters, one in each way; measured once for all claims of one command.
pub(super) fn real_ways(options: &Options) -> Result<&'static [(&'static str, Gossiped)], String> {
    static MEASURED: OnceLock<Result<Vec<(&'static str, Gossiped)>, String>> = OnceLock::new();
    // All ways with as many nodes, or they could not be compared.
    let nodes = if options.nodes > 200 { REAL_NODES_IN_MESH } else { options.nodes };
    let measure = || WAYS.iter().map(|way| Ok((way.name, gossiped(nodes, way.name, false)?))).collect();
    MEASURED.get_or_init(measure).as_deref().map_err(Clone::clone)
}

/// A table of them.
pub(super) fn real_table(ways: &[(&'static str, Gossiped)]) -> Measured {
    let columns = ["", "origin sends", "all send", "missed", "half", "99 %", "last"];
    let row = |(name, real): &(&str, Gossiped)| {
        let mut row = vec![
            (*name).to_owned(),
            format!("{:.1}", real.origin_sent),
            format!("{:.1}", real.sent),
            format!("{} of {}", real.missed, real.deliveries),
        ];
        row.extend([real.half_ms, real.p99_ms, real.last_ms].map(|ms| format!("{ms:.0} ms")));
        row
    };
    Measured { columns: columns.map(str::to_owned).into(), rows: ways.iter().map(row).collect() }
}
