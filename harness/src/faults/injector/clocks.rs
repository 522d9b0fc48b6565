//! Wall clocks of real nodes: the harness writes each node's clock correction, as an operator would. Whether the node follows it
//! is not seen here: it says so itself ([`crate::run::clocks`]).

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hearsay_core::NodeId;
use hearsay_node::clock_correction::Correction;

use super::{FaultError, InForce, Injector};
use crate::faults::evidence::Evidence;
use crate::plan::ClockSkew;

impl Injector {
    pub(super) fn inject_clocks(
        &mut self,
        evidence: &mut Evidence,
        clocks: &[ClockSkew],
    ) -> Result<InForce, FaultError> {
        let began = Instant::now();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let reference_ns = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        for &ClockSkew { node, offset_ns, drift_ppb } in clocks {
            let path = self.clock_file(evidence, node)?;
            Correction { offset_ns, drift_ppb, reference_ns }.write(&path).map_err(|source| FaultError::Clock {
                fault: evidence.fault.clone(),
                node,
                source,
            })?;
            evidence.say(format!("{node} was told to correct its wall clock by {offset_ns} ns and {drift_ppb} ppb."));
        }
        evidence.took(began.elapsed());
        Ok(InForce::Clock { nodes: clocks.iter().map(|clock| clock.node).collect() })
    }

    pub(super) fn heal_clocks(&mut self, evidence: &mut Evidence, nodes: &[NodeId]) -> Result<(), FaultError> {
        let began = Instant::now();
        for &node in nodes {
            let path = self.clock_file(evidence, node)?;
            match std::fs::remove_file(&path) {
                Ok(()) => {}
                // Somebody else took it back, so our fault did not hold until now.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    evidence.bit = Some(false);
                    evidence.say(format!("The correction of {node} was gone already."));
                }
                Err(source) => return Err(FaultError::Clock { fault: evidence.fault.clone(), node, source }),
            }
        }
        evidence.took(began.elapsed());
        evidence.healed = Some(true);
        Ok(())
    }

    fn clock_file(&self, evidence: &Evidence, node: NodeId) -> Result<std::path::PathBuf, FaultError> {
        let missing = || FaultError::Clock {
            fault: evidence.fault.clone(),
            node,
            source: std::io::Error::new(std::io::ErrorKind::Unsupported, "it was started without a clock correction"),
        };
        self.clock_files.get(&node).cloned().ok_or_else(missing)
    }
}
