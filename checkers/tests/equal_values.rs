//! Registers whose writes repeat values, and 2-atomicity, against trying every order (Wing and Gong): own histories with
//! times that touch, sessions, deletes and many indeterminate operations, and foreign recordings with compare-and-set in
//! three formats. The reference shares nothing with the checkers but the types.

mod common;

use std::collections::BTreeSet;

use common::{Clients, SINGLE, text};
use hearsay_checkers::import::{ImportOptions, read_recording};
use hearsay_checkers::registers::Registers;
use hearsay_checkers::{Case, CheckOptions, Event, EventType, Function, History, Judgement, Outcome, judge};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Call {
    Read(u64),
    Write(u64),
    CompareAndSet(u64, u64),
}

/// An operation, times as they are in the history.
#[derive(Clone, Copy, Debug)]
struct Op {
    process: u64,
    call: Call,
    began: u64,
    /// `None`: it may happen at any time from its beginning on, or never.
    ended: Option<u64>,
}

/// Whether some order explains all: each read returns one of the last `versions` values, sessions and real time are kept.
/// Operations stand in the order of their invocations.
fn some_order(ops: &[Op], versions: usize, initial: u64) -> bool {
    fn next(ops: &[Op], versions: usize, done: u32, last: &[u64], vain: &mut BTreeSet<(u32, Vec<u64>)>) -> bool {
        let is_left = |at: &usize| done & (1 << at) == 0;
        if (0..ops.len()).filter(is_left).all(|at| ops[at].ended.is_none()) {
            return true;
        }
        if !vain.insert((done, last.to_vec())) {
            return false;
        }
        (0..ops.len()).filter(is_left).any(|at| {
            let op = &ops[at];
            let must_be_first = |other: usize| {
                let in_session = ops[other].process == op.process && other < at;
                ops[other].ended.is_some_and(|ended| ended < op.began || in_session)
            };
            if (0..ops.len()).filter(is_left).any(must_be_first) {
                return false;
            }
            let mut last = last.to_vec();
            match op.call {
                Call::Read(value) if !last.contains(&value) => return false,
                Call::CompareAndSet(from, _) if last.last() != Some(&from) => return false,
                Call::Read(_) => {}
                Call::Write(value) | Call::CompareAndSet(_, value) => {
                    last.push(value);
                    if last.len() > versions {
                        last.remove(0);
                    }
                }
            }
            next(ops, versions, done | (1 << at), &last, vain)
        })
    }
    next(ops, versions, 0, &[initial], &mut BTreeSet::new())
}

/// One step of a client: client, what, a value, another, pause, length, outcome.
type Step = (u64, u8, u64, u64, u64, u64, u8);

fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (0..4_u64, 0..10_u8, 0..3_u64, 0..3_u64, 0..4_u64, 0..8_u64, 0..20_u8);
    (proptest::collection::vec(step, 2..length), 0..6_u8).prop_map(|(mut steps, shape)| {
        for step in &mut steps {
            if shape < 3 {
                // Next to no time passes, so that ends and beginnings touch within and across sessions.
                (step.4, step.5) = (step.4 / 3, step.5 / 5);
            }
            if shape % 3 == 1 {
                step.6 %= 8;
            }
            if shape % 3 == 2 {
                step.0 += SINGLE;
            }
        }
        steps
    })
}

/// The events of a history of one key; with `unique`, no two writes are of one value. Value 0 is null, writing it deleting.
fn events(steps: &[Step], unique: bool) -> Vec<Event> {
    let mut clients = Clients::new(4);
    let mut written = 0;
    for (client, what, value, _, pause, length, outcome) in steps.iter().copied() {
        let mut value = value;
        let f = if what < 5 { Function::Write } else { Function::Read };
        if unique && f == Function::Write {
            written += 1;
            value = written;
        } else if unique {
            value = (written + 1).saturating_sub(value);
        }
        let f = if f == Function::Write && value == 0 { Function::Delete } else { f };
        let kind = match outcome {
            0 | 1 => EventType::Info,
            2 => EventType::Fail,
            _ => EventType::Ok,
        };
        let value = Some(value).filter(|value| *value > 0);
        clients.take(&common::Step { client, pause, length, f, key: "k", value, kind });
    }
    clients.events()
}

