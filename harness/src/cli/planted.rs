//! `hearsay planted`: every planted bug is hunted, and its campaign is run without it; one table.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use comfy_table::{Table, presets};
use hearsay_core::Bug;
use serde::Serialize;

use crate::campaign::parse_duration;
use crate::planted::{CASES, Case, FIRST_SEED, Found, case, hunt, is_as_expected, seeds};

use super::{failed, planted_shrink, print, print_json};

/// Which bugs.
#[derive(Clone, Debug, Args)]
pub(super) struct PlantedArgs {
    /// These alone; without any, all
    #[arg(value_name = "BUG", value_parser = hearsay_node::cli::bug_name)]
    bugs: Vec<String>,
    /// Print the table as one JSON object
    #[arg(long)]
    json: bool,
    /// Runs at once; without it one per core
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Shrink each failing plan instead, one core each, and show what is left of it
    #[arg(long)]
    shrink: bool,
    /// With --shrink: try no further plan of a bug after this much processor time
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration, requires = "shrink")]
    budget: Duration,
    /// With --shrink: save each smaller plan as DIR/BUG.yaml
    #[arg(long, value_name = "DIR", requires = "shrink")]
    out: Option<PathBuf>,
}

/// The table, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Summary {
    exit_code: u8,
    bugs: Vec<Line>,
    without: Vec<Without>,
    seconds: f64,
}

/// One bug.
#[derive(Debug, Serialize)]
struct Line {
    bug: &'static str,
    meaning: &'static str,
    seen_in: &'static str,
    source: Option<&'static str>,
    campaign: &'static str,
    checker: &'static str,
    /// Seeds within which it has to be found.
    within: u64,
    /// Seeds until it was found; `null`: it was not.
    seeds: Option<u64>,
    /// Every checker that found it.
    checkers: Vec<String>,
    said: String,
    seconds: f64,
}

/// A campaign's runs without any bug.
#[derive(Debug, Serialize)]
struct Without {
    campaign: &'static str,
    runs: u64,
    /// Seeds that were not as expected.
    not_as_expected: Vec<u64>,
}

enum Task {
    Hunt(&'static Case),
    Without(&'static str, u64),
}

enum Done {
    Hunted(&'static Case, Option<Found>, f64),
    Ran(&'static str, u64, bool),
}

pub(super) fn run(args: &PlantedArgs) -> ExitCode {
    let cases: Vec<&Case> = match args.bugs.as_slice() {
        [] => CASES.iter().collect(),
        some => {
            Bug::ALL.into_iter().filter(|bug| some.iter().any(|name| name == bug.name())).filter_map(case).collect()
        }
    };
    let unseen = Bug::WITHOUT_CAMPAIGN.iter().find(|bug| args.bugs.iter().any(|name| name == bug.name()));
    if let Some(bug) = unseen {
        let name = bug.name();
        return failed(&format!(
            "no campaign can find {name}: `cargo test -p hearsay-core --features planted-bugs` does"
        ));
    }
    let began = Instant::now();
    let jobs = args.jobs.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from);
    if args.shrink {
        return planted_shrink::run(&cases, jobs, args.budget, args.out.as_deref(), args.json);
    }
    let tasks = tasks(&cases);
    let done = match carry_out(&tasks, jobs) {
        Ok(done) => done,
        Err(error) => return failed(&error),
    };
    let summary = summary(done, began.elapsed().as_secs_f64());
    if args.json {
        print_json(&summary);
    } else {
        print(&text(&summary));
    }
    ExitCode::from(summary.exit_code)
}

/// The hunts, and each campaign without a bug with all seeds that any hunt in it may need.
fn tasks(cases: &[&'static Case]) -> Vec<Task> {
    let mut campaigns: BTreeMap<&str, u64> = BTreeMap::new();
    for case in cases {
        let until = campaigns.entry(case.campaign).or_default();
        *until = (*until).max(*seeds(case).end());
    }
    let hunts = cases.iter().map(|case| Task::Hunt(case));
    let without = campaigns
        .into_iter()
        .flat_map(|(campaign, until)| (FIRST_SEED..=until).map(move |seed| Task::Without(campaign, seed)));
    hunts.chain(without).collect()
}

fn carry_out(tasks: &[Task], jobs: usize) -> Result<Vec<Done>, String> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Ok(Vec::new())));
    thread::scope(|scope| {
        for _ in 0..jobs.min(tasks.len()) {
            scope.spawn(|| {
                while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = carry_out_one(task);
                    let mut done = done.lock().expect("nobody panics while holding it");
                    match (outcome, done.as_mut()) {
                        (Ok(one), Ok(done)) => done.push(one),
                        (Err(error), Ok(_)) => *done = Err(error),
                        (_, Err(_)) => return,
                    }
                }
            });
        }
    });
    done.into_inner().expect("nobody panicked while holding it")
}

