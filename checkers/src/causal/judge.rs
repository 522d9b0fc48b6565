//! From a history to a verdict, for each of the models.

use super::clocks::{ByKey, Clocks, Kept, Steps, order_of};
use super::cycle::{Because, Overwrite, Step, Ways};
use super::graph::{Graph, INITIAL, Impossible, UNKNOWN};
use super::saturation::{Found, OutOfSteps, Views, judge_views};
use super::story::{Story, Teller, WaysBefore};
use crate::explain::{NO_EVIDENCE, counted};
use crate::registers::Registers;
use crate::table::{Table, hash_pair};
use crate::{CheckOptions, Judgement, Verdict};

/// Overwritings on a cycle through which a shorter one is looked for.
const HINTS_MAX: usize = 24;
/// Nodes are handed out to a view in runs between which the caller may end the judging.
const STOPPED: &str = "The time for judging ended.";

/// A model of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    /// No read returns a version that another visible one causally follows (CC).
    Causal,
    /// And all sessions order concurrent versions alike (CCv).
    Convergent,
    /// And each session has one order that explains all its reads (CM).
    Memory,
    /// Each session has one order of all writes that explains its reads (PRAM).
    Pram,
    /// Convergent over the given steps only.
    Kept(Kept),
}

/// Judges registers by a model.
pub(crate) fn judge(checker: &str, model: Model, registers: &Registers, options: &CheckOptions) -> Verdict {
    let graph = Graph::new(registers);
    let evidence = count_evidence(&graph, model);
    let counts = Counts {
        keys: registers.keys.len() as u64,
        sessions: u64::from(registers.sessions),
        operations: graph.nodes.len() as u64,
        reads: graph.reads,
        unknown_reads: graph.unknown_reads,
        evidence,
    };
    let mut verdict = begin(checker, &counts);
    if let Some((first, second)) = graph.doubled {
        let (first, second) = (&registers.ops[first as usize], &registers.ops[second as usize]);
        let sentence = format!(
            "Key {}: {} was written twice ({} and {}), so it is not known which write a read saw: values must be unique per \
             key.",
            registers.key_of(first),
            registers.text_of(first.value()),
            first.index,
            second.index
        );
        return verdict.because(Judgement::Unknown, sentence);
    }
    if evidence > 0 && crate::fast::has_one_order(&graph) {
        return held(verdict, &counts);
    }
    let mut judging = Judging { graph: &graph, options, found: Vec::new(), story: None };
    let ended = judging.run(model);
    for wrong in &graph.impossible {
        verdict.found(kind_of(*wrong), 1);
    }
    judging.found.iter().for_each(|(kind, count)| verdict.found(kind, *count));
    verdict.violations = verdict.kinds.iter().map(|kind| kind.count).sum();
    if let Some(story) = judging.story {
        verdict.judgement = Judgement::Violated;
        verdict.explanation = story.sentences;
        story.operations.into_iter().for_each(|operation| verdict.involve(operation));
        return verdict;
    }
    match ended {
        Err(reason) => verdict.because(Judgement::Unknown, reason),
        Ok(()) if evidence == 0 => {
            let reason = format!(
                "{NO_EVIDENCE}: of {}, none was of a key that its session had {} before.",
                counted(graph.reads, "read"),
                if matches!(model, Model::Kept(_)) { "read" } else { "read or written" }
            );
            verdict.because(Judgement::Unknown, reason)
        }
        Ok(()) => held(verdict, &counts),
    }
}

/// What was judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) keys: u64,
    pub(crate) sessions: u64,
    pub(crate) operations: u64,
    pub(crate) reads: u64,
    pub(crate) unknown_reads: u64,
    pub(crate) evidence: u64,
}

/// A verdict that says what is assumed and how much there is to judge.
pub(crate) fn begin(checker: &str, counts: &Counts) -> Verdict {
    let mut verdict = Verdict::new(checker);
    verdict.assumptions.push("Values are unique per key.".to_owned());
    verdict.assumptions.push("Nothing about real time: only sessions and what they read order operations.".to_owned());
    verdict.count("operations_judged", counts.operations);
    verdict.count("sessions_judged", counts.sessions);
    verdict.count("reads_judged", counts.reads - counts.unknown_reads);
    verdict.count("reads_of_some_delete", counts.unknown_reads);
    verdict.count("reads_possibly_stale", counts.evidence);
    verdict
}

/// Ends such a verdict as `holds`.
pub(crate) fn held(verdict: Verdict, counts: &Counts) -> Verdict {
    let sentence = format!(
        "{} of {} in {} judged, {} of them of keys that the session knew already, and all fit.",
        counted(counts.reads, "read"),
        counted(counts.keys, "key"),
        counted(counts.sessions, "session"),
        counts.evidence
    );
    verdict.because(Judgement::Holds, sentence)
}

