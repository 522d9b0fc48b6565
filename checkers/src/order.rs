//! Whether partial knowledge about an order fits into one order, and the shortest contradiction when it does not.
//!
//! The knowledge comes as *threshold families*. Every member of a family has an `enter` and an `exit`, and a member must
//! come before every other member whose exit is above its enter: `a < b` if and only if `enter(a) < exit(b)`. All that is
//! known about versions has this shape: a session that reads one and later another (positions in the session), a write
//! that was over before another began, a read that was over before another began (times). A family of n members stands
//! for up to n*n edges and is never expanded: topological sorting and breadth-first search both work on the sorted
//! thresholds, so all here is O(m log m) in the memberships m.
//!
//! Pure graph theory: what nodes and families mean is the caller's.

/// No other member comes after this one.
pub(crate) const NEVER_ENTERS: u64 = u64::MAX;
/// No other member comes before this one.
pub(crate) const NEVER_EXITS: u64 = 0;

/// How many nodes of a found cycle are tried as the start of a shorter one. Shorter ones are looked for through each.
const STARTS_MAX: usize = 32;

/// A node's place in a family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    /// The node; once per family.
    pub(crate) node: u32,
    /// It comes before members whose exit is above this.
    pub(crate) enter: u64,
    /// It comes after members whose enter is below this.
    pub(crate) exit: u64,
}

/// `from` comes before `to`, as family number `family` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) family: u32,
}

/// A cycle in the families, or `None` when there is an order of all nodes that fits them all. The cycle is the shortest
/// through any of `hints` and of some nodes of one cycle; its edges are in order, the last leading back to the first.
pub(crate) fn find_cycle(nodes: usize, families: &[Vec<Member>], hints: &[u32]) -> Option<Vec<Edge>> {
    let mut order = Order::new(nodes, families);
    order.remove_all_free();
    let cycle = order.any_cycle()?;
    let mut shortest = cycle.clone();
    let starts = hints.iter().copied().chain(cycle.iter().map(|edge| edge.from));
    for start in starts.take(STARTS_MAX) {
        if shortest.len() == 2 {
            break;
        }
        if let Some(shorter) = order.shortest_through(start, shortest.len() - 1) {
            shortest = shorter;
        }
    }
    Some(shortest)
}

/// An order of all nodes that fits the families, if there is one: of the nodes that may come next always the one whose
/// `first` is lowest.
pub(crate) fn some_order(nodes: usize, families: &[Vec<Member>], first: &[u64]) -> Option<Vec<u32>> {
    let mut order = Order::new(nodes, families);
    let mut waiting: std::collections::BTreeSet<(u64, u32)> = (0..nodes as u32)
        .filter(|node| order.held_by[*node as usize] == 0)
        .map(|node| (first[node as usize], node))
        .collect();
    let mut free = Vec::new();
    for family in 0..order.families.len() {
        order.free_members(family, &mut free);
    }
    let mut placed = Vec::with_capacity(nodes);
    loop {
        waiting.extend(free.drain(..).map(|node| (first[node as usize], node)));
        let Some((_, node)) = waiting.pop_first() else { break };
        placed.push(node);
        order.removed[node as usize] = true;
        for at in 0..order.memberships[node as usize].len() {
            let family = order.memberships[node as usize][at].family;
            order.free_members(family as usize, &mut free);
        }
    }
    (placed.len() == nodes).then_some(placed)
}

#[derive(Clone, Copy, Debug)]
struct Membership {
    family: u32,
    /// Position in the family's members.
    position: u32,
}

/// A family with its two sorted views.
#[derive(Debug)]
struct Thresholds<'f> {
    members: &'f [Member],
    by_enter: Vec<u32>,
    by_exit: Vec<u32>,
    free: Vec<bool>,
    /// Position in `by_enter` of the first remaining member, and of the second.
    first: usize,
    second: usize,
    /// Members in `by_exit` before this are free.
    freed: usize,
}

struct Order<'f> {
    families: Vec<Thresholds<'f>>,
    memberships: Vec<Vec<Membership>>,
    /// Families that hold a node back.
    held_by: Vec<u32>,
    removed: Vec<bool>,
}

