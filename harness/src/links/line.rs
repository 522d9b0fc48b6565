//! One bad directed link: the fates of its packets, one after the other. Both worlds have the same.
//!
//! A packet takes the line for the time that the bandwidth says, then it is held. The time of day comes from outside.

use rand::Rng;

use crate::plan::LinkConditions;

use super::Tally;

/// A bad directed link.
#[derive(Debug)]
pub struct Line<R> {
    conditions: LinkConditions,
    random: R,
    busy_until_ns: u64,
    last_out_ns: u64,
}

/// When a packet comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// At this time, nanoseconds.
    pub out_ns: u64,
    /// It comes out twice.
    pub duplicated: bool,
}

impl<R: Rng> Line<R> {
    /// One that no packet has come to. `random` is its own stream of draws.
    pub fn new(conditions: LinkConditions, random: R) -> Line<R> {
        Line { conditions, random, busy_until_ns: 0, last_out_ns: 0 }
    }

    /// A packet comes to the link; `None`: it is lost. Counts it, but for the delay that it really gets.
    pub fn take(&mut self, tally: &mut Tally, now_ns: u64, bytes: u32) -> Option<Passage> {
        tally.packets += 1;
        let fate = self.conditions.draw(&mut self.random);
        if fate.lost {
            tally.lost += 1;
            return None;
        }
        let free_ns = self.busy_until_ns.max(now_ns);
        if free_ns - now_ns > self.conditions.queue_ns() {
            tally.overflowed += 1;
            return None;
        }
        self.busy_until_ns = free_ns + self.conditions.transmission_ns(bytes);
        let out_ns = self.busy_until_ns + fate.delay_ns;
        tally.reordered += u64::from(out_ns < self.last_out_ns);
        tally.duplicated += u64::from(fate.duplicated);
        self.last_out_ns = self.last_out_ns.max(out_ns);
        Some(Passage { out_ns, duplicated: fate.duplicated })
    }

    /// Where its draws come from.
    pub fn random(&mut self) -> &mut R {
        &mut self.random
    }

    /// What it does to packets.
    pub fn conditions(&self) -> &LinkConditions {
        &self.conditions
    }

    /// The line is busy until then, nanoseconds.
    pub fn busy_until_ns(&self) -> u64 {
        self.busy_until_ns
    }
}

#[cfg(test)]
mod tests {
    use hearsay_workloads::stream;

    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn a_narrow_line_takes_one_after_the_other_and_its_queue_ends() {
        let conditions = LinkConditions { bandwidth_bytes_per_s: 10_000, ..Default::default() };
        let mut line = Line::new(conditions, stream(1, "test", 0));
        let mut tally = Tally::default();
        let outs: Vec<_> = (0..25).map(|_| line.take(&mut tally, 0, 1_000).map(|passage| passage.out_ns)).collect();
        assert_eq!(outs[..3], [Some(100 * MILLISECOND), Some(200 * MILLISECOND), Some(300 * MILLISECOND)]);
        assert_eq!((outs.iter().flatten().count(), tally.overflowed), (21, 4));
        assert_eq!((tally.packets, tally.reordered), (25, 0));
        assert_eq!(line.take(&mut tally, 5_000 * MILLISECOND, 1_000).unwrap().out_ns, 5_100 * MILLISECOND);
    }

    #[test]
    fn a_short_queue_is_full_soon() {
        let conditions = LinkConditions { bandwidth_bytes_per_s: 10_000, queue_ms: 300, ..Default::default() };
        let mut line = Line::new(conditions, stream(1, "test", 0));
        let mut tally = Tally::default();
        let through = (0..25).filter(|_| line.take(&mut tally, 0, 1_000).is_some()).count();
        assert_eq!((through, tally.overflowed), (4, 21));
    }

    #[test]
    fn who_is_not_held_overtakes() {
        let conditions = LinkConditions { latency_ms: 10, reorder_per_million: 300_000, ..Default::default() };
        let mut line = Line::new(conditions, stream(1, "test", 0));
        let mut tally = Tally::default();
        let mut quick = 0;
        for now in 0..1_000 {
            quick += u64::from(line.take(&mut tally, now, 100).unwrap().out_ns == now);
        }
        assert!((200..400).contains(&quick), "{quick}");
        assert!(tally.reordered >= quick - 10, "{} of {quick} overtook others", tally.reordered);
    }
}
