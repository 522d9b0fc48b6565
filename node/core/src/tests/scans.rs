//! Scans: quorum reads of ranges of keys, in pages, with repair.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::cluster::{TestCluster, config, key};
use crate::*;

fn quiet() -> ClusterConfig {
    ClusterConfig { merkle_interval_ms: 0, ..config(5, 3) }
}

/// Follows the pages; the rows as `key=value`, and how many pages there were.
fn scan(cluster: &mut TestCluster, node: NodeId, range: KeyRange, limit: u32) -> (Vec<String>, u32) {
    let (mut rows, mut pages, mut range) = (Vec::new(), 0, range);
    loop {
        pages += 1;
        match cluster.call(node, ClientRequest::Scan { range: range.clone(), limit, level: Level::Quorum }) {
            Some(ClientResponse::Rows { rows: page, next }) => {
                assert!(page.len() <= limit as usize);
                assert!(page.iter().all(|row| range.contains(&row.key)));
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                rows.extend(page.iter().map(|row| format!("{}={}", text(&row.key.0), text(&row.value.0))));
                match next {
                    Some(next) => {
                        assert!(next > range.from, "no progress");
                        range.from = next;
                    }
                    None => return (rows, pages),
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

fn name(i: u32) -> Key {
    key(&format!("key{i:03}"))
}

fn expected(of: impl Iterator<Item = u32>) -> Vec<String> {
    of.map(|i| format!("key{i:03}=v{i}")).collect()
}

fn filled(config: ClusterConfig, planted: Planted) -> TestCluster {
    let mut cluster = TestCluster::ready_planted(config, 1, planted);
    for i in 0..60 {
        cluster.put(NodeId(1 + (i % 5) as u16), &name(i), &format!("v{i}"), Level::All);
    }
    cluster
}

#[test]
fn a_scan_sees_every_row_of_its_range_in_order_whatever_the_page() {
    let mut cluster = filled(quiet(), Planted::NONE);
    for limit in [1, 7, 60, 1_000] {
        let (rows, pages) = scan(&mut cluster, NodeId(3), KeyRange::default(), limit);
        assert_eq!(rows, expected(0..60), "limit {limit}");
        assert!(pages >= 60 / limit);
    }
    let (rows, _) = scan(&mut cluster, NodeId(2), KeyRange::prefix(b"key01"), 4);
    assert_eq!(rows, expected(10..20));
    let range = KeyRange { from: KeyBound(b"key05".to_vec()), to: Some(KeyBound(b"key055".to_vec())) };
    assert_eq!(scan(&mut cluster, NodeId(2), range, 100).0, expected(50..55));
    assert_eq!(scan(&mut cluster, NodeId(2), KeyRange::prefix(b"x"), 100).0, [""; 0]);
    let turned = KeyRange { from: KeyBound(b"z".to_vec()), to: Some(KeyBound(b"a".to_vec())) };
    assert_eq!(scan(&mut cluster, NodeId(2), turned, 100).0, [""; 0]);
}

/// Rows 0..1200 everywhere but that one replica of each key missed the deletes of all up to 1100, so that its first page
/// is nothing but rows that are shadowed elsewhere.
pub(super) fn shadowed(planted: Planted) -> (Vec<String>, TestCluster) {
    let config = ClusterConfig { merkle_interval_ms: 0, read_repair: ReadRepair::None, ..config(3, 3) };
    let mut cluster = TestCluster::ready_planted(config, 1, planted);
    let name = |i: u32| key(&format!("key{i:04}"));
    for i in 0..1_200 {
        cluster.request(
            NodeId(1),
            ClientRequest::Put { key: name(i), value: Value(format!("v{i}").into_bytes()), level: Level::All },
        );
        cluster.run_ms(5);
    }
    cluster.partition(&[NodeId(3)]);
    cluster.run_ms(4_000);
    for i in 0..1_100 {
        cluster.request(NodeId(1), ClientRequest::Delete { key: name(i), level: Level::Quorum });
        cluster.run_ms(5);
    }
    cluster.heal();
    cluster.run_ms(4_000);
    let mut rows = Vec::new();
    for node in [NodeId(1), NodeId(3)] {
        rows = scan(&mut cluster, node, KeyRange::default(), 10).0;
        if rows.len() != 100 {
            break;
        }
    }
    (rows, cluster)
}

#[test]
fn a_replica_whose_first_rows_are_shadowed_elsewhere_is_asked_again() {
    let (rows, mut cluster) = shadowed(Planted::NONE);
    let expected: Vec<String> = (1_100..1_200).map(|i| format!("key{i:04}=v{i}")).collect();
    assert_eq!(rows, expected);
    let again: u64 = cluster.members().into_iter().map(|node| cluster.counter(node, "scan_pages_again")).sum();
    assert!(again > 0, "nobody was asked again");
    assert!(cluster.counter(NodeId(3), "scan_tombstones") >= 1_100);
}

#[test]
fn a_scan_repairs_exactly_what_each_replica_lacks_and_nothing_when_they_agree() {
    for (read_repair, repaired) in [(ReadRepair::Blocking, true), (ReadRepair::Async, true), (ReadRepair::None, false)]
    {
        let mut cluster = TestCluster::ready(ClusterConfig { read_repair, merkle_interval_ms: 0, ..config(3, 3) }, 1);
        for i in 0..20 {
            cluster.put(NodeId(1), &name(i), "old", Level::All);
        }
        scan(&mut cluster, NodeId(1), KeyRange::default(), 100);
        let merges = |cluster: &TestCluster| cluster.sent.get("merge").copied().unwrap_or(0);
        assert_eq!(merges(&cluster), 0, "the replicas agree");
        cluster.partition(&[NodeId(3)]);
        cluster.run_ms(4_000);
        for i in 5..8 {
            cluster.put(NodeId(1), &name(i), "new", Level::Quorum);
        }
        cluster.call(NodeId(1), ClientRequest::Delete { key: name(9), level: Level::Quorum });
        cluster.heal();
        cluster.run_ms(4_000);
        let all = ClientRequest::Scan { range: KeyRange::default(), limit: 100, level: Level::All };
        let Some(ClientResponse::Rows { rows, next: None }) = cluster.call(NodeId(2), all) else { panic!("no rows") };
        assert_eq!(rows.len(), 19);
        assert_eq!(rows.iter().filter(|row| row.value.0 == b"new").count(), 3);
        let lacked = [5, 6, 7, 9];
        let held = |cluster: &TestCluster| {
            let equal = |i: &u32| cluster.on_disk(NodeId(3), &name(*i)) == cluster.on_disk(NodeId(1), &name(*i));
            lacked.iter().filter(|i| equal(i)).count()
        };
        if read_repair == ReadRepair::Blocking {
            assert_eq!(held(&cluster), 4, "repaired before the answer");
        }
        cluster.run_ms(100);
        assert_eq!(held(&cluster), if repaired { 4 } else { 0 }, "{read_repair:?}");
        assert_eq!(cluster.counter(NodeId(2), "scan_repairs_sent"), if repaired { 4 } else { 0 });
        assert_eq!(merges(&cluster), u64::from(repaired), "one message for the one replica");
    }
}

#[test]
fn a_scan_goes_on_without_a_silent_node_and_is_unavailable_without_a_quorum() {
    let mut cluster = filled(quiet(), Planted::NONE);
    // Nobody knows yet.
    cluster.cut_both(NodeId(1), NodeId(2));
    for _ in 0..4 {
        assert_eq!(scan(&mut cluster, NodeId(1), KeyRange::default(), 100).0, expected(0..60));
    }
    cluster.heal();
    for node in [NodeId(2), NodeId(3), NodeId(4)] {
        cluster.crash(node);
    }
    cluster.run_ms(4_000);
    let all = ClientRequest::Scan { range: KeyRange::default(), limit: 100, level: Level::Quorum };
    match cluster.call(NodeId(1), all) {
        Some(ClientResponse::Failed(error)) => assert_eq!(error.kind, ClientErrorKind::Unavailable, "{error:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn scans_that_make_no_sense_are_refused() {
    let mut cluster = TestCluster::ready(config(3, 3), 1);
    let long = KeyBound(alloc::vec![7; KeyBound::LENGTH_MAX + 1]);
    for (range, limit, level, sentence) in [
        (KeyRange::default(), 0, Level::One, "at least one row"),
        (KeyRange { from: long, to: None }, 1, Level::One, "shorten it"),
        (KeyRange::default(), 1, Level::Count(4), "choose a level from 1 to 3"),
        (KeyRange::default(), 1, Level::Any, "any is for the acknowledgement of writes"),
    ] {
        match cluster.call(NodeId(1), ClientRequest::Scan { range, limit, level }) {
            Some(ClientResponse::Failed(error)) => {
                assert_eq!(error.kind, ClientErrorKind::Refused);
                assert!(error.message.contains(sentence), "{}", error.message);
            }
            other => panic!("{other:?}"),
        }
    }
}
