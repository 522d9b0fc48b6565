//! The consistent-hash ring: which nodes hold which keys.
//!
//! Source: *Database Internals*, chapter 12, and the Dynamo paper (section 4.2), with virtual nodes and the preference
//! list of the first N distinct nodes clockwise.
//!
//! Invariants:
//! - The ring depends on the *set* of members, `vnodes` and `replication` alone, never on the order members are named in.
//! - The ranges cut the whole token circle: each token lies in exactly one.
//! - Each range has min(N, members) distinct replicas.
//!
//! Two members may draw the same token. Both stay on the ring at that place, the smaller id first; the place begins
//! one range, not two.
//!
//! A ring never changes; members that come and go make a new one (see [`topology`]). Left out: weights and racks.

#[cfg(test)]
mod tests;
pub mod topology;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::{Key, NodeId};

/// A place on the circle of 2^64 tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

impl Token {
    /// Where a key lies: the first 8 bytes of its blake3 hash, big endian.
    pub fn of_key(key: &Key) -> Token {
        Token(first_8_bytes(&blake3::hash(&key.0)))
    }

    /// Where a virtual node lies.
    fn of_vnode(node: NodeId, vnode: u16) -> Token {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"hearsay token");
        hasher.update(&node.0.to_be_bytes());
        hasher.update(&vnode.to_be_bytes());
        Token(first_8_bytes(&hasher.finalize()))
    }
}

fn first_8_bytes(hash: &blake3::Hash) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_be_bytes(bytes)
}

/// Names a range by the last token in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RangeId(pub u64);

/// The tokens behind `after` up to and with `until`, clockwise; it may pass through zero. Equal ends: the whole circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenRange {
    /// Last token of the range before.
    pub after: u64,
    /// Last token of this range.
    pub until: u64,
}

impl TokenRange {
    /// Its name.
    pub fn id(self) -> RangeId {
        RangeId(self.until)
    }

    /// How many tokens it has, 1 to 2^64.
    pub fn width(self) -> u128 {
        match self.until.wrapping_sub(self.after) {
            0 => 1 << 64,
            width => u128::from(width),
        }
    }

    /// How far behind the range's first token `token` lies, clockwise. Below [`TokenRange::width`] if it is inside.
    pub fn offset(self, token: Token) -> u64 {
        token.0.wrapping_sub(self.after).wrapping_sub(1)
    }

    /// Whether the token lies in the range.
    pub fn contains(self, token: Token) -> bool {
        u128::from(self.offset(token)) < self.width()
    }
}

/// The ring of a cluster, with every range's preference list made beforehand.
#[derive(Clone, Debug)]
pub struct Ring {
    /// Ends of the ranges, ascending, distinct.
    ends: Vec<u64>,
    /// Preference lists of the ranges in the order of `ends`, `copies` nodes each unless `starts` says otherwise.
    preference: Vec<NodeId>,
    /// Where each list begins, and the end of the last; empty if all have the same length.
    starts: Vec<u32>,
    /// Length of each preference list.
    copies: usize,
    /// Ranges that each member is a replica of, ascending.
    owned: BTreeMap<NodeId, Vec<RangeId>>,
}

impl Ring {
    /// The ring of these members. A member named twice counts once; with fewer than `replication` members, every member
    /// holds everything.
    ///
    /// # Panics
    /// Without members, virtual nodes or replicas: a configuration is validated before a ring is made of it.
    pub fn new(members: &[NodeId], vnodes: u16, replication: u8) -> Ring {
        assert!(vnodes > 0, "a ring needs at least one virtual node a member");
        let members: BTreeSet<NodeId> = members.iter().copied().collect();
        let places = members
            .iter()
            .flat_map(|&node| (0..vnodes).map(move |vnode| (Token::of_vnode(node, vnode).0, node)))
            .collect();
        Ring::from_places(places, replication)
    }

    /// A ring of these ranges, by their ends (ascending, distinct), each with a list of its own.
    fn from_lists(lists: BTreeMap<u64, Vec<NodeId>>, copies: usize) -> Ring {
        assert!(!lists.is_empty(), "a ring needs at least one range");
        let mut ring =
            Ring { ends: Vec::new(), preference: Vec::new(), starts: alloc::vec![0], copies, owned: BTreeMap::new() };
        for (end, nodes) in lists {
            ring.ends.push(end);
            for &node in &nodes {
                ring.owned.entry(node).or_default().push(RangeId(end));
            }
            ring.preference.extend(nodes);
            ring.starts.push(u32::try_from(ring.preference.len()).expect("members times tokens is far below 2^32"));
        }
        ring
    }

