//! The search for an order of operations against trying every order (Wing and Gong), and the labelled histories of others.

use std::collections::BTreeSet;
use std::path::Path;

use hearsay_checkers::import::{ImportOptions, read_recording};
use hearsay_checkers::search::{
    AppendCall, AppendModel, Called, CasRegister, Effect, Ended, LastVersions, Limits, RegisterCall, SequentialModel,
    linearize,
};
use hearsay_checkers::{Budget, Case, CheckOptions, Judgement, judge};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Whether some order explains all calls, trying each that real time allows.
fn some_order<M: SequentialModel>(model: &M, initial: M::State, calls: &[Called<M::Call>]) -> bool
where
    M::State: Ord,
{
    fn next<M: SequentialModel>(
        model: &M,
        calls: &[Called<M::Call>],
        done: u32,
        state: M::State,
        vain: &mut BTreeSet<(u32, M::State)>,
    ) -> bool
    where
        M::State: Ord,
    {
        let left: Vec<usize> = (0..calls.len()).filter(|at| done & (1 << at) == 0).collect();
        let may_never_be = |at: &usize| calls[*at].ended.is_none() || calls[*at].optional;
        if left.iter().all(may_never_be) {
            return true;
        }
        if vain.contains(&(done, state.clone())) {
            return false;
        }
        for at in &left {
            let late = |other: &usize| {
                !calls[*other].optional && calls[*other].ended.is_some_and(|ended| ended < calls[*at].began)
            };
            let too_late = calls[*at].ended.is_some_and(|ended| {
                // Optional calls have their time too: none that began after it may have been before.
                (0..calls.len()).any(|other| done & (1 << other) != 0 && calls[other].began > ended)
            });
            if left.iter().any(late) || too_late {
                continue;
            }
            if let Some(after) = model.step(&state, &calls[*at].call)
                && next(model, calls, done | (1 << at), after, vain)
            {
                return true;
            }
        }
        vain.insert((done, state));
        false
    }
    next(model, calls, 0, initial, &mut BTreeSet::new())
}

/// A call: what, two values, client, pause before, length, and how it ends.
type Step = (u8, u32, u32, usize, u64, u64, u8);

fn steps(clients: usize, length: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = (0..10_u8, 0..3_u32, 0..3_u32, 0..clients, 0..5_u64, 0..14_u64, 0..12_u8);
    (proptest::collection::vec(step, 2..length), 0..4_u8).prop_map(|(mut steps, shape)| {
        for step in &mut steps {
            // One of four: next to no time passes, so that ends and beginnings touch.
            if shape == 1 {
                (step.4, step.5) = (step.4 / 4, step.5 / 9);
            }
            // One of four: a third is indeterminate.
            if shape == 2 {
                step.6 = if step.6 < 4 { 0 } else { step.6 };
            }
        }
        steps
    })
}

fn calls<C>(steps: &[Step], call: impl Fn(&Step) -> C) -> Vec<Called<C>> {
    let mut clocks = [0_u64; 8];
    let mut calls: Vec<Called<C>> = steps
        .iter()
        .map(|step| {
            let began = clocks[step.3] + step.4 + 1;
            clocks[step.3] = began + step.5;
            let ended = Some(began + step.5).filter(|_| step.6 > 1);
            Called { call: call(step), began, ended, optional: step.6 == 11 }
        })
        .collect();
    calls.sort_by_key(|call| call.began);
    calls
}

fn register_call(step: &Step) -> RegisterCall {
    match step.0 {
        0..4 => RegisterCall::Read(step.1),
        4..7 => RegisterCall::Write(step.1),
        _ => RegisterCall::CompareAndSet(step.1, step.2),
    }
}

fn append_call(step: &Step) -> AppendCall {
    let text = |number: u32| Box::from(["", "a", "b"][number as usize]);
    match step.0 {
        0..3 => AppendCall::Get(text(step.1)),
        3 => AppendCall::Get([text(step.1), text(step.2)].concat().into()),
        4 => AppendCall::Put(text(step.1)),
        _ => AppendCall::Append(text(step.1)),
    }
}

/// Gives observations what they would have returned if every call took effect in the middle of its time.
fn observe<M: SequentialModel>(
    model: &M,
    mut state: M::State,
    calls: &mut [Called<M::Call>],
    observed: impl Fn(&M::State) -> M::Call,
) {
    let mut moments: Vec<(u64, usize)> =
        calls.iter().enumerate().map(|(at, call)| (call.began + call.ended.unwrap_or(call.began + 6), at)).collect();
    moments.sort_unstable();
    for (_, at) in moments {
        if model.effect(&calls[at].call) == Effect::Observes {
            calls[at].call = observed(&state);
        } else if let Some(after) = model.step(&state, &calls[at].call) {
            state = after;
        } else {
            // It did not find what it expected, so it is a read.
            calls[at].call = observed(&state);
        }
    }
}

