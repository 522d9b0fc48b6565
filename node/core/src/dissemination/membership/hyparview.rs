//! HyParView (Leitao, Pereira, Rodrigues, "HyParView: a membership protocol for reliable gossip-based broadcast", 2007).
//!
//! ```text
//!            JOIN, NEIGHBOR accepted (by either side)
//! passive ------------------------------------------> active
//!    ^                                                  |  |
//!    |          DISCONNECT (either way)                 |  |  link down
//!    +--------------------------------------------------+  +-----------> lost (tried again, ever more seldom)
//! ```
//!
//! The link is the failure detector. Every change of the active view is asked for and answered, so that both sides agree:
//! JOIN and NEIGHBOR wait for a reply; an answer that comes too late, and traffic from a node that is no neighbour, are
//! answered with DISCONNECT.
//!
//! What goes beyond the paper, each for a trouble that real systems had:
//! - DISCONNECT names who took the place. Whoever is put out turns to the newcomer, who has room: a link A-B becomes A-new-B.
//!   So any number of nodes may join through one contact at once, and no island forms.
//! - A peer whose link broke is *lost*: it is tried again, more and more seldom. Once it answers, both take each other in, so
//!   overlays that a partition parted merge again. Contacts try the other contacts in the same way, so that overlays
//!   that never knew each other merge, too.
//! - Active views that are full never change in the paper, so an overlay stays as its joins made it: newcomers near each other, long
//!   ways. Here a node now and then trades a neighbour with a random passive peer: A-B and C-D become A-C and B-D, more and more
//!   seldom. Degrees stay, ways become as short as in a random graph.
//! - A node joins anew only when it has no neighbour at all; otherwise it looks for neighbours of low priority, which put nobody
//!   out. Candidates that were all tried in vain are tried again more and more seldom.
//! - The hops of every walk are counted down from at most what the configuration says.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::views::Views;
use super::{Change, MembershipContext, chance};
use crate::dissemination::config::HyParViewConfig;
use crate::dissemination::message::{DisseminationMessage, HyParViewMessage, Priority};
use crate::{NodeId, Time, planted};

/// Most lost peers that are remembered.
const LOST_MAX: usize = 16;
/// Most peers named in a DISCONNECT.
const ALTERNATIVES: usize = 3;
/// Most peers of a sample that are looked at.
const SAMPLE_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Join,
    Neighbor(Priority),
}

#[derive(Debug)]
pub(in crate::dissemination) struct HyParView {
    config: HyParViewConfig,
    identity: NodeId,
    /// The other contacts.
    contacts: Vec<NodeId>,
    is_contact: bool,
    rng: ChaCha8Rng,
    views: Views,
    /// Asked and not yet answered, with the time until which the answer is awaited.
    asked: BTreeMap<NodeId, (Asked, Time)>,
    /// Passive peers that were asked in vain since the last round began.
    tried: BTreeSet<NodeId>,
    lost: VecDeque<NodeId>,
    /// What the last shuffle sent away.
    sent: Vec<NodeId>,
    next_shuffle: Time,
    /// Set while something is wanting.
    next_replenish: Option<Time>,
    replenish_ms: u64,
    next_probe: Option<Time>,
    probe_ms: u64,
    next_swap: Option<Time>,
    swap_ms: u64,
    /// Lazy links that others gave up: so many of the next ones begin lazy.
    spares_owed: usize,
    /// Until then nobody is asked, as long as there is one neighbour at least.
    patient_until: Time,
}