fn kind_of(wrong: Impossible) -> &'static str {
    match wrong {
        Impossible::ThinAir { .. } => "thin-air",
        Impossible::FailedWrite { .. } => "failed-write-read",
        Impossible::LaterWrite { .. } => "read-before-write",
    }
}

/// Reads of keys of which the session had a version before: the initial one would have been wrong.
fn count_evidence(graph: &Graph<'_>, model: Model) -> u64 {
    let mut seen: Vec<(u32, u32)> = Vec::new();
    let mut table = Table::default();
    let hash = |place: (u32, u32)| hash_pair(u64::from(place.0), u64::from(place.1));
    let mut evidence = 0;
    for node in &graph.nodes {
        let place = (node.session, node.key);
        let known = table.find(hash(place), |at| seen[at as usize] == place).is_some();
        if node.is_read && node.version == UNKNOWN {
            continue;
        }
        evidence += u64::from(known && node.is_read);
        let teaches = if node.is_read { node.version != INITIAL } else { !matches!(model, Model::Kept(_)) };
        if teaches && !known {
            let new = seen.len() as u32;
            table.find_or_insert(hash(place), new, |_| false, |at| hash(seen[at as usize]));
            seen.push(place);
        }
    }
    evidence
}

struct Judging<'g, 'h> {
    graph: &'g Graph<'h>,
    options: &'g CheckOptions,
    found: Vec<(&'static str, u64)>,
    story: Option<Story>,
}

impl Judging<'_, '_> {
    /// Finds what is wrong, or says why it could not be found out.
    fn run(&mut self, model: Model) -> Result<(), String> {
        if let Some(wrong) = self.graph.impossible.first() {
            self.story = Some(Teller::new(self.graph).impossible(*wrong));
            return Ok(());
        }
        let kept = if let Model::Kept(kept) = model { kept } else { Kept::Everything };
        let steps = Steps::new(self.graph, kept);
        if model != Model::Pram {
            let order = match order_of(self.graph, &steps) {
                Ok(order) => order,
                Err(cycle) => {
                    self.tell_knot(&steps, cycle[0]);
                    return Ok(());
                }
            };
            self.check_memory(self.graph.nodes.len(), steps.chains())?;
            let clocks = Clocks::new(self.graph, &steps, &order);
            self.judge_visible(model, &steps, &clocks)?;
        }
        if self.story.is_none() && matches!(model, Model::Memory | Model::Pram) {
            self.judge_views(&steps, model == Model::Memory)?;
        }
        Ok(())
    }

    fn check_memory(&self, nodes: usize, chains: usize) -> Result<(), String> {
        let bytes = nodes as u64 * chains.max(1) as u64 * 4;
        if bytes > self.options.budget.memory_bytes_max {
            return Err(format!(
                "{} of {} would need {} MB of clocks, more than the {} MB allowed.",
                counted(nodes as u64, "operation"),
                counted(chains as u64, "session"),
                bytes >> 20,
                self.options.budget.memory_bytes_max >> 20
            ));
        }
        Ok(())
    }

    fn tell_knot(&mut self, steps: &Steps, node: u32) {
        let ways = Ways::new(self.graph, steps, &[]);
        let way = ways.shortest(node, node).expect("the node is on a cycle");
        // From a write on, so that the first step is not into the middle of a run.
        self.story = Some(Teller::new(self.graph).knot(node, &way));
        self.found.push(("cyclic-causal-order", 1));
    }

