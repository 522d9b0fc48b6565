//! Whether a plan can be executed: it may have been edited by hand.

use std::collections::{BTreeMap, BTreeSet};

use hearsay_core::{NodeId, Planted};
use hearsay_workloads::OPERATIONS_MAX;

use super::links::{LINK_BANDWIDTH_BYTES_PER_S, LINK_DELAY_MAX_MS, LINK_QUEUE_MS, LINK_SHARE_MAX_PER_MILLION};
use super::schedule::{FAULTS_MAX, exclude_each_other};
use super::{
    CLOCK_DRIFT_MAX_PPB, CLOCK_OFFSET_MAX_NS, CLOCK_SKEW_MIN_NS, Endpoint, Fault, LinkConditions, Plan, PlannedFault,
};
use crate::campaign::{NODES_MAX, is_campaign_name};

/// Problems told at once; a plan with more is told so.
const PROBLEMS_MAX: usize = 20;
const PHASE_MAX_MS: u64 = 3_600_000;
/// Longest time that a disk makes a sync wait.
pub(crate) const DISK_WAIT_MAX_MS: u64 = 1_000;

impl Plan {
    /// What keeps this plan from being executed, a sentence each; empty when nothing does.
    pub fn validate(&self) -> Vec<String> {
        let mut problems = Problems::default();
        self.validate_cluster(&mut problems);
        self.validate_planted(&mut problems);
        self.validate_phases(&mut problems);
        self.validate_expectations(&mut problems);
        self.validate_faults(&mut problems);
        self.validate_operations(&mut problems);
        problems.finish()
    }

    /// The planted bug of every node: none, unless the plan names one that this build has.
    pub(crate) fn planted_bug(&self) -> Planted {
        self.planted.as_deref().and_then(Planted::named).unwrap_or_default()
    }

    fn validate_planted(&self, problems: &mut Problems) {
        if let Some(name) = self.planted.as_deref().filter(|name| Planted::named(name).is_none()) {
            problems.add(format!(
                "it plants the bug `{name}`, which this build does not have: build with `--features planted-bugs`"
            ));
        }
    }

    /// Members and spares.
    fn nodes(&self) -> usize {
        self.cluster.members.len() + usize::from(self.spares)
    }

    fn knows(&self, node: NodeId) -> bool {
        // They are n1, n2, ... without a gap, as is checked.
        (1..=self.nodes()).contains(&usize::from(node.0))
    }

    fn validate_cluster(&self, problems: &mut Problems) {
        if !is_campaign_name(&self.campaign) {
            problems.add(format!("`{}` is no campaign name: use small letters, digits and -", self.campaign));
        }
        let members = &self.cluster.members;
        let expected = (1..=NODES_MAX).map(NodeId).take(members.len());
        if members.is_empty() || members.len() > usize::from(NODES_MAX) || !members.iter().copied().eq(expected) {
            problems.add(format!("cluster.members has to be 1, 2, 3, ... up to at most {NODES_MAX}, without gaps"));
        }
        if let Err(error) = self.cluster.validate() {
            problems.add(format!("the nodes would refuse the cluster: {error}"));
        }
        let replication = self.cluster.replication;
        for (name, level) in [("read_level", self.workload.read_level()), ("write_level", self.workload.write_level())]
        {
            let needed = level.needed(replication);
            if needed > replication {
                problems.add(format!("{name} {level} needs {needed} replicas, but the replication is {replication}"));
            }
        }
    }

    fn validate_phases(&self, problems: &mut Problems) {
        let phases = &self.phases;
        let lengths = [
            ("warmup_ms", phases.warmup_ms),
            ("faults_ms", phases.faults_ms),
            ("healed_ms", phases.healed_ms),
            ("converge_within_ms", phases.converge_within_ms),
        ];
        for (name, length_ms) in lengths {
            if length_ms > PHASE_MAX_MS {
                problems.add(format!("phases.{name} {length_ms} is longer than an hour ({PHASE_MAX_MS})"));
            }
        }
    }

