//! Notification: the origin sends to all members, nobody sends on.
//!
//! Simple; but its cost at the origin grows with the cluster, and when the origin dies half-way the rest hear nothing until the
//! exchange informs them.

use alloc::vec::Vec;

use super::message::{DisseminationMessage, MessageId};
use super::protocol::{Broadcast, Context};
use crate::NodeId;

#[derive(Debug)]
pub(super) struct Direct;

impl Broadcast for Direct {
    fn publish(&mut self, context: &mut Context<'_>, id: MessageId) {
        let all: Vec<NodeId> = context.peers.iter().collect();
        for peer in all {
            context.send_gossip(peer, id);
        }
    }

    fn learned(&mut self, _context: &mut Context<'_>, _from: NodeId, _id: MessageId) {}

    fn on_message(&mut self, context: &mut Context<'_>, from: NodeId, message: DisseminationMessage) -> bool {
        let DisseminationMessage::Gossip { round, message } = message else { return false };
        context.receive(from, round, message);
        true
    }
}
