//! A node that is asked to stop: what it has taken is answered, what comes later hears so, peers and clients are told.
//! And the operator's correction of its wall clock.

mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hearsay_core::{ClientErrorKind, ClientResponse, Level};
use hearsay_node::client::RequestError;
use hearsay_node::clock_correction::Correction;
use nix::sys::signal::Signal;
use support::{Cluster, TIMEOUT, is_whole, put, status};

#[tokio::test]
async fn requests_in_work_are_answered_before_the_end() {
    let mut cluster = Cluster::new(3, "{ request_timeout_ms: 20000, heartbeat_timeout_ms: 20000 }");
    let (endpoint, connections) = cluster.serve().await;
    // The others stand still: a write at quorum has to wait for them.
    cluster.signal(2, Signal::SIGSTOP);
    cluster.signal(3, Signal::SIGSTOP);
    let writes: Vec<_> = (0..20)
        .map(|number| {
            let connection = connections[0].clone();
            let write = put(&format!("k{number}"), "v", Level::Quorum);
            tokio::spawn(async move { connection.request(&write, 4 * TIMEOUT).await })
        })
        .collect();
    cluster.until(&connections[0], "20 writes in work", |report| report.counters["requests_in_work"] == 20).await;
    cluster.signal(1, Signal::SIGTERM);
    // What is asked from now on is refused in words, and certainly did not happen.
    let refused = loop {
        match connections[0].request(&put("late", "v", Level::One), TIMEOUT).await {
            Ok(ClientResponse::Written { .. }) => {} // it had not heard the signal yet
            other => break other,
        }
    };
    let Ok(ClientResponse::Failed(error)) = refused else { panic!("{refused:?}") };
    assert_eq!(error.kind, ClientErrorKind::Unavailable);
    assert!(error.message.contains("n1 is stopping"), "{error:?}");
    cluster.signal(2, Signal::SIGCONT);
    cluster.signal(3, Signal::SIGCONT);
    for write in writes {
        let answer = write.await.unwrap();
        assert!(matches!(answer, Ok(ClientResponse::Written { .. })), "{answer:?}");
    }
    assert_eq!(cluster.wait_async(1).await.code(), Some(0), "{}", cluster.log(1));
    // Peers and clients were told; nobody has to wait for an idle time-out of 3 s.
    let told = connections[0].request(&put("later", "v", Level::One), TIMEOUT).await.unwrap_err();
    assert!(matches!(told, RequestError::NotSent(_)) && told.to_string().contains("the node stops"), "{told}");
    let gone = |report: &hearsay_core::StatusReport| !report.peers[0].linked;
    cluster.until(&connections[1], "n1 is not linked", gone).await;
    // It joins again with what it had.
    cluster.start(1);
    let again = cluster.connect(&endpoint, 1).await;
    cluster.until(&again, "ready with all links", is_whole).await;
    assert_eq!(support::get(&again, "k7", Level::All).await.as_deref(), Some("v"));
}

#[tokio::test]
async fn a_request_that_comes_to_no_good_end_is_answered_too() {
    let mut cluster = Cluster::new(3, "{ request_timeout_ms: 300, heartbeat_timeout_ms: 20000 }");
    let (_endpoint, connections) = cluster.serve().await;
    cluster.signal(2, Signal::SIGSTOP);
    cluster.signal(3, Signal::SIGSTOP);
    let write = tokio::spawn({
        let connection = connections[0].clone();
        async move { connection.request(&put("k", "v", Level::Quorum), TIMEOUT).await }
    });
    cluster.until(&connections[0], "a write in work", |report| report.counters["requests_in_work"] == 1).await;
    cluster.signal(1, Signal::SIGTERM);
    // A request that comes to no good end has an answer, too.
    let answer = write.await.unwrap();
    let timed_out = |answer: &ClientResponse| matches!(answer, ClientResponse::Failed(error) if error.kind == ClientErrorKind::Timeout);
    assert!(answer.as_ref().is_ok_and(timed_out), "{answer:?}");
    assert_eq!(cluster.wait_async(1).await.code(), Some(0), "{}", cluster.log(1));
}

