//! Simulated runs by the program itself, each in a process of its own: a seed gives the same run to the bit, and the same
//! files, and a saved plan replays it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Runs the program; exit code and what it printed, as JSON.
fn hearsay(store: &Path, arguments: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearsay"));
    let ran = command.arg("run").args(arguments).args(["--sim", "--json", "--store"]).arg(store).output().unwrap();
    let printed = String::from_utf8_lossy(&ran.stdout);
    let told = String::from_utf8_lossy(&ran.stderr);
    let json = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}{told}"));
    (ran.status.code().unwrap(), json)
}

fn hash(report: &Value) -> &str {
    report["simulation"]["run_hash"].as_str().expect("a simulated run has a hash")
}

/// Says where two runs part that should be one.
fn assert_same_run(one: &Value, other: &Value, what: &dyn std::fmt::Debug) {
    if hash(one) != hash(other) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearsay"));
        let ran = command.args(["trace", "--compare"]).args([directory(one), directory(other)]).output().unwrap();
        let told = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
        panic!("{} and {} are no one run ({what:?}):\n{told}", hash(one), hash(other));
    }
}

fn directory(report: &Value) -> PathBuf {
    report["directory"].as_str().expect("a stored run has a place").into()
}

#[test]
fn a_seed_is_one_run_in_every_process_and_its_plan_replays_it() {
    let store = tempfile::tempdir().unwrap();
    let seven = ["quickstart", "--seed", "7"];
    let (code, first) = hearsay(store.path(), &seven);
    assert_eq!(code, 0, "{first}");
    let plan = directory(&first).join("plan.yaml");
    let again = ["--plan", plan.to_str().unwrap()];
    for arguments in [&seven[..], &again[..]] {
        let (_, second) = hearsay(store.path(), arguments);
        assert_same_run(&first, &second, &arguments);
        assert_eq!(first["verdicts"], second["verdicts"]);
        for file in ["plan.yaml", "history.jsonl", "faults.jsonl", "metrics.jsonl", "phases.json", "final_state.json"] {
            let read = |report| fs::read(directory(report).join(file)).unwrap();
            assert!(read(&first) == read(&second), "{file} differs between two runs of one seed ({arguments:?})");
        }
    }
    let (_, other) = hearsay(store.path(), &["quickstart", "--seed", "8"]);
    assert_ne!(hash(&first), hash(&other));
    let report = fs::read_to_string(directory(&first).join("report.txt")).unwrap();
    assert!(report.lines().next().unwrap().contains("simulated"), "{report}");
    assert!(report.contains(&format!("run hash: {}", hash(&first))), "{report}");
}

