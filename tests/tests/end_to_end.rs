//! The program as its user runs it: real nodes in a real sandbox, short campaigns, and everything that can go wrong.
//!
//! These need what `hearsay doctor` asks for. They run as root and as an ordinary user with user namespaces.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use hearsay_tests::{Ended, Workplace, processes_naming, small_campaign, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const SHORT: &str = "{warmup: 1s, faults: 9s, healed: 1s, converge_within: 30s}";
const CALM: &str = "{warmup: 2s, converge_within: 30s}";
const LONG: &str = "{warmup: 60s, faults: 60s, healed: 1s, converge_within: 30s}";
const FAULTS: &str = "  between: [300ms, 500ms]\n  kinds:\n    - partition: {shapes: [isolate-one], for: 2s}\n    \
                      - crash: {nodes: all, for: 500ms}\n    - pause: {nodes: one, for: 1s}\n    - wipe: {for: 500ms, quiet: 500ms}\n    \
                      - links: {between: all, latency: 2ms, jitter: 20ms, distribution: pareto, loss: 1%, for: 3s}";

fn start(place: &Workplace, arguments: &[&str]) -> Child {
    place.hearsay(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

fn end(child: Child) -> Ended {
    Ended::from(child.wait_with_output().expect("the program ends"))
}

/// Waits until the nodes of the run in this folder serve and clients are at work.
fn wait_for_load(place: &Workplace) {
    wait_for("a history with completed operations", || {
        let history = fs::read_to_string(place.path().join("store/latest/history.jsonl")).ok()?;
        (history.matches("\"type\":\"ok\"").count() > 50).then_some(())
    });
}

/// The nodes of the run in this folder, as the host sees them.
fn nodes_of(place: &Workplace) -> Vec<i32> {
    let nodes = |line: &str| line.contains(" node --config ");
    processes_naming(place.path()).into_iter().filter(|(_, line)| nodes(line)).map(|(pid, _)| pid).collect()
}

fn expect_nothing_left(place: &Workplace) {
    wait_for("the end of every process of the run", || processes_naming(place.path()).is_empty().then_some(()));
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts can be read");
    assert!(!mounts.contains(&place.path().display().to_string()), "a mount is left:\n{mounts}");
}

fn lines(path: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn a_short_run_of_every_fault_is_as_expected_and_can_be_judged_and_run_again() {
    let place = Workplace::new();
    place.file("small.yaml", &small_campaign(FAULTS, SHORT));
    let ended = place.run(&["run", "small.yaml", "--seed", "7"]);
    ended.expect_code(0);
    // Where the device is missing, the run goes on without, and says so.
    let links = ["packets held, p50 ", "left out, so the evidence is weaker: /dev/net/tun "];
    assert!(links.iter().any(|words| ended.stdout.contains(words)), "nothing is said of bad links:\n{}", ended.stdout);
    let store = place.latest();
    for file in ["plan.yaml", "history.jsonl", "faults.jsonl", "verdict.json", "report.txt"] {
        assert!(store.join(file).exists(), "{file} is missing in {}", store.display());
    }
    // Progress is for terminals: a pipe gets a few lines, and results come on stdout alone.
    assert!(ended.stderr.lines().count() < 30 && !ended.stderr.contains('\r'), "noisy when piped:\n{}", ended.stderr);
    assert!(!lines(&store.join("history.jsonl")).is_empty());
    expect_nothing_left(&place);

    place.run(&["check", &store.display().to_string()]).expect_code(0);
    place
        .run(&["check", &store.join("history.jsonl").display().to_string(), "--model", "monotonic-reads"])
        .expect_code(0);

    // A saved plan is executed again, to the letter.
    let plan = fs::read_to_string(store.join("plan.yaml")).expect("the plan is readable");
    place.run(&["run", "--plan", &store.join("plan.yaml").display().to_string()]).expect_code(0);
    let again = place.latest();
    assert_ne!(store, again);
    assert_eq!(plan, fs::read_to_string(again.join("plan.yaml")).expect("the plan is readable"));
}

#[test]
fn results_for_machines_are_one_json_object() {
    let place = Workplace::new();
    place.file("small.yaml", &small_campaign("", CALM));
    let ended = place.run(&["run", "small.yaml", "--seed", "7", "--json"]);
    let verdict: serde_json::Value = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("not one JSON object ({error}):\n{}\n{}", ended.stdout, ended.stderr));
    assert!(verdict.is_object());
}

#[test]
fn several_seeds_give_one_summary() {
    let place = Workplace::new();
    let faults = "  between: [300ms, 500ms]\n  kinds:\n    - partition: {shapes: [isolate-one], for: 2s}";
    place.file("small.yaml", &small_campaign(faults, "{warmup: 1s, faults: 4s, healed: 1s, converge_within: 30s}"));
    let ended = place.run(&["run", "small.yaml", "--seed", "3", "--seeds", "2"]);
    ended.expect_code(0);
    let stored = fs::read_dir(place.path().join("store/small")).expect("stored runs").count();
    assert_eq!(stored, 2, "{}", ended.stdout);
}

#[test]
fn an_expected_violation_that_does_not_come_is_red() {
    let place = Workplace::new();
    let campaign = small_campaign("", CALM);
    place.file("small.yaml", &campaign.replace("monotonic-reads: holds", "monotonic-reads: violated"));
    place.run(&["run", "small.yaml", "--seed", "7"]).expect_code(1);
}

#[test]
fn an_interrupted_run_heals_judges_and_leaves_nothing() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let place = Workplace::new();
        place.file("small.yaml", &small_campaign(FAULTS, LONG));
        let child = start(&place, &["run", "small.yaml", "--seed", "7"]);
        wait_for_load(&place);
        kill(Pid::from_raw(child.id() as i32), signal).expect("the harness takes signals");
        let ended = end(child);
        ended.expect_words("interrupted").expect_code(2);
        assert!(place.latest().join("verdict.json").exists(), "{ended:?}");
        expect_nothing_left(&place);
    }
}

