//! Outputs that wait for the disk. They are released in the order they were made, so one without anything to make durable
//! still waits for those before it.

use std::collections::VecDeque;

use crate::commit::Ticket;

/// A queue of outputs in the order of their tickets.
#[derive(Debug)]
pub(crate) struct ReleaseQueue<T> {
    waiting: VecDeque<(Ticket, T)>,
}

impl<T> ReleaseQueue<T> {
    pub(crate) fn new() -> ReleaseQueue<T> {
        ReleaseQueue { waiting: VecDeque::new() }
    }

    /// Takes an output that may go when `ticket` is durable. Tickets never fall.
    pub(crate) fn push(&mut self, ticket: Ticket, output: T) {
        let in_order = self.waiting.back().is_none_or(|(last, _)| *last <= ticket);
        assert!(in_order, "outputs are queued in the order of their tickets");
        self.waiting.push_back((ticket, output));
    }

    /// The next output that may go.
    pub(crate) fn pop(&mut self, is_durable: impl FnOnce(Ticket) -> bool) -> Option<T> {
        let (ticket, _) = self.waiting.front()?;
        if is_durable(*ticket) { self.waiting.pop_front().map(|(_, output)| output) } else { None }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overtakes_an_output_that_is_not_durable_yet() {
        let tickets: Vec<Ticket> = (0..4).map(Ticket::for_test).collect();
        let mut queue = ReleaseQueue::new();
        queue.push(tickets[1], "writes a");
        queue.push(tickets[1], "reads a");
        queue.push(tickets[2], "writes b");
        let mut released = |durable: Ticket| {
            let mut seen = Vec::new();
            while let Some(output) = queue.pop(|ticket| ticket <= durable) {
                seen.push(output);
            }
            seen
        };
        assert!(released(tickets[0]).is_empty());
        assert_eq!(released(tickets[1]), ["writes a", "reads a"]);
        assert_eq!(released(tickets[3]), ["writes b"]);
    }
}
