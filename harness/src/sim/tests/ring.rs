//! Changes of the ring in the simulated world, and the campaign of them.

use hearsay_core::ring::topology::Phase;

use super::*;
use crate::campaign;
use crate::exit::Outcome;
use crate::plan::{Fault, PlannedFault, make_plan};
use crate::report::render;
use crate::run::proof::{InForce, Requirements};
use crate::run::ring::{phases_after, unsettled};
use crate::sim::faults::Faults;
use crate::sim::node::Process;
use crate::sim::simulate;

fn fault(id: &str, fault: Fault) -> PlannedFault {
    PlannedFault { id: id.to_owned(), at_ms: 0, duration_ms: 1, fault }
}

/// Four members with a spare node, up for two seconds.
fn with_spare() -> World {
    let members = (1..=4).map(NodeId).collect();
    let config = ClusterConfig { members, replication: 3, ..ClusterConfig::default() };
    let mut world = World::new(&config, 7, Settings::default(), Watch::default()).unwrap().with_spares(1);
    for node in 1..=4 {
        assert!(world.start(n(node)));
    }
    pass(&mut world, 2 * SECOND);
    world
}

/// What is missing of a change as these nodes see it.
fn missing(world: &mut World, change: &Fault, nodes: &[u16]) -> Vec<String> {
    let required = Requirements { phases: phases_after(change), settled: true, ..Requirements::default() };
    let rings = world.rings(nodes.iter().copied().map(n));
    unsettled(&required, &InForce::default(), &rings, &[])
}

#[test]
fn ring_changes_is_as_expected() {
    let mut made = 0;
    for seed in 1..=6 {
        let plan = make_plan(&campaign::load("ring-changes").unwrap(), seed);
        let report = simulate(&plan, Settings::default()).report(&plan, String::new(), String::new());
        assert_eq!(report.outcome, Outcome::AsExpected, "{}", render(&report));
        let in_order = |fault: &crate::report::FaultReport| fault.left_out || (fault.bit && fault.healed);
        assert!(report.faults.iter().all(in_order), "{}", render(&report));
        let changes = report.faults.iter().filter(|fault| ["join", "retire", "replace"].contains(&fault.name.as_str()));
        made += changes.filter(|fault| fault.healed).count();
    }
    assert_eq!(made, 6 * 4, "a join, a replacement and two that retire in each");
}

#[test]
fn a_spare_node_joins_when_it_is_told_to() {
    let mut world = with_spare();
    assert_eq!(world.nodes[place(n(5))].process, Process::Down);
    let (mut faults, join) = (Faults::default(), fault("f1", Fault::Join { node: n(5) }));
    assert_eq!(faults.inject(&mut world, &join).bit, Some(true));
    assert!(!missing(&mut world, &join.fault, &[1, 2, 3, 4]).is_empty(), "nobody has heard of it yet");
    pass(&mut world, 5 * SECOND);
    assert_eq!(missing(&mut world, &join.fault, &[1, 2, 3, 4, 5]), [""; 0]);
    assert_eq!(faults.heal(&mut world, &join).healed, Some(true));
    assert_eq!(faults.inject(&mut world, &fault("f2", join.fault)).bit, Some(false), "it runs already");
}

#[test]
fn who_retires_hands_over_and_its_process_ends() {
    let mut world = with_spare();
    let (mut faults, retire) = (Faults::default(), fault("f1", Fault::Retire { node: n(2) }));
    assert_eq!(faults.inject(&mut world, &retire).bit, Some(true));
    pass(&mut world, 6 * SECOND);
    assert_eq!(missing(&mut world, &retire.fault, &[1, 3, 4]), [""; 0]);
    assert_eq!(world.nodes[place(n(2))].process, Process::Down);
    assert!(world.nodes[place(n(2))].left.is_some(), "it ended in order");
    // Three are left for three replicas of each key.
    let refused = faults.inject(&mut world, &fault("f2", Fault::Retire { node: n(3) }));
    assert_eq!(refused.bit, Some(false));
    assert!(refused.sentences[0].contains("let another join first"), "{:?}", refused.sentences);
    // Started again, it knows that it has left.
    assert!(world.start(n(2)));
    pass(&mut world, 6 * SECOND);
    assert_eq!(world.nodes[place(n(2))].process, Process::Down);
}

#[test]
fn a_spare_node_takes_the_place_of_a_dead_one() {
    let mut world = with_spare();
    let (mut faults, replace) = (Faults::default(), fault("f1", Fault::Replace { node: n(3), by: n(5) }));
    let evidence = faults.inject(&mut world, &replace);
    assert_eq!(evidence.bit, Some(true), "{evidence:?}");
    assert!(evidence.numbers["entries_removed"] > 0);
    pass(&mut world, 8 * SECOND);
    assert_eq!(missing(&mut world, &replace.fault, &[1, 2, 4, 5]), [""; 0]);
    let rings = world.rings([n(1)]);
    let member = rings[&n(1)].as_ref().unwrap().members.iter().find(|member| member.node == n(5)).unwrap();
    assert_eq!((member.phase, member.replaces), (Phase::Normal, Some(n(3))));
}
