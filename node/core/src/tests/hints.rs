//! Hinted handoff by the coordinator: what is kept, for how long, and that it arrives.

use alloc::format;
use alloc::vec::Vec;

use super::cluster::{TestCluster, config, key};
use crate::*;

fn hinting() -> ClusterConfig {
    // No Merkle exchange: what arrives, hints have brought.
    ClusterConfig { hints: Hints::Coordinator, merkle_interval_ms: 0, ..config(3, 3) }
}

fn is_written(response: Option<ClientResponse>) -> bool {
    matches!(response, Some(ClientResponse::Written { .. }))
}

fn kind_of(response: Option<ClientResponse>) -> ClientErrorKind {
    match response {
        Some(ClientResponse::Failed(error)) => error.kind,
        other => panic!("no failure: {other:?}"),
    }
}

fn delete(cluster: &mut TestCluster, node: NodeId, name: &str, level: Level) -> Option<ClientResponse> {
    cluster.call(node, ClientRequest::Delete { key: key(name), level })
}

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);

/// C is down and known to be.
fn without_c(config: ClusterConfig) -> TestCluster {
    let mut cluster = TestCluster::ready(config, 1);
    cluster.crash(C);
    cluster.run_ms(4_000);
    cluster
}

#[test]
fn what_a_dead_replica_missed_is_handed_over_and_then_forgotten() {
    let mut cluster = without_c(hinting());
    for i in 0..600 {
        assert!(is_written(cluster.put(A, &key(&format!("{i}")), "x", Level::Quorum)));
    }
    assert!(is_written(delete(&mut cluster, A, "7", Level::Quorum)));
    assert_eq!(cluster.counter(A, "hints_pending_n3"), 600, "one for each key");
    assert_eq!(cluster.counter(A, "hints_stored"), 601);
    assert!(cluster.counter(A, "hints_pending_bytes") > 600 * 64);
    cluster.start(C);
    cluster.run_until("the hints are handed over", 10_000, |cluster| cluster.pending() == 0);
    for i in 0..600 {
        let stored = cluster.on_disk(C, &key(&format!("{i}"))).expect("handed over");
        assert_eq!(stored.value.is_none(), i == 7);
        cluster.run_ms(10);
        assert_eq!(cluster.kept_on_disk(A, C, &key(&format!("{i}"))), None);
    }
    assert_eq!(cluster.counter(A, "hints_replayed"), 600);
}

#[test]
fn a_write_that_was_answered_is_hinted_for_those_that_never_acknowledged_it() {
    let mut cluster = TestCluster::ready(hinting(), 1);
    cluster.cut_both(A, C);
    assert!(is_written(cluster.put(A, &key("k"), "x", Level::Quorum)));
    assert_eq!(cluster.pending(), 0, "C may acknowledge still");
    cluster.run_ms(1_100);
    assert_eq!(cluster.counter(A, "hints_pending_n3"), 1);
    cluster.heal();
    cluster.run_until("the hint is handed over", 20_000, |cluster| cluster.pending() == 0);
    assert!(cluster.on_disk(C, &key("k")).is_some());
}

#[test]
fn when_all_acknowledge_there_are_no_hints_and_no_message_more() {
    let sent = |config: ClusterConfig| {
        let mut cluster = TestCluster::ready(config, 1);
        let before = cluster.sent.clone();
        for i in 0..20 {
            assert!(is_written(cluster.put(A, &key(&format!("{i}")), "x", Level::One)));
        }
        cluster.run_ms(3_000);
        let kinds = ["write", "write_ack", "merge", "merge_ack"];
        kinds.map(|kind| cluster.sent.get(kind).unwrap_or(&0) - before.get(kind).unwrap_or(&0))
    };
    assert_eq!(sent(hinting()), sent(ClusterConfig { hints: Hints::None, ..hinting() }));
    assert_eq!(sent(hinting()), [40, 40, 0, 0]);
}

