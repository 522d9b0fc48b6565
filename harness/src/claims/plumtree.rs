//! Claim 17: Plumtree, eager push on a tree and lazy announcements beside it, after it has settled.

use hearsay_overlay::scenarios::{Series, series};

use super::{Claim, Figure, Options, Section};

pub(super) const CLAIM: Claim = Claim {
    number: 17,
    sentence: "Plumtree pushes on a tree, announces to the rest, and mends the tree when nodes fail: next to no redundancy.",
    run,
};

fn run(_: &Options) -> Result<Vec<Section>, String> {
    let title = "Claim 17, Plumtree over HyParView: 1,000 nodes, latency 10 to 50 ms, settled for ten minutes";
    Ok(vec![Section::of(title, plumtree())])
}

/// Figures of a settled tree, over four seeds, beside the simulator of iroh-gossip 0.101.
fn plumtree() -> Vec<Figure> {
    let runs = |many| (1..=4).map(|seed| series(1_000, seed, many)).collect::<Vec<_>>();
    let mut lines = Vec::new();
    for (who, many, [redundancy, hop, duration]) in [
        ("one sender", false, ["iroh-gossip 0.075", "iroh-gossip 13.8", "iroh-gossip 376 ms"]),
        ("many senders", true, ["iroh-gossip 0.47", "iroh-gossip 21.2", "iroh-gossip 617 ms"]),
    ] {
        let runs = runs(many);
        let mean = |figure: fn(&Series) -> f64| runs.iter().map(figure).sum::<f64>() / runs.len() as f64;
        let missed: usize = runs.iter().map(|run| run.missed).sum();
        let (red, last) = (mean(|run| run.redundancy), mean(|run| run.last_hop));
        let goal = |good: bool| (!many).then_some(good);
        lines.push(Figure::new(
            17,
            &format!("{who}: payload redundancy"),
            format!("{red:.4}"),
            redundancy,
            goal(red <= 0.05),
        ));
        lines.push(Figure::new(17, &format!("{who}: last hop"), format!("{last:.1}"), hop, goal(last <= 13.0)));
        let ms = mean(|run| run.duration_ms);
        lines.push(Figure::new(17, &format!("{who}: last delivery"), format!("{ms:.0} ms"), duration, None));
        lines.push(Figure::new(17, &format!("{who}: deliveries missed"), missed.to_string(), "0", Some(missed == 0)));
        let control = mean(|run| run.control);
        let bytes = mean(|run| run.control_bytes);
        lines.push(Figure::new(
            17,
            &format!("{who}: control messages a node and broadcast"),
            format!("{control:.1}, {bytes:.0} bytes"),
            "-",
            None,
        ));
    }
    lines
}
