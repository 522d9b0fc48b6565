//! Judges what reads may return: one order of versions per key must fit all that is known ([`crate::version_graph`]).
//!
//! Shared by monotonic reads, monotonic quorum reads, read-your-writes and linearizability, which differ in what they
//! promise.

use crate::explain::{NO_EVIDENCE, counted};
use crate::key_history::by_key;
use crate::order::find_cycle;
use crate::version_graph::{Promise, SessionPromise, VersionGraph};
use crate::version_story::{Story, tell_cycle, tell_finding};
use crate::{Case, CheckOptions, FaultWindow, Judgement, KindCount, Operation, Verdict};

/// Stale reads of a key that a shortest contradiction is looked for through.
const HINTS_MAX: usize = 8;

/// Kind of a read that returned an older version than it may.
const STALE_READ: &str = "stale-read";
/// Kind of reads of which each is possible, but that no one order of the versions explains.
const CONTRADICTION: &str = "contradiction";

/// A verdict by a promise that says what is assumed, and nothing else yet.
pub(crate) fn begin(checker: &str, promise: Promise, options: &CheckOptions) -> Verdict {
    let mut verdict = Verdict::new(checker);
    verdict.assumptions.push("Values are unique per key.".to_owned());
    verdict.assumptions.push(if promise.session == SessionPromise::Everything && promise.real_time {
        "All clients take their times from one clock.".to_owned()
    } else if options.real_time_writes {
        "A write that was acknowledged or read before another one began is older than it (the clocks of the nodes agree)."
            .to_owned()
    } else {
        "Nothing about the order of writes in time: only what sessions read orders versions.".to_owned()
    });
    verdict
}

