//! Coordinating a read: one full read, R - 1 digest reads, and what follows when they do not agree.
//!
//! ```text
//! comparing --all R answers agree--------------------------------> answered
//!     | mismatch: full reads from those that gave a digest            ^
//!     v                                                               |
//! merging --R full answers, newest wins; `none`, `async`, or R hold it|
//!     | `blocking`: write the newest to those that answered older     |
//!     v                                                               |
//! repairing --R replicas hold it----------------------------------------
//! ```
//!
//! Each replica's difference (what it answered against the newest) decides what is sent to it, and nothing else is sent.
//! When replicas are silent for the patience, or have not caught up, further ones are asked (a speculative retry);
//! when repairs are not acknowledged in time, the difference goes to replicas that were not part of it yet, and those count.
//!
//! Invariants:
//! - With `blocking`, when an answer leaves, R replicas hold its version durably, so every later read of R replicas meets it
//!   (if R is a quorum).
//! - Answers are judged as they were given: the coordinator's own copy is one answer among R, taken once.
//! - A replica that has not caught up never counts as an answer (its silence would pass for "nothing stored"). It counts as
//!   a holder once it has acknowledged a repair.
//!
//! Source: *Database Internals*, chapter 12, "Read repair" and "Digest reads"; the widening of repairs is Cassandra 4's.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rand::seq::SliceRandom;

use super::{Admitted, Work};
use crate::failure_detector::Opinion;
use crate::message::{OperationId, PeerMessage, ReadAnswer};
use crate::table::version_digest;
use crate::timers::Timer;
use crate::{ClientError, ClientResponse, Key, Lane, Level, NodeId, ReadRepair, Replica, RequestId, Version};

/// What a contacted replica said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// Nothing yet; a digest was asked for.
    DigestAsked,
    /// Nothing yet; the version was asked for.
    FullAsked,
    Digest([u8; 16]),
    Full(Option<Version>),
    CatchingUp,
}

/// Writing the newest version to replicas that lack it.
#[derive(Debug)]
struct Repair {
    newest: Version,
    /// Hold it durably.
    holders: BTreeSet<NodeId>,
    /// Were sent it.
    sent: BTreeSet<NodeId>,
}

/// A read in work.
#[derive(Debug)]
pub(super) struct ReadWork {
    needed: usize,
    /// Replicas that may still be contacted, in this read's order.
    uncontacted: Vec<NodeId>,
    answers: BTreeMap<NodeId, Answer>,
    /// The first answers did not agree: only full answers help.
    merging: bool,
    repair: Option<Repair>,
}

/// What to do with the answers so far.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Wait,
    /// Ask these for the version itself.
    AskFull(Vec<NodeId>),
    /// The answers agree.
    Agreed(Option<Version>),
    /// The newest version, and the difference of each replica to it.
    Merged(Difference),
}

/// What the merge of R full answers found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    newest: Option<Version>,
    /// Answered the newest.
    holders: BTreeSet<NodeId>,
    /// Answered something older.
    older: Vec<NodeId>,
    /// Answered that they store nothing, where others store something.
    absent: Vec<NodeId>,
}

impl ReadWork {
    fn new(needed: usize, uncontacted: Vec<NodeId>) -> ReadWork {
        ReadWork { needed, uncontacted, answers: BTreeMap::new(), merging: false, repair: None }
    }

    /// Notes an answer; false when this replica was not asked, or has answered before.
    fn note(&mut self, from: NodeId, answer: ReadAnswer) -> bool {
        let Some(state) = self.answers.get_mut(&from) else { return false };
        let waiting = matches!(state, Answer::DigestAsked | Answer::FullAsked);
        match answer {
            // A digest that was asked for before the version was: the version is still to come.
            ReadAnswer::Digest(_) if *state == Answer::FullAsked => {}
            ReadAnswer::Digest(digest) if waiting => *state = Answer::Digest(digest),
            ReadAnswer::Full(version) if waiting => *state = Answer::Full(version),
            ReadAnswer::CatchingUp if waiting => *state = Answer::CatchingUp,
            _ => return false,
        }
        true
    }

