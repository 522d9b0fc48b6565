//! What transactions saw of each other: whom they read from, what they wrote, and what is wrong by itself.
//!
//! A read is *external* if the transaction had not written the key before; other reads say only whether a transaction sees
//! its own writes. A transaction *took part* if it is ok, or if it is indeterminate and somebody saw a write of it; what
//! nobody saw of an indeterminate one may as well not have happened.
//!
//! Invariants: reads and writes lie in the order of transactions; readers are ok; writers that are read from took part or
//! failed (and the latter is an anomaly).

use super::history::{Key, List, MicroOp, TransactionHistory, TransactionId, Value};
use super::level::Anomaly;
use super::notation::list_text;
use super::places::{Places, Written};
use super::story::{Findings, name};
use crate::Outcome;

/// In place of a writer: the state before all transactions.
pub(crate) const INITIAL: u32 = u32::MAX;

/// An external read of a register or a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExternalRead {
    pub(crate) key: u32,
    /// Who wrote what was read: a transaction, or [`INITIAL`].
    pub(crate) from: u32,
}

/// An external part of a list that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListRead {
    pub(crate) key: u32,
    pub(crate) reader: u32,
    /// What was read, without own elements at the end: those show what the transaction sees, not what others will.
    pub(crate) list: List,
}

/// Who wrote a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    pub(crate) transaction: u32,
    pub(crate) key: u32,
    /// Number of what its transaction wrote to the key before; [`INITIAL`]: nothing.
    pub(crate) previous: u32,
    /// Whether its transaction wrote the key no more.
    pub(crate) is_final: bool,
    /// Whether an ok transaction saw it.
    pub(crate) is_seen: bool,
}

/// Values by number, and their writers.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    places: Places,
    pub(crate) by_number: Vec<Writer>,
}

impl Writers {
    /// Room for all values that the transactions of a history write.
    fn new(history: &TransactionHistory) -> Writers {
        let mut written = Written::new(history.key_count());
        for operation in history.iter().flat_map(|(id, _)| history.operations(id)) {
            if let MicroOp::Append(key, value) | MicroOp::Write(key, value) = operation {
                written.add(key.0, value.0);
            }
        }
        let by_number = Vec::with_capacity(written.count());
        Writers { places: Places::new(written), by_number }
    }

    pub(crate) fn number(&self, key: u32, value: Value) -> Option<u32> {
        self.places.find(key, value.0, |number| self.by_number[number as usize].key)
    }

    /// Numbers a value, unless it was written before: then the number that it has.
    fn add(&mut self, writer: Writer, value: Value) -> Result<u32, u32> {
        let number = self.by_number.len() as u32;
        let Writers { places, by_number } = self;
        places.add(writer.key, value.0, number, |number| by_number[number as usize].key)?;
        by_number.push(writer);
        Ok(number)
    }
}

/// Slices of one vector, one per transaction.
#[derive(Debug)]
pub(crate) struct ByTransaction<T> {
    items: Vec<T>,
    offsets: Vec<u32>,
}

impl<T> ByTransaction<T> {
    fn new() -> ByTransaction<T> {
        ByTransaction { items: Vec::new(), offsets: vec![0] }
    }

    fn end_transaction(&mut self) {
        self.offsets.push(self.items.len() as u32);
    }

    pub(crate) fn of(&self, transaction: u32) -> &[T] {
        let at = transaction as usize;
        &self.items[self.offsets[at] as usize..self.offsets[at + 1] as usize]
    }

    pub(crate) fn all(&self) -> &[T] {
        &self.items
    }
}

/// What was found in a history before anything is ordered.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) writers: Writers,
    pub(crate) reads: ByTransaction<ExternalRead>,
    /// Keys that each transaction that took part wrote, each once, sorted; valid after [`settle`].
    pub(crate) writes: ByTransaction<u32>,
    pub(crate) list_reads: Vec<ListRead>,
    /// Whether the transaction took part; valid after [`settle`].
    pub(crate) took_part: Vec<bool>,
    /// Which keys hold lists.
    pub(crate) is_list: Vec<bool>,
    /// Why the history can't be judged at all: a value that was written twice.
    pub(crate) ambiguous: Option<String>,
}

/// Per key, valid for one transaction only.
struct Scratch<T> {
    slots: Vec<(u32, T)>,
}

impl<T: Copy> Scratch<T> {
    fn new(keys: usize, empty: T) -> Scratch<T> {
        Scratch { slots: vec![(u32::MAX, empty); keys] }
    }

    fn get(&self, transaction: u32, key: u32) -> Option<T> {
        let (of, value) = self.slots[key as usize];
        (of == transaction).then_some(value)
    }

    fn set(&mut self, transaction: u32, key: u32, value: T) {
        self.slots[key as usize] = (transaction, value);
    }
}

