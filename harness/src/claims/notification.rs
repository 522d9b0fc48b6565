//! Claim 2: the origin tells everybody by itself.

use hearsay_overlay::ways::{Trouble, spread};

use super::broadcasts::{SIMULATED_NODES, real_table, real_ways, table, way};
use super::{Claim, Figure, Options, Section};

pub(super) const CLAIM: Claim = Claim {
    number: 2,
    sentence: "Broadcast by one process is simple, but its cost and its dependence on that process grow with the cluster.",
    run,
};

fn run(options: &Options) -> Result<Vec<Section>, String> {
    if options.real {
        let ways = real_ways(options)?;
        let of = |name| ways.iter().find(|(way, _)| *way == name).map(|(_, real)| real).expect("all ways are measured");
        let (direct, plumtree) = (of("direct"), of("plumtree"));
        let others = f64::from(direct.nodes) - 1.0;
        let figures = vec![
            Figure::new(
                2,
                "payloads of the origin for a broadcast, direct",
                format!("{:.1}", direct.origin_sent),
                &format!("{others}"),
                Some((direct.origin_sent - others).abs() < 0.05 * others),
            ),
            Figure::new(
                2,
                "the same, Plumtree",
                format!("{:.1}", plumtree.origin_sent),
                "at most its neighbours, 5",
                Some(plumtree.origin_sent <= 6.0),
            ),
        ];
        let title = format!("Claim 2, {} real nodes, means of {} broadcasts", direct.nodes, direct.broadcasts);
        return Ok(vec![Section { title, measured: real_table(ways), figures }]);
    }
    let most = options.nodes;
    let sizes: Vec<u16> = [10, 100, 1_000, 10_000].into_iter().filter(|size| *size <= most).collect();
    let mut rows = Vec::new();
    let mut figures = Vec::new();
    for &nodes in &sizes {
        for name in ["direct", "tree", "plumtree"] {
            let spreading = spread(way(name), nodes, 1, Trouble::None, false);
            let sent = spreading.origin_sent;
            let (reference, good) = match name {
                "direct" => (format!("{}", nodes - 1), sent == u64::from(nodes) - 1),
                _ => ("at most its neighbours, 5".to_owned(), sent <= 5),
            };
            let what = format!("{nodes} nodes, {name}: payloads of the origin");
            figures.push(Figure::new(2, &what, sent.to_string(), &reference, Some(good)));
            rows.push((format!("{nodes} nodes, {name}"), spreading));
        }
    }
    let title = "Claim 2, cost: one broadcast; latency 10 to 50 ms, 0.1 ms to send a message".to_owned();
    let cost = Section { title, measured: table(&rows), figures };

    let nodes = most.min(SIMULATED_NODES);
    let (alone, backed) = (
        spread(way("direct"), nodes, 1, Trouble::OriginDies, false),
        spread(way("direct"), nodes, 1, Trouble::OriginDies, true),
    );
    let plumtree = spread(way("plumtree"), nodes, 1, Trouble::OriginDies, false);
    let half = f64::from(nodes) / 2.0;
    let figures = vec![
        Figure::new(
            2,
            "direct: nodes left uninformed",
            alone.missed.to_string(),
            &format!("half of them, {half}"),
            Some((alone.missed as f64 - half).abs() <= 0.05 * half + 2.0),
        ),
        Figure::new(
            2,
            "direct with exchange every 2 s: nodes left uninformed",
            backed.missed.to_string(),
            "0: anti-entropy informs them",
            Some(backed.missed == 0),
        ),
    ];
    let title = format!("Claim 2, dependence: {nodes} nodes, the origin is killed when it has sent to half of them");
    let rows =
        [("direct".to_owned(), alone), ("direct and exchange".to_owned(), backed), ("plumtree".to_owned(), plumtree)];
    Ok(vec![cost, Section { title, measured: table(&rows), figures }])
}
