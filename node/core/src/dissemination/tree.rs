//! A static spanning tree over the members: N-1 messages for a broadcast, and no repair.
//!
//! The tree is the heap order of the sorted member list: node i hangs on (i-1)/f. A broadcast of any origin travels along
//! its links away from where it came from. One dead node cuts off its subtree: the baseline that shows why hybrids exist.

use alloc::vec::Vec;

use super::message::{DisseminationMessage, MessageId};
use super::protocol::{Broadcast, Context};
use crate::NodeId;

#[derive(Debug)]
pub(super) struct Tree {
    fan_out: usize,
}

impl Tree {
    pub(super) fn new(fan_out: usize) -> Tree {
        Tree { fan_out }
    }

    /// The tree neighbours of `identity`, the parent first.
    fn links(&self, members: &[NodeId], identity: NodeId) -> Vec<NodeId> {
        let Ok(place) = members.binary_search(&identity) else { return Vec::new() };
        let parent = (place > 0).then(|| members[(place - 1) / self.fan_out]);
        let first = (place * self.fan_out + 1).min(members.len());
        let children = &members[first..(first + self.fan_out).min(members.len())];
        parent.into_iter().chain(children.iter().copied()).collect()
    }

    fn send_on(&self, context: &mut Context<'_>, id: MessageId, from: Option<NodeId>) {
        for peer in self.links(context.peers.members(), context.identity) {
            if Some(peer) != from {
                context.send_gossip(peer, id);
            }
        }
    }
}

impl Broadcast for Tree {
    fn publish(&mut self, context: &mut Context<'_>, id: MessageId) {
        self.send_on(context, id, None);
    }

    /// The exchange reached into a subtree that was cut off: the links below it work.
    fn learned(&mut self, context: &mut Context<'_>, from: NodeId, id: MessageId) {
        self.send_on(context, id, Some(from));
    }

    fn on_message(&mut self, context: &mut Context<'_>, from: NodeId, message: DisseminationMessage) -> bool {
        let DisseminationMessage::Gossip { round, message } = message else { return false };
        let id = message.id;
        if context.receive(from, round, message) {
            self.send_on(context, id, Some(from));
        }
        true
    }
}
