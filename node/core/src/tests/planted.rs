//! Planted bugs of the data plane: a scenario each that a correct node passes and the bug does not.

use alloc::format;
use alloc::vec::Vec;

use super::cluster::{TestCluster, config, key};
use super::ring::{self, Change};
use super::scans::shadowed;
use crate::message::{OperationId, PeerMessage};
use crate::ring::topology::{Phase, View};
use crate::*;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);

/// Whether all is well.
type Scenario = fn(Planted) -> bool;

fn hinting() -> ClusterConfig {
    ClusterConfig { hints: Hints::Coordinator, merkle_interval_ms: 0, ..config(3, 3) }
}

fn sloppy() -> ClusterConfig {
    ClusterConfig { sloppy: true, merkle_interval_ms: 0, ..config(6, 3) }
}

fn is_written(response: Option<ClientResponse>) -> bool {
    matches!(response, Some(ClientResponse::Written { .. }))
}

fn holds(cluster: &TestCluster, node: NodeId, name: &str, value: &str) -> bool {
    let stored = cluster.stored(node, &key(name)).and_then(|version| version.value);
    stored == Some(Value(value.as_bytes().to_vec()))
}

fn without_c(config: ClusterConfig, planted: Planted) -> TestCluster {
    let mut cluster = TestCluster::ready_planted(config, 1, planted);
    cluster.crash(C);
    cluster.run_ms(4_000);
    cluster
}

/// C loses every batch until the link breaks.
fn a_batch_that_is_lost_is_sent_again(planted: Planted) -> bool {
    let mut cluster = without_c(hinting(), planted);
    cluster.put(A, &key("k"), "x", Level::Quorum);
    cluster.start(C);
    cluster.run_until("C is linked", 5_000, |cluster| cluster.links_of(A).contains(&C));
    cluster.cut(A, C);
    cluster.run_ms(4_000);
    cluster.heal();
    cluster.run_ms(60_000);
    holds(&cluster, C, "k", "x")
}

/// A newer hint comes while the older one is on its way: A stands in for C, and is sent the newer version by B.
fn the_newer_of_two_hints_arrives(planted: Planted) -> bool {
    let mut cluster = without_c(hinting(), planted);
    cluster.put(A, &key("k"), "old", Level::Quorum);
    cluster.start(C);
    let before = cluster.sent.get("merge").copied().unwrap_or(0);
    cluster.run_until("the batch is sent", 10_000, |c| c.sent.get("merge").copied().unwrap_or(0) > before);
    let stamp = cluster.stored(A, &key("k")).expect("stored").stamp;
    let version = Version { stamp: WallTime(stamp.0 + 1), value: Some(Value(b"new".to_vec())) };
    let operation = crate::message::OperationId(1);
    cluster.deliver(B, A, crate::message::PeerMessage::StandInWrite { operation, owner: C, key: key("k"), version });
    cluster.run_ms(30_000);
    holds(&cluster, C, "k", "new")
}

fn two_hints_for_a_key_are_the_newer(planted: Planted) -> bool {
    let mut cluster = without_c(hinting(), planted);
    cluster.put(A, &key("k"), "old", Level::Quorum);
    cluster.put(A, &key("k"), "new", Level::Quorum);
    cluster.start(C);
    cluster.run_ms(20_000);
    holds(&cluster, C, "k", "new")
}

fn a_quorum_is_of_replicas(planted: Planted) -> bool {
    let mut cluster = without_c(hinting(), planted);
    cluster.crash(B);
    cluster.run_ms(4_000);
    !is_written(cluster.put(A, &key("k"), "x", Level::Quorum))
}

/// A hint of a value that everybody else has deleted and forgotten.
fn the_deleted_stay_away(planted: Planted) -> bool {
    let mut cluster = without_c(ClusterConfig { tombstone_grace_ms: 8_000, ..hinting() }, planted);
    cluster.put(A, &key("k"), "x", Level::Quorum);
    // A is stopped, so that no sweep removes its hint before it could be sent.
    cluster.crash(A);
    cluster.run_ms(2_000);
    cluster.call(B, ClientRequest::Delete { key: key("k"), level: Level::One });
    cluster.run_until("B has forgotten", 30_000, |cluster| cluster.stored(B, &key("k")).is_none());
    // B's hint of the delete must not hide what A's brings back.
    cluster.crash(B);
    cluster.start(C);
    cluster.start(A);
    cluster.run_ms(10_000);
    cluster.stored(C, &key("k")).is_none()
}

