//! The client API: what a client may ask a node, and what it hears.
//!
//! A failure says whether it is *definite* (no replica can ever apply the write) or *indeterminate* (it may have
//! happened, or may still). Guessing "failed" for "unknown" is the classic way to corrupt a history.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::dissemination::MessageId;
use crate::metadata::{Member, OptionRecord};
use crate::{Key, NodeId, OverlayReport, Value, WallTime};

/// How many replicas must take part: `one`, `two`, `three`, `quorum`, `all`, a plain number, or, of writes, `any`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Level {
    /// One replica.
    One,
    /// Two replicas.
    Two,
    /// Three replicas.
    Three,
    /// More than half of the replicas of the key.
    Quorum,
    /// Every replica of the key.
    All,
    /// A plain R or W.
    Count(u8),
    /// Writes only: one replica, or a hint that the coordinator holds durably for one.
    Any,
}

impl Level {
    /// Replicas needed when a key has `replication` of them. May exceed `replication`: such a request is refused.
    pub fn needed(self, replication: usize) -> usize {
        match self {
            Level::One => 1,
            Level::Two => 2,
            Level::Three => 3,
            Level::Quorum => replication / 2 + 1,
            Level::All => replication,
            Level::Count(n) => usize::from(n),
            // A hint may stand in for it; the coordinator of a write knows.
            Level::Any => 1,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Level::One => f.write_str("one"),
            Level::Two => f.write_str("two"),
            Level::Three => f.write_str("three"),
            Level::Quorum => f.write_str("quorum"),
            Level::All => f.write_str("all"),
            Level::Count(n) => write!(f, "{n}"),
            Level::Any => f.write_str("any"),
        }
    }
}

impl FromStr for Level {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Level, Self::Err> {
        const ALLOWED: &str =
            "a level is one of any (writes only), one, two, three, quorum, all, or a number from 1 to 255";
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "one" => Ok(Level::One),
            "two" => Ok(Level::Two),
            "three" => Ok(Level::Three),
            "quorum" => Ok(Level::Quorum),
            "all" => Ok(Level::All),
            "any" => Ok(Level::Any),
            number => match number.parse::<u8>() {
                Ok(n) if n > 0 => Ok(Level::Count(n)),
                _ => Err(ALLOWED),
            },
        }
    }
}

/// How a write is to be acknowledged. Every condition must be met; a level that can't be met is refused or unavailable
/// before anything is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteOptions {
    /// W: acknowledgements to wait for. With a sloppy quorum stand-ins count.
    pub level: Level,
    /// Riak's PW: so many of them from the key's own replicas. Stand-ins and hints never count.
    pub primaries: Option<Level>,
    /// Riak's DW: so many of them durable. Nothing is ever acknowledged here before it is durable, so this only raises W;
    /// the coordinator's hint for `any` does not count.
    pub durable: Option<Level>,
}

impl From<Level> for WriteOptions {
    fn from(level: Level) -> WriteOptions {
        WriteOptions { level, primaries: None, durable: None }
    }
}

/// How a read is to be answered. Every condition must be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadOptions {
    /// R: replicas to hear. With a sloppy quorum stand-ins count.
    pub level: Level,
    /// Riak's PR: so many of them the key's own replicas.
    pub primaries: Option<Level>,
}

impl From<Level> for ReadOptions {
    fn from(level: Level) -> ReadOptions {
        ReadOptions { level, primaries: None }
    }
}

/// A place among the keys in the order of their bytes; unlike a key it may be empty, or one byte longer than the longest.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyBound(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl KeyBound {
    /// Longest bound, in bytes.
    pub const LENGTH_MAX: usize = Key::LENGTH_MAX + 1;

    /// Right behind a key: no other key lies between.
    pub fn behind(key: &Key) -> KeyBound {
        let mut bound = key.0.clone();
        bound.push(0);
        KeyBound(bound)
    }
}

/// Keys in the order of their bytes, from `from` (with it) up to `to` (without it; `None`: to the last).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// Where it begins.
    pub from: KeyBound,
    /// Where it ends.
    pub to: Option<KeyBound>,
}

