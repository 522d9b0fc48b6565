//! What this replica stores: the table in memory and its changes on the way to the disk.
//!
//! Invariant: every change of the table is in the `durable` part of the output being made. [`Store::merge`],
//! [`Store::sweep`] and [`Store::recover`] are the only ways to change it.
//!
//! Tombstones are removed once they are older than the grace, by a sweep in small steps. An expired tombstone that comes
//! from elsewhere for a key of which nothing is stored is not taken over: else replicas that swept at different times would
//! hand it to and fro for ever. Its acknowledgement stays truthful as far as readers can tell: nothing older can be read here.
//! Known limit: a replica that missed a delete for longer than the grace brings the old value back.

use alloc::vec::Vec;

use crate::counters::Counters;
use crate::ring::TokenRange;
use crate::table::{Table, keeps};
use crate::{Key, LocalEntry, Mark, Value, Version, WallTime, WriteBatch, planted, store_codec};

/// Keys looked at in one step of the sweep.
const SWEEP_KEYS: usize = 512;
/// Most payload of one answer to a local scan, in bytes.
const SCAN_BYTES: usize = 512 * 1024;

/// The store of one replica.
#[derive(Debug)]
pub(crate) struct Store {
    table: Table,
    grace_ms: u64,
    /// Where the next step of the sweep goes on.
    sweep_after: Option<Key>,
}

impl Store {
    pub(crate) fn new(table: Table, tombstone_grace_ms: u64) -> Store {
        Store { table, grace_ms: tombstone_grace_ms, sweep_after: None }
    }

    /// An entry of the store at boot, durable already. False when it lies in no owned range, and was left alone.
    pub(crate) fn recover(&mut self, key: Key, version: Version) -> bool {
        let owned = self.table.owns(&key);
        if owned {
            self.table.merge(key, version);
        }
        owned
    }

    /// From now on these ranges, disjoint, are held. Answers the keys of others, which are forgotten here; on the disk they stay.
    pub(crate) fn hold(&mut self, ranges: &[TokenRange]) -> Vec<Key> {
        self.table.hold(ranges)
    }

    /// Takes an entry that was forgotten from the disk, unless the key has come back since.
    pub(crate) fn drop_forgotten(&self, key: &Key, durable: &mut WriteBatch) {
        if self.table.get(key).is_none() {
            durable.deletes.push(store_codec::data_key(key));
        }
    }

