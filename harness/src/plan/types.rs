//! The types of a plan.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use hearsay_core::{ClusterConfig, NodeId};
use hearsay_workloads::ACTIONS_ALLOWED;
use serde::{Deserialize, Serialize};

use super::{ClockSkew, LinkConditions, LinkScope};

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
    /// Of a swarm: what was drawn within the campaign's bounds, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drawn: Vec<String>,
    /// The cluster; `members` are n1 to n(nodes).
    pub cluster: ClusterConfig,
    /// Nodes behind the members that are none at the start: n(nodes + 1) and so on. They join, or take the place of another.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spares: u16,
    /// How the workload and its checkers are called, with all its parameters resolved.
    pub workload: hearsay_workloads::WorkloadSpec,
    /// Lengths of the phases.
    pub phases: Phases,
    /// What each checker is expected to say: checker name -> `holds`, `violated` or `any`.
    pub expect: BTreeMap<String, hearsay_workloads::Expectation>,
    /// Name of the bug that is planted in every node. Only builds with the feature `planted-bugs` carry out such a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<String>,
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

impl Phases {
    /// How long the load takes.
    pub fn load_ms(&self) -> u64 {
        self.warmup_ms + self.faults_ms + self.healed_ms
    }

    /// When the fault phase begins.
    pub fn faults_from_ms(&self) -> u64 {
        self.warmup_ms
    }

    /// When the fault phase ends: everything was healed some time before.
    pub fn faults_until_ms(&self) -> u64 {
        self.warmup_ms + self.faults_ms
    }
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

impl PlannedFault {
    /// When it is healed.
    pub fn until_ms(&self) -> u64 {
        self.at_ms.saturating_add(self.duration_ms)
    }
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
        #[serde(with = "pairs")]
        blocked: Vec<(Endpoint, Endpoint)>,
    },
    /// SIGKILL, all at once, right after a client heard that a write is durable; healing starts them again with their disks.
    Crash {
        /// Whom.
        #[serde(with = "node_names")]
        nodes: Vec<NodeId>,
    },
    /// SIGSTOP; healing lets them go on.
    Pause {
        /// Whom.
        #[serde(with = "node_names")]
        nodes: Vec<NodeId>,
    },
    /// SIGKILL and removal of the disk's content; healing starts it again, empty.
    Wipe {
        /// Whom. One at a time: no other node may still be catching up.
        #[serde(with = "node_name")]
        node: NodeId,
    },
    /// The disks hold their syncs for a while, then SIGKILL, all at once, and what was not synced is gone; healing starts
    /// them again with what is left. What a node acknowledges while its syncs are held it acknowledges too early.
    PowerCut {
        /// Whom.
        #[serde(with = "node_names")]
        nodes: Vec<NodeId>,
        /// How long syncs are held, milliseconds.
        hold_ms: u64,
        /// Whether parts of what was not synced are there afterwards.
        torn: bool,
        /// Which parts those are is drawn from it.
        seed: u64,
    },
    /// Every sync takes longer; healing ends that.
    SlowDisk {
        /// Whose.
        #[serde(with = "node_names")]
        nodes: Vec<NodeId>,
        /// How much longer, milliseconds.
        sync_ms: u64,
    },
    /// Every sync is refused (EIO), and a node has to end by itself; what was not synced is gone, and healing starts it again.
    FailingDisk {
        /// Whose.
        #[serde(with = "node_names")]
        nodes: Vec<NodeId>,
    },
    /// Packets from the first to the second of each pair are held, lost, duplicated, overtaken.
    Links {
        /// The scope that the pairs were drawn for.
        scope: LinkScope,
        /// Directed (source, destination) pairs.
        #[serde(with = "pairs")]
        impaired: Vec<(Endpoint, Endpoint)>,
        /// What happens to their packets.
        conditions: LinkConditions,
    },
    /// Wall clocks are off; healing sets them right. No other clock of the node is touched.
    Clock {
        /// Whose, by how much, and how fast they drift.
        clocks: Vec<ClockSkew>,
    },
    /// SIGTERM, to all at once: they finish and answer what they have taken, close their connections and end. Healing lets
    /// them join again. Their tokens stay theirs meanwhile: it is no change of the ring.
    Leave {
        /// Whom.
        #[serde(with = "node_names")]
        nodes: Vec<NodeId>,
        /// What they join with. Empty: one node at a time, as with a wipe.
        join: Disk,
    },
    /// The ring changes: a spare node starts and becomes a member. Nothing undoes it; it is over when every node knows it as one
    /// that serves.
    Join {
        /// A spare.
        #[serde(with = "node_name")]
        node: NodeId,
    },
    /// The ring changes: a member is told to leave for good, hands over what it has, and its process ends. Nothing undoes it.
    Retire {
        /// A member.
        #[serde(with = "node_name")]
        node: NodeId,
    },
    /// The ring changes: a member is killed, its disk is lost, and a spare node takes its place. Nothing undoes it.
    Replace {
        /// The dead.
        #[serde(with = "node_name")]
        node: NodeId,
        /// A spare.
        #[serde(with = "node_name")]
        by: NodeId,
    },
}