    fn validate_expectations(&self, problems: &mut Problems) {
        let known = [self.workload.checkers(), &self.workload.checkers_on_demand()].concat();
        for checker in self.expect.keys().filter(|checker| !known.contains(&checker.as_str())) {
            problems.add(format!(
                "the workload {} has no checker `{checker}`; allowed: {}",
                self.workload.name(),
                known.join(", ")
            ));
        }
    }

    fn validate_faults(&self, problems: &mut Problems) {
        if self.faults.len() > FAULTS_MAX {
            problems.add(format!("{} faults are too many: at most {FAULTS_MAX}", self.faults.len()));
            return;
        }
        let mut ids = BTreeSet::new();
        for fault in &self.faults {
            if !ids.insert(&fault.id) {
                problems.add(format!("two faults are called {}", fault.id));
            }
            self.validate_fault(fault, problems);
        }
        for pair in self.faults.windows(2).filter(|pair| pair[0].at_ms > pair[1].at_ms) {
            problems
                .add(format!("{} starts before {}, but stands behind it: sort them by at_ms", pair[1].id, pair[0].id));
        }
        for problem in super::ring::problems(self) {
            problems.add(problem);
        }
        // Sorted by start, so a fault can only meet those in force when it starts.
        let mut in_force: Vec<&PlannedFault> = Vec::new();
        for fault in &self.faults {
            in_force.retain(|other| other.until_ms() > fault.at_ms);
            for other in &in_force {
                if let Some(problem) = conflict(other, fault) {
                    problems.add(problem);
                }
            }
            in_force.push(fault);
        }
    }

    fn validate_fault(&self, fault: &PlannedFault, problems: &mut Problems) {
        let id = &fault.id;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if id.is_empty() || id.len() > 32 || !id.chars().all(plain) {
            problems.add(format!("`{id}` is no name for a fault: use letters and digits, such as f1"));
        }
        if fault.duration_ms == 0 {
            problems.add(format!("{id} takes no time: give it a duration_ms"));
        }
        if fault.at_ms < self.phases.faults_from_ms() || fault.until_ms() > self.phases.faults_until_ms() {
            problems.add(format!(
                "{id} is in force from {} to {} ms, outside of the fault phase from {} to {} ms",
                fault.at_ms,
                fault.until_ms(),
                self.phases.faults_from_ms(),
                self.phases.faults_until_ms()
            ));
        }
        match &fault.fault {
            Fault::Partition { blocked, .. } => self.validate_pairs(id, "block", blocked, problems),
            Fault::Links { impaired, conditions, .. } => {
                self.validate_pairs(id, "impair", impaired, problems);
                validate_conditions(id, conditions, problems);
            }
            Fault::Crash { nodes } | Fault::Pause { nodes } | Fault::FailingDisk { nodes } => {
                validate_nodes(id, nodes, problems);
            }
            Fault::Clock { .. } | Fault::Leave { .. } => validate_nodes(id, &fault.fault.processes(), problems),
            Fault::PowerCut { nodes, hold_ms, .. } => {
                validate_nodes(id, nodes, problems);
                if *hold_ms > DISK_WAIT_MAX_MS {
                    problems.add(format!("{id} holds syncs for {hold_ms} ms: hold_ms is at most {DISK_WAIT_MAX_MS}"));
                }
            }
            Fault::SlowDisk { nodes, sync_ms } => {
                validate_nodes(id, nodes, problems);
                if *sync_ms == 0 || *sync_ms > DISK_WAIT_MAX_MS {
                    problems.add(format!("{id} has sync_ms {sync_ms}: it is 1 to {DISK_WAIT_MAX_MS}"));
                }
            }
            Fault::Wipe { .. } | Fault::Join { .. } | Fault::Retire { .. } | Fault::Replace { .. } => {}
        }
        self.validate_clocks(fault, problems);
        if fault.fault.empties().len() > 1 {
            problems.add(format!("{id} empties several disks at once: only one node may have to catch up at a time"));
        }
        for node in fault.fault.processes().iter().filter(|node| !self.knows(**node)) {
            problems.add(format!("{id} names {node}, but the nodes are n1 to n{}", self.nodes()));
        }
    }

