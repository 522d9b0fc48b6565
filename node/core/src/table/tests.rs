//! The table against a plain map, and its trees against tables with the same content and another history.

use alloc::format;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::ring::Ring;
use crate::{NodeId, Value, WallTime};

fn key(number: u16) -> Key {
    Key(format!("k{number}").into_bytes())
}

fn version(stamp: u64, value: Option<u8>) -> Version {
    Version { stamp: WallTime(stamp), value: value.map(|byte| Value(vec![byte])) }
}

/// The table of node 1 in a ring of this many nodes with two copies, and keys it owns.
fn table_and_keys(members: u16, depth: u8, count: usize) -> (Table, Vec<Key>) {
    let members: Vec<NodeId> = (1..=members).map(NodeId).collect();
    let ring = Ring::new(&members, 4, 2);
    let table = Table::new(&ring.owned_token_ranges(NodeId(1)), depth);
    let keys: Vec<Key> = (0..).map(key).filter(|key| ring.is_replica(NodeId(1), key)).take(count).collect();
    (table, keys)
}

#[derive(Clone, Debug)]
enum Change {
    Merge(usize, Version),
    Remove(usize),
    AskRoots,
}

fn change() -> impl Strategy<Value = Change> {
    let version = (0_u64..4, prop::option::of(0_u8..3)).prop_map(|(stamp, value)| version(stamp, value));
    prop_oneof![
        8 => (0_usize..30, version).prop_map(|(key, version)| Change::Merge(key, version)),
        2 => (0_usize..30).prop_map(Change::Remove),
        1 => Just(Change::AskRoots),
    ]
}

#[test]
fn digests_tell_absence_tombstone_and_empty_value_apart() {
    let key = key(1);
    let empty = Version { stamp: WallTime(1), value: Some(Value(vec![])) };
    let digests: BTreeSet<Digest> = [
        version_digest(&key, None),
        version_digest(&key, Some(&version(1, None))),
        version_digest(&key, Some(&version(2, None))),
        version_digest(&key, Some(&empty)),
        version_digest(&key, Some(&version(1, Some(0)))),
        version_digest(&Key(b"k".to_vec()), Some(&version(1, None))),
    ]
    .into();
    assert_eq!(digests.len(), 6);
}

#[test]
fn the_greater_version_stays_whatever_the_order() {
    let (mut table, keys) = table_and_keys(3, 2, 1);
    let ascending = [version(1, Some(9)), version(2, None), version(2, Some(1)), version(2, Some(2))];
    for older in &ascending {
        assert!(table.merge(keys[0].clone(), older.clone()));
        assert!(!table.merge(keys[0].clone(), older.clone()), "the same version is no news");
        assert_eq!(table.digest(&keys[0]), version_digest(&keys[0], Some(older)));
    }
    for older in &ascending {
        assert!(!table.merge(keys[0].clone(), older.clone()));
    }
    assert_eq!(table.get(&keys[0]), Some(&ascending[3]));
}

#[test]
#[should_panic(expected = "another node's range")]
fn a_foreign_key_is_a_broken_invariant() {
    let ring = Ring::new(&[NodeId(1), NodeId(2)], 4, 1);
    let mut table = Table::new(&ring.owned_token_ranges(NodeId(1)), 3);
    let foreign = (0..).map(key).find(|key| !ring.is_replica(NodeId(1), key)).unwrap();
    assert!(!table.owns(&foreign));
    table.merge(foreign, version(1, None));
}

#[test]
fn leaves_of_a_range_narrower_than_its_tree_still_cut_it() {
    for width in [1_u64, 2, 3, 7, 8, 9, 1000] {
        for after in [0, 5, u64::MAX - 1, u64::MAX] {
            let range = TokenRange { after, until: after.wrapping_add(width) };
            for depth in [0, 1, 3, 5] {
                let mut next = 0;
                for leaf in 0..1 << depth {
                    let (begin, end) = leaf_offsets(range, depth, leaf);
                    assert_eq!(begin, next, "leaf {leaf} of width {width}, depth {depth}");
                    for offset in begin..end {
                        let token = Token(after.wrapping_add(1).wrapping_add(offset as u64));
                        assert_eq!(leaf_at(range, depth, token), leaf);
                    }
                    next = end;
                }
                assert_eq!(next, u128::from(width));
            }
        }
    }
}

