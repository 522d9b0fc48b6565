//! Claim 4: the same partition, and how long the replicas then need to become equal under each repair mechanism.
//!
//! Keys are left for fresh ones every three seconds, so no later write hides what a replica missed. Read repair reaches only what is
//! still read: alone it is not expected to make all replicas equal, only fewer of them stale.
//!
//! Then a coordinator dies for good while a replica is away: the hints die with it, the Merkle exchange of the others does not.

use std::collections::BTreeMap;

use hearsay_checkers::FinalState;
use hearsay_core::{ClusterConfig, Hints, Level, NodeId, ReadRepair};

use super::campaign_runs::{Measurements, Run, Variant, run_variants, sound};
use super::stage::{Stage, cluster_of, keys, value};
use super::{Claim, Figure, Measured, Options, Section};

pub(super) const CLAIM: Claim = Claim {
    number: 4,
    sentence: "Anti-entropy brings nodes up to date when the first delivery failed, and shortens the time until they agree.",
    run,
};

const CAMPAIGN: &str = "claims/04-convergence";

const fn variant(name: &'static str, change: fn(&mut ClusterConfig)) -> Variant {
    Variant { name, change }
}

fn nothing(cluster: &mut ClusterConfig) {
    (cluster.read_repair, cluster.hints, cluster.merkle_interval_ms) = (ReadRepair::None, Hints::None, 0);
}

const VARIANTS: [Variant; 5] = [
    variant("no repair", nothing),
    variant("read repair", |cluster| {
        nothing(cluster);
        cluster.read_repair = ReadRepair::Blocking;
    }),
    variant("hints", |cluster| {
        nothing(cluster);
        cluster.hints = Hints::Coordinator;
    }),
    variant("Merkle, every 2 s", |cluster| {
        nothing(cluster);
        cluster.merkle_interval_ms = 2_000;
    }),
    variant("all three", |_| {}),
];

/// Of one run.
struct Convergence {
    /// From the healing of the last fault until all replicas were seen equal, milliseconds; `None`: not within the deadline.
    after_ms: Option<u64>,
    /// Replicas that held something else than the newest at the end.
    stale: u64,
    /// Keys looked at.
    keys: u64,
}

fn run(options: &Options) -> Result<Vec<Section>, String> {
    Ok(vec![section(options, &VARIANTS)?, coordinator_dies(options, MERKLE_MS)?])
}

fn section(options: &Options, variants: &[Variant]) -> Result<Section, String> {
    let measured = run_variants(options, CAMPAIGN, variants, convergence)?;
    let rows = variants.iter().zip(&measured).map(|(variant, runs)| row(variant, runs)).collect();
    let columns = ["variant", "converged", "median s", "longest s", "stale replicas", "keys"].map(str::to_owned);
    let [none, read_repair, hints, merkle, all] = &measured[..] else { unreachable!("five variants") };
    let within = |runs: &Measurements<Convergence>| runs.runs.iter().filter(|run| run.after_ms.is_some()).count();
    let share = |runs: &Measurements<Convergence>| format!("{} of {} runs", within(runs), runs.runs.len());
    let stale = |runs: &Measurements<Convergence>| runs.sum(|run| run.stale);
    let every = |runs: &Measurements<Convergence>| within(runs) == runs.runs.len();
    let never = "in no run within the deadline";
    let always = "in every run";
    let figures = vec![
        Figure::new(4, "equal without repair", share(none), never, Some(within(none) == 0)),
        Figure::new(
            4,
            "stale replicas with read repair, of what is left to it",
            format!("{} of {}", stale(read_repair), stale(none)),
            "fewer",
            Some(stale(read_repair) < stale(none)),
        ),
        Figure::new(4, "equal with hints", share(hints), always, Some(every(hints))),
        Figure::new(4, "equal with Merkle exchanges", share(merkle), always, Some(every(merkle))),
        Figure::new(4, "equal with all three", share(all), always, Some(every(all))),
        Figure::new(4, "stale replicas with all three", stale(all).to_string(), "0", Some(stale(all) == 0)),
        sound(4, &measured),
    ];
    let title = format!("Claim 4, {}: one node of five cut off for 8 s, {}", CAMPAIGN, options.runs_words());
    Ok(Section { title, measured: Measured { columns: columns.into(), rows }, figures })
}

fn row(variant: &Variant, runs: &Measurements<Convergence>) -> Vec<String> {
    let mut times: Vec<u64> = runs.runs.iter().filter_map(|run| run.after_ms).collect();
    times.sort_unstable();
    let seconds = |ms: Option<&u64>| ms.map_or("not within".to_owned(), |ms| format!("{:.1}", *ms as f64 / 1e3));
    // Of runs that did not converge the time is longer than any.
    let median = times.get(runs.runs.len() / 2);
    let longest = times.last().filter(|_| times.len() == runs.runs.len());
    vec![
        variant.name.to_owned(),
        format!("{} of {}", times.len(), runs.runs.len()),
        seconds(median),
        seconds(longest),
        runs.sum(|run| run.stale).to_string(),
        runs.sum(|run| run.keys).to_string(),
    ]
}

