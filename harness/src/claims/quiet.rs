//! Claim 15: all are informed before it is quiet.

use hearsay_core::dissemination::RumorConfig;
use hearsay_overlay::ways::{Trouble, WAYS, spread};

use super::broadcasts::{SIMULATED_NODES, table};
use super::rumors::carry_out;
use super::{Claim, Figure, Measured, Options, Section};

pub(super) const CLAIM: Claim =
    Claim { number: 15, sentence: "Convergence is not the same as delivery to all: gossip goes on for a while.", run };

fn run(options: &Options) -> Result<Vec<Section>, String> {
    let trials = options.trials.min(200);
    let mut rows = Vec::new();
    let mut figures = Vec::new();
    for k in [1, 2, 4, 8] {
        let rumor = RumorConfig { k, ..RumorConfig::default() };
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
