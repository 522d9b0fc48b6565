//! Lost, late, repeated, forged messages: a session may be abandoned, never half finished, and nothing panics.

use proptest::prelude::*;

use super::*;
use crate::message::{LeafEntry, LeafPage, Resume, TreeNode};

fn number_key(number: u16) -> Key {
    Key(format!("k{number}").into_bytes())
}

/// A room where n1 and n2 have much to tell each other, and every kind of message is needed for it.
fn room_with_differences() -> Room {
    let mut room = Room::new(3, 2, 6);
    for number in 0..900 {
        match number % 3 {
            0 => room.put(N1, &number_key(number), version(2, Some(b"n1"))),
            1 => room.put(N2, &number_key(number), version(2, Some(b"n2"))),
            _ => [N1, N2].into_iter().for_each(|id| room.put(id, &number_key(number), version(1, None))),
        }
    }
    room
}

#[test]
fn whatever_message_is_lost_the_session_is_abandoned_and_tried_again() {
    let mut room = room_with_differences();
    room.run_session(N1, N2);
    let messages = room.sent;
    assert!(messages > 10, "{messages} messages are too few to lose one of");

    for lost in 0..messages {
        let mut room = room_with_differences();
        room.lost.insert(lost);
        room.request(N1, N2);
        room.settle();
        assert_eq!(room.finished(N1), [], "finished without message {lost}");
        // Not given up before the time, and then once.
        let deadline = room.nodes[&N1].sync.next_deadline().unwrap();
        assert_eq!(deadline, Time(0).plus_ms(ANSWER_TIMEOUT_MS));
        room.now = Time(deadline.0 - 1);
        room.act(N1, |now, sync, host| sync.on_deadline(now, host));
        assert_eq!(room.counters(N1).sessions_abandoned, 0);
        room.pass_deadline(N1);
        assert_eq!(room.counters(N1).sessions_abandoned, 1);
        assert_eq!(room.nodes[&N1].sync.next_deadline(), Some(deadline.plus_ms(REQUEST_RETRY_MS)));
        room.pass_deadline(N1);
        room.settle();
        assert_eq!(room.finished(N1).len(), 1, "not finished after message {lost} was lost");
        assert_eq!(room.nodes[&N1].sync.next_deadline(), None, "the request is met");
        room.assert_agree(N1, N2);
    }
}

#[test]
fn a_session_ends_with_the_link_or_the_life_of_its_peer() {
    for dies in [false, true] {
        let mut room = room_with_differences();
        room.request(N1, N2);
        room.deliver_next();
        if dies {
            room.dead.insert(N2);
            room.act(N1, |now, sync, host| sync.on_deadline(now, host));
        } else {
            room.act(N1, |now, sync, _| sync.on_link_down(now, N2));
            room.act(N1, |now, sync, _| sync.on_link_down(now, N2));
        }
        assert_eq!(room.counters(N1).sessions_abandoned, 1);
        // The late answer does nothing.
        room.settle();
        assert_eq!(room.counters(N1).messages_ignored, 1);
        assert_eq!(room.finished(N1), []);
    }
}

/// Answers to a former session come in during the next one, at every step of it.
#[test]
fn late_and_repeated_answers_are_ignored() {
    let mut room = room_with_differences();
    room.request(N1, N2);
    let mut answers = Vec::new();
    while let Some((from, to, message)) = room.flying.pop_front() {
        if to == N1 {
            answers.push(message.clone());
        }
        room.deliver(from, to, message);
    }
    assert_eq!(room.finished(N1).len(), 1);
    let expected = room_with_differences();
    for id in [N1, N2] {
        *room.table(id) = expected.nodes[&id].table.clone();
    }

    room.request(N1, N2);
    let mut ignored = 0;
    while let Some((from, to, message)) = room.flying.pop_front() {
        let mut stray = answers.clone();
        if to == N1 {
            room.deliver(from, to, message.clone());
            stray.push(message);
        } else {
            room.deliver(from, to, message);
        }
        for late in stray {
            room.deliver(N2, N1, late.clone());
            ignored += 1;
            assert_eq!(room.counters(N1).messages_ignored, ignored, "taken: {late:?}");
        }
    }
    assert_eq!(room.finished(N1).len(), 1);
    room.assert_agree(N1, N2);
}

