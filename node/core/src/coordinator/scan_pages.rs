//! The pages of one scan and what follows from them: a pure judge without effects. What is done about it is in `scan`.
//!
//! Each contacted node answers with all it stores from some key on, tombstones included, up to its limit; so of each it is known
//! up to where it is *covered*. A key is *decided* when R of its replicas are covered beyond it: then what they said, or left out,
//! is merged as in a read of that key. The *frontier* is the first place that is not decided.
//!
//! That is the *short-read protection*: behind the last row of a replica that reached its limit nothing is known of it, so
//! nothing is decided there until it was asked again, however many of its rows were shadowed elsewhere.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::answers::{Difference, difference};
use crate::message::ScanAnswer;
use crate::{Key, KeyBound, KeyRange, NodeId, Planted, Version, planted};

/// Up to where a node's answers reach.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Covered {
    /// Up to this place, without it.
    Below(KeyBound),
    /// To the end of the range.
    All,
}

#[derive(Debug)]
struct Pages {
    /// What it stores, as far as it is not decided yet.
    entries: BTreeMap<Key, Version>,
    covered: Covered,
    /// Where the question under way begins.
    asked: Option<KeyBound>,
    /// It has not caught up, and does not count.
    catching_up: bool,
}

/// The pages of one scan.
#[derive(Debug)]
pub(super) struct ScanPages {
    range: KeyRange,
    needed: usize,
    /// The distinct preference lists of the ring.
    lists: BTreeSet<Vec<NodeId>>,
    nodes: BTreeMap<NodeId, Pages>,
    /// Everything before it is decided.
    decided: Covered,
    planted: Planted,
}

/// A decided key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) key: Key,
    pub(super) difference: Difference,
}

impl ScanPages {
    pub(super) fn new(range: KeyRange, needed: usize, lists: BTreeSet<Vec<NodeId>>, planted: Planted) -> ScanPages {
        let decided = Covered::Below(range.from.clone());
        ScanPages { range, needed, lists, nodes: BTreeMap::new(), decided, planted }
    }

    /// Which of `candidates`, best first, it takes for R answers about every key; `None`: they are not enough.
    pub(super) fn choose(&self, candidates: &[NodeId]) -> Option<Vec<NodeId>> {
        let mut chosen: Vec<NodeId> = Vec::new();
        for list in &self.lists {
            let had = list.iter().filter(|node| chosen.contains(node)).count();
            let further = candidates.iter().filter(|node| list.contains(node) && !chosen.contains(node));
            let further: Vec<NodeId> = further.take(self.needed.saturating_sub(had)).copied().collect();
            if had + further.len() < self.needed {
                return None;
            }
            chosen.extend(further);
        }
        Some(chosen)
    }

