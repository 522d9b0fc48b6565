//! 2-atomicity: one order of all operations keeps real time and has each read return one of the last two versions written
//! before it (Aiyer, Alvisi, Bazzi 2005; Golab, Hurwitz, Li, *On the k-atomicity-verification problem*, 2013). 1-atomicity
//! is linearizability.
//!
//! Where it is known which write each read saw, decided by zones in O(n log n) ([`crate::chunks`]). Where values are equal,
//! and where operations of one session touch, decided by search ([`crate::search`]) over registers that remember two
//! versions; memory does not grow with the length of the history, work may explode with many operations under way at
//! once: then `unknown`.

use std::collections::BTreeSet;

use crate::chunks::{Access, Fit, fit_last_two};
use crate::registers::{Clock, OPEN, RegisterOp, Registers};
use crate::search::{Counted, judge_last_two};
use crate::{Case, CheckOptions, Function, History, Outcome, Verdict, parallel};

/// Name of the checker.
pub(crate) const NAME: &str = "two-atomic";

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    let (mut held, mut counted) = (BTreeSet::new(), Counted::default());
    if let Ok(registers) = case.registers()
        && registers.values.is_none()
        && registers.clock != Clock::Nothing
    {
        (held, counted) = keys_that_hold(&registers, options);
        if held.len() == registers.keys.len() {
            return judge_last_two(NAME, &History::default(), options, counted);
        }
    }
    // What is left is told with names.
    match case.named_history() {
        Ok(mut history) => {
            if !held.is_empty() {
                history.to_mut().operations.retain(|operation| !held.contains(&operation.key));
            }
            judge_last_two(NAME, &history, options, counted)
        }
        Err(unknown) => unknown.verdict(NAME),
    }
}

/// Keys that hold by their zones.
fn keys_that_hold(registers: &Registers, options: &CheckOptions) -> (BTreeSet<String>, Counted) {
    let mut of_key: Vec<Vec<u32>> = vec![Vec::new(); registers.keys.len()];
    // Whether operations of a session touch, so that times do not tell their order.
    let mut touch = vec![false; registers.keys.len()];
    let mut session_end = vec![None; registers.sessions as usize];
    for (at, op) in (0_u32..).zip(&registers.ops) {
        touch[op.key as usize] |= session_end[op.session as usize] == Some(op.invoked);
        session_end[op.session as usize] = Some(op.completed);
        if op.is_read() || op.is_change() {
            of_key[op.key as usize].push(at);
        }
    }
    let keys: Vec<usize> = (0..of_key.len()).filter(|key| !touch[*key]).collect();
    let judged = parallel::map(&keys, options.threads, |key| {
        let ops = of_key[*key].iter().map(|at| &registers.ops[*at as usize]);
        let accesses: Vec<Access> = ops.map(access).collect();
        let is_over = accesses.len() as u64 > options.budget.steps_max || options.budget.is_over();
        (!is_over && fit_last_two(&accesses) == Fit::Fits).then(|| count(&accesses))
    });
    let mut held = (BTreeSet::new(), Counted::default());
    for (key, counted) in keys.into_iter().zip(judged) {
        let Some(counted) = counted else { continue };
        held.0.insert(registers.keys[key].to_string());
        held.1.keys += counted.keys;
        held.1.operations += counted.operations;
        held.1.observations += counted.observations;
    }
    held
}

fn access(op: &RegisterOp) -> Access {
    Access {
        value: op.value(),
        is_read: op.f == Function::Read,
        began: op.invoked,
        ended: (op.completed != OPEN && op.outcome == Outcome::Ok).then_some(op.completed),
    }
}

/// What counts as judged of a key.
fn count(accesses: &[Access]) -> Counted {
    let reads = || accesses.iter().filter(|access| access.is_read);
    let first = accesses.iter().filter(|access| !access.is_read).filter_map(|access| access.ended).min();
    let mut operations = accesses.iter().filter(|access| access.ended.is_some()).count();
    let open = || accesses.iter().filter(|access| access.ended.is_none()).map(|access| access.value);
    if open().next().is_some() {
        let seen: BTreeSet<Option<u64>> = reads().map(|read| read.value).collect();
        operations += open().filter(|value| seen.contains(value)).count();
    }
    let observations = first.map_or(0, |first| reads().filter(|read| read.began > first).count());
    Counted { keys: 1, operations: operations as u64, observations: observations as u64 }
}
