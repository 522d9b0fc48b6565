//! Members that come and go while clients go on: a join, a leave for good, a replacement, with real processes.

mod support;

use std::time::{Duration, Instant};

use hearsay_core::ring::topology::Phase;
use hearsay_core::{ClientRequest, ClientResponse, Level, NodeId, RingReport};
use hearsay_node::client::ClientConnection;
use support::{Cluster, DEADLINE, TIMEOUT, get, put};

async fn ring(connection: &ClientConnection) -> RingReport {
    match connection.request(&ClientRequest::Ring, TIMEOUT).await.unwrap() {
        ClientResponse::Ring(report) => report,
        other => panic!("{other:?}"),
    }
}

fn phase(report: &RingReport, id: u16) -> Option<Phase> {
    report.members.iter().find(|member| member.node == NodeId(id)).map(|member| member.phase)
}

/// Waits until a node sees another in this phase; meanwhile it is written and read.
async fn until(cluster: &Cluster, connection: &ClientConnection, id: u16, wanted: Phase, writes: &mut u32) {
    let end = Instant::now() + DEADLINE;
    loop {
        let report = ring(connection).await;
        if phase(&report, id) == Some(wanted) {
            return;
        }
        let key = format!("k{}", *writes % 40);
        let answer = connection.request(&put(&key, &writes.to_string(), Level::Quorum), TIMEOUT).await.unwrap();
        if let ClientResponse::Written { .. } = answer {
            assert_eq!(get(connection, &key, Level::Quorum).await, Some(writes.to_string()), "{key}");
        }
        *writes += 1;
        assert!(Instant::now() < end, "n{id} is never {wanted:?}: {report:#?}\n{}", cluster.log(id));
        tokio::time::sleep(Duration::from_millis(10)).await; // poll
    }
}

#[tokio::test]
async fn a_node_joins_another_leaves_and_a_third_replaces_a_dead_one() {
    let mut cluster = Cluster::new(3, "{ replication: 3, vnodes: 4, merkle_depth: 4 }");
    let (endpoint, connections) = cluster.serve().await;
    let mut writes = 0;
    for number in 0..40 {
        let written = connections[0].request(&put(&format!("fixed{number}"), "v", Level::All), TIMEOUT).await.unwrap();
        assert!(matches!(written, ClientResponse::Written { .. }), "{written:?}");
    }
    let fourth = cluster.add("");
    cluster.start(fourth);
    let newcomer = cluster.connect(&endpoint, fourth).await;
    until(&cluster, &connections[0], fourth, Phase::Normal, &mut writes).await;
    assert_eq!(get(&newcomer, "fixed7", Level::Quorum).await.as_deref(), Some("v"));

    // n1 leaves and its process ends by itself.
    let answer = connections[0].request(&ClientRequest::Leave, TIMEOUT).await.unwrap();
    assert!(matches!(answer, ClientResponse::Ring(_)), "{answer:?}");
    until(&cluster, &connections[1], 1, Phase::Left, &mut writes).await;
    assert_eq!(cluster.wait_async(1).await.code(), Some(0), "{}", cluster.log(1));
    for number in 0..40 {
        assert_eq!(get(&newcomer, &format!("fixed{number}"), Level::All).await.as_deref(), Some("v"));
    }
    let told = support::run(&["--config", "n1.yaml"], cluster.directory.path());
    assert!(told.0 == Some(0) && told.2.contains("has left the cluster for good"), "{told:?}");

    // n2 dies, and n5 takes its place.
    cluster.kill(2);
    let fifth = cluster.add("n2");
    cluster.start(fifth);
    until(&cluster, &newcomer, fifth, Phase::Normal, &mut writes).await;
    assert_eq!(phase(&ring(&newcomer).await, 2), Some(Phase::Left));
    for number in 0..40 {
        assert_eq!(get(&newcomer, &format!("fixed{number}"), Level::All).await.as_deref(), Some("v"));
    }
    let (code, text, error) = support::run(&["ring", "--config", "n4.yaml"], cluster.directory.path());
    assert_eq!(code, Some(0), "{error}");
    assert!(text.contains("in place of n2") && text.contains("n1        left"), "{text}");
}
