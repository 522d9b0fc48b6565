//! The node: one type that owns all of it.
//!
//! ```text
//!              client requests         peer messages          timers
//!                    |                       |                   |
//!               coordinator            replica side       failure detector
//!              (read, write)        (read, write, sync)    sweep, anti-entropy
//!                    \_______________________|___________________/
//!                                          store -> Output
//! ```
//!
//! *Catching up.* A node that boots without the durable mark that it has compared itself with every other replica of its
//! ranges (it is new, or it lost its disk) takes and acknowledges writes and coordinates, but answers no replica read: what
//! it lacks would pass for "never written". It runs a Merkle session with each neighbour, then writes the mark. The mark
//! names the ring it holds for, so a changed membership or replication means catching up again.
//! Guarantee: with one replica of a range at a time in this state, no acknowledged write is lost from sight. Two at once may
//! compare with each other's loss; that is outside what N copies can give.
//!
//! Invariants:
//! - One `handle` is one output; what it sends or answers states nothing that is not in its `durable` part or an earlier one's.
//! - No message of a peer makes this panic: what is impossible is counted and ignored.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rand::Rng;

use crate::anti_entropy::AntiEntropy;
use crate::broadcast_host::BroadcastHost;
use crate::causal::{CausalConfig, CausalStore};
use crate::config::no_member;
use crate::coordinator::Coordinator;
use crate::counters::Counters;
use crate::dcc::Dcc;
use crate::dissemination::DisseminationInput;
use crate::failure_detector::{FULL_MESH_MAX, FailureDetector, Round, Traffic};
use crate::hints::{HandOver, HintQueues};
use crate::message::{OperationId, PeerMessage, ReadAnswer};
use crate::metadata_host::MetadataHost;
use crate::repair::Repair;
use crate::ring::Ring;
use crate::ring::topology::{MemberMap, Phase, RingMember, Topology, View, merge_members};
use crate::ring_host::{RingHost, fingerprint_of};
use crate::rng::sub_stream;
use crate::store::Store;
use crate::table::Table;
use crate::timers::{Timer, Timers};
use crate::{
    ClientError, ClientErrorKind, ClientRequest, ClientResponse, Cluster, ClusterConfig, ConfigError, Conflict,
    Detection, Event, Input, Key, Lane, Link, Mark, NodeId, Now, Output, Planted, RecoveredState, RequestId, Send,
    Time, Value, Version, planted, store_codec,
};

/// Between two steps of the tombstone sweep.
const SWEEP_INTERVAL_MS: u64 = 1_000;

/// How a node comes into a cluster that runs already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joining {
    /// The dead member whose place it takes.
    pub replaces: Option<NodeId>,
    /// Where others reach it: opaque to the core, at most [`RingMember::ADDRESS_MAX`] bytes. Empty: they know.
    pub address: Vec<u8>,
}

/// A node of the cluster as a state machine.
#[derive(Debug)]
pub struct Replica {
    pub(crate) config: Arc<ClusterConfig>,
    pub(crate) identity: NodeId,
    pub(crate) planted: Planted,
    pub(crate) incarnation: u64,
    pub(crate) ring: Arc<Ring>,
    /// Names the ring; see [`Cluster`].
    pub(crate) ring_fingerprint: [u8; 32],
    /// The same of the configuration alone.
    pub(crate) founders_fingerprint: [u8; 32],
    /// The members, and all rings that are made of them; `ring` is the one of those who serve.
    pub(crate) topology: Topology,
    pub(crate) ring_host: RingHost,
    pub(crate) store: Store,
    pub(crate) detector: FailureDetector,
    pub(crate) coordinator: Coordinator,
    pub(crate) sync: AntiEntropy,
    /// What there is under the policy `dcc`, in place of `store` and `coordinator`.
    pub(crate) dcc: Option<Box<Dcc>>,
    /// Repairs on demand.
    pub(crate) repairs: Vec<Repair>,
    /// What is kept for others.
    pub(crate) hints: HintQueues,
    pub(crate) hand_over: HandOver,
    pub(crate) timers: Timers,
    pub(crate) counters: Counters,
    /// Neighbours that this node has not compared itself with yet; empty when it is ready.
    pub(crate) catching_up_from: BTreeSet<NodeId>,
    /// Broadcasts, if the cluster has them.
    pub(crate) broadcast: Option<Box<BroadcastHost>>,
    /// Cluster metadata, if the cluster has it.
    pub(crate) metadata: Option<Box<MetadataHost>>,
    /// The clocks of the input being handled.
    pub(crate) now: Now,
    /// The output being made.
    pub(crate) output: Output,
}

