//! Short cycles: the proof that a person reads.
//!
//! A cycle is a closed walk over transactions. Two searches: the shortest cycle of a class that a level forbids
//! ([`shortest`]), and the cycle of an anomaly by its name, Elle's way ([`named`]). Both are breadth-first within strongly
//! connected components, and stop after a budget of edges; whether there *is* a forbidden cycle never depends on that,
//! except for cycles with one rw edge ([`one_rw`]), which say so.
//!
//! Invariant: a transaction is at most once on a cycle.

use std::collections::VecDeque;

use super::graph::{Components, Graph, INFERRED, PASS, RW, Rule, SESSION, TIME, WR, WW};
use super::level::{Anomaly, Cycles, Scope};

/// Edges that a search may look at.
const BUDGET: u64 = 20_000_000;

/// One edge of a cycle, between transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) kind: u8,
    pub(crate) origin: u32,
}

impl Step {
    /// The kind alone.
    pub(crate) fn base(self) -> u8 {
        self.kind & !INFERRED
    }

    /// What the edge is called.
    pub(crate) fn label(self) -> &'static str {
        match self.base() {
            WW => "ww",
            WR => "wr",
            RW => "rw",
            SESSION => "process",
            _ => "realtime",
        }
    }
}

/// Edges of a scope.
pub(crate) fn scope_mask(scope: Scope) -> u8 {
    match scope {
        Scope::Plain => 0,
        Scope::Session => SESSION,
        Scope::RealTime => SESSION | TIME | PASS,
    }
}

/// What the edges of a cycle make of it.
pub(crate) fn classify(cycle: &[Step]) -> Anomaly {
    let has = |kind: u8| cycle.iter().any(|step| step.base() == kind);
    let scope = match (has(TIME), has(SESSION)) {
        (true, _) => Scope::RealTime,
        (false, true) => Scope::Session,
        (false, false) => Scope::Plain,
    };
    match cycle.iter().filter(|step| step.base() == RW).count() {
        0 if has(WR) => Anomaly::G1c(scope),
        0 => Anomaly::G0(scope),
        1 => Anomaly::GSingle(scope),
        _ if keeps(Cycles::Nonadjacent, cycle) => Anomaly::GNonadjacent(scope),
        _ => Anomaly::G2Item(scope),
    }
}

/// Whether a cycle is of the class.
fn keeps(class: Cycles, cycle: &[Step]) -> bool {
    let pairs = || cycle.iter().zip(cycle.iter().cycle().skip(1)).map(|(one, next)| (one.base(), next.base()));
    let reads = cycle.iter().filter(|step| step.base() == RW).count();
    match class {
        Cycles::Writes => cycle.iter().all(|step| step.base() & (RW | WR) == 0),
        Cycles::Deps | Cycles::CommittedReads | Cycles::AtomicReads | Cycles::Causal => reads == 0,
        Cycles::OneRw => reads <= 1,
        Cycles::Prefix => pairs().all(|(one, next)| next != RW || one & (WW | RW) == 0),
        Cycles::Nonadjacent => pairs().all(|(one, next)| one & next & RW == 0),
        Cycles::Any => true,
    }
}

/// A part of a closed walk that meets no transaction twice and still is what `is_right` says.
fn simple(mut walk: Vec<Step>, is_right: &dyn Fn(&[Step]) -> bool) -> Option<Vec<Step>> {
    'again: loop {
        let mut at_node = std::collections::BTreeMap::new();
        for (at, step) in walk.iter().enumerate() {
            if let Some(before) = at_node.insert(step.from, at) {
                let inner = walk[before..at].to_vec();
                let outer = [&walk[..before], &walk[at..]].concat();
                let mut parts = [inner, outer];
                parts.sort_by_key(Vec::len);
                walk = parts.into_iter().find(|part| is_right(part))?;
                continue 'again;
            }
        }
        return is_right(&walk).then_some(walk);
    }
}

/// Breadth-first search over (node, state); moments cost nothing.
struct Search<'a> {
    graph: &'a Graph,
    mask: u8,
    states: u32,
    /// Per (node, state): in which round it was reached.
    round: Vec<u32>,
    /// From where, and by which edge of that node.
    parent: Vec<(u32, u32)>,
    rounds: u32,
    left: u64,
}

