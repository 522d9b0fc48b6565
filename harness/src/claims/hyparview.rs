//! Claim 18: HyParView keeps a small active and a larger passive view, and broadcasts reach the survivors of mass failures.

use hearsay_overlay::scenarios::{Aftermath, idle, massive_failure, partition_and_merge};

use super::broadcasts::real_nodes;
use super::{Claim, Figure, Options, Section};
use crate::bench::gossiped;

pub(super) const CLAIM: Claim = Claim {
    number: 18,
    sentence: "HyParView's small active view spreads, its passive view replaces what fails; it works under churn.",
    run,
};

fn run(options: &Options) -> Result<Vec<Section>, String> {
    if options.real {
        return real(options);
    }
    let nodes = options.nodes;
    let title = format!("Claim 18, HyParView and Plumtree: {nodes} nodes, a broadcast a second from the failure on");
    let mut sections = vec![Section::of(title, hyparview(nodes))];
    let title = "Claim 18, a node that has nothing to say: messages and bytes (without frame and transport) it sends a second, \
                 digests of the exchange every 2 s included";
    sections.push(Section::of(title, idle_traffic(nodes)));
    Ok(sections)
}

/// Real processes: the overlay forms, carries broadcasts, falls into halves and becomes one again.
fn real(options: &Options) -> Result<Vec<Section>, String> {
    let nodes = real_nodes(options);
    let figures = gossiped(nodes, "plumtree", true)?.figures().into_iter().map(|figure| Figure {
        claim: 18,
        what: figure.what,
        measured: figure.measured,
        reference: figure.goal.unwrap_or(figure.reference),
        met: figure.met,
    });
    let title =
        format!("Claim 18, HyParView and Plumtree: {nodes} real nodes, each a process with a network of its own");
    Ok(vec![Section::of(title, figures.collect())])
}

/// It must not grow with the cluster.
fn idle_traffic(most: u16) -> Vec<Figure> {
    let sizes = [100, 1_000, 10_000].into_iter().filter(|nodes| *nodes <= most);
    let idles: Vec<_> = sizes.map(|nodes| (nodes, idle(nodes, 1))).collect();
    let first = idles.first().map_or(0.0, |(_, idle)| idle.messages);
    let line = |(nodes, idle): &(u16, hearsay_overlay::scenarios::Idle)| {
        let measured = format!("{:.2} messages, {:.1} bytes", idle.messages, idle.bytes);
        let grown = idle.messages > 1.1 * first;
        Figure::new(18, &format!("{nodes} nodes"), measured, "does not grow with the cluster", Some(!grown))
    };
    idles.iter().map(line).collect()
}

/// Whether the first broadcast was everywhere when the overlay had recovered, or a second later: it takes half a second from there.
fn within_recovery(after: &Aftermath) -> bool {
    after.first_missed == 0 && after.recovered_ms.is_some_and(|whole| after.first_ms <= whole as f64 + 1_000.0)
}

/// Figures after failures, beside the simulator of iroh-gossip 0.101.
fn hyparview(nodes: u16) -> Vec<Figure> {
    let mut lines = Vec::new();
    for (share, peer) in [
        (0.10, "-"),
        (0.50, "iroh-gossip 1 / 1 / 1 / 1"),
        (0.80, "iroh-gossip 0.0005 / 0.984 / 1 / 1"),
        (0.90, "iroh-gossip 0.002 / 0.794 / 0.987 / 0.993"),
        (0.95, "iroh-gossip 0.004 / 0.004 / 0.858 / 0.918"),
    ] {
        let after = massive_failure(nodes, 1, share);
        let what = format!("{:.0} % fail: reached within 1 s by broadcast 1 / 2 / 5 / 20", share * 100.0);
        let reached = [0, 1, 4, 19].map(|number: usize| format!("{:.4}", after.reached[number])).join(" / ");
        let good = match share {
            0.90 => after.reached[4] >= 0.99,
            0.95 => after.reached[19] >= 0.95,
            _ => within_recovery(&after) && after.in_component == after.survivors,
        };
        lines.push(Figure::new(18, &what, reached, peer, Some(good)));
        let component = format!(
            "{} of {} in its component, {} of them missed; views whole after {} s, broadcast 1 everywhere after {:.1} s",
            after.in_component,
            after.survivors,
            after.first_missed,
            after.recovered_ms.map_or("more than 30".to_owned(), |ms| format!("{:.1}", ms as f64 / 1e3)),
            after.first_ms / 1e3
        );
        let met = Some(within_recovery(&after));
        lines.push(Figure::new(18, "    broadcast 1 and the recovery", component, "at most 1 s after the views", met));
    }
    let merge = partition_and_merge(nodes.min(1_000), 1);
    let merged = merge.merged_ms.map_or("not merged".to_owned(), |ms| format!("one again after {} s", ms / 1_000));
    let measured = format!("{} parts, {merged}, {} evictions", merge.parted, merge.evictions);
    let good = merge.parted == 2 && merge.merged_ms.is_some() && merge.missed == 0;
    lines.push(Figure::new(18, "halves parted for ten minutes (1,000 nodes)", measured, "merge again", Some(good)));
    lines
}
