//! `history.jsonl` straight to compact registers: no text is kept but the names of keys.

use std::io::BufRead;

use super::events::{Events, Lines};
use super::{OPEN, RegisterOp, Registers};
use crate::table::Interner;
use crate::{EventType, Function, Outcome, ReadError};

/// Reads a history into compact form. What is wrong is refused as [`crate::read_jsonl`] does, and a last line that is cut
/// off is left out with a note.
///
/// ```
/// let text = "{\"index\":0,\"time\":5,\"type\":\"invoke\",\"process\":0,\"f\":\"write\",\"key\":\"x\",\"value\":7}\n";
/// let registers = hearsay_checkers::registers_from_jsonl(text.as_bytes()).unwrap();
/// assert_eq!((registers.ops.len(), registers.ops[0].value()), (1, Some(7)));
/// ```
///
/// # Errors
/// The first line that is no event or does not fit the ones before, with what was expected.
pub fn registers_from_jsonl(reader: impl BufRead) -> Result<Registers, ReadError> {
    registers_of_keys(&mut Lines(reader), 0, |_| true)
}

/// Any history of registers in compact form, of some keys only; `operations` is how many are expected, so that memory is asked for once. All events are
/// checked.
pub(crate) fn registers_of_keys<E: Events>(
    events: &mut E,
    operations: usize,
    mut wanted: impl FnMut(&str) -> bool,
) -> Result<Registers, E::Error> {
    const LEFT_OUT: u32 = u32::MAX;
    let mut registers = Registers { ops: Vec::with_capacity(operations), ..Registers::default() };
    let mut processes = events.processes();
    let mut keys = Interner::default();
    // By number of the key in the file: its number here.
    let mut numbers: Vec<u32> = Vec::new();
    let notes = events.read(|event| {
        let key = keys.number(event.key);
        if key as usize == numbers.len() {
            numbers.push(if wanted(event.key) {
                registers.keys.push(event.key.into());
                registers.keys.len() as u32 - 1
            } else {
                LEFT_OUT
            });
        }
        let number = numbers[key as usize];
        if event.kind == EventType::Invoke {
            let (session, begun) = processes.begin(event, key, registers.ops.len() as u32)?;
            if number != LEFT_OUT {
                registers.ops.push(RegisterOp {
                    invoked: begun.invoked,
                    completed: OPEN,
                    value: begun.value.unwrap_or_default(),
                    index: begun.index,
                    process: event.process,
                    session,
                    key: number,
                    f: begun.f,
                    outcome: Outcome::Info,
                    absent: begun.value.is_none(),
                });
            }
            return Ok(());
        }
        let (_, begun) = processes.end(event, key)?;
        if number == LEFT_OUT {
            return Ok(());
        }
        let op = &mut registers.ops[begun.token as usize];
        if op.f == Function::Read && event.kind == EventType::Ok {
            (op.value, op.absent) = (event.value.unwrap_or_default(), event.value.is_none());
        }
        (op.outcome, op.completed) = match event.kind {
            EventType::Ok => (Outcome::Ok, event.time),
            EventType::Fail => (Outcome::Fail, event.time),
            EventType::Info | EventType::Invoke => (Outcome::Info, OPEN),
        };
        Ok(())
    })?;
    registers.sessions = processes.sessions();
    registers.clock = events.clock();
    registers.values = events.values();
    registers.notes = notes.into_iter().chain(processes.note()).collect();
    Ok(registers)
}
