//! The troubles that overlays had elsewhere, each as a check that holds, and that a planted bug breaks.
//!
//! Bugs that an overlay survives at the price of time or messages are caught by the state machine's own tests in `node/core`. The
//! planted half runs only with the feature: `cargo test -p hearsay-overlay --features planted-bugs`.

use std::sync::Arc;

use hearsay_core::dissemination::{
    BroadcastKind, Direction, DisseminationConfig, ExchangeConfig, HyParViewConfig, MembershipKind, RumorConfig,
};
use hearsay_core::{NodeId, Planted};
use hearsay_overlay::{Shape, World, WorldConfig, scenarios, shape};
use rand::RngExt;

fn ensure(good: bool, sentence: impl FnOnce() -> String) -> Result<(), String> {
    if good { Ok(()) } else { Err(sentence()) }
}

/// Plumtree over HyParView with one contact and without exchange: the broadcast has to bring everything itself.
fn overlay(nodes: u16, planted: Planted) -> World {
    let dissemination = DisseminationConfig {
        exchange: ExchangeConfig { interval_ms: 0, ..ExchangeConfig::default() },
        hyparview: HyParViewConfig { contacts: vec![NodeId(1)], ..HyParViewConfig::default() },
        ..DisseminationConfig::default()
    };
    world(nodes, dissemination, planted)
}

fn world(nodes: u16, dissemination: DisseminationConfig, planted: Planted) -> World {
    dissemination.validate().expect("a good configuration");
    World::new(WorldConfig {
        nodes,
        seed: 7,
        dissemination: Arc::new(dissemination),
        planted,
        ..WorldConfig::default()
    })
}

fn grow(world: &mut World, settle_ms: u64) {
    for node in world.members().to_vec() {
        world.start(node);
        world.run_ms(1);
    }
    world.run_ms(settle_ms);
}

/// Views within their bounds, links eager or lazy, nothing delivered twice, tables bounded.
fn sound(world: &World) -> Result<(), String> {
    for node in world.running() {
        let layer = world.layer(node).expect("it runs");
        let (active, passive) = (layer.peers(), layer.passive_view());
        ensure(active.len() <= 5 && passive.len() <= 30, || format!("{node}'s views are beyond their bounds"))?;
        ensure(!active.contains(node) && !passive.contains(&node), || format!("{node} is in its own view"))?;
        ensure(passive.iter().all(|peer| !active.contains(*peer)), || format!("{node}'s views overlap"))?;
        ensure(layer.flaw().is_none(), || format!("{node}: {}", layer.flaw().unwrap_or_default()))?;
        ensure(layer.state_size() < 500, || format!("{node} keeps {} entries", layer.state_size()))?;
    }
    let twice: u64 = world.spreads().map(|(_, spread)| spread.twice).sum();
    ensure(twice == 0, || format!("{twice} broadcasts were delivered twice"))
}

fn whole(world: &World) -> Result<Shape, String> {
    let shape = shape(world);
    ensure(shape.components.len() == 1, || format!("components of {:?}", shape.components))?;
    Ok(shape)
}

/// Publishes at a node; all who run must have it soon.
fn reaches_all(world: &mut World, from: NodeId, within_ms: u64) -> Result<(), String> {
    let id = world.publish(from, 32);
    world.run_ms(within_ms);
    let missed = scenarios::missed(world, id);
    ensure(missed == 0, || format!("{missed} nodes miss a broadcast of {from} after {within_ms} ms"))
}

/// The tree forms: after a few broadcasts payloads go to who lacks them and to nobody else.
fn a_tree_forms(planted: Planted) -> Result<(), String> {
    let mut world = overlay(100, planted);
    grow(&mut world, 100_000);
    for _ in 0..10 {
        reaches_all(&mut world, NodeId(1), 1_000)?;
    }
    let before = world.counters();
    for _ in 0..10 {
        reaches_all(&mut world, NodeId(1), 1_000)?;
    }
    let duplicates = world.counters().payloads_duplicate - before.payloads_duplicate;
    ensure(duplicates <= 100, || format!("{duplicates} of 990 payloads were superfluous"))?;
    sound(&world)
}

