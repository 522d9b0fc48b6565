//! Generators of client operations, each naming its checkers. Pure: parameters and a seed in, operations out.

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

/// A workload with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkloadSpec {
    /// Registers: put, get and delete on a few keys.
    Register(RegisterSpec),
}

/// Parameters of the register workload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterSpec {}

/// One operation of a client. Values are unique per key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read a key.
    Read {
        /// The key.
        key: String,
    },
    /// Write a value that is written only once under this key.
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