/// Looks at every operation once or twice. The order of lists comes next, then [`settle`].
pub(crate) fn observe(history: &TransactionHistory, findings: &mut Findings) -> Observed {
    let mut observed = Observed {
        writers: Writers::new(history),
        reads: ByTransaction::new(),
        writes: ByTransaction::new(),
        list_reads: Vec::new(),
        took_part: history.transactions().iter().map(|transaction| transaction.outcome == Outcome::Ok).collect(),
        is_list: vec![false; history.key_count()],
        ambiguous: None,
    };
    collect_writes(history, &mut observed);
    collect_reads(history, &mut observed, findings);
    observed
}

/// Decides who took part, once all reads have been looked at.
pub(crate) fn settle(history: &TransactionHistory, observed: &mut Observed) {
    for writer in &observed.writers.by_number {
        let outcome = history.transaction(TransactionId(writer.transaction)).outcome;
        observed.took_part[writer.transaction as usize] |= writer.is_seen && outcome == Outcome::Info;
    }
    // Values are numbered in the order of the history, so each transaction's are a range.
    let mut written = observed.writers.by_number.iter().peekable();
    for (id, _) in history.iter() {
        let from = observed.writes.items.len();
        while let Some(writer) = written.next_if(|writer| writer.transaction == id.0) {
            if observed.took_part[id.0 as usize] && writer.is_final {
                observed.writes.items.push(writer.key);
            }
        }
        observed.writes.items[from..].sort_unstable();
        observed.writes.end_transaction();
    }
}

/// Numbers every written value, in the order of the history.
fn collect_writes(history: &TransactionHistory, observed: &mut Observed) {
    let mut last: Scratch<u32> = Scratch::new(history.key_count(), 0);
    let mut is_register = vec![false; history.key_count()];
    for (id, _) in history.iter() {
        for operation in history.operations(id) {
            let (key, value) = match *operation {
                MicroOp::Append(key, value) | MicroOp::Write(key, value) => (key, value),
                MicroOp::ReadList(key, _) => {
                    observed.is_list[key.0 as usize] = true;
                    continue;
                }
                MicroOp::Read(key, value) => {
                    is_register[key.0 as usize] |= value.is_some();
                    continue;
                }
                MicroOp::Unread(_) => continue,
            };
            match operation {
                MicroOp::Append(..) => observed.is_list[key.0 as usize] = true,
                _ => is_register[key.0 as usize] = true,
            }
            let previous = last.get(id.0, key.0).unwrap_or(INITIAL);
            let writer = Writer { transaction: id.0, key: key.0, previous, is_final: true, is_seen: false };
            let number = match observed.writers.add(writer, value) {
                Ok(number) => number,
                Err(number) => {
                    let (key, value) = (history.key_name(key), history.value_text(value));
                    let first = TransactionId(observed.writers.by_number[number as usize].transaction);
                    let (first, second) = (name(history, first), name(history, id));
                    observed.ambiguous.get_or_insert_with(|| {
                        format!("{key} = {value} is written twice, by {first} and by {second}, so nobody can tell which of them was read.")
                    });
                    continue;
                }
            };
            if let Some(earlier) = observed.writers.by_number.get_mut(previous as usize) {
                earlier.is_final = false;
            }
            last.set(id.0, key.0, number);
        }
    }
    let both = (0..history.key_count()).find(|key| observed.is_list[*key] && is_register[*key]);
    if let Some(key) = both {
        let key = history.key_name(Key(key as u32));
        observed.ambiguous.get_or_insert_with(|| format!("{key} is used as a list and as a register."));
    }
}

fn collect_reads(history: &TransactionHistory, observed: &mut Observed, findings: &mut Findings) {
    let keys = history.key_count();
    let mut scratch = ReadScratch { own: Scratch::new(keys, None), seen: Scratch::new(keys, Seen::Nothing) };
    for (id, transaction) in history.iter() {
        if transaction.outcome == Outcome::Ok && observed.ambiguous.is_none() {
            for (at, operation) in history.operations(id).iter().enumerate() {
                match *operation {
                    MicroOp::Append(key, _) => scratch.own.set(id.0, key.0, None),
                    MicroOp::Write(key, value) => scratch.own.set(id.0, key.0, Some(value)),
                    MicroOp::ReadList(key, list) => {
                        read_list(history, observed, findings, &mut scratch, (id, at), key, Some(list));
                    }
                    MicroOp::Read(key, None) if observed.is_list[key.0 as usize] => {
                        read_list(history, observed, findings, &mut scratch, (id, at), key, None);
                    }
                    MicroOp::Read(key, value) => {
                        read_register(history, observed, findings, &mut scratch, id, key, value);
                    }
                    MicroOp::Unread(_) => {}
                }
            }
        }
        observed.reads.end_transaction();
    }
}

/// What an external read of the transaction has returned before.
#[derive(Clone, Copy)]
enum Seen {
    Nothing,
    Value(Option<Value>),
    List(Option<List>, u32),
}

struct ReadScratch {
    /// What the transaction itself wrote last; `None` for a list.
    own: Scratch<Option<Value>>,
    seen: Scratch<Seen>,
}

