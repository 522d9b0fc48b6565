//! 2-atomicity by zones against the search for an order, which is tested against trying every order: registers whose reads
//! go back by some versions, with many clients at once, times that touch, writes of which the outcome is not known, and
//! more operations than every order could be tried of.

#[allow(dead_code, reason = "each test uses a part of it")]
mod common;

use common::text;
use hearsay_checkers::registers::Registers;
use hearsay_checkers::search::{Called, Ended, LastVersions, Limits, RegisterCall, linearize};
use hearsay_checkers::{
    Budget, Case, CheckOptions, Event, EventType, Function, History, Judgement, Outcome, ProcessId, StopFn, judge,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Client, what, pause, length, when in between it takes effect, versions that a read goes back, outcome.
type Step = (usize, u8, u64, u64, u64, usize, u8);

#[derive(Clone, Copy, Debug)]
struct Shape {
    clients: usize,
    /// The longest pause and the longest operation.
    pause: u64,
    length: u64,
    /// Of 20 operations.
    writes: u8,
    /// Reads go back by more than nothing in one of so many.
    old_one_in: usize,
    /// Of 20 writes.
    lost: u8,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let of = (2..7_usize, 1..12_u64, 1..40_u64, 2..19_u8, 1..6_usize, prop_oneof![2 => Just(0_u8), 1 => 1..12_u8]);
    of.prop_map(|(clients, pause, length, writes, old_one_in, lost)| Shape {
        clients,
        pause,
        length,
        writes,
        old_one_in,
        lost,
    })
}

fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (0..6_usize, 0..20_u8, 0..1_000_u64, 0..1_000_u64, 0..1_000_u64, 0..64_usize, 0..20_u8);
    proptest::collection::vec(step, 2..length)
}

/// A history of one key; each operation is a session of its own, so that only times order them.
fn history(shape: Shape, steps: &[Step]) -> History {
    let mut clocks = vec![0; shape.clients];
    // Effect, beginning, end, position of the step.
    let mut spans = Vec::new();
    for (at, (client, _, pause, length, place, ..)) in steps.iter().copied().enumerate() {
        let clock = &mut clocks[client % shape.clients];
        let begin = *clock + pause % shape.pause;
        let end = begin + length % shape.length;
        *clock = end;
        spans.push((begin + place % (end - begin + 1), begin, end, at));
    }
    spans.sort_unstable();
    let mut versions: Vec<Option<u64>> = vec![None];
    let mut events = Vec::new();
    for (_, begin, end, at) in spans {
        let (_, what, .., back, outcome) = steps[at];
        let is_write = what < shape.writes;
        let (f, kind, value) = if is_write {
            let value = Some(at as u64 + 1);
            let kind = match outcome {
                19 => EventType::Fail,
                lost if lost < shape.lost => EventType::Info,
                _ => EventType::Ok,
            };
            // Half of what is not known happened.
            if kind == EventType::Ok || (kind == EventType::Info && back % 2 == 0) {
                versions.push(value);
            }
            (Function::Write, kind, value)
        } else {
            let back = if back % shape.old_one_in == 0 { [1, 1, 2, 2, 2, 3, 3, 0][back % 8] } else { 0 };
            (Function::Read, EventType::Ok, versions[versions.len().saturating_sub(1 + back)])
        };
        let event = |time, kind, value| Event {
            index: 0,
            time,
            kind,
            process: ProcessId(at as u64),
            f,
            key: "k".to_owned(),
            value,
            items: None,
            node: None,
            error: None,
        };
        events.push((begin, false, at, event(begin, EventType::Invoke, value.filter(|_| is_write))));
        events.push((end, true, at, event(end, kind, value)));
    }
    events.sort_by_key(|(time, is_end, at, _)| (*time, *is_end, *at));
    let events = events.into_iter().zip(0..).map(|((.., event), index)| Event { index, ..event });
    History::from_events(events.collect::<Vec<_>>()).unwrap()
}

fn calls(history: &History) -> Vec<Called<RegisterCall>> {
    let reads = history.operations.iter().filter(|op| op.f == Function::Read);
    let read: Vec<Option<u64>> = reads.map(|op| op.value).collect();
    let ops = history.operations.iter();
    let happened =
        ops.filter(|op| op.outcome == Outcome::Ok || (op.outcome == Outcome::Info && read.contains(&op.value)));
    let call = |op: &hearsay_checkers::Operation| {
        let value = op.value.unwrap_or(0) as u32;
        let call = if op.f == Function::Read { RegisterCall::Read(value) } else { RegisterCall::Write(value) };
        Called { call, began: op.invoked, ended: op.completed, optional: false }
    };
    happened.map(call).collect()
}

