//! Plumtree and HyParView under the loads and failures that their papers and a peer's simulator measured.
//!
//! Every scenario begins alike: nodes join through the first one, one each millisecond, and the overlay then has time to
//! settle. The exchange of digests is switched off: what arrives, the broadcast itself brought.

use std::sync::Arc;

use hearsay_core::NodeId;
use hearsay_core::dissemination::{
    DisseminationConfig, DisseminationCounters, ExchangeConfig, HyParViewConfig, MessageId,
};
use rand::RngExt;

use crate::{Shape, World, WorldConfig, components, shape};

/// Bytes of each broadcast.
const PAYLOAD: usize = 64;

/// Plumtree over HyParView with one contact, as a world of `nodes` that joined it one each millisecond.
pub fn grown(nodes: u16, seed: u64, settle_ms: u64) -> World {
    let dissemination = DisseminationConfig {
        exchange: ExchangeConfig { interval_ms: 0, ..ExchangeConfig::default() },
        hyparview: HyParViewConfig { contacts: vec![NodeId(1)], ..HyParViewConfig::default() },
        ..DisseminationConfig::default()
    };
    grown_with(dissemination, nodes, seed, settle_ms)
}

fn grown_with(dissemination: DisseminationConfig, nodes: u16, seed: u64, settle_ms: u64) -> World {
    let mut world =
        World::new(WorldConfig { nodes, seed, dissemination: Arc::new(dissemination), ..WorldConfig::default() });
    for node in 1..=nodes {
        world.start(NodeId(node));
        world.run_ms(1);
    }
    world.run_ms(settle_ms);
    world
}

/// What a series of broadcasts cost and brought; means over the broadcasts.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Nodes.
    pub nodes: u16,
    /// Payloads received for each node that had to get one, less one.
    pub redundancy: f64,
    /// The same for the very first broadcast, which makes the tree.
    pub redundancy_first: f64,
    /// Hops of the last delivery.
    pub last_hop: f64,
    /// Until the last delivery, milliseconds.
    pub duration_ms: f64,
    /// Deliveries that never were, sum.
    pub missed: usize,
    /// Messages without payload for each node and broadcast.
    pub control: f64,
    /// Bytes of these for each node and broadcast.
    pub control_bytes: f64,
    /// The overlay before the first broadcast.
    pub shape: Shape,
}

/// Deliveries that are missing, among the nodes that run.
pub fn missed(world: &World, id: MessageId) -> usize {
    let spread = world.spread(id);
    world.running().filter(|node| !spread.has_reached(*node)).count()
}

/// Ten broadcasts that are not counted, then thirty, one a second, from the first node or from random ones.
pub fn series(nodes: u16, seed: u64, many_senders: bool) -> Series {
    let mut world = grown(nodes, seed, 600_000);
    let mut result = Series { nodes, shape: shape(&world), ..Series::default() };
    let (warm, counted) = (10, 30);
    let mut begun = DisseminationCounters::default();
    let receivers = f64::from(nodes) - 1.0;
    for number in 0..warm + counted {
        if number == warm {
            begun = world.counters();
        }
        let before = world.counters().payloads_received;
        let sender = if many_senders { NodeId(world.rng().random_range(1..=nodes)) } else { NodeId(1) };
        let id = world.publish(sender, PAYLOAD);
        world.run_ms(1_000);
        let redundancy = (world.counters().payloads_received - before) as f64 / receivers - 1.0;
        result.missed += missed(&world, id);
        if number == 0 {
            result.redundancy_first = redundancy;
        }
        if number >= warm {
            result.redundancy += redundancy / f64::from(counted);
            result.last_hop += f64::from(world.spread(id).last_hop) / f64::from(counted);
            result.duration_ms += world.spread(id).duration_ns() as f64 / 1e6 / f64::from(counted);
        }
    }
    let ended = world.counters();
    let each = f64::from(nodes) * f64::from(counted);
    result.control = (ended.control_sent - begun.control_sent) as f64 / each;
    result.control_bytes = (ended.control_bytes_sent - begun.control_bytes_sent) as f64 / each;
    result
}

/// What is left after a part of the nodes failed at once.
#[derive(Clone, Debug, Default)]
pub struct Aftermath {
    /// Survivors.
    pub survivors: usize,
    /// Of them, in the component of the sender at the end.
    pub in_component: usize,
    /// For each broadcast, one a second from the moment of the failure on: the share of the survivors that it reached by
    /// the time of the next.
    pub reached: Vec<f64>,
    /// The same at the end, ten seconds after the last.
    pub reached_finally: Vec<f64>,
    /// Survivors in the sender's component that the first broadcast never reached.
    pub first_missed: usize,
    /// Until the last delivery of the first broadcast, milliseconds.
    pub first_ms: f64,
    /// How long the recovery took, milliseconds: until no view names a dead node any more and the survivors form as few
    /// components as they ever do, looked at ten times a second. `None`: it did not end.
    pub recovered_ms: Option<u64>,
    /// The overlay at the end.
    pub shape: Shape,
}

