//! From what a run left in its directory to its report. `hearsay check` judges by the same function.

use std::collections::BTreeMap;
use std::path::Path;

use hearsay_checkers::{Case, CheckOptions, Outcome as OperationOutcome, UnknownChecker, judge};
use hearsay_workloads::{Expectation, WorkloadSpec};

use crate::plan::Plan;
use crate::report::{
    JudgedVerdict, Problem, ProblemKind, RunReport, operations_by_phase, outcome_of, required_outcome,
};
use crate::store::{RunDirectory, load_case};

use super::execute::{Ran, tombstones_collected};
use super::metrics::sampled_marks;

/// The verdicts of these checkers against what is expected of them.
///
/// # Errors
/// There is no checker of that name.
pub fn judge_case(
    case: &Case,
    expect: &BTreeMap<String, Expectation>,
    options: &CheckOptions,
) -> Result<Vec<JudgedVerdict>, UnknownChecker> {
    let names: Vec<&String> = expect.keys().collect();
    let verdicts = judge(case, &names, options)?;
    let against = expect.values().zip(verdicts);
    let judged = against.map(|(&expectation, verdict)| {
        let outcome = required_outcome(expectation, &verdict);
        JudgedVerdict { expectation, outcome, verdict }
    });
    Ok(judged.collect())
}

/// What the checkers have to assume about the runs of a plan that lasted until `ended`, nanoseconds.
pub fn options_of(plan: &Plan, ended: u64) -> CheckOptions {
    CheckOptions { tombstones_collected: tombstones_collected(plan, ended), ..CheckOptions::default() }
}

/// The report of a run that was carried out (or came as far as it came).
pub fn report_of(plan: &Plan, directory: &RunDirectory, mut ran: Ran) -> RunReport {
    ran.marks = sampled_marks(&directory.metrics());
    // Without a history nothing was started that could be judged; the problems say why.
    let there_is = directory.history().exists();
    let case = there_is.then(|| load_case(directory.path()).map_err(|error| error.to_string()));
    let case = case.as_ref().map(Result::as_ref);
    let replay = format!("hearsay run --plan {}", shell_word(&directory.plan()));
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
            match judge_case(case, &plan.expect, &options_of(plan, ended)) {
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
    let WorkloadSpec::Register(register) = &plan.workload;
    let planted = plan.planted.as_ref().map_or(String::new(), |bug| format!("; THE BUG {bug} IS PLANTED"));
    format!(
        "{} nodes, {} replicas, read repair {}; {} clients, {} keys, reads at {}, writes at {}; {} operations, {} faults{planted}",
        cluster.members.len(),
        cluster.replication,
        format!("{:?}", cluster.read_repair).to_lowercase(),
        register.clients,
        register.keys,
        register.read_level,
        register.write_level,
        plan.operations.len(),
        plan.faults.len(),
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
