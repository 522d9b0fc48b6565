//! Closed-loop load: so many requests in flight for so long, and what came of it.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use hdrhistogram::Histogram;

/// What one measurement gave.
pub(super) struct Load {
    /// Requests answered.
    pub(super) requests: u64,
    /// How long it took.
    pub(super) elapsed: Duration,
    /// Latencies, microseconds.
    pub(super) latency_us: Histogram<u64>,
}

impl Load {
    /// Requests per second.
    pub(super) fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// `p50 / p99 / p99.9`, microseconds.
    pub(super) fn percentiles(&self) -> String {
        let at = |percent| self.latency_us.value_at_percentile(percent);
        format!("{} / {} / {} us", at(50.0), at(99.0), at(99.9))
    }
}

/// Keeps `in_flight` requests going for `duration`. `request` is called with the number of the request, from 0 on, unique
/// in this measurement. An error ends the measurement: a benchmark of failures says nothing.
///
/// # Errors
/// What a request said.
pub(super) async fn load<F, R>(in_flight: usize, duration: Duration, request: F) -> Result<Load>
where
    F: Fn(u64) -> R,
    R: Future<Output = Result<()>>,
{
    let begin = Instant::now();
    let workers = (0..in_flight as u64).map(|worker| {
        let request = &request;
        async move {
            let mut latency_us = Histogram::<u64>::new(3)?;
            let mut number = worker;
            while begin.elapsed() < duration {
                let sent = Instant::now();
                request(number).await?;
                latency_us.record(sent.elapsed().as_micros() as u64)?;
                number += in_flight as u64;
            }
            anyhow::Ok(latency_us)
        }
    });
    let parts = try_join_all(workers).await?;
    let elapsed = begin.elapsed();
    let mut latency_us = Histogram::<u64>::new(3)?;
    for part in &parts {
        latency_us.add(part)?;
    }
    ensure!(latency_us.len() > 0, "no request was answered within {duration:?}");
    Ok(Load { requests: latency_us.len(), elapsed, latency_us })
}

/// The median of some figures.
pub(super) fn median(mut figures: Vec<f64>) -> f64 {
    assert!(!figures.is_empty(), "a median of nothing");
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
