//! The client protocol on the node's side: one bidirectional stream per request.
//!
//! A request that is all there when its stream is accepted, as small ones are, is read and handed on by the connection's own
//! task, and its answer is written by the driver: no task, channel or timer of its own. What has to wait (a request that is
//! not all there, an answer that the other side takes no room for) goes on in a task, with a time-out.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{self, Poll, Waker};

use hearsay_core::{ClientRequest, ClientResponse, Key, Value, codec};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::error::SendError;
use tokio::time::timeout;

use super::settings::{CLIENT_STREAMS_MAX, PATIENCE, code};
use super::{Arrival, Context, frames};
use crate::names::Subject;

/// Longest request frame: the longest key and value, and what surrounds them. A value somewhat too long still gets through
/// and is refused by the replica with a sentence.
pub(crate) const REQUEST_FRAME_MAX: usize = 2 * (Key::LENGTH_MAX + Value::LENGTH_MAX);
/// Requests that a connection hands on in one go. Then the driver and the network have their turn, so that the first answers
/// are on their way while the last requests are read.
const GO_MAX: usize = 16;

/// Serves a client's connection until it ends.
pub(crate) async fn serve(context: Arc<Context>, connection: Connection, subject: Subject) {
    let from = connection.remote_address();
    let name = match subject {
        Subject::Client(name) => name,
        Subject::Node(node) => {
            context.counters.transport_refused_identity.one();
            context.brake.warn(format_args!("{node} from {from} was refused: a node may not speak as a client"));
            connection.close(code::REFUSED, b"a node may not speak as a client: use a client's certificate");
            return;
        }
    };
    let Ok(_permit) = Arc::clone(&context.clients).try_acquire_owned() else {
        context.counters.transport_refused_limit.one();
        context.brake.warn(format_args!("client {name:?} from {from} was refused: too many client connections"));
        connection.close(code::BUSY, b"too many client connections");
        return;
    };
    context.counters.transport_clients_accepted.one();
    // Only now may the client open streams: one that was refused can never have sent a request.
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(CLIENT_STREAMS_MAX));
    let mut announced = context.farewell.subscribe();
    let mut farewell = pin!(announced.wait_for(|farewell| *farewell));
    let mut told = false;
    let mut go = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = connection.accept_bi() => accepted,
            _ = &mut farewell, if !told => {
                say_farewell(&connection);
                told = true;
                continue;
            }
        };
        let Ok((send, receive)) = accepted else { return };
        accept(&context, send, receive).await;
        go += 1;
        if go % GO_MAX == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// Opens the stream that says that this node is about to end. A client that allows none is not waited for, and on a connection
/// that is lost nobody would hear it.
fn say_farewell(connection: &Connection) {
    let opened = pin!(connection.open_uni()).poll(&mut task::Context::from_waker(Waker::noop()));
    if let Poll::Ready(Ok(mut stream)) = opened {
        let _ = stream.finish();
    }
}

/// Takes a request as far as it goes without waiting. Only room in the inbox is waited for, on behalf of the whole connection.
async fn accept(context: &Arc<Context>, mut send: SendStream, mut receive: RecvStream) {
    let Ok(permit) = Arc::clone(&context.requests).try_acquire_owned() else {
        context.counters.transport_requests_refused.one();
        return refuse(&mut send, &mut receive, code::BUSY);
    };
    let answer = Answer { context: Arc::clone(context), send: Some(send), _permit: permit };
    let mut request = Request { answer, receive, frame: Vec::new() };
    // Whether it is all there is asked once; if not, the task below asks again and is woken.
    let read = pin!(request.read()).poll(&mut task::Context::from_waker(Waker::noop()));
    match read {
        Poll::Ready(read) => request.hand_on(context, read).await,
        Poll::Pending => {
            let context = Arc::clone(context);
            tokio::spawn(async move {
                let read = timeout(PATIENCE, request.read()).await;
                request.hand_on(&context, read.unwrap_or(Err(Unread::Gone))).await;
            });
        }
    }
}

/// Resetting can only fail on a stream that is closed already.
fn refuse(send: &mut SendStream, receive: &mut RecvStream, code: VarInt) {
    let _ = send.reset(code);
    let _ = receive.stop(code);
}

/// A request that is being read.
struct Request {
    answer: Answer,
    receive: RecvStream,
    /// What is there of it.
    frame: Vec<u8>,
}

/// Why a request could not be read.
enum Unread {
    TooLong,
    /// The client gave up, or was too slow.
    Gone,
}