impl HyParView {
    pub(super) fn new(
        config: HyParViewConfig,
        identity: NodeId,
        contacts: &[NodeId],
        mut rng: ChaCha8Rng,
        now: Time,
    ) -> HyParView {
        let mut contacts = contacts.to_vec();
        contacts.truncate(SAMPLE_MAX);
        let phase_ms = 1 + rng.random_range(0..config.shuffle_interval_ms);
        let is_contact = contacts.contains(&identity);
        contacts.retain(|contact| *contact != identity);
        let probe_ms = config.probe_interval_ms;
        let next_probe = is_contact.then(|| now.plus_ms(probe_ms + rng.random_range(0..probe_ms)));
        let swap_ms = config.swap_interval_ms;
        let next_swap = (swap_ms > 0).then(|| now.plus_ms(swap_ms / 2 + rng.random_range(0..swap_ms)));
        HyParView {
            next_swap,
            swap_ms,
            patient_until: now,
            spares_owed: 0,
            views: Views::new(identity, config.active_max, config.passive_max),
            replenish_ms: config.replenish_interval_ms,
            probe_ms,
            next_probe,
            next_shuffle: now.plus_ms(phase_ms),
            next_replenish: None,
            asked: BTreeMap::new(),
            tried: BTreeSet::new(),
            lost: VecDeque::new(),
            sent: Vec::new(),
            config,
            identity,
            contacts,
            is_contact,
            rng,
        }
    }

    pub(super) fn active(&self) -> &[NodeId] {
        self.views.active()
    }

    pub(in crate::dissemination) fn passive(&self) -> &[NodeId] {
        self.views.passive()
    }

    /// Whom an answer is awaited from.
    pub(in crate::dissemination) fn asked(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.asked.keys().copied()
    }

    /// Entries in tables beside the views.
    pub(in crate::dissemination) fn state_size(&self) -> usize {
        self.asked.len() + self.tried.len() + self.lost.len() + self.sent.len()
    }

    fn send(context: &mut MembershipContext<'_>, to: NodeId, message: HyParViewMessage) {
        context.effects.send.push((to, DisseminationMessage::HyParView(message)));
    }

    pub(super) fn start(&mut self, context: &mut MembershipContext<'_>) {
        self.replenish(context);
    }

    fn ask(&mut self, context: &mut MembershipContext<'_>, peer: NodeId, asked: Asked) {
        self.asked.insert(peer, (asked, context.now.plus_ms(self.config.neighbor_timeout_ms)));
        let message = match asked {
            Asked::Join => {
                context.counters.joins_sent += 1;
                HyParViewMessage::Join
            }
            Asked::Neighbor(priority) => HyParViewMessage::Neighbor { priority },
        };
        Self::send(context, peer, message);
    }

    /// Looks for neighbours while there is room: in the passive view, and at the contacts when there is nobody at all.
    fn replenish(&mut self, context: &mut MembershipContext<'_>) {
        if context.now < self.patient_until && !self.views.active().is_empty() {
            return;
        }
        loop {
            let wanting = self.config.active_max.saturating_sub(self.views.active().len() + self.asked.len());
            if wanting == 0 {
                break;
            }
            let candidates: Vec<NodeId> = self
                .views
                .passive()
                .iter()
                .copied()
                .filter(|peer| !self.tried.contains(peer) && !self.asked.contains_key(peer))
                .collect();
            let alone = self.views.active().is_empty();
            if let Some(peer) = chance::pick(&mut self.rng, &candidates) {
                self.tried.insert(peer);
                // One asks with high priority, so that a node that comes back after all puts out one peer, not five.
                let urgent = alone && self.asked.values().all(|(asked, _)| *asked == Asked::Neighbor(Priority::Low));
                let urgent = urgent || planted!(context.planted, RejoinOnEachLoss);
                let priority = if urgent { Priority::High } else { Priority::Low };
                self.ask(context, peer, Asked::Neighbor(priority));
                continue;
            }
            // Nobody is left to be tried now.
            if alone && self.asked.is_empty() {
                let lost = self.lost.iter().copied();
                let contacts: Vec<NodeId> = self.contacts.iter().copied().chain(lost).collect();
                let fresh: Vec<NodeId> = contacts.iter().copied().filter(|peer| !self.tried.contains(peer)).collect();
                if let Some(contact) = chance::pick(&mut self.rng, &fresh) {
                    self.tried.insert(contact);
                    self.ask(context, contact, Asked::Join);
                    continue;
                }
            }
            break;
        }
        let wanting = !self.views.is_full();
        if !wanting {
            self.replenish_ms = self.config.replenish_interval_ms;
            self.next_replenish = None;
            self.tried.clear();
        } else if self.next_replenish.is_none() {
            let jitter = self.rng.random_range(0..=self.replenish_ms / 2);
            self.next_replenish = Some(context.now.plus_ms(self.replenish_ms + jitter));
        }
    }

