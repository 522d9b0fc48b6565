//! Histories of other systems, from their files to a [`Recording`]. One file per format.
//!
//! ```
//! use hearsay_checkers::import::{Format, ImportOptions, read_recording};
//!
//! let file = "{:process 0, :type :invoke, :f :add, :value 1}\n{:process 0, :type :ok, :f :add, :value 1}\n";
//! let recording = read_recording(file.as_bytes(), &ImportOptions::default()).unwrap();
//! assert_eq!(recording.format, Some(Format::Edn));
//! assert_eq!(recording.operations().unwrap().all.len(), 1);
//! ```
//!
//! Files are read in pieces ([`stream_records`]), so a history may be larger than memory where its judge needs no more than
//! one record at a time. A record that the end of the file cuts off is left out, with a note: the run ended there. Bytes
//! from outside never panic: nesting, the length of one record and the number of records have limits.

mod edn;
mod fields;
mod guess;
mod jepsen_edn;
mod json;
mod log;
mod source;
mod transactions;

use std::fmt;
use std::io::{self, Read};

use thiserror::Error;

use crate::record::{Record, Recording};
use crate::transactions::{HistoryTooLarge, TransactionHistory};
use fields::Fields;
use jepsen_edn::Piece;
use source::{Next, Parsed, Source};
use transactions::Transactions;

/// Most records of one file: positions are 32 bits.
const RECORDS_MAX: u64 = 1 << 31;

/// A format of histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// One JSON object per line (this program's own `history.jsonl` among them), or one array of them.
    Json,
    /// Jepsen's operations as EDN: one map per line, or one vector or list of maps. Maps with a `:key` too.
    Edn,
    /// Jepsen's log lines: process, type, function, value.
    Log,
    /// `w(key,value,session,transaction)` per line, as AWDIT and Plume read them.
    Plume,
    /// `w key value` per line, `---` between transactions, `===` between sessions: AWDIT's own.
    Awdit,
    /// DBCop's JSON.
    Dbcop,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 6] = [Format::Json, Format::Edn, Format::Log, Format::Plume, Format::Awdit, Format::Dbcop];

    /// What `--format` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Edn => "edn",
            Format::Log => "log",
            Format::Plume => "plume",
            Format::Awdit => "awdit",
            Format::Dbcop => "dbcop",
        }
    }

    /// The format of that name.
    pub fn find(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The format that these first bytes of a file look like; `None`: none that is known.
    pub fn guess(beginning: &[u8]) -> Option<Format> {
        guess::guess(beginning)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How to read a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportOptions {
    /// The format; `None`: guessed from the file.
    pub format: Option<Format>,
    /// Whether values are pairs `[key value]` (see [`Recording::split_keys`]); `None`: if they look like it.
    pub keyed: Option<bool>,
}

/// Why a file can't be read.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("line {line}: {source}")]
    Io {
        /// From 1.
        line: u64,
        /// What the system says.
        source: io::Error,
    },
    /// Something in the file is wrong.
    #[error("line {line}, column {column}: {problem}")]
    Malformed {
        /// From 1.
        line: u64,
        /// From 1, in bytes.
        column: usize,
        /// What is wrong and what was expected, as a sentence without its end.
        problem: String,
    },
    /// No format fits.
    #[error(
        "it is none of the known formats ({known}): name the format if it is one of them",
        known = Format::ALL.map(Format::name).join(", ")
    )]
    UnknownFormat,
    /// More operations than can be numbered.
    #[error(transparent)]
    TooLarge(HistoryTooLarge),
}

/// What a stream of records had to say at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streamed {
    /// The format of the file.
    pub format: Format,
    /// Sentences for [`Recording::notes`].
    pub notes: Vec<String>,
    /// As [`Recording::no_real_time`].
    pub no_real_time: bool,
}

/// Reads a whole file.
///
/// # Errors
/// The first mistake of the file, with line and column; or no format fits.
pub fn read_recording(reader: impl Read, options: &ImportOptions) -> Result<Recording, ImportError> {
    let mut records = Vec::new();
    let streamed = stream_records(reader, options.format, |record| records.push(record))?;
    records.shrink_to_fit();
    let Streamed { format, notes, no_real_time } = streamed;
    let mut recording = Recording { records, notes, format: Some(format), no_real_time };
    if options.keyed.unwrap_or_else(|| recording.looks_keyed()) {
        recording.split_keys();
    }
    Ok(recording)
}

