//! Bad links: what they add to the way, and that nothing on its way crosses a partition that began meanwhile.

use hearsay_core::Lane;

use super::links::{NUMBERS, received, send};
use super::*;
use crate::plan::{Fault, LinkConditions, LinkScope, PlannedFault};
use crate::sim::faults::Faults;
use crate::sim::settings::{IDLE_TIMEOUT, MILLISECOND};

fn bad(id: &str, impaired: &[Pair], conditions: LinkConditions) -> PlannedFault {
    let fault = Fault::Links { scope: LinkScope::Nodes, impaired: impaired.to_vec(), conditions };
    PlannedFault { id: id.to_owned(), at_ms: 0, duration_ms: 1, fault }
}

fn good() -> Settings {
    let mut settings = Settings::default();
    settings.link.loss_per_million = 0;
    settings
}

fn in_order(count: u64) -> Vec<(Lane, u64)> {
    (0..count).map(|number| (Lane::Data, number)).collect()
}

#[test]
fn a_bad_link_holds_frames_and_keeps_their_order() {
    let mut world = settled(3, good());
    let mut faults = Faults::default();
    let conditions = LinkConditions {
        latency_ms: 50,
        jitter_ms: 40,
        loss_per_million: 100_000,
        duplicate_per_million: 100_000,
        reorder_per_million: 100_000,
        ..Default::default()
    };
    let fault = bad("f1", &[pair(1, 2)], conditions);
    assert_eq!(faults.inject(&mut world, &fault).numbers["impaired_pairs"], 1);
    // One of ten is not held at all, but all before it are.
    send(&mut world, Lane::Data, NUMBERS..NUMBERS + 100, 100);
    assert_eq!(received(&mut world, 49 * MILLISECOND).len(), 0, "the first frame is held");
    let rest = received(&mut world, 10 * SECOND);
    assert_eq!(rest, in_order(100), "nothing is lost, doubled or overtaken on a stream");
    let healed = faults.heal(&mut world, &fault);
    assert_eq!((healed.bit, healed.healed), (Some(true), Some(true)), "{healed:?}");
    for what in ["packets_held", "packets_lost", "packets_duplicated", "packets_reordered"] {
        assert!(healed.numbers[what] > 0, "{what}: {healed:?}");
    }
    assert!((50_000..=90_000).contains(&healed.numbers["delay_p50_us"]), "{healed:?}");
    send(&mut world, Lane::Data, NUMBERS..NUMBERS + 10, 100);
    assert_eq!(received(&mut world, 2 * MILLISECOND).len(), 10, "a good link is quick again");
}

#[test]
fn the_way_back_and_other_pairs_stay_good() {
    let mut world = settled(3, good());
    world.wire.bad.impair(1, "f1", &[pair(2, 1)], LinkConditions { latency_ms: 500, ..Default::default() });
    send(&mut world, Lane::Data, NUMBERS..NUMBERS + 10, 100);
    assert_eq!(received(&mut world, 2 * MILLISECOND), in_order(10));
}

#[test]
fn a_link_that_did_nothing_did_not_bite() {
    let mut world = settled(3, good());
    let mut faults = Faults::default();
    let fault = bad("f1", &[pair(1, 2)], LinkConditions { latency_ms: 5, ..Default::default() });
    faults.inject(&mut world, &fault);
    assert_eq!(faults.heal(&mut world, &fault).bit, Some(false), "no packet came by");
}

#[test]
fn what_is_on_its_way_does_not_cross_a_partition_and_comes_in_order_afterwards() {
    let mut world = settled(3, good());
    let before = link(&world, 1, 2);
    let slow = LinkConditions { latency_ms: 100, jitter_ms: 50, ..Default::default() };
    world.wire.bad.impair(1, "f1", &[pair(1, 2)], slow);
    send(&mut world, Lane::Data, NUMBERS..NUMBERS + 20, 100);
    assert_eq!(received(&mut world, 20 * MILLISECOND).len(), 0);
    world.wire.block([pair(1, 2)].into());
    send(&mut world, Lane::Data, NUMBERS + 20..NUMBERS + 30, 100);
    assert_eq!(received(&mut world, 500 * MILLISECOND).len(), 0, "what was sent before the partition crossed it");
    assert!(world.wire.dropped()[&pair(1, 2)] >= 20);
    world.wire.block([].into());
    assert_eq!(received(&mut world, 2 * SECOND), in_order(30));
    assert_eq!(link(&world, 1, 2), before, "it is the same connection still");
}

