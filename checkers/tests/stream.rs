//! Files judged as they are read give the verdicts that histories in memory give, whatever memory is allowed.

use std::fmt::Write as _;

use hearsay_checkers::import::{Format, ImportOptions, read_recording};
use hearsay_checkers::stream::{ForeignFile, JudgedForeign, can_judge, judge_jsonl, judge_records};
use hearsay_checkers::{
    Budget, Case, CheckOptions, Event, EventType, Function, Judgement, ProcessId, Verdict, checkers, judge,
    registers_from_jsonl,
};
use proptest::prelude::*;

/// The models of registers.
fn models() -> Vec<&'static str> {
    checkers().iter().map(|checker| checker.name).filter(|name| can_judge(name) && *name != "staleness").collect()
}

const KEYS: [&str; 3] = ["x", "y", "z"];

fn text(mut events: Vec<Event>) -> Vec<u8> {
    let mut text = Vec::new();
    for (index, event) in (0..).zip(&mut events) {
        event.index = index;
        event.write_json_line(&mut text);
    }
    text
}

/// Three clients on registers that work, each operation at its end; where `stale` says so a read returns an older value.
/// That many events in a row have one time.
fn history(steps: &[(usize, u8)], stale: &[usize], at_once: u64) -> Vec<Event> {
    let mut open: [Option<(Function, usize, Option<u64>)>; 3] = [None; 3];
    let mut versions: [Vec<Option<u64>>; 3] = Default::default();
    let mut processes = [0, 1, 2];
    let (mut next, mut reads, mut events) = (0, 0, Vec::new());
    for (client, choice) in steps {
        let (kind, (f, key, value)) = match open[*client].take() {
            None => {
                let f = if choice % 2 == 0 { Function::Write } else { Function::Read };
                next += u64::from(f == Function::Write);
                let begun = (f, usize::from(*choice) % 3, (f == Function::Write).then_some(next));
                open[*client] = Some(begun);
                (EventType::Invoke, begun)
            }
            Some((f, key, value)) if *choice == 30 => (EventType::Info, (f, key, value)),
            Some((f, key, value)) if *choice == 31 => (EventType::Fail, (f, key, value)),
            Some((Function::Read, key, _)) => {
                reads += 1;
                let back = usize::from(stale.contains(&reads));
                let read = versions[key].iter().rev().nth(back).copied().flatten();
                (EventType::Ok, (Function::Read, key, read))
            }
            Some((f, key, value)) => {
                versions[key].push(value);
                (EventType::Ok, (f, key, value))
            }
        };
        let (time, process) = (10 * (events.len() as u64 / at_once), ProcessId(processes[*client]));
        let (key, node, error) = (KEYS[key].to_owned(), None, None);
        events.push(Event { index: 0, time, kind, process, f, key, value, items: None, node, error });
        if kind == EventType::Info {
            processes[*client] += 3;
        }
    }
    events
}

fn steps(max: usize) -> impl Strategy<Value = Vec<(usize, u8)>> {
    proptest::collection::vec((0..3_usize, 0..32_u8), 0..max)
}

fn options(memory_bytes_max: u64) -> CheckOptions {
    CheckOptions { budget: Budget { memory_bytes_max, ..Budget::default() }, ..CheckOptions::default() }
}

