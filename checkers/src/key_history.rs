//! A history taken apart by key, and what is certain about each version.
//!
//! Positions are `u32` indices into [`History::operations`]. Only effects that may have happened are kept: writes and
//! deletes that are ok or info, and reads that are ok.

use std::collections::BTreeMap;

use crate::{Function, History, Operation, Outcome};

/// The operations on one key.
#[derive(Debug)]
pub(crate) struct KeyHistory<'h> {
    pub(crate) key: &'h str,
    pub(crate) operations: &'h [Operation],
    /// Writes that are ok or info, by value.
    pub(crate) writes: Vec<u32>,
    /// Writes that certainly did not happen, by value.
    pub(crate) failed_writes: Vec<u32>,
    /// Deletes that are ok or info, by invocation.
    pub(crate) deletes: Vec<u32>,
    /// Reads that are ok, in the order of the history.
    pub(crate) reads: Vec<u32>,
    /// Two writes of one value: reads-from is not known.
    pub(crate) doubled: Option<(u32, u32)>,
}

/// What a value that was read or found stored says about its write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Position in [`KeyHistory::writes`] of the write that it came from.
    Written(u32),
    /// The only write of it, an operation, began after it was seen.
    LaterWrite(u32),
    /// The only write of it, an operation, certainly did not happen.
    FailedWrite(u32),
    /// Nobody wrote it.
    Nobody,
}

/// Takes a history apart, keys in order.
///
/// # Panics
/// The history has 2^32 operations or more.
pub(crate) fn by_key(history: &History) -> Vec<KeyHistory<'_>> {
    let operations = history.operations.as_slice();
    assert!(u32::try_from(operations.len()).is_ok(), "a history of 2^32 operations or more is not supported");
    let mut keys: BTreeMap<&str, KeyHistory<'_>> = BTreeMap::new();
    let of_registers = operations.iter().enumerate().filter(|(_, operation)| operation.f.is_of_register());
    for (position, operation) in of_registers {
        let key = keys.entry(&operation.key).or_insert_with(|| KeyHistory {
            key: &operation.key,
            operations,
            writes: Vec::new(),
            failed_writes: Vec::new(),
            deletes: Vec::new(),
            reads: Vec::new(),
            doubled: None,
        });
        match (operation.f, operation.outcome) {
            (Function::Write, Outcome::Fail) => &mut key.failed_writes,
            (Function::Write, _) => &mut key.writes,
            (Function::Delete, Outcome::Ok | Outcome::Info) => &mut key.deletes,
            (Function::Read, Outcome::Ok) => &mut key.reads,
            (Function::Delete | Function::Read, _) => continue,
            (Function::Add | Function::Remove | Function::Scan, _) => unreachable!("operations on registers only"),
        }
        .push(position as u32);
    }
    let mut keys: Vec<KeyHistory<'_>> = keys.into_values().collect();
    for key in &mut keys {
        let operation = |position: &u32| &operations[*position as usize];
        key.writes.sort_by_key(|position| (operation(position).value, *position));
        key.failed_writes.sort_by_key(|position| (operation(position).value, *position));
        key.deletes.sort_by_key(|position| (operation(position).invoked, *position));
        key.doubled = key
            .writes
            .windows(2)
            .find(|pair| operation(&pair[0]).value == operation(&pair[1]).value)
            .map(|pair| (pair[0], pair[1]));
    }
    keys
}

impl<'h> KeyHistory<'h> {
    /// The operation at a position.
    pub(crate) fn operation(&self, position: u32) -> &'h Operation {
        &self.operations[position as usize]
    }

    /// Where a value comes from that was seen at `seen` (nanoseconds) at the latest.
    pub(crate) fn origin(&self, value: u64, seen: u64) -> Origin {
        let find = |writes: &[u32]| writes.binary_search_by_key(&Some(value), |write| self.operation(*write).value);
        match find(&self.writes) {
            Ok(at) if self.operation(self.writes[at]).invoked > seen => Origin::LaterWrite(self.writes[at]),
            Ok(at) => Origin::Written(at as u32),
            Err(_) => match find(&self.failed_writes) {
                Ok(at) => Origin::FailedWrite(self.failed_writes[at]),
                Err(_) => Origin::Nobody,
            },
        }
    }

    /// Where the value comes from that this operation, which is ok, returned or wrote. A session is sequential, so it can't
    /// have read what it wrote later, which times that touch do not show.
    pub(crate) fn origin_for(&self, operation: &Operation, value: u64) -> Origin {
        let done = operation.completed.expect("operations that are ok are complete");
        match self.origin(value, done) {
            Origin::Written(at) => {
                let write = self.operation(self.writes[at as usize]);
                let later = write.process == operation.process && write.index > operation.index;
                if later { Origin::LaterWrite(self.writes[at as usize]) } else { Origin::Written(at) }
            }
            other => other,
        }
    }

    /// A sentence for a key whose values are not unique.
    pub(crate) fn doubled_sentence(&self) -> Option<String> {
        let (first, second) = self.doubled?;
        let (first, second) = (self.operation(first), self.operation(second));
        Some(format!(
            "Key {}: {} was written twice ({} and {}), so it is not known which write a read saw: values must be unique \
             per key.",
            self.key,
            first.value.unwrap_or_default(),
            first.index,
            second.index
        ))
    }

    /// For each write (as in [`KeyHistory::writes`]): when it had certainly taken effect (nanoseconds, `u64::MAX` when that
    /// is not known) and the operation that shows it, its acknowledgement or a read of its value.
    pub(crate) fn settled_writes(&self) -> Vec<(u64, u32)> {
        let acknowledged = |write: &u32| (self.operation(*write).acknowledged().unwrap_or(u64::MAX), *write);
        let mut settled: Vec<(u64, u32)> = self.writes.iter().map(acknowledged).collect();
        for read in &self.reads {
            let operation = self.operation(*read);
            let seen = operation.completed.expect("reads that are ok are complete");
            if let Some(value) = operation.value
                && let Origin::Written(at) = self.origin_for(operation, value)
                && seen < settled[at as usize].0
            {
                settled[at as usize] = (seen, *read);
            }
        }
        settled
    }
}
