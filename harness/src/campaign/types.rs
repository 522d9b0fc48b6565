//! A campaign as checked data: whatever has this type can be planned.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use hearsay_core::{ClusterConfig, ReadRepair};
use hearsay_workloads::{Expectation, WorkloadSpec};

use crate::plan::{Disk, LinkConditions, LinkScope, PartitionShape, Phases};

/// Most nodes of a cluster.
pub const NODES_MAX: u16 = 10_000;

/// Most nodes that are run as processes; more are only simulated.
pub const PROCESSES_MAX: u16 = 250;

/// A campaign, checked: cluster, workload, phases and faults fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// Its name: small letters, digits and `-`, as it also names a directory.
    pub name: String,
    /// A sentence on what it shows.
    pub about: String,
    /// The cluster; `members` are n1, n2, ...
    pub cluster: ClusterConfig,
    /// The workload.
    pub workload: WorkloadSpec,
    /// Lengths of the phases.
    pub phases: Phases,
    /// The faults; `None`: nothing but load.
    pub faults: Option<FaultSchedule>,
    /// What may be drawn per seed for a swarm.
    pub swarm: Swarm,
    /// For every checker of the workload: what it is expected to say (`any` unless the file says otherwise).
    pub expect: BTreeMap<String, Expectation>,
}

impl Campaign {
    /// Number of nodes.
    pub fn nodes(&self) -> u16 {
        u16::try_from(self.cluster.members.len()).expect("a campaign has at most NODES_MAX nodes")
    }
}

/// An inclusive range of lengths, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Shortest.
    pub min_ms: u64,
    /// Longest.
    pub max_ms: u64,
}

/// Bounds of what a swarm draws per seed, both ends included; `None`: as the campaign has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swarm {
    /// Nodes of the cluster.
    pub nodes: Option<(u16, u16)>,
    /// Replicas of each key.
    pub replication: Option<(u8, u8)>,
    /// Tokens of each node.
    pub vnodes: Option<(u16, u16)>,
    /// Kinds of read repair; empty: as the campaign has it.
    pub read_repair: Vec<ReadRepair>,
    /// Between two Merkle exchanges.
    pub merkle_interval: Option<Span>,
    /// Registers in use at a time.
    pub keys: Option<(u32, u32)>,
    /// Clients.
    pub clients: Option<(u32, u32)>,
    /// Operations per second.
    pub rate_per_s: Option<(u32, u32)>,
    /// Life of keys.
    pub key_life: Option<Span>,
}

/// Which faults a campaign draws, and how close together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultSchedule {
    /// From the healing of a fault to the start of the next.
    pub between: Span,
    /// Faults in force at the same time, at most. Those are of different kinds.
    pub at_once: u32,
    /// Nodes that are no members at the start, and join or take the place of another.
    pub spares: u16,
    /// What is drawn.
    pub kinds: Vec<FaultKind>,
}

/// A family of faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultKind {
    /// What it may be. All of the same kind.
    pub variants: Vec<Variant>,
    /// From start to healing.
    pub duration: Span,
    /// No other fault for so long before its start and after its healing.
    pub quiet_ms: u64,
    /// So many of them are in every plan; the variants take turns.
    pub at_least: u32,
    /// Weight among the kinds that fill the rest of the phase.
    pub weight: u32,
}

/// What a fault may be, before its targets are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    /// A partition of this shape.
    Partition(PartitionShape),
    /// So many nodes are killed.
    Crash(Size),
    /// So many nodes are frozen.
    Pause(Size),
    /// One node loses its disk.
    Wipe,
    /// So many nodes lose power, and what they had not synced.
    PowerCut(Size),
    /// The disks of so many nodes take so much longer for a sync.
    SlowDisk(Size, Span),
    /// The disks of so many nodes refuse to sync.
    FailingDisk(Size),
    /// Links of this scope become so bad.
    Links(LinkScope, LinkRanges),
    /// So many nodes have wall clocks that are off.
    Clock {
        /// How many.
        size: Size,
        /// Smallest and largest offset, nanoseconds.
        offset_ns: (i64, i64),
        /// Slowest and fastest drift, parts per thousand million.
        drift_ppb: (i64, i64),
    },
    /// So many nodes leave in order, and join again with this disk.
    Leave(Size, Disk),
    /// A spare node becomes a member.
    Join,
    /// A member leaves for good.
    Retire,
    /// A member dies for good, and a spare node takes its place.
    Replace,
}

