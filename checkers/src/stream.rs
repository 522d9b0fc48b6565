//! Histories larger than memory: judged as they are read, and read again where that is not enough.
//!
//! A first pass ([`pass`]) shows whether every register is linearizable, in memory that depends on what is under way at once
//! and not on the length of the history. If each is, every model of registers holds. If not, a model that judges each key by
//! itself is judged on so many keys at a time as fit the memory allowed; one that looks at all keys at once needs all of the
//! history in memory, and is unknown, with the memory it would take, where that is not allowed. Of a history that is not
//! linearizable the contradiction itself is told even if one key alone does not fit ([`suspects`]).
//!
//! That goes for `history.jsonl` ([`judge_jsonl`]) and for registers in any format of records ([`judge_records`]). Whatever
//! else a file of another system holds, transactions among it, is `unknown` here: its models need all of it at once.
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

mod foreign;
mod parts;
mod pass;
mod suspects;
mod versions;

use std::io::{self, BufRead, Read};

use thiserror::Error;

use crate::explain::counted;
use crate::import::{Format, ImportError, ImportOptions};
use crate::models::monotonic_quorum_reads;
use crate::register_models::find_register_model;
use crate::registers::{Events, Said, ZERO_AT_FIRST, read_events, registers_of_keys};
use crate::transactions::TransactionHistory;
use crate::version_graph::{Promise, SessionPromise};
use crate::{
    Case, CheckOptions, Judgement, ReadError, UnknownChecker, Verdict, applicable, causal, fast, find, import,
    models_of, version_order,
};
use foreign::{Foreign, NoStream, survey};
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
    /// It is no history of another system.
    #[error(transparent)]
    Import(ImportError),
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
    open: impl FnMut() -> io::Result<R>,
    models: &[S],
    options: &CheckOptions,
) -> Result<JudgedFile, JudgeFileError> {
    are_known(models)?;
    judge_events(&mut Own(open), models, options)
}

/// A `history.jsonl` that can be opened.
struct Own<F>(F);

impl<R: BufRead, F: FnMut() -> io::Result<R>> Events for Own<F> {
    type Error = JudgeFileError;

    fn read(&mut self, sink: impl FnMut(&Said<'_>) -> Result<(), String>) -> Result<Vec<String>, JudgeFileError> {
        Ok(read_events((self.0)().map_err(JudgeFileError::Open)?, sink)?)
    }
}

/// A file of another system.
#[derive(Clone, Copy, Debug)]
pub struct ForeignFile<F> {
    /// Gives it from its beginning, once for each time that it is read.
    pub open: F,
    /// How to read it.
    pub import: ImportOptions,
    /// Its size.
    pub bytes: u64,
}

/// What judging a file of another system came to.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedForeign {
    /// The format.
    pub format: Format,
    /// Records there are; 0 where that was not found out.
    pub records: u64,
    /// Nothing was judged: its models need all of it in memory.
    pub needs_whole: bool,
    /// The judgement.
    pub judged: JudgedFile,
}

/// Bytes that each byte of a file of another system takes when it is judged in memory as a whole, roughly. From the most that
/// `hearsay check` held of files of 40 MB (EDN 5, of transactions 11; JSON 6; log 8; Plume 7), with room for what violations
/// take; for AWDIT's own format and DBCop's it is a guess.
pub fn whole_bytes(file_bytes: u64, format: Format) -> u64 {
    file_bytes.saturating_mul(match format {
        Format::Json | Format::Edn => 12,
        Format::Log => 16,
        Format::Plume | Format::Awdit => 10,
        Format::Dbcop => 20,
    })
}

/// The format of a file of another system, by its first bytes; the one named, if one is.
///
/// # Errors
/// It can't be read, or no format fits.
pub fn format_of(reader: impl Read, format: Option<Format>) -> Result<Format, ImportError> {
    import::format_of(reader, format)
}

