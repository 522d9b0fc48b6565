//! Files of other systems: every shape of the formats, every mistake with its place, and bytes that are no history at all.

use std::io::Read;
use std::path::PathBuf;

use hearsay_checkers::export::{ExportFormat, write_recording};
use hearsay_checkers::import::{Format, ImportOptions, read_recording, read_transactions, stream_records};
use hearsay_checkers::record::{Datum, Process, Recording};
use hearsay_checkers::transactions::TransactionHistory;
use hearsay_checkers::{EventType, Outcome};
use proptest::prelude::*;

fn read(text: &str) -> Recording {
    read_recording(text.as_bytes(), &ImportOptions::default()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Gives one byte at a time, so that every form goes on beyond what is known.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = usize::from(!self.0.is_empty() && !buffer.is_empty());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

fn values(recording: &Recording) -> Vec<String> {
    recording.records.iter().map(|record| record.value.to_string()).collect()
}

#[test]
fn all_samples_are_read() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
    let mut formats = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "md") {
            continue;
        }
        let file = std::fs::read(&path).unwrap();
        let recording = read_recording(file.as_slice(), &ImportOptions::default()).unwrap();
        let operations = recording.operations().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(operations.all.len() >= 2, "{}", path.display());
        formats.extend(recording.format);
    }
    for format in [Format::Edn, Format::Log] {
        assert!(formats.contains(&format), "{format}");
    }
}

const MAPS: &str = "{:process 3, :type :invoke, :f :cas, :value [2 3]}\n{:value [2 3] :type :ok :f :cas :process 3}\n\
                    {:process :nemesis, :type :info, :f :start, :value \"cut [:n1 #[:n2]]\"}\n";

#[test]
fn edn_comes_in_lines_lists_and_vectors() {
    let lines = read(MAPS);
    assert_eq!(lines.format, Some(Format::Edn));
    assert_eq!(values(&lines), ["[2 3]", "[2 3]", "\"cut [:n1 #[:n2]]\""]);
    let [first, second, nemesis] = lines.records.as_slice() else { panic!("{lines:?}") };
    assert_eq!((first.kind, &first.process, first.f.as_ref()), (EventType::Invoke, &Process::Client(3), "cas"));
    assert_eq!((first.index, first.line, second.index, second.line, first.time), (0, 1, 1, 2, None));
    assert_eq!(nemesis.process, Process::Named("nemesis".into()));
    assert_eq!(lines.operations().unwrap().all.len(), 1);
    for text in [
        format!("[{MAPS}]"),
        format!("({MAPS})"),
        format!("; written by hand\n#_{{:an example}} [\n{MAPS} ; the end\n #_ #_ 1 2 ]\n; bye"),
        MAPS.replace("{:process 3", "#jepsen.history.Op{:process 3").replace("}\n", "},\n"),
        format!("\u{feff}{MAPS}"),
        MAPS.replace('\n', "\r\n"),
        MAPS.replace(", ", "\n   ,,"),
    ] {
        let other = read(&text);
        assert_eq!((values(&other), other.notes.len()), (values(&lines), 0), "{text}");
        let trickled = read_recording(Trickle(text.as_bytes()), &ImportOptions::default()).unwrap();
        assert_eq!(trickled.records, other.records, "{text}");
    }
}

