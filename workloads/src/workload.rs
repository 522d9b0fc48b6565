//! Every workload there is. A new one is a file with its parameters and generator, and one line per function here.

use serde::{Deserialize, Serialize};

use crate::{Action, Level, RegisterSpec};

/// Most operations of one run: a plan is held in memory and saved with the run.
pub const OPERATIONS_MAX: u64 = 2_000_000;

/// A workload with its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkloadSpec {
    /// Registers: put, get and delete on a few keys.
    Register(RegisterSpec),
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
    pub const ALL: &'static [(&'static str, &'static str)] =
        &[("register", "clients read, write and delete registers; every value is written only once")];

    /// Its name in campaigns.
    pub fn name(&self) -> &'static str {
        match self {
            WorkloadSpec::Register(_) => "register",
        }
    }

    /// The checkers that can judge its history, by name.
    pub fn checkers(&self) -> &'static [&'static str] {
        match self {
            WorkloadSpec::Register(_) => RegisterSpec::CHECKERS,
        }
    }

    /// Number of clients.
    pub fn clients(&self) -> u32 {
        match self {
            WorkloadSpec::Register(register) => register.clients,
        }
    }

    /// Level of the reads, final reads included.
    pub fn read_level(&self) -> Level {
        match self {
            WorkloadSpec::Register(register) => register.read_level,
        }
    }

    /// Level of the writes and deletes.
    pub fn write_level(&self) -> Level {
        match self {
            WorkloadSpec::Register(register) => register.write_level,
        }
    }

    /// How long a client waits before it records an operation as unknown.
    pub fn client_timeout_ms(&self) -> u64 {
        match self {
            WorkloadSpec::Register(register) => register.client_timeout_ms,
        }
    }

    /// How late an operation may start before it is skipped.
    pub fn overdue_skip_ms(&self) -> u64 {
        match self {
            WorkloadSpec::Register(register) => register.overdue_skip_ms,
        }
    }

    /// Operations per second of all clients together.
    pub fn rate_per_s(&self) -> u32 {
        match self {
            WorkloadSpec::Register(register) => register.rate_per_s,
        }
    }

    /// All operations of a load of `load_ms` on a cluster of `nodes`, by client, then time. Pure.
    pub fn generate(&self, nodes: u16, load_ms: u64, seed: u64) -> Vec<GeneratedOperation> {
        match self {
            WorkloadSpec::Register(register) => register.generate(nodes, load_ms, seed),
        }
    }
}