fn agrees<M: SequentialModel>(model: &M, initial: &M::State, calls: &[Called<M::Call>]) -> Result<bool, TestCaseError>
where
    M::State: Ord,
    M::Call: std::fmt::Debug,
{
    let budget = Budget::default();
    let ended = linearize(model, std::slice::from_ref(initial), calls, Limits { budget: &budget });
    let holds = some_order(model, initial.clone(), calls);
    prop_assert_eq!(ended == Ended::Linearizable, holds, "{:?} of {:#?}", ended, calls);
    if let Ended::Impossible(failed) = ended {
        // What began after the end of that call has nothing to do with it.
        let end = calls[failed].ended.unwrap();
        let before: Vec<usize> = (0..calls.len()).filter(|at| calls[*at].began <= end).collect();
        prop_assert!(before.contains(&failed));
    }
    Ok(holds)
}

fn run<S: Strategy>(cases: u32, strategy: &S, mut property: impl FnMut(S::Value) -> Result<(), TestCaseError>) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let property = std::cell::RefCell::new(&mut property);
    if let Err(error) = runner.run(strategy, |value| (property.borrow_mut())(value)) {
        panic!("{error}");
    }
}

#[test]
fn registers_with_compare_and_set_agree() {
    let mut seen = [0_u32; 2];
    run(25_000, &steps(5, 12), |steps| {
        let calls = calls(&steps, register_call);
        seen[usize::from(agrees(&CasRegister, &0, &calls)?)] += 1;
        Ok(())
    });
    assert!(seen.iter().all(|count| *count > 1_000), "both answers must be common: {seen:?}");
}

#[test]
fn registers_that_work_hold_and_a_changed_result_is_found_where_it_matters() {
    let mut broken = 0;
    let strategy = (steps(6, 18), any::<prop::sample::Index>(), 0..3_u32);
    run(8_000, &strategy, |(steps, victim, value)| {
        let mut calls = calls(&steps, register_call);
        observe(&CasRegister, 0, &mut calls, |state| RegisterCall::Read(*state));
        prop_assert!(agrees(&CasRegister, &0, &calls)?);
        let at = victim.index(calls.len());
        if let RegisterCall::Read(returned) = &mut calls[at].call {
            *returned = value;
        } else {
            // The change did not happen.
            calls.remove(at);
        }
        broken += u32::from(!agrees(&CasRegister, &0, &calls)?);
        Ok(())
    });
    assert!(broken > 500, "changes must often be violations: {broken}");
}

#[test]
fn texts_with_append_agree() {
    let mut seen = [0_u32; 2];
    run(15_000, &steps(4, 10), |steps| {
        let mut plain = calls(&steps, append_call);
        seen[usize::from(agrees(&AppendModel, &Box::from(""), &plain)?)] += 1;
        observe(&AppendModel, Box::from(""), &mut plain, |state| AppendCall::Get(state.clone()));
        prop_assert!(agrees(&AppendModel, &Box::from(""), &plain)?);
        Ok(())
    });
    assert!(seen.iter().all(|count| *count > 1_000), "both answers must be common: {seen:?}");
}

#[test]
fn registers_of_the_last_two_versions_agree() {
    let mut seen = [0_u32; 2];
    run(15_000, &steps(4, 11), |steps| {
        let calls =
            calls(&steps, |step| if step.0 < 5 { RegisterCall::Read(step.1) } else { RegisterCall::Write(step.1) });
        seen[usize::from(agrees(&LastVersions { versions: 2 }, &vec![0], &calls)?)] += 1;
        Ok(())
    });
    assert!(seen.iter().all(|count| *count > 500), "both answers must be common: {seen:?}");
}

/// A register that overwrites as a whole, in the words of the format for tests.
fn text(calls: &[Called<RegisterCall>]) -> String {
    let line = |(at, call): (usize, &Called<RegisterCall>)| {
        let (what, value) = match call.call {
            RegisterCall::Read(0) => ("r", "null".to_owned()),
            RegisterCall::Read(value) => ("r", value.to_string()),
            RegisterCall::Write(value) | RegisterCall::CompareAndSet(_, value) => ("w", value.to_string()),
        };
        let end = call.ended.map_or("] info".to_owned(), |end| format!("{end}]"));
        format!("p{at} {what} x={value} [{}..{end}\n", call.began)
    };
    calls.iter().enumerate().map(line).collect()
}

