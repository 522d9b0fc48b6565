//! What a client does, and its text form: `read k7`, `write k7=311`, `delete k7`.

use std::fmt;
use std::str::FromStr;

/// What can be written for an action.
pub const ACTIONS_ALLOWED: &str = "`read KEY`, `write KEY=NUMBER` or `delete KEY`";

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
}

impl Action {
    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            Action::Read { key } | Action::Write { key, .. } | Action::Delete { key } => key,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Read { key } => write!(f, "read {key}"),
            Action::Write { key, value } => write!(f, "write {key}={value}"),
            Action::Delete { key } => write!(f, "delete {key}"),
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
            "write" => {
                let (key, value) = rest.split_once('=').ok_or_else(wrong)?;
                let number = || format!("`{value}` in `{text}` is no value; allowed: a number from 0 to {}", u64::MAX);
                // One text for one value: no sign, no leading zero.
                let leading_zero = value.len() > 1 && value.starts_with('0');
                if leading_zero || !value.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(number());
                }
                Ok(Action::Write { key: parse_key(key)?, value: value.parse().map_err(|_| number())? })
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
