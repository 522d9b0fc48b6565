//! Histories of other systems as streams of events of registers, as [`Registers::from_recording`] would make them of the
//! whole file: times are positions in the recording.
//!
//! What only the whole file says is found out first ([`survey`]): whether values are pairs of a key and a value, whether they
//! are all whole numbers, whether registers begin as 0, and whether they are registers at all. Nothing grows with the
//! operations but the texts of values that are not whole numbers, which have a bound.
//!
//! Left out, for those who hold all of it: records without a process, and completions without an invocation, which begin at
//! a moment that has gone by.
//!
//! [`Registers::from_recording`]: crate::registers::Registers::from_recording

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::JudgeFileError;
use crate::import::{Format, ImportOptions, stream_records_while};
use crate::record::{Datum, Process, Record, Recording, Text, reused_note, split_notes};
use crate::registers::{Clock, Events, Said, register_function};
use crate::table::Interner;
use crate::{EventType, Function, ProcessId};

/// Records at the beginning by which models are chosen.
const SAMPLE_MAX: usize = 10_000;
/// Bytes of a text of a value beside its letters.
const TEXT_BYTES: u64 = 40;
/// Key of registers that have none.
const NO_KEY: &str = "register";

/// Why no stream of events can be made of a file, as a sentence; or the file is wrong.
#[derive(Debug)]
pub(super) enum NoStream {
    Unfit(String),
    Wrong(JudgeFileError),
}

impl From<JudgeFileError> for NoStream {
    fn from(error: JudgeFileError) -> NoStream {
        NoStream::Wrong(error)
    }
}

/// What a file is as a whole.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) format: Format,
    /// Its first records, keys taken apart.
    pub(super) sample: Recording,
    pub(super) records: u64,
    pub(super) notes: Vec<String>,
    pub(super) keyed: bool,
    /// Values are whole numbers from 0.
    plain: bool,
    /// Where registers begin as 0: of each key, from which position on 0 may have been written.
    pub(super) zeros: Option<BTreeMap<Box<str>, u64>>,
    /// Why its operations are no stream of registers.
    pub(super) unfit: Option<String>,
}

/// Goes through a file to find out what it is.
pub(super) fn survey<R: Read>(
    mut open: impl FnMut() -> io::Result<R>,
    import: &ImportOptions,
) -> Result<Survey, JudgeFileError> {
    let mut read = |sink: &mut dyn FnMut(Record) -> bool| {
        let reader = open().map_err(JudgeFileError::Open)?;
        stream_records_while(reader, import.format, sink).map_err(JudgeFileError::Import)
    };
    let keyed = match import.keyed {
        Some(keyed) => keyed,
        None => {
            let (mut pairs, mut asks) = (true, false);
            read(&mut |record| {
                if record.process.is_client() {
                    pairs = record.is_pair();
                    asks |= record.asks_by_key();
                }
                pairs
            })?;
            pairs && asks
        }
    };
    let mut sample = Recording::default();
    let mut pairing = Pairing::new(keyed);
    let (mut zero, mut nil, mut plain) = (false, false, true);
    let mut zeros: BTreeMap<Box<str>, u64> = BTreeMap::new();
    let mut unfit = None;
    let is_plain = |value: &Datum| value.is_nil() || value.as_int().is_some_and(|value| value >= 0);
    let streamed = read(&mut |mut record| {
        if sample.records.len() < SAMPLE_MAX {
            sample.records.push(record.clone());
        }
        if unfit.is_some() {
            pairing.position += 1;
            return true;
        }
        pairing.split(&mut record);
        if record.process.is_client()
            && record.kind == EventType::Ok
            && register_function(&record.f) == Some(Function::Read)
        {
            nil |= record.value.is_nil();
            zero |= record.value == Datum::Int(0);
        }
        match pairing.next(&record) {
            Ok(Some(Step::Ends(open))) => {
                let happened = record.kind == EventType::Ok;
                plain &= is_plain(if happened { &record.value } else { &open.argument });
                if record.kind != EventType::Fail {
                    note_zero(&mut zeros, &open);
                }
            }
            Ok(_) => {}
            Err(reason) => unfit = Some(reason),
        }
        true
    })?;
    for open in pairing.processes.values().filter_map(|process| process.open.as_ref()) {
        plain &= is_plain(&open.argument);
        note_zero(&mut zeros, open);
    }
    if keyed {
        sample.split_keys();
        sample.notes.clear();
    }
    let zeros = (zero && !nil).then_some(zeros);
    let (format, records) = (streamed.format, pairing.position);
    Ok(Survey {
        format,
        sample,
        records,
        notes: split_notes(pairing.split, pairing.others),
        keyed,
        plain,
        zeros,
        unfit,
    })
}

