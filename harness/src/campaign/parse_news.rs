//! What campaigns say of dissemination: `cluster.dissemination`, and the workloads `broadcast` and `options`.

use hearsay_checkers::GossipBounds;
use hearsay_core::ClusterConfig;
use hearsay_core::dissemination::{BroadcastKind, DisseminationConfig, MembershipKind};
use hearsay_workloads::{KeyChoice, Level, Mix, NewsSpec, RegisterSpec, WorkloadSpec};

use super::keys::{AT_MOST_KEYS, BROADCAST_KEYS, DISSEMINATION_KEYS, OPTIONS_KEYS};
use super::mistakes::Mistake;
use super::parse_workload::ReadWorkload;
use super::reader::{DURATION_MAX_MS, Reader};
use super::tree::Node;

const OVERDUE_SKIP_DEFAULT_MS: u64 = 1_000;

/// Reads `cluster.dissemination`.
pub(super) fn read_dissemination(node: &Node, reader: &mut Reader) -> Option<DisseminationConfig> {
    let fields = reader.fields(node, "dissemination", DISSEMINATION_KEYS)?;
    let mut config = DisseminationConfig::default();
    let mut good = true;
    if let Some(node) = fields.get("protocol") {
        let protocol = reader.word(node, "protocol", "direct, periodic, rumor, tree, plumtree", |word| match word {
            "direct" => Some(BroadcastKind::Direct),
            "periodic" => Some(BroadcastKind::Periodic),
            "rumor" => Some(BroadcastKind::Rumor),
            "tree" => Some(BroadcastKind::Tree),
            "plumtree" => Some(BroadcastKind::Plumtree),
            _ => None,
        });
        good &= protocol.map(|protocol| config.protocol = protocol).is_some();
    }
    if let Some(node) = fields.get("membership") {
        let membership = reader.word(node, "membership", "full, hyparview", |word| match word {
            "full" => Some(MembershipKind::Full),
            "hyparview" => Some(MembershipKind::HyParView),
            _ => None,
        });
        good &= membership.map(|membership| config.membership = membership).is_some();
    }
    for (key, least, target) in [
        ("exchange_interval", 0, &mut config.exchange.interval_ms),
        ("probe_interval", 1, &mut config.hyparview.probe_interval_ms),
        ("shuffle_interval", 1, &mut config.hyparview.shuffle_interval_ms),
    ] {
        if let Some(node) = fields.get(key) {
            let duration = reader.duration_ms(node, key, least..=DURATION_MAX_MS);
            good &= duration.map(|duration| *target = duration).is_some();
        }
    }
    if let Some(node) = fields.get("active_view") {
        let size = reader.number(node, "active_view", 1..=64);
        good &= size.map(|size: usize| config.hyparview.active_max = size).is_some();
        config.hyparview.passive_max = config.hyparview.passive_max.max(config.hyparview.active_max);
    }
    if let Err(error) = config.validate() {
        reader.note(Mistake::new(node.place, format!("the nodes would refuse this: {error}")));
        return None;
    }
    good.then_some(config)
}

/// Reads `workload.broadcast` and `workload.options`.
pub(super) fn read_news(
    name: &str,
    node: &Node,
    cluster: Option<&ClusterConfig>,
    reader: &mut Reader,
) -> Option<ReadWorkload> {
    let keys = if name == "options" { OPTIONS_KEYS } else { BROADCAST_KEYS };
    let fields = reader.fields(node, name, keys)?;
    let clients = fields.need("clients", reader).and_then(|node| reader.number(node, "clients", 1..=10_000));
    let rate = fields.need("rate", reader).and_then(|node| {
        let rate_per_s = reader.number(node, "rate", 1..=1_000_000)?;
        Some((rate_per_s, node.place))
    });
    let sticky_clients = match fields.get("sticky") {
        Some(node) => reader.number(node, "sticky", 0..=clients.map_or(10_000, u64::from)),
        None => Some(0),
    };
    let shared_percent = match keys.iter().any(|(key, _)| *key == "shared").then(|| fields.get("shared")).flatten() {
        Some(node) => reader.number(node, "shared", 0..=99),
        None => Some(0),
    };
    let at_most = match fields.get("at_most") {
        Some(node) => read_at_most(node, reader),
        None => Some(GossipBounds::default()),
    };
    let timeout_default_ms = cluster.map_or(1, |cluster| cluster.request_timeout_ms.saturating_mul(2));
    let client_timeout_ms = match fields.get("client_timeout") {
        Some(node) => reader.duration_ms(node, "client_timeout", 1..=DURATION_MAX_MS),
        None => Some(timeout_default_ms),
    };
    if let Some(cluster) = cluster {
        let nodes = cluster.members.len();
        if cluster.dissemination.is_none() {
            let mistake = Mistake::new(node.place, format!("{name} needs nodes that spread news"));
            reader.note(mistake.mend("add `dissemination: {protocol: plumtree}` to cluster"));
            return None;
        }
        if usize::from(cluster.replication) != nodes {
            let mistake = Mistake::new(node.place, format!("{name} is compared on all nodes, as replicas are"));
            let (most, mend) = (ClusterConfig::REPLICATION_MAX, format!("set cluster.replication to {nodes}"));
            reader.note(mistake.mend(if nodes > most.into() {
                format!("set cluster.nodes to {most} or less")
            } else {
                mend
            }));
            return None;
        }
    }
    let (rate_per_s, rate_place) = rate?;
    let load = RegisterSpec {
        keys: 1,
        clients: clients?,
        rate_per_s,
        mix: Mix { read: 0, write: 1, delete: 0 },
        read_level: Level::One,
        write_level: Level::One,
        sticky_clients: sticky_clients?,
        key_choice: KeyChoice::Uniform,
        key_life_ms: 0,
        hot: None,
        value_bytes: 0,
        read_primaries: None,
        write_primaries: None,
        success_in_faults_percent: None,
        client_timeout_ms: client_timeout_ms?,
        overdue_skip_ms: OVERDUE_SKIP_DEFAULT_MS,
    };
    let spec = NewsSpec { load, shared_percent: shared_percent?, at_most: at_most? };
    let spec = if name == "options" { WorkloadSpec::Options(spec) } else { WorkloadSpec::Broadcast(spec) };
    Some(ReadWorkload { spec, rate_place })
}

/// Reads `at_most`: shares of the deliveries, which may be several times as many as these.
fn read_at_most(node: &Node, reader: &mut Reader) -> Option<GossipBounds> {
    let fields = reader.fields(node, "at_most", AT_MOST_KEYS)?;
    let mut bounds = GossipBounds::default();
    let mut good = true;
    for (key, target) in [
        ("duplicates", &mut bounds.duplicates_percent),
        ("grafts", &mut bounds.grafts_percent),
        ("control", &mut bounds.control_percent),
        ("evictions", &mut bounds.evictions_percent),
        ("incarnations", &mut bounds.incarnations_percent),
        ("left", &mut bounds.left_percent),
    ] {
        if let Some(node) = fields.get(key) {
            let share = "a share of the deliveries in percent, 0% to 10000%";
            let percent = reader.word(node, key, share, |text| {
                text.strip_suffix('%')?.parse().ok().filter(|percent| *percent <= 10_000)
            });
            good &= percent.map(|percent| *target = Some(percent)).is_some();
        }
    }
    good.then_some(bounds)
}
