//! A deterministic cluster in memory: replicas, their disks and links, on one queue of events ordered by (time, sequence).
//!
//! The disk syncs late, and a crash loses what was not synced (or part of it: a write may be durable without anybody
//! having heard of it). Outputs are released in order, each behind its durable part. On every release the cluster checks
//! *durable first*: what an acknowledgement or a read answer states must be on the disk by then.

mod seen;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use std::println;

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use crate::causal::{CausalMessage, ExchangeMessage, Update};
use crate::message::{OperationId, PeerMessage, ReadAnswer};
use crate::rng::sub_stream;
use crate::*;

const MS: u64 = 1_000_000;
const EPOCH_NS: u64 = 1_700_000_000_000_000_000;

enum Happening {
    Deadline { node: NodeId, start: u64 },
    Arrive { from: NodeId, to: NodeId, message: PeerMessage },
    Release { node: NodeId, start: u64 },
    Connect { from: NodeId, to: NodeId },
    LinkLost { a: NodeId, b: NodeId },
    LossNoticed { node: NodeId, peer: NodeId },
}

struct Pending {
    output: Output,
    at: u64,
}

#[derive(Default)]
struct Disk {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Disk {
    fn apply(&mut self, batch: WriteBatch) {
        self.entries.extend(batch.puts);
        for key in batch.deletes {
            self.entries.remove(&key);
        }
    }

    fn version(&self, key: &Key) -> Option<Version> {
        let store_key = store_codec::data_key(key);
        let value = self.entries.get(&store_key)?;
        let recovered = RecoveredState { entries: alloc::vec![(store_key, value.clone())] };
        let content = store_codec::decode(recovered, Conflict::Lww);
        Some(content.expect("own entry").data.remove(0).1)
    }
}

struct SimNode {
    replica: Option<Replica>,
    /// Counts starts: what was scheduled for a former start is void.
    start: u64,
    disk: Disk,
    pending: VecDeque<Pending>,
    armed: Option<u64>,
    /// Added to the wall clock, in nanoseconds.
    skew: i64,
    events: Vec<Event>,
    /// Outputs made so far.
    outputs: u64,
}

/// Where a cluster is told to be unkind.
pub(super) struct TestCluster {
    pub(super) config: ClusterConfig,
    seed: u64,
    rng: ChaCha8Rng,
    now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    nodes: BTreeMap<NodeId, SimNode>,
    /// Pairs (smaller, larger) with a link.
    links: BTreeSet<(NodeId, NodeId)>,
    /// Stopped nodes, with what waits for them.
    paused: BTreeMap<NodeId, Vec<Happening>>,
    /// Lost links that the first of the pair has not noticed yet.
    unnoticed: BTreeSet<(NodeId, NodeId)>,
    /// Messages waiting for a link that is being made.
    dialing: BTreeMap<(NodeId, NodeId), Vec<PeerMessage>>,
    /// Directed pairs that nothing passes.
    cut: BTreeSet<(NodeId, NodeId)>,
    writes_sent: BTreeMap<(NodeId, NodeId, OperationId), (Key, Version)>,
    reads_sent: BTreeMap<(NodeId, NodeId, OperationId), Key>,
    updates_sent: BTreeMap<(NodeId, NodeId, OperationId), Update>,
    /// (coordinator, stand-in, operation): for whom, and what.
    stand_ins_sent: BTreeMap<(NodeId, NodeId, OperationId), (NodeId, Key, Version)>,
    merges_sent: BTreeMap<(NodeId, NodeId, OperationId), Vec<(Key, Version)>>,
    /// Messages released so far, by kind.
    pub(super) sent: BTreeMap<&'static str, u64>,
    /// Writes to these, or to all if there is `n0` among them, are lost on their way.
    pub(super) lost_writes: BTreeSet<NodeId>,
    /// How those come in that are no members of the configuration.
    joining: BTreeMap<NodeId, Joining>,
    /// A node that ends at once when it has made so many outputs, before any of the last is released.
    pub(super) crash_behind: Option<(NodeId, u64)>,
    /// How often that came about.
    pub(super) crashed_behind: u64,
    /// Planted in every node that starts from now on.
    pub(super) planted: Planted,
    requests: BTreeMap<RequestId, (NodeId, u64)>,
    pub(super) replies: BTreeMap<RequestId, ClientResponse>,
    /// Every output, for comparing two runs.
    pub(super) trace: blake3::Hasher,
}

impl TestCluster {
    pub(super) fn new(config: ClusterConfig, seed: u64) -> TestCluster {
        TestCluster::planted(config, seed, Planted::NONE)
    }

