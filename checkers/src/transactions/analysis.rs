//! Levels judged: what is forbidden is looked for, and what holds is shown by an order of versions.
//!
//! For lists a level holds if the graph has no forbidden cycle. For registers the levels up to causal are decided by axioms
//! ([`super::axioms`]); above, cycles of what can be derived prove a violation, and an order of all transactions, searched
//! with a budget, proves that the level holds. Between the two the verdict is unknown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::axioms::{self, Extent, Inferred};
use super::cycles::{self, OneRw, Step, class_mask, scope_mask};
use super::graph::{Components, Edge, Graph, INFERRED, RW, Rule, SESSION, WR, WW};
use super::history::{TransactionHistory, TransactionId};
use super::level::{Anomaly, Cycles, Level, Scope};
use super::lists::{self, Lists};
use super::observed::{self, INITIAL, Observed};
use super::precedence;
use super::registers::{self, Derived};
use super::schedule::schedule;
use super::search::{self, Search};
use super::story::{Findings, Reasons};
use crate::explain::counted;
use crate::{CheckOptions, Judgement, OpIndex, Outcome};

/// What a caller may choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransactionOptions {
    /// Steps that the search for an order of the transactions may take, where one is needed (registers at consistent view
    /// and above): about a million a second.
    pub search_steps_max: u64,
}

impl Default for TransactionOptions {
    fn default() -> TransactionOptions {
        TransactionOptions { search_steps_max: 2_000_000 }
    }
}

/// Why one transaction of a cycle must come before another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingEdge {
    /// What must come first.
    pub from: TransactionId,
    /// What must come after it.
    pub to: TransactionId,
    /// The kind: `ww`, `wr`, `rw`, `process` or `realtime`.
    pub label: &'static str,
    /// Why, as a part of a sentence.
    pub reason: String,
}

/// An anomaly that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub anomaly: Anomaly,
    /// How often it was found; for cycles 1: one is looked for.
    pub count: u64,
    /// The transactions of the one that is told, those of a cycle in its order.
    pub transactions: Vec<TransactionId>,
    /// Their indices in the recording.
    pub operations: Vec<OpIndex>,
    /// For cycles: from each transaction to the next, the last to the first.
    pub edges: Vec<FindingEdge>,
    /// The transactions, why each must come before the next, and the contradiction.
    pub sentences: Vec<String>,
}

impl Finding {
    pub(crate) fn new(anomaly: Anomaly) -> Finding {
        Finding {
            anomaly,
            count: 1,
            transactions: Vec::new(),
            operations: Vec::new(),
            edges: Vec::new(),
            sentences: Vec::new(),
        }
    }
}

/// What is known of a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelVerdict {
    /// Which.
    pub level: Level,
    /// Whether it holds.
    pub judgement: Judgement,
    /// Why, in one sentence.
    pub reason: String,
    /// What breaks it; `None` also where a lower level is broken.
    pub broken_by: Option<Finding>,
}

/// All that is known of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// Every anomaly that was found, once.
    pub findings: Vec<Finding>,
    /// Every level, in the order of [`Level::ALL`].
    pub levels: Vec<LevelVerdict>,
}

impl Analysis {
    /// The level's verdict.
    pub fn level(&self, level: Level) -> &LevelVerdict {
        let at = Level::ALL.iter().position(|known| *known == level).expect("all levels are there");
        &self.levels[at]
    }

    /// Levels that hold and are implied by no other one that does.
    pub fn strongest(&self) -> Vec<Level> {
        let holds = |level: Level| self.level(level).judgement == Judgement::Holds;
        let implied: Vec<Level> =
            Level::ALL.into_iter().filter(|level| holds(*level)).flat_map(|level| level.implies()).copied().collect();
        Level::ALL.into_iter().filter(|level| holds(*level) && !implied.contains(level)).collect()
    }

    /// Levels that are violated although all that they imply is not.
    pub fn weakest_broken(&self) -> Vec<Level> {
        let violated = |level: Level| self.level(level).judgement == Judgement::Violated;
        Level::ALL
            .into_iter()
            .filter(|level| violated(*level) && !level.implies().iter().any(|below| violated(*below)))
            .collect()
    }
}

