//! Plans as files: saved with every run, executed again from there, edited by hand.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Plan;
use crate::input::{cut_lines, read_text};

/// The format that this version reads and writes.
pub const FORMAT: u32 = 1;

/// Largest plan file, in bytes.
const FILE_SIZE_MAX: u64 = 256 << 20;

/// Why a plan can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file can't be read.
    #[error("the plan {} can't be read: {source}\n  mend: check the path; a run saves its plan as plan.yaml", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file can't be written.
    #[error("the plan can't be written to {}: {source}\n  mend: check the space and the permissions there", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is of another version.
    #[error(
        "the plan {} has format {found}, this version reads format {FORMAT}\n  mend: run it with the version that saved it, \
         or make a new one from its campaign and seed", path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// It is no plan.
    #[error("the plan {} can't be understood: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What and where, with the line.
        message: String,
    },
    /// It can't be executed.
    #[error("the plan {} can't be executed:\n  - {}", path.display(), problems.join("\n  - "))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// A sentence for each problem.
        problems: Vec<String>,
    },
}

/// YAML's end of a document.
const END_MARK: &str = "...\n";

impl Plan {
    /// The plan saved at `path`, checked.
    ///
    /// # Errors
    ///
    /// An unreadable file, another format, a malformed or impossible plan.
    pub fn load(path: &Path) -> Result<Plan, PlanError> {
        let unreadable = |source| PlanError::Unreadable { path: path.to_owned(), source };
        let text = read_text(path, FILE_SIZE_MAX).map_err(unreadable)?;
        let plan = Plan::from_yaml(path, &text)?;
        // A plan that was cut between two operations is a plan still, but another one.
        if !text.ends_with(END_MARK) {
            let message = "it was cut: a plan ends in a line `...`".to_owned();
            return Err(PlanError::Malformed { path: path.to_owned(), message });
        }
        Ok(plan)
    }

    /// The plan in `text`, checked; `path` is how errors call it.
    ///
    /// # Errors
    ///
    /// Another format, a malformed or impossible plan.
    pub fn from_yaml(path: &Path, text: &str) -> Result<Plan, PlanError> {
        let plan = serde_yaml::from_str_with_options::<Plan>(text, yaml_options()).map_err(|error| {
            // A plan of another format may be malformed in any way: that is then what is wrong.
            match other_format(text) {
                Some(found) => PlanError::Format { path: path.to_owned(), found },
                None => PlanError::Malformed { path: path.to_owned(), message: cut_lines(&error.to_string()) },
            }
        })?;
        if plan.format != FORMAT {
            return Err(PlanError::Format { path: path.to_owned(), found: plan.format.into() });
        }
        let problems = plan.validate();
        if problems.is_empty() { Ok(plan) } else { Err(PlanError::Invalid { path: path.to_owned(), problems }) }
    }

    /// The text that [`Plan::from_yaml`] reads.
    pub fn to_yaml(&self) -> String {
        serde_yaml::to_string(self).expect("a plan has only what YAML can say")
    }

    /// Saves it at `path`.
    ///
    /// # Errors
    ///
    /// The file can't be written.
    pub fn save(&self, path: &Path) -> Result<(), PlanError> {
        let text = self.to_yaml() + END_MARK;
        std::fs::write(path, text).map_err(|source| PlanError::Unwritable { path: path.to_owned(), source })
    }
}

/// The format of a plan that is not ours.
fn other_format(text: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Head {
        format: u64,
    }
    let head: Head = serde_yaml::from_str_with_options(text, yaml_options()).ok()?;
    (head.format != u64::from(FORMAT)).then_some(head.format)
}

/// A plan is bounded by its size; the parser's own limits are for small files.
fn yaml_options() -> serde_yaml::Options {
    serde_yaml::options! {
        strict_booleans: true,
        budget: serde_yaml::budget! {
            max_events: 20_000_000,
            max_nodes: 20_000_000,
            max_total_scalar_bytes: 256 << 20,
        },
    }
}
