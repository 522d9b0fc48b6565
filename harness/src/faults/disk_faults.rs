//! Faults of the disks: power cuts, slow syncs, refused syncs.
//!
//! | fault | it bit | it is healed |
//! |---|---|---|
//! | power-cut | every process died of signal 9, and something that was not synced is gone or torn | a new process runs |
//! | slow-disk | syncs were made, and none was quicker than planned | syncs are answered at once |
//! | failing-disk | a sync was refused, and the process ended by itself with an error | a new process runs |
//!
//! A power cut holds syncs for a while before it strikes. A node that acknowledges only what is durable has nothing to say
//! meanwhile; what another one says is lost. A node that still runs when its disk has refused a sync is killed at the heal, and loses
//! what it believed to be written.
//!
//! Where the disks are plain directories a power cut is a plain kill, which the evidence says; the other two can't be made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearsay_core::NodeId;

use super::evidence::{Evidence, micros};
use super::injector::{FaultError, Injector};
use crate::disk::{Cut, Disk, Loss, SyncTimes};
use crate::plan::Fault;
use crate::sandbox::DiskPlace;

/// Longest wait, while syncs are held before a power cut, for something that is not synced.
pub(crate) const UNSYNCED_WITHIN: Duration = Duration::from_millis(800);
/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(1);

/// The disks of some nodes.
type Disks = BTreeMap<NodeId, Arc<Disk>>;

/// A fault of disks that is in force.
pub(super) enum DiskFault {
    PowerCut {
        nodes: Vec<NodeId>,
        bit: bool,
    },
    SlowDisk {
        disks: Disks,
        by: Duration,
    },
    FailingDisk {
        disks: Disks,
    },
    /// It could not be made.
    None {
        nodes: Vec<NodeId>,
    },
}

impl DiskFault {
    /// Nodes that it holds down.
    pub(super) fn down(&self) -> Vec<NodeId> {
        match self {
            DiskFault::PowerCut { nodes, .. } => nodes.clone(),
            DiskFault::FailingDisk { disks } => disks.keys().copied().collect(),
            DiskFault::SlowDisk { .. } | DiskFault::None { .. } => Vec::new(),
        }
    }
}

impl Injector {
    pub(super) fn inject_disk_fault(
        &mut self,
        evidence: &mut Evidence,
        fault: &Fault,
    ) -> Result<DiskFault, FaultError> {
        let disks = self.served(evidence, &fault.processes())?;
        match (fault, disks) {
            (Fault::PowerCut { nodes, hold_ms, torn, seed }, Some(disks)) => {
                let bit = self.cut_power(evidence, &disks, Duration::from_millis(*hold_ms), torn.then_some(*seed))?;
                Ok(DiskFault::PowerCut { nodes: nodes.clone(), bit })
            }
            (Fault::PowerCut { nodes, .. }, None) => {
                let bit = self.kill_and(evidence, nodes, || {})?;
                evidence.number("plain_disks", nodes.len() as u64);
                evidence.say("The disks are plain directories: what was not synced is still there.");
                evidence.bit = Some(bit);
                Ok(DiskFault::PowerCut { nodes: nodes.clone(), bit })
            }
            (Fault::SlowDisk { sync_ms, .. }, Some(disks)) => {
                let by = Duration::from_millis(*sync_ms);
                let mut before = SyncTimes::default();
                for (&node, disk) in &disks {
                    let failed = |source| FaultError::Disk { fault: evidence.fault.clone(), node, source };
                    add(&mut before, disk.slow(by).map_err(failed)?);
                }
                say_times(evidence, before, "before");
                evidence.say(format!("From now on every sync takes {sync_ms} ms."));
                Ok(DiskFault::SlowDisk { disks, by })
            }
            (Fault::FailingDisk { .. }, Some(disks)) => {
                for (&node, disk) in &disks {
                    if self.nodes.excuse(node).is_err() {
                        evidence.say(format!("{node} was not running."));
                    }
                    disk.refuse();
                }
                evidence.say("From now on every sync is refused.");
                Ok(DiskFault::FailingDisk { disks })
            }
            (Fault::SlowDisk { nodes, .. } | Fault::FailingDisk { nodes }, None) => {
                evidence.bit = Some(false);
                evidence.say(
                    "The disks are plain directories, whose syncs can't be touched: `hearsay doctor` names the mend.",
                );
                Ok(DiskFault::None { nodes: nodes.clone() })
            }
            (other, _) => unreachable!("{} is no fault of a disk", other.name()),
        }
    }

    pub(super) fn heal_disk_fault(&mut self, evidence: &mut Evidence, fault: DiskFault) -> Result<(), FaultError> {
        match fault {
            DiskFault::PowerCut { nodes, bit } => {
                evidence.bit = Some(bit);
                self.start_again(evidence, &nodes)
            }
            DiskFault::SlowDisk { disks, by } => {
                let mut during = SyncTimes::default();
                disks.values().for_each(|disk| add(&mut during, disk.heal()));
                say_times(evidence, during, "meanwhile");
                evidence.bit = Some(during.count > 0 && during.shortest >= by);
                evidence.healed = Some(true);
                Ok(())
            }
            DiskFault::FailingDisk { disks } => self.heal_failing(evidence, &disks),
            DiskFault::None { nodes } => {
                let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
                evidence.say(format!("Nothing was done to the disks of {}.", names.join(" ")));
                evidence.bit = Some(false);
                evidence.healed = Some(true);
                Ok(())
            }
        }
    }

