//! Merkle anti-entropy between replicas: finds what two nodes store differently in the ranges they share, and mends it
//! both ways.
//!
//! Source: *Database Internals*, chapter 12; the Dynamo paper, section 4.7.
//!
//! A session belongs to its *initiator*; the *responder* keeps nothing (see [`SyncMessage`]). The initiator walks:
//!
//! ```text
//! roots of a page of shared ranges -> differing nodes, four levels at a time -> pages of differing leaves
//!   -> (takes what the responder pushed) -> values that the responder wants, in chunks -> next leaves, nodes, ranges
//! ```
//!
//! Invariants:
//! - One question in flight in a session, one session for each peer, at most [`SESSIONS_MAX`] in all. Every message is
//!   bounded far below the frame limit, every list a session keeps by the sizes below and the depth of the trees.
//! - A session counts as finished only if every shared range was found equal or repaired to its end, both ways, with the
//!   responder's word that what it got is durable. Anything lost on the way ends in abandonment.
//! - A message that is not valid from end to end has no effect but a count.
//! - A version is merged before it is acknowledged, and the host releases no message before what it states is durable.
//!
//! Left out: snapshots. A write that comes in during a session may look like a difference; sending it once more is
//! harmless, because merging is idempotent.

mod pages;
mod responder;
mod session;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Bound;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use self::session::{Next, Session};
use crate::message::SyncMessage;
use crate::ring::{RangeId, Ring};
use crate::table::{Record, Table};
use crate::{Key, Mark, Marks, NodeId, Time};

/// Sessions that a node runs as initiator at once.
pub const SESSIONS_MAX: usize = 4;
/// The schedule starts none while this many run.
pub const SCHEDULED_SESSIONS_MAX: usize = 2;
/// A question unanswered for this long ends its session.
pub const ANSWER_TIMEOUT_MS: u64 = 10_000;
/// Between two attempts at a requested session.
pub const REQUEST_RETRY_MS: u64 = 1_000;

/// What anti-entropy needs of the replica around it.
pub trait SyncHost {
    /// What is stored under a key.
    type Stored: Record;
    /// Whether two records of a key are joined to one that is neither, and a missing one may tell something: then the responder
    /// answers a difference with what it knows, and the initiator sends back what came out if that is more.
    const JOINS: bool;
    /// Merges a version that came from a peer into the table and, if it was newer, makes it durable with this output.
    /// Says whether it was taken. The key lies in an owned range.
    fn merge(&mut self, key: Key, version: Self::Stored) -> bool;
    /// What to send for a key; `None`: there is nothing to tell.
    fn outgoing(&self, key: &Key) -> Option<Self::Stored>;
    /// The table.
    fn table(&mut self) -> &mut Table<Self::Stored>;
    /// The same to look at.
    fn table_ref(&self) -> &Table<Self::Stored>;
    /// Sends on the bulk lane.
    fn send(&mut self, to: NodeId, message: SyncMessage<Self::Stored>);
    /// Whether a session with this peer is worth a try: there is a link, and it is not held for dead. (A question dropped
    /// for want of a link would hold up its session until the time-out.)
    fn alive(&self, peer: NodeId) -> bool;
}

/// What a finished session did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionReport {
    /// The responder.
    pub peer: NodeId,
    /// Ranges whose roots were compared: all that the two nodes share.
    pub ranges_compared: u64,
    /// Ranges whose roots differed.
    pub ranges_differing: u64,
    /// Leaves compared key by key.
    pub leaves_compared: u64,
    /// Versions sent to the responder.
    pub keys_sent: u64,
    /// Versions that the responder sent.
    pub keys_received: u64,
    /// Questions asked.
    pub rounds: u64,
    /// Whether it began after a request for it.
    pub requested: bool,
}

/// Counters of anti-entropy in both roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncCounters {
    /// Sessions started as initiator.
    pub sessions_started: u64,
    /// Sessions carried to their end as initiator.
    pub sessions_finished: u64,
    /// Sessions given up as initiator: no answer in time, or the peer went away.
    pub sessions_abandoned: u64,
    /// Ranges found to differ as initiator.
    pub ranges_differing: u64,
    /// Leaves compared to their end as initiator.
    pub leaves_compared: u64,
    /// Versions sent in either role.
    pub keys_sent: u64,
    /// Versions received in either role.
    pub keys_received: u64,
    /// Versions received that were newer than what was stored.
    pub keys_applied: u64,
    /// Messages without effect: malformed, from nodes that share nothing, or answers nobody waits for.
    pub messages_ignored: u64,
    /// Rare branches.
    pub marks: Marks,
}

