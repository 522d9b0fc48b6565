//! Histories of other systems: read in any known format, judged by the models that they are about.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use hearsay_checkers::import::{Format, ImportOptions, read_recording, read_transactions, stream_records};
use hearsay_checkers::record::{Datum, Process, Record, Recording};
use hearsay_checkers::stream::{ForeignFile, format_of, judge_records, whole_bytes};
use hearsay_checkers::{Case, CheckOptions, Judgement, StopFn, Verdict, judge, models_of};
use serde::Serialize;

use crate::campaign::parse_duration;
use crate::exit::Outcome;
use crate::report::render_verdicts;
use crate::store::RunDirectory;

use super::{misused, print, print_json, strongest, unreadable};

/// Bytes of a file that its format is guessed from.
const GUESS_BYTES: u64 = 128 << 10;

/// How to read a history of another system.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ForeignArgs {
    /// The format of the history: json, edn, log, plume, awdit or dbcop [default: guessed from the file]
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,
    /// Values are pairs of a key and a value, each key judged by itself [default: if they look like it]
    #[arg(long)]
    keyed: bool,
}

/// How models judge.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct ModelArgs {
    /// Options of the models, as JSON, such as {"data":{"bank_total":100}}
    #[arg(long, value_name = "JSON", value_parser = options)]
    options: Option<CheckOptions>,
    /// Longest time for each model whose work can explode, such as 30s; then its verdict is unknown
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    budget: Option<Duration>,
    /// Most memory for the history and its judging, such as 500MB: more is judged as it is read, or unknown
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(super) memory: Option<u64>,
    /// Judge by every model of registers, or isolation level of transactions: the strongest that hold, the weakest that are broken
    #[arg(long, conflicts_with = "model")]
    pub(super) strongest: bool,
    /// Draw the first violation as a timeline, or with --strongest which models hold
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,
}

impl ModelArgs {
    /// `options` with what was asked for; the time runs from now on.
    pub(super) fn limit(&self, mut options: CheckOptions) -> CheckOptions {
        options.threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
        if let Some(memory) = self.memory {
            options.budget.memory_bytes_max = memory;
        }
        if let Some(budget) = self.budget {
            let begun = Instant::now();
            options.budget.stop = Some(StopFn::new(move || begun.elapsed() >= budget));
        }
        options
    }

    /// Refuses what needs a whole history in memory that does not fit into what was allowed.
    pub(super) fn needs_whole(&self, bytes: u64) -> Result<(), String> {
        match self.memory {
            Some(memory) if bytes > memory => Err(format!(
                "--strongest and --svg hold all of a history in memory, here about {} MB, more than the {} MB of --memory: \
                 allow more, or name models with --model instead",
                bytes / 1_000_000,
                memory / 1_000_000
            )),
            _ => Ok(()),
        }
    }

    /// The options of a history without a plan.
    pub(super) fn options(&self) -> CheckOptions {
        self.limit(self.options.clone().unwrap_or_default())
    }
}

/// `500MB`, `2GB`, `1000000`: bytes.
fn size(text: &str) -> Result<u64, String> {
    let expected = || format!("`{text}` is no size: expected such as 500MB or 2GB");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" | "M" => 1_000_000,
        "GB" | "G" => 1_000_000_000,
        _ => return Err(expected()),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(expected)
}

fn format(name: &str) -> Result<Format, String> {
    Format::find(name).ok_or_else(|| {
        let known = Format::ALL.map(Format::name);
        format!("there is no format `{name}`: the formats are {}", known.join(", "))
    })
}

fn options(json: &str) -> Result<CheckOptions, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

/// A history that was read.
#[derive(Debug)]
pub(super) struct Loaded {
    path: PathBuf,
    case: Case,
    format: Option<Format>,
    guessed: bool,
}

/// Reads a history, if it is one of another system; `None`: it is a run's directory or a history of this program.
pub(super) fn load(path: &Path, args: &ForeignArgs) -> Result<Option<Loaded>, String> {
    let about_foreign = args.format.is_some() || args.keyed;
    if path.is_dir() {
        return match about_foreign {
            _ if !RunDirectory::open(path).history().exists() => {
                Err(format!("{}: {}", path.display(), unreadable::directory(path)))
            }
            true => Err(format!("{}: a run's directory has its own format", path.display())),
            false => Ok(None),
        };
    }
    if !about_foreign && begins_as_own(path) {
        return Ok(None);
    }
    let guessed = args.format.is_none();
    if !args.keyed {
        // Transactions of registers take a shorter way.
        let read = read_transactions(open(path)?, args.format);
        if let Some((format, transactions)) = read.map_err(|error| format!("{}: {error}", path.display()))? {
            let case = Case { transactions: Some(transactions), ..Case::default() };
            return Ok(Some(Loaded { path: path.to_owned(), case, format: Some(format), guessed }));
        }
    }
    let recording = load_recording(path, args)?;
    if let Some(problem) = no_client(&recording) {
        return Err(format!("{}: {problem}", path.display()));
    }
    let format = recording.format;
    let case = Case { recording: Some(recording), ..Case::default() };
    Ok(Some(Loaded { path: path.to_owned(), case, format, guessed }))
}