impl KeyRange {
    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> KeyRange {
        // The next prefix; one of 0xff alone has none.
        let kept = prefix.iter().rposition(|&byte| byte != 0xff);
        let to = kept.map(|last| {
            let mut to = prefix[..=last].to_vec();
            to[last] += 1;
            KeyBound(to)
        });
        KeyRange { from: KeyBound(prefix.to_vec()), to }
    }

    /// Whether the key belongs to it.
    pub fn contains(&self, key: &Key) -> bool {
        key.0 >= self.from.0 && self.to.as_ref().is_none_or(|to| key.0 < to.0)
    }

    /// Whether both ends are short enough for keys to lie there.
    pub(crate) fn is_valid(&self) -> bool {
        self.from.0.len() <= KeyBound::LENGTH_MAX
            && self.to.as_ref().is_none_or(|to| to.0.len() <= KeyBound::LENGTH_MAX)
    }
}

/// What a client may ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ClientRequest {
    /// Write a value.
    Put {
        /// The key.
        key: Key,
        /// The value.
        value: Value,
        /// Acknowledgements to wait for.
        level: Level,
    },
    /// Read a value.
    Get {
        /// The key.
        key: Key,
        /// Replicas to ask.
        level: Level,
    },
    /// Write a tombstone.
    Delete {
        /// The key.
        key: Key,
        /// Acknowledgements to wait for.
        level: Level,
    },
    /// Counters, links, digests and Merkle roots of the node asked.
    Status,
    /// What the node asked stores itself, tombstones included, in key order (by bytes): no other replica takes part.
    LocalScan {
        /// Start behind this key; `None` starts at the first.
        after: Option<Key>,
        /// At most this many entries (the node may give fewer per answer).
        limit: u32,
    },
    /// The replicas of a key, in preference order, as the node asked sees the ring.
    Locate {
        /// The key.
        key: Key,
    },
    /// Write a value or a tombstone, with all options.
    PutWith {
        /// The key.
        key: Key,
        /// The value; `None` deletes.
        value: Option<Value>,
        /// How it is to be acknowledged.
        options: WriteOptions,
    },
    /// Read a value, with all options.
    GetWith {
        /// The key.
        key: Key,
        /// How it is to be answered.
        options: ReadOptions,
    },
    /// Read the values of a range of keys, in key order (by bytes), as a read of each key would.
    Scan {
        /// Which keys.
        range: KeyRange,
        /// At most this many rows (the node may give fewer per answer).
        limit: u32,
        /// Replicas of each key to hear.
        level: Level,
    },
    /// Write a value, or delete without one, having seen what a read returned. For the policy `dcc`.
    Write {
        /// The key.
        key: Key,
        /// `None` deletes.
        value: Option<Value>,
        /// Acknowledgements to wait for.
        level: Level,
        /// As [`ClientResponse::Siblings`] gave it; empty: nothing was seen. (A delete that has seen nothing removes what the
        /// replica that coordinates it knows.)
        context: Vec<u8>,
    },
    /// Compare everything with every neighbour now, by Merkle trees, and repair both ways.
    Repair,
    /// Broadcast this to all members, this node included.
    Publish {
        /// At most [`crate::dissemination::Payload::LENGTH_MAX`] bytes.
        payload: Value,
    },
    /// What was broadcast and delivered at the node asked, in the order of its deliveries. It keeps the newest few thousand.
    Deliveries {
        /// The number of the last one that the client has; 0: from the first.
        after: u64,
        /// At most this many (the node may give fewer per answer).
        limit: u32,
    },
    /// The members of the cluster as the node asked knows them, by id.
    Members {
        /// Start behind this one; `None` starts at the first.
        after: Option<NodeId>,
        /// At most this many (the node may give fewer per answer).
        limit: u32,
    },
    /// The options of the cluster as the node asked knows them, by name.
    Options {
        /// Start behind this one; `None` starts at the first.
        after: Option<String>,
        /// At most this many (the node may give fewer per answer).
        limit: u32,
    },
    /// Change an option of the whole cluster: one of [`crate::ClusterConfig::OPTIONS`], or a name that begins with `schema.` or
    /// `keyspace.`.
    SetOption {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// Report your place in the overlay.
    Overlay,
}