impl<'a> Search<'a> {
    fn new(graph: &'a Graph, mask: u8, states: u32) -> Search<'a> {
        let size = graph.nodes() as usize * states as usize;
        Search { graph, mask, states, round: vec![0; size], parent: vec![(0, 0); size], rounds: 0, left: BUDGET }
    }

    /// The shortest walk from a node in a state to a place that is a goal; as (node, edge) pairs.
    fn walk(
        &mut self,
        (node, state): (u32, u32),
        is_goal: &dyn Fn(u32, u32) -> bool,
        step: &dyn Fn(u32, u8) -> Option<u32>,
        may_visit: &dyn Fn(u32, u32) -> bool,
    ) -> Option<Vec<(u32, u32)>> {
        self.rounds += 1;
        let start = node * self.states + state;
        self.round[start as usize] = self.rounds;
        let mut queue = VecDeque::from([start]);
        while let Some(place) = queue.pop_front() {
            let (node, state) = (place / self.states, place % self.states);
            for (at, arc) in (0_u32..).zip(self.graph.leaving(node)) {
                if self.left == 0 {
                    return None;
                }
                self.left -= 1;
                if arc.kind & self.mask == 0 {
                    continue;
                }
                let Some(next) = step(state, arc.kind) else { continue };
                if is_goal(arc.to, next) {
                    let mut walk = vec![(node, at)];
                    let mut place = place;
                    while place != start {
                        let (before, at) = self.parent[place as usize];
                        walk.push((before / self.states, at));
                        place = before;
                    }
                    walk.reverse();
                    return Some(walk);
                }
                let to = arc.to * self.states + next;
                if self.round[to as usize] == self.rounds || !may_visit(arc.to, next) {
                    continue;
                }
                self.round[to as usize] = self.rounds;
                self.parent[to as usize] = (place, at);
                if arc.kind & PASS != 0 { queue.push_front(to) } else { queue.push_back(to) }
            }
        }
        None
    }

    /// A walk with its moments left out.
    fn steps(&self, walk: &[(u32, u32)]) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::with_capacity(walk.len());
        for (node, at) in walk {
            let arc = self.graph.leaving(*node)[*at as usize];
            if arc.kind & PASS == 0 {
                steps.push(Step { from: *node, to: arc.to, kind: arc.kind, origin: arc.origin });
            } else if let Some(last) = steps.last_mut() {
                last.to = arc.to;
            }
        }
        steps
    }
}

/// A short cycle of the class, one that is there: `components` are those of the class and have members.
pub(crate) fn shortest(graph: &Graph, components: &Components, class: Cycles) -> Vec<Step> {
    let phases = components.rule.phases();
    let mut search = Search::new(graph, components.mask, phases);
    let mut best: Option<Vec<Step>> = None;
    let rule = components.rule;
    for members in &components.members {
        for start in members {
            if search.left == 0 && best.is_none() {
                // One cycle is found whatever it takes.
                search.left = u64::MAX;
            }
            if *start / phases >= graph.transactions || search.left == 0 {
                continue;
            }
            let walk = search.walk(
                (start / phases, start % phases),
                &|node, phase| node * phases + phase == *start,
                &|phase, kind| rule.step(phase, kind),
                &|node, phase| components.together(*start, node * phases + phase),
            );
            let cycle = walk.and_then(|walk| simple(search.steps(&walk), &|part| keeps(class, part)));
            if let Some(cycle) = cycle
                && best.as_ref().is_none_or(|best| cycle.len() < best.len())
            {
                best = Some(cycle);
            }
            if best.as_ref().is_some_and(|best| best.len() == 2) {
                break;
            }
        }
    }
    best.expect("a component has a cycle")
}

/// The shortest way from one transaction to another.
pub(crate) fn path(graph: &Graph, mask: u8, from: u32, to: u32) -> Option<Vec<Step>> {
    let mut search = Search::new(graph, mask, 1);
    let walk = search.walk((from, 0), &|node, _| node == to, &|_, _| Some(0), &|_, _| true)?;
    Some(search.steps(&walk))
}

/// What is known of cycles with exactly one rw edge.
pub(crate) enum OneRw {
    None,
    Found(Vec<Step>),
    /// The budget of edges ended.
    Unknown,
}