    /// The disks of these nodes, if all of them can lose power.
    fn served(&self, evidence: &Evidence, nodes: &[NodeId]) -> Result<Option<Disks>, FaultError> {
        let mut disks = Disks::new();
        for &node in nodes {
            match self.disk(evidence, node)? {
                DiskPlace::Served(disk) => drop(disks.insert(node, disk)),
                DiskPlace::Plain(_) => return Ok(None),
            }
        }
        Ok(Some(disks))
    }

    fn cut_power(
        &mut self,
        evidence: &mut Evidence,
        disks: &Disks,
        hold: Duration,
        torn: Option<u64>,
    ) -> Result<bool, FaultError> {
        let nodes: Vec<NodeId> = disks.keys().copied().collect();
        let began = Instant::now();
        disks.values().for_each(|disk| disk.hold());
        while !disks.values().any(|disk| disk.has_unsynced()) && began.elapsed() < UNSYNCED_WITHIN {
            std::thread::sleep(LOOK);
        }
        // How long this is was drawn with the plan: it is the fault, not a wait for something.
        std::thread::sleep(hold);
        let mut cuts = BTreeMap::new();
        let killed =
            self.kill_and(evidence, &nodes, || cuts.extend(disks.iter().map(|(&node, disk)| (node, disk.cut()))));
        // Also when a kill failed: no disk stays without power.
        let mut sum = Loss::default();
        let mut held = Cut::default();
        for (&node, disk) in disks {
            let cut = cuts.get(&node).copied().unwrap_or_default();
            let loss = disk.restore(torn.map(|seed| seed ^ u64::from(node.0) << 32));
            held.syncs_held += cut.syncs_held;
            held.held_for = held.held_for.max(cut.held_for);
            say_loss(evidence, node, cut, loss);
            sum = sum.and(loss);
        }
        let killed = killed?;
        evidence.number("syncs_held", held.syncs_held);
        evidence.number("held_us", micros(held.held_for));
        evidence.number("bytes_lost", sum.bytes_lost);
        evidence.number("bytes_kept", sum.bytes_kept);
        evidence.number("changes_lost", sum.changes_lost);
        evidence.number("changes_kept", sum.changes_kept);
        let struck = sum.is_anything() || held.syncs_held > 0;
        if !struck {
            evidence.say("Nothing was unsynced.");
        }
        let bit = killed && struck;
        evidence.bit = Some(bit);
        Ok(bit)
    }

    fn heal_failing(&mut self, evidence: &mut Evidence, disks: &Disks) -> Result<(), FaultError> {
        let nodes: Vec<NodeId> = disks.keys().copied().collect();
        let (mut refused, mut stopped) = (0, 0);
        for (&node, disk) in disks {
            let syncs = disk.times().refused;
            refused += syncs;
            match self.nodes.last_end(node) {
                Some(status) => {
                    stopped += 1;
                    evidence.say(format!("{node}: {syncs} syncs refused, ended by itself with {status}."));
                }
                None => {
                    evidence.say(format!("{node}: {syncs} syncs refused, and it was still running: killed."));
                    let cut = || {
                        disk.cut();
                    };
                    self.kill_and(evidence, &[node], cut)?;
                }
            }
            // What a disk could not write is not on it.
            let loss = disk.restore(None);
            say_loss(evidence, node, Cut::default(), loss);
        }
        evidence.number("syncs_refused", refused);
        evidence.number("ended_by_themselves", stopped);
        evidence.bit = Some(refused > 0);
        self.start_again(evidence, &nodes)
    }
}

fn say_loss(evidence: &mut Evidence, node: NodeId, cut: Cut, loss: Loss) {
    let Loss { files, bytes_lost, bytes_kept, changes_lost, changes_kept } = loss;
    evidence.number(format!("{node}_bytes_lost"), bytes_lost);
    evidence.number(format!("{node}_syncs_held"), cut.syncs_held);
    evidence.say(format!(
        "The disk of {node}: {} syncs held; of what was not synced {bytes_lost} bytes of {files} files and {changes_lost} changes \
         of names and lengths are lost, {bytes_kept} bytes and {changes_kept} changes are there.",
        cut.syncs_held
    ));
}

fn say_times(evidence: &mut Evidence, times: SyncTimes, when: &str) {
    let mean = times.total.checked_div(u32::try_from(times.count).unwrap_or(u32::MAX)).unwrap_or_default();
    evidence.number("syncs", times.count);
    evidence.number("sync_mean_us", micros(mean));
    evidence.number("sync_shortest_us", micros(times.shortest));
    evidence.say(format!(
        "{} syncs {when} took {} us each, the quickest {} us.",
        times.count,
        micros(mean),
        micros(times.shortest)
    ));
}

fn add(sum: &mut SyncTimes, other: SyncTimes) {
    sum.shortest = match (sum.count, other.count) {
        (0, _) => other.shortest,
        (_, 0) => sum.shortest,
        _ => sum.shortest.min(other.shortest),
    };
    sum.count += other.count;
    sum.total += other.total;
    sum.refused += other.refused;
}
