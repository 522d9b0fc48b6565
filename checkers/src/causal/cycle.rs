//! Cycles of nodes in session order, reads-from and overwriting, and the shortest way between two nodes.

use super::clocks::{Steps, read_from};
use super::graph::{Graph, NONE};

/// The version of `older` is older than that of `newer`, because `read` returned `newer` while `older` was visible to it.
/// All are nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Overwrite {
    pub(crate) older: u32,
    pub(crate) newer: u32,
    pub(crate) read: u32,
}

/// How one node comes before the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Because {
    Session,
    ReadFrom,
    Overwrite(Overwrite),
}

/// A step of a way: to this node, and why it comes after the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) to: u32,
    pub(crate) because: Because,
}

/// What comes directly after each node.
pub(crate) struct Ways<'g> {
    starts: Vec<u32>,
    steps: Vec<Step>,
    nodes: std::marker::PhantomData<&'g ()>,
}

impl<'g> Ways<'g> {
    pub(crate) fn new(graph: &'g Graph<'_>, steps: &Steps, overwrites: &[Overwrite]) -> Ways<'g> {
        Ways::seen_by(None, graph, steps, overwrites)
    }

    /// Where only the reads of one session carry knowledge on.
    pub(crate) fn seen_by(
        reader: Option<u32>,
        graph: &'g Graph<'_>,
        steps: &Steps,
        overwrites: &[Overwrite],
    ) -> Ways<'g> {
        let count = graph.nodes.len();
        let session = (0..count as u32).map(|node| (steps.before[node as usize], node, Because::Session));
        let counts = |node: &u32| reader.is_none_or(|session| graph.nodes[*node as usize].session == session);
        let read = (0..count as u32).filter(counts).map(|node| (read_from(graph, node), node, Because::ReadFrom));
        let overwritten = overwrites.iter().map(|edge| (edge.older, edge.newer, Because::Overwrite(*edge)));
        let edges = || session.clone().chain(read.clone()).chain(overwritten.clone()).filter(|edge| edge.0 != NONE);
        let mut starts = vec![0_u32; count + 2];
        edges().for_each(|(from, _, _)| starts[from as usize + 2] += 1);
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut all = vec![Step { to: NONE, because: Because::Session }; starts[count + 1] as usize];
        for (from, to, because) in edges() {
            let place = &mut starts[from as usize + 1];
            all[*place as usize] = Step { to, because };
            *place += 1;
        }
        Ways { starts, steps: all, nodes: std::marker::PhantomData }
    }

    fn after(&self, node: u32) -> &[Step] {
        &self.steps[self.starts[node as usize] as usize..self.starts[node as usize + 1] as usize]
    }

    /// The shortest way from one node to another, in steps between sessions first; steps within a session are free. Without
    /// one step at least, so that it may lead back to where it began.
    pub(crate) fn shortest(&self, from: u32, to: u32) -> Option<Vec<Step>> {
        let mut came: Vec<Option<(u32, Step)>> = vec![None; self.starts.len() - 2];
        let mut near = vec![from];
        while !near.is_empty() {
            let mut far = Vec::new();
            while let Some(node) = near.pop() {
                for step in self.after(node) {
                    if came[step.to as usize].is_some() {
                        continue;
                    }
                    came[step.to as usize] = Some((node, *step));
                    if step.to == to {
                        return Some(walk(&came, from, to));
                    }
                    if step.because == Because::Session { near.push(step.to) } else { far.push(step.to) }
                }
            }
            far.reverse();
            near = far;
        }
        None
    }

    /// Nodes that are left when all that nothing comes before is taken away, again and again: those on cycles and behind
    /// them. Empty when there is no cycle.
    pub(crate) fn not_free(&self) -> Vec<u32> {
        let count = self.starts.len() - 2;
        let mut held = vec![0_u32; count];
        self.steps.iter().for_each(|step| held[step.to as usize] += 1);
        let mut free: Vec<u32> = (0..count as u32).filter(|node| held[*node as usize] == 0).collect();
        let mut taken = 0;
        while let Some(node) = free.pop() {
            taken += 1;
            for step in self.after(node) {
                held[step.to as usize] -= 1;
                if held[step.to as usize] == 0 {
                    free.push(step.to);
                }
            }
        }
        if taken == count {
            return Vec::new();
        }
        (0..count as u32).filter(|node| held[*node as usize] > 0).collect()
    }
}

/// How far a search has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    New,
    Open,
    Done,
}

impl Ways<'_> {
    /// Some cycle among the nodes that are not free, as its steps.
    pub(crate) fn some_cycle(&self, tangled: &[u32]) -> Vec<Step> {
        let mut marks = vec![Mark::Done; self.starts.len() - 2];
        tangled.iter().for_each(|node| marks[*node as usize] = Mark::New);
        for start in tangled {
            if marks[*start as usize] != Mark::New {
                continue;
            }
            // The step that led to each open node, and how many of its own steps were taken.
            let mut path = vec![(Step { to: *start, because: Because::Session }, 0)];
            marks[*start as usize] = Mark::Open;
            while let Some((step, taken)) = path.last_mut() {
                let node = step.to;
                let Some(next) = self.after(node).get(*taken).copied() else {
                    marks[node as usize] = Mark::Done;
                    path.pop();
                    continue;
                };
                *taken += 1;
                match marks[next.to as usize] {
                    Mark::Done => {}
                    Mark::New => {
                        marks[next.to as usize] = Mark::Open;
                        path.push((next, 0));
                    }
                    Mark::Open => {
                        let from =
                            path.iter().position(|(step, _)| step.to == next.to).expect("open nodes are on the path");
                        let mut cycle: Vec<Step> = path[from + 1..].iter().map(|(step, _)| *step).collect();
                        cycle.push(next);
                        return cycle;
                    }
                }
            }
        }
        panic!("nodes that are not free hold a cycle");
    }
}

fn walk(came: &[Option<(u32, Step)>], from: u32, to: u32) -> Vec<Step> {
    let mut way = Vec::new();
    let mut node = to;
    loop {
        let (before, step) = came[node as usize].expect("a node on the way was come to");
        way.push(step);
        node = before;
        if node == from {
            way.reverse();
            return way;
        }
    }
}
