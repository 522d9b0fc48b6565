//! The overlay of nodes over time, as their own reports have it: from a stored run's samples, or from a running cluster.
//!
//! A node that does not report does not run, for all the picture knows. Where all nodes know all members there is nothing to draw.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use hearsay_core::dissemination::MessageId;
use hearsay_core::{NodeId, OverlayReport};
use hearsay_overlay::pictures::{Moment, Views, moment_of, places_of, strip};
use serde::Deserialize;

/// What the nodes reported at one time.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// Nanoseconds since the beginning.
    pub time_ns: u64,
    /// The reports of those that run.
    pub reports: BTreeMap<NodeId, OverlayReport>,
}

/// A picture, and what it shows in words.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// SVG.
    pub picture: String,
    /// A few lines.
    pub summary: String,
}

/// The rounds in `metrics.jsonl` of a run.
///
/// # Errors
/// The file can't be read, or tells of no overlay: what, and the mend.
pub fn stored(path: &Path) -> Result<Vec<Round>, String> {
    #[derive(Deserialize)]
    struct Line {
        time: u64,
        overlay: Option<OverlayReport>,
    }
    let file = if path.is_dir() { path.join("metrics.jsonl") } else { path.to_owned() };
    let open = File::open(&file).map_err(|error| format!("{} can't be read: {error}; name a run", file.display()))?;
    let mut rounds: BTreeMap<u64, Round> = BTreeMap::new();
    for line in BufReader::new(open).lines().map_while(Result::ok) {
        // The last line of a run that was killed may be cut.
        let Ok(Line { time, overlay }) = serde_json::from_str(&line) else { continue };
        let round = rounds.entry(time).or_default();
        round.time_ns = time;
        round.reports.extend(overlay.map(|report| (report.node, report)));
    }
    if rounds.values().all(|round| round.reports.is_empty()) {
        return Err(format!(
            "{} tells of no overlay: its cluster has no `dissemination` with membership hyparview",
            file.display()
        ));
    }
    Ok(rounds.into_values().collect())
}

/// So many of the rounds, evenly over time, the first with a report and the last among them.
pub fn choose(rounds: &[Round], count: usize) -> Vec<&Round> {
    let begin = rounds.iter().position(|round| !round.reports.is_empty()).unwrap_or(0);
    let rounds = &rounds[begin..];
    if rounds.len() <= count || count < 2 {
        return rounds.iter().take(count.max(1)).collect();
    }
    (0..count).map(|number| &rounds[number * (rounds.len() - 1) / (count - 1)]).collect()
}

/// Draws rounds side by side. Nodes stand where the newest broadcast of the first round that knows one put them.
///
/// # Panics
/// Without a round.
pub fn draw(rounds: &[&Round]) -> Drawn {
    assert!(!rounds.is_empty(), "a picture of nothing");
    let everybody: std::collections::BTreeSet<NodeId> =
        rounds.iter().flat_map(|round| round.reports.keys().copied()).collect();
    let mut summary = String::new();
    let begin_ns = rounds[0].time_ns;
    let mut moments: Vec<Moment> = Vec::new();
    for round in rounds {
        let title = format!("after {:.1} s", (round.time_ns - begin_ns) as f64 / 1e9);
        let views: Views = round.reports.iter().map(|(node, report)| (*node, view(report))).collect();
        let moment = moment_of(&views, &title);
        let tree = tree(round).map_or("no broadcast".to_owned(), |(id, ways)| {
            let deepest = ways.values().map(|(_, hops)| *hops).max().unwrap_or(0);
            format!("the newest broadcast ({} of {}) is at {}, {deepest} hops deep", id.sequence, id.origin, ways.len())
        });
        let eager = views.values().flatten().filter(|(_, eager)| *eager).count();
        let degree = views.values().map(Vec::len).sum::<usize>() as f64 / views.len().max(1) as f64;
        summary.push_str(&format!(
            "  {title:<14} {}; {degree:.1} neighbours a node, {:.1} of them eager; {tree}\n",
            moment.note,
            eager as f64 / views.len().max(1) as f64
        ));
        moments.push(moment);
    }
    let known = rounds.iter().find_map(|round| tree(round));
    let origin = known.as_ref().map_or_else(|| everybody.first().copied().unwrap_or(NodeId(1)), |(id, _)| id.origin);
    let ways = everybody
        .into_iter()
        .map(|node| {
            let way = known.as_ref().and_then(|(_, ways)| ways.get(&node)).map(|(from, _)| *from);
            (node, if known.is_none() && node == origin { Some(None) } else { way })
        })
        .collect();
    Drawn { picture: strip(&moments, &places_of(&ways, origin)), summary }
}

