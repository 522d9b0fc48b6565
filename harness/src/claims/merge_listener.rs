//! Claim 7: each replica lacks something else; after every key was read, what repairs sent to each is compared with what the stores
//! themselves lacked before: records, and bytes of keys and values.

use std::collections::BTreeMap;

use hearsay_core::{Key, Level, LocalEntry, NodeId};

use super::stage::{Stage, cluster_of, keys, value};
use super::{Claim, Figure, Measured, Options, Section};

pub(super) const CLAIM: Claim = Claim {
    number: 7,
    sentence: "A merge listener finds exactly which records each replica lacks, and only those are sent.",
    run,
};

const CAMPAIGN: &str = "claims/07-merge-listener";
const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

fn run(options: &Options) -> Result<Vec<Section>, String> {
    section(options, true).map(|section| vec![section])
}

type Stores = BTreeMap<NodeId, BTreeMap<Key, LocalEntry>>;

/// Records, and bytes of their keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    records: u64,
    bytes: u64,
}

/// `whole`: every key is read, so that all that is lacking has to be sent.
fn section(options: &Options, whole: bool) -> Result<Section, String> {
    let config = cluster_of(CAMPAIGN)?;
    let mut stage = Stage::start(&config, options)?;
    let [n1, n2, n3] = NODES;
    let all = keys("equal", 100);
    stage.put(&NODES, &all, &value(50, 1), Level::All)?;
    // Each lacks something else, of another size: versions that are older, and none at all.
    let mut read = all.clone();
    for (away, takes, prefix, fresh, size) in
        [(n3, n1, "third", 30, 200), (n2, n3, "second", 20, 1_000), (n1, n2, "first", 10, 10)]
    {
        let fresh = keys(prefix, fresh);
        stage.kill(away)?;
        stage.put(&[takes], &fresh, &value(size, 2), Level::Two)?;
        stage.put(&[takes], &all[..10], &value(size, 3), Level::Two)?;
        stage.start_again(away)?;
        read.extend(fresh);
    }
    let stores = NODES.iter().map(|&node| Ok((node, stage.scan(node)?))).collect::<Result<Stores, String>>()?;
    let lacking = lacking(&stores);
    let before = stage.counted()?;
    // Every node coordinates a third of the reads: the counters of all of them count.
    read.truncate(if whole { read.len() } else { read.len() / 2 });
    for (node, part) in NODES.iter().zip(read.chunks(read.len().div_ceil(NODES.len()))) {
        stage.read(*node, part, Level::All)?;
    }
    let counted = stage.counted()?.since(&before);
    let sent = |node: NodeId| Amount {
        records: counted.of(&format!("read_repairs_to_{node}")),
        bytes: counted.of(&format!("read_repair_bytes_to_{node}")),
    };
    let (mut rows, mut figures) = (Vec::new(), Vec::new());
    for node in NODES {
        let (lacked, sent) = (lacking.get(&node).copied().unwrap_or_default(), sent(node));
        let numbers = [lacked.records, sent.records, lacked.bytes, sent.bytes].map(|number| number.to_string());
        rows.push([node.to_string()].into_iter().chain(numbers).collect());
        figures.push(Figure::new(
            7,
            &format!("sent to {node}"),
            format!("{} records, {} bytes", sent.records, sent.bytes),
            &format!("{} records, {} bytes", lacked.records, lacked.bytes),
            Some(lacked == sent && lacked.records > 0),
        ));
    }
    let applied = counted.sum(&["writes_applied"]);
    let records: u64 = lacking.values().map(|amount| amount.records).sum();
    let again = counted.of("writes_stale");
    figures.push(Figure::new(
        7,
        "records that replicas took over, and had already",
        format!("{applied} and {again}"),
        &format!("{records} and 0"),
        Some(applied == records && again == 0),
    ));
    let columns = ["replica", "records lacking", "records sent", "bytes lacking", "bytes sent"];
    let title = format!("Claim 7, {CAMPAIGN}, {}: {} keys read at level all", options.world_words(), read.len());
    Ok(Section { title, measured: Measured { columns: columns.map(str::to_owned).into(), rows }, figures })
}

/// What each store lacks of the newest of each key.
fn lacking(stores: &Stores) -> BTreeMap<NodeId, Amount> {
    let mut newest: BTreeMap<&Key, &LocalEntry> = BTreeMap::new();
    for (key, entry) in stores.values().flatten() {
        let known = newest.entry(key).or_insert(entry);
        if (entry.stamp, &entry.value) > (known.stamp, &known.value) {
            *known = entry;
        }
    }
    let mut lacking: BTreeMap<NodeId, Amount> = BTreeMap::new();
    for (node, store) in stores {
        for (key, entry) in newest.iter().filter(|(key, entry)| store.get(key) != Some(entry)) {
            let amount = lacking.entry(*node).or_default();
            amount.records += 1;
            amount.bytes += (key.0.len() + entry.value.as_ref().map_or(0, |value| value.0.len())) as u64;
        }
    }
    lacking
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_and_differs_when_less_is_sent_than_lacks() {
        let options = Options::of_tests(1);
        let section = section(&options, true).expect("it runs");
        assert!(section.agrees(), "{section}");
        let section = super::section(&options, false).expect("it runs");
        assert!(!section.agrees(), "{section}");
    }
}