/// Judges a file of another system without holding it in memory, by the models that its beginning is about unless some are
/// named. As [`crate::import`] reads it: verdicts are those of the whole file in memory, or `unknown` with what that takes.
///
/// # Errors
/// As [`judge_jsonl`].
pub fn judge_records<R: Read, S: AsRef<str>>(
    file: ForeignFile<impl FnMut() -> io::Result<R>>,
    models: &[S],
    options: &CheckOptions,
) -> Result<JudgedForeign, JudgeFileError> {
    are_known(models)?;
    let ForeignFile { mut open, import, bytes } = file;
    let named = || models.iter().map(|model| model.as_ref().to_owned());
    let memory_max = options.budget.memory_bytes_max;
    let format =
        import::format_of(open().map_err(JudgeFileError::Open)?, import.format).map_err(JudgeFileError::Import)?;
    let unknown = |models: Vec<String>, why: &str, records: u64, notes: Vec<String>| {
        let verdict = |model: String| {
            let needed = whole_bytes(bytes, format);
            Verdict::new(&model).because(Judgement::Unknown, why.to_owned()).because(
                Judgement::Unknown,
                format!(
                    "Judging all of it at once takes about {} for this file of {}, more than the {} allowed: allow more to have it judged.",
                    size(needed),
                    size(bytes),
                    size(memory_max)
                ),
            )
        };
        let verdicts = models.into_iter().map(verdict).collect();
        let judged = JudgedFile { verdicts, notes, operations: 0, passes: 1, versions_max: 0 };
        JudgedForeign { format, records, needs_whole: true, judged }
    };
    if matches!(format, Format::Plume | Format::Awdit | Format::Dbcop) {
        let why = "The models of transactions need the whole history, not a stream of it.";
        let case = Case { transactions: Some(TransactionHistory::default()), ..Case::default() };
        let of_transactions = || models_of(&case).into_iter().map(str::to_owned).collect();
        let models = if models.is_empty() { of_transactions() } else { named().collect() };
        return Ok(unknown(models, why, 0, Vec::new()));
    }
    let survey = survey(&mut open, &ImportOptions { format: Some(format), ..import })?;
    let models: Vec<String> = match models {
        [] => applicable(&survey.sample).into_iter().map(str::to_owned).collect(),
        _ => named().collect(),
    };
    let (records, notes) = (survey.records, survey.notes.clone());
    if let Some(why) = &survey.unfit {
        return Ok(unknown(models, why, records, notes));
    }
    let is_zero_first = survey.zeros.is_some();
    let is_zero_written = survey.zeros.as_ref().is_some_and(|zeros| !zeros.is_empty());
    let mut judged = match judge_events(&mut Foreign::new(open, survey, memory_max / 4), &models, options) {
        Ok(judged) => judged,
        Err(NoStream::Unfit(why)) => return Ok(unknown(models, &why, records, notes)),
        Err(NoStream::Wrong(error)) => return Err(error),
    };
    judged.notes.splice(0..0, notes);
    judged.passes += 1;
    for verdict in &mut judged.verdicts {
        if is_zero_written && verdict.checker == "linearizable" && verdict.judgement == Judgement::Violated {
            let why = "A 0 was read that may be of the beginning or of a write, so one order of the versions does not decide this.";
            let needed = size(whole_bytes(bytes, format));
            let mend =
                format!("Judging all of it at once takes about {needed}, more than the {} allowed.", size(memory_max));
            *verdict = Verdict::new("linearizable").because(Judgement::Unknown, why).because(Judgement::Unknown, mend);
        }
        if is_zero_first {
            verdict.assumptions.push(ZERO_AT_FIRST.to_owned());
        }
    }
    Ok(JudgedForeign { format, records, needs_whole: false, judged })
}

fn are_known<S: AsRef<str>>(models: &[S]) -> Result<(), UnknownChecker> {
    match models.iter().map(AsRef::as_ref).find(|model| find(model).is_none()) {
        Some(model) => Err(UnknownChecker { name: model.to_owned() }),
        None => Ok(()),
    }
}

fn judge_events<E: Events, S: AsRef<str>>(
    events: &mut E,
    models: &[S],
    options: &CheckOptions,
) -> Result<JudgedFile, E::Error> {
    let names = || models.iter().map(AsRef::as_ref);
    let by_session = |model: &str| is_one_pass(model) && !["linearizable", "monotonic-quorum-reads"].contains(&model);
    let with_sessions = names().any(by_session);
    let memory_max = options.budget.memory_bytes_max;
    let passed = pass(events, with_sessions, Pace { bytes_max: memory_max, ..Pace::default() })?;
    let mut passes = 1;
    let mut verdicts: Vec<Option<Verdict>> = names().map(|model| shown(model, &passed, options)).collect();
    let left = |verdicts: &[Option<Verdict>], wanted: &dyn Fn(&str) -> bool| -> Vec<usize> {
        let at = |at: &usize| verdicts[*at].is_none() && wanted(models[*at].as_ref());
        (0..models.len()).filter(at).collect()
    };
    let operations = passed.operations.iter().sum::<u64>();
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
            let registers = registers_of_keys(events, expected, |_| {
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
                suspects::tell(events, name, values, &passed, options)?
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
    if !can_judge(model) {
        let why = "This model needs all of the history in memory, and more of it than a stream of operations holds:";
        return verdict
            .because(Judgement::Unknown, format!("{why} allow more than {} to have it judged.", size(memory_max)));
    }
    let why = match &passed.fit {
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
