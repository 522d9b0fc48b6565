//! `hearsay claims`: what the literature says of gossip, each figure beside what the node's own code brings.
//!
//! 14: the rumors of 1987 and how they spread; 17: Plumtree; 18: HyParView after failures. All on simulated overlays of the
//! dissemination layer; a seed gives the same figures on every machine.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::Args;
use comfy_table::Table;
use hearsay_core::dissemination::RumorConfig;
use hearsay_overlay::pictures::{Line, Plot, plots};
use hearsay_overlay::scenarios::{massive_failure, partition_and_merge, series};
use hearsay_overlay::tables::{Estimate, MeasuredRow, TABLES, trials};
use hearsay_overlay::{Outcome, Trial, trial};
use serde::Serialize;

use super::{failed, misused, print, print_json};
use crate::exit::Outcome as Ending;

/// Arguments of `hearsay claims`.
#[derive(Args, Debug)]
pub(super) struct ClaimsArgs {
    /// Which: 14 (rumors), 17 (Plumtree), 18 (HyParView); all when none is named.
    #[arg(value_parser = ["14", "17", "18"])]
    claims: Vec<String>,
    /// Trials of each row of the tables.
    #[arg(long, default_value_t = 200)]
    trials: u64,
    /// Nodes of claim 18.
    #[arg(long, default_value_t = 10_000)]
    nodes: u16,
    /// Draw how rumors spread, against cycles, nodes and fan-out (claim 14).
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Print JSON lines instead of tables.
    #[arg(long)]
    json: bool,
}

/// A figure beside its reference.
#[derive(Debug, Serialize)]
struct Figure {
    claim: u8,
    what: String,
    measured: String,
    reference: String,
    /// `None`: there is no goal.
    met: Option<bool>,
}

pub(super) fn run(args: &ClaimsArgs) -> ExitCode {
    if args.trials < 2 || args.nodes < 100 || args.nodes > 10_000 {
        return misused(&"give --trials of at least 2, and --nodes from 100 to 10000");
    }
    let wants = |claim: &str| args.claims.is_empty() || args.claims.iter().any(|wanted| wanted == claim);
    let mut all_met = true;
    let mut show = |title: &str, lines: Vec<Figure>| {
        all_met &= lines.iter().all(|line| line.met != Some(false));
        if args.json {
            lines.iter().for_each(print_json);
        } else {
            print(&format!("{title}\n{}\n\n", table(&lines)));
        }
    };
    if wants("14") {
        for paper in &TABLES {
            let checked = if paper.verified { "" } else { " (not checked against the paper itself)" };
            let title = format!(
                "Claim 14, {}{checked}: 1,000 nodes, means of {} trials with 95 % intervals",
                paper.name, args.trials
            );
            show(&title, rumors(paper, args.trials));
        }
        if let Some(path) = &args.svg
            && let Err(error) = std::fs::write(path, plots(&[by_cycle(), by_nodes()]))
        {
            return failed(&format!("{} could not be written: {error}", path.display()));
        }
    }
    if wants("17") {
        show(
            "Claim 17, Plumtree over HyParView: 1,000 nodes, latency 10 to 50 ms, settled for ten minutes",
            plumtree(),
        );
    }
    if wants("18") {
        let title =
            format!("Claim 18, HyParView and Plumtree: {} nodes, a broadcast a second from the failure on", args.nodes);
        show(&title, hyparview(args.nodes));
    }
    if let (Some(path), false) = (&args.svg, args.json) {
        print(&format!("picture: {}\n", path.display()));
    }
    ExitCode::from(if all_met { Ending::AsExpected } else { Ending::Violation }.exit_code())
}

fn table(lines: &[Figure]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["what", "measured", "reference", ""]);
    for line in lines {
        let met = match line.met {
            Some(true) => "agrees",
            Some(false) => "DIFFERS",
            None => "",
        };
        table.add_row([line.what.as_str(), &line.measured, &line.reference, met]);
    }
    table
}

/// Carries out trials on all cores; the outcomes in their order.
fn carry_out(trials: &[Trial]) -> Vec<Outcome> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let part = trials.len().div_ceil(cores).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> = trials
            .chunks(part)
            .map(|trials| scope.spawn(move || trials.iter().map(trial).collect::<Vec<Outcome>>()))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a trial ends")).collect()
    })
}

fn rumors(paper: &hearsay_overlay::tables::PaperTable, count: u64) -> Vec<Figure> {
    let mut lines = Vec::new();
    for row in paper.rows {
        let measured = MeasuredRow::of(&carry_out(&trials(paper, row.k, count)));
        for (what, measured, reference) in [
            ("residue", measured.residue, row.residue),
            ("traffic", measured.traffic, row.traffic),
            ("last delay, cycles", measured.last, row.last),
        ] {
            let Estimate { mean, half } = measured;
            // As many digits as make sense beside the interval.
            let digits = (2.0 - half.max(1e-6).log10().ceil()).clamp(0.0, 6.0) as usize;
            lines.push(Figure {
                claim: 14,
                what: format!("k = {}: {what}", row.k),
                measured: format!("{mean:.digits$} +- {half:.digits$}"),
                reference: format!("{reference}"),
                met: Some(measured.agrees_with(reference)),
            });
        }
    }
    lines
}

fn spreading(nodes: u16, fan_out: usize, count: u64) -> Vec<Outcome> {
    let rumor = RumorConfig { fan_out, k: 4, ..RumorConfig::default() };
    let trials: Vec<Trial> = (1..=count).map(|seed| Trial { nodes, rumor: rumor.clone(), seed }).collect();
    carry_out(&trials)
}

