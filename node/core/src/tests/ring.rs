//! Changes of the ring under load: joins, leaves, replacements, removals, one after the other and at once, with crashes at every
//! step. Judged in real time as in [`super::nemesis`]: a read that begins after another answer left must not return anything older
//! than that answer stated; at the end all owners of a key hold the same, and nobody else holds it.

mod crashes;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::cluster::{TestCluster, config, key};
use crate::ring::Ring;
use crate::ring::topology::{Phase, Topology, View};
use crate::rng::sub_stream;
use crate::*;

const KEYS: usize = 12;

/// A change of the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Join(u16),
    Leave(u16),
    /// The first is killed; the second takes its place.
    Replace(u16, u16),
    /// It is killed and nobody takes its place.
    Remove(u16),
}
use Change::*;

struct InFlight {
    key: usize,
    /// The newest stamp stated by an answer before this request began.
    floor: u64,
}

/// A cluster under load.
pub(super) struct Run {
    pub(super) cluster: TestCluster,
    rng: ChaCha8Rng,
    seed: u64,
    keys: Vec<Key>,
    floors: Vec<u64>,
    in_flight: BTreeMap<RequestId, InFlight>,
    pub(super) violations: Vec<String>,
    reads: u64,
    writes: u64,
    values: u64,
    /// Killed for good.
    gone: BTreeSet<NodeId>,
}

impl Run {
    pub(super) fn new(config: ClusterConfig, seed: u64, planted: Planted) -> Run {
        let mut bytes = [2; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let cluster = TestCluster::ready_planted(config, seed, planted);
        Run {
            cluster,
            rng: sub_stream(&bytes, "ring"),
            seed,
            keys: (0..KEYS).map(|number| key(&format!("k{number}"))).collect(),
            floors: vec![0; KEYS],
            in_flight: BTreeMap::new(),
            violations: Vec::new(),
            reads: 0,
            writes: 0,
            values: 0,
            gone: BTreeSet::new(),
        }
    }

    /// Nodes that run and are not on their way out of the test.
    fn up(&self) -> Vec<NodeId> {
        let up = |node: &NodeId| self.cluster.is_up(*node) && !self.cluster.is_paused(*node);
        self.cluster.all().into_iter().filter(up).collect()
    }

    /// One request, and a moment.
    fn step(&mut self) {
        let up = self.up();
        if let Some(&node) = up.choose(&mut self.rng) {
            let which = self.rng.random_range(0..KEYS);
            let (key, level) = (self.keys[which].clone(), Level::Quorum);
            let request = match self.rng.random_range(0..10) {
                0..5 => {
                    self.values += 1;
                    ClientRequest::Put { key, value: Value(format!("{}", self.values).into_bytes()), level }
                }
                5 => ClientRequest::Delete { key, level },
                _ => ClientRequest::Get { key, level },
            };
            let id = self.cluster.request(node, request);
            self.in_flight.insert(id, InFlight { key: which, floor: self.floors[which] });
        }
        let ms = self.rng.random_range(1..8);
        self.cluster.run_ms(ms);
        self.judge();
        self.end_those_that_left();
    }

    fn end_those_that_left(&mut self) {
        let over: Vec<NodeId> = self.up().into_iter().filter(|node| self.cluster.has_left(*node)).collect();
        for node in over {
            self.cluster.crash(node);
            self.gone.insert(node);
        }
    }

    pub(super) fn steps(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
        }
    }

    fn judge(&mut self) {
        let (replies, floors, seed) = (&self.cluster.replies, &mut self.floors, self.seed);
        let (violations, reads, writes) = (&mut self.violations, &mut self.reads, &mut self.writes);
        self.in_flight.retain(|id, request| {
            let stated = match replies.get(id) {
                None => return true,
                Some(ClientResponse::Written { stamp }) => {
                    *writes += 1;
                    stamp.0
                }
                Some(ClientResponse::Read { stamp, .. }) => {
                    *reads += 1;
                    let stamp = stamp.map_or(0, |stamp| stamp.0);
                    if stamp < request.floor {
                        violations.push(format!("seed {seed}: a read of k{} went back", request.key));
                    }
                    stamp
                }
                Some(_) => return false,
            };
            floors[request.key] = floors[request.key].max(stated);
            false
        });
    }

    fn call(&mut self, node: NodeId, request: ClientRequest) -> ClientResponse {
        self.cluster.call(node, request).expect("the node runs")
    }