/// Remembers that 0 may have been written.
fn note_zero(zeros: &mut BTreeMap<Box<str>, u64>, open: &Open) {
    if open.f == Function::Write && open.argument == Datum::Int(0) {
        let first = zeros.entry(open.key.as_str().into()).or_insert(u64::MAX);
        *first = (*first).min(open.began);
    }
}

/// An operation under way.
#[derive(Debug)]
struct Open {
    f: Function,
    name: Text,
    key: String,
    /// Its invocation has a key.
    keyed: bool,
    argument: Datum,
    began: u64,
    line: u32,
}

/// A process: what it is doing, and whether its last operation was indeterminate.
#[derive(Debug, Default)]
struct Client {
    open: Option<Open>,
    retired: bool,
}

/// What a record is to its process.
enum Step<'p> {
    Begins(&'p Open),
    Ends(Open),
}

/// Records to operations, as [`Recording::operations`] pairs them.
#[derive(Debug)]
struct Pairing {
    keyed: bool,
    processes: BTreeMap<u64, Client>,
    position: u64,
    reused: u64,
    /// Pairs of key and value taken apart, and completions that are no pair.
    split: u64,
    others: u64,
}

impl Pairing {
    fn new(keyed: bool) -> Pairing {
        Pairing { keyed, processes: BTreeMap::new(), position: 0, reused: 0, split: 0, others: 0 }
    }

    /// Takes key and value apart, where they are a pair.
    fn split(&mut self, record: &mut Record) {
        if self.keyed && record.process.is_client() && record.key.is_none() {
            match record.split_key() {
                true => self.split += 1,
                false => self.others += u64::from(record.kind == EventType::Ok),
            }
        }
    }

    /// Takes the next record; `None`: it is of no client. An error is why the whole recording is needed, or is no history of
    /// registers.
    fn next(&mut self, record: &Record) -> Result<Option<Step<'_>>, String> {
        let position = self.position;
        self.position += 1;
        let number = match &record.process {
            Process::Named(_) => return Ok(None),
            Process::Client(number) => *number,
            Process::Unnamed => return Err(format!("Line {}: the record has no process.", record.line)),
        };
        let line = record.line;
        let client = self.processes.entry(number).or_default();
        if record.kind == EventType::Invoke {
            let f = register_function(&record.f).ok_or_else(|| {
                format!("Line {line}: `{}` is no function of a register: expected read, write or delete.", record.f)
            })?;
            if let Some(open) = &client.open {
                return Err(format!(
                    "Line {line}: process {number} begins {} while its {} of line {} is open.",
                    record.f, open.name, open.line
                ));
            }
            self.reused += u64::from(std::mem::take(&mut client.retired));
            let key = record.key.as_ref().map_or_else(|| NO_KEY.to_owned(), ToString::to_string);
            let (name, argument) = (Text::clone(&record.f), record.value.clone());
            let open =
                client.open.insert(Open { f, name, key, keyed: record.key.is_some(), argument, began: position, line });
            return Ok(Some(Step::Begins(open)));
        }
        let Some(open) = client.open.take() else {
            return Err(format!("Line {line}: process {number} completes {}, which it never began.", record.f));
        };
        if record.key.is_some() && !open.keyed {
            return Err(format!("Line {line}: a key, where the operation began without one."));
        }
        if open.name != record.f {
            return Err(format!(
                "Line {line}: process {number} completes {}, but its open operation is the {} of line {}.",
                record.f, open.name, open.line
            ));
        }
        client.retired = record.kind == EventType::Info;
        Ok(Some(Step::Ends(open)))
    }
}

