//! The report as text. What is run comes first, the verdict last, with the place of the evidence and the command that
//! does it again.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use hearsay_checkers::{Judgement, Verdict};
use hearsay_workloads::Expectation;

use crate::exit::Outcome;

use super::marks::marks_line;
use super::{FaultReport, JudgedVerdict, Problem, RunReport, Simulation};

/// The first line: what is run, seed, commit.
pub fn header(campaign: &str, seed: u64, commit: &str) -> String {
    format!("hearsay run {campaign}, seed {seed}, commit {commit}")
}

/// The first line of a simulated run.
pub fn simulated_header(campaign: &str, seed: u64, commit: &str) -> String {
    format!("hearsay run {campaign}, simulated, seed {seed}, commit {commit}")
}

/// The whole report, beginning with the [`header`].
pub fn render(report: &RunReport) -> String {
    let mut text = String::new();
    let out = &mut text;
    let written = write_report(out, report);
    written.expect("a String takes all that is written");
    text
}

/// A judgement without a run around it, beginning with `title`.
pub fn render_judgement(
    title: &str,
    notes: &[String],
    verdicts: &[JudgedVerdict],
    problems: &[Problem],
    outcome: Outcome,
) -> String {
    let mut text = String::new();
    let out = &mut text;
    let written = (|| {
        writeln!(out, "{title}")?;
        notes.iter().try_for_each(|note| writeln!(out, "{note}"))?;
        write_judgement(out, verdicts, problems)?;
        writeln!(out, "\nverdict: {} (exit code {})", outcome.words(), outcome.exit_code())
    })();
    written.expect("a String takes all that is written");
    text
}

/// Verdicts of which nobody expected anything, beginning with `title`; `found` is the worst of them.
pub fn render_verdicts(title: &str, notes: &[String], verdicts: &[Verdict], found: Judgement, exit_code: u8) -> String {
    let mut text = String::new();
    let out = &mut text;
    let written = (|| {
        writeln!(out, "{title}")?;
        notes.iter().try_for_each(|note| writeln!(out, "{note}"))?;
        writeln!(out, "\nVerdicts")?;
        let mut table = plain_table(&["model", "verdict", "evidence"]);
        for verdict in verdicts {
            table.add_row(vec![verdict.checker.clone(), verdict.judgement.to_string(), evidence(verdict)]);
        }
        write_table(out, &table)?;
        for verdict in verdicts.iter().filter(|verdict| verdict.judgement != Judgement::Holds) {
            write_explanation(out, verdict)?;
        }
        writeln!(out, "\nverdict: {found} (exit code {exit_code})")
    })();
    written.expect("a String takes all that is written");
    text
}

fn write_report(out: &mut String, report: &RunReport) -> std::fmt::Result {
    match &report.simulation {
        None => writeln!(out, "{}", header(&report.campaign, report.seed, &report.commit))?,
        Some(_) => writeln!(out, "{}", simulated_header(&report.campaign, report.seed, &report.commit))?,
    }
    writeln!(out, "{}", report.about)?;
    if !report.faults.is_empty() {
        writeln!(out, "\nFaults")?;
        let mut table = plain_table(&["", "fault", "nodes", "seconds", "bit", "healed"]);
        for fault in &report.faults {
            table.add_row(fault_row(fault));
        }
        write_table(out, &table)?;
    }
    if !report.operations.is_empty() {
        writeln!(out, "\nOperations")?;
        let mut table = plain_table(&["phase", "ok", "fail", "info", "ok/s", "p50", "p99"]);
        for row in &report.operations {
            table.add_row(vec![
                row.phase.clone(),
                row.ok.to_string(),
                row.fail.to_string(),
                row.info.to_string(),
                format!("{:.0}", row.ok_per_s),
                format!("{:.1} ms", row.p50_ms),
                format!("{:.1} ms", row.p99_ms),
            ]);
        }
        for column in 1..7 {
            table.column_mut(column).expect("seven columns").set_cell_alignment(CellAlignment::Right);
        }
        write_table(out, &table)?;
        if report.operations_skipped > 0 {
            let skipped = report.operations_skipped;
            writeln!(out, "  {skipped} planned operations were overdue and not started")?;
        }
        if report.operations_remaining > 0 {
            writeln!(out, "  {} planned operations were not reached", report.operations_remaining)?;
        }
    }
    write_judgement(out, &report.verdicts, &report.problems)?;
    if !report.pending.is_empty() {
        writeln!(out, "\nPending when the time to converge was over")?;
        report.pending.iter().try_for_each(|sentence| writeln!(out, "  {sentence}"))?;
    }
    for note in &report.notes {
        writeln!(out, "\nnote: {note}")?;
    }
    if report.interrupted {
        writeln!(out, "\ninterrupted: judged is what there was until then")?;
    }
    if let Some(line) = marks_line(&report.marks) {
        writeln!(out, "\n{line}")?;
    }
    if let Some(Simulation { run_hash, events, virtual_ns }) = &report.simulation {
        writeln!(out, "\nrun hash: {run_hash} ({events} events in {} s of virtual time)", seconds(*virtual_ns))?;
    }
    let words = report.outcome.words();
    let (code, directory, replay) = (report.exit_code, &report.directory, &report.replay);
    let planted = report.planted.as_ref().map_or(String::new(), |bug| format!(", with the planted bug {bug}"));
    writeln!(out, "\nverdict: {words} (exit code {code}){planted}; evidence: {directory}; again: {replay}")
}

