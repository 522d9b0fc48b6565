//! How fast the simulator is, and whether it stays so with many nodes.
//!
//! Everything runs on one core and is measured in the CPU time of its thread, so that other work on the machine counts as
//! little as possible. The reference is the bare event queue: pop the next event, plan another one; no simulator of ordered
//! events can be faster. Sizes have a process each, so that one's memory is not another's.

use std::fs;
use std::hint::black_box;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

use super::measure::median;
use super::{Figure, Options};
use crate::campaign;
use crate::exit::Outcome;
use crate::plan::make_plan;
use crate::sim::{Settings, simulate, turn_bare_queue};

/// Simulated events per second and core, at least.
const EVENTS_GOAL_PER_S: f64 = 500e3;
/// Virtual seconds in a real second, at least.
const FASTER_GOAL: f64 = 100.0;
/// Events that wait in the bare queue, about as many as in a run of five nodes.
const PENDING_SMALL: usize = 256;
/// The same for each node of a large cluster.
const PENDING_PER_NODE: usize = 16;
/// Turns of the bare queue in one measurement.
const TURNS: u64 = 2_000_000;
/// The campaign that is measured at several sizes.
const LARGE: &str = "ten-thousand";
/// Its sizes; the first is what the others are compared with.
const SIZES: [u16; 3] = [100, 1_000, 10_000];
/// An event of the largest cluster may cost so many times one of the smallest: the queue is deeper, and caches are missed.
const GROWTH_GOAL: f64 = 4.0;
/// Resident memory of the largest, at most.
const RESIDENT_GOAL_GIB: f64 = 2.0;

/// Arguments of the hidden command that measures one size in a process of its own.
#[derive(Args, Debug)]
pub struct BenchSimulatedArgs {
    nodes: u16,
    /// Ten broadcasts of the gossip layer alone instead.
    #[arg(long)]
    dissemination: bool,
}

/// What one size brought.
#[derive(Debug, Serialize, Deserialize)]
struct Sized {
    events: u64,
    virtual_s: f64,
    cpu_s: f64,
    /// CPU time of a turn of the bare queue with as many events waiting.
    turn_ns: f64,
    resident_max_bytes: u64,
    outcome: Outcome,
}

/// CPU time of this thread so far, seconds.
pub(super) fn cpu_s() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}

fn turn_ns(pending: usize) -> Result<f64> {
    let before = cpu_s()?;
    black_box(turn_bare_queue(pending, TURNS));
    Ok((cpu_s()? - before) * 1e9 / TURNS as f64)
}

/// Five nodes under load and faults.
///
/// # Errors
/// A run that was not as expected, or what the system says.
pub(super) fn quickstart(options: &Options) -> Result<Vec<Figure>> {
    let campaign = campaign::load("quickstart")?;
    let (mut rates, mut bare_rates, mut fasters) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 1..=options.rounds.max(3) as u64 {
        bare_rates.push(1e9 / turn_ns(PENDING_SMALL)?);
        let begun = cpu_s()?;
        let plan = make_plan(&campaign, seed);
        let planned = cpu_s()?;
        let simulated = simulate(&plan, Settings::default());
        let simulated_s = cpu_s()? - planned;
        let report = simulated.report(&plan, String::new(), String::new());
        let judged_s = cpu_s()? - begun;
        ensure!(report.outcome == Outcome::AsExpected, "seed {seed} was not as expected: {}", report.outcome.words());
        let simulation = report.simulation.context("a simulated run counts its events")?;
        rates.push(simulation.events as f64 / simulated_s);
        fasters.push(simulation.virtual_ns as f64 / 1e9 / judged_s);
    }
    let (rate, bare, faster) = (median(rates), median(bare_rates), median(fasters));
    Ok(vec![
        Figure {
            what: "simulator, quickstart: 5 nodes under load and faults".to_owned(),
            measured: format!("{:.0}k events/s, {:.0} ns each", rate / 1e3, 1e9 / rate),
            reference: format!("the bare event queue {:.0}k turns/s", bare / 1e3),
            ratio: Some(rate / bare),
            goal: Some(format!("{:.0}k events/s", EVENTS_GOAL_PER_S / 1e3)),
            met: Some(rate >= EVENTS_GOAL_PER_S),
        },
        Figure {
            what: "simulator, quickstart: plan, run and verdict".to_owned(),
            measured: format!("{faster:.0} times real time"),
            reference: "real time".to_owned(),
            ratio: Some(faster),
            goal: Some(format!("{FASTER_GOAL:.0} times")),
            met: Some(faster >= FASTER_GOAL),
        },
    ])
}