/// Fifty nodes join through one contact in the same moment: no island, and the view of each is symmetric once quiet.
fn all_at_once_through_one_contact(planted: Planted) -> Result<(), String> {
    let mut world = overlay(200, planted);
    for node in world.members().to_vec() {
        world.start(node);
    }
    world.run_ms(5_000);
    whole(&world)?;
    let storm = world.counters().evictions;
    ensure(storm < 1_500, || format!("{storm} evictions for 199 joins"))?;
    world.run_ms(115_000);
    let shape = whole(&world)?;
    ensure(shape.one_sided == 0, || format!("{} links are one-sided", shape.one_sided))?;
    ensure(shape.degree_min >= 3, || format!("somebody has {} neighbours", shape.degree_min))?;
    reaches_all(&mut world, NodeId(100), 2_000)?;
    sound(&world)
}

/// A walk ends after as many hops as it may have: joins cost a bounded number of messages.
fn walks_end(planted: Planted) -> Result<(), String> {
    let mut world = overlay(60, planted);
    grow(&mut world, 200_000);
    let before = world.counters();
    world.run_ms(10_000);
    let idle = world.counters().control_sent - before.control_sent;
    ensure(idle < 60 * 40, || format!("60 idle nodes sent {idle} messages in 10 s"))
}

/// The sender has lost all its neighbours when it publishes: the broadcast gets out once it has new ones.
fn a_lonely_sender_is_heard_later(planted: Planted) -> Result<(), String> {
    let mut world = overlay(60, planted);
    grow(&mut world, 100_000);
    world.cut(|node| u8::from(node.0 == 9));
    world.run_ms(2_000);
    let alone = world.layer(NodeId(9)).is_some_and(|layer| layer.peers().is_empty());
    ensure(alone, || "n9 still believes in its neighbours".to_owned())?;
    let id = world.publish(NodeId(9), 32);
    world.run_ms(3_000);
    world.cut(|_| 0);
    world.run_ms(20_000);
    let missed = scenarios::missed(&world, id);
    ensure(missed == 0, || format!("{missed} nodes miss what was published alone"))?;
    sound(&world)
}

/// Overlays that a partition of ten minutes parted merge again, without a storm.
fn parted_overlays_merge(planted: Planted) -> Result<(), String> {
    let mut world = overlay(100, planted);
    grow(&mut world, 60_000);
    world.cut(|node| (node.0 % 2) as u8);
    world.run_ms(600_000);
    ensure(shape(&world).components == [50, 50], || format!("parted into {:?}", shape(&world).components))?;
    // Passive views forget the other side in the course of time; what is left is who was lost.
    let evictions = world.counters().evictions;
    world.cut(|_| 0);
    world.run_ms(180_000);
    whole(&world)?;
    let storm = world.counters().evictions - evictions;
    ensure(storm < 100 * 8, || format!("{storm} evictions for the merge of 100 nodes"))?;
    reaches_all(&mut world, NodeId(1), 2_000)?;
    sound(&world)
}

/// A tenth of the nodes dies at once: the next broadcast is complete, and nobody alive is put out for it.
fn the_tree_heals(planted: Planted) -> Result<(), String> {
    let mut world = overlay(200, planted);
    grow(&mut world, 100_000);
    for _ in 0..5 {
        reaches_all(&mut world, NodeId(1), 1_000)?;
    }
    let evictions = world.counters().evictions;
    scenarios::kill_share(&mut world, 0.1);
    reaches_all(&mut world, NodeId(1), 10_000)?;
    whole(&world)?;
    let storm = world.counters().evictions - evictions;
    ensure(storm <= 10, || format!("{storm} neighbours were put out for the 20 that died"))?;
    sound(&world)
}

/// Nodes die, leave and come back all the time, while everybody publishes.
fn churn(planted: Planted) -> Result<(), String> {
    let mut world = overlay(60, planted);
    grow(&mut world, 30_000);
    for _ in 0..200 {
        let node = NodeId(world.rng().random_range(2..=60));
        if world.layer(node).is_some() {
            world.kill(node);
        } else {
            world.start(node);
        }
        let origins: Vec<NodeId> = world.running().collect();
        let origin = origins[world.rng().random_range(0..origins.len())];
        world.publish(origin, 32);
        world.run_ms(1_000);
        sound(&world)?;
    }
    for node in world.members().to_vec() {
        if world.layer(node).is_none() {
            world.start(node);
        }
    }
    world.run_ms(100_000);
    whole(&world)?;
    reaches_all(&mut world, NodeId(60), 2_000)?;
    sound(&world)
}

