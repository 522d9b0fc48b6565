//! Three real node processes: reads and writes at quorum, the command line, restarts, clean stops.

mod support;

use std::time::{Duration, Instant};

use hearsay_core::{ClientRequest, ClientResponse, Key, Level};
use hearsay_node::client::RequestError;
use nix::sys::signal::Signal;
use support::{Cluster, TIMEOUT, get, is_whole, put, run, status};

#[tokio::test]
async fn any_node_coordinates_at_quorum() {
    let mut cluster = Cluster::new(3, "{}");
    let (_endpoint, connections) = cluster.serve().await;
    for (at, writer) in connections.iter().enumerate() {
        let (key, value) = (format!("key-{at}"), format!("value-{at}"));
        let response = writer.request(&put(&key, &value, Level::Quorum), TIMEOUT).await.unwrap();
        assert!(matches!(response, ClientResponse::Written { .. }), "{response:?}");
        for reader in &connections {
            assert_eq!(get(reader, &key, Level::Quorum).await, Some(value.clone()));
        }
        let delete = ClientRequest::Delete { key: Key(key.clone().into()), level: Level::Quorum };
        let response = writer.request(&delete, TIMEOUT).await.unwrap();
        assert!(matches!(response, ClientResponse::Written { .. }), "{response:?}");
        for reader in &connections {
            assert_eq!(get(reader, &key, Level::Quorum).await, None);
        }
    }
}

#[tokio::test]
async fn the_command_line_speaks_with_a_cluster() {
    let mut cluster = Cluster::new(3, "{}");
    let _serving = cluster.serve().await;
    let directory = cluster.directory.path();
    let by_config = |words: &[&str]| run(&[&["kv", "--config", "n1.yaml"], words].concat(), directory);
    let address = cluster.address(2).to_string();
    let options = ["kv", "--node", &address, "--certificates", ".", "--cluster", "demo"];
    let by_address = |words: &[&str]| run(&[&options, words].concat(), directory);

    assert_eq!(by_config(&["put", "greeting", "hello"]), (Some(0), String::new(), String::new()));
    assert_eq!(by_address(&["get", "greeting", "--level", "all"]).1, "hello\n");
    let (code, scanned, _) = by_address(&["scan"]);
    let columns: Vec<&str> = scanned.trim_end().split('\t').collect();
    assert!(code == Some(0) && columns.len() == 3 && columns[0] == "greeting" && columns[2] == "hello", "{scanned}");
    // Rows as a quorum sees them, page by page.
    for key in ["list/a", "list/b", "list/c"] {
        assert_eq!(by_config(&["put", key, "row", "--level", "any"]).0, Some(0));
        assert_eq!(by_config(&["put", key, "row", "--level", "one", "--primaries", "all"]).0, Some(0));
    }
    let keys = |rows: &str| rows.lines().filter_map(|row| Some(row.split('\t').next()?.to_owned())).collect::<Vec<_>>();
    let (code, rows, _) = by_address(&["scan", "--level", "quorum", "--prefix", "list/"]);
    assert_eq!((code, keys(&rows)), (Some(0), vec!["list/a".to_owned(), "list/b".to_owned(), "list/c".to_owned()]));
    let (_, rows, _) = by_address(&["scan", "--level", "all", "--from", "list/b", "--limit", "1"]);
    assert_eq!(keys(&rows), ["list/b"]);
    let (code, _, error) = by_address(&["get", "greeting", "--level", "any"]);
    assert!(code == Some(2) && error.contains("level any is for the acknowledgement of writes alone"), "{error}");
    for key in ["list/a", "list/b", "list/c"] {
        assert_eq!(by_config(&["delete", key, "--level", "all"]).0, Some(0));
    }
    let (code, report, _) = by_address(&["status"]);
    assert!(code == Some(0) && report.contains("n1       linked, alive"), "{report}");
    assert_eq!(by_address(&["delete", "greeting", "--level", "quorum"]).0, Some(0));
    assert_eq!(by_config(&["get", "greeting"]), (Some(1), String::new(), String::new()));

    let (code, _, error) = by_config(&["put", "k", "v", "--level", "9"]);
    assert!(code == Some(2) && error.contains("level 9") && error.contains("did not happen"), "{error}");
    let (code, _, error) = by_config(&["put", "k", &"v".repeat(65_537)]);
    assert!(code == Some(2) && error.contains("65537 bytes, the limit is 65536"), "{error}");
    assert_eq!(by_config(&["get", "k", "--level", "some"]).0, Some(64));
    assert_eq!(run(&["kv", "get", "k"], directory).0, Some(64));
    let wrong = ["kv", "--node", &address, "--certificates", ".", "--cluster", "other", "get", "k"];
    let (code, _, error) = run(&wrong, directory);
    assert!(code == Some(2) && error.contains("n2.demo.node.hearsay"), "{error}");
}

#[test]
fn certificates_of_a_cluster_are_made_once() {
    let directory = tempfile::tempdir().unwrap();
    let make = ["certificates", "--cluster", "demo", "--nodes", "2", "--out", "c"];
    assert_eq!(run(&make, directory.path()).0, Some(0));
    for name in ["ca.pem", "ca.key", "n1.pem", "n1.key", "n2.pem", "n2.key", "client.pem", "client.key"] {
        assert!(directory.path().join("c").join(name).exists(), "{name}");
    }
    let (code, _, error) = run(&make, directory.path());
    assert!(code == Some(1) && error.contains("exists already"), "{error}");
    assert_eq!(run(&["certificates", "--cluster", "a b", "--nodes", "1", "--out", "d"], directory.path()).0, Some(64));
    assert_eq!(run(&["certificates", "--cluster", "demo", "--nodes", "0", "--out", "d"], directory.path()).0, Some(64));
}