#[test]
fn a_hint_counts_for_any_and_for_nothing_else() {
    let mut cluster = TestCluster::ready(ClusterConfig { members: (1..=4).map(NodeId).collect(), ..hinting() }, 1);
    let replicas = cluster.replicas(&key("k"));
    let outside = cluster.members().into_iter().find(|node| !replicas.contains(node)).expect("four nodes");
    for node in &replicas {
        cluster.crash(*node);
    }
    cluster.run_ms(4_000);
    for level in [Level::One, Level::Quorum, Level::All] {
        assert_eq!(kind_of(cluster.put(outside, &key("k"), "x", level)), ClientErrorKind::Unavailable);
    }
    assert_eq!(cluster.pending(), 0, "what was refused leaves nothing behind");
    assert!(is_written(cluster.put(outside, &key("k"), "x", Level::Any)));
    assert_eq!(cluster.counter(outside, "writes_hinted_only"), 1);
    for node in &replicas {
        assert!(cluster.kept_on_disk(outside, *node, &key("k")).is_some(), "durable before it was answered");
    }
    // The coordinator's memory is lost, its disk is not.
    cluster.crash(outside);
    cluster.start(outside);
    for node in &replicas {
        cluster.start(*node);
    }
    cluster.run_until("every replica has it", 20_000, |cluster| {
        replicas.iter().all(|node| cluster.on_disk(*node, &key("k")).is_some()) && cluster.pending() == 0
    });
}

#[test]
fn any_is_answered_by_a_hint_when_replicas_that_seemed_alive_are_silent() {
    let mut cluster = TestCluster::ready(ClusterConfig { members: (1..=4).map(NodeId).collect(), ..hinting() }, 1);
    let replicas = cluster.replicas(&key("k"));
    let outside = cluster.members().into_iter().find(|node| !replicas.contains(node)).expect("four nodes");
    for node in &replicas {
        cluster.cut_both(outside, *node);
    }
    assert!(is_written(cluster.put(outside, &key("k"), "x", Level::Any)));
    assert_eq!(cluster.pending(), 3);
    assert_eq!(cluster.counter(outside, "requests_timed_out"), 0);
}

#[test]
fn any_is_unavailable_when_no_replica_is_up_and_no_hint_fits() {
    let config = ClusterConfig { members: (1..=4).map(NodeId).collect(), hints_bytes_max: 1, ..hinting() };
    let mut cluster = TestCluster::ready(config, 1);
    let replicas = cluster.replicas(&key("k"));
    let outside = cluster.members().into_iter().find(|node| !replicas.contains(node)).expect("four nodes");
    replicas.iter().for_each(|node| cluster.crash(*node));
    cluster.run_ms(4_000);
    assert_eq!(kind_of(cluster.put(outside, &key("k"), "x", Level::Any)), ClientErrorKind::Unavailable);
    assert_eq!((cluster.pending(), cluster.counter(outside, "hints_dropped")), (0, 3));
}

#[test]
fn a_full_queue_drops_hints_and_fails_no_write() {
    let mut cluster = without_c(ClusterConfig { hints_bytes_max: 1_000, ..hinting() });
    for i in 0..100 {
        assert!(is_written(cluster.put(A, &key(&format!("{i}")), "xxxxxxxxxxxxxxxxxxxx", Level::Quorum)));
    }
    let (stored, dropped) = (cluster.counter(A, "hints_stored"), cluster.counter(A, "hints_dropped"));
    assert!(stored > 5 && stored + dropped == 100, "{stored} {dropped}");
    assert!(cluster.counter(A, "hints_pending_bytes") <= 1_000);
    cluster.start(C);
    cluster.run_until("the hints are handed over", 10_000, |cluster| cluster.pending() == 0);
    // There is room again.
    cluster.crash(C);
    cluster.run_ms(4_000);
    assert!(is_written(cluster.put(A, &key("again"), "x", Level::Quorum)));
    assert_eq!(cluster.pending(), 1);
}

#[test]
fn no_hints_for_a_node_that_is_away_for_longer_than_the_window() {
    let mut cluster = without_c(ClusterConfig { hint_window_ms: 5_000, ..hinting() });
    assert!(is_written(cluster.put(A, &key("in time"), "x", Level::Quorum)));
    cluster.run_ms(6_000);
    assert!(is_written(cluster.put(A, &key("too late"), "x", Level::Quorum)));
    assert_eq!((cluster.pending(), cluster.counter(A, "hints_outside_window")), (1, 1));
    cluster.start(C);
    cluster.run_until("the hint is handed over", 10_000, |cluster| cluster.pending() == 0);
    cluster.crash(C);
    cluster.run_ms(4_000);
    assert!(is_written(cluster.put(A, &key("anew"), "x", Level::Quorum)));
    assert_eq!(cluster.pending(), 1, "the window began anew");
}