impl SyncCounters {
    /// Every counter with its name.
    pub fn by_name(&self) -> [(&'static str, u64); 9] {
        [
            ("sync_sessions_started", self.sessions_started),
            ("sync_sessions_finished", self.sessions_finished),
            ("sync_sessions_abandoned", self.sessions_abandoned),
            ("sync_ranges_differing", self.ranges_differing),
            ("sync_leaves_compared", self.leaves_compared),
            ("sync_keys_sent", self.keys_sent),
            ("sync_keys_received", self.keys_received),
            ("sync_keys_applied", self.keys_applied),
            ("sync_messages_ignored", self.messages_ignored),
        ]
    }
}

/// The anti-entropy of one node: its schedule, the sessions it initiated, its answers to others.
#[derive(Debug)]
pub struct AntiEntropy {
    /// Every node that shares ranges with this one, and which.
    shared: BTreeMap<NodeId, Vec<RangeId>>,
    sessions: BTreeMap<NodeId, Session>,
    /// Peers that a session must be finished with, and when to try next.
    requested: BTreeMap<NodeId, Time>,
    /// When the schedule starts its next session; `None`: never.
    scheduled_at: Option<Time>,
    interval_ms: u64,
    /// The peer that the schedule chose last.
    scheduled_last: Option<NodeId>,
    rng: ChaCha8Rng,
    /// The next question's number: this process in the upper half, a count in the lower.
    question_next: u64,
    finished: Vec<SessionReport>,
    counters: SyncCounters,
    /// Levels that one question descends.
    levels: u8,
    /// Payload that sessions of this node may move in a second, both ways; 0: as much as goes.
    bytes_per_s: u64,
    /// No further question before this time.
    paced_until: Time,
}

impl AntiEntropy {
    /// The anti-entropy of `identity`. `incarnation` keeps answers to a former process apart; `interval_ms` 0 switches the
    /// schedule off; `rng` is a stream of its own.
    pub fn new(
        ring: &Ring,
        identity: NodeId,
        interval_ms: u64,
        incarnation: u64,
        rng: ChaCha8Rng,
        now: Time,
    ) -> AntiEntropy {
        let ranges = |peer| ring.shared_ranges(identity, peer).into_iter().map(RangeId).collect();
        let shared: BTreeMap<NodeId, Vec<RangeId>> =
            ring.neighbours(identity).into_iter().map(|peer| (peer, ranges(peer))).collect();
        let process = blake3::hash(&incarnation.to_be_bytes());
        let process = process.as_bytes().iter().take(4).fold(0, |number, &byte| number << 8 | u64::from(byte));
        let mut anti_entropy = AntiEntropy {
            shared,
            sessions: BTreeMap::new(),
            requested: BTreeMap::new(),
            scheduled_at: None,
            interval_ms,
            scheduled_last: None,
            rng,
            question_next: process << 32,
            finished: Vec::new(),
            counters: SyncCounters::default(),
            levels: pages::LEVELS_PER_QUESTION,
            bytes_per_s: 0,
            paced_until: now,
        };
        if interval_ms > 0 && !anti_entropy.shared.is_empty() {
            anti_entropy.scheduled_at = Some(anti_entropy.draw_next_schedule(now));
        }
        anti_entropy
    }

    /// The same, with `fan_out` descendants of each differing node asked about at once (a power of 2), and at most so much payload
    /// moved in a second (0: as much as goes).
    pub fn with_limits(mut self, fan_out: u8, bytes_per_s: u64) -> AntiEntropy {
        self.levels = u8::try_from(fan_out.max(2).ilog2()).expect("at most 7");
        self.bytes_per_s = bytes_per_s;
        self
    }

    /// The ring is another: every session and every request for one ends.
    pub fn on_ring(&mut self, now: Time, ring: &Ring, identity: NodeId) {
        self.counters.sessions_abandoned += self.sessions.len() as u64;
        self.sessions.clear();
        self.requested.clear();
        self.finished.clear();
        let ranges = |peer| ring.shared_ranges(identity, peer).into_iter().map(RangeId).collect();
        self.shared = ring.neighbours(identity).into_iter().map(|peer| (peer, ranges(peer))).collect();
        self.scheduled_at = match self.scheduled_at {
            _ if self.interval_ms == 0 || self.shared.is_empty() => None,
            Some(at) => Some(at),
            None => Some(self.draw_next_schedule(now)),
        };
    }

    /// Another time between two sessions by schedule; 0 switches it off. Without a change nothing happens.
    pub fn set_interval(&mut self, interval_ms: u64, now: Time) {
        if interval_ms == self.interval_ms {
            return;
        }
        self.interval_ms = interval_ms;
        let scheduled = interval_ms > 0 && !self.shared.is_empty();
        self.scheduled_at = scheduled.then(|| self.draw_next_schedule(now));
    }

