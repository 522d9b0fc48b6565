//! One session at its initiator: where the walk stands, the question in flight, what the answer leads to.
//!
//! ```text
//! next_question: values wanted? -> Values
//!                leaves enough for a question, or no nodes left to descend? -> Leaves
//!                differing nodes? -> Nodes (their descendants)
//!                shared ranges left? -> Nodes (roots)
//!                nothing -> finished
//! take_answer:   NodesDiffer -> differing nodes, or leaves at the bottom
//!                LeavesReply -> merge what was pushed; values wanted; the rest of cut pages again
//!                ValuesAck   -> on
//! ```
//!
//! The walk goes depth first, so that what a session keeps is bounded by one question's worth of nodes per level.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::pages::{
    LEAF_ENTRIES_MAX, LEAF_PAGES_MAX, LeafSpan, NODES_MAX, PAYLOAD_MAX, VERSIONS_MAX, is_storable, key_size,
    version_size,
};
use super::{SessionReport, SyncCounters, SyncHost};
use crate::message::{LeafEntry, LeafPage, Resume, SyncMessage, TreeNode};
use crate::ring::RangeId;
use crate::table::{Digest, Record, Table, record_digest};
use crate::{Key, Mark, Marks, NodeId, Time, planted};

/// A session that this node initiated.
#[derive(Debug)]
pub(super) struct Session {
    /// When the question in flight counts as lost.
    pub(super) deadline: Time,
    /// Whether a request waits for this session.
    pub(super) requested: bool,
    /// What was done so far.
    pub(super) report: SessionReport,
    /// Whether its next question waits for the pace.
    pub(super) held: bool,
    /// Payload moved since it was charged, both ways.
    pub(super) bytes_moved: u64,
    /// The shared ranges, ascending.
    ranges: Vec<RangeId>,
    /// How many of the ranges' roots were asked about.
    ranges_asked: usize,
    /// Inner nodes found to differ, the deepest last.
    nodes: Vec<TreeNode>,
    /// What is left to compare of leaves found to differ.
    leaves: VecDeque<LeafRest>,
    /// Keys that the responder wants.
    wanted: VecDeque<Key>,
    /// The question in flight and its number.
    asked: Option<(u64, Asked)>,
}

/// A leaf, without the keys up to `after` if some were compared already.
#[derive(Debug)]
struct LeafRest {
    range: RangeId,
    leaf: u32,
    after: Option<Key>,
}

#[derive(Debug)]
enum Asked {
    Nodes(Vec<TreeNode>),
    Leaves(Vec<LeafSpan>),
    Values,
}

/// What comes next in a session.
pub(super) enum Next<V> {
    /// Send this to the responder.
    Ask(SyncMessage<V>),
    /// All shared ranges are compared and repaired.
    Finished,
}

impl Session {
    pub(super) fn new(peer: NodeId, ranges: Vec<RangeId>, requested: bool) -> Session {
        Session {
            deadline: Time(0),
            requested,
            report: SessionReport::new(peer),
            held: false,
            bytes_moved: 0,
            ranges,
            ranges_asked: 0,
            nodes: Vec::new(),
            leaves: VecDeque::new(),
            wanted: VecDeque::new(),
            asked: None,
        }
    }

    /// The next question; `question` is its number.
    pub(super) fn next_question<H: SyncHost>(
        &mut self,
        question: u64,
        levels: u8,
        host: &mut H,
        counters: &mut SyncCounters,
    ) -> Next<H::Stored> {
        assert!(self.asked.is_none(), "a second question while one is in flight");
        let entries = self.wanted_values(host, &mut counters.marks);
        let table = host.table();
        let (asked, message) = if !entries.is_empty() {
            if !self.wanted.is_empty() {
                counters.marks.hit(Mark::ValuesInPieces);
            }
            let bytes: usize = entries.iter().map(|(key, version)| version_size(key, version)).sum();
            self.bytes_moved += bytes as u64;
            counters.keys_sent += entries.len() as u64;
            self.report.keys_sent += entries.len() as u64;
            (Asked::Values, SyncMessage::Values { question, entries })
        } else if !self.leaves.is_empty() && (self.leaves.len() >= LEAF_PAGES_MAX || self.nodes.is_empty()) {
            let (spans, pages) = self.leaf_pages(table);
            if spans.iter().any(|span| span.until.is_some()) {
                counters.marks.hit(Mark::LeafInPages);
            }
            (Asked::Leaves(spans), SyncMessage::Leaves { question, pages })
        } else {
            let nodes = if self.nodes.is_empty() { self.roots() } else { self.descendants(table, levels) };
            if nodes.is_empty() {
                return Next::Finished;
            }
            let with_hash = |node: TreeNode| {
                let hash = table.node_hash(RangeId(node.range), node.level, node.position);
                (node, hash.expect("the walk stays inside the trees of owned ranges"))
            };
            let message = SyncMessage::Nodes { question, nodes: nodes.iter().copied().map(with_hash).collect() };
            (Asked::Nodes(nodes), message)
        };
        self.asked = Some((question, asked));
        self.report.rounds += 1;
        Next::Ask(message)
    }