    pub(super) fn planted(config: ClusterConfig, seed: u64, planted: Planted) -> TestCluster {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let mut cluster = TestCluster {
            seed,
            rng: sub_stream(&bytes, "cluster"),
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            nodes: BTreeMap::new(),
            links: BTreeSet::new(),
            paused: BTreeMap::new(),
            unnoticed: BTreeSet::new(),
            dialing: BTreeMap::new(),
            cut: BTreeSet::new(),
            writes_sent: BTreeMap::new(),
            reads_sent: BTreeMap::new(),
            updates_sent: BTreeMap::new(),
            stand_ins_sent: BTreeMap::new(),
            merges_sent: BTreeMap::new(),
            sent: BTreeMap::new(),
            joining: BTreeMap::new(),
            crash_behind: None,
            crashed_behind: 0,
            lost_writes: BTreeSet::new(),
            planted,
            requests: BTreeMap::new(),
            replies: BTreeMap::new(),
            trace: blake3::Hasher::new(),
            config,
        };
        for node in cluster.members() {
            let (disk, pending) = (Disk::default(), VecDeque::new());
            let node_state = SimNode {
                replica: None,
                start: 0,
                disk,
                pending,
                armed: None,
                skew: 0,
                events: Vec::new(),
                outputs: 0,
            };
            cluster.nodes.insert(node, node_state);
        }
        for node in cluster.members() {
            cluster.start(node);
        }
        cluster
    }

    /// A node that is no member of the configuration, with its way in; it is not started.
    pub(super) fn add(&mut self, node: NodeId, replaces: Option<NodeId>) {
        let node_state = SimNode {
            replica: None,
            start: 0,
            disk: Disk::default(),
            pending: VecDeque::new(),
            armed: None,
            skew: 0,
            events: Vec::new(),
            outputs: 0,
        };
        assert!(self.nodes.insert(node, node_state).is_none(), "{node} is there already");
        self.joining.insert(node, Joining { replaces, address: Vec::new() });
    }

    /// Every node, the added ones included.
    pub(super) fn all(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// The members as a running node knows them.
    pub(super) fn topology(&self, node: NodeId) -> &ring::topology::Topology {
        &self.nodes[&node].replica.as_ref().expect("the node runs").topology
    }

    /// Whether a node has nothing more to do.
    pub(super) fn has_left(&self, node: NodeId) -> bool {
        self.nodes[&node].replica.as_ref().is_some_and(Replica::has_left)
    }

    /// Whether a node has made sure of the key's range.
    #[cfg(feature = "planted-bugs")]
    pub(super) fn is_sure(&self, node: NodeId, key: &Key) -> bool {
        self.nodes[&node].replica.as_ref().expect("the node runs").is_sure_of(key)
    }

    /// Outputs made so far by a node.
    pub(super) fn outputs(&self, node: NodeId) -> u64 {
        self.nodes[&node].outputs
    }

    /// A cluster that has caught up.
    pub(super) fn ready(config: ClusterConfig, seed: u64) -> TestCluster {
        TestCluster::ready_planted(config, seed, Planted::NONE)
    }

    pub(super) fn ready_planted(config: ClusterConfig, seed: u64, planted: Planted) -> TestCluster {
        let mut cluster = TestCluster::planted(config, seed, planted);
        cluster.run_until("every node is ready", 30_000, |cluster| {
            cluster.members().iter().all(|node| cluster.is_ready(*node))
        });
        cluster
    }

    pub(super) fn members(&self) -> Vec<NodeId> {
        self.config.members.clone()
    }

    fn now_of(&self, node: NodeId) -> Now {
        let wall = (EPOCH_NS + self.now).saturating_add_signed(self.nodes[&node].skew);
        Now { time: Time(self.now), wall: WallTime(wall) }
    }

    fn schedule(&mut self, delay: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), happening);
    }

