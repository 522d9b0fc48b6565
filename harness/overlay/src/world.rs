//! The world of the dissemination layer: nodes, latencies, links that break, processes that die and come back, cuts.
//!
//! *Links.* What is sent to a node that can be reached arrives after the latency of the pair; the link is not modelled further.
//! A node that dies, or a cut, breaks links: each side hears of it up to `noticed_ms` later. Who sends to a node that can't be
//! reached and that it is not linked with dials in vain, and hears so after `dial_failed_ms`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearsay_core::dissemination::{
    Dissemination, DisseminationConfig, DisseminationCounters, DisseminationInput, DisseminationMessage, Effects,
    MessageId, Payload, Peers,
};
use hearsay_core::{Link, NodeId, Planted, Time};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::schedule::{STEP_NS, Schedule};

const MS: u64 = 1_000_000;
/// Most events that wait: a protocol that answers each message with several would otherwise take all memory there is.
const WAITING_MAX: usize = 4_000_000;

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// How many nodes, numbered from 1.
    pub nodes: u16,
    /// Feeds every draw.
    pub seed: u64,
    /// The layer's knobs.
    pub dissemination: Arc<DisseminationConfig>,
    /// Shortest latency of a pair, one way.
    pub latency_min_ms: u64,
    /// Longest.
    pub latency_max_ms: u64,
    /// A broken link is noticed so much later at most; half of it at least.
    pub noticed_ms: u64,
    /// A dial in vain is noticed so much later.
    pub dial_failed_ms: u64,
    /// What a node sends leaves it one message after the other, each after so many microseconds; 0: at once. What has not left a
    /// node when it dies is lost.
    pub sending_us: u64,
    /// The mistake that is planted, where the build has any.
    pub planted: Planted,
}

impl Default for WorldConfig {
    fn default() -> WorldConfig {
        WorldConfig {
            nodes: 100,
            seed: 1,
            dissemination: Arc::default(),
            latency_min_ms: 10,
            latency_max_ms: 50,
            noticed_ms: 500,
            dial_failed_ms: 200,
            sending_us: 0,
            planted: Planted::NONE,
        }
    }
}

/// How far a broadcast got.
#[derive(Clone, Debug)]
pub struct Spread {
    /// When it was published, nanoseconds.
    pub published_ns: u64,
    /// When and where it was delivered, its origin included, in order.
    pub delivered: Vec<(u64, NodeId)>,
    /// Most hops of a delivery.
    pub last_hop: u16,
    /// Sum of the hops of all deliveries.
    pub hops: u64,
    /// Deliveries to a process that had it already.
    pub twice: u64,
    /// By node: the start that had it delivered.
    seen: Vec<u32>,
}

impl Spread {
    /// Whether the process that runs at `node` now, or ran last, had it delivered.
    pub fn has_reached(&self, node: NodeId) -> bool {
        self.seen[usize::from(node.0) - 1] > 0
    }

    /// Time from its publication to its last delivery, nanoseconds.
    pub fn duration_ns(&self) -> u64 {
        self.delivered.last().map_or(0, |(at, _)| at - self.published_ns)
    }
}

#[derive(Debug)]
enum Event {
    Arrive {
        from: NodeId,
        to: NodeId,
        /// The process that sent it.
        start: u32,
        message: DisseminationMessage,
    },
    Deadline {
        node: NodeId,
    },
    /// A link broke; void if the peer is the same process and can be reached again.
    Broken {
        node: NodeId,
        peer: NodeId,
        start: u32,
    },
    DialFailed {
        node: NodeId,
        peer: NodeId,
    },
}

#[derive(Debug)]
struct Node {
    layer: Option<Dissemination>,
    /// Counts the processes of this node.
    start: u32,
    /// The side of the cut that it is on.
    side: u8,
    armed_ns: u64,
    /// Until then its earlier messages leave.
    sending_until_ns: u64,
    /// When its last process died.
    died_ns: u64,
}

/// A world of nodes.
#[derive(Debug)]
pub struct World {
    config: WorldConfig,
    members: Arc<[NodeId]>,
    nodes: Vec<Node>,
    /// Pairs, the smaller first, that nothing passes between.
    broken: BTreeSet<(NodeId, NodeId)>,
    schedule: Schedule<Event>,
    rng: ChaCha8Rng,
    spreads: BTreeMap<MessageId, Spread>,
    /// Counters of processes that are gone.
    gone: DisseminationCounters,
    events: u64,
}

fn place(node: NodeId) -> usize {
    usize::from(node.0) - 1
}

impl World {
    /// A world without a running node.
    pub fn new(config: WorldConfig) -> World {
        let members: Arc<[NodeId]> = (1..=config.nodes).map(NodeId).collect();
        let nodes = (0..config.nodes)
            .map(|_| Node { layer: None, start: 0, side: 0, armed_ns: u64::MAX, sending_until_ns: 0, died_ns: 0 })
            .collect();
        let rng = ChaCha8Rng::seed_from_u64(config.seed);
        World {
            config,
            members,
            nodes,
            broken: BTreeSet::new(),
            schedule: Schedule::new(),
            rng,
            spreads: BTreeMap::new(),
            gone: DisseminationCounters::default(),
            events: 0,
        }
    }

