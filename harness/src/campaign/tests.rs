//! Golden messages: what a user reads for each mistake. The file is always the base below with one or two edits.

use hearsay_workloads::{Expectation, Level, WorkloadSpec};

use super::*;
use crate::plan::PartitionShape;

const BASE: &str = "\
campaign: base
about: the base of the golden messages
cluster:
  nodes: 5
  replication: 3
workload:
  register:
    keys: 10
    clients: 4
    rate: 100
    mix: {read: 5, write: 5}
    read_level: quorum
    write_level: quorum
phases:
  warmup: 1s
  faults: 30s
  healed: 1s
faults:
  between: [1s, 2s]
  kinds:
    - partition:
        shapes: [halves, bridge]
        for: [2s, 3s]
    - crash:
        nodes: [one, majority]
        for: 2s
    - wipe:
        for: 2s
expect:
  convergence: holds
  monotonic-reads: violated
";

/// The message for the base with every `from` replaced by its `to`.
#[track_caller]
fn message(edits: &[(&str, &str)]) -> String {
    let mut text = BASE.to_owned();
    for (from, to) in edits {
        assert_eq!(text.matches(from).count(), 1, "`{from}` has to be in the base once");
        text = text.replacen(from, to, 1);
    }
    match parse("my.yaml", &text) {
        Ok(campaign) => panic!("it is taken for right: {campaign:#?}"),
        Err(mistakes) => mistakes.to_string(),
    }
}

/// The messages of all cases against `golden.txt`. `UPDATE_GOLDEN=1 cargo test -p hearsay golden` writes it anew: read the
/// difference before it is committed.
#[test]
fn golden_messages() {
    let mut all = String::new();
    for edits in CASES {
        for (from, to) in *edits {
            let to = if to.is_empty() { "nothing" } else { to };
            all.push_str(&format!("# {} => {}\n", from.trim().replace('\n', "\\n"), to.trim().replace('\n', "\\n")));
        }
        all.push_str(&format!("{}\n\n", message(edits)));
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/campaign/golden.txt");
        std::fs::write(path, &all).expect("the golden file is written");
    }
    for (found, golden) in all.split("\n\n").zip(include_str!("golden.txt").split("\n\n")) {
        assert_eq!(found, golden, "\n{found}\n\n instead of \n\n{golden}\n");
    }
    assert_eq!(all.lines().count(), include_str!("golden.txt").lines().count(), "a case is missing in golden.txt");
}