fn what_stand_ins_took_is_read(planted: Planted) -> bool {
    let mut cluster = TestCluster::ready_planted(sloppy(), 1, planted);
    let replicas = cluster.replicas(&key("k"));
    let other = cluster.members().into_iter().find(|node| !replicas.contains(node)).expect("six nodes");
    replicas.iter().for_each(|node| cluster.crash(*node));
    cluster.run_ms(4_000);
    assert!(is_written(cluster.put(other, &key("k"), "x", Level::Quorum)));
    matches!(cluster.get(other, &key("k"), Level::Quorum), Some(ClientResponse::Read { value: Some(_), .. }))
}

fn primaries_are_no_stand_ins(planted: Planted) -> bool {
    let mut cluster = TestCluster::ready_planted(sloppy(), 1, planted);
    let replicas = cluster.replicas(&key("k"));
    replicas[1..].iter().for_each(|node| cluster.crash(*node));
    cluster.run_ms(4_000);
    let options = WriteOptions { level: Level::Quorum, primaries: Some(Level::Quorum), durable: None };
    let value = Some(Value(b"x".to_vec()));
    !is_written(cluster.call(replicas[0], ClientRequest::PutWith { key: key("k"), value, options }))
}

/// N = 3: an expired tombstone on A alone, which nobody may bring to those that store nothing.
fn expired_tombstones_do_not_spread(planted: Planted) -> bool {
    let config = ClusterConfig { merkle_interval_ms: 0, tombstone_grace_ms: 3_000, ..config(3, 3) };
    let mut cluster = TestCluster::ready_planted(config, 1, planted);
    // A's clock is behind: it keeps the tombstone that the others have swept.
    cluster.set_skew_ms(A, -60_000);
    cluster.call(B, ClientRequest::Delete { key: key("k"), level: Level::All });
    cluster.run_until("B and C have swept", 20_000, |cluster| {
        [B, C].iter().all(|node| cluster.stored(*node, &key("k")).is_none())
    });
    let repairs = |cluster: &mut TestCluster| -> u64 {
        cluster.members().into_iter().map(|node| cluster.counter(node, "read_repairs_sent")).sum()
    };
    cluster.get(B, &key("k"), Level::All);
    cluster.get(C, &key("k"), Level::All);
    repairs(&mut cluster) == 0
}

/// Two of three replicas are silent: there is no quorum, however often one answers.
fn one_replica_is_no_quorum(planted: Planted) -> bool {
    let mut cluster = TestCluster::ready_planted(config(3, 3), 1, planted);
    cluster.put(A, &key("k"), "x", Level::All);
    cluster.cut_both(A, B);
    cluster.cut_both(A, C);
    !matches!(cluster.get(A, &key("k"), Level::Quorum), Some(ClientResponse::Read { .. }))
}

fn no_row_goes_missing(planted: Planted) -> bool {
    let rows = shadowed(planted).0;
    let expected: Vec<_> = (1_100..1_200).map(|i| format!("key{i:04}=v{i}")).collect();
    rows == expected
}

/// Whether no seed shows anything.
fn nothing_found(seeds: u64, run: impl Fn(u64) -> ring::Run) -> bool {
    let found = (0..seeds).map(|seed| run(seed).violations).find(|found| !found.is_empty());
    if let Some(violations) = &found {
        std::println!("{violations:#?}");
    }
    found.is_none()
}

fn joins_with_losses_lose_nothing(planted: Planted) -> bool {
    nothing_found(12, |seed| ring::lossy(&[Change::Join(6), Change::Join(7)], seed, planted))
}

/// A write of a coordinator that knows other owners.
fn requests_of_another_view_are_not_carried_out(planted: Planted) -> bool {
    let mut cluster = TestCluster::ready_planted(config(3, 3), 1, planted);
    let version = Version { stamp: WallTime(1), value: Some(Value(alloc::vec![7])) };
    let write = PeerMessage::Write { operation: OperationId(9), key: key("k"), version };
    cluster.deliver(A, B, PeerMessage::InView { view: View(77), message: write.into() });
    cluster.run_ms(50);
    cluster.stored(B, &key("k")).is_none()
}

