//! The life of one connection between two nodes: dial or accept, hello, lanes, end.
//!
//! ```text
//! dialler:  connect -> send hello -> read hello, check -> offer to the driver -> lanes -> lost
//! acceptor: certificate is a node's -> read hello, check -> offer to the driver -> send hello -> lanes -> lost
//! ```
//!
//! An offer that is contested (see [`super::links`]) waits until the process that is linked has answered or was silent for too
//! long. A link that is alive acknowledges whatever comes on it, so an empty frame is enough of a question.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hearsay_core::{Lane, Link, NodeId, codec, message::PeerMessage};
use quinn::{Connection, ConnectionError, SendStream, VarInt, WriteError};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::frames::{self, FrameError, FrameReader};
use super::hello::Hello;
use super::lane_queue::{LANES, LaneQueue, lane_index};
use super::links::{DialOrder, LinkId, Offer, Queues, Rival, Verdict};
use super::settings::{ANSWERS_WITHIN, HANDSHAKE_TIMEOUT, PATIENCE, PEER_STREAMS_MAX, code};
use super::{Arrival, Context, DialEnd};
use crate::names::{self, Subject};
use crate::tls;

/// How often it is looked whether a process that was asked has answered.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How often an offer is made: a process that was silent may have a new link meanwhile.
const OFFERS_MAX: usize = 3;

/// Why a connection did not become a link.
#[derive(Debug)]
enum Refusal {
    /// The pair has, or gets, another.
    Duplicate,
    /// It could not be made, or broke.
    Broken(String),
    /// One of the two sides does not want the other; worth a line in the log.
    Refused(String),
    /// The other side says that another process of this identity is linked and answers.
    Contested(String),
}

impl From<ConnectionError> for Refusal {
    fn from(error: ConnectionError) -> Refusal {
        match &error {
            ConnectionError::ApplicationClosed(close) if close.error_code == code::DUPLICATE => Refusal::Duplicate,
            ConnectionError::ApplicationClosed(close) if close.error_code == code::REFUSED => {
                Refusal::Refused(format!("it refuses this node: {}", String::from_utf8_lossy(&close.reason)))
            }
            ConnectionError::ApplicationClosed(close) if close.error_code == code::CONTESTED => {
                Refusal::Contested(String::from_utf8_lossy(&close.reason).into_owned())
            }
            // A certificate that does not fit shows here.
            ConnectionError::TransportError(_) | ConnectionError::ConnectionClosed(_) => {
                Refusal::Refused(error.to_string())
            }
            _ => Refusal::Broken(error.to_string()),
        }
    }
}

impl Refusal {
    /// The reason behind a broken stream is that of its connection.
    fn of(connection: &Connection, error: &dyn std::fmt::Display) -> Refusal {
        match connection.close_reason() {
            Some(reason) => reason.into(),
            None => Refusal::Broken(error.to_string()),
        }
    }
}

/// Dials, and serves the link until it ends.
pub(crate) async fn dial(context: Arc<Context>, order: DialOrder) {
    match dialled(&context, order).await {
        Ok(link) => link.run(&context).await,
        // The driver has been told about the dial by the offer; this connection is the one too many.
        Err(None) => {}
        Err(Some(refusal)) => {
            match &refusal {
                Refusal::Refused(reason) | Refusal::Contested(reason) => {
                    context.brake.warn(format_args!("no link to {}: {reason}", order.peer));
                }
                Refusal::Broken(reason) => tracing::debug!("no link to {}: {reason}", order.peer),
                Refusal::Duplicate => context.counters.transport_duplicates.one(),
            }
            let why = match refusal {
                Refusal::Duplicate => DialEnd::Duplicate,
                Refusal::Contested(reason) => DialEnd::Contested(reason),
                Refusal::Broken(_) | Refusal::Refused(_) => DialEnd::Failed,
            };
            let _ = context.inbox.send(Arrival::DialFailed { peer: order.peer, dial: order.dial, why }).await;
        }
    }
}

async fn dialled(context: &Context, order: DialOrder) -> Result<Established, Option<Refusal>> {
    let (connection, reader, writer, hello) = greet(context, order).await.map_err(Some)?;
    let offer = Offer {
        peer: order.peer,
        incarnation: hello.incarnation,
        from: connection.remote_address(),
        silent: None,
        dial: Some(order.dial),
        connection: connection.clone(),
    };
    // Our own dial is never contested.
    let Ok((link, queues)) = ask(context, offer).await else {
        connection.close(code::DUPLICATE, b"this pair has another connection");
        return Err(None);
    };
    Ok(Established { peer: order.peer, link, connection, reader, writer, queues })
}

