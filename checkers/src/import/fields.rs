//! The fields of an operation, whether EDN or JSON named them.

use std::collections::BTreeSet;

use super::source::{Parsed, wrong};
use crate::EventType;
use crate::record::{Datum, Names, Process, Record, Text};

/// Different names of fields that are kept for the note on them.
const IGNORED_MAX: usize = 16;

/// What all records of a file have in common.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// Names of the file.
    pub(super) names: Names,
    /// Fields that mean nothing here.
    ignored: BTreeSet<Text>,
}

/// One record on its way.
#[derive(Debug, Default)]
pub(super) struct Draft {
    kind: Option<EventType>,
    process: Option<Process>,
    f: Option<Text>,
    index: Option<u64>,
    time: Option<u64>,
    key: Option<Datum>,
    value: Option<Datum>,
    node: Option<Text>,
    error: Option<Box<Datum>>,
}

impl Fields {
    /// Takes one field. `at` is where its value begins.
    pub(super) fn set(&mut self, draft: &mut Draft, name: &str, value: Datum, at: usize) -> Parsed<()> {
        match name {
            "type" => {
                let kind = value.as_name().and_then(kind_of);
                let Some(kind) = kind else {
                    return wrong(at, format!("{value} is no type of an event: expected invoke, ok, fail or info"));
                };
                draft.kind = Some(kind);
            }
            "process" => {
                draft.process = Some(match value {
                    Datum::Int(number) => match u64::try_from(number) {
                        Ok(number) => Process::Client(number),
                        Err(_) => Process::Named(number.to_string().into()),
                    },
                    Datum::Keyword(name) | Datum::Symbol(name) | Datum::Str(name) => Process::Named(name),
                    Datum::Nil => Process::Unnamed,
                    other => return wrong(at, format!("{other} is no process: expected a number or nemesis")),
                });
            }
            "f" => {
                draft.f = Some(match value {
                    Datum::Keyword(name) | Datum::Symbol(name) | Datum::Str(name) => name,
                    Datum::Nil => self.names.get(""),
                    other => return wrong(at, format!("{other} is no function: expected a name such as read")),
                });
            }
            "value" => draft.value = Some(value),
            "key" => draft.key = Some(value),
            "time" => {
                draft.time = match value {
                    Datum::Int(time) if time >= 0 => Some(time as u64),
                    Datum::Nil => None,
                    Datum::Float(time) if time >= 0.0 => Some(time as u64),
                    other => return wrong(at, format!("{other} is no time: expected nanoseconds since the start")),
                };
            }
            "index" => {
                draft.index = match value {
                    Datum::Int(index) if index >= 0 => Some(index as u64),
                    // Jepsen's mark of an operation that has none yet.
                    Datum::Int(-1) | Datum::Nil => None,
                    other => return wrong(at, format!("{other} is no index: expected a number from 0 on")),
                };
            }
            "node" => {
                draft.node = match value {
                    Datum::Keyword(name) | Datum::Symbol(name) | Datum::Str(name) => Some(name),
                    _ => None,
                }
            }
            "error" => draft.error = (!value.is_nil()).then(|| Box::new(value)),
            other => {
                if self.ignored.len() < IGNORED_MAX && !self.ignored.contains(other) {
                    self.ignored.insert(other.into());
                }
            }
        }
        Ok(())
    }

    /// The record. `at` is where it begins, for the mistakes of leaving something out.
    pub(super) fn finish(&mut self, draft: Draft, at: usize) -> Parsed<(Record, bool)> {
        let Some(kind) = draft.kind else {
            return wrong(at, "this event has no type: expected :type with :invoke, :ok, :fail or :info");
        };
        let indexed = draft.index.is_some();
        let record = Record {
            index: draft.index.unwrap_or_default(),
            time: draft.time,
            line: 0,
            kind,
            process: draft.process.unwrap_or(Process::Unnamed),
            f: draft.f.unwrap_or_else(|| self.names.get("")),
            key: draft.key,
            value: draft.value.unwrap_or(Datum::Nil),
            node: draft.node,
            error: draft.error,
        };
        Ok((record, indexed))
    }

    /// A sentence about fields that were left out.
    pub(super) fn note(&self) -> Option<String> {
        if self.ignored.is_empty() {
            return None;
        }
        let names: Vec<&str> = self.ignored.iter().map(AsRef::as_ref).collect();
        Some(format!("Left out, since no model looks at it: {}.", names.join(", ")))
    }
}

/// The type of an event by its name.
pub(super) fn kind_of(name: &str) -> Option<EventType> {
    Some(match name {
        "invoke" => EventType::Invoke,
        "ok" => EventType::Ok,
        "fail" => EventType::Fail,
        "info" => EventType::Info,
        _ => return None,
    })
}
