//! The real environment's way to make and to heal every fault of a plan.
//!
//! Several faults may be in force at once. The firewall blocks the union of all partitions in force; a node that two faults hold down, or
//! paused, is up again, or runs again, when the last of them is healed.
//!
//! What counts as evidence:
//!
//! | fault | it bit | it is healed |
//! |---|---|---|
//! | partition | every pair is in the kernel's set, and packets were dropped | the kernel's set is what the other faults leave |
//! | crash | the process's status says signal 9 | a new process runs |
//! | pause | all threads stopped, CPU time the same at the end as at the start | no thread stopped |
//! | links | packets were held, lost or doubled as planned ([`crate::links`]) | no rule leads there, nothing is held, probes are quick |
//! | wipe | signal 9, and the disk was empty afterwards and until the new start | a new process runs |
//! | clock | the nodes say that their clocks are off as planned, asked by the run | the correction is gone |
//! | leave | exit code 0 within the time for it; where it joins empty, an empty disk as with a wipe | a new process runs |
//! | join, retire, replace | started, told or killed; nodes know of it at the planned end | every node knows it as done, who left has ended |
//!
//! Faults of the disks themselves are in [`super::disk_faults`].
//!
//! Errors are for what keeps the harness from doing its work. A fault that was made and did not bite is no error, but evidence.
//! Calls block for milliseconds: use `spawn_blocking` or a thread of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hearsay_core::NodeId;

mod clocks;
mod leave;
mod ring;

use super::disk_faults::DiskFault;
use super::evidence::{Evidence, Step, micros};
use super::firewall::{Firewall, FirewallError, Pair};
use crate::links::{BadLinks, LinkError};
use crate::plan::{Disk, Endpoint, Fault, PlannedFault};
use crate::sandbox::addresses;
use crate::sandbox::process::{DiskPlace, Ended, Nodes, ProcessError};

/// Pairs that are named in a sentence before it says how many more there are.
const NAMED_MAX: usize = 12;
/// How long a node may take to end after it was asked to, unless the run says otherwise.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// CPU time that may pass between the look that found all threads stopped and the kernel's last bookkeeping of it.
const CPU_SLACK_NS: u64 = 1_000_000;

/// A fault that could not be made or healed: the harness failed, not the cluster.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The firewall.
    #[error("fault {fault}: {source}")]
    Firewall {
        /// Which fault.
        fault: String,
        /// What it said.
        source: FirewallError,
    },
    /// Bad links.
    #[error("fault {fault}: {source}")]
    Links {
        /// Which fault.
        fault: String,
        /// What was wrong.
        source: LinkError,
    },
    /// A node's process.
    #[error("fault {fault}: {source}")]
    Process {
        /// Which fault.
        fault: String,
        /// What it said.
        source: ProcessError,
    },
    /// A node's disk.
    #[error("fault {fault}: the disk of {node}: {source}")]
    Disk {
        /// Which fault.
        fault: String,
        /// Which node.
        node: NodeId,
        /// The system's word.
        source: io::Error,
    },
    /// The correction of a node's wall clock.
    #[error("fault {fault}: can't write the clock correction of {node}: {source}")]
    Clock {
        /// Which fault.
        fault: String,
        /// Which node.
        node: NodeId,
        /// The system's word.
        source: io::Error,
    },
    /// Made twice, or healed without having been made.
    #[error("fault {fault} {wrong}")]
    Order {
        /// Which fault.
        fault: String,
        /// What is wrong with the order.
        wrong: &'static str,
    },
}

/// Makes and heals faults.
pub struct Injector {
    firewall: Box<dyn Firewall>,
    pub(super) nodes: Nodes,
    /// Or why this machine has none.
    links: Result<BadLinks, String>,
    in_force: BTreeMap<String, InForce>,
    clock_files: BTreeMap<NodeId, PathBuf>,
    leave_within: Duration,
}

enum InForce {
    Partition { pairs: BTreeSet<Pair>, drops_before: BTreeMap<Pair, u64>, seen_in_kernel: bool },
    Crash { nodes: Vec<NodeId>, bit: bool },
    Pause { nodes: BTreeMap<NodeId, Paused> },
    Wipe { node: NodeId, bit: bool },
    Links,
    Disk(DiskFault),
    Clock { nodes: Vec<NodeId> },
    Leave { nodes: Vec<NodeId>, join: Disk, bit: bool },
    Ring { fault: Fault, bit: bool },
}

