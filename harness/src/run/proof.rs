//! Proof that a cluster is whole again, from what its nodes say about themselves.
//!
//! Pure: what should be so and what the nodes say goes in, what is still missing comes out, as sentences. Whoever waits
//! for the proof asks again until nothing is missing or a deadline has passed, and then can say what was missing.

use std::collections::{BTreeMap, BTreeSet};

use hearsay_core::ring::Ring;
use hearsay_core::ring::topology::Phase;
use hearsay_core::{ClusterConfig, NodeId, StatusReport};

use super::ring::all_nodes;
use crate::plan::{Endpoint, Plan, topology_at_end};

/// Things that are missing are listed up to this many.
const MISSING_SHOWN_MAX: usize = 3;

/// In clusters of so many nodes everybody watches everybody.
const FULL_MESH_MAX: usize = 50;

/// What a node said, or why it said nothing.
pub type Statuses = BTreeMap<NodeId, Result<StatusReport, String>>;

/// Who should see whom when nothing is broken: nodes that share a range of keys.
#[derive(Clone, Debug)]
pub struct Neighbourhood {
    pairs: Vec<(NodeId, NodeId)>,
}

impl Neighbourhood {
    /// Of a plan: where the ring changes, everybody should see everybody who is there.
    pub fn of_plan(plan: &Plan) -> Neighbourhood {
        if plan.spares == 0 && !plan.faults.iter().any(|planned| planned.fault.changes_ring()) {
            return Neighbourhood::of(&plan.cluster);
        }
        let nodes = all_nodes(plan);
        if nodes.len() > FULL_MESH_MAX {
            // There a node watches only those that it shares ranges with.
            return Neighbourhood::on(topology_at_end(plan).natural());
        }
        let pairs = nodes.iter().flat_map(|&a| nodes.range(a..).skip(1).map(move |&b| (a, b)));
        Neighbourhood { pairs: pairs.collect() }
    }

    /// Of a cluster.
    pub fn of(cluster: &ClusterConfig) -> Neighbourhood {
        Neighbourhood::on(&Ring::new(&cluster.members, cluster.vnodes, cluster.replication))
    }

    /// Of a ring.
    pub fn on(ring: &Ring) -> Neighbourhood {
        let mut pairs = Vec::new();
        for node in ring.members() {
            let neighbours = ring.neighbours(node).into_iter().filter(|&neighbour| node < neighbour);
            pairs.extend(neighbours.map(|neighbour| (node, neighbour)));
        }
        Neighbourhood { pairs }
    }
}

/// What faults in force keep from being whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// Directed pairs whose packets are dropped.
    pub blocked: BTreeSet<(Endpoint, Endpoint)>,
    /// Nodes that are stopped or frozen.
    pub absent: BTreeSet<NodeId>,
    /// Nodes whose wall clocks are off.
    pub skewed: BTreeSet<NodeId>,
}

/// What must be so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// These nodes run under another incarnation than this one.
    pub restarted_from: BTreeMap<NodeId, u64>,
    /// These nodes answer replica reads.
    pub ready: BTreeSet<NodeId>,
    /// Links of these nodes are looked at; all others are not asked about theirs.
    pub linked: BTreeSet<NodeId>,
    /// Clients reach these nodes.
    pub reached: BTreeSet<NodeId>,
    /// The wall clocks of these nodes are right.
    pub clocks: BTreeSet<NodeId>,
    /// Every node knows these members in these phases.
    pub phases: BTreeMap<NodeId, Phase>,
    /// No change of the ring is under way as any node knows, and all know the same.
    pub settled: bool,
}

impl InForce {
    /// Whether packets between the two are dropped, one way or both.
    pub fn cuts(&self, a: Endpoint, b: Endpoint) -> bool {
        self.blocked.contains(&(a, b)) || self.blocked.contains(&(b, a))
    }
}

impl Requirements {
    /// Nodes to ask for their wall clocks, as far as other faults leave them alone.
    pub fn clocks_to_read(&self, in_force: &InForce) -> Vec<NodeId> {
        let touched = |node: &&NodeId| in_force.absent.contains(node) || in_force.skewed.contains(node);
        self.clocks.iter().filter(|node| !touched(node)).copied().collect()
    }

