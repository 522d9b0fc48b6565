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
//! *Who is watched.* In a cluster of up to [`FULL_MESH_MAX`] members everybody, and links stay. In a larger one only the peers
//! that are needed: the neighbours, at most `2 (replication - 1) vnodes` on the average whatever the number of members, and
//! those that requests were lately coordinated with. A link to one of the latter that carried nothing but heartbeats for
//! [`STRANGER_IDLE_MS`] is given up and its state forgotten; the end that hears of it forgets, too, instead of taking it for
//! a failure. What is not watched is assumed: it is dialled at first use, suspected when nothing comes of that, and forgiven
//! after a while. So state, heartbeats and links of a node do not grow with the cluster.
//!
//! *Few wake-ups.* In a large cluster a heartbeat is answered by one, and who answered lets its own next one be: the two cross
//! the link together, with the transport's acknowledgement, so that a node with dozens of idle peers is woken half as often.
//!
//! How long a silence is borne is fixed (`detection: timeout`), or follows from what was heard of the peer before (`detection:
//! phi`, see [`phi`]); all else is the same for both.
//!
//! Left out: any publication of these opinions: each node uses its own.

mod phi;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use self::phi::Arrivals;
use crate::counters::Counters;
use crate::message::PeerMessage;
use crate::{Event, Link, Mark, NodeId, PeerStatus, Planted, Time, planted};

/// Between two attempts to reach a neighbour without a link.
const PROBE_INTERVAL_MS: u64 = 1_000;
/// How long a peer that is no neighbour stays dead after its link went down.
const DEAD_AFTER_LINK_DOWN_MS: u64 = 2_000;

/// Up to so many members every peer is watched and every link stays.
pub(crate) const FULL_MESH_MAX: usize = 50;
/// In a larger cluster: a link to a peer that is no neighbour is given up after so long without use.
const STRANGER_IDLE_MS: u64 = 10_000;

/// What a message says about the need for its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    /// Only that its sender lives.
    Heartbeat,
    /// The link is of use.
    Use,
}

impl Traffic {
    pub(crate) fn of(message: &PeerMessage) -> Traffic {
        match message {
            PeerMessage::Heartbeat => Traffic::Heartbeat,
            _ => Traffic::Use,
        }
    }
}

/// What is due when the heartbeat timer goes off.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Round {
    /// Whom to send a heartbeat.
    pub(crate) heartbeats: Vec<NodeId>,
    /// Whose link is no longer needed.
    pub(crate) hang_up: Vec<NodeId>,
}

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
    /// When its link was last made or carried more than heartbeats.
    used: Time,
    /// In a large cluster: when it was last sent a heartbeat.
    beaten: Option<Time>,
    /// When its heartbeats came; stays empty with a fixed time-out.
    arrivals: Arrivals,
}

/// The failure detector of one node.
#[derive(Debug)]
pub(crate) struct FailureDetector {
    /// Those that are watched.
    peers: BTreeMap<NodeId, Peer>,
    /// Others than neighbours are watched while they are used, and then forgotten.
    forgets: bool,
    interval_ms: u64,
    timeout_ms: u64,
    /// The suspicion at which a peer is held for dead; `None`: silence of the fixed length.
    phi_threshold: Option<u8>,
    last_tick: Time,
    pub(crate) planted: Planted,
}

impl FailureDetector {
    /// Watches all `peers` (all members but the node itself) for ever; to be ticked every `interval_ms`.
    pub(crate) fn of_all(
        peers: impl Iterator<Item = NodeId>,
        neighbours: &[NodeId],
        interval_ms: u64,
        timeout_ms: u64,
        now: Time,
    ) -> FailureDetector {
        let peers = peers.map(|id| (id, Peer { neighbour: neighbours.contains(&id), ..Peer::default() })).collect();
        FailureDetector::new(peers, false, interval_ms, timeout_ms, now)
    }

    /// Watches the neighbours for ever and others while they are used; to be ticked every `interval_ms`.
    pub(crate) fn of_neighbours(
        neighbours: &[NodeId],
        interval_ms: u64,
        timeout_ms: u64,
        now: Time,
    ) -> FailureDetector {
        let peers = neighbours.iter().map(|&id| (id, Peer { neighbour: true, ..Peer::default() })).collect();
        FailureDetector::new(peers, true, interval_ms, timeout_ms, now)
    }

