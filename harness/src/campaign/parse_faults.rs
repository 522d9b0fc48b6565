//! The faults of a campaign file.

use super::keys::{
    CLOCK_KEYS, FAULT_KINDS, FAULTS_KEYS, LEAVE_KEYS, NODES_KEYS, PARTITION_KEYS, SLOW_DISK_KEYS, WIPE_KEYS,
};
use super::mistakes::{Mistake, Place};
use super::parse_clock::read_clocks;
use super::parse_leave::read_leaves;
use super::parse_links::read_links;
use super::parse_ring::{SPARES_MAX, check_spares, read_change};
use super::reader::{DURATION_MAX_MS, Fields, Reader, join, show_ms};
use super::tree::Node;
use super::types::{FaultKind, FaultSchedule, SIZES_ALLOWED, Size, Span, Variant};
use crate::plan::{DISK_WAIT_MAX_MS, Disk, FAULTS_MAX, PartitionShape};

/// Shortest fault: below, it is over before anything has noticed.
pub(super) const FAULT_MIN_MS: u64 = 100;
const AT_ONCE_MAX: u64 = 4;
pub(super) const AT_LEAST_MAX: u64 = 1000;
const WEIGHT_MAX: u64 = 1000;
const WIPE_QUIET_MS: u64 = 3_000;
const SYNC_DEFAULT: Span = Span { min_ms: 5, max_ms: 50 };
const KINDS_EXAMPLE: &str = "a list such as [{crash: {nodes: one, for: 2s}}, {wipe: {for: 2s}}]";

/// `nodes` is unknown after a mistake there; `phase`: length and place of the fault phase.
pub(super) fn read_faults(
    node: &Node,
    nodes: Option<u16>,
    phase: Option<(u64, Place)>,
    reader: &mut Reader,
) -> Option<FaultSchedule> {
    let noted_before = reader.mistakes.len();
    let fields = reader.fields(node, "faults", FAULTS_KEYS)?;
    let between =
        fields.need("between", reader).and_then(|node| reader.span(node, "between", FAULT_MIN_MS..=DURATION_MAX_MS));
    let at_once = match fields.get("at_once") {
        Some(node) => reader.number(node, "at_once", 1..=AT_ONCE_MAX),
        None => Some(1),
    };
    let items = fields.need("kinds", reader).and_then(|node| reader.list(node, "kinds", KINDS_EXAMPLE));
    let kinds: Vec<FaultKind> =
        items.unwrap_or_default().iter().filter_map(|item| read_kind(item, nodes, reader)).collect();
    let spares = match fields.get("spares") {
        Some(node) => reader.number(node, "spares", 0..=SPARES_MAX),
        None => Some(0),
    };
    let schedule = FaultSchedule { between: between?, at_once: at_once?, spares: spares?, kinds };
    check_spares(&schedule, node, reader);
    if reader.mistakes.len() > noted_before {
        return None;
    }
    let required: u64 = schedule.kinds.iter().map(|kind| u64::from(kind.at_least)).sum();
    if required > FAULTS_MAX as u64 {
        let mistake = Mistake::new(node.place, format!("{required} faults in every run are too many"));
        reader.note(mistake.allowed(format!("up to {FAULTS_MAX} in all")).mend("lower `at_least`"));
        return None;
    }
    let (phase_ms, place) = phase?;
    if schedule.required_ms() > phase_ms {
        let required_ms = schedule.required_ms().next_multiple_of(100);
        let what = format!(
            "the faults that every run has need {} at their shortest, but the phase for them takes {}",
            show_ms(required_ms),
            show_ms(phase_ms)
        );
        let mend = format!(
            "make phases.faults at least {}, shorten `for`, `between` or `quiet`, or list fewer faults",
            show_ms(required_ms.next_multiple_of(1000))
        );
        reader.note(Mistake::new(place, what).mend(mend));
        return None;
    }
    Some(schedule)
}