#[test]
fn a_killed_harness_leaves_nothing_but_a_readable_history() {
    let place = Workplace::new();
    place.file("small.yaml", &small_campaign(FAULTS, LONG));
    let mut child = start(&place, &["run", "small.yaml", "--seed", "7"]);
    wait_for_load(&place);
    assert_eq!(nodes_of(&place).len(), 3);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).expect("the harness is there");
    child.wait().expect("the harness ends");
    expect_nothing_left(&place);
    let history = place.latest().join("history.jsonl");
    assert!(lines(&history).len() > 100);
    // Whatever the verdict: the history is whole enough to be judged.
    let judged = place.run(&["check", &history.display().to_string(), "--model", "monotonic-reads"]);
    assert!(matches!(judged.code, Some(0 | 2)), "{judged:?}");
}

#[test]
fn a_node_that_dies_by_itself_fails_the_run_and_shows_its_log() {
    let place = Workplace::new();
    place.file("small.yaml", &small_campaign("", "{warmup: 120s}"));
    let child = start(&place, &["run", "small.yaml", "--seed", "7"]);
    wait_for_load(&place);
    let victim = *nodes_of(&place).first().expect("nodes are running");
    kill(Pid::from_raw(victim), Signal::SIGABRT).expect("the node is there");
    let ended = end(child);
    assert!(ended.code.is_some_and(|code| code != 0), "{ended:?}");
    ended.expect_words("serving n");
    expect_nothing_left(&place);
}

