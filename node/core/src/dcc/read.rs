//! Reads under `dcc`: one container, R - 1 digests of values; where they differ all containers, joined; repair as configured.
//!
//! Each replica that does not hold what came out of the join is sent it, and nothing else is sent.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rand::seq::SliceRandom;

use super::{Admitted, Requester, Work};
use crate::causal::{CausalAnswer, CausalMessage, Container, Update};
use crate::message::OperationId;
use crate::table::{Record, record_digest};
use crate::timers::Timer;
use crate::{
    ClientError, ClientErrorKind, ClientResponse, Key, Lane, Level, Mark, NodeId, ReadRepair, Replica, RequestId,
};

/// What a contacted replica said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    DigestAsked,
    FullAsked,
    Digest([u8; 16]),
    Full(Container),
    CatchingUp,
}

/// Writing the joined container to replicas that lack some of it.
#[derive(Debug)]
struct Repair {
    joined: Container,
    holders: BTreeSet<NodeId>,
    sent: BTreeSet<NodeId>,
}

/// A read in work.
#[derive(Debug)]
pub(super) struct ReadWork {
    needed: usize,
    uncontacted: Vec<NodeId>,
    answers: BTreeMap<NodeId, Answer>,
    /// Digests did not agree: only containers help.
    merging: bool,
    repair: Option<Repair>,
}

/// What to do with the answers so far.
enum Step {
    Wait,
    AskFull(Vec<NodeId>),
    Agreed(Container),
    /// The join, and who holds less than it.
    Joined(Container, BTreeSet<NodeId>, Vec<NodeId>),
}

/// The digest of a container's values, as it is compared.
fn digest_of(key: &Key, container: &Container) -> [u8; 16] {
    record_digest(key, Some(container).filter(|container| !container.is_absent()))
}

impl ReadWork {
    fn step(&mut self, key: &Key) -> Step {
        let fulls: Vec<(NodeId, &Container)> = self
            .answers
            .iter()
            .filter_map(|(node, answer)| match answer {
                Answer::Full(container) => Some((*node, container)),
                _ => None,
            })
            .collect();
        let digests: Vec<NodeId> =
            self.answers.iter().filter(|(_, a)| matches!(a, Answer::Digest(_))).map(|(node, _)| *node).collect();
        if !self.merging {
            if fulls.len() + digests.len() < self.needed {
                return Step::Wait;
            }
            let Some((_, first)) = fulls.first() else {
                let asked = self.answers.values().any(|answer| *answer == Answer::FullAsked);
                return if asked { Step::Wait } else { self.ask_full(digests.into_iter().take(1).collect()) };
            };
            let digest = digest_of(key, first);
            let agree = self.answers.values().all(|answer| match answer {
                Answer::Full(other) => digest_of(key, other) == digest,
                Answer::Digest(other) => *other == digest,
                _ => true,
            });
            if agree {
                return Step::Agreed((*first).clone());
            }
        }
        let enough = fulls.len() >= self.needed;
        if !enough {
            self.merging = true;
            return if digests.is_empty() { Step::Wait } else { self.ask_full(digests) };
        }
        let mut joined = Container::default();
        fulls.iter().for_each(|(_, container)| joined.join(container));
        let digest = digest_of(key, &joined);
        let (holders, others): (Vec<_>, Vec<_>) =
            fulls.iter().partition(|(_, container)| digest_of(key, container) == digest);
        let nodes = |list: Vec<&(NodeId, &Container)>| list.into_iter().map(|(node, _)| *node).collect::<Vec<_>>();
        let (holders, others) = (nodes(holders.iter().collect()), nodes(others.iter().collect()));
        self.merging = true;
        Step::Joined(joined, holders.into_iter().collect(), others)
    }

    fn ask_full(&mut self, nodes: Vec<NodeId>) -> Step {
        for node in &nodes {
            self.answers.insert(*node, Answer::FullAsked);
        }
        Step::AskFull(nodes)
    }

