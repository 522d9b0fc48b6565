//! Levels whose check takes polynomial time although the order of versions is not known.
//!
//! If S reads x from T, and S has seen T' in the sense of the level, and T' writes x too, then T' comes before T. The level
//! holds exactly if these orders, those of sessions and those of reading form no cycle. What *seen* means: read from earlier
//! in S (read committed), read from by S at all (read atomic), before S by any number of steps (causal). Where the order of
//! versions is known (lists), it takes part.
//!
//! Source: Biswas and Enea, On the complexity of checking transactional consistency, 2019. The time is that of Moldt et al.,
//! AWDIT, 2025: n^1.5 for the first two, n times sessions for the last.

use super::graph::Graph;
use super::history::TransactionHistory;
use super::observed::{ExternalRead, INITIAL, Observed};
use crate::Outcome;

/// An order of two writers of a key that must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inferred {
    pub(crate) key: u32,
    pub(crate) earlier: u32,
    /// [`INITIAL`]: then the level is broken.
    pub(crate) later: u32,
    /// Who saw `earlier` and read from `later`.
    pub(crate) reader: u32,
}

/// Sources of the reads of one transaction, each with its first read.
struct Sources {
    /// Transactions and the position of the first read from them.
    first: Vec<(u32, u32)>,
    /// Per key: the last read of it, of which transaction.
    head: Vec<(u32, u32)>,
    /// Per read: the read of the same key before.
    before: Vec<u32>,
    /// Per transaction: who read from it last.
    met: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Sources {
    fn new(history: &TransactionHistory) -> Sources {
        Sources {
            first: Vec::new(),
            head: vec![(NONE, NONE); history.key_count()],
            before: Vec::new(),
            met: vec![NONE; history.transactions().len()],
        }
    }

    fn of(&mut self, reader: u32, reads: &[ExternalRead]) {
        self.first.clear();
        self.before.clear();
        for (at, read) in (0_u32..).zip(reads) {
            let head = &mut self.head[read.key as usize];
            self.before.push(if head.0 == reader { head.1 } else { NONE });
            *head = (reader, at);
            if read.from != INITIAL && std::mem::replace(&mut self.met[read.from as usize], reader) != reader {
                self.first.push((read.from, at));
            }
        }
    }
}

/// Orders by the rule of read committed (`in_order`) or read atomic, without sessions.
pub(crate) fn direct(history: &TransactionHistory, observed: &Observed, in_order: bool, out: &mut Vec<Inferred>) {
    let mut sources = Sources::new(history);
    for (id, _) in history.iter() {
        let reads = observed.reads.of(id.0);
        if reads.len() < 2 {
            continue;
        }
        sources.of(id.0, reads);
        for (earlier, first) in &sources.first {
            let from = if in_order { *first as usize + 1 } else { 0 };
            let (writes, rest) = (observed.writes.of(*earlier), &reads[from..]);
            let mut found = |read: &ExternalRead| {
                if read.from != *earlier {
                    out.push(Inferred { key: read.key, earlier: *earlier, later: read.from, reader: id.0 });
                }
            };
            if rest.len() <= 2 * writes.len() {
                rest.iter().filter(|read| writes.binary_search(&read.key).is_ok()).for_each(&mut found);
                continue;
            }
            for key in writes {
                let (reader, mut at) = sources.head[*key as usize];
                while reader == id.0 && at != NONE && at as usize >= from {
                    found(&reads[at as usize]);
                    at = sources.before[at as usize];
                }
            }
        }
    }
}

/// Orders by the rule of read atomic along sessions: the last writer of the session is seen.
pub(crate) fn session(history: &TransactionHistory, observed: &Observed, out: &mut Vec<Inferred>) {
    let mut by_session: Vec<Vec<u32>> = vec![Vec::new(); history.session_count()];
    for (id, transaction) in history.iter().filter(|(id, _)| observed.took_part[id.0 as usize]) {
        by_session[transaction.session as usize].push(id.0);
    }
    let mut last = vec![(NONE, NONE); history.key_count()];
    for (session, transactions) in (0_u32..).zip(&by_session) {
        for id in transactions {
            for read in observed.reads.of(*id) {
                let (of, earlier) = last[read.key as usize];
                if of == session && earlier != read.from {
                    out.push(Inferred { key: read.key, earlier, later: read.from, reader: *id });
                }
            }
            if history.transactions()[*id as usize].outcome == Outcome::Ok {
                for key in observed.writes.of(*id) {
                    last[*key as usize] = (session, *id);
                }
            }
        }
    }
}

/// Columns of vector clocks that are computed at once.
const COLUMNS: usize = 16;

/// Which orders of versions are of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Those that do not follow from the order itself: what makes a cycle of it.
    New,
    /// All, also those between a writer and the writers that it follows.
    Writers,
}

