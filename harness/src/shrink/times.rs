//! Making a plan shorter without changing the order of anything in it.

use std::collections::BTreeSet;

use crate::plan::Plan;

/// Every time that the plan names, in order, its begin included.
pub(super) fn instants(plan: &Plan) -> Vec<u64> {
    let operations = plan.operations.iter().map(|operation| operation.at_ms);
    let faults = plan.faults.iter().flat_map(|fault| [fault.at_ms, fault.until_ms()]);
    let all: BTreeSet<u64> = operations.chain(faults).chain([0]).collect();
    all.into_iter().collect()
}

/// The time between each instant and the one before it.
pub(super) fn gaps(plan: &Plan) -> Vec<u64> {
    instants(plan).windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// The plan with these gaps in place of its own, in phases that fit it.
pub(super) fn with_gaps(plan: &Plan, gaps: &[u64]) -> Plan {
    let before = instants(plan);
    assert_eq!(before.len(), gaps.len() + 1, "one gap between two instants each");
    let mut after = vec![0];
    let mut now = 0;
    for gap in gaps {
        now += gap;
        after.push(now);
    }
    let moved = |time: u64| after[before.binary_search(&time).expect("an instant of the plan")];
    let mut plan = plan.clone();
    for operation in &mut plan.operations {
        operation.at_ms = moved(operation.at_ms);
    }
    for fault in &mut plan.faults {
        let until_ms = moved(fault.until_ms());
        fault.at_ms = moved(fault.at_ms);
        fault.duration_ms = until_ms - fault.at_ms;
    }
    with_fitting_phases(plan)
}

/// The plan with at least so much time between any two things that happen.
pub fn with_more_time(plan: &Plan, least_ms: u64) -> Plan {
    let longer: Vec<u64> = gaps(plan).into_iter().map(|gap| gap.max(least_ms)).collect();
    with_gaps(plan, &longer)
}

/// The plan in the shortest phases that hold it.
pub(super) fn with_fitting_phases(mut plan: Plan) -> Plan {
    let load_ms = plan.operations.iter().map(|operation| operation.at_ms + 1).max().unwrap_or(0);
    let from_ms = plan.faults.iter().map(|fault| fault.at_ms).min();
    let until_ms = plan.faults.iter().map(|fault| fault.until_ms()).max();
    let phases = &mut plan.phases;
    match (from_ms, until_ms) {
        (Some(from_ms), Some(until_ms)) => {
            phases.warmup_ms = from_ms;
            phases.faults_ms = until_ms - from_ms;
            phases.healed_ms = load_ms.saturating_sub(until_ms);
        }
        _ => (phases.warmup_ms, phases.faults_ms, phases.healed_ms) = (load_ms, 0, 0),
    }
    plan
}
