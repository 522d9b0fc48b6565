//! Coordinating a write or a delete: stamp it, send it to every replica that is not held for dead, count distinct
//! acknowledgements.
//!
//! The coordinator's own copy counts at once when it is a replica: outputs are released in order behind their durable
//! parts, so the client can't hear of it before it is durable.
//!
//! For a replica that is held for dead, with a sloppy quorum a stand-in is sent the write, and counts. Where there is none,
//! and for every replica that has not acknowledged when the time of the request is over, the coordinator keeps a hint, if it
//! is configured to; a hint counts for level `any` alone, and is as durable as everything else before it is answered.
//!
//! Left out: sending again; hints, anti-entropy and read repair bring the silent up to date.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Admitted, Conditions, Work, refused};
use crate::hints::{Kind, Put};
use crate::message::{OperationId, PeerMessage};
use crate::timers::Timer;
use crate::{
    ClientError, ClientResponse, Hints, Key, Lane, Level, Mark, NodeId, Replica, RequestId, Time, Value, Version,
    WallTime, WriteOptions, planted,
};

/// Writes that were answered and miss acknowledgements, as a multiple of `requests_max`; beyond it they are hinted at once.
const UNACKNOWLEDGED_PER_REQUEST: usize = 4;

/// A write in work.
#[derive(Debug)]
pub(super) struct WriteWork {
    needed: usize,
    /// Of these, replicas of the key itself.
    primaries: usize,
    stamp: WallTime,
    /// Level `any`: a hint is enough.
    any: bool,
    /// Who was sent it, and for which replica: itself, or the one it stands in for.
    asked: BTreeMap<NodeId, NodeId>,
    acknowledged: BTreeSet<NodeId>,
    /// Kept while hints may be needed.
    version: Option<Version>,
}

/// A write that was answered, and the replicas that have not acknowledged it.
#[derive(Debug)]
pub(super) struct Unacknowledged {
    key: Key,
    version: Version,
    /// Who was sent it, and for which replica.
    waiting: BTreeMap<NodeId, NodeId>,
    deadline: Time,
}

/// What an acknowledgement meant.
#[derive(Debug, PartialEq, Eq)]
enum Counted {
    /// The level is reached.
    Reached,
    /// Not yet.
    Waiting,
    /// Its sender was not asked, or had acknowledged before.
    Unexpected,
}

impl WriteWork {
    fn on_acknowledged(&mut self, from: NodeId) -> Counted {
        if !self.asked.contains_key(&from) || !self.acknowledged.insert(from) {
            return Counted::Unexpected;
        }
        if self.is_reached() { Counted::Reached } else { Counted::Waiting }
    }

    fn is_reached(&self) -> bool {
        let own = self.acknowledged.iter().filter(|node| self.asked.get(node) == Some(node)).count();
        self.acknowledged.len() >= self.needed && own >= self.primaries
    }

    /// Who has not acknowledged, and for which replica.
    fn waiting(&self) -> BTreeMap<NodeId, NodeId> {
        let silent = self.asked.iter().filter(|(node, _)| !self.acknowledged.contains(node));
        silent.map(|(node, owner)| (*node, *owner)).collect()
    }

    pub(super) fn timeout_message(&self) -> String {
        let of_primaries = if self.primaries > 0 {
            format!(", {} of them replicas of the key themselves,", self.primaries)
        } else {
            String::new()
        };
        format!(
            "{} of {} replicas{of_primaries} acknowledged the write (it may still take effect: read before you write again)",
            self.acknowledged.len(),
            self.needed
        )
    }
}

impl Replica {
    /// A client wants `value` under `key`; `None` deletes.
    pub(crate) fn coordinate_write(
        &mut self,
        request_id: RequestId,
        key: Key,
        value: Option<Value>,
        options: WriteOptions,
    ) {
        self.counters.writes_coordinated += 1;
        if let Err(error) = self.begin_write(request_id, key, value, options) {
            self.output.reply.push((request_id, ClientResponse::Failed(error)));
        }
    }

