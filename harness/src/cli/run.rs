//! `hearsay run`.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::campaign::{self, PROCESSES_MAX};
use crate::exit::Outcome;
use crate::faults::FirewallKind;
use crate::plan::{Plan, make_plan};
use crate::progress::Progress;
use crate::report::{RunReport, header, render};
use crate::run::execute::execute;
use crate::run::judge::{about, report_of};
use crate::sandbox::doctor::{Needs, examine};
use crate::sandbox::{self, Sandbox};
use crate::store::{RunDirectory, write_json, write_whole};

use super::{failed, misused, print, print_json, seeds, sim};

/// Seeds that are drawn stay below, so that they can be read out and typed.
const DRAWN_SEED_END: u64 = 1_000_000_000;

/// What to run, and how.
#[derive(Clone, Debug, Args)]
pub(super) struct RunArgs {
    /// One that ships (see `hearsay list`), or a file
    #[arg(value_name = "CAMPAIGN", required_unless_present = "plan", conflicts_with = "plan")]
    pub(super) campaign: Option<String>,
    /// Draw faults and operations from this seed; without it one is drawn and printed
    #[arg(long, value_name = "S", conflicts_with = "plan")]
    pub(super) seed: Option<u64>,
    /// So many runs with seeds that follow each other, and one summary
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000), conflicts_with = "plan")]
    pub(super) seeds: Option<u64>,
    /// Execute a saved plan again
    #[arg(long, value_name = "FILE")]
    pub(super) plan: Option<PathBuf>,
    /// How links are cut
    #[arg(long, value_enum, default_value_t)]
    pub(super) firewall: FirewallKind,
    /// Where runs are kept
    #[arg(long, value_name = "DIR", default_value = "store")]
    pub(super) store: PathBuf,
    /// Print the verdict as one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// Keep the nodes' disks even when all was as expected
    #[arg(long)]
    pub(super) keep_data: bool,
    /// In one process on virtual time, bit-identical per seed, instead of real processes in a sandbox
    #[arg(long, conflicts_with_all = ["firewall", "keep_data", "end_with"])]
    pub(super) sim: bool,
    /// Simulated runs at once; without it one per core
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..=1024), requires_all = ["sim", "seeds"])]
    pub(super) jobs: Option<u16>,
    /// Start no further simulated run after so many that were not as expected
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..), requires_all = ["sim", "seeds"])]
    pub(super) stop_after: Option<u64>,
    /// Keep simulated runs that were as expected, too
    #[arg(long, requires_all = ["sim", "seeds"])]
    pub(super) store_all: bool,
    /// End with this parent process
    #[arg(long, value_name = "PID", hide = true)]
    pub(super) end_with: Option<i32>,
}

/// Runs: outside the sandbox everything is checked first, so that nothing is started in vain; inside it happens.
pub(super) fn run(args: &RunArgs, inside: Option<Sandbox>) -> ExitCode {
    if let (None, Some(parent)) = (&inside, args.end_with)
        && let Err(error) = end_with(parent)
    {
        return failed(&error);
    }
    let plan = match load(args) {
        Ok(plan) => plan,
        Err(error) => return misused(&error),
    };
    if args.sim {
        return sim::run(args, &plan);
    }
    if let Err(error) = fits_processes(&plan) {
        return misused(&error);
    }
    if args.seeds.is_some() {
        return seeds::run(args, plan.seed);
    }
    match inside {
        Some(sandbox) => run_inside(args, &plan, &sandbox),
        None => {
            let missing = examine(Needs { nodes: plan.cluster.members.len(), firewall: args.firewall });
            let missing: Vec<_> = missing.iter().filter(|check| check.hinders()).map(ToString::to_string).collect();
            if !missing.is_empty() {
                return failed(&format!("this machine can't run it, nothing was started:\n{}", missing.join("\n")));
            }
            match sandbox::supervise() {
                Ok(code) => code,
                Err(error) => failed(&error),
            }
        }
    }
}

/// The plan that is meant. With a drawn seed, another one each time.
fn load(args: &RunArgs) -> Result<Plan, String> {
    if let Some(path) = &args.plan {
        return Plan::load(path).map_err(|error| error.to_string());
    }
    let name = args.campaign.as_deref().expect("the command line asks for a campaign or a plan");
    let campaign = campaign::load(name).map_err(|error| error.to_string())?;
    Ok(make_plan(&campaign, args.seed.unwrap_or_else(drawn_seed)))
}

/// Whether there are few enough nodes for a process each.
fn fits_processes(plan: &Plan) -> Result<(), String> {
    let nodes = plan.cluster.members.len();
    if nodes <= usize::from(PROCESSES_MAX) {
        return Ok(());
    }
    Err(format!(
        "{} has {nodes} nodes, too many to run as processes: the limit is {PROCESSES_MAX}\n  mend: add --sim, or lower \
         cluster.nodes to {PROCESSES_MAX}",
        plan.campaign
    ))
}

/// Randomly keyed hashing is what the standard library has for randomness.
fn drawn_seed() -> u64 {
    RandomState::new().build_hasher().finish() % DRAWN_SEED_END
}

/// Asks the kernel for SIGKILL when the parent ends; what is inside a sandbox ends with its supervisor.
fn end_with(parent: i32) -> Result<(), String> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
        .map_err(|error| format!("can't be made to end with its parent: {error}"))?;
    // It may have ended before the kernel was asked.
    let now = nix::unistd::getppid().as_raw();
    if now == parent { Ok(()) } else { Err(format!("its parent {parent} has ended")) }
}

fn run_inside(args: &RunArgs, plan: &Plan, sandbox: &Sandbox) -> ExitCode {
    if !args.json {
        print(&format!("{}\n{}\n", header(&plan.campaign, plan.seed, crate::COMMIT), about(plan)));
    }
    let time = jiff::Zoned::now().strftime("%Y%m%dT%H%M%S").to_string();
    let directory = match RunDirectory::create(&args.store, &plan.campaign, &time, plan.seed) {
        Ok(directory) => directory,
        Err(error) => return failed(&format!("{error}; give a place that can be written with --store")),
    };
    if let Err(error) = plan.save(&directory.plan()) {
        return failed(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("the runtime could not be started: {error}")),
    };
    let progress = Progress::new();
    let ran = runtime.block_on(execute(plan, &directory, args.firewall, sandbox, &progress));
    progress.phase("judging", None);
    let report = report_of(plan, &directory, ran);
    progress.clear();
    let text = render(&report);
    let kept = keep(args, &directory, &report, &text);
    if args.json {
        print_json(&report);
    } else {
        // Its first two lines were printed at the start.
        print(text.splitn(3, '\n').nth(2).expect("a report has more than two lines"));
    }
    match kept {
        Ok(()) => ExitCode::from(report.exit_code),
        Err(error) => {
            eprintln!("hearsay: {error}");
            ExitCode::from(report.outcome.max(Outcome::HarnessFailed).exit_code())
        }
    }
}

fn keep(args: &RunArgs, directory: &RunDirectory, report: &RunReport, text: &str) -> Result<(), String> {
    let kept =
        write_json(&directory.verdict(), report).and_then(|()| write_whole(&directory.report(), text.as_bytes()));
    kept.map_err(|error| error.to_string())?;
    if !args.keep_data && report.outcome == Outcome::AsExpected {
        directory.remove_data().map_err(|error| error.to_string())?;
    }
    Ok(())
}
