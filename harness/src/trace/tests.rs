//! Tests of the tape and of the story: what belongs to an operation is shown, in words that a person can follow.

use std::collections::BTreeSet;

use hearsay_checkers::{Event as HistoryEvent, EventType, Function, History, OpIndex, ProcessId};
use hearsay_core::message::OperationId;
use hearsay_core::{ClientResponse, Key, NodeId, RequestId, Value, Version, WallTime};

use super::*;
use crate::campaign;
use crate::plan::make_plan;
use crate::run::load::Load;
use crate::sim::{Hindrance, Note, Parcel, Say, Settings, Tape, Watch, What, simulate, simulate_with};

fn n(number: u16) -> NodeId {
    NodeId(number)
}

fn tape_of(focus: &Focus) -> Watch {
    Watch { tape: Some(Tape::of(focus.keys.iter().cloned())), ..Watch::default() }
}

fn version(value: &str) -> Version {
    Version { stamp: WallTime(value.parse().unwrap()), value: Some(Value(value.as_bytes().to_vec())) }
}

fn event(index: u64, time: u64, kind: EventType) -> HistoryEvent {
    let (process, f, key, node) = (ProcessId(4), Function::Write, "k7".to_owned(), Some("n1".to_owned()));
    HistoryEvent { index, time, kind, process, f, key, value: Some(311), items: None, node, error: None }
}

/// A write by c4 at n1: n2 takes it late, n3 never; n2 is killed before it has synced.
fn a_write() -> (Tape, Focus, History) {
    const MS: u64 = 1_000_000;
    let key = Key(b"k7".to_vec());
    let write = || vec![Say::Write(OperationId(9), key.clone(), version("311"))];
    let stores = |step, node, batch| {
        let version = Some(version("311"));
        What::Stores { step, node, batch, key: key.clone(), version }
    };
    let happened = [
        (0, What::History(event(0, 0, EventType::Invoke))),
        (0, What::Call { operation: 0, call: 1, slot: 4, node: n(1) }),
        (0, What::Leaves(Parcel::Request(1))),
        (MS, What::Taken { node: n(1), call: 1, request: RequestId(5) }),
        (MS, What::Asked { step: 1, node: n(1), request: RequestId(5) }),
        (MS, stores(1, n(1), 1)),
        (MS, What::Sends { step: 1, from: n(1), to: n(2), number: 21, says: write() }),
        (MS, What::Sends { step: 1, from: n(1), to: n(3), number: 22, says: write() }),
        (2 * MS, What::Synced(n(1), 1)),
        (2 * MS, What::Leaves(Parcel::Message(21))),
        (2 * MS, What::Leaves(Parcel::Message(22))),
        (2 * MS, What::Hindered(Parcel::Message(22), Hindrance::Blocked)),
        (9 * MS, What::Arrives { step: 2, node: n(2), number: 21 }),
        (9 * MS, stores(2, n(2), 7)),
        (9 * MS, What::Sends { step: 2, from: n(2), to: n(1), number: 23, says: vec![Say::Ack(OperationId(9))] }),
        (10 * MS, What::Killed { node: n(2), kept: 6 }),
        (
            11 * MS,
            What::Replies {
                step: 3,
                node: n(1),
                request: RequestId(5),
                response: ClientResponse::Written { stamp: WallTime(311) },
            },
        ),
        (11 * MS, What::Leaves(Parcel::Response(1))),
        (12 * MS, What::History(event(1, 12 * MS, EventType::Ok))),
        (50 * MS, What::Boots { node: n(2), empty: false }),
    ];
    let notes = happened.into_iter().map(|(time, what)| Note { time, what }).collect();
    let events = vec![event(0, 0, EventType::Invoke), event(1, 12 * MS, EventType::Ok)];
    let focus = Focus {
        operations: BTreeSet::from([OpIndex(0)]),
        keys: BTreeSet::from(["k7".to_owned()]),
        span: (0, 60 * MS),
        everything: false,
        why: Vec::new(),
    };
    (Tape::with_notes(notes), focus, History::from_events(events).unwrap())
}

