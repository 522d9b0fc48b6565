//! An order of all transactions that explains every read: searched for depth-first, with a budget of steps.
//!
//! For serializability transactions are placed one after the other. A writer may overwrite a version only when all who read it
//! have been placed; so what a transaction reads is always current, and what is possible next depends only on the *set* of
//! those placed: a set that led nowhere is never tried again. For snapshots each transaction is two events, taking the
//! snapshot (its reads) and committing (its writes); under snapshot isolation no two transactions that write a key overlap.
//! Known orders (the edges of the graph) are kept from the start.
//!
//! Some moves never hurt: a transaction that writes nothing, a commit under snapshot isolation. They are made at once.
//!
//! Source: Biswas and Enea, On the complexity of checking transactional consistency, 2019, section 4 (sets of placed
//! transactions; snapshots as two halves).

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

use super::graph::{Graph, PASS, RW, TIME, WR, WW};
use super::history::TransactionHistory;
use super::level::Cycles;
use super::observed::{INITIAL, Observed};
use crate::CheckOptions;

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is an order.
    Order,
    /// There is none.
    None,
    /// The steps ran out.
    Budget,
}

/// What kind of order is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Serial,
    Snapshots { writers_overlap: bool },
}

/// A node of the graph of events: a transaction (serial), the two events of one, or a moment of time.
type Event = u32;

/// Bytes that a set which led nowhere takes, its share of a tree's nodes included.
const DEAD_BYTES: u64 = 32;

/// Steps between two looks at the caller's clock.
const STEPS_PER_QUESTION: u64 = 4096;

/// A search, ready to run.
pub(crate) struct Search {
    kind: Kind,
    /// Events from here on are moments: they happen as soon as they can.
    moments: u32,
    followers: Vec<Vec<Event>>,
    /// Events that must come before each and are not placed yet.
    missing: Vec<u32>,
    ranks: Vec<u64>,
    /// Per transaction: versions that it reads; versions that it writes, with their keys.
    reads: Vec<Vec<u32>>,
    writes: Vec<Vec<(u32, u32)>>,
    /// Per version: who reads it and is not placed yet.
    pending: Vec<u32>,
    /// Per key: its version.
    current: Vec<u32>,
    /// Per key: a transaction that writes it is under way.
    is_being_written: Vec<bool>,
    ready: BTreeSet<(u64, Event)>,
    /// Events to place.
    left: u32,
    state: u128,
}

/// A placed event, and how to take it back.
struct Placed {
    rank: u64,
    event: Event,
    /// Versions that it replaced, by key.
    replaced: Vec<(u32, u32)>,
    /// No other move needs to be tried in its place.
    is_forced: bool,
}

impl Search {
    /// Prepares the search for an order that shows that cycles of the class are none, for cycles with one rw by that of
    /// snapshot isolation. `scope` has the kinds of edges beyond dependencies.
    pub(crate) fn new(
        history: &TransactionHistory,
        observed: &Observed,
        graph: &Graph,
        scope: u8,
        class: Cycles,
    ) -> Search {
        let kind = match class {
            Cycles::Any => Kind::Serial,
            Cycles::Prefix => Kind::Snapshots { writers_overlap: true },
            _ => Kind::Snapshots { writers_overlap: false },
        };
        let transactions = graph.transactions;
        let events_per = if kind == Kind::Serial { 1 } else { 2 };
        let moments = transactions * events_per;
        let events = (moments + graph.nodes() - transactions) as usize;
        let mut search = Search {
            kind,
            moments,
            followers: vec![Vec::new(); events],
            missing: vec![0; events],
            ranks: vec![0; events],
            reads: vec![Vec::new(); transactions as usize],
            writes: vec![Vec::new(); transactions as usize],
            pending: vec![0; history.key_count() + observed.writes.all().len()],
            current: (0..history.key_count() as u32).collect(),
            is_being_written: vec![false; history.key_count()],
            ready: BTreeSet::new(),
            left: 0,
            state: 0,
        };
        search.versions(history, observed);
        search.edges(graph, scope);
        let mut turns = vec![0_u64; history.session_count()];
        for (id, transaction) in history.iter().filter(|(id, _)| observed.took_part[id.0 as usize]) {
            search.left += events_per;
            // A transaction that writes nothing goes first, and so does a commit that may.
            let is_reader = search.writes[id.0 as usize].is_empty();
            // Where times say nothing, sessions take turns.
            let turn = &mut turns[transaction.session as usize];
            *turn += 1;
            let end = if history.is_timed() { transaction.completed.unwrap_or(transaction.invoked) } else { *turn };
            if kind == Kind::Serial {
                search.ranks[id.0 as usize] = if is_reader { 0 } else { end };
                continue;
            }
            let (start, commit) = (id.0 * 2, id.0 * 2 + 1);
            search.follow(start, commit);
            // As late as it can be: a writer that begins early keeps others from writing its keys.
            search.ranks[start as usize] = if is_reader { 0 } else { end.max(1) };
            search.ranks[commit as usize] = if search.is_forced(commit) { 0 } else { end };
        }
        for event in 0..events as u32 {
            let took_part = event >= moments || observed.took_part[(event / events_per) as usize];
            if search.missing[event as usize] == 0 && took_part {
                search.ready.insert((search.ranks[event as usize], event));
            }
        }
        search
    }

