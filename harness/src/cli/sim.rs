//! `hearsay run --sim`: one simulated run, or many at once with one summary. No sandbox, no rights, no waiting.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nix::sys::signal::{SigSet, Signal};
use serde::Serialize;

use crate::campaign::{self, Campaign};
use crate::exit::Outcome;
use crate::plan::Plan;
use crate::report::marks::{marks_line, never_hit};
use crate::report::{Problem, ProblemKind, RunReport, outcome_of, render, simulated_header};
use crate::run::judge::{about, shell_word};
use crate::sandbox::enter::SAME_ORDER_WITHIN;
use crate::sim::{Settings, Simulated, simulate};
use crate::store::{RunDirectory, write_json, write_whole};
use crate::trace::{EventsHeader, record_events, run_both};

use super::findings::{Findings, Shortest};
use super::run::RunArgs;
use super::seeds::why;
use super::{failed, misused, print, print_json};

/// Runs the plan, or with `--seeds` its campaign with the seeds that follow.
pub(super) fn run(args: &RunArgs, plan: &Plan) -> ExitCode {
    match (args.runs_max(), &args.campaign) {
        (Some(count), Some(name)) => match campaign::load(name) {
            Ok(campaign) => run_many(args, name, &campaign, plan.seed, count),
            Err(error) => misused(&error),
        },
        _ => run_one(args, plan),
    }
}

fn run_one(args: &RunArgs, plan: &Plan) -> ExitCode {
    if !args.json {
        print(&format!("{}\n{}\n", simulated_header(&plan.campaign, plan.seed, crate::COMMIT), about(plan)));
    }
    let directory = match make_directory(&args.store, plan) {
        Ok(directory) => directory,
        Err(error) => return failed(&error),
    };
    if let Err(error) = end_when_interrupted(args, plan) {
        return failed(&error);
    }
    let simulated = match simulate_watched(args, plan, &directory) {
        Ok(simulated) => simulated,
        Err(error) => return failed(&error),
    };
    let mut report = simulated.report(plan, String::new(), String::new());
    if args.require_marks {
        require_marks(&mut report);
    }
    if let Err(error) = fill(args, &directory, &simulated, &mut report) {
        return failed(&error);
    }
    if args.json {
        print_json(&report);
    } else {
        // Its first two lines were printed at the start.
        print(render(&report).splitn(3, '\n').nth(2).expect("a report has more than two lines"));
    }
    ExitCode::from(report.exit_code)
}

/// Ends the program at the first signal. Nothing of a simulated run needs to be taken down, and half of one is nothing to
/// judge: the same plan gives all of it again.
fn end_when_interrupted(args: &RunArgs, plan: &Plan) -> Result<(), String> {
    #[derive(Serialize)]
    struct Interrupted {
        campaign: String,
        seed: u64,
        outcome: Outcome,
        exit_code: u8,
        interrupted: bool,
    }
    let signals = block_signals().map_err(|error| format!("signals can't be blocked: {error}"))?;
    let outcome = Outcome::Unknown;
    let exit_code = outcome.exit_code();
    let (campaign, seed, json) = (plan.campaign.clone(), plan.seed, args.json);
    thread::spawn(move || {
        if signals.wait().is_err() {
            return;
        }
        if json {
            print_json(&Interrupted { campaign, seed, outcome, exit_code, interrupted: true });
        } else {
            print(&format!(
                "The run was interrupted; nothing of it is stored but its plan, which gives the same run again.\n\n\
                 verdict: {} (exit code {exit_code})\n",
                outcome.words()
            ));
        }
        std::process::exit(i32::from(exit_code));
    });
    Ok(())
}

/// One run, or two side by side, or one that is written down event by event.
fn simulate_watched(args: &RunArgs, plan: &Plan, directory: &RunDirectory) -> Result<Simulated, String> {
    let settings = Settings::default();
    if args.twice {
        let ([first, second], difference) = run_both((plan, settings), (plan, settings));
        return match difference {
            None if first.run_hash() == second.run_hash() => {
                if !args.json {
                    print("carried out twice: equal to the bit\n");
                }
                Ok(first)
            }
            None => Err("the two runs have different hashes, and no event that differs".to_owned()),
            Some(difference) => {
                let told = difference.render(["the first time", "the second time"]);
                Err(format!("carried out twice, the plan gave two different runs: {told}"))
            }
        };
    }
    let Some(path) = &args.events else { return Ok(simulate(plan, settings)) };
    let file = directory.plan();
    let file = file.canonicalize().map_err(|error| format!("{}: {error}", file.display()))?;
    let header = EventsHeader::new(&plan.campaign, plan.seed, file);
    record_events(plan, settings, path, &header).map_err(|error| error.to_string())
}

