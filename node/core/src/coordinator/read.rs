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

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;

use rand::seq::SliceRandom;

use super::answers::{Answer, Difference, ReadWork, Repair, Step};
use super::{Admitted, Conditions, Work};
use crate::failure_detector::Opinion;
use crate::hints::{Kind, Put};
use crate::message::{OperationId, PeerMessage, ReadAnswer};
use crate::timers::Timer;
use crate::{
    ClientError, ClientResponse, Key, Lane, Mark, NodeId, ReadOptions, ReadRepair, Replica, RequestId, Time, Version,
    planted,
};

impl Replica {
    /// A client wants what is stored under `key`.
    pub(crate) fn coordinate_read(&mut self, request_id: RequestId, key: Key, options: ReadOptions) {
        self.counters.reads_coordinated += 1;
        if let Err(error) = self.begin_read(request_id, key, options) {
            self.output.reply.push((request_id, ClientResponse::Failed(error)));
        }
    }

    fn begin_read(&mut self, request_id: RequestId, key: Key, options: ReadOptions) -> Result<(), ClientError> {
        let ReadOptions { level, primaries } = options;
        let conditions = Conditions { level, primaries, durable: None, is_write: false };
        let Admitted { replicas, needed, mut primaries } = self.admit(&key, conditions)?;
        if planted!(self.planted, ReadPrimariesIgnored) {
            primaries = 0;
        }
        let own = replicas.contains(&self.identity) && self.is_ready();
        if !own && replicas.contains(&self.identity) {
            self.counters.mark(Mark::OwnCopyLeftOut);
        }
        let stand_ins =
            if planted!(self.planted, StandInNotRead) { Vec::new() } else { self.stand_ins(&key, &replicas) };
        let mut others: Vec<NodeId> = replicas.into_iter().filter(|node| *node != self.identity).collect();
        // A new order for each read, so that load and staleness spread.
        others.shuffle(&mut self.coordinator.read_order);
        let usable = usize::from(own) + others.iter().filter(|node| self.is_usable(**node)).count();
        if usable < primaries {
            self.counters.mark(Mark::ReadUnavailable);
            return Err(self.unavailable(options.primaries.unwrap_or(level), "primary ", primaries, usable));
        }
        if usable + stand_ins.len() < needed {
            self.counters.mark(Mark::ReadUnavailable);
            return Err(self.unavailable(level, "", needed, usable + stand_ins.len()));
        }
        let id = self.coordinator.next_operation();
        let mut work = ReadWork::new(needed, others);
        work.planted = self.planted;
        work.primaries = primaries;
        work.uncontacted.extend(stand_ins.iter().map(|stand_in| stand_in.node));
        work.stand_ins = stand_ins.into_iter().map(|stand_in| (stand_in.node, stand_in.owner)).collect();
        if own {
            self.counters.replica_reads += 1;
            work.answers.insert(self.identity, Answer::Full(self.store.get(&key).cloned()));
        }
        let mut asks = Vec::new();
        while work.answers.len() < needed {
            let peer = self.take_uncontacted(&mut work).expect("enough usable replicas were counted above");
            let digest_only = self.config.digest_reads && !work.answers.is_empty();
            work.answers.insert(peer, if digest_only { Answer::DigestAsked } else { Answer::FullAsked });
            asks.push((peer, work.owner(peer), digest_only));
        }
        for (peer, owner, digest_only) in asks {
            self.ask_for_read(id, peer, owner, &key, &mut work, digest_only);
        }
        self.put_in_work(id, request_id, key, Work::Read(work));
        self.advance_read(id);
        Ok(())
    }

    /// Asks a replica, or the node that stands in for it; what this node keeps itself is noted at once.
    fn ask_for_read(
        &mut self,
        id: OperationId,
        node: NodeId,
        owner: NodeId,
        key: &Key,
        work: &mut ReadWork,
        digest_only: bool,
    ) {
        if node == self.identity {
            self.counters.stand_in_reads += 1;
            let kept = self.hints.newest(key, self.now.wall).cloned();
            work.answers.insert(node, Answer::Full(kept));
            return;
        }
        let (operation, key) = (id, key.clone());
        let message = if node == owner {
            PeerMessage::Read { operation, key, digest_only }
        } else {
            PeerMessage::StandInRead { operation, owner, key, digest_only }
        };
        self.send(node, Lane::Data, message);
    }