async fn greet(context: &Context, order: DialOrder) -> Result<(Connection, FrameReader, SendStream, Hello), Refusal> {
    let name = names::node_name(&context.hello.cluster, order.peer);
    let connecting = context
        .endpoint
        .connect_with(context.dialling.clone(), order.address, &name)
        .map_err(|error| Refusal::Refused(error.to_string()))?;
    let connection = timeout(HANDSHAKE_TIMEOUT, connecting)
        .await
        .map_err(|_| Refusal::Broken(format!("{} does not answer", order.address)))??;
    let hellos = async {
        let mut writer = connection.open_uni().await?;
        write_hello(&mut writer, &context.hello).await.map_err(|error| Refusal::of(&connection, &error))?;
        let stream = connection.accept_uni().await?;
        let (reader, hello) = read_hello(stream).await.map_err(|error| {
            error.count(&context.counters);
            if error.is_violation() { Refusal::Refused(error.to_string()) } else { Refusal::of(&connection, &error) }
        })?;
        Ok((writer, reader, hello))
    };
    let greeted = match timeout(PATIENCE, hellos).await {
        Ok(greeted) => greeted,
        Err(_) => Err(Refusal::Broken("it sends no hello".into())),
    };
    let checked = greeted.and_then(|(writer, reader, hello)| match context.hello.check(&hello, order.peer) {
        Ok(()) => Ok((writer, reader, hello)),
        Err(reason) => {
            context.counters.transport_refused_hello.one();
            Err(Refusal::Refused(reason))
        }
    });
    match checked {
        Ok((writer, reader, hello)) => Ok((connection, reader, writer, hello)),
        Err(refusal) => {
            if let Refusal::Refused(reason) | Refusal::Broken(reason) = &refusal {
                connection.close(code::REFUSED, reason.as_bytes());
            }
            Err(refusal)
        }
    }
}

/// Serves a connection that a peer dialled, from the end of the handshake to its own.
pub(crate) async fn accepted(context: Arc<Context>, connection: Connection, subject: Subject) {
    let from = connection.remote_address();
    let refuse_with = |code, reason: &str| {
        context.brake.warn(format_args!("a peer connection from {from} was refused: {reason}"));
        connection.close(code, reason.as_bytes());
    };
    let refuse = |reason: &str| refuse_with(code::REFUSED, reason);
    let peer = match subject {
        Subject::Node(node) if node != context.hello.node && context.members.contains(&node) => node,
        Subject::Node(node) => {
            context.counters.transport_refused_identity.one();
            return refuse(&format!("{node} is no other member of this cluster"));
        }
        Subject::Client(name) => {
            context.counters.transport_refused_identity.one();
            return refuse(&format!("the client {name:?} may not speak the protocol between nodes"));
        }
    };
    connection.set_max_concurrent_uni_streams(VarInt::from_u32(PEER_STREAMS_MAX));
    let greeting = async { read_hello(connection.accept_uni().await.map_err(quinn::ReadError::from)?).await };
    let (reader, hello) = match timeout(PATIENCE, greeting).await {
        Ok(Ok(greeting)) => greeting,
        Ok(Err(error)) if error.is_violation() => {
            error.count(&context.counters);
            context.counters.transport_refused_hello.one();
            return refuse(&format!("no hello of {peer}: {error}"));
        }
        // The dialler gave up.
        Ok(Err(_)) => return,
        Err(_) => {
            context.counters.transport_refused_hello.one();
            return refuse(&format!("{peer} sent no hello in time"));
        }
    };
    if let Err(reason) = context.hello.check(&hello, peer) {
        context.counters.transport_refused_hello.one();
        return refuse(&reason);
    }
    let incarnation = hello.incarnation;
    let offer = Offer { peer, incarnation, from, silent: None, dial: None, connection: connection.clone() };
    let (link, queues) = match ask(&context, offer).await {
        Ok(link) => link,
        Err(None) => return connection.close(code::DUPLICATE, b"this pair has another connection"),
        Err(Some(there)) => {
            context.counters.transport_identity_contested.one();
            let reason = format!(
                "two processes say that they are {peer}: the one at {there} is linked and answers, this one is at {from}; \
                 stop one of them, or give it the certificate and the data of another node"
            );
            return refuse_with(code::CONTESTED, &reason);
        }
    };
    let answer = async {
        let mut writer = connection.open_uni().await?;
        write_hello(&mut writer, &context.hello).await?;
        Ok::<_, WriteError>(writer)
    };
    match timeout(PATIENCE, answer).await {
        Ok(Ok(writer)) => Established { peer, link, connection, reader, writer, queues }.run(&context).await,
        Ok(Err(_)) | Err(_) => {
            connection.close(code::ABANDONED, b"the hello could not be sent");
            let _ = context.inbox.send(Arrival::Lost { peer, link }).await;
        }
    }
}

