//! The tape: what happened to a few keys, note by note, while a run goes on. It changes nothing of the run, and a run
//! without one pays a branch an event.
//!
//! Kept are: every operation of the clients on these keys, every message between nodes that is about them, what of them
//! is stored, made durable and lost, and for all nodes the few things that explain the rest (starts, crashes, pauses, links,
//! opinions about each other). What belongs to which operation is worked out afterwards ([`crate::trace`]).
//!
//! Invariants: notes are in the order in which things happened; at most [`NOTES_MAX`] are kept, the others are counted.

use std::collections::BTreeSet;

use hearsay_checkers::Event as HistoryEvent;
use hearsay_core::message::{OperationId, PeerMessage, ReadAnswer, ScanAnswer, SyncMessage};
use hearsay_core::{
    ClientRequest, ClientResponse, Event as NodeEvent, Input, Key, Link, NodeId, RequestId, Version, WriteBatch,
    stored_key, stored_version,
};

use super::connection::Frame;
use super::disk::{CrashLoss, Ticket};

/// Notes that are kept.
const NOTES_MAX: usize = 1_000_000;

/// What happened, and when: nanoseconds of the world.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// Nanoseconds of the world.
    pub time: u64,
    /// What.
    pub what: What,
}

/// What a message between nodes says about the keys of the tape.
#[derive(Clone, Debug, PartialEq)]
pub enum Say {
    /// Store this version.
    Write(OperationId, Key, Version),
    /// It is durable.
    Ack(OperationId),
    /// What do you store; `true`: only the digest.
    Read(OperationId, Key, bool),
    /// This is stored.
    Answer(OperationId, ReadAnswer),
    /// Anti-entropy: this key is among what I store in a leaf.
    Lists(Key),
    /// Anti-entropy: give me this key.
    Wants(Key),
    /// Anti-entropy: take this version.
    Hands(Key, Version),
}

/// Why a message went no further, or has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// A partition drops its packets; the stream tries again.
    Blocked,
    /// The receiver's process is not there; the stream tries again.
    NobodyThere,
    /// There is no link, and none is being made at the moment.
    NoLink,
    /// The connection ended before it was delivered.
    ConnectionLost,
    /// The link lost it, and nobody sends it again.
    Lost,
}

/// What a frame is to the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parcel {
    /// A message between nodes, by its number.
    Message(u64),
    /// A client's request, by the number of the call.
    Request(u64),
    /// The answer to it, by the number of the call.
    Response(u64),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A line of the history.
    History(HistoryEvent),
    /// A client begins the call for the operation of the history with this index.
    Call {
        /// Index of the invocation.
        operation: u64,
        /// Number of the call.
        call: u64,
        /// The client's slot.
        slot: u32,
        /// Whom it asks.
        node: NodeId,
    },
    /// A request, an answer or a message leaves.
    Leaves(Parcel),
    /// It can't go on.
    Hindered(Parcel, Hindrance),
    /// The request of a call is taken by its coordinator, under this number.
    Taken {
        /// The coordinator.
        node: NodeId,
        /// Number of the call.
        call: u64,
        /// The coordinator's number for it.
        request: RequestId,
    },
    /// A node handles a client's request.
    Asked {
        /// Number of the step.
        step: u64,
        /// Who handles it.
        node: NodeId,
        /// Its number for it.
        request: RequestId,
    },
    /// A message arrives and is handled.
    Arrives {
        /// Number of the step.
        step: u64,
        /// Who handles it.
        node: NodeId,
        /// Number of the message.
        number: u64,
    },
    /// A node handles a deadline, of which something follows for these keys.
    TimeCame {
        /// Number of the step.
        step: u64,
        /// Whose.
        node: NodeId,
    },
    /// A message is made; it leaves when what it states is durable.
    Sends {
        /// Number of the step.
        step: u64,
        /// Sender.
        from: NodeId,
        /// Receiver.
        to: NodeId,
        /// Number of the message.
        number: u64,
        /// What it says; several things when it is about several of the keys.
        says: Vec<Say>,
    },
    /// An answer to a client is made; it leaves when what it states is durable.
    Replies {
        /// Number of the step.
        step: u64,
        /// Who answers.
        node: NodeId,
        /// Its number for the request.
        request: RequestId,
        /// The answer.
        response: ClientResponse,
    },
    /// A version goes to the disk, or is removed from it (`None`).
    Stores {
        /// Number of the step.
        step: u64,
        /// Who stores.
        node: NodeId,
        /// The batch that it is part of.
        batch: u64,
        /// The key.
        key: Key,
        /// The version.
        version: Option<Version>,
    },
    /// All batches up to this one are durable.
    Synced(NodeId, u64),
    /// A process begins to serve; `empty`: it found nothing on its disk.
    Boots {
        /// Whose.
        node: NodeId,
        /// Nothing was stored.
        empty: bool,
    },
    /// A process is killed. The batches up to `kept` made it, those behind it are lost.
    Killed {
        /// Whose.
        node: NodeId,
        /// The last batch that is on the disk.
        kept: u64,
    },
    /// A process stands still.
    Pauses(NodeId),
    /// It goes on.
    Proceeds(NodeId),
    /// A node hears that a link is up or down.
    Link(NodeId, NodeId, Link),
    /// A line of a node's log.
    Says(NodeId, NodeEvent),
}

