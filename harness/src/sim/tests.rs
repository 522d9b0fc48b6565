//! Tests of the simulated world as a whole.

use super::*;
use crate::campaign;
use crate::exit::Outcome;
use crate::plan::{Plan, make_plan};
use crate::report::{RunReport, render};

fn plan(campaign: &str, seed: u64) -> Plan {
    make_plan(&campaign::load(campaign).unwrap(), seed)
}

fn report(plan: &Plan, settings: Settings) -> RunReport {
    let replay = format!("hearsay run {} --sim --seed {}", plan.campaign, plan.seed);
    simulate(plan, settings).report(plan, String::new(), replay)
}

#[test]
fn quickstart_is_as_expected() {
    for seed in 1..=3 {
        let report = report(&plan("quickstart", seed), Settings::default());
        assert_eq!(report.outcome, Outcome::AsExpected, "{}", render(&report));
    }
}
