//! When which fault begins and is healed, and what that leaves broken. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use hearsay_core::NodeId;

use crate::plan::{Endpoint, Fault, PlannedFault};

use super::proof::{InForce, Requirements, list};
use super::ring::phases_after;

/// What to do to a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// Undo it. Before what begins at the same time, so that there is never more in force than planned.
    Heal,
    /// Make it.
    Inject,
}

/// All turns by time: (milliseconds from the start, turn, index of the fault).
pub fn timeline(faults: &[PlannedFault]) -> Vec<(u64, Turn, usize)> {
    let mut turns = Vec::with_capacity(2 * faults.len());
    for (index, fault) in faults.iter().enumerate() {
        assert!(fault.duration_ms > 0, "{} lasts no time at all: plans are checked for that", fault.id);
        turns.push((fault.at_ms, Turn::Inject, index));
        turns.push((fault.at_ms.saturating_add(fault.duration_ms), Turn::Heal, index));
    }
    turns.sort_unstable();
    turns
}

/// What all these faults together break.
pub fn broken_by<'a>(faults: impl IntoIterator<Item = &'a Fault>) -> InForce {
    let mut in_force = InForce::default();
    for fault in faults {
        match fault {
            Fault::Partition { blocked, .. } => in_force.blocked.extend(blocked),
            Fault::Crash { nodes } | Fault::Pause { nodes } | Fault::Leave { nodes, .. } => {
                in_force.absent.extend(nodes)
            }
            Fault::Clock { clocks } => in_force.skewed.extend(clocks.iter().map(|clock| clock.node)),
            Fault::PowerCut { nodes, .. } | Fault::FailingDisk { nodes } => in_force.absent.extend(nodes),
            Fault::SlowDisk { .. } => {}
            Fault::Wipe { node } => {
                in_force.absent.insert(*node);
            }
            // Packets still get through.
            Fault::Links { .. } => {}
            // Who is no member is told apart: see `super::ring`.
            Fault::Join { .. } | Fault::Retire { .. } | Fault::Replace { .. } => {}
        }
    }
    in_force
}

/// What the cluster must show once this fault is healed. `former` are the incarnations from before it.
pub fn proof_of_healing(fault: &Fault, former: BTreeMap<NodeId, u64>) -> Requirements {
    let mut required = Requirements { restarted_from: former, ..Requirements::default() };
    match fault {
        Fault::Partition { blocked: pairs, .. } | Fault::Links { impaired: pairs, .. } => {
            for &(from, to) in pairs {
                for (end, other) in [(from, to), (to, from)] {
                    match (end, other) {
                        (Endpoint::Node(node), Endpoint::Node(_)) => drop(required.linked.insert(node)),
                        (Endpoint::Node(node), Endpoint::Clients) => drop(required.reached.insert(node)),
                        (Endpoint::Clients, _) => {}
                    }
                }
            }
        }
        Fault::Crash { nodes } | Fault::Pause { nodes } => required.linked.extend(nodes),
        // They have caught up when they have seen what they missed: a store that lost its head would never be ready.
        Fault::PowerCut { nodes, .. } | Fault::FailingDisk { nodes } => {
            required.linked.extend(nodes);
            required.ready.extend(nodes);
        }
        Fault::SlowDisk { nodes, .. } => required.reached.extend(nodes),
        Fault::Clock { clocks } => required.clocks.extend(clocks.iter().map(|clock| clock.node)),
        Fault::Leave { nodes, .. } => {
            required.linked.extend(nodes);
            required.ready.extend(fault.empties());
        }
        Fault::Wipe { node } => {
            required.linked.insert(*node);
            required.ready.insert(*node);
        }
        Fault::Join { node } => {
            required.linked.insert(*node);
            required.ready.insert(*node);
        }
        Fault::Retire { .. } => {}
        Fault::Replace { by, .. } => {
            required.linked.insert(*by);
            required.ready.insert(*by);
        }
    }
    required.phases = phases_after(fault);
    required
}

/// More nodes than these are counted, not named; so are more groups.
const NODES_NAMED_MAX: usize = 6;
const GROUPS_NAMED_MAX: usize = 3;

