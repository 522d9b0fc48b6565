//! How the replica lays its state out in the store: opaque keys and values for the driver, read back at boot.
//!
//! | store key | store value |
//! |---|---|
//! | `m` `identity` | the node this store belongs to, 2 bytes big endian |
//! | `m` `caught_up` | fingerprint of the ring (32 bytes) for which this node has compared itself with every other replica |
//! | `g` name | a record of the cluster metadata; both in the encoding of messages |
//! | `m` `ring` | format byte, then the members of the ring (postcard); absent while they are those of the configuration |
//! | `d` key bytes | format byte, stamp (8 bytes big endian), tag (0 tombstone, 1 value), value bytes |
//! | `h` node (2 bytes big endian) key bytes | kind (0 hint, 1 stand-in's copy), born (8 bytes), time to live in ms (8 bytes), then as under `d` |
//!
//! Invariant: an entry written by one release is either read alike or refused by another, never misread: every data
//! value begins with its format.

use alloc::format;
use alloc::vec::Vec;

use crate::causal::CausalContent;
use crate::hints::{Held, Kind};
use crate::metadata::{Name, Record};
use crate::ring::topology::MemberMap;
use crate::{ConfigError, Conflict, Key, NodeId, RecoveredState, Value, Version, WallTime};

/// Raised with every change of the layout of a value.
const FORMAT: u8 = 1;
const META: u8 = b'm';
const DATA: u8 = b'd';
const HINT: u8 = b'h';
const METADATA: u8 = b'g';
const IDENTITY: &[u8] = b"midentity";
const CAUGHT_UP: &[u8] = b"mcaught_up";
const RING: &[u8] = b"mring";

/// The content of a store, decoded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StoreContent {
    /// Whose store it is; `None` when nothing was ever written.
    pub(crate) identity: Option<NodeId>,
    /// The ring for which the node had caught up.
    pub(crate) caught_up: Option<[u8; 32]>,
    /// The members of the ring, if they ever changed.
    pub(crate) ring: Option<MemberMap>,
    /// What is stored, in the order of the store.
    pub(crate) data: Vec<(Key, Version)>,
    /// What is stored under the policy `dcc`.
    pub(crate) causal: CausalContent,
    /// What is kept for other nodes, in the order of the store.
    pub(crate) hints: Vec<(NodeId, Key, Held)>,
    /// Cluster metadata, in the order of the store.
    pub(crate) metadata: Vec<(Name, Record)>,
}

pub(crate) fn identity_entry(identity: NodeId) -> (Vec<u8>, Vec<u8>) {
    (IDENTITY.to_vec(), identity.0.to_be_bytes().to_vec())
}

pub(crate) fn caught_up_entry(ring_fingerprint: [u8; 32]) -> (Vec<u8>, Vec<u8>) {
    (CAUGHT_UP.to_vec(), ring_fingerprint.to_vec())
}

pub(crate) fn ring_entry(members: &MemberMap) -> (Vec<u8>, Vec<u8>) {
    let value = postcard::to_extend(members, alloc::vec![FORMAT]).expect("members always serialize");
    (RING.to_vec(), value)
}

fn decode_ring(bytes: &[u8]) -> Option<MemberMap> {
    let (&format, rest) = bytes.split_first()?;
    match postcard::take_from_bytes(rest) {
        Ok((members, [])) if format == FORMAT => Some(members),
        _ => None,
    }
}

pub(crate) fn data_key(key: &Key) -> Vec<u8> {
    let mut store_key = Vec::with_capacity(1 + key.0.len());
    store_key.push(DATA);
    store_key.extend_from_slice(&key.0);
    store_key
}

pub(crate) fn data_value(version: &Version) -> Vec<u8> {
    let value: &[u8] = version.value.as_ref().map_or(&[], |value| &value.0);
    let mut bytes = Vec::with_capacity(10 + value.len());
    bytes.push(FORMAT);
    bytes.extend_from_slice(&version.stamp.0.to_be_bytes());
    bytes.push(u8::from(version.value.is_some()));
    bytes.extend_from_slice(value);
    bytes
}

pub(crate) fn hint_key(owner: NodeId, key: &Key) -> Vec<u8> {
    let mut store_key = Vec::with_capacity(3 + key.0.len());
    store_key.push(HINT);
    store_key.extend_from_slice(&owner.0.to_be_bytes());
    store_key.extend_from_slice(&key.0);
    store_key
}