    /// Judges the answers so far.
    fn step(&mut self, key: &Key) -> Step {
        let full = |answer: &Answer| matches!(answer, Answer::Full(_));
        let fulls = self.answers.values().filter(|answer| full(answer)).count();
        let digests: Vec<NodeId> =
            self.answers.iter().filter(|(_, a)| matches!(a, Answer::Digest(_))).map(|(node, _)| *node).collect();
        if !self.merging {
            if fulls + digests.len() < self.needed {
                return Step::Wait;
            }
            if fulls == 0 {
                // The replica asked for the version is silent or has not caught up.
                let asked = self.answers.values().any(|answer| *answer == Answer::FullAsked);
                return if asked { Step::Wait } else { self.ask_full(digests.into_iter().take(1).collect()) };
            }
            if let Some(version) = self.agreed(key) {
                return Step::Agreed(version);
            }
            self.merging = true;
        }
        if fulls < self.needed {
            return if digests.is_empty() { Step::Wait } else { self.ask_full(digests) };
        }
        Step::Merged(self.difference())
    }

    fn difference(&self) -> Difference {
        let answered = || {
            self.answers.iter().filter_map(|(node, answer)| match answer {
                Answer::Full(version) => Some((*node, version)),
                _ => None,
            })
        };
        let newest = answered().map(|(_, version)| version).max().cloned().flatten();
        let mut difference = Difference { newest, ..Difference::default() };
        for (node, version) in answered() {
            if *version == difference.newest {
                difference.holders.insert(node);
            } else if version.is_some() {
                difference.older.push(node);
            } else {
                difference.absent.push(node);
            }
        }
        difference
    }

    /// The version all answers stand for, if they do.
    fn agreed(&self, key: &Key) -> Option<Option<Version>> {
        let version = self.answers.values().find_map(|answer| match answer {
            Answer::Full(version) => Some(version),
            _ => None,
        })?;
        let digest = version_digest(key, version.as_ref());
        let agrees = self.answers.values().all(|answer| match answer {
            Answer::Full(other) => other == version,
            Answer::Digest(other) => *other == digest,
            Answer::DigestAsked | Answer::FullAsked | Answer::CatchingUp => true,
        });
        agrees.then(|| version.clone())
    }

    fn ask_full(&mut self, nodes: Vec<NodeId>) -> Step {
        for node in &nodes {
            self.answers.insert(*node, Answer::FullAsked);
        }
        Step::AskFull(nodes)
    }

    /// Answers that count or may still come.
    fn hopeful(&self) -> usize {
        self.answers.values().filter(|answer| **answer != Answer::CatchingUp).count()
    }

    /// Contacted replicas that have said nothing yet.
    fn silent(&self) -> Vec<NodeId> {
        self.answers
            .iter()
            .filter(|(_, answer)| matches!(answer, Answer::DigestAsked | Answer::FullAsked))
            .map(|(node, _)| *node)
            .collect()
    }

    pub(super) fn timeout_message(&self) -> String {
        match &self.repair {
            Some(repair) => format!(
                "the replicas disagreed and {} of {} came to hold the newest version",
                repair.holders.len(),
                self.needed
            ),
            None => {
                let answered =
                    self.answers.values().filter(|a| matches!(a, Answer::Digest(_) | Answer::Full(_))).count();
                format!("{answered} of {} replicas answered the read", self.needed)
            }
        }
    }
}

impl Replica {
    /// A client wants what is stored under `key`.
    pub(crate) fn coordinate_read(&mut self, request_id: RequestId, key: Key, level: Level) {
        self.counters.reads_coordinated += 1;
        if let Err(error) = self.begin_read(request_id, key, level) {
            self.output.reply.push((request_id, ClientResponse::Failed(error)));
        }
    }

    fn begin_read(&mut self, request_id: RequestId, key: Key, level: Level) -> Result<(), ClientError> {
        let Admitted { replicas, needed } = self.admit(&key, level)?;
        let own = replicas.contains(&self.identity) && self.is_ready();
        let mut others: Vec<NodeId> = replicas.into_iter().filter(|node| *node != self.identity).collect();
        // A new order for each read, so that load and staleness spread.
        others.shuffle(&mut self.coordinator.read_order);
        let usable = usize::from(own) + others.iter().filter(|node| self.is_usable(**node)).count();
        if usable < needed {
            return Err(self.unavailable(level, needed, usable));
        }
        let id = self.coordinator.next_operation();
        let mut work = ReadWork::new(needed, others);
        if own {
            self.counters.replica_reads += 1;
            work.answers.insert(self.identity, Answer::Full(self.store.get(&key).cloned()));
        }
        let mut asks = Vec::new();
        while work.answers.len() < needed {
            let peer = self.take_uncontacted(&mut work).expect("enough usable replicas were counted above");
            let digest_only = !work.answers.is_empty();
            work.answers.insert(peer, if digest_only { Answer::DigestAsked } else { Answer::FullAsked });
            asks.push((peer, digest_only));
        }
        for (peer, digest_only) in asks {
            self.send(peer, Lane::Data, PeerMessage::Read { operation: id, key: key.clone(), digest_only });
        }
        self.put_in_work(id, request_id, key, Work::Read(work));
        self.advance_read(id);
        Ok(())
    }

