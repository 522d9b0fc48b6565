//! Who is on the ring when: gives changes of the ring their nodes, and keeps faults and operations to nodes that are there.
//!
//! Faults are drawn without knowing of each other. So the changes of the ring, and whatever else falls into a plan that has any, are gone
//! through by their start, with the members of the moment at hand:
//!
//! ```text
//! spare --join--> member --retire--> on its way out, until the change's planned end --> gone
//!   |             member --replace--> gone
//!   '--replace--> member
//! ```
//!
//! A crash or pause of one node that falls into a change takes, every other time, the node that the change is about.
//! Plans without spare nodes and without such changes are left as they are.

use std::collections::{BTreeMap, BTreeSet};

use hearsay_core::ring::topology::{MemberMap, Phase, RingMember, Topology};
use hearsay_core::{Conflict, NodeId};
use hearsay_workloads::stream;
use rand::RngExt;
use rand::seq::IndexedRandom;

use super::shapes::draw_blocked;
use super::{Endpoint, Fault, PartitionShape, Plan, PlannedFault};
use crate::campaign::NODES_MAX;

/// How long after its start a spare node gets no requests of clients, milliseconds.
const START_MS: u64 = 500;

/// How long a node has been left alone before it is told to leave, milliseconds.
const UP_MS: u64 = 1_500;

/// How long a fault keeps away from a node that another one had, where it was not drawn for it, milliseconds.
const AGAIN_MS: u64 = 500;

/// The members of a moment, as a plan has them.
#[derive(Clone, Debug)]
pub(super) struct Members {
    present: BTreeSet<NodeId>,
    spares: BTreeSet<NodeId>,
    /// On their way out, and until when.
    leaving: BTreeMap<NodeId, u64>,
    /// What changes are about, from when and until when.
    subjects: BTreeMap<NodeId, (u64, u64)>,
}

impl Members {
    pub(super) fn at_start(members: u16, spares: u16) -> Members {
        Members {
            present: (1..=members).map(NodeId).collect(),
            spares: (members + 1..=members + spares).map(NodeId).collect(),
            leaving: BTreeMap::new(),
            subjects: BTreeMap::new(),
        }
    }

    /// Carries out a change; `None`: it can't be.
    pub(super) fn change(&mut self, planned: &PlannedFault) -> Option<()> {
        let (at_ms, until_ms) = (planned.at_ms, planned.until_ms());
        match planned.fault {
            Fault::Join { node } => {
                self.spares.remove(&node).then_some(())?;
                self.present.insert(node);
                self.subjects.insert(node, (at_ms, until_ms));
            }
            Fault::Retire { node } => {
                self.present.remove(&node).then_some(())?;
                self.leaving.insert(node, until_ms);
                // It may be gone soon.
                self.subjects.insert(node, (at_ms.saturating_sub(START_MS), until_ms));
            }
            Fault::Replace { node, by } => {
                (self.present.contains(&node) && self.spares.remove(&by)).then_some(())?;
                self.present.remove(&node);
                self.present.insert(by);
                self.subjects.insert(by, (at_ms, until_ms));
            }
            _ => {}
        }
        Some(())
    }

    /// Whether a fault that starts at this time may take the process of this node.
    pub(super) fn is_there(&self, node: NodeId, at_ms: u64) -> bool {
        self.present.contains(&node) || self.leaving.get(&node).is_some_and(|until_ms| at_ms < *until_ms)
    }

    /// How many serve, or soon will.
    pub(super) fn count(&self) -> usize {
        self.present.len()
    }

    fn forget_before(&mut self, at_ms: u64) {
        self.leaving.retain(|_, until_ms| at_ms < *until_ms);
        self.subjects.retain(|_, (_, until_ms)| at_ms < *until_ms);
    }
}

