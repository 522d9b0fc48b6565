//! Pictures as SVG: the lattice of models, and the operations of a counterexample on a timeline.
//!
//! Plain shapes and text, light background, no scripts and no fonts of their own. Times on a timeline are not to scale: every
//! beginning and end of what is shown takes one step, so that what overlaps can be seen however short it is.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::lattice::Lattice;
use crate::transactions::{self, Level};
use crate::{Case, CheckOptions, Function, Judgement, OpIndex, Operation, Outcome, Verdict};

/// Bars on a timeline.
const BARS_MAX: usize = 40;
/// How far a neighbour is looked for, in operations of all processes.
const NEIGHBOUR_MAX: usize = 100_000;
const HOLDS: (&str, &str) = ("#dff3e3", "#2e7d32");
const VIOLATED: (&str, &str) = ("#fde0dc", "#c62828");
const UNKNOWN: (&str, &str) = ("#eceff1", "#607d8b");

fn colors(judgement: Judgement) -> (&'static str, &'static str) {
    match judgement {
        Judgement::Holds => HOLDS,
        Judgement::Violated => VIOLATED,
        Judgement::Unknown => UNKNOWN,
    }
}

fn escaped(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '&' => "&amp;".to_owned(),
            '"' => "&quot;".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

fn begin(width: u32, height: u32, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<title>{}</title>\n<rect width=\"{width}\" height=\"{height}\" \
         fill=\"white\"/>\n",
        escaped(title)
    )
}

/// Centre of each model's box.
const PLACES: &[(&str, u32, u32)] = &[
    ("linearizable", 560, 70),
    ("two-atomic", 80, 170),
    ("regular", 205, 170),
    ("monotonic-quorum-reads", 345, 170),
    ("sequential", 490, 170),
    ("causal-convergence", 790, 170),
    ("causal-memory", 970, 170),
    ("safe", 205, 270),
    ("monotonic-writes", 650, 270),
    ("writes-follow-reads", 830, 270),
    ("causal", 960, 270),
    ("pram", 1060, 270),
    ("monotonic-reads", 420, 370),
    ("read-your-writes", 680, 370),
    ("strict-serializable", 560, 70),
    ("strong-session-serializable", 300, 150),
    ("strong-snapshot-isolation", 800, 150),
    ("serializable", 200, 230),
    ("strong-session-snapshot-isolation", 640, 230),
    ("snapshot-isolation", 200, 310),
    ("parallel-snapshot-isolation", 540, 310),
    ("prefix-consistency", 850, 310),
    ("consistent-view", 320, 390),
    ("transactional-causal", 720, 390),
    ("session-read-atomic", 720, 470),
    ("read-atomic", 440, 550),
    ("session-read-committed", 820, 550),
    ("read-committed", 600, 630),
    ("read-uncommitted", 600, 710),
];

