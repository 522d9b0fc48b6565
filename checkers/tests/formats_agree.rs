//! One history in four forms gives one verdict: as this program's own file, read whole, and as JSON, EDN and log lines of
//! another system, whose order of records is their order in time. Reads return what registers that work would, or something
//! else now and then; some operations are indeterminate, some fail, some delete.

use hearsay_checkers::export::{ExportFormat, write_recording};
use hearsay_checkers::import::{Format, ImportOptions, read_recording};
use hearsay_checkers::stream::{ForeignFile, can_judge, judge_records};
use hearsay_checkers::{
    Budget, Case, CheckOptions, Event, EventType, Function, History, Judgement, ProcessId, checkers, judge,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// The models of registers.
fn models() -> Vec<&'static str> {
    checkers().iter().map(|checker| checker.name).filter(|name| can_judge(name) && *name != "staleness").collect()
}

/// Client, key, what, how far back a read looks, how it ends.
type Step = (usize, usize, u8, usize, u8);

/// Each step begins what its client does next, or ends what it does. The time of an event is its index.
fn events(steps: &[Step], deletes: bool) -> Vec<Event> {
    let mut open: [Option<(Function, usize, Option<u64>)>; 3] = [None; 3];
    let mut processes = [0, 1, 2];
    let mut versions: [Vec<Option<u64>>; 2] = [vec![None], vec![None]];
    let (mut written, mut events) = (0, Vec::new());
    for (client, key, what, back, end) in steps.iter().copied() {
        let (kind, (f, key, value)) = match open[client].take() {
            None => {
                let f = match what {
                    0 if deletes => Function::Delete,
                    0..5 => Function::Write,
                    _ => Function::Read,
                };
                written += u64::from(f == Function::Write);
                let begun = (f, key, (f == Function::Write).then_some(written));
                open[client] = Some(begun);
                (EventType::Invoke, begun)
            }
            Some((f, key, value)) => {
                let kind = match end {
                    0 => EventType::Info,
                    1 => EventType::Fail,
                    _ => EventType::Ok,
                };
                let value = match f {
                    Function::Read if kind != EventType::Ok => None,
                    Function::Read => {
                        // Most reads are of the newest.
                        let back = back.saturating_sub(5).min(versions[key].len() - 1);
                        versions[key][versions[key].len() - 1 - back]
                    }
                    _ if kind == EventType::Fail => value,
                    _ => {
                        versions[key].push(value);
                        value
                    }
                };
                (kind, (f, key, value))
            }
        };
        let index = events.len() as u64;
        events.push(Event {
            index,
            time: index,
            kind,
            process: ProcessId(processes[client]),
            f,
            key: ["x", "y"][key].to_owned(),
            value,
            items: None,
            node: None,
            error: None,
        });
        if kind == EventType::Info {
            processes[client] += 3;
        }
    }
    events
}

#[test]
fn verdicts_do_not_depend_on_the_form() {
    let models = models();
    let step = (0..3_usize, 0..2_usize, 0..10_u8, 0..8_usize, 0..24_u8);
    let drawn = (proptest::collection::vec(step, 4..80), any::<bool>(), 0..60_000_u64);
    let said = std::cell::RefCell::new(vec![[0_u32; 3]; models.len()]);
    let mut runner = TestRunner::new(Config { cases: 2_000, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&drawn, |(steps, deletes, little)| {
        let events = events(&steps, deletes);
        let mut lines = Vec::new();
        events.iter().for_each(|event| event.write_json_line(&mut lines));
        let named = Case { history: History::from_events(events).unwrap(), ..Case::default() };
        let expected = judge(&named, &models, &CheckOptions::default()).unwrap();
        for (verdict, said) in expected.iter().zip(&mut *said.borrow_mut()) {
            said[verdict.judgement as usize] += 1;
        }
        let json = ImportOptions { format: Some(Format::Json), keyed: None };
        let own = read_recording(lines.as_slice(), &json).unwrap();
        for form in ExportFormat::ALL {
            let mut text = Vec::new();
            write_recording(&own, form, &mut text).unwrap();
            let format = match form {
                ExportFormat::Jsonl => Format::Json,
                ExportFormat::Edn => Format::Edn,
                ExportFormat::Text => Format::Log,
            };
            // The text has keys as pairs with values only.
            let keyed = (form == ExportFormat::Text).then_some(true);
            let read = read_recording(text.as_slice(), &ImportOptions { format: Some(format), keyed }).unwrap();
            let foreign = Case { recording: Some(read), ..Case::default() };
            let whole = judge(&foreign, &models, &CheckOptions::default()).unwrap();
            // As it is read, with all the memory there is and with next to none.
            for memory_bytes_max in [2 << 30, little] {
                let budget = Budget { memory_bytes_max, ..Budget::default() };
                let options = CheckOptions { budget, ..CheckOptions::default() };
                let import = ImportOptions { format: None, keyed };
                let file = ForeignFile { open: || Ok(text.as_slice()), import, bytes: text.len() as u64 };
                let streamed = judge_records(file, &models, &options).unwrap();
                prop_assert_eq!(streamed.format, format);
                for (streamed, whole) in streamed.judged.verdicts.iter().zip(&whole) {
                    let both = [streamed.judgement, whole.judgement];
                    let may_be_unknown = memory_bytes_max == little || whole.checker == "linearizable";
                    let is_same = both[0] == both[1] || (may_be_unknown && both[0] == Judgement::Unknown);
                    let text = String::from_utf8_lossy(&text);
                    prop_assert!(is_same, "{form:?} of {memory_bytes_max}: {streamed:#?}\n{whole:#?}\n{text}");
                    if both[0] == Judgement::Holds {
                        prop_assert_eq!(&streamed.evidence, &whole.evidence, "{}", text);
                    }
                }
            }
            for (found, expected) in whole.iter().zip(&expected) {
                // Counting what is evidence may differ where values are ordered in another way.
                let both = [found.judgement, expected.judgement];
                let is_same =
                    both[0] == both[1] || (!both.contains(&Judgement::Violated) && found.checker == "linearizable");
                let text = String::from_utf8_lossy(&text);
                prop_assert!(is_same, "{form:?} {}: {found:#?}\n{expected:#?}\n{text}", found.checker);
            }
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    for (model, said) in models.iter().zip(said.take()) {
        println!("{model}: holds, violated, unknown: {said:?}");
        let [holds, violated, _] = said;
        assert!(holds > 100 && violated > 100, "{model} says hardly ever one of both: {said:?}");
    }
}
