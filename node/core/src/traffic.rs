//! What a node sends to others, counted by what it is for: messages, and bytes as framed. Kept by the drivers, which know the length of
//! a frame; both name and count alike.

use alloc::format;
use alloc::string::String;

use crate::causal::{CausalAnswer, CausalMessage};
use crate::message::{PeerMessage, ReadAnswer, SyncMessage};

/// What a message between nodes is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageKind {
    /// A heartbeat.
    Heartbeat,
    /// A version for a replica or the node that stands in for it: writes and read repairs alike.
    Write,
    /// Acknowledgement of a write.
    WriteAck,
    /// Question for a version.
    Read,
    /// Question for the digest of a version.
    DigestRead,
    /// A whole version, or that there is none, or that the replica has not caught up.
    ReadReply,
    /// The digest of a version.
    DigestReply,
    /// Hints and stand-ins' copies on their way to their owner, and repairs of scans.
    Merge,
    /// Acknowledgement of a merge.
    MergeAck,
    /// A scan, or a page of its answer.
    Scan,
    /// Merkle exchange: hashes of tree nodes.
    SyncHashes,
    /// Merkle exchange: what is in leaves, and what the other side sends for it.
    SyncLeaves,
    /// Merkle exchange: what the other side wanted.
    SyncValues,
    /// Exchange of bitmap version vectors.
    Exchange,
    /// Writes and deletes handed to a replica that coordinates them.
    Forward,
    /// Broadcasts and their overlay.
    Dissemination,
    /// Cluster metadata.
    Metadata,
    /// The members of the ring.
    Ring,
}

impl MessageKind {
    /// All of them.
    pub const ALL: [MessageKind; 18] = [
        MessageKind::Heartbeat,
        MessageKind::Write,
        MessageKind::WriteAck,
        MessageKind::Read,
        MessageKind::DigestRead,
        MessageKind::ReadReply,
        MessageKind::DigestReply,
        MessageKind::Merge,
        MessageKind::MergeAck,
        MessageKind::Scan,
        MessageKind::SyncHashes,
        MessageKind::SyncLeaves,
        MessageKind::SyncValues,
        MessageKind::Exchange,
        MessageKind::Forward,
        MessageKind::Dissemination,
        MessageKind::Metadata,
        MessageKind::Ring,
    ];

