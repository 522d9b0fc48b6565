//! Cluster metadata through whole replicas: options, failures and incarnations in clusters that crash, part and lose disks.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::cluster::{TestCluster, config};
use crate::dissemination::{BroadcastKind, DisseminationConfig, ExchangeConfig, MembershipKind};
use crate::metadata::{MemberRecord, Name, Record};
use crate::*;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);

fn gossiping(members: u16) -> ClusterConfig {
    ClusterConfig { dissemination: Some(DisseminationConfig::default()), ..config(members, 3) }
}

/// Five nodes with a link between any two.
fn cluster(planted: Planted) -> TestCluster {
    let mut cluster = TestCluster::ready_planted(gossiping(5), 1, planted);
    cluster.run_ms(3_000);
    cluster
}

fn set(cluster: &mut TestCluster, node: NodeId, name: &str, value: &str) -> Option<ClientResponse> {
    cluster.call(node, ClientRequest::SetOption { name: name.into(), value: value.into() })
}

fn option(cluster: &mut TestCluster, node: NodeId, name: &str) -> Option<String> {
    match cluster.call(node, ClientRequest::Options { after: None, limit: 1_000 }) {
        Some(ClientResponse::Options { options, more: false }) => {
            options.into_iter().find(|option| option.name == name).map(|option| option.option.value)
        }
        other => panic!("{other:?}"),
    }
}

fn members(cluster: &mut TestCluster, node: NodeId) -> Vec<KnownMember> {
    match cluster.call(node, ClientRequest::Members { after: None, limit: 1_000 }) {
        Some(ClientResponse::Members { members, more: false }) => members,
        other => panic!("{other:?}"),
    }
}

fn known(cluster: &mut TestCluster, node: NodeId, of: NodeId) -> KnownMember {
    members(cluster, node).into_iter().find(|known| known.member.node == of).expect("a member")
}

/// The incarnation that a node has on its disk for itself.
fn durable_incarnation(cluster: &TestCluster, node: NodeId) -> u64 {
    let own = cluster.metadata_on_disk(node).into_iter().find(|(name, _)| *name == Name::Member(node));
    match own {
        Some((_, Record::Member(MemberRecord::Known { member, .. }))) => member.incarnation,
        _ => 0,
    }
}

/// Whether nobody knows of an incarnation that is not on the disk of the member itself.
fn incarnations_are_their_own(cluster: &mut TestCluster) -> bool {
    let nodes = cluster.members();
    nodes.iter().all(|&node| {
        members(cluster, node)
            .iter()
            .all(|known| known.member.incarnation <= durable_incarnation(cluster, known.member.node))
    })
}

fn maps_are_equal(cluster: &mut TestCluster) -> bool {
    let roots: Vec<u64> = cluster.members().iter().map(|&node| cluster.counter(node, "metadata_root")).collect();
    roots.iter().all(|root| *root == roots[0])
}

fn an_option_gets_everywhere(planted: Planted) -> bool {
    let mut cluster = cluster(planted);
    cluster.partition(&[A, B]);
    cluster.run_ms(4_000);
    set(&mut cluster, A, "schema.t1", "one");
    set(&mut cluster, C, "schema.t2", "two");
    cluster.run_ms(1_000);
    cluster.heal();
    // Longer than any broadcast is announced to new neighbours.
    cluster.run_ms(60_000);
    cluster.members().iter().all(|&node| {
        option(&mut cluster, node, "schema.t1").is_some() && option(&mut cluster, node, "schema.t2").is_some()
    })
}

/// Long parted, so that the broadcasts themselves are forgotten: only the exchange of digests is left.
fn an_option_gets_everywhere_without_broadcasts(planted: Planted) -> bool {
    let mut cluster = cluster(planted);
    cluster.partition(&[A, B]);
    cluster.run_ms(4_000);
    set(&mut cluster, A, "schema.t1", "one");
    cluster.run_ms(100_000);
    cluster.heal();
    cluster.run_ms(30_000);
    cluster.members().iter().all(|&node| option(&mut cluster, node, "schema.t1").is_some())
}

fn options_survive_a_restart_of_all(planted: Planted) -> bool {
    let mut cluster = cluster(planted);
    set(&mut cluster, A, "schema.t1", "one");
    cluster.run_ms(5_000);
    for node in cluster.members() {
        cluster.crash(node);
    }
    for node in cluster.members() {
        cluster.start(node);
    }
    cluster.run_ms(5_000);
    cluster.members().iter().all(|&node| option(&mut cluster, node, "schema.t1") == Some("one".to_string()))
}

fn whoever_is_alive_is_nowhere_held_for_dead(planted: Planted) -> bool {
    let mut cluster = cluster(planted);
    cluster.partition(&[A, B]);
    cluster.run_ms(10_000);
    let marked = known(&mut cluster, A, C).down;
    cluster.heal();
    cluster.run_ms(20_000);
    let all = cluster.members();
    marked.is_some() && all.iter().all(|&node| members(&mut cluster, node).iter().all(|known| known.down.is_none()))
}