/// Judges a case by a promise.
pub(crate) fn judge(checker: &str, promise: Promise, case: &Case, options: &CheckOptions) -> Verdict {
    let mut verdict = begin(checker, promise, options);
    if let Some(registers) = &case.registers
        && case.history.operations.is_empty()
        && case.faults.is_empty()
        && let Some(held) = crate::fast::holds(verdict.clone(), promise, registers)
    {
        return held;
    }
    let near_faults = NearFaults::new(&case.faults, options.fault_aftermath);
    let mut counts = Counts::default();
    let mut clearest: Option<(usize, Story)> = None;
    let mut found: Vec<(&'static str, u64)> = Vec::new();
    let mut not_judged = Vec::new();
    let history = match case.named_history() {
        Ok(history) => history,
        Err(unknown) => return unknown.verdict(checker),
    };
    for key in &by_key(&history) {
        if let Some(sentence) = key.doubled_sentence() {
            not_judged.push(sentence);
            continue;
        }
        let graph = VersionGraph::new(key, promise, options.real_time_writes);
        counts.add(&graph, &near_faults);
        let mut hints: Vec<u32> = graph.stale.iter().map(|(_, node)| *node).take(HINTS_MAX).collect();
        hints.dedup();
        let cycle = find_cycle(graph.nodes.len(), &graph.families, &hints);
        assert!(cycle.is_some() || graph.stale.is_empty(), "a stale read of {} contradicts nothing", key.key);
        let direct = graph.findings.len() + graph.stale.len();
        verdict.violations += if cycle.is_some() { direct.max(graph.findings.len() + 1) } else { direct } as u64;
        found.extend(graph.findings.iter().map(|finding| (finding.kind(), 1)));
        match (graph.stale.len() as u64, &cycle) {
            (0, Some(_)) => found.push((CONTRADICTION, 1)),
            (stale, _) => found.push((STALE_READ, stale)),
        }
        let length = if graph.findings.is_empty() { cycle.as_ref().map(Vec::len) } else { Some(1) };
        if let Some(length) = length
            && clearest.as_ref().is_none_or(|(shortest, _)| length < *shortest)
        {
            let kind = match graph.findings.first() {
                Some(finding) => finding.kind(),
                None if graph.stale.is_empty() => CONTRADICTION,
                None => STALE_READ,
            };
            let story = match graph.findings.first() {
                Some(finding) => tell_finding(&graph, *finding),
                None => tell_cycle(&graph, cycle.as_deref().unwrap_or_default()),
            };
            verdict.kinds = vec![KindCount { kind: kind.to_owned(), count: 0 }];
            clearest = Some((length, story));
        }
    }
    counts.write(&mut verdict);
    found.into_iter().filter(|(_, count)| *count > 0).for_each(|(kind, count)| verdict.found(kind, count));
    if let Some((_, story)) = clearest {
        verdict.judgement = Judgement::Violated;
        verdict.explanation = story.sentences;
        story.operations.into_iter().for_each(|operation| verdict.involve(operation));
        return verdict;
    }
    let seen = match (promise.session, promise.real_time) {
        (SessionPromise::Reads, false) => "its session had read",
        (SessionPromise::Reads, true) => "any read had returned",
        (SessionPromise::OwnWrites, _) => "its session had written",
        (SessionPromise::Everything, _) => "any client had written or read",
    };
    if let Some(sentence) = not_judged.into_iter().next() {
        return verdict.because(Judgement::Unknown, sentence);
    }
    if counts.possibly_stale == 0 {
        let reason = format!(
            "{NO_EVIDENCE}: of {}, none began after {seen} a version that had replaced an acknowledged one.",
            counted(counts.reads, "read"),
        );
        return verdict.because(Judgement::Unknown, reason);
    }
    let sentence = format!(
        "{} of {} judged, {} of them could have been stale ({} during a fault or shortly after), and none was.",
        counted(counts.reads, "read"),
        counted(counts.keys, "key"),
        counts.possibly_stale,
        counts.possibly_stale_near_faults
    );
    verdict.because(Judgement::Holds, sentence)
}

#[derive(Debug, Default)]
struct Counts {
    keys: u64,
    reads: u64,
    writes: u64,
    possibly_stale: u64,
    possibly_stale_near_faults: u64,
    near_faults: u64,
    stale: u64,
    impossible_values: u64,
    some_delete: u64,
}

impl Counts {
    fn add(&mut self, graph: &VersionGraph<'_>, near_faults: &NearFaults) {
        let history = graph.history;
        let is_near = |position: &u32| near_faults.touches(history.operation(*position));
        self.keys += 1;
        self.reads += history.reads.len() as u64;
        self.writes += (history.writes.len() + history.deletes.len()) as u64;
        self.possibly_stale += graph.possibly_stale.len() as u64;
        self.possibly_stale_near_faults += graph.possibly_stale.iter().filter(|read| is_near(read)).count() as u64;
        self.near_faults += history.reads.iter().filter(|read| is_near(read)).count() as u64;
        self.stale += graph.stale.len() as u64;
        self.impossible_values += graph.findings.len() as u64;
        let some_delete =
            |node: &&crate::version_graph::Node| matches!(node.version, crate::version_graph::Version::SomeDelete(_));
        self.some_delete += graph.nodes.iter().filter(some_delete).count() as u64;
    }

    fn write(&self, verdict: &mut Verdict) {
        verdict.count("keys_judged", self.keys);
        verdict.count("operations_judged", self.reads + self.writes);
        verdict.count("reads_judged", self.reads);
        verdict.count("reads_possibly_stale", self.possibly_stale);
        verdict.count("reads_possibly_stale_near_faults", self.possibly_stale_near_faults);
        verdict.count("reads_near_faults", self.near_faults);
        verdict.count("reads_stale", self.stale);
        verdict.count("reads_impossible", self.impossible_values);
        verdict.count("reads_of_some_delete", self.some_delete);
    }
}

/// Times in which a fault was in force, or had been shortly before.
struct NearFaults {
    /// Disjoint, in order.
    spans: Vec<(u64, u64)>,
}

impl NearFaults {
    fn new(faults: &[FaultWindow], aftermath: u64) -> NearFaults {
        let mut windows: Vec<(u64, u64)> =
            faults.iter().map(|fault| (fault.from, fault.to.saturating_add(aftermath))).collect();
        windows.sort_unstable();
        let mut spans: Vec<(u64, u64)> = Vec::new();
        for (from, to) in windows {
            match spans.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => spans.push((from, to)),
            }
        }
        NearFaults { spans }
    }

    fn touches(&self, operation: &Operation) -> bool {
        let next = self.spans.partition_point(|span| span.1 < operation.invoked);
        let end = operation.completed.unwrap_or(u64::MAX);
        self.spans.get(next).is_some_and(|span| span.0 <= end)
    }
}
