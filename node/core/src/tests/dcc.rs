//! The policy `dcc` in small clusters, case by case.

use alloc::vec::Vec;

use super::cluster::{TestCluster, config, key};
use crate::*;

fn dcc(members: u16) -> ClusterConfig {
    ClusterConfig { conflict: Conflict::Dcc, exchange_interval_ms: 100, ..config(members, 3) }
}

fn write(cluster: &mut TestCluster, node: u16, value: Option<&str>, context: &[u8], level: Level) -> ClientResponse {
    let value = value.map(|value| Value(value.as_bytes().to_vec()));
    let request = ClientRequest::Write { key: key("k"), value, level, context: context.to_vec() };
    cluster.call(NodeId(node), request).expect("an answer")
}

fn put(cluster: &mut TestCluster, node: u16, value: &str, context: &[u8]) {
    let response = write(cluster, node, Some(value), context, Level::Quorum);
    assert_eq!(response, ClientResponse::Written { stamp: WallTime(0) });
}

fn read(cluster: &mut TestCluster, node: u16) -> (Vec<Value>, Vec<u8>) {
    match cluster.get(NodeId(node), &key("k"), Level::Quorum) {
        Some(ClientResponse::Siblings { mut values, context }) => {
            values.sort();
            (values, context)
        }
        other => panic!("{other:?}"),
    }
}

fn values(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| Value(name.as_bytes().to_vec())).collect()
}

fn nothing_is_left(cluster: &TestCluster) -> bool {
    cluster.members().iter().all(|node| {
        cluster
            .causal_store(*node)
            .is_some_and(|store| store.table_ref().is_empty() && store.bare_len() == 0 && store.log().is_empty())
    })
}

#[test]
fn concurrent_writes_are_siblings_until_one_that_has_seen_them() {
    let mut cluster = TestCluster::ready(dcc(3), 1);
    put(&mut cluster, 1, "a", &[]);
    let (found, context) = read(&mut cluster, 2);
    assert_eq!(found, values(&["a"]));
    put(&mut cluster, 2, "b", &[]);
    put(&mut cluster, 3, "c", &context);
    let (found, context) = read(&mut cluster, 1);
    assert_eq!(found, values(&["b", "c"]), "c replaces a, which it has seen, and not b");
    put(&mut cluster, 1, "d", &context);
    assert_eq!(read(&mut cluster, 3).0, values(&["d"]));
}

#[test]
fn clocks_far_apart_lose_nothing() {
    let mut cluster = TestCluster::ready(dcc(3), 2);
    cluster.set_skew_ms(NodeId(1), 3_600_000);
    put(&mut cluster, 1, "ahead", &[]);
    let (_, context) = read(&mut cluster, 2);
    put(&mut cluster, 2, "behind", &context);
    assert_eq!(read(&mut cluster, 3).0, values(&["behind"]));
}

#[test]
fn a_delete_leaves_nothing_behind_and_is_not_undone_by_who_missed_it() {
    let mut cluster = TestCluster::ready(dcc(3), 3);
    put(&mut cluster, 1, "a", &[]);
    let (_, context) = read(&mut cluster, 1);
    cluster.run_ms(500);
    cluster.partition(&[NodeId(3)]);
    assert_eq!(write(&mut cluster, 1, None, &context, Level::Quorum), ClientResponse::Written { stamp: WallTime(0) });
    assert_eq!(read(&mut cluster, 2).0, []);
    cluster.run_ms(8_000);
    let held = cluster.container(NodeId(3), &key("k")).expect("n3 runs");
    assert_eq!(held.values().len(), 1, "n3 has not heard of the delete");
    cluster.heal();
    cluster.run_until("nothing is left", 20_000, nothing_is_left);
    assert_eq!(read(&mut cluster, 3).0, []);
}

