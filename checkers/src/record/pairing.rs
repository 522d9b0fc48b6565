//! Records to operations: each invocation with its completion.
//!
//! An operation that never completes, or completes as `info`, stays open to the end: it may take effect at any time from
//! its invocation on. Foreign files are taken as Jepsen takes them: a process may go on after an `info` (a note counts
//! them), and a completion without an invocation is an operation that began at some moment after the one before of that
//! process. What can't be paired without guessing is an error.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{Datum, Process, Record, Text};
use crate::{EventType, OpIndex, Outcome};

/// A record that does not fit the ones before.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct PairingError {
    /// Line of the record, from 1; 0 where there is no file.
    pub line: u32,
    /// What is wrong and what was expected, as a sentence without its end.
    pub problem: String,
}

/// One client operation: its invocation, and how it ended.
#[derive(Clone, Copy, Debug)]
pub struct RecordedOperation<'r> {
    /// The invocation; of an operation that has none, its completion.
    pub invocation: &'r Record,
    /// The completion, `info` included.
    pub completion: Option<&'r Record>,
    /// Position in the recording of the moment from which on it may have taken effect.
    pub began: u32,
    /// Position in the recording at which it had ended; `None`: it is open to the end. One operation was before
    /// another in real time if it had ended at a smaller position than the other began.
    pub ended: Option<u32>,
    /// How it ended.
    pub outcome: Outcome,
}

/// The operations of a recording.
#[derive(Clone, Debug, Default)]
pub struct Operations<'r> {
    /// In the order of their beginnings.
    pub all: Vec<RecordedOperation<'r>>,
    /// What was assumed, in sentences.
    pub notes: Vec<String>,
}

impl<'r> RecordedOperation<'r> {
    /// What explanations call it: the index of its invocation.
    pub fn index(&self) -> OpIndex {
        self.invocation.op_index()
    }

    /// Who did it.
    pub fn process(&self) -> &'r Process {
        &self.invocation.process
    }

    /// What it does.
    pub fn f(&self) -> &'r str {
        &self.invocation.f
    }

    /// The name of what it does, to share.
    pub fn f_text(&self) -> &'r Text {
        &self.invocation.f
    }

    /// Its key, where the format has one.
    pub fn key(&self) -> Option<&'r Datum> {
        self.invocation.key.as_ref().or_else(|| self.completion.and_then(|record| record.key.as_ref()))
    }

    /// What it was asked for: the value of the invocation.
    pub fn argument(&self) -> &'r Datum {
        &self.invocation.value
    }

    /// What it returned, if it is ok.
    pub fn result(&self) -> Option<&'r Datum> {
        self.completion.filter(|_| self.outcome == Outcome::Ok).map(|record| &record.value)
    }

    /// The result if it is ok, else the argument.
    pub fn value(&self) -> &'r Datum {
        self.result().unwrap_or(&self.invocation.value)
    }

    /// When it began, nanoseconds, if the file says.
    pub fn invoked_at(&self) -> Option<u64> {
        self.invocation.time
    }

    /// When it ended (ok or fail), nanoseconds, if it did and the file says.
    pub fn ended_at(&self) -> Option<u64> {
        self.ended.and(self.completion).and_then(|record| record.time)
    }

    /// Whether it is ok.
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }
}

#[derive(Default)]
struct State {
    /// Position in the operations of the open one.
    open: Option<u32>,
    /// Position in the recording of the last completion.
    last_ended: u32,
    retired: bool,
}

