//! What a checker says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::OpIndex;

/// Three-valued: what is not known is never green.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// The model holds for this history, and there was enough evidence to say so.
    Holds,
    /// The model is broken; the explanation names the operations.
    Violated,
    /// Too little evidence, or a budget ended; the explanation says which.
    Unknown,
}

/// A judgement with its reasons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Name of the checker, such as `monotonic-reads`.
    pub checker: String,
    /// The judgement.
    pub judgement: Judgement,
    /// Sentences. For a violation the minimal counterexample, contradiction last; otherwise what was judged, or why not.
    pub explanation: Vec<String>,
    /// Operations of the counterexample.
    pub operations: Vec<OpIndex>,
    /// Violations found in all (the explanation is of the clearest one).
    pub violations: u64,
    /// How strong the evidence is: counts by name (operations judged, reads that could have been stale, ...).
    pub evidence: BTreeMap<String, f64>,
    /// What was assumed, such as real-time order between sessions.
    pub assumptions: Vec<String>,
}
