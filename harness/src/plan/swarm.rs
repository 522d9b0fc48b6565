//! Swarm testing (Groce and others, *Swarm testing*, 2012): per seed a random part of a campaign, since what a fault or an
//! option hides another run without it shows. Pure: campaign + seed -> plan, which says what was drawn.
//!
//! Drawn are which faults there are, the weights of the mix, and what the campaign's `swarm` section gives bounds for. Phases,
//! levels and expectations stay, but that a violation that all of the campaign was to bring about is not expected of a part
//! of it. Each draw has a stream of its own.

use std::collections::BTreeSet;

use hearsay_core::{NodeId, ReadRepair};
use hearsay_workloads::{DataKind, Expectation, stream};
use rand::RngExt;

use super::{Plan, make_plan};
use crate::campaign::{Campaign, FaultKind, FaultSchedule, Span};

/// Factors of a weight in the mix, in quarters.
const WEIGHT_QUARTERS: [u32; 4] = [1, 2, 4, 12];

/// A plan of a random part of the campaign, within its bounds. Equal inputs give equal plans.
pub fn make_swarm_plan(campaign: &Campaign, seed: u64) -> Plan {
    let drawn = draw(campaign, seed);
    let mut plan = make_plan(&drawn, seed);
    plan.drawn = told(&plan);
    plan
}

fn draw(campaign: &Campaign, seed: u64) -> Campaign {
    let mut drawn = campaign.clone();
    let swarm = &campaign.swarm;
    let number = |purpose: &str, (least, most): (u64, u64)| stream(seed, purpose, 0).random_range(least..=most);
    let own = u64::from(campaign.nodes());
    let nodes = swarm.nodes.map_or(own, |(least, most)| number("swarm-nodes", (least.into(), most.into())));
    let cluster = &mut drawn.cluster;
    cluster.members = (1..=u16::try_from(nodes).expect("few nodes")).map(NodeId).collect();
    if let Some((least, most)) = swarm.replication {
        let most = u64::from(most).min(nodes);
        let replication = number("swarm-replicas", (least.into(), most));
        cluster.replication = u8::try_from(replication).expect("few replicas");
    }
    if let Some((least, most)) = swarm.vnodes {
        cluster.vnodes = u16::try_from(number("swarm-vnodes", (least.into(), most.into()))).expect("few tokens");
    }
    if !swarm.read_repair.is_empty() {
        let place = stream(seed, "swarm-repair", 0).random_range(0..swarm.read_repair.len());
        cluster.read_repair = swarm.read_repair[place];
    }
    let length = |purpose: &str, span: Span| number(purpose, (span.min_ms, span.max_ms));
    if let Some(span) = swarm.merkle_interval {
        cluster.merkle_interval_ms = length("swarm-merkle", span);
    }
    let kind = drawn.workload.kind();
    let register = drawn.workload.load_mut();
    let count = |purpose: &str, (least, most): (u32, u32)| {
        u32::try_from(number(purpose, (least.into(), most.into()))).expect("both ends are as small")
    };
    register.keys = swarm.keys.map_or(register.keys, |range| count("swarm-keys", range));
    register.clients = swarm.clients.map_or(register.clients, |range| count("swarm-clients", range));
    register.rate_per_s = swarm.rate_per_s.map_or(register.rate_per_s, |range| count("swarm-rate", range));
    register.key_life_ms = swarm.key_life.map_or(register.key_life_ms, |span| length("swarm-key-life", span));
    register.sticky_clients = register.sticky_clients.min(register.clients);
    let mix = &mut register.mix;
    for (index, weight) in (0..).zip([&mut mix.read, &mut mix.write, &mut mix.delete]) {
        let place = stream(seed, "swarm-mix", index).random_range(0..WEIGHT_QUARTERS.len());
        *weight *= WEIGHT_QUARTERS[place];
    }
    // Without deletes no tombstone hides what is lost. Reads and writes stay: without them there is nothing to judge.
    if kind == DataKind::Register && mix.read + mix.write > 0 && is_out(seed, "swarm-delete", 0) {
        mix.delete = 0;
    }
    drawn.faults = campaign.faults.as_ref().map(|schedule| draw_kinds(schedule, seed));
    for expectation in drawn.expect.values_mut().filter(|expectation| **expectation == Expectation::Violated) {
        *expectation = Expectation::Any;
    }
    drawn
}

/// Half of all.
fn is_out(seed: u64, purpose: &str, index: u64) -> bool {
    stream(seed, purpose, index).random_range(0..2) == 0
}

/// Every kind of fault, and every variant of it, is in with even chances; one kind and one variant of each at least are.
fn draw_kinds(schedule: &FaultSchedule, seed: u64) -> FaultSchedule {
    let kinds = kept(&schedule.kinds, seed, "swarm-kind", 0);
    let kinds = kinds.into_iter().map(|(place, kind)| {
        let all = u32::try_from(kind.variants.len()).expect("few variants");
        let variants = kept(&kind.variants, seed, "swarm-variant", (place as u64 + 1) << 16);
        let left = u32::try_from(variants.len()).expect("few variants");
        let at_least = (kind.at_least * left).div_ceil(all);
        FaultKind { variants: variants.into_iter().map(|(_, variant)| variant).collect(), at_least, ..kind }
    });
    FaultSchedule { kinds: kinds.collect(), ..schedule.clone() }
}

