//! The exchange of bitmap version vectors: repair by recency, without comparing what is old.
//!
//! ```text
//! A -> B  request: my clock, and the mark of your log when I last compared everything with you
//! B -> A  page: of the dots in my log that you lack, and whose keys are yours: the containers, stripped; my clock
//!         A fills them with *B's* clock, joins, stores
//! ...     while there are more: the next request names where to go on
//!         at the end A accounts for all of *B's own* dots that B had at the first page, and for no other entry of B's clock:
//!         B knows every key that its own dots concern; of other nodes' dots it knows only those of its own keys
//! B -> A  or, when B's log does not reach back to what A lacks: compare everything with me first
//! ```
//!
//! The responder keeps nothing. What B's log can't tell A (A is new to B, or B's log was full) is left to a full comparison by Merkle
//! trees. That counts only if B answers afterwards in the same life: so nothing is claimed that a node with an empty disk could not
//! show.
//!
//! Invariant: whatever is claimed or known here takes effect with the write batch of the same call; the host releases no later
//! message before that is durable, so no clock that leaves a node says more than its disk.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::store::{CausalStore, Update};
use super::{ActorId, Container, Dot, NodeClock};
use crate::{Key, NodeId, Time, WriteBatch, planted};

/// Words of bitmaps in a clock on the wire; a clock with more claims less there.
pub const CLOCK_WORDS_MAX: usize = 4_096;
/// Dots in one page.
const DOTS_MAX: usize = 2_048;
/// Log entries looked at for one page.
const LOOKED_AT_MAX: usize = 65_536;
/// Bytes of keys and values in one page, above which nothing more is added.
const PAYLOAD_MAX: usize = 256 * 1024;
/// A question unanswered for this long ends its exchange.
pub const ANSWER_TIMEOUT_MS: u64 = 5_000;

/// What two nodes say to each other in an exchange. `question` is a number that the asking node never uses twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ExchangeMessage {
    /// What do I lack?
    Request {
        /// Names the question.
        question: u64,
        /// Who asks.
        actor: ActorId,
        /// What the asker accounts for.
        clock: NodeClock,
        /// The responder's actor, and its log's mark, when everything was last compared with it.
        compared: Option<(ActorId, u64)>,
        /// Go on behind this dot.
        after: Option<Dot>,
    },
    /// This.
    Page {
        /// The question answered.
        question: u64,
        /// Who answers.
        actor: ActorId,
        /// What the responder accounts for, as the containers were taken.
        clock: NodeClock,
        /// Containers, stripped by that clock.
        updates: Vec<Update>,
        /// There is more behind this dot.
        resume: Option<Dot>,
    },
    /// More than the log still knows.
    CompareFirst {
        /// The question answered.
        question: u64,
        /// Who answers.
        actor: ActorId,
        /// The mark of its log.
        mark: u64,
    },
}

/// What became of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeOutcome {
    /// This node lacks nothing that the peer had when it began.
    Finished,
    /// Everything has to be compared with the peer; [`Exchanges::on_compared`] is to be told when that is done.
    Compare,
}

/// What to do after a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reaction {
    /// Send this to the peer.
    pub send: Option<ExchangeMessage>,
    /// The exchange with it is over.
    pub outcome: Option<ExchangeOutcome>,
}

/// An exchange that this node asked for.
#[derive(Debug)]
struct Running {
    question: u64,
    deadline: Time,
    compared: Option<(ActorId, u64)>,
    after: Option<Dot>,
    /// Since the first page: who answers, and how many dots it had made then.
    claim: Option<(ActorId, u64)>,
}

/// The exchanges of one node.
#[derive(Debug)]
pub struct Exchanges {
    running: BTreeMap<NodeId, Running>,
    /// Peers to be compared with, and then what their log's mark was before.
    to_compare: BTreeMap<NodeId, (ActorId, u64)>,
    /// Compared, but not yet confirmed by an answer of the same life.
    unconfirmed: BTreeMap<NodeId, (ActorId, u64)>,
    question_next: u64,
}

