//! `hearsay run --seeds N`: one run after the other, each in a process and a sandbox of its own, and one summary.

use std::fmt::Write;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;

use crate::exit::Outcome;
use crate::faults::FirewallKind;
use crate::plan::Plan;
use crate::report::RunReport;
use crate::store::RunDirectory;

use super::findings::{Findings, Shortest, names};
use super::run::RunArgs;
use super::{failed, print, print_json};

/// The summary of all runs, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Summary {
    campaign: String,
    outcome: Outcome,
    exit_code: u8,
    interrupted: bool,
    /// What was found, by kind.
    findings: Findings,
    /// Why no further run was started, though more were asked for.
    stopped: Option<String>,
    runs: Vec<Line>,
}

/// One run in the summary.
#[derive(Debug, Serialize)]
struct Line {
    seed: u64,
    outcome: Outcome,
    directory: String,
    why: String,
}

enum Heard {
    Signal(Signal),
    Ended(u8, Option<Box<RunReport>>),
}

/// Runs the campaign with `first`, `first + 1`, ... The worst outcome is the outcome.
pub(super) fn run(args: &RunArgs, first: u64) -> ExitCode {
    let count = args.runs_max().expect("called for this");
    let began = Instant::now();
    let campaign = args.campaign.clone().expect("seeds belong to a campaign");
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    if let Err(error) = signals.thread_block() {
        return failed(&format!("signals can't be blocked: {error}"));
    }
    let (heard_sender, heard) = mpsc::channel();
    let for_signals = heard_sender.clone();
    // Lives as long as the process; inherits the blocked signals, as the other threads do.
    thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            if for_signals.send(Heard::Signal(signal)).is_err() {
                return;
            }
        }
    });
    if !args.json {
        print(&format!("hearsay run {campaign}, {}, commit {}\n\n", args.seeds_words(first), crate::COMMIT));
    }
    let mut summary = Summary {
        campaign: campaign.clone(),
        outcome: Outcome::AsExpected,
        exit_code: 0,
        interrupted: false,
        findings: Findings::default(),
        stopped: None,
        runs: Vec::new(),
    };
    for seed in (0..count).map_while(|offset| first.checked_add(offset)) {
        if let Some(time) = args.time.filter(|time| began.elapsed() >= *time) {
            summary.stopped = Some(format!("its time of {:.0} s is over", time.as_secs_f64()));
            break;
        }
        let (line, report) = match run_one(args, &campaign, seed, &heard_sender, &heard, &mut summary.interrupted) {
            Ok(ran) => ran,
            Err(error) => return failed(&error),
        };
        let is_awaited = report.is_some_and(|report| note(&mut summary.findings, &report, args.stop_on.as_deref()));
        if !args.json {
            let Line { seed, outcome, directory, why } = &line;
            print(&format!("seed {seed}: {}  {directory}{why}\n", outcome.words()));
        }
        summary.outcome = summary.outcome.max(line.outcome);
        summary.runs.push(line);
        let unexpected = summary.runs.iter().filter(|run| run.outcome != Outcome::AsExpected).count() as u64;
        if is_awaited {
            summary.stopped = Some(format!("seed {seed} found {}", args.stop_on.as_deref().unwrap_or_default()));
        } else if args.stop_after.is_some_and(|most| unexpected >= most) {
            summary.stopped = Some(format!("{unexpected} runs were not as expected"));
        }
        if summary.interrupted || summary.stopped.is_some() {
            break;
        }
    }
    if summary.interrupted {
        // What was asked for is not what was run.
        summary.outcome = summary.outcome.max(Outcome::Unknown);
    }
    summary.exit_code = summary.outcome.exit_code();
    if args.json {
        print_json(&summary);
    } else {
        print(&text(&summary, count, &args.again(&campaign)));
    }
    ExitCode::from(summary.exit_code)
}

fn run_one(
    args: &RunArgs,
    campaign: &str,
    seed: u64,
    ended: &mpsc::Sender<Heard>,
    heard: &mpsc::Receiver<Heard>,
    interrupted: &mut bool,
) -> Result<(Line, Option<Box<RunReport>>), String> {
    let child = start(args, campaign, seed).map_err(|error| format!("this program can't be run again: {error}"))?;
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("process numbers are small"));
    let sender = ended.clone();
    thread::spawn(move || {
        let (code, report) = wait(child);
        let _ = sender.send(Heard::Ended(code, report));
    });
    loop {
        match heard.recv().expect("this function holds a sender") {
            Heard::Signal(signal) => {
                *interrupted = true;
                // It may have ended already; its end is then the next thing heard.
                let _ = kill(pid, signal);
            }
            Heard::Ended(code, Some(report)) => {
                debug_assert_eq!(code, report.exit_code);
                let why = why(&report);
                let line = Line { seed, outcome: report.outcome, directory: report.directory.clone(), why };
                return Ok((line, Some(report)));
            }
            Heard::Ended(code, None) => {
                let why = format!("\n    it ended with exit code {code} and no verdict");
                let line = Line { seed, outcome: Outcome::HarnessFailed, directory: String::new(), why };
                return Ok((line, None));
            }
        }
    }
}