/// Nobody sends on what `direct` brings: who was away hears of it by the exchange alone.
fn the_exchange_brings_what_was_missed(planted: Planted) -> Result<(), String> {
    let dissemination = DisseminationConfig {
        protocol: BroadcastKind::Direct,
        membership: MembershipKind::Full,
        ..DisseminationConfig::default()
    };
    let mut world = world(30, dissemination, planted);
    grow(&mut world, 1_000);
    world.cut(|node| u8::from(node.0 > 20));
    let id = world.publish(NodeId(1), 32);
    world.run_ms(200);
    let missed = scenarios::missed(&world, id);
    ensure(missed == 10, || format!("{missed} nodes were cut off"))?;
    world.kill(NodeId(1));
    world.cut(|_| 0);
    world.run_ms(30_000);
    let missed = scenarios::missed(&world, id);
    ensure(missed == 0, || format!("{missed} nodes never heard of it"))
}

/// A rumor dies out, having told nearly all; the exchange tells the rest.
fn rumors_die_out(planted: Planted) -> Result<(), String> {
    for direction in [Direction::Push, Direction::Pull, Direction::PushPull] {
        let dissemination = DisseminationConfig {
            protocol: BroadcastKind::Rumor,
            membership: MembershipKind::Full,
            rumor: RumorConfig { direction, k: 2, ..RumorConfig::default() },
            exchange: ExchangeConfig { interval_ms: 20_000, ..ExchangeConfig::default() },
            ..DisseminationConfig::default()
        };
        let mut world = world(100, dissemination, planted);
        grow(&mut world, 100);
        let id = world.publish(NodeId(1), 32);
        world.run_ms(10_000);
        let missed = scenarios::missed(&world, id);
        ensure(missed <= 20, || format!("{direction:?}: {missed} of 100 nodes never heard the rumor"))?;
        let hot: usize = world.running().filter_map(|node| world.layer(node)).map(|layer| layer.state_size()).sum();
        ensure(hot == 0, || format!("{direction:?}: {hot} nodes are still infective after 100 rounds"))?;
        let sent = world.counters().payloads_sent;
        ensure(sent < 1_000, || format!("{direction:?}: {sent} transmissions for 100 nodes"))?;
        world.run_ms(45_000);
        let missed = scenarios::missed(&world, id);
        ensure(missed == 0, || format!("{direction:?}: {missed} nodes never heard of it by the exchange either"))?;
    }
    Ok(())
}

macro_rules! holds {
    ($($check:ident,)+) => {
        mod holds {
            $(#[test]
            fn $check() {
                super::$check(super::Planted::NONE).unwrap_or_else(|sentence| panic!("{sentence}"));
            })+
        }
    };
}

holds! {
    a_tree_forms,
    all_at_once_through_one_contact,
    walks_end,
    a_lonely_sender_is_heard_later,
    parted_overlays_merge,
    the_tree_heals,
    churn,
    the_exchange_brings_what_was_missed,
    rumors_die_out,
}

#[cfg(feature = "planted-bugs")]
mod planted {
    use hearsay_core::{Bug, Planted};

    macro_rules! found {
        ($($name:ident: $bug:ident by $check:ident,)+) => {
            $(#[test]
            fn $name() {
                let found = super::$check(Planted(Some(Bug::$bug)));
                let sentence = found.expect_err("the check is blind for it");
                std::println!("{}: {sentence}", Bug::$bug.name());
            })+
        };
    }

    found! {
        broadcast_delivered_twice: BroadcastDeliveredTwice by a_tree_forms,
        exchange_never_started: ExchangeNeverStarted by the_exchange_brings_what_was_missed,
        rumor_never_removed: RumorNeverRemoved by rumors_die_out,
        removed_rumor_returns: RemovedRumorReturns by rumors_die_out,
        missing_without_timer: MissingWithoutTimer by churn,
        new_neighbour_hears_nothing: NewNeighbourHearsNothing by a_lonely_sender_is_heard_later,
        lost_neighbour_stays_eager: LostNeighbourStaysEager by the_tree_heals,
        rejoin_on_each_loss: RejoinOnEachLoss by the_tree_heals,
        walk_never_ends: WalkNeverEnds by walks_end,
    }
}
