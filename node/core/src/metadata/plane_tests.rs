//! The plane by itself: who says what of whom, and who is dropped when.

use alloc::vec;
use alloc::vec::Vec;

use super::plane::LEFT_KEPT_MS;
use super::*;
use crate::rng::sub_stream;
use crate::{NodeId, Planted, Time};

fn start(recovered: Vec<(Name, Record)>) -> (Plane, PlaneEffects) {
    let members = (1..=5).map(|node| Member::configured(NodeId(node), 8));
    let (own, rng) = (Member::configured(NodeId(1), 8), sub_stream(&[1; 32], "metadata"));
    Plane::start(own, members, recovered, 2_000, rng, Planted::NONE, Time(0))
}

fn record(node: u16, incarnation: u64, state: MemberState, down: Option<u16>) -> (Name, Record) {
    let member = Member { incarnation, state, ..Member::configured(NodeId(node), 8) };
    (Name::Member(NodeId(node)), Record::Member(MemberRecord::Known { member, down: down.map(NodeId) }))
}

fn announced(effects: &PlaneEffects) -> Vec<(Name, Record)> {
    effects.announce.iter().flatten().cloned().collect()
}

const NORMAL: MemberState = MemberState::Normal;

#[test]
fn the_first_start_says_nothing_and_every_further_one_raises_the_incarnation() {
    let (plane, effects) = start(vec![]);
    assert_eq!((plane.own().incarnation, announced(&effects)), (0, vec![]));
    assert_eq!(effects.changed, [Name::Member(NodeId(1))], "what tells the next start that it is another one");
    let (plane, effects) = start(vec![record(1, 4, MemberState::Leaving, Some(3))]);
    assert_eq!((plane.own().incarnation, plane.own().state), (5, MemberState::Leaving));
    assert_eq!(announced(&effects), [record(1, 5, MemberState::Leaving, None)]);
}

#[test]
fn what_others_say_of_a_node_is_contradicted_once() {
    let (mut plane, _) = start(vec![]);
    let table = [
        (record(1, 0, NORMAL, Some(2)), Some(1)),
        (record(1, 0, NORMAL, Some(3)), None),
        (record(1, 7, NORMAL, None), Some(8)),
        (record(1, 7, MemberState::Leaving, Some(2)), None),
        (record(1, 8, NORMAL, Some(2)), Some(9)),
    ];
    for (heard, raised) in table {
        let effects = plane.on_announced(vec![heard.clone()], Time(0));
        let expected: Vec<_> = raised.map(|incarnation| record(1, incarnation, NORMAL, None)).into_iter().collect();
        assert_eq!(announced(&effects), expected, "{heard:?}");
        assert!(raised.is_none() || effects.changed.contains(&Name::Member(NodeId(1))), "durable first");
    }
    assert_eq!(plane.counters().incarnations_raised, 3);
}

#[test]
fn who_was_declared_out_stays_out_and_silent() {
    for restart in [false, true] {
        let (mut plane, _) = start(vec![]);
        plane.on_announced(vec![record(1, 0, MemberState::Left, None)], Time(0));
        if restart {
            let effects;
            (plane, effects) = start(vec![record(1, 0, MemberState::Left, None)]);
            assert_eq!(effects, PlaneEffects::default());
        }
        assert!(plane.is_out());
        let effects = plane.set_own(|own| own.state = NORMAL);
        assert_eq!((effects, plane.is_out()), (PlaneEffects::default(), true));
    }
    let (plane, effects) = start(vec![(Name::Member(NodeId(1)), Record::Member(MemberRecord::Gone))]);
    assert_eq!((effects, plane.is_out()), (PlaneEffects::default(), true));
}

#[test]
fn steps_forward_keep_the_incarnation_and_steps_back_raise_it() {
    let (mut plane, _) = start(vec![]);
    // (state, incarnation afterwards)
    let table =
        [(MemberState::Leaving, 0), (NORMAL, 1), (MemberState::Joining, 2), (MemberState::Joining, 2), (NORMAL, 2)];
    for (state, incarnation) in table {
        plane.set_own(|own| own.state = state);
        assert_eq!((plane.own().incarnation, plane.map().member(NodeId(1))), (incarnation, Some(plane.own())));
    }
    plane.set_own(|own| own.address = vec![1, 2]);
    assert_eq!(plane.own().incarnation, 3, "another address is said in another incarnation");
    plane.set_own(|own| own.state = MemberState::Left);
    assert!(plane.is_out());
}

