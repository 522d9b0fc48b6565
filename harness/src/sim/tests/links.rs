//! Links: order, priority, stall and resume, breaks, resets, who is whose link.

use std::collections::BTreeMap;

use hearsay_core::Lane;
use hearsay_core::message::PeerMessage;

use super::*;
use crate::sim::connection::{Frame, Packet};
use crate::sim::settings::{IDLE_TIMEOUT, MILLISECOND};
use crate::sim::world::{ClientEvent, Event, Happening};

/// Sends frames with these numbers over the link from n1 to n2.
pub(super) fn send(world: &mut World, lane: Lane, numbers: impl IntoIterator<Item = u64>, bytes: u32) {
    let (connection, side) = link(world, 1, 2).expect("n1 has a link to n2");
    for number in numbers {
        world.send_frame(connection, side, lane, Frame::Message(number, PeerMessage::Heartbeat), bytes);
    }
}

/// Lets time pass, and tells which numbered frames above a thousand million came out at n2, by lane, in order.
pub(super) fn received(world: &mut World, nanoseconds: u64) -> Vec<(Lane, u64)> {
    let until = world.now() + nanoseconds;
    let mut received = Vec::new();
    while world.queue.next_time().is_some_and(|next| next < until) {
        let (_, event) = world.queue.pop().unwrap();
        let Event::At(happening) = event else {
            // As it was, and at the same time: the place in the order of one moment does not matter here.
            world.queue.push(world.now(), event);
            let at = world.now();
            while world.queue.next_time() == Some(at) {
                world.step();
            }
            continue;
        };
        let Some(happening) = world.cross(happening) else { continue };
        if let Happening::Packet { packet: Packet::Frame(lane, Frame::Message(number, _), _), .. } = &happening
            && *number >= NUMBERS
        {
            received.push((*lane, *number - NUMBERS));
        }
        world.happen(happening);
    }
    world.queue.wait_until(until);
    received
}

/// Numbers from here on are those of the tests.
pub(super) const NUMBERS: u64 = 1_000_000_000;

#[test]
fn lanes_keep_their_order_and_control_takes_the_line_first() {
    let mut world = settled(3, Settings::default());
    // 3 MB are busy for 24 ms.
    send(&mut world, Lane::Bulk, NUMBERS..NUMBERS + 300, 10_000);
    send(&mut world, Lane::Data, NUMBERS..NUMBERS + 50, 100);
    send(&mut world, Lane::Control, NUMBERS..NUMBERS + 50, 100);
    let received = received(&mut world, 300 * MILLISECOND);
    let mut by_lane: BTreeMap<Lane, Vec<u64>> = BTreeMap::new();
    received.iter().for_each(|(lane, number)| by_lane.entry(*lane).or_default().push(*number));
    for (lane, count) in [(Lane::Control, 50), (Lane::Data, 50), (Lane::Bulk, 300)] {
        assert_eq!(by_lane[&lane], (0..count).collect::<Vec<_>>(), "{lane:?}");
    }
    let before_last_control =
        received.iter().take_while(|frame| **frame != (Lane::Control, 49)).filter(|(lane, _)| *lane == Lane::Bulk);
    assert!(before_last_control.count() < 30, "bulk delays control");
}

#[test]
fn a_blocked_stream_keeps_what_it_has_and_goes_on_in_order() {
    let mut world = settled(3, Settings::default());
    let before = link(&world, 1, 2);
    world.wire.block([pair(1, 2)].into());
    send(&mut world, Lane::Data, NUMBERS..NUMBERS + 10, 100);
    assert_eq!(received(&mut world, SECOND), []);
    assert!(world.wire.dropped()[&pair(1, 2)] >= 10, "what was held back counts as dropped packets");
    world.wire.block([].into());
    let expected: Vec<_> = (0..10).map(|number| (Lane::Data, number)).collect();
    assert_eq!(received(&mut world, SECOND), expected);
    assert_eq!(link(&world, 1, 2), before, "it is the same connection still");
}