    /// The best replica not contacted yet: alive before assumed, never dead.
    fn take_uncontacted(&self, work: &mut ReadWork) -> Option<NodeId> {
        let (place, opinion) = work
            .uncontacted
            .iter()
            .map(|node| self.detector.opinion(*node, self.now.time))
            .enumerate()
            .min_by_key(|(place, opinion)| (*opinion, *place))?;
        (opinion != Opinion::Dead).then(|| work.uncontacted.remove(place))
    }

    fn read_in_work(&mut self, id: OperationId) -> Option<(&Key, &mut ReadWork)> {
        match self.coordinator.operations.get_mut(&id) {
            Some(operation) => match &mut operation.work {
                Work::Read(read) => Some((&operation.key, read)),
                Work::Write(_) => None,
            },
            None => None,
        }
    }

    /// A replica answered a read.
    pub(crate) fn on_read_reply(&mut self, from: NodeId, id: OperationId, answer: ReadAnswer) {
        let catching_up = answer == ReadAnswer::CatchingUp;
        let Some((_, read)) = self.read_in_work(id) else {
            self.counters.replies_late += 1;
            return;
        };
        if read.repair.is_some() {
            self.counters.replies_late += 1;
        } else if !read.note(from, answer) {
            self.counters.replies_unexpected += 1;
        } else if catching_up {
            self.widen_read(id);
        } else {
            self.advance_read(id);
        }
    }

    /// Does what the answers so far allow.
    fn advance_read(&mut self, id: OperationId) {
        let Some((key, read)) = self.read_in_work(id) else { return };
        let key = key.clone();
        let merging_before = read.merging;
        let step = read.step(&key);
        if read.merging && !merging_before {
            self.counters.digest_mismatches += 1;
        }
        match step {
            Step::Wait => {}
            Step::AskFull(nodes) => {
                for node in nodes {
                    self.send(
                        node,
                        Lane::Data,
                        PeerMessage::Read { operation: id, key: key.clone(), digest_only: false },
                    );
                }
            }
            Step::Agreed(version) => self.answer_read(id, version),
            Step::Merged(difference) => self.repair_read(id, key, difference),
        }
    }

    fn answer_read(&mut self, id: OperationId, version: Option<Version>) {
        let stamp = version.as_ref().map(|version| version.stamp);
        self.finish(id, ClientResponse::Read { value: version.and_then(|version| version.value), stamp });
    }

    /// The answers differed and the newest is known: repairs as configured.
    fn repair_read(&mut self, id: OperationId, key: Key, difference: Difference) {
        let Difference { newest, mut holders, older: mut stale, absent } = difference;
        let Some(version) = newest else { return self.answer_read(id, None) };
        if self.store.is_expired(&version, self.now.wall) {
            // Storing nothing is as good as an expired tombstone, and it must not spread.
            holders.extend(absent);
        } else {
            stale.extend(absent);
        }
        if stale.is_empty() {
            return self.answer_read(id, Some(version));
        }
        let (_, read) = self.read_in_work(id).expect("the caller looked the read up");
        let needed = read.needed;
        match self.config.read_repair {
            ReadRepair::None => self.answer_read(id, Some(version)),
            ReadRepair::Async => {
                self.answer_read(id, Some(version.clone()));
                for node in stale {
                    self.send_repair(id, node, &key, &version);
                }
            }
            ReadRepair::Blocking => {
                let mut repair = Repair { newest: version.clone(), holders, sent: BTreeSet::new() };
                for node in stale {
                    repair.sent.insert(node);
                    if self.send_repair(id, node, &key, &version) {
                        repair.holders.insert(node);
                    }
                }
                if repair.holders.len() >= needed {
                    return self.answer_read(id, Some(version));
                }
                self.counters.read_repairs_blocking += 1;
                let (_, read) = self.read_in_work(id).expect("the caller looked the read up");
                read.repair = Some(repair);
                // The patience with repairs begins now, not with the read.
                self.restart_patience(id);
            }
        }
    }