fn carry_out_one(task: &Task) -> Result<Done, String> {
    match task {
        Task::Hunt(case) => {
            let began = Instant::now();
            let found = hunt(case).map_err(|error| error.to_string())?;
            Ok(Done::Hunted(case, found, began.elapsed().as_secs_f64()))
        }
        Task::Without(campaign, seed) => {
            let good = is_as_expected(campaign, *seed).map_err(|error| error.to_string())?;
            Ok(Done::Ran(campaign, *seed, good))
        }
    }
}

fn summary(done: Vec<Done>, seconds: f64) -> Summary {
    let mut bugs = Vec::new();
    let mut without: BTreeMap<&str, Without> = BTreeMap::new();
    for one in done {
        match one {
            Done::Hunted(case, found, seconds) => bugs.push(line(case, found, seconds)),
            Done::Ran(campaign, seed, good) => {
                let runs = Without { campaign, runs: 0, not_as_expected: Vec::new() };
                let runs = without.entry(campaign).or_insert(runs);
                runs.runs += 1;
                if !good {
                    runs.not_as_expected.push(seed);
                }
            }
        }
    }
    let place = |line: &Line| CASES.iter().position(|case| case.bug.name() == line.bug);
    bugs.sort_by_key(place);
    let mut without: Vec<Without> = without.into_values().collect();
    without.iter_mut().for_each(|runs| runs.not_as_expected.sort_unstable());
    let all_found = bugs.iter().all(|line| line.seeds.is_some());
    let good = all_found && without.iter().all(|runs| runs.not_as_expected.is_empty());
    Summary { exit_code: u8::from(!good), bugs, without, seconds }
}

fn line(case: &'static Case, found: Option<Found>, seconds: f64) -> Line {
    let until = found.as_ref().map(|found| found.seed - FIRST_SEED + 1);
    let (checkers, said) = found.map_or_else(Default::default, |found| (found.checkers, found.said));
    Line {
        bug: case.bug.name(),
        meaning: case.bug.meaning(),
        seen_in: case.seen_in,
        source: case.source,
        campaign: case.campaign,
        checker: case.checker,
        within: case.within,
        seeds: until,
        checkers,
        said,
        seconds,
    }
}

fn text(summary: &Summary) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["bug", "seen in", "campaign", "checker", "seeds", "within", "seconds"]);
    for line in &summary.bugs {
        table.add_row([
            line.bug.to_owned(),
            line.seen_in.to_owned(),
            line.campaign.to_owned(),
            line.checker.to_owned(),
            line.seeds.map_or_else(|| "NOT FOUND".to_owned(), |seeds| seeds.to_string()),
            line.within.to_string(),
            format!("{:.1}", line.seconds),
        ]);
    }
    let mut text: String = table.lines().map(|line| format!("{}\n", line.trim())).collect();
    text.push('\n');
    for runs in &summary.without {
        let Without { campaign, runs, not_as_expected } = runs;
        text += &match not_as_expected.as_slice() {
            [] => format!("{campaign} without a bug: {runs} seeds, all as expected\n"),
            seeds => format!("{campaign} without a bug: {runs} seeds, NOT AS EXPECTED with {seeds:?}\n"),
        };
    }
    let found = summary.bugs.iter().filter(|line| line.seeds.is_some()).count();
    let (all, seconds, exit_code) = (summary.bugs.len(), summary.seconds, summary.exit_code);
    text + &format!("\n{found} of {all} planted bugs found in {seconds:.1} s (exit code {exit_code})\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bug_that_is_not_found_and_a_finding_without_a_bug_are_failures() {
        let found = Found { seed: 2, checkers: vec!["linearizable".to_owned()], said: "So it is.".to_owned() };
        let hunted = |found: &Option<Found>| Done::Hunted(&CASES[0], found.clone(), 0.5);
        let found = Some(found);
        for (done, exit_code, said) in [
            (vec![hunted(&found), Done::Ran("quickstart", 1, true)], 0, "1 of 1 planted bugs found"),
            (vec![hunted(&None), Done::Ran("quickstart", 1, true)], 1, "NOT FOUND"),
            (vec![hunted(&found), Done::Ran("quickstart", 1, false)], 1, "NOT AS EXPECTED with [1]"),
        ] {
            let summary = summary(done, 1.0);
            assert_eq!(summary.exit_code, exit_code, "{said}");
            assert!(text(&summary).contains(said), "{}", text(&summary));
        }
    }
}
