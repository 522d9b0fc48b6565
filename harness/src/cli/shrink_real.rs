//! `hearsay shrink --real`: what real processes can do without.
//!
//! The simulator shrinks first, as it is a thousand times quicker. Of the plans that it kept, real processes are tried with the
//! smallest, then with larger and larger ones, up to the whole plan. What they show the anomaly with is shrunk further on them.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::exit::Outcome;
use crate::plan::Plan;
use crate::report::RunReport;
use crate::shrink::{Budget, RealProcesses, Search, Simulator, anomalies_of, with_more_time};
use crate::store::RunDirectory;

use super::shrink::{Found, Progress, ShrinkArgs, Subject, tell};
use super::{failed, misused};

/// How long it tries, when nobody says.
const REAL_BUDGET: Duration = Duration::from_secs(600);
/// Least times between two things that happen in a slower plan, milliseconds.
const SLOWER_MS: [u64; 2] = [60, 400];
/// The simulator gets this part of the budget at most.
const SIMULATED_PART: u32 = 4;

pub(super) fn run(args: &ShrinkArgs, subject: &Subject, simulator: &Simulator, began: Instant) -> ExitCode {
    if args.needed > args.repeats {
        let (needed, repeats) = (args.needed, args.repeats);
        return misused(&format!("{needed} of {repeats} runs can't show it\n  mend: give --repeats {needed} or more"));
    }
    let budget = args.budget.unwrap_or(REAL_BUDGET);
    let progress = Progress::new(&subject.plan);
    let on_kept = |plan: &Plan, tried: u64| progress.kept(plan, tried);
    let (simulated, tried_simulated) =
        kept_in_the_simulator(args, subject, simulator, began.checked_add(budget / SIMULATED_PART), &on_kept);
    let until = began.checked_add(budget);
    let tried = try_real(args, subject, &simulated, until, &on_kept);
    progress.clear();
    let (mut found, shown) = match tried {
        Ok(tried) => tried,
        Err(code) => return code,
    };
    found.real_s = began.elapsed().as_secs_f64();
    let (repeats, in_simulator) = (args.repeats, simulated.len());
    found.notes.push(match in_simulator {
        0 => "The simulator did not show it; all steps were taken on real processes.".to_owned(),
        kept => format!(
            "The simulator tried {tried_simulated} plans and kept {kept}; real processes began with one of them."
        ),
    });
    found.notes.push(format!("{} of {repeats} runs of what is left showed it on real processes.", shown.count));
    tell(args, subject, &shown.directory, &shown.report, found)
}

/// Every plan that the simulator kept, the smallest last; none: it does not show the anomaly. And how many it tried.
fn kept_in_the_simulator(
    args: &ShrinkArgs,
    subject: &Subject,
    simulator: &Simulator,
    until: Option<Instant>,
    on_kept: &(dyn Fn(&Plan, u64) + Sync),
) -> (Vec<Plan>, u64) {
    let kept = Mutex::new(Vec::new());
    let note = |plan: &Plan, tried: u64| {
        kept.lock().expect("nobody panics while holding it").push(plan.clone());
        on_kept(plan, tried);
    };
    let budget = Budget { until, processor: None, trials_max: u64::MAX };
    let jobs = (args.jobs(), args.seeds);
    let mut tried = 0;
    if let Some(mut search) = Search::begin(simulator, &subject.anomaly, &subject.plan, jobs, budget, &note) {
        search.run();
        tried = search.tried();
    }
    (kept.into_inner().expect("nobody panicked while holding it"), tried)
}

/// The run that is kept, and how many of those made for it showed the anomaly.
struct Shown {
    directory: RunDirectory,
    report: RunReport,
    count: u32,
}

