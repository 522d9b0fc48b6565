//! Who makes dots, and dots.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::NodeId;

/// One life of a node, from an empty disk to the loss of it. A node that lost its disk is another actor: it does not know how
/// many dots it had made, and using a counter twice would silently drop a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ActorId {
    /// The node.
    pub node: NodeId,
    /// Drawn when its store was begun.
    pub life: u64,
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:x}", self.node, self.life)
    }
}

/// Names one write: the actor that coordinated it, and its count of writes then, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// Who coordinated the write.
    pub actor: ActorId,
    /// Which of its writes, from 1.
    pub counter: u64,
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.actor, self.counter)
    }
}