impl Replica {
    /// A node at its start. `incarnation` is drawn by the driver and unique among the starts of this node; `seed` feeds
    /// every random choice. The output may already hold things to make durable and to send.
    ///
    /// # Errors
    /// A configuration that can't work, or a store that this build can't read or that is another node's.
    pub fn boot(
        config: ClusterConfig,
        identity: NodeId,
        incarnation: u64,
        recovered: RecoveredState,
        seed: [u8; 32],
        now: Now,
    ) -> Result<(Replica, Output), ConfigError> {
        Replica::boot_planted(Planted::NONE, config, identity, incarnation, recovered, seed, now)
    }

    /// [`Replica::boot`] with a planted bug, where the build has any.
    ///
    /// # Errors
    /// As [`Replica::boot`].
    pub fn boot_planted(
        planted: Planted,
        config: ClusterConfig,
        identity: NodeId,
        incarnation: u64,
        recovered: RecoveredState,
        seed: [u8; 32],
        now: Now,
    ) -> Result<(Replica, Output), ConfigError> {
        Replica::boot_in(&Cluster::new(config)?, planted, identity, incarnation, recovered, seed, now)
    }

    /// [`Replica::boot_planted`] in a cluster that is made already: what its nodes have in common is shared.
    ///
    /// # Errors
    /// A node that is no member, or a store that this build can't read or that is another node's.
    pub fn boot_in(
        cluster: &Cluster,
        planted: Planted,
        identity: NodeId,
        incarnation: u64,
        recovered: RecoveredState,
        seed: [u8; 32],
        now: Now,
    ) -> Result<(Replica, Output), ConfigError> {
        Replica::boot_joining(cluster, None, planted, identity, incarnation, recovered, seed, now)
    }

