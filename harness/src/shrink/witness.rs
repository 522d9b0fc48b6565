//! Where a run showed the anomaly: what of the plan the verdict is about, and when its operations really began.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hearsay_checkers::{Case, FinalEntry, Function, Judgement, KindCount, Operation, Verdict};
use hearsay_workloads::{Action, Expectation};

use crate::plan::{Plan, PlannedOperation};
use crate::report::{Problem, ProblemKind};
use crate::run::judge::{judge_case, options_of};
use crate::run::load::Load;

use super::Anomaly;
use super::anomaly::last_words;

/// Keys that a verdict without operations is followed on, at most.
const FOCUSES_MAX: usize = 6;
/// The last writes and deletes of such a key, at most.
const LAST_WRITES: usize = 3;

/// Where a run showed the anomaly: a hint for what of the plan matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    /// Keys involved; empty: not known.
    pub keys: BTreeSet<String>,
    /// Clients involved, final readers not among them; empty: not known.
    pub clients: BTreeSet<u32>,
    /// Nothing of the plan after this mattered to what clients saw, milliseconds from the start of the warm-up.
    pub until_ms: u64,
    /// The operations that the verdict is about, or may be; of several the first is the likeliest.
    pub focuses: Vec<Focus>,
    /// Places in the plan of the operations that were started, with the time, milliseconds from the start of the warm-up.
    pub started: BTreeMap<usize, u64>,
    /// Events of the simulated run: what trying it costs. 0: not simulated.
    pub events: u64,
}

/// A few operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Focus {
    /// Their places in the plan.
    pub places: BTreeSet<usize>,
    /// Their keys.
    pub keys: BTreeSet<String>,
    /// When the first of them began, milliseconds from the start of the warm-up.
    pub from_ms: u64,
    /// When the last of them had ended.
    pub until_ms: u64,
    /// When each of them began and had ended.
    pub spans: Vec<(u64, u64)>,
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
    let carried_out = carried_out(plan, case);
    witness.started = carried_out.iter().map(|(&place, operation)| (place, operation.invoked / 1_000_000)).collect();
    let named = case.history.operations.iter().filter(|operation| verdict.operations.contains(&operation.index));
    for operation in named {
        witness.keys.insert(operation.key.clone());
        let client = u32::try_from(operation.process.0 % slots).unwrap_or(u32::MAX);
        if client < plan.workload.clients() {
            witness.clients.insert(client);
        }
        witness.until_ms = witness.until_ms.max(operation.invoked / 1_000_000 + 1);
    }
    let named = carried_out.iter().filter(|(_, operation)| verdict.operations.contains(&operation.index));
    witness.focuses.extend(focus_of(named));
    if witness.keys.is_empty() {
        witness.keys = differing_keys(case);
        witness.until_ms = load_ms;
    }
    if witness.focuses.is_empty() {
        let last_of = |key: &String| {
            let writes = carried_out.iter().filter(|(_, done)| done.key == *key && !done.f.is_read());
            let mut writes: Vec<_> = writes.collect();
            writes.sort_by_key(|(_, operation)| operation.invoked);
            let from = writes.len().saturating_sub(LAST_WRITES);
            focus_of(writes.into_iter().skip(from))
        };
        witness.focuses = witness.keys.iter().filter_map(last_of).take(FOCUSES_MAX).collect();
    }
    // What is stored at the end may be decided by any later write of the key.
    if verdict.checker == "convergence" || verdict.checker == "acknowledged-writes" {
        witness.until_ms = load_ms;
        witness.clients.clear();
    }
    witness.until_ms = witness.until_ms.min(load_ms);
    witness
}

/// These operations as one focus; `None`: there are none.
fn focus_of<'a>(operations: impl Iterator<Item = (&'a usize, &'a &'a Operation)>) -> Option<Focus> {
    let mut focus = Focus { from_ms: u64::MAX, ..Focus::default() };
    for (&place, operation) in operations {
        focus.places.insert(place);
        focus.keys.insert(operation.key.clone());
        let ended = operation.completed.unwrap_or(operation.invoked);
        let (from_ms, until_ms) = (operation.invoked / 1_000_000, ended / 1_000_000 + 1);
        focus.from_ms = focus.from_ms.min(from_ms);
        focus.until_ms = focus.until_ms.max(until_ms);
        focus.spans.push((from_ms, until_ms));
    }
    (!focus.places.is_empty()).then_some(focus)
}

/// The planned operations that were started, by their place in the plan. Those that were overdue are not in the history.
fn carried_out<'a>(plan: &Plan, case: &'a Case) -> BTreeMap<usize, &'a Operation> {
    let slots = Load::of(plan).slots();
    let mut of_clients: BTreeMap<u64, VecDeque<&Operation>> = BTreeMap::new();
    for operation in &case.history.operations {
        of_clients.entry(operation.process.0 % slots).or_default().push_back(operation);
    }
    let mut carried_out = BTreeMap::new();
    for (place, planned) in plan.operations.iter().enumerate() {
        let Some(done) = of_clients.get_mut(&u64::from(planned.client)) else { continue };
        if done.front().is_some_and(|operation| is_of(planned, operation)) {
            carried_out.extend(done.pop_front().map(|operation| (place, operation)));
        }
    }
    carried_out
}

/// Whether an operation of the history may be this one of the plan.
fn is_of(planned: &PlannedOperation, operation: &Operation) -> bool {
    let same = match (&planned.action, operation.f) {
        (Action::Read { .. }, Function::Read) | (Action::Delete { .. }, Function::Delete) => true,
        (Action::Write { value, .. }, Function::Write)
        | (Action::Add { value, .. } | Action::Update { value, .. }, Function::Add) => operation.value == Some(*value),
        (Action::Remove { .. }, Function::Remove | Function::Read) | (Action::Scan { .. }, Function::Scan) => true,
        _ => false,
    };
    let node = operation.node.as_ref().is_none_or(|node| *node == planned.node.to_string());
    same && node && operation.key == planned.action.key() && operation.invoked / 1_000_000 >= planned.at_ms
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