/// What a node finds when it starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disk {
    /// Its disk, as it was.
    Kept,
    /// An empty disk.
    Empty,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Disk::Kept => "kept",
            Disk::Empty => "empty",
        })
    }
}

impl FromStr for Disk {
    type Err = ();
    fn from_str(text: &str) -> Result<Disk, ()> {
        [Disk::Kept, Disk::Empty].into_iter().find(|disk| disk.to_string() == text).ok_or(())
    }
}

impl Fault {
    /// Such as `partition halves`, `crash n1 n3`.
    pub fn name(&self) -> String {
        let with_nodes = |kind: &str, nodes: &[NodeId]| {
            let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
            format!("{kind} {}", names.join(" "))
        };
        match self {
            Fault::Partition { shape, .. } => format!("partition {shape}"),
            Fault::Crash { nodes } => with_nodes("crash", nodes),
            Fault::Pause { nodes } => with_nodes("pause", nodes),
            Fault::Wipe { node } => with_nodes("wipe", &[*node]),
            Fault::PowerCut { nodes, .. } => with_nodes("power-cut", nodes),
            Fault::SlowDisk { nodes, .. } => with_nodes("slow-disk", nodes),
            Fault::FailingDisk { nodes } => with_nodes("failing-disk", nodes),
            Fault::Links { scope, .. } => format!("links {scope}"),
            Fault::Clock { .. } => with_nodes("clock", &self.processes()),
            Fault::Leave { nodes, .. } => with_nodes("leave", nodes),
            Fault::Join { node } => with_nodes("join", &[*node]),
            Fault::Retire { node } => with_nodes("retire", &[*node]),
            Fault::Replace { node, by } => with_nodes("replace", &[*node, *by]),
        }
    }

    /// The nodes whose processes, disks or clocks it touches: none for a partition, bad links or a change of the ring, in the middle of
    /// which other faults may take the same nodes.
    pub fn processes(&self) -> Vec<NodeId> {
        match self {
            Fault::Partition { .. } | Fault::Links { .. } => Vec::new(),
            Fault::Join { .. } | Fault::Retire { .. } | Fault::Replace { .. } => Vec::new(),
            Fault::Crash { nodes } | Fault::Pause { nodes } | Fault::Leave { nodes, .. } => nodes.clone(),
            Fault::Wipe { node } => vec![*node],
            Fault::PowerCut { nodes, .. } | Fault::SlowDisk { nodes, .. } | Fault::FailingDisk { nodes } => {
                nodes.clone()
            }
            Fault::Clock { clocks } => clocks.iter().map(|clock| clock.node).collect(),
        }
    }

