//! Extensible data notation, from bytes to [`Datum`]s (edn-format.org, and what Clojure's printer adds: ratios,
//! `##Inf`, namespaced maps, metadata).
//!
//! Whitespace, commas, `;` comments and `#_` discards may stand anywhere. Unknown tags are kept ([`Datum::Tagged`]).
//! Left out: `#<...>` of objects that can't be read back, regular expressions and quotes are mistakes.

use super::source::{Parsed, Stop, wrong};
use crate::record::{Datum, Names, Text};

/// Deepest nesting that is read: a hostile file must not overflow the stack.
pub(super) const DEPTH_MAX: usize = 128;

/// Digits that fit 64 bits whatever they are.
const SHORT_DIGITS_MAX: usize = 18;

/// A place in a window of a file.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    /// Nothing follows the window.
    pub(super) ended: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], ended: bool) -> Cursor<'a> {
        Cursor { bytes, at: 0, ended }
    }

    pub(super) fn peek(&self) -> Parsed<u8> {
        self.bytes.get(self.at).copied().ok_or(Stop::More)
    }

    /// Skips what means nothing. Stops at the end of the window too.
    pub(super) fn blank(&mut self, names: &mut Names, depth: usize) -> Parsed<()> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t' | b',' | 0x0b | 0x0c) => self.at += 1,
                Some(b';') => match self.bytes[self.at..].iter().position(|byte| *byte == b'\n') {
                    Some(end) => self.at += end + 1,
                    None if self.ended => self.at = self.bytes.len(),
                    None => return Err(Stop::More),
                },
                Some(b'#') => match self.bytes.get(self.at + 1) {
                    Some(b'_') => {
                        self.at += 2;
                        self.datum(names, depth + 1)?;
                    }
                    None if !self.ended => return Err(Stop::More),
                    _ => return Ok(()),
                },
                _ => return Ok(()),
            }
        }
    }

    /// The bytes up to the next delimiter; the first byte is taken whatever it is.
    pub(super) fn token(&mut self) -> Parsed<&'a [u8]> {
        let start = self.at;
        let rest = &self.bytes[start..];
        let end = rest.iter().skip(1).position(|byte| is_delimiter(*byte)).map(|end| end + 1);
        match end {
            Some(end) => self.at = start + end,
            None if self.ended => self.at = self.bytes.len(),
            None => return Err(Stop::More),
        }
        Ok(&self.bytes[start..self.at])
    }

    pub(super) fn text(&self, start: usize, bytes: &'a [u8]) -> Parsed<&'a str> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text),
            Err(error) => wrong(start + error.valid_up_to(), "this is no UTF-8 text"),
        }
    }

    /// One value.
    pub(super) fn datum(&mut self, names: &mut Names, depth: usize) -> Parsed<Datum> {
        if depth > DEPTH_MAX {
            return wrong(self.at, format!("it is nested more than {DEPTH_MAX} deep: this is no history"));
        }
        self.blank(names, depth)?;
        let start = self.at;
        match self.peek()? {
            b'[' => match self.digits() {
                Some(numbers) => Ok(Datum::List(numbers)),
                None => self.items(names, depth, b']').map(Datum::List),
            },
            b'(' => self.items(names, depth, b')').map(Datum::List),
            b'{' => self.map(names, depth),
            b'"' => self.string(),
            b':' => self.keyword(names),
            b'\\' => self.char(),
            b'#' => self.dispatch(names, depth),
            b'^' => {
                self.at += 1;
                self.datum(names, depth + 1)?;
                self.datum(names, depth + 1)
            }
            b'0'..=b'9' => self.number(),
            b'+' | b'-' => match self.bytes.get(start + 1) {
                Some(b'0'..=b'9') => self.number(),
                None if !self.ended => Err(Stop::More),
                _ => self.symbol(names),
            },
            close @ (b']' | b')' | b'}') => {
                wrong(start, format!("`{}` closes nothing: expected a value", char::from(close)))
            }
            b'@' | b'\'' | b'`' | b'~' | 0..=0x20 | 0x7f => {
                wrong(start, format!("{} can't begin a value", shown(self.bytes, start)))
            }
            _ => self.symbol(names),
        }
    }

    /// A vector of short numbers with a space between each two, which what is read of a list is as a rule: one allocation of
    /// the right size. `None`: it is of another form, and nothing was consumed.
    fn digits(&mut self) -> Option<Vec<Datum>> {
        let rest = &self.bytes[self.at + 1..];
        let is_of_it = |byte: &u8| byte.is_ascii_digit() || *byte == b' ';
        let end = rest.iter().position(|byte| !is_of_it(byte)).filter(|end| *end > 0 && rest[*end] == b']')?;
        let count = rest[..end].iter().filter(|byte| **byte == b' ').count() + 1;
        let mut numbers = Vec::with_capacity(count);
        for token in rest[..end].split(|byte| *byte == b' ') {
            if token.is_empty() || token.len() > SHORT_DIGITS_MAX {
                return None;
            }
            let number = token.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
            numbers.push(Datum::Int(number));
        }
        self.at += end + 2;
        Some(numbers)
    }

    fn items(&mut self, names: &mut Names, depth: usize, close: u8) -> Parsed<Vec<Datum>> {
        let start = self.at;
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.blank(names, depth)?;
            match self.peek()? {
                byte if byte == close => {
                    self.at += 1;
                    return Ok(items);
                }
                other @ (b']' | b')' | b'}') => return wrong(self.at, self.unclosed(start, other)),
                _ => items.push(self.datum(names, depth + 1)?),
            }
        }
    }

    pub(super) fn unclosed(&self, start: usize, found: u8) -> String {
        let (open, found) = (shown(self.bytes, start), char::from(found));
        format!("`{found}` where the {open} before is not closed yet")
    }

    fn map(&mut self, names: &mut Names, depth: usize) -> Parsed<Datum> {
        let start = self.at;
        let mut flat = self.items(names, depth, b'}')?;
        if flat.len() % 2 == 1 {
            return wrong(start, "this map has a key without a value");
        }
        let mut entries = Vec::with_capacity(flat.len() / 2);
        while let (Some(value), Some(key)) = (flat.pop(), flat.pop()) {
            entries.push((key, value));
        }
        entries.sort();
        Ok(Datum::Map(entries))
    }

    fn string(&mut self) -> Parsed<Datum> {
        let start = self.at + 1;
        let mut end = start;
        loop {
            match self.bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => return self.escaped_string(start, end),
                Some(_) => end += 1,
                None => return Err(Stop::More),
            }
        }
        let text = self.text(start, &self.bytes[start..end])?;
        self.at = end + 1;
        Ok(Datum::text(text))
    }

    fn escaped_string(&mut self, start: usize, first: usize) -> Parsed<Datum> {
        let mut text = self.text(start, &self.bytes[start..first])?.to_owned();
        let mut at = first;
        loop {
            let plain = at;
            while !matches!(self.bytes.get(at).ok_or(Stop::More)?, b'"' | b'\\') {
                at += 1;
            }
            text.push_str(self.text(plain, &self.bytes[plain..at])?);
            if self.bytes[at] == b'"' {
                self.at = at + 1;
                return Ok(Datum::text(&text));
            }
            let (letter, used) = escape(self.bytes, at)?;
            text.push(letter);
            at += used;
        }
    }

    fn keyword(&mut self, names: &mut Names) -> Parsed<Datum> {
        let start = self.at;
        let token = self.token()?;
        let name = self.text(start, &token[1..])?;
        if name.is_empty() {
            return wrong(start, "`:` without a name");
        }
        Ok(Datum::Keyword(names.get(name)))
    }

    fn symbol(&mut self, names: &mut Names) -> Parsed<Datum> {
        let start = self.at;
        let token = self.token()?;
        Ok(match token {
            b"nil" => Datum::Nil,
            b"true" => Datum::Bool(true),
            b"false" => Datum::Bool(false),
            _ => Datum::Symbol(names.get(self.text(start, token)?)),
        })
    }

    fn char(&mut self) -> Parsed<Datum> {
        let start = self.at;
        self.at += 1;
        self.peek()?;
        let token = self.token()?;
        let name = self.text(start + 1, token)?;
        let mut letters = name.chars();
        let letter = match (letters.next(), letters.as_str()) {
            (Some(letter), "") => Some(letter),
            _ => match name {
                "newline" => Some('\n'),
                "return" => Some('\r'),
                "space" => Some(' '),
                "tab" => Some('\t'),
                "formfeed" => Some('\u{c}'),
                "backspace" => Some('\u{8}'),
                _ => name.strip_prefix('u').filter(|hex| hex.len() == 4).and_then(from_hex).and_then(char::from_u32),
            },
        };
        match letter {
            Some(letter) => Ok(Datum::Char(letter)),
            None => wrong(start, format!("`\\{name}` is no character")),
        }
    }

    fn number(&mut self) -> Parsed<Datum> {
        let start = self.at;
        // Most numbers are a few digits and a delimiter: one walk over them.
        let (mut at, mut number) = (start, 0_i64);
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(at).copied()
            && at - start < SHORT_DIGITS_MAX
        {
            number = number * 10 + i64::from(digit - b'0');
            at += 1;
        }
        if at > start && self.bytes.get(at).copied().is_some_and(is_delimiter) {
            self.at = at;
            return Ok(Datum::Int(number));
        }
        self.long_number(start)
    }

    fn long_number(&mut self, start: usize) -> Parsed<Datum> {
        let token = self.token()?;
        if let Some(number) = whole(token) {
            return Ok(Datum::Int(number));
        }
        let text = self.text(start, token)?;
        match number(text) {
            Some(number) => Ok(number),
            None => wrong(start, format!("`{text}` is no number")),
        }
    }

    /// What begins with `#`.
    fn dispatch(&mut self, names: &mut Names, depth: usize) -> Parsed<Datum> {
        let start = self.at;
        let next = *self.bytes.get(start + 1).ok_or(Stop::More)?;
        match next {
            b'{' => {
                self.at += 1;
                let mut items = self.items(names, depth, b'}')?;
                items.sort();
                Ok(Datum::Set(items))
            }
            b'#' => {
                let token = self.token()?;
                match token {
                    b"##Inf" => Ok(Datum::Float(f64::INFINITY)),
                    b"##-Inf" => Ok(Datum::Float(f64::NEG_INFINITY)),
                    b"##NaN" => Ok(Datum::Float(f64::NAN)),
                    _ => wrong(start, "expected ##Inf, ##-Inf or ##NaN"),
                }
            }
            b':' => {
                let token = self.token()?;
                let space = self.text(start + 2, &token[2..])?.to_owned();
                match self.datum(names, depth + 1)? {
                    Datum::Map(entries) => Ok(within(&space, entries, names)),
                    _ => wrong(start, "a namespace is followed by a map"),
                }
            }
            byte if byte.is_ascii_alphabetic() || byte >= 0x80 => {
                let token = self.token()?;
                let tag = names.get(self.text(start + 1, &token[1..])?);
                let value = self.datum(names, depth + 1)?;
                Ok(Datum::Tagged(tag, Box::new(value)))
            }
            _ => wrong(start, "this `#` begins nothing that can be read back"),
        }
    }

    /// Skips the tag before a form, if there is one: `#jepsen.history.Op{..}` is its map.
    pub(super) fn skip_tag(&mut self) -> Parsed<()> {
        let tagged = self.peek()? == b'#' && {
            let next = *self.bytes.get(self.at + 1).ok_or(Stop::More)?;
            next.is_ascii_alphabetic()
        };
        if tagged {
            self.token()?;
        }
        Ok(())
    }
}

