//! Draws the faults of a plan.
//!
//! First the faults that every plan of the campaign has, in a random order; then random ones until no more fits. Every
//! fault is healed, and a gap has passed, before the fault phase ends.
//!
//! Invariants: faults start in the order of their ids; at most `at_once` are in force together, and those are of
//! different kinds and on different processes; a wipe has the cluster for itself, with its quiet time around it. Bad links
//! are beside all that ([`beside`]).
//!
//! What is drawn for a fault (length, gap, targets, place in the order) comes from streams named by what it is and how
//! many of that came before it. Taking a kind out of the campaign leaves the others as they were, but closer together.

mod beside;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use hearsay_core::NodeId;
use hearsay_workloads::stream;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use super::ring::name_members;
use super::shapes::draw_blocked;
use super::{
    CLOCK_SKEW_MIN_NS, ClockSkew, Disk, Fault, LinkConditions, LinkScope, PartitionShape, Phases, PlannedFault,
};
use crate::campaign::{FaultKind, FaultSchedule, Size, Span, Variant};

/// Most faults of a plan. More than fit into an hour of faults that are long enough to matter.
pub const FAULTS_MAX: usize = 2_000;

/// How long disks hold their syncs before a power cut: long enough for clients to hear of a few writes that are not
/// synced, too short for a time-out.
const HOLD_MS: RangeInclusive<u64> = 60..=120;

/// Random faults in a row that may not fit before the phase counts as full.
const MISSES_MAX: u32 = 16;

/// All faults of a run, by start.
pub(super) fn draw_faults(schedule: &FaultSchedule, phases: &Phases, nodes: u16, seed: u64) -> Vec<PlannedFault> {
    let mut draws = Draws { nodes, seed, occurrences: BTreeMap::new() };
    let mut all = beside::place_beside(schedule, phases, &mut draws);
    let schedule = &schedule.only(false);
    let required = draw_required(schedule, &mut draws);
    let mut timeline = place_required(schedule, phases, &required);
    fill(schedule, &mut draws, &mut timeline, FAULTS_MAX - all.len());
    all.append(&mut timeline.placed);
    all.sort_by_key(|placed| placed.from_ms);
    let placed = all.into_iter().enumerate();
    let planned = placed.map(|(position, placed)| PlannedFault {
        id: format!("f{}", position + 1),
        at_ms: placed.from_ms,
        duration_ms: placed.until_ms - placed.from_ms,
        fault: placed.fault,
    });
    let mut planned: Vec<PlannedFault> = planned.collect();
    if schedule.spares > 0 || planned.iter().any(|planned| planned.fault.changes_ring()) {
        name_members(&mut planned, nodes, schedule.spares, seed);
    }
    planned
}

/// A fault without its time.
#[derive(Clone)]
struct Drawn {
    fault: Fault,
    duration: Span,
    quiet_ms: u64,
    /// Of `duration`.
    length_ms: u64,
    /// Before it.
    gap_ms: u64,
    /// Place in the order of those that every plan has.
    order: u64,
}

/// Draws faults, counting how often each was drawn.
struct Draws {
    nodes: u16,
    seed: u64,
    /// By code of the variant.
    occurrences: BTreeMap<u64, u64>,
}

impl Draws {
    fn draw(&mut self, schedule: &FaultSchedule, kind: &FaultKind, variant: Variant) -> Drawn {
        let occurrence = self.occurrences.entry(variant_code(variant)).or_default();
        let index = variant_code(variant) << 32 | *occurrence;
        *occurrence += 1;
        Drawn {
            fault: draw_fault(variant, self.nodes, &mut stream(self.seed, "fault-target", index)),
            duration: kind.duration,
            quiet_ms: kind.quiet_ms,
            length_ms: draw_span(kind.duration, &mut stream(self.seed, "fault-length", index)),
            gap_ms: draw_span(schedule.between, &mut stream(self.seed, "fault-gap", index)),
            order: stream(self.seed, "fault-order", index).next_u64(),
        }
    }
}

fn draw_span(span: Span, random: &mut impl Rng) -> u64 {
    random.random_range(span.min_ms..=span.max_ms)
}

/// A number that stays the same when the variants of a campaign change.
fn variant_code(variant: Variant) -> u64 {
    let size_code = |size| match size {
        Size::Minority => 1,
        Size::Majority => 2,
        Size::All => 3,
        Size::Count(count) => 16 + u64::from(count),
    };
    match variant {
        Variant::Wipe => 1,
        Variant::Partition(shape) => {
            let position = PartitionShape::ALL.iter().position(|known| *known == shape);
            1_000_000 + u64::try_from(position.expect("ALL has every shape")).expect("few shapes")
        }
        Variant::Crash(size) => 2_000_000 + size_code(size),
        Variant::Pause(size) => 3_000_000 + size_code(size),
        Variant::PowerCut(size) => 4_000_000 + size_code(size),
        Variant::SlowDisk(size, _) => 5_000_000 + size_code(size),
        Variant::FailingDisk(size) => 6_000_000 + size_code(size),
        Variant::Links(scope, _) => {
            let position = LinkScope::ALL.iter().position(|known| *known == scope);
            7_000_000 + u64::try_from(position.expect("ALL has every scope")).expect("few scopes")
        }
        Variant::Clock { size, .. } => 10_000_000 + size_code(size),
        Variant::Leave(size, Disk::Kept) => 11_000_000 + size_code(size),
        Variant::Leave(size, Disk::Empty) => 12_000_000 + size_code(size),
        Variant::Join => 13_000_000,
        Variant::Retire => 14_000_000,
        Variant::Replace => 15_000_000,
    }
}

