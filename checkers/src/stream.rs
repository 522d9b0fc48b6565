//! Histories larger than memory: judged as they are read, and read again where that is not enough.
//!
//! A first pass ([`pass`]) shows whether every register is linearizable, in memory that depends on what is under way at once
//! and not on the length of the history. If each is, every model of registers holds. If not, a model that judges each key by
//! itself is judged on so many keys at a time as fit the memory allowed; one that looks at all keys at once needs all of the
//! history in memory, and is unknown, with the memory it would take, where that is not allowed. Of a history that is not
//! linearizable the contradiction itself is told even if one key alone does not fit ([`suspects`]).
//!
//! ```
//! use hearsay_checkers::{CheckOptions, Judgement, stream::judge_jsonl};
//!
//! let text = "{\"index\":0,\"time\":5,\"type\":\"invoke\",\"process\":0,\"f\":\"read\",\"key\":\"x\",\"value\":null}\n\
//!             {\"index\":1,\"time\":9,\"type\":\"ok\",\"process\":0,\"f\":\"read\",\"key\":\"x\",\"value\":7}\n";
//! let judged = judge_jsonl(|| Ok(text.as_bytes()), &["linearizable"], &CheckOptions::default()).unwrap();
//! assert_eq!(judged.verdicts[0].judgement, Judgement::Violated);
//! assert_eq!(judged.verdicts[0].explanation[0], "Key x: process 0 read 7 at 0.000 s (op 0).");
//! ```

mod parts;
mod pass;
mod suspects;
mod versions;

use std::io::{self, BufRead};

use thiserror::Error;

use crate::explain::counted;
use crate::models::monotonic_quorum_reads;
use crate::register_models::find_register_model;
use crate::registers::registers_of_keys;
use crate::version_graph::{Promise, SessionPromise};
use crate::{Case, CheckOptions, Judgement, ReadError, UnknownChecker, Verdict, causal, fast, find, version_order};
use pass::{Fit, Pace, Passed, pass};

/// Bytes that judging takes for an operation that is held in memory, with what the widest model of one key at a time builds
/// beside it. Measured: `cargo bench -p hearsay-checkers --bench processor`.
pub const OPERATION_BYTES: u64 = 700;

/// What the judging of a file came to.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedFile {
    /// By the models asked for, in their order.
    pub verdicts: Vec<Verdict>,
    /// What a reader of the verdicts should know about the recording, in sentences.
    pub notes: Vec<String>,
    /// Operations there are.
    pub operations: u64,
    /// Times that the file was read.
    pub passes: u64,
    /// Most versions of one key that the first pass had to remember at once, 48 bytes each.
    pub versions_max: usize,
}

