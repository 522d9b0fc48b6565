//! The `hearsay` program.

fn main() -> std::process::ExitCode {
    hearsay::cli::main()
}
