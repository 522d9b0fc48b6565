//! Histories from outside: what is accepted, and how mistakes are named.

use std::fs;
use std::path::Path;

use hearsay_checkers::transactions::Level;
use hearsay_checkers::{
    Event, EventType, Function, History, OpIndex, Outcome, ProcessId, checkers, dsl, find, judge, read_jsonl,
};

const GOOD: &str = r#"{"index":0,"time":1000,"type":"invoke","process":3,"f":"write","key":"k1","value":7,"node":"n2"}
{"index":1,"time":1500,"type":"invoke","process":4,"f":"read","key":"k1","value":null}
{"index":2,"time":2000,"type":"ok","process":3,"f":"write","key":"k1","value":7,"node":"n2"}
{"index":3,"time":2500,"type":"ok","process":4,"f":"read","key":"k1","value":7}
{"index":4,"time":2600,"type":"invoke","process":4,"f":"delete","key":"k1","value":null}
{"index":5,"time":9000,"type":"info","process":4,"f":"delete","key":"k1","value":null,"error":"timeout"}
"#;

#[test]
fn reads_events_into_operations() {
    let history = read_jsonl(GOOD.as_bytes()).unwrap();
    let [write, read, delete] = history.operations.as_slice() else { panic!("{history:?}") };
    assert_eq!((write.index, write.value, write.node.as_deref()), (OpIndex(0), Some(7), Some("n2")));
    assert_eq!((write.invoked, write.completed, write.outcome), (1000, Some(2000), Outcome::Ok));
    assert_eq!((read.index, read.f, read.value), (OpIndex(1), Function::Read, Some(7)));
    assert_eq!((delete.outcome, delete.completed, delete.error.as_deref()), (Outcome::Info, None, Some("timeout")));
    assert!(history.notes.is_empty());
}

#[test]
fn keys_in_any_order_and_empty_lines_are_fine() {
    let text = "\n{\"process\": 3, \"index\": 0, \"f\": \"read\", \"time\": 5, \"type\": \"invoke\", \"key\": \"k\\u0031\", \
                \"value\": null}\r\n\n";
    assert_eq!(read_jsonl(text.as_bytes()).unwrap().operations[0].key, "k1");
}

/// Every place at which the recording may have been cut off gives a history, and never a wrong one.
#[test]
fn a_run_that_ended_anywhere_is_readable() {
    let whole = read_jsonl(GOOD.as_bytes()).unwrap();
    for end in 0..GOOD.len() {
        let text = &GOOD[..end];
        let history = read_jsonl(text.as_bytes()).unwrap_or_else(|error| panic!("cut at {end}: {error}"));
        let cut = history.notes.iter().any(|note| note.contains("cut off"));
        let last_line = text.rsplit('\n').next().unwrap();
        assert_eq!(cut, !last_line.is_empty() && !last_line.ends_with('}'), "cut at {end}: {:?}", history.notes);
        for (operation, original) in history.operations.iter().zip(&whole.operations) {
            assert_eq!((operation.index, operation.f), (original.index, original.f));
            assert!(operation == original || operation.outcome == Outcome::Info);
        }
    }
    let half = read_jsonl(GOOD.split_inclusive('\n').take(2).collect::<String>().as_bytes()).unwrap();
    assert_eq!(
        half.notes,
        ["2 operations were still open at the end of the history: they are taken as indeterminate."]
    );
}

#[track_caller]
fn refused(text: &str, problem: &str) {
    let error = read_jsonl(text.as_bytes()).expect_err("a mistake").to_string();
    assert_eq!(error, problem);
}

#[test]
fn malformed_lines_have_line_and_column() {
    let expected = "; expected an event such as {\"index\":0,\"time\":12,\"type\":\"invoke\",\"process\":3,\
                    \"f\":\"write\",\"key\":\"k1\",\"value\":7}";
    refused(
        &GOOD.replace("\"time\":1500", "\"time\":-5"),
        &format!("line 2, column 20: invalid value: integer `-5`, expected u64{expected}"),
    );
    refused(
        &GOOD.replace(
            "\"type\":\"invoke\",\"process\":4,\"f\":\"delete\"",
            "\"type\":\"begin\",\"process\":4,\"f\":\"delete\"",
        ),
        &format!(
            "line 5, column 37: unknown variant `begin`, expected one of `invoke`, `ok`, `fail`, `info`{expected}"
        ),
    );
    refused("not json\n", &format!("line 1, column 2: expected ident{expected}"));
    refused("{\"index\":0}\n", &format!("line 1, column 11: missing field `time`{expected}"));
    let endless = "x".repeat(3 << 20);
    refused(&endless, "line 1, column 1048576: the line is longer than 1048576 bytes: this is no history");
    let mut bytes = GOOD.as_bytes().to_vec();
    bytes[70] = 0xff;
    assert!(read_jsonl(bytes.as_slice()).unwrap_err().to_string().starts_with("line 1, column "));
}

