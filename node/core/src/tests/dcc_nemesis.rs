//! Random faults and clients with contexts against clusters of the policy `dcc`, over many seeds.
//!
//! Judged: a read finds every value that was acknowledged before the read began, unless some write that had seen it was begun; in
//! the end so do all replicas, and no value is there that an acknowledged write had seen.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::cluster::{TestCluster, config, key};
use crate::rng::sub_stream;
use crate::table::record_digest;
use crate::*;

const KEYS: usize = 4;
const STEPS: usize = 800;

struct Write {
    key: usize,
    deletes: bool,
    seen: BTreeSet<usize>,
    acknowledged: bool,
    refused: bool,
}

enum InFlight {
    Write(usize),
    /// The key, and what had to be found when the read began.
    Read(usize, BTreeSet<usize>),
}

#[derive(Default)]
struct Run {
    writes: Vec<Write>,
    /// Per key, the last context read, and the values that it has seen.
    contexts: [(Vec<u8>, BTreeSet<usize>); KEYS],
    reads: usize,
    siblings: usize,
    wipes: usize,
}

impl Run {
    /// Values of the key that were acknowledged and that nobody may have overwritten.
    fn must_be_there(&self, which: usize) -> BTreeSet<usize> {
        let begun = self.writes.iter().filter(|write| !write.refused);
        let overwritten: BTreeSet<usize> = begun.flat_map(|write| write.seen.iter().copied()).collect();
        let there = |(index, write): &(usize, &Write)| {
            write.key == which && write.acknowledged && !write.deletes && !overwritten.contains(index)
        };
        self.writes.iter().enumerate().filter(there).map(|(index, _)| index).collect()
    }

    fn may_not_be_there(&self, which: usize) -> BTreeSet<usize> {
        let acknowledged = self.writes.iter().filter(|write| write.key == which && write.acknowledged);
        acknowledged.flat_map(|write| write.seen.iter().copied()).collect()
    }
}

fn index_of(value: &Value) -> usize {
    core::str::from_utf8(&value.0).expect("a number").parse().expect("a number")
}

