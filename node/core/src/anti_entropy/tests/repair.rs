//! Sessions without bad luck: what they repair, in how many steps, in messages of what size.

use proptest::prelude::*;

use super::*;

fn number_key(number: u16) -> Key {
    Key(format!("k{number}").into_bytes())
}

/// Contents that collide often: few keys, stamps that tie, tombstones.
fn contents() -> impl Strategy<Value = Vec<(u16, Version)>> {
    let value = prop::option::of(prop::collection::vec(0_u8..3, 0..2));
    let version = (0_u64..3, value).prop_map(|(stamp, value)| version(stamp, value.as_deref()));
    prop::collection::vec((0_u16..120, version), 0..100)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_session_makes_both_hold_the_greatest_of_what_they_share(
        mine in contents(), theirs in contents(), depth in 0_u8..11, members in 2_u16..6,
    ) {
        let mut room = Room::new(members, 2, depth);
        for (number, version) in mine {
            room.put(N1, &number_key(number), version);
        }
        for (number, version) in theirs {
            room.put(N2, &number_key(number), version);
        }
        let [before_1, before_2] = [N1, N2].map(|id| room.nodes[&id].table.clone());
        let report = room.run_session(N1, N2);

        let mut sent = [0, 0];
        for key in (0..120).map(number_key) {
            let replicas = room.ring.replicas(&key).to_vec();
            let (old_1, old_2) = (before_1.get(&key), before_2.get(&key));
            if replicas.contains(&N1) && replicas.contains(&N2) {
                let greatest = old_1.max(old_2);
                prop_assert_eq!(room.table(N1).get(&key), greatest);
                prop_assert_eq!(room.table(N2).get(&key), greatest);
                let tie = old_1.map(|old| old.stamp) == old_2.map(|old| old.stamp) && old_1 != old_2;
                sent[0] += u64::from(tie || old_1 > old_2);
                sent[1] += u64::from(tie || old_1 < old_2);
            } else {
                prop_assert_eq!(room.table(N1).get(&key), old_1);
                prop_assert_eq!(room.table(N2).get(&key), old_2);
            }
        }
        // Exactly the difference travelled, no version that the other had.
        prop_assert_eq!([report.keys_sent, report.keys_received], sent);
        prop_assert_eq!(report.ranges_compared, room.ring.shared_ranges(N1, N2).len() as u64);
        prop_assert_eq!(room.counters(N1).messages_ignored + room.counters(N2).messages_ignored, 0);
        room.assert_agree(N1, N2);
        room.assert_nothing_left(N1, N2);
        room.assert_nothing_left(N2, N1);
    }
}

#[test]
fn counters_tell_what_happened_on_both_sides() {
    let mut room = Room::new(2, 2, 4);
    for number in 0..10 {
        let holder = if number < 7 { N1 } else { N2 };
        room.put(holder, &number_key(number), version(1, None));
    }
    let report = room.run_session(N1, N2);
    assert_eq!((report.keys_sent, report.keys_received), (7, 3));
    assert!(report.ranges_differing > 0 && report.leaves_compared >= report.ranges_differing);
    let expected = SyncCounters {
        sessions_started: 1,
        sessions_finished: 1,
        ranges_differing: report.ranges_differing,
        leaves_compared: report.leaves_compared,
        keys_sent: 7,
        keys_received: 3,
        keys_applied: 3,
        ..SyncCounters::default()
    };
    assert_eq!(*room.counters(N1), expected);
    let expected = SyncCounters { keys_sent: 3, keys_received: 7, keys_applied: 7, ..SyncCounters::default() };
    assert_eq!(*room.counters(N2), expected);
    assert!(expected.by_name().contains(&("sync_keys_received", 7)));
}

/// What fills an empty node: its ranges have 24 x 64 leaves, and the walk may not take a round trip for each.
#[test]
fn an_empty_node_is_filled_in_tens_of_round_trips() {
    for (full, empty) in [(N1, N2), (N2, N1)] {
        let mut room = Room::new(3, 3, 6);
        for number in 0..2_000 {
            room.put(full, &number_key(number), version(1, Some(b"a value of some bytes")));
        }
        let report = room.run_session(N1, N2);
        assert!(report.leaves_compared > 800, "{report:?}");
        assert!(report.rounds < 30, "{report:?}");
        assert_eq!(room.table(empty).len(), 2_000);
        room.assert_agree(N1, N2);
        room.assert_nothing_left(N1, N2);
    }
}

