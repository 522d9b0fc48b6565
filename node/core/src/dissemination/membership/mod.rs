//! Whom a node talks to: all members, or a partial view of them.

mod full;
mod hyparview;
mod views;

pub(super) use full::Full;
pub(super) use hyparview::HyParView;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::chance;
use super::config::{DisseminationConfig, MembershipKind};
use super::counters::DisseminationCounters;
use super::layer::Effects;
use super::message::HyParViewMessage;
use crate::{Link, NodeId, Planted, Time};

/// The peers that a protocol may talk to.
#[derive(Clone, Copy, Debug)]
pub enum Peers<'a> {
    /// All members but the node itself, those that are down included.
    All {
        /// Every member, ascending, the node itself included.
        members: &'a [NodeId],
        /// The node itself.
        identity: NodeId,
    },
    /// The neighbours in a partial view, ascending.
    View(&'a [NodeId]),
}

impl<'a> Peers<'a> {
    /// Every member, ascending; of a view only its neighbours.
    pub(super) fn members(self) -> &'a [NodeId] {
        match self {
            Peers::All { members, .. } => members,
            Peers::View(view) => view,
        }
    }

    /// All of them, ascending.
    pub fn iter(self) -> impl Iterator<Item = NodeId> + 'a {
        let own = match self {
            Peers::All { identity, .. } => Some(identity),
            Peers::View(_) => None,
        };
        self.members().iter().copied().filter(move |peer| Some(*peer) != own)
    }

    /// How many there are.
    pub fn len(self) -> usize {
        match self {
            Peers::All { members, .. } => members.len().saturating_sub(1),
            Peers::View(view) => view.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether `peer` is one of them.
    pub fn contains(self, peer: NodeId) -> bool {
        match self {
            Peers::All { members, identity } => peer != identity && members.binary_search(&peer).is_ok(),
            Peers::View(view) => view.binary_search(&peer).is_ok(),
        }
    }

    /// Up to `count` different ones, in random order. Of many only a few are looked at.
    pub(super) fn sample(self, rng: &mut ChaCha8Rng, count: usize) -> Vec<NodeId> {
        let Peers::All { members, identity } = self else {
            return chance::sample(rng, self.members(), count);
        };
        if count * 2 >= self.len() {
            let all: Vec<NodeId> = self.iter().collect();
            return chance::sample(rng, &all, count);
        }
        let mut chosen = Vec::with_capacity(count);
        while chosen.len() < count {
            let peer = members[rng.random_range(0..members.len())];
            if peer != identity && !chosen.contains(&peer) {
                chosen.push(peer);
            }
        }
        chosen
    }
}

/// What became of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is a neighbour now.
    Up,
    /// It is a neighbour now, in place of a spare one.
    Spare,
    /// It is a neighbour no longer.
    Down,
}

/// What a membership may use while it handles one input.
pub(super) struct MembershipContext<'a> {
    pub(super) now: Time,
    pub(super) counters: &'a mut DisseminationCounters,
    pub(super) effects: &'a mut Effects,
    /// Neighbours that came and went, in order.
    pub(super) changes: &'a mut Vec<(NodeId, Change)>,
    /// Neighbours that the broadcast tree does not run over: they are missed the least.
    pub(super) spare: &'a [NodeId],
    pub(super) planted: Planted,
}

/// The membership that was selected.
#[derive(Debug)]
pub(super) enum Membership {
    Full(Full),
    HyParView(Box<HyParView>),
}

impl Membership {
    pub(super) fn new(
        config: &DisseminationConfig,
        identity: NodeId,
        members: Arc<[NodeId]>,
        rng: ChaCha8Rng,
        now: Time,
    ) -> Membership {
        match config.membership {
            MembershipKind::Full => Membership::Full(Full::new(identity, members)),
            MembershipKind::HyParView => {
                let contacts = &config.hyparview.contacts;
                let contacts = if contacts.is_empty() { &members[..members.len().min(3)] } else { contacts };
                Membership::HyParView(Box::new(HyParView::new(config.hyparview.clone(), identity, contacts, rng, now)))
            }
        }
    }

    pub(super) fn peers(&self) -> Peers<'_> {
        match self {
            Membership::Full(full) => full.peers(),
            Membership::HyParView(views) => Peers::View(views.active()),
        }
    }

    /// First things to do.
    pub(super) fn start(&mut self, context: &mut MembershipContext<'_>) {
        match self {
            Membership::Full(full) => full.start(context),
            Membership::HyParView(views) => views.start(context),
        }
    }

    /// A message of HyParView; whether it is of the membership that was selected.
    pub(super) fn on_message(
        &mut self,
        context: &mut MembershipContext<'_>,
        from: NodeId,
        message: HyParViewMessage,
    ) -> bool {
        match self {
            Membership::Full(_) => false,
            Membership::HyParView(views) => {
                views.on_message(context, from, message);
                true
            }
        }
    }

    /// A message that only neighbours send came from somebody else.
    pub(super) fn on_stranger(&mut self, context: &mut MembershipContext<'_>, from: NodeId) {
        if let Membership::HyParView(views) = self {
            views.disconnect(context, from);
        }
    }

    pub(super) fn on_link(&mut self, context: &mut MembershipContext<'_>, peer: NodeId, link: Link) {
        if let Membership::HyParView(views) = self
            && link == Link::Down
        {
            views.on_link_down(context, peer);
        }
    }

    /// Members came or left.
    pub(super) fn on_members(&mut self, context: &mut MembershipContext<'_>, members: Arc<[NodeId]>) {
        match self {
            Membership::Full(full) => full.on_members(context, members),
            // Who is new joins by itself; who left must not be tried again.
            Membership::HyParView(views) => views.keep_only(context, &members),
        }
    }

    pub(super) fn on_deadline(&mut self, context: &mut MembershipContext<'_>) {
        if let Membership::HyParView(views) = self {
            views.on_deadline(context);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        match self {
            Membership::Full(_) => None,
            Membership::HyParView(views) => views.next_deadline(),
        }
    }
}
