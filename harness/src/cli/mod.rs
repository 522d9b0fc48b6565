//! The command line: one definition per flag. Results go to stdout, progress and errors to stderr.
//!
//! Exit codes: those of [`crate::exit::Outcome`], and 64 for bad usage or a bad campaign, plan or history file.

mod check;
mod claims;
mod compare;
mod convert;
mod doctor;
mod findings;
mod foreign;
mod list;
mod overlay;
#[cfg(feature = "planted-bugs")]
mod planted;
#[cfg(feature = "planted-bugs")]
mod planted_shrink;
mod run;
mod seeds;
mod shrink;
mod shrink_real;
mod sim;
mod strongest;
mod trace;
mod unreadable;

use std::io::{ErrorKind, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};

use crate::bench;
use crate::exit::{EXIT_USAGE, Outcome};
use crate::sandbox::{self, Role};

/// Hearsay puts gossip on trial: it runs a cluster of real nodes, breaks its network, processes and disks on purpose,
/// and judges what clients saw.
#[derive(Debug, Parser)]
#[command(name = "hearsay", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What a process of a cluster understands. It stays for as long as the cluster does, two hundred times: parsed with everything
/// else that this program offers, each would keep those parts of the program in its memory.
#[derive(Debug, Parser)]
#[command(name = "hearsay", version)]
struct NodeCli {
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// Run a node
    Node(hearsay_node::cli::NodeArgs),
}

impl From<NodeCli> for Cli {
    fn from(cli: NodeCli) -> Cli {
        let NodeCommand::Node(args) = cli.command;
        Cli { command: Command::Node(args) }
    }
}

/// The arguments of this process.
fn parse() -> Result<Cli, clap::Error> {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == "node") {
        return NodeCli::try_parse().map(Cli::from);
    }
    Cli::try_parse()
}

const EXIT_CODES: &str = "\
Exit codes: 0 as expected; 1 a violation, or a node died; 2 unknown: too little evidence, a fault that never bit;
3 the replicas did not become equal; 4 nothing ran; 64 bad usage or a bad file; 70 the harness itself failed.
`kv` and `node` have their own, see their help.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a campaign, or a saved plan, against real nodes in a sandbox, or with --sim on virtual time
    Run(run::RunArgs),
    /// Judge a stored run again, or a history by itself, of other systems too
    Check(check::CheckArgs),
    /// Write a history in another format: JSON lines, Jepsen's EDN or text
    Convert(convert::ConvertArgs),
    /// Show what happened around an operation, message by message, in the simulator
    Trace(trace::TraceArgs),
    /// Shrink the plan of a run that was not as expected to the few faults and operations that matter
    Shrink(shrink::ShrinkArgs),
    /// Say what this machine can do, and what mends what it can't
    Doctor(doctor::DoctorArgs),
    /// List campaigns, checkers, faults and workloads
    List,
    /// Hunt every planted bug, and say what found it
    #[cfg(feature = "planted-bugs")]
    Planted(planted::PlantedArgs),
    /// Read and write keys of a running cluster
    Kv(hearsay_node::cli::KvArgs),
    /// Show the members of a running cluster's ring, or have one leave or removed
    Ring(hearsay_node::cli::RingArgs),
    /// Run a node
    Node(hearsay_node::cli::NodeArgs),
    /// Make the certificates of a cluster
    Certificates(hearsay_node::cli::CertificatesArgs),
    /// Measure what this build can do here, each figure beside its reference
    Bench(bench::BenchArgs),
    /// Show what the literature says of anti-entropy and gossip, each figure beside what this node's code brings
    Claims(claims::ClaimsArgs),
    /// Draw a simulated overlay before and after a part of it fails
    Overlay(overlay::OverlayArgs),
    /// Measure inside a sandbox of its own
    #[command(hide = true)]
    BenchInside(bench::BenchInsideArgs),
    /// Measure a simulated cluster of one size
    #[command(hide = true)]
    BenchSimulated(bench::BenchSimulatedArgs),
    /// Serve the echo that key-value rates are compared with
    #[command(hide = true)]
    BenchEchoServer(bench::EchoServerArgs),
}

/// The whole program. Must be called before any thread is started: it may run itself again inside a sandbox.
pub fn main() -> ExitCode {
    // A panic is the harness's own failure, whatever code the runtime would give it.
    match catch_unwind(AssertUnwindSafe(dispatch)) {
        Ok(_) if RESULTS_LOST.load(Ordering::Relaxed) => ExitCode::from(Outcome::HarnessFailed.exit_code()),
        Ok(code) => code,
        Err(_) => ExitCode::from(Outcome::HarnessFailed.exit_code()),
    }
}

