//! Events by (time, sequence): of two at one time, the one that was planned first comes first.
//!
//! The heap holds places in a table, not the events, so that moving within it stays cheap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What is to come.
#[derive(Debug)]
pub(super) struct EventQueue<E> {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    events: Vec<Option<E>>,
    free: Vec<u32>,
    planned: u64,
    now: u64,
}

impl<E> EventQueue<E> {
    pub(super) fn new() -> EventQueue<E> {
        EventQueue { heap: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), planned: 0, now: 0 }
    }

    /// The time of the last event taken, or that was waited for.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// Plans an event at `time`, or now if that is past.
    pub(super) fn push(&mut self, time: u64, event: E) {
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place as usize] = Some(event);
                place
            }
            None => {
                self.events.push(Some(event));
                u32::try_from(self.events.len() - 1).expect("memory ends before four thousand million events wait")
            }
        };
        self.heap.push(Reverse((time.max(self.now), self.planned, place)));
        self.planned += 1;
    }

    /// The time of the next event.
    pub(super) fn next_time(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((time, ..))| *time)
    }

    /// Takes the next event: its sequence number and itself.
    pub(super) fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse((time, sequence, place)) = self.heap.pop()?;
        assert!(time >= self.now, "time runs forward");
        self.now = time;
        self.free.push(place);
        Some((sequence, self.events[place as usize].take().expect("a place in the heap holds an event")))
    }

    /// Lets time pass until `time`; no event may be due before.
    pub(super) fn wait_until(&mut self, time: u64) {
        assert!(self.next_time().is_none_or(|next| next >= time), "an event is due first");
        self.now = self.now.max(time);
    }
}

/// Turns a queue of nothing but events over: the next is taken and another planned, so that `pending` wait all the time. What
/// a simulator of ordered events costs at least; the sum only keeps the compiler from leaving it out.
pub(crate) fn turn_bare_queue(pending: usize, turns: u64) -> u64 {
    let mut queue: EventQueue<[u64; 4]> = EventQueue::new();
    // Numbers without visible order: a multiplicative generator is enough for times.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    for number in 0..pending as u64 {
        queue.push(draw(), [number; 4]);
    }
    let mut sum = 0;
    for _ in 0..turns {
        let Some((sequence, event)) = queue.pop() else { break };
        sum += sequence ^ event[3];
        queue.push(queue.now() + draw(), event);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_time_then_by_order_of_planning() {
        let mut queue = EventQueue::new();
        for (time, name) in [(5, "c"), (3, "a"), (5, "d"), (3, "b")] {
            queue.push(time, name);
        }
        let mut taken = Vec::new();
        while let Some((_, name)) = queue.pop() {
            taken.push((queue.now(), name));
            if name == "a" {
                queue.push(1, "late");
            }
        }
        assert_eq!(taken, [(3, "a"), (3, "b"), (3, "late"), (5, "c"), (5, "d")]);
    }
}