fn only_its_own_disk_raises_an_incarnation(planted: Planted) -> bool {
    let mut cluster = cluster(planted);
    cluster.crash(C);
    cluster.run_ms(6_000);
    let marked = known(&mut cluster, A, C).down.is_some();
    cluster.start(C);
    cluster.run_until("C is linked again", 10_000, |cluster| cluster.links_of(A).contains(&C));
    // Before and after the news of its return have gone around.
    let mut good = marked;
    for _ in 0..50 {
        cluster.run_ms(40);
        good &= incarnations_are_their_own(&mut cluster);
    }
    good && known(&mut cluster, B, C).member.incarnation >= 1
}

#[test]
fn options_travel_over_a_partition_that_ends() {
    assert!(an_option_gets_everywhere(Planted::NONE));
    assert!(an_option_gets_everywhere_without_broadcasts(Planted::NONE));
}

#[test]
fn options_are_durable() {
    assert!(options_survive_a_restart_of_all(Planted::NONE));
}

#[test]
fn failures_are_known_to_all_and_refuted_by_whom_they_are_about() {
    assert!(whoever_is_alive_is_nowhere_held_for_dead(Planted::NONE));
}

#[test]
fn incarnations_are_durable_before_anybody_hears_of_them() {
    assert!(only_its_own_disk_raises_an_incarnation(Planted::NONE));
}

#[test]
fn every_way_to_spread_news_spreads_options_and_failures() {
    let kinds = [
        (BroadcastKind::Direct, MembershipKind::Full),
        (BroadcastKind::Periodic, MembershipKind::Full),
        (BroadcastKind::Rumor, MembershipKind::HyParView),
        (BroadcastKind::Tree, MembershipKind::Full),
        (BroadcastKind::Plumtree, MembershipKind::Full),
    ];
    for (protocol, membership) in kinds {
        // Without an exchange of broadcasts there is still one of metadata.
        let interval_ms = if protocol == BroadcastKind::Periodic { 500 } else { 0 };
        let exchange = ExchangeConfig { interval_ms, ..ExchangeConfig::default() };
        let dissemination =
            Some(DisseminationConfig { protocol, membership, exchange, ..DisseminationConfig::default() });
        let mut cluster = TestCluster::ready(ClusterConfig { dissemination, ..gossiping(5) }, 3);
        cluster.run_ms(2_000);
        cluster.crash(C);
        cluster.run_ms(5_000);
        set(&mut cluster, B, "schema.t1", "x");
        cluster.run_ms(10_000);
        for node in [A, B, NodeId(4), NodeId(5)] {
            assert!(known(&mut cluster, node, C).down.is_some(), "{node} by {protocol:?}");
            assert_eq!(option(&mut cluster, node, "schema.t1").as_deref(), Some("x"), "{node} by {protocol:?}");
        }
        cluster.start(C);
        cluster.run_ms(20_000);
        assert!(maps_are_equal(&mut cluster), "by {protocol:?}");
        assert_eq!(known(&mut cluster, A, C).down, None, "by {protocol:?}");
    }
}

#[test]
fn an_option_is_applied_on_every_node_and_again_at_its_start() {
    let mut cluster = cluster(Planted::NONE);
    let before: u64 = cluster.members().iter().map(|&node| cluster.counter(node, "options_applied")).sum();
    assert_eq!(before, 0);
    let response = set(&mut cluster, B, "merkle_interval_ms", "0");
    assert_eq!(response, Some(ClientResponse::OptionSet { version: 1 }));
    cluster.run_ms(3_000);
    for node in cluster.members() {
        assert_eq!(cluster.counter(node, "options_applied"), 1, "{node}");
    }
    let sessions = |cluster: &mut TestCluster| -> u64 {
        cluster.members().iter().map(|&node| cluster.counter(node, "sync_sessions_started")).sum()
    };
    let quiet = sessions(&mut cluster);
    cluster.run_ms(20_000);
    assert_eq!(sessions(&mut cluster), quiet, "the schedule is switched off");
    cluster.crash(C);
    cluster.run_ms(1_000);
    cluster.start(C);
    cluster.run_ms(1_000);
    assert_eq!(cluster.counter(C, "options_applied"), 1, "after a restart");
    set(&mut cluster, C, "merkle_interval_ms", "500");
    cluster.run_ms(10_000);
    assert!(sessions(&mut cluster) > quiet + 20, "the schedule is switched on again");
}

#[test]
fn a_node_that_lost_its_disk_goes_on_above_its_former_lives() {
    let mut cluster = cluster(Planted::NONE);
    for _ in 0..3 {
        cluster.crash(C);
        cluster.run_ms(4_000);
        cluster.start(C);
        cluster.run_ms(8_000);
    }
    let before = known(&mut cluster, A, C).member.incarnation;
    assert!(before >= 3, "{before}");
    cluster.crash(C);
    cluster.wipe(C);
    cluster.run_ms(4_000);
    cluster.start(C);
    cluster.run_ms(15_000);
    for node in cluster.members() {
        let known = known(&mut cluster, node, C);
        assert!(known.member.incarnation > before && known.down.is_none(), "{node}: {known:?}");
    }
    assert!(incarnations_are_their_own(&mut cluster) && maps_are_equal(&mut cluster));
}

