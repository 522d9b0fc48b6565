//! Rumor mongering (Demers and others, "Epidemic algorithms for replicated database maintenance", 1987, section 1.4).
//!
//! ```text
//! susceptible --first receipt--> infective --interest lost--> removed
//! ```
//!
//! Each round a node contacts `fan_out` random peers: it pushes the rumors it is infective with, or pulls theirs, or both. A contact
//! costs interest always (*blind*) or when the other knew the rumor (*feedback*): by a *coin* of 1/k, or when a *counter*
//! reaches k. In detail, as the paper's tables have it:
//!
//! - A rumor heard within the running round of its receiver counts as news for whoever else brings it in that round, and is
//!   passed on from the next round on: in synchronous cycles the receiver is judged as of the cycle's start.
//! - A useful contact resets the counter.
//! - Several pulls within a round count once; any useful one resets.
//!
//! A removed rumor never becomes infective again, and is remembered by the log, not here: the state is bounded by
//! [`RUMORS_MAX`] hot rumors, the oldest of which is removed when there are more. All are informed only together with
//! the exchange.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::config::{Interest, LossBy, RumorConfig};
use super::message::{DisseminationMessage, IDS_MAX, MessageId, RumorMessage, batches};
use super::protocol::{Broadcast, Context};
use crate::{NodeId, Time, planted};

/// Most rumors that a node is infective with.
const RUMORS_MAX: usize = 1_024;

#[derive(Debug, Default)]
struct Hot {
    /// Contacts that cost interest, since the last useful one.
    counter: u32,
    /// Heard in the running round.
    fresh: bool,
    /// In the running round: pulls that were answered with it, and whether one was useful.
    pulled: bool,
    useful: bool,
    /// By age.
    number: u64,
}

#[derive(Debug)]
pub(super) struct Rumor {
    config: RumorConfig,
    rng: ChaCha8Rng,
    hot: BTreeMap<MessageId, Hot>,
    by_age: BTreeSet<(u64, MessageId)>,
    heard: u64,
    next: Option<Time>,
    /// Rounds are aligned to this.
    phase: Time,
}

impl Rumor {
    pub(super) fn new(config: RumorConfig, mut rng: ChaCha8Rng, now: Time) -> Rumor {
        let phase = now.plus_ms(1 + rng.random_range(0..config.round_ms));
        // Who pulls has to ask in every round: it can't know what there is.
        let next = config.direction.pulls().then_some(phase);
        Rumor { config, rng, hot: BTreeMap::new(), by_age: BTreeSet::new(), heard: 0, next, phase }
    }

    fn infect(&mut self, context: &mut Context<'_>, id: MessageId) {
        self.heard += 1;
        self.hot.insert(id, Hot { fresh: true, number: self.heard, ..Hot::default() });
        self.by_age.insert((self.heard, id));
        while self.hot.len() > RUMORS_MAX {
            let (_, oldest) = *self.by_age.first().expect("each hot rumor has its age");
            self.remove(context, oldest);
        }
        if self.next.is_none() {
            let round_ns = self.config.round_ms * 1_000_000;
            let passed = match context.now.0.checked_sub(self.phase.0) {
                Some(since) => since / round_ns + 1,
                None => 0,
            };
            self.next = Some(Time(self.phase.0 + passed * round_ns));
        }
    }

    fn remove(&mut self, context: &mut Context<'_>, id: MessageId) {
        if let Some(hot) = self.hot.remove(&id) {
            self.by_age.remove(&(hot.number, id));
            context.counters.rumors_removed += 1;
        }
    }

    /// A contact that costs interest.
    fn cost(&mut self, context: &mut Context<'_>, id: MessageId) {
        let Some(hot) = self.hot.get_mut(&id) else { return };
        hot.counter += 1;
        let lost = match self.config.loss_by {
            LossBy::Coin => self.rng.random_range(0..self.config.k) == 0,
            LossBy::Counter => hot.counter >= self.config.k,
        };
        if lost && !planted!(context.planted, RumorNeverRemoved) {
            self.remove(context, id);
        }
    }

    fn is_blind(&self) -> bool {
        self.config.interest == Interest::Blind
    }

    /// The pulls of the round that ends are counted.
    fn end_round(&mut self, context: &mut Context<'_>) {
        let ids: Vec<MessageId> = self.hot.keys().copied().collect();
        for id in ids {
            let blind = self.is_blind();
            let hot = self.hot.get_mut(&id).expect("only this id may go here");
            let (pulled, useful) = (hot.pulled, hot.useful);
            (hot.pulled, hot.useful, hot.fresh) = (false, false, false);
            if useful && !blind {
                hot.counter = 0;
            } else if pulled {
                self.cost(context, id);
            }
        }
    }

