//! The replica's part in changes of the ring: it keeps the map of the members, moves from view to view, makes sure of the ranges
//! that it gains, takes the steps of its own change, and sees to it that others hear of them.
//!
//! What makes this safe is in [`crate::ring::topology`]. Here belongs:
//!
//! - A move to another view is one output: the members are durable before anything is said in the new view, and what was said
//!   before it in the same output keeps the name of the former one.
//! - Maps spread by need: a message from another view, or a link that comes up, makes both sides exchange them. Who is in the
//!   middle of a change tells its peers until all have seen it. Each of these is bounded in its rate, for each peer.
//! - Keys that nobody holds here any more are forgotten at once and taken from the disk in small steps.
//!
//! Left out: changes under the policy `dcc`. A move takes time in proportion to the keys held, for the trees are built anew.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::anti_entropy::SessionReport;
use crate::failure_detector::Opinion;
use crate::message::{PeerMessage, RingMessage};
use crate::ring::topology::{MemberMap, Phase, RingMember, Topology, View, is_usable, merge_members};
use crate::ring::{RangeId, Token, TokenRange};
use crate::{
    ClientError, ClientErrorKind, ClientResponse, Event, Key, Lane, Link, Mark, MemberReport, NodeId, Replica,
    RequestId, RingReport, Time, planted,
};

/// Between two tellings of the same view to the same peer.
const TELL_AGAIN_MS: u64 = 250;
/// Keys taken from the disk in one step.
const DROP_KEYS: usize = 512;
/// Linked nodes that are no members, yet.
const STRANGERS_MAX: usize = 1_024;

/// What a replica keeps about changes of the ring.
#[derive(Debug, Default)]
pub(crate) struct RingHost {
    /// Ranges that this node owns and has not made sure of, with those it has still to compare itself with.
    unsure: BTreeMap<RangeId, BTreeSet<NodeId>>,
    /// Whom it has still to compare itself with to fill the ranges that it will own.
    filling: BTreeSet<NodeId>,
    /// How many comparisons there were to do in this view.
    comparisons: usize,
    /// Who has to be settled before this node takes its next step.
    awaited: BTreeSet<NodeId>,
    /// Who is in this view, and whether it is settled.
    seen: BTreeMap<NodeId, bool>,
    /// Whether those in the middle of a change were told that this node is settled: once, and then with the ticks, or two of them would
    /// answer each other without end.
    said_settled: bool,
    /// When the members were last told to whom, in this view.
    told: BTreeMap<NodeId, Time>,
    /// Linked, and no members yet.
    strangers: BTreeSet<NodeId>,
    /// Keys on the disk that are no longer held.
    forgotten: VecDeque<Key>,
}

impl RingHost {
    /// A node that boots with members other than the configuration's; `unsure` of these ranges.
    pub(crate) fn of_boot(topology: &Topology, identity: NodeId, unsure: bool, forgotten: Vec<Key>) -> RingHost {
        let mut host = RingHost { forgotten: forgotten.into(), ..RingHost::default() };
        if unsure {
            for range in topology.natural_ranges(identity) {
                host.unsure.insert(range.id(), topology.sources(identity, range));
            }
        }
        host.begin_view(topology, identity);
        host
    }

    fn begin_view(&mut self, topology: &Topology, identity: NodeId) {
        self.unsure.retain(|_, sources| !sources.is_empty());
        self.filling = if topology.is_member(identity) { topology.fill_from(identity) } else { BTreeSet::new() };
        self.awaited = topology.awaited(identity);
        self.said_settled = false;
        self.seen.clear();
        self.told.clear();
        self.comparisons = self.comparing_with().len();
    }

    /// Whether every owned range is made sure of.
    pub(crate) fn is_sure(&self) -> bool {
        self.unsure.is_empty()
    }

    /// Whether this node is linked and no member, yet or any more.
    pub(crate) fn is_stranger(&self, node: NodeId) -> bool {
        self.strangers.contains(&node)
    }