/// Kills `share` of the nodes at once, never the first, which then broadcasts twenty times, once a second.
pub fn massive_failure(nodes: u16, seed: u64, share: f64) -> Aftermath {
    let mut world = grown(nodes, seed, 120_000);
    for _ in 0..10 {
        world.publish(NodeId(1), PAYLOAD);
        world.run_ms(1_000);
    }
    kill_share(&mut world, share);
    let survivors = world.running().count();
    let mut result = Aftermath { survivors, ..Aftermath::default() };
    let of_all = |missed: usize| (survivors - missed) as f64 / survivors as f64;
    let mut ids = Vec::new();
    let mut repair = Repair::default();
    for _ in 0..20 {
        let id = world.publish(NodeId(1), PAYLOAD);
        repair.watch(&mut world, 1_000);
        result.reached.push(of_all(missed(&world, id)));
        ids.push(id);
    }
    repair.watch(&mut world, 10_000);
    result.recovered_ms = repair.ended_ms();
    result.reached_finally = ids.iter().map(|id| of_all(missed(&world, *id))).collect();
    let component = components(&world);
    let place = |node: NodeId| usize::from(node.0) - 1;
    let inside: Vec<NodeId> = world.running().filter(|node| component[place(*node)] == component[0]).collect();
    let first = world.spread(ids[0]);
    result.in_component = inside.len();
    result.first_missed = inside.iter().filter(|node| !first.has_reached(**node)).count();
    result.first_ms = first.duration_ns() as f64 / 1e6;
    result.shape = shape(&world);
    result
}

/// How the survivors of a failure find together, looked at ten times a second until nothing is left to be mended.
#[derive(Debug, Default)]
struct Repair {
    passed_ms: u64,
    /// After so many milliseconds: the number of components; links to dead nodes count as one more each.
    wounds: Vec<(u64, usize)>,
}

impl Repair {
    fn watch(&mut self, world: &mut World, milliseconds: u64) {
        for _ in 0..milliseconds / 100 {
            world.run_ms(100);
            self.passed_ms += 100;
            // One component without a dead link: there is nothing better.
            if self.wounds.last().is_none_or(|(_, wounds)| *wounds > 1) {
                self.wounds.push((self.passed_ms, parts(world) + dead_links(world)));
            }
        }
    }

    fn ended_ms(&self) -> Option<u64> {
        let (_, last) = self.wounds.last()?;
        let ended = self.wounds.iter().rev().take_while(|(_, wounds)| wounds == last).last()?;
        Some(ended.0)
    }
}

fn parts(world: &World) -> usize {
    components(world).into_iter().flatten().max().map_or(0, |last| last + 1)
}

/// Links in active views to nodes that do not run.
fn dead_links(world: &World) -> usize {
    let views = world.running().filter_map(|node| Some(world.layer(node)?.peers()));
    views.flat_map(|peers| peers.iter()).filter(|peer| world.layer(*peer).is_none()).count()
}

/// Kills a share of the nodes, never the first.
pub fn kill_share(world: &mut World, share: f64) {
    let mut victims: Vec<NodeId> = world.running().filter(|node| node.0 != 1).collect();
    let count = ((victims.len() + 1) as f64 * share) as usize;
    for place in 0..count {
        let other = world.rng().random_range(place..victims.len());
        victims.swap(place, other);
    }
    victims.truncate(count);
    world.kill_all(&victims);
}

/// Two halves that were parted.
#[derive(Clone, Debug, Default)]
pub struct Merge {
    /// Components shortly before the cut was healed.
    pub parted: usize,
    /// Links from one half to the other at that time, as the views say.
    pub crossing: usize,
    /// From the healing until the overlay was one component, milliseconds; `None`: it was not within five minutes.
    pub merged_ms: Option<u64>,
    /// Neighbours put out for others since the healing.
    pub evictions: u64,
    /// Survivors that a broadcast five minutes after the healing did not reach.
    pub missed: usize,
}

/// Parts the nodes into halves for ten minutes.
pub fn partition_and_merge(nodes: u16, seed: u64) -> Merge {
    let mut world = grown(nodes, seed, 120_000);
    world.cut(|node| (node.0 % 2) as u8);
    world.run_ms(600_000);
    let before = shape(&world);
    let crossing = world
        .running()
        .filter_map(|node| Some((node, world.layer(node)?.peers())))
        .flat_map(|(node, peers)| peers.iter().map(move |peer| (node, peer)))
        .filter(|(a, b)| a.0 % 2 != b.0 % 2)
        .count();
    let evictions = world.counters().evictions;
    world.cut(|_| 0);
    let mut result = Merge { parted: before.components.len(), crossing, ..Merge::default() };
    for second in 1..=300 {
        world.run_ms(1_000);
        if result.merged_ms.is_none() && shape(&world).components.len() == 1 {
            result.merged_ms = Some(second * 1_000);
        }
    }
    result.evictions = world.counters().evictions - evictions;
    let id = world.publish(NodeId(1), PAYLOAD);
    world.run_ms(5_000);
    result.missed = missed(&world, id);
    result
}

/// What a settled overlay says while nothing is published, the exchange of digests every 2 s included.
#[derive(Clone, Copy, Debug, Default)]
pub struct Idle {
    /// Messages for each node and second.
    pub messages: f64,
    /// Their bytes, without frame and transport.
    pub bytes: f64,
}

/// Ten minutes after it was grown, over one minute.
pub fn idle(nodes: u16, seed: u64) -> Idle {
    let hyparview = HyParViewConfig { contacts: vec![NodeId(1)], ..HyParViewConfig::default() };
    let dissemination = DisseminationConfig { hyparview, ..DisseminationConfig::default() };
    let mut world = grown_with(dissemination, nodes, seed, 600_000);
    let before = world.counters();
    world.run_ms(60_000);
    let after = world.counters();
    let each = f64::from(nodes) * 60.0;
    Idle {
        messages: (after.control_sent - before.control_sent) as f64 / each,
        bytes: (after.control_bytes_sent - before.control_bytes_sent) as f64 / each,
    }
}

/// Ten broadcasts, one a second: what a benchmark measures. Returns the deliveries and the events.
pub fn ten_rounds(world: &mut World) -> (usize, u64) {
    let begun = world.events();
    let mut delivered = 0;
    for _ in 0..10 {
        let id = world.publish(NodeId(1), PAYLOAD);
        world.run_ms(1_000);
        delivered += world.spread(id).delivered.len();
    }
    (delivered, world.events() - begun)
}
