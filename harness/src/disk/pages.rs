//! A file's content: its length and sparse pages. A clone shares all pages; writing copies the page that is written to.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of a page.
pub(super) const PAGE: usize = 4096;
/// Longest file, bytes: far above any disk's room, far below any overflow.
pub(super) const LENGTH_MAX: u64 = 1 << 40;

/// One page.
pub(super) type Page = [u8; PAGE];

/// The content of a file. A page that is not there is zeros.
///
/// Invariants: no page lies wholly behind the length; behind the length, a page is zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pages {
    length: u64,
    pages: BTreeMap<u64, Arc<Page>>,
}

/// The pages that hold bytes of a range: (page, from, to) with offsets in that page.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + length as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        let page = at / PAGE as u64;
        let from = (at % PAGE as u64) as usize;
        let left = end - at;
        if left == 0 {
            return None;
        }
        let to = PAGE.min(from + usize::try_from(left).unwrap_or(PAGE));
        at += (to - from) as u64;
        Some((page, from, to))
    })
}

impl Pages {
    /// Bytes, with holes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Pages that take room.
    pub(super) fn count(&self) -> usize {
        self.pages.len()
    }

    /// Pages that a write there would add.
    pub(super) fn added_by(&self, offset: u64, length: usize) -> usize {
        pieces(offset, length).filter(|(page, ..)| !self.pages.contains_key(page)).count()
    }

    /// Up to so many bytes from there; fewer at the end.
    pub(super) fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let there = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(there)];
        let mut at = 0;
        for (page, from, to) in pieces(offset, bytes.len()) {
            if let Some(content) = self.pages.get(&page) {
                bytes[at..at + to - from].copy_from_slice(&content[from..to]);
            }
            at += to - from;
        }
        bytes
    }

    /// Writes, and makes the file longer where need be; tells the pages that it touched.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8], mut touched: impl FnMut(u64)) {
        let mut at = 0;
        for (page, from, to) in pieces(offset, bytes.len()) {
            self.page(page)[from..to].copy_from_slice(&bytes[at..at + to - from]);
            at += to - from;
            touched(page);
        }
        self.length = self.length.max(offset + bytes.len() as u64);
    }

    /// Makes a range zeros, without changing the length; tells the pages that it touched.
    pub(super) fn zero(&mut self, offset: u64, length: u64, mut touched: impl FnMut(u64)) {
        let end = offset.saturating_add(length).min(self.length);
        let inside: Vec<u64> = self.pages.range(offset / PAGE as u64..).map(|(&page, _)| page).collect();
        for page in inside {
            let start = page * PAGE as u64;
            if start >= end {
                break;
            }
            let from = offset.saturating_sub(start) as usize;
            let to = (end - start).min(PAGE as u64) as usize;
            if from == 0 && (to == PAGE || start + to as u64 == self.length) {
                self.pages.remove(&page);
            } else if from < to {
                self.page(page)[from..to].fill(0);
            }
            touched(page);
        }
    }

    /// Cuts it, or makes it longer by a hole.
    pub(super) fn set_length(&mut self, length: u64) {
        if length < self.length {
            let last = length.div_ceil(PAGE as u64);
            self.pages.split_off(&last);
            let within = (length % PAGE as u64) as usize;
            let page = length / PAGE as u64;
            if within > 0 && self.pages.contains_key(&page) {
                self.page(page)[within..].fill(0);
            }
        }
        self.length = length;
    }

    /// Takes over a page of another version of this file, and nothing of its length.
    pub(super) fn take_page(&mut self, page: u64, other: &Pages) {
        match other.pages.get(&page) {
            Some(content) => drop(self.pages.insert(page, Arc::clone(content))),
            None => drop(self.pages.remove(&page)),
        }
    }

    /// Takes over a part of a page of another version of this file, and nothing of its length.
    pub(super) fn take_part(&mut self, page: u64, part: std::ops::Range<usize>, other: &Pages) {
        match other.pages.get(&page) {
            Some(content) => self.page(page)[part.clone()].copy_from_slice(&content[part]),
            None => self.page(page)[part].fill(0),
        }
    }

    /// Makes it at least so long, by a hole.
    pub(super) fn extend_to(&mut self, length: u64) {
        self.length = self.length.max(length);
    }

    /// The pages that take room.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Page)> {
        self.pages.iter().map(|(&page, content)| (page, &**content))
    }

    /// Bytes of a page that lie before the end.
    pub(super) fn bytes_of(&self, page: u64) -> usize {
        self.length.saturating_sub(page * PAGE as u64).min(PAGE as u64) as usize
    }

    fn page(&mut self, page: u64) -> &mut Page {
        Arc::make_mut(self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE])))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Act {
        Write(usize, Vec<u8>),
        Zero(usize, usize),
        SetLength(usize),
    }

    fn act() -> impl Strategy<Value = Act> {
        let place = 0..3 * PAGE;
        prop_oneof![
            (place.clone(), prop::collection::vec(1..255u8, 0..2 * PAGE)).prop_map(|(at, bytes)| Act::Write(at, bytes)),
            (place.clone(), 0..2 * PAGE).prop_map(|(at, length)| Act::Zero(at, length)),
            place.prop_map(Act::SetLength),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Against a plain vector of bytes.
        #[test]
        fn pages_are_a_sparse_vector(acts in prop::collection::vec(act(), 1..20)) {
            let (mut pages, mut plain) = (Pages::default(), Vec::new());
            for act in acts {
                let before = pages.clone();
                let mut touched = Vec::new();
                match act {
                    Act::Write(at, bytes) => {
                        let added = pages.added_by(at as u64, bytes.len());
                        pages.write(at as u64, &bytes, |page| touched.push(page));
                        prop_assert_eq!(pages.count(), before.count() + added);
                        plain.resize(plain.len().max(at + bytes.len()), 0);
                        plain[at..at + bytes.len()].copy_from_slice(&bytes);
                    }
                    Act::Zero(at, length) => {
                        pages.zero(at as u64, length as u64, |page| touched.push(page));
                        let end = (at + length).min(plain.len());
                        plain[at.min(end)..end].fill(0);
                    }
                    Act::SetLength(length) => {
                        pages.set_length(length as u64);
                        plain.resize(length, 0);
                        continue;
                    }
                }
                // Whoever takes over the touched pages and the length has the same file.
                let mut copy = before;
                touched.iter().for_each(|&page| copy.take_page(page, &pages));
                copy.length = pages.length;
                prop_assert_eq!(&copy, &pages);
                prop_assert_eq!(pages.length(), plain.len() as u64);
                prop_assert_eq!(&pages.read(0, plain.len() + 1), &plain);
                let middle = plain.len() / 3;
                prop_assert_eq!(&pages.read(middle as u64, 100)[..], &plain[middle..plain.len().min(middle + 100)]);
                prop_assert!(pages.pages.keys().all(|page| page * (PAGE as u64) < pages.length));
            }
        }
    }
}