fn start(args: &RunArgs, campaign: &str, seed: u64) -> std::io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["run", campaign, "--json", "--seed", &seed.to_string()]);
    command.arg("--end-with").arg(std::process::id().to_string());
    command.arg("--store").arg(&args.store);
    let firewall = match args.firewall {
        FirewallKind::Auto => "auto",
        FirewallKind::Nftables => "nftables",
        FirewallKind::Iptables => "iptables",
    };
    command.args(["--firewall", firewall, "--disks", &args.disks.to_string()]);
    if args.swarm {
        command.arg("--swarm");
    }
    if args.keep_data {
        command.arg("--keep-data");
    }
    if let Some(bug) = args.planted() {
        command.arg("--plant").arg(bug);
    }
    // Ctrl-C reaches this process alone, which passes it on.
    command.stdout(Stdio::piped()).process_group(0).spawn()
}

fn wait(mut child: Child) -> (u8, Option<Box<RunReport>>) {
    let mut printed = Vec::new();
    let read = child.stdout.take().expect("it was asked for").read_to_end(&mut printed);
    let code = child.wait().ok().and_then(|status| status.code());
    let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(Outcome::HarnessFailed.exit_code());
    let report = read.ok().and_then(|_| serde_json::from_slice(&printed).ok());
    (code, report)
}

/// Notes what a run found; whether it is what is waited for.
fn note(findings: &mut Findings, report: &RunReport, stop_on: Option<&str>) -> bool {
    if names(report).is_empty() {
        return false;
    }
    // How large the plan is stands in the plan alone.
    let plan = Plan::load(&RunDirectory::open(Path::new(&report.directory)).plan());
    let (faults, operations) = plan.map_or((0, 0), |plan| (plan.faults.len(), plan.operations.len()));
    let shortest = Shortest { faults, operations, seed: report.seed, directory: report.directory.clone() };
    findings.add(report, &shortest, stop_on)
}

/// The first reason for an outcome that was not expected.
pub(super) fn why(report: &RunReport) -> String {
    if report.outcome == Outcome::AsExpected {
        return String::new();
    }
    let verdict = report.verdicts.iter().find(|judged| judged.outcome == report.outcome);
    let problem = report.problems.iter().find(|problem| problem.kind.outcome() == report.outcome);
    let reason = match (verdict, problem) {
        (Some(judged), _) => {
            let last = judged.verdict.explanation.last().map_or("", String::as_str);
            format!("{} {}: {last}", judged.verdict.checker, judged.verdict.judgement)
        }
        (None, Some(problem)) => problem.message.lines().next().unwrap_or_default().to_owned(),
        (None, None) => String::new(),
    };
    format!("\n    {reason}")
}

fn text(summary: &Summary, asked: u64, command: &str) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for run in &summary.runs {
        *counts.entry(run.outcome).or_insert(0) += 1;
    }
    let counts: Vec<String> =
        counts.into_iter().map(|(outcome, count)| format!("{count} {}", outcome.words())).collect();
    let mut text = String::new();
    if summary.interrupted {
        writeln!(text, "interrupted after {} of {asked} runs", summary.runs.len()).expect("a String takes all");
    }
    summary.findings.write(&mut text, command).expect("a String takes all");
    if let Some(reason) = &summary.stopped {
        writeln!(text, "\nno further run was started: {reason}").expect("a String takes all");
    }
    let again = summary.runs.iter().find(|run| run.outcome == summary.outcome && run.outcome != Outcome::AsExpected);
    let again =
        again.map_or(String::new(), |run| format!("; evidence: {}; again: {command} {}", run.directory, run.seed));
    let (words, code) = (summary.outcome.words(), summary.exit_code);
    writeln!(text, "\n{} runs: {}", summary.runs.len(), counts.join(", ")).expect("a String takes all");
    writeln!(text, "verdict: {words} (exit code {code}){again}").expect("a String takes all");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_and_names_the_worst() {
        let line = |seed, outcome| Line { seed, outcome, directory: format!("store/q/{seed}"), why: String::new() };
        let summary = Summary {
            campaign: "q".to_owned(),
            outcome: Outcome::Violation,
            exit_code: 1,
            interrupted: true,
            findings: Findings::default(),
            stopped: None,
            runs: vec![line(1, Outcome::AsExpected), line(2, Outcome::Violation), line(3, Outcome::Unknown)],
        };
        let expected = "interrupted after 3 of 5 runs\n\n3 runs: 1 as expected, 1 unknown, 1 VIOLATION\n\
                        verdict: VIOLATION (exit code 1); evidence: store/q/2; again: hearsay run q --seed 2\n";
        assert_eq!(text(&summary, 5, "hearsay run q --seed"), expected);
    }
}
