//! `hearsay overlay`: what an overlay looks like, as a picture and in a few lines: of a stored run, of a running cluster, or of
//! simulated nodes when a part of them fails.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use hearsay_overlay::pictures::{moment, places, strip};
use hearsay_overlay::{scenarios, shape};

use hearsay_node::certificates::Identity;
use hearsay_node::client::ClientEndpoint;
use hearsay_node::config::NodeConfig;

use super::{failed, misused, print};
use crate::overlay_moments::{Drawn, Round, choose, draw, stored};
use crate::run::observer::Observer;

/// Arguments of `hearsay overlay`.
#[derive(Args, Debug)]
pub(super) struct OverlayArgs {
    /// A stored run, or its metrics.jsonl: its overlay over time
    #[arg(conflicts_with_all = ["config", "nodes", "kill", "seed"])]
    run: Option<PathBuf>,
    /// Configuration of a node of a running cluster; beside its ca.pem there are client.pem and client.key
    #[arg(long, value_name = "FILE", conflicts_with_all = ["nodes", "kill", "seed"])]
    config: Option<PathBuf>,
    /// Moments of a run or of a running cluster that are drawn side by side
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=12))]
    moments: u64,
    /// Seconds between two moments of a running cluster
    #[arg(long, default_value_t = 2.0)]
    every: f64,
    /// Simulated nodes.
    #[arg(long, default_value_t = 100)]
    nodes: u16,
    /// Share of the nodes that fails at once.
    #[arg(long, default_value_t = 0.3)]
    kill: f64,
    /// Seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the picture goes.
    #[arg(long, default_value = "overlay.svg")]
    svg: PathBuf,
}

pub(super) fn run(args: &OverlayArgs) -> ExitCode {
    if let Some(run) = &args.run {
        return match stored(run) {
            Ok(rounds) => {
                show(&format!("hearsay overlay: {}", run.display()), args, &choose(&rounds, args.moments as usize))
            }
            Err(error) => misused(&error),
        };
    }
    if let Some(config) = &args.config {
        if !(0.0..=3_600.0).contains(&args.every) {
            return misused(&"give --every from 0 to 3600 seconds");
        }
        return match watch(config, args) {
            Ok(rounds) => show(
                &format!("hearsay overlay: the cluster of {}", config.display()),
                args,
                &rounds.iter().collect::<Vec<_>>(),
            ),
            Err(error) => misused(&format!("{error:#}")),
        };
    }
    simulated(args)
}

fn show(title: &str, args: &OverlayArgs, rounds: &[&Round]) -> ExitCode {
    let Drawn { picture, summary } = draw(rounds);
    if let Err(error) = std::fs::write(&args.svg, picture) {
        return failed(&format!("{} could not be written: {error}; give another --svg", args.svg.display()));
    }
    print(&format!("{title}\n\n{summary}\npicture: {}\n", args.svg.display()));
    ExitCode::SUCCESS
}

/// Asks every member of a running cluster, as often as was said.
fn watch(config: &Path, args: &OverlayArgs) -> anyhow::Result<Vec<Round>> {
    use anyhow::{Context, anyhow, ensure};
    let config = NodeConfig::read(config).map_err(|error| anyhow!("{error}"))?;
    let beside = config.certificates.authority.parent().map(PathBuf::from).unwrap_or_default();
    let identity = Identity::read(&beside.join("client.pem"), &beside.join("client.key"))?;
    let authority = std::fs::read_to_string(&config.certificates.authority)
        .with_context(|| config.certificates.authority.display().to_string())?;
    let any: SocketAddr = match config.members[&config.node] {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let endpoint = ClientEndpoint::new(UdpSocket::bind(any)?, &identity, &authority, &config.cluster)?;
        let addresses = config.members.iter().map(|(member, address)| (member.0, *address)).collect();
        let observer = Observer::new(Arc::new(endpoint), &addresses);
        let begun = Instant::now();
        let mut rounds = Vec::new();
        let mut refusal = None;
        for number in 0..args.moments {
            if number > 0 {
                tokio::time::sleep(Duration::from_secs_f64(args.every)).await;
            }
            let asked = addresses.keys().map(|&node| {
                let observer = &observer;
                async move { (node, observer.overlay(node).await) }
            });
            let mut round = Round { time_ns: begun.elapsed().as_nanos() as u64, ..Round::default() };
            for (node, report) in futures::future::join_all(asked).await {
                match report {
                    Ok(report) => drop(round.reports.insert(node, report)),
                    Err(error) => refusal = Some(format!("{node}: {error}")),
                }
            }
            rounds.push(round);
        }
        let none = rounds.iter().all(|round| round.reports.is_empty());
        ensure!(!none, "no node tells of an overlay; {}", refusal.unwrap_or_default());
        Ok(rounds)
    })
}

fn simulated(args: &OverlayArgs) -> ExitCode {
    if !(2..=10_000).contains(&args.nodes) || !(0.0..1.0).contains(&args.kill) {
        return misused(&"give --nodes from 2 to 10000 and --kill from 0 to below 1");
    }
    let origin = hearsay_core::NodeId(1);
    let mut world = scenarios::grown(args.nodes, args.seed, 120_000);
    let mut id = world.publish(origin, 64);
    for _ in 0..5 {
        world.run_ms(1_000);
        id = world.publish(origin, 64);
    }
    world.run_ms(1_000);
    let at = places(&world, id);
    let mut moments = vec![moment(&world, "before")];
    let mut lines = format!(
        "hearsay overlay: {} nodes, HyParView and Plumtree, {:.0} % fail at once, seed {}\n\n",
        args.nodes,
        args.kill * 100.0,
        args.seed
    );
    scenarios::kill_share(&mut world, args.kill);
    let begun_ns = world.now_ns();
    for (after_ms, title) in [(0, "at once"), (1_000, "after 1 s"), (10_000, "after 10 s")] {
        world.run_until_ns(begun_ns + after_ms * 1_000_000);
        if after_ms > 0 {
            world.publish(origin, 64);
            world.run_ms(900);
        }
        moments.push(moment(&world, title));
    }
    for moment in &moments {
        lines.push_str(&format!("  {:<12} {}\n", moment.title, moment.note));
    }
    let shape = shape(&world);
    lines.push_str(&format!(
        "\nat the end: {:.2} neighbours a node, clustering {:.4}, path length {:.2}, {} one-sided links\npicture: {}\n",
        shape.degree_mean,
        shape.clustering,
        shape.path_mean,
        shape.one_sided,
        args.svg.display()
    ));
    if let Err(error) = std::fs::write(&args.svg, strip(&moments, &at)) {
        return failed(&format!("{} could not be written: {error}", args.svg.display()));
    }
    print(&lines);
    ExitCode::SUCCESS
}
