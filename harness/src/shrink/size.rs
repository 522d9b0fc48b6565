//! How large a plan is, in the terms of the table that a shrinking ends with.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::plan::Plan;

/// What is counted of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PlanSize {
    /// Faults.
    pub faults: usize,
    /// Operations.
    pub operations: usize,
    /// Clients that do something.
    pub clients: usize,
    /// Keys that are used.
    pub keys: usize,
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Length of the load.
    pub seconds: f64,
}

impl PlanSize {
    /// Of a plan.
    pub fn of(plan: &Plan) -> PlanSize {
        let clients: BTreeSet<u32> = plan.operations.iter().map(|operation| operation.client).collect();
        let keys: BTreeSet<&str> = plan.operations.iter().map(|operation| operation.action.key()).collect();
        PlanSize {
            faults: plan.faults.len(),
            operations: plan.operations.len(),
            clients: clients.len(),
            keys: keys.len(),
            nodes: plan.cluster.members.len(),
            seconds: plan.phases.load_ms() as f64 / 1e3,
        }
    }

    /// Name and value of each count.
    pub fn rows(&self) -> [(&'static str, String); 6] {
        [
            ("faults", self.faults.to_string()),
            ("operations", self.operations.to_string()),
            ("clients", self.clients.to_string()),
            ("keys", self.keys.to_string()),
            ("nodes", self.nodes.to_string()),
            (
                "seconds",
                if self.seconds < 1.0 { format!("{:.3}", self.seconds) } else { format!("{:.1}", self.seconds) },
            ),
        ]
    }
}