    /// Asks for a session with a peer as soon as it is alive, tried again until one that began after this call has
    /// finished. Repeating a request that still stands only brings the next try forward. A peer that shares no range is
    /// finished at once. Finished means compared with what the peer holds then, also if the peer is catching up itself.
    pub fn request_session(&mut self, now: Time, peer: NodeId, host: &mut impl SyncHost) {
        if self.shared.contains_key(&peer) {
            self.requested.insert(peer, now);
            self.start_requested(now, host);
        } else {
            self.finished.push(SessionReport { requested: true, ..SessionReport::new(peer) });
        }
    }

    /// The same, where a session that is running already does not count: one has to begin after this call.
    pub fn request_fresh_session(&mut self, now: Time, peer: NodeId, host: &mut impl SyncHost) {
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.requested = false;
        }
        self.request_session(now, peer, host);
    }

    /// Takes a message of a peer.
    pub fn on_sync<H: SyncHost>(&mut self, now: Time, from: NodeId, message: SyncMessage<H::Stored>, host: &mut H) {
        let Some(ranges) = self.shared.get(&from) else {
            self.counters.messages_ignored += 1;
            self.counters.marks.hit(Mark::SyncInvalid);
            return;
        };
        match message {
            SyncMessage::Nodes { .. } | SyncMessage::Leaves { .. } | SyncMessage::Values { .. } => {
                match responder::answer(message, ranges, host, &mut self.counters) {
                    Some(answer) => host.send(from, answer),
                    None => {
                        self.counters.messages_ignored += 1;
                        self.counters.marks.hit(Mark::SyncInvalid);
                    }
                }
            }
            SyncMessage::NodesDiffer { .. } | SyncMessage::LeavesReply { .. } | SyncMessage::ValuesAck { .. } => {
                let session = self.sessions.get_mut(&from);
                if session.is_some_and(|session| session.take_answer(message, host, &mut self.counters)) {
                    self.pace(now, from);
                    self.advance(now, from, host);
                } else {
                    self.counters.messages_ignored += 1;
                    self.counters.marks.hit(Mark::SyncAnswerLate);
                }
            }
        }
    }

    /// Does all that is due: gives up sessions without an answer or whose peer is not alive, starts sessions by request
    /// and by schedule. To be called when [`AntiEntropy::next_deadline`] has come; earlier calls are harmless.
    pub fn on_deadline(&mut self, now: Time, host: &mut impl SyncHost) {
        let over = |(&peer, session): (&NodeId, &Session)| session.deadline <= now || !host.alive(peer);
        let lost: Vec<NodeId> = self.sessions.iter().filter(|&entry| over(entry)).map(|(&peer, _)| peer).collect();
        for peer in lost {
            let timed_out = self.sessions.get(&peer).is_some_and(|session| session.deadline <= now);
            self.counters.marks.hit(if timed_out { Mark::SessionTimedOut } else { Mark::SessionPeerDead });
            self.abandon(now, peer);
        }
        if self.paced_until <= now {
            let held = self.sessions.iter().find(|(_, session)| session.held).map(|(&peer, _)| peer);
            if let Some(peer) = held {
                self.advance(now, peer, host);
            }
        }
        self.start_requested(now, host);
        if self.scheduled_at.is_some_and(|time| time <= now) {
            self.scheduled_at = Some(self.draw_next_schedule(now));
            self.start_scheduled(now, host);
        }
    }

    /// When to call [`AntiEntropy::on_deadline`] at the latest.
    pub fn next_deadline(&self) -> Option<Time> {
        let answers = self.sessions.values().map(|session| session.deadline);
        // A request waits for a session's end, not for a time, if its peer is busy or all sessions are.
        let free = self.sessions.len() < SESSIONS_MAX;
        let waiting = self.requested.iter().filter(|(peer, _)| free && !self.sessions.contains_key(peer));
        let held = self.sessions.values().any(|session| session.held).then_some(self.paced_until);
        answers.chain(waiting.map(|(_, &time)| time)).chain(self.scheduled_at).chain(held).min()
    }

    /// The link to a peer is gone, or the peer is held for dead: what it was asked may never be answered.
    pub fn on_link_down(&mut self, now: Time, peer: NodeId) {
        if self.sessions.contains_key(&peer) {
            self.counters.marks.hit(Mark::SessionLostLink);
        }
        self.abandon(now, peer);
    }

    /// Sessions finished since the last call.
    pub fn take_finished(&mut self) -> Vec<SessionReport> {
        core::mem::take(&mut self.finished)
    }

    /// The counters.
    pub fn counters(&self) -> &SyncCounters {
        &self.counters
    }

