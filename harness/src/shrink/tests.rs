//! Tests of shrinking: what is left is small, shows the same, and is the same however many are tried at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hearsay_workloads::Expectation;

use super::*;
use crate::campaign;
use crate::exit::Outcome;
use crate::plan::{Plan, make_plan};
use crate::report::RunReport;
use crate::sim::simulate;

const NO_LIMIT: Budget = Budget { until: None, processor: None, trials_max: u64::MAX };

fn stale_reads(seed: u64) -> Plan {
    make_plan(&campaign::load("stale-reads").unwrap(), seed)
}

fn stale_read() -> Anomaly {
    Anomaly::Violation { checker: "monotonic-reads".to_owned(), kind: "stale-read".to_owned() }
}

fn report(plan: &Plan) -> RunReport {
    simulate(plan, Simulator::default().settings).report(plan, String::new(), String::new())
}

/// The smaller plan, how the search ended, and how many plans were tried.
fn shrunk(plan: &Plan, jobs: usize, budget: Budget) -> (Plan, Ended, u64) {
    let (simulator, anomaly) = (Simulator::default(), stale_read());
    let mut search = Search::begin(&simulator, &anomaly, plan, (jobs, 1), budget, &|_, _| {}).unwrap();
    search.run();
    let tried = search.tried();
    let (plan, ended) = search.into_plan(&anomaly);
    (plan, ended, tried)
}

#[test]
fn a_stale_read_needs_one_fault_and_three_operations() {
    for seed in [4, 5] {
        let whole = stale_reads(seed);
        let (small, ended, _) = shrunk(&whole, 2, NO_LIMIT);
        let size = PlanSize::of(&small);
        // A write that one replica misses, a read that sees it, and one that does not.
        assert_eq!((ended, size.faults, size.operations), (Ended::Minimal, 1, 3), "{}", small.to_yaml());
        assert!(size.seconds < 1.0 && size.keys == 1, "{}", small.to_yaml());
        assert_eq!(small.validate(), [""; 0]);
        assert!(Simulator::default().shows(&small, &stale_read()).is_some());
        // Nothing that the verdict could be blamed on was touched.
        assert_eq!(small.cluster.replication, whole.cluster.replication);
        assert_eq!(small.phases.converge_within_ms, whole.phases.converge_within_ms);
        assert_eq!(small.workload.read_level(), whole.workload.read_level());
        // It is as expected for the one checker that matters; what is left says nothing of the others.
        assert_eq!(small.expect["monotonic-reads"], Expectation::Violated);
        assert_eq!(small.expect["convergence"], Expectation::Any);
        assert_eq!(report(&small).outcome, Outcome::AsExpected);
    }
}

#[test]
fn replicas_that_stay_unequal_need_one_write_that_one_of_them_missed() {
    let mut whole = stale_reads(4);
    whole.cluster.merkle_interval_ms = 0;
    // Later writes would hide what one node missed.
    let healed_ms = whole.faults[0].until_ms();
    whole.operations.retain(|operation| operation.at_ms < healed_ms);
    let anomaly = Anomaly::Violation { checker: "convergence".to_owned(), kind: "not-equal".to_owned() };
    let simulator = Simulator::default();
    let mut search = Search::begin(&simulator, &anomaly, &whole, (2, 1), NO_LIMIT, &|_, _| {}).unwrap();
    search.run();
    let (small, ended) = search.into_plan(&anomaly);
    let size = PlanSize::of(&small);
    assert_eq!((ended, size.faults, size.operations), (Ended::Minimal, 1, 1), "{}", small.to_yaml());
    assert_eq!(small.phases.converge_within_ms, whole.phases.converge_within_ms);
    assert_eq!(report(&small).outcome, Outcome::NotConverged);
}

#[test]
fn the_result_is_the_same_however_many_are_tried_at_once() {
    let whole = stale_reads(6);
    let (alone, ..) = shrunk(&whole, 1, NO_LIMIT);
    let (together, ..) = shrunk(&whole, 3, NO_LIMIT);
    assert_eq!(alone, together);
}

