//! Nothing acknowledged is lost: SIGKILL under load, and a disk that refuses to grow.

mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hearsay_core::{ClientRequest, ClientResponse, Level, StatusReport};
use hearsay_node::client::ClientConnection;
use support::{BINARY, Cluster, DEADLINE, TIMEOUT, get, is_whole, put, status};

/// Writers that each count up a key of their own; what was acknowledged last is kept outside the node.
struct Load {
    connection: ClientConnection,
    acknowledged: Vec<Arc<AtomicU64>>,
    stopping: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// Continues where `acknowledged` stands. A writer ends with its connection.
    fn start(connection: &ClientConnection, acknowledged: &[Arc<AtomicU64>], level: Level, padding: usize) -> Load {
        let stopping = Arc::new(AtomicBool::new(false));
        let tasks = acknowledged.iter().enumerate().map(|(writer, last)| {
            let (connection, last, stopping) = (connection.clone(), Arc::clone(last), Arc::clone(&stopping));
            tokio::spawn(async move {
                let mut number = last.load(Relaxed);
                while !stopping.load(Relaxed) && !connection.is_closed() {
                    // Failed attempts burn their number: a late effect of one must not pass for a later write.
                    number += 1;
                    let value = format!("{number}:{}", "x".repeat(padding));
                    let request = put(&format!("writer-{writer}"), &value, level);
                    if let Ok(ClientResponse::Written { .. }) = connection.request(&request, TIMEOUT).await {
                        last.store(number, Relaxed);
                    }
                }
            })
        });
        let tasks = tasks.collect();
        Load { connection: connection.clone(), acknowledged: acknowledged.to_vec(), stopping, tasks }
    }

    fn total(&self) -> u64 {
        self.acknowledged.iter().map(|last| last.load(Relaxed)).sum()
    }

    async fn until_total(&self, wanted: u64) {
        let end = Instant::now() + DEADLINE;
        while self.total() < wanted {
            assert!(Instant::now() < end, "only {} of {wanted} writes", self.total());
            tokio::time::sleep(Duration::from_millis(1)).await; // poll
        }
    }

