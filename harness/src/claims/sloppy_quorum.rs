//! Claim 11: the same partitions under a strict and under a sloppy quorum: what succeeds, and which reads are stale.
//!
//! A read is stale that returns something older than a write that was acknowledged before it began: `linearizable` counts them.

use super::campaign_runs::{Measurements, Run, Variant, run_variants, sound};
use super::{Claim, Figure, Measured, Options, Section};

pub(super) const CLAIM: Claim = Claim {
    number: 11,
    sentence: "A sloppy quorum picks the next healthy nodes and gives up consistency for availability.",
    run,
};

const CAMPAIGN: &str = "claims/11-sloppy-quorum";

const VARIANTS: [Variant; 2] = [
    Variant { name: "strict", change: |cluster| cluster.sloppy = false },
    Variant { name: "sloppy", change: |cluster| cluster.sloppy = true },
];

/// Of one run.
struct Service {
    succeeded: u64,
    started: u64,
    reads: u64,
    stale: u64,
    lost: u64,
    converged: bool,
}

fn run(options: &Options) -> Result<Vec<Section>, String> {
    section(options, &VARIANTS).map(|section| vec![section])
}

fn section(options: &Options, variants: &[Variant]) -> Result<Section, String> {
    let measured = run_variants(options, CAMPAIGN, variants, service)?;
    let success =
        |runs: &Measurements<Service>| runs.sum(|run| run.succeeded) as f64 / runs.sum(|run| run.started).max(1) as f64;
    let stale = |runs: &Measurements<Service>| runs.sum(|run| run.stale);
    let converged = |runs: &Measurements<Service>| runs.runs.iter().filter(|run| run.converged).count();
    let rows = variants.iter().zip(&measured).map(|(variant, runs)| {
        vec![
            variant.name.to_owned(),
            runs.sum(|run| run.started).to_string(),
            format!("{:.2} %", success(runs) * 100.0),
            runs.sum(|run| run.reads).to_string(),
            stale(runs).to_string(),
            runs.sum(|run| run.lost).to_string(),
            format!("{} of {}", converged(runs), runs.runs.len()),
        ]
    });
    let columns =
        ["quorum", "operations under faults", "succeeded", "reads", "stale reads", "lost writes", "converged"];
    let [strict, sloppy] = &measured[..] else { unreachable!("two variants") };
    let figures = vec![
        Figure::new(
            11,
            "operations that succeed under faults, sloppy against strict",
            format!("{:.2} % against {:.2} %", success(sloppy) * 100.0, success(strict) * 100.0),
            "more with sloppy",
            Some(success(sloppy) > success(strict)),
        ),
        Figure::new(11, "stale reads, strict", stale(strict).to_string(), "0", Some(stale(strict) == 0)),
        Figure::new(11, "stale reads, sloppy", stale(sloppy).to_string(), "found", Some(stale(sloppy) > 0)),
        Figure::new(
            11,
            "acknowledged writes lost after the handoff, sloppy",
            sloppy.sum(|run| run.lost).to_string(),
            "0",
            Some(sloppy.sum(|run| run.lost) == 0 && converged(sloppy) == sloppy.runs.len()),
        ),
        sound(11, &measured),
    ];
    let title = format!("Claim 11, {CAMPAIGN}: halves of six nodes cut off from each other, {}", options.runs_words());
    let measured = Measured { columns: columns.map(str::to_owned).into(), rows: rows.collect() };
    Ok(Section { title, measured, figures })
}

fn service(run: &Run) -> Service {
    let (succeeded, started) = run.during_faults();
    Service {
        succeeded,
        started,
        reads: run.reads(),
        stale: run.violations("linearizable"),
        lost: run.violations("acknowledged-writes"),
        converged: run.violations("convergence") == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_and_differs_when_sloppy_is_strict() {
        let options = Options::of_tests(1);
        let section = section(&options, &VARIANTS).expect("it runs");
        assert!(section.agrees(), "{section}");
        let section = super::section(&options, &[VARIANTS[0], VARIANTS[0]]).expect("it runs");
        assert!(!section.agrees(), "{section}");
    }
}