    fn begin_write(
        &mut self,
        request_id: RequestId,
        key: Key,
        value: Option<Value>,
        options: WriteOptions,
    ) -> Result<(), ClientError> {
        let length = value.as_ref().map_or(0, |value| value.0.len());
        if length > Value::LENGTH_MAX {
            self.counters.requests_refused += 1;
            self.counters.mark(Mark::SizeRefused);
            return Err(refused(format!(
                "the value has {length} bytes: choose one of at most {} bytes",
                Value::LENGTH_MAX
            )));
        }
        let WriteOptions { level, primaries, durable } = options;
        let conditions = Conditions { level, primaries, durable, is_write: true };
        let Admitted { replicas, mut needed, primaries } = self.admit(&key, conditions)?;
        let any = level == Level::Any && primaries == 0 && durable.is_none();
        let all = replicas.len();
        let stand_ins = self.stand_ins(&key, &replicas);
        let (usable, dead): (Vec<NodeId>, Vec<NodeId>) = replicas.iter().partition(|node| self.is_usable(**node));
        let of_primaries = if planted!(self.planted, StandInCountsAsPrimary) { stand_ins.len() } else { 0 };
        if usable.len() + of_primaries < primaries {
            self.counters.mark(Mark::WriteUnavailable);
            let level = options.primaries.unwrap_or(level);
            return Err(self.unavailable(level, "primary ", primaries, usable.len()));
        }
        let mut asked: BTreeMap<NodeId, NodeId> = usable.iter().map(|&node| (node, node)).collect();
        asked.extend(stand_ins.iter().map(|stand_in| (stand_in.node, stand_in.owner)));
        if planted!(self.planted, DeadReplicaCounts) {
            needed = needed.saturating_sub(all - asked.len()).max(1);
        }
        let hints_only = asked.is_empty() && any && self.config.hints == Hints::Coordinator;
        let of_hints = if planted!(self.planted, HintCounts) { dead.len() } else { 0 };
        if asked.len() + of_hints < needed && !hints_only {
            self.counters.mark(Mark::WriteUnavailable);
            return Err(self.unavailable(level, "", needed, asked.len()));
        }
        let mut wall = self.now.wall;
        if planted!(self.planted, TieBrokenByArrival) {
            wall.0 -= wall.0 % 1_000_000;
        }
        let mut version = Version { stamp: self.coordinator.next_stamp(wall), value };
        if planted!(self.planted, DeleteKeepsStamp)
            && version.value.is_none()
            && let Some(stored) = self.store.get(&key)
        {
            version.stamp = stored.stamp;
        }
        if version.stamp > self.now.wall {
            self.counters.mark(Mark::StampRaised);
        }
        // Hints lie in the same output as everything else of the write: durable before its answer.
        let unserved: Vec<NodeId> =
            dead.into_iter().filter(|dead| !stand_ins.iter().any(|stand_in| stand_in.owner == *dead)).collect();
        let hinted = self.hint(unserved, &key, &version);
        if hints_only && hinted == 0 && !planted!(self.planted, AnyWithoutHint) {
            // Nothing was stored or sent: as definite as any other refusal.
            self.counters.mark(Mark::WriteUnavailable);
            return Err(self.unavailable(level, "", needed, 0));
        }
        // From here on nothing but `Written` or `Timeout` may be answered.
        if usable.len() < all {
            self.counters.mark(Mark::WriteSkipsDead);
        }
        let id = self.coordinator.next_operation();
        let local = usable.contains(&self.identity);
        if !local {
            self.counters.mark(Mark::WriteFromOutside);
        }
        let mut own_stand_in = false;
        for (&node, &owner) in &asked {
            if node != self.identity {
                self.send_write(id, node, owner, key.clone(), version.clone());
            } else if owner != self.identity {
                own_stand_in = self.keep_for(owner, &key, &version, Kind::StandIn) == Put::Kept;
            }
        }
        let stamp = version.stamp;
        // The own copy as a replica is acknowledged below, so it alone never needs a hint.
        let may_be_hinted = asked.iter().any(|(node, owner)| *node != self.identity || owner != node);
        let kept = (may_be_hinted && self.config.hints != Hints::None).then(|| version.clone());
        if local {
            self.apply(key.clone(), version);
        }
        let mut work = WriteWork { needed, primaries, stamp, any, asked, acknowledged: BTreeSet::new(), version: kept };
        if planted!(self.planted, ReplicaCountedTwice) && local {
            work.acknowledged.insert(NodeId(0));
        }
        if planted!(self.planted, HintCounts) {
            work.needed = work.needed.saturating_sub(hinted).max(1);
        }
        if planted!(self.planted, StandInCountsAsPrimary) {
            work.asked.iter_mut().for_each(|(node, owner)| *owner = *node);
        }
        self.put_in_work(id, request_id, key, Work::Write(work));
        if local || own_stand_in {
            self.on_write_ack(self.identity, id);
        }
        let hinted = if planted!(self.planted, AnyWithoutHint) && hints_only { 1 } else { hinted };
        if any && hinted > 0 && self.coordinator.operations.contains_key(&id) {
            self.counters.writes_hinted_only += 1;
            self.answer_write(id);
        }
        Ok(())
    }