/// Keys without a namespace get that of their map.
fn within(space: &str, entries: Vec<(Datum, Datum)>, names: &mut Names) -> Datum {
    let mut qualify = |name: &Text| names.get(&format!("{space}/{name}"));
    let mut entries: Vec<(Datum, Datum)> = entries
        .into_iter()
        .map(|(key, value)| match key {
            Datum::Keyword(name) if !name.contains('/') => (Datum::Keyword(qualify(&name)), value),
            key => (key, value),
        })
        .collect();
    entries.sort();
    Datum::Map(entries)
}

pub(super) fn is_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\n' | b'\r' | b'\t' | b',' | 0x0b | 0x0c | b'[' | b']' | b'(' | b')' | b'{' | b'}' | b'"' | b';'
    )
}

/// The character at a place, as a message shows it.
pub(super) fn shown(bytes: &[u8], at: usize) -> String {
    match bytes.get(at) {
        None => "the end".to_owned(),
        Some(byte @ 0x21..=0x7e) => format!("`{}`", char::from(*byte)),
        Some(byte) => format!("byte {byte}"),
    }
}

/// A whole number in decimal digits, if it fits.
pub(super) fn whole(token: &[u8]) -> Option<i64> {
    let (negative, digits) = match token {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut number = 0_i64;
    for byte in digits {
        let digit = i64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        // Downwards: the smallest number has no opposite.
        number = number.checked_mul(10)?.checked_sub(digit)?;
    }
    if negative { Some(number) } else { number.checked_neg() }
}

/// Numbers that are not whole ones of 64 bits.
fn number(text: &str) -> Option<Datum> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(integer) = unsigned.strip_suffix('N') {
        let small = text.strip_suffix('N').and_then(|text| whole(text.as_bytes()));
        return digits(integer).then(|| small.map_or_else(|| Datum::Exact(text.into()), Datum::Int));
    }
    if let Some((above, below)) = unsigned.split_once('/') {
        return (digits(above) && digits(below)).then(|| Datum::Exact(text.into()));
    }
    if digits(unsigned) {
        return Some(Datum::Exact(text.into()));
    }
    let decimal = text.strip_suffix('M').unwrap_or(text);
    let valid = decimal.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    let number = decimal.parse::<f64>().ok().filter(|_| valid)?;
    Some(if decimal.len() < text.len() { Datum::Exact(text.into()) } else { Datum::Float(number) })
}

