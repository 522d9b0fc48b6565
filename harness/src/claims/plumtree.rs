//! Claim 17: Plumtree, eager push on a tree and lazy announcements beside it, after it has settled.

use hearsay_overlay::scenarios::{Series, series};

use super::{Claim, Figure, Measured, Options, Section};

pub(super) const CLAIM: Claim = Claim {
    number: 17,
    sentence: "Plumtree pushes on a tree, announces to the rest, and mends the tree when nodes fail: next to no redundancy.",
    run,
};

fn run(options: &Options) -> Result<Vec<Section>, String> {
    let title =
        "Claim 17, Plumtree over HyParView: latency 10 to 50 ms, settled for ten minutes; beside it iroh-gossip 0.101";
    let (measured, figures) = plumtree(options.nodes);
    Ok(vec![Section { title: title.to_owned(), measured, figures }])
}

/// What iroh-gossip 0.101 measured in its own simulator with equal latencies: nodes, whether senders are many, redundancy, last hop
/// and milliseconds.
const PEER: [(u16, bool, [f64; 3]); 7] = [
    (20, false, [0.15, 2.8, 89.0]),
    (100, false, [0.09, 6.0, 172.0]),
    (1_000, false, [0.075, 13.8, 376.0]),
    (20, true, [0.42, 4.8, 162.0]),
    (100, true, [0.48, 10.4, 312.0]),
    (1_000, true, [0.47, 21.2, 617.0]),
    (10_000, false, [0.22, 32.0, 896.0]),
];

/// Figures of a settled tree, over four seeds (one of 10,000 nodes), beside those.
fn plumtree(most: u16) -> (Measured, Vec<Figure>) {
    let mut rows = Vec::new();
    let mut lines = Vec::new();
    for (nodes, many, peer) in PEER.into_iter().filter(|(nodes, ..)| *nodes <= most) {
        let seeds = if nodes > 1_000 { 1 } else { 4 };
        let runs: Vec<Series> = (1..=seeds).map(|seed| series(nodes, seed, many)).collect();
        let mean = |figure: fn(&Series) -> f64| runs.iter().map(figure).sum::<f64>() / runs.len() as f64;
        let missed: usize = runs.iter().map(|run| run.missed).sum();
        let (redundancy, hop, ms) = (mean(|run| run.redundancy), mean(|run| run.last_hop), mean(|run| run.duration_ms));
        let who = format!("{nodes} nodes, {}", if many { "many senders" } else { "one sender" });
        let control = format!("{:.1}, {:.0} bytes", mean(|run| run.control), mean(|run| run.control_bytes));
        rows.push(vec![
            who.clone(),
            format!("{redundancy:.3} ({})", peer[0]),
            format!("{hop:.1} ({})", peer[1]),
            format!("{ms:.0} ms ({})", peer[2]),
            missed.to_string(),
            control,
        ]);
        lines.push(Figure::new(17, &format!("{who}: missed"), missed.to_string(), "0", Some(missed == 0)));
        if nodes == 1_000 && !many {
            let what = "1,000 nodes, one sender: payload redundancy";
            lines.push(Figure::new(17, what, format!("{redundancy:.4}"), "at most 0.05", Some(redundancy <= 0.05)));
            let what = "1,000 nodes, one sender: last hop";
            lines.push(Figure::new(17, what, format!("{hop:.1}"), "at most 13", Some(hop <= 13.0)));
        }
    }
    let columns =
        ["(iroh-gossip)", "redundancy", "last hop", "last delivery", "missed", "control a node and broadcast"];
    (Measured { columns: columns.map(str::to_owned).into(), rows }, lines)
}