    fn from_places(mut places: Vec<(u64, NodeId)>, replication: u8) -> Ring {
        places.sort_unstable();
        places.dedup();
        let members: BTreeSet<NodeId> = places.iter().map(|&(_, node)| node).collect();
        let copies = usize::from(replication).min(members.len());
        assert!(copies > 0, "a ring needs at least one member and one replica");

        let mut ring = Ring {
            ends: Vec::with_capacity(places.len()),
            preference: Vec::with_capacity(places.len() * copies),
            starts: Vec::new(),
            copies,
            owned: members.iter().map(|&node| (node, Vec::new())).collect(),
        };
        for (first, &(token, _)) in places.iter().enumerate() {
            if ring.ends.last() == Some(&token) {
                continue; // a second node at the same place
            }
            ring.ends.push(token);
            let begin = ring.preference.len();
            for &(_, node) in places[first..].iter().chain(&places[..first]) {
                if ring.preference.len() == begin + copies {
                    break;
                }
                if !ring.preference[begin..].contains(&node) {
                    ring.preference.push(node);
                    ring.owned.get_mut(&node).expect("every place belongs to a member").push(RangeId(token));
                }
            }
            assert_eq!(ring.preference.len(), begin + copies, "a walk round the ring meets every member");
        }
        ring
    }

    /// Where a key lies.
    pub fn token(&self, key: &Key) -> Token {
        Token::of_key(key)
    }

    /// The key's preference list: its replicas, all distinct, in the order of the ring.
    pub fn replicas(&self, key: &Key) -> &[NodeId] {
        self.replicas_at(Token::of_key(key))
    }

    /// The preference list of the range that this token lies in.
    pub fn replicas_at(&self, token: Token) -> &[NodeId] {
        self.list(self.index_at(token))
    }

    /// Every member, distinct, clockwise from the key's place: first its replicas in the order of [`Ring::replicas`], then those
    /// that may stand in for them.
    pub fn walk(&self, key: &Key) -> impl Iterator<Item = NodeId> + '_ {
        let first = self.index_at(Token::of_key(key));
        let mut seen = BTreeSet::new();
        (0..self.ends.len())
            .flat_map(move |step| self.list((first + step) % self.ends.len()))
            .copied()
            .filter(move |node| seen.insert(*node))
    }

    /// Whether the node is one of the key's replicas.
    pub fn is_replica(&self, node: NodeId, key: &Key) -> bool {
        self.replicas(key).contains(&node)
    }

    /// The preference list of a range; `None`: no such range.
    pub fn range_replicas(&self, range: RangeId) -> Option<&[NodeId]> {
        Some(self.list(self.ends.binary_search(&range.0).ok()?))
    }

    /// The tokens of a range; `None`: no such range.
    pub fn range(&self, range: RangeId) -> Option<TokenRange> {
        Some(self.range_at_index(self.ends.binary_search(&range.0).ok()?))
    }

    /// The range that this token lies in.
    pub fn range_at(&self, token: Token) -> TokenRange {
        self.range_at_index(self.index_at(token))
    }

    /// Every range, ascending by its end.
    pub fn ranges(&self) -> impl Iterator<Item = TokenRange> + '_ {
        (0..self.ends.len()).map(|index| self.range_at_index(index))
    }

    /// The ranges that the node is a replica of, ascending; none for a stranger.
    pub fn owned_ranges(&self, node: NodeId) -> &[RangeId] {
        self.owned.get(&node).map_or(&[], Vec::as_slice)
    }

    /// The same with their tokens, as [`crate::table::Table::new`] wants them.
    pub fn owned_token_ranges(&self, node: NodeId) -> Vec<TokenRange> {
        self.owned_ranges(node).iter().filter_map(|&range| self.range(range)).collect()
    }

    /// The ends of the ranges that both nodes are replicas of, ascending.
    pub fn shared_ranges(&self, a: NodeId, b: NodeId) -> Vec<u64> {
        let shared = |range: &RangeId| self.range_replicas(*range).is_some_and(|nodes| nodes.contains(&b));
        self.owned_ranges(a).iter().filter(|range| shared(range)).map(|range| range.0).collect()
    }

    /// The other nodes that share a range with this one, ascending.
    pub fn neighbours(&self, node: NodeId) -> Vec<NodeId> {
        let replicas = self.owned_ranges(node).iter().filter_map(|&range| self.range_replicas(range)).flatten();
        let distinct: BTreeSet<NodeId> = replicas.copied().filter(|&other| other != node).collect();
        distinct.into_iter().collect()
    }

    /// Whether the node is a member.
    pub fn is_member(&self, node: NodeId) -> bool {
        self.owned.contains_key(&node)
    }

    /// Every member, ascending.
    pub fn members(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.owned.keys().copied()
    }

    /// Replicas of each key: the configured N, or all members if there are fewer.
    pub fn copies(&self) -> usize {
        self.copies
    }

    fn index_at(&self, token: Token) -> usize {
        // Behind the last end the circle closes: those tokens belong to the first range.
        self.ends.partition_point(|&end| end < token.0) % self.ends.len()
    }

    fn list(&self, index: usize) -> &[NodeId] {
        if let (Some(&begin), Some(&end)) = (self.starts.get(index), self.starts.get(index + 1)) {
            return &self.preference[begin as usize..end as usize];
        }
        &self.preference[index * self.copies..(index + 1) * self.copies]
    }

    fn range_at_index(&self, index: usize) -> TokenRange {
        let before = index.checked_sub(1).unwrap_or(self.ends.len() - 1);
        TokenRange { after: self.ends[before], until: self.ends[index] }
    }
}
