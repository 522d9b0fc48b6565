//! Some nodes with disks, and a network that loses, doubles and delays, against sets of writes.
//!
//! A write is acknowledged when two of its three replicas have it on their disks, and at most one disk is lost between two times at
//! which everything was repaired. Under that:
//! - an acknowledged value is there in the end unless some write that had seen it overwrote it;
//! - a value that an acknowledged write had seen is gone in the end, and stays so whatever arrives late;
//! - a node that accounts for the dot of a key of its own holds its value, unless somebody overwrote it;
//! - after enough exchanges all replicas are equal, the logs are empty, and of deletes nothing is left.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use rand::RngExt;
use rand::seq::IteratorRandom;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::ring::Ring;
use crate::rng::sub_stream;
use crate::table::record_digest;
use crate::{Key, NodeId, Planted, Time, Value, WriteBatch};

const NODES: u16 = 5;
const KEYS: u8 = 6;
const WRITE_LEVEL: usize = 2;

#[derive(Clone, Debug)]
enum Message {
    Update(Update),
    Exchange(ExchangeMessage),
}

#[derive(Default)]
struct Node {
    running: Option<(CausalStore, Exchanges)>,
    disk: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What waits for the disk: a batch, and what is sent after it.
    pending: VecDeque<(WriteBatch, Vec<(NodeId, Message)>)>,
}

struct Write {
    key: Key,
    dot: Dot,
    deletes: bool,
    /// The writes that its client had seen.
    seen: BTreeSet<usize>,
    /// Nodes that have it on their disks, or had.
    holders: BTreeSet<NodeId>,
    acknowledged: bool,
    /// Its coordinator died before it was on any disk: it never happened, and its dot is made again.
    void: bool,
}

struct Model {
    ring: Arc<Ring>,
    rng: ChaCha8Rng,
    planted: Planted,
    log_max: usize,
    nodes: BTreeMap<NodeId, Node>,
    flying: Vec<(NodeId, NodeId, Message)>,
    /// Copies that arrive long afterwards.
    late: Vec<(NodeId, NodeId, Message)>,
    writes: Vec<Write>,
    /// What clients have read: a key, its context, and the writes it covers.
    reads: Vec<(Key, Vec<u8>, BTreeSet<usize>)>,
    lives: u64,
    disks_lost: usize,
    comparisons: usize,
    siblings_most: usize,
    removed: u64,
}

fn key(number: u8) -> Key {
    Key(alloc::vec![b'k', number])
}

fn value_of(write: usize) -> Value {
    Value(write.to_string().into_bytes())
}

fn write_of(value: &Value) -> usize {
    core::str::from_utf8(&value.0).unwrap().parse().unwrap()
}

impl Model {
    fn new(seed: u64, log_max: usize, planted: Planted) -> Model {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let members: Vec<NodeId> = (1..=NODES).map(NodeId).collect();
        let mut model = Model {
            ring: Arc::new(Ring::new(&members, 2, 3)),
            rng: sub_stream(&bytes, "model"),
            planted,
            log_max,
            nodes: members.iter().map(|node| (*node, Node::default())).collect(),
            flying: Vec::new(),
            late: Vec::new(),
            writes: Vec::new(),
            reads: Vec::new(),
            lives: 0,
            disks_lost: 0,
            comparisons: 0,
            siblings_most: 0,
            removed: 0,
        };
        members.iter().for_each(|node| model.start(*node));
        model
    }

    fn members(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.nodes[&node].running.is_some()
    }

    fn start(&mut self, node: NodeId) {
        self.lives += 1;
        let mut content = CausalContent::default();
        let state = self.nodes.get_mut(&node).unwrap();
        for (key, value) in &state.disk {
            content.take(key, value).expect("an own entry");
        }
        let config = CausalConfig { merkle_depth: 3, log_max: self.log_max, planted: self.planted };
        let mut durable = WriteBatch::default();
        let store = CausalStore::open(node, self.lives, self.ring.clone(), config, content, &mut durable);
        state.running = Some((store, Exchanges::new(self.lives)));
        state.pending.push_back((durable, Vec::new()));
    }

    fn stop(&mut self, node: NodeId) {
        let state = self.nodes.get_mut(&node).unwrap();
        self.removed += state.running.take().map_or(0, |(store, _)| store.counters().containers_removed);
        // Some of what waited may have reached the disk, in order.
        let durable = self.rng.random_range(0..=state.pending.len());
        let batches: Vec<WriteBatch> =
            core::mem::take(&mut state.pending).into_iter().take(durable).map(|(batch, _)| batch).collect();
        batches.into_iter().for_each(|batch| self.apply(node, batch));
        for write in &mut self.writes {
            write.void |= write.holders.is_empty() && write.dot.actor.node == node;
        }
        for other in self.nodes.values_mut() {
            if let Some((_, exchanges)) = &mut other.running {
                exchanges.abandon(node);
            }
        }
    }

