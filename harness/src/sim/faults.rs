//! The simulator's way to make and to heal every fault of a plan, with the same evidence as the real one's.
//!
//! | fault | it bit | it is healed |
//! |---|---|---|
//! | partition | packets were dropped on its pairs | only the pairs of other partitions are blocked |
//! | crash | a process was there and is gone | a new process starts |
//! | pause | a process ran, and handled nothing until the end | it runs |
//! | links | packets were held, lost or doubled as planned, and got the delays | no link of it is bad |
//! | wipe | as a crash, and the disk held something and then nothing until the start | a new process starts |
//! | clock | the nodes say that their clocks are off as planned, asked by the nemesis | they are right |
//! | leave | it ended in order, with all answered; where it joins empty, the disk as with a wipe | a new process starts |
//! | join, retire, replace | made, and known to nodes at the planned end | every node knows it as done, who left has ended |
//!
//! Faults of the disks themselves are in [`super::disk_faults`].
//!
//! Several faults may be in force at once: the union of all partitions is blocked; a node that two faults hold down, or
//! paused, is up again, or runs again, when the last of them is healed.

use std::collections::{BTreeMap, BTreeSet};

use hearsay_core::NodeId;

use crate::faults::{Evidence, Step};
use crate::plan::{ClockSkew, Disk as DiskAtStart, Endpoint, Fault, LinkConditions, PlannedFault};

use super::disk_faults::{self, DiskFault};
use super::node::Process;
use super::ring;
use super::settings::ClockSettings;
use super::wire::Pair;
use super::world::{World, place};

/// Pairs that are named in a sentence before it says how many more there are.
const NAMED_MAX: usize = 12;

/// The faults in force.
#[derive(Debug, Default)]
pub(super) struct Faults {
    in_force: BTreeMap<String, InForce>,
}

#[derive(Debug)]
enum InForce {
    Partition { pairs: BTreeSet<Pair>, dropped_before: BTreeMap<Pair, u64> },
    Crash { nodes: Vec<NodeId>, bit: bool },
    Pause { nodes: BTreeMap<NodeId, Option<Paused>> },
    Wipe { node: NodeId, bit: bool },
    Disk(DiskFault),
    Links { conditions: LinkConditions },
    Clock { nodes: Vec<NodeId> },
    Leave { nodes: Vec<NodeId>, join: DiskAtStart, bit: bool },
    Ring { fault: Fault, bit: bool },
}

/// A process at the moment it was paused.
#[derive(Clone, Copy, Debug)]
struct Paused {
    starts: u64,
    handled: u64,
}

impl Faults {
    /// Makes a fault.
    pub(super) fn inject(&mut self, world: &mut World, planned: &PlannedFault) -> Evidence {
        assert!(!self.in_force.contains_key(&planned.id), "{} is in force already", planned.id);
        let mut evidence = Evidence::new(&planned.id, Step::Inject);
        let state = match &planned.fault {
            Fault::Partition { blocked, .. } => self.inject_partition(world, &mut evidence, blocked),
            Fault::Crash { nodes } => {
                let bit = kill(world, &mut evidence, nodes);
                evidence.bit = Some(bit);
                InForce::Crash { nodes: nodes.clone(), bit }
            }
            Fault::Pause { nodes } => inject_pause(world, &mut evidence, nodes),
            Fault::Wipe { node } => inject_wipe(world, &mut evidence, *node),
            Fault::PowerCut { .. } | Fault::SlowDisk { .. } | Fault::FailingDisk { .. } => {
                InForce::Disk(disk_faults::inject(world, &mut evidence, &planned.fault))
            }
            Fault::Links { impaired, conditions, .. } => {
                world.wire.bad.impair(world.seed, &planned.id, impaired, *conditions);
                evidence.number("impaired_pairs", impaired.len() as u64);
                evidence.number("impaired_pairs_all", world.wire.bad.len() as u64);
                evidence.say(format!("{} of {} bad directed pairs.", impaired.len(), world.wire.bad.len()));
                InForce::Links { conditions: *conditions }
            }
            Fault::Clock { clocks } => inject_clocks(world, &mut evidence, clocks),
            Fault::Leave { nodes, join } => inject_leave(world, &mut evidence, nodes, *join),
            fault @ (Fault::Join { .. } | Fault::Retire { .. } | Fault::Replace { .. }) => {
                let bit = ring::inject(world, &mut evidence, fault);
                InForce::Ring { fault: fault.clone(), bit }
            }
        };
        self.in_force.insert(planned.id.clone(), state);
        evidence
    }

