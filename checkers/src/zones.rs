//! Zones of versions: linearizability of a register with unique values, and how far time must be shifted to reach it.
//!
//! The operations on one version, its write and the reads of it, are over for the first time at `first_end` and begin for
//! the last time at `last_begin`. Version a comes before b when `first_end(a) < last_begin(b)`. A register is
//! linearizable if and only if no two versions come before each other (Gibbons and Korach 1997; longer cycles of such an
//! order hold one of two), and no read was over before its write began. Delta-atomicity (Golab, Li, Shah, *Analyzing
//! consistency properties for fun and profit*, 2011): the smallest time by which the beginnings of all reads must be put
//! earlier so that it holds. O(n log n). Left out: deletes (a key with any is not judged here).

use crate::causal::{INITIAL, Impossible, NONE, Node, UNKNOWN};
use crate::registers::{OPEN, RegisterOp, Registers};

/// Beginning or end of the initial version: before everything.
const BEFORE_ALL: i64 = i64::MIN / 4;
const NEVER: i64 = i64::MAX / 4;

/// What is known of a version.
#[derive(Clone, Copy, Debug)]
struct Zone {
    first_end: i64,
    written: i64,
    /// The last beginning of a read.
    last_read: i64,
    /// It counts: a read returned it, or its write is certain.
    counts: bool,
}

impl Zone {
    /// With reads shifted by `delta`.
    fn last_begin(&self, delta: i64) -> i64 {
        self.written.max(self.last_read.saturating_sub(delta))
    }
}

/// The versions of one key.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    /// By first end.
    zones: Vec<Zone>,
}

/// The versions of every key, of the nodes of a history without impossible reads.
pub(crate) fn zones_by_key(registers: &Registers, nodes: &[Node], impossible: &[Impossible]) -> Vec<Zones> {
    assert!(impossible.is_empty(), "every read is of a version");
    let time = |time: u64| if time == OPEN { NEVER } else { i64::try_from(time).unwrap_or(NEVER) };
    let op = |node: &Node| -> &RegisterOp { &registers.ops[node.op as usize] };
    let mut zone_of = vec![NONE; nodes.len()];
    let mut by_key: Vec<Zones> = (0..registers.keys.len())
        .map(|_| Zones {
            zones: vec![Zone { first_end: BEFORE_ALL, written: BEFORE_ALL, last_read: BEFORE_ALL, counts: true }],
        })
        .collect();
    for (at, node) in nodes.iter().enumerate().filter(|(_, node)| !node.is_read) {
        let zones = &mut by_key[node.key as usize].zones;
        zone_of[at] = zones.len() as u32;
        let (begin, end) = (time(op(node).invoked), time(op(node).completed));
        zones.push(Zone { first_end: end, written: begin, last_read: BEFORE_ALL, counts: end != NEVER });
    }
    for node in nodes.iter().filter(|node| node.is_read && node.version != UNKNOWN) {
        let zones = &mut by_key[node.key as usize].zones;
        let zone = if node.version == INITIAL { 0 } else { zone_of[node.version as usize] as usize };
        let zone = &mut zones[zone];
        zone.counts = true;
        zone.first_end = zone.first_end.min(time(op(node).completed));
        zone.last_read = zone.last_read.max(time(op(node).invoked));
    }
    for zones in &mut by_key {
        zones.zones.retain(|zone| zone.counts);
        zones.zones.sort_unstable_by_key(|zone| zone.first_end);
    }
    by_key
}

impl Zones {
    /// Whether no two versions come before each other when reads begin `delta` earlier.
    pub(crate) fn is_atomic(&self, delta: u64) -> bool {
        self.fits(i64::try_from(delta).unwrap_or(NEVER), 0)
    }

    /// Whether no two versions come before each other, even if what ends when another begins is before that.
    pub(crate) fn is_strictly_atomic(&self) -> bool {
        self.fits(0, 1)
    }

    fn fits(&self, delta: i64, touching: i64) -> bool {
        // The latest and second latest last beginning among versions whose first end is early enough.
        let mut latest = (i64::MIN, usize::MAX);
        let mut second = i64::MIN;
        // Versions in the order of their last beginnings see more and more others come before them.
        let mut by_begin: Vec<(i64, usize)> =
            self.zones.iter().enumerate().map(|(at, zone)| (zone.last_begin(delta), at)).collect();
        by_begin.sort_unstable();
        let mut next = 0;
        for (begin, at) in by_begin {
            while next < self.zones.len() && self.zones[next].first_end < begin + touching {
                let other = self.zones[next].last_begin(delta);
                if other > latest.0 {
                    second = latest.0;
                    latest = (other, next);
                } else {
                    second = second.max(other);
                }
                next += 1;
            }
            let other = if latest.1 == at { second } else { latest.0 };
            if other + touching > self.zones[at].first_end {
                return false;
            }
        }
        true
    }

    /// The smallest shift that makes it atomic; `None`: none does.
    pub(crate) fn delta(&self) -> Option<u64> {
        if self.is_atomic(0) {
            return Some(0);
        }
        let (mut low, mut high) = (0, NEVER as u64 / 2);
        if !self.is_atomic(high) {
            return None;
        }
        while high - low > 1 {
            let middle = u64::midpoint(low, high);
            *(if self.is_atomic(middle) { &mut high } else { &mut low }) = middle;
        }
        Some(high)
    }
}
