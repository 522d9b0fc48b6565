//! Claim 16: a spanning tree has the fewest messages and is cut by one broken link.

use hearsay_overlay::ways::{Trouble, spread};

use super::broadcasts::{SIMULATED_NODES, real_table, real_ways, table, way};
use super::{Claim, Figure, Options, Section};

pub(super) const CLAIM: Claim = Claim {
    number: 16,
    sentence: "A spanning tree sends the fewest messages, and one broken link cuts off a subtree.",
    run,
};

fn run(options: &Options) -> Result<Vec<Section>, String> {
    if options.real {
        let ways = real_ways(options)?;
        let tree = ways.iter().find(|(way, _)| *way == "tree").map(|(_, real)| real).expect("all ways are measured");
        let fewest = f64::from(tree.nodes) - 1.0;
        let figure = Figure::new(
            16,
            "tree: payloads for a broadcast",
            format!("{:.1}", tree.sent),
            &format!("N - 1 = {fewest}"),
            Some((tree.sent - fewest).abs() < 0.05 * fewest),
        );
        let title = format!("Claim 16, {} real nodes, means of {} broadcasts", tree.nodes, tree.broadcasts);
        return Ok(vec![Section { title, measured: real_table(ways), figures: vec![figure] }]);
    }
    let nodes = options.nodes.min(SIMULATED_NODES);
    let whole = spread(way("tree"), nodes, 1, Trouble::None, false);
    let cut = spread(way("tree"), nodes, 1, Trouble::LinkBreaks, false);
    let backed = spread(way("tree"), nodes, 1, Trouble::LinkBreaks, true);
    let plumtree = spread(way("plumtree"), nodes, 1, Trouble::LinkBreaks, false);
    let fewest = u64::from(nodes) - 1;
    let figures = vec![
        Figure::new(
            16,
            "tree: payloads for a broadcast",
            whole.sent.to_string(),
            &format!("N - 1 = {fewest}"),
            Some(whole.sent == fewest && whole.missed == 0),
        ),
        Figure::new(
            16,
            "tree, one link cut: nodes missed",
            cut.missed.to_string(),
            &format!("the subtree behind it, {}", cut.behind_link),
            Some(cut.missed == cut.behind_link && cut.missed > 0),
        ),
        Figure::new(16, "the same with exchange every 2 s", backed.missed.to_string(), "0", Some(backed.missed == 0)),
        Figure::new(
            16,
            &format!("plumtree, the link to {} nodes cut: nodes missed", plumtree.behind_link),
            plumtree.missed.to_string(),
            "0: it goes around",
            Some(plumtree.missed == 0 && plumtree.behind_link > 0),
        ),
    ];
    let rows = [
        ("tree".to_owned(), whole),
        ("tree, a link cut".to_owned(), cut),
        ("tree, a link cut, exchange".to_owned(), backed),
        ("plumtree, a link cut".to_owned(), plumtree),
    ];
    let title = format!("Claim 16, {nodes} nodes, children by fours");
    Ok(vec![Section { title, measured: table(&rows), figures }])
}
