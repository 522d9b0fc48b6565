//! 2-atomicity of a register with unique values in O(n log n), after *forward zones first* (Golab, Hurwitz, Li, *On the
//! k-atomicity-verification problem*, 2013).
//!
//! The operations on one version are over for the first time at `first_end` and begin for the last time at `last_begin`.
//! An order of the versions is *viable* if times can be chosen for the writes, each between the write's beginning and its
//! first end, that rise with the order and such that the write of the second next version is not before the last beginning
//! of a read: then each read has a time, too. So a may stand before b unless b's first end is before the beginning of a's
//! write, and two or more places before it unless b's first end is before a's last beginning.
//!
//! A zone is *forward* if its first end is before its last beginning. Two forward zones that overlap, and a forward zone
//! and another one within it, each end before the other begins for the last time, and so must be neighbours. A *chunk* is
//! a largest set of forward zones whose union has no gap, with all other zones within that union.
//!
//! - In a viable order of a chunk its forward zones stand in a row, each beside all that overlap it: the overlaps are a
//!   path, and the row is that path in one of its two directions. The zones that are not forward stand at its two ends, for
//!   some forward zone ends before each of them begins, and must be its neighbour, if that is not before it, and one begins
//!   after each of them. So there are two of them at most, and four orders at most.
//! - What is viable stays so without one of its versions. Viable orders of all chunks, in the order of time, and every
//!   zone beside them at a time of its own in no chunk, are a viable order of all: what ends in a later one of them ends no
//!   earlier than all begins in an earlier one.
//!
//! Times that touch overlap. The initial version was written before everything. A write that is indeterminate and was not
//! read need not have happened. Left out: two writes of one value, one `null` of several that a read may have seen, and
//! compare-and-set; those are searched for an order ([`crate::search`]).

use std::iter::once;

/// One time after the beginning of everything.
const FIRST: u64 = 1;
/// The version that was there before any write.
const INITIAL: usize = 0;
/// Work for making a set of zones without an order small: zones looked at.
const WORK_MAX: usize = 2_000_000;

/// A read or a write, as it is seen from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    /// What it wrote or returned; `None`: absent.
    pub(crate) value: Option<u64>,
    pub(crate) is_read: bool,
    pub(crate) began: u64,
    /// `None`: it need not have happened (a write), and may at any time from its beginning on.
    pub(crate) ended: Option<u64>,
}

/// What is known of a version.
#[derive(Clone, Copy, Debug)]
struct Zone {
    /// Beginning of its write.
    written: u64,
    first_end: u64,
    /// The last beginning of a read; 0 without one.
    last_read: u64,
}

impl Zone {
    fn last_begin(&self) -> u64 {
        self.written.max(self.last_read)
    }

    fn is_forward(&self) -> bool {
        self.first_end < self.last_begin()
    }
}

/// Whether there is an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    Fits,
    /// These accesses alone have none: positions, rising.
    Breaks(Vec<usize>),
    /// It is not known which write some read saw.
    Unsure,
}

/// Whether each read may be of one of the last two versions, in one order of all that keeps real time.
pub(crate) fn fit_last_two(accesses: &[Access]) -> Fit {
    match Versions::new(accesses) {
        None => Fit::Unsure,
        Some(Err(unwritten)) => Fit::Breaks(vec![unwritten]),
        Some(Ok(versions)) => match order(&versions.zones) {
            Ok(()) => Fit::Fits,
            Err(zones) => Fit::Breaks(versions.bounds(accesses, &fewer(&versions.zones, zones))),
        },
    }
}

/// The versions of a register.
struct Versions {
    /// The initial one first.
    zones: Vec<Zone>,
    /// Of each access; `None`: it need not have happened and nobody saw it.
    version_of: Vec<Option<u32>>,
}

