//! What a test may see of a simulated cluster: what nodes store, keep for others, count and report.

use alloc::vec::Vec;

use super::{MS, TestCluster};
use crate::causal::{CausalContent, CausalStore, Container};
use crate::*;

impl TestCluster {
    pub(in crate::tests) fn status(&mut self, node: NodeId) -> StatusReport {
        self.nodes.get_mut(&node).and_then(|state| state.replica.as_mut()).expect("the node runs").status()
    }

    pub(in crate::tests) fn counter(&mut self, node: NodeId, name: &str) -> u64 {
        *self.status(node).counters.get(name).unwrap_or_else(|| panic!("no counter {name}"))
    }

    /// The same of one of the node's own counters, without making a status.
    pub(in crate::tests) fn counter_now(&self, node: NodeId, name: &str) -> u64 {
        let replica = self.nodes[&node].replica.as_ref().expect("the node runs");
        *replica.counters.by_name().get(name).unwrap_or_else(|| panic!("no counter {name}"))
    }

    /// Whom the only read in work at a node has sent repairs to.
    pub(in crate::tests) fn repaired_by(&self, node: NodeId) -> Vec<NodeId> {
        self.nodes[&node].replica.as_ref().expect("the node runs").coordinator.repairs_sent()
    }

    pub(in crate::tests) fn now_ms(&self) -> u64 {
        self.now / MS
    }

    pub(in crate::tests) fn events(&self, node: NodeId) -> &[Event] {
        &self.nodes[&node].events
    }

    /// What the running node knows of a key, under the policy `dcc`.
    pub(in crate::tests) fn container(&self, node: NodeId, key: &Key) -> Option<Container> {
        Some(self.nodes[&node].replica.as_ref()?.dcc.as_ref()?.store.get(key))
    }

    /// The whole store of the policy `dcc`.
    pub(in crate::tests) fn causal_store(&self, node: NodeId) -> Option<&CausalStore> {
        Some(&self.nodes[&node].replica.as_ref()?.dcc.as_ref()?.store)
    }

    /// The whole store on the node's disk.
    pub(super) fn causal_disk(&self, node: NodeId) -> CausalContent {
        let entries = self.nodes[&node].disk.entries.clone().into_iter().collect();
        store_codec::decode(RecoveredState { entries }, Conflict::Dcc).expect("own entries").causal
    }

    /// What the running node stores.
    pub(in crate::tests) fn stored(&self, node: NodeId, key: &Key) -> Option<Version> {
        self.nodes[&node].replica.as_ref()?.store.get(key).cloned()
    }

    pub(in crate::tests) fn on_disk(&self, node: NodeId, key: &Key) -> Option<Version> {
        self.nodes[&node].disk.version(key)
    }

    /// Cluster metadata on a node's disk.
    pub(in crate::tests) fn metadata_on_disk(
        &self,
        node: NodeId,
    ) -> Vec<(crate::metadata::Name, crate::metadata::Record)> {
        let entries = self.nodes[&node].disk.entries.iter().filter(|(key, _)| key.first() == Some(&b'g'));
        let entries = entries.map(|(key, value)| (key.clone(), value.clone())).collect();
        store_codec::decode(RecoveredState { entries }, Conflict::Lww).expect("own entries").metadata
    }

    /// What a node's disk keeps for another.
    pub(in crate::tests) fn kept_on_disk(&self, node: NodeId, owner: NodeId, key: &Key) -> Option<Version> {
        let store_key = store_codec::hint_key(owner, key);
        let value = self.nodes[&node].disk.entries.get(&store_key)?;
        let content =
            store_codec::decode(RecoveredState { entries: alloc::vec![(store_key, value.clone())] }, Conflict::Lww);
        Some(content.expect("own entry").hints.remove(0).2.version)
    }

    pub(super) fn kept_by_anyone(&self, node: NodeId, key: &Key) -> Option<Version> {
        self.members().into_iter().filter_map(|owner| self.kept_on_disk(node, owner, key)).max()
    }

    /// Records kept for others, in the memory of the running nodes.
    pub(in crate::tests) fn pending(&self) -> u64 {
        let running = self.nodes.values().filter_map(|state| state.replica.as_ref());
        running.flat_map(|replica| replica.hints.pending()).map(|(_, records, _)| records).sum()
    }

    pub(in crate::tests) fn replicas(&self, key: &Key) -> Vec<NodeId> {
        let config = &self.config;
        ring::Ring::new(&config.members, config.vnodes, config.replication).replicas(key).to_vec()
    }
}
