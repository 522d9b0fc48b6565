//! From verdicts and problems to the outcome of a run.

use hearsay_checkers::{Judgement, Verdict};
use hearsay_workloads::Expectation;

use crate::exit::Outcome;

use super::{JudgedVerdict, Problem};

/// What a verdict makes of a run that expected `expectation` of it.
pub fn required_outcome(expectation: Expectation, verdict: &Verdict) -> Outcome {
    match (expectation, verdict.judgement) {
        (Expectation::Any, _) => Outcome::AsExpected,
        (_, Judgement::Unknown) => Outcome::Unknown,
        (Expectation::Holds, Judgement::Holds) | (Expectation::Violated, Judgement::Violated) => Outcome::AsExpected,
        (Expectation::Holds, Judgement::Violated) if verdict.liveness => Outcome::NotConverged,
        (Expectation::Holds, Judgement::Violated) => Outcome::Violation,
        // The run was made to break this model: a harness that sees nothing is blind.
        (Expectation::Violated, Judgement::Holds) => Outcome::Violation,
    }
}

/// The outcome of the run: the worst of all.
pub fn outcome_of(verdicts: &[JudgedVerdict], problems: &[Problem]) -> Outcome {
    let judged = verdicts.iter().map(|judged| judged.outcome);
    let others = problems.iter().map(|problem| problem.kind.outcome());
    // Nothing judged is nothing known.
    judged.chain(others).max().unwrap_or(Outcome::Unknown)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::ProblemKind;
    use super::*;

    fn verdict(judgement: Judgement, liveness: bool) -> Verdict {
        Verdict {
            checker: "convergence".to_owned(),
            judgement,
            liveness,
            explanation: Vec::new(),
            operations: Vec::new(),
            violations: 0,
            evidence: BTreeMap::new(),
            kinds: Vec::new(),
            assumptions: Vec::new(),
        }
    }

    #[test]
    fn every_expectation_against_every_judgement() {
        use Expectation as E;
        use Judgement as J;
        use Outcome as O;
        let table = [
            (E::Holds, J::Holds, O::AsExpected),
            (E::Holds, J::Violated, O::Violation),
            (E::Holds, J::Unknown, O::Unknown),
            (E::Violated, J::Holds, O::Violation),
            (E::Violated, J::Violated, O::AsExpected),
            (E::Violated, J::Unknown, O::Unknown),
            (E::Any, J::Holds, O::AsExpected),
            (E::Any, J::Violated, O::AsExpected),
            (E::Any, J::Unknown, O::AsExpected),
        ];
        for (expectation, judgement, outcome) in table {
            let found = required_outcome(expectation, &verdict(judgement, false));
            assert_eq!(found, outcome, "{expectation:?} {judgement:?}");
        }
        assert_eq!(required_outcome(E::Holds, &verdict(J::Violated, true)), O::NotConverged);
        assert_eq!(required_outcome(E::Violated, &verdict(J::Violated, true)), O::AsExpected);
    }

    #[test]
    fn a_violation_outranks_a_fault_that_never_bit() {
        let judged = |outcome| JudgedVerdict {
            expectation: Expectation::Holds,
            outcome,
            verdict: verdict(Judgement::Violated, false),
        };
        let unbitten = Problem { kind: ProblemKind::FaultDidNotBite, message: String::new() };
        assert_eq!(outcome_of(&[judged(Outcome::Violation)], std::slice::from_ref(&unbitten)), Outcome::Violation);
        assert_eq!(outcome_of(&[judged(Outcome::AsExpected)], &[unbitten]), Outcome::Unknown);
        assert_eq!(outcome_of(&[judged(Outcome::AsExpected)], &[]), Outcome::AsExpected);
    }
}
