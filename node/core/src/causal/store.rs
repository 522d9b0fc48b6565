//! What a replica stores under the policy `dcc`: containers, the node clock, the dot log, and the rules that bind them.
//!
//! Durable layout: see `codec`. A dot enters the clock together with its log entry, or with its actor's clock entry; so the stored
//! clock is the union of both, and a write costs no clock entry.
//!
//! Invariants:
//! - The stored containers are stripped; whatever leaves this store is filled. A container is filled *before* the dots that it is
//!   joined with enter the clock: else it would seem to have seen them already, and drop their values.
//! - Containers without values are not in the table, so they leave no trace in its Merkle trees: one that has forgotten a
//!   delete and one that has not yet are equal.
//! - Everything that changes is in the write batch of the same call.
//!
//! Left out: forgetting the clock entries of actors that lost their disk; each such loss leaves an entry with every node.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::codec::{self, CausalContent};
use super::{ActorId, Container, Dot, DotLog, NodeClock, VersionVector, Watermarks};
use crate::ring::Ring;
use crate::table::Table;
use crate::{Key, NodeId, Planted, Value, WriteBatch, planted};

/// Siblings beyond which a coordinator takes no further one.
pub const SIBLINGS_MAX: usize = 32;
/// Keys looked at in one step of stripping, and dots in one step of pruning.
const STEP: usize = 1_024;

/// A container on its way to another replica, filled, and dots that it accounts for without holding their values.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Update {
    /// The key.
    pub key: Key,
    /// What is known of it.
    pub container: Container,
    /// Dots of this key that are not among the values: of deletes, and of what was overwritten.
    pub dots: Vec<Dot>,
}

/// What a causal store is to be told at its start.
#[derive(Clone, Copy, Debug)]
pub struct CausalConfig {
    /// Depth of the Merkle trees.
    pub merkle_depth: u8,
    /// Most dots in the log.
    pub log_max: usize,
    /// A planted bug.
    pub planted: Planted,
}

/// Counters of a causal store and its exchanges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CausalCounters {
    /// Writes and deletes that made a dot here.
    pub dots_made: u64,
    /// Containers from other replicas that told something new.
    pub updates_applied: u64,
    /// Containers from other replicas that told nothing new.
    pub updates_stale: u64,
    /// Containers from other replicas that can't be, ignored.
    pub updates_invalid: u64,
    /// Containers without values that were removed for good.
    pub containers_removed: u64,
    /// Log entries removed because all replicas of the key know the dot.
    pub dots_pruned: u64,
    /// Log entries removed because the log was full.
    pub dots_dropped: u64,
    /// Exchanges carried to their end.
    pub exchanges_finished: u64,
    /// Exchanges that ended in a full comparison, because the peer's log does not reach back far enough.
    pub exchanges_compared: u64,
    /// Containers sent in answers to exchanges.
    pub updates_sent: u64,
    /// Containers received in exchanges.
    pub updates_received: u64,
}

impl CausalCounters {
    /// Every counter with its name.
    pub fn by_name(&self) -> [(&'static str, u64); 11] {
        [
            ("causal_dots_made", self.dots_made),
            ("causal_updates_applied", self.updates_applied),
            ("causal_updates_stale", self.updates_stale),
            ("causal_updates_invalid", self.updates_invalid),
            ("causal_containers_removed", self.containers_removed),
            ("causal_dots_pruned", self.dots_pruned),
            ("causal_dots_dropped", self.dots_dropped),
            ("causal_exchanges_finished", self.exchanges_finished),
            ("causal_exchanges_compared", self.exchanges_compared),
            ("causal_updates_sent", self.updates_sent),
            ("causal_updates_received", self.updates_received),
        ]
    }
}

/// Why a write was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteRefused {
    /// Nobody merges the siblings.
    #[error("the key has {0} siblings that this write has not seen: read it, and write with the context of that read")]
    Siblings(usize),
}

