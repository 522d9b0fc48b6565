//! Partial views of a membership protocol (Leitão, Pereira and Rodrigues, *HyParView*, 2007; the measures of Jelasity et
//! al., *Gossip-based peer sampling*, 2007).
//!
//! Records `view` are samples: the node is their `:node` (or their process), the value a map of `:active` and `:passive`
//! lists of nodes. In every sample the two views are disjoint, do not hold the node itself, hold nobody twice, and keep
//! their bounds ([`crate::DataOptions`]). In the last samples, once it is quiet, active views are symmetric and connect all
//! sampled nodes. Records `crash` of a named process take nodes (`:value`) out of the last samples; who is in a view
//! without a sample of its own is counted and not judged. Measured over the last active views: in-degree, clustering
//! coefficient (neighbours that are neighbours), mean path length (from 64 nodes at most). Unknown: fewer than two nodes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::explain::counted;
use crate::record::{Datum, Process, Record, Recording};
use crate::{Case, CheckOptions, DataOptions, EventType, Judgement, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "views";

/// Nodes that paths are measured from.
const PATH_SOURCES_MAX: usize = 64;

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    let verdict = Verdict::new(NAME);
    match &case.recording {
        Some(recording) => judge(recording, &options.data, verdict),
        None => verdict.because(Judgement::Unknown, "There is no recording whose values are data."),
    }
}

/// The views of one node at one time.
struct Sample<'r> {
    record: &'r Record,
    active: Vec<String>,
    passive: Vec<String>,
}

fn name(datum: &Datum) -> String {
    datum.as_name().map_or_else(|| datum.to_string(), str::to_owned)
}

fn node_of(record: &Record) -> String {
    match (&record.node, &record.process) {
        (Some(node), _) => node.to_string(),
        (None, Process::Named(name)) => name.to_string(),
        (None, Process::Client(number)) => number.to_string(),
        (None, Process::Unnamed) => "unnamed".to_owned(),
    }
}

fn judge(recording: &Recording, options: &DataOptions, mut verdict: Verdict) -> Verdict {
    let mut last: BTreeMap<String, Sample<'_>> = BTreeMap::new();
    let mut samples = 0_u64;
    let mut broken = Broken { verdict: &mut verdict, told: None };
    for record in &recording.records {
        match (record.f.as_ref(), record.kind) {
            ("crash" | "kill", _) => {
                let nodes = record.value.items().unwrap_or(std::slice::from_ref(&record.value));
                nodes.iter().for_each(|node| drop(last.remove(&name(node))));
            }
            ("view", EventType::Ok | EventType::Info) => {
                let list = |part: &str| record.value.get(part).and_then(Datum::items).unwrap_or_default();
                let view = |part| list(part).iter().map(name).collect();
                let sample = Sample { record, active: view("active"), passive: view("passive") };
                samples += 1;
                let node = node_of(record);
                broken.sample(&node, &sample, options);
                last.insert(node, sample);
            }
            _ => {}
        }
    }
    let nodes: Vec<&String> = last.keys().collect();
    let index: BTreeMap<&str, usize> = nodes.iter().enumerate().map(|(at, node)| (node.as_str(), at)).collect();
    let mut in_degree = vec![0_u64; nodes.len()];
    let mut neighbours: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); nodes.len()];
    let mut unsampled: BTreeSet<&str> = BTreeSet::new();
    for (at, (node, sample)) in last.iter().enumerate() {
        for peer in &sample.active {
            let Some(&other) = index.get(peer.as_str()) else {
                unsampled.insert(peer);
                continue;
            };
            in_degree[other] += 1;
            neighbours[at].insert(other);
            neighbours[other].insert(at);
            let theirs = &last[peer];
            if !theirs.active.contains(node) && at != other {
                let (here, there) = (sample.record.op_index(), theirs.record.op_index());
                let told = format!(
                    "Node {node} has {peer} in its active view ({here}), but {peer} does not have {node} ({there})."
                );
                broken.found("asymmetric", &[sample.record, theirs.record], told);
            }
        }
    }
    let components = components(&neighbours);
    if components.len() > 1 {
        let smallest = components.iter().min_by_key(|component| component.len()).expect("there are components");
        let named: Vec<Datum> = smallest.iter().map(|at| Datum::Symbol(nodes[*at].as_str().into())).collect();
        let told = format!(
            "The active views fall into {} parts: {} can't be reached from the rest.",
            components.len(),
            crate::data::some(&named)
        );
        broken.found("disconnected", &[], told);
    }
    let told = broken.told;
    verdict.count("samples", samples);
    verdict.count("nodes", nodes.len() as u64);
    verdict.count("components", components.len() as u64);
    verdict.count("neighbours_without_a_sample", unsampled.len() as u64);
    if !nodes.is_empty() {
        let mean = in_degree.iter().sum::<u64>() as f64 / nodes.len() as f64;
        verdict.count("in_degree_min", in_degree.iter().copied().min().unwrap_or_default());
        verdict.measure("in_degree_mean", mean);
        verdict.count("in_degree_max", in_degree.iter().copied().max().unwrap_or_default());
        verdict.measure("clustering", clustering(&neighbours));
    }
    if let Some((mean, longest)) = path_length(&neighbours) {
        verdict.measure("path_length_mean", mean);
        verdict.count("path_length_max", longest);
    }
    verdict.violations = verdict.kinds.iter().map(|kind| kind.count).sum();
    if let Some(told) = told {
        return verdict.because(Judgement::Violated, told);
    }
    if nodes.len() < 2 {
        return verdict.because(Judgement::Unknown, "Fewer than two nodes have a sample of their views.");
    }
    let samples = counted(samples, "sample");
    let nodes = counted(nodes.len() as u64, "node");
    verdict.because(
        Judgement::Holds,
        format!(
            "{samples} of {nodes}: views disjoint and within bounds, the last active ones symmetric and connected."
        ),
    )
}