/// Looks for a cycle with exactly one rw edge; without rw there is none. `components` are those of all edges.
pub(crate) fn one_rw(graph: &Graph, components: &Components) -> OneRw {
    if components.are_none() {
        return OneRw::None;
    }
    let mask = components.mask & !RW;
    let depths = graph.depths(mask);
    let mut search = Search::new(graph, mask, 1);
    search.left = 20 * BUDGET;
    let mut best: Option<Vec<Step>> = None;
    for members in &components.members {
        for from in members.iter().copied().filter(|node| *node < graph.transactions) {
            for (at, arc) in (0_u32..).zip(graph.leaving(from)) {
                let may_close = depths[arc.to as usize] < depths[from as usize];
                if arc.kind & RW == 0 || !components.together(from, arc.to) || !may_close {
                    continue;
                }
                let walk = search.walk((arc.to, 0), &|node, _| node == from, &|_, _| Some(0), &|node, _| {
                    depths[node as usize] < depths[from as usize]
                });
                if let Some(mut walk) = walk {
                    walk.insert(0, (from, at));
                    let cycle = search.steps(&walk);
                    if best.as_ref().is_none_or(|best| cycle.len() < best.len()) {
                        best = Some(cycle);
                    }
                    if best.as_ref().is_some_and(|best| best.len() == 2) {
                        return OneRw::Found(best.expect("just looked at"));
                    }
                    search.left = search.left.min(BUDGET);
                }
                if search.left == 0 {
                    return best.map_or(OneRw::Unknown, OneRw::Found);
                }
            }
        }
    }
    best.map_or(OneRw::None, OneRw::Found)
}

// What the search for a named anomaly remembers of its walk.
const SEEN_WR: u32 = 1;
const SEEN_SCOPE: u32 = 2;
const AFTER_RW: u32 = 4;
const MANY_RW: u32 = 8;
const ADJACENT: u32 = 16;
const STATES: u32 = 32;

/// A short cycle that is exactly this anomaly. `components` are those of all edges in its scope; `None` also when the
/// budget ended.
pub(crate) fn named(graph: &Graph, components: &Components, anomaly: Anomaly) -> Option<Vec<Step>> {
    let (Anomaly::G0(scope)
    | Anomaly::G1c(scope)
    | Anomaly::GSingle(scope)
    | Anomaly::GNonadjacent(scope)
    | Anomaly::G2Item(scope)) = anomaly
    else {
        return None;
    };
    let scope_edge = match scope {
        Scope::Plain => 0,
        Scope::Session => SESSION,
        Scope::RealTime => TIME,
    };
    // The rarest edge that the anomaly needs comes first.
    let (first, deps) = match anomaly {
        Anomaly::G0(Scope::Plain) => (WW, WW),
        Anomaly::G0(_) => (scope_edge, WW),
        Anomaly::G1c(Scope::Plain) => (WR, WW | WR),
        Anomaly::G1c(_) => (scope_edge, WW | WR),
        Anomaly::GSingle(_) => (RW, WW | WR),
        _ => (RW, WW | WR | RW),
    };
    let step = |state: u32, kind: u8| {
        let kind = kind & !INFERRED;
        if kind & PASS != 0 {
            return Some(state);
        }
        let mut next = state & !AFTER_RW;
        next |= if kind == WR { SEEN_WR } else { 0 };
        next |= if kind == scope_edge { SEEN_SCOPE } else { 0 };
        if kind == RW {
            next |= AFTER_RW | MANY_RW;
            next |= if state & AFTER_RW != 0 { ADJACENT } else { 0 };
            let is_allowed = anomaly != Anomaly::GNonadjacent(scope) || next & ADJACENT == 0;
            return is_allowed.then_some(next);
        }
        Some(next)
    };
    let is_done = |state: u32| {
        let scope_seen = scope == Scope::Plain || state & SEEN_SCOPE != 0;
        scope_seen
            && match anomaly {
                Anomaly::G1c(_) => state & SEEN_WR != 0,
                Anomaly::GNonadjacent(_) => state & MANY_RW != 0 && state & AFTER_RW == 0,
                Anomaly::G2Item(_) => state & MANY_RW != 0 && state & (AFTER_RW | ADJACENT) != 0,
                _ => true,
            }
    };
    let mut search = Search::new(graph, (deps | scope_mask(scope)) & components.mask, STATES);
    let mut best: Option<Vec<Step>> = None;
    for members in &components.members {
        for from in members.iter().copied().filter(|node| *node < graph.transactions) {
            for (at, arc) in (0_u32..).zip(graph.leaving(from)) {
                let kind = arc.kind & !INFERRED;
                if kind != first || !components.together(from, arc.to) {
                    continue;
                }
                let start = match kind {
                    RW => AFTER_RW,
                    WR => SEEN_WR,
                    _ => 0,
                };
                let start = start | if kind == scope_edge { SEEN_SCOPE } else { 0 };
                let goal = |node: u32, state: u32| node == from && is_done(state);
                let walk = search.walk((arc.to, start), &goal, &step, &|node, _| components.together(from, node));
                let cycle = walk.and_then(|mut walk| {
                    walk.insert(0, (from, at));
                    simple(search.steps(&walk), &|part| part.len() > 1 && classify(part) == anomaly)
                });
                if let Some(cycle) = cycle
                    && best.as_ref().is_none_or(|best| cycle.len() < best.len())
                {
                    best = Some(cycle);
                }
                if search.left == 0 || best.as_ref().is_some_and(|best| best.len() == 2) {
                    return best;
                }
            }
        }
    }
    best
}

