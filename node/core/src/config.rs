//! The configuration of a cluster, as far as the protocols care. Equal on every node of a cluster.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::dissemination::DisseminationConfig;

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

/// What becomes of concurrent writes of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conflict {
    /// Last write wins, by the coordinator's wall clock.
    #[default]
    Lww,
    /// Dotted causal containers: all are kept as siblings until a write that has seen them replaces them.
    Dcc,
}

/// Who keeps a write for a replica that is out of reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hints {
    /// Nobody: read repair and anti-entropy bring it up to date.
    #[default]
    None,
    /// The coordinator of the write. Its hint counts toward no level but `any`.
    Coordinator,
}

/// How a node judges whether a peer is alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detection {
    /// Silence of a fixed length.
    #[default]
    Timeout,
    /// Phi-accrual: silence that is improbable after what was heard before.
    Phi,
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
    /// Between two heartbeats to each linked peer. In a large cluster a node keeps links only to those it shares a range with
    /// and those it used lately, so the load is bounded by `vnodes` and `replication`, not by the number of members.
    pub heartbeat_interval_ms: u64,
    /// Silence after which a peer is held for dead.
    pub heartbeat_timeout_ms: u64,
    /// Between two Merkle exchanges that this node starts. 0 switches the schedule off (catching up still works).
    pub merkle_interval_ms: u64,
    /// Each owned range has a Merkle tree of 2^depth leaves.
    pub merkle_depth: u8,
    /// Descendants of a differing tree node that one question of a Merkle exchange asks about: 2, 4, 8 or 16. More: fewer round
    /// trips; fewer: fewer hashes.
    pub merkle_fan_out: u8,
    /// Bytes of keys and values that the Merkle exchanges of a node may move in a second. 0: as many as go.
    pub merkle_bytes_per_s: u64,
    /// Age in milliseconds of the wall clock at which a tombstone is removed.
    pub tombstone_grace_ms: u64,
    /// How news spreads: broadcasts of clients. `None`: not at all.
    pub dissemination: Option<DisseminationConfig>,
    /// Hinted handoff.
    pub hints: Hints,
    /// Sloppy quorums: the next nodes on the ring stand in for replicas that are held for dead, count toward levels, and
    /// hand over once these are back.
    pub sloppy: bool,
    /// No new hints for a node that has been out of reach for longer, in milliseconds of the wall clock.
    pub hint_window_ms: u64,
    /// Most bytes of hints and stand-in copies that a node keeps for one other.
    pub hints_bytes_max: u64,
    /// Records that a node hands over to one other per second, at most.
    pub hint_replay_per_s: u32,
    /// How long a read waits for a replica before it asks a further one. `None`: `repair_patience_ms`.
    pub speculative_delay_ms: Option<u64>,
    /// The same, as a percentile (50 to 99) of the node's recent reads, but at most the delay. `None`: the delay alone.
    pub speculative_percentile: Option<u8>,
    /// Failure detection.
    pub detection: Detection,
    /// With `detection: phi`, a peer is held for dead at this suspicion: 10^-phi is the chance that it is a mistake.
    pub phi_threshold: u8,
    /// What becomes of concurrent writes.
    pub conflict: Conflict,
    /// Under `dcc`: between two exchanges of bitmap version vectors that this node starts. 0 switches them off.
    pub exchange_interval_ms: u64,
    /// Under `dcc`: most dots that a node logs for neighbours that may lack them; what is dropped is left to Merkle exchanges.
    pub dot_log_max: u32,
    /// Whether all replicas but one are asked for digests. Without, every replica sends the whole version: for comparison.
    #[serde(skip_serializing_if = "is_true")]
    pub digest_reads: bool,
}

fn is_true(value: &bool) -> bool {
    *value
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
            merkle_depth: 13,
            merkle_fan_out: 16,
            merkle_bytes_per_s: 0,
            tombstone_grace_ms: 10 * 24 * 3600 * 1000,
            dissemination: None,
            hints: Hints::None,
            sloppy: false,
            hint_window_ms: 3 * 3600 * 1000,
            hints_bytes_max: 32 << 20,
            hint_replay_per_s: 40_000,
            speculative_delay_ms: None,
            speculative_percentile: None,
            detection: Detection::Timeout,
            phi_threshold: 8,
            conflict: Conflict::Lww,
            exchange_interval_ms: 500,
            dot_log_max: 1_000_000,
            digest_reads: true,
        }
    }
}