/// The causal store of one replica.
#[derive(Debug)]
pub struct CausalStore {
    pub(super) actor: ActorId,
    pub(super) ring: Arc<Ring>,
    pub(super) planted: Planted,
    pub(super) clock: NodeClock,
    pub(super) log: DotLog,
    log_max: usize,
    pub(super) watermarks: Watermarks,
    /// Of each neighbour, in its present life, the mark of its log when everything was last compared with it.
    pub(super) compared: BTreeMap<ActorId, u64>,
    /// Containers with values.
    table: Table<Container>,
    /// Containers without.
    bare: BTreeMap<Key, Container>,
    /// Keys whose stored vector is not empty.
    unstripped: BTreeSet<Key>,
    strip_after: Option<Key>,
    prune_after: Option<Dot>,
    pub(super) counters: CausalCounters,
}

impl CausalStore {
    /// The store of `node` on a ring, as its disk has it. An empty disk begins the life `life`, which must be new.
    pub fn open(
        node: NodeId,
        life: u64,
        ring: Arc<Ring>,
        config: CausalConfig,
        content: CausalContent,
        durable: &mut WriteBatch,
    ) -> CausalStore {
        let CausalConfig { merkle_depth, log_max, planted } = config;
        let life = if planted!(planted, CounterReused) { 0 } else { life };
        let actor = ActorId { node, life: content.life.unwrap_or(life) };
        if content.life.is_none() {
            durable.puts.push(codec::life_entry(actor.life));
        }
        let mut store = CausalStore {
            actor,
            planted,
            clock: content.whole_clock(),
            log: DotLog::after_mark(content.log_mark),
            log_max: log_max.max(1),
            watermarks: Watermarks::default(),
            compared: content.compared,
            table: Table::new(&ring.owned_token_ranges(node), merkle_depth).with(planted),
            bare: BTreeMap::new(),
            unstripped: BTreeSet::new(),
            strip_after: None,
            prune_after: None,
            counters: CausalCounters::default(),
            ring,
        };
        for (dot, key) in content.log {
            store.log.insert(dot, key);
        }
        for (key, container) in content.containers {
            if store.owns(&key) {
                store.place(key, container);
            }
        }
        store
    }

    /// Who writes here.
    pub fn actor(&self) -> ActorId {
        self.actor
    }

    /// The node clock.
    pub fn clock(&self) -> &NodeClock {
        &self.clock
    }

    /// The dot log.
    pub fn log(&self) -> &DotLog {
        &self.log
    }

    /// The counters.
    pub fn counters(&self) -> &CausalCounters {
        &self.counters
    }

    /// The containers with values, with their Merkle trees. Vectors in it are stripped.
    pub fn table(&mut self) -> &mut Table<Container> {
        &mut self.table
    }

    /// The same to look at.
    pub fn table_ref(&self) -> &Table<Container> {
        &self.table
    }

    /// Containers without values that wait for the clock.
    pub fn bare_len(&self) -> usize {
        self.bare.len()
    }

    /// Whether this node is a replica of the key.
    pub fn owns(&self, key: &Key) -> bool {
        self.table.owns(key)
    }

    /// What is known of a key: its values, and all that was seen of it.
    pub fn get(&self, key: &Key) -> Container {
        let mut container = self.stored(key).cloned().unwrap_or_default();
        if !planted!(self.planted, StripWithoutFill) {
            container.fill(&self.clock, self.ring.replicas(key));
        }
        container
    }

    /// Whether a write that has seen `context` would be taken.
    ///
    /// # Errors
    /// Too many siblings that it has not seen.
    pub fn check_write(&self, key: &Key, context: &VersionVector, value: Option<&Value>) -> Result<(), WriteRefused> {
        let Some(value) = value else { return Ok(()) };
        let stored = self.stored(key).map_or(&[][..], Container::values);
        let unseen = || stored.iter().filter(|(dot, _)| !context.contains(*dot));
        let bytes: usize = unseen().map(|(_, value)| value.0.len()).sum();
        let count = unseen().count();
        let fits = count == 0 || (count < SIBLINGS_MAX && bytes + value.0.len() <= Value::LENGTH_MAX);
        if fits { Ok(()) } else { Err(WriteRefused::Siblings(count)) }
    }