async fn write_hello(writer: &mut SendStream, hello: &Hello) -> Result<(), WriteError> {
    set_priority(writer, 0);
    let mut bytes = vec![0];
    frames::append(&codec::encode(hello), &mut bytes);
    writer.write_all(&bytes).await
}

async fn read_hello(stream: quinn::RecvStream) -> Result<(FrameReader, Hello), FrameError> {
    let mut reader = FrameReader::new(stream);
    if reader.lane_byte().await? != 0 {
        return Err(FrameError::Codec(codec::CodecError::Malformed));
    }
    let hello = reader.next().await?;
    Ok((reader, hello))
}

/// Asks the driver whether a connection becomes a link.
///
/// # Errors
/// The pair has another connection: `None`; or the other side's identity is that of a process at this address, which answers.
async fn ask(context: &Context, mut offer: Offer<Connection>) -> Result<(LinkId, Queues), Option<SocketAddr>> {
    let mut there = None;
    for _ in 0..OFFERS_MAX {
        let (verdict, decided) = oneshot::channel();
        context.inbox.send(Arrival::Offer { offer: offer.clone(), verdict }).await.map_err(|_| None)?;
        match decided.await {
            Ok(Verdict::Link(link, queues)) => return Ok((link, queues)),
            Ok(Verdict::Duplicate) | Err(_) => return Err(None),
            Ok(Verdict::Contested(rival)) if answers(&rival).await => return Err(Some(rival.from)),
            Ok(Verdict::Contested(rival)) => {
                offer.silent = Some(rival.link);
                there = Some(rival.from);
            }
        }
    }
    Err(there)
}

