//! Jepsen's operations as EDN: one map per line, or one vector or list of maps, in any layout; maps may be tagged
//! (`#jepsen.history.Op{..}`), their keys stand in any order. The key-value form has a `:key` beside the value.

use super::edn::{Cursor, shown};
use super::fields::{Draft, Fields};
use super::source::{Parsed, Stop, wrong};
use crate::record::{Datum, Record};

/// What comes next in a file of records.
#[derive(Debug)]
pub(super) enum Piece {
    /// A list of records begins.
    Open(u8),
    /// It ends.
    Close,
    /// A record, and whether it has an index of its own.
    Record(Box<Record>, bool),
    /// The end of the file.
    End,
}

/// Skips to the next piece, so that the line of its beginning is known.
pub(super) fn blank(window: &[u8], ended: bool, fields: &mut Fields) -> Parsed<(usize, ())> {
    let mut cursor = Cursor::new(window, ended);
    cursor.blank(&mut fields.names, 0)?;
    if cursor.at == window.len() && !ended { Err(Stop::More) } else { Ok((cursor.at, ())) }
}

/// The next piece of a file. `inside` is what closes the list that is open.
pub(super) fn piece(window: &[u8], ended: bool, inside: Option<u8>, fields: &mut Fields) -> Parsed<(usize, Piece)> {
    let mut cursor = Cursor::new(window, ended);
    cursor.blank(&mut fields.names, 0)?;
    if cursor.at == window.len() && ended && inside.is_none() {
        return Ok((cursor.at, Piece::End));
    }
    // Nothing but a bracket ends a record, so a word that the end of the file touches is cut off, whatever it says.
    cursor.ended = false;
    cursor.skip_tag()?;
    cursor.blank(&mut fields.names, 0)?;
    let start = cursor.at;
    let piece = match (cursor.peek()?, inside) {
        (b'{', _) => {
            let (record, indexed) = record(&mut cursor, fields)?;
            return Ok((cursor.at, Piece::Record(Box::new(record), indexed)));
        }
        (b'[', None) => Piece::Open(b']'),
        (b'(', None) => Piece::Open(b')'),
        (byte, Some(close)) if byte == close => Piece::Close,
        _ => {
            return wrong(
                start,
                format!(
                    "{} where an operation was expected, a map such as {{:type :invoke, :process 0, :f :read, :value nil}}",
                    shown(window, start)
                ),
            );
        }
    };
    Ok((start + 1, piece))
}

fn record(cursor: &mut Cursor<'_>, fields: &mut Fields) -> Parsed<(Record, bool)> {
    let start = cursor.at;
    cursor.at += 1;
    let mut draft = Draft::default();
    loop {
        cursor.blank(&mut fields.names, 1)?;
        match cursor.peek()? {
            b'}' => {
                cursor.at += 1;
                return fields.finish(draft, start);
            }
            other @ (b']' | b')') => return wrong(cursor.at, cursor.unclosed(start, other)),
            _ => {}
        }
        let key_at = cursor.at;
        // Names of fields come again in every record: a keyword is looked at where it stands.
        let key;
        let name = if cursor.peek()? == b':' {
            let token = cursor.token()?;
            if token.len() == 1 {
                return wrong(key_at, "`:` without a name");
            }
            Some(cursor.text(key_at, &token[1..])?)
        } else {
            key = cursor.datum(&mut fields.names, 1)?;
            key.as_name()
        };
        cursor.blank(&mut fields.names, 1)?;
        let value_at = cursor.at;
        let shown = || String::from_utf8_lossy(cursor.bytes[key_at..value_at].trim_ascii()).into_owned();
        if cursor.peek()? == b'}' {
            return wrong(key_at, format!("{} has no value: maps are keys and values", shown()));
        }
        let Some(name) = name else {
            return wrong(key_at, format!("{} is no name of a field: expected a keyword such as :type", shown()));
        };
        let value = cursor.datum(&mut fields.names, 1)?;
        fields.set(&mut draft, name, value, value_at)?;
    }
}

/// Whether the rest of a file from where a record was cut off holds another record: then it was not cut off, but lacks its
/// end.
pub(super) fn more_records(rest: &[u8]) -> bool {
    let begins = |line: &[u8]| line.trim_ascii_start().first() == Some(&b'{');
    rest.split(|byte| *byte == b'\n').skip(1).any(begins)
}

/// One value on its own, such as the value of a log line; the rest of the text must be blank. Returns the value and where
/// it ends.
pub(super) fn value(text: &[u8], fields: &mut Fields) -> Parsed<(Datum, usize)> {
    let mut cursor = Cursor::new(text, true);
    match cursor.datum(&mut fields.names, 0) {
        Ok(datum) => Ok((datum, cursor.at)),
        Err(Stop::More) => wrong(text.len(), "the value ends in the middle"),
        Err(stop) => Err(stop),
    }
}
