//! `hearsay shrink`: from a run that was not as expected to the few faults and operations that matter.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::campaign::parse_duration;
use crate::exit::Outcome;
use crate::plan::Plan;
use crate::report::{RunReport, render as render_report};
use crate::run::judge::shell_word;
use crate::shrink::{Anomaly, Budget, Choice, Ended, PlanSize, Search, Shrunk, Simulator, Trial, choose, render};
use crate::sim::simulate;
use crate::store::{RunDirectory, load_json, write_json, write_whole};

use super::sim::watch_signals;
use super::{failed, misused, print, print_json, shrink_real};

/// What to shrink, and for how long.
#[derive(Clone, Debug, Args)]
pub(super) struct ShrinkArgs {
    /// A stored run, such as store/latest, or a plan
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Keep a violation of this checker, expected or not; without it the first that was not expected
    #[arg(long, value_name = "NAME")]
    checker: Option<String>,
    /// Keep a violation of this kind, such as stale-read or lost-write
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Try no further plan after this time; 60s, with --real 10m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) budget: Option<Duration>,
    /// Take away only what real processes can do without: begin with the largest part that the simulator took away and that
    /// real processes do not miss
    #[arg(long)]
    pub(super) real: bool,
    /// With --real: runs of each plan at most, as no two are the same
    #[arg(long, value_name = "K", default_value_t = 3, requires = "real", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) repeats: u32,
    /// With --real: so many of them have to show it
    #[arg(long, value_name = "R", default_value_t = 1, requires = "real", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) needed: u32,
    /// Plans tried at once; without it one per core
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Seeds of the simulated world that a run's plan is tried with, until one shows it
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(super) seeds: u64,
    /// Where the smaller plan goes; without it the directory `shrunk` beside the plan
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// How long the simulator tries, when nobody says.
const SIMULATED_BUDGET: Duration = Duration::from_secs(60);

impl ShrinkArgs {
    /// Plans tried at once in the simulator.
    pub(super) fn jobs(&self) -> usize {
        self.jobs.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from)
    }

    /// Where the smaller plan goes.
    pub(super) fn place(&self, subject: &Subject) -> PathBuf {
        self.out.clone().unwrap_or_else(|| subject.folder.join("shrunk"))
    }
}

/// What is to be shrunk.
pub(super) struct Subject {
    pub(super) name: String,
    /// Where its plan is.
    pub(super) folder: PathBuf,
    pub(super) plan: Plan,
    pub(super) anomaly: Anomaly,
    /// It came from a run on real processes.
    pub(super) real: bool,
}

/// Shrinks and prints.
pub(super) fn run(args: &ShrinkArgs) -> ExitCode {
    let began = Instant::now();
    let simulator = Simulator::default();
    let subject = match load(args, &simulator) {
        Ok(subject) => subject,
        Err(error) => return misused(&error),
    };
    if !args.json {
        let Subject { name, anomaly, .. } = &subject;
        print(&format!("hearsay shrink {name}, commit {}\nlooked for: {anomaly}\n", crate::COMMIT));
    }
    if args.real {
        return shrink_real::run(args, &subject, &simulator, began);
    }
    shrink_simulated(args, &subject, &simulator, began)
}

/// A smaller plan and how it was found.
pub(super) struct Found {
    pub(super) plan: Plan,
    pub(super) ended: Ended,
    pub(super) tried: u64,
    pub(super) kept: u64,
    pub(super) real_s: f64,
    /// `simulated` or `real`.
    pub(super) world: &'static str,
    pub(super) notes: Vec<String>,
}