#[test]
fn a_budget_ends_the_search_with_what_there_is() {
    let whole = stale_reads(4);
    let (small, ended, tried) = shrunk(&whole, 1, Budget { until: None, processor: None, trials_max: 4 });
    assert_eq!((ended, tried), (Ended::Budget, 4));
    assert!(Simulator::default().shows(&small, &stale_read()).is_some());
    assert!(small.operations.len() < whole.operations.len(), "the first steps take away most");
    // Without any budget it is the plan itself, which still shows it.
    let (same, ended, tried) = shrunk(&whole, 1, Budget { until: None, processor: None, trials_max: 0 });
    assert_eq!((ended, tried), (Ended::Budget, 1));
    assert_eq!(same.operations, whole.operations);
    // Processor time is counted, and it runs.
    let nothing = Budget { until: None, processor: Some(Duration::ZERO), trials_max: u64::MAX };
    assert_eq!(shrunk(&whole, 1, nothing), (same, Ended::Budget, 1));
    let before = processor_time();
    let (.., tried) =
        shrunk(&whole, 1, Budget { until: None, processor: Some(Duration::from_secs(3_600)), trials_max: 9 });
    assert_eq!(tried, 9);
    assert!(processor_time() > before);
}

#[test]
fn who_ends_a_search_keeps_what_was_found_so_far() {
    let whole = stale_reads(4);
    let (simulator, anomaly, stop) = (Simulator::default(), stale_read(), Arc::new(AtomicBool::new(false)));
    let on_kept = |plan: &Plan, _| stop.store(plan.operations.len() < whole.operations.len(), Ordering::Relaxed);
    let mut search = Search::begin(&simulator, &anomaly, &whole, (1, 1), NO_LIMIT, &on_kept).unwrap();
    search.end_on(Arc::clone(&stop));
    search.run();
    assert_eq!(search.kept(), 1, "nothing is tried after the first smaller plan");
    let (small, ended) = search.into_plan(&anomaly);
    assert_eq!(ended, Ended::Interrupted);
    assert!(small.operations.len() < whole.operations.len());
    assert!(simulator.shows(&small, &anomaly).is_some());
}

#[test]
fn nothing_is_kept_that_shows_another_kind() {
    let whole = stale_reads(4);
    let other = Anomaly::Violation { checker: "monotonic-reads".to_owned(), kind: "thin-air".to_owned() };
    let simulator = Simulator::default();
    assert!(Search::begin(&simulator, &other, &whole, (1, 2), NO_LIMIT, &|_, _| {}).is_none());
    let gone = Anomaly::NodeDied { words: String::new() };
    assert!(Search::begin(&simulator, &gone, &whole, (1, 1), NO_LIMIT, &|_, _| {}).is_none());
}

#[test]
fn what_to_shrink_is_what_nobody_expected_or_what_is_asked_for() {
    let mut report = report(&stale_reads(4));
    let choice = |checker: Option<&str>, kind: Option<&str>| Choice {
        checker: checker.map(str::to_owned),
        kind: kind.map(str::to_owned),
    };
    let error = choose("a run", &report, &Choice::default()).unwrap_err().to_string();
    assert!(error.contains("as expected") && error.contains("monotonic-reads: stale-read"), "{error}");
    assert_eq!(choose("a run", &report, &choice(Some("monotonic-reads"), None)), Ok(stale_read()));
    let error = choose("a run", &report, &choice(Some("convergence"), None)).unwrap_err().to_string();
    assert!(error.contains("no violation `convergence`") && error.contains("allowed: "), "{error}");
    let error = choose("a run", &report, &choice(None, Some("lost-write"))).unwrap_err().to_string();
    assert!(error.contains("lost-write"), "{error}");
    for judged in &mut report.verdicts {
        judged.outcome = Outcome::Violation;
    }
    let first = choose("a run", &report, &Choice::default()).unwrap();
    assert!(matches!(first, Anomaly::Violation { .. }), "{first}");
    // A death comes first.
    let message = "n2 ended by itself: row 7 is missing".to_owned();
    report.problems.push(crate::report::Problem { kind: crate::report::ProblemKind::NodeDied, message });
    let first = choose("a run", &report, &Choice::default()).unwrap();
    assert_eq!(first.to_string(), "a node died: row # is missing");
}