    /// Nodes to ask along the clients' path, as far as other faults leave it open.
    pub fn to_reach(&self, in_force: &InForce) -> Vec<NodeId> {
        let open =
            |node: &NodeId| !in_force.absent.contains(node) && !in_force.cuts(Endpoint::Clients, Endpoint::Node(*node));
        self.reached.iter().copied().filter(open).collect()
    }
}

/// Nodes that gave no answer along the clients' path.
pub fn unreached(answers: &Statuses) -> Vec<String> {
    let silent = answers.iter().filter_map(|(node, answer)| Some((node, answer.as_ref().err()?)));
    silent.map(|(node, reason)| format!("clients do not reach {node} ({reason})")).collect()
}

/// What is still missing; empty when it is proven. Nodes that other faults keep away, and links that they cut, are not
/// asked for.
pub fn missing(
    required: &Requirements,
    in_force: &InForce,
    neighbourhood: &Neighbourhood,
    statuses: &Statuses,
) -> Vec<String> {
    let mut missing = Vec::new();
    let present = |node: &NodeId| !in_force.absent.contains(node);
    let mut silent = BTreeSet::new();
    let asked = required.restarted_from.keys().chain(&required.ready).chain(&required.linked);
    for &node in asked.collect::<BTreeSet<_>>().into_iter().filter(|node| present(node)) {
        if let Err(reason) = said(statuses, node) {
            silent.insert(node);
            missing.push(format!("{node} gives no status ({reason})"));
        }
    }
    for (&node, &former) in &required.restarted_from {
        if present(&node) && said(statuses, node).is_ok_and(|status| status.incarnation == former) {
            missing.push(format!("{node} has not restarted: it still has incarnation {former:x}"));
        }
    }
    for &node in required.ready.iter().filter(|node| present(node)) {
        if let Ok(status) = said(statuses, node)
            && !status.ready
        {
            let from = list(status.catching_up_from.iter());
            missing.push(format!("{node} is not ready: it still has to catch up from {from}"));
        }
    }
    for &(a, b) in &neighbourhood.pairs {
        let asked_for = required.linked.contains(&a) || required.linked.contains(&b);
        let cut = in_force.cuts(Endpoint::Node(a), Endpoint::Node(b));
        if !asked_for || cut || !present(&a) || !present(&b) {
            continue;
        }
        for (node, peer) in [(a, b), (b, a)] {
            if silent.contains(&node) {
                continue;
            }
            let Ok(status) = said(statuses, node) else { continue };
            match status.peers.iter().find(|known| known.peer == peer) {
                Some(known) if known.linked && known.alive => {}
                Some(known) if known.linked => missing.push(format!("{node} holds {peer} for dead")),
                Some(_) | None => missing.push(format!("{node} has no link to {peer}")),
            }
        }
    }
    missing
}

/// The first few of what is missing, in one sentence.
pub fn summary(missing: &[String]) -> String {
    let mut text = missing.iter().take(MISSING_SHOWN_MAX).cloned().collect::<Vec<_>>().join("; ");
    if missing.len() > MISSING_SHOWN_MAX {
        text.push_str(&format!("; and {} more", missing.len() - MISSING_SHOWN_MAX));
    }
    text
}

/// Node names with spaces between them.
pub fn list<'a>(nodes: impl Iterator<Item = &'a NodeId>) -> String {
    nodes.map(NodeId::to_string).collect::<Vec<_>>().join(" ")
}

fn said(statuses: &Statuses, node: NodeId) -> Result<&StatusReport, &str> {
    match statuses.get(&node) {
        Some(Ok(status)) => Ok(status),
        Some(Err(reason)) => Err(reason),
        None => Err("it was not asked"),
    }
}

#[cfg(test)]
mod tests {
    use hearsay_core::PeerStatus;

    use super::*;

