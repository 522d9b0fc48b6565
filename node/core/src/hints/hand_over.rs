//! Handing over: batches, pace, back-off; and the node's part in it.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use super::queue::{Kind, Put};
use crate::failure_detector::Opinion;
use crate::message::{OperationId, PeerMessage, ReadAnswer};
use crate::replica::is_valid;
use crate::table::stored_digest;
use crate::timers::Timer;
use crate::{Event, Hints, Key, Lane, Mark, NodeId, Replica, Time, Version, planted};

/// Most records of a batch.
const BATCH_RECORDS: usize = 256;
/// Most bytes of a batch, unless a single record has more.
const BATCH_BYTES: u64 = 256 << 10;
/// Between two looks whether an owner that is out of reach has come back without a link going up.
const LOOK_AGAIN_MS: u64 = 1_000;
/// Longest wait after batches that were not acknowledged.
const BACK_OFF_MAX_MS: u64 = 60_000;

#[derive(Debug)]
struct InFlight {
    operation: OperationId,
    entries: Vec<(Key, Version)>,
    sent: Time,
}

#[derive(Debug, Default)]
struct State {
    in_flight: Option<InFlight>,
    /// Batches in a row that were not acknowledged.
    failures: u32,
    /// When the timer goes off.
    timer: Option<Time>,
}

/// Handing over to every owner that something is kept for.
#[derive(Debug, Default)]
pub(crate) struct HandOver {
    owners: BTreeMap<NodeId, State>,
}

/// How long to wait after so many batches in a row were not acknowledged, in milliseconds.
fn back_off_ms(timeout_ms: u64, failures: u32) -> u64 {
    timeout_ms.saturating_mul(1 << failures.min(16)).min(BACK_OFF_MAX_MS)
}

impl Replica {
    /// Keeps a version for `owner` and sees to it that it is handed over.
    pub(crate) fn keep_for(&mut self, owner: NodeId, key: &Key, version: &Version, kind: Kind) -> Put {
        assert!(owner != self.identity, "a node keeps nothing for itself");
        let output = &mut self.output.durable;
        let put = self.hints.put(owner, key, version, kind, self.now.wall, output, &mut self.counters);
        if put == Put::Kept && !self.hand_over.owners.contains_key(&owner) {
            self.hand_over.owners.insert(owner, State::default());
            self.look_at_owner_in(owner, LOOK_AGAIN_MS);
        }
        put
    }

    /// Hints as configured for replicas that did not take a write; how many are kept.
    pub(crate) fn hint(&mut self, owners: impl IntoIterator<Item = NodeId>, key: &Key, version: &Version) -> usize {
        if self.config.hints == Hints::None {
            return 0;
        }
        if planted!(self.planted, DeletesNotHinted) && version.value.is_none() {
            return 0;
        }
        let kept = |owner: &NodeId| self.keep_for(*owner, key, version, Kind::Hint) == Put::Kept;
        owners.into_iter().filter(kept).count()
    }

    /// Begins to hand over what was recovered at boot. What belongs to nodes that are no replicas of its key any more goes
    /// to those that are.
    pub(crate) fn begin_hand_over(&mut self) {
        let ring = self.ring.clone();
        let misplaced = self.hints.take_misplaced(|owner, key| ring.is_replica(owner, key), &mut self.output.durable);
        for (key, held) in misplaced {
            self.counters.hints_rerouted += 1;
            for &replica in ring.replicas(&key) {
                if replica == self.identity {
                    self.apply(key.clone(), held.version.clone());
                } else {
                    self.keep_for(replica, &key, &held.version, held.kind);
                }
            }
        }
        let owners: Vec<NodeId> = self.hints.pending().map(|(owner, ..)| owner).collect();
        for owner in owners {
            self.hand_over.owners.entry(owner).or_default();
            self.look_at_owner_in(owner, LOOK_AGAIN_MS);
        }
    }

    fn look_at_owner_in(&mut self, owner: NodeId, ms: u64) {
        let at = self.now.time.plus_ms(ms);
        let state = self.hand_over.owners.get_mut(&owner).expect("only for owners that something is kept for");
        if let Some(former) = state.timer.replace(at) {
            self.timers.clear(former, Timer::HandOff(owner));
        }
        self.timers.set(at, Timer::HandOff(owner));
    }

    /// A link to an owner came up: no need to wait.
    pub(crate) fn on_owner_linked(&mut self, owner: NodeId) {
        self.hints.in_reach(owner);
        let Some(state) = self.hand_over.owners.get(&owner).filter(|state| state.in_flight.is_none()) else { return };
        // A link that comes up again and again must not undo the back-off.
        let wait_ms = if state.failures == 0 { 0 } else { self.config.request_timeout_ms };
        if state.timer.is_none_or(|at| at > self.now.time.plus_ms(wait_ms)) {
            self.look_at_owner_in(owner, wait_ms);
        }
    }

