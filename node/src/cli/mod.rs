//! The command line: what `hearsay-node` offers, and `hearsay` under the same names.
//!
//! Every `run` prints errors to stderr and returns the process's exit code.

mod certificates;
mod kv;
mod node;
mod ring;

pub use certificates::CertificatesArgs;
pub use kv::{KvArgs, KvCommand};
pub use node::NodeArgs;
#[cfg(feature = "planted-bugs")]
pub use node::bug_name;
pub use ring::{RingArgs, RingCommand};

use std::process::ExitCode;

/// Exit code: bad usage, or a bad configuration file.
pub const EXIT_USAGE: u8 = 64;

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::from(code)
}
