//! Coordinating a write or a delete: stamp it, send it to every replica that is not held for dead, count distinct
//! acknowledgements.
//!
//! The coordinator's own copy counts at once when it is a replica: outputs are released in order behind their durable
//! parts, so the client can't hear of it before it is durable.
//!
//! Left out: hints for replicas held for dead, and sending again; anti-entropy and read repair bring them up to date.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use super::{Admitted, Work, refused};
use crate::message::{OperationId, PeerMessage};
use crate::{
    ClientError, ClientResponse, Key, Lane, Level, Mark, NodeId, Replica, RequestId, Value, Version, WallTime, planted,
};

/// A write in work.
#[derive(Debug)]
pub(super) struct WriteWork {
    needed: usize,
    stamp: WallTime,
    asked: BTreeSet<NodeId>,
    acknowledged: BTreeSet<NodeId>,
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
        if !self.asked.contains(&from) || !self.acknowledged.insert(from) {
            return Counted::Unexpected;
        }
        if self.acknowledged.len() >= self.needed { Counted::Reached } else { Counted::Waiting }
    }

    pub(super) fn timeout_message(&self) -> String {
        format!(
            "{} of {} replicas acknowledged the write (it may still take effect: read before you write again)",
            self.acknowledged.len(),
            self.needed
        )
    }
}

impl Replica {
    /// A client wants `value` under `key`; `None` deletes.
    pub(crate) fn coordinate_write(&mut self, request_id: RequestId, key: Key, value: Option<Value>, level: Level) {
        self.counters.writes_coordinated += 1;
        if let Err(error) = self.begin_write(request_id, key, value, level) {
            self.output.reply.push((request_id, ClientResponse::Failed(error)));
        }
    }

    fn begin_write(
        &mut self,
        request_id: RequestId,
        key: Key,
        value: Option<Value>,
        level: Level,
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
        let Admitted { replicas, mut needed } = self.admit(&key, level)?;
        let all = replicas.len();
        let asked: BTreeSet<NodeId> = replicas.into_iter().filter(|node| self.is_usable(*node)).collect();
        if planted!(self.planted, DeadReplicaCounts) {
            needed = needed.saturating_sub(all - asked.len()).max(1);
        }
        if asked.len() < needed {
            self.counters.mark(Mark::WriteUnavailable);
            return Err(self.unavailable(level, needed, asked.len()));
        }
        // From here on nothing but `Written` or `Timeout` may be answered.
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
        if asked.len() < all {
            self.counters.mark(Mark::WriteSkipsDead);
        }
        let id = self.coordinator.next_operation();
        let local = asked.contains(&self.identity);
        if !local {
            self.counters.mark(Mark::WriteFromOutside);
        }
        for node in &asked {
            if *node != self.identity {
                let message = PeerMessage::Write { operation: id, key: key.clone(), version: version.clone() };
                self.send(*node, Lane::Data, message);
            }
        }
        let stamp = version.stamp;
        if local {
            self.apply(key.clone(), version);
        }
        let mut work = WriteWork { needed, stamp, asked, acknowledged: BTreeSet::new() };
        if planted!(self.planted, ReplicaCountedTwice) && local {
            work.acknowledged.insert(NodeId(0));
        }
        self.put_in_work(id, request_id, key, Work::Write(work));
        if local {
            self.on_write_acknowledged(self.identity, id);
        }
        Ok(())
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
        for node in asked {
            let message = PeerMessage::Write { operation: id, key: key.clone(), version: version.clone() };
            self.send(node, Lane::Data, message);
        }
    }

    pub(super) fn on_write_acknowledged(&mut self, from: NodeId, id: OperationId) {
        let Some(Work::Write(write)) = self.coordinator.operations.get_mut(&id).map(|operation| &mut operation.work)
        else {
            unreachable!("the caller looked the write up")
        };
        match write.on_acknowledged(from) {
            Counted::Reached => {
                let stamp = write.stamp;
                self.finish(id, ClientResponse::Written { stamp });
            }
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

    #[test]
    fn each_asked_replica_counts_once_and_others_never() {
        let mut write = WriteWork {
            needed: 2,
            stamp: WallTime(1),
            asked: BTreeSet::from([NodeId(1), NodeId(2), NodeId(3)]),
            acknowledged: BTreeSet::new(),
        };
        assert_eq!(write.on_acknowledged(NodeId(2)), Counted::Waiting);
        assert_eq!(write.on_acknowledged(NodeId(2)), Counted::Unexpected);
        assert_eq!(write.on_acknowledged(NodeId(9)), Counted::Unexpected);
        assert_eq!(write.on_acknowledged(NodeId(1)), Counted::Reached);
    }
}