/// Judges every level and looks for every anomaly.
pub fn analyse(history: &TransactionHistory, options: &CheckOptions) -> Analysis {
    let study = Study::new(history);
    let mut levels: Vec<LevelVerdict> = Level::ALL.into_iter().map(|level| study.judge(level, options)).collect();
    spread(&mut levels);
    let mut findings: BTreeMap<Anomaly, Finding> = study.findings.clone();
    study.named_cycles(&mut findings);
    for broken_by in levels.iter().filter_map(|verdict| verdict.broken_by.as_ref()) {
        findings.entry(broken_by.anomaly).or_insert_with(|| broken_by.clone());
    }
    Analysis { findings: findings.into_values().collect(), levels }
}

/// What is unknown may follow from other levels.
fn spread(levels: &mut [LevelVerdict]) {
    let place = |level: Level| Level::ALL.iter().position(|known| *known == level).expect("all levels are there");
    // Weaker levels stand first, so one pass in each direction is enough.
    for at in 0..levels.len() {
        let level = levels[at].level;
        let below = level.implies().iter().find(|below| levels[place(**below)].judgement == Judgement::Violated);
        if let (Judgement::Unknown, Some(below)) = (levels[at].judgement, below) {
            levels[at].judgement = Judgement::Violated;
            levels[at].reason = format!("It implies {}, which is violated.", below.name());
        }
    }
    for at in (0..levels.len()).rev() {
        if levels[at].judgement == Judgement::Holds {
            let level = levels[at].level;
            for below in level.implies() {
                let below = &mut levels[place(*below)];
                assert!(
                    below.judgement != Judgement::Violated,
                    "{} holds without {}",
                    level.name(),
                    below.level.name()
                );
                if below.judgement == Judgement::Unknown {
                    below.judgement = Judgement::Holds;
                    below.reason = format!("{} holds and implies it.", level.name());
                }
            }
        }
    }
}

/// A history that was looked at, ready to be judged by any level.
pub(crate) struct Study<'a> {
    history: &'a TransactionHistory,
    observed: Observed,
    lists: Lists,
    findings: BTreeMap<Anomaly, Finding>,
    /// From writers to readers of registers.
    reads_from: Vec<Edge>,
    has_registers: bool,
}

/// What was found against a level.
enum Found {
    Nothing,
    Cycle(Vec<Step>, Anomaly, Vec<Inferred>),
    Told(Finding),
    /// The search had to end.
    Unknown(String),
}

impl<'a> Study<'a> {
    pub(crate) fn new(history: &'a TransactionHistory) -> Study<'a> {
        let mut findings = Findings::default();
        let mut observed = observed::observe(history, &mut findings);
        if observed.ambiguous.is_some() {
            return Study {
                history,
                observed,
                lists: Lists::default(),
                findings: BTreeMap::new(),
                reads_from: Vec::new(),
                has_registers: false,
            };
        }
        let mut lists = lists::order(history, &mut observed, &mut findings);
        observed::settle(history, &mut observed);
        lists::link(history, &observed, &mut lists);
        registers::lost_updates(history, &observed, &mut findings);
        let reads_from = registers::reads_from(history, &observed);
        let has_registers = observed.writes.all().iter().any(|key| !observed.is_list[*key as usize]);
        Study { history, observed, lists, findings: findings.told(history), reads_from, has_registers }
    }

    /// Transactions that took part, and those of them that are indeterminate.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let took_part = self.history.iter().filter(|(id, _)| self.observed.took_part[id.0 as usize]);
        let (mut all, mut open) = (0, 0);
        for (_, transaction) in took_part {
            all += 1;
            open += u64::from(transaction.outcome == Outcome::Info);
        }
        (all, open)
    }

    /// External reads, and keys written by transactions.
    pub(crate) fn operations(&self) -> (u64, u64) {
        (self.observed.reads.all().len() as u64, self.observed.writes.all().len() as u64)
    }