#[test]
fn a_bad_configuration_is_refused_with_its_place_before_anything_starts() {
    let cluster = Cluster::new(1, "{ replication: 3 }");
    let directory = cluster.directory.path();
    let (code, _, error) = run(&["--config", "n1.yaml"], directory);
    assert!(code == Some(64) && error.contains("replication"), "{error}");
    let text = std::fs::read_to_string(cluster.path("n1.yaml")).unwrap();
    std::fs::write(cluster.path("typo.yaml"), text.replace("cluster:", "clutser:")).unwrap();
    let (code, _, error) = run(&["--config", "typo.yaml"], directory);
    assert!(code == Some(64) && error.contains("typo.yaml") && error.contains("line 1 column 1"), "{error}");
    assert!(!cluster.path("data-n1").exists(), "nothing was made");
    assert_eq!(run(&["--config", "absent.yaml"], directory).0, Some(64));
    assert_eq!(run(&["--confg", "n1.yaml"], directory).0, Some(64));
}

#[test]
fn anothers_certificate_is_noticed_at_the_start() {
    let cluster = Cluster::new(2, "{ replication: 2 }");
    let text = std::fs::read_to_string(cluster.path("n1.yaml")).unwrap();
    std::fs::write(cluster.path("n1.yaml"), text.replace("n1.pem", "n2.pem").replace("n1.key", "n2.key")).unwrap();
    let (code, _, error) = run(&["--config", "n1.yaml"], cluster.directory.path());
    assert!(code == Some(1) && error.contains("n2.pem does not fit"), "{error}");
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_refused() {
    let mut cluster = Cluster::new(1, "{ replication: 1 }");
    let (_endpoint, connections) = cluster.serve().await;
    let (code, _, error) = run(&["--config", "n1.yaml", "--listen", "127.0.0.1:0"], cluster.directory.path());
    assert!(code == Some(1) && error.contains("another process has") && error.contains("store.redb"), "{error}");
    let response = connections[0].request(&put("k", "v", Level::One), TIMEOUT).await.unwrap();
    assert!(matches!(response, ClientResponse::Written { .. }), "the first process goes on: {response:?}");
}

#[tokio::test]
async fn sigterm_stops_soon_under_load() {
    let mut cluster = Cluster::new(3, "{ request_timeout_ms: 500 }");
    let (_endpoint, connections) = cluster.serve().await;
    let load = tokio::spawn({
        let connection = connections[0].clone();
        async move {
            for n in 0_u64.. {
                match connection.request(&put(&format!("k{}", n % 50), "v", Level::Quorum), TIMEOUT).await {
                    Ok(_) => {}
                    Err(RequestError::Unknown(_) | RequestError::NotSent(_)) => return n,
                }
            }
            0
        }
    });
    cluster.until(&connections[0], "100 writes", |report| report.counters["transport_requests"] > 100).await;
    let asked = Instant::now();
    for id in 1..=3 {
        cluster.signal(id, Signal::SIGTERM);
    }
    for id in 1..=3 {
        let status = cluster.wait_async(id).await;
        assert_eq!(status.code(), Some(0), "{}", cluster.log(id));
    }
    // A request that waits for a node that is gone takes its time-out, and saying goodbye a moment.
    assert!(asked.elapsed() < Duration::from_millis(1_500), "took {:?}", asked.elapsed());
    assert!(load.await.unwrap() > 0);
}

#[tokio::test]
async fn a_killed_and_restarted_node_is_linked_again_as_another_incarnation() {
    let mut cluster = Cluster::new(3, "{}");
    let (endpoint, connections) = cluster.serve().await;
    let before = status(&connections[1]).await;
    cluster.kill(2);
    cluster.until(&connections[0], "n2 not linked", |report| !is_whole(report)).await;
    assert!(matches!(
        connections[0].request(&put("k", "v", Level::All), TIMEOUT).await.unwrap(),
        ClientResponse::Failed(_)
    ));
    cluster.start(2);
    let again = cluster.connect(&endpoint, 2).await;
    let after = cluster.until(&again, "ready with all links", is_whole).await;
    assert_ne!(before.incarnation, after.incarnation);
    for other in [&connections[0], &connections[2]] {
        let report = cluster.until(other, "n2 linked again", is_whole).await;
        assert!(report.counters["transport_links_down"] >= 1);
    }
    let response = connections[0].request(&put("k", "v", Level::All), TIMEOUT).await.unwrap();
    assert!(matches!(response, ClientResponse::Written { .. }), "{response:?}");
}

/// Peers hear of it by the new incarnation's connection, clients by the stateless reset of the new process: both long before
/// the idle time-out of 3 s.
#[tokio::test]
async fn a_quick_restart_is_noticed_at_once() {
    let mut cluster = Cluster::new(3, "{}");
    let (endpoint, connections) = cluster.serve().await;
    cluster.kill(3);
    cluster.start(3);
    let again = cluster.connect(&endpoint, 3).await;
    let error = connections[2].request(&ClientRequest::Status, TIMEOUT).await.unwrap_err();
    assert!(error.to_string().contains("reset by peer"), "{error}");
    cluster.until(&again, "ready with all links", is_whole).await;
    for other in &connections[..2] {
        cluster
            .until(other, "new link", |report| report.counters["transport_links_down"] >= 1 && is_whole(report))
            .await;
    }
}