    /// Whom this node has still to compare itself with.
    pub(crate) fn comparing_with(&self) -> BTreeSet<NodeId> {
        self.unsure.values().flatten().chain(&self.filling).copied().collect()
    }

    fn on_compared(&mut self, peer: NodeId) {
        self.filling.remove(&peer);
        self.unsure.retain(|_, sources| {
            sources.remove(&peer);
            !sources.is_empty()
        });
    }
}

impl Replica {
    fn own_phase(&self) -> Phase {
        self.topology.phase(self.identity).expect("a node is in its own map")
    }

    /// Whether this node may count as an owner of the key: it has made sure of its range, or always had it.
    pub(crate) fn is_sure_of(&self, key: &Key) -> bool {
        self.ring_host.is_sure()
            || !self.ring_host.unsure.contains_key(&self.topology.held().range_at(Token::of_key(key)).id())
    }

    /// Who will own the key and does not yet.
    pub(crate) fn pending_for(&self, key: &Key) -> Vec<NodeId> {
        if self.topology.is_changing() { self.topology.pending(Token::of_key(key)) } else { Vec::new() }
    }

    /// Whether this node answers reads of a key of its own.
    pub(crate) fn answers(&self, key: &Key) -> bool {
        self.catching_up_from.is_empty() && self.is_sure_of(key)
    }

    /// Whether it is an owner of the key, so that coordinators may ask it.
    pub(crate) fn serves(&self, key: &Key) -> bool {
        self.store.owns(key) && (!self.topology.is_changing() || self.ring.is_replica(self.identity, key))
    }

    /// Whether a write of the key that was taken is to be acknowledged.
    pub(crate) fn acknowledges(&mut self, key: &Key) -> bool {
        if self.is_sure_of(key) || planted!(self.planted, UnsureAcknowledges) {
            return true;
        }
        self.counters.ring_writes_unsure += 1;
        self.counters.mark(Mark::WriteUnsure);
        false
    }

    fn is_settled(&self) -> bool {
        self.catching_up_from.is_empty() && self.ring_host.unsure.is_empty() && self.ring_host.filling.is_empty()
    }

    /// Whether this node has left and everybody who is alive knows: its process has nothing more to do.
    pub fn has_left(&self) -> bool {
        let knows = |peer: NodeId| self.ring_host.seen.contains_key(&peer);
        self.topology.phase(self.identity) == Some(Phase::Left)
            && !self.ring_host.seen.is_empty()
            && self.detector.statuses().iter().all(|peer| !peer.alive || knows(peer.peer))
    }

    /// Names the view in everything of this output that is about owners and has no name yet.
    pub(crate) fn seal_output(&mut self) {
        let view = self.topology.view();
        if view == View::FOUNDERS {
            return;
        }
        for send in &mut self.output.send {
            if send.message.is_about_owners() {
                let message = core::mem::replace(&mut send.message, PeerMessage::Heartbeat);
                send.message = PeerMessage::InView { view, message: message.into() };
            }
        }
    }

    // ---- moving