/// The rule that finds a class by components.
pub(crate) fn rule(class: Cycles) -> Rule {
    match class {
        Cycles::Nonadjacent => Rule::Nonadjacent,
        Cycles::Prefix => Rule::Prefix,
        _ => Rule::Any,
    }
}

/// The edges that cycles of a class may have.
pub(crate) fn class_mask(class: Cycles, scope: Scope) -> u8 {
    let deps = match class {
        Cycles::Writes => WW,
        Cycles::Deps | Cycles::CommittedReads | Cycles::AtomicReads | Cycles::Causal => WW | WR,
        Cycles::OneRw | Cycles::Prefix | Cycles::Nonadjacent | Cycles::Any => WW | WR | RW,
    };
    deps | scope_mask(scope)
}

#[cfg(test)]
mod tests {
    use super::{Cycles, RW, SESSION, Step, WR, WW, keeps, simple};

    /// A closed walk of (from, kind of the edge that leaves it).
    fn walk(edges: &[(u32, u8)]) -> Vec<Step> {
        let to = edges.iter().cycle().skip(1).map(|(to, _)| *to);
        edges.iter().zip(to).map(|((from, kind), to)| Step { from: *from, to, kind: *kind, origin: 0 }).collect()
    }

    fn is_of(class: Cycles, kinds: &[u8]) -> bool {
        let edges: Vec<(u32, u8)> = (0..).zip(kinds.iter().copied()).collect();
        keeps(class, &walk(&edges))
    }

    #[test]
    fn a_class_keeps_its_cycles_alone() {
        assert!(is_of(Cycles::OneRw, &[WW, RW]) && !is_of(Cycles::OneRw, &[RW, WW, RW]));
        assert!(is_of(Cycles::Nonadjacent, &[RW, WW, RW, WR]) && !is_of(Cycles::Nonadjacent, &[RW, WW, RW]));
        assert!(is_of(Cycles::Prefix, &[RW, WR, RW, SESSION]) && !is_of(Cycles::Prefix, &[RW, WR, RW, WW]));
        assert!(!is_of(Cycles::Prefix, &[RW, RW]) && is_of(Cycles::Any, &[RW, RW]));
        assert!(is_of(Cycles::Deps, &[WW, WR]) && !is_of(Cycles::Deps, &[WW, RW]));
        assert!(is_of(Cycles::Writes, &[WW, SESSION]) && !is_of(Cycles::Writes, &[WW, WR]));
    }

    #[test]
    fn of_a_walk_that_meets_a_transaction_twice_the_part_of_the_class_is_told() {
        // Through 1 twice: the shorter part has rw behind rw, the longer one has not.
        let eight = walk(&[(1, RW), (2, RW), (1, WR), (3, RW), (4, WR)]);
        let told = |class: Cycles| simple(eight.clone(), &|part| keeps(class, part));
        assert_eq!(told(Cycles::Nonadjacent), Some(walk(&[(1, WR), (3, RW), (4, WR)])));
        assert_eq!(told(Cycles::Any), Some(walk(&[(1, RW), (2, RW)])));
        assert_eq!(told(Cycles::Deps), None);
    }
}
