//! The responder: answers each question from the table as it is, and remembers nothing.
//!
//! Invariant: a question is checked from end to end before it has any effect; one that fails is not answered at all.

use alloc::vec::Vec;

use super::pages::{
    LEAF_ENTRIES_MAX, LEAF_PAGES_MAX, LeafSpan, NODES_MAX, PAYLOAD_MAX, Position, VERSIONS_MAX, is_storable, position,
    version_size,
};
use super::{SyncCounters, SyncHost};
use crate::merkle::Hash;
use crate::message::{LeafEntry, LeafPage, Resume, SyncMessage, TreeNode};
use crate::ring::{RangeId, Token};
use crate::table::{LeafItem, Record, Table};
use crate::{Key, Mark};

/// The answer to a question of a peer that shares `ranges` (ascending) with this node; `None`: not a valid question.
pub(super) fn answer<H: SyncHost>(
    message: SyncMessage<H::Stored>,
    ranges: &[RangeId],
    host: &mut H,
    counters: &mut SyncCounters,
) -> Option<SyncMessage<H::Stored>> {
    match message {
        SyncMessage::Nodes { question, nodes } => {
            let differ = differing_nodes(&nodes, ranges, host.table())?;
            Some(SyncMessage::NodesDiffer { question, differ })
        }
        SyncMessage::Leaves { question, pages } => {
            let checked = check_pages(&pages, ranges, host.table())?;
            let LeavesAnswer { push, want, resume, tied } = compare(&checked, &*host);
            if resume.is_some() {
                counters.marks.hit(Mark::LeavesReplyCut);
            }
            if tied {
                counters.marks.hit(Mark::SyncTie);
            }
            counters.keys_sent += push.len() as u64;
            Some(SyncMessage::LeavesReply { question, push, want, resume })
        }
        SyncMessage::Values { question, entries } => {
            take_values(entries, ranges, host, counters)?;
            Some(SyncMessage::ValuesAck { question })
        }
        SyncMessage::NodesDiffer { .. } | SyncMessage::LeavesReply { .. } | SyncMessage::ValuesAck { .. } => None,
    }
}

fn shares(ranges: &[RangeId], range: RangeId) -> bool {
    ranges.binary_search(&range).is_ok()
}

fn differing_nodes(nodes: &[(TreeNode, Hash)], ranges: &[RangeId], table: &mut Table<impl Record>) -> Option<Vec<u32>> {
    if nodes.len() > NODES_MAX || !nodes.iter().all(|(node, _)| shares(ranges, RangeId(node.range))) {
        return None;
    }
    let mut differ = Vec::new();
    for (index, (node, hash)) in (0..).zip(nodes) {
        if table.node_hash(RangeId(node.range), node.level, node.position)? != *hash {
            differ.push(index);
        }
    }
    Some(differ)
}

/// A page that is what it should be.
struct CheckedPage<'a> {
    span: LeafSpan,
    /// The page's entries with their keys' tokens, in the table's order.
    entries: Vec<(Token, &'a LeafEntry)>,
}

fn check_pages<'a>(
    pages: &'a [LeafPage],
    ranges: &[RangeId],
    table: &Table<impl Record>,
) -> Option<Vec<CheckedPage<'a>>> {
    let entries: usize = pages.iter().map(|page| page.entries.len()).sum();
    if pages.len() > LEAF_PAGES_MAX || entries > LEAF_ENTRIES_MAX {
        return None;
    }
    let check = |page: &'a LeafPage| {
        let span = LeafSpan::of_page(page, table).filter(|span| shares(ranges, span.range))?;
        let tokens = table.token_range(span.range)?;
        let entries: Vec<(Token, &LeafEntry)> =
            page.entries.iter().map(|entry| (Token::of_key(&entry.key), entry)).collect();
        let place = |&(token, entry): &(Token, &'a LeafEntry)| position(tokens, token, &entry.key);
        let in_span = entries.iter().all(|(_, entry)| span.contains(table, &entry.key));
        (in_span && entries.is_sorted_by(|a, b| place(a) < place(b))).then_some(CheckedPage { span, entries })
    };
    pages.iter().map(check).collect()
}

