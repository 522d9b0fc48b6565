//! What is wrong with a campaign file: every mistake with its line and column, what is allowed there, and the mend.

use std::fmt;

use crate::input::{cut_around, cut_lines};

/// A place in a file, both from 1. The column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: u64,
    /// Column.
    pub column: u64,
}

impl From<serde_yaml::Location> for Place {
    fn from(location: serde_yaml::Location) -> Place {
        Place { line: location.line().max(1), column: location.column().max(1) }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub what: String,
    /// What may stand there.
    pub allowed: Option<String>,
    /// How to mend it.
    pub mend: Option<String>,
}

impl Mistake {
    pub(super) fn new(place: Place, what: impl Into<String>) -> Mistake {
        Mistake { place, what: cut_lines(&what.into()), allowed: None, mend: None }
    }

    pub(super) fn allowed(mut self, allowed: impl Into<String>) -> Mistake {
        self.allowed = Some(allowed.into());
        self
    }

    pub(super) fn mend(mut self, mend: impl Into<String>) -> Mistake {
        self.mend = Some(mend.into());
        self
    }
}

/// All mistakes of a file, in the order of their places. Shown as
///
/// ```text
/// my.yaml:9:17: write_level `three` needs 3 replicas, but there are 2 of each key
///   9 |     write_level: three
///     |                  ^
///   allowed: one, two, quorum, all, or a number from 1 to 2
///   mend: raise cluster.replication to 3, or lower the level
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes {
    /// How the file was named.
    pub file: String,
    /// At least one.
    pub mistakes: Vec<Mistake>,
    lines: Vec<String>,
}

impl Mistakes {
    pub(super) fn new(file: &str, text: &str, mut mistakes: Vec<Mistake>) -> Mistakes {
        assert!(!mistakes.is_empty(), "a report of no mistakes");
        mistakes.sort_by_key(|mistake| mistake.place);
        Mistakes { file: file.to_owned(), mistakes, lines: text.lines().map(str::to_owned).collect() }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, mistake) in self.mistakes.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            let Place { line, column } = mistake.place;
            write!(f, "{}:{line}:{column}: {}", self.file, mistake.what)?;
            let index = usize::try_from(line - 1).unwrap_or(usize::MAX);
            if let Some(text) = self.lines.get(index) {
                let text = text.trim_end();
                let column = usize::try_from(column).unwrap_or(1).min(text.chars().count() + 1);
                let (text, column) = cut_around(text, column);
                let (number, indent) = (line.to_string(), column - 1);
                write!(f, "\n  {number} | {text}")?;
                write!(f, "\n  {:width$} | {:indent$}^", "", "", width = number.len())?;
            }
            if let Some(allowed) = &mistake.allowed {
                write!(f, "\n  allowed: {allowed}")?;
            }
            if let Some(mend) = &mistake.mend {
                write!(f, "\n  mend: {mend}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