fn read_register(
    history: &TransactionHistory,
    observed: &mut Observed,
    findings: &mut Findings,
    scratch: &mut ReadScratch,
    id: TransactionId,
    key: Key,
    value: Option<Value>,
) {
    let text = |value: Option<Value>| value.map_or_else(|| "null".to_owned(), |value| history.value_text(value));
    let key_name = history.key_name(key);
    if let Some(own) = scratch.own.get(id.0, key.0) {
        if own != value {
            findings.add(Anomaly::Internal, &[id], || {
                let own = text(own);
                format!("{} wrote {key_name} = {own} and then read {}.", name(history, id), text(value))
            });
        }
        return;
    }
    if let Some(Seen::Value(before)) = scratch.seen.get(id.0, key.0)
        && before != value
    {
        findings.add(Anomaly::UnrepeatableRead, &[id], || {
            format!("{} read {key_name} = {} and then {}.", name(history, id), text(before), text(value))
        });
    }
    scratch.seen.set(id.0, key.0, Seen::Value(value));
    let Some(value) = value else {
        observed.reads.items.push(ExternalRead { key: key.0, from: INITIAL });
        return;
    };
    let shown = || format!("{key_name} = {}", history.value_text(value));
    if let Some(from) = source(history, observed, findings, id, key, value, true, &shown) {
        observed.reads.items.push(ExternalRead { key: key.0, from });
    }
}

/// Who wrote a value that was read; `None`, with a finding, if it can't be read from anybody.
#[expect(clippy::too_many_arguments, reason = "two callers; a struct of them would be named once")]
pub(crate) fn source(
    history: &TransactionHistory,
    observed: &mut Observed,
    findings: &mut Findings,
    reader: TransactionId,
    key: Key,
    value: Value,
    is_last: bool,
    shown: &dyn Fn() -> String,
) -> Option<u32> {
    let Some(number) = observed.writers.number(key.0, value) else {
        findings.add(Anomaly::GarbageRead, &[reader], || {
            let value = history.value_text(value);
            format!("{} read {}, but nobody ever wrote {value}.", name(history, reader), shown())
        });
        return None;
    };
    let writer = &mut observed.writers.by_number[number as usize];
    writer.is_seen = true;
    let writer = *writer;
    let from = TransactionId(writer.transaction);
    if from == reader {
        findings.add(Anomaly::FutureRead, &[reader], || {
            let value = history.value_text(value);
            format!("{} read {} before it wrote {value} itself.", name(history, reader), shown())
        });
        return None;
    }
    if history.transaction(from).outcome == Outcome::Fail {
        findings.add(Anomaly::G1a, &[from, reader], || {
            let (value, from) = (history.value_text(value), name(history, from));
            format!("{} read {}, but {from}, which wrote {value}, was aborted.", name(history, reader), shown())
        });
        return None;
    }
    if is_last && !writer.is_final {
        findings.add(Anomaly::G1b, &[from, reader], || {
            let (value, key, from) = (history.value_text(value), history.key_name(key), name(history, from));
            format!(
                "{} read {}, but {from}, which wrote {value}, wrote {key} again before it ended.",
                name(history, reader),
                shown()
            )
        });
    }
    Some(from.0)
}

fn read_list(
    history: &TransactionHistory,
    observed: &mut Observed,
    findings: &mut Findings,
    scratch: &mut ReadScratch,
    (id, at): (TransactionId, usize),
    key: Key,
    list: Option<List>,
) {
    let elements = list.map_or(&[][..], |list| history.list(list));
    let mut external = elements.len();
    if scratch.own.get(id.0, key.0).is_some() {
        let before = &history.operations(id)[..at];
        for operation in before.iter().rev() {
            let MicroOp::Append(of, value) = *operation else { continue };
            if of != key {
                continue;
            }
            if external == 0 || elements[external - 1] != value {
                findings.add(Anomaly::Internal, &[id], || {
                    let (key, value) = (history.key_name(key), history.value_text(value));
                    let read = list_text(history, elements);
                    format!("{} appended {value} to {key} and then read {read}.", name(history, id))
                });
                return;
            }
            external -= 1;
        }
    }
    if let Some(Seen::List(before, len)) = scratch.seen.get(id.0, key.0) {
        let before = before.map_or(&[][..], |list| &history.list(list)[..len as usize]);
        if *before != elements[..external] {
            findings.add(Anomaly::UnrepeatableRead, &[id], || {
                let (before, now) = (list_text(history, before), list_text(history, &elements[..external]));
                format!("{} read {} = {before} and then {now}.", name(history, id), history.key_name(key))
            });
        }
    }
    scratch.seen.set(id.0, key.0, Seen::List(list, external as u32));
    let list = list.unwrap_or(List::EMPTY).first(external as u32);
    observed.list_reads.push(ListRead { key: key.0, reader: id.0, list });
    // Whom the last element is from; the others are looked at once per key, in the order of versions.
    let Some(last) = external.checked_sub(1).map(|last| elements[last]) else {
        observed.reads.items.push(ExternalRead { key: key.0, from: INITIAL });
        return;
    };
    let shown = || format!("{} = {}", history.key_name(key), list_text(history, &elements[..external]));
    if let Some(from) = source(history, observed, findings, id, key, last, true, &shown) {
        observed.reads.items.push(ExternalRead { key: key.0, from });
    }
}