fn ops(history: &History) -> Vec<Op> {
    let happened = history.operations.iter().filter(|op| match op.f {
        Function::Read => op.outcome == Outcome::Ok,
        _ => op.outcome != Outcome::Fail,
    });
    let op = |op: &hearsay_checkers::Operation| {
        let value = op.value.unwrap_or(0);
        let call = if op.f == Function::Read { Call::Read(value) } else { Call::Write(value) };
        Op { process: op.process.0, call, began: op.invoked, ended: op.completed }
    };
    happened.map(op).collect()
}

fn run<S: Strategy>(cases: u32, strategy: &S, mut property: impl FnMut(S::Value) -> Result<(), TestCaseError>) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let property = std::cell::RefCell::new(&mut property);
    if let Err(error) = runner.run(strategy, |value| (property.borrow_mut())(value)) {
        panic!("{error}");
    }
}

/// The named and the compact form give the verdict of the reference; counts violated, held, unknown.
fn agree(model: &str, versions: usize, history: &History, seen: &mut [u32; 3]) -> Result<(), TestCaseError> {
    let expected = some_order(&ops(history), versions, 0);
    let compact = Case { registers: Some(Registers::from_history(history)), ..Case::default() };
    let named = Case { history: history.clone(), ..Case::default() };
    for case in [named, compact] {
        let verdict = judge(&case, &[model], &CheckOptions::default()).unwrap().remove(0);
        let said = format!("{model} {}: {:#?}\n{}", verdict.judgement, verdict.explanation, text(history));
        match verdict.judgement {
            Judgement::Holds => prop_assert!(expected, "no order, but {said}"),
            Judgement::Violated => prop_assert!(!expected, "there is an order, but {said}"),
            Judgement::Unknown => {
                let reason = verdict.explanation.join(" ");
                let no_evidence = ["No operation could have", "none began after", "same moment"];
                prop_assert!(no_evidence.iter().any(|words| reason.contains(words)), "{said}");
                prop_assert!(expected || reason.contains("same moment"), "a violation is unknown: {said}");
            }
        }
        seen[match verdict.judgement {
            Judgement::Violated => 0,
            Judgement::Holds => 1,
            Judgement::Unknown => 2,
        }] += 1;
    }
    Ok(())
}

#[test]
fn registers_with_equal_values_are_linearizable_where_some_order_is() {
    let mut seen = [0; 3];
    run(12_000, &(steps(12), any::<bool>()), |(steps, unique)| {
        agree("linearizable", 1, &History::from_events(events(&steps, unique)).unwrap(), &mut seen)
    });
    println!("violated, held, unknown: {seen:?}");
    assert!(seen[0] > 3_000 && seen[1] > 1_000, "{seen:?}");
}

#[test]
fn registers_are_two_atomic_where_some_order_is() {
    let mut seen = [0; 3];
    run(12_000, &(steps(12), any::<bool>()), |(steps, unique)| {
        agree("two-atomic", 2, &History::from_events(events(&steps, unique)).unwrap(), &mut seen)
    });
    println!("violated, held, unknown: {seen:?}");
    assert!(seen[0] > 1_000 && seen[1] > 1_000, "{seen:?}");
}

/// A file of another system: its text, and what happened by position.
struct Foreign {
    text: String,
    ops: Vec<Op>,
    began_as: u64,
}

