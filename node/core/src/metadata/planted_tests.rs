//! Planted bugs of the metadata: a check each that a correct map passes and the bug does not.

use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::{Bug, NodeId, Planted, Time};

/// Whether all is well.
type Check = fn(Planted) -> bool;

fn of(incarnation: u64, state: MemberState, down: Option<u16>) -> (Name, Record) {
    let member = Member { incarnation, state, ..Member::configured(NodeId(3), 8) };
    (Name::Member(NodeId(3)), Record::Member(MemberRecord::Known { member, down: down.map(NodeId) }))
}

fn option(name: &str, origin: u16, value: &str) -> (Name, Record) {
    let record = OptionRecord { version: 1, origin: NodeId(origin), value: value.into() };
    (Name::Option(name.into()), Record::Option(record))
}

fn map_of(planted: Planted, changes: Vec<(Name, Record)>) -> MetadataMap {
    let mut map = MetadataMap::new(planted);
    for (name, record) in changes {
        map.merge(name, record);
    }
    map
}

fn exchanged(planted: Planted, one: Vec<(Name, Record)>, other: Vec<(Name, Record)>) -> (MetadataMap, MetadataMap) {
    let (mut one, mut other) = (map_of(planted, one), map_of(planted, other));
    let mut sent = vec![(true, one.begin_exchange())];
    while let Some((to_other, message)) = sent.pop() {
        let receiver = if to_other { &mut other } else { &mut one };
        sent.extend(receiver.on_message(message).replies.into_iter().map(|reply| (!to_other, reply)));
    }
    (one, other)
}

fn who_is_gone_stays_gone(planted: Planted) -> bool {
    let mut map = map_of(planted, vec![of(1, MemberState::Left, None)]);
    map.collect(NodeId(3));
    let (name, record) = of(2, MemberState::Normal, None);
    map.merge(name, record);
    map.member(NodeId(3)).is_none()
}

fn states_go_forward(planted: Planted) -> bool {
    let map = map_of(planted, vec![of(1, MemberState::Leaving, None), of(1, MemberState::Normal, None)]);
    map.member(NodeId(3)).is_some_and(|member| member.state == MemberState::Leaving)
}

fn a_raised_incarnation_refutes(planted: Planted) -> bool {
    let map = map_of(planted, vec![of(1, MemberState::Normal, Some(2)), of(2, MemberState::Normal, None)]);
    map.member_record(NodeId(3)).is_some_and(|record| record.down().is_none())
}

fn everyone_keeps_the_same_of_two_changes(planted: Planted) -> bool {
    let (one, other) = (option("schema.t", 1, "a"), option("schema.t", 2, "b"));
    let value = |changes| map_of(planted, changes).option("schema.t").map(|option| option.value.clone());
    value(vec![one.clone(), other.clone()]) == value(vec![other, one])
}

fn options_do_not_touch_each_other(planted: Planted) -> bool {
    map_of(planted, vec![option("schema.a", 1, "a"), option("schema.b", 2, "b")]).options().count() == 2
}

fn an_exchange_finds_every_difference(planted: Planted) -> bool {
    let (one, other) = exchanged(planted, vec![option("schema.a", 1, "a")], vec![option("schema.a", 2, "b")]);
    one.option("schema.a") == other.option("schema.a")
}

fn an_exchange_brings_a_single_record(planted: Planted) -> bool {
    let (one, other) = exchanged(planted, vec![option("schema.a", 1, "a")], vec![]);
    one.option("schema.a") == other.option("schema.a")
}

fn a_member_that_is_heard_again_speaks_for_itself(planted: Planted) -> bool {
    let members = (1..=3).map(|node| Member::configured(NodeId(node), 8));
    let rng = crate::rng::sub_stream(&[1; 32], "metadata");
    let own = Member::configured(NodeId(1), 8);
    let (mut plane, _) = Plane::start(own, members, vec![], 2_000, rng, planted, Time(0));
    plane.mark_down(&[NodeId(3)]);
    plane.mark_up(&[NodeId(3)]);
    plane.map().member(NodeId(3)).is_some_and(|member| member.incarnation == 0)
}

macro_rules! found {
    ($($name:ident: $bug:ident by $check:ident,)+) => {
        $(#[test]
        fn $name() {
            let check: Check = $check;
            assert!(check(Planted::NONE), "the check fails without the bug");
            assert!(!check(Planted(Some(Bug::$bug))), "the check is blind for it");
        })+

        /// What is found here.
        pub(crate) const PLANTED: &[Bug] = &[$(Bug::$bug),+];
    };
}

found! {
    collected_member_revived: CollectedMemberRevived by who_is_gone_stays_gone,
    state_moves_backward: StateMovesBackward by states_go_forward,
    failure_mark_outlives: FailureMarkOutlives by a_raised_incarnation_refutes,
    option_tie_by_arrival: OptionTieByArrival by everyone_keeps_the_same_of_two_changes,
    options_share_a_version: OptionsShareAVersion by options_do_not_touch_each_other,
    roots_count_records: RootsCountRecords by an_exchange_finds_every_difference,
    foreign_incarnation: ForeignIncarnation by a_member_that_is_heard_again_speaks_for_itself,
    split_drops_tail: SplitDropsTail by an_exchange_brings_a_single_record,
}
