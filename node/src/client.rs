//! The client's side: connections to nodes, and requests with an honest account of what became of them.
//!
//! A request is one stream; a node acts on it only after the stream has ended properly. So everything that goes wrong before
//! the end was sent is *not sent*: it certainly has no effect. Everything after is *unknown* until an answer came.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hearsay_core::codec::{self, FRAME_LENGTH_MAX};
use hearsay_core::{ClientRequest, ClientResponse, Key, NodeId, Value};
use quinn::{ReadError, ReadToEndError, SendStream, WriteError};
use tokio::time::{Instant, timeout_at};

use crate::certificates::Identity;
use crate::names::{self, Subject};
use crate::tls::{self, TlsError};
use crate::transport::settings::{self, code};

/// Why a client closes when the node has said that it ends.
const FAREWELL: &[u8] = b"the node stops";

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The node certainly did not and will not act on it.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It was sent, or may have been: it may have happened, and may still.
    #[error("unknown: {0}")]
    Unknown(String),
}

/// Why a client endpoint could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientSetupError {
    /// Certificates that can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The socket can't be used.
    #[error("the socket can't be used: {0}")]
    Socket(#[from] std::io::Error),
}

/// One UDP socket for connections to any number of nodes of one cluster. Closing it closes them all.
#[derive(Debug)]
pub struct ClientEndpoint {
    endpoint: quinn::Endpoint,
    by_name: quinn::ClientConfig,
    any_node: quinn::ClientConfig,
    cluster: String,
}

impl ClientEndpoint {
    /// For a bound socket; must be called within a tokio runtime. `identity` is a client's; `authority_pem` the certificate
    /// of the cluster's authority.
    ///
    /// # Errors
    /// See [`ClientSetupError`].
    pub fn new(
        socket: UdpSocket,
        identity: &Identity,
        authority_pem: &str,
        cluster: &str,
    ) -> Result<ClientEndpoint, ClientSetupError> {
        let config = |any_node_of| -> Result<quinn::ClientConfig, TlsError> {
            let crypto = tls::dialling(identity, authority_pem, tls::ALPN_CLIENT, any_node_of)?;
            let mut config = quinn::ClientConfig::new(crypto);
            config.transport_config(settings::transport(settings::NODE_STREAMS_MAX, true));
            Ok(config)
        };
        let (by_name, any_node) = (config(None)?, config(Some(cluster))?);
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint = quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket, runtime)?;
        Ok(ClientEndpoint { endpoint, by_name, any_node, cluster: cluster.to_owned() })
    }

    /// Connects to `node`, which must prove that it is that node. A node that refuses this client's certificate may do so
    /// after this has succeeded; the first request then says so.
    ///
    /// # Errors
    /// Always [`RequestError::NotSent`].
    pub async fn connect(
        &self,
        node: NodeId,
        address: SocketAddr,
        timeout: Duration,
    ) -> Result<ClientConnection, RequestError> {
        let name = names::node_name(&self.cluster, node);
        self.dial(self.by_name.clone(), &name, address, timeout).await
    }

    /// Connects to whichever node of the cluster listens at `address`.
    ///
    /// # Errors
    /// Always [`RequestError::NotSent`].
    pub async fn connect_any(&self, address: SocketAddr, timeout: Duration) -> Result<ClientConnection, RequestError> {
        self.dial(self.any_node.clone(), "any.node.hearsay", address, timeout).await
    }

    async fn dial(
        &self,
        config: quinn::ClientConfig,
        name: &str,
        address: SocketAddr,
        timeout: Duration,
    ) -> Result<ClientConnection, RequestError> {
        let not_sent =
            |reason: &dyn std::fmt::Display| RequestError::NotSent(format!("no connection to {address}: {reason}"));
        let connecting = self.endpoint.connect_with(config, address, name).map_err(|error| not_sent(&error))?;
        let connection = match timeout_at(Instant::now() + timeout, connecting).await {
            Ok(connected) => connected.map_err(|error| not_sent(&error))?,
            Err(_) => return Err(not_sent(&format_args!("no answer within {timeout:?}"))),
        };
        let subject = tls::other_side(&connection)
            .ok_or_else(|| "it showed no certificate".to_owned())
            .and_then(|(certificate, _)| names::subject(&certificate, &self.cluster));
        match subject {
            Ok(Subject::Node(node)) => Ok(ClientConnection::new(node, connection)),
            Ok(Subject::Client(name)) => Err(not_sent(&format_args!("{name:?} is a client, not a node"))),
            Err(reason) => Err(not_sent(&reason)),
        }
    }

    /// Closes every connection; requests without an answer end as unknown.
    pub async fn close(&self) {
        self.endpoint.close(code::STOPPING, b"the client stops");
        self.endpoint.wait_idle().await;
    }
}