pub(crate) fn hint_value(held: &Held) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(27 + held.version.value.as_ref().map_or(0, |value| value.0.len()));
    bytes.push(u8::from(held.kind == Kind::StandIn));
    bytes.extend_from_slice(&held.born.0.to_be_bytes());
    bytes.extend_from_slice(&held.ttl_ms.to_be_bytes());
    bytes.extend_from_slice(&data_value(&held.version));
    bytes
}

pub(crate) fn metadata_entry(name: &Name, record: &Record) -> (Vec<u8>, Vec<u8>) {
    let encoded = |first: u8, rest: postcard::Result<Vec<u8>>| {
        let mut bytes = alloc::vec![first];
        bytes.extend(rest.expect("what this crate makes always serializes"));
        bytes
    };
    (encoded(METADATA, postcard::to_allocvec(name)), encoded(FORMAT, postcard::to_allocvec(record)))
}

fn decode_metadata(name: &[u8], value: &[u8]) -> Option<(Name, Record)> {
    let (&format, record) = value.split_first()?;
    let whole = |rest: &[u8]| rest.is_empty().then_some(());
    let (name, rest) = postcard::take_from_bytes(name).ok()?;
    whole(rest)?;
    let (record, rest) = postcard::take_from_bytes(record).ok()?;
    whole(rest)?;
    (format == FORMAT).then_some((name, record))
}

fn decode_held(bytes: &[u8]) -> Option<Held> {
    let (&kind, rest) = bytes.split_first()?;
    let kind = match kind {
        0 => Kind::Hint,
        1 => Kind::StandIn,
        _ => return None,
    };
    let (born, rest) = rest.split_first_chunk::<8>()?;
    let (ttl_ms, rest) = rest.split_first_chunk::<8>()?;
    let (born, ttl_ms) = (WallTime(u64::from_be_bytes(*born)), u64::from_be_bytes(*ttl_ms));
    Some(Held { version: decode_version(rest)?, born, ttl_ms, kind })
}

/// The key whose version an entry of the store holds; `None`: it holds something else, or nothing this build can read.
/// For tools that look at what a node writes.
pub fn stored_key(store_key: &[u8]) -> Option<Key> {
    match store_key.split_first() {
        Some((&DATA, key)) if (1..=Key::LENGTH_MAX).contains(&key.len()) => Some(Key(key.to_vec())),
        _ => None,
    }
}

/// The key and the version that an entry of the store holds; `None` as for [`stored_key`].
pub fn stored_version(store_key: &[u8], store_value: &[u8]) -> Option<(Key, Version)> {
    Some((stored_key(store_key)?, decode_version(store_value)?))
}

/// Reads a whole store.
///
/// # Errors
/// An entry that this build did not write: refusing to start is better than serving without acknowledged writes.
pub(crate) fn decode(recovered: RecoveredState, conflict: Conflict) -> Result<StoreContent, ConfigError> {
    let mut content = StoreContent::default();
    for (store_key, store_value) in recovered.entries {
        let unreadable = || {
            ConfigError(format!(
                "the store holds an entry that this build can't read (key of {} bytes beginning with {:?}, value of {} \
                 bytes): start the release that wrote it, or move the data directory away to start empty and catch up \
                 from the other replicas",
                store_key.len(),
                store_key.first().map(|byte| char::from(*byte)),
                store_value.len()
            ))
        };
        let of_policy = |policy: &str| {
            ConfigError(format!(
                "the store was written under the conflict policy {policy}: set conflict: {policy}, or move the data \
                 directory away to start empty and catch up from the other replicas"
            ))
        };
        match store_key.split_first() {
            Some((&DATA, _)) if conflict == Conflict::Dcc && store_value.first() == Some(&FORMAT) => {
                return Err(of_policy("lww"));
            }
            Some(_) if conflict == Conflict::Lww && content.causal.take(&store_key, &store_value).is_some() => {
                return Err(of_policy("dcc"));
            }
            Some((&DATA, key)) if conflict == Conflict::Lww && (1..=Key::LENGTH_MAX).contains(&key.len()) => {
                let version = decode_version(&store_value).ok_or_else(unreadable)?;
                content.data.push((Key(key.to_vec()), version));
            }
            Some((&HINT, rest)) if (3..=2 + Key::LENGTH_MAX).contains(&rest.len()) => {
                let (owner, key) = rest.split_first_chunk::<2>().ok_or_else(unreadable)?;
                let held = decode_held(&store_value).ok_or_else(unreadable)?;
                content.hints.push((NodeId(u16::from_be_bytes(*owner)), Key(key.to_vec()), held));
            }
            Some((&METADATA, name)) => {
                content.metadata.push(decode_metadata(name, &store_value).ok_or_else(unreadable)?);
            }
            Some((&META, _)) if store_key == IDENTITY => {
                let bytes = <[u8; 2]>::try_from(store_value.as_slice()).map_err(|_| unreadable())?;
                content.identity = Some(NodeId(u16::from_be_bytes(bytes)));
            }
            Some((&META, _)) if store_key == CAUGHT_UP => {
                content.caught_up = Some(<[u8; 32]>::try_from(store_value.as_slice()).map_err(|_| unreadable())?);
            }
            Some((&META, _)) if store_key == RING => {
                content.ring = Some(decode_ring(&store_value).ok_or_else(unreadable)?);
            }
            _ if conflict == Conflict::Dcc => {
                content.causal.take(&store_key, &store_value).ok_or_else(unreadable)?;
            }
            _ => return Err(unreadable()),
        }
    }
    Ok(content)
}