#[test]
fn five_thousand_keys_in_one_leaf_are_paged() {
    let mut room = Room::new(2, 2, 0);
    let key = |number: u32| Key(format!("key {number}").into_bytes());
    // One range's share of many keys; the rest stays out, so that one leaf holds all.
    let range = room.ring.ranges().max_by_key(|range| range.width()).unwrap();
    let keys: Vec<Key> = (0..).map(key).filter(|key| range.contains(Token::of_key(key))).take(7_500).collect();
    for (index, key) in keys.iter().enumerate() {
        // A third each: at both, only at n1, only at n2.
        for id in [N1, N2] {
            if index % 3 == 0 || (index % 3 == 1) == (id == N1) {
                room.put(id, key, version(1, Some(b"v")));
            }
        }
    }
    assert_eq!(room.table(N1).len(), 5_000);
    let report = room.run_session(N1, N2);
    assert_eq!((report.keys_sent, report.keys_received, report.leaves_compared), (2_500, 2_500, 1));
    assert_eq!(room.table(N1).len(), 7_500);
    room.assert_agree(N1, N2);
    room.assert_nothing_left(N2, N1);
}

/// The longest keys, the longest values, both ways at once: messages stay below the limit, and it all arrives.
#[test]
fn the_longest_keys_and_values_fit_their_messages() {
    for depth in [0, 6] {
        let mut room = Room::new(2, 2, depth);
        let key = |number: u16| Key(format!("{number:0width$}", width = Key::LENGTH_MAX).into_bytes());
        let long = vec![7; Value::LENGTH_MAX];
        for number in 0..1_000 {
            room.put(N1, &key(number), version(1, Some(b"old")));
            if number % 25 == 0 {
                room.put(N2, &key(number), version(2, Some(&long)));
            }
            if number % 25 == 1 {
                room.put(N1, &key(number), version(2, Some(&long)));
            }
        }
        room.run_session(N1, N2);
        room.assert_agree(N1, N2);
        assert_eq!(room.table(N2).len(), 1_000);
        let limit = FRAME_LENGTH_MAX / 3 * 2;
        assert!(room.frame_longest > 256 * 1024, "the test did not fill a message: {} bytes", room.frame_longest);
        assert!(room.frame_longest <= limit, "a frame of {} bytes, meant to stay below {limit}", room.frame_longest);
        room.assert_nothing_left(N1, N2);
    }
}

/// Everything differs in a deep tree: the walk goes on depth first, in bounded questions.
#[test]
fn a_deep_tree_that_differs_everywhere_is_walked_in_bounded_questions() {
    let mut room = Room::new(2, 2, 10);
    for number in 0..4_000 {
        room.put(N1, &number_key(number), version(1, None));
        room.put(N2, &number_key(number), version(2, None));
    }
    room.run_session(N1, N2);
    room.assert_agree(N1, N2);
    assert!(room.frame_longest < 128 * 1024, "{} bytes", room.frame_longest);
    room.assert_nothing_left(N1, N2);
}

#[test]
fn writes_during_a_session_do_no_harm_and_are_found_by_a_later_one() {
    let mut room = Room::new(2, 2, 4);
    for number in 0..300 {
        room.put(N1, &number_key(number), version(1, None));
    }
    room.request(N1, N2);
    let mut number = 200;
    while room.deliver_next() {
        number += 1;
        room.put(N1, &number_key(number), version(5, Some(b"new at n1")));
        room.put(N2, &number_key(number % 97), version(6, Some(b"new at n2")));
    }
    assert_eq!(room.finished(N1).len(), 1);
    room.run_session(N2, N1);
    room.assert_agree(N1, N2);
    room.assert_nothing_left(N1, N2);
}

/// A tombstone may expire at the initiator between the page that names it and the value that the responder wants.
#[test]
fn a_wanted_key_that_is_gone_is_passed_over() {
    let mut room = Room::new(2, 2, 0);
    for number in 0..3 {
        room.put(N1, &number_key(number), version(1, None));
    }
    room.request(N1, N2);
    while !matches!(room.flying.front(), Some((_, _, SyncMessage::LeavesReply { .. }))) {
        assert!(room.deliver_next(), "the leaves were never compared");
    }
    for number in 0..3 {
        room.table(N1).remove(&number_key(number));
    }
    room.settle();
    assert_eq!(room.finished(N1).len(), 1);
    assert!(room.table(N2).is_empty());
}