fn shrink_simulated(args: &ShrinkArgs, subject: &Subject, simulator: &Simulator, began: Instant) -> ExitCode {
    // Before the first thread is there: what was found so far is kept when somebody has no more patience.
    let stop = Arc::new(AtomicBool::new(false));
    if let Err(error) = watch_signals(Arc::clone(&stop)) {
        return failed(&format!("signals can't be blocked: {error}"));
    }
    let progress = Progress::new(&subject.plan);
    let on_kept = |plan: &Plan, tried: u64| progress.kept(plan, tried);
    let until = began.checked_add(args.budget.unwrap_or(SIMULATED_BUDGET));
    let budget = Budget { until, processor: None, trials_max: u64::MAX };
    let (jobs, anomaly) = (args.jobs(), &subject.anomaly);
    let search = Search::begin(simulator, anomaly, &subject.plan, (jobs, args.seeds), budget, &on_kept);
    let Some(mut search) = search else {
        progress.clear();
        return not_shown(args, subject);
    };
    search.end_on(stop);
    search.run();
    progress.clear();
    let (tried, kept) = (search.tried(), search.kept());
    let (plan, ended) = search.into_plan(anomaly);
    let real_s = began.elapsed().as_secs_f64();
    let (directory, report) = match keep(args, subject, simulator, &plan) {
        Ok(kept) => kept,
        Err(error) => return failed(&error),
    };
    let mut notes = Vec::new();
    if subject.real {
        notes.push("The run was on real processes; its plan showed the same in the simulator.".to_owned());
    }
    let found = Found { plan, ended, tried, kept, real_s, world: "simulated", notes };
    tell(args, subject, &directory, &report, found)
}

/// Writes and prints what was found, of which `report` is a run.
pub(super) fn tell(
    args: &ShrinkArgs,
    subject: &Subject,
    directory: &RunDirectory,
    report: &RunReport,
    found: Found,
) -> ExitCode {
    let Found { plan, ended, tried, kept, real_s, world, notes } = found;
    let shrunk = Shrunk {
        run: subject.name.clone(),
        anomaly: subject.anomaly.clone(),
        world: world.to_owned(),
        before: PlanSize::of(&subject.plan),
        after: PlanSize::of(&plan),
        ended,
        tried,
        kept,
        real_s,
        seed_before: subject.plan.seed,
        seed: plan.seed,
        directory: directory.path().display().to_string(),
        replay: report.replay.clone(),
        replay_exit_code: report.exit_code,
        explanation: explanation(&subject.anomaly, report),
        notes,
    };
    if let Err(error) = write_result(directory, &shrunk, &plan) {
        return failed(&error);
    }
    if args.json {
        print_json(&shrunk);
    } else {
        print(&render(&shrunk, &plan));
    }
    ExitCode::SUCCESS
}

/// The simulator does not show it.
fn not_shown(args: &ShrinkArgs, subject: &Subject) -> ExitCode {
    let Subject { name, anomaly, real, .. } = subject;
    let seeds = args.seeds;
    let told = if *real {
        format!(
            "the simulator does not show `{anomaly}` with the plan of {name}, over {seeds} seeds of its world\n  mend: try \
             more with --seeds"
        )
    } else {
        format!(
            "`{anomaly}` does not come again with the plan of {name}, over {seeds} seeds of the simulated world\n  mend: \
             shrink with the version that found it, or try more with --seeds"
        )
    };
    eprintln!("hearsay: {told}");
    ExitCode::from(Outcome::Unknown.exit_code())
}

fn load(args: &ShrinkArgs, simulator: &Simulator) -> Result<Subject, String> {
    let name = args.run.display().to_string();
    let (folder, file) = if args.run.is_dir() {
        // `store/latest` points elsewhere tomorrow.
        let folder = args.run.canonicalize().map_err(|error| format!("{name} can't be read: {error}"))?;
        let shown = std::env::current_dir().ok().and_then(|here| folder.strip_prefix(here).ok().map(Path::to_owned));
        let folder = shown.unwrap_or(folder);
        let plan = RunDirectory::open(&folder).plan();
        (folder, plan)
    } else {
        let parent = args.run.parent().filter(|parent| !parent.as_os_str().is_empty());
        (parent.unwrap_or(Path::new(".")).to_owned(), args.run.clone())
    };
    let plan = Plan::load(&file).map_err(|error| error.to_string())?;
    let choice = Choice { checker: args.checker.clone(), kind: args.kind.clone() };
    if let Some(checker) = args.checker.as_ref().filter(|checker| !plan.expect.contains_key(*checker)) {
        let known: Vec<&str> = plan.expect.keys().map(String::as_str).collect();
        return Err(format!("the plan of {name} has no checker `{checker}`\n  allowed: {}", known.join(", ")));
    }
    let report: Option<RunReport> = if args.run.is_dir() {
        load_json(&RunDirectory::open(&folder).verdict()).map_err(|error| error.to_string())?
    } else {
        None
    };
    let real = report.as_ref().is_some_and(|report| report.simulation.is_none());
    let report = match report {
        Some(report) => report,
        // Nobody has judged it yet.
        None => simulate(&plan, simulator.settings).report(&plan, String::new(), String::new()),
    };
    let anomaly = choose(&name, &report, &choice).map_err(|error| error.to_string())?;
    // What is written down must mean the same run tomorrow.
    let name = if args.run.is_dir() { folder.display().to_string() } else { name };
    Ok(Subject { name, folder, plan, anomaly, real })
}