fn in_memory(text: &[u8]) -> Vec<Verdict> {
    let case = Case { registers: Some(registers_from_jsonl(text).unwrap()), ..Case::default() };
    judge(&case, &models(), &CheckOptions::default()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_room_the_verdicts_are_the_same(steps in steps(80), stale in proptest::collection::vec(1..20_usize, 0..2), at_once in 1..6_u64) {
        let text = text(history(&steps, &stale, at_once));
        let streamed = judge_jsonl(|| Ok(text.as_slice()), &models(), &CheckOptions::default()).unwrap();
        for (streamed, expected) in streamed.verdicts.iter().zip(in_memory(&text)) {
            // One pass counts no evidence within a session that only its order, and not its times, gives.
            if at_once == 1 {
                prop_assert_eq!(streamed, &expected, "{}", String::from_utf8_lossy(&text));
            }
            prop_assert_eq!(streamed.judgement, expected.judgement, "{}", String::from_utf8_lossy(&text));
            prop_assert_eq!(&streamed.operations, &expected.operations, "{}", String::from_utf8_lossy(&text));
        }
    }

    #[test]
    fn without_room_a_verdict_is_the_same_or_unknown(steps in steps(80), stale in proptest::collection::vec(1..20_usize, 0..2), at_once in 1..6_u64, memory in 0..40_000_u64) {
        let text = text(history(&steps, &stale, at_once));
        let streamed = judge_jsonl(|| Ok(text.as_slice()), &models(), &options(memory)).unwrap();
        for (streamed, expected) in streamed.verdicts.iter().zip(in_memory(&text)) {
            let is_fine = streamed.judgement == expected.judgement || streamed.judgement == Judgement::Unknown;
            prop_assert!(is_fine, "{:#?}\n{:#?}\n{}", streamed, expected, String::from_utf8_lossy(&text));
            prop_assert!(streamed.judgement != Judgement::Unknown || !streamed.explanation.is_empty());
        }
    }
}

/// The same history as another system would write it: with a nemesis, comments, processes that go on after an indeterminate
/// operation, pairs of key and value or none, values that are words, or registers that begin as 0.
fn edn(events: &[Event], pairs: bool, words: bool, zero: bool) -> String {
    let mut text = "; a recording\n{:process :nemesis, :type :info, :f :start, :value [:cut 1]}\n".to_owned();
    for event in events {
        let value = match event.value {
            Some(value) if words => format!("\"v{value}\""),
            Some(value) => (value - u64::from(zero)).to_string(),
            None if zero && event.f == Function::Read && event.kind == EventType::Ok => "0".to_owned(),
            None => "nil".to_owned(),
        };
        let value = match (pairs, event.kind) {
            (true, EventType::Info) => ":timed-out".to_owned(),
            (true, _) => format!("[\"{}\" {value}]", event.key),
            (false, _) => format!("{value}, :key :{}", event.key),
        };
        let (process, kind, f) = (event.process.0 % 3, event.kind.as_str(), event.f.as_str());
        let _ = writeln!(text, "{{:process {process}, :type :{kind}, :f :{f}, :value {value}}}");
    }
    text
}

fn judge_edn(text: &str, import: ImportOptions, memory_bytes_max: u64) -> JudgedForeign {
    let file = ForeignFile { open: || Ok(text.as_bytes()), import, bytes: text.len() as u64 };
    judge_records(file, &models(), &options(memory_bytes_max)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn other_systems_are_judged_as_in_memory(steps in steps(80), stale in proptest::collection::vec(1..20_usize, 0..2), form in (any::<bool>(), any::<bool>(), any::<bool>()), memory in 0..40_000_u64) {
        let (pairs, words, zero) = form;
        let text = edn(&history(&steps, &stale, 1), pairs, words, zero && !words);
        let import = ImportOptions { format: Some(Format::Edn), keyed: pairs.then_some(true) };
        let recording = read_recording(text.as_bytes(), &import).unwrap();
        let notes = recording.notes.clone();
        let case = Case { recording: Some(recording), ..Case::default() };
        let whole = judge(&case, &models(), &CheckOptions::default()).unwrap();
        let streamed = judge_edn(&text, import, 2 << 30);
        prop_assert!(notes.iter().all(|note| streamed.judged.notes.contains(note)), "{:?} {:?}", notes, streamed.judged.notes);
        for (streamed, whole) in streamed.judged.verdicts.iter().zip(&whole) {
            let both = (streamed.judgement, whole.judgement);
            // Words are ordered by their operations in memory, by one pass here: either may know more.
            let may_differ = words || whole.checker == "linearizable";
            let is_one_unknown = may_differ && (both.0 == Judgement::Unknown || both.1 == Judgement::Unknown);
            prop_assert!(both.0 == both.1 || is_one_unknown, "{streamed:#?}\n{whole:#?}\n{text}");
            if both == (Judgement::Violated, Judgement::Violated) && whole.checker != "linearizable" {
                prop_assert_eq!(&streamed.assumptions, &whole.assumptions, "{}", text);
            }
        }
        for (little, whole) in judge_edn(&text, import, memory).judged.verdicts.iter().zip(&streamed.judged.verdicts) {
            let is_fine = little.judgement == whole.judgement || little.judgement == Judgement::Unknown;
            prop_assert!(is_fine, "{little:#?}\n{whole:#?}\n{text}");
        }
    }
}

#[test]
fn what_is_no_stream_of_registers_is_unknown_with_the_reason_and_the_mend() {
    let record =
        |process: &str, kind: &str, f: &str| format!("{{:process {process}, :type :{kind}, :f :{f}, :value 1}}\n");
    for (text, why) in [
        (record("0", "invoke", "cas"), "Line 1: `cas` is no function of a register"),
        (record("0", "ok", "read"), "Line 1: process 0 completes read, which it never began."),
        (record("nil", "invoke", "read"), "Line 1: the record has no process."),
        (record("0", "invoke", "read") + &record("0", "invoke", "read"), "Line 2: process 0 begins read while"),
        (record("0", "invoke", "read") + &record("0", "ok", "write"), "Line 2: process 0 completes write, but"),
    ] {
        let judged = judge_edn(&text, ImportOptions::default(), 1_000_000).judged;
        for verdict in &judged.verdicts {
            let told = verdict.explanation.join(" ");
            assert_eq!(verdict.judgement, Judgement::Unknown);
            assert!(told.contains(why) && told.contains("more than the 1000 kB allowed: allow more"), "{told}");
        }
        assert_eq!(judged.verdicts.len(), models().len());
    }
}

/// A history of one key with a stale read in its middle; it is what a million operations look like, only smaller.
fn with_a_stale_read(keys: usize) -> Vec<u8> {
    let mut events = Vec::new();
    let mut last = [None; 3];
    for operation in 0..3_000_u64 {
        let key = operation as usize / 2 % keys;
        let f = if operation % 2 == 0 { Function::Write } else { Function::Read };
        let asked = (f == Function::Write).then_some(operation);
        for kind in [EventType::Invoke, EventType::Ok] {
            if kind == EventType::Ok && asked.is_some() {
                last[key] = asked;
            }
            let is_result = f == Function::Read && kind == EventType::Ok;
            let value = if is_result && operation == 1_501 {
                Some(0)
            } else if is_result {
                last[key]
            } else {
                asked
            };
            let (time, process) = (10 * events.len() as u64, ProcessId(operation % 5));
            let (key, node, error) = (KEYS[key].to_owned(), None, None);
            events.push(Event { index: 0, time, kind, process, f, key, value, items: None, node, error });
        }
    }
    text(events)
}

#[test]
fn a_contradiction_is_told_in_less_memory_than_its_key_takes() {
    let text = with_a_stale_read(1);
    let judged = judge_jsonl(|| Ok(text.as_slice()), &["linearizable", "regular"], &options(100_000)).unwrap();
    let [linearizable, regular] = judged.verdicts.as_slice() else { panic!("two verdicts") };
    assert_eq!(linearizable.judgement, Judgement::Violated);
    let told = linearizable.explanation.join("\n");
    assert!(told.contains("read 0") && told.contains("(op 3002)") && told.contains("first contradiction"), "{told}");
    assert_eq!(linearizable.evidence["operations_judged"], 3_000.0);
    assert_eq!(regular.judgement, Judgement::Unknown);
    let told = regular.explanation.join("\n");
    assert!(told.contains("takes 2100 kB for 3000 operations, more than the 100 kB allowed"), "{told}");
    assert_eq!(judged.operations, 3_000);
}

#[test]
fn keys_are_judged_in_parts_where_all_do_not_fit() {
    let text = with_a_stale_read(3);
    let models = ["linearizable", "regular", "causal"];
    let judged = judge_jsonl(|| Ok(text.as_slice()), &models, &options(1_000 * 700)).unwrap();
    let whole = judge_jsonl(|| Ok(text.as_slice()), &models, &CheckOptions::default()).unwrap();
    assert_eq!((judged.passes, whole.passes), (4, 2));
    for (in_parts, whole) in judged.verdicts.iter().zip(&whole.verdicts).take(2) {
        assert_eq!(in_parts, whole);
        assert_eq!(in_parts.judgement, Judgement::Violated);
    }
    let causal = &judged.verdicts[2];
    assert_eq!((causal.judgement, whole.verdicts[2].judgement), (Judgement::Unknown, Judgement::Violated));
    assert!(causal.explanation.join(" ").contains("all of it at once takes 2100 kB for 3000 operations"), "{causal:?}");
}

#[test]
fn what_needs_a_whole_run_is_said_so_and_mistakes_have_a_line() {
    let text = with_a_stale_read(1);
    let judged = judge_jsonl(|| Ok(text.as_slice()), &["convergence"], &CheckOptions::default()).unwrap();
    assert_eq!(judged.verdicts[0].judgement, Judgement::Unknown);
    let wrong = judge_jsonl(|| Ok(&b"{}\n"[..]), &["linearizable"], &CheckOptions::default()).unwrap_err();
    assert!(wrong.to_string().starts_with("line 1, column"), "{wrong}");
    assert!(judge_jsonl(|| Ok(text.as_slice()), &["strong"], &CheckOptions::default()).is_err());
}
