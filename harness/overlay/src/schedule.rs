//! Events by time, and of one time in the order in which they were planned.
//!
//! Time has steps of 0.1 ms, so many events share one, and a step is a list that is filled at its end.

use std::collections::{BTreeMap, VecDeque};

/// Nanoseconds in a step.
pub(crate) const STEP_NS: u64 = 100_000;

#[derive(Debug)]
pub(crate) struct Schedule<E> {
    steps: BTreeMap<u64, VecDeque<E>>,
    now: u64,
    waiting: usize,
}

impl<E> Schedule<E> {
    pub(crate) fn new() -> Schedule<E> {
        Schedule { steps: BTreeMap::new(), now: 0, waiting: 0 }
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        self.now * STEP_NS
    }

    /// Events that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Plans an event for that time, or for the step behind it.
    pub(crate) fn push(&mut self, at_ns: u64, event: E) {
        self.waiting += 1;
        let step = at_ns.div_ceil(STEP_NS).max(self.now);
        self.steps.entry(step).or_default().push_back(event);
    }

    /// Takes the next event that is due by `until_ns`; without one it is `until_ns` now.
    pub(crate) fn pop(&mut self, until_ns: u64) -> Option<E> {
        let until = until_ns / STEP_NS;
        let mut first = match self.steps.first_entry() {
            Some(first) if *first.key() <= until => first,
            _ => {
                self.now = self.now.max(until);
                return None;
            }
        };
        self.now = *first.key();
        self.waiting -= 1;
        let event = first.get_mut().pop_front().expect("a step has an event");
        if first.get().is_empty() {
            first.remove();
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_time_then_by_order_of_planning_and_never_early() {
        let mut schedule = Schedule::new();
        for (at, name) in [(5 * STEP_NS, "c"), (3 * STEP_NS, "a"), (5 * STEP_NS - 1, "d"), (3 * STEP_NS, "b")] {
            schedule.push(at, name);
        }
        let mut taken = Vec::new();
        while let Some(name) = schedule.pop(4 * STEP_NS) {
            taken.push((schedule.now() / STEP_NS, name));
            if name == "a" {
                schedule.push(0, "late");
            }
        }
        assert_eq!(taken, [(3, "a"), (3, "b"), (3, "late")]);
        assert_eq!(schedule.now(), 4 * STEP_NS);
        assert_eq!((schedule.pop(9 * STEP_NS), schedule.pop(9 * STEP_NS)), (Some("c"), Some("d")));
        assert_eq!((schedule.pop(9 * STEP_NS), schedule.now()), (None, 9 * STEP_NS));
    }
}
