//! A node from its configuration to its end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hearsay_core::{Cluster, ConfigError, NodeId, Planted, Replica};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use crate::certificates::{CertificateError, Identity};
use crate::clock::Clock;
use crate::clock_correction::{CorrectionError, CorrectionFile};
use crate::commit::Committer;
use crate::config::NodeConfig;
use crate::counters::Counters;
use crate::driver::{Driver, Ended, INBOX_MAX};
use crate::logs::Brake;
use crate::names::{self, Subject};
use crate::store::{Store, StoreError};
use crate::tls::{self, TlsError};
use crate::transport::hello::{Hello, config_digest};
use crate::transport::links::Links;
use crate::transport::settings::{self, code};
use crate::transport::{Context, accept};

/// How long connections may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(200);
/// How much longer than a request can take at the coordinator it is waited for after the order to stop.
const DRAIN_MARGIN: Duration = Duration::from_secs(1);
/// How long answers may take to arrive after the order to stop.
const DELIVERY: Duration = Duration::from_secs(1);
/// How long clients may take to close their connections once told that the node ends: a round trip and some more.
const FAREWELL: Duration = Duration::from_millis(300);
/// Other sides acknowledge within 25 ms, QUIC's longest delay.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(30);
/// Lines a second about what others do wrong.
const BRAKE_PER_SECOND: u32 = 5;

/// Why a node could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A certificate that can't be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A certificate that can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The certificate is somebody else's.
    #[error("the certificate in {path} does not fit: {reason}")]
    NotOurs {
        /// The file.
        path: std::path::PathBuf,
        /// What it is instead.
        reason: String,
    },
    /// The correction of the wall clock can't be used.
    #[error(transparent)]
    Clock(#[from] CorrectionError),
    /// A cluster configuration that can't work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store can't be opened.
    #[error(transparent)]
    Store(StoreError),
    /// Asked to stop, it could not answer all requests that it had taken.
    #[error("{requests} requests in work were not answered within {within:?} after the order to stop")]
    Unanswered {
        /// How many.
        requests: usize,
        /// Within this time.
        within: Duration,
    },
    /// A commit failed.
    #[error("the node stops, because what it can't make durable it may not acknowledge: {0}")]
    Commit(StoreError),
    /// Another process of its identity serves the cluster.
    #[error("the node stops, because peers refuse it and nobody else would see what it acknowledges: {0}")]
    Contested(String),
    /// The address can't be listened on.
    #[error("can't listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The operating system refuses a thread.
    #[error("can't start: {0}")]
    System(std::io::Error),
}

/// Runs a node until `stop` is done, and then until the requests in work are answered. Must be called within a current-thread tokio runtime.
///
/// # Errors
/// See [`NodeError`].
pub async fn run(config: NodeConfig, stop: impl Future<Output = ()>) -> Result<(), NodeError> {
    run_planted(Planted::NONE, config, stop).await
}