/// What is being handled.
#[derive(Clone, Copy, Debug)]
struct Step {
    time: u64,
    node: NodeId,
    number: u64,
    /// A deadline that nothing followed from yet.
    silent_deadline: bool,
}

/// The tape.
#[derive(Clone, Debug)]
pub struct Tape {
    keys: BTreeSet<Key>,
    notes: Vec<Note>,
    left_out: u64,
    /// The world's time when the load began.
    start: u64,
    step: Step,
    /// Work of coordinators on these keys.
    operations: BTreeSet<(NodeId, OperationId)>,
    requests: BTreeSet<(NodeId, RequestId)>,
    /// Batches with one of these keys that are not durable yet.
    unsynced: BTreeSet<(NodeId, Ticket)>,
    parcels: BTreeSet<Parcel>,
}

impl Tape {
    /// An empty tape for these keys.
    pub fn of(keys: impl IntoIterator<Item = String>) -> Tape {
        Tape {
            keys: keys.into_iter().map(|key| Key(key.into_bytes())).collect(),
            notes: Vec::new(),
            left_out: 0,
            start: 0,
            step: Step { time: 0, node: NodeId(0), number: 0, silent_deadline: false },
            operations: BTreeSet::new(),
            requests: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            parcels: BTreeSet::new(),
        }
    }

    /// What happened, in order.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Notes for which there was no room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The world's time at the start of the load, where the times of histories begin.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// A tape on which this happened.
    #[cfg(test)]
    pub(crate) fn with_notes(notes: Vec<Note>) -> Tape {
        Tape { notes, ..Tape::of([]) }
    }

    pub(super) fn load_starts(&mut self, time: u64) {
        self.start = time;
    }