const CASES: &[&[(&str, &str)]] = &[
    &[("nodes: 5", "nodes: 2000")],
    &[("nodes: 5", "nodes: 10001")],
    &[("replication: 3", "replicaton: 3")],
    &[("replication: 3", "replication: three")],
    &[("replication: 3", "replication: 6")],
    &[("replication: 3", "replication: 2"), ("write_level: quorum", "write_level: three")],
    &[("read_level: quorum", "read_level: 4")],
    &[("read_level: quorum", "read_level: qurom")],
    &[("nodes: 5", "nodes: 1"), ("replication: 3", "replication: 1")],
    &[("nodes: 5", "nodes: 2"), ("replication: 3", "replication: 2")],
    &[("    - wipe:", "    - earthquake:")],
    &[("    - wipe:\n        for: 2s\n", "    - wipe\n")],
    &[("bridge", "brigde")],
    &[("bridge", "halves")],
    &[("[one, majority]", "6")],
    &[("[one, majority]", "0")],
    &[("[one, majority]", "[]")],
    &[("  convergence: holds", "  bank: holds")],
    &[("  convergence: holds", "  convergence: yes")],
    &[("rate: 100", "rate: 0")],
    &[("keys: 10", "keys: 0"), ("clients: 4", "clients: 0")],
    &[("rate: 100", "rate: 1000000")],
    &[("{read: 5, write: 5}", "{read: 0}")],
    &[("warmup: 1s", "warmup: 61m")],
    &[("warmup: 1s", "warmup: 1")],
    &[("warmup: 1s", "warmup: 1.5s")],
    &[("faults: 30s", "faults: 10s")],
    &[("[1s, 2s]", "[2s, 1s]")],
    &[("[1s, 2s]", "[1s]")],
    &[("        for: [2s, 3s]\n", "")],
    &[("campaign: base", "campaign: ../base")],
    &[("campaign: base\n", "")],
    &[("  warmup: 1s", "   warmup: 1s")],
    &[("campaign: base", "campaign: base\ncampaign: two")],
    &[("  nodes: 5", "  nodes: 5\n  heartbeat_interval: 2s")],
    &[("  nodes: 5", "  nodes: 5\n  tombstone_grace: 500ms")],
    &[("  register:", "  registers:")],
    &[("    keys: 10", "    sticky: 5\n    keys: 10")],
    &[
        ("        for: [2s, 3s]", "        for: 100ms\n        at_least: 1000"),
        ("        nodes: [one, majority]", "        nodes: one\n        at_least: 1000"),
    ],
    &[("        for: [2s, 3s]", "        for: 100ms\n        at_least: 1001")],
    // Bad links.
    &[("    - wipe:\n        for: 2s\n", "    - links: {for: 5s}\n")],
    &[(
        "    - wipe:\n        for: 2s\n",
        "    - links: {latency: 5ms, loss: 60%, bandwidth: 10MB/s, between: node, for: 5s}\n",
    )],
    &[(
        "    - wipe:\n        for: 2s\n",
        "    - links: {latency: 2s, loss: 1, distribution: gauss, between: [nodes, nodes], weight: 2}\n",
    )],
    &[("    - wipe:\n        for: 2s\n", "    - links: {reorder: 5%, loss: 1%, for: 5s}\n")],
    &[("    - wipe:\n        for: 2s\n", "    - links: {latency: 5ms, for: 40s}\n")],
    // Several mistakes are told at once.
    &[("about: the base of the golden messages\n", "abuot: 5\n"), ("rate: 100", "rate: fast"), ("halves", "thirds")],
    &[("    - wipe:", "    - slow-disk:\n        nodes: one\n        sync: 2s")],
    &[("    - wipe:", "    - power-cut:")],
    &[("    - wipe:", "    - failing-disk:\n        nodes: 6")],
    // A list where a map belongs, and nothing at all.
    &[("  nodes: 5\n  replication: 3\n", "  - 5\n")],
    &[("  nodes: 5\n  replication: 3\n", "")],
    &[("  convergence: holds\n  monotonic-reads: violated\n", "")],
    &[("  faults: 30s\n", "")],
    &[(
        "    - crash:\n        nodes: [one, majority]\n        for: 2s\n    - wipe:\n        for: 2s\n",
        "      crash: {nodes: one, for: 2s}\n",
    )],
    &[("        for: [2s, 3s]", "        for: [2s, 3h]")],
    &[("        for: [2s, 3s]", "        for: 50ms")],
    &[("    - wipe:\n        for: 2s\n", "    - wipe: {for: 2s, nodes: all}\n")],
    &[("    - wipe:\n        for: 2s\n", "    - clock: {nodes: one, for: 2s}\n")],
    &[("    - wipe:\n        for: 2s\n", "    - clock: {nodes: one, for: 2s, offset: [2s, -2s], drift: 5}\n")],
    &[("    - wipe:\n        for: 2s\n", "    - clock: {nodes: one, for: 2s, offset: 2h, drift: 500}\n")],
    &[("    - wipe:\n        for: 2s\n", "    - clock: {nodes: one, for: 2s, offset: 61m, drift: [1ppm]}\n")],
    &[("    - wipe:\n        for: 2s\n", "    - clock: {nodes: one, for: 2s, offset: [-9ms, 9ms]}\n")],
    &[("    - wipe:\n        for: 2s\n", "    - leave: {nodes: [one, minority], join: empty, for: 2s}\n")],
    &[("    - wipe:\n        for: 2s\n", "    - leave: {nodes: one, join: [kept, kept], for: 2s}\n")],
    &[("    - wipe:\n        for: 2s\n", "    - leave: {nodes: one, join: full, for: 2s}\n")],
    &[("expect:", "swarm: {nodes: [7, 3], kees: 4}\nexpect:")],
    &[("expect:", "swarm: {nodes: [2, 7]}\nexpect:")],
    &[("replication: 3", "replication: 2"), ("expect:", "swarm: {nodes: [2, 7]}\nexpect:")],
    &[("read_level: quorum", "read_level: two"), ("expect:", "swarm: {replication: [3, 5]}\nexpect:")],
    &[
        ("monotonic-reads: violated", "linearizable: holds"),
        ("expect:", "swarm: {read_repair: [blocking, none]}\nexpect:"),
    ],
    &[("expect:", "swarm: {rate: [100, 900000], merkle_interval: [1s, 2s, 3s]}\nexpect:")],
    &[("expect:", "swarm: {rate: [100, 900000]}\nexpect:")],
    &[("  register:", "  set:"), ("{read: 5, write: 5}", "{update: 5, remove: 5}")],
    &[("  register:", "  counter:"), ("{read: 5, write: 5}", "{add: 5, remove: 5}")],
    &[
        ("replication: 3", "replication: 3\n  conflict: dcc"),
        ("  register:", "  scan:"),
        ("{read: 5, write: 5}", "{scan: 5, write: 5}"),
    ],
    &[("    keys: 10", "    keys: 10\n    hot: {keys: 11, share: 101}\n    value_bytes: 65537")],
];