    async fn end(self) {
        self.stopping.store(true, Relaxed);
        // The node is dead: waiting for the idle time-out would only show that nothing comes.
        self.connection.close();
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

fn counters(writers: usize) -> Vec<Arc<AtomicU64>> {
    (0..writers).map(|_| Arc::default()).collect()
}

async fn check(connection: &ClientConnection, acknowledged: &[Arc<AtomicU64>], level: Level) {
    for (writer, last) in acknowledged.iter().enumerate() {
        let stored = get(connection, &format!("writer-{writer}"), level).await;
        let number = stored.as_ref().map_or(0, |value| value.split(':').next().unwrap().parse::<u64>().unwrap());
        let last = last.load(Relaxed);
        assert!(number >= last, "writer {writer}: {last} was acknowledged, {number} is stored");
    }
}

#[tokio::test]
async fn a_single_node_killed_again_and_again_loses_nothing_acknowledged() {
    let mut cluster = Cluster::new(1, "{ replication: 1 }");
    let acknowledged = counters(64);
    let endpoint = cluster.endpoint();
    for round in 1..=5 {
        cluster.start(1);
        let connection = cluster.connect(&endpoint, 1).await;
        check(&connection, &acknowledged, Level::One).await;
        // Large enough for the store to fold its journal many times a round.
        let load = Load::start(&connection, &acknowledged, Level::One, 4_000);
        load.until_total(load.total() + 300 * round).await;
        cluster.kill(1);
        load.end().await;
    }
    cluster.start(1);
    let connection = cluster.connect(&endpoint, 1).await;
    check(&connection, &acknowledged, Level::One).await;
}

#[tokio::test]
async fn a_cluster_whose_coordinator_is_killed_under_load_loses_nothing_acknowledged() {
    let mut cluster = Cluster::new(3, "{}");
    let (endpoint, connections) = cluster.serve().await;
    let acknowledged = counters(32);
    for (round, victim) in [1_u16, 2, 3].into_iter().enumerate() {
        let connection = cluster.connect(&endpoint, victim).await;
        let load = Load::start(&connection, &acknowledged, Level::Quorum, 100);
        load.until_total(load.total() + 300).await;
        cluster.kill(victim);
        load.end().await;
        cluster.start(victim);
        let again = cluster.connect(&endpoint, victim).await;
        cluster.until(&again, "ready with all links", is_whole).await;
        // Read through another node, whose own copy may be one of the quorum or not.
        let reader = if round == 0 { &connections[2] } else { &again };
        cluster.until(reader, "all links", is_whole).await;
        check(reader, &acknowledged, Level::Quorum).await;
    }
}

/// All three at once: what is left is what the disks hold.
#[tokio::test]
async fn a_cluster_killed_as_a_whole_loses_nothing_acknowledged() {
    let mut cluster = Cluster::new(3, "{}");
    let (endpoint, connections) = cluster.serve().await;
    let acknowledged = counters(32);
    let load = Load::start(&connections[0], &acknowledged, Level::Quorum, 100);
    load.until_total(1_000).await;
    for id in 1..=3 {
        cluster.kill(id);
    }
    load.end().await;
    cluster.start_all();
    for id in 1..=3 {
        let connection = cluster.connect(&endpoint, id).await;
        cluster.until(&connection, "ready with all links", is_whole).await;
        check(&connection, &acknowledged, Level::Quorum).await;
    }
}

/// A node whose files may not grow beyond 4 MiB. The limit stands in for a full disk: the write fails in the same place, and it
/// needs no privilege.
fn limited(cluster: &Cluster, id: u16) -> Command {
    // An ignored SIGXFSZ is inherited and turns the signal into an error of the write. 8192 blocks are 4 MiB.
    let mut limited = Command::new("sh");
    let config = cluster.path(&format!("n{id}.yaml"));
    limited.args(["-c", "trap '' XFSZ; ulimit -f 8192; exec \"$0\" --config \"$1\""]).arg(BINARY).arg(&config);
    limited
}

fn check_disk_was_full(log: &str) {
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("what it can't make durable it may not acknowledge"), "{last}");
    assert!(last.contains("store.redb can't be written") && last.contains("File too large"), "{last}");
}

/// How many keys a node holds itself.
async fn held(connection: &ClientConnection) -> usize {
    let (mut held, mut after) = (0, None);
    loop {
        let scan = ClientRequest::LocalScan { after: after.take(), limit: 1_000 };
        match connection.request(&scan, TIMEOUT).await.unwrap() {
            ClientResponse::Entries { entries, more } => {
                held += entries.len();
                after = entries.last().map(|entry| entry.key.clone());
                if !more {
                    return held;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Its hints stay with the coordinator until they are durable, so the node gets them once it has room.
#[tokio::test]
async fn a_disk_that_fills_up_while_hints_are_handed_over_loses_none_of_them() {
    const WRITES: u64 = 200;
    let mut cluster =
        Cluster::new(2, "{ replication: 2, hints: coordinator, read_repair: none, merkle_interval_ms: 0 }");
    let (endpoint, connections) = cluster.serve().await;
    let coordinator = &connections[0];
    cluster.kill(2);
    for number in 0..WRITES {
        let request = put(&format!("key-{number}"), &"x".repeat(30_000), Level::One);
        let response = coordinator.request(&request, TIMEOUT).await.unwrap();
        assert!(matches!(response, ClientResponse::Written { .. }), "{response:?}");
    }
    let hints = |report: &StatusReport| [report.counters["hints_stored"], report.counters["hints_replayed"]];
    cluster.until(coordinator, "a hint of each write", |report| hints(report)[0] == WRITES).await;

    let command = limited(&cluster, 2);
    cluster.spawn(2, command);
    assert_eq!(cluster.wait_async(2).await.code(), Some(1), "{}", cluster.log(2));
    check_disk_was_full(&cluster.log(2));
    let [_, replayed] = hints(&status(coordinator).await);
    assert!(0 < replayed && replayed < WRITES, "{replayed} hints were handed over before the disk was full");

    cluster.start(2);
    cluster.until(coordinator, "all hints handed over", |report| hints(report)[1] == WRITES).await;
    let second = cluster.connect(&endpoint, 2).await;
    assert_eq!(held(&second).await, WRITES as usize);
}

#[tokio::test]
async fn a_full_disk_stops_the_node_with_a_sentence_and_loses_nothing_acknowledged() {
    let mut cluster = Cluster::new(1, "{ replication: 1 }");
    let command = limited(&cluster, 1);
    cluster.spawn(1, command);
    let endpoint = cluster.endpoint();
    let connection = cluster.connect(&endpoint, 1).await;
    // Ever new keys, so that the store has to grow.
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let connection = connection.clone();
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    let key = format!("{writer}-{number}");
                    let request = put(&key, &"x".repeat(30_000), Level::One);
                    match connection.request(&request, TIMEOUT).await {
                        Ok(ClientResponse::Written { .. }) => acknowledged.push(key),
                        _ => break,
                    }
                }
                acknowledged
            })
        })
        .collect();
    let status = cluster.wait_async(1).await;
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    assert_eq!(status.code(), Some(1), "{}", cluster.log(1));
    check_disk_was_full(&cluster.log(1));
    assert!(!acknowledged.is_empty(), "some writes were acknowledged before");

    cluster.start(1);
    let connection = cluster.connect(&endpoint, 1).await;
    for key in &acknowledged {
        assert!(get(&connection, key, Level::One).await.is_some(), "{key} was acknowledged and is lost");
    }
    let response = connection.request(&put("after", "v", Level::One), TIMEOUT).await.unwrap();
    assert!(matches!(response, ClientResponse::Written { .. }), "with room again it serves again: {response:?}");
}