impl ClusterConfig {
    /// Most members of a cluster.
    pub const MEMBERS_MAX: usize = 10_000;
    /// Most replicas of a key.
    pub const REPLICATION_MAX: u8 = 9;
    /// Most tokens of a node.
    pub const VNODES_MAX: u16 = 256;
    /// Deepest Merkle tree.
    pub const MERKLE_DEPTH_MAX: u8 = 16;
    /// Most of `hints_bytes_max`.
    pub const HINTS_BYTES_MAX: u64 = 1 << 32;
    /// Highest `phi_threshold`.
    pub const PHI_THRESHOLD_MAX: u8 = 32;

    /// Checks everything that a protocol relies on. The first mistake is answered.
    ///
    /// # Errors
    /// What is wrong, where, and the mend, as one sentence.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let check = |good: bool, sentence: &dyn Fn() -> alloc::string::String| {
            if good { Ok(()) } else { Err(ConfigError(sentence())) }
        };
        if let Some(dissemination) = &self.dissemination {
            dissemination.validate()?;
        }
        let members = self.members.len();
        check(members > 0, &|| "members is empty: name at least one node".into())?;
        check(members <= Self::MEMBERS_MAX, &|| {
            format!("members names {members} nodes, the limit is {}: make the cluster smaller", Self::MEMBERS_MAX)
        })?;
        let mut seen = BTreeSet::new();
        for member in &self.members {
            check(member.0 > 0, &|| "members names n0, but nodes are numbered from 1: renumber it".into())?;
            check(seen.insert(*member), &|| format!("members names {member} twice: remove one"))?;
        }
        let replication = self.replication;
        check((1..=Self::REPLICATION_MAX).contains(&replication), &|| {
            format!("replication is {replication}: choose a number from 1 to {}", Self::REPLICATION_MAX)
        })?;
        check(usize::from(replication) <= members, &|| {
            format!(
                "replication is {replication}, but the cluster has {members} members: lower replication or add members"
            )
        })?;
        check((1..=Self::VNODES_MAX).contains(&self.vnodes), &|| {
            format!("vnodes is {}: choose a number from 1 to {}", self.vnodes, Self::VNODES_MAX)
        })?;
        check(self.merkle_depth <= Self::MERKLE_DEPTH_MAX, &|| {
            format!("merkle_depth is {}: choose a number from 0 to {}", self.merkle_depth, Self::MERKLE_DEPTH_MAX)
        })?;
        check(self.conflict == Conflict::Lww || (self.hints == Hints::None && !self.sloppy), &|| {
            "hints and sloppy quorums are there under conflict: lww only: switch them off, or the policy dcc".into()
        })?;
        check(matches!(self.merkle_fan_out, 2 | 4 | 8 | 16), &|| {
            format!("merkle_fan_out is {}: choose 2, 4, 8 or 16", self.merkle_fan_out)
        })?;
        check(self.requests_max > 0, &|| {
            "requests_max is 0: no client would ever be served, choose at least 1".into()
        })?;
        check(self.dot_log_max > 0, &|| {
            "dot_log_max is 0: every exchange would compare everything, choose at least 1".into()
        })?;
        for (name, milliseconds) in [
            ("request_timeout_ms", self.request_timeout_ms),
            ("repair_patience_ms", self.repair_patience_ms),
            ("heartbeat_interval_ms", self.heartbeat_interval_ms),
        ] {
            check(milliseconds > 0, &|| format!("{name} is 0: choose at least 1"))?;
        }
        check(self.heartbeat_timeout_ms >= self.heartbeat_interval_ms.saturating_mul(2), &|| {
            format!(
                "heartbeat_timeout_ms is {}, less than two heartbeat_interval_ms of {}: one late heartbeat would make a \
                 peer dead, raise it to at least {}",
                self.heartbeat_timeout_ms,
                self.heartbeat_interval_ms,
                self.heartbeat_interval_ms.saturating_mul(2)
            )
        })?;
        check(self.hints_bytes_max > 0 && self.hints_bytes_max <= Self::HINTS_BYTES_MAX, &|| {
            format!(
                "hints_bytes_max is {}: choose a number from 1 to {}, or switch hints and sloppy off",
                self.hints_bytes_max,
                Self::HINTS_BYTES_MAX
            )
        })?;
        check(self.hint_replay_per_s > 0, &|| {
            "hint_replay_per_s is 0: hints would never be handed over, choose at least 1".into()
        })?;
        check(self.speculative_delay_ms != Some(0), &|| {
            "speculative_delay_ms is 0: every read would ask every replica, choose at least 1".into()
        })?;
        check(self.speculative_percentile.is_none_or(|percentile| (50..=99).contains(&percentile)), &|| {
            let percentile = self.speculative_percentile.unwrap_or_default();
            format!("speculative_percentile is {percentile}: choose a number from 50 to 99, or leave it out")
        })?;
        check((1..=Self::PHI_THRESHOLD_MAX).contains(&self.phi_threshold), &|| {
            format!("phi_threshold is {}: choose a number from 1 to {}", self.phi_threshold, Self::PHI_THRESHOLD_MAX)
        })?;
        // A tombstone that expires while its delete is still under way would be refused by the replicas it reaches last.
        check(self.tombstone_grace_ms >= self.request_timeout_ms, &|| {
            format!(
                "tombstone_grace_ms is {}, less than request_timeout_ms of {}: a delete could expire before it is \
                 written, raise the grace",
                self.tombstone_grace_ms, self.request_timeout_ms
            )
        })
    }

    /// [`ClusterConfig::validate`], and that `identity` belongs to the cluster.
    ///
    /// # Errors
    /// As `validate`.
    pub fn validate_for(&self, identity: NodeId) -> Result<(), ConfigError> {
        self.validate()?;
        if self.members.contains(&identity) {
            return Ok(());
        }
        Err(no_member(identity))
    }
}

