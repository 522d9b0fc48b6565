//! Failure detection by heartbeats: good enough to choose replicas, no more.
//!
//! ```text
//!            link up                     silent for the timeout
//! assumed ------------> alive (linked) ------------------------> dead (linked)
//!    |  ^                |   ^  ^------------- any message ---------|
//!    |  |                |   |                                      |
//!    |  | 2 s, if not    |   | link up                              |
//!    v  | a neighbour    v   |                                      v
//!   dead (no link) <------- link down / nothing came of trying -----'
//! ```
//!
//! - *Alive*: linked and heard of within the timeout. Any message counts as life.
//! - *Assumed*: not linked and no reason to doubt it: a coordinator may use it (the driver dials at first use).
//! - *Dead*: everything else. Neighbours (nodes that share a range) are probed each second and stay dead until their link is up;
//!   the others are assumed again after a while, since only use can tell.
//!
//! A node that was itself stopped (its heartbeat timer went off much too late) judges nobody by that time: it did not listen.
//!
//! Left out: phi-accrual, and any publication of these opinions: each node uses its own.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::counters::Counters;
use crate::{Event, Link, Mark, NodeId, PeerStatus, Planted, Time, planted};

/// Between two attempts to reach a neighbour without a link.
const PROBE_INTERVAL_MS: u64 = 1_000;
/// How long a peer that is no neighbour stays dead after its link went down.
const DEAD_AFTER_LINK_DOWN_MS: u64 = 2_000;

/// What a coordinator may think of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Opinion {
    /// Linked, and heard of within the timeout.
    Alive,
    /// Not linked; nothing known against it.
    Assumed,
    /// Silent, or its link is down.
    Dead,
}

#[derive(Debug, Default)]
struct Peer {
    /// Shares a range with this node.
    neighbour: bool,
    linked: bool,
    /// Linked and not judged silent.
    alive: bool,
    /// When it was last heard of; counts only while linked.
    heard: Time,
    /// First use without a link, until a link goes up or down.
    tried: Option<Time>,
    /// When its link went down, or nothing came of trying.
    failed: Option<Time>,
    /// Last attempt to reach it without a link.
    probed: Option<Time>,
    /// The last event about it, so that each change is told once.
    told_up: Option<bool>,
}

/// The failure detector of one node.
#[derive(Debug)]
pub(crate) struct FailureDetector {
    peers: BTreeMap<NodeId, Peer>,
    interval_ms: u64,
    timeout_ms: u64,
    last_tick: Time,
    pub(crate) planted: Planted,
}

impl FailureDetector {
    /// A detector for all `peers` (without the node itself), to be ticked every `interval_ms`.
    pub(crate) fn new(
        peers: impl Iterator<Item = NodeId>,
        neighbours: &[NodeId],
        interval_ms: u64,
        timeout_ms: u64,
        now: Time,
    ) -> FailureDetector {
        let peers = peers.map(|id| (id, Peer { neighbour: neighbours.contains(&id), ..Peer::default() })).collect();
        FailureDetector { peers, interval_ms, timeout_ms, last_tick: now, planted: Planted::NONE }
    }

    /// What to think of `peer`. Nodes that are no members are dead.
    pub(crate) fn opinion(&self, peer: NodeId, now: Time) -> Opinion {
        let Some(peer) = self.peers.get(&peer) else { return Opinion::Dead };
        match (peer.linked, peer.failed) {
            (true, _) if peer.alive => Opinion::Alive,
            (true, _) => Opinion::Dead,
            (false, None) => Opinion::Assumed,
            (false, Some(failed)) if peer.neighbour || now.since_ms(failed) < DEAD_AFTER_LINK_DOWN_MS => Opinion::Dead,
            (false, Some(_)) => Opinion::Assumed,
        }
    }

    /// Whether `peer` is another member of the cluster.
    pub(crate) fn knows(&self, peer: NodeId) -> bool {
        self.peers.contains_key(&peer)
    }

