//! From recordings: Jepsen's transactions (`[[:append 5 1] [:r 5 [1]] [:w 6 2]]`) and those of the text formats.
//!
//! An operation is a transaction if its value is a list of micro-operations, each a list of a function (`append`, `r`, `w`,
//! `read`, `write`), a key and a value. What an ok transaction did is in its completion; of others the writes are in the
//! invocation. Times are positions in the recording.

use thiserror::Error;

use super::history::{HistoryTooLarge, Key, MicroOp, TransactionHistory, TransactionHistoryBuilder, Value};
use crate::record::{Datum, PairingError, Process, RecordedOperation, Recording};
use crate::{Outcome, ProcessId};

/// A recording that is no history of transactions as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TransactionsError {
    /// Invocations and completions do not fit each other.
    #[error(transparent)]
    Pairing(#[from] PairingError),
    /// A transaction with something in it that is no micro-operation.
    #[error(
        "line {line}: `{found}` is no operation of a transaction: expected [:append key value], [:w key value] or [:r key value]"
    )]
    NotUnderstood {
        /// Line of the record, from 1; 0 where there is no file.
        line: u32,
        /// What was found.
        found: String,
    },
    /// Too many operations.
    #[error(transparent)]
    TooLarge(#[from] HistoryTooLarge),
}

/// The process number that all operations without one share.
const UNNAMED: u64 = u64::MAX;

impl TransactionHistory {
    /// The transactions of a recording; `None` if it has none.
    ///
    /// # Errors
    /// Records that do not fit each other, or a transaction with something else in it than appends, writes and reads.
    pub fn from_recording(recording: &Recording) -> Result<Option<TransactionHistory>, TransactionsError> {
        let operations = recording.operations()?;
        let mut converter = Converter::default();
        let mut found = 0_u64;
        let mut others = 0_u64;
        for operation in operations.all.iter().filter(|operation| operation.process().is_client()) {
            if is_transaction(operation) {
                converter.add(operation)?;
                found += 1;
            } else {
                others += 1;
            }
        }
        if found == 0 {
            return Ok(None);
        }
        let mut builder = converter.builder;
        if recording.no_real_time {
            builder.untimed();
        }
        for note in recording.notes.iter().chain(&operations.notes) {
            builder.note(note.clone());
        }
        if others > 0 {
            let others = crate::explain::counted(others, "operation");
            builder.note(format!("{others} that are no transactions were left out."));
        }
        Ok(Some(builder.finish()?))
    }
}

/// Whether the invocation or the completion is a list of micro-operations.
fn is_transaction(operation: &RecordedOperation<'_>) -> bool {
    let looks_like_one = |datum: &Datum| match datum.untagged().as_list() {
        Some([]) => operation.f() == "txn",
        Some([first, ..]) => function(first).is_some(),
        None => false,
    };
    looks_like_one(operation.argument()) || looks_like_one(operation.value())
}

#[derive(Clone, Copy, PartialEq)]
enum Function {
    Append,
    Write,
    Read,
}

fn function(micro: &Datum) -> Option<(Function, &Datum, &Datum)> {
    let [f, key, value] = micro.untagged().as_list()? else { return None };
    let f = match f.as_name()? {
        "append" => Function::Append,
        "w" | "write" => Function::Write,
        "r" | "read" => Function::Read,
        _ => return None,
    };
    Some((f, key, value))
}

/// Keys below this are looked up by number.
const SMALL_KEYS: i64 = 1 << 16;

/// Builds a history from keys and values that are data.
#[derive(Default)]
pub(crate) struct Converter {
    pub(crate) builder: TransactionHistoryBuilder,
    small_keys: Vec<Option<Key>>,
}

