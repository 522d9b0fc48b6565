//! Newtypes for what must not be mixed up: nodes, the two clocks, keys, values, versions.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// A member of the cluster, numbered from 1. Written `n1`, `n2`, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u16);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// Nanoseconds on the monotonic clock of one node. Its zero means nothing to other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// The time `milliseconds` later, saturating.
    pub fn plus_ms(self, milliseconds: u64) -> Time {
        Time(self.0.saturating_add(milliseconds.saturating_mul(1_000_000)))
    }
    /// Whole milliseconds since `earlier`, 0 when `earlier` is later.
    pub fn since_ms(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }
}

/// Nanoseconds since the Unix epoch as the node's own wall clock claims. It may jump, drift and be wrong: it only stamps
/// writes (last write wins) and ages tombstones. Timers use [`Time`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallTime(pub u64);

/// Both clocks at the moment of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock, for deadlines and failure detection.
    pub time: Time,
    /// The wall clock, for stamps; a fault may skew it.
    pub wall: WallTime,
}

/// A key: 1 byte to [`Key::LENGTH_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl Key {
    /// Longest key, in bytes.
    pub const LENGTH_MAX: usize = 1024;
}

/// A value: up to [`Value::LENGTH_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Value(#[serde(with = "serde_bytes")] pub Vec<u8>);

impl Value {
    /// Longest value, in bytes.
    pub const LENGTH_MAX: usize = 64 * 1024;
}

/// What a replica stores under a key: a last-write-wins register.
///
/// The order of versions is the derived one: by stamp; at equal stamps a tombstone (`None`) loses to a value and values
/// compare by their bytes. Every node orders two versions alike whatever the order they arrive in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// The coordinator's wall clock when it took the write.
    pub stamp: WallTime,
    /// The value; `None` is a tombstone.
    pub value: Option<Value>,
}