fn read_kind(item: &Node, nodes: Option<u16>, reader: &mut Reader) -> Option<FaultKind> {
    let (kind, parameters) = reader.choice(item, "fault", FAULT_KINDS)?;
    match kind.name.as_str() {
        "partition" => {
            let fields = reader.fields(parameters, "partition", PARTITION_KEYS)?;
            let variants = read_shapes(&fields, nodes, reader);
            finish_kind(&fields, variants, 0, reader)
        }
        "crash" => {
            let fields = reader.fields(parameters, "crash", NODES_KEYS)?;
            let variants = read_sizes(&fields, nodes, Variant::Crash, reader);
            finish_kind(&fields, variants, 0, reader)
        }
        "pause" => {
            let fields = reader.fields(parameters, "pause", NODES_KEYS)?;
            let variants = read_sizes(&fields, nodes, Variant::Pause, reader);
            finish_kind(&fields, variants, 0, reader)
        }
        "wipe" => {
            let fields = reader.fields(parameters, "wipe", WIPE_KEYS)?;
            finish_kind(&fields, Some(vec![Variant::Wipe]), WIPE_QUIET_MS, reader)
        }
        "power-cut" => {
            let fields = reader.fields(parameters, "power-cut", NODES_KEYS)?;
            let variants = read_sizes(&fields, nodes, Variant::PowerCut, reader);
            finish_kind(&fields, variants, 0, reader)
        }
        "slow-disk" => {
            let fields = reader.fields(parameters, "slow-disk", SLOW_DISK_KEYS)?;
            let sync = match fields.get("sync") {
                Some(node) => reader.span(node, "sync", 1..=DISK_WAIT_MAX_MS),
                None => Some(SYNC_DEFAULT),
            };
            let sync = sync.unwrap_or(SYNC_DEFAULT);
            let variants = read_sizes(&fields, nodes, |size| Variant::SlowDisk(size, sync), reader);
            finish_kind(&fields, variants, 0, reader)
        }
        "failing-disk" => {
            let fields = reader.fields(parameters, "failing-disk", NODES_KEYS)?;
            let variants = read_sizes(&fields, nodes, Variant::FailingDisk, reader);
            finish_kind(&fields, variants, 0, reader)
        }
        "links" => read_links(parameters, nodes, reader),
        "clock" => {
            let fields = reader.fields(parameters, "clock", CLOCK_KEYS)?;
            let variants = read_clocks(&fields, nodes, reader);
            finish_kind(&fields, variants, 0, reader)
        }
        "leave" => {
            let fields = reader.fields(parameters, "leave", LEAVE_KEYS)?;
            let variants = read_leaves(&fields, nodes, reader);
            let empties = |variant: &Variant| matches!(variant, Variant::Leave(_, Disk::Empty));
            let quiet_ms = if variants.iter().flatten().any(empties) { WIPE_QUIET_MS } else { 0 };
            finish_kind(&fields, variants, quiet_ms, reader)
        }
        "join" => read_change(Variant::Join, parameters, "join", reader),
        "retire" => read_change(Variant::Retire, parameters, "retire", reader),
        "replace" => read_change(Variant::Replace, parameters, "replace", reader),
        other => unreachable!("the fault {other} has keys, but no reader"),
    }
}

fn finish_kind(
    fields: &Fields<'_>,
    variants: Option<Vec<Variant>>,
    quiet_default_ms: u64,
    reader: &mut Reader,
) -> Option<FaultKind> {
    let duration = fields.need("for", reader).and_then(|node| reader.span(node, "for", FAULT_MIN_MS..=DURATION_MAX_MS));
    let quiet_ms = match fields.get("quiet") {
        Some(node) => reader.duration_ms(node, "quiet", 0..=DURATION_MAX_MS),
        None => Some(quiet_default_ms),
    };
    let once_each = variants.as_ref().map(|variants| u32::try_from(variants.len()).expect("few variants"));
    let at_least = match fields.get("at_least") {
        Some(node) => reader.number(node, "at_least", 0..=AT_LEAST_MAX),
        None => once_each,
    };
    let weight = match fields.get("weight") {
        Some(node) => reader.number(node, "weight", 0..=WEIGHT_MAX),
        None => Some(1),
    };
    Some(FaultKind {
        variants: variants?,
        duration: duration?,
        quiet_ms: quiet_ms?,
        at_least: at_least?,
        weight: weight?,
    })
}

