//! What is tried, and in which order: what takes away most comes first.

use std::collections::{BTreeMap, BTreeSet};

use hearsay_core::NodeId;
use hearsay_workloads::Expectation;

use crate::plan::{Plan, PlannedFault, PlannedOperation};

use super::fault_parts::{lists, renumber, without, without_node};
use super::sweep::sweep;
use super::times::{gaps, with_fitting_phases, with_gaps};
use super::{Anomaly, Search};

/// Variations that each candidate is tried in, once fewer have nothing more to give.
const VARIATIONS: [u64; 4] = [1, 4, 16, 64];
/// Events that the variations of one candidate may cost in all: a plan that takes long to try is not tried that often.
const EVENTS_MAX: u64 = 1_500_000;
/// Variations where only time or parts of faults are to win.
const VARIATIONS_OF_TIMES: u64 = 4;
/// Longest times between two things that happen, milliseconds: the shortest that works is taken.
const GAPS_MS: [u64; 12] = [1, 5, 20, 50, 100, 200, 400, 800, 1_500, 3_000, 5_000, 8_000];
/// Gaps up to this are not worth a try, milliseconds.
const GAP_SHORT_MS: u64 = 20;

impl Search<'_> {
    /// Takes away what can be taken away, until nothing can, or the budget has ended.
    pub fn run(&mut self) {
        self.jump();
        for variations in VARIATIONS {
            let too_much = self.witness().events.saturating_mul(variations) > EVENTS_MAX;
            if variations > 1 && (too_much || variations > self.variations_max()) {
                break;
            }
            loop {
                let kept = self.kept();
                self.variations = variations;
                self.drop_faults();
                self.drop_nodes();
                self.drop_groups(|operation| operation.action.key().to_owned());
                self.drop_groups(|operation| operation.client);
                self.drop_operations();
                self.variations = variations.min(VARIATIONS_OF_TIMES);
                self.shorten();
                self.drop_parts_of_faults();
                if self.is_cut_off() {
                    return;
                }
                if self.kept() == kept {
                    break;
                }
            }
        }
        self.variations = 1;
        self.renumber_clients();
    }

    fn drop_faults(&mut self) {
        let none = |best: &Plan, _| Some(Plan { faults: Vec::new(), ..best.clone() });
        if self.best().faults.is_empty() || self.first(1, &none).is_some() {
            return;
        }
        sweep(self.best().faults.len(), |chunks| {
            self.first(chunks.len(), &|best, number| {
                let mut plan = best.clone();
                plan.faults.drain(chunks[number].clone());
                Some(plan)
            })
        });
    }

    /// Drops all operations of some clients, or of some keys.
    fn drop_groups<G: Ord + Clone + Sync>(&mut self, group: impl Fn(&PlannedOperation) -> G + Sync) {
        let mut groups: Vec<G> = self.best().operations.iter().map(&group).collect();
        groups.sort_unstable();
        groups.dedup();
        if groups.len() < 2 {
            return;
        }
        sweep(groups.len(), |chunks| {
            let gone = self.first(chunks.len(), &|best, number| {
                let gone = &groups[chunks[number].clone()];
                let mut plan = best.clone();
                plan.operations.retain(|operation| gone.binary_search(&group(operation)).is_err());
                Some(plan)
            })?;
            groups.drain(chunks[gone].clone());
            Some(gone)
        });
    }

    fn drop_operations(&mut self) {
        sweep(self.best().operations.len(), |chunks| {
            self.first(chunks.len(), &|best, number| {
                let gone: BTreeSet<usize> = by_time(best)[chunks[number].clone()].iter().copied().collect();
                let mut plan = best.clone();
                let mut place = 0;
                plan.operations.retain(|_| {
                    place += 1;
                    !gone.contains(&(place - 1))
                });
                Some(plan)
            })
        });
    }

    /// Shorter phases, shorter faults, less idle time.
    fn shorten(&mut self) {
        self.first(1, &|best, _| Some(with_fitting_phases(best.clone())));
        self.first(GAPS_MS.len(), &|best, number| {
            let shorter: Vec<u64> = gaps(best).into_iter().map(|gap| gap.min(GAPS_MS[number])).collect();
            Some(with_gaps(best, &shorter))
        });
        // Each long one by itself, to a twentieth, then to a half, as often as that works.
        for divisor in [20, 2] {
            let mut from = 0;
            loop {
                let long: Vec<usize> =
                    (0..).zip(gaps(self.best())).filter(|(_, gap)| *gap > GAP_SHORT_MS).map(|(at, _)| at).collect();
                let long: Vec<usize> = long.into_iter().filter(|at| *at >= from).collect();
                let shortened = self.first(long.len(), &|best, number| {
                    let mut shorter = gaps(best);
                    shorter[long[number]] = (shorter[long[number]] / divisor).max(1);
                    Some(with_gaps(best, &shorter))
                });
                match shortened {
                    Some(number) => from = long[number],
                    None => break,
                }
            }
        }
    }

    /// A smaller cluster, down to as many nodes as there are replicas of each key.
    fn drop_nodes(&mut self) {
        while self.best().cluster.members.len() > usize::from(self.best().cluster.replication) {
            let members = self.best().cluster.members.clone();
            // The same without the operations of the node, and with them, at another one.
            let dropped = self.first(2 * members.len(), &|best, number| {
                let node = members[members.len() - 1 - number / 2];
                Some(smaller_cluster(best, node, number % 2 == 1))
            });
            if dropped.is_none() {
                return;
            }
        }
    }

    /// Fewer nodes in a fault, fewer pairs in a partition.
    fn drop_parts_of_faults(&mut self) {
        for fault in 0..self.best().faults.len() {
            for (list, length) in lists(&self.best().faults[fault].fault).into_iter().enumerate() {
                sweep(length, |parts| {
                    self.first(parts.len(), &|best, number| {
                        let mut plan = best.clone();
                        plan.faults[fault].fault = without(&plan.faults[fault].fault, list, &parts[number])?;
                        Some(plan)
                    })
                });
            }
        }
    }

    /// Clients are called c0, c1, ... again, and the workload says how many there are.
    fn renumber_clients(&mut self) {
        self.first(1, &|best, _| Some(renumbered_clients(best)));
    }
}