    /// A place is needed soon: no more waiting.
    fn hurry(&mut self) {
        self.replenish_ms = self.config.replenish_interval_ms;
        self.next_replenish = None;
    }

    /// Takes `peer` into the active view, if need be in place of another.
    fn take_in(&mut self, context: &mut MembershipContext<'_>, peer: NodeId) {
        let spare = self.spares_owed > 0 && !self.views.is_active(peer);
        self.spares_owed -= usize::from(spare);
        self.take_in_as(context, peer, if spare { Change::Spare } else { Change::Up });
    }

    fn take_in_as(&mut self, context: &mut MembershipContext<'_>, peer: NodeId, change: Change) {
        if self.views.is_active(peer) {
            return;
        }
        if self.views.is_full() {
            let victim = self.victim(context).expect("a full view has somebody");
            context.counters.evictions += 1;
            self.put_out(context, victim, &[peer]);
        }
        self.asked.remove(&peer);
        self.tried.remove(&peer);
        self.lost.retain(|lost| *lost != peer);
        self.views.add_active(peer);
        context.changes.push((peer, change));
    }

    /// Who is put out when somebody has to be: if possible one that the broadcast tree does not run over.
    fn victim(&mut self, context: &MembershipContext<'_>) -> Option<NodeId> {
        let active = self.views.active();
        let spare: Vec<NodeId> = context.spare.iter().copied().filter(|peer| active.contains(peer)).collect();
        chance::pick(&mut self.rng, if spare.is_empty() { active } else { &spare })
    }

    /// Removes an active peer and tells it whom it may turn to: first of all `first`, then others of the view. With nobody named
    /// first it hears of nobody, since somebody will turn to it.
    fn put_out(&mut self, context: &mut MembershipContext<'_>, peer: NodeId, first: &[NodeId]) {
        self.views.remove_active(peer);
        context.changes.push((peer, Change::Down));
        let mut alternatives = first.to_vec();
        if !first.is_empty() {
            let others: Vec<NodeId> = self.views.active().iter().copied().filter(|a| !first.contains(a)).collect();
            alternatives.extend(chance::sample(&mut self.rng, &others, ALTERNATIVES - first.len()));
        }
        if planted!(context.planted, DisconnectNamesNobody) {
            alternatives.clear();
        }
        self.views.add_passive(&mut self.rng, &[peer], &[]);
        Self::send(context, peer, HyParViewMessage::Disconnect { alternatives });
    }

    /// The end of a swap that was asked; whom it cost the place.
    fn swap_in(&mut self, context: &mut MembershipContext<'_>, peer: NodeId) -> Option<NodeId> {
        if self.views.is_active(peer) || !self.views.is_full() {
            self.take_in(context, peer);
            return None;
        }
        let victim = self.victim(context)?;
        let change = if context.spare.contains(&victim) { Change::Spare } else { Change::Up };
        self.put_out(context, victim, &[]);
        self.take_in_as(context, peer, change);
        Some(victim)
    }

    /// Trades a neighbour, if there is one too many to take another in.
    fn swap(&mut self, context: &mut MembershipContext<'_>) {
        let longest_ms = self.config.swap_interval_ms.saturating_mul(1_024);
        let jitter = self.rng.random_range(0..=self.swap_ms / 2);
        self.next_swap = Some(context.now.plus_ms(self.swap_ms * 3 / 4 + jitter));
        if !self.views.is_full() || !self.asked.is_empty() {
            return;
        }
        if let Some(peer) = chance::pick(&mut self.rng, self.views.passive()) {
            self.swap_ms = (self.swap_ms * 4).min(longest_ms);
            context.counters.swaps += 1;
            self.ask(context, peer, Asked::Neighbor(Priority::Swap));
        }
    }

    /// Tells a node that takes this one for its neighbour that it is not.
    pub(super) fn disconnect(&mut self, context: &mut MembershipContext<'_>, peer: NodeId) {
        if !self.views.is_active(peer) {
            Self::send(context, peer, HyParViewMessage::Disconnect { alternatives: Vec::new() });
        }
    }

