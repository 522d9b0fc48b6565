//! The ways to spread news, side by side: notification by the origin, periodic exchange, and cooperative broadcast by all who
//! receive (rumors, a spanning tree, Plumtree). The same nodes, latencies and faults for each.
//!
//! What a node sends leaves it one message after the other, 0.1 ms each: so a node that has thousands to inform is busy for a
//! while, and may die meanwhile. The exchange behind every way is off unless it is said to be on; it is all of `periodic`.

use std::sync::Arc;

use hearsay_core::NodeId;
use hearsay_core::dissemination::{
    BroadcastKind, DisseminationConfig, ExchangeConfig, HyParViewConfig, MembershipKind, MessageId,
};

use crate::scenarios::{kill_share, missed};
use crate::{World, WorldConfig};

/// Bytes of each broadcast.
const PAYLOAD: usize = 64;
/// A message leaves a node after so long.
const SENDING_US: u64 = 100;
/// Longest that a broadcast is watched.
const WATCHED_MS: u64 = 120_000;

/// A way to spread news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// What it is called.
    pub name: &'static str,
    /// The protocol; Plumtree with HyParView, the others know all members.
    pub protocol: BroadcastKind,
}

/// All of them.
pub const WAYS: [Way; 5] = [
    Way { name: "direct", protocol: BroadcastKind::Direct },
    Way { name: "periodic", protocol: BroadcastKind::Periodic },
    Way { name: "rumor", protocol: BroadcastKind::Rumor },
    Way { name: "tree", protocol: BroadcastKind::Tree },
    Way { name: "plumtree", protocol: BroadcastKind::Plumtree },
];

/// What goes wrong while a broadcast spreads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// The origin dies when it has had the time to send to half of the others.
    OriginDies,
    /// That share of the nodes dies at the moment of the publication, never the origin.
    NodesDie(f64),
    /// The link dies over which the broadcast before went to the largest subtree.
    LinkBreaks,
}

/// How one broadcast went.
#[derive(Clone, Debug, Default)]
pub struct Spreading {
    /// Nodes that were to hear of it: those that lived to the end.
    pub nodes: usize,
    /// Payloads that the origin sent.
    pub origin_sent: u64,
    /// Payloads that all sent.
    pub sent: u64,
    /// Nodes that never heard of it while it was watched.
    pub missed: usize,
    /// Deliveries to those that did, after milliseconds: half of them.
    pub half_ms: f64,
    /// 99 % of them.
    pub p99_ms: f64,
    /// The last.
    pub last_ms: f64,
    /// The last payload was sent, to whomever: from then on it is quiet.
    pub quiet_ms: f64,
    /// Nodes cut off by the link that broke, where one did.
    pub behind_link: usize,
}

/// A world in which all nodes run and broadcasts spread in that way, settled.
pub fn settled(way: Way, nodes: u16, seed: u64, exchange: bool) -> World {
    let plumtree = way.protocol == BroadcastKind::Plumtree;
    let exchange = exchange || way.protocol == BroadcastKind::Periodic;
    let dissemination = DisseminationConfig {
        protocol: way.protocol,
        membership: if plumtree { MembershipKind::HyParView } else { MembershipKind::Full },
        exchange: ExchangeConfig { interval_ms: if exchange { 2_000 } else { 0 }, ..ExchangeConfig::default() },
        hyparview: HyParViewConfig { contacts: vec![NodeId(1)], ..HyParViewConfig::default() },
        ..DisseminationConfig::default()
    };
    let dissemination = Arc::new(dissemination);
    let mut world =
        World::new(WorldConfig { nodes, seed, dissemination, sending_us: SENDING_US, ..WorldConfig::default() });
    for node in 1..=nodes {
        world.start(NodeId(node));
        if plumtree {
            world.run_ms(1);
        }
    }
    world.run_ms(if plumtree { 60_000 } else { 3_000 });
    for _ in 0..if plumtree { 10 } else { 0 } {
        world.publish(NodeId(1), PAYLOAD);
        world.run_ms(1_000);
    }
    world
}