/// Whom a fault hits, such as `n1 n2 | n3 n4 n5` or `n1 n3`.
pub fn targets(fault: &Fault) -> String {
    match fault {
        Fault::Crash { .. }
        | Fault::Pause { .. }
        | Fault::Wipe { .. }
        | Fault::PowerCut { .. }
        | Fault::SlowDisk { .. }
        | Fault::FailingDisk { .. }
        | Fault::Clock { .. }
        | Fault::Leave { .. } => match fault.processes() {
            nodes if nodes.len() > NODES_NAMED_MAX => format!("{} nodes", nodes.len()),
            nodes => list(nodes.iter()),
        },
        Fault::Join { node } | Fault::Retire { node } => node.to_string(),
        Fault::Replace { node, by } => format!("{node} by {by}"),
        Fault::Partition { blocked: pairs, .. } | Fault::Links { impaired: pairs, .. } => {
            // Sources that are cut from the same destinations stand together: `n1 n2 > n3 n4`.
            let mut destinations: BTreeMap<Endpoint, Vec<Endpoint>> = BTreeMap::new();
            for &(from, to) in pairs {
                destinations.entry(from).or_default().push(to);
            }
            let mut groups: BTreeMap<Vec<Endpoint>, Vec<Endpoint>> = BTreeMap::new();
            for (from, mut to) in destinations {
                to.sort();
                to.dedup();
                groups.entry(to).or_default().push(from);
            }
            let mut text = String::new();
            if groups.len() > GROUPS_NAMED_MAX {
                return format!("{} directed pairs", pairs.len());
            }
            let names = |ends: &[Endpoint]| match ends.len() {
                ..=NODES_NAMED_MAX => ends.iter().map(Endpoint::to_string).collect::<Vec<_>>().join(" "),
                many => format!("{many} nodes"),
            };
            let both_ways = |from: &Vec<Endpoint>, to: &Vec<Endpoint>| groups.get(from) == Some(to);
            for (to, from) in &groups {
                let arrow = match both_ways(from, to) {
                    true if from > to => continue,
                    true => "|",
                    false => ">",
                };
                let comma = if text.is_empty() { "" } else { ", " };
                let written = write!(text, "{comma}{} {arrow} {}", names(from), names(to));
                written.expect("a String takes all that is written");
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PartitionShape;

    fn n(number: u16) -> Endpoint {
        Endpoint::Node(NodeId(number))
    }
    fn crash(at_ms: u64, duration_ms: u64) -> PlannedFault {
        PlannedFault { id: "f".to_owned(), at_ms, duration_ms, fault: Fault::Crash { nodes: vec![NodeId(1)] } }
    }
    fn partition(blocked: Vec<(Endpoint, Endpoint)>) -> Fault {
        Fault::Partition { shape: PartitionShape::Halves, blocked }
    }

    #[test]
    fn healing_comes_before_what_begins_at_the_same_time() {
        use Turn::{Heal, Inject};
        let turns = timeline(&[crash(10, 5), crash(15, 5)]);
        assert_eq!(turns, [(10, Inject, 0), (15, Heal, 0), (15, Inject, 1), (20, Heal, 1)]);
    }

    #[test]
    fn targets_are_named_by_group() {
        let both = |a: &[u16], b: &[u16]| {
            let pairs = a.iter().flat_map(|&a| b.iter().flat_map(move |&b| [(n(a), n(b)), (n(b), n(a))]));
            partition(pairs.collect())
        };
        assert_eq!(targets(&both(&[1, 2], &[3, 4, 5])), "n1 n2 | n3 n4 n5");
        assert_eq!(targets(&both(&[4], &[1, 2, 3])), "n1 n2 n3 | n4");
        assert_eq!(targets(&partition(vec![(n(1), n(3)), (n(2), n(3))])), "n1 n2 > n3");
        assert_eq!(targets(&partition(vec![(Endpoint::Clients, n(2)), (n(2), Endpoint::Clients)])), "n2 | clients");
        assert_eq!(targets(&Fault::Pause { nodes: vec![NodeId(2), NodeId(5)] }), "n2 n5");
        assert_eq!(targets(&Fault::Crash { nodes: (1..=7).map(NodeId).collect() }), "7 nodes");
        assert_eq!(targets(&both(&[8], &[1, 2, 3, 4, 5, 6, 7])), "7 nodes | n8");
        let ring = (1..=5).map(|node| (n(node), n(node % 5 + 1)));
        assert_eq!(targets(&partition(ring.collect())), "5 directed pairs");
    }

    #[test]
    fn what_is_broken_is_the_union() {
        let wipe = Fault::Wipe { node: NodeId(3) };
        let cut = partition(vec![(n(1), n(2))]);
        let in_force = broken_by([&wipe, &cut, &Fault::Crash { nodes: vec![NodeId(4)] }]);
        assert_eq!(in_force.absent, [NodeId(3), NodeId(4)].into());
        assert_eq!(in_force.blocked, [(n(1), n(2))].into());
    }

    #[test]
    fn a_partition_is_healed_when_each_side_has_the_other_again() {
        let pairs = vec![(n(1), n(2)), (Endpoint::Clients, n(3)), (n(4), Endpoint::Clients)];
        let required = proof_of_healing(&partition(pairs), BTreeMap::new());
        assert_eq!(required.linked, [NodeId(1), NodeId(2)].into());
        assert_eq!(required.reached, [NodeId(3), NodeId(4)].into());
    }

    #[test]
    fn a_node_that_left_is_absent_and_one_that_joins_empty_has_to_catch_up() {
        use crate::plan::{ClockSkew, Disk};
        let leave = |join| Fault::Leave { nodes: vec![NodeId(3)], join };
        assert_eq!(broken_by([&leave(Disk::Kept)]).absent, [NodeId(3)].into());
        assert_eq!(proof_of_healing(&leave(Disk::Kept), BTreeMap::new()).ready, [].into());
        let required = proof_of_healing(&leave(Disk::Empty), BTreeMap::new());
        assert_eq!((required.ready, required.linked), ([NodeId(3)].into(), [NodeId(3)].into()));
        let clock = Fault::Clock { clocks: vec![ClockSkew { node: NodeId(2), offset_ns: 1, drift_ppb: 0 }] };
        assert_eq!(broken_by([&clock]), InForce { skewed: [NodeId(2)].into(), ..InForce::default() });
        assert_eq!(proof_of_healing(&clock, BTreeMap::new()).clocks, [NodeId(2)].into());
        assert_eq!(targets(&clock), "n2");
    }

    #[test]
    fn a_wipe_is_healed_when_the_node_is_ready_again() {
        let required = proof_of_healing(&Fault::Wipe { node: NodeId(3) }, [(NodeId(3), 7)].into());
        assert_eq!((required.ready, required.linked), ([NodeId(3)].into(), [NodeId(3)].into()));
        assert_eq!(required.restarted_from, [(NodeId(3), 7)].into());
    }
}
