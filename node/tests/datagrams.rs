//! Heartbeats between real nodes are datagrams, and nothing else is.

mod support;

use support::{Cluster, status};

#[tokio::test]
async fn heartbeats_are_datagrams() {
    let mut cluster = Cluster::new(3, "{heartbeat_interval_ms: 20}");
    let (_endpoint, connections) = cluster.serve().await;
    for connection in &connections {
        let what = "a hundred datagrams received";
        cluster.until(connection, what, |report| report.counters["transport_datagrams_received"] >= 100).await;
        let report = status(connection).await;
        let count = |name: &str| report.counters[name];
        assert_eq!(count("transport_datagrams_on_stream"), 0, "every peer takes them");
        assert_eq!(count("transport_datagrams_unexpected"), 0);
        // What was sent before there was a link went on its stream.
        let on_stream = count("heartbeats_received").saturating_sub(count("transport_datagrams_received"));
        assert!(on_stream <= 10, "{on_stream} heartbeats came on a stream");
        assert!(count("transport_datagrams_sent") <= count("heartbeats_sent"));
    }
}
