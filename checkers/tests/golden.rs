//! Each model on cases that a person can follow: some that hold, some that break it, some that say too little, with every
//! word of the explanation. One file per checker in `tests/golden`, in the format of `hearsay_checkers::dsl`; a case
//! ends with what is expected (`=> holds`) and the sentences, and a line `options {..}` sets options.

use std::fmt::Write as _;
use std::path::Path;

use hearsay_checkers::{CheckOptions, Judgement, checkers, dsl, judge};

/// A file of cases, as it should be: the inputs of `text` with what the checker says now.
fn judged(model: &str, text: &str) -> String {
    let mut out = String::new();
    for (number, case) in text.split("\n---\n").enumerate() {
        let input = case.split("\n=>").next().unwrap();
        let (options, lines): (Vec<&str>, Vec<&str>) = input.lines().partition(|line| line.starts_with("options "));
        let options = options.first().map_or_else(CheckOptions::default, |line| {
            serde_json::from_str(line.trim_start_matches("options ")).unwrap_or_else(|error| panic!("{line}: {error}"))
        });
        let case = dsl::case(&lines.join("\n")).unwrap_or_else(|error| panic!("case {number}: {error}\n{input}"));
        let verdict = judge(&case, &[model], &options).unwrap().remove(0);
        let of_kinds: u64 = verdict.kinds.iter().map(|kind| kind.count).sum();
        let violated = verdict.judgement == Judgement::Violated;
        assert!((1..=verdict.violations).contains(&of_kinds) == violated, "{:?}\n{input}", verdict.kinds);
        if number > 0 {
            out.push_str("\n---\n");
        }
        let liveness = if verdict.liveness { " (liveness)" } else { "" };
        write!(out, "{input}\n=> {}{liveness}, {} found", verdict.judgement, verdict.violations).unwrap();
        for sentence in &verdict.explanation {
            write!(out, "\n   {sentence}").unwrap();
        }
    }
    out + "\n"
}

/// The table of models: a registry without one of them is not whole.
const MODELS: &str = "read-your-writes monotonic-reads monotonic-writes writes-follow-reads pram monotonic-quorum-reads \
    causal causal-convergence causal-memory sequential regular safe linearizable two-atomic staleness convergence \
    acknowledged-writes set set-full counter queue total-queue unique-ids bank long-fork broadcast views availability \
    read-uncommitted read-committed read-atomic snapshot-isolation serializable strict-serializable";

#[test]
fn every_model_of_the_table_has_a_checker_and_every_file_of_cases_too() {
    let known: Vec<&str> = checkers().iter().map(|checker| checker.name).collect();
    for model in MODELS.split_whitespace() {
        assert!(known.contains(&model), "{model} has no checker");
    }
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(known.contains(&name), "{} is of no checker", path.display());
    }
    let mut once = known.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), known.len(), "a name is registered twice");
}

#[test]
fn every_checker_says_what_its_file_expects() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for checker in checkers() {
        let is_sentence = |text: &str| text.len() > 20 && text.ends_with('.');
        let is_source = |text: &str| text.contains("Jepsen") || text.contains("19") || text.contains("20");
        assert!(is_sentence(checker.meaning), "{}: `{}` is no definition", checker.name, checker.meaning);
        assert!(is_source(checker.source), "{}: `{}` is no source", checker.name, checker.source);
        let path = folder.join(checker.name).with_extension("txt");
        let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for judgement in ["=> holds", "=> violated", "=> unknown"] {
            assert!(expected.contains(judgement), "{}: no case for `{judgement}`", path.display());
        }
        let said = judged(checker.name, expected.trim_end());
        let difference = expected.lines().zip(said.lines()).zip(1..).find(|((expected, said), _)| expected != said);
        if let Some(((expected, now), line)) = difference {
            panic!("{}:{line}\nexpected: {expected}\nsaid:     {now}\n\nall it says:\n{said}", path.display());
        }
        assert_eq!(expected, said, "{}", path.display());
    }
}
