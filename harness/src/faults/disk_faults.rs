//! Faults of the disks: power cuts, slow syncs, refused syncs.
//!
//! | fault | it bit | it is healed |
//! |---|---|---|
//! | power-cut | every process died of signal 9, and something that was not synced is gone or torn | a new process runs |
//! | slow-disk | syncs were made, and none was quicker than planned | syncs are let through at once |
//! | failing-disk | a sync was refused, and the process ended by itself with an error | a new process runs |
//!
//! Where the disks are plain directories a power cut is a plain kill, which the evidence says; the other two can't be made.

use std::time::Duration;

use hearsay_core::NodeId;

use super::evidence::Evidence;
use super::injector::{FaultError, Injector};
use crate::plan::Fault;

/// Longest wait, while syncs are held before a power cut, for something that is not synced.
pub(crate) const UNSYNCED_WITHIN: Duration = Duration::from_millis(500);

/// A fault of disks that is in force.
pub(super) enum DiskFault {
    PowerCut { nodes: Vec<NodeId>, bit: bool },
    SlowDisk { nodes: Vec<NodeId> },
    FailingDisk { nodes: Vec<NodeId> },
}

impl DiskFault {
    /// Nodes that it holds down.
    pub(super) fn down(&self) -> Vec<NodeId> {
        match self {
            DiskFault::PowerCut { nodes, .. } => nodes.clone(),
            DiskFault::SlowDisk { .. } | DiskFault::FailingDisk { .. } => Vec::new(),
        }
    }
}

impl Injector {
    pub(super) fn inject_disk_fault(
        &mut self,
        evidence: &mut Evidence,
        fault: &Fault,
    ) -> Result<DiskFault, FaultError> {
        match fault {
            Fault::PowerCut { nodes, .. } => {
                let bit = self.kill(evidence, nodes)?;
                evidence.number("plain_disks", nodes.len() as u64);
                evidence.say("The disks are plain directories: what was not synced is still there.");
                evidence.bit = Some(bit);
                Ok(DiskFault::PowerCut { nodes: nodes.clone(), bit })
            }
            Fault::SlowDisk { nodes, .. } => {
                cannot(evidence, nodes);
                Ok(DiskFault::SlowDisk { nodes: nodes.clone() })
            }
            Fault::FailingDisk { nodes } => {
                cannot(evidence, nodes);
                Ok(DiskFault::FailingDisk { nodes: nodes.clone() })
            }
            other => unreachable!("{} is no fault of a disk", other.name()),
        }
    }

    pub(super) fn heal_disk_fault(&mut self, evidence: &mut Evidence, fault: DiskFault) -> Result<(), FaultError> {
        match fault {
            DiskFault::PowerCut { nodes, bit } => {
                evidence.bit = Some(bit);
                self.start_again(evidence, &nodes)
            }
            DiskFault::SlowDisk { nodes } | DiskFault::FailingDisk { nodes } => {
                cannot(evidence, &nodes);
                evidence.healed = Some(true);
                Ok(())
            }
        }
    }
}

fn cannot(evidence: &mut Evidence, nodes: &[NodeId]) {
    evidence.bit = Some(false);
    for node in nodes {
        evidence.say(format!("The disk of {node} is a plain directory: its syncs can't be touched."));
    }
}