    /// Numbers versions: first the initial one of each key, then one per write.
    fn versions(&mut self, history: &TransactionHistory, observed: &Observed) {
        let mut version = history.key_count() as u32;
        for (id, _) in history.iter() {
            for key in observed.writes.of(id.0) {
                self.writes[id.0 as usize].push((*key, version));
                version += 1;
            }
        }
        for (id, _) in history.iter() {
            for read in observed.reads.of(id.0) {
                let version = if read.from == INITIAL {
                    read.key
                } else {
                    let writes = &self.writes[read.from as usize];
                    let at = writes.binary_search_by_key(&read.key, |(key, _)| *key);
                    writes[at.expect("whoever is read from wrote the key")].1
                };
                if !self.reads[id.0 as usize].contains(&version) {
                    self.reads[id.0 as usize].push(version);
                    self.pending[version as usize] += 1;
                }
            }
        }
    }

    fn follow(&mut self, from: Event, to: Event) {
        self.followers[from as usize].push(to);
        self.missing[to as usize] += 1;
    }

    fn edges(&mut self, graph: &Graph, scope: u8) {
        let transactions = graph.transactions;
        let serial = self.kind == Kind::Serial;
        let moments = self.moments;
        let start = |node: u32| match node {
            moment if moment >= transactions => moments + moment - transactions,
            node if serial => node,
            node => node * 2,
        };
        let commit = |node: u32| match node {
            node if node >= transactions || serial => start(node),
            node => node * 2 + 1,
        };
        for node in 0..graph.nodes() {
            for arc in graph.leaving(node).iter().filter(|arc| arc.kind & (WW | WR | RW | scope) != 0) {
                let (from, to) = match arc.kind {
                    kind if kind & RW != 0 => (start(node), commit(arc.to)),
                    kind if kind & WW != 0 && self.kind == (Kind::Snapshots { writers_overlap: true }) => {
                        (commit(node), commit(arc.to))
                    }
                    kind if kind & (TIME | PASS) != 0 => (commit(node), start(arc.to)),
                    _ => (commit(node), start(arc.to)),
                };
                self.follow(from, to);
            }
        }
    }

    /// Searches.
    pub(crate) fn run(mut self, options: &CheckOptions) -> Outcome {
        let steps_max = options.transactions.search_steps_max.min(options.budget.steps_max);
        let dead_max = options.budget.memory_bytes_max / DEAD_BYTES;
        let mut dead: BTreeSet<u128> = BTreeSet::new();
        let mut path: Vec<Placed> = Vec::new();
        let mut last: Option<(u64, Event)> = None;
        let mut steps = 0;
        loop {
            if self.left == 0 {
                return Outcome::Order;
            }
            let from = last.take().map_or(Unbounded, Excluded);
            let mut next = None;
            for (rank, event) in self.ready.range((from, Unbounded)) {
                steps += 1;
                let asks = steps % STEPS_PER_QUESTION == 0;
                if steps > steps_max || (asks && options.budget.is_over()) || dead.len() as u64 > dead_max {
                    return Outcome::Budget;
                }
                if self.may_happen(*event) && !dead.contains(&(self.state ^ mark(*event))) {
                    next = Some((*rank, *event));
                    break;
                }
            }
            if let Some((rank, event)) = next {
                let placed = self.place(rank, event);
                path.push(placed);
                continue;
            }
            // Nothing is possible, or all that is was tried: this set leads nowhere, nor do those that had to lead here.
            loop {
                dead.insert(self.state);
                let Some(placed) = path.pop() else { return Outcome::None };
                let (is_forced, place) = (placed.is_forced, (placed.rank, placed.event));
                self.take_back(placed);
                if !is_forced {
                    last = Some(place);
                    break;
                }
            }
        }
    }

