//! The watermark matrix: per neighbour the clock that it was last heard to have. It only says what a neighbour knew for certain:
//! a row may be behind, never ahead.
//!
//! It is not stored: after a restart nothing is known of anybody until they are heard again, and the log is kept so long.

use alloc::collections::{BTreeMap, BTreeSet};

use super::{ActorId, Dot, NodeClock};
use crate::NodeId;

/// The rows of the matrix but the node's own, which is its clock.
#[derive(Clone, Debug, Default)]
pub struct Watermarks {
    rows: BTreeMap<NodeId, (ActorId, NodeClock)>,
    /// Former lives of neighbours. A late message of one says nothing about the present one.
    retired: BTreeSet<ActorId>,
}

impl Watermarks {
    /// A neighbour said that this is its clock. False: it was a late message of a former life.
    pub fn hear(&mut self, actor: ActorId, clock: &NodeClock) -> bool {
        if self.retired.contains(&actor) {
            return false;
        }
        match self.rows.get_mut(&actor.node) {
            // Messages overtake each other: joined, not replaced.
            Some((known, row)) if *known == actor => row.join(clock),
            _ => {
                let former = self.rows.insert(actor.node, (actor, clock.clone()));
                self.retired.extend(former.map(|(actor, _)| actor));
            }
        }
        true
    }

    /// Whether the neighbour is known to have accounted for the dot.
    pub fn knows(&self, node: NodeId, dot: Dot) -> bool {
        self.rows.get(&node).is_some_and(|(_, clock)| clock.contains(dot))
    }

    /// Who the neighbour is in its present life, if it was heard.
    pub fn actor(&self, node: NodeId) -> Option<ActorId> {
        self.rows.get(&node).map(|(actor, _)| *actor)
    }
}
