//! Cluster metadata within the replica: changes become durable, then travel as broadcasts; digests are exchanged on the control
//! lane; what others changed is applied.
//!
//! A cluster has it if it has dissemination; without, members and options are those of the configuration, for ever. Its idle cost
//! is one message of some ten bytes per node and exchange interval, whatever the size of the cluster.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::dissemination::DisseminationInput;
use crate::message::PeerMessage;
use crate::metadata::{Member, MemberState, MetadataMessage, Name, OptionRecord, Plane, PlaneEffects, Record};
use crate::rng::sub_stream;
use crate::{
    ClientError, ClientErrorKind, ClientResponse, ClusterConfig, Event, KnownMember, Lane, Mark, NodeId, NodeOption,
    Now, Planted, Replica, Time, planted, store_codec,
};

/// Between two exchanges where the configuration switches those of broadcasts off: metadata always has one.
const EXCHANGE_INTERVAL_MS: u64 = 2_000;
/// Most entries of one answer.
const PAGE_MAX: u32 = 500;

/// The plane and what is made of it.
#[derive(Debug)]
pub(crate) struct MetadataHost {
    plane: Plane,
    /// The configuration as the node started with it.
    base: Arc<ClusterConfig>,
    /// Who belongs to the cluster, ascending: all but those that left.
    members: Arc<[NodeId]>,
}

impl MetadataHost {
    /// The plane at the start of a node, if the cluster has one, and what it wants done first.
    pub(crate) fn start(
        config: &Arc<ClusterConfig>,
        planted: Planted,
        identity: NodeId,
        recovered: Vec<(Name, Record)>,
        seed: &[u8; 32],
        now: Now,
    ) -> Option<(Box<MetadataHost>, PlaneEffects)> {
        let dissemination = config.dissemination.as_ref()?;
        let interval_ms = match dissemination.exchange.interval_ms {
            0 => EXCHANGE_INTERVAL_MS,
            interval_ms => interval_ms,
        };
        let own = Member::configured(identity, config.vnodes);
        let configured = config.members.iter().map(|node| Member::configured(*node, config.vnodes));
        let rng = sub_stream(seed, "metadata");
        let (plane, effects) = Plane::start(own, configured, recovered, interval_ms, rng, planted, now.time);
        let mut members = config.members.clone();
        members.sort_unstable();
        Some((Box::new(MetadataHost { plane, base: config.clone(), members: Arc::from(members) }), effects))
    }

    pub(crate) fn plane(&self) -> &Plane {
        &self.plane
    }

    /// Who belongs to the cluster as this node knows it, ascending.
    fn current_members(&self) -> Vec<NodeId> {
        let there = self.plane.map().members().filter(|(member, _)| member.state != MemberState::Left);
        there.map(|(member, _)| member.node).collect()
    }
}

const SWITCHED_OFF: &str =
    "this cluster has no metadata plane: add `dissemination: {protocol: plumtree}` to its settings";

impl Replica {
    /// Carries out what the plane wants of its start.
    pub(crate) fn start_metadata(&mut self, host: Box<MetadataHost>, effects: PlaneEffects) {
        self.metadata = Some(host);
        self.apply_options();
        self.carry_out_metadata(effects, None);
    }

    /// Lets the plane work, and carries out what it wants.
    pub(crate) fn with_plane(&mut self, work: impl FnOnce(&mut Plane, Time) -> PlaneEffects) {
        let now = self.now.time;
        let Some(host) = &mut self.metadata else { return };
        let effects = work(&mut host.plane, now);
        self.carry_out_metadata(effects, None);
    }

    fn carry_out_metadata(&mut self, effects: PlaneEffects, peer: Option<NodeId>) {
        let Some(host) = &self.metadata else { return };
        let map = host.plane.map();
        for name in &effects.changed {
            let record = map.get(name).expect("what changed is there");
            if matches!(name, Name::Option(_)) && planted!(self.planted, OptionsNotDurable) {
                continue;
            }
            self.output.durable.puts.push(store_codec::metadata_entry(name, record));
        }
        if let Some(peer) = peer {
            for message in effects.send {
                self.send(peer, Lane::Control, PeerMessage::Metadata(message));
            }
        }
        if effects.changed.iter().any(|name| matches!(name, Name::Option(name) if ClusterConfig::is_option(name))) {
            self.apply_options();
        }
        if effects.changed.iter().any(|name| matches!(name, Name::Member(_))) {
            self.on_members_changed();
        }
        for records in effects.announce {
            self.announce(&records);
        }
    }

    /// The options that are known now, over the configuration that the node started with.
    fn apply_options(&mut self) {
        let Some(host) = &self.metadata else { return };
        let options = host.plane.map().options().map(|(name, option)| (name, option.value.as_str()));
        let (config, wrong) = host.base.with_options(options);
        for sentence in wrong {
            self.output.events.push(Event::Warning(format!("an option of the cluster is not applied: {sentence}")));
        }
        if config == *self.config {
            return;
        }
        self.counters.options_applied += 1;
        self.counters.mark(Mark::OptionApplied);
        self.sync.set_interval(config.merkle_interval_ms, self.now.time);
        self.hints.set_window(config.hint_window_ms);
        self.config = Arc::new(config);
    }

