//! What a client does, and its text form: `read k7`, `write k7=311`, `delete k7`; of sets and counters `add k7=311`,
//! `update k7=311`, `remove k7`; of ranges `scan k=20`.

use std::fmt;
use std::str::FromStr;

/// What can be written for an action.
pub const ACTIONS_ALLOWED: &str = "`read KEY`, `write KEY=NUMBER`, `delete KEY`, `add KEY=NUMBER`, `update KEY=NUMBER`, \
                                   `remove KEY` or `scan PREFIX=LIMIT`";

/// Longest key, in bytes.
pub const KEY_LENGTH_MAX: usize = 128;

/// One operation of a client. Values are unique over the whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read a key.
    Read {
        /// The key.
        key: String,
    },
    /// Write a value that is written only once in a run.
    Write {
        /// The key.
        key: String,
        /// The value.
        value: u64,
    },
    /// Delete a key.
    Delete {
        /// The key.
        key: String,
    },
    /// Add an element to a set, or an amount to a counter, whatever is in it.
    Add {
        /// The key.
        key: String,
        /// The element, which is added only once in a run, or the amount.
        value: u64,
    },
    /// The same, by a write that replaces what this client has read last; where it has read nothing, as [`Action::Add`].
    Update {
        /// The key.
        key: String,
        /// The element or the amount.
        value: u64,
    },
    /// Remove from a set what this client has read last; where it has read nothing, a read.
    Remove {
        /// The key.
        key: String,
    },
    /// Read all keys that begin so, in order, up to a limit.
    Scan {
        /// How the keys begin.
        key: String,
        /// Most rows.
        limit: u64,
    },
}

impl Action {
    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            Action::Read { key } | Action::Write { key, .. } | Action::Delete { key } => key,
            Action::Add { key, .. } | Action::Update { key, .. } | Action::Remove { key } => key,
            Action::Scan { key, .. } => key,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Read { key } => write!(f, "read {key}"),
            Action::Write { key, value } => write!(f, "write {key}={value}"),
            Action::Delete { key } => write!(f, "delete {key}"),
            Action::Add { key, value } => write!(f, "add {key}={value}"),
            Action::Update { key, value } => write!(f, "update {key}={value}"),
            Action::Remove { key } => write!(f, "remove {key}"),
            Action::Scan { key, limit } => write!(f, "scan {key}={limit}"),
        }
    }
}

impl FromStr for Action {
    type Err = String;
    fn from_str(text: &str) -> Result<Action, String> {
        let wrong = || format!("`{text}` is no action; allowed: {ACTIONS_ALLOWED}");
        let (verb, rest) = text.split_once(' ').ok_or_else(wrong)?;
        match verb {
            "read" => Ok(Action::Read { key: parse_key(rest)? }),
            "delete" => Ok(Action::Delete { key: parse_key(rest)? }),
            "remove" => Ok(Action::Remove { key: parse_key(rest)? }),
            "write" | "add" | "update" | "scan" => {
                let (key, value) = rest.split_once('=').ok_or_else(wrong)?;
                let number = || format!("`{value}` in `{text}` is no value; allowed: a number from 0 to {}", u64::MAX);
                // One text for one value: no sign, no leading zero.
                let leading_zero = value.len() > 1 && value.starts_with('0');
                if leading_zero || !value.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(number());
                }
                let (key, value) = (parse_key(key)?, value.parse().map_err(|_| number())?);
                Ok(match verb {
                    "add" => Action::Add { key, value },
                    "update" => Action::Update { key, value },
                    "scan" => Action::Scan { key, limit: value },
                    _ => Action::Write { key, value },
                })
            }
            _ => Err(wrong()),
        }
    }
}

fn parse_key(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/');
    if text.is_empty() || text.len() > KEY_LENGTH_MAX || !text.chars().all(plain) {
        return Err(format!("`{text}` is no key; allowed: 1 to {KEY_LENGTH_MAX} letters, digits and any of - _ . : /"));
    }
    Ok(text.to_owned())
}
