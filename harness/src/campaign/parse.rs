//! Parse, don't validate: a file becomes a checked [`Campaign`] here, once, with the place of each mistake.

use std::collections::BTreeMap;

use hearsay_core::{ClusterConfig, Conflict, Detection, Hints, NodeId, ReadRepair};
use hearsay_workloads::{Expectation, OPERATIONS_MAX, WorkloadSpec};

use super::keys::{CAMPAIGN_KEYS, CLUSTER_KEYS, PHASES_KEYS};
use super::mistakes::{Mistake, Mistakes, Place};
use super::parse_faults::read_faults;
use super::parse_news::read_dissemination;
use super::parse_ring::check_ring;
use super::parse_swarm::{Around, read_swarm};
use super::parse_workload::read_workload;
use super::reader::{DURATION_MAX_MS, Reader, join, show_ms};
use super::tree::Node;
use super::types::{Campaign, NODES_MAX, PROCESSES_MAX, Swarm};
use crate::plan::Phases;

const NAME_LENGTH_MAX: usize = 64;
const YEAR_MS: u64 = 365 * 86_400_000;
const CONVERGE_WITHIN_DEFAULT_MS: u64 = 30_000;

/// Parses the text of a campaign; `file` is how messages call it.
///
/// # Errors
///
/// Every mistake that can be told apart from the others, with its place.
pub fn parse(file: &str, text: &str) -> Result<Campaign, Mistakes> {
    let mut reader = Reader::default();
    let campaign = match Node::parse(text) {
        Ok(root) => read_campaign(&root, &mut reader),
        Err(mistake) => {
            reader.note(mistake);
            None
        }
    };
    match campaign {
        Some(campaign) if reader.mistakes.is_empty() => Ok(campaign),
        _ => Err(Mistakes::new(file, text, reader.mistakes)),
    }
}

fn read_campaign(root: &Node, reader: &mut Reader) -> Option<Campaign> {
    let fields = reader.fields(root, "the campaign", CAMPAIGN_KEYS)?;
    let name = fields.need("campaign", reader).and_then(|node| read_name(node, reader));
    let about = match fields.get("about") {
        Some(node) => reader.text(node, "about", "a sentence").map(str::to_owned),
        None => Some(String::new()),
    };
    let cluster = fields.need("cluster", reader).and_then(|node| read_cluster(node, reader));
    let config = cluster.as_ref();
    let workload = fields.need("workload", reader).and_then(|node| read_workload(node, config, reader));
    let phases = fields.need("phases", reader).and_then(|node| read_phases(node, fields.get("faults"), reader));
    if let (Some(workload), Some((phases, place))) = (&workload, &phases) {
        check_size(&workload.spec, workload.rate_place, phases, *place, reader);
    }
    let faults = match fields.get("faults") {
        Some(node) => {
            let nodes = config.and_then(|config| u16::try_from(config.members.len()).ok());
            let phase = phases.as_ref().map(|(phases, place)| (phases.faults_ms, *place));
            let schedule = read_faults(node, nodes, phase, reader);
            if let (Some(schedule), Some(config)) = (&schedule, config) {
                check_ring(schedule, config, fields.get("swarm"), node, reader);
            }
            schedule.map(Some)
        }
        None => Some(None),
    };
    let expect = fields
        .need("expect", reader)
        .and_then(|node| read_expectations(node, workload.as_ref().map(|workload| &workload.spec), reader));
    let swarm = match (fields.get("swarm"), &cluster, &workload, &phases, &expect) {
        (None, ..) => Some(Swarm::default()),
        (Some(node), Some(cluster), Some(workload), Some((phases, place)), Some(expect)) => {
            let around = Around { cluster, workload: &workload.spec, phases, place: *place, expect };
            read_swarm(node, &around, fields.get("faults"), reader)
        }
        _ => None,
    };
    Some(Campaign {
        name: name?,
        about: about?,
        cluster: cluster?,
        workload: workload?.spec,
        phases: phases?.0,
        faults: faults?,
        swarm: swarm?,
        expect: expect?,
    })
}

fn read_name(node: &Node, reader: &mut Reader) -> Option<String> {
    const ALLOWED: &str = "1 to 64 small letters, digits and -, such as my-campaign";
    reader.word(node, "the campaign's name", ALLOWED, |name| is_campaign_name(name).then(|| name.to_owned()))
}

/// Whether a campaign may be called so. It names a directory, too.
pub(crate) fn is_campaign_name(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=NAME_LENGTH_MAX).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('-')
}

