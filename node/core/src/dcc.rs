//! The conflict policy `dcc` in a replica: concurrent writes are kept as siblings, a write with a causal context replaces what its
//! client has seen, and deletes leave nothing behind.
//!
//! ```text
//! client write -> a replica of the key makes the dot, joins, sends the container to the other replicas, counts acknowledgements
//!                 (a coordinator that is no replica forwards to one)
//! client read  -> one full read, R - 1 digests; on a mismatch full reads, join, repair as configured
//! in between   -> exchanges of bitmap version vectors with the neighbours in turn, Merkle sessions where those can't help
//! ```
//!
//! Invariants: those of the coordinator (definite means never applied; each replica counts once; bounded work), and those of the
//! causal store. Dots are made by replicas of the key only.
//!
//! Left out: sending a forwarded write again elsewhere. It may have been carried out, and a second dot would make a sibling of it.

mod exchange;
mod read;
mod write;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use self::read::ReadWork;
use self::write::WriteWork;
use crate::causal::{CausalContext, CausalMessage, CausalStore, Exchanges, VersionVector};
use crate::failure_detector::Opinion;
use crate::message::{OperationId, PeerMessage};
use crate::timers::Timer;
use crate::{
    ClientError, ClientErrorKind, ClientResponse, Key, Lane, Level, LocalEntry, Mark, NodeId, Replica, RequestId, Time,
    Value, WallTime,
};

/// Most payload of one answer to a local scan, in bytes.
const SCAN_BYTES: usize = 512 * 1024;

/// Who waits for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Requester {
    Client(RequestId),
    /// A coordinator that is no replica of the key, with its own name for the operation.
    Peer(NodeId, OperationId),
}

#[derive(Debug)]
enum Work {
    Write(WriteWork),
    /// A replica carries it out.
    Forwarded(NodeId),
    Read(ReadWork),
}

/// A request in work.
#[derive(Debug)]
struct Operation {
    requester: Requester,
    key: Key,
    deadline: Time,
    patience: Option<Time>,
    work: Work,
}

/// What a replica has for the policy `dcc`.
#[derive(Debug)]
pub(crate) struct Dcc {
    pub(crate) store: CausalStore,
    pub(crate) exchanges: Exchanges,
    operations: BTreeMap<OperationId, Operation>,
    /// High half of every operation's name, of this process.
    prefix: u64,
    counter: u32,
    /// The neighbour that the schedule chose last.
    exchanged_last: NodeId,
}

impl Dcc {
    pub(crate) fn new(store: CausalStore, incarnation: u64) -> Dcc {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"hearsay dcc");
        hasher.update(&incarnation.to_be_bytes());
        let mut high = [0; 4];
        high.copy_from_slice(&hasher.finalize().as_bytes()[..4]);
        Dcc {
            store,
            exchanges: Exchanges::new(incarnation),
            operations: BTreeMap::new(),
            prefix: u64::from(u32::from_be_bytes(high)) << 32,
            counter: 0,
            exchanged_last: NodeId(0),
        }
    }

    /// Requests in work.
    pub(crate) fn in_work(&self) -> usize {
        self.operations.len()
    }

    fn next_operation(&mut self) -> OperationId {
        loop {
            self.counter = self.counter.wrapping_add(1);
            let id = OperationId(self.prefix | u64::from(self.counter));
            if !self.operations.contains_key(&id) {
                return id;
            }
        }
    }

    /// Entries in key order behind `after`, bounded; see [`LocalEntry`].
    pub(crate) fn scan(&self, after: Option<&Key>, limit: usize) -> (Vec<LocalEntry>, bool) {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for (key, container) in self.store.table_ref().scan(after) {
            bytes += key.0.len() + container.payload_bytes() + container.values().len() + 16;
            if entries.len() == limit || (bytes > SCAN_BYTES && !entries.is_empty()) {
                return (entries, true);
            }
            let values: Vec<&[u8]> = container.values().iter().map(|(_, value)| value.0.as_slice()).collect();
            let mut stamp = [0; 8];
            stamp.copy_from_slice(&self.store.table_ref().digest(key)[..8]);
            let (stamp, value) = (WallTime(u64::from_be_bytes(stamp)), Some(Value(values.join(&b'\n'))));
            entries.push(LocalEntry { key: key.clone(), stamp, value });
        }
        (entries, false)
    }
}

