//! Partition shapes as sets of directed pairs.
//!
//! The shapes are Jepsen's where it has one (`jepsen.nemesis`: bisect, split-one, majorities-ring, bridge). A pair
//! (source, destination) means: packets from the source do not reach the destination. Clients are only touched by the
//! shape `clients`; the harness's own connections by none.

use std::collections::BTreeSet;

use hearsay_core::NodeId;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use super::{Endpoint, PartitionShape};

/// Draws the pairs blocked by a partition of this shape among n1 to n(`nodes`), in order.
///
/// # Panics
///
/// With fewer nodes than [`PartitionShape::nodes_min`].
pub(super) fn draw_blocked(shape: PartitionShape, nodes: u16, random: &mut impl Rng) -> Vec<(Endpoint, Endpoint)> {
    assert!(nodes >= shape.nodes_min(), "no partition {shape} exists among {nodes} nodes");
    let mut all: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
    if shape != PartitionShape::Halves {
        all.shuffle(random);
    }
    let half = usize::from(nodes / 2);
    let mut blocked = BTreeSet::new();
    match shape {
        PartitionShape::Halves | PartitionShape::RandomHalves => {
            cut_both_ways(&all[..half], &all[half..], &mut blocked)
        }
        PartitionShape::IsolateOne => cut_both_ways(&all[..1], &all[1..], &mut blocked),
        PartitionShape::Bridge => {
            // The first sees both sides of the rest.
            let (one_side, other_side) = all[1..].split_at((all.len() - 1) / 2);
            cut_both_ways(one_side, other_side, &mut blocked);
        }
        PartitionShape::OneWay => {
            let group = usize::from(random.random_range(1..nodes));
            cut_one_way(&all[..group], &all[group..], &mut blocked);
        }
        PartitionShape::MajoritiesRing => cut_ring(&all, &mut blocked),
        PartitionShape::Clients => {
            let group = usize::from(random.random_range(1..nodes));
            for node in &all[..group] {
                blocked.insert((Endpoint::Clients, Endpoint::Node(*node)));
                blocked.insert((Endpoint::Node(*node), Endpoint::Clients));
            }
        }
    }
    assert!(!blocked.is_empty(), "the partition {shape} of {nodes} nodes blocks nothing");
    blocked.into_iter().collect()
}

fn cut_one_way(from: &[NodeId], to: &[NodeId], blocked: &mut BTreeSet<(Endpoint, Endpoint)>) {
    for source in from {
        for destination in to {
            blocked.insert((Endpoint::Node(*source), Endpoint::Node(*destination)));
        }
    }
}

fn cut_both_ways(one: &[NodeId], other: &[NodeId], blocked: &mut BTreeSet<(Endpoint, Endpoint)>) {
    cut_one_way(one, other, blocked);
    cut_one_way(other, one, blocked);
}

