//! Nodes in a room: every session ends in equal tables, or in abandonment.

mod bad_luck;
mod repair;
mod schedule;

use alloc::collections::{BTreeSet, VecDeque};
use alloc::format;
use alloc::vec;

use rand_chacha::rand_core::SeedableRng;

use super::*;
use crate::codec::{self, FRAME_LENGTH_MAX};
use crate::message::PeerMessage;
use crate::ring::Token;
use crate::{Value, Version, WallTime};

const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);

fn version(stamp: u64, value: Option<&[u8]>) -> Version {
    Version { stamp: WallTime(stamp), value: value.map(|bytes| Value(bytes.to_vec())) }
}

struct Node {
    sync: AntiEntropy,
    table: Table,
}

struct Host<'a> {
    table: &'a mut Table,
    sent: Vec<(NodeId, SyncMessage)>,
    dead: &'a BTreeSet<NodeId>,
}

impl SyncHost for Host<'_> {
    type Stored = Version;
    const JOINS: bool = false;
    fn outgoing(&self, key: &Key) -> Option<Version> {
        self.table.get(key).cloned()
    }
    fn table_ref(&self) -> &Table {
        self.table
    }
    fn merge(&mut self, key: Key, version: Version) -> bool {
        self.table.merge(key, version)
    }
    fn table(&mut self) -> &mut Table {
        self.table
    }
    fn send(&mut self, to: NodeId, message: SyncMessage) {
        self.sent.push((to, message));
    }
    fn alive(&self, peer: NodeId) -> bool {
        !self.dead.contains(&peer)
    }
}

/// Some nodes and the messages between them, in order.
struct Room {
    ring: Ring,
    nodes: BTreeMap<NodeId, Node>,
    now: Time,
    /// Whom everybody holds for dead.
    dead: BTreeSet<NodeId>,
    flying: VecDeque<(NodeId, NodeId, SyncMessage)>,
    /// Messages sent so far.
    sent: usize,
    /// The messages, by their number, that get lost.
    lost: BTreeSet<usize>,
    /// The longest frame so far, in bytes.
    frame_longest: usize,
}

impl Room {
    fn new(members: u16, replication: u8, depth: u8) -> Room {
        Room::with_schedule(members, replication, depth, 0)
    }

    fn with_schedule(members: u16, replication: u8, depth: u8, interval_ms: u64) -> Room {
        let members: Vec<NodeId> = (1..=members).map(NodeId).collect();
        let ring = Ring::new(&members, 8, replication);
        let node = |&id: &NodeId| {
            let rng = ChaCha8Rng::from_seed([id.0 as u8; 32]);
            let sync = AntiEntropy::new(&ring, id, interval_ms, u64::from(id.0), rng, Time(0));
            (id, Node { sync, table: Table::new(&ring.owned_token_ranges(id), depth) })
        };
        let nodes = members.iter().map(node).collect();
        Room {
            ring,
            nodes,
            now: Time(0),
            dead: BTreeSet::new(),
            flying: VecDeque::new(),
            sent: 0,
            lost: BTreeSet::new(),
            frame_longest: 0,
        }
    }