/// A node at the moment all its threads stood still.
#[derive(Clone, Copy)]
struct Paused {
    pid: u32,
    cpu_ns: u64,
}

impl Injector {
    /// One for a firewall with nothing blocked and these nodes.
    pub fn new(firewall: Box<dyn Firewall>, nodes: Nodes) -> Injector {
        let links = Err("nobody makes links bad here".to_owned());
        Injector {
            firewall,
            nodes,
            links,
            in_force: BTreeMap::new(),
            clock_files: BTreeMap::new(),
            leave_within: LEAVE_WITHIN,
        }
    }

    /// Where each node looks for the correction of its wall clock.
    pub fn with_clock_files(self, clock_files: BTreeMap<NodeId, PathBuf>) -> Injector {
        Injector { clock_files, ..self }
    }

    /// How long a node may take to end after it was asked to.
    pub fn with_leave_within(self, leave_within: Duration) -> Injector {
        Injector { leave_within, ..self }
    }

    /// The same, with links that can be made bad; an error is why this machine can't, with the mend: such faults are then left
    /// out, and the evidence says so.
    pub fn with_links(self, links: Result<BadLinks, String>) -> Injector {
        Injector { links, ..self }
    }

    /// Ids of the faults in force.
    pub fn in_force(&self) -> Vec<String> {
        self.in_force.keys().cloned().collect()
    }

    /// Nodes that faults in force hold down: their silence is expected.
    pub fn down(&self) -> BTreeSet<NodeId> {
        self.in_force.values().flat_map(InForce::down).collect()
    }

    /// Makes a fault.
    pub fn inject(&mut self, planned: &PlannedFault) -> Result<Evidence, FaultError> {
        if self.in_force.contains_key(&planned.id) {
            return Err(FaultError::Order { fault: planned.id.clone(), wrong: "is in force already" });
        }
        let mut evidence = Evidence::new(&planned.id, Step::Inject);
        let state = match &planned.fault {
            Fault::Partition { blocked, .. } => self.inject_partition(&mut evidence, blocked)?,
            Fault::Crash { nodes } => self.inject_crash(&mut evidence, nodes)?,
            Fault::Pause { nodes } => self.inject_pause(&mut evidence, nodes)?,
            Fault::Wipe { node } => self.inject_wipe(&mut evidence, *node)?,
            Fault::PowerCut { .. } | Fault::SlowDisk { .. } | Fault::FailingDisk { .. } => {
                InForce::Disk(self.inject_disk_fault(&mut evidence, &planned.fault)?)
            }
            Fault::Links { impaired, conditions, .. } => {
                let blocked = self.blocked_by_all();
                match &mut self.links {
                    Ok(links) => {
                        let made = links.inject(&mut evidence, impaired, *conditions, &blocked);
                        made.map_err(|source| FaultError::Links { fault: planned.id.clone(), source })?;
                        InForce::Links
                    }
                    Err(reason) => {
                        evidence.left_out = Some(reason.clone());
                        return Ok(evidence);
                    }
                }
            }
            Fault::Clock { clocks } => self.inject_clocks(&mut evidence, clocks)?,
            Fault::Leave { nodes, join } => self.inject_leave(&mut evidence, nodes, *join)?,
            fault @ (Fault::Join { .. } | Fault::Retire { .. } | Fault::Replace { .. }) => {
                self.inject_ring(&mut evidence, fault)?
            }
        };
        self.in_force.insert(planned.id.clone(), state);
        Ok(evidence)
    }

    /// Forgets a fault that came to nothing.
    pub fn forget(&mut self, id: &str) {
        self.in_force.remove(id);
    }

    /// Whether a process of this node runs.
    pub fn runs(&self, node: NodeId) -> bool {
        self.nodes.pid(node).is_some()
    }