#[test]
fn a_cluster_without_faults_has_no_phase_for_them() {
    let until = BASE.find("faults:\n").expect("the base has faults");
    let expect = BASE.find("expect:").expect("the base has expectations");
    let text = format!("{}{}", &BASE[..until], &BASE[expect..]);
    let message = parse("my.yaml", &text).expect_err("a phase without faults").to_string();
    assert!(message.starts_with("my.yaml:16:11: there is a phase for faults, but no faults are listed"), "{message}");
    let campaign = parse("my.yaml", &text.replace("  faults: 30s\n", "")).expect("load alone is a campaign");
    assert_eq!((campaign.faults, campaign.phases.faults_ms, campaign.phases.load_ms()), (None, 0, 2_000));
}

#[test]
fn every_workload_has_operations_of_its_own() {
    let workload = |name: &str, edits: &[(&str, &str)]| {
        let mut text = BASE.replace("  register:", &format!("  {name}:")).replace("  monotonic-reads: violated\n", "");
        edits.iter().for_each(|(from, to)| text = text.replace(from, to));
        parse("my.yaml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}")).workload
    };
    let mix = "{read: 5, write: 5}";
    let set = workload("set", &[(mix, "{read: 40, add: 20, update: 40}")]);
    let WorkloadSpec::Set(spec) = &set else { panic!("{set:?}") };
    assert_eq!((spec.load.mix.read, spec.load.mix.write, spec.updates_percent), (40, 60, 66));
    assert!(set.checkers().contains(&"set-full"));
    let removals = workload("set", &[(mix, "{read: 40, add: 20, remove: 40}")]);
    assert_eq!((removals.load().mix.delete, removals.checkers()[0]), (40, "removals"));
    let WorkloadSpec::Counter(counter) = workload("counter", &[(mix, "{update: 40}")]) else { panic!("a counter") };
    assert_eq!((counter.load.mix.write, counter.updates_percent), (40, 100));
    let scan = workload("scan", &[(mix, "{read: 10, scan: 30, write: 40}\n    groups: 7\n    limit: 9")]);
    let WorkloadSpec::Scan(scan) = &scan else { panic!("{scan:?}") };
    assert_eq!((scan.load.mix.read, scan.scans_percent, scan.groups, scan.limit_max), (40, 75, 7, 9));
    let hot = workload("register", &[("keys: 10", "keys: 10\n    hot: {keys: 2, share: 80}\n    value_bytes: 65536")]);
    let hot = hot.load();
    assert_eq!((hot.hot.map(|hot| (hot.keys, hot.share_percent)), hot.value_bytes), (Some((2, 80)), 65_536));
}

#[test]
fn what_is_left_out_has_defaults() {
    let campaign = parse("my.yaml", BASE).expect("the base is right");
    assert_eq!((campaign.name.as_str(), campaign.nodes()), ("base", 5));
    let default = hearsay_core::ClusterConfig::default();
    assert_eq!(campaign.cluster, hearsay_core::ClusterConfig { members: campaign.cluster.members.clone(), ..default });
    let WorkloadSpec::Register(register) = &campaign.workload else { panic!("{:?}", campaign.workload) };
    assert_eq!((register.read_level, register.sticky_clients, register.mix.delete), (Level::Quorum, 0, 0));
    assert_eq!((register.client_timeout_ms, register.overdue_skip_ms), (2_000, 1_000));
    let schedule = campaign.faults.as_ref().expect("the base has faults");
    assert_eq!(schedule.between, Span { min_ms: 1_000, max_ms: 2_000 });
    let kinds: Vec<_> = schedule.kinds.iter().map(|kind| (kind.at_least, kind.weight, kind.quiet_ms)).collect();
    assert_eq!(kinds, [(2, 1, 0), (2, 1, 0), (1, 1, 3_000)]);
    assert_eq!(schedule.kinds[0].variants[1], Variant::Partition(PartitionShape::Bridge));
    assert_eq!(schedule.kinds[1].variants[0], Variant::Crash(Size::Count(1)));
    assert_eq!(campaign.expect["convergence"], Expectation::Holds);
    assert_eq!(campaign.expect["monotonic-reads"], Expectation::Violated);
    assert_eq!(campaign.expect["availability"], Expectation::Any);
    assert_eq!(campaign.expect.len(), campaign.workload.checkers().len());
}

