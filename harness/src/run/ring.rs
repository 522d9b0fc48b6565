//! Who belongs to the cluster while the ring changes, and whether the changes are over, from what the nodes say of their ring.
//!
//! Pure, as [`super::proof`]: what should be so and what the nodes say goes in, what is still missing comes out.

use std::collections::{BTreeMap, BTreeSet};

use hearsay_core::ring::topology::Phase;
use hearsay_core::{NodeId, RingReport};

use super::proof::{InForce, Requirements};
use crate::faults::Evidence;
use crate::plan::{Fault, Plan};

/// What a node says of its ring, or why it says nothing.
pub type Rings = BTreeMap<NodeId, Result<RingReport, String>>;

/// Members and spares of a plan.
pub fn all_nodes(plan: &Plan) -> BTreeSet<NodeId> {
    let members = u16::try_from(plan.cluster.members.len()).expect("few nodes");
    (1..=members + plan.spares).map(NodeId).collect()
}

/// Who does not belong to the cluster: spare nodes before they come, and members that were told to leave or are dead for good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    nodes: BTreeSet<NodeId>,
    changes: bool,
}

impl Outside {
    /// At the start of a plan.
    pub fn of(plan: &Plan) -> Outside {
        let members: BTreeSet<NodeId> = plan.cluster.members.iter().copied().collect();
        let changes = plan.faults.iter().any(|planned| planned.fault.changes_ring());
        Outside { nodes: all_nodes(plan).difference(&members).copied().collect(), changes }
    }

    /// A change begins.
    pub fn begin(&mut self, fault: &Fault) {
        match *fault {
            Fault::Join { node } => drop(self.nodes.remove(&node)),
            Fault::Retire { node } => drop(self.nodes.insert(node)),
            Fault::Replace { node, by } => {
                self.nodes.insert(node);
                self.nodes.remove(&by);
            }
            _ => {}
        }
    }

    /// Whether this node does not belong to the cluster.
    pub fn contains(&self, node: NodeId) -> bool {
        self.nodes.contains(&node)
    }

    /// All of them: nobody asks anything of them, as of those that faults keep away.
    pub fn nodes(&self) -> &BTreeSet<NodeId> {
        &self.nodes
    }

    /// Whether the ring changes in the plan at all.
    pub fn changes(&self) -> bool {
        self.changes
    }

    /// The node of a fault that takes one process alone, which has left for good: what such a fault could not do any more is no fault
    /// that did not bite.
    pub fn only_target(&self, fault: &Fault) -> Option<NodeId> {
        match fault.processes()[..] {
            [node] if self.contains(node) => Some(node),
            _ => None,
        }
    }
}

/// Why a fault is left out whose only node has left.
pub fn left_before(node: NodeId) -> String {
    format!("{node} had left the cluster for good before")
}

/// In which phase every node has to know whom once this fault's change is over.
pub fn phases_after(fault: &Fault) -> BTreeMap<NodeId, Phase> {
    match *fault {
        Fault::Join { node } => [(node, Phase::Normal)].into(),
        Fault::Retire { node } => [(node, Phase::Left)].into(),
        Fault::Replace { node, by } => [(node, Phase::Left), (by, Phase::Normal)].into(),
        _ => BTreeMap::new(),
    }
}

/// Nodes to ask for their ring; none where nothing of it is to be proven.
pub fn to_ask(required: &Requirements, in_force: &InForce, members: &BTreeSet<NodeId>) -> Vec<NodeId> {
    if required.phases.is_empty() && !required.settled {
        return Vec::new();
    }
    members.difference(&in_force.absent).copied().collect()
}

/// Nodes that have to have ended: to be asked whether they still answer.
pub fn to_have_ended(required: &Requirements) -> Vec<NodeId> {
    required.phases.iter().filter(|(_, phase)| **phase == Phase::Left).map(|(node, _)| *node).collect()
}