    /// [`Replica::boot_in`] of a node that the configuration does not name: the first time it joins, later it goes on where it was.
    ///
    /// # Errors
    /// As [`Replica::boot_in`].
    #[allow(clippy::too_many_arguments)] // Those of a boot, and one.
    pub fn boot_joining(
        cluster: &Cluster,
        joining: Option<Joining>,
        planted: Planted,
        identity: NodeId,
        incarnation: u64,
        recovered: RecoveredState,
        seed: [u8; 32],
        now: Now,
    ) -> Result<(Replica, Output), ConfigError> {
        let config = cluster.config.clone();
        let mut content = store_codec::decode(recovered, config.conflict)?;
        let topology = boot_topology(cluster, joining, identity, content.ring.as_ref())?;
        let (ring, fingerprint) = (topology.natural().clone(), fingerprint_of(&cluster.fingerprint, topology.view()));
        let is_founding = topology.view() == View::FOUNDERS;
        if planted!(planted, RestartForgetsTombstones) {
            content.data.retain(|(_, version)| version.value.is_some());
        }
        if let Some(owner) = content.identity.filter(|owner| *owner != identity) {
            return Err(ConfigError(format!(
                "the store belongs to {owner}, but this node is {identity}: name the data directory of {identity}"
            )));
        }
        let neighbours = topology.held().neighbours(identity);
        let table = Table::new(&topology.held().owned_token_ranges(identity), config.merkle_depth).with(planted);
        #[cfg(feature = "planted-bugs")]
        let newest_stamp = content.data.iter().map(|(_, version)| version.stamp.0).max();
        let mut store = Store::new(table, config.tombstone_grace_ms);
        let mut counters = Counters::default();
        if !content.data.is_empty() {
            counters.mark(Mark::BootWithData);
        }
        let mut forgotten = Vec::new();
        for (key, version) in content.data {
            if !topology.held().is_replica(identity, &key) {
                counters.recovered_not_owned += 1;
                if !is_founding {
                    forgotten.push(key);
                }
            } else {
                store.recover(key, version);
            }
        }
        let mut hints =
            HintQueues::new(config.hints_bytes_max, config.hint_window_ms, config.tombstone_grace_ms, planted);
        for (owner, key, held) in content.hints {
            hints.recover(owner, key, held);
        }
        let (interval_ms, timeout_ms) = (config.heartbeat_interval_ms, config.heartbeat_timeout_ms);
        let mut detector = if topology.members().len() <= FULL_MESH_MAX {
            let others = topology.present().filter(|member| *member != identity);
            FailureDetector::of_all(others, &neighbours, interval_ms, timeout_ms, now.time)
        } else {
            FailureDetector::of_neighbours(&neighbours, interval_ms, timeout_ms, now.time)
        };
        if config.detection == Detection::Phi {
            detector = detector.with_phi(config.phi_threshold);
        }
        detector.planted = planted;
        let caught_up = content.caught_up == Some(fingerprint) || planted!(planted, EmptyNodeAnswers);
        let sync = AntiEntropy::new(
            topology.held(),
            identity,
            config.merkle_interval_ms,
            incarnation,
            sub_stream(&seed, "sync"),
            now.time,
        )
        .with_limits(config.merkle_fan_out, config.merkle_bytes_per_s);
        let mut output = Output::default();
        let dcc = (config.conflict == Conflict::Dcc).then(|| {
            let causal =
                CausalConfig { merkle_depth: config.merkle_depth, log_max: config.dot_log_max as usize, planted };
            if !content.causal.containers.is_empty() {
                counters.mark(Mark::BootWithData);
            }
            let (ring, content) = (ring.clone(), content.causal);
            let store = CausalStore::open(identity, incarnation, ring, causal, content, &mut output.durable);
            Box::new(Dcc::new(store, incarnation))
        });
        let mut replica = Replica {
            dcc,
            repairs: Vec::new(),
            coordinator: Coordinator::new(incarnation, sub_stream(&seed, "reads")),
            ring_host: RingHost::of_boot(&topology, identity, !is_founding && !caught_up, forgotten),
            topology,
            catching_up_from: if caught_up || !is_founding {
                BTreeSet::new()
            } else {
                neighbours.iter().copied().collect()
            },
            identity,
            planted,
            incarnation,
            ring,
            ring_fingerprint: fingerprint,
            founders_fingerprint: cluster.fingerprint,
            store,
            detector,
            sync,
            hints,
            hand_over: HandOver::default(),
            broadcast: None,
            metadata: None,
            timers: Timers::default(),
            counters,
            now,
            output,
            config,
        };
        #[cfg(feature = "planted-bugs")]
        if planted!(planted, RestartReusesStamps) {
            replica.coordinator.clock_behind_ns = now.wall.0.saturating_sub(newest_stamp.unwrap_or(now.wall.0));
        }
        if content.identity.is_some() && content.caught_up.is_none() {
            replica.counters.mark(Mark::BootWhileCatchingUp);
        }
        if content.identity.is_none() {
            replica.output.durable.puts.push(store_codec::identity_entry(identity));
        }
        if content.ring.is_none() && !is_founding {
            replica.output.durable.puts.push(store_codec::ring_entry(replica.topology.members()));
        }
        replica.tell_addresses();
        if content.caught_up.is_some() && !caught_up && is_founding {
            replica.counters.mark(Mark::BootWithOtherRing);
            let sentence = "members, vnodes or replication changed since this node caught up: it compares itself anew";
            replica.output.events.push(Event::Warning(sentence.into()));
        }
        if !caught_up {
            replica.output.events.push(Event::CatchingUp);
            if replica.is_ready() {
                // No other node shares a range.
                replica.note_caught_up();
            }
            replica.begin_catching_up();
        }
        if !is_founding {
            replica.begin_comparisons();
        }
        replica.begin_hand_over();
        let host = BroadcastHost::start(&replica.config, planted, identity, incarnation, &seed, now);
        if let Some((mut host, effects)) = host {
            replica.carry_out_dissemination(&mut host, effects);
            replica.broadcast = Some(host);
        }
        let host = MetadataHost::start(&replica.config, planted, identity, content.metadata, &seed, now);
        if let Some((host, effects)) = host {
            replica.start_metadata(host, effects);
        }
        // The first heartbeats go out at once, so that the driver makes the links; later ones at a phase of their own, so that
        // nodes started together do not speak together.
        replica.send_heartbeats();
        let phase_ms = sub_stream(&seed, "heartbeat phase").next_u64() % replica.config.heartbeat_interval_ms;
        replica.timers.set(now.time.plus_ms(1 + phase_ms), Timer::Heartbeat);
        replica.timers.set(now.time.plus_ms(SWEEP_INTERVAL_MS), Timer::Sweep);
        if replica.dcc.is_some() && replica.config.exchange_interval_ms > 0 {
            let phase_ms = sub_stream(&seed, "exchange phase").next_u64() % replica.config.exchange_interval_ms;
            replica.timers.set(now.time.plus_ms(1 + phase_ms), Timer::Exchange);
        }
        replica.seal_output();
        let output = core::mem::take(&mut replica.output);
        Ok((replica, output))
    }