#[test]
fn a_partition_that_ends_while_frames_are_on_their_way_does_not_mix_them_up() {
    let mut world = settled(3, good());
    world.wire.bad.impair(1, "f1", &[pair(1, 2)], LinkConditions { latency_ms: 100, ..Default::default() });
    // The first half arrives during the partition, the second after it.
    send(&mut world, Lane::Data, NUMBERS..NUMBERS + 5, 100);
    pass(&mut world, 50 * MILLISECOND);
    send(&mut world, Lane::Data, NUMBERS + 5..NUMBERS + 10, 100);
    pass(&mut world, 40 * MILLISECOND);
    world.wire.block([pair(1, 2)].into());
    pass(&mut world, 40 * MILLISECOND);
    world.wire.block([].into());
    send(&mut world, Lane::Data, NUMBERS + 10..NUMBERS + 15, 100);
    assert_eq!(received(&mut world, 2 * SECOND), in_order(15));
}

#[test]
fn a_connection_that_breaks_loses_what_was_on_its_way() {
    let mut world = settled(3, good());
    world.wire.bad.impair(1, "f1", &[pair(1, 2)], LinkConditions { latency_ms: 200, ..Default::default() });
    send(&mut world, Lane::Data, NUMBERS..NUMBERS + 10, 100);
    pass(&mut world, 50 * MILLISECOND);
    world.wire.block([pair(1, 2), pair(2, 1)].into());
    assert_eq!(received(&mut world, IDLE_TIMEOUT + SECOND), []);
    assert!(!linked(&mut world, 1, 2) && !linked(&mut world, 2, 1));
    world.wire.block([].into());
    assert_eq!(received(&mut world, 5 * SECOND), [], "the suffix that was not delivered stays lost");
    assert!(linked(&mut world, 1, 2) && linked(&mut world, 2, 1));
}

#[test]
fn control_goes_first_on_a_narrow_link_and_the_line_takes_its_time() {
    let mut world = settled(3, good());
    let narrow = LinkConditions { bandwidth_bytes_per_s: 125_000, ..Default::default() };
    world.wire.bad.impair(1, "f1", &[pair(1, 2)], narrow);
    // 100 kB take 0.8 s.
    send(&mut world, Lane::Bulk, NUMBERS..NUMBERS + 100, 1_000);
    send(&mut world, Lane::Control, NUMBERS..NUMBERS + 1, 100);
    let early = received(&mut world, 30 * MILLISECOND);
    assert!(early.contains(&(Lane::Control, 0)), "control waits for bulk: {early:?}");
    assert!(early.len() < 10, "{} frames of 1 kB in 30 ms", early.len());
    let late = received(&mut world, 2 * SECOND);
    assert_eq!(early.len() + late.len(), 101);
}

#[test]
fn handshakes_get_through_a_link_that_loses_half_of_everything() {
    let mut world = settled(1, good());
    let (client, node) = (Endpoint::Clients, Endpoint::Node(n(1)));
    let lossy = LinkConditions { loss_per_million: 500_000, duplicate_per_million: 500_000, ..Default::default() };
    world.wire.bad.impair(1, "f1", &[(client, node), (node, client)], lossy);
    for slot in 0..50 {
        world.dial(Party::Client(slot), n(1));
    }
    pass(&mut world, 60 * SECOND);
    let connected = std::iter::from_fn(|| world.next_client_event())
        .filter(|event| matches!(event, crate::sim::world::ClientEvent::Connected { .. }))
        .count();
    assert_eq!(connected, 50, "a dialler tries again, and connects once");
}