pub(crate) fn no_member(identity: NodeId) -> ConfigError {
    ConfigError(format!("{identity} is not among the members: add it, or start the node under another id"))
}

/// A configuration that can't work, as a sentence with the mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub alloc::string::String);

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> ClusterConfig {
        ClusterConfig { members: (1..=5).map(NodeId).collect(), ..ClusterConfig::default() }
    }

    #[test]
    fn defaults_with_members_are_good() {
        assert_eq!(good().validate_for(NodeId(5)), Ok(()));
    }

    #[test]
    fn every_mistake_is_named_with_its_mend() {
        type Mistake = fn(&mut ClusterConfig);
        let table: &[(Mistake, &str)] = &[
            (|c| c.members.clear(), "name at least one node"),
            (|c| c.members = (1..=10_001).map(NodeId).collect(), "the limit is 10000"),
            (|c| c.members.push(NodeId(0)), "numbered from 1"),
            (|c| c.members.push(NodeId(3)), "names n3 twice"),
            (|c| c.replication = 0, "from 1 to 9"),
            (|c| c.replication = 10, "from 1 to 9"),
            (|c| c.replication = 6, "lower replication or add members"),
            (|c| c.vnodes = 0, "from 1 to 256"),
            (|c| c.merkle_depth = 17, "from 0 to 16"),
            (|c| (c.conflict, c.sloppy) = (Conflict::Dcc, true), "switch them off"),
            (|c| c.merkle_fan_out = 3, "choose 2, 4, 8 or 16"),
            (|c| c.requests_max = 0, "at least 1"),
            (|c| c.dot_log_max = 0, "dot_log_max is 0"),
            (|c| c.request_timeout_ms = 0, "request_timeout_ms is 0"),
            (|c| c.repair_patience_ms = 0, "repair_patience_ms is 0"),
            (|c| c.heartbeat_interval_ms = 0, "heartbeat_interval_ms is 0"),
            (|c| c.heartbeat_timeout_ms = 300, "raise it to at least 500"),
            (|c| c.tombstone_grace_ms = 10, "raise the grace"),
            (|c| c.hints_bytes_max = 0, "hints_bytes_max is 0"),
            (|c| c.hint_replay_per_s = 0, "never be handed over"),
            (|c| c.speculative_delay_ms = Some(0), "ask every replica"),
            (|c| c.speculative_percentile = Some(100), "from 50 to 99"),
            (|c| c.phi_threshold = 0, "from 1 to 32"),
            (|c| c.members.retain(|id| id.0 != 1), "n1 is not among the members"),
        ];
        for (mistake, expected) in table {
            let mut config = good();
            mistake(&mut config);
            let error = config.validate_for(NodeId(1)).expect_err(expected);
            assert!(error.0.contains(expected), "{error} should say: {expected}");
        }
    }
}