    fn send_rumors(&self, context: &mut Context<'_>, to: NodeId, ids: &[MessageId]) {
        let rumors = ids.iter().filter_map(|id| context.log.to_send(*id)).collect();
        for rumors in batches(rumors) {
            let feedback = !self.is_blind();
            context.send(to, DisseminationMessage::Rumor(RumorMessage::Rumors { rumors, feedback }));
        }
    }

    fn start_round(&mut self, context: &mut Context<'_>) {
        // What the archive no longer holds can't be passed on.
        let gone: Vec<MessageId> = self.hot.keys().filter(|id| context.log.held(**id).is_none()).copied().collect();
        for id in gone {
            self.remove(context, id);
        }
        let partners = context.peers.sample(&mut self.rng, self.config.fan_out);
        for peer in partners {
            if self.config.direction.pushes() {
                let ids: Vec<MessageId> = self.hot.keys().copied().collect();
                self.send_rumors(context, peer, &ids);
                if self.is_blind() {
                    for id in ids {
                        self.cost(context, id);
                    }
                }
            }
            if self.config.direction.pulls() {
                context.send(peer, DisseminationMessage::Rumor(RumorMessage::Pull));
            }
        }
    }

    /// Rumors arrive: which were news in this round, and which were known at its start.
    fn receive(
        &mut self,
        context: &mut Context<'_>,
        from: NodeId,
        rumors: Vec<(u16, super::message::Message)>,
    ) -> (Vec<MessageId>, Vec<MessageId>) {
        let (mut needed, mut known) = (Vec::new(), Vec::new());
        for (round, message) in rumors {
            let id = message.id;
            if context.receive(from, round, message) {
                self.infect(context, id);
                needed.push(id);
            } else if self.hot.get(&id).is_some_and(|hot| hot.fresh) {
                needed.push(id);
            } else {
                if planted!(context.planted, RemovedRumorReturns) && !self.hot.contains_key(&id) {
                    self.infect(context, id);
                }
                known.push(id);
            }
        }
        (needed, known)
    }
}

impl Broadcast for Rumor {
    fn publish(&mut self, context: &mut Context<'_>, id: MessageId) {
        self.infect(context, id);
    }

    fn learned(&mut self, context: &mut Context<'_>, _from: NodeId, id: MessageId) {
        self.infect(context, id);
    }

    fn on_message(&mut self, context: &mut Context<'_>, from: NodeId, message: DisseminationMessage) -> bool {
        let DisseminationMessage::Rumor(message) = message else { return false };
        match message {
            RumorMessage::Rumors { rumors, feedback } => {
                let (needed, known) = self.receive(context, from, rumors);
                if feedback && !(needed.is_empty() && known.is_empty()) {
                    context.send(from, DisseminationMessage::Rumor(RumorMessage::Feedback { needed, known }));
                }
            }
            RumorMessage::Feedback { needed, known } => {
                let pushes = self.config.direction.pushes();
                for id in needed.into_iter().take(IDS_MAX) {
                    if let Some(hot) = self.hot.get_mut(&id) {
                        hot.useful = true;
                        if pushes {
                            hot.counter = 0;
                        }
                    }
                }
                if pushes && !self.is_blind() {
                    for id in known.into_iter().take(IDS_MAX) {
                        self.cost(context, id);
                    }
                }
            }
            RumorMessage::Pull => {
                let ids: Vec<MessageId> = self.hot.iter().filter(|(_, hot)| !hot.fresh).map(|(id, _)| *id).collect();
                self.send_rumors(context, from, &ids);
                // In push-pull every transmission is accounted for by its own feedback.
                if !self.config.direction.pushes() || self.is_blind() {
                    for id in ids {
                        self.hot.get_mut(&id).expect("it was just listed").pulled = true;
                    }
                }
            }
        }
        true
    }

    fn on_deadline(&mut self, context: &mut Context<'_>) {
        if self.next.is_none_or(|at| at > context.now) {
            return;
        }
        self.end_round(context);
        self.start_round(context);
        let again = self.config.direction.pulls() || !self.hot.is_empty();
        self.next = again.then(|| context.now.plus_ms(self.config.round_ms));
    }

    fn next_deadline(&self) -> Option<Time> {
        self.next
    }

    fn state_size(&self) -> usize {
        self.hot.len()
    }
}