    /// As the counters call it: `sent_NAME_messages`, `sent_NAME_bytes`.
    pub fn name(self) -> &'static str {
        match self {
            MessageKind::Heartbeat => "heartbeat",
            MessageKind::Write => "write",
            MessageKind::WriteAck => "write_ack",
            MessageKind::Read => "read",
            MessageKind::DigestRead => "digest_read",
            MessageKind::ReadReply => "read_reply",
            MessageKind::DigestReply => "digest_reply",
            MessageKind::Merge => "merge",
            MessageKind::MergeAck => "merge_ack",
            MessageKind::Scan => "scan",
            MessageKind::SyncHashes => "sync_hashes",
            MessageKind::SyncLeaves => "sync_leaves",
            MessageKind::SyncValues => "sync_values",
            MessageKind::Exchange => "exchange",
            MessageKind::Forward => "forward",
            MessageKind::Dissemination => "dissemination",
            MessageKind::Metadata => "metadata",
            MessageKind::Ring => "ring",
        }
    }

    /// Of this message.
    pub fn of(message: &PeerMessage) -> MessageKind {
        let read = |digest_only| if digest_only { MessageKind::DigestRead } else { MessageKind::Read };
        match message {
            PeerMessage::Heartbeat => MessageKind::Heartbeat,
            PeerMessage::Write { .. } | PeerMessage::StandInWrite { .. } => MessageKind::Write,
            PeerMessage::WriteAck { .. } => MessageKind::WriteAck,
            PeerMessage::Read { digest_only, .. } | PeerMessage::StandInRead { digest_only, .. } => read(*digest_only),
            PeerMessage::ReadReply { answer: ReadAnswer::Digest(_), .. } => MessageKind::DigestReply,
            PeerMessage::ReadReply { .. } => MessageKind::ReadReply,
            PeerMessage::Merge { .. } => MessageKind::Merge,
            PeerMessage::MergeAck { .. } => MessageKind::MergeAck,
            PeerMessage::Scan { .. } | PeerMessage::ScanReply { .. } => MessageKind::Scan,
            PeerMessage::Sync(sync) => MessageKind::of_sync(sync),
            PeerMessage::Causal(causal) => match causal {
                CausalMessage::Write { .. } => MessageKind::Write,
                CausalMessage::WriteAck { .. } => MessageKind::WriteAck,
                CausalMessage::Read { digest_only, .. } => read(*digest_only),
                CausalMessage::ReadReply { answer: CausalAnswer::Digest(_), .. } => MessageKind::DigestReply,
                CausalMessage::ReadReply { .. } => MessageKind::ReadReply,
                CausalMessage::Forward { .. } | CausalMessage::Forwarded { .. } => MessageKind::Forward,
                CausalMessage::Exchange(_) => MessageKind::Exchange,
                CausalMessage::Sync(sync) => MessageKind::of_sync(sync),
            },
            PeerMessage::Dissemination(_) => MessageKind::Dissemination,
            PeerMessage::Metadata(_) => MessageKind::Metadata,
            PeerMessage::Ring(_) => MessageKind::Ring,
            PeerMessage::InView { message, .. } => MessageKind::of(message),
        }
    }

    fn of_sync<V>(message: &SyncMessage<V>) -> MessageKind {
        match message {
            SyncMessage::Nodes { .. } | SyncMessage::NodesDiffer { .. } => MessageKind::SyncHashes,
            SyncMessage::Leaves { .. } | SyncMessage::LeavesReply { .. } => MessageKind::SyncLeaves,
            SyncMessage::Values { .. } | SyncMessage::ValuesAck { .. } => MessageKind::SyncValues,
        }
    }
}

/// Messages and bytes sent, by kind. What was sent and then lost is counted, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentTraffic([(u64, u64); MessageKind::ALL.len()]);

impl SentTraffic {
    /// Notes a message and the bytes of its frame, length and version included.
    pub fn note(&mut self, kind: MessageKind, bytes: u64) {
        let (messages, sum) = &mut self.0[kind as usize];
        *messages += 1;
        *sum += bytes;
    }

    /// Counters by name, of kinds that were sent.
    pub fn by_name(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let sent = MessageKind::ALL.into_iter().zip(self.0).filter(|(_, (messages, _))| *messages > 0);
        sent.flat_map(|(kind, (messages, bytes))| {
            let name = kind.name();
            [(format!("sent_{name}_messages"), messages), (format!("sent_{name}_bytes"), bytes)]
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn every_kind_has_a_place_and_a_name_of_its_own() {
        let mut sent = SentTraffic::default();
        for (place, kind) in MessageKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place, "{}", kind.name());
            sent.note(kind, 10 + place as u64);
        }
        let counters: Vec<_> = sent.by_name().collect();
        let names: BTreeSet<_> = counters.iter().map(|(name, _)| name).collect();
        assert_eq!((counters.len(), names.len()), (36, 36));
        assert!(counters.contains(&("sent_exchange_bytes".into(), 23)));
    }

    #[test]
    fn what_was_never_sent_is_left_out() {
        let mut sent = SentTraffic::default();
        let operation = crate::message::OperationId(1);
        for answer in [ReadAnswer::Digest([0; 16]), ReadAnswer::Full(None)] {
            sent.note(MessageKind::of(&PeerMessage::ReadReply { operation, answer }), 20);
        }
        let names: Vec<_> = sent.by_name().map(|(name, _)| name).collect();
        let expected = [
            "sent_read_reply_messages",
            "sent_read_reply_bytes",
            "sent_digest_reply_messages",
            "sent_digest_reply_bytes",
        ];
        assert_eq!(names, expected);
    }
}
