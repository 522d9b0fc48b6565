//! Shrinking by the program itself: from a stored run to a plan that replays, and what is said when there is nothing to do.

use std::fs;
use std::path::Path;
use std::process::Command;

use hearsay::plan::{Endpoint, Fault, PartitionShape, Phases, Plan, PlannedFault};
use hearsay_core::NodeId;
use serde_json::Value;

/// Runs the program; exit code, what it printed, what it complained.
fn hearsay(here: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearsay"));
    let ran = command.current_dir(here).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (ran.status.code().unwrap(), text(&ran.stdout), text(&ran.stderr))
}

#[test]
fn a_stored_run_becomes_a_small_plan_that_replays() {
    let here = tempfile::tempdir().unwrap();
    let (code, ..) = hearsay(here.path(), &["run", "stale-reads", "--sim", "--seed", "4"]);
    assert_eq!(code, 0);
    let (code, _, told) = hearsay(here.path(), &["shrink", "store/latest"]);
    assert_eq!(code, 64);
    assert!(told.contains("there is nothing to shrink") && told.contains("mend: --checker NAME"), "{told}");

    let asked = ["shrink", "store/latest", "--checker", "monotonic-quorum-reads", "--budget", "10m"];
    let (code, printed, told) = hearsay(here.path(), &asked);
    assert_eq!(code, 0, "{printed}{told}");
    for expected in
        ["looked for: monotonic-quorum-reads: stale-read", "What is left", "partition", "nothing more can be"]
    {
        assert!(printed.contains(expected), "{expected}:\n{printed}");
    }
    let last = printed.lines().last().unwrap();
    let again = last.split_once("again: hearsay ").unwrap().1.split(" (exit code").next().unwrap();
    let again: Vec<&str> = again.split(' ').collect();
    let (code, printed, told) = hearsay(here.path(), &[&again[..], &["--json"]].concat());
    assert_eq!(code, 0, "{printed}{told}");
    let report: Value = serde_json::from_str(&printed).unwrap();
    let verdicts = report["verdicts"].as_array().unwrap();
    let judged = verdicts.iter().find(|judged| judged["verdict"]["checker"] == "monotonic-quorum-reads").unwrap();
    assert_eq!(judged["verdict"]["kinds"][0]["kind"], "stale-read", "{judged}");

    // The smaller plan is a stored run itself, beside the one it came from, and shrinks no further.
    let folder = fs::canonicalize(here.path().join("store/latest/../")).unwrap();
    let from = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path().join("shrunk"));
    let from = from.filter(|path| path.exists()).collect::<Vec<_>>();
    for file in ["plan.yaml", "history.jsonl", "verdict.json", "report.txt", "shrink.json", "shrink.txt", "replay.sh"] {
        assert!(from[0].join(file).exists(), "{file} is missing in {}", from[0].display());
    }
    let plan = from[0].join("plan.yaml");
    let asked = ["shrink", plan.to_str().unwrap(), "--checker", "monotonic-quorum-reads", "--json", "--out", "again"];
    let (code, printed, told) = hearsay(here.path(), &asked);
    assert_eq!(code, 0, "{printed}{told}");
    let shrunk: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&shrunk["kept"], &shrunk["ended"]), (&0.into(), &"minimal".into()), "{shrunk}");
    assert_eq!(shrunk["before"], shrunk["after"]);
    let (first, second) = (fs::read(&plan).unwrap(), fs::read(here.path().join("again/plan.yaml")).unwrap());
    assert!(first == second, "a minimal plan stays as it is");
}