    /// A message of `peer` came in.
    pub(crate) fn on_heard(&mut self, peer: NodeId, now: Time, counters: &mut Counters, events: &mut Vec<Event>) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.heard = now;
        if planted!(self.planted, DeadForEver) && state.told_up == Some(false) {
            return;
        }
        if state.linked && !state.alive {
            state.alive = true;
            counters.mark(Mark::PeerRevived);
            tell(peer, state, true, counters, events);
        }
    }

    /// Something is being sent to `peer`.
    pub(crate) fn on_sent(&mut self, peer: NodeId, now: Time) {
        if let Some(state) = self.peers.get_mut(&peer)
            && !state.linked
            && state.tried.is_none()
        {
            state.tried = Some(now);
        }
    }

    /// The link to `peer` changed.
    pub(crate) fn on_link(
        &mut self,
        peer: NodeId,
        link: Link,
        now: Time,
        counters: &mut Counters,
        events: &mut Vec<Event>,
    ) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.tried = None;
        match link {
            Link::Up if planted!(self.planted, DeadForEver) && state.told_up == Some(false) => {
                state.linked = true;
                return;
            }
            Link::Up => {
                state.linked = true;
                state.alive = true;
                state.heard = now;
                state.failed = None;
            }
            Link::Down => {
                state.linked = false;
                state.alive = false;
                state.failed = Some(now);
            }
        }
        tell(peer, state, link == Link::Up, counters, events);
    }

    /// The heartbeat timer went off: judges the silent, and answers whom to send a heartbeat: every linked peer (also the
    /// silent, who may hear us again), and neighbours without a link, once a second.
    pub(crate) fn tick(&mut self, now: Time, counters: &mut Counters, events: &mut Vec<Event>) -> Vec<NodeId> {
        // Between the interval and the timeout, so that neither a slow machine nor a short pause is misjudged.
        let own_pause = now.since_ms(self.last_tick) > self.interval_ms.midpoint(self.timeout_ms);
        if own_pause {
            counters.own_pauses += 1;
            counters.mark(Mark::OwnPause);
        }
        self.last_tick = now;
        let mut heartbeats = Vec::new();
        for (id, peer) in &mut self.peers {
            if own_pause && peer.alive {
                peer.heard = now;
            }
            if own_pause && peer.tried.is_some() {
                peer.tried = Some(now);
            }
            if peer.linked {
                if peer.alive && now.since_ms(peer.heard) > self.timeout_ms {
                    peer.alive = false;
                    counters.mark(Mark::SilentPeer);
                    tell(*id, peer, false, counters, events);
                }
                heartbeats.push(*id);
                continue;
            }
            if peer.tried.is_some_and(|tried| now.since_ms(tried) > self.timeout_ms) {
                peer.tried = None;
                peer.failed = Some(now);
                counters.mark(Mark::TryFailed);
                tell(*id, peer, false, counters, events);
            }
            if peer.neighbour && peer.probed.is_none_or(|probed| now.since_ms(probed) >= PROBE_INTERVAL_MS) {
                peer.probed = Some(now);
                heartbeats.push(*id);
            }
        }
        heartbeats
    }

    /// Every other member, in order.
    pub(crate) fn statuses(&self) -> Vec<PeerStatus> {
        self.peers
            .iter()
            .map(|(id, peer)| PeerStatus { peer: *id, linked: peer.linked, alive: peer.linked && peer.alive })
            .collect()
    }
}