    /// The nodes whose disk it empties. They have to catch up afterwards, and nothing else may happen meanwhile.
    pub fn empties(&self) -> &[NodeId] {
        match self {
            Fault::Wipe { node } => std::slice::from_ref(node),
            Fault::Leave { nodes, join: Disk::Empty } => nodes,
            Fault::Partition { .. }
            | Fault::Crash { .. }
            | Fault::Pause { .. }
            | Fault::PowerCut { .. }
            | Fault::SlowDisk { .. }
            | Fault::FailingDisk { .. }
            | Fault::Links { .. }
            | Fault::Clock { .. }
            | Fault::Join { .. }
            | Fault::Retire { .. }
            | Fault::Replace { .. }
            | Fault::Leave { join: Disk::Kept, .. } => &[],
        }
    }

    /// Whether healing it starts processes again.
    pub fn restarts(&self) -> bool {
        match self {
            Fault::Partition { .. } | Fault::Links { .. } | Fault::Pause { .. } | Fault::SlowDisk { .. } => false,
            Fault::Clock { .. } => false,
            Fault::Leave { .. } => true,
            Fault::Join { .. } | Fault::Retire { .. } | Fault::Replace { .. } => false,
            Fault::Crash { .. } | Fault::Wipe { .. } | Fault::PowerCut { .. } | Fault::FailingDisk { .. } => true,
        }
    }

    /// Whether it is in force beside all others: it takes no process and no data away, and does not count for `at_once`.
    pub fn is_beside(&self) -> bool {
        matches!(self, Fault::Links { .. })
    }

    /// Whether it changes who is on the ring.
    pub fn changes_ring(&self) -> bool {
        matches!(self, Fault::Join { .. } | Fault::Retire { .. } | Fault::Replace { .. })
    }

    /// Whether the two are of the same kind.
    pub fn same_kind(&self, other: &Fault) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
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

impl PartitionShape {
    /// All of them.
    pub const ALL: [PartitionShape; 7] = [
        PartitionShape::Halves,
        PartitionShape::RandomHalves,
        PartitionShape::IsolateOne,
        PartitionShape::MajoritiesRing,
        PartitionShape::Bridge,
        PartitionShape::OneWay,
        PartitionShape::Clients,
    ];

    /// A sentence on who can't reach whom.
    pub fn meaning(self) -> &'static str {
        match self {
            PartitionShape::Halves => "the first half of the nodes against the rest",
            PartitionShape::RandomHalves => "a random half of the nodes against the rest",
            PartitionShape::IsolateOne => "one node against the rest",
            PartitionShape::MajoritiesRing => "every node sees a majority, no two the same",
            PartitionShape::Bridge => "two halves, and one node that sees both",
            PartitionShape::OneWay => "packets from some nodes to the rest are lost, the way back is open",
            PartitionShape::Clients => "clients and some of the nodes, never all",
        }
    }

    /// Directed pairs that it blocks among so many nodes, at most.
    pub fn pairs_max(self, nodes: u16) -> u64 {
        let nodes = u64::from(nodes);
        match self {
            PartitionShape::Clients => 2 * nodes,
            PartitionShape::IsolateOne => 2 * nodes.saturating_sub(1),
            PartitionShape::OneWay => nodes * nodes / 4,
            PartitionShape::Halves
            | PartitionShape::RandomHalves
            | PartitionShape::Bridge
            | PartitionShape::MajoritiesRing => nodes * nodes / 2,
        }
    }

    /// Fewest nodes for which it is a partition at all.
    pub fn nodes_min(self) -> u16 {
        match self {
            PartitionShape::MajoritiesRing | PartitionShape::Bridge => 3,
            PartitionShape::Halves
            | PartitionShape::RandomHalves
            | PartitionShape::IsolateOne
            | PartitionShape::OneWay
            | PartitionShape::Clients => 2,
        }
    }
}

