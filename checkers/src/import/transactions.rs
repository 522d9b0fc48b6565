//! Formats of transaction checkers: committed transactions of reads and writes on registers, by session.
//!
//! | format | form | who |
//! |---|---|---|
//! | plume | `w(key,value,session,transaction)` or `r(..)` per line; transaction -1 is aborted | AWDIT, Plume |
//! | awdit | `w key value` or `r key value` per line, `---` between transactions, `===` between sessions | AWDIT's tests |
//! | dbcop | one JSON object whose `data` are sessions of transactions of events: `{write, variable, value, success}`, `{Read: {variable, version}}` or `["r", variable, version]` | DBCop |
//!
//! Each transaction becomes one `ok` record `txn` (`fail` if aborted) of micro-operations `[:w key value]`, in the order of
//! its session; there is no real time. In plume and dbcop every key begins as 0: a read of 0 that nobody wrote is a read
//! of nothing. Left out: Cobra's and PolySI's directories of binary logs, and DBCop's bincode.

use std::collections::{BTreeMap, BTreeSet};

use super::edn::{Cursor, whole};
use super::json;
use super::source::{Parsed, Stop, wrong};
use crate::EventType;
use crate::record::{Datum, Names, Process, Record, Text};

/// Transactions, as they come.
#[derive(Debug)]
pub(super) struct Transactions {
    records: Vec<Record>,
    /// Position of the record of a session's transaction (plume).
    known: BTreeMap<(i64, i64), usize>,
    /// Session and transaction that the next line belongs to (awdit), and whether that has a line yet.
    session: u64,
    open: bool,
    read: Text,
    write: Text,
    txn: Text,
}

impl Transactions {
    pub(super) fn new(names: &mut Names) -> Transactions {
        Transactions {
            records: Vec::new(),
            known: BTreeMap::new(),
            session: 0,
            open: false,
            read: names.get("r"),
            write: names.get("w"),
            txn: names.get("txn"),
        }
    }

    /// All transactions. Reads of 0 that nobody wrote are reads of nothing if `zero_is_initial`.
    pub(super) fn finish(mut self, zero_is_initial: bool) -> Vec<Record> {
        if zero_is_initial {
            let micro = |record: &Record| record.value.as_list().map(<[Datum]>::to_vec).unwrap_or_default();
            let mut written_zero: BTreeSet<Datum> = BTreeSet::new();
            for operation in self.records.iter().flat_map(micro) {
                if let Some([f, key, Datum::Int(0)]) = operation.as_list()
                    && f.as_name() == Some("w")
                {
                    written_zero.insert(key.clone());
                }
            }
            for record in &mut self.records {
                let Datum::List(operations) = &mut record.value else { continue };
                for operation in operations {
                    if let Datum::List(parts) = operation
                        && let [f, key, value @ Datum::Int(0)] = parts.as_mut_slice()
                        && f.as_name() == Some("r")
                        && !written_zero.contains(key)
                    {
                        *value = Datum::Nil;
                    }
                }
            }
        }
        self.records
    }

    fn begin(&mut self, kind: EventType, process: u64, line: u64) -> usize {
        let mut record = Record::new(kind, Process::Client(process), "", Datum::List(Vec::new()));
        record.f = Text::clone(&self.txn);
        record.line = u32::try_from(line).unwrap_or(u32::MAX);
        self.records.push(record);
        self.records.len() - 1
    }

    fn add(&mut self, at: usize, write: bool, key: Datum, value: Datum) {
        let f = Datum::Keyword(Text::clone(if write { &self.write } else { &self.read }));
        let Datum::List(operations) = &mut self.records[at].value else { unreachable!("made by begin") };
        operations.push(Datum::List(vec![f, key, value]));
    }

    /// `w(key,value,session,transaction)`.
    pub(super) fn plume(&mut self, line: &[u8], number: u64) -> Parsed<()> {
        let text = line.trim_ascii();
        if text.is_empty() {
            return Ok(());
        }
        let start = line.len() - line.trim_ascii_start().len();
        let expected = "expected w(key,value,session,transaction) or r(..) with four whole numbers";
        let write = match text {
            [b'w', b'(', ..] => true,
            [b'r', b'(', ..] => false,
            _ => return wrong(start, expected),
        };
        let Some(inner) = text[2..].strip_suffix(b")") else {
            return wrong(start + text.len(), format!("no `)` at the end: {expected}"));
        };
        let mut numbers = [0_i64; 4];
        let mut parts = inner.split(|byte| *byte == b',');
        let mut at = start + 2;
        for slot in &mut numbers {
            let part = parts.next().unwrap_or_default();
            let Some(number) = whole(part.trim_ascii()) else { return wrong(at, expected) };
            *slot = number;
            at += part.len() + 1;
        }
        if parts.next().is_some() {
            return wrong(at - 1, expected);
        }
        let [key, value, session, transaction] = numbers;
        let Ok(process) = u64::try_from(session) else { return wrong(start, "a session is a number from 0 on") };
        if transaction < 0 && !write {
            return Ok(());
        }
        let known = self.known.get(&(session, transaction)).copied().filter(|_| transaction >= 0);
        let record = known.unwrap_or_else(|| {
            let kind = if transaction < 0 { EventType::Fail } else { EventType::Ok };
            self.begin(kind, process, number)
        });
        self.known.insert((session, transaction), record);
        self.add(record, write, Datum::Int(key), Datum::Int(value));
        Ok(())
    }

