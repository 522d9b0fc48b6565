//! Whether all replicas hold the same, from what every node says it stores itself.
//!
//! Pure, as in [`super::proof`]: scans go in, what still differs comes out.

use std::collections::BTreeMap;

use hearsay_checkers::FinalEntry;
use hearsay_core::{ClusterConfig, Hints, Key, LocalEntry, NodeId, StatusReport, Value};
use hearsay_workloads::DataKind;

use super::client::{FOREIGN_VALUE, decode_value};
use super::proof::Statuses;

/// What every node stores, or why it could not be looked at.
pub type Scans = BTreeMap<NodeId, Result<Vec<LocalEntry>, String>>;

/// Keys whose replicas differ, as sentences; empty when every key has `replication` equal copies. With
/// `tombstones_collected` a deleted key may be gone from any number of nodes.
pub fn differing(scans: &Scans, replication: usize, tombstones_collected: bool) -> Vec<String> {
    let mut differing = Vec::new();
    let mut by_key: BTreeMap<&Key, Vec<(NodeId, &LocalEntry)>> = BTreeMap::new();
    for (&node, scan) in scans {
        match scan {
            Ok(entries) => entries.iter().for_each(|entry| by_key.entry(&entry.key).or_default().push((node, entry))),
            Err(reason) => differing.push(format!("{node} could not be looked at ({reason})")),
        }
    }
    for (key, copies) in by_key {
        let name = key.0.escape_ascii();
        let (first_node, first) = copies[0];
        let all_deleted = copies.iter().all(|(_, entry)| entry.value.is_none());
        if tombstones_collected && all_deleted {
            continue;
        }
        if let Some((node, other)) =
            copies.iter().find(|(_, entry)| (entry.stamp, &entry.value) != (first.stamp, &first.value))
        {
            differing.push(format!("{name}: {first_node} holds {}, {node} holds {}", shown(first), shown(other)));
        } else if copies.len() != replication {
            let nodes = copies.iter().map(|(node, _)| node.to_string()).collect::<Vec<_>>().join(" ");
            let held = copies.len();
            differing.push(format!("{name}: {} is held by {held} nodes ({nodes}), not {replication}", shown(first)));
        }
    }
    differing
}

/// Whether nodes of this cluster keep writes for others.
pub fn keeps(cluster: &ClusterConfig) -> bool {
    cluster.sloppy || cluster.hints != Hints::None
}

/// What nodes keep for others still, as sentences; empty when all of it was handed over.
pub fn kept(statuses: &Statuses) -> Vec<String> {
    let told = |(node, status): (&NodeId, &Result<StatusReport, String>)| match status {
        Ok(status) => match status.counters.get("hints_pending") {
            None | Some(0) => None,
            Some(records) => Some(format!("{node} has {records} writes for other nodes that it has not handed over.")),
        },
        Err(reason) => Some(format!("{node} does not say what it keeps for others: {reason}.")),
    };
    statuses.iter().filter_map(told).collect()
}

/// The scans as the checkers take them, with the nodes that could not be looked at.
pub fn final_entries(scans: &Scans, kind: DataKind) -> (Vec<FinalEntry>, Vec<String>) {
    let mut entries = Vec::new();
    let mut unreachable = Vec::new();
    for (node, scan) in scans {
        match scan {
            Ok(scan) => entries.extend(scan.iter().map(|entry| FinalEntry {
                node: node.to_string(),
                key: String::from_utf8_lossy(&entry.key.0).into_owned(),
                value: entry.value.as_ref().map(|value| match kind {
                    DataKind::Register => decode_siblings(value),
                    DataKind::Set | DataKind::Counter => digest(value),
                }),
                stamp: entry.stamp.0,
                content: entry.value.as_ref().filter(|_| kind != DataKind::Register).map(shown_content),
            })),
            Err(reason) => unreachable.push(format!("{node}: {reason}")),
        }
    }
    (entries, unreachable)
}

/// Of siblings, which lie there a line each, the one that was drawn last stands for all, as it does where a client reads them.
fn decode_siblings(value: &Value) -> u64 {
    let lines = value.0.split(|byte| *byte == b'\n').map(|line| decode_value(&Value(line.to_vec())));
    lines
        .collect::<Result<Vec<u64>, String>>()
        .ok()
        .and_then(|numbers| numbers.into_iter().max())
        .unwrap_or(FOREIGN_VALUE)
}