    /// Lets a node do something; what it sends waits for its disk.
    fn act<T>(
        &mut self,
        node: NodeId,
        act: impl FnOnce(&mut CausalStore, &mut Exchanges, &mut WriteBatch) -> (T, Vec<(NodeId, Message)>),
    ) -> Option<T> {
        let state = self.nodes.get_mut(&node).unwrap();
        let (store, exchanges) = state.running.as_mut()?;
        let mut durable = WriteBatch::default();
        let (result, send) = act(store, exchanges, &mut durable);
        state.pending.push_back((durable, send));
        Some(result)
    }

    fn sync(&mut self, node: NodeId) {
        for (batch, send) in core::mem::take(&mut self.nodes.get_mut(&node).unwrap().pending) {
            self.apply(node, batch);
            self.flying.extend(send.into_iter().map(|(to, message)| (node, to, message)));
        }
    }

    fn apply(&mut self, node: NodeId, batch: WriteBatch) {
        let disk = &mut self.nodes.get_mut(&node).unwrap().disk;
        for (key, value) in batch.puts {
            let logged = |write: &&mut Write| !write.void && codec::log_key(write.dot) == key;
            if let Some(write) = self.writes.iter_mut().find(logged) {
                write.holders.insert(node);
                // What a client would hear: acknowledgements of distinct nodes, durable.
                write.acknowledged |= write.holders.len() >= WRITE_LEVEL;
            }
            disk.insert(key, value);
        }
        for key in batch.deletes {
            disk.remove(&key);
        }
    }

    fn read(&mut self, node: NodeId, key: &Key) {
        if !self.is_up(node) || !self.ring.is_replica(node, key) {
            return;
        }
        // What is not on the disk yet may not be told.
        self.sync(node);
        let (store, _) = self.nodes[&node].running.as_ref().unwrap();
        let container = store.get(key);
        let context = CausalContext { vector: container.vector().clone() };
        let covered = |(_, write): &(usize, &Write)| write.key == *key && context.vector.contains(write.dot);
        let seen = self.writes.iter().enumerate().filter(covered).map(|(index, _)| index).collect();
        self.siblings_most = self.siblings_most.max(container.values().len());
        self.reads.push((key.clone(), context.encode(key), seen));
    }

    fn write(&mut self, node: NodeId, key: &Key, with_context: bool, deletes: bool) {
        if !self.is_up(node) || !self.ring.is_replica(node, key) {
            return;
        }
        let of_key = self.reads.iter().filter(|(of, ..)| of == key);
        let read = of_key.choose(&mut self.rng).filter(|_| with_context).cloned();
        let (_, context, seen) = read.unwrap_or((key.clone(), Vec::new(), BTreeSet::new()));
        let context = CausalContext::decode(&context, key).unwrap();
        let index = self.writes.len();
        let others: Vec<NodeId> = self.ring.replicas(key).iter().copied().filter(|other| *other != node).collect();
        let value = (!deletes).then(|| value_of(index));
        let dot = self.act(node, |store, _, durable| {
            if store.check_write(key, &context.vector, value.as_ref()).is_err() {
                return (None, Vec::new());
            }
            let update = store.write(key, value, &context.vector, durable);
            let dot = Dot { actor: store.actor(), counter: store.clock().base(store.actor()) };
            let send = others.iter().map(|to| (*to, Message::Update(update.clone()))).collect();
            (Some(dot), send)
        });
        if let Some(dot) = dot.flatten() {
            let (key, holders) = (key.clone(), BTreeSet::new());
            self.writes.push(Write { key, dot, deletes, seen, holders, acknowledged: false, void: false });
        }
    }

    fn start_exchange(&mut self, from: NodeId, peer: NodeId) {
        let shares = self.ring.neighbours(from).contains(&peer);
        if from == peer || !shares {
            return;
        }
        self.act(from, |store, exchanges, _| {
            let request = exchanges.start(Time(0), peer, store);
            ((), request.into_iter().map(|message| (peer, Message::Exchange(message))).collect())
        });
    }

    fn deliver(&mut self, from: NodeId, to: NodeId, message: Message) {
        match message {
            Message::Update(update) => {
                self.act(to, |store, _, durable| (store.apply(update, durable), Vec::new()));
            }
            Message::Exchange(message) => {
                let frame = postcard::to_allocvec(&message).unwrap();
                let message = postcard::from_bytes(&frame).unwrap();
                self.act(to, |store, exchanges, durable| {
                    let reaction = exchanges.on_message(Time(0), from, message, store, durable).unwrap_or_default();
                    let send = reaction.send.into_iter().map(|message| (from, Message::Exchange(message)));
                    ((), send.collect())
                });
            }
        }
    }

