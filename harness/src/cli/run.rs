//! `hearsay run`.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};

use crate::campaign::{self, Campaign, PROCESSES_MAX, parse_duration};
use crate::disk::DiskKind;
use crate::exit::Outcome;
use crate::faults::FirewallKind;
use crate::plan::{Plan, make_plan, make_swarm_plan};
use crate::progress::Progress;
use crate::report::{RunReport, header, render};
use crate::run::execute::execute;
use crate::run::judge::{about, report_of, shell_word};
use crate::run::ring::all_nodes;
use crate::sandbox::doctor::{Needs, examine};
use crate::sandbox::{self, Sandbox};
use crate::store::{RunDirectory, write_json, write_whole};

use super::{failed, misused, print, print_json, seeds, sim};

/// Where runs are kept unless another place is given.
const STORE: &str = "store";
/// Seeds that are drawn stay below, so that they can be read out and typed.
const DRAWN_SEED_END: u64 = 1_000_000_000;

/// Most runs of one command.
const SEEDS_MAX: u64 = 100_000;

/// What to run, and how.
#[derive(Clone, Debug, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("many").args(["seeds", "time"]).multiple(true))]
pub(super) struct RunArgs {
    /// One that ships (see `hearsay list`), or a file
    #[arg(value_name = "CAMPAIGN", required_unless_present = "plan", conflicts_with = "plan")]
    pub(super) campaign: Option<String>,
    /// Draw faults and operations from this seed; without it one is drawn and printed
    #[arg(long, value_name = "S", conflicts_with = "plan")]
    pub(super) seed: Option<u64>,
    /// So many runs with seeds that follow each other, and one summary
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=SEEDS_MAX), conflicts_with = "plan")]
    pub(super) seeds: Option<u64>,
    /// Per seed a random part of the campaign's faults and mix, and what its `swarm` section gives bounds for
    #[arg(long, conflicts_with = "plan")]
    pub(super) swarm: bool,
    /// Start no further run after this time; without --seeds as many as fit into it
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration, conflicts_with = "plan")]
    pub(super) time: Option<Duration>,
    /// Execute a saved plan again
    #[arg(long, value_name = "FILE")]
    pub(super) plan: Option<PathBuf>,
    /// How links are cut
    #[arg(long, value_enum, default_value_t)]
    pub(super) firewall: FirewallKind,
    /// What the nodes keep their stores on
    #[arg(long, value_enum, default_value_t)]
    pub(super) disks: DiskKind,
    /// Where runs are kept
    #[arg(long, value_name = "DIR", default_value = STORE)]
    pub(super) store: PathBuf,
    /// Print the verdict as one JSON object
    #[arg(long)]
    pub(super) json: bool,
    /// Keep the nodes' disks even when all was as expected
    #[arg(long)]
    pub(super) keep_data: bool,
    /// In one process on virtual time, bit-identical per seed, instead of real processes in a sandbox
    #[arg(long, conflicts_with_all = ["firewall", "disks", "keep_data", "end_with"])]
    pub(super) sim: bool,
    /// Simulated runs at once; without it one per core
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..=1024), requires_all = ["sim", "many"])]
    pub(super) jobs: Option<u16>,
    /// Start no further run after so many that were not as expected
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..), requires = "many")]
    pub(super) stop_after: Option<u64>,
    /// Start no further run after one that found this, expected or not: a kind such as stale-read, a checker, or both as in
    /// the summary
    #[arg(long, value_name = "FINDING", requires = "many")]
    pub(super) stop_on: Option<String>,
    /// Keep simulated runs that were as expected, too
    #[arg(long, requires_all = ["sim", "many"])]
    pub(super) store_all: bool,
    /// Plant this bug in every node (see `hearsay planted`)
    #[cfg(feature = "planted-bugs")]
    #[arg(long, value_name = "BUG", value_parser = hearsay_node::cli::bug_name)]
    pub(super) plant: Option<String>,
    /// Carry the plan out twice, side by side, and show the first event that differs, if one does
    #[arg(long, requires = "sim", conflicts_with_all = ["seeds", "events"])]
    pub(super) twice: bool,
    /// Write every event of the run to this file, for `hearsay trace --compare`
    #[arg(long, value_name = "FILE", requires = "sim", conflicts_with = "seeds")]
    pub(super) events: Option<PathBuf>,
    /// Rare branches of the node's code that no run takes make the outcome unknown
    #[arg(long, requires = "sim")]
    pub(super) require_marks: bool,
    /// End with this parent process
    #[arg(long, value_name = "PID", hide = true)]
    pub(super) end_with: Option<i32>,
}