fn view(report: &OverlayReport) -> Vec<(NodeId, bool)> {
    report.active.iter().map(|neighbour| (neighbour.peer, neighbour.eager)).collect()
}

/// Where a broadcast came from, and over how many hops, by node.
type Ways = BTreeMap<NodeId, (Option<NodeId>, u16)>;

/// Of the newest broadcasts that nodes report the one that most of them have, and its ways.
fn tree(round: &Round) -> Option<(MessageId, Ways)> {
    let mut all: BTreeMap<MessageId, Ways> = BTreeMap::new();
    for report in round.reports.values() {
        for broadcast in &report.broadcasts {
            all.entry(broadcast.id).or_default().insert(report.node, (broadcast.from, broadcast.hops));
        }
    }
    all.into_iter().max_by_key(|(id, ways)| (ways.len(), id.sequence))
}

#[cfg(test)]
mod tests {
    use hearsay_core::{OverlayBroadcast, OverlayPeer};

    use super::*;

    fn report(node: u16, peers: &[u16], from: Option<u16>) -> OverlayReport {
        let id = MessageId { origin: NodeId(1), incarnation: 9, sequence: 3 };
        OverlayReport {
            node: NodeId(node),
            incarnation: 9,
            is_full: false,
            active: peers.iter().map(|peer| OverlayPeer { peer: NodeId(*peer), eager: from == Some(*peer) }).collect(),
            passive: vec![],
            broadcasts: vec![OverlayBroadcast {
                id,
                from: from.map(NodeId),
                hops: u16::from(from.is_some()),
                age_us: 5,
            }],
        }
    }

    fn round(time_ns: u64, reports: &[OverlayReport]) -> Round {
        Round { time_ns, reports: reports.iter().map(|report| (report.node, report.clone())).collect() }
    }

    #[test]
    fn a_node_that_ends_leaves_a_cross_and_a_dead_link() {
        let all = [report(1, &[2, 3], None), report(2, &[1], Some(1)), report(3, &[1], Some(1))];
        let (first, last) = (round(0, &all), round(2_000_000_000, &all[..2]));
        let drawn = draw(&[&first, &last]);
        assert_eq!((drawn.picture.matches("<circle").count(), drawn.picture.matches(", dead</title>").count()), (5, 1));
        for words in ["3 nodes, 2 links, 0 dead, 1 component", "2 nodes, 1 links, 1 dead", "is at 3, 1 hops deep"] {
            assert!(drawn.summary.contains(words), "{words}: {}", drawn.summary);
        }
    }

    #[test]
    fn rounds_are_chosen_from_the_first_report_to_the_last() {
        let mut rounds = vec![round(0, &[])];
        rounds.extend((1..=9).map(|second| round(second, &[report(1, &[], None)])));
        let times = |count| choose(&rounds, count).iter().map(|round| round.time_ns).collect::<Vec<_>>();
        assert_eq!(times(3), [1, 5, 9]);
        assert_eq!(times(20).len(), 9);
        assert_eq!(times(1), [1]);
    }

    #[test]
    fn a_run_without_an_overlay_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("metrics.jsonl");
        std::fs::write(&path, "{\"time\":1,\"node\":\"n1\",\"counters\":{}}\n").expect("written");
        assert!(stored(folder.path()).expect_err("no overlay").contains("no overlay"));
        let line =
            format!("{{\"time\":7,\"overlay\":{}}}\n", serde_json::to_string(&report(1, &[2], None)).expect("json"));
        std::fs::write(&path, line).expect("written");
        assert_eq!(stored(&path).expect("one round")[0].reports.len(), 1);
    }
}
