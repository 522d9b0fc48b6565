//! `hearsay trace`: carries out a plan again in the simulator and shows what happened around an operation.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use hearsay_checkers::{Case, Operation};

use crate::plan::Plan;
use crate::report::RunReport;
use crate::run::judge::about;
use crate::run::load::Load;
use crate::sim::{Settings, Simulated, Tape, Watch, simulate, simulate_with};
use crate::store::{RunDirectory, load_case, load_json, write_whole};
use crate::trace::{Around, counterpart, find_focus, render_svg, render_text, tell};

use super::{compare, failed, misused, print};

/// What to show.
#[derive(Clone, Debug, Args)]
pub(super) struct TraceArgs {
    /// A run's directory, such as store/latest, or a plan
    #[arg(value_name = "RUN", required_unless_present = "compare", conflicts_with = "compare")]
    run: Option<PathBuf>,
    /// Find the first event in which two runs differ: files of `hearsay run --sim --events`, run directories or plans
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["around", "window", "svg"])]
    compare: Vec<PathBuf>,
    /// An operation by its index, as verdicts print it, or a key; without it the operations of the first violation
    #[arg(long, value_name = "OP|KEY")]
    around: Option<String>,
    /// Show everything about the key so long before and after, such as 50ms
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    window: Option<u64>,
    /// The middle of the window, from the start of the run, such as 12.3s
    #[arg(long, value_name = "TIME", value_parser = parse_time, requires = "window")]
    at: Option<u64>,
    /// Also draw it as a picture
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Rows at most
    #[arg(long, value_name = "N", default_value_t = 400)]
    rows: usize,
}

/// `50ms`, `12.3s`, `800us` as nanoseconds.
fn parse_time(text: &str) -> Result<u64, String> {
    let units = [("us", 1e3), ("ms", 1e6), ("s", 1e9)];
    let found = units.iter().find_map(|(unit, nanoseconds)| Some((text.strip_suffix(unit)?, nanoseconds)));
    let parsed = found.and_then(|(number, nanoseconds)| Some(number.trim().parse::<f64>().ok()? * nanoseconds));
    match parsed {
        Some(nanoseconds) if (0.0..1e15).contains(&nanoseconds) => Ok(nanoseconds as u64),
        _ => Err("a length of time is a number with us, ms or s, such as 50ms".to_owned()),
    }
}

/// Shows it. Exit codes: 0 shown, 64 there is no such thing, 70 the simulator does not repeat the run.
pub(super) fn run(args: &TraceArgs) -> ExitCode {
    let done = match args.compare.as_slice() {
        [first, second] => return compare::run(first, second),
        _ => trace(args),
    };
    match done {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(Stopped::Misused(error)) => misused(&error),
        Err(Stopped::Failed(error)) => failed(&error),
    }
}

/// Why nothing is shown.
enum Stopped {
    Misused(String),
    Failed(String),
}

fn wrong(error: impl ToString) -> Stopped {
    Stopped::Misused(error.to_string())
}

fn trace(args: &TraceArgs) -> Result<String, Stopped> {
    let run = args.run.as_deref().expect("the command line asks for a run");
    let recorded = Recorded::load(run)?;
    let plan = &recorded.plan;
    let simulated = simulate(plan, Settings::default());
    recorded.check(&simulated)?;
    let report = simulated.report(plan, String::new(), String::new());
    let case = match &simulated.case {
        Some(Ok(case)) => case,
        Some(Err(error)) => return Err(Stopped::Failed(error.clone())),
        None => {
            let problems: Vec<&str> = report.problems.iter().map(|problem| problem.message.as_str()).collect();
            return Err(Stopped::Failed(format!("nothing was started in the simulator: {}", problems.join("; "))));
        }
    };
    let mut lines = vec![
        format!("hearsay trace {}, seed {}, simulated, commit {}", plan.campaign, plan.seed, crate::COMMIT),
        about(plan),
    ];
    let mut around = args.around.as_deref().map_or(Around::FirstViolation, Around::parse);
    if let Some(real) = &recorded.real {
        lines.push(
            "a run on real processes is not recorded message by message: its plan is traced in the simulator".into(),
        );
        let slots = Load::of(plan).slots();
        if let Some(found) = counterpart_of(&around, real, &report, case, slots)? {
            let Counterpart { of, operation } = found;
            lines.push(format!("{of} of that run is {} here", operation.index));
            around = Around::Operation(operation.index.0);
        }
    }
    let timeout = u64::try_from(Load::of(plan).timeout().as_nanos()).unwrap_or(u64::MAX);
    let focus = find_focus(&around, (args.at, args.window), case, &report, timeout).map_err(wrong)?;
    let watch = Watch { tape: Some(Tape::of(focus.keys.iter().cloned())), ..Watch::default() };
    let taped = simulate_with(plan, Settings::default(), watch);
    if taped.run_hash() != simulated.run_hash() {
        return Err(Stopped::Failed(format!(
            "the simulator did not repeat this plan: run hash {} and then {}; find the first difference with \
             `hearsay run --sim --plan FILE --twice`",
            simulated.run_hash(),
            taped.run_hash()
        )));
    }
    let tape = taped.tape.expect("it was asked for");
    let mut chart = tell(&tape, &focus, &case.history, &report.faults);
    lines.append(&mut chart.title);
    chart.title = lines;
    let mut text = render_text(&chart, args.rows);
    if let Some(path) = &args.svg {
        write_whole(path, render_svg(&chart).as_bytes()).map_err(wrong)?;
        text.push_str(&format!("\ndrawn in {}\n", path.display()));
    }
    Ok(text)
}