    /// Heals a fault that was made.
    pub fn heal(&mut self, planned: &PlannedFault) -> Result<Evidence, FaultError> {
        let Some(state) = self.in_force.remove(&planned.id) else {
            return Err(FaultError::Order { fault: planned.id.clone(), wrong: "is not in force" });
        };
        let mut evidence = Evidence::new(&planned.id, Step::Heal);
        match state {
            InForce::Partition { pairs, drops_before, seen_in_kernel } => {
                self.heal_partition(&mut evidence, &pairs, &drops_before, seen_in_kernel)?;
            }
            InForce::Crash { nodes, bit } => {
                evidence.bit = Some(bit);
                self.start_again(&mut evidence, &nodes)?;
            }
            InForce::Pause { nodes } => self.heal_pause(&mut evidence, &nodes)?,
            InForce::Wipe { node, bit } => self.heal_wipe(&mut evidence, node, bit)?,
            InForce::Links => {
                let blocked = self.blocked_by_all();
                let links = self.links.as_mut().expect("they were made bad here");
                let healed = links.heal(&mut evidence, &blocked);
                healed.map_err(|source| FaultError::Links { fault: planned.id.clone(), source })?;
            }
            InForce::Disk(fault) => self.heal_disk_fault(&mut evidence, fault)?,
            InForce::Clock { nodes } => self.heal_clocks(&mut evidence, &nodes)?,
            InForce::Leave { nodes, join, bit } => self.heal_leave(&mut evidence, &nodes, join, bit)?,
            InForce::Ring { bit, .. } => {
                evidence.bit = Some(bit);
                evidence.healed = Some(true);
                evidence.say("Nothing is to be undone.");
            }
        }
        Ok(evidence)
    }

    fn inject_partition(
        &mut self,
        evidence: &mut Evidence,
        blocked: &[(Endpoint, Endpoint)],
    ) -> Result<InForce, FaultError> {
        let fault = evidence.fault.clone();
        let failed = |source| FaultError::Firewall { fault: fault.clone(), source };
        let pairs: BTreeSet<Pair> = blocked
            .iter()
            .map(|&(source, destination)| (addresses::endpoint(source), addresses::endpoint(destination)))
            .collect();
        let before = self.blocked_by_all();
        // What earlier partitions of the same pairs dropped is not this one's.
        let mut drops_before = self.firewall.drops().map_err(failed)?;
        drops_before.retain(|pair, _| pairs.contains(pair));
        let wanted: BTreeSet<Pair> = before.union(&pairs).copied().collect();
        let began = Instant::now();
        self.firewall.apply(&wanted).map_err(failed)?;
        let took = began.elapsed();
        let seen_in_kernel = self.firewall.blocked().map_err(failed)? == wanted;
        evidence.took(took);
        evidence.number("blocked_pairs", pairs.len() as u64);
        evidence.number("blocked_pairs_all", wanted.len() as u64);
        evidence.say(format!(
            "{} of {} directed pairs blocked by one {} transaction in {} us; read back from the kernel: {}.",
            pairs.len(),
            wanted.len(),
            self.firewall.name(),
            micros(took),
            if seen_in_kernel { "the same" } else { "NOT the same" },
        ));
        if !seen_in_kernel {
            evidence.bit = Some(false);
        }
        Ok(InForce::Partition { pairs, drops_before, seen_in_kernel })
    }

    fn heal_partition(
        &mut self,
        evidence: &mut Evidence,
        pairs: &BTreeSet<Pair>,
        drops_before: &BTreeMap<Pair, u64>,
        seen_in_kernel: bool,
    ) -> Result<(), FaultError> {
        let fault = evidence.fault.clone();
        let failed = |source| FaultError::Firewall { fault: fault.clone(), source };
        let wanted = self.blocked_by_all();
        let began = Instant::now();
        self.firewall.apply(&wanted).map_err(failed)?;
        evidence.took(began.elapsed());
        let drops = self.firewall.drops().map_err(failed)?;
        let healed = self.firewall.blocked().map_err(failed)? == wanted;
        let lost = |pair: &Pair| {
            let before = drops_before.get(pair).copied().unwrap_or(0);
            drops.get(pair).copied().unwrap_or(0).saturating_sub(before)
        };
        let total: u64 = pairs.iter().map(lost).sum();
        let silent: Vec<Pair> = pairs.iter().filter(|pair| lost(pair) == 0).copied().collect();
        let sources: BTreeSet<_> = pairs.iter().map(|pair| pair.0).collect();
        let silent_sources =
            sources.iter().filter(|source| pairs.iter().all(|pair| pair.0 != **source || lost(pair) == 0));
        evidence.number("packets_dropped", total);
        evidence.number("pairs_without_drops", silent.len() as u64);
        evidence.number("sources_without_drops", silent_sources.count() as u64);
        evidence.say(format!(
            "{total} packets dropped, on {} of {} blocked pairs.",
            pairs.len() - silent.len(),
            pairs.len()
        ));
        if !silent.is_empty() {
            evidence.say(format!("No packet was lost from {}.", name_pairs(&silent)));
        }
        evidence.say(match (healed, wanted.len()) {
            (true, 0) => "Read back from the kernel: nothing is blocked any more.".to_string(),
            (true, left) => {
                format!("Read back from the kernel: only the {left} pairs of other partitions are blocked.")
            }
            (false, _) => "Read back from the kernel: it still blocks something else than it should.".to_string(),
        });
        evidence.bit = Some(seen_in_kernel && total > 0);
        evidence.healed = Some(healed);
        Ok(())
    }