    /// The members are others: from here on everything is done in their view.
    fn move_to(&mut self, members: MemberMap) {
        self.seal_output();
        let config = self.config.clone();
        let topology = Topology::new(members, &config.members, config.vnodes, config.replication);
        let former = core::mem::replace(&mut self.topology, topology);
        let identity = self.identity;
        let was_ready = self.is_ready();
        let mut unsure = BTreeMap::new();
        for range in self.topology.natural_ranges(identity) {
            let was_sure = |old: &TokenRange| {
                former.natural().replicas_at(Token(old.until)).contains(&identity)
                    && !self.ring_host.unsure.contains_key(&old.id())
            };
            if !former.overlapping(range).iter().all(was_sure) && !planted!(self.planted, JoinServesUnsure) {
                unsure.insert(range.id(), self.topology.sources(identity, range));
            }
        }
        self.ring_host.unsure = unsure;
        self.ring_host.begin_view(&self.topology, identity);
        self.ring = self.topology.natural().clone();
        self.ring_fingerprint = fingerprint_of(&self.founders_fingerprint, self.topology.view());
        self.counters.ring_changes += 1;
        if self.topology.changing().count() > 1 {
            self.counters.mark(Mark::TwoChanges);
        }
        let forgotten = self.store.hold(&self.topology.held().owned_token_ranges(identity));
        if self.own_phase() != Phase::Left {
            // What a node that left has stays on its disk: nobody reads it, and nobody misses it.
            self.ring_host.forgotten.extend(forgotten);
        }
        self.lose_too_early();
        let held = self.topology.held();
        let neighbours = held.neighbours(identity);
        let present: BTreeSet<NodeId> = self.topology.present().filter(|node| *node != identity).collect();
        self.sync.on_ring(self.now.time, held, identity);
        if !self.catching_up_from.is_empty() {
            self.catching_up_from = neighbours.iter().copied().filter(|node| present.contains(node)).collect();
        }
        self.detector.on_members(&present, &neighbours);
        let known: Vec<NodeId> = self.ring_host.strangers.intersection(&present).copied().collect();
        for node in known {
            self.ring_host.strangers.remove(&node);
            self.detector.on_link(node, Link::Up, self.now.time, &mut self.counters, &mut self.output.events);
        }
        self.output.durable.puts.push(crate::store_codec::ring_entry(self.topology.members()));
        if self.is_ready() {
            self.note_mark();
            if !was_ready {
                self.output.events.push(Event::CaughtUp);
            }
        }
        self.tell_addresses();
        self.output.events.push(Event::Ring(self.describe_change(&former)));
        self.begin_comparisons();
        self.begin_hand_over();
        self.begin_requests_again();
    }

    /// Compares this node with everybody that it has to.
    pub(crate) fn begin_comparisons(&mut self) {
        let repairs = self.repairs.iter().flat_map(|repair| repair.waiting_for());
        let mut peers: BTreeSet<NodeId> = self.ring_host.comparing_with();
        peers.extend(self.catching_up_from.iter().copied().chain(repairs));
        for peer in peers {
            self.request_comparison(peer);
        }
    }

    /// Tells the driver where members are that the configuration does not name.
    pub(crate) fn tell_addresses(&mut self) {
        let others = self.topology.members().iter().filter(|(node, member)| {
            **node != self.identity && member.phase != Phase::Left && !member.address.is_empty()
        });
        self.output.addresses.extend(others.map(|(node, member)| (*node, member.address.clone())));
    }

    /// Gives up what it should hold for others: a planted bug.
    fn lose_too_early(&mut self) {
        #[cfg(feature = "planted-bugs")]
        if planted!(self.planted, DropsTooEarly) && self.topology.is_changing() {
            let pending = |key: &Key| self.topology.pending(Token::of_key(key)).contains(&self.identity);
            let foreign = |key: &&Key| !self.ring.is_replica(self.identity, key) && !pending(key);
            let keys: Vec<Key> =
                self.store.table_ref().scan(None).map(|(key, _)| key).filter(foreign).cloned().collect();
            for key in keys {
                self.store.lose(&key, &mut self.output.durable);
            }
        }
    }

    fn describe_change(&self, former: &Topology) -> String {
        let mut sentence = String::from("the ring changes:");
        for (node, member) in self.topology.members() {
            if former.phase(*node) != Some(member.phase) {
                sentence += &format!(" {node} is {},", member.phase.name());
            }
        }
        sentence.pop();
        sentence
    }

    /// A comparison with a peer is done, from begin to end in this view.
    pub(crate) fn on_ring_compared(&mut self, report: &SessionReport) {
        self.ring_host.on_compared(report.peer);
    }

    /// Whether something is missing yet; tells those who wait for it when nothing is any more, and takes the next step.
    pub(crate) fn check_progress(&mut self) {
        if self.topology.is_changing() {
            if self.is_settled() && !core::mem::replace(&mut self.ring_host.said_settled, true) {
                self.tell_changing();
            }
            // Entering, Normal: two steps at once at most, for each has a condition that the move makes anew.
            for _ in 0..2 {
                let Some(next) = self.next_step() else { return };
                self.take_step(next);
            }
        }
    }

