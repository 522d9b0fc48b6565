//! The types of a plan.

use std::collections::BTreeMap;
use std::fmt;

use hearsay_core::{ClusterConfig, NodeId};
use serde::{Deserialize, Serialize};

/// Everything a run will do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Version of this format.
    pub format: u32,
    /// Name of the campaign it was made from.
    pub campaign: String,
    /// Seed it was made from; also the seed of everything random while it runs (node seeds, connection jitter).
    pub seed: u64,
    /// The cluster; `members` are n1 to n(nodes).
    pub cluster: ClusterConfig,
    /// How the workload and its checkers are called, with all its parameters resolved.
    pub workload: hearsay_workloads::WorkloadSpec,
    /// Lengths of the phases.
    pub phases: Phases,
    /// What each checker is expected to say: checker name -> `holds`, `violated` or `any`.
    pub expect: BTreeMap<String, hearsay_workloads::Expectation>,
    /// By start time.
    pub faults: Vec<PlannedFault>,
    /// By client, then time.
    pub operations: Vec<PlannedOperation>,
}

/// Lengths of the phases of a run, in milliseconds. Operations and faults count from the start of the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phases {
    /// Load without faults, first.
    pub warmup_ms: u64,
    /// Load with faults.
    pub faults_ms: u64,
    /// Load without faults, after everything was healed.
    pub healed_ms: u64,
    /// Longest wait for observed convergence after the load has ended.
    pub converge_within_ms: u64,
}

/// A fault at its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFault {
    /// `f1`, `f2`, ... in the order of their start.
    pub id: String,
    /// Start, milliseconds from the start of the warm-up.
    pub at_ms: u64,
    /// Until it is healed.
    pub duration_ms: u64,
    /// What happens.
    pub fault: Fault,
}

/// What can be done to a cluster. Every environment has one arm for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// Packets from the first to the second of each pair are dropped.
    Partition {
        /// The shape that the pairs were drawn for.
        shape: PartitionShape,
        /// Directed (source, destination) pairs.
        blocked: Vec<(Endpoint, Endpoint)>,
    },
    /// SIGKILL, all at once; healing starts them again with their disks.
    Crash {
        /// Whom.
        nodes: Vec<NodeId>,
    },
    /// SIGSTOP; healing lets them go on.
    Pause {
        /// Whom.
        nodes: Vec<NodeId>,
    },
    /// SIGKILL and removal of the disk's content; healing starts it again, empty.
    Wipe {
        /// Whom. One at a time: no other node may still be catching up.
        node: NodeId,
    },
}

/// Names of the partitions, Jepsen's where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartitionShape {
    /// The first half of the nodes against the rest.
    Halves,
    /// A random half against the rest.
    RandomHalves,
    /// One node against the rest.
    IsolateOne,
    /// Every node sees a majority, no two the same.
    MajoritiesRing,
    /// Two halves with one node that sees both.
    Bridge,
    /// Packets from a random group to the rest are dropped, the way back stays open.
    OneWay,
    /// Clients and some nodes, both ways.
    Clients,
}

/// One end of a directed pair. Written `n3` or `clients`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Endpoint {
    /// A node.
    Node(NodeId),
    /// All clients.
    Clients,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Node(node) => write!(f, "{node}"),
            Endpoint::Clients => f.write_str("clients"),
        }
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> String {
        endpoint.to_string()
    }
}

impl TryFrom<String> for Endpoint {
    type Error = String;
    fn try_from(text: String) -> Result<Endpoint, String> {
        if text == "clients" {
            return Ok(Endpoint::Clients);
        }
        text.strip_prefix('n')
            .and_then(|number| number.parse().ok())
            .map(|number| Endpoint::Node(NodeId(number)))
            .ok_or_else(|| format!("`{text}` is no endpoint: write n1, n2, ... or clients"))
    }
}

/// A client operation at its time. A client is sequential: it starts an operation at `at_ms`, or, when it is still busy,
/// as soon as it is free; what is then overdue by more than the campaign allows is skipped and counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PlannedOperation {
    /// Milliseconds from the start of the warm-up.
    pub at_ms: u64,
    /// Client, from 0.
    pub client: u32,
    /// The coordinator.
    pub node: NodeId,
    /// What to do.
    pub action: hearsay_workloads::Action,
}

impl From<PlannedOperation> for String {
    fn from(_operation: PlannedOperation) -> String {
        todo!()
    }
}

impl TryFrom<String> for PlannedOperation {
    type Error = String;
    fn try_from(_text: String) -> Result<PlannedOperation, String> {
        todo!()
    }
}