/// Orders by the causal rule, or by that of any other order: `before` is a graph without cycles, `mask` its edges. Returns
/// whether all were found; beyond `max` the rest is left out.
pub(crate) fn closure(
    history: &TransactionHistory,
    observed: &Observed,
    before: &Graph,
    mask: u8,
    extent: Extent,
    max: usize,
    out: &mut Vec<Inferred>,
) -> bool {
    let order = topological(before, mask);
    let chains = Chains::new(history, observed);
    let mut clocks = vec![[0_u32; COLUMNS]; before.nodes() as usize];
    for block in 0..chains.count.div_ceil(COLUMNS as u32) {
        clocks.iter_mut().for_each(|clock| *clock = [0; COLUMNS]);
        for node in &order {
            let mut clock = clocks[*node as usize];
            if let Some((chain, position)) = chains.of.get(*node as usize)
                && chain / COLUMNS as u32 == block
            {
                let column = &mut clock[*chain as usize % COLUMNS];
                *column = (*column).max(position + 1);
            }
            for arc in before.leaving(*node).iter().filter(|arc| arc.kind & mask != 0) {
                let to = &mut clocks[arc.to as usize];
                to.iter_mut().zip(clock).for_each(|(to, from)| *to = (*to).max(from));
            }
        }
        for (id, _) in history.iter() {
            let clock = &clocks[id.0 as usize];
            for read in observed.reads.of(id.0) {
                let later = if read.from == INITIAL { None } else { Some(&clocks[read.from as usize]) };
                for group in chains.groups(read.key, block) {
                    // The last writer of the key in that chain which the reader follows.
                    let column = group.chain as usize % COLUMNS;
                    let (seen, known) = (clock[column], later.map_or(0, |later| later[column]));
                    if extent == Extent::New && seen <= known {
                        continue;
                    }
                    let Some(last) = chains.last(group, seen) else { continue };
                    let is_known = extent == Extent::New && last.position < known;
                    if last.transaction == read.from || is_known {
                        continue;
                    }
                    if out.len() >= max {
                        return false;
                    }
                    out.push(Inferred { key: read.key, earlier: last.transaction, later: read.from, reader: id.0 });
                }
            }
            if extent == Extent::New {
                continue;
            }
            let own = chains.of[id.0 as usize];
            for key in observed.writes.of(id.0) {
                for group in chains.groups(*key, block) {
                    let seen = if own.0 == group.chain { own.1 } else { clock[group.chain as usize % COLUMNS] };
                    let Some(last) = chains.last(group, seen) else { continue };
                    if out.len() >= max {
                        return false;
                    }
                    out.push(Inferred { key: *key, earlier: last.transaction, later: id.0, reader: id.0 });
                }
            }
        }
    }
    true
}

/// Every node after those that lead to it.
fn topological(graph: &Graph, mask: u8) -> Vec<u32> {
    let nodes = graph.nodes();
    let mut missing = vec![0_u32; nodes as usize];
    for node in 0..nodes {
        for arc in graph.leaving(node).iter().filter(|arc| arc.kind & mask != 0) {
            missing[arc.to as usize] += 1;
        }
    }
    let mut order: Vec<u32> = (0..nodes).filter(|node| missing[*node as usize] == 0).collect();
    let mut at = 0;
    while let Some(node) = order.get(at).copied() {
        at += 1;
        for arc in graph.leaving(node).iter().filter(|arc| arc.kind & mask != 0) {
            missing[arc.to as usize] -= 1;
            if missing[arc.to as usize] == 0 {
                order.push(arc.to);
            }
        }
    }
    assert!(order.len() == nodes as usize, "a graph with a cycle was found out before");
    order
}

/// Sessions as chains. An indeterminate transaction that is not the last of its session is a chain by itself: later ones
/// of its session do not follow it.
struct Chains {
    count: u32,
    /// Per transaction: chain, and position in it.
    of: Vec<(u32, u32)>,
    /// By key, chain and position.
    writers: Vec<ChainWriter>,
    /// Per key: where its groups begin.
    keys: Vec<u32>,
    /// By key and chain.
    groups: Vec<Group>,
}

#[derive(Clone, Copy)]
struct ChainWriter {
    position: u32,
    transaction: u32,
}

/// The writers of one key in one chain.
#[derive(Clone, Copy)]
struct Group {
    chain: u32,
    from: u32,
    to: u32,
}

