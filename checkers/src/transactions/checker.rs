//! Levels as checkers of the registry.

use std::borrow::Cow;

use super::analysis::Study;
use super::history::TransactionHistory;
use super::level::Level;
use super::picture::anomaly_svg;
use crate::explain::counted;
use crate::registry::Checker;
use crate::{Case, CheckOptions, Judgement, Verdict};

/// The registry's entry of the level with that number.
pub(crate) const fn checker<const LEVEL: usize>() -> Checker {
    let level = Level::ALL[LEVEL];
    Checker { name: level.name(), meaning: level.meaning(), source: level.source(), check: check::<LEVEL> }
}

const NO_TRANSACTIONS: &str = "The history has no transactions.";

/// The transactions of a case; else why there are none, as a sentence.
fn transactions(case: &Case) -> Result<Cow<'_, TransactionHistory>, String> {
    match (&case.transactions, &case.recording) {
        (Some(history), _) => Ok(Cow::Borrowed(history)),
        (None, Some(recording)) => match TransactionHistory::from_recording(recording) {
            Ok(Some(history)) => Ok(Cow::Owned(history)),
            Ok(None) => Err(NO_TRANSACTIONS.to_owned()),
            Err(error) => Err(format!("{error}.")),
        },
        (None, None) => Err(NO_TRANSACTIONS.to_owned()),
    }
}

/// Whether a case is of transactions, well formed or not.
pub(crate) fn has_transactions(case: &Case) -> bool {
    transactions(case).map_or_else(|why| why != NO_TRANSACTIONS, |_| true)
}

/// What breaks a level, as a picture.
pub(crate) fn broken_svg(case: &Case, level: Level, options: &CheckOptions) -> Option<String> {
    let history = transactions(case).ok()?;
    let broken_by = Study::new(&history).judge(level, options).broken_by?;
    Some(anomaly_svg(&history, &broken_by))
}

fn check<const LEVEL: usize>(case: &Case, options: &CheckOptions) -> Verdict {
    let level = Level::ALL[LEVEL];
    let mut verdict = Verdict::new(level.name());
    let history = match transactions(case) {
        Ok(history) => history,
        Err(why) => return verdict.because(Judgement::Unknown, why),
    };
    let study = Study::new(&history);
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
