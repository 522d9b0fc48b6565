//! The two worlds behind one trait, and plans and what was seen of them.

use std::collections::BTreeMap;
use std::path::Path;

use hearsay::campaign::parse;
use hearsay::disk::DiskKind;
use hearsay::faults::FirewallKind;
use hearsay::plan::{Endpoint, Fault, PartitionShape, Plan, PlannedFault, PlannedOperation, make_plan};
use hearsay::progress::Progress;
use hearsay::report::FaultReport;
use hearsay::run::execute::execute;
use hearsay::sandbox::Sandbox;
use hearsay::sim::{Settings, simulate};
use hearsay::store::{RunDirectory, load_case};
use hearsay_checkers::{Event, EventType, FinalEntry};
use hearsay_core::NodeId;
use hearsay_workloads::Action;
use serde::Deserialize;

/// Where a plan can be carried out.
pub(crate) trait World {
    /// Carries a plan out; everything it leaves is in `directory`. The faults that were reached.
    fn carry_out(&self, plan: &Plan, directory: &RunDirectory) -> Vec<FaultReport>;
}

/// Virtual time.
pub(crate) struct Simulated;

impl World for Simulated {
    fn carry_out(&self, plan: &Plan, directory: &RunDirectory) -> Vec<FaultReport> {
        let simulated = simulate(plan, Settings::default());
        simulated.write(directory).expect("a run can be written");
        assert!(simulated.ran.problems.is_empty(), "{:?}", simulated.ran.problems);
        simulated.ran.faults
    }
}

/// Processes in a sandbox.
pub(crate) struct Real<'a> {
    pub(crate) sandbox: &'a Sandbox,
}

impl World for Real<'_> {
    fn carry_out(&self, plan: &Plan, directory: &RunDirectory) -> Vec<FaultReport> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let ran = runtime.block_on(execute(
            plan,
            directory,
            FirewallKind::default(),
            DiskKind::default(),
            self.sandbox,
            &Progress::new(),
        ));
        assert!(ran.problems.is_empty(), "{:?}", ran.problems);
        ran.faults
    }
}

/// What is the same for all operations of a plan, and how long it takes.
pub(crate) struct Shape {
    pub(crate) read_level: &'static str,
    pub(crate) write_level: &'static str,
    pub(crate) client_timeout_ms: u64,
    pub(crate) heartbeat_interval_ms: u64,
    pub(crate) heartbeat_timeout_ms: u64,
    /// 0: nothing repairs what a write did not bring.
    pub(crate) merkle_interval_ms: u64,
    pub(crate) faults_ms: u64,
    pub(crate) clients: u32,
}

/// How long a coordinator works for a request.
pub(crate) const REQUEST_TIMEOUT_MS: u64 = 500;
/// When faults may begin; operations before it make the connections.
pub(crate) const WARMUP_MS: u64 = 500;
/// How late things may be on a busy machine.
pub(crate) const LATE_MS: u64 = 1_000;

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            read_level: "one",
            write_level: "one",
            client_timeout_ms: 1_000,
            heartbeat_interval_ms: 250,
            heartbeat_timeout_ms: 1_500,
            merkle_interval_ms: 0,
            faults_ms: 3_000,
            clients: 8,
        }
    }
}

/// Three nodes that each hold every key.
pub(crate) fn plan(shape: &Shape, faults: Vec<PlannedFault>, operations: Vec<PlannedOperation>) -> Plan {
    let Shape { read_level, write_level, client_timeout_ms, heartbeat_interval_ms, .. } = shape;
    let Shape { heartbeat_timeout_ms, merkle_interval_ms, faults_ms, clients, .. } = shape;
    let text = format!(
        "campaign: conformance\nabout: what both worlds must do\n\
         cluster: {{nodes: 3, replication: 3, read_repair: none, \
         merkle_interval: {merkle_interval_ms}ms, request_timeout: {REQUEST_TIMEOUT_MS}ms, \
         heartbeat_interval: {heartbeat_interval_ms}ms, heartbeat_timeout: {heartbeat_timeout_ms}ms}}\n\
         workload:\n  register: {{keys: 1, clients: {clients}, rate: 8, mix: {{read: 1}}, read_level: {read_level}, \
         write_level: {write_level}, client_timeout: {client_timeout_ms}ms, overdue_skip: 10s}}\n\
         phases: {{warmup: {WARMUP_MS}ms, faults: {faults_ms}ms, healed: 500ms, converge_within: 500ms}}\n\
         faults: {{between: 100ms, kinds: [{{pause: {{nodes: one, for: 100ms, at_least: 0}}}}]}}\n\
         expect: {{availability: any}}\n"
    );
    let campaign = parse("conformance.yaml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let mut plan = make_plan(&campaign, 7);
    plan.faults = faults;
    plan.operations = operations;
    plan.operations.sort_by_key(|operation| (operation.client, operation.at_ms));
    let problems = plan.validate();
    assert!(problems.is_empty(), "{problems:?}");
    plan
}

pub(crate) fn n(number: u16) -> NodeId {
    NodeId(number)
}

pub(crate) fn fault(at_ms: u64, until_ms: u64, fault: Fault) -> PlannedFault {
    PlannedFault { id: "f1".to_owned(), at_ms, duration_ms: until_ms - at_ms, fault }
}

/// Blocks these directed pairs.
pub(crate) fn blocks(pairs: &[(u16, u16)]) -> Fault {
    let ends = |&(from, to): &(u16, u16)| (Endpoint::Node(n(from)), Endpoint::Node(n(to)));
    Fault::Partition { shape: PartitionShape::IsolateOne, blocked: pairs.iter().map(ends).collect() }
}

pub(crate) fn write(at_ms: u64, client: u32, node: u16, key: &str, value: u64) -> PlannedOperation {
    PlannedOperation { at_ms, client, node: n(node), action: Action::Write { key: key.to_owned(), value } }
}

pub(crate) fn read(at_ms: u64, client: u32, node: u16, key: &str) -> PlannedOperation {
    PlannedOperation { at_ms, client, node: n(node), action: Action::Read { key: key.to_owned() } }
}

/// An operation as it was seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) begun: Event,
    pub(crate) ended: Event,
}