/// A node that entered and can't ask one of the former owners takes a write.
fn who_is_unsure_does_not_acknowledge(planted: Planted) -> bool {
    let mut cluster = TestCluster::ready_planted(ring::settings(5), 1, planted);
    let newcomer = NodeId(6);
    cluster.add(newcomer, None);
    cluster.start(newcomer);
    cluster
        .run_until("n6 enters", 20_000, |cluster| cluster.topology(newcomer).phase(newcomer) == Some(Phase::Entering));
    for node in 1..=5 {
        cluster.lose_silently(newcomer, NodeId(node));
    }
    let unsure = (0..400).map(|number| key(&format!("k{number}"))).find(|key| !cluster.is_sure(newcomer, key));
    let key = unsure.expect("it has just entered");
    let view = cluster.topology(newcomer).view();
    cluster.run_ms(20);
    let before = cluster.sent.get("write_ack").copied();
    let version = Version { stamp: WallTime(1), value: Some(Value(alloc::vec![7])) };
    let write = PeerMessage::Write { operation: OperationId(9), key: key.clone(), version };
    cluster.deliver(A, newcomer, PeerMessage::InView { view, message: write.into() });
    cluster.run_ms(50);
    assert!(cluster.stored(newcomer, &key).is_some(), "the write was not even taken");
    cluster.sent.get("write_ack").copied() == before
}

fn what_one_node_has_is_handed_over_by_a_join(planted: Planted) -> bool {
    nothing_found(8, |seed| ring::lonely(Change::Join(6), seed, planted))
}

fn what_one_node_has_is_handed_over_by_a_leave(planted: Planted) -> bool {
    nothing_found(4, |seed| ring::lonely(Change::Leave(2), seed, planted))
}

fn pending_nodes_are_written(planted: Planted) -> bool {
    let run = ring::run(&[Change::Join(6)], 1, planted);
    let sent = |node: u16| run.cluster.counter_now(NodeId(node), "ring_pending_writes");
    run.violations.is_empty() && (1..=5).map(sent).sum::<u64>() > 0
}

fn check(bug: Bug, scenario: Scenario) {
    assert!(scenario(Planted::NONE), "the scenario of {} fails without the bug", bug.name());
    assert!(!scenario(Planted(Some(bug))), "{} was not found", bug.name());
}

macro_rules! tests {
    ($($name:ident: $bug:ident => $scenario:ident,)+) => {
        $(#[test]
        fn $name() {
            check(Bug::$bug, $scenario);
        })+

        #[test]
        fn every_bug_that_no_campaign_finds_has_its_test() {
            use crate::causal::{exchange_tests, model_tests};
            use crate::dissemination::tests::planted;
            use crate::metadata::planted_tests;
            use crate::tests::metadata::planted as metadata;
            let here = [$(Bug::$bug),+, exchange_tests::PLANTED];
            for bug in Bug::WITHOUT_CAMPAIGN {
                let lists = [model_tests::PLANTED, planted::PLANTED, planted_tests::PLANTED, metadata::PLANTED];
                let elsewhere = lists.iter().any(|list| list.contains(bug));
                assert!(elsewhere || here.contains(bug), "{}", bug.name());
            }
        }
    };
}

tests! {
    hint_removed_unsent: HintRemovedUnsent => a_batch_that_is_lost_is_sent_again,
    hint_ack_removes_newer: HintAckRemovesNewer => the_newer_of_two_hints_arrives,
    hint_keeps_oldest: HintKeepsOldest => two_hints_for_a_key_are_the_newer,
    hint_counts: HintCounts => a_quorum_is_of_replicas,
    expired_hint_sent: ExpiredHintSent => the_deleted_stay_away,
    stand_in_not_read: StandInNotRead => what_stand_ins_took_is_read,
    stand_in_counts_as_primary: StandInCountsAsPrimary => primaries_are_no_stand_ins,
    expired_tombstone_spread: ExpiredTombstoneSpread => expired_tombstones_do_not_spread,
    speculative_counts_twice: SpeculativeCountsTwice => one_replica_is_no_quorum,
    no_short_read_protection: NoShortReadProtection => no_row_goes_missing,
    join_serves_unsure: JoinServesUnsure => what_one_node_has_is_handed_over_by_a_join,
    pending_not_written: PendingNotWritten => pending_nodes_are_written,
    leaves_too_early: LeavesTooEarly => what_one_node_has_is_handed_over_by_a_leave,
    drops_too_early: DropsTooEarly => what_one_node_has_is_handed_over_by_a_join,
    pending_counts: PendingCounts => joins_with_losses_lose_nothing,
    other_view_served: OtherViewServed => requests_of_another_view_are_not_carried_out,
    unsure_acknowledges: UnsureAcknowledges => who_is_unsure_does_not_acknowledge,
}