impl<'f> Order<'f> {
    fn new(nodes: usize, families: &'f [Vec<Member>]) -> Order<'f> {
        let mut memberships = vec![Vec::new(); nodes];
        for (family, members) in families.iter().enumerate() {
            for (position, member) in members.iter().enumerate() {
                let membership = Membership { family: family as u32, position: position as u32 };
                memberships[member.node as usize].push(membership);
            }
        }
        let held_by = memberships.iter().map(|of_node| of_node.len() as u32).collect();
        let families = families
            .iter()
            .map(|members| {
                let mut by_enter: Vec<u32> = (0..members.len() as u32).collect();
                let mut by_exit = by_enter.clone();
                by_enter.sort_by_key(|position| (members[*position as usize].enter, *position));
                by_exit.sort_by_key(|position| (members[*position as usize].exit, *position));
                let free = vec![false; members.len()];
                Thresholds { members, by_enter, by_exit, free, first: 0, second: 1, freed: 0 }
            })
            .collect();
        Order { families, memberships, held_by, removed: vec![false; nodes] }
    }

    /// Removes nodes that nothing remaining comes before, until none is left or the rest holds itself back.
    fn remove_all_free(&mut self) {
        let mut free: Vec<u32> =
            (0..self.held_by.len() as u32).filter(|node| self.held_by[*node as usize] == 0).collect();
        for family in 0..self.families.len() {
            self.free_members(family, &mut free);
        }
        while let Some(node) = free.pop() {
            self.removed[node as usize] = true;
            for at in 0..self.memberships[node as usize].len() {
                let family = self.memberships[node as usize][at].family;
                self.free_members(family as usize, &mut free);
            }
        }
    }

    /// Frees every member of the family that no other remaining member comes before.
    fn free_members(&mut self, family: usize, free_nodes: &mut Vec<u32>) {
        let Thresholds { members, by_enter, by_exit, free, first, second, freed } = &mut self.families[family];
        let is_removed = |at: usize| self.removed[members[by_enter[at] as usize].node as usize];
        while *first < members.len() && is_removed(*first) {
            *first += 1;
        }
        *second = (*second).max(*first + 1);
        while *second < members.len() && is_removed(*second) {
            *second += 1;
        }
        if *first >= members.len() {
            return;
        }
        let mut release = |position: u32| {
            if !std::mem::replace(&mut free[position as usize], true) {
                let node = members[position as usize].node;
                self.held_by[node as usize] -= 1;
                if self.held_by[node as usize] == 0 {
                    free_nodes.push(node);
                }
            }
        };
        let lowest = by_enter[*first];
        let enter_min = members[lowest as usize].enter;
        while *freed < members.len() && members[by_exit[*freed] as usize].exit <= enter_min {
            release(by_exit[*freed]);
            *freed += 1;
        }
        // A member does not hold itself back: for the one with the lowest enter the second lowest counts.
        let enter_second = by_enter.get(*second).map_or(u64::MAX, |position| members[*position as usize].enter);
        if members[lowest as usize].exit <= enter_second {
            release(lowest);
        }
    }

    /// Any cycle among the nodes that could not be removed, found by walking from before to before.
    fn any_cycle(&self) -> Option<Vec<Edge>> {
        let start = self.removed.iter().position(|removed| !removed)? as u32;
        let mut step_of = vec![u32::MAX; self.removed.len()];
        let mut path: Vec<Edge> = Vec::new();
        let mut node = start;
        loop {
            if step_of[node as usize] != u32::MAX {
                let mut cycle = path.split_off(step_of[node as usize] as usize);
                cycle.reverse();
                return Some(cycle);
            }
            step_of[node as usize] = path.len() as u32;
            let edge = self.held_back_by(node);
            node = edge.from;
            path.push(edge);
        }
    }

    /// A remaining node that comes before this remaining one.
    fn held_back_by(&self, node: u32) -> Edge {
        for membership in &self.memberships[node as usize] {
            let family = &self.families[membership.family as usize];
            let first = family.by_enter[family.first];
            let before = if first == membership.position { family.by_enter.get(family.second) } else { Some(&first) };
            if let Some(before) = before.map(|position| family.members[*position as usize])
                && before.enter < family.members[membership.position as usize].exit
            {
                return Edge { from: before.node, to: node, family: membership.family };
            }
        }
        panic!("a node that could not be removed has nothing before it");
    }

    /// The shortest cycle through `start` of at most `length_max` edges.
    fn shortest_through(&self, start: u32, length_max: usize) -> Option<Vec<Edge>> {
        let mut reached_by: Vec<Option<Edge>> = vec![None; self.removed.len()];
        let mut unexpanded: Vec<usize> = self.families.iter().map(|family| family.members.len()).collect();
        let mut exit_of_start = vec![NEVER_EXITS; self.families.len()];
        for membership in &self.memberships[start as usize] {
            let family = membership.family as usize;
            exit_of_start[family] = self.families[family].members[membership.position as usize].exit;
        }
        let mut layer = vec![start];
        for _ in 0..length_max {
            let mut next = Vec::new();
            for node in layer {
                for membership in &self.memberships[node as usize] {
                    let number = membership.family as usize;
                    let family = &self.families[number];
                    let enter = family.members[membership.position as usize].enter;
                    if node != start && enter < exit_of_start[number] {
                        let mut cycle = vec![Edge { from: node, to: start, family: membership.family }];
                        while cycle[cycle.len() - 1].from != start {
                            let from = cycle[cycle.len() - 1].from;
                            cycle.push(reached_by[from as usize].expect("a node is reached before it is left"));
                        }
                        cycle.reverse();
                        return Some(cycle);
                    }
                    // Members above the lowest threshold used so far have been reached already.
                    while unexpanded[number] > 0 {
                        let member = family.members[family.by_exit[unexpanded[number] - 1] as usize];
                        if member.exit <= enter {
                            break;
                        }
                        unexpanded[number] -= 1;
                        let reached = &mut reached_by[member.node as usize];
                        if member.node != start && reached.is_none() && !self.removed[member.node as usize] {
                            *reached = Some(Edge { from: node, to: member.node, family: membership.family });
                            next.push(member.node);
                        }
                    }
                }
            }
            layer = next;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Expands every edge and looks for the shortest cycle the plain way.
    fn shortest_plainly(nodes: usize, families: &[Vec<Member>]) -> Option<usize> {
        let mut edges = vec![vec![false; nodes]; nodes];
        for members in families {
            for a in members {
                for b in members {
                    edges[a.node as usize][b.node as usize] |= a.node != b.node && a.enter < b.exit;
                }
            }
        }
        let mut walks = edges.clone();
        for length in 1..=nodes {
            if (0..nodes).any(|node| walks[node][node]) {
                return Some(length);
            }
            walks = (0..nodes)
                .map(|a| (0..nodes).map(|c| (0..nodes).any(|b| walks[a][b] && edges[b][c])).collect())
                .collect();
        }
        None
    }

    fn families(nodes: u32) -> impl Strategy<Value = Vec<Vec<Member>>> {
        let place = proptest::option::weighted(0.6, (0..6_u64, 0..6_u64));
        let family = proptest::collection::vec(place, nodes as usize).prop_map(|places| {
            let members = places.into_iter().enumerate();
            let members = members.filter_map(|(node, place)| place.map(|(enter, exit)| (node as u32, enter, exit)));
            members
                .map(|(node, enter, exit)| Member {
                    node,
                    enter: if enter == 5 { NEVER_ENTERS } else { enter },
                    exit: exit.saturating_sub(2),
                })
                .collect()
        });
        proptest::collection::vec(family, 0..4)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn finds_a_cycle_exactly_when_there_is_one_and_a_shortest(families in families(6)) {
            let all: Vec<u32> = (0..6).collect();
            let found = find_cycle(6, &families, &all);
            prop_assert_eq!(found.as_ref().map(Vec::len), shortest_plainly(6, &families));
            for (at, edge) in found.iter().flatten().enumerate() {
                let cycle = found.as_ref().unwrap();
                prop_assert_eq!(edge.to, cycle[(at + 1) % cycle.len()].from);
                let place = |node| families[edge.family as usize].iter().find(|member| member.node == node).unwrap();
                prop_assert!(edge.from != edge.to && place(edge.from).enter < place(edge.to).exit);
            }
        }
    }
}
