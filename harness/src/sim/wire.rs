//! Packets and streams: what a link does to them, and what partitions do.
//!
//! - A packet into a blocked direction is dropped and counted for its pair.
//! - A stream whose frames are dropped, or go to a process that is not there, stalls: it keeps them, tries again after longer
//!   and longer times, and at once when a fresh packet gets through. The connection's end loses them.
//! - A datagram takes the line before all that waits in the lanes. It is lost, late or overtaken as the link has it; nobody
//!   sends it again. What a link doubles comes once: QUIC knows the number of the packet.
//! - Lanes keep their order; the lane with the higher priority takes the line first, between the parts of a long frame, too;
//!   the line has a bandwidth.
//! - A lost packet of a stream comes late instead, and what follows on its lane waits for it.
//! - A packet meets the partitions that are in force when it arrives as well: one that is long on its way crosses none that
//!   began meanwhile. A frame that was on its way then goes back to its stream, before all that was not sent yet.

use std::collections::{BTreeMap, BTreeSet};

use hearsay_core::Lane;
use hearsay_core::message::PeerMessage;
use rand::Rng;

use crate::plan::Endpoint;

use super::bad_links::BadLinks;
use super::connection::{Connection, ConnectionId, Frame, Packet, Party, Queued, Side, lane_index};
use super::node::Node;
use super::settings::{LinkSettings, PROBE_TIMEOUT, RETRY_DOUBLINGS_MAX, SECOND};
use super::tape::Hindrance;
use super::world::{Event, Happening, World, place};

/// Frames that may reach a dialler before its link is up.
const EARLY_MAX: usize = 1_024;

/// Bytes of a packet outside of the streams.
const PACKET_BYTES: u32 = 60;

/// Bytes of a packet that carries a part of a stream.
const STREAM_PACKET_BYTES: u32 = 1_452;

/// Bytes of a frame that take the line in one go.
const PART_BYTES: u32 = 16 << 10;

/// A directed pair.
pub(super) type Pair = (Endpoint, Endpoint);

/// The network between the parties.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) link: LinkSettings,
    pub(super) bad: BadLinks,
    blocked: BTreeSet<Pair>,
    dropped: BTreeMap<Pair, u64>,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Open,
    /// A partition drops it.
    Blocked(Pair),
    /// Nobody is there to take it.
    Silent,
}

impl Wire {
    pub(super) fn new(link: LinkSettings) -> Wire {
        assert!(link.bandwidth > 0, "a link without bandwidth carries nothing");
        Wire { link, bad: BadLinks::default(), blocked: BTreeSet::new(), dropped: BTreeMap::new() }
    }

    /// Blocks exactly these pairs from now on.
    pub(super) fn block(&mut self, pairs: BTreeSet<Pair>) {
        self.blocked = pairs;
    }

    /// Packets dropped so far, by pair.
    pub(super) fn dropped(&self) -> &BTreeMap<Pair, u64> {
        &self.dropped
    }

    fn drop_packet(&mut self, pair: Pair) {
        *self.dropped.entry(pair).or_default() += 1;
    }

    fn route(&self, nodes: &[Node], connection: &Connection, from: Side) -> Route {
        let (source, destination) = (connection.party(from), connection.party(from.other()));
        if !self.blocked.is_empty() {
            let pair = (source.endpoint(), destination.endpoint());
            if self.blocked.contains(&pair) {
                return Route::Blocked(pair);
            }
        }
        match destination {
            Party::Node(node) if !nodes[place(node)].exists() => Route::Silent,
            _ => Route::Open,
        }
    }

    /// How long the way takes this time, and whether the packet is lost.
    fn passage(&self, random: &mut impl Rng) -> (u64, bool) {
        let drawn = random.next_u64();
        let jitter = ((drawn & 0xffff_ffff) * self.link.jitter_ns) >> 32;
        let lost = ((drawn >> 32) * 1_000_000) >> 32 < u64::from(self.link.loss_per_million);
        (self.link.latency_ns + jitter, lost)
    }

    /// How long the way takes this time for what is sent again when it is lost.
    fn latency(&self, random: &mut impl Rng) -> u64 {
        let (takes, lost) = self.passage(random);
        takes + if lost { PROBE_TIMEOUT } else { 0 }
    }

    /// How long the line is busy with so many bytes.
    fn transmission(&self, bytes: u32) -> u64 {
        u64::from(bytes) * SECOND / self.link.bandwidth
    }

    /// There and back, about.
    fn round_trip(&self, pair: Pair) -> u64 {
        let (there, back) = (self.bad.usual(&pair), self.bad.usual(&(pair.1, pair.0)));
        2 * self.link.latency_ns + self.link.jitter_ns + there + back
    }
}