    fn validate_clocks(&self, fault: &PlannedFault, problems: &mut Problems) {
        let Fault::Clock { clocks } = &fault.fault else { return };
        for clock in clocks {
            let (id, node) = (&fault.id, clock.node);
            let (offset_ns, drift_ppb) = (clock.offset_ns, clock.drift_ppb);
            if offset_ns.unsigned_abs() > CLOCK_OFFSET_MAX_NS.unsigned_abs() {
                problems.add(format!(
                    "{id} puts {node} off by {offset_ns} ns: at most {CLOCK_OFFSET_MAX_NS} (an hour), either way"
                ));
            }
            if drift_ppb.unsigned_abs() > CLOCK_DRIFT_MAX_PPB.unsigned_abs() {
                problems.add(format!(
                    "{id} lets {node} drift by {drift_ppb} ppb: at most {CLOCK_DRIFT_MAX_PPB}, either way"
                ));
            }
            let seen = |elapsed_ns| clock.off_ns(elapsed_ns).unsigned_abs() >= CLOCK_SKEW_MIN_NS.unsigned_abs();
            if !seen(0) && !seen(fault.duration_ms.saturating_mul(1_000_000)) {
                problems.add(format!("{id} leaves the clock of {node} within 10 ms of the truth: that can't be seen"));
            }
        }
    }

    fn validate_pairs(&self, id: &str, does: &str, pairs: &[(Endpoint, Endpoint)], problems: &mut Problems) {
        if pairs.is_empty() {
            problems.add(format!("{id} {does}s no pair: it would never bite"));
        }
        let mut seen = BTreeSet::new();
        for (from, to) in pairs {
            if !seen.insert((from, to)) {
                problems.add(format!("{id} {does}s {from} -> {to} twice"));
            }
            if from == to {
                problems.add(format!("{id} {does}s {from} from itself: packets within a node can't be {does}ed"));
            }
            for end in [from, to] {
                if let Endpoint::Node(node) = end
                    && !self.knows(*node)
                {
                    problems.add(format!("{id} names {node}, but the nodes are n1 to n{}", self.nodes()));
                }
            }
        }
    }

    fn validate_operations(&self, problems: &mut Problems) {
        let count = u64::try_from(self.operations.len()).unwrap_or(u64::MAX);
        // Gaps are jittered, so a plan can have a little more than its rate says.
        let most = OPERATIONS_MAX + OPERATIONS_MAX / 10;
        if count == 0 || count > most {
            problems.add(format!("{count} operations: a plan has 1 to {most}"));
            return;
        }
        let (clients, load_ms) = (self.workload.clients(), self.phases.load_ms());
        let mut written: BTreeMap<u64, &super::PlannedOperation> = BTreeMap::new();
        let mut before = None;
        for operation in &self.operations {
            if operation.client >= clients {
                problems.add(format!("`{operation}`: the clients are c0 to c{}", clients.saturating_sub(1)));
            }
            if !self.knows(operation.node) {
                problems.add(format!("`{operation}`: the nodes are n1 to n{}", self.nodes()));
            }
            if operation.at_ms >= load_ms {
                problems.add(format!("`{operation}`: the load ends at {load_ms} ms"));
            }
            let place = (operation.client, operation.at_ms);
            if before.is_some_and(|before| before > place) {
                problems.add(format!("`{operation}` stands too late: sort operations by client, then time"));
            }
            before = Some(place);
            if !self.workload.allows(&operation.action) {
                problems.add(format!("`{operation}` is of no {} workload", self.workload.name()));
            }
            if let Some(value) = self.workload.unique_value(&operation.action)
                && let Some(other) = written.insert(value, operation)
            {
                problems.add(format!(
                    "`{operation}` and `{other}` write the same value: the checkers could not tell them apart"
                ));
            }
        }
    }
}

