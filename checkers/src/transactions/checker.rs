//! Levels as checkers of the registry.

use super::analysis::Study;
use super::history::TransactionHistory;
use super::level::Level;
use crate::explain::counted;
use crate::registry::Checker;
use crate::{Case, CheckOptions, Judgement, Verdict};

/// The registry's entry of the level with that number.
pub(crate) const fn checker<const LEVEL: usize>() -> Checker {
    let level = Level::ALL[LEVEL];
    Checker { name: level.name(), meaning: level.meaning(), source: level.source(), check: check::<LEVEL> }
}

const NO_TRANSACTIONS: &str = "The history has no transactions.";

fn check<const LEVEL: usize>(case: &Case, options: &CheckOptions) -> Verdict {
    let level = Level::ALL[LEVEL];
    let mut verdict = Verdict::new(level.name());
    let converted;
    let history = match (&case.transactions, &case.recording) {
        (Some(history), _) => history,
        (None, Some(recording)) => {
            converted = TransactionHistory::from_recording(recording);
            match &converted {
                Ok(Some(history)) => history,
                Ok(None) => return verdict.because(Judgement::Unknown, NO_TRANSACTIONS),
                Err(error) => return verdict.because(Judgement::Unknown, format!("{error}.")),
            }
        }
        (None, None) => return verdict.because(Judgement::Unknown, NO_TRANSACTIONS),
    };
    let study = Study::new(history);
    let found = study.judge(level, options);
    let (transactions, indeterminate) = study.counts();
    let (reads, writes) = study.operations();
    verdict.count("transactions", transactions);
    verdict.count("indeterminate", indeterminate);
    verdict.count("reads", reads);
    verdict.count("writes", writes);
    if level.is_real_time() {
        verdict.assumptions.push("A transaction that had completed when another was invoked came first.".to_owned());
    } else if level.keeps_sessions() {
        verdict.assumptions.push("Each process is a session.".to_owned());
    }
    verdict.judgement = found.judgement;
    let Some(finding) = found.broken_by else {
        verdict.explanation.push(found.reason);
        return verdict;
    };
    let among = match finding.transactions.len() as u64 {
        0 => String::new(),
        count => format!(", in {}", counted(count, "transaction")),
    };
    verdict.explanation.push(format!("{} ({}){among}:", finding.anomaly, finding.anomaly.meaning()));
    if finding.count > 1 {
        verdict.explanation.push(format!("This is the first of {}.", counted(finding.count, "such case")));
    }
    verdict.explanation.extend(finding.sentences);
    verdict.violations = finding.count;
    verdict.found(&finding.anomaly.to_string(), finding.count);
    finding.operations.iter().for_each(|operation| verdict.involve(*operation));
    verdict
}
