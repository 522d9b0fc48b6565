//! How things ended: one outcome, its exit code, and which of two outcomes outranks the other.

use serde::{Deserialize, Serialize};

/// Exit code of a command line, campaign or plan that can't be used.
pub const EXIT_USAGE: u8 = 64;

/// How a run, or a re-judgement of one, ended. Later ones outrank earlier ones: what went wrong for certain outranks
/// what is merely not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every expectation was met.
    AsExpected,
    /// Too little evidence, a fault that never bit, or a heal that could not be proven.
    Unknown,
    /// The replicas were not equal within the deadline (liveness).
    NotConverged,
    /// No operation ever succeeded, so there is nothing to judge.
    NothingRan,
    /// The harness itself failed.
    HarnessFailed,
    /// A model was broken against expectation (or held against expectation), or a node died by itself.
    Violation,
}

impl Outcome {
    /// The exit code of the process.
    pub fn exit_code(self) -> u8 {
        match self {
            Outcome::AsExpected => 0,
            Outcome::Violation => 1,
            Outcome::Unknown => 2,
            Outcome::NotConverged => 3,
            Outcome::NothingRan => 4,
            Outcome::HarnessFailed => 70,
        }
    }

    /// The outcome in the words of a report.
    pub fn words(self) -> &'static str {
        match self {
            Outcome::AsExpected => "as expected",
            Outcome::Violation => "VIOLATION",
            Outcome::Unknown => "unknown",
            Outcome::NotConverged => "did not converge",
            Outcome::NothingRan => "nothing ran",
            Outcome::HarnessFailed => "the harness failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violation_outranks_everything_and_unknown_only_success() {
        use Outcome::*;
        for other in [AsExpected, Unknown, NotConverged, NothingRan, HarnessFailed] {
            assert!(Violation > other, "{other:?}");
        }
        assert!(Unknown > AsExpected);
        assert!(NotConverged > Unknown, "not converging is a finding, not a lack of one");
        assert_eq!([AsExpected, Unknown].into_iter().max(), Some(Unknown));
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        use Outcome::*;
        let codes = [AsExpected, Violation, Unknown, NotConverged, NothingRan, HarnessFailed].map(Outcome::exit_code);
        assert_eq!(codes, [0, 1, 2, 3, 4, 70]);
    }
}