    // ---- nodes

    pub(super) fn start(&mut self, node: NodeId) {
        let now = self.now_of(node);
        let seed = {
            let mut seed = [0; 32];
            self.rng.fill_bytes(&mut seed);
            seed
        };
        let incarnation = self.rng.next_u64();
        let state = self.nodes.get_mut(&node).expect("member");
        assert!(state.replica.is_none(), "{node} runs already");
        state.start += 1;
        state.armed = None;
        let entries = state.disk.entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let recovered = RecoveredState { entries };
        let cluster = Cluster::new(self.config.clone()).expect("a good configuration");
        let joining = self.joining.get(&node).cloned();
        let (replica, output) =
            Replica::boot_joining(&cluster, joining, self.planted, node, incarnation, recovered, seed, now)
                .expect("boot");
        state.replica = Some(replica);
        self.take(node, output);
    }

    /// Ends a process as SIGKILL does: outputs not released yet are lost, the oldest of them may be durable nevertheless.
    pub(super) fn crash(&mut self, node: NodeId) {
        let state = self.nodes.get_mut(&node).expect("member");
        if state.replica.take().is_none() {
            return;
        }
        self.paused.remove(&node);
        let durable = self.rng.random_range(0..=state.pending.len());
        for pending in state.pending.drain(..).take(durable) {
            state.disk.apply(pending.output.durable);
        }
        for (a, b) in self.links.clone() {
            if a == node || b == node {
                self.links.remove(&(a, b));
                let observer = if a == node { b } else { a };
                self.unnoticed.insert((observer, node));
                self.unnoticed.remove(&(node, observer));
                self.schedule(20 * MS, Happening::LossNoticed { node: observer, peer: node });
            }
        }
        self.dialing.retain(|(from, _), _| *from != node);
    }

    /// Stops a node as SIGSTOP does: what happens to it waits.
    pub(super) fn pause(&mut self, node: NodeId) {
        if self.is_up(node) && !self.paused.contains_key(&node) {
            self.paused.insert(node, Vec::new());
            for (a, b) in self.links.clone() {
                if a == node || b == node {
                    self.schedule(3_000 * MS, Happening::LinkLost { a, b });
                }
            }
        }
    }

    pub(super) fn resume(&mut self, node: NodeId) {
        for happening in self.paused.remove(&node).into_iter().flatten() {
            self.schedule(0, happening);
        }
    }

    pub(super) fn is_paused(&self, node: NodeId) -> bool {
        self.paused.contains_key(&node)
    }

    /// The disk is gone. The node must be down.
    pub(super) fn wipe(&mut self, node: NodeId) {
        let state = self.nodes.get_mut(&node).expect("member");
        assert!(state.replica.is_none(), "{node} runs");
        state.disk = Disk::default();
    }

    pub(super) fn is_up(&self, node: NodeId) -> bool {
        self.nodes[&node].replica.is_some()
    }

    pub(super) fn is_ready(&self, node: NodeId) -> bool {
        self.nodes[&node].replica.as_ref().is_some_and(Replica::is_ready)
    }

    pub(super) fn set_skew_ms(&mut self, node: NodeId, skew_ms: i64) {
        self.nodes.get_mut(&node).expect("member").skew = skew_ms * MS as i64;
    }

    // ---- links