impl Versions {
    /// `None`: which write a read saw is not known. An error: the position of a read of what nobody wrote.
    fn new(accesses: &[Access]) -> Option<Result<Versions, usize>> {
        let time = |time: u64| time.saturating_add(FIRST);
        let mut zones = vec![Zone { written: 0, first_end: 0, last_read: 0 }];
        let mut version_of = vec![None; accesses.len()];
        let mut by_value: Vec<(u64, u32)> = Vec::new();
        let mut first_delete = None;
        for (at, access) in accesses.iter().enumerate().filter(|(_, access)| !access.is_read) {
            match access.value {
                Some(value) => by_value.push((value, zones.len() as u32)),
                None => first_delete = Some(first_delete.unwrap_or(access.began).min(access.began)),
            }
            version_of[at] = Some(zones.len() as u32);
            let end = access.ended.map_or(u64::MAX, time);
            zones.push(Zone { written: time(access.began), first_end: end, last_read: 0 });
        }
        by_value.sort_unstable();
        if by_value.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        for (at, read) in accesses.iter().enumerate().filter(|(_, access)| access.is_read) {
            let version = match read.value {
                Some(value) => match by_value.binary_search_by_key(&value, |(value, _)| *value) {
                    Ok(found) => by_value[found].1 as usize,
                    Err(_) => return Some(Err(at)),
                },
                None if first_delete.is_some_and(|delete| read.ended.is_none_or(|ended| delete <= ended)) => {
                    return None;
                }
                None => INITIAL,
            };
            version_of[at] = Some(version as u32);
            let zone = &mut zones[version];
            zone.first_end = zone.first_end.min(read.ended.map_or(u64::MAX, time));
            zone.last_read = zone.last_read.max(time(read.began));
        }
        Some(Ok(Versions { zones, version_of }))
    }

    /// Of some versions: the writes, and the reads that end first and that begin last.
    fn bounds(&self, accesses: &[Access], chosen: &[u32]) -> Vec<usize> {
        let mut of: Vec<[Option<usize>; 3]> = vec![[None; 3]; chosen.len()];
        let mut sorted = chosen.to_vec();
        sorted.sort_unstable();
        for (at, access) in accesses.iter().enumerate() {
            let Some(version) = self.version_of[at].and_then(|version| sorted.binary_search(&version).ok()) else {
                continue;
            };
            let [write, first, last] = &mut of[version];
            if !access.is_read {
                *write = Some(at);
                continue;
            }
            if first.is_none_or(|first| access.ended < accesses[first].ended) {
                *first = Some(at);
            }
            if last.is_none_or(|last| access.began > accesses[last].began) {
                *last = Some(at);
            }
        }
        let mut bounds: Vec<usize> = of.into_iter().flatten().flatten().collect();
        bounds.sort_unstable();
        bounds.dedup();
        bounds
    }
}

/// Whether there is a viable order of all versions; if not, some that alone have none.
fn order(zones: &[Zone]) -> Result<(), Vec<u32>> {
    let of = |at: u32| &zones[at as usize];
    let (mut forward, mut others) = (Vec::new(), Vec::new());
    for (at, zone) in (0_u32..).zip(zones) {
        if zone.first_end < zone.written {
            return Err(vec![at]);
        }
        // What may not have happened and nobody saw is left out by this, since it never ends.
        if zone.is_forward() { forward.push(at) } else { others.push(at) }
    }
    forward.sort_unstable_by_key(|at| (of(*at).first_end, *at));
    others.sort_unstable_by_key(|at| (of(*at).last_begin(), *at));
    let (mut from, mut next_other) = (0, 0);
    while from < forward.len() {
        let begin = of(forward[from]).first_end;
        let mut end = of(forward[from]).last_begin();
        let mut to = from + 1;
        while to < forward.len() && of(forward[to]).first_end < end {
            end = end.max(of(forward[to]).last_begin());
            to += 1;
        }
        while next_other < others.len() && of(others[next_other]).last_begin() <= begin {
            next_other += 1;
        }
        let mut within = Vec::new();
        while next_other < others.len() && of(others[next_other]).last_begin() < end {
            within.extend(Some(others[next_other]).filter(|at| of(*at).first_end < end));
            next_other += 1;
        }
        order_of_chunk(zones, &forward[from..to], &within)?;
        from = to;
    }
    Ok(())
}