/// Gives every change of the ring its nodes, and every other fault nodes that are there.
pub(super) fn name_members(faults: &mut Vec<PlannedFault>, founders: u16, spares: u16, seed: u64) {
    let mut members = Members::at_start(founders, spares);
    let mut named: Vec<PlannedFault> = Vec::with_capacity(faults.len());
    for (index, mut planned) in (0..).zip(std::mem::take(faults)) {
        let mut random = stream(seed, "fault-member", index);
        members.forget_before(planned.at_ms);
        let at_ms = planned.at_ms;
        let until = |margin_ms: u64| -> BTreeSet<NodeId> {
            let in_force = named.iter().filter(|other| other.until_ms() + margin_ms > at_ms);
            in_force.flat_map(|other| other.fault.processes()).collect()
        };
        // A node that has just been started again could not be stopped, and is its own again a moment after a fault of it.
        let taken = until(AGAIN_MS);
        let free = |margin_ms: u64| -> Vec<NodeId> {
            let taken = until(margin_ms);
            let is_founder = |node: &&NodeId| node.0 <= founders && !taken.contains(node);
            members.present.iter().filter(is_founder).copied().collect()
        };
        // A node that has just been started again could not be told to leave.
        let free = Some(free(UP_MS)).filter(|free| !free.is_empty()).unwrap_or_else(|| free(0));
        match &mut planned.fault {
            Fault::Join { node } => *node = first(&members.spares),
            Fault::Retire { node } => *node = *free.choose(&mut random).expect("other faults leave a member alone"),
            Fault::Replace { node, by } => {
                *node = *free.choose(&mut random).expect("other faults leave a member alone");
                *by = first(&members.spares);
            }
            Fault::Partition { shape, blocked } => {
                let mut there: Vec<NodeId> = members.present.iter().copied().collect();
                let cuts_one =
                    matches!(shape, PartitionShape::IsolateOne | PartitionShape::OneWay | PartitionShape::Clients);
                if !cuts_one {
                    there.extend(members.leaving.keys());
                }
                let count = u16::try_from(there.len()).expect("few nodes");
                let node = |end: Endpoint| match end {
                    Endpoint::Node(place) => Endpoint::Node(there[usize::from(place.0) - 1]),
                    Endpoint::Clients => Endpoint::Clients,
                };
                let pairs = draw_blocked(*shape, count, &mut random).into_iter();
                *blocked = pairs.map(|(from, to)| (node(from), node(to))).collect();
            }
            fault => {
                let mut there: Vec<NodeId> =
                    members.present.iter().filter(|node| !taken.contains(node)).copied().collect();
                let wanted = fault.processes();
                if there.len() < wanted.len() {
                    let now = until(0);
                    there = members.present.iter().filter(|node| !now.contains(node)).copied().collect();
                }
                let subject = members
                    .subjects
                    .iter()
                    .find(|(node, (from_ms, _))| !taken.contains(node) && at_ms >= from_ms + START_MS);
                let subject = subject.map(|(node, _)| *node);
                let takes_subject = wanted.len() == 1
                    && matches!(fault, Fault::Crash { .. } | Fault::Pause { .. })
                    && random.random_range(0..2) == 0;
                let renamed = match subject.filter(|_| takes_subject) {
                    Some(subject) => vec![subject],
                    None => {
                        let mut renamed: Vec<NodeId> =
                            wanted.iter().filter(|node| there.contains(node)).copied().collect();
                        there.retain(|node| !renamed.contains(node));
                        let more = wanted.len() - renamed.len();
                        renamed.extend(there.sample(&mut random, more).copied());
                        renamed.sort_unstable();
                        renamed
                    }
                };
                rename(fault, &renamed);
            }
        }
        members.change(&planned).expect("the campaign was checked: there are nodes for its changes of the ring");
        named.push(planned);
    }
    *faults = named;
}

fn first(spares: &BTreeSet<NodeId>) -> NodeId {
    *spares.first().expect("the campaign was checked: there are enough spare nodes")
}

/// Gives a fault other nodes, or fewer.
fn rename(fault: &mut Fault, renamed: &[NodeId]) {
    match fault {
        Fault::Crash { nodes }
        | Fault::Pause { nodes }
        | Fault::PowerCut { nodes, .. }
        | Fault::SlowDisk { nodes, .. }
        | Fault::FailingDisk { nodes }
        | Fault::Leave { nodes, .. } => *nodes = renamed.to_vec(),
        Fault::Wipe { node } => *node = renamed.first().copied().unwrap_or(*node),
        Fault::Clock { clocks } => {
            clocks.truncate(renamed.len());
            for (clock, node) in clocks.iter_mut().zip(renamed) {
                clock.node = *node;
            }
        }
        Fault::Partition { .. }
        | Fault::Links { .. }
        | Fault::Join { .. }
        | Fault::Retire { .. }
        | Fault::Replace { .. } => {}
    }
}