    /// Sends the newest version to a replica that lacks it. Whether it holds it already, being this node itself.
    fn send_repair(&mut self, id: OperationId, node: NodeId, key: &Key, version: &Version) -> bool {
        self.counters.read_repairs_sent += 1;
        if node == self.identity {
            self.apply(key.clone(), version.clone());
            return true;
        }
        let message = PeerMessage::Write { operation: id, key: key.clone(), version: version.clone() };
        self.send(node, Lane::Data, message);
        false
    }

    pub(super) fn on_repair_acknowledged(&mut self, from: NodeId, id: OperationId) {
        let Some((_, read)) = self.read_in_work(id) else { unreachable!("the caller looked the read up") };
        let needed = read.needed;
        let counted = match &mut read.repair {
            Some(repair) => repair.sent.contains(&from) && repair.holders.insert(from),
            None => false,
        };
        if !counted {
            self.counters.replies_unexpected += 1;
            return;
        }
        let enough = read.repair.as_ref().filter(|repair| repair.holders.len() >= needed);
        if let Some(newest) = enough.map(|repair| repair.newest.clone()) {
            self.answer_read(id, Some(newest));
        }
    }

    /// The replicas asked so far took too long.
    pub(crate) fn on_patience(&mut self, id: OperationId) {
        let Some((_, read)) = self.read_in_work(id) else { return };
        if read.repair.is_some() {
            self.widen_repair(id);
        } else {
            self.widen_read(id);
        }
        if self.coordinator.operations.contains_key(&id) {
            self.restart_patience(id);
        }
    }

    fn restart_patience(&mut self, id: OperationId) {
        let at = self.now.time.plus_ms(self.config.repair_patience_ms);
        let operation = self.coordinator.operations.get_mut(&id).expect("only for reads in work");
        if let Some(former) = operation.patience.replace(at) {
            self.timers.clear(former, Timer::Patience(id));
        }
        self.timers.set(at, Timer::Patience(id));
    }

    /// Asks one further replica for the version, or the silent ones again when there is none; gives up when there can't be
    /// enough answers.
    fn widen_read(&mut self, id: OperationId) {
        let Some((key, read)) = self.read_in_work(id) else { return };
        let key = key.clone();
        // Taken out and put back: choosing needs the failure detector.
        let mut work = core::mem::replace(read, ReadWork::new(0, Vec::new()));
        let asks = match self.take_uncontacted(&mut work) {
            Some(peer) => alloc::vec![peer],
            None => work.silent().into_iter().filter(|node| self.is_usable(*node)).collect(),
        };
        for node in &asks {
            work.answers.insert(*node, Answer::FullAsked);
        }
        // Replicas held for dead now may come back before the deadline, those that are catching up will not.
        let (needed, hopeful) = (work.needed, work.hopeful() + work.uncontacted.len());
        let (_, read) = self.read_in_work(id).expect("looked up above");
        *read = work;
        self.counters.speculative_reads += asks.len() as u64;
        for node in asks {
            self.send(node, Lane::Data, PeerMessage::Read { operation: id, key: key.clone(), digest_only: false });
        }
        if hopeful < needed {
            self.counters.requests_unavailable += 1;
            let message = format!(
                "{needed} replicas are needed, but only {hopeful} have caught up after losing their state: wait until the others have"
            );
            let kind = crate::ClientErrorKind::Unavailable;
            self.finish(id, ClientResponse::Failed(ClientError { kind, message }));
            return;
        }
        self.advance_read(id);
    }

