//! Judges what reads may return: one order of versions per key must fit all that is known ([`crate::version_graph`]).
//!
//! Shared by monotonic reads, monotonic quorum reads, read-your-writes and linearizability, which differ in what they
//! promise.

use crate::explain::{NO_EVIDENCE, counted};
use crate::key_history::{KeyHistory, by_key};
use crate::null_reads::are_explained;
use crate::order::find_cycle;
use crate::parallel;
use crate::search::is_linearizable;
use crate::version_graph::{Promise, SessionPromise, VersionGraph};
use crate::version_story::{Story, tell_cycle, tell_finding};
use crate::{Case, CheckOptions, FaultWindow, History, Judgement, KindCount, Operation, Verdict};

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
    let keys = by_key(&history);
    let judged = parallel::map(&keys, options.threads, |key| judge_key(key, promise, options, &near_faults));
    for key in judged {
        let OfKey { counts: of_key, violations, kinds, clearest: told, unsure } = match key {
            Ok(of_key) => of_key,
            Err(doubled) => {
                not_judged.push(doubled);
                continue;
            }
        };
        counts.add(&of_key);
        not_judged.extend(unsure);
        verdict.violations += violations;
        found.extend(kinds);
        if let Some((length, kind, story)) = told
            && clearest.as_ref().is_none_or(|(shortest, _)| length < *shortest)
        {
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

/// What was found on one key.
struct OfKey {
    counts: Counts,
    violations: u64,
    kinds: Vec<(&'static str, u64)>,
    /// Length, kind and words of its clearest contradiction.
    clearest: Option<(usize, &'static str, Story)>,
    /// Why it may not hold although nothing contradicts it, as a sentence.
    unsure: Option<String>,
}

/// Judges one key; an error says why it can't be judged.
fn judge_key(
    key: &KeyHistory<'_>,
    promise: Promise,
    options: &CheckOptions,
    near_faults: &NearFaults,
) -> Result<OfKey, String> {
    let real_time_writes = options.real_time_writes;
    if let Some(sentence) = key.doubled_sentence() {
        return Err(sentence);
    }
    let graph = VersionGraph::new(key, promise, real_time_writes);
    let mut hints: Vec<u32> = graph.stale.iter().map(|(_, node)| *node).take(HINTS_MAX).collect();
    hints.dedup();
    let cycle = find_cycle(graph.nodes.len(), &graph.families, &hints);
    assert!(cycle.is_some() || graph.stale.is_empty(), "a stale read of {} contradicts nothing", key.key);
    let direct = graph.findings.len() + graph.stale.len();
    let violations = if cycle.is_some() { direct.max(graph.findings.len() + 1) } else { direct } as u64;
    let mut kinds: Vec<(&'static str, u64)> = graph.findings.iter().map(|finding| (finding.kind(), 1)).collect();
    match (graph.stale.len() as u64, &cycle) {
        (0, Some(_)) => kinds.push((CONTRADICTION, 1)),
        (stale, _) => kinds.push((STALE_READ, stale)),
    }
    let clearest = match (graph.findings.first(), &cycle) {
        (Some(finding), _) => Some((1, finding.kind(), tell_finding(&graph, *finding))),
        (None, Some(cycle)) => {
            let kind = if graph.stale.is_empty() { CONTRADICTION } else { STALE_READ };
            Some((cycle.len(), kind, tell_cycle(&graph, cycle)))
        }
        (None, None) => None,
    };
    let counts = Counts::of(&graph, near_faults);
    // Where all operations are put in order the search decides that. What fits one order of all operations keeps every
    // promise made here.
    let is_searched = promise.session == SessionPromise::Everything && promise.real_time;
    let is_sure = clearest.is_some()
        || is_searched
        || are_explained(&graph, promise, real_time_writes)
        || is_linearizable(&of_key(key), &options.budget);
    let unsure = (!is_sure).then(|| {
        format!(
            "Key {}: {} of null could each be of several deletes. Nothing contradicts the model, but no order of the \
             versions was found in which each of them saw one.",
            key.key,
            counted(counts.some_delete, "read"),
        )
    });
    Ok(OfKey { counts, violations, kinds, clearest, unsure })
}

/// The operations on one key that may have happened, in the order of the history.
fn of_key(key: &KeyHistory<'_>) -> History {
    let mut positions: Vec<u32> = [&key.writes, &key.deletes, &key.reads].into_iter().flatten().copied().collect();
    positions.sort_unstable();
    let operations = positions.into_iter().map(|position| key.operation(position).clone()).collect();
    History { operations, has_collections: false, notes: Vec::new() }
}

#[derive(Clone, Copy, Debug, Default)]
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
    fn of(graph: &VersionGraph<'_>, near_faults: &NearFaults) -> Counts {
        let history = graph.history;
        let is_near = |position: &u32| near_faults.touches(history.operation(*position));
        let some_delete =
            |node: &&crate::version_graph::Node| matches!(node.version, crate::version_graph::Version::SomeDelete(_));
        Counts {
            keys: 1,
            reads: history.reads.len() as u64,
            writes: (history.writes.len() + history.deletes.len()) as u64,
            possibly_stale: graph.possibly_stale.len() as u64,
            possibly_stale_near_faults: graph.possibly_stale.iter().filter(|read| is_near(read)).count() as u64,
            near_faults: history.reads.iter().filter(|read| is_near(read)).count() as u64,
            stale: graph.stale.len() as u64,
            impossible_values: graph.findings.len() as u64,
            some_delete: graph.nodes.iter().filter(some_delete).count() as u64,
        }
    }

    fn add(&mut self, other: &Counts) {
        self.keys += other.keys;
        self.reads += other.reads;
        self.writes += other.writes;
        self.possibly_stale += other.possibly_stale;
        self.possibly_stale_near_faults += other.possibly_stale_near_faults;
        self.near_faults += other.near_faults;
        self.stale += other.stale;
        self.impossible_values += other.impossible_values;
        self.some_delete += other.some_delete;
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
