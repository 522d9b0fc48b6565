//! Histories of other systems: read in any known format, judged by the models that they are about.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use hearsay_checkers::import::{Format, ImportOptions, read_recording, read_transactions, stream_records};
use hearsay_checkers::record::{Datum, Process, Record, Recording};
use hearsay_checkers::{Case, CheckOptions, Judgement, StopFn, Verdict, judge, models_of};
use serde::Serialize;

use crate::campaign::parse_duration;
use crate::exit::Outcome;
use crate::report::render_verdicts;

use super::{misused, print, print_json, strongest};

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
    /// Most memory for such a model beside the history, such as 500MB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(super) memory: Option<u64>,
    /// Judge by every model of registers: the strongest that hold, the weakest that are broken
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
    let format = recording.format;
    let case = Case { recording: Some(recording), ..Case::default() };
    Ok(Some(Loaded { path: path.to_owned(), case, format, guessed }))
}

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| format!("can't read {}: {error}", path.display()))
}

/// Reads any history, record by record.
pub(super) fn load_recording(path: &Path, args: &ForeignArgs) -> Result<Recording, String> {
    let import = ImportOptions { format: args.format, keyed: args.keyed.then_some(true) };
    read_recording(open(path)?, &import).map_err(|error| format!("{}: {error}", path.display()))
}

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
struct Judged {
    path: String,
    format: Option<&'static str>,
    found: Judgement,
    outcome: Outcome,
    exit_code: u8,
    notes: Vec<String>,
    verdicts: Vec<Verdict>,
}

/// Judges and prints; by the models that the history is about unless some are named.
pub(super) fn check(loaded: Loaded, models: &[String], args: &ModelArgs, json: bool) -> ExitCode {
    if args.strongest {
        let title = format!("hearsay check {}, commit {}", loaded.path.display(), crate::COMMIT);
        let notes = notes_of(&loaded);
        return strongest::check(&title, &notes, &loaded.case, &args.options(), args.svg.as_deref(), json);
    }
    let judged = match judged(loaded, models, args) {
        Ok(judged) => judged,
        Err(error) => return misused(&error),
    };
    if json {
        print_json(&judged);
    } else {
        let title = format!("hearsay check {}, commit {}", judged.path, crate::COMMIT);
        print(&render_verdicts(&title, &judged.notes, &judged.verdicts, judged.found, judged.exit_code));
    }
    ExitCode::from(judged.exit_code)
}

fn judged(loaded: Loaded, models: &[String], args: &ModelArgs) -> Result<Judged, String> {
    let notes = notes_of(&loaded);
    let format = loaded.format.map(Format::name);
    let case = loaded.case;
    let names =
        if models.is_empty() { models_of(&case).into_iter().map(str::to_owned).collect() } else { models.to_vec() };
    if names.is_empty() {
        let problem = "no model fits the functions of this history: name one with --model; `hearsay list` has them all";
        return Err(format!("{}: {problem}", loaded.path.display()));
    }
    let mut verdicts = Vec::new();
    for name in &names {
        verdicts.extend(judge(&case, &[name], &args.options()).map_err(|error| error.to_string())?);
    }
    if let Some(path) = &args.svg {
        strongest::draw(path, &case, &args.options(), &verdicts)?;
    }
    let any = |judgement| verdicts.iter().any(|verdict| verdict.judgement == judgement);
    let (found, outcome) = match (any(Judgement::Violated), any(Judgement::Unknown)) {
        (true, _) => (Judgement::Violated, Outcome::Violation),
        (false, true) => (Judgement::Unknown, Outcome::Unknown),
        (false, false) => (Judgement::Holds, Outcome::AsExpected),
    };
    Ok(Judged {
        path: loaded.path.display().to_string(),
        format,
        found,
        outcome,
        exit_code: outcome.exit_code(),
        notes,
        verdicts,
    })
}

/// What the reader of the verdicts should know of the file.
fn notes_of(loaded: &Loaded) -> Vec<String> {
    let mut notes = vec![about(loaded)];
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
fn about(loaded: &Loaded) -> String {
    let format = loaded.format.map_or("none", Format::name);
    let guessed = if loaded.guessed { ", guessed" } else { "" };
    let records = loaded.case.recording.as_ref().map_or(0, |recording| recording.records.len());
    let records = loaded.case.transactions.as_ref().map_or(records, |history| history.transactions().len());
    format!("The format is {format}{guessed}; there are {records} records.")
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