    /// Begins a change.
    pub(super) fn begin(&mut self, change: Change) {
        match change {
            Join(node) => {
                self.cluster.add(NodeId(node), None);
                self.cluster.start(NodeId(node));
            }
            Leave(node) => {
                let answer = self.call(NodeId(node), ClientRequest::Leave);
                assert!(matches!(answer, ClientResponse::Ring(_)), "{answer:?}");
            }
            Replace(dead, node) => {
                self.cluster.crash(NodeId(dead));
                self.gone.insert(NodeId(dead));
                self.cluster.add(NodeId(node), Some(NodeId(dead)));
                self.cluster.start(NodeId(node));
            }
            Remove(dead) => {
                let dead = NodeId(dead);
                self.cluster.crash(dead);
                self.gone.insert(dead);
                self.steps(600);
                let other = self.up()[0];
                let answer = self.call(other, ClientRequest::Remove { node: dead });
                assert!(matches!(answer, ClientResponse::Ring(_)), "{answer:?}");
            }
        }
    }

    fn is_over(&self) -> bool {
        let up = self.up();
        let views: BTreeSet<View> = up.iter().map(|node| self.cluster.topology(*node).view()).collect();
        let expected = |node: &NodeId| {
            let topology = self.cluster.topology(*node);
            !topology.is_changing() && self.gone.iter().all(|gone| !topology.is_member(*gone))
        };
        views.len() == 1 && up.iter().all(|node| expected(node) && self.cluster.is_ready(*node))
    }

    /// Goes on with the load until the change is over, or this long; whether it is.
    pub(super) fn until_over(&mut self, steps: usize) -> bool {
        for _ in 0..steps {
            if self.is_over() {
                return true;
            }
            self.step();
        }
        false
    }

    /// The same without load.
    fn until_over_alone(&mut self, ms: u64) -> bool {
        for _ in 0..ms / 10 {
            if self.is_over() {
                return true;
            }
            self.cluster.run_ms(10);
            self.end_those_that_left();
        }
        false
    }

    fn describe(&mut self) -> String {
        let mut text = String::new();
        for node in self.up() {
            let ClientResponse::Ring(report) = self.call(node, ClientRequest::Ring) else { continue };
            let phases: Vec<String> = self
                .cluster
                .topology(node)
                .members()
                .iter()
                .map(|(node, member)| format!("{node} {}", member.phase.name()))
                .collect();
            text += &format!(
                "\n{node}: view {:x}, {}; unsure {}, comparing with {:?}, taken over {:?}",
                report.view,
                phases.join(", "),
                report.ranges_unsure,
                report.comparing_with,
                report.taken_over
            );
        }
        text
    }

    /// Waits until the owners of each key hold the same, if they ever do.
    fn settle(&mut self) {
        for _ in 0..60 {
            self.cluster.run_ms(1_000);
            let Some(topology) = self.up().first().map(|node| self.cluster.topology(*node).clone()) else { return };
            let equal = self.keys.iter().all(|key| {
                let owners = topology.natural().replicas(key);
                owners.iter().all(|node| self.cluster.on_disk(*node, key) == self.cluster.on_disk(owners[0], key))
            });
            if equal {
                return;
            }
        }
    }

    /// Lets the load end, and judges what is stored.
    pub(super) fn finish(&mut self) {
        if !self.until_over(8_000) {
            let text = self.describe();
            self.violations.push(format!("seed {}: the change is never over{text}", self.seed));
            return;
        }
        self.steps(100);
        self.settle();
        self.judge();
        let up = self.up();
        let Some(topology) = up.first().map(|node| self.cluster.topology(*node).clone()) else { return };
        let talk = self.cluster.sent.get("ring").copied().unwrap_or(0);
        if talk > 20_000 {
            self.violations.push(format!("seed {}: {talk} messages about the ring", self.seed));
        }
        for (which, key) in self.keys.clone().iter().enumerate() {
            let owners = topology.natural().replicas(key).to_vec();
            let stamps: Vec<u64> = owners
                .iter()
                .map(|node| self.cluster.on_disk(*node, key).map_or(0, |version| version.stamp.0))
                .collect();
            if stamps.iter().any(|stamp| *stamp != stamps[0]) {
                self.violations.push(format!("seed {}: the owners {owners:?} of k{which} differ", self.seed));
            }
            if stamps.iter().any(|stamp| *stamp < self.floors[which]) {
                self.violations.push(format!("seed {}: k{which} lost what was stated to a client", self.seed));
            }
            for node in up.iter().filter(|node| !owners.contains(node)) {
                if self.cluster.stored(*node, key).is_some() || self.cluster.on_disk(*node, key).is_some() {
                    self.violations.push(format!("seed {}: {node} keeps k{which}, which is not its own", self.seed));
                }
            }
        }
    }
}