#[test]
fn members_that_left_are_dropped_after_their_time_for_good() {
    let (mut plane, _) = start(vec![]);
    assert_eq!(announced(&plane.declare_left(NodeId(3), Time(0))), [record(3, 0, MemberState::Left, None)]);
    plane.on_announced(vec![record(4, 2, MemberState::Left, None)], Time::default().plus_ms(1_000));
    assert!(plane.declare_left(NodeId(3), Time(0)).changed.is_empty(), "it is said once");
    let collected = |plane: &Plane, node| plane.map().member_record(NodeId(node)) == Some(&MemberRecord::Gone);
    plane.on_deadline(&[], Time::default().plus_ms(LEFT_KEPT_MS));
    assert!(collected(&plane, 3) && !collected(&plane, 4));
    let (effects, _) = plane.on_deadline(&[], Time::default().plus_ms(LEFT_KEPT_MS + 1_000));
    assert!(collected(&plane, 4) && effects.changed == [Name::Member(NodeId(4))]);
    let effects = plane.on_announced(vec![record(3, 9, NORMAL, None)], Time(0));
    assert_eq!((effects, plane.counters().members_collected), (PlaneEffects::default(), 2));
    // A restart before the time is over begins the time again.
    let (mut plane, _) = start(vec![record(2, 2, MemberState::Left, None)]);
    plane.on_deadline(&[], Time::default().plus_ms(LEFT_KEPT_MS));
    assert!(collected(&plane, 2));
}

#[test]
fn failure_marks_are_made_once_and_of_members_only() {
    let (mut plane, _) = start(vec![record(4, 1, MemberState::Left, None)]);
    let effects = plane.mark_down(&[NodeId(1), NodeId(2), NodeId(4), NodeId(77)]);
    assert_eq!(announced(&effects), [record(2, 0, NORMAL, Some(1))]);
    assert_eq!(plane.mark_down(&[NodeId(2)]), PlaneEffects::default());
    assert_eq!(plane.mark_up(&[NodeId(2)]), PlaneEffects::default(), "only n2 takes it away");
    assert_eq!(plane.counters().failures_marked, 1);
}

#[test]
fn announcements_fit_a_payload_each() {
    let members = (1..=5_000).map(|node| Member::configured(NodeId(node), 8));
    let (own, rng) = (Member::configured(NodeId(1), 8), sub_stream(&[1; 32], "metadata"));
    let (mut plane, _) = Plane::start(own, members, vec![], 2_000, rng, Planted::NONE, Time(0));
    let all: Vec<NodeId> = (2..=5_000).map(NodeId).collect();
    let effects = plane.mark_down(&all);
    let length = |records: &Vec<(Name, Record)>| postcard::to_allocvec(records).expect("it serializes").len();
    assert!(effects.announce.len() > 3);
    assert!(effects.announce.iter().all(|list| length(list) <= crate::dissemination::Payload::LENGTH_MAX));
    assert_eq!(announced(&effects).len(), 4_999);
}

#[test]
fn exchanges_are_begun_with_one_of_the_peers_every_interval() {
    let (mut plane, _) = start(vec![]);
    let mut asked = Vec::new();
    for _ in 0..40 {
        let at = plane.next_deadline();
        let (effects, peer) = plane.on_deadline(&[NodeId(2), NodeId(3)], at);
        assert_eq!(effects.send.len(), 1);
        assert_eq!(plane.next_deadline(), at.plus_ms(2_000));
        asked.push(peer.expect("there are peers"));
    }
    assert!(asked.contains(&NodeId(2)) && asked.contains(&NodeId(3)));
    let at = plane.next_deadline();
    assert_eq!(plane.on_deadline(&[], at), (PlaneEffects::default(), None));
}