fn draw_fault(variant: Variant, nodes: u16, random: &mut impl Rng) -> Fault {
    let mut draw_nodes = |size: Size| {
        let count = size.of(nodes).expect("the campaign was checked: its sizes exist");
        let mut all: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
        all.shuffle(random);
        all.truncate(usize::from(count));
        all.sort_unstable();
        all
    };
    match variant {
        Variant::Partition(shape) => Fault::Partition { shape, blocked: draw_blocked(shape, nodes, random) },
        Variant::Crash(size) => Fault::Crash { nodes: draw_nodes(size) },
        Variant::Pause(size) => Fault::Pause { nodes: draw_nodes(size) },
        Variant::Wipe => Fault::Wipe { node: draw_nodes(Size::Count(1))[0] },
        Variant::PowerCut(size) => Fault::PowerCut {
            nodes: draw_nodes(size),
            hold_ms: random.random_range(HOLD_MS),
            torn: random.random(),
            seed: random.next_u64() >> 32,
        },
        Variant::SlowDisk(size, sync) => Fault::SlowDisk { nodes: draw_nodes(size), sync_ms: draw_span(sync, random) },
        Variant::FailingDisk(size) => Fault::FailingDisk { nodes: draw_nodes(size) },
        Variant::Leave(size, join) => Fault::Leave { nodes: draw_nodes(size), join },
        // Who that is depends on what came before: see `super::ring`.
        Variant::Join => Fault::Join { node: NodeId(0) },
        Variant::Retire => Fault::Retire { node: NodeId(0) },
        Variant::Replace => Fault::Replace { node: NodeId(0), by: NodeId(0) },
        Variant::Clock { size, offset_ns, drift_ppb } => {
            let nodes = draw_nodes(size);
            let clock = |node| draw_clock(node, offset_ns, drift_ppb, random);
            Fault::Clock { clocks: nodes.into_iter().map(clock).collect() }
        }
        Variant::Links(scope, links) => {
            let impaired = scope.draw_pairs(nodes, random);
            let [latency_ms, jitter_ms] = [links.latency, links.jitter].map(|span| draw_span(span, random));
            Fault::Links { scope, impaired, conditions: LinkConditions { latency_ms, jitter_ms, ..links.conditions } }
        }
    }
}

/// A clock that is off by enough to be seen: where chance has it nearly right, it takes the end of the range that is
/// farther off.
fn draw_clock(node: NodeId, offset_ns: (i64, i64), drift_ppb: (i64, i64), random: &mut impl Rng) -> ClockSkew {
    let drawn_ns = random.random_range(offset_ns.0..=offset_ns.1);
    let farther_ns = if offset_ns.0.abs() > offset_ns.1 { offset_ns.0 } else { offset_ns.1 };
    let offset_ns = if drawn_ns.abs() < CLOCK_SKEW_MIN_NS { farther_ns } else { drawn_ns };
    ClockSkew { node, offset_ns, drift_ppb: random.random_range(drift_ppb.0..=drift_ppb.1) }
}

/// The faults that every plan has, in their random order.
fn draw_required(schedule: &FaultSchedule, draws: &mut Draws) -> Vec<Drawn> {
    let mut required = Vec::new();
    for kind in &schedule.kinds {
        // When not every variant has its turn, it is random which ones have.
        let mut turns = kind.variants.clone();
        turns.sort_by_key(|variant| stream(draws.seed, "fault-turn", variant_code(*variant)).next_u64());
        let turns = turns.iter().cycle().take(usize::try_from(kind.at_least).expect("a small number"));
        required.extend(turns.map(|variant| draws.draw(schedule, kind, *variant)));
    }
    required.sort_by_key(|drawn| drawn.order);
    required
}

/// Places the required faults. What was drawn above the shortest lengths and gaps is cut down until all of them fit; at
/// the shortest they do, one after the other, because the campaign was checked for that.
fn place_required(schedule: &FaultSchedule, phases: &Phases, required: &[Drawn]) -> Timeline {
    let attempts = [100, 80, 60, 40, 20, 0].map(|percent| (schedule.at_once, percent));
    for (at_once, percent) in attempts.into_iter().chain([(1, 0)]) {
        let mut timeline = Timeline::new(schedule, phases, at_once);
        let all_fit = required.iter().all(|drawn| timeline.place(&shortened(drawn, schedule, percent)));
        if all_fit {
            timeline.at_once = schedule.at_once;
            return timeline;
        }
    }
    unreachable!("the campaign was checked: its required faults fit into {} ms", phases.faults_ms);
}