/// What is drawn for bad links, and what is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkRanges {
    /// Of the latency.
    pub latency: Span,
    /// Of the jitter.
    pub jitter: Span,
    /// Everything else; latency and jitter in it mean nothing.
    pub conditions: LinkConditions,
}

/// How many nodes a fault takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// So many. `one` is 1.
    Count(u16),
    /// The most that are less than half.
    Minority,
    /// The fewest that are more than half.
    Majority,
    /// Every node.
    All,
}

/// What can be written for a size.
pub const SIZES_ALLOWED: &str = "one, minority, majority, all, or a number of nodes";

impl Size {
    /// The number of nodes in a cluster of `nodes`; an error with its mend when there is no such set.
    pub fn of(self, nodes: u16) -> Result<u16, (String, String)> {
        let up_to = || format!("a number from 1 to {nodes}, or a cluster of more nodes");
        match self {
            Size::Count(count) if count == 0 || count > nodes => {
                Err((format!("{count} nodes can't be taken out of {nodes}"), up_to()))
            }
            Size::Count(count) => Ok(count),
            Size::Minority if nodes < 3 => Err((format!("a cluster of {nodes} has no minority"), up_to())),
            Size::Minority => Ok((nodes - 1) / 2),
            Size::Majority if nodes < 3 => Err((
                format!("the majority of a cluster of {nodes} is all of it"),
                "all, or a cluster of 3 nodes or more".into(),
            )),
            Size::Majority => Ok(nodes / 2 + 1),
            Size::All => Ok(nodes),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Size::Count(1) => f.write_str("one"),
            Size::Count(count) => write!(f, "{count}"),
            Size::Minority => f.write_str("minority"),
            Size::Majority => f.write_str("majority"),
            Size::All => f.write_str("all"),
        }
    }
}

impl FromStr for Size {
    type Err = ();
    fn from_str(text: &str) -> Result<Size, ()> {
        match text {
            "one" => Ok(Size::Count(1)),
            "minority" => Ok(Size::Minority),
            "majority" => Ok(Size::Majority),
            "all" => Ok(Size::All),
            number => number.parse().map(Size::Count).map_err(|_| ()),
        }
    }
}

impl FaultKind {
    /// Whether its faults are in force beside all others ([`crate::plan::Fault::is_beside`]).
    pub fn is_beside(&self) -> bool {
        self.variants.iter().any(|variant| matches!(variant, Variant::Links(..)))
    }
}

impl FaultSchedule {
    /// Time that the faults of every plan need at their shortest, with all gaps, whatever their order.
    pub fn required_ms(&self) -> u64 {
        let gap_ms = self.between.min_ms;
        let needs = |beside: bool| -> u64 {
            let kinds = self.kinds.iter().filter(|kind| kind.is_beside() == beside);
            let needs = kinds.map(|kind| {
                // A fault has a gap before it and one behind; a quiet kind widens both.
                let wider_ms = 2 * (kind.quiet_ms.max(gap_ms) - gap_ms);
                u64::from(kind.at_least) * (kind.duration.min_ms + gap_ms + wider_ms)
            });
            needs.sum::<u64>() + gap_ms
        };
        needs(false).max(needs(true))
    }

    /// The same with only the kinds that are beside the others, or only those that are not.
    pub fn only(&self, beside: bool) -> FaultSchedule {
        let kinds = self.kinds.iter().filter(|kind| kind.is_beside() == beside).cloned().collect();
        FaultSchedule { kinds, ..*self }
    }
}