/// Why a file could not be judged.
#[derive(Debug, Error)]
pub enum JudgeFileError {
    /// A model that there is not.
    #[error(transparent)]
    Unknown(#[from] UnknownChecker),
    /// It can't be opened.
    #[error("it can't be read: {0}")]
    Open(io::Error),
    /// It is no history.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Whether one pass can decide the model.
fn is_one_pass(model: &str) -> bool {
    find_register_model(model).is_some_and(|model| model.one_pass)
}

/// Whether the model judges each key by itself.
fn is_by_key(model: &str) -> bool {
    find_register_model(model).is_some_and(|model| model.by_key)
}

/// Whether [`judge_jsonl`] knows how to judge by a model; others need what only a whole [`crate::History`] holds.
pub fn can_judge(model: &str) -> bool {
    find_register_model(model).is_some()
}

/// Judges a `history.jsonl` by models of registers, in as little memory as each allows; `open` gives the file from its
/// beginning, once for each time that it is read. [`crate::Budget::memory_bytes_max`] bounds what is held of it.
///
/// # Errors
/// A model that there is not, or a file that is no history: the first line that is wrong, with what was expected.
pub fn judge_jsonl<R: BufRead, S: AsRef<str>>(
    mut open: impl FnMut() -> io::Result<R>,
    models: &[S],
    options: &CheckOptions,
) -> Result<JudgedFile, JudgeFileError> {
    for model in models.iter().map(AsRef::as_ref) {
        find(model).ok_or_else(|| UnknownChecker { name: model.to_owned() })?;
    }
    let names = || models.iter().map(AsRef::as_ref);
    let by_session = |model: &str| is_one_pass(model) && !["linearizable", "monotonic-quorum-reads"].contains(&model);
    let with_sessions = names().any(by_session);
    let passed = pass(open().map_err(JudgeFileError::Open)?, with_sessions, Pace::default())?;
    let mut passes = 1;
    let mut verdicts: Vec<Option<Verdict>> = names().map(|model| shown(model, &passed, options)).collect();
    let left = |verdicts: &[Option<Verdict>], wanted: &dyn Fn(&str) -> bool| -> Vec<usize> {
        let at = |at: &usize| verdicts[*at].is_none() && wanted(models[*at].as_ref());
        (0..models.len()).filter(at).collect()
    };
    let operations = passed.operations.iter().sum::<u64>();
    let memory_max = options.budget.memory_bytes_max;
    let fits_whole = operations * OPERATION_BYTES <= memory_max;
    let is_local = is_by_key;
    let mut verdicts_by_part: Vec<Vec<Verdict>> = models.iter().map(|_| Vec::new()).collect();
    let groups = if fits_whole { Some(vec![0; passed.keys.len()]) } else { groups(&passed, memory_max) };
    let wanted = if fits_whole { left(&verdicts, &can_judge) } else { left(&verdicts, &is_local) };
    if let Some(groups) = groups.filter(|_| !wanted.is_empty()) {
        for group in 0..groups.iter().max().map_or(1, |last| last + 1) {
            let in_group = |key: usize| groups[key] == group;
            let size = |key: usize| if in_group(key) { passed.operations[key] } else { 0 };
            let expected = (0..passed.keys.len()).map(size).sum::<u64>() as usize;
            let mut key = 0;
            let reader = open().map_err(JudgeFileError::Open)?;
            let registers = registers_of_keys(reader, expected, |_| {
                key += 1;
                in_group(key - 1)
            })?;
            passes += 1;
            let case = Case { registers: Some(registers), ..Case::default() };
            for at in &wanted {
                let checker = find(models[*at].as_ref()).expect("looked for above");
                verdicts_by_part[*at].push((checker.check)(&case, options));
            }
        }
        for at in wanted {
            verdicts[at] = Some(parts::together(std::mem::take(&mut verdicts_by_part[at])));
        }
    }
    for at in left(&verdicts, &|_| true) {
        let model = models[at].as_ref();
        let told = match &passed.fit {
            Fit::Misfit { key, values } if model == "linearizable" => {
                passes += 1;
                let name = &passed.keys[*key as usize];
                suspects::tell(open().map_err(JudgeFileError::Open)?, name, values, &passed, options)?
            }
            _ => None,
        };
        verdicts[at] = Some(told.unwrap_or_else(|| too_large(model, &passed, memory_max)));
    }
    let verdicts = verdicts.into_iter().map(|verdict| verdict.expect("each was judged")).collect();
    Ok(JudgedFile { verdicts, notes: passed.notes, operations, passes, versions_max: passed.versions_max })
}

/// What a model promises, if it is a promise about versions.
fn promise_of(model: &str) -> Option<Promise> {
    let (session, real_time) = match model {
        "linearizable" => (SessionPromise::Everything, true),
        "monotonic-quorum-reads" => (SessionPromise::Reads, true),
        "monotonic-reads" => (SessionPromise::Reads, false),
        "read-your-writes" => (SessionPromise::OwnWrites, false),
        "sequential" => (SessionPromise::Everything, false),
        _ => return None,
    };
    Some(Promise { session, real_time })
}

/// The verdict `holds`, if the one pass shows it and there is evidence.
fn shown(model: &str, passed: &Passed, options: &CheckOptions) -> Option<Verdict> {
    if passed.fit != Fit::Linearizable || (model == "linearizable" && !options.real_time_writes) {
        return None;
    }
    let evidence = &passed.evidence;
    let count = match model {
        "linearizable" => evidence.in_time,
        "monotonic-quorum-reads" => evidence.in_time_of_reads,
        "monotonic-reads" => evidence.read_before,
        "read-your-writes" => evidence.wrote_before,
        "sequential" => evidence.did_before,
        "pram" | "causal" | "causal-convergence" | "causal-memory" => evidence.knew,
        "monotonic-writes" | "writes-follow-reads" => evidence.knew_by_reading,
        _ => return None,
    };
    if count == 0 {
        return None;
    }
    let keys = passed.keys.len() as u64;
    let Some(promise) = promise_of(model) else {
        let counts = causal::Counts {
            keys,
            sessions: u64::from(passed.sessions),
            operations: passed.reads + passed.changes,
            reads: passed.reads,
            unknown_reads: 0,
            evidence: count,
        };
        return Some(causal::held(causal::begin(model, &counts), &counts));
    };
    let real_time_writes = options.real_time_writes && model != "sequential";
    let mut verdict = version_order::begin(model, promise, &CheckOptions { real_time_writes, ..options.clone() });
    if model == monotonic_quorum_reads::NAME {
        verdict.assumptions.push(monotonic_quorum_reads::ASSUMPTION.to_owned());
    }
    let counts = fast::Counts { keys, reads: passed.reads, changes: passed.changes, possibly_stale: count };
    Some(fast::held(verdict, &counts))
}

/// A group for each key so that every group fits the memory; `None`: one key alone does not.
fn groups(passed: &Passed, memory_max: u64) -> Option<Vec<usize>> {
    let room = memory_max / OPERATION_BYTES;
    let (mut group, mut used) = (0, 0);
    let mut groups = Vec::with_capacity(passed.operations.len());
    for operations in &passed.operations {
        if *operations > room {
            return None;
        }
        if used + operations > room {
            (group, used) = (group + 1, 0);
        }
        used += operations;
        groups.push(group);
    }
    Some(groups)
}

/// `unknown`, with what it would take.
fn too_large(model: &str, passed: &Passed, memory_max: u64) -> Verdict {
    let mut verdict = Verdict::new(model);
    let is_local = is_by_key(model);
    let all: u64 = passed.operations.iter().sum();
    let needed = if is_local { passed.operations.iter().copied().max().unwrap_or(0) } else { all };
    verdict.count("operations", all);
    let why = match &passed.fit {
        Fit::Linearizable if !can_judge(model) => {
            "This model needs more than what a stream of operations holds.".to_owned()
        }
        Fit::Linearizable => "One pass over the history does not decide this model.".to_owned(),
        Fit::Misfit { .. } => {
            "Not every register is linearizable, so one pass over the history does not decide this.".to_owned()
        }
        Fit::Unknown(why) => format!("{why} So one pass over the history does not decide this."),
    };
    let what = if is_local { "its largest key" } else { "all of it" };
    verdict.explanation.push(why);
    verdict.because(
        Judgement::Unknown,
        format!(
            "Judging {what} at once takes {} for {}, more than the {} allowed.",
            size(needed * OPERATION_BYTES),
            counted(needed, "operation"),
            size(memory_max)
        ),
    )
}

/// `120 kB`, `31 MB`.
fn size(bytes: u64) -> String {
    if bytes < 10_000_000 { format!("{} kB", bytes / 1_000) } else { format!("{} MB", bytes / 1_000_000) }
}
