//! What the literature says of anti-entropy and gossip, each claim beside figures of the node's own code. The source of the list
//! is chapter 12 of *Database Internals*.
//!
//! A claim is a file here and a line in [`CLAIMS`]. It measures, prints what it measured, and compares that with what the
//! chapter says: *agrees* or *DIFFERS*. Whatever can't be judged by a number has no verdict.

mod any_level;
mod broadcasts;
mod campaign_runs;
mod convergence;
mod digest_reads;
mod hinted_handoff;
mod hyparview;
mod lanes;
mod lanes_real;
mod merge_listener;
mod merkle;
mod monotonic_reads;
mod notification;
mod plumtree;
mod quiet;
mod read_repair;
mod rumors;
mod sloppy_quorum;
mod spanning_tree;
mod stage;
mod three_ways;
mod version_vectors;

use std::fmt;
use std::path::PathBuf;

use comfy_table::Table;
use hearsay_core::Planted;
use serde::Serialize;

/// Every claim, by number.
pub const CLAIMS: &[Claim] = &[
    lanes::CLAIM,
    notification::CLAIM,
    three_ways::CLAIM,
    convergence::CLAIM,
    read_repair::CLAIM,
    monotonic_reads::CLAIM,
    merge_listener::CLAIM,
    digest_reads::CLAIM,
    hinted_handoff::CLAIM,
    any_level::CLAIM,
    sloppy_quorum::CLAIM,
    merkle::CLAIM,
    version_vectors::CLAIM,
    rumors::CLAIM,
    quiet::CLAIM,
    spanning_tree::CLAIM,
    plumtree::CLAIM,
    hyparview::CLAIM,
];

/// A claim and what measures it.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Its number in the list.
    pub number: u8,
    /// What is claimed, a sentence.
    pub sentence: &'static str,
    /// Measures it. An error ends the command: the harness could not do its work.
    pub run: fn(&Options) -> Result<Vec<Section>, String>,
}

/// How claims are measured, as the command line has it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Trials of each row of the tables of 1987.
    pub trials: u64,
    /// Nodes of claim 18.
    pub nodes: u16,
    /// Where pictures go.
    pub svg: Option<PathBuf>,
    /// On real processes instead of in the simulator.
    pub real: bool,
    /// Seed of the first run of each variant.
    pub seed: u64,
    /// Runs of each variant.
    pub seeds: u64,
    /// Where real runs leave their evidence.
    pub store: PathBuf,
    /// Name of the bug that is planted in every node.
    pub plant: Option<String>,
}

impl Options {
    /// The planted bug of simulated nodes.
    fn planted(&self) -> Planted {
        self.plant.as_deref().and_then(Planted::named).unwrap_or_default()
    }

    /// Where it happens, for the title.
    fn world_words(&self) -> String {
        let world = if self.real { "real processes" } else { "simulated" };
        let planted = self.plant.as_ref().map_or(String::new(), |bug| format!("; THE BUG {bug} IS PLANTED"));
        format!("{world}{planted}")
    }

    /// How many runs of what kind, for the title.
    fn runs_words(&self) -> String {
        let last = self.seed.saturating_add(self.seeds).saturating_sub(1);
        let seeds = if self.seeds == 1 { format!("seed {last}") } else { format!("seeds {} to {last}", self.seed) };
        format!("{}, {seeds}", self.world_words())
    }

    #[cfg(test)]
    fn of_tests(seeds: u64) -> Options {
        let store = PathBuf::from("store");
        Options { trials: 2, nodes: 100, svg: None, real: false, seed: 1, seeds, store, plant: None }
    }
}

/// A part of a claim: what was measured, and what that says of the claim.
#[derive(Clone, Debug)]
pub struct Section {
    /// What was measured, under which circumstances.
    pub title: String,
    /// Raw figures, a row per variant; empty where the figures below say it all.
    pub measured: Measured,
    /// What the claim stands or falls by.
    pub figures: Vec<Figure>,
}

/// A table of raw figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// What stands in each column.
    pub columns: Vec<String>,
    /// A row per variant, as wide as the columns.
    pub rows: Vec<Vec<String>>,
}

/// A figure beside its reference.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Number of the claim.
    pub claim: u8,
    /// What it is.
    pub what: String,
    /// What came out.
    pub measured: String,
    /// What the claim says, or what others measured.
    pub reference: String,
    /// Whether the figure agrees with the claim. `None`: there is no goal.
    pub met: Option<bool>,
}

impl Section {
    /// A section without raw figures.
    pub fn of(title: impl Into<String>, figures: Vec<Figure>) -> Section {
        Section { title: title.into(), measured: Measured::default(), figures }
    }

    /// Whether no figure contradicts the claim.
    pub fn agrees(&self) -> bool {
        self.figures.iter().all(|figure| figure.met != Some(false))
    }
}

impl Figure {
    /// A figure beside its reference.
    pub fn new(claim: u8, what: &str, measured: String, reference: &str, met: Option<bool>) -> Figure {
        Figure { claim, what: what.to_owned(), measured, reference: reference.to_owned(), met }
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |header: &[String]| {
            let mut table = Table::new();
            table.load_style(comfy_table::presets::NOTHING);
            table.set_header(header);
            table
        };
        writeln!(f, "{}", self.title)?;
        if !self.measured.rows.is_empty() {
            let mut table = plain(&self.measured.columns);
            table.add_rows(&self.measured.rows);
            writeln!(f, "{table}\n")?;
        }
        let mut table = plain(&["what", "measured", "reference", ""].map(str::to_owned));
        for figure in &self.figures {
            let met = match figure.met {
                Some(true) => "agrees",
                Some(false) => "DIFFERS",
                None => "",
            };
            table.add_row([figure.what.as_str(), &figure.measured, &figure.reference, met]);
        }
        write!(f, "{table}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_stand_in_order_and_once() {
        assert!(CLAIMS.is_sorted_by(|one, next| one.number < next.number), "by number, each once");
    }

    #[test]
    fn a_section_shows_what_differs() {
        let figures = vec![
            Figure::new(4, "time", "3 s".into(), "shorter", Some(true)),
            Figure::new(4, "stale", "7".into(), "0", Some(false)),
        ];
        let section = Section {
            title: "Claim 4".into(),
            measured: Measured { columns: vec!["variant".into()], rows: vec![vec!["hints".into()]] },
            figures,
        };
        assert!(!section.agrees());
        let text = section.to_string();
        for expected in ["Claim 4\n", "hints", "agrees", "DIFFERS"] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }
}
