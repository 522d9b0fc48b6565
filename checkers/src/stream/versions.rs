//! The versions of one register while a history goes by: those that a later operation may still change, and no others.
//!
//! Of each version two moments matter ([`crate::zones`]): when an operation on it ended first, and when one began last.
//! Version a comes before b when a ended first before b began last; a register is linearizable if and only if no two come
//! before each other and every read is of a version that had begun to be written. A version is *closed* when another one
//! ended before everything that is still to come begins, and began after this one had ended: whoever reads it later breaks
//! the model, so nothing has to be remembered for it but that its value is not known any more. What is compared with closed
//! versions later could only be something that is closed by then too, or that comes after the two closed versions which
//! began last; these are kept.
//!
//! Times that touch count as an order here: moments are doubled, and beginnings one later than ends of the same time. What
//! fits that fits every model; what does not has to be looked at with all operations at hand.
//!
//! Memory: a version of 48 bytes and a slot for each that is under way, not read yet though it may be, or not yet closed.

use crate::table::{Table, hash_pair};

/// No first end yet.
const NEVER: u64 = u64::MAX;

/// A moment at which something begins, comparable with ends.
pub(super) fn beginning(time: u64) -> u64 {
    time * 2 + 1
}

/// A moment at which something ends.
pub(super) fn end(time: u64) -> u64 {
    time * 2
}

#[derive(Clone, Copy, Debug)]
struct Version {
    value: u64,
    /// When its write began, nanoseconds; [`NEVER`]: no write of it was seen yet.
    written: u64,
    /// First end of an operation on it.
    first_end: u64,
    /// Last beginning of an operation on it.
    last_begin: u64,
    /// Its write is under way.
    open: bool,
    /// Its write certainly did not happen.
    failed: bool,
}

impl Version {
    /// A read returned it, or its write is certain.
    fn counts(&self) -> bool {
        self.first_end != NEVER
    }
}

/// What does not fit, as values; `None`: the initial version. One value: a read of it is impossible, or it was written twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misfit(pub(super) Vec<Option<u64>>);

/// Moments between which a history is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Horizon {
    /// All that is still to come has this time or a later one, nanoseconds.
    pub(super) events: u64,
    /// Reads that end from now on began then or later, nanoseconds.
    pub(super) reads: u64,
}

/// The versions of one register.
#[derive(Debug)]
pub(super) struct Versions {
    live: Vec<Version>,
    table: Table,
    /// Of the closed versions the two that began last.
    closed: Vec<Version>,
    /// Last beginning of a read of the initial version; 0: there is none.
    initial_read: u64,
    /// First end of any version.
    settled: u64,
    limit: usize,
    limit_min: usize,
}

impl Versions {
    /// None yet; below `limit_min` nothing is cleared away.
    pub(super) fn new(limit_min: usize) -> Versions {
        Versions {
            live: Vec::new(),
            table: Table::default(),
            closed: Vec::new(),
            initial_read: 0,
            settled: NEVER,
            limit: limit_min,
            limit_min,
        }
    }

    /// The version of a value, a new one if there is none.
    fn version(&mut self, value: u64) -> &mut Version {
        let (live, new) = (&self.live, self.live.len() as u32);
        let is_it = |at: u32| live[at as usize].value == value;
        let hash_of = |at: u32| hash_pair(live[at as usize].value, 0);
        let at = self.table.find_or_insert(hash_pair(value, 0), new, is_it, hash_of);
        if at == new {
            let (written, first_end, last_begin) = (NEVER, NEVER, 0);
            self.live.push(Version { value, written, first_end, last_begin, open: false, failed: false });
        }
        &mut self.live[at as usize]
    }

    /// A write begins.
    pub(super) fn begin_write(&mut self, value: u64, invoked: u64) -> Result<(), Misfit> {
        let version = self.version(value);
        if version.written != NEVER || version.first_end < beginning(invoked) {
            return Err(Misfit(vec![Some(value)]));
        }
        version.written = invoked;
        version.last_begin = version.last_begin.max(beginning(invoked));
        version.open = true;
        Ok(())
    }

    /// A write ends at that time, nanoseconds; `None`: nobody knows when, or whether.
    pub(super) fn end_write(&mut self, value: u64, completed: Option<u64>) {
        let version = self.version(value);
        version.open = false;
        if let Some(completed) = completed {
            version.first_end = version.first_end.min(end(completed));
            self.settled = self.settled.min(end(completed));
        }
    }

    /// A write ends that did not happen.
    pub(super) fn fail_write(&mut self, value: u64) -> Result<(), Misfit> {
        let version = self.version(value);
        (version.open, version.failed) = (false, true);
        if version.counts() { Err(Misfit(vec![Some(value)])) } else { Ok(()) }
    }

    /// A read ends. Returns when the write of what it returned began, nanoseconds, if that is known.
    pub(super) fn read(&mut self, value: Option<u64>, invoked: u64, completed: u64) -> Result<Option<u64>, Misfit> {
        let Some(value) = value else {
            self.initial_read = self.initial_read.max(beginning(invoked));
            return Ok(None);
        };
        self.settled = self.settled.min(end(completed));
        let version = self.version(value);
        version.last_begin = version.last_begin.max(beginning(invoked));
        version.first_end = version.first_end.min(end(completed));
        let is_known = version.written != NEVER;
        if version.failed || (is_known && end(completed) < beginning(version.written)) {
            return Err(Misfit(vec![Some(value)]));
        }
        Ok(is_known.then_some(version.written))
    }

