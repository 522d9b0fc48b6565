//! `hearsay overlay`: what an overlay looks like when a part of it fails, as a picture and in a few lines.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hearsay_overlay::pictures::{moment, places, strip};
use hearsay_overlay::{scenarios, shape};

use super::{failed, misused, print};

/// Arguments of `hearsay overlay`.
#[derive(Args, Debug)]
pub(super) struct OverlayArgs {
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
