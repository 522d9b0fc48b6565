//! Anomalies in sentences: the transactions, why each comes before the next, and the contradiction.

use std::collections::BTreeMap;

use super::analysis::Finding;
use super::axioms::Inferred;
use super::cycles::Step;
use super::graph::{INFERRED, RW, SESSION, TIME, WR, WW};
use super::history::{Key, MicroOp, TransactionHistory, TransactionId, Value};
use super::level::Anomaly;
use super::lists::Lists;
use super::notation::{list_text, operation_text};
use crate::Outcome;
use crate::explain::sentence;

/// Anomalies that are not cycles: of each the first, and how many.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) by_anomaly: BTreeMap<Anomaly, Finding>,
    /// What `history` was judged, for the texts.
    transactions: BTreeMap<Anomaly, Vec<TransactionId>>,
}

impl Findings {
    /// Counts an anomaly; the first of a kind is told.
    pub(crate) fn add(&mut self, anomaly: Anomaly, transactions: &[TransactionId], tell: impl FnOnce() -> String) {
        if let Some(finding) = self.by_anomaly.get_mut(&anomaly) {
            finding.count += 1;
            return;
        }
        let mut finding = Finding::new(anomaly);
        finding.sentences.push(tell());
        self.by_anomaly.insert(anomaly, finding);
        let mut different: Vec<TransactionId> = Vec::new();
        different.extend(transactions.iter().filter(|id| !different.contains(id)).copied().collect::<Vec<_>>());
        different.dedup();
        self.transactions.insert(anomaly, different);
    }

    /// The findings, with the transactions before the sentences.
    pub(crate) fn told(self, history: &TransactionHistory) -> BTreeMap<Anomaly, Finding> {
        let Findings { mut by_anomaly, transactions } = self;
        for (anomaly, ids) in transactions {
            let finding = by_anomaly.get_mut(&anomaly).expect("both are made together");
            finding.operations = ids.iter().map(|id| history.transaction(*id).index).collect();
            finding.transactions.clone_from(&ids);
            let told = std::mem::take(&mut finding.sentences);
            finding.sentences =
                ids.iter().map(|id| contents(history, *id)).chain(told.iter().map(|text| sentence(text))).collect();
        }
        by_anomaly
    }
}

/// `op 12`.
pub(crate) fn name(history: &TransactionHistory, id: TransactionId) -> String {
    history.transaction(id).index.to_string()
}

/// Operations of a transaction that are told.
const OPERATIONS_MAX: usize = 12;

/// `Op 12 of process 3: append(x, 1), r(y)=[2].`
pub(crate) fn contents(history: &TransactionHistory, id: TransactionId) -> String {
    let transaction = history.transaction(id);
    let operations = history.operations(id);
    let mut words: Vec<String> =
        operations.iter().take(OPERATIONS_MAX).map(|operation| operation_text(history, *operation)).collect();
    if operations.len() > OPERATIONS_MAX {
        words.push(format!("and {} more", operations.len() - OPERATIONS_MAX));
    }
    let outcome = match transaction.outcome {
        Outcome::Ok => "",
        Outcome::Fail => " (aborted)",
        Outcome::Info => " (indeterminate)",
    };
    format!("Op {} of {}{outcome}: {}.", transaction.index.0, transaction.process, words.join(", "))
}

/// What the reasons for edges are looked up in.
pub(crate) struct Reasons<'a> {
    pub(crate) history: &'a TransactionHistory,
    pub(crate) lists: &'a Lists,
    pub(crate) is_list: &'a [bool],
    pub(crate) inferred: &'a [Inferred],
    /// How the reader of an inferred order follows the earlier writer, by both.
    pub(crate) paths: BTreeMap<(u32, u32), Vec<Step>>,
}

/// Longer ways from a writer to a reader are not told.
const PATH_MAX: usize = 5;