/// Whole circles that begin anywhere: a leaf that passes through zero is one piece like any other.
#[test]
fn leaves_cut_the_table_through_zero() {
    for after in [0, 1, 1 << 63, u64::MAX - 1, u64::MAX] {
        let range = TokenRange { after, until: after };
        for depth in [0, 1, 2, 5] {
            let mut table = Table::new(&[range], depth);
            for number in 0..200 {
                table.merge(key(number), version(1, None));
            }
            let mut found = Vec::new();
            for leaf in 0..1 << depth {
                let keys: Vec<Key> = table.leaf(range.id(), leaf, None).map(|item| item.key.clone()).collect();
                for (index, key) in keys.iter().enumerate() {
                    assert_eq!(table.leaf_of(key), Some((range.id(), leaf)));
                    let rest: Vec<Key> = table.leaf(range.id(), leaf, Some(key)).map(|item| item.key.clone()).collect();
                    assert_eq!(rest, keys[index + 1..]);
                }
                found.extend(keys);
            }
            assert_eq!(found.len(), 200);
            assert!(found.is_sorted_by_key(|key| range.offset(Token::of_key(key))));
            assert_eq!(table.leaf(range.id(), 1 << depth, None).count(), 0);
            assert_eq!(table.leaf(RangeId(after ^ 4), 0, None).count(), 0);
        }
    }
}

#[test]
fn one_different_version_changes_one_path() {
    let (mut table, keys) = table_and_keys(3, 4, 200);
    for key in &keys {
        table.merge(key.clone(), version(1, Some(1)));
    }
    let before = table.merkle_roots();
    let digests = table.range_digests();
    table.merge(keys[17].clone(), version(1, Some(2)));
    let (changed, leaf) = table.leaf_of(&keys[17]).unwrap();
    let differing: Vec<u64> =
        before.iter().zip(table.merkle_roots()).filter(|(a, b)| **a != *b).map(|(a, _)| a.0).collect();
    assert_eq!(differing, [changed.0]);
    let differing: Vec<u64> =
        digests.iter().zip(table.range_digests()).filter(|(a, b)| **a != *b).map(|(a, _)| a.0).collect();
    assert_eq!(differing, [changed.0]);
    assert!(table.node_hash(changed, 4, leaf).is_some());
    assert_eq!(table.node_hash(changed, 5, 0), None);
    assert_eq!(table.node_hash(RangeId(changed.0 ^ 1), 0, 0), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_table_is_a_map_and_its_hashes_know_no_history(
        changes in prop::collection::vec(change(), 0..80), members in 1_u16..6, depth in 0_u8..11,
    ) {
        let (empty, keys) = table_and_keys(members, depth, 30);
        let mut table = empty.clone();
        let mut model: BTreeMap<Key, Version> = BTreeMap::new();
        for change in changes {
            match change {
                Change::Merge(index, version) => {
                    let key = keys[index].clone();
                    let newer = model.get(&key).is_none_or(|stored| *stored < version);
                    if newer {
                        model.insert(key.clone(), version.clone());
                    }
                    prop_assert_eq!(table.merge(key, version), newer);
                }
                Change::Remove(index) => prop_assert_eq!(table.remove(&keys[index]), model.remove(&keys[index])),
                Change::AskRoots => drop(table.merkle_roots()),
            }
        }
        prop_assert_eq!(table.len(), model.len());
        prop_assert_eq!(table.is_empty(), model.is_empty());
        prop_assert!(table.scan(None).eq(model.iter()));
        for key in &keys {
            prop_assert_eq!(table.get(key), model.get(key));
            prop_assert_eq!(table.digest(key), version_digest(key, model.get(key)));
            let after = (Bound::Excluded(key.clone()), Bound::Unbounded);
            prop_assert!(table.scan(Some(key)).eq(model.range(after)));
        }

        let mut same = empty.clone();
        for (key, version) in model.iter().rev() {
            same.merge(key.clone(), version.clone());
        }
        prop_assert_eq!(table.merkle_roots(), same.merkle_roots());
        prop_assert_eq!(table.range_digests(), same.range_digests());
        prop_assert_eq!(table.state_digest(), same.state_digest());
        for (range, root) in table.merkle_roots() {
            let is_empty = !model.keys().any(|key| table.owned_range(key) == Some(RangeId(range)));
            prop_assert_eq!(root == EMPTY, is_empty);
        }
        if let Some((key, version)) = model.first_key_value() {
            let newer = Version { stamp: WallTime(version.stamp.0 + 1), value: version.value.clone() };
            same.merge(key.clone(), newer);
            prop_assert_ne!(table.merkle_roots(), same.merkle_roots());
            prop_assert_ne!(table.state_digest(), same.state_digest());
        }
    }
}
