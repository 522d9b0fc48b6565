//! Coordinating a scan: a quorum read of every key in a range, page by page.
//!
//! ```text
//! reading --the page is full, or all is decided--> `none`, `async`, or R hold every version --> answered
//!    ^ |                                               | `blocking`                                 ^
//!    +-+ a replica reached its limit: ask it again     v                                            |
//!                                                  repairing ---R replicas hold every version-------+
//! ```
//!
//! Keys lie on the ring by their hash, so a range of keys lies on all of it: a scan contacts as few nodes as give R answers
//! about every key. Merging, and what keeps rows from going missing, is in [`super::scan_pages`]. Each replica is sent exactly
//! the versions that it lacks, in one message.
//!
//! Bounded: rows and bytes of a page, rounds (a page over many tombstones is answered short, with where to go on), members.
//!
//! Left out: stand-ins are not scanned; repairs of a scan are sent again to the silent, not to further replicas.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rand::seq::SliceRandom;

use super::scan_pages::ScanPages;
use super::{Work, refused};
use crate::message::{OperationId, PeerMessage, ScanAnswer};
use crate::{
    ClientError, ClientResponse, Key, KeyBound, KeyRange, Lane, Level, Mark, NodeId, ReadRepair, Replica, RequestId,
    Row, Version,
};

/// Most rows of a page, and most entries that a replica is asked for at a time.
const ROWS_MAX: u32 = 1_000;
/// Keys and values of a page in bytes, tombstones included, beyond which it is cut.
const PAGE_BYTES: usize = 512 << 10;
/// Answers that a page is made of, for each node; a page that would take more is cut.
const ROUNDS_MAX: usize = 32;
/// A larger cluster is not scanned: each page would need most of its nodes.
const MEMBERS_MAX: usize = 256;

/// A scan in work.
#[derive(Debug)]
pub(super) struct ScanWork {
    pages: ScanPages,
    limit: usize,
    rounds: usize,
    rows: Vec<Row>,
    bytes: usize,
    /// What replicas lack, by key.
    lacking: BTreeMap<Key, Lacking>,
    /// Once the page is done.
    repair: Option<Repair>,
}

#[derive(Debug)]
struct Lacking {
    version: Version,
    holders: usize,
    nodes: Vec<NodeId>,
}

#[derive(Debug)]
struct Repair {
    needed: usize,
    sent: BTreeMap<NodeId, Vec<(Key, Version)>>,
    /// Keys that too few replicas hold yet, and how many more it takes.
    missing: BTreeMap<Key, usize>,
}

impl ScanWork {
    pub(super) fn timeout_message(&self) -> String {
        match &self.repair {
            Some(repair) => format!(
                "the replicas disagreed and of {} keys fewer than {} replicas came to hold the newest version",
                repair.missing.len(),
                repair.needed
            ),
            None => format!("{} of {} nodes answered the scan", self.pages.answered(), self.pages.contacted()),
        }
    }
}

impl Replica {
    /// A client wants the rows of a range.
    pub(crate) fn coordinate_scan(&mut self, request_id: RequestId, range: KeyRange, limit: u32, level: Level) {
        self.counters.scans_coordinated += 1;
        if let Err(error) = self.begin_scan(request_id, range, limit, level) {
            self.output.reply.push((request_id, ClientResponse::Failed(error)));
        }
    }

    fn begin_scan(
        &mut self,
        request_id: RequestId,
        range: KeyRange,
        limit: u32,
        level: Level,
    ) -> Result<(), ClientError> {
        let members = self.ring.members().count();
        let refusal = if limit == 0 {
            Some("the limit of the scan is 0: ask for at least one row".into())
        } else if !range.is_valid() {
            Some(format!("an end of the range is longer than {} bytes: shorten it", KeyBound::LENGTH_MAX))
        } else if members > MEMBERS_MAX {
            Some(format!("a cluster of {members} nodes is not scanned, the limit is {MEMBERS_MAX}: read keys instead"))
        } else {
            None
        };
        if let Some(sentence) = refusal {
            self.counters.requests_refused += 1;
            return Err(refused(sentence));
        }
        let needed = self.check_level(level, false, "")?;
        self.check_in_work()?;
        let ring = self.ring.clone();
        let lists = ring.ranges().filter_map(|range| ring.range_replicas(range.id())).map(<[NodeId]>::to_vec).collect();
        let mut candidates: Vec<NodeId> =
            self.ring.members().filter(|node| *node != self.identity && self.is_usable(*node)).collect();
        candidates.shuffle(&mut self.coordinator.read_order);
        candidates.sort_by_key(|node| self.detector.opinion(*node, self.now.time));
        if self.is_ready() {
            // Its own answers cost nothing.
            candidates.insert(0, self.identity);
        }
        let mut pages = ScanPages::new(range, needed, lists, self.planted);
        let Some(chosen) = pages.choose(&candidates) else {
            self.counters.mark(Mark::ReadUnavailable);
            return Err(self.unavailable(level, "of all ", needed, needed.saturating_sub(1)));
        };
        let id = self.coordinator.next_operation();
        let asks: Vec<(NodeId, KeyRange)> = chosen.into_iter().map(|node| (node, pages.contact(node))).collect();
        let work = ScanWork {
            pages,
            limit: limit.min(ROWS_MAX) as usize,
            rounds: 0,
            rows: Vec::new(),
            bytes: 0,
            lacking: BTreeMap::new(),
            repair: None,
        };
        // A scan is about no single key.
        self.put_in_work(id, request_id, Key(Vec::new()), Work::Scan(work));
        self.ask_for_pages(id, asks);
        Ok(())
    }

