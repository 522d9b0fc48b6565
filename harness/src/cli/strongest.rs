//! `hearsay check --strongest` and the pictures of `--svg`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use hearsay_checkers::{Case, CheckOptions, Judgement, Verdict, strongest, violation_svg};
use serde::Serialize;

use crate::exit::Outcome;

use super::{misused, print, print_json};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Found {
    strongest: Vec<&'static str>,
    weakest_broken: Vec<&'static str>,
    models: BTreeMap<&'static str, Judgement>,
    exit_code: u8,
}

/// Judges by every model of registers, or every isolation level, and says which is the strongest that holds and the weakest that is broken. The exit
/// code is 0 whatever that is, 2 if no model could be decided.
pub(super) fn check(
    title: &str,
    notes: &[String],
    case: &Case,
    options: &CheckOptions,
    svg: Option<&Path>,
    json: bool,
) -> ExitCode {
    let lattice = strongest(case, options);
    if let Some(path) = svg
        && let Err(error) = write(path, &lattice.to_svg())
    {
        return misused(&error);
    }
    let undecided = lattice.standings.iter().all(|standing| standing.judgement == Judgement::Unknown);
    let outcome = if undecided { Outcome::Unknown } else { Outcome::AsExpected };
    if json {
        let models = lattice.standings.iter().map(|standing| (standing.model, standing.judgement)).collect();
        let (strongest, weakest_broken) = (lattice.strongest(), lattice.weakest_broken());
        print_json(&Found { strongest, weakest_broken, models, exit_code: outcome.exit_code() });
    } else {
        let notes: String = notes.iter().map(|note| format!("{note}\n")).collect();
        print(&format!("{title}\n{notes}\n{}\n(exit code {})\n", lattice.to_text().trim_end(), outcome.exit_code()));
    }
    ExitCode::from(outcome.exit_code())
}

/// Draws the operations of the first violation, if there is one.
pub(super) fn draw<'v>(
    path: &Path,
    case: &Case,
    options: &CheckOptions,
    verdicts: impl IntoIterator<Item = &'v Verdict>,
) -> Result<(), String> {
    let mut violated = verdicts.into_iter().filter(|verdict| verdict.judgement == Judgement::Violated);
    match violated.find_map(|verdict| violation_svg(case, verdict, options)) {
        Some(svg) => write(path, &svg),
        None => Err("no model that names operations is violated: there is nothing to draw".to_owned()),
    }
}

fn write(path: &Path, svg: &str) -> Result<(), String> {
    std::fs::write(path, svg).map_err(|error| format!("can't write {}: {error}", path.display()))
}
