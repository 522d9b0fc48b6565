//! Claim 13: the same divergence repaired by an exchange of bitmap version vectors and by Merkle trees, against the floor: keys and
//! values of what differs. And what dotted causal containers keep of concurrent writes, and deletes leave behind.

use hearsay_core::{ClientRequest, ClientResponse, ClusterConfig, Conflict, Key, Level, NodeId};

use super::stage::{Stage, cluster_of, keys, value};
use super::{Claim, Figure, Measured, Options, Section};

pub(super) const CLAIM: Claim = Claim {
    number: 13,
    sentence: "Bitmap version vectors repair by recency: logs compared, gaps filled; dotted causal containers resolve conflicts.",
    run,
};

const CAMPAIGN: &str = "claims/13-version-vectors";
const KEYS: usize = 5_000;
/// Keys that one replica misses.
const DIFFERING: [usize; 3] = [10, 100, 1_000];
/// Bytes of a value.
const SIZE: usize = 100;
/// Keys of the second part.
const CONFLICTS: usize = 50;
const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);
const SYNC: [&str; 3] = ["sent_sync_hashes_bytes", "sent_sync_leaves_bytes", "sent_sync_values_bytes"];
/// Long before the next exchange, in milliseconds.
const EXCHANGE_MS: u64 = 500;

fn run(options: &Options) -> Result<Vec<Section>, String> {
    Ok(vec![bytes(options, KEYS, &DIFFERING)?, conflicts(options, Conflict::Dcc)?])
}

fn config(conflict: Conflict, exchange_interval_ms: u64) -> Result<ClusterConfig, String> {
    Ok(ClusterConfig { members: vec![N1, N2], replication: 2, conflict, exchange_interval_ms, ..cluster_of(CAMPAIGN)? })
}

/// How a replica that missed something is repaired.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Exchange,
    Merkle,
}

/// Bytes and updates that went over the wire for a repair.
struct Repaired {
    bytes: u64,
    updates: u64,
}

fn bytes(options: &Options, count: usize, differing: &[usize]) -> Result<Section, String> {
    let vectors = repairs(options, By::Exchange, count, differing)?;
    let merkle = repairs(options, By::Merkle, count, differing)?;
    let (mut rows, mut figures) = (Vec::new(), Vec::new());
    for ((&differing, vectors), merkle) in differing.iter().zip(&vectors).zip(&merkle) {
        let key_bytes = keys("late", 1)[0].0.len();
        let floor = (differing * (key_bytes + SIZE)) as u64;
        let ratio = |bytes: u64| format!("{:.2}", bytes as f64 / floor as f64);
        rows.push(
            [
                differing.to_string(),
                floor.to_string(),
                vectors.bytes.to_string(),
                ratio(vectors.bytes),
                merkle.bytes.to_string(),
                ratio(merkle.bytes),
            ]
            .into(),
        );
        figures.push(Figure::new(
            13,
            &format!("{differing} keys differ: bytes by version vectors, by Merkle"),
            format!(
                "{} and {}, {} and {} of the floor",
                vectors.bytes,
                merkle.bytes,
                ratio(vectors.bytes),
                ratio(merkle.bytes)
            ),
            "fewer by version vectors",
            Some(vectors.bytes < merkle.bytes),
        ));
        figures.push(Figure::new(
            13,
            &format!("{differing} keys differ: updates that the exchange sent"),
            vectors.updates.to_string(),
            &differing.to_string(),
            Some(vectors.updates == differing as u64),
        ));
    }
    let columns = ["keys that differ", "floor, bytes", "version vectors", "of the floor", "Merkle", "of the floor"];
    let title = format!(
        "Claim 13, {CAMPAIGN}, {}: two replicas of {count} keys, one misses new ones with values of {SIZE} bytes",
        options.world_words()
    );
    Ok(Section { title, measured: Measured { columns: columns.map(str::to_owned).into(), rows }, figures })
}

/// Repairs one divergence after the other.
fn repairs(options: &Options, by: By, count: usize, differing: &[usize]) -> Result<Vec<Repaired>, String> {
    let interval_ms = if by == By::Exchange { EXCHANGE_MS } else { 0 };
    let mut stage = Stage::start(&config(Conflict::Dcc, interval_ms)?, options)?;
    stage.put(&[N1, N2], &keys("old", count), &value(SIZE, 0), Level::All)?;
    let late = keys("late", differing.iter().sum());
    let mut from = 0;
    let mut repaired = Vec::new();
    for &differing in differing {
        stage.kill(N2)?;
        stage.put(&[N1], &late[from..from + differing], &value(SIZE, 1), Level::One)?;
        from += differing;
        let before = stage.counted()?;
        stage.start_again(N2)?;
        if by == By::Merkle {
            stage.repair(N2)?;
        }
        stage.wait_until("the replicas become equal", |stage| Ok(stage.scan(N1)? == stage.scan(N2)?))?;
        // Of n2 all counts since its start are new.
        let counted = stage.counted()?.since(&before);
        let names: &[&str] = if by == By::Exchange { &["sent_exchange_bytes"] } else { &SYNC };
        repaired.push(Repaired { bytes: counted.sum(names), updates: counted.of("causal_updates_sent") });
    }
    Ok(repaired)
}