    fn abandon(&mut self, now: Time, peer: NodeId) {
        if self.sessions.remove(&peer).is_some() {
            self.counters.sessions_abandoned += 1;
            if let Some(retry_at) = self.requested.get_mut(&peer) {
                *retry_at = now.plus_ms(REQUEST_RETRY_MS);
            }
        }
    }

    fn start_requested(&mut self, now: Time, host: &mut impl SyncHost) {
        let due: Vec<NodeId> = self.requested.iter().filter(|&(_, &time)| time <= now).map(|(&peer, _)| peer).collect();
        for peer in due {
            if self.sessions.len() >= SESSIONS_MAX {
                self.counters.marks.hit(Mark::RequestOverLimit);
                return;
            }
            if self.sessions.contains_key(&peer) {
                self.counters.marks.hit(Mark::RequestBehindSession);
                continue;
            }
            if host.alive(peer) {
                self.start(now, peer, host);
            } else {
                self.counters.marks.hit(Mark::RequestWaits);
                self.requested.insert(peer, now.plus_ms(REQUEST_RETRY_MS));
            }
        }
    }

    fn start_scheduled(&mut self, now: Time, host: &mut impl SyncHost) {
        if self.sessions.len() >= SCHEDULED_SESSIONS_MAX {
            self.counters.marks.hit(Mark::ScheduleBusy);
            return;
        }
        // Round robin: the peers behind the last one, then the others.
        let last = self.scheduled_last.unwrap_or(NodeId(0));
        let behind = self.shared.range((Bound::Excluded(last), Bound::Unbounded));
        let mut peers = behind.chain(self.shared.range(..=last)).map(|(&peer, _)| peer);
        if let Some(peer) = peers.find(|&peer| !self.sessions.contains_key(&peer) && host.alive(peer)) {
            self.scheduled_last = Some(peer);
            self.start(now, peer, host);
        } else {
            self.counters.marks.hit(Mark::ScheduleAlone);
        }
    }

    fn start(&mut self, now: Time, peer: NodeId, host: &mut impl SyncHost) {
        self.counters.sessions_started += 1;
        let session = Session::new(peer, self.shared[&peer].clone(), self.requested.contains_key(&peer));
        let before = self.sessions.insert(peer, session);
        assert!(before.is_none(), "two sessions with one peer");
        self.advance(now, peer, host);
    }

    /// Charges what an answer and its question moved.
    fn pace(&mut self, now: Time, peer: NodeId) {
        let bytes = self.sessions.get_mut(&peer).map_or(0, |session| core::mem::take(&mut session.bytes_moved));
        let Some(cost_ns) = bytes.saturating_mul(1_000_000_000).checked_div(self.bytes_per_s) else { return };
        self.paced_until = Time(self.paced_until.max(now).0.saturating_add(cost_ns));
    }

    /// Asks a session's next question, or ends it. A session that has to wait for the others' payload asks later.
    fn advance(&mut self, now: Time, peer: NodeId, host: &mut impl SyncHost) {
        let levels = self.levels;
        let session = self.sessions.get_mut(&peer).expect("only running sessions advance");
        session.held = self.paced_until > now;
        if session.held {
            self.counters.marks.hit(Mark::SessionPaced);
            session.deadline = self.paced_until.plus_ms(ANSWER_TIMEOUT_MS);
            return;
        }
        let question = self.question_next;
        match session.next_question(question, levels, host, &mut self.counters) {
            Next::Ask(message) => {
                self.question_next += 1;
                session.deadline = now.plus_ms(ANSWER_TIMEOUT_MS);
                host.send(peer, message);
            }
            Next::Finished => {
                let session = self.sessions.remove(&peer).expect("it was there just now");
                self.counters.sessions_finished += 1;
                if session.requested {
                    self.requested.remove(&peer);
                }
                self.finished.push(SessionReport { requested: session.requested, ..session.report });
                self.start_requested(now, host);
            }
        }
    }

    /// One interval from now, give or take a fifth, so that nodes started together drift apart.
    fn draw_next_schedule(&mut self, now: Time) -> Time {
        let fifth_ns = (self.interval_ms / 5).saturating_mul(1_000_000);
        let jitter_ns = self.rng.next_u64() % fifth_ns.saturating_mul(2).saturating_add(1);
        Time(now.plus_ms(self.interval_ms).0.saturating_sub(fifth_ns).saturating_add(jitter_ns))
    }
}

impl SessionReport {
    fn new(peer: NodeId) -> SessionReport {
        SessionReport {
            peer,
            ranges_compared: 0,
            ranges_differing: 0,
            leaves_compared: 0,
            keys_sent: 0,
            keys_received: 0,
            rounds: 0,
            requested: false,
        }
    }
}