    /// Lets a node do something and collects what it sends.
    fn act<T>(&mut self, id: NodeId, act: impl FnOnce(Time, &mut AntiEntropy, &mut Host<'_>) -> T) -> T {
        let node = self.nodes.get_mut(&id).unwrap();
        let mut host = Host { table: &mut node.table, sent: Vec::new(), dead: &self.dead };
        let result = act(self.now, &mut node.sync, &mut host);
        for (to, message) in host.sent {
            let frame = codec::encode(&PeerMessage::Sync(message.clone()));
            self.frame_longest = self.frame_longest.max(frame.len());
            // Whatever a test is about, each message keeps to its own bound: payload, one entry over it, and envelope.
            let (payload, value, envelope) = (256 * 1024, Key::LENGTH_MAX + Value::LENGTH_MAX, 8 * 1024);
            let bound = match &message {
                SyncMessage::Nodes { .. } | SyncMessage::NodesDiffer { .. } => 64 * 1024,
                SyncMessage::Leaves { .. } => payload + Key::LENGTH_MAX + envelope,
                SyncMessage::Values { .. } => payload + value + envelope,
                SyncMessage::LeavesReply { .. } => 2 * payload + value + envelope,
                SyncMessage::ValuesAck { .. } => 16,
            };
            assert!(frame.len() <= bound, "{} bytes, the bound is {bound}", frame.len());
            assert_eq!(codec::decode(&frame), Ok(PeerMessage::Sync(message.clone())), "a frame was not itself again");
            if !self.lost.contains(&self.sent) {
                self.flying.push_back((id, to, message));
            }
            self.sent += 1;
        }
        result
    }

    fn request(&mut self, id: NodeId, peer: NodeId) {
        self.act(id, |now, sync, host| sync.request_session(now, peer, host));
    }

    fn deliver(&mut self, from: NodeId, to: NodeId, message: SyncMessage) {
        self.act(to, |now, sync, host| sync.on_sync(now, from, message, host));
    }

    /// Delivers one message; `false`: there was none.
    fn deliver_next(&mut self) -> bool {
        let Some((from, to, message)) = self.flying.pop_front() else { return false };
        self.deliver(from, to, message);
        true
    }

    /// Delivers until nobody says anything more.
    fn settle(&mut self) {
        let mut steps = 0;
        while self.deliver_next() {
            steps += 1;
            assert!(steps < 20_000, "the exchange does not come to an end");
        }
    }

    /// Lets the time of a node's next deadline come.
    fn pass_deadline(&mut self, id: NodeId) {
        self.now = self.now.max(self.nodes[&id].sync.next_deadline().expect("a deadline"));
        self.act(id, |now, sync, host| sync.on_deadline(now, host));
    }

    fn counters(&self, id: NodeId) -> &SyncCounters {
        self.nodes[&id].sync.counters()
    }

    fn finished(&mut self, id: NodeId) -> Vec<SessionReport> {
        self.nodes.get_mut(&id).unwrap().sync.take_finished()
    }

    /// Runs one session to its end.
    fn run_session(&mut self, id: NodeId, peer: NodeId) -> SessionReport {
        self.request(id, peer);
        self.settle();
        let mut reports = self.finished(id);
        assert_eq!(reports.len(), 1, "{id} and {peer} did not finish their session: {reports:?}");
        reports.remove(0)
    }

    fn table(&mut self, id: NodeId) -> &mut Table {
        &mut self.nodes.get_mut(&id).unwrap().table
    }

    /// Stores a version at a node, if it is a replica.
    fn put(&mut self, id: NodeId, key: &Key, version: Version) {
        if self.ring.is_replica(id, key) {
            self.table(id).merge(key.clone(), version);
        }
    }

    /// Digests of the ranges that both hold, as one of them has them.
    fn shared_digests(&self, id: NodeId, peer: NodeId) -> Vec<(u64, [u8; 32])> {
        let shared = self.ring.shared_ranges(id, peer);
        let digests = self.nodes[&id].table.range_digests();
        digests.into_iter().filter(|(until, _)| shared.contains(until)).collect()
    }

    fn assert_agree(&mut self, a: NodeId, b: NodeId) {
        assert_eq!(self.shared_digests(a, b), self.shared_digests(b, a), "{a} and {b} hold different data");
    }

    /// A second session must find nothing, at the price of the roots alone.
    fn assert_nothing_left(&mut self, a: NodeId, b: NodeId) {
        let report = self.run_session(a, b);
        let ranges_compared = self.ring.shared_ranges(a, b).len() as u64;
        assert_eq!(report, SessionReport { ranges_compared, rounds: 1, requested: true, ..SessionReport::new(b) });
    }
}