/// Places of the operations in the plan, by time.
fn by_time(plan: &Plan) -> Vec<usize> {
    let mut places: Vec<usize> = (0..plan.operations.len()).collect();
    places.sort_by_key(|place| plan.operations[*place].at_ms);
    places
}

/// Without a node: its operations go, or go to its neighbour.
fn smaller_cluster(plan: &Plan, node: NodeId, moved: bool) -> Plan {
    let mut plan = plan.clone();
    plan.cluster.members.pop();
    let nodes = u16::try_from(plan.cluster.members.len()).expect("few nodes");
    let stays = |operation: PlannedOperation| {
        let neighbour = moved.then_some(NodeId(node.0 % nodes + 1));
        let node = renumber(operation.node, node).or(neighbour)?;
        Some(PlannedOperation { node, ..operation })
    };
    plan.operations = plan.operations.into_iter().filter_map(stays).collect();
    let smaller = |planned: PlannedFault| {
        let fault = without_node(&planned.fault, node)?;
        Some(PlannedFault { fault, ..planned })
    };
    plan.faults = plan.faults.into_iter().filter_map(smaller).collect();
    plan
}

fn renumbered_clients(plan: &Plan) -> Plan {
    let mut plan = plan.clone();
    let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
    for operation in &mut plan.operations {
        let next = u32::try_from(numbers.len()).expect("few clients");
        operation.client = *numbers.entry(operation.client).or_insert(next);
    }
    let keys: BTreeSet<&str> = plan.operations.iter().map(|operation| operation.action.key()).collect();
    let keys = u32::try_from(keys.len()).expect("few keys");
    let clients = u32::try_from(numbers.len()).expect("few clients");
    let register = plan.workload.load_mut();
    register.clients = clients;
    register.keys = keys;
    register.sticky_clients = register.sticky_clients.min(clients);
    plan
}

/// The plan with what is expected of other checkers left open: what is left of it says little about them.
pub(super) fn with_other_expectations_open(mut plan: Plan, anomaly: &Anomaly) -> Plan {
    if let Anomaly::Violation { checker, .. } = anomaly {
        for (name, expectation) in &mut plan.expect {
            if name != checker {
                *expectation = Expectation::Any;
            }
        }
    }
    plan
}