/// Beyond so many nodes heartbeats are rarer by default, in proportion, up to the largest cluster of processes.
const CROWD_NODES: u16 = 25;

fn read_cluster(node: &Node, reader: &mut Reader) -> Option<ClusterConfig> {
    let fields = reader.fields(node, "cluster", CLUSTER_KEYS)?;
    let default = ClusterConfig::default();
    let nodes: Option<u16> =
        fields.need("nodes", reader).and_then(|node| reader.number(node, "nodes", 1..=NODES_MAX.into()));
    let replication: Option<u8> = match fields.get("replication") {
        Some(node) => reader.number(node, "replication", 1..=ClusterConfig::REPLICATION_MAX.into()),
        None => Some(
            nodes.map_or(default.replication, |nodes| u8::try_from(nodes).unwrap_or(u8::MAX).min(default.replication)),
        ),
    };
    if let (Some(nodes), Some(replication), Some(node)) = (nodes, replication, fields.get("replication"))
        && u16::from(replication) > nodes
    {
        let what = format!("replication {replication} needs {replication} nodes, but the cluster has {nodes}");
        let mistake = Mistake::new(node.place, what).allowed(format!("a whole number from 1 to {nodes}"));
        reader.note(mistake.mend(format!("raise cluster.nodes to {replication}, or lower the replication")));
    }
    let dissemination = match fields.get("dissemination") {
        Some(node) => read_dissemination(node, reader).map(Some),
        None => Some(None),
    };
    let mut duration = |key: &'static str, default_ms: u64, min_ms: u64, max_ms: u64| match fields.get(key) {
        Some(node) => reader.duration_ms(node, key, min_ms..=max_ms),
        None => Some(default_ms),
    };
    let request_timeout_ms = duration("request_timeout", default.request_timeout_ms, 1, DURATION_MAX_MS);
    let repair_patience_ms = duration("repair_patience", default.repair_patience_ms, 1, DURATION_MAX_MS);
    // Each node has dozens of peers in a large cluster that shares one machine: their heartbeats alone would fill it.
    let crowd = u64::from(nodes.unwrap_or(1).min(PROCESSES_MAX) / CROWD_NODES).max(1);
    let interval_default_ms = default.heartbeat_interval_ms * crowd;
    let heartbeat_interval_ms = duration("heartbeat_interval", interval_default_ms, 10, DURATION_MAX_MS);
    let timeout_default_ms = default.heartbeat_timeout_ms.max(3 * interval_default_ms);
    let heartbeat_timeout_ms = duration("heartbeat_timeout", timeout_default_ms, 10, DURATION_MAX_MS);
    let merkle_interval_ms = duration("merkle_interval", default.merkle_interval_ms, 0, DURATION_MAX_MS);
    let exchange_interval_ms = duration("exchange_interval", default.exchange_interval_ms, 0, DURATION_MAX_MS);
    let tombstone_grace_ms = duration("tombstone_grace", default.tombstone_grace_ms, 1, YEAR_MS);
    if let (Some(interval_ms), Some(timeout_ms)) = (heartbeat_interval_ms, heartbeat_timeout_ms)
        && timeout_ms < 2 * interval_ms
    {
        let place =
            fields.get("heartbeat_timeout").or(fields.get("heartbeat_interval")).map_or(node.place, |n| n.place);
        let what = format!(
            "heartbeat_timeout {} is less than two of heartbeat_interval {}: one late heartbeat makes a peer dead",
            show_ms(timeout_ms),
            show_ms(interval_ms)
        );
        let mend = format!("make the time-out at least {}", show_ms(2 * interval_ms));
        reader.note(Mistake::new(place, what).mend(mend));
    }
    if let (Some(grace_ms), Some(request_ms)) = (tombstone_grace_ms, request_timeout_ms)
        && grace_ms < request_ms
    {
        let place = fields.get("tombstone_grace").map_or(node.place, |node| node.place);
        let what = format!(
            "tombstone_grace {} is less than request_timeout {}: a delete could expire before it is written",
            show_ms(grace_ms),
            show_ms(request_ms)
        );
        reader.note(Mistake::new(place, what).mend("make the grace longer: its default is 10d"));
    }
    let vnodes = match fields.get("vnodes") {
        Some(node) => reader.number(node, "vnodes", 1..=ClusterConfig::VNODES_MAX.into()),
        None => Some(default.vnodes),
    };
    let requests_max = match fields.get("requests_max") {
        Some(node) => reader.number(node, "requests_max", 1..=1_000_000),
        None => Some(default.requests_max),
    };
    let merkle_depth = match fields.get("merkle_depth") {
        Some(node) => reader.number(node, "merkle_depth", 0..=ClusterConfig::MERKLE_DEPTH_MAX.into()),
        None => Some(default.merkle_depth),
    };
    let merkle_fan_out = match fields.get("merkle_fan_out") {
        Some(node) => reader.word(node, "merkle_fan_out", "2, 4, 8, 16", |word| {
            word.parse().ok().filter(|fan_out| matches!(fan_out, 2 | 4 | 8 | 16))
        }),
        None => Some(default.merkle_fan_out),
    };
    let merkle_bytes_per_s = match fields.get("merkle_bytes_per_s") {
        Some(node) => reader.number(node, "merkle_bytes_per_s", 0..=1_000_000_000_000),
        None => Some(default.merkle_bytes_per_s),
    };
    let read_repair = match fields.get("read_repair") {
        Some(node) => reader.word(node, "read_repair", "blocking, async, none", |word| match word {
            "blocking" => Some(ReadRepair::Blocking),
            "async" => Some(ReadRepair::Async),
            "none" => Some(ReadRepair::None),
            _ => None,
        }),
        None => Some(default.read_repair),
    };
    let conflict = match fields.get("conflict") {
        Some(node) => reader.word(node, "conflict", "lww, dcc", |word| match word {
            "lww" => Some(Conflict::Lww),
            "dcc" => Some(Conflict::Dcc),
            _ => None,
        }),
        None => Some(default.conflict),
    };
    let dot_log_max = match fields.get("dot_log_max") {
        Some(node) => reader.number(node, "dot_log_max", 1..=100_000_000),
        None => Some(default.dot_log_max),
    };
    let hint_window_ms = match fields.get("hint_window") {
        Some(node) => reader.duration_ms(node, "hint_window", 1..=YEAR_MS),
        None => Some(default.hint_window_ms),
    };
    let hints_bytes_max = match fields.get("hints_bytes") {
        Some(node) => reader.number(node, "hints_bytes", 1..=ClusterConfig::HINTS_BYTES_MAX),
        None => Some(default.hints_bytes_max),
    };
    let hint_replay_per_s = match fields.get("hint_replay") {
        Some(node) => reader.number(node, "hint_replay", 1..=1_000_000),
        None => Some(default.hint_replay_per_s),
    };
    let speculative_delay_ms = match fields.get("speculative_delay") {
        Some(node) => Some(reader.duration_ms(node, "speculative_delay", 1..=DURATION_MAX_MS)?),
        None => None,
    };
    let speculative_percentile = match fields.get("speculative_percentile") {
        Some(node) => Some(reader.number(node, "speculative_percentile", 50..=99)?),
        None => None,
    };
    let phi_threshold = match fields.get("phi_threshold") {
        Some(node) => reader.number(node, "phi_threshold", 1..=ClusterConfig::PHI_THRESHOLD_MAX.into()),
        None => Some(default.phi_threshold),
    };
    let hints = match fields.get("hints") {
        Some(node) => reader.word(node, "hints", "none, coordinator", |word| match word {
            "none" => Some(Hints::None),
            "coordinator" => Some(Hints::Coordinator),
            _ => None,
        }),
        None => Some(default.hints),
    };
    let sloppy = match fields.get("sloppy") {
        Some(node) => reader.flag(node, "sloppy"),
        None => Some(default.sloppy),
    };
    let digest_reads = match fields.get("digest_reads") {
        Some(node) => reader.flag(node, "digest_reads"),
        None => Some(default.digest_reads),
    };
    let detection = match fields.get("detection") {
        Some(node) => reader.word(node, "detection", "timeout, phi", |word| match word {
            "timeout" => Some(Detection::Timeout),
            "phi" => Some(Detection::Phi),
            _ => None,
        }),
        None => Some(default.detection),
    };
    let config = ClusterConfig {
        members: (1..=nodes?).map(NodeId).collect(),
        replication: replication?,
        vnodes: vnodes?,
        read_repair: read_repair?,
        request_timeout_ms: request_timeout_ms?,
        repair_patience_ms: repair_patience_ms?,
        requests_max: requests_max?,
        heartbeat_interval_ms: heartbeat_interval_ms?,
        heartbeat_timeout_ms: heartbeat_timeout_ms?,
        merkle_interval_ms: merkle_interval_ms?,
        merkle_depth: merkle_depth?,
        tombstone_grace_ms: tombstone_grace_ms?,
        conflict: conflict?,
        merkle_fan_out: merkle_fan_out?,
        merkle_bytes_per_s: merkle_bytes_per_s?,
        exchange_interval_ms: exchange_interval_ms?,
        dot_log_max: dot_log_max?,
        hints: hints?,
        sloppy: sloppy?,
        hint_window_ms: hint_window_ms?,
        hints_bytes_max: hints_bytes_max?,
        hint_replay_per_s: hint_replay_per_s?,
        speculative_delay_ms,
        speculative_percentile,
        detection: detection?,
        phi_threshold: phi_threshold?,
        digest_reads: digest_reads?,
        dissemination: dissemination?,
    };
    // The checks above point at the line; the node has the last word.
    if let Err(error) = config.validate()
        && reader.mistakes.is_empty()
    {
        reader.note(Mistake::new(node.place, format!("the nodes would refuse this cluster: {error}")));
    }
    Some(config)
}

