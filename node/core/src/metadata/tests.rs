//! The map and its exchange: the laws of merging, what must never happen, and the bounds of messages.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::exchange::BYTES_MAX;
use super::map::{BUCKETS, OPTIONS_MAX};
use super::*;
use crate::{NodeId, Planted};

fn states() -> impl Strategy<Value = MemberState> {
    prop_oneof![
        Just(MemberState::Joining),
        Just(MemberState::Normal),
        Just(MemberState::Leaving),
        Just(MemberState::Left)
    ]
}

/// Records of n7 in a small domain, so that they often agree in a part.
fn members() -> impl Strategy<Value = Record> {
    let known = (states(), 0..3_u64, 1..3_u16, prop::option::of(1..3_u16), 0..2_usize, prop::option::of(1..4_u16));
    let known = known.prop_map(|(state, incarnation, vnodes, replaces, address, down)| {
        let replaces = replaces.map(NodeId);
        let address = vec![1; address];
        let down = down.filter(|_| state != MemberState::Left).map(NodeId);
        let member = Member { node: NodeId(7), state, incarnation, vnodes, replaces, address };
        Record::Member(MemberRecord::Known { member, down })
    });
    prop_oneof![9 => known, 1 => Just(Record::Member(MemberRecord::Gone))]
}

fn options() -> impl Strategy<Value = Record> {
    let values = prop_oneof![Just("a"), Just("b")];
    (1..4_u64, 1..4_u16, values).prop_map(|(version, origin, value)| {
        Record::Option(OptionRecord { version, origin: NodeId(origin), value: value.to_string() })
    })
}

fn changes() -> impl Strategy<Value = Vec<(Name, Record)>> {
    let name = (0..40_u8).prop_map(|number| Name::Option(format!("schema.t{number}")));
    let option = (name, options());
    let member = members().prop_map(|record| (Name::Member(NodeId(7)), record));
    prop::collection::vec(prop_oneof![3 => option, 1 => member], 0..60)
}

fn map_of(changes: impl IntoIterator<Item = (Name, Record)>) -> MetadataMap {
    let mut map = MetadataMap::new(Planted::NONE);
    for (name, record) in changes {
        assert_ne!(map.merge(name, record), Merged::Refused);
    }
    map
}

fn content(map: &MetadataMap) -> Vec<(Name, Record)> {
    let members = map.member_records().map(|(node, record)| (Name::Member(node), Record::Member(record.clone())));
    let options = map.options().map(|(name, option)| (Name::Option(name.into()), Record::Option(option.clone())));
    members.chain(options).collect()
}

fn join(one: &Record, other: &Record) -> Record {
    let name = match one {
        Record::Member(_) => Name::Member(NodeId(7)),
        Record::Option(_) => Name::Option("schema.t".into()),
    };
    let map = map_of([(name.clone(), one.clone()), (name.clone(), other.clone())]);
    map.get(&name).expect("it was merged").clone()
}

/// Carries an exchange out; how many messages and bytes it took, and the longest.
fn exchange(one: &mut MetadataMap, other: &mut MetadataMap) -> (usize, usize, usize) {
    let mut sent = vec![(true, one.begin_exchange())];
    let (mut count, mut bytes, mut longest) = (0, 0, 0);
    while !sent.is_empty() {
        let (to_other, message) = sent.remove(0);
        let length = postcard::to_allocvec(&message).expect("it serializes").len();
        (count, bytes, longest) = (count + 1, bytes + length, longest.max(length));
        assert!(count < 10_000, "an exchange without end");
        let receiver = if to_other { &mut *other } else { &mut *one };
        let answer = receiver.on_message(message);
        assert_eq!(answer.refused, 0);
        sent.extend(answer.replies.into_iter().map(|reply| (!to_other, reply)));
    }
    (count, bytes, longest)
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent(
        (one, two, three) in prop_oneof![(members(), members(), members()), (options(), options(), options())]
    ) {
        prop_assert_eq!(join(&one, &two), join(&two, &one));
        prop_assert_eq!(join(&join(&one, &two), &three), join(&one, &join(&two, &three)));
        prop_assert_eq!(join(&one, &one), one.clone());
        let both = join(&one, &two);
        prop_assert_eq!(join(&both, &one), both.clone(), "the join is above both");
        prop_assert_eq!(join(&both, &two), both);
    }

    #[test]
    fn a_member_never_goes_back(history in prop::collection::vec(members(), 1..20)) {
        let rank = |record: &Record| match record {
            Record::Member(MemberRecord::Gone) => (3, 0, MemberState::Left, None),
            Record::Member(MemberRecord::Known { member, down }) if member.state == MemberState::Left => {
                (2, member.incarnation, member.state, *down)
            }
            Record::Member(MemberRecord::Known { member, down }) => (1, member.incarnation, member.state, *down),
            Record::Option(_) => unreachable!("only members are made"),
        };
        let mut map = MetadataMap::new(Planted::NONE);
        let mut before = None;
        for record in history {
            let said = rank(&record);
            map.merge(Name::Member(NodeId(7)), record);
            let now = rank(map.get(&Name::Member(NodeId(7))).expect("it was merged"));
            // The mark counts within one incarnation and state only: a later state may be without one only if none was set.
            let place = |(tier, incarnation, state, _): (u8, u64, MemberState, Option<NodeId>)| (tier, incarnation, state);
            prop_assert!(Some(place(now)) >= before.map(place), "{before:?} {now:?}");
            prop_assert!(place(now) >= place(said), "{said:?} {now:?}");
            if let Some(before) = before && (before.0, before.1) == (now.0, now.1) {
                prop_assert!(now.3 >= before.3, "a failure mark went away in one incarnation");
            }
            before = Some(now);
        }
    }

    #[test]
    fn digests_are_equal_exactly_if_maps_are(one in changes(), two in changes()) {
        let (mut ab, mut ba) = (map_of(one.clone()), map_of(two.clone()));
        prop_assert_eq!(content(&ab) == content(&ba), ab.root() == ba.root());
        for (name, record) in two {
            ab.merge(name, record);
        }
        for (name, record) in one {
            ba.merge(name, record);
        }
        prop_assert_eq!(content(&ab), content(&ba));
        prop_assert_eq!((ab.root(), ab.buckets()), (ba.root(), ba.buckets()));
    }

    #[test]
    fn one_exchange_makes_two_maps_equal_and_the_next_costs_one_message(one in changes(), two in changes()) {
        let (mut left, mut right) = (map_of(one.clone()), map_of(two.clone()));
        exchange(&mut left, &mut right);
        let both = map_of(one.into_iter().chain(two));
        prop_assert_eq!(content(&left), content(&both));
        prop_assert_eq!(content(&right), content(&both));
        prop_assert_eq!(exchange(&mut left, &mut right).0, 1);
    }
}