fn run(config: ClusterConfig, seed: u64) -> Result<Run, String> {
    let mut seed_bytes = [2; 32];
    seed_bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let mut rng = sub_stream(&seed_bytes, "nemesis");
    let mut cluster = TestCluster::ready(config, seed);
    let members = cluster.members();
    for node in &members {
        cluster.set_skew_ms(*node, rng.random_range(-5_000..5_000));
    }
    let keys: Vec<Key> = (0..KEYS).map(|i| key(&format!("k{i}"))).collect();
    let mut in_flight: BTreeMap<RequestId, InFlight> = BTreeMap::new();
    let mut run = Run::default();

    for _ in 0..STEPS {
        let node = *members.choose(&mut rng).expect("members");
        match rng.random_range(0..1_000) {
            0..10 => {
                let mut side = members.clone();
                side.retain(|_| rng.random_bool(0.4));
                cluster.partition(&side);
            }
            10..30 => cluster.heal(),
            30..40 => {
                let all_ready = members.iter().all(|node| cluster.is_ready(*node));
                cluster.crash(node);
                if all_ready && rng.random_bool(0.5) {
                    cluster.wipe(node);
                    run.wipes += 1;
                }
            }
            40..80 if !cluster.is_up(node) => cluster.start(node),
            _ if cluster.is_up(node) => {
                let which = rng.random_range(0..KEYS);
                let (key, level) = (keys[which].clone(), Level::Quorum);
                if rng.random_bool(0.5) {
                    let id = cluster.request(node, ClientRequest::Get { key, level });
                    in_flight.insert(id, InFlight::Read(which, run.must_be_there(which)));
                } else {
                    let deletes = rng.random_bool(0.2);
                    let (context, seen) =
                        if deletes || rng.random_bool(0.6) { run.contexts[which].clone() } else { Default::default() };
                    // A delete that has seen nothing would remove whatever its coordinator knows.
                    let deletes = deletes && !context.is_empty();
                    let index = run.writes.len();
                    let value = (!deletes).then(|| Value(index.to_string().into_bytes()));
                    run.writes.push(Write { key: which, deletes, seen, acknowledged: false, refused: false });
                    let id = cluster.request(node, ClientRequest::Write { key, value, level, context });
                    in_flight.insert(id, InFlight::Write(index));
                }
            }
            _ => {}
        }
        cluster.run_ms(rng.random_range(1..25));
        let mut error = None;
        in_flight.retain(|id, request| {
            let Some(response) = cluster.replies.get(id) else { return true };
            match (request, response) {
                (InFlight::Write(index), ClientResponse::Written { .. }) => run.writes[*index].acknowledged = true,
                (InFlight::Write(index), ClientResponse::Failed(error)) => {
                    run.writes[*index].refused = error.kind.is_definite();
                }
                (InFlight::Read(which, must), ClientResponse::Siblings { values, context }) => {
                    run.reads += 1;
                    run.siblings = run.siblings.max(values.len());
                    let found: BTreeSet<usize> = values.iter().map(index_of).collect();
                    let begun = run.writes.iter().filter(|write| !write.refused);
                    let overwritten: BTreeSet<usize> = begun.flat_map(|write| write.seen.iter().copied()).collect();
                    if let Some(lost) = must.iter().find(|index| !found.contains(index) && !overwritten.contains(index))
                    {
                        error = Some(format!("a read of k{which} did not find write {lost}, found {found:?}"));
                    }
                    run.contexts[*which] = (context.clone(), found);
                }
                (_, ClientResponse::Failed(_)) => {}
                (_, other) => panic!("seed {seed}: {other:?}"),
            }
            false
        });
        error.map_or(Ok(()), Err)?;
    }
    cluster.heal();
    for node in &members {
        if !cluster.is_up(*node) {
            cluster.start(*node);
        }
    }
    cluster.run_until("every node is ready", 30_000, |c| members.iter().all(|node| c.is_ready(*node)));
    let digest = |cluster: &TestCluster, node, key: &Key| record_digest(key, cluster.container(node, key).as_ref());
    cluster.run_until("all replicas agree", 60_000, |cluster| {
        keys.iter().all(|key| {
            let replicas = cluster.replicas(key);
            replicas.iter().all(|node| digest(cluster, *node, key) == digest(cluster, replicas[0], key))
        })
    });
    cluster.run_until("all logs are empty", 60_000, |cluster| {
        members.iter().all(|node| cluster.causal_store(*node).is_some_and(|store| store.log().is_empty()))
    });
    for (which, key) in keys.iter().enumerate() {
        let container = cluster.container(cluster.replicas(key)[0], key).expect("it runs");
        let found: BTreeSet<usize> = container.values().iter().map(|(_, value)| index_of(value)).collect();
        if let Some(lost) = run.must_be_there(which).difference(&found).next() {
            return Err(format!("write {lost} of k{which} is gone"));
        }
        if let Some(back) = run.may_not_be_there(which).intersection(&found).next() {
            return Err(format!("write {back} of k{which} is there, and was overwritten"));
        }
    }
    Ok(run)
}

fn dcc(members: u16) -> ClusterConfig {
    ClusterConfig { conflict: Conflict::Dcc, exchange_interval_ms: 100, ..config(members, 3) }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_overwritten_returns() {
    let (mut reads, mut wipes, mut siblings, mut acknowledged) = (0, 0, 0, 0);
    for members in [3, 5] {
        for seed in 0..4 {
            let run = run(dcc(members), seed).unwrap_or_else(|error| panic!("{members} members, seed {seed}: {error}"));
            reads += run.reads;
            wipes += run.wipes;
            siblings = siblings.max(run.siblings);
            acknowledged += run.writes.iter().filter(|write| write.acknowledged).count();
        }
    }
    assert!(reads > 400 && acknowledged > 400, "{reads} reads, {acknowledged} acknowledged writes");
    assert!(wipes > 2 && siblings > 2, "{wipes} wipes, {siblings} siblings");
}

#[test]
fn without_merkle_sessions_and_with_a_small_log_it_holds_as_well() {
    for seed in 0..3 {
        let config = ClusterConfig { merkle_interval_ms: 0, dot_log_max: 20, ..dcc(5) };
        run(config, seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
}