/// What is still missing of the changes of the ring; empty when it is proven. `running`: those of [`to_have_ended`] that did not.
pub fn unsettled(required: &Requirements, in_force: &InForce, rings: &Rings, running: &[NodeId]) -> Vec<String> {
    let mut missing = Vec::new();
    for (node, phase) in &required.phases {
        if *phase != Phase::Left && in_force.absent.contains(node) {
            missing.push(format!("{node} is away, in the middle of its change of the ring"));
        }
    }
    missing.extend(running.iter().map(|node| format!("{node} has not ended")));
    let mut views: BTreeMap<u64, NodeId> = BTreeMap::new();
    for (node, ring) in rings {
        let ring = match ring {
            Ok(ring) => ring,
            Err(reason) => {
                missing.push(format!("{node} does not tell its ring ({reason})"));
                continue;
            }
        };
        views.entry(ring.view).or_insert(*node);
        let phase_of =
            |wanted: NodeId| ring.members.iter().find(|member| member.node == wanted).map(|member| member.phase);
        for (member, wanted) in &required.phases {
            match phase_of(*member) {
                Some(phase) if phase == *wanted => {}
                Some(phase) => {
                    missing.push(format!("{member} is {}, not {}, as {node} knows", phase.name(), wanted.name()));
                }
                None => missing.push(format!("{node} has not heard of {member}")),
            }
        }
        if required.settled {
            let changing = ring.members.iter().filter(|member| member.phase.is_changing());
            missing
                .extend(changing.map(|member| format!("{} is {} as {node} knows", member.node, member.phase.name())));
            if ring.ranges_unsure > 0 {
                missing.push(format!("{node} has not made sure of {} of its ranges", ring.ranges_unsure));
            }
        }
    }
    if required.settled && views.len() > 1 {
        let nodes: Vec<String> = views.values().map(ToString::to_string).collect();
        missing.push(format!("{} know different members", nodes.join(" and ")));
    }
    missing
}

/// How far a change is, as the nodes know it, into the evidence: the first sentence says it all. Whether anybody knows of it.
pub fn note_phases(evidence: &mut Evidence, fault: &Fault, rings: &Rings) -> bool {
    let mut told = Vec::new();
    let mut known = !rings.is_empty();
    for node in phases_after(fault).into_keys() {
        let mut seen: BTreeMap<Phase, u64> = BTreeMap::new();
        for ring in rings.values().flatten() {
            if let Some(member) = ring.members.iter().find(|member| member.node == node) {
                *seen.entry(member.phase).or_default() += 1;
            }
        }
        // A founder is known to all: only another phase shows that it is on its way.
        let is_new =
            |phase: &Phase| *phase != Phase::Normal || matches!(fault, Fault::Join { .. } | Fault::Replace { .. });
        known &= seen.keys().any(is_new);
        let phases = seen.iter().map(|(phase, count)| format!("{} for {count}", phase.name()));
        for (phase, count) in &seen {
            evidence.number(format!("{node}_{}_for_nodes", phase.name()), *count);
        }
        let phases = phases.collect::<Vec<_>>().join(", ");
        let phases = if phases.is_empty() { "unknown".to_owned() } else { phases };
        told.push(format!("{node} {phases} of {} nodes", rings.values().flatten().count()));
    }
    evidence.sentences.insert(0, told.join("; "));
    known
}

#[cfg(test)]
mod tests {
    use hearsay_core::MemberReport;

    use super::*;
    use crate::faults::Step;

    fn n(number: u16) -> NodeId {
        NodeId(number)
    }

    fn ring(node: u16, view: u64, members: &[(u16, Phase)]) -> (NodeId, Result<RingReport, String>) {
        let member = |&(node, phase): &(u16, Phase)| MemberReport {
            node: n(node),
            phase,
            replaces: None,
            address: Vec::new(),
            ranges: 1,
            share: 1,
        };
        let report = RingReport {
            node: n(node),
            view,
            members: members.iter().map(member).collect(),
            ranges_pending: 0,
            ranges_unsure: 0,
            comparing_with: Vec::new(),
            compared: (0, 0),
            taken_over: (0, 0),
        };
        (n(node), Ok(report))
    }

