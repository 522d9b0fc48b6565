//! Staleness: how old what was read is, in time and in versions, and Delta, the smallest time by which reads would have to
//! begin earlier for every register to be linearizable (Golab, Li, Shah 2011; Golab et al., *Client-centric benchmarking
//! of eventual consistency*, 2014).
//!
//! A version is stale at a read by the time since the end of the first write that began after the version's own write was
//! over; and by the number of such writes that were over before the read began. It is a measurement: it `holds` unless
//! more than [`CheckOptions::staleness_ms_max`] was found. Keys that were deleted are not measured.

use crate::causal::{Graph, INITIAL, UNKNOWN};
use crate::explain::counted;
use crate::registers::{Clock, OPEN, RegisterOp, Registers};
use crate::zones::zones_by_key;
use crate::{Case, CheckOptions, Function, Judgement, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "staleness";

/// A read of a version that had been overwritten.
struct Stale<'h> {
    read: &'h RegisterOp,
    /// Nanoseconds since the first overwriting was over.
    time: u64,
    versions: u64,
}

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    match case.registers() {
        Ok(registers) => judge(&registers, options),
        Err(unknown) => unknown.verdict(NAME),
    }
}

fn judge(registers: &Registers, options: &CheckOptions) -> Verdict {
    let mut verdict = Verdict::new(NAME);
    verdict.assumptions.push("Values are unique per key.".to_owned());
    verdict.assumptions.push("All clients take their times from one clock.".to_owned());
    if registers.clock != Clock::Nanoseconds {
        return verdict.because(Judgement::Unknown, "The history has no times, so staleness has no length.");
    }
    let graph = Graph::new(registers);
    if let Some((first, second)) = graph.doubled {
        let (first, second) = (&registers.ops[first as usize], &registers.ops[second as usize]);
        let reason = format!(
            "Key {}: {} was written twice ({} and {}): values must be unique per key.",
            registers.key_of(first),
            registers.text_of(first.value()),
            first.index,
            second.index
        );
        return verdict.because(Judgement::Unknown, reason);
    }
    if let Some(wrong) = graph.impossible.first() {
        let read = &registers.ops[wrong.read() as usize];
        verdict.judgement = Judgement::Violated;
        verdict.violations = graph.impossible.len() as u64;
        verdict.found("thin-air", graph.impossible.len() as u64);
        verdict.involve(read.index);
        verdict.explanation.push(format!(
            "Key {}: {} read {} ({}), which nobody had begun to write or which certainly was not written.",
            registers.key_of(read),
            read.process,
            registers.text_of(read.value()),
            read.index
        ));
        verdict.explanation.push("No shift of time explains that.".to_owned());
        return verdict;
    }
    let zones = zones_by_key(registers, &graph.nodes, &graph.impossible);
    let delta = zones.iter().filter_map(|zones| zones.delta()).max().unwrap_or(0);
    let (reads, mut stale) = measure(&graph);
    verdict.count("reads_judged", reads);
    verdict.count("reads_stale", stale.len() as u64);
    verdict.measure("delta_ms", delta as f64 / 1e6);
    if reads == 0 {
        let reason = "No read could have been stale: none began after a version had been overwritten.";
        return verdict.because(Judgement::Unknown, reason);
    }
    stale.sort_by_key(|stale| (stale.time, stale.read.index));
    let mut versions: Vec<u64> = stale.iter().map(|stale| stale.versions).collect();
    versions.sort_unstable();
    let share = |share: f64| (reads as f64 * (1.0 - share)).floor() as usize;
    for (name, part) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
        // Reads that are not stale come before all that are.
        let at = |count: usize| count.checked_sub(share(part) + 1);
        let time = at(stale.len()).map_or(0, |at| stale[at].time);
        verdict.measure(format!("stale_ms_{name}"), time as f64 / 1e6);
        verdict.measure(format!("stale_versions_{name}"), at(versions.len()).map_or(0, |at| versions[at]) as f64);
    }
    let delta_ms = delta as f64 / 1e6;
    let summary = format!(
        "{} of keys that had been overwritten: {} stale, by up to {:.3} ms and {}; Delta is {delta_ms:.3} ms.",
        counted(reads, "read"),
        stale.len(),
        stale.last().map_or(0, |worst| worst.time) as f64 / 1e6,
        counted(versions.last().copied().unwrap_or(0), "version"),
    );
    match options.staleness_ms_max {
        Some(limit) if delta_ms > limit => {
            if let Some(worst) = stale.last() {
                verdict.involve(worst.read.index);
                verdict.explanation.push(format!(
                    "Key {}: {} read {} ({}), {:.3} ms after it had been overwritten.",
                    registers.key_of(worst.read),
                    worst.read.process,
                    registers.text_of(worst.read.value()),
                    worst.read.index,
                    worst.time as f64 / 1e6
                ));
            }
            verdict.violations = 1;
            verdict.found("too-stale", 1);
            verdict.explanation.push(summary);
            verdict.because(Judgement::Violated, format!("Delta may be {limit} ms at most."))
        }
        _ => verdict.because(Judgement::Holds, summary),
    }
}