fn tell(id: NodeId, peer: &mut Peer, up: bool, counters: &mut Counters, events: &mut Vec<Event>) {
    if peer.told_up == Some(up) {
        return;
    }
    peer.told_up = Some(up);
    if up {
        counters.peers_up += 1;
        events.push(Event::PeerUp(id));
    } else {
        counters.peers_down += 1;
        events.push(Event::PeerDown(id));
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const NEIGHBOUR: NodeId = NodeId(2);
    const STRANGER: NodeId = NodeId(3);

    enum Step {
        Up(NodeId),
        Down(NodeId),
        Heard(NodeId),
        Sent(NodeId),
        Tick,
    }
    use Opinion::*;
    use Step::*;

    /// Runs (milliseconds, step, peer, opinion afterwards) rows; answers the events.
    fn run(rows: &[(u64, Step, NodeId, Opinion)]) -> Vec<Event> {
        let mut detector = FailureDetector::new([NEIGHBOUR, STRANGER].into_iter(), &[NEIGHBOUR], 1_000, 1_500, Time(0));
        let (mut counters, mut events) = (Counters::default(), Vec::new());
        for (line, (ms, step, peer, expected)) in rows.iter().enumerate() {
            let now = Time::default().plus_ms(*ms);
            match step {
                Up(id) => detector.on_link(*id, Link::Up, now, &mut counters, &mut events),
                Down(id) => detector.on_link(*id, Link::Down, now, &mut counters, &mut events),
                Heard(id) => detector.on_heard(*id, now, &mut counters, &mut events),
                Sent(id) => detector.on_sent(*id, now),
                Tick => drop(detector.tick(now, &mut counters, &mut events)),
            }
            assert_eq!(detector.opinion(*peer, now), *expected, "row {line}");
        }
        events
    }

    #[test]
    fn a_silent_linked_peer_dies_and_any_message_revives_it() {
        let events = run(&[
            (0, Tick, NEIGHBOUR, Assumed),
            (1, Up(NEIGHBOUR), NEIGHBOUR, Alive),
            (1_000, Tick, NEIGHBOUR, Alive),
            (1_100, Heard(NEIGHBOUR), NEIGHBOUR, Alive),
            (2_000, Tick, NEIGHBOUR, Alive),
            (2_601, Tick, NEIGHBOUR, Dead),
            (3_000, Tick, NEIGHBOUR, Dead),
            (3_001, Heard(NEIGHBOUR), NEIGHBOUR, Alive),
        ]);
        assert_eq!(events, vec![Event::PeerUp(NEIGHBOUR), Event::PeerDown(NEIGHBOUR), Event::PeerUp(NEIGHBOUR)]);
    }

    #[test]
    fn a_neighbour_whose_link_went_down_is_dead_until_it_is_up() {
        let events = run(&[
            (0, Up(NEIGHBOUR), NEIGHBOUR, Alive),
            (10, Down(NEIGHBOUR), NEIGHBOUR, Dead),
            (20, Down(NEIGHBOUR), NEIGHBOUR, Dead),
            (60_000, Tick, NEIGHBOUR, Dead),
            (60_001, Up(NEIGHBOUR), NEIGHBOUR, Alive),
        ]);
        assert_eq!(events, vec![Event::PeerUp(NEIGHBOUR), Event::PeerDown(NEIGHBOUR), Event::PeerUp(NEIGHBOUR)]);
    }

    #[test]
    fn another_peer_is_assumed_again_two_seconds_after_a_failure() {
        run(&[
            (0, Down(STRANGER), STRANGER, Dead),
            (1_999, Sent(NEIGHBOUR), STRANGER, Dead),
            (2_000, Sent(NEIGHBOUR), STRANGER, Assumed),
        ]);
    }

    #[test]
    fn trying_without_any_result_ends_in_death() {
        run(&[
            (0, Sent(STRANGER), STRANGER, Assumed),
            (800, Tick, STRANGER, Assumed),
            (1_500, Tick, STRANGER, Assumed),
            (1_501, Tick, STRANGER, Dead),
        ]);
    }

    #[test]
    fn a_node_that_was_stopped_itself_judges_nobody_by_that_time() {
        run(&[
            (0, Up(NEIGHBOUR), NEIGHBOUR, Alive),
            (10_000, Tick, NEIGHBOUR, Alive),
            (11_000, Tick, NEIGHBOUR, Alive),
            (11_501, Tick, NEIGHBOUR, Dead),
        ]);
    }

    #[test]
    fn heartbeats_go_to_the_linked_each_time_and_to_unlinked_neighbours_once_a_second() {
        let mut detector = FailureDetector::new([NEIGHBOUR, STRANGER].into_iter(), &[NEIGHBOUR], 1_000, 1_500, Time(0));
        let (mut counters, mut events) = (Counters::default(), Vec::new());
        detector.on_link(STRANGER, Link::Up, Time(0), &mut counters, &mut events);
        let mut sent = Vec::new();
        for ms in [0, 250, 500, 750, 1_000] {
            sent.push(detector.tick(Time::default().plus_ms(ms), &mut counters, &mut events));
        }
        let both = vec![NEIGHBOUR, STRANGER];
        let one = vec![STRANGER];
        assert_eq!(sent, vec![both.clone(), one.clone(), one.clone(), one, both]);
    }
}
