//! Which connection is the link of which pair. Owned by the driver, so every change of a link happens in one place, in
//! order with the messages; no I/O and no clock of its own.
//!
//! States of a peer: `Idle` (no link; may dial after a back-off) -> `Dialling` -> `Up` -> `Idle`; `Expecting` after the
//! other side refused our dial because its own is under way.
//!
//! Invariants:
//! - One link per pair. When both dial at once, the connection dialled by the smaller id stays: the smaller id refuses the
//!   other's while its own dial is under way; the larger takes the other's in place of its own.
//! - One process per identity. A new incarnation from the address of the old one is a restart (two processes can't have one
//!   address) and replaces it at once, so does one from the address that the configuration names. From anywhere else it is
//!   *contested*: the caller finds out whether the old one still answers, and offers again if it does not.
//! - `Down` once per link that was up, and once per failed dial; never `Up` twice without `Down` between.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearsay_core::{Lane, Link, NodeId};

use super::LinkChange;
use super::lane_queue::{LANES, LaneQueue, lane_index};
use super::settings::code;
use crate::counters::Counters;

const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);
/// How long the other side's own connection is awaited after it refused ours as a duplicate.
const EXPECTATION: Duration = Duration::from_millis(500);
/// Dials under way at once: bounds the storm when a large cluster starts, or a partition has healed. Hundreds of nodes on one
/// machine that dial all their peers at once only make each other's dials time out.
const DIALS_MAX: usize = 8;

/// One attempt to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DialId(u64);

/// One link, unique for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkId(u64);

#[cfg(test)]
impl LinkId {
    pub(crate) fn for_test(number: u64) -> LinkId {
        LinkId(number)
    }
}

/// The three queues of a link.
pub(crate) type Queues = Arc<[LaneQueue; 3]>;

/// What became of a frame that was to go as a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Datagram {
    /// It is on its way.
    Sent,
    /// Too much waits already. What comes later says the same.
    Full,
    /// The other side takes no datagrams, or none so long, or the connection has ended.
    Unfit,
}

/// What a link is of: a connection.
pub(crate) trait Carrier {
    fn close(&self, code: quinn::VarInt, reason: &[u8]);
    fn send_datagram(&self, frame: &[u8]) -> Datagram;
}

impl Carrier for quinn::Connection {
    fn close(&self, code: quinn::VarInt, reason: &[u8]) {
        quinn::Connection::close(self, code, reason);
    }

    fn send_datagram(&self, frame: &[u8]) -> Datagram {
        // Not in force before the handshake, and not with a peer of a build that has none.
        if self.max_datagram_size().is_none_or(|most| frame.len() > most) {
            return Datagram::Unfit;
        }
        // QUIC would make room by throwing away the oldest, uncounted.
        if self.datagram_send_buffer_space() < frame.len() {
            return Datagram::Full;
        }
        match quinn::Connection::send_datagram(self, frame.to_vec().into()) {
            Ok(()) => Datagram::Sent,
            Err(_) => Datagram::Unfit,
        }
    }
}

/// A connection whose hello was accepted.
#[derive(Clone, Debug)]
pub(crate) struct Offer<C> {
    pub(crate) peer: NodeId,
    pub(crate) incarnation: u64,
    /// Where the other side is.
    pub(crate) from: SocketAddr,
    /// The link that was found silent after the offer had been contested.
    pub(crate) silent: Option<LinkId>,
    /// Our dial it came from; `None`: the peer dialled.
    pub(crate) dial: Option<DialId>,
    pub(crate) connection: C,
}

/// What becomes of an offer.
#[derive(Debug)]
pub(crate) enum Verdict<C> {
    /// It is the link now.
    Link(LinkId, Queues),
    /// The pair has, or gets, another.
    Duplicate,
    /// Another process of the same identity is linked.
    Contested(Rival<C>),
}

/// The link of a process whose identity another one claims.
#[derive(Debug)]
pub(crate) struct Rival<C> {
    pub(crate) link: LinkId,
    pub(crate) from: SocketAddr,
    pub(crate) connection: C,
    pub(crate) queues: Queues,
}

/// To be carried out by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DialOrder {
    pub(crate) peer: NodeId,
    pub(crate) address: SocketAddr,
    pub(crate) dial: DialId,
}

