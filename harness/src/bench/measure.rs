//! Closed-loop load: so many requests in flight for so long, and what came of it.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
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
    /// Processor time of the server and of this process, the client.
    pub(super) cpu: [Duration; 2],
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

    /// Processor time of a request, server and client: unlike the rate, it does not suffer much from a busy machine.
    pub(super) fn cpu_per_request(&self) -> String {
        let [server, client] = self.cpu.map(|cpu| cpu.as_secs_f64() * 1e6 / self.requests as f64);
        format!("CPU {server:.1} + {client:.1} us")
    }
}

/// Processor time that a process has used: user and system, all threads, in steps of 10 ms.
///
/// # Errors
/// There is no such process.
pub(super) fn cpu_time(process: u32) -> Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name in parentheses may hold anything; then come single words, user and system time as the 12th and 13th.
    let mut words = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
    let mut ticks = || words.next().and_then(|word| word.parse::<u64>().ok()).context(path.clone());
    Ok(Duration::from_millis(10 * (ticks()? + ticks()?)))
}

/// Keeps `in_flight` requests to the process `server` going for `duration`. `request` is called with the number of the
/// request, from 0 on, unique in this measurement. An error ends the measurement: a benchmark of failures says nothing.
///
/// # Errors
/// What a request said; `server` has ended.
pub(super) async fn load<F, R>(server: u32, in_flight: usize, duration: Duration, request: F) -> Result<Load>
where
    F: Fn(u64) -> R,
    R: Future<Output = Result<()>>,
{
    let cpu_time = || anyhow::Ok([cpu_time(server)?, cpu_time(std::process::id())?]);
    let cpu_before = cpu_time()?;
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
    let cpu_after = cpu_time()?;
    let cpu = [cpu_after[0] - cpu_before[0], cpu_after[1] - cpu_before[1]];
    let mut latency_us = Histogram::<u64>::new(3)?;
    for part in &parts {
        latency_us.add(part)?;
    }
    ensure!(!latency_us.is_empty(), "no request was answered within {duration:?}");
    Ok(Load { requests: latency_us.len(), elapsed, latency_us, cpu })
}

/// The median of some figures.
pub(super) fn median(mut figures: Vec<f64>) -> f64 {
    assert!(!figures.is_empty(), "a median of nothing");
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
