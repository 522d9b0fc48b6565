//! The rolling hash of a run: over every (time, sequence, node, input, output), in the order in which they happened, and
//! over every event of the history. Two runs that differ anywhere differ here.
//!
//! A message is hashed where it is sent, with the number it gets there; where it arrives, the number stands for it.

use hearsay_core::message::PeerMessage;
use hearsay_core::{ClientRequest, ClientResponse, Event, Input, Lane, Link, NodeId, RequestId, WriteBatch};
use serde::Serialize;

use super::disk::Ticket;
use super::events::{self as words, Events};
use super::tape::Tape;

/// Encodings gather up to this before they are hashed: many small updates cost more than one large.
const BUFFER_BYTES: usize = 32 << 10;

/// Who looks on while a run goes on. The run is the same with and without.
#[derive(Debug, Default)]
pub struct Watch {
    /// Notes what happens to a few keys.
    pub tape: Option<Tape>,
    /// Sends off every event.
    pub events: Option<Events>,
}

/// The hash while it rolls.
#[derive(Debug)]
pub(super) struct RunHash {
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
    tape: Option<Box<Tape>>,
    events: Option<Box<Events>>,
    /// Time and sequence of the event under way.
    at: (u64, u64),
}

impl RunHash {
    pub(super) fn new(watch: Watch) -> RunHash {
        let buffer = Vec::with_capacity(2 * BUFFER_BYTES);
        let (tape, events) = (watch.tape.map(Box::new), watch.events.map(Box::new));
        RunHash { hasher: blake3::Hasher::new(), buffer, tape, events, at: (0, 0) }
    }

    /// Does something with the tape, if there is one.
    #[inline]
    pub(super) fn tape(&mut self, note: impl FnOnce(&mut Tape)) {
        if let Some(tape) = &mut self.tape {
            note(tape);
        }
    }

    /// An event begins, and the one before has ended.
    #[inline]
    fn begin(&mut self, at: (u64, u64), node: Option<NodeId>) {
        self.at = at;
        if self.events.is_some() {
            self.begin_event(node);
        }
    }

    fn begin_event(&mut self, node: Option<NodeId>) {
        let Some(mut events) = self.events.take() else { return };
        if events.end(&self.buffer) {
            events.begin(self.at, node, self.buffer.len());
            self.events = Some(events);
        }
    }

    /// Says something about the event under way, if somebody listens.
    #[inline]
    fn say(&mut self, words: impl FnOnce() -> String) {
        if let Some(events) = &mut self.events {
            events.say(words);
        }
    }

    /// Takes the tape away.
    pub(super) fn take_tape(&mut self) -> Option<Tape> {
        self.tape.take().map(|tape| *tape)
    }

