//! The interface of the protocols: what each is told, and what it may do.

use alloc::boxed::Box;
use core::fmt::Debug;

use rand_chacha::ChaCha8Rng;

use super::config::{BroadcastKind, DisseminationConfig};
use super::counters::DisseminationCounters;
use super::direct::Direct;
use super::layer::{Delivery, Effects};
use super::log::MessageLog;
use super::membership::Peers;
use super::message::{DisseminationMessage, Message, MessageId};
use super::periodic::Periodic;
use super::plumtree::Plumtree;
use super::rumor::Rumor;
use super::tree::Tree;
use crate::{NodeId, Planted, Time, planted};

/// What a protocol may use while it handles one input.
pub(super) struct Context<'a> {
    pub(super) now: Time,
    pub(super) identity: NodeId,
    /// Whom it may talk to.
    pub(super) peers: Peers<'a>,
    pub(super) log: &'a mut MessageLog,
    pub(super) counters: &'a mut DisseminationCounters,
    pub(super) effects: &'a mut Effects,
    pub(super) planted: Planted,
}

impl Context<'_> {
    pub(super) fn send(&mut self, to: NodeId, message: DisseminationMessage) {
        assert!(to != self.identity, "a message to itself");
        self.effects.send.push((to, message));
    }

    /// Sends a held broadcast on, if it is held.
    pub(super) fn send_gossip(&mut self, to: NodeId, id: MessageId) -> bool {
        let Some((round, message)) = self.log.to_send(id) else { return false };
        self.send(to, DisseminationMessage::Gossip { round, message });
        true
    }

    /// Takes a broadcast that arrived; whether it was news, and is delivered with this.
    pub(super) fn receive(&mut self, from: NodeId, round: u16, message: Message) -> bool {
        self.counters.payloads_received += 1;
        if !self.log.take(self.now, &message, round, Some(from)) {
            self.counters.payloads_duplicate += 1;
            if planted!(self.planted, BroadcastDeliveredTwice) {
                self.effects.delivered.push(Delivery { message, round });
            }
            return false;
        }
        self.counters.delivered += 1;
        self.effects.delivered.push(Delivery { message, round });
        true
    }
}

/// A protocol that spreads broadcasts.
pub(super) trait Broadcast: Debug + Send {
    /// A broadcast of this node; the log holds it already.
    fn publish(&mut self, context: &mut Context<'_>, id: MessageId);

    /// A broadcast that the exchange brought; it is delivered already.
    fn learned(&mut self, context: &mut Context<'_>, from: NodeId, id: MessageId);

    /// A message of a peer; GOSSIP and what belongs to this protocol. Whether it does.
    fn on_message(&mut self, context: &mut Context<'_>, from: NodeId, message: DisseminationMessage) -> bool;

    /// A peer became a neighbour; `spare`: in place of one that the broadcast tree does not run over.
    fn neighbour_up(&mut self, _context: &mut Context<'_>, _peer: NodeId, _spare: bool) {}

    /// A peer is a neighbour no longer.
    fn neighbour_down(&mut self, _context: &mut Context<'_>, _peer: NodeId) {}

    /// The time that `next_deadline` named has come.
    fn on_deadline(&mut self, _context: &mut Context<'_>) {}

    /// When `on_deadline` is to be called at the latest.
    fn next_deadline(&self) -> Option<Time> {
        None
    }

    /// Neighbours by (eager, lazy), where the protocol tells them apart.
    fn links(&self) -> Option<(&[NodeId], &[NodeId])> {
        None
    }

    /// Entries in tables that must stay bounded.
    fn state_size(&self) -> usize {
        0
    }

    /// A broken invariant of its own state, as a sentence. For tests and simulations.
    fn flaw(&self, _peers: Peers<'_>) -> Option<alloc::string::String> {
        None
    }
}

/// The registry: one line a protocol.
pub(super) fn make(config: &DisseminationConfig, rng: ChaCha8Rng, now: Time) -> Box<dyn Broadcast> {
    match config.protocol {
        BroadcastKind::Direct => Box::new(Direct),
        BroadcastKind::Periodic => Box::new(Periodic),
        BroadcastKind::Rumor => Box::new(Rumor::new(config.rumor.clone(), rng, now)),
        BroadcastKind::Tree => Box::new(Tree::new(config.tree.fan_out)),
        BroadcastKind::Plumtree => Box::new(Plumtree::new(config.plumtree.clone())),
    }
}
