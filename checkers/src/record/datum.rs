//! Values as data: what EDN and JSON can say.
//!
//! Equality and order are total and structural, as Clojure's `=` on one type: `1` is not `1.0`, a float equals itself
//! even if it is no number, and the entries of maps and sets are kept sorted, so their order in the file does not matter.
//! Left out: metadata, and the difference between a list and a vector.

use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// Text that many records share.
pub type Text = Arc<str>;

/// A value.
#[derive(Clone, Debug)]
pub enum Datum {
    /// `nil`, `null`.
    Nil,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number of 64 bits.
    Int(i64),
    /// Any other exact number as it was written: `12345678901234567890N`, `2/3`, `1.5M`.
    Exact(Text),
    /// A floating-point number.
    Float(f64),
    /// `\a`.
    Char(char),
    /// `"text"`.
    Str(Text),
    /// `:name`, `:space/name`; without the first colon.
    Keyword(Text),
    /// `name`.
    Symbol(Text),
    /// `[..]`, `(..)`.
    List(Vec<Datum>),
    /// `#{..}`, sorted.
    Set(Vec<Datum>),
    /// `{..}`, sorted by key.
    Map(Vec<(Datum, Datum)>),
    /// `#tag value`.
    Tagged(Text, Box<Datum>),
}

impl Datum {
    /// A string.
    pub fn text(text: &str) -> Datum {
        Datum::Str(text.into())
    }

    /// A keyword, its name without the colon.
    pub fn keyword(name: &str) -> Datum {
        Datum::Keyword(name.into())
    }

    /// A list of whole numbers.
    pub fn numbers(numbers: impl IntoIterator<Item = i64>) -> Datum {
        Datum::List(numbers.into_iter().map(Datum::Int).collect())
    }

    /// The number, if it is a whole one of 64 bits.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Datum::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The name, whether it was written as a keyword (EDN), a string (JSON) or a symbol.
    pub fn as_name(&self) -> Option<&str> {
        match self {
            Datum::Keyword(name) | Datum::Str(name) | Datum::Symbol(name) => Some(name),
            _ => None,
        }
    }

    /// The items of a list or vector.
    pub fn as_list(&self) -> Option<&[Datum]> {
        match self {
            Datum::List(items) => Some(items),
            _ => None,
        }
    }