fn dispatch() -> ExitCode {
    let inside = match sandbox::resume() {
        Ok(inside) => inside,
        Err(error) => return failed(&error),
    };
    // Told before the arguments are understood: a mistake in them is an answer for a program, too.
    JSON.store(std::env::args_os().any(|argument| argument == "--json"), Ordering::Relaxed);
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody to tell when even printing fails.
            let _ = error.print();
            if !error.use_stderr() {
                return ExitCode::SUCCESS;
            }
            tell_programs("bad-usage", &error, EXIT_USAGE);
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match cli.command {
        Command::Run(args) => run::run(&args, inside),
        Command::Check(args) => check::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Trace(args) => trace::run(&args),
        Command::Shrink(args) => shrink::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::List => list::run(),
        #[cfg(feature = "planted-bugs")]
        Command::Planted(args) => planted::run(&args),
        Command::Kv(args) => args.run(),
        Command::Ring(args) => args.run(),
        Command::Node(args) => args.run(),
        Command::Certificates(args) => args.run(),
        Command::Bench(args) => bench::run(&args).unwrap_or_else(|error| failed(&format!("{error:#}"))),
        Command::Claims(args) => claims::run(&args),
        Command::Overlay(args) => overlay::run(&args),
        Command::BenchInside(args) => match inside.map_or_else(sandbox::enter, |sandbox| Ok(Role::Inside(sandbox))) {
            Ok(Role::Inside(sandbox)) => {
                bench::run_inside(&args, &sandbox).unwrap_or_else(|error| failed(&format!("{error:#}")))
            }
            Ok(Role::Supervisor(code)) => code,
            Err(error) => failed(&error),
        },
        Command::BenchSimulated(args) => match bench::measure_size(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&format!("{error:#}")),
        },
        Command::BenchEchoServer(args) => match bench::serve_echo(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&format!("{error:#}")),
        },
    }
}

/// Results went nowhere: the run must not look green.
static RESULTS_LOST: AtomicBool = AtomicBool::new(false);

/// Prints to stdout. A reader that has gone away (`| head`) is no reason to end a run.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("hearsay: the results could not be written to the standard output: {error}");
            RESULTS_LOST.store(true, Ordering::Relaxed);
        }
        _ => {}
    }
}

fn print_json<T: serde::Serialize>(value: &T) {
    print(&format!("{}\n", serde_json::to_string(value).expect("reports always serialize")));
}

/// Whether results are for a program.
static JSON: AtomicBool = AtomicBool::new(false);

/// What ended the command before it had a result of its own, as the one JSON object that `--json` promises.
#[derive(serde::Serialize)]
struct Ended<'a> {
    outcome: &'a str,
    exit_code: u8,
    error: String,
}

fn tell_programs(outcome: &str, error: &dyn std::fmt::Display, exit_code: u8) {
    if JSON.load(Ordering::Relaxed) {
        print_json(&Ended { outcome, exit_code, error: error.to_string() });
    }
}

/// Something the user can mend in what was typed or written.
fn misused(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("hearsay: {error}");
    tell_programs("bad-usage", error, EXIT_USAGE);
    ExitCode::from(EXIT_USAGE)
}

/// The harness could not do its work.
fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("hearsay: {error}");
    let exit_code = Outcome::HarnessFailed.exit_code();
    tell_programs("harness-failed", error, exit_code);
    ExitCode::from(exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_fit_together() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_run_needs_a_campaign_or_a_plan_and_never_both() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        for good in [
            "hearsay run quickstart",
            "hearsay run quickstart --seed 7 --firewall iptables --json --keep-data",
            "hearsay run quickstart --seeds 20",
            "hearsay run quickstart --seed 7 --seeds 20",
            "hearsay run quickstart --sim --seed 7",
            "hearsay run quickstart --sim --seeds 20 --jobs 2 --stop-after 1 --store-all",
            "hearsay run quickstart --sim --seeds 20 --swarm --for 10m --stop-on stale-read",
            "hearsay run quickstart --for 10m --stop-after 1",
            "hearsay run quickstart --swarm --seed 3",
            "hearsay shrink store/latest --checker convergence --budget 2m",
            "hearsay run --sim --plan p.yaml",
            "hearsay run --plan p.yaml",
            "hearsay check store/latest --model convergence,availability",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in [
            "hearsay run",
            "hearsay run quickstart --plan p.yaml",
            "hearsay run --plan p.yaml --seed 7",
            "hearsay run --plan p.yaml --seeds 2",
            "hearsay run quickstart --seeds 0",
            "hearsay run quickstart --seed -1",
            "hearsay run quickstart --firewall pf",
            "hearsay run quickstart --sim --firewall iptables",
            "hearsay run quickstart --seeds 2 --jobs 2",
            "hearsay run quickstart --sim --jobs 2",
            "hearsay run --plan p.yaml --swarm",
            "hearsay run quickstart --stop-on stale-read",
            "hearsay run quickstart --sim --seeds 2 --for 10",
            "hearsay run quickstart --sim --seeds 2 --jobs 0",
            "hearsay check",
            "hearsay frobnicate",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