/// A connection to one node; clones share it, and the last one closes it.
#[derive(Clone, Debug)]
pub struct ClientConnection {
    node: NodeId,
    connection: Arc<Shared>,
}

/// Closed when nobody holds it any more.
#[derive(Debug)]
struct Shared {
    connection: quinn::Connection,
    leaving: Arc<Leaving>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.connection.close(code::STOPPING, b"the client stops");
    }
}

/// A node that is about to end says so. From then on nothing is sent, and when nothing is under way the connection is closed:
/// no request meets the node in the moment of its end.
#[derive(Debug, Default)]
struct Leaving {
    told: AtomicBool,
    under_way: AtomicUsize,
}

impl Leaving {
    /// Closes the connection when the node says farewell and nothing is under way.
    async fn heard(self: Arc<Leaving>, connection: quinn::Connection) {
        if connection.accept_uni().await.is_ok() {
            self.told.store(true, Ordering::SeqCst);
            if self.under_way.load(Ordering::SeqCst) == 0 {
                connection.close(code::STOPPING, FAREWELL);
            }
        }
    }
}

/// A request under way.
struct UnderWay<'c>(&'c Shared);

impl UnderWay<'_> {
    /// `None`: the node has said farewell.
    fn begin(shared: &Shared) -> Option<UnderWay<'_>> {
        shared.leaving.under_way.fetch_add(1, Ordering::SeqCst);
        let under_way = UnderWay(shared);
        (!shared.leaving.told.load(Ordering::SeqCst)).then_some(under_way)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let leaving = &self.0.leaving;
        if leaving.under_way.fetch_sub(1, Ordering::SeqCst) == 1 && leaving.told.load(Ordering::SeqCst) {
            self.0.connection.close(code::STOPPING, FAREWELL);
        }
    }
}

impl ClientConnection {
    fn new(node: NodeId, connection: quinn::Connection) -> ClientConnection {
        let leaving = Arc::default();
        tokio::spawn(Leaving::heard(Arc::clone(&leaving), connection.clone()));
        ClientConnection { node, connection: Arc::new(Shared { connection, leaving }) }
    }

    /// The node, proven by its certificate.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Whether it has ended; every further request would be [`RequestError::NotSent`].
    pub fn is_closed(&self) -> bool {
        self.connection.leaving.told.load(Ordering::SeqCst) || self.connection.connection.close_reason().is_some()
    }

    /// Ends it for all clones.
    pub fn close(&self) {
        self.connection.connection.close(code::STOPPING, b"the client stops");
    }

    /// Streams only say that their connection is lost; the connection says why.
    fn reason(&self, error: &dyn std::fmt::Display) -> String {
        self.connection.connection.close_reason().map_or_else(|| error.to_string(), |reason| reason.to_string())
    }

    /// Asks, and waits for the answer for at most `timeout` in all.
    ///
    /// # Errors
    /// See [`RequestError`]. An answer that says [`ClientResponse::Failed`] is no error here.
    pub async fn request(&self, request: &ClientRequest, timeout: Duration) -> Result<ClientResponse, RequestError> {
        check_lengths(request)?;
        let frame = codec::encode(request);
        // Whether the node may have all of the request: decides what a failure means. One timer for all the steps.
        let sent = AtomicBool::new(false);
        match tokio::time::timeout(timeout, self.exchange(&frame, &sent)).await {
            Ok(answer) => codec::decode(&answer?)
                .map_err(|error| RequestError::Unknown(format!("the answer of {}: {error}", self.node))),
            Err(_) if sent.load(Ordering::Relaxed) => {
                Err(RequestError::Unknown(format!("{} did not answer within {timeout:?}", self.node)))
            }
            Err(_) => Err(RequestError::NotSent(format!("{} took no request within {timeout:?}", self.node))),
        }
    }