/// Reads a file record by record; pairs of key and value are not taken apart. The formats of transaction checkers are held
/// in memory, since a transaction may go on anywhere in the file.
///
/// # Errors
/// The first mistake of the file, with line and column; or no format fits.
pub fn stream_records(
    reader: impl Read,
    format: Option<Format>,
    mut sink: impl FnMut(Record),
) -> Result<Streamed, ImportError> {
    stream_records_while(reader, format, |record| {
        sink(record);
        true
    })
}

/// The format of a file, by its first bytes; the one named, if one is.
pub(crate) fn format_of(reader: impl Read, format: Option<Format>) -> Result<Format, ImportError> {
    first_look(&mut Source::new(reader), format)
}

/// As [`stream_records`], until the sink wants no more; what comes after that is not looked at.
pub(crate) fn stream_records_while(
    reader: impl Read,
    format: Option<Format>,
    sink: impl FnMut(Record) -> bool,
) -> Result<Streamed, ImportError> {
    let mut source = Source::new(reader);
    let format = first_look(&mut source, format)?;
    let mut sink = Sink { sink, records: 0, fields: Fields::default(), notes: Vec::new() };
    let mut no_real_time = false;
    match format {
        Format::Json | Format::Edn => forms(&mut source, format, &mut sink)?,
        Format::Log => log_lines(&mut source, &mut sink)?,
        Format::Plume | Format::Awdit | Format::Dbcop => {
            no_real_time = true;
            let transactions = transactions(&mut source, format, &mut sink.fields, &mut sink.notes)?;
            for mut record in transactions.finish(format != Format::Awdit) {
                record.index = sink.records;
                if !sink.add(&source, record)? {
                    break;
                }
            }
        }
    }
    let Sink { fields, mut notes, .. } = sink;
    notes.extend(fields.note());
    Ok(Streamed { format, notes, no_real_time })
}

/// The format of a file; this also fetches its first piece.
fn first_look<R: Read>(source: &mut Source<R>, format: Option<Format>) -> Result<Format, ImportError> {
    source.next(|window, ended| if window.is_empty() && !ended { Err(source::Stop::More) } else { Ok((0, ())) })?;
    source.skip_byte_order_mark();
    match format.or_else(|| Format::guess(source.window())) {
        Some(format) => Ok(format),
        None if source.window().trim_ascii().is_empty() => Ok(Format::Json),
        None => Err(ImportError::UnknownFormat),
    }
}

struct Sink<F> {
    sink: F,
    records: u64,
    fields: Fields,
    notes: Vec<String>,
}

impl<F: FnMut(Record) -> bool> Sink<F> {
    /// Whether more is wanted.
    fn add<R: Read>(&mut self, source: &Source<R>, record: Record) -> Result<bool, ImportError> {
        if self.records == RECORDS_MAX {
            return Err(source.mistake(0, format!("more than {RECORDS_MAX} records in one file are not supported")));
        }
        self.records += 1;
        Ok((self.sink)(record))
    }

    fn cut_off(&mut self, line: u64) {
        self.notes.push(cut_off(line));
    }
}