/// Rare anti-entropy, so that nothing mends by chance what a change should bring.
pub(super) fn settings(members: u16) -> ClusterConfig {
    ClusterConfig { merkle_interval_ms: 2_000, ..config(members, 3) }
}

pub(super) fn run(changes: &[Change], seed: u64, planted: Planted) -> Run {
    let mut run = Run::new(settings(5), seed, planted);
    run.steps(150);
    for change in changes {
        run.begin(*change);
        // The next one begins somewhere in the middle of this one.
        let steps = run.rng.random_range(0..120);
        run.steps(steps);
    }
    run.finish();
    run
}

/// The same with partitions, one-way losses, pauses and crashes at random until the changes are begun and for some time after.
pub(super) fn rough(changes: &[Change], seed: u64, planted: Planted) -> Run {
    let mut run = Run::new(settings(5), seed, planted);
    run.steps(60);
    let mut waiting: Vec<Change> = changes.iter().rev().copied().collect();
    for step in 0..700 {
        if step % 90 == 0
            && let Some(change) = waiting.pop()
        {
            run.cluster.heal();
            for node in run.cluster.all() {
                run.cluster.resume(node);
                if !run.cluster.is_up(node) && !run.gone.contains(&node) {
                    run.cluster.start(node);
                }
            }
            run.steps(8);
            run.begin(change);
        }
        let all: Vec<NodeId> = run.cluster.all().into_iter().filter(|node| !run.gone.contains(node)).collect();
        let node = *all.choose(&mut run.rng).expect("nodes");
        let other = *all.choose(&mut run.rng).expect("nodes");
        match run.rng.random_range(0..100) {
            0..2 => {
                let rng = &mut run.rng;
                let side: Vec<NodeId> = all.iter().copied().filter(|_| rng.random_bool(0.4)).collect();
                for a in side.iter().copied() {
                    for b in all.iter().copied().filter(|b| !side.contains(b)) {
                        run.cluster.cut_both(a, b);
                    }
                }
            }
            2..4 if node != other => run.cluster.lose_silently(node, other),
            4..8 => run.cluster.heal(),
            8 => run.cluster.pause(node),
            9..12 => all.iter().for_each(|node| run.cluster.resume(*node)),
            12 => run.cluster.crash(node),
            13..16 => {
                if let Some(node) = all.iter().find(|node| !run.cluster.is_up(**node)) {
                    run.cluster.start(*node);
                }
            }
            16..18 => run.cluster.lost_writes = [node].into(),
            18..22 => run.cluster.lost_writes.clear(),
            _ => {}
        }
        run.step();
    }
    run.cluster.heal();
    run.cluster.lost_writes.clear();
    for node in run.cluster.all() {
        run.cluster.resume(node);
        if !run.cluster.is_up(node) && !run.gone.contains(&node) {
            run.cluster.start(node);
        }
    }
    run.finish();
    run
}

/// Every write of a client is kept by its coordinator alone, for all that are sent are lost, and each is of a key of its own: only a
/// change that hands over everything, whoever has it and until the last moment, loses none.
pub(super) fn lonely(change: Change, seed: u64, planted: Planted) -> Run {
    let mut run = Run::new(ClusterConfig { merkle_interval_ms: 0, ..settings(5) }, seed, planted);
    run.steps(40);
    run.cluster.lost_writes.insert(NodeId(0));
    let mut asked: Vec<(RequestId, Key)> = Vec::new();
    for step in 0..500 {
        if step == 60 {
            run.begin(change);
        }
        for _ in 0..4 {
            let up = run.up();
            let node = *up.choose(&mut run.rng).expect("nodes");
            let key = key(&format!("lonely{}", asked.len()));
            let put = ClientRequest::Put { key: key.clone(), value: Value(vec![1]), level: Level::One };
            asked.push((run.cluster.request(node, put), key));
        }
        run.cluster.run_ms(1);
        run.end_those_that_left();
    }
    run.cluster.lost_writes.clear();
    if !run.until_over_alone(30_000) {
        let text = run.describe();
        run.violations.push(format!("seed {seed}: the change is never over{text}"));
        return run;
    }
    for node in run.up() {
        run.call(node, ClientRequest::Repair);
    }
    run.finish();
    let Some(topology) = run.up().first().map(|node| run.cluster.topology(*node).clone()) else { return run };
    let mut written = 0;
    for (id, key) in asked {
        if !matches!(run.cluster.replies.get(&id), Some(ClientResponse::Written { .. })) {
            continue;
        }
        written += 1;
        let owners = topology.natural().replicas(&key);
        if owners.iter().any(|node| run.cluster.on_disk(*node, &key).is_none()) {
            run.violations.push(format!("seed {seed}: {key:?}, which was acknowledged, is not at all of {owners:?}"));
        }
    }
    assert!(written > 300, "only {written} lonely writes");
    run
}

