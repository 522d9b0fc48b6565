//! What others dial: handshake, then the certificate decides what they may speak.

use std::sync::Arc;

use quinn::{Connection, Incoming};
use tokio::time::timeout;

use super::settings::{HANDSHAKE_TIMEOUT, code};
use super::{Context, link, requests};
use crate::names::{self, Subject};
use crate::tls;

/// Accepts connections until the endpoint closes.
pub(crate) async fn accept(context: Arc<Context>) {
    while let Some(incoming) = context.endpoint.accept().await {
        if *context.farewell.borrow() {
            // Whoever asks hears at once that nobody is here.
            incoming.refuse();
            continue;
        }
        let Ok(permit) = Arc::clone(&context.handshakes).try_acquire_owned() else {
            // Without an answer the dialler tries again by itself, and this node has spent nothing on it.
            context.counters.transport_refused_limit.one();
            incoming.ignore();
            continue;
        };
        let context = Arc::clone(&context);
        tokio::spawn(async move {
            let handshake = handshake(&context, incoming).await;
            drop(permit);
            let Some((connection, subject, alpn)) = handshake else { return };
            if link::is_peer(&alpn) {
                link::accepted(context, connection, subject).await;
            } else {
                requests::serve(context, connection, subject).await;
            }
        });
    }
}

async fn handshake(context: &Context, incoming: Incoming) -> Option<(Connection, Subject, Vec<u8>)> {
    let from = incoming.remote_address();
    let failed = |reason: &dyn std::fmt::Display| {
        context.counters.transport_handshakes_failed.one();
        context.brake.warn(format_args!("a connection from {from} failed in its handshake: {reason}"));
    };
    let connecting = match incoming.accept() {
        Ok(connecting) => connecting,
        Err(error) => {
            failed(&error);
            return None;
        }
    };
    let connection = match timeout(HANDSHAKE_TIMEOUT, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            failed(&error);
            return None;
        }
        Err(_) => {
            failed(&"it took too long");
            return None;
        }
    };
    // The handshake has asked for both; a connection without them would be a fault of the library.
    let Some((certificate, alpn)) = tls::other_side(&connection) else {
        connection.close(code::REFUSED, b"no certificate");
        failed(&"no certificate or no protocol");
        return None;
    };
    match names::subject(&certificate, &context.hello.cluster) {
        Ok(subject) => Some((connection, subject, alpn)),
        Err(reason) => {
            context.counters.transport_refused_identity.one();
            context.brake.warn(format_args!("a connection from {from} was refused: {reason}"));
            connection.close(code::REFUSED, reason.as_bytes());
            None
        }
    }
}