#[test]
fn what_can_not_be_shrunk_is_said_with_its_mend() {
    let here = tempfile::tempdir().unwrap();
    let (code, _, told) = hearsay(here.path(), &["shrink", "no-such/run"]);
    assert_eq!(code, 64);
    assert!(told.contains("no-such/run") && told.contains("mend"), "{told}");
    let (code, _, told) = hearsay(here.path(), &["shrink", "x", "--budget", "60"]);
    assert_eq!(code, 64);
    assert!(told.contains("a number with its unit"), "{told}");
    let (code, ..) = hearsay(here.path(), &["run", "stale-reads", "--sim", "--seed", "4"]);
    assert_eq!(code, 0);
    let (code, _, told) = hearsay(here.path(), &["shrink", "store/latest", "--checker", "no-such"]);
    assert_eq!(code, 64);
    assert!(told.contains("no checker `no-such`") && told.contains("monotonic-reads"), "{told}");
    // What the run found can't be found by the plan as it is now.
    let file = here.path().join("store/latest/plan.yaml");
    let mut plan = Plan::load(&file).unwrap();
    plan.faults.clear();
    plan.save(&file).unwrap();
    let asked = ["shrink", "store/latest", "--checker", "monotonic-reads", "--seeds", "2"];
    let (code, _, told) = hearsay(here.path(), &asked);
    assert_eq!(code, 2);
    assert!(told.contains("does not come again") && told.contains("over 2 seeds") && told.contains("mend"), "{told}");
}

/// A read behind a partition is stale, whatever else there is.
#[test]
fn on_real_processes_what_they_do_not_need_goes_too() {
    let here = tempfile::tempdir().unwrap();
    let (code, ..) = hearsay(here.path(), &["run", "stale-reads", "--sim", "--seed", "4"]);
    assert_eq!(code, 0);
    let mut plan = Plan::load(&here.path().join("store/latest/plan.yaml")).unwrap();
    let n = |number| Endpoint::Node(NodeId(number));
    let blocked = vec![(n(1), n(3)), (n(2), n(3)), (n(3), n(1)), (n(3), n(2))];
    let partition = Fault::Partition { shape: PartitionShape::IsolateOne, blocked };
    let slow = Fault::SlowDisk { nodes: vec![NodeId(2)], sync_ms: 5 };
    plan.faults = vec![
        PlannedFault { id: "f1".to_owned(), at_ms: 300, duration_ms: 1_900, fault: partition },
        PlannedFault { id: "f2".to_owned(), at_ms: 400, duration_ms: 1_700, fault: slow },
    ];
    let operations = [
        "700 c0 n1 write k1=1",
        "1200 c1 n1 read k1",
        "1700 c1 n3 read k1",
        "500 c2 n2 read k2",
        "900 c2 n2 write k2=2",
    ];
    plan.operations = operations.map(|text| text.parse().unwrap()).to_vec();
    plan.phases = Phases { warmup_ms: 300, faults_ms: 2_000, healed_ms: 300, ..plan.phases };
    assert_eq!(plan.validate(), [""; 0]);
    let file = here.path().join("plan.yaml");
    plan.save(&file).unwrap();
    let asked = ["shrink", "plan.yaml", "--real", "--checker", "monotonic-reads", "--budget", "40s", "--json"];
    let (code, printed, told) = hearsay(here.path(), &asked);
    assert_eq!(code, 0, "{printed}{told}");
    let shrunk: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(shrunk["world"], "real", "{shrunk}");
    let small = Plan::load(&here.path().join("shrunk/plan.yaml")).unwrap();
    assert_eq!((small.faults.len(), small.operations.len()), (1, 3), "{}", small.to_yaml());
    let script = fs::read_to_string(here.path().join("shrunk/replay.sh")).unwrap();
    assert!(script.contains("run --plan") && !script.contains("--sim"), "{script}");
    let asked = ["shrink", "plan.yaml", "--real", "--repeats", "2", "--needed", "3", "--checker", "monotonic-reads"];
    let (code, _, told) = hearsay(here.path(), &asked);
    assert_eq!(code, 64, "{told}");
    assert!(told.contains("3 of 2 runs") && told.contains("mend: give --repeats 3"), "{told}");
}