    /// A node is about to take an input. `number` is that of the message, where it is one.
    pub(super) fn input(&mut self, (time, sequence): (u64, u64), node: NodeId, input: &Input, number: u64) {
        self.begin((time, sequence), Some(node));
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush();
        }
        self.tape(|tape| tape.input(time, node, input, number));
        self.say(|| words::input(input, number));
        self.tag(1, &[time, sequence, u64::from(node.0)]);
        match input {
            Input::Peer { from, message: _ } => self.tag(2, &[u64::from(from.0), number]),
            Input::Client { request_id, request } => {
                self.tag(3, &[request_id.0]);
                self.request(request);
            }
            Input::Deadline => self.tag(4, &[]),
            Input::Link { peer, state: Link::Up } => self.tag(5, &[u64::from(peer.0)]),
            Input::Link { peer, state: Link::Down } => self.tag(6, &[u64::from(peer.0)]),
        }
    }

    fn flush(&mut self) {
        self.hasher.update(&self.buffer);
        self.buffer.clear();
        if let Some(events) = &mut self.events {
            events.moved_to(0);
        }
    }

    /// A node boots.
    pub(super) fn boot(&mut self, (time, sequence): (u64, u64), node: NodeId, incarnation: u64, entries: u64) {
        self.begin((time, sequence), Some(node));
        self.tape(|tape| tape.boots(time, node, entries == 0));
        self.say(|| format!("starts as {incarnation:x} with {entries} entries on its disk"));
        self.tag(7, &[time, sequence, u64::from(node.0), incarnation, entries]);
    }

    /// Part of an output: a batch, and the ticket it gets.
    pub(super) fn durable(&mut self, batch: &WriteBatch, ticket: Ticket) {
        self.tape(|tape| tape.durable(batch, ticket));
        self.say(|| words::durable(batch));
        self.tag(8, &[batch.puts.len() as u64, batch.deletes.len() as u64]);
        for bytes in batch.puts.iter().flat_map(|(key, value)| [key, value]).chain(&batch.deletes) {
            self.bytes(bytes);
        }
    }

    /// Part of an output: a message with the number it gets. Its length on the wire, in bytes.
    pub(super) fn send(&mut self, to: NodeId, lane: Lane, number: u64, message: &PeerMessage) -> u32 {
        self.tape(|tape| tape.send(to, number, message));
        self.say(|| words::send(to, lane, number, message));
        let lane = match lane {
            Lane::Control => 0,
            Lane::Data => 1,
            Lane::Bulk => 2,
        };
        self.tag(9, &[u64::from(to.0), lane, number]);
        self.encode(message)
    }

    /// Part of an output. Its length on the wire, in bytes.
    pub(super) fn reply(&mut self, request: u64, response: &ClientResponse) -> u32 {
        self.tape(|tape| tape.reply(RequestId(request), response));
        self.say(|| words::reply(request, response));
        self.tag(10, &[request]);
        self.encode(response)
    }

    /// Part of an output.
    pub(super) fn event(&mut self, event: &Event) {
        self.tape(|tape| tape.event(event));
        self.say(|| words::event(event));
        match event {
            Event::PeerUp(peer) => self.tag(11, &[u64::from(peer.0)]),
            Event::PeerDown(peer) => self.tag(12, &[u64::from(peer.0)]),
            Event::CatchingUp => self.tag(13, &[]),
            Event::CaughtUp => self.tag(14, &[]),
            Event::Ring(sentence) => {
                self.tag(31, &[]);
                self.bytes(sentence.as_bytes());
            }
            Event::Warning(sentence) => {
                self.tag(15, &[]);
                self.bytes(sentence.as_bytes());
            }
        }
    }

    /// Part of an output.
    pub(super) fn hang_up(&mut self, peer: NodeId) {
        self.tag(18, &[u64::from(peer.0)]);
    }

    /// An event of the history, or a line on a fault.
    pub(super) fn line(&mut self, time: u64, line: &[u8]) {
        self.begin((time, self.at.1), None);
        self.say(|| String::from_utf8_lossy(line).into_owned());
        self.tag(16, &[]);
        self.bytes(line);
    }

    /// A request. Its length on the wire, in bytes.
    pub(super) fn request(&mut self, request: &ClientRequest) -> u32 {
        self.encode(request)
    }

    /// The hash of all that happened, as hexadecimal digits.
    pub(super) fn finish(mut self) -> String {
        if let Some(events) = self.events.take() {
            events.finish(&self.buffer);
        }
        self.hasher.update(&self.buffer);
        self.hasher.finalize().to_hex().to_string()
    }

    fn encode<T: Serialize>(&mut self, value: &T) -> u32 {
        let before = self.buffer.len();
        let buffer = std::mem::take(&mut self.buffer);
        self.buffer = postcard::to_extend(value, buffer).expect("messages of the core always serialize");
        // The frame's version byte and length come on top.
        u32::try_from(self.buffer.len() - before + 5).expect("frames stay below their limit")
    }

    fn tag(&mut self, tag: u8, numbers: &[u64]) {
        self.buffer.push(tag);
        for &(mut number) in numbers {
            while number >= 0x80 {
                self.buffer.push(number as u8 | 0x80);
                number >>= 7;
            }
            self.buffer.push(number as u8);
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.tag(17, &[bytes.len() as u64]);
        self.buffer.extend_from_slice(bytes);
    }
}