/// The directed pair of what starts at `from`.
fn pair_of(connection: &Connection, from: Side) -> Pair {
    (connection.party(from).endpoint(), connection.party(from.other()).endpoint())
}

impl World {
    /// Sends a packet outside of the streams. Nobody sends it again but who asked.
    pub(super) fn send_packet(&mut self, id: ConnectionId, from: Side, packet: Packet) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(id) else { return };
        match self.wire.route(&self.nodes, connection, from) {
            Route::Open => {
                let at = now + self.wire.latency(connection.direction(from).loose_noise.at(now));
                let held = self.wire.bad.packet(&pair_of(connection, from), now, PACKET_BYTES);
                let (delay, twice) = held.map_or((Some(0), None), |held| (held.delay, held.twice));
                for late in [delay, twice].into_iter().flatten() {
                    let packet = packet.clone();
                    self.queue
                        .push(at + late, Event::At(Happening::Packet { connection: id, to: from.other(), packet }));
                }
            }
            Route::Blocked(pair) => self.wire.drop_packet(pair),
            Route::Silent => {}
        }
    }

    /// Sends a message once, and forgets it. A closed side sends nothing.
    pub(super) fn send_datagram(&mut self, id: ConnectionId, from: Side, message: (u64, PeerMessage), bytes: u32) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(id).filter(|connection| connection.is_open(from)) else {
            return;
        };
        let (pair, sender) = (pair_of(connection, from), connection.party(from));
        let route = self.wire.route(&self.nodes, connection, from);
        if let Party::Node(node) = sender {
            self.nodes[place(node)].counters.datagrams_sent += 1;
        }
        let frame = Frame::Message(message.0, message.1);
        if route != Route::Open {
            let hindrance = if route == Route::Silent { Hindrance::NobodyThere } else { Hindrance::Blocked };
            self.hash.tape(|tape| tape.hindered(now, &frame, hindrance));
            if let Route::Blocked(pair) = route {
                self.wire.drop_packet(pair);
            }
            return;
        }
        let direction = connection.direction(from);
        // Streams are cut into packets: it waits for the one that is on the line.
        let waits = direction.busy_until.saturating_sub(now).min(self.wire.transmission(STREAM_PACKET_BYTES));
        let takes = self.wire.transmission(bytes);
        direction.busy_until = direction.busy_until.max(now) + takes;
        let departed = now + waits + takes;
        let (latency, lost) = self.wire.passage(direction.loose_noise.at(now));
        let held = self.wire.bad.packet(&pair, departed, bytes);
        let delays = held.map_or([Some(0), None], |held| [held.delay, held.twice]);
        if let Some(held) = held {
            direction.busy_until = direction.busy_until.max(held.line_until);
        }
        let delay = delays.into_iter().flatten().min().filter(|_| !lost);
        let Some(delay) = delay else {
            return self.hash.tape(|tape| tape.hindered(now, &frame, Hindrance::Lost));
        };
        let Frame::Message(number, message) = frame else { unreachable!("made above") };
        let packet = Packet::Datagram(number, message);
        let at = departed + latency + delay;
        self.queue.push(at, Event::At(Happening::Packet { connection: id, to: from.other(), packet }));
        // A fresh packet: what it makes the other side acknowledge tells of what was lost before.
        self.nudge(id, from);
    }

    /// Sends a frame on a stream, or queues it behind others. A closed side sends nothing.
    pub(super) fn send_frame(&mut self, id: ConnectionId, from: Side, lane: Lane, frame: Frame, bytes: u32) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(id).filter(|connection| connection.is_open(from)) else {
            return;
        };
        let sender = connection.party(from);
        let direction = connection.direction(from);
        if !direction.stalled && !direction.draining && direction.busy_until <= now {
            self.put_on_line(id, from, Queued { lane, frame, bytes, left: bytes, returned: false });
            return self.go_on(id, from);
        }
        if !direction.queues.push(lane, frame, bytes)
            && let Party::Node(node) = sender
        {
            self.nodes[place(node)].counters.dropped_full += 1;
        }
        self.go_on(id, from);
        self.nudge(id, from);
    }

    /// Sees to it that what is queued is sent as soon as the line is free.
    fn go_on(&mut self, id: ConnectionId, from: Side) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let direction = connection.direction(from);
        if !direction.stalled && !direction.draining && !direction.queues.is_empty() {
            direction.draining = true;
            self.queue.push(direction.busy_until, Event::At(Happening::Drain { connection: id, from }));
        }
    }

    /// Something fresh was sent on a stalled stream: when it gets through, its acknowledgement tells what was lost before.
    pub(super) fn nudge(&mut self, id: ConnectionId, from: Side) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(id) else { return };
        let again_at = now + self.wire.round_trip(pair_of(connection, from));
        if !connection.direction(from).stalled {
            return;
        }
        match self.wire.route(&self.nodes, connection, from) {
            Route::Open => {
                let direction = connection.direction(from);
                if !direction.nudged {
                    direction.nudged = true;
                    direction.retry += 1;
                    let retry = direction.retry;
                    self.queue.push(again_at, Event::At(Happening::Retry { connection: id, from, retry }));
                }
            }
            Route::Blocked(pair) => self.wire.drop_packet(pair),
            Route::Silent => {}
        }
    }

    /// Whether the frame left, or a part of it: the rest then waits in its lane, where what is more urgent goes before it.
    fn put_on_line(&mut self, id: ConnectionId, from: Side, queued: Queued) -> bool {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(id) else { return false };
        let route = self.wire.route(&self.nodes, connection, from);
        let pair = pair_of(connection, from);
        let direction = connection.direction(from);
        if route == Route::Open {
            let lane = queued.lane;
            let part = queued.left.min(PART_BYTES);
            direction.busy_until = now + self.wire.transmission(part);
            let mut arrives = direction.busy_until + self.wire.latency(direction.noise.at(now));
            if let Some(held) = self.wire.bad.frame(&pair, now, part, self.wire.round_trip(pair)) {
                // Frames wait for the line in their lanes, where control goes first.
                direction.busy_until = direction.busy_until.max(held.line_until);
                arrives += held.delay.expect("a stream sends again what was lost");
            }
            let last = &mut direction.last_arrival[lane_index(lane)];
            let at = arrives.max(*last + 1);
            *last = at;
            if queued.left > part {
                direction.queues.put_back(Queued { left: queued.left - part, ..queued });
                return true;
            }
            let Queued { frame, bytes, .. } = queued;
            direction.in_flight += 1;
            let packet = Packet::Frame(lane, frame, bytes);
            self.queue.push(at, Event::At(Happening::Packet { connection: id, to: from.other(), packet }));
            return true;
        }
        let hindrance = if route == Route::Silent { Hindrance::NobodyThere } else { Hindrance::Blocked };
        self.hash.tape(|tape| tape.hindered(now, &queued.frame, hindrance));
        direction.queues.put_back(queued);
        self.stall(id, from);
        if let Route::Blocked(pair) = route {
            self.wire.drop_packet(pair);
        }
        false
    }

    /// Nothing gets through on the stream: it is tried again.
    fn stall(&mut self, id: ConnectionId, from: Side) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(id) else { return };
        let direction = connection.direction(from);
        direction.stalled = true;
        direction.draining = false;
        direction.nudged = false;
        direction.retries = 0;
        direction.retry += 1;
        let retry = direction.retry;
        self.queue.push(now + PROBE_TIMEOUT, Event::At(Happening::Retry { connection: id, from, retry }));
    }

    /// What is on its way meets the partitions that began meanwhile. `None`: it does not arrive.
    pub(super) fn cross(&mut self, happening: Happening) -> Option<Happening> {
        let Happening::Packet { connection: id, to, packet } = happening else { return Some(happening) };
        let from = to.other();
        let connection = self.connections.get_mut(id)?;
        let pair = pair_of(connection, from);
        let blocked = self.wire.blocked.contains(&pair);
        if let Packet::Frame(lane, ..) = packet {
            let open = connection.is_open(from);
            let direction = connection.direction(from);
            direction.in_flight -= 1;
            // What follows a frame that went back waits for it.
            if open && (blocked || direction.queues.has_returned(lane)) {
                let Packet::Frame(lane, frame, bytes) = packet else { unreachable!("just seen") };
                direction.queues.give_back(lane, frame, bytes);
                if !direction.stalled {
                    self.stall(id, from);
                }
                if blocked {
                    self.wire.drop_packet(pair);
                }
                return None;
            }
        }
        if blocked {
            self.wire.drop_packet(pair);
            return None;
        }
        Some(Happening::Packet { connection: id, to, packet })
    }

    /// Sends what is queued as far as the line allows.
    pub(super) fn drain(&mut self, id: ConnectionId, from: Side) {
        let now = self.now();
        loop {
            let Some(connection) = self.connections.get_mut(id).filter(|connection| connection.is_open(from)) else {
                return;
            };
            let direction = connection.direction(from);
            if direction.stalled {
                return;
            }
            if direction.queues.is_empty() {
                direction.draining = false;
                return;
            }
            direction.draining = true;
            if direction.busy_until > now {
                self.queue.push(direction.busy_until, Event::At(Happening::Drain { connection: id, from }));
                return;
            }
            let queued = direction.queues.pop().expect("just seen");
            if !self.put_on_line(id, from, queued) {
                return;
            }
        }
    }

    /// A stalled stream tries again.
    pub(super) fn retry(&mut self, id: ConnectionId, from: Side, retry: u32) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(id).filter(|connection| connection.is_open(from)) else {
            return;
        };
        let route = self.wire.route(&self.nodes, connection, from);
        let direction = connection.direction(from);
        if !direction.stalled || direction.retry != retry {
            return;
        }
        direction.nudged = false;
        if route == Route::Open && direction.in_flight > 0 && direction.queues.any_returned() {
            // What is on its way still goes back as well, in its order.
            direction.retry += 1;
            let retry = direction.retry;
            self.queue.push(now + PROBE_TIMEOUT, Event::At(Happening::Retry { connection: id, from, retry }));
            return;
        }
        if route == Route::Open {
            direction.stalled = false;
            self.drain(id, from);
            return;
        }
        direction.retries += 1;
        direction.retry += 1;
        let retry = direction.retry;
        let wait = PROBE_TIMEOUT << direction.retries.min(RETRY_DOUBLINGS_MAX);
        self.queue.push(now + wait, Event::At(Happening::Retry { connection: id, from, retry }));
        if let Route::Blocked(pair) = route {
            self.wire.drop_packet(pair);
        }
    }

    /// A side hears something, and its acknowledgement, if it gets through, is heard on the other side.
    fn heard(&mut self, id: ConnectionId, to: Side) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.end(to).heard = now;
        match self.wire.route(&self.nodes, connection, to) {
            Route::Open => {
                let back = now + self.wire.link.latency_ns + self.wire.bad.usual(&pair_of(connection, to));
                let other = connection.end(to.other());
                other.heard = other.heard.max(back);
            }
            Route::Blocked(pair) => self.wire.drop_packet(pair),
            Route::Silent => {}
        }
    }

    /// A packet comes to a side whose process takes it.
    pub(super) fn arrive(&mut self, id: ConnectionId, to: Side, packet: Packet) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(id) else { return };
        let open = connection.is_open(to);
        if let (false, Packet::Frame(_, frame, _)) = (open, &packet) {
            self.hash.tape(|tape| tape.hindered(now, frame, Hindrance::ConnectionLost));
        }
        match packet {
            Packet::Initial => self.accept(id),
            Packet::Frame(..) | Packet::Datagram(..) | Packet::Ping if !open => self.send_packet(id, to, Packet::Reset),
            _ if !open => {}
            Packet::Accepted => self.answered(id),
            Packet::Ping => self.heard(id, to),
            Packet::Datagram(number, message) => {
                if let Party::Node(node) = connection.party(to) {
                    self.nodes[place(node)].counters.datagrams_received += 1;
                }
                self.heard(id, to);
                self.take_frame(id, to, Lane::Control, Frame::Message(number, message));
            }
            Packet::Reset => self.lost(id, to, "reset by peer", false),
            Packet::Close { duplicate } => self.lost(id, to, "closed by peer", duplicate),
            Packet::Frame(lane, frame, _) => {
                self.heard(id, to);
                self.take_frame(id, to, lane, frame);
            }
        }
    }

    pub(super) fn take_frame(&mut self, id: ConnectionId, to: Side, lane: Lane, frame: Frame) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let (receiver, sender) = (connection.party(to), connection.party(to.other()));
        let up = connection.ends[to as usize].up;
        match (frame, receiver, sender) {
            (Frame::Probe, ..) => {}
            (Frame::Hello, ..) if to == Side::Acceptor => self.offer_accepted(id),
            (Frame::Hello, ..) => self.offer_dialled(id),
            (Frame::Message(number, message), Party::Node(node), Party::Node(from)) => {
                if up {
                    self.input(node, hearsay_core::Input::Peer { from, message }, number);
                } else if to == Side::Dialler && connection.early.len() < EARLY_MAX {
                    connection.early.push((lane, Frame::Message(number, message)));
                }
            }
            (Frame::Request(call, request), Party::Node(node), _) => self.take_request(id, node, call, request),
            (Frame::Response(call, response), Party::Client(slot), _) => {
                self.tell_client(super::world::ClientEvent::Response {
                    slot,
                    connection: id,
                    call,
                    response: *response,
                });
            }
            (frame, receiver, sender) => unreachable!("{sender:?} sends {frame:?} to {receiver:?}"),
        }
    }
}
