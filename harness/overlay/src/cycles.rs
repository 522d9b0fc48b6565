//! Rumor mongering in synchronous cycles, as Demers and others count in 1987: the same code as in a node, driven so that all
//! nodes begin a round together and every message of a cycle arrives within it.

use std::sync::Arc;

use hearsay_core::dissemination::{
    BroadcastKind, Dissemination, DisseminationConfig, DisseminationInput, Effects, ExchangeConfig, MembershipKind,
    Payload, RumorConfig,
};
use hearsay_core::{NodeId, Planted, Time};

/// A rumor among nodes that all know each other.
#[derive(Clone, Debug)]
pub struct Trial {
    /// How many nodes.
    pub nodes: u16,
    /// The variant.
    pub rumor: RumorConfig,
    /// Feeds every draw.
    pub seed: u64,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Share of the nodes that it never reached.
    pub residue: f64,
    /// Transmissions of the rumor for each node.
    pub traffic: f64,
    /// The cycle in which the last node was reached.
    pub last: f64,
    /// Mean cycle of the nodes reached.
    pub mean: f64,
    /// Cycles until nobody was infective any more.
    pub quiet: f64,
    /// Nodes reached by the end of each cycle, from the start on.
    pub curve: Vec<u32>,
}

/// Most cycles of a trial: none comes near.
const CYCLES_MAX: u64 = 10_000;

/// Spreads one rumor from the first node until nobody is infective.
pub fn trial(trial: &Trial) -> Outcome {
    let config = DisseminationConfig {
        protocol: BroadcastKind::Rumor,
        membership: MembershipKind::Full,
        exchange: ExchangeConfig { interval_ms: 0, ..ExchangeConfig::default() },
        // Within the time that a rumor is held, even if it takes hundreds of cycles.
        rumor: RumorConfig { round_ms: 1, ..trial.rumor.clone() },
        ..DisseminationConfig::default()
    };
    let members: Arc<[NodeId]> = (1..=trial.nodes).map(NodeId).collect();
    let mut nodes: Vec<Dissemination> = members
        .iter()
        .map(|node| {
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&trial.seed.to_be_bytes());
            seed[8..10].copy_from_slice(&node.0.to_be_bytes());
            Dissemination::new(&config, Planted::NONE, *node, 1, Arc::clone(&members), &seed, Time(0)).0
        })
        .collect();
    let payload = Payload(Arc::from(vec![0; 8]));
    nodes[0].handle(Time(0), DisseminationInput::Publish(payload));
    let mut curve = vec![1];
    let (mut reached, mut last, mut sum, mut quiet) = (1_u64, 0, 0, 0);
    for cycle in 1..=CYCLES_MAX {
        if nodes.iter().all(|node| node.state_size() == 0) {
            break;
        }
        quiet = cycle;
        let now = Time(0).plus_ms(cycle);
        let mut wave: Vec<(NodeId, Effects)> = Vec::new();
        for (place, node) in nodes.iter_mut().enumerate() {
            if node.next_deadline().is_some_and(|at| at <= now) {
                wave.push((members[place], node.handle(now, DisseminationInput::Deadline)));
            }
        }
        while !wave.is_empty() {
            let mut next = Vec::new();
            for (from, effects) in wave {
                reached += effects.delivered.len() as u64;
                if !effects.delivered.is_empty() {
                    last = cycle;
                    sum += cycle;
                }
                for (to, message) in effects.send {
                    let input = DisseminationInput::Peer { from, message };
                    next.push((to, nodes[usize::from(to.0) - 1].handle(now, input)));
                }
            }
            wave = next;
        }
        curve.push(reached as u32);
    }
    let sent: u64 = nodes.iter().map(|node| node.counters().payloads_sent).sum();
    let count = f64::from(trial.nodes);
    Outcome {
        residue: (count - reached as f64) / count,
        traffic: sent as f64 / count,
        last: last as f64,
        mean: sum as f64 / (reached - 1).max(1) as f64,
        quiet: quiet as f64,
        curve,
    }
}