/// Of a set or counter: equal where the bytes are (FNV-1a).
fn digest(value: &Value) -> u64 {
    value.0.iter().fold(0xcbf2_9ce4_8422_2325, |digest, byte| (digest ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Siblings between bars.
fn shown_content(value: &Value) -> String {
    String::from_utf8_lossy(&value.0).replace('\n', " | ")
}

fn shown(entry: &LocalEntry) -> String {
    let stamp = entry.stamp.0;
    match &entry.value {
        Some(value) => {
            let start = value.0.get(..20).unwrap_or(&value.0);
            format!("{} of {stamp}", start.escape_ascii())
        }
        None => format!("a tombstone of {stamp}"),
    }
}

#[cfg(test)]
mod tests {
    use hearsay_core::WallTime;

    use super::*;

    fn entry(key: &str, stamp: u64, value: Option<&str>) -> LocalEntry {
        LocalEntry {
            key: Key(key.as_bytes().to_vec()),
            stamp: WallTime(stamp),
            value: value.map(|text| Value(text.as_bytes().to_vec())),
        }
    }
    fn scans(nodes: [&[&LocalEntry]; 3]) -> Scans {
        let copied = |entries: &[&LocalEntry]| Ok(entries.iter().map(|&entry| entry.clone()).collect());
        (1..).map(NodeId).zip(nodes.map(copied)).collect()
    }

    #[test]
    fn equal_copies_on_as_many_nodes_as_replicas() {
        let (x, gone) = (entry("x", 5, Some("7")), entry("y", 6, None));
        let all = scans([&[&x, &gone], &[&x, &gone], &[]]);
        assert_eq!(differing(&all, 2, false), [""; 0]);
        let (entries, unreachable) = final_entries(&all, DataKind::Register);
        assert_eq!((entries.len(), unreachable.len()), (4, 0));
        assert_eq!((entries[0].value, entries[1].value, entries[1].stamp), (Some(7), None, 6));
    }

    #[test]
    fn what_differs_is_named() {
        let (new, old) = (entry("x", 5, Some("7")), entry("x", 4, Some("6")));
        let all = scans([&[&new], &[&old], &[]]);
        assert_eq!(differing(&all, 2, false), ["x: n1 holds 7 of 5, n2 holds 6 of 4"]);
        let all = scans([&[&new], &[], &[]]);
        assert_eq!(differing(&all, 2, false), ["x: 7 of 5 is held by 1 nodes (n1), not 2"]);
        let all = scans([&[&new], &[&new], &[&new]]);
        assert_eq!(differing(&all, 2, false), ["x: 7 of 5 is held by 3 nodes (n1 n2 n3), not 2"]);
        // Equal values under different stamps are different versions still.
        let all = scans([&[&entry("x", 5, Some("7"))], &[&entry("x", 4, Some("7"))], &[]]);
        assert_eq!(differing(&all, 2, false).len(), 1);
    }

    #[test]
    fn of_siblings_the_last_drawn_stands_for_all() {
        let all = scans([&[&entry("x", 5, Some("7\n12\n9"))], &[&entry("y", 5, Some("7\nz"))], &[]]);
        let values: Vec<Option<u64>> =
            final_entries(&all, DataKind::Register).0.into_iter().map(|entry| entry.value).collect();
        assert_eq!(values, [Some(12), Some(FOREIGN_VALUE)]);
    }

    #[test]
    fn sets_and_counters_are_compared_as_they_are() {
        let all = scans([&[&entry("x", 5, Some("7,9\n12"))], &[&entry("x", 5, Some("7,9\n13"))], &[]]);
        let entries = final_entries(&all, DataKind::Set).0;
        assert_ne!(entries[0].value, entries[1].value);
        assert_eq!(entries[0].content.as_deref(), Some("7,9 | 12"));
    }

    #[test]
    fn a_node_that_says_nothing_is_not_equal() {
        let mut all = scans([&[], &[], &[]]);
        all.insert(NodeId(2), Err("timed out".to_owned()));
        assert_eq!(differing(&all, 2, false), ["n2 could not be looked at (timed out)"]);
        assert_eq!(final_entries(&all, DataKind::Register).1, ["n2: timed out"]);
    }

    #[test]
    fn what_is_kept_for_others_is_named_until_it_is_handed_over() {
        let status = |pending: Option<u64>| {
            Ok(StatusReport {
                node: NodeId(1),
                incarnation: 1,
                wall: WallTime(0),
                ready: true,
                catching_up_from: Vec::new(),
                peers: Vec::new(),
                keys: 0,
                state_digest: [0; 32],
                merkle_roots: Vec::new(),
                counters: pending.map(|records| ("hints_pending".to_owned(), records)).into_iter().collect(),
                overlay: None,
            })
        };
        let mut statuses: Statuses = [(NodeId(1), status(Some(0))), (NodeId(2), status(None))].into_iter().collect();
        assert_eq!(kept(&statuses), [""; 0]);
        statuses.insert(NodeId(2), status(Some(3)));
        statuses.insert(NodeId(3), Err("timed out".to_owned()));
        let told = kept(&statuses);
        assert_eq!(told[0], "n2 has 3 writes for other nodes that it has not handed over.");
        assert_eq!((told.len(), told[1].contains("timed out")), (2, true));
    }

    #[test]
    fn collected_tombstones_are_equal_to_tombstones() {
        let all = scans([&[&entry("y", 6, None)], &[], &[]]);
        assert_eq!(differing(&all, 2, false).len(), 1);
        assert_eq!(differing(&all, 2, true), [""; 0]);
        let back = scans([&[&entry("y", 6, None)], &[&entry("y", 5, Some("7"))], &[]]);
        assert_eq!(differing(&back, 2, true).len(), 1, "a deleted value that is back is a difference");
    }
}