/// Under load, with all writes to two of the founders lost at any time, though never to newcomers.
pub(super) fn lossy(changes: &[Change], seed: u64, planted: Planted) -> Run {
    let mut run = Run::new(ClusterConfig { merkle_interval_ms: 0, ..settings(5) }, seed, planted);
    let founders = run.cluster.members();
    let mut waiting: Vec<Change> = changes.iter().rev().copied().collect();
    for step in 0..400 {
        if step % 40 == 20
            && let Some(change) = waiting.pop()
        {
            run.begin(change);
            if let Join(node) = change {
                // It can't ask the first, and so stays pending for long.
                run.cluster.lose_silently(NodeId(node), founders[0]);
            }
        }
        if step % 8 == 0 {
            run.cluster.lost_writes = founders.sample(&mut run.rng, 2).copied().collect();
        }
        run.step();
    }
    run.cluster.lost_writes.clear();
    run.cluster.heal();
    if run.until_over(6_000) {
        for node in run.up() {
            run.call(node, ClientRequest::Repair);
        }
    }
    run.finish();
    run
}

fn assert_good(runs: &[Run]) {
    let violations: Vec<&String> = runs.iter().flat_map(|run| &run.violations).take(8).collect();
    assert!(violations.is_empty(), "{violations:#?}");
    let (reads, writes) = runs.iter().fold((0, 0), |(reads, writes), run| (reads + run.reads, writes + run.writes));
    assert!(reads > 100 && writes > 100, "{reads} reads, {writes} writes");
}

#[test]
fn a_node_joins_under_load_and_owns_its_share() {
    let runs: Vec<Run> = (0..6).map(|seed| run(&[Join(6)], seed, Planted::NONE)).collect();
    assert_good(&runs);
    for run in &runs {
        let topology = run.cluster.topology(NodeId(6));
        assert_eq!(topology.phase(NodeId(6)), Some(Phase::Normal));
        assert!(!topology.natural().owned_ranges(NodeId(6)).is_empty());
        assert!(run.cluster.counter_now(NodeId(6), "writes_applied") > 0);
    }
}

#[test]
fn a_node_leaves_under_load_and_ends() {
    let runs: Vec<Run> = (0..6).map(|seed| run(&[Leave(2)], seed, Planted::NONE)).collect();
    assert_good(&runs);
    assert!(runs.iter().all(|run| run.gone.contains(&NodeId(2))));
}

#[test]
fn a_dead_node_is_replaced_under_load_by_one_on_its_tokens() {
    let runs: Vec<Run> = (0..6).map(|seed| run(&[Replace(3, 7)], seed, Planted::NONE)).collect();
    assert_good(&runs);
    let before = Topology::new(
        (1..=5).map(|node| (NodeId(node), ring::topology::RingMember::founder())).collect(),
        &settings(5).members,
        4,
        3,
    );
    for run in &runs {
        let after = run.cluster.topology(NodeId(1));
        assert_eq!(after.phase(NodeId(3)), Some(Phase::Left));
        let (old, new) = (before.natural().owned_ranges(NodeId(3)), after.natural().owned_ranges(NodeId(7)));
        assert_eq!(old, new);
    }
}

#[test]
fn a_dead_node_is_removed_under_load() {
    assert_good(&(0..4).map(|seed| run(&[Remove(4)], seed, Planted::NONE)).collect::<Vec<_>>());
}

