//! The simulator's faults of the disks, with the evidence of the real ones.
//!
//! | fault | it bit | it is healed |
//! |---|---|---|
//! | power-cut | processes were there and are gone, and so is something that was not synced, or it is torn | new processes start |
//! | slow-disk | syncs were made, each as slow as planned | syncs take as long as before |
//! | failing-disk | a sync was refused, and the process has ended | new processes start |

use hearsay_core::NodeId;

use crate::faults::Evidence;
use crate::plan::Fault;

use super::node::{Ailment, Syncs};
use super::settings::{MICROSECOND, MILLISECOND};
use super::world::{World, place};

/// A fault of disks that is in force.
#[derive(Debug)]
pub(super) enum DiskFault {
    PowerCut { nodes: Vec<NodeId>, bit: bool },
    SlowDisk { nodes: Vec<NodeId>, before: Syncs },
    FailingDisk { nodes: Vec<NodeId>, refused_before: u64 },
}

impl DiskFault {
    pub(super) fn holds_down(&self, id: NodeId) -> bool {
        match self {
            DiskFault::PowerCut { nodes, .. } | DiskFault::FailingDisk { nodes, .. } => nodes.contains(&id),
            DiskFault::SlowDisk { .. } => false,
        }
    }
}

/// From now on no sync of these nodes comes to its end: the first part of a power cut.
pub(super) fn hold(world: &mut World, nodes: &[NodeId]) {
    ail(world, nodes, Ailment::Holds);
}

/// Whether one of these nodes has something to lose.
pub(super) fn anything_unsynced(world: &World, nodes: &[NodeId]) -> bool {
    nodes.iter().any(|&node| world.nodes[place(node)].disk.has_unsynced())
}

/// Makes one; a power cut was [held](hold) before.
pub(super) fn inject(world: &mut World, evidence: &mut Evidence, fault: &Fault) -> DiskFault {
    match fault {
        Fault::PowerCut { nodes, torn, seed, .. } => cut_power(world, evidence, nodes, torn.then_some(*seed)),
        Fault::SlowDisk { nodes, sync_ms } => {
            let before = syncs(world, nodes);
            evidence.number("sync_mean_us", mean_us(before));
            evidence.say(format!("Every sync takes {sync_ms} ms longer."));
            ail(world, nodes, Ailment::Slow(sync_ms * MILLISECOND));
            DiskFault::SlowDisk { nodes: nodes.clone(), before }
        }
        Fault::FailingDisk { nodes } => {
            evidence.say("Every sync is refused.");
            ail(world, nodes, Ailment::Refuses);
            DiskFault::FailingDisk { nodes: nodes.clone(), refused_before: syncs(world, nodes).refused }
        }
        other => unreachable!("{} is no fault of a disk", other.name()),
    }
}

/// Heals one; the nodes to start again.
pub(super) fn heal(world: &mut World, evidence: &mut Evidence, fault: DiskFault) -> Vec<NodeId> {
    match fault {
        DiskFault::PowerCut { nodes, bit } => {
            evidence.bit = Some(bit);
            nodes
        }
        DiskFault::SlowDisk { nodes, before } => {
            let all = syncs(world, &nodes);
            let during = Syncs { done: all.done - before.done, took_ns: all.took_ns - before.took_ns, refused: 0 };
            ail(world, &nodes, Ailment::None);
            evidence.number("syncs", during.done);
            evidence.number("sync_mean_us", mean_us(during));
            evidence.say(format!("{} syncs took {} us each.", during.done, mean_us(during)));
            evidence.bit = Some(during.done > 0 && mean_us(during) > mean_us(before));
            evidence.healed = Some(true);
            Vec::new()
        }
        DiskFault::FailingDisk { nodes, refused_before } => {
            let refused = syncs(world, &nodes).refused - refused_before;
            let running: Vec<NodeId> =
                nodes.iter().copied().filter(|&node| world.nodes[place(node)].exists()).collect();
            for node in &running {
                evidence.say(format!("{node} still ran: its disk was not asked to sync."));
                world.kill(*node);
            }
            ail(world, &nodes, Ailment::None);
            evidence.number("syncs_refused", refused);
            evidence.number("ended_by_themselves", (nodes.len() - running.len()) as u64);
            evidence
                .say(format!("{refused} syncs refused; {} nodes ended by themselves.", nodes.len() - running.len()));
            evidence.bit = Some(refused > 0 && running.len() < nodes.len());
            nodes
        }
    }
}

fn cut_power(world: &mut World, evidence: &mut Evidence, nodes: &[NodeId], torn: Option<u64>) -> DiskFault {
    let (mut killed, mut kept, mut lost) = (!nodes.is_empty(), 0, 0);
    for &node in nodes {
        match world.cut_power(node, torn) {
            Some(loss) => {
                kept += loss.kept;
                lost += loss.lost;
                evidence.number(format!("{node}_batches_kept"), loss.kept);
                evidence.number(format!("{node}_batches_lost"), loss.lost);
                evidence.say(format!(
                    "{node} lost power; {} batches that were not synced yet are lost, {} made it.",
                    loss.lost, loss.kept
                ));
            }
            None => {
                killed = false;
                evidence.say(format!("{node} was not running, so there was nothing to cut off."));
            }
        }
    }
    ail(world, nodes, Ailment::None);
    if kept + lost == 0 {
        evidence.say("Nothing was unsynced.");
    }
    evidence.number("batches_kept", kept);
    evidence.number("batches_lost", lost);
    let bit = killed && kept + lost > 0;
    evidence.bit = Some(bit);
    DiskFault::PowerCut { nodes: nodes.to_vec(), bit }
}

fn ail(world: &mut World, nodes: &[NodeId], ailment: Ailment) {
    for &node in nodes {
        world.nodes[place(node)].ailment = ailment;
    }
}

fn syncs(world: &World, nodes: &[NodeId]) -> Syncs {
    nodes.iter().fold(Syncs::default(), |sum, &node| {
        let Syncs { done, took_ns, refused } = world.nodes[place(node)].syncs;
        Syncs { done: sum.done + done, took_ns: sum.took_ns + took_ns, refused: sum.refused + refused }
    })
}

fn mean_us(syncs: Syncs) -> u64 {
    syncs.took_ns.checked_div(syncs.done).unwrap_or(0) / MICROSECOND
}