impl RunArgs {
    /// What a replay needs besides the plan to be the same run with its evidence in the same place; each with a space in
    /// front.
    pub(super) fn replay_options(&self) -> String {
        let mut options = String::new();
        if self.firewall != FirewallKind::default() {
            let value = self.firewall.to_possible_value().expect("every kind of firewall has a name");
            options.push_str(&format!(" --firewall {}", value.get_name()));
        }
        if self.disks != DiskKind::default() {
            let value = self.disks.to_possible_value().expect("every kind of disk has a name");
            options.push_str(&format!(" --disks {}", value.get_name()));
        }
        if self.store != Path::new(STORE) {
            options.push_str(&format!(" --store {}", shell_word(&self.store)));
        }
        options
    }

    /// Name of the bug to be planted in every node; never any without the feature.
    pub(super) fn planted(&self) -> Option<String> {
        #[cfg(feature = "planted-bugs")]
        return self.plant.clone();
        #[cfg(not(feature = "planted-bugs"))]
        None
    }

    /// What a command line needs to plant the same bug.
    pub(super) fn plant_words(&self) -> String {
        self.planted().map_or_else(String::new, |bug| format!(" --plant {bug}"))
    }

    /// The plan with the bug that is to be planted.
    pub(super) fn plant(&self, mut plan: Plan) -> Plan {
        plan.planted = self.planted().or(plan.planted);
        plan
    }
}

/// Runs: outside the sandbox everything is checked first, so that nothing is started in vain; inside it happens.
pub(super) fn run(args: &RunArgs, inside: Option<Sandbox>) -> ExitCode {
    if let (None, Some(parent)) = (&inside, args.end_with)
        && let Err(error) = end_with(parent)
    {
        return failed(&error);
    }
    let plan = match load(args) {
        Ok(plan) => args.plant(plan),
        Err(error) => return misused(&error),
    };
    if args.sim {
        return sim::run(args, &plan);
    }
    if let Err(error) = fits_processes(&plan) {
        return misused(&error);
    }
    if args.runs_max().is_some() {
        return seeds::run(args, plan.seed);
    }
    match inside {
        Some(sandbox) => run_inside(args, &plan, &sandbox),
        None => {
            let missing = examine(Needs { nodes: all_nodes(&plan).len(), firewall: args.firewall, disks: args.disks });
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
    Ok(args.plan_of(&campaign, args.seed.unwrap_or_else(drawn_seed)))
}

impl RunArgs {
    /// The plan of a seed.
    pub(super) fn plan_of(&self, campaign: &Campaign, seed: u64) -> Plan {
        self.plant(if self.swarm { make_swarm_plan(campaign, seed) } else { make_plan(campaign, seed) })
    }

    /// How many runs at most; `None`: one, without a summary.
    pub(super) fn runs_max(&self) -> Option<u64> {
        self.seeds.or(self.time.map(|_| SEEDS_MAX))
    }

    /// Which runs of a swarm or of many seeds there will be, in words.
    pub(super) fn seeds_words(&self, first: u64) -> String {
        let swarm = if self.swarm { ", a swarm" } else { "" };
        let time = self.time.map_or(String::new(), |time| format!(" for {:.0} s", time.as_secs_f64()));
        let count = self.seeds.map_or(String::new(), |count| format!("{count} "));
        format!("{count}seeds from {first}{time}{swarm}")
    }

    /// The command that runs a seed of the campaign; the seed is to follow.
    pub(super) fn again(&self, campaign: &str) -> String {
        let word = shell_word(Path::new(campaign));
        let (sim, swarm) = (if self.sim { " --sim" } else { "" }, if self.swarm { " --swarm" } else { "" });
        format!("hearsay run {word}{sim}{swarm}{} --seed", self.plant_words())
    }
}

/// Whether there are few enough nodes for a process each.
fn fits_processes(plan: &Plan) -> Result<(), String> {
    let nodes = all_nodes(plan).len();
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
    let ran = runtime.block_on(execute(plan, &directory, args.firewall, args.disks, sandbox, &progress));
    progress.phase("judging", None);
    let report = report_of(plan, &directory, &args.replay_options(), ran);
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
