//! Claim 6: quorum reads that go backward, and operations that succeed, with repair before, after and never.
//!
//! The plan is the same in all three. A read that answered later than a newer one is judged by `monotonic-quorum-reads`, over all
//! clients; violations are reads.

use hearsay_core::ReadRepair;

use super::campaign_runs::{Measurements, Run, Variant, run_variants, sound};
use super::{Claim, Figure, Measured, Options, Section};

pub(super) const CLAIM: Claim = Claim {
    number: 6,
    sentence: "Blocking read repair gives monotonic quorum reads and costs availability; non-blocking answers first.",
    run,
};

const CAMPAIGN: &str = "claims/06-monotonic-reads";

const VARIANTS: [Variant; 3] = [
    Variant { name: "blocking", change: |cluster| cluster.read_repair = ReadRepair::Blocking },
    Variant { name: "async", change: |cluster| cluster.read_repair = ReadRepair::Async },
    Variant { name: "none", change: |cluster| cluster.read_repair = ReadRepair::None },
];

/// What a coordinator says when blocking repair was not acknowledged in time.
const NOT_REPAIRED: &str = "came to hold the newest version";

/// Of one run.
struct Reads {
    /// Answered.
    answered: u64,
    /// Went backward.
    backward: u64,
    /// Reads that succeeded while faults were in force, and all that were started.
    succeeded: u64,
    started: u64,
    /// Reads that failed because replicas that were to be repaired did not acknowledge in time.
    unrepaired: u64,
    /// Median and 99th percentile of the faults' phase, milliseconds.
    p50_ms: f64,
    p99_ms: f64,
}

fn run(options: &Options) -> Result<Vec<Section>, String> {
    section(options, &VARIANTS).map(|section| vec![section])
}

fn section(options: &Options, variants: &[Variant]) -> Result<Section, String> {
    let measured = run_variants(options, CAMPAIGN, variants, reads)?;
    let backward = |runs: &Measurements<Reads>| runs.sum(|run| run.backward);
    let per_100k =
        |runs: &Measurements<Reads>| backward(runs) as f64 * 1e5 / (runs.sum(|run| run.answered).max(1)) as f64;
    let success =
        |runs: &Measurements<Reads>| runs.sum(|run| run.succeeded) as f64 / (runs.sum(|run| run.started).max(1)) as f64;
    let unrepaired = |runs: &Measurements<Reads>| runs.sum(|run| run.unrepaired);
    let mean = |runs: &Measurements<Reads>, figure: fn(&Reads) -> f64| {
        runs.runs.iter().map(figure).sum::<f64>() / runs.runs.len().max(1) as f64
    };
    let rows = variants.iter().zip(&measured).map(|(variant, runs)| {
        vec![
            variant.name.to_owned(),
            runs.sum(|run| run.answered).to_string(),
            backward(runs).to_string(),
            format!("{:.1}", per_100k(runs)),
            unrepaired(runs).to_string(),
            format!("{:.2} %", success(runs) * 100.0),
            format!("{:.1}", mean(runs, |run| run.p50_ms)),
            format!("{:.1}", mean(runs, |run| run.p99_ms)),
        ]
    });
    let columns = [
        "read repair",
        "quorum reads",
        "went backward",
        "per 100k reads",
        "failed in repair",
        "succeeded under faults",
        "p50 ms",
        "p99 ms",
    ];
    let [blocking, asynchronous, none] = &measured[..] else { unreachable!("three variants") };
    let found = |name: &str, runs: &Measurements<Reads>| {
        let measured = format!("{:.1} per 100k reads", per_100k(runs));
        Figure::new(6, &format!("reads that go backward, {name}"), measured, "found", Some(backward(runs) > 0))
    };
    let [waited, others] = [unrepaired(blocking), unrepaired(asynchronous) + unrepaired(none)];
    let price = Figure::new(
        6,
        "reads that failed waiting for repairs, blocking against both others",
        format!("{waited} against {others}"),
        "found against 0",
        Some(waited > 0 && others == 0),
    );
    let cheaper = success(blocking) < success(none);
    let success = Figure::new(
        6,
        "operations that succeed under faults, blocking against none",
        format!("{:.2} % against {:.2} %", success(blocking) * 100.0, success(none) * 100.0),
        "fewer with blocking",
        // Real processes are slower or faster from run to run by more than that.
        (!options.real).then_some(cheaper),
    );
    let figures = vec![
        Figure::new(
            6,
            "reads that go backward, blocking",
            format!("{} of {}", backward(blocking), blocking.sum(|run| run.answered)),
            "0",
            Some(backward(blocking) == 0),
        ),
        found("async", asynchronous),
        found("none", none),
        price,
        success,
        sound(6, &measured),
    ];
    let title = format!("Claim 6, {CAMPAIGN}: quorum reads and writes under the same faults, {}", options.runs_words());
    let measured = Measured { columns: columns.map(str::to_owned).into(), rows: rows.collect() };
    Ok(Section { title, measured, figures })
}

fn reads(run: &Run) -> Reads {
    let (succeeded, started) = run.during_faults();
    let phase = run.report.operations.iter().find(|operations| operations.phase == "faults");
    Reads {
        answered: run.reads(),
        backward: run.violations("monotonic-quorum-reads"),
        succeeded,
        started,
        unrepaired: run.failed_with(NOT_REPAIRED),
        p50_ms: phase.map_or(0.0, |phase| phase.p50_ms),
        p99_ms: phase.map_or(0.0, |phase| phase.p99_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_and_differs_when_blocking_does_not_block() {
        let options = Options::of_tests(3);
        let section = section(&options, &VARIANTS).expect("it runs");
        assert!(section.agrees(), "{section}");
        let mut swapped = VARIANTS;
        swapped[0].change = VARIANTS[2].change;
        let section = super::section(&options, &swapped).expect("it runs");
        assert!(!section.agrees(), "{section}");
    }
}
