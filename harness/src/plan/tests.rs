//! Tests of plans: swarms of seeds, pinned plans, files, validation.

use std::collections::BTreeSet;
use std::path::Path;

use hearsay_core::NodeId;
use hearsay_workloads::Action;
use proptest::prelude::*;

use super::schedule::draw_faults;
use super::*;
use crate::campaign::{Campaign, FaultKind, FaultSchedule, Size, Span, Variant, load, parse};

const SEEDS: u64 = 200;

fn shipped() -> Vec<Campaign> {
    let campaigns = hearsay_workloads::campaigns().iter().map(|(name, _)| {
        let mut campaign = load(name).expect("what ships is right");
        // Thousands of nodes make no other plans, only longer ones.
        campaign.cluster.members.truncate(60);
        campaign
    });
    campaigns.collect()
}

/// What holds for every plan, whatever its campaign.
fn assert_rules(campaign: &Campaign, plan: &Plan) {
    let who = format!("campaign {} with seed {}", campaign.name, plan.seed);
    assert_eq!(plan.validate(), [] as [&str; 0], "{who}");
    let Some(schedule) = &campaign.faults else {
        assert!(plan.faults.is_empty(), "{who}");
        return;
    };
    let gap_ms = schedule.between.min_ms;
    let (from_ms, until_ms) = (plan.phases.faults_from_ms(), plan.phases.faults_until_ms());
    for (position, fault) in plan.faults.iter().enumerate() {
        let who = format!("{who}: {} {}", fault.id, fault.fault.name());
        assert_eq!(fault.id, format!("f{}", position + 1), "{who}");
        assert!(fault.at_ms >= from_ms + gap_ms && fault.until_ms() + gap_ms <= until_ms, "{who} leaves its phase");
        let in_force = plan.faults.iter().filter(|other| {
            !other.fault.is_beside()
                && other.at_ms <= fault.at_ms
                && fault.at_ms < other.until_ms() + if schedule.at_once == 1 { gap_ms } else { 0 }
        });
        assert!(in_force.count() <= usize::try_from(schedule.at_once).expect("small"), "{who}: too many at once");
        if !fault.fault.empties().is_empty() {
            assert_isolated(plan, fault, quiet_of_wipes(schedule), &who);
        }
    }
    let drawn_from = |fault: &PlannedFault, kind: &FaultKind| {
        kind.variants.iter().any(|variant| is_drawn_from(fault, *variant, campaign.nodes()))
    };
    for kind in &schedule.kinds {
        let at_least = usize::try_from(kind.at_least).expect("small");
        let count = plan.faults.iter().filter(|fault| drawn_from(fault, kind)).count();
        assert!(count >= at_least, "{who}: {count} of {kind:?}");
        for variant in kind.variants.iter().filter(|_| at_least >= kind.variants.len()) {
            let found = plan.faults.iter().any(|fault| is_drawn_from(fault, *variant, campaign.nodes()));
            assert!(found, "{who}: no {variant:?}");
        }
    }
    for fault in &plan.faults {
        let lengths = schedule.kinds.iter().filter(|kind| drawn_from(fault, kind)).map(|kind| kind.duration);
        let fits = lengths.clone().any(|Span { min_ms, max_ms }| (min_ms..=max_ms).contains(&fault.duration_ms));
        assert!(fits, "{who}: {} takes {} ms, not {:?}", fault.id, fault.duration_ms, lengths.collect::<Vec<_>>());
    }
}

fn quiet_of_wipes(schedule: &FaultSchedule) -> u64 {
    let empties = |variant: &Variant| matches!(variant, Variant::Wipe | Variant::Leave(_, Disk::Empty));
    let wipes = schedule.kinds.iter().filter(|kind| kind.variants.iter().any(empties));
    wipes.map(|kind| kind.quiet_ms).min().expect("a wipe comes from a kind")
}

