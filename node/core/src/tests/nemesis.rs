//! Random faults and concurrent clients against simulated clusters, over many seeds. Each failure names its seed.
//!
//! Judged in real time: a read that begins after another answer left must not return anything older than that answer
//! stated (monotonic quorum reads, and no acknowledged write lost from sight). Stamps order versions.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::cluster::{TestCluster, config, key};
use crate::rng::sub_stream;
use crate::*;

const KEYS: usize = 4;
const STEPS: usize = 1_500;

/// What a run found.
#[derive(Default)]
struct Findings {
    violations: Vec<String>,
    reads: u64,
    writes: u64,
    indeterminate: u64,
    repairs_waited_for: u64,
    wipes: u64,
    own_pauses: u64,
}

struct InFlight {
    key: usize,
    /// The newest stamp stated by an answer before this request began.
    floor: u64,
    begun_at_step: usize,
}

/// Runs clients and faults for a while, heals, and waits until all replicas agree.
fn run(config: ClusterConfig, seed: u64) -> Findings {
    let mut seed_bytes = [1; 32];
    seed_bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let mut rng = sub_stream(&seed_bytes, "nemesis");
    let mut cluster = TestCluster::ready(config, seed);
    let members = cluster.members();
    for node in &members {
        cluster.set_skew_ms(*node, rng.random_range(-50..50));
    }
    let keys: Vec<Key> = (0..KEYS).map(|i| key(&format!("k{i}"))).collect();
    let mut floors = [0u64; KEYS];
    let mut in_flight: BTreeMap<RequestId, InFlight> = BTreeMap::new();
    let mut findings = Findings::default();

    for step in 0..STEPS {
        match rng.random_range(0..1_000) {
            0..8 => {
                let mut side = members.clone();
                side.retain(|_| rng.random_bool(0.4));
                cluster.partition(&side);
            }
            8..11 => {
                let (a, b) = (members.choose(&mut rng).expect("members"), members.choose(&mut rng).expect("members"));
                if a != b {
                    cluster.cut(*a, *b);
                }
            }
            11..25 => cluster.heal(),
            25..32 => {
                let node = *members.choose(&mut rng).expect("members");
                // One lost disk at a time is what the replication can bear.
                let all_ready = members.iter().all(|node| cluster.is_ready(*node));
                cluster.crash(node);
                if all_ready && rng.random_bool(0.5) {
                    cluster.wipe(node);
                    findings.wipes += 1;
                }
            }
            32..38 => cluster.pause(*members.choose(&mut rng).expect("members")),
            38..48 => members.iter().for_each(|node| cluster.resume(*node)),
            48..70 => {
                if let Some(node) = members.iter().find(|node| !cluster.is_up(**node)) {
                    cluster.start(*node);
                }
            }
            _ => {
                let node = *members.choose(&mut rng).expect("members");
                let which = rng.random_range(0..KEYS);
                let (key, level) = (keys[which].clone(), Level::Quorum);
                let request = match rng.random_range(0..10) {
                    0..4 => {
                        let value = Value(format!("{seed} {step}").into_bytes());
                        ClientRequest::Put { key, value, level }
                    }
                    4 => ClientRequest::Delete { key, level },
                    _ => ClientRequest::Get { key, level },
                };
                if cluster.is_up(node) && !cluster.is_paused(node) {
                    let id = cluster.request(node, request);
                    in_flight.insert(id, InFlight { key: which, floor: floors[which], begun_at_step: step });
                }
            }
        }
        cluster.run_ms(rng.random_range(1..25));
        in_flight.retain(|id, request| {
            let stated = match cluster.replies.get(id) {
                None => return true,
                Some(ClientResponse::Written { stamp }) => {
                    findings.writes += 1;
                    Some(stamp.0)
                }
                Some(ClientResponse::Read { stamp, .. }) => {
                    findings.reads += 1;
                    let stamp = stamp.map_or(0, |stamp| stamp.0);
                    if stamp < request.floor {
                        findings.violations.push(format!(
                            "seed {seed}: a read of k{} begun at step {} returned {} ms less than was stated before",
                            request.key,
                            request.begun_at_step,
                            (request.floor - stamp) / 1_000_000
                        ));
                    }
                    Some(stamp)
                }
                Some(ClientResponse::Failed(error)) => {
                    findings.indeterminate += u64::from(!error.kind.is_definite());
                    None
                }
                Some(other) => panic!("seed {seed}: {other:?}"),
            };
            if let Some(stamp) = stated {
                floors[request.key] = floors[request.key].max(stamp);
            }
            false
        });
    }

    for node in &members {
        if cluster.is_up(*node) {
            findings.repairs_waited_for += cluster.counter(*node, "read_repairs_blocking");
            findings.own_pauses += cluster.counter(*node, "own_pauses");
        }
    }
    cluster.heal();
    for node in &members {
        cluster.resume(*node);
        if !cluster.is_up(*node) {
            cluster.start(*node);
        }
    }
    cluster.run_until("every node is ready", 30_000, |c| members.iter().all(|node| c.is_ready(*node)));
    cluster.run_until("all replicas agree", 60_000, |cluster| {
        keys.iter().all(|key| {
            let replicas = cluster.replicas(key);
            replicas.iter().all(|node| cluster.stored(*node, key) == cluster.stored(replicas[0], key))
        })
    });
    for (which, key) in keys.iter().enumerate() {
        let replica = cluster.replicas(key)[0];
        let stamp = cluster.stored(replica, key).map_or(0, |version| version.stamp.0);
        if stamp < floors[which] {
            findings.violations.push(format!("seed {seed}: k{which} lost what was stated to a client"));
        }
    }
    findings
}