fn forms<R: Read, F: FnMut(Record) -> bool>(
    source: &mut Source<R>,
    format: Format,
    sink: &mut Sink<F>,
) -> Result<(), ImportError> {
    let mut inside: Option<u8> = None;
    loop {
        let fields = &mut sink.fields;
        let blank = source.next(|window, ended| match format {
            Format::Json => json::blank(window, ended, inside.is_some()),
            _ => jepsen_edn::blank(window, ended, fields),
        })?;
        let line = source.line();
        let next = match blank {
            Next::CutOff => Next::CutOff,
            Next::Form(()) => source.next(|window, ended| match format {
                Format::Json => json::piece(window, ended, inside.is_some(), fields),
                _ => jepsen_edn::piece(window, ended, inside, fields),
            })?,
        };
        match next {
            Next::Form(Piece::Record(mut record, indexed)) => {
                record.line = u32::try_from(line).unwrap_or(u32::MAX);
                if !indexed {
                    record.index = sink.records;
                }
                if !sink.add(source, *record)? {
                    return Ok(());
                }
            }
            Next::Form(Piece::Open(close)) => inside = Some(close),
            Next::Form(Piece::Close) => inside = None,
            Next::Form(Piece::End) => return Ok(()),
            Next::CutOff if jepsen_edn::more_records(source.window()) => {
                return Err(
                    source.mistake(0, "what begins here has no end: a bracket or quote is not closed".to_owned())
                );
            }
            Next::CutOff if source.window().trim_ascii().is_empty() => {
                sink.notes.push("The list of the file has no end: the recording ended there.".to_owned());
                return Ok(());
            }
            Next::CutOff => {
                sink.cut_off(line);
                return Ok(());
            }
        }
    }
}

fn log_lines<R: Read, F: FnMut(Record) -> bool>(source: &mut Source<R>, sink: &mut Sink<F>) -> Result<(), ImportError> {
    let mut others = 0_u64;
    loop {
        let number = source.line();
        let fields = &mut sink.fields;
        let next = source.next_line(|line, whole| match log::line(line, fields) {
            Ok(record) => Ok((record, whole, line.trim_ascii().is_empty())),
            Err(_) if !whole => Ok((None, whole, false)),
            Err(stop) => Err(stop),
        })?;
        match next {
            None => break,
            Some((Some(mut record), whole, _)) => {
                record.line = u32::try_from(number).unwrap_or(u32::MAX);
                record.index = sink.records;
                if !sink.add(source, record)? {
                    return Ok(());
                }
                if !whole {
                    sink.notes.push(format!("Line {number}, the last, has no end; it is taken as complete."));
                }
            }
            Some((None, true, blank)) => others += u64::from(!blank),
            Some((None, false, blank)) if !blank => sink.cut_off(number),
            Some((None, false, _)) => {}
        }
    }
    if others > 0 {
        let lines = if others == 1 { "1 line holds".to_owned() } else { format!("{others} lines hold") };
        sink.notes.push(format!("{lines} no operation, and nothing was taken from there."));
    }
    Ok(())
}

/// Reads the transactions of a format of transaction checkers, without records between: several times faster than
/// [`read_recording`], and in a fraction of the memory. `None`: the file is of another format, for [`read_recording`].
///
/// # Errors
/// The first mistake of the file, with line and column; or no format fits.
pub fn read_transactions(
    reader: impl Read,
    format: Option<Format>,
) -> Result<Option<(Format, TransactionHistory)>, ImportError> {
    let mut source = Source::new(reader);
    let format = first_look(&mut source, format)?;
    if !matches!(format, Format::Plume | Format::Awdit | Format::Dbcop) {
        return Ok(None);
    }
    let mut notes = Vec::new();
    let transactions = transactions(&mut source, format, &mut Fields::default(), &mut notes)?;
    let history = transactions.into_history(format != Format::Awdit, &notes).map_err(ImportError::TooLarge)?;
    Ok(Some((format, history)))
}

fn transactions<R: Read>(
    source: &mut Source<R>,
    format: Format,
    fields: &mut Fields,
    notes: &mut Vec<String>,
) -> Result<Transactions, ImportError> {
    let mut transactions = Transactions::new(&mut fields.names);
    if format == Format::Dbcop {
        source.next(|window, ended| transactions.dbcop(window, ended, &mut fields.names))?;
        return Ok(transactions);
    }
    loop {
        let number = source.line();
        let next = source.next_line(|line, whole| {
            let parsed: Parsed<()> = match format {
                Format::Plume => transactions.plume(line, number),
                _ => transactions.awdit(line, number),
            };
            match parsed {
                Err(_) if !whole => Ok(false),
                parsed => parsed.map(|()| true),
            }
        })?;
        match next {
            None => return Ok(transactions),
            Some(true) => {}
            Some(false) => notes.push(cut_off(number)),
        }
    }
}

fn cut_off(line: u64) -> String {
    format!("Line {line}, the last, is cut off and left out: the recording ended there.")
}
