//! Options of the cluster: values by name, and how two records of one name merge.
//!
//! A change takes the version after the one that its node knows. Of two changes that travelled at once, and so have the same
//! version, the one of the higher node id stays, everywhere: an option is a last-write-wins register, counted in place of timed.
//! Options of different names never touch each other.
//!
//! Some names are options of this program ([`ClusterConfig::with_option`](crate::ClusterConfig::with_option)); names that begin
//! with `schema.` or `keyspace.` belong to the applications, and are only carried.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::{NodeId, Planted, planted};

/// An option.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OptionRecord {
    /// Counts the changes of this name.
    pub version: u64,
    /// The node that took the change.
    pub origin: NodeId,
    /// The value.
    pub value: String,
}

impl OptionRecord {
    /// Longest name, in bytes.
    pub const NAME_MAX: usize = 64;
    /// Longest value, in bytes.
    pub const VALUE_MAX: usize = 1_024;

    /// The later of both.
    pub(super) fn join(self, other: OptionRecord, planted: Planted) -> OptionRecord {
        if self.version == other.version && planted!(planted, OptionTieByArrival) {
            return other;
        }
        self.max(other)
    }

    /// Whether a name can be one: words of small letters, digits, `_` and `-`, with dots between them.
    pub fn is_name(name: &str) -> bool {
        let word = |word: &str| {
            !word.is_empty()
                && word.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-'))
        };
        name.len() <= OptionRecord::NAME_MAX && name.split('.').all(word)
    }

    /// Whether a name belongs to the applications.
    pub fn is_foreign_name(name: &str) -> bool {
        OptionRecord::is_name(name) && (name.starts_with("schema.") || name.starts_with("keyspace."))
    }
}