    /// Compares all keys of two nodes, as a Merkle session does, if one waits for it.
    fn compare(&mut self, a: NodeId, b: NodeId) {
        let waits = |node: &Node| node.running.as_ref().is_some_and(|(_, exchanges)| exchanges.awaits_comparison(b));
        if !waits(&self.nodes[&a]) || !self.is_up(b) {
            return;
        }
        self.comparisons += 1;
        let ring = self.ring.clone();
        for key in (0..KEYS).map(key).filter(|key| ring.is_replica(a, key) && ring.is_replica(b, key)) {
            for (from, to) in [(a, b), (b, a)] {
                let container = self.nodes[&from].running.as_ref().unwrap().0.get(&key);
                let update = Update { key: key.clone(), container, dots: Vec::new() };
                self.act(to, |store, _, durable| (store.apply(update, durable), Vec::new()));
            }
        }
        self.sync(b);
        self.sync(a);
        self.act(a, |_, exchanges, _| (exchanges.on_compared(b), Vec::new()));
    }

    fn random_node(&mut self) -> NodeId {
        NodeId(self.rng.random_range(1..=NODES))
    }

    /// One thing happens.
    fn step(&mut self, faults: bool) -> Result<(), String> {
        let (node, other) = (self.random_node(), self.random_node());
        let key = key(self.rng.random_range(0..KEYS));
        match self.rng.random_range(0..100) {
            0..10 => self.read(node, &key),
            10..16 => self.write(node, &key, false, false),
            16..28 => self.write(node, &key, true, false),
            28..34 => self.write(node, &key, true, true),
            34..40 => self.start_exchange(node, other),
            40..44 => self.compare(node, other),
            44..60 => self.sync(node),
            60..62 if faults => self.stop(node),
            62..66 if !self.is_up(node) => self.start(node),
            66..67 if faults && !self.late.is_empty() => {
                let message = self.late.swap_remove(self.rng.random_range(0..self.late.len()));
                self.flying.push(message);
            }
            _ if !self.flying.is_empty() => {
                let (from, to, message) = self.flying.swap_remove(self.rng.random_range(0..self.flying.len()));
                let fate = self.rng.random_range(0..100);
                if fate < 15 && self.late.len() < 200 {
                    self.late.push((from, to, message.clone()));
                }
                if !(faults && fate >= 80) {
                    self.deliver(from, to, message);
                }
            }
            _ => {}
        }
        self.check_clock(node)
    }

    /// Whoever accounts for a dot of its own key holds the value, unless somebody overwrote it.
    fn check_clock(&self, node: NodeId) -> Result<(), String> {
        let Some((store, _)) = &self.nodes[&node].running else { return Ok(()) };
        let overwritten: BTreeSet<usize> =
            self.writes.iter().filter(|write| !write.void).flat_map(|write| write.seen.iter().copied()).collect();
        for (index, write) in self.writes.iter().enumerate().filter(|(_, write)| !write.void) {
            let concerns = store.clock().contains(write.dot) && self.ring.is_replica(node, &write.key);
            if concerns && !write.deletes && !overwritten.contains(&index) {
                let held = store.get(&write.key).dots().any(|dot| dot == write.dot);
                if !held {
                    return Err(format!("{node} accounts for {} of write {index} and does not hold it", write.dot));
                }
            }
        }
        Ok(())
    }

    /// No faults: everybody exchanges with everybody until nothing is left to do.
    fn settle(&mut self) -> Result<(), String> {
        for node in self.members() {
            if !self.is_up(node) {
                self.start(node);
            }
            self.nodes.get_mut(&node).unwrap().running.as_mut().unwrap().1.expire(Time(u64::MAX));
        }
        for _ in 0..8 {
            for a in self.members() {
                for b in self.members() {
                    self.start_exchange(a, b);
                    self.quiesce();
                    self.compare(a, b);
                }
            }
        }
        for node in self.members() {
            self.act(node, |store, _, durable| {
                store.strip_step(durable);
                store.prune_step(durable);
                ((), Vec::new())
            });
            self.sync(node);
        }
        self.check_settled()
    }

    fn quiesce(&mut self) {
        loop {
            self.members().into_iter().for_each(|node| self.sync(node));
            let Some((from, to, message)) = self.flying.pop() else { return };
            self.deliver(from, to, message);
        }
    }