/// A run that did not take every rare branch says nothing about the others.
fn require_marks(report: &mut RunReport) {
    let never = never_hit(&report.marks).len();
    if never > 0 {
        let message = format!("{never} marks were never hit: see `marks`");
        report.problems.push(Problem { kind: ProblemKind::MarksNotHit, message });
        report.outcome = outcome_of(&report.verdicts, &report.problems);
        report.exit_code = report.outcome.exit_code();
    }
}

/// Writes a run into the store; the report then says where it is.
fn keep(args: &RunArgs, plan: &Plan, simulated: &Simulated, report: &mut RunReport) -> Result<(), String> {
    fill(args, &make_directory(&args.store, plan)?, simulated, report)
}

fn make_directory(store: &Path, plan: &Plan) -> Result<RunDirectory, String> {
    let time = jiff::Zoned::now().strftime("%Y%m%dT%H%M%S").to_string();
    let directory = RunDirectory::create(store, &plan.campaign, &time, plan.seed)
        .map_err(|error| format!("{error}; give a place that can be written with --store"))?;
    plan.save(&directory.plan()).map_err(|error| error.to_string())?;
    Ok(directory)
}

fn fill(args: &RunArgs, directory: &RunDirectory, simulated: &Simulated, report: &mut RunReport) -> Result<(), String> {
    report.directory = directory.path().display().to_string();
    report.replay = format!("hearsay run --sim --plan {}{}", shell_word(&directory.plan()), args.replay_options());
    let written = simulated
        .write(directory)
        .and_then(|()| directory.remove_data())
        .and_then(|()| write_json(&directory.verdict(), report))
        .and_then(|()| write_whole(&directory.report(), render(report).as_bytes()));
    written.map_err(|error| error.to_string())
}

/// The summary of all runs, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Summary {
    campaign: String,
    /// The bug that was planted in every node.
    #[serde(skip_serializing_if = "Option::is_none")]
    planted: Option<String>,
    outcome: Outcome,
    exit_code: u8,
    interrupted: bool,
    /// How many runs there were.
    runs: u64,
    by_outcome: BTreeMap<Outcome, u64>,
    /// What was found, by kind.
    findings: Findings,
    /// Why no further run was started, though more were asked for.
    stopped: Option<String>,
    /// Runs that were not as expected, by seed.
    failing: Vec<Failing>,
    /// How often each rare branch was taken in all runs, by name.
    marks: BTreeMap<String, u64>,
    /// Hash over the hashes of all runs, in the order of their seeds.
    hash_of_all: String,
    events: u64,
    virtual_s: f64,
    real_s: f64,
}

/// A run that was not as expected.
#[derive(Debug, Serialize)]
struct Failing {
    seed: u64,
    outcome: Outcome,
    directory: String,
    why: String,
}

/// What a worker brings back.
struct Done {
    report: RunReport,
    shortest: Shortest,
    /// Of a run that is to be kept.
    kept: Option<Box<(Plan, Simulated)>>,
}

