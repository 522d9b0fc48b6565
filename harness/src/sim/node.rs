//! A node's process: the replica, its disk, and the outputs that wait for the disk.
//!
//! States: `Down` -> `Starting` -> `Running` <-> `Paused`; a crash leads back to `Down` from anywhere, an order to
//! leave ([`super::leave`]) from `Running`.
//!
//! Invariants: outputs are released in the order in which they were made, each after its batch and all before are synced;
//! a paused process does nothing, what arrives meanwhile waits before its door; a crash takes everything but the disk.

use std::collections::{BTreeMap, VecDeque};

use hearsay_core::message::PeerMessage;
use hearsay_core::{ClientResponse, Lane, NodeId, Replica, RequestId, SentTraffic};

use super::connection::{ConnectionId, LaneQueues, Side};
use super::disk::{Disk, Ticket};
use super::leave::{Leaving, Left};
use super::noise::Noise;
use super::settings::ClockSettings;
use super::world::Happening;

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    Down,
    Starting,
    Running,
    Paused,
}

/// A message on its way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) to: NodeId,
    pub(super) lane: Lane,
    pub(super) number: u64,
    pub(super) bytes: u32,
    pub(super) message: PeerMessage,
}

/// What of an output waits for the disk.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) send: Vec<Outgoing>,
    pub(super) reply: Vec<(RequestId, ClientResponse, u32)>,
}

/// What a node knows of its link to a peer. As in the real node: one link per pair; when both dial at once, the connection
/// that the smaller id dialled stays.
#[derive(Debug)]
pub(super) enum LinkState {
    Idle { not_before: u64 },
    Dialling { connection: ConnectionId, queues: LaneQueues },
    Expecting { until: u64, queues: LaneQueues },
    Up { connection: ConnectionId, side: Side, incarnation: u64 },
}

/// A peer as the node's transport sees it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) failures: u32,
    pub(super) state: LinkState,
}

impl Default for Peer {
    fn default() -> Peer {
        Peer { failures: 0, state: LinkState::Idle { not_before: 0 } }
    }
}

/// What faults do to a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ailment {
    #[default]
    None,
    /// No sync comes to its end.
    Holds,
    /// Every sync takes so much longer, nanoseconds.
    Slow(u64),
    /// Every sync is refused.
    Refuses,
}

/// Syncs of a disk.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Syncs {
    pub(super) done: u64,
    pub(super) took_ns: u64,
    pub(super) refused: u64,
}

/// What the simulated driver counts, under the real driver's names where it has them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DriverCounters {
    pub(super) commits: u64,
    pub(super) batches: u64,
    pub(super) backpressure: u64,
    pub(super) dials: u64,
    pub(super) dials_failed: u64,
    pub(super) duplicates: u64,
    pub(super) links_up: u64,
    pub(super) links_down: u64,
    pub(super) dropped_full: u64,
    pub(super) dropped_unlinked: u64,
    pub(super) dropped_lost: u64,
    pub(super) dropped_waiting: u64,
    pub(super) requests: u64,
    pub(super) datagrams_sent: u64,
    pub(super) datagrams_received: u64,
}

impl DriverCounters {
    pub(super) fn by_name(&self) -> [(&'static str, u64); 15] {
        [
            ("store_commits", self.commits),
            ("store_batches", self.batches),
            ("store_backpressure", self.backpressure),
            ("transport_dials", self.dials),
            ("transport_dials_failed", self.dials_failed),
            ("transport_duplicates", self.duplicates),
            ("transport_links_up", self.links_up),
            ("transport_links_down", self.links_down),
            ("transport_dropped_full", self.dropped_full),
            ("transport_dropped_unlinked", self.dropped_unlinked),
            ("transport_dropped_lost", self.dropped_lost),
            ("transport_dropped_waiting", self.dropped_waiting),
            ("transport_requests", self.requests),
            ("transport_datagrams_sent", self.datagrams_sent),
            ("transport_datagrams_received", self.datagrams_received),
        ]
    }
}

/// A node of the world.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) process: Process,
    /// How often it was started.
    pub(super) starts: u64,
    /// Inputs handled, over all processes.
    pub(super) handled: u64,
    pub(super) replica: Option<Replica>,
    pub(super) incarnation: u64,
    pub(super) disk: Disk,
    pub(super) disk_noise: Noise,
    pub(super) unreleased: VecDeque<(Ticket, Effects)>,
    pub(super) asking: BTreeMap<RequestId, (ConnectionId, u64)>,
    pub(super) last_request: u64,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    pub(super) dialling: usize,
    /// Happened while it was paused or waited for its disk.
    pub(super) waiting: VecDeque<Happening>,
    /// The earliest deadline event that is planned.
    pub(super) deadline: Option<u64>,
    /// A sync has ended while it was paused.
    pub(super) synced_unseen: bool,
    /// What is wrong with its disk.
    pub(super) ailment: Ailment,
    /// When the sync under way began.
    pub(super) sync_began: u64,
    /// Syncs over all processes.
    pub(super) syncs: Syncs,
    pub(super) clock: ClockSettings,
    /// Of a process that was asked to end.
    pub(super) leaving: Option<Leaving>,
    /// How the last process that was asked to ended.
    pub(super) left: Option<Left>,
    pub(super) counters: DriverCounters,
    /// Messages handed to the links, by kind.
    pub(super) sent: SentTraffic,
}

impl Node {
    pub(super) fn new(clock: ClockSettings, disk_noise: Noise) -> Node {
        Node {
            process: Process::Down,
            starts: 0,
            handled: 0,
            replica: None,
            incarnation: 0,
            disk: Disk::default(),
            disk_noise,
            unreleased: VecDeque::new(),
            asking: BTreeMap::new(),
            last_request: 0,
            peers: BTreeMap::new(),
            dialling: 0,
            waiting: VecDeque::new(),
            deadline: None,
            synced_unseen: false,
            ailment: Ailment::default(),
            sync_began: 0,
            syncs: Syncs::default(),
            clock,
            leaving: None,
            left: None,
            counters: DriverCounters::default(),
            sent: SentTraffic::default(),
        }
    }

    /// Whether there is a process, running or not.
    pub(super) fn exists(&self) -> bool {
        matches!(self.process, Process::Running | Process::Paused)
    }

    /// Everything but the disk and what was counted over all processes is gone.
    pub(super) fn forget(&mut self) {
        self.process = Process::Down;
        self.replica = None;
        self.unreleased.clear();
        self.asking.clear();
        self.peers.clear();
        self.dialling = 0;
        self.waiting.clear();
        self.deadline = None;
        self.synced_unseen = false;
        self.leaving = None;
        self.counters = DriverCounters::default();
        self.sent = SentTraffic::default();
    }
}