impl fmt::Display for PartitionShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PartitionShape::Halves => "halves",
            PartitionShape::RandomHalves => "random-halves",
            PartitionShape::IsolateOne => "isolate-one",
            PartitionShape::MajoritiesRing => "majorities-ring",
            PartitionShape::Bridge => "bridge",
            PartitionShape::OneWay => "one-way",
            PartitionShape::Clients => "clients",
        })
    }
}

impl FromStr for PartitionShape {
    type Err = ();
    fn from_str(text: &str) -> Result<PartitionShape, ()> {
        PartitionShape::ALL.into_iter().find(|shape| shape.to_string() == text).ok_or(())
    }
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
            .and_then(parse_number)
            .filter(|number| *number > 0)
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

impl fmt::Display for PlannedOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} c{} {} {}", self.at_ms, self.client, self.node, self.action)
    }
}

impl FromStr for PlannedOperation {
    type Err = String;
    fn from_str(text: &str) -> Result<PlannedOperation, String> {
        let parse = || -> Option<(u64, u32, NodeId, &str)> {
            let mut words = text.splitn(4, ' ');
            let at_ms = parse_number(words.next()?)?;
            let client = parse_number(words.next()?.strip_prefix('c')?)?;
            let node = parse_number(words.next()?.strip_prefix('n')?).map(NodeId)?;
            Some((at_ms, client, node, words.next()?))
        };
        let (at_ms, client, node, action) = parse().ok_or_else(|| {
            format!(
                "`{text}` is no operation; allowed: MILLISECONDS cCLIENT nNODE ACTION, such as `1203 c4 n2 write k7=311`; \
                 an action is {ACTIONS_ALLOWED}"
            )
        })?;
        Ok(PlannedOperation { at_ms, client, node, action: action.parse()? })
    }
}

impl From<PlannedOperation> for String {
    fn from(operation: PlannedOperation) -> String {
        operation.to_string()
    }
}

impl TryFrom<String> for PlannedOperation {
    type Error = String;
    fn try_from(text: String) -> Result<PlannedOperation, String> {
        text.parse()
    }
}

/// Digits alone, so that there is one text for one value: no sign, no leading zero.
fn parse_number<T: FromStr>(text: &str) -> Option<T> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn is_zero(number: &u16) -> bool {
    *number == 0
}

/// Nodes as `n1`, `n2`, ... in a saved plan.
mod node_names {
    use hearsay_core::NodeId;
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::Endpoint;

    pub(super) fn serialize<S: Serializer>(nodes: &[NodeId], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(nodes.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<NodeId>, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        names.into_iter().map(|name| parse(&name).map_err(de::Error::custom)).collect()
    }

    pub(super) fn parse(name: &str) -> Result<NodeId, String> {
        match Endpoint::try_from(name.to_owned()) {
            Ok(Endpoint::Node(node)) => Ok(node),
            _ => Err(format!("`{name}` is no node; allowed: n1, n2, ...")),
        }
    }
}

/// One node, as `n1`.
pub(super) mod node_name {
    use hearsay_core::NodeId;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in crate::plan) fn serialize<S: Serializer>(node: &NodeId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(node)
    }

    pub(in crate::plan) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NodeId, D::Error> {
        super::node_names::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Directed pairs, as `n1 -> n3`.
mod pairs {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::Endpoint;

    pub(super) fn serialize<S: Serializer>(pairs: &[(Endpoint, Endpoint)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(pairs.iter().map(|(from, to)| format!("{from} -> {to}")))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<(Endpoint, Endpoint)>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        texts.iter().map(|text| parse(text).map_err(de::Error::custom)).collect()
    }

    fn parse(text: &str) -> Result<(Endpoint, Endpoint), String> {
        let (from, to) = text
            .split_once(" -> ")
            .ok_or_else(|| format!("`{text}` is no pair; allowed: SOURCE -> DESTINATION, such as n1 -> n3"))?;
        Ok((Endpoint::try_from(from.to_owned())?, Endpoint::try_from(to.to_owned())?))
    }
}