fn validate_nodes(id: &str, nodes: &[NodeId], problems: &mut Problems) {
    if nodes.is_empty() {
        problems.add(format!("{id} names no nodes"));
    }
    let distinct: BTreeSet<_> = nodes.iter().collect();
    if distinct.len() < nodes.len() {
        problems.add(format!("{id} names a node twice"));
    }
}

fn validate_conditions(id: &str, conditions: &LinkConditions, problems: &mut Problems) {
    if !conditions.is_bad() {
        problems.add(format!("{id} does nothing to packets: it would never bite"));
    }
    for (what, value_ms) in [("latency_ms", conditions.latency_ms), ("jitter_ms", conditions.jitter_ms)] {
        if value_ms > LINK_DELAY_MAX_MS {
            problems.add(format!("{id}: {what} {value_ms} is more than {LINK_DELAY_MAX_MS}"));
        }
    }
    for (what, share) in [
        ("loss_per_million", conditions.loss_per_million),
        ("duplicate_per_million", conditions.duplicate_per_million),
        ("reorder_per_million", conditions.reorder_per_million),
    ] {
        if share > LINK_SHARE_MAX_PER_MILLION {
            problems.add(format!("{id}: {what} {share} is more than {LINK_SHARE_MAX_PER_MILLION}"));
        }
    }
    if conditions.queue_ms > LINK_QUEUE_MS {
        problems.add(format!("{id}: queue_ms {} is more than {LINK_QUEUE_MS}", conditions.queue_ms));
    }
    let bandwidth = conditions.bandwidth_bytes_per_s;
    if bandwidth > 0 && !LINK_BANDWIDTH_BYTES_PER_S.contains(&bandwidth) {
        let (least, most) = (LINK_BANDWIDTH_BYTES_PER_S.start(), LINK_BANDWIDTH_BYTES_PER_S.end());
        problems.add(format!("{id}: bandwidth_bytes_per_s {bandwidth} is not between {least} and {most}"));
    }
}

/// Why two faults that are in force together can't be.
fn conflict(earlier: &PlannedFault, later: &PlannedFault) -> Option<String> {
    let (one, other) = (&earlier.fault, &later.fault);
    let shared = one.processes().into_iter().find(|node| other.processes().contains(node));
    let together = format!("{} ({}) and {} ({}) overlap", earlier.id, one.name(), later.id, other.name());
    match (one, other) {
        (Fault::Partition { blocked, .. }, Fault::Partition { blocked: others, .. }) => {
            let pairs: BTreeSet<_> = blocked.iter().collect();
            let (from, to) = others.iter().find(|pair| pairs.contains(pair))?;
            Some(format!("{together} and both block {from} -> {to}: healing one could not be proven"))
        }
        (Fault::Links { impaired, .. }, Fault::Links { impaired: others, .. }) => {
            let pairs: BTreeSet<_> = impaired.iter().collect();
            let (from, to) = others.iter().find(|pair| pairs.contains(pair))?;
            Some(format!("{together} and both impair {from} -> {to}: nobody could tell whose delay it is"))
        }
        _ if shared.is_some() => shared.map(|node| format!("{together} and both take {node}")),
        _ if exclude_each_other(one, other) && !(one.empties().is_empty() && other.empties().is_empty()) => {
            Some(format!("{together}: while a node without a disk catches up nothing else may happen"))
        }
        _ => None,
    }
}

#[derive(Default)]
struct Problems {
    told: Vec<String>,
    more: usize,
}

impl Problems {
    fn add(&mut self, problem: String) {
        if self.told.len() < PROBLEMS_MAX {
            self.told.push(problem);
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.told.push(format!("and {} more", self.more));
        }
        self.told
    }
}
