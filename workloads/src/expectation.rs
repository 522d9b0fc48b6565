//! What a campaign expects a checker to say.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a checker is expected to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expectation {
    /// The model must hold.
    Holds,
    /// A violation must be found, or the harness is blind.
    Violated,
    /// Reported, not judged.
    Any,
}

impl Expectation {
    /// All of them.
    pub const ALL: [Expectation; 3] = [Expectation::Holds, Expectation::Violated, Expectation::Any];
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Expectation::Holds => "holds",
            Expectation::Violated => "violated",
            Expectation::Any => "any",
        })
    }
}

impl FromStr for Expectation {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Expectation, Self::Err> {
        let found = Expectation::ALL.into_iter().find(|expectation| expectation.to_string() == text);
        found.ok_or("an expectation is one of holds, violated, any")
    }
}