fn convergence(run: &Run) -> Convergence {
    let healed = run.case.faults.iter().map(|fault| fault.to).max().unwrap_or(0);
    let Some(state) = &run.case.final_state else { return Convergence { after_ms: None, stale: 0, keys: 0 } };
    // What was looked at began when the load's last phase had ended.
    let looked = run.case.phases.iter().filter(|phase| phase.name != "final-reads").map(|phase| phase.to).max();
    let after = state.converged_after.map(|after| (looked.unwrap_or(0) + after).saturating_sub(healed));
    let (keys, stale) = stale_replicas(state);
    Convergence { after_ms: after.map(|ns| ns / 1_000_000), stale, keys }
}

/// Keys, and replicas of them that hold something older than the newest, or nothing.
pub(super) fn stale_replicas(state: &FinalState) -> (u64, u64) {
    let mut by_key: BTreeMap<&str, Vec<(u64, Option<u64>)>> = BTreeMap::new();
    for entry in &state.entries {
        by_key.entry(&entry.key).or_default().push((entry.stamp, entry.value));
    }
    let stale = by_key.values().map(|entries| {
        let newest = entries.iter().max();
        let holders = entries.iter().filter(|entry| Some(*entry) == newest).count() as u64;
        state.replication.saturating_sub(holders)
    });
    (by_key.len() as u64, stale.sum())
}

/// Between two exchanges where the coordinator dies.
const MERKLE_MS: u64 = 500;
/// Writes that a replica misses there.
const MISSED: usize = 200;
const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);

/// Three replicas: n3 is away while n1 coordinates writes, then n1 dies and n3 is back; n2 is all that is left to learn from.
fn coordinator_dies(options: &Options, merkle_ms: u64) -> Result<Section, String> {
    let (mut rows, mut held) = (Vec::new(), Vec::new());
    for (name, hints, merkle_interval_ms) in
        [("hints", Hints::Coordinator, 0), ("Merkle exchanges", Hints::None, merkle_ms)]
    {
        let config = ClusterConfig {
            members: vec![N1, N2, N3],
            replication: 3,
            read_repair: ReadRepair::None,
            hints,
            merkle_interval_ms,
            ..cluster_of(CAMPAIGN)?
        };
        let mut stage = Stage::start(&config, options)?;
        let missed = keys("missed", MISSED);
        stage.kill(N3)?;
        stage.put(&[N1], &missed, &value(20, 1), Level::Quorum)?;
        let hinted = stage.counted()?.of("hints_pending");
        stage.kill(N1)?;
        stage.start_again(N3)?;
        // Without exchanges nobody has anything left to send.
        if merkle_interval_ms > 0 {
            stage.wait_until("n3 is as n2", |stage| Ok(stage.scan(N2)? == stage.scan(N3)?))?;
        }
        let left = stage.counted()?.of("hints_pending");
        let (source, target) = (stage.scan(N2)?, stage.scan(N3)?);
        let has = |key: &&_| source.contains_key(*key) && source.get(*key) == target.get(*key);
        held.push(missed.iter().filter(has).count());
        let numbers = [hinted, hinted - left.min(hinted), held.last().map_or(0, |held| *held as u64)];
        rows.push([name.to_owned()].into_iter().chain(numbers.iter().map(u64::to_string)).collect());
    }
    let of = |held: usize| format!("{held} of {MISSED}");
    let figures = vec![
        Figure::new(
            4,
            "missed writes that n3 holds, by hints",
            of(held[0]),
            "0: they died with n1",
            Some(held[0] == 0),
        ),
        Figure::new(4, "missed writes that n3 holds, by Merkle exchanges", of(held[1]), "all", Some(held[1] == MISSED)),
    ];
    let columns = ["repair", "hints kept by n1", "gone with it", "held by n3 at the end"];
    let title = format!(
        "Claim 4, {}: n3 misses {MISSED} writes that n1 coordinates, n1 dies for good, n3 is back",
        options.world_words()
    );
    Ok(Section { title, measured: Measured { columns: columns.map(str::to_owned).into(), rows }, figures })
}

#[cfg(test)]
mod tests {
    use hearsay_checkers::FinalEntry;

    use super::*;

    #[test]
    fn a_replica_is_stale_that_lacks_the_newest() {
        let entry = |node: &str, key: &str, stamp| FinalEntry {
            node: node.to_owned(),
            key: key.to_owned(),
            value: Some(stamp),
            stamp,
        };
        let entries = vec![entry("n1", "a", 5), entry("n2", "a", 5), entry("n3", "a", 4), entry("n1", "b", 7)];
        let state = FinalState { replication: 3, entries, ..FinalState::default() };
        assert_eq!(stale_replicas(&state), (2, 3));
    }

    #[test]
    fn agrees_and_differs_without_the_hints() {
        let options = Options::of_tests(2);
        let section = section(&options, &VARIANTS).expect("it runs");
        assert!(section.agrees(), "{section}");
        let mut without = VARIANTS;
        without[2].change = nothing;
        let section = super::section(&options, &without).expect("it runs");
        assert!(!section.agrees(), "{section}");
    }

    #[test]
    fn a_dead_coordinator_leaves_it_to_the_others_and_they_need_exchanges() {
        let options = Options::of_tests(1);
        let section = coordinator_dies(&options, MERKLE_MS).expect("it runs");
        assert!(section.agrees(), "{section}");
        let section = coordinator_dies(&options, 0).expect("it runs");
        assert!(!section.agrees(), "{section}");
    }
}