    fn next_step(&self) -> Option<Phase> {
        let host = &self.ring_host;
        let others = || self.topology.changing().filter(|(node, _)| *node != self.identity);
        let busy = || others().any(|(_, phase)| matches!(phase, Phase::Entering | Phase::Exiting));
        let all_settled = || {
            let settled = |node: &NodeId| host.seen.get(node) == Some(&true);
            host.awaited.iter().all(settled) || planted!(self.planted, LeavesTooEarly)
        };
        let replaced_is_dead = || {
            let replaced = self.topology.members().get(&self.identity).and_then(|member| member.replaces);
            replaced.is_none_or(|node| {
                !self.topology.is_member(node) || self.detector.opinion(node, self.now.time) == Opinion::Dead
            })
        };
        match self.own_phase() {
            Phase::Joining if host.filling.is_empty() && !host.seen.is_empty() && !busy() && replaced_is_dead() => {
                Some(Phase::Entering)
            }
            Phase::Entering if host.is_sure() => Some(Phase::Normal),
            Phase::Leaving if all_settled() && !busy() => Some(Phase::Exiting),
            Phase::Exiting if all_settled() => Some(Phase::Left),
            _ => None,
        }
    }

    fn take_step(&mut self, next: Phase) {
        let mut members = self.topology.members().clone();
        let own = members.get_mut(&self.identity).expect("a node is in its own map");
        own.phase = next;
        if let Some(replaced) = own.replaces.filter(|_| next == Phase::Entering) {
            let gone = RingMember { phase: Phase::Left, replaces: None, address: Vec::new() };
            members.entry(replaced).or_insert(gone).phase = Phase::Left;
        }
        self.change_members(members);
    }

    /// A change that begins here: the peers are told at once.
    fn change_members(&mut self, members: MemberMap) {
        self.move_to(members);
        self.tell_all();
    }

    // ---- telling

    /// Tells a peer the members, unless it was told these lately. Whether it was.
    fn tell(&mut self, peer: NodeId) -> bool {
        let now = self.now.time;
        let lately = |at: &Time| now.since_ms(*at) < TELL_AGAIN_MS;
        if peer == self.identity || self.ring_host.told.get(&peer).is_some_and(lately) {
            return false;
        }
        self.ring_host.told.insert(peer, now);
        let mut members = self.topology.members().clone();
        // Nobody needs the addresses of those that left.
        members.values_mut().filter(|member| member.phase == Phase::Left).for_each(|member| member.address.clear());
        self.send(peer, Lane::Data, PeerMessage::Ring(RingMessage::Members(members)));
        true
    }

    /// Tells every peer that is watched and has not seen this view.
    fn tell_all(&mut self) {
        let unseen = |peer: &NodeId| {
            // Who is dead hears of it when its link comes up.
            !self.ring_host.seen.contains_key(peer) && self.detector.opinion(*peer, self.now.time) != Opinion::Dead
        };
        let peers: Vec<NodeId> = self.detector.statuses().iter().map(|peer| peer.peer).filter(unseen).collect();
        for peer in peers {
            self.tell(peer);
        }
    }

    fn send_seen(&mut self, peer: NodeId) {
        let message = RingMessage::Seen { view: self.topology.view(), settled: self.is_settled() };
        self.send(peer, Lane::Control, PeerMessage::Ring(message));
    }

    /// Tells those in the middle of a change how far this node is.
    fn tell_changing(&mut self) {
        let identity = self.identity;
        let changing = self.topology.changing().map(|(node, _)| node).filter(|node| *node != identity);
        for node in changing.collect::<Vec<_>>() {
            self.send_seen(node);
        }
    }

