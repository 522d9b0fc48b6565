//! Counters of dissemination. They only grow; nothing in the protocols reads them.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};

macro_rules! counters {
    ($($(#[$meaning:meta])+ $name:ident,)+) => {
        /// Every counter of the layer.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct DisseminationCounters {
            $($(#[$meaning])+ pub $name: u64,)+
        }

        impl DisseminationCounters {
            /// Every counter by name.
            pub fn by_name(&self) -> BTreeMap<String, u64> {
                BTreeMap::from([$((stringify!($name).to_string(), self.$name),)+])
            }

            /// Adds those of another node.
            pub fn add(&mut self, other: &DisseminationCounters) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

counters! {
    /// Broadcasts published here.
    published,
    /// Broadcasts delivered here, own ones included.
    delivered,
    /// Payloads received, news or not.
    payloads_received,
    /// Payloads received that were known.
    payloads_duplicate,
    /// Payloads sent, each broadcast in a message counted.
    payloads_sent,
    /// Bytes of the messages that carry payloads.
    payload_bytes_sent,
    /// Messages sent that carry no payload.
    control_sent,
    /// Bytes of those.
    control_bytes_sent,
    /// Broadcasts that only the exchange brought.
    delivered_by_exchange,
    /// Broadcasts given up: their origin is far ahead, or too many origins were heard.
    given_up,
    /// Broadcasts dropped from the archive before their time, because it was full.
    archive_overflows,
    /// Rumors that this node lost interest in.
    rumors_removed,
    /// GRAFTs sent.
    grafts_sent,
    /// GRAFTs received for what is no longer held.
    grafts_in_vain,
    /// PRUNEs sent.
    prunes_sent,
    /// Links swapped for a shorter way.
    optimised,
    /// Announced broadcasts that never came.
    missing_expired,
    /// Announcements dropped because too many broadcasts are missing or waiting.
    announcements_dropped,
    /// JOINs received.
    joins_received,
    /// JOINs sent.
    joins_sent,
    /// Neighbours put out of the active view for others.
    evictions,
    /// Neighbours traded to mix the overlay, on this node's initiative.
    swaps,
    /// Neighbours lost because their link broke.
    neighbours_lost,
    /// NEIGHBORs refused.
    neighbors_refused,
    /// Shuffles begun.
    shuffles_sent,
    /// Peers that were lost and are tried again.
    probes_sent,
    /// Messages with impossible content, or of a protocol that is not selected, ignored.
    messages_invalid,
}