    const JOINED: &[(u16, Phase)] = &[(1, Phase::Normal), (2, Phase::Normal), (3, Phase::Normal)];
    const JOINING: &[(u16, Phase)] = &[(1, Phase::Normal), (2, Phase::Normal), (3, Phase::Joining)];

    #[test]
    fn a_join_is_over_when_every_node_knows_it_as_normal() {
        let required = Requirements { phases: phases_after(&Fault::Join { node: n(3) }), ..Requirements::default() };
        let none = InForce::default();
        let rings: Rings = [ring(1, 5, JOINED), ring(2, 5, JOINED), ring(3, 5, JOINED)].into();
        assert_eq!(unsettled(&required, &none, &rings, &[]), [""; 0]);
        let rings: Rings = [ring(1, 5, JOINED), ring(2, 4, JOINING), ring(3, 5, &JOINED[..2])].into();
        let missing = unsettled(&required, &none, &rings, &[]);
        assert_eq!(missing, ["n3 is joining, not normal, as n2 knows", "n3 has not heard of n3"]);
        let away = InForce { absent: [n(3)].into(), ..InForce::default() };
        assert_eq!(unsettled(&required, &away, &Rings::new(), &[]).len(), 1, "whose node is away is not over");
    }

    #[test]
    fn a_ring_is_settled_when_all_know_the_same_and_nobody_is_on_the_way() {
        let required = Requirements { settled: true, ..Requirements::default() };
        let none = InForce::default();
        let same: Rings = [ring(1, 5, JOINED), ring(2, 5, JOINED)].into();
        assert_eq!(unsettled(&required, &none, &same, &[]), [""; 0]);
        let other: Rings = [ring(1, 5, JOINED), ring(2, 4, JOINING)].into();
        let missing = unsettled(&required, &none, &other, &[]);
        assert_eq!(missing, ["n3 is joining as n2 knows", "n2 and n1 know different members"]);
        let silent: Rings = [ring(1, 5, JOINED), (n(2), Err("timed out".to_owned()))].into();
        assert_eq!(unsettled(&required, &none, &silent, &[]), ["n2 does not tell its ring (timed out)"]);
    }

    #[test]
    fn who_retires_has_to_end() {
        let required = Requirements { phases: phases_after(&Fault::Retire { node: n(1) }), ..Requirements::default() };
        assert_eq!(to_have_ended(&required), [n(1)]);
        let rings: Rings = [ring(2, 5, &[(1, Phase::Left), (2, Phase::Normal)])].into();
        let away = InForce { absent: [n(1)].into(), ..InForce::default() };
        assert_eq!(unsettled(&required, &away, &rings, &[n(1)]), ["n1 has not ended"]);
        assert_eq!(unsettled(&required, &away, &rings, &[]), [""; 0]);
    }

    #[test]
    fn a_change_that_nobody_has_heard_of_did_not_bite() {
        let mut evidence = Evidence::new("f1", Step::Heal);
        let retire = Fault::Retire { node: n(3) };
        assert!(!note_phases(&mut evidence, &retire, &[ring(1, 5, JOINED)].into()), "a founder that stays is normal");
        assert!(note_phases(&mut evidence, &retire, &[ring(1, 5, &[(3, Phase::Leaving)])].into()));
        assert_eq!(evidence.sentences[0], "n3 leaving for 1 of 1 nodes");
        let join = Fault::Join { node: n(4) };
        assert!(!note_phases(&mut evidence, &join, &[ring(1, 5, JOINED)].into()));
        assert!(!note_phases(&mut evidence, &join, &Rings::new()));
    }
}
