//! The timers of a node: a table by time, so that the whole machine has one next deadline and nothing ever scans the
//! requests in work. (Anti-entropy keeps its own; the replica takes the earlier of both.)

use alloc::collections::BTreeSet;

use crate::message::OperationId;
use crate::{NodeId, Time};

/// What is to be done at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Send heartbeats, judge the silent.
    Heartbeat,
    /// Remove some expired tombstones.
    Sweep,
    /// Hand over what is kept for a node, or look again whether it can be reached.
    HandOff(NodeId),
    /// A write that was answered is missing acknowledgements still.
    Unacknowledged(OperationId),
    /// A client request waited long enough for the replicas asked so far.
    Patience(OperationId),
    /// A client request is given up.
    RequestTimeout(OperationId),
    /// As `Patience`, under the policy `dcc`.
    CausalPatience(OperationId),
    /// As `RequestTimeout`, under the policy `dcc`.
    CausalTimeout(OperationId),
    /// Give up repairs on demand that are overdue.
    Repair,
    /// Exchange bitmap version vectors with the next neighbour.
    Exchange,
}

/// Timers by time. Two timers of one time go off in the order of [`Timer`].
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_time: BTreeSet<(Time, Timer)>,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Time, timer: Timer) {
        self.by_time.insert((at, timer));
    }

    pub(crate) fn clear(&mut self, at: Time, timer: Timer) {
        self.by_time.remove(&(at, timer));
    }

    /// Takes the first timer that is due.
    pub(crate) fn take_due(&mut self, now: Time) -> Option<Timer> {
        match self.by_time.first() {
            Some((at, _)) if *at <= now => self.by_time.pop_first().map(|(_, timer)| timer),
            _ => None,
        }
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// How many timers are set.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_time.len()
    }
}
