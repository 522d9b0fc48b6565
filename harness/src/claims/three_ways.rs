//! Claim 3: notification, periodic exchange and cooperative broadcast side by side, under the same faults.

use hearsay_overlay::ways::{Spreading, Trouble, WAYS, spread};

use super::broadcasts::{SIMULATED_NODES, real_table, real_ways, table};
use super::{Claim, Figure, Options, Section};

pub(super) const CLAIM: Claim = Claim {
    number: 3,
    sentence: "Besides notification there are periodic exchange and cooperative broadcast; the latter is faster and more reliable.",
    run,
};

fn run(options: &Options) -> Result<Vec<Section>, String> {
    if options.real {
        let ways = real_ways(options)?;
        let of = |name| ways.iter().find(|(way, _)| *way == name).map(|(_, real)| real).expect("all ways are measured");
        let (plumtree, periodic) = (of("plumtree"), of("periodic"));
        let figures = vec![
            faster(plumtree.last_ms, periodic.last_ms),
            Figure::new(3, "plumtree: deliveries missed", plumtree.missed.to_string(), "0", Some(plumtree.missed == 0)),
        ];
        let title = format!("Claim 3, {} real nodes, means of {} broadcasts", plumtree.nodes, plumtree.broadcasts);
        return Ok(vec![Section { title, measured: real_table(ways), figures }]);
    }
    let nodes = options.nodes.min(SIMULATED_NODES);
    let troubles = [
        (Trouble::None, "nothing fails"),
        (Trouble::OriginDies, "the origin is killed half-way"),
        (Trouble::NodesDie(0.2), "a fifth of the nodes is killed as it is published"),
    ];
    let sections = troubles.map(|(trouble, words)| {
        let all = WAYS.map(|way| (way.name.to_owned(), spread(way, nodes, 1, trouble, false)));
        let of = |name: &str| -> &Spreading { &all.iter().find(|(way, _)| way == name).expect("all ways").1 };
        let mut figures = Vec::new();
        let (direct, periodic, plumtree) = (of("direct"), of("periodic"), of("plumtree"));
        if trouble != Trouble::OriginDies {
            figures.push(faster(plumtree.last_ms, periodic.last_ms));
        } else {
            figures.push(Figure::new(
                3,
                "missed: cooperative broadcast (plumtree) and notification (direct)",
                format!("{} and {}", plumtree.missed, direct.missed),
                "fewer, since it depends on nobody",
                Some(plumtree.missed < direct.missed),
            ));
        }
        figures.push(Figure::new(3, "plumtree: missed", plumtree.missed.to_string(), "0", Some(plumtree.missed == 0)));
        let title = format!("Claim 3, {nodes} nodes, {words}; no exchange but in `periodic`, where it comes every 2 s");
        Section { title, measured: table(&all), figures }
    });
    Ok(sections.into())
}

fn faster(cooperative_ms: f64, periodic_ms: f64) -> Figure {
    Figure::new(
        3,
        "last delivery: cooperative broadcast (plumtree) and periodic exchange",
        format!("{cooperative_ms:.0} ms and {periodic_ms:.0} ms"),
        "faster",
        Some(cooperative_ms < periodic_ms),
    )
}