#[test]
fn every_knob_of_the_cluster_can_be_set() {
    let knobs = "  vnodes: 4
  read_repair: async
  request_timeout: 2s
  repair_patience: 100ms
  requests_max: 9
  heartbeat_interval: 1s
  heartbeat_timeout: 3s
  merkle_interval: 0s
  merkle_depth: 3
  merkle_fan_out: 4
  merkle_bytes_per_s: 5000
  exchange_interval: 1s
  dot_log_max: 77
  conflict: lww
  tombstone_grace: 2d
  hints: coordinator
  sloppy: true
  hint_window: 1h
  hints_bytes: 1000
  hint_replay: 50
  speculative_delay: 20ms
  speculative_percentile: 95
  detection: phi
  phi_threshold: 4
  digest_reads: false
";
    let text = BASE.replace("  replication: 3\n", &format!("  replication: 3\n{knobs}"));
    let campaign = parse("my.yaml", &text).expect("it is right");
    let expected = hearsay_core::ClusterConfig {
        members: campaign.cluster.members.clone(),
        replication: 3,
        vnodes: 4,
        read_repair: hearsay_core::ReadRepair::Async,
        request_timeout_ms: 2_000,
        repair_patience_ms: 100,
        requests_max: 9,
        heartbeat_interval_ms: 1_000,
        heartbeat_timeout_ms: 3_000,
        merkle_interval_ms: 0,
        merkle_depth: 3,
        merkle_fan_out: 4,
        merkle_bytes_per_s: 5_000,
        exchange_interval_ms: 1_000,
        dot_log_max: 77,
        conflict: hearsay_core::Conflict::Lww,
        tombstone_grace_ms: 172_800_000,
        hints: hearsay_core::Hints::Coordinator,
        sloppy: true,
        hint_window_ms: 3_600_000,
        hints_bytes_max: 1_000,
        hint_replay_per_s: 50,
        speculative_delay_ms: Some(20),
        speculative_percentile: Some(95),
        detection: hearsay_core::Detection::Phi,
        phi_threshold: 4,
        digest_reads: false,
        dissemination: None,
    };
    assert_eq!(campaign.cluster, expected);
}

#[test]
fn sizes_of_clusters() {
    let sizes = |nodes: u16| [Size::Minority, Size::Majority, Size::All].map(|size| size.of(nodes).ok());
    assert_eq!(sizes(1), [None, None, Some(1)]);
    assert_eq!(sizes(2), [None, None, Some(2)]);
    assert_eq!(sizes(3), [Some(1), Some(2), Some(3)]);
    assert_eq!(sizes(4), [Some(1), Some(3), Some(4)]);
    assert_eq!(sizes(5), [Some(2), Some(3), Some(5)]);
}

#[test]
fn campaigns_are_found_by_name_and_path() {
    assert_eq!(load("quickstart").expect("it ships").name, "quickstart");
    let unknown = load("quickstat").expect_err("no such").to_string();
    assert!(
        unknown.starts_with("there is no campaign `quickstat`\n  allowed: ") && unknown.contains("quickstart, "),
        "{unknown}"
    );
    let missing = load("no/such.yaml").expect_err("no such").to_string();
    assert!(missing.starts_with("the campaign file no/such.yaml can't be read: "), "{missing}");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mine.yaml");
    std::fs::write(&path, BASE).expect("it is written");
    assert_eq!(load(path.to_str().expect("UTF-8")).expect("it is right").name, "base");
    std::fs::write(&path, BASE.replace("nodes: 5", "nodes: -5")).expect("it is written");
    let message = load(path.to_str().expect("UTF-8")).expect_err("it is wrong").to_string();
    assert!(message.contains("mine.yaml:4:10: nodes can't be -5"), "{message}");
    std::fs::write(&path, [0xff, 0xfe, 0x00]).expect("it is written");
    assert!(load(path.to_str().expect("UTF-8")).is_err());
    assert!(load(folder.path().to_str().expect("UTF-8")).is_err(), "a folder is no campaign");
}

#[test]
fn every_key_has_a_meaning_and_stands_once() {
    for (section, keys) in SECTIONS {
        for (position, (key, meaning)) in keys.iter().enumerate() {
            assert!(meaning.len() > 8, "{section}.{key} has no meaning");
            assert!(keys[..position].iter().all(|(other, _)| other != key), "{section}.{key} stands twice");
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Whatever is cut out of or put into a file: mistakes, never a panic.
    #[test]
    fn damaged_files_never_panic(from in 0..BASE.len(), length in 0..40usize, put in "[ -~\n]{0,8}") {
        let until = (from + length).min(BASE.len());
        let text = format!("{}{put}{}", &BASE[..from], &BASE[until..]);
        match parse("my.yaml", &text) {
            Ok(campaign) => drop(crate::plan::make_plan(&campaign, 1)),
            Err(mistakes) => proptest::prop_assert!(mistakes.to_string().starts_with("my.yaml:")),
        }
    }
}