    async fn exchange(&self, frame: &[u8], sent: &AtomicBool) -> Result<Vec<u8>, RequestError> {
        let Some(_under_way) = UnderWay::begin(&self.connection) else {
            return Err(RequestError::NotSent(format!("{}: the node stops", self.node)));
        };
        let opened = self.connection.connection.open_bi().await;
        let (send, mut receive) = opened.map_err(|error| RequestError::NotSent(error.to_string()))?;
        // Until the end is sent, whatever happens resets the stream, also when the caller drops this future.
        let mut send = Unfinished(Some(send));
        match send.stream().write_all(frame).await {
            Ok(()) => send.finish(),
            Err(WriteError::Stopped(code)) => return Err(RequestError::NotSent(stopped(code))),
            Err(error) => return Err(RequestError::NotSent(self.reason(&error))),
        }
        sent.store(true, Ordering::Relaxed);
        // Whoever drops this future tells the node: quinn stops an unread stream.
        match receive.read_to_end(FRAME_LENGTH_MAX).await {
            Ok(answer) => Ok(answer),
            Err(ReadToEndError::Read(ReadError::Reset(code))) if is_definite(code) => {
                Err(RequestError::NotSent(stopped(code)))
            }
            Err(error) => Err(RequestError::Unknown(self.reason(&error))),
        }
    }
}

/// The codes a node uses before it has handed a request on.
fn is_definite(code: quinn::VarInt) -> bool {
    code == code::BUSY || code == code::PROTOCOL || code == code::NOT_TAKEN
}

fn stopped(code: quinn::VarInt) -> String {
    match code {
        code::BUSY => "the node has too many requests in work".to_owned(),
        code::PROTOCOL => "the node does not understand the request: run the same release everywhere".to_owned(),
        code::NOT_TAKEN => "the node is stopping".to_owned(),
        code => format!("the node refused it with code {code}"),
    }
}

fn check_lengths(request: &ClientRequest) -> Result<(), RequestError> {
    let (key, value) = match request {
        ClientRequest::Put { key, value, .. } => (Some(key), Some(value)),
        ClientRequest::PutWith { key, value, .. } => (Some(key), value.as_ref()),
        ClientRequest::Get { key, .. }
        | ClientRequest::GetWith { key, .. }
        | ClientRequest::Delete { key, .. }
        | ClientRequest::Locate { key } => (Some(key), None),
        ClientRequest::LocalScan { after, .. } => (after.as_ref(), None),
        ClientRequest::Write { key, value, .. } => (Some(key), value.as_ref()),
        // Too long a bound of a scan the node refuses itself.
        ClientRequest::Status
        | ClientRequest::Ring
        | ClientRequest::Leave
        | ClientRequest::Remove { .. }
        | ClientRequest::Repair
        | ClientRequest::Scan { .. }
        | ClientRequest::Deliveries { .. }
        | ClientRequest::Members { .. }
        | ClientRequest::Options { .. }
        | ClientRequest::SetOption { .. }
        | ClientRequest::Overlay => (None, None),
        ClientRequest::Publish { payload } => (None, Some(payload)),
    };
    let too_long = |what, length, limit| {
        Err(RequestError::NotSent(format!("the {what} has {length} bytes, the limit is {limit}")))
    };
    match (key, value) {
        (Some(key), _) if key.0.len() > Key::LENGTH_MAX => too_long("key", key.0.len(), Key::LENGTH_MAX),
        (_, Some(value)) if value.0.len() > Value::LENGTH_MAX => too_long("value", value.0.len(), Value::LENGTH_MAX),
        _ => Ok(()),
    }
}

/// A stream whose end was not sent: dropping it resets it, where quinn would end it properly.
struct Unfinished(Option<SendStream>);

impl Unfinished {
    fn stream(&mut self) -> &mut SendStream {
        self.0.as_mut().expect("present until finished")
    }

    fn finish(mut self) {
        if let Some(mut stream) = self.0.take() {
            // Fails only when the node has stopped the stream or the connection is gone: reading the answer says which.
            let _ = stream.finish();
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(mut stream) = self.0.take() {
            let _ = stream.reset(code::ABANDONED);
        }
    }
}