#[test]
fn edn_values_are_kept_as_data() {
    for (text, value) in [
        ("nil", Datum::Nil),
        ("-12", Datum::Int(-12)),
        ("+7", Datum::Int(7)),
        ("-9223372036854775808", Datum::Int(i64::MIN)),
        ("9223372036854775808", Datum::Exact("9223372036854775808".into())),
        ("5N", Datum::Int(5)),
        ("123456789012345678901234567890N", Datum::Exact("123456789012345678901234567890N".into())),
        ("2/3", Datum::Exact("2/3".into())),
        ("1.50M", Datum::Exact("1.50M".into())),
        ("-1.5e3", Datum::Float(-1500.0)),
        ("##-Inf", Datum::Float(f64::NEG_INFINITY)),
        ("##NaN", Datum::Float(f64::NAN)),
        ("\\a", Datum::Char('a')),
        ("\\newline", Datum::Char('\n')),
        ("\\u00e9", Datum::Char('é')),
        ("\\)", Datum::Char(')')),
        (r#""a\"b\\\u0041\n\101é""#, Datum::text("a\"b\\A\nAé")),
        (r#""\ud83d\ude00""#, Datum::text("😀")),
        (":ns/name", Datum::keyword("ns/name")),
        ("-", Datum::Symbol("-".into())),
        ("a.b/c", Datum::Symbol("a.b/c".into())),
        ("(1 [2] nil)", Datum::List(vec![Datum::Int(1), Datum::numbers([2]), Datum::Nil])),
        ("#{3 1 2}", Datum::Set(vec![Datum::Int(1), Datum::Int(2), Datum::Int(3)])),
        ("{:b 2 :a 1}", Datum::Map(vec![(Datum::keyword("a"), Datum::Int(1)), (Datum::keyword("b"), Datum::Int(2))])),
        ("#:x{:a 1}", Datum::Map(vec![(Datum::keyword("x/a"), Datum::Int(1))])),
        ("#inst \"2020\"", Datum::Tagged("inst".into(), Box::new(Datum::text("2020")))),
        ("#my.Type[1]", Datum::Tagged("my.Type".into(), Box::new(Datum::numbers([1])))),
        ("^{:m 1} [1 #_2 3]", Datum::numbers([1, 3])),
    ] {
        let recording = read(&format!("{{:type :ok :process 1 :f :read :value {text}}}"));
        assert_eq!(recording.records[0].value, value, "{text}");
        let again = read(&format!("{{:type :ok :process 1 :f :read :value {}}}", recording.records[0].value));
        assert_eq!(again.records[0].value, value, "{text} written as {}", recording.records[0].value);
    }
}

#[test]
fn json_comes_in_lines_and_arrays() {
    let text = r#"{"index":4,"time":9,"type":"invoke","process":1,"f":"txn","value":[["append",3,1],["r",3,null]]}
{"f":"txn","process":1,"type":"ok","value":[["append",3,1],["r",3,[1,2.5e1,-7]]],"index":5,"time":12,"error":null}
{"type":"info","process":"nemesis","f":"st\u0061rt","value":{"b":true,"a":"\ud83d\ude00\n"}}
"#;
    let lines = read(text);
    assert_eq!(lines.format, Some(Format::Json));
    let expected =
        [r#"[["append" 3 1] ["r" 3 nil]]"#, r#"[["append" 3 1] ["r" 3 [1 25.0 -7]]]"#, r#"{"a" "😀\n", "b" true}"#];
    assert_eq!(values(&lines), expected);
    assert_eq!((lines.records[0].index, lines.records[0].time, lines.records[2].index), (4, Some(9), 2));
    assert_eq!(lines.records[2].f.as_ref(), "start");
    let array = format!("[{}]", text.trim_end().replace('\n', ",\n"));
    assert_eq!(values(&read(&array)), expected);
    let trickled = read_recording(Trickle(array.as_bytes()), &ImportOptions::default()).unwrap();
    assert_eq!(values(&trickled), expected);
}

#[test]
fn log_lines_have_prefixes_errors_and_the_nemesis() {
    let text = "starting up: 3 nodes\n\
        INFO  jepsen.util - 0\t:invoke\t:read\tnil\n\
        2016-01-02 03:04:05,678 INFO [worker] jepsen.util: 1\t:invoke\t:cas\t[1 2]\n\
        INFO  jepsen.util - :nemesis\t:info\t:start\t\"Cut off {n1 [n2]}\"\n\
        0   :fail   :read   nil   :timed-out\n\
        1\t:info\t:cas\t#<IOException: no>\r\n\
        2\t:invoke\t:write\t4\tindeterminate: yes\n";
    let recording = read(text);
    assert_eq!(recording.format, Some(Format::Log));
    assert_eq!(values(&recording), ["nil", "[1 2]", "\"Cut off {n1 [n2]}\"", "nil", "\"#<IOException: no>\"", "4"]);
    assert_eq!(recording.notes, ["1 line holds no operation, and nothing was taken from there."]);
    assert_eq!(recording.records[3].error.as_deref(), Some(&Datum::keyword("timed-out")));
    assert_eq!(recording.records[5].error.as_deref(), Some(&Datum::text("indeterminate: yes")));
    let operations = recording.operations().unwrap();
    assert_eq!(
        operations.all.iter().map(|operation| operation.outcome).collect::<Vec<_>>(),
        [Outcome::Fail, Outcome::Info, Outcome::Info]
    );
}

#[test]
fn transaction_formats_become_micro_operations() {
    let plume = "w(1,5,0,0)\nr(1,5,1,1)\nr(2,0,1,1)\nw(2,7,0,0)\nw(9,9,1,-1)\nw(1,6,1,2)\n";
    let expected = ["ok 0 [[:w 1 5] [:w 2 7]]", "ok 1 [[:r 1 5] [:r 2 nil]]", "fail 1 [[:w 9 9]]", "ok 1 [[:w 1 6]]"];
    let shown = |recording: &Recording| -> Vec<String> {
        assert!(recording.no_real_time);
        let show = |record: &hearsay_checkers::record::Record| {
            let Process::Client(session) = record.process else { panic!("{record:?}") };
            assert_eq!(record.f.as_ref(), "txn");
            format!("{} {session} {}", record.kind.as_str(), record.value)
        };
        recording.records.iter().map(show).collect()
    };
    let recording = read(plume);
    assert_eq!(recording.format, Some(Format::Plume));
    assert_eq!(shown(&recording), expected);
    let operations = recording.operations().unwrap();
    assert!(operations.all.iter().all(|operation| operation.began == 0 && operation.ended == Some(4)));
    assert!(operations.notes.is_empty());

    let awdit = read("w 0 1\n-----\nw 0 2\n=====\nr 0 2\nw 1 1\n=====\nr 0 1\nr 1 1");
    assert_eq!(awdit.format, Some(Format::Awdit));
    assert_eq!(
        shown(&awdit),
        ["ok 0 [[:w 0 1]]", "ok 0 [[:w 0 2]]", "ok 1 [[:r 0 2] [:w 1 1]]", "ok 2 [[:r 0 1] [:r 1 1]]"]
    );

    let of = |write: &str, success: bool| format!(r#"{{"write":{write},"variable":1,"value":5,"success":{success}}}"#);
    let dbcop = format!(
        r#"{{"params":{{"id":0}},"info":"x","data":[[{{"events":[{},{}],"success":true}}],[{{"events":[{}],"success":false}}]]}}"#,
        of("true", true),
        of("false", true),
        of("true", true)
    );
    let recording = read(&dbcop);
    assert_eq!(recording.format, Some(Format::Dbcop));
    assert_eq!(shown(&recording), ["ok 0 [[:w 1 5] [:r 1 5]]", "fail 1 [[:w 1 5]]"]);
    let later = r#"[[{"events":[{"Write":{"variable":0,"version":1}},{"Read":{"variable":1,"version":null}}],"committed":true},
        {"events":[["w",0,2]],"committed":false}]]"#;
    assert_eq!(shown(&read(later)), ["ok 0 [[:w 0 1] [:r 1 nil]]", "fail 0 [[:w 0 2]]"]);
}

/// What is said of a file instead of what is expected, if it differs.
fn refused(text: &str, format: Option<Format>, expected: &str) -> Option<String> {
    let error = |bytes: &mut dyn Read, format| {
        let read = read_recording(bytes, &ImportOptions { format, keyed: None });
        read.map_or_else(|error| error.to_string(), |_| "nothing".to_owned())
    };
    let whole = error(&mut text.as_bytes(), format);
    let trickled = error(&mut Trickle(text.as_bytes()), format.or(Format::guess(text.as_bytes())));
    let same = trickled == whole || format.or(Format::guess(text.as_bytes())).is_none();
    (!whole.starts_with(expected) || !same)
        .then(|| format!("\nexpected: {expected}\nsaid:     {whole}\nor:       {trickled}"))
}

#[test]
fn mistakes_have_line_and_column() {
    let mut wrong = Vec::new();
    let mut check = |text: &str, format: Option<Format>, expected: &str| wrong.extend(refused(text, format, expected));
    let edn = Some(Format::Edn);
    check(&MAPS.replace(":ok", ":okay"), None, "line 2, column 21: :okay is no type of an event: expected invoke, ok");
    check(&MAPS.replace(":type :ok", ""), None, "line 2, column 1: this event has no type");
    check(
        &MAPS.replace("[2 3] :type", "[2 3} :type"),
        None,
        "line 2, column 13: `}` where the `[` before is not closed",
    );
    check(&MAPS.replace(":process 3}", ":process}"), None, "line 2, column 33: :process has no value");
    check(&MAPS.replace(":process 3}", ":process 3.5}"), None, "line 2, column 42: 3.5 is no process");
    check("{:type :ok :value 12x}\n", None, "line 1, column 19: `12x` is no number");
    check("{:type :ok :value #<Foo>}\n", None, "line 1, column 19: this `#` begins nothing");
    check("{:type :ok :value \"\\q\"}\n", None, "line 1, column 20: unknown escape in a string");
    check("{:type :ok :value \"\\ud800 \"}\n", None, "line 1, column 20: half of a surrogate pair");
    check("{:type :ok :time -5}\n", None, "line 1, column 18: -5 is no time");
    check("{:type :ok}\n7\n", None, "line 2, column 1: `7` where an operation was expected");
    check("{:type :ok :value [1 2}\n{:type :ok}\n", None, "line 1, column 23: `}` where the `[`");
    check("{:type :ok :value \"open}\n{:type :ok}\n{:type :ok}", None, "line 1, column 1: what begins here has no end");
    check(&format!("{{:type :ok :value {}}}", "[".repeat(200)), edn, "line 1, column 147: it is nested more than 128");
    check("{\"type\":\"ok\",}\n", None, "line 1, column 14: `}`: expected a name in quotes");
    check("{\"type\":\"ok\" \"f\":1}\n", None, "line 1, column 14: `\"`: expected `,` or `}`");
    check("{\"type\":\"ok\",\"value\":[1 2]}\n", None, "line 1, column 25: `2`: expected `,` or `]`");
    check("{\"type\":\"ok\",\"value\":[,1]}\n", None, "line 1, column 23: `,`: expected a value");
    check("{\"type\":\"ok\",\"value\":01}\n", None, "line 1, column 22: `01` is no number");
    check("{\"type\":\"ok\",\"value\":nil}\n", None, "line 1, column 22: expected a value: null");
    check("0\t:begin\t:read\tnil\n", Some(Format::Log), "line 1, column 3: :begin is no type");
    check("0\t:ok\t:read\t[1\n", None, "line 1, column 15: the value ends in the middle");
    check("0\t:ok\n", None, "line 1, column 6: expected a function");
    check("w(1,2,3)\n", None, "line 1, column 9: expected w(key,value,session,transaction)");
    check("w(1,2,3,4)\nx(1,2,3,4)\n", None, "line 2, column 1: expected w(");
    check("w 1 2\nr 1\n", None, "line 2, column 1: expected `w key value`");
    check(
        "a story\nabout something else\n",
        None,
        "it is none of the known formats (json, edn, log, plume, awdit, dbcop)",
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Wherever the file of a crashed run ends, what was whole is read.
#[test]
fn files_cut_off_anywhere_are_read() {
    let log = "3\t:invoke\t:cas\t[2 3]\n3\t:ok\t:cas\t[2 3]\n";
    let json = "{\"type\":\"invoke\",\"value\":[1,{\"a\":\"\\u0041\"}]}\n{\"type\":\"ok\",\"value\":-1.5}\n";
    for (whole, format) in [
        (MAPS.to_owned(), Format::Edn),
        (format!("[{MAPS}]"), Format::Edn),
        (json.to_owned(), Format::Json),
        (log.to_owned(), Format::Log),
        ("w(1,2,3,4)\nw(1,3,3,5)\n".to_owned(), Format::Plume),
    ] {
        let options = ImportOptions { format: Some(format), keyed: None };
        let all = read_recording(whole.as_bytes(), &options).unwrap();
        for end in 0..whole.len() {
            let cut = read_recording(&whole.as_bytes()[..end], &options)
                .unwrap_or_else(|error| panic!("cut at {end}: {error}\n{whole}"));
            assert!(cut.records.len() <= all.records.len());
            let missing = all.records.len() - cut.records.len();
            assert!(missing < all.records.len() || end < whole.len());
            let complete_lines = whole[..end].matches('\n').count();
            assert!(cut.records.len() >= complete_lines.min(all.records.len()), "cut at {end} of {whole}");
            for (record, original) in cut.records.iter().zip(&all.records).take(complete_lines) {
                assert_eq!(record, original);
            }
            let last = whole[..end].rsplit('\n').next().unwrap();
            let half = !last.trim_start_matches('[').is_empty() && !last.ends_with(['}', ']', ')']);
            assert!(!half || !cut.notes.is_empty(), "cut at {end} of {whole}: {:?}", cut.notes);
        }
    }
}

#[test]
fn keys_are_taken_from_pairs() {
    let text = "{:process 0 :type :invoke :f :write :value [7 1]}\n{:process 0 :type :ok :f :write :value [7 1]}\n\
                {:process 1 :type :invoke :f :read :value [:k nil]}\n{:process 1 :type :ok :f :read :value [:k 3]}\n";
    let recording = read(text);
    assert_eq!(values(&recording), ["1", "1", "nil", "3"]);
    assert_eq!(recording.records[2].key, Some(Datum::keyword("k")));
    assert_eq!(recording.notes, ["The values are pairs of a key and a value: each key is judged by itself."]);
    let whole = read_recording(text.as_bytes(), &ImportOptions { format: None, keyed: Some(false) }).unwrap();
    assert_eq!(values(&whole), ["[7 1]", "[7 1]", "[:k nil]", "[:k 3]"]);
    // Compare-and-set has pairs too, but not everywhere; micro-operations are lists of lists.
    assert!(!read(MAPS).looks_keyed());
    assert!(!read("{:process 0 :type :invoke :f :txn :value [[:r 1 nil] nil]}").looks_keyed());
}

#[test]
fn operations_are_paired_as_jepsen_does() {
    let one = |text: &str| read(text);
    let reused = one("0 :invoke :write 1\n0 :info :write :timed-out\n0 :invoke :write 2\n0 :ok :write 2\n");
    let operations = reused.operations().unwrap();
    let [open, done] = operations.all.as_slice() else { panic!("{operations:?}") };
    assert_eq!((open.outcome, open.ended, open.value().to_string().as_str()), (Outcome::Info, None, "1"));
    assert_eq!((done.outcome, done.began, done.ended), (Outcome::Ok, 2, Some(3)));
    assert_eq!(
        operations.notes,
        ["A process went on after an indeterminate operation 1 time: that operation stays open."]
    );

    let bare = one("{:type :ok :process 0 :f :txn :value 1}\n{:type :ok :process 1 :f :txn :value 2}\n\
                    {:type :ok :process 0 :f :txn :value 3}\n");
    let operations = bare.operations().unwrap();
    let spans: Vec<_> = operations.all.iter().map(|operation| (operation.began, operation.ended)).collect();
    assert_eq!(spans, [(0, Some(0)), (0, Some(1)), (0, Some(2))]);
    assert!(operations.notes[0].starts_with("3 completions have no invocation"));

    let nameless = one(
        "{:type :invoke :f :read}\n{:type :invoke :f :write :value 1}\n{:type :invoke :f :write :value 2}\n\
                        {:type :ok :f :write :value 1}\n{:type :ok :f :read :value 2}\n{:type :ok :f :write :value 2}\n",
    );
    let spans: Vec<_> = nameless.operations().unwrap().all.iter().map(|o| (o.began, o.ended)).collect();
    assert_eq!(spans, [(0, Some(4)), (1, Some(3)), (2, Some(5))]);

    for (text, problem) in [
        (
            "0 :invoke :read nil\n0 :invoke :read nil\n",
            "line 2: process 0 begins a read while its read of line 1 is open",
        ),
        (
            "0 :invoke :read nil\n0 :ok :write 1\n",
            "line 2: process 0 completes (ok) a write, but its open operation is the read",
        ),
        (
            "{:type :invoke :f :read}\n{:type :invoke :f :read}\n{:type :ok :f :read :value 2}\n",
            "line 3: it completes one of 2 operations read that are open",
        ),
    ] {
        let error = one(text).operations().expect_err("a mistake").to_string();
        assert!(error.starts_with(problem), "{error}");
    }
}

#[test]
fn exports_are_in_the_order_that_jepsen_writes() {
    let recording = read("{:value nil :process 3, :f :read :time 5 :type :invoke :index 9, :error [:no \"x\"]}");
    let written = |format| {
        let mut bytes = Vec::new();
        write_recording(&recording, format, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    };
    let edn = "{:index 9, :time 5, :type :invoke, :process 3, :f :read, :value nil, :error [:no \"x\"]}\n";
    assert_eq!(written(ExportFormat::Edn), edn);
    let json = "{\"index\":9,\"time\":5,\"type\":\"invoke\",\"process\":3,\"f\":\"read\",\"value\":null,\"error\":[\"no\",\"x\"]}\n";
    assert_eq!(written(ExportFormat::Jsonl), json);
    assert_eq!(written(ExportFormat::Text), "3\t:invoke\t:read\tnil\t[:no \"x\"]\n");
}

/// Values that every format can say.
fn datum(names: bool) -> impl Strategy<Value = Datum> {
    let word = || "[a-z]{1,9}";
    let text = proptest::collection::vec(any::<char>(), 0..5)
        .prop_map(|letters| Datum::text(&letters.iter().collect::<String>()));
    let float =
        any::<f64>().prop_map(|number| if number.is_nan() { Datum::Float(f64::NAN) } else { Datum::Float(number) });
    let common = prop_oneof![
        Just(Datum::Nil),
        any::<bool>().prop_map(Datum::Bool),
        any::<i64>().prop_map(Datum::Int),
        any::<i16>().prop_map(|number| Datum::Float(f64::from(number) / 8.0)),
        text,
        word().prop_map(|word| Datum::text(&word)),
    ];
    let leaf = if names {
        prop_oneof![
            common,
            float,
            any::<char>().prop_map(Datum::Char),
            word().prop_map(|word| Datum::keyword(&word)),
            word().prop_map(|word| Datum::keyword(&format!("{word}/x"))),
            word().prop_map(|word| Datum::Symbol(format!("{word}*").into())),
            any::<u64>().prop_map(|number| Datum::Exact(format!("99{number:020}N").into())),
        ]
        .boxed()
    } else {
        common.boxed()
    };
    leaf.prop_recursive(3, 24, 5, move |inner| {
        let list = proptest::collection::vec(inner.clone(), 0..5);
        let key = word().prop_map(|word| Datum::text(&word));
        let map = proptest::collection::btree_map(key, inner.clone(), 0..4);
        let map = map.prop_map(|entries| Datum::Map(entries.into_iter().collect()));
        if names {
            let set = proptest::collection::btree_set(inner.clone(), 0..4);
            prop_oneof![
                list.prop_map(Datum::List),
                map,
                set.prop_map(|items| Datum::Set(items.into_iter().collect())),
                (word(), inner).prop_map(|(tag, value)| Datum::Tagged(tag.as_str().into(), Box::new(value))),
            ]
            .boxed()
        } else {
            prop_oneof![list.prop_map(Datum::List), map].boxed()
        }
    })
}

fn record(names: bool) -> impl Strategy<Value = hearsay_checkers::record::Record> {
    let kind = prop_oneof![Just(EventType::Invoke), Just(EventType::Ok), Just(EventType::Fail), Just(EventType::Info)];
    let process = prop_oneof![
        (0..u64::MAX >> 1).prop_map(Process::Client),
        Just(Process::Named("nemesis".into())),
        Just(Process::Unnamed)
    ];
    let time = proptest::option::of(0..u64::MAX >> 1);
    let error = proptest::option::of(datum(names).prop_filter("an error of nil is none", |error| !error.is_nil()));
    (kind, process, "[a-z-]{1,9}", datum(names), time, proptest::option::of("n[0-9]"), error).prop_map(
        |(kind, process, f, value, time, node, error)| {
            let mut record = hearsay_checkers::record::Record::new(kind, process, &f, value);
            record.time = time;
            record.node = node.map(Into::into);
            record.error = error.map(Box::new);
            record
        },
    )
}

fn round_trip(mut records: Vec<hearsay_checkers::record::Record>, to: ExportFormat, format: Format) {
    for (at, record) in records.iter_mut().enumerate() {
        (record.index, record.line) = (at as u64, at as u32 + 1);
    }
    let recording = Recording { records, ..Recording::default() };
    let mut bytes = Vec::new();
    write_recording(&recording, to, &mut bytes).unwrap();
    let options = ImportOptions { format: Some(format), keyed: Some(false) };
    let again = read_recording(bytes.as_slice(), &options)
        .unwrap_or_else(|error| panic!("{error}\n{}", String::from_utf8_lossy(&bytes)));
    assert_eq!(again.records, recording.records, "{}", String::from_utf8_lossy(&bytes));
    let trickled = read_recording(Trickle(&bytes), &options).unwrap();
    assert_eq!(trickled.records, recording.records);
    if let Some(guessed) = Format::guess(&bytes) {
        assert_eq!(guessed, format, "{}", String::from_utf8_lossy(&bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edn_reads_back(records in proptest::collection::vec(record(true), 1..5)) {
        round_trip(records, ExportFormat::Edn, Format::Edn);
    }

    #[test]
    fn json_reads_back(records in proptest::collection::vec(record(false), 1..5)) {
        round_trip(records, ExportFormat::Jsonl, Format::Json);
    }

    /// The text has neither times nor nodes.
    #[test]
    fn text_reads_back(records in proptest::collection::vec(record(true), 1..5)) {
        let strip = |mut record: hearsay_checkers::record::Record| {
            (record.time, record.node) = (None, None);
            if record.process == Process::Unnamed {
                record.process = Process::Client(0);
            }
            record
        };
        round_trip(records.into_iter().map(strip).collect(), ExportFormat::Text, Format::Log);
    }

    #[test]
    fn bytes_from_outside_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        for format in Format::ALL.map(Some).into_iter().chain([None]) {
            let _ = stream_records(bytes.as_slice(), format, |_| {});
        }
    }

    /// Harder: what a file could be, with a few bytes changed, cut anywhere.
    #[test]
    fn broken_files_never_panic(
        sample in 0_usize..6,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), prop::sample::select(b"\\\"{}[]()#:;_^u,. \n\t0-/NM".to_vec())]), 0..6),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = [
            "[{:type :ok :process 1 :f :read :value [#{1 2} \\a \"\\u0041\\101\" 1.5e3 2/3 #inst \"x\" ##Inf #:a{:b 1}]}]",
            "{\"index\":0,\"time\":1,\"type\":\"ok\",\"process\":1,\"f\":\"read\",\"key\":\"k\",\"value\":{\"a\":[1,-2.5e1,null,true,\"\\ud83d\\ude00\"]}}",
            "INFO  jepsen.util - 0\t:ok\t:read\t[1 2]\t:error\n:nemesis\t:info\t:start\tnil\n",
            "w(1,2,3,4)\nr(1,2,3,-1)\n",
            "w 0 1\n---\nr 0 1\n===\n",
            "{\"data\":[[{\"events\":[{\"write\":true,\"variable\":1,\"value\":5,\"success\":true}],\"success\":true}]]}",
        ][sample].as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(end.index(bytes.len() + 1));
        for format in Format::ALL.map(Some).into_iter().chain([None]) {
            let whole = stream_records(bytes.as_slice(), format, |record| drop(record.value.to_string())).map_err(|error| error.to_string());
            let trickled = stream_records(Trickle(&bytes), whole.as_ref().ok().map(|streamed| streamed.format).or(format), |_| {}).map_err(|error| error.to_string());
            if whole.is_ok() || format.is_some() {
                prop_assert_eq!(whole, trickled);
            }
            if let Ok(recording) = read_recording(bytes.as_slice(), &ImportOptions { format, keyed: None }) {
                let _ = recording.operations();
            }
        }
    }
}

#[test]
fn transactions_read_at_once_are_those_of_the_records() {
    let plume = "w(1,0,0,0)\nr(1,5,2,1)\nw(2,7,0,0)\n\nr(2,0,2,1)\nr(1,0,3,1)\nw(9,9,3,-1)\nw(9,8,3,-1)\nr(9,1,3,-1)\n";
    let awdit = "w 1 0\nr 2 0\n---\nr 1 0\n===\nr 1 7\n";
    let dbcop = r#"{"data": [[{"events": [{"write": true, "variable": 0, "value": 1, "success": true}], "success": true}], [{"events": [{"write": false, "variable": 0, "value": 1, "success": true}, {"write": true, "variable": 3, "value": 4, "success": false}], "success": true}]]}"#;
    for (text, name) in [(plume, "plume"), (awdit, "awdit"), (dbcop, "dbcop"), ("w(1,2,0,0)\nw(1,3", "plume")] {
        let format = Format::find(name);
        let recording = read_recording(text.as_bytes(), &ImportOptions { format, keyed: None }).unwrap();
        let expected = TransactionHistory::from_recording(&recording).unwrap();
        let read = read_transactions(text.as_bytes(), format).unwrap();
        assert_eq!(read.map(|(format, history)| (Some(format), Some(history))), Some((format, expected)), "{name}");
    }
    assert!(read_transactions("{:f :read}".as_bytes(), None).unwrap().is_none());
    let wrong = read_transactions("w(1,2,0,0)\nw(1,2,0)\n".as_bytes(), None).unwrap_err().to_string();
    assert!(wrong.starts_with("line 2, column "), "{wrong}");
}
