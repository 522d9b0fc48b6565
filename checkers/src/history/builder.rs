//! Events to operations, one event at a time, with every invariant of a history checked.
//!
//! An operation that is still open at the end is indeterminate. Times may be out of order between processes (each client
//! takes its own time stamp before it reaches the recorder), never within one.

use std::collections::BTreeMap;

use thiserror::Error;

use super::{Event, EventType, Function, History, OpIndex, Operation, Outcome, ProcessId};

/// An event that cannot be part of a history.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("event {index}: {problem}")]
pub struct HistoryError {
    /// Index of the event, as it was given.
    pub index: u64,
    /// What is wrong, and what was expected, as a sentence without its end.
    pub problem: String,
}

#[derive(Clone, Copy, Debug)]
enum ProcessState {
    /// Position of its open operation.
    Busy(usize),
    /// Time of its last completion.
    Idle(u64),
    /// Index of the operation that it was retired after.
    Retired(OpIndex),
}

/// Builds a [`History`] from a stream of events.
#[derive(Debug, Default)]
pub struct HistoryBuilder {
    operations: Vec<Operation>,
    processes: BTreeMap<ProcessId, ProcessState>,
    events: u64,
    has_collections: bool,
}

impl HistoryBuilder {
    /// Adds the next event.
    ///
    /// # Errors
    /// The event breaks an invariant; the builder is as it was before.
    pub fn push(&mut self, event: Event) -> Result<(), HistoryError> {
        let index = event.index;
        let added = if index != self.events {
            Err(format!("its index should be {}: an event is missing, doubled or out of order", self.events))
        } else if event.kind == EventType::Invoke {
            self.invoke(event)
        } else {
            self.complete(event)
        };
        match added {
            Ok(()) => {
                self.events += 1;
                Ok(())
            }
            Err(problem) => Err(HistoryError { index, problem }),
        }
    }

    /// Ends the history. Operations that are still open become [`Outcome::Info`], and a note says how many.
    pub fn finish(self) -> History {
        let open = self.processes.values().filter(|state| matches!(state, ProcessState::Busy(_))).count();
        let mut notes = Vec::new();
        if open > 0 {
            let (was, they) = if open == 1 { ("operation was", "it is") } else { ("operations were", "they are") };
            notes.push(format!("{open} {was} still open at the end of the history: {they} taken as indeterminate."));
        }
        History { operations: self.operations, has_collections: self.has_collections, notes }
    }

    fn invoke(&mut self, event: Event) -> Result<(), String> {
        let process = event.process;
        match self.processes.get(&process) {
            Some(ProcessState::Busy(open)) => {
                let open = &self.operations[*open];
                return Err(format!(
                    "{process} begins a {} while its {} ({}) is open: expected the completion of that first",
                    event.f.as_str(),
                    open.f.as_str(),
                    open.index
                ));
            }
            Some(ProcessState::Retired(last)) => {
                return Err(format!(
                    "{process} is used again after its indeterminate {last}: expected a process number of its own, \
                     since that operation may still take effect"
                ));
            }
            Some(ProcessState::Idle(since)) if event.time < *since => {
                return Err(format!(
                    "{process} begins at {} ns, before its operation before ended at {since} ns",
                    event.time
                ));
            }
            Some(ProcessState::Idle(_)) | None => {}
        }
        self.has_collections |= matches!(event.f, Function::Add | Function::Remove);
        let value = match (event.f, event.value) {
            (Function::Add, None) => return Err("an add is begun without a value: expected a number".to_owned()),
            (Function::Write, None) => return Err("a write is begun without a value: expected a number".to_owned()),
            (Function::Delete, Some(value)) => {
                return Err(format!("a delete is begun with value {value}: expected null"));
            }
            (Function::Write | Function::Add, value) => value,
            // What a reader expects is not what it read.
            (Function::Read | Function::Delete | Function::Remove | Function::Scan, _) => None,
        };
        self.processes.insert(process, ProcessState::Busy(self.operations.len()));
        self.operations.push(Operation {
            index: OpIndex(event.index),
            process,
            f: event.f,
            key: event.key,
            value,
            invoked: event.time,
            completed: None,
            outcome: Outcome::Info,
            node: event.node,
            error: event.error,
        });
        Ok(())
    }

    fn complete(&mut self, event: Event) -> Result<(), String> {
        let process = event.process;
        let kind = event.kind.as_str();
        let state = self.processes.get_mut(&process);
        let Some((state, position)) = state.and_then(|state| match *state {
            ProcessState::Busy(position) => Some((state, position)),
            ProcessState::Idle(_) | ProcessState::Retired(_) => None,
        }) else {
            return Err(format!("{process} completes ({kind}) a {} that it never began", event.f.as_str()));
        };
        let operation = &mut self.operations[position];
        if (event.f, &event.key) != (operation.f, &operation.key) {
            return Err(format!(
                "{process} completes ({kind}) a {} of {}, but its open operation is the {} of {} ({})",
                event.f.as_str(),
                event.key,
                operation.f.as_str(),
                operation.key,
                operation.index
            ));
        }
        if event.time < operation.invoked {
            return Err(format!(
                "{process} completes {} at {} ns, before it began at {} ns",
                operation.index, event.time, operation.invoked
            ));
        }
        match operation.f {
            Function::Write | Function::Add if event.value.is_some() && event.value != operation.value => {
                let f = operation.f.as_str();
                return Err(format!(
                    "{process} completes {} {f} of {}, but began to {f} {} ({})",
                    if operation.f == Function::Add { "an" } else { "a" },
                    event.value.unwrap_or_default(),
                    operation.value.unwrap_or_default(),
                    operation.index
                ));
            }
            Function::Delete if event.value.is_some() => {
                return Err("a delete is completed with a value: expected null".to_owned());
            }
            // A read that is not ok read nothing, whatever its event says.
            Function::Read if event.kind == EventType::Ok => {
                operation.value = event.value;
                self.has_collections |= event.items.is_some();
            }
            _ => {}
        }
        (operation.outcome, operation.completed) = match event.kind {
            EventType::Ok => (Outcome::Ok, Some(event.time)),
            EventType::Fail => (Outcome::Fail, Some(event.time)),
            EventType::Info => (Outcome::Info, None),
            EventType::Invoke => unreachable!("completions only"),
        };
        if event.node.is_some() {
            operation.node = event.node;
        }
        if event.error.is_some() {
            operation.error = event.error;
        }
        *state = match event.kind {
            EventType::Info => ProcessState::Retired(operation.index),
            _ => ProcessState::Idle(event.time),
        };
        Ok(())
    }
}
