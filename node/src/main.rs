//! The program `hearsay-node`: a node, and what belongs to running one by hand.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use hearsay_node::cli::{CertificatesArgs, EXIT_USAGE, KvArgs, NodeArgs, RingArgs};

/// A node of a Hearsay cluster.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Arguments {
    #[command(flatten)]
    node: Option<NodeArgs>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Kv(KvArgs),
    Ring(RingArgs),
    Certificates(CertificatesArgs),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing can be done about a closed terminal.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match (arguments.command, arguments.node) {
        (Some(Command::Kv(arguments)), _) => arguments.run(),
        (Some(Command::Ring(arguments)), _) => arguments.run(),
        (Some(Command::Certificates(arguments)), _) => arguments.run(),
        (None, Some(arguments)) => arguments.run(),
        (None, None) => {
            eprintln!("error: give --config FILE, or a subcommand; see --help");
            ExitCode::from(EXIT_USAGE)
        }
    }
}