    /// Judges one level.
    pub(crate) fn judge(&self, level: Level, options: &CheckOptions) -> LevelVerdict {
        let verdict = |judgement, reason: String, broken_by| LevelVerdict { level, judgement, reason, broken_by };
        if let Some(reason) = &self.observed.ambiguous {
            return verdict(Judgement::Unknown, reason.clone(), None);
        }
        let forbidden = self.findings.values().find(|finding| level.forbids(finding.anomaly));
        if let Some(finding) = forbidden {
            return verdict(Judgement::Violated, finding.reason(), Some(finding.clone()));
        }
        if self.observed.reads.all().is_empty() {
            let reason = "No committed transaction read anything that others could have written.".to_owned();
            return verdict(Judgement::Unknown, reason, None);
        }
        let is_timed = level.scope() != Scope::RealTime || self.history.is_timed();
        let scope = if is_timed { level.scope() } else { Scope::Session };
        match self.look(level, scope, options) {
            Found::Told(finding) => verdict(Judgement::Violated, finding.reason(), Some(finding)),
            Found::Cycle(cycle, anomaly, inferred) => {
                let finding = self.told(scope, &cycle, anomaly, &inferred);
                verdict(Judgement::Violated, finding.reason(), Some(finding))
            }
            Found::Unknown(reason) => verdict(Judgement::Unknown, reason, None),
            Found::Nothing if !is_timed => {
                let reason = "The recording does not say which transactions had ended when others began.".to_owned();
                verdict(Judgement::Unknown, reason, None)
            }
            Found::Nothing => verdict(Judgement::Holds, self.holds(level), None),
        }
    }

    fn holds(&self, level: Level) -> String {
        let ((all, open), (reads, writes)) = (self.counts(), self.operations());
        let open = if open > 0 { format!(" ({open} of them indeterminate, but seen)") } else { String::new() };
        let shown = if level.cycles() >= Cycles::OneRw && self.needs_search(level).is_some() {
            "an order of all of them explains every read"
        } else {
            "no forbidden cycle is among them"
        };
        format!(
            "{}{open} with {} of others' writes and {} of {} were judged: {shown}.",
            counted(all, "transaction"),
            counted(reads, "read"),
            counted(writes, "write"),
            counted(self.history.key_count() as u64, "key"),
        )
    }

    /// A key whose order of versions is open, where the level depends on it.
    fn needs_search(&self, level: Level) -> Option<String> {
        if self.has_registers {
            return Some("the order of the versions of registers is not known".to_owned());
        }
        let open = if level.cycles() == Cycles::Any { self.lists.left_out } else { self.lists.open_key() };
        open.map(|key| format!("nobody read what several transactions appended to {}", self.history.key_name(key)))
    }

