//! A contradiction told although its key does not fit into memory: the operations on the values that do not fit together.
//!
//! Of each value the write and four reads are enough: that which ended first, that which began last, and, since the times may
//! touch, the first and last in the file. What contradicts itself there does so in the whole history.

use std::collections::BTreeMap;

use super::pass::Passed;
use crate::registers::{Clock, Events, OPEN, RegisterOp, Registers};
use crate::table::Interner;
use crate::{Case, CheckOptions, EventType, Function, Judgement, Outcome, Verdict, find};

/// Writes of one value that are kept.
const WRITES_MAX: usize = 4;

/// The operations of interest on one value.
#[derive(Default)]
struct OfValue {
    writes: Vec<RegisterOp>,
    /// First, last, first to end, last to begin.
    reads: [Option<RegisterOp>; 4],
}

impl OfValue {
    fn add(&mut self, op: RegisterOp) {
        if op.f != Function::Read {
            if self.writes.len() < WRITES_MAX {
                self.writes.push(op);
            }
            return;
        }
        let better: [fn(&RegisterOp, &RegisterOp) -> bool; 4] =
            [|_, _| false, |_, _| true, |new, old| new.completed < old.completed, |new, old| new.invoked > old.invoked];
        for (kept, better) in self.reads.iter_mut().zip(better) {
            if kept.as_ref().is_none_or(|old| better(&op, old)) {
                *kept = Some(op);
            }
        }
    }
}

/// Judges what is suspected; `None`: it is no contradiction by itself.
pub(super) fn tell<E: Events>(
    events: &mut E,
    key: &str,
    values: &[Option<u64>],
    passed: &Passed,
    options: &CheckOptions,
) -> Result<Option<Verdict>, E::Error> {
    let mut processes = events.processes();
    let mut names = Interner::default();
    let mut found: BTreeMap<Option<u64>, OfValue> = values.iter().map(|value| (*value, OfValue::default())).collect();
    let op =
        |begun: crate::registers::Begun, event: &crate::registers::Said<'_>, session, value: Option<u64>, ended| {
            let (outcome, completed) = ended;
            RegisterOp {
                invoked: begun.invoked,
                completed,
                value: value.unwrap_or_default(),
                index: begun.index,
                process: event.process,
                session,
                key: 0,
                f: begun.f,
                outcome,
                absent: value.is_none(),
            }
        };
    events.read(|event| {
        let number = names.number(event.key);
        if event.kind == EventType::Invoke {
            return processes.begin(event, number, 0).map(|_| ());
        }
        let (session, begun) = processes.end(event, number)?;
        let ended = match event.kind {
            EventType::Ok => (Outcome::Ok, event.time),
            EventType::Fail => (Outcome::Fail, event.time),
            EventType::Info | EventType::Invoke => (Outcome::Info, OPEN),
        };
        let value = if begun.f == Function::Read { event.value } else { begun.value };
        let counts = event.key == key && (begun.f != Function::Read || ended.0 == Outcome::Ok);
        if counts && let Some(of_value) = found.get_mut(&value) {
            of_value.add(op(begun, event, session, value, ended));
        }
        Ok(())
    })?;
    let mut ops: Vec<RegisterOp> =
        found.into_values().flat_map(|of| of.writes.into_iter().chain(of.reads.into_iter().flatten())).collect();
    // Foreign indexes mean nothing; the positions that are times there do.
    let place = |op: &RegisterOp| match events.clock() {
        Clock::Nanoseconds => op.index.0,
        Clock::Positions | Clock::Nothing => op.invoked,
    };
    ops.sort_by_key(place);
    ops.dedup_by_key(|op| place(op));
    let registers = Registers {
        ops,
        keys: vec![key.into()],
        sessions: passed.sessions,
        values: events.values(),
        clock: events.clock(),
        notes: Vec::new(),
    };
    let case = Case { registers: Some(registers), ..Case::default() };
    let mut verdict = (find("linearizable").expect("it is a model").check)(&case, options);
    if verdict.judgement != Judgement::Violated {
        return Ok(None);
    }
    verdict.evidence.clear();
    verdict.count("keys_judged", passed.keys.len() as u64);
    verdict.count("operations_judged", passed.reads + passed.changes);
    verdict.count("reads_judged", passed.reads);
    verdict.explanation.push(
        "This is the first contradiction in the history; others were not counted, since its key does not fit into the memory allowed."
            .to_owned(),
    );
    Ok(Some(verdict))
}