    pub(super) fn is_contacted(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    /// A node becomes part of the scan; the range to ask it for.
    pub(super) fn contact(&mut self, node: NodeId) -> KeyRange {
        let from = match &self.decided {
            Covered::Below(bound) => bound.clone(),
            Covered::All => self.range.from.clone(),
        };
        let pages = Pages {
            entries: BTreeMap::new(),
            covered: Covered::Below(from.clone()),
            asked: Some(from.clone()),
            catching_up: false,
        };
        self.nodes.insert(node, pages);
        KeyRange { from, to: self.range.to.clone() }
    }

    /// Notes an answer; false when it answers no question under way, or is none.
    pub(super) fn note(&mut self, node: NodeId, from: &KeyBound, answer: ScanAnswer) -> bool {
        let range = &self.range;
        let Some(pages) = self.nodes.get_mut(&node).filter(|pages| pages.asked.as_ref() == Some(from)) else {
            return false;
        };
        match answer {
            ScanAnswer::CatchingUp => pages.catching_up = true,
            ScanAnswer::Page { entries, more } => {
                let inside = entries.iter().all(|(key, _)| key.0 >= from.0 && range.contains(key));
                if !inside || !entries.is_sorted_by(|(a, _), (b, _)| a < b) || (more && entries.is_empty()) {
                    return false;
                }
                let more = more && !planted!(self.planted, NoShortReadProtection);
                let last = entries.last().filter(|_| more).map(|(key, _)| KeyBound::behind(key));
                pages.covered = last.map_or(Covered::All, Covered::Below);
                pages.entries.extend(entries);
            }
        }
        pages.asked = None;
        true
    }

    /// The first place that is not decided.
    fn frontier(&self) -> Covered {
        let of_list = |list: &Vec<NodeId>| {
            let told = list.iter().filter_map(|node| self.nodes.get(node)).filter(|pages| !pages.catching_up);
            let mut covered: Vec<&Covered> = told.map(|pages| &pages.covered).collect();
            covered.sort_unstable();
            // The R-th best: so far at least R of the list are covered.
            let place = covered.len().checked_sub(self.needed);
            place.map_or(self.decided.clone(), |place| covered[place].clone())
        };
        self.lists.iter().map(of_list).min().expect("a ring has ranges").max(self.decided.clone())
    }

    /// Decides up to the frontier, the keys in order; stops behind the key for which `enough` says so.
    pub(super) fn decide(
        &mut self,
        replicas: impl Fn(&Key) -> Vec<NodeId>,
        mut enough: impl FnMut(&Decided) -> bool,
    ) -> Vec<Decided> {
        let mut frontier = self.frontier();
        let before = |key: &Key, place: &Covered| match place {
            Covered::Below(bound) => key.0 < bound.0,
            Covered::All => true,
        };
        let keys = self.nodes.values().flat_map(|pages| pages.entries.keys());
        let keys: BTreeSet<Key> = keys.filter(|key| before(key, &frontier)).cloned().collect();
        let mut all = Vec::new();
        for key in keys {
            let told: Vec<(NodeId, Option<&Version>)> = replicas(&key)
                .into_iter()
                .filter_map(|node| Some((node, self.nodes.get(&node)?)))
                .filter(|(_, pages)| !pages.catching_up && before(&key, &pages.covered))
                .map(|(node, pages)| (node, pages.entries.get(&key)))
                .collect();
            let decided = Decided { difference: difference(told.into_iter(), self.planted), key };
            let stop = enough(&decided);
            let behind = KeyBound::behind(&decided.key);
            all.push(decided);
            if stop {
                frontier = Covered::Below(behind);
                break;
            }
        }
        for pages in self.nodes.values_mut() {
            pages.entries.retain(|key, _| !before(key, &frontier));
        }
        self.decided = frontier;
        all
    }

    /// Where the next page of the client begins; `None`: all is decided.
    pub(super) fn next(&self) -> Option<KeyBound> {
        match &self.decided {
            Covered::Below(bound) => Some(bound.clone()),
            Covered::All => None,
        }
    }

    /// Whom to ask again, and for which range: those that reached their limit and hold up the others.
    pub(super) fn ask_again(&mut self) -> Vec<(NodeId, KeyRange)> {
        let mut asks = Vec::new();
        for (node, pages) in &mut self.nodes {
            let Covered::Below(bound) = &pages.covered else { continue };
            if pages.asked.is_none() && !pages.catching_up && pages.covered <= self.decided {
                // Others may have decided beyond where it is covered.
                let from = match &self.decided {
                    Covered::Below(decided) => decided.clone().max(bound.clone()),
                    Covered::All => continue,
                };
                pages.asked = Some(from.clone());
                pages.covered = Covered::Below(from.clone());
                asks.push((*node, KeyRange { from, to: self.range.to.clone() }));
            }
        }
        asks
    }

    pub(super) fn needed(&self) -> usize {
        self.needed
    }

    /// Nodes whose answers are there and count.
    pub(super) fn answered(&self) -> usize {
        self.nodes.values().filter(|pages| pages.asked.is_none() && !pages.catching_up).count()
    }

    pub(super) fn contacted(&self) -> usize {
        self.nodes.len()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{Value, WallTime};

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn key(name: &str) -> Key {
        Key(name.as_bytes().to_vec())
    }
    fn bound(name: &str) -> KeyBound {
        KeyBound(name.as_bytes().to_vec())
    }
    /// `a5` is the value of stamp 5 under a, `a-5` a tombstone.
    fn entry(text: &str) -> (Key, Version) {
        let (name, rest) = text.split_at(1);
        let value = (!rest.starts_with('-')).then(|| Value(vec![1]));
        let stamp = rest.trim_start_matches('-').parse().expect("a stamp");
        (key(name), Version { stamp: WallTime(stamp), value })
    }
    fn page(entries: &[&str], more: bool) -> ScanAnswer {
        ScanAnswer::Page { entries: entries.iter().map(|text| entry(text)).collect(), more }
    }
    /// R = 2 of A and B, both asked from the start.
    fn pages() -> ScanPages {
        let mut pages = ScanPages::new(KeyRange::default(), 2, BTreeSet::from([vec![A, B]]), Planted::NONE);
        for node in [A, B] {
            assert_eq!(pages.contact(node), KeyRange::default());
        }
        pages
    }
    fn decide(pages: &mut ScanPages) -> Vec<(Key, u64)> {
        let decided = pages.decide(|_| vec![A, B], |_| false);
        let newest = |decided: Decided| (decided.key, decided.difference.newest.expect("somebody stores it").stamp.0);
        decided.into_iter().map(newest).collect()
    }

    #[test]
    fn nothing_is_decided_behind_the_last_row_of_a_replica_that_reached_its_limit() {
        let mut pages = pages();
        // B deleted what A has; A reached its limit of two before c, which only it holds.
        assert!(pages.note(A, &bound(""), page(&["a1", "b1"], true)));
        assert_eq!(decide(&mut pages), []);
        assert!(pages.note(B, &bound(""), page(&["a-2", "b-2", "d4"], false)));
        assert_eq!(decide(&mut pages), [(key("a"), 2), (key("b"), 2)]);
        assert_eq!(pages.next(), Some(bound("b\0")));
        let ask = (A, KeyRange { from: bound("b\0"), to: None });
        assert_eq!(pages.ask_again(), [ask]);
        assert_eq!(pages.ask_again(), [], "a question is under way");
        assert!(pages.note(A, &bound("b\0"), page(&["c3"], false)));
        assert_eq!(decide(&mut pages), [(key("c"), 3), (key("d"), 4)]);
        assert_eq!(pages.next(), None);
    }

    #[test]
    fn a_replica_that_is_catching_up_decides_nothing() {
        let mut pages = pages();
        assert!(pages.note(A, &bound(""), page(&["a1"], false)));
        assert!(pages.note(B, &bound(""), ScanAnswer::CatchingUp));
        assert_eq!(decide(&mut pages), []);
        assert_eq!(pages.ask_again(), []);
    }

    #[test]
    fn answers_that_were_not_asked_for_or_make_no_sense_are_left_out() {
        let mut pages = pages();
        assert!(!pages.note(NodeId(9), &bound(""), page(&[], false)), "not contacted");
        assert!(!pages.note(A, &bound("x"), page(&[], false)), "another question");
        assert!(!pages.note(A, &bound(""), page(&["b1", "a1"], false)), "out of order");
        assert!(!pages.note(A, &bound(""), page(&[], true)), "no progress");
        assert!(pages.note(A, &bound(""), page(&["a1"], false)));
        assert!(!pages.note(A, &bound(""), page(&["a1"], false)), "a second answer");
    }

    #[test]
    fn whom_a_scan_needs_are_few_and_enough() {
        let lists = BTreeSet::from([[1, 2, 3], [2, 3, 4], [3, 4, 1], [4, 1, 2]].map(|list| list.map(NodeId).to_vec()));
        let pages = ScanPages::new(KeyRange::default(), 2, lists.clone(), Planted::NONE);
        let all = [1, 2, 3, 4].map(NodeId);
        let chosen = pages.choose(&all).expect("enough");
        assert!(chosen.len() <= 3, "{chosen:?}");
        assert!(lists.iter().all(|list| list.iter().filter(|node| chosen.contains(node)).count() >= 2));
        assert_eq!(pages.choose(&all[..2]), None);
    }

    #[test]
    fn a_page_that_is_full_ends_behind_its_last_row() {
        let mut pages = pages();
        for node in [A, B] {
            assert!(pages.note(node, &bound(""), page(&["a1", "b1", "c1"], false)));
        }
        let decided = pages.decide(|_| vec![A, B], |decided| decided.key == key("b"));
        assert_eq!(decided.len(), 2);
        assert_eq!(pages.next(), Some(bound("b\0")));
    }
}