/// The phases, and the place to point at when they are too short for the faults.
fn read_phases(node: &Node, faults: Option<&Node>, reader: &mut Reader) -> Option<(Phases, Place)> {
    let fields = reader.fields(node, "phases", PHASES_KEYS)?;
    let mut phase = |key: &'static str, default_ms: u64| match fields.get(key) {
        Some(node) => reader.duration_ms(node, key, 0..=DURATION_MAX_MS),
        None => Some(default_ms),
    };
    let warmup_ms = phase("warmup", 0);
    let healed_ms = phase("healed", 0);
    let converge_within_ms = phase("converge_within", CONVERGE_WITHIN_DEFAULT_MS);
    let faults_node = if faults.is_some() { fields.need("faults", reader) } else { fields.get("faults") };
    let faults_ms = match faults_node {
        Some(node) => reader.duration_ms(node, "faults", 0..=DURATION_MAX_MS),
        None if faults.is_some() => None,
        None => Some(0),
    };
    if let (None, Some(phase), Some(1..)) = (faults, faults_node, faults_ms) {
        let mistake = Mistake::new(phase.place, "there is a phase for faults, but no faults are listed");
        reader.note(mistake.mend("list some under `faults`, or make the warm-up longer and remove phases.faults"));
    }
    let phases = Phases {
        warmup_ms: warmup_ms?,
        faults_ms: faults_ms?,
        healed_ms: healed_ms?,
        converge_within_ms: converge_within_ms?,
    };
    Some((phases, faults_node.map_or(node.place, |node| node.place)))
}