/// Operations go to nodes that are there, as far as the plan can know: a node that leaves is asked until the middle of its change.
pub(super) fn send_to_members(plan: &mut Plan) {
    if plan.spares == 0 && !plan.faults.iter().any(|planned| planned.fault.changes_ring()) {
        return;
    }
    let mut moments: Vec<(u64, NodeId, bool)> = Vec::new();
    for planned in &plan.faults {
        let at_ms = planned.at_ms;
        match planned.fault {
            Fault::Join { node } => moments.push((at_ms + START_MS, node, true)),
            Fault::Retire { node } => moments.push((at_ms + planned.duration_ms / 2, node, false)),
            Fault::Replace { node, by } => moments.extend([(at_ms, node, false), (at_ms + START_MS, by, true)]),
            _ => {}
        }
    }
    moments.sort_unstable();
    let founders: Vec<NodeId> = plan.cluster.members.clone();
    for operation in &mut plan.operations {
        let mut there: BTreeSet<NodeId> = founders.iter().copied().collect();
        for &(_, node, comes) in moments.iter().take_while(|moment| moment.0 <= operation.at_ms) {
            if comes {
                there.insert(node)
            } else {
                there.remove(&node)
            };
        }
        if !there.contains(&operation.node) {
            let place = usize::from(operation.node.0) % there.len();
            operation.node = *there.iter().nth(place).expect("within its length");
        }
    }
}

/// The members of the ring when all changes of a plan are over, ascending.
pub fn members_at_end(plan: &Plan) -> Vec<NodeId> {
    let spares: u16 = plan.spares;
    let mut members = Members::at_start(u16::try_from(plan.cluster.members.len()).unwrap_or(u16::MAX - spares), spares);
    for planned in &plan.faults {
        // A plan that was not checked ends where it can't go on.
        if members.change(planned).is_none() {
            break;
        }
    }
    members.present.into_iter().collect()
}

/// The ring when all changes of a plan are over: a node that took another's place sits on its tokens.
pub fn topology_at_end(plan: &Plan) -> Topology {
    let founder = |node: &NodeId| (*node, RingMember::founder());
    let mut members: MemberMap = plan.cluster.members.iter().map(founder).collect();
    for planned in &plan.faults {
        let (gone, new) = match planned.fault {
            Fault::Join { node } => (None, Some((node, None))),
            Fault::Retire { node } => (Some(node), None),
            Fault::Replace { node, by } => (Some(node), Some((by, Some(node)))),
            _ => continue,
        };
        if let Some(member) = gone.and_then(|node| members.get_mut(&node)) {
            member.phase = Phase::Left;
        }
        members.extend(new.map(|(node, replaces)| (node, RingMember { replaces, ..RingMember::founder() })));
    }
    Topology::new(members, &plan.cluster.members, plan.cluster.vnodes, plan.cluster.replication)
}

