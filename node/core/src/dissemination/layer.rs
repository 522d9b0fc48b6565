//! The layer as one state machine: membership, protocol, exchange and log.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::config::DisseminationConfig;
use super::counters::DisseminationCounters;
use super::exchange::Exchange;
use super::log::MessageLog;
use super::membership::{Change, Membership, MembershipContext, Peers};
use super::message::{DisseminationMessage, Message, MessageId, Payload};
use super::protocol::{self, Broadcast, Context};
use crate::rng::sub_stream;
use crate::{Link, NodeId, Planted, Time};

/// What can happen to the layer.
#[derive(Clone, Debug)]
pub enum DisseminationInput {
    /// Publish this.
    Publish(Payload),
    /// A message of a peer.
    Peer {
        /// Who sent it.
        from: NodeId,
        /// The message.
        message: DisseminationMessage,
    },
    /// A link came up or went down, or could not be made.
    Link {
        /// The peer.
        peer: NodeId,
        /// Its link now.
        state: Link,
    },
    /// The time that `next_deadline` named has come.
    Deadline,
    /// Members came or left: these are all, ascending, this node included.
    Members(Arc<[NodeId]>),
}

/// A broadcast that is delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The broadcast.
    pub message: Message,
    /// Hops it travelled; 0 at its origin.
    pub round: u16,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Messages to send, in order per peer; without a link the peer is dialled, and a failure answered by [`Link::Down`].
    pub send: Vec<(NodeId, DisseminationMessage)>,
    /// Broadcasts delivered, own ones included.
    pub delivered: Vec<Delivery>,
}

/// Dissemination at one node.
#[derive(Debug)]
pub struct Dissemination {
    identity: NodeId,
    incarnation: u64,
    published: u64,
    membership: Membership,
    protocol: Box<dyn Broadcast>,
    exchange: Exchange,
    log: MessageLog,
    counters: DisseminationCounters,
    planted: Planted,
}

impl Dissemination {
    /// The layer of a node at its start. `members` is ascending and holds the node itself; `incarnation` is unique among the
    /// starts of this node; the configuration is valid.
    pub fn new(
        config: &DisseminationConfig,
        planted: Planted,
        identity: NodeId,
        incarnation: u64,
        members: Arc<[NodeId]>,
        seed: &[u8; 32],
        now: Time,
    ) -> (Dissemination, Effects) {
        let membership = Membership::new(config, identity, members, sub_stream(seed, "membership"), now);
        let mut layer = Dissemination {
            identity,
            incarnation,
            published: 0,
            membership,
            protocol: protocol::make(config, sub_stream(seed, "broadcast"), now),
            exchange: Exchange::new(config.exchange.clone(), sub_stream(seed, "exchange"), now),
            log: MessageLog::default(),
            counters: DisseminationCounters::default(),
            planted,
        };
        let mut effects = Effects::default();
        layer.with_membership(now, &mut effects, |membership, context| membership.start(context));
        layer.account(&effects);
        (layer, effects)
    }

    /// Takes one input.
    pub fn handle(&mut self, now: Time, input: DisseminationInput) -> Effects {
        let mut effects = Effects::default();
        match input {
            DisseminationInput::Publish(payload) => {
                self.publish(now, payload, &mut effects);
            }
            DisseminationInput::Peer { from, message } => self.on_peer(now, from, message, &mut effects),
            DisseminationInput::Link { peer, state } => {
                self.with_membership(now, &mut effects, |membership, context| membership.on_link(context, peer, state));
            }
            DisseminationInput::Deadline => self.on_deadline(now, &mut effects),
            DisseminationInput::Members(members) => {
                self.with_membership(now, &mut effects, |membership, context| membership.on_members(context, members));
            }
        }
        self.account(&effects);
        effects
    }