    pub(super) fn on_message(&mut self, context: &mut MembershipContext<'_>, from: NodeId, message: HyParViewMessage) {
        match message {
            HyParViewMessage::Join => self.on_join(context, from),
            HyParViewMessage::ForwardJoin { node, ttl } => self.on_forward_join(context, from, node, ttl),
            HyParViewMessage::Neighbor { priority } => {
                let both_ask = self.asked.contains_key(&from);
                let room = !self.views.is_full() || self.views.is_active(from) || both_ask;
                let accepted = priority != Priority::Low || room;
                let mut replaced = None;
                if accepted {
                    match priority {
                        Priority::Swap => replaced = self.swap_in(context, from),
                        Priority::Low | Priority::High => self.take_in(context, from),
                    }
                } else {
                    context.counters.neighbors_refused += 1;
                    self.views.add_passive(&mut self.rng, &[from], &[]);
                }
                Self::send(context, from, HyParViewMessage::NeighborReply { accepted, replaced });
            }
            HyParViewMessage::NeighborReply { accepted, replaced } => {
                self.on_reply(context, from, accepted, replaced);
            }
            HyParViewMessage::Disconnect { alternatives } => self.on_disconnect(context, from, &alternatives),
            HyParViewMessage::Shuffle { origin, ttl, nodes } => self.on_shuffle(context, from, origin, ttl, nodes),
            HyParViewMessage::ShuffleReply { mut nodes } => {
                nodes.truncate(SAMPLE_MAX);
                let sent = core::mem::take(&mut self.sent);
                self.views.add_passive(&mut self.rng, &nodes, &sent);
            }
        }
        self.replenish(context);
    }

    fn on_join(&mut self, context: &mut MembershipContext<'_>, node: NodeId) {
        context.counters.joins_received += 1;
        if planted!(context.planted, JoinStaysWithContact) {
            // The newcomer is not passed on.
        } else {
            for &peer in self.views.active() {
                if peer != node {
                    Self::send(context, peer, HyParViewMessage::ForwardJoin { node, ttl: self.config.arwl });
                }
            }
        }
        self.take_in(context, node);
        Self::send(context, node, HyParViewMessage::NeighborReply { accepted: true, replaced: None });
    }

    fn on_forward_join(&mut self, context: &mut MembershipContext<'_>, from: NodeId, node: NodeId, ttl: u8) {
        if !self.views.is_active(from) {
            self.disconnect(context, from);
        }
        if node == self.identity || node.0 == 0 {
            return;
        }
        // It is new, so it is not lost.
        self.lost.retain(|lost| *lost != node);
        let ttl = ttl.min(self.config.arwl);
        let next = self.views.random_active(&mut self.rng, &[from, node]);
        let ends = ttl == 0 && !planted!(context.planted, WalkNeverEnds);
        match next {
            Some(next) if !ends => {
                if ttl == self.config.prwl {
                    self.views.add_passive(&mut self.rng, &[node], &[]);
                }
                let ttl = ttl.saturating_sub(1);
                Self::send(context, next, HyParViewMessage::ForwardJoin { node, ttl });
            }
            _ => {
                if !self.views.is_active(node) && !self.asked.contains_key(&node) {
                    self.ask(context, node, Asked::Neighbor(Priority::High));
                }
            }
        }
    }

    fn on_reply(
        &mut self,
        context: &mut MembershipContext<'_>,
        from: NodeId,
        accepted: bool,
        replaced: Option<NodeId>,
    ) {
        let asked = self.asked.remove(&from);
        match (asked, accepted) {
            (_, true) if self.views.is_active(from) => {}
            // Too late, or there is no room any more for what was only convenient.
            (None, true) => self.disconnect(context, from),
            (Some((Asked::Neighbor(Priority::Low), _)), true) if self.views.is_full() => {
                self.disconnect(context, from);
            }
            (Some((Asked::Neighbor(Priority::Swap), _)), true) if self.views.is_full() => {
                let victim = self.victim(context).expect("a full view has somebody");
                // The two that were put out take each other.
                let partner = replaced.filter(|partner| *partner != victim).unwrap_or(from);
                let change = if context.spare.contains(&victim) { Change::Spare } else { Change::Up };
                self.put_out(context, victim, &[partner]);
                self.take_in_as(context, from, change);
            }
            (Some(_), true) => self.take_in(context, from),
            (_, false) => {}
        }
    }

