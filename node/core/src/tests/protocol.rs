//! One scenario each: what a cluster must do, on simulated disks and links.

use alloc::vec::Vec;

use super::cluster::{TestCluster, config, key};
use crate::*;

fn value_of(response: Option<ClientResponse>) -> Option<Vec<u8>> {
    match response {
        Some(ClientResponse::Read { value, .. }) => value.map(|value| value.0),
        other => panic!("no read: {other:?}"),
    }
}

fn kind_of(response: Option<ClientResponse>) -> ClientErrorKind {
    match response {
        Some(ClientResponse::Failed(error)) => error.kind,
        other => panic!("no failure: {other:?}"),
    }
}

fn is_written(response: Option<ClientResponse>) -> bool {
    matches!(response, Some(ClientResponse::Written { .. }))
}

#[test]
fn a_fresh_cluster_becomes_ready_soon_and_any_node_coordinates() {
    let mut cluster = TestCluster::new(config(5, 3), 1);
    cluster.run_until("every node is ready", 1_000, |cluster| {
        cluster.members().iter().all(|node| cluster.is_ready(*node))
    });
    for node in cluster.members() {
        let key = key(&alloc::format!("of {node}"));
        assert!(is_written(cluster.put(node, &key, "x", Level::Quorum)));
        for reader in cluster.members() {
            assert_eq!(value_of(cluster.get(reader, &key, Level::Quorum)), Some(b"x".to_vec()));
        }
    }
}

#[test]
fn a_lone_node_is_ready_at_once_and_remembers_after_a_crash() {
    let mut cluster = TestCluster::new(config(1, 1), 1);
    let node = NodeId(1);
    assert!(cluster.is_ready(node));
    assert!(is_written(cluster.put(node, &key("k"), "x", Level::All)));
    cluster.crash(node);
    cluster.start(node);
    assert!(cluster.is_ready(node));
    assert_eq!(value_of(cluster.get(node, &key("k"), Level::One)), Some(b"x".to_vec()));
}

#[test]
fn a_deleted_key_reads_as_absent_with_the_stamp_of_its_tombstone() {
    let mut cluster = TestCluster::ready(config(3, 3), 1);
    cluster.put(NodeId(1), &key("k"), "x", Level::All);
    assert!(is_written(cluster.call(NodeId(2), ClientRequest::Delete { key: key("k"), level: Level::Quorum })));
    let read = cluster.get(NodeId(3), &key("k"), Level::Quorum);
    assert!(matches!(read, Some(ClientResponse::Read { value: None, stamp: Some(_) })), "{read:?}");
}

#[test]
fn a_crashed_node_with_its_disk_is_ready_at_boot_and_lost_nothing_it_acknowledged() {
    let mut cluster = TestCluster::ready(config(3, 3), 1);
    for i in 0..50 {
        assert!(is_written(cluster.put(NodeId(1), &key(&alloc::format!("{i}")), "x", Level::All)));
    }
    for node in cluster.members() {
        cluster.crash(node);
    }
    for node in cluster.members() {
        cluster.start(node);
        assert!(cluster.is_ready(node));
        for i in 0..50 {
            assert!(cluster.stored(node, &key(&alloc::format!("{i}"))).is_some(), "{node} lost {i}");
        }
    }
}

#[test]
fn a_wiped_node_answers_no_replica_read_until_it_compared_itself_with_all_others() {
    let mut cluster = TestCluster::ready(config(3, 3), 1);
    let (a, b, wiped) = (NodeId(1), NodeId(2), NodeId(3));
    cluster.put(a, &key("k"), "x", Level::All);
    cluster.crash(wiped);
    cluster.wipe(wiped);
    // One of the others is out of reach, so the comparison can't be completed.
    cluster.cut_both(b, wiped);
    cluster.start(wiped);
    cluster.run_ms(5_000);
    assert_eq!(cluster.events(wiped).last(), Some(&Event::PeerDown(b)));
    assert!(!cluster.is_ready(wiped));
    assert_eq!(cluster.status(wiped).catching_up_from, [b]);
    assert_eq!(cluster.stored(wiped, &key("k")).and_then(|v| v.value), Some(Value(b"x".to_vec())), "it got that of n1");
    // It coordinates, but is itself no readable replica: n1 alone can't make a quorum.
    assert_eq!(kind_of(cluster.get(wiped, &key("k"), Level::Quorum)), ClientErrorKind::Unavailable);
    assert_eq!(value_of(cluster.get(wiped, &key("k"), Level::One)), Some(b"x".to_vec()));
    assert_eq!(kind_of(cluster.get(a, &key("k"), Level::All)), ClientErrorKind::Unavailable);
    assert!(cluster.counter(wiped, "replica_reads_refused") > 0);
    // It takes writes and acknowledges them.
    assert!(is_written(cluster.put(a, &key("k2"), "y", Level::All)));
    cluster.heal();
    cluster.run_until("the wiped node has caught up", 10_000, |cluster| cluster.is_ready(wiped));
    assert!(cluster.events(wiped).contains(&Event::CaughtUp));
    cluster.run_ms(100);
    cluster.crash(wiped);
    cluster.start(wiped);
    assert!(cluster.is_ready(wiped), "the mark survives a restart");
}

