//! Disks that lose power, in whole runs of real processes.

use std::fs::OpenOptions;

use hearsay_tests::{Ended, Workplace, small_campaign};

const PHASES: &str = "{warmup: 1s, faults: 6s, healed: 1s, converge_within: 30s}";
const POWER_CUTS: &str = "  between: [300ms, 500ms]\n  kinds:\n    - power-cut: {nodes: [one, all], for: 1s}";
const SYNCS: &str = "  between: [300ms, 500ms]\n  kinds:\n    - slow-disk: {nodes: one, sync: 20ms, for: 1s}\n    \
                     - failing-disk: {nodes: one, for: 1s}";

/// Whether this user may have disks served.
fn can_serve() -> bool {
    OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok()
}

fn run(faults: &str, arguments: &[&str]) -> Ended {
    let place = Workplace::new();
    place.file("small.yaml", &small_campaign(faults, PHASES));
    place.run(&[&["run", "small.yaml", "--seed", "7"], arguments].concat())
}

#[test]
fn power_cuts_lose_what_was_not_synced_and_nothing_that_was_acknowledged() {
    let ended = run(POWER_CUTS, &[]);
    ended.expect_code(0).expect_words("power-cut");
    match can_serve() {
        true => ended.expect_words("unsynced bytes lost"),
        false => ended.expect_words("note: weaker evidence").expect_words("/dev/fuse"),
    };
}

#[test]
fn on_plain_disks_a_power_cut_is_only_a_kill_and_that_is_said() {
    let ended = run(POWER_CUTS, &["--disks", "plain"]);
    ended.expect_code(0).expect_words("killed; weaker: plain disks").expect_words("note: weaker evidence");
}

#[test]
fn slow_and_failing_disks_bite_where_disks_are_served() {
    let ended = run(SYNCS, &[]);
    match can_serve() {
        true => {
            ended.expect_code(0).expect_words("syncs took").expect_words("ended by themselves: 1 of 1");
        }
        false => {
            ended.expect_code(2).expect_words("whose syncs can't be touched");
        }
    }
}

#[test]
fn disks_that_were_asked_for_and_can_not_be_served_are_named_with_the_mend() {
    let ended = run(POWER_CUTS, &["--disks", "served"]);
    match can_serve() {
        true => ended.expect_code(0),
        false => ended.expect_code(70).expect_words("disks that lose power").expect_words("mend: "),
    };
}
