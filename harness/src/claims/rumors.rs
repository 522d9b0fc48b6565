//! Claim 14: rumors are susceptible, infective, removed; the tables of 1987 beside the node's own rumor code.

use std::thread;

use hearsay_core::dissemination::{Interest, LossBy, RumorConfig};
use hearsay_overlay::pictures::{Line, Plot, plots};
use hearsay_overlay::tables::{Estimate, MeasuredRow, PAPER_TRIALS, PaperTable, TABLES, blind_coin_limit, trials};
use hearsay_overlay::{Outcome, Trial, trial};

use super::{Claim, Figure, Options, Section};

pub(super) const CLAIM: Claim = Claim {
    number: 14,
    sentence: "Gossip informs all in about log N rounds; fan-out, redundancy and latency trade off, and interest is lost by chance or \
               by counting.",
    run,
};

fn run(options: &Options) -> Result<Vec<Section>, String> {
    let sections = TABLES.iter().map(|paper| {
        let checked = if paper.verified { "" } else { " (not checked against the paper itself)" };
        let trials = options.trials;
        let title =
            format!(
                "Claim 14, {}{checked}: 1,000 nodes, means of {trials} trials with 95 % intervals\n(+- of the reference: 5 %, or its \
                 rounding and what {trials} trials here and {PAPER_TRIALS} there leave to chance in 39 figures)",
                paper.name
            );
        Section::of(title, rumors(paper, trials))
    });
    let sections = sections.collect();
    if let Some(path) = &options.svg {
        std::fs::write(path, plots(&[by_cycle(), by_nodes()]))
            .map_err(|error| format!("{} could not be written: {error}; give another place", path.display()))?;
    }
    Ok(sections)
}

fn rumors(paper: &PaperTable, count: u64) -> Vec<Figure> {
    let mut lines = Vec::new();
    for row in paper.rows {
        let measured = MeasuredRow::of(&carry_out(&trials(paper, row.k, count)));
        for (what, measured, reference) in [
            ("residue", measured.residue, row.residue),
            ("traffic", measured.traffic, row.traffic),
            ("last delay, cycles", measured.last, row.last),
        ] {
            let Estimate { mean, half, .. } = measured;
            // As many digits as make sense beside the interval.
            let digits = (2.0 - half.max(1e-6).log10().ceil()).clamp(0.0, 6.0) as usize;
            let blind_coin = (paper.interest, paper.loss_by) == (Interest::Blind, LossBy::Coin);
            let limit = match what {
                "residue" if blind_coin && row.k > 1 => {
                    format!(", s = exp(-k (1 - s)) is {:.4}", blind_coin_limit(row.k))
                }
                _ => String::new(),
            };
            lines.push(Figure {
                claim: 14,
                what: format!("k = {}: {what}", row.k),
                measured: format!("{mean:.digits$} +- {half:.digits$}"),
                reference: format!("{} +- {:.digits$}{limit}", reference.0, measured.tolerance(reference)),
                met: Some(measured.agrees_with(reference)),
            });
        }
    }
    lines
}

fn spreading(nodes: u16, fan_out: usize, count: u64) -> Vec<Outcome> {
    let rumor = RumorConfig { fan_out, k: 4, ..RumorConfig::default() };
    let trials: Vec<Trial> = (1..=count).map(|seed| Trial { nodes, rumor: rumor.clone(), seed }).collect();
    carry_out(&trials)
}

fn by_cycle() -> Plot {
    let lines = [1, 2, 3, 5].map(|fan_out| {
        let outcomes = spreading(1_000, fan_out, 20);
        let longest = outcomes.iter().map(|outcome| outcome.curve.len()).max().unwrap_or(0).min(25);
        let share = |cycle: usize| {
            let reached = |outcome: &Outcome| f64::from(outcome.curve[cycle.min(outcome.curve.len() - 1)]);
            outcomes.iter().map(reached).sum::<f64>() / outcomes.len() as f64 / 1_000.0
        };
        Line {
            name: format!("fan-out {fan_out}"),
            points: (0..longest).map(|cycle| (cycle as f64, share(cycle))).collect(),
        }
    });
    Plot {
        title: "A rumor among 1,000 nodes (push, feedback, counter, k = 4)".into(),
        x: "cycle".into(),
        y: "share of the nodes that know it".into(),
        log_x: false,
        lines: lines.into(),
    }
}

fn by_nodes() -> Plot {
    let lines = [1, 2, 3, 5].map(|fan_out| {
        let last = |nodes: u16| {
            let outcomes = spreading(nodes, fan_out, 20);
            outcomes.iter().map(|outcome| outcome.last).sum::<f64>() / outcomes.len() as f64
        };
        Line {
            name: format!("fan-out {fan_out}"),
            points: [10, 30, 100, 300, 1_000, 3_000].map(|nodes| (f64::from(nodes), last(nodes))).into(),
        }
    });
    Plot {
        title: "Until the last node that hears of it".into(),
        x: "nodes".into(),
        y: "cycles".into(),
        log_x: true,
        lines: lines.into(),
    }
}

/// Carries out trials on all cores; the outcomes in their order.
pub(super) fn carry_out(trials: &[Trial]) -> Vec<Outcome> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let part = trials.len().div_ceil(cores).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> = trials
            .chunks(part)
            .map(|trials| scope.spawn(move || trials.iter().map(trial).collect::<Vec<Outcome>>()))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a trial ends")).collect()
    })
}