    /// The timer of an owner went off: a batch was not acknowledged, or another may go.
    pub(crate) fn on_hand_over_timer(&mut self, owner: NodeId) {
        let Some(state) = self.hand_over.owners.get_mut(&owner) else { return };
        state.timer = None;
        if state.in_flight.take().is_some() {
            state.failures += 1;
            let failures = state.failures;
            self.counters.hints_replay_timeouts += 1;
            return self.look_at_owner_in(owner, back_off_ms(self.config.request_timeout_ms, failures));
        }
        if self.hints.is_empty(owner) {
            self.hand_over.owners.remove(&owner);
            self.hints.in_reach(owner);
            return;
        }
        let entries = self.hints.batch(owner, BATCH_RECORDS, BATCH_BYTES, self.now.wall);
        if entries.is_empty() || self.detector.opinion(owner, self.now.time) == Opinion::Dead {
            // The sweep takes the expired away.
            return self.look_at_owner_in(owner, LOOK_AGAIN_MS);
        }
        let operation = self.coordinator.next_operation();
        if planted!(self.planted, HintRemovedUnsent) {
            for (key, version) in &entries {
                self.hints.remove(owner, key, version, &mut self.output.durable);
            }
        }
        let message = PeerMessage::Merge { operation, entries: entries.clone() };
        self.send(owner, Lane::Bulk, message);
        let state = self.hand_over.owners.get_mut(&owner).expect("looked up above");
        state.in_flight = Some(InFlight { operation, entries, sent: self.now.time });
        self.look_at_owner_in(owner, self.config.request_timeout_ms);
    }

    /// An owner has merged a batch; whether it was one of these.
    pub(crate) fn on_handed_over(&mut self, owner: NodeId, operation: OperationId, foreign: &[u32]) -> bool {
        let Some(state) = self.hand_over.owners.get_mut(&owner) else { return false };
        let Some(batch) = state.in_flight.take_if(|batch| batch.operation == operation) else { return false };
        state.failures = 0;
        let records = batch.entries.len() as u64;
        self.hints.in_reach(owner);
        for (place, (key, version)) in batch.entries.iter().enumerate() {
            // A key that its owner does not replicate can't be handed over: nodes of another ring refuse each other, so
            // there is nobody to send it to instead.
            let is_foreign = foreign.iter().any(|foreign| *foreign as usize == place);
            if self.hints.remove(owner, key, version, &mut self.output.durable).is_some() && !is_foreign {
                self.counters.hints_replayed += 1;
            }
        }
        // The pace: as long as so many records may take, counted from their sending.
        let pace_ms = (records * 1_000).div_ceil(u64::from(self.config.hint_replay_per_s));
        let passed_ms = self.now.time.since_ms(batch.sent);
        self.look_at_owner_in(owner, pace_ms.saturating_sub(passed_ms));
        true
    }

    /// Removes some of what has outlived its time.
    pub(crate) fn sweep_hints(&mut self) {
        let lost = self.hints.sweep(self.now.wall, &mut self.output.durable, &mut self.counters);
        if lost > 0 {
            self.output.events.push(Event::Warning(format!(
                "{lost} writes taken for nodes that never came back were dropped after tombstone_grace_ms"
            )));
        }
    }

    /// A peer hands over what it kept for this node, or repairs it after a scan.
    pub(crate) fn on_merge(&mut self, from: NodeId, operation: OperationId, entries: Vec<(Key, Version)>) {
        let mut foreign = Vec::new();
        for (place, (key, version)) in entries.into_iter().enumerate() {
            if !is_valid(&key, Some(&version)) {
                self.counters.messages_invalid += 1;
                self.counters.mark(Mark::Invalid);
            } else if self.store.owns(&key) {
                self.apply(key, version);
                continue;
            } else {
                self.counters.messages_not_owned += 1;
                self.counters.mark(Mark::NotOwned);
            }
            foreign.push(u32::try_from(place).expect("a frame holds fewer entries"));
        }
        self.send(from, Lane::Data, PeerMessage::MergeAck { operation, foreign });
    }

    /// A coordinator wants to know what is kept here for a replica that it holds for dead.
    pub(crate) fn on_stand_in_read(
        &mut self,
        from: NodeId,
        operation: OperationId,
        owner: NodeId,
        key: &Key,
        digest_only: bool,
    ) {
        if !is_valid(key, None) || !self.ring.is_replica(owner, key) || owner == self.identity {
            self.counters.messages_invalid += 1;
            self.counters.mark(Mark::Invalid);
            return;
        }
        self.counters.stand_in_reads += 1;
        let kept = self.hints.newest(key, self.now.wall);
        let answer = if digest_only {
            ReadAnswer::Digest(stored_digest(self.planted, key, kept))
        } else {
            ReadAnswer::Full(kept.cloned())
        };
        self.send(from, Lane::Data, PeerMessage::ReadReply { operation, answer });
    }

    /// A coordinator wants a version to be kept for a replica that it holds for dead.
    pub(crate) fn on_stand_in_write(
        &mut self,
        from: NodeId,
        operation: OperationId,
        owner: NodeId,
        key: Key,
        version: Version,
    ) {
        if !is_valid(&key, Some(&version)) || !self.ring.is_replica(owner, &key) || owner == self.identity {
            self.counters.messages_invalid += 1;
            self.counters.mark(Mark::Invalid);
            return;
        }
        // No acknowledgement from a full queue: the coordinator goes on without it.
        if self.keep_for(owner, &key, &version, Kind::StandIn) == Put::Kept {
            self.send(from, Lane::Data, PeerMessage::WriteAck { operation });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_limit() {
        let waits: Vec<u64> = (1..=8).map(|failures| back_off_ms(1_000, failures)).collect();
        assert_eq!(waits, [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
        assert_eq!(back_off_ms(u64::MAX, u32::MAX), BACK_OFF_MAX_MS);
    }
}
