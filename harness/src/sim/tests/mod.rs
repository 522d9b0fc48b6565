//! Tests of the simulated world: its links, its processes, and whole runs.

mod bad_links;
mod clocks_and_leaves;
mod datagrams;
mod disks;
mod links;
mod marks;
mod processes;
mod ring;
mod runs;
mod scale;

use hearsay_core::{ClientRequest, ClientResponse, ClusterConfig, Mark, NodeId, StatusReport};

use crate::plan::Endpoint;

use super::connection::{ConnectionId, Party, Side};
use super::node::LinkState;
use super::run_hash::Watch;
use super::settings::{SECOND, Settings};
use super::wire::Pair;
use super::world::{Step, World, place};

fn n(number: u16) -> NodeId {
    NodeId(number)
}

/// A world of so many nodes that have been up for two seconds.
fn settled(nodes: u16, settings: Settings) -> World {
    let members = (1..=nodes).map(NodeId).collect();
    let replication = u8::try_from(nodes.min(3)).unwrap();
    let config = ClusterConfig { members, replication, ..ClusterConfig::default() };
    let mut world = World::new(&config, 7, settings, Watch::default()).unwrap();
    for node in 1..=nodes {
        assert!(world.start(n(node)));
    }
    pass(&mut world, 2 * SECOND);
    world
}

/// Lets so much time pass.
fn pass(world: &mut World, nanoseconds: u64) {
    let until = world.now() + nanoseconds;
    while world.queue.next_time().is_some_and(|next| next < until) {
        assert!(matches!(world.step(), Step::World));
    }
    world.queue.wait_until(until);
}

fn status(world: &mut World, node: u16) -> StatusReport {
    match world.ask(n(node), ClientRequest::Status).unwrap() {
        ClientResponse::Status(status) => status,
        other => panic!("{other:?} is no status"),
    }
}

/// Whether the node says that it has a link to the other.
fn linked(world: &mut World, node: u16, other: u16) -> bool {
    status(world, node).peers.iter().any(|peer| peer.peer == n(other) && peer.linked)
}

fn pair(from: u16, to: u16) -> Pair {
    (Endpoint::Node(n(from)), Endpoint::Node(n(to)))
}

/// The link of a node to another: the connection, and its side of it.
fn link(world: &World, from: u16, to: u16) -> Option<(ConnectionId, Side)> {
    match world.nodes[place(n(from))].peers.get(&n(to))?.state {
        LinkState::Up { connection, side, .. } => Some((connection, side)),
        _ => None,
    }
}

/// Connections between these two that at least one of them holds.
fn connections(world: &mut World, one: u16, other: u16) -> usize {
    let parties = [Party::Node(n(one)), Party::Node(n(other))];
    let ids = world.connections.of_node(n(one));
    let between = ids.into_iter().filter_map(|id| world.connections.get_mut(id).map(|connection| connection.parties));
    between.filter(|found| found.iter().all(|party| parties.contains(party))).count()
}