    /// Once in each heartbeat interval.
    pub(crate) fn on_ring_tick(&mut self) {
        let own = self.own_phase();
        if self.topology.is_changing() {
            self.tell_changing();
        }
        if own.is_changing() || own == Phase::Left {
            self.tell_all();
        }
        self.check_progress();
    }

    /// A link came up: whoever knows other members than those of the configuration says which view it is in.
    pub(crate) fn on_ring_link(&mut self, peer: NodeId) {
        if self.topology.view() != View::FOUNDERS {
            self.send_seen(peer);
        }
    }

    /// A link of a node that is no member, yet or any more.
    pub(crate) fn on_strangers_link(&mut self, peer: NodeId, state: Link) {
        match state {
            Link::Up if self.ring_host.strangers.len() < STRANGERS_MAX => {
                self.ring_host.strangers.insert(peer);
            }
            Link::Up => {}
            Link::Down => {
                self.ring_host.strangers.remove(&peer);
            }
        }
    }

    /// One step of taking from the disk what is no longer held.
    pub(crate) fn drop_forgotten(&mut self) {
        let count = self.ring_host.forgotten.len().min(DROP_KEYS);
        for key in self.ring_host.forgotten.drain(..count) {
            self.store.drop_forgotten(&key, &mut self.output.durable);
            self.counters.ring_keys_dropped += 1;
        }
    }

    // ---- hearing

    /// A message about owners that was made in another view: not carried out.
    pub(crate) fn on_other_view(&mut self, from: NodeId) {
        self.counters.ring_other_view += 1;
        self.counters.mark(Mark::OtherView);
        self.tell(from);
    }

    /// What a node says about the members.
    pub(crate) fn on_ring(&mut self, from: NodeId, message: RingMessage) {
        match message {
            RingMessage::Members(theirs) => self.on_members(from, theirs),
            RingMessage::Seen { view, settled } if view == self.topology.view() => self.on_seen(from, settled),
            RingMessage::Seen { .. } => {
                self.tell(from);
            }
        }
        self.check_progress();
    }

    fn on_members(&mut self, from: NodeId, theirs: MemberMap) {
        let mut members = self.topology.members().clone();
        let changed = is_usable(&theirs) && merge_members(&mut members, &theirs);
        if !is_usable(&theirs) || !is_usable(&members) {
            self.counters.messages_invalid += 1;
            self.counters.mark(Mark::Invalid);
            return;
        }
        let view = |members: &MemberMap| -> Vec<(NodeId, Phase, Option<NodeId>)> {
            members.iter().map(|(node, member)| (*node, member.phase, member.replaces)).collect()
        };
        if view(&members) != view(self.topology.members()) {
            self.move_to(members);
        } else if changed {
            self.topology.with_addresses_of(&members);
            self.tell_addresses();
        }
        if view(self.topology.members()) == view(&theirs) {
            let settled = self.ring_host.seen.get(&from) == Some(&true);
            self.on_seen(from, settled);
            self.send_seen(from);
        } else {
            self.tell(from);
        }
    }

    /// A node is in this view.
    fn on_seen(&mut self, from: NodeId, settled: bool) {
        if self.ring_host.seen.insert(from, settled).is_some() {
            return;
        }
        // What it was sent before it came here it did not carry out.
        self.send_writes_again(from);
        self.sync.on_link_down(self.now.time, from);
        if self.ring_host.comparing_with().contains(&from) || self.catching_up_from.contains(&from) {
            self.request_comparison(from);
        }
    }

    // ---- clients

