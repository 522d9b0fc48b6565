//! `history.jsonl`: one event a line, written as it happens, readable after a crash.
//!
//! Lines that look exactly as [`Event::write_json_line`] writes them take a path of their own, several times faster than
//! a general parser; every other line, and every mistake, goes to serde_json, so both accept the same and errors have a
//! column. Left out: other formats (they only need to produce [`Event`]s).

use std::io::{self, BufRead};

use thiserror::Error;

use super::{Event, EventType, Function, History, HistoryBuilder, HistoryError, ProcessId};

/// Longest line that is read, in bytes: a file that is no history must not fill the memory.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 20;

/// Why a history cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("line {line}: {source}")]
    Io {
        /// From 1.
        line: u64,
        /// What the system says.
        source: io::Error,
    },
    /// A line is no event.
    #[error("line {line}, column {column}: {problem}")]
    Malformed {
        /// From 1.
        line: u64,
        /// From 1, in bytes.
        column: usize,
        /// What is wrong and what was expected.
        problem: String,
    },
    /// An event is none of a history.
    #[error("line {line}: {source}")]
    History {
        /// From 1.
        line: u64,
        /// What is wrong.
        source: HistoryError,
    },
}

impl Event {
    /// Appends this event as a line of `history.jsonl`, with its newline. The same text as serde_json's, faster.
    pub fn write_json_line(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(b"{\"index\":");
        write_number(line, self.index);
        line.extend_from_slice(b",\"time\":");
        write_number(line, self.time);
        line.extend_from_slice(b",\"type\":\"");
        line.extend_from_slice(self.kind.as_str().as_bytes());
        line.extend_from_slice(b"\",\"process\":");
        write_number(line, self.process.0);
        line.extend_from_slice(b",\"f\":\"");
        line.extend_from_slice(self.f.as_str().as_bytes());
        line.extend_from_slice(b"\",\"key\":");
        write_string(line, &self.key);
        line.extend_from_slice(b",\"value\":");
        match (&self.items, self.value) {
            (Some(items), _) => serde_json::to_writer(&mut *line, items).expect("a list is written to memory"),
            (None, Some(value)) => write_number(line, value),
            (None, None) => line.extend_from_slice(b"null"),
        }
        if let Some(node) = &self.node {
            line.extend_from_slice(b",\"node\":");
            write_string(line, node);
        }
        if let Some(error) = &self.error {
            line.extend_from_slice(b",\"error\":");
            write_string(line, error);
        }
        line.extend_from_slice(b"}\n");
    }
}

/// Reads a history. A last line without a newline that is no event is the mark of a run that ended in the middle: it is
/// left out, and [`History::notes`] says so. Empty lines are skipped.
///
/// # Errors
/// The first line that is no event or does not fit the ones before, with what was expected.
pub fn read_jsonl(mut reader: impl BufRead) -> Result<History, ReadError> {
    let mut builder = HistoryBuilder::default();
    let mut buffer = Vec::with_capacity(256);
    let mut line = 0;
    let mut cut_off = None;
    loop {
        line += 1;
        buffer.clear();
        let read = io::Read::take(&mut reader, LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut buffer);
        if read.map_err(|source| ReadError::Io { line, source })? == 0 {
            break;
        }
        let complete = buffer.last() == Some(&b'\n');
        if !complete && buffer.len() > LINE_BYTES_MAX {
            let problem = format!("the line is longer than {LINE_BYTES_MAX} bytes: this is no history");
            return Err(ReadError::Malformed { line, column: LINE_BYTES_MAX, problem });
        }
        let text = buffer.trim_ascii_end();
        if text.trim_ascii_start().is_empty() {
            continue;
        }
        let event = match parse_own(text) {
            Some(event) => event,
            None => match serde_json::from_slice(text) {
                Ok(event) => event,
                Err(_) if !complete => {
                    cut_off = Some(line);
                    break;
                }
                Err(error) => return Err(malformed(line, &error)),
            },
        };
        builder.push(event).map_err(|source| ReadError::History { line, source })?;
    }
    let mut history = builder.finish();
    if let Some(line) = cut_off {
        history.notes.insert(0, format!("Line {line}, the last, is cut off and left out: the recording ended there."));
    }
    Ok(history)
}

pub(crate) fn malformed(line: u64, error: &serde_json::Error) -> ReadError {
    // serde_json says `... at line 1 column 8`, where its line is always the only one it saw.
    let text = error.to_string();
    let what = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
    let problem = format!(
        "{what}; expected an event such as {{\"index\":0,\"time\":12,\"type\":\"invoke\",\"process\":3,\"f\":\"write\",\
         \"key\":\"k1\",\"value\":7}}"
    );
    ReadError::Malformed { line, column: error.column(), problem }
}

fn write_number(line: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    line.extend_from_slice(&digits[start..]);
}

fn write_string(line: &mut Vec<u8>, text: &str) {
    if text.bytes().all(is_plain) {
        line.push(b'"');
        line.extend_from_slice(text.as_bytes());
        line.push(b'"');
    } else {
        serde_json::to_writer(line, text).expect("a string is written to memory");
    }
}

/// Whether JSON writes this byte of a string as it is.
fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte != b'"' && byte != b'\\'
}

/// An event whose texts are where they were read.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub(crate) index: u64,
    pub(crate) time: u64,
    pub(crate) kind: EventType,
    pub(crate) process: ProcessId,
    pub(crate) f: Function,
    pub(crate) key: &'a str,
    pub(crate) value: Option<u64>,
    node: Option<&'a str>,
    error: Option<&'a str>,
}

