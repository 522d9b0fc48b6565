//! Time from nothing to a sandboxed cluster in which every node serves, and what an idle node of it weighs.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use hearsay_core::NodeId;

use super::measure::median;
use super::{Figure, Options};
use crate::campaign;
use crate::disk::DiskKind;
use crate::plan::make_plan;
use crate::run::cluster::Cluster;
use crate::run::nemesis::Scene;
use crate::sandbox::Sandbox;
use crate::sandbox::enter::MARKER;
use crate::store::RunDirectory;

/// Program starts that are timed for the reference.
const STARTS: usize = 20;
/// How long the cluster idles before its memory is read.
const IDLE: Duration = Duration::from_secs(5);

fn goals(nodes: u16) -> (f64, f64) {
    match nodes {
        ..=5 => (1.0, 12.0),
        6..=50 => (5.0, 30.0),
        _ => (25.0, 30.0),
    }
}

/// Resident memory of a process, MiB.
pub(super) fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
    Ok(kib / 1024.0)
}

/// The time this program takes to start and end, seconds: what a cluster of that many processes costs at least.
fn program_start() -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let begin = Instant::now();
        let status = Command::new("/proc/self/exe")
            .arg("--version")
            .env_remove(MARKER)
            .stdout(std::process::Stdio::null())
            .status()?;
        anyhow::ensure!(status.success(), "the program did not start: {status}");
        times.push(begin.elapsed().as_secs_f64());
    }
    Ok(median(times))
}

/// Starts that many nodes and measures. Once per sandbox.
///
/// # Errors
/// A cluster that is not ready in time, or what the system says.
pub(super) async fn cluster(sandbox: &Sandbox, nodes: u16, _options: &Options) -> Result<Vec<Figure>> {
    let start = program_start()?;
    let text = format!(
        "campaign: bench\ncluster: {{nodes: {nodes}, replication: 3}}\nworkload: {{register: {{keys: 1, clients: 1, \
         rate: 1, mix: {{read: 1}}, read_level: one, write_level: one}}}}\nphases: {{warmup: 1s}}\n\
         expect: {{convergence: any}}\n"
    );
    let campaign = campaign::parse("bench", &text).map_err(|mistakes| anyhow!("{mistakes}"))?;
    let plan = make_plan(&campaign, 1);
    // The disks are those of a run.
    let folder = tempfile::tempdir_in(".").context("the working directory must be writable")?;
    let directory = RunDirectory::create(folder.path(), "bench", "now", 1)?;

    let begin = Instant::now();
    let (cluster, _died) = Cluster::start(&plan, &directory, sandbox, DiskKind::Auto)?;
    let started = begin.elapsed().as_secs_f64();
    let scene = Scene::of(&cluster, &plan);
    scene.prove_whole(cluster.ready_within()).await.map_err(|missing| anyhow!("not ready: {missing}"))?;
    let ready = begin.elapsed().as_secs_f64();
    tokio::time::sleep(IDLE).await;
    let weights: Result<Vec<f64>> = plan
        .cluster
        .members
        .iter()
        .map(|&node: &NodeId| resident_mib(cluster.nodes.pid(node).with_context(|| format!("{node} is gone"))?))
        .collect();
    let weights = weights?;
    let heaviest = weights.iter().copied().fold(0.0, f64::max);
    cluster.stop().await?;

    let (ready_goal_s, weight_goal_mib) = goals(nodes);
    let reference = start * f64::from(nodes) / 2.0;
    Ok(vec![
        Figure {
            what: format!("sandbox and cluster of {nodes} nodes ready to serve"),
            measured: format!("{ready:.2} s (processes started after {started:.2} s)"),
            reference: format!("starting this program {nodes} times on two cores {reference:.2} s"),
            ratio: Some(ready / reference),
            goal: Some(format!("within {ready_goal_s} s")),
            met: Some(ready <= ready_goal_s),
        },
        Figure {
            what: format!("idle node of {nodes}, resident"),
            measured: format!("median {:.1} MiB, most {heaviest:.1} MiB", median(weights)),
            reference: "none: as the kernel counts it".to_string(),
            ratio: None,
            goal: (nodes != 50).then(|| format!("at most {weight_goal_mib} MiB")),
            met: (nodes != 50).then_some(heaviest <= weight_goal_mib),
        },
    ])
}
