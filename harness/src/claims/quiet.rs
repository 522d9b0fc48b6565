//! Claim 15: all are informed before it is quiet.

use hearsay_core::dissemination::RumorConfig;
use hearsay_overlay::ways::{Trouble, WAYS, spread};

use super::broadcasts::{SIMULATED_NODES, real_ways, table};
use super::rumors::carry_out;
use super::{Claim, Figure, Measured, Options, Section};
use crate::bench::Gossiped;

pub(super) const CLAIM: Claim =
    Claim { number: 15, sentence: "Convergence is not the same as delivery to all: gossip goes on for a while.", run };

/// Real processes: when the last node heard, and when the last payload was sent.
fn real(options: &Options) -> Result<Vec<Section>, String> {
    let ways = real_ways(options)?;
    let of = |name| ways.iter().find(|(way, _)| *way == name).map(|(_, real)| real).expect("all ways are measured");
    let rumor = of("rumor");
    let row = |(name, real): &(&str, Gossiped)| {
        vec![(*name).to_owned(), format!("{:.0} ms", real.informed_ms), format!("{:.0} ms", real.quiet_ms)]
    };
    let columns = ["", "all informed after", "quiet after"].map(str::to_owned).into();
    let measured = Measured { columns, rows: ways.iter().map(row).collect() };
    let figure = Figure::new(
        15,
        "rumor: the last payload after the last node had heard",
        format!("{:.0} ms", rumor.quiet_ms - rumor.informed_ms),
        "later",
        Some(rumor.quiet_ms > rumor.informed_ms),
    );
    let title = format!("Claim 15, {} real nodes, one broadcast in each way", rumor.nodes);
    Ok(vec![Section { title, measured, figures: vec![figure] }])
}

fn run(options: &Options) -> Result<Vec<Section>, String> {
    if options.real {
        return real(options);
    }
    let trials = options.trials.min(200);
    let set = crate::bench::configuration("rumor").map_err(|error| error.to_string())?.rumor;
    let mut rows = Vec::new();
    let mut figures = Vec::new();
    for k in [1, 2, 4, 8] {
        let rumor = RumorConfig { k, ..set.clone() };
        let trials: Vec<_> =
            (1..=trials).map(|seed| hearsay_overlay::Trial { nodes: 1_000, rumor: rumor.clone(), seed }).collect();
        let outcomes = carry_out(&trials);
        let mean = |figure: fn(&hearsay_overlay::Outcome) -> f64| {
            outcomes.iter().map(figure).sum::<f64>() / outcomes.len() as f64
        };
        let (last, quiet) = (mean(|outcome| outcome.last), mean(|outcome| outcome.quiet));
        let missed = mean(|outcome| outcome.residue) * 1_000.0;
        rows.push(vec![format!("{k}"), format!("{missed:.2}"), format!("{last:.1}"), format!("{quiet:.1}")]);
        figures.push(Figure::new(
            15,
            &format!("k = {k}: cycles from the last delivery until quiet"),
            format!("{:.2}", quiet - last),
            &format!("at least {k}: as many contacts in vain"),
            Some(quiet - last >= f64::from(k) - 1e-9),
        ));
    }
    let columns = ["k", "missed", "last delivery, cycles", "quiet, cycles"].map(str::to_owned).into();
    let title = format!("Claim 15, a rumor among 1,000 nodes (push, feedback, counter k), means of {trials} trials");
    let rumors = Section { title, measured: Measured { columns, rows }, figures };

    let nodes = options.nodes.min(SIMULATED_NODES);
    let all = WAYS.map(|way| (way.name.to_owned(), spread(way, nodes, 1, Trouble::None, true)));
    let figures = all
        .iter()
        .map(|(name, spreading)| {
            let later = spreading.quiet_ms - spreading.half_ms;
            let what = format!("{name}: missed; the last payload after half were informed");
            let measured = format!("{}; {later:.0} ms", spreading.missed);
            Figure::new(15, &what, measured, "0; later", Some(spreading.missed == 0 && later > 0.0))
        })
        .collect();
    let title = format!("Claim 15, every way with an exchange every 2 s: {nodes} nodes");
    Ok(vec![rumors, Section { title, measured: table(&all), figures }])
}
