//! The few operations that a violation rests on.
//!
//! Two relaxations, both sound (what is impossible with them is impossible without): the state before some moment may have
//! been any, and what was under way then may have happened or not; and any operation may be made optional within its own
//! time. The latest such moment is looked for, then as many operations as possible are made optional.

use super::frontier::{Called, Effect, Ended, Limits, SequentialModel, linearize};
use crate::Budget;

/// Searches for one core.
const RUNS_MAX: usize = 300;
/// Steps of each of them.
const STEPS_MAX: u64 = 2_000_000;

/// What a violation rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Core {
    /// Positions of the calls that are needed.
    pub(crate) needed: Vec<usize>,
    /// Positions of the calls that may have happened or not, beside the needed ones.
    pub(crate) others: Vec<usize>,
    /// Whether the state before the first of them may have been any.
    pub(crate) from_any_state: bool,
}

/// Makes the violation small that ends with the end of the call at `failed`. `any`: all states there can be, if they are few.
pub(crate) fn core<M: SequentialModel>(
    model: &M,
    initial: &[M::State],
    any: Option<&[M::State]>,
    calls: &[Called<M::Call>],
    failed: usize,
) -> Core
where
    M::Call: Clone,
{
    let mut shrinking = Shrinking { model, runs: 0, budget: Budget { steps_max: STEPS_MAX, ..Budget::default() } };
    let end = calls[failed].ended.expect("what is impossible has ended");
    // What had not ended by then is indeterminate.
    let mut prefix: Vec<(usize, Called<M::Call>)> = calls
        .iter()
        .enumerate()
        .filter(|(_, call)| call.began <= end)
        .map(|(at, call)| (at, Called { ended: call.ended.filter(|ended| *ended <= end), ..call.clone() }))
        .filter(|(_, call)| call.ended.is_some() || model.effect(&call.call) != Effect::Observes)
        .collect();
    let mut start = initial;
    let mut from_any_state = false;
    if let Some(any) = any {
        let mut ends: Vec<u64> = prefix.iter().filter_map(|(_, call)| call.ended).collect();
        ends.sort_unstable();
        ends.dedup();
        let since = |moment: u64| -> Vec<(usize, Called<M::Call>)> {
            let mut calls = prefix.clone();
            calls.retain(|(_, call)| call.ended.is_none_or(|ended| ended >= moment));
            calls.iter_mut().for_each(|(_, call)| call.optional |= call.began < moment);
            calls
        };
        // More of the past can only add contradictions: double the window, then halve the step.
        let mut back = 1;
        while back <= ends.len() && !shrinking.is_impossible(any, &since(ends[ends.len() - back])) {
            back *= 2;
        }
        let (mut too_late, mut early) = (back / 2, back.min(ends.len()));
        if shrinking.is_impossible(any, &since(ends[ends.len() - early])) {
            while early - too_late > 1 {
                let middle = usize::midpoint(too_late, early);
                if shrinking.is_impossible(any, &since(ends[ends.len() - middle])) {
                    early = middle;
                } else {
                    too_late = middle;
                }
            }
            prefix = since(ends[ends.len() - early]);
            (start, from_any_state) = (any, true);
        }
    }
    shrinking.make_optional(start, &mut prefix);
    let (others, needed): (Vec<_>, Vec<_>) = prefix.iter().partition(|(_, call)| call.optional || call.ended.is_none());
    let positions = |calls: Vec<&(usize, Called<M::Call>)>| calls.into_iter().map(|(at, _)| *at).collect();
    Core { needed: positions(needed), others: positions(others), from_any_state }
}

struct Shrinking<'m, M> {
    model: &'m M,
    runs: usize,
    budget: Budget,
}

impl<M: SequentialModel> Shrinking<'_, M>
where
    M::Call: Clone,
{
    fn is_impossible(&mut self, initial: &[M::State], calls: &[(usize, Called<M::Call>)]) -> bool {
        self.runs += 1;
        let calls: Vec<Called<M::Call>> = calls.iter().map(|(_, call)| call.clone()).collect();
        let limits = Limits { budget: &self.budget };
        matches!(linearize(self.model, initial, &calls, limits), Ended::Impossible(_))
    }

    /// Makes calls optional, in runs that get shorter, as long as the rest stays impossible.
    fn make_optional(&mut self, initial: &[M::State], calls: &mut Vec<(usize, Called<M::Call>)>) {
        let needed = |calls: &[(usize, Called<M::Call>)]| -> Vec<usize> {
            (0..calls.len()).filter(|at| !calls[*at].1.optional && calls[*at].1.ended.is_some()).collect()
        };
        let mut chunk = needed(calls).len().div_ceil(2);
        while chunk > 0 {
            let mut from = 0;
            loop {
                let all = needed(calls);
                if from >= all.len() || self.runs >= RUNS_MAX {
                    break;
                }
                let tried = &all[from..all.len().min(from + chunk)];
                let mut relaxed = calls.clone();
                tried.iter().for_each(|at| relaxed[*at].1.optional = true);
                if self.is_impossible(initial, &relaxed) {
                    *calls = relaxed;
                } else {
                    from += chunk;
                }
            }
            chunk = if chunk == 1 { 0 } else { chunk.div_ceil(2) };
        }
    }
}