    /// Takes an answer if it is valid and the awaited one; says whether it was. If not, nothing has changed.
    pub(super) fn take_answer<H: SyncHost>(
        &mut self,
        message: SyncMessage<H::Stored>,
        host: &mut H,
        counters: &mut SyncCounters,
    ) -> bool {
        let taken = match (message, &self.asked) {
            (SyncMessage::NodesDiffer { question, differ }, Some((awaited, Asked::Nodes(nodes))))
                if question == *awaited =>
            {
                let roots = nodes.iter().filter(|node| node.level == 0).count() as u64;
                let nodes = differing(nodes, &differ);
                nodes.map(|nodes| {
                    self.report.ranges_compared += roots;
                    self.take_differing_nodes(nodes, host.table().depth(), counters);
                })
            }
            (SyncMessage::LeavesReply { question, push, want, resume }, Some((awaited, Asked::Leaves(spans))))
                if question == *awaited =>
            {
                let valid = is_valid_reply(spans, &push, &want, resume.as_ref(), host.table());
                let spans = valid.then(|| spans.clone());
                spans.map(|spans| {
                    self.report.keys_received += push.len() as u64;
                    counters.keys_received += push.len() as u64;
                    self.bytes_moved +=
                        push.iter().map(|(key, version)| version_size(key, version) as u64).sum::<u64>();
                    for (key, version) in push {
                        let theirs = H::JOINS.then(|| (key.clone(), stored_form(&key, &version)));
                        counters.keys_applied += u64::from(host.merge(key, version));
                        // What came of it is more than the responder knows.
                        let more = theirs.filter(|(key, digest)| host.table_ref().digest(key) != *digest);
                        self.wanted.extend(more.map(|(key, _)| key));
                    }
                    self.wanted.extend(want);
                    let stops = planted!(host.table_ref().planted(), MerklePageEndSkipped);
                    self.take_compared_leaves(spans, resume, stops, counters);
                })
            }
            (SyncMessage::ValuesAck { question }, Some((awaited, Asked::Values))) if question == *awaited => Some(()),
            _ => None,
        };
        if taken.is_some() {
            self.asked = None;
        }
        taken.is_some()
    }