fn assert_isolated(plan: &Plan, wipe: &PlannedFault, quiet_ms: u64, who: &str) {
    for other in plan.faults.iter().filter(|other| other.id != wipe.id && !other.fault.is_beside()) {
        let before = other.until_ms() + quiet_ms <= wipe.at_ms;
        let after = wipe.until_ms() + quiet_ms <= other.at_ms;
        assert!(before || after, "{who} is not alone: {} from {} ms", other.id, other.at_ms);
    }
    assert!(wipe.until_ms() + quiet_ms <= plan.phases.faults_until_ms(), "{who} ends too late");
}

fn is_drawn_from(fault: &PlannedFault, variant: Variant, nodes: u16) -> bool {
    let count = |size: Size| usize::from(size.of(nodes).expect("a checked size"));
    match (&fault.fault, variant) {
        (Fault::Partition { shape, .. }, Variant::Partition(wanted)) => *shape == wanted,
        (Fault::Crash { nodes }, Variant::Crash(size)) | (Fault::Pause { nodes }, Variant::Pause(size)) => {
            nodes.len() == count(size)
        }
        (Fault::Wipe { .. }, Variant::Wipe) => true,
        (Fault::PowerCut { nodes, .. }, Variant::PowerCut(size))
        | (Fault::FailingDisk { nodes }, Variant::FailingDisk(size)) => nodes.len() == count(size),
        (Fault::SlowDisk { nodes, sync_ms }, Variant::SlowDisk(size, sync)) => {
            nodes.len() == count(size) && (sync.min_ms..=sync.max_ms).contains(sync_ms)
        }
        (Fault::Links { scope, .. }, Variant::Links(wanted, _)) => *scope == wanted,
        (Fault::Leave { nodes, join }, Variant::Leave(size, disk)) => nodes.len() == count(size) && *join == disk,
        (Fault::Clock { clocks }, Variant::Clock { size, offset_ns, drift_ppb }) => {
            let within = |(least, most): (i64, i64), value: i64| (least..=most).contains(&value);
            clocks.len() == count(size)
                && clocks.iter().all(|clock| within(offset_ns, clock.offset_ns) && within(drift_ppb, clock.drift_ppb))
        }
        (Fault::Join { .. }, Variant::Join) => true,
        (Fault::Retire { .. }, Variant::Retire) | (Fault::Replace { .. }, Variant::Replace) => true,
        _ => false,
    }
}

#[test]
fn a_swarm_of_seeds_obeys_the_rules() {
    for campaign in shipped() {
        for seed in 0..SEEDS {
            assert_rules(&campaign, &make_plan(&campaign, seed));
        }
    }
}

#[test]
fn quickstart_does_what_it_says_with_every_seed() {
    let campaign = load("quickstart").expect("it ships");
    let schedule = campaign.faults.as_ref().expect("it has faults");
    for seed in 0..SEEDS {
        let faults = draw_faults(schedule, &campaign.phases, campaign.nodes(), seed);
        let crashes_of_all = faults.iter().filter(|fault| fault.fault.processes().len() == 5).count();
        assert!(crashes_of_all >= 3, "seed {seed}: {crashes_of_all} ends of all nodes");
        let power_cuts: Vec<Vec<NodeId>> = faults
            .iter()
            .filter(|fault| matches!(fault.fault, Fault::PowerCut { .. }))
            .map(|fault| fault.fault.processes())
            .collect();
        let of_all = power_cuts.iter().filter(|nodes| nodes.len() == 5).count();
        assert!(of_all >= 2 && power_cuts.len() >= 4, "seed {seed}: {power_cuts:?}");
        let shapes: BTreeSet<PartitionShape> = faults
            .iter()
            .filter_map(|fault| match fault.fault {
                Fault::Partition { shape, .. } => Some(shape),
                _ => None,
            })
            .collect();
        assert_eq!(shapes.len(), PartitionShape::ALL.len(), "seed {seed}: {shapes:?}");
    }
}

