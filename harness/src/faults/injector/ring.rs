//! Changes of the ring: a spare node's process starts, a member's may end from now on, a member is killed for good. What the nodes have to
//! be told or asked for that, the nemesis tells and asks them.

use std::time::Instant;

use hearsay_core::NodeId;

use super::{FaultError, InForce, Injector};
use crate::faults::evidence::Evidence;
use crate::plan::Fault;
use crate::sandbox::process::ProcessError;

impl Injector {
    pub(super) fn inject_ring(&mut self, evidence: &mut Evidence, fault: &Fault) -> Result<InForce, FaultError> {
        let began = Instant::now();
        let bit = match *fault {
            Fault::Join { node } => self.start_spare(evidence, node)?,
            Fault::Retire { node } => {
                let failed = |source| FaultError::Process { fault: evidence.fault.clone(), source };
                self.nodes.retire(node).map_err(failed)?;
                self.runs(node)
            }
            Fault::Replace { node, by } => {
                let killed = self.kill(evidence, &[node])?;
                let emptied = self.empty_disk(evidence, node)?;
                self.start_spare(evidence, by)? && killed && emptied
            }
            _ => unreachable!("{} is no change of the ring", fault.name()),
        };
        evidence.took(began.elapsed());
        evidence.bit = Some(bit);
        Ok(InForce::Ring { fault: fault.clone(), bit })
    }

    fn start_spare(&mut self, evidence: &mut Evidence, node: NodeId) -> Result<bool, FaultError> {
        match self.nodes.start(node) {
            Ok(pid) => {
                evidence.number(format!("{node}_pid"), u64::from(pid));
                evidence.say(format!("{node} runs as process {pid} and joins."));
                Ok(true)
            }
            Err(ProcessError::Running(_)) => {
                evidence.say(format!("{node} was running already."));
                Ok(false)
            }
            Err(source) => Err(FaultError::Process { fault: evidence.fault.clone(), source }),
        }
    }
}