    /// When to call `handle` with [`DisseminationInput::Deadline`] at the latest.
    pub fn next_deadline(&self) -> Option<Time> {
        [
            self.membership.next_deadline(),
            self.protocol.next_deadline(),
            self.exchange.next_deadline(),
            self.log.next_expiry(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The id that the next broadcast of this node will have.
    pub fn next_id(&self) -> MessageId {
        MessageId { origin: self.identity, incarnation: self.incarnation, sequence: self.published }
    }

    /// Of this node's process.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Its neighbours; with full membership all other members.
    pub fn peers(&self) -> Peers<'_> {
        self.membership.peers()
    }

    /// The passive view; empty with full membership.
    pub fn passive_view(&self) -> &[NodeId] {
        match &self.membership {
            Membership::Full(_) => &[],
            Membership::HyParView(views) => views.passive(),
        }
    }

    /// Peers whose answer is awaited.
    pub fn asked(&self) -> Vec<NodeId> {
        match &self.membership {
            Membership::Full(_) => Vec::new(),
            Membership::HyParView(views) => views.asked().collect(),
        }
    }

    /// Neighbours by (eager, lazy), where the protocol tells them apart.
    pub fn links(&self) -> Option<(&[NodeId], &[NodeId])> {
        self.protocol.links()
    }

    /// What was received and is held.
    pub fn log(&self) -> &MessageLog {
        &self.log
    }

    /// What was done so far.
    pub fn counters(&self) -> DisseminationCounters {
        DisseminationCounters {
            given_up: self.log.given_up,
            archive_overflows: self.log.overflows,
            ..self.counters.clone()
        }
    }

    /// Entries in all tables but views and log.
    pub fn state_size(&self) -> usize {
        let views = match &self.membership {
            Membership::Full(_) => 0,
            Membership::HyParView(views) => views.state_size(),
        };
        views + self.protocol.state_size()
    }

    /// A broken invariant, as a sentence. For tests and simulations.
    pub fn flaw(&self) -> Option<String> {
        self.protocol.flaw(self.membership.peers())
    }

    fn context<'a>(
        &'a mut self,
        now: Time,
        effects: &'a mut Effects,
    ) -> (&'a mut dyn Broadcast, &'a mut Exchange, Context<'a>) {
        let context = Context {
            now,
            identity: self.identity,
            peers: self.membership.peers(),
            log: &mut self.log,
            counters: &mut self.counters,
            effects,
            planted: self.planted,
        };
        (&mut *self.protocol, &mut self.exchange, context)
    }

    /// Lets the membership work, then tells the protocol whom it gained and lost.
    fn with_membership<R>(
        &mut self,
        now: Time,
        effects: &mut Effects,
        work: impl FnOnce(&mut Membership, &mut MembershipContext<'_>) -> R,
    ) -> R {
        let mut changes = Vec::new();
        let mut context = MembershipContext {
            now,
            counters: &mut self.counters,
            effects,
            changes: &mut changes,
            spare: self.protocol.links().map_or(&[], |(_, lazy)| lazy),
            planted: self.planted,
        };
        let result = work(&mut self.membership, &mut context);
        let (protocol, _, mut context) = self.context(now, effects);
        for (peer, change) in changes {
            match change {
                Change::Up => protocol.neighbour_up(&mut context, peer, false),
                Change::Spare => protocol.neighbour_up(&mut context, peer, true),
                Change::Down => protocol.neighbour_down(&mut context, peer),
            }
        }
        result
    }

    fn publish(&mut self, now: Time, payload: Payload, effects: &mut Effects) {
        let id = self.next_id();
        self.published += 1;
        self.counters.published += 1;
        self.counters.delivered += 1;
        let message = Message { id, payload };
        let news = self.log.take(now, &message, 0, None);
        assert!(news, "a broadcast of this process's own is published once");
        effects.delivered.push(Delivery { message, round: 0 });
        let (protocol, _, mut context) = self.context(now, effects);
        protocol.publish(&mut context, id);
    }

    fn on_peer(&mut self, now: Time, from: NodeId, message: DisseminationMessage, effects: &mut Effects) {
        if from == self.identity || is_too_long(&message) {
            self.counters.messages_invalid += 1;
            return;
        }
        match message {
            DisseminationMessage::HyParView(message) => {
                let known = self
                    .with_membership(now, effects, |membership, context| membership.on_message(context, from, message));
                self.counters.messages_invalid += u64::from(!known);
            }
            DisseminationMessage::Exchange(message) => {
                let (protocol, exchange, mut context) = self.context(now, effects);
                for id in exchange.on_message(&mut context, from, message) {
                    protocol.learned(&mut context, from, id);
                }
            }
            message => {
                let for_neighbours =
                    matches!(message, DisseminationMessage::Gossip { .. } | DisseminationMessage::Plumtree(_));
                let (protocol, _, mut context) = self.context(now, effects);
                if !protocol.on_message(&mut context, from, message) {
                    self.counters.messages_invalid += 1;
                }
                // Sender and receiver disagree about their neighbourhood: the sender is told.
                if for_neighbours && !self.membership.peers().contains(from) {
                    self.with_membership(now, effects, |membership, context| membership.on_stranger(context, from));
                }
            }
        }
    }

    fn on_deadline(&mut self, now: Time, effects: &mut Effects) {
        self.log.expire(now);
        if self.membership.next_deadline().is_some_and(|at| at <= now) {
            self.with_membership(now, effects, Membership::on_deadline);
        }
        let (protocol, exchange, mut context) = self.context(now, effects);
        if protocol.next_deadline().is_some_and(|at| at <= now) {
            protocol.on_deadline(&mut context);
        }
        exchange.on_deadline(&mut context);
    }

    fn account(&mut self, effects: &Effects) {
        for (_, message) in &effects.send {
            let (payloads, bytes) = (message.payloads() as u64, message.bytes() as u64);
            self.counters.payloads_sent += payloads;
            if payloads > 0 {
                self.counters.payload_bytes_sent += bytes;
            } else {
                self.counters.control_sent += 1;
                self.counters.control_bytes_sent += bytes;
            }
        }
    }
}

/// Whether a payload from outside is beyond the limit.
fn is_too_long(message: &DisseminationMessage) -> bool {
    use super::message::{ExchangeMessage, RumorMessage};
    let long = |message: &Message| message.payload.0.len() > Payload::TAGGED_MAX;
    match message {
        DisseminationMessage::Gossip { message, .. } => long(message),
        DisseminationMessage::Rumor(RumorMessage::Rumors { rumors: list, .. })
        | DisseminationMessage::Exchange(ExchangeMessage::Messages { messages: list }) => {
            list.iter().any(|(_, message)| long(message))
        }
        _ => false,
    }
}
