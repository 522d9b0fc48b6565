//! Transactions as clients saw them, compactly: names are numbers, all operations lie in one vector.
//!
//! Transactions stand in the order of their invocations. `invoked` and `completed` are on one scale for all processes:
//! positions in the recording, or nanoseconds.

use thiserror::Error;

use super::intern::{Names, Pairs};
use crate::{OpIndex, Outcome, ProcessId};

/// Number of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u32);

/// Position of a transaction in its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub u32);

/// An integer as it was recorded, or the number of any other value ([`TransactionHistoryBuilder::value`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub i64);

/// Integers below this are numbers of other values.
const NAMED: i64 = i64::MIN + (1 << 32);

/// Where the elements of a list that was read lie ([`TransactionHistory::list`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    from: u32,
    len: u32,
}

/// One operation of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MicroOp {
    /// Appends an element to a list.
    Append(Key, Value),
    /// Writes a register.
    Write(Key, Value),
    /// Read this list.
    ReadList(Key, List),
    /// Read this value of a register; `None`: nothing was there (also: an empty list).
    Read(Key, Option<Value>),
    /// A read whose result is not known, because the transaction did not end well.
    Unread(Key),
}

impl List {
    /// No elements.
    pub const EMPTY: List = List { from: 0, len: 0 };

    /// Its first elements.
    pub(crate) fn first(self, len: u32) -> List {
        List { len: len.min(self.len), ..self }
    }

    /// How many elements it has.
    pub(crate) fn len(self) -> u32 {
        self.len
    }
}

impl MicroOp {
    /// The key.
    pub fn key(self) -> Key {
        match self {
            MicroOp::Append(key, _)
            | MicroOp::Write(key, _)
            | MicroOp::ReadList(key, _)
            | MicroOp::Read(key, _)
            | MicroOp::Unread(key) => key,
        }
    }
}

/// A transaction without its operations ([`TransactionHistory::operations`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Index of its invocation in the recording.
    pub index: OpIndex,
    /// The process, which is also its session.
    pub process: ProcessId,
    /// The session as a number from 0, in order of appearance.
    pub session: u32,
    /// When it was invoked.
    pub invoked: u64,
    /// When it completed; `None`: not known.
    pub completed: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    first_operation: u32,
}

/// A history of transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionHistory {
    transactions: Vec<Transaction>,
    operations: Vec<MicroOp>,
    elements: Vec<Value>,
    keys: Names,
    values: Names,
    sessions: u32,
    untimed: bool,
    /// What a reader of the verdict should know about the recording, in sentences.
    pub notes: Vec<String>,
}

impl TransactionHistory {
    /// All transactions, by invocation.
    pub fn transactions(&self) -> &[Transaction] {
        &self.transactions
    }

    /// A transaction.
    pub fn transaction(&self, id: TransactionId) -> &Transaction {
        &self.transactions[id.0 as usize]
    }

    /// The operations of a transaction, in its order.
    pub fn operations(&self, id: TransactionId) -> &[MicroOp] {
        let from = self.transactions[id.0 as usize].first_operation as usize;
        let to = self
            .transactions
            .get(id.0 as usize + 1)
            .map_or(self.operations.len(), |next| next.first_operation as usize);
        &self.operations[from..to]
    }

    /// Every transaction with its number.
    pub fn iter(&self) -> impl Iterator<Item = (TransactionId, &Transaction)> {
        self.transactions.iter().enumerate().map(|(at, transaction)| (TransactionId(at as u32), transaction))
    }

    /// The elements of a list.
    pub fn list(&self, list: List) -> &[Value] {
        &self.elements[list.from as usize..list.from as usize + list.len as usize]
    }

    /// The name of a key.
    pub fn key_name(&self, key: Key) -> &str {
        self.keys.name(key.0)
    }

    /// Keys there are.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// Sessions there are.
    pub fn session_count(&self) -> usize {
        self.sessions as usize
    }

    /// Operations of all transactions.
    pub fn operation_count(&self) -> usize {
        self.operations.len()
    }

    /// A value as it was recorded.
    pub fn value_text(&self, value: Value) -> String {
        if value.0 >= NAMED {
            return value.0.to_string();
        }
        self.values.name((value.0 - i64::MIN) as u32).to_owned()
    }

    /// Whether `invoked` and `completed` tell what was before what; some formats record only the order within sessions.
    pub fn is_timed(&self) -> bool {
        !self.untimed
    }
}

/// The history has more operations or elements than can be numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the history has more than {max} operations or list elements: judge a part of it", max = u32::MAX - 1)]
pub struct HistoryTooLarge;

/// Builds a [`TransactionHistory`], transaction by transaction, in any order of invocations.
#[derive(Clone, Debug, Default)]
pub struct TransactionHistoryBuilder {
    history: TransactionHistory,
    sessions: Pairs,
    is_sorted_no_more: bool,
    is_too_large: bool,
}

impl TransactionHistoryBuilder {
    /// The number of a key.
    pub fn key(&mut self, name: &str) -> Key {
        Key(self.history.keys.number(name))
    }