    /// A message's worth of the wanted versions that are still there.
    fn wanted_values<H: SyncHost>(&mut self, host: &H, marks: &mut Marks) -> Vec<(Key, H::Stored)> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        while bytes < PAYLOAD_MAX && entries.len() < VERSIONS_MAX {
            let Some(key) = self.wanted.pop_front() else { break };
            // A tombstone may have expired since.
            let Some(version) = host.outgoing(&key) else {
                marks.hit(Mark::WantedGone);
                continue;
            };
            bytes += version_size(&key, &version);
            entries.push((key, version));
        }
        entries
    }

    /// Roots of the next ranges.
    fn roots(&mut self) -> Vec<TreeNode> {
        let end = self.ranges.len().min(self.ranges_asked + NODES_MAX);
        let ranges = &self.ranges[self.ranges_asked..end];
        self.ranges_asked = end;
        ranges.iter().map(|range| TreeNode { range: range.0, level: 0, position: 0 }).collect()
    }

    /// Some levels further down from as many differing nodes as one question takes.
    fn descendants(&mut self, table: &Table<impl Record>, levels: u8) -> Vec<TreeNode> {
        let depth = table.depth();
        let skipped = u32::from(planted!(table.planted(), MerkleLastChildSkipped));
        let mut descendants = Vec::new();
        while let Some(&TreeNode { range, level, position }) = self.nodes.last() {
            let below = depth.min(level + levels);
            let width = 1 << (below - level);
            if descendants.len() + width as usize > NODES_MAX {
                break;
            }
            self.nodes.pop();
            let first = position * width;
            descendants.extend((first..first + width - skipped).map(|position| TreeNode {
                range,
                level: below,
                position,
            }));
        }
        descendants
    }

    /// Pages of the next leaves, as many as one question takes.
    fn leaf_pages(&mut self, table: &Table<impl Record>) -> (Vec<LeafSpan>, Vec<LeafPage>) {
        let (mut spans, mut pages) = (Vec::new(), Vec::new());
        let (mut entries_left, mut bytes) = (LEAF_ENTRIES_MAX, 0);
        while pages.len() < LEAF_PAGES_MAX && entries_left > 0 && bytes < PAYLOAD_MAX {
            let Some(rest) = self.leaves.pop_front() else { break };
            let mut entries = Vec::new();
            let mut items = table.leaf(rest.range, rest.leaf, rest.after.as_ref()).peekable();
            while entries_left > 0 && bytes < PAYLOAD_MAX {
                let Some(item) = items.next() else { break };
                entries_left -= 1;
                bytes += key_size(item.key);
                entries.push(LeafEntry { key: item.key.clone(), stamp: item.version.stamp(), digest: item.digest });
            }
            // Cut short: the page ends with its last key. (At least one was taken, or the loop would not have begun.)
            let until = items.peek().and(entries.last()).map(|entry| entry.key.clone());
            let span = LeafSpan { range: rest.range, leaf: rest.leaf, after: rest.after, until };
            pages.push(LeafPage {
                range: span.range.0,
                leaf: span.leaf,
                after: span.after.clone(),
                until: span.until.clone(),
                entries,
            });
            spans.push(span);
        }
        (spans, pages)
    }

    fn take_differing_nodes(&mut self, nodes: Vec<TreeNode>, depth: u8, counters: &mut SyncCounters) {
        let roots = nodes.iter().filter(|node| node.level == 0).count() as u64;
        self.report.ranges_differing += roots;
        counters.ranges_differing += roots;
        for node in nodes {
            if node.level == depth {
                self.leaves.push_back(LeafRest { range: RangeId(node.range), leaf: node.position, after: None });
            } else {
                self.nodes.push(node);
            }
        }
    }

    fn take_compared_leaves(
        &mut self,
        spans: Vec<LeafSpan>,
        resume: Option<Resume>,
        stops_at_page_end: bool,
        counters: &mut SyncCounters,
    ) {
        let resume = resume.unwrap_or(Resume { page: spans.len() as u32, after: None });
        // Backwards, because what is left of them goes to the front.
        for (index, LeafSpan { range, leaf, after, until }) in (0..).zip(spans).collect::<Vec<_>>().into_iter().rev() {
            let after = match index {
                _ if index > resume.page => after,
                _ if index == resume.page => resume.after.clone().or(after),
                _ if until.is_some() && !stops_at_page_end => until,
                _ => {
                    self.report.leaves_compared += 1;
                    counters.leaves_compared += 1;
                    continue;
                }
            };
            self.leaves.push_front(LeafRest { range, leaf, after });
        }
    }
}

/// The digest that the table has of a key once this record is all that is stored under it.
fn stored_form<V: Record>(key: &Key, record: &V) -> Digest {
    record_digest(key, Some(record).filter(|record| !record.is_absent()))
}

/// The nodes at these positions; `None`: positions out of order or out of bounds.
fn differing(nodes: &[TreeNode], positions: &[u32]) -> Option<Vec<TreeNode>> {
    if !positions.is_sorted_by(|a, b| a < b) {
        return None;
    }
    positions.iter().map(|&position| nodes.get(position as usize).copied()).collect()
}

/// Whether all of an answer lies in the pages asked about, and gets the walk further.
fn is_valid_reply<V: Record>(
    spans: &[LeafSpan],
    push: &[(Key, V)],
    want: &[Key],
    resume: Option<&Resume>,
    table: &Table<V>,
) -> bool {
    let by_leaf: BTreeMap<(RangeId, u32), &LeafSpan> =
        spans.iter().map(|span| ((span.range, span.leaf), span)).collect();
    let was_asked = |key: &Key| {
        let span = table.leaf_of(key).and_then(|leaf| by_leaf.get(&leaf));
        span.is_some_and(|span| span.contains(table, key))
    };
    let advances = resume.is_none_or(|resume| match (spans.get(resume.page as usize), &resume.after) {
        (None, _) => false,
        (Some(span), Some(after)) => span.contains(table, after),
        (Some(_), None) => resume.page > 0,
    });
    push.len() <= VERSIONS_MAX
        && want.len() <= LEAF_ENTRIES_MAX
        && push.iter().all(|(key, version)| is_storable(key, version) && was_asked(key))
        && want.iter().all(was_asked)
        && advances
}
