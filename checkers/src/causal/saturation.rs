//! What one session forces upon the order of writes: the happened-before of causal memory, and of PRAM.
//!
//! For a session p there must be one order of the writes that p can know of and p's own operations in which each read of p
//! returns the latest write. Whenever a read of p returned `w` and another write `v` of the key comes before that read, `v`
//! comes before `w` (Bouajjani et al. 2017, relation HB). This is applied until nothing is added: p's operations are gone
//! through in order, what becomes visible gets its row of clocks once, and an added order is passed on among what is
//! visible until no row grows. Broken are: a cycle (CyclicHB), and a read of the initial version with a write of its key
//! before it (WriteHBInitRead).
//!
//! PRAM is the same with fewer steps: reads-from counts for p's own reads only.

use super::clocks::{ByKey, Steps, read_from};
use super::cycle::Overwrite;
use super::graph::{Graph, INITIAL, NONE, UNKNOWN};

/// What was found in one session's view.
#[derive(Debug)]
pub(crate) enum Found {
    /// `newer` comes before `older` in the view, and after it by this: nodes of a cycle. Overwritings that may be on the way.
    Cycle { edge: Overwrite, others: Vec<Overwrite> },
    /// The read of the initial version and a change before it.
    InitialRead { change: u32, read: u32, others: Vec<Overwrite> },
}

/// Why a session could not be judged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutOfSteps;

/// The history, prepared for one view after another.
pub(crate) struct Views<'g, 'h> {
    pub(crate) graph: &'g Graph<'h>,
    pub(crate) steps: &'g Steps,
    /// Changes by key and chain.
    pub(crate) changes: &'g ByKey,
    /// Nodes by chain.
    pub(crate) chains: &'g [Vec<u32>],
    /// Whether reads of other sessions carry knowledge on (causal memory), or only those of the session itself (PRAM).
    pub(crate) others_read: bool,
}

struct View<'v, 'g, 'h> {
    of: &'v Views<'g, 'h>,
    chain: u32,
    width: usize,
    /// Row of each node, as a position in `rows` divided by the width; [`NONE`]: not visible yet.
    row_of: Vec<u32>,
    rows: Vec<u32>,
    visible: Vec<u32>,
    overwrites: Vec<Overwrite>,
    /// By node: overwritings in which it is the older one, as a list through `next`.
    first_from: Vec<u32>,
    next_from: Vec<u32>,
    /// Readers of each change that are visible, as a list: first by node, then by reader.
    first_reader: Vec<u32>,
    next_reader: Vec<u32>,
    steps_left: u64,
}

/// Judges sessions one after another, `chains` by number; the first violation ends it.
pub(crate) fn judge_views(
    views: &Views<'_, '_>,
    chains: &mut dyn Iterator<Item = u32>,
    steps_max: &mut u64,
) -> Result<Option<(u32, Found)>, OutOfSteps> {
    let count = views.graph.nodes.len();
    let mut view = View {
        of: views,
        chain: 0,
        width: views.steps.chains(),
        row_of: vec![NONE; count],
        rows: Vec::new(),
        visible: Vec::new(),
        overwrites: Vec::new(),
        first_from: vec![NONE; count],
        next_from: Vec::new(),
        first_reader: vec![NONE; count],
        next_reader: vec![NONE; count],
        steps_left: *steps_max,
    };
    for chain in chains {
        let found = view.judge(chain)?;
        *steps_max = view.steps_left;
        if let Some(found) = found {
            return Ok(Some((chain, found)));
        }
    }
    Ok(None)
}

