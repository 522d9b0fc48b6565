//! Read repair and speculative reads: what is sent, to whom, and that nothing is sent without need.

use super::cluster::{TestCluster, config, key};
use crate::*;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn quiet(members: u16, replication: u8) -> ClusterConfig {
    ClusterConfig { merkle_interval_ms: 0, ..config(members, replication) }
}

fn counts(cluster: &TestCluster, kinds: [&str; 4]) -> [u64; 4] {
    kinds.map(|kind| cluster.sent.get(kind).copied().unwrap_or(0))
}

fn is_read(response: Option<ClientResponse>, value: &str) -> bool {
    matches!(response, Some(ClientResponse::Read { value: Some(Value(read)), .. }) if read == value.as_bytes())
}

#[test]
fn blocking_repair_adds_no_message_when_the_replicas_agree() {
    let kinds = ["read", "read_reply", "write", "write_ack"];
    let sent = |read_repair: ReadRepair| {
        let mut cluster = TestCluster::ready(ClusterConfig { read_repair, ..quiet(3, 3) }, 1);
        cluster.put(A, &key("k"), "x", Level::All);
        cluster.run_ms(100);
        let before = counts(&cluster, kinds);
        for _ in 0..50 {
            assert!(is_read(cluster.get(A, &key("k"), Level::Quorum), "x"));
        }
        cluster.run_ms(1_000);
        let after = counts(&cluster, kinds);
        core::array::from_fn::<u64, 4, _>(|i| after[i] - before[i])
    };
    // R - 1 questions and answers, since the coordinator is a replica.
    assert_eq!(sent(ReadRepair::Blocking), [50, 50, 0, 0]);
    assert_eq!(sent(ReadRepair::None), [50, 50, 0, 0]);
}

#[test]
fn each_replica_is_sent_what_it_lacks_and_the_others_nothing() {
    let mut cluster = TestCluster::ready(quiet(5, 5), 1);
    cluster.put(A, &key("k"), "old", Level::All);
    cluster.partition(&[NodeId(4), NodeId(5)]);
    cluster.run_ms(4_000);
    cluster.put(A, &key("k"), "newer", Level::Quorum);
    cluster.heal();
    cluster.run_ms(4_000);
    let before = counts(&cluster, ["write", "write_ack", "merge", "sync"]);
    assert!(is_read(cluster.get(A, &key("k"), Level::All), "newer"));
    let after = counts(&cluster, ["write", "write_ack", "merge", "sync"]);
    assert_eq!(after[0] - before[0], 2, "one for each of the two that missed it");
    assert_eq!(cluster.counter(A, "digest_mismatches"), 1);
    assert_eq!(cluster.counter(A, "read_repairs_sent"), 2);
    assert_eq!(cluster.counter(A, "read_repair_bytes"), 2 * ("k".len() + "newer".len()) as u64);
    for node in [NodeId(4), NodeId(5)] {
        assert_eq!(cluster.on_disk(node, &key("k")), cluster.on_disk(A, &key("k")), "{node}");
    }
}

#[test]
fn a_repair_that_is_not_acknowledged_goes_to_replicas_not_contacted_yet_and_these_count() {
    let mut cluster = TestCluster::ready(quiet(5, 5), 1);
    cluster.put(A, &key("k"), "old", Level::All);
    cluster.partition(&[A]);
    // Known to A alone.
    assert!(matches!(cluster.put(A, &key("k"), "new", Level::Quorum), Some(ClientResponse::Failed(_))));
    cluster.heal();
    cluster.run_ms(4_000);
    // Every disk but A's is slow: whoever A repairs first is silent for longer than the patience.
    let id = cluster.request(A, ClientRequest::Get { key: key("k"), level: Level::Quorum });
    cluster.run_until("a repair is on its way", 1_000, |cluster| cluster.counter_now(A, "read_repairs_sent") > 0);
    let asked = cluster.repaired_by(A);
    assert_eq!(asked.len(), 2, "two of the three answers were older");
    asked.iter().for_each(|node| cluster.cut_both(A, *node));
    assert!(is_read(cluster.wait(id), "new"));
    assert_eq!(cluster.counter(A, "read_repairs_widened"), 2);
    let holders = cluster.members().into_iter().filter(|node| {
        cluster.on_disk(*node, &key("k")).and_then(|version| version.value) == Some(Value(b"new".to_vec()))
    });
    assert!(holders.count() >= 3);
}

/// Milliseconds that the slowest of many reads took, with one replica silent and nobody knowing.
fn slowest_read_ms(config: ClusterConfig) -> (u64, TestCluster) {
    let mut cluster = TestCluster::ready(config, 1);
    cluster.put(A, &key("k"), "x", Level::All);
    for _ in 0..64 {
        assert!(is_read(cluster.get(A, &key("k"), Level::Quorum), "x"));
    }
    cluster.cut_both(A, B);
    let mut slowest = 0;
    for _ in 0..12 {
        let began = cluster.now_ms();
        assert!(is_read(cluster.get(A, &key("k"), Level::Quorum), "x"));
        slowest = slowest.max(cluster.now_ms() - began);
    }
    (slowest, cluster)
}

#[test]
fn another_replica_is_asked_after_the_delay_or_the_percentile_of_recent_reads() {
    let base = || ClusterConfig { repair_patience_ms: 200, ..quiet(3, 3) };
    let (patience, _) = slowest_read_ms(base());
    assert!((200..300).contains(&patience), "{patience}");
    let (delay, mut cluster) = slowest_read_ms(ClusterConfig { speculative_delay_ms: Some(40), ..base() });
    assert!((40..60).contains(&delay), "{delay}");
    assert!(cluster.counter(A, "speculative_reads") > 0);
    let (percentile, _) = slowest_read_ms(ClusterConfig { speculative_percentile: Some(99), ..base() });
    assert!(percentile < 30, "{percentile}");
}

#[test]
fn a_short_delay_does_not_ask_the_same_replicas_without_end() {
    let config = ClusterConfig { speculative_delay_ms: Some(1), request_timeout_ms: 1_000, ..quiet(3, 3) };
    let mut cluster = TestCluster::ready(config, 1);
    cluster.put(A, &key("k"), "x", Level::All);
    cluster.cut_both(A, B);
    cluster.cut_both(A, NodeId(3));
    assert!(matches!(cluster.get(A, &key("k"), Level::Quorum), Some(ClientResponse::Failed(_))));
    // The third replica after 1 ms, then both once in each patience of 200 ms.
    let asked = cluster.counter(A, "speculative_reads");
    assert!((5..=10).contains(&asked), "{asked}");
}