    /// Every node of the world, running or not.
    pub fn members(&self) -> &[NodeId] {
        &self.members
    }

    /// Those that run.
    pub fn running(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.iter().copied().filter(|node| self.layer(*node).is_some())
    }

    /// The layer of a node; `None`: it does not run.
    pub fn layer(&self, node: NodeId) -> Option<&Dissemination> {
        self.nodes[place(node)].layer.as_ref()
    }

    /// Nanoseconds since the start.
    pub fn now_ns(&self) -> u64 {
        self.schedule.now()
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// How far a broadcast got.
    pub fn spread(&self, id: MessageId) -> &Spread {
        &self.spreads[&id]
    }

    /// All broadcasts.
    pub fn spreads(&self) -> impl Iterator<Item = (&MessageId, &Spread)> {
        self.spreads.iter()
    }

    /// What all nodes did so far, those included that run no more.
    pub fn counters(&self) -> DisseminationCounters {
        let mut sum = self.gone.clone();
        for layer in self.nodes.iter().filter_map(|node| node.layer.as_ref()) {
            sum.add(&layer.counters());
        }
        sum
    }

    /// Chance for whoever steers this world.
    pub fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.rng
    }

    /// Starts a node that does not run, without memory.
    pub fn start(&mut self, node: NodeId) {
        let now = Time(self.now_ns());
        let state = &mut self.nodes[place(node)];
        assert!(state.layer.is_none(), "{node} runs already");
        state.start += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.config.seed.to_be_bytes());
        seed[8..10].copy_from_slice(&node.0.to_be_bytes());
        seed[10..14].copy_from_slice(&state.start.to_be_bytes());
        let (layer, effects) = Dissemination::new(
            &self.config.dissemination,
            self.config.planted,
            node,
            u64::from(state.start),
            Arc::clone(&self.members),
            &seed,
            now,
        );
        state.layer = Some(layer);
        state.armed_ns = u64::MAX;
        self.take(node, effects);
    }

    /// Kills a node; its neighbours notice it later.
    pub fn kill(&mut self, node: NodeId) {
        self.end(node);
        self.break_links(|a, b| a == node || b == node);
    }

    /// Kills several nodes at once.
    pub fn kill_all(&mut self, nodes: &[NodeId]) {
        for node in nodes {
            self.end(*node);
        }
        let running: Vec<bool> = self.nodes.iter().map(|node| node.layer.is_some()).collect();
        self.break_links(|_, b| !running[place(b)]);
    }

    fn end(&mut self, node: NodeId) {
        let now = self.now_ns();
        let state = &mut self.nodes[place(node)];
        if let Some(layer) = state.layer.take() {
            self.gone.add(&layer.counters());
            (state.died_ns, state.sending_until_ns) = (now, now);
        }
    }

    /// Breaks the link between two nodes for good; both live on.
    pub fn break_link(&mut self, one: NodeId, other: NodeId) {
        let pair = (one.min(other), one.max(other));
        self.broken.insert(pair);
        self.break_links(|a, b| (a.min(b), a.max(b)) == pair);
    }

    /// Puts every node on a side; nothing passes between sides. All on one side: no cut.
    pub fn cut(&mut self, side: impl Fn(NodeId) -> u8) {
        let old: Vec<u8> = self.nodes.iter().map(|node| node.side).collect();
        for node in Arc::clone(&self.members).iter() {
            self.nodes[place(*node)].side = side(*node);
        }
        let new: Vec<u8> = self.nodes.iter().map(|node| node.side).collect();
        let parted = |sides: &[u8], a: NodeId, b: NodeId| sides[place(a)] != sides[place(b)];
        self.break_links(|a, b| parted(&new, a, b) && !parted(&old, a, b));
    }

    /// Links (from the view of their owner) that are broken are noticed by the owners that run.
    fn break_links(&mut self, broken: impl Fn(NodeId, NodeId) -> bool) {
        let mut noticed = Vec::new();
        for node in self.running() {
            let layer = self.layer(node).expect("it runs");
            let Peers::View(view) = layer.peers() else { continue };
            let asked = layer.asked();
            noticed.extend(view.iter().chain(&asked).filter(|peer| broken(node, **peer)).map(|peer| (node, *peer)));
        }
        for (node, peer) in noticed {
            self.notice(node, peer);
        }
    }

    fn notice(&mut self, node: NodeId, peer: NodeId) {
        let most = self.config.noticed_ms * MS;
        let at = self.now_ns() + self.rng.random_range(most / 2..=most);
        let start = self.nodes[place(peer)].start;
        self.schedule.push(at, Event::Broken { node, peer, start });
    }

    fn reaches(&self, from: NodeId, to: NodeId) -> bool {
        if !self.broken.is_empty() && self.broken.contains(&(from.min(to), from.max(to))) {
            return false;
        }
        let (from, to) = (&self.nodes[place(from)], &self.nodes[place(to)]);
        to.layer.is_some() && from.side == to.side
    }

    /// Publishes `length` bytes at a node that runs.
    pub fn publish(&mut self, node: NodeId, length: usize) -> MessageId {
        let id = self.nodes[place(node)].layer.as_ref().expect("it runs").next_id();
        let spread = Spread {
            published_ns: self.now_ns(),
            delivered: Vec::new(),
            last_hop: 0,
            hops: 0,
            twice: 0,
            seen: vec![0; self.nodes.len()],
        };
        self.spreads.insert(id, spread);
        self.handle(node, DisseminationInput::Publish(Payload(Arc::from(vec![0; length]))));
        id
    }

    /// Lets time pass.
    pub fn run_ms(&mut self, milliseconds: u64) {
        self.run_until_ns(self.now_ns() + milliseconds * MS);
    }

    /// Lets time pass until then.
    pub fn run_until_ns(&mut self, until_ns: u64) {
        while let Some(event) = self.schedule.pop(until_ns) {
            self.events += 1;
            match event {
                Event::Arrive { from, to, start, message } => self.arrive(from, to, start, message),
                Event::Deadline { node } => self.deadline(node),
                Event::Broken { node, peer, start } => {
                    if !self.reaches(node, peer) || self.nodes[place(peer)].start != start {
                        self.handle(node, DisseminationInput::Link { peer, state: Link::Down });
                    }
                }
                Event::DialFailed { node, peer } => {
                    self.handle(node, DisseminationInput::Link { peer, state: Link::Down });
                }
            }
        }
    }

    fn arrive(&mut self, from: NodeId, to: NodeId, start: u32, message: DisseminationMessage) {
        let sender = &self.nodes[place(from)];
        let gone = sender.layer.is_none() || sender.start != start;
        if !self.reaches(from, to) || (gone && self.now_ns() > sender.died_ns + self.latency_ns(from, to) + STEP_NS) {
            return;
        }
        self.handle(to, DisseminationInput::Peer { from, message });
        // The sender died meanwhile, and may just have become a neighbour.
        if self.layer(from).is_none() && self.is_linked(to, from) {
            self.notice(to, from);
        }
    }

    fn is_linked(&self, node: NodeId, peer: NodeId) -> bool {
        self.layer(node).is_some_and(|layer| match layer.peers() {
            Peers::View(view) => view.binary_search(&peer).is_ok(),
            Peers::All { .. } => true,
        })
    }

    fn deadline(&mut self, node: NodeId) {
        let now = self.now_ns();
        let state = &mut self.nodes[place(node)];
        if state.armed_ns.div_ceil(STEP_NS) != now / STEP_NS {
            return;
        }
        state.armed_ns = u64::MAX;
        self.handle(node, DisseminationInput::Deadline);
    }

    fn handle(&mut self, node: NodeId, input: DisseminationInput) {
        let now = Time(self.now_ns());
        let Some(layer) = self.nodes[place(node)].layer.as_mut() else { return };
        let effects = layer.handle(now, input);
        self.take(node, effects);
    }

    fn take(&mut self, node: NodeId, effects: Effects) {
        let now = self.now_ns();
        for delivery in effects.delivered {
            let spread = self.spreads.get_mut(&delivery.message.id).expect("only what was published is delivered");
            let start = self.nodes[place(node)].start;
            if spread.seen[place(node)] == start {
                spread.twice += 1;
            } else {
                spread.seen[place(node)] = start;
                spread.delivered.push((now, node));
                spread.last_hop = spread.last_hop.max(delivery.round);
                spread.hops += u64::from(delivery.round);
            }
        }
        let waiting = self.schedule.waiting();
        assert!(waiting <= WAITING_MAX, "a storm: {waiting} messages are on their way at once");
        for (to, message) in effects.send {
            if self.reaches(node, to) {
                let latency = self.latency_ns(node, to);
                let sender = &mut self.nodes[place(node)];
                let leaves = sender.sending_until_ns.max(now) + self.config.sending_us * 1_000;
                sender.sending_until_ns = leaves;
                let start = sender.start;
                self.schedule.push(leaves + latency, Event::Arrive { from: node, to, start, message });
            } else if !self.is_linked(node, to) {
                let at = now + self.config.dial_failed_ms * MS;
                self.schedule.push(at, Event::DialFailed { node, peer: to });
            }
        }
        let state = &mut self.nodes[place(node)];
        let next = state.layer.as_ref().and_then(Dissemination::next_deadline);
        if let Some(next) = next
            && next.0 < state.armed_ns
        {
            state.armed_ns = next.0.max(now);
            self.schedule.push(state.armed_ns, Event::Deadline { node });
        }
    }

    /// One way, equal both ways, drawn once for each pair.
    fn latency_ns(&self, a: NodeId, b: NodeId) -> u64 {
        let (low, high) = (u64::from(a.0.min(b.0)), u64::from(a.0.max(b.0)));
        let mut state = self.config.seed ^ (low << 32 | high).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // SplitMix64: one draw for a pair, without memory.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
        let (least, most) = (self.config.latency_min_ms * MS, self.config.latency_max_ms * MS);
        least + state % (most - least + 1)
    }
}
