//! Histories of other systems, from their files to a [`crate::record::Recording`]. One file per format.

use std::fmt;

/// A format of histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// One JSON object per line (this program's own `history.jsonl` among them), or one array of them.
    Json,
    /// Jepsen's operations as EDN: one map per line, or one vector or list of maps. Maps with a `:key` too.
    Edn,
    /// Jepsen's log lines: process, type, function, value.
    Log,
    /// `w(key,value,session,transaction)` per line, as AWDIT and Plume read them.
    Plume,
    /// `w key value` per line, `---` between transactions, `===` between sessions: AWDIT's own.
    Awdit,
    /// DBCop's JSON.
    Dbcop,
}

impl Format {
    /// What `--format` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Edn => "edn",
            Format::Log => "log",
            Format::Plume => "plume",
            Format::Awdit => "awdit",
            Format::Dbcop => "dbcop",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