    pub(super) fn note(&mut self, time: u64, what: What) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(Note { time, what });
        } else {
            self.left_out += 1;
        }
    }

    // What the run's hash sees anyway.

    pub(super) fn input(&mut self, time: u64, node: NodeId, input: &Input, message: u64) {
        let number = self.step.number + 1;
        self.step = Step { time, node, number, silent_deadline: matches!(input, Input::Deadline) };
        match input {
            Input::Peer { .. } => {
                if self.parcels.contains(&Parcel::Message(message)) {
                    self.note(time, What::Arrives { step: number, node, number: message });
                }
            }
            Input::Client { request_id, request } => {
                let asked = match request {
                    ClientRequest::Put { key, .. }
                    | ClientRequest::Get { key, .. }
                    | ClientRequest::PutWith { key, .. }
                    | ClientRequest::GetWith { key, .. }
                    | ClientRequest::Delete { key, .. }
                    | ClientRequest::Write { key, .. } => self.keys.contains(key),
                    ClientRequest::Scan { range, .. } => self.keys.iter().any(|key| range.contains(key)),
                    ClientRequest::Status
                    | ClientRequest::Repair
                    | ClientRequest::Publish { .. }
                    | ClientRequest::Deliveries { .. }
                    | ClientRequest::Members { .. }
                    | ClientRequest::Options { .. }
                    | ClientRequest::SetOption { .. }
                    | ClientRequest::Overlay
                    | ClientRequest::LocalScan { .. }
                    | ClientRequest::Locate { .. } => false,
                };
                if asked {
                    self.requests.insert((node, *request_id));
                    self.note(time, What::Asked { step: number, node, request: *request_id });
                }
            }
            Input::Link { peer, state } => self.note(time, What::Link(node, *peer, *state)),
            Input::Deadline => {}
        }
    }

    pub(super) fn boots(&mut self, time: u64, node: NodeId, empty: bool) {
        self.step = Step { time, node, number: self.step.number + 1, silent_deadline: false };
        self.note(time, What::Boots { node, empty });
    }

    pub(super) fn durable(&mut self, batch: &WriteBatch, ticket: Ticket) {
        let puts = batch.puts.iter().filter_map(|(key, value)| stored_version(key, value));
        let puts: Vec<_> = puts.map(|(key, version)| (key, Some(version))).collect();
        let deletes = batch.deletes.iter().filter_map(|key| Some((stored_key(key)?, None)));
        let stored = puts.into_iter().chain(deletes).filter(|(key, _)| self.keys.contains(key));
        for (key, version) in stored.collect::<Vec<_>>() {
            self.explain_deadline();
            let Step { time, node, number: step, .. } = self.step;
            self.unsynced.insert((node, ticket));
            self.note(time, What::Stores { step, node, batch: ticket, key, version });
        }
    }

    pub(super) fn send(&mut self, to: NodeId, number: u64, message: &PeerMessage) {
        let from = self.step.node;
        let says = self.says(from, to, message);
        if !says.is_empty() {
            self.explain_deadline();
            self.parcels.insert(Parcel::Message(number));
            let Step { time, number: step, .. } = self.step;
            self.note(time, What::Sends { step, from, to, number, says });
        }
    }

    pub(super) fn reply(&mut self, request: RequestId, response: &ClientResponse) {
        let Step { time, node, number: step, .. } = self.step;
        if self.requests.contains(&(node, request)) {
            self.explain_deadline();
            self.note(time, What::Replies { step, node, request, response: response.clone() });
        }
    }

    pub(super) fn event(&mut self, event: &NodeEvent) {
        let Step { time, node, .. } = self.step;
        self.note(time, What::Says(node, event.clone()));
    }

    fn explain_deadline(&mut self) {
        let Step { time, node, number: step, silent_deadline } = self.step;
        if silent_deadline {
            self.step.silent_deadline = false;
            self.note(time, What::TimeCame { step, node });
        }
    }

    fn says(&mut self, from: NodeId, to: NodeId, message: &PeerMessage) -> Vec<Say> {
        match message {
            PeerMessage::Heartbeat | PeerMessage::Dissemination(_) | PeerMessage::Metadata(_) => Vec::new(),
            PeerMessage::Write { operation, key, version }
            | PeerMessage::StandInWrite { operation, key, version, .. }
                if self.keys.contains(key) =>
            {
                self.operations.insert((from, *operation));
                vec![Say::Write(*operation, key.clone(), version.clone())]
            }
            PeerMessage::Read { operation, key, digest_only }
            | PeerMessage::StandInRead { operation, key, digest_only, .. }
                if self.keys.contains(key) =>
            {
                self.operations.insert((from, *operation));
                vec![Say::Read(*operation, key.clone(), *digest_only)]
            }
            PeerMessage::WriteAck { operation } if self.operations.contains(&(to, *operation)) => {
                vec![Say::Ack(*operation)]
            }
            PeerMessage::ReadReply { operation, answer } if self.operations.contains(&(to, *operation)) => {
                vec![Say::Answer(*operation, answer.clone())]
            }
            // Hints, and what stand-ins and scans hand over.
            PeerMessage::Merge { entries, .. } => {
                let known = entries.iter().filter(|(key, _)| self.keys.contains(key));
                known.map(|(key, version)| Say::Hands(key.clone(), version.clone())).collect()
            }
            PeerMessage::ScanReply { answer: ScanAnswer::Page { entries, .. }, .. } => {
                let known = entries.iter().filter(|(key, _)| self.keys.contains(key));
                known.map(|(key, _)| Say::Lists(key.clone())).collect()
            }
            PeerMessage::Write { .. }
            | PeerMessage::StandInWrite { .. }
            | PeerMessage::StandInRead { .. }
            | PeerMessage::MergeAck { .. }
            | PeerMessage::Scan { .. }
            | PeerMessage::ScanReply { .. }
            | PeerMessage::Read { .. }
            | PeerMessage::WriteAck { .. }
            | PeerMessage::ReadReply { .. } => Vec::new(),
            PeerMessage::Sync(message) => self.says_of_sync(message),
            // Not shown yet: what is said about containers.
            PeerMessage::Causal(_) => Vec::new(),
        }
    }

    fn says_of_sync(&self, message: &SyncMessage) -> Vec<Say> {
        let hands = |entries: &[(Key, Version)]| -> Vec<Say> {
            let known = entries.iter().filter(|(key, _)| self.keys.contains(key));
            known.map(|(key, version)| Say::Hands(key.clone(), version.clone())).collect()
        };
        match message {
            SyncMessage::Nodes { .. } | SyncMessage::NodesDiffer { .. } | SyncMessage::ValuesAck { .. } => Vec::new(),
            SyncMessage::Leaves { pages, .. } => {
                let keys = pages.iter().flat_map(|page| &page.entries).map(|entry| &entry.key);
                keys.filter(|key| self.keys.contains(*key)).map(|key| Say::Lists(key.clone())).collect()
            }
            SyncMessage::LeavesReply { push, want, .. } => {
                let wants = want.iter().filter(|key| self.keys.contains(*key)).map(|key| Say::Wants(key.clone()));
                hands(push).into_iter().chain(wants).collect()
            }
            SyncMessage::Values { entries, .. } => hands(entries),
        }
    }

    // What only the world knows.

    pub(super) fn history(&mut self, time: u64, event: &HistoryEvent) {
        if self.keys.contains(&Key(event.key.clone().into_bytes())) {
            self.note(time, What::History(event.clone()));
        }
    }

    /// The call for the operation that was recorded last.
    pub(super) fn call(&mut self, time: u64, call: u64, slot: u32, node: NodeId) {
        let last = self.notes.last().map(|note| &note.what);
        if let Some(What::History(event)) = last {
            let operation = event.index;
            self.parcels.insert(Parcel::Request(call));
            self.parcels.insert(Parcel::Response(call));
            self.note(time, What::Call { operation, call, slot, node });
        }
    }

    pub(super) fn taken(&mut self, time: u64, node: NodeId, call: u64, request: RequestId) {
        if self.parcels.contains(&Parcel::Request(call)) {
            self.note(time, What::Taken { node, call, request });
        }
    }

    pub(super) fn leaves(&mut self, time: u64, parcel: Parcel) {
        if self.parcels.contains(&parcel) {
            self.note(time, What::Leaves(parcel));
        }
    }

    pub(super) fn hindered(&mut self, time: u64, frame: &Frame, hindrance: Hindrance) {
        let parcel = match frame {
            Frame::Hello | Frame::Probe => return,
            Frame::Message(number, _) => Parcel::Message(*number),
            Frame::Request(call, _) => Parcel::Request(*call),
            Frame::Response(call, _) => Parcel::Response(*call),
        };
        if self.parcels.contains(&parcel) {
            self.note(time, What::Hindered(parcel, hindrance));
        }
    }

    pub(super) fn synced(&mut self, time: u64, node: NodeId, durable: Ticket) {
        let done: Vec<_> = self.unsynced.range((node, 0)..=(node, durable)).copied().collect();
        if !done.is_empty() {
            done.iter().for_each(|batch| {
                self.unsynced.remove(batch);
            });
            self.note(time, What::Synced(node, durable));
        }
    }

    pub(super) fn killed(&mut self, time: u64, node: NodeId, last: Ticket, loss: CrashLoss) {
        self.unsynced.retain(|(of, _)| *of != node);
        self.note(time, What::Killed { node, kept: last - loss.lost });
    }
}