    /// Sends a version to a replica, or to the node that stands in for it.
    pub(super) fn send_write(&mut self, id: OperationId, node: NodeId, owner: NodeId, key: Key, version: Version) {
        let message = if node == owner {
            PeerMessage::Write { operation: id, key, version }
        } else {
            PeerMessage::StandInWrite { operation: id, owner, key, version }
        };
        self.send(node, Lane::Data, message);
    }

    /// Answers a write. Those that have not acknowledged it yet are waited for still, where hints are kept.
    fn answer_write(&mut self, id: OperationId) {
        let operation = self.coordinator.operations.get_mut(&id).expect("only writes in work are answered");
        let Work::Write(write) = &mut operation.work else { unreachable!("a write") };
        let (stamp, waiting, version) = (write.stamp, write.waiting(), write.version.take());
        let (key, deadline) = (operation.key.clone(), operation.deadline);
        if let Some(version) = version.filter(|_| !waiting.is_empty()) {
            let most = UNACKNOWLEDGED_PER_REQUEST * self.config.requests_max as usize;
            if self.coordinator.unacknowledged.len() < most {
                let unacknowledged = Unacknowledged { key, version, waiting, deadline };
                self.timers.set(deadline, Timer::Unacknowledged(id));
                self.coordinator.unacknowledged.insert(id, unacknowledged);
            } else {
                let others = waiting.into_values().filter(|owner| *owner != self.identity).collect::<BTreeSet<_>>();
                self.hint(others, &key, &version);
            }
        }
        self.finish(id, ClientResponse::Written { stamp });
    }

    /// An acknowledgement for a write that was answered; whether it was missed.
    pub(super) fn on_late_acknowledgement(&mut self, from: NodeId, id: OperationId) -> bool {
        let Some(unacknowledged) = self.coordinator.unacknowledged.get_mut(&id) else { return false };
        let missed = unacknowledged.waiting.remove(&from).is_some();
        if unacknowledged.waiting.is_empty() {
            self.timers.clear(unacknowledged.deadline, Timer::Unacknowledged(id));
            self.coordinator.unacknowledged.remove(&id);
        }
        missed
    }

    /// The time of a write that was answered is over: hints for those that have not acknowledged it.
    pub(crate) fn on_unacknowledged(&mut self, id: OperationId) {
        let Some(unacknowledged) = self.coordinator.unacknowledged.remove(&id) else { return };
        if planted!(self.planted, LateNotHinted) {
            return;
        }
        let Unacknowledged { key, version, waiting, .. } = unacknowledged;
        self.hint(waiting.into_values().collect::<BTreeSet<_>>(), &key, &version);
    }

