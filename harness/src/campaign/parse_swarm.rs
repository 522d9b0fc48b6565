//! The bounds of a swarm: every cluster and workload that can be drawn within them has to work, and to promise what the
//! campaign expects.

use std::collections::BTreeMap;

use hearsay_core::{ClusterConfig, ReadRepair};
use hearsay_workloads::{Expectation, OPERATIONS_MAX, WorkloadSpec};

use super::keys::SWARM_KEYS;
use super::mistakes::{Mistake, Place};
use super::parse_faults::{read_faults, read_variants};
use super::reader::{DURATION_MAX_MS, Fields, Reader};
use super::tree::Node;
use super::types::{NODES_MAX, Swarm};
use crate::plan::Phases;

/// Checkers that only blocking read repair keeps from being broken.
const NEEDS_BLOCKING: [&str; 2] = ["monotonic-quorum-reads", "linearizable"];
const READ_REPAIRS: &str = "blocking, async, none";

/// The rest of the campaign.
pub(super) struct Around<'a> {
    pub(super) cluster: &'a ClusterConfig,
    pub(super) workload: &'a WorkloadSpec,
    pub(super) phases: &'a Phases,
    /// Where the phase of the faults is given.
    pub(super) place: Place,
    pub(super) expect: &'a BTreeMap<String, Expectation>,
}

/// Reads `swarm`.
pub(super) fn read_swarm(
    node: &Node,
    around: &Around<'_>,
    faults: Option<&Node>,
    reader: &mut Reader,
) -> Option<Swarm> {
    let noted_before = reader.mistakes.len();
    let fields = reader.fields(node, "swarm", SWARM_KEYS)?;
    let swarm = Swarm {
        nodes: range(&fields, "nodes", NODES_MAX.into(), reader),
        replication: range(&fields, "replication", ClusterConfig::REPLICATION_MAX.into(), reader),
        vnodes: range(&fields, "vnodes", ClusterConfig::VNODES_MAX.into(), reader),
        read_repair: fields.get("read_repair").and_then(|node| read_repairs(node, around, reader)).unwrap_or_default(),
        merkle_interval: fields
            .get("merkle_interval")
            .and_then(|node| reader.span(node, "merkle_interval", 10..=DURATION_MAX_MS)),
        keys: range(&fields, "keys", 1_000_000, reader),
        clients: range(&fields, "clients", 10_000, reader),
        rate_per_s: range(&fields, "rate", 1_000_000, reader),
        key_life: fields.get("key_life").and_then(|node| reader.span(node, "key_life", 100..=DURATION_MAX_MS)),
    };
    if reader.mistakes.len() > noted_before {
        return None;
    }
    check_sizes(&fields, &swarm, around, reader);
    check_rate(&fields, &swarm, around, reader);
    if reader.mistakes.len() > noted_before {
        return None;
    }
    if let (Some((least, most)), Some(faults)) = (swarm.nodes, faults) {
        // Every fault of the campaign has to exist in the smallest cluster, and in the largest.
        for nodes in [least, most] {
            let noted = reader.mistakes.len();
            read_faults(faults, Some(nodes), Some((around.phases.faults_ms, around.place)), reader);
            for mistake in &mut reader.mistakes[noted..] {
                mistake.what = format!("with {nodes} nodes, as swarm.nodes allows: {}", mistake.what);
                mistake.mend =
                    mistake.mend.take().map(|mend| mend.replace("cluster.nodes", "the least of swarm.nodes"));
            }
            if reader.mistakes.len() > noted {
                break;
            }
        }
    }
    (reader.mistakes.len() == noted_before).then_some(swarm)
}

fn range<T>(fields: &Fields<'_>, key: &'static str, most: u64, reader: &mut Reader) -> Option<(T, T)>
where
    T: TryFrom<u64> + Copy + PartialOrd,
{
    fields.get(key).and_then(|node| reader.range(node, key, 1..=most))
}

fn read_repairs(node: &Node, around: &Around<'_>, reader: &mut Reader) -> Option<Vec<ReadRepair>> {
    let items = reader.one_or_more(node, "read_repair", READ_REPAIRS)?;
    let needs = NEEDS_BLOCKING.into_iter().find(|checker| around.expect.get(*checker) == Some(&Expectation::Holds));
    read_variants(items, reader, |item, reader| {
        let repair = reader.word(item, "read_repair", READ_REPAIRS, |word| match word {
            "blocking" => Some(ReadRepair::Blocking),
            "async" => Some(ReadRepair::Async),
            "none" => Some(ReadRepair::None),
            _ => None,
        })?;
        if let Some(checker) = needs.filter(|_| repair != ReadRepair::Blocking) {
            let what = format!("{checker} is expected to hold, and only blocking read repair promises that");
            let mistake = Mistake::new(item.place, what).allowed("blocking");
            reader.note(mistake.mend(format!("leave it out here, or expect `any` of {checker}")));
            return None;
        }
        Some(repair)
    })
}

/// Replicas against nodes, and levels against replicas.
fn check_sizes(fields: &Fields<'_>, swarm: &Swarm, around: &Around<'_>, reader: &mut Reader) {
    let members = u16::try_from(around.cluster.members.len()).expect("checked before");
    let (nodes_min, _) = swarm.nodes.unwrap_or((members, members));
    let own = around.cluster.replication;
    let (least, most) = swarm.replication.unwrap_or((own, own));
    if u16::from(least) > nodes_min {
        let place = fields.get("nodes").or(fields.get("replication")).map_or(fields.place, |node| node.place);
        let what = format!("{nodes_min} nodes can't hold {least} replicas of each key");
        reader
            .note(Mistake::new(place, what).mend(format!("begin swarm.nodes at {least}, or swarm.replication lower")));
        return;
    }
    let Some(node) = fields.get("replication") else { return };
    let (read, write) = (around.workload.read_level(), around.workload.write_level());
    let needed = |replication: u8| (read.needed(replication), write.needed(replication));
    let overlap = |replication: u8| {
        let (read, write) = needed(replication);
        u16::from(read) + u16::from(write) > u16::from(replication)
    };
    for replication in least..=most {
        let (needed_read, needed_write) = needed(replication);
        if needed_read.max(needed_write) > replication {
            let what = format!("with {replication} replicas the levels {read} and {write} ask for more than there are");
            reader.note(Mistake::new(node.place, what).mend("begin swarm.replication higher, or use the level quorum"));
            return;
        }
        if overlap(own) && !overlap(replication) {
            let what = format!(
                "with {replication} replicas reads at {read} can miss writes at {write}, which with {own} they can't: the \
                 expectations would be of another cluster"
            );
            reader.note(Mistake::new(node.place, what).mend("use the level quorum, or narrow swarm.replication"));
            return;
        }
    }
}

fn check_rate(fields: &Fields<'_>, swarm: &Swarm, around: &Around<'_>, reader: &mut Reader) {
    let (Some(node), Some((_, most))) = (fields.get("rate"), swarm.rate_per_s) else { return };
    let operations = around.phases.load_ms().saturating_mul(u64::from(most)) / 1000;
    if operations > OPERATIONS_MAX {
        let mistake = Mistake::new(node.place, format!("{operations} operations are too many for a run"));
        reader
            .note(mistake.allowed(format!("up to {OPERATIONS_MAX} operations in all")).mend("lower the largest rate"));
    }
}