#[test]
fn a_bad_campaign_is_refused_with_its_place_before_anything_starts() {
    let good = small_campaign(FAULTS, SHORT);
    let cases = [
        ("replication: 3", "replicaton: 3", "replication"),
        ("nodes: 3", "nodes: many", "nodes"),
        ("nodes: 3, replication: 3", "nodes: 2, replication: 3", "replication"),
        ("write_level: quorum", "write_level: 4", "write_level"),
        ("isolate-one", "isolate-two", "isolate-one"),
        ("crash:", "earthquake:", "crash"),
        ("monotonic-reads: holds", "monotonic-reads: yes", "holds"),
        ("convergence: holds", "convergance: holds", "convergence"),
        ("rate: 200", "rate: 0", "rate"),
    ];
    for (right, wrong, words) in cases {
        let place = Workplace::new();
        assert!(good.contains(right), "the case `{right}` is out of date");
        place.file("bad.yaml", &good.replacen(right, wrong, 1));
        let ended = place.run(&["run", "bad.yaml"]);
        ended.expect_code(64).expect_words("bad.yaml:").expect_words(words);
        assert!(!place.path().join("store").exists(), "{wrong}: something was started");
    }
    let place = Workplace::new();
    place.run(&["run", "no-such-campaign"]).expect_code(64).expect_words("quickstart");
    place.file("empty.yaml", "");
    place.run(&["run", "empty.yaml"]).expect_code(64);
    place.file("binary.yaml", "\u{0}\u{1}");
    place.run(&["run", "binary.yaml"]).expect_code(64);
}

#[test]
fn bad_usage_says_so() {
    let place = Workplace::new();
    for arguments in [&["run"][..], &["frobnicate"], &["run", "quickstart", "--seed", "minus"], &["check"]] {
        place.run(arguments).expect_code(64);
    }
    place.run(&["check", "no-such-file"]).expect_code(64);
    place.run(&["--help"]).expect_code(0).expect_words("run");
    place.run(&["list"]).expect_code(0).expect_words("quickstart").expect_words("monotonic-reads");
    place.run(&["doctor"]).expect_code(0);
}

#[test]
fn a_broken_history_is_refused_with_its_line() {
    let place = Workplace::new();
    let event =
        "{\"index\":0,\"time\":5,\"type\":\"invoke\",\"process\":0,\"f\":\"read\",\"key\":\"k1\",\"value\":null}";
    place.file("history.jsonl", &format!("{event}\nnonsense\n{event}\n"));
    place.run(&["check", "history.jsonl"]).expect_code(64).expect_words("2");
    // A crashed run ends in half a line: that is accepted, and said.
    place.file("cut.jsonl", &format!("{event}\n{}", &event[..40]));
    let ended = place.run(&["check", "cut.jsonl", "--model", "monotonic-reads"]);
    ended.expect_code(2).expect_words("cut");
}

#[test]
fn a_store_that_cant_be_made_is_named() {
    let place = Workplace::new();
    place.file("small.yaml", &small_campaign("", CALM));
    place.file("store", "a file where the store should be");
    let ended = place.run(&["run", "small.yaml"]);
    assert!(matches!(ended.code, Some(64 | 70)), "{ended:?}");
    ended.expect_words("store");
    expect_nothing_left(&place);
}

#[test]
fn a_full_disk_ends_the_run_and_the_history_stays_readable() {
    let place = Workplace::new();
    place.file("small.yaml", &small_campaign("", "{warmup: 120s}").replace("rate: 200", "rate: 2000"));
    fs::create_dir(place.path().join("store")).expect("a folder can be made");
    // A disk of its own, small, gone with the shell: room for the stores of three nodes and a while of history.
    let script = "mount -t tmpfs -o size=8m none store && \"$0\" run small.yaml --seed 7; code=$?; \
                  cp store/latest/history.jsonl kept.jsonl; exit $code";
    let user = if nix::unistd::geteuid().is_root() { "-m" } else { "-Urm" };
    let output = std::process::Command::new("unshare")
        .args([user, "sh", "-c", script])
        .arg(hearsay_tests::program())
        .current_dir(place.path())
        .output()
        .expect("unshare is part of every Linux");
    let ended = Ended::from(output);
    assert!(matches!(ended.code, Some(1 | 70)), "{ended:?}");
    let said = format!("{}{}", ended.stdout, ended.stderr).to_lowercase();
    assert!(said.contains("no space left") || said.contains("full"), "{ended:?}");
    expect_nothing_left(&place);
    let judged = place.run(&["check", "kept.jsonl", "--model", "monotonic-reads"]);
    assert!(matches!(judged.code, Some(0 | 2)), "{judged:?}");
}
