//! What nodes say to each other.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{Key, Version};

/// Names one piece of work of a coordinator; unique for the life of that coordinator's process, and drawn so that a
/// restarted coordinator does not take late answers to its former self for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationId(pub u64);

/// A message between two nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PeerMessage {
    /// "I live." Control lane.
    Heartbeat,
    /// Merge this version, make it durable, acknowledge. Writes and read repairs alike. Data lane.
    Write {
        /// Comes back in the acknowledgement.
        operation: OperationId,
        /// The key; the receiver must be one of its replicas.
        key: Key,
        /// The version to merge.
        version: Version,
    },
    /// The version of that operation, or a newer one, is durable here. Data lane.
    WriteAck {
        /// The operation of the write.
        operation: OperationId,
    },
    /// Tell me what you store under this key. Data lane.
    Read {
        /// Comes back in the reply.
        operation: OperationId,
        /// The key; the receiver must be one of its replicas.
        key: Key,
        /// Only the digest.
        digest_only: bool,
    },
    /// Answer to a read. Data lane.
    ReadReply {
        /// The operation of the read.
        operation: OperationId,
        /// What is stored, durably.
        answer: ReadAnswer,
    },
    /// Merkle anti-entropy. Bulk lane.
    Sync(SyncMessage),
}

/// What a replica answers to a read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadAnswer {
    /// The whole version; `None`: nothing stored.
    Full(Option<Version>),
    /// Digest of the version (of a fixed pattern when nothing is stored).
    Digest([u8; 16]),
    /// The replica has not caught up yet and must not be counted.
    CatchingUp,
}

/// The Merkle exchange. The initiator drives and keeps the state of a session; the responder answers each message from
/// its store as it is then and keeps nothing. Ranges are named by their end token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SyncMessage {
    /// Initiator: roots of ranges that both own.
    Roots {
        /// Session.
        session: u64,
        /// (end token of the range, root hash).
        roots: Vec<(u64, [u8; 32])>,
    },
    /// Responder: the ranges whose roots differ.
    RootsDiffer {
        /// Session.
        session: u64,
        /// End tokens.
        ranges: Vec<u64>,
    },
    /// Initiator: hashes of some nodes of one level of one range's tree.
    Nodes {
        /// Session.
        session: u64,
        /// End token of the range.
        range: u64,
        /// 0 is the root.
        level: u8,
        /// (position in the level, hash).
        nodes: Vec<(u32, [u8; 32])>,
    },
    /// Responder: the positions whose hashes differ.
    NodesDiffer {
        /// Session.
        session: u64,
        /// End token of the range.
        range: u64,
        /// Level of the question.
        level: u8,
        /// Positions.
        positions: Vec<u32>,
    },
    /// Initiator: a page of what it stores in one leaf: all its keys in `(after, until]` of the table's order.
    Leaf {
        /// Session.
        session: u64,
        /// End token of the range.
        range: u64,
        /// Position of the leaf.
        leaf: u32,
        /// Page begins behind this key; `None`: at the leaf's first.
        after: Option<Key>,
        /// Page ends with this key; `None`: with the leaf's last.
        until: Option<Key>,
        /// Key, stamp and version digest.
        entries: Vec<LeafEntry>,
    },
    /// Responder: what the initiator lacks, and what the responder lacks.
    LeafReply {
        /// Session.
        session: u64,
        /// End token of the range.
        range: u64,
        /// Position of the leaf.
        leaf: u32,
        /// Versions the initiator lacks or has older.
        push: Vec<(Key, Version)>,
        /// Keys the responder lacks or has older.
        want: Vec<Key>,
        /// The responder's page was cut to its size limit behind this key; ask again from there.
        resume_after: Option<Key>,
    },
    /// Initiator: what the responder wanted.
    Values {
        /// Session.
        session: u64,
        /// The versions.
        entries: Vec<(Key, Version)>,
    },
    /// Responder: the values of the session so far are durable here.
    ValuesAck {
        /// Session.
        session: u64,
    },
}

/// A line of [`SyncMessage::Leaf`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafEntry {
    /// The key.
    pub key: Key,
    /// Stamp of the version, nanoseconds of the wall clock.
    pub stamp: u64,
    /// Digest of key and version.
    pub digest: [u8; 16],
}