    fn on_disconnect(&mut self, context: &mut MembershipContext<'_>, from: NodeId, alternatives: &[NodeId]) {
        if !self.views.remove_active(from) {
            return;
        }
        let spare = context.spare.contains(&from) && self.spares_owed < self.config.active_max;
        self.spares_owed += usize::from(spare);
        context.changes.push((from, Change::Down));
        let known = &alternatives[..alternatives.len().min(ALTERNATIVES)];
        let mut candidates = alloc::vec![from];
        candidates.extend(known);
        self.views.add_passive(&mut self.rng, &candidates, &[]);
        // The one that was put out for another tries that first; not the one that has just shown it the door.
        if !known.is_empty() || self.views.active().is_empty() {
            self.hurry();
        } else {
            // The other end of a swap will ask soon.
            self.patient_until = context.now.plus_ms(self.config.replenish_interval_ms);
            self.next_replenish = Some(self.patient_until);
        }
        self.tried.insert(from);
        let new = known.first().copied().filter(|new| *new != self.identity && new.0 != 0);
        if let Some(new) = new
            && !self.views.is_active(new)
            && !self.asked.contains_key(&new)
        {
            self.tried.insert(new);
            let alone = self.views.active().is_empty();
            let priority = if alone { Priority::High } else { Priority::Low };
            self.ask(context, new, Asked::Neighbor(priority));
        }
    }

    fn on_shuffle(
        &mut self,
        context: &mut MembershipContext<'_>,
        from: NodeId,
        origin: NodeId,
        ttl: u8,
        mut nodes: Vec<NodeId>,
    ) {
        if !self.views.is_active(from) {
            self.disconnect(context, from);
        }
        if origin == self.identity || origin.0 == 0 {
            return;
        }
        nodes.truncate(SAMPLE_MAX);
        let ttl = ttl.min(self.config.shuffle_ttl).saturating_sub(1);
        if ttl > 0
            && let Some(next) = self.views.random_active(&mut self.rng, &[from, origin])
        {
            Self::send(context, next, HyParViewMessage::Shuffle { origin, ttl, nodes });
            return;
        }
        let answer = chance::sample(&mut self.rng, self.views.passive(), nodes.len());
        self.views.add_passive(&mut self.rng, &nodes, &answer);
        Self::send(context, origin, HyParViewMessage::ShuffleReply { nodes: answer });
    }

    pub(super) fn on_link_down(&mut self, context: &mut MembershipContext<'_>, peer: NodeId) {
        let was_active = self.views.remove_active(peer);
        let was_asked = self.asked.remove(&peer).is_some();
        self.views.remove_passive(peer);
        if was_active {
            context.counters.neighbours_lost += 1;
            self.spares_owed = 0;
            context.changes.push((peer, Change::Down));
            self.hurry();
        }
        // A contact that can't be reached belongs to an overlay of its own, for all this node knows.
        if was_active || (was_asked && self.contacts.contains(&peer)) {
            self.note_lost(context, peer);
        }
        if was_active || was_asked {
            self.replenish(context);
        }
    }

    /// Forgets everybody who is none of these, ascending.
    pub(super) fn keep_only(&mut self, context: &mut MembershipContext<'_>, members: &[NodeId]) {
        let stays = |node: &NodeId| members.binary_search(node).is_ok();
        self.contacts.retain(stays);
        self.lost.retain(stays);
        // Spares first: whoever takes the place of a lost neighbour must be one that stays.
        let gone: Vec<NodeId> =
            self.views.passive().iter().chain(self.views.active()).copied().filter(|n| !stays(n)).collect();
        for peer in gone {
            self.on_link_down(context, peer);
            self.lost.retain(|lost| *lost != peer);
        }
        let asked: Vec<NodeId> = self.asked.keys().copied().filter(|node| !stays(node)).collect();
        for peer in asked {
            self.on_link_down(context, peer);
            self.lost.retain(|lost| *lost != peer);
        }
    }

