//! Campaign + seed -> plan. Pure.

use hearsay_core::NodeId;

use super::file::FORMAT;
use super::ring::send_to_members;
use super::schedule::draw_faults;
use super::{Plan, PlannedOperation};
use crate::campaign::Campaign;

/// Everything that a run of `campaign` with `seed` will do. Equal inputs give equal plans.
pub fn make_plan(campaign: &Campaign, seed: u64) -> Plan {
    let nodes = campaign.nodes();
    let spares = campaign.faults.as_ref().map_or(0, |schedule| schedule.spares);
    let generated = campaign.workload.generate(nodes + spares, campaign.phases.load_ms(), seed);
    let operations = generated.into_iter().map(|operation| PlannedOperation {
        at_ms: operation.at_ms,
        client: operation.client,
        node: NodeId(operation.node + 1),
        action: operation.action,
    });
    let faults = campaign.faults.as_ref();
    let mut plan = Plan {
        format: FORMAT,
        campaign: campaign.name.clone(),
        seed,
        drawn: Vec::new(),
        cluster: campaign.cluster.clone(),
        spares,
        workload: campaign.workload.clone(),
        phases: campaign.phases,
        expect: campaign.expect.clone(),
        planted: None,
        faults: faults.map_or_else(Vec::new, |schedule| draw_faults(schedule, &campaign.phases, nodes, seed)),
        operations: operations.collect(),
    };
    send_to_members(&mut plan);
    let problems = plan.validate();
    assert!(problems.is_empty(), "campaign {} with seed {seed} gives a bad plan: {problems:#?}", campaign.name);
    plan
}
