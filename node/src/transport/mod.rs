//! QUIC between nodes and towards clients.
//!
//! One UDP socket, mutual TLS, two protocols told apart by ALPN:
//! - *peer*: after the handshake both sides send a hello on their control stream; then each direction has three
//!   unidirectional streams, one per lane, with falling priority (control, data, bulk), each a sequence of frames with their
//!   length in front. A stream begins with one byte that names its lane. What may be lost (heartbeats) goes in datagrams, a
//!   frame without its length each, and on the control stream to a peer whose QUIC has none. One connection per pair.
//! - *client*: one bidirectional stream per request; the frame is everything up to the end of the stream. A node that is about
//!   to end opens one stream of its own, without a byte: the client sends nothing more and closes the connection when all its
//!   requests are answered. So no request meets the node in the moment of its end, which would leave the client in doubt.
//!
//! Invariants: a connection may open streams only after the name in its certificate was accepted; whatever comes from
//! outside ends at worst its own stream or connection, and is counted; every queue and every wait has a bound.

pub(crate) mod accept;
pub(crate) mod contest;
pub(crate) mod frames;
pub(crate) mod hello;
pub(crate) mod lane_queue;
pub(crate) mod link;
pub(crate) mod links;
pub(crate) mod requests;
pub(crate) mod settings;

use std::sync::Arc;

use hearsay_core::{ClientRequest, Link, NodeId, message::PeerMessage};
use tokio::sync::{mpsc, oneshot};

use crate::counters::Counters;
use crate::logs::Brake;
use hello::Hello;
use links::{DialId, LinkId, Offer, Verdict};
use requests::Asker;

/// What the tasks around the driver tell it.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A request of a client.
    Request { request: ClientRequest, asker: Asker },
    /// A message that came on a link.
    Message { peer: NodeId, link: LinkId, message: PeerMessage },
    /// A connection whose hello was accepted: may it be the link of its pair?
    Offer { offer: Offer<quinn::Connection>, verdict: oneshot::Sender<Verdict<quinn::Connection>> },
    /// A dial came to nothing.
    DialFailed { peer: NodeId, dial: DialId, why: DialEnd },
    /// A link is gone.
    Lost { peer: NodeId, link: LinkId },
}

/// Why a dial came to nothing.
#[derive(Debug)]
pub(crate) enum DialEnd {
    /// No connection, or one that was refused; tried again after a while.
    Failed,
    /// The peer prefers a connection of its own.
    Duplicate,
    /// The peer says that another process of this identity is linked and answers, in a sentence.
    Contested(String),
}

/// A change of a link, for the replica.
pub(crate) type LinkChange = (NodeId, Link);

/// What every task of the transport needs.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) hello: Hello,
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) dialling: quinn::ClientConfig,
    pub(crate) inbox: mpsc::Sender<Arrival>,
    pub(crate) counters: Arc<Counters>,
    /// For lines that others can cause.
    pub(crate) brake: Brake,
    /// Client requests in work, over all connections.
    pub(crate) requests: Arc<tokio::sync::Semaphore>,
    pub(crate) clients: Arc<tokio::sync::Semaphore>,
    pub(crate) handshakes: Arc<tokio::sync::Semaphore>,
    /// Whether this node is about to end: answers are then waited for until they have arrived.
    pub(crate) stopping: std::sync::atomic::AtomicBool,
    /// Whether all requests it has taken are answered, so that nothing is left but to close: clients are told and close their
    /// connections, each when nothing of it is under way.
    pub(crate) farewell: tokio::sync::watch::Sender<bool>,
}