    /// A client's write, or delete without a value, by somebody who has seen `context`. The result goes to the other replicas.
    ///
    /// # Panics
    /// This node is no replica of the key.
    pub fn write(
        &mut self,
        key: &Key,
        value: Option<Value>,
        context: &VersionVector,
        durable: &mut WriteBatch,
    ) -> Update {
        assert!(self.owns(key), "a dot for a key of a foreign range");
        let mut container = self.get(key);
        let dot = Dot { actor: self.actor, counter: self.clock.base(self.actor) + 1 };
        let mut seen = if planted!(self.planted, ContextIgnored) { VersionVector::default() } else { context.clone() };
        if planted!(self.planted, SiblingsDropped) {
            seen.join(container.vector());
        }
        let has_value = value.is_some();
        container.write(&seen, dot, value);
        self.enter(dot, key, durable);
        assert_eq!(self.clock.base(self.actor), dot.counter, "own dots are made in order");
        self.counters.dots_made += 1;
        let update = Update {
            key: key.clone(),
            container: container.clone(),
            dots: if has_value { Vec::new() } else { [dot].into() },
        };
        self.put(key, container, durable);
        self.bound_log(durable);
        update
    }

    /// Takes over what another replica knows of a key; whether that was news. `None`: it can't be, and nothing was changed.
    pub fn apply(&mut self, update: Update, durable: &mut WriteBatch) -> Option<bool> {
        let Update { key, container, dots } = update;
        if !self.is_possible(&key, &container, &dots) {
            self.counters.updates_invalid += 1;
            return None;
        }
        let news: BTreeSet<Dot> = container.dots().chain(dots).filter(|dot| !self.clock.contains(*dot)).collect();
        if planted!(self.planted, ClockBeforeFill) {
            news.iter().for_each(|dot| self.enter(*dot, &key, durable));
        }
        let before = self.get(&key);
        let mut joined = before.clone();
        joined.join(&container);
        let changed = joined != before || !news.is_empty();
        for dot in news {
            self.enter(dot, &key, durable);
        }
        if changed {
            self.counters.updates_applied += 1;
            self.put(&key, joined, durable);
            self.bound_log(durable);
        } else {
            self.counters.updates_stale += 1;
        }
        Some(changed)
    }

    /// Whether an update can come from a replica that works as this one does: it must not claim what nobody made.
    fn is_possible(&self, key: &Key, container: &Container, dots: &[Dot]) -> bool {
        if !(1..=Key::LENGTH_MAX).contains(&key.0.len()) || !self.owns(key) {
            return false;
        }
        let replicas = self.ring.replicas(key);
        // A dot of this life that this node has not made: its disk is older than what it has told others.
        let known_to_us = |dot: Dot| dot.actor != self.actor || dot.counter <= self.clock.base(self.actor);
        container.is_whole(replicas)
            && container.values().iter().all(|(_, value)| value.0.len() <= Value::LENGTH_MAX)
            && dots
                .iter()
                .all(|dot| dot.counter > 0 && container.accounts_for(*dot) && replicas.contains(&dot.actor.node))
            && container.dots().chain(dots.iter().copied()).all(known_to_us)
    }

    /// Strips again what could not be stripped whole before, and removes what is empty then. One bounded step.
    pub fn strip_step(&mut self, durable: &mut WriteBatch) {
        use core::ops::Bound;
        let begin = self.strip_after.take().map_or(Bound::Unbounded, Bound::Excluded);
        let keys: Vec<Key> = self.unstripped.range((begin, Bound::Unbounded)).take(STEP).cloned().collect();
        self.strip_after = keys.last().filter(|_| keys.len() == STEP).cloned();
        for key in keys {
            let container = self.get(&key);
            self.put(&key, container, durable);
        }
    }

