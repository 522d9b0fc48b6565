//! Writes under `dcc`: the dot is made here, the container goes to the other replicas, distinct acknowledgements count.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;

use super::{Requester, Work};
use crate::causal::{CausalMessage, Update, VersionVector};
use crate::message::OperationId;
use crate::{ClientError, ClientErrorKind, ClientResponse, Key, Lane, Mark, NodeId, Replica, Value, WallTime, replica};

/// A write in work.
#[derive(Debug)]
pub(super) struct WriteWork {
    needed: usize,
    asked: BTreeSet<NodeId>,
    acknowledged: BTreeSet<NodeId>,
}

impl WriteWork {
    pub(super) fn timeout_message(&self) -> String {
        format!(
            "{} of {} replicas acknowledged the write (it may still take effect: read before you write again)",
            self.acknowledged.len(),
            self.needed
        )
    }
}

impl Replica {
    /// Coordinates a write of a key of which this node is a replica. Whatever is refused here was not applied.
    pub(super) fn write_here(
        &mut self,
        requester: Requester,
        key: Key,
        value: Option<Value>,
        seen: Option<VersionVector>,
        needed: usize,
    ) -> Result<(), ClientError> {
        let seen = seen.unwrap_or_else(|| self.dcc_store().get(&key).vector().clone());
        if let Err(error) = self.dcc_store().check_write(&key, &seen, value.as_ref()) {
            return Err(self.refuse(Mark::SiblingsRefused, format!("{error}")));
        }
        let replicas = self.ring.replicas(&key).to_vec();
        let asked: BTreeSet<NodeId> = replicas.iter().copied().filter(|node| self.is_reachable(*node)).collect();
        if asked.len() < replicas.len() {
            self.counters.mark(Mark::WriteSkipsDead);
        }
        let dcc = self.dcc.as_mut().expect("only called under the policy dcc");
        let update = dcc.store.write(&key, value, &seen, &mut self.output.durable);
        self.counters.writes_applied += 1;
        let work = WriteWork { needed, asked: asked.clone(), acknowledged: BTreeSet::new() };
        let operation = self.put_causal_in_work(requester, key, Work::Write(work));
        let identity = self.identity;
        for node in asked.into_iter().filter(|node| *node != identity) {
            self.send_causal(node, Lane::Data, CausalMessage::Write { operation, update: update.clone() });
        }
        // Outputs are released behind their durable parts, so the own copy counts at once.
        self.on_causal_ack(self.identity, operation);
        Ok(())
    }

    /// A coordinator that is no replica of the key wants a write to be coordinated here.
    pub(super) fn on_forward(
        &mut self,
        from: NodeId,
        operation: OperationId,
        key: Key,
        value: Option<Value>,
        seen: Option<VersionVector>,
        needed: usize,
    ) {
        let fits = value.as_ref().is_none_or(|value| value.0.len() <= Value::LENGTH_MAX);
        if !replica::is_valid(&key, None) || !fits || needed == 0 || needed > self.ring.copies() {
            self.counters.messages_invalid += 1;
            self.counters.mark(Mark::Invalid);
            return;
        }
        if !self.dcc_store().owns(&key) {
            self.counters.messages_not_owned += 1;
            self.counters.mark(Mark::NotOwned);
            return;
        }
        let usable = self.ring.replicas(&key).iter().filter(|node| self.is_reachable(**node)).count();
        let begun = if self.dcc().in_work() >= self.config.requests_max as usize {
            self.counters.requests_overloaded += 1;
            self.counters.mark(Mark::Overloaded);
            let message = format!("{} has too many requests in work: try again later", self.identity);
            Err(ClientError { kind: ClientErrorKind::Overloaded, message })
        } else if usable < needed {
            self.counters.requests_unavailable += 1;
            self.counters.mark(Mark::WriteUnavailable);
            let message = format!("{needed} replicas are needed, {} can reach {usable}", self.identity);
            Err(ClientError { kind: ClientErrorKind::Unavailable, message })
        } else {
            self.write_here(Requester::Peer(from, operation), key, value, seen, needed)
        };
        if let Err(error) = begun {
            self.send_causal(from, Lane::Data, CausalMessage::Forwarded { operation, error: Some(error) });
        }
    }

    /// A forwarded write is decided.
    pub(super) fn on_forwarded(&mut self, from: NodeId, id: OperationId, error: Option<ClientError>) {
        match self.dcc().operations.get(&id).map(|operation| &operation.work) {
            Some(Work::Forwarded(to)) if *to == from => {
                let written = ClientResponse::Written { stamp: WallTime(0) };
                self.finish_causal(id, error.map_or(written, ClientResponse::Failed));
            }
            Some(_) => self.causal_unexpected(Mark::AckUnexpected),
            None => self.causal_late(Mark::AckLate),
        }
    }

    /// A coordinator wants an update to be joined.
    pub(super) fn on_causal_write(&mut self, from: NodeId, operation: OperationId, update: Update) {
        let dcc = self.dcc.as_mut().expect("only called under the policy dcc");
        match dcc.store.apply(update, &mut self.output.durable) {
            Some(news) => {
                self.counters.writes_applied += u64::from(news);
                self.counters.writes_stale += u64::from(!news);
                self.send_causal(from, Lane::Data, CausalMessage::WriteAck { operation });
            }
            None => {
                self.counters.messages_invalid += 1;
                self.counters.mark(Mark::Invalid);
            }
        }
    }

    /// An acknowledgement of a write or of a repair.
    pub(super) fn on_causal_ack(&mut self, from: NodeId, id: OperationId) {
        let Some(operation) = self.dcc().operations.get_mut(&id) else { return self.causal_late(Mark::AckLate) };
        match &mut operation.work {
            Work::Write(write) => {
                if !write.asked.contains(&from) || !write.acknowledged.insert(from) {
                    return self.causal_unexpected(Mark::AckUnexpected);
                }
                if write.acknowledged.len() >= write.needed {
                    self.finish_causal(id, ClientResponse::Written { stamp: WallTime(0) });
                }
            }
            Work::Read(_) => self.on_causal_repaired(from, id),
            Work::Forwarded(_) => self.causal_unexpected(Mark::AckUnexpected),
        }
    }
}