#[test]
fn two_changes_at_once_and_one_right_after_the_other_lose_nothing() {
    let pairs: [&[Change]; 6] = [
        &[Join(6), Join(7)],
        &[Join(6), Leave(1)],
        &[Leave(1), Join(6)],
        &[Join(6), Replace(2, 7)],
        &[Replace(2, 7), Leave(4)],
        &[Join(6), Join(7), Leave(1), Leave(2)],
    ];
    for changes in pairs {
        assert_good(&(0..4).map(|seed| run(changes, seed, Planted::NONE)).collect::<Vec<_>>());
    }
}

#[test]
fn changes_in_rough_weather_lose_nothing_and_take_no_quorum_read_back() {
    let changes: [&[Change]; 5] =
        [&[Join(6)], &[Leave(2)], &[Replace(3, 7)], &[Join(6), Join(7)], &[Join(6), Leave(1), Join(7)]];
    let runs = changes.iter().flat_map(|changes| (0..6).map(|seed| rough(changes, seed, Planted::NONE)));
    assert_good(&runs.collect::<Vec<_>>());
}

#[test]
fn joins_that_take_long_lose_nothing_though_writes_are_lost_on_their_way() {
    let violations: Vec<String> =
        (0..4).flat_map(|seed| lossy(&[Join(6), Join(7)], seed, Planted::NONE).violations).collect();
    assert!(violations.is_empty(), "{violations:#?}");
}

#[test]
fn what_one_node_alone_has_is_handed_over_until_the_last_moment() {
    for change in [Join(6), Leave(2)] {
        let violations: Vec<String> = (0..4).flat_map(|seed| lonely(change, seed, Planted::NONE).violations).collect();
        assert!(violations.is_empty(), "{violations:#?}");
    }
}

#[test]
fn a_cluster_that_starts_again_as_a_whole_still_knows_its_members() {
    assert!(all_start_again());
}

/// After a join all nodes end at once, and the founders start again without the newcomer: what one of them and the newcomer have
/// acknowledged is still read.
fn all_start_again() -> bool {
    let mut run = run(&[Join(6)], 2, Planted::NONE);
    let newcomer = NodeId(6);
    let topology = run.cluster.topology(newcomer).clone();
    let founders = Topology::of_founders(&settings(5).members, Ring::new(&settings(5).members, 4, 3).into());
    let mut good = true;
    for number in 0..60 {
        let key = key(&format!("later{number}"));
        let (owners, former) = (topology.natural().replicas(&key), founders.natural().replicas(&key));
        if !owners.contains(&newcomer) {
            continue;
        }
        let keeper = *owners.iter().find(|node| **node != newcomer).expect("three owners");
        run.cluster.lost_writes = former.iter().copied().filter(|node| *node != keeper).collect();
        let put = run.cluster.put(keeper, &key, "new", Level::Quorum);
        assert!(matches!(put, Some(ClientResponse::Written { .. })), "{put:?}");
    }
    run.cluster.lost_writes.clear();
    for node in run.cluster.all() {
        run.cluster.crash(node);
    }
    for node in settings(5).members {
        run.cluster.start(node);
    }
    run.cluster.run_ms(40);
    for number in 0..60 {
        let key = key(&format!("later{number}"));
        let owners = topology.natural().replicas(&key);
        if owners.contains(&newcomer) {
            for node in founders.natural().replicas(&key) {
                let read = run.cluster.get(*node, &key, Level::Quorum);
                good &= !matches!(read, Some(ClientResponse::Read { value: None, .. }));
            }
        }
    }
    good
}

/// Runs one change with a crash of `node` after so many of its outputs since the change began, and a start `down_ms` later. Answers how
/// many outputs it made, too.
fn run_with_crash(change: Change, node: NodeId, outputs: u64, seed: u64) -> (Run, u64) {
    let mut run = Run::new(settings(4), seed, Planted::NONE);
    run.steps(60);
    run.begin(change);
    let begun = run.cluster.outputs(node);
    let mut crashed = false;
    for _ in 0..1_500 {
        if !crashed && run.cluster.is_up(node) && run.cluster.outputs(node) >= begun.saturating_add(outputs) {
            run.cluster.crash(node);
            crashed = true;
            run.steps(40);
            run.cluster.start(node);
        }
        if run.is_over() {
            break;
        }
        run.step();
    }
    let made = run.cluster.outputs(node) - begun;
    run.finish();
    (run, made)
}