/// What is wrong with a recording in which no client did anything.
fn no_client(recording: &Recording) -> Option<String> {
    if recording.client_records().next().is_some() {
        return None;
    }
    let Some(first) = recording.records.first() else {
        return Some("there is no event in it: expected operations of clients".to_owned());
    };
    let others = recording.records.len();
    let (line, by) = (first.line, &first.process);
    Some(format!(
        "no client did anything in it: all its events ({others}) are of other processes, the first of {by} on line {line}; \
         expected operations whose process is a number"
    ))
}

fn open(path: &Path) -> Result<File, String> {
    if let Some(problem) = unreadable::refusal(path) {
        return Err(format!("{}: {problem}", path.display()));
    }
    File::open(path).map_err(|error| format!("can't read {}: {error}", path.display()))
}

/// Reads any history, record by record.
pub(super) fn load_recording(path: &Path, args: &ForeignArgs) -> Result<Recording, String> {
    let import = ImportOptions { format: args.format, keyed: args.keyed.then_some(true) };
    read_recording(open(path)?, &import).map_err(|error| format!("{}: {error}", path.display()))
}

/// Judges a history that does not fit the memory allowed while it is read; `None`: it fits, it can't be read twice, or it is
/// of this program. Where nobody set a limit, what can't be judged so is left to those who hold all of it.
pub(super) fn judge_stream(
    path: &Path,
    how: &ForeignArgs,
    models: &[String],
    args: &ModelArgs,
) -> Result<Option<Judged>, String> {
    let bytes = std::fs::metadata(path).map_or(0, |about| if about.is_file() { about.len() } else { 0 });
    let is_own = how.format.is_none() && !how.keyed && begins_as_own(path);
    if bytes == 0 || is_own {
        return Ok(None);
    }
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let format = format_of(open(path)?, how.format).map_err(|error| wrong(&error))?;
    let options = args.options();
    let needed = whole_bytes(bytes, format);
    if needed <= options.budget.memory_bytes_max {
        return Ok(None);
    }
    if args.strongest || args.svg.is_some() {
        return args.needs_whole(needed).map(|()| None).map_err(|error| wrong(&error));
    }
    let import = ImportOptions { format: Some(format), keyed: how.keyed.then_some(true) };
    let file = ForeignFile { open: || File::open(path), import, bytes };
    let judged = judge_records(file, models, &options).map_err(|error| wrong(&error))?;
    if judged.needs_whole && args.memory.is_none() {
        return Ok(None);
    }
    let guessed = how.format.is_none();
    let mut notes = vec![about(format, guessed, judged.records)];
    if !judged.needs_whole {
        let (operations, passes) = (judged.judged.operations, judged.judged.passes);
        notes.push(format!("Judged as it was read: {operations} operations, {passes} passes of the file."));
    }
    notes.extend(judged.judged.notes);
    let verdicts = judged.judged.verdicts;
    if verdicts.is_empty() {
        return Err(wrong(&NO_MODEL));
    }
    Ok(Some(Judged::new(path, Some(format), notes, verdicts)))
}

const NO_MODEL: &str =
    "no model fits the functions of this history: name one with --model; `hearsay list` has them all";

/// Whether the file begins as a history of this program; then its own reader knows best what is wrong with it.
fn begins_as_own(path: &Path) -> bool {
    let mut beginning = Vec::new();
    let read = File::open(path).and_then(|file| file.take(GUESS_BYTES).read_to_end(&mut beginning));
    let whole_lines = beginning.iter().rposition(|byte| *byte == b'\n').map_or(beginning.len(), |end| end + 1);
    let mut own = true;
    let streamed = stream_records(&beginning[..whole_lines], None, |record| own &= is_own(&record));
    // A mistake in JSON is left to that reader, too.
    let json = Format::guess(&beginning) == Some(Format::Json);
    read.is_ok() && own && json && streamed.map_or(true, |streamed| streamed.format == Format::Json)
}