/// A process that restarts asks under other numbers than its former self.
#[test]
fn question_numbers_differ_between_incarnations() {
    let ring = Ring::new(&[N1, N2], 1, 2);
    let number = |incarnation| {
        AntiEntropy::new(&ring, N1, 0, incarnation, ChaCha8Rng::from_seed([0; 32]), Time(0)).question_next
    };
    assert_ne!(number(1) >> 32, number(2) >> 32);
    assert_eq!(number(1) & u64::from(u32::MAX), 0);
}

/// What no honest initiator asks: no answer, no effect, a count.
#[test]
fn forged_questions_are_ignored() {
    let mut room = room_with_differences();
    let shared = room.ring.shared_ranges(N1, N2);
    let digests = room.nodes[&N1].table.range_digests();
    let is_filled = |range: &u64| digests.iter().any(|(until, digest)| until == range && *digest != [0; 32]);
    let range = *shared.iter().find(|range| is_filled(range)).unwrap();
    let not_shared = room.ring.owned_ranges(N1).iter().find(|id| !shared.contains(&id.0)).unwrap().0;
    let unknown = range.wrapping_add(1);
    let id = RangeId(range);
    let (leaf, keys) = (0..64)
        .map(|leaf| (leaf, room.table(N1).leaf(id, leaf, None).map(|item| item.key.clone()).collect::<Vec<_>>()))
        .find(|(_, keys)| keys.len() >= 2)
        .expect("a leaf of two keys");
    let table = &room.nodes[&N1].table;
    let in_range = |key: &Key| table.leaf_of(key);
    let elsewhere =
        (0..).map(number_key).find(|key| in_range(key).is_some_and(|found| found.0 == id && found.1 != leaf));
    let elsewhere = elsewhere.unwrap();
    let foreign = (0..).map(number_key).find(|key| !table.owns(key)).unwrap();
    let private = (0..).map(number_key).find(|key| in_range(key).is_some_and(|found| found.0.0 == not_shared)).unwrap();

    let node = |range, level, position| (TreeNode { range, level, position }, [1; 32]);
    let nodes = |nodes| SyncMessage::Nodes { question: 9, nodes };
    let entry = |key: &Key| LeafEntry { key: key.clone(), stamp: 1, digest: [1; 16] };
    let page = |range, leaf, after: Option<&Key>, until: Option<&Key>, entries| LeafPage {
        range,
        leaf,
        after: after.cloned(),
        until: until.cloned(),
        entries,
    };
    let leaves = |page: LeafPage| SyncMessage::Leaves { question: 9, pages: vec![page] };
    let values = |key: &Key, value: usize| SyncMessage::Values {
        question: 9,
        entries: vec![(keys[0].clone(), version(9, None)), (key.clone(), version(9, Some(&vec![0; value])))],
    };
    let two = vec![entry(&keys[0]), entry(&keys[1])];
    let turned = vec![entry(&keys[1]), entry(&keys[0])];
    let forged = [
        ("an unknown range", nodes(vec![node(range, 0, 0), node(unknown, 0, 0)])),
        ("a range that is not shared", nodes(vec![node(not_shared, 0, 0)])),
        ("a level below the leaves", nodes(vec![node(range, 7, 0)])),
        ("a level beyond all", nodes(vec![node(range, 255, 0)])),
        ("a position out of bounds", nodes(vec![node(range, 2, 4)])),
        ("too many nodes", nodes(vec![node(range, 0, 0); 1025])),
        ("a page of an unknown range", leaves(page(unknown, leaf, None, None, vec![]))),
        ("a page of a range that is not shared", leaves(page(not_shared, leaf, None, None, vec![]))),
        ("no such leaf", leaves(page(range, 64, None, None, vec![]))),
        ("a page that begins elsewhere", leaves(page(range, leaf, Some(&elsewhere), None, vec![]))),
        ("a page that ends elsewhere", leaves(page(range, leaf, None, Some(&elsewhere), vec![]))),
        ("a page turned round", leaves(page(range, leaf, Some(&keys[1]), Some(&keys[0]), vec![]))),
        ("an empty page", leaves(page(range, leaf, Some(&keys[1]), Some(&keys[1]), vec![]))),
        ("entries turned round", leaves(page(range, leaf, None, None, turned))),
        ("an entry twice", leaves(page(range, leaf, None, None, vec![entry(&keys[0]); 2]))),
        ("an entry of another leaf", leaves(page(range, leaf, None, None, vec![entry(&elsewhere)]))),
        ("an entry of a foreign range", leaves(page(range, leaf, None, None, vec![entry(&foreign)]))),
        ("an entry before the page", leaves(page(range, leaf, Some(&keys[0]), None, two.clone()))),
        ("an entry behind the page", leaves(page(range, leaf, None, Some(&keys[0]), two))),
        (
            "too many pages",
            SyncMessage::Leaves { question: 9, pages: vec![page(range, leaf, None, None, vec![]); 129] },
        ),
        ("a foreign value", values(&foreign, 1)),
        ("a value of a range that is not shared", values(&private, 1)),
        ("a value too long", values(&keys[1], Value::LENGTH_MAX + 1)),
        ("an empty key", values(&Key(vec![]), 1)),
        ("an answer to nothing", SyncMessage::ValuesAck { question: 0 }),
        ("an answer to nothing", SyncMessage::NodesDiffer { question: 0, differ: vec![0] }),
        ("an answer to nothing", SyncMessage::LeavesReply { question: 0, push: vec![], want: vec![], resume: None }),
    ];
    let (digest, mut ignored) = (room.table(N1).state_digest(), 0);
    for (what, message) in forged {
        room.deliver(N2, N1, message);
        ignored += 1;
        assert_eq!(room.counters(N1).messages_ignored, ignored, "{what} was taken");
        assert!(room.flying.is_empty(), "{what} was answered");
        assert_eq!(room.table(N1).state_digest(), digest, "{what} had an effect");
    }
    // The same from a node that shares nothing; and the messages that they were forged from are taken.
    room.deliver(NodeId(77), N1, nodes(vec![node(range, 0, 0)]));
    assert_eq!(room.counters(N1).messages_ignored, ignored + 1);
    room.deliver(N2, N1, nodes(vec![node(range, 6, 63)]));
    room.deliver(N2, N1, leaves(page(range, leaf, Some(&keys[0]), Some(&keys[1]), vec![entry(&keys[1])])));
    room.deliver(N2, N1, values(&keys[1], Value::LENGTH_MAX));
    assert_eq!((room.counters(N1).messages_ignored, room.flying.len()), (ignored + 1, 3));
}