impl Request {
    /// Reads to the end of the stream. May be dropped and called again.
    async fn read(&mut self) -> Result<(), Unread> {
        loop {
            match self.receive.read_chunk(REQUEST_FRAME_MAX, true).await {
                Ok(Some(chunk)) if self.frame.len() + chunk.bytes.len() > REQUEST_FRAME_MAX => {
                    return Err(Unread::TooLong);
                }
                Ok(Some(chunk)) => self.frame.extend_from_slice(&chunk.bytes),
                Ok(None) => return Ok(()),
                Err(_) => return Err(Unread::Gone),
            }
        }
    }

    async fn hand_on(self, context: &Context, read: Result<(), Unread>) {
        let counters = &context.counters;
        let request: ClientRequest = match read.map(|()| codec::decode(&self.frame)) {
            Ok(Ok(request)) => request,
            Ok(Err(error)) => {
                frames::count_codec(&error, counters);
                return self.refuse(code::PROTOCOL);
            }
            Err(Unread::TooLong) => {
                counters.transport_frames_oversized.one();
                return self.refuse(code::PROTOCOL);
            }
            Err(Unread::Gone) => {
                counters.transport_requests_abandoned.one();
                return self.refuse(code::ABANDONED);
            }
        };
        counters.transport_requests.one();
        let arrival = Arrival::Request { request, asker: Asker::Client(self.answer) };
        if let Err(SendError(Arrival::Request { asker: Asker::Client(answer), .. })) = context.inbox.send(arrival).await
        {
            answer.not_taken();
        }
    }

    fn refuse(mut self, code: VarInt) {
        if let Some(mut send) = self.answer.send.take() {
            refuse(&mut send, &mut self.receive, code);
        }
    }
}

/// Whoever waits for an answer. Dropping it says that there will never be one.
#[derive(Debug)]
pub(crate) enum Asker {
    /// A client.
    Client(Answer),
    /// A test of the driver.
    #[cfg(test)]
    Test(tokio::sync::oneshot::Sender<ClientResponse>),
}

impl Asker {
    /// Answers; whoever is gone does not hear it.
    pub(crate) fn answer(self, response: ClientResponse) {
        match self {
            Asker::Client(answer) => answer.give(&response),
            #[cfg(test)]
            Asker::Test(answer) => drop(answer.send(response)),
        }
    }
}

/// The answering half of a request's stream.
///
/// Not watched for a client that goes away meanwhile: the coordinator gives up soon by itself, and watching costs each
/// request of the patient ones.
#[derive(Debug)]
pub(crate) struct Answer {
    context: Arc<Context>,
    /// Present until the answer is given.
    send: Option<SendStream>,
    _permit: OwnedSemaphorePermit,
}

impl Answer {
    /// Writes the answer; what the other side has no room for yet is left to a task.
    pub(crate) fn give(mut self, response: &ClientResponse) {
        let frame = codec::encode(response);
        let Some(send) = &mut self.send else { return };
        let mut written = 0;
        while written < frame.len() {
            match Pin::new(&mut *send).poll_write(&mut task::Context::from_waker(Waker::noop()), &frame[written..]) {
                Poll::Ready(Ok(bytes)) => written += bytes,
                // Dropping the answer counts it.
                Poll::Ready(Err(_)) => return,
                Poll::Pending => {
                    tokio::spawn(self.give_slowly(frame, written));
                    return;
                }
            }
        }
        if self.context.stopping.load(Ordering::Relaxed) {
            tokio::spawn(self.deliver());
        } else {
            self.finish();
        }
    }

    /// Waits until the answer has arrived: soon the connection is closed, which drops what it still holds.
    async fn deliver(mut self) {
        if let Some(mut send) = self.send.take()
            && send.finish().is_ok()
        {
            let _ = timeout(PATIENCE, send.stopped()).await;
        }
    }

    /// The driver has ended and knows nothing of the request.
    fn not_taken(mut self) {
        if let Some(mut send) = self.send.take() {
            let _ = send.reset(code::NOT_TAKEN);
        }
    }

    async fn give_slowly(mut self, frame: Vec<u8>, written: usize) {
        let Some(send) = &mut self.send else { return };
        if let Ok(Ok(())) = timeout(PATIENCE, send.write_all(&frame[written..])).await {
            self.deliver().await;
        }
    }

    fn finish(&mut self) {
        if let Some(mut send) = self.send.take() {
            // Fails only on a stream that the client has stopped.
            let _ = send.finish();
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(mut send) = self.send.take() {
            self.context.counters.transport_requests_abandoned.one();
            let _ = send.reset(code::ABANDONED);
        }
    }
}