    pub(super) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
        let pair = (from.min(to), from.max(to));
        if self.links.contains(&pair) {
            // The idle time-out of the connection.
            self.schedule(3_000 * MS, Happening::LinkLost { a: pair.0, b: pair.1 });
        }
    }

    pub(super) fn cut_both(&mut self, a: NodeId, b: NodeId) {
        self.cut(a, b);
        self.cut(b, a);
    }

    /// Splits the members in two sides.
    pub(super) fn partition(&mut self, side: &[NodeId]) {
        for a in self.members() {
            for b in self.members() {
                if side.contains(&a) && !side.contains(&b) {
                    self.cut_both(a, b);
                }
            }
        }
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
    }

    /// What `from` sends on its link to `to` is lost from now on, while the link seems to live.
    pub(super) fn lose_silently(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    pub(super) fn find_again(&mut self, from: NodeId, to: NodeId) {
        self.cut.remove(&(from, to));
    }

    pub(super) fn links_of(&self, node: NodeId) -> Vec<NodeId> {
        let ends = self.links.iter().filter(|(a, b)| *a == node || *b == node);
        ends.map(|(a, b)| if *a == node { *b } else { *a }).collect()
    }

    /// These members, which are down, are members no longer. All others must be down, too.
    pub(super) fn leave(&mut self, gone: &[NodeId]) {
        assert!(self.nodes.values().all(|state| state.replica.is_none()), "a running node knows the former members");
        self.config.members.retain(|node| !gone.contains(node));
        self.nodes.retain(|node, _| !gone.contains(node));
    }

    // ---- clients

    pub(super) fn request(&mut self, node: NodeId, request: ClientRequest) -> RequestId {
        self.sequence += 1;
        let id = RequestId(self.sequence);
        self.requests.insert(id, (node, self.nodes[&node].start));
        if self.is_up(node) {
            self.feed(node, Input::Client { request_id: id, request });
        }
        id
    }

    /// The answer, or `None` when its node crashed.
    pub(super) fn wait(&mut self, id: RequestId) -> Option<ClientResponse> {
        let until = self.now + 10_000 * MS;
        loop {
            if let Some(response) = self.replies.get(&id) {
                return Some(response.clone());
            }
            let (node, start) = self.requests[&id];
            if !self.is_up(node) || self.nodes[&node].start != start {
                return None;
            }
            assert!(self.now < until, "seed {}: {node} never answered {id:?}", self.seed);
            self.step();
        }
    }

    pub(super) fn call(&mut self, node: NodeId, request: ClientRequest) -> Option<ClientResponse> {
        let id = self.request(node, request);
        self.wait(id)
    }

    pub(super) fn put(&mut self, node: NodeId, key: &Key, value: &str, level: Level) -> Option<ClientResponse> {
        let value = Value(value.as_bytes().to_vec());
        self.call(node, ClientRequest::Put { key: key.clone(), value, level })
    }

    pub(super) fn get(&mut self, node: NodeId, key: &Key, level: Level) -> Option<ClientResponse> {
        self.call(node, ClientRequest::Get { key: key.clone(), level })
    }

    // ---- time

    /// Runs until `node` has made so many outputs from now on, or `over` holds; whether the latter.
    pub(super) fn run_outputs(&mut self, node: NodeId, outputs: u64, over: impl Fn(&TestCluster) -> bool) -> bool {
        let until = self.nodes[&node].outputs + outputs;
        while self.nodes[&node].outputs < until {
            if over(self) {
                return true;
            }
            self.step();
        }
        false
    }

    pub(super) fn run_ms(&mut self, ms: u64) {
        let until = self.now + ms * MS;
        while self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= until) {
            self.step();
        }
        self.now = until;
    }

    /// Runs until `condition` holds.
    pub(super) fn run_until(&mut self, what: &str, limit_ms: u64, condition: impl Fn(&TestCluster) -> bool) {
        let until = self.now + limit_ms * MS;
        while !condition(self) {
            if self.now >= until {
                let waiting: Vec<String> = self.members().iter().map(|node| self.describe(*node)).collect();
                panic!("seed {}: not within {limit_ms} ms: {what}\n{}", self.seed, waiting.join("\n"));
            }
            self.step();
        }
    }

    fn describe(&self, node: NodeId) -> String {
        match &self.nodes[&node].replica {
            None => format!("{node}: down"),
            Some(replica) => format!("{node}: catching up from {:?}", replica.catching_up_from),
        }
    }

    fn step(&mut self) {
        let Some(((at, _), happening)) = self.queue.pop_first() else { panic!("nothing left to happen") };
        self.now = at;
        let happens_to = match happening {
            Happening::Deadline { node, .. } | Happening::Release { node, .. } => Some(node),
            Happening::Arrive { to: node, .. } | Happening::LossNoticed { node, .. } => Some(node),
            Happening::Connect { from: node, .. } => Some(node),
            Happening::LinkLost { .. } => None,
        };
        if let Some(held) = happens_to.and_then(|node| self.paused.get_mut(&node)) {
            held.push(happening);
            return;
        }
        match happening {
            Happening::Deadline { node, start } => {
                let state = self.nodes.get_mut(&node).expect("member");
                if state.start == start && state.replica.is_some() && state.armed.is_some_and(|armed| armed <= at) {
                    state.armed = None;
                    self.feed(node, Input::Deadline);
                }
            }
            Happening::Arrive { from, to, message } => {
                let linked = self.links.contains(&(from.min(to), from.max(to)));
                if linked && !self.cut.contains(&(from, to)) && self.is_up(to) {
                    let bare = message.bare();
                    let lost = self.lost_writes.contains(&to) || self.lost_writes.contains(&NodeId(0));
                    if lost && matches!(bare, PeerMessage::Write { .. }) {
                        return;
                    }
                    if let PeerMessage::Write { operation, key, version } = bare {
                        self.writes_sent.insert((from, to, *operation), (key.clone(), version.clone()));
                    }
                    if let PeerMessage::Causal(CausalMessage::Write { operation, update }) = &message {
                        self.updates_sent.insert((from, to, *operation), update.clone());
                    }
                    if let PeerMessage::Read { operation, key, .. } = bare {
                        self.reads_sent.insert((from, to, *operation), key.clone());
                    }
                    if let PeerMessage::StandInWrite { operation, owner, key, version } = bare {
                        let what = (*owner, key.clone(), version.clone());
                        self.stand_ins_sent.insert((from, to, *operation), what);
                    }
                    if let PeerMessage::StandInRead { operation, key, .. } = bare {
                        self.reads_sent.insert((from, to, *operation), key.clone());
                    }
                    if let PeerMessage::Merge { operation, entries } = bare {
                        self.merges_sent.insert((from, to, *operation), entries.clone());
                    }
                    // The frame goes over the wire and back, as it would.
                    let frame = codec::encode(&message);
                    let message = codec::decode(&frame).expect("own frame");
                    self.feed(to, Input::Peer { from, message });
                }
            }
            Happening::Release { node, start } => {
                if self.nodes[&node].start == start && self.is_up(node) {
                    self.release(node);
                }
            }
            Happening::Connect { from, to } => self.connect(from, to),
            Happening::LinkLost { a, b } => {
                let cut = self.cut.contains(&(a, b)) || self.cut.contains(&(b, a));
                let broken = cut || self.is_paused(a) || self.is_paused(b);
                if broken && self.links.remove(&(a, b)) {
                    self.link_changed(a, b, Link::Down);
                }
            }
            Happening::LossNoticed { node, peer } => self.notice_loss(node, peer),
        }
    }

    fn notice_loss(&mut self, node: NodeId, peer: NodeId) {
        if self.unnoticed.remove(&(node, peer)) && self.is_up(node) {
            self.feed(node, Input::Link { peer, state: Link::Down });
        }
    }

    fn link_changed(&mut self, a: NodeId, b: NodeId, state: Link) {
        for (node, peer) in [(a, b), (b, a)] {
            if self.is_paused(node) {
                assert!(state == Link::Down, "a stopped node makes no link");
                self.unnoticed.insert((node, peer));
                self.schedule(0, Happening::LossNoticed { node, peer });
            } else if self.is_up(node) {
                self.feed(node, Input::Link { peer, state });
            }
        }
    }

    fn connect(&mut self, from: NodeId, to: NodeId) {
        let Some(messages) = self.dialing.remove(&(from, to)) else { return };
        let pair = (from.min(to), from.max(to));
        let open = !self.cut.contains(&(from, to)) && !self.cut.contains(&(to, from)) && !self.is_paused(to);
        if self.links.contains(&pair) || (open && self.is_up(from) && self.is_up(to)) {
            if self.links.insert(pair) {
                self.notice_loss(from, to);
                self.notice_loss(to, from);
                self.link_changed(pair.0, pair.1, Link::Up);
            }
            for message in messages {
                self.transmit(from, to, message);
            }
        } else if self.is_up(from) {
            self.feed(from, Input::Link { peer: to, state: Link::Down });
        }
    }

    fn transmit(&mut self, from: NodeId, to: NodeId, message: PeerMessage) {
        if self.links.contains(&(from.min(to), from.max(to))) {
            let delay = self.rng.random_range(MS / 10..2 * MS);
            self.schedule(delay, Happening::Arrive { from, to, message });
            return;
        }
        let open = !self.cut.contains(&(from, to)) && !self.cut.contains(&(to, from)) && self.is_up(to);
        let waiting = self.dialing.entry((from, to)).or_default();
        waiting.push(message);
        if waiting.len() == 1 {
            let delay = if open { 3 * MS } else { 400 * MS };
            self.schedule(delay, Happening::Connect { from, to });
        }
    }

    /// Hands a node a message of a peer that never sent it.
    #[cfg(feature = "planted-bugs")]
    pub(super) fn deliver(&mut self, from: NodeId, to: NodeId, message: PeerMessage) {
        self.schedule(0, Happening::Arrive { from, to, message });
    }

    // ---- replicas and their disks

    fn feed(&mut self, node: NodeId, input: Input) {
        let now = self.now_of(node);
        let replica = self.nodes.get_mut(&node).and_then(|state| state.replica.as_mut()).expect("the node runs");
        let output = replica.handle(now, input);
        self.take(node, output);
    }

    fn take(&mut self, node: NodeId, output: Output) {
        self.trace.update(format!("{} {node} {output:?}", self.now).as_bytes());
        let delay = if output.durable.is_empty() { 0 } else { self.rng.random_range(MS / 2..3 * MS) };
        let state = self.nodes.get_mut(&node).expect("member");
        let at = state.pending.back().map_or(0, |last| last.at).max(self.now + delay);
        state.outputs += 1;
        state.pending.push_back(Pending { output, at });
        let start = state.start;
        let deadline = state.replica.as_ref().and_then(Replica::next_deadline).map(|time| time.0.max(self.now));
        let arm = deadline.filter(|deadline| state.armed != Some(*deadline));
        if arm.is_some() {
            state.armed = arm;
        }
        self.schedule(at - self.now, Happening::Release { node, start });
        if let Some(deadline) = arm {
            self.schedule(deadline - self.now, Happening::Deadline { node, start });
        }
        if self.crash_behind == Some((node, self.nodes[&node].outputs)) {
            self.crash_behind = None;
            self.crashed_behind += 1;
            self.crash(node);
        }
    }

    fn release(&mut self, node: NodeId) {
        loop {
            let state = self.nodes.get_mut(&node).expect("member");
            if state.pending.front().is_none_or(|pending| pending.at > self.now) {
                return;
            }
            let output = state.pending.pop_front().expect("just seen").output;
            state.disk.apply(output.durable);
            for event in output.events {
                if std::env::var_os("HEARSAY_TEST_EVENTS").is_some() {
                    println!("{:>9.3} ms {node} {event:?}", self.now as f64 / MS as f64);
                }
                state.events.push(event);
            }
            for send in output.send {
                *self.sent.entry(kind(&send.message)).or_default() += 1;
                self.check_durable(node, &send);
                self.transmit(node, send.to, send.message);
            }
            for (id, response) in output.reply {
                assert!(self.replies.insert(id, response).is_none(), "{id:?} was answered twice");
            }
        }
    }

    /// What a message states must be on the disk when it leaves.
    fn check_durable(&self, node: NodeId, send: &Send) {
        let holds = |key: &Key, version: &Version| self.on_disk(node, key).is_some_and(|stored| stored >= *version);
        let gone = |version: &Version| {
            let expired = version.stamp.0 + self.config.tombstone_grace_ms * MS < EPOCH_NS + self.now;
            version.value.is_none() && expired
        };
        match &send.message {
            PeerMessage::WriteAck { operation } => {
                let asked = (send.to, node, *operation);
                if let Some((owner, key, version)) = self.stand_ins_sent.get(&asked) {
                    let kept = self.kept_on_disk(node, *owner, key).is_some_and(|kept| kept >= *version);
                    assert!(kept, "seed {}: {node} stood in before durable", self.seed);
                    return;
                }
                let (key, version) = &self.writes_sent[&asked];
                assert!(gone(version) || holds(key, version), "seed {}: {node} acknowledged before durable", self.seed);
            }
            PeerMessage::MergeAck { operation, foreign } => {
                let entries = &self.merges_sent[&(send.to, node, *operation)];
                let own = entries.iter().enumerate().filter(|(place, _)| !foreign.contains(&(*place as u32)));
                for (_, (key, version)) in own {
                    assert!(gone(version) || holds(key, version), "seed {}: {node} merged before durable", self.seed);
                }
            }
            PeerMessage::Causal(CausalMessage::WriteAck { operation }) => {
                let update = &self.updates_sent[&(send.to, node, *operation)];
                let content = self.causal_disk(node);
                let clock = content.whole_clock();
                let durable = update.container.dots().chain(update.dots.iter().copied()).all(|dot| clock.contains(dot));
                assert!(durable, "seed {}: {node} acknowledged before durable", self.seed);
            }
            PeerMessage::Causal(CausalMessage::Exchange(
                ExchangeMessage::Request { clock, .. } | ExchangeMessage::Page { clock, .. },
            )) => {
                let disk = self.causal_disk(node).whole_clock();
                let mut joined = disk.clone();
                joined.join(clock);
                assert!(joined == disk, "seed {}: {node} claims what is not on its disk", self.seed);
            }
            PeerMessage::ReadReply { operation, answer: ReadAnswer::Full(Some(version)) } => {
                let key = &self.reads_sent[&(send.to, node, *operation)];
                let kept = self.kept_by_anyone(node, key).is_some_and(|kept| kept >= *version);
                let gone = version.value.is_none();
                assert!(gone || kept || holds(key, version), "seed {}: {node} answered before durable", self.seed);
            }
            _ => {}
        }
    }
}

