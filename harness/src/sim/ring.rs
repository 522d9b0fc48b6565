//! Changes of the ring in the simulated world: spare nodes that start as joining, members that leave for good and then end by themselves,
//! as the real node does.

use hearsay_core::{ClientRequest, ClientResponse, Joining, NodeId, Replica};

use super::faults::{empty_disk, kill};
use super::links::Connections;
use super::node::{Node, Process};
use super::noise::Noise;
use super::world::{World, place};
use crate::faults::Evidence;
use crate::plan::Fault;
use crate::run::ring::Rings;

impl World {
    /// The same with nodes behind the members that are none at the start.
    pub(super) fn with_spares(mut self, spares: u16) -> World {
        for _ in 0..spares {
            let id = u64::try_from(self.nodes.len()).expect("few nodes") + 1;
            self.nodes.push(Node::new(self.settings.clock, Noise::new(self.seed, "disk", &[id])));
        }
        self.connections = Connections::new(self.nodes.len());
        self
    }

    /// Starts a spare node, which joins; false when it runs already.
    fn start_joining(&mut self, id: NodeId, replaces: Option<NodeId>) -> bool {
        self.joining.insert(id, Joining { replaces, address: Vec::new() });
        self.start(id)
    }

    /// A process whose node has left for good answers what it has taken, and ends.
    pub(super) fn end_if_left(&mut self, id: NodeId) {
        let node = &self.nodes[place(id)];
        if node.leaving.is_none() && node.replica.as_ref().is_some_and(Replica::has_left) {
            self.leave(id);
        }
    }

    /// What these nodes say of their ring.
    pub(super) fn rings(&mut self, nodes: impl IntoIterator<Item = NodeId>) -> Rings {
        let ring = |world: &mut World, node| match world.ask(node, ClientRequest::Ring)? {
            ClientResponse::Ring(report) => Ok(report),
            _ => Err("it gave another request's answer".to_owned()),
        };
        nodes.into_iter().map(|node| (node, ring(self, node))).collect()
    }

    /// Whether there is a process of this node.
    pub(super) fn has_process(&self, id: NodeId) -> bool {
        self.nodes[place(id)].process != Process::Down
    }
}

/// Makes a change of the ring; whether it was made.
pub(super) fn inject(world: &mut World, evidence: &mut Evidence, fault: &Fault) -> bool {
    let bit = match *fault {
        Fault::Join { node } => start(world, evidence, node, None),
        Fault::Retire { node } => retire(world, evidence, node),
        Fault::Replace { node, by } => {
            let killed = kill(world, evidence, &[node]);
            let emptied = empty_disk(world, evidence, node);
            killed & emptied & start(world, evidence, by, Some(node))
        }
        _ => unreachable!("{} is no change of the ring", fault.name()),
    };
    evidence.bit = Some(bit);
    bit
}

fn start(world: &mut World, evidence: &mut Evidence, node: NodeId, replaces: Option<NodeId>) -> bool {
    let started = world.start_joining(node, replaces);
    evidence.say(if started { format!("{node} starts and joins.") } else { format!("{node} was running already.") });
    started
}

fn retire(world: &mut World, evidence: &mut Evidence, node: NodeId) -> bool {
    let answer = world.ask(node, ClientRequest::Leave);
    let begun = matches!(answer, Ok(ClientResponse::Ring(_)));
    evidence.say(match answer {
        Ok(ClientResponse::Ring(_)) => format!("{node} was told to leave for good."),
        Ok(ClientResponse::Failed(error)) => format!("{node} does not leave: {}.", error.message),
        Ok(_) => format!("{node} gave another request's answer."),
        Err(reason) => format!("{node} could not be told to leave: {reason}."),
    });
    begun
}