    /// Whether there are so many versions that some should be closed.
    pub(super) fn are_many(&self) -> bool {
        self.live.len() >= self.limit
    }

    /// Versions that are remembered.
    pub(super) fn len(&self) -> usize {
        self.live.len() + self.closed.len()
    }

    /// Compares what there is, and forgets what is closed.
    pub(super) fn clear_away(&mut self, horizon: Horizon) -> Result<(), Misfit> {
        let unwritten = |version: &&Version| version.written == NEVER && version.first_end < end(horizon.events);
        if let Some(version) = self.live.iter().find(unwritten) {
            return Err(Misfit(vec![Some(version.value)]));
        }
        if self.settled < self.initial_read {
            let first = self.live.iter().chain(&self.closed).min_by_key(|version| version.first_end);
            return Err(Misfit([None].into_iter().chain(first.map(|first| Some(first.value))).collect()));
        }
        let mut counting: Vec<Version> = self.live.iter().filter(|version| version.counts()).copied().collect();
        counting.extend_from_slice(&self.closed);
        if let Some((one, other)) = crossing(&mut counting) {
            return Err(Misfit(vec![Some(one), Some(other)]));
        }
        // What closes others: of the versions that ended before all that is to come, the two that began last.
        let over = beginning(horizon.reads);
        let mut latest = self.closed.clone();
        for version in counting.iter().filter(|version| version.first_end < over) {
            keep_latest(&mut latest, *version);
        }
        let closed_before = |version: &Version| {
            let other = latest.iter().find(|latest| latest.value != version.value);
            other.is_some_and(|other| other.last_begin > version.first_end)
        };
        let mut closed = std::mem::take(&mut self.closed);
        self.live.retain(|version| {
            let is_over = version.first_end < over && version.last_begin < end(horizon.events);
            let is_closed = !version.open && version.written != NEVER && is_over && closed_before(version);
            if is_closed {
                keep_latest(&mut closed, *version);
            }
            !is_closed && !version.failed
        });
        self.closed = closed;
        self.table.clear();
        for at in 0..self.live.len() {
            let live = &self.live;
            let hash_of = |at: u32| hash_pair(live[at as usize].value, 0);
            self.table.find_or_insert(hash_of(at as u32), at as u32, |_| false, hash_of);
        }
        self.limit = (self.live.len() * 2).max(self.limit_min);
        Ok(())
    }
}

/// Keeps the two versions that began last, the last one first.
fn keep_latest(latest: &mut Vec<Version>, version: Version) {
    if latest.iter().any(|known| known.value == version.value && known.first_end == version.first_end) {
        return;
    }
    let at = latest.iter().position(|known| known.last_begin < version.last_begin).unwrap_or(latest.len());
    latest.insert(at, version);
    latest.truncate(2);
}

/// Two versions that come before each other, as values.
fn crossing(versions: &mut [Version]) -> Option<(u64, u64)> {
    versions.sort_unstable_by_key(|version| version.first_end);
    let mut by_begin: Vec<(u64, u32)> =
        (0..versions.len() as u32).map(|at| (versions[at as usize].last_begin, at)).collect();
    by_begin.sort_unstable();
    // Of the versions that came before: the one that began last, and the second.
    let (mut latest, mut second): (Option<u32>, Option<u32>) = (None, None);
    let begin_of = |at: Option<u32>| at.map_or(0, |at| versions[at as usize].last_begin);
    let mut next = 0;
    for (begin, at) in by_begin {
        while next < versions.len() && versions[next].first_end < begin {
            let new = Some(next as u32);
            if latest.is_none() || begin_of(new) > begin_of(latest) {
                second = latest;
                latest = new;
            } else if second.is_none() || begin_of(new) > begin_of(second) {
                second = new;
            }
            next += 1;
        }
        let other = if latest == Some(at) { second } else { latest };
        if let Some(other) = other
            && versions[other as usize].last_begin > versions[at as usize].first_end
        {
            return Some((versions[at as usize].value, versions[other as usize].value));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Horizon, Misfit, Versions};

    /// Version 1 is written all the time and read early; 2 began last of what is closed; 3 closes it and fits both.
    #[test]
    fn what_is_closed_still_contradicts_what_is_open() {
        let mut versions = Versions::new(1);
        versions.begin_write(1, 0).unwrap();
        versions.begin_write(2, 10).unwrap();
        versions.end_write(2, Some(50));
        versions.begin_write(3, 55).unwrap();
        versions.read(Some(1), 40, 57).unwrap();
        versions.read(Some(2), 60, 62).unwrap();
        versions.end_write(3, Some(65));
        versions.clear_away(Horizon { events: 70, reads: 70 }).unwrap();
        assert_eq!((versions.live.len(), versions.closed.len()), (2, 1));
        versions.read(Some(1), 80, 90).unwrap();
        let Misfit(mut values) = versions.clear_away(Horizon { events: 100, reads: 100 }).unwrap_err();
        values.sort_unstable();
        assert_eq!(values, [Some(1), Some(2)]);
    }
}
