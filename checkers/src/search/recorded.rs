//! Recordings of registers with compare-and-set and of texts with append, taken apart by key.

use std::collections::BTreeMap;

use super::append::AppendCall;
use super::frontier::Called;
use super::register::RegisterCall;
use super::touching::Touching;
use crate::record::{Datum, RecordedOperation, Recording};
use crate::{Function, History, OpIndex, Operation, Outcome};

/// One object of a recording.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    /// Its key, as it is written; none where the recording has no keys.
    pub(crate) key: Option<String>,
    pub(crate) calls: Calls,
    /// Of each call.
    pub(crate) told: Vec<Told>,
}

/// A call as explanations write it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) index: OpIndex,
    pub(crate) process: String,
    /// Such as `read 3` or `set 1 to 2`.
    pub(crate) did: String,
}

/// The calls of an object, by its data type.
#[derive(Clone, Debug)]
pub(crate) enum Calls {
    /// Values by number; number 0 is nil.
    Register {
        calls: Vec<Called<RegisterCall>>,
        values: Vec<Datum>,
        /// Where the times of a session touch; positions in a recording never do.
        touching: Option<Touching>,
    },
    Text(Vec<Called<AppendCall>>),
}

/// The objects of a recording, or why it is no history of such objects.
pub(crate) fn objects(recording: &Recording) -> Result<Vec<Object>, String> {
    let operations = recording.operations().map_err(|error| error.to_string())?;
    let mut by_key: BTreeMap<Option<&Datum>, Vec<&RecordedOperation<'_>>> = BTreeMap::new();
    for operation in &operations.all {
        by_key.entry(operation.key()).or_default().push(operation);
    }
    by_key.into_iter().map(|(key, operations)| object(key, &operations)).collect()
}

fn is_read(operation: &Operation) -> bool {
    operation.f == Function::Read && operation.outcome == Outcome::Ok
}

/// The registers of a history, key by key.
pub(crate) fn objects_of_history(history: &History) -> Vec<Object> {
    let mut by_key: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in history.operations.iter().filter(|operation| operation.f.is_of_register()) {
        by_key.entry(&operation.key).or_default().push(operation);
    }
    let object = |(key, operations): (&str, Vec<&Operation>)| {
        let mut values: Vec<Option<u64>> = operations.iter().map(|operation| operation.value).collect();
        values.push(None);
        values.sort_unstable();
        values.dedup();
        let number = |value: Option<u64>| values.binary_search(&value).expect("every value is in") as u32;
        let (mut calls, mut told, mut sessions) = (Vec::new(), Vec::new(), Vec::new());
        let mut read: Vec<Option<u64>> = operations.iter().filter(|op| is_read(op)).map(|op| op.value).collect();
        read.sort_unstable();
        for operation in operations {
            // What may not have happened and nobody saw need not have happened.
            if operation.outcome == Outcome::Info && read.binary_search(&operation.value).is_err() {
                continue;
            }
            let call = match (operation.f, operation.outcome) {
                (_, Outcome::Fail) | (Function::Read, Outcome::Info) => continue,
                (Function::Read, _) => RegisterCall::Read(number(operation.value)),
                (Function::Write | Function::Delete, _) => RegisterCall::Write(number(operation.value)),
                (Function::Add | Function::Remove | Function::Scan, _) => continue,
            };
            let did = match operation.f {
                Function::Read => format!("read {}", crate::explain::value(operation.value)),
                Function::Write => format!("wrote {}", crate::explain::value(operation.value)),
                Function::Delete => "deleted it".to_owned(),
                other => unreachable!("{} is of no register", other.as_str()),
            };
            told.push(Told { index: operation.index, process: operation.process.to_string(), did });
            calls.push(Called { call, began: operation.invoked, ended: operation.completed, optional: false });
            sessions.push((operation.process.0, operation.invoked, operation.completed));
        }
        let values =
            values.into_iter().map(|value| value.map_or(Datum::Nil, |value| Datum::Exact(value.to_string().into())));
        let touching = Touching::new(&sessions);
        Object { key: Some(key.to_owned()), calls: Calls::Register { calls, values: values.collect(), touching }, told }
    };
    by_key.into_iter().map(object).collect()
}

fn object(key: Option<&Datum>, operations: &[&RecordedOperation<'_>]) -> Result<Object, String> {
    let is_text = operations.iter().any(|operation| operation.f() == "append");
    let mut told = Vec::new();
    let mut tell = |operation: &RecordedOperation<'_>, did: String| {
        told.push(Told { index: operation.index(), process: operation.process().to_string(), did });
    };
    let mut register = Vec::new();
    let mut text = Vec::new();
    let mut values = vec![Datum::Nil];
    let mut numbers: BTreeMap<Datum, u32> = BTreeMap::from([(Datum::Nil, 0)]);
    for operation in operations.iter().filter(|operation| operation.outcome != Outcome::Fail) {
        let (began, ended) = (u64::from(operation.began), operation.ended.map(u64::from));
        let problem = |expected: &str| {
            let line = operation.invocation.line;
            Err(format!("line {line}: a {} of {}: expected {expected}", operation.f(), operation.value()))
        };
        let mut number = |value: &Datum| {
            let known = numbers.len() as u32;
            let number = *numbers.entry(value.clone()).or_insert(known);
            if number == known {
                values.push(value.clone());
            }
            number
        };
        // A get that found nothing says so in one of two ways.
        let letters = |value: &Datum| match value {
            Datum::Nil => Some(Box::from("")),
            Datum::Str(text) => Some(Box::from(&**text)),
            _ => None,
        };
        match operation.f() {
            "read" | "r" | "get" => {
                let Some(value) = operation.result() else { continue };
                tell(operation, format!("read {value}"));
                if !is_text {
                    register.push(Called { call: RegisterCall::Read(number(value)), began, ended, optional: false });
                } else if let Some(value) = letters(value) {
                    text.push(Called { call: AppendCall::Get(value), began, ended, optional: false });
                } else {
                    return problem("a text");
                }
            }
            "write" | "w" | "put" => {
                let value = operation.argument();
                tell(operation, format!("wrote {value}"));
                if !is_text {
                    register.push(Called { call: RegisterCall::Write(number(value)), began, ended, optional: false });
                } else if let Some(value) = letters(value) {
                    text.push(Called { call: AppendCall::Put(value), began, ended, optional: false });
                } else {
                    return problem("a text");
                }
            }
            "append" => {
                let Some(value) = letters(operation.argument()) else { return problem("a text") };
                tell(operation, format!("appended {}", operation.argument()));
                text.push(Called { call: AppendCall::Append(value), began, ended, optional: false });
            }
            "cas" | "compare-and-set" if !is_text => {
                let Some([from, to]) = operation.argument().items() else {
                    return problem("a pair of the value expected and the new one");
                };
                tell(operation, format!("set {to} in place of {from}"));
                let call = RegisterCall::CompareAndSet(number(from), number(to));
                register.push(Called { call, began, ended, optional: false });
            }
            "delete" | "d" if !is_text => {
                tell(operation, "deleted it".to_owned());
                register.push(Called { call: RegisterCall::Write(0), began, ended, optional: false });
            }
            other => {
                let line = operation.invocation.line;
                return Err(format!(
                    "line {line}: `{other}` is no function of a register or text: expected read, write, cas, append or delete"
                ));
            }
        }
    }
    let calls = if is_text { Calls::Text(text) } else { Calls::Register { calls: register, values, touching: None } };
    Ok(Object { key: key.map(ToString::to_string), calls, told })
}
