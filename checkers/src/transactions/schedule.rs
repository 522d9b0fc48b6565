//! An order of transactions that keeps sessions, reading and some other edges: where there is one, there is no cycle of them.
//!
//! Sessions take turns. A transaction is put into the order when all that it read from, and all that else leads to it, are in
//! it; a session that has to wait goes on when what it waits for is put in. Looks once at every read, in the order of
//! sessions, and needs no graph; who stands in a cycle is not said ([`super::graph`] does that).

use super::graph::Edge;
use super::history::TransactionHistory;
use super::observed::{INITIAL, Observed};

const NONE: u32 = u32::MAX;

/// All transactions that took part, each after those that it read from, those before it in its session and those from which
/// one of the edges in `also` leads to it. `None`: there is no such order that also has indeterminate ones before the next of their session.
pub(crate) fn schedule(history: &TransactionHistory, observed: &Observed, also: &[&[Edge]]) -> Option<Vec<u32>> {
    let count = history.transactions().len();
    let mut sessions = Sessions::new(history, observed);
    let before = Before::new(count, also);
    let mut is_in = vec![false; count];
    // Of each transaction the session that waits for it first, of each session the next one that waits for the same.
    let (mut waiting, mut next_waiting) = (vec![NONE; count], vec![NONE; sessions.now.len()]);
    // Of each session: how much of what its transaction needs is in.
    let mut seen = vec![0_u32; sessions.now.len()];
    let mut order = Vec::with_capacity(sessions.transactions);
    let mut ready: Vec<u32> = (0..sessions.now.len() as u32).rev().collect();
    while let Some(session) = ready.pop() {
        let at = session as usize;
        while sessions.now[at] != NONE {
            let transaction = sessions.now[at];
            let reads = observed.reads.of(transaction).iter().map(|read| read.from);
            let mut needed = reads.chain(before.of(transaction).iter().copied()).skip(seen[at] as usize);
            let missing = needed.find(|needed| {
                seen[at] += 1;
                *needed != INITIAL && !is_in[*needed as usize]
            });
            if let Some(missing) = missing {
                next_waiting[at] = std::mem::replace(&mut waiting[missing as usize], session);
                break;
            }
            is_in[transaction as usize] = true;
            order.push(transaction);
            seen[at] = 0;
            sessions.now[at] = sessions.next[transaction as usize];
            let mut woken = waiting[transaction as usize];
            while woken != NONE {
                ready.push(woken);
                woken = next_waiting[woken as usize];
            }
        }
    }
    (order.len() == sessions.transactions).then_some(order)
}

/// What took part, session by session. Nothing follows an indeterminate transaction in its session, and it stands before the
/// next one all the same: what has no order because of that may have one.
struct Sessions {
    /// Of each session: its next transaction.
    now: Vec<u32>,
    /// Of each transaction: the next of its session.
    next: Vec<u32>,
    transactions: usize,
}

impl Sessions {
    fn new(history: &TransactionHistory, observed: &Observed) -> Sessions {
        let mut now = vec![NONE; history.session_count()];
        let mut next = vec![NONE; history.transactions().len()];
        let mut transactions = 0;
        for (at, transaction) in history.transactions().iter().enumerate().rev() {
            if observed.took_part[at] {
                next[at] = std::mem::replace(&mut now[transaction.session as usize], at as u32);
                transactions += 1;
            }
        }
        Sessions { now, next, transactions }
    }
}

/// Beginnings of edges by their ends.
struct Before {
    offsets: Vec<u32>,
    from: Vec<u32>,
}

impl Before {
    fn new(nodes: usize, parts: &[&[Edge]]) -> Before {
        let all = || parts.iter().copied().flatten();
        if all().next().is_none() {
            return Before { offsets: Vec::new(), from: Vec::new() };
        }
        let mut offsets = vec![0_u32; nodes + 1];
        all().for_each(|edge| offsets[edge.to as usize + 1] += 1);
        for at in 1..offsets.len() {
            offsets[at] += offsets[at - 1];
        }
        let mut next = offsets.clone();
        let mut from = vec![0; all().count()];
        for edge in all() {
            let at = &mut next[edge.to as usize];
            from[*at as usize] = edge.from;
            *at += 1;
        }
        Before { offsets, from }
    }

    fn of(&self, node: u32) -> &[u32] {
        if self.from.is_empty() {
            return &[];
        }
        &self.from[self.offsets[node as usize] as usize..self.offsets[node as usize + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::schedule;
    use crate::transactions::graph::{Edge, WW};
    use crate::transactions::history::{MicroOp, TransactionHistory, TransactionHistoryBuilder};
    use crate::transactions::observed::{observe, settle};
    use crate::transactions::story::Findings;
    use crate::{OpIndex, Outcome, ProcessId};

    const COUNT: u64 = 60;

    fn session(place: u64) -> u64 {
        (place * place + place / 3) % 4
    }

    /// Transactions, session after session, each with its place in an order; those at some places read what the one before wrote.
    fn history(reads: impl Fn(u64) -> bool) -> (TransactionHistory, Vec<u64>) {
        let mut places: Vec<u64> = (0..COUNT).collect();
        places.sort_by_key(|place| session(*place));
        let mut builder = TransactionHistoryBuilder::default();
        let key = builder.key("x");
        for place in &places {
            builder.begin(OpIndex(*place), ProcessId(session(*place)), 0);
            if *place > 0 && reads(*place) {
                let before = builder.integer(*place as i64);
                builder.push(MicroOp::Read(key, Some(before)));
            }
            let own = builder.integer(*place as i64 + 1);
            builder.push(MicroOp::Write(key, own));
            builder.end(Outcome::Ok, None);
        }
        (builder.finish().unwrap(), places)
    }

    #[test]
    fn sessions_wait_for_what_was_read_and_for_edges() {
        for read_one_in in [1, 2, 5] {
            let (history, places) = history(|place| place % read_one_in == 0);
            let mut observed = observe(&history, &mut Findings::default());
            settle(&history, &mut observed);
            let at = |place: u64| places.iter().position(|known| *known == place).unwrap() as u32;
            let edge = |from: u64, to: u64| Edge { from: at(from), to: at(to), kind: WW, origin: 0 };
            // What is not read is led to by an edge, so that there is one order only.
            let edges: Vec<Edge> = (1..COUNT).filter(|to| to % read_one_in != 0).map(|to| edge(to - 1, to)).collect();
            let order = schedule(&history, &observed, &[&edges]).unwrap();
            assert_eq!(order.iter().map(|id| places[*id as usize]).collect::<Vec<_>>(), (0..COUNT).collect::<Vec<_>>());
            let back = [edge(COUNT - 1, 0)];
            assert_eq!(schedule(&history, &observed, &[&edges, &back]), None);
        }
    }
}
