//! The exchange of digests between two maps.
//!
//! ```text
//!   A -ROOT-> B            B: equal? then that was all (the idle cost: one short message per period)
//!   A <-BUCKETS- B         A: which of the 256 differ?
//!   A -PAGES-> B           A's names and hashes in those that differ
//!   A <-RECORDS- B         what B has otherwise or A did not list; and the names that B wants
//!   A -RECORDS-> B         those
//! ```
//!
//! Neither side keeps state between two messages: each is answered from the map as it is then. A message that is lost costs the
//! exchange, and the next one begins anew. Lists are split at [`BYTES_MAX`]; a page says which part of its bucket it covers, so
//! that what it leaves out is told from what it does not reach.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::map::{BUCKETS, Merged, MetadataMap, Name, Record};
use crate::planted;

/// Most bytes of records or names in one message; a record alone is always shorter.
pub const BYTES_MAX: usize = 15 * 1024;

/// A message of the exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetadataMessage {
    /// The digest of the sender's map.
    Root {
        /// As [`MetadataMap::root`].
        root: u64,
    },
    /// The roots differ: these are the sender's buckets.
    Buckets {
        /// As [`MetadataMap::buckets`].
        hashes: Vec<u64>,
    },
    /// What the sender has in buckets that differ.
    Pages {
        /// In the order of the buckets.
        pages: Vec<Page>,
    },
    /// Records that the receiver may lack, and names whose records the sender may lack.
    Records {
        /// By name.
        records: Vec<(Name, Record)>,
        /// Names, in no order.
        wanted: Vec<Name>,
    },
}

/// All names that the sender has in a part of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Which bucket.
    pub bucket: u8,
    /// The part begins behind this name; `None`: with the bucket.
    pub after: Option<Name>,
    /// The part ends with this name; `None`: with the bucket.
    pub until: Option<Name>,
    /// The names there, ascending, each with the hash of its record.
    pub names: Vec<(Name, u64)>,
}

/// What a message was good for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// To send back, in order.
    pub replies: Vec<MetadataMessage>,
    /// Names whose records changed.
    pub changed: Vec<Name>,
    /// Records and messages that can't be.
    pub refused: u64,
}

impl MetadataMap {
    /// The first message of an exchange.
    pub fn begin_exchange(&self) -> MetadataMessage {
        MetadataMessage::Root { root: self.root() }
    }

    /// Takes a message of a peer.
    pub fn on_message(&mut self, message: MetadataMessage) -> Answer {
        let mut answer = Answer::default();
        match message {
            MetadataMessage::Root { root } => {
                if root != self.root() {
                    answer.replies.push(MetadataMessage::Buckets { hashes: self.buckets().to_vec() });
                }
            }
            MetadataMessage::Buckets { hashes } if hashes.len() == BUCKETS => {
                let differ: Vec<bool> = hashes.iter().zip(self.buckets()).map(|(one, other)| one != other).collect();
                answer.replies =
                    self.pages(&differ).into_iter().map(|pages| MetadataMessage::Pages { pages }).collect();
            }
            MetadataMessage::Buckets { .. } => answer.refused += 1,
            MetadataMessage::Pages { pages } => self.on_pages(&pages, &mut answer),
            MetadataMessage::Records { records, wanted } => {
                for (name, record) in records {
                    match self.merge(name.clone(), record) {
                        Merged::Changed => answer.changed.push(name),
                        Merged::Known => {}
                        Merged::Refused => answer.refused += 1,
                    }
                }
                let found = wanted.into_iter().filter_map(|name| Some((name.clone(), self.get(&name)?.clone())));
                answer.replies = self.messages(found.collect(), Vec::new());
            }
        }
        answer
    }

    /// What is in these buckets, in lists that fit a message each.
    fn pages(&self, wanted: &[bool]) -> Vec<Vec<Page>> {
        let (mut messages, mut pages, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (bucket, names) in self.in_buckets(wanted) {
            let bucket = u8::try_from(bucket).expect("there are 256 buckets");
            let mut page = Page { bucket, after: None, until: None, names: Vec::new() };
            bytes += 8;
            for (name, hash) in names {
                let cost = name.bytes() + 10;
                if bytes + cost > BYTES_MAX && !page.names.is_empty() {
                    let last = page.names.last().map(|(name, _)| name.clone());
                    let next = Page { bucket, after: last.clone(), until: None, names: Vec::new() };
                    page.until = last;
                    pages.push(core::mem::replace(&mut page, next));
                    messages.push(core::mem::take(&mut pages));
                    bytes = 8 + name.bytes();
                }
                bytes += cost;
                page.names.push((name.clone(), hash));
            }
            pages.push(page);
            if bytes > BYTES_MAX {
                messages.push(core::mem::take(&mut pages));
                bytes = 0;
            }
        }
        if !pages.is_empty() {
            messages.push(pages);
        }
        messages
    }

    fn on_pages(&self, pages: &[Page], answer: &mut Answer) {
        let mut asked = alloc::vec![false; BUCKETS];
        for page in pages {
            asked[usize::from(page.bucket)] = true;
        }
        let held = self.in_buckets(&asked);
        let (mut records, mut wanted) = (Vec::new(), Vec::new());
        for page in pages {
            for (name, hash) in &page.names {
                if self.hash_of(name) != Some(*hash) {
                    wanted.push(name.clone());
                }
            }
            let covered = |name: &Name| {
                page.after.as_ref().is_none_or(|after| name > after)
                    && page.until.as_ref().is_none_or(|until| name <= until)
            };
            for (name, hash) in held[&usize::from(page.bucket)].iter().filter(|(name, _)| covered(name)) {
                let listed = page.names.binary_search_by(|(listed, _)| listed.cmp(name));
                if listed.is_ok_and(|place| page.names[place].1 == *hash) {
                    continue;
                }
                records.push(((*name).clone(), self.get(name).expect("it is held").clone()));
            }
        }
        answer.replies = self.messages(records, wanted);
    }

    /// Records and names in messages that are short enough.
    pub(super) fn messages(&self, records: Vec<(Name, Record)>, wanted: Vec<Name>) -> Vec<MetadataMessage> {
        let mut messages = Vec::new();
        let mut last = Vec::new();
        for records in split(records, |(name, record)| name.bytes() + record.bytes()) {
            if !last.is_empty() {
                messages.push(MetadataMessage::Records { records: core::mem::take(&mut last), wanted: Vec::new() });
            }
            last = records;
        }
        if !last.is_empty() && !planted!(self.planted(), SplitDropsTail) {
            messages.push(MetadataMessage::Records { records: last, wanted: Vec::new() });
        }
        for wanted in split(wanted, Name::bytes) {
            messages.push(MetadataMessage::Records { records: Vec::new(), wanted });
        }
        messages
    }
}

/// Lists of at most [`BYTES_MAX`] bytes each.
pub(super) fn split<T>(items: Vec<T>, bytes_of: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut lists, mut list, mut bytes) = (Vec::new(), Vec::new(), 0);
    for item in items {
        let cost = bytes_of(&item);
        if bytes + cost > BYTES_MAX && !list.is_empty() {
            lists.push(core::mem::take(&mut list));
            bytes = 0;
        }
        bytes += cost;
        list.push(item);
    }
    if !list.is_empty() {
        lists.push(list);
    }
    lists
}
