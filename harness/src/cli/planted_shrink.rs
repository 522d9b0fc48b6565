//! `hearsay planted --shrink`: the failing plan of every planted bug, shrunk; one table.

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use comfy_table::{Table, presets};
use indicatif::ProgressStyle;
use serde::Serialize;

use crate::exit::Outcome;
use crate::planted::{Case, ShrunkBug, hunt, shrink_planted};
use crate::shrink::{Anomaly, Budget, PlanSize, processor_time};

use super::sim::{progress_bar, watch_signals};
use super::{failed, print, print_json};

/// A shrunk plan is to have so many faults at most.
const FAULTS_GOAL: usize = 5;
/// And so many operations at most.
const OPERATIONS_GOAL: usize = 20;

/// The table, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Summary {
    exit_code: u8,
    bugs: Vec<Line>,
    /// Bugs that were asked for; with fewer lines than these it was interrupted.
    asked: usize,
    seconds: f64,
}

/// One bug.
#[derive(Debug, Serialize)]
struct Line {
    bug: &'static str,
    campaign: &'static str,
    /// The seed that found it; `null`: none did.
    seed: Option<u64>,
    anomaly: Option<Anomaly>,
    before: Option<PlanSize>,
    after: Option<PlanSize>,
    tried: u64,
    /// Of processor time, without the hunt.
    seconds: f64,
    /// The smaller plan, saved and read again, shows the same twice with equal hashes.
    replays: bool,
    /// Without the bug it does not.
    needs_bug: bool,
    /// All that, and few enough faults and operations.
    good: bool,
}

/// Hunts and shrinks each of them, so many at once, each with one core.
pub(super) fn run(cases: &[&'static Case], jobs: usize, budget: Duration, out: Option<&Path>, json: bool) -> ExitCode {
    let began = Instant::now();
    if let Some(out) = out
        && let Err(error) = std::fs::create_dir_all(out)
    {
        return failed(&format!("can't make {}: {error}; give a place that can be written with --out", out.display()));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let interrupted = match watch_signals(Arc::clone(&stop)) {
        Ok(interrupted) => interrupted,
        Err(error) => return failed(&format!("signals can't be blocked: {error}")),
    };
    let bar = progress_bar(Some(cases.len() as u64));
    bar.set_style(ProgressStyle::with_template("{spinner} {pos} of {len} bugs, {msg}").expect("a constant template"));
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..jobs.min(cases.len()) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(place) else { return };
                    bar.set_message(case.bug.name());
                    let line = shrink_one(case, budget, out);
                    done.lock().expect("nobody panics while holding it").push((place, line));
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut done = done.into_inner().expect("nobody panicked while holding it");
    done.sort_by_key(|(place, _)| *place);
    let lines: Result<Vec<Line>, String> = done.into_iter().map(|(_, line)| line).collect();
    let bugs = match lines {
        Ok(bugs) => bugs,
        Err(error) => return failed(&error),
    };
    // Interrupted: nothing is known of the rest.
    let outcome = match interrupted.load(Ordering::Relaxed) {
        _ if !bugs.iter().all(|line| line.good) => Outcome::Violation,
        true => Outcome::Unknown,
        false => Outcome::AsExpected,
    };
    let exit_code = outcome.exit_code();
    let summary = Summary { exit_code, bugs, asked: cases.len(), seconds: began.elapsed().as_secs_f64() };
    if json {
        print_json(&summary);
    } else {
        print(&text(&summary));
    }
    ExitCode::from(exit_code)
}

fn shrink_one(case: &'static Case, budget: Duration, out: Option<&Path>) -> Result<Line, String> {
    let found = hunt(case).map_err(|error| error.to_string())?;
    let mut line = Line {
        bug: case.bug.name(),
        campaign: case.campaign,
        seed: found.map(|found| found.seed),
        anomaly: None,
        before: None,
        after: None,
        tried: 0,
        seconds: 0.0,
        replays: false,
        needs_bug: false,
        good: false,
    };
    let Some(seed) = line.seed else { return Ok(line) };
    let began = processor_time();
    let budget = Budget { until: None, processor: Some(budget), trials_max: u64::MAX };
    let shrunk = shrink_planted(case, seed, 1, budget).map_err(|error| error.to_string())?;
    line.seconds = processor_time().saturating_sub(began).as_secs_f64();
    let ShrunkBug { anomaly, before, after, tried, plan, replays, needs_bug, ended: _ } = shrunk;
    line.good = replays && needs_bug && after.faults <= FAULTS_GOAL && after.operations <= OPERATIONS_GOAL;
    (line.anomaly, line.before, line.after) = (Some(anomaly), Some(before), Some(after));
    (line.tried, line.replays, line.needs_bug) = (tried, replays, needs_bug);
    if let Some(out) = out {
        let file = out.join(format!("{}.yaml", case.bug.name()));
        plan.save(&file).map_err(|error| error.to_string())?;
    }
    Ok(line)
}

fn text(summary: &Summary) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "bug",
        "campaign",
        "seed",
        "faults",
        "operations",
        "nodes",
        "virtual s",
        "tried",
        "cpu s",
        "replays",
    ]);
    let yes = |line: &Line| match (line.replays, line.needs_bug) {
        (true, true) => "yes",
        (true, false) => "ALSO WITHOUT THE BUG",
        (false, _) => "NO",
    };
    for line in &summary.bugs {
        let (bug, campaign) = (line.bug.to_owned(), line.campaign.to_owned());
        let (Some(seed), Some(before), Some(after)) = (line.seed, &line.before, &line.after) else {
            table.add_row([bug, campaign, "NOT FOUND".to_owned()]);
            continue;
        };
        table.add_row([
            bug,
            campaign,
            seed.to_string(),
            format!("{} > {}", before.faults, after.faults),
            format!("{} > {}", before.operations, after.operations),
            format!("{} > {}", before.nodes, after.nodes),
            format!("{:.0} > {:.2}", before.seconds, after.seconds),
            line.tried.to_string(),
            format!("{:.1}", line.seconds),
            yes(line).to_owned(),
        ]);
    }
    let text: String = table.lines().map(|line| format!("{}\n", line.trim())).collect();
    let good = summary.bugs.iter().filter(|line| line.good).count();
    let (all, asked, seconds, exit_code) = (summary.bugs.len(), summary.asked, summary.seconds, summary.exit_code);
    let short = if all < asked { format!("interrupted after {all} of {asked} bugs\n") } else { String::new() };
    text + &format!(
        "\n{short}{good} of {all} shrunk to at most {FAULTS_GOAL} faults and {OPERATIONS_GOAL} operations that replay, and only with \
         the bug; {seconds:.1} s (exit code {exit_code})\n"
    )
}