/// A request that passed the checks all requests share.
struct Admitted {
    replicas: Vec<NodeId>,
    needed: usize,
}

impl Replica {
    fn dcc(&mut self) -> &mut Dcc {
        self.dcc.as_mut().expect("only called under the policy dcc")
    }

    fn dcc_store(&self) -> &CausalStore {
        &self.dcc.as_ref().expect("only called under the policy dcc").store
    }

    /// A message of the policy.
    pub(crate) fn on_causal(&mut self, from: NodeId, message: CausalMessage) {
        match message {
            CausalMessage::Write { operation, update } => self.on_causal_write(from, operation, update),
            CausalMessage::WriteAck { operation } => self.on_causal_ack(from, operation),
            CausalMessage::Read { operation, key, digest_only } => {
                self.on_causal_read(from, operation, &key, digest_only);
            }
            CausalMessage::ReadReply { operation, answer } => self.on_causal_reply(from, operation, answer),
            CausalMessage::Forward { operation, key, value, seen, needed } => {
                self.on_forward(from, operation, key, value, seen, usize::from(needed));
            }
            CausalMessage::Forwarded { operation, error } => self.on_forwarded(from, operation, error),
            CausalMessage::Exchange(message) => self.on_exchange(from, message),
            CausalMessage::Sync(message) => self.on_causal_sync(from, message),
        }
    }

    /// A client's write; without a value a delete. An empty context has seen nothing, but of a plain delete: that removes what the
    /// replica that coordinates it knows.
    pub(crate) fn causal_write(
        &mut self,
        request_id: RequestId,
        key: Key,
        value: Option<Value>,
        level: Level,
        context: &[u8],
    ) {
        self.counters.writes_coordinated += 1;
        let begun = self.begin_causal_write(request_id, key, value, level, context);
        if let Err(error) = begun {
            self.output.reply.push((request_id, ClientResponse::Failed(error)));
        }
    }

    fn begin_causal_write(
        &mut self,
        request_id: RequestId,
        key: Key,
        value: Option<Value>,
        level: Level,
        context: &[u8],
    ) -> Result<(), ClientError> {
        let length = value.as_ref().map_or(0, |value| value.0.len());
        if length > Value::LENGTH_MAX {
            return Err(self.refuse(
                Mark::SizeRefused,
                format!("the value has {length} bytes: choose one of at most {} bytes", Value::LENGTH_MAX),
            ));
        }
        let Admitted { replicas, needed } = self.causal_admit(&key, level)?;
        let seen = match CausalContext::decode(context, &key) {
            Ok(_) if context.is_empty() && value.is_none() => None,
            Ok(context) => Some(context.vector),
            Err(error) => return Err(self.refuse(Mark::ContextRefused, format!("{error}"))),
        };
        let usable: Vec<NodeId> = replicas.iter().copied().filter(|node| self.is_reachable(*node)).collect();
        if usable.len() < needed {
            self.counters.mark(Mark::WriteUnavailable);
            return Err(self.causal_unavailable(level, needed, usable.len()));
        }
        let requester = Requester::Client(request_id);
        if replicas.contains(&self.identity) {
            return self.write_here(requester, key, value, seen, needed);
        }
        self.counters.mark(Mark::WriteFromOutside);
        let best = usable.into_iter().min_by_key(|node| self.detector.opinion(*node, self.now.time));
        let to = best.expect("at least one replica is usable");
        let operation = self.put_causal_in_work(requester, key.clone(), Work::Forwarded(to));
        let needed = u8::try_from(needed).expect("no more than the replicas of a key");
        self.send_causal(to, Lane::Data, CausalMessage::Forward { operation, key, value, seen, needed });
        Ok(())
    }

    /// Of several levels the one that needs the most replicas.
    pub(crate) fn highest(&self, levels: impl Iterator<Item = Level>) -> Level {
        levels.max_by_key(|level| level.needed(self.ring.copies())).unwrap_or(Level::Quorum)
    }

