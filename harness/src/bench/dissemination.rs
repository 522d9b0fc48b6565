//! What ten broadcasts among 10,000 simulated nodes cost: processor time of one core, and memory.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use hearsay_overlay::scenarios::{grown, ten_rounds};
use serde::{Deserialize, Serialize};

use super::Figure;
use super::simulator::{cpu_s, resident_max_bytes};

/// Nodes.
const NODES: u16 = 10_000;
/// How long the overlay settles, simulated.
const SETTLED_MS: u64 = 120_000;

#[derive(Serialize, Deserialize)]
struct Rounds {
    grown_s: f64,
    rounds_s: f64,
    delivered: usize,
    events: u64,
    resident_max_bytes: u64,
}

/// Measures in this process and prints what came out as JSON: its memory is to be that of the simulation alone.
///
/// # Errors
/// What the system says.
pub(super) fn measure() -> Result<()> {
    let begun = cpu_s()?;
    let mut world = grown(NODES, 1, SETTLED_MS);
    let grown_s = cpu_s()? - begun;
    let (delivered, events) = ten_rounds(&mut world);
    let rounds_s = cpu_s()? - begun - grown_s;
    let rounds = Rounds { grown_s, rounds_s, delivered, events, resident_max_bytes: resident_max_bytes()? };
    println!("{}", serde_json::to_string(&rounds)?);
    Ok(())
}

/// The figures.
///
/// # Errors
/// What the system says, or a broadcast that did not reach everybody.
pub(super) fn figures() -> Result<Vec<Figure>> {
    let output = Command::new("/proc/self/exe")
        .args(["bench-simulated", &NODES.to_string(), "--dissemination"])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "ten rounds could not be measured: {}", output.status);
    let rounds: Rounds = serde_json::from_slice(&output.stdout).context("ten rounds gave no figures")?;
    ensure!(
        rounds.delivered == 10 * usize::from(NODES),
        "{} deliveries of {}",
        rounds.delivered,
        10 * usize::from(NODES)
    );
    let mib = rounds.resident_max_bytes as f64 / f64::from(1 << 20);
    Ok(vec![Figure {
        what: format!("ten broadcasts among {NODES} simulated nodes"),
        measured: format!(
            "{:.2} s of one core, {:.0} ns each of {} events; {mib:.0} MiB at most",
            rounds.rounds_s,
            rounds.rounds_s * 1e9 / rounds.events as f64,
            rounds.events
        ),
        reference: format!("growing that overlay first {:.2} s; both of iroh-gossip's 14.2 s, 243 MB", rounds.grown_s),
        ratio: Some(rounds.rounds_s / rounds.grown_s),
        goal: Some("1.5 s and 250 MB".to_owned()),
        met: Some(rounds.rounds_s <= 1.5 && mib * 1.048_576 <= 250.0),
    }])
}
