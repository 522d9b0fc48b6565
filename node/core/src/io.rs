//! What goes into a replica and what comes out of it: effects as data.

use alloc::string::String;
use alloc::vec::Vec;

use crate::{ClientRequest, ClientResponse, NodeId, message::PeerMessage};

/// Names one client request towards the driver, which makes it unique for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// State of the connection to a peer, as the driver sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Both sides have exchanged and accepted their hello.
    Up,
    /// The connection is gone, or could not be made. What was sent on it may or may not have arrived.
    Down,
}

/// Everything that can happen to a replica.
#[derive(Clone, Debug)]
pub enum Input {
    /// A decoded message of an authenticated peer.
    Peer {
        /// Who sent it; bound to its certificate by the driver.
        from: NodeId,
        /// The message.
        message: PeerMessage,
    },
    /// A request of a client.
    Client {
        /// Comes back with the reply.
        request_id: RequestId,
        /// The request.
        request: ClientRequest,
    },
    /// The time that `next_deadline` named has come (or passed: a driver may be late, never early).
    Deadline,
    /// A link to a peer came up or went down. Without a link the driver drops what is sent to that peer, after having
    /// tried to connect.
    Link {
        /// The peer.
        peer: NodeId,
        /// Its link now.
        state: Link,
    },
}

/// Which stream a message takes. The real driver gives them QUIC stream priorities; the simulator bandwidth shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Membership, metadata, heartbeats: never delayed by the others.
    Control,
    /// Replication and reads.
    Data,
    /// Anti-entropy, hints, ranges.
    Bulk,
}

/// A message on its way to a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Send {
    /// The receiver, never the sender itself.
    pub to: NodeId,
    /// The stream it takes.
    pub lane: Lane,
    /// The message.
    pub message: PeerMessage,
}

/// Changes to the store, all or nothing. Keys and values are opaque to the driver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    /// Entries to insert or replace, in order.
    pub puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// Entries to remove, after the puts.
    pub deletes: Vec<Vec<u8>>,
}

impl WriteBatch {
    /// Whether there is nothing to make durable.
    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletes.is_empty()
    }
}

/// The whole content of the store at boot, in any order. Empty: a new node, or one that lost its disk.
#[derive(Clone, Debug, Default)]
pub struct RecoveredState {
    /// Entries as [`WriteBatch::puts`] wrote them.
    pub entries: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Something worth a line in the log. Never part of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The failure detector changed its mind about a peer.
    PeerUp(NodeId),
    /// The failure detector changed its mind about a peer.
    PeerDown(NodeId),
    /// This node starts without the state it should have and answers no replica read until it has caught up.
    CatchingUp,
    /// This node has compared itself with every other replica of its ranges.
    CaughtUp,
    /// Something odd from outside, as a sentence.
    Warning(String),
}

/// What the driver has to do. See the crate's header for the order.
#[derive(Debug, Default)]
pub struct Output {
    /// To make durable before anything of this output or a later one is released.
    pub durable: WriteBatch,
    /// To send, in order per (peer, lane), but for what may be lost ([`PeerMessage::may_be_lost`]).
    pub send: Vec<Send>,
    /// To answer clients.
    pub reply: Vec<(RequestId, ClientResponse)>,
    /// Links that are no longer needed, to be closed. No [`Input::Link`] answers this; a later send dials again.
    pub hang_up: Vec<NodeId>,
    /// To log.
    pub events: Vec<Event>,
}