#[derive(Debug)]
enum State<C> {
    Idle { not_before: Option<Instant> },
    Dialling { dial: DialId, queues: Queues },
    Expecting { until: Instant, queues: Queues },
    Up { link: LinkId, connection: C, incarnation: u64, from: SocketAddr, dialled_here: bool, queues: Queues },
}

#[derive(Debug)]
struct Peer<C> {
    address: SocketAddr,
    failures: u32,
    state: State<C>,
}

/// The links to all other members.
#[derive(Debug)]
pub(crate) struct Links<C> {
    own: NodeId,
    peers: BTreeMap<NodeId, Peer<C>>,
    dials: usize,
    last_id: u64,
    counters: Arc<Counters>,
}

fn new_queues() -> Queues {
    Arc::new(LANES.map(LaneQueue::new))
}

fn cleared(queues: &Queues) -> u64 {
    queues.iter().map(|queue| queue.clear() as u64).sum()
}

impl<C: Clone + Carrier> Links<C> {
    pub(crate) fn new(own: NodeId, members: &BTreeMap<NodeId, SocketAddr>, counters: Arc<Counters>) -> Links<C> {
        let others = members.iter().filter(|(id, _)| **id != own);
        let peer =
            |address: &SocketAddr| Peer { address: *address, failures: 0, state: State::Idle { not_before: None } };
        let peers = others.map(|(id, address)| (*id, peer(address))).collect();
        Links { own, peers, dials: 0, last_id: 0, counters }
    }

    /// Queues a frame, or drops and counts it. A peer without link is dialled.
    pub(crate) fn send(&mut self, now: Instant, to: NodeId, lane: Lane, frame: &[u8]) -> Option<DialOrder> {
        let counters = Arc::clone(&self.counters);
        let peer =
            self.peers.get_mut(&to).unwrap_or_else(|| panic!("the replica sends to {to}, which is no other member"));
        let push = |queues: &Queues| {
            if queues[lane_index(lane)].push(frame).is_err() {
                counters.transport_dropped_full.one();
            }
        };
        match &peer.state {
            State::Up { queues, .. } | State::Dialling { queues, .. } => {
                push(queues);
                None
            }
            State::Expecting { until, queues } if now < *until => {
                push(queues);
                None
            }
            State::Idle { not_before: Some(time) } if now < *time => {
                counters.transport_dropped_unlinked.one();
                None
            }
            State::Idle { .. } | State::Expecting { .. } => {
                if self.dials >= DIALS_MAX {
                    counters.transport_dropped_unlinked.one();
                    return None;
                }
                let queues = match &peer.state {
                    State::Expecting { queues, .. } => Arc::clone(queues),
                    _ => new_queues(),
                };
                push(&queues);
                self.last_id += 1;
                self.dials += 1;
                counters.transport_dials.one();
                let dial = DialId(self.last_id);
                peer.state = State::Dialling { dial, queues };
                Some(DialOrder { peer: to, address: peer.address, dial })
            }
        }
    }

    /// Sends a frame that may be lost: as a datagram where there is a link that takes it, else as [`Links::send`] does.
    pub(crate) fn send_lossy(&mut self, now: Instant, to: NodeId, lane: Lane, frame: &[u8]) -> Option<DialOrder> {
        if let Some(Peer { state: State::Up { connection, .. }, .. }) = self.peers.get(&to) {
            match connection.send_datagram(frame) {
                Datagram::Sent => {
                    self.counters.transport_datagrams_sent.one();
                    return None;
                }
                Datagram::Full => {
                    self.counters.transport_datagrams_dropped.one();
                    return None;
                }
                Datagram::Unfit => self.counters.transport_datagrams_on_stream.one(),
            }
        }
        self.send(now, to, lane, frame)
    }

