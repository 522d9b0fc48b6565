//! The map: records by name, merged, with a digest that two nodes compare.
//!
//! The digest is a hash per bucket of names; a bucket's hash is the exclusive or of the hashes of its records, so that a change
//! costs two hashes and not a pass over ten thousand members. Equal maps have equal digests; unequal ones have equal digests
//! with a chance of about 2^-64 (nobody is assumed to look for such maps on purpose: peers are authenticated).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::members::{Member, MemberRecord, MemberState};
use super::options::OptionRecord;
use crate::{NodeId, Planted, planted};

/// Buckets of the digest.
pub const BUCKETS: usize = 256;
/// Most names of options; a client's change that would add another is refused. What peers bring is taken up to four times as many:
/// nodes that add at once don't know of each other.
pub const OPTIONS_MAX: usize = 1_024;

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Name {
    /// A member.
    Member(NodeId),
    /// An option.
    Option(String),
}

impl Name {
    /// Bytes in a message, about and at most.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Name::Member(_) => 4,
            Name::Option(name) => name.len() + 3,
        }
    }

    pub(super) fn bucket(&self) -> usize {
        usize::from(hash(self).to_be_bytes()[0])
    }
}

/// What is known under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Of a member.
    Member(MemberRecord),
    /// Of an option.
    Option(OptionRecord),
}

impl Record {
    /// Bytes in a message, at most.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Record::Member(MemberRecord::Known { member, .. }) => member.address.len() + 32,
            Record::Member(MemberRecord::Gone) => 2,
            Record::Option(option) => option.value.len() + 18,
        }
    }

    /// Whether it can be the record of that name.
    fn belongs_to(&self, name: &Name) -> bool {
        match (name, self) {
            (Name::Member(NodeId(0)), _) => false,
            (Name::Member(_), Record::Member(MemberRecord::Gone)) => true,
            (Name::Member(node), Record::Member(MemberRecord::Known { member, down })) => {
                let fits = member.node == *node && member.address.len() <= Member::ADDRESS_MAX;
                fits && !(member.state == MemberState::Left && down.is_some())
            }
            (Name::Option(name), Record::Option(option)) => {
                OptionRecord::is_name(name) && option.value.len() <= OptionRecord::VALUE_MAX && option.version > 0
            }
            _ => false,
        }
    }
}

/// What merging a record did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The map is another one now.
    Changed,
    /// All of it was known.
    Known,
    /// It can't be, or is beyond a bound, and was left out.
    Refused,
}

#[derive(Debug)]
struct Entry {
    record: Record,
    hash: u64,
}

/// The versioned map.
#[derive(Debug)]
pub struct MetadataMap {
    entries: BTreeMap<Name, Entry>,
    /// Exclusive or of the hashes of the records, by bucket.
    buckets: Vec<u64>,
    options: usize,
    planted: Planted,
}

