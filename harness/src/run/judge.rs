//! From what a run left in its directory to its report. `hearsay check` judges by the same function.

use std::collections::BTreeMap;
use std::path::Path;

use hearsay_checkers::{AvailabilityBounds, Case, CheckOptions, Outcome as OperationOutcome, UnknownChecker, judge};
use hearsay_core::Conflict;
use hearsay_workloads::{DataKind, Expectation};

use crate::plan::{Fault, Plan};
use crate::report::{
    JudgedVerdict, Problem, ProblemKind, RunReport, operations_by_phase, outcome_of, required_outcome,
};
use crate::store::{RunDirectory, load_case};

use super::execute::{Ran, tombstones_collected};
use super::metrics::sampled_marks;

/// The verdicts of these checkers against what is expected of them; `options` by the name of the checker.
///
/// # Errors
/// There is no checker of that name.
pub fn judge_case(
    case: &Case,
    expect: &BTreeMap<String, Expectation>,
    options: impl Fn(&str) -> CheckOptions,
) -> Result<Vec<JudgedVerdict>, UnknownChecker> {
    let mut judged = Vec::new();
    for (name, &expectation) in expect {
        for verdict in judge(case, &[name], &options(name))? {
            let outcome = required_outcome(expectation, &verdict);
            judged.push(JudgedVerdict { expectation, outcome, verdict });
        }
    }
    Ok(judged)
}

/// What a checker has to assume about the runs of a plan that lasted until `ended`, nanoseconds.
///
/// Where the plan has wall clocks disagree, last-write-wins may keep the earlier of two writes. The checkers that are about
/// that ([`ABOUT_REAL_TIME`]) say so; no other one may conclude anything from which of two writes came later.
pub fn options_of(plan: &Plan, ended: u64, checker: &str) -> CheckOptions {
    // Under `dcc` a later write replaces only what its client has seen; options count their changes and know no time.
    let clocks_agree = plan.cluster.conflict == Conflict::Lww
        && plan.workload.kind() != DataKind::Options
        && !plan.faults.iter().any(|planned| matches!(planned.fault, Fault::Clock { .. }));
    CheckOptions {
        real_time_writes: clocks_agree || ABOUT_REAL_TIME.contains(&checker),
        tombstones_collected: tombstones_collected(plan, ended),
        availability: availability(plan),
        gossip: plan.workload.gossip_bounds(),
        ..CheckOptions::default()
    }
}

/// What the campaign promises of the operations among faults.
fn availability(plan: &Plan) -> AvailabilityBounds {
    let percent = plan.workload.load().success_in_faults_percent;
    AvailabilityBounds {
        success_share_faults_min: percent.map(|percent| f64::from(percent) / 100.0),
        ..AvailabilityBounds::default()
    }
}

/// Checkers of promises about real time itself.
const ABOUT_REAL_TIME: [&str; 2] = ["acknowledged-writes", "linearizable"];

/// The report of a run that was carried out (or came as far as it came). `options`: those of the command line that the run
/// would not be the same without, each with a space in front.
pub fn report_of(plan: &Plan, directory: &RunDirectory, options: &str, mut ran: Ran) -> RunReport {
    ran.marks = sampled_marks(&directory.metrics());
    // Without a history nothing was started that could be judged; the problems say why.
    let there_is = directory.history().exists();
    let case = there_is.then(|| load_case(directory.path()).map_err(|error| error.to_string()));
    let case = case.as_ref().map(Result::as_ref);
    let replay = format!("hearsay run --plan {}{options}", shell_word(&directory.plan()));
    judged_report(plan, case, (directory.path().display().to_string(), replay), ran)
}

/// The report of a run by the case it left (an error says why there is none that can be judged), with the place of its
/// evidence and the command that does it again.
pub(crate) fn judged_report(
    plan: &Plan,
    case: Option<Result<&Case, &String>>,
    (directory, replay): (String, String),
    ran: Ran,
) -> RunReport {
    let mut problems = ran.problems;
    let mut verdicts = Vec::new();
    let mut operations = Vec::new();
    match case {
        Some(Ok(case)) => {
            if !case.history.operations.iter().any(|operation| operation.outcome == OperationOutcome::Ok) {
                let message = "no operation ever succeeded: there is nothing to judge".to_owned();
                problems.push(Problem { kind: ProblemKind::NothingRan, message });
            }
            let ended = ran.phases.last().map_or(0, |phase| phase.to);
            match judge_case(case, &plan.expect, |checker| options_of(plan, ended, checker)) {
                Ok(judged) => verdicts = judged,
                Err(error) => problems.push(Problem { kind: ProblemKind::Harness, message: error.to_string() }),
            }
            operations = operations_by_phase(&case.history, &ran.phases);
        }
        Some(Err(message)) => problems.push(Problem { kind: ProblemKind::Harness, message: message.clone() }),
        None => {}
    }
    let outcome = outcome_of(&verdicts, &problems);
    RunReport {
        outcome,
        exit_code: outcome.exit_code(),
        campaign: plan.campaign.clone(),
        seed: plan.seed,
        commit: crate::COMMIT.to_owned(),
        planted: plan.planted.clone(),
        about: about(plan),
        directory,
        replay,
        interrupted: ran.interrupted,
        notes: ran.notes,
        simulation: ran.simulation,
        phases: ran.phases,
        faults: ran.faults,
        operations,
        operations_skipped: ran.undone.skipped,
        operations_remaining: ran.undone.remaining,
        verdicts,
        pending: ran.pending,
        marks: ran.marks,
        problems,
    }
}

/// A line on the cluster and the load.
pub fn about(plan: &Plan) -> String {
    let cluster = &plan.cluster;
    // The rest of what a swarm drew stands in the line anyway.
    let drawn = plan.drawn.iter().take(2).map(|drawn| format!("; {drawn}")).collect::<String>();
    let register = plan.workload.load();
    let spares = match plan.spares {
        0 => String::new(),
        spares => format!(" and {spares} spare"),
    };
    let planted = plan.planted.as_ref().map_or(String::new(), |bug| format!("; THE BUG {bug} IS PLANTED"));
    // What is left of a plan that was shrunk is often one of a thing.
    let several = |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    format!(
        "{}{spares}, {}, read repair {}; {}, {}, reads at {}, writes at {}; {}, {}{planted}",
        several(cluster.members.len(), "node"),
        several(cluster.replication.into(), "replica"),
        format!("{:?}", cluster.read_repair).to_lowercase(),
        several(register.clients as usize, "client"),
        several(register.keys as usize, "key"),
        register.read_level,
        register.write_level,
        several(plan.operations.len(), "operation"),
        several(plan.faults.len(), "fault"),
    ) + &drawn
}

pub(crate) fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_the_shell() {
        assert_eq!(shell_word(Path::new("store/a-1/plan.yaml")), "store/a-1/plan.yaml");
        assert_eq!(shell_word(Path::new("my store/it's")), "'my store/it'\\''s'");
    }
}
