//! Registers tell who read from whom, not which version followed which. Some of that follows from what is read.
//!
//! If T' and T write x, and T' comes before T in the order that a level promises (reading, sessions, real time), T' wrote the
//! earlier version. The same if somebody follows T' and reads x from T. Who read the earlier version then comes before T. All
//! of this holds at consistent view and above; the orders that do not follow from it are for [`super::search`].
//!
//! Sources: Kingsbury and Alvaro, Elle, 2020, section 5 (registers); Biswas and Enea 2019.

use super::axioms::{self, Inferred};
use super::graph::{Edge, Graph, INFERRED, RW, WR, WW};
use super::history::{Key, TransactionHistory, TransactionId};
use super::level::{Anomaly, Scope};
use super::observed::{INITIAL, Observed};
use super::story::{Findings, name};

/// Orders of versions, and edges, that are derived at most; what is beyond is left to the search.
const DERIVED_MAX: usize = 4_000_000;

/// Edges from writers to readers, of registers.
pub(crate) fn reads_from(history: &TransactionHistory, observed: &Observed) -> Vec<Edge> {
    let mut edges = Vec::with_capacity(observed.reads.all().len());
    for (id, _) in history.iter() {
        for read in observed.reads.of(id.0).iter().filter(|read| !observed.is_list[read.key as usize]) {
            if read.from != INITIAL {
                edges.push(Edge { from: read.from, to: id.0, kind: WR, origin: read.key });
            }
        }
    }
    edges
}

/// Orders of versions that follow, with the edges that follow from them.
#[derive(Debug, Default)]
pub(crate) struct Derived {
    pub(crate) inferred: Vec<Inferred>,
    pub(crate) edges: Vec<Edge>,
}

/// Derives what it can; `before` has the edges of reading and of the scope, without cycles.
pub(crate) fn derive(
    history: &TransactionHistory,
    observed: &Observed,
    scope: Scope,
    before: &Graph,
    mask: u8,
) -> Derived {
    let mut inferred: Vec<Inferred> = Vec::new();
    if scope == Scope::Plain {
        axioms::direct(history, observed, false, &mut inferred);
        writes_follow_reads(history, observed, &mut inferred);
    } else {
        axioms::closure(history, observed, before, mask, axioms::Extent::Writers, DERIVED_MAX, &mut inferred);
    }
    inferred.retain(|one| !observed.is_list[one.key as usize]);
    // What follows from the order itself first: it is easier to explain.
    inferred.sort_unstable_by_key(|one| (one.key, one.earlier, one.later, one.reader != one.later, one.reader));
    inferred.dedup_by_key(|one| (one.key, one.earlier, one.later));
    // Where the order itself says the opposite, the reader is on a shorter cycle.
    let known: Vec<(u32, u32, u32)> =
        inferred.iter().filter(|one| one.reader == one.later).map(|one| (one.key, one.earlier, one.later)).collect();
    inferred.retain(|one| one.reader == one.later || known.binary_search(&(one.key, one.later, one.earlier)).is_err());
    let mut readers: Vec<(u32, u32, u32)> = Vec::new();
    for (id, _) in history.iter() {
        let reads = observed.reads.of(id.0).iter().filter(|read| !observed.is_list[read.key as usize]);
        readers.extend(reads.map(|read| (read.key, read.from, id.0)));
    }
    readers.sort_unstable();
    readers.dedup();
    let mut edges = Vec::new();
    let mut link = |edge: Edge| {
        if edge.from != edge.to && edges.len() < DERIVED_MAX {
            edges.push(edge);
        }
    };
    for (at, one) in (0_u32..).zip(&inferred) {
        if one.later == INITIAL {
            link(Edge { from: one.reader, to: one.earlier, kind: RW, origin: one.key });
            continue;
        }
        link(Edge { from: one.earlier, to: one.later, kind: WW | INFERRED, origin: at });
        let from = readers.partition_point(|reader| (reader.0, reader.1) < (one.key, one.earlier));
        let readers = readers[from..].iter().take_while(|reader| (reader.0, reader.1) == (one.key, one.earlier));
        for (_, _, reader) in readers {
            link(Edge { from: *reader, to: one.later, kind: RW | INFERRED, origin: at });
        }
    }
    // Whoever read a key before it was written comes before its first writers.
    let mut is_later = vec![false; observed.writes.all().len()];
    let mut writers: Vec<(u32, u32)> = Vec::with_capacity(is_later.len());
    for (id, _) in history.iter() {
        writers.extend(observed.writes.of(id.0).iter().map(|key| (*key, id.0)));
    }
    writers.sort_unstable();
    for one in inferred.iter().filter(|one| one.later != INITIAL) {
        if let Ok(at) = writers.binary_search(&(one.key, one.later)) {
            is_later[at] = true;
        }
    }
    for (key, _, reader) in readers.iter().filter(|(_, from, _)| *from == INITIAL) {
        let from = writers.partition_point(|writer| writer.0 < *key);
        for (at, (_, writer)) in writers.iter().enumerate().skip(from).take_while(|(_, writer)| writer.0 == *key) {
            if !is_later[at] {
                link(Edge { from: *reader, to: *writer, kind: RW, origin: *key });
            }
        }
    }
    Derived { inferred, edges }
}

/// Who read from a transaction and wrote a key that it wrote too.
fn writes_follow_reads(history: &TransactionHistory, observed: &Observed, out: &mut Vec<Inferred>) {
    for (id, _) in history.iter() {
        let writes = observed.writes.of(id.0);
        for read in observed.reads.of(id.0).iter().filter(|read| read.from != INITIAL) {
            let both = writes.iter().filter(|key| observed.writes.of(read.from).binary_search(key).is_ok());
            out.extend(both.map(|key| Inferred { key: *key, earlier: read.from, later: id.0, reader: id.0 }));
        }
    }
}

/// Versions that two ok transactions read before both wrote the key.
pub(crate) fn lost_updates(history: &TransactionHistory, observed: &Observed, findings: &mut Findings) {
    let mut updates: Vec<(u32, u32, u32)> = Vec::new();
    for (id, _) in history.iter() {
        let writes = observed.writes.of(id.0);
        let reads = observed.reads.of(id.0).iter().filter(|read| writes.binary_search(&read.key).is_ok());
        updates.extend(reads.map(|read| (read.key, read.from, id.0)));
    }
    updates.sort_unstable();
    updates.dedup();
    for group in updates.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1)).filter(|group| group.len() > 1) {
        let (first, second) = (TransactionId(group[0].2), TransactionId(group[1].2));
        findings.add(Anomaly::LostUpdate, &[first, second], || {
            let key = history.key_name(Key(group[0].0));
            let (first, second) = (name(history, first), name(history, second));
            format!(
                "{first} and {second} read the same version of {key}, and both wrote {key}: one did not see the other."
            )
        });
    }
}
