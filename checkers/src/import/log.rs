//! Jepsen's text log lines: process, type, function, value and perhaps an error, between tabs or spaces.
//!
//! ```text
//! INFO  jepsen.util - 3   :invoke   :cas   [1 2]
//! 3   :info   :cas   :timed-out
//! 4   :fail   :read   nil   :timed-out
//! ```
//!
//! Anything may stand before the process (levels, loggers, times). Lines that hold no operation are counted and left out;
//! one that begins as an operation and goes on wrongly is a mistake.

use super::fields::{Fields, kind_of};
use super::jepsen_edn;
use super::source::{Parsed, Stop, wrong};
use crate::EventType;
use crate::record::{Datum, Process, Record};

/// Words of a line that are looked through for the process.
const WORDS_MAX: usize = 24;

/// The operation of a line; `None`: it holds none.
pub(super) fn line(line: &[u8], fields: &mut Fields) -> Parsed<Option<Record>> {
    let Some((process_at, process, kind_at, kind)) = beginning(line) else { return Ok(None) };
    let Some(kind) = std::str::from_utf8(&kind[1..]).ok().and_then(kind_of) else {
        let kind = String::from_utf8_lossy(kind).into_owned();
        return wrong(kind_at, format!("{kind} is no type of an event: expected :invoke, :ok, :fail or :info"));
    };
    let process = match (process[0], std::str::from_utf8(process)) {
        (b':', Ok(name)) => Process::Named(fields.names.get(&name[1..])),
        (b'0'..=b'9', Ok(number)) => match number.parse() {
            Ok(number) => Process::Client(number),
            Err(_) => return wrong(process_at, "the process is no number of 64 bits"),
        },
        (_, Ok(name)) => Process::Named(fields.names.get(name)),
        (_, Err(_)) => return wrong(process_at, "this is no UTF-8 text"),
    };
    let after_kind = kind_at + line[kind_at..].iter().position(|byte| is_gap(*byte)).unwrap_or(line.len() - kind_at);
    let f_at = skip(line, after_kind);
    let f_end = f_at + line[f_at..].iter().position(|byte| is_gap(*byte)).unwrap_or(line.len() - f_at);
    let f = match std::str::from_utf8(&line[f_at..f_end]) {
        Ok("") => return wrong(f_at, "expected a function such as :read after the type"),
        Ok(f) => fields.names.get(f.strip_prefix(':').unwrap_or(f)),
        Err(_) => return wrong(f_at, "this is no UTF-8 text"),
    };
    let mut record = Record::new(kind, process, "", Datum::Nil);
    record.f = f;
    let value_at = skip(line, f_end);
    if value_at == line.len() {
        return Ok(Some(record));
    }
    // How an operation failed may be said in words; what was asked for and what was returned must be data.
    let in_words = matches!(kind, EventType::Fail | EventType::Info);
    let (value, end) = match jepsen_edn::value(&line[value_at..], fields) {
        Ok((value, end)) => (value, value_at + end),
        Err(_) if in_words => (text(&line[value_at..]), line.len()),
        Err(Stop::Wrong { at, problem }) => return wrong(value_at + at, problem),
        Err(Stop::More) => unreachable!("a line is whole"),
    };
    let error_at = skip(line, end);
    if error_at < line.len() {
        let rest = &line[error_at..];
        record.error = Some(Box::new(match jepsen_edn::value(rest, fields) {
            Ok((error, end)) if skip(rest, end) == rest.len() => error,
            _ => text(rest),
        }));
    }
    record.value = value;
    Ok(Some(record))
}

/// Whether the line holds an operation, right or wrong.
pub(super) fn is_operation(line: &[u8]) -> bool {
    beginning(line).is_some()
}

/// The process and the type of an operation, with where they stand.
fn beginning(line: &[u8]) -> Option<(usize, &[u8], usize, &[u8])> {
    let mut before: Option<(usize, &[u8])> = None;
    let mut at = 0;
    for _ in 0..WORDS_MAX {
        at = skip(line, at);
        if at == line.len() {
            return None;
        }
        let end = at + line[at..].iter().position(|byte| is_gap(*byte)).unwrap_or(line.len() - at);
        let word = &line[at..end];
        if let Some((process_at, process)) = before
            && word[0] == b':'
            && word.len() > 1
        {
            let number = process.iter().all(u8::is_ascii_digit);
            let known = std::str::from_utf8(&word[1..]).ok().and_then(kind_of).is_some();
            let named = process[0] == b':' || process == b"nemesis";
            if (number && (known || line[process_at + process.len()] == b'\t')) || (named && known) {
                return Some((process_at, process, at, word));
            }
        }
        before = Some((at, word));
        at = end;
    }
    None
}

fn is_gap(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn skip(line: &[u8], at: usize) -> usize {
    at + line[at..].iter().take_while(|byte| is_gap(**byte)).count()
}

fn text(bytes: &[u8]) -> Datum {
    Datum::text(String::from_utf8_lossy(bytes).trim_end())
}