    /// The best replica not contacted yet: alive before assumed, never dead; stand-ins last.
    fn take_uncontacted(&self, work: &mut ReadWork) -> Option<NodeId> {
        let opinion = |node: NodeId| match node == self.identity {
            true => Opinion::Alive, // as a stand-in
            false => self.detector.opinion(node, self.now.time),
        };
        let (place, _, opinion) = work
            .uncontacted
            .iter()
            .enumerate()
            .map(|(place, node)| (place, work.stand_ins.contains_key(node), opinion(*node)))
            .filter(|(_, _, opinion)| *opinion != Opinion::Dead)
            .min_by_key(|(place, stand_in, opinion)| (*stand_in, *opinion, *place))?;
        (opinion != Opinion::Dead).then(|| work.uncontacted.remove(place))
    }

    fn read_in_work(&mut self, id: OperationId) -> Option<(&Key, &mut ReadWork)> {
        match self.coordinator.operations.get_mut(&id) {
            Some(operation) => match &mut operation.work {
                Work::Read(read) => Some((&operation.key, read)),
                Work::Write(_) | Work::Scan(_) => None,
            },
            None => None,
        }
    }

    /// A replica answered a read.
    pub(crate) fn on_read_reply(&mut self, from: NodeId, id: OperationId, answer: ReadAnswer) {
        let catching_up = answer == ReadAnswer::CatchingUp;
        let Some((_, read)) = self.read_in_work(id) else {
            self.counters.replies_late += 1;
            self.counters.mark(Mark::ReplyLate);
            return;
        };
        if read.repair.is_some() {
            self.counters.replies_late += 1;
            self.counters.mark(Mark::ReplyDuringRepair);
        } else if !read.note(from, answer) {
            self.counters.replies_unexpected += 1;
            self.counters.mark(Mark::ReplyUnexpected);
        } else if catching_up {
            self.counters.mark(Mark::ReplicaNotReady);
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
        let merging = read.merging;
        if merging && !merging_before {
            self.counters.digest_mismatches += 1;
            self.counters.mark(Mark::DigestMismatch);
        }
        match step {
            Step::Wait => {}
            Step::AskFull(nodes) => {
                if !merging {
                    self.counters.mark(Mark::VersionElsewhere);
                }
                for node in nodes {
                    self.ask_again_for_read(id, node, &key);
                }
            }
            Step::Agreed(version) => self.answer_read(id, version),
            Step::Merged(difference) => self.repair_read(id, key, difference),
        }
    }

    /// Asks a node that is part of the read already for the version itself.
    fn ask_again_for_read(&mut self, id: OperationId, node: NodeId, key: &Key) {
        let Some((_, read)) = self.read_in_work(id) else { return };
        // Taken out and put back: asking needs the rest of the node.
        let mut work = core::mem::replace(read, ReadWork::new(0, Vec::new()));
        let owner = work.owner(node);
        self.ask_for_read(id, node, owner, key, &mut work, false);
        let (_, read) = self.read_in_work(id).expect("looked up above");
        *read = work;
    }

    fn answer_read(&mut self, id: OperationId, version: Option<Version>) {
        if let Some(operation) = self.coordinator.operations.get(&id)
            && matches!(&operation.work, Work::Read(read) if read.repair.is_none() && read.answers.len() > 1)
        {
            let begun = Time(operation.deadline.0.saturating_sub(self.config.request_timeout_ms * 1_000_000));
            self.coordinator.latencies.note(begun, self.now.time);
        }
        let stamp = version.as_ref().map(|version| version.stamp);
        self.finish(id, ClientResponse::Read { value: version.and_then(|version| version.value), stamp });
    }

    /// The answers differed and the newest is known: repairs as configured.
    fn repair_read(&mut self, id: OperationId, key: Key, difference: Difference) {
        let mut difference = difference;
        let Some(version) = difference.newest.clone() else { return self.answer_read(id, None) };
        let expired = self.store.is_expired(&version, self.now.wall);
        if expired {
            self.counters.mark(Mark::ExpiredNotSpread);
        }
        let spread = planted!(self.planted, ExpiredTombstoneSpread);
        let stale = difference.lacking(|_| expired && !spread);
        let Difference { holders, .. } = difference;
        if stale.is_empty() {
            self.counters.mark(Mark::MismatchGone);
            return self.answer_read(id, Some(version));
        }
        let (_, read) = self.read_in_work(id).expect("the caller looked the read up");
        let needed = read.needed;
        let read_repair = match self.config.read_repair {
            ReadRepair::Blocking if planted!(self.planted, RepairAfterAnswer) => ReadRepair::Async,
            configured => configured,
        };
        match read_repair {
            ReadRepair::None => {
                self.counters.mark(Mark::RepairLeftOut);
                self.answer_read(id, Some(version));
            }
            ReadRepair::Async => {
                self.counters.mark(Mark::RepairAsync);
                for node in stale {
                    self.send_repair(id, node, &key, &version);
                }
                // Nobody waits for these: what is sent after the answer or before it leaves at the same moment.
                self.answer_read(id, Some(version));
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
                    self.counters.mark(Mark::RepairNeedsNoWait);
                    return self.answer_read(id, Some(version));
                }
                self.counters.read_repairs_blocking += 1;
                self.counters.mark(Mark::RepairWaits);
                let (_, read) = self.read_in_work(id).expect("the caller looked the read up");
                read.repair = Some(repair);
                // The patience with repairs begins now, not with the read.
                self.restart_patience(id);
            }
        }
    }

