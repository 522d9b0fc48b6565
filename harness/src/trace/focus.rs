//! What is to be shown: which operations, of which keys, in which stretch of time.

use std::collections::BTreeSet;

use hearsay_checkers::{Case, Function, History, Judgement, OpIndex, Operation};
use hearsay_workloads::Expectation;

use super::words::seconds;
use crate::exit::Outcome;
use crate::report::{JudgedVerdict, RunReport};

/// Operations of one violation that are shown at most.
const OPERATIONS_MAX: usize = 16;
/// So many operations on the keys of a violation are shown without being named by it.
const STORY_MAX: usize = 8;

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Around {
    /// An operation by its index in the history.
    Operation(u64),
    /// All that happens to a key.
    Key(String),
    /// The operations that the first violation names.
    FirstViolation,
}

impl Around {
    /// From the command line: `3204`, `op 3204`, or the name of a key.
    pub fn parse(text: &str) -> Around {
        let number = text.strip_prefix("op").map_or(text, str::trim_start);
        match number.parse() {
            Ok(index) => Around::Operation(index),
            Err(_) => Around::Key(text.to_owned()),
        }
    }
}

/// What is to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Focus {
    /// By index of the invocation.
    pub operations: BTreeSet<OpIndex>,
    /// Their keys.
    pub keys: BTreeSet<String>,
    /// From and to, nanoseconds since the start of the run.
    pub span: (u64, u64),
    /// Whether everything about the keys in that time is shown, not only what belongs to the operations.
    pub everything: bool,
    /// Why these, in sentences.
    pub why: Vec<String>,
}

/// Why nothing can be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FocusError {
    /// There is no such operation.
    #[error(
        "this history has no operation {0}: an operation goes by the index of its invocation, as verdicts print it{1}"
    )]
    NoOperation(u64, String),
    /// Nobody asked for that key.
    #[error("no operation of this history is about the key {0}: {1}")]
    NoKey(String, String),
    /// Nobody asked for that key at that time.
    #[error(
        "no operation is about {key} from {from} s to {to} s: its first begins at {first} s, its last at {last} s; choose --at between them"
    )]
    NothingThere {
        /// The key.
        key: String,
        /// The window.
        from: String,
        /// The window.
        to: String,
        /// Its first invocation.
        first: String,
        /// Its last invocation.
        last: String,
    },
    /// There is no violation to show.
    #[error("this run has no violation to show: name an operation with --around OP, or a key with --around kKEY")]
    NoViolation,
    /// The violation names nothing.
    #[error("the violation names no operation: name a key with --around kKEY; it says: {0}")]
    NothingNamed(String),
}