    fn n(number: u16) -> NodeId {
        NodeId(number)
    }
    fn neighbourhood() -> Neighbourhood {
        Neighbourhood::of(&ClusterConfig { members: vec![n(1), n(2), n(3)], ..ClusterConfig::default() })
    }
    fn status(node: u16) -> StatusReport {
        let peers = (1..=3).filter(|&peer| peer != node);
        StatusReport {
            node: n(node),
            incarnation: u64::from(node) * 16,
            wall: hearsay_core::WallTime(0),
            ready: true,
            catching_up_from: Vec::new(),
            peers: peers.map(|peer| PeerStatus { peer: n(peer), linked: true, alive: true }).collect(),
            keys: 0,
            state_digest: [0; 32],
            merkle_roots: Vec::new(),
            counters: BTreeMap::new(),
            overlay: None,
        }
    }
    fn healthy() -> Statuses {
        (1..=3).map(|node| (n(node), Ok(status(node)))).collect()
    }
    fn change(statuses: &mut Statuses, node: u16, change: impl FnOnce(&mut StatusReport)) {
        change(statuses.get_mut(&n(node)).unwrap().as_mut().unwrap());
    }
    fn everything() -> Requirements {
        let all: BTreeSet<_> = (1..=3).map(n).collect();
        Requirements { ready: all.clone(), linked: all.clone(), reached: all, ..Requirements::default() }
    }
    fn check(required: &Requirements, in_force: &InForce, statuses: &Statuses, expected: &[&str]) {
        assert_eq!(missing(required, in_force, &neighbourhood(), statuses), expected);
    }

    #[test]
    fn a_whole_cluster_misses_nothing() {
        check(&everything(), &InForce::default(), &healthy(), &[]);
    }

    #[test]
    fn each_defect_is_named_once() {
        let none = InForce::default();
        let mut statuses = healthy();
        statuses.insert(n(2), Err("timed out".to_owned()));
        check(&everything(), &none, &statuses, &["n2 gives no status (timed out)"]);

        let mut statuses = healthy();
        change(&mut statuses, 1, |status| status.peers[0].alive = false);
        change(&mut statuses, 3, |status| status.peers[1] = PeerStatus { peer: n(2), linked: false, alive: false });
        check(&everything(), &none, &statuses, &["n1 holds n2 for dead", "n3 has no link to n2"]);

        let mut statuses = healthy();
        change(&mut statuses, 3, |status| {
            status.ready = false;
            status.catching_up_from = vec![n(1), n(2)];
        });
        check(&everything(), &none, &statuses, &["n3 is not ready: it still has to catch up from n1 n2"]);

        let required = Requirements { restarted_from: [(n(2), 32), (n(3), 9)].into(), ..Requirements::default() };
        check(&required, &none, &healthy(), &["n2 has not restarted: it still has incarnation 20"]);
    }

    #[test]
    fn what_other_faults_break_is_not_asked_for() {
        let mut statuses = healthy();
        statuses.insert(n(3), Err("connection lost".to_owned()));
        for node in [1, 2] {
            change(&mut statuses, node, |status| {
                status.peers = vec![PeerStatus { peer: n(3 - node), linked: false, alive: false }];
            });
        }
        // One direction cut is enough to bring a link down.
        let in_force = InForce {
            blocked: [(Endpoint::Node(n(2)), Endpoint::Node(n(1)))].into(),
            absent: [n(3)].into(),
            ..InForce::default()
        };
        check(&everything(), &in_force, &statuses, &[]);
        check(
            &everything(),
            &InForce { absent: [n(3)].into(), ..InForce::default() },
            &statuses,
            &["n1 has no link to n2", "n2 has no link to n1"],
        );
    }

    #[test]
    fn clients_are_asked_to_reach_what_is_open_to_them() {
        let in_force = InForce {
            blocked: [(Endpoint::Node(n(1)), Endpoint::Clients)].into(),
            absent: [n(2)].into(),
            ..InForce::default()
        };
        assert_eq!(everything().to_reach(&in_force), [n(3)]);
        assert_eq!(everything().to_reach(&InForce::default()), [n(1), n(2), n(3)]);
        let mut answers = healthy();
        answers.insert(n(3), Err("timed out".to_owned()));
        assert_eq!(unreached(&answers), ["clients do not reach n3 (timed out)"]);
    }

    #[test]
    fn clocks_that_another_fault_has_are_not_read() {
        let required = Requirements { clocks: [n(1), n(2), n(3)].into(), ..Requirements::default() };
        let in_force = InForce { absent: [n(1)].into(), skewed: [n(2)].into(), ..InForce::default() };
        assert_eq!(required.clocks_to_read(&in_force), [n(3)]);
    }

    #[test]
    fn only_the_links_asked_for_are_looked_at() {
        let mut statuses = healthy();
        change(&mut statuses, 1, |status| status.peers[0].linked = false);
        let required = Requirements { linked: [n(3)].into(), ..Requirements::default() };
        check(&required, &InForce::default(), &statuses, &[]);
    }
}