    /// Heals a fault that was made.
    pub(super) fn heal(&mut self, world: &mut World, planned: &PlannedFault) -> Evidence {
        let state = self.in_force.remove(&planned.id);
        let state = state.unwrap_or_else(|| panic!("{} is not in force", planned.id));
        let mut evidence = Evidence::new(&planned.id, Step::Heal);
        match state {
            InForce::Partition { pairs, dropped_before } => {
                self.heal_partition(world, &mut evidence, &pairs, &dropped_before);
            }
            InForce::Crash { nodes, bit } => {
                evidence.bit = Some(bit);
                self.start_again(world, &mut evidence, &nodes);
            }
            InForce::Pause { nodes } => self.heal_pause(world, &mut evidence, &nodes),
            InForce::Wipe { node, bit } => {
                let still_empty = is_still_empty(world, &mut evidence, node);
                evidence.bit = Some(bit && still_empty);
                self.start_again(world, &mut evidence, &[node]);
            }
            InForce::Disk(fault) => {
                let ended = disk_faults::heal(world, &mut evidence, fault);
                if !ended.is_empty() {
                    self.start_again(world, &mut evidence, &ended);
                }
            }
            InForce::Links { conditions } => {
                let tally = world.wire.bad.restore(&planned.id);
                tally.tell(&mut evidence);
                evidence.bit = Some(tally.shows(&conditions));
                evidence.say(match world.wire.bad.len() {
                    0 => "No link is bad any more.".to_owned(),
                    left => format!("Only the {left} pairs of other faults are bad."),
                });
                evidence.healed = Some(true);
            }
            InForce::Clock { nodes } => {
                for node in nodes {
                    world.nodes[place(node)].clock = world.settings.clock;
                }
                evidence.healed = Some(true);
            }
            InForce::Leave { nodes, join, bit } => {
                evidence.bit = Some(bit);
                for &node in nodes.iter().filter(|_| join == DiskAtStart::Empty) {
                    let still_empty = is_still_empty(world, &mut evidence, node);
                    evidence.bit = evidence.bit.map(|bit| bit && still_empty);
                }
                self.start_again(world, &mut evidence, &nodes);
            }
            InForce::Ring { bit, .. } => {
                evidence.bit = Some(bit);
                evidence.healed = Some(true);
                evidence.say("Nothing is to be undone.");
            }
        }
        evidence
    }

    /// Forgets a fault that came to nothing.
    pub(super) fn forget(&mut self, id: &str) {
        self.in_force.remove(id);
    }

    /// Notes how the nodes of a `leave` ended, once all of them have; `None` while one is still at it.
    pub(super) fn left(&mut self, world: &mut World, planned: &PlannedFault, evidence: &mut Evidence) -> Option<()> {
        let Some(InForce::Leave { nodes, join, bit }) = self.in_force.get_mut(&planned.id) else {
            panic!("{} is no leave in force", planned.id)
        };
        if nodes.iter().any(|&node| world.nodes[place(node)].leaving.is_some()) {
            return None;
        }
        for &node in nodes.iter() {
            let Some(left) = world.nodes[place(node)].left.take() else { continue };
            evidence.number(format!("{node}_ended_us"), left.took / 1_000);
            evidence.number(format!("{node}_unanswered"), left.unanswered);
            evidence.say(format!(
                "{node} ended {} us after it was asked to, with {} requests unanswered.",
                left.took / 1_000,
                left.unanswered
            ));
            evidence.took_us = evidence.took_us.max(left.took / 1_000);
            *bit &= left.unanswered == 0;
            if *join == DiskAtStart::Empty {
                *bit &= empty_disk(world, evidence, node);
            }
        }
        evidence.bit = Some(*bit);
        Some(())
    }

    fn inject_partition(
        &mut self,
        world: &mut World,
        evidence: &mut Evidence,
        blocked: &[(Endpoint, Endpoint)],
    ) -> InForce {
        let pairs: BTreeSet<Pair> = blocked.iter().copied().collect();
        let wanted: BTreeSet<Pair> = self.blocked_by_all().union(&pairs).copied().collect();
        evidence.number("blocked_pairs", pairs.len() as u64);
        evidence.number("blocked_pairs_all", wanted.len() as u64);
        evidence.say(format!("{} of {} directed pairs blocked.", pairs.len(), wanted.len()));
        let dropped_before = world.wire.dropped().clone();
        world.wire.block(wanted);
        InForce::Partition { pairs, dropped_before }
    }

