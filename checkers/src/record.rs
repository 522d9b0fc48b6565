//! A recording of any system, as it was written down: one [`Record`] per event, its values kept as data ([`Datum`]).
//!
//! The way of a foreign history: a file -> [`crate::import`] -> [`Recording`] -> [`RecordedOperation`]s (an invocation and
//! its completion) -> what a family of models needs (registers, transactions, sets, queues, ...). The shapes follow
//! Jepsen's histories (`jepsen.history`).
//!
//! Invariants: records stand in the order of the recording, and that order is the real-time order (clocks of a foreign
//! file may be missing or coarse); [`Record::position`]s count from 0. Values mean nothing here: what `[:append 5 1]` or
//! `[3 4]` says is for the models.

mod datum;
mod names;
mod pairing;

use crate::import::Format;
use crate::{EventType, OpIndex};

pub use datum::{Datum, Text};
pub use names::Names;
pub(crate) use pairing::reused_note;
pub use pairing::{Operations, PairingError, RecordedOperation};

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Process {
    /// A client: one sequential process.
    Client(u64),
    /// Another process, such as `nemesis`: its records are no operations of the history.
    Named(Text),
    /// The record says nothing of its process: nothing is known of the order of its operations but time.
    Unnamed,
}

impl Process {
    /// Whether its records are operations on the system.
    pub fn is_client(&self) -> bool {
        !matches!(self, Process::Named(_))
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Process::Client(number) => write!(f, "process {number}"),
            Process::Named(name) => f.write_str(name),
            Process::Unnamed => f.write_str("the process without a number"),
        }
    }
}

/// One event: an operation begins or ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What the file calls it (`:index`); its position where the file has none.
    pub index: u64,
    /// Nanoseconds since some start; `None`: the file does not say.
    pub time: Option<u64>,
    /// Line of the file on which it begins, from 1; 0 where there is no file.
    pub line: u32,
    /// What happened.
    pub kind: EventType,
    /// Who did it.
    pub process: Process,
    /// What is done, such as `read`, `cas` or `txn`; without the colon of a keyword.
    pub f: Text,
    /// The key, where the format has one apart from the value.
    pub key: Option<Datum>,
    /// The value: an argument or a result.
    pub value: Datum,
    /// The node that was asked, such as `n3`.
    pub node: Option<Text>,
    /// What went wrong.
    pub error: Option<Box<Datum>>,
}

impl Record {
    /// A record that says no more than this; the rest can be set.
    pub fn new(kind: EventType, process: Process, f: &str, value: Datum) -> Record {
        Record { index: 0, time: None, line: 0, kind, process, f: f.into(), key: None, value, node: None, error: None }
    }

    /// Whether its value is a pair of a key and a value.
    pub(crate) fn is_pair(&self) -> bool {
        let is_pair = |items: &[Datum]| items.len() == 2 && !matches!(items[0], Datum::List(_) | Datum::Nil);
        self.key.is_none() && self.value.as_list().is_some_and(is_pair)
    }

    /// Whether it begins something on a key without a value, as a read of a pair `[key nil]`.
    pub(crate) fn asks_by_key(&self) -> bool {
        self.kind == EventType::Invoke && matches!(&self.value, Datum::List(items) if items.get(1) == Some(&Datum::Nil))
    }

    /// Takes a value `[key value]` apart, if it is one.
    pub(crate) fn split_key(&mut self) -> bool {
        match &mut self.value {
            Datum::List(items) if items.len() == 2 => {
                let value = items.pop();
                self.key = items.pop();
                self.value = value.unwrap_or(Datum::Nil);
                true
            }
            _ => false,
        }
    }

    /// Its index, as models name operations.
    pub fn op_index(&self) -> OpIndex {
        OpIndex(self.index)
    }
}

/// All that a file said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// The records, in the order of the recording.
    pub records: Vec<Record>,
    /// What a reader of the verdicts should know about the file, in sentences: what was cut off, left out, assumed.
    pub notes: Vec<String>,
    /// The format that it came in; `None`: it was made in memory.
    pub format: Option<Format>,
    /// The order of the records says nothing about time: the format only has the order of each session. All operations of
    /// different processes count as concurrent then.
    pub no_real_time: bool,
}

impl Recording {
    /// The client operations, in the order of their beginnings.
    ///
    /// # Errors
    /// A record that does not fit the ones before: two operations of one process under way at once, or a completion of
    /// another function than its invocation.
    pub fn operations(&self) -> Result<Operations<'_>, PairingError> {
        pairing::pair(&self.records, !self.no_real_time)
    }

    /// Records of clients.
    pub fn client_records(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.process.is_client())
    }

    /// Whether every client record has a time.
    pub fn has_times(&self) -> bool {
        self.client_records().all(|record| record.time.is_some())
    }

    /// Whether every client value is a pair `[key value]`, as Jepsen's independent tests write them; reads begin with
    /// `[key nil]`. Pairs alone are no proof: compare-and-set has pairs too.
    pub fn looks_keyed(&self) -> bool {
        // Asked in the order that ends soonest for histories that are not keyed.
        self.client_records().all(Record::is_pair) && self.client_records().any(Record::asks_by_key)
    }

    /// Takes each `[key value]` apart: the key goes to [`Record::key`]. A completion whose value is no pair (an error, or
    /// nothing) keeps its value; its operation has the key of its invocation. A note says what was done.
    pub fn split_keys(&mut self) {
        let (mut split, mut others) = (0_u64, 0_u64);
        for record in self.records.iter_mut().filter(|record| record.process.is_client() && record.key.is_none()) {
            match record.split_key() {
                true => split += 1,
                false => others += u64::from(record.kind == EventType::Ok),
            }
        }
        self.notes.extend(split_notes(split, others));
    }
}

/// What to say of pairs of a key and a value that were taken apart, and of completions that were none.
pub(crate) fn split_notes(split: u64, others: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if split > 0 {
        notes.push("The values are pairs of a key and a value: each key is judged by itself.".to_owned());
    }
    if split > 0 && others > 0 {
        let completions = if others == 1 { "1 completion is".to_owned() } else { format!("{others} completions are") };
        notes.push(format!(
            "{completions} no such pair, and taken as of the key that was asked for: if that is wrong, the values are no pairs."
        ));
    }
    notes
}
