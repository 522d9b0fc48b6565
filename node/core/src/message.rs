//! What nodes say to each other.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::causal::CausalMessage;
use crate::dissemination::DisseminationMessage;
use crate::metadata::MetadataMessage;
use crate::{Key, KeyBound, KeyRange, NodeId, Version};

/// Names one piece of work of a coordinator; unique for the life of that coordinator's process, and drawn so that a
/// restarted coordinator does not take late answers to its former self for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationId(pub u64);

/// A message between two nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PeerMessage {
    /// "I live." A datagram; control lane where there are none.
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
    /// Keep this version for `owner`, which is out of reach, make it durable, acknowledge ([`PeerMessage::WriteAck`]). Data
    /// lane. Sloppy quorums.
    StandInWrite {
        /// Comes back in the acknowledgement.
        operation: OperationId,
        /// The replica that the receiver stands in for.
        owner: NodeId,
        /// The key.
        key: Key,
        /// The version to keep.
        version: Version,
    },
    /// Tell me what you keep under this key for `owner` ([`PeerMessage::ReadReply`]). Data lane. Sloppy quorums.
    StandInRead {
        /// Comes back in the reply.
        operation: OperationId,
        /// The replica that the receiver stands in for.
        owner: NodeId,
        /// The key.
        key: Key,
        /// Only the digest.
        digest_only: bool,
    },
    /// Merge these versions, make them durable, acknowledge. Hints and stand-ins' copies on the bulk lane, repairs of scans
    /// on the data lane.
    Merge {
        /// Comes back in the acknowledgement.
        operation: OperationId,
        /// The versions; keys that the receiver does not replicate are left out by it.
        entries: Vec<(Key, Version)>,
    },
    /// Of the entries of that [`PeerMessage::Merge`] all but these are durable here, or were not newer. Data lane.
    MergeAck {
        /// The operation of the merge.
        operation: OperationId,
        /// Positions of entries that the sender does not replicate, ascending.
        foreign: Vec<u32>,
    },
    /// Tell me what you store in this range of keys, tombstones included, in key order. Data lane.
    Scan {
        /// Comes back in the reply.
        operation: OperationId,
        /// Which keys.
        range: KeyRange,
        /// At most so many entries.
        limit: u32,
    },
    /// Answer to a scan. Data lane.
    ScanReply {
        /// The operation of the scan.
        operation: OperationId,
        /// Where the answered range began.
        from: KeyBound,
        /// What is stored.
        answer: ScanAnswer,
    },
    /// All of the policy `dcc`.
    Causal(CausalMessage),
    /// Dissemination: broadcasts and the overlay they travel on. Control lane.
    Dissemination(DisseminationMessage),
    /// Cluster metadata: the exchange of digests. Control lane.
    Metadata(MetadataMessage),
}

impl PeerMessage {
    /// Whether it may travel as a datagram, out of order with everything else: if it is lost the next one says the same, and
    /// sent again it would say what is no longer true.
    pub fn may_be_lost(&self) -> bool {
        matches!(self, PeerMessage::Heartbeat)
    }
}

/// What a replica answers to a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScanAnswer {
    /// Everything stored in the range up to the last entry, or up to the end of the range unless there is more.
    Page {
        /// In key order.
        entries: Vec<(Key, Version)>,
        /// Whether a limit was reached with more behind it.
        more: bool,
    },
    /// The replica has not caught up yet and must not be counted.
    CatchingUp,
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

/// The Merkle exchange. The initiator drives and keeps the state of a session; the responder answers each question from
/// its store as it is then and keeps nothing. Ranges are named by their end token.
///
/// `question` is a number that the initiator never uses twice; the answer repeats it, so that a late answer is told from
/// the awaited one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SyncMessage<V = Version> {
    /// Initiator: my hashes of some tree nodes; level 0 of a tree is its root.
    Nodes {
        /// Names the question.
        question: u64,
        /// Which nodes, each with the initiator's hash.
        nodes: Vec<(TreeNode, [u8; 32])>,
    },
    /// Responder: which of these hashes differ from mine.
    NodesDiffer {
        /// The question answered.
        question: u64,
        /// Positions in the question's list, ascending.
        differ: Vec<u32>,
    },
    /// Initiator: what I store in some leaves, a page of each.
    Leaves {
        /// Names the question.
        question: u64,
        /// The pages.
        pages: Vec<LeafPage>,
    },
    /// Responder: what the initiator lacks, and what I lack, in the order of the pages.
    LeavesReply {
        /// The question answered.
        question: u64,
        /// Versions that the initiator lacks or has otherwise and not newer.
        push: Vec<(Key, V)>,
        /// Keys that the responder lacks or has otherwise and not newer.
        want: Vec<Key>,
        /// The answer was cut to its size limit; ask again from here. `None`: it covers all pages.
        resume: Option<Resume>,
    },
    /// Initiator: what the responder wanted.
    Values {
        /// Names the question.
        question: u64,
        /// The versions.
        entries: Vec<(Key, V)>,
    },
    /// Responder: these values are durable here.
    ValuesAck {
        /// The question answered.
        question: u64,
    },
}

/// Names a node of a Merkle tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TreeNode {
    /// End token of the range that the tree is over.
    pub range: u64,
    /// 0 is the root.
    pub level: u8,
    /// Position in the level, from 0.
    pub position: u32,
}

/// All that the initiator stores in one leaf behind `after` up to and with `until`, in the table's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafPage {
    /// End token of the range.
    pub range: u64,
    /// Position of the leaf.
    pub leaf: u32,
    /// The page begins behind this key; `None`: at the leaf's begin.
    pub after: Option<Key>,
    /// The page ends with this key; `None`: at the leaf's end.
    pub until: Option<Key>,
    /// In the table's order.
    pub entries: Vec<LeafEntry>,
}

/// A line of a [`LeafPage`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafEntry {
    /// The key.
    pub key: Key,
    /// Stamp of the version, nanoseconds of the wall clock.
    pub stamp: u64,
    /// Digest of key and version.
    pub digest: [u8; 16],
}

/// Where a [`SyncMessage::LeavesReply`] stopped: the pages before `page` are answered, and of `page` the keys up to and
/// with `after`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// Position in the question's list of pages.
    pub page: u32,
    /// `None`: nothing of that page is answered.
    pub after: Option<Key>,
}
