//! Availability: the share of operations that succeed, by phase, node and function, and the longest outage (as Jepsen's
//! `stats` and `perf` report them).
//!
//! An operation belongs to the phase in which it began. An outage lasts from the first operation begun after a success
//! to the next success, so idle clients make none. Bounds are in [`crate::AvailabilityBounds`]; a phase with too few
//! operations is not judged, and when no phase can be judged the verdict is unknown.

use std::collections::BTreeMap;

use crate::explain::counted;
use crate::{Case, CheckOptions, Judgement, Operation, Outcome, Phase, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "availability";

/// Phases in which no fault is in force.
const CALM: [&str; 3] = ["warmup", "healed", "final-reads"];

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    let bounds = &options.availability;
    let mut verdict = Verdict::new(NAME);
    let operations = case.history.operations.as_slice();
    let mut total = Share::default();
    let mut by_phase: BTreeMap<&str, Share> = BTreeMap::new();
    let mut others: BTreeMap<String, Share> = BTreeMap::new();
    for operation in operations {
        total.add(operation);
        if let Some(phase) = phase_of(&case.phases, operation.invoked) {
            by_phase.entry(&phase.name).or_default().add(operation);
        }
        if let Some(node) = &operation.node {
            others.entry(format!("node.{node}")).or_default().add(operation);
        }
        others.entry(format!("function.{}", operation.f.as_str())).or_default().add(operation);
    }
    total.write(&mut verdict, "all");
    by_phase.iter_mut().for_each(|(phase, share)| share.write(&mut verdict, &format!("phase.{phase}")));
    others.iter_mut().for_each(|(name, share)| share.write(&mut verdict, name));
    let outage = longest_outage(case);
    if let Some((_, length)) = outage {
        verdict.measure("longest_outage_ms", length as f64 / 1e6);
    }

    let mut judged = 0;
    let mut broken = Vec::new();
    let mut told = Vec::new();
    let mut phase_names: Vec<&str> = case.phases.iter().map(|phase| phase.name.as_str()).collect();
    phase_names.dedup();
    for name in phase_names {
        let Some(share) = by_phase.get(name) else { continue };
        told.push(format!("Phase {name}: {}.", share.describe()));
        let least =
            if CALM.contains(&name) { Some(bounds.success_share_calm_min) } else { bounds.success_share_faults_min };
        if let (Some(least), true) = (least, share.begun() >= bounds.operations_min) {
            judged += 1;
            if share.share() < least {
                broken.push(format!("At least {} were expected in phase {name}.", percent(least)));
                verdict.found("low-success", 1);
            }
        }
    }
    if case.phases.is_empty() && !operations.is_empty() {
        told.push(format!("In all: {}.", total.describe()));
    }
    if let Some((from, length)) = outage {
        let text = format!("{} ms, from {}", length / 1_000_000, crate::explain::at(from));
        told.push(format!("The longest time without a success was {text} on."));
        if let (Some(most), true) = (bounds.outage_ms_max, total.begun() >= bounds.operations_min) {
            judged += 1;
            if length > most.saturating_mul(1_000_000) {
                broken.push(format!("At most {most} ms without a success were expected."));
                verdict.found("outage", 1);
            }
        }
    }
    verdict.violations = broken.len() as u64;
    verdict.judgement = match (judged, broken.is_empty()) {
        (_, false) => Judgement::Violated,
        (0, true) => Judgement::Unknown,
        _ => Judgement::Holds,
    };
    verdict.explanation = told;
    verdict.explanation.extend(broken);
    if judged == 0 {
        verdict.explanation.push(format!(
            "Nothing can be judged: no phase with a bound began {} or more.",
            counted(bounds.operations_min, "operation")
        ));
    }
    verdict
}

fn phase_of(phases: &[Phase], time: u64) -> Option<&Phase> {
    phases.iter().find(|phase| phase.from <= time && time < phase.to)
}

/// Where the longest outage began and how long it was, nanoseconds; between the first operation and the last event of the
/// load (final reads come after a wait and do not count).
fn longest_outage(case: &Case) -> Option<(u64, u64)> {
    let load_end = case.phases.iter().find(|phase| phase.name == "final-reads").map_or(u64::MAX, |phase| phase.from);
    let load: Vec<&Operation> = case.history.operations.iter().filter(|op| op.invoked < load_end).collect();
    let mut begun: Vec<u64> = load.iter().map(|operation| operation.invoked).collect();
    begun.sort_unstable();
    let mut successes: Vec<u64> = load.iter().filter_map(|operation| operation.acknowledged()).collect();
    successes.sort_unstable();
    let completions = load.iter().filter_map(|operation| operation.completed);
    let end = completions.chain(begun.last().copied()).max()?;
    let mut longest = None;
    let (mut since, mut next_begun) = (0, 0);
    for success in successes.into_iter().chain([end]) {
        while begun.get(next_begun).is_some_and(|begun| *begun < since) {
            next_begun += 1;
        }
        if let Some(first) = begun.get(next_begun)
            && *first < success
            && longest.is_none_or(|(_, length)| success - first > length)
        {
            longest = Some((*first, success - first));
        }
        since = success;
    }
    longest
}

#[derive(Debug, Default)]
struct Share {
    ok: u64,
    fail: u64,
    info: u64,
    /// Of successes, nanoseconds.
    latencies: Vec<u64>,
}

impl Share {
    fn add(&mut self, operation: &Operation) {
        match operation.outcome {
            Outcome::Ok => self.ok += 1,
            Outcome::Fail => self.fail += 1,
            Outcome::Info => self.info += 1,
        }
        self.latencies.extend(operation.acknowledged().map(|end| end - operation.invoked));
    }

    fn begun(&self) -> u64 {
        self.ok + self.fail + self.info
    }

    fn share(&self) -> f64 {
        self.ok as f64 / self.begun() as f64
    }

    /// Nearest rank; the latencies must be sorted.
    fn percentile_ms(&self, percent: usize) -> Option<f64> {
        let rank = (self.latencies.len() * percent).div_ceil(100).max(1);
        self.latencies.get(rank - 1).map(|latency| *latency as f64 / 1e6)
    }

    fn describe(&self) -> String {
        let successes =
            format!("{} of {} succeeded ({})", self.ok, counted(self.begun(), "operation"), percent(self.share()));
        match (self.percentile_ms(50), self.percentile_ms(99)) {
            (Some(p50), Some(p99)) => format!("{successes}, half within {p50:.1} ms, 99 % within {p99:.1} ms"),
            _ => successes,
        }
    }

    /// Writes the evidence, and sorts the latencies.
    fn write(&mut self, verdict: &mut Verdict, name: &str) {
        self.latencies.sort_unstable();
        verdict.count(format!("{name}.ok"), self.ok);
        verdict.count(format!("{name}.fail"), self.fail);
        verdict.count(format!("{name}.info"), self.info);
        if self.begun() > 0 {
            verdict.measure(format!("{name}.success_share"), self.share());
        }
        for percent in [50, 99] {
            if let Some(latency) = self.percentile_ms(percent) {
                verdict.measure(format!("{name}.p{percent}_ms"), latency);
            }
        }
    }
}

/// Rounded down, so that what misses a bound never looks like meeting it.
fn percent(share: f64) -> String {
    let tenths = (share * 1_000.0 + 1e-9).floor();
    format!("{} %", tenths / 10.0)
}