    /// Each read against what is visible to it, and the orders of versions that all reads together need.
    fn judge_visible(&mut self, model: Model, steps: &Steps, clocks: &Clocks) -> Result<(), String> {
        let graph = self.graph;
        let after_reads = model == Model::Kept(Kept::AfterReads);
        let by_key = ByKey::new(graph, steps, |node| graph.nodes[node as usize].is_read == after_reads);
        let mut overwrites: Vec<Overwrite> = Vec::new();
        let mut wrong: Vec<Overwrite> = Vec::new();
        let mut initial: Vec<(u32, u32)> = Vec::new();
        for (at, node) in graph.nodes.iter().enumerate() {
            if at % 65_536 == 0 && self.options.budget.is_over() {
                return Err(STOPPED.to_owned());
            }
            if !node.is_read || node.version == UNKNOWN {
                continue;
            }
            let read = at as u32;
            let row = clocks.row(read);
            for group in by_key.groups(node.key) {
                let own = group.chain == steps.chain[at];
                let visible = if own { steps.position[at] } else { row[group.chain as usize] };
                let Some(last) = by_key.last(group, visible) else { continue };
                let older = graph.nodes[last as usize].version;
                if older == node.version || older == INITIAL || older == UNKNOWN {
                    continue;
                }
                if node.version == INITIAL {
                    initial.push((older, read));
                    break;
                }
                let edge = Overwrite { older, newer: node.version, read };
                if after_reads {
                    overwrites.push(edge);
                } else if clocks.is_visible(steps, node.version, older) {
                    wrong.push(edge);
                } else if !clocks.is_visible(steps, older, node.version) {
                    overwrites.push(edge);
                }
            }
        }
        if !initial.is_empty() {
            self.found.push(("initial-read", initial.len() as u64));
        }
        if !wrong.is_empty() {
            self.found.push(("stale-read", wrong.len() as u64));
        }
        if let Some((change, read)) = initial.first() {
            self.story = Some(Teller::new(graph).initial_read(&|_| Ways::new(graph, steps, &[]), *change, *read));
        } else if !wrong.is_empty() {
            let ways = Ways::new(graph, steps, &[]);
            self.tell_shortest(&ways, &|_| Ways::new(graph, steps, &[]), &wrong);
        } else if !matches!(model, Model::Causal | Model::Memory) {
            overwrites.sort_unstable();
            overwrites.dedup_by_key(|edge| (edge.older, edge.newer));
            let ways = Ways::new(graph, steps, &overwrites);
            let tangled = ways.not_free();
            if !tangled.is_empty() {
                let on_cycle = ways.some_cycle(&tangled);
                let edges: Vec<Overwrite> = on_cycle
                    .iter()
                    .filter_map(|step| match step.because {
                        Because::Overwrite(edge) => Some(edge),
                        _ => None,
                    })
                    .collect();
                self.found.push(("contradiction", 1));
                self.tell_shortest(&ways, &|_| Ways::new(graph, steps, &[]), &edges);
            }
        }
        Ok(())
    }

    /// Tells the shortest contradiction through one of these overwritings.
    fn tell_shortest(&mut self, ways: &Ways<'_>, before: &WaysBefore<'_>, edges: &[Overwrite]) {
        let cycle_of = |edge: &Overwrite| {
            let back = ways.shortest(edge.newer, edge.older)?;
            let mut cycle = vec![Step { to: edge.newer, because: Because::Overwrite(*edge) }];
            cycle.extend(back);
            Some((cycle.len(), edge.older, cycle))
        };
        let shortest = edges.iter().take(HINTS_MAX).filter_map(cycle_of).min_by_key(|(length, _, _)| *length);
        let (_, start, cycle) = shortest.expect("an overwriting on a cycle leads back to itself");
        self.story = Some(Teller::new(self.graph).contradiction(before, start, &cycle));
    }

    /// Each session's view by itself.
    fn judge_views(&mut self, steps: &Steps, others_read: bool) -> Result<(), String> {
        let graph = self.graph;
        let changes = ByKey::new(graph, steps, |node| !graph.nodes[node as usize].is_read);
        let mut chains = vec![Vec::new(); steps.chains()];
        for (node, chain) in steps.chain.iter().enumerate() {
            chains[*chain as usize].push(node as u32);
        }
        let views = Views { graph, steps, changes: &changes, chains: &chains, others_read };
        let mut steps_left = self.options.budget.steps_max;
        for chain in 0..steps.chains() as u32 {
            if self.options.budget.is_over() {
                return Err(STOPPED.to_owned());
            }
            let judged = judge_views(&views, &mut std::iter::once(chain), &mut steps_left);
            let found = judged.map_err(|OutOfSteps| {
                format!(
                    "The budget of {} steps ended with {} of {} judged.",
                    self.options.budget.steps_max,
                    chain,
                    counted(steps.chains() as u64, "session")
                )
            })?;
            let session = graph.nodes[chains[chain as usize][0] as usize].session;
            let reader = (!others_read).then_some(session);
            match found {
                None => {}
                Some((_, Found::InitialRead { change, read, others })) => {
                    self.found.push(("initial-read", 1));
                    let before = |edge: Option<&Overwrite>| ways_before(reader, graph, steps, &others, edge);
                    self.story = Some(Teller::new(graph).initial_read(&before, change, read));
                    return Ok(());
                }
                Some((_, Found::Cycle { edge, mut others })) => {
                    others.push(edge);
                    let ways = Ways::seen_by(reader, graph, steps, &others);
                    self.found.push(("contradiction", 1));
                    let before = |edge: Option<&Overwrite>| ways_before(reader, graph, steps, &others, edge);
                    self.tell_shortest(&ways, &before, &[edge]);
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// The ways that an overwriting was concluded from: those with the ones before it.
fn ways_before<'g>(
    reader: Option<u32>,
    graph: &'g Graph<'_>,
    steps: &Steps,
    all: &[Overwrite],
    edge: Option<&Overwrite>,
) -> Ways<'g> {
    let until = edge.and_then(|edge| all.iter().position(|known| known == edge)).unwrap_or(all.len());
    Ways::seen_by(reader, graph, steps, &all[..until])
}
