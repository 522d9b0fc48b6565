//! What the replica gives anti-entropy to work with, and what it takes from finished sessions: once each neighbour was
//! compared with, a node that was catching up is ready.

use alloc::vec::Vec;

use crate::anti_entropy::{AntiEntropy, SyncHost};
use crate::causal::{CausalMessage, Container, Update};
use crate::counters::Counters;
use crate::dcc::Dcc;
use crate::failure_detector::{FailureDetector, Opinion, Traffic};
use crate::message::{PeerMessage, SyncMessage};
use crate::replica::is_valid;
use crate::store::Store;
use crate::table::Table;
use crate::{Key, Lane, Link, Mark, NodeId, Now, Output, Replica, Send, Time, Version, planted};

/// The rest of the replica, as anti-entropy sees it.
struct Host<'a> {
    now: Now,
    store: &'a mut Store,
    detector: &'a mut FailureDetector,
    counters: &'a mut Counters,
    output: &'a mut Output,
}

impl SyncHost for Host<'_> {
    type Stored = Version;
    const JOINS: bool = false;

    fn outgoing(&self, key: &Key) -> Option<Version> {
        self.store.get(key).cloned()
    }

    fn table_ref(&self) -> &Table {
        self.store.table_ref()
    }

    fn merge(&mut self, key: Key, version: Version) -> bool {
        if !is_valid(&key, Some(&version)) || !self.store.owns(&key) {
            self.counters.messages_invalid += 1;
            self.counters.mark(Mark::Invalid);
            return false;
        }
        if planted!(self.store.table().planted(), ExchangeMergesNothing) {
            return false;
        }
        self.store.merge(self.now.wall, key, version, &mut self.output.durable, self.counters)
    }

    fn table(&mut self) -> &mut Table {
        self.store.table()
    }

    fn send(&mut self, to: NodeId, message: SyncMessage) {
        let message = PeerMessage::Sync(message);
        self.detector.on_sent(to, Traffic::of(&message), self.now.time);
        self.output.send.push(Send { to, lane: Lane::Bulk, message });
    }

    /// Only peers with a link: a question to another may be dropped, and would hold up its session until the time-out.
    fn alive(&self, peer: NodeId) -> bool {
        self.detector.opinion(peer, self.now.time) == Opinion::Alive
    }
}

/// The same under the policy `dcc`.
struct CausalHost<'a> {
    now: Now,
    dcc: &'a mut Dcc,
    detector: &'a mut FailureDetector,
    counters: &'a mut Counters,
    output: &'a mut Output,
}

impl SyncHost for CausalHost<'_> {
    type Stored = Container;
    const JOINS: bool = true;

    fn merge(&mut self, key: Key, container: Container) -> bool {
        if planted!(self.dcc.store.table_ref().planted(), ExchangeMergesNothing) {
            return false;
        }
        let update = Update { key, container, dots: Vec::new() };
        let news = self.dcc.store.apply(update, &mut self.output.durable);
        if news.is_none() {
            self.counters.messages_invalid += 1;
            self.counters.mark(Mark::Invalid);
        }
        news == Some(true)
    }

    /// Also of a key of which nothing is stored there is something to tell: what was deleted.
    fn outgoing(&self, key: &Key) -> Option<Container> {
        Some(self.dcc.store.get(key))
    }

    fn table(&mut self) -> &mut Table<Container> {
        self.dcc.store.table()
    }

    fn table_ref(&self) -> &Table<Container> {
        self.dcc.store.table_ref()
    }

    fn send(&mut self, to: NodeId, message: SyncMessage<Container>) {
        let message = PeerMessage::Causal(CausalMessage::Sync(message));
        self.detector.on_sent(to, Traffic::of(&message), self.now.time);
        self.output.send.push(Send { to, lane: Lane::Bulk, message });
    }

    fn alive(&self, peer: NodeId) -> bool {
        self.detector.opinion(peer, self.now.time) == Opinion::Alive
    }
}

