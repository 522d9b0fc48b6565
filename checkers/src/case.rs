//! All that a checker may look at.

use serde::{Deserialize, Serialize};

use crate::History;
use crate::record::Recording;

/// What is judged: the history, and what was observed around it.
#[derive(Clone, Debug, Default)]
pub struct Case {
    /// What clients saw.
    pub history: History,
    /// What every node stored at the end, if it was looked at.
    pub final_state: Option<FinalState>,
    /// Phases of the run, in order. Empty for foreign histories.
    pub phases: Vec<Phase>,
    /// When faults were in force.
    pub faults: Vec<FaultWindow>,
    /// The transactions, for a history of transactions.
    pub transactions: Option<crate::transactions::TransactionHistory>,
    /// What was recorded, values as data: for models of other data types than registers.
    pub recording: Option<Recording>,
}

/// A phase of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// `warmup`, `faults`, `healed`, `final-reads`.
    pub name: String,
    /// Nanoseconds since the start of the run.
    pub from: u64,
    /// Nanoseconds since the start of the run.
    pub to: u64,
}

/// When a fault was in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultWindow {
    /// Such as `f3`.
    pub id: String,
    /// Such as `partition halves`.
    pub name: String,
    /// Nanoseconds since the start of the run.
    pub from: u64,
    /// Nanoseconds since the start of the run.
    pub to: u64,
}

/// What every node stored after everything was healed and the load had ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FinalState {
    /// Replicas that each key must have.
    pub replication: u64,
    /// From the end of the load until all replicas were seen equal, nanoseconds; `None`: not within the deadline.
    pub converged_after: Option<u64>,
    /// How long was waited at most, nanoseconds.
    pub deadline: u64,
    /// Every entry of every node.
    pub entries: Vec<FinalEntry>,
    /// Nodes that could not be looked at, with the reason.
    pub unreachable: Vec<String>,
}

/// What one node stored under one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalEntry {
    /// Such as `n3`.
    pub node: String,
    /// The key.
    pub key: String,
    /// `None`: deleted.
    pub value: Option<u64>,
    /// The stamp that the node claims, for the explanation only.
    pub stamp: u64,
}