    /// The union of all partitions in force.
    fn blocked_by_all(&self) -> BTreeSet<Pair> {
        let partitions = self.in_force.values().filter_map(|state| match state {
            InForce::Partition { pairs, .. } => Some(pairs),
            InForce::Crash { .. }
            | InForce::Pause { .. }
            | InForce::Wipe { .. }
            | InForce::Links
            | InForce::Disk(_)
            | InForce::Clock { .. }
            | InForce::Leave { .. }
            | InForce::Ring { .. } => None,
        });
        partitions.flatten().copied().collect()
    }

    fn inject_crash(&mut self, evidence: &mut Evidence, nodes: &[NodeId]) -> Result<InForce, FaultError> {
        let bit = self.kill(evidence, nodes)?;
        evidence.bit = Some(bit);
        Ok(InForce::Crash { nodes: nodes.to_vec(), bit })
    }

    /// Kills those that run; true when all of them did and died of it.
    fn kill(&mut self, evidence: &mut Evidence, nodes: &[NodeId]) -> Result<bool, FaultError> {
        self.kill_and(evidence, nodes, || {})
    }

    /// As above; `signalled` is done between the signals and the wait for the ends.
    pub(super) fn kill_and(
        &mut self,
        evidence: &mut Evidence,
        nodes: &[NodeId],
        signalled: impl FnOnce(),
    ) -> Result<bool, FaultError> {
        let (up, down): (Vec<NodeId>, Vec<NodeId>) =
            nodes.iter().copied().partition(|&node| self.nodes.pid(node).is_some());
        for node in &down {
            evidence.say(format!("{node} was not running, so there was nothing to kill."));
        }
        let began = Instant::now();
        let ended = match self.nodes.kill_and(&up, signalled) {
            Ok(ended) => ended,
            // It ended by itself since we looked; the stream of deaths has it.
            Err(ProcessError::NotRunning(node)) => {
                evidence.say(format!("{node} ended by itself before it could be killed."));
                return Ok(false);
            }
            Err(source) => return Err(FaultError::Process { fault: evidence.fault.clone(), source }),
        };
        evidence.took(began.elapsed());
        let mut bit = down.is_empty() && !nodes.is_empty();
        for (node, Ended { pid, status, took }) in ended {
            evidence.number(format!("{node}_reaped_us"), micros(took));
            evidence.say(format!("{node} (process {pid}) ended with {status}, reaped after {} us.", micros(took)));
            bit &= status.signal() == Some(9);
        }
        Ok(bit)
    }

    /// Starts nodes that no other fault holds down.
    pub(super) fn start_again(&mut self, evidence: &mut Evidence, nodes: &[NodeId]) -> Result<(), FaultError> {
        let held: BTreeSet<NodeId> = self.down();
        let began = Instant::now();
        let mut healed = true;
        for &node in nodes {
            if held.contains(&node) {
                evidence.say(format!("{node} stays down, another fault holds it."));
                continue;
            }
            match self.nodes.start(node) {
                Ok(pid) => {
                    evidence.number(format!("{node}_pid"), u64::from(pid));
                    evidence.say(format!("{node} runs again as process {pid}, start {}.", self.nodes.starts(node)));
                }
                // Somebody else started it, so our fault did not hold: that is no healing of ours.
                Err(ProcessError::Running(_)) => {
                    healed = false;
                    evidence.say(format!("{node} was running although it should have been down."));
                }
                Err(source) => return Err(FaultError::Process { fault: evidence.fault.clone(), source }),
            }
        }
        evidence.took(began.elapsed());
        evidence.healed = Some(healed);
        Ok(())
    }