/// A line exactly as this program writes it; `None` for anything else, right or wrong.
fn parse_own(line: &[u8]) -> Option<Event> {
    let (line, rest) = parse_line(line)?;
    let Line { index, time, kind, process, f, key, value, node, error } = line;
    let (node, error) = (node.map(str::to_owned), error.map(str::to_owned));
    let items = None;
    rest.is_empty().then(|| Event { index, time, kind, process, f, key: key.to_owned(), value, items, node, error })
}

/// A line exactly as this program writes it at the beginning of a text, without its newline, and the rest of the text.
pub(crate) fn parse_line(text: &[u8]) -> Option<(Line<'_>, &[u8])> {
    let mut rest = Rest(text);
    rest.literal(b"{\"index\":")?;
    let index = rest.number()?;
    rest.literal(b",\"time\":")?;
    let time = rest.number()?;
    rest.literal(b",\"type\":")?;
    let kind = match rest.string()? {
        "invoke" => EventType::Invoke,
        "ok" => EventType::Ok,
        "fail" => EventType::Fail,
        "info" => EventType::Info,
        _ => return None,
    };
    rest.literal(b",\"process\":")?;
    let process = ProcessId(rest.number()?);
    rest.literal(b",\"f\":")?;
    let f = Function::named(rest.string()?)?;
    rest.literal(b",\"key\":")?;
    let key = rest.string()?;
    rest.literal(b",\"value\":")?;
    let value = if rest.literal(b"null").is_some() { None } else { Some(rest.number()?) };
    let mut text = |name: &[u8]| -> Option<Option<&str>> {
        if rest.literal(name).is_some() { Some(Some(rest.string()?)) } else { Some(None) }
    };
    let node = text(b",\"node\":")?;
    let error = text(b",\"error\":")?;
    rest.literal(b"}")?;
    Some((Line { index, time, kind, process, f, key, value, node, error }, rest.0))
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn literal(&mut self, literal: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(literal)?;
        Some(())
    }

    fn number(&mut self) -> Option<u64> {
        let end = self.0.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        // JSON knows no leading zero; what is malformed is for the other parser to say.
        if digits.is_empty() || (digits[0] == b'0' && digits.len() > 1) {
            return None;
        }
        let mut number = 0_u64;
        for digit in digits {
            number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        }
        self.0 = rest;
        Some(number)
    }

    fn string(&mut self) -> Option<&'a str> {
        let text = self.0.strip_prefix(b"\"")?;
        let end = text.iter().position(|byte| !is_plain(*byte))?;
        if text[end] != b'"' {
            return None;
        }
        self.0 = &text[end + 1..];
        std::str::from_utf8(&text[..end]).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Items;

    fn event() -> impl Strategy<Value = Event> {
        let kind =
            prop_oneof![Just(EventType::Invoke), Just(EventType::Ok), Just(EventType::Fail), Just(EventType::Info)];
        let f = prop_oneof![
            Just(Function::Read),
            Just(Function::Write),
            Just(Function::Delete),
            Just(Function::Add),
            Just(Function::Remove),
            Just(Function::Scan)
        ];
        let text = || {
            prop_oneof![
                Just("n3".to_owned()),
                proptest::collection::vec(any::<char>(), 0..6).prop_map(|c| c.into_iter().collect())
            ]
        };
        (
            any::<(u64, u64)>(),
            kind,
            any::<u64>(),
            f,
            text(),
            value(),
            proptest::option::of(text()),
            proptest::option::of(text()),
        )
            .prop_map(|((index, time), kind, process, f, key, (value, items), node, error)| Event {
                index,
                time,
                kind,
                process: ProcessId(process),
                f,
                key,
                value,
                items,
                node,
                error,
            })
    }

    /// A number, nothing or a list; the empty list reads back as one of numbers.
    fn value() -> impl Strategy<Value = (Option<u64>, Option<Items>)> {
        let numbers = proptest::collection::vec(any::<u64>(), 0..4);
        let rows = proptest::collection::vec((".{0,3}", any::<u64>()), 1..4);
        prop_oneof![
            any::<Option<u64>>().prop_map(|value| (value, None)),
            numbers.prop_map(|numbers| (None, Some(Items::Numbers(numbers)))),
            rows.prop_map(|rows| (None, Some(Items::Rows(rows)))),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_line_is_what_serde_writes_and_reads_back(event in event()) {
            let mut line = Vec::new();
            event.write_json_line(&mut line);
            let mut expected = serde_json::to_vec(&event).unwrap();
            expected.push(b'\n');
            prop_assert_eq!(std::str::from_utf8(&line).unwrap(), std::str::from_utf8(&expected).unwrap());
            prop_assert_eq!(serde_json::from_slice::<Event>(&line).unwrap(), event.clone());
            if let Some(own) = parse_own(line.trim_ascii()) {
                prop_assert_eq!(own, event);
            }
        }

        #[test]
        fn the_fast_way_accepts_nothing_that_serde_refuses(event in event(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut line = Vec::new();
            event.write_json_line(&mut line);
            line.pop();
            let at = at.index(line.len());
            line[at] = byte;
            if let Some(own) = parse_own(&line) {
                prop_assert_eq!(own, serde_json::from_slice::<Event>(&line).unwrap());
            }
        }
    }

    #[test]
    fn plain_lines_take_the_fast_way() {
        let line = br#"{"index":0,"time":12,"type":"invoke","process":3,"f":"write","key":"k1","value":7,"node":"n3"}"#;
        assert!(parse_own(line).is_some());
    }
}
