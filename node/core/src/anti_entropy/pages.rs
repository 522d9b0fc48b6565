//! Sizes of the exchange's messages, and the piece of a leaf that a page covers: what both sides must agree on.
//!
//! Invariant: a message built within these limits stays below two thirds of the frame limit, and one received beyond them is
//! not taken.

use crate::Key;
use crate::message::LeafPage;
use crate::ring::{RangeId, Token, TokenRange};
use crate::table::{Record, Table};

/// Tree nodes in one question.
pub(super) const NODES_MAX: usize = 1024;
/// Levels that one question descends.
pub(super) const LEVELS_PER_QUESTION: u8 = 4;
/// Leaves in one question.
pub(super) const LEAF_PAGES_MAX: usize = 128;
/// Keys in one question's leaves together.
pub(super) const LEAF_ENTRIES_MAX: usize = 512;
/// Versions in one message.
pub(super) const VERSIONS_MAX: usize = 4096;
/// Bytes of keys and values in one message, above which nothing more is added.
pub(super) const PAYLOAD_MAX: usize = 256 * 1024;
/// What an entry takes on the wire besides its key and value, at most: stamp, digest, lengths.
const ENTRY_OVERHEAD: usize = 40;

/// What a key alone, with stamp and digest, takes on the wire at most.
pub(super) fn key_size(key: &Key) -> usize {
    key.0.len() + ENTRY_OVERHEAD
}

/// What a key with its version takes on the wire at most.
pub(super) fn version_size(key: &Key, version: &impl Record) -> usize {
    key_size(key) + version.payload_bytes()
}

/// Whether a key and version from outside may be stored at all.
pub(super) fn is_storable(key: &Key, version: &impl Record) -> bool {
    (1..=Key::LENGTH_MAX).contains(&key.0.len()) && version.is_storable()
}

/// A place in the table's order within a range.
pub(super) type Position<'a> = (u64, &'a [u8]);

/// Where a key at a token stands in the table's order within the range.
pub(super) fn position(range: TokenRange, token: Token, key: &Key) -> Position<'_> {
    (range.offset(token), &key.0)
}

/// The keys of a leaf behind `after` up to and with `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeafSpan {
    pub(super) range: RangeId,
    pub(super) leaf: u32,
    pub(super) after: Option<Key>,
    pub(super) until: Option<Key>,
}

impl LeafSpan {
    /// The span of a page, if it is one: an owned range, a leaf of its tree, ends in that leaf and in order.
    pub(super) fn of_page(page: &LeafPage, table: &Table<impl Record>) -> Option<LeafSpan> {
        let span = LeafSpan {
            range: RangeId(page.range),
            leaf: page.leaf,
            after: page.after.clone(),
            until: page.until.clone(),
        };
        let tokens = table.token_range(span.range)?;
        let in_leaf = |key: &Key| table.leaf_of(key) == Some((span.range, span.leaf));
        let ends_in_leaf = [&span.after, &span.until].into_iter().flatten().all(in_leaf);
        let in_order = match (&span.after, &span.until) {
            (Some(after), Some(until)) => {
                position(tokens, Token::of_key(after), after) < position(tokens, Token::of_key(until), until)
            }
            _ => true,
        };
        (page.leaf >> table.depth() == 0 && ends_in_leaf && in_order).then_some(span)
    }

    /// Whether the key belongs to this span.
    pub(super) fn contains(&self, table: &Table<impl Record>, key: &Key) -> bool {
        let Some(tokens) = table.token_range(self.range) else { return false };
        let place = position(tokens, Token::of_key(key), key);
        table.leaf_of(key) == Some((self.range, self.leaf))
            && self.after.as_ref().is_none_or(|after| place > position(tokens, Token::of_key(after), after))
            && self.until.as_ref().is_none_or(|until| place <= position(tokens, Token::of_key(until), until))
    }
}
