//! Claim 5: after a replica missed writes, some of the keys are read at level all: those are repaired, and no others.

use std::collections::BTreeSet;

use hearsay_core::{ClusterConfig, Key, Level, NodeId, ReadRepair};

use super::stage::{Stage, cluster_of, keys, value};
use super::{Claim, Figure, Measured, Options, Section};

pub(super) const CLAIM: Claim = Claim {
    number: 5,
    sentence: "Read repair is the easiest place to detect divergence; only requested records are compared.",
    run,
};

const CAMPAIGN: &str = "claims/05-read-repair";
/// Keys that a replica misses.
const MISSED: usize = 200;
/// Of these so many are read.
const READ: usize = 40;
/// Keys that all replicas have alike.
const EQUAL: usize = 100;

const N1: NodeId = NodeId(1);
const N3: NodeId = NodeId(3);

fn run(options: &Options) -> Result<Vec<Section>, String> {
    section(options, [ReadRepair::Blocking, ReadRepair::Async]).map(|section| vec![section])
}

/// Stale copies among the keys read, and among the others.
struct Stale {
    read: usize,
    others: usize,
}

fn section(options: &Options, repairs: [ReadRepair; 2]) -> Result<Section, String> {
    let mut figures = Vec::new();
    let mut rows = Vec::new();
    for repair in repairs {
        let name = format!("{repair:?}").to_lowercase();
        let (before, after, sent) = repaired(options, repair)?;
        rows.push(
            [
                name.clone(),
                READ.to_string(),
                format!("{} -> {}", before.read, after.read),
                (MISSED - READ).to_string(),
                format!("{} -> {}", before.others, after.others),
                sent.to_string(),
            ]
            .into(),
        );
        let diverged = before.read == READ && before.others == MISSED - READ;
        figures.push(Figure::new(
            5,
            &format!("{name}: stale copies of the keys read"),
            format!("{} of {}", after.read, before.read),
            "0",
            Some(diverged && after.read == 0),
        ));
        figures.push(Figure::new(
            5,
            &format!("{name}: stale copies of keys not read"),
            format!("{} of {}", after.others, before.others),
            "all of them, as before",
            Some(diverged && after.others == before.others),
        ));
        figures.push(Figure::new(
            5,
            &format!("{name}: repairs sent"),
            sent.to_string(),
            &READ.to_string(),
            Some(sent == READ as u64),
        ));
    }
    let title = format!(
        "Claim 5, {CAMPAIGN}, {}: n3 misses {MISSED} writes, {READ} of the keys and {EQUAL} that are equal are read at level all",
        options.world_words()
    );
    let columns = ["read repair", "keys read", "stale of them", "keys not read", "stale of them", "repairs sent"];
    Ok(Section { title, measured: Measured { columns: columns.map(str::to_owned).into(), rows }, figures })
}

fn repaired(options: &Options, read_repair: ReadRepair) -> Result<(Stale, Stale, u64), String> {
    let config = ClusterConfig { read_repair, ..cluster_of(CAMPAIGN)? };
    let mut stage = Stage::start(&config, options)?;
    let (equal, missed) = (keys("equal", EQUAL), keys("missed", MISSED));
    stage.put(&[N1], &[&equal[..], &missed[..]].concat(), &value(20, 1), Level::All)?;
    stage.kill(N3)?;
    stage.put(&[N1], &missed, &value(20, 2), Level::Quorum)?;
    stage.start_again(N3)?;
    let asked = &missed[..READ];
    let before = stale(&mut stage, asked)?;
    let counted = stage.counted()?;
    stage.read(N1, &[asked, &equal[..]].concat(), Level::All)?;
    // Repairs after the answer are still under way.
    let sent = |stage: &mut Stage| Ok::<_, String>(stage.counted()?.since(&counted));
    stage.wait_until("every repair that was sent is applied or stale", |stage| {
        let counted = sent(stage)?;
        Ok(counted.of("read_repairs_sent") <= counted.sum(&["writes_applied", "writes_stale"]))
    })?;
    let sent = sent(&mut stage)?.of("read_repairs_sent");
    Ok((before, stale(&mut stage, asked)?, sent))
}

/// Copies on n3 that differ from those on n1.
fn stale(stage: &mut Stage, asked: &[Key]) -> Result<Stale, String> {
    let (newest, looked_at) = (stage.scan(N1)?, stage.scan(N3)?);
    let asked: BTreeSet<&Key> = asked.iter().collect();
    let stale = newest.iter().filter(|(key, entry)| looked_at.get(*key) != Some(*entry));
    let (read, others): (Vec<&Key>, Vec<&Key>) = stale.map(|(key, _)| key).partition(|key| asked.contains(key));
    Ok(Stale { read: read.len(), others: others.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_and_differs_without_read_repair() {
        let options = Options::of_tests(1);
        let section = section(&options, [ReadRepair::Blocking, ReadRepair::Async]).expect("it runs");
        assert!(section.agrees(), "{section}");
        let section = super::section(&options, [ReadRepair::Blocking, ReadRepair::None]).expect("it runs");
        assert!(!section.agrees(), "{section}");
    }
}
