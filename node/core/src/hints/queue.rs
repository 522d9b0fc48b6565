//! The queues: one per owner, in memory and on the way to the disk.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::counters::Counters;
use crate::{Key, NodeId, Planted, Version, WallTime, WriteBatch, planted, store_codec};

/// Bytes that a record takes besides its key and value.
const RECORD_BYTES: u64 = 64;
/// Records looked at in one step of the sweep.
const SWEEP_RECORDS: usize = 512;

/// Who made the record, and so what it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A coordinator; it counts for nothing but `any`.
    Hint,
    /// A stand-in; it was counted, and is read.
    StandIn,
}

/// A version kept for another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) version: Version,
    /// When its life began: the stamp of the version, or the time it was kept if that was earlier.
    pub(crate) born: WallTime,
    /// The grace of tombstones when it was kept.
    pub(crate) ttl_ms: u64,
    pub(crate) kind: Kind,
}

impl Held {
    fn bytes(&self, key: &Key) -> u64 {
        (key.0.len() + self.version.value.as_ref().map_or(0, |value| value.0.len())) as u64 + RECORD_BYTES
    }
}

/// What became of a version that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It, or a greater one, is kept.
    Kept,
    /// The queue of its owner is full.
    Full,
    /// Its owner has been out of reach for too long.
    OutsideWindow,
    /// It is older than the time to live.
    Expired,
}

#[derive(Debug, Default)]
struct Queue {
    held: BTreeMap<Key, Held>,
    bytes: u64,
    /// When the first record came since the owner was last in reach.
    since: Option<WallTime>,
}

/// What is kept for the other nodes.
#[derive(Debug)]
pub(crate) struct HintQueues {
    queues: BTreeMap<NodeId, Queue>,
    bytes_max: u64,
    window_ms: u64,
    grace_ms: u64,
    /// Where the next step of the sweep goes on.
    sweep_after: Option<(NodeId, Key)>,
    planted: Planted,
}

impl HintQueues {
    pub(crate) fn new(bytes_max: u64, window_ms: u64, grace_ms: u64, planted: Planted) -> HintQueues {
        HintQueues { queues: BTreeMap::new(), bytes_max, window_ms, grace_ms, sweep_after: None, planted }
    }

    /// Another length of the window, for hints from now on.
    pub(crate) fn set_window(&mut self, window_ms: u64) {
        self.window_ms = window_ms;
    }

    /// A record of the store at boot, durable already.
    pub(crate) fn recover(&mut self, owner: NodeId, key: Key, held: Held) {
        let queue = self.queues.entry(owner).or_default();
        queue.bytes += held.bytes(&key);
        queue.since = Some(queue.since.map_or(held.born, |since| since.min(held.born)));
        queue.held.insert(key, held);
    }

    /// Keeps a version for its owner, durably with the output being made. Stand-ins' copies know no window: they were
    /// asked for.
    #[allow(clippy::too_many_arguments)] // What it is, when, and where the effects go.
    pub(crate) fn put(
        &mut self,
        owner: NodeId,
        key: &Key,
        version: &Version,
        kind: Kind,
        wall: WallTime,
        durable: &mut WriteBatch,
        counters: &mut Counters,
    ) -> Put {
        let born = wall.min(version.stamp);
        let mut held = Held { version: version.clone(), born, ttl_ms: self.grace_ms, kind };
        if self.is_expired(&held, wall) {
            counters.hints_expired += 1;
            return Put::Expired;
        }
        let (window_ms, bytes_max) = (self.window_ms, self.bytes_max);
        let queue = self.queues.entry(owner).or_default();
        let since = *queue.since.get_or_insert(wall);
        if kind == Kind::Hint && wall.0.saturating_sub(since.0) / 1_000_000 > window_ms {
            counters.hints_outside_window += 1;
            return Put::OutsideWindow;
        }
        let former = queue.held.get(key);
        if let Some(former) = former {
            if former.version >= *version && former.kind >= kind {
                return Put::Kept;
            }
            if former.version >= *version || planted!(self.planted, HintKeepsOldest) {
                held.version = former.version.clone();
                held.born = former.born;
            }
            held.kind = kind.max(former.kind);
        }
        let bytes = queue.bytes - former.map_or(0, |former| former.bytes(key)) + held.bytes(key);
        if bytes > bytes_max {
            match kind {
                Kind::Hint => counters.hints_dropped += 1,
                Kind::StandIn => counters.stand_in_writes_refused += 1,
            }
            return Put::Full;
        }
        queue.bytes = bytes;
        let store_key = store_codec::hint_key(owner, key);
        // Deletes are carried out after the puts: one of this output would undo this put.
        durable.deletes.retain(|deleted| *deleted != store_key);
        durable.puts.push((store_key, store_codec::hint_value(&held)));
        queue.held.insert(key.clone(), held);
        match kind {
            Kind::Hint => counters.hints_stored += 1,
            Kind::StandIn => counters.stand_in_writes += 1,
        }
        Put::Kept
    }

    /// What is kept under a key that can be read: the greatest version whoever owns it.
    pub(crate) fn newest(&self, key: &Key, wall: WallTime) -> Option<&Version> {
        let held = self.queues.values().filter_map(|queue| queue.held.get(key));
        held.filter(|held| !self.is_expired(held, wall)).map(|held| &held.version).max()
    }