    /// Takes one input; the caller carries out the output.
    pub fn handle(&mut self, now: Now, input: Input) -> Output {
        self.now = now;
        match input {
            Input::Peer { from, message } => self.on_peer(from, message),
            Input::Client { request_id, request } => self.on_client(request_id, request),
            Input::Deadline => self.on_deadline(),
            Input::Link { peer, state } => self.on_link(peer, state),
        }
        self.publish_failures();
        self.seal_output();
        core::mem::take(&mut self.output)
    }

    /// The bug planted in it.
    pub fn planted(&self) -> Planted {
        self.planted
    }

    /// When to call `handle` with [`Input::Deadline`] at the latest.
    pub fn next_deadline(&self) -> Option<Time> {
        let sync = self.sync.next_deadline();
        [self.timers.next(), sync, self.dissemination_deadline(), self.metadata_deadline()].into_iter().flatten().min()
    }

    /// Whether this node answers replica reads.
    pub(crate) fn is_ready(&self) -> bool {
        self.catching_up_from.is_empty()
            && self.ring_host.is_sure()
            && self.topology.phase(self.identity) != Some(Phase::Joining)
    }

    fn on_client(&mut self, request_id: RequestId, request: ClientRequest) {
        let is_dcc = self.dcc.is_some();
        let is_admin = matches!(request, ClientRequest::Ring | ClientRequest::Leave | ClientRequest::Status);
        if self.topology.phase(self.identity) == Some(Phase::Left) && !is_admin {
            self.counters.requests_refused += 1;
            let message = format!("{} has left the cluster: ask another node", self.identity);
            let error = ClientError { kind: ClientErrorKind::Unavailable, message };
            return self.output.reply.push((request_id, ClientResponse::Failed(error)));
        }
        let response = match request {
            ClientRequest::Put { key, value, level } if is_dcc => {
                return self.causal_write(request_id, key, Some(value), level, &[]);
            }
            ClientRequest::Delete { key, level } if is_dcc => {
                return self.causal_write(request_id, key, None, level, &[]);
            }
            ClientRequest::Get { key, level } if is_dcc => return self.causal_read(request_id, key, level),
            ClientRequest::PutWith { key, value, options } if is_dcc => {
                // Every replica that acknowledges is one of the key's own, and durably.
                let levels = [Some(options.level), options.primaries, options.durable];
                let level = self.highest(levels.into_iter().flatten());
                return self.causal_write(request_id, key, value, level, &[]);
            }
            ClientRequest::GetWith { key, options } if is_dcc => {
                let level = self.highest([Some(options.level), options.primaries].into_iter().flatten());
                return self.causal_read(request_id, key, level);
            }
            ClientRequest::Scan { .. } if is_dcc => {
                self.counters.requests_refused += 1;
                ClientResponse::Failed(ClientError {
                    kind: ClientErrorKind::Refused,
                    message: "there are no range reads under conflict: dcc: read key by key".into(),
                })
            }
            ClientRequest::Write { key, value, level, context } if is_dcc => {
                return self.causal_write(request_id, key, value, level, &context);
            }
            ClientRequest::Write { key, value, level, context } if context.is_empty() => {
                return self.coordinate_write(request_id, key, value, level.into());
            }
            ClientRequest::Write { .. } => {
                self.counters.requests_refused += 1;
                self.counters.mark(Mark::ContextRefused);
                ClientResponse::Failed(ClientError {
                    kind: ClientErrorKind::Refused,
                    message: "the cluster has the conflict policy lww, which knows no contexts: write without one, or \
                              set conflict: dcc"
                        .into(),
                })
            }
            ClientRequest::Put { key, value, level } => {
                return self.coordinate_write(request_id, key, Some(value), level.into());
            }
            ClientRequest::Delete { key, level } => return self.coordinate_write(request_id, key, None, level.into()),
            ClientRequest::PutWith { key, value, options } => {
                return self.coordinate_write(request_id, key, value, options);
            }
            ClientRequest::Get { key, level } => return self.coordinate_read(request_id, key, level.into()),
            ClientRequest::GetWith { key, options } => return self.coordinate_read(request_id, key, options),
            ClientRequest::Scan { range, limit, level } => {
                return self.coordinate_scan(request_id, range, limit, level);
            }
            ClientRequest::Repair => return self.begin_repair(request_id),
            ClientRequest::Publish { payload } => self.publish(payload),
            ClientRequest::Deliveries { after, limit } => self.deliveries(after, limit),
            ClientRequest::Members { after, limit } => self.known_members(after, limit),
            ClientRequest::Options { after, limit } => self.known_options(after.as_deref(), limit),
            ClientRequest::SetOption { name, value } => self.set_option(&name, &value),
            ClientRequest::Overlay => self.overlay(),
            ClientRequest::Ring => ClientResponse::Ring(self.ring_report()),
            ClientRequest::Leave => return self.leave(request_id),
            ClientRequest::Remove { node } => return self.remove_member(request_id, node),
            ClientRequest::Status => ClientResponse::Status(self.status()),
            ClientRequest::Locate { key } => ClientResponse::Replicas(self.ring.replicas(&key).to_vec()),
            ClientRequest::LocalScan { limit: 0, .. } => {
                self.counters.requests_refused += 1;
                ClientResponse::Failed(ClientError {
                    kind: ClientErrorKind::Refused,
                    message: "the limit of the scan is 0: ask for at least one entry".into(),
                })
            }
            ClientRequest::LocalScan { after, limit } => {
                let (entries, more) = match &self.dcc {
                    Some(dcc) => dcc.scan(after.as_ref(), limit as usize),
                    None => self.store.scan(after.as_ref(), limit as usize),
                };
                if more && entries.len() < limit as usize {
                    self.counters.mark(Mark::ScanCut);
                }
                ClientResponse::Entries { entries, more }
            }
        };
        self.output.reply.push((request_id, response));
    }