    /// The value for a text: the integer that it is, or a number for it.
    pub fn value(&mut self, text: &str) -> Value {
        match text.parse::<i64>() {
            // Only what is written back the same: `+7` and `007` are other values than `7`.
            Ok(number) if number >= NAMED && (number.to_string() == text) => Value(number),
            _ => Value(i64::MIN + i64::from(self.history.values.number(text))),
        }
    }

    /// The value that is an integer.
    pub fn integer(&mut self, number: i64) -> Value {
        if number >= NAMED {
            Value(number)
        } else {
            Value(i64::MIN + i64::from(self.history.values.number(&number.to_string())))
        }
    }

    /// Begins a transaction; its operations follow.
    pub fn begin(&mut self, index: OpIndex, process: ProcessId, invoked: u64) {
        let (session, _) = self.sessions.number(process.0, 0);
        self.history.sessions = self.history.sessions.max(session + 1);
        self.is_sorted_no_more |= self.history.transactions.last().is_some_and(|last| last.invoked > invoked);
        self.history.transactions.push(Transaction {
            index,
            process,
            session,
            invoked,
            completed: None,
            outcome: Outcome::Info,
            first_operation: self.history.operations.len() as u32,
        });
    }

    /// Adds an operation to the transaction that was begun last. Lists are added by [`Self::read_list`].
    pub fn push(&mut self, operation: MicroOp) {
        self.is_too_large |= self.history.operations.len() >= u32::MAX as usize - 1;
        if !self.is_too_large {
            self.history.operations.push(operation);
        }
    }

    /// Adds the read of a list.
    pub fn read_list(&mut self, key: Key, elements: impl IntoIterator<Item = Value>) {
        let from = self.history.elements.len();
        self.history.elements.extend(elements);
        self.is_too_large |= self.history.elements.len() >= u32::MAX as usize - 1;
        if self.is_too_large {
            self.history.elements.truncate(from);
            return;
        }
        let len = (self.history.elements.len() - from) as u32;
        self.push(MicroOp::ReadList(key, List { from: from as u32, len }));
    }

    /// Ends the transaction that was begun last. Without it the transaction is [`Outcome::Info`].
    pub fn end(&mut self, outcome: Outcome, completed: Option<u64>) {
        let last = self.history.transactions.last_mut().expect("a transaction was begun before it ends");
        last.outcome = outcome;
        last.completed = completed;
    }

    /// Says that times mean nothing between processes.
    pub fn untimed(&mut self) {
        self.history.untimed = true;
    }

    /// Adds a note for the reader of the verdict.
    pub fn note(&mut self, sentence: String) {
        self.history.notes.push(sentence);
    }

    /// The history.
    ///
    /// # Errors
    /// More operations or list elements than can be numbered.
    pub fn finish(self) -> Result<TransactionHistory, HistoryTooLarge> {
        if self.is_too_large {
            return Err(HistoryTooLarge);
        }
        Ok(if self.is_sorted_no_more { sorted(self.history) } else { self.history })
    }
}

/// The same transactions by invocation; equal ones stay as they are.
fn sorted(history: TransactionHistory) -> TransactionHistory {
    let mut order: Vec<u32> = (0..history.transactions.len() as u32).collect();
    order.sort_by_key(|at| history.transactions[*at as usize].invoked);
    let mut transactions = Vec::with_capacity(order.len());
    let mut operations = Vec::with_capacity(history.operations.len());
    for at in order {
        let first_operation = operations.len() as u32;
        transactions.push(Transaction { first_operation, ..history.transactions[at as usize] });
        operations.extend_from_slice(history.operations(TransactionId(at)));
    }
    TransactionHistory { transactions, operations, ..history }
}

#[cfg(test)]
mod tests {
    use super::{MicroOp, TransactionHistoryBuilder, TransactionId, Value};
    use crate::{OpIndex, Outcome, ProcessId};

    #[test]
    fn transactions_are_sorted_with_their_operations_and_values_keep_their_text() {
        let mut builder = TransactionHistoryBuilder::default();
        let (x, seven, word) = (builder.key("x"), builder.value("7"), builder.value("007"));
        builder.begin(OpIndex(4), ProcessId(1), 20);
        builder.push(MicroOp::Append(x, word));
        builder.end(Outcome::Ok, Some(30));
        builder.begin(OpIndex(2), ProcessId(3), 10);
        builder.read_list(x, [seven, word]);
        builder.push(MicroOp::Unread(x));
        let history = builder.finish().unwrap();
        assert_eq!(history.transactions().iter().map(|t| t.index.0).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(history.operations(TransactionId(1)), [MicroOp::Append(x, word)]);
        let MicroOp::ReadList(_, list) = history.operations(TransactionId(0))[0] else { panic!("not the list") };
        assert_eq!(history.list(list), [seven, word]);
        assert_eq!((seven, history.value_text(seven), history.value_text(word)), (Value(7), "7".into(), "007".into()));
        assert_eq!((history.transaction(TransactionId(0)).outcome, history.session_count()), (Outcome::Info, 2));
    }
}
