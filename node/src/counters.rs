//! What the driver counts. The counters join the replica's own in every status report, so a refusal that nobody saw in a
//! log is still seen.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub fn one(&self) {
        self.many(1);
    }
    /// Counts `n`.
    pub fn many(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
    /// The count so far.
    pub fn count(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Every counter of the driver.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[doc = $doc])* pub $name: Counter,)* }

        impl Counters {
            /// Every counter by name.
            pub fn report(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($name), self.$name.count()),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Groups of write batches made durable, each by one sync.
    store_commits,
    /// Write batches made durable.
    store_batches,
    /// Times the driver stopped taking inputs because too many outputs waited for the disk.
    store_backpressure,
    /// Times a group waited because two laps of the journals were full and the first was not in the table yet.
    store_fold_waits,
    /// Connections accepted whose handshake failed: no certificate, one of another authority, no common protocol, silence.
    transport_handshakes_failed,
    /// Connections refused because of the name in their certificate: another cluster, another role, not a member.
    transport_refused_identity,
    /// Peer connections refused because of their hello: another id than the certificate's, cluster, configuration or version.
    transport_refused_hello,
    /// Connections refused or ignored because a limit was reached.
    transport_refused_limit,
    /// Frames that were no message.
    transport_frames_malformed,
    /// Frames that ended before their length, or empty.
    transport_frames_truncated,
    /// Frames above the length limit.
    transport_frames_oversized,
    /// Frames of another version.
    transport_frames_version,
    /// Streams that should not have been opened.
    transport_streams_unexpected,
    /// Datagrams sent: messages that may be lost.
    transport_datagrams_sent,
    /// Datagrams received.
    transport_datagrams_received,
    /// Messages that were to go as datagrams and were dropped because too many waited.
    transport_datagrams_dropped,
    /// Messages that were to go as datagrams and went on the stream: the peer takes none, or none so long.
    transport_datagrams_on_stream,
    /// Datagrams that held a message which may not be lost.
    transport_datagrams_unexpected,
    /// Messages to peers dropped because their queue was full.
    transport_dropped_full,
    /// Messages to peers dropped because there was no link and none could be made yet.
    transport_dropped_unlinked,
    /// Messages to peers that were still queued when their link was lost.
    transport_dropped_lost,
    /// Connections to peers begun.
    transport_dials,
    /// Connections to peers that could not be made.
    transport_dials_failed,
    /// Connections given up because the same pair already had one.
    transport_duplicates,
    /// Connections refused because another process of the same identity is linked and answers: two processes say they are one.
    transport_identity_contested,
    /// Links that came up.
    transport_links_up,
    /// Links that went down.
    transport_links_down,
    /// Client connections accepted.
    transport_clients_accepted,
    /// Client requests handed to the replica.
    transport_requests,
    /// Client requests whose client stopped waiting, or was too slow to ask or to listen.
    transport_requests_abandoned,
    /// Client requests refused because too many were in work.
    transport_requests_refused,
}