/// [`run`] with a planted bug, where the build has any.
///
/// # Errors
/// See [`NodeError`].
pub async fn run_planted(
    planted: Planted,
    config: NodeConfig,
    stop: impl Future<Output = ()>,
) -> Result<(), NodeError> {
    let clock = match &config.clock_correction {
        Some(path) => {
            let file = CorrectionFile::open(path)?;
            let corrected = Clock::start().corrected_by(file.shared());
            tokio::spawn(file.follow());
            corrected
        }
        None => Clock::start(),
    };
    let node = config.node.0;
    let cluster = config.cluster.as_str();
    let paths = &config.certificates;
    let authority_pem = std::fs::read_to_string(&paths.authority)
        .map_err(|error| CertificateError::File(paths.authority.clone(), error))?;
    let identity = Identity::read(&paths.certificate, &paths.key)?;
    check_own(&config, &identity)?;

    let peer_crypto = tls::dialling(&identity, &authority_pem, tls::ALPN_PEER, None)?;
    let mut dialling = quinn::ClientConfig::new(peer_crypto);
    dialling.transport_config(settings::transport(settings::PEER_STREAMS_MAX, true));
    let mut accepting = quinn::ServerConfig::with_crypto(tls::accepting(&identity, &authority_pem)?);
    accepting.transport_config(settings::transport(0, false)).max_incoming(2 * settings::HANDSHAKES_MAX);

    let (store, recovered) = Store::open(&config.data).map_err(NodeError::Store)?;
    let recovered_entries = recovered.entries.len();
    let incarnation = u64::from_le_bytes(tls::random());
    let (replica, booted) = Replica::boot_joining(
        &Cluster::new(config.settings.clone())?,
        config.joining(),
        planted,
        node,
        incarnation,
        recovered,
        tls::random(),
        clock.now(),
    )?;

    let listen = config.listen_address();
    let socket = std::net::UdpSocket::bind(listen).map_err(|error| NodeError::Listen(listen, error))?;
    let endpoint_config = settings::endpoint(&identity);
    let endpoint = quinn::Endpoint::new(endpoint_config, Some(accepting), socket, Arc::new(quinn::TokioRuntime))
        .map_err(|error| NodeError::Listen(listen, error))?;
    let address = endpoint.local_addr().map_err(|error| NodeError::Listen(listen, error))?;

    let counters = Arc::new(Counters::default());
    let (inbox, arrivals) = mpsc::channel(INBOX_MAX);
    let members: BTreeMap<NodeId, SocketAddr> = config.members.iter().map(|(id, address)| (id.0, *address)).collect();
    let config_digest = config_digest(&config.settings);
    let context = Arc::new(Context {
        hello: Hello { cluster: cluster.to_owned(), node, incarnation, config_digest },
        endpoint: endpoint.clone(),
        dialling,
        inbox,
        counters: Arc::clone(&counters),
        brake: Brake::new(BRAKE_PER_SECOND),
        requests: Arc::new(Semaphore::new(settings::REQUESTS_MAX)),
        clients: Arc::new(Semaphore::new(settings::CLIENTS_MAX)),
        handshakes: Arc::new(Semaphore::new(settings::HANDSHAKES_MAX)),
        stopping: false.into(),
        farewell: watch::Sender::new(false),
    });
    let links = Links::new(node, &members, Arc::clone(&counters));
    let committer = Committer::start(store, counters).map_err(NodeError::System)?;
    tokio::spawn(accept::accept(Arc::clone(&context)));
    tracing::info!("serving {node} on {address}, cluster {cluster}, {recovered_entries} entries recovered");
    let drain_within = Duration::from_millis(config.settings.request_timeout_ms) + DRAIN_MARGIN;
    let driver = Driver::new(replica, clock, Arc::clone(&context), links, committer).drain_within(drain_within);
    let ran = driver.run(booted, arrivals, stop).await;
    let farewell: &[u8] = match &ran {
        Ok(_) => b"the node stops",
        Err(Ended::Disk(_)) => b"the node's disk failed",
        Err(Ended::Contested(_)) => b"another process has this node's identity",
    };
    if ran.is_ok() {
        take_leave(&context).await;
    }
    endpoint.close(code::STOPPING, farewell);
    let _ = timeout(GOODBYE, endpoint.wait_idle()).await;
    match ran {
        Ok(0) => Ok(()),
        Ok(requests) => Err(NodeError::Unanswered { requests, within: drain_within }),
        Err(Ended::Disk(error)) => Err(NodeError::Commit(error)),
        Err(Ended::Contested(reason)) => Err(NodeError::Contested(reason)),
    }
}

/// Tells clients that the node ends, and waits, within bounds, until they have closed their connections, which they do when
/// all their requests are answered. What comes meanwhile is refused, and its client knows that nothing of it has happened.
async fn take_leave(context: &Context) {
    context.farewell.send_replace(true);
    let all = u32::try_from(settings::CLIENTS_MAX).expect("the limit of clients is small");
    if timeout(FAREWELL, context.clients.acquire_many(all)).await.is_ok() {
        return;
    }
    // Some client is slow, or knows no farewell: closing its connection drops what that still holds.
    let all = u32::try_from(settings::REQUESTS_MAX).expect("the limit of requests is small");
    if timeout(DELIVERY, context.requests.acquire_many(all)).await.is_err() {
        tracing::warn!("some answers may not have arrived");
    }
    // Answers of just before the order to stop are not waited for one by one.
    tokio::time::sleep(ACKNOWLEDGED_WITHIN).await;
}

/// A node with another's certificate would be refused by all; it is told at once instead.
fn check_own(config: &NodeConfig, identity: &Identity) -> Result<(), NodeError> {
    let not_ours = |reason| NodeError::NotOurs { path: config.certificates.certificate.clone(), reason };
    let chain = tls::chain("certificate", &identity.certificate_pem)?;
    match names::subject(&chain[0], &config.cluster) {
        Ok(Subject::Node(node)) if node == config.node.0 => Ok(()),
        Ok(subject) => Err(not_ours(format!("it is that of {subject:?}, and this is {}", config.node.0))),
        Err(reason) => Err(not_ours(reason)),
    }
}
