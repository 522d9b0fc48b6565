//! The client protocol on the node's side: one bidirectional stream per request.

use std::sync::Arc;

use hearsay_core::{ClientRequest, Key, Value, codec};
use quinn::{Connection, ReadToEndError, RecvStream, SendStream, VarInt};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::settings::{CLIENT_STREAMS_MAX, PATIENCE, code};
use super::{Arrival, Context, frames};
use crate::names::Subject;

/// Longest request frame: the longest key and value, and what surrounds them. A value somewhat too long still gets through
/// and is refused by the replica with a sentence.
pub(crate) const REQUEST_FRAME_MAX: usize = 2 * (Key::LENGTH_MAX + Value::LENGTH_MAX);

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
    while let Ok((send, receive)) = connection.accept_bi().await {
        tokio::spawn(request(Arc::clone(&context), send, receive));
    }
}

async fn request(context: Arc<Context>, mut send: SendStream, mut receive: RecvStream) {
    let counters = &context.counters;
    // Resetting can only fail on a stream that is closed already.
    let refuse = |send: &mut SendStream, receive: &mut RecvStream, code: VarInt| {
        let _ = send.reset(code);
        let _ = receive.stop(code);
    };
    let Ok(_permit) = Arc::clone(&context.requests).try_acquire_owned() else {
        counters.transport_requests_refused.one();
        return refuse(&mut send, &mut receive, code::BUSY);
    };
    let frame = match timeout(PATIENCE, receive.read_to_end(REQUEST_FRAME_MAX)).await {
        Ok(Ok(frame)) => frame,
        Ok(Err(ReadToEndError::TooLong)) => {
            counters.transport_frames_oversized.one();
            return refuse(&mut send, &mut receive, code::PROTOCOL);
        }
        Ok(Err(ReadToEndError::Read(_))) | Err(_) => {
            counters.transport_requests_abandoned.one();
            return refuse(&mut send, &mut receive, code::ABANDONED);
        }
    };
    let request: ClientRequest = match codec::decode(&frame) {
        Ok(request) => request,
        Err(error) => {
            frames::count_codec(&error, counters);
            return refuse(&mut send, &mut receive, code::PROTOCOL);
        }
    };
    drop(frame);
    let (answer, answered) = oneshot::channel();
    counters.transport_requests.one();
    if context.inbox.send(Arrival::Request { request, answer }).await.is_err() {
        return refuse(&mut send, &mut receive, code::NOT_TAKEN);
    }
    // Not watched for a client that goes away meanwhile: the coordinator gives up soon by itself, and watching costs each
    // request of the patient ones.
    let Ok(response) = answered.await else {
        counters.transport_requests_abandoned.one();
        return refuse(&mut send, &mut receive, code::ABANDONED);
    };
    let frame = codec::encode(&response);
    match timeout(PATIENCE, send.write_all(&frame)).await {
        Ok(Ok(())) => {
            let finished = send.finish().is_ok();
            if finished && context.stopping.load(std::sync::atomic::Ordering::Relaxed) {
                // Soon the connection is closed, which drops what it still holds.
                let _ = timeout(PATIENCE, send.stopped()).await;
            }
        }
        Ok(Err(_)) | Err(_) => {
            counters.transport_requests_abandoned.one();
            let _ = send.reset(code::ABANDONED);
        }
    }
}
