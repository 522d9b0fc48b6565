//! `hearsay check`: judges again what was recorded, by the expectations of its plan or by models of one's choice.
//! Histories of other systems are [`super::foreign`].

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use hearsay_checkers::Case;
use hearsay_checkers::stream::{can_judge, judge_jsonl};
use hearsay_workloads::Expectation;
use serde::Serialize;

use crate::exit::Outcome;
use crate::plan::Plan;
use crate::report::{JudgedVerdict, Problem, ProblemKind, RunReport, outcome_of, render_judgement, required_outcome};
use crate::run::judge::{judge_case, options_of};
use crate::store::{RunDirectory, load_case, load_json};

use super::foreign::{self, ForeignArgs, ModelArgs};
use super::{misused, print, print_json, strongest};

/// What to judge.
#[derive(Clone, Debug, Args)]
pub(super) struct CheckArgs {
    /// A run's directory, such as store/latest, or a history: this program's, or one of another system
    path: PathBuf,
    #[command(flatten)]
    foreign: ForeignArgs,
    #[command(flatten)]
    models: ModelArgs,
    /// Judge by these models only, each expected to hold unless the run's plan expects it to be violated
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    model: Vec<String>,
    /// Print the judgement as one JSON object
    #[arg(long)]
    json: bool,
}

/// A judgement, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Judged {
    path: String,
    outcome: Outcome,
    exit_code: u8,
    notes: Vec<String>,
    verdicts: Vec<JudgedVerdict>,
    problems: Vec<Problem>,
}

/// Judges and prints.
pub(super) fn run(args: &CheckArgs) -> ExitCode {
    match foreign::judge_stream(&args.path, &args.foreign, &args.model, &args.models) {
        Ok(None) => {}
        Ok(Some(judged)) => return judged.show(args.json),
        Err(error) => return misused(&error),
    }
    match foreign::load(&args.path, &args.foreign) {
        Ok(None) => {}
        Ok(Some(loaded)) => return foreign::check(loaded, &args.model, &args.models, args.json),
        Err(error) => return misused(&error),
    }
    let bytes = std::fs::metadata(&args.path).map_or(0, |about| if about.is_file() { about.len() } else { 0 });
    if (args.models.strongest || args.models.svg.is_some())
        && let Err(error) = args.models.needs_whole(bytes.saturating_mul(MEMORY_PER_BYTE))
    {
        return misused(&format!("{}: {error}", args.path.display()));
    }
    if args.models.strongest {
        return match load_case(&args.path) {
            Ok(case) => {
                let title = format!("hearsay check {}, commit {}", args.path.display(), crate::COMMIT);
                let (notes, options, svg) = (&case.history.notes, args.models.options(), args.models.svg.as_deref());
                strongest::check(&title, notes, &case, &options, svg, args.json)
            }
            Err(error) => misused(&error),
        };
    }
    let judged = match judge_stream(args).transpose().unwrap_or_else(|| judge(args)) {
        Ok(judged) => judged,
        Err(error) => return misused(&error),
    };
    if args.json {
        print_json(&judged);
    } else {
        let title = format!("hearsay check {}, commit {}", judged.path, crate::COMMIT);
        print(&render_judgement(&title, &judged.notes, &judged.verdicts, &judged.problems, judged.outcome));
    }
    ExitCode::from(judged.exit_code)
}

/// Files from this size on are not held in memory as a whole if the models asked for allow it.
const STREAM_BYTES_MIN: u64 = 32 << 20;

