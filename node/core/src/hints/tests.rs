//! The queues alone: what is kept, its bound, its end, and that the disk holds the same.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::queue::{HintQueues, Kind, Put};
use crate::counters::Counters;
use crate::{Conflict, Key, NodeId, Planted, RecoveredState, Value, Version, WallTime, WriteBatch, store_codec};

const MS: u64 = 1_000_000;
const OWNER: NodeId = NodeId(2);
const GRACE_MS: u64 = 1_000;

fn queues(bytes_max: u64) -> HintQueues {
    HintQueues::new(bytes_max, 500, GRACE_MS, Planted::NONE)
}

fn key(n: u8) -> Key {
    Key(vec![n])
}

fn version(ms: u64, length: usize) -> Version {
    Version { stamp: WallTime(ms * MS), value: Some(Value(vec![7; length])) }
}

fn wall(ms: u64) -> WallTime {
    WallTime(ms * MS)
}

/// Puts, and gives what became of it with what is to be made durable.
fn put(queues: &mut HintQueues, n: u8, version: &Version, kind: Kind, ms: u64) -> (Put, WriteBatch) {
    let (mut durable, mut counters) = (WriteBatch::default(), Counters::default());
    let put = queues.put(OWNER, &key(n), version, kind, wall(ms), &mut durable, &mut counters);
    (put, durable)
}

fn records(queues: &HintQueues) -> u64 {
    queues.pending().map(|(_, records, _)| records).sum()
}

#[test]
fn the_greatest_version_of_a_key_is_kept_and_only_it_can_be_removed() {
    let mut queues = queues(1_000);
    let (old, new) = (version(1, 3), version(2, 3));
    assert_eq!(put(&mut queues, 1, &new, Kind::Hint, 2).0, Put::Kept);
    let (again, durable) = put(&mut queues, 1, &old, Kind::Hint, 2);
    assert_eq!((again, durable), (Put::Kept, WriteBatch::default()), "a greater one is kept already");
    assert_eq!(queues.batch(OWNER, 9, 900, wall(2)), [(key(1), new.clone())]);
    let mut durable = WriteBatch::default();
    assert_eq!(queues.remove(OWNER, &key(1), &old, &mut durable), None);
    assert!(durable.is_empty() && records(&queues) == 1);
    assert!(queues.remove(OWNER, &key(1), &new, &mut durable).is_some());
    assert_eq!(durable.deletes, [store_codec::hint_key(OWNER, &key(1))]);
    assert_eq!(queues.pending().count(), 0);
}

#[test]
fn a_hint_that_was_also_taken_as_a_stand_in_is_worth_the_more() {
    let mut queues = queues(1_000);
    let (version, newer) = (version(1, 3), version(2, 3));
    put(&mut queues, 1, &version, Kind::StandIn, 1);
    assert_eq!(put(&mut queues, 1, &version, Kind::Hint, 1).1, WriteBatch::default());
    let (_, durable) = put(&mut queues, 2, &version, Kind::Hint, 1);
    assert_eq!(durable.puts[0].1[0], 0);
    let (_, durable) = put(&mut queues, 2, &version, Kind::StandIn, 1);
    assert_eq!(durable.puts[0].1[0], 1, "written anew as a stand-in's copy");
    assert_eq!(put(&mut queues, 2, &newer, Kind::Hint, 2).1.puts[0].1[0], 1, "and stays one");
}

#[test]
fn the_time_to_live_counts_from_the_stamp_and_ends_at_the_grace() {
    let mut queues = queues(1_000);
    // Stamped at 100, kept at 900.
    put(&mut queues, 1, &version(100, 1), Kind::Hint, 900);
    assert_eq!(queues.batch(OWNER, 9, 900, wall(1_099)).len(), 1);
    assert!(queues.newest(&key(1), wall(1_099)).is_some());
    assert_eq!(queues.batch(OWNER, 9, 900, wall(1_100)).len(), 0);
    assert!(queues.newest(&key(1), wall(1_100)).is_none());
    // A stamp ahead of the clock makes no longer life.
    put(&mut queues, 2, &version(9_000, 1), Kind::Hint, 900);
    assert_eq!(queues.batch(OWNER, 9, 900, wall(1_901)).len(), 0);
    let (mut durable, mut counters) = (WriteBatch::default(), Counters::default());
    assert_eq!(queues.sweep(wall(1_500), &mut durable, &mut counters), 0);
    assert_eq!((counters.hints_expired, durable.deletes.len(), records(&queues)), (1, 1, 1));
    assert_eq!(put(&mut queues, 3, &version(1, 1), Kind::Hint, 1_001).0, Put::Expired);
}