/// A member as the node asked knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownMember {
    /// The member.
    pub member: Member,
    /// Who holds this incarnation of it for dead.
    pub down: Option<NodeId>,
}

/// An option as the node asked knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeOption {
    /// Its name.
    pub name: String,
    /// Its value and version.
    pub option: OptionRecord,
}

/// A row of [`ClientRequest::Scan`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The key.
    pub key: Key,
    /// Its value.
    pub value: Value,
    /// The stamp of the value.
    pub stamp: WallTime,
}

/// What a repair found with one neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepairReport {
    /// The neighbour.
    pub peer: NodeId,
    /// Ranges that both are replicas of.
    pub ranges_compared: u64,
    /// Those that differed.
    pub ranges_differing: u64,
    /// Leaves that were compared key by key.
    pub leaves_compared: u64,
    /// Keys sent to the neighbour.
    pub keys_sent: u64,
    /// Keys that the neighbour sent.
    pub keys_received: u64,
    /// Questions asked.
    pub rounds: u64,
}

/// An entry of [`ClientRequest::LocalScan`]. Under the policy `dcc` the stamp is the begin of the digest of the values and their dots,
/// and the value is all siblings in the order of their dots, a line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalEntry {
    /// The key.
    pub key: Key,
    /// Its stamp.
    pub stamp: WallTime,
    /// Its value; `None` is a tombstone.
    pub value: Option<Value>,
}

/// A broadcast that was delivered at a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// Counts the deliveries of that process from 1.
    pub number: u64,
    /// Its name in the cluster.
    pub id: MessageId,
    /// What was published.
    pub payload: Value,
}

/// What a client hears.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ClientResponse {
    /// The write is durable on as many replicas as the level asks.
    Written {
        /// The stamp it was given.
        stamp: WallTime,
    },
    /// The newest value among the replicas asked.
    Read {
        /// `None`: never written, or deleted.
        value: Option<Value>,
        /// The stamp of the value or tombstone; `None`: nothing is stored.
        stamp: Option<WallTime>,
    },
    /// Answer to [`ClientRequest::Status`].
    Status(StatusReport),
    /// Answer to [`ClientRequest::LocalScan`].
    Entries {
        /// In key order.
        entries: Vec<LocalEntry>,
        /// Whether there are more behind the last.
        more: bool,
    },
    /// Answer to [`ClientRequest::Locate`].
    Replicas(Vec<NodeId>),
    /// The request was not carried out, or nobody knows.
    Failed(ClientError),
    /// What a read found under the policy `dcc`.
    Siblings {
        /// Values that no write has replaced yet, in the order of their dots; none: never written, or deleted.
        values: Vec<Value>,
        /// To be sent with the write that replaces them.
        context: Vec<u8>,
    },
    /// Answer to [`ClientRequest::Repair`].
    Repaired {
        /// In the order they were finished.
        done: Vec<RepairReport>,
        /// Neighbours that were not alive, or did not finish in time.
        left_out: Vec<NodeId>,
    },
    /// Answer to [`ClientRequest::Scan`].
    Rows {
        /// In key order.
        rows: Vec<Row>,
        /// Where the next page begins, as [`KeyRange::from`]; `None`: the range has no more rows. A page may be short, or
        /// even empty, and not be the last.
        next: Option<KeyBound>,
    },
    /// The broadcast is on its way. That says nothing of whom it reaches.
    Published {
        /// Its name.
        id: MessageId,
    },
    /// Answer to [`ClientRequest::Deliveries`].
    Deliveries {
        /// In the order of their deliveries.
        deliveries: Vec<Delivered>,
        /// What to ask behind next.
        next: u64,
        /// How many behind the `after` of the request the node no longer has.
        missed: u64,
        /// Of the node's process, as in its status: another one counts from 1 again.
        incarnation: u64,
    },
    /// Answer to [`ClientRequest::Members`]. Those that left are there for a minute.
    Members {
        /// By id.
        members: Vec<KnownMember>,
        /// Whether there are more behind the last.
        more: bool,
    },
    /// Answer to [`ClientRequest::Options`].
    Options {
        /// By name.
        options: Vec<NodeOption>,
        /// Whether there are more behind the last.
        more: bool,
    },
    /// The change is durable on the node asked, and on its way to the others.
    OptionSet {
        /// Counts the changes of this option.
        version: u64,
    },
    /// Answer to [`ClientRequest::Overlay`].
    Overlay(OverlayReport),
}

