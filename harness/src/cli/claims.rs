//! `hearsay claims`: what the literature says of anti-entropy and gossip, each figure beside what the node's own code brings.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{failed, misused, print, print_json};
use crate::claims::{CLAIMS, Measured, Options};
use crate::exit::Outcome;

/// Arguments of `hearsay claims`.
#[derive(Args, Debug)]
pub(super) struct ClaimsArgs {
    /// Which, by number; all when none is named.
    #[arg(value_parser = number)]
    claims: Vec<u8>,
    /// Trials of each row of the tables of claim 14.
    #[arg(long, default_value_t = 1_000)]
    trials: u64,
    /// Nodes of claim 18.
    #[arg(long, default_value_t = 10_000)]
    nodes: u16,
    /// Draw how rumors spread, against cycles, nodes and fan-out (claim 14).
    #[arg(long)]
    svg: Option<PathBuf>,
    /// On real processes instead of in the simulator (claims 1 to 13, 15, 16 and 18; of broadcasts 100 nodes, or --nodes up to 200).
    #[arg(long)]
    real: bool,
    /// Seed of the first run of each variant (claims 4, 6 and 11).
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Runs of each variant; without it 10 simulated ones, or 2 real ones (claims 4, 6 and 11).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: Option<u64>,
    /// Where real runs are kept
    #[arg(long, value_name = "DIR", default_value = "store")]
    store: PathBuf,
    /// Plant this bug in every node (see `hearsay planted`; claims 4 to 13)
    #[cfg(feature = "planted-bugs")]
    #[arg(long, value_name = "BUG", value_parser = hearsay_node::cli::bug_name)]
    plant: Option<String>,
    /// Print JSON lines instead of tables.
    #[arg(long)]
    json: bool,
}

fn number(text: &str) -> Result<u8, String> {
    let known = text.parse().ok().filter(|number| CLAIMS.iter().any(|claim| claim.number == *number));
    known.ok_or_else(|| {
        let numbers: Vec<String> = CLAIMS.iter().map(|claim| claim.number.to_string()).collect();
        format!("there is no such claim; there are {}", numbers.join(", "))
    })
}

/// Raw figures, as `--json` prints them.
#[derive(Serialize)]
struct Raw<'a> {
    claim: u8,
    title: &'a str,
    #[serde(flatten)]
    measured: &'a Measured,
}

pub(super) fn run(args: &ClaimsArgs) -> ExitCode {
    if args.trials < 2 || args.nodes < 100 || args.nodes > 10_000 {
        return misused(&"give --trials of at least 2, and --nodes from 100 to 10000");
    }
    #[cfg(feature = "planted-bugs")]
    let plant = args.plant.clone();
    #[cfg(not(feature = "planted-bugs"))]
    let plant = None;
    let options = Options {
        trials: args.trials,
        nodes: args.nodes,
        svg: args.svg.clone(),
        real: args.real,
        seed: args.seed,
        seeds: args.seeds.unwrap_or(if args.real { 2 } else { 10 }),
        store: args.store.clone(),
        plant,
    };
    let mut agree = true;
    for claim in CLAIMS.iter().filter(|claim| args.claims.is_empty() || args.claims.contains(&claim.number)) {
        if !args.json {
            print(&format!("{}. {}\n\n", claim.number, claim.sentence));
        }
        let sections = match (claim.run)(&options) {
            Ok(sections) => sections,
            Err(error) => return failed(&format!("claim {}: {error}", claim.number)),
        };
        for section in sections {
            agree &= section.agrees();
            if !args.json {
                print(&format!("{section}\n\n"));
                continue;
            }
            if !section.measured.rows.is_empty() {
                print_json(&Raw { claim: claim.number, title: &section.title, measured: &section.measured });
            }
            section.figures.iter().for_each(print_json);
        }
    }
    if let (Some(path), false) = (&args.svg, args.json) {
        print(&format!("picture: {}\n", path.display()));
    }
    ExitCode::from(if agree { Outcome::AsExpected } else { Outcome::Violation }.exit_code())
}