#[test]
fn equal_seeds_give_equal_plans_and_others_do_not() {
    for campaign in shipped() {
        assert_eq!(make_plan(&campaign, 7), make_plan(&campaign, 7));
        if campaign.faults.is_some() {
            assert_ne!(make_plan(&campaign, 7).faults, make_plan(&campaign, 8).faults);
        }
        assert_ne!(make_plan(&campaign, 7).operations, make_plan(&campaign, 8).operations);
    }
}

/// A change of these hashes makes every seed ever written down mean another run: do it knowingly.
#[test]
fn the_plans_of_one_seed_are_pinned() {
    let hash = |campaign: &str| {
        let plan = make_plan(&parse("pinned.yaml", campaign).expect("a right campaign"), 42);
        blake3::hash(plan.to_yaml().as_bytes()).to_hex().as_str()[..16].to_owned()
    };
    assert_eq!(hash(PINNED), "08acee504c084101");
}

const PINNED: &str = "
campaign: pinned
cluster: {nodes: 5}
workload: {register: {keys: 4, clients: 3, rate: 50, mix: {read: 2, write: 2, delete: 1}, read_level: quorum, write_level: 2, sticky: 1}}
phases: {warmup: 1s, faults: 30s, healed: 1s}
faults:
  between: [1s, 2s]
  at_once: 2
  kinds:
    - partition: {shapes: [majorities-ring, one-way, clients], for: [1s, 3s]}
    - crash: {nodes: [one, majority], for: [1s, 2s]}
    - pause: {nodes: minority, for: 1s}
    - wipe: {for: 1s}
expect: {convergence: holds}
";

#[test]
fn faults_do_not_shift_operations_and_a_kind_does_not_change_the_others() {
    let with = parse("pinned.yaml", PINNED).expect("a right campaign");
    let mut without = with.clone();
    let schedule = without.faults.as_mut().expect("it has faults");
    schedule.kinds.remove(2);
    let (one, other) = (make_plan(&with, 3), make_plan(&without, 3));
    assert_eq!(one.operations, other.operations);
    // The first of every remaining variant has the same targets.
    let firsts = |plan: &Plan, variant: Variant| {
        plan.faults.iter().find(|fault| is_drawn_from(fault, variant, 5)).map(|fault| fault.fault.clone())
    };
    for kind in &without.faults.as_ref().expect("it has faults").kinds {
        for variant in &kind.variants {
            assert!(firsts(&one, *variant).is_some());
            assert_eq!(firsts(&one, *variant), firsts(&other, *variant), "{variant:?}");
        }
    }
}

#[test]
fn overlapping_faults_are_of_different_kinds() {
    let campaign = parse("pinned.yaml", PINNED).expect("a right campaign");
    let mut overlaps = 0;
    for seed in 0..SEEDS {
        let plan = make_plan(&campaign, seed);
        assert_rules(&campaign, &plan);
        for (position, later) in plan.faults.iter().enumerate() {
            for earlier in plan.faults[..position].iter().filter(|earlier| earlier.until_ms() > later.at_ms) {
                overlaps += 1;
                assert!(!earlier.fault.same_kind(&later.fault), "seed {seed}: {} and {}", earlier.id, later.id);
            }
        }
    }
    assert!(overlaps > SEEDS, "at_once: 2 has to overlap faults: {overlaps} in {SEEDS} plans");
}

#[test]
fn clocks_are_off_by_enough_to_be_seen_and_leaves_are_like_crashes() {
    let text = PINNED.replace("- wipe: {for: 1s}", "- clock: {nodes: [one, minority], offset: [-20ms, 15ms], for: 1s, quiet: 1ms}\n    - leave: {nodes: one, join: [kept, empty], for: 1s}");
    let campaign = parse("pinned.yaml", &text).expect("a right campaign");
    let mut behind = 0;
    for seed in 0..SEEDS {
        let plan = make_plan(&campaign, seed);
        assert_rules(&campaign, &plan);
        for clock in plan.faults.iter().filter_map(|planned| match &planned.fault {
            Fault::Clock { clocks } => Some(clocks),
            _ => None,
        }) {
            assert!(clock.iter().all(|clock| clock.offset_ns.abs() >= CLOCK_SKEW_MIN_NS), "seed {seed}: {clock:?}");
            behind += clock.iter().filter(|clock| clock.offset_ns < 0).count();
        }
    }
    assert!(behind > 0);
}

