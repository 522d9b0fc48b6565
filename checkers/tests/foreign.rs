//! Histories of other systems get the verdicts that their names say.

use std::path::PathBuf;

use hearsay_checkers::import::{ImportOptions, read_recording};
use hearsay_checkers::{Case, CheckOptions, Judgement, applicable, judge};

/// Files, each with the models it is about.
const FILES: &[(&str, &[&str])] = &[
    ("good-counter.edn", &["counter"]),
    ("good-set.edn", &["set", "set-full"]),
    ("bad-set-full.edn", &["set", "set-full"]),
    ("bad-long-fork.edn", &["long-fork"]),
    ("bad-cas-failure.edn", &["linearizable"]),
    ("bad-rethink-fail-minimal.edn", &["linearizable"]),
    ("good-memstress3-0.edn", &["linearizable"]),
    ("good-memstress3-12.edn", &["linearizable"]),
    ("bad-etcd_000.log", &["linearizable"]),
    ("bad-etcd_001.log", &["linearizable"]),
    ("good-etcd_002.log", &["linearizable"]),
    ("good-etcd_005.log", &["linearizable"]),
    ("bad-kv-c01.txt", &["linearizable"]),
    ("good-kv-c01.txt", &["linearizable"]),
];

#[test]
fn foreign_histories_are_judged_as_labelled() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
    for (name, models) in FILES {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let recording = read_recording(bytes.as_slice(), &ImportOptions::default()).unwrap();
        let about = applicable(&recording);
        assert!(models.iter().all(|model| about.contains(model)), "{name}: {about:?}");
        let case = Case { recording: Some(recording), ..Case::default() };
        let verdicts = judge(&case, models, &CheckOptions::default()).unwrap();
        let expected = if name.starts_with("good") { Judgement::Holds } else { Judgement::Violated };
        for verdict in verdicts {
            assert_eq!(verdict.judgement, expected, "{name}: {verdict:?}");
        }
    }
}

/// Its adds are pairs and its read returns none: violated as written, and only for whoever says that the key of the read was
/// lost does it hold.
#[test]
fn pairs_that_only_some_values_are_depend_on_what_the_reader_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/bad-set-full.edn");
    let bytes = std::fs::read(path).unwrap();
    for (keyed, expected) in [(None, Judgement::Violated), (Some(true), Judgement::Holds)] {
        let recording = read_recording(bytes.as_slice(), &ImportOptions { keyed, format: None }).unwrap();
        let is_told = recording.notes.iter().any(|note| note.starts_with("1 completion is no such pair"));
        assert_eq!(is_told, keyed.is_some(), "{:?}", recording.notes);
        let case = Case { recording: Some(recording), ..Case::default() };
        let verdicts = judge(&case, &["set", "set-full"], &CheckOptions::default()).unwrap();
        assert!(verdicts.iter().all(|verdict| verdict.judgement == expected), "{keyed:?}: {verdicts:?}");
    }
}