    fn look(&self, level: Level, scope: Scope, options: &CheckOptions) -> Found {
        let class = level.cycles();
        if class <= Cycles::AtomicReads && self.lists.edges.is_empty() && scope != Scope::RealTime {
            // Registers: an order of all that keeps more than is asked for, sessions, says that nothing is wrong.
            let mut inferred = Vec::new();
            self.infer_directly(class, scope, &mut inferred);
            let is_fine = inferred.iter().all(|one| one.later != INITIAL)
                && schedule(self.history, &self.observed, &[&inferred_edges(&inferred)]).is_some();
            if is_fine {
                return self.unless_left_out();
            }
        }
        let (mut extra, nodes) = self.scope_edges(scope);
        let transactions = self.history.transactions().len() as u32;
        let mask = class_mask(class, scope);
        // What has a cycle without rw is broken for all levels that look at wr.
        let deps = Graph::new(transactions, nodes, &[&self.lists.edges, &self.reads_from, &extra]);
        let deps_mask = mask & !RW;
        let components = deps.components(deps_mask, Rule::Any);
        if !components.are_none() {
            return cycle_of(&deps, &components, if class == Cycles::Writes { class } else { Cycles::Deps }, &[]);
        }
        let mut inferred = Vec::new();
        match class {
            Cycles::Writes | Cycles::Deps => return self.unless_left_out(),
            Cycles::CommittedReads | Cycles::AtomicReads => self.infer_directly(class, scope, &mut inferred),
            Cycles::Causal => {
                let all = axioms::closure(
                    self.history,
                    &self.observed,
                    &deps,
                    WR | SESSION,
                    Extent::New,
                    INFERRED_MAX,
                    &mut inferred,
                );
                if !all {
                    return Found::Unknown(format!("More than {INFERRED_MAX} orders of versions follow: too many."));
                }
            }
            Cycles::OneRw | Cycles::Prefix | Cycles::Nonadjacent | Cycles::Any => {
                let derived = if self.has_registers {
                    registers::derive(self.history, &self.observed, scope, &deps, deps_mask & !WW)
                } else {
                    Derived::default()
                };
                drop(deps);
                extra.extend(&derived.edges);
                let graph = Graph::new(transactions, nodes, &[&self.lists.edges, &self.reads_from, &extra]);
                return self.look_at_all(level, scope, &graph, derived.inferred, options);
            }
        }
        if let Some(one) = inferred.iter().find(|one| one.later == INITIAL) {
            return Found::Told(self.read_before(scope, *one, axiom_anomaly(class, scope)));
        }
        extra.extend(inferred_edges(&inferred));
        let graph = Graph::new(transactions, nodes, &[&self.lists.edges, &self.reads_from, &extra]);
        let components = graph.components(mask, Rule::Any);
        if components.are_none() {
            return self.unless_left_out();
        }
        let cycle = cycles::shortest(&graph, &components, Cycles::Deps);
        Found::Cycle(cycle, axiom_anomaly(class, scope), inferred)
    }

    /// Orders of versions by the rules of read committed and read atomic.
    fn infer_directly(&self, class: Cycles, scope: Scope, inferred: &mut Vec<Inferred>) {
        match class {
            Cycles::CommittedReads => axioms::direct(self.history, &self.observed, true, inferred),
            Cycles::AtomicReads => {
                axioms::direct(self.history, &self.observed, false, inferred);
                if scope != Scope::Plain {
                    axioms::session(self.history, &self.observed, inferred);
                }
            }
            _ => {}
        }
    }

    /// Levels above causal, on a graph with all that is known.
    fn look_at_all(
        &self,
        level: Level,
        scope: Scope,
        graph: &Graph,
        inferred: Vec<Inferred>,
        options: &CheckOptions,
    ) -> Found {
        let class = level.cycles();
        let components = graph.components(class_mask(class, scope), cycles::rule(class));
        if class == Cycles::OneRw {
            // Without rw there is no cycle in the dependencies; derived orders may make one.
            let without = graph.components(class_mask(Cycles::Deps, scope), Rule::Any);
            if !without.are_none() {
                return cycle_of(graph, &without, Cycles::Deps, &inferred);
            }
            match cycles::one_rw(graph, &components) {
                OneRw::Found(cycle) => {
                    let anomaly = cycles::classify(&cycle);
                    return Found::Cycle(cycle, anomaly, inferred);
                }
                OneRw::Unknown => {
                    let reason = "There are cycles, and whether one has a single rw edge was not found out in time.";
                    return Found::Unknown(reason.to_owned());
                }
                OneRw::None => {}
            }
        } else if !components.are_none() {
            return cycle_of(graph, &components, class, &inferred);
        }
        let Some(open) = self.needs_search(level) else { return Found::Nothing };
        if !self.has_registers && self.lists.left_out.is_none() && self.is_fine_as_completed(level, scope) {
            return Found::Nothing;
        }
        let search = Search::new(self.history, &self.observed, graph, scope_mask(scope), class);
        match search.run(options) {
            search::Outcome::Order => Found::Nothing,
            search::Outcome::None if class != Cycles::OneRw => {
                let mut finding = Finding::new(Anomaly::NoOrder(scope));
                let (all, _) = self.counts();
                finding.sentences =
                    vec![format!("Every order of the {all} transactions was tried, and none explains all reads.")];
                Found::Told(finding)
            }
            search::Outcome::None => Found::Unknown(format!(
                "No forbidden cycle follows from the reads, but {open}, and no order was found that would show that it holds."
            )),
            search::Outcome::Budget => Found::Unknown(format!(
                "No forbidden cycle follows from the reads, but {open}, and no order that explains all reads was found in {} steps.",
                options.transactions.search_steps_max.min(options.budget.steps_max)
            )),
        }
    }

