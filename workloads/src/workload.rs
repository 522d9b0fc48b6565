//! Every workload there is. A new one is a file with its parameters and generator, and one line per function here.

use hearsay_checkers::GossipBounds;
use serde::{Deserialize, Serialize};

use crate::{Action, CounterSpec, Level, NewsSpec, RegisterSpec, ScanSpec, SetSpec};

/// Most operations of one run: a plan is held in memory and saved with the run.
pub const OPERATIONS_MAX: u64 = 2_000_000;

/// A workload with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkloadSpec {
    /// Registers: put, get and delete on a few keys.
    Register(RegisterSpec),
    /// Sets: elements are added, and removed as they were seen.
    Set(SetSpec),
    /// Counters: amounts are added.
    Counter(CounterSpec),
    /// Registers in groups, and scans of them.
    Scan(ScanSpec),
    /// Broadcasts to all nodes.
    Broadcast(NewsSpec),
    /// Changes of cluster options.
    Options(NewsSpec),
}

/// Checkers of what the nodes say of themselves at the end, whatever the workload. Nothing is asked where none is expected.
/// Part of [`WorkloadSpec::checkers_on_demand`].
pub const END_CHECKERS: &[&str] = &["hints-drained", "dot-log-bounded", "second-exchange-empty", "gossip-cost"];

/// What is kept under a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataKind {
    /// One number.
    #[default]
    Register,
    /// Many numbers.
    Set,
    /// The sum of many numbers.
    Counter,
    /// What was broadcast, a copy at every node.
    Broadcast,
    /// Cluster options, a copy at every node.
    Options,
}

impl DataKind {
    /// Whether every node has a copy of it, whatever the ring.
    pub fn is_news(self) -> bool {
        matches!(self, DataKind::Broadcast | DataKind::Options)
    }
}

/// An operation with its time and place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedOperation {
    /// Milliseconds from the start of the load.
    pub at_ms: u64,
    /// Client, from 0.
    pub client: u32,
    /// The coordinator, as an index into the cluster's nodes.
    pub node: u16,
    /// What to do.
    pub action: Action,
}