    /// The ring as this node sees it.
    pub(crate) fn ring_report(&self) -> RingReport {
        let held = self.topology.held();
        let member = |(node, member): (&NodeId, &RingMember)| {
            let ranges = self.ring.owned_token_ranges(*node);
            let width: u128 = ranges.iter().map(|range| range.width()).sum();
            MemberReport {
                node: *node,
                phase: member.phase,
                replaces: member.replaces,
                address: member.address.clone(),
                ranges: ranges.len() as u64,
                share: u32::try_from((width * 10_000) >> 64).expect("at most the whole ring"),
            }
        };
        let pending = |range: &TokenRange| !self.topology.pending(Token(range.until)).is_empty();
        let host = &self.ring_host;
        let comparing_with: Vec<NodeId> = host.comparing_with().into_iter().collect();
        let to_do = host.comparisons as u64;
        let settled = host.awaited.iter().filter(|node| host.seen.get(node) == Some(&true)).count();
        RingReport {
            node: self.identity,
            view: self.topology.view().0,
            members: self.topology.members().iter().map(member).collect(),
            ranges_pending: held.ranges().filter(pending).count() as u64,
            ranges_unsure: host.unsure.len() as u64,
            compared: (to_do.saturating_sub(comparing_with.len() as u64), to_do),
            comparing_with,
            taken_over: (settled as u64, host.awaited.len() as u64),
        }
    }

    /// A client wants this node to leave for good.
    pub(crate) fn leave(&mut self, request_id: RequestId) {
        let refusal = match self.own_phase() {
            Phase::Joining | Phase::Entering => Some(format!("{} is joining: wait until it is normal", self.identity)),
            Phase::Normal => self.too_few_without(self.identity),
            // It is on its way already, or gone.
            Phase::Leaving | Phase::Exiting | Phase::Left => None,
        };
        let begin = refusal.is_none() && self.own_phase() == Phase::Normal;
        self.answer_change(request_id, refusal, |members, identity| {
            if let Some(member) = members.get_mut(&identity).filter(|_| begin) {
                member.phase = Phase::Leaving;
            }
        });
    }

    /// A client wants a dead member to be out for good.
    pub(crate) fn remove_member(&mut self, request_id: RequestId, node: NodeId) {
        let refusal = match self.topology.phase(node) {
            None => Some(format!("{node} is no member: ask for the ring to see who is")),
            Some(Phase::Left) => None,
            Some(_) if node == self.identity => Some(format!("{node} is this node: ask it to leave")),
            Some(_) if self.detector.opinion(node, self.now.time) != Opinion::Dead => {
                Some(format!("{node} is not held for dead: ask it to leave, or stop it first"))
            }
            Some(Phase::Normal | Phase::Leaving | Phase::Entering) => self.too_few_without(node),
            Some(Phase::Joining | Phase::Exiting) => None,
        };
        self.answer_change(request_id, refusal, |members, _| {
            members.get_mut(&node).expect("looked up above").phase = Phase::Left;
        });
    }

    fn too_few_without(&self, node: NodeId) -> Option<String> {
        let stays = |(other, member): &(&NodeId, &RingMember)| {
            **other != node && matches!(member.phase, Phase::Entering | Phase::Normal)
        };
        let left = self.topology.members().iter().filter(stays).count();
        let replication = usize::from(self.config.replication);
        (left < replication).then(|| {
            format!(
                "without {node} there are {left} nodes for {replication} replicas of each key: let another join first"
            )
        })
    }

    fn answer_change(
        &mut self,
        request_id: RequestId,
        refusal: Option<String>,
        change: impl FnOnce(&mut MemberMap, NodeId),
    ) {
        let refusal = match &self.dcc {
            Some(_) => Some("the ring can't change under conflict: dcc".into()),
            None => refusal,
        };
        if let Some(message) = refusal {
            self.counters.requests_refused += 1;
            let error = ClientError { kind: ClientErrorKind::Refused, message };
            return self.output.reply.push((request_id, ClientResponse::Failed(error)));
        }
        let mut members = self.topology.members().clone();
        change(&mut members, self.identity);
        if members != *self.topology.members() {
            self.change_members(members);
        }
        self.output.reply.push((request_id, ClientResponse::Ring(self.ring_report())));
    }
}

/// Names a ring: what the configuration makes of it, and the view.
pub(crate) fn fingerprint_of(founders: &[u8; 32], view: View) -> [u8; 32] {
    if view == View::FOUNDERS {
        return *founders;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(founders);
    hasher.update(&view.0.to_be_bytes());
    *hasher.finalize().as_bytes()
}