#[test]
fn a_phase_just_long_enough_holds_what_every_plan_has() {
    for mut campaign in shipped() {
        let Some(schedule) = &campaign.faults else { continue };
        campaign.phases.faults_ms = schedule.required_ms();
        for seed in 0..20 {
            assert_rules(&campaign, &make_plan(&campaign, seed));
        }
    }
}

#[test]
fn an_hour_of_short_faults_is_bounded() {
    let text = PINNED.replace("faults: 30s", "faults: 1h").replace("between: [1s, 2s]", "between: 100ms");
    let text = text.replace("for: 1s}\n    - wipe", "for: 100ms, weight: 1000}\n    - wipe");
    let campaign = parse("pinned.yaml", &text).expect("a right campaign");
    let schedule = campaign.faults.as_ref().expect("it has faults");
    assert_eq!(draw_faults(schedule, &campaign.phases, 5, 1).len(), FAULTS_MAX);
}

#[test]
fn a_saved_plan_is_the_same_when_loaded() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("plan.yaml");
    for campaign in shipped() {
        let plan = make_plan(&campaign, 1);
        plan.save(&path).expect("it is written");
        assert_eq!(Plan::load(&path).expect("it is read"), plan);
    }
    let plan = make_plan(&load("ten-thousand").expect("it ships"), 1);
    plan.save(&path).expect("it is written");
    assert_eq!(Plan::load(&path).expect("it is read"), plan);
    let text = std::fs::read_to_string(&path).expect("it is there");
    assert!(text.starts_with("format: 1\ncampaign: ten-thousand\nseed: 1\n"), "{}", &text[..200]);
}

fn small_plan() -> Plan {
    make_plan(&parse("pinned.yaml", PINNED).expect("a right campaign"), 1)
}

fn problems(change: impl Fn(&mut Plan)) -> Vec<String> {
    let mut plan = small_plan();
    assert!(plan.validate().is_empty());
    change(&mut plan);
    plan.validate()
}

#[track_caller]
fn assert_problem(change: impl Fn(&mut Plan), part: &str) {
    let problems = problems(change);
    assert!(problems.iter().any(|problem| problem.contains(part)), "no `{part}` in {problems:#?}");
}

fn fault(id: &str, at_ms: u64, fault: Fault) -> PlannedFault {
    PlannedFault { id: id.into(), at_ms, duration_ms: 2_000, fault }
}

fn crash(nodes: &[u16]) -> Fault {
    Fault::Crash { nodes: nodes.iter().copied().map(NodeId).collect() }
}