fn run_seeds(config: &ClusterConfig, seeds: core::ops::Range<u64>) -> Findings {
    let mut total = Findings::default();
    for seed in seeds {
        let findings = run(config.clone(), seed);
        total.violations.extend(findings.violations);
        total.reads += findings.reads;
        total.writes += findings.writes;
        total.indeterminate += findings.indeterminate;
        total.repairs_waited_for += findings.repairs_waited_for;
        total.wipes += findings.wipes;
        total.own_pauses += findings.own_pauses;
    }
    total
}

/// That a run of seeds was worth something.
fn assert_evidence(findings: &Findings) {
    assert!(findings.reads > 1_000 && findings.writes > 500, "{} reads, {} writes", findings.reads, findings.writes);
    assert!(findings.indeterminate > 20, "only {} indeterminate", findings.indeterminate);
    assert!(findings.own_pauses > 5, "only {} pauses", findings.own_pauses);
    assert!(findings.wipes > 5, "only {} wipes", findings.wipes);
}

#[test]
fn quorum_reads_are_monotonic_and_nothing_acknowledged_is_lost_with_blocking_repair() {
    for members in [3, 5] {
        let findings = run_seeds(&config(members, 3), 0..12);
        assert!(findings.violations.is_empty(), "{members} members:\n{}", findings.violations.join("\n"));
        assert_evidence(&findings);
        assert!(findings.repairs_waited_for > 5, "only {} repairs", findings.repairs_waited_for);
    }
}

#[test]
fn without_repair_the_same_faults_break_monotonic_reads() {
    // Anti-entropy is rare, else it would repair what reads do not.
    let config = ClusterConfig { read_repair: ReadRepair::None, merkle_interval_ms: 5_000, ..config(3, 3) };
    let findings = run_seeds(&config, 0..12);
    assert!(!findings.violations.is_empty(), "the judge of the other test would not notice");
    assert_evidence(&findings);
}

#[test]
fn hints_and_suspicion_weaken_nothing() {
    let config =
        ClusterConfig { hints: Hints::Coordinator, detection: Detection::Phi, phi_threshold: 3, ..config(5, 3) };
    let findings = run_seeds(&config, 0..10);
    assert!(findings.violations.is_empty(), "{}", findings.violations.join("\n"));
    assert_evidence(&findings);
}

#[test]
fn with_sloppy_quorums_reads_may_go_back_but_nothing_acknowledged_is_lost() {
    let config = ClusterConfig { sloppy: true, hints: Hints::Coordinator, ..config(6, 3) };
    let findings = run_seeds(&config, 0..10);
    let lost: Vec<String> = findings.violations.iter().filter(|found| found.contains("lost")).cloned().collect();
    assert!(lost.is_empty(), "{}", lost.join("\n"));
    assert_evidence(&findings);
}