/// Whether a record is one of this program's: a read, write or delete of a named register of numbers, with a time.
fn is_own(record: &Record) -> bool {
    matches!(record.process, Process::Client(_))
        && record.time.is_some()
        && matches!(record.key, Some(Datum::Str(_)))
        && matches!(record.f.as_ref(), "read" | "write" | "delete")
        && matches!(record.value, Datum::Nil | Datum::Int(0..) | Datum::Exact(_))
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    path: String,
    format: Option<&'static str>,
    found: Judgement,
    outcome: Outcome,
    exit_code: u8,
    notes: Vec<String>,
    verdicts: Vec<Verdict>,
}

impl Judged {
    fn new(path: &Path, format: Option<Format>, notes: Vec<String>, verdicts: Vec<Verdict>) -> Judged {
        let any = |judgement| verdicts.iter().any(|verdict| verdict.judgement == judgement);
        let (found, outcome) = match (any(Judgement::Violated), any(Judgement::Unknown)) {
            (true, _) => (Judgement::Violated, Outcome::Violation),
            (false, true) => (Judgement::Unknown, Outcome::Unknown),
            (false, false) => (Judgement::Holds, Outcome::AsExpected),
        };
        Judged {
            path: path.display().to_string(),
            format: format.map(Format::name),
            found,
            outcome,
            exit_code: outcome.exit_code(),
            notes,
            verdicts,
        }
    }

    pub(super) fn show(&self, json: bool) -> ExitCode {
        if json {
            print_json(self);
        } else {
            let title = format!("hearsay check {}, commit {}", self.path, crate::COMMIT);
            print(&render_verdicts(&title, &self.notes, &self.verdicts, self.found, self.exit_code));
        }
        ExitCode::from(self.exit_code)
    }
}

/// Judges and prints; by the models that the history is about unless some are named.
pub(super) fn check(loaded: Loaded, models: &[String], args: &ModelArgs, json: bool) -> ExitCode {
    if args.strongest {
        let title = format!("hearsay check {}, commit {}", loaded.path.display(), crate::COMMIT);
        let notes = notes_of(&loaded);
        return strongest::check(&title, &notes, &loaded.case, &args.options(), args.svg.as_deref(), json);
    }
    match judged(loaded, models, args) {
        Ok(judged) => judged.show(json),
        Err(error) => misused(&error),
    }
}

fn judged(loaded: Loaded, models: &[String], args: &ModelArgs) -> Result<Judged, String> {
    let notes = notes_of(&loaded);
    let case = loaded.case;
    let names =
        if models.is_empty() { models_of(&case).into_iter().map(str::to_owned).collect() } else { models.to_vec() };
    if names.is_empty() {
        return Err(format!("{}: {NO_MODEL}", loaded.path.display()));
    }
    let mut verdicts = Vec::new();
    for name in &names {
        verdicts.extend(judge(&case, &[name], &args.options()).map_err(|error| error.to_string())?);
    }
    if let Some(path) = &args.svg {
        strongest::draw(path, &case, &args.options(), &verdicts)?;
    }
    Ok(Judged::new(&loaded.path, loaded.format, notes, verdicts))
}

/// What the reader of the verdicts should know of the file.
fn notes_of(loaded: &Loaded) -> Vec<String> {
    let records = loaded.case.recording.as_ref().map_or(0, |recording| recording.records.len());
    let records = loaded.case.transactions.as_ref().map_or(records, |history| history.transactions().len());
    let mut notes: Vec<String> =
        loaded.format.map(|format| about(format, loaded.guessed, records as u64)).into_iter().collect();
    if let Some(transactions) = &loaded.case.transactions {
        notes.extend(transactions.notes.iter().cloned());
    }
    if let Some(recording) = &loaded.case.recording {
        notes.extend(recording.notes.iter().cloned());
        if let Ok(operations) = recording.operations() {
            notes.extend(operations.notes);
        }
    }
    notes
}

/// What the file is, in a sentence.
fn about(format: Format, guessed: bool, records: u64) -> String {
    let guessed = if guessed { ", guessed" } else { "" };
    let records = if records == 0 { String::new() } else { format!("; there are {records} records") };
    format!("The format is {format}{guessed}{records}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_a_unit() {
        for (text, bytes) in [("7", 7), ("12kB", 12_000), ("500MB", 500_000_000), ("2GB", 2_000_000_000)] {
            assert_eq!(size(text), Ok(bytes));
        }
        for text in ["", "MB", "-1", "1.5GB", "5 MB", "99999999999GB", "3 TB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