impl Lattice {
    /// The lattice as a picture: stronger models above weaker ones, green for those that hold, red for those that are broken.
    pub fn to_svg(&self) -> String {
        let place = |model: &str| PLACES.iter().find(|(name, ..)| *name == model).expect("every model has a place");
        let lowest = self.standings.iter().map(|standing| place(standing.model).2).max().unwrap_or(0);
        let of = if self.standings.iter().any(|standing| standing.model == "linearizable") {
            "Models of registers"
        } else {
            "Isolation levels of transactions"
        };
        let mut svg = begin(1120, lowest + 80, "Which models hold");
        let _ = writeln!(
            svg,
            "<text x=\"20\" y=\"28\" font-size=\"16\" font-weight=\"bold\">{of}: what this history satisfies</text>"
        );
        for (stronger, weaker) in self.implications() {
            let ((_, x1, y1), (_, x2, y2)) = (place(stronger), place(weaker));
            let _ = writeln!(
                svg,
                "<line x1=\"{x1}\" y1=\"{}\" x2=\"{x2}\" y2=\"{}\" stroke=\"#b0bec5\" stroke-width=\"1.5\"/>",
                y1 + 18,
                y2 - 18
            );
        }
        let (strongest, weakest) = (self.strongest(), self.weakest_broken());
        for standing in &self.standings {
            let (_, x, y) = place(standing.model);
            let (fill, stroke) = colors(standing.judgement);
            let width = standing.model.len() as u32 * 7 + 22;
            let marked = strongest.contains(&standing.model) || weakest.contains(&standing.model);
            let line = if marked { 3.0 } else { 1.0 };
            let _ = writeln!(
                svg,
                "<rect x=\"{}\" y=\"{}\" width=\"{width}\" height=\"36\" rx=\"7\" fill=\"{fill}\" stroke=\"{stroke}\" \
                 stroke-width=\"{line}\"/>\n<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" fill=\"#212121\">{}</text>",
                x - width / 2,
                y - 18,
                y + 5,
                standing.model
            );
        }
        let legend = [("holds", HOLDS), ("violated", VIOLATED), ("unknown", UNKNOWN)];
        for (at, (word, (fill, stroke))) in (0_u32..).zip(legend) {
            let x = 20 + at * 100;
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{}\" width=\"16\" height=\"16\" rx=\"4\" fill=\"{fill}\" stroke=\"{stroke}\"/>\n\
                 <text x=\"{}\" y=\"{}\">{word}</text>",
                lowest + 46,
                x + 22,
                lowest + 59
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"330\" y=\"{}\" fill=\"#546e7a\">thick: the strongest that hold, the weakest that are broken; a line: the \
             upper implies the lower</text>",
            lowest + 59
        );
        svg + "</svg>\n"
    }
}

/// An operation on a timeline.
#[derive(Clone, Debug)]
struct Bar {
    index: OpIndex,
    process: String,
    text: String,
    began: u64,
    ended: Option<u64>,
    failed: bool,
}

fn bars(case: &Case) -> Vec<Bar> {
    if let Ok(history) = case.named_history()
        && !history.operations.is_empty()
    {
        return history.operations.iter().map(bar).collect();
    }
    let Some(operations) = case.recording.as_ref().and_then(|recording| recording.operations().ok()) else {
        return Vec::new();
    };
    let bar = |operation: &crate::record::RecordedOperation<'_>| Bar {
        index: operation.index(),
        process: operation.process().to_string(),
        text: match operation.key() {
            Some(key) => format!("{} {key} {}", operation.f(), operation.value()),
            None => format!("{} {}", operation.f(), operation.value()),
        },
        began: u64::from(operation.began),
        ended: operation.ended.map(u64::from),
        failed: operation.outcome == Outcome::Fail,
    };
    operations.all.iter().map(bar).collect()
}

fn bar(operation: &Operation) -> Bar {
    let value = crate::explain::value(operation.value);
    let text = match operation.f {
        Function::Read if operation.outcome != Outcome::Ok => format!("read {}", operation.key),
        Function::Read => format!("read {} = {value}", operation.key),
        Function::Write => format!("write {} = {value}", operation.key),
        Function::Add => format!("add {} + {value}", operation.key),
        f @ (Function::Delete | Function::Remove | Function::Scan) => format!("{} {}", f.as_str(), operation.key),
    };
    Bar {
        index: operation.index,
        process: operation.process.to_string(),
        text,
        began: operation.invoked,
        ended: operation.completed,
        failed: operation.outcome == Outcome::Fail,
    }
}

/// A violation as a picture: of a level of transactions the cycle that breaks it, of other models a timeline
/// ([`timeline_svg`]). `None` if there is nothing to draw.
pub fn violation_svg(case: &Case, verdict: &Verdict, options: &CheckOptions) -> Option<String> {
    match Level::ALL.into_iter().find(|level| level.name() == verdict.checker) {
        Some(level) => transactions::checker::broken_svg(case, level, options),
        None => timeline_svg(case, verdict),
    }
}

