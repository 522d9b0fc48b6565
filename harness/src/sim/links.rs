//! Which connection is the link of which pair, by the rules of the real node: one link per pair; when both dial at once the
//! connection dialled by the smaller id stays; a new incarnation replaces the old; `Down` once per link that was up and once
//! per failed dial.

use std::collections::BTreeSet;

use hearsay_core::{Input, Lane, Link, NodeId};

use super::connection::{Connection, ConnectionId, Direction, End, Frame, LaneQueues, Packet, Party, Queued, Side};
use super::node::{LinkState, Outgoing};
use super::noise::Noise;
use super::settings::{
    BACK_OFF_MAX, BACK_OFF_MIN, DIALS_MAX, EXPECTATION, HANDSHAKE_RETRY, HANDSHAKE_TIMEOUT, HELLO_TIMEOUT,
    IDLE_TIMEOUT, KEEP_ALIVE, RETRY_DOUBLINGS_MAX,
};
use super::tape::Hindrance;
use super::world::{ClientEvent, Event, Happening, World, place};

/// Bytes of a hello.
const HELLO_BYTES: u32 = 64;
/// Bytes of an empty frame.
const PROBE_BYTES: u32 = 4;

/// All connections. A place is used again, a [`ConnectionId`] never.
#[derive(Debug)]
pub(super) struct Connections {
    places: Vec<Option<Connection>>,
    free: Vec<u32>,
    made: u32,
    /// Those that each node is at an end of, by its place.
    of_nodes: Vec<BTreeSet<ConnectionId>>,
}

impl Connections {
    /// None yet, between so many nodes and their clients.
    pub(super) fn new(nodes: usize) -> Connections {
        Connections { places: Vec::new(), free: Vec::new(), made: 0, of_nodes: vec![BTreeSet::new(); nodes] }
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.places[id.place as usize].as_mut().filter(|connection| connection.id == id)
    }

    /// The connections that a node is at an end of, by place.
    pub(super) fn of_node(&self, node: NodeId) -> Vec<ConnectionId> {
        self.of_nodes[place(node)].iter().copied().collect()
    }

    /// The nodes at the ends of a connection.
    fn nodes(parties: [Party; 2]) -> impl Iterator<Item = NodeId> {
        parties.into_iter().filter_map(|party| match party {
            Party::Node(node) => Some(node),
            Party::Client(_) => None,
        })
    }

    fn add(&mut self, make: impl FnOnce(ConnectionId) -> Connection) -> ConnectionId {
        self.made = self.made.checked_add(1).expect("a run makes less than four thousand million connections");
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).expect("fewer places than connections")
        });
        let id = ConnectionId { place, generation: self.made };
        let connection = make(id);
        for node in Connections::nodes(connection.parties) {
            self.of_nodes[super::world::place(node)].insert(id);
        }
        self.places[place as usize] = Some(connection);
        id
    }

    fn remove(&mut self, id: ConnectionId) {
        let removed = self.places[id.place as usize].take().expect("a connection is removed once");
        for node in Connections::nodes(removed.parties) {
            self.of_nodes[place(node)].remove(&id);
        }
        self.free.push(id.place);
    }
}

impl World {
    /// Sends a message over the link to its receiver; without one it is dialled, or the message dropped.
    pub(super) fn send_message(&mut self, from: NodeId, message: Outgoing) {
        let now = self.now();
        let Outgoing { to, lane, number, bytes, message } = message;
        let lossy = message.may_be_lost();
        let frame = Frame::Message(number, message);
        let node = &mut self.nodes[place(from)];
        let dialling = node.dialling;
        let peer = node.peers.entry(to).or_default();
        let queues = match &mut peer.state {
            LinkState::Up { connection, side, .. } => {
                let (connection, side) = (*connection, *side);
                if let (true, Frame::Message(number, message)) = (lossy, &frame) {
                    return self.send_datagram(connection, side, (*number, message.clone()), bytes);
                }
                return self.send_frame(connection, side, lane, frame, bytes);
            }
            LinkState::Idle { not_before } if now < *not_before => {
                node.counters.dropped_unlinked += 1;
                self.hash.tape(|tape| tape.hindered(now, &frame, Hindrance::NoLink));
                return;
            }
            LinkState::Dialling { queues, .. } => {
                node.counters.dropped_full += u64::from(!queues.push(lane, frame, bytes));
                return;
            }
            LinkState::Expecting { until, queues } if now < *until => {
                node.counters.dropped_full += u64::from(!queues.push(lane, frame, bytes));
                return;
            }
            LinkState::Idle { .. } | LinkState::Expecting { .. } if dialling >= DIALS_MAX => {
                node.counters.dropped_unlinked += 1;
                self.hash.tape(|tape| tape.hindered(now, &frame, Hindrance::NoLink));
                return;
            }
            LinkState::Idle { .. } => LaneQueues::default(),
            LinkState::Expecting { queues, .. } => std::mem::take(queues),
        };
        let mut queues = queues;
        node.counters.dropped_full += u64::from(!queues.push(lane, frame, bytes));
        node.counters.dials += 1;
        node.dialling += 1;
        let connection = self.dial(Party::Node(from), to);
        self.nodes[place(from)].peers.entry(to).or_default().state = LinkState::Dialling { connection, queues };
    }