#[test]
fn a_node_that_crashes_while_catching_up_goes_on_catching_up() {
    let mut cluster = TestCluster::ready(config(3, 3), 1);
    cluster.put(NodeId(1), &key("k"), "x", Level::All);
    cluster.crash(NodeId(3));
    cluster.wipe(NodeId(3));
    cluster.cut_both(NodeId(2), NodeId(3));
    cluster.start(NodeId(3));
    cluster.run_ms(3_000);
    assert!(cluster.on_disk(NodeId(3), &key("k")).is_some(), "its store is not empty any more");
    cluster.crash(NodeId(3));
    cluster.start(NodeId(3));
    assert!(!cluster.is_ready(NodeId(3)));
}

/// N = 3: a version that only n1 holds, n2 out of reach, read through n3.
fn after_a_minority_write(read_repair: ReadRepair) -> TestCluster {
    let mut cluster = TestCluster::ready(ClusterConfig { read_repair, merkle_interval_ms: 0, ..config(3, 3) }, 1);
    cluster.put(NodeId(1), &key("k"), "old", Level::All);
    cluster.cut_both(NodeId(1), NodeId(2));
    cluster.cut_both(NodeId(1), NodeId(3));
    assert_eq!(kind_of(cluster.put(NodeId(1), &key("k"), "new", Level::Quorum)), ClientErrorKind::Timeout);
    cluster.run_ms(5_000);
    assert_eq!(kind_of(cluster.put(NodeId(1), &key("k"), "never", Level::Quorum)), ClientErrorKind::Unavailable);
    cluster.heal();
    cluster.run_ms(3_000);
    cluster
}

#[test]
fn blocking_repair_leaves_the_version_it_answered_on_a_quorum() {
    let mut cluster = after_a_minority_write(ReadRepair::Blocking);
    assert_eq!(value_of(cluster.get(NodeId(1), &key("k"), Level::Quorum)), Some(b"new".to_vec()));
    let holders = cluster
        .members()
        .into_iter()
        .filter(|node| cluster.on_disk(*node, &key("k")).and_then(|v| v.value) == Some(Value(b"new".to_vec())));
    assert_eq!(holders.count(), 2, "one stale replica was asked, one was repaired, the third is untouched");
    assert_eq!(cluster.counter(NodeId(1), "read_repairs_sent"), 1);
    assert_eq!(cluster.counter(NodeId(1), "digest_mismatches"), 1);
}

#[test]
fn async_repair_repairs_after_the_answer_and_none_never_does() {
    for (read_repair, holders) in [(ReadRepair::Async, 2), (ReadRepair::None, 1)] {
        let mut cluster = after_a_minority_write(read_repair);
        assert_eq!(value_of(cluster.get(NodeId(1), &key("k"), Level::Quorum)), Some(b"new".to_vec()));
        cluster.run_ms(100);
        let new = Some(Value(b"new".to_vec()));
        let members = cluster.members();
        let holding = members.iter().filter(|node| cluster.stored(**node, &key("k")).and_then(|v| v.value) == new);
        assert_eq!(holding.count(), holders, "{read_repair:?}");
    }
}

