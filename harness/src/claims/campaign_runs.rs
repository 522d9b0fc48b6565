//! The same plan under several variants of the cluster's settings: what the claims about behaviour under faults compare.
//!
//! Operations and faults of a plan depend on campaign and seed alone, so all variants meet the same. In the simulator many runs go on
//! at once; a real run is a process of its own in its own sandbox, one after the other, and stays in the store.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use hearsay_checkers::{Case, Function, Outcome as OperationOutcome};
use hearsay_core::ClusterConfig;
use hearsay_workloads::Expectation;

use super::{Figure, Options};
use crate::campaign;
use crate::plan::{Plan, make_plan};
use crate::report::RunReport;
use crate::sim::{Settings, simulate};
use crate::store::load_case;

/// Settings that are compared with others.
#[derive(Clone, Copy)]
pub(super) struct Variant {
    /// What it is called in the table.
    pub(super) name: &'static str,
    /// What it changes of the campaign's cluster.
    pub(super) change: fn(&mut ClusterConfig),
}

/// What a run brought.
pub(super) struct Run {
    /// Its report, verdicts of every checker included.
    pub(super) report: RunReport,
    /// What was judged.
    pub(super) case: Case,
}

impl Run {
    /// Operations that were started while faults were drawn: those that succeeded, and all.
    pub(super) fn during_faults(&self) -> (u64, u64) {
        let phase = self.report.operations.iter().find(|operations| operations.phase == "faults");
        phase.map_or((0, 0), |phase| (phase.ok, phase.ok + phase.fail + phase.info))
    }

    /// Reads that were answered.
    pub(super) fn reads(&self) -> u64 {
        let is_read = |f: Function| f == Function::Read;
        let operations = self.case.history.operations.iter();
        operations.filter(|operation| is_read(operation.f) && operation.outcome == OperationOutcome::Ok).count() as u64
    }

    /// Operations that ended with an error that says this.
    pub(super) fn failed_with(&self, words: &str) -> u64 {
        let errors = self.case.history.operations.iter().filter_map(|operation| operation.error.as_ref());
        errors.filter(|error| error.contains(words)).count() as u64
    }

    /// Violations that a checker found.
    pub(super) fn violations(&self, checker: &str) -> u64 {
        self.report
            .verdicts
            .iter()
            .filter(|judged| judged.verdict.checker == checker)
            .map(|j| j.verdict.violations)
            .sum()
    }

    /// What makes the run worth less than it should be: a fault that never bit, a node that died.
    fn problems(&self) -> Vec<String> {
        let seed = self.report.seed;
        self.report.problems.iter().map(|problem| format!("seed {seed}: {}", problem.message)).collect()
    }
}

/// What was measured of a variant, in the order of the seeds.
pub(super) struct Measurements<T> {
    /// A value per run.
    pub(super) runs: Vec<T>,
    /// Where real runs left their evidence.
    pub(super) directories: Vec<String>,
    /// Problems of all runs, a sentence each.
    pub(super) problems: Vec<String>,
}

impl<T> Measurements<T> {
    /// Sum of a figure over all runs.
    pub(super) fn sum(&self, figure: impl Fn(&T) -> u64) -> u64 {
        self.runs.iter().map(figure).sum()
    }
}

/// Runs the campaign with every seed under every variant, and takes a measurement of each run.
///
/// # Errors
/// A campaign that can't be loaded, or a run that brought nothing to look at.
pub(super) fn run_variants<T: Send>(
    options: &Options,
    campaign: &str,
    variants: &[Variant],
    measure: impl Fn(&Run) -> T + Sync,
) -> Result<Vec<Measurements<T>>, String> {
    let campaign = campaign::load(campaign).map_err(|error| error.to_string())?;
    let plan = |variant: &Variant, seed: u64| {
        let mut plan = make_plan(&campaign, seed);
        (variant.change)(&mut plan.cluster);
        plan.planted.clone_from(&options.plant);
        // Whether it is as the campaign expects is not the question; every checker is to be heard.
        plan.expect.values_mut().for_each(|expectation| *expectation = Expectation::Any);
        plan
    };
    let seeds = options.seed..options.seed.saturating_add(options.seeds);
    let plans: Vec<Plan> =
        variants.iter().flat_map(|variant| seeds.clone().map(|seed| plan(variant, seed)).collect::<Vec<_>>()).collect();
    let measured = |run: Run| (measure(&run), run.report.directory.clone(), run.problems());
    let results: Vec<_> = if options.real {
        plans.iter().map(|plan| run_real(plan, &options.store).map(measured)).collect::<Result<_, _>>()?
    } else {
        all_cores(plans.len(), |place| run_simulated(&plans[place]).map(measured))?
    };
    let mut results = results.into_iter();
    Ok(variants
        .iter()
        .map(|_| {
            let mut measurements = Measurements { runs: Vec::new(), directories: Vec::new(), problems: Vec::new() };
            for (value, directory, problems) in seeds.clone().filter_map(|_| results.next()) {
                measurements.runs.push(value);
                measurements.directories.push(directory);
                measurements.problems.extend(problems);
            }
            measurements
        })
        .collect())
}

/// Says whether every run was worth its figures.
pub(super) fn sound<T>(claim: u8, measurements: &[Measurements<T>]) -> Figure {
    let problems: Vec<&String> = measurements.iter().flat_map(|variant| &variant.problems).collect();
    let measured = match problems.first() {
        None => "none".to_owned(),
        Some(first) => format!("{}, such as {first}", problems.len()),
    };
    Figure::new(claim, "faults without proof, nodes that died", measured, "none", Some(problems.is_empty()))
}

fn run_simulated(plan: &Plan) -> Result<Run, String> {
    let simulated = simulate(plan, Settings::default());
    let report = simulated.report(plan, String::new(), String::new());
    match simulated.case {
        Some(Ok(case)) => Ok(Run { report, case }),
        Some(Err(error)) => Err(error),
        None => Err(report.problems.first().map_or("it brought nothing".to_owned(), |problem| problem.message.clone())),
    }
}

fn run_real(plan: &Plan, store: &Path) -> Result<Run, String> {
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let path = folder.path().join("plan.yaml");
    plan.save(&path).map_err(|error| error.to_string())?;
    let mut command = Command::new("/proc/self/exe");
    command.args(["run", "--json", "--end-with", &std::process::id().to_string()]);
    command.arg("--plan").arg(&path).arg("--store").arg(store);
    let child = command.stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("this program can't be run again: {error}"))?;
    let mut printed = Vec::new();
    let read = child.stdout.take().expect("it was asked for").read_to_end(&mut printed);
    let ended = child.wait();
    read.and(ended.map(|_| 0)).map_err(|error| format!("the run could not be waited for: {error}"))?;
    let report: RunReport = serde_json::from_slice(&printed)
        .map_err(|_| format!("a real run gave no verdict: {}", String::from_utf8_lossy(&printed).trim()))?;
    let case = load_case(Path::new(&report.directory)).map_err(|error| error.to_string())?;
    Ok(Run { report, case })
}

/// Does so many things on all cores; the results in their order.
fn all_cores<T: Send>(count: usize, act: impl Fn(usize) -> Result<T, String> + Sync) -> Result<Vec<T>, String> {
    let next = AtomicU64::new(0);
    let done = Mutex::new(Vec::with_capacity(count));
    let cores = thread::available_parallelism().map_or(1, usize::from).min(count.max(1));
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let place = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap_or(usize::MAX);
                    if place >= count {
                        return;
                    }
                    let result = act(place);
                    done.lock().expect("no worker panics with the lock").push((place, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no worker panics with the lock");
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}
