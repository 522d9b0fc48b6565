//! What a replica stores, in memory, in the order of the ring, with a Merkle tree over each owned range.
//!
//! Invariants:
//! - Under each key lies the greatest version ever merged (last write wins, see [`Version`]); merging is idempotent,
//!   commutative and associative.
//! - Equal contents have equal roots and digests, whatever the history of inserts, updates and removals was.
//! - Digests cover the canonical version (key, stamp, kind, value), never an encoding that may differ between builds.
//! - Only keys of owned ranges are held; the caller asks [`Table::owns`] about keys from outside.
//!
//! The *table's order* within a range is clockwise by token, then by key. So a leaf, which covers a contiguous share of
//! the range's tokens, is a contiguous piece of the table.
//!
//! Left out: durability (the replica writes the same versions to its store) and snapshots: hashes are of the state at the
//! moment they are asked for.

#[cfg(test)]
mod tests;

use alloc::borrow::Borrow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use core::ops::Bound;

use crate::merkle::{EMPTY, Hash, MerkleTree};
use crate::ring::{RangeId, Token, TokenRange};
use crate::{Key, KeyRange, Planted, Value, Version, planted};

/// Digest of a key with its version, or with its absence.
pub type Digest = [u8; 16];

/// The canonical digest of what is stored under a key: blake3 over the key's length, the key, the kind (absent, tombstone,
/// value), the stamp and the value.
pub fn version_digest(key: &Key, version: Option<&Version>) -> Digest {
    record_digest(key, version)
}

/// What a table can hold under a key: a last-write-wins [`Version`], or a dotted causal container.
pub trait Record: Clone + fmt::Debug {
    /// Feeds the canonical form, which begins with a byte for its kind: equal forms, equal records.
    fn hash_canonical(&self, hasher: &mut blake3::Hasher);
    /// The stamp by which the greater of two records wins; 0 for records that are joined.
    fn stamp(&self) -> u64;
    /// Bytes on the wire besides the key and a constant.
    fn payload_bytes(&self) -> usize;
    /// Whether one from outside may be stored.
    fn is_storable(&self) -> bool;
    /// Whether it is told to others but never in the table.
    fn is_absent(&self) -> bool {
        false
    }
}

impl Record for Version {
    fn hash_canonical(&self, hasher: &mut blake3::Hasher) {
        match &self.value {
            None => {
                hasher.update(&[1]);
                hasher.update(&self.stamp.0.to_be_bytes());
            }
            Some(value) => {
                hasher.update(&[2]);
                hasher.update(&self.stamp.0.to_be_bytes());
                hasher.update(&(value.0.len() as u64).to_be_bytes());
                hasher.update(&value.0);
            }
        }
    }
    fn stamp(&self) -> u64 {
        self.stamp.0
    }
    fn payload_bytes(&self) -> usize {
        self.value.as_ref().map_or(0, |value| value.0.len())
    }
    fn is_storable(&self) -> bool {
        self.payload_bytes() <= Value::LENGTH_MAX
    }
}

/// The canonical digest of a key with its record, or with none.
pub fn record_digest<V: Record>(key: &Key, record: Option<&V>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hash_record(&mut hasher, key, record);
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    digest
}

fn hash_record<V: Record>(hasher: &mut blake3::Hasher, key: &Key, record: Option<&V>) {
    hasher.update(&(key.0.len() as u64).to_be_bytes());
    hasher.update(&key.0);
    match record {
        None => {
            hasher.update(&[0]);
        }
        Some(record) => record.hash_canonical(hasher),
    }
}

/// [`version_digest`], as replicas store and compare it.
pub(crate) fn stored_digest(planted: Planted, key: &Key, version: Option<&Version>) -> Digest {
    if planted!(planted, DigestWithoutStamp) {
        let unstamped = version.map(|version| Version { stamp: crate::WallTime(0), ..version.clone() });
        return version_digest(key, unstamped.as_ref());
    }
    version_digest(key, version)
}

/// Whether what is stored stays when `version` comes.
pub(crate) fn keeps(planted: Planted, stored: &Version, version: &Version) -> bool {
    if planted!(planted, TieBrokenByArrival) {
        return stored.stamp > version.stamp || stored == version;
    }
    stored >= version
}

/// A key at its place in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    token: u64,
    key: Key,
}