#[test]
fn a_plain_delete_removes_what_its_coordinator_knows() {
    let mut cluster = TestCluster::ready(dcc(3), 4);
    put(&mut cluster, 1, "a", &[]);
    cluster.run_ms(100);
    let delete = ClientRequest::Delete { key: key("k"), level: Level::Quorum };
    assert!(matches!(cluster.call(NodeId(2), delete), Some(ClientResponse::Written { .. })));
    assert_eq!(read(&mut cluster, 3).0, []);
}

#[test]
fn a_coordinator_that_is_no_replica_forwards() {
    let mut cluster = TestCluster::ready(dcc(7), 5);
    let replicas = cluster.replicas(&key("k"));
    let outside = cluster.members().into_iter().find(|node| !replicas.contains(node)).expect("7 members, 3 replicas");
    put(&mut cluster, outside.0, "a", &[]);
    let (found, context) = read(&mut cluster, outside.0);
    assert_eq!(found, values(&["a"]));
    put(&mut cluster, outside.0, "b", &context);
    assert_eq!(read(&mut cluster, replicas[0].0).0, values(&["b"]));
    let actor_nodes: Vec<NodeId> =
        cluster.container(replicas[1], &key("k")).expect("runs").dots().map(|dot| dot.actor.node).collect();
    assert!(actor_nodes.iter().all(|node| replicas.contains(node)), "only replicas make dots: {actor_nodes:?}");

    replicas.iter().skip(1).for_each(|node| cluster.crash(*node));
    cluster.run_ms(5_000);
    let refused = write(&mut cluster, outside.0, Some("c"), &[], Level::Quorum);
    assert!(
        matches!(&refused, ClientResponse::Failed(error) if error.kind == ClientErrorKind::Unavailable),
        "{refused:?}"
    );
    let one = write(&mut cluster, outside.0, Some("d"), &[], Level::One);
    assert!(matches!(one, ClientResponse::Written { .. }), "{one:?}");
}

#[test]
fn a_node_that_lost_its_disk_is_another_actor_and_catches_up() {
    let mut cluster = TestCluster::ready(dcc(3), 6);
    put(&mut cluster, 1, "a", &[]);
    cluster.run_ms(1_000);
    let before = cluster.causal_store(NodeId(1)).expect("runs").actor();
    cluster.crash(NodeId(1));
    cluster.wipe(NodeId(1));
    cluster.start(NodeId(1));
    let after = cluster.causal_store(NodeId(1)).expect("runs").actor();
    assert!(before.node == after.node && before.life != after.life);
    put(&mut cluster, 1, "b", &[]);
    cluster.run_until("n1 has caught up", 30_000, |cluster| cluster.is_ready(NodeId(1)));
    assert_eq!(read(&mut cluster, 1).0, values(&["a", "b"]));

    cluster.crash(NodeId(1));
    cluster.start(NodeId(1));
    assert_eq!(cluster.causal_store(NodeId(1)).expect("runs").actor(), after, "with its disk it is the same");
    cluster.run_until("all logs are empty", 20_000, |cluster| {
        cluster.members().iter().all(|node| cluster.causal_store(*node).is_some_and(|store| store.log().is_empty()))
    });
}

#[test]
fn an_exchange_brings_what_was_missed_without_a_merkle_session() {
    let mut cluster = TestCluster::ready(ClusterConfig { merkle_interval_ms: 0, ..dcc(3) }, 7);
    cluster.run_ms(1_000);
    cluster.partition(&[NodeId(3)]);
    for value in 0..20 {
        let (_, context) = read(&mut cluster, 1);
        put(&mut cluster, 1, &alloc::format!("{value}"), &context);
    }
    let compared = cluster.counter(NodeId(3), "sync_sessions_finished");
    cluster.heal();
    cluster.run_until("n3 holds the newest", 20_000, |cluster| {
        cluster.container(NodeId(3), &key("k")) == cluster.container(NodeId(1), &key("k"))
    });
    assert_eq!(cluster.counter(NodeId(3), "sync_sessions_finished"), compared);
    assert!(cluster.counter(NodeId(3), "causal_updates_received") > 0);
}

