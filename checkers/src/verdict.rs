//! What a checker says.

use std::collections::BTreeMap;
use std::fmt;

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

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Judgement::Holds => "holds",
            Judgement::Violated => "violated",
            Judgement::Unknown => "unknown",
        })
    }
}

/// How often a kind of violation was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindCount {
    /// A stable name, such as `stale-read` or `lost-write`.
    pub kind: String,
    /// Violations of this kind.
    pub count: u64,
}

/// A judgement with its reasons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Name of the checker, such as `monotonic-reads`.
    pub checker: String,
    /// The judgement.
    pub judgement: Judgement,
    /// Of a violation: something good did not happen in time, rather than something bad happened. It may need more time
    /// and says nothing against what was stored or read.
    #[serde(default)]
    pub liveness: bool,
    /// Sentences. For a violation the minimal counterexample, contradiction last; otherwise what was judged, or why not.
    pub explanation: Vec<String>,
    /// Operations of the counterexample.
    pub operations: Vec<OpIndex>,
    /// Violations found in all (the explanation is of the clearest one).
    pub violations: u64,
    /// How strong the evidence is: counts by name (operations judged, reads that could have been stale, ...).
    pub evidence: BTreeMap<String, f64>,
    /// What kinds of violations were found, that of the explained one first. Two runs that break a model in the same way have
    /// a kind in common, whatever keys and values are involved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<KindCount>,
    /// What was assumed, such as real-time order between sessions.
    pub assumptions: Vec<String>,
}

impl Verdict {
    /// A verdict without evidence yet: unknown, with no reason.
    pub(crate) fn new(checker: &str) -> Verdict {
        Verdict {
            checker: checker.to_owned(),
            judgement: Judgement::Unknown,
            liveness: false,
            explanation: Vec::new(),
            operations: Vec::new(),
            violations: 0,
            evidence: BTreeMap::new(),
            kinds: Vec::new(),
            assumptions: Vec::new(),
        }
    }

    /// Sets a count of the evidence.
    pub(crate) fn count(&mut self, name: impl Into<String>, number: u64) {
        self.measure(name, number as f64);
    }

    /// Sets a measurement of the evidence.
    pub(crate) fn measure(&mut self, name: impl Into<String>, number: f64) {
        self.evidence.insert(name.into(), number);
    }

    /// Counts violations of a kind; the first one counted is to be that of the explanation.
    pub(crate) fn found(&mut self, kind: &str, count: u64) {
        match self.kinds.iter_mut().find(|known| known.kind == kind) {
            Some(known) => known.count += count,
            None => self.kinds.push(KindCount { kind: kind.to_owned(), count }),
        }
    }

    /// Adds the operation to the counterexample once.
    pub(crate) fn involve(&mut self, operation: OpIndex) {
        if !self.operations.contains(&operation) {
            self.operations.push(operation);
        }
    }

    /// Ends as `judgement`, for this reason.
    pub(crate) fn because(mut self, judgement: Judgement, sentence: impl Into<String>) -> Verdict {
        self.judgement = judgement;
        self.explanation.push(sentence.into());
        self
    }
}