/// A place by reference, so that looking up needs no copy of the key.
trait AsPlace {
    fn place(&self) -> (u64, &[u8]);
}

impl AsPlace for Place {
    fn place(&self) -> (u64, &[u8]) {
        (self.token, &self.key.0)
    }
}

impl AsPlace for (u64, &[u8]) {
    fn place(&self) -> (u64, &[u8]) {
        *self
    }
}

impl<'a> Borrow<dyn AsPlace + 'a> for Place {
    fn borrow(&self) -> &(dyn AsPlace + 'a) {
        self
    }
}

impl PartialEq for dyn AsPlace + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for dyn AsPlace + '_ {}

impl PartialOrd for dyn AsPlace + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn AsPlace + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

#[derive(Clone, Debug)]
struct Stored<V> {
    version: V,
    digest: Digest,
}

#[derive(Clone, Debug)]
struct OwnedRange {
    tokens: TokenRange,
    tree: MerkleTree,
    /// Of the leaves that hold anything.
    leaves: BTreeMap<u32, LeafSum>,
}

/// The hash of a leaf's content: a sum over the digests of its keys, so that it is the same whatever order they came in, and a
/// change costs the key that changed and not the leaf. A digest covers its key, so none is hashed again. Sums can be forged by whoever chooses values by the million for that purpose; replicas of
/// one cluster have no reason to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct LeafSum {
    lanes: [u64; 2],
    keys: u64,
}

impl LeafSum {
    fn lanes_of(digest: &Digest) -> [u64; 2] {
        let number = u128::from_be_bytes(*digest);
        [(number >> 64) as u64, number as u64]
    }

    fn add(&mut self, digest: &Digest) {
        for (lane, number) in self.lanes.iter_mut().zip(LeafSum::lanes_of(digest)) {
            *lane = lane.wrapping_add(number);
        }
        self.keys += 1;
    }

    fn subtract(&mut self, digest: &Digest) {
        for (lane, number) in self.lanes.iter_mut().zip(LeafSum::lanes_of(digest)) {
            *lane = lane.wrapping_sub(number);
        }
        self.keys -= 1;
    }

    fn hash(&self) -> Hash {
        if self.keys == 0 {
            return EMPTY;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.keys.to_be_bytes());
        for lane in self.lanes {
            hasher.update(&lane.to_be_bytes());
        }
        hasher.finalize().into()
    }
}

/// A key of a leaf, as the exchange sees it.
#[derive(Clone, Copy, Debug)]
pub struct LeafItem<'a, V = Version> {
    /// Where the key lies.
    pub token: Token,
    /// The key.
    pub key: &'a Key,
    /// Its version.
    pub version: &'a V,
    /// Their digest.
    pub digest: Digest,
}

/// What a replica stores.
#[derive(Clone, Debug)]
pub struct Table<V = Version> {
    data: BTreeMap<Place, Stored<V>>,
    /// The same keys in the order of their bytes.
    keys: BTreeSet<Key>,
    /// Owned ranges by their end.
    ranges: BTreeMap<u64, OwnedRange>,
    depth: u8,
    planted: Planted,
}

impl<V: Record> Table<V> {
    /// An empty table over disjoint ranges, each with a tree of 2^depth leaves.
    ///
    /// # Panics
    /// A depth above [`crate::merkle::DEPTH_MAX`].
    pub fn new(owned: &[TokenRange], depth: u8) -> Table<V> {
        let range = |&tokens: &TokenRange| {
            (tokens.until, OwnedRange { tokens, tree: MerkleTree::new(depth), leaves: BTreeMap::new() })
        };
        let ranges = owned.iter().map(range).collect();
        Table { data: BTreeMap::new(), keys: BTreeSet::new(), ranges, depth, planted: Planted::NONE }
    }

    /// The same with a planted bug.
    pub(crate) fn with(self, planted: Planted) -> Table<V> {
        Table { planted, ..self }
    }

    /// The bug planted in the replica.
    pub(crate) fn planted(&self) -> Planted {
        self.planted
    }

    /// Owns these ranges, disjoint, from now on, and forgets what lies in none of them: those keys, in the table's order.
    pub fn hold(&mut self, owned: &[TokenRange]) -> Vec<Key> {
        let planted = self.planted;
        let former = core::mem::replace(self, Table::new(owned, self.depth).with(planted));
        let mut forgotten = Vec::new();
        for (place, stored) in former.data {
            let token = Token(place.token);
            let Some(range) = self.range_of(token) else {
                forgotten.push(place.key);
                continue;
            };
            let leaf = leaf_at(range, self.depth, token);
            self.insert(range.id(), leaf, token, place.key, stored);
            self.mark_dirty(range.id(), leaf);
        }
        forgotten
    }