#[test]
fn only_the_key_that_was_read_is_repaired() {
    let mut cluster = TestCluster::ready(ClusterConfig { merkle_interval_ms: 0, ..config(3, 3) }, 1);
    cluster.partition(&[NodeId(3)]);
    cluster.run_ms(5_000);
    for name in ["a", "b"] {
        assert!(is_written(cluster.put(NodeId(1), &key(name), "x", Level::Quorum)));
    }
    cluster.heal();
    cluster.run_ms(3_000);
    cluster.get(NodeId(1), &key("a"), Level::All);
    assert!(cluster.stored(NodeId(3), &key("a")).is_some());
    assert!(cluster.stored(NodeId(3), &key("b")).is_none());
}

#[test]
fn a_silent_replica_is_replaced_by_another_before_the_deadline() {
    let mut cluster = TestCluster::ready(config(3, 3), 1);
    cluster.put(NodeId(1), &key("k"), "x", Level::All);
    // Nobody knows yet that n2 is out of reach.
    cluster.cut_both(NodeId(1), NodeId(2));
    for _ in 0..8 {
        assert_eq!(value_of(cluster.get(NodeId(1), &key("k"), Level::Quorum)), Some(b"x".to_vec()));
    }
    assert!(cluster.counter(NodeId(1), "speculative_reads") > 0);
}

#[test]
fn replicas_that_were_apart_are_equal_again_by_anti_entropy_alone() {
    for seed in 0..10 {
        let mut cluster = TestCluster::ready(config(5, 3), seed);
        cluster.partition(&[NodeId(1), NodeId(2)]);
        let keys: Vec<Key> = (0..40).map(|i| key(&alloc::format!("{i}"))).collect();
        for (i, key) in keys.iter().enumerate() {
            for node in [NodeId(1), NodeId(4)] {
                if i % 3 == 0 {
                    cluster.call(node, ClientRequest::Delete { key: key.clone(), level: Level::One });
                } else {
                    cluster.put(node, key, &alloc::format!("{i} by {node}"), Level::One);
                }
            }
        }
        let agree = |cluster: &TestCluster| {
            keys.iter().all(|key| {
                let replicas = cluster.replicas(key);
                replicas.iter().all(|node| cluster.stored(*node, key) == cluster.stored(replicas[0], key))
            })
        };
        assert!(!agree(&cluster), "the partition made no difference");
        cluster.heal();
        cluster.run_until("all replicas agree", 60_000, agree);
    }
}

#[test]
fn tombstones_go_after_their_grace_everywhere_and_do_not_come_back() {
    let mut cluster = TestCluster::ready(ClusterConfig { tombstone_grace_ms: 4_000, ..config(3, 3) }, 1);
    cluster.put(NodeId(1), &key("k"), "x", Level::All);
    cluster.call(NodeId(1), ClientRequest::Delete { key: key("k"), level: Level::All });
    assert_eq!(cluster.status(NodeId(2)).keys, 1);
    // One clock behind: its replica sweeps later and must not hand the tombstone back meanwhile.
    cluster.set_skew_ms(NodeId(3), -8_000);
    cluster.run_until("n1 and n2 swept", 20_000, |c| {
        [NodeId(1), NodeId(2)].iter().all(|node| c.stored(*node, &key("k")).is_none())
    });
    assert!(cluster.stored(NodeId(3), &key("k")).is_some());
    cluster.run_ms(4_000);
    assert!(cluster.stored(NodeId(1), &key("k")).is_none(), "the tombstone came back");
    let read = cluster.get(NodeId(3), &key("k"), Level::All);
    assert!(matches!(read, Some(ClientResponse::Read { value: None, .. })), "{read:?}");
    cluster.run_until("n3 swept", 20_000, |c| c.stored(NodeId(3), &key("k")).is_none());
    assert_eq!(cluster.on_disk(NodeId(1), &key("k")), None);
    assert!(cluster.counter(NodeId(1), "tombstones_removed") == 1);
}

#[test]
fn equal_inputs_give_equal_outputs() {
    let run = |seed: u64| {
        let mut cluster = TestCluster::ready(config(4, 3), seed);
        cluster.partition(&[NodeId(1)]);
        for i in 0..20 {
            let node = NodeId(1 + i % 4);
            cluster.put(node, &key(&alloc::format!("{}", i % 5)), "x", Level::Quorum);
            cluster.get(node, &key(&alloc::format!("{}", i % 3)), Level::Quorum);
        }
        cluster.crash(NodeId(2));
        cluster.heal();
        cluster.run_ms(3_000);
        cluster.start(NodeId(2));
        cluster.run_ms(3_000);
        cluster.trace.finalize()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
