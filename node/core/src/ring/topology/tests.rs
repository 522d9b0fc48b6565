//! Topologies against what the rings of their members say by themselves.

use alloc::format;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::Key;

const VNODES: u16 = 4;
const FOUNDERS: u16 = 5;

fn founders() -> Vec<NodeId> {
    (1..=FOUNDERS).map(NodeId).collect()
}

fn member(phase: Phase, replaces: Option<u16>) -> RingMember {
    RingMember { phase, replaces: replaces.map(NodeId), address: Vec::new() }
}

/// The founders, with these changes.
fn topology(changes: &[(u16, Phase, Option<u16>)]) -> Topology {
    let mut members: MemberMap = founders().into_iter().map(|node| (node, RingMember::founder())).collect();
    for &(node, phase, replaces) in changes {
        members.insert(NodeId(node), member(phase, replaces));
    }
    assert!(is_usable(&members));
    Topology::new(members, &founders(), VNODES, 3)
}

fn keys() -> impl Iterator<Item = Key> {
    (0..200).map(|number| Key(format!("key {number}").into_bytes()))
}

fn any_phase() -> impl Strategy<Value = Phase> {
    prop_oneof![
        Just(Phase::Joining),
        Just(Phase::Entering),
        Just(Phase::Normal),
        Just(Phase::Leaving),
        Just(Phase::Exiting),
        Just(Phase::Left)
    ]
}

/// Maps that hold the founders and some others, whoever replaces whom.
fn any_map() -> impl Strategy<Value = MemberMap> {
    let member = (any_phase(), prop::option::of(1..=FOUNDERS), prop::collection::vec(any::<u8>(), 0..3));
    prop::collection::vec(member, 0..5).prop_map(|members| {
        let mut map: MemberMap = founders().into_iter().map(|node| (node, RingMember::founder())).collect();
        for (place, (phase, replaces, address)) in members.into_iter().enumerate() {
            let node = NodeId(3 + place as u16); // some of the founders, too
            let replaces = replaces.map(NodeId).filter(|_| node.0 > FOUNDERS);
            map.insert(node, RingMember { phase, replaces, address });
        }
        map
    })
}

#[test]
fn founders_alone_are_the_ring_of_the_configuration() {
    let of_map = topology(&[]);
    let ring = Arc::new(Ring::new(&founders(), VNODES, 3));
    let of_ring = Topology::of_founders(&founders(), ring.clone());
    for topology in [of_map, of_ring] {
        assert_eq!(topology.view(), View::FOUNDERS);
        assert!(!topology.is_changing());
        for key in keys() {
            assert_eq!(topology.natural().replicas(&key), ring.replicas(&key));
            assert_eq!(topology.held().replicas(&key), ring.replicas(&key));
            assert!(topology.pending(ring.token(&key)).is_empty());
        }
    }
}

#[test]
fn each_step_of_a_join_is_a_view_of_its_own_and_so_is_a_ring_without_those_that_left() {
    let views: BTreeSet<View> =
        [Phase::Joining, Phase::Entering, Phase::Normal, Phase::Leaving, Phase::Exiting, Phase::Left]
            .map(|phase| topology(&[(6, phase, None)]).view())
            .into_iter()
            .chain([View::FOUNDERS])
            .collect();
    assert_eq!(views.len(), 7, "a member that came and went must not leave the first view behind");
}

#[test]
fn a_joining_node_is_pending_and_an_entering_one_is_natural_with_all_former_owners_as_sources() {
    let (before, joining) = (topology(&[]), topology(&[(6, Phase::Joining, None)]));
    let (entering, normal) = (topology(&[(6, Phase::Entering, None)]), topology(&[(6, Phase::Normal, None)]));
    let mut gained = 0;
    for key in keys() {
        let at = Token::of_key(&key);
        let (old, new) = (before.natural().replicas(&key), normal.natural().replicas(&key));
        assert_eq!(joining.natural().replicas(&key), old);
        assert_eq!(entering.natural().replicas(&key), new);
        let expected: Vec<NodeId> = new.iter().copied().filter(|node| !old.contains(node)).collect();
        assert_eq!(joining.pending(at), expected);
        assert!(entering.pending(at).is_empty());
        if expected.contains(&NodeId(6)) {
            gained += 1;
            let range = entering.held().range_at(at);
            let sources = entering.sources(NodeId(6), range);
            assert!(old.iter().all(|node| sources.contains(node)), "{old:?} in {sources:?}");
            let holders = entering.held().replicas(&key);
            assert!(old.iter().chain(new).all(|node| holders.contains(node)), "whoever lost the range keeps it");
        }
    }
    assert!(gained > 20, "only {gained} keys moved");
}

