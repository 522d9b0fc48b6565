//! Reads of `null` that several deletes could explain: an order of the versions in which each of them saw one.
//!
//! The version graph ([`crate::version_graph`]) takes such a read as a version of its own, which keeps every violation
//! certain and misses those that follow from several such reads together. So where the graph shows none, an order of the
//! versions that fits it is made, and the reads are gone through once more with it: each read of `null` takes the oldest
//! delete (or the initial version) that it may be of, which leaves the most room for what comes later. If all fit, the
//! model holds. A few orders are tried; if none fits, another one might: what is linearizable ([`crate::search`]) has one.
//!
//! O(n log n) for each order. Left out: the search through all orders, which has no such bound.

use crate::order::some_order;
use crate::version_graph::{Node, Promise, Version, VersionGraph, Visit};
use crate::{Function, Operation};

/// Whether an order of the versions was found in which every read has a version. True without such reads.
pub(crate) fn are_explained(graph: &VersionGraph<'_>, promise: Promise, real_time_writes: bool) -> bool {
    let is_some_delete = |node: &Node| matches!(node.version, Version::SomeDelete(_));
    if !graph.nodes.iter().any(is_some_delete) {
        return true;
    }
    let or_begun = |node: &Node| if node.settled == u64::MAX { node.begun } else { node.settled };
    let firsts: [&dyn Fn(&Node) -> u64; 4] =
        [&or_begun, &|node| node.begun, &|node| node.settled, &|node| u64::midpoint(node.begun, or_begun(node))];
    firsts.iter().any(|first| {
        let first: Vec<u64> = graph.nodes.iter().map(first).collect();
        some_order(graph.nodes.len(), &graph.families, &first)
            .is_some_and(|order| Ordered::new(graph, promise, real_time_writes, &order).explains())
    })
}

/// A graph whose versions have places.
struct Ordered<'g> {
    graph: &'g VersionGraph<'g>,
    promise: Promise,
    /// Of each node; the initial version has 0.
    place: Vec<u64>,
    /// Deletes by place: place, operation.
    deletes: Vec<(u64, &'g Operation)>,
    /// Changes by beginning: when each began, and the lowest place of those from there on. Empty where that orders nothing.
    begun: Vec<(u64, u64)>,
}

impl<'g> Ordered<'g> {
    fn new(graph: &'g VersionGraph<'g>, promise: Promise, real_time_writes: bool, order: &[u32]) -> Ordered<'g> {
        let mut place = vec![0; graph.nodes.len()];
        for (at, node) in (1..).zip(order) {
            place[*node as usize] = at;
        }
        let (mut deletes, mut begun) = (Vec::new(), Vec::new());
        for (node, place) in graph.nodes.iter().zip(&mut place) {
            match node.version {
                Version::Initial => *place = 0,
                Version::Deleted(delete) => deletes.push((*place, graph.history.operation(delete))),
                Version::Written(_) | Version::SomeDelete(_) => {}
            }
            if real_time_writes && matches!(node.version, Version::Written(_) | Version::Deleted(_)) {
                begun.push((node.begun, *place));
            }
        }
        deletes.sort_by_key(|(place, _)| *place);
        begun.sort_unstable();
        for at in (1..begun.len()).rev() {
            begun[at - 1].1 = begun[at - 1].1.min(begun[at].1);
        }
        Ordered { graph, promise, place, deletes, begun }
    }

    /// Whether every read has a version that is not behind what it must not be behind.
    fn explains(&self) -> bool {
        let mut visits: Vec<&Visit> = self.graph.visits.iter().collect();
        let operation = |visit: &Visit| self.graph.history.operation(visit.operation);
        if self.promise.real_time {
            visits.sort_by_key(|visit| (operation(visit).invoked, visit.operation));
        }
        // What is over, by its end, and the newest place of what was over before the visit that is looked at.
        let mut ends = std::collections::BTreeMap::<u64, u64>::new();
        let mut over = 0;
        let mut of_session = std::collections::BTreeMap::new();
        for visit in visits {
            let op = operation(visit);
            let is_read = op.f == Function::Read;
            while let Some(first) = ends.first_entry().filter(|first| *first.key() < op.invoked) {
                over = over.max(first.remove());
            }
            let floor_of_session = of_session.entry(visit.process).or_insert(0);
            let floor = over.max(*floor_of_session);
            let place = match self.graph.nodes[visit.node as usize].version {
                Version::SomeDelete(_) => match self.oldest(op, floor) {
                    Some(place) => place,
                    None => return false,
                },
                _ => self.place[visit.node as usize],
            };
            if self.promise.session.is_bound(is_read) && place < floor {
                return false;
            }
            if self.promise.session.binds(is_read) {
                *floor_of_session = (*floor_of_session).max(place);
                if let Some(end) = op.completed.filter(|_| self.promise.real_time) {
                    let newest = ends.entry(end).or_insert(0);
                    *newest = place.max(*newest);
                }
            }
        }
        true
    }

    /// The place of the oldest version that a read of `null` may be of.
    fn oldest(&self, read: &Operation, floor: u64) -> Option<u64> {
        if floor == 0 {
            return Some(0);
        }
        let done = read.completed.expect("reads that are ok are complete");
        // A version that was seen is older than all that began after that.
        let later = self.begun.partition_point(|(begun, _)| *begun <= done);
        let limit = self.begun.get(later).map_or(u64::MAX, |(_, place)| *place);
        let from = self.deletes.partition_point(|(place, _)| *place < floor);
        let possible = |delete: &Operation| {
            let is_own_later = delete.process == read.process && delete.index > read.index;
            delete.invoked <= done && !is_own_later
        };
        let found = self.deletes[from..].iter().take_while(|(place, _)| *place < limit);
        found.into_iter().find(|(_, delete)| possible(delete)).map(|(place, _)| *place)
    }
}