    /// Whether the key lies in an owned range.
    pub fn owns(&self, key: &Key) -> bool {
        self.range_of(Token::of_key(key)).is_some()
    }

    /// The owned range that the key lies in.
    pub fn owned_range(&self, key: &Key) -> Option<RangeId> {
        self.range_of(Token::of_key(key)).map(TokenRange::id)
    }

    /// What is stored under a key; a version may be a tombstone.
    pub fn get(&self, key: &Key) -> Option<&V> {
        Some(&self.stored(key)?.version)
    }

    /// [`record_digest`] of what is stored under a key.
    pub fn digest(&self, key: &Key) -> Digest {
        self.stored(key).map_or_else(|| record_digest::<V>(key, None), |stored| stored.digest)
    }

    /// Stores a record in place of what is there.
    ///
    /// # Panics
    /// The key lies in no owned range.
    pub fn put(&mut self, key: Key, record: V) {
        let token = Token::of_key(&key);
        let stored = Stored { digest: record_digest(&key, Some(&record)), version: record };
        let (range, leaf) = self.place_of(token);
        match self.data.get_mut(&(token.0, key.0.as_slice()) as &dyn AsPlace) {
            Some(former) => {
                let (before, after) = (former.digest, stored.digest);
                *former = stored;
                self.adjust(range, leaf, Some(before), Some(after));
            }
            None => self.insert(range, leaf, token, key, stored),
        }
        self.mark_dirty(range, leaf);
    }

    fn insert(&mut self, range: RangeId, leaf: u32, token: Token, key: Key, stored: Stored<V>) {
        self.adjust(range, leaf, None, Some(stored.digest));
        self.keys.insert(key.clone());
        self.data.insert(Place { token: token.0, key }, stored);
    }

    /// Forgets a key and gives back what was stored. Only for expired tombstones: anything else comes back by repair.
    pub fn remove(&mut self, key: &Key) -> Option<V> {
        let token = Token::of_key(key);
        let stored = self.data.remove(&(token.0, key.0.as_slice()) as &dyn AsPlace)?;
        self.keys.remove(key);
        let (range, leaf) = self.place_of(token);
        self.adjust(range, leaf, Some(stored.digest), None);
        self.mark_dirty(range, leaf);
        Some(stored.version)
    }