fn try_real(
    args: &ShrinkArgs,
    subject: &Subject,
    simulated: &[Plan],
    until: Option<Instant>,
    on_kept: &(dyn Fn(&Plan, u64) + Sync),
) -> Result<(Found, Shown), ExitCode> {
    let internal = |error: String| failed(&error);
    let folder = tempfile::tempdir().map_err(|error| internal(format!("can't make a place for runs: {error}")))?;
    let program = std::env::current_exe().map_err(|error| internal(format!("can't find this program: {error}")))?;
    let counts = (args.repeats, args.needed);
    let real = RealProcesses::new(program.clone(), counts, until, folder.path().to_owned());
    let (anomaly, budget) = (&subject.anomaly, Budget { until, processor: None, trials_max: u64::MAX });
    let mut tried = 0;
    for plan in &beginnings(subject, simulated) {
        tried += 1;
        let Some(mut search) = Search::begin(&real, anomaly, plan, (1, 1), budget, on_kept) else { continue };
        search.run();
        let (tried, kept) = (tried + search.tried(), search.kept());
        let (plan, ended) = search.into_plan(anomaly);
        let found = Found { plan, ended, tried, kept, real_s: 0.0, world: "real", notes: Vec::new() };
        // What was found is run to its end, however long that takes now.
        let patient = RealProcesses::new(program, counts, None, folder.path().to_owned());
        let shown = keep(args, subject, &patient, &found.plan).map_err(internal)?;
        return Ok((found, shown));
    }
    match real.broken() {
        Some(reason) => Err(failed(&format!("no run on real processes could be carried out: {reason}"))),
        None => {
            let (name, repeats) = (&subject.name, args.repeats);
            eprintln!(
                "hearsay: real processes do not show `{anomaly}` with the plan of {name} or a part of it, in {tried} plans run up to \
                 {repeats} times each\n  mend: give them more time with --budget, or more runs with --repeats; without --real \
                 the simulator alone decides"
            );
            Err(ExitCode::from(Outcome::Unknown.exit_code()))
        }
    }
}

/// The plans to begin with: the smallest one, the same with more time between all that happens (on real processes a fault takes a
/// moment to be made), then plans each twice as many steps before, at last the whole one.
fn beginnings(subject: &Subject, simulated: &[Plan]) -> Vec<Plan> {
    let steps = std::iter::successors(Some(1_usize), |step| step.checked_mul(2));
    let mut before = steps.map_while(|step| simulated.get(simulated.len().checked_sub(step)?)).cloned();
    let smallest = before.next();
    let slower = |least_ms: u64| smallest.as_ref().map(|plan| with_more_time(plan, least_ms));
    let slower: Vec<Plan> =
        SLOWER_MS.into_iter().filter_map(slower).filter(|plan| plan.validate().is_empty()).collect();
    smallest.into_iter().chain(slower).chain(before).chain([subject.plan.clone()]).collect()
}

/// Runs what is left as often as any plan, and keeps the last run that shows the anomaly, as every run is stored.
fn keep(args: &ShrinkArgs, subject: &Subject, real: &RealProcesses, plan: &Plan) -> Result<Shown, String> {
    let place = args.place(subject);
    let runs = place.join("runs");
    std::fs::create_dir_all(&runs).map_err(|error| {
        format!("can't make {}: {error}; give a place that can be written with --out", runs.display())
    })?;
    let file = place.join("plan.yaml");
    plan.save(&file).map_err(|error| error.to_string())?;
    let (mut count, mut last) = (0, None);
    for _ in 0..real.repeats {
        let Some((directory, report)) = real.run(&file, &runs) else { continue };
        let shows = anomalies_of(&report).iter().any(|found| found.anomaly == subject.anomaly);
        count += u32::from(shows);
        if shows || last.is_none() {
            last = Some((directory, report));
        }
    }
    let (_, mut report) = last.ok_or_else(|| {
        let reason = real.broken().unwrap_or_else(|| "no reason is known".to_owned());
        format!("what is left could not be run again: {reason}")
    })?;
    report.replay = replay(&file);
    Ok(Shown { directory: RunDirectory::open(&place), report, count })
}

fn replay(file: &Path) -> String {
    format!("hearsay run --plan {}", crate::run::judge::shell_word(file))
}