    fn check_settled(&mut self) -> Result<(), String> {
        for key in (0..KEYS).map(key) {
            let replicas = self.ring.replicas(&key).to_vec();
            let stored = |node: &NodeId| self.nodes[node].running.as_ref().unwrap().0.get(&key);
            let digest = |node: &NodeId| record_digest(&key, Some(&stored(node)));
            if replicas.iter().any(|node| digest(node) != digest(&replicas[0])) {
                let all: Vec<String> = replicas.iter().map(|node| format!("{node} {:?}", stored(node))).collect();
                return Err(format!("{key:?} differs:\n{}", all.join("\n")));
            }
            let live: BTreeSet<usize> =
                stored(&replicas[0]).values().iter().map(|(_, value)| write_of(value)).collect();
            for (index, write) in self.writes.iter().enumerate().filter(|(_, write)| write.key == key && !write.void) {
                let overwritten_by = |by: fn(&Write) -> bool| {
                    self.writes.iter().any(|other| by(other) && !other.void && other.seen.contains(&index))
                };
                if write.acknowledged && !write.deletes && !overwritten_by(|_| true) && !live.contains(&index) {
                    return Err(format!(
                        "write {index} of {key:?} was acknowledged, nobody overwrote it, and it is gone"
                    ));
                }
                if live.contains(&index) && overwritten_by(|write| write.acknowledged) {
                    return Err(format!("write {index} of {key:?} was overwritten and is there again"));
                }
            }
        }
        for (node, state) in &self.nodes {
            let (store, _) = state.running.as_ref().unwrap();
            if !store.log().is_empty() {
                return Err(format!("{node} still logs {:?}", store.log().iter_after(None).collect::<Vec<_>>()));
            }
            // A lost disk leaves gaps in its former actor's dots that nobody can close.
            if store.bare_len() > 0 && self.disks_lost == 0 {
                return Err(format!("{node} still keeps {} containers without values", store.bare_len()));
            }
        }
        Ok(())
    }

    fn run(&mut self, rounds: usize) -> Result<(), String> {
        for round in 0..rounds {
            let loses_disk = round % 3 == 2;
            for step in 0..400 {
                if loses_disk && step == 200 {
                    let node = self.random_node();
                    self.stop(node);
                    self.nodes.get_mut(&node).unwrap().disk.clear();
                    self.disks_lost += 1;
                }
                self.step(true)?;
            }
            self.settle().map_err(|error| format!("round {round}: {error}"))?;
        }
        Ok(())
    }
}

#[test]
fn nothing_acknowledged_is_lost_nothing_overwritten_returns_and_nothing_is_left_over() {
    let (mut comparisons, mut siblings, mut removed, mut acknowledged) = (0, 0, 0, 0);
    for seed in 0..12 {
        let mut model = Model::new(seed, 10_000, Planted::NONE);
        model.run(6).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        comparisons += model.comparisons;
        siblings = siblings.max(model.siblings_most);
        removed += model.removed;
        acknowledged += model.writes.iter().filter(|write| write.acknowledged).count();
    }
    // That it was worth something.
    assert!(comparisons > 12 && siblings > 3 && removed > 12, "{comparisons} {siblings} {removed}");
    assert!(acknowledged > 900, "{acknowledged}");
}

#[test]
fn a_log_that_is_too_small_falls_back_to_full_comparisons() {
    let mut comparisons = 0;
    for seed in 0..6 {
        let mut model = Model::new(seed, 5, Planted::NONE);
        model.run(4).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        comparisons += model.comparisons;
    }
    assert!(comparisons > 60, "{comparisons}");
}

/// What the model finds.
#[cfg(feature = "planted-bugs")]
pub(crate) const PLANTED: &[crate::Bug] = {
    use crate::Bug;
    &[
        Bug::ExchangeMergesAllEntries,
        Bug::DotLogPrunedEarly,
        Bug::LogGoneUnnoticed,
        Bug::StripWithoutFill,
        Bug::ClockBeforeFill,
        Bug::CounterReused,
        Bug::SiblingsDropped,
        Bug::EmptyContainerRemovedEarly,
    ]
};

#[cfg(feature = "planted-bugs")]
#[test]
fn every_planted_bug_is_found() {
    for bug in PLANTED.iter().copied() {
        let found = (0..20).find_map(|seed| {
            let found = std::panic::catch_unwind(|| Model::new(seed, 10_000, Planted(Some(bug))).run(6).err());
            found.unwrap_or_else(|_| Some("an assertion".into())).map(|error| (seed, error))
        });
        let (seed, error) = found.unwrap_or_else(|| panic!("{} was not found", bug.name()));
        std::println!("{}: seed {seed}: {}", bug.name(), error.lines().next().unwrap_or_default());
    }
}