impl Exchanges {
    /// No exchange yet. `incarnation` keeps answers to a former process apart.
    pub fn new(incarnation: u64) -> Exchanges {
        let process = blake3::hash(&incarnation.to_be_bytes());
        let process = process.as_bytes().iter().take(4).fold(0, |number, &byte| number << 8 | u64::from(byte));
        Exchanges {
            running: BTreeMap::new(),
            to_compare: BTreeMap::new(),
            unconfirmed: BTreeMap::new(),
            question_next: process << 32,
        }
    }

    /// Begins an exchange with a peer; `None`: one is running.
    pub fn start(&mut self, now: Time, peer: NodeId, store: &CausalStore) -> Option<ExchangeMessage> {
        if self.running.contains_key(&peer) {
            return None;
        }
        let of_peer = |(actor, mark): (&ActorId, &u64)| (actor.node == peer).then_some((*actor, *mark));
        let stored = store.compared.iter().find_map(of_peer);
        let compared = self.unconfirmed.get(&peer).copied().or(stored);
        let running = Running { question: 0, deadline: now, compared, after: None, claim: None };
        Some(self.ask(now, peer, running, store))
    }

    /// Peers with an exchange running.
    pub fn is_running(&self, peer: NodeId) -> bool {
        self.running.contains_key(&peer)
    }

    /// Whether a full comparison with the peer is waited for.
    pub fn awaits_comparison(&self, peer: NodeId) -> bool {
        self.to_compare.contains_key(&peer)
    }

    /// When [`Exchanges::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<Time> {
        self.running.values().map(|running| running.deadline).min()
    }

    /// Gives up exchanges whose answer is overdue.
    pub fn expire(&mut self, now: Time) {
        self.running.retain(|_, running| running.deadline > now);
    }

    /// The link to the peer is gone.
    pub fn abandon(&mut self, peer: NodeId) {
        self.running.remove(&peer);
    }

    /// Everything was compared with the peer, by a comparison that began after [`ExchangeOutcome::Compare`]. The next exchange
    /// confirms it.
    pub fn on_compared(&mut self, peer: NodeId) {
        if let Some(mark) = self.to_compare.remove(&peer) {
            self.unconfirmed.insert(peer, mark);
        }
    }

    /// Takes a message of a peer. `None`: it was not valid, or too late, and had no effect.
    pub fn on_message(
        &mut self,
        now: Time,
        from: NodeId,
        message: ExchangeMessage,
        store: &mut CausalStore,
        durable: &mut WriteBatch,
    ) -> Option<Reaction> {
        match message {
            ExchangeMessage::Request { question, actor, clock, compared, after } => {
                if actor.node != from || !store.hear(actor, &clock) {
                    return None;
                }
                let send = Some(store.answer(question, from, &clock, compared, after));
                store.prune_step(durable);
                Some(Reaction { send, outcome: None })
            }
            ExchangeMessage::CompareFirst { question, actor, mark } => {
                self.running.get(&from).filter(|running| running.question == question && actor.node == from)?;
                self.running.remove(&from);
                self.unconfirmed.remove(&from);
                self.to_compare.insert(from, (actor, mark));
                store.counters.exchanges_compared += 1;
                Some(Reaction { send: None, outcome: Some(ExchangeOutcome::Compare) })
            }
            ExchangeMessage::Page { question, actor, clock, updates, resume } => {
                let mut running = {
                    let running = self.running.get(&from)?;
                    let same = running.claim.is_none_or(|(of, _)| of == actor);
                    let advances = resume.is_none_or(|dot| running.after.is_none_or(|after| dot > after));
                    if running.question != question || actor.node != from || !same || !advances {
                        return None;
                    }
                    self.running.remove(&from).expect("just seen")
                };
                if !store.hear(actor, &clock) {
                    return None;
                }
                // The same life as before the comparison: so it was this store that everything was compared with.
                if let Some((of, mark)) = self.unconfirmed.remove(&from)
                    && running.compared == Some((of, mark))
                    && of == actor
                {
                    store.note_compared(actor, mark, durable);
                }
                let (_, claim) = *running.claim.get_or_insert((actor, clock.base(actor)));
                store.take_page(&clock, updates, durable)?;
                if planted!(store.planted, ExchangeMergesAllEntries) {
                    store.claim_all(&clock, durable);
                }
                if let Some(after) = resume
                    && !planted!(store.planted, ExchangeClaimsFirstPage)
                {
                    running.after = Some(after);
                    let send = Some(self.ask(now, from, running, store));
                    return Some(Reaction { send, outcome: None });
                }
                store.claim(actor, claim, durable);
                store.strip_step(durable);
                store.prune_step(durable);
                store.counters.exchanges_finished += 1;
                Some(Reaction { send: None, outcome: Some(ExchangeOutcome::Finished) })
            }
        }
    }

    fn ask(&mut self, now: Time, peer: NodeId, mut running: Running, store: &CausalStore) -> ExchangeMessage {
        running.question = self.question_next;
        running.deadline = now.plus_ms(ANSWER_TIMEOUT_MS);
        self.question_next += 1;
        let message = ExchangeMessage::Request {
            question: running.question,
            actor: store.actor,
            clock: store.clock.with_words_max(CLOCK_WORDS_MAX),
            compared: running.compared,
            after: running.after,
        };
        self.running.insert(peer, running);
        message
    }
}