#[tokio::test]
async fn no_request_meets_a_node_in_the_moment_of_its_end() {
    let mut cluster = Cluster::new(1, "{ replication: 1 }");
    let (endpoint, _connections) = cluster.serve().await;
    for round in 0..4 {
        let mut askers = Vec::new();
        for client in 0..8 {
            let connection = cluster.connect(&endpoint, 1).await;
            for _ in 0..4 {
                let connection = connection.clone();
                askers.push(tokio::spawn(async move {
                    let mut written = 0;
                    while written < 100_000 {
                        match connection.request(&put(&format!("k{client}"), "v", Level::One), 4 * TIMEOUT).await {
                            Ok(ClientResponse::Written { .. }) => written += 1,
                            Err(error @ RequestError::Unknown(_)) => panic!("in doubt after {written} writes: {error}"),
                            // It stops: it is asked on and on, up to its very end.
                            Ok(ClientResponse::Failed(_)) => {}
                            Err(RequestError::NotSent(_)) if connection.is_closed() => return written,
                            Err(RequestError::NotSent(_)) => tokio::task::yield_now().await,
                            other => panic!("{other:?}"),
                        }
                    }
                    panic!("a node that was told to stop went on");
                }));
            }
        }
        let watched = cluster.connect(&endpoint, 1).await;
        cluster.until(&watched, "some writes", |report| report.counters["transport_requests"] > 500).await;
        cluster.signal(1, Signal::SIGTERM);
        for asker in askers {
            assert!(asker.await.unwrap() > 0, "round {round}: nothing was written");
        }
        let ended = std::time::Instant::now();
        assert_eq!(cluster.wait_async(1).await.code(), Some(0), "{}", cluster.log(1));
        assert!(ended.elapsed() < TIMEOUT, "nobody was left to wait for, and it took {:?}", ended.elapsed());
        // Who was idle has heard it as well.
        let told = watched.request(&put("later", "v", Level::One), TIMEOUT).await.unwrap_err();
        assert!(matches!(told, RequestError::NotSent(_)), "{told}");
        cluster.start(1);
    }
}

/// How far the node's wall clock is ahead of this machine's, in milliseconds, and how long asking took.
async fn ahead_ms(connection: &hearsay_node::client::ClientConnection) -> (i64, i64) {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let before = now();
    let report = status(connection).await;
    let took = now() - before;
    ((report.wall.0 / 1_000_000) as i64 - before, took)
}

async fn until_ahead(cluster: &Cluster, connection: &hearsay_node::client::ClientConnection, wanted: i64) {
    let deadline = std::time::Instant::now() + support::DEADLINE;
    loop {
        let (ahead, took) = ahead_ms(connection).await;
        if (wanted..=wanted + took + 1).contains(&ahead) {
            return;
        }
        let log = cluster.log(1);
        assert!(std::time::Instant::now() < deadline, "{ahead} ms ahead instead of {wanted}; its log:\n{log}");
        tokio::time::sleep(Duration::from_millis(5)).await; // poll
    }
}

#[tokio::test]
async fn the_wall_clock_follows_its_correction_and_stamps_grow_all_the_same() {
    let mut cluster = Cluster::new(1, "{ replication: 1 }\nclock_correction: n1.clock");
    let (_endpoint, connections) = cluster.serve().await;
    let connection = &connections[0];
    let file = cluster.directory.path().join("n1.clock");
    let stamp = || async {
        match connection.request(&put("k", "v", Level::One), TIMEOUT).await.unwrap() {
            ClientResponse::Written { stamp } => stamp,
            other => panic!("{other:?}"),
        }
    };
    until_ahead(&cluster, connection, 0).await;
    let mut last = stamp().await;
    for offset_ms in [2_000, -3_000, 500] {
        Correction { offset_ns: offset_ms * 1_000_000, ..Correction::default() }.write(&file).unwrap();
        until_ahead(&cluster, connection, offset_ms).await;
        let next = stamp().await;
        assert!(next > last, "{next:?} after {last:?}");
        last = next;
    }
    std::fs::remove_file(&file).unwrap();
    until_ahead(&cluster, connection, 0).await;
    // A node that starts with a file that is none is told at once.
    cluster.signal(1, Signal::SIGTERM);
    assert_eq!(cluster.wait_async(1).await.code(), Some(0));
    std::fs::write(&file, "offset_ns: soon").unwrap();
    cluster.start(1);
    assert_eq!(cluster.wait_async(1).await.code(), Some(1));
    assert!(cluster.log(1).contains("n1.clock can't be used"), "{}", cluster.log(1));
}