    fn heal_partition(
        &mut self,
        world: &mut World,
        evidence: &mut Evidence,
        pairs: &BTreeSet<Pair>,
        dropped_before: &BTreeMap<Pair, u64>,
    ) {
        let wanted = self.blocked_by_all();
        let left = wanted.len();
        world.wire.block(wanted);
        let count = |counts: &BTreeMap<Pair, u64>, pair: &Pair| counts.get(pair).copied().unwrap_or(0);
        let dropped = |pair: &Pair| count(world.wire.dropped(), pair) - count(dropped_before, pair);
        let total: u64 = pairs.iter().map(dropped).sum();
        let silent: Vec<&Pair> = pairs.iter().filter(|pair| dropped(pair) == 0).collect();
        let sources: BTreeSet<_> = pairs.iter().map(|pair| pair.0).collect();
        let heard: BTreeSet<_> = pairs.iter().filter(|pair| dropped(pair) > 0).map(|pair| pair.0).collect();
        let silent_sources = sources.difference(&heard);
        evidence.number("packets_dropped", total);
        evidence.number("pairs_without_drops", silent.len() as u64);
        evidence.number("sources_without_drops", silent_sources.count() as u64);
        let on = pairs.len() - silent.len();
        evidence.say(format!("{total} packets dropped, on {on} of {} blocked pairs.", pairs.len()));
        if !silent.is_empty() {
            let named: Vec<String> =
                silent.iter().take(NAMED_MAX).map(|(from, to)| format!("{from} to {to}")).collect();
            let more = silent.len().saturating_sub(NAMED_MAX);
            let more = if more == 0 { String::new() } else { format!(" and {more} other pairs") };
            evidence.say(format!("No packet was lost from {}{more}.", named.join(", ")));
        }
        evidence.say(match left {
            0 => "Nothing is blocked any more.".to_owned(),
            left => format!("Only the {left} pairs of other partitions are blocked."),
        });
        evidence.bit = Some(total > 0);
        evidence.healed = Some(true);
    }

    /// The union of all partitions in force.
    fn blocked_by_all(&self) -> BTreeSet<Pair> {
        let partitions = self.in_force.values().filter_map(|state| match state {
            InForce::Partition { pairs, .. } => Some(pairs),
            InForce::Crash { .. }
            | InForce::Pause { .. }
            | InForce::Wipe { .. }
            | InForce::Disk(_)
            | InForce::Links { .. }
            | InForce::Clock { .. }
            | InForce::Leave { .. }
            | InForce::Ring { .. } => None,
        });
        partitions.flatten().copied().collect()
    }

    /// Starts nodes that no other fault holds down.
    fn start_again(&mut self, world: &mut World, evidence: &mut Evidence, nodes: &[NodeId]) {
        let mut healed = true;
        for &node in nodes {
            if self.in_force.values().any(|state| state.holds_down(node)) {
                evidence.say(format!("{node} stays down, another fault holds it."));
            } else if world.start(node) {
                let starts = world.nodes[place(node)].starts;
                evidence.number(format!("{node}_starts"), starts);
                evidence.say(format!("{node} starts again, start {starts}."));
            } else {
                healed = false;
                evidence.say(format!("{node} was running although it should have been down."));
            }
        }
        evidence.healed = Some(healed);
    }

    fn heal_pause(&mut self, world: &mut World, evidence: &mut Evidence, nodes: &BTreeMap<NodeId, Option<Paused>>) {
        let mut bit = !nodes.is_empty();
        let mut healed = true;
        for (&id, paused) in nodes {
            let Some(paused) = paused else {
                bit = false;
                evidence.say(format!("{id} was never paused."));
                continue;
            };
            let node = &world.nodes[place(id)];
            if node.starts != paused.starts || !node.exists() {
                evidence.say(format!("{id}: another fault killed it while it was paused."));
                continue;
            }
            let handled = node.handled - paused.handled;
            let waiting = node.waiting.len();
            bit &= handled == 0;
            evidence.number(format!("{id}_handled_while_paused"), handled);
            evidence.number(format!("{id}_waiting"), waiting as u64);
            evidence.say(format!("{id} handled {handled} inputs while it was paused; {waiting} events wait."));
            if self.in_force.values().any(|state| state.holds_paused(id)) {
                evidence.say(format!("{id} stays paused, another fault holds it."));
                continue;
            }
            let goes_on = world.proceed(id);
            healed &= goes_on;
            evidence.say(if goes_on { format!("{id} goes on.") } else { format!("{id} was not paused any more.") });
        }
        evidence.bit = Some(bit);
        evidence.healed = Some(healed);
    }
}