/// The same with only so many percent of what exceeds the shortest length and gap.
fn shortened(drawn: &Drawn, schedule: &FaultSchedule, percent: u64) -> Drawn {
    let scale = |value_ms: u64, min_ms: u64| min_ms + (value_ms - min_ms) * percent / 100;
    Drawn {
        length_ms: scale(drawn.length_ms, drawn.duration.min_ms),
        gap_ms: scale(drawn.gap_ms, schedule.between.min_ms),
        ..drawn.clone()
    }
}

/// Fills the rest of the phase with random faults.
fn fill(schedule: &FaultSchedule, draws: &mut Draws, timeline: &mut Timeline, faults_max: usize) {
    let total: u64 = schedule.kinds.iter().map(|kind| u64::from(kind.weight)).sum();
    let mut misses = 0;
    let mut choices = 0;
    while total > 0 && misses < MISSES_MAX && timeline.placed.len() < faults_max {
        let mut choice = stream(draws.seed, "fault-choice", choices);
        choices += 1;
        let mut at = choice.random_range(0..total);
        let kind = schedule.kinds.iter().find(|kind| {
            let weight = u64::from(kind.weight);
            let found = at < weight;
            at = at.saturating_sub(weight);
            found
        });
        let kind = kind.expect("the weights sum up to the total");
        let variant = kind.variants[choice.random_range(0..kind.variants.len())];
        let drawn = draws.draw(schedule, kind, variant);
        let fits = timeline.place(&drawn) || timeline.place(&shortened(&drawn, schedule, 0));
        misses = if fits { 0 } else { misses + 1 };
    }
}

/// A fault with its time.
struct Placed {
    from_ms: u64,
    until_ms: u64,
    quiet_ms: u64,
    fault: Fault,
}

/// The fault phase while it fills, by start.
struct Timeline {
    placed: Vec<Placed>,
    at_once: u32,
    from_ms: u64,
    until_ms: u64,
    gap_min_ms: u64,
}

impl Timeline {
    fn new(schedule: &FaultSchedule, phases: &Phases, at_once: u32) -> Timeline {
        Timeline {
            placed: Vec::new(),
            at_once,
            from_ms: phases.faults_from_ms(),
            until_ms: phases.faults_until_ms(),
            gap_min_ms: schedule.between.min_ms,
        }
    }

    /// Places a fault as early as the rules allow, behind the start of the last. False when it does not fit.
    fn place(&mut self, drawn: &Drawn) -> bool {
        let start_of_last = self.placed.last().map_or(self.from_ms, |last| last.from_ms);
        let mut from_ms = start_of_last + drawn.gap_ms;
        // Each round waits for one more healing; when none is left to wait for, it stands.
        while let Some(later_ms) = self.wait_for(drawn, from_ms) {
            assert!(later_ms > from_ms, "waiting moves a fault back");
            from_ms = later_ms;
        }
        from_ms = from_ms.max(self.from_ms + drawn.quiet_ms);
        let until_ms = from_ms + drawn.length_ms;
        if until_ms + self.gap_min_ms.max(drawn.quiet_ms) > self.until_ms {
            return false;
        }
        self.placed.push(Placed { from_ms, until_ms, quiet_ms: drawn.quiet_ms, fault: drawn.fault.clone() });
        true
    }

    /// When the fault may not start at `from_ms`: the time until which it has to wait at least.
    fn wait_for(&self, drawn: &Drawn, from_ms: u64) -> Option<u64> {
        let clear_ms = |placed: &Placed| placed.until_ms + drawn.gap_ms.max(placed.quiet_ms).max(drawn.quiet_ms);
        let near: Vec<&Placed> = self.placed.iter().filter(|placed| clear_ms(placed) > from_ms).collect();
        let excluded = near.iter().filter(|placed| exclude_each_other(&placed.fault, &drawn.fault));
        let after_excluded = excluded.map(|placed| clear_ms(placed)).max();
        let crowded = near.len() >= usize::try_from(self.at_once).expect("a small number");
        let after_first = if crowded { near.iter().map(|placed| clear_ms(placed)).min() } else { None };
        after_excluded.max(after_first)
    }
}

/// Whether two faults may not be in force together.
pub(super) fn exclude_each_other(one: &Fault, other: &Fault) -> bool {
    if one.is_beside() || other.is_beside() {
        return one.same_kind(other);
    }
    let shares_process = one.processes().iter().any(|node| other.processes().contains(node));
    one.same_kind(other) || !one.empties().is_empty() || !other.empties().is_empty() || shares_process
}