    fn new(
        peers: BTreeMap<NodeId, Peer>,
        forgets: bool,
        interval_ms: u64,
        timeout_ms: u64,
        now: Time,
    ) -> FailureDetector {
        let (phi_threshold, last_tick, planted) = (None, now, Planted::NONE);
        FailureDetector { peers, forgets, interval_ms, timeout_ms, phi_threshold, last_tick, planted }
    }

    /// The same, judging by suspicion.
    pub(crate) fn with_phi(self, threshold: u8) -> FailureDetector {
        FailureDetector { phi_threshold: Some(threshold), ..self }
    }

    /// The members are others: `peers` are all that there are but the node itself. What is known of those that stay, stays.
    pub(crate) fn on_members(&mut self, peers: &BTreeSet<NodeId>, neighbours: &[NodeId]) {
        self.peers.retain(|id, _| peers.contains(id));
        for id in peers.iter().filter(|id| !self.forgets || neighbours.contains(id)) {
            self.peers.entry(*id).or_default();
        }
        for (id, peer) in &mut self.peers {
            peer.neighbour = neighbours.contains(id);
        }
    }

    /// What to think of `peer`, which is another member. Asked about anybody else, it says that it is dead if it can tell.
    pub(crate) fn opinion(&self, peer: NodeId, now: Time) -> Opinion {
        let Some(peer) = self.peers.get(&peer) else {
            return if self.forgets { Opinion::Assumed } else { Opinion::Dead };
        };
        match (peer.linked, peer.failed) {
            (true, _) if peer.alive => Opinion::Alive,
            (true, _) => Opinion::Dead,
            (false, None) => Opinion::Assumed,
            (false, Some(failed)) if peer.neighbour || now.since_ms(failed) < DEAD_AFTER_LINK_DOWN_MS => Opinion::Dead,
            (false, Some(_)) => Opinion::Assumed,
        }
    }

    /// The state of `peer`, another member; from now on it is watched.
    fn watched(&mut self, peer: NodeId) -> Option<&mut Peer> {
        if self.forgets { Some(self.peers.entry(peer).or_default()) } else { self.peers.get_mut(&peer) }
    }

    /// A message of `peer`, another member, came in.
    pub(crate) fn on_heard(
        &mut self,
        peer: NodeId,
        traffic: Traffic,
        now: Time,
        counters: &mut Counters,
        events: &mut Vec<Event>,
    ) {
        // What is not watched has no link that its life could count for.
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.heard = now;
        if traffic == Traffic::Heartbeat && self.phi_threshold.is_some() {
            state.arrivals.on_heartbeat(now, self.interval_ms);
        }
        if traffic == Traffic::Use {
            state.used = now;
        }
        if planted!(self.planted, DeadForEver) && state.told_up == Some(false) {
            return;
        }
        if state.linked && !state.alive {
            state.alive = true;
            if self.phi_threshold.is_some() {
                state.arrivals.on_return(now);
            }
            counters.mark(Mark::PeerRevived);
            tell(peer, state, true, counters, events);
        }
    }

    /// A heartbeat of `peer` came: whether one is to be sent back at once, in place of the next one. Only in a large cluster.
    pub(crate) fn answers_heartbeat(&mut self, peer: NodeId, now: Time) -> bool {
        let half_ms = self.interval_ms / 2;
        let Some(peer) = self.peers.get_mut(&peer).filter(|peer| self.forgets && peer.linked) else { return false };
        let due = peer.beaten.is_none_or(|at| now.since_ms(at) >= half_ms);
        if due {
            peer.beaten = Some(now);
        }
        due
    }

    /// Something is being sent to `peer`, another member.
    pub(crate) fn on_sent(&mut self, peer: NodeId, traffic: Traffic, now: Time) {
        let Some(state) = self.watched(peer) else { return };
        if traffic == Traffic::Use {
            state.used = now;
        }
        if !state.linked && state.tried.is_none() {
            state.tried = Some(now);
        }
    }