#[test]
fn an_old_hint_never_brings_a_deleted_value_back() {
    let config = ClusterConfig { tombstone_grace_ms: 8_000, ..hinting() };
    let mut cluster = without_c(config);
    assert!(is_written(cluster.put(A, &key("k"), "x", Level::Quorum)));
    assert_eq!(cluster.counter(A, "hints_pending_n3"), 1);
    // B deletes, and its own hint is lost with its disk's room: only A's old hint is left for C.
    cluster.config.hints = Hints::None;
    cluster.crash(B);
    cluster.start(B);
    cluster.run_ms(1_000);
    assert!(is_written(delete(&mut cluster, B, "k", Level::Quorum)));
    // Everybody has forgotten the delete.
    cluster.run_until("the tombstone is swept", 30_000, |cluster| {
        [A, B].iter().all(|node| cluster.stored(*node, &key("k")).is_none())
    });
    cluster.start(C);
    cluster.run_ms(10_000);
    assert_eq!(cluster.pending(), 0);
    assert_eq!(cluster.stored(C, &key("k")), None, "the value came back");
    assert_eq!(cluster.counter(A, "hints_expired"), 1);
}

#[test]
fn a_newer_hint_that_comes_while_an_older_is_in_flight_is_not_lost() {
    let mut cluster = without_c(hinting());
    assert!(is_written(cluster.put(A, &key("k"), "old", Level::Quorum)));
    cluster.start(C);
    // Until the moment the batch is out and not acknowledged.
    let before = cluster.sent.get("merge").copied().unwrap_or(0);
    cluster.run_until("the batch is sent", 10_000, |cluster| cluster.sent.get("merge").copied().unwrap_or(0) > before);
    cluster.cut(A, C);
    let id =
        cluster.request(A, ClientRequest::Put { key: key("k"), value: Value(b"new".to_vec()), level: Level::Quorum });
    assert!(is_written(cluster.wait(id)));
    cluster.run_ms(1_100);
    cluster.heal();
    let new = Some(Value(b"new".to_vec()));
    cluster.run_until("the newer hint is handed over", 30_000, |cluster| {
        cluster.stored(C, &key("k")).and_then(|version| version.value) == new
    });
    cluster.run_until("nothing is kept any more", 30_000, |cluster| cluster.pending() == 0);
}

#[test]
fn batches_that_are_not_acknowledged_are_sent_ever_more_rarely() {
    let mut cluster = TestCluster::ready(hinting(), 1);
    // What A sends is lost; what C sends arrives: A holds C for alive, until the connection gives up.
    cluster.crash(C);
    cluster.run_ms(4_000);
    for i in 0..3 {
        assert!(is_written(cluster.put(A, &key(&format!("{i}")), "x", Level::Quorum)));
    }
    cluster.start(C);
    cluster.run_until("C is linked", 5_000, |cluster| cluster.links_of(A).contains(&C));
    cluster.lose_silently(A, C);
    cluster.run_ms(60_000);
    let timeouts = cluster.counter(A, "hints_replay_timeouts");
    assert!((3..=6).contains(&timeouts), "{timeouts} tries within a minute, after 1, 2, 4, 8, 16 s");
    assert_eq!(cluster.pending(), 3);
    cluster.find_again(A, C);
    cluster.run_until("the hints are handed over", 61_000, |cluster| cluster.pending() == 0);
}

#[test]
fn a_crash_at_any_output_of_the_replay_loses_no_hint() {
    // Each run stops one of the two nodes one output later than the one before, until the replay was over before.
    for victim in [A, C] {
        for outputs in 0.. {
            let mut cluster = without_c(hinting());
            let names: Vec<Key> = (0..5).map(|i| key(&format!("{i}"))).collect();
            for name in &names {
                assert!(is_written(cluster.put(A, name, "x", Level::Quorum)));
            }
            // B must not help.
            cluster.crash(B);
            cluster.start(C);
            let over = cluster.run_outputs(victim, outputs, |cluster| cluster.pending() == 0);
            cluster.crash(victim);
            cluster.start(victim);
            cluster.run_until("C has all", 30_000, |cluster| {
                names.iter().all(|name| cluster.on_disk(C, name).is_some()) && cluster.pending() == 0
            });
            if over {
                assert!(outputs > 2, "only {outputs} steps");
                break;
            }
        }
    }
}
