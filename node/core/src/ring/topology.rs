//! Members that come and go: what the ring is before, during and after a change.
//!
//! ```text
//!  joins:   Joining ----> Entering ----> Normal          leaves:   Normal ----> Leaving ----> Exiting ----> Left
//!           fills its     serves         others drop               the gainers  the gainers   its process
//!           ranges        those it has   what they                 fill theirs  serve those   ends
//!                         made sure of   lost                                   they made
//!                                                                               sure of
//!  replaces: as joins, on the tokens of the dead node, which becomes Left when its replacement enters
//!  removed:  any ----> Left at once, for a dead node whose place nobody takes
//! ```
//!
//! Of the members three rings are made:
//!
//! - *natural* (Entering, Normal, Leaving): who serves; levels count these alone;
//! - *target* (Joining, Entering, Normal, but those that are being replaced): who will serve. Who is in it and not natural yet is
//!   *pending*: every write is sent to it, too, and counts for nothing;
//! - *former* (Normal, Leaving, Exiting): who served before.
//!
//! A node *holds* the ranges it has in any of the three. A range that nobody holds it for any more is dropped: that is when the last
//! change is over, and so not before every new owner has everything, durably.
//!
//! # Why no acknowledged write is lost, and no quorum read goes back
//!
//! There is no agreement on the members, only a map that merges (per member the later phase wins). A *view* is the digest of that
//! map; nodes only move forward in it, and durably so before they say anything in the new view. Two rules:
//!
//! 1. *One view.* Every request of a coordinator to a replica, and every message of a Merkle session, names the view it was made in.
//!    A replica in another view does not carry it out; both sides exchange their maps, and the coordinator does the whole request again in the
//!    merged view. So the answers that make up a quorum were all given in one view.
//! 2. *Made sure of.* A node that became a natural owner of a range neither answers reads of it nor acknowledges writes to it
//!    (it takes them) until it has compared itself, in the new view and by a session from begin to end, with every other natural and
//!    former owner of it. Those were in the new view by then.
//!
//! Let a request succeed by the quorum Q1, and one that begins later by Q2, on the same key.
//! - *Same owners*: they share a node, as ever; if Q2 is in an older view, that node would have gone back in its view.
//! - *Q2 in the newer view, with a new owner n in it*: n has compared itself, in its view, with all former owners, of which Q1 was. Each
//!   of Q1 gave its answer before it moved to n's view, so what it held then it gave to n.
//! - *Q1 in the newer view, with a new owner in it*: all former owners had moved before it could count, so no quorum of these can
//!   answer in the old view any more: Q2 does not exist.
//! - *Neither has a new owner*: both are quorums among the former owners, and share a node.
//!
//! Hence acknowledgements of pending nodes are not needed, and a joining node that is slow or dead makes no write fail. Two changes at
//! once are safe by the same rules, because a new owner compares itself with natural *and* former owners; a node does not
//! take the second step of its change while it sees another one between its second and third.
//! A node that was removed or replaced is compared with by nobody: fewer than W nodes may be lost at a time, as with any N copies.
//! Replacing a node that lives loses what only it has.
//!
//! Source: *Database Internals*, chapter 12; the phases are those of Cassandra's transactional metadata (CEP-21) without its log.
//!
//! Left out: the ids of nodes that left are kept for ever (5 bytes each) and never used again: forgetting them would let a node that
//! slept through a join and a leave take its old view for the present one.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{RangeId, Ring, Token, TokenRange};
use crate::NodeId;

/// Where a member is in its life; only forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It fetches the ranges that will be its own.
    Joining,
    /// It serves each of its ranges that it has made sure of.
    Entering,
    /// It serves its ranges.
    Normal,
    /// It serves its ranges, others fetch them.
    Leaving,
    /// Others serve each of its ranges that they have made sure of.
    Exiting,
    /// Out for good; so is a dead member that was replaced or removed.
    Left,
}

impl Phase {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Joining => "joining",
            Phase::Entering => "entering",
            Phase::Normal => "normal",
            Phase::Leaving => "leaving",
            Phase::Exiting => "exiting",
            Phase::Left => "left",
        }
    }

    /// Whether a change is under way.
    pub fn is_changing(self) -> bool {
        !matches!(self, Phase::Normal | Phase::Left)
    }
}

