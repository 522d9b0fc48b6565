//! Nodes that leave in order: SIGTERM, and then the wait for an end with exit code 0, which says that all they had taken was
//! answered.

use std::time::Instant;

use hearsay_core::NodeId;

use super::{FaultError, InForce, Injector};
use crate::faults::evidence::{Evidence, micros};
use crate::plan::Disk;
use crate::sandbox::process::{Ended, ProcessError};

impl Injector {
    pub(super) fn inject_leave(
        &mut self,
        evidence: &mut Evidence,
        nodes: &[NodeId],
        join: Disk,
    ) -> Result<InForce, FaultError> {
        let began = Instant::now();
        let mut bit = self.stop(evidence, nodes)?;
        if join == Disk::Empty {
            for &node in nodes {
                bit &= self.empty_disk(evidence, node)?;
            }
        }
        evidence.took(began.elapsed());
        evidence.bit = Some(bit);
        Ok(InForce::Leave { nodes: nodes.to_vec(), join, bit })
    }

    pub(super) fn heal_leave(
        &mut self,
        evidence: &mut Evidence,
        nodes: &[NodeId],
        join: Disk,
        bit: bool,
    ) -> Result<(), FaultError> {
        evidence.bit = Some(bit);
        if join == Disk::Empty {
            for &node in nodes {
                let still_empty = self.is_still_empty(evidence, node)?;
                evidence.bit = evidence.bit.map(|bit| bit && still_empty);
            }
        }
        self.start_again(evidence, nodes)
    }

    /// Asks nodes to end; true when all of them ran, and ended in time with exit code 0.
    fn stop(&mut self, evidence: &mut Evidence, nodes: &[NodeId]) -> Result<bool, FaultError> {
        let failed = |source| FaultError::Process { fault: evidence.fault.clone(), source };
        let (up, down): (Vec<NodeId>, Vec<NodeId>) =
            nodes.iter().copied().partition(|&node| self.nodes.pid(node).is_some());
        let mut in_order = down.is_empty() && !nodes.is_empty();
        let ended = match self.nodes.stop(&up, self.leave_within) {
            Ok(ended) => ended,
            // It ended by itself since we looked; the stream of deaths has it.
            Err(ProcessError::NotRunning(node)) => {
                evidence.say(format!("{node} ended by itself before it could be asked to."));
                return Ok(false);
            }
            Err(ProcessError::Unmoved { node, .. }) => {
                let left: Vec<NodeId> = up.iter().copied().filter(|&node| self.nodes.pid(node).is_some()).collect();
                self.nodes.kill(&left).map_err(failed)?;
                let within = self.leave_within.as_secs_f64();
                evidence.say(format!("{node} had not ended {within:.0} s after SIGTERM, and was killed."));
                return Ok(false);
            }
            Err(source) => return Err(failed(source)),
        };
        for node in down {
            evidence.say(format!("{node} was not running, so it could not leave."));
        }
        for (node, Ended { pid, status, took }) in ended {
            evidence.number(format!("{node}_ended_us"), micros(took));
            evidence.say(format!("{node} (process {pid}) ended with {status} {} us after SIGTERM.", micros(took)));
            in_order &= status.success();
        }
        Ok(in_order)
    }
}
