//! The dot log: which key each dot belongs to, as long as some replica of the key may not know the dot.
//!
//! It is bounded. What does not fit any more is dropped, the lowest dots first, and the drop is remembered: a node that lacks such
//! a dot can't be served from this log and has to compare everything, by Merkle trees.

use alloc::collections::BTreeMap;
use core::ops::Bound;

use super::{Dot, NodeClock, VersionVector};
use crate::Key;

/// A dot log.
#[derive(Clone, Debug, Default)]
pub struct DotLog {
    entries: BTreeMap<Dot, Key>,
    /// Per actor, the highest dot that was dropped.
    dropped: VersionVector,
    /// Counts the drops. A node that compared everything after the last one needs nothing of them.
    mark: u64,
    /// Where this process began to count: which dots were dropped before is not known any more.
    mark_recovered: u64,
}

impl DotLog {
    /// An empty log that goes on with the count of a former process.
    pub fn after_mark(mark: u64) -> DotLog {
        DotLog { mark, mark_recovered: mark, ..DotLog::default() }
    }

    /// Dots logged.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no dot is logged.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Counts the drops so far.
    pub fn mark(&self) -> u64 {
        self.mark
    }

    /// Notes whose dot it is.
    pub fn insert(&mut self, dot: Dot, key: Key) {
        self.entries.insert(dot, key);
    }

    /// Forgets a dot that everybody knows whom it concerns.
    pub fn remove(&mut self, dot: Dot) -> Option<Key> {
        self.entries.remove(&dot)
    }

    /// Drops the lowest dot although somebody may not know it.
    pub fn drop_first(&mut self) -> Option<Dot> {
        let (dot, _) = self.entries.pop_first()?;
        self.dropped.raise(dot.actor, dot.counter);
        self.mark += 1;
        Some(dot)
    }

    /// Whether a node with this clock lacks nothing that was dropped; `compared` is the mark it last compared everything at.
    pub fn can_serve(&self, clock: &NodeClock, compared: Option<u64>) -> bool {
        compared.is_some_and(|mark| {
            let of_this_process = mark >= self.mark_recovered;
            let covers = |(actor, counter)| clock.base(actor) >= counter;
            mark == self.mark || (of_this_process && self.dropped.iter().all(covers))
        })
    }

    /// The dots behind `after` that the clock lacks, ascending, with their keys. What lies below the clock's bases is skipped
    /// without a look.
    pub fn missing<'a>(
        &'a self,
        clock: &'a NodeClock,
        after: Option<Dot>,
    ) -> impl Iterator<Item = (Dot, &'a Key)> + use<'a> {
        let mut begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        core::iter::from_fn(move || {
            loop {
                let (&dot, key) = self.entries.range((begin, Bound::Unbounded)).next()?;
                let base = clock.base(dot.actor);
                if dot.counter <= base {
                    begin = Bound::Excluded(Dot { counter: base, ..dot });
                    continue;
                }
                begin = Bound::Excluded(dot);
                if !clock.contains(dot) {
                    return Some((dot, key));
                }
            }
        })
    }

    /// Every dot behind `after`, ascending, with its key.
    pub fn iter_after(&self, after: Option<Dot>) -> impl Iterator<Item = (Dot, &Key)> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((begin, Bound::Unbounded)).map(|(dot, key)| (*dot, key))
    }
}
