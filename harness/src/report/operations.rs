//! What the clients saw, counted by phase.

use std::time::Duration;

use hdrhistogram::Histogram;
use hearsay_checkers::{History, Outcome, Phase};
use serde::{Deserialize, Serialize};

/// Operations that were invoked in a phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseOperations {
    /// Name of the phase.
    pub phase: String,
    /// It happened.
    pub ok: u64,
    /// It certainly did not happen.
    pub fail: u64,
    /// Not known.
    pub info: u64,
    /// Operations per second that ended `ok`.
    pub ok_per_s: f64,
    /// Median latency of those that ended `ok`, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of those that ended `ok`, milliseconds.
    pub p99_ms: f64,
}

/// Counts each operation in the phase of its invocation. What was invoked between two phases counts for the earlier.
pub fn operations_by_phase(history: &History, phases: &[Phase]) -> Vec<PhaseOperations> {
    let count = |from: u64, until: u64, phase: &Phase| {
        let in_phase = |invoked: u64| invoked >= from && invoked < until;
        let mut latencies =
            Histogram::<u64>::new_with_bounds(1, 600_000_000, 3).expect("these bounds suit the histogram");
        let (mut ok, mut fail, mut info) = (0, 0, 0);
        for operation in history.operations.iter().filter(|operation| in_phase(operation.invoked)) {
            match (operation.outcome, operation.completed) {
                (Outcome::Ok, Some(completed)) => {
                    ok += 1;
                    let microseconds = Duration::from_nanos(completed.saturating_sub(operation.invoked)).as_micros();
                    latencies.saturating_record(u64::try_from(microseconds).unwrap_or(u64::MAX));
                }
                (Outcome::Ok, None) => unreachable!("an ok operation has completed"),
                (Outcome::Fail, _) => fail += 1,
                (Outcome::Info, _) => info += 1,
            }
        }
        let milliseconds = |quantile: f64| latencies.value_at_quantile(quantile) as f64 / 1e3;
        let seconds = phase.to.saturating_sub(phase.from) as f64 / 1e9;
        PhaseOperations {
            phase: phase.name.clone(),
            ok,
            fail,
            info,
            ok_per_s: if seconds > 0.0 { ok as f64 / seconds } else { 0.0 },
            p50_ms: milliseconds(0.5),
            p99_ms: milliseconds(0.99),
        }
    };
    let mut counted = Vec::with_capacity(phases.len());
    for (at, phase) in phases.iter().enumerate() {
        let from = if at == 0 { 0 } else { phase.from };
        let until = phases.get(at + 1).map_or(u64::MAX, |next| next.from);
        counted.push(count(from, until, phase));
    }
    counted
}