#[test]
fn impossible_sequences_name_the_event() {
    let cases = [
        (
            "\"index\":3",
            "\"index\":9",
            "line 4: event 9: its index should be 3: an event is missing, doubled or out of order",
        ),
        (
            "\"type\":\"invoke\",\"process\":4,\"f\":\"read\"",
            "\"type\":\"invoke\",\"process\":3,\"f\":\"read\"",
            "line 2: event 1: process 3 begins a read while its write (op 0) is open: expected the completion of that first",
        ),
        (
            "\"type\":\"invoke\",\"process\":4,\"f\":\"read\"",
            "\"type\":\"ok\",\"process\":4,\"f\":\"read\"",
            "line 2: event 1: process 4 completes (ok) a read that it never began",
        ),
        (
            "\"type\":\"ok\",\"process\":4,\"f\":\"read\"",
            "\"type\":\"info\",\"process\":4,\"f\":\"read\"",
            "line 5: event 4: process 4 is used again after its indeterminate op 1: expected a process number of its own, \
             since that operation may still take effect",
        ),
        (
            "\"process\":4,\"f\":\"read\",\"key\":\"k1\",\"value\":7",
            "\"process\":4,\"f\":\"read\",\"key\":\"k2\",\"value\":7",
            "line 4: event 3: process 4 completes (ok) a read of k2, but its open operation is the read of k1 (op 1)",
        ),
        (
            "\"time\":2000,\"type\":\"ok\",\"process\":3,\"f\":\"write\",\"key\":\"k1\",\"value\":7",
            "\"time\":2000,\"type\":\"ok\",\"process\":3,\"f\":\"write\",\"key\":\"k1\",\"value\":8",
            "line 3: event 2: process 3 completes a write of 8, but began to write 7 (op 0)",
        ),
        (
            "\"time\":2500",
            "\"time\":1400",
            "line 4: event 3: process 4 completes op 1 at 1400 ns, before it began at 1500 ns",
        ),
        (
            "\"time\":2600",
            "\"time\":2400",
            "line 5: event 4: process 4 begins at 2400 ns, before its operation before ended at 2500 ns",
        ),
        (
            "\"f\":\"write\",\"key\":\"k1\",\"value\":7,\"node\":\"n2\"}\n{\"index\":1",
            "\"f\":\"write\",\"key\":\"k1\",\"value\":null}\n{\"index\":1",
            "line 1: event 0: a write is begun without a value: expected a number",
        ),
    ];
    for (good, bad, problem) in cases {
        assert!(GOOD.contains(good), "{good}");
        refused(&GOOD.replacen(good, bad, 1), problem);
    }
}

#[test]
fn events_alone_are_checked_too() {
    let event = Event {
        index: 0,
        time: 5,
        kind: EventType::Ok,
        process: ProcessId(1),
        f: Function::Read,
        key: "k".to_owned(),
        value: None,
        items: None,
        node: None,
        error: None,
    };
    let error = History::from_events(vec![event]).unwrap_err();
    assert_eq!(error.to_string(), "event 0: process 1 completes (ok) a read that it never began");
}

#[test]
fn reads_that_are_not_ok_read_nothing() {
    let history = dsl::history("p1 r x=7 [0..5] fail\np1 r x=8 [6..9] info").unwrap();
    assert!(history.operations.iter().all(|operation| operation.value.is_none()));
}

#[test]
fn the_text_format_names_mistakes() {
    for (text, problem) in [
        ("p1 w x=5 [0..10]\nq1 w x=5 [0..10]", "line 2: expected a process such as p0 first"),
        ("p1 x x=5 [0..10]", "line 1: `x` is no function: expected r, w or d"),
        ("p1 w x=5 0..10", "line 1: expected times such as [0..10] or [5..]"),
        ("p1 w x=5 [0..]", "line 1: an operation without an end is info"),
        ("p1 w x=5 [0..1] maybe", "line 1: `maybe` is no outcome: expected ok, fail, info or a node such as @n1"),
        ("\nfinal n1 x", "line 2: expected key=value, such as x=7 or x=null"),
    ] {
        assert_eq!(dsl::case(text).unwrap_err(), problem);
    }
}

#[test]
fn every_model_file_is_registered_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/models");
    let mut files: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().replace('_', "-"))
        .collect();
    // Isolation levels are a table of their own.
    files.extend(Level::ALL.map(|level| level.name().to_owned()));
    let mut names: Vec<&str> = checkers().iter().map(|checker| checker.name).collect();
    files.sort();
    names.sort_unstable();
    assert_eq!(files, names);
    for checker in checkers() {
        assert!(checker.meaning.ends_with('.') && !checker.source.is_empty(), "{}", checker.name);
        assert_eq!(find(checker.name).unwrap().name, checker.name);
    }
}

#[test]
fn an_unknown_checker_is_named_with_the_known_ones() {
    let case = dsl::case("p1 w x=5 [0..10]").unwrap();
    let error = judge(&case, &["monotonic-reads", "monotone-reads"], &Default::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("there is no checker `monotone-reads`: the checkers are monotonic-reads, "), "{text}");
}