    /// Notes an answer; false when this replica was not asked, or has answered before.
    fn note(&mut self, from: NodeId, answer: CausalAnswer) -> bool {
        let Some(state) = self.answers.get_mut(&from) else { return false };
        let waiting = matches!(state, Answer::DigestAsked | Answer::FullAsked);
        match answer {
            // A digest that was asked for before the container was.
            CausalAnswer::Digest(_) if *state == Answer::FullAsked => {}
            CausalAnswer::Digest(digest) if waiting => *state = Answer::Digest(digest),
            CausalAnswer::Full(container) if waiting => *state = Answer::Full(container),
            CausalAnswer::CatchingUp if waiting => *state = Answer::CatchingUp,
            _ => return false,
        }
        true
    }

    pub(super) fn timeout_mark(&self) -> Mark {
        if self.repair.is_some() { Mark::RepairTimedOut } else { Mark::ReadTimedOut }
    }

    pub(super) fn timeout_message(&self) -> String {
        let answered = self.answers.values().filter(|a| matches!(a, Answer::Digest(_) | Answer::Full(_))).count();
        match &self.repair {
            Some(repair) => {
                let holders = repair.holders.len();
                format!("the replicas disagreed and {holders} of {} came to hold the same", self.needed)
            }
            None => format!("{answered} of {} replicas answered the read", self.needed),
        }
    }
}

impl Replica {
    /// A client wants what is stored under `key`.
    pub(crate) fn causal_read(&mut self, request_id: RequestId, key: Key, level: Level) {
        self.counters.reads_coordinated += 1;
        if let Err(error) = self.begin_causal_read(request_id, key, level) {
            self.output.reply.push((request_id, ClientResponse::Failed(error)));
        }
    }

    fn begin_causal_read(&mut self, request_id: RequestId, key: Key, level: Level) -> Result<(), ClientError> {
        let Admitted { replicas, needed } = self.causal_admit(&key, level)?;
        let own = replicas.contains(&self.identity) && self.is_ready();
        if !own && replicas.contains(&self.identity) {
            self.counters.mark(Mark::OwnCopyLeftOut);
        }
        let mut others: Vec<NodeId> = replicas.into_iter().filter(|node| *node != self.identity).collect();
        others.shuffle(self.coordinator.read_order());
        others.retain(|node| self.is_reachable(*node));
        others.sort_by_key(|node| self.detector.opinion(*node, self.now.time));
        let usable = usize::from(own) + others.len();
        if usable < needed {
            self.counters.mark(Mark::ReadUnavailable);
            return Err(self.causal_unavailable(level, needed, usable));
        }
        let mut answers = BTreeMap::new();
        if own {
            self.counters.replica_reads += 1;
            answers.insert(self.identity, Answer::Full(self.dcc_store().get(&key)));
        }
        let contacted: Vec<NodeId> = others.drain(..needed - usize::from(own)).collect();
        let mut asks = Vec::new();
        for peer in contacted {
            let digest_only = self.config.digest_reads && !answers.is_empty();
            answers.insert(peer, if digest_only { Answer::DigestAsked } else { Answer::FullAsked });
            asks.push((peer, digest_only));
        }
        let work = ReadWork { needed, uncontacted: others, answers, merging: false, repair: None };
        let id = self.put_causal_in_work(Requester::Client(request_id), key.clone(), Work::Read(work));
        for (peer, digest_only) in asks {
            self.ask_causal(id, peer, &key, digest_only);
        }
        self.advance_causal_read(id);
        Ok(())
    }

    fn ask_causal(&mut self, operation: OperationId, peer: NodeId, key: &Key, digest_only: bool) {
        let message = CausalMessage::Read { operation, key: key.clone(), digest_only };
        self.send_causal(peer, Lane::Data, message);
    }

    /// A coordinator wants to know what is stored here.
    pub(super) fn on_causal_read(&mut self, from: NodeId, operation: OperationId, key: &Key, digest_only: bool) {
        let owned = self.dcc_store().owns(key);
        if self.is_read_out_of_place(key, owned) {
            return;
        }
        let answer = if !self.is_ready() {
            self.counters.replica_reads_refused += 1;
            self.counters.mark(Mark::ReadRefused);
            CausalAnswer::CatchingUp
        } else if digest_only {
            self.counters.replica_digest_reads += 1;
            CausalAnswer::Digest(self.dcc_store().table_ref().digest(key))
        } else {
            self.counters.replica_reads += 1;
            CausalAnswer::Full(self.dcc_store().get(key))
        };
        self.send_causal(from, Lane::Data, CausalMessage::ReadReply { operation, answer });
    }

