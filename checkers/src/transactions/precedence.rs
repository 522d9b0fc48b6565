//! Order beyond data: sessions, and real time.
//!
//! A transaction follows those of its session that are ok and ended before it began; what an indeterminate one of its session
//! did may still happen later. Real time is a chain of moments, see [`super::graph`]; equal times are concurrent.

use super::graph::{Edge, PASS, SESSION, TIME};
use super::history::TransactionHistory;
use crate::Outcome;

/// Edges from each transaction to the next ones of its session.
pub(crate) fn session_edges(history: &TransactionHistory, took_part: &[bool]) -> Vec<Edge> {
    let mut last: Vec<Option<u32>> = vec![None; history.session_count()];
    let mut edges = Vec::with_capacity(history.transactions().len());
    for (id, transaction) in history.iter().filter(|(id, _)| took_part[id.0 as usize]) {
        let last = &mut last[transaction.session as usize];
        edges.extend(last.map(|from| Edge { from, to: id.0, kind: SESSION, origin: 0 }));
        if transaction.outcome == Outcome::Ok {
            *last = Some(id.0);
        }
    }
    edges
}

/// Edges of real time, and how many nodes there are with the moments.
pub(crate) fn time_edges(history: &TransactionHistory, took_part: &[bool]) -> (Vec<Edge>, u32) {
    let transactions = history.transactions().len() as u32;
    let ended = history.iter().filter(|(_, transaction)| transaction.outcome == Outcome::Ok);
    let mut completions: Vec<(u64, u32)> = ended.filter_map(|(id, t)| Some((t.completed?, id.0))).collect();
    completions.sort_unstable();
    let mut edges = Vec::with_capacity(3 * completions.len());
    for (at, (_, id)) in completions.iter().enumerate() {
        let moment = transactions + at as u32;
        edges.push(Edge { from: *id, to: moment, kind: TIME, origin: 0 });
        if at > 0 {
            edges.push(Edge { from: moment - 1, to: moment, kind: PASS, origin: 0 });
        }
    }
    // Transactions are sorted by invocation, so one look at both lists is enough.
    let mut over = 0;
    for (id, transaction) in history.iter().filter(|(id, _)| took_part[id.0 as usize]) {
        while completions.get(over).is_some_and(|(completed, _)| *completed < transaction.invoked) {
            over += 1;
        }
        if let Some(last) = over.checked_sub(1) {
            edges.push(Edge { from: transactions + last as u32, to: id.0, kind: PASS, origin: 0 });
        }
    }
    (edges, transactions + completions.len() as u32)
}
