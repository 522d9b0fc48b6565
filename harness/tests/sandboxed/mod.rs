//! What test binaries without libtest have in common: they must enter a sandbox before they have any thread.

use std::fmt::Display;
use std::process::ExitCode;

use hearsay::sandbox::{self, Role, Sandbox};

/// Goes on where this process is: in a sandbox, on the way into one, or outside.
pub(crate) fn resume(outside: fn() -> ExitCode, inside: fn(&Sandbox) -> ExitCode) -> ExitCode {
    match sandbox::resume() {
        Ok(Some(sandbox)) => inside(&sandbox),
        Ok(None) if std::env::args().any(|argument| argument == "--list") => ExitCode::SUCCESS,
        Ok(None) => outside(),
        Err(error) => fail(&error),
    }
}

/// Enters a sandbox.
pub(crate) fn enter(inside: fn(&Sandbox) -> ExitCode) -> ExitCode {
    match sandbox::enter() {
        Ok(Role::Inside(sandbox)) => inside(&sandbox),
        Ok(Role::Supervisor(code)) => code,
        Err(error) => fail(&error),
    }
}

/// Says why the tests as a whole failed.
pub(crate) fn fail(why: &dyn Display) -> ExitCode {
    eprintln!("tests in sandboxes: {why}");
    ExitCode::from(101)
}

/// The arguments that are no flags: those are for libtest; cargo passes them to every test binary.
pub(crate) fn words() -> Vec<String> {
    std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect()
}
