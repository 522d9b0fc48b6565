//! The models of sessions, and regular and safe registers, against their definitions: small random histories of two keys, every order tried
//! one by one. The reference shares nothing with the checkers but the types.

mod common;

use common::{Clients, SINGLE, text};
use hearsay_checkers::registers::Registers;
use hearsay_checkers::{
    Case, CheckOptions, Event, EventType, Function, History, Judgement, Operation, Outcome, REGISTER_MODELS, find,
    judge, registers_from_jsonl,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const MODELS: [&str; 9] = [
    "monotonic-writes",
    "writes-follow-reads",
    "pram",
    "causal",
    "causal-convergence",
    "causal-memory",
    "sequential",
    "regular",
    "safe",
];
/// Models of registers whose references are elsewhere: in `reference.rs`, `equal_values.rs` and `search.rs`.
const ELSEWHERE: [&str; 6] =
    ["read-your-writes", "monotonic-reads", "monotonic-quorum-reads", "linearizable", "two-atomic", "staleness"];
const WRITES_MAX: usize = 5;

/// What happened, with reads resolved: positions in `ops` of the writes they returned.
struct Reference<'h> {
    ops: Vec<&'h Operation>,
    /// Of each read: the write it returned; `None`: the initial version (or no read).
    from: Vec<Option<usize>>,
}