fn check_size(workload: &WorkloadSpec, rate: Place, phases: &Phases, place: Place, reader: &mut Reader) {
    let load_ms = phases.load_ms();
    if load_ms == 0 {
        let mistake = Mistake::new(place, "the phases are empty: no operation would be done");
        reader.note(mistake.mend("give `warmup`, `faults` or `healed` some time, such as 5s"));
    }
    let operations = load_ms * u64::from(workload.rate_per_s()) / 1000;
    if operations > OPERATIONS_MAX {
        let what = format!("{operations} operations are too many for a run of {}", show_ms(load_ms));
        let mistake = Mistake::new(rate, what).allowed(format!("up to {OPERATIONS_MAX} operations in all"));
        reader.note(mistake.mend("lower the rate, or shorten the phases"));
    }
}

fn read_expectations(
    node: &Node,
    workload: Option<&WorkloadSpec>,
    reader: &mut Reader,
) -> Option<BTreeMap<String, Expectation>> {
    let words = || join(["holds", "violated", "any"]);
    let entries =
        reader.map(node, "expect", "a checker and its expectation on each line, such as convergence: holds")?;
    let checkers = workload.map_or(&[] as &[&str], |workload| workload.checkers());
    let on_demand = workload.map_or_else(Vec::new, |workload| workload.checkers_on_demand());
    let mut expect: BTreeMap<String, Expectation> =
        checkers.iter().map(|checker| ((*checker).to_owned(), Expectation::Any)).collect();
    for (checker, value) in entries {
        let expectation = reader.word(value, &checker.name, &words(), |word| word.parse().ok());
        if let Some(workload) = workload
            && !checkers.contains(&checker.name.as_str())
            && !on_demand.contains(&checker.name.as_str())
        {
            let what = format!("the workload {} has no checker `{}`", workload.name(), checker.name);
            let known = [checkers, &on_demand].concat();
            let mistake = Mistake::new(checker.place, what).allowed(join(known.iter().copied()));
            reader.note_nearest(mistake, &checker.name, &known);
        }
        if let Some(expectation) = expectation {
            expect.insert(checker.name.clone(), expectation);
        }
    }
    Some(expect)
}
