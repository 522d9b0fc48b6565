//! Smaller faults, and faults of a smaller cluster.
//!
//! Faults are taken apart as the data that they are saved as: a list can lose elements, and a node is named `n3`, alone or in
//! a pair `n3 -> n1`. So a new kind of fault needs no line here; what comes out and is no fault is no candidate.

use std::ops::Range;

use hearsay_core::NodeId;
use serde_json::Value;

use crate::plan::Fault;

/// Lengths of all lists in a fault, such as its nodes or its pairs.
pub(super) fn lists(fault: &Fault) -> Vec<usize> {
    let mut lengths = Vec::new();
    visit_lists(&mut data_of(fault), &mut |list| lengths.push(list.len()));
    lengths
}

/// The fault without a part of one of its lists; `None` when that is no fault.
pub(super) fn without(fault: &Fault, list: usize, part: &Range<usize>) -> Option<Fault> {
    let mut data = data_of(fault);
    let mut number = 0;
    visit_lists(&mut data, &mut |elements| {
        if number == list && part.end <= elements.len() {
            elements.drain(part.clone());
        }
        number += 1;
    });
    serde_json::from_value(data).ok().filter(|smaller| smaller != fault)
}

/// The fault in the cluster that `node` has left, those above it renumbered; `None` when nothing of it is left.
pub(super) fn without_node(fault: &Fault, node: NodeId) -> Option<Fault> {
    serde_json::from_value(renumbered(data_of(fault), node)?).ok()
}

/// The number that a node has when `removed` has left.
pub(super) fn renumber(node: NodeId, removed: NodeId) -> Option<NodeId> {
    match node.0.cmp(&removed.0) {
        std::cmp::Ordering::Less => Some(node),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(NodeId(node.0 - 1)),
    }
}

fn data_of(fault: &Fault) -> Value {
    serde_json::to_value(fault).expect("a fault has only what JSON can say")
}

fn visit_lists(data: &mut Value, visit: &mut impl FnMut(&mut Vec<Value>)) {
    match data {
        Value::Array(elements) => {
            visit(elements);
            elements.iter_mut().for_each(|element| visit_lists(element, visit));
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| visit_lists(field, visit)),
        _ => {}
    }
}

/// `None`: it named the node that has left.
fn renumbered(data: Value, removed: NodeId) -> Option<Value> {
    Some(match data {
        Value::String(text) => {
            let ends = text.split(" -> ").map(|end| {
                let node = end.strip_prefix('n').and_then(|number| number.parse().ok()).map(NodeId);
                match node {
                    Some(node) => renumber(node, removed).map(|node| node.to_string()),
                    None => Some(end.to_owned()),
                }
            });
            Value::String(ends.collect::<Option<Vec<_>>>()?.join(" -> "))
        }
        Value::Array(elements) => {
            let had = elements.len();
            let left: Vec<_> = elements.into_iter().filter_map(|element| renumbered(element, removed)).collect();
            if left.is_empty() && had > 0 {
                return None;
            }
            Value::Array(left)
        }
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, field)| Some((name, renumbered(field, removed)?)));
            Value::Object(fields.collect::<Option<_>>()?)
        }
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Endpoint, PartitionShape};

    fn n(number: u16) -> NodeId {
        NodeId(number)
    }

    #[test]
    fn a_crash_of_fewer_nodes_and_in_a_smaller_cluster() {
        let crash = Fault::Crash { nodes: vec![n(1), n(3), n(5)] };
        assert_eq!(lists(&crash), [3]);
        assert_eq!(without(&crash, 0, &(1..3)), Some(Fault::Crash { nodes: vec![n(1)] }));
        assert_eq!(without(&crash, 1, &(0..1)), None);
        assert_eq!(without_node(&crash, n(3)), Some(Fault::Crash { nodes: vec![n(1), n(4)] }));
        assert_eq!(without_node(&crash, n(2)), Some(Fault::Crash { nodes: vec![n(1), n(2), n(4)] }));
        assert_eq!(without_node(&Fault::Pause { nodes: vec![n(2)] }, n(2)), None);
        assert_eq!(without_node(&Fault::Wipe { node: n(4) }, n(4)), None);
        assert_eq!(without_node(&Fault::Wipe { node: n(4) }, n(1)), Some(Fault::Wipe { node: n(3) }));
    }

    #[test]
    fn a_partition_keeps_the_pairs_that_are_left() {
        let blocked = vec![
            (Endpoint::Node(n(1)), Endpoint::Node(n(2))),
            (Endpoint::Node(n(3)), Endpoint::Node(n(2))),
            (Endpoint::Clients, Endpoint::Node(n(3))),
        ];
        let partition = Fault::Partition { shape: PartitionShape::Halves, blocked };
        let left = Fault::Partition {
            shape: PartitionShape::Halves,
            blocked: vec![(Endpoint::Node(n(2)), Endpoint::Node(n(1))), (Endpoint::Clients, Endpoint::Node(n(2)))],
        };
        assert_eq!(without_node(&partition, n(1)), Some(left));
    }
}
