//! Repair on demand: a client asks a node to compare itself with all its neighbours now, and hears what differed.
//!
//! Neighbours that are not alive are left out at once, those that do not finish in time at the end; both are named. What was
//! repaired by then stays repaired.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::anti_entropy::SessionReport;
use crate::failure_detector::Opinion;
use crate::timers::Timer;
use crate::{ClientError, ClientErrorKind, ClientResponse, NodeId, RepairReport, Replica, RequestId, Time};

/// Repairs on demand at one node at once.
const REPAIRS_MAX: usize = 8;
/// How long one may take.
pub(crate) const REPAIR_TIMEOUT_MS: u64 = 600_000;

/// A repair in work.
#[derive(Debug)]
pub(crate) struct Repair {
    request_id: RequestId,
    deadline: Time,
    waiting: BTreeSet<NodeId>,
    left_out: Vec<NodeId>,
    done: Vec<RepairReport>,
}

impl Repair {
    /// Whom it waits for.
    pub(crate) fn waiting_for(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.waiting.iter().copied()
    }

    fn response(self) -> ClientResponse {
        let mut left_out = self.left_out;
        left_out.extend(self.waiting);
        left_out.sort_unstable();
        ClientResponse::Repaired { done: self.done, left_out }
    }
}

impl Replica {
    /// A client wants everything to be compared with every neighbour.
    pub(crate) fn begin_repair(&mut self, request_id: RequestId) {
        if self.repairs.len() >= REPAIRS_MAX {
            self.counters.requests_overloaded += 1;
            let message = alloc::format!("{} has {REPAIRS_MAX} repairs in work: wait for one of them", self.identity);
            let error = ClientError { kind: ClientErrorKind::Overloaded, message };
            return self.output.reply.push((request_id, ClientResponse::Failed(error)));
        }
        let alive = |node: &NodeId| self.detector.opinion(*node, self.now.time) == Opinion::Alive;
        let (waiting, left_out): (Vec<NodeId>, Vec<NodeId>) =
            self.ring.neighbours(self.identity).into_iter().partition(alive);
        let deadline = self.now.time.plus_ms(REPAIR_TIMEOUT_MS);
        self.timers.set(deadline, Timer::Repair);
        let (peers, waiting) = (waiting.clone(), waiting.into_iter().collect());
        self.repairs.push(Repair { request_id, deadline, waiting, left_out, done: Vec::new() });
        peers.into_iter().for_each(|peer| self.request_comparison(peer));
        self.answer_repairs();
    }

    /// A session that began after a request has finished.
    pub(crate) fn note_repaired(&mut self, report: &SessionReport) {
        for repair in &mut self.repairs {
            if repair.waiting.remove(&report.peer) {
                repair.done.push(RepairReport {
                    peer: report.peer,
                    ranges_compared: report.ranges_compared,
                    ranges_differing: report.ranges_differing,
                    leaves_compared: report.leaves_compared,
                    keys_sent: report.keys_sent,
                    keys_received: report.keys_received,
                    rounds: report.rounds,
                });
            }
        }
        self.answer_repairs();
    }

    /// Answers the repairs that are done, and those whose time is over.
    pub(crate) fn answer_repairs(&mut self) {
        let now = self.now.time;
        let (over, going): (Vec<Repair>, Vec<Repair>) = core::mem::take(&mut self.repairs)
            .into_iter()
            .partition(|repair| repair.waiting.is_empty() || repair.deadline <= now);
        self.repairs = going;
        for repair in over {
            if self.repairs.iter().all(|other| other.deadline != repair.deadline) {
                self.timers.clear(repair.deadline, Timer::Repair);
            }
            self.output.reply.push((repair.request_id, repair.response()));
        }
    }
}