    fn transaction(&self, event: Event) -> usize {
        (if self.kind == Kind::Serial { event } else { event / 2 }) as usize
    }

    fn is_commit(&self, event: Event) -> bool {
        self.kind != Kind::Serial && event % 2 == 1
    }

    fn is_forced(&self, event: Event) -> bool {
        event >= self.moments
            || self.writes[self.transaction(event)].is_empty()
            || (self.is_commit(event) && self.kind == Kind::Snapshots { writers_overlap: false })
    }

    /// Whether an event whose predecessors are placed may come next.
    fn may_happen(&self, event: Event) -> bool {
        if event >= self.moments {
            return true;
        }
        let transaction = self.transaction(event);
        let mut writes = self.writes[transaction].iter();
        match self.kind {
            Kind::Snapshots { writers_overlap } if !self.is_commit(event) => {
                writers_overlap || writes.all(|(key, _)| !self.is_being_written[*key as usize])
            }
            _ => writes.all(|(key, _)| {
                let current = self.current[*key as usize];
                let own = self.kind == Kind::Serial && self.reads[transaction].contains(&current);
                self.pending[current as usize] == u32::from(own)
            }),
        }
    }

    fn place(&mut self, rank: u64, event: Event) -> Placed {
        self.ready.remove(&(rank, event));
        let mut replaced = Vec::new();
        if event < self.moments {
            self.left -= 1;
            let transaction = self.transaction(event);
            if self.kind == Kind::Serial || !self.is_commit(event) {
                for version in &self.reads[transaction] {
                    self.pending[*version as usize] -= 1;
                }
            }
            for (key, version) in &self.writes[transaction] {
                if self.kind == Kind::Serial || self.is_commit(event) {
                    replaced.push((*key, std::mem::replace(&mut self.current[*key as usize], *version)));
                }
                self.is_being_written[*key as usize] = !self.is_commit(event);
            }
        }
        self.state ^= mark(event);
        for to in &self.followers[event as usize] {
            self.missing[*to as usize] -= 1;
            if self.missing[*to as usize] == 0 {
                self.ready.insert((self.ranks[*to as usize], *to));
            }
        }
        Placed { rank, event, replaced, is_forced: self.is_forced(event) }
    }

    fn take_back(&mut self, placed: Placed) {
        let event = placed.event;
        for to in &self.followers[event as usize] {
            if self.missing[*to as usize] == 0 {
                self.ready.remove(&(self.ranks[*to as usize], *to));
            }
            self.missing[*to as usize] += 1;
        }
        self.state ^= mark(event);
        if event < self.moments {
            self.left += 1;
            let transaction = self.transaction(event);
            if self.kind == Kind::Serial || !self.is_commit(event) {
                for version in &self.reads[transaction] {
                    self.pending[*version as usize] += 1;
                }
            }
            for (key, _) in &self.writes[transaction] {
                self.is_being_written[*key as usize] = self.is_commit(event);
            }
            for (key, version) in placed.replaced {
                self.current[key as usize] = version;
            }
        }
        self.ready.insert((placed.rank, event));
    }
}

/// A number for an event; those of a set, added without carry, stand for the set.
fn mark(event: Event) -> u128 {
    let mix = |seed: u64| {
        let mut number = (u64::from(event) + 1).wrapping_mul(seed);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    };
    u128::from(mix(0x9e37_79b9_7f4a_7c15)) << 64 | u128::from(mix(0xc2b2_ae3d_27d4_eb4f))
}