/// Why the ring can't change as planned, or a fault names a node that is not there; a sentence each.
pub(super) fn problems(plan: &Plan) -> Vec<String> {
    let mut problems = Vec::new();
    if plan.spares == 0 && !plan.faults.iter().any(|planned| planned.fault.changes_ring()) {
        return problems;
    }
    if plan.cluster.conflict == Conflict::Dcc {
        problems.push("the ring can't change under conflict: dcc".to_owned());
    }
    let Ok(founders) = u16::try_from(plan.cluster.members.len()) else { return problems };
    if founders.checked_add(plan.spares).is_none_or(|all| all > NODES_MAX) {
        problems.push(format!("{founders} nodes and {} spares are more than {NODES_MAX}", plan.spares));
        return problems;
    }
    let mut members = Members::at_start(founders, plan.spares);
    for (position, planned) in plan.faults.iter().enumerate() {
        let (id, at_ms) = (&planned.id, planned.at_ms);
        if planned.fault.changes_ring() {
            let goes = match planned.fault {
                Fault::Retire { node } | Fault::Replace { node, .. } => Some(node),
                _ => None,
            };
            let in_force = plan.faults[..position].iter().filter(|other| other.until_ms() > at_ms);
            if let Some((node, other)) = goes.and_then(|node| {
                in_force.into_iter().find(|other| other.fault.processes().contains(&node)).map(|other| (node, other))
            }) {
                problems.push(format!(
                    "{id} takes {node} off the ring while {} ({}) has it",
                    other.id,
                    other.fault.name()
                ));
            }
            if members.change(planned).is_none() {
                problems.push(format!(
                    "{id} ({}): a node that comes has to be a spare, one that goes a member",
                    planned.fault.name()
                ));
            }
            if members.count() < usize::from(plan.cluster.replication) {
                problems.push(format!(
                    "{id} leaves {} members for {} replicas",
                    members.count(),
                    plan.cluster.replication
                ));
            }
            continue;
        }
        for node in planned.fault.processes().into_iter().filter(|node| !members.is_there(*node, at_ms)) {
            problems.push(format!("{id} ({}): {node} is no member of the ring then", planned.fault.name()));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::load;
    use crate::plan::make_plan;

    fn n(number: u16) -> NodeId {
        NodeId(number)
    }

    #[test]
    fn changes_of_the_ring_get_nodes_that_can_change_and_faults_nodes_that_are_there() {
        let campaign = load("ring-changes").expect("it ships");
        let mut subjects = 0;
        for seed in 0..100 {
            let plan = make_plan(&campaign, seed);
            assert_eq!(plan.spares, 2, "seed {seed}");
            assert_eq!(plan.validate(), [""; 0], "seed {seed}");
            let members = members_at_end(&plan);
            let topology = topology_at_end(&plan);
            assert_eq!(topology.natural().members().collect::<Vec<_>>(), members, "seed {seed}");
            assert!(members.contains(&n(6)) && members.contains(&n(7)), "seed {seed}: {members:?}");
            let is_spare = |node: &NodeId| node.0 > 5;
            subjects += plan.faults.iter().filter(|planned| planned.fault.processes().iter().any(is_spare)).count();
            let at_spares = plan.operations.iter().filter(|operation| is_spare(&operation.node)).count();
            assert!(at_spares > 100, "seed {seed}: {at_spares} operations at nodes that joined");
        }
        assert!(subjects > 50, "only {subjects} faults took a node that joined");
    }

    #[test]
    fn a_plan_that_names_nodes_that_are_not_there_is_refused() {
        let plan = make_plan(&load("ring-changes").expect("it ships"), 1);
        let of = |faults: &[(u64, u64, Fault)]| {
            let mut plan = plan.clone();
            let planned = |(index, (at_ms, duration_ms, fault)): (usize, &(u64, u64, Fault))| PlannedFault {
                id: format!("f{index}"),
                at_ms: plan.phases.faults_from_ms() + at_ms,
                duration_ms: *duration_ms,
                fault: fault.clone(),
            };
            plan.faults = faults.iter().enumerate().map(planned).collect();
            plan.validate()
        };
        let crash = |node| Fault::Crash { nodes: vec![n(node)] };
        assert_eq!(of(&[(0, 900, Fault::Join { node: n(6) }), (100, 100, crash(6))]), [""; 0]);
        assert_eq!(of(&[(0, 900, Fault::Retire { node: n(2) }), (100, 100, crash(2))]), [""; 0]);
        for (faults, expected) in [
            (vec![(0, 900, crash(6))], "n6 is no member of the ring then"),
            (vec![(0, 900, Fault::Retire { node: n(2) }), (900, 100, crash(2))], "n2 is no member"),
            (vec![(0, 900, Fault::Replace { node: n(2), by: n(6) }), (100, 100, crash(2))], "n2 is no member"),
            (vec![(0, 900, Fault::Join { node: n(2) })], "has to be a spare"),
            (vec![(0, 900, Fault::Retire { node: n(7) })], "one that goes a member"),
            (vec![(0, 900, crash(2)), (100, 100, Fault::Retire { node: n(2) })], "takes n2 off the ring while f0"),
            (
                vec![
                    (0, 900, Fault::Retire { node: n(1) }),
                    (900, 100, Fault::Retire { node: n(2) }),
                    (1_000, 100, Fault::Retire { node: n(3) }),
                ],
                "leaves 2 members for 3 replicas",
            ),
        ] {
            let problems = of(&faults);
            assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:?}");
        }
    }

    #[test]
    fn who_takes_a_place_sits_on_its_tokens() {
        let mut plan = make_plan(&load("ring-changes").expect("it ships"), 1);
        let before = Topology::new(
            plan.cluster.members.iter().map(|node| (*node, RingMember::founder())).collect(),
            &plan.cluster.members,
            plan.cluster.vnodes,
            plan.cluster.replication,
        );
        plan.faults.retain(|planned| matches!(planned.fault, Fault::Replace { .. }));
        let Fault::Replace { node, by } = plan.faults[0].fault else { panic!("every plan has one") };
        let after = topology_at_end(&plan);
        assert_eq!(after.natural().owned_ranges(by), before.natural().owned_ranges(node));
        assert!(after.natural().owned_ranges(node).is_empty());
    }
}