impl CausalStore {
    /// Notes what a neighbour accounts for; false for a former life of it.
    fn hear(&mut self, actor: ActorId, clock: &NodeClock) -> bool {
        self.watermarks.hear(actor, clock)
    }

    /// What `peer`, that accounts for `theirs`, lacks.
    fn answer(
        &mut self,
        question: u64,
        peer: NodeId,
        theirs: &NodeClock,
        compared: Option<(ActorId, u64)>,
        after: Option<Dot>,
    ) -> ExchangeMessage {
        let actor = self.actor;
        let compared = compared.filter(|(of, _)| *of == actor).map(|(_, mark)| mark);
        if !self.log.can_serve(theirs, compared) && !planted!(self.planted, LogGoneUnnoticed) {
            return ExchangeMessage::CompareFirst { question, actor, mark: self.log.mark() };
        }
        let mut page: BTreeMap<Key, (Container, Vec<Dot>)> = BTreeMap::new();
        let (mut dots, mut bytes, mut resume, mut last) = (0, 0, None, after);
        for (looked_at, (dot, key)) in self.log.missing(theirs, after).enumerate() {
            if dots >= DOTS_MAX || bytes >= PAYLOAD_MAX || looked_at >= LOOKED_AT_MAX {
                resume = last;
                break;
            }
            last = Some(dot);
            if !self.ring.is_replica(peer, key) {
                continue;
            }
            dots += 1;
            let (container, others) = page.entry(key.clone()).or_insert_with(|| {
                let mut container = self.get(key);
                container.strip(&self.clock);
                bytes += key.0.len() + container.payload_bytes();
                (container, Vec::new())
            });
            if container.dots().all(|held| held != dot) {
                others.push(dot);
            }
        }
        self.counters.updates_sent += page.len() as u64;
        let updates = page.into_iter().map(|(key, (container, dots))| Update { key, container, dots }).collect();
        ExchangeMessage::Page { question, actor, clock: self.clock.with_words_max(CLOCK_WORDS_MAX), updates, resume }
    }

    /// Fills the containers of a page with the clock of the node that stripped them, and takes them over. `None`: one can't be; those
    /// before it are taken.
    fn take_page(&mut self, theirs: &NodeClock, updates: Vec<Update>, durable: &mut WriteBatch) -> Option<()> {
        for mut update in updates {
            if !planted!(self.planted, StripWithoutFill) {
                update.container.fill(theirs, self.ring.replicas(&update.key));
            }
            self.counters.updates_received += 1;
            self.apply(update, durable)?;
        }
        Some(())
    }

    /// Accounts for all that another clock does: a planted bug.
    fn claim_all(&mut self, theirs: &NodeClock, durable: &mut WriteBatch) {
        for actor in theirs.actors().collect::<Vec<ActorId>>() {
            self.claim(actor, theirs.base(actor), durable);
        }
    }
}
