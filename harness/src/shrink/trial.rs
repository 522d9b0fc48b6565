//! Whether a plan still shows the anomaly: a run of it, judged by the one checker that matters.

use std::collections::{BTreeMap, BTreeSet};

use hearsay_checkers::{Case, FinalEntry, Judgement, KindCount, Verdict};
use hearsay_workloads::Expectation;

use crate::plan::Plan;
use crate::report::{Problem, ProblemKind};
use crate::run::judge::{judge_case, options_of};
use crate::run::load::Load;
use crate::sim::{Settings, simulate};

use super::Anomaly;
use super::anomaly::last_words;

/// Where a run showed the anomaly: a hint for what of the plan matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    /// Keys involved; empty: not known.
    pub keys: BTreeSet<String>,
    /// Clients involved, final readers not among them; empty: not known.
    pub clients: BTreeSet<u32>,
    /// Nothing of the plan after this mattered to what clients saw, milliseconds from the start of the warm-up.
    pub until_ms: u64,
}

/// A way to try a plan.
pub trait Trial: Sync {
    /// Whether a run of the plan shows the anomaly, and where.
    fn shows(&self, plan: &Plan, anomaly: &Anomaly) -> Option<Witness>;
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
        witness_of(plan, case, ended, &simulated.ran.problems, anomaly)
    }
}

/// Where the case of a run that ended at `ended` (nanoseconds), or its problems, show the anomaly.
pub fn witness_of(
    plan: &Plan,
    case: Option<&Case>,
    ended: u64,
    problems: &[Problem],
    anomaly: &Anomaly,
) -> Option<Witness> {
    let load_ms = plan.phases.load_ms();
    match anomaly {
        Anomaly::NodeDied { words } => {
            let died = problems.iter().find(|problem| {
                problem.kind == ProblemKind::NodeDied && (words.is_empty() || last_words(&problem.message) == *words)
            });
            let last = case.and_then(|case| {
                let operations = case.history.operations.iter();
                operations.map(|operation| operation.completed.unwrap_or(operation.invoked)).max()
            });
            let until_ms = (last.unwrap_or(0) / 1_000_000).min(load_ms);
            died.map(|_| Witness { until_ms, ..Witness::default() })
        }
        Anomaly::NotWhole => {
            let is_not_whole = |problem: &Problem| problem.kind == ProblemKind::HealNotProven;
            problems.iter().any(is_not_whole).then(|| Witness { until_ms: load_ms, ..Witness::default() })
        }
        Anomaly::Violation { checker, kind } => {
            let broken = |problem: &Problem| matches!(problem.kind, ProblemKind::Cluster | ProblemKind::Harness);
            if problems.iter().any(broken) {
                return None;
            }
            let case = case?;
            let expect = [(checker.clone(), Expectation::Holds)].into();
            let verdict = judge_case(case, &expect, |checker| options_of(plan, ended, checker)).ok()?.pop()?.verdict;
            let same = |found: &KindCount| found.kind == *kind;
            (verdict.judgement == Judgement::Violated && verdict.kinds.iter().any(same))
                .then(|| involved(plan, case, &verdict))
        }
    }
}

/// Keys, clients and times of the operations that a verdict names; of keys that differ where it names none.
fn involved(plan: &Plan, case: &Case, verdict: &Verdict) -> Witness {
    let mut witness = Witness::default();
    let load_ms = plan.phases.load_ms();
    let slots = Load::of(plan).slots();
    let named = case.history.operations.iter().filter(|operation| verdict.operations.contains(&operation.index));
    for operation in named {
        witness.keys.insert(operation.key.clone());
        let client = u32::try_from(operation.process.0 % slots).unwrap_or(u32::MAX);
        if client < plan.workload.clients() {
            witness.clients.insert(client);
        }
        witness.until_ms = witness.until_ms.max(operation.invoked / 1_000_000 + 1);
    }
    if witness.keys.is_empty() {
        witness.keys = differing_keys(case);
        witness.until_ms = load_ms;
    }
    // What is stored at the end may be decided by any later write of the key.
    if verdict.checker == "convergence" || verdict.checker == "acknowledged-writes" {
        witness.until_ms = load_ms;
        witness.clients.clear();
    }
    witness.until_ms = witness.until_ms.min(load_ms);
    witness
}

fn differing_keys(case: &Case) -> BTreeSet<String> {
    let Some(state) = &case.final_state else { return BTreeSet::new() };
    let mut by_key: BTreeMap<&str, Vec<&FinalEntry>> = BTreeMap::new();
    for entry in &state.entries {
        by_key.entry(&entry.key).or_default().push(entry);
    }
    let differ = |entries: &Vec<&FinalEntry>| {
        entries.len() as u64 != state.replication
            || entries.iter().any(|entry| (entry.value, entry.stamp) != (entries[0].value, entries[0].stamp))
    };
    by_key.into_iter().filter(|(_, entries)| differ(entries)).map(|(key, _)| key.to_owned()).collect()
}