    /// The next records for an owner, in key order, behind `after`: at most so many, and so many bytes of them (but at
    /// least one). The expired are left out.
    pub(crate) fn batch(
        &self,
        owner: NodeId,
        records_max: usize,
        bytes_max: u64,
        wall: WallTime,
    ) -> Vec<(Key, Version)> {
        let mut bytes = 0;
        let held = self.queues.get(&owner).into_iter().flat_map(|queue| &queue.held);
        held.filter(|(_, held)| !self.is_expired(held, wall))
            .filter(|(_, held)| !(planted!(self.planted, StandInNeverHandsOver) && held.kind == Kind::StandIn))
            .take(records_max)
            .take_while(|(key, held)| {
                let first = bytes == 0;
                bytes += held.bytes(key);
                first || bytes <= bytes_max
            })
            .map(|(key, held)| (key.clone(), held.version.clone()))
            .collect()
    }

    /// Removes a record if it still holds this version; a greater one has come meanwhile otherwise, and stays. The record.
    pub(crate) fn remove(
        &mut self,
        owner: NodeId,
        key: &Key,
        version: &Version,
        durable: &mut WriteBatch,
    ) -> Option<Held> {
        let planted = self.planted;
        let queue = self.queues.get_mut(&owner)?;
        queue.held.get(key).filter(|held| held.version == *version || planted!(planted, HintAckRemovesNewer))?;
        let held = queue.held.remove(key)?;
        queue.bytes -= held.bytes(key);
        durable.deletes.push(store_codec::hint_key(owner, key));
        Some(held)
    }

    /// The owner was heard of: the window begins anew.
    pub(crate) fn in_reach(&mut self, owner: NodeId) {
        if let Some(queue) = self.queues.get_mut(&owner) {
            queue.since = None;
            if queue.held.is_empty() {
                self.queues.remove(&owner);
            }
        }
    }

    /// One step of the sweep over all records: removes the expired. Answers how many stand-ins' copies were among them:
    /// writes that were counted.
    pub(crate) fn sweep(&mut self, wall: WallTime, durable: &mut WriteBatch, counters: &mut Counters) -> u64 {
        let mut expired = Vec::new();
        let (mut looked_at, mut last) = (0, None);
        let (first, after) = match &self.sweep_after {
            Some((owner, key)) => (*owner, Some(key.clone())),
            None => (NodeId(0), None),
        };
        'step: for (owner, queue) in self.queues.range(first..) {
            let after = after.as_ref().filter(|_| *owner == first);
            let bound = after.map_or(core::ops::Bound::Unbounded, core::ops::Bound::Excluded);
            for (key, held) in queue.held.range::<Key, _>((bound, core::ops::Bound::Unbounded)) {
                looked_at += 1;
                last = Some((*owner, key.clone()));
                if self.is_expired(held, wall) {
                    expired.push((*owner, key.clone(), held.version.clone()));
                }
                if looked_at == SWEEP_RECORDS {
                    break 'step;
                }
            }
        }
        self.sweep_after = last.filter(|_| looked_at == SWEEP_RECORDS);
        let mut stand_ins = 0;
        for (owner, key, version) in expired {
            let held = self.remove(owner, &key, &version, durable).expect("seen just now");
            counters.hints_expired += 1;
            stand_ins += u64::from(held.kind == Kind::StandIn);
        }
        stand_ins
    }

    /// Owners that something is kept for, with records and bytes.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (NodeId, u64, u64)> + '_ {
        let queues = self.queues.iter().filter(|(_, queue)| !queue.held.is_empty());
        queues.map(|(owner, queue)| (*owner, queue.held.len() as u64, queue.bytes))
    }

    pub(crate) fn is_empty(&self, owner: NodeId) -> bool {
        self.queues.get(&owner).is_none_or(|queue| queue.held.is_empty())
    }

    /// Takes out everything kept for owners that are no replicas of its key.
    pub(crate) fn take_misplaced(
        &mut self,
        is_replica: impl Fn(NodeId, &Key) -> bool,
        durable: &mut WriteBatch,
    ) -> Vec<(Key, Held)> {
        let misplaced: Vec<(NodeId, Key, Version)> = self
            .queues
            .iter()
            .flat_map(|(owner, queue)| queue.held.iter().map(move |(key, held)| (*owner, key, held)))
            .filter(|(owner, key, _)| !is_replica(*owner, key))
            .map(|(owner, key, held)| (owner, key.clone(), held.version.clone()))
            .collect();
        let taken = misplaced.into_iter().map(|(owner, key, version)| {
            let held = self.remove(owner, &key, &version, durable).expect("seen just now");
            (key, held)
        });
        let taken = taken.collect();
        self.queues.retain(|_, queue| !queue.held.is_empty());
        taken
    }

    fn is_expired(&self, held: &Held, wall: WallTime) -> bool {
        if planted!(self.planted, ExpiredHintSent) {
            return false;
        }
        let age_ms = wall.0.saturating_sub(held.born.0) / 1_000_000;
        // At the very grace a tombstone may go already.
        age_ms >= held.ttl_ms.min(self.grace_ms)
    }
}