    /// Somebody joined, changed or left.
    fn on_members_changed(&mut self) {
        let Some(host) = &mut self.metadata else { return };
        let members = host.current_members();
        if *members == *host.members {
            return;
        }
        host.members = Arc::from(members);
        let members = host.members.clone();
        self.counters.mark(Mark::MembersChanged);
        self.on_dissemination(DisseminationInput::Members(members));
    }

    /// The failure detector changed its mind: others may want to know.
    pub(crate) fn publish_failures(&mut self) {
        if self.metadata.is_none() {
            return;
        }
        let (mut down, mut up) = (Vec::new(), Vec::new());
        for event in &self.output.events {
            match event {
                Event::PeerDown(node) => down.push(*node),
                Event::PeerUp(node) => up.push(*node),
                Event::CatchingUp | Event::CaughtUp | Event::Ring(_) | Event::Warning(_) => {}
            }
        }
        if !down.is_empty() {
            self.with_plane(|plane, _| plane.mark_down(&down));
        }
        if !up.is_empty() {
            self.with_plane(|plane, _| plane.mark_up(&up));
        }
    }

    /// A broadcast of the metadata arrived.
    pub(crate) fn on_announced(&mut self, records: Vec<(Name, Record)>) {
        let raised_before = self.incarnations_raised();
        self.with_plane(|plane, now| plane.on_announced(records, now));
        self.mark_refutation(raised_before);
    }

    pub(crate) fn on_metadata_message(&mut self, from: NodeId, message: MetadataMessage) {
        let raised_before = self.incarnations_raised();
        let now = self.now.time;
        let Some(host) = &mut self.metadata else {
            self.counters.messages_invalid += 1;
            return;
        };
        let effects = host.plane.on_message(message, now);
        if !effects.changed.is_empty() {
            self.counters.mark(Mark::MetadataExchanged);
        }
        self.carry_out_metadata(effects, Some(from));
        self.mark_refutation(raised_before);
    }

    fn incarnations_raised(&self) -> u64 {
        self.metadata.as_ref().map_or(0, |host| host.plane.counters().incarnations_raised)
    }

    fn mark_refutation(&mut self, raised_before: u64) {
        if self.incarnations_raised() > raised_before {
            self.counters.mark(Mark::IncarnationRaised);
        }
    }

    pub(crate) fn metadata_deadline(&self) -> Option<Time> {
        self.metadata.as_ref().map(|host| host.plane.next_deadline())
    }

    pub(crate) fn on_metadata_deadline(&mut self) {
        // Neighbours of the overlay: links to them are there, and it is connected.
        let peers: Vec<NodeId> = self.broadcast.as_ref().map_or_else(Vec::new, |host| {
            host.layer().peers().iter().filter(|peer| self.ring.is_member(*peer)).collect()
        });
        let now = self.now.time;
        let Some(host) = &mut self.metadata else { return };
        let (effects, peer) = host.plane.on_deadline(&peers, now);
        self.carry_out_metadata(effects, peer);
    }

    pub(crate) fn set_option(&mut self, name: &str, value: &str) -> ClientResponse {
        let base = match &self.metadata {
            None => return self.refuse_metadata(SWITCHED_OFF.into()),
            Some(host) => host.base.clone(),
        };
        if !OptionRecord::is_foreign_name(name)
            && let Err(error) = base.with_option(name, value)
        {
            return self.refuse_metadata(error.0);
        }
        let host = self.metadata.as_mut().expect("it was there");
        match host.plane.set_option(name, value) {
            Ok((record, effects)) => {
                self.carry_out_metadata(effects, None);
                ClientResponse::OptionSet { version: record.version }
            }
            Err(sentence) => self.refuse_metadata(sentence.into()),
        }
    }

    pub(crate) fn known_members(&mut self, after: Option<NodeId>, limit: u32) -> ClientResponse {
        let Some(host) = &self.metadata else { return self.refuse_metadata(SWITCHED_OFF.into()) };
        let limit = limit.min(PAGE_MAX) as usize;
        let behind = host.plane.map().members().filter(|(member, _)| Some(member.node) > after);
        let mut members: Vec<KnownMember> =
            behind.take(limit + 1).map(|(member, down)| KnownMember { member: member.clone(), down }).collect();
        let more = members.len() > limit;
        members.truncate(limit);
        ClientResponse::Members { members, more }
    }

    pub(crate) fn known_options(&mut self, after: Option<&str>, limit: u32) -> ClientResponse {
        let Some(host) = &self.metadata else { return self.refuse_metadata(SWITCHED_OFF.into()) };
        let limit = limit.min(PAGE_MAX) as usize;
        let behind = host.plane.map().options().filter(|(name, _)| Some(*name) > after);
        let mut options: Vec<NodeOption> = behind
            .take(limit + 1)
            .map(|(name, option)| NodeOption { name: name.into(), option: option.clone() })
            .collect();
        let more = options.len() > limit;
        options.truncate(limit);
        ClientResponse::Options { options, more }
    }

    fn refuse_metadata(&mut self, message: String) -> ClientResponse {
        self.counters.requests_refused += 1;
        ClientResponse::Failed(ClientError { kind: ClientErrorKind::Refused, message })
    }
}