    /// Keys held, tombstones included.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether no key is held.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Keys behind `after` (`None`: from the first) in the order of their bytes, with their versions.
    pub fn scan<'a>(&'a self, after: Option<&Key>) -> impl Iterator<Item = (&'a Key, &'a V)> + use<'a, V> {
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let keys = self.keys.range::<Key, _>((begin, Bound::Unbounded));
        keys.map(|key| (key, self.get(key).expect("both orders hold the same keys")))
    }

    /// Keys of a range in the order of their bytes, with their versions.
    pub fn scan_range<'a>(&'a self, range: &KeyRange) -> impl Iterator<Item = (&'a Key, &'a V)> + use<'a, V> {
        let from = Bound::Included(Key(range.from.0.clone()));
        let to = range.to.as_ref().map_or(Bound::Unbounded, |to| Bound::Excluded(Key(to.0.clone())));
        // A range that ends before it begins is empty, not a panic.
        let turned = range.to.as_ref().is_some_and(|to| *to <= range.from);
        let keys = (!turned).then(|| self.keys.range::<Key, _>((from, to)));
        let keys = keys.into_iter().flatten();
        keys.map(|key| (key, self.get(key).expect("both orders hold the same keys")))
    }

    /// Digest of everything held, straight from keys and versions: no tree and no stored digest has a part in it.
    pub fn state_digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        // In the order of the tokens: that of the keys would look each of them up again.
        for (place, stored) in &self.data {
            hash_record(&mut hasher, &place.key, Some(&stored.version));
        }
        hasher.finalize().into()
    }

    /// Digest of each owned range by its end, made like [`Table::state_digest`]; zero for an empty range. Two replicas
    /// agree on a range exactly if these are equal.
    pub fn range_digests(&self) -> Vec<(u64, [u8; 32])> {
        let digest = |range: &OwnedRange| {
            let mut hasher = blake3::Hasher::new();
            let mut empty = true;
            for (place, stored) in self.span(range.tokens, 0, range.tokens.width(), None) {
                hash_record(&mut hasher, &place.key, Some(&stored.version));
                empty = false;
            }
            if empty { EMPTY } else { hasher.finalize().into() }
        };
        self.ranges.iter().map(|(&until, range)| (until, digest(range))).collect()
    }

    /// The owned ranges, ascending by their end.
    pub fn ranges(&self) -> impl Iterator<Item = TokenRange> + '_ {
        self.ranges.values().map(|range| range.tokens)
    }

    /// The tokens of an owned range.
    pub fn token_range(&self, range: RangeId) -> Option<TokenRange> {
        self.ranges.get(&range.0).map(|range| range.tokens)
    }

    /// Levels of the trees below their roots.
    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// Root of each owned range's tree by the range's end.
    pub fn merkle_roots(&mut self) -> Vec<(u64, Hash)> {
        let ends: Vec<u64> = self.ranges.keys().copied().collect();
        let root = |until| (until, self.node_hash(RangeId(until), 0, 0).expect("an owned range has a root"));
        ends.into_iter().map(root).collect()
    }

    /// Hash of a node of a range's tree, level 0 being the root; `None`: the range is not owned, or has no such node.
    pub fn node_hash(&mut self, range: RangeId, level: u8, position: u32) -> Option<Hash> {
        let OwnedRange { tree, leaves, .. } = self.ranges.get_mut(&range.0)?;
        if tree.dirty_count() > 0 {
            tree.refresh(|leaf| leaves.get(&leaf).map_or(EMPTY, LeafSum::hash));
        }
        tree.hash(level, position)
    }

    /// Which leaf of which owned range a key lies in.
    pub fn leaf_of(&self, key: &Key) -> Option<(RangeId, u32)> {
        let token = Token::of_key(key);
        let range = self.range_of(token)?;
        Some((range.id(), leaf_at(range, self.depth, token)))
    }

    /// A leaf's keys behind `after` (`None`: from the first) in the table's order; none if there is no such leaf. `after`
    /// must lie in the leaf.
    pub fn leaf<'a>(
        &'a self,
        range: RangeId,
        leaf: u32,
        after: Option<&Key>,
    ) -> impl Iterator<Item = LeafItem<'a, V>> + use<'a, V> {
        let owned = self.ranges.get(&range.0).filter(|_| leaf >> self.depth == 0);
        let items = owned.map(|range| {
            let (begin, end) = leaf_offsets(range.tokens, self.depth, leaf);
            self.span(range.tokens, begin, end, after)
        });
        items.into_iter().flatten().map(|(place, stored)| LeafItem {
            token: Token(place.token),
            key: &place.key,
            version: &stored.version,
            digest: stored.digest,
        })
    }

    /// What is stored at offsets `begin..end` of a range, behind `after` if it is given, clockwise.
    fn span<'a>(
        &'a self,
        range: TokenRange,
        begin: u128,
        end: u128,
        after: Option<&Key>,
    ) -> impl Iterator<Item = (&'a Place, &'a Stored<V>)> + use<'a, V> {
        // At most two pieces: up to the greatest token, and from zero on.
        let first = u128::from(range.after.wrapping_add(1));
        let (low, high) = (first + begin, first + end); // no circle yet: up to 2^65
        const CIRCLE: u128 = 1 << 64;
        let before_zero = (low.min(CIRCLE), high.min(CIRCLE));
        let behind_zero = (low.max(CIRCLE) - CIRCLE, high.max(CIRCLE) - CIRCLE);
        let after = after.map(|key| (Token::of_key(key).0, key));
        let after_is_behind_zero =
            after.is_some_and(|(token, _)| u128::from(token) < behind_zero.1 && u128::from(token) >= behind_zero.0);
        let before = self.piece(before_zero, after.filter(|_| !after_is_behind_zero));
        let before = before.filter(move |_| !after_is_behind_zero);
        before.chain(self.piece(behind_zero, after.filter(|_| after_is_behind_zero)))
    }

    /// What is stored at tokens `begin..end`, behind `after` if it is given.
    fn piece<'a>(
        &'a self,
        (begin, end): (u128, u128),
        after: Option<(u64, &Key)>,
    ) -> impl Iterator<Item = (&'a Place, &'a Stored<V>)> + use<'a, V> {
        // An end of 2^64 has no token of its own: the last one stands for it.
        let bounds = (begin < end).then(|| (begin as u64, (end - 1) as u64));
        let items = bounds.map(|(first, last)| {
            let begin = match after {
                Some((token, key)) => (token, key.0.as_slice()),
                None => (first, [].as_slice()),
            };
            let begin: Bound<&dyn AsPlace> =
                if after.is_some() { Bound::Excluded(&begin) } else { Bound::Included(&begin) };
            let items = self.data.range::<dyn AsPlace, _>((begin, Bound::Unbounded));
            items.take_while(move |(place, _)| place.token <= last)
        });
        items.into_iter().flatten()
    }

    fn stored(&self, key: &Key) -> Option<&Stored<V>> {
        self.data.get(&(Token::of_key(key).0, key.0.as_slice()) as &dyn AsPlace)
    }

    fn range_of(&self, token: Token) -> Option<TokenRange> {
        // The first end at or behind the token; behind the last end the circle closes.
        let next = self.ranges.range(token.0..).next().or_else(|| self.ranges.iter().next())?;
        let range = next.1.tokens;
        range.contains(token).then_some(range)
    }

    /// The owned range and the leaf of a token.
    ///
    /// # Panics
    /// The token lies in no owned range.
    fn place_of(&self, token: Token) -> (RangeId, u32) {
        let range = self.range_of(token).expect("a key of another node's range was merged into the table");
        (range.id(), leaf_at(range, self.depth, token))
    }

    /// Takes the change of a key's digest over into its leaf.
    fn adjust(&mut self, range: RangeId, leaf: u32, before: Option<Digest>, after: Option<Digest>) {
        if before == after {
            return;
        }
        let leaves = &mut self.ranges.get_mut(&range.0).expect("the range was found just now").leaves;
        let sum = leaves.entry(leaf).or_default();
        if let Some(digest) = after {
            sum.add(&digest);
        }
        if let Some(digest) = before {
            sum.subtract(&digest);
        }
        if sum.keys == 0 {
            assert!(sum.lanes == [0; 2], "an empty leaf has a sum");
            leaves.remove(&leaf);
        }
    }

    fn mark_dirty(&mut self, range: RangeId, leaf: u32) {
        self.ranges.get_mut(&range.0).expect("the range was found just now").tree.mark_dirty(leaf);
    }
}

