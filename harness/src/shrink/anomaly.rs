//! What a shrinking must not lose: a checker's kind of violation, or another thing that no plan may bring about.

use std::fmt;

use hearsay_checkers::Judgement;
use hearsay_workloads::Expectation;
use serde::Serialize;

use crate::exit::Outcome;
use crate::report::{ProblemKind, RunReport};

/// Something a run showed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anomaly {
    /// A node's process ended by itself.
    NodeDied {
        /// Its last words, with `#` for numbers; empty: whatever they are.
        words: String,
    },
    /// A checker found a violation.
    Violation {
        /// Its name.
        checker: String,
        /// The kind of violation.
        kind: String,
    },
    /// The cluster was not whole again after the faults.
    NotWhole,
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Anomaly::NodeDied { words } if words.is_empty() => f.write_str("a node died"),
            Anomaly::NodeDied { words } => write!(f, "a node died: {words}"),
            Anomaly::Violation { checker, kind } => write!(f, "{checker}: {kind}"),
            Anomaly::NotWhole => f.write_str("the cluster was not whole again after the faults"),
        }
    }
}

/// An anomaly of a run, and whether the run's expectations allow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub anomaly: Anomaly,
    /// Whether it was to be found.
    pub expected: bool,
}

/// What to shrink, of several anomalies.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// One of this checker, expected or not.
    pub checker: Option<String>,
    /// One of this kind.
    pub kind: Option<String>,
}

/// Why there is nothing to shrink, with the mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NothingToShrink {
    /// Nothing was found that nobody expected.
    #[error("{run} was as expected: there is nothing to shrink\n  mend: {mend}")]
    AsExpected {
        /// The run.
        run: String,
        /// What could be shrunk instead.
        mend: String,
    },
    /// What was asked for was not found.
    #[error("{run} has no {asked}\n  allowed: {allowed}")]
    NotFound {
        /// The run.
        run: String,
        /// What was asked for.
        asked: String,
        /// What it has.
        allowed: String,
    },
    /// It failed by what it did not show.
    #[error(
        "{run} did not show what {checker} was to find: a smaller plan would show even less\n  mend: try other seeds, or make \
         the campaign's faults stronger"
    )]
    NotShown {
        /// The run.
        run: String,
        /// The checker that found nothing.
        checker: String,
    },
}

/// Everything that a run showed, what matters most first: a death, what is stored or read wrongly, what did not come in time.
pub fn anomalies_of(report: &RunReport) -> Vec<Found> {
    let problems = |kind| report.problems.iter().filter(move |problem| problem.kind == kind);
    let deaths = problems(ProblemKind::NodeDied)
        .map(|problem| Found { anomaly: Anomaly::NodeDied { words: last_words(&problem.message) }, expected: false });
    let mut violated: Vec<_> =
        report.verdicts.iter().filter(|judged| judged.verdict.judgement == Judgement::Violated).collect();
    violated.sort_by_key(|judged| judged.verdict.liveness);
    let violations = violated.into_iter().flat_map(|judged| {
        let verdict = &judged.verdict;
        verdict.kinds.iter().map(|found| Found {
            anomaly: Anomaly::Violation { checker: verdict.checker.clone(), kind: found.kind.clone() },
            expected: judged.outcome == Outcome::AsExpected,
        })
    });
    let not_whole = problems(ProblemKind::HealNotProven).take(1);
    let not_whole = not_whole.map(|_| Found { anomaly: Anomaly::NotWhole, expected: false });
    deaths.chain(violations).chain(not_whole).collect()
}

/// The anomaly to shrink.
///
/// # Errors
/// There is none, or not the one asked for.
pub fn choose(run: &str, report: &RunReport, choice: &Choice) -> Result<Anomaly, NothingToShrink> {
    let found = anomalies_of(report);
    let is_asked_for = |anomaly: &Anomaly| match anomaly {
        Anomaly::Violation { checker, kind } => {
            choice.checker.as_ref().is_none_or(|asked| asked == checker)
                && choice.kind.as_ref().is_none_or(|asked| asked == kind)
        }
        Anomaly::NodeDied { .. } | Anomaly::NotWhole => choice.checker.is_none() && choice.kind.is_none(),
    };
    let is_named = choice.checker.is_some() || choice.kind.is_some();
    let mut fitting = found.iter().filter(|found| is_asked_for(&found.anomaly) && (is_named || !found.expected));
    if let Some(found) = fitting.next() {
        return Ok(found.anomaly.clone());
    }
    let run = run.to_owned();
    let all = found.iter().map(|found| found.anomaly.to_string()).collect::<Vec<_>>().join(", ");
    if is_named {
        let words = [&choice.checker, &choice.kind].into_iter().flatten().map(String::as_str);
        let asked = format!("violation `{}`", words.collect::<Vec<_>>().join(": "));
        let allowed = if all.is_empty() { "nothing, it shows no anomaly".to_owned() } else { all };
        return Err(NothingToShrink::NotFound { run, asked, allowed });
    }
    let blind = report
        .verdicts
        .iter()
        .find(|judged| judged.expectation == Expectation::Violated && judged.verdict.judgement == Judgement::Holds);
    if let Some(judged) = blind {
        return Err(NothingToShrink::NotShown { run, checker: judged.verdict.checker.clone() });
    }
    let mend = if all.is_empty() {
        "shrink a run that found something".to_owned()
    } else {
        format!("--checker NAME shrinks what was expected, too; it found {all}")
    };
    Err(NothingToShrink::AsExpected { run, mend })
}

/// What a dead node said last: the panic's own sentence, with `#` for numbers, so that another run's is equal.
pub(super) fn last_words(message: &str) -> String {
    let text = match message.split_once("panicked at ") {
        // A real node's log: place, then the sentence on the next line.
        Some((_, told)) => told.lines().nth(1).unwrap_or_default(),
        None => match message.split_once("ended by itself: ") {
            Some((_, told)) => told.lines().next().unwrap_or_default(),
            None => "",
        },
    };
    let mut words = String::new();
    for c in text.trim().chars() {
        if !c.is_ascii_digit() {
            words.push(c);
        } else if !words.ends_with('#') {
            words.push('#');
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_the_same_in_both_worlds() {
        let simulated = "n3 ended by itself: entry 17 of 5 is missing";
        let real = "n1 ended by itself (exit status: 101); the end of its log:\nthread 'main' panicked at node/x.rs:1:2:\n\
                    entry 4 of 12 is missing\nnote: more";
        assert_eq!(last_words(simulated), "entry # of # is missing");
        assert_eq!(last_words(real), last_words(simulated));
        assert_eq!(last_words("n1 ended by itself (signal: 9); the end of its log:\nnothing"), "");
    }
}
