//! What a node says of its place in the overlay: its neighbours, and which way the latest broadcasts came.
//!
//! For pictures and measurements. Ages are counted on the node's own monotonic clock, so they hold whatever the wall clocks say.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::dissemination::MessageId;

/// Most broadcasts in a report.
pub(crate) const BROADCASTS_MAX: usize = 64;

/// Answer to [`crate::ClientRequest::Overlay`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayReport {
    /// The node that answers.
    pub node: NodeId,
    /// Drawn at boot: another value means another process.
    pub incarnation: u64,
    /// Whether it knows all members, and `active` names them.
    pub is_full: bool,
    /// Its neighbours, ascending: the active view, or all members where it knows all.
    pub active: Vec<OverlayPeer>,
    /// Replacements that it knows of: the passive view.
    pub passive: Vec<NodeId>,
    /// The newest broadcasts that it holds, newest first, 64 at most.
    pub broadcasts: Vec<OverlayBroadcast>,
}

/// A neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayPeer {
    /// Which node.
    pub peer: NodeId,
    /// Whether broadcasts are pushed to it; otherwise they are only announced, or the protocol has no such links.
    pub eager: bool,
}

/// A broadcast as it came to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayBroadcast {
    /// Its name.
    pub id: MessageId,
    /// Who it came from; `None` at its origin.
    pub from: Option<NodeId>,
    /// Hops it travelled; 0 at its origin.
    pub hops: u16,
    /// How long ago it came, microseconds.
    pub age_us: u64,
}