#[test]
fn a_shorter_grace_after_a_restart_ends_old_hints_sooner_and_a_longer_one_not_later() {
    for (grace_ms, lives_ms) in [(300, 300), (9_000, GRACE_MS)] {
        let mut before = queues(1_000);
        let (_, durable) = put(&mut before, 1, &version(100, 1), Kind::Hint, 100);
        let content =
            store_codec::decode(RecoveredState { entries: durable.puts }, Conflict::Lww).expect("own entries");
        let mut after = HintQueues::new(1_000, 500, grace_ms, Planted::NONE);
        content.hints.into_iter().for_each(|(owner, key, held)| after.recover(owner, key, held));
        assert_eq!(after.batch(OWNER, 9, 900, wall(100 + lives_ms - 1)).len(), 1, "grace {grace_ms}");
        assert_eq!(after.batch(OWNER, 9, 900, wall(100 + lives_ms)).len(), 0, "grace {grace_ms}");
    }
}

#[test]
fn the_window_is_for_hints_alone() {
    let mut queues = queues(1_000);
    put(&mut queues, 1, &version(100, 1), Kind::Hint, 100);
    assert_eq!(put(&mut queues, 2, &version(700, 1), Kind::Hint, 700).0, Put::OutsideWindow);
    assert_eq!(put(&mut queues, 2, &version(700, 1), Kind::StandIn, 700).0, Put::Kept);
    queues.in_reach(OWNER);
    assert_eq!(put(&mut queues, 3, &version(701, 1), Kind::Hint, 701).0, Put::Kept);
}

#[test]
fn a_batch_is_bounded_in_records_and_bytes_but_never_empty() {
    let mut queues = queues(100_000);
    for n in 0..10 {
        put(&mut queues, n, &version(1, 1_000), Kind::Hint, 1);
    }
    assert_eq!(queues.batch(OWNER, 3, 100_000, wall(1)).len(), 3);
    assert_eq!(queues.batch(OWNER, 10, 2_500, wall(1)).len(), 2);
    assert_eq!(queues.batch(OWNER, 10, 1, wall(1)).len(), 1);
}

#[test]
fn a_sweep_over_many_owners_gets_to_everything_in_steps() {
    let mut queues = queues(10_000_000);
    let (mut durable, mut counters) = (WriteBatch::default(), Counters::default());
    for owner in 2..5 {
        for n in 0..1_000u16 {
            let key = Key(n.to_be_bytes().to_vec());
            queues.put(NodeId(owner), &key, &version(1, 1), Kind::StandIn, wall(1), &mut durable, &mut counters);
        }
    }
    let (mut steps, mut lost) = (0, 0);
    while records(&queues) > 0 {
        let mut durable = WriteBatch::default();
        lost += queues.sweep(wall(5_000), &mut durable, &mut counters);
        assert!(durable.deletes.len() <= 512);
        steps += 1;
        assert!(steps < 20, "a sweep goes round in circles");
    }
    assert_eq!((lost, counters.hints_expired), (3_000, 3_000));
}

proptest! {
    /// Whatever is put and removed: the bound holds, and the disk holds what memory does.
    #[test]
    fn bytes_are_bounded_and_the_disk_follows(
        steps in proptest::collection::vec((0u8..6, 1u64..9, 0usize..60, any::<bool>(), 0u8..4), 0..80),
    ) {
        let mut queues = queues(400);
        let mut disk: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for (n, stamp, length, stand_in, what) in steps {
            let version = version(stamp, length);
            let mut durable = WriteBatch::default();
            if what == 0 {
                queues.remove(OWNER, &key(n), &version, &mut durable);
            } else {
                let kind = if stand_in { Kind::StandIn } else { Kind::Hint };
                durable = put(&mut queues, n, &version, kind, 10).1;
            }
            disk.extend(durable.puts);
            durable.deletes.iter().for_each(|key| drop(disk.remove(key)));
            prop_assert!(queues.pending().all(|(_, _, bytes)| bytes <= 400));
            let entries = disk.clone().into_iter().collect();
            let content = store_codec::decode(RecoveredState { entries }, Conflict::Lww).expect("own entries");
            let mut recovered = HintQueues::new(400, 500, GRACE_MS, Planted::NONE);
            content.hints.into_iter().for_each(|(owner, key, held)| recovered.recover(owner, key, held));
            prop_assert_eq!(recovered.batch(OWNER, 99, 9_999, wall(10)), queues.batch(OWNER, 99, 9_999, wall(10)));
            let pending = |queues: &HintQueues| queues.pending().collect::<Vec<_>>();
            prop_assert_eq!(pending(&recovered), pending(&queues));
        }
    }
}