/// Concurrent writes, and deletes that a replica misses.
fn conflicts(options: &Options, kept: Conflict) -> Result<Section, String> {
    let (mut rows, mut outcomes) = (Vec::new(), Vec::new());
    for conflict in [kept, Conflict::Lww] {
        let outcome = conflicts_under(options, conflict)?;
        let numbers = [2 * CONFLICTS, outcome.values, CONFLICTS, outcome.back, outcome.left].map(|n| n.to_string());
        rows.push([format!("{conflict:?}").to_lowercase()].into_iter().chain(numbers).collect());
        outcomes.push(outcome);
    }
    let (dcc, lww) = (&outcomes[0], &outcomes[1]);
    let both = 2 * CONFLICTS;
    let figures = vec![
        Figure::new(
            13,
            "of two concurrent writes a key, values kept under dcc",
            dcc.values.to_string(),
            &format!("{both}, as siblings"),
            Some(dcc.values == both),
        ),
        Figure::new(
            13,
            "the same under lww",
            lww.values.to_string(),
            &format!("{CONFLICTS}, the last ones"),
            Some(lww.values == CONFLICTS),
        ),
        Figure::new(
            13,
            "deleted values that came back from a replica that missed it, dcc",
            dcc.back.to_string(),
            "0",
            Some(dcc.back == 0),
        ),
        Figure::new(
            13,
            "entries that the deletes left behind, dcc against lww",
            format!("{} against {}", dcc.left, lww.left),
            &format!("0 against {}, a tombstone on each replica", 2 * CONFLICTS),
            Some(dcc.left == 0 && lww.left == 2 * CONFLICTS),
        ),
    ];
    let columns =
        ["policy", "concurrent writes", "values kept", "keys deleted", "came back", "entries left by the deletes"];
    let title =
        format!("Claim 13, {}: {CONFLICTS} keys written by both sides while they are apart", options.world_words());
    Ok(Section { title, measured: Measured { columns: columns.map(str::to_owned).into(), rows }, figures })
}

struct Conflicts {
    /// Values read of all keys.
    values: usize,
    /// Deleted keys that were read with a value.
    back: usize,
    /// Entries of deleted keys in both stores.
    left: usize,
}

fn conflicts_under(options: &Options, conflict: Conflict) -> Result<Conflicts, String> {
    let config = ClusterConfig {
        // Under lww the Merkle exchange repairs what under dcc the version vectors do.
        merkle_interval_ms: if conflict == Conflict::Lww { EXCHANGE_MS } else { 0 },
        ..config(conflict, EXCHANGE_MS)?
    };
    let mut stage = Stage::start(&config, options)?;
    let (both, deleted) = (keys("both", CONFLICTS), keys("deleted", CONFLICTS));
    stage.put(&[N1], &deleted, &value(SIZE, 9), Level::All)?;
    // Each writes while the other is away, and does not see what the other wrote. n2 misses the deletes.
    stage.kill(N1)?;
    stage.put(&[N2], &both, &value(SIZE, 2), Level::One)?;
    stage.kill_unnoticed(N2);
    stage.start_again(N1)?;
    stage.put(&[N1], &both, &value(SIZE, 1), Level::One)?;
    let deletes = deleted.iter().map(|key| (N1, ClientRequest::Delete { key: key.clone(), level: Level::One }));
    stage.carry_out(deletes.collect())?;
    stage.start_again(N2)?;
    stage.wait_until("the replicas become equal", |stage| Ok(stage.scan(N1)? == stage.scan(N2)?))?;
    let values = count_values(&mut stage, &both)?;
    let back = count_values(&mut stage, &deleted)?;
    // The last containers go when both clocks cover what was deleted.
    let left_now = |stage: &mut Stage| {
        let mut left = usize::try_from(stage.counted()?.of("causal_bare_containers")).unwrap_or(usize::MAX);
        for node in [N1, N2] {
            let store = stage.scan(node)?;
            left += deleted.iter().filter(|key| store.contains_key(*key)).count();
        }
        Ok::<usize, String>(left)
    };
    // A container goes when both clocks cover what was deleted; a tombstone stays for its grace, so nobody waits for that.
    let awaited = if conflict == Conflict::Dcc { 0 } else { 2 * CONFLICTS };
    let settled = stage.wait_until("deletes leave what they should", |stage| Ok(left_now(stage)? == awaited));
    // What is left after all is counted.
    let left = if settled.is_ok() { awaited } else { left_now(&mut stage)? };
    Ok(Conflicts { values, back, left })
}

fn count_values(stage: &mut Stage, keys: &[Key]) -> Result<usize, String> {
    let reads = keys.iter().map(|key| (N1, ClientRequest::Get { key: key.clone(), level: Level::All }));
    let answers = stage.carry_out(reads.collect())?;
    let values = answers.iter().map(|answer| match answer {
        ClientResponse::Siblings { values, .. } => values.len(),
        ClientResponse::Read { value, .. } => usize::from(value.is_some()),
        _ => 0,
    });
    Ok(values.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_and_differs_under_lww() {
        let options = Options::of_tests(1);
        let section = bytes(&options, 500, &[10, 100]).expect("it runs");
        assert!(section.agrees(), "{section}");
        let section = conflicts(&options, Conflict::Dcc).expect("it runs");
        assert!(section.agrees(), "{section}");
        let section = conflicts(&options, Conflict::Lww).expect("it runs");
        assert!(!section.agrees(), "{section}");
    }
}