/// The same campaign with more and more nodes.
///
/// # Errors
/// A run that was not as expected, or what the system says.
pub(super) fn sizes() -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut first_ns = None;
    for nodes in SIZES {
        let Sized { events, virtual_s, cpu_s, turn_ns, resident_max_bytes, outcome } = in_process(nodes)?;
        ensure!(outcome == Outcome::AsExpected, "{nodes} simulated nodes were not as expected: {}", outcome.words());
        let event_ns = cpu_s * 1e9 / events as f64;
        let first_ns = *first_ns.get_or_insert(event_ns);
        let largest = nodes == SIZES[SIZES.len() - 1];
        figures.push(Figure {
            what: format!("simulator, {LARGE} with {nodes} nodes"),
            measured: format!(
                "{event_ns:.0} ns an event, {:.1} million events for {virtual_s:.0} s in {cpu_s:.1} s",
                events as f64 / 1e6
            ),
            reference: format!("{first_ns:.0} ns with {} nodes; a turn of the bare queue {turn_ns:.0} ns", SIZES[0]),
            ratio: Some(event_ns / first_ns),
            goal: largest.then(|| format!("at most {GROWTH_GOAL:.0} times the smallest")),
            met: largest.then_some(event_ns <= GROWTH_GOAL * first_ns),
        });
        if largest {
            let gib = resident_max_bytes as f64 / f64::from(1 << 30);
            figures.push(Figure {
                what: format!("simulator, {nodes} nodes, resident at most"),
                measured: format!(
                    "{gib:.2} GiB, {:.1} KiB a node",
                    resident_max_bytes as f64 / 1024.0 / f64::from(nodes)
                ),
                reference: "none: as the kernel counts it".to_owned(),
                ratio: None,
                goal: Some(format!("at most {RESIDENT_GOAL_GIB:.0} GiB")),
                met: Some(gib <= RESIDENT_GOAL_GIB),
            });
        }
    }
    Ok(figures)
}

fn in_process(nodes: u16) -> Result<Sized> {
    let output = Command::new("/proc/self/exe")
        .args(["bench-simulated", &nodes.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "{nodes} simulated nodes could not be measured: {}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("{nodes} simulated nodes gave no figures"))
}

/// Measures one size and prints what it brought as JSON.
///
/// # Errors
/// What the system says.
pub fn measure_size(args: &BenchSimulatedArgs) -> Result<()> {
    if args.dissemination {
        return super::dissemination::measure();
    }
    let turn_ns = turn_ns(PENDING_PER_NODE * usize::from(args.nodes))?;
    let mut campaign = campaign::load(LARGE)?;
    campaign.cluster.members = (1..=args.nodes).map(hearsay_core::NodeId).collect();
    let plan = make_plan(&campaign, 1);
    let begun = cpu_s()?;
    let simulated = simulate(&plan, Settings::default());
    let cpu_s = cpu_s()? - begun;
    let report = simulated.report(&plan, String::new(), String::new());
    let simulation = report.simulation.context("a simulated run counts its events")?;
    let sized = Sized {
        events: simulation.events,
        virtual_s: simulation.virtual_ns as f64 / 1e9,
        cpu_s,
        turn_ns,
        resident_max_bytes: resident_max_bytes()?,
        outcome: report.outcome,
    };
    println!("{}", serde_json::to_string(&sized)?);
    Ok(())
}

/// The most memory that this process ever had resident.
pub(super) fn resident_max_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let figure =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).and_then(|rest| rest.split_whitespace().next());
    let kib: u64 = figure.ok_or_else(|| anyhow!("/proc/self/status has no VmHWM"))?.parse()?;
    Ok(kib * 1024)
}