struct LeavesAnswer<V> {
    push: Vec<(Key, V)>,
    want: Vec<Key>,
    resume: Option<Resume>,
    /// Some version went both ways.
    tied: bool,
}

/// Compares the initiator's pages with the same spans here, until the answer is full.
fn compare<'a, H: SyncHost>(pages: &[CheckedPage<'_>], host: &'a H) -> LeavesAnswer<H::Stored> {
    let table = host.table_ref();
    let mut answer = LeavesAnswer { push: Vec::new(), want: Vec::new(), resume: None, tied: false };
    let mut pushed_bytes = 0;
    for (index, page) in (0..).zip(pages) {
        let span = &page.span;
        let tokens = table.token_range(span.range).expect("a checked page is of an owned range");
        let end = span.until.as_ref().map(|key| position(tokens, Token::of_key(key), key));
        let place = |item: &LeafItem<'a, H::Stored>| position(tokens, item.token, item.key);
        let in_span = |place: &Position<'_>| end.is_none_or(|end| *place <= end);

        let mut mine = table.leaf(span.range, span.leaf, span.after.as_ref()).peekable();
        let mut theirs = page.entries.iter().peekable();
        let mut answered_to = None;
        loop {
            let my_place = mine.peek().map(place).filter(in_span);
            let their_place = theirs.peek().map(|(token, entry)| position(tokens, *token, &entry.key));
            let (take_mine, take_theirs) = match (my_place, their_place) {
                (None, None) => break,
                (my_place, None) => (my_place.is_some(), false),
                (None, Some(_)) => (false, true),
                (Some(my_place), Some(their_place)) => (my_place <= their_place, their_place <= my_place),
            };
            // Only before a key is taken, so that each answer holds at least one, and the next begins behind it.
            if (take_mine || H::JOINS)
                && !answer.push.is_empty()
                && (pushed_bytes >= PAYLOAD_MAX || answer.push.len() >= VERSIONS_MAX)
            {
                answer.resume = Some(Resume { page: index, after: answered_to });
                return answer;
            }
            let my_item = if take_mine { mine.next() } else { None };
            let their_entry = if take_theirs { theirs.next() } else { None };
            let (mut push, mut want) = (my_item.is_some(), their_entry.is_some());
            if let (Some(item), Some((_, entry))) = (&my_item, their_entry) {
                let (differ, stamp) = (item.digest != entry.digest, item.version.stamp());
                // With equal stamps nobody can tell from here which version wins: both go both ways.
                push = differ && stamp >= entry.stamp;
                want = differ && stamp <= entry.stamp;
                answer.tied |= push && want && !H::JOINS;
            }
            if H::JOINS {
                (push, want) = (push || want, false);
            }
            let key = my_item.as_ref().map(|item| item.key).or(their_entry.map(|(_, entry)| &entry.key));
            if let Some(key) = key.filter(|_| push)
                && let Some(version) = host.outgoing(key)
            {
                pushed_bytes += version_size(key, &version);
                answer.push.push((key.clone(), version));
            }
            if let Some((_, entry)) = their_entry
                && want
            {
                answer.want.push(entry.key.clone());
            }
            answered_to = my_item.map(|item| item.key).or(their_entry.map(|(_, entry)| &entry.key)).cloned();
        }
    }
    answer
}

fn take_values<H: SyncHost>(
    entries: Vec<(Key, H::Stored)>,
    ranges: &[RangeId],
    host: &mut H,
    counters: &mut SyncCounters,
) -> Option<()> {
    let table = host.table();
    let is_shared = |key: &Key| table.owned_range(key).is_some_and(|range| shares(ranges, range));
    let valid = entries.iter().all(|(key, version)| is_storable(key, version) && is_shared(key));
    if entries.len() > VERSIONS_MAX || !valid {
        return None;
    }
    counters.keys_received += entries.len() as u64;
    for (key, version) in entries {
        counters.keys_applied += u64::from(host.merge(key, version));
    }
    Some(())
}