/// What no honest responder answers, under the right number: the session waits on for the real answer, and gets it.
#[test]
fn forged_answers_leave_the_session_as_it_was() {
    let mut room = room_with_differences();
    room.request(N1, N2);
    let (mut forged_nodes, mut forged_leaves, mut forged_values) = (0, 0, 0);
    while let Some((from, to, message)) = room.flying.pop_front() {
        let forged = match &message {
            SyncMessage::NodesDiffer { question, .. } => {
                forged_nodes += 1;
                let question = *question;
                vec![
                    SyncMessage::NodesDiffer { question, differ: vec![u32::MAX] },
                    SyncMessage::NodesDiffer { question, differ: vec![1, 0] },
                    SyncMessage::NodesDiffer { question, differ: vec![0, 0] },
                    SyncMessage::ValuesAck { question },
                    SyncMessage::NodesDiffer { question: question + 1, differ: vec![] },
                ]
            }
            SyncMessage::LeavesReply { question, .. } => {
                forged_leaves += 1;
                let question = *question;
                let foreign = (0..).map(number_key).find(|key| !room.nodes[&N1].table.owns(key)).unwrap();
                let reply = |push, want, resume| SyncMessage::LeavesReply { question, push, want, resume };
                let pushed = |key: &Key, value| vec![(key.clone(), version(9, Some(&vec![0; value])))];
                let resume = |page, after| Some(Resume { page, after });
                vec![
                    reply(pushed(&foreign, 1), vec![], None),
                    reply(pushed(&Key(vec![]), 1), vec![], None),
                    reply(vec![], vec![foreign.clone()], None),
                    reply(vec![], vec![], resume(0, None)),
                    reply(vec![], vec![], resume(u32::MAX, None)),
                    reply(vec![], vec![], resume(0, Some(foreign))),
                    SyncMessage::NodesDiffer { question, differ: vec![] },
                ]
            }
            SyncMessage::ValuesAck { question } => {
                forged_values += 1;
                vec![SyncMessage::ValuesAck { question: question.wrapping_sub(1) }]
            }
            _ => vec![],
        };
        for forged in forged {
            let ignored = room.counters(N1).messages_ignored;
            room.deliver(N2, N1, forged.clone());
            assert_eq!(room.counters(N1).messages_ignored, ignored + 1, "taken: {forged:?}");
        }
        room.deliver(from, to, message);
    }
    assert!(forged_nodes > 1 && forged_leaves > 0 && forged_values > 0);
    assert_eq!(room.finished(N1).len(), 1);
    room.assert_agree(N1, N2);
}