#[test]
fn a_replacement_takes_the_tokens_of_the_dead_and_so_does_its_own_replacement() {
    let before = topology(&[]);
    let during = topology(&[(6, Phase::Joining, Some(2))]);
    let after = topology(&[(2, Phase::Left, None), (6, Phase::Normal, Some(2))]);
    let again = topology(&[(2, Phase::Left, None), (6, Phase::Left, Some(2)), (7, Phase::Normal, Some(6))]);
    for key in keys() {
        let old = before.natural().replicas(&key).to_vec();
        let with = |id: u16| old.iter().map(|node| if node.0 == 2 { NodeId(id) } else { *node }).collect::<Vec<_>>();
        assert_eq!(after.natural().replicas(&key), with(6));
        assert_eq!(again.natural().replicas(&key), with(7));
        let pending = if old.contains(&NodeId(2)) { vec![NodeId(6)] } else { vec![] };
        assert_eq!(during.pending(Token::of_key(&key)), pending);
    }
    assert!(!during.fill_from(NodeId(6)).contains(&NodeId(2)), "the dead are not waited for");
    assert!(during.fill_from(NodeId(6)).len() == 4);
}

#[test]
fn a_leaving_node_waits_for_those_that_take_its_ranges() {
    let leaving = topology(&[(2, Phase::Leaving, None)]);
    let exiting = topology(&[(2, Phase::Exiting, None)]);
    let (mut gainers, mut owners) = (BTreeSet::new(), BTreeSet::new());
    for key in keys() {
        let at = Token::of_key(&key);
        assert!(!exiting.natural().replicas(&key).contains(&NodeId(2)));
        if leaving.natural().replicas(&key).contains(&NodeId(2)) {
            gainers.extend(leaving.pending(at));
            owners.extend(exiting.natural().replicas(&key).iter().copied());
            assert_eq!(leaving.pending(at).len(), 1);
            assert!(exiting.held().replicas(&key).contains(&NodeId(2)), "it keeps what it had");
        }
    }
    assert!(gainers.iter().all(|node| leaving.awaited(NodeId(2)).contains(node)));
    assert!(owners.iter().all(|node| exiting.awaited(NodeId(2)).contains(node)));
    assert!(leaving.awaited(NodeId(1)).is_empty());
}

#[test]
fn maps_that_nobody_could_work_with_are_told() {
    let good: MemberMap = founders().into_iter().map(|node| (node, RingMember::founder())).collect();
    assert!(is_usable(&good));
    type Mistake = fn(&mut MemberMap);
    let mistakes: [Mistake; 5] = [
        |map| map.values_mut().for_each(|member| member.phase = Phase::Left),
        |map| drop(map.insert(NodeId(0), RingMember::founder())),
        |map| map.get_mut(&NodeId(1)).unwrap().address = vec![0; 65],
        |map| map.get_mut(&NodeId(1)).unwrap().replaces = Some(NodeId(0)),
        |map| map.get_mut(&NodeId(1)).unwrap().replaces = Some(NodeId(1)),
    ];
    for mistake in mistakes {
        let mut map = good.clone();
        mistake(&mut map);
        assert!(!is_usable(&map), "{map:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn merging_is_commutative_associative_and_idempotent_and_only_goes_forward(a in any_map(), b in any_map(), c in any_map()) {
        let merged = |maps: &[&MemberMap]| {
            let mut merged = MemberMap::new();
            maps.iter().for_each(|map| { merge_members(&mut merged, map); });
            merged
        };
        let ab = merged(&[&a, &b]);
        prop_assert_eq!(&ab, &merged(&[&b, &a]));
        prop_assert_eq!(merged(&[&ab, &c]), merged(&[&a, &merged(&[&b, &c])]));
        let mut again = ab.clone();
        prop_assert!(!merge_members(&mut again, &a));
        for (node, member) in &a {
            prop_assert!(ab[node].phase >= member.phase);
        }
    }

    #[test]
    fn everybody_holds_what_any_of_the_three_rings_gives_it(map in any_map()) {
        prop_assume!(is_usable(&map));
        let topology = Topology::new(map, &founders(), VNODES, 3);
        let width: u128 = topology.held().ranges().map(TokenRange::width).sum();
        prop_assert_eq!(width, 1 << 64);
        for key in keys().take(60) {
            let at = Token::of_key(&key);
            let natural = topology.natural().replicas(&key);
            let held = topology.held().replicas(&key);
            let range = topology.held().range_at(at);
            prop_assert_eq!(&held[..natural.len()], natural);
            prop_assert!(topology.pending(at).iter().all(|node| held.contains(node) && !natural.contains(node)));
            prop_assert_eq!(topology.pending(at), topology.pending(Token(range.until)), "one answer for a range");
            for &node in held {
                let own = topology.natural_ranges(node).iter().any(|range| range.contains(at));
                prop_assert_eq!(own, natural.contains(&node));
                prop_assert!(topology.sources(node, range).iter().all(|source| held.contains(source) && *source != node));
            }
        }
    }

    #[test]
    fn the_ranges_that_overlap_one_of_another_view_are_found(a in any_map(), b in any_map()) {
        prop_assume!(is_usable(&a) && is_usable(&b));
        let (a, b) = (Topology::new(a, &founders(), VNODES, 3), Topology::new(b, &founders(), VNODES, 3));
        for range in a.held().ranges().take(12) {
            let found: BTreeSet<u64> = b.overlapping(range).iter().map(|range| range.until).collect();
            // Two arcs overlap exactly if one holds the other's end.
            let overlaps = |other: &TokenRange| range.contains(Token(other.until)) || other.contains(Token(range.until));
            let expected: BTreeSet<u64> = b.held().ranges().filter(overlaps).map(|range| range.until).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