fn kind(message: &PeerMessage) -> &'static str {
    match message {
        PeerMessage::Heartbeat => "heartbeat",
        PeerMessage::Write { .. } => "write",
        PeerMessage::WriteAck { .. } => "write_ack",
        PeerMessage::Read { .. } => "read",
        PeerMessage::ReadReply { .. } => "read_reply",
        PeerMessage::Sync(_) => "sync",
        PeerMessage::StandInWrite { .. } => "stand_in_write",
        PeerMessage::StandInRead { .. } => "stand_in_read",
        PeerMessage::Merge { .. } => "merge",
        PeerMessage::MergeAck { .. } => "merge_ack",
        PeerMessage::Scan { .. } => "scan",
        PeerMessage::ScanReply { .. } => "scan_reply",
        PeerMessage::Causal(_) => "causal",
        PeerMessage::Dissemination(_) => "dissemination",
        PeerMessage::Metadata(_) => "metadata",
        PeerMessage::InView { message, .. } => kind(message),
        PeerMessage::Ring(_) => "ring",
    }
}

/// A key by name.
pub(super) fn key(name: &str) -> Key {
    Key(name.as_bytes().to_vec())
}

/// A small cluster with short times.
pub(super) fn config(members: u16, replication: u8) -> ClusterConfig {
    ClusterConfig {
        members: (1..=members).map(NodeId).collect(),
        replication,
        vnodes: 4,
        merkle_depth: 4,
        ..ClusterConfig::default()
    }
}
