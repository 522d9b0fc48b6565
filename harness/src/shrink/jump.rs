//! The first candidates: a few operations around those that the verdict names, in place of blind halving.
//!
//! They are tried from the smallest to the largest, and each in many variations before a larger one is: what a few operations
//! show only now and then is found quicker than what thousands show every time is taken apart. Operations begin when they
//! really began, not when they were planned: a client is not kept busy any more by what is gone.

use crate::plan::{Plan, PlannedOperation};

use super::times::{gaps, with_fitting_phases, with_gaps};
use super::{Focus, Search, Witness};

/// Variations that each small candidate is tried in, by round.
const ROUNDS: [u64; 4] = [2, 8, 32, 128];
/// Operations that a candidate's variations of one round may have in all: large ones are not tried often.
const OPERATIONS_MAX: u64 = 24_000;
/// Variations of candidates that keep operations of all keys.
const LARGE_VARIATIONS: u64 = 2;
/// What begins later beside an operation that is still open is left to larger candidates, milliseconds.
const OPEN_MAX_MS: u64 = 400;
/// Before the first thing that happens, milliseconds.
const LEAD_IN_MS: u64 = 200;

impl Search<'_> {
    /// Leaves only what the violation's own operations suggest, as long as that works.
    pub(super) fn jump(&mut self) {
        while self.jump_once() {}
        self.variations = 1;
    }

    fn jump_once(&mut self) -> bool {
        let (best, witness) = (self.best().clone(), self.witness().clone());
        let small = smaller_than(&best, around_focuses(&best, &witness));
        for variations in ROUNDS {
            for candidate in &small {
                let most = OPERATIONS_MAX / candidate.operations.len().max(1) as u64;
                self.variations = variations.min(most.max(1));
                if self.first(1, &|_, _| Some(candidate.clone())).is_some() {
                    return true;
                }
            }
        }
        let large = smaller_than(&best, around_times(&best, &witness));
        self.variations = LARGE_VARIATIONS;
        large.iter().any(|candidate| self.first(1, &|_, _| Some(candidate.clone())).is_some())
    }
}

/// Those that take something away, without repetitions.
fn smaller_than(best: &Plan, candidates: Vec<Plan>) -> Vec<Plan> {
    let size = |plan: &Plan| (plan.operations.len(), plan.faults.len());
    let mut smaller: Vec<Plan> = Vec::new();
    for candidate in candidates {
        let (operations, faults) = size(&candidate);
        let is_smaller = operations > 0 && operations <= best.operations.len() && faults <= best.faults.len();
        if is_smaller && size(&candidate) != size(best) && !smaller.contains(&candidate) {
            smaller.push(candidate);
        }
    }
    smaller
}

/// The operations of each focus alone, then more and more of those on its keys, then those at the same time.
fn around_focuses(plan: &Plan, witness: &Witness) -> Vec<Plan> {
    let mut candidates = Vec::new();
    type Chosen = fn(&Focus, usize, &PlannedOperation) -> bool;
    let choices: [Chosen; 7] = [
        |focus, place, _| focus.places.contains(&place),
        |focus, _, operation| is_near(focus, operation, 300),
        |focus, _, operation| is_near(focus, operation, 2_000),
        |focus, _, operation| is_near(focus, operation, u64::MAX),
        |focus, _, operation| is_beside(focus, operation, 10),
        |focus, _, operation| is_beside(focus, operation, 50),
        |focus, _, operation| is_beside(focus, operation, 200),
    ];
    for chosen in choices {
        for focus in &witness.focuses {
            for overlapping in [true, false] {
                let mut candidate = plan.clone();
                candidate.operations = straightened(plan, witness, |place, operation| chosen(focus, place, operation));
                candidate.faults.retain(|fault| {
                    let overlaps = fault.at_ms <= focus.until_ms && fault.until_ms() + 100 >= focus.from_ms;
                    if overlapping { overlaps } else { fault.at_ms <= focus.until_ms.max(witness.until_ms) }
                });
                candidates.push(without_lead_in(&candidate));
            }
        }
    }
    candidates
}

/// On a key of the focus, and at most so long before it. What is after the last one named may still decide what is stored.
fn is_near(focus: &Focus, operation: &PlannedOperation, before_ms: u64) -> bool {
    let from_ms = focus.from_ms.saturating_sub(before_ms);
    focus.keys.contains(operation.action.key()) && (from_ms..=focus.until_ms).contains(&operation.at_ms)
}

/// On whatever key, while one of the focus was open or up to so long before it: what matters may be how busy a node was.
fn is_beside(focus: &Focus, operation: &PlannedOperation, before_ms: u64) -> bool {
    let is_within = |&(from_ms, until_ms): &(u64, u64)| {
        let from_ms = from_ms.saturating_sub(before_ms);
        (from_ms..=until_ms.min(from_ms + OPEN_MAX_MS)).contains(&operation.at_ms)
    };
    focus.spans.iter().any(is_within)
}

/// Operations of all keys, up to the witness's time.
fn around_times(plan: &Plan, witness: &Witness) -> Vec<Plan> {
    let mut candidates = Vec::new();
    let until_ms = witness.until_ms;
    let before = |plan: &mut Plan| plan.faults.retain(|fault| fault.at_ms <= until_ms);
    if let Some(focus) = witness.focuses.first() {
        let mut candidate = plan.clone();
        let from_ms = focus.from_ms.saturating_sub(1_000);
        candidate.operations =
            straightened(plan, witness, |_, operation| (from_ms..=focus.until_ms).contains(&operation.at_ms));
        before(&mut candidate);
        candidates.push(without_lead_in(&candidate));
    }
    for (keys, clients) in [(true, true), (true, false), (false, false)] {
        let mut candidate = plan.clone();
        candidate.operations.retain(|operation| {
            operation.at_ms <= until_ms
                && (!keys || witness.keys.is_empty() || witness.keys.contains(operation.action.key()))
                && (!clients || witness.clients.is_empty() || witness.clients.contains(&operation.client))
        });
        before(&mut candidate);
        candidates.push(candidate);
    }
    candidates
}

/// The chosen ones of the operations that were started, at the times when they were.
fn straightened(
    plan: &Plan,
    witness: &Witness,
    chosen: impl Fn(usize, &PlannedOperation) -> bool,
) -> Vec<PlannedOperation> {
    let started = witness.started.iter().filter_map(|(&place, &at_ms)| {
        let operation = PlannedOperation { at_ms, ..plan.operations.get(place)?.clone() };
        chosen(place, &operation).then_some(operation)
    });
    started.collect()
}

fn without_lead_in(plan: &Plan) -> Plan {
    if plan.operations.is_empty() {
        return plan.clone();
    }
    let mut gaps = gaps(plan);
    if let Some(first) = gaps.first_mut() {
        *first = (*first).min(LEAD_IN_MS);
        return with_gaps(plan, &gaps);
    }
    with_fitting_phases(plan.clone())
}