#[test]
fn many_seeds_give_one_hash_however_many_at_once_and_keep_only_what_failed() {
    let store = tempfile::tempdir().unwrap();
    let many = |jobs: &str| hearsay(store.path(), &["stale-reads", "--seed", "1", "--seeds", "4", "--jobs", jobs]);
    let ((code, one), (_, two)) = (many("1"), many("2"));
    assert_eq!((code, &one["runs"], &one["by_outcome"]["as-expected"]), (0, &4.into(), &4.into()), "{one}");
    assert_eq!(one["hash_of_all"], two["hash_of_all"]);
    assert_eq!(fs::read_dir(store.path()).unwrap().count(), 0, "what is as expected is not kept");

    // Reads that go backward, where none may: every run fails.
    let campaign = store.path().join("strict.yaml");
    let shipped = include_str!("../../workloads/campaigns/stale-reads.yaml");
    fs::write(&campaign, shipped.replace("monotonic-reads: violated", "monotonic-reads: holds")).unwrap();
    let arguments = [campaign.to_str().unwrap(), "--seed", "1", "--seeds", "50", "--jobs", "1", "--stop-after", "2"];
    let (code, stopped) = hearsay(store.path(), &arguments);
    assert_eq!((code, &stopped["exit_code"]), (1, &1.into()), "{stopped}");
    let runs = stopped["runs"].as_u64().unwrap();
    assert!((2..10).contains(&runs), "{runs} runs although two were enough");
    let found = &stopped["findings"]["monotonic-reads: stale-read"];
    assert_eq!((&found["count"], found["seeds"].as_array().unwrap().len() as u64), (&runs.into(), runs), "{stopped}");
    assert!(directory(&found["shortest"]).join("plan.yaml").exists(), "{stopped}");
    assert!(stopped["stopped"].as_str().unwrap().contains("not as expected"), "{stopped}");

    let until = |rule: &[&str]| {
        let seeds = [campaign.to_str().unwrap(), "--seed", "1", "--seeds", "50", "--jobs", "1"];
        hearsay(store.path(), &[&seeds[..], rule].concat()).1
    };
    let awaited = until(&["--stop-on", "stale-read"]);
    assert!(awaited["stopped"].as_str().unwrap().ends_with("found stale-read"), "{awaited}");
    // What is never found stops nothing; the time does.
    let late = until(&["--stop-on", "lost-write", "--for", "300ms"]);
    assert!(late["stopped"].as_str().unwrap().contains("its time"), "{late}");
    assert!(late["runs"].as_u64().unwrap() < 50, "{late}");
    let failing = stopped["failing"].as_array().unwrap();
    let kept = failing.iter().filter(|run| directory(run).join("history.jsonl").exists()).count();
    assert_eq!(kept, failing.len(), "{stopped}");
}

#[test]
fn a_cluster_too_large_for_processes_is_refused_before_anything_starts() {
    let store = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearsay"));
    let ran = command.args(["run", "ten-thousand", "--seed", "1", "--store"]).arg(store.path()).output().unwrap();
    let told = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(64), "{told}");
    let expected = "ten-thousand has 10000 nodes, too many to run as processes: the limit is 250";
    assert!(told.contains(expected) && told.contains("mend: add --sim"), "{told}");
    assert_eq!(fs::read_dir(store.path()).unwrap().count(), 0);
}

#[test]
fn the_first_event_that_differs_between_two_processes_is_shown() {
    let store = tempfile::tempdir().unwrap();
    let path = |name: &str| store.path().join(name).to_str().unwrap().to_owned();
    let (whole, again, other) = (path("whole"), path("again"), path("other"));
    let run = |arguments: &[&str]| hearsay(store.path(), arguments).1;
    let first = run(&["stale-reads", "--seed", "7", "--events", &whole]);
    run(&["stale-reads", "--seed", "7", "--events", &again]);
    // The same plan, but for one key that a client reads in the fourth second.
    let plan = fs::read_to_string(directory(&first).join("plan.yaml")).unwrap();
    let in_fourth_second = |line: &&str| {
        let at: Option<u64> = line.strip_prefix("- ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        at.is_some_and(|at| (3_000..4_000).contains(&at)) && line.ends_with(" read k3")
    };
    let line = plan.lines().find(in_fourth_second).expect("somebody reads k3 in the fourth second");
    let changed = path("changed.yaml");
    fs::write(&changed, plan.replacen(line, &line.replace("read k3", "read k4"), 1)).unwrap();
    run(&["--plan", &changed, "--events", &other]);

    let compare = |one: &str, two: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearsay"));
        let ran = command.args(["trace", "--compare", one, two]).output().unwrap();
        (ran.status.code().unwrap(), String::from_utf8_lossy(&ran.stdout).into_owned())
    };
    let (code, told) = compare(&whole, &again);
    assert_eq!(code, 0, "{told}");
    let (code, told) = compare(&whole, &other);
    assert_eq!(code, 1, "{told}");
    let shown: Vec<&str> = told.lines().filter(|line| line.trim_start().starts_with("{\"index\"")).collect();
    assert!(
        shown.iter().any(|line| line.contains("\"k3\"")) && shown.iter().any(|line| line.contains("\"k4\"")),
        "{told}"
    );
    assert!(told.contains("as recorded") && told.contains("carried out again"), "{told}");
}