/// The operations that a verdict names, each with the one before and after it of its process, on a timeline. The named ones
/// are marked. `None` if the verdict names none.
pub fn timeline_svg(case: &Case, verdict: &Verdict) -> Option<String> {
    let all = bars(case);
    let named: BTreeSet<OpIndex> = verdict.operations.iter().copied().collect();
    let mut shown: BTreeSet<usize> = BTreeSet::new();
    let is_named = |bar: &Bar| named.contains(&bar.index);
    for (at, bar) in all.iter().enumerate().filter(|(_, bar)| is_named(bar)).take(BARS_MAX / 2) {
        shown.insert(at);
        let of_process = |other: &usize| all[*other].process == bar.process;
        let before = (0..at).rev().take(NEIGHBOUR_MAX).find(of_process);
        let after = (at + 1..all.len()).take(NEIGHBOUR_MAX).find(of_process);
        shown.extend(before.into_iter().chain(after));
    }
    let shown: Vec<&Bar> = shown.into_iter().map(|at| &all[at]).collect();
    if !shown.iter().any(|bar| is_named(bar)) {
        return None;
    }
    let mut processes: Vec<&str> = Vec::new();
    for bar in &shown {
        if !processes.contains(&bar.process.as_str()) {
            processes.push(&bar.process);
        }
    }
    // Beginnings before ends where times touch: then operations overlap.
    let mut moments: Vec<(u64, bool)> = shown.iter().map(|bar| (bar.began, false)).collect();
    moments.extend(shown.iter().filter_map(|bar| bar.ended.map(|ended| (ended, true))));
    moments.sort_unstable();
    moments.dedup();
    let (left, step) = (150_u32, (1_050 / (moments.len() as u32 + 1)).clamp(26, 110));
    let x_of = |moment: (u64, bool)| left + step * moments.partition_point(|other| *other < moment) as u32;
    let right = left + step * (moments.len() as u32 + 1);
    let row = 58;
    let top = 52 + 18 * verdict.explanation.len() as u32;
    let width = right + 30;
    let longest = verdict.explanation.iter().map(|sentence| sentence.chars().count()).max().unwrap_or(0) as u32;
    let width = width.max((longest * 7 + 40).min(1_800));
    let mut svg =
        begin(width, top + row * processes.len() as u32 + 24, &format!("{}: {}", verdict.checker, verdict.judgement));
    let _ = writeln!(
        svg,
        "<text x=\"20\" y=\"26\" font-size=\"16\" font-weight=\"bold\">{}: {}</text>",
        escaped(&verdict.checker),
        verdict.judgement
    );
    for (at, sentence) in (0_u32..).zip(&verdict.explanation) {
        let _ = writeln!(svg, "<text x=\"20\" y=\"{}\">{}</text>", 48 + at * 18, escaped(sentence));
    }
    for (at, process) in (0_u32..).zip(&processes) {
        let y = top + row * at + row / 2;
        let _ = writeln!(
            svg,
            "<text x=\"20\" y=\"{}\">{}</text>\n<line x1=\"{left}\" y1=\"{y}\" x2=\"{right}\" y2=\"{y}\" stroke=\"#eceff1\"/>",
            y + 5,
            escaped(process)
        );
    }
    for bar in &shown {
        let line = processes.iter().position(|process| *process == bar.process).unwrap_or_default() as u32;
        let y = top + row * line + row / 2;
        let (from, to) = (x_of((bar.began, false)), bar.ended.map_or(right, |ended| x_of((ended, true))));
        let (fill, stroke) = if is_named(bar) { VIOLATED } else { UNKNOWN };
        let dashes = if bar.ended.is_none() || bar.failed { " stroke-dasharray=\"5 3\"" } else { "" };
        let end = match (bar.failed, bar.ended) {
            (true, _) => ", failed",
            (false, None) => ", unknown",
            (false, Some(_)) => "",
        };
        let _ = writeln!(
            svg,
            "<rect x=\"{from}\" y=\"{}\" width=\"{}\" height=\"12\" rx=\"3\" fill=\"{fill}\" stroke=\"{stroke}\"{dashes}/>\n\
             <text x=\"{from}\" y=\"{}\" font-size=\"12\" fill=\"#212121\">{}</text>\n\
             <text x=\"{from}\" y=\"{}\" font-size=\"10\" fill=\"#78909c\">{}{end}</text>",
            y - 2,
            (to - from).max(6),
            y - 7,
            escaped(&bar.text),
            y + 22,
            bar.index
        );
    }
    Some(svg + "</svg>\n")
}