    fn scan_in_work(&mut self, id: OperationId) -> Option<&mut ScanWork> {
        match &mut self.coordinator.operations.get_mut(&id)?.work {
            Work::Scan(scan) => Some(scan),
            Work::Read(_) | Work::Write(_) => None,
        }
    }

    /// Asks each node for a page; what this node stores itself is noted at once.
    fn ask_for_pages(&mut self, id: OperationId, asks: Vec<(NodeId, KeyRange)>) {
        let mut own = None;
        for (node, range) in asks {
            if node == self.identity {
                own = Some((range.from.clone(), self.page(&range, ROWS_MAX)));
            } else {
                self.send(node, Lane::Data, PeerMessage::Scan { operation: id, range, limit: ROWS_MAX });
            }
        }
        if let Some((from, answer)) = own {
            self.note_page(self.identity, id, &from, answer);
        }
    }

    /// What this node stores in a range.
    fn page(&mut self, range: &KeyRange, limit: u32) -> ScanAnswer {
        if !self.is_ready() {
            self.counters.replica_reads_refused += 1;
            self.counters.mark(Mark::ReadRefused);
            return ScanAnswer::CatchingUp;
        }
        self.counters.replica_scans += 1;
        let (mut entries, mut bytes, mut more) = (Vec::new(), 0, false);
        // What is held for others, or for later, is no answer.
        let (changing, ring, identity) = (self.topology.is_changing(), self.ring.clone(), self.identity);
        for (key, version) in self.store.table().scan_range(range) {
            if changing && !ring.is_replica(identity, key) {
                continue;
            }
            bytes += size(key, version);
            if entries.len() == limit.min(ROWS_MAX) as usize || (bytes > PAGE_BYTES && !entries.is_empty()) {
                more = true;
                break;
            }
            entries.push((key.clone(), version.clone()));
        }
        ScanAnswer::Page { entries, more }
    }

    /// A coordinator wants a page.
    pub(crate) fn on_scan(&mut self, from: NodeId, operation: OperationId, range: &KeyRange, limit: u32) {
        if !range.is_valid() || limit == 0 {
            self.counters.messages_invalid += 1;
            self.counters.mark(Mark::Invalid);
            return;
        }
        let answer = self.page(range, limit);
        let message = PeerMessage::ScanReply { operation, from: range.from.clone(), answer };
        self.send(from, Lane::Data, message);
    }

    /// A replica gave a page.
    pub(crate) fn on_scan_reply(&mut self, node: NodeId, id: OperationId, from: KeyBound, answer: ScanAnswer) {
        let reading = self.scan_in_work(id).is_some_and(|scan| scan.repair.is_none());
        if !reading {
            self.counters.replies_late += 1;
            self.counters.mark(Mark::ReplyLate);
            return;
        }
        self.note_page(node, id, &from, answer);
    }

    fn note_page(&mut self, node: NodeId, id: OperationId, from: &KeyBound, answer: ScanAnswer) {
        let catching_up = answer == ScanAnswer::CatchingUp;
        let scan = self.scan_in_work(id).expect("only for scans in work");
        if !scan.pages.note(node, from, answer) {
            self.counters.replies_unexpected += 1;
            self.counters.mark(Mark::ReplyUnexpected);
        } else if catching_up {
            self.counters.mark(Mark::ReplicaNotReady);
            self.widen_scan(id);
        } else {
            self.advance_scan(id);
        }
    }

