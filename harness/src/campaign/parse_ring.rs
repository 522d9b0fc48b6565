//! Changes of the ring in a campaign file: whether there are enough spare nodes for them, and enough members left behind them.

use hearsay_core::{ClusterConfig, Conflict};

use super::keys::RING_KEYS;
use super::mistakes::Mistake;
use super::parse_faults::{AT_LEAST_MAX, FAULT_MIN_MS};
use super::reader::{DURATION_MAX_MS, Reader};
use super::tree::Node;
use super::types::{FaultKind, FaultSchedule, Variant};

/// Most nodes that wait to become members.
pub(super) const SPARES_MAX: u64 = 16;

/// A change of the ring. Each takes a node for good, so none is drawn beyond those that are counted.
pub(super) fn read_change(
    variant: Variant,
    parameters: &Node,
    name: &'static str,
    reader: &mut Reader,
) -> Option<FaultKind> {
    let fields = reader.fields(parameters, name, RING_KEYS)?;
    let duration = fields.need("for", reader).and_then(|node| reader.span(node, "for", FAULT_MIN_MS..=DURATION_MAX_MS));
    let quiet_ms = match fields.get("quiet") {
        Some(node) => reader.duration_ms(node, "quiet", 0..=DURATION_MAX_MS),
        None => Some(0),
    };
    let at_least = match fields.get("at_least") {
        Some(node) => reader.number(node, "at_least", 0..=AT_LEAST_MAX),
        None => Some(1),
    };
    let (duration, quiet_ms, at_least) = (duration?, quiet_ms?, at_least?);
    Some(FaultKind { variants: vec![variant], duration, quiet_ms, at_least, weight: 0 })
}

fn count(schedule: &FaultSchedule, is_counted: impl Fn(&Variant) -> bool) -> u64 {
    let kinds = schedule.kinds.iter().filter(|kind| kind.variants.iter().any(&is_counted));
    kinds.map(|kind| u64::from(kind.at_least)).sum()
}

/// Whether there is a spare node for each join and each replacement.
pub(super) fn check_spares(schedule: &FaultSchedule, node: &Node, reader: &mut Reader) {
    let needed = count(schedule, |variant| matches!(variant, Variant::Join | Variant::Replace));
    if needed > u64::from(schedule.spares) {
        let what = format!("{needed} joins and replacements, but {} spare nodes", schedule.spares);
        reader.note(Mistake::new(node.place, what).mend(format!("write `spares: {needed}` under `faults`")));
    }
}

/// Whether the ring may change so in this cluster.
pub(super) fn check_ring(
    schedule: &FaultSchedule,
    config: &ClusterConfig,
    swarm: Option<&Node>,
    node: &Node,
    reader: &mut Reader,
) {
    let changes = count(schedule, |variant| matches!(variant, Variant::Join | Variant::Retire | Variant::Replace));
    if changes == 0 && schedule.spares == 0 {
        return;
    }
    if config.conflict == Conflict::Dcc {
        let mistake = Mistake::new(node.place, "the ring can't change under conflict: dcc");
        reader.note(mistake.mend("set cluster.conflict to lww, or remove join, retire, replace and spares"));
    }
    let retired = count(schedule, |variant| matches!(variant, Variant::Retire));
    let (members, replication) = (config.members.len() as u64, u64::from(config.replication));
    if members < replication + retired {
        let what = format!(
            "of {members} nodes {retired} leave for good: too few are left for {replication} replicas of each key"
        );
        let mend = format!("raise cluster.nodes to {}, or lower `at_least` of retire", replication + retired);
        reader.note(Mistake::new(node.place, what).mend(mend));
    }
    if let Some(swarm) = swarm {
        let mistake = Mistake::new(swarm.place, "there is no swarm of a campaign in which the ring changes");
        reader.note(mistake.mend("remove the section swarm; --swarm draws faults and mix without it"));
    }
}
