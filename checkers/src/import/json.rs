//! Operations as JSON (RFC 8259): one object per line, or one array of objects. Names are strings where EDN has keywords.

use super::edn::{Cursor, DEPTH_MAX, escape, is_delimiter, shown, whole};
use super::fields::{Draft, Fields};
use super::jepsen_edn::Piece;
use super::source::{Parsed, Stop, wrong};
use crate::record::{Datum, Names, Record};

/// Skips to the next piece. Inside of an array that includes the comma before it.
pub(super) fn blank(window: &[u8], ended: bool, inside: bool) -> Parsed<(usize, ())> {
    let mut at = skip(window, 0);
    if inside && window.get(at) == Some(&b',') {
        at = skip(window, at + 1);
    }
    if at == window.len() && !ended { Err(Stop::More) } else { Ok((at, ())) }
}

/// The next piece of a file.
pub(super) fn piece(window: &[u8], ended: bool, inside: bool, fields: &mut Fields) -> Parsed<(usize, Piece)> {
    let (start, ()) = blank(window, ended, inside)?;
    match window.get(start) {
        Some(b'{') => {
            // Nothing but a bracket ends a record, so a word that the end of the file touches is cut off.
            let mut cursor = Cursor::new(window, false);
            cursor.at = start;
            let (record, indexed) = record(&mut cursor, fields)?;
            Ok((cursor.at, Piece::Record(Box::new(record), indexed)))
        }
        Some(b'[') if !inside => Ok((start + 1, Piece::Open(b']'))),
        Some(b']') if inside => Ok((start + 1, Piece::Close)),
        Some(_) => wrong(
            start,
            format!(
                "{} where an operation was expected, such as \
                 {{\"index\":0,\"time\":12,\"type\":\"invoke\",\"process\":3,\"f\":\"write\",\"key\":\"k1\",\"value\":7}}",
                shown(window, start)
            ),
        ),
        None if ended && !inside => Ok((start, Piece::End)),
        None => Err(Stop::More),
    }
}

fn skip(window: &[u8], from: usize) -> usize {
    let blank = window[from..].iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t'));
    from + blank.count()
}

fn record(cursor: &mut Cursor<'_>, fields: &mut Fields) -> Parsed<(Record, bool)> {
    let start = cursor.at;
    let mut draft = Draft::default();
    let mut escaped = String::new();
    object(cursor, &mut escaped, |cursor, name| {
        let value_at = skip(cursor.bytes, cursor.at);
        let value = match (name, cursor.bytes.get(value_at)) {
            // What comes again in many records is kept once.
            ("type" | "f" | "key" | "node" | "process", Some(b'"')) => {
                cursor.at = value_at;
                let mut escaped = String::new();
                let text = string(cursor, &mut escaped)?;
                Datum::Str(fields.names.get(text.unwrap_or(&escaped)))
            }
            _ => datum(cursor, &mut fields.names, 1)?,
        };
        fields.set(&mut draft, name, value, value_at)
    })?;
    fields.finish(draft, start)
}

/// Goes through the entries of an object; the cursor stands before each value in turn.
fn object<'a>(
    cursor: &mut Cursor<'a>,
    escaped: &mut String,
    mut entry: impl FnMut(&mut Cursor<'a>, &str) -> Parsed<()>,
) -> Parsed<()> {
    cursor.at += 1;
    let mut first = true;
    loop {
        cursor.at = skip(cursor.bytes, cursor.at);
        match (cursor.peek()?, first) {
            (b'}', _) => {
                cursor.at += 1;
                return Ok(());
            }
            (b',', false) => cursor.at = skip(cursor.bytes, cursor.at + 1),
            (_, true) => {}
            _ => return wrong(cursor.at, format!("{}: expected `,` or `}}`", shown(cursor.bytes, cursor.at))),
        }
        first = false;
        if cursor.peek()? != b'"' {
            return wrong(cursor.at, format!("{}: expected a name in quotes", shown(cursor.bytes, cursor.at)));
        }
        let name = string(cursor, escaped)?;
        cursor.at = skip(cursor.bytes, cursor.at);
        if cursor.peek()? != b':' {
            return wrong(cursor.at, format!("{}: expected `:` after the name", shown(cursor.bytes, cursor.at)));
        }
        cursor.at += 1;
        match name {
            Some(name) => entry(cursor, name)?,
            None => entry(cursor, &escaped.clone())?,
        }
    }
}