#[test]
fn a_crash_at_any_step_of_a_change_loses_nothing() {
    for (change, nodes) in [(Join(5), [5, 1]), (Leave(2), [2, 3]), (Replace(3, 6), [6, 1])] {
        for node in nodes {
            let (whole, made) = run_with_crash(change, NodeId(node), u64::MAX, 1);
            assert!(whole.violations.is_empty(), "{:#?}", whole.violations);
            assert!(made > 15, "{change:?}: only {made} outputs of n{node} to crash behind");
            // Prime, so that all kinds of outputs have their turn.
            let stride = (made / 14).max(1) | 1;
            for outputs in (0..made).step_by(stride as usize) {
                let (run, _) = run_with_crash(change, NodeId(node), outputs, 1);
                assert!(run.violations.is_empty(), "{change:?}, n{node} after {outputs}: {:#?}", run.violations);
            }
        }
    }
}

#[test]
fn a_coordinator_that_missed_the_change_is_refused_and_does_its_requests_again() {
    let mut run = Run::new(settings(5), 3, Planted::NONE);
    run.steps(50);
    let stale = NodeId(1);
    run.cluster.pause(stale);
    run.begin(Leave(2));
    // Without n1 the change may wait for it; the others are in other views than n1 by now.
    run.steps(200);
    run.cluster.resume(stale);
    let before = run.cluster.topology(stale).view();
    run.finish();
    assert_good(&[run_of(&mut run)]);
    assert_ne!(run.cluster.topology(stale).view(), before);
    let refused: u64 = run.up().iter().map(|node| run.cluster.counter_now(*node, "ring_other_view")).sum();
    let again: u64 = run.up().iter().map(|node| run.cluster.counter_now(*node, "ring_requests_again")).sum();
    assert!(refused > 0 && again > 0, "{refused} refused, {again} again");
}

/// What was found, without the cluster's further use.
fn run_of(run: &mut Run) -> Run {
    let fresh = Run::new(settings(5), 3, Planted::NONE);
    Run { violations: core::mem::take(&mut run.violations), reads: run.reads, writes: run.writes, ..fresh }
}

#[test]
fn a_pending_node_has_every_write_before_it_enters() {
    let mut run = Run::new(settings(5), 5, Planted::NONE);
    run.cluster.add(NodeId(6), None);
    run.cluster.start(NodeId(6));
    run.cluster.run_until("n6 is known", 10_000, |cluster| cluster.topology(NodeId(1)).phase(NodeId(6)).is_some());
    // Nobody answers n6's questions, so it stays where it is.
    for node in 1..=5 {
        run.cluster.lose_silently(NodeId(6), NodeId(node));
    }
    run.cluster.run_ms(500);
    if run.cluster.topology(NodeId(6)).phase(NodeId(6)) == Some(Phase::Joining) {
        run.steps(200);
        let pending = run.cluster.counter_now(NodeId(6), "writes_applied");
        assert!(pending > 0, "no write came to the pending node");
    }
    let sent: u64 = (1..=5).map(|node| run.cluster.counter_now(NodeId(node), "ring_pending_writes")).sum();
    assert!(sent > 0);
}

#[test]
fn changes_that_can_not_be_are_refused_with_the_mend() {
    let mut run = Run::new(settings(3), 1, Planted::NONE);
    for (request, expected) in [
        (ClientRequest::Leave, "let another join first"),
        (ClientRequest::Remove { node: NodeId(9) }, "n9 is no member"),
        (ClientRequest::Remove { node: NodeId(1) }, "ask it to leave"),
        (ClientRequest::Remove { node: NodeId(2) }, "not held for dead"),
    ] {
        let ClientResponse::Failed(error) = run.call(NodeId(1), request) else { panic!("{expected}") };
        assert!(error.kind == ClientErrorKind::Refused && error.message.contains(expected), "{}", error.message);
    }
    assert_eq!(run.cluster.topology(NodeId(1)).view(), View::FOUNDERS);
}

#[test]
fn who_left_starts_again_only_to_tell_the_others() {
    let mut run = run(&[Leave(2)], 1, Planted::NONE);
    run.cluster.start(NodeId(2));
    run.cluster.run_until("n2 has nothing more to do", 10_000, |cluster| cluster.has_left(NodeId(2)));
    let answer = run.call(NodeId(2), ClientRequest::Get { key: key("k1"), level: Level::One });
    assert!(
        matches!(&answer, ClientResponse::Failed(error) if error.message.contains("has left the cluster")),
        "{answer:?}"
    );
}
