//! Full membership: every member is a peer, whether its link is up or not.
//!
//! What is sent to a member that is down is lost; the exchange behind every protocol brings it once the member is back.

use alloc::sync::Arc;

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

    pub(super) fn start(&mut self, context: &mut MembershipContext<'_>) {
        context.changes.extend(self.peers().iter().map(|peer| (peer, Change::Up)));
    }
}
