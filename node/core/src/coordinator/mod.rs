//! Coordination: any node takes a client's request and carries it to the replicas of the key.
//!
//! Invariants:
//! - *Definite means never sent.* `Refused`, `Unavailable` and `Overloaded` for a write are answered before anything is
//!   sent or applied; afterwards only `Written` or `Timeout`.
//! - Each replica counts once, however often it answers.
//! - At most `requests_max` requests are in work, each with one deadline.

mod answers;
mod latency;
mod read;
mod scan;
mod scan_pages;
mod stand_ins;
mod write;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rand_chacha::ChaCha8Rng;

use self::answers::ReadWork;
use self::latency::Latencies;
use self::scan::ScanWork;
use self::write::{Unacknowledged, WriteWork};
use crate::message::OperationId;
use crate::timers::Timer;
use crate::{
    ClientError, ClientErrorKind, ClientResponse, Key, Level, Mark, NodeId, ReadOptions, Replica, RequestId, Time,
    WallTime, failure_detector::Opinion, planted,
};

/// One client request in work.
#[derive(Debug)]
struct Operation {
    request_id: RequestId,
    key: Key,
    deadline: Time,
    /// When the patience timer goes off; reads and scans only.
    patience: Option<Time>,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Read(ReadWork),
    Write(WriteWork),
    Scan(ScanWork),
}

/// The requests in work at one node, and what is needed to begin another.
#[derive(Debug)]
pub(crate) struct Coordinator {
    operations: BTreeMap<OperationId, Operation>,
    /// Writes that were answered, and miss acknowledgements still: for hints.
    unacknowledged: BTreeMap<OperationId, Unacknowledged>,
    latencies: Latencies,
    /// High half of every operation id, drawn from the incarnation: a restarted node never takes an answer to its former
    /// self for its own.
    prefix: u64,
    counter: u32,
    last_stamp: WallTime,
    /// Records and bytes that read repairs have sent to each replica, to this node included.
    pub(crate) repaired: BTreeMap<NodeId, (u64, u64)>,
    read_order: ChaCha8Rng,
    /// How far its clock is behind the node's: a planted bug.
    #[cfg(feature = "planted-bugs")]
    pub(crate) clock_behind_ns: u64,
}

impl Coordinator {
    pub(crate) fn new(incarnation: u64, read_order: ChaCha8Rng) -> Coordinator {
        let digest = blake3::hash(&incarnation.to_be_bytes());
        let high = u32::from_be_bytes([
            digest.as_bytes()[0],
            digest.as_bytes()[1],
            digest.as_bytes()[2],
            digest.as_bytes()[3],
        ]);
        Coordinator {
            operations: BTreeMap::new(),
            unacknowledged: BTreeMap::new(),
            latencies: Latencies::default(),
            prefix: u64::from(high) << 32,
            counter: 0,
            last_stamp: WallTime(0),
            repaired: BTreeMap::new(),
            read_order,
            #[cfg(feature = "planted-bugs")]
            clock_behind_ns: 0,
        }
    }

    /// Whom the reads in work have sent repairs to.
    #[cfg(test)]
    pub(crate) fn repairs_sent(&self) -> alloc::vec::Vec<NodeId> {
        let sent = |operation: &Operation| match &operation.work {
            Work::Read(read) => read.repair.as_ref().map(|repair| repair.sent.clone()),
            Work::Write(_) | Work::Scan(_) => None,
        };
        self.operations.values().filter_map(sent).flatten().collect()
    }

    /// Requests in work.
    pub(crate) fn in_work(&self) -> usize {
        self.operations.len()
    }

    /// The stream that orders the replicas of a read.
    pub(crate) fn read_order(&mut self) -> &mut ChaCha8Rng {
        &mut self.read_order
    }

