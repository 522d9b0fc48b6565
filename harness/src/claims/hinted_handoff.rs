//! Claim 9: a node is away while others write; hints wait for it and drain when it is back. Read repair and Merkle exchanges are
//! off, and nobody reads: what it then holds came by hints.

use hearsay_core::{ClusterConfig, Hints, Level, NodeId};

use super::stage::{Stage, cluster_of, keys, value};
use super::{Claim, Figure, Measured, Options, Section};

pub(super) const CLAIM: Claim = Claim {
    number: 9,
    sentence: "Hinted handoff keeps a hint where the target does not answer, and replays it after the target's recovery.",
    run,
};

const CAMPAIGN: &str = "claims/09-hinted-handoff";
const MISSED: usize = 200;
const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const N3: NodeId = NodeId(3);

fn run(options: &Options) -> Result<Vec<Section>, String> {
    section(options, Hints::Coordinator).map(|section| vec![section])
}

fn section(options: &Options, hints: Hints) -> Result<Section, String> {
    let config = ClusterConfig { hints, ..cluster_of(CAMPAIGN)? };
    let mut stage = Stage::start(&config, options)?;
    let missed = keys("missed", MISSED);
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut look = |stage: &mut Stage, when: &str, n3_is_up: bool| {
        let pending = stage.counted()?.of("hints_pending");
        let held = if n3_is_up { stage.scan(N3)?.len().to_string() } else { "-".to_owned() };
        rows.push(vec![when.to_owned(), pending.to_string(), held]);
        Ok::<u64, String>(pending)
    };
    look(&mut stage, "before", true)?;
    stage.kill(N3)?;
    stage.put(&[N1, N2], &missed, &value(100, 1), Level::Quorum)?;
    let kept = look(&mut stage, "n3 is away, the writes are acknowledged", false)?;
    let before = stage.counted()?;
    stage.start_again(N3)?;
    let drained = stage.wait_until("the hints drain", |stage| Ok(stage.counted()?.of("hints_pending") == 0)).is_ok();
    let left = look(&mut stage, "n3 is back, the hints were handed over", true)?;
    // Of n3 all counts since its start are new.
    let counted = stage.counted()?.since(&before);
    let (source, target) = (stage.scan(N1)?, stage.scan(N3)?);
    let held = missed.iter().filter(|key| source.contains_key(*key) && source.get(*key) == target.get(*key)).count();
    let others = counted.sum(&["reads_coordinated", "read_repairs_sent", "sync_sessions_started", "sync_keys_sent"]);
    let replayed = counted.of("hints_replayed");
    let all = MISSED.to_string();
    let figures = vec![
        Figure::new(9, "hints kept while the target is away", kept.to_string(), &all, Some(kept == MISSED as u64)),
        Figure::new(9, "hints left after it is back", left.to_string(), "0", Some(drained && left == 0)),
        Figure::new(9, "hints replayed", replayed.to_string(), &all, Some(replayed == MISSED as u64)),
        Figure::new(9, "of the missed writes the target holds", held.to_string(), &all, Some(held == MISSED)),
        Figure::new(9, "reads, read repairs, Merkle exchanges meanwhile", others.to_string(), "0", Some(others == 0)),
    ];
    let title = format!("Claim 9, {CAMPAIGN}, {}: n3 misses {MISSED} writes", options.world_words());
    let columns = ["when", "hints pending", "keys on n3"];
    Ok(Section { title, measured: Measured { columns: columns.map(str::to_owned).into(), rows }, figures })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_and_differs_without_hints() {
        let options = Options::of_tests(1);
        let section = section(&options, Hints::Coordinator).expect("it runs");
        assert!(section.agrees(), "{section}");
        let section = super::section(&options, Hints::None).expect("it runs");
        assert!(!section.agrees(), "{section}");
    }
}