#[test]
fn plans_that_cannot_be_executed_say_why() {
    let node = |number| Endpoint::Node(NodeId(number));
    let halves = |blocked: &[(Endpoint, Endpoint)]| Fault::Partition {
        shape: PartitionShape::Halves,
        blocked: blocked.to_vec(),
    };
    let set = |faults: &[PlannedFault]| {
        let faults = faults.to_vec();
        move |plan: &mut Plan| plan.faults = faults.clone()
    };
    assert_problem(set(&[fault("f1", 2_000, crash(&[6]))]), "f1 names n6, but the nodes are n1 to n5");
    assert_problem(set(&[fault("f1", 2_000, crash(&[]))]), "f1 names no nodes");
    assert_problem(set(&[fault("f1", 2_000, crash(&[2, 2]))]), "f1 names a node twice");
    assert_problem(
        set(&[fault("f1", 2_000, crash(&[1, 2])), fault("f2", 3_000, crash(&[2, 3]))]),
        "f1 (crash n1 n2) and f2 (crash n2 n3) overlap and both take n2",
    );
    assert_problem(
        set(&[fault("f1", 2_000, crash(&[2])), fault("f2", 3_000, Fault::Pause { nodes: vec![NodeId(2)] })]),
        "f1 (crash n2) and f2 (pause n2) overlap and both take n2",
    );
    assert_problem(
        set(&[fault("f1", 2_000, Fault::Wipe { node: NodeId(1) }), fault("f2", 3_000, crash(&[2]))]),
        "f1 (wipe n1) and f2 (crash n2) overlap: while a node without a disk",
    );
    assert_problem(
        set(&[
            fault("f1", 2_000, halves(&[(node(1), node(2))])),
            fault("f2", 3_000, halves(&[(node(2), node(1)), (node(1), node(2))])),
        ]),
        "both block n1 -> n2",
    );
    assert_problem(set(&[fault("f1", 2_000, halves(&[]))]), "f1 blocks no pair");
    assert_problem(set(&[fault("f1", 2_000, halves(&[(node(1), node(1))]))]), "f1 blocks n1 from itself");
    assert_problem(set(&[fault("f1", 2_000, halves(&[(node(1), node(9))]))]), "f1 names n9");
    let leave = |nodes: &[u16], join| Fault::Leave { nodes: nodes.iter().copied().map(NodeId).collect(), join };
    assert_problem(set(&[fault("f1", 2_000, leave(&[], Disk::Kept))]), "f1 names no nodes");
    assert_problem(set(&[fault("f1", 2_000, leave(&[1, 2], Disk::Empty))]), "f1 empties several disks at once");
    assert_problem(
        set(&[fault("f1", 2_000, leave(&[1], Disk::Empty)), fault("f2", 3_000, crash(&[2]))]),
        "f1 (leave n1) and f2 (crash n2) overlap: while a node without a disk",
    );
    let clock = |clocks: &[(u16, i64, i64)]| Fault::Clock {
        clocks: clocks
            .iter()
            .map(|&(node, offset_ns, drift_ppb)| ClockSkew { node: NodeId(node), offset_ns, drift_ppb })
            .collect(),
    };
    assert_problem(set(&[fault("f1", 2_000, clock(&[]))]), "f1 names no nodes");
    assert_problem(set(&[fault("f1", 2_000, clock(&[(7, 1 << 30, 0)]))]), "f1 names n7");
    assert_problem(set(&[fault("f1", 2_000, clock(&[(1, 1 << 30, 0), (1, 1 << 30, 0)]))]), "f1 names a node twice");
    assert_problem(set(&[fault("f1", 2_000, clock(&[(1, i64::MIN, 0)]))]), "at most 3600000000000 (an hour)");
    assert_problem(set(&[fault("f1", 2_000, clock(&[(1, 1 << 30, i64::MAX)]))]), "at most 100000000, either way");
    assert_problem(set(&[fault("f1", 2_000, clock(&[(1, 9_000_000, -4_000)]))]), "within 10 ms of the truth");
    assert!(problems(set(&[fault("f1", 2_000, clock(&[(1, 0, 5_000_000)]))])).is_empty(), "2 s drift 10 ms away");
    assert_problem(set(&[fault("f1", 500, crash(&[1]))]), "outside of the fault phase from 1000 to 31000 ms");
    assert_problem(set(&[fault("f1", 30_000, crash(&[1]))]), "outside of the fault phase");
    assert_problem(set(&[fault("f1", u64::MAX, crash(&[1]))]), "outside of the fault phase");
    assert_problem(set(&[fault("f1", 9_000, crash(&[1])), fault("f2", 2_000, crash(&[1]))]), "sort them by at_ms");
    assert_problem(
        set(&[fault("f1", 2_000, crash(&[1])), fault("f1", 9_000, crash(&[1]))]),
        "two faults are called f1",
    );
    assert_problem(set(&[fault("../f", 2_000, crash(&[1]))]), "`../f` is no name");
    let cut = |nodes: &[u16], hold_ms| Fault::PowerCut {
        nodes: nodes.iter().copied().map(NodeId).collect(),
        hold_ms,
        torn: true,
        seed: 1,
    };
    let slow = |sync_ms| Fault::SlowDisk { nodes: vec![NodeId(3)], sync_ms };
    assert_problem(set(&[fault("f1", 2_000, cut(&[9], 30))]), "f1 names n9");
    assert_problem(set(&[fault("f1", 2_000, cut(&[], 30))]), "f1 names no nodes");
    assert_problem(set(&[fault("f1", 2_000, cut(&[1], 1_001))]), "f1 holds syncs for 1001 ms: hold_ms is at most 1000");
    assert_problem(set(&[fault("f1", 2_000, slow(0))]), "f1 has sync_ms 0: it is 1 to 1000");
    assert_problem(
        set(&[fault("f1", 2_000, slow(5)), fault("f2", 3_000, cut(&[2, 3], 30))]),
        "f1 (slow-disk n3) and f2 (power-cut n2 n3) overlap and both take n3",
    );
    assert_problem(
        set(&[fault("f1", 2_000, Fault::FailingDisk { nodes: vec![NodeId(1), NodeId(1)] })]),
        "f1 names a node twice",
    );
    assert_problem(|plan| plan.campaign = "../../etc".into(), "`../../etc` is no campaign name");
    assert_problem(|plan| plan.cluster.members = vec![NodeId(2)], "cluster.members has to be 1, 2, 3");
    assert_problem(|plan| plan.cluster.replication = 9, "the nodes would refuse the cluster: replication is 9");
    assert_problem(|plan| plan.cluster.replication = 1, "write_level 2 needs 2 replicas, but the replication is 1");
    assert_problem(|plan| plan.phases.healed_ms = 4_000_000, "phases.healed_ms 4000000 is longer than an hour");
    assert_problem(
        |plan| {
            plan.expect.insert("bank".into(), hearsay_workloads::Expectation::Holds);
        },
        "has no checker `bank`; allowed: monotonic-reads",
    );
    assert_problem(|plan| plan.operations.clear(), "0 operations");
    assert_problem(|plan| plan.operations.swap(0, 20), "sort operations by client, then time");
    assert_problem(|plan| plan.operations[0].node = NodeId(6), "the nodes are n1 to n5");
    assert_problem(|plan| plan.operations[0].client = 3, "the clients are c0 to c2");
    assert_problem(|plan| plan.operations[0].at_ms = 32_000, "the load ends at 32000 ms");
    assert_problem(
        |plan| {
            for operation in &mut plan.operations[..2] {
                operation.action = Action::Write { key: "k0".into(), value: 1_000_000 };
            }
        },
        "write the same value",
    );
    let many = problems(|plan| plan.operations.iter_mut().for_each(|operation| operation.client = 77));
    assert!(many.len() == 21 && many[20].starts_with("and "), "{many:#?}");
    assert!(problems(set(&[])).is_empty(), "a plan without faults is one");
}