fn member(node: u16, incarnation: u64) -> (Name, Record) {
    let member = Member { incarnation, address: vec![7; 18], ..Member::configured(NodeId(node), 8) };
    (Name::Member(NodeId(node)), Record::Member(MemberRecord::of(member)))
}

fn with_state(node: u16, incarnation: u64, state: MemberState) -> (Name, Record) {
    let member = Member { incarnation, state, ..Member::configured(NodeId(node), 8) };
    (Name::Member(NodeId(node)), Record::Member(MemberRecord::of(member)))
}

fn option(name: &str, version: u64, origin: u16, value: &str) -> (Name, Record) {
    let record = OptionRecord { version, origin: NodeId(origin), value: value.into() };
    (Name::Option(name.into()), Record::Option(record))
}

/// Bytes of framing around the lists of a message: positions, lengths, the ends of a page.
const SLACK: usize = 2_048;

#[test]
fn messages_are_bounded_with_ten_thousand_members_and_nothing_is_refused() {
    let mut full = map_of((1..=10_000).map(|node| member(node, 3)));
    let mut new = map_of([member(10_000, 1)]);
    let (count, bytes, longest) = exchange(&mut full, &mut new);
    assert!(content(&new) == content(&full), "the maps differ");
    assert!(longest <= BYTES_MAX + SLACK, "{longest} bytes in one message");
    assert!(count > 30, "{bytes} bytes in {count} messages are not split");
    // One member changes: the exchange costs its bucket, not the cluster.
    full.merge(member(5_000, 4).0, member(5_000, 4).1);
    let (count, bytes, _) = exchange(&mut new, &mut full);
    assert!(content(&new) == content(&full) && count <= 6, "{count} messages");
    assert!(bytes < 8_000, "{bytes} bytes for one change");
    assert_eq!(exchange(&mut new, &mut full).0, 1);
}

#[test]
fn one_bucket_larger_than_a_message_is_split_into_pages() {
    let long = |number: usize| format!("schema.{number}-{}", "x".repeat(40));
    let in_bucket: Vec<String> =
        (0..).map(long).filter(|name| Name::Option(name.clone()).bucket() == 9).take(900).collect();
    let mut full = map_of(in_bucket.iter().map(|name| option(name, 1, 1, "v")));
    let mut half = map_of(in_bucket.iter().step_by(2).map(|name| option(name, 1, 1, "v")));
    let (_, bytes, longest) = exchange(&mut full, &mut half);
    assert!(content(&half) == content(&full), "the maps differ");
    assert!(longest <= BYTES_MAX + SLACK, "{longest} bytes in one message");
    // The pages, and the missing half once: a page is not taken for the whole bucket.
    assert!(bytes < 900 * 70 + 450 * 60 + 450 * 70 + 8_000, "{bytes} bytes");
    let (_, bytes, _) = {
        half.merge(option("schema.other", 1, 1, "v").0, option("schema.other", 1, 1, "v").1);
        exchange(&mut half, &mut full)
    };
    assert!(bytes < 8_000, "{bytes} bytes for one option in another bucket");
}

