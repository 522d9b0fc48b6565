//! A graph of transactions: dependencies between them, and its strongly connected components.
//!
//! Nodes below [`Graph::transactions`] are transactions, those from there on are moments of time: a transaction leads to the
//! moment of its completion, a moment to the next one and to the transactions that begin after it ([`super::precedence`]).
//! So real time takes as many edges as there are transactions, though it orders almost all pairs of them.
//!
//! Source: Tarjan, Depth-first search and linear graph algorithms, 1972.

/// `from` wrote a version of a key, `to` the next.
pub(crate) const WW: u8 = 1;
/// `to` read what `from` wrote.
pub(crate) const WR: u8 = 2;
/// `from` read what `to` overwrote.
pub(crate) const RW: u8 = 4;
/// `to` follows `from` in its session.
pub(crate) const SESSION: u8 = 8;
/// To the moment of completion.
pub(crate) const TIME: u8 = 16;
/// From a moment on: goes with the [`TIME`] before it.
pub(crate) const PASS: u8 = 32;
/// With [`WW`] or [`RW`]: `origin` is the number of an inferred order of two versions, not a key.
pub(crate) const INFERRED: u8 = 64;

/// An edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) kind: u8,
    /// The key that it is about, or see [`INFERRED`].
    pub(crate) origin: u32,
}

/// An edge that leaves a known node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arc {
    pub(crate) to: u32,
    pub(crate) origin: u32,
    pub(crate) kind: u8,
}

/// Which paths count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// All.
    Any,
    /// No rw after rw.
    Nonadjacent,
    /// rw only after something that is neither ww nor rw.
    Prefix,
}

impl Rule {
    /// States of a node: what came before may matter.
    pub(crate) fn phases(self) -> u32 {
        if self == Rule::Any { 1 } else { 2 }
    }

    /// The state after an edge of that kind; in state 1 no rw may follow.
    pub(crate) fn step(self, phase: u32, kind: u8) -> Option<u32> {
        if kind & PASS != 0 {
            return Some(phase);
        }
        match self {
            Rule::Any => Some(0),
            Rule::Nonadjacent | Rule::Prefix if kind & RW != 0 => (phase == 0).then_some(1),
            Rule::Nonadjacent => Some(0),
            Rule::Prefix => Some(u32::from(kind & WW != 0)),
        }
    }
}

/// Edges by the node that they leave.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) transactions: u32,
    offsets: Vec<u32>,
    arcs: Vec<Arc>,
}

impl Graph {
    /// Sorts edges by their beginnings; they keep their order otherwise.
    pub(crate) fn new(transactions: u32, nodes: u32, parts: &[&[Edge]]) -> Graph {
        let count: usize = parts.iter().map(|edges| edges.len()).sum();
        assert!(u32::try_from(count).is_ok(), "{count} edges are more than can be numbered");
        let mut offsets = vec![0_u32; nodes as usize + 1];
        for edge in parts.iter().copied().flatten() {
            offsets[edge.from as usize + 1] += 1;
        }
        for at in 1..offsets.len() {
            offsets[at] += offsets[at - 1];
        }
        let mut next = offsets.clone();
        let mut arcs = vec![Arc { to: 0, origin: 0, kind: 0 }; count];
        for edge in parts.iter().copied().flatten() {
            let at = &mut next[edge.from as usize];
            arcs[*at as usize] = Arc { to: edge.to, origin: edge.origin, kind: edge.kind };
            *at += 1;
        }
        Graph { transactions, offsets, arcs }
    }

    pub(crate) fn nodes(&self) -> u32 {
        self.offsets.len() as u32 - 1
    }

    pub(crate) fn leaving(&self, node: u32) -> &[Arc] {
        &self.arcs[self.offsets[node as usize] as usize..self.offsets[node as usize + 1] as usize]
    }

    /// Strongly connected components of (node, state) pairs with more than one member, along edges of the kinds in `mask`.
    pub(crate) fn components(&self, mask: u8, rule: Rule) -> Components {
        Tarjan::new(self, mask, rule).run()
    }

    /// For every node the length of the longest path that ends in it along edges of the kinds in `mask`; nodes on cycles and
    /// after them have `u32::MAX`. A node reaches only nodes with a greater number, or with `u32::MAX`.
    pub(crate) fn depths(&self, mask: u8) -> Vec<u32> {
        let nodes = self.nodes();
        let mut missing = vec![0_u32; nodes as usize];
        for node in 0..nodes {
            for arc in self.leaving(node).iter().filter(|arc| arc.kind & mask != 0) {
                missing[arc.to as usize] += 1;
            }
        }
        let mut depths = vec![0_u32; nodes as usize];
        let mut ready: Vec<u32> = (0..nodes).filter(|node| missing[*node as usize] == 0).collect();
        while let Some(node) = ready.pop() {
            for arc in self.leaving(node).iter().filter(|arc| arc.kind & mask != 0) {
                let to = arc.to as usize;
                depths[to] = depths[to].max(depths[node as usize] + 1);
                missing[to] -= 1;
                if missing[to] == 0 {
                    ready.push(arc.to);
                }
            }
        }
        for node in 0..nodes as usize {
            if missing[node] > 0 {
                depths[node] = u32::MAX;
            }
        }
        depths
    }
}

/// Components with more than one member.
#[derive(Debug)]
pub(crate) struct Components {
    pub(crate) rule: Rule,
    pub(crate) mask: u8,
    /// Of each state (node times phases plus phase): 0 if it is alone, otherwise its component's number plus 1.
    of: Vec<u32>,
    /// States of each component, small components first.
    pub(crate) members: Vec<Vec<u32>>,
}