/// Judges a history while it is read, if it is a file by itself, large, and asked for by models that can be judged so.
fn judge_stream(args: &CheckArgs) -> Result<Option<Judged>, String> {
    let path = &args.path;
    let size = std::fs::metadata(path).map_or(0, |about| if about.is_file() { about.len() } else { 0 });
    let is_asked = size >= STREAM_BYTES_MIN || (size > 0 && args.models.memory.is_some());
    let memory_max = args.models.options().budget.memory_bytes_max;
    let (models, left_out): (Vec<String>, Vec<String>) = match args.model.as_slice() {
        // All models would need the history with its nodes, which takes several times the size of the file.
        [] if size.saturating_mul(MEMORY_PER_BYTE) > memory_max => {
            let all = hearsay_checkers::models_of(&Case::default()).into_iter().map(str::to_owned);
            all.partition(|model| can_judge(model))
        }
        asked => (asked.to_vec(), Vec::new()),
    };
    // A limit that was set is kept: what can't be judged so is unknown.
    let is_limited = args.models.memory.is_some() && size.saturating_mul(MEMORY_PER_BYTE) > memory_max;
    let can_all = is_limited || models.iter().all(|model| can_judge(model));
    if !is_asked || models.is_empty() || !can_all || args.models.svg.is_some() {
        return Ok(None);
    }
    let open = || std::fs::File::open(path).map(|file| BufReader::with_capacity(STREAM_BUFFER_BYTES, file));
    let judged = judge_jsonl(open, &models, &args.models.options());
    let judged = judged.map_err(|error| format!("{}: {error}", path.display()))?;
    let mut notes = vec![format!(
        "Judged as it was read: {} operations, {} of the file.",
        judged.operations,
        if judged.passes == 1 { "1 pass".to_owned() } else { format!("{} passes", judged.passes) }
    )];
    if !left_out.is_empty() {
        notes
            .push(format!("Not judged, since all of the history would have to be in memory: {}.", left_out.join(", ")));
    }
    notes.extend(judged.notes);
    let expectation = Expectation::Holds;
    let verdicts = judged.verdicts.into_iter().map(|verdict| JudgedVerdict {
        expectation,
        outcome: required_outcome(expectation, &verdict),
        verdict,
    });
    let verdicts: Vec<JudgedVerdict> = verdicts.collect();
    let outcome = outcome_of(&verdicts, &[]);
    let path = path.display().to_string();
    Ok(Some(Judged { path, outcome, exit_code: outcome.exit_code(), notes, verdicts, problems: Vec::new() }))
}

/// Bytes that a whole history takes in memory for each of its file, with what models build beside it.
const MEMORY_PER_BYTE: u64 = 4;

/// Bytes of a file that are in memory while it is judged as it is read.
const STREAM_BUFFER_BYTES: usize = 1 << 18;

fn judge(args: &CheckArgs) -> Result<Judged, String> {
    let path = &args.path;
    let case = load_case(path).map_err(|error| error.to_string())?;
    let plan = load_plan(path)?;
    let ended = case.phases.last().map_or(0, |phase| phase.to);
    let options = |checker: &str| match &plan {
        Some(plan) => args.models.limit(options_of(plan, ended, checker)),
        None => args.models.options(),
    };
    let expect = expectations(args, &case, plan.as_ref());
    let verdicts = judge_case(&case, &expect, options).map_err(|error| error.to_string())?;
    if let Some(svg) = &args.models.svg {
        strongest::draw(svg, &case, &args.models.options(), verdicts.iter().map(|judged| &judged.verdict))?;
    }
    // What the run itself had to say stays said: a fault that never bit does not bite by judging again.
    let problems = if plan.is_some() && args.model.is_empty() { earlier_problems(path)? } else { Vec::new() };
    let outcome = outcome_of(&verdicts, &problems);
    Ok(Judged {
        path: path.display().to_string(),
        outcome,
        exit_code: outcome.exit_code(),
        notes: case.history.notes,
        verdicts,
        problems,
    })
}

fn load_plan(path: &Path) -> Result<Option<Plan>, String> {
    let plan = RunDirectory::open(path).plan();
    if !path.is_dir() || !plan.exists() {
        return Ok(None);
    }
    Plan::load(&plan).map(Some).map_err(|error| error.to_string())
}

/// The models asked for; without, those of the plan; without one, all that this case has evidence for.
fn expectations(args: &CheckArgs, case: &Case, plan: Option<&Plan>) -> BTreeMap<String, Expectation> {
    if !args.model.is_empty() {
        // Whoever asks for a model wants to know: where the plan expects nothing of it, it has to hold.
        let planned = |name: &String| plan.and_then(|plan| plan.expect.get(name)).copied();
        let asked = |name: &String| planned(name).filter(|expected| *expected != Expectation::Any);
        let hold = |name: &String| (name.clone(), asked(name).unwrap_or(Expectation::Holds));
        return args.model.iter().map(hold).collect();
    }
    if let Some(plan) = plan {
        return plan.expect.clone();
    }
    let all = hearsay_checkers::models_of(case).into_iter().map(str::to_owned);
    let expected = |name: String| {
        // A history by itself does not say what was stored at the end, nor when faults were in force.
        let about_the_run = ["convergence", "acknowledged-writes", "availability"].contains(&name.as_str());
        let expectation =
            if about_the_run && case.final_state.is_none() { Expectation::Any } else { Expectation::Holds };
        (name, expectation)
    };
    all.map(expected).collect()
}

fn earlier_problems(path: &Path) -> Result<Vec<Problem>, String> {
    let report: Option<RunReport> =
        load_json(&RunDirectory::open(path).verdict()).map_err(|error| error.to_string())?;
    Ok(match report {
        Some(report) => report.problems,
        None => vec![Problem {
            kind: ProblemKind::DidNotEnd,
            message: "the run did not come to its end: it has no verdict.json".to_owned(),
        }],
    })
}
