//! The digest exchange: the whole of `periodic`, and the anti-entropy behind every other protocol.
//!
//! ```text
//! pull:   A -ASK-> B    B -OFFER-> A     A -WANT-> B     B -MESSAGES-> A
//! push:                 A -OFFER-> B     B -WANT-> A     A -MESSAGES-> B
//! ```
//!
//! Ids travel first, so that no payload travels to who has it. An offer names what is held (bounded by the archive) and is
//! split at [`IDS_MAX`]; with nothing held nothing is offered. Several exchanges at once may bring a broadcast twice: it is
//! delivered once.

use alloc::vec::Vec;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::config::ExchangeConfig;
use super::message::{DisseminationMessage, ExchangeMessage, IDS_MAX, MessageId, batches};
use super::protocol::Context;
use crate::{NodeId, Time, planted};

#[derive(Debug)]
pub(super) struct Exchange {
    config: ExchangeConfig,
    rng: ChaCha8Rng,
    next: Option<Time>,
}

impl Exchange {
    /// At a phase of its own, so that nodes started together do not speak together.
    pub(super) fn new(config: ExchangeConfig, mut rng: ChaCha8Rng, now: Time) -> Exchange {
        let phase = config.interval_ms.checked_sub(1).map(|last| 1 + rng.random_range(0..=last));
        Exchange { config, rng, next: phase.map(|phase| now.plus_ms(phase)) }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.next
    }

    pub(super) fn on_deadline(&mut self, context: &mut Context<'_>) {
        if self.next.is_none_or(|at| at > context.now) {
            return;
        }
        self.next = Some(context.now.plus_ms(self.config.interval_ms));
        if planted!(context.planted, ExchangeNeverStarted) {
            return;
        }
        for peer in context.peers.sample(&mut self.rng, self.config.fan_out) {
            if self.config.direction.pushes() {
                offer(context, peer);
            }
            if self.config.direction.pulls() {
                context.send(peer, DisseminationMessage::Exchange(ExchangeMessage::Ask));
            }
        }
    }

    /// A message of an exchange; the ids of what was news.
    pub(super) fn on_message(
        &mut self,
        context: &mut Context<'_>,
        from: NodeId,
        message: ExchangeMessage,
    ) -> Vec<MessageId> {
        match message {
            ExchangeMessage::Ask => offer(context, from),
            ExchangeMessage::Offer { ids } => {
                let mut missing: Vec<MessageId> = ids.into_iter().filter(|id| !context.log.is_known(*id)).collect();
                missing.truncate(IDS_MAX);
                if !missing.is_empty() {
                    context.send(from, DisseminationMessage::Exchange(ExchangeMessage::Want { ids: missing }));
                }
            }
            ExchangeMessage::Want { ids } => {
                let wanted = ids.into_iter().take(IDS_MAX).filter_map(|id| context.log.to_send(id)).collect();
                for messages in batches(wanted) {
                    context.send(from, DisseminationMessage::Exchange(ExchangeMessage::Messages { messages }));
                }
            }
            ExchangeMessage::Messages { messages } => {
                let mut news = Vec::new();
                for (round, message) in messages {
                    let id = message.id;
                    if context.receive(from, round, message) {
                        context.counters.delivered_by_exchange += 1;
                        news.push(id);
                    }
                }
                return news;
            }
        }
        Vec::new()
    }
}

fn offer(context: &mut Context<'_>, to: NodeId) {
    let all: Vec<MessageId> = context.log.ids().collect();
    for ids in all.chunks(IDS_MAX) {
        context.send(to, DisseminationMessage::Exchange(ExchangeMessage::Offer { ids: ids.to_vec() }));
    }
}