impl<'h> Reference<'h> {
    /// `None` when a read returned what nobody had written by then.
    fn new(history: &'h History) -> Option<Reference<'h>> {
        let counts = |op: &&Operation| match op.f {
            Function::Read => op.outcome == Outcome::Ok,
            _ => op.outcome != Outcome::Fail,
        };
        let ops: Vec<&Operation> = history.operations.iter().filter(counts).collect();
        let mut from = Vec::new();
        for op in &ops {
            let Some(value) = op.value.filter(|_| op.f == Function::Read) else {
                from.push(None);
                continue;
            };
            let write = ops.iter().position(|write| {
                let same = write.f == Function::Write && write.key == op.key && write.value == Some(value);
                let later = write.process == op.process && write.index > op.index;
                same && write.invoked <= op.completed.unwrap() && !later
            })?;
            from.push(Some(write));
        }
        Some(Reference { ops, from })
    }

    fn is_read(&self, at: usize) -> bool {
        self.ops[at].f == Function::Read
    }

    fn in_session(&self, a: usize, b: usize) -> bool {
        self.ops[a].process == self.ops[b].process && a < b
    }

    /// The transitive closure of a relation.
    fn closure(&self, direct: impl Fn(usize, usize) -> bool) -> Vec<Vec<bool>> {
        let count = self.ops.len();
        let mut reach: Vec<Vec<bool>> = (0..count).map(|a| (0..count).map(|b| direct(a, b)).collect()).collect();
        for middle in 0..count {
            for a in 0..count {
                for b in 0..count {
                    reach[a][b] |= reach[a][middle] && reach[middle][b];
                }
            }
        }
        reach
    }

    /// Whether some order of `chosen` that keeps `before` is legal: each read in `judged` returns the latest write of its key.
    fn some_order(
        &self,
        chosen: &[usize],
        before: &dyn Fn(usize, usize) -> bool,
        judged: &dyn Fn(usize) -> bool,
    ) -> bool {
        fn next(
            of: &Reference<'_>,
            left: &mut Vec<usize>,
            latest: &mut Vec<(String, usize)>,
            before: &dyn Fn(usize, usize) -> bool,
            judged: &dyn Fn(usize) -> bool,
        ) -> bool {
            if left.is_empty() {
                return true;
            }
            for place in 0..left.len() {
                let at = left[place];
                if left.iter().any(|other| *other != at && before(*other, at)) {
                    continue;
                }
                let key = &of.ops[at].key;
                let held = latest.iter().rev().find(|(known, _)| known == key).map(|(_, write)| *write);
                if of.is_read(at) && judged(at) && held != of.from[at] {
                    continue;
                }
                left.remove(place);
                if !of.is_read(at) {
                    latest.push((key.clone(), at));
                }
                let found = next(of, left, latest, before, judged);
                if !of.is_read(at) {
                    latest.pop();
                }
                left.insert(place, at);
                if found {
                    return true;
                }
            }
            false
        }
        next(self, &mut chosen.to_vec(), &mut Vec::new(), before, judged)
    }

    /// Whether one order of all writes that keeps `kept` explains every read by what is visible to it.
    fn converges(&self, kept: &dyn Fn(usize, usize) -> bool, visible: &dyn Fn(usize, usize) -> bool) -> bool {
        let writes: Vec<usize> = (0..self.ops.len()).filter(|at| !self.is_read(*at)).collect();
        let mut order = Vec::new();
        self.some_arbitration(&writes, &mut order, kept, visible)
    }

    fn some_arbitration(
        &self,
        writes: &[usize],
        order: &mut Vec<usize>,
        kept: &dyn Fn(usize, usize) -> bool,
        visible: &dyn Fn(usize, usize) -> bool,
    ) -> bool {
        if order.len() == writes.len() {
            return (0..self.ops.len()).filter(|at| self.is_read(*at)).all(|read| {
                let sees = |write: &&usize| self.ops[**write].key == self.ops[read].key && visible(**write, read);
                order.iter().rev().find(sees).copied() == self.from[read]
            });
        }
        for write in writes {
            let early = |other: &usize| !order.contains(other) && other != write && kept(*other, *write);
            if order.contains(write) || writes.iter().any(early) {
                continue;
            }
            order.push(*write);
            if self.some_arbitration(writes, order, kept, visible) {
                return true;
            }
            order.pop();
        }
        false
    }

    fn holds(&self, model: &str) -> bool {
        let count = self.ops.len();
        let all: Vec<usize> = (0..count).collect();
        let returned = |write: usize, read: usize| self.from[read] == Some(write);
        let causal = self.closure(|a, b| self.in_session(a, b) || returned(a, b));
        let acyclic = (0..count).all(|at| !causal[at][at]);
        let last_of_sessions = || all.iter().filter(|at| !all.iter().any(|other| self.in_session(**at, *other)));
        match model {
            "causal" => {
                acyclic
                    && all.iter().all(|at| {
                        let mut past: Vec<usize> = all.iter().filter(|other| causal[**other][*at]).copied().collect();
                        past.push(*at);
                        self.some_order(&past, &|a, b| causal[a][b], &|read| read == *at)
                    })
            }
            "causal-convergence" => acyclic && self.converges(&|a, b| causal[a][b], &|a, b| causal[a][b]),
            "causal-memory" => {
                acyclic
                    && last_of_sessions().all(|last| {
                        let mut past: Vec<usize> = all.iter().filter(|other| causal[**other][*last]).copied().collect();
                        past.push(*last);
                        // Reads of others are not judged; they only pass on order, which is in `causal` already.
                        past.retain(|at| !self.is_read(*at) || self.ops[*at].process == self.ops[*last].process);
                        self.some_order(&past, &|a, b| causal[a][b], &|_| true)
                    })
            }
            "pram" => last_of_sessions().all(|last| {
                let own = |at: usize| self.ops[at].process == self.ops[*last].process;
                let chosen: Vec<usize> = all.iter().filter(|at| !self.is_read(**at) || own(**at)).copied().collect();
                self.some_order(&chosen, &|a, b| self.in_session(a, b), &|_| true)
            }),
            "monotonic-writes" => {
                let writes = |a: usize, b: usize| self.in_session(a, b) && !self.is_read(a) && !self.is_read(b);
                let reads = |a: usize, b: usize| self.in_session(a, b) && self.is_read(a) && self.is_read(b);
                let visible = self.closure(|a, b| writes(a, b) || reads(a, b) || returned(a, b));
                self.converges(&writes, &|a, b| visible[a][b])
            }
            "writes-follow-reads" => {
                let after = |a: usize, b: usize| self.in_session(a, b) && self.is_read(a);
                let visible = self.closure(|a, b| after(a, b) || returned(a, b));
                self.converges(&|a, b| visible[a][b], &|a, b| visible[a][b])
            }
            "sequential" => ["x", "y"].into_iter().all(|key| {
                let chosen: Vec<usize> = all.iter().filter(|at| self.ops[**at].key == key).copied().collect();
                self.some_order(&chosen, &|a, b| self.in_session(a, b), &|_| true)
            }),
            "regular" | "safe" => all.iter().filter(|at| self.is_read(**at)).all(|read| self.is_fresh(model, *read)),
            _ => panic!("no reference for {model}"),
        }
    }

    /// Every order of the writes of the key and the read that real time allows is looked at.
    fn is_fresh(&self, model: &str, read: usize) -> bool {
        let writes: Vec<usize> =
            (0..self.ops.len()).filter(|at| !self.is_read(*at) && self.ops[*at].key == self.ops[read].key).collect();
        let over = |a: usize, b: usize| {
            self.ops[a].outcome == Outcome::Ok && self.ops[a].completed.unwrap() < self.ops[b].invoked
        };
        if model == "safe" && writes.iter().any(|write| !over(*write, read) && !over(read, *write)) {
            return true;
        }
        let mut chosen = writes;
        chosen.push(read);
        self.some_order(&chosen, &over, &|_| true)
    }
}

/// One step of a client: process, key, what, how long before and during, outcome, what a read returns.
type Step = (u64, u8, u8, u64, u64, u8, usize);

fn steps(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Step>> {
    let step = (0..3_u64, 0..2_u8, 0..10_u8, 0..4_u64, 0..8_u64, 0..24_u8, 0..8_usize);
    (proptest::collection::vec(step, length), 0..6_u8).prop_map(|(mut steps, shape)| {
        for step in &mut steps {
            // Two of six: next to no time passes, so that ends and beginnings touch within and across sessions.
            if shape == 1 || shape == 2 {
                (step.3, step.4) = (step.3 / 3, step.4 / 5);
            }
            // Two of six: a fifth is indeterminate.
            if (shape == 2 || shape == 3) && step.5 % 5 == 0 {
                step.5 = 0;
            }
            // One of six: every session does one thing.
            if shape == 4 {
                step.0 += SINGLE;
            }
        }
        steps
    })
}

/// Builds a history of the keys x and y. What a read returns is chosen among null and the values written so far, of its key
/// or rarely of the other.
fn history(steps: &[Step]) -> History {
    History::from_events(events(steps)).expect("a generated history is well formed")
}

fn events(steps: &[Step]) -> Vec<Event> {
    let mut clients = Clients::new(3);
    let mut written: Vec<(u8, u64)> = Vec::new();
    for (client, key, what, pause, length, outcome, returned) in steps.iter().copied() {
        let f = if what < 4 && written.len() < WRITES_MAX { Function::Write } else { Function::Read };
        let kind = match outcome {
            0 => EventType::Info,
            1 => EventType::Fail,
            _ => EventType::Ok,
        };
        let value = match f {
            Function::Write => {
                written.push((key, written.len() as u64 + 1));
                Some(written.len() as u64)
            }
            _ => {
                let own: Vec<u64> = written.iter().filter(|(of, _)| *of == key).map(|(_, value)| *value).collect();
                own.len().checked_sub(returned / 2 + 1).map(|at| own[at]).or((outcome == 23).then_some(3))
            }
        };
        let key = if key == 0 { "x" } else { "y" };
        clients.take(&common::Step { client, pause, length, f, key, value, kind });
    }
    clients.events()
}

/// Two registers of one copy: every operation takes effect at one moment between its ends.
fn atomic(steps: &[Step]) -> History {
    let mut history = history(steps);
    let mut moments: Vec<(u64, usize)> = history
        .operations
        .iter()
        .enumerate()
        .filter(|(_, op)| op.outcome != Outcome::Fail)
        .map(|(at, op)| ((op.invoked + op.completed.unwrap_or(op.invoked + 5)) / 2, at))
        .collect();
    moments.sort_unstable();
    let mut held = std::collections::BTreeMap::new();
    for (_, at) in moments {
        let operation = &mut history.operations[at];
        match operation.f {
            Function::Read if operation.outcome == Outcome::Ok => operation.value = held.get(&operation.key).copied(),
            Function::Read => {}
            _ => {
                held.insert(operation.key.clone(), operation.value.unwrap());
            }
        }
    }
    history
}

/// Each session has a copy of its own, to which the writes of others come late, in the order of each writer: PRAM, and often
/// no more than that. The pauses of the steps say how much comes before each step.
fn delivered_in_order(steps: &[Step]) -> History {
    // With sessions of one operation the reference takes too long, and nothing comes late.
    let steps: Vec<Step> = steps
        .iter()
        .map(|step| {
            let mut step = *step;
            step.0 %= SINGLE;
            step
        })
        .collect();
    let mut history = history(&steps);
    history.operations.retain(|op| op.f == Function::Read || op.outcome == Outcome::Ok);
    let processes: Vec<u64> = history.operations.iter().map(|op| op.process.0).collect();
    let mut copies = std::collections::BTreeMap::<(u64, String), u64>::new();
    let mut came = std::collections::BTreeMap::<(u64, u64), usize>::new();
    let mut written = std::collections::BTreeMap::<u64, Vec<(String, u64)>>::new();
    for (at, step) in (0..history.operations.len()).zip(steps.iter().cycle()) {
        let process = history.operations[at].process.0;
        for from in processes.iter().filter(|from| **from != process) {
            // Some ways are slow, so that news comes by a third session first.
            let slow = (process * 2 + from) % 3 == 1;
            let wanted = if slow { usize::from(step.6 == 7) * 3 } else { 2 };
            let came = came.entry((process, *from)).or_default();
            for (key, value) in written.get(from).into_iter().flatten().skip(*came).take(wanted) {
                copies.insert((process, key.clone()), *value);
                *came += 1;
            }
        }
        let operation = &mut history.operations[at];
        // Nothing takes time, so that nobody reads what is written later.
        operation.invoked = operation.index.0 * 10;
        operation.completed = operation.completed.map(|_| operation.index.0 * 10 + 1);
        let place = (process, operation.key.clone());
        match operation.f {
            Function::Read if operation.outcome == Outcome::Ok => operation.value = copies.get(&place).copied(),
            Function::Read => {}
            _ => {
                copies.insert(place, operation.value.unwrap());
                written.entry(process).or_default().push((operation.key.clone(), operation.value.unwrap()));
            }
        }
    }
    history
}

#[test]
fn copies_that_are_late_are_pram_and_what_more_they_are_agrees() {
    let mut seen = [[0; 2]; MODELS.len()];
    run(4_000, &steps(14..26), |steps| {
        let history = delivered_in_order(&steps);
        let verdict = judged("pram", &history);
        prop_assert!(verdict.judgement != Judgement::Violated, "{:#?}\n{}", verdict, text(&history));
        MODELS.into_iter().zip(&mut seen).try_for_each(|(model, seen)| agree(model, &history, seen))
    });
    println!("violated, held: {seen:?}");
    let causal = &seen[3..6];
    assert!(causal.iter().all(|[violated, held]| *violated > 25 && *held > 25), "{seen:?}");
}

#[test]
fn the_compact_form_gives_the_same_verdicts_as_the_one_with_names() {
    let mut fast = 0_u32;
    run(6_000, &(steps(2..22), any::<bool>()), |(steps, is_atomic)| {
        let events = events(&steps);
        let mut lines = Vec::new();
        events.iter().for_each(|event| event.write_json_line(&mut lines));
        let mut history = History::from_events(events).unwrap();
        let mut registers = registers_from_jsonl(lines.as_slice()).unwrap();
        prop_assert_eq!(&registers.ops, &Registers::from_history(&history).ops);
        if is_atomic {
            history = atomic(&steps);
            registers = Registers::from_history(&history);
        }
        let named = Case { history, ..Case::default() };
        let compact = Case { registers: Some(registers), ..Case::default() };
        let models = ["monotonic-reads", "monotonic-quorum-reads", "read-your-writes", "linearizable"];
        for model in MODELS.into_iter().chain(models) {
            let verdicts =
                [&named, &compact].map(|case| judge(case, &[model], &CheckOptions::default()).unwrap().remove(0));
            prop_assert_eq!(verdicts[0].judgement, verdicts[1].judgement, "{:#?} \n{}", verdicts, text(&named.history));
            prop_assert_eq!(
                &verdicts[0].explanation,
                &verdicts[1].explanation,
                "{}: \n{}",
                model,
                text(&named.history)
            );
            prop_assert_eq!(&verdicts[0].evidence, &verdicts[1].evidence, "{}: \n{}", model, text(&named.history));
            fast += u32::from(verdicts[0].judgement == Judgement::Holds);
        }
        Ok(())
    });
    assert!(fast > 5_000, "many must hold: {fast}");
}
fn judged(model: &str, history: &History) -> hearsay_checkers::Verdict {
    let case = Case { history: history.clone(), ..Case::default() };
    let verdict = judge(&case, &[model], &CheckOptions::default()).unwrap().remove(0);
    assert_eq!(verdict.judgement == Judgement::Violated, verdict.violations > 0, "{verdict:?}");
    verdict
}

fn model_holds(model: &str, history: &History) -> bool {
    Reference::new(history)
        .map_or(model == "safe" && safe_without_thin_air(history), |reference| reference.holds(model))
}

/// Safe allows values from nowhere while something is written; elsewhere they are wrong.
fn safe_without_thin_air(history: &History) -> bool {
    let mut known = history.clone();
    let is_odd = |op: &Operation| {
        let mut alone = history.clone();
        alone.operations.retain(|other| other.f != Function::Read || other.index == op.index);
        op.f == Function::Read && Reference::new(&alone).is_none()
    };
    let odd: Vec<Operation> = history.operations.iter().filter(|op| is_odd(op)).cloned().collect();
    let overlapped = odd.iter().all(|read| {
        history.operations.iter().any(|write| {
            let over = |a: &Operation, b: &Operation| a.outcome == Outcome::Ok && a.completed.unwrap() < b.invoked;
            let is_write = write.f == Function::Write && write.outcome != Outcome::Fail && write.key == read.key;
            is_write && !over(write, read) && !over(read, write)
        })
    });
    known.operations.retain(|op| !odd.iter().any(|read| read.index == op.index));
    overlapped && Reference::new(&known).is_none_or(|reference| reference.holds("safe"))
}

/// The checker says what the definition says, and what it names is enough for it.
fn agree(model: &str, history: &History, seen: &mut [u32; 2]) -> Result<(), TestCaseError> {
    let holds = model_holds(model, history);
    let verdict = judged(model, history);
    prop_assert_eq!(
        verdict.judgement != Judgement::Violated,
        holds,
        "{}: {:#?}\n{}",
        model,
        verdict.explanation,
        text(history)
    );
    seen[usize::from(holds)] += 1;
    if !holds {
        let mut named = history.clone();
        named.operations.retain(|op| op.f != Function::Read || verdict.operations.contains(&op.index));
        prop_assert!(!model_holds(model, &named), "{}: {:#?}\n{}", model, verdict, text(history));
    }
    Ok(())
}

fn run<S: Strategy>(cases: u32, strategy: &S, mut property: impl FnMut(S::Value) -> Result<(), TestCaseError>) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let property = std::cell::RefCell::new(&mut property);
    if let Err(error) = runner.run(strategy, |value| (property.borrow_mut())(value)) {
        panic!("{error}");
    }
}

#[test]
fn every_model_agrees_with_its_definition() {
    let mut seen = [[0; 2]; MODELS.len()];
    run(8_000, &steps(2..13), |steps| {
        let history = history(&steps);
        MODELS.into_iter().zip(&mut seen).try_for_each(|(model, seen)| agree(model, &history, seen))
    });
    println!("violated, held: {seen:?}");
    assert!(seen.iter().flatten().all(|count| *count > 150), "both answers must be common: {seen:?}");
}

/// What is done to a valid history.
fn mutate(history: &mut History, kind: u8, at: prop::sample::Index, other: prop::sample::Index) {
    let of = |f: Function| -> Vec<usize> {
        let all = history.operations.iter().enumerate();
        all.filter(|(_, op)| op.f == f && op.outcome == Outcome::Ok).map(|(at, _)| at).collect()
    };
    let (reads, writes) = (of(Function::Read), of(Function::Write));
    match kind {
        // Swap the values of two reads of one key.
        0 if !reads.is_empty() => {
            let (a, b) = (reads[at.index(reads.len())], reads[other.index(reads.len())]);
            if history.operations[a].key == history.operations[b].key {
                let value = history.operations[a].value;
                history.operations[a].value = history.operations[b].value;
                history.operations[b].value = value;
            }
        }
        // A write did not happen.
        1 if !writes.is_empty() => history.operations[writes[at.index(writes.len())]].outcome = Outcome::Fail,
        // A session does two things in the other order.
        _ if !reads.is_empty() => {
            let a = reads[at.index(reads.len())];
            let process = history.operations[a].process;
            let later = (a + 1..history.operations.len()).find(|b| history.operations[*b].process == process);
            if let Some(b) = later.filter(|b| history.operations[*b].outcome == Outcome::Ok) {
                let (first, second) = (history.operations[a].clone(), history.operations[b].clone());
                for (place, from) in [(a, second), (b, first)] {
                    let operation = &mut history.operations[place];
                    (operation.f, operation.key, operation.value) = (from.f, from.key, from.value);
                }
            }
        }
        _ => {}
    }
}

#[test]
fn a_register_of_one_copy_fits_every_model_and_mutations_that_break_one_are_found() {
    let strategy = (steps(2..16), 0..3_u8, any::<prop::sample::Index>(), any::<prop::sample::Index>());
    let mut broken = [0_u32; MODELS.len()];
    run(6_000, &strategy, |(steps, kind, at, other)| {
        let mut history = atomic(&steps);
        for model in MODELS {
            let verdict = judged(model, &history);
            prop_assert!(verdict.judgement != Judgement::Violated, "{}: {:#?}\n{}", model, verdict, text(&history));
        }
        mutate(&mut history, kind, at, other);
        for (model, broken) in MODELS.into_iter().zip(&mut broken) {
            let mut seen = [0; 2];
            agree(model, &history, &mut seen)?;
            *broken += seen[0];
        }
        Ok(())
    });
    println!("broken by mutations: {broken:?}");
    assert!(broken.iter().all(|count| *count > 100), "mutations must often break each model: {broken:?}");
}

/// Each register by itself can be put in order where the read of 3 ends the moment its write begins; both together can't.
#[test]
fn a_read_that_ends_when_its_write_begins_may_close_a_cycle_over_two_registers() {
    let history =
        "p1 w x=1 [0..1]\np2 r x=3 [0..0]\np2 w y=2 [0..1]\np0 r y=2 [0..0]\np0 w x=3 [0..0]\np1 r x=1 [1..1]";
    let history = hearsay_checkers::dsl::history(history).unwrap();
    for model in ["causal", "causal-convergence", "causal-memory"] {
        assert!(!model_holds(model, &history), "{model}");
        assert_eq!(judged(model, &history).judgement, Judgement::Violated, "{model}");
    }
}

#[test]
fn every_model_of_registers_is_a_checker_with_a_reference() {
    let mut known: Vec<&str> = REGISTER_MODELS.iter().map(|model| model.name).collect();
    assert!(known.iter().all(|name| find(name).is_some()), "{known:?}");
    let mut with_reference = [&MODELS[..], &ELSEWHERE].concat();
    known.sort_unstable();
    with_reference.sort_unstable();
    assert_eq!(known, with_reference);
}