/// Whether a chunk has a viable order. `forward` by first end.
fn order_of_chunk(zones: &[Zone], forward: &[u32], within: &[u32]) -> Result<(), Vec<u32>> {
    let none = || Err(forward.iter().chain(within).copied().collect());
    let there = path(zones, forward)?;
    let back: Vec<u32> = there.iter().rev().copied().collect();
    let (first, second) = match *within {
        [] => (None, None),
        [one] => (Some(one), None),
        [one, other] => (Some(one), Some(other)),
        _ => return none(),
    };
    for row in [&there, &back] {
        for (before, after) in [(first, second), (second, first)] {
            let order = before.into_iter().chain(row.iter().copied()).chain(after);
            if is_viable(order.map(|at| &zones[at as usize])) {
                return Ok(());
            }
        }
    }
    none()
}

/// The forward zones of a chunk, each beside all that overlap it; if they are no path, some that are none.
fn path(zones: &[Zone], forward: &[u32]) -> Result<Vec<u32>, Vec<u32>> {
    let mut beside: Vec<Vec<usize>> = vec![Vec::new(); forward.len()];
    for at in 0..forward.len() {
        let end = zones[forward[at] as usize].last_begin();
        let overlapping = (at + 1..forward.len()).take_while(|next| zones[forward[*next] as usize].first_end < end);
        for next in overlapping {
            beside[at].push(next);
            beside[next].push(at);
            if let Some(crowded) = [at, next].into_iter().find(|crowded| beside[*crowded].len() > 2) {
                return Err(once(&crowded).chain(&beside[crowded]).map(|at| forward[*at]).collect());
            }
        }
    }
    let Some(end) = (0..forward.len()).find(|at| beside[*at].len() < 2) else {
        // All have two neighbours: what overlaps in a circle are three.
        return Err(forward.to_vec());
    };
    let (mut before, mut at) = (usize::MAX, end);
    let mut path = vec![forward[end]];
    while let Some(next) = beside[at].iter().copied().find(|next| *next != before) {
        path.push(forward[next]);
        (before, at) = (at, next);
    }
    assert_eq!(path.len(), forward.len(), "the union of a chunk has no gap");
    Ok(path)
}

/// Whether times that rise can be chosen for the writes.
fn is_viable<'z>(order: impl Iterator<Item = &'z Zone>) -> bool {
    let (mut now, mut reads_before, mut reads) = (0, 0, 0);
    for zone in order {
        now = now.max(zone.written).max(reads_before);
        if now > zone.first_end {
            return false;
        }
        (reads_before, reads) = (reads, zone.last_read);
    }
    true
}

/// Fewer zones that have no order, of zones that have none.
fn fewer(zones: &[Zone], mut chosen: Vec<u32>) -> Vec<u32> {
    let mut work = 0;
    let mut step = chosen.len().div_ceil(2);
    while step > 0 && chosen.len() > 1 {
        let mut from = 0;
        while from < chosen.len() && work < WORK_MAX {
            let left: Vec<u32> = chosen
                .iter()
                .enumerate()
                .filter(|(at, _)| !(from..from + step).contains(at))
                .map(|(_, at)| *at)
                .collect();
            work += left.len();
            let of_left: Vec<Zone> = left.iter().map(|at| zones[*at as usize]).collect();
            match order(&of_left) {
                Ok(()) => from += step,
                Err(none) => chosen = none.into_iter().map(|at| left[at as usize]).collect(),
            }
        }
        step = if step == 1 { 0 } else { step.div_ceil(2).min(chosen.len()) };
    }
    chosen
}