    /// Decides over a connection. The caller closes it when it is a duplicate.
    pub(crate) fn offer(&mut self, offer: Offer<C>) -> (Verdict<C>, Vec<LinkChange>) {
        let own = self.own;
        let id = offer.peer;
        if offer.dial.is_some() {
            self.dials -= 1;
        }
        let peer = self.peers.get_mut(&id).expect("offers come from members");
        let mut changes = Vec::new();
        if let State::Up { link, connection, incarnation, from, queues, .. } = &peer.state
            && *incarnation != offer.incarnation
            && ![*from, peer.address].contains(&offer.from)
            && offer.silent != Some(*link)
            && offer.dial.is_none()
        {
            let (connection, queues) = (connection.clone(), Arc::clone(queues));
            return (Verdict::Contested(Rival { link: *link, from: *from, connection, queues }), changes);
        }
        let accepted = match (&peer.state, offer.dial) {
            (State::Dialling { dial, .. }, Some(ours)) => *dial == ours,
            // Our own dial was given up in favour of something else meanwhile.
            (_, Some(_)) => false,
            (State::Dialling { .. }, None) => id < own,
            (State::Idle { .. } | State::Expecting { .. }, None) => true,
            (State::Up { incarnation, dialled_here, queues, .. }, None) => {
                let keep = *incarnation == offer.incarnation && *dialled_here && own < id;
                if keep {
                    // Either both dialled at once, or the peer has lost our link without our noticing: a probe on it makes
                    // the peer reset it, and the peer's next attempt finds no link here. A full queue probes as well.
                    let _ = queues[lane_index(Lane::Control)].push(&[]);
                }
                !keep
            }
        };
        if !accepted {
            self.counters.transport_duplicates.one();
            return (Verdict::Duplicate, changes);
        }
        let queues = match std::mem::replace(&mut peer.state, State::Idle { not_before: None }) {
            State::Idle { .. } => new_queues(),
            State::Dialling { queues, .. } | State::Expecting { queues, .. } => queues,
            State::Up { connection, queues, .. } => {
                connection.close(code::REPLACED, b"a newer connection of this pair takes over");
                self.counters.transport_links_down.one();
                self.counters.transport_dropped_lost.many(cleared(&queues));
                changes.push((id, Link::Down));
                new_queues()
            }
        };
        self.last_id += 1;
        let link = LinkId(self.last_id);
        peer.failures = 0;
        peer.state = State::Up {
            link,
            connection: offer.connection,
            incarnation: offer.incarnation,
            from: offer.from,
            dialled_here: offer.dial.is_some(),
            queues: Arc::clone(&queues),
        };
        self.counters.transport_links_up.one();
        changes.push((id, Link::Up));
        (Verdict::Link(link, queues), changes)
    }

    /// A dial came to nothing; `duplicate`: the peer prefers a connection of its own.
    pub(crate) fn dial_failed(
        &mut self,
        now: Instant,
        id: NodeId,
        dial: DialId,
        duplicate: bool,
    ) -> Option<LinkChange> {
        self.dials -= 1;
        let peer = self.peers.get_mut(&id)?;
        let State::Dialling { dial: current, queues } = &peer.state else { return None };
        if *current != dial {
            return None;
        }
        if duplicate {
            peer.state = State::Expecting { until: now + EXPECTATION, queues: Arc::clone(queues) };
            return None;
        }
        self.counters.transport_dials_failed.one();
        self.counters.transport_dropped_unlinked.many(cleared(queues));
        let back_off = BACK_OFF_MIN.saturating_mul(1 << peer.failures.min(8)).min(BACK_OFF_MAX);
        peer.failures = peer.failures.saturating_add(1);
        peer.state = State::Idle { not_before: Some(now + back_off) };
        Some((id, Link::Down))
    }

    /// A connection that was a link has ended.
    pub(crate) fn lost(&mut self, id: NodeId, link: LinkId) -> Option<LinkChange> {
        if !self.is_current(id, link) {
            return None;
        }
        let peer = self.peers.get_mut(&id)?;
        if let State::Up { queues, .. } = &peer.state {
            self.counters.transport_dropped_lost.many(cleared(queues));
        }
        peer.state = State::Idle { not_before: None };
        self.counters.transport_links_down.one();
        Some((id, Link::Down))
    }

    /// Closes a link that is no longer needed, if there is one; the replica knows. A later send dials again.
    pub(crate) fn hang_up(&mut self, id: NodeId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if let State::Up { connection, queues, .. } = &peer.state {
            connection.close(code::UNUSED, b"not used for long");
            self.counters.transport_dropped_lost.many(cleared(queues));
            self.counters.transport_links_down.one();
            peer.state = State::Idle { not_before: None };
        }
    }

    /// Whether messages of this link still count.
    pub(crate) fn is_current(&self, id: NodeId, link: LinkId) -> bool {
        matches!(self.peers.get(&id), Some(Peer { state: State::Up { link: current, .. }, .. }) if *current == link)
    }
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