/// What is known of the run to be shown.
struct Recorded {
    plan: Plan,
    path: PathBuf,
    /// Of a stored run.
    report: Option<RunReport>,
    /// Of a run on real processes, when there is a history.
    real: Option<Case>,
}

impl Recorded {
    fn load(path: &Path) -> Result<Recorded, Stopped> {
        let directory = RunDirectory::open(path);
        let file = if path.is_dir() { directory.plan() } else { path.to_owned() };
        let plan = Plan::load(&file).map_err(wrong)?;
        let report: Option<RunReport> = match path.is_dir() {
            true => load_json(&directory.verdict()).map_err(wrong)?,
            false => None,
        };
        let simulated = report.as_ref().is_some_and(|report| report.simulation.is_some());
        let real = match path.is_dir() && !simulated && directory.history().exists() {
            true => Some(load_case(path).map_err(wrong)?),
            false => None,
        };
        Ok(Recorded { plan, path: path.to_owned(), report, real })
    }

    /// A stored simulated run must be the one that the simulator makes now.
    fn check(&self, simulated: &Simulated) -> Result<(), Stopped> {
        let Some(report) = &self.report else { return Ok(()) };
        let Some(simulation) = &report.simulation else { return Ok(()) };
        let (stored, now) = (&simulation.run_hash, simulated.run_hash());
        if stored == now {
            return Ok(());
        }
        let path = self.path.display();
        Err(match report.commit == crate::COMMIT {
            true => Stopped::Failed(format!(
                "{path} has run hash {stored}, but this program, of the same commit {}, makes {now} of its plan: one of the two \
                 was built with changes that are not committed, or a run is not repeatable (`hearsay run --sim --plan {path}/plan.yaml \
                 --twice` tells)",
                report.commit
            )),
            false => wrong(format!(
                "{path} was made by commit {} (run hash {stored}); this program is commit {} and makes another run of its plan \
                 (run hash {now}): build that commit to trace it, or give the plan itself, {path}/plan.yaml",
                report.commit,
                crate::COMMIT
            )),
        })
    }
}

/// An operation of the simulated run that stands for one of a real run.
struct Counterpart<'a> {
    of: String,
    operation: &'a Operation,
}

/// Operations of a real run have other indices in the simulated one. `None`: nothing has to be translated.
fn counterpart_of<'a>(
    around: &Around,
    real: &Case,
    report: &RunReport,
    case: &'a Case,
    slots: u64,
) -> Result<Option<Counterpart<'a>>, Stopped> {
    let Around::Operation(index) = around else {
        let _ = report;
        return Ok(None);
    };
    let known = real.history.operations.iter().find(|operation| operation.index.0 == *index);
    let known = known.ok_or_else(|| wrong(format!("that run has no operation {index}")))?;
    match counterpart(known, &case.history, slots) {
        Some(operation) => Ok(Some(Counterpart { of: known.index.to_string(), operation })),
        None => Err(wrong(format!("{} of that run did not happen in the simulator", known.index))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(parse_time("50ms"), Ok(50_000_000));
        assert_eq!(parse_time("12.5s"), Ok(12_500_000_000));
        assert_eq!(parse_time("800 us"), Ok(800_000));
        for bad in ["", "50", "ms", "-1s", "1h", "nans"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }
}