#[test]
fn delta_is_the_smallest_shift_that_makes_a_register_linearizable() {
    let mut shifted = 0;
    run(6_000, &steps(4, 11), |steps| {
        let mut written = 0;
        let mut calls =
            calls(&steps, |step| if step.0 < 5 { RegisterCall::Read(step.1) } else { RegisterCall::Write(1) });
        for call in &mut calls {
            call.optional = false;
            match &mut call.call {
                RegisterCall::Write(value) => {
                    written += 1;
                    *value = written;
                }
                RegisterCall::Read(value) => *value = written.saturating_sub(*value),
                RegisterCall::CompareAndSet(..) => unreachable!("not made here"),
            }
        }
        calls.retain(|call| call.ended.is_some() || call.call != RegisterCall::Read(0));
        let case = hearsay_checkers::dsl::case(&text(&calls)).unwrap();
        let verdict = judge(&case, &["staleness"], &CheckOptions::default()).unwrap().remove(0);
        if verdict.judgement != Judgement::Holds {
            return Ok(());
        }
        let by_trying = (0..100_u64).find(|shift| {
            let mut shifted = calls.clone();
            // A read that begins earlier is one that begins at 0 at the earliest.
            shifted.iter_mut().filter(|call| matches!(call.call, RegisterCall::Read(_))).for_each(|call| {
                call.began = call.began.saturating_sub(*shift);
            });
            shifted.sort_by_key(|call| call.began);
            linearize(&CasRegister, &[0], &shifted, Limits { budget: &Budget::default() }) == Ended::Linearizable
        });
        prop_assert_eq!(
            by_trying.map(|shift| shift as f64),
            verdict.evidence.get("delta_ms").map(|delta| delta.round()),
            "{}",
            text(&calls)
        );
        shifted += u32::from(by_trying != Some(0));
        Ok(())
    });
    assert!(shifted > 300, "shifts must be common: {shifted}");
}

#[test]
fn a_budget_that_ends_is_unknown_and_says_why() {
    let calls: Vec<Called<RegisterCall>> = (0..60)
        .map(|at| {
            let call =
                if at % 2 == 0 { RegisterCall::Write(at % 5) } else { RegisterCall::CompareAndSet(at % 5, at % 3) };
            Called { call, began: 1 + u64::from(at), ended: Some(100 + u64::from(at)), optional: false }
        })
        .collect();
    let ended = |budget: &Budget| linearize(&CasRegister, &[0], &calls, Limits { budget });
    let steps = Budget { steps_max: 1_000, ..Budget::default() };
    assert_eq!(ended(&steps), Ended::Unknown("The budget of 1000 steps ended.".to_owned()));
    let memory = Budget { memory_bytes_max: 1_000, ..Budget::default() };
    assert_eq!(ended(&memory), Ended::Unknown("The budget of 0 MB of memory ended.".to_owned()));
    let stopped = Budget { stop: Some(hearsay_checkers::StopFn::new(|| true)), ..Budget::default() };
    assert_eq!(ended(&stopped), Ended::Unknown("The time for judging ended.".to_owned()));
}

#[test]
fn too_many_indeterminate_operations_never_give_a_wrong_verdict() {
    let mut calls: Vec<Called<RegisterCall>> = (0..300)
        .map(|at| Called { call: RegisterCall::Write(at + 1), began: u64::from(at), ended: None, optional: false })
        .collect();
    let read = |value, at| Called { call: RegisterCall::Read(value), began: at, ended: Some(at + 1), optional: false };
    let judged =
        |calls: &[Called<RegisterCall>]| linearize(&CasRegister, &[0], calls, Limits { budget: &Budget::default() });
    calls.push(read(7, 400));
    assert_eq!(judged(&calls), Ended::Linearizable);
    // The write of 250 found no room, so it is not known whether it was there.
    calls.push(read(250, 500));
    assert!(matches!(judged(&calls), Ended::Unknown(_)));
}

#[test]
fn histories_of_others_have_their_labels() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
    let mut judged = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let is_other = ["set", "counter", "long-fork", "README"].iter().any(|part| name.contains(part));
        if is_other {
            continue;
        }
        let text = std::fs::read(&path).unwrap();
        let recording = read_recording(text.as_slice(), &ImportOptions::default()).unwrap();
        let case = Case { recording: Some(recording), ..Case::default() };
        let verdict = judge(&case, &["linearizable"], &CheckOptions::default()).unwrap().remove(0);
        let expected = if name.starts_with("good") { Judgement::Holds } else { Judgement::Violated };
        println!("{name}: {} {:#?}", verdict.judgement, verdict.explanation);
        assert_eq!(verdict.judgement, expected, "{name}: {verdict:#?}");
        assert!(verdict.operations.len() <= 9, "a handful: {verdict:#?}");
        judged += 1;
    }
    assert!(judged >= 10, "{judged} histories judged");
}