/// A file as a stream of events.
pub(super) struct Foreign<F> {
    open: F,
    survey: Survey,
    /// Texts of values that are not whole numbers, the same for each time that it is read; and how many bytes they may take.
    texts: Interner,
    text_bytes: u64,
    text_bytes_max: u64,
}

impl<R: Read, F: FnMut() -> io::Result<R>> Foreign<F> {
    pub(super) fn new(open: F, survey: Survey, text_bytes_max: u64) -> Foreign<F> {
        Foreign { open, survey, texts: Interner::default(), text_bytes: 0, text_bytes_max }
    }
}

/// The number of a value; `None`: it is nil.
fn number(value: &Datum, plain: bool, texts: &mut Interner, left: &mut u64) -> Result<Option<u64>, String> {
    match value {
        Datum::Nil => Ok(None),
        value if plain => match value.as_int().map(u64::try_from) {
            Some(Ok(number)) => Ok(Some(number)),
            _ => Err(format!("{value} is written, which is no whole number from 0.")),
        },
        value => {
            let text = value.to_string();
            let known = texts.texts().len();
            let number = texts.number(&text);
            if texts.texts().len() > known {
                *left = left.checked_sub(text.len() as u64 + TEXT_BYTES).ok_or_else(|| {
                    format!(
                        "The values are no whole numbers, and {known} different ones are too many to be remembered."
                    )
                })?;
            }
            Ok(Some(u64::from(number)))
        }
    }
}

impl<R: Read, F: FnMut() -> io::Result<R>> Events for Foreign<F> {
    type Error = NoStream;

    fn read(&mut self, mut sink: impl FnMut(&Said<'_>) -> Result<(), String>) -> Result<Vec<String>, NoStream> {
        let Foreign { open, survey, texts, text_bytes, text_bytes_max } = self;
        let mut pairing = Pairing::new(survey.keyed);
        let mut unfit = None;
        let mut left = *text_bytes_max - *text_bytes;
        let mut take = |record: &mut Record| -> Result<(), String> {
            pairing.split(record);
            let time = pairing.position;
            let mut number = |value: &Datum| number(value, survey.plain, texts, &mut left);
            let (index, kind, process) = (record.index, record.kind, &record.process);
            let process = ProcessId(if let Process::Client(number) = process { *number } else { 0 });
            match pairing.next(record)? {
                None => Ok(()),
                Some(Step::Begins(Open { f, key, argument, .. })) => {
                    let value = if *f == Function::Write { number(argument)? } else { None };
                    let f = if *f == Function::Write && value.is_none() { Function::Delete } else { *f };
                    sink(&Said { index, time, kind, process, f, key, value })
                }
                Some(Step::Ends(open)) => {
                    let is_read = open.f == Function::Read;
                    let was_initial = |value: &Datum| {
                        let zeros = survey.zeros.as_ref().filter(|_| *value == Datum::Int(0));
                        zeros.is_some_and(|zeros| zeros.get(open.key.as_str()).is_none_or(|written| time < *written))
                    };
                    let value = if is_read && kind == EventType::Ok && !was_initial(&record.value) {
                        number(&record.value)?
                    } else {
                        None
                    };
                    let f = if open.f == Function::Write && open.argument.is_nil() { Function::Delete } else { open.f };
                    sink(&Said { index, time, kind, process, f, key: &open.key, value })
                }
            }
        };
        let reader = open().map_err(JudgeFileError::Open)?;
        let streamed = stream_records_while(reader, Some(survey.format), |mut record| {
            unfit = take(&mut record).err();
            unfit.is_none()
        });
        *text_bytes = *text_bytes_max - left;
        match unfit {
            Some(reason) => Err(NoStream::Unfit(reason)),
            None => {
                let mut notes = streamed.map_err(JudgeFileError::Import)?.notes;
                notes.extend(reused_note(pairing.reused));
                Ok(notes)
            }
        }
    }

    fn clock(&self) -> Clock {
        Clock::Positions
    }

    fn values(&self) -> Option<Vec<Box<str>>> {
        (!self.survey.plain).then(|| self.texts.texts().to_vec())
    }
}
