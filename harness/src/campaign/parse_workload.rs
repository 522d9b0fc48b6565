//! The workload of a campaign: what the clients do, and on which keys.

use hearsay_core::{ClusterConfig, Conflict, Value};
use hearsay_workloads::{
    CounterSpec, Hot, KeyChoice, LEVELS_ALLOWED, Level, Mix, RegisterSpec, ScanSpec, SetSpec, WRITE_LEVELS_ALLOWED,
    WorkloadSpec,
};

use super::keys::{
    COUNTER_KEYS, COUNTER_MIX_KEYS, HOT_KEYS, MIX_KEYS, REGISTER_KEYS, SCAN_KEYS, SCAN_MIX_KEYS, SET_KEYS,
    SET_MIX_KEYS, WORKLOAD_KEYS,
};
use super::mistakes::{Mistake, Place};
use super::reader::{DURATION_MAX_MS, Fields, KeyDoc, Reader};
use super::tree::Node;

const OVERDUE_SKIP_DEFAULT_MS: u64 = 1_000;
const GROUPS_DEFAULT: u32 = 5;
const SCAN_LIMIT_DEFAULT: u32 = 20;
/// A node gives no more rows at a time.
const SCAN_ROWS_MAX: u64 = 1_000;

/// A workload, and the place of its rate.
pub(super) struct ReadWorkload {
    pub(super) spec: WorkloadSpec,
    pub(super) rate_place: Place,
}

/// Reads `workload`.
pub(super) fn read_workload(node: &Node, cluster: Option<&ClusterConfig>, reader: &mut Reader) -> Option<ReadWorkload> {
    let (kind, parameters) = reader.choice(node, "workload", WORKLOAD_KEYS)?;
    let name = kind.name.as_str();
    let (keys, mix_keys) = match name {
        "register" => (REGISTER_KEYS, MIX_KEYS),
        "set" => (SET_KEYS, SET_MIX_KEYS),
        "counter" => (COUNTER_KEYS, COUNTER_MIX_KEYS),
        "scan" => (SCAN_KEYS, SCAN_MIX_KEYS),
        other => unreachable!("the workload {other} has keys, but no reader"),
    };
    let fields = reader.fields(parameters, name, keys)?;
    let (load, mix, rate_place) = read_load(&fields, (keys, mix_keys), cluster, reader)?;
    let spec = match name {
        "register" => WorkloadSpec::Register(load),
        "set" => WorkloadSpec::Set(read_set(load, mix, parameters, reader)?),
        "counter" => WorkloadSpec::Counter(CounterSpec { load, updates_percent: share(mix.update, mix.add) }),
        _ => WorkloadSpec::Scan(read_scan(load, mix, &fields, cluster, reader)?),
    };
    Some(ReadWorkload { spec, rate_place })
}

fn read_set(load: RegisterSpec, mix: Weights, parameters: &Node, reader: &mut Reader) -> Option<SetSpec> {
    if mix.update > 0 && mix.remove > 0 {
        let what = "an update writes again what it has read, and so brings back what is removed meanwhile";
        let mistake = Mistake::new(parameters.place, what);
        reader.note(mistake.mend("leave `update` or `remove` out of the mix"));
        return None;
    }
    Some(SetSpec { load, updates_percent: share(mix.update, mix.add) })
}

fn read_scan(
    load: RegisterSpec,
    mix: Weights,
    fields: &Fields<'_>,
    cluster: Option<&ClusterConfig>,
    reader: &mut Reader,
) -> Option<ScanSpec> {
    let groups = match fields.get("groups") {
        Some(node) => reader.number(node, "groups", 1..=1_000_000),
        None => Some(GROUPS_DEFAULT),
    };
    let limit_max = match fields.get("limit") {
        Some(node) => reader.number(node, "limit", 1..=SCAN_ROWS_MAX),
        None => Some(SCAN_LIMIT_DEFAULT),
    };
    if cluster.is_some_and(|cluster| cluster.conflict == Conflict::Dcc) {
        let mistake = Mistake::new(fields.place, "ranges are not scanned under `conflict: dcc`");
        reader.note(mistake.mend("use `conflict: lww`, or another workload"));
        return None;
    }
    Some(ScanSpec { load, scans_percent: share(mix.scan, mix.read), groups: groups?, limit_max: limit_max? })
}