    /// Whether nothing is forbidden if appends that nobody saw came in the order of their completions.
    fn is_fine_as_completed(&self, level: Level, scope: Scope) -> bool {
        let class = level.cycles();
        let (mut edges, nodes) = self.scope_edges(scope);
        for (key, unseen) in (0_u32..).zip(&self.lists.unseen) {
            let mut unseen = unseen.clone();
            let transaction = |id: &u32| self.history.transaction(TransactionId(*id));
            unseen.sort_by_key(|id| (transaction(id).completed.unwrap_or(u64::MAX), *id));
            edges.extend(unseen.windows(2).map(|pair| Edge { from: pair[0], to: pair[1], kind: WW, origin: key }));
        }
        let transactions = self.history.transactions().len() as u32;
        let graph = Graph::new(transactions, nodes, &[&self.lists.edges, &edges]);
        let components = graph.components(class_mask(class, scope), cycles::rule(class));
        components.are_none()
            || (class == Cycles::OneRw
                && matches!(cycles::one_rw(&graph, &components), OneRw::None)
                && graph.components(class_mask(Cycles::Deps, scope), Rule::Any).are_none())
    }

    fn unless_left_out(&self) -> Found {
        self.lists.left_out.map_or(Found::Nothing, |key| {
            let key = self.history.key_name(key);
            Found::Unknown(format!("Nobody read what most transactions appended to {key}: their order is not known."))
        })
    }

    fn scope_edges(&self, scope: Scope) -> (Vec<Edge>, u32) {
        let mut nodes = self.history.transactions().len() as u32;
        let mut edges = Vec::new();
        if scope == Scope::RealTime {
            (edges, nodes) = precedence::time_edges(self.history, &self.observed.took_part);
        }
        if scope != Scope::Plain {
            edges.extend(precedence::session_edges(self.history, &self.observed.took_part));
        }
        (edges, nodes)
    }

    /// What explains edges; for inferred orders with the way from the earlier writer to the reader.
    fn reasons<'b>(&'b self, scope: Scope, inferred: &'b [Inferred], told: &[Inferred]) -> Reasons<'b> {
        let mut paths = BTreeMap::new();
        if !told.is_empty() {
            let (edges, nodes) = self.scope_edges(scope);
            let transactions = self.history.transactions().len() as u32;
            let graph = Graph::new(transactions, nodes, &[&self.reads_from, &self.lists.edges, &edges]);
            for one in told {
                if let Some(path) = cycles::path(&graph, WR | scope_mask(scope), one.earlier, one.reader) {
                    paths.insert((one.earlier, one.reader), path);
                }
            }
        }
        Reasons { history: self.history, lists: &self.lists, is_list: &self.observed.is_list, inferred, paths }
    }

    /// A cycle as a finding.
    fn told(&self, scope: Scope, cycle: &[Step], anomaly: Anomaly, inferred: &[Inferred]) -> Finding {
        let steps = cycle.iter().filter(|step| step.kind & INFERRED != 0);
        let told: Vec<Inferred> = steps.map(|step| inferred[step.origin as usize]).collect();
        let mut finding = Finding::new(anomaly);
        finding.transactions = cycle.iter().map(|step| TransactionId(step.from)).collect();
        finding.operations = finding.transactions.iter().map(|id| self.history.transaction(*id).index).collect();
        let reasons = self.reasons(scope, inferred, &told);
        let edge = |step: &Step| FindingEdge {
            from: TransactionId(step.from),
            to: TransactionId(step.to),
            label: step.label(),
            reason: reasons.why(*step),
        };
        finding.edges = cycle.iter().map(edge).collect();
        finding.sentences = reasons.cycle(cycle);
        finding
    }

