//! `hearsay bench`: every figure that the project claims, each against a reference in the same run.
//!
//! Machines are shared and noisy: the ratio to the reference is what counts, absolute times are shown for orientation.
//! Nothing here judges a change by itself; the goals are printed beside the figures.

mod cluster;
mod dissemination;
mod echo;
mod gossip;
mod hints;
mod key_value;
pub(crate) mod local_cluster;
mod measure;
mod network;
mod recorder;
mod simulator;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use comfy_table::Table;
use serde::{Deserialize, Serialize};

use crate::sandbox::Sandbox;

pub(crate) use gossip::configuration;
pub use gossip::{Gossiped, gossiped};
pub use local_cluster::{EchoServerArgs, serve_echo};
pub use simulator::{BenchSimulatedArgs, measure_size};

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Reads and durable writes of one node against a bare QUIC echo.
    KeyValue,
    /// Quorum reads and writes of three nodes.
    Quorum,
    /// Hints handed over to a node that is back.
    Hints,
    /// Time until a sandboxed cluster serves, and what an idle node weighs.
    Cluster,
    /// Time of one partition change.
    Partition,
    /// The recorder.
    Recorder,
    /// The simulator: events per second, and what thousands of nodes cost.
    Simulator,
    /// Broadcasts: 10,000 simulated nodes, 100 and 200 real ones.
    Gossip,
}

/// Arguments of `hearsay bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// What to measure; everything when nothing is named.
    #[arg(value_enum)]
    what: Vec<What>,
    /// Seconds of each single measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Rounds of measurements that are compared pair by pair.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Requests in flight of the key-value and quorum benchmarks.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    in_flight: Vec<usize>,
    /// Print JSON lines instead of a table.
    #[arg(long)]
    json: bool,
}

impl BenchArgs {
    fn wants(&self, what: What) -> bool {
        self.what.is_empty() || self.what.contains(&what)
    }
}

/// How long and how often to measure.
struct Options {
    duration: Duration,
    rounds: usize,
    /// Requests in flight.
    in_flight: Vec<usize>,
}

/// A line of the result.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) measured: String,
    pub(crate) reference: String,
    /// Measured over reference, where the two are of one kind.
    ratio: Option<f64>,
    pub(crate) goal: Option<String>,
    pub(crate) met: Option<bool>,
}

/// Arguments of the hidden command that measures inside a sandbox of its own.
#[derive(Args, Debug)]
pub struct BenchInsideArgs {
    #[arg(value_enum)]
    what: What,
    nodes: u16,
    #[arg(long)]
    rounds: usize,
    /// Of `gossip`: how news spreads.
    #[arg(long, default_value = "plumtree")]
    protocol: String,
    /// Of `gossip`: part the halves.
    #[arg(long)]
    halves: bool,
}

/// Runs the benchmarks that were asked for and prints their figures.
///
/// # Errors
/// A benchmark that could not be measured; the figures before it are printed.
pub fn run(args: &BenchArgs) -> Result<ExitCode> {
    anyhow::ensure!(
        args.seconds > 0.0 && args.seconds.is_finite() && args.rounds > 0 && !args.in_flight.contains(&0),
        "give --seconds, --rounds and --in-flight above 0"
    );
    let duration = Duration::from_secs_f64(args.seconds);
    let options = Options { duration, rounds: args.rounds, in_flight: args.in_flight.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut all = Vec::new();
    let mut take = |figures: Vec<Figure>| {
        for figure in figures {
            if args.json {
                println!("{}", serde_json::to_string(&figure).expect("figures always serialize"));
            }
            all.push(figure);
        }
    };
    if args.wants(What::KeyValue) {
        take(runtime.block_on(key_value::against_echo(&options)).context("key-value")?);
    }
    if args.wants(What::Quorum) {
        take(runtime.block_on(key_value::quorum(&options)).context("quorum")?);
    }
    if args.wants(What::Hints) {
        take(runtime.block_on(hints::replay(&options)).context("hints")?);
    }
    for (what, sizes) in [(What::Partition, &[5_u16, 200][..]), (What::Cluster, &[5, 50, 200])] {
        if args.wants(what) {
            for &nodes in sizes {
                take(in_sandbox(what, nodes, &options)?);
            }
        }
    }
    if args.wants(What::Recorder) {
        take(recorder::recorder(&options).context("recorder")?);
    }
    if args.wants(What::Simulator) {
        take(simulator::quickstart(&options).context("simulator")?);
        take(simulator::sizes().context("simulator")?);
    }
    if args.wants(What::Gossip) {
        take(dissemination::figures().context("gossip")?);
        take(gossip::figures().context("gossip")?);
    }
    if !args.json {
        println!("{}", table(&all));
    }
    Ok(ExitCode::SUCCESS)
}

/// A sandbox holds one network, so each measurement has a process and a sandbox of its own.
fn in_sandbox(what: What, nodes: u16, options: &Options) -> Result<Vec<Figure>> {
    let name = what.to_possible_value().expect("no benchmark is hidden").get_name().to_owned();
    let output = std::process::Command::new("/proc/self/exe")
        .args(["bench-inside", &name, &nodes.to_string(), "--rounds", &options.rounds.to_string()])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    anyhow::ensure!(output.status.success(), "{name} with {nodes} nodes could not be measured: {}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("{name} with {nodes} nodes gave no figures"))
}

/// Measures one thing inside `sandbox` and prints its figures as JSON.
///
/// # Errors
/// What could not be measured.
pub fn run_inside(args: &BenchInsideArgs, sandbox: &Sandbox) -> Result<ExitCode> {
    let options = Options { duration: Duration::from_secs(1), rounds: args.rounds, in_flight: Vec::new() };
    let figures = match args.what {
        What::Partition => network::partition(sandbox, args.nodes, &options)?,
        What::Cluster => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(cluster::cluster(sandbox, args.nodes, &options))?
        }
        What::Gossip => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let gossiped = runtime.block_on(gossip::measure(sandbox, args.nodes, &args.protocol, args.halves))?;
            println!("{}", serde_json::to_string(&gossiped)?);
            return Ok(ExitCode::SUCCESS);
        }
        What::KeyValue | What::Quorum | What::Hints | What::Recorder | What::Simulator => {
            anyhow::bail!("needs no sandbox")
        }
    };
    println!("{}", serde_json::to_string(&figures)?);
    Ok(ExitCode::SUCCESS)
}

fn table(figures: &[Figure]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["what", "measured", "reference", "ratio", "goal", ""]);
    for figure in figures {
        table.add_row([
            figure.what.clone(),
            figure.measured.clone(),
            figure.reference.clone(),
            figure.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
            figure.goal.clone().unwrap_or_default(),
            match figure.met {
                Some(true) => "met".to_owned(),
                Some(false) => "NOT met".to_owned(),
                None => String::new(),
            },
        ]);
    }
    table
}
