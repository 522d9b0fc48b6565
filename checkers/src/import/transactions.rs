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
use crate::record::{Datum, Names, Process, Record, Text};
use crate::transactions::{Converter, HistoryTooLarge, TransactionHistory};
use crate::{EventType, OpIndex, Outcome, ProcessId};

/// Transactions, as they come.
#[derive(Debug)]
pub(super) struct Transactions {
    begun: Vec<Begun>,
    /// What they did, in the order of the file.
    did: Vec<Did>,
    /// Number of a session's transaction (plume), and the one that was looked for last.
    known: BTreeMap<(i64, i64), u32>,
    last: Option<((i64, i64), u32)>,
    /// Session and transaction that the next line belongs to (awdit), and whether that has a line yet.
    session: u64,
    open: bool,
    read: Text,
    write: Text,
    txn: Text,
}

/// A transaction.
#[derive(Clone, Copy, Debug)]
struct Begun {
    kind: EventType,
    process: u64,
    line: u64,
}

/// A read or write.
#[derive(Debug)]
struct Did {
    /// Number of the transaction.
    by: u32,
    write: bool,
    key: Datum,
    value: Datum,
}

impl Transactions {
    pub(super) fn new(names: &mut Names) -> Transactions {
        Transactions {
            begun: Vec::new(),
            did: Vec::new(),
            known: BTreeMap::new(),
            last: None,
            session: 0,
            open: false,
            read: names.get("r"),
            write: names.get("w"),
            txn: names.get("txn"),
        }
    }

    /// Brings what was done into the order of the transactions. Reads of 0 that nobody wrote are reads of nothing if
    /// `zero_is_initial`.
    fn arrange(&mut self, zero_is_initial: bool) {
        if zero_is_initial {
            let zero = |did: &&Did| did.write && did.value == Datum::Int(0);
            let written_zero: BTreeSet<Datum> = self.did.iter().filter(zero).map(|did| did.key.clone()).collect();
            for did in &mut self.did {
                if !did.write && did.value == Datum::Int(0) && !written_zero.contains(&did.key) {
                    did.value = Datum::Nil;
                }
            }
        }
        if !self.did.is_sorted_by_key(|did| did.by) {
            self.did.sort_by_key(|did| did.by);
        }
    }

    /// All transactions as records.
    pub(super) fn finish(mut self, zero_is_initial: bool) -> Vec<Record> {
        self.arrange(zero_is_initial);
        let mut did = self.did.into_iter().peekable();
        let mut records = Vec::with_capacity(self.begun.len());
        for (number, begun) in (0..).zip(&self.begun) {
            let mut operations = Vec::new();
            while let Some(Did { write, key, value, .. }) = did.next_if(|did| did.by == number) {
                let f = Datum::Keyword(Text::clone(if write { &self.write } else { &self.read }));
                operations.push(Datum::List(vec![f, key, value]));
            }
            let mut record = Record::new(begun.kind, Process::Client(begun.process), "", Datum::List(operations));
            record.f = Text::clone(&self.txn);
            record.line = u32::try_from(begun.line).unwrap_or(u32::MAX);
            records.push(record);
        }
        records
    }

    /// All transactions as a history, as [`TransactionHistory::from_recording`] would make it of the records.
    pub(super) fn into_history(
        mut self,
        zero_is_initial: bool,
        notes: &[String],
    ) -> Result<TransactionHistory, HistoryTooLarge> {
        self.arrange(zero_is_initial);
        let mut converter = Converter::default();
        let mut did = self.did.into_iter().peekable();
        let end = self.begun.len() as u64;
        for (number, begun) in (0..).zip(&self.begun) {
            converter.builder.begin(OpIndex(u64::from(number)), ProcessId(begun.process), 0);
            let is_ok = begun.kind == EventType::Ok;
            while let Some(Did { write, key, value, .. }) = did.next_if(|did: &Did| did.by == number) {
                converter.register(write, &key, &value, is_ok);
            }
            converter.builder.end(if is_ok { Outcome::Ok } else { Outcome::Fail }, Some(end));
        }
        converter.builder.untimed();
        notes.iter().for_each(|note| converter.builder.note(note.clone()));
        converter.builder.finish()
    }

    fn begin(&mut self, kind: EventType, process: u64, line: u64) -> u32 {
        self.begun.push(Begun { kind, process, line });
        self.begun.len() as u32 - 1
    }

    fn add(&mut self, by: u32, write: bool, key: Datum, value: Datum) {
        self.did.push(Did { by, write, key, value });
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
        let place = (session, transaction);
        let last = self.last.filter(|(last, _)| *last == place).map(|(_, known)| known);
        let known = last.or_else(|| self.known.get(&place).copied()).filter(|_| transaction >= 0);
        let record = known.unwrap_or_else(|| {
            let kind = if transaction < 0 { EventType::Fail } else { EventType::Ok };
            let new = self.begin(kind, process, number);
            self.known.insert(place, new);
            new
        });
        self.last = Some((place, record));
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
        self.add(self.begun.len() as u32 - 1, f == b'w', Datum::Int(key), Datum::Int(value));
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