    fn on_peer(&mut self, from: NodeId, message: PeerMessage) {
        let (view, message) = match message {
            PeerMessage::InView { view, message } => (view, *message),
            message => (View::FOUNDERS, message),
        };
        // Who joins is unknown here; who left may have missed it, and may still have requests in work.
        let may_speak = self.topology.phase(from).is_some() || matches!(message, PeerMessage::Ring(_));
        if !may_speak && self.ring_host.is_stranger(from) {
            return; // It is linked and has not said yet that it joins: that is on its way.
        }
        if from == self.identity || !may_speak {
            self.counters.messages_invalid += 1;
            self.counters.mark(Mark::Invalid);
            return;
        }
        let traffic = Traffic::of(&message);
        self.detector.on_heard(from, traffic, self.now.time, &mut self.counters, &mut self.output.events);
        let of_other_policy = match &message {
            PeerMessage::Heartbeat | PeerMessage::Dissemination(_) | PeerMessage::Metadata(_) => false,
            PeerMessage::InView { .. } => true,
            PeerMessage::Causal(_) => self.dcc.is_none(),
            _ => self.dcc.is_some(),
        };
        if of_other_policy {
            self.counters.messages_invalid += 1;
            self.counters.mark(Mark::Invalid);
            return;
        }
        if message.is_about_owners() && view != self.topology.view() {
            let served = planted!(self.planted, OtherViewServed) && !matches!(message, PeerMessage::Sync(_));
            if !served {
                return self.on_other_view(from);
            }
        }
        match message {
            PeerMessage::InView { .. } => {} // Refused above.
            PeerMessage::Ring(message) => self.on_ring(from, message),
            PeerMessage::Causal(message) => self.on_causal(from, message),
            PeerMessage::Heartbeat => {
                self.counters.heartbeats_received += 1;
                if self.detector.answers_heartbeat(from, self.now.time) {
                    self.counters.heartbeats_sent += 1;
                    self.send(from, Lane::Control, PeerMessage::Heartbeat);
                }
            }
            PeerMessage::Write { operation, key, version } => self.on_write(from, operation, key, version),
            PeerMessage::WriteAck { operation } => self.on_write_ack(from, operation),
            PeerMessage::Read { operation, key, digest_only } => self.on_read(from, operation, &key, digest_only),
            PeerMessage::ReadReply { operation, answer } => {
                let too_long = |value: &Value| value.0.len() > Value::LENGTH_MAX;
                if let ReadAnswer::Full(Some(Version { value: Some(value), .. })) = &answer
                    && too_long(value)
                {
                    self.counters.messages_invalid += 1;
                    self.counters.mark(Mark::Invalid);
                    return;
                }
                self.on_read_reply(from, operation, answer);
            }
            PeerMessage::Sync(message) => self.on_sync(from, message),
            PeerMessage::StandInWrite { operation, owner, key, version } => {
                self.on_stand_in_write(from, operation, owner, key, version);
            }
            PeerMessage::StandInRead { operation, owner, key, digest_only } => {
                self.on_stand_in_read(from, operation, owner, &key, digest_only);
            }
            PeerMessage::Merge { operation, entries } => self.on_merge(from, operation, entries),
            PeerMessage::Dissemination(message) => self.on_dissemination_message(from, message),
            PeerMessage::Metadata(message) => self.on_metadata_message(from, message),
            PeerMessage::MergeAck { operation, foreign } => self.on_merge_ack(from, operation, &foreign),
            PeerMessage::Scan { operation, range, limit } => self.on_scan(from, operation, &range, limit),
            PeerMessage::ScanReply { operation, from: begin, answer } => {
                self.on_scan_reply(from, operation, begin, answer);
            }
        }
    }