fn write_judgement(out: &mut String, verdicts: &[JudgedVerdict], problems: &[Problem]) -> std::fmt::Result {
    if !verdicts.is_empty() {
        writeln!(out, "\nVerdicts")?;
        let mut table = plain_table(&["checker", "expected", "found", "", "evidence"]);
        for judged in verdicts {
            table.add_row(vec![
                judged.verdict.checker.clone(),
                expected(judged.expectation).to_owned(),
                judged.verdict.judgement.to_string(),
                mark(judged).to_owned(),
                evidence(&judged.verdict),
            ]);
        }
        write_table(out, &table)?;
        for judged in verdicts.iter().filter(|judged| needs_explanation(judged)) {
            write_explanation(out, &judged.verdict)?;
        }
    }
    if !problems.is_empty() {
        writeln!(out, "\nProblems")?;
        for problem in problems {
            // The end of a log keeps its lines, indented.
            writeln!(out, "  {}", problem.message.trim_end().replace('\n', "\n    "))?;
        }
    }
    Ok(())
}

fn write_explanation(out: &mut String, verdict: &Verdict) -> std::fmt::Result {
    writeln!(out, "\n{}: {}", verdict.checker, verdict.judgement)?;
    for sentence in &verdict.explanation {
        writeln!(out, "  {sentence}")?;
    }
    if verdict.violations > 1 {
        writeln!(out, "  ({} in all, of which this is the clearest)", verdict.violations)?;
    }
    for assumption in &verdict.assumptions {
        writeln!(out, "  assumed: {assumption}")?;
    }
    Ok(())
}

fn fault_row(fault: &FaultReport) -> Vec<String> {
    let window = match (fault.from, fault.to) {
        (Some(from), Some(to)) => format!("{}-{}", seconds(from), seconds(to)),
        (Some(from), None) => format!("{}-", seconds(from)),
        (None, _) => "never".to_owned(),
    };
    let marked = |proven, evidence: &str| if proven { evidence.to_owned() } else { format!("NOT PROVEN: {evidence}") };
    let bit = marked(fault.bit || fault.left_out, &fault.bit_evidence);
    let healed = if fault.from.is_some() { marked(fault.healed, &fault.heal_evidence) } else { String::new() };
    vec![fault.id.clone(), fault.name.clone(), fault.nodes.clone(), window, bit, healed]
}

fn seconds(nanoseconds: u64) -> String {
    format!("{:.1}", nanoseconds as f64 / 1e9)
}

fn expected(expectation: Expectation) -> &'static str {
    match expectation {
        Expectation::Holds => "holds",
        Expectation::Violated => "violated",
        Expectation::Any => "any",
    }
}

fn mark(judged: &JudgedVerdict) -> &'static str {
    match (judged.expectation, judged.outcome) {
        (Expectation::Any, _) => "-",
        (_, Outcome::AsExpected) => "as expected",
        (_, Outcome::Unknown) => "UNKNOWN",
        _ => "NOT AS EXPECTED",
    }
}

/// Violations and what is not known are always explained, whether expected or not; so is what was expected and not found.
fn needs_explanation(judged: &JudgedVerdict) -> bool {
    judged.verdict.judgement != Judgement::Holds || judged.outcome != Outcome::AsExpected
}

/// What the checker says it saw; a violation is explained below the table.
fn evidence(verdict: &Verdict) -> String {
    match (verdict.judgement, verdict.violations) {
        (Judgement::Violated, 1) => "1 violation, see below".to_owned(),
        (Judgement::Violated, many) => format!("{many} violations, see below"),
        (Judgement::Unknown, _) => "see below".to_owned(),
        (Judgement::Holds, _) => verdict.explanation.first().cloned().unwrap_or_default(),
    }
}

fn plain_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    table
}

fn write_table(out: &mut String, table: &Table) -> std::fmt::Result {
    for line in table.lines() {
        writeln!(out, " {}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