/// How many reads could have been stale, and those that were.
fn measure<'h>(graph: &Graph<'h>) -> (u64, Vec<Stale<'h>>) {
    let registers = graph.registers;
    let mut writes = vec![Vec::new(); registers.keys.len()];
    let mut reads = vec![Vec::new(); registers.keys.len()];
    let mut deleted = vec![false; registers.keys.len()];
    for (at, node) in graph.nodes.iter().enumerate() {
        let op = graph.op(at as u32);
        deleted[node.key as usize] |= op.f == Function::Delete;
        let (key, at) = (node.key as usize, at as u32);
        if node.is_read { reads[key].push(at) } else { writes[key].push(at) }
    }
    let (mut possible, mut stale) = (0, Vec::new());
    for key in (0..registers.keys.len()).filter(|key| !deleted[*key]) {
        let mut by_begin: Vec<(u64, u64)> =
            writes[key].iter().map(|write| (graph.op(*write).invoked, graph.op(*write).completed)).collect();
        by_begin.sort_unstable();
        let mut earliest_end = vec![OPEN; by_begin.len() + 1];
        for at in (0..by_begin.len()).rev() {
            earliest_end[at] = earliest_end[at + 1].min(by_begin[at].1);
        }
        let mut by_end: Vec<(u64, usize)> = by_begin.iter().enumerate().map(|(at, write)| (write.1, at)).collect();
        by_end.sort_unstable();
        let mut over = Counts::new(by_begin.len());
        let mut next = 0;
        reads[key].sort_by_key(|read| graph.op(*read).invoked);
        for read in &reads[key] {
            let (op, version) = (graph.op(*read), graph.nodes[*read as usize].version);
            while next < by_end.len() && by_end[next].0 < op.invoked {
                over.add(by_end[next].1);
                next += 1;
            }
            possible += u64::from(next > 0);
            let newer = match version {
                UNKNOWN => continue,
                INITIAL => 0,
                write => by_begin.partition_point(|(begin, _)| *begin <= graph.op(write).completed),
            };
            if earliest_end[newer] < op.invoked {
                stale.push(Stale { read: op, time: op.invoked - earliest_end[newer], versions: over.from(newer) });
            }
        }
    }
    (possible, stale)
}

/// Counts by position, summed from a position on (a Fenwick tree).
struct Counts(Vec<u64>);

impl Counts {
    fn new(positions: usize) -> Counts {
        Counts(vec![0; positions + 1])
    }

    fn add(&mut self, position: usize) {
        let mut at = self.0.len() - 1 - position;
        while at < self.0.len() {
            self.0[at] += 1;
            at += at & at.wrapping_neg();
        }
    }

    fn from(&self, position: usize) -> u64 {
        let mut at = self.0.len() - 1 - position;
        let mut sum = 0;
        while at > 0 {
            sum += self.0[at];
            at &= at - 1;
        }
        sum
    }
}