    /// A coordinator wants a version to be merged.
    fn on_write(&mut self, from: NodeId, operation: OperationId, key: Key, version: Version) {
        if !is_valid(&key, Some(&version)) {
            self.counters.messages_invalid += 1;
            self.counters.mark(Mark::Invalid);
        } else if !self.store.owns(&key) {
            self.counters.messages_not_owned += 1;
            self.counters.mark(Mark::NotOwned);
        } else {
            // Acknowledged also when it was not newer: what is stored instead is durable before this output is released.
            if !(planted!(self.planted, DroppedButAcknowledged) && self.coordinator.in_work() >= 4) {
                self.apply(key.clone(), version);
            }
            if self.acknowledges(&key) {
                self.send(from, Lane::Data, PeerMessage::WriteAck { operation });
            }
        }
    }

    /// Whether a replica read has nothing to look for here: the key is none, or another's. It is counted then.
    pub(crate) fn is_read_out_of_place(&mut self, key: &Key, owned: bool) -> bool {
        if !is_valid(key, None) {
            self.counters.messages_invalid += 1;
            self.counters.mark(Mark::Invalid);
        } else if !owned {
            self.counters.messages_not_owned += 1;
            self.counters.mark(Mark::NotOwned);
        } else {
            return false;
        }
        true
    }

