//! Consistency levels, as workloads name them. The node has its own type: a workload may not import the node.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What can be written for a level.
pub const LEVELS_ALLOWED: &str = "one, two, three, quorum, all, or a number from 1 to 255";

/// What can be written for the level of writes.
pub const WRITE_LEVELS_ALLOWED: &str = "any, one, two, three, quorum, all, or a number from 1 to 255";

/// How many replicas must take part. Written `one`, `two`, `three`, `quorum`, `all`, as a plain number, or, of writes, `any`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Level {
    /// One replica.
    One,
    /// Two replicas.
    Two,
    /// Three replicas.
    Three,
    /// More than half of the replicas of the key.
    Quorum,
    /// Every replica of the key.
    All,
    /// A plain R or W.
    Count(u8),
    /// Writes only: one replica, or a hint for one.
    Any,
}

impl Level {
    /// Replicas needed when a key has `replication` of them. May exceed `replication`: such a level can't be met.
    pub fn needed(self, replication: u8) -> u8 {
        match self {
            Level::One => 1,
            Level::Two => 2,
            Level::Three => 3,
            Level::Quorum => replication / 2 + 1,
            Level::All => replication,
            Level::Count(count) => count,
            Level::Any => 1,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Level::One => f.write_str("one"),
            Level::Two => f.write_str("two"),
            Level::Three => f.write_str("three"),
            Level::Quorum => f.write_str("quorum"),
            Level::All => f.write_str("all"),
            Level::Count(count) => write!(f, "{count}"),
            Level::Any => f.write_str("any"),
        }
    }
}

impl FromStr for Level {
    type Err = String;
    fn from_str(text: &str) -> Result<Level, String> {
        match text {
            "one" => Ok(Level::One),
            "two" => Ok(Level::Two),
            "three" => Ok(Level::Three),
            "quorum" => Ok(Level::Quorum),
            "all" => Ok(Level::All),
            "any" => Ok(Level::Any),
            number => match number.parse() {
                Ok(count) if count > 0 => Ok(Level::Count(count)),
                _ => Err(format!("`{text}` is no level; allowed: {WRITE_LEVELS_ALLOWED}")),
            },
        }
    }
}

impl From<Level> for String {
    fn from(level: Level) -> String {
        level.to_string()
    }
}

impl TryFrom<String> for Level {
    type Error = String;
    fn try_from(text: String) -> Result<Level, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_round_trip() {
        for level in [
            Level::One,
            Level::Two,
            Level::Three,
            Level::Quorum,
            Level::All,
            Level::Any,
            Level::Count(1),
            Level::Count(255),
        ] {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        for bad in ["", "0", "256", "-1", "Quorum", "qurom"] {
            let message = bad.parse::<Level>().expect_err(bad);
            assert!(message.ends_with(WRITE_LEVELS_ALLOWED), "{message}");
        }
    }

    #[test]
    fn a_quorum_is_more_than_half() {
        let quorums: Vec<u8> = (1..=6).map(|replication| Level::Quorum.needed(replication)).collect();
        assert_eq!(quorums, [1, 2, 2, 3, 3, 4]);
        assert_eq!(Level::All.needed(5), 5);
        assert_eq!(Level::Count(7).needed(5), 7);
    }
}
