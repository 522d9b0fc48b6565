//! What the replica gives anti-entropy to work with, and what it takes from finished sessions: once each neighbour was
//! compared with, a node that was catching up is ready.

use crate::anti_entropy::{AntiEntropy, SyncHost};
use crate::counters::Counters;
use crate::failure_detector::{FailureDetector, Opinion, Traffic};
use crate::message::{PeerMessage, SyncMessage};
use crate::replica::is_valid;
use crate::store::Store;
use crate::table::Table;
use crate::{Key, Lane, Link, Mark, NodeId, Now, Output, Replica, Send, Version, planted};

/// The rest of the replica, as anti-entropy sees it.
struct Host<'a> {
    now: Now,
    store: &'a mut Store,
    detector: &'a mut FailureDetector,
    counters: &'a mut Counters,
    output: &'a mut Output,
}

impl SyncHost for Host<'_> {
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

impl Replica {
    pub(crate) fn on_sync(&mut self, from: NodeId, message: SyncMessage) {
        self.with_host(|sync, host| sync.on_sync(host.now.time, from, message, host));
    }

    pub(crate) fn on_sync_deadline(&mut self) {
        self.with_host(|sync, host| sync.on_deadline(host.now.time, host));
    }

    /// A link came up or went down. A node that is catching up does not wait for its next try.
    pub(crate) fn on_sync_link(&mut self, peer: NodeId, state: Link) {
        let catching_up = self.catching_up_from.contains(&peer);
        self.with_host(|sync, host| match state {
            Link::Down => sync.on_link_down(host.now.time, peer),
            Link::Up if catching_up => sync.request_session(host.now.time, peer, host),
            Link::Up => {}
        });
    }

    /// Asks for a session with every neighbour that is still to be compared with.
    pub(crate) fn begin_catching_up(&mut self) {
        for peer in self.catching_up_from.clone() {
            self.with_host(|sync, host| sync.request_session(host.now.time, peer, host));
        }
    }

    fn with_host(&mut self, run: impl FnOnce(&mut AntiEntropy, &mut Host<'_>)) {
        let mut host = Host {
            now: self.now,
            store: &mut self.store,
            detector: &mut self.detector,
            counters: &mut self.counters,
            output: &mut self.output,
        };
        run(&mut self.sync, &mut host);
        let was_ready = self.is_ready();
        for report in self.sync.take_finished() {
            self.catching_up_from.remove(&report.peer);
        }
        if !was_ready && self.is_ready() {
            self.note_caught_up();
        }
    }
}
