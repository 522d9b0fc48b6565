//! Many nodes: what a node costs must not depend on how many others there are.

use std::collections::BTreeSet;

use hearsay_core::{ClientResponse, Key, Level};

use super::*;
use crate::campaign;
use crate::exit::Outcome;
use crate::plan::make_plan;
use crate::report::render;
use crate::sim::simulate;
use crate::sim::world::ClientEvent;

/// A world of so many nodes that have been up for five seconds.
fn large(nodes: u16) -> World {
    let members = (1..=nodes).map(NodeId).collect();
    let config = ClusterConfig {
        members,
        vnodes: 2,
        merkle_depth: 2,
        heartbeat_interval_ms: 1_000,
        heartbeat_timeout_ms: 4_000,
        ..ClusterConfig::default()
    };
    let mut world = World::new(&config, 7, Settings::default(), Watch::default()).unwrap();
    for node in 1..=nodes {
        assert!(world.start(n(node)));
    }
    pass(&mut world, 5 * SECOND);
    world
}

fn links(world: &World, node: u16) -> usize {
    let states = world.nodes[place(n(node))].peers.values().map(|peer| &peer.state);
    states.filter(|state| matches!(state, LinkState::Up { .. })).count()
}

/// Reads that many keys through n1 over one connection; how many were answered.
fn read(world: &mut World, keys: u64) -> usize {
    let connection = world.dial(Party::Client(1), n(1));
    pass(world, SECOND / 10);
    for call in 0..keys {
        let request = ClientRequest::Get { key: Key(call.to_be_bytes().to_vec()), level: Level::All };
        world.send_request(connection, call, request);
        pass(world, SECOND / 100);
    }
    pass(world, 2 * SECOND);
    world.close(connection, Side::Dialler, false);
    let events = std::iter::from_fn(|| world.next_client_event());
    let answered =
        |event: &ClientEvent| matches!(event, ClientEvent::Response { response: ClientResponse::Read { .. }, .. });
    events.filter(answered).count()
}

#[test]
fn an_idle_node_costs_the_same_in_a_cluster_of_ten_times_the_size() {
    let [small, great] = [60, 600].map(|nodes| {
        let mut world = large(nodes);
        let neighbours: BTreeSet<usize> =
            (1..=nodes).map(|node| world.cluster.ring().neighbours(n(node)).len()).collect();
        for node in 1..=nodes {
            let expected = world.cluster.ring().neighbours(n(node)).len();
            assert_eq!(links(&world, node), expected, "n{node} has links to its neighbours and to nobody else");
            assert_eq!(status(&mut world, node).peers.len(), expected);
        }
        assert!(neighbours.last().is_some_and(|&most| most <= 16), "{neighbours:?}");
        let before = world.events();
        pass(&mut world, 10 * SECOND);
        (world.events() - before) as f64 / f64::from(nodes)
    });
    assert!(great < 1.15 * small, "{great:.0} events for a node of 600, {small:.0} of 60");
}

#[test]
fn a_coordinator_dials_whom_it_needs_and_gives_the_links_up_when_they_are_idle() {
    let mut world = large(200);
    let neighbours = world.cluster.ring().neighbours(n(1)).len();
    assert_eq!(read(&mut world, 300), 300);
    let used = links(&world, 1);
    assert!(used > neighbours + 50, "{used} links after 300 reads of keys all over the ring");
    let events_down = |world: &World| {
        let down = |line: &&crate::sim::world::LogLine| matches!(line.event, hearsay_core::Event::PeerDown(_));
        world.log.iter().filter(down).count()
    };
    pass(&mut world, 15 * SECOND);
    for node in 1..=200 {
        let expected = world.cluster.ring().neighbours(n(node)).len();
        assert_eq!(links(&world, node), expected, "n{node} keeps links that nobody uses");
        assert_eq!(world.nodes[place(n(node))].peers.len(), expected, "n{node} remembers peers that nobody uses");
    }
    assert_eq!(events_down(&world), 0, "nobody is held for dead because its link was not needed");
    assert!(status(&mut world, 1).counters["links_given_up"] > 0);
    assert_eq!(read(&mut world, 50), 50, "what was given up is dialled again");
}

#[test]
fn a_small_cluster_is_a_full_mesh_that_stays() {
    let mut world = settled(8, Settings::default());
    assert_eq!(read(&mut world, 60), 60);
    pass(&mut world, 20 * SECOND);
    for node in 1..=8 {
        assert_eq!(links(&world, node), 7);
    }
    assert_eq!(status(&mut world, 1).counters["links_given_up"], 0);
}

#[test]
fn the_large_campaign_is_as_expected_at_a_size_for_tests() {
    let mut campaign = campaign::load("ten-thousand").unwrap();
    campaign.cluster.members = (1..=300).map(NodeId).collect();
    let mut plan = make_plan(&campaign, 3);
    // The final reads go through every node: fewer keys.
    plan.operations.retain(|operation| operation.action.key().ends_with('7'));
    let simulated = simulate(&plan, Settings::default());
    let report = simulated.report(&plan, String::new(), String::new());
    assert_eq!(report.outcome, Outcome::AsExpected, "{}", render(&report));
    assert!(report.faults.len() >= 4 && report.faults.iter().all(|fault| fault.bit && fault.healed));
}