    pub(crate) fn next_operation(&mut self) -> OperationId {
        // The counter wraps after four thousand million requests; one in work for that long would still keep its name.
        loop {
            self.counter = self.counter.wrapping_add(1);
            let id = OperationId(self.prefix | u64::from(self.counter));
            if !self.operations.contains_key(&id) && !self.unacknowledged.contains_key(&id) {
                return id;
            }
        }
    }

    /// Takes everything in work out, to be begun again.
    fn take_all(&mut self) -> BTreeMap<OperationId, Operation> {
        core::mem::take(&mut self.operations)
    }

    /// A stamp newer than all this coordinator gave, even when the wall clock stands still or jumps back.
    fn next_stamp(&mut self, wall: WallTime) -> WallTime {
        #[cfg(feature = "planted-bugs")]
        let wall = WallTime(wall.0.saturating_sub(self.clock_behind_ns));
        self.last_stamp = WallTime(wall.0.max(self.last_stamp.0.saturating_add(1)));
        self.last_stamp
    }
}

/// What a request asks for, before anything is known about the key.
#[derive(Clone, Copy)]
struct Conditions {
    level: Level,
    /// PR or PW.
    primaries: Option<Level>,
    /// DW.
    durable: Option<Level>,
    is_write: bool,
}

/// A request that passed the checks all requests share.
struct Admitted {
    replicas: alloc::vec::Vec<NodeId>,
    /// Replicas or stand-ins; one for `any`.
    needed: usize,
    /// Replicas of the key itself.
    primaries: usize,
}

impl Replica {
    /// The checks before anything is sent: the key, the levels, the bound on requests in work.
    fn admit(&mut self, key: &Key, conditions: Conditions) -> Result<Admitted, ClientError> {
        let length = key.0.len();
        if !(1..=Key::LENGTH_MAX).contains(&length) {
            self.counters.requests_refused += 1;
            self.counters.mark(Mark::SizeRefused);
            return Err(refused(format!("the key has {length} bytes: choose one of 1 to {} bytes", Key::LENGTH_MAX)));
        }
        let replicas = self.ring.replicas(key).to_vec();
        let Conditions { level, primaries, durable, is_write } = conditions;
        let needed = self.check_level(level, is_write, "")?;
        let durable = durable.map_or(Ok(0), |level| self.check_level(level, false, "durable "))?;
        let primaries = primaries.map_or(Ok(0), |level| self.check_level(level, false, "primary "))?;
        self.check_in_work()?;
        Ok(Admitted { replicas, needed: needed.max(durable).max(primaries), primaries })
    }

    /// The replicas that a level needs, if it can ever be met.
    fn check_level(&mut self, level: Level, may_be_any: bool, of: &str) -> Result<usize, ClientError> {
        let copies = self.ring.copies();
        let needed = level.needed(copies);
        let sentence = if level == Level::Any && !may_be_any {
            format!("level any is for the acknowledgement of writes alone: choose {of}one, quorum, all, or a number")
        } else if !(1..=copies).contains(&needed) {
            format!(
                "level {level} needs {needed} {of}replicas, but each key has {copies}: choose a level from 1 to {copies}"
            )
        } else {
            return Ok(needed);
        };
        self.counters.requests_refused += 1;
        self.counters.mark(Mark::LevelRefused);
        Err(refused(sentence))
    }

    fn check_in_work(&mut self) -> Result<(), ClientError> {
        if self.coordinator.in_work() >= self.config.requests_max as usize {
            self.counters.requests_overloaded += 1;
            self.counters.mark(Mark::Overloaded);
            return Err(ClientError {
                kind: ClientErrorKind::Overloaded,
                message: format!(
                    "{} has {} requests in work, its requests_max: try again later or ask another node",
                    self.identity, self.config.requests_max
                ),
            });
        }
        Ok(())
    }

