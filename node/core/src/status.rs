//! The status call: what a node says about itself. For people and for the harness; no protocol reads it.

use crate::{Replica, StatusReport};

impl Replica {
    /// The node as it is now. The digest of the state is taken from the data itself, so it costs a pass over all of it.
    pub(crate) fn status(&mut self) -> StatusReport {
        let mut counters = self.counters.by_name();
        counters.extend(self.sync.counters().by_name().map(|(name, count)| (name.into(), count)));
        counters.insert("requests_in_work".into(), self.coordinator.in_work() as u64);
        StatusReport {
            node: self.identity,
            incarnation: self.incarnation,
            wall: self.now.wall,
            ready: self.is_ready(),
            catching_up_from: self.catching_up_from.iter().copied().collect(),
            peers: self.detector.statuses(),
            keys: self.store.len() as u64,
            state_digest: self.store.table().state_digest(),
            merkle_roots: self.store.table().merkle_roots(),
            counters,
        }
    }
}