    /// Sends the newest version to every reachable replica that was not sent it and is not known to hold it.
    fn widen_repair(&mut self, id: OperationId) {
        let identity = self.identity;
        let Some((key, read)) = self.read_in_work(id) else { return };
        let key = key.clone();
        let needed = read.needed;
        let Some(repair) = &read.repair else { return };
        let newest = repair.newest.clone();
        let known: BTreeSet<NodeId> = repair.holders.union(&repair.sent).copied().collect();
        let further: Vec<NodeId> = self
            .ring
            .replicas(&key)
            .iter()
            .copied()
            .filter(|node| !known.contains(node) && self.is_usable(*node))
            .collect();
        let mut own = false;
        for node in &further {
            self.counters.read_repairs_widened += 1;
            own |= self.send_repair(id, *node, &key, &newest);
        }
        let (_, read) = self.read_in_work(id).expect("looked up above");
        let repair = read.repair.as_mut().expect("looked up above");
        repair.sent.extend(further);
        if own {
            repair.holders.insert(identity);
        }
        if repair.holders.len() >= needed {
            self.answer_read(id, Some(newest));
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{Value, WallTime};

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);

    fn key() -> Key {
        Key(b"k".to_vec())
    }
    fn version(stamp: u64) -> Version {
        Version { stamp: WallTime(stamp), value: Some(Value(vec![7])) }
    }
    fn full(stamp: u64) -> ReadAnswer {
        ReadAnswer::Full(Some(version(stamp)))
    }
    fn digest(stamp: u64) -> ReadAnswer {
        ReadAnswer::Digest(version_digest(&key(), Some(&version(stamp))))
    }
    /// R = 2: the version asked of A, the digest of B.
    fn work() -> ReadWork {
        let mut work = ReadWork::new(2, vec![C]);
        work.answers.insert(A, Answer::FullAsked);
        work.answers.insert(B, Answer::DigestAsked);
        work
    }

    /// Feeds (from, answer) rows; each must be taken, and the step after it is compared.
    fn check(work: &mut ReadWork, rows: Vec<(NodeId, ReadAnswer, Step)>) {
        for (line, (from, answer, expected)) in rows.into_iter().enumerate() {
            assert!(work.note(from, answer), "row {line}");
            assert_eq!(work.step(&key()), expected, "row {line}");
        }
    }

    #[test]
    fn equal_answers_agree_in_any_order() {
        check(&mut work(), vec![(A, full(5), Step::Wait), (B, digest(5), Step::Agreed(Some(version(5))))]);
        check(&mut work(), vec![(B, digest(5), Step::Wait), (A, full(5), Step::Agreed(Some(version(5))))]);
        let nothing = ReadAnswer::Digest(version_digest(&key(), None));
        check(&mut work(), vec![(B, nothing, Step::Wait), (A, ReadAnswer::Full(None), Step::Agreed(None))]);
    }

    #[test]
    fn a_mismatch_asks_for_versions_and_names_the_stale() {
        let merged = Step::Merged(Difference {
            newest: Some(version(6)),
            holders: BTreeSet::from([B]),
            older: vec![A],
            absent: vec![],
        });
        check(
            &mut work(),
            vec![(A, full(5), Step::Wait), (B, digest(6), Step::AskFull(vec![B])), (B, full(6), merged)],
        );
    }

    #[test]
    fn a_mismatch_that_is_gone_when_the_version_comes_names_nobody() {
        let merged = Step::Merged(Difference {
            newest: Some(version(5)),
            holders: BTreeSet::from([A, B]),
            ..Difference::default()
        });
        check(
            &mut work(),
            vec![(A, full(5), Step::Wait), (B, digest(4), Step::AskFull(vec![B])), (B, full(5), merged)],
        );
    }

    #[test]
    fn the_version_is_asked_elsewhere_when_its_replica_has_not_caught_up() {
        let mut work = work();
        work.answers.insert(C, Answer::DigestAsked);
        check(
            &mut work,
            vec![
                (A, ReadAnswer::CatchingUp, Step::Wait),
                (B, digest(5), Step::Wait),
                (C, digest(5), Step::AskFull(vec![B])),
                (B, full(5), Step::Agreed(Some(version(5)))),
            ],
        );
    }

    #[test]
    fn who_was_not_asked_or_answered_before_does_not_count() {
        let mut work = work();
        assert!(!work.note(C, full(9)));
        assert!(work.note(A, full(5)));
        assert!(!work.note(A, full(6)), "a second answer");
        assert_eq!(work.step(&key()), Step::Wait);
    }

    #[test]
    fn a_late_digest_does_not_replace_the_version_that_was_asked_for() {
        let mut work = work();
        work.answers.insert(B, Answer::FullAsked);
        assert!(work.note(B, digest(5)));
        assert!(work.note(A, full(5)));
        assert_eq!(work.step(&key()), Step::Wait);
        assert!(work.note(B, full(5)));
        assert_eq!(work.step(&key()), Step::Agreed(Some(version(5))));
    }
}