    /// The items of a list, vector or set.
    pub fn items(&self) -> Option<&[Datum]> {
        match self.untagged() {
            Datum::List(items) | Datum::Set(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a map, sorted by key.
    pub fn entries(&self) -> Option<&[(Datum, Datum)]> {
        match self.untagged() {
            Datum::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The entry of a map whose key is that keyword, string or symbol.
    pub fn get(&self, name: &str) -> Option<&Datum> {
        let entries = self.entries()?;
        entries.iter().find(|(key, _)| key.as_name() == Some(name)).map(|(_, value)| value)
    }

    /// Whether it is `nil`.
    pub fn is_nil(&self) -> bool {
        *self == Datum::Nil
    }

    /// The value without its tags.
    pub fn untagged(&self) -> &Datum {
        let mut datum = self;
        while let Datum::Tagged(_, value) = datum {
            datum = value;
        }
        datum
    }

    fn rank(&self) -> u8 {
        match self {
            Datum::Nil => 0,
            Datum::Bool(_) => 1,
            Datum::Int(_) => 2,
            Datum::Exact(_) => 3,
            Datum::Float(_) => 4,
            Datum::Char(_) => 5,
            Datum::Str(_) => 6,
            Datum::Keyword(_) => 7,
            Datum::Symbol(_) => 8,
            Datum::List(_) => 9,
            Datum::Set(_) => 10,
            Datum::Map(_) => 11,
            Datum::Tagged(..) => 12,
        }
    }
}

impl Ord for Datum {
    fn cmp(&self, other: &Datum) -> Ordering {
        match (self, other) {
            (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
            (Datum::Int(a), Datum::Int(b)) => a.cmp(b),
            (Datum::Float(a), Datum::Float(b)) => a.total_cmp(b),
            (Datum::Char(a), Datum::Char(b)) => a.cmp(b),
            (Datum::Exact(a), Datum::Exact(b))
            | (Datum::Str(a), Datum::Str(b))
            | (Datum::Keyword(a), Datum::Keyword(b))
            | (Datum::Symbol(a), Datum::Symbol(b)) => a.cmp(b),
            (Datum::List(a), Datum::List(b)) | (Datum::Set(a), Datum::Set(b)) => a.cmp(b),
            (Datum::Map(a), Datum::Map(b)) => a.cmp(b),
            (Datum::Tagged(a, x), Datum::Tagged(b, y)) => a.cmp(b).then_with(|| x.cmp(y)),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Datum {
    fn partial_cmp(&self, other: &Datum) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Datum {
    fn eq(&self, other: &Datum) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Datum {}

impl std::hash::Hash for Datum {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            Datum::Nil => {}
            Datum::Bool(value) => value.hash(state),
            Datum::Int(number) => number.hash(state),
            Datum::Float(number) => number.to_bits().hash(state),
            Datum::Char(letter) => letter.hash(state),
            Datum::Exact(text) | Datum::Str(text) | Datum::Keyword(text) | Datum::Symbol(text) => text.hash(state),
            Datum::List(items) | Datum::Set(items) => items.hash(state),
            Datum::Map(entries) => entries.hash(state),
            Datum::Tagged(tag, value) => (tag, value).hash(state),
        }
    }
}

/// As EDN, on one line.
impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Datum::Nil => f.write_str("nil"),
            Datum::Bool(value) => write!(f, "{value}"),
            Datum::Int(number) => write!(f, "{number}"),
            Datum::Exact(text) | Datum::Symbol(text) => f.write_str(text),
            Datum::Float(number) => write_float(f, *number),
            Datum::Char(letter) => write_char(f, *letter),
            Datum::Str(text) => write_string(f, text),
            Datum::Keyword(name) => write!(f, ":{name}"),
            Datum::List(items) => write_items(f, "[", items, "]"),
            Datum::Set(items) => write_items(f, "#{", items, "}"),
            Datum::Map(entries) => {
                f.write_char('{')?;
                for (at, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key} {value}", if at == 0 { "" } else { ", " })?;
                }
                f.write_char('}')
            }
            Datum::Tagged(tag, value) => write!(f, "#{tag} {value}"),
        }
    }
}

fn write_items(f: &mut fmt::Formatter<'_>, open: &str, items: &[Datum], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (at, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if at == 0 { "" } else { " " })?;
    }
    f.write_str(close)
}

fn write_float(f: &mut fmt::Formatter<'_>, number: f64) -> fmt::Result {
    if number.is_nan() {
        f.write_str("##NaN")
    } else if number.is_infinite() {
        f.write_str(if number > 0.0 { "##Inf" } else { "##-Inf" })
    } else {
        // The shortest text that reads back as the same number, with its point.
        write!(f, "{number:?}")
    }
}

fn write_char(f: &mut fmt::Formatter<'_>, letter: char) -> fmt::Result {
    match letter {
        '\n' => f.write_str("\\newline"),
        '\r' => f.write_str("\\return"),
        ' ' => f.write_str("\\space"),
        '\t' => f.write_str("\\tab"),
        letter if letter.is_control() && (letter as u32) < 0x1_0000 => write!(f, "\\u{:04x}", letter as u32),
        letter => write!(f, "\\{letter}"),
    }
}

fn write_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for letter in text.chars() {
        match letter {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            letter if letter.is_control() && (letter as u32) < 0x1_0000 => write!(f, "\\u{:04x}", letter as u32)?,
            letter => f.write_char(letter)?,
        }
    }
    f.write_char('"')
}
