//! A node's disk: batches gather, one group at a time is synced, and only what was synced is sure to survive a power cut.
//!
//! ```text
//! gather -> gathering --sync begins--> in flight --synced--> content
//!               |                          |
//!             lost with the process      crash: the page cache keeps it
//!                                        power cut: lost; torn: a drawn number of its first batches made it
//! ```
//!
//! A batch is there as a whole or not at all, and never without those before it, as the store of a real node has it.

use std::collections::BTreeMap;

use hearsay_core::{RecoveredState, WriteBatch};

/// Orders batches: a ticket is durable when it, and all lower ones, are.
pub(super) type Ticket = u64;

/// What the end of a process left of the batches that were not synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CrashLoss {
    /// Batches that made it although their sync had not ended.
    pub(super) kept: u64,
    /// Batches that are gone.
    pub(super) lost: u64,
}

/// The disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    content: BTreeMap<Vec<u8>, Vec<u8>>,
    in_flight: Vec<WriteBatch>,
    gathering: Vec<WriteBatch>,
    last: Ticket,
    durable: Ticket,
}

impl Disk {
    /// Takes a batch; its ticket.
    pub(super) fn gather(&mut self, batch: WriteBatch) -> Ticket {
        self.gathering.push(batch);
        self.last += 1;
        self.last
    }

    /// The ticket of the last batch: what an output without one has to wait for.
    pub(super) fn last(&self) -> Ticket {
        self.last
    }

    /// The last ticket that is durable.
    pub(super) fn durable(&self) -> Ticket {
        self.durable
    }

    /// Whether this ticket, and all before, are durable.
    pub(super) fn is_durable(&self, ticket: Ticket) -> bool {
        ticket <= self.durable
    }

    /// Begins a sync of all that has gathered, unless there is nothing or one is under way.
    pub(super) fn begin_sync(&mut self) -> bool {
        if !self.in_flight.is_empty() || self.gathering.is_empty() {
            return false;
        }
        std::mem::swap(&mut self.in_flight, &mut self.gathering);
        true
    }

    /// The sync under way has ended; how many batches it made durable.
    pub(super) fn synced(&mut self) -> u64 {
        let count = self.in_flight.len() as u64;
        assert!(count > 0, "no sync is under way");
        for batch in std::mem::take(&mut self.in_flight) {
            self.apply(batch);
        }
        self.durable += count;
        count
    }

    /// Whether there are batches that are not synced.
    pub(super) fn has_unsynced(&self) -> bool {
        !self.in_flight.is_empty() || !self.gathering.is_empty()
    }

    /// The process dies: the system still has what it was handed.
    pub(super) fn crash(&mut self) -> CrashLoss {
        self.lose(usize::MAX)
    }

    /// The process dies, and its machine with it. `draw`, of a torn one, chooses below its argument.
    pub(super) fn power_cut(&mut self, draw: Option<impl FnOnce(usize) -> usize>) -> CrashLoss {
        let kept = draw.map_or(0, |draw| draw(self.in_flight.len() + 1));
        self.lose(kept)
    }

    /// Keeps so many of the batches in flight.
    fn lose(&mut self, kept: usize) -> CrashLoss {
        let in_flight = std::mem::take(&mut self.in_flight);
        let unsynced = (in_flight.len() + self.gathering.len()) as u64;
        let kept = kept.min(in_flight.len());
        for batch in in_flight.into_iter().take(kept) {
            self.apply(batch);
        }
        self.gathering.clear();
        self.durable = self.last;
        CrashLoss { kept: kept as u64, lost: unsynced - kept as u64 }
    }

    /// Removes everything; how many entries and bytes there were. Nobody may be writing.
    pub(super) fn wipe(&mut self) -> (u64, u64) {
        assert!(self.in_flight.is_empty() && self.gathering.is_empty(), "a disk is wiped after its process has died");
        let bytes = self.content.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
        let entries = self.content.len() as u64;
        self.content.clear();
        (entries, bytes)
    }

    /// Entries that are durable.
    pub(super) fn entries(&self) -> u64 {
        self.content.len() as u64
    }

    /// What a process finds when it starts.
    pub(super) fn recover(&self) -> RecoveredState {
        RecoveredState { entries: self.content.iter().map(|(key, value)| (key.clone(), value.clone())).collect() }
    }

    fn apply(&mut self, batch: WriteBatch) {
        self.content.extend(batch.puts);
        for key in &batch.deletes {
            self.content.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: u8) -> WriteBatch {
        WriteBatch { puts: vec![(vec![key], vec![key])], deletes: vec![] }
    }
    fn keys(disk: &Disk) -> Vec<u8> {
        disk.recover().entries.iter().map(|(key, _)| key[0]).collect()
    }

    #[test]
    fn one_group_at_a_time_becomes_durable_in_order() {
        let mut disk = Disk::default();
        assert!(!disk.begin_sync());
        let first = disk.gather(put(1));
        assert!(disk.begin_sync());
        let second = disk.gather(put(2));
        assert!(!disk.begin_sync(), "a sync is under way");
        assert_eq!(disk.synced(), 1);
        assert!(disk.is_durable(first) && !disk.is_durable(second));
        assert!(disk.begin_sync());
        let delete = disk.gather(WriteBatch { puts: vec![], deletes: vec![vec![1]] });
        disk.synced();
        assert!(disk.is_durable(second) && !disk.is_durable(delete));
        assert_eq!(keys(&disk), [1, 2]);
        disk.begin_sync();
        disk.synced();
        assert_eq!(keys(&disk), [2]);
    }

    #[test]
    fn a_crash_keeps_what_was_in_flight_and_a_power_cut_at_most_a_drawn_beginning_of_it() {
        type End = fn(&mut Disk) -> CrashLoss;
        let ends: [(usize, End); 5] = [
            (0, |disk| disk.power_cut(None::<fn(usize) -> usize>)),
            (0, |disk| disk.power_cut(Some(|_| 0))),
            (1, |disk| disk.power_cut(Some(|_| 1))),
            (2, |disk| disk.power_cut(Some(|below| below - 1))),
            (2, Disk::crash),
        ];
        for (kept, end) in ends {
            let mut disk = Disk::default();
            disk.gather(put(0));
            disk.begin_sync();
            disk.synced();
            disk.gather(put(1));
            disk.gather(put(2));
            disk.begin_sync();
            disk.gather(put(3));
            assert!(disk.has_unsynced());
            let loss = end(&mut disk);
            assert!(!disk.has_unsynced());
            assert_eq!(loss, CrashLoss { kept: kept as u64, lost: 3 - kept as u64 });
            assert_eq!(keys(&disk), (0..=kept as u8).collect::<Vec<_>>());
            assert!(disk.is_durable(disk.last()), "the next process waits for none of its predecessor's");
            assert_eq!(disk.wipe(), (kept as u64 + 1, 2 * (kept as u64 + 1)));
            assert_eq!(disk.entries(), 0);
        }
    }
}
