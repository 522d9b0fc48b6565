//! Sloppy quorums: stand-ins take writes, serve reads, hand over, and only then forget.

use alloc::vec::Vec;

use super::cluster::{TestCluster, config, key};
use crate::*;

fn sloppy() -> ClusterConfig {
    ClusterConfig { sloppy: true, merkle_interval_ms: 0, ..config(6, 3) }
}

fn is_written(response: Option<ClientResponse>) -> bool {
    matches!(response, Some(ClientResponse::Written { .. }))
}

fn value_of(response: Option<ClientResponse>) -> Option<Vec<u8>> {
    match response {
        Some(ClientResponse::Read { value, .. }) => value.map(|value| value.0),
        other => panic!("no read: {other:?}"),
    }
}

/// The replicas of `k`, and the others in the order of the ring.
fn sides(cluster: &TestCluster) -> (Vec<NodeId>, Vec<NodeId>) {
    let ring = ring::Ring::new(&cluster.config.members, cluster.config.vnodes, cluster.config.replication);
    let walk: Vec<NodeId> = ring.walk(&key("k")).collect();
    assert_eq!(walk[..3], cluster.replicas(&key("k"))[..]);
    (walk[..3].to_vec(), walk[3..].to_vec())
}

#[test]
fn writes_and_reads_go_on_when_every_replica_is_away_and_nothing_is_lost() {
    let mut cluster = TestCluster::ready(sloppy(), 1);
    let (replicas, others) = sides(&cluster);
    cluster.put(others[0], &key("k"), "old", Level::All);
    replicas.iter().for_each(|node| cluster.crash(*node));
    cluster.run_ms(4_000);
    assert!(is_written(cluster.put(others[1], &key("k"), "new", Level::Quorum)));
    cluster.run_ms(20);
    // Apart from the stand-ins' own data, and under the owner's name.
    for (stand_in, owner) in others.iter().zip(&replicas) {
        assert_eq!(cluster.stored(*stand_in, &key("k")), None);
        assert!(cluster.kept_on_disk(*stand_in, *owner, &key("k")).is_some(), "{stand_in} for {owner}");
    }
    for reader in &others {
        assert_eq!(value_of(cluster.get(*reader, &key("k"), Level::Quorum)), Some(b"new".to_vec()), "{reader}");
    }
    assert!(cluster.counter(others[0], "stand_in_reads") > 0);
    replicas.iter().for_each(|node| cluster.start(*node));
    cluster.run_until("all is handed over", 30_000, |cluster| cluster.pending() == 0);
    for node in &replicas {
        let stored = cluster.on_disk(*node, &key("k")).and_then(|version| version.value);
        assert_eq!(stored, Some(Value(b"new".to_vec())), "{node}");
    }
}

#[test]
fn a_node_that_is_itself_away_stands_in_for_nobody() {
    let mut cluster = TestCluster::ready(sloppy(), 1);
    let (replicas, others) = sides(&cluster);
    cluster.crash(replicas[0]);
    cluster.crash(others[0]);
    cluster.run_ms(4_000);
    assert!(is_written(cluster.put(others[2], &key("k"), "x", Level::All)));
    assert!(cluster.kept_on_disk(others[1], replicas[0], &key("k")).is_some(), "the next behind it does");
}

#[test]
fn a_stand_in_that_crashed_hands_over_what_it_took() {
    let mut cluster = TestCluster::ready(sloppy(), 1);
    let (replicas, others) = sides(&cluster);
    replicas.iter().for_each(|node| cluster.crash(*node));
    cluster.run_ms(4_000);
    assert!(is_written(cluster.put(others[0], &key("k"), "x", Level::All)));
    for node in &others {
        cluster.crash(*node);
    }
    for node in cluster.members() {
        cluster.start(node);
    }
    cluster.run_until("all is handed over", 30_000, |cluster| {
        cluster.pending() == 0 && replicas.iter().all(|node| cluster.on_disk(*node, &key("k")).is_some())
    });
}

#[test]
fn a_crash_at_any_output_of_the_handing_over_loses_nothing() {
    let (replicas, others) = sides(&TestCluster::new(sloppy(), 1));
    for victim in [replicas[0], others[0]] {
        for outputs in 0.. {
            let mut cluster = TestCluster::ready(sloppy(), 1);
            replicas.iter().for_each(|node| cluster.crash(*node));
            cluster.run_ms(4_000);
            // Written at ALL: every stand-in holds it.
            assert!(is_written(cluster.put(others[1], &key("k"), "x", Level::All)));
            replicas.iter().for_each(|node| cluster.start(*node));
            let over = cluster.run_outputs(victim, outputs, |cluster| cluster.pending() == 0);
            cluster.crash(victim);
            cluster.start(victim);
            cluster.run_until("every replica has it", 30_000, |cluster| {
                cluster.pending() == 0 && replicas.iter().all(|node| cluster.on_disk(*node, &key("k")).is_some())
            });
            if over {
                assert!(outputs > 2, "only {outputs} steps");
                break;
            }
        }
    }
}

#[test]
fn a_stand_in_with_a_full_queue_does_not_count() {
    let mut cluster = TestCluster::ready(ClusterConfig { hints_bytes_max: 1, ..sloppy() }, 1);
    let (replicas, others) = sides(&cluster);
    cluster.crash(replicas[0]);
    cluster.crash(replicas[1]);
    cluster.run_ms(4_000);
    match cluster.put(others[2], &key("k"), "x", Level::Quorum) {
        Some(ClientResponse::Failed(error)) => assert_eq!(error.kind, ClientErrorKind::Timeout),
        other => panic!("{other:?}"),
    }
    let refused: u64 = others.iter().map(|node| cluster.counter(*node, "stand_in_writes_refused")).sum();
    assert_eq!(refused, 2);
}

#[test]
fn what_is_kept_for_nodes_that_own_the_key_no_more_goes_to_those_that_do() {
    let mut cluster = TestCluster::ready(sloppy(), 1);
    let (replicas, others) = sides(&cluster);
    replicas.iter().for_each(|node| cluster.crash(*node));
    cluster.run_ms(4_000);
    assert!(is_written(cluster.put(others[0], &key("k"), "x", Level::All)));
    // The three replicas are gone for good: the others are told of a cluster without them.
    for node in &others {
        cluster.crash(*node);
    }
    cluster.leave(&replicas);
    for node in &others {
        cluster.start(*node);
    }
    let owners = cluster.replicas(&key("k"));
    assert!(owners.iter().all(|owner| others.contains(owner)));
    cluster.run_until("the new owners have it", 30_000, |cluster| {
        cluster.pending() == 0 && owners.iter().all(|node| cluster.on_disk(*node, &key("k")).is_some())
    });
    assert!(others.iter().any(|node| cluster.counter(*node, "hints_rerouted") > 0));
}

#[test]
fn a_ring_is_walked_from_the_replicas_on_and_meets_everybody_once() {
    let members: Vec<NodeId> = (1..=9).map(NodeId).collect();
    for (vnodes, replication) in [(1, 1), (1, 3), (8, 3), (4, 9)] {
        let ring = ring::Ring::new(&members, vnodes, replication);
        for i in 0..50u8 {
            let key = Key(alloc::vec![i]);
            let walk: Vec<NodeId> = ring.walk(&key).collect();
            assert_eq!(walk[..usize::from(replication)], *ring.replicas(&key));
            let mut sorted = walk.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, members);
        }
    }
}
