//! Bad links on the virtual wire: what they add to the way of a packet.
//!
//! The transport of the nodes is QUIC streams: what is lost on a stream is sent again and comes late, what is duplicated
//! comes once, what is overtaken is put in order again, so on a stream all of it is delay. Packets outside of the streams
//! (handshakes, pings, resets) are really lost, doubled and overtaken, datagrams lost and overtaken.
//!
//! Invariant: every bad pair has its own chance, named by the fault and the moment; a fault or an operation taken out shifts
//! no other.

use std::collections::BTreeMap;

use crate::links::{Line, Tally};
use crate::plan::{Endpoint, LinkConditions};

use super::noise::Noise;
use super::settings::{PROBE_TIMEOUT, RETRY_DOUBLINGS_MAX};
use super::wire::Pair;

/// All bad links, by directed pair, and what they did, by fault.
#[derive(Debug, Default)]
pub(super) struct BadLinks {
    pairs: BTreeMap<Pair, BadLink>,
    tallies: BTreeMap<String, Tally>,
}

#[derive(Debug)]
struct BadLink {
    fault: String,
    line: Line<Noise>,
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// It arrives so much later, nanoseconds; `None`: never.
    pub(super) delay: Option<u64>,
    /// And once more, so much later.
    pub(super) twice: Option<u64>,
    /// The line is busy with it, and all before it, until then.
    pub(super) line_until: u64,
}

impl BadLinks {
    /// Makes these pairs bad. They were good before: plans are checked for that.
    pub(super) fn impair(&mut self, seed: u64, fault: &str, pairs: &[Pair], conditions: LinkConditions) {
        self.tallies.insert(fault.to_owned(), Tally::default());
        let named = |end| match end {
            Endpoint::Clients => 0,
            Endpoint::Node(node) => u64::from(node.0),
        };
        let fault_name = fault.bytes().fold(0_u64, |name, byte| name.wrapping_mul(257).wrapping_add(u64::from(byte)));
        for &(from, to) in pairs {
            let random = Noise::new(seed, "bad link", &[fault_name, named(from), named(to)]);
            let link = BadLink { fault: fault.to_owned(), line: Line::new(conditions, random) };
            let former = self.pairs.insert((from, to), link);
            assert!(former.is_none(), "{from} to {to} is bad by two faults");
        }
    }

    /// Makes the pairs of a fault good again. What they did.
    pub(super) fn restore(&mut self, fault: &str) -> Tally {
        self.pairs.retain(|_, link| link.fault != fault);
        self.tallies.remove(fault).expect("it was impaired before")
    }

    /// Bad pairs.
    pub(super) fn len(&self) -> usize {
        self.pairs.len()
    }

    /// What about half of the packets of a pair get on top of the common way, nanoseconds.
    pub(super) fn usual(&self, pair: &Pair) -> u64 {
        match self.pairs.get(pair) {
            Some(link) => link.line.conditions().usual_ns(),
            None => 0,
        }
    }

    /// What happens to a packet outside of the streams. `None`: the link is good.
    pub(super) fn packet(&mut self, pair: &Pair, now: u64, bytes: u32) -> Option<Held> {
        if self.pairs.is_empty() {
            return None;
        }
        let link = self.pairs.get_mut(pair)?;
        let tally = self.tallies.get_mut(&link.fault).expect("every bad link belongs to a fault in force");
        let (delay, duplicated) = link.once(tally, now, bytes);
        let twice = if duplicated { link.once(tally, now, bytes).0 } else { None };
        Some(Held { delay, twice, line_until: link.line.busy_until_ns() })
    }

    /// What happens to a frame on a stream: it arrives in any case. `round_trip`: of the pair. `None`: the link is good.
    pub(super) fn frame(&mut self, pair: &Pair, now: u64, bytes: u32, round_trip: u64) -> Option<Held> {
        if self.pairs.is_empty() {
            return None;
        }
        let link = self.pairs.get_mut(pair)?;
        let tally = self.tallies.get_mut(&link.fault).expect("every bad link belongs to a fault in force");
        let mut waited = 0;
        for doublings in 0..=RETRY_DOUBLINGS_MAX {
            if let (Some(delay), _) = link.once(tally, now, bytes) {
                return Some(Held { delay: Some(waited + delay), twice: None, line_until: link.line.busy_until_ns() });
            }
            waited += (PROBE_TIMEOUT + round_trip) << doublings;
        }
        Some(Held { delay: Some(waited), twice: None, line_until: link.line.busy_until_ns() })
    }
}

impl BadLink {
    /// One packet: how long it is held (`None`: it is lost), and whether it comes twice.
    fn once(&mut self, tally: &mut Tally, now: u64, bytes: u32) -> (Option<u64>, bool) {
        self.line.random().at(now);
        let Some(passage) = self.line.take(tally, now, bytes) else { return (None, false) };
        let delay = passage.out_ns - now;
        tally.delayed(delay);
        (Some(delay), passage.duplicated)
    }
}