    fn causal_read_in_work(&mut self, id: OperationId) -> Option<(Key, &mut ReadWork)> {
        match self.dcc().operations.get_mut(&id) {
            Some(operation) => match &mut operation.work {
                Work::Read(read) => Some((operation.key.clone(), read)),
                _ => None,
            },
            None => None,
        }
    }

    /// A replica answered a read.
    pub(super) fn on_causal_reply(&mut self, from: NodeId, id: OperationId, answer: CausalAnswer) {
        let replicas_of = |replica: &Replica, key: &Key| replica.ring.replicas(key).to_vec();
        let catching_up = answer == CausalAnswer::CatchingUp;
        let Some(key) = self.causal_read_in_work(id).map(|(key, _)| key) else {
            return self.causal_late(Mark::ReplyLate);
        };
        if let CausalAnswer::Full(container) = &answer
            && !(container.is_whole(&replicas_of(self, &key)) && container.is_storable())
        {
            self.counters.messages_invalid += 1;
            self.counters.mark(Mark::Invalid);
            return;
        }
        let (_, read) = self.causal_read_in_work(id).expect("looked up above");
        if read.repair.is_some() {
            self.causal_late(Mark::ReplyDuringRepair);
        } else if !read.note(from, answer) {
            self.causal_unexpected(Mark::ReplyUnexpected);
        } else if catching_up {
            self.counters.mark(Mark::ReplicaNotReady);
            self.widen_causal_read(id);
        } else {
            self.advance_causal_read(id);
        }
    }

    fn advance_causal_read(&mut self, id: OperationId) {
        let Some((key, read)) = self.causal_read_in_work(id) else { return };
        let merging_before = read.merging;
        let step = read.step(&key);
        if read.merging && !merging_before {
            self.counters.digest_mismatches += 1;
            self.counters.mark(Mark::DigestMismatch);
        }
        match step {
            Step::Wait => {}
            Step::AskFull(nodes) => nodes.into_iter().for_each(|node| self.ask_causal(id, node, &key, false)),
            Step::Agreed(container) => self.answer_causal_read(id, &key, container),
            Step::Joined(joined, holders, others) => self.repair_causal_read(id, key, joined, holders, others),
        }
    }

    fn answer_causal_read(&mut self, id: OperationId, key: &Key, container: Container) {
        let values = container.values().iter().map(|(_, value)| value.clone()).collect();
        self.finish_causal(id, Replica::siblings(key, values, container.vector().clone()));
    }

    fn repair_causal_read(
        &mut self,
        id: OperationId,
        key: Key,
        joined: Container,
        holders: BTreeSet<NodeId>,
        others: Vec<NodeId>,
    ) {
        if others.is_empty() {
            self.counters.mark(Mark::MismatchGone);
            return self.answer_causal_read(id, &key, joined);
        }
        match self.config.read_repair {
            ReadRepair::None => {
                self.counters.mark(Mark::RepairLeftOut);
                self.answer_causal_read(id, &key, joined);
            }
            ReadRepair::Async => {
                self.counters.mark(Mark::RepairAsync);
                self.answer_causal_read(id, &key, joined.clone());
                for node in others {
                    self.send_causal_repair(id, node, &key, &joined);
                }
            }
            ReadRepair::Blocking => {
                let mut repair = Repair { joined: joined.clone(), holders, sent: BTreeSet::new() };
                for node in others {
                    repair.sent.insert(node);
                    if self.send_causal_repair(id, node, &key, &joined) {
                        repair.holders.insert(node);
                    }
                }
                let (_, read) = self.causal_read_in_work(id).expect("the caller looked the read up");
                if repair.holders.len() >= read.needed {
                    return self.answer_causal_read(id, &key, joined);
                }
                read.repair = Some(repair);
                self.counters.read_repairs_blocking += 1;
                self.counters.mark(Mark::RepairWaits);
                self.restart_causal_patience(id);
            }
        }
    }

