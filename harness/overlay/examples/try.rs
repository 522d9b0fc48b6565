//! scratch
use hearsay_core::NodeId;
use hearsay_core::dissemination::*;
use hearsay_overlay::*;
use rand::RngExt;
use std::sync::Arc;

fn table(name: &str, rumor: RumorConfig, ks: std::ops::RangeInclusive<u32>, trials: u64) {
    for k in ks {
        let outs: Vec<Outcome> = (1..=trials)
            .map(|seed| trial(&Trial { nodes: 1000, rumor: RumorConfig { k, ..rumor.clone() }, seed }))
            .collect();
        let mean = |f: fn(&Outcome) -> f64| outs.iter().map(f).sum::<f64>() / trials as f64;
        let sd = |f: fn(&Outcome) -> f64| {
            let m = mean(f);
            1.96 * (outs.iter().map(|o| (f(o) - m).powi(2)).sum::<f64>() / (trials as f64 - 1.0)).sqrt()
                / (trials as f64).sqrt()
        };
        println!(
            "{name} k={k} residue {:.5}+-{:.5} traffic {:.3}+-{:.3} last {:.2}+-{:.2} mean {:.2}",
            mean(|o| o.residue),
            sd(|o| o.residue),
            mean(|o| o.traffic),
            sd(|o| o.traffic),
            mean(|o| o.last),
            sd(|o| o.last),
            mean(|o| o.mean)
        );
    }
}

fn kills(share: f64, seed: u64) {
    let n = 10_000u16;
    let mut world = World::new(WorldConfig {
        nodes: n,
        seed,
        dissemination: Arc::new(DisseminationConfig {
            exchange: ExchangeConfig { interval_ms: 0, ..Default::default() },
            ..Default::default()
        }),
        ..Default::default()
    });
    let t = std::time::Instant::now();
    for i in 1..=n {
        world.start(NodeId(i));
        world.run_ms(1);
    }
    world.run_ms(60_000);
    println!("warm {:?} events {}", t.elapsed(), world.events());
    println!("{:?}", shape(&world));
    for _ in 0..10 {
        world.publish(NodeId(1), 64);
        world.run_ms(1000);
    }
    let mut all: Vec<NodeId> = world.members()[1..].to_vec();
    let dead = (f64::from(n) * share) as usize;
    for i in 0..dead {
        let j = world.rng().random_range(i..all.len());
        all.swap(i, j);
    }
    all.truncate(dead);
    world.kill_all(&all);
    let alive: Vec<NodeId> = world.running().collect();
    let mut ids = vec![];
    for k in 0..20 {
        ids.push(world.publish(NodeId(1), 64));
        world.run_ms(1000);
        if [0, 1, 4, 19].contains(&k) {
            let s = world.spread(*ids.last().unwrap());
            let r = alive.iter().filter(|a| s.has_reached(**a)).count();
            print!("msg {k}: {:.4} ", r as f64 / alive.len() as f64);
        }
    }
    println!();
    world.run_ms(10_000);
    for k in [0, 1, 4, 19] {
        let s = world.spread(ids[k]);
        let r = alive.iter().filter(|a| s.has_reached(**a)).count();
        print!("final {k}: {:.4} last {} ms; ", r as f64 / alive.len() as f64, s.duration_ns() / 1_000_000);
    }
    println!("\n{:?} {:?}", shape(&world), t.elapsed());
}

fn plum(n: u16, seed: u64, many: bool) {
    let mut world = World::new(WorldConfig {
        nodes: n,
        seed,
        dissemination: Arc::new(DisseminationConfig {
            exchange: ExchangeConfig { interval_ms: 0, ..Default::default() },
            ..Default::default()
        }),
        ..Default::default()
    });
    for i in 1..=n {
        world.start(NodeId(i));
        world.run_ms(1);
    }
    for w in [30_000, 30_000, 60_000, 60_000, 60_000, 60_000] {
        world.run_ms(w);
        println!("{:?} swaps {}", shape(&world), world.counters().swaps);
    }
    let mut red = vec![];
    let mut hops = vec![];
    let mut dur = vec![];
    let mut missed = 0;
    for k in 0..60 {
        let before = world.counters();
        let node = if many { NodeId(world.rng().random_range(1..=n)) } else { NodeId(1) };
        let id = world.publish(node, 64);
        world.run_ms(2000);
        let after = world.counters();
        let s = world.spread(id);
        missed += n as usize - s.delivered.len();
        let r = (after.payloads_received - before.payloads_received) as f64 / (n as f64 - 1.0) - 1.0;
        if k < 12 || k % 10 == 0 {
            println!(
                "{k}: red {r:.3} hop {} mean {:.1} dur {} grafts {} opt {}",
                s.last_hop,
                s.hops as f64 / n as f64,
                s.duration_ns() / 1_000_000,
                after.grafts_sent - before.grafts_sent,
                after.optimised - before.optimised
            );
        }
        if k >= 10 {
            red.push(r);
            hops.push(s.last_hop as f64);
            dur.push(s.duration_ns() as f64 / 1e6);
        }
    }
    let m = |v: &Vec<f64>| v.iter().sum::<f64>() / v.len() as f64;
    println!("n={n} many={many} red {:.4} hop {:.1} dur {:.0} missed {missed}", m(&red), m(&hops), m(&dur));
    println!("{:?}", world.counters());
}

fn main() {
    let a: Vec<String> = std::env::args().collect();
    match a[1].as_str() {
        "t" => {
            let trials = a[2].parse().unwrap();
            let base = RumorConfig {
                direction: Direction::Push,
                interest: Interest::Feedback,
                loss_by: LossBy::Counter,
                ..Default::default()
            };
            table("push feedback counter", base.clone(), 1..=5, trials);
            table(
                "push blind coin",
                RumorConfig { interest: Interest::Blind, loss_by: LossBy::Coin, ..base.clone() },
                1..=5,
                trials,
            );
            table("pull feedback counter", RumorConfig { direction: Direction::Pull, ..base.clone() }, 1..=3, trials);
        }
        "p" => plum(a[2].parse().unwrap(), a[3].parse().unwrap(), a.len() > 4),
        "k" => kills(a[2].parse().unwrap(), a[3].parse().unwrap()),
        _ => {}
    }
}