#[test]
fn what_was_collected_is_not_revived_by_whoever_still_knows_it() {
    let mut old = map_of([with_state(3, 9, MemberState::Normal)]);
    let mut new = map_of([with_state(3, 4, MemberState::Left)]);
    assert!(new.collect(NodeId(3)) && !new.collect(NodeId(3)));
    exchange(&mut old, &mut new);
    for map in [&old, &new] {
        assert_eq!(map.member_record(NodeId(3)), Some(&MemberRecord::Gone));
        assert_eq!((map.members().count(), map.len()), (0, 1));
    }
    assert_eq!(new.merge(member(3, 99).0, member(3, 99).1), Merged::Known);
    assert!(!map_of([member(4, 1)]).collect(NodeId(4)), "only who left is collected");
}

#[test]
fn the_order_of_members_is_as_drawn() {
    use MemberState::*;
    // (known, heard, kept)
    let table = [
        ((1, Normal), (1, Leaving), (1, Leaving)),
        ((1, Leaving), (1, Joining), (1, Leaving)),
        ((1, Leaving), (2, Normal), (2, Normal)),
        ((2, Joining), (1, Leaving), (2, Joining)),
        ((1, Left), (2, Normal), (1, Left)),
        ((5, Normal), (1, Left), (1, Left)),
        ((1, Left), (2, Left), (2, Left)),
    ];
    for ((i1, s1), (i2, s2), (incarnation, state)) in table {
        let map = map_of([with_state(3, i1, s1), with_state(3, i2, s2)]);
        let kept = map.member(NodeId(3)).expect("it is not gone");
        assert_eq!((kept.incarnation, kept.state), (incarnation, state), "{i1} {s1:?} and {i2} {s2:?}");
    }
}

#[test]
fn a_failure_mark_belongs_to_one_incarnation_and_to_nobody_that_left() {
    let marked = |incarnation, by| {
        let member = Member { incarnation, ..Member::configured(NodeId(3), 8) };
        (Name::Member(NodeId(3)), Record::Member(MemberRecord::Known { member, down: Some(NodeId(by)) }))
    };
    let down = |changes: Vec<(Name, Record)>| map_of(changes).member_record(NodeId(3)).and_then(MemberRecord::down);
    let normal = |incarnation| with_state(3, incarnation, MemberState::Normal);
    assert_eq!(down(vec![normal(4), marked(4, 1), marked(4, 2), normal(4)]), Some(NodeId(2)));
    assert_eq!(down(vec![marked(4, 1), with_state(3, 4, MemberState::Leaving)]), Some(NodeId(1)));
    assert_eq!(down(vec![marked(4, 1), normal(5)]), None, "refuted");
    assert_eq!(down(vec![normal(5), marked(4, 1)]), None, "an old mark");
    assert_eq!(down(vec![marked(4, 1), with_state(3, 4, MemberState::Left)]), None);
}

#[test]
fn changes_of_options_that_travel_at_once_are_lost_only_to_one_another() {
    let map = map_of([
        option("schema.a", 1, 1, "one"),
        option("schema.b", 1, 2, "two"),
        option("schema.a", 1, 3, "three"),
        option("schema.a", 1, 2, "four"),
    ]);
    assert_eq!(map.option("schema.a").expect("it is there").value, "three");
    assert_eq!(map.option("schema.b").expect("it is there").value, "two");
}

#[test]
fn what_can_not_be_is_refused() {
    let mut map = MetadataMap::new(Planted::NONE);
    let long = "v".repeat(OptionRecord::VALUE_MAX + 1);
    let far = Member { address: vec![0; Member::ADDRESS_MAX + 1], ..Member::configured(NodeId(1), 8) };
    let left = Member { state: MemberState::Left, ..Member::configured(NodeId(1), 8) };
    let bad = [
        option("", 1, 1, "x"),
        option("schema..x", 1, 1, "x"),
        option("schema.\n", 1, 1, "x"),
        option(&"n".repeat(OptionRecord::NAME_MAX + 1), 1, 1, "x"),
        option("schema.x", 1, 1, &long),
        option("schema.x", 0, 1, "x"),
        (Name::Member(NodeId(1)), member(2, 1).1),
        (Name::Member(NodeId(0)), Record::Member(MemberRecord::Gone)),
        (Name::Member(NodeId(1)), option("schema.x", 1, 1, "x").1),
        (Name::Option("schema.x".into()), member(2, 1).1),
        (Name::Member(NodeId(1)), Record::Member(MemberRecord::of(far))),
        (Name::Member(NodeId(1)), Record::Member(MemberRecord::Known { member: left, down: Some(NodeId(2)) })),
    ];
    for (name, record) in bad {
        assert_eq!(map.merge(name.clone(), record), Merged::Refused, "{name:?}");
    }
    assert!(map.is_empty() && map.buckets().iter().all(|hash| *hash == 0));
    let answer = map.on_message(MetadataMessage::Buckets { hashes: vec![0; BUCKETS - 1] });
    assert_eq!((answer.refused, answer.replies), (1, vec![]));
}

#[test]
fn options_are_bounded() {
    let many = (0..4 * OPTIONS_MAX).map(|number| option(&format!("schema.t{number}"), 1, 1, "v"));
    let mut map = map_of(many);
    let (name, record) = option("schema.further", 1, 1, "v");
    assert_eq!(map.merge(name, record), Merged::Refused);
    let (name, record) = option("schema.t7", 2, 1, "v");
    assert_eq!(map.merge(name, record), Merged::Changed);
}