    fn note_lost(&mut self, context: &mut MembershipContext<'_>, peer: NodeId) {
        if planted!(context.planted, LostPeersForgotten) {
            return;
        }
        self.lost.retain(|lost| *lost != peer);
        self.lost.push_back(peer);
        if self.lost.len() > LOST_MAX {
            self.lost.pop_front();
        }
        self.probe_ms = self.config.probe_interval_ms;
        let jitter = self.rng.random_range(0..self.probe_ms);
        let at = context.now.plus_ms(self.probe_ms / 2 + jitter);
        self.next_probe = Some(self.next_probe.map_or(at, |next| next.min(at)));
    }

    /// Tries a lost peer, or a fellow contact, again.
    fn probe(&mut self, context: &mut MembershipContext<'_>) {
        let longest_ms = self.config.probe_interval_ms * 8;
        let is_contact = self.is_contact;
        if let Some(peer) = self.lost.pop_front() {
            self.lost.push_back(peer);
            self.ask_across(context, peer);
            self.probe_ms = (self.probe_ms * 2).min(longest_ms);
        } else if is_contact {
            self.probe_ms = longest_ms;
            if let Some(contact) = chance::pick(&mut self.rng, &self.contacts) {
                self.ask_across(context, contact);
            }
        }
        let again = is_contact || !self.lost.is_empty();
        let jitter = self.rng.random_range(0..=self.probe_ms / 4);
        self.next_probe = again.then(|| context.now.plus_ms(self.probe_ms + jitter));
    }

    fn ask_across(&mut self, context: &mut MembershipContext<'_>, peer: NodeId) {
        if !self.views.is_active(peer) && !self.asked.contains_key(&peer) {
            context.counters.probes_sent += 1;
            self.ask(context, peer, Asked::Neighbor(Priority::High));
        }
    }

    pub(super) fn on_deadline(&mut self, context: &mut MembershipContext<'_>) {
        let now = context.now;
        let late: Vec<NodeId> =
            self.asked.iter().filter(|(_, (_, until))| *until <= now).map(|(peer, _)| *peer).collect();
        for peer in &late {
            self.asked.remove(peer);
            self.views.remove_passive(*peer);
        }
        if self.next_shuffle <= now {
            self.next_shuffle = now.plus_ms(self.config.shuffle_interval_ms);
            self.shuffle(context);
        }
        if self.next_probe.is_some_and(|at| at <= now) {
            self.probe(context);
        }
        if self.next_swap.is_some_and(|at| at <= now) {
            self.swap(context);
        }
        let due = self.next_replenish.is_some_and(|at| at <= now);
        if due {
            self.next_replenish = None;
            self.tried.clear();
            self.replenish_ms = (self.replenish_ms * 2).min(self.config.replenish_interval_ms * 32);
            // Who has nobody may not wait long.
            if self.views.active().is_empty() {
                self.replenish_ms = self.replenish_ms.min(self.config.replenish_interval_ms * 4);
            }
        }
        if due || !late.is_empty() {
            self.replenish(context);
        }
    }

    fn shuffle(&mut self, context: &mut MembershipContext<'_>) {
        let Some(to) = self.views.random_active(&mut self.rng, &[]) else { return };
        let active: Vec<NodeId> = self.views.active().iter().copied().filter(|peer| *peer != to).collect();
        let mut nodes = alloc::vec![self.identity];
        nodes.extend(chance::sample(&mut self.rng, &active, self.config.shuffle_active));
        let passive = chance::sample(&mut self.rng, self.views.passive(), self.config.shuffle_passive);
        nodes.extend(&passive);
        self.sent = passive;
        context.counters.shuffles_sent += 1;
        let ttl = self.config.shuffle_ttl;
        Self::send(context, to, HyParViewMessage::Shuffle { origin: self.identity, ttl, nodes });
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let asked = self.asked.values().map(|(_, until)| *until).min();
        [Some(self.next_shuffle), self.next_replenish, self.next_probe, self.next_swap, asked]
            .into_iter()
            .flatten()
            .min()
    }
}