pub(super) fn pair(records: &[Record], real_time: bool) -> Result<Operations<'_>, PairingError> {
    assert!(u32::try_from(records.len()).is_ok(), "a recording of 2^32 records or more is not supported");
    let mut all: Vec<RecordedOperation<'_>> = Vec::with_capacity(records.len() / 2 + 1);
    let mut clients: Vec<State> = Vec::new();
    let mut others: BTreeMap<&Process, State> = BTreeMap::new();
    let mut unnamed: Vec<u32> = Vec::new();
    let (mut reused, mut not_begun) = (0_u64, 0_u64);
    for (position, record) in records.iter().enumerate() {
        let position = position as u32;
        let state = match &record.process {
            Process::Named(_) => continue,
            Process::Client(number) if *number < 4096 => {
                let number = *number as usize;
                if clients.len() <= number {
                    clients.resize_with(number + 1, State::default);
                }
                &mut clients[number]
            }
            process => others.entry(process).or_default(),
        };
        let nameless = record.process == Process::Unnamed;
        if record.kind == EventType::Invoke {
            if nameless {
                unnamed.extend(state.open.take());
            }
            if let Some(open) = state.open {
                let open = all[open as usize].invocation;
                return Err(PairingError { line: record.line, problem: overlap(record, open) });
            }
            reused += u64::from(std::mem::take(&mut state.retired));
            state.open = Some(all.len() as u32);
            let (began, ended) = (position, None);
            all.push(RecordedOperation { invocation: record, completion: None, began, ended, outcome: Outcome::Info });
            continue;
        }
        if nameless {
            unnamed.extend(state.open.take());
            state.open = take_nameless(&mut unnamed, &all, record)?;
        }
        let at = match state.open.take() {
            Some(at) => at as usize,
            None => {
                not_begun += 1;
                let began = state.last_ended;
                all.push(RecordedOperation {
                    invocation: record,
                    completion: None,
                    began,
                    ended: None,
                    outcome: Outcome::Info,
                });
                all.len() - 1
            }
        };
        let operation = &mut all[at];
        if operation.invocation.f != record.f {
            let problem = format!(
                "{} completes ({}) {}, but its open operation is the {} of line {}",
                record.process,
                record.kind.as_str(),
                a(&record.f),
                operation.invocation.f,
                operation.invocation.line
            );
            return Err(PairingError { line: record.line, problem });
        }
        operation.completion = Some(record);
        (operation.outcome, operation.ended) = match record.kind {
            EventType::Ok => (Outcome::Ok, Some(position)),
            EventType::Fail => (Outcome::Fail, Some(position)),
            EventType::Info => (Outcome::Info, None),
            EventType::Invoke => unreachable!("completions only"),
        };
        state.last_ended = position;
        state.retired = record.kind == EventType::Info;
    }
    if !real_time {
        for operation in &mut all {
            operation.began = 0;
            operation.ended = operation.ended.map(|_| records.len() as u32);
        }
    } else if not_begun > 0 {
        all.sort_by_key(|operation| operation.began);
    }
    Ok(Operations { notes: notes(&all, reused, if real_time { not_begun } else { 0 }), all })
}

/// Of the open operations without a process, the one that this completes: the only one of its function, or the only one
/// that asked for what was completed.
fn take_nameless(
    open: &mut Vec<u32>,
    all: &[RecordedOperation<'_>],
    record: &Record,
) -> Result<Option<u32>, PairingError> {
    let asked = |at: u32| all[at as usize].invocation;
    let of_f: Vec<u32> = open.iter().copied().filter(|at| asked(*at).f == record.f).collect();
    let same: Vec<u32> = of_f.iter().copied().filter(|at| asked(*at).value == record.value).collect();
    let found = match (of_f.as_slice(), same.as_slice()) {
        ([], _) => return Ok(None),
        ([only], _) | (_, [only]) => *only,
        _ => {
            let problem = format!(
                "it completes one of {} operations {} that are open, and nothing says which: operations that overlap need \
                 a process",
                of_f.len(),
                record.f
            );
            return Err(PairingError { line: record.line, problem });
        }
    };
    open.retain(|at| *at != found);
    Ok(Some(found))
}

/// `a read`, `an add`.
fn a(f: &str) -> String {
    let article = if f.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {f}")
}

fn overlap(record: &Record, open: &Record) -> String {
    let (process, f) = (&record.process, &record.f);
    format!(
        "{process} begins {} while its {} of line {} is open: expected the completion of that first",
        a(f),
        open.f,
        open.line
    )
}

fn notes(all: &[RecordedOperation<'_>], reused: u64, not_begun: u64) -> Vec<String> {
    let mut notes = Vec::new();
    let open = all.iter().filter(|operation| operation.completion.is_none()).count();
    if open > 0 {
        let they = if open == 1 { "it is" } else { "they are" };
        let open = counted(open as u64, "operation was", "operations were");
        notes.push(format!("{open} still open at the end of the history: {they} taken as indeterminate."));
    }
    notes.extend(reused_note(reused));
    if not_begun > 0 {
        let completions = counted(not_begun, "completion has", "completions have");
        notes.push(format!(
            "{completions} no invocation: they began at some time after the operation before of the same process."
        ));
    }
    notes
}

/// What to say of processes that went on after an indeterminate operation, so many times.
pub(crate) fn reused_note(reused: u64) -> Option<String> {
    let times = counted(reused, "time", "times");
    (reused > 0)
        .then(|| format!("A process went on after an indeterminate operation {times}: that operation stays open."))
}

fn counted(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}