    /// A coordinator wants to know what is stored here.
    fn on_read(&mut self, from: NodeId, operation: OperationId, key: &Key, digest_only: bool) {
        let owned = self.serves(key);
        if self.is_read_out_of_place(key, owned) {
            return;
        }
        let answer = if !self.answers(key) {
            self.counters.replica_reads_refused += 1;
            self.counters.mark(Mark::ReadRefused);
            ReadAnswer::CatchingUp
        } else if digest_only {
            self.counters.replica_digest_reads += 1;
            ReadAnswer::Digest(self.store.digest(key))
        } else {
            self.counters.replica_reads += 1;
            ReadAnswer::Full(self.store.get(key).cloned())
        };
        self.send(from, Lane::Data, PeerMessage::ReadReply { operation, answer });
    }

    fn on_link(&mut self, peer: NodeId, state: Link) {
        if peer == self.identity {
            self.counters.messages_invalid += 1;
            return;
        }
        if !self.topology.is_member(peer) {
            self.on_strangers_link(peer, state);
            return;
        }
        self.detector.on_link(peer, state, self.now.time, &mut self.counters, &mut self.output.events);
        self.on_sync_link(peer, state);
        self.on_dissemination(DisseminationInput::Link { peer, state });
        if state == Link::Up {
            self.on_ring_link(peer);
            self.on_owner_linked(peer);
        }
    }

    fn on_deadline(&mut self) {
        while let Some(timer) = self.timers.take_due(self.now.time) {
            match timer {
                Timer::Heartbeat => {
                    self.send_heartbeats();
                    self.on_ring_tick();
                    self.timers.set(self.now.time.plus_ms(self.config.heartbeat_interval_ms), Timer::Heartbeat);
                }
                Timer::Sweep => {
                    self.store.sweep(self.now.wall, &mut self.output.durable, &mut self.counters);
                    self.sweep_hints();
                    self.drop_forgotten();
                    self.timers.set(self.now.time.plus_ms(SWEEP_INTERVAL_MS), Timer::Sweep);
                }
                Timer::HandOff(owner) => self.on_hand_over_timer(owner),
                Timer::Unacknowledged(operation) => self.on_unacknowledged(operation),
                Timer::Patience(operation) => self.on_patience(operation),
                Timer::RequestTimeout(operation) => self.on_request_timeout(operation),
                Timer::CausalPatience(operation) => self.on_causal_patience(operation),
                Timer::CausalTimeout(operation) => self.on_causal_timeout(operation),
                Timer::Repair => self.answer_repairs(),
                Timer::Exchange => self.on_exchange_timer(),
            }
        }
        if self.sync.next_deadline().is_some_and(|at| at <= self.now.time) {
            self.on_sync_deadline();
        }
        if self.dissemination_deadline().is_some_and(|at| at <= self.now.time) {
            self.on_dissemination(DisseminationInput::Deadline);
        }
        if self.metadata_deadline().is_some_and(|at| at <= self.now.time) {
            self.on_metadata_deadline();
        }
    }