/// Counts violated, held, and what was not found out.
fn agree(shape: Shape, steps: &[Step], seen: &mut [u32; 3]) -> Result<(), TestCaseError> {
    let history = history(shape, steps);
    let calls = calls(&history);
    let budget = Budget { steps_max: 3_000_000, ..Budget::default() };
    let expected = match linearize(&LastVersions { versions: 2 }, &[vec![0]], &calls, Limits { budget: &budget }) {
        Ended::Linearizable => true,
        Ended::Impossible(_) => false,
        Ended::Unknown(_) => {
            seen[2] += 1;
            return Ok(());
        }
    };
    seen[usize::from(expected)] += 1;
    let compact = Case { registers: Some(Registers::from_history(&history)), ..Case::default() };
    let named = Case { history: history.clone(), ..Case::default() };
    for case in [compact, named] {
        let verdict = judge(&case, &["two-atomic"], &CheckOptions::default()).unwrap().remove(0);
        let said = format!("{}: {:#?}\n{}", verdict.judgement, verdict.explanation, text(&history));
        match verdict.judgement {
            Judgement::Holds => prop_assert!(expected, "no order, but {said}"),
            Judgement::Violated => prop_assert!(!expected && !verdict.operations.is_empty(), "an order, but {said}"),
            Judgement::Unknown => {
                prop_assert!(expected && verdict.explanation[0].starts_with("No operation could"), "{said}");
            }
        }
    }
    Ok(())
}

fn run(cases: u32, length: usize) -> [u32; 3] {
    let mut seen = [0; 3];
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let counted = std::cell::RefCell::new(&mut seen);
    if let Err(error) =
        runner.run(&(shapes(), steps(length)), |(shape, steps)| agree(shape, &steps, &mut counted.borrow_mut()))
    {
        panic!("{error}");
    }
    println!("violated, held, not found out by the search: {seen:?}");
    seen
}

#[test]
fn zones_agree_with_the_search_on_short_histories() {
    let seen = run(20_000, 14);
    assert!(seen[0] > 1_000 && seen[1] > 2_000 && seen[2] < 50, "{seen:?}");
}

#[test]
fn zones_agree_with_the_search_on_histories_that_are_told_by_zones() {
    let seen = run(3_000, 90);
    assert!(seen[0] > 300 && seen[1] > 100, "{seen:?}");
}

/// With twenty clients the search does not end; what has no order is still told by a few operations.
#[test]
fn long_histories_of_many_clients_are_judged_and_told() {
    let mut spread = 7_u64;
    let mut below = |bound: u64| {
        spread = spread.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (spread >> 33) % bound
    };
    let shape = Shape { clients: 20, pause: 200, length: 900, writes: 10, old_one_in: 1, lost: 1 };
    let mut steps: Vec<Step> = (0..20_000)
        .map(|at| (at % 20, below(20) as u8, below(1_000), below(1_000), below(1_000), 7, below(19) as u8))
        .collect();
    let judged = |steps: &[Step]| {
        let registers = Registers::from_history(&history(shape, steps));
        let case = Case { registers: Some(registers), ..Case::default() };
        judge(&case, &["two-atomic"], &CheckOptions::default()).unwrap().remove(0)
    };
    let verdict = judged(&steps);
    assert_eq!(verdict.judgement, Judgement::Holds, "{:?}", verdict.explanation);
    // Now and then a read goes back by three versions.
    (0..20_000).step_by(50).for_each(|at| steps[at].5 = 5);
    let verdict = judged(&steps);
    assert_eq!(verdict.judgement, Judgement::Violated, "{:?}", verdict.explanation);
    assert!((2..=9).contains(&verdict.operations.len()), "{:#?}", verdict.explanation);
}

#[test]
fn a_budget_that_ends_is_unknown_and_says_why() {
    let case = hearsay_checkers::dsl::case("p1 w x=1 [0..10]\np1 w x=2 [20..30]\np2 r x=1 [40..50]").unwrap();
    let judged = |budget: Budget| {
        let options = CheckOptions { budget, ..CheckOptions::default() };
        let verdict = judge(&case, &["two-atomic"], &options).unwrap().remove(0);
        (verdict.judgement, verdict.explanation.join(" "))
    };
    assert_eq!(judged(Budget { steps_max: 3, ..Budget::default() }).0, Judgement::Holds);
    let unknown = |why: &str| (Judgement::Unknown, format!("Key x: {why}"));
    let steps = Budget { steps_max: 2, ..Budget::default() };
    assert_eq!(judged(steps), unknown("The budget of 2 steps ended."));
    let stop = Budget { stop: Some(StopFn::new(|| true)), ..Budget::default() };
    assert_eq!(judged(stop), unknown("The time for judging ended."));
}
