//! The short way to `holds`: registers that are linearizable fit every weaker model too.
//!
//! Zones ([`crate::zones`]) show it without an order of versions being built, for compact histories whose values are unique
//! and of which nothing was deleted or impossible. Where they do not show it, the long way decides, and explains.

use crate::causal::{Graph, INITIAL, UNKNOWN};
use crate::explain::counted;
use crate::registers::{Clock, OPEN, Registers};
use crate::table::{Table, hash_pair};
use crate::version_graph::{Promise, SessionPromise};
use crate::zones::zones_by_key;
use crate::{Judgement, Outcome, Verdict};

/// The verdict `holds`, if zones show it and there is evidence.
pub(crate) fn holds(verdict: Verdict, promise: Promise, registers: &Registers) -> Option<Verdict> {
    if registers.clock == Clock::Nothing || registers.values.is_some() {
        return None;
    }
    let graph = Graph::new(registers);
    if graph.unknown_reads > 0 || !has_one_order(&graph) {
        return None;
    }
    let possibly_stale = possibly_stale(&graph, promise);
    if possibly_stale == 0 {
        return None;
    }
    let changes = graph.nodes.len() as u64 - graph.reads;
    let counts = Counts { keys: registers.keys.len() as u64, reads: graph.reads, changes, possibly_stale };
    Some(held(verdict, &counts))
}

/// Whether one order of all operations, each between its beginning and its end, has every read return the latest version.
/// Deletes are versions that nobody read; reads of `null` that may be of one are left out, as causal models leave them out.
///
/// Where there is such an order every session can see all writes in it: then all models of sessions hold, however many
/// sessions there are.
pub(crate) fn has_one_order(graph: &Graph<'_>) -> bool {
    if graph.registers.clock == Clock::Nothing || graph.doubled.is_some() || !graph.impossible.is_empty() {
        return false;
    }
    // Times that touch are taken as an order here, which sessions are: what fits that fits less. So a read must not end the
    // moment its write begins.
    let touches_its_write = |(at, node): (usize, &crate::causal::Node)| {
        let is_of_write = node.is_read && node.version != INITIAL && node.version != UNKNOWN;
        is_of_write && graph.op(node.version).invoked >= graph.op(at as u32).completed
    };
    if graph.nodes.iter().enumerate().any(touches_its_write) {
        return false;
    }
    let zones = zones_by_key(graph.registers, &graph.nodes, &graph.impossible);
    zones.iter().all(|zones| zones.is_strictly_atomic())
}

/// What was judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) keys: u64,
    pub(crate) reads: u64,
    pub(crate) changes: u64,
    pub(crate) possibly_stale: u64,
}

/// The verdict `holds` of a promise, with its evidence.
pub(crate) fn held(mut verdict: Verdict, counts: &Counts) -> Verdict {
    let Counts { keys, reads, changes, possibly_stale } = *counts;
    verdict.count("keys_judged", keys);
    verdict.count("operations_judged", reads + changes);
    verdict.count("reads_judged", reads);
    verdict.count("reads_possibly_stale", possibly_stale);
    for none in ["reads_possibly_stale_near_faults", "reads_near_faults", "reads_stale", "reads_impossible"] {
        verdict.count(none, 0);
    }
    verdict.count("reads_of_some_delete", 0);
    let sentence = format!(
        "{} of {} judged, {possibly_stale} of them could have been stale (0 during a fault or shortly after), and none was.",
        counted(reads, "read"),
        counted(keys, "key"),
    );
    verdict.because(Judgement::Holds, sentence)
}

/// Reads before which the session (in real time, anyone) had seen or made a version that was begun after another had been
/// acknowledged: the older one could have been returned.
fn possibly_stale(graph: &Graph<'_>, promise: Promise) -> u64 {
    let binds = |is_read: bool| match promise.session {
        SessionPromise::Reads => is_read,
        SessionPromise::OwnWrites => !is_read,
        SessionPromise::Everything => true,
    };
    let keys = graph.registers.keys.len();
    let mut first_acknowledged = vec![OPEN; keys];
    for (at, node) in graph.nodes.iter().enumerate().filter(|(_, node)| !node.is_read) {
        let first = &mut first_acknowledged[node.key as usize];
        let op = graph.op(at as u32);
        *first = (*first).min(if op.outcome == Outcome::Ok { op.completed } else { OPEN });
    }
    let newer = |at: usize| {
        let node = graph.nodes[at];
        let is_version = node.version != INITIAL && node.version != UNKNOWN;
        is_version && graph.op(node.version).invoked > first_acknowledged[node.key as usize]
    };
    // From when on somebody had seen or made such a version, by key.
    let mut shown = vec![OPEN; keys];
    let mut seen: Vec<(u32, u32)> = Vec::new();
    let mut table = Table::default();
    let hash = |place: (u32, u32)| hash_pair(u64::from(place.0), u64::from(place.1));
    if promise.real_time {
        for (at, node) in graph.nodes.iter().enumerate() {
            if binds(node.is_read) && newer(at) {
                let shown = &mut shown[node.key as usize];
                *shown = (*shown).min(graph.op(at as u32).completed);
            }
        }
    }
    let mut count = 0;
    for (at, node) in graph.nodes.iter().enumerate() {
        let place = (node.session, node.key);
        if node.is_read {
            let in_session = || table.find(hash(place), |known| seen[known as usize] == place).is_some();
            count += u64::from(graph.op(at as u32).invoked > shown[node.key as usize] || in_session());
        }
        if binds(node.is_read) && newer(at) && graph.op(at as u32).completed != OPEN {
            let new = seen.len() as u32;
            let known = table.find_or_insert(
                hash(place),
                new,
                |known| seen[known as usize] == place,
                |known| hash(seen[known as usize]),
            );
            if known == new {
                seen.push(place);
            }
        }
    }
    count
}