    /// Forgets a key that should be held: a planted bug.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn lose(&mut self, key: &Key, durable: &mut WriteBatch) {
        self.table.remove(key);
        durable.deletes.push(store_codec::data_key(key));
    }

    pub(crate) fn table(&mut self) -> &mut Table {
        &mut self.table
    }

    pub(crate) fn table_ref(&self) -> &Table {
        &self.table
    }

    pub(crate) fn owns(&self, key: &Key) -> bool {
        self.table.owns(key)
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Version> {
        self.table.get(key)
    }

    pub(crate) fn digest(&self, key: &Key) -> [u8; 16] {
        self.table.digest(key)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether this is a tombstone past its grace.
    pub(crate) fn is_expired(&self, version: &Version, wall: WallTime) -> bool {
        let age = wall.0.saturating_sub(version.stamp.0);
        let unit_ns = if planted!(self.table.planted(), TombstoneDroppedEarly) { 1 } else { 1_000_000 };
        version.value.is_none() && age > self.grace_ms.saturating_mul(unit_ns)
    }

    /// Takes the version over if it is newer than what is stored; whether it did. The key must be owned.
    pub(crate) fn merge(
        &mut self,
        wall: WallTime,
        key: Key,
        version: Version,
        durable: &mut WriteBatch,
        counters: &mut Counters,
    ) -> bool {
        let stored = self.table.get(&key);
        assert!(stored.is_some() || self.table.owns(&key), "a version for a key of a foreign range");
        if stored.is_none() && self.is_expired(&version, wall) {
            counters.tombstones_refused += 1;
            counters.mark(Mark::TombstoneRefused);
            return false;
        }
        if let Some(stored) = stored
            && stored.stamp == version.stamp
            && *stored != version
        {
            counters.mark(Mark::StampTie);
        }
        if let Some(stored) = stored.filter(|stored| keeps(self.table.planted(), stored, &version)) {
            counters.writes_stale += 1;
            counters.mark(if *stored == version { Mark::VersionAgain } else { Mark::VersionOlder });
            return false;
        }
        let store_key = store_codec::data_key(&key);
        // Deletes are carried out after the puts: one of an earlier sweep in this output would undo this put.
        durable.deletes.retain(|deleted| *deleted != store_key);
        if !(planted!(self.table.planted(), UpdateNotLogged) && stored.is_some()) {
            durable.puts.push((store_key, store_codec::data_value(&version)));
        }
        let applied = self.table.merge(key, version);
        assert!(applied, "the table takes what is newer than it has");
        counters.writes_applied += 1;
        true
    }

    /// One step of the sweep over all keys: removes expired tombstones.
    pub(crate) fn sweep(&mut self, wall: WallTime, durable: &mut WriteBatch, counters: &mut Counters) {
        let mut expired = Vec::new();
        let mut last = None;
        let mut looked_at = 0;
        for (key, version) in self.table.scan(self.sweep_after.as_ref()).take(SWEEP_KEYS) {
            looked_at += 1;
            last = Some(key);
            if self.is_expired(version, wall) {
                expired.push(key.clone());
            }
        }
        self.sweep_after = if looked_at == SWEEP_KEYS { last.cloned() } else { None };
        if self.sweep_after.is_some() {
            counters.mark(Mark::SweepInPieces);
        }
        for key in expired {
            let store_key = store_codec::data_key(&key);
            // A put of this output is replaced by the removal, which comes after it anyway.
            durable.deletes.push(store_key);
            self.table.remove(&key);
            counters.tombstones_removed += 1;
            counters.mark(Mark::TombstoneCollected);
        }
    }

    /// Entries in key order behind `after`: at most `limit`, at most [`SCAN_BYTES`] of keys and values (but at least one
    /// entry), and whether there are more.
    pub(crate) fn scan(&self, after: Option<&Key>, limit: usize) -> (Vec<LocalEntry>, bool) {
        let mut entries = Vec::new();
        let mut bytes = 0;
        for (key, version) in self.table.scan(after) {
            bytes += key.0.len() + version.value.as_ref().map_or(0, |Value(value)| value.len()) + 16;
            if entries.len() == limit || (bytes > SCAN_BYTES && !entries.is_empty()) {
                return (entries, true);
            }
            entries.push(LocalEntry { key: key.clone(), stamp: version.stamp, value: version.value.clone() });
        }
        (entries, false)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;
    use crate::NodeId;
    use crate::ring::Ring;

    const GRACE_MS: u64 = 10;
    const MS: u64 = 1_000_000;

    fn store() -> Store {
        let ring = Ring::new(&[NodeId(1)], 2, 1);
        Store::new(Table::new(&ring.owned_token_ranges(NodeId(1)), 2), GRACE_MS)
    }
    fn key(name: &str) -> Key {
        Key(name.as_bytes().to_vec())
    }
    fn tombstone(ms: u64) -> Version {
        Version { stamp: WallTime(ms * MS), value: None }
    }
    fn value(ms: u64) -> Version {
        Version { stamp: WallTime(ms * MS), value: Some(Value(vec![1])) }
    }

    #[test]
    fn merging_keeps_the_newest_and_makes_only_changes_durable() {
        let (mut store, mut durable, mut counters) = (store(), WriteBatch::default(), Counters::default());
        let table =
            [(value(5), true), (value(5), false), (value(4), false), (tombstone(5), false), (tombstone(6), true)];
        for (version, applied) in table {
            assert_eq!(store.merge(WallTime(6 * MS), key("k"), version, &mut durable, &mut counters), applied);
        }
        assert_eq!(durable.puts.len(), 2);
        assert_eq!((counters.writes_applied, counters.writes_stale), (2, 3));
    }

    #[test]
    fn an_expired_tombstone_removes_an_older_value_but_is_not_taken_for_nothing() {
        let (mut store, mut durable, mut counters) = (store(), WriteBatch::default(), Counters::default());
        let wall = WallTime(100 * MS);
        assert!(!store.merge(wall, key("absent"), tombstone(50), &mut durable, &mut counters));
        assert_eq!((counters.tombstones_refused, durable.is_empty()), (1, true));
        assert!(store.merge(wall, key("present"), value(40), &mut durable, &mut counters));
        assert!(store.merge(wall, key("present"), tombstone(50), &mut durable, &mut counters));
        assert!(store.merge(wall, key("absent"), tombstone(90), &mut durable, &mut counters), "just within the grace");
    }

    #[test]
    fn the_sweep_removes_expired_tombstones_in_bounded_steps_and_nothing_else() {
        let (mut store, mut counters) = (store(), Counters::default());
        let total = SWEEP_KEYS + 10;
        let mut durable = WriteBatch::default();
        for i in 0..total {
            store.merge(WallTime(0), key(&format!("dead {i:05}")), tombstone(1), &mut durable, &mut counters);
        }
        store.merge(WallTime(0), key("a value"), value(1), &mut durable, &mut counters);
        store.merge(WallTime(0), key("z fresh"), tombstone(15), &mut durable, &mut counters);
        let wall = WallTime(20 * MS);
        let steps: Vec<usize> = (0..3)
            .map(|_| {
                let mut durable = WriteBatch::default();
                store.sweep(wall, &mut durable, &mut counters);
                durable.deletes.len()
            })
            .collect();
        assert_eq!(steps, vec![SWEEP_KEYS - 1, 11, 0], "the first step looks at the value, too");
        assert_eq!(store.len(), 2);
        assert_eq!(counters.tombstones_removed, total as u64);
    }

    #[test]
    fn a_put_after_a_sweep_of_the_same_output_survives_it() {
        let (mut store, mut counters) = (store(), Counters::default());
        store.merge(WallTime(0), key("k"), tombstone(1), &mut WriteBatch::default(), &mut counters);
        let mut durable = WriteBatch::default();
        store.sweep(WallTime(20 * MS), &mut durable, &mut counters);
        assert_eq!(durable.deletes.len(), 1);
        store.merge(WallTime(20 * MS), key("k"), value(20), &mut durable, &mut counters);
        assert_eq!((durable.puts.len(), durable.deletes.len()), (1, 0));
    }

    #[test]
    fn a_scan_goes_on_where_it_stopped_and_is_bounded_in_entries_and_bytes() {
        let (mut store, mut durable, mut counters) = (store(), WriteBatch::default(), Counters::default());
        for i in 0..40 {
            let version = Version { stamp: WallTime(i), value: Some(Value(vec![0; Value::LENGTH_MAX])) };
            store.merge(WallTime(0), key(&format!("{i:02}")), version, &mut durable, &mut counters);
        }
        let mut seen = Vec::new();
        let mut after: Option<Key> = None;
        loop {
            let (entries, more) = store.scan(after.as_ref(), 5);
            assert!(entries.len() <= 5);
            seen.extend(entries.iter().map(|entry| entry.stamp.0));
            after = entries.last().map(|entry| entry.key.clone());
            if !more {
                break;
            }
        }
        assert_eq!(seen, (0..40).collect::<Vec<u64>>());
        assert_eq!(store.scan(None, 1_000).0.len(), SCAN_BYTES / (Value::LENGTH_MAX + 18));
    }
}