    /// `w key value`, `---`, `===`.
    pub(super) fn awdit(&mut self, line: &[u8], number: u64) -> Parsed<()> {
        let text = line.trim_ascii();
        if text.is_empty() {
            return Ok(());
        }
        if text.iter().all(|byte| *byte == b'-') || text.iter().all(|byte| *byte == b'=') {
            self.open = false;
            self.session += u64::from(text[0] == b'=');
            return Ok(());
        }
        let start = line.len() - line.trim_ascii_start().len();
        let expected = "expected `w key value` or `r key value` with whole numbers, `---` or `===`";
        let words: Vec<&[u8]> = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
        let (f, key, value) = match words.as_slice() {
            [f @ (b"w" | b"r"), key, value] => (f[0], whole(key), whole(value)),
            _ => return wrong(start, expected),
        };
        let (Some(key), Some(value)) = (key, value) else { return wrong(start, expected) };
        if !self.open {
            self.begin(EventType::Ok, self.session, number);
            self.open = true;
        }
        self.add(self.records.len() - 1, f == b'w', Datum::Int(key), Datum::Int(value));
        Ok(())
    }

    /// A whole file of DBCop.
    pub(super) fn dbcop(&mut self, window: &[u8], ended: bool, names: &mut Names) -> Parsed<(usize, ())> {
        if !ended {
            return Err(Stop::More);
        }
        let mut cursor = Cursor::new(window, true);
        let whole_file = match json::datum(&mut cursor, names, 0) {
            Err(Stop::More) => return wrong(window.len(), "the file ends in the middle"),
            other => other?,
        };
        let Some(sessions) = whole_file.get("data").unwrap_or(&whole_file).as_list() else { return wrong(0, DBCOP) };
        for (session, transactions) in sessions.iter().enumerate() {
            let Some(transactions) = transactions.as_list() else { return wrong(0, DBCOP) };
            for transaction in transactions {
                let Some(events) = transaction.get("events").and_then(Datum::as_list) else { return wrong(0, DBCOP) };
                let kind = if succeeded(transaction) { EventType::Ok } else { EventType::Fail };
                let record = self.begin(kind, session as u64, 0);
                for event in events {
                    let Some((write, key, value)) = dbcop_event(event) else { return wrong(0, DBCOP) };
                    if succeeded(event) {
                        self.add(record, write, key, value);
                    } else if write {
                        let failed = self.begin(EventType::Fail, session as u64, 0);
                        self.add(failed, true, key, value);
                    }
                }
            }
        }
        Ok((window.len(), ()))
    }
}

const DBCOP: &str = "this is none of DBCop's histories: expected {\"data\": [[{\"events\": [{\"write\": true, \"variable\": 0, \
                     \"value\": 1, \"success\": true}], \"success\": true}]]}, or its later form";

/// Whether a transaction or an event of DBCop took effect.
fn succeeded(datum: &Datum) -> bool {
    let no = Some(&Datum::Bool(false));
    datum.get("success") != no && datum.get("committed") != no
}

/// An event in one of the three forms of DBCop: whether it is a write, its variable and its value.
fn dbcop_event(event: &Datum) -> Option<(bool, Datum, Datum)> {
    if let Some([f, key, value]) = event.as_list() {
        let write = match f.as_name()? {
            "w" => true,
            "r" => false,
            _ => return None,
        };
        return Some((write, key.clone(), value.clone()));
    }
    if let Some(Datum::Bool(write)) = event.get("write") {
        return Some((*write, event.get("variable")?.clone(), event.get("value")?.clone()));
    }
    let (write, parts) = match (event.get("Write"), event.get("Read")) {
        (Some(parts), None) => (true, parts),
        (None, Some(parts)) => (false, parts),
        _ => return None,
    };
    Some((write, parts.get("variable")?.clone(), parts.get("version")?.clone()))
}
