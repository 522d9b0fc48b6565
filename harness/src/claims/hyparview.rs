//! Claim 18: HyParView keeps a small active and a larger passive view, and broadcasts reach the survivors of mass failures.

use hearsay_overlay::scenarios::{massive_failure, partition_and_merge};

use super::{Claim, Figure, Options, Section};

pub(super) const CLAIM: Claim = Claim {
    number: 18,
    sentence: "HyParView's small active view spreads, its passive view replaces what fails; it works under churn.",
    run,
};

fn run(options: &Options) -> Result<Vec<Section>, String> {
    let nodes = options.nodes;
    let title = format!("Claim 18, HyParView and Plumtree: {nodes} nodes, a broadcast a second from the failure on");
    Ok(vec![Section::of(title, hyparview(nodes))])
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
            _ => after.first_missed == 0,
        };
        lines.push(Figure::new(18, &what, reached, peer, Some(good)));
        let component = format!(
            "{} of {} in its component, {} of them missed, {:.1} s",
            after.in_component,
            after.survivors,
            after.first_missed,
            after.first_ms / 1e3
        );
        lines.push(Figure::new(18, "    broadcast 1 at the end", component, "-", None));
    }
    let merge = partition_and_merge(nodes.min(1_000), 1);
    let merged = merge.merged_ms.map_or("not merged".to_owned(), |ms| format!("one again after {} s", ms / 1_000));
    let measured = format!("{} parts, {merged}, {} evictions", merge.parted, merge.evictions);
    let good = merge.parted == 2 && merge.merged_ms.is_some() && merge.missed == 0;
    lines.push(Figure::new(18, "halves parted for ten minutes (1,000 nodes)", measured, "merge again", Some(good)));
    lines
}