/// Finds what is meant. `window`: show everything about the keys so many nanoseconds before and after; `at`: the middle of
/// it, nanoseconds since the start of the run. `timeout`: nanoseconds after which a client gives up.
///
/// # Errors
/// There is no such thing in this history.
pub fn find_focus(
    around: &Around,
    (at, window): (Option<u64>, Option<u64>),
    case: &Case,
    report: &RunReport,
    timeout: u64,
) -> Result<Focus, FocusError> {
    let operations = &case.history.operations;
    let find = |index: u64| operations.iter().find(|operation| operation.index == OpIndex(index));
    let ended = |operation: &Operation| operation.completed.unwrap_or(operation.invoked + timeout);
    let (named, why) = match around {
        Around::Operation(index) => {
            let operation = find(*index).ok_or_else(|| {
                let near = operations.iter().rev().find(|operation| operation.index.0 < *index);
                let near = near.map_or(String::new(), |near| format!("; the one before is {}", near.index.0));
                FocusError::NoOperation(*index, near)
            })?;
            (vec![operation], Vec::new())
        }
        Around::Key(key) => {
            let of_key: Vec<&Operation> = operations.iter().filter(|operation| operation.key == *key).collect();
            if of_key.is_empty() {
                let known: BTreeSet<&str> = operations.iter().map(|operation| operation.key.as_str()).collect();
                let some: Vec<&str> = known.iter().take(5).copied().collect();
                let known = format!("it knows {} keys, such as {}", known.len(), some.join(", "));
                return Err(FocusError::NoKey(key.clone(), known));
            }
            (of_key, Vec::new())
        }
        Around::FirstViolation => {
            let verdict = first_violation(report).ok_or(FocusError::NoViolation)?;
            let said = verdict.verdict.explanation.join(" ");
            let mut named: Vec<&Operation> =
                verdict.verdict.operations.iter().filter_map(|index| find(index.0)).take(OPERATIONS_MAX).collect();
            if named.is_empty() {
                let words: BTreeSet<&str> =
                    said.split(|c: char| !(c.is_ascii_alphanumeric() || "-_/.".contains(c))).collect();
                named.extend(operations.iter().filter(|operation| words.contains(operation.key.as_str())));
                let key = named.first().map(|operation| operation.key.clone());
                named.retain(|operation| Some(&operation.key) == key.as_ref());
            }
            if named.is_empty() {
                return Err(FocusError::NothingNamed(said));
            }
            let keys: BTreeSet<&str> = named.iter().map(|operation| operation.key.as_str()).collect();
            let last = named.iter().map(|&operation| ended(operation)).max().unwrap_or_default();
            let about = |operation: &&Operation| keys.contains(operation.key.as_str()) && operation.invoked <= last;
            let story: Vec<&Operation> = operations.iter().filter(about).collect();
            // Of a plan that was shrunk, what the verdict does not name matters as well.
            if story.len() <= STORY_MAX {
                named = story;
            }
            let mut why = vec![format!("{}: {}", verdict.verdict.checker, verdict.verdict.judgement)];
            why.extend(verdict.verdict.explanation.iter().map(|sentence| format!("  {sentence}")));
            (named, why)
        }
    };
    let first = named.iter().map(|operation| operation.invoked).min().unwrap_or_default();
    let last = named.iter().map(|&operation| ended(operation)).max().unwrap_or_default();
    let wide = window.unwrap_or_default();
    let span = match at {
        Some(at) => (at.saturating_sub(wide), at.saturating_add(wide)),
        None => (first.saturating_sub(wide), last.saturating_add(wide)),
    };
    let whole_key = matches!(around, Around::Key(_));
    let within = |operation: &&&Operation| !whole_key || (operation.invoked <= span.1 && ended(operation) >= span.0);
    let shown: BTreeSet<OpIndex> = named.iter().filter(within).map(|operation| operation.index).collect();
    if let (Around::Key(key), true) = (around, shown.is_empty()) {
        let (from, to) = (seconds(span.0), seconds(span.1));
        let last = named.iter().map(|operation| operation.invoked).max().unwrap_or_default();
        let (key, first, last) = (key.clone(), seconds(first), seconds(last));
        return Err(FocusError::NothingThere { key, from, to, first, last });
    }
    Ok(Focus {
        operations: shown,
        keys: named.iter().map(|operation| operation.key.clone()).collect(),
        span,
        everything: whole_key || window.is_some(),
        why,
    })
}

/// The operation of another run of the same plan that stands for this one: of the same client, function and key, and of a
/// write the same value; the nearest in time. `slots`: clients of the run.
pub fn counterpart<'a>(of: &Operation, history: &'a History, slots: u64) -> Option<&'a Operation> {
    let same = |other: &&Operation| {
        other.f == of.f
            && other.key == of.key
            && other.process.0 % slots == of.process.0 % slots
            && (of.f == Function::Read || other.value == of.value)
    };
    history.operations.iter().filter(same).min_by_key(|other| other.invoked.abs_diff(of.invoked))
}

/// One that was not expected before one that was, and that before one of which nothing was.
fn first_violation(report: &RunReport) -> Option<&JudgedVerdict> {
    let violated = report.verdicts.iter().filter(|judged| judged.verdict.judgement == Judgement::Violated);
    violated.min_by_key(|judged| (judged.outcome == Outcome::AsExpected, judged.expectation == Expectation::Any))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_operations_and_all_else_is_a_key() {
        assert_eq!(Around::parse("3204"), Around::Operation(3204));
        assert_eq!(Around::parse("op 3204"), Around::Operation(3204));
        assert_eq!(Around::parse("op3204"), Around::Operation(3204));
        assert_eq!(Around::parse("k7"), Around::Key("k7".to_owned()));
        assert_eq!(Around::parse("operator"), Around::Key("operator".to_owned()));
    }
}
