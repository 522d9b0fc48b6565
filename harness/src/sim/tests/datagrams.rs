//! Datagrams, the parts of long frames, and chance that hangs on the moment.

use hearsay_core::Lane;
use hearsay_core::message::PeerMessage;

use super::links::{NUMBERS, received, send};
use super::*;
use crate::campaign;
use crate::plan::{LinkConditions, Plan, make_plan};
use crate::sim::settings::MILLISECOND;
use crate::sim::simulate;

const NARROW: LinkConditions = LinkConditions {
    latency_ms: 0,
    jitter_ms: 0,
    distribution: crate::plan::Distribution::Uniform,
    loss_per_million: 0,
    duplicate_per_million: 0,
    reorder_per_million: 0,
    bandwidth_bytes_per_s: 125_000,
    queue_ms: 0,
};

/// A world whose nodes send no heartbeats of their own for the length of a test, and whose links lose nothing.
fn quiet() -> World {
    let mut settings = Settings::default();
    settings.link.loss_per_million = 0;
    let members = (1..=2).map(NodeId).collect();
    let config = ClusterConfig {
        members,
        replication: 2,
        heartbeat_interval_ms: 60_000,
        heartbeat_timeout_ms: 120_000,
        ..ClusterConfig::default()
    };
    let mut world = World::new(&config, 7, settings, Watch::default()).unwrap();
    for node in 1..=2 {
        assert!(world.start(n(node)));
    }
    pass(&mut world, 60 * SECOND);
    world
}

fn heartbeat(world: &mut World, number: u64) {
    let (connection, side) = link(world, 1, 2).expect("n1 has a link to n2");
    world.send_datagram(connection, side, (number, PeerMessage::Heartbeat), 30);
}

fn heard(world: &World) -> u64 {
    world.nodes[place(n(2))].counters.datagrams_received
}

#[test]
fn a_datagram_goes_before_all_that_waits_in_the_lanes() {
    let mut world = quiet();
    world.wire.bad.impair(1, "f1", &[pair(1, 2)], NARROW);
    let before = heard(&world);
    // 100 kB take 0.8 s.
    send(&mut world, Lane::Control, NUMBERS..NUMBERS + 100, 1_000);
    heartbeat(&mut world, 1);
    let early = received(&mut world, 30 * MILLISECOND);
    assert_eq!(heard(&world) - before, 1, "it waits for {} frames", early.len());
    assert!(early.len() < 10);
    assert_eq!(early.len() + received(&mut world, 2 * SECOND).len(), 100);
}

#[test]
fn a_lost_datagram_stays_lost_and_a_doubled_one_comes_once() {
    let mut world = quiet();
    let lossy = LinkConditions { loss_per_million: 500_000, duplicate_per_million: 400_000, ..Default::default() };
    world.wire.bad.impair(1, "f1", &[pair(1, 2)], lossy);
    let before = heard(&world);
    for number in 0..400 {
        heartbeat(&mut world, number);
        pass(&mut world, 10 * MILLISECOND);
    }
    pass(&mut world, 5 * SECOND);
    let tally = world.wire.bad.restore("f1");
    let came = heard(&world) - before;
    assert!((100..350).contains(&came), "{came} of 400 came");
    assert!(tally.lost > 100 && tally.duplicated > 20, "{tally:?}");
}

#[test]
fn a_partition_drops_datagrams_for_good() {
    let mut world = quiet();
    world.wire.block([pair(1, 2)].into());
    let before = heard(&world);
    (0..10).for_each(|number| heartbeat(&mut world, number));
    assert!(world.wire.dropped()[&pair(1, 2)] >= 10);
    pass(&mut world, SECOND);
    world.wire.block([].into());
    pass(&mut world, SECOND);
    assert_eq!(heard(&world), before);
}

#[test]
fn the_rest_of_a_long_frame_lets_others_go_first() {
    let mut world = quiet();
    world.wire.bad.impair(1, "f1", &[pair(1, 2)], NARROW);
    // A megabyte takes 8 s.
    send(&mut world, Lane::Bulk, [NUMBERS], 1_000_000);
    send(&mut world, Lane::Data, [NUMBERS + 1], 100);
    assert_eq!(received(&mut world, 300 * MILLISECOND), [(Lane::Data, 1)]);
    assert_eq!(received(&mut world, 7_000 * MILLISECOND), [], "all of it takes the line");
    assert_eq!(received(&mut world, 2 * SECOND), [(Lane::Bulk, 0)]);
    // A stream that stalls half-way goes on where it stood.
    send(&mut world, Lane::Bulk, [NUMBERS + 2], 200_000);
    pass(&mut world, SECOND / 2);
    world.wire.block([pair(1, 2)].into());
    pass(&mut world, SECOND / 2);
    world.wire.block([].into());
    assert_eq!(received(&mut world, 5 * SECOND), [(Lane::Bulk, 2)]);
}

/// What one operation did to the links and disks is felt by a part of the others: the nodes' own chance goes by their order of
/// requests.
#[test]
fn an_operation_taken_out_leaves_most_others_as_they_were() {
    let mut plan = make_plan(&campaign::load("quickstart").unwrap(), 5);
    plan.faults.clear();
    plan.operations.retain(|operation| operation.at_ms < 12_000);
    let ended = |plan: &Plan| {
        let run = simulate(plan, Settings::default());
        let case = run.case.unwrap().unwrap();
        let of = case.history.operations.into_iter();
        of.map(|operation| ((operation.invoked, operation.key), operation.completed)).collect::<Vec<_>>()
    };
    let whole = ended(&plan);
    plan.operations.sort_by_key(|operation| operation.at_ms);
    let removed = plan.operations.remove(plan.operations.len() / 8);
    plan.operations.sort_by_key(|operation| (operation.client, operation.at_ms));
    let without: std::collections::BTreeMap<_, _> = ended(&plan).into_iter().collect();
    let later: Vec<_> = whole.into_iter().filter(|((at, _), _)| *at > removed.at_ms * MILLISECOND).collect();
    let same = later.iter().filter(|(begun, ended)| without.get(begun) == Some(ended)).count();
    assert!(later.len() > 2_000, "{}", later.len());
    assert!(same * 4 > later.len() * 3, "{same} of {} later operations end as they did", later.len());
}