/// Messages from anywhere, their numbers drawn near the true ones.
fn any_message(ranges: Vec<u64>) -> impl Strategy<Value = SyncMessage> {
    let process =
        AntiEntropy::new(&Ring::new(&[N1, N2], 1, 2), N1, 0, 1, ChaCha8Rng::from_seed([0; 32]), Time(0)).question_next;
    let question = move || (0_u64..4).prop_map(move |step| process + step);
    let range = prop_oneof![prop::sample::select(ranges), any::<u64>()].boxed();
    let key = || prop_oneof![(0_u16..900).prop_map(number_key), prop::collection::vec(any::<u8>(), 0..4).prop_map(Key)];
    let version =
        || (any::<u64>(), prop::option::of(Just(vec![1]))).prop_map(|(stamp, value)| version(stamp, value.as_deref()));
    let node =
        (range.clone(), 0_u8..9, 0_u32..80).prop_map(|(range, level, position)| TreeNode { range, level, position });
    let entry = (key(), any::<u64>()).prop_map(|(key, stamp)| LeafEntry { key, stamp, digest: [0; 16] });
    let page = (range, 0_u32..66, prop::option::of(key()), prop::option::of(key()), prop::collection::vec(entry, 0..3))
        .prop_map(|(range, leaf, after, until, entries)| LeafPage { range, leaf, after, until, entries });
    let resume = (0_u32..4, prop::option::of(key())).prop_map(|(page, after)| Resume { page, after });
    let entries = || prop::collection::vec((key(), version()), 0..3);
    prop_oneof![
        (question(), prop::collection::vec((node, any::<[u8; 32]>()), 0..4))
            .prop_map(|(question, nodes)| SyncMessage::Nodes { question, nodes }),
        (question(), prop::collection::vec(0_u32..30, 0..4))
            .prop_map(|(question, differ)| SyncMessage::NodesDiffer { question, differ }),
        (question(), prop::collection::vec(page, 0..3))
            .prop_map(|(question, pages)| SyncMessage::Leaves { question, pages }),
        (question(), entries(), prop::collection::vec(key(), 0..3), prop::option::of(resume))
            .prop_map(|(question, push, want, resume)| SyncMessage::LeavesReply { question, push, want, resume }),
        (question(), entries()).prop_map(|(question, entries)| SyncMessage::Values { question, entries }),
        question().prop_map(|question| SyncMessage::ValuesAck { question }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn garbage_never_panics_and_never_holds_foreign_keys(
        garbage in prop::collection::vec(any_message(Ring::new(&[N1, N2, N3], 8, 2).ranges().map(|range| range.until).collect()), 1..40),
    ) {
        let mut room = room_with_differences();
        room.request(N1, N2);
        for message in garbage {
            room.deliver(N2, N1, message);
            room.deliver_next();
        }
        // It ends, one way or the other, and a later session is whole again.
        room.settle();
        while room.nodes[&N1].sync.next_deadline().is_some() {
            room.pass_deadline(N1);
            room.settle();
        }
        room.finished(N1);
        room.run_session(N1, N2);
        room.assert_agree(N1, N2);
        let Room { ring, nodes, .. } = &room;
        prop_assert!(nodes[&N1].table.scan(None).all(|(key, _)| ring.is_replica(N1, key)));
    }

    #[test]
    fn under_losses_a_finished_session_is_a_whole_one(lost in prop::collection::btree_set(0_usize..60, 0..20)) {
        let mut room = room_with_differences();
        room.lost = lost;
        room.request(N1, N2);
        room.settle();
        while room.nodes[&N1].sync.next_deadline().is_some() {
            prop_assert_eq!(room.finished(N1), []);
            room.pass_deadline(N1);
            room.settle();
        }
        prop_assert_eq!(room.finished(N1).len(), 1);
        room.assert_agree(N1, N2);
    }
}
