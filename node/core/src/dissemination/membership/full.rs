//! Full membership: every member is a peer, whether its link is up or not.
//!
//! What is sent to a member that is down is lost; the exchange behind every protocol brings it once the member is back.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Change, MembershipContext, Peers};
use crate::NodeId;

#[derive(Debug)]
pub(in crate::dissemination) struct Full {
    identity: NodeId,
    /// Ascending; shared by the nodes of one process.
    members: Arc<[NodeId]>,
}

impl Full {
    pub(super) fn new(identity: NodeId, members: Arc<[NodeId]>) -> Full {
        Full { identity, members }
    }

    pub(super) fn peers(&self) -> Peers<'_> {
        Peers::All { members: &self.members, identity: self.identity }
    }

    pub(super) fn on_members(&mut self, context: &mut MembershipContext<'_>, members: Arc<[NodeId]>) {
        let before = core::mem::replace(&mut self.members, members);
        let others = |list: &[NodeId], other: &[NodeId], change| -> Vec<(NodeId, Change)> {
            let new = list.iter().filter(|node| **node != self.identity && other.binary_search(node).is_err());
            new.map(|node| (*node, change)).collect()
        };
        context.changes.extend(others(&before, &self.members, Change::Down));
        context.changes.extend(others(&self.members, &before, Change::Up));
    }

    pub(super) fn start(&mut self, context: &mut MembershipContext<'_>) {
        context.changes.extend(self.peers().iter().map(|peer| (peer, Change::Up)));
    }
}