/// A member of the ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingMember {
    /// Where it is in its life.
    pub phase: Phase,
    /// The dead member whose tokens it takes.
    pub replaces: Option<NodeId>,
    /// Where others reach it, opaque to the core. Empty: as configured.
    #[serde(with = "serde_bytes")]
    pub address: Vec<u8>,
}

impl RingMember {
    /// Longest address, in bytes.
    pub const ADDRESS_MAX: usize = 64;

    /// A member of the configuration.
    pub fn founder() -> RingMember {
        RingMember { phase: Phase::Normal, replaces: None, address: Vec::new() }
    }

    /// Both in one: the later phase, and what is known about it.
    fn join(&mut self, other: &RingMember) -> bool {
        let order = |member: &RingMember| (member.phase, member.replaces);
        let newer = order(other) > order(self);
        if newer {
            *self = other.clone();
        } else if order(other) == order(self) && other.address > self.address {
            self.address = other.address.clone();
            return true;
        }
        newer
    }
}

/// Every member that anybody ever heard of, those that left included.
pub type MemberMap = BTreeMap<NodeId, RingMember>;

/// Most members that have not left.
pub const MEMBERS_MAX: usize = 10_000;
/// Most ids in a map.
pub const IDS_MAX: usize = 32_000;

/// Takes `other` into `members`; whether anything was new.
pub fn merge_members(members: &mut MemberMap, other: &MemberMap) -> bool {
    let mut changed = false;
    for (node, member) in other {
        match members.get_mut(node) {
            Some(known) => changed |= known.join(member),
            None => {
                members.insert(*node, member.clone());
                changed = true;
            }
        }
    }
    changed
}

/// Whether a map from outside can be worked with: bounded, and somebody serves.
pub fn is_usable(members: &MemberMap) -> bool {
    let serves = |member: &&RingMember| matches!(member.phase, Phase::Entering | Phase::Normal | Phase::Leaving);
    let bounded = |(node, member): (&NodeId, &RingMember)| {
        node.0 > 0
            && member.address.len() <= RingMember::ADDRESS_MAX
            && member.replaces.is_none_or(|replaced| replaced.0 > 0 && replaced != *node)
    };
    members.len() <= IDS_MAX
        && members.values().filter(|member| member.phase != Phase::Left).count() <= MEMBERS_MAX
        && members.values().any(|member| serves(&member))
        && members.iter().all(bounded)
}

/// Names a view: the digest of a member map, 0 for the members of the configuration alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct View(pub u64);

impl View {
    /// The view of the configuration.
    pub const FOUNDERS: View = View(0);

    fn of(members: &MemberMap, founders: &[NodeId]) -> View {
        let founder = |node: &NodeId| members.get(node).is_some_and(|member| member.phase == Phase::Normal);
        if members.len() == founders.len() && founders.iter().all(founder) {
            return View::FOUNDERS;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"hearsay view");
        for (node, member) in members {
            hasher.update(&node.0.to_be_bytes());
            hasher.update(&[member.phase as u8]);
            hasher.update(&member.replaces.map_or(0, |replaced| replaced.0).to_be_bytes());
        }
        View(super::first_8_bytes(&hasher.finalize()).max(1))
    }
}

/// The rings of one view.
#[derive(Clone, Debug)]
pub struct Topology {
    members: Arc<MemberMap>,
    view: View,
    natural: Arc<Ring>,
    /// While a change is under way.
    change: Option<Arc<Change>>,
    /// Dead members whose places are being taken.
    replaced: Arc<BTreeSet<NodeId>>,
}

#[derive(Debug)]
struct Change {
    target: Ring,
    former: Ring,
    /// Cut by the tokens of all three; in each list the natural owners first.
    held: Ring,
}

impl Topology {
    /// The members of the configuration, whose ring is made already.
    pub fn of_founders(founders: &[NodeId], ring: Arc<Ring>) -> Topology {
        let members: MemberMap = founders.iter().map(|node| (*node, RingMember::founder())).collect();
        Topology {
            members: Arc::new(members),
            view: View::FOUNDERS,
            natural: ring,
            change: None,
            replaced: Arc::default(),
        }
    }

