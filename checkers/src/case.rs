//! All that a checker may look at.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::record::Recording;
use crate::registers::Registers;
use crate::{History, Judgement, Verdict};

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
    /// The registers in compact form, for a history that has no other; looked at first.
    pub registers: Option<Registers>,
}

/// Why there is nothing to judge for a model of registers.
#[derive(Clone, Debug)]
pub(crate) struct NoRegisters(String);

impl NoRegisters {
    fn collections() -> NoRegisters {
        NoRegisters("This is no history of registers, but of sets or counters.".to_owned())
    }

    pub(crate) fn verdict(&self, checker: &str) -> Verdict {
        Verdict::new(checker).because(Judgement::Unknown, self.0.clone())
    }
}

impl Case {
    /// The registers: of the compact history if there is one, else of the history, else of the recording.
    pub(crate) fn registers(&self) -> Result<Cow<'_, Registers>, NoRegisters> {
        match (&self.registers, &self.recording) {
            (Some(registers), _) => Ok(Cow::Borrowed(registers)),
            _ if self.history.has_collections => Err(NoRegisters::collections()),
            (None, Some(recording)) if self.history.operations.is_empty() => {
                let registers = Registers::from_recording(recording);
                registers
                    .map(Cow::Owned)
                    .map_err(|reason| NoRegisters(format!("This is no history of registers: {reason}.")))
            }
            (None, _) => Ok(Cow::Owned(Registers::from_history(&self.history))),
        }
    }
}

impl Case {
    /// The history with names: as it is, or of the registers if there is none.
    pub(crate) fn named_history(&self) -> Result<Cow<'_, History>, NoRegisters> {
        if self.history.has_collections {
            return Err(NoRegisters::collections());
        }
        if !self.history.operations.is_empty() || (self.recording.is_none() && self.registers.is_none()) {
            return Ok(Cow::Borrowed(&self.history));
        }
        self.registers()?.to_history().map(Cow::Owned).map_err(NoRegisters)
    }
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
    /// What every node said of itself then; empty: nobody was asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<FinalNode>,
}

/// What one node said of itself at the end. Counts are those of its last process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FinalNode {
    /// Such as `n3`.
    pub node: String,
    /// Writes that it keeps for other nodes; `None`: it did not say.
    pub hints_pending: Option<u64>,
    /// Writes that it ever kept for other nodes.
    pub hints_kept: Option<u64>,
    /// Its dot log, where it has one.
    pub dot_log: Option<DotLog>,
    /// What it found when it compared itself with its neighbours twice in a row; `None`: it did not, or not to the end.
    pub second_exchange: Option<SecondExchange>,
    /// What broadcasts cost it, where nodes spread news.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gossip: Option<Gossip>,
}

/// What a node counted of the broadcasts it took part in, since its process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gossip {
    /// Broadcasts delivered, own ones included.
    pub delivered: u64,
    /// Payloads received that were known.
    pub duplicates: u64,
    /// Broadcasts it asked for, because the tree did not bring them.
    pub grafts: u64,
    /// Messages sent without a payload.
    pub control: u64,
    /// Neighbours put out for others.
    pub evictions: u64,
    /// Times it raised its incarnation because of what others said of it.
    pub incarnations: u64,
    /// Entries in its tables at the end, beside views and the archive of broadcasts.
    pub left: u64,
    /// Whether its tables contradict each other.
    pub flawed: bool,
}

/// The log of dots that other replicas may lack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DotLog {
    /// Dots in it.
    pub dots: u64,
    /// Most that it may hold.
    pub limit: u64,
    /// Dots that its process saw: that it made, or received.
    pub seen: u64,
    /// Dots dropped because the log was full.
    pub dropped: u64,
}

/// The second of two comparisons in a row with all neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondExchange {
    /// Neighbours it was made with.
    pub peers: u64,
    /// Neighbours that it was not finished with.
    pub left_out: u64,
    /// Ranges compared.
    pub ranges_compared: u64,
    /// Ranges that differed.
    pub ranges_differing: u64,
    /// Keys sent and received.
    pub keys_moved: u64,
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
    /// What is stored, where that is no number; the value is a digest of it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}