#[test]
fn changes_of_both_sides_of_a_partition_end_in_one_map() {
    for seed in 1..6 {
        let mut cluster = TestCluster::ready(gossiping(5), seed);
        cluster.run_ms(3_000);
        cluster.partition(&[A, B]);
        cluster.run_ms(3_000);
        set(&mut cluster, A, "schema.both", "left");
        set(&mut cluster, A, "schema.left", "1");
        set(&mut cluster, C, "schema.both", "right");
        set(&mut cluster, C, "schema.right", "1");
        cluster.heal();
        cluster.run_ms(20_000);
        assert!(maps_are_equal(&mut cluster), "seed {seed}");
        let both = option(&mut cluster, A, "schema.both");
        assert_eq!(both.as_deref(), Some("right"), "equal versions, and n3 is above n1");
        for name in ["schema.left", "schema.right"] {
            assert_eq!(option(&mut cluster, B, name).as_deref(), Some("1"));
        }
    }
}

#[test]
fn an_idle_cluster_exchanges_one_message_per_node_and_interval() {
    let mut cluster = cluster(Planted::NONE);
    cluster.run_ms(10_000);
    let before = cluster.sent.get("metadata").copied().unwrap_or_default();
    cluster.run_ms(60_000);
    let sent = cluster.sent.get("metadata").copied().unwrap_or_default() - before;
    assert_eq!(sent, 5 * 30, "each of five nodes every two seconds");
    for node in cluster.members() {
        assert_eq!(cluster.counter(node, "metadata_incarnations_raised"), 0, "{node}");
    }
}

#[test]
fn a_cluster_without_dissemination_has_no_metadata_and_says_how_to_get_it() {
    let mut cluster = TestCluster::ready(config(3, 3), 1);
    let requests = [
        ClientRequest::Members { after: None, limit: 1 },
        ClientRequest::Options { after: None, limit: 1 },
        ClientRequest::SetOption { name: "schema.x".into(), value: "1".into() },
    ];
    for request in requests {
        match cluster.call(A, request) {
            Some(ClientResponse::Failed(error)) => assert!(error.message.contains("add `dissemination"), "{error:?}"),
            other => panic!("{other:?}"),
        }
    }
    cluster.run_ms(10_000);
    assert_eq!(cluster.sent.get("metadata"), None);
}

#[test]
fn what_is_no_option_is_refused_with_what_is_allowed() {
    let mut cluster = cluster(Planted::NONE);
    let long = "x".repeat(2_000);
    let table = [
        ("replication", "2", "no option"),
        ("read_repair", "maybe", "blocking, async or none"),
        ("schema.", "x", "no option"),
        ("schema.a b", "x", "no option"),
        ("schema.a", long.as_str(), "1024 bytes"),
        ("request_timeout_ms", "0", "choose at least 1"),
    ];
    for (name, value, why) in table {
        match set(&mut cluster, A, name, value) {
            Some(ClientResponse::Failed(error)) => assert!(error.message.contains(why), "{}", error.message),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(cluster.counter(A, "metadata_options"), 0);
}

#[test]
fn members_and_options_come_in_pages() {
    let mut cluster = cluster(Planted::NONE);
    for number in 0..5 {
        set(&mut cluster, A, &alloc::format!("schema.t{number}"), "x");
    }
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let Some(ClientResponse::Options { options, more }) =
            cluster.call(A, ClientRequest::Options { after: after.take(), limit: 2 })
        else {
            panic!("no options");
        };
        names.extend(options.iter().map(|option| option.name.clone()));
        after = names.last().cloned();
        if !more {
            break;
        }
    }
    assert_eq!(names, ["schema.t0", "schema.t1", "schema.t2", "schema.t3", "schema.t4"]);
    let page = cluster.call(A, ClientRequest::Members { after: Some(NodeId(3)), limit: 1 });
    match page {
        Some(ClientResponse::Members { members, more: true }) => assert_eq!(members[0].member.node, NodeId(4)),
        other => panic!("{other:?}"),
    }
}

#[cfg(feature = "planted-bugs")]
pub(super) mod planted {
    use super::*;

    macro_rules! found {
        ($($name:ident: $bug:ident by $scenario:ident,)+) => {
            $(#[test]
            fn $name() {
                assert!(!super::$scenario(Planted(Some(Bug::$bug))), "the scenario is blind for it");
            })+

            /// What is found here.
            pub(in crate::tests) const PLANTED: &[Bug] = &[$(Bug::$bug),+];
        };
    }

    found! {
        incarnation_not_durable: IncarnationNotDurable by only_its_own_disk_raises_an_incarnation,
        failure_not_refuted: FailureNotRefuted by whoever_is_alive_is_nowhere_held_for_dead,
        metadata_never_exchanged: MetadataNeverExchanged by an_option_gets_everywhere_without_broadcasts,
        options_not_durable: OptionsNotDurable by options_survive_a_restart_of_all,
        split_drops_tail: SplitDropsTail by an_option_gets_everywhere_without_broadcasts,
        options_share_a_version: OptionsShareAVersion by an_option_gets_everywhere,
    }
}
