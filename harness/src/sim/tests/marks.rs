//! Marks of rare branches: the faults of the campaigns get to them, and every process counts.

use std::collections::BTreeMap;

use super::*;
use crate::campaign;
use crate::plan::make_plan;
use crate::report::marks::never_hit;
use crate::sim::simulate;

fn marks(campaign: &str, seed: u64) -> BTreeMap<String, u64> {
    simulate(&make_plan(&campaign::load(campaign).unwrap(), seed), Settings::default()).ran.marks
}

#[test]
fn the_faults_of_quickstart_get_to_rare_branches() {
    let hits = marks("quickstart", 1);
    let expected = [
        "write_skips_dead",
        "write_unavailable",
        "digest_mismatch",
        "repair_waits",
        "repaired_own_copy",
        "read_widened",
        "ack_late",
        "silent_peer",
        "peer_revived",
        "boot_with_data",
    ];
    for mark in expected {
        assert!(hits.contains_key(mark), "{mark} was never hit: {hits:?}");
    }
    assert!(!hits.contains_key("repair_async") && !hits.contains_key("repair_left_out"), "{hits:?}");
    assert!(!never_hit(&hits).is_empty(), "a single run that gets everywhere would make marks useless");
    // Reads of one replica meet no mismatch.
    assert!(!marks("stale-reads", 1).contains_key("digest_mismatch"));
}

#[test]
fn marks_of_a_process_that_was_killed_still_count() {
    let mut world = settled(3, Settings::default());
    world.kill(n(2));
    pass(&mut world, 3 * SECOND);
    assert!(world.start(n(2)));
    pass(&mut world, 3 * SECOND);
    let before = world.marks().count(Mark::BootWithData);
    world.kill(n(2));
    assert_eq!(world.marks().count(Mark::BootWithData), before);
}