impl Table {
    /// Takes the version if it is greater than the stored one; says whether it did.
    ///
    /// # Panics
    /// The key lies in no owned range.
    pub fn merge(&mut self, key: Key, version: Version) -> bool {
        let token = Token::of_key(&key);
        let planted = self.planted;
        let is_delete = version.value.is_none();
        let (range, leaf) = self.place_of(token);
        match self.data.get_mut(&(token.0, key.0.as_slice()) as &dyn AsPlace) {
            Some(stored) if keeps(planted, &stored.version, &version) => return false,
            Some(stored) if planted!(planted, StaleDigest) => stored.version = version,
            Some(stored) => {
                let before = stored.digest;
                *stored = Stored { digest: stored_digest(planted, &key, Some(&version)), version };
                let after = stored.digest;
                self.adjust(range, leaf, Some(before), Some(after));
            }
            None => {
                let stored = Stored { digest: stored_digest(planted, &key, Some(&version)), version };
                self.insert(range, leaf, token, key, stored);
            }
        }
        if !(planted!(planted, MerkleMissesDeletes) && is_delete) {
            self.mark_dirty(range, leaf);
        }
        true
    }
}

/// The leaf that a token of the range lies in.
fn leaf_at(range: TokenRange, depth: u8, token: Token) -> u32 {
    let leaf = (u128::from(range.offset(token)) << depth) / range.width();
    u32::try_from(leaf).expect("a token inside the range has a leaf below 2^depth")
}

/// Offsets `begin..end` of a leaf's tokens in its range: the ones that [`leaf_at`] maps to it.
fn leaf_offsets(range: TokenRange, depth: u8, leaf: u32) -> (u128, u128) {
    let bound = |leaf: u128| (leaf * range.width()).div_ceil(1 << depth);
    (bound(u128::from(leaf)), bound(u128::from(leaf) + 1))
}