#[test]
fn a_connection_that_breaks_loses_what_was_not_delivered() {
    let mut world = settled(3, Settings::default());
    let before = link(&world, 1, 2);
    world.wire.block([pair(1, 2), pair(2, 1)].into());
    send(&mut world, Lane::Data, NUMBERS..NUMBERS + 10, 100);
    pass(&mut world, IDLE_TIMEOUT - 500 * MILLISECOND);
    assert!(linked(&mut world, 1, 2) && linked(&mut world, 2, 1), "silence was not long enough yet");
    pass(&mut world, SECOND);
    assert!(!linked(&mut world, 1, 2) && !linked(&mut world, 2, 1));
    assert!(status(&mut world, 1).counters["transport_dropped_lost"] >= 10);
    world.wire.block([].into());
    assert_eq!(received(&mut world, 3 * SECOND), [], "what was lost stays lost");
    assert!(linked(&mut world, 1, 2) && linked(&mut world, 2, 1));
    assert_ne!(link(&world, 1, 2), before);
    assert_eq!(connections(&mut world, 1, 2), 1, "nobody holds the old connection");
}

#[test]
fn one_way_the_deaf_side_notices_first_and_the_other_is_reset() {
    let mut world = settled(3, Settings::default());
    world.wire.block([pair(1, 2)].into());
    pass(&mut world, IDLE_TIMEOUT + SECOND);
    assert!(!linked(&mut world, 2, 1), "n2 has heard nothing for long");
    assert!(linked(&mut world, 1, 2), "n1 heard n2 until then");
    world.wire.block([].into());
    pass(&mut world, 400 * MILLISECOND);
    assert!(status(&mut world, 1).counters["transport_links_down"] == 1, "n2 resets what it does not know");
    pass(&mut world, 2 * SECOND);
    assert!(linked(&mut world, 1, 2) && linked(&mut world, 2, 1));
}

#[test]
fn a_restarted_node_is_linked_again_long_before_the_idle_time_out() {
    let mut world = settled(3, Settings::default());
    assert!(world.kill(n(2)).is_some());
    pass(&mut world, 500 * MILLISECOND);
    assert!(linked(&mut world, 1, 2), "nobody told n1");
    assert!(world.start(n(2)));
    pass(&mut world, 300 * MILLISECOND);
    assert_eq!(status(&mut world, 1).counters["transport_links_down"], 1);
    assert!(linked(&mut world, 1, 2) && linked(&mut world, 2, 1));
    assert_eq!(connections(&mut world, 1, 2), 1);
}

#[test]
fn one_link_per_pair_though_all_dial_at_once() {
    let mut world = settled(7, Settings::default());
    for one in 1..=7 {
        for other in (1..=7).filter(|&other| other != one) {
            if !linked(&mut world, one, other) {
                continue;
            }
            let (mine, my_side) = link(&world, one, other).unwrap();
            let (theirs, their_side) = link(&world, other, one).expect("a link has two ends");
            assert_eq!((mine, my_side), (theirs, their_side.other()));
            assert_eq!(connections(&mut world, one, other), 1, "n{one} and n{other}");
        }
    }
    let duplicates: u64 = (1..=7).map(|node| status(&mut world, node).counters["transport_duplicates"]).sum();
    assert!(duplicates > 0, "nodes that start together dial each other");
}

#[test]
fn a_handshake_takes_two_round_trips_and_tries_again() {
    let mut settings = Settings::default();
    settings.link.jitter_ns = 0;
    settings.link.loss_per_million = 0;
    settings.link.latency_ns = 10 * MILLISECOND;
    let mut world = settled(1, settings);
    world.wire.block([(Endpoint::Clients, Endpoint::Node(n(1)))].into());
    let began = world.now();
    world.dial(Party::Client(0), n(1));
    pass(&mut world, 100 * MILLISECOND);
    world.wire.block([].into());
    let at = loop {
        assert!(!matches!(world.step(), Step::Nothing));
        if let Some(event) = world.next_client_event() {
            assert!(matches!(event, ClientEvent::Connected { slot: 0, .. }), "{event:?}");
            break world.now() - began;
        }
    };
    // Tried at 0, 60 and 180 ms; the last gets through.
    assert_eq!(at, 200 * MILLISECOND);
}