/// `format`: 0 maps of EDN a line, 1 one vector of them, 2 Jepsen's log lines. `zero`: it holds 0 at first, and no nil.
fn foreign(steps: &[Step], format: u8, zero: bool) -> Foreign {
    let mut open: Vec<Option<(usize, Step)>> = vec![None; 4];
    let mut processes = [0_u64, 1, 2, 3];
    let (mut lines, mut ops): (Vec<String>, Vec<Option<Op>>) = (Vec::new(), Vec::new());
    let datum = |value: u64| match value {
        0 if !zero => "nil".to_owned(),
        value => value.to_string(),
    };
    let line = |process: u64, kind: &str, f: &str, value: &str, lines: &mut Vec<String>| {
        lines.push(match format {
            2 => format!("INFO  jepsen.util - {process}\t:{kind}\t:{f}\t{value}"),
            _ => format!("{{:f :{f} :value {value}, :type :{kind} :process {process}}}"),
        });
    };
    for step in steps {
        let client = (step.0 % SINGLE) as usize;
        let began = lines.len() as u64;
        match open[client].take() {
            None => {
                let call = match step.1 {
                    0..4 => Call::Read(step.2),
                    4..7 => Call::Write(step.2),
                    _ => Call::CompareAndSet(step.2, step.3),
                };
                let (f, value) = match call {
                    Call::Read(_) => ("read", "nil".to_owned()),
                    Call::Write(value) => ("write", datum(value)),
                    Call::CompareAndSet(from, to) => ("cas", format!("[{} {}]", datum(from), datum(to))),
                };
                line(processes[client], "invoke", f, &value, &mut lines);
                open[client] = Some((ops.len(), *step));
                let is_read = matches!(call, Call::Read(_));
                // A read that never ends says nothing.
                ops.push((!is_read).then_some(Op { process: processes[client], call, began, ended: None }));
            }
            Some((at, begun)) => {
                let (f, value) = match begun.1 {
                    0..4 => ("read", datum(step.2)),
                    4..7 => ("write", datum(begun.2)),
                    _ => ("cas", format!("[{} {}]", datum(begun.2), datum(begun.3))),
                };
                let process = processes[client];
                match step.6 {
                    0 | 1 => {
                        line(process, "info", f, if begun.1 < 4 { "nil" } else { &value }, &mut lines);
                        processes[client] += 4;
                    }
                    2 => {
                        line(process, "fail", f, if begun.1 < 4 { "nil" } else { &value }, &mut lines);
                        ops[at] = None;
                    }
                    _ => {
                        line(process, "ok", f, &value, &mut lines);
                        let begun_at = ops[at].map_or(0, |op| op.began);
                        let op = Op { process, call: Call::Read(step.2), began: begun_at, ended: Some(began) };
                        ops[at] = Some(match ops[at] {
                            Some(known) => Op { ended: Some(began), ..known },
                            None => op,
                        });
                    }
                }
            }
        }
    }
    // Reads were not kept at their beginning: that is found again.
    let mut begun = BTreeSet::new();
    for (at, text) in lines.iter().enumerate() {
        if text.contains("invoke") {
            begun.insert(at as u64);
        }
    }
    let all: Vec<Op> =
        ops.iter().zip(&begun).filter_map(|(op, began)| op.map(|op| Op { began: *began, ..op })).collect();
    let text = match format {
        1 => format!("[{}]\n", lines.join("\n ; a comment\n")),
        _ => lines.join("\n") + "\n",
    };
    Foreign { text, ops: all, began_as: 0 }
}

#[test]
fn recordings_of_others_are_linearizable_where_some_order_is() {
    let mut seen = [0; 3];
    run(20_000, &(steps(22), 0..3_u8, any::<bool>()), |(steps, format, zero)| {
        let foreign = foreign(&steps, format, zero);
        // Without nil anywhere the register may have begun as nil, which no read returned, or as 0.
        let expected = some_order(&foreign.ops, 1, if zero { u64::MAX } else { foreign.began_as })
            || (zero && some_order(&foreign.ops, 1, 0));
        let recording =
            read_recording(foreign.text.as_bytes(), &ImportOptions { keyed: Some(false), ..ImportOptions::default() });
        let Ok(recording) = recording else {
            prop_assert!(foreign.text.lines().count() < 2, "{:?}\n{}", recording.err(), foreign.text);
            return Ok(());
        };
        let case = Case { recording: Some(recording), ..Case::default() };
        let verdict = judge(&case, &["linearizable"], &CheckOptions::default()).unwrap().remove(0);
        let said = format!("{}: {:#?}\n{}", verdict.judgement, verdict.explanation, foreign.text);
        match verdict.judgement {
            Judgement::Holds => prop_assert!(expected, "no order, but {said}"),
            Judgement::Violated => prop_assert!(!expected, "there is an order, but {said}"),
            Judgement::Unknown => prop_assert!(expected, "a violation is unknown: {said}"),
        }
        seen[match verdict.judgement {
            Judgement::Violated => 0,
            Judgement::Holds => 1,
            Judgement::Unknown => 2,
        }] += 1;
        Ok(())
    });
    println!("violated, held, unknown: {seen:?}");
    assert!(seen[0] > 2_000 && seen[1] > 1_000, "{seen:?}");
}