/// The character that an escape sequence stands for, and the length of the sequence. The same in JSON, whose own are
/// some of these.
pub(super) fn escape(bytes: &[u8], at: usize) -> Parsed<(char, usize)> {
    let letter = match *bytes.get(at + 1).ok_or(Stop::More)? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        byte @ (b'"' | b'\\' | b'/') => char::from(byte),
        b'u' => return unicode(bytes, at),
        b'0'..=b'7' => return octal(bytes, at),
        _ => return wrong(at, "unknown escape in a string: expected \\n, \\t, \\r, \\b, \\f, \\\", \\\\ or \\u0041"),
    };
    Ok((letter, 2))
}

fn octal(bytes: &[u8], at: usize) -> Parsed<(char, usize)> {
    let digits = bytes[at + 1..].iter().take(3).take_while(|byte| (b'0'..=b'7').contains(byte));
    let (mut number, mut used) = (0_u32, 1);
    for digit in digits {
        number = number * 8 + u32::from(digit - b'0');
        used += 1;
    }
    if bytes.len() == at + used {
        return Err(Stop::More);
    }
    Ok((char::from_u32(number).expect("three octal digits are a character"), used))
}

fn unicode(bytes: &[u8], at: usize) -> Parsed<(char, usize)> {
    let unit = |at: usize| -> Parsed<u32> {
        let digits = bytes.get(at..at + 4).ok_or(Stop::More)?;
        match std::str::from_utf8(digits).ok().and_then(from_hex) {
            Some(unit) => Ok(unit),
            None => wrong(at, "expected four hexadecimal digits after \\u"),
        }
    };
    let first = unit(at + 2)?;
    if let Some(letter) = char::from_u32(first) {
        return Ok((letter, 6));
    }
    if bytes.len() < at + 8 {
        return Err(Stop::More);
    }
    if first < 0xdc00 && bytes[at + 6..at + 8] == *b"\\u" {
        let second = unit(at + 8)?;
        if (0xdc00..0xe000).contains(&second) {
            let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Ok((char::from_u32(code).expect("a surrogate pair is a character"), 12));
        }
    }
    wrong(at, "half of a surrogate pair: expected the other half as \\u too")
}

fn from_hex(text: &str) -> Option<u32> {
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(text, 16).ok()
}