    fn causal_admit(&mut self, key: &Key, level: Level) -> Result<Admitted, ClientError> {
        let length = key.0.len();
        if !(1..=Key::LENGTH_MAX).contains(&length) {
            let message = format!("the key has {length} bytes: choose one of 1 to {} bytes", Key::LENGTH_MAX);
            return Err(self.refuse(Mark::SizeRefused, message));
        }
        let replicas = self.ring.replicas(key).to_vec();
        if level == Level::Any {
            let message = "level any counts hints, and there are none under conflict: dcc: choose one or more".into();
            return Err(self.refuse(Mark::LevelRefused, message));
        }
        let needed = level.needed(replicas.len());
        if !(1..=replicas.len()).contains(&needed) {
            let all = replicas.len();
            let message = format!(
                "level {level} needs {needed} replicas, but each key has {all}: choose a level from 1 to {all}"
            );
            return Err(self.refuse(Mark::LevelRefused, message));
        }
        if self.dcc().in_work() >= self.config.requests_max as usize {
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
        Ok(Admitted { replicas, needed })
    }

    fn refuse(&mut self, mark: Mark, message: alloc::string::String) -> ClientError {
        self.counters.requests_refused += 1;
        self.counters.mark(mark);
        ClientError { kind: ClientErrorKind::Refused, message }
    }

    fn causal_unavailable(&mut self, level: Level, needed: usize, usable: usize) -> ClientError {
        self.counters.requests_unavailable += 1;
        ClientError {
            kind: ClientErrorKind::Unavailable,
            message: format!(
                "level {level} needs {needed} replicas, {} can reach {usable}: wait until more are back, or choose a \
                 lower level",
                self.identity
            ),
        }
    }

    fn is_reachable(&self, node: NodeId) -> bool {
        node == self.identity || self.detector.opinion(node, self.now.time) != Opinion::Dead
    }

    fn send_causal(&mut self, to: NodeId, lane: Lane, message: CausalMessage) {
        self.send(to, lane, PeerMessage::Causal(message));
    }

    fn put_causal_in_work(&mut self, requester: Requester, key: Key, work: Work) -> OperationId {
        let id = self.dcc().next_operation();
        let deadline = self.now.time.plus_ms(self.config.request_timeout_ms);
        self.timers.set(deadline, Timer::CausalTimeout(id));
        let patience = matches!(work, Work::Read(_)).then(|| self.now.time.plus_ms(self.config.repair_patience_ms));
        if let Some(at) = patience {
            self.timers.set(at, Timer::CausalPatience(id));
        }
        self.dcc().operations.insert(id, Operation { requester, key, deadline, patience, work });
        id
    }

    /// Answers whoever waits and forgets the request.
    fn finish_causal(&mut self, id: OperationId, response: ClientResponse) {
        let operation = self.dcc().operations.remove(&id).expect("only requests in work are finished");
        self.timers.clear(operation.deadline, Timer::CausalTimeout(id));
        if let Some(at) = operation.patience {
            self.timers.clear(at, Timer::CausalPatience(id));
        }
        match operation.requester {
            Requester::Client(request_id) => self.output.reply.push((request_id, response)),
            Requester::Peer(node, operation) => {
                let error = match response {
                    ClientResponse::Failed(error) => Some(error),
                    _ => None,
                };
                self.send_causal(node, Lane::Data, CausalMessage::Forwarded { operation, error });
            }
        }
    }

    /// The time of a request ran out.
    pub(crate) fn on_causal_timeout(&mut self, id: OperationId) {
        let Some(operation) = self.dcc().operations.get(&id) else { return };
        let (mark, message) = match &operation.work {
            Work::Write(write) => (Mark::WriteTimedOut, write.timeout_message()),
            Work::Forwarded(to) => {
                let message = format!("{to}, which carries the write out, did not answer (it may still take effect)");
                (Mark::WriteTimedOut, message)
            }
            Work::Read(read) => (read.timeout_mark(), read.timeout_message()),
        };
        self.counters.mark(mark);
        self.counters.requests_timed_out += 1;
        let message = format!("{message} within {} ms", self.config.request_timeout_ms);
        self.finish_causal(id, ClientResponse::Failed(ClientError { kind: ClientErrorKind::Timeout, message }));
    }

    fn causal_late(&mut self, mark: Mark) {
        self.counters.replies_late += 1;
        self.counters.mark(mark);
    }

    fn causal_unexpected(&mut self, mark: Mark) {
        self.counters.replies_unexpected += 1;
        self.counters.mark(mark);
    }

    /// What the vector of a client's context covers, for the answer to a read.
    fn siblings(key: &Key, values: Vec<Value>, vector: VersionVector) -> ClientResponse {
        ClientResponse::Siblings { values, context: CausalContext { vector }.encode(key) }
    }
}