impl InForce {
    fn holds_down(&self, id: NodeId) -> bool {
        match self {
            InForce::Crash { nodes, .. } | InForce::Leave { nodes, .. } => nodes.contains(&id),
            InForce::Wipe { node, .. } => *node == id,
            InForce::Ring { fault, .. } => matches!(fault, Fault::Replace { node, .. } if *node == id),
            InForce::Disk(fault) => fault.holds_down(id),
            InForce::Partition { .. } | InForce::Pause { .. } | InForce::Links { .. } | InForce::Clock { .. } => false,
        }
    }

    fn holds_paused(&self, id: NodeId) -> bool {
        match self {
            InForce::Pause { nodes } => nodes.contains_key(&id),
            InForce::Partition { .. }
            | InForce::Crash { .. }
            | InForce::Wipe { .. }
            | InForce::Disk(_)
            | InForce::Links { .. }
            | InForce::Clock { .. }
            | InForce::Leave { .. }
            | InForce::Ring { .. } => false,
        }
    }
}

/// Kills processes; true when all of them were there.
pub(super) fn kill(world: &mut World, evidence: &mut Evidence, nodes: &[NodeId]) -> bool {
    let mut bit = !nodes.is_empty();
    for &node in nodes {
        match world.kill(node) {
            Some(loss) => {
                evidence.number(format!("{node}_batches_kept"), loss.kept);
                evidence.number(format!("{node}_batches_lost"), loss.lost);
                evidence.say(format!(
                    "{node} was killed; {} batches that were not synced yet are lost, {} made it.",
                    loss.lost, loss.kept
                ));
            }
            None => {
                bit = false;
                evidence.say(format!("{node} was not running, so there was nothing to kill."));
            }
        }
    }
    bit
}

fn inject_pause(world: &mut World, evidence: &mut Evidence, nodes: &[NodeId]) -> InForce {
    let mut paused = BTreeMap::new();
    for &id in nodes {
        let again = world.nodes[place(id)].process == Process::Paused;
        let stands = again || world.pause(id);
        let node = &world.nodes[place(id)];
        evidence.say(match (stands, again) {
            (true, false) => format!("{id} stands still."),
            (true, true) => format!("{id} stood still already."),
            (false, _) => format!("{id} was not running, so it could not be paused."),
        });
        if !stands {
            evidence.bit = Some(false);
        }
        paused.insert(id, stands.then_some(Paused { starts: node.starts, handled: node.handled }));
    }
    InForce::Pause { nodes: paused }
}

fn inject_wipe(world: &mut World, evidence: &mut Evidence, node: NodeId) -> InForce {
    let killed = kill(world, evidence, &[node]);
    let bit = killed & empty_disk(world, evidence, node);
    evidence.bit = Some(bit);
    InForce::Wipe { node, bit }
}

/// The nodes' own words prove that they follow.
fn inject_clocks(world: &mut World, evidence: &mut Evidence, clocks: &[ClockSkew]) -> InForce {
    let since_ns = world.now();
    for &ClockSkew { node, offset_ns, drift_ppb } in clocks {
        world.nodes[place(node)].clock = ClockSettings { offset_ns, drift_ns_per_s: drift_ppb, since_ns };
        evidence.say(format!("The wall clock of {node} is off by {offset_ns} ns and drifts by {drift_ppb} ppb."));
    }
    InForce::Clock { nodes: clocks.iter().map(|clock| clock.node).collect() }
}

/// How they ended is seen later.
fn inject_leave(world: &mut World, evidence: &mut Evidence, nodes: &[NodeId], join: DiskAtStart) -> InForce {
    let mut bit = !nodes.is_empty();
    for &node in nodes {
        if !world.leave(node) {
            bit = false;
            evidence.say(format!("{node} was not running, so it could not leave."));
        }
    }
    InForce::Leave { nodes: nodes.to_vec(), join, bit }
}

/// Whether a disk that was emptied still is.
fn is_still_empty(world: &World, evidence: &mut Evidence, node: NodeId) -> bool {
    let found = world.nodes[place(node)].disk.entries();
    evidence.number("entries_before_start", found);
    evidence.say(format!("The disk of {node} held {found} entries before its start."));
    found == 0
}

/// Empties a disk; true when there was something on it.
pub(super) fn empty_disk(world: &mut World, evidence: &mut Evidence, node: NodeId) -> bool {
    let (entries, bytes) = world.nodes[place(node)].disk.wipe();
    evidence.number("entries_removed", entries);
    evidence.number("bytes_removed", bytes);
    evidence.say(format!("{entries} entries with {bytes} bytes removed from the disk of {node}."));
    entries > 0
}