    /// Sends the newest version to a replica that lacks it. Whether it holds it already, being this node itself.
    fn send_repair(&mut self, id: OperationId, node: NodeId, key: &Key, version: &Version) -> bool {
        let bytes = (key.0.len() + version.value.as_ref().map_or(0, |value| value.0.len())) as u64;
        self.counters.read_repairs_sent += 1;
        self.counters.read_repair_bytes += bytes;
        let (records, sum) = self.coordinator.repaired.entry(node).or_default();
        *records += 1;
        *sum += bytes;
        if node == self.identity {
            self.counters.mark(Mark::RepairedOwnCopy);
            return match self.read_in_work(id).map_or(node, |(_, read)| read.owner(node)) {
                owner if owner == node => {
                    self.apply(key.clone(), version.clone());
                    true
                }
                owner => self.keep_for(owner, key, version, Kind::StandIn) == Put::Kept,
            };
        }
        let owner = self.read_in_work(id).map_or(node, |(_, read)| read.owner(node));
        self.send_write(id, node, owner, key.clone(), version.clone());
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
            self.counters.mark(Mark::AckUnexpected);
            return;
        }
        let enough = read.repair.as_ref().filter(|repair| repair.holders.len() >= needed);
        if let Some(newest) = enough.map(|repair| repair.newest.clone()) {
            self.answer_read(id, Some(newest));
        }
    }

    /// The replicas asked so far took too long.
    pub(crate) fn on_patience(&mut self, id: OperationId) {
        let planted = self.planted;
        self.on_scan_patience(id);
        let Some((_, read)) = self.read_in_work(id) else {
            if self.coordinator.operations.contains_key(&id) {
                self.restart_patience(id);
            }
            return;
        };
        if planted!(planted, DowngradedRead)
            && let Some(version) = read.first_full().cloned()
        {
            return self.answer_read(id, version);
        }
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
        let speculative_ms = self.speculative_delay_ms();
        let operation = self.coordinator.operations.get_mut(&id).expect("only for reads in work");
        // Another replica soon; those that were asked already only after the patience, or they would be asked without end.
        let ms = match &operation.work {
            Work::Read(read) if read.repair.is_none() && !read.uncontacted.is_empty() => speculative_ms,
            _ => self.config.repair_patience_ms,
        };
        let at = self.now.time.plus_ms(ms);
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
        let uncontacted = self.take_uncontacted(&mut work);
        let mark = if uncontacted.is_some() { Mark::ReadWidened } else { Mark::ReadAskedAgain };
        let asks = match uncontacted {
            Some(peer) => alloc::vec![peer],
            None => work.silent().into_iter().filter(|node| self.is_usable(*node)).collect(),
        };
        for node in &asks {
            work.answers.insert(*node, Answer::FullAsked);
        }
        work.widened = true;
        // Replicas held for dead now may come back before the deadline, those that are catching up will not.
        let (needed, hopeful) = (work.needed, work.hopeful() + work.uncontacted.len());
        let (_, read) = self.read_in_work(id).expect("looked up above");
        *read = work;
        self.counters.speculative_reads += asks.len() as u64;
        if !asks.is_empty() {
            self.counters.mark(mark);
        }
        for node in asks {
            self.ask_again_for_read(id, node, &key);
        }
        if hopeful < needed {
            self.counters.requests_unavailable += 1;
            self.counters.mark(Mark::ReadGivenUp);
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
            self.counters.mark(Mark::RepairWidened);
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