impl WorkloadSpec {
    /// Name and a sentence for each workload.
    pub const ALL: &'static [(&'static str, &'static str)] = &[
        ("register", "clients read, write and delete registers; every value is written only once"),
        (
            "set",
            "clients add elements to sets, read them, and remove what they have seen; every element is added only once",
        ),
        ("counter", "clients add to counters and read them"),
        ("scan", "clients write and delete registers, and read ranges of them up to a limit"),
        ("broadcast", "clients broadcast numbers; at the end every node says which it delivered"),
        ("options", "clients change options of the running cluster; at the end every node says which it knows"),
    ];

    /// Its name in campaigns.
    pub fn name(&self) -> &'static str {
        match self {
            WorkloadSpec::Register(_) => "register",
            WorkloadSpec::Set(_) => "set",
            WorkloadSpec::Counter(_) => "counter",
            WorkloadSpec::Scan(_) => "scan",
            WorkloadSpec::Broadcast(_) => "broadcast",
            WorkloadSpec::Options(_) => "options",
        }
    }

    /// Load and keys, which are those of registers in every workload.
    pub fn load(&self) -> &RegisterSpec {
        match self {
            WorkloadSpec::Register(register) => register,
            WorkloadSpec::Set(set) => &set.load,
            WorkloadSpec::Counter(counter) => &counter.load,
            WorkloadSpec::Scan(scan) => &scan.load,
            WorkloadSpec::Broadcast(news) | WorkloadSpec::Options(news) => &news.load,
        }
    }

    /// The same, to change it.
    pub fn load_mut(&mut self) -> &mut RegisterSpec {
        match self {
            WorkloadSpec::Register(register) => register,
            WorkloadSpec::Set(set) => &mut set.load,
            WorkloadSpec::Counter(counter) => &mut counter.load,
            WorkloadSpec::Scan(scan) => &mut scan.load,
            WorkloadSpec::Broadcast(news) | WorkloadSpec::Options(news) => &mut news.load,
        }
    }

    /// What its broadcasts may cost; nothing is bounded where there are none.
    pub fn gossip_bounds(&self) -> GossipBounds {
        match self {
            WorkloadSpec::Broadcast(news) | WorkloadSpec::Options(news) => news.at_most,
            _ => GossipBounds::default(),
        }
    }

    /// What is kept under a key.
    pub fn kind(&self) -> DataKind {
        match self {
            WorkloadSpec::Register(_) | WorkloadSpec::Scan(_) => DataKind::Register,
            WorkloadSpec::Set(_) => DataKind::Set,
            WorkloadSpec::Counter(_) => DataKind::Counter,
            WorkloadSpec::Broadcast(_) => DataKind::Broadcast,
            WorkloadSpec::Options(_) => DataKind::Options,
        }
    }

    /// The checkers that can judge its history, by name.
    pub fn checkers(&self) -> &'static [&'static str] {
        match self {
            WorkloadSpec::Register(_) => RegisterSpec::CHECKERS,
            WorkloadSpec::Set(set) => set.checkers(),
            WorkloadSpec::Counter(_) => CounterSpec::CHECKERS,
            WorkloadSpec::Scan(_) => ScanSpec::CHECKERS,
            WorkloadSpec::Broadcast(_) | WorkloadSpec::Options(_) => NewsSpec::CHECKERS,
        }
    }

    /// Checkers that judge only where a campaign expects something of them, by name.
    pub fn checkers_on_demand(&self) -> Vec<&'static str> {
        let models = matches!(self, WorkloadSpec::Register(_)).then(RegisterSpec::models);
        models.into_iter().flatten().chain(END_CHECKERS.iter().copied()).collect()
    }

    /// Whether an action is one of this workload.
    pub fn allows(&self, action: &Action) -> bool {
        match action {
            Action::Read { .. } => true,
            Action::Write { .. } => matches!(self.kind(), DataKind::Register | DataKind::Options),
            Action::Delete { .. } => self.kind() == DataKind::Register,
            Action::Add { .. } => self.kind() != DataKind::Register,
            Action::Update { .. } => matches!(self.kind(), DataKind::Set | DataKind::Counter),
            Action::Remove { .. } => self.kind() == DataKind::Set,
            Action::Scan { .. } => matches!(self, WorkloadSpec::Scan(_)),
        }
    }

    /// What no other action of the run may bring, if the action brings something of that sort.
    pub fn unique_value(&self, action: &Action) -> Option<u64> {
        match action {
            Action::Write { value, .. } => Some(*value),
            Action::Add { value, .. } | Action::Update { value, .. } if self.kind() != DataKind::Counter => {
                Some(*value)
            }
            _ => None,
        }
    }

    /// Number of clients.
    pub fn clients(&self) -> u32 {
        self.load().clients
    }

    /// Level of the reads, final reads included.
    pub fn read_level(&self) -> Level {
        self.load().read_level
    }

    /// Level of the writes and deletes.
    pub fn write_level(&self) -> Level {
        self.load().write_level
    }

    /// How long a client waits before it records an operation as unknown.
    pub fn client_timeout_ms(&self) -> u64 {
        self.load().client_timeout_ms
    }

    /// How late an operation may start before it is skipped.
    pub fn overdue_skip_ms(&self) -> u64 {
        self.load().overdue_skip_ms
    }

    /// Operations per second of all clients together; a read that an update or removal needs comes on top.
    pub fn rate_per_s(&self) -> u32 {
        self.load().rate_per_s
    }

    /// All operations of a load of `load_ms` on a cluster of `nodes`, by client, then time. Pure.
    pub fn generate(&self, nodes: u16, load_ms: u64, seed: u64) -> Vec<GeneratedOperation> {
        match self {
            WorkloadSpec::Register(register) => register.generate(nodes, load_ms, seed),
            WorkloadSpec::Set(set) => set.generate(nodes, load_ms, seed),
            WorkloadSpec::Counter(counter) => counter.generate(nodes, load_ms, seed),
            WorkloadSpec::Scan(scan) => scan.generate(nodes, load_ms, seed),
            WorkloadSpec::Broadcast(news) | WorkloadSpec::Options(news) => news.generate(nodes, load_ms, seed),
        }
    }
}