/// What is broken, while it is being found.
struct Broken<'v> {
    verdict: &'v mut Verdict,
    /// The sentence about the first.
    told: Option<String>,
}

impl Broken<'_> {
    fn found(&mut self, kind: &str, records: &[&Record], told: String) {
        self.verdict.found(kind, 1);
        if self.told.is_none() {
            records.iter().for_each(|record| self.verdict.involve(record.op_index()));
            self.told = Some(told);
        }
    }

    fn sample(&mut self, node: &str, sample: &Sample<'_>, options: &DataOptions) {
        let index = sample.record.op_index();
        let sets = [
            ("active", &sample.active, options.view_active_max),
            ("passive", &sample.passive, options.view_passive_max),
        ];
        for (part, view, most) in sets {
            if view.iter().any(|peer| peer == node) {
                self.found("self", &[sample.record], format!("Node {node} has itself in its {part} view ({index})."));
            }
            let mut once = BTreeSet::new();
            if let Some(twice) = view.iter().find(|peer| !once.insert(peer.as_str())) {
                self.found(
                    "twice",
                    &[sample.record],
                    format!("Node {node} has {twice} twice in its {part} view ({index})."),
                );
            }
            if view.len() as u64 > most {
                let told = format!(
                    "Node {node} has {} in its {part} view ({index}); the bound is {most}.",
                    counted(view.len() as u64, "peer")
                );
                self.found("too-large", &[sample.record], told);
            }
        }
        if let Some(both) = sample.active.iter().find(|peer| sample.passive.contains(peer)) {
            let told = format!("Node {node} has {both} in both its active and its passive view ({index}).");
            self.found("overlap", &[sample.record], told);
        }
    }
}

fn components(neighbours: &[BTreeSet<usize>]) -> Vec<Vec<usize>> {
    let mut seen = vec![false; neighbours.len()];
    let mut components = Vec::new();
    for start in 0..neighbours.len() {
        if std::mem::replace(&mut seen[start], true) {
            continue;
        }
        let mut component = vec![start];
        let mut next = 0;
        while let Some(at) = component.get(next).copied() {
            next += 1;
            for peer in &neighbours[at] {
                if !std::mem::replace(&mut seen[*peer], true) {
                    component.push(*peer);
                }
            }
        }
        components.push(component);
    }
    components
}

/// Mean over the nodes of the share of pairs of neighbours that are neighbours.
fn clustering(neighbours: &[BTreeSet<usize>]) -> f64 {
    let of_node = |peers: &BTreeSet<usize>| {
        let peers: Vec<usize> = peers.iter().copied().collect();
        let pairs = peers.len() * peers.len().saturating_sub(1) / 2;
        let linked = peers
            .iter()
            .enumerate()
            .map(|(at, a)| peers[at + 1..].iter().filter(|b| neighbours[*a].contains(b)).count());
        if pairs == 0 { 0.0 } else { linked.sum::<usize>() as f64 / pairs as f64 }
    };
    neighbours.iter().map(of_node).sum::<f64>() / neighbours.len() as f64
}

/// Mean and longest shortest path between nodes that reach each other.
fn path_length(neighbours: &[BTreeSet<usize>]) -> Option<(f64, u64)> {
    let step = neighbours.len().div_ceil(PATH_SOURCES_MAX).max(1);
    let (mut sum, mut pairs, mut longest) = (0_u64, 0_u64, 0_u64);
    for source in (0..neighbours.len()).step_by(step) {
        let mut distance = vec![u64::MAX; neighbours.len()];
        distance[source] = 0;
        let mut queue = VecDeque::from([source]);
        while let Some(at) = queue.pop_front() {
            for peer in &neighbours[at] {
                if distance[*peer] == u64::MAX {
                    distance[*peer] = distance[at] + 1;
                    (sum, pairs, longest) = (sum + distance[*peer], pairs + 1, longest.max(distance[*peer]));
                    queue.push_back(*peer);
                }
            }
        }
    }
    (pairs > 0).then(|| (sum as f64 / pairs as f64, longest))
}
