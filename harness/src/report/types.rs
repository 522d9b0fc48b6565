//! The report as data.

use std::collections::BTreeMap;

use hearsay_checkers::{Phase, Verdict};
use hearsay_workloads::Expectation;
use serde::{Deserialize, Serialize};

use crate::exit::Outcome;

use super::PhaseOperations;

/// All that a run, or a judgement, has to say. The content of `verdict.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The last word.
    pub outcome: Outcome,
    /// The exit code that goes with it.
    pub exit_code: u8,
    /// Name of the campaign.
    pub campaign: String,
    /// Seed of the plan.
    pub seed: u64,
    /// Commit of the program that ran it.
    pub commit: String,
    /// The bug that was planted in the nodes: what was found is its doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planted: Option<String>,
    /// A line on the cluster and the load.
    pub about: String,
    /// Where the evidence is.
    pub directory: String,
    /// The command that does it again.
    pub replay: String,
    /// Whether somebody ended it early.
    pub interrupted: bool,
    /// What makes its evidence weaker than it could be, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Of a simulated run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulation: Option<Simulation>,
    /// Phases that were run.
    pub phases: Vec<Phase>,
    /// What was done to the cluster, in the order of the plan.
    pub faults: Vec<FaultReport>,
    /// What the clients saw, by phase.
    pub operations: Vec<PhaseOperations>,
    /// Planned operations that were not started because they were overdue.
    pub operations_skipped: u64,
    /// Planned operations that the run did not come to.
    pub operations_remaining: u64,
    /// What the checkers say.
    pub verdicts: Vec<JudgedVerdict>,
    /// Of a cluster that did not converge: what it still has to do, and where, as sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<String>,
    /// How often each rare branch of the node's code was taken, by name; what was never taken is left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub marks: BTreeMap<String, u64>,
    /// What went wrong besides.
    pub problems: Vec<Problem>,
}

/// What only a simulated run has to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Simulation {
    /// Hash over everything that happened, as hexadecimal digits: equal runs have equal hashes.
    pub run_hash: String,
    /// Events carried out.
    pub events: u64,
    /// Virtual time that passed, nanoseconds.
    pub virtual_ns: u64,
}

/// A fault with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaultReport {
    /// Such as `f3`.
    pub id: String,
    /// Such as `partition halves`.
    pub name: String,
    /// Whom it hits, such as `n1 n4`.
    pub nodes: String,
    /// In force from, nanoseconds since the start of the run; `None`: never.
    pub from: Option<u64>,
    /// Healed at, nanoseconds since the start of the run; `None`: never.
    pub to: Option<u64>,
    /// This machine can't make it, so the run went on without it; `bit_evidence` has the mend.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left_out: bool,
    /// Whether it is proven that it did something.
    pub bit: bool,
    /// How that is known, or why not.
    pub bit_evidence: String,
    /// Whether it is proven that it was undone, by the kernel and by the cluster.
    pub healed: bool,
    /// How that is known, or why not.
    pub heal_evidence: String,
}

/// A verdict against its expectation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgedVerdict {
    /// What was expected.
    pub expectation: Expectation,
    /// What that makes of the run.
    pub outcome: Outcome,
    /// What the checker says.
    pub verdict: Verdict,
}

/// Something that keeps a run from being as expected, besides the verdicts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The kind, for programs.
    pub kind: ProblemKind,
    /// A sentence, for people.
    pub message: String,
}

/// Kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// A planned fault has no proof that it did anything.
    FaultDidNotBite,
    /// There is no proof that a fault was undone.
    HealNotProven,
    /// A process of a node ended though nobody asked for it.
    NodeDied,
    /// The cluster was not ready to serve in time, or could not be looked at.
    Cluster,
    /// Rare branches were asked for and never taken.
    MarksNotHit,
    /// No operation ever succeeded.
    NothingRan,
    /// The harness could not do its work.
    Harness,
    /// The harness was ended before it could judge.
    DidNotEnd,
}

impl ProblemKind {
    /// What such a problem makes of the run.
    pub fn outcome(self) -> Outcome {
        match self {
            ProblemKind::FaultDidNotBite
            | ProblemKind::HealNotProven
            | ProblemKind::DidNotEnd
            | ProblemKind::MarksNotHit => Outcome::Unknown,
            ProblemKind::NodeDied => Outcome::Violation,
            ProblemKind::NothingRan => Outcome::NothingRan,
            ProblemKind::Cluster | ProblemKind::Harness => Outcome::HarnessFailed,
        }
    }
}
