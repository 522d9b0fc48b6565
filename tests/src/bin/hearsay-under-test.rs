//! The `hearsay` program, built together with the tests that run it, so that a test never meets a stale build.

use std::process::ExitCode;

fn main() -> ExitCode {
    hearsay::cli::main()
}