#[test]
fn files_that_are_no_plans_say_why() {
    let path = Path::new("some/plan.yaml");
    let text = small_plan().to_yaml();
    let error = |text: &str| Plan::from_yaml(path, text).expect_err("it is refused").to_string();
    let newer = error(&text.replace("format: 1\n", "format: 2\nshiny: new\n"));
    assert!(
        newer.starts_with("the plan some/plan.yaml has format 2, this version reads format 1\n  mend: "),
        "{newer}"
    );
    let newer = error(&text.replace("format: 1\n", "format: 2\n"));
    assert!(newer.contains("has format 2"), "{newer}");
    let unknown = error(&text.replace("seed: 1\n", "seed: 1\nsneed: 2\n"));
    assert!(unknown.contains("some/plan.yaml") && unknown.contains("sneed") && unknown.contains("line 4"), "{unknown}");
    let bad = error(&text.replacen(" read k", " peek k", 1));
    assert!(bad.contains("peek") && bad.contains("allowed: `read KEY`") && bad.contains("line "), "{bad}");
    let bad = error(&text.replacen(" -> ", " > ", 1));
    assert!(bad.contains("allowed: SOURCE -> DESTINATION"), "{bad}");
    let impossible = error(&text.replace("replication: 3", "replication: 7"));
    assert!(
        impossible.contains("can't be executed:\n  - the nodes would refuse the cluster: replication is 7"),
        "{impossible}"
    );
    assert!(error("").contains("can't be understood"));
    assert!(error("- 1\n").contains("can't be understood"));
    let missing = Plan::load(Path::new("/no/such/plan.yaml")).expect_err("it is not there").to_string();
    assert!(missing.contains("/no/such/plan.yaml can't be read") && missing.contains("mend:"), "{missing}");
}

