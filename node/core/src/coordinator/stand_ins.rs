//! Sloppy quorums: which nodes stand in for replicas that are held for dead.
//!
//! The next nodes on the ring behind the replicas that are not held for dead, one for each, in the order of the ring; so every
//! coordinator that holds the same nodes for dead finds the same stand-ins. What a stand-in takes it keeps with the name
//! of the replica (see [`crate::hints`]).
//!
//! A sloppy quorum promises that the write is kept, not that every quorum read sees it: a stand-in's copy is read only while
//! the coordinator of the read holds the replica for dead, too.
//!
//! Source: the Dynamo paper, section 4.6; Riak's fallback partitions.

use alloc::vec::Vec;

use crate::{Key, NodeId, Replica};

/// Nodes looked at for each stand-in before it is left out: bounds the walk when most of the cluster is out of reach.
const WALK_PER_REPLICA: usize = 8;

/// A node in place of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StandIn {
    pub(super) node: NodeId,
    /// The replica that it stands in for.
    pub(super) owner: NodeId,
}

impl Replica {
    /// Stand-ins for the replicas of a key that are held for dead, in the order of these; fewer if there are no more nodes.
    /// None unless quorums are sloppy.
    pub(super) fn stand_ins(&self, key: &Key, replicas: &[NodeId]) -> Vec<StandIn> {
        if !self.config.sloppy {
            return Vec::new();
        }
        let dead = replicas.iter().copied().filter(|node| !self.is_usable(*node));
        let behind = self.ring.walk(key).skip(replicas.len()).take(WALK_PER_REPLICA * replicas.len());
        // Who will own the key is sent the write anyway, and can't acknowledge both with one word.
        let pending = self.pending_for(key);
        let free = behind.filter(|node| self.is_usable(*node) && !pending.contains(node));
        dead.zip(free).map(|(owner, node)| StandIn { node, owner }).collect()
    }
}