    /// Sends the join to a replica that lacks some of it. Whether it holds it already, being this node itself.
    fn send_causal_repair(&mut self, operation: OperationId, node: NodeId, key: &Key, joined: &Container) -> bool {
        self.counters.read_repairs_sent += 1;
        let update = Update { key: key.clone(), container: joined.clone(), dots: Vec::new() };
        if node == self.identity {
            self.counters.mark(Mark::RepairedOwnCopy);
            let dcc = self.dcc.as_mut().expect("only called under the policy dcc");
            return dcc.store.apply(update, &mut self.output.durable).is_some();
        }
        self.send_causal(node, Lane::Data, CausalMessage::Write { operation, update });
        false
    }

    pub(super) fn on_causal_repaired(&mut self, from: NodeId, id: OperationId) {
        let Some((key, read)) = self.causal_read_in_work(id) else { return };
        let needed = read.needed;
        let Some(repair) = read.repair.as_mut().filter(|repair| repair.sent.contains(&from)) else {
            return self.causal_unexpected(Mark::AckUnexpected);
        };
        repair.holders.insert(from);
        if repair.holders.len() >= needed {
            let joined = repair.joined.clone();
            self.answer_causal_read(id, &key, joined);
        }
    }

    /// The replicas asked so far took too long.
    pub(crate) fn on_causal_patience(&mut self, id: OperationId) {
        let Some((key, read)) = self.causal_read_in_work(id) else { return };
        match &read.repair {
            None => self.widen_causal_read(id),
            Some(repair) => {
                let joined = repair.joined.clone();
                let known: BTreeSet<NodeId> = repair.holders.union(&repair.sent).copied().collect();
                let replicas = self.ring.replicas(&key).to_vec();
                let further = replicas.into_iter().filter(|node| !known.contains(node) && self.is_reachable(*node));
                for node in further.collect::<Vec<_>>() {
                    self.counters.read_repairs_widened += 1;
                    self.counters.mark(Mark::RepairWidened);
                    let held = self.send_causal_repair(id, node, &key, &joined);
                    let (_, read) = self.causal_read_in_work(id).expect("looked up above");
                    read.repair.as_mut().expect("looked up above").sent.insert(node);
                    if held {
                        self.on_causal_repaired(node, id);
                        break;
                    }
                }
            }
        }
        if self.dcc().operations.contains_key(&id) {
            self.restart_causal_patience(id);
        }
    }

    fn restart_causal_patience(&mut self, id: OperationId) {
        let at = self.now.time.plus_ms(self.config.repair_patience_ms);
        let operation = self.dcc().operations.get_mut(&id).expect("only for reads in work");
        let former = operation.patience.replace(at);
        if let Some(former) = former {
            self.timers.clear(former, Timer::CausalPatience(id));
        }
        self.timers.set(at, Timer::CausalPatience(id));
    }

    /// Asks one further replica, or the silent ones again; gives up when there can't be enough answers.
    fn widen_causal_read(&mut self, id: OperationId) {
        let Some((key, read)) = self.causal_read_in_work(id) else { return };
        let asks = if read.uncontacted.is_empty() {
            let silent = |answer: &Answer| matches!(answer, Answer::DigestAsked | Answer::FullAsked);
            read.answers.iter().filter(|(_, answer)| silent(answer)).map(|(node, _)| *node).collect()
        } else {
            alloc::vec![read.uncontacted.remove(0)]
        };
        for node in &asks {
            read.answers.insert(*node, Answer::FullAsked);
        }
        let hopeful = read.answers.values().filter(|answer| **answer != Answer::CatchingUp).count();
        let (needed, hopeful) = (read.needed, hopeful + read.uncontacted.len());
        self.counters.speculative_reads += asks.len() as u64;
        if !asks.is_empty() {
            self.counters.mark(Mark::ReadWidened);
        }
        for node in asks {
            self.ask_causal(id, node, &key, false);
        }
        if hopeful < needed {
            self.counters.requests_unavailable += 1;
            self.counters.mark(Mark::ReadGivenUp);
            let message = format!(
                "{needed} replicas are needed, but only {hopeful} have caught up after losing their state: wait until the others have"
            );
            let error = ClientError { kind: ClientErrorKind::Unavailable, message };
            return self.finish_causal(id, ClientResponse::Failed(error));
        }
        self.advance_causal_read(id);
    }
}