    /// A read of the state before all writes, by somebody who has seen one.
    fn read_before(&self, scope: Scope, one: Inferred, anomaly: Anomaly) -> Finding {
        let mut finding = Finding::new(anomaly);
        finding.transactions = vec![TransactionId(one.earlier), TransactionId(one.reader)];
        finding.operations = finding.transactions.iter().map(|id| self.history.transaction(*id).index).collect();
        finding.sentences = self.reasons(scope, &[], &[one]).read_before(one);
        finding
    }

    /// Looks for each anomaly that is a cycle by its name.
    fn named_cycles(&self, findings: &mut BTreeMap<Anomaly, Finding>) {
        if self.observed.ambiguous.is_some() {
            return;
        }
        for scope in Scope::ALL {
            if scope == Scope::RealTime && !self.history.is_timed() {
                continue;
            }
            let (mut extra, nodes) = self.scope_edges(scope);
            let transactions = self.history.transactions().len() as u32;
            let mask = class_mask(Cycles::Any, scope);
            let graph = Graph::new(transactions, nodes, &[&self.lists.edges, &self.reads_from, &extra]);
            let mut derived = Derived::default();
            let is_acyclic = || graph.components(mask & !RW, Rule::Any).are_none();
            let graph = if self.has_registers && is_acyclic() {
                derived = registers::derive(self.history, &self.observed, scope, &graph, mask & !(RW | WW));
                extra.extend(&derived.edges);
                Graph::new(transactions, nodes, &[&self.lists.edges, &self.reads_from, &extra])
            } else {
                graph
            };
            let components = graph.components(mask, Rule::Any);
            if components.are_none() {
                continue;
            }
            for anomaly in [
                Anomaly::G0(scope),
                Anomaly::G1c(scope),
                Anomaly::GSingle(scope),
                Anomaly::GNonadjacent(scope),
                Anomaly::G2Item(scope),
            ] {
                if let Some(cycle) = cycles::named(&graph, &components, anomaly) {
                    let anomaly = renamed(&cycle, anomaly);
                    findings.entry(anomaly).or_insert_with(|| self.told(scope, &cycle, anomaly, &derived.inferred));
                }
            }
        }
    }
}

/// Orders of versions that the causal rule may give.
const INFERRED_MAX: usize = 50_000_000;

fn inferred_edges(inferred: &[Inferred]) -> Vec<Edge> {
    let numbered = (0_u32..).zip(inferred);
    let edge = |(at, one): (u32, &Inferred)| Edge { from: one.earlier, to: one.later, kind: WW | INFERRED, origin: at };
    numbered.map(edge).collect()
}

fn cycle_of(graph: &Graph, components: &Components, class: Cycles, inferred: &[Inferred]) -> Found {
    let cycle = cycles::shortest(graph, components, class);
    let anomaly = renamed(&cycle, cycles::classify(&cycle));
    Found::Cycle(cycle, anomaly, inferred.to_vec())
}

/// A cycle of nothing but inferred orders is no dirty write: nobody saw two writers overwrite each other.
fn renamed(cycle: &[Step], anomaly: Anomaly) -> Anomaly {
    let is_inferred = cycle.iter().all(|step| step.kind & INFERRED != 0 && step.base() == WW);
    if is_inferred { Anomaly::CyclicVersions } else { anomaly }
}

fn axiom_anomaly(class: Cycles, scope: Scope) -> Anomaly {
    match class {
        Cycles::CommittedReads => Anomaly::NonMonotonicRead(scope),
        Cycles::AtomicReads => Anomaly::FracturedRead(scope),
        _ => Anomaly::CausalityViolation,
    }
}

impl Finding {
    /// The anomaly and the sentence that matters most.
    fn reason(&self) -> String {
        format!("{}: {}", self.anomaly, self.sentences.last().map_or("", String::as_str))
    }
}
