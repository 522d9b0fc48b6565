//! The tables of Demers and others, "Epidemic algorithms for replicated database maintenance" (1987), beside what the
//! node's own rumor code brings in synchronous cycles with 1,000 nodes.
//!
//! Cycles are counted from 1, the one in which the origin makes its first contact.
//! The table of pulls was not checked against the paper itself.
//!
//! *What the paper's figures can carry.* They are printed with one to three digits, so 0.008 is anything from 0.0075 to 0.0085; and
//! they are means of trials of its own. How many is not said where the tables stand; a residue of 4.0e-6 of 1,000 nodes is one
//! node missed in 250 trials, and no fewer trials can bring that figure ([`PAPER_TRIALS`]). A figure agrees if it is within 5 % of
//! the paper's, or closer than the paper's rounding and the sampling errors of both let expect. There are 39 figures at once, so
//! these errors are taken so wide ([`DEVIATIONS`]) that all 39 hold together with 95 %.
//!
//! *The readings.* Of the readings that the text allows (the recipient judged as of the start of the cycle or at once; counters
//! reset by a useful contact or not; contacts drawn among all nodes or all others) one fits every row of tables 1 and 3: judged as
//! of the start, reset; whom contacts are drawn among shows nowhere. For blind coins only that last choice is left, so the residue
//! is the solution of s = exp(-k (1 - s)) ([`blind_coin_limit`]): 0.0198 and 0.0070 for k = 4 and 5, where the paper has 0.021 and
//! 0.008. No other reading comes closer to those; they are what 250 trials may bring.

use hearsay_core::dissemination::{Direction, Interest, LossBy, RumorConfig};

use crate::cycles::{Outcome, Trial};

/// Trials behind each figure of the paper, as far as its figures tell.
pub const PAPER_TRIALS: f64 = 250.0;
/// Standard errors that a difference may have: each of 39 figures is within them with 99.87 %, all of them with 95 %.
pub const DEVIATIONS: f64 = 3.2;

/// A figure as the paper prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Printed(pub &'static str);

impl Printed {
    /// The figure.
    pub fn value(self) -> f64 {
        self.0.parse().expect("the paper's figures are numbers")
    }

    /// Half a unit of its last digit: how far off rounding may have put it.
    pub fn rounding(self) -> f64 {
        let (digits, power) = self.0.split_once('e').unwrap_or((self.0, "0"));
        let decimals = digits.split_once('.').map_or(0, |(_, decimals)| decimals.len() as i32);
        let power: i32 = power.parse().expect("the paper's figures are numbers");
        0.5 * 10_f64.powi(power - decimals)
    }
}

/// A row of the paper.
#[derive(Clone, Copy, Debug)]
pub struct PaperRow {
    /// The k of coin or counter.
    pub k: u32,
    /// Share of the nodes never reached.
    pub residue: Printed,
    /// Transmissions for each node.
    pub traffic: Printed,
    /// The cycle of the last delivery.
    pub last: Printed,
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

const fn row(k: u32, residue: &'static str, traffic: &'static str, last: &'static str) -> PaperRow {
    PaperRow { k, residue: Printed(residue), traffic: Printed(traffic), last: Printed(last) }
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
            row(1, "0.18", "1.7", "16.8"),
            row(2, "0.037", "3.3", "16.9"),
            row(3, "0.011", "4.5", "17.4"),
            row(4, "0.0036", "5.6", "17.5"),
            row(5, "0.0012", "6.7", "17.7"),
        ],
    },
    PaperTable {
        name: "table 2: push, blind, coin",
        direction: Direction::Push,
        interest: Interest::Blind,
        loss_by: LossBy::Coin,
        verified: true,
        rows: &[
            row(1, "0.96", "0.04", "38"),
            row(2, "0.20", "1.6", "33"),
            row(3, "0.060", "2.8", "32"),
            row(4, "0.021", "3.9", "32"),
            row(5, "0.008", "4.9", "32"),
        ],
    },
    PaperTable {
        name: "table 3: pull, feedback, counter",
        direction: Direction::Pull,
        interest: Interest::Feedback,
        loss_by: LossBy::Counter,
        verified: false,
        rows: &[row(1, "3.1e-2", "2.7", "17.6"), row(2, "5.8e-4", "4.5", "15.4"), row(3, "4.0e-6", "6.1", "14.0")],
    },
];

/// A mean with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half of the interval's width.
    pub half: f64,
    /// Standard deviation of a sample.
    pub deviation: f64,
    /// Samples.
    pub count: f64,
}

impl Estimate {
    /// Of independent samples, two at least.
    pub fn of(samples: impl Iterator<Item = f64> + Clone) -> Estimate {
        let count = samples.clone().count() as f64;
        let mean = samples.clone().sum::<f64>() / count;
        let variance = samples.map(|sample| (sample - mean).powi(2)).sum::<f64>() / (count - 1.0);
        Estimate { mean, half: 1.96 * (variance / count).sqrt(), deviation: variance.sqrt(), count }
    }

    /// How far the paper's figure may be from the mean: 5 % of it, or its rounding and the sampling errors of both.
    pub fn tolerance(self, paper: Printed) -> f64 {
        let error = self.deviation * (1.0 / self.count + 1.0 / PAPER_TRIALS).sqrt();
        (0.05 * paper.value()).max(paper.rounding() + DEVIATIONS * error)
    }

    /// Whether it is no farther.
    pub fn agrees_with(self, paper: Printed) -> bool {
        (self.mean - paper.value()).abs() <= self.tolerance(paper)
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

/// The residue of blind coins among infinitely many nodes: the solution of s = exp(-k (1 - s)) below 1, for k above 1.
pub fn blind_coin_limit(k: u32) -> f64 {
    // Halving: the difference of the two sides changes its sign once below 1 - 1/k.
    let (mut low, mut high) = (0.0, 1.0 - 0.5 / f64::from(k));
    for _ in 0..60 {
        let middle: f64 = (low + high) / 2.0;
        if (-f64::from(k) * (1.0 - middle)).exp() > middle { low = middle } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_figures_say_how_exact_they_are() {
        for (text, value, rounding) in [("0.0012", 0.0012, 5e-5), ("38", 38.0, 0.5), ("4.0e-6", 4e-6, 5e-8)] {
            let printed = Printed(text);
            assert!((printed.value() - value).abs() < 1e-12 && (printed.rounding() / rounding - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn blind_coins_leave_what_the_equation_says() {
        for (k, residue) in [(2, 0.2032), (3, 0.0595), (4, 0.0198), (5, 0.0070)] {
            assert!((blind_coin_limit(k) - residue).abs() < 5e-5, "k = {k}: {}", blind_coin_limit(k));
        }
    }

    #[test]
    fn what_is_too_far_off_differs() {
        let of = |mean: f64| Estimate { mean, half: 0.0, deviation: 0.0029, count: 200.0 };
        assert!(of(0.0070).agrees_with(Printed("0.008")));
        // The counter that is never reset has 0.0020 where the paper has 0.0012, and 0.048 where it has 0.037.
        assert!(!Estimate { deviation: 0.0014, ..of(0.0020) }.agrees_with(Printed("0.0012")));
        assert!(!Estimate { deviation: 0.0074, ..of(0.048) }.agrees_with(Printed("0.037")));
    }
}