    /// The rings of these members. `founders` are those of the configuration.
    ///
    /// # Panics
    /// Members that are not usable (see [`is_usable`]).
    pub fn new(members: MemberMap, founders: &[NodeId], vnodes: u16, replication: u8) -> Topology {
        let replaced: BTreeSet<NodeId> = members
            .values()
            .filter(|member| matches!(member.phase, Phase::Joining | Phase::Entering))
            .filter_map(|member| member.replaces)
            .collect();
        let ring = |is_in: &dyn Fn(NodeId, Phase) -> bool| {
            let on_ring = members.iter().filter(|(node, member)| is_in(**node, member.phase));
            let places: Vec<(u64, NodeId)> = on_ring
                .flat_map(|(&node, _)| {
                    let tokens_of = token_id(&members, node);
                    (0..vnodes).map(move |vnode| (Token::of_vnode(tokens_of, vnode).0, node))
                })
                .collect();
            (!places.is_empty()).then(|| Ring::from_places(places, replication))
        };
        let natural = ring(&|_, phase| matches!(phase, Phase::Entering | Phase::Normal | Phase::Leaving));
        let natural = Arc::new(natural.expect("a usable map has somebody who serves"));
        let changing = members.values().any(|member| member.phase.is_changing());
        let change = changing.then(|| {
            let target = ring(&|node, phase| {
                matches!(phase, Phase::Joining | Phase::Entering | Phase::Normal) && !replaced.contains(&node)
            });
            let former = ring(&|_, phase| matches!(phase, Phase::Normal | Phase::Leaving | Phase::Exiting));
            let (target, former) =
                (target.unwrap_or_else(|| (*natural).clone()), former.unwrap_or_else(|| (*natural).clone()));
            let rings = [&*natural, &target, &former];
            let ends: BTreeSet<u64> = rings.iter().flat_map(|ring| ring.ends.iter().copied()).collect();
            let list = |end: u64| {
                let mut list: Vec<NodeId> = Vec::new();
                for ring in rings {
                    for &node in ring.replicas_at(Token(end)) {
                        if !list.contains(&node) {
                            list.push(node);
                        }
                    }
                }
                list
            };
            let held = Ring::from_lists(ends.iter().map(|&end| (end, list(end))).collect(), natural.copies());
            Arc::new(Change { target, former, held })
        });
        let view = View::of(&members, founders);
        Topology { members: Arc::new(members), view, natural, change, replaced: Arc::new(replaced) }
    }

    /// The same view, where addresses are known better.
    pub fn with_addresses_of(&mut self, members: &MemberMap) {
        for (node, member) in Arc::make_mut(&mut self.members) {
            if let Some(known) = members.get(node) {
                member.address = known.address.clone();
            }
        }
    }

    /// Names it.
    pub fn view(&self) -> View {
        self.view
    }

    /// All members, those that left included.
    pub fn members(&self) -> &MemberMap {
        &self.members
    }

    /// Where a member is in its life; `None`: nobody ever heard of it.
    pub fn phase(&self, node: NodeId) -> Option<Phase> {
        self.members.get(&node).map(|member| member.phase)
    }

    /// Whether messages of this node are listened to.
    pub fn is_member(&self, node: NodeId) -> bool {
        self.phase(node).is_some_and(|phase| phase != Phase::Left)
    }

    /// Those that have not left, ascending.
    pub fn present(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.members.iter().filter(|(_, member)| member.phase != Phase::Left).map(|(node, _)| *node)
    }

    /// Whether a change is under way.
    pub fn is_changing(&self) -> bool {
        self.change.is_some()
    }