#[test]
fn a_context_that_no_read_of_the_key_returned_is_refused() {
    let mut cluster = TestCluster::ready(dcc(3), 8);
    put(&mut cluster, 1, "a", &[]);
    let (_, mut context) = read(&mut cluster, 1);
    context[3] ^= 1;
    let refused = write(&mut cluster, 1, Some("b"), &context, Level::One);
    assert!(matches!(&refused, ClientResponse::Failed(error) if error.kind == ClientErrorKind::Refused), "{refused:?}");

    let mut lww = TestCluster::ready(config(3, 3), 8);
    let refused = write(&mut lww, 1, Some("b"), &[1], Level::One);
    assert!(
        matches!(&refused, ClientResponse::Failed(error) if error.message.contains("conflict: dcc")),
        "{refused:?}"
    );
    assert!(matches!(write(&mut lww, 1, Some("b"), &[], Level::One), ClientResponse::Written { .. }));
}

#[test]
fn a_store_of_the_other_policy_is_refused_with_the_mend() {
    let boot = |config: ClusterConfig, entries| {
        let recovered = RecoveredState { entries };
        let now = Now::default();
        Replica::boot(config, NodeId(1), 1, recovered, [0; 32], now).map(|(_, output)| output.durable.puts)
    };
    let of_dcc = boot(dcc(3), Vec::new()).expect("an empty store");
    let error = boot(config(3, 3), of_dcc).expect_err("another policy");
    assert!(error.0.contains("set conflict: dcc"), "{error}");
    let version = Version { stamp: WallTime(1), value: None };
    let of_lww = alloc::vec![(store_codec::data_key(&key("k")), store_codec::data_value(&version))];
    let error = boot(dcc(3), of_lww).expect_err("another policy");
    assert!(error.0.contains("set conflict: lww"), "{error}");
}

fn repair(cluster: &mut TestCluster, node: u16) -> (Vec<RepairReport>, Vec<NodeId>) {
    match cluster.call(NodeId(node), ClientRequest::Repair) {
        Some(ClientResponse::Repaired { done, left_out }) => (done, left_out),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_repair_on_demand_mends_both_ways_and_tells_what_differed() {
    for conflict in [Conflict::Lww, Conflict::Dcc] {
        let config = ClusterConfig { merkle_interval_ms: 0, exchange_interval_ms: 0, conflict, ..config(3, 3) };
        let mut cluster = TestCluster::ready(config, 9);
        // The first exchanges, which compare everything, are over.
        cluster.run_ms(2_000);
        cluster.partition(&[NodeId(3)]);
        for name in ["a", "b", "c"] {
            cluster.put(NodeId(1), &key(name), "v", Level::Two);
        }
        cluster.put(NodeId(3), &key("d"), "v", Level::One);
        cluster.run_ms(5_000);
        let (done, left_out) = repair(&mut cluster, 3);
        assert_eq!((done.len(), left_out), (0, alloc::vec![NodeId(1), NodeId(2)]), "nobody is in reach");
        cluster.heal();
        cluster.run_ms(5_000);
        let (done, left_out) = repair(&mut cluster, 3);
        assert_eq!((done.len(), left_out.len()), (2, 0));
        let sum = |count: fn(&RepairReport) -> u64| done.iter().map(count).sum::<u64>();
        // Both sessions run at once, and under dcc who lacks a key says so, for it may have been deleted.
        let received = if conflict == Conflict::Lww { 6 } else { 8 };
        assert_eq!(sum(|report| report.keys_received), received, "{done:?}");
        assert_eq!(sum(|report| report.keys_sent), 2, "{done:?}");
        let (done, _) = repair(&mut cluster, 3);
        assert!(done.iter().all(|report| report.ranges_differing == 0), "{done:?}");
    }
}