/// Directed pairs of one partition, at most: a plan names each of them.
const PAIRS_MAX: u64 = 500_000;

fn read_shapes(fields: &Fields<'_>, nodes: Option<u16>, reader: &mut Reader) -> Option<Vec<Variant>> {
    let names: Vec<String> = PartitionShape::ALL.iter().map(ToString::to_string).collect();
    let allowed = join(names.iter().map(String::as_str));
    let node = fields.need("shapes", reader)?;
    let items = reader.one_or_more(node, "shapes", &allowed)?;
    read_variants(items, reader, |item, reader| {
        let shape: PartitionShape = reader.word(item, "a shape", &allowed, |word| word.parse().ok())?;
        if let Some(nodes) = nodes
            && nodes < shape.nodes_min()
        {
            let what = format!("the partition {shape} needs {} nodes, but the cluster has {nodes}", shape.nodes_min());
            let possible = PartitionShape::ALL.iter().filter(|shape| nodes >= shape.nodes_min());
            let possible: Vec<String> = possible.map(ToString::to_string).collect();
            let mut mistake = Mistake::new(item.place, what);
            mistake = mistake.mend(format!("raise cluster.nodes to {}, or remove the shape", shape.nodes_min()));
            if !possible.is_empty() {
                mistake = mistake.allowed(join(possible.iter().map(String::as_str)));
            }
            reader.note(mistake);
            return None;
        }
        if let Some(nodes) = nodes
            && shape.pairs_max(nodes) > PAIRS_MAX
        {
            let pairs = shape.pairs_max(nodes);
            let what =
                format!("the partition {shape} of {nodes} nodes blocks {pairs} pairs, a plan has at most {PAIRS_MAX}");
            let possible = PartitionShape::ALL.iter().filter(|shape| shape.pairs_max(nodes) <= PAIRS_MAX);
            let possible: Vec<String> = possible.map(ToString::to_string).collect();
            let mistake = Mistake::new(item.place, what).allowed(join(possible.iter().map(String::as_str)));
            reader.note(mistake.mend("remove the shape, or make the cluster smaller"));
            return None;
        }
        Some(Variant::Partition(shape))
    })
}

pub(super) fn read_sizes(
    fields: &Fields<'_>,
    nodes: Option<u16>,
    variant: impl Fn(Size) -> Variant,
    reader: &mut Reader,
) -> Option<Vec<Variant>> {
    let node = fields.need("nodes", reader)?;
    let items = reader.one_or_more(node, "nodes", SIZES_ALLOWED)?;
    read_variants(items, reader, |item, reader| {
        let size: Size = reader.word(item, "nodes", SIZES_ALLOWED, |word| word.parse().ok())?;
        if let Some(Err((what, allowed))) = nodes.map(|nodes| size.of(nodes)) {
            reader.note(Mistake::new(item.place, what).allowed(allowed));
            return None;
        }
        Some(variant(size))
    })
}

pub(super) fn read_variants<T: PartialEq>(
    items: &[Node],
    reader: &mut Reader,
    read: impl Fn(&Node, &mut Reader) -> Option<T>,
) -> Option<Vec<T>> {
    let mut variants = Vec::new();
    for item in items {
        let Some(variant) = read(item, reader) else { continue };
        if variants.contains(&variant) {
            let mistake = Mistake::new(item.place, format!("{} is listed twice", item.describe()));
            reader.note(mistake.mend("remove one; for more of them raise `at_least`"));
            continue;
        }
        variants.push(variant);
    }
    (variants.len() == items.len()).then_some(variants)
}
