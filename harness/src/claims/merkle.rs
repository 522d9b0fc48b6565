//! Claim 12: one replica misses some writes of many keys; a Merkle exchange finds them. Messages and bytes against the number of
//! keys that differ, the depth of the trees (the width of a leaf), and the fan-out of a question.

use hearsay_core::{ClusterConfig, Level, NodeId};

use super::stage::{Counted, Stage, cluster_of, keys, value};
use super::{Claim, Figure, Measured, Options, Section};

pub(super) const CLAIM: Claim = Claim {
    number: 12,
    sentence: "Merkle trees reduce comparison to a hash exchange; descending finds the differing ranges; tree size trades against \
               precision.",
    run,
};

const CAMPAIGN: &str = "claims/12-merkle";
/// Depth and fan-out.
const TREES: [(u8, u8); 4] = [(4, 16), (8, 16), (12, 16), (12, 2)];
/// Keys that differ.
const DIFFERING: [usize; 4] = [0, 10, 100, 1_000];
const KEYS: usize = 10_000;
/// Bytes of a value.
const SIZE: usize = 32;
const N1: NodeId = NodeId(1);
const N2: NodeId = NodeId(2);

fn run(options: &Options) -> Result<Vec<Section>, String> {
    section(options, KEYS, &DIFFERING, &TREES, &[N1]).map(|section| vec![section])
}

/// An exchange, and the one after it.
struct Exchange {
    depth: u8,
    fan_out: u8,
    differing: usize,
    rounds: u64,
    leaves: u64,
    keys_moved: u64,
    hash_bytes: u64,
    leaf_bytes: u64,
    value_bytes: u64,
    /// Ranges that differed and keys that were moved the second time.
    again: (u64, u64),
    equal: bool,
}

impl Exchange {
    fn bytes(&self) -> u64 {
        self.hash_bytes + self.leaf_bytes + self.value_bytes
    }
}

/// `repairs`: who compares itself, in this order: n1, which has what the other lacks. Only a scenario that leaves the repair out has
/// another list.
fn section(
    options: &Options,
    count: usize,
    differing: &[usize],
    trees: &[(u8, u8)],
    repairs: &[NodeId],
) -> Result<Section, String> {
    let mut exchanges = Vec::new();
    for &tree in trees {
        exchanges.extend(exchanges_of(options, count, differing, tree, repairs)?);
    }
    let rows = exchanges.iter().map(|exchange| {
        let Exchange { depth, fan_out, differing, rounds, leaves, keys_moved, hash_bytes, leaf_bytes, .. } = exchange;
        let again = format!("{} ranges, {} keys", exchange.again.0, exchange.again.1);
        let numbers = [
            u64::from(*depth),
            (count as u64).div_ceil(2 << depth),
            u64::from(*fan_out),
            *differing as u64,
            *rounds,
            *leaves,
            *keys_moved,
            *hash_bytes,
            *leaf_bytes,
            exchange.value_bytes,
            exchange.bytes(),
        ];
        numbers.iter().map(u64::to_string).chain([again]).collect()
    });
    let columns = [
        "depth",
        "keys a leaf",
        "fan-out",
        "differ",
        "rounds",
        "leaves",
        "keys moved",
        "hash bytes",
        "leaf bytes",
        "value bytes",
        "bytes",
        "second exchange",
    ];
    let measured = Measured { columns: columns.map(str::to_owned).into(), rows: rows.collect() };
    let title = format!(
        "Claim 12, {CAMPAIGN}, {}: two replicas of {count} keys with values of {SIZE} bytes, two ranges",
        options.world_words()
    );
    Ok(Section { title, measured, figures: figures(&exchanges, differing, trees) })
}

