//! Counters of everything a node does, by name. They only grow; nothing in the protocol reads them.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};

use crate::{Mark, Marks};

/// Declares [`Counters`] once: a field, its name for the status call, and its meaning.
macro_rules! counters {
    ($($(#[$meaning:meta])+ $name:ident,)+) => {
        /// Every counter of a node.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Counters {
            $($(#[$meaning])+ pub(crate) $name: u64,)+
            /// Rare branches.
            pub(crate) marks: Marks,
        }

        impl Counters {
            /// Notes that a rare branch is taken.
            pub(crate) fn mark(&mut self, mark: Mark) {
                self.marks.hit(mark);
            }

            /// Every counter by name.
            pub(crate) fn by_name(&self) -> BTreeMap<String, u64> {
                BTreeMap::from([$((stringify!($name).to_string(), self.$name),)+])
            }
        }
    };
}

counters! {
    /// Client reads taken as coordinator.
    reads_coordinated,
    /// Client writes and deletes taken as coordinator.
    writes_coordinated,
    /// Full reads answered as replica, to itself included.
    replica_reads,
    /// Digest reads answered as replica.
    replica_digest_reads,
    /// Replica reads refused because this node has not caught up.
    replica_reads_refused,
    /// Links that were no longer needed.
    links_given_up,
    /// Reads whose first answers did not agree.
    digest_mismatches,
    /// Repairs sent to replicas (to itself included) that answered a read with something older.
    read_repairs_sent,
    /// Bytes of keys and values in these repairs, those of scans included.
    read_repair_bytes,
    /// Reads that had to wait for acknowledgements of their repairs.
    read_repairs_blocking,
    /// Repairs sent to further replicas because the first ones did not acknowledge in time.
    read_repairs_widened,
    /// Reads sent to further replicas because the first ones were silent or had not caught up.
    speculative_reads,
    /// Versions taken over because they were newer than what was stored.
    writes_applied,
    /// Versions not taken over: the same or a newer one was stored.
    writes_stale,
    /// Expired tombstones for absent keys, not taken over.
    tombstones_refused,
    /// Tombstones removed after their grace.
    tombstones_removed,
    /// Acknowledgements and read answers for work that was already done.
    replies_late,
    /// Acknowledgements and read answers from nodes that were not asked, or a second time.
    replies_unexpected,
    /// Client requests refused: malformed, or a level above the replication.
    requests_refused,
    /// Client requests refused because too few replicas were reachable.
    requests_unavailable,
    /// Client requests refused because too many were in work.
    requests_overloaded,
    /// Client requests given up after their time.
    requests_timed_out,
    /// Hints stored for replicas that were out of reach.
    hints_stored,
    /// Hints not stored because the queue of their target was full.
    hints_dropped,
    /// Hints not stored because their target had been out of reach for longer than the window.
    hints_outside_window,
    /// Hints and stand-ins' copies that their owner has acknowledged as durable.
    hints_replayed,
    /// Hints and stand-ins' copies removed unsent at the end of their time.
    hints_expired,
    /// Hints and stand-ins' copies that went on to the new replicas of their key.
    hints_rerouted,
    /// Batches of hints that were not acknowledged in time.
    hints_replay_timeouts,
    /// Writes acknowledged at level `any` by a hint alone.
    writes_hinted_only,
    /// Writes taken for another node.
    stand_in_writes,
    /// Writes for another node not taken, because its queue was full.
    stand_in_writes_refused,
    /// Reads answered for another node.
    stand_in_reads,
    /// Scans taken as coordinator.
    scans_coordinated,
    /// Pages of scans answered as replica, to itself included.
    replica_scans,
    /// Pages that scans asked of replicas whose first page did not reach far enough.
    scan_pages_again,
    /// Tombstones that scans came across and left out.
    scan_tombstones,
    /// Versions that scans sent to replicas that lacked them.
    scan_repairs_sent,
    /// Heartbeats sent.
    heartbeats_sent,
    /// Heartbeats received.
    heartbeats_received,
    /// Peers that came to be held for alive.
    peers_up,
    /// Peers that came to be held for dead.
    peers_down,
    /// Times this node noticed that it had itself been stopped, and judged no peer by that time.
    own_pauses,
    /// Peer messages for keys this node does not replicate, ignored.
    messages_not_owned,
    /// Peer messages with impossible content, or from nodes that are no members, ignored.
    messages_invalid,
    /// Entries of the store at boot that this node does not replicate, left alone.
    recovered_not_owned,
    /// Times that this node went on with other options.
    options_applied,
    /// Changes of the members of the ring that this node heard of or made.
    ring_changes,
    /// Messages not carried out, because their sender had other members in view.
    ring_other_view,
    /// Requests done again by their coordinator, because the members changed meanwhile.
    ring_requests_again,
    /// Writes sent to nodes that will own the key.
    ring_pending_writes,
    /// Writes taken and not acknowledged, because this node has not made sure of the range yet.
    ring_writes_unsure,
    /// Keys taken from the disk after others had become their owners.
    ring_keys_dropped,
}