    fn inject_pause(&mut self, evidence: &mut Evidence, nodes: &[NodeId]) -> Result<InForce, FaultError> {
        let began = Instant::now();
        let mut paused = BTreeMap::new();
        for &node in nodes {
            match self.nodes.pause(node) {
                Ok(seen) => {
                    paused.insert(node, Paused { pid: seen.pid, cpu_ns: seen.cpu_ns });
                    evidence.number(format!("{node}_stopped_us"), micros(seen.took));
                    evidence.say(format!(
                        "{node} (process {}): all {} threads stopped after {} us.",
                        seen.pid,
                        seen.threads,
                        micros(seen.took)
                    ));
                }
                Err(ProcessError::NotRunning(_)) => {
                    evidence.say(format!("{node} was not running, so it could not be paused."))
                }
                Err(source) => return Err(FaultError::Process { fault: evidence.fault.clone(), source }),
            }
        }
        evidence.took(began.elapsed());
        if paused.len() < nodes.len() {
            evidence.bit = Some(false);
        }
        let missing = nodes.iter().filter(|node| !paused.contains_key(node)).copied().collect::<Vec<_>>();
        // Kept with no process, so that the heal says again that these were never paused.
        paused.extend(missing.into_iter().map(|node| (node, Paused { pid: 0, cpu_ns: 0 })));
        Ok(InForce::Pause { nodes: paused })
    }

    fn heal_pause(&mut self, evidence: &mut Evidence, nodes: &BTreeMap<NodeId, Paused>) -> Result<(), FaultError> {
        let failed = |fault: &str, source| FaultError::Process { fault: fault.to_string(), source };
        let held: BTreeSet<NodeId> = self.in_force.values().flat_map(InForce::paused).collect();
        let began = Instant::now();
        let (mut bit, mut healed) = (!nodes.is_empty(), true);
        for (&node, &paused) in nodes {
            if paused.pid == 0 || self.nodes.pid(node) != Some(paused.pid) {
                bit &= paused.pid != 0;
                evidence.say(match paused.pid {
                    0 => format!("{node} was never paused."),
                    pid => format!("{node} is no longer process {pid}: another fault killed it while it was paused."),
                });
                continue;
            }
            let (stopped, threads, cpu_ns) = self.nodes.look(node).map_err(|e| failed(&evidence.fault, e))?;
            let used = cpu_ns.saturating_sub(paused.cpu_ns);
            bit &= stopped == threads && used <= CPU_SLACK_NS;
            evidence.number(format!("{node}_cpu_while_paused_ns"), used);
            evidence.say(format!(
                "{node}: {stopped} of {threads} threads still stopped at the end, {used} ns of CPU time used meanwhile."
            ));
            if held.contains(&node) {
                evidence.say(format!("{node} stays paused, another fault holds it."));
                continue;
            }
            match self.nodes.proceed(node) {
                Ok(seen) => {
                    evidence.number(format!("{node}_running_us"), micros(seen.took));
                    evidence.say(format!("{node} goes on: none of its threads is stopped."));
                }
                Err(ProcessError::Unmoved { state, .. }) => {
                    healed = false;
                    evidence.say(format!("{node} did not go on: it {state}."));
                }
                Err(source) => return Err(failed(&evidence.fault, source)),
            }
        }
        evidence.took(began.elapsed());
        evidence.bit = Some(bit);
        evidence.healed = Some(healed);
        Ok(())
    }

    fn inject_wipe(&mut self, evidence: &mut Evidence, node: NodeId) -> Result<InForce, FaultError> {
        let began = Instant::now();
        let killed = self.kill(evidence, &[node])?;
        let emptied = self.empty_disk(evidence, node)?;
        evidence.took(began.elapsed());
        let bit = killed && emptied;
        evidence.bit = Some(bit);
        Ok(InForce::Wipe { node, bit })
    }

    /// Empties a disk; true when there was something, and then nothing.
    fn empty_disk(&self, evidence: &mut Evidence, node: NodeId) -> Result<bool, FaultError> {
        let disk = self.disk(evidence, node)?;
        let failed = |source| FaultError::Disk { fault: evidence.fault.clone(), node, source };
        let before = contents(&disk).map_err(failed)?;
        empty(&disk).map_err(failed)?;
        let after = contents(&disk).map_err(failed)?;
        evidence.number("files_removed", before.files);
        evidence.number("bytes_removed", before.bytes);
        evidence.say(format!(
            "{} files with {} bytes removed from the disk of {node}; {} left.",
            before.files, before.bytes, after.files
        ));
        Ok(before.files > 0 && after.files == 0)
    }