/// Nodes on a ring; each sees its neighbours up to a distance, so that it sees just a majority, itself included.
///
/// A majority of even size needs the node on the other side as well; on a ring of odd length there is none, so there
/// every node sees one more than a majority. Three nodes are a path instead: its middle sees all.
fn cut_ring(ring: &[NodeId], blocked: &mut BTreeSet<(Endpoint, Endpoint)>) {
    let length = ring.len();
    if length == 3 {
        return cut_both_ways(&ring[..1], &ring[2..], blocked);
    }
    let majority = length / 2 + 1;
    let antipode = majority.is_multiple_of(2) && length.is_multiple_of(2);
    let reach = if antipode { (majority - 2) / 2 } else { majority / 2 };
    for (i, one) in ring.iter().enumerate() {
        for (j, other) in ring.iter().enumerate() {
            let around = i.abs_diff(j);
            let distance = around.min(length - around);
            let sees = distance <= reach || (antipode && 2 * distance == length);
            if !sees {
                blocked.insert((Endpoint::Node(*one), Endpoint::Node(*other)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// For every node, the nodes (itself included) that its packets reach.
    fn reaches(nodes: u16, blocked: &[(Endpoint, Endpoint)]) -> BTreeMap<NodeId, BTreeSet<NodeId>> {
        let blocked: BTreeSet<_> = blocked.iter().copied().collect();
        let all = || (1..=nodes).map(NodeId);
        let seen_by = |from: NodeId| {
            all().filter(|to| !blocked.contains(&(Endpoint::Node(from), Endpoint::Node(*to)))).collect::<BTreeSet<_>>()
        };
        all().map(|from| (from, seen_by(from))).collect()
    }

    fn draw(shape: PartitionShape, nodes: u16, seed: u64) -> Vec<(Endpoint, Endpoint)> {
        draw_blocked(shape, nodes, &mut hearsay_workloads::stream(seed, "test", 0))
    }

    fn is_symmetric(blocked: &[(Endpoint, Endpoint)]) -> bool {
        blocked.iter().all(|(from, to)| blocked.contains(&(*to, *from)))
    }

    /// The groups of nodes that see each other, when everyone in a group sees just that group.
    fn components(nodes: u16, blocked: &[(Endpoint, Endpoint)]) -> BTreeSet<BTreeSet<NodeId>> {
        reaches(nodes, blocked).into_values().collect()
    }

    fn sizes(components: &BTreeSet<BTreeSet<NodeId>>) -> Vec<usize> {
        let mut sizes: Vec<usize> = components.iter().map(BTreeSet::len).collect();
        sizes.sort_unstable();
        sizes
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_shape_blocks_pairs_of_distinct_known_ends_once(nodes in 2u16..=50, seed: u64) {
            for shape in PartitionShape::ALL.into_iter().filter(|shape| nodes >= shape.nodes_min()) {
                let blocked = draw(shape, nodes, seed);
                prop_assert!(blocked.is_sorted_by(|one, next| one < next), "{shape}: {blocked:?}");
                for (from, to) in &blocked {
                    prop_assert_ne!(from, to);
                    for end in [from, to] {
                        match end {
                            Endpoint::Node(node) => prop_assert!((1..=nodes).contains(&node.0)),
                            Endpoint::Clients => prop_assert_eq!(shape, PartitionShape::Clients),
                        }
                    }
                }
                prop_assert_eq!(&blocked, &draw(shape, nodes, seed));
            }
        }

        #[test]
        fn halves_are_two_groups_that_see_only_themselves(nodes in 2u16..=50, seed: u64) {
            for shape in [PartitionShape::Halves, PartitionShape::RandomHalves] {
                let groups = components(nodes, &draw(shape, nodes, seed));
                prop_assert_eq!(sizes(&groups), vec![usize::from(nodes / 2), usize::from(nodes.div_ceil(2))]
                    .into_iter().take(groups.len()).collect::<Vec<_>>());
                prop_assert_eq!(groups.len(), 2);
            }
            let first: BTreeSet<NodeId> = (1..=nodes / 2).map(NodeId).collect();
            prop_assert!(components(nodes, &draw(PartitionShape::Halves, nodes, seed)).contains(&first));
        }

        #[test]
        fn isolate_one_leaves_one_alone(nodes in 2u16..=50, seed: u64) {
            let blocked = draw(PartitionShape::IsolateOne, nodes, seed);
            let groups = components(nodes, &blocked);
            prop_assert!(is_symmetric(&blocked));
            prop_assert_eq!(groups.len(), 2);
            prop_assert!(groups.iter().any(|group| group.len() == 1));
        }

        #[test]
        fn on_the_majorities_ring_everyone_sees_a_majority_and_no_two_the_same(nodes in 3u16..=50, seed: u64) {
            let blocked = draw(PartitionShape::MajoritiesRing, nodes, seed);
            prop_assert!(is_symmetric(&blocked));
            let reaches = reaches(nodes, &blocked);
            let distinct: BTreeSet<_> = reaches.values().collect();
            prop_assert_eq!(distinct.len(), usize::from(nodes), "two see the same: {:?}", reaches);
            let majority = usize::from(nodes / 2 + 1);
            for seen in reaches.values() {
                prop_assert!(seen.len() >= majority);
                prop_assert!(nodes == 3 || seen.len() <= majority + 1, "{} see {}", nodes, seen.len());
                prop_assert!(nodes == 3 || seen.len() < usize::from(nodes));
            }
        }

        #[test]
        fn a_bridge_sees_all_and_joins_two_halves(nodes in 3u16..=50, seed: u64) {
            let blocked = draw(PartitionShape::Bridge, nodes, seed);
            prop_assert!(is_symmetric(&blocked));
            let reaches = reaches(nodes, &blocked);
            let (bridges, sides): (Vec<_>, Vec<_>) = reaches.values().partition(|seen| seen.len() == usize::from(nodes));
            prop_assert_eq!(bridges.len(), 1);
            let sides: BTreeSet<_> = sides.into_iter().cloned().collect();
            prop_assert_eq!(sides.len(), 2);
            let mut both = sides.iter();
            let (one, other) = (both.next().expect("one side"), both.next().expect("other side"));
            prop_assert_eq!(one.intersection(other).count(), 1, "they share the bridge alone");
            prop_assert!(one.len().abs_diff(other.len()) <= 1);
        }

        #[test]
        fn one_way_is_never_blocked_back(nodes in 2u16..=50, seed: u64) {
            let blocked = draw(PartitionShape::OneWay, nodes, seed);
            for (from, to) in &blocked {
                prop_assert!(!blocked.contains(&(*to, *from)));
            }
            let sources: BTreeSet<_> = blocked.iter().map(|(from, _)| *from).collect();
            let destinations: BTreeSet<_> = blocked.iter().map(|(_, to)| *to).collect();
            prop_assert_eq!(sources.len() + destinations.len(), usize::from(nodes));
            prop_assert_eq!(blocked.len(), sources.len() * destinations.len());
        }

        #[test]
        fn clients_are_cut_from_some_nodes_and_never_from_all(nodes in 2u16..=50, seed: u64) {
            let blocked = draw(PartitionShape::Clients, nodes, seed);
            prop_assert!(is_symmetric(&blocked));
            let cut = blocked.iter().filter(|(from, _)| *from == Endpoint::Clients).count();
            prop_assert!((1..usize::from(nodes)).contains(&cut));
            prop_assert_eq!(blocked.len(), 2 * cut);
        }
    }
}