impl Components {
    pub(crate) fn are_none(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether a walk from one state to the other may be part of a cycle.
    pub(crate) fn together(&self, one: u32, other: u32) -> bool {
        let of = self.of[one as usize];
        of != 0 && of == self.of[other as usize]
    }
}

/// Depth-first search with its own stack: histories are deeper than the stack of a thread.
struct Tarjan<'a> {
    graph: &'a Graph,
    mask: u8,
    rule: Rule,
    phases: u32,
    /// Order of discovery from 1; 0: not seen yet.
    discovered: Vec<u32>,
    /// Earliest state on the stack that is reachable; `DONE` when its component is known.
    low: Vec<u32>,
    stack: Vec<u32>,
    /// (state, next edge of its node).
    path: Vec<(u32, u32)>,
    count: u32,
    members: Vec<Vec<u32>>,
}

const DONE: u32 = u32::MAX;

impl<'a> Tarjan<'a> {
    fn new(graph: &'a Graph, mask: u8, rule: Rule) -> Tarjan<'a> {
        let phases = rule.phases();
        let states = graph.nodes() as usize * phases as usize;
        Tarjan {
            graph,
            mask: mask | if mask & TIME != 0 { PASS } else { 0 },
            rule,
            phases,
            discovered: vec![0; states],
            low: vec![0; states],
            stack: Vec::new(),
            path: Vec::new(),
            count: 0,
            members: Vec::new(),
        }
    }

    fn run(mut self) -> Components {
        for state in 0..self.discovered.len() as u32 {
            if self.discovered[state as usize] == 0 {
                self.search(state);
            }
        }
        self.members.sort_by_key(|members| (members.len(), members[0]));
        let mut of = vec![0; if self.members.is_empty() { 0 } else { self.discovered.len() }];
        for (number, members) in self.members.iter().enumerate() {
            for state in members {
                of[*state as usize] = number as u32 + 1;
            }
        }
        Components { rule: self.rule, mask: self.mask, of, members: self.members }
    }

    fn discover(&mut self, state: u32) {
        self.count += 1;
        self.discovered[state as usize] = self.count;
        self.low[state as usize] = self.count;
        self.stack.push(state);
        self.path.push((state, 0));
    }

    fn search(&mut self, root: u32) {
        self.discover(root);
        while let Some((state, next)) = self.path.last_mut() {
            let (state, at) = (*state, *next as usize);
            *next += 1;
            let (node, phase) = (state / self.phases, state % self.phases);
            let Some(arc) = self.graph.leaving(node).get(at) else {
                self.leave(state);
                continue;
            };
            if arc.kind & self.mask == 0 {
                continue;
            }
            let Some(phase) = self.rule.step(phase, arc.kind) else { continue };
            let to = arc.to * self.phases + phase;
            if self.discovered[to as usize] == 0 {
                self.discover(to);
            } else if self.low[to as usize] != DONE {
                self.low[state as usize] = self.low[state as usize].min(self.discovered[to as usize]);
            }
        }
    }

    fn leave(&mut self, state: u32) {
        self.path.pop();
        let low = self.low[state as usize];
        if let Some((parent, _)) = self.path.last() {
            self.low[*parent as usize] = self.low[*parent as usize].min(low);
        }
        if low != self.discovered[state as usize] {
            return;
        }
        let from = self.stack.iter().rposition(|member| *member == state).expect("it is on the stack until now");
        let mut members = self.stack.split_off(from);
        for member in &members {
            self.low[*member as usize] = DONE;
        }
        if members.len() > 1 {
            members.sort_unstable();
            self.members.push(members);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Edge, Graph, RW, Rule, TIME, WR, WW};

    fn graph(nodes: u32, edges: &[(u32, u32, u8)]) -> Graph {
        let edges: Vec<Edge> =
            edges.iter().map(|(from, to, kind)| Edge { from: *from, to: *to, kind: *kind, origin: 0 }).collect();
        Graph::new(nodes, nodes, &[&edges])
    }

    #[test]
    fn components_are_those_of_the_edges_asked_for() {
        let graph = graph(5, &[(0, 1, WW), (1, 2, WR), (2, 0, RW), (3, 4, WW), (4, 3, WW)]);
        assert_eq!(graph.components(WW | WR, Rule::Any).members, [[3, 4]]);
        assert_eq!(graph.components(WW | WR | RW, Rule::Any).members, [vec![3, 4], vec![0, 1, 2]]);
        assert_eq!(graph.components(WR | TIME, Rule::Any).members, [[0; 0]; 0]);
        assert_eq!(graph.depths(WW | WR), [0, 1, 2, u32::MAX, u32::MAX]);
    }

    #[test]
    fn rules_leave_out_cycles_with_rw_in_the_wrong_places() {
        let skew = graph(2, &[(0, 1, RW), (1, 0, RW)]);
        assert!(skew.components(RW, Rule::Nonadjacent).are_none());
        assert!(!skew.components(RW, Rule::Any).are_none());
        let fork = graph(4, &[(0, 1, RW), (1, 2, WR), (2, 3, RW), (3, 0, WR)]);
        assert!(!fork.components(WR | RW, Rule::Nonadjacent).are_none());
        assert!(!fork.components(WR | RW, Rule::Prefix).are_none());
        let lost = graph(2, &[(0, 1, RW), (1, 0, WW)]);
        assert!(!lost.components(WW | RW, Rule::Nonadjacent).are_none());
        assert!(lost.components(WW | RW, Rule::Prefix).are_none());
    }
}