fn by_cycle() -> Plot {
    let lines = [1, 2, 3, 5].map(|fan_out| {
        let outcomes = spreading(1_000, fan_out, 20);
        let longest = outcomes.iter().map(|outcome| outcome.curve.len()).max().unwrap_or(0).min(25);
        let share = |cycle: usize| {
            let reached = |outcome: &Outcome| f64::from(outcome.curve[cycle.min(outcome.curve.len() - 1)]);
            outcomes.iter().map(reached).sum::<f64>() / outcomes.len() as f64 / 1_000.0
        };
        Line {
            name: format!("fan-out {fan_out}"),
            points: (0..longest).map(|cycle| (cycle as f64, share(cycle))).collect(),
        }
    });
    Plot {
        title: "A rumor among 1,000 nodes (push, feedback, counter, k = 4)".into(),
        x: "cycle".into(),
        y: "share of the nodes that know it".into(),
        log_x: false,
        lines: lines.into(),
    }
}

fn by_nodes() -> Plot {
    let lines = [1, 2, 3, 5].map(|fan_out| {
        let last = |nodes: u16| {
            let outcomes = spreading(nodes, fan_out, 20);
            outcomes.iter().map(|outcome| outcome.last).sum::<f64>() / outcomes.len() as f64
        };
        Line {
            name: format!("fan-out {fan_out}"),
            points: [10, 30, 100, 300, 1_000, 3_000].map(|nodes| (f64::from(nodes), last(nodes))).into(),
        }
    });
    Plot {
        title: "Until the last node that hears of it".into(),
        x: "nodes".into(),
        y: "cycles".into(),
        log_x: true,
        lines: lines.into(),
    }
}

fn line(claim: u8, what: &str, measured: String, reference: &str, met: Option<bool>) -> Figure {
    Figure { claim, what: what.to_owned(), measured, reference: reference.to_owned(), met }
}

/// Figures of a settled tree, over four seeds, beside the simulator of iroh-gossip 0.101.
fn plumtree() -> Vec<Figure> {
    let runs = |many| (1..=4).map(|seed| series(1_000, seed, many)).collect::<Vec<_>>();
    let mut lines = Vec::new();
    for (who, many, [redundancy, hop, duration]) in [
        ("one sender", false, ["iroh-gossip 0.075", "iroh-gossip 13.8", "iroh-gossip 376 ms"]),
        ("many senders", true, ["iroh-gossip 0.47", "iroh-gossip 21.2", "iroh-gossip 617 ms"]),
    ] {
        let runs = runs(many);
        let mean = |figure: fn(&hearsay_overlay::scenarios::Series) -> f64| {
            runs.iter().map(figure).sum::<f64>() / runs.len() as f64
        };
        let missed: usize = runs.iter().map(|run| run.missed).sum();
        let (red, last) = (mean(|run| run.redundancy), mean(|run| run.last_hop));
        let goal = |good: bool| (!many).then_some(good);
        lines.push(line(17, &format!("{who}: payload redundancy"), format!("{red:.4}"), redundancy, goal(red <= 0.05)));
        lines.push(line(17, &format!("{who}: last hop"), format!("{last:.1}"), hop, goal(last <= 13.0)));
        let ms = mean(|run| run.duration_ms);
        lines.push(line(17, &format!("{who}: last delivery"), format!("{ms:.0} ms"), duration, None));
        lines.push(line(17, &format!("{who}: deliveries missed"), missed.to_string(), "0", Some(missed == 0)));
        let control = mean(|run| run.control);
        let bytes = mean(|run| run.control_bytes);
        lines.push(line(
            17,
            &format!("{who}: control messages a node and broadcast"),
            format!("{control:.1}, {bytes:.0} bytes"),
            "-",
            None,
        ));
    }
    lines
}

/// Figures after failures, beside the simulator of iroh-gossip 0.101.
fn hyparview(nodes: u16) -> Vec<Figure> {
    let mut lines = Vec::new();
    for (share, peer) in [
        (0.10, "-"),
        (0.50, "iroh-gossip 1 / 1 / 1 / 1"),
        (0.80, "iroh-gossip 0.0005 / 0.984 / 1 / 1"),
        (0.90, "iroh-gossip 0.002 / 0.794 / 0.987 / 0.993"),
        (0.95, "iroh-gossip 0.004 / 0.004 / 0.858 / 0.918"),
    ] {
        let after = massive_failure(nodes, 1, share);
        let what = format!("{:.0} % fail: reached within 1 s by broadcast 1 / 2 / 5 / 20", share * 100.0);
        let reached = [0, 1, 4, 19].map(|number: usize| format!("{:.4}", after.reached[number])).join(" / ");
        let good = match share {
            0.90 => after.reached[4] >= 0.99,
            0.95 => after.reached[19] >= 0.95,
            _ => after.first_missed == 0,
        };
        lines.push(line(18, &what, reached, peer, Some(good)));
        let component = format!(
            "{} of {} in its component, {} of them missed, {:.1} s",
            after.in_component,
            after.survivors,
            after.first_missed,
            after.first_ms / 1e3
        );
        lines.push(line(18, "    broadcast 1 at the end", component, "-", None));
    }
    let merge = partition_and_merge(nodes.min(1_000), 1);
    let merged = merge.merged_ms.map_or("not merged".to_owned(), |ms| format!("one again after {} s", ms / 1_000));
    let measured = format!("{} parts, {merged}, {} evictions", merge.parted, merge.evictions);
    let good = merge.parted == 2 && merge.merged_ms.is_some() && merge.missed == 0;
    lines.push(line(18, "halves parted for ten minutes (1,000 nodes)", measured, "merge again", Some(good)));
    lines
}
