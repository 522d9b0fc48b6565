//! JSON lines, fields in the order of this program's own histories. Keywords, symbols and characters become strings, sets
//! become arrays, tags are left out, keys of maps that are no names are written as their EDN text.

use std::io::Write as _;

use crate::record::{Datum, Process, Record};

pub(super) fn write(record: &Record, line: &mut Vec<u8>) {
    let written = (|| {
        write!(line, "{{\"index\":{}", record.index)?;
        if let Some(time) = record.time {
            write!(line, ",\"time\":{time}")?;
        }
        write!(line, ",\"type\":\"{}\",\"process\":", record.kind.as_str())?;
        match &record.process {
            Process::Client(number) => write!(line, "{number}")?,
            Process::Named(name) => string(name, line),
            Process::Unnamed => write!(line, "null")?,
        }
        write!(line, ",\"f\":")?;
        string(&record.f, line);
        if let Some(key) = &record.key {
            write!(line, ",\"key\":")?;
            datum(key, line);
        }
        write!(line, ",\"value\":")?;
        datum(&record.value, line);
        if let Some(node) = &record.node {
            write!(line, ",\"node\":")?;
            string(node, line);
        }
        if let Some(error) = &record.error {
            write!(line, ",\"error\":")?;
            datum(error, line);
        }
        write!(line, "}}")
    })();
    written.expect("a line is written to memory");
}

fn string(text: &str, line: &mut Vec<u8>) {
    serde_json::to_writer(line, text).expect("a string is written to memory");
}

fn datum(value: &Datum, line: &mut Vec<u8>) {
    match value {
        Datum::Nil => line.extend_from_slice(b"null"),
        Datum::Bool(value) => line.extend_from_slice(if *value { b"true" } else { b"false" }),
        Datum::Int(number) => line.extend_from_slice(number.to_string().as_bytes()),
        Datum::Float(number) if number.is_finite() => line.extend_from_slice(format!("{number:?}").as_bytes()),
        Datum::Exact(text) if is_json_integer(text) => line.extend_from_slice(text.as_bytes()),
        Datum::Float(_) | Datum::Exact(_) => string(&value.to_string(), line),
        Datum::Char(letter) => string(letter.encode_utf8(&mut [0; 4]), line),
        Datum::Str(text) | Datum::Keyword(text) | Datum::Symbol(text) => string(text, line),
        Datum::List(items) | Datum::Set(items) => {
            line.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    line.push(b',');
                }
                datum(item, line);
            }
            line.push(b']');
        }
        Datum::Map(entries) => {
            line.push(b'{');
            for (at, (key, value)) in entries.iter().enumerate() {
                if at > 0 {
                    line.push(b',');
                }
                match key.as_name() {
                    Some(name) => string(name, line),
                    None => string(&key.to_string(), line),
                }
                line.push(b':');
                datum(value, line);
            }
            line.push(b'}');
        }
        Datum::Tagged(_, value) => datum(value, line),
    }
}

fn is_json_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.len() > 1 && !digits.starts_with('0')
}