/// Writes the smaller plan with a run of it, as every run is stored.
fn keep(
    args: &ShrinkArgs,
    subject: &Subject,
    simulator: &Simulator,
    plan: &Plan,
) -> Result<(RunDirectory, RunReport), String> {
    let path = args.place(subject);
    let directory = RunDirectory::open(&path);
    std::fs::create_dir_all(directory.logs()).map_err(|error| {
        format!("can't make {}: {error}; give a place that can be written with --out", path.display())
    })?;
    plan.save(&directory.plan()).map_err(|error| error.to_string())?;
    let simulated = simulate(plan, simulator.settings);
    let replay = format!("hearsay run --sim --plan {}", shell_word(&directory.plan()));
    let report = simulated.report(plan, path.display().to_string(), replay);
    let written = simulated
        .write(&directory)
        .and_then(|()| write_json(&directory.verdict(), &report))
        .and_then(|()| write_whole(&directory.report(), render_report(&report).as_bytes()));
    written.map_err(|error| error.to_string())?;
    // What is handed out replays: read from its file it is the same run, and shows what every step showed.
    let read = Plan::load(&directory.plan()).map_err(|error| error.to_string())?;
    let again = simulate(&read, simulator.settings);
    assert!(read == *plan && again.run_hash() == simulated.run_hash(), "a saved plan is the same run again");
    assert!(simulator.shows(&read, &subject.anomaly).is_some(), "the smaller plan shows what every step showed");
    Ok((directory, report))
}

fn write_result(directory: &RunDirectory, shrunk: &Shrunk, plan: &Plan) -> Result<(), String> {
    let path = |name: &str| directory.path().join(name);
    let title = format!("hearsay shrink {}, commit {}\nlooked for: {}\n", shrunk.run, crate::COMMIT, shrunk.anomaly);
    let sim = if shrunk.world == "simulated" { " --sim" } else { "" };
    let script = format!(
        "#!/bin/sh\n# Runs what is left of {} and shows `{}`; exit code {}.\nexec \"${{HEARSAY:-hearsay}}\" run{sim} --plan \
         \"$(dirname \"$0\")/plan.yaml\" \"$@\"\n",
        shrunk.run.replace('\n', " "),
        shrunk.anomaly,
        shrunk.replay_exit_code
    );
    write_json(&path("shrink.json"), shrunk)
        .and_then(|()| write_whole(&path("shrink.txt"), (title + &render(shrunk, plan)).as_bytes()))
        .and_then(|()| write_whole(&path("replay.sh"), script.as_bytes()))
        .map_err(|error| error.to_string())
}

fn explanation(anomaly: &Anomaly, report: &RunReport) -> Vec<String> {
    match anomaly {
        Anomaly::Violation { checker, .. } => {
            let judged = report.verdicts.iter().find(|judged| judged.verdict.checker == *checker);
            judged.map_or(Vec::new(), |judged| judged.verdict.explanation.clone())
        }
        Anomaly::NodeDied { .. } | Anomaly::NotWhole => {
            report.problems.iter().map(|problem| problem.message.clone()).collect()
        }
    }
}

/// A live line on a terminal, on stderr.
pub(super) struct Progress {
    bar: ProgressBar,
    began: Instant,
}

impl Progress {
    pub(super) fn new(plan: &Plan) -> Progress {
        let target =
            if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(ProgressStyle::with_template("{spinner} {wide_msg}").expect("a constant template"));
        bar.enable_steady_tick(Duration::from_millis(200));
        let progress = Progress { bar, began: Instant::now() };
        progress.kept(plan, 0);
        progress
    }

    pub(super) fn kept(&self, plan: &Plan, tried: u64) {
        let PlanSize { faults, operations, nodes, seconds, .. } = PlanSize::of(plan);
        let size = format!("{faults} faults, {operations} operations, {nodes} nodes, {seconds:.1} s");
        let passed = self.began.elapsed().as_secs_f64();
        self.bar.set_message(format!("{size}; {tried} plans tried in {passed:.0} s"));
    }

    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