fn figures(exchanges: &[Exchange], differing: &[usize], trees: &[(u8, u8)]) -> Vec<Figure> {
    let is = |good: &dyn Fn(&Exchange) -> bool| exchanges.iter().filter(|exchange| good(exchange)).count();
    let all = |name: &str, reference: &str, good: &dyn Fn(&Exchange) -> bool| {
        let measured = format!("{} of {}", is(good), exchanges.len());
        Figure::new(12, name, measured, reference, Some(is(good) == exchanges.len()))
    };
    let equal: Vec<&Exchange> = exchanges.iter().filter(|exchange| exchange.differing == 0).collect();
    let rooted =
        equal.iter().all(|exchange| exchange.rounds == 1 && exchange.keys_moved == 0 && exchange.leaf_bytes == 0);
    let most = equal.iter().map(|exchange| exchange.bytes()).max().unwrap_or(0);
    let find = |(depth, fan_out): (u8, u8), differing: usize| {
        let is = |exchange: &&Exchange| {
            (exchange.depth, exchange.fan_out, exchange.differing) == (depth, fan_out, differing)
        };
        exchanges.iter().find(is).expect("every tree meets every number of differing keys")
    };
    let (few, many) = (*differing.get(1).expect("some differ"), *differing.last().expect("some differ"));
    let grows = trees
        .iter()
        .all(|&tree| differing.windows(2).all(|pair| find(tree, pair[0]).bytes() < find(tree, pair[1]).bytes()));
    let (shallow, deep) = (trees[0], trees[2]);
    let (shallow_few, deep_few) = (find(shallow, few), find(deep, few));
    let (wide, narrow) = (find(trees[2], many), find(trees[3], many));
    vec![
        Figure::new(
            12,
            "equal replicas: one question, no keys",
            format!("{most} bytes at most"),
            "the roots alone",
            Some(rooted && !equal.is_empty()),
        ),
        all("exchanges that moved exactly the keys that differ", "all", &|exchange| {
            exchange.keys_moved == exchange.differing as u64 && exchange.equal
        }),
        all("second exchanges that found nothing", "all", &|exchange| exchange.again == (0, 0)),
        Figure::new(12, "bytes grow with the keys that differ", grows.to_string(), "true", Some(grows)),
        Figure::new(
            12,
            &format!("depth {} against {}, {few} differ: leaf bytes", deep.0, shallow.0),
            format!("{} against {}", deep_few.leaf_bytes, shallow_few.leaf_bytes),
            "fewer: narrow leaves are precise",
            Some(deep_few.leaf_bytes < shallow_few.leaf_bytes),
        ),
        Figure::new(
            12,
            &format!("depth {} against {}, {few} differ: hash bytes", deep.0, shallow.0),
            format!("{} against {}", deep_few.hash_bytes, shallow_few.hash_bytes),
            "more: a larger tree",
            Some(deep_few.hash_bytes > shallow_few.hash_bytes),
        ),
        Figure::new(
            12,
            &format!("fan-out {} against {}, {many} differ: rounds and hash bytes", trees[2].1, trees[3].1),
            format!("{} and {} against {} and {}", wide.rounds, wide.hash_bytes, narrow.rounds, narrow.hash_bytes),
            "fewer rounds, more hashes",
            Some(wide.rounds < narrow.rounds && wide.hash_bytes > narrow.hash_bytes),
        ),
    ]
}

fn exchanges_of(
    options: &Options,
    count: usize,
    differing: &[usize],
    (merkle_depth, merkle_fan_out): (u8, u8),
    repairs: &[NodeId],
) -> Result<Vec<Exchange>, String> {
    let config = ClusterConfig {
        members: vec![N1, N2],
        replication: 2,
        merkle_interval_ms: 0,
        merkle_depth,
        merkle_fan_out,
        ..cluster_of(CAMPAIGN)?
    };
    let mut stage = Stage::start(&config, options)?;
    let keys = keys("key", count);
    stage.put(&[N1, N2], &keys, &value(SIZE, 0), Level::All)?;
    let mut exchanges = Vec::new();
    for (round, &differing) in (1_u8..).zip(differing) {
        if let Some(spread) = count.checked_div(differing) {
            stage.kill(N2)?;
            let missed: Vec<_> = keys.iter().step_by(spread).take(differing).cloned().collect();
            stage.put(&[N1], &missed, &value(SIZE, round), Level::One)?;
            stage.start_again(N2)?;
        }
        let before = stage.counted()?;
        let (mut rounds, mut leaves) = (0, 0);
        for &node in repairs {
            for report in stage.repair(node)? {
                rounds += report.rounds;
                leaves += report.leaves_compared;
            }
        }
        let first = stage.counted()?.since(&before);
        let moved = |counted: &Counted| counted.of("sync_keys_received");
        let again = stage.counted()?;
        let ranges = stage.repair(N1)?.iter().map(|report| report.ranges_differing).sum();
        let again = (ranges, moved(&stage.counted()?.since(&again)));
        exchanges.push(Exchange {
            depth: merkle_depth,
            fan_out: merkle_fan_out,
            differing,
            rounds,
            leaves,
            keys_moved: moved(&first),
            hash_bytes: first.of("sent_sync_hashes_bytes"),
            leaf_bytes: first.of("sent_sync_leaves_bytes"),
            value_bytes: first.of("sent_sync_values_bytes"),
            again,
            equal: stage.scan(N1)? == stage.scan(N2)?,
        });
    }
    Ok(exchanges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_and_differs_when_the_first_exchange_is_left_out() {
        let options = Options::of_tests(1);
        let section = section(&options, 1_500, &[0, 10, 150], &TREES, &[N1]).expect("it runs");
        assert!(section.agrees(), "{section}");
        let section = super::section(&options, 300, &[0, 10, 30], &TREES, &[]).expect("it runs");
        assert!(!section.agrees(), "{section}");
    }
}