    /// Begins a handshake.
    pub(super) fn dial(&mut self, dialler: Party, acceptor: NodeId) -> ConnectionId {
        let now = self.now();
        let incarnation = match dialler {
            Party::Node(node) => self.nodes[place(node)].starts,
            Party::Client(_) => 0,
        };
        let number = |party| match party {
            Party::Node(node) => u64::from(node.0),
            Party::Client(slot) => (1 << 32) + u64::from(slot),
        };
        let parties = [dialler, Party::Node(acceptor)];
        let seed = self.seed;
        // The first connection of a pair, the second, ...: what one connection draws shifts no later one.
        let before = self.dialled.entry((dialler, acceptor)).or_default();
        *before += 1;
        let object = [number(parties[0]), number(parties[1]), *before];
        let noise = |way: &str| Noise::new(seed, way, &object);
        let directions = [("link there", "loose there"), ("link back", "loose back")]
            .map(|(on_streams, loose)| Direction::new(noise(on_streams), noise(loose)));
        let id = self.connections.add(|id| Connection {
            id,
            parties,
            ends: [End { open: true, up: false, heard: now }, End::default()],
            directions,
            incarnations: [incarnation, 0],
            dialling: matches!(dialler, Party::Node(_)),
            answered: false,
            early: Vec::new(),
        });
        self.try_dial(id, 0);
        if matches!(dialler, Party::Node(_)) {
            self.queue.push(now + HANDSHAKE_TIMEOUT, Event::At(Happening::HandshakeTimeout { connection: id }));
        }
        id
    }