#[test]
fn a_write_is_told_from_the_request_to_the_reply() {
    let (tape, focus, history) = a_write();
    let fault = serde_json::from_value(serde_json::json!({
        "id": "f1", "name": "crash", "nodes": "n2", "from": 10_000_000, "to": 50_000_000,
        "bit": true, "bit_evidence": "", "healed": true, "heal_evidence": "",
    }));
    let fault = fault.expect("a fault report");
    let text = render_text(&tell(&tape, &focus, &history, &[fault]), 100);
    let expected = "\
op 0: write k7=311, process 4 at n1, 0.000000 to 0.012000 s, ok

     seconds     c4      n1      n2      n3
    0.000000     |------>|       |       |      write k7=311
    0.001000     |       *       |       |      n1 stores k7=311 (not yet synced)
    0.002000     |       *       |       |      n1 has synced k7=311
    0.002000     |       |------>|       |      write k7=311 (arrives 7.0 ms later)
    0.002000     |       |-------x       |      write k7=311 (blocked, never arrives)
    0.009000     |       |......>|       |      write k7=311 arrives, 7.0 ms after it left
    0.009000     |       |       *       |      n2 stores k7=311 (not yet synced)
    0.010000     |       |       x       |      n2 is killed and loses k7=311, not synced yet
    0.010000  ================================  f1 crash n2 begins
    0.011000     |<------|               |      done
                 |       |               |      ... 39.0 ms later
    0.050000     |       |       *       |      n2 starts
    0.050000  ================================  f1 crash n2 is healed
";
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn a_chart_that_is_too_long_says_what_is_missing() {
    let (tape, focus, history) = a_write();
    let text = render_text(&tell(&tape, &focus, &history, &[]), 3);
    assert!(text.ends_with("8 more rows: narrow it with --at and --window, or show more with --rows\n"), "{text}");
}

#[test]
fn a_violation_of_a_simulated_run_is_shown_from_write_to_stale_read() {
    let plan = make_plan(&campaign::load("stale-reads").unwrap(), 1);
    let plain = simulate(&plan, Settings::default());
    let report = plain.report(&plan, String::new(), String::new());
    let Some(Ok(case)) = &plain.case else { panic!("a history") };
    let timeout = u64::try_from(Load::of(&plan).timeout().as_nanos()).unwrap();
    let focus = find_focus(&Around::FirstViolation, (None, None), case, &report, timeout).unwrap();
    assert!(focus.operations.len() >= 2, "{focus:?}");

    let taped = simulate_with(&plan, Settings::default(), tape_of(&focus));
    assert_eq!(plain.run_hash(), taped.run_hash(), "a tape must not change the run");
    let chart = tell(&taped.tape.unwrap(), &focus, &case.history, &report.faults);
    for operation in case.history.operations.iter().filter(|operation| focus.operations.contains(&operation.index)) {
        let at = |time: u64| chart.rows.iter().find(|row| row.time == time && matches!(row.shape, Shape::Arrow { .. }));
        let asked = at(operation.invoked).unwrap_or_else(|| panic!("no request of {operation:?}"));
        assert!(asked.text.contains(&operation.key), "{asked:?}");
        let answered = chart.rows.iter().any(
            |row| matches!(row.shape, Shape::Arrow { arrives, .. } if arrives.is_some() && arrives == operation.completed),
        );
        assert!(answered, "no reply of {operation:?}");
    }
    assert!(chart.rows.is_sorted_by_key(|row| row.time));
    let windowed = find_focus(&Around::Key("k0".to_owned()), (Some(3_000_000_000), Some(50_000_000)), case, &report, 0);
    let windowed = windowed.unwrap();
    assert!(windowed.everything && !windowed.operations.is_empty());
    for (around, expected) in [
        (Around::Operation(u64::MAX), "has no operation"),
        (Around::Key("nobody".to_owned()), "it knows 10 keys, such as k0"),
    ] {
        let error = find_focus(&around, (None, None), case, &report, timeout).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn two_runs_that_part_are_shown_at_the_first_event_that_differs() {
    let mut plan = make_plan(&campaign::load("stale-reads").unwrap(), 2);
    plan.operations.truncate(1_500);
    let same = Settings::default();
    let (runs, none) = run_both((&plan, same), (&plan, same));
    assert_eq!((runs[0].run_hash(), none), (runs[1].run_hash(), None));

    let altered_from = 9_000;
    let altered = Settings { altered_from: Some(altered_from), ..same };
    let (runs, difference) = run_both((&plan, same), (&plan, altered));
    assert_ne!(runs[0].run_hash(), runs[1].run_hash());
    let difference = difference.expect("a microsecond is a difference");
    let [first, second] = [&difference.first, &difference.second].map(|event| event.as_ref().unwrap());
    assert!(first.time.abs_diff(second.time) <= 1_000_000, "{difference:?}");
    assert!(difference.position > 1_000 && difference.before.is_some(), "{difference:?}");
    // What both have done before it must be what the first alone does, event for event.
    let alone = words_at(&plan, same, difference.position).unwrap();
    assert_eq!(&alone, first);
    let told = difference.render(["one", "other"]);
    assert!(
        told.contains("the first that differs, one\n") && told.contains("the first that differs, other\n"),
        "{told}"
    );
    assert!(!first.words.is_empty() && told.contains(&first.words[0][..20.min(first.words[0].len())]), "{told}");
}

#[test]
fn files_of_events_tell_where_two_runs_part() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = make_plan(&campaign::load("stale-reads").unwrap(), 3);
    plan.operations.truncate(600);
    let same = Settings::default();
    let altered = Settings { altered_from: Some(4_000), ..same };
    let header = EventsHeader::new(&plan.campaign, plan.seed, folder.path().join("plan.yaml"));
    let record = |name: &str, settings| {
        let path = folder.path().join(name);
        let hash = record_events(&plan, settings, &path, &header).unwrap().run_hash().to_owned();
        (EventFile::open(&path).unwrap().unwrap(), hash)
    };
    let ((mut one, hash), (mut again, _), (mut other, _)) =
        (record("one", same), record("again", same), record("other", altered));
    assert_eq!(hash, simulate(&plan, same).run_hash(), "writing events must not change the run");
    assert_eq!(both_files(&mut one, &mut again).unwrap(), None);
    let mut one = record("one", same).0;
    let recorded = both_files(&mut one, &mut other).unwrap().expect("they differ");
    let (_, now) = run_both((&plan, same), (&plan, altered));
    assert_eq!(recorded.position, now.unwrap().position);
}