fn run_many(args: &RunArgs, name: &str, campaign: &Campaign, first: u64, count: u64) -> ExitCode {
    let stop = Arc::new(AtomicBool::new(false));
    let interrupted = match watch_signals(Arc::clone(&stop)) {
        Ok(interrupted) => interrupted,
        Err(error) => return failed(&format!("signals can't be blocked: {error}")),
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.map_or(cores, usize::from).min(usize::try_from(count).unwrap_or(usize::MAX));
    if !args.json {
        let commit = crate::COMMIT;
        let seeds = args.seeds_words(first);
        print(&format!("hearsay run {name}, simulated, {seeds}, {jobs} at once, commit {commit}\n"));
    }
    let bar = progress_bar(args.seeds);
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let (sender, done) = mpsc::sync_channel(2 * jobs);
    let gathered = thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, next, stop) = (sender.clone(), &next, &stop);
            scope.spawn(move || {
                let is_late = || args.time.is_some_and(|time| began.elapsed() >= time);
                while !stop.load(Ordering::Relaxed) && !is_late() {
                    let offset = next.fetch_add(1, Ordering::Relaxed);
                    let Some(seed) = first.checked_add(offset).filter(|_| offset < count) else { return };
                    if sender.send(run_seed(args, name, campaign, seed)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut gathered = Gathered::default();
        for Done { mut report, mut shortest, kept } in done {
            if let Some(kept) = kept {
                let (plan, simulated) = *kept;
                if let Err(error) = keep(args, &plan, &simulated, &mut report) {
                    stop.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
            shortest.directory.clone_from(&report.directory);
            let is_awaited = gathered.add(&report, &shortest, args.stop_on.as_deref());
            if report.outcome != Outcome::AsExpected && !args.json {
                let line =
                    format!("seed {}: {}  {}{}\n", report.seed, report.outcome.words(), report.directory, why(&report));
                bar.suspend(|| print(&line));
            }
            let enough = args.stop_after.is_some_and(|most| gathered.failing.len() as u64 >= most);
            if is_awaited {
                let awaited = args.stop_on.as_deref().unwrap_or_default();
                gathered.stopped.get_or_insert(format!("seed {} found {awaited}", report.seed));
            } else if enough {
                let found = format!("{} runs were not as expected", gathered.failing.len());
                gathered.stopped.get_or_insert(found);
            }
            if gathered.stopped.is_some() {
                stop.store(true, Ordering::Relaxed);
            }
            let rate = gathered.hashes.len() as f64 / began.elapsed().as_secs_f64().max(1e-3);
            let left = args.time.map_or(String::new(), |time| {
                format!(", {:.0} s left", time.saturating_sub(began.elapsed()).as_secs_f64())
            });
            bar.set_message(format!("{} not as expected, {rate:.1} runs/s{left}", gathered.failing.len()));
            bar.inc(1);
        }
        Ok(gathered)
    });
    bar.finish_and_clear();
    let summary = match gathered {
        Ok(mut gathered) => {
            let runs = gathered.hashes.len() as u64;
            if let Some(time) = args.time.filter(|time| runs < count && began.elapsed() >= *time) {
                gathered.stopped.get_or_insert(format!("its time of {:.0} s is over", time.as_secs_f64()));
            }
            gathered.summary(
                (name, args.planted()),
                (interrupted.load(Ordering::Relaxed), args.require_marks),
                began.elapsed().as_secs_f64(),
            )
        }
        Err(error) => return failed(&error),
    };
    if args.json {
        print_json(&summary);
    } else {
        print(&text(&summary, count, &args.again(name)));
    }
    ExitCode::from(summary.exit_code)
}

fn run_seed(args: &RunArgs, name: &str, campaign: &Campaign, seed: u64) -> Done {
    let plan = args.plan_of(campaign, seed);
    let simulated = simulate(&plan, Settings::default());
    let report = simulated.report(&plan, String::new(), format!("{} {seed}", args.again(name)));
    let shortest = Shortest::of(&plan, &report);
    let keeps = args.store_all || report.outcome != Outcome::AsExpected;
    Done { report, shortest, kept: keeps.then(|| Box::new((plan, simulated))) }
}

/// Blocks the signals that end a run, for this thread and those it starts.
fn block_signals() -> nix::Result<SigSet> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block()?;
    Ok(signals)
}

/// The first signal sets `stop`, so that what is under way comes to its end; the second ends everything. Threads that are there
/// already are not covered.
pub(super) fn watch_signals(stop: Arc<AtomicBool>) -> nix::Result<Arc<AtomicBool>> {
    let signals = block_signals()?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&interrupted);
    // Lives as long as the process; the other threads inherit the blocked signals.
    thread::spawn(move || {
        let mut first: Option<Instant> = None;
        while signals.wait().is_ok() {
            // What comes at once is the same order given twice, as by `timeout` (to the process and to its group).
            if first.is_some_and(|first| first.elapsed() < SAME_ORDER_WITHIN) {
                continue;
            }
            first.get_or_insert_with(Instant::now);
            if told.swap(true, Ordering::Relaxed) {
                std::process::exit(i32::from(Outcome::HarnessFailed.exit_code()));
            }
            stop.store(true, Ordering::Relaxed);
        }
    });
    Ok(interrupted)
}

/// On stderr when that is a terminal, hidden elsewhere.
pub(super) fn progress_bar(count: Option<u64>) -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let template = if count.is_some() { "{spinner} {pos} of {len} runs, {msg}" } else { "{spinner} {pos} runs, {msg}" };
    let style = ProgressStyle::with_template(template).expect("a constant template");
    ProgressBar::with_draw_target(count, target).with_style(style)
}

/// What the runs so far brought.
#[derive(Default)]
struct Gathered {
    hashes: BTreeMap<u64, String>,
    by_outcome: BTreeMap<Outcome, u64>,
    findings: Findings,
    failing: BTreeMap<u64, Failing>,
    marks: BTreeMap<String, u64>,
    stopped: Option<String>,
    events: u64,
    virtual_ns: u128,
}

impl Gathered {
    /// Whether it found what is waited for.
    fn add(&mut self, report: &RunReport, shortest: &Shortest, stop_on: Option<&str>) -> bool {
        let seed = report.seed;
        *self.by_outcome.entry(report.outcome).or_default() += 1;
        if let Some(simulation) = &report.simulation {
            self.hashes.insert(seed, simulation.run_hash.clone());
            self.events += simulation.events;
            self.virtual_ns += u128::from(simulation.virtual_ns);
        }
        for (name, count) in &report.marks {
            *self.marks.entry(name.clone()).or_default() += count;
        }
        let is_awaited = self.findings.add(report, shortest, stop_on);
        if report.outcome != Outcome::AsExpected {
            let (outcome, directory) = (report.outcome, report.directory.clone());
            self.failing.insert(seed, Failing { seed, outcome, directory, why: why(report).trim().to_owned() });
        }
        is_awaited
    }

    fn summary(
        self,
        (campaign, planted): (&str, Option<String>),
        (interrupted, require_marks): (bool, bool),
        real_s: f64,
    ) -> Summary {
        let worst = self.by_outcome.keys().max().copied().unwrap_or(Outcome::NothingRan);
        // Interrupted: what was asked for is not what was run.
        let short = interrupted || (require_marks && !never_hit(&self.marks).is_empty());
        let outcome = if short { worst.max(Outcome::Unknown) } else { worst };
        let mut hasher = blake3::Hasher::new();
        for (seed, hash) in &self.hashes {
            hasher.update(&seed.to_le_bytes());
            hasher.update(hash.as_bytes());
        }
        Summary {
            campaign: campaign.to_owned(),
            planted,
            outcome,
            exit_code: outcome.exit_code(),
            interrupted,
            runs: self.by_outcome.values().sum(),
            by_outcome: self.by_outcome,
            findings: self.findings,
            stopped: self.stopped,
            failing: self.failing.into_values().collect(),
            marks: self.marks,
            hash_of_all: hasher.finalize().to_hex().to_string(),
            events: self.events,
            virtual_s: self.virtual_ns as f64 / 1e9,
            real_s,
        }
    }
}

fn text(summary: &Summary, asked: u64, again: &str) -> String {
    let mut text = String::new();
    let written = write_text(&mut text, summary, asked, again);
    written.expect("a String takes all that is written");
    text
}

fn write_text(out: &mut String, summary: &Summary, asked: u64, again: &str) -> std::fmt::Result {
    if summary.interrupted {
        writeln!(out, "interrupted after {} of {asked} runs", summary.runs)?;
    }
    summary.findings.write(out, again)?;
    if let Some(reason) = &summary.stopped {
        writeln!(out, "\nno further run was started: {reason}")?;
    }
    let counts: Vec<String> =
        summary.by_outcome.iter().map(|(outcome, count)| format!("{count} {}", outcome.words())).collect();
    let Summary { runs, events, virtual_s, real_s, hash_of_all, outcome, exit_code, .. } = summary;
    let faster = virtual_s / real_s.max(1e-3);
    writeln!(out, "\n{runs} runs: {}", counts.join(", "))?;
    writeln!(out, "{events} events, {virtual_s:.0} s of virtual time in {real_s:.1} s, {faster:.0} times real time")?;
    if let Some(line) = marks_line(&summary.marks) {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "hash of all runs: {hash_of_all}")?;
    let worst = summary.failing.iter().find(|failing| failing.outcome == *outcome);
    let worst = worst
        .map_or(String::new(), |failing| format!("; evidence: {}; again: {again} {}", failing.directory, failing.seed));
    writeln!(out, "verdict: {} (exit code {exit_code}){worst}", outcome.words())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_and_says_why_it_stopped() {
        let summary = Summary {
            campaign: "q".to_owned(),
            planted: None,
            outcome: Outcome::Violation,
            exit_code: 1,
            interrupted: false,
            runs: 5,
            by_outcome: [(Outcome::AsExpected, 3), (Outcome::Violation, 2)].into(),
            findings: Findings::default(),
            stopped: Some("seed 3 found stale-read".to_owned()),
            failing: vec![Failing {
                seed: 3,
                outcome: Outcome::Violation,
                directory: "store/q/3".to_owned(),
                why: String::new(),
            }],
            marks: BTreeMap::new(),
            hash_of_all: "ab".to_owned(),
            events: 1_000,
            virtual_s: 300.0,
            real_s: 2.0,
        };
        let expected = "\nno further run was started: seed 3 found stale-read\n\n\
                        5 runs: 3 as expected, 2 VIOLATION\n1000 events, 300 s of virtual time in 2.0 s, 150 times real time\n\
                        hash of all runs: ab\n\
                        verdict: VIOLATION (exit code 1); evidence: store/q/3; again: hearsay run q --sim --seed 3\n";
        assert_eq!(text(&summary, 5, "hearsay run q --sim --seed"), expected);
    }
}
