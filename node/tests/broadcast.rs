//! Real node processes: what a client publishes at one, clients of all others fetch.

mod support;

use std::time::Duration;

use hearsay_core::{ClientRequest, ClientResponse, Value};
use support::{Cluster, TIMEOUT, run};
use tokio::time::{Instant, sleep, timeout};

/// Fetches until so many were delivered, and says what.
async fn delivered(connection: &hearsay_node::client::ClientConnection, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let request = ClientRequest::Deliveries { after: 0, limit: 100 };
        let response = timeout(TIMEOUT, connection.request(&request, TIMEOUT)).await.unwrap().unwrap();
        let ClientResponse::Deliveries { deliveries, missed: 0, .. } = response else { panic!("{response:?}") };
        if deliveries.len() >= count {
            let text = |payload: Value| String::from_utf8(payload.0).unwrap();
            return deliveries.into_iter().map(|delivered| text(delivered.payload)).collect();
        }
        assert!(Instant::now() < deadline, "{} of {count} were delivered in time", deliveries.len());
        sleep(Duration::from_millis(50)).await; // poll
    }
}

/// Runs `hearsay kv` until it prints what is expected.
async fn prints(directory: &std::path::Path, words: &[&str], expected: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let (_, printed, errors) = run(words, directory);
        if printed == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{words:?} printed {printed:?} {errors:?}");
        sleep(Duration::from_millis(100)).await; // poll
    }
}

#[tokio::test]
async fn an_option_that_is_changed_at_one_node_is_changed_at_all_and_members_are_known() {
    let mut cluster = Cluster::new(3, "{dissemination: {protocol: plumtree, membership: full}}");
    let _connections = cluster.serve().await;
    let directory = cluster.directory.path();
    let (code, _, errors) = run(&["kv", "--config", "n1.yaml", "option", "merkle_interval_ms", "700"], directory);
    assert_eq!(code, Some(0), "{errors}");
    for config in ["n1.yaml", "n2.yaml", "n3.yaml"] {
        let all = "merkle_interval_ms\t1\t700\n";
        prints(directory, &["kv", "--config", config, "option"], all).await;
        prints(directory, &["kv", "--config", config, "option", "merkle_interval_ms"], all).await;
        let members = "n1\tnormal\t0\t8\nn2\tnormal\t0\t8\nn3\tnormal\t0\t8\n";
        prints(directory, &["kv", "--config", config, "members"], members).await;
    }
    let (code, printed, _) = run(&["kv", "--config", "n1.yaml", "option", "schema.none"], directory);
    assert_eq!((code, printed.as_str()), (Some(1), ""));
    let (code, _, errors) = run(&["kv", "--config", "n1.yaml", "option", "replication", "2"], directory);
    assert!(code == Some(2) && errors.contains("is no option; allowed:"), "{errors}");
}

#[tokio::test]
async fn what_is_published_at_one_node_is_delivered_at_all() {
    for dissemination in ["{protocol: plumtree, membership: hyparview}", "{protocol: direct, membership: full}"] {
        let mut cluster = Cluster::new(5, &format!("{{dissemination: {dissemination}}}"));
        let (_endpoint, connections) = cluster.serve().await;
        let publish = ClientRequest::Publish { payload: Value(b"news".to_vec()) };
        let response = connections[1].request(&publish, TIMEOUT).await.unwrap();
        assert!(matches!(response, ClientResponse::Published { .. }), "{response:?}");
        for connection in &connections {
            assert_eq!(delivered(connection, 1).await, ["news"], "{dissemination}");
        }
        let directory = cluster.directory.path();
        let (code, printed, _) = run(&["kv", "--config", "n3.yaml", "publish", "more news"], directory);
        assert!(code == Some(0) && printed.starts_with("n3 "), "{printed}");
        assert_eq!(delivered(&connections[4], 2).await, ["news", "more news"], "{dissemination}");
        let (code, printed, _) = run(&["kv", "--config", "n5.yaml", "delivered"], directory);
        assert_eq!((code, printed.as_str()), (Some(0), "1\tn2\tnews\n2\tn3\tmore news\n"));
    }
}
