//! The configuration of a cluster, as far as the protocols care. Equal on every node of a cluster.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::NodeId;

/// What a coordinator does when the replicas it read from disagree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadRepair {
    /// Repair, wait for the acknowledgements, then answer: monotonic quorum reads, at the price of availability.
    #[default]
    Blocking,
    /// Answer, then repair.
    Async,
    /// Merge for the answer only.
    None,
}

/// The configuration of a cluster. Every duration is in milliseconds on the monotonic clock, but the grace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterConfig {
    /// Every member, this node included.
    pub members: Vec<NodeId>,
    /// Replicas of each key (N).
    pub replication: u8,
    /// Tokens of each node on the ring.
    pub vnodes: u16,
    /// Read repair.
    pub read_repair: ReadRepair,
    /// How long a coordinator works for one client request.
    pub request_timeout_ms: u64,
    /// How long blocking read repair waits before it turns to replicas that were not contacted yet.
    pub repair_patience_ms: u64,
    /// Client requests in work at once at one coordinator; more are refused as overloaded.
    pub requests_max: u32,
    /// Between two heartbeats to each linked peer.
    pub heartbeat_interval_ms: u64,
    /// Silence after which a peer is held for dead.
    pub heartbeat_timeout_ms: u64,
    /// Between two Merkle exchanges that this node starts. 0 switches the schedule off (catching up still works).
    pub merkle_interval_ms: u64,
    /// Each owned range has a Merkle tree of 2^depth leaves.
    pub merkle_depth: u8,
    /// Age in milliseconds of the wall clock at which a tombstone is removed.
    pub tombstone_grace_ms: u64,
}

impl Default for ClusterConfig {
    fn default() -> ClusterConfig {
        ClusterConfig {
            members: Vec::new(),
            replication: 3,
            vnodes: 8,
            read_repair: ReadRepair::Blocking,
            request_timeout_ms: 1_000,
            repair_patience_ms: 200,
            requests_max: 4_096,
            heartbeat_interval_ms: 250,
            heartbeat_timeout_ms: 1_500,
            merkle_interval_ms: 2_000,
            merkle_depth: 6,
            tombstone_grace_ms: 10 * 24 * 3600 * 1000,
        }
    }
}

/// A configuration that can't work, as a sentence with the mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub alloc::string::String);
