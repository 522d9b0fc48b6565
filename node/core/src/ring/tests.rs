//! The ring against a walk round the circle done by hand.

use alloc::format;
use alloc::vec;

use proptest::prelude::*;

use super::*;

fn nodes(count: u16) -> Vec<NodeId> {
    (1..=count).map(NodeId).collect()
}

fn key(number: u32) -> Key {
    Key(format!("key {number}").into_bytes())
}

/// The first N distinct nodes at or behind the token, by looking at every place.
fn walk(members: &[NodeId], vnodes: u16, replication: u8, token: Token) -> Vec<NodeId> {
    let mut places: Vec<(u64, NodeId)> = Vec::new();
    for &node in members {
        for vnode in 0..vnodes {
            let distance = Token::of_vnode(node, vnode).0.wrapping_sub(token.0);
            places.push((distance, node));
        }
    }
    places.sort();
    let mut list = Vec::new();
    for (_, node) in places {
        if !list.contains(&node) && list.len() < usize::from(replication) {
            list.push(node);
        }
    }
    list
}

#[test]
fn a_keys_token_is_the_begin_of_its_blake3_hash() {
    // The published hash of "abc". Nodes of different builds must agree on it.
    assert_eq!(Token::of_key(&Key(b"abc".to_vec())), Token(0x6437_b3ac_3846_5133));
}

#[test]
fn members_at_the_same_place_share_one_range() {
    let ring = Ring::from_places(vec![(20, NodeId(3)), (10, NodeId(2)), (10, NodeId(1))], 2);
    assert_eq!(ring.ends, [10, 20]);
    assert_eq!(ring.range_replicas(RangeId(10)), Some(&[NodeId(1), NodeId(2)][..]));
    assert_eq!(ring.range_replicas(RangeId(20)), Some(&[NodeId(3), NodeId(1)][..]));
    assert_eq!(ring.range(RangeId(10)), Some(TokenRange { after: 20, until: 10 }));
    assert_eq!(ring.owned_ranges(NodeId(2)), [RangeId(10)]);
    assert_eq!(ring.range_replicas(RangeId(11)), None);
    // A range holds the token that names it.
    assert_eq!(ring.range_at(Token(10)).id(), RangeId(10));
    assert_eq!(ring.range_at(Token(11)).id(), RangeId(20));
    assert_eq!(ring.range_at(Token(21)).id(), RangeId(10));
}

#[test]
fn a_single_place_owns_the_whole_circle() {
    let ring = Ring::from_places(vec![(7, NodeId(1))], 3);
    let range = ring.range(RangeId(7)).unwrap();
    assert_eq!(range.width(), 1 << 64);
    for token in [0, 6, 7, 8, u64::MAX] {
        assert!(range.contains(Token(token)));
        assert_eq!(ring.replicas_at(Token(token)), [NodeId(1)]);
    }
    assert_eq!(ring.neighbours(NodeId(1)), []);
}

#[test]
fn a_range_holds_its_end_and_not_its_begin_also_through_zero() {
    let range = TokenRange { after: u64::MAX - 1, until: 2 };
    assert_eq!(range.width(), 4);
    let inside: Vec<u64> = [u64::MAX - 2, u64::MAX - 1, u64::MAX, 0, 1, 2, 3]
        .into_iter()
        .filter(|&token| range.contains(Token(token)))
        .collect();
    assert_eq!(inside, [u64::MAX, 0, 1, 2]);
    assert_eq!(range.offset(Token(u64::MAX)), 0);
    assert_eq!(range.offset(Token(2)), 3);
}

#[test]
fn two_hundred_members_cut_the_circle_without_a_gap_and_evenly_enough() {
    let ring = Ring::new(&nodes(200), 8, 3);
    let width: u128 = ring.ranges().map(TokenRange::width).sum();
    assert_eq!(width, 1 << 64);
    assert_eq!(ring.ranges().count(), 1600);
    for node in nodes(200) {
        // Three copies of eight ranges are the mean; a node without load or with a tenth of all would be a bug.
        let owned = ring.owned_ranges(node).len();
        assert!((8..=60).contains(&owned), "{node} owns {owned} ranges");
        for peer in ring.neighbours(node) {
            assert!(!ring.shared_ranges(node, peer).is_empty());
            assert_eq!(ring.shared_ranges(node, peer), ring.shared_ranges(peer, node));
        }
    }
    assert_eq!(ring.owned_ranges(NodeId(999)), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn preference_lists_are_those_of_a_walk(
        members in 1_u16..12, vnodes in 1_u16..10, replication in 1_u8..6, seed in any::<u32>(),
    ) {
        let mut members = nodes(members);
        let ring = Ring::new(&members, vnodes, replication);
        let middle = seed as usize % members.len();
        members.rotate_left(middle);
        members.push(members[0]); // named twice
        let same_ring = Ring::new(&members, vnodes, replication);
        for number in 0..32 {
            let key = key(seed.wrapping_add(number));
            let token = ring.token(&key);
            let expected = walk(&members, vnodes, replication, token);
            prop_assert_eq!(ring.replicas(&key), &expected[..]);
            prop_assert_eq!(same_ring.replicas(&key), &expected[..]);
            let range = ring.range_at(token);
            prop_assert!(range.contains(token));
            for node in nodes(12) {
                let owns = ring.owned_ranges(node).contains(&range.id());
                prop_assert_eq!(owns, expected.contains(&node));
                prop_assert_eq!(owns, ring.is_replica(node, &key));
            }
        }
    }
}
