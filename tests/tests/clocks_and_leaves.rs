//! Wall clocks that are off, and nodes that leave and join again, end to end on real processes.
//!
//! These need what `hearsay doctor` asks for.

use hearsay_tests::{Workplace, small_campaign};

const PHASES: &str = "{warmup: 1s, faults: 14s, healed: 1s, converge_within: 30s}";

/// The evidence of every fault, as `faults.jsonl` has it.
fn evidence(place: &Workplace) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(place.latest().join("faults.jsonl")).expect("the faults of the run");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn clocks_that_disagree_lose_later_writes_and_the_report_says_so() {
    let place = Workplace::new();
    let faults = "  between: [300ms, 500ms]\n  kinds:\n    \
                  - clock: {nodes: one, offset: [-2s, -1s], drift: 300ppm, for: 4s, at_least: 2}";
    let campaign = small_campaign(faults, PHASES)
        .replace("monotonic-reads: holds\n  monotonic-quorum-reads", "monotonic-quorum-reads")
        .replace("acknowledged-writes: holds", "linearizable: violated\n  acknowledged-writes: any");
    place.file("small.yaml", &campaign);
    let ended = place.run(&["run", "small.yaml", "--seed", "7"]);
    ended.expect_code(0).expect_words("as they say").expect_words("set right");
    let lines = evidence(&place);
    let made = lines.iter().find(|line| line["step"] == "inject").expect("a fault was made");
    let numbers = made["evidence"]["numbers"].as_object().expect("numbers");
    let off = numbers.iter().find(|(name, _)| name.ends_with("_off_us")).expect("how far the clock was off").1;
    assert!(off.as_u64().is_some_and(|off| (900_000..2_100_000).contains(&off)), "{made}");
    assert!(lines.iter().any(|line| line["step"] == "proven"), "{lines:#?}");
}

#[test]
fn nodes_leave_in_order_and_join_again_with_their_disk_or_an_empty_one() {
    let place = Workplace::new();
    let faults = "  between: [300ms, 500ms]\n  kinds:\n    - leave: {nodes: [one, all], for: 1s}\n    \
                  - leave: {nodes: one, join: empty, for: 1s, quiet: 2s, weight: 0}";
    place.file("small.yaml", &small_campaign(faults, PHASES));
    let ended = place.run(&["run", "small.yaml", "--seed", "7"]);
    ended.expect_code(0).expect_words("ended with exit code 0").expect_words("joined again, empty");
    let logs: String = (1..=3)
        .map(|node| std::fs::read_to_string(place.latest().join(format!("logs/n{node}.log"))).expect("a log"))
        .collect();
    assert!(logs.contains("requests in work are answered first") && !logs.contains("ERROR"), "{logs}");
}
