//! The figures that are claimed, at sizes that a test can afford. Every run is of a seed, so it passes or fails for good.

use hearsay_overlay::scenarios::{idle, massive_failure, partition_and_merge, series};
use hearsay_overlay::tables::{MeasuredRow, TABLES, trials};
use hearsay_overlay::{Outcome, trial};

/// A row of each table of 1987, with few trials.
#[test]
fn the_tables_of_1987_come_out() {
    for table in TABLES {
        let paper = table.rows[1];
        let outcomes: Vec<Outcome> = trials(&table, paper.k, 40).iter().map(trial).collect();
        let measured = MeasuredRow::of(&outcomes);
        assert!(measured.agrees_with(&paper), "{}, k = {}: {measured:?} beside {paper:?}", table.name, paper.k);
    }
}

#[test]
fn a_settled_tree_carries_each_payload_once() {
    let series = series(200, 1, false);
    assert_eq!((series.missed, series.shape.components.as_slice()), (0, &[200][..]));
    assert!(series.redundancy <= 0.05 && series.last_hop <= 13.0, "{series:?}");
    // As mixed as a random graph of its degree: ln 200 / ln 4 is 3.8.
    assert!(series.shape.clustering < 0.05 && series.shape.path_mean < 4.2, "{:?}", series.shape);
}

#[test]
fn what_many_senders_cost_is_bounded() {
    let series = series(200, 1, true);
    assert_eq!(series.missed, 0);
    assert!(series.redundancy <= 0.2, "{series:?}");
}

#[test]
fn the_first_broadcast_after_a_massive_failure_reaches_the_component() {
    for share in [0.1, 0.5, 0.8] {
        let after = massive_failure(300, 2, share);
        assert_eq!(after.first_missed, 0, "{share}: {after:?}");
        assert_eq!(after.in_component, after.survivors, "{share}: the overlay is one again: {after:?}");
        assert!(after.reached[4] >= 0.99, "{share}: {after:?}");
        let whole_ms = after.recovered_ms.expect("it recovers") as f64;
        assert!(whole_ms >= 100.0 && after.first_ms <= whole_ms + 1_000.0, "{share}: {after:?}");
    }
}

#[test]
fn halves_that_were_parted_for_ten_minutes_merge() {
    let merge = partition_and_merge(100, 3);
    assert_eq!((merge.parted, merge.crossing, merge.missed), (2, 0, 0), "{merge:?}");
    assert!(merge.merged_ms.is_some_and(|ms| ms <= 120_000), "{merge:?}");
}

#[test]
fn an_idle_node_says_the_same_in_a_cluster_of_any_size() {
    let [small, large] = [50, 500].map(|nodes| idle(nodes, 1));
    // Numbers of nodes above 127 take a byte more.
    assert!(small.bytes > 0.0 && large.bytes <= 1.5 * small.bytes, "{small:?}, {large:?}");
    assert!(large.messages <= 1.1 * small.messages && large.messages < 10.0, "{small:?}, {large:?}");
}

#[test]
fn equal_seeds_give_equal_runs() {
    let run = |seed| format!("{:?}", massive_failure(100, seed, 0.5));
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