impl Seen {
    pub(crate) fn kind(&self) -> EventType {
        self.ended.kind
    }

    pub(crate) fn took_ms(&self) -> u64 {
        (self.ended.time - self.begun.time) / 1_000_000
    }

    pub(crate) fn error(&self) -> &str {
        self.ended.error.as_deref().unwrap_or_default()
    }
}

/// What a node said about itself at some time.
#[derive(Debug, Deserialize)]
pub(crate) struct Sample {
    /// Nanoseconds since the start of the load.
    pub(crate) time: u64,
    pub(crate) node: String,
    #[serde(default)]
    pub(crate) keys: u64,
    #[serde(default)]
    counters: BTreeMap<String, u64>,
}

impl Sample {
    pub(crate) fn count(&self, name: &str) -> u64 {
        *self.counters.get(name).unwrap_or_else(|| panic!("{} counts no {name}", self.node))
    }
}

/// What is there after a plan was carried out.
#[derive(Debug)]
pub(crate) struct Observed {
    /// Of nodes that answered.
    pub(crate) samples: Vec<Sample>,
    pub(crate) faults: Vec<FaultReport>,
    pub(crate) operations: Vec<Seen>,
    pub(crate) entries: Vec<FinalEntry>,
}

pub(crate) fn observe(world: &dyn World, plan: &Plan) -> Observed {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = RunDirectory::create(folder.path(), &plan.campaign, "run", plan.seed).expect("a directory");
    let faults = world.carry_out(plan, &directory);
    for fault in &faults {
        assert!(fault.bit && fault.healed, "{fault:?}");
    }
    assert_eq!(faults.len(), plan.faults.len());
    let case = load_case(directory.path()).expect("what was written can be read");
    let state = case.final_state.expect("the nodes were looked at");
    assert!(state.unreachable.is_empty(), "{:?}", state.unreachable);
    let metrics = std::fs::read_to_string(directory.metrics()).expect("the metrics");
    let samples = metrics.lines().map(|line| serde_json::from_str::<Sample>(line).expect("a sample"));
    let samples = samples.filter(|sample| !sample.counters.is_empty()).collect();
    Observed { samples, faults, operations: operations(&directory.history()), entries: state.entries }
}

/// Every operation with both of its events.
fn operations(history: &Path) -> Vec<Seen> {
    let text = std::fs::read_to_string(history).expect("the history");
    let events = text.lines().map(|line| serde_json::from_str::<Event>(line).expect("an event"));
    let mut open: Vec<Event> = Vec::new();
    let mut seen = Vec::new();
    for event in events {
        match open.iter().position(|begun| begun.process == event.process) {
            Some(position) => seen.push(Seen { begun: open.swap_remove(position), ended: event }),
            None => open.push(event),
        }
    }
    assert!(open.is_empty(), "without an end: {open:?}");
    seen
}

impl Observed {
    /// The planned operations on a key, in the order in which they began; not the readers' after the load.
    pub(crate) fn on(&self, key: &str, load_ms: u64) -> Vec<&Seen> {
        let mut found: Vec<&Seen> = self
            .operations
            .iter()
            .filter(|seen| seen.begun.key == key && seen.begun.time < load_ms * 1_000_000)
            .collect();
        found.sort_by_key(|seen| seen.begun.time);
        found
    }

    /// What each node that has the key holds.
    pub(crate) fn held(&self, key: &str) -> Vec<(String, Option<u64>)> {
        let of_key = self.entries.iter().filter(|entry| entry.key == key);
        let mut held: Vec<_> = of_key.map(|entry| (entry.node.clone(), entry.value)).collect();
        held.sort();
        held
    }
}

/// All three nodes with this value.
pub(crate) fn everywhere(value: u64) -> Vec<(String, Option<u64>)> {
    (1..=3).map(|node| (n(node).to_string(), Some(value))).collect()
}