/// Of a hundred of both, so many of the first.
fn share(of: u32, others: u32) -> u32 {
    (of * 100).checked_div(of + others).unwrap_or(0)
}

/// Load and keys, which all workloads have, with the weights and the place of the rate.
fn read_load(
    fields: &Fields<'_>,
    (keys_known, mix_keys): (&[KeyDoc], &'static [KeyDoc]),
    cluster: Option<&ClusterConfig>,
    reader: &mut Reader,
) -> Option<(RegisterSpec, Weights, Place)> {
    let keys = fields.need("keys", reader).and_then(|node| reader.number(node, "keys", 1..=1_000_000));
    let clients = fields.need("clients", reader).and_then(|node| reader.number(node, "clients", 1..=10_000));
    let rate = fields.need("rate", reader).and_then(|node| {
        let rate_per_s = reader.number(node, "rate", 1..=1_000_000)?;
        Some((rate_per_s, node.place))
    });
    let mix = fields.need("mix", reader).and_then(|node| read_mix(node, mix_keys, reader));
    let read_level = read_level(fields, "read_level", cluster, reader);
    let write_level = self::read_level(fields, "write_level", cluster, reader);
    let sticky_clients = match fields.get("sticky") {
        Some(node) => reader.number(node, "sticky", 0..=clients.map_or(10_000, u64::from)),
        None => Some(0),
    };
    let key_choice = match fields.get("key_choice") {
        Some(node) => reader.word(node, "key_choice", "uniform, zipf", |word| match word {
            "uniform" => Some(KeyChoice::Uniform),
            "zipf" => Some(KeyChoice::Zipf),
            _ => None,
        }),
        None => Some(KeyChoice::Uniform),
    };
    let key_life_ms = match fields.get("key_life") {
        Some(node) => reader.duration_ms(node, "key_life", 100..=DURATION_MAX_MS),
        None => Some(0),
    };
    let client_timeout_ms = match fields.get("client_timeout") {
        Some(node) => reader.duration_ms(node, "client_timeout", 1..=DURATION_MAX_MS),
        None => Some(cluster.map_or(0, |cluster| (2 * cluster.request_timeout_ms).min(DURATION_MAX_MS))),
    };
    let overdue_skip_ms = match fields.get("overdue_skip") {
        Some(node) => reader.duration_ms(node, "overdue_skip", 1..=DURATION_MAX_MS),
        None => Some(OVERDUE_SKIP_DEFAULT_MS),
    };
    let read_primaries = read_primaries(fields, "read_primaries", cluster, reader);
    let write_primaries = self::read_primaries(fields, "write_primaries", cluster, reader);
    let success_in_faults_percent = match fields.get("success_in_faults") {
        Some(node) => reader.word(node, "success_in_faults", "a share in percent, 1% to 100%", parse_percent).map(Some),
        None => Some(None),
    };
    let hot = match fields.get("hot") {
        Some(node) => read_hot(node, keys, reader).map(Some),
        None => Some(None),
    };
    // Sets and counters have the size that they have.
    let sized = keys_known.iter().any(|(key, _)| *key == "value_bytes");
    let value_bytes = match sized.then(|| fields.get("value_bytes")).flatten() {
        Some(node) => reader.number(node, "value_bytes", 1..=Value::LENGTH_MAX as u64),
        None => Some(0),
    };
    let (rate_per_s, rate_place) = rate?;
    let weights = mix?;
    let spec = RegisterSpec {
        keys: keys?,
        clients: clients?,
        rate_per_s,
        mix: Mix {
            read: weights.read + weights.scan,
            write: weights.write + weights.add + weights.update,
            delete: weights.delete + weights.remove,
        },
        read_level: read_level?,
        write_level: write_level?,
        sticky_clients: sticky_clients?,
        key_choice: key_choice?,
        key_life_ms: key_life_ms?,
        hot: hot?,
        value_bytes: value_bytes?,
        read_primaries: read_primaries?,
        write_primaries: write_primaries?,
        success_in_faults_percent: success_in_faults_percent?,
        client_timeout_ms: client_timeout_ms?,
        overdue_skip_ms: overdue_skip_ms?,
    };
    Some((spec, weights, rate_place))
}

fn read_hot(node: &Node, keys: Option<u32>, reader: &mut Reader) -> Option<Hot> {
    let fields = reader.fields(node, "hot", HOT_KEYS)?;
    let hot =
        fields.need("keys", reader).and_then(|node| reader.number(node, "keys", 1..=keys.map_or(1_000_000, u64::from)));
    let share = fields.need("share", reader).and_then(|node| reader.number(node, "share", 1..=100));
    Some(Hot { keys: hot?, share_percent: share? })
}

/// Weights of the operations. Those that a workload does not have are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Weights {
    read: u32,
    write: u32,
    delete: u32,
    add: u32,
    update: u32,
    remove: u32,
    scan: u32,
}