    /// Sends the first packet, until there is an answer.
    pub(super) fn try_dial(&mut self, id: ConnectionId, attempt: u32) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if !connection.is_open(Side::Dialler) || connection.answered {
            return;
        }
        self.send_packet(id, Side::Dialler, Packet::Initial);
        let at = self.now() + (HANDSHAKE_RETRY << attempt.min(RETRY_DOUBLINGS_MAX));
        self.queue.push(at, Event::At(Happening::Dial { connection: id, attempt: attempt + 1 }));
    }

    /// The acceptor got a first packet.
    pub(super) fn accept(&mut self, id: ConnectionId) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(id) else { return };
        if !connection.is_open(Side::Acceptor) {
            let Party::Node(node) = connection.party(Side::Acceptor) else { unreachable!("only nodes are dialled") };
            *connection.end(Side::Acceptor) = End { open: true, up: false, heard: now };
            connection.incarnations[Side::Acceptor as usize] = self.nodes[place(node)].starts;
            self.watch_idle(id, Side::Acceptor);
        }
        self.send_packet(id, Side::Acceptor, Packet::Accepted);
    }

    /// The dialler got the answer.
    pub(super) fn answered(&mut self, id: ConnectionId) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.answered {
            return;
        }
        connection.answered = true;
        connection.end(Side::Dialler).heard = now;
        self.queue.push(now + KEEP_ALIVE, Event::At(Happening::KeepAlive { connection: id }));
        match connection.party(Side::Dialler) {
            Party::Client(slot) => {
                connection.end(Side::Dialler).up = true;
                self.tell_client(ClientEvent::Connected { slot, connection: id });
            }
            Party::Node(_) => {
                self.queue.push(now + HELLO_TIMEOUT, Event::At(Happening::HelloTimeout { connection: id }));
                self.send_frame(id, Side::Dialler, Lane::Control, Frame::Hello, HELLO_BYTES);
            }
        }
        self.watch_idle(id, Side::Dialler);
    }

    /// The acceptor decides over a connection whose hello came.
    pub(super) fn offer_accepted(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let [Party::Node(dialler), Party::Node(own)] = connection.parties else {
            unreachable!("a hello is between nodes")
        };
        let incarnation = connection.incarnations[Side::Dialler as usize];
        let peer = self.nodes[place(own)].peers.entry(dialler).or_default();
        let accepted = match peer.state {
            LinkState::Dialling { .. } => dialler < own,
            LinkState::Idle { .. } | LinkState::Expecting { .. } => true,
            LinkState::Up { connection: known, .. } if known == id => return,
            LinkState::Up { connection: known, side, incarnation: known_incarnation } => {
                let keep = known_incarnation == incarnation && side == Side::Dialler && own < dialler;
                if keep {
                    // Either both dialled at once, or the peer has lost our link without our noticing: then it resets this.
                    self.send_frame(known, side, Lane::Control, Frame::Probe, PROBE_BYTES);
                }
                !keep
            }
        };
        if !accepted {
            self.nodes[place(own)].counters.duplicates += 1;
            self.close(id, Side::Acceptor, true);
            return;
        }
        let up = LinkState::Up { connection: id, side: Side::Acceptor, incarnation };
        let node = &mut self.nodes[place(own)];
        let peer = node.peers.entry(dialler).or_default();
        peer.failures = 0;
        let former = std::mem::replace(&mut peer.state, up);
        node.counters.links_up += 1;
        let (queues, replaced) = match former {
            LinkState::Idle { .. } => (LaneQueues::default(), None),
            LinkState::Dialling { queues, .. } | LinkState::Expecting { queues, .. } => (queues, None),
            LinkState::Up { connection, side, .. } => (LaneQueues::default(), Some((connection, side))),
        };
        if let Some((former, side)) = replaced {
            self.nodes[place(own)].counters.links_down += 1;
            self.close(former, side, false);
        }
        if let Some(connection) = self.connections.get_mut(id) {
            connection.end(Side::Acceptor).up = true;
        }
        self.send_frame(id, Side::Acceptor, Lane::Control, Frame::Hello, HELLO_BYTES);
        self.send_queued(id, Side::Acceptor, queues);
        if replaced.is_some() {
            self.input(own, Input::Link { peer: dialler, state: Link::Down }, 0);
        }
        self.input(own, Input::Link { peer: dialler, state: Link::Up }, 0);
    }

    /// The dialler decides over a connection whose hello was answered.
    pub(super) fn offer_dialled(&mut self, id: ConnectionId) {
        self.dial_ended(id);
        let Some(connection) = self.connections.get_mut(id) else { return };
        let [Party::Node(own), Party::Node(acceptor)] = connection.parties else {
            unreachable!("a hello is between nodes")
        };
        let incarnation = connection.incarnations[Side::Acceptor as usize];
        let node = &mut self.nodes[place(own)];
        let peer = node.peers.entry(acceptor).or_default();
        let queues = match &mut peer.state {
            LinkState::Dialling { connection, queues } if *connection == id => std::mem::take(queues),
            _ => {
                node.counters.duplicates += 1;
                self.close(id, Side::Dialler, true);
                return;
            }
        };
        peer.failures = 0;
        peer.state = LinkState::Up { connection: id, side: Side::Dialler, incarnation };
        node.counters.links_up += 1;
        connection.end(Side::Dialler).up = true;
        let early = std::mem::take(&mut connection.early);
        self.send_queued(id, Side::Dialler, queues);
        self.input(own, Input::Link { peer: acceptor, state: Link::Up }, 0);
        for (lane, frame) in early {
            self.take_frame(id, Side::Dialler, lane, frame);
        }
    }

    fn send_queued(&mut self, id: ConnectionId, from: Side, mut queues: LaneQueues) {
        while let Some(Queued { lane, frame, bytes, .. }) = queues.pop() {
            self.send_frame(id, from, lane, frame, bytes);
        }
    }

    /// A node no longer needs its link to a peer.
    pub(super) fn hang_up(&mut self, from: NodeId, to: NodeId) {
        let node = &mut self.nodes[place(from)];
        if let Some(LinkState::Up { connection, side, .. }) = node.peers.get(&to).map(|peer| &peer.state) {
            let (connection, side) = (*connection, *side);
            node.peers.remove(&to);
            node.counters.links_down += 1;
            self.close(connection, side, false);
        }
    }

    fn dial_ended(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if std::mem::take(&mut connection.dialling)
            && let Party::Node(node) = connection.party(Side::Dialler)
        {
            self.nodes[place(node)].dialling -= 1;
        }
    }

    /// No answer to the first packet, or none to the hello.
    pub(super) fn dial_timeout(&mut self, id: ConnectionId, answered: bool) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let end = connection.ends[Side::Dialler as usize];
        if end.open && !end.up && connection.answered == answered {
            self.lost(id, Side::Dialler, "no answer in time", false);
        }
    }

    /// A side ends, and tells the other.
    pub(super) fn close(&mut self, id: ConnectionId, side: Side, duplicate: bool) {
        self.send_packet(id, side, Packet::Close { duplicate });
        self.end(id, side);
    }

    /// A side ends by itself.
    pub(super) fn end(&mut self, id: ConnectionId, side: Side) {
        if side == Side::Dialler {
            self.dial_ended(id);
        }
        let Some(connection) = self.connections.get_mut(id) else { return };
        *connection.end(side) = End::default();
        let queues = std::mem::take(&mut connection.direction(side).queues);
        let (now, lost) = (self.queue.now(), queues.len() as u64);
        self.hash.tape(|tape| queues.frames().for_each(|frame| tape.hindered(now, frame, Hindrance::ConnectionLost)));
        if let Party::Node(node) = connection.party(side) {
            self.nodes[place(node)].counters.dropped_lost += lost;
        }
        if !connection.is_open(side.other()) {
            self.connections.remove(id);
        }
    }

    /// A side learns that its connection is gone.
    pub(super) fn lost(&mut self, id: ConnectionId, side: Side, reason: &'static str, duplicate: bool) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(id) else { return };
        let (own, other, between_nodes) =
            (connection.party(side), connection.party(side.other()), connection.between_nodes());
        self.end(id, side);
        let (own, other) = match (own, other) {
            (Party::Client(slot), _) => return self.tell_client(ClientEvent::Lost { slot, connection: id, reason }),
            (Party::Node(own), Party::Node(other)) => (own, other),
            (Party::Node(_), Party::Client(_)) => return,
        };
        assert!(between_nodes, "both ends are nodes");
        let node = &mut self.nodes[place(own)];
        let peer = node.peers.entry(other).or_default();
        match &mut peer.state {
            LinkState::Up { connection, .. } if *connection == id => {
                // As if it had never been there.
                node.peers.remove(&other);
                node.counters.links_down += 1;
            }
            LinkState::Dialling { connection, queues } if *connection == id => {
                if duplicate {
                    node.counters.duplicates += 1;
                    peer.state = LinkState::Expecting { until: now + EXPECTATION, queues: std::mem::take(queues) };
                    return;
                }
                node.counters.dials_failed += 1;
                node.counters.dropped_unlinked += queues.len() as u64;
                self.hash.tape(|tape| queues.frames().for_each(|frame| tape.hindered(now, frame, Hindrance::NoLink)));
                let back_off = (BACK_OFF_MIN << peer.failures.min(RETRY_DOUBLINGS_MAX)).min(BACK_OFF_MAX);
                peer.failures = peer.failures.saturating_add(1);
                peer.state = LinkState::Idle { not_before: now + back_off };
            }
            // Another connection of the pair has taken over.
            _ => return,
        }
        self.input(own, Input::Link { peer: other, state: Link::Down }, 0);
    }

    /// Looks again when the idle time-out may have passed.
    fn watch_idle(&mut self, id: ConnectionId, side: Side) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let at = connection.ends[side as usize].heard + IDLE_TIMEOUT;
        self.queue.push(at, Event::At(Happening::Idle { connection: id, side }));
    }

    /// Ends a side that has heard nothing for long.
    pub(super) fn check_idle(&mut self, id: ConnectionId, side: Side) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(id) else { return };
        let end = connection.ends[side as usize];
        if !end.open {
            return;
        }
        if end.heard + IDLE_TIMEOUT <= now {
            self.lost(id, side, "timed out", false);
        } else {
            self.watch_idle(id, side);
        }
    }

    /// The dialler breaks silence.
    pub(super) fn keep_alive(&mut self, id: ConnectionId) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(id) else { return };
        let end = connection.ends[Side::Dialler as usize];
        if !end.open {
            return;
        }
        let quiet_at = end.heard + KEEP_ALIVE;
        let next_at = if quiet_at > now {
            quiet_at
        } else {
            self.send_packet(id, Side::Dialler, Packet::Ping);
            self.nudge(id, Side::Dialler);
            now + KEEP_ALIVE
        };
        self.queue.push(next_at, Event::At(Happening::KeepAlive { connection: id }));
    }
}