/// Some of them, at least one where there are any, with their places.
fn kept<T: Clone>(all: &[T], seed: u64, purpose: &str, first: u64) -> Vec<(usize, T)> {
    let kept = (0..).zip(all).filter(|(place, _)| !is_out(seed, purpose, first + *place as u64));
    let kept: Vec<(usize, T)> = kept.map(|(place, item)| (place, item.clone())).collect();
    if !kept.is_empty() || all.is_empty() {
        return kept;
    }
    let place = stream(seed, purpose, first + all.len() as u64).random_range(0..all.len());
    vec![(place, all[place].clone())]
}

/// What was drawn, in words.
fn told(plan: &Plan) -> Vec<String> {
    let register = plan.workload.load();
    let cluster = &plan.cluster;
    let kinds: BTreeSet<String> = plan.faults.iter().map(|planned| kind_of(&planned.fault.name())).collect();
    let kinds: Vec<String> = kinds.into_iter().collect();
    let repair = match cluster.read_repair {
        ReadRepair::Blocking => "blocking",
        ReadRepair::Async => "async",
        ReadRepair::None => "none",
    };
    let mix = register.mix;
    vec![
        format!("faults {}", if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") }),
        format!("mix read {} write {} delete {}", mix.read, mix.write, mix.delete),
        format!("nodes {} replication {} vnodes {}", cluster.members.len(), cluster.replication, cluster.vnodes),
        format!("read repair {repair}, merkle interval {} ms", cluster.merkle_interval_ms),
        format!(
            "keys {} clients {} rate {} key life {} ms",
            register.keys, register.clients, register.rate_per_s, register.key_life_ms
        ),
    ]
}

/// A fault's name without its nodes.
fn kind_of(name: &str) -> String {
    let is_node = |word: &&str| word.strip_prefix('n').is_some_and(|number| number.parse::<u16>().is_ok());
    name.split(' ').filter(|word| !is_node(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::parse;

    fn campaign(swarm: &str) -> Campaign {
        let shipped = hearsay_workloads::campaign("quickstart").unwrap();
        parse("quickstart.yaml", &format!("{shipped}\n{swarm}")).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    #[test]
    fn equal_seeds_draw_equal_plans_and_the_plan_says_what_was_drawn() {
        let campaign = campaign("");
        let plan = make_swarm_plan(&campaign, 7);
        assert_eq!(plan, make_swarm_plan(&campaign, 7));
        assert_ne!(plan.drawn, make_swarm_plan(&campaign, 8).drawn);
        assert!(plan.drawn[0].starts_with("faults ") && plan.drawn[1].starts_with("mix read "), "{:?}", plan.drawn);
        let saved = Plan::from_yaml(std::path::Path::new("p"), &plan.to_yaml()).unwrap();
        assert_eq!(saved, plan);
    }

    #[test]
    fn without_bounds_only_faults_and_mix_differ() {
        let campaign = campaign("");
        let whole = make_plan(&campaign, 1);
        let mut kinds = BTreeSet::new();
        for seed in 1..=40 {
            let plan = make_swarm_plan(&campaign, seed);
            assert_eq!((&plan.cluster, plan.phases, &plan.expect), (&whole.cluster, whole.phases, &whole.expect));
            assert_eq!(plan.workload.clients(), whole.workload.clients());
            assert!(!plan.faults.is_empty(), "seed {seed}");
            kinds.insert(plan.drawn[0].clone());
        }
        assert!(kinds.len() > 20, "{} different sets of faults in 40 seeds", kinds.len());
    }

    #[test]
    fn what_is_drawn_stays_within_the_bounds_and_reaches_them() {
        let bounds = "swarm: {nodes: [3, 7], replication: [3, 5], vnodes: [1, 4], merkle_interval: [1s, 3s], keys: [5, 9], \
                      clients: [4, 6], rate: [100, 200], key_life: [2s, 3s]}";
        let campaign = campaign(bounds);
        let mut seen = BTreeSet::new();
        for seed in 1..=60 {
            let plan = make_swarm_plan(&campaign, seed);
            let (nodes, replication) = (plan.cluster.members.len(), plan.cluster.replication);
            let register = plan.workload.load();
            assert!((3..=7).contains(&nodes) && (3..=5).contains(&replication) && usize::from(replication) <= nodes);
            assert!((1..=4).contains(&plan.cluster.vnodes));
            assert!((1_000..=3_000).contains(&plan.cluster.merkle_interval_ms));
            assert!((5..=9).contains(&register.keys) && (4..=6).contains(&register.clients));
            assert!((100..=200).contains(&register.rate_per_s) && (2_000..=3_000).contains(&register.key_life_ms));
            assert_eq!(plan.validate(), [""; 0], "seed {seed}");
            seen.insert((nodes, replication));
        }
        for ends in [(3, 3), (7, 3), (7, 5)] {
            assert!(seen.contains(&ends), "{ends:?} was never drawn: {seen:?}");
        }
    }

    #[test]
    fn a_part_of_a_campaign_need_not_break_what_all_of_it_breaks() {
        let shipped = hearsay_workloads::campaign("stale-reads").unwrap();
        let plan = make_swarm_plan(&parse("stale-reads.yaml", shipped).unwrap(), 3);
        assert_eq!(plan.expect["monotonic-reads"], Expectation::Any);
        assert_eq!(plan.expect["convergence"], Expectation::Holds);
    }
}