/// One broadcast of the first node among `nodes`, in that way, with that trouble.
pub fn spread(way: Way, nodes: u16, seed: u64, trouble: Trouble, exchange: bool) -> Spreading {
    let origin = NodeId(1);
    let mut world = settled(way, nodes, seed, exchange);
    let mut behind_link = 0;
    if trouble == Trouble::LinkBreaks {
        let id = world.publish(origin, PAYLOAD);
        world.run_ms(20_000);
        let (parent, child, below) = widest_link(&world, id);
        world.break_link(parent, child);
        behind_link = below;
    }
    let before = (world.counters().payloads_sent, sent_by(&world, origin));
    let id = world.publish(origin, PAYLOAD);
    let begun_ns = world.now_ns();
    if let Trouble::NodesDie(share) = trouble {
        kill_share(&mut world, share);
    }
    let mut origin_sent = sent_by(&world, origin) - before.1;
    let mut sent = world.counters().payloads_sent;
    let mut quiet_ns = begun_ns;
    let mut next_ns = begun_ns;
    let mut all_ns = None;
    let dies_ns = begun_ns + u64::from(nodes - 1) * SENDING_US * 1_000 / 2;
    while next_ns < begun_ns + WATCHED_MS * 1_000_000 {
        // Finely at first, then more and more coarsely: a hundredth of what has passed.
        next_ns += ((next_ns - begun_ns) / 100).max(1_000_000);
        if trouble == Trouble::OriginDies && (world.now_ns() < dies_ns && dies_ns <= next_ns) {
            world.run_until_ns(dies_ns);
            origin_sent = sent_by(&world, origin) - before.1;
            world.kill(origin);
        }
        world.run_until_ns(next_ns);
        if world.layer(origin).is_some() {
            origin_sent = sent_by(&world, origin) - before.1;
        }
        let now_sent = world.counters().payloads_sent;
        if now_sent != sent {
            (sent, quiet_ns) = (now_sent, next_ns);
        }
        let idle_ns = next_ns - quiet_ns;
        if missed(&world, id) == 0 {
            all_ns = all_ns.or(Some(next_ns));
        }
        // Long after all heard of it nothing more will be sent.
        if all_ns.is_some_and(|all| next_ns - all > 5_000_000_000) && idle_ns > 5_000_000_000 {
            break;
        }
    }
    let mut after_ms: Vec<f64> =
        world.spread(id).delivered.iter().map(|(at, _)| (at - begun_ns) as f64 / 1e6).collect();
    after_ms.sort_by(f64::total_cmp);
    let at = |share: f64| after_ms[((after_ms.len() as f64 * share).ceil() as usize).clamp(1, after_ms.len()) - 1];
    Spreading {
        nodes: world.running().count(),
        origin_sent,
        sent: sent - before.0,
        missed: missed(&world, id),
        half_ms: at(0.5),
        p99_ms: at(0.99),
        last_ms: at(1.0),
        quiet_ms: (quiet_ns - begun_ns) as f64 / 1e6,
        behind_link,
    }
}

fn sent_by(world: &World, node: NodeId) -> u64 {
    world.layer(node).map_or(0, |layer| layer.counters().payloads_sent)
}

/// The link of a broadcast's tree with the most nodes behind it, but not nearly all: (parent, child, nodes from the child on).
fn widest_link(world: &World, id: MessageId) -> (NodeId, NodeId, usize) {
    let parent = |node: NodeId| world.layer(node)?.log().held(id)?.from;
    let mut below = vec![0_usize; world.members().len()];
    for &member in world.members() {
        let mut at = member;
        // A way is no longer than there are nodes.
        for _ in 0..world.members().len() {
            below[usize::from(at.0) - 1] += 1;
            match parent(at) {
                Some(next) => at = next,
                None => break,
            }
        }
    }
    let links =
        world.members().iter().filter_map(|child| Some((parent(*child)?, *child, below[usize::from(child.0) - 1])));
    let half = world.members().len() / 2;
    links.filter(|link| link.2 <= half).max_by_key(|link| link.2).expect("a broadcast went over a link")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(name: &str) -> Way {
        *WAYS.iter().find(|way| way.name == name).expect(name)
    }

    #[test]
    fn every_way_informs_all_when_nothing_goes_wrong() {
        for way in WAYS {
            let spreading = spread(way, 60, 1, Trouble::None, way.name == "rumor");
            assert_eq!((spreading.nodes, spreading.missed), (60, 0), "{}: {spreading:?}", way.name);
            assert!(spreading.last_ms <= spreading.quiet_ms + 60.0, "{}: {spreading:?}", way.name);
        }
    }

    #[test]
    fn the_origin_pays_for_notification_and_a_tree_has_the_fewest_messages() {
        for nodes in [50, 100] {
            let of = |name| spread(way(name), nodes, 1, Trouble::None, false);
            assert_eq!(of("direct").origin_sent, u64::from(nodes) - 1);
            let tree = of("tree");
            assert_eq!((tree.sent, tree.origin_sent), (u64::from(nodes) - 1, 4));
            assert!(of("plumtree").origin_sent <= 5);
        }
    }

    #[test]
    fn an_origin_that_dies_half_way_leaves_half_uninformed_until_they_exchange() {
        let without = spread(way("direct"), 200, 1, Trouble::OriginDies, false);
        assert!((95..=105).contains(&without.missed), "{without:?}");
        let with = spread(way("direct"), 200, 1, Trouble::OriginDies, true);
        assert_eq!(with.missed, 0, "{with:?}");
        let plumtree = spread(way("plumtree"), 200, 1, Trouble::OriginDies, false);
        assert_eq!(plumtree.missed, 0, "those informed inform the others: {plumtree:?}");
    }

    #[test]
    fn a_broken_link_cuts_off_a_subtree_and_plumtree_goes_around() {
        let tree = spread(way("tree"), 100, 1, Trouble::LinkBreaks, false);
        assert!(tree.behind_link >= 20 && tree.missed == tree.behind_link, "{tree:?}");
        assert_eq!(spread(way("tree"), 100, 1, Trouble::LinkBreaks, true).missed, 0);
        let plumtree = spread(way("plumtree"), 100, 1, Trouble::LinkBreaks, false);
        assert!(plumtree.behind_link > 0 && plumtree.missed == 0, "{plumtree:?}");
    }
}