/// Any value.
pub(super) fn datum(cursor: &mut Cursor<'_>, names: &mut Names, depth: usize) -> Parsed<Datum> {
    if depth > DEPTH_MAX {
        return wrong(cursor.at, format!("it is nested more than {DEPTH_MAX} deep: this is no history"));
    }
    cursor.at = skip(cursor.bytes, cursor.at);
    let start = cursor.at;
    match cursor.peek()? {
        b'"' => {
            let mut escaped = String::new();
            let text = string(cursor, &mut escaped)?;
            Ok(match text.unwrap_or(&escaped) {
                // Such as the `append` of a micro-operation.
                word if word.len() <= 8 && word.bytes().all(|byte| byte.is_ascii_lowercase()) => {
                    Datum::Str(names.get(word))
                }
                text => Datum::text(text),
            })
        }
        b'[' => {
            cursor.at += 1;
            let mut items = Vec::new();
            loop {
                cursor.at = skip(cursor.bytes, cursor.at);
                match cursor.peek()? {
                    b']' => {
                        cursor.at += 1;
                        return Ok(Datum::List(items));
                    }
                    b',' if !items.is_empty() => cursor.at += 1,
                    _ if items.is_empty() => {}
                    _ => return wrong(cursor.at, format!("{}: expected `,` or `]`", shown(cursor.bytes, cursor.at))),
                }
                items.push(datum(cursor, names, depth + 1)?);
            }
        }
        b'{' => {
            let mut entries = Vec::new();
            object(cursor, &mut String::new(), |cursor, name| {
                let key = Datum::Str(names.get(name));
                entries.push((key, datum(cursor, names, depth + 1)?));
                Ok(())
            })?;
            entries.sort();
            Ok(Datum::Map(entries))
        }
        b'-' | b'0'..=b'9' => number(cursor, start),
        b'a'..=b'z' => match token(cursor)? {
            b"null" => Ok(Datum::Nil),
            b"true" => Ok(Datum::Bool(true)),
            b"false" => Ok(Datum::Bool(false)),
            _ => wrong(start, "expected a value: null, true, false, a number, or what begins with \", [ or {"),
        },
        _ => wrong(start, format!("{}: expected a value", shown(cursor.bytes, start))),
    }
}

fn token<'a>(cursor: &mut Cursor<'a>) -> Parsed<&'a [u8]> {
    let rest = &cursor.bytes[cursor.at..];
    let end = match rest.iter().position(|byte| is_delimiter(*byte) || *byte == b':') {
        Some(end) => end,
        None if cursor.ended => rest.len(),
        None => return Err(Stop::More),
    };
    cursor.at += end;
    Ok(&rest[..end])
}

fn number(cursor: &mut Cursor<'_>, start: usize) -> Parsed<Datum> {
    let token = token(cursor)?;
    let digits = token.strip_prefix(b"-").unwrap_or(token);
    let leading_zero = matches!(digits, [b'0', b'0'..=b'9', ..]);
    if !leading_zero && let Some(number) = whole(token) {
        return Ok(Datum::Int(number));
    }
    let text = String::from_utf8_lossy(token);
    let valid = digits.first().is_some_and(u8::is_ascii_digit) && digits.last().is_some_and(u8::is_ascii_digit);
    match text.parse::<f64>() {
        Ok(_) if valid && !leading_zero && digits.iter().all(u8::is_ascii_digit) => {
            Ok(Datum::Exact(text.as_ref().into()))
        }
        Ok(number) if valid && !leading_zero => Ok(Datum::Float(number)),
        _ => wrong(start, format!("`{text}` is no number")),
    }
}

/// A string as it stands in the file, or, where it has escapes, in `escaped`.
fn string<'a>(cursor: &mut Cursor<'a>, escaped: &mut String) -> Parsed<Option<&'a str>> {
    escaped.clear();
    let (mut at, mut any) = (cursor.at + 1, false);
    loop {
        let plain = at;
        let rest = cursor.bytes.get(at..).unwrap_or_default();
        let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).ok_or(Stop::More)?;
        at += end;
        let text = match std::str::from_utf8(&rest[..end]) {
            Ok(text) => text,
            Err(error) => return wrong(plain + error.valid_up_to(), "this is no UTF-8 text"),
        };
        match rest[end] {
            b'"' => {
                cursor.at = at + 1;
                if !any {
                    return Ok(Some(text));
                }
                escaped.push_str(text);
                return Ok(None);
            }
            b'\\' => {
                let (letter, used) = match cursor.bytes.get(at + 1) {
                    Some(b'0'..=b'7') => return wrong(at, "unknown escape in a string"),
                    _ => escape(cursor.bytes, at)?,
                };
                escaped.push_str(text);
                escaped.push(letter);
                at += used;
                any = true;
            }
            _ => return wrong(at, "a control character in a string must be escaped"),
        }
    }
}