    /// Forgets the log entries of dots that every other replica of their key is known to know. One bounded step.
    pub fn prune_step(&mut self, durable: &mut WriteBatch) {
        let dots: Vec<(Dot, bool)> = self
            .log
            .iter_after(self.prune_after)
            .take(STEP)
            .map(|(dot, key)| {
                let mut others = self.ring.replicas(key).iter().filter(|node| **node != self.actor.node);
                let knows = |node: &NodeId| self.watermarks.knows(*node, dot);
                let all = if planted!(self.planted, DotLogPrunedEarly) { others.any(knows) } else { others.all(knows) };
                (dot, all)
            })
            .collect();
        self.prune_after = dots.last().map(|(dot, _)| *dot).filter(|_| dots.len() == STEP);
        let pruned: Vec<Dot> = dots.into_iter().filter(|(_, all)| *all).map(|(dot, _)| dot).collect();
        self.counters.dots_pruned += pruned.len() as u64;
        self.forget(&pruned, durable);
    }

    /// Accounts for every dot of a neighbour's life up to `base`: it has told all it knew of them.
    pub(super) fn claim(&mut self, actor: ActorId, base: u64, durable: &mut WriteBatch) {
        if base > self.clock.base(actor) && actor != self.actor {
            self.clock.raise(actor, base);
            codec::put(durable, codec::clock_entry(actor, &self.clock));
        }
    }

    /// Notes that everything was compared with a neighbour since its log had this mark.
    pub(super) fn note_compared(&mut self, actor: ActorId, mark: u64, durable: &mut WriteBatch) {
        // Of one life per neighbour, the present one.
        let former: Vec<ActorId> =
            self.compared.keys().filter(|a| a.node == actor.node && **a != actor).copied().collect();
        for former in former {
            self.compared.remove(&former);
            durable.deletes.push(codec::compared_key(former));
        }
        self.compared.insert(actor, mark);
        codec::put(durable, codec::compared_entry(actor, mark));
    }

    /// A dot enters the clock and the log.
    fn enter(&mut self, dot: Dot, key: &Key, durable: &mut WriteBatch) {
        if self.clock.add(dot) {
            self.log.insert(dot, key.clone());
            codec::put(durable, codec::log_entry(dot, key));
        }
    }

    /// Keeps the log within its bound.
    fn bound_log(&mut self, durable: &mut WriteBatch) {
        let mut dropped = Vec::new();
        while self.log.len() > self.log_max {
            dropped.extend(self.log.drop_first());
        }
        if !dropped.is_empty() {
            self.counters.dots_dropped += dropped.len() as u64;
            self.forget(&dropped, durable);
            codec::put(durable, codec::log_mark_entry(self.log.mark()));
        }
    }

    /// Removes log entries; the clock entries keep what they stood for.
    fn forget(&mut self, dots: &[Dot], durable: &mut WriteBatch) {
        let mut actors = BTreeSet::new();
        for dot in dots {
            self.log.remove(*dot);
            durable.deletes.push(codec::log_key(*dot));
            actors.insert(dot.actor);
        }
        for actor in actors {
            codec::put(durable, codec::clock_entry(actor, &self.clock));
        }
    }

    fn stored(&self, key: &Key) -> Option<&Container> {
        self.table.get(key).or_else(|| self.bare.get(key))
    }

    /// Stores a filled container, stripped; removes it if it says nothing that the clock does not.
    fn put(&mut self, key: &Key, mut container: Container, durable: &mut WriteBatch) {
        container.strip(&self.clock);
        if planted!(self.planted, EmptyContainerRemovedEarly) && container.values().is_empty() {
            container = Container::default();
        }
        match self.stored(key) {
            Some(stored) if *stored == container => return,
            None if container.is_empty() => return,
            _ => {}
        }
        if container.is_empty() {
            self.counters.containers_removed += 1;
            durable.deletes.push(codec::container_key(key));
        } else {
            codec::put(durable, (codec::container_key(key), codec::container_value(&container)));
        }
        self.place(key.clone(), container);
    }

    fn place(&mut self, key: Key, container: Container) {
        if container.vector().is_empty() {
            self.unstripped.remove(&key);
        } else {
            self.unstripped.insert(key.clone());
        }
        if !container.values().is_empty() {
            self.bare.remove(&key);
            self.table.put(key, container);
            return;
        }
        self.table.remove(&key);
        if container.is_empty() {
            self.bare.remove(&key);
        } else {
            self.bare.insert(key, container);
        }
    }
}