impl Reasons<'_> {
    /// A cycle in sentences.
    pub(crate) fn cycle(&self, cycle: &[Step]) -> Vec<String> {
        let mut told: Vec<u32> = cycle.iter().map(|step| step.from).collect();
        let mut ways: Vec<&[Step]> = Vec::new();
        for step in cycle.iter().filter(|step| step.kind & INFERRED != 0) {
            let one = self.inferred[step.origin as usize];
            let way = self.paths.get(&(one.earlier, one.reader)).map_or(&[][..], Vec::as_slice);
            if (1..=PATH_MAX).contains(&way.len()) && !ways.contains(&way) {
                ways.push(way);
                told.extend(way.iter().flat_map(|step| [step.from, step.to]));
            }
            told.extend([one.earlier, one.reader]);
        }
        let mut sentences = self.contents(&told);
        for step in ways.into_iter().flatten() {
            sentences.push(self.follows(*step));
        }
        for (at, step) in cycle.iter().enumerate() {
            let (from, to) = (self.name(step.from), self.name(step.to));
            let why = self.why(*step);
            sentences.push(if at + 1 == cycle.len() {
                format!("But {from} must come before {to}, because {why}: a contradiction.")
            } else {
                sentence(&format!("{from} must come before {to}, because {why}."))
            });
        }
        sentences
    }

    /// A read of the state before all writes, by somebody who has seen one, in sentences.
    pub(crate) fn read_before(&self, one: Inferred) -> Vec<String> {
        let way = self.paths.get(&(one.earlier, one.reader)).map_or(&[][..], Vec::as_slice);
        let way = if way.len() <= PATH_MAX { way } else { &[] };
        let mut told = vec![one.earlier, one.reader];
        told.extend(way.iter().map(|step| step.to));
        let mut sentences = self.contents(&told);
        sentences.extend(way.iter().map(|step| self.follows(*step)));
        let (key, reader, earlier) = (self.key(one.key), self.name(one.reader), self.name(one.earlier));
        let last = format!(
            "but {reader} read {key} = {}, as if {earlier} had not written it.",
            self.read(one.reader, one.key)
        );
        sentences.push(sentence(&last));
        sentences
    }

    /// Each transaction once.
    fn contents(&self, transactions: &[u32]) -> Vec<String> {
        let mut told: Vec<u32> = Vec::new();
        for transaction in transactions {
            if !told.contains(transaction) {
                told.push(*transaction);
            }
        }
        told.into_iter().map(|transaction| contents(self.history, TransactionId(transaction))).collect()
    }

    fn follows(&self, step: Step) -> String {
        let (from, to) = (self.name(step.from), self.name(step.to));
        sentence(&format!("{to} follows {from}, because {}.", self.why(step)))
    }

    fn name(&self, transaction: u32) -> String {
        name(self.history, TransactionId(transaction))
    }

    fn key(&self, key: u32) -> &str {
        self.history.key_name(Key(key))
    }

    /// Why an edge is there.
    pub(crate) fn why(&self, step: Step) -> String {
        let (from, to) = (self.name(step.from), self.name(step.to));
        if step.kind & INFERRED != 0 {
            return self.why_inferred(step);
        }
        match step.base() {
            SESSION => {
                let process = self.history.transaction(TransactionId(step.from)).process;
                format!("{process} finished {from} before it began {to}")
            }
            TIME => format!("{from} had completed before {to} began"),
            WR => {
                let (key, value) = (self.key(step.origin), self.value(step.from, step.origin, true));
                let read = self.read(step.to, step.origin);
                let verb = if self.is_list[step.origin as usize] { "appended" } else { "wrote" };
                format!("{to} read {key} = {read}, and {from} {verb} the {value}")
            }
            RW => {
                let (key, value) = (self.key(step.origin), self.value(step.to, step.origin, false));
                let read = self.read(step.from, step.origin);
                if self.is_list[step.origin as usize] {
                    format!("{from} read {key} = {read}, without the {value} that {to} appended")
                } else {
                    format!("{from} read {key} = {read}, and {to} wrote {value} over it")
                }
            }
            WW if self.lists.unseen[step.origin as usize].contains(&step.to) => {
                let (key, value) = (self.key(step.origin), self.value(step.to, step.origin, false));
                let first = self.value(step.from, step.origin, true);
                format!(
                    "{from} appended {first} to {key}, and the {value} of {to} comes later, as no read of {key} has it"
                )
            }
            _ => {
                let key = self.key(step.origin);
                let (first, second) =
                    (self.value(step.from, step.origin, true), self.value(step.to, step.origin, false));
                format!("{to} appended {second} to {key} after the {first} of {from}")
            }
        }
    }

    fn why_inferred(&self, step: Step) -> String {
        let one = self.inferred[step.origin as usize];
        let key = self.key(one.key);
        let (earlier, later, reader) = (self.name(one.earlier), self.name(one.later), self.name(one.reader));
        let (first, second) = (self.value(one.earlier, one.key, true), self.value(one.later, one.key, true));
        let order = if one.reader == one.later {
            format!("{later} wrote {key} = {second} and follows {earlier}, which wrote {key} = {first}")
        } else {
            format!("{reader} follows {earlier}, which wrote {key} = {first}, and reads {key} = {second} of {later}")
        };
        if step.base() == WW {
            return order;
        }
        let from = self.name(step.from);
        if one.reader == one.later {
            format!("{from} read {key} = {first}, and {later} wrote {second} over it, as it follows {earlier}")
        } else {
            format!("{from} read {key} = {first} of {earlier}, and {later} wrote {second} after it: {order}")
        }
    }

    /// What a transaction wrote to a key: last, or first.
    fn value(&self, transaction: u32, key: u32, last: bool) -> String {
        let operations = self.history.operations(TransactionId(transaction));
        let mut values: Vec<Value> = Vec::new();
        for operation in operations {
            match operation {
                MicroOp::Append(of, value) | MicroOp::Write(of, value) if of.0 == key => values.push(*value),
                _ => {}
            }
        }
        let value = if last { values.last() } else { values.first() };
        value.map_or_else(|| "value".to_owned(), |value| self.history.value_text(*value))
    }

    /// What a transaction read of a key.
    fn read(&self, transaction: u32, key: u32) -> String {
        let operations = self.history.operations(TransactionId(transaction));
        for operation in operations {
            match *operation {
                MicroOp::ReadList(of, list) if of.0 == key => {
                    return list_text(self.history, self.history.list(list));
                }
                MicroOp::Read(of, None) if of.0 == key => return "null".to_owned(),
                MicroOp::Read(of, Some(value)) if of.0 == key => {
                    return self.history.value_text(value);
                }
                _ => {}
            }
        }
        "nothing".to_owned()
    }
}
