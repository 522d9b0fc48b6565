//! Members of the cluster as the metadata knows them, and how two records of one member merge.
//!
//! ```text
//!   incarnation 4:  Joining < Normal < Leaving     each with or without a failure mark
//!   incarnation 5:  Joining < Normal < Leaving     above all of incarnation 4
//!   Left            above every incarnation
//!   Gone            above everything
//! ```
//!
//! *Incarnations.* A number that only the member itself raises: when it starts again, and when it hears something about itself
//! that it did not say. A failure mark belongs to one incarnation, so raising it is how a member that is alive refutes a mark.
//!
//! *Failure marks.* Whoever holds a member for dead may mark it; of several marks of one incarnation that of the highest id is
//! kept, so that marks cost one field, however many nodes watch. Nobody takes a mark away but the member itself.
//!
//! *Leaving for good.* `Left` stands above every incarnation: a member that was replaced while it was dead must not return by
//! starting again. Its id is never used again: a replacement has an id of its own.
//!
//! *Collection.* What is known of a member that left (tokens, address) is dropped some time after that, and `Gone` remains: two
//! bytes of id. It is above everything, so an old digest or a node that slept for a year can't revive the member: what they say
//! merges into `Gone`. Therefore nodes need not agree on when to collect, nobody has to be known alive for it, and no clock
//! matters; whoever collects first, tells the others. What remains is bounded by the number of ids, 65,535.

use alloc::vec::Vec;
use core::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::{NodeId, Planted, planted};

/// Where a member is in its life. Within one incarnation only forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// It fetches the ranges that will be its own.
    Joining,
    /// It serves its ranges.
    Normal,
    /// It hands its ranges over.
    Leaving,
    /// Out for good; so is a dead member that was replaced.
    Left,
}

impl MemberState {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            MemberState::Joining => "joining",
            MemberState::Normal => "normal",
            MemberState::Leaving => "leaving",
            MemberState::Left => "left",
        }
    }
}

/// What is known of a member.
///
/// Field order matters: two records of one incarnation and state are ordered by what follows, so that every node keeps the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which one.
    pub node: NodeId,
    /// Where it is in its life.
    pub state: MemberState,
    /// Raised by the member alone. 0: nothing was heard of it yet but the configuration.
    pub incarnation: u64,
    /// Its tokens on the ring.
    pub vnodes: u16,
    /// The dead member whose ranges it takes over.
    pub replaces: Option<NodeId>,
    /// Where it is reached, opaque to the core. Empty: as configured.
    pub address: Vec<u8>,
}

impl Member {
    /// Longest address, in bytes.
    pub const ADDRESS_MAX: usize = 256;

    /// A member as the configuration names it.
    pub fn configured(node: NodeId, vnodes: u16) -> Member {
        Member { node, state: MemberState::Normal, incarnation: 0, vnodes, replaces: None, address: Vec::new() }
    }

    fn has_left(&self) -> bool {
        self.state == MemberState::Left
    }

    /// The order of records of one member; equal only if they are the same.
    fn order(&self, other: &Member) -> Ordering {
        let rank = |member: &Member| (member.has_left(), member.incarnation, member.state);
        let rest = |member: &Member| (member.vnodes, member.replaces);
        rank(self)
            .cmp(&rank(other))
            .then_with(|| rest(self).cmp(&rest(other)))
            .then_with(|| self.address.cmp(&other.address))
    }
}

/// What the map holds of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberRecord {
    /// It is known.
    Known {
        /// The member.
        member: Member,
        /// Who holds this incarnation of it for dead; nobody holds a member for dead that left.
        down: Option<NodeId>,
    },
    /// It left, and nothing else is known of it any more.
    Gone,
}

impl MemberRecord {
    /// A member that nobody holds for dead.
    pub fn of(member: Member) -> MemberRecord {
        MemberRecord::Known { member, down: None }
    }

    /// The member, unless it is gone.
    pub fn member(&self) -> Option<&Member> {
        match self {
            MemberRecord::Known { member, .. } => Some(member),
            MemberRecord::Gone => None,
        }
    }

    /// Who holds it for dead.
    pub fn down(&self) -> Option<NodeId> {
        match self {
            MemberRecord::Known { down, .. } => *down,
            MemberRecord::Gone => None,
        }
    }

    /// Both in one: the least record that is at least each of them.
    pub(super) fn join(self, other: MemberRecord, planted: Planted) -> MemberRecord {
        let (member, down, other, other_down) = match (self, other) {
            (MemberRecord::Gone, known @ MemberRecord::Known { .. }) if planted!(planted, CollectedMemberRevived) => {
                return known;
            }
            (MemberRecord::Gone, _) | (_, MemberRecord::Gone) => return MemberRecord::Gone,
            (MemberRecord::Known { member, down }, MemberRecord::Known { member: other, down: other_down }) => {
                (member, down, other, other_down)
            }
        };
        let same_life = member.incarnation == other.incarnation && member.has_left() == other.has_left();
        if same_life && planted!(planted, StateMovesBackward) {
            return MemberRecord::Known { member: other, down: down.max(other_down) };
        }
        let (greater, its_down) =
            if member.order(&other) == Ordering::Less { (other, other_down) } else { (member, down) };
        let down = if same_life || planted!(planted, FailureMarkOutlives) { down.max(other_down) } else { its_down };
        let down = down.filter(|_| !greater.has_left());
        MemberRecord::Known { member: greater, down }
    }
}