impl Converter {
    fn add(&mut self, operation: &RecordedOperation<'_>) -> Result<(), TransactionsError> {
        let process = match operation.process() {
            Process::Client(number) => *number,
            _ => UNNAMED,
        };
        self.builder.begin(operation.index(), ProcessId(process), u64::from(operation.began));
        let is_ok = operation.outcome == Outcome::Ok;
        let line = operation.completion.unwrap_or(operation.invocation).line;
        for micro in operation.value().untagged().as_list().unwrap_or_default() {
            let Some((f, key, value)) = function(micro) else {
                return Err(TransactionsError::NotUnderstood { line, found: format!("{micro}") });
            };
            let key = self.key(key);
            match (f, value.untagged()) {
                (Function::Append, value) => {
                    let value = self.value(value);
                    self.builder.push(MicroOp::Append(key, value));
                }
                (Function::Write, value) => {
                    let value = self.value(value);
                    self.builder.push(MicroOp::Write(key, value));
                }
                (Function::Read, _) if !is_ok => self.builder.push(MicroOp::Unread(key)),
                (Function::Read, Datum::Nil) => self.builder.push(MicroOp::Read(key, None)),
                (Function::Read, Datum::List(elements)) => {
                    let elements: Vec<Value> = elements.iter().map(|element| self.value(element)).collect();
                    self.builder.read_list(key, elements);
                }
                (Function::Read, value) => {
                    let value = self.value(value);
                    self.builder.push(MicroOp::Read(key, Some(value)));
                }
            }
        }
        let completed = if operation.outcome == Outcome::Info { None } else { operation.ended.map(u64::from) };
        self.builder.end(operation.outcome, completed);
        Ok(())
    }

    /// Adds the write of a register, or the read of one.
    pub(crate) fn register(&mut self, write: bool, key: &Datum, value: &Datum, is_ok: bool) {
        let key = self.key(key);
        let operation = match value {
            value if write => MicroOp::Write(key, self.value(value)),
            _ if !is_ok => MicroOp::Unread(key),
            Datum::Nil => MicroOp::Read(key, None),
            value => MicroOp::Read(key, Some(self.value(value))),
        };
        self.builder.push(operation);
    }

    fn key(&mut self, key: &Datum) -> Key {
        let small = key.as_int().filter(|number| (0..SMALL_KEYS).contains(number));
        let Some(small) = small else { return self.builder.key(&text(key)) };
        let small = small as usize;
        if self.small_keys.len() <= small {
            self.small_keys.resize(small + 1, None);
        }
        let builder = &mut self.builder;
        *self.small_keys[small].get_or_insert_with(|| builder.key(&small.to_string()))
    }

    fn value(&mut self, value: &Datum) -> Value {
        match value {
            Datum::Int(number) => self.builder.integer(*number),
            other => self.builder.value(&text(other)),
        }
    }
}

/// Names as they are, everything else as it is written.
fn text(datum: &Datum) -> String {
    match datum {
        Datum::Keyword(name) | Datum::Symbol(name) => name.to_string(),
        Datum::Str(text) if text.parse::<i64>().is_err() => text.to_string(),
        other => format!("{other}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::import::{ImportOptions, read_recording};
    use crate::transactions::{TransactionHistory, notation};

    fn converted(text: &str) -> String {
        let recording = read_recording(text.as_bytes(), &ImportOptions::default()).unwrap();
        match TransactionHistory::from_recording(&recording) {
            Ok(Some(history)) => notation::written(&history),
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn transactions_of_jepsen_keep_their_reads_writes_and_outcomes() {
        let text = "{:index 0 :type :invoke :process 0 :f :txn :value [[:append 5 1] [:r 5 nil]]}\n\
             {:index 1 :type :invoke :process 1 :f :txn :value [[:w :k \"a\"] [:r 6 nil]]}\n\
             {:index 2 :type :ok :process 0 :f :txn :value [[:append 5 1] [:r 5 [1 2]]]}\n\
             {:index 3 :type :info :process 1 :f :txn :value [[:w :k \"a\"] [:r 6 nil]]}\n\
             {:index 4 :type :info :process :nemesis :f :kill :value nil}\n\
             {:index 5 :type :invoke :process 0 :f :txn :value [[:r 6 nil]]}\n\
             {:index 6 :type :ok :process 0 :f :txn :value [[:r 6 nil]]}\n";
        let expected = "p0 txn append(5,1) r(5)=[1,2] [0..2]\n\
             p1 txn w(k,a) r(6) [1..] info\n\
             p0 txn r(6)=null [5..6]\n";
        assert_eq!(converted(text), expected);
        let odd = text.replace("[:append 5 1] [:r 5 [1 2]]", "[:append 5 1] [:delete 5 nil]");
        assert!(converted(&odd).starts_with("line 3: "), "{}", converted(&odd));
    }

    #[test]
    fn registers_are_no_transactions() {
        let text = "{:type :invoke :process 0 :f :write :value 3}\n{:type :ok :process 0 :f :write :value 3}\n";
        assert_eq!(converted(text), "none");
    }

    #[test]
    fn sessions_without_times_are_untimed() {
        let text = "w(0,1,0,0)\nw(1,2,0,0)\nr(0,1,1,1)\n";
        assert_eq!(converted(text).lines().last(), Some("untimed"));
    }
}