fn arbitrary_action() -> impl Strategy<Value = Action> {
    let key = "[a-zA-Z0-9_.:/-]{1,20}";
    prop_oneof![
        key.prop_map(|key| Action::Read { key }),
        key.prop_map(|key| Action::Delete { key }),
        (key, any::<u64>()).prop_map(|(key, value)| Action::Write { key, value }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn operations_survive_their_text(at_ms: u64, client: u32, node in 1..=u16::MAX, action in arbitrary_action()) {
        let operation = PlannedOperation { at_ms, client, node: NodeId(node), action };
        prop_assert_eq!(String::from(operation.clone()).parse::<PlannedOperation>(), Ok(operation));
    }

    #[test]
    fn any_text_is_the_operation_it_shows_or_an_error(text in "([0-9+]{1,3} )?(c[0-9]{1,2} )?(n[0-9]{1,2} )?(read|write|delete|dance)? ?k?[0-9= -]{0,5}") {
        match text.parse::<PlannedOperation>() {
            Ok(operation) => prop_assert_eq!(operation.to_string(), text),
            Err(message) => prop_assert!(message.contains("allowed: "), "{}", message),
        }
    }
}

#[test]
fn texts_of_operations() {
    let parse = |text: &str| text.parse::<PlannedOperation>();
    let write = parse("1203 c4 n2 write k7=311").expect("an operation");
    let action = Action::Write { key: "k7".into(), value: 311 };
    assert_eq!(write, PlannedOperation { at_ms: 1203, client: 4, node: NodeId(2), action });
    for (text, part) in [
        ("", "is no operation"),
        ("1203 c4 n2", "is no operation"),
        ("1203 4 n2 read k7", "is no operation"),
        ("1203 c4 x2 read k7", "is no operation"),
        ("-1 c4 n2 read k7", "is no operation"),
        ("+1 c4 n2 read k7", "is no operation"),
        ("1 c4 n65536 read k7", "is no operation"),
        ("1 c4 n2 peek k7", "is no action"),
        ("1 c4 n2 write k7", "is no action"),
        ("1 c4 n2 write k7=", "is no value"),
        ("1 c4 n2 write k7=-3", "is no value"),
        ("1 c4 n2 write k7=18446744073709551616", "is no value"),
        ("1 c4 n2 write =3", "is no key"),
        ("1 c4 n2 read k 7", "is no key"),
    ] {
        let message = parse(text).expect_err(text);
        assert!(message.contains(part) && message.contains("allowed: "), "{text}: {message}");
    }
}

#[test]
fn a_planted_bug_is_part_of_the_plan_and_must_be_one_this_build_has() {
    let mut plan = make_plan(&load("quickstart").expect("it ships"), 1);
    assert!(!plan.to_yaml().contains("planted"), "a plan without a bug says nothing about bugs");
    plan.planted = Some("no-such-bug".to_owned());
    let problems = plan.validate();
    assert!(problems.len() == 1 && problems[0].contains("--features planted-bugs"), "{problems:?}");
    plan.planted = Some("oldest-wins".to_owned());
    assert_eq!(plan.validate().is_empty(), cfg!(feature = "planted-bugs"));
    let yaml = plan.to_yaml();
    assert_eq!(
        Plan::from_yaml(Path::new("p.yaml"), &yaml).is_ok_and(|read| read == plan),
        cfg!(feature = "planted-bugs")
    );
}
