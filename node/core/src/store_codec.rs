//! How the replica lays its state out in the store: opaque keys and values for the driver, read back at boot.
//!
//! | store key | store value |
//! |---|---|
//! | `m` `identity` | the node this store belongs to, 2 bytes big endian |
//! | `m` `caught_up` | fingerprint of the ring (32 bytes) for which this node has compared itself with every other replica |
//! | `d` key bytes | format byte, stamp (8 bytes big endian), tag (0 tombstone, 1 value), value bytes |
//!
//! Invariant: an entry written by one release is either read alike or refused by another, never misread: every data
//! value begins with its format.

use alloc::format;
use alloc::vec::Vec;

use crate::causal::CausalContent;
use crate::{ConfigError, Conflict, Key, NodeId, RecoveredState, Value, Version, WallTime};

/// Raised with every change of the layout of a value.
const FORMAT: u8 = 1;
const META: u8 = b'm';
const DATA: u8 = b'd';
const IDENTITY: &[u8] = b"midentity";
const CAUGHT_UP: &[u8] = b"mcaught_up";

/// The content of a store, decoded.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StoreContent {
    /// Whose store it is; `None` when nothing was ever written.
    pub(crate) identity: Option<NodeId>,
    /// The ring for which the node had caught up.
    pub(crate) caught_up: Option<[u8; 32]>,
    /// What is stored, in the order of the store.
    pub(crate) data: Vec<(Key, Version)>,
    /// What is stored under the policy `dcc`.
    pub(crate) causal: CausalContent,
}

pub(crate) fn identity_entry(identity: NodeId) -> (Vec<u8>, Vec<u8>) {
    (IDENTITY.to_vec(), identity.0.to_be_bytes().to_vec())
}

pub(crate) fn caught_up_entry(ring_fingerprint: [u8; 32]) -> (Vec<u8>, Vec<u8>) {
    (CAUGHT_UP.to_vec(), ring_fingerprint.to_vec())
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
            Some((&META, _)) if store_key == IDENTITY => {
                let bytes = <[u8; 2]>::try_from(store_value.as_slice()).map_err(|_| unreadable())?;
                content.identity = Some(NodeId(u16::from_be_bytes(bytes)));
            }
            Some((&META, _)) if store_key == CAUGHT_UP => {
                content.caught_up = Some(<[u8; 32]>::try_from(store_value.as_slice()).map_err(|_| unreadable())?);
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
            prop_assert_eq!(content, StoreContent { identity: Some(NodeId(node)), caught_up: Some(ring), data, ..StoreContent::default() });
        }

        #[test]
        fn garbage_is_refused_or_read_without_a_panic(
            key in proptest::collection::vec(any::<u8>(), 0..12),
            prefix in prop_oneof![Just(&b""[..]), Just(&b"d"[..]), Just(&b"m"[..]), Just(IDENTITY), Just(CAUGHT_UP)],
            value in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let store_key = [prefix, &key].concat();
            if let Ok(content) = decode(RecoveredState { entries: vec![(store_key.clone(), value.clone())] }, Conflict::Lww) {
                for (key, version) in content.data {
                    prop_assert_eq!(stored_version(&store_key, &value), Some((key.clone(), version.clone())));
                    prop_assert_eq!((data_key(&key), data_value(&version)), (store_key.clone(), value.clone()));
                }
            }
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
