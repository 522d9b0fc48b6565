//! Vector clocks over the kept steps: what is visible to each node, in one pass.
//!
//! Nodes of a *chain* are ordered by it, so one number per chain says which of its nodes are visible: a row of clocks per
//! node. Time and memory are nodes x chains; a budget bounds them.

use super::graph::{Graph, INITIAL, NONE, UNKNOWN};

/// Which steps of a session carry knowledge on, besides reads-from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// All: causal order.
    Everything,
    /// From write to write and from read to read: monotonic writes, as seen by sessions that read monotonically.
    WritesAndReads,
    /// From read to read and from read to write: writes follow reads, as seen by sessions that read monotonically.
    AfterReads,
}

/// The nodes that come directly before each node, and the chains.
#[derive(Debug)]
pub(crate) struct Steps {
    /// The node before in the session, as far as it is kept.
    pub(crate) before: Vec<u32>,
    /// Chain of each node; [`NONE`]: it is in none, and is visible only through reads of it.
    pub(crate) chain: Vec<u32>,
    /// Position in its chain, from 0.
    pub(crate) position: Vec<u32>,
    /// How many nodes each chain has.
    pub(crate) lengths: Vec<u32>,
}

impl Steps {
    pub(crate) fn new(graph: &Graph<'_>, kept: Kept) -> Steps {
        let count = graph.nodes.len();
        let sessions = graph.registers.sessions as usize;
        let mut steps = Steps {
            before: vec![NONE; count],
            chain: vec![NONE; count],
            position: vec![0; count],
            lengths: Vec::new(),
        };
        // Of each session: chain and last node of its reads, and of its writes.
        let mut reads = vec![(NONE, NONE); sessions];
        let mut writes = vec![(NONE, NONE); sessions];
        for (at, node) in graph.nodes.iter().enumerate() {
            let session = node.session as usize;
            let tail = match (kept, node.is_read) {
                (Kept::Everything, _) | (_, true) => &mut reads[session],
                (Kept::WritesAndReads, false) => &mut writes[session],
                (Kept::AfterReads, false) => {
                    steps.before[at] = reads[session].1;
                    continue;
                }
            };
            if tail.0 == NONE {
                tail.0 = steps.lengths.len() as u32;
                steps.lengths.push(0);
            }
            let length = &mut steps.lengths[tail.0 as usize];
            steps.before[at] = tail.1;
            (steps.chain[at], steps.position[at]) = (tail.0, *length);
            *length += 1;
            tail.1 = at as u32;
        }
        steps
    }

    pub(crate) fn chains(&self) -> usize {
        self.lengths.len()
    }
}

/// An order of the nodes in which each comes after what comes directly before it, as positions, or a cycle of nodes.
pub(crate) fn order_of(graph: &Graph<'_>, steps: &Steps) -> Result<Vec<u32>, Vec<u32>> {
    const NEW: u8 = 0;
    const OPEN: u8 = 1;
    const DONE: u8 = 2;
    let count = graph.nodes.len();
    let mut state = vec![NEW; count];
    let mut order = Vec::with_capacity(count);
    let mut path: Vec<u32> = Vec::new();
    for start in 0..count as u32 {
        if state[start as usize] == DONE {
            continue;
        }
        path.push(start);
        while let Some(node) = path.last().copied() {
            state[node as usize] = OPEN;
            let befores = [steps.before[node as usize], read_from(graph, node)];
            match befores.into_iter().find(|before| *before != NONE && state[*before as usize] != DONE) {
                None => {
                    state[node as usize] = DONE;
                    order.push(node);
                    path.pop();
                }
                Some(before) if state[before as usize] == OPEN => {
                    let from = path.iter().position(|open| *open == before).expect("an open node is on the path");
                    let mut cycle = path.split_off(from);
                    cycle.reverse();
                    return Err(cycle);
                }
                Some(before) => path.push(before),
            }
        }
    }
    Ok(order)
}

/// The change that a read returned.
pub(crate) fn read_from(graph: &Graph<'_>, node: u32) -> u32 {
    let known = &graph.nodes[node as usize];
    if known.is_read && known.version != INITIAL && known.version != UNKNOWN { known.version } else { NONE }
}

/// A row of clocks per node: how many nodes of each chain are visible to it, itself included.
#[derive(Debug)]
pub(crate) struct Clocks {
    pub(crate) width: usize,
    rows: Vec<u32>,
}