/// Whether a failed write may still take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClientErrorKind {
    /// The request was malformed or can never be met (a level above the replication). It did not happen.
    Refused,
    /// Too few replicas were reachable; nothing was sent to any. It did not happen.
    Unavailable,
    /// A bounded queue is full; nothing was sent to any replica. It did not happen.
    Overloaded,
    /// The time ran out. It may have happened, and may still.
    Timeout,
}

impl ClientErrorKind {
    /// Whether the request certainly never takes effect.
    pub fn is_definite(self) -> bool {
        self != ClientErrorKind::Timeout
    }
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientError {
    /// The kind, for programs.
    pub kind: ClientErrorKind,
    /// A sentence, for people: what, where, the mend.
    pub message: String,
}

/// A peer as the node asked sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The peer.
    pub peer: NodeId,
    /// Whether a connection is open.
    pub linked: bool,
    /// Whether the failure detector holds it for alive.
    pub alive: bool,
}

/// Answer to [`ClientRequest::Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The node that answers.
    pub node: NodeId,
    /// Drawn at boot: another value means another process.
    pub incarnation: u64,
    /// Its wall clock when it answered.
    pub wall: WallTime,
    /// Whether it answers replica reads (it has compared itself with every other replica of its ranges).
    pub ready: bool,
    /// Peers it has not yet compared itself with; empty when `ready`.
    pub catching_up_from: Vec<NodeId>,
    /// Every other member; in a large cluster those that the node watches now: they share a range with it, or were used lately.
    pub peers: Vec<PeerStatus>,
    /// Keys stored, tombstones included.
    pub keys: u64,
    /// Digest of all that is stored, taken from the data itself, not from the Merkle trees. Equal stores give equal digests.
    pub state_digest: [u8; 32],
    /// Merkle root per owned range: (end token of the range, root).
    pub merkle_roots: Vec<(u64, [u8; 32])>,
    /// Every counter by name.
    pub counters: BTreeMap<String, u64>,
    /// Its place in the overlay, where there is one, with the newest broadcast alone.
    pub overlay: Option<Box<OverlayReport>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_they_are_written() {
        for name in ["any", "one", "two", "three", "quorum", "all", "1", "255"] {
            let level: Level = name.parse().expect(name);
            assert_eq!(alloc::format!("{level}"), name);
        }
        for bad in ["", "0", "256", "some"] {
            assert!(bad.parse::<Level>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_prefix_holds_what_begins_with_it_and_nothing_else() {
        let key = |bytes: &[u8]| Key(bytes.to_vec());
        for (prefix, inside, outside) in [
            (&b"ab"[..], &[&b"ab"[..], b"ab\0", b"ab\xff\xff"][..], &[&b"aa\xff"[..], b"ac", b"a", b"b"][..]),
            (b"a\xff", &[b"a\xff", b"a\xff\0"], &[b"a\xfe", b"b"]),
            (b"\xff", &[b"\xff", b"\xff\xff"], &[b"\xfe\xff"]),
            (b"", &[b"\0", b"\xff"], &[]),
        ] {
            let range = KeyRange::prefix(prefix);
            assert!(inside.iter().all(|bytes| range.contains(&key(bytes))), "{prefix:?}");
            assert!(!outside.iter().any(|bytes| range.contains(&key(bytes))), "{prefix:?}");
        }
        let behind = KeyRange { from: KeyBound::behind(&key(b"k")), to: None };
        assert!(!behind.contains(&key(b"k")) && behind.contains(&key(b"k\0")));
    }
}
