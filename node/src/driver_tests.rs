//! Durable first, with a disk that takes a commit only when told to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use hearsay_core::{ClientRequest, ClusterConfig, Key, Level, NodeId, Now, RecoveredState, Value};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::*;
use crate::certificates::Authority;
use crate::commit::InTurn;
use crate::group::Group;
use crate::logs::Brake;
use crate::tls;
use crate::transport::hello::{Hello, config_digest};
use crate::transport::settings;

/// A driver of a cluster of one, whose disk waits for `disk` before each commit: `true` it succeeds, `false` it fails.
struct Rig {
    inbox: mpsc::Sender<Arrival>,
    disk: std_mpsc::Sender<bool>,
    groups: std_mpsc::Receiver<usize>,
    counters: Arc<Counters>,
    stop: oneshot::Sender<()>,
    driver: JoinHandle<Result<usize, Ended>>,
}

impl Rig {
    fn new() -> Rig {
        let node = NodeId(1);
        let config = ClusterConfig { members: vec![node], replication: 1, ..ClusterConfig::default() };
        let authority = Authority::generate("demo").unwrap();
        let identity = authority.node(node).unwrap();
        let crypto = tls::dialling(&identity, authority.certificate_pem(), tls::ALPN_PEER, None).unwrap();
        let endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let counters = Arc::new(Counters::default());
        let (inbox, arrivals) = mpsc::channel(INBOX_MAX);
        let context = Arc::new(Context {
            hello: Hello { cluster: "demo".into(), node, incarnation: 1, config_digest: config_digest(&config) },
            endpoint,
            dialling: quinn::ClientConfig::new(crypto),
            inbox: inbox.clone(),
            counters: Arc::clone(&counters),
            brake: Brake::new(1),
            requests: Arc::new(Semaphore::new(settings::REQUESTS_MAX)),
            clients: Arc::new(Semaphore::new(settings::CLIENTS_MAX)),
            handshakes: Arc::new(Semaphore::new(settings::HANDSHAKES_MAX)),
            stopping: false.into(),
            farewell: watch::Sender::new(false),
        });
        let (disk, allowed) = std_mpsc::channel();
        let (began, groups) = std_mpsc::channel();
        let committer = Committer::start_with(
            Arc::clone(&counters),
            Duration::ZERO,
            InTurn::new(move |group: &Group| {
                let _ = began.send(group.len());
                match allowed.recv() {
                    Ok(true) => Ok(()),
                    _ => Err(StoreError::Directory("disk".into(), std::io::ErrorKind::StorageFull.into())),
                }
            }),
        );
        let now = Now::default();
        let (replica, booted) = Replica::boot(config, node, 1, RecoveredState::default(), [7; 32], now).unwrap();
        let links = Links::new(node, &BTreeMap::new(), Arc::clone(&counters));
        let driver = Driver::new(replica, Clock::start(), context, links, committer.unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let driver = tokio::spawn(driver.run(booted, arrivals, async {
            let _ = stopped.await;
        }));
        Rig { inbox, disk, groups, counters, stop, driver }
    }

    /// A rig whose writes at boot are on the disk.
    async fn booted() -> Rig {
        let rig = Rig::new();
        rig.until_group().await;
        rig.disk.send(true).unwrap();
        rig.until(|counters| counters.store_commits.count() == 1).await;
        rig
    }

    async fn ask(&self, request: ClientRequest) -> oneshot::Receiver<ClientResponse> {
        let (answer, answered) = oneshot::channel();
        self.inbox.send(Arrival::Request { request, asker: Asker::Test(answer) }).await.unwrap();
        answered
    }

    /// Waits for the disk to be asked for a commit; how many batches it holds.
    async fn until_group(&self) -> usize {
        for _ in 0..5_000 {
            if let Ok(size) = self.groups.try_recv() {
                return size;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("no commit was begun");
    }

    async fn until(&self, wanted: impl Fn(&Counters) -> bool) {
        for _ in 0..5_000 {
            if wanted(&self.counters) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("never: {:?}", self.counters);
    }

    /// Lets everything run that can.
    async fn settle(&self) {
        while self.inbox.capacity() < INBOX_MAX {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

fn put(key: &str) -> ClientRequest {
    ClientRequest::Put { key: Key(key.into()), value: Value(b"v".to_vec()), level: Level::One }
}

fn get(key: &str) -> ClientRequest {
    ClientRequest::Get { key: Key(key.into()), level: Level::One }
}

#[tokio::test]
async fn nothing_is_answered_before_the_disk_has_it_and_nothing_overtakes() {
    let rig = Rig::booted().await;
    let mut read_before = rig.ask(get("a")).await;
    rig.settle().await;
    assert!(matches!(read_before.try_recv(), Ok(ClientResponse::Read { value: None, .. })), "nothing to wait for");

    let mut first = rig.ask(put("a")).await;
    assert_eq!(rig.until_group().await, 1);
    let mut later = [rig.ask(get("a")).await, rig.ask(get("other")).await];
    let mut second = [rig.ask(put("b")).await, rig.ask(put("c")).await];
    rig.settle().await;
    assert!(first.try_recv().is_err(), "the write is not durable");
    assert!(later.iter_mut().all(|read| read.try_recv().is_err()), "what it would show is not durable");

    rig.disk.send(true).unwrap();
    assert_eq!(rig.until_group().await, 2, "both later writes go in one commit");
    rig.settle().await;
    assert!(matches!(first.try_recv(), Ok(ClientResponse::Written { .. })));
    assert!(matches!(later[0].try_recv(), Ok(ClientResponse::Read { value: Some(_), .. })));
    assert!(matches!(later[1].try_recv(), Ok(ClientResponse::Read { value: None, .. })));
    assert!(second.iter_mut().all(|write| write.try_recv().is_err()));

    // A clean stop finishes what has begun.
    rig.disk.send(true).unwrap();
    rig.stop.send(()).unwrap();
    rig.driver.await.unwrap().unwrap();
    assert!(second.iter_mut().all(|write| matches!(write.try_recv(), Ok(ClientResponse::Written { .. }))));
}

#[tokio::test]
async fn after_a_failed_commit_nobody_is_answered() {
    let rig = Rig::booted().await;
    let write = rig.ask(put("a")).await;
    rig.until_group().await;
    let read = rig.ask(get("a")).await;
    rig.settle().await;
    rig.disk.send(false).unwrap();
    let error = rig.driver.await.unwrap().unwrap_err();
    assert!(matches!(error, Ended::Disk(StoreError::Directory(..))), "{error:?}");
    assert!(write.await.is_err() && read.await.is_err(), "dropped without an answer");
}

#[tokio::test]
async fn a_slow_disk_stops_the_intake_and_not_the_node() {
    let rig = Rig::booted().await;
    let mut answers = vec![rig.ask(put("a")).await];
    rig.until_group().await;
    // More than may wait for the disk and in the inbox together: the inbox fills, and nothing else happens.
    while let Ok(permit) = tokio::time::timeout(Duration::from_millis(200), rig.inbox.reserve()).await {
        let (answer, answered) = oneshot::channel();
        permit.unwrap().send(Arrival::Request { request: get("a"), asker: Asker::Test(answer) });
        answers.push(answered);
        assert!(answers.len() <= UNRELEASED_MAX + TURN_MAX + INBOX_MAX + 1, "the intake has a bound");
    }
    assert!(answers.len() >= UNRELEASED_MAX);
    assert!(rig.counters.store_backpressure.count() > 0);
    rig.disk.send(true).unwrap();
    for answer in answers {
        assert!(!matches!(answer.await.unwrap(), ClientResponse::Failed(_)));
    }
}
