//! Levels: what is refused, what is unavailable, and that both are definite.

use alloc::string::String;

use super::cluster::{TestCluster, config, key};
use crate::*;

fn put_with(cluster: &mut TestCluster, node: NodeId, options: WriteOptions) -> Result<(), (ClientErrorKind, String)> {
    let value = Some(Value(b"x".to_vec()));
    match cluster.call(node, ClientRequest::PutWith { key: key("k"), value, options }) {
        Some(ClientResponse::Written { .. }) => Ok(()),
        Some(ClientResponse::Failed(error)) => Err((error.kind, error.message)),
        other => panic!("{other:?}"),
    }
}

fn get_with(cluster: &mut TestCluster, node: NodeId, options: ReadOptions) -> Result<(), (ClientErrorKind, String)> {
    match cluster.call(node, ClientRequest::GetWith { key: key("k"), options }) {
        Some(ClientResponse::Read { .. }) => Ok(()),
        Some(ClientResponse::Failed(error)) => Err((error.kind, error.message)),
        other => panic!("{other:?}"),
    }
}

fn refused(result: Result<(), (ClientErrorKind, String)>, sentence: &str) {
    let (kind, message) = result.expect_err(sentence);
    assert_eq!(kind, ClientErrorKind::Refused, "{message}");
    assert!(message.contains(sentence), "{message}");
}

#[test]
fn a_level_that_can_never_be_met_is_refused_and_named() {
    let mut cluster = TestCluster::ready(config(5, 3), 1);
    let node = NodeId(1);
    refused(get_with(&mut cluster, node, Level::Any.into()), "any is for the acknowledgement of writes");
    let read = ReadOptions { level: Level::One, primaries: Some(Level::Count(4)) };
    refused(get_with(&mut cluster, node, read), "level 4 needs 4 primary replicas, but each key has 3");
    refused(put_with(&mut cluster, node, Level::Count(4).into()), "level 4 needs 4 replicas");
    let write = |primaries, durable| WriteOptions { level: Level::One, primaries, durable };
    refused(put_with(&mut cluster, node, write(Some(Level::Any), None)), "choose primary one");
    refused(put_with(&mut cluster, node, write(None, Some(Level::Any))), "choose durable one");
    refused(put_with(&mut cluster, node, write(None, Some(Level::Count(9)))), "needs 9 durable replicas");
    for member in cluster.members() {
        assert_eq!(cluster.stored(member, &key("k")), None);
    }
    assert_eq!(cluster.counter(node, "requests_refused"), 6);
}

#[test]
fn durable_and_primary_acknowledgements_raise_what_is_waited_for() {
    for options in [
        WriteOptions { level: Level::One, primaries: Some(Level::All), durable: None },
        WriteOptions { level: Level::One, primaries: None, durable: Some(Level::All) },
        WriteOptions { level: Level::Any, primaries: Some(Level::All), durable: None },
    ] {
        let mut cluster = TestCluster::ready(config(3, 3), 1);
        assert_eq!(put_with(&mut cluster, NodeId(1), options), Ok(()));
        for member in cluster.members() {
            assert!(cluster.on_disk(member, &key("k")).is_some(), "{member} with {options:?}");
        }
    }
}

#[test]
fn too_few_primaries_are_unavailable_before_anything_is_sent() {
    let sloppy = ClusterConfig { sloppy: true, hints: Hints::Coordinator, merkle_interval_ms: 0, ..config(5, 3) };
    let mut cluster = TestCluster::ready(sloppy, 1);
    let replicas = cluster.replicas(&key("k"));
    let coordinator = replicas[0];
    for node in &replicas[1..] {
        cluster.crash(*node);
    }
    cluster.run_ms(4_000);
    // Stand-ins make a quorum, but no primaries.
    let quorum = WriteOptions { level: Level::Quorum, primaries: Some(Level::Quorum), durable: None };
    let (kind, message) = put_with(&mut cluster, coordinator, quorum).expect_err("one primary is up");
    assert_eq!(kind, ClientErrorKind::Unavailable);
    assert!(message.contains("level quorum needs 2 primary replicas"), "{message}");
    assert_eq!((cluster.pending(), cluster.stored(coordinator, &key("k"))), (0, None), "nothing was kept");
    let read = ReadOptions { level: Level::Quorum, primaries: Some(Level::Quorum) };
    assert_eq!(
        get_with(&mut cluster, coordinator, read).expect_err("one primary is up").0,
        ClientErrorKind::Unavailable
    );
    assert_eq!(put_with(&mut cluster, coordinator, Level::Quorum.into()), Ok(()));
    assert_eq!(get_with(&mut cluster, coordinator, Level::Quorum.into()), Ok(()));
    let one = WriteOptions { primaries: Some(Level::One), ..quorum };
    assert_eq!(put_with(&mut cluster, coordinator, one), Ok(()));
}

#[test]
fn a_read_that_asks_for_primaries_is_not_answered_by_stand_ins() {
    let sloppy = ClusterConfig { sloppy: true, merkle_interval_ms: 0, ..config(5, 3) };
    let mut cluster = TestCluster::ready(sloppy, 1);
    let replicas = cluster.replicas(&key("k"));
    cluster.crash(replicas[2]);
    cluster.run_ms(4_000);
    // The second primary is silent, and nobody knows: the stand-in is asked meanwhile and must not be enough.
    cluster.cut_both(replicas[0], replicas[1]);
    let read = ReadOptions { level: Level::Quorum, primaries: Some(Level::Quorum) };
    assert_eq!(get_with(&mut cluster, replicas[0], read).expect_err("one primary").0, ClientErrorKind::Timeout);
}

#[test]
fn any_without_hints_needs_a_replica() {
    let mut cluster = TestCluster::ready(ClusterConfig { merkle_interval_ms: 0, ..config(4, 3) }, 1);
    let replicas = cluster.replicas(&key("k"));
    let outside = cluster.members().into_iter().find(|node| !replicas.contains(node)).expect("four nodes");
    assert_eq!(put_with(&mut cluster, outside, Level::Any.into()), Ok(()));
    for node in &replicas {
        cluster.crash(*node);
    }
    cluster.run_ms(4_000);
    let (kind, message) = put_with(&mut cluster, outside, Level::Any.into()).expect_err("no replica is up");
    assert_eq!(kind, ClientErrorKind::Unavailable);
    assert!(message.contains("level any needs 1 replicas"), "{message}");
}