/// Whether the other side of a link is there: acknowledges what is sent to it now.
async fn answers(rival: &Rival<Connection>) -> bool {
    let acknowledged = || rival.connection.stats().frame_rx.acks;
    let before = acknowledged();
    // With a full queue there is something to acknowledge as well.
    let _ = rival.queues[lane_index(Lane::Control)].push(&[]);
    let answered = async {
        while rival.connection.close_reason().is_none() {
            if acknowledged() > before {
                return true;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        false
    };
    timeout(ANSWERS_WITHIN, answered).await.unwrap_or(false)
}

/// The sooner a lane comes in the table, the higher its priority.
fn set_priority(writer: &SendStream, lane: usize) {
    // Fails only on a stream that is closed; the next write says so.
    let _ = writer.set_priority((LANES.len() - lane) as i32);
}

/// A connection that is a link.
struct Established {
    peer: NodeId,
    link: LinkId,
    connection: Connection,
    reader: FrameReader,
    writer: SendStream,
    queues: Queues,
}

/// How a link ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("a stream that names no lane of its own")]
    Stream,
    #[error("a datagram with a message that may not be lost")]
    Datagram,
    #[error("this node stops")]
    Stopping,
}

impl Established {
    async fn run(self, context: &Context) {
        let Established { peer, link, connection, reader, mut writer, queues } = self;
        tracing::debug!("link to {peer} ({}) is {:?}", connection.remote_address(), Link::Up);
        let forward = |reader| forward(context, peer, link, reader);
        let end: End = tokio::select! {
            error = connection.closed() => error.into(),
            end = forward(reader) => end,
            end = other_lanes(&connection, forward) => end,
            end = datagrams(context, peer, link, &connection) => end,
            end = write(&mut writer, &queues[0]) => end,
            end = write_lane(&connection, &queues, 1) => end,
            end = write_lane(&connection, &queues, 2) => end,
        };
        match &end {
            End::Frame(error) if error.is_violation() => {
                error.count(&context.counters);
                context.brake.warn(format_args!("{peer} broke the protocol: {error}"));
                connection.close(code::PROTOCOL, error.to_string().as_bytes());
            }
            End::Stream => {
                context.counters.transport_streams_unexpected.one();
                context.brake.warn(format_args!("{peer} broke the protocol: {end}"));
                connection.close(code::PROTOCOL, end.to_string().as_bytes());
            }
            End::Datagram => {
                context.counters.transport_datagrams_unexpected.one();
                context.brake.warn(format_args!("{peer} broke the protocol: {end}"));
                connection.close(code::PROTOCOL, end.to_string().as_bytes());
            }
            _ => {
                tracing::debug!("link to {peer} is {:?}: {end}", Link::Down);
                connection.close(code::STOPPING, b"the link ended");
            }
        }
        let _ = context.inbox.send(Arrival::Lost { peer, link }).await;
    }
}

/// Hands every message of a stream to the driver.
async fn forward(context: &Context, peer: NodeId, link: LinkId, mut reader: FrameReader) -> End {
    loop {
        match reader.next::<PeerMessage>().await {
            Ok(message) => {
                if context.inbox.send(Arrival::Message { peer, link, message }).await.is_err() {
                    return End::Stopping;
                }
            }
            Err(error) => return error.into(),
        }
    }
}

/// Hands every message that comes as a datagram to the driver.
async fn datagrams(context: &Context, peer: NodeId, link: LinkId, connection: &Connection) -> End {
    loop {
        let datagram = match connection.read_datagram().await {
            Ok(datagram) => datagram,
            Err(error) => return error.into(),
        };
        let message = match message_of(&datagram) {
            Ok(message) => message,
            Err(end) => return end,
        };
        context.counters.transport_datagrams_received.one();
        if context.inbox.send(Arrival::Message { peer, link, message }).await.is_err() {
            return End::Stopping;
        }
    }
}

fn message_of(datagram: &[u8]) -> Result<PeerMessage, End> {
    let message: PeerMessage = codec::decode(datagram).map_err(FrameError::Codec)?;
    if message.may_be_lost() { Ok(message) } else { Err(End::Datagram) }
}

/// The two lanes beside control, in the order in which the peer opens them.
async fn other_lanes<F: Future<Output = End>>(connection: &Connection, forward: impl Fn(FrameReader) -> F) -> End {
    let (first, first_lane) = match accept_lane(connection, 0).await {
        Ok(accepted) => accepted,
        Err(end) => return end,
    };
    let second = async {
        match accept_lane(connection, first_lane).await {
            Ok((second, _)) => forward(second).await,
            Err(end) => end,
        }
    };
    tokio::select! {
        end = forward(first) => end,
        end = second => end,
    }
}

async fn accept_lane(connection: &Connection, taken: u8) -> Result<(FrameReader, u8), End> {
    let mut reader = FrameReader::new(connection.accept_uni().await?);
    let lane = reader.lane_byte().await?;
    if lane == 0 || lane == taken || usize::from(lane) >= LANES.len() {
        return Err(End::Stream);
    }
    Ok((reader, lane))
}

/// Opens the lane's stream when there is something to send: most pairs of a large cluster never use bulk.
async fn write_lane(connection: &Connection, queues: &Queues, lane: usize) -> End {
    debug_assert_eq!(lane_index(LANES[lane]), lane);
    let mut bytes = vec![lane as u8];
    bytes.append(&mut queues[lane].take().await);
    let mut writer = match connection.open_uni().await {
        Ok(writer) => writer,
        Err(error) => return error.into(),
    };
    set_priority(&writer, lane);
    if let Err(error) = writer.write_all(&bytes).await {
        return error.into();
    }
    drop(bytes);
    write(&mut writer, &queues[lane]).await
}

async fn write(writer: &mut SendStream, queue: &LaneQueue) -> End {
    loop {
        let bytes = queue.take().await;
        if let Err(error) = writer.write_all(&bytes).await {
            return error.into();
        }
    }
}

/// Whether the connection speaks the protocol between nodes.
pub(crate) fn is_peer(alpn: &[u8]) -> bool {
    alpn == tls::ALPN_PEER
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