    /// `of` is empty, or says which replicas are too few.
    fn unavailable(&mut self, level: Level, of: &str, needed: usize, usable: usize) -> ClientError {
        self.counters.requests_unavailable += 1;
        ClientError {
            kind: ClientErrorKind::Unavailable,
            message: format!(
                "level {level} needs {needed} {of}replicas, {} can reach {usable}: wait until more are back, or choose a \
                 lower level",
                self.identity
            ),
        }
    }

    /// Whether a message to `node` has a chance: it is this node itself, or not held for dead.
    fn is_usable(&self, node: NodeId) -> bool {
        node == self.identity || self.detector.opinion(node, self.now.time) != Opinion::Dead
    }

    /// Puts a request in work and sets its timers.
    fn put_in_work(&mut self, id: OperationId, request_id: RequestId, key: Key, work: Work) {
        let deadline = self.now.time.plus_ms(self.config.request_timeout_ms);
        self.timers.set(deadline, Timer::RequestTimeout(id));
        let patience = match work {
            Work::Read(_) => Some(self.now.time.plus_ms(self.speculative_delay_ms())),
            Work::Scan(_) => Some(self.now.time.plus_ms(self.config.repair_patience_ms)),
            Work::Write(_) => None,
        };
        if let Some(at) = patience {
            self.timers.set(at, Timer::Patience(id));
        }
        let former = self.coordinator.operations.insert(id, Operation { request_id, key, deadline, patience, work });
        assert!(former.is_none(), "operation {id:?} named twice");
    }

    /// The members changed: every request in work begins again, with other replicas. Its time begins again, too.
    pub(crate) fn begin_requests_again(&mut self) {
        for (id, operation) in self.coordinator.take_all() {
            self.timers.clear(operation.deadline, Timer::RequestTimeout(id));
            if let Some(at) = operation.patience {
                self.timers.clear(at, Timer::Patience(id));
            }
            self.counters.ring_requests_again += 1;
            self.counters.mark(Mark::RequestAgain);
            let Operation { request_id, key, work, .. } = operation;
            match work {
                Work::Read(read) => {
                    let level = Level::Count(u8::try_from(read.needed).unwrap_or(u8::MAX));
                    let primaries = (read.primaries > 0).then_some(read.primaries);
                    let primaries = primaries.map(|count| Level::Count(u8::try_from(count).unwrap_or(u8::MAX)));
                    self.read_again(request_id, key, ReadOptions { level, primaries });
                }
                Work::Write(write) => self.write_in_new_view(request_id, key, write),
                Work::Scan(_) => {
                    let message = "the members changed during the scan: scan again".into();
                    let error = ClientError { kind: ClientErrorKind::Unavailable, message };
                    self.output.reply.push((request_id, ClientResponse::Failed(error)));
                }
            }
        }
    }

    /// A peer did not know the members that writes were sent to it with, and does now: it is sent again what it has not
    /// acknowledged. (Reads ask again by themselves.)
    pub(crate) fn send_writes_again(&mut self, peer: NodeId) {
        let waiting = |(id, operation): (&OperationId, &Operation)| match &operation.work {
            Work::Write(write) => write.unacknowledged(peer).map(|owner| (*id, owner, operation.key.clone())),
            Work::Read(_) | Work::Scan(_) => None,
        };
        let ids: Vec<(OperationId, NodeId, Key)> = self.coordinator.operations.iter().filter_map(waiting).collect();
        for (id, owner, key) in ids {
            let version = match self.coordinator.operations.get(&id).map(|operation| &operation.work) {
                Some(Work::Write(write)) => write.version().clone(),
                _ => continue,
            };
            self.send_write(id, peer, owner, key, version);
        }
    }

    /// Answers the client and forgets the request.
    fn finish(&mut self, id: OperationId, response: ClientResponse) {
        let operation = self.coordinator.operations.remove(&id).expect("only requests in work are finished");
        self.timers.clear(operation.deadline, Timer::RequestTimeout(id));
        if let Some(at) = operation.patience {
            self.timers.clear(at, Timer::Patience(id));
        }
        self.output.reply.push((operation.request_id, response));
    }

