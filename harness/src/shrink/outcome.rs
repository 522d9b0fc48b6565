//! What a shrinking brought: the smaller plan, and a text that says it all.

use std::fmt::Write;

use serde::Serialize;

use crate::plan::Plan;
use crate::run::timeline::targets;

use super::passes::with_other_expectations_open;
use super::{Anomaly, PlanSize, Search};

/// A plan with more faults and operations than these is not told line by line.
const LINES_MAX: usize = 40;

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Nothing that is tried takes anything more away.
    Minimal,
    /// The budget ended first.
    Budget,
    /// Somebody ended it first.
    Interrupted,
}

/// What a shrinking brought, as `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Shrunk {
    /// What was shrunk.
    pub run: String,
    /// What every kept step showed.
    pub anomaly: Anomaly,
    /// Where candidates were tried: `simulated`, or `real`.
    pub world: String,
    /// The plan as it was.
    pub before: PlanSize,
    /// The plan as it is.
    pub after: PlanSize,
    /// Why it ended.
    pub ended: Ended,
    /// Plans that were tried.
    pub tried: u64,
    /// Plans that were kept.
    pub kept: u64,
    /// Time it took.
    pub real_s: f64,
    /// Seed of the world in the plan as it was.
    pub seed_before: u64,
    /// Seed of the world in the smaller plan.
    pub seed: u64,
    /// Where the smaller plan is, with a run of it.
    pub directory: String,
    /// The line that runs the smaller plan.
    pub replay: String,
    /// The exit code of that line.
    pub replay_exit_code: u8,
    /// What the checker says of the smaller plan's run.
    pub explanation: Vec<String>,
    /// Anything else to know.
    pub notes: Vec<String>,
}

impl Search<'_> {
    /// The smaller plan, ready to be saved, and how the search ended.
    pub fn into_plan(self, anomaly: &Anomaly) -> (Plan, Ended) {
        let ended = match (self.is_cut_off(), self.is_interrupted()) {
            (false, _) => Ended::Minimal,
            (true, false) => Ended::Budget,
            (true, true) => Ended::Interrupted,
        };
        (with_other_expectations_open(self.best().clone(), anomaly), ended)
    }
}

/// The text for people; `plan` is the smaller one.
pub fn render(shrunk: &Shrunk, plan: &Plan) -> String {
    let mut text = String::new();
    let written = write_text(&mut text, shrunk, plan);
    written.expect("a String takes all that is written");
    text
}

fn write_text(out: &mut String, shrunk: &Shrunk, plan: &Plan) -> std::fmt::Result {
    let rows = shrunk.before.rows().into_iter().zip(shrunk.after.rows());
    writeln!(out, "\n  {:<10}  {:>8}  {:>8}", "", "before", "after")?;
    for ((name, before), (_, after)) in rows {
        writeln!(out, "  {name:<10}  {before:>8}  {after:>8}")?;
    }
    let (tried, kept, real_s) = (shrunk.tried, shrunk.kept, shrunk.real_s);
    let ended = match shrunk.ended {
        Ended::Minimal => "nothing more can be taken away",
        Ended::Budget => "the budget ended, there may be more to take away",
        Ended::Interrupted => "interrupted, there may be more to take away",
    };
    writeln!(out, "\n{tried} plans tried, {kept} kept, in {real_s:.1} s; {ended}")?;
    if shrunk.seed != shrunk.seed_before {
        writeln!(out, "seed of the world: {} in place of {}", shrunk.seed, shrunk.seed_before)?;
    }
    if shrunk.after.faults * 2 + shrunk.after.operations <= LINES_MAX {
        writeln!(out, "\nWhat is left")?;
        for (at_ms, line) in lines(plan) {
            writeln!(out, "  {:>6} ms  {line}", at_ms)?;
        }
    }
    writeln!(out, "\n{}", shrunk.anomaly)?;
    for sentence in &shrunk.explanation {
        writeln!(out, "  {sentence}")?;
    }
    for note in &shrunk.notes {
        writeln!(out, "\n{note}")?;
    }
    let (directory, replay, code) = (&shrunk.directory, &shrunk.replay, shrunk.replay_exit_code);
    writeln!(out, "\nevidence: {directory}; again: {replay} (exit code {code})")
}

/// The plan as a story, by time.
fn lines(plan: &Plan) -> Vec<(u64, String)> {
    let mut lines = Vec::new();
    for planned in &plan.faults {
        let targets = targets(&planned.fault);
        // Names such as `crash n1` say whom already.
        let name = planned.fault.name();
        let whom = if name.ends_with(&targets) { String::new() } else { format!(" {targets}") };
        lines.push((planned.at_ms, 1, format!("{} {name}{whom}", planned.id)));
        lines.push((planned.until_ms(), 0, format!("{} healed", planned.id)));
    }
    for operation in &plan.operations {
        lines.push((operation.at_ms, 2, format!("c{} {} {}", operation.client, operation.node, operation.action)));
    }
    lines.sort();
    lines.into_iter().map(|(at_ms, _, line)| (at_ms, line)).collect()
}