/// What anti-entropy is to do, under either policy.
enum Call {
    Deadline,
    LinkDown(NodeId),
    Request(NodeId),
    RequestFresh(NodeId),
    Nothing,
}

impl Call {
    fn carry_out(self, now: Time, sync: &mut AntiEntropy, host: &mut impl SyncHost) {
        match self {
            Call::Deadline => sync.on_deadline(now, host),
            Call::LinkDown(peer) => sync.on_link_down(now, peer),
            Call::Request(peer) => sync.request_session(now, peer, host),
            Call::RequestFresh(peer) => sync.request_fresh_session(now, peer, host),
            Call::Nothing => {}
        }
    }
}

impl Replica {
    pub(crate) fn on_sync(&mut self, from: NodeId, message: SyncMessage) {
        let mut host = Host {
            now: self.now,
            store: &mut self.store,
            detector: &mut self.detector,
            counters: &mut self.counters,
            output: &mut self.output,
        };
        self.sync.on_sync(self.now.time, from, message, &mut host);
        self.after_sync();
    }

    pub(crate) fn on_causal_sync(&mut self, from: NodeId, message: SyncMessage<Container>) {
        let mut host = CausalHost {
            now: self.now,
            dcc: self.dcc.as_mut().expect("only called under the policy dcc"),
            detector: &mut self.detector,
            counters: &mut self.counters,
            output: &mut self.output,
        };
        self.sync.on_sync(self.now.time, from, message, &mut host);
        self.after_sync();
    }

    pub(crate) fn on_sync_deadline(&mut self) {
        self.call_sync(Call::Deadline);
    }

    /// A link came up or went down. A node that is catching up does not wait for its next try.
    pub(crate) fn on_sync_link(&mut self, peer: NodeId, state: Link) {
        let catching_up = self.catching_up_from.contains(&peer);
        self.call_sync(match state {
            Link::Down => Call::LinkDown(peer),
            Link::Up if catching_up => Call::Request(peer),
            Link::Up => Call::Nothing,
        });
        if let (Some(dcc), Link::Down) = (&mut self.dcc, state) {
            dcc.exchanges.abandon(peer);
        }
    }

    /// Asks for a session with every neighbour that is still to be compared with.
    pub(crate) fn begin_catching_up(&mut self) {
        for peer in self.catching_up_from.clone() {
            self.call_sync(Call::Request(peer));
        }
    }

    /// Everything has to be compared with this neighbour, by a session that begins now or later.
    pub(crate) fn request_comparison(&mut self, peer: NodeId) {
        self.call_sync(Call::RequestFresh(peer));
    }

    fn call_sync(&mut self, call: Call) {
        let now = self.now.time;
        match &mut self.dcc {
            None => {
                let mut host = Host {
                    now: self.now,
                    store: &mut self.store,
                    detector: &mut self.detector,
                    counters: &mut self.counters,
                    output: &mut self.output,
                };
                call.carry_out(now, &mut self.sync, &mut host);
            }
            Some(dcc) => {
                let mut host = CausalHost {
                    now: self.now,
                    dcc,
                    detector: &mut self.detector,
                    counters: &mut self.counters,
                    output: &mut self.output,
                };
                call.carry_out(now, &mut self.sync, &mut host);
            }
        }
        self.after_sync();
    }

    fn after_sync(&mut self) {
        let was_ready = self.is_ready();
        for report in self.sync.take_finished() {
            self.catching_up_from.remove(&report.peer);
            self.on_ring_compared(&report);
            if let Some(dcc) = self.dcc.as_mut().filter(|_| report.requested) {
                dcc.exchanges.on_compared(report.peer);
                self.start_exchange(report.peer);
            }
            if report.requested {
                self.note_repaired(&report);
            }
        }
        if !was_ready && self.is_ready() {
            self.note_caught_up();
        }
        self.check_progress();
    }
}