fn read_mix(node: &Node, keys: &'static [KeyDoc], reader: &mut Reader) -> Option<Weights> {
    let fields = reader.fields(node, "mix", keys)?;
    let mut mix = Weights::default();
    let mut all_read = true;
    for (key, _) in keys {
        let Some(node) = fields.get(key) else { continue };
        let weight = match *key {
            "read" => &mut mix.read,
            "write" => &mut mix.write,
            "delete" => &mut mix.delete,
            "add" => &mut mix.add,
            "update" => &mut mix.update,
            "remove" => &mut mix.remove,
            "scan" => &mut mix.scan,
            other => unreachable!("the mix has a key {other}, but no weight"),
        };
        match reader.number(node, key, 0..=1_000_000) {
            Some(number) => *weight = number,
            None => all_read = false,
        }
    }
    if mix == Weights::default() && all_read {
        let mistake = Mistake::new(node.place, "the mix is empty: no operation can be drawn");
        let example = keys.iter().map(|(key, _)| format!("{key}: 20")).collect::<Vec<_>>().join(", ");
        reader.note(mistake.allowed(format!("weights such as {{{example}}}, at least one above 0")));
        return None;
    }
    all_read.then_some(mix)
}

/// `80%`.
fn parse_percent(text: &str) -> Option<u8> {
    let percent = text.strip_suffix('%')?.parse().ok()?;
    (1..=100).contains(&percent).then_some(percent)
}

/// A level of the key's own replicas, which only a sloppy quorum tells from others.
fn read_primaries(
    fields: &Fields<'_>,
    key: &'static str,
    cluster: Option<&ClusterConfig>,
    reader: &mut Reader,
) -> Option<Option<Level>> {
    let Some(node) = fields.get(key) else { return Some(None) };
    if cluster.is_some_and(|cluster| !cluster.sloppy) {
        let what = format!("{key} asks for the key's own replicas, and without cluster.sloppy there are no others");
        reader.note(Mistake::new(node.place, what).mend("set cluster.sloppy: true, or remove it"));
        return None;
    }
    read_level(fields, key, cluster, reader).map(Some)
}

fn read_level(
    fields: &Fields<'_>,
    key: &'static str,
    cluster: Option<&ClusterConfig>,
    reader: &mut Reader,
) -> Option<Level> {
    let node = fields.need(key, reader)?;
    let allowed = if key == "write_level" { WRITE_LEVELS_ALLOWED } else { LEVELS_ALLOWED };
    let fits = |level: &Level| *level != Level::Any || key == "write_level";
    let level: Level = reader.word(node, key, allowed, |word| word.parse().ok().filter(fits))?;
    let Some(replication) = cluster.map(|cluster| cluster.replication) else { return Some(level) };
    if level.needed(replication) > replication {
        let needed = level.needed(replication);
        let names =
            [Level::One, Level::Two, Level::Three].into_iter().filter(|level| level.needed(replication) <= replication);
        let names = names.map(|level| format!("{level}, ")).collect::<String>();
        let what = format!("{key} {level} needs {needed} replicas, but cluster.replication is {replication}");
        let mistake = Mistake::new(node.place, what);
        let mistake = mistake.allowed(format!("{names}quorum, all, or a number from 1 to {replication}"));
        reader.note(mistake.mend(format!("raise cluster.replication to {needed}, or lower the level")));
        return None;
    }
    Some(level)
}