    fn heal_wipe(&mut self, evidence: &mut Evidence, node: NodeId, bit: bool) -> Result<(), FaultError> {
        let still_empty = self.is_still_empty(evidence, node)?;
        evidence.bit = Some(bit && still_empty);
        self.start_again(evidence, &[node])
    }

    /// Whether a disk that was emptied still is.
    fn is_still_empty(&self, evidence: &mut Evidence, node: NodeId) -> Result<bool, FaultError> {
        let disk = self.disk(evidence, node)?;
        let found =
            contents(&disk).map_err(|source| FaultError::Disk { fault: evidence.fault.clone(), node, source })?;
        evidence.number("files_before_start", found.files);
        evidence.say(match found.files {
            0 => format!("The disk of {node} was still empty before its start."),
            files => format!("The disk of {node} held {files} files again before its start."),
        });
        Ok(found.files == 0)
    }

    pub(super) fn disk(&self, evidence: &Evidence, node: NodeId) -> Result<DiskPlace, FaultError> {
        match self.nodes.places(node) {
            Some(places) => Ok(places.disk),
            None => Err(FaultError::Process { fault: evidence.fault.clone(), source: ProcessError::Unknown(node) }),
        }
    }
}

impl InForce {
    fn down(&self) -> Vec<NodeId> {
        match self {
            InForce::Crash { nodes, .. } | InForce::Leave { nodes, .. } => nodes.clone(),
            InForce::Wipe { node, .. } | InForce::Ring { fault: Fault::Replace { node, .. }, .. } => vec![*node],
            InForce::Ring { .. } => Vec::new(),
            InForce::Partition { .. } | InForce::Pause { .. } | InForce::Links | InForce::Clock { .. } => Vec::new(),
            InForce::Disk(fault) => fault.down(),
        }
    }

    fn paused(&self) -> Vec<NodeId> {
        match self {
            InForce::Pause { nodes } => nodes.keys().copied().collect(),
            InForce::Partition { .. }
            | InForce::Crash { .. }
            | InForce::Wipe { .. }
            | InForce::Links
            | InForce::Disk(_)
            | InForce::Clock { .. }
            | InForce::Leave { .. }
            | InForce::Ring { .. } => Vec::new(),
        }
    }
}

fn name_pairs(pairs: &[Pair]) -> String {
    let name = |address| addresses::owner(address).map_or_else(|| format!("{address}"), |end| end.to_string());
    let named: Vec<String> =
        pairs.iter().take(NAMED_MAX).map(|&(from, to)| format!("{} to {}", name(from), name(to))).collect();
    match pairs.len().saturating_sub(NAMED_MAX) {
        0 => named.join(", "),
        more => format!("{} and {more} other pairs", named.join(", ")),
    }
}

#[derive(Default)]
struct Contents {
    files: u64,
    bytes: u64,
}

/// What is on a disk.
fn contents(disk: &DiskPlace) -> io::Result<Contents> {
    match disk {
        DiskPlace::Plain(directory) => below(directory),
        DiskPlace::Served(disk) => {
            let (files, bytes) = disk.contents();
            Ok(Contents { files, bytes })
        }
    }
}

/// Files below a directory, and their bytes. A directory that does not exist is empty.
fn below(directory: &Path) -> io::Result<Contents> {
    let mut found = Contents::default();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            let below = below(&entry.path())?;
            found.files += below.files;
            found.bytes += below.bytes;
        } else {
            found.files += 1;
            found.bytes += metadata.len();
        }
    }
    Ok(found)
}

/// Removes everything on a disk, and leaves it.
fn empty(disk: &DiskPlace) -> io::Result<()> {
    let directory = match disk {
        DiskPlace::Plain(directory) => directory,
        DiskPlace::Served(disk) => {
            disk.wipe();
            return Ok(());
        }
    };
    match fs::remove_dir_all(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir_all(directory)
}

#[cfg(test)]
#[path = "injector_tests.rs"]
mod tests;