fn decode_version(bytes: &[u8]) -> Option<Version> {
    let (&format, rest) = bytes.split_first()?;
    if format != FORMAT {
        return None;
    }
    let (stamp, rest) = rest.split_first_chunk::<8>()?;
    let (tag, value) = rest.split_first()?;
    let value = match tag {
        0 if value.is_empty() => None,
        1 if value.len() <= Value::LENGTH_MAX => Some(Value(value.to_vec())),
        _ => return None,
    };
    Some(Version { stamp: WallTime(u64::from_be_bytes(*stamp)), value })
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::prelude::*;

    use super::*;

    fn version() -> impl Strategy<Value = Version> {
        (any::<u64>(), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)))
            .prop_map(|(stamp, value)| Version { stamp: WallTime(stamp), value: value.map(Value) })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            entries in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..20), version()), 0..8),
            node in any::<u16>(),
            ring in any::<[u8; 32]>(),
        ) {
            let data: Vec<(Key, Version)> = entries.into_iter().map(|(key, version)| (Key(key), version)).collect();
            let mut stored = vec![identity_entry(NodeId(node)), caught_up_entry(ring)];
            stored.extend(data.iter().map(|(key, version)| (data_key(key), data_value(version))));
            let content = decode(RecoveredState { entries: stored }, Conflict::Lww).expect("own entries");
            let (identity, caught_up) = (Some(NodeId(node)), Some(ring));
            prop_assert_eq!(content, StoreContent { identity, caught_up, data, ..StoreContent::default() });
        }

        #[test]
        fn garbage_is_refused_or_read_without_a_panic(
            key in proptest::collection::vec(any::<u8>(), 0..12),
            prefix in prop_oneof![Just(&b""[..]), Just(&b"d"[..]), Just(&b"h\0\x01"[..]), Just(&b"m"[..]), Just(IDENTITY), Just(CAUGHT_UP)],
            value in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let store_key = [prefix, &key].concat();
            if let Ok(content) = decode(RecoveredState { entries: vec![(store_key.clone(), value.clone())] }, Conflict::Lww) {
                for (owner, key, held) in content.hints {
                    prop_assert_eq!((hint_key(owner, &key), hint_value(&held)), (store_key.clone(), value.clone()));
                }
                for (key, version) in content.data {
                    prop_assert_eq!(stored_version(&store_key, &value), Some((key.clone(), version.clone())));
                    prop_assert_eq!((data_key(&key), data_value(&version)), (store_key.clone(), value.clone()));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_kept_for_others_is_read_back(
            version in version(),
            key in proptest::collection::vec(any::<u8>(), 1..20),
            owner in any::<u16>(),
            born in any::<u64>(),
            ttl_ms in any::<u64>(),
            stand_in in any::<bool>(),
        ) {
            let kind = if stand_in { Kind::StandIn } else { Kind::Hint };
            let held = Held { version, born: WallTime(born), ttl_ms, kind };
            let (owner, key) = (NodeId(owner), Key(key));
            let entries = vec![(hint_key(owner, &key), hint_value(&held))];
            let content = decode(RecoveredState { entries }, Conflict::Lww).expect("own entries");
            prop_assert_eq!(content.hints, vec![(owner, key, held)]);
        }
    }

    #[test]
    fn another_format_is_refused_with_the_mend() {
        let mut value = data_value(&Version { stamp: WallTime(1), value: None });
        value[0] = FORMAT + 7;
        let error = decode(RecoveredState { entries: vec![(b"dk".to_vec(), value)] }, Conflict::Lww)
            .expect_err("another format");
        assert!(error.0.contains("start the release that wrote it"), "{error}");
    }
}
