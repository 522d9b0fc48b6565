//! The Merkle tree of one token range.
//!
//! Source: *Database Internals*, chapter 12 ("Merkle trees"); the Dynamo paper, section 4.7. A complete binary tree of
//! 2^depth leaves; a leaf's hash covers the keys of an even share of the range's tokens.
//!
//! Invariants:
//! - A hash depends on the content alone, never on the order it came about in: an empty leaf is all zero, an inner node is
//!   all zero when both children are, else blake3(left || right).
//! - A write costs one mark; hashes on the paths of marked leaves are made anew only when somebody asks.
//!
//! Only hashes that are not zero are kept, so that a deep tree of a small store costs little memory.
//!
//! Left out: fan-outs other than 2 (an exchange skips levels instead), and what a leaf's hash is made of
//! (see [`crate::table::Table`]).

#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};

/// A hash in a tree; all zero for nothing.
pub type Hash = [u8; 32];

/// The hash of nothing.
pub const EMPTY: Hash = [0; 32];

/// Deepest tree that can be made: positions are 32 bits wide.
pub const DEPTH_MAX: u8 = 30;

/// A tree of 2^depth leaves.
#[derive(Clone, Debug)]
pub struct MerkleTree {
    depth: u8,
    /// Hashes by heap number (root 1, children of n are 2n and 2n + 1), the zero ones left out.
    hashes: BTreeMap<u32, Hash>,
    /// Positions of the leaves whose hash is out of date.
    dirty: BTreeSet<u32>,
}

impl MerkleTree {
    /// The tree of an empty range.
    ///
    /// # Panics
    /// Deeper than [`DEPTH_MAX`].
    pub fn new(depth: u8) -> MerkleTree {
        assert!(depth <= DEPTH_MAX, "a Merkle tree of depth {depth}, the limit is {DEPTH_MAX}");
        MerkleTree { depth, hashes: BTreeMap::new(), dirty: BTreeSet::new() }
    }

    /// Remembers that the content of a leaf changed.
    ///
    /// # Panics
    /// No such leaf.
    pub fn mark_dirty(&mut self, leaf: u32) {
        assert!(leaf >> self.depth == 0, "leaf {leaf} in a tree of depth {}", self.depth);
        self.dirty.insert(leaf);
    }

    /// Leaves whose hash is out of date.
    pub fn dirty_count(&self) -> usize {
        self.dirty.len()
    }

    /// Brings all hashes up to date. `leaf_hash` gives a leaf's hash by its position; it is asked for dirty leaves only.
    pub fn refresh(&mut self, mut leaf_hash: impl FnMut(u32) -> Hash) {
        let mut changed = BTreeSet::new();
        for leaf in core::mem::take(&mut self.dirty) {
            let number = 1 << self.depth | leaf;
            if self.set(number, leaf_hash(leaf)) {
                changed.insert(number >> 1);
            }
        }
        for _ in 0..self.depth {
            let mut parents = BTreeSet::new();
            for number in changed {
                let hash = parent_hash(&self.get(number << 1), &self.get(number << 1 | 1));
                if self.set(number, hash) {
                    parents.insert(number >> 1);
                }
            }
            changed = parents;
        }
    }

    /// The hash of a node; level 0 is the root. `None`: no such node.
    ///
    /// # Panics
    /// With dirty leaves: the answer would be of a state that never was.
    pub fn hash(&self, level: u8, position: u32) -> Option<Hash> {
        assert!(self.dirty.is_empty(), "a Merkle tree was asked before it was refreshed");
        (level <= self.depth && position >> level == 0).then(|| self.get(1 << level | position))
    }

    fn get(&self, number: u32) -> Hash {
        self.hashes.get(&number).copied().unwrap_or(EMPTY)
    }

    /// Whether this changed the hash.
    fn set(&mut self, number: u32, hash: Hash) -> bool {
        let before = if hash == EMPTY { self.hashes.remove(&number) } else { self.hashes.insert(number, hash) };
        before.unwrap_or(EMPTY) != hash
    }
}

fn parent_hash(left: &Hash, right: &Hash) -> Hash {
    if *left == EMPTY && *right == EMPTY {
        return EMPTY;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}