impl View<'_, '_, '_> {
    fn judge(&mut self, chain: u32) -> Result<Option<Found>, OutOfSteps> {
        for node in self.visible.drain(..) {
            self.row_of[node as usize] = NONE;
            self.first_from[node as usize] = NONE;
            self.first_reader[node as usize] = NONE;
            self.next_reader[node as usize] = NONE;
        }
        self.rows.clear();
        self.overwrites.clear();
        self.next_from.clear();
        self.chain = chain;
        for at in 0..self.of.chains[chain as usize].len() {
            let node = self.of.chains[chain as usize][at];
            self.reveal(node)?;
            if self.of.graph.nodes[node as usize].is_read {
                // Rows that grow may concern reads before, whose turn comes again.
                let mut waiting = vec![node];
                while let Some(read) = waiting.pop() {
                    if let Some(found) = self.judge_read(read, &mut waiting)? {
                        return Ok(Some(found));
                    }
                }
            }
        }
        Ok(None)
    }

    fn spend(&mut self, steps: usize) -> Result<(), OutOfSteps> {
        self.steps_left = self.steps_left.checked_sub(steps as u64).ok_or(OutOfSteps)?;
        Ok(())
    }

    /// Whether what a node read carries knowledge on to it.
    fn source(&self, node: u32) -> u32 {
        let counts = self.of.others_read || self.of.steps.chain[node as usize] == self.chain;
        if counts { read_from(self.of.graph, node) } else { NONE }
    }

    /// Makes a node visible, with all that comes before it.
    fn reveal(&mut self, node: u32) -> Result<(), OutOfSteps> {
        let mut path = vec![node];
        while let Some(node) = path.last().copied() {
            if self.row_of[node as usize] != NONE {
                path.pop();
                continue;
            }
            let befores = [self.of.steps.before[node as usize], self.source(node)];
            if let Some(before) =
                befores.into_iter().find(|before| *before != NONE && self.row_of[*before as usize] == NONE)
            {
                path.push(before);
                continue;
            }
            path.pop();
            self.spend(self.width)?;
            let row = self.rows.len();
            self.row_of[node as usize] = (row / self.width) as u32;
            self.visible.push(node);
            match befores[0] {
                NONE => self.rows.resize(row + self.width, 0),
                before => {
                    let from = self.row_of[before as usize] as usize * self.width;
                    self.rows.extend_from_within(from..from + self.width);
                }
            }
            if befores[1] != NONE {
                self.join(node, befores[1]);
                self.next_reader[node as usize] = self.first_reader[befores[1] as usize];
                self.first_reader[befores[1] as usize] = node;
            }
            self.rows[row + self.of.steps.chain[node as usize] as usize] = self.of.steps.position[node as usize] + 1;
        }
        Ok(())
    }

    fn clock(&self, node: u32, chain: u32) -> u32 {
        self.rows[self.row_of[node as usize] as usize * self.width + chain as usize]
    }

    fn comes_before(&self, a: u32, b: u32) -> bool {
        self.clock(b, self.of.steps.chain[a as usize]) > self.of.steps.position[a as usize]
    }

    /// Whether the row of `node` grew by that of `before`.
    fn join(&mut self, node: u32, before: u32) -> bool {
        let (node, before) = (self.row_of[node as usize] as usize, self.row_of[before as usize] as usize);
        let mut grew = false;
        for at in 0..self.width {
            let other = self.rows[before * self.width + at];
            let own = &mut self.rows[node * self.width + at];
            grew |= other > *own;
            *own = other.max(*own);
        }
        grew
    }

    /// Every write of the key before the read comes before the one that it returned.
    fn judge_read(&mut self, read: u32, waiting: &mut Vec<u32>) -> Result<Option<Found>, OutOfSteps> {
        let node = self.of.graph.nodes[read as usize];
        if node.version == UNKNOWN {
            return Ok(None);
        }
        let groups = self.of.changes.groups(node.key);
        self.spend(groups.len())?;
        for group in groups {
            let visible = self.clock(read, group.chain);
            let Some(change) = self.of.changes.last(group, visible) else { continue };
            if node.version == INITIAL {
                let others = self.overwrites.clone();
                return Ok(Some(Found::InitialRead { change, read, others }));
            }
            if change == node.version || self.comes_before(change, node.version) {
                continue;
            }
            let edge = Overwrite { older: change, newer: node.version, read };
            if self.comes_before(node.version, change) {
                return Ok(Some(Found::Cycle { edge, others: self.overwrites.clone() }));
            }
            self.add(edge, waiting)?;
        }
        Ok(None)
    }

    fn add(&mut self, edge: Overwrite, waiting: &mut Vec<u32>) -> Result<(), OutOfSteps> {
        self.next_from.push(self.first_from[edge.older as usize]);
        self.first_from[edge.older as usize] = self.overwrites.len() as u32;
        self.overwrites.push(edge);
        let mut grown = vec![(edge.older, edge.newer)];
        while let Some((from, to)) = grown.pop() {
            self.spend(self.width)?;
            if !self.join(to, from) {
                continue;
            }
            let node = self.of.graph.nodes[to as usize];
            let chain = self.of.steps.chain[to as usize];
            if node.is_read && chain == self.chain {
                waiting.push(to);
            }
            let after = self.of.chains[chain as usize].get(self.of.steps.position[to as usize] as usize + 1);
            if let Some(after) = after.copied()
                && self.row_of[after as usize] != NONE
            {
                grown.push((to, after));
            }
            let mut reader = self.first_reader[to as usize];
            while reader != NONE {
                grown.push((to, reader));
                reader = self.next_reader[reader as usize];
            }
            let mut other = self.first_from[to as usize];
            while other != NONE {
                grown.push((to, self.overwrites[other as usize].newer));
                other = self.next_from[other as usize];
            }
        }
        Ok(())
    }
}