impl Chains {
    fn new(history: &TransactionHistory, observed: &Observed) -> Chains {
        let mut count = history.session_count() as u32;
        let mut lengths = vec![0_u32; count as usize];
        let mut of = vec![(NONE, 0); history.transactions().len()];
        for (id, transaction) in history.iter().filter(|(id, _)| observed.took_part[id.0 as usize]) {
            let session = transaction.session as usize;
            if transaction.outcome == Outcome::Ok {
                of[id.0 as usize] = (session as u32, lengths[session]);
                lengths[session] += 1;
            } else {
                of[id.0 as usize] = (count, 0);
                count += 1;
            }
        }
        // Counting sort by key; a stable sort by chain within each.
        let mut keys = vec![0_u32; history.key_count() + 1];
        for key in observed.writes.all() {
            keys[*key as usize + 1] += 1;
        }
        for at in 1..keys.len() {
            keys[at] += keys[at - 1];
        }
        let mut next = keys.clone();
        let mut writers = vec![ChainWriter { position: 0, transaction: 0 }; observed.writes.all().len()];
        for (id, _) in history.iter() {
            for key in observed.writes.of(id.0) {
                let position = of[id.0 as usize].1;
                writers[next[*key as usize] as usize] = ChainWriter { position, transaction: id.0 };
                next[*key as usize] += 1;
            }
        }
        let chain_of = |writer: &ChainWriter| of[writer.transaction as usize].0;
        let mut groups: Vec<Group> = Vec::new();
        let mut first_groups = Vec::with_capacity(keys.len());
        for key in keys.windows(2) {
            first_groups.push(groups.len() as u32);
            let of_key = &mut writers[key[0] as usize..key[1] as usize];
            of_key.sort_unstable_by_key(|writer| (chain_of(writer), writer.position));
            let mut from = key[0];
            for writers in of_key.chunk_by(|one, other| chain_of(one) == chain_of(other)) {
                let to = from + writers.len() as u32;
                groups.push(Group { chain: chain_of(&writers[0]), from, to });
                from = to;
            }
        }
        first_groups.push(groups.len() as u32);
        Chains { count, of, writers, keys: first_groups, groups }
    }

    /// The chains of a block that have writers of a key.
    fn groups(&self, key: u32, block: u32) -> &[Group] {
        let all = &self.groups[self.keys[key as usize] as usize..self.keys[key as usize + 1] as usize];
        let columns = COLUMNS as u32;
        let from = all.partition_point(|group| group.chain < block * columns);
        let to = from + all[from..].partition_point(|group| group.chain < (block + 1) * columns);
        &all[from..to]
    }

    /// The last writer of a group among the first `seen` transactions of its chain.
    fn last(&self, group: &Group, seen: u32) -> Option<ChainWriter> {
        let writers = &self.writers[group.from as usize..group.to as usize];
        let count = partition_near(writers, seen);
        count.checked_sub(1).map(|last| writers[last])
    }
}

/// How many writers stand before a position. They are spread evenly as a rule, so the place is guessed, and looked for from
/// there in growing steps.
fn partition_near(writers: &[ChainWriter], seen: u32) -> usize {
    let Some(last) = writers.last() else { return 0 };
    if seen > last.position {
        return writers.len();
    }
    let guess = (writers.len() as u64 * u64::from(seen) / (u64::from(last.position) + 1)) as usize;
    let (mut low, mut high) = (0, writers.len() - 1);
    let mut step = 2;
    if writers[guess].position < seen {
        low = guess + 1;
        while low + step < high {
            if writers[low + step].position >= seen {
                high = low + step;
                break;
            }
            low += step;
            step *= 4;
        }
    } else {
        high = guess;
        while high > step {
            if writers[high - step].position < seen {
                low = high - step;
                break;
            }
            high -= step;
            step *= 4;
        }
    }
    low + writers[low..high].partition_point(|writer| writer.position < seen)
}

#[cfg(test)]
mod tests {
    use super::{ChainWriter, partition_near};

    #[test]
    fn the_guess_finds_what_counting_finds() {
        for positions in [vec![], vec![0], vec![7], (0..40).collect(), (0..40).map(|at| at * at).collect::<Vec<u32>>()]
        {
            let writers: Vec<ChainWriter> =
                positions.iter().map(|position| ChainWriter { position: *position, transaction: 0 }).collect();
            for seen in 0..1_700 {
                let counted = positions.iter().filter(|position| **position < seen).count();
                assert_eq!(partition_near(&writers, seen), counted, "{positions:?} before {seen}");
            }
        }
    }
}
