//! Claim 10: with two of three replicas down a quorum write fails though it left hints; with all three down a write at level any
//! succeeds by a hint, and its value can't be read until the hint was replayed.

use std::collections::BTreeSet;

use hearsay_core::{ClientRequest, ClientResponse, ClusterConfig, Hints, Key, Level, NodeId, Value};

use super::stage::{Stage, cluster_of, ending, keys, value};
use super::{Claim, Figure, Measured, Options, Section};

pub(super) const CLAIM: Claim = Claim {
    number: 10,
    sentence: "Hints do not count toward the replication factor unless the level is ANY, because hints can't be read.",
    run,
};

const CAMPAIGN: &str = "claims/10-any";
/// Keys looked at for some that share their replicas.
const CANDIDATES: usize = 400;
/// Keys that are written.
const KEYS: usize = 10;

fn run(options: &Options) -> Result<Vec<Section>, String> {
    section(options, Level::Any).map(|section| vec![section])
}

/// How requests for every key ended, in words: `10 written`.
fn endings(answers: &[Result<ClientResponse, String>]) -> String {
    let mut words: Vec<&str> = answers.iter().map(ending).collect();
    words.sort_unstable();
    let counted = words.chunk_by(|one, other| one == other).map(|same| format!("{} {}", same.len(), same[0]));
    counted.collect::<Vec<_>>().join(", ")
}

/// `last`: the level of the writes that only a hint can take.
fn section(options: &Options, last: Level) -> Result<Section, String> {
    let config = ClusterConfig { hints: Hints::Coordinator, ..cluster_of(CAMPAIGN)? };
    let mut stage = Stage::start(&config, options)?;
    let (keys, replicas, coordinator) = keys_of_one_range(&mut stage, &config)?;
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut note = |what: &str, endings: &str, hints: u64| {
        rows.push(vec![what.to_owned(), endings.to_owned(), hints.to_string()]);
    };
    let puts = |level: Level, value: &Value| {
        let put = |key: &Key| ClientRequest::Put { key: key.clone(), value: value.clone(), level };
        keys.iter().map(|key| (coordinator, put(key))).collect::<Vec<_>>()
    };
    let gets = |level: Level| {
        keys.iter().map(|key| (coordinator, ClientRequest::Get { key: key.clone(), level })).collect::<Vec<_>>()
    };
    let pending = |stage: &mut Stage| Ok::<u64, String>(stage.counted()?.of("hints_pending"));

    // Before the failure detector knows: the writes are sent, and two replicas never answer.
    replicas[..2].iter().for_each(|&node| stage.kill_unnoticed(node));
    let quorum = endings(&stage.requests(puts(Level::Quorum, &value(20, 1))));
    let quorum_hints = pending(&mut stage)?;
    note("write at quorum, 2 of 3 replicas down", &quorum, quorum_hints);

    stage.kill(replicas[2])?;
    let written = value(20, 2);
    let any = endings(&stage.requests(puts(last, &written)));
    let any_hints = pending(&mut stage)?;
    note(&format!("write at {last}, 3 of 3 replicas down"), &any, any_hints);
    let hidden = endings(&stage.requests(gets(Level::One)));
    note("read at one", &hidden, any_hints);

    for node in &replicas {
        stage.start_again(*node)?;
    }
    let drained = stage.wait_until("the hints drain", |stage| Ok(stage.counted()?.of("hints_pending") == 0)).is_ok();
    let answers = stage.requests(gets(Level::Quorum));
    let found = answers
        .iter()
        .filter(|answer| matches!(answer, Ok(ClientResponse::Read { value: Some(value), .. }) if *value == written));
    let found = found.count();
    let left = pending(&mut stage)?;
    note("read at quorum, all up, hints replayed", &endings(&answers), left);

    let none_written = !quorum.contains("written");
    let figures = vec![
        Figure::new(
            10,
            "writes at quorum with 2 of 3 replicas down",
            format!("{quorum}; {quorum_hints} hints stored"),
            "none is acknowledged, hints or not",
            Some(none_written && quorum_hints > 0),
        ),
        Figure::new(
            10,
            &format!("writes at {last} with all replicas down"),
            any.clone(),
            &format!("{KEYS} written"),
            Some(any == format!("{KEYS} written") && any_hints > quorum_hints),
        ),
        Figure::new(10, "reads of them until the replay", hidden.clone(), "no value", Some(!hidden.contains("value"))),
        Figure::new(
            10,
            "values read after the replay",
            format!("{found} of {KEYS}, {left} hints left"),
            &format!("{KEYS}, 0 hints left"),
            Some(found == KEYS && drained && left == 0),
        ),
    ];
    let title = format!(
        "Claim 10, {CAMPAIGN}, {}: {KEYS} keys with the same replicas, {coordinator} coordinates and is none of them",
        options.world_words()
    );
    let columns = ["step", "ended", "hints pending"];
    Ok(Section { title, measured: Measured { columns: columns.map(str::to_owned).into(), rows }, figures })
}

/// Keys that have the same replicas, these, and a node that is none of them.
fn keys_of_one_range(stage: &mut Stage, config: &ClusterConfig) -> Result<(Vec<Key>, Vec<NodeId>, NodeId), String> {
    let candidates = keys("key", CANDIDATES);
    let asks = candidates.iter().map(|key| (NodeId(1), ClientRequest::Locate { key: key.clone() })).collect();
    let mut found: Vec<Key> = Vec::new();
    let mut replicas: BTreeSet<NodeId> = BTreeSet::new();
    for (key, answer) in candidates.into_iter().zip(stage.carry_out(asks)?) {
        let ClientResponse::Replicas(located) = answer else { return Err("another request's answer".to_owned()) };
        let located: BTreeSet<NodeId> = located.into_iter().collect();
        if replicas.is_empty() {
            replicas.clone_from(&located);
        }
        if located == replicas && found.len() < KEYS {
            found.push(key);
        }
    }
    let other = config.members.iter().find(|member| !replicas.contains(member));
    match other {
        Some(&other) if found.len() == KEYS => Ok((found, replicas.into_iter().collect(), other)),
        _ => Err(format!("only {} of {CANDIDATES} keys share their replicas", found.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_and_differs_at_another_level() {
        let options = Options::of_tests(1);
        let section = section(&options, Level::Any).expect("it runs");
        assert!(section.agrees(), "{section}");
        let section = super::section(&options, Level::One).expect("it runs");
        assert!(!section.agrees(), "{section}");
    }
}
