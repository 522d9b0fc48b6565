//! Time to make the star network, and of one partition change, inside a sandbox of its own.
//!
//! The change that is measured is the largest a plan has: the majorities ring, replaced by the ring of another order. It
//! is in force everywhere when the kernel has taken the transaction, because every packet passes the one router; that it
//! is in force is checked by reading it back (outside of the measured time). The reference is the smallest transaction,
//! one blocked pair, in the same rounds.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Result, ensure};
use hearsay_core::NodeId;

use super::measure::median;
use super::{Figure, Options};
use crate::faults::firewall::pairs_max;
use crate::faults::{Firewall, FirewallKind, Pair};
use crate::sandbox::{Network, Sandbox};

/// Every node sees a majority, itself included, of a ring that begins at `shift`.
fn majorities_ring(network: &Network, nodes: u16, shift: u16) -> BTreeSet<Pair> {
    let reach = nodes / 4;
    let place = |node: u16| (node * (1 + 2 * shift)) % nodes;
    let mut blocked = BTreeSet::new();
    for from in 0..nodes {
        for to in 0..nodes {
            let apart = place(from).abs_diff(place(to));
            if apart.min(nodes - apart) > reach.max(1) {
                let address = |node: u16| network.node_address(NodeId(node + 1));
                blocked.insert((address(from), address(to)));
            }
        }
    }
    blocked
}

fn timed(firewall: &mut dyn Firewall, blocked: &BTreeSet<Pair>) -> Result<f64> {
    let decided = Instant::now();
    firewall.apply(blocked)?;
    let milliseconds = decided.elapsed().as_secs_f64() * 1e3;
    ensure!(&firewall.blocked()? == blocked, "the kernel holds other pairs than it was given");
    Ok(milliseconds)
}

/// Measures with that many nodes. Once per sandbox.
///
/// # Errors
/// What the kernel says.
pub(super) fn partition(sandbox: &Sandbox, nodes: u16, options: &Options) -> Result<Vec<Figure>> {
    let ids: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
    let begin = Instant::now();
    let network = Network::create(sandbox, &ids)?;
    let network_ms = begin.elapsed().as_secs_f64() * 1e3;
    let mut firewall = FirewallKind::Auto.open(pairs_max(ids.len()))?;
    let rings = [majorities_ring(&network, nodes, 0), majorities_ring(&network, nodes, 1)];
    let smallest: BTreeSet<Pair> = rings[0].iter().take(1).copied().collect();
    let (mut changes, mut smallest_changes, mut heals) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..options.rounds.max(5) {
        timed(firewall.as_mut(), &rings[round % 2])?;
        changes.push(timed(firewall.as_mut(), &rings[(round + 1) % 2])?);
        heals.push(timed(firewall.as_mut(), &BTreeSet::new())?);
        smallest_changes.push(timed(firewall.as_mut(), &smallest)?);
    }
    let most = changes.iter().copied().fold(0.0, f64::max);
    let (change, smallest, heal) = (median(changes), median(smallest_changes), median(heals));
    let goal_ms = if nodes <= 5 { 5.0 } else { 30.0 };
    Ok(vec![
        Figure {
            what: format!("star network of {nodes} nodes"),
            measured: format!("{network_ms:.0} ms"),
            reference: "none: made once".to_string(),
            ratio: None,
            goal: None,
            met: None,
        },
        Figure {
            what: format!("one partition change, {nodes} nodes, {} pairs, {}", rings[0].len(), firewall.name()),
            measured: format!("{change:.2} ms (most {most:.2}), heal {heal:.2} ms"),
            reference: format!("a change of one pair {smallest:.2} ms"),
            ratio: Some(change / smallest),
            goal: Some(format!("within {goal_ms} ms")),
            met: Some(change <= goal_ms),
        },
    ])
}