    /// The time of a write that was not answered is over: hints, too. Whether level `any` was reached by them.
    pub(super) fn hint_timed_out(&mut self, id: OperationId) -> bool {
        let Some(operation) = self.coordinator.operations.get_mut(&id) else { return false };
        let Work::Write(write) = &mut operation.work else { return false };
        let Some(version) = write.version.take() else { return false };
        let (any, waiting) = (write.any, write.waiting());
        let key = operation.key.clone();
        let hinted = self.hint(waiting.into_values().collect::<BTreeSet<_>>(), &key, &version);
        if !any || (hinted == 0 && !planted!(self.planted, AnyWithoutHint)) {
            return false;
        }
        self.counters.writes_hinted_only += 1;
        self.finish(id, ClientResponse::Written { stamp: version.stamp });
        true
    }

    /// Sends a write that timed out again, if it is still what is stored here: a planted bug.
    pub(super) fn write_again(&mut self, id: OperationId) {
        let Some(operation) = self.coordinator.operations.get(&id) else { return };
        let Work::Write(WriteWork { stamp, asked, .. }) = &operation.work else { return };
        let (key, mut asked) = (operation.key.clone(), asked.clone());
        asked.remove(&self.identity);
        let Some(stored) = self.store.get(&key).filter(|stored| stored.stamp == *stamp) else { return };
        let value = stored.value.clone();
        let version = Version { stamp: self.coordinator.next_stamp(self.now.wall), value };
        self.apply(key.clone(), version.clone());
        for (node, owner) in asked {
            self.send_write(id, node, owner, key.clone(), version.clone());
        }
    }

    pub(super) fn on_write_acknowledged(&mut self, from: NodeId, id: OperationId) {
        let Some(Work::Write(write)) = self.coordinator.operations.get_mut(&id).map(|operation| &mut operation.work)
        else {
            unreachable!("the caller looked the write up")
        };
        match write.on_acknowledged(from) {
            Counted::Reached => self.answer_write(id),
            Counted::Waiting => {}
            Counted::Unexpected => {
                self.counters.replies_unexpected += 1;
                self.counters.mark(Mark::AckUnexpected);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(needed: usize, primaries: usize, asked: &[(u16, u16)]) -> WriteWork {
        let asked = asked.iter().map(|&(node, owner)| (NodeId(node), NodeId(owner))).collect();
        let (acknowledged, stamp) = (BTreeSet::new(), WallTime(1));
        WriteWork { needed, primaries, stamp, any: false, asked, acknowledged, version: None }
    }

    #[test]
    fn each_asked_replica_counts_once_and_others_never() {
        let mut write = work(2, 0, &[(1, 1), (2, 2), (3, 3)]);
        assert_eq!(write.on_acknowledged(NodeId(2)), Counted::Waiting);
        assert_eq!(write.on_acknowledged(NodeId(2)), Counted::Unexpected);
        assert_eq!(write.on_acknowledged(NodeId(9)), Counted::Unexpected);
        assert_eq!(write.on_acknowledged(NodeId(1)), Counted::Reached);
    }

    #[test]
    fn a_stand_in_counts_toward_w_and_not_toward_the_primaries() {
        let mut write = work(2, 0, &[(1, 1), (4, 2)]);
        assert_eq!(write.on_acknowledged(NodeId(4)), Counted::Waiting);
        assert_eq!(write.on_acknowledged(NodeId(1)), Counted::Reached);
        let mut write = work(2, 2, &[(1, 1), (4, 2), (3, 3)]);
        assert_eq!(write.on_acknowledged(NodeId(4)), Counted::Waiting);
        assert_eq!(write.on_acknowledged(NodeId(1)), Counted::Waiting);
        assert_eq!(write.waiting(), BTreeMap::from([(NodeId(3), NodeId(3))]));
        assert_eq!(write.on_acknowledged(NodeId(3)), Counted::Reached);
    }
}
