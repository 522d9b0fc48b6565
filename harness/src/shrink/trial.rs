//! Whether a plan still shows the anomaly: a run of it, judged by the one checker that matters.

use crate::plan::Plan;
use crate::sim::{Settings, simulate};

use super::witness::witness_of;
use super::{Anomaly, Witness};

/// A way to try a plan.
pub trait Trial: Sync {
    /// Whether a run of the plan shows the anomaly, and where.
    fn shows(&self, plan: &Plan, anomaly: &Anomaly) -> Option<Witness>;

    /// Variations of a candidate that are worth a try, at most.
    fn variations_max(&self) -> u64 {
        u64::MAX
    }
}

/// Tries in the simulator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simulator {
    /// The world to try in.
    pub settings: Settings,
}

impl Trial for Simulator {
    fn shows(&self, plan: &Plan, anomaly: &Anomaly) -> Option<Witness> {
        let simulated = simulate(plan, self.settings);
        let case = simulated.case.as_ref().and_then(|case| case.as_ref().ok());
        let ended = simulated.ran.phases.last().map_or(0, |phase| phase.to);
        let events = simulated.ran.simulation.as_ref().map_or(0, |simulation| simulation.events);
        let witness = witness_of(plan, case, ended, &simulated.ran.problems, anomaly)?;
        Some(Witness { events, ..witness })
    }
}