    /// Decides what the pages so far allow.
    fn advance_scan(&mut self, id: OperationId) {
        let ring = self.ring.clone();
        let scan = self.scan_in_work(id).expect("only for scans in work");
        let (limit, mut rows, mut bytes) = (scan.limit, scan.rows.len(), scan.bytes);
        let decided = scan.pages.decide(
            |key| ring.replicas(key).to_vec(),
            |decided| {
                let newest = decided.difference.newest.as_ref();
                rows += usize::from(newest.is_some_and(|version| version.value.is_some()));
                bytes += newest.map_or(0, |version| size(&decided.key, version));
                rows == limit || bytes > PAGE_BYTES
            },
        );
        scan.rounds += 1;
        scan.bytes = bytes;
        for mut decided in decided {
            let Some(version) = decided.difference.newest.clone() else { continue };
            let expired = self.store.is_expired(&version, self.now.wall);
            let nodes = decided.difference.lacking(|_| expired);
            self.counters.scan_tombstones += u64::from(version.value.is_none());
            let scan = self.scan_in_work(id).expect("looked up above");
            if let Some(value) = &version.value {
                scan.rows.push(Row { key: decided.key.clone(), value: value.clone(), stamp: version.stamp });
            }
            if !nodes.is_empty() {
                let holders = decided.difference.holders.len();
                scan.lacking.insert(decided.key, Lacking { version, holders, nodes });
            }
        }
        let scan = self.scan_in_work(id).expect("looked up above");
        let full = scan.rows.len() == limit || scan.bytes > PAGE_BYTES;
        let long = scan.rounds >= ROUNDS_MAX * scan.pages.contacted();
        if full || long || scan.pages.next().is_none() {
            return self.repair_scan(id);
        }
        let asks = scan.pages.ask_again();
        self.counters.scan_pages_again += asks.len() as u64;
        self.ask_for_pages(id, asks);
    }

    /// The page is done: repairs as configured.
    fn repair_scan(&mut self, id: OperationId) {
        let scan = self.scan_in_work(id).expect("only for scans in work");
        let (lacking, needed) = (core::mem::take(&mut scan.lacking), scan.pages.needed());
        if lacking.is_empty() || self.config.read_repair == ReadRepair::None {
            return self.answer_scan(id);
        }
        let mut repair = Repair { needed, sent: BTreeMap::new(), missing: BTreeMap::new() };
        for (key, Lacking { version, mut holders, nodes }) in lacking {
            for node in nodes {
                self.counters.scan_repairs_sent += 1;
                self.counters.read_repair_bytes += size(&key, &version) as u64;
                if node == self.identity {
                    self.apply(key.clone(), version.clone());
                    holders += 1;
                } else {
                    repair.sent.entry(node).or_default().push((key.clone(), version.clone()));
                }
            }
            if holders < needed {
                repair.missing.insert(key, needed - holders);
            }
        }
        for (node, entries) in &repair.sent {
            self.send(*node, Lane::Data, PeerMessage::Merge { operation: id, entries: entries.clone() });
        }
        if repair.missing.is_empty() || self.config.read_repair == ReadRepair::Async {
            return self.answer_scan(id);
        }
        self.counters.read_repairs_blocking += 1;
        self.scan_in_work(id).expect("looked up above").repair = Some(repair);
    }

    fn answer_scan(&mut self, id: OperationId) {
        let scan = self.scan_in_work(id).expect("only for scans in work");
        let response = ClientResponse::Rows { rows: core::mem::take(&mut scan.rows), next: scan.pages.next() };
        self.finish(id, response);
    }

    /// A replica has merged what it lacked.
    pub(super) fn on_scan_repaired(&mut self, from: NodeId, id: OperationId) {
        let scan = self.scan_in_work(id).expect("the caller looked the scan up");
        let repaired = scan.repair.as_mut().and_then(|repair| Some((repair.sent.remove(&from)?, repair)));
        let Some((entries, repair)) = repaired else {
            self.counters.replies_unexpected += 1;
            self.counters.mark(Mark::AckUnexpected);
            return;
        };
        for (key, _) in entries {
            if let Some(missing) = repair.missing.get_mut(&key) {
                *missing -= 1;
                if *missing == 0 {
                    repair.missing.remove(&key);
                }
            }
        }
        if repair.missing.is_empty() {
            self.answer_scan(id);
        }
    }

    /// The nodes asked so far took too long.
    pub(super) fn on_scan_patience(&mut self, id: OperationId) {
        let Some(scan) = self.scan_in_work(id) else { return };
        match scan.repair.as_ref().map(|repair| repair.sent.clone()) {
            Some(silent) => {
                for (node, entries) in silent.into_iter().filter(|(node, _)| self.is_usable(*node)).collect::<Vec<_>>()
                {
                    self.send(node, Lane::Data, PeerMessage::Merge { operation: id, entries });
                }
            }
            None => self.widen_scan(id),
        }
    }

    /// Asks all further nodes that can be reached.
    fn widen_scan(&mut self, id: OperationId) {
        let usable: BTreeSet<NodeId> =
            self.ring.members().filter(|node| *node != self.identity && self.is_usable(*node)).collect();
        let scan = self.scan_in_work(id).expect("only for scans in work");
        let further = usable.into_iter().filter(|node| !scan.pages.is_contacted(*node)).collect::<Vec<_>>();
        let asks: Vec<(NodeId, KeyRange)> = further.into_iter().map(|node| (node, scan.pages.contact(node))).collect();
        self.counters.speculative_reads += asks.len() as u64;
        if !asks.is_empty() {
            self.counters.mark(Mark::ReadWidened);
        }
        self.ask_for_pages(id, asks);
    }
}

fn size(key: &Key, version: &Version) -> usize {
    key.0.len() + version.value.as_ref().map_or(0, |value| value.0.len()) + 16
}
