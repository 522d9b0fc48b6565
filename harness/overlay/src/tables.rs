//! The tables of Demers and others, "Epidemic algorithms for replicated database maintenance" (1987), beside what the
//! node's own rumor code brings in synchronous cycles with 1,000 nodes.
//!
//! Cycles are counted from 1, the one in which the origin makes its first contact.
//! The table of pulls was not checked against the paper itself.

use hearsay_core::dissemination::{Direction, Interest, LossBy, RumorConfig};

use crate::cycles::{Outcome, Trial};

/// A row of the paper.
#[derive(Clone, Copy, Debug)]
pub struct PaperRow {
    /// The k of coin or counter.
    pub k: u32,
    /// Share of the nodes never reached.
    pub residue: f64,
    /// Transmissions for each node.
    pub traffic: f64,
    /// The cycle of the last delivery.
    pub last: f64,
}

/// A table of the paper.
#[derive(Clone, Copy, Debug)]
pub struct PaperTable {
    /// What it is about.
    pub name: &'static str,
    /// Which way rumors go.
    pub direction: Direction,
    /// Which contacts cost interest.
    pub interest: Interest,
    /// How it is lost.
    pub loss_by: LossBy,
    /// Whether the figures were checked against the paper.
    pub verified: bool,
    /// The rows.
    pub rows: &'static [PaperRow],
}

const fn row(k: u32, residue: f64, traffic: f64, last: f64) -> PaperRow {
    PaperRow { k, residue, traffic, last }
}

/// The tables.
pub const TABLES: [PaperTable; 3] = [
    PaperTable {
        name: "table 1: push, feedback, counter",
        direction: Direction::Push,
        interest: Interest::Feedback,
        loss_by: LossBy::Counter,
        verified: true,
        rows: &[
            row(1, 0.18, 1.7, 16.8),
            row(2, 0.037, 3.3, 16.9),
            row(3, 0.011, 4.5, 17.4),
            row(4, 0.0036, 5.6, 17.5),
            row(5, 0.0012, 6.7, 17.7),
        ],
    },
    PaperTable {
        name: "table 2: push, blind, coin",
        direction: Direction::Push,
        interest: Interest::Blind,
        loss_by: LossBy::Coin,
        verified: true,
        rows: &[
            row(1, 0.96, 0.04, 38.0),
            row(2, 0.20, 1.6, 33.0),
            row(3, 0.060, 2.8, 32.0),
            row(4, 0.021, 3.9, 32.0),
            row(5, 0.008, 4.9, 32.0),
        ],
    },
    PaperTable {
        name: "table 3: pull, feedback, counter",
        direction: Direction::Pull,
        interest: Interest::Feedback,
        loss_by: LossBy::Counter,
        verified: false,
        rows: &[row(1, 3.1e-2, 2.7, 17.6), row(2, 5.8e-4, 4.5, 15.4), row(3, 4.0e-6, 6.1, 14.0)],
    },
];

/// A mean with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half of the interval's width.
    pub half: f64,
}

impl Estimate {
    /// Of independent samples, two at least.
    pub fn of(samples: impl Iterator<Item = f64> + Clone) -> Estimate {
        let count = samples.clone().count() as f64;
        let mean = samples.clone().sum::<f64>() / count;
        let variance = samples.map(|sample| (sample - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Estimate { mean, half: 1.96 * (variance / count).sqrt() }
    }

    /// Whether `reference` is within 5 % of the mean or within its interval.
    pub fn agrees_with(self, reference: f64) -> bool {
        let difference = (self.mean - reference).abs();
        difference <= 0.05 * reference.abs() || difference <= self.half
    }
}

/// A row as measured.
#[derive(Clone, Copy, Debug)]
pub struct MeasuredRow {
    /// Share of the nodes never reached.
    pub residue: Estimate,
    /// Transmissions for each node.
    pub traffic: Estimate,
    /// The cycle of the last delivery, from 1.
    pub last: Estimate,
}

impl MeasuredRow {
    /// Of the outcomes of the trials of a row.
    pub fn of(outcomes: &[Outcome]) -> MeasuredRow {
        MeasuredRow {
            residue: Estimate::of(outcomes.iter().map(|outcome| outcome.residue)),
            traffic: Estimate::of(outcomes.iter().map(|outcome| outcome.traffic)),
            last: Estimate::of(outcomes.iter().map(|outcome| outcome.last)),
        }
    }

    /// Whether every figure agrees with the paper's.
    pub fn agrees_with(&self, paper: &PaperRow) -> bool {
        self.residue.agrees_with(paper.residue)
            && self.traffic.agrees_with(paper.traffic)
            && self.last.agrees_with(paper.last)
    }
}

/// The trials of a row: 1,000 nodes, seeds from 1.
pub fn trials(table: &PaperTable, k: u32, count: u64) -> Vec<Trial> {
    let rumor = RumorConfig {
        direction: table.direction,
        interest: table.interest,
        loss_by: table.loss_by,
        k,
        ..RumorConfig::default()
    };
    (1..=count).map(|seed| Trial { nodes: 1_000, rumor: rumor.clone(), seed }).collect()
}