    /// The time of a request ran out.
    pub(crate) fn on_request_timeout(&mut self, id: OperationId) {
        let Some(operation) = self.coordinator.operations.get(&id) else { return };
        let (mark, message) = match &operation.work {
            Work::Write(write) => (Mark::WriteTimedOut, write.timeout_message()),
            Work::Read(read) if read.repair.is_some() => (Mark::RepairTimedOut, read.timeout_message()),
            Work::Read(read) => (Mark::ReadTimedOut, read.timeout_message()),
            Work::Scan(scan) => (Mark::ReadTimedOut, scan.timeout_message()),
        };
        let is_write = matches!(operation.work, Work::Write(_));
        if is_write && self.hint_timed_out(id) {
            return;
        }
        self.counters.mark(mark);
        let message = format!("{message} within {} ms", self.config.request_timeout_ms);
        self.counters.requests_timed_out += 1;
        let kind = if planted!(self.planted, TimeoutReportedAsFailed) && is_write {
            ClientErrorKind::Unavailable
        } else {
            ClientErrorKind::Timeout
        };
        if planted!(self.planted, RetryRestamped) && is_write {
            self.write_again(id);
        }
        self.finish(id, ClientResponse::Failed(ClientError { kind, message }));
    }

    /// An acknowledgement of a write or of a repair.
    pub(crate) fn on_write_ack(&mut self, from: NodeId, id: OperationId) {
        match self.coordinator.operations.get(&id).map(|operation| &operation.work) {
            None => {
                if !self.on_late_acknowledgement(from, id) {
                    self.counters.replies_late += 1;
                    self.counters.mark(Mark::AckLate);
                }
            }
            Some(Work::Write(_)) => self.on_write_acknowledged(from, id),
            Some(Work::Read(_)) => self.on_repair_acknowledged(from, id),
            Some(Work::Scan(_)) => {
                self.counters.replies_unexpected += 1;
                self.counters.mark(Mark::AckUnexpected);
            }
        }
    }

    /// A peer has merged what it was sent at once: a batch of what was kept for it, or the repairs of a scan.
    pub(crate) fn on_merge_ack(&mut self, from: NodeId, id: OperationId, foreign: &[u32]) {
        if self.on_handed_over(from, id, foreign) {
            return;
        }
        if matches!(self.coordinator.operations.get(&id).map(|operation| &operation.work), Some(Work::Scan(_))) {
            return self.on_scan_repaired(from, id);
        }
        self.counters.replies_late += 1;
        self.counters.mark(Mark::AckLate);
    }

    /// How long a read waits for a replica before it asks a further one.
    fn speculative_delay_ms(&self) -> u64 {
        let delay_ms = self.config.speculative_delay_ms.unwrap_or(self.config.repair_patience_ms);
        let percentile = self.config.speculative_percentile;
        percentile.and_then(|percentile| self.coordinator.latencies.percentile_ms(percentile)).map_or(delay_ms, |ms| {
            // Never at once: the quickest reads take less than the clock of the timers can tell.
            ms.clamp(1, delay_ms)
        })
    }
}

fn refused(message: String) -> ClientError {
    ClientError { kind: ClientErrorKind::Refused, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::sub_stream;

    fn coordinator(incarnation: u64) -> Coordinator {
        Coordinator::new(incarnation, sub_stream(&[0; 32], "reads"))
    }

    #[test]
    fn stamps_grow_even_when_the_wall_clock_jumps_back() {
        let mut coordinator = coordinator(1);
        let stamps = [100, 50, 50, 200, u64::MAX].map(|wall| coordinator.next_stamp(WallTime(wall)).0);
        assert_eq!(stamps, [100, 101, 102, 200, u64::MAX]);
    }

    #[test]
    fn operations_of_another_incarnation_have_other_names() {
        assert_ne!(coordinator(1).next_operation(), coordinator(2).next_operation());
    }
}