    fn send_heartbeats(&mut self) {
        let Round { heartbeats, hang_up } =
            self.detector.tick(self.now.time, &mut self.counters, &mut self.output.events);
        for peer in hang_up {
            // The overlay's links stay, however seldom there is news.
            if !self.is_overlay_neighbour(peer) {
                self.counters.links_given_up += 1;
                self.output.hang_up.push(peer);
            }
        }
        for peer in heartbeats {
            self.counters.heartbeats_sent += 1;
            self.send(peer, Lane::Control, PeerMessage::Heartbeat);
        }
    }

    pub(crate) fn send(&mut self, to: NodeId, lane: Lane, message: PeerMessage) {
        assert!(to != self.identity, "a message to itself");
        self.detector.on_sent(to, Traffic::of(&message), self.now.time);
        self.output.send.push(Send { to, lane, message });
    }

    /// Merges a version of an owned key into the store; whether it was newer.
    pub(crate) fn apply(&mut self, key: Key, version: Version) -> bool {
        self.store.merge(self.now.wall, key, version, &mut self.output.durable, &mut self.counters)
    }

    /// Writes the mark that this node is ready.
    pub(crate) fn note_caught_up(&mut self) {
        self.note_mark();
        self.output.events.push(Event::CaughtUp);
    }

    /// The same, without a word.
    pub(crate) fn note_mark(&mut self) {
        self.output.durable.puts.push(store_codec::caught_up_entry(self.ring_fingerprint));
    }
}

/// The members that a node boots with: those of the configuration, those of its store, and itself.
fn boot_topology(
    cluster: &Cluster,
    joining: Option<Joining>,
    identity: NodeId,
    stored: Option<&MemberMap>,
) -> Result<Topology, ConfigError> {
    let (config, founders) = (&cluster.config, &cluster.topology);
    if stored.is_none() && founders.is_member(identity) {
        return Ok(founders.clone());
    }
    let mut members = founders.members().clone();
    if let Some(stored) = stored {
        merge_members(&mut members, stored);
    }
    match (members.get(&identity).map(|member| member.phase), joining) {
        // Who left starts again only to tell those that have not heard of it.
        (Some(_), _) => {}
        (None, None) => return Err(no_member(identity)),
        (None, Some(_)) if config.conflict == Conflict::Dcc => {
            return Err(ConfigError("nodes can't join under conflict: dcc: name all of them in members".into()));
        }
        (None, Some(Joining { replaces, address })) => {
            if replaces == Some(identity) {
                return Err(ConfigError(format!(
                    "{identity} can't replace itself: give the new node an id of its own"
                )));
            }
            if address.len() > RingMember::ADDRESS_MAX {
                return Err(ConfigError(format!(
                    "the address has {} bytes: shorten it to {}",
                    address.len(),
                    RingMember::ADDRESS_MAX
                )));
            }
            members.insert(identity, RingMember { phase: Phase::Joining, replaces, address });
        }
    }
    if members == *founders.members() {
        return Ok(founders.clone());
    }
    Ok(Topology::new(members, &config.members, config.vnodes, config.replication))
}

/// Whether a key and a version from outside are within the limits.
pub(crate) fn is_valid(key: &Key, version: Option<&Version>) -> bool {
    let value = version.and_then(|version| version.value.as_ref());
    (1..=Key::LENGTH_MAX).contains(&key.0.len()) && value.is_none_or(|value| value.0.len() <= Value::LENGTH_MAX)
}