    /// Members in the middle of a change, ascending.
    pub fn changing(&self) -> impl Iterator<Item = (NodeId, Phase)> + '_ {
        self.members.iter().filter(|(_, member)| member.phase.is_changing()).map(|(node, member)| (*node, member.phase))
    }

    /// Who serves.
    pub fn natural(&self) -> &Arc<Ring> {
        &self.natural
    }

    /// Who holds what: the ranges, cut by the tokens of all rings, with everybody who holds them.
    pub fn held(&self) -> &Ring {
        self.change.as_ref().map_or(&*self.natural, |change| &change.held)
    }

    /// Who will serve the key and does not yet: they are sent its writes, too.
    pub fn pending(&self, token: Token) -> Vec<NodeId> {
        let Some(change) = &self.change else { return Vec::new() };
        let natural = self.natural.replicas_at(token);
        change.target.replicas_at(token).iter().copied().filter(|node| !natural.contains(node)).collect()
    }

    /// Whom `node` has to compare itself with to make sure of a range of [`Topology::held`] that it became a natural owner of:
    /// every other natural and former owner, but those that are being replaced: they are dead.
    pub fn sources(&self, node: NodeId, range: TokenRange) -> BTreeSet<NodeId> {
        let at = Token(range.until);
        let former = self.change.iter().flat_map(|change| change.former.replicas_at(at));
        let owners = self.natural.replicas_at(at).iter().chain(former).copied();
        owners.filter(|source| *source != node && !self.replaced.contains(source)).collect()
    }

    /// Whom a node has to compare itself with to fill the ranges that it is pending for: their natural owners but those that are
    /// being replaced.
    pub fn fill_from(&self, node: NodeId) -> BTreeSet<NodeId> {
        let ranges = self.held().owned_ranges(node).iter().map(|range| Token(range.0));
        let pending = ranges.filter(|at| self.pending(*at).contains(&node));
        let natural = pending.flat_map(|at| self.natural.replicas_at(at).iter().copied());
        natural.filter(|source| *source != node && !self.replaced.contains(source)).collect()
    }

    /// The ranges of [`Topology::held`] that `node` serves.
    pub fn natural_ranges(&self, node: NodeId) -> Vec<TokenRange> {
        let held = self.held();
        let ranges = held.owned_ranges(node).iter().filter_map(|range| held.range(*range));
        ranges.filter(|range| self.natural.replicas_at(Token(range.until)).contains(&node)).collect()
    }

    /// Who has to be settled before a member in the middle of a change may take its next step; the dead that are being replaced never are.
    pub fn awaited(&self, node: NodeId) -> BTreeSet<NodeId> {
        let Some(change) = &self.change else { return BTreeSet::new() };
        let held = &change.held;
        let of_ranges = |own: &Ring, others: &dyn Fn(Token) -> Vec<NodeId>| {
            let ranges = held.ranges().map(|range| Token(range.until));
            let own = ranges.filter(|at| own.replicas_at(*at).contains(&node));
            own.flat_map(others).filter(|other| *other != node && !self.replaced.contains(other)).collect()
        };
        match self.phase(node) {
            Some(Phase::Leaving) => of_ranges(&self.natural, &|at| self.pending(at)),
            Some(Phase::Exiting) => of_ranges(&change.former, &|at| self.natural.replicas_at(at).to_vec()),
            _ => BTreeSet::new(),
        }
    }

    /// The ranges of [`Topology::held`] that overlap `range`, a range of another view.
    pub fn overlapping(&self, range: TokenRange) -> Vec<TokenRange> {
        let held = self.held();
        let first = range.after.wrapping_add(1);
        let mut found = Vec::new();
        let mut at = held.range_at(Token(first));
        loop {
            found.push(at);
            let covered = u128::from(at.until.wrapping_sub(first)) + 1;
            at = held.range_at(Token(at.until.wrapping_add(1)));
            if covered >= range.width() || found.first() == Some(&at) {
                return found;
            }
        }
    }

    /// The names of the ranges of [`Topology::held`] that a node holds.
    pub fn held_ranges(&self, node: NodeId) -> &[RangeId] {
        self.held().owned_ranges(node)
    }
}

/// Whose tokens a member sits on: its own, or those of whom it replaces, whose tokens may be another's again.
fn token_id(members: &MemberMap, node: NodeId) -> NodeId {
    let mut at = node;
    // A chain is no longer than the map; a circle, which only a wrong map has, ends here, too.
    for _ in 0..members.len() {
        match members.get(&at).and_then(|member| member.replaces) {
            Some(replaced) if replaced != node => at = replaced,
            _ => break,
        }
    }
    at
}

#[cfg(test)]
mod tests;