fn hash<T: Serialize>(value: &T) -> u64 {
    let bytes = postcard::to_allocvec(value).expect("what this crate makes always serializes");
    let digest = blake3::hash(&bytes);
    u64::from_be_bytes(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"))
}

impl MetadataMap {
    /// An empty one.
    pub fn new(planted: Planted) -> MetadataMap {
        MetadataMap { entries: BTreeMap::new(), buckets: alloc::vec![0; BUCKETS], options: 0, planted }
    }

    /// Merges a record from wherever.
    pub fn merge(&mut self, name: Name, record: Record) -> Merged {
        if !record.belongs_to(&name) {
            return Merged::Refused;
        }
        let known = self.entries.get(&name);
        if known.is_none() && matches!(name, Name::Option(_)) && self.options >= 4 * OPTIONS_MAX {
            return Merged::Refused;
        }
        if planted!(self.planted, OptionsShareAVersion)
            && let Record::Option(option) = &record
            && option.version <= self.options().map(|(_, known)| known.version).max().unwrap_or_default()
        {
            return Merged::Known;
        }
        let joined = match (known.map(|entry| entry.record.clone()), record) {
            (None, record) => record,
            (Some(Record::Member(known)), Record::Member(record)) => Record::Member(known.join(record, self.planted)),
            (Some(Record::Option(known)), Record::Option(record)) => Record::Option(known.join(record, self.planted)),
            _ => unreachable!("both belong to one name"),
        };
        if known.is_some_and(|entry| entry.record == joined) {
            return Merged::Known;
        }
        self.put(name, joined);
        Merged::Changed
    }

    fn put(&mut self, name: Name, record: Record) {
        let bucket = name.bucket();
        let hash = hash(&(&name, &record));
        self.buckets[bucket] ^= hash;
        let is_option = matches!(name, Name::Option(_));
        match self.entries.insert(name, Entry { record, hash }) {
            Some(old) => self.buckets[bucket] ^= old.hash,
            None => self.options += usize::from(is_option),
        }
    }

    /// Drops what is known of a member that left; whether there was anything.
    pub fn collect(&mut self, node: NodeId) -> bool {
        let left = self.member(node).is_some_and(|member| member.state == MemberState::Left);
        if left {
            self.put(Name::Member(node), Record::Member(MemberRecord::Gone));
        }
        left
    }

    /// The record of a name.
    pub fn get(&self, name: &Name) -> Option<&Record> {
        self.entries.get(name).map(|entry| &entry.record)
    }

    /// What is known of a member: also of one that left, not of one that is gone.
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.member_record(node).and_then(MemberRecord::member)
    }

    /// The record of a member.
    pub fn member_record(&self, node: NodeId) -> Option<&MemberRecord> {
        match self.get(&Name::Member(node)) {
            Some(Record::Member(record)) => Some(record),
            _ => None,
        }
    }

    /// Every member that is not gone, by id, each with who holds it for dead.
    pub fn members(&self) -> impl Iterator<Item = (&Member, Option<NodeId>)> {
        self.member_records().filter_map(|(_, record)| Some((record.member()?, record.down())))
    }

    /// Every member, those that are gone included, by id.
    pub fn member_records(&self) -> impl Iterator<Item = (NodeId, &MemberRecord)> {
        self.entries.iter().map_while(|(name, entry)| match (name, &entry.record) {
            (Name::Member(node), Record::Member(record)) => Some((*node, record)),
            _ => None,
        })
    }

    /// An option.
    pub fn option(&self, name: &str) -> Option<&OptionRecord> {
        match self.get(&Name::Option(name.into())) {
            Some(Record::Option(option)) => Some(option),
            _ => None,
        }
    }

    /// Every option, by name.
    pub fn options(&self) -> impl Iterator<Item = (&str, &OptionRecord)> {
        let first = Name::Option(String::new());
        self.entries.range(first..).filter_map(|(name, entry)| match (name, &entry.record) {
            (Name::Option(name), Record::Option(option)) => Some((name.as_str(), option)),
            _ => None,
        })
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many options there are.
    pub fn options_len(&self) -> usize {
        self.options
    }

    /// Digest of the whole map.
    pub fn root(&self) -> u64 {
        if planted!(self.planted, RootsCountRecords) {
            return self.entries.len() as u64;
        }
        hash(&self.buckets)
    }

    /// Digest of each bucket, [`BUCKETS`] of them.
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// The records of one bucket, by name, each with its hash. A pass over the map.
    pub(super) fn in_buckets(&self, wanted: &[bool]) -> BTreeMap<usize, Vec<(&Name, u64)>> {
        let mut found: BTreeMap<usize, Vec<(&Name, u64)>> = BTreeMap::new();
        for bucket in (0..BUCKETS).filter(|bucket| wanted[*bucket]) {
            found.insert(bucket, Vec::new());
        }
        for (name, entry) in &self.entries {
            if let Some(names) = found.get_mut(&name.bucket()) {
                names.push((name, entry.hash));
            }
        }
        found
    }

    /// The hash of a record.
    pub(super) fn hash_of(&self, name: &Name) -> Option<u64> {
        self.entries.get(name).map(|entry| entry.hash)
    }

    pub(super) fn planted(&self) -> Planted {
        self.planted
    }
}