    /// The link to `peer`, another member, changed.
    pub(crate) fn on_link(
        &mut self,
        peer: NodeId,
        link: Link,
        now: Time,
        counters: &mut Counters,
        events: &mut Vec<Event>,
    ) {
        let (forgets, planted, phi) = (self.forgets, self.planted, self.phi_threshold.is_some());
        let Some(state) = self.watched(peer) else { return };
        // The other end gives a link up that neither has used for long. Half the time, for what is still under way.
        let unused = state.linked && now.since_ms(state.used) > STRANGER_IDLE_MS / 2;
        if forgets && link == Link::Down && !state.neighbour && unused {
            self.peers.remove(&peer);
            return;
        }
        state.tried = None;
        match link {
            Link::Up if planted!(planted, DeadForEver) && state.told_up == Some(false) => {
                state.linked = true;
                return;
            }
            Link::Up => {
                state.linked = true;
                state.alive = true;
                state.heard = now;
                state.used = now;
                state.failed = None;
                if phi {
                    state.arrivals.begin_anew(now);
                }
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
    /// silent, who may hear us again), and neighbours without a link, once a second. Forgets who is not needed.
    pub(crate) fn tick(&mut self, now: Time, counters: &mut Counters, events: &mut Vec<Event>) -> Round {
        // Between the interval and the timeout, so that neither a slow machine nor a short pause is misjudged.
        let own_pause = now.since_ms(self.last_tick) > self.interval_ms.midpoint(self.timeout_ms);
        if own_pause {
            counters.own_pauses += 1;
            counters.mark(Mark::OwnPause);
        }
        self.last_tick = now;
        let mut round = Round::default();
        for (id, peer) in &mut self.peers {
            if own_pause && peer.alive {
                peer.heard = now;
                if self.phi_threshold.is_some() {
                    peer.arrivals.begin_anew(now);
                }
            }
            if own_pause && peer.tried.is_some() {
                peer.tried = Some(now);
            }
            if peer.linked {
                if self.forgets && !peer.neighbour && now.since_ms(peer.used) > STRANGER_IDLE_MS {
                    round.hang_up.push(*id);
                    continue;
                }
                let borne_ms = match self.phi_threshold {
                    Some(threshold) => peer.arrivals.borne_ms(threshold, self.interval_ms, now),
                    None => self.timeout_ms,
                };
                if peer.alive && now.since_ms(peer.heard) > borne_ms {
                    peer.alive = false;
                    counters.mark(Mark::SilentPeer);
                    tell(*id, peer, false, counters, events);
                }
                // It answered the peer's own heartbeat a moment ago.
                if self.forgets && peer.beaten.is_some_and(|at| now.since_ms(at) < self.interval_ms * 3 / 4) {
                    continue;
                }
                peer.beaten = Some(now);
                round.heartbeats.push(*id);
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
                round.heartbeats.push(*id);
            }
        }
        for id in &round.hang_up {
            self.peers.remove(id);
        }
        if self.forgets {
            let forgiven =
                |failed: Option<Time>| failed.is_none_or(|failed| now.since_ms(failed) >= DEAD_AFTER_LINK_DOWN_MS);
            self.peers
                .retain(|_, peer| peer.neighbour || peer.linked || peer.tried.is_some() || !forgiven(peer.failed));
        }
        round
    }

    /// Those that are watched, in order.
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
        Used(NodeId),
        Sent(NodeId),
        Tick,
    }
    use Opinion::*;
    use Step::*;

    /// Runs (milliseconds, step, peer, opinion afterwards) rows; answers the events.
    fn run(rows: &[(u64, Step, NodeId, Opinion)]) -> Vec<Event> {
        run_on(&mut all(), rows)
    }

    fn all() -> FailureDetector {
        FailureDetector::of_all([NEIGHBOUR, STRANGER].into_iter(), &[NEIGHBOUR], 1_000, 1_500, Time(0))
    }

    fn of_neighbours() -> FailureDetector {
        FailureDetector::of_neighbours(&[NEIGHBOUR], 1_000, 1_500, Time(0))
    }

    fn run_on(detector: &mut FailureDetector, rows: &[(u64, Step, NodeId, Opinion)]) -> Vec<Event> {
        let (mut counters, mut events) = (Counters::default(), Vec::new());
        for (line, (ms, step, peer, expected)) in rows.iter().enumerate() {
            let now = Time::default().plus_ms(*ms);
            match step {
                Up(id) => detector.on_link(*id, Link::Up, now, &mut counters, &mut events),
                Down(id) => detector.on_link(*id, Link::Down, now, &mut counters, &mut events),
                Heard(id) => detector.on_heard(*id, Traffic::Heartbeat, now, &mut counters, &mut events),
                Used(id) => detector.on_heard(*id, Traffic::Use, now, &mut counters, &mut events),
                Sent(id) => detector.on_sent(*id, Traffic::Use, now),
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
        let mut detector = all();
        let (mut counters, mut events) = (Counters::default(), Vec::new());
        detector.on_link(STRANGER, Link::Up, Time(0), &mut counters, &mut events);
        let mut sent = Vec::new();
        for ms in [0, 250, 500, 750, 1_000] {
            sent.push(detector.tick(Time::default().plus_ms(ms), &mut counters, &mut events).heartbeats);
        }
        let both = vec![NEIGHBOUR, STRANGER];
        let one = vec![STRANGER];
        assert_eq!(sent, vec![both.clone(), one.clone(), one.clone(), one, both]);
    }

    #[test]
    fn in_a_large_cluster_heartbeats_of_both_ends_fall_together() {
        let (mut counters, mut events) = (Counters::default(), Vec::new());
        let mut ends = [of_neighbours(), of_neighbours()];
        let (mut sent, mut answered) = (0, 0);
        for end in &mut ends {
            end.on_link(NEIGHBOUR, Link::Up, Time(0), &mut counters, &mut events);
        }
        for ms in (0..20_000).step_by(100) {
            let now = Time::default().plus_ms(ms);
            for (place, phase_ms) in [(0, 0), (1, 600)] {
                let [one, other] = &mut ends;
                let (from, to) = if place == 0 { (one, other) } else { (other, one) };
                if ms % 1_000 != phase_ms || from.tick(now, &mut counters, &mut events).heartbeats.is_empty() {
                    continue;
                }
                sent += 1;
                to.on_heard(NEIGHBOUR, Traffic::Heartbeat, now, &mut counters, &mut events);
                if to.answers_heartbeat(NEIGHBOUR, now) {
                    answered += 1;
                    from.on_heard(NEIGHBOUR, Traffic::Heartbeat, now, &mut counters, &mut events);
                    assert!(!from.answers_heartbeat(NEIGHBOUR, now), "an answer is not answered");
                }
            }
        }
        assert_eq!((sent, answered), (20, 20), "as many as without, in pairs");
        assert_eq!(events, [Event::PeerUp(NEIGHBOUR), Event::PeerUp(NEIGHBOUR)], "nobody was held for dead");
        let mut small = all();
        small.on_link(NEIGHBOUR, Link::Up, Time(0), &mut counters, &mut events);
        assert!(!small.answers_heartbeat(NEIGHBOUR, Time::default().plus_ms(5_000)), "not in a small cluster");
    }

    #[test]
    fn a_small_cluster_keeps_every_link_however_little_it_is_used() {
        let mut detector = all();
        run_on(&mut detector, &[(0, Up(STRANGER), STRANGER, Alive)]);
        for second in 1..=60 {
            run_on(&mut detector, &[(second * 1_000, Heard(STRANGER), STRANGER, Alive)]);
            let now = Time::default().plus_ms(second * 1_000);
            let round = detector.tick(now, &mut Counters::default(), &mut Vec::new());
            assert_eq!(round.hang_up, []);
            assert!(round.heartbeats.contains(&STRANGER));
        }
    }

    #[test]
    fn a_large_cluster_gives_up_a_link_that_carries_only_heartbeats_but_never_a_neighbours() {
        let mut detector = of_neighbours();
        run_on(&mut detector, &[(0, Up(NEIGHBOUR), NEIGHBOUR, Alive), (0, Up(STRANGER), STRANGER, Alive)]);
        let mut given_up = Vec::new();
        for second in 1..=40 {
            let now_ms = second * 1_000;
            run_on(&mut detector, &[(now_ms, Heard(NEIGHBOUR), NEIGHBOUR, Alive)]);
            if given_up.is_empty() {
                run_on(&mut detector, &[(now_ms, Heard(STRANGER), STRANGER, Alive)]);
            }
            if second == 5 {
                run_on(&mut detector, &[(now_ms, Used(STRANGER), STRANGER, Alive)]);
            }
            let round = detector.tick(Time::default().plus_ms(now_ms), &mut Counters::default(), &mut Vec::new());
            given_up.extend(round.hang_up.into_iter().map(|id| (second, id)));
        }
        assert_eq!(given_up, vec![(16, STRANGER)], "ten seconds after its last use");
        let watched: Vec<NodeId> = detector.statuses().iter().map(|status| status.peer).collect();
        assert_eq!(watched, vec![NEIGHBOUR]);
        run_on(&mut detector, &[(41_000, Sent(STRANGER), STRANGER, Assumed)]);
    }

    #[test]
    fn the_end_of_an_unused_link_is_no_failure_and_that_of_a_used_one_is() {
        let mut detector = of_neighbours();
        let events = run_on(
            &mut detector,
            &[
                (0, Up(STRANGER), STRANGER, Alive),
                (9_900, Down(STRANGER), STRANGER, Assumed),
                (20_000, Up(STRANGER), STRANGER, Alive),
                (20_100, Used(STRANGER), STRANGER, Alive),
                (21_000, Down(STRANGER), STRANGER, Dead),
                (30_000, Up(NEIGHBOUR), NEIGHBOUR, Alive),
                (40_000, Down(NEIGHBOUR), NEIGHBOUR, Dead),
            ],
        );
        let told = [Event::PeerUp(STRANGER), Event::PeerUp(STRANGER), Event::PeerDown(STRANGER)];
        assert_eq!(events[..3], told);
    }

    #[test]
    fn a_stranger_that_can_not_be_reached_is_suspected_forgiven_and_forgotten() {
        let mut detector = of_neighbours();
        run_on(
            &mut detector,
            &[
                (0, Sent(STRANGER), STRANGER, Assumed),
                (800, Tick, STRANGER, Assumed),
                (1_501, Tick, STRANGER, Dead),
                (2_500, Tick, STRANGER, Dead),
                (3_400, Tick, STRANGER, Dead),
            ],
        );
        assert_eq!(detector.statuses().len(), 2);
        run_on(&mut detector, &[(3_501, Tick, STRANGER, Assumed)]);
        assert_eq!(detector.statuses().len(), 1, "what is known of it is that it may be tried again");
    }

    #[test]
    fn what_is_watched_does_not_grow_with_the_peers_once_used() {
        let mut detector = of_neighbours();
        let (mut counters, mut events) = (Counters::default(), Vec::new());
        for number in 0..10_000_u64 {
            let (now, id) = (Time::default().plus_ms(10 * number), NodeId(3 + number as u16));
            detector.on_link(id, Link::Up, now, &mut counters, &mut events);
            if number % 100 == 0 {
                detector.tick(now, &mut counters, &mut events);
            }
            assert!(detector.statuses().len() <= 1 + 1_101, "one a hundredth of a second, each for ten seconds");
        }
    }

    /// What a detector tells of a peer that is silent for `silent_ms` and then sends heartbeats for a second, again and
    /// again for ten minutes.
    fn flaps(detector: &mut FailureDetector, silent_ms: u64) -> usize {
        let (mut counters, mut events) = (Counters::default(), Vec::new());
        detector.on_link(NEIGHBOUR, Link::Up, Time(0), &mut counters, &mut events);
        let interval_ms = 250;
        for step in 0..(600_000 / interval_ms) {
            let now = Time::default().plus_ms(step * interval_ms);
            if (step * interval_ms) % (silent_ms + 1_000) >= silent_ms {
                detector.on_heard(NEIGHBOUR, Traffic::Heartbeat, now, &mut counters, &mut events);
            }
            detector.tick(now, &mut counters, &mut events);
        }
        events.iter().filter(|event| **event == Event::PeerDown(NEIGHBOUR)).count()
    }

    #[test]
    fn suspicion_does_not_flap_without_bound_where_a_fixed_time_out_does() {
        let quick = || FailureDetector::of_all([NEIGHBOUR].into_iter(), &[NEIGHBOUR], 250, 1_500, Time(0));
        for silent_ms in [2_000, 5_000, 10_000, 17_000] {
            let fixed = flaps(&mut quick(), silent_ms);
            let phi = flaps(&mut quick().with_phi(8), silent_ms);
            assert!(fixed as u64 > 600_000 / (silent_ms + 1_000) - 3, "{fixed} with {silent_ms} ms");
            // One in half a minute, and those that it took to learn.
            assert!(phi <= 22, "{phi} with {silent_ms} ms, the fixed time-out {fixed}");
        }
        // A peer that is gone is held for dead all the same.
        let mut detector = quick().with_phi(8);
        assert_eq!(flaps(&mut detector, 600_000), 1);
        assert_eq!(detector.opinion(NEIGHBOUR, Time::default().plus_ms(600_000)), Dead);
    }

    #[test]
    fn a_node_that_was_stopped_judges_nobody_by_suspicion_either() {
        let mut detector = of_neighbours().with_phi(2);
        run_on(
            &mut detector,
            &[
                (0, Up(NEIGHBOUR), NEIGHBOUR, Alive),
                (1_000, Heard(NEIGHBOUR), NEIGHBOUR, Alive),
                (1_000, Tick, NEIGHBOUR, Alive),
                (31_000, Tick, NEIGHBOUR, Alive),
                (32_000, Tick, NEIGHBOUR, Alive),
                (33_000, Tick, NEIGHBOUR, Alive),
                (34_000, Tick, NEIGHBOUR, Alive),
                (35_000, Tick, NEIGHBOUR, Alive),
                (36_000, Tick, NEIGHBOUR, Dead),
            ],
        );
    }
}
