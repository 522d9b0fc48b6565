//! Whole runs: repeatable, as expected, and able to catch what is broken on purpose.

use super::*;
use crate::campaign;
use crate::exit::Outcome;
use crate::plan::{Fault, Plan, make_plan};
use crate::report::{FaultReport, RunReport, render};
use crate::sim::settings::MILLISECOND;
use crate::sim::{Simulated, simulate};

fn plan(campaign: &str, seed: u64) -> Plan {
    make_plan(&campaign::load(campaign).unwrap(), seed)
}

fn report(plan: &Plan, settings: Settings) -> RunReport {
    let replay = format!("hearsay run {} --sim --seed {}", plan.campaign, plan.seed);
    simulate(plan, settings).report(plan, String::new(), replay)
}

fn as_expected(campaign: &str, seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        let report = report(&plan(campaign, seed), Settings::default());
        assert_eq!(report.outcome, Outcome::AsExpected, "{}", render(&report));
        assert!(report.faults.iter().all(|fault| fault.bit && fault.healed), "{}", render(&report));
    }
}

#[test]
fn quickstart_is_as_expected_1() {
    as_expected("quickstart", 1..=15);
}

#[test]
fn quickstart_is_as_expected_2() {
    as_expected("quickstart", 16..=30);
}

#[test]
fn stale_reads_are_found() {
    as_expected("stale-reads", 1..=10);
}

#[test]
fn a_seed_gives_one_run_and_another_seed_another() {
    let hash = |seed| simulate(&plan("stale-reads", seed), Settings::default()).run_hash().to_owned();
    assert_eq!(hash(5), hash(5));
    assert_ne!(hash(5), hash(6));
}

#[test]
fn a_fault_taken_out_leaves_the_run_before_it_as_it_was() {
    let whole = plan("stale-reads", 4);
    let mut without = whole.clone();
    let removed = without.faults.pop().unwrap();
    let runs = [whole, without].map(|plan| report(&plan, Settings::default()));
    let until = removed.at_ms * MILLISECOND;
    let faults = runs.each_ref().map(|run| {
        let before = run.faults.iter().filter(|fault| fault.to.is_some_and(|to| to + 2 * SECOND < until));
        before.map(|fault| format!("{fault:?}")).collect::<Vec<_>>()
    });
    assert!(!faults[0].is_empty());
    assert_eq!(faults[0], faults[1]);
    assert_ne!(runs[0].simulation, runs[1].simulation);
}

/// What clients saw before `until_ms`, to the nanosecond.
fn seen_before(run: &Simulated, until_ms: u64) -> Vec<String> {
    let case = run.case.as_ref().unwrap().as_ref().unwrap();
    let begun = case.history.operations.iter().filter(|operation| operation.invoked < until_ms * MILLISECOND);
    let seen = begun.cloned().map(|mut operation| {
        operation.completed = operation.completed.filter(|completed| *completed < until_ms * MILLISECOND);
        if operation.completed.is_none() {
            (operation.value, operation.error) = (None, None);
            operation.outcome = hearsay_checkers::Outcome::Info;
        }
        format!("{operation:?}")
    });
    seen.collect()
}

#[test]
fn any_fault_taken_out_leaves_all_that_was_seen_before_and_the_times_of_the_others() {
    let plan = plan("quickstart", 3);
    let whole = simulate(&plan, Settings::default());
    for index in [1, plan.faults.len() / 2] {
        let mut without = plan.clone();
        let removed = without.faults.remove(index);
        let run = simulate(&without, Settings::default());
        let before = seen_before(&whole, removed.at_ms);
        assert!(before.len() > 1_000, "{} begins too early to tell", removed.id);
        assert!(before == seen_before(&run, removed.at_ms), "{} was felt before it began", removed.id);
        // A crash waits for an acknowledgement and a wipe for the others: those may differ.
        let timed = |fault: &&FaultReport| ["partition", "pause"].iter().any(|kind| fault.name.starts_with(kind));
        for fault in run.ran.faults.iter().filter(timed) {
            let known = whole.ran.faults.iter().find(|known| known.id == fault.id).unwrap();
            assert_eq!(fault.from, known.from, "{} began at another time without {}", fault.id, removed.id);
        }
    }
}

#[test]
fn a_node_that_answers_before_it_is_durable_is_caught() {
    let broken = Settings { releases_early: true, ..Settings::default() };
    // All nodes at once, and nothing is written afterwards: what is lost stays lost.
    let mut plan = plan("quickstart", 1);
    let everybody = Fault::Crash { nodes: plan.cluster.members.clone() };
    plan.faults.retain(|planned| planned.fault == everybody);
    plan.faults.truncate(1);
    let crash_ms = plan.faults[0].at_ms;
    plan.faults[0].fault = Fault::PowerCut { nodes: plan.cluster.members.clone(), hold_ms: 40, torn: false, seed: 0 };
    plan.operations.retain(|operation| operation.at_ms <= crash_ms + 30);
    let lost = |settings: Settings| {
        let report = report(&plan, settings);
        let judged = report.verdicts.iter().find(|judged| judged.verdict.checker == "acknowledged-writes").unwrap();
        (judged.verdict.violations, render(&report))
    };
    let (violations, text) = lost(broken);
    assert!(violations > 0, "every node lost power at once, and no acknowledged write was lost:\n{text}");
    let (violations, text) = lost(Settings::default());
    assert_eq!(violations, 0, "the power was cut, too, but nobody had answered early:\n{text}");
}

#[test]
fn what_is_pending_is_said_when_the_replicas_do_not_become_equal() {
    let mut plan = plan("stale-reads", 4);
    plan.cluster.merkle_interval_ms = 0;
    // Later writes would hide what one node missed.
    let healed_ms = plan.faults[0].until_ms();
    plan.operations.retain(|operation| operation.at_ms < healed_ms);
    plan.phases.converge_within_ms = 3_000;
    let report = report(&plan, Settings::default());
    assert_eq!(report.outcome, Outcome::NotConverged, "{}", render(&report));
    let pending = &report.pending;
    assert!(pending[0].contains(" behind ") && pending[0].contains("newest: "), "{pending:#?}");
    assert!(pending.iter().any(|sentence| sentence.contains("merkle_interval is 0")), "{pending:#?}");
    assert!(pending.iter().any(|sentence| sentence.contains(" s: 0 exchanges started")), "{pending:#?}");
    assert!(render(&report).contains("Pending when the time to converge was over\n  n"), "{}", render(&report));
}

#[test]
fn a_cluster_that_can_not_work_is_said() {
    let mut plan = plan("stale-reads", 1);
    plan.cluster.members[0] = NodeId(9);
    let report = report(&plan, Settings::default());
    assert_eq!(report.outcome, Outcome::HarnessFailed);
    assert!(report.problems[0].message.contains("without a gap"), "{:?}", report.problems);
}