impl Clocks {
    pub(crate) fn new(graph: &Graph<'_>, steps: &Steps, order: &[u32]) -> Clocks {
        let width = steps.chains().max(1);
        let mut clocks = Clocks { width, rows: vec![0; graph.nodes.len() * width] };
        for node in order.iter().copied() {
            for before in [steps.before[node as usize], read_from(graph, node)] {
                if before != NONE {
                    clocks.join(node, before);
                }
            }
            let chain = steps.chain[node as usize];
            if chain != NONE {
                clocks.rows[node as usize * width + chain as usize] = steps.position[node as usize] + 1;
            }
        }
        clocks
    }

    pub(crate) fn row(&self, node: u32) -> &[u32] {
        &self.rows[node as usize * self.width..][..self.width]
    }

    fn join(&mut self, node: u32, before: u32) {
        let (node, before) = (node as usize * self.width, before as usize * self.width);
        let (into, from) = if node > before {
            let (low, high) = self.rows.split_at_mut(node);
            (&mut high[..self.width], &low[before..before + self.width])
        } else {
            let (low, high) = self.rows.split_at_mut(before);
            (&mut low[node..node + self.width], &high[..self.width])
        };
        into.iter_mut().zip(from).for_each(|(into, from)| *into = (*into).max(*from));
    }

    /// Whether `a` is visible to `b`, for an `a` in a chain.
    pub(crate) fn is_visible(&self, steps: &Steps, a: u32, b: u32) -> bool {
        let chain = steps.chain[a as usize];
        assert!(chain != NONE, "only nodes of chains are asked for");
        self.row(b)[chain as usize] > steps.position[a as usize]
    }
}

/// The nodes of each key by chain, to find the last one before a position.
#[derive(Debug)]
pub(crate) struct ByKey {
    /// Of each key: where its groups begin in `groups`; one more at the end.
    keys: Vec<u32>,
    groups: Vec<Group>,
    /// Position in the chain, and node: by key, chain, position.
    members: Vec<(u32, u32)>,
}

/// The nodes of one chain on one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) chain: u32,
    from: u32,
    to: u32,
}

impl ByKey {
    /// Of the nodes that `include` accepts and that are in chains.
    pub(crate) fn new(graph: &Graph<'_>, steps: &Steps, include: impl Fn(u32) -> bool) -> ByKey {
        let nodes = (0..graph.nodes.len() as u32).filter(|node| steps.chain[*node as usize] != NONE && include(*node));
        let mut sorted: Vec<(u64, u32)> = nodes
            .map(|node| {
                let (key, chain) = (graph.nodes[node as usize].key, steps.chain[node as usize]);
                (u64::from(key) << 32 | u64::from(chain), node)
            })
            .collect();
        // Nodes of a chain stand in its order already, and the sort is stable.
        sorted.sort_by_key(|(place, _)| *place);
        let mut by_key = ByKey { keys: Vec::new(), groups: Vec::new(), members: Vec::with_capacity(sorted.len()) };
        let mut last = None;
        for (place, node) in sorted {
            let (key, chain) = ((place >> 32) as usize, place as u32);
            let from = by_key.members.len() as u32;
            if last != Some(place) {
                while by_key.keys.len() <= key {
                    by_key.keys.push(by_key.groups.len() as u32);
                }
                by_key.groups.push(Group { chain, from, to: from });
                last = Some(place);
            }
            by_key.members.push((steps.position[node as usize], node));
            by_key.groups.last_mut().expect("just pushed").to = from + 1;
        }
        by_key.keys.resize(graph.registers.keys.len() + 1, by_key.groups.len() as u32);
        by_key
    }

    /// The chains that have nodes on a key.
    pub(crate) fn groups(&self, key: u32) -> &[Group] {
        &self.groups[self.keys[key as usize] as usize..self.keys[key as usize + 1] as usize]
    }

    /// The last node of a group among the first `visible` nodes of its chain.
    pub(crate) fn last(&self, group: &Group, visible: u32) -> Option<u32> {
        let members = &self.members[group.from as usize..group.to as usize];
        if members.first().is_none_or(|first| first.0 >= visible) {
            return None;
        }
        // Keys are spread evenly as a rule, so the place is guessed first and looked for from there in growing steps.
        let chain_end = u64::from(members[members.len() - 1].0) + 1;
        let guess = (members.len() as u64 * u64::from(visible) / chain_end).min(members.len() as u64 - 1) as usize;
        let (mut low, mut high) = (0, members.len());
        let mut step = 4;
        if members[guess].0 < visible {
            low = guess;
            while low + step < high {
                if members[low + step].0 >= visible {
                    high = low + step;
                    break;
                }
                low += step;
                step *= 4;
            }
        } else {
            high = guess;
            while high > step {
                if members[high - step].0 < visible {
                    low = high - step;
                    break;
                }
                high -= step;
                step *= 4;
            }
        }
        let within = members[low..high].partition_point(|member| member.0 < visible);
        Some(members[low + within - 1].1)
    }
}
