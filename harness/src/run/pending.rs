//! What a cluster that did not converge still has to do, and where: which keys differ on which nodes, which links are
//! missing, what the exchanges of those nodes came to.
//!
//! Pure, as [`super::convergence`] and [`super::proof`]: scans and statuses go in, sentences come out.

use std::collections::{BTreeMap, BTreeSet};

use hearsay_core::ring::Ring;
use hearsay_core::{ClusterConfig, Key, LocalEntry, NodeId, StatusReport};

use super::client::decode_value;
use super::convergence::{Scans, keeps, kept};
use crate::plan::{Plan, topology_at_end};

use super::proof::{InForce, Neighbourhood, Requirements, Statuses, list, missing};

/// Keys named for each group of nodes.
const KEYS_NAMED_MAX: usize = 5;
/// Sentences of each sort.
const SENTENCES_MAX: usize = 8;

/// What was seen when the time to converge was over.
#[derive(Debug)]
pub struct LastLook<'a> {
    /// What every node stores.
    pub scans: &'a Scans,
    /// Whether tombstones may be gone by now.
    pub tombstones_collected: bool,
    /// What every node says about itself.
    pub statuses: &'a Statuses,
    /// What every node said some time before, and how long ago that was, nanoseconds.
    pub before: Option<(&'a Statuses, u64)>,
}

/// A key whose replicas differ.
struct Differing<'a> {
    key: &'a Key,
    /// Its replicas that hold something older than the newest version, or nothing.
    behind: Vec<NodeId>,
    /// Its replicas that hold the newest version.
    ahead: Vec<NodeId>,
    newest: &'a LocalEntry,
    copies: BTreeMap<NodeId, &'a LocalEntry>,
}

/// What is pending, as sentences: what differs first, then what keeps it from being mended.
pub fn pending(plan: &Plan, look: &LastLook<'_>) -> Vec<String> {
    let topology = topology_at_end(plan);
    pending_on(&plan.cluster, topology.natural(), look)
}

fn pending_on(cluster: &ClusterConfig, ring: &Ring, look: &LastLook<'_>) -> Vec<String> {
    let mut told = Vec::new();
    for (node, scan) in look.scans {
        if let Err(reason) = scan {
            told.push(format!("{node} could not be looked at: {reason}."));
        }
    }
    let differing = differing_keys(ring, look);
    told.extend(limited(behind(&differing), "groups of nodes"));
    told.extend(limited(strangers(ring, look.scans), "nodes"));
    let all: BTreeSet<NodeId> = ring.members().collect();
    let whole = Requirements { ready: all.clone(), linked: all, ..Requirements::default() };
    let broken = missing(&whole, &InForce::default(), &Neighbourhood::on(ring), look.statuses);
    told.extend(limited(broken.into_iter().map(|broken| format!("{broken}.")).collect(), "of that kind"));
    told.extend(limited(unseen_by_trees(ring, &differing, look.statuses), "pairs of nodes"));
    if keeps(cluster) {
        told.extend(limited(kept(look.statuses), "nodes"));
    }
    if cluster.merkle_interval_ms == 0 {
        told.push("No node starts an exchange by itself: merkle_interval is 0.".to_owned());
    }
    let involved: BTreeSet<NodeId> =
        differing.iter().flat_map(|key| key.behind.iter().chain(&key.ahead)).copied().collect();
    told.extend(limited(exchanges(&involved, look), "nodes"));
    told
}

fn limited(mut sentences: Vec<String>, what: &str) -> Vec<String> {
    if sentences.len() > SENTENCES_MAX {
        let more = sentences.len() - SENTENCES_MAX;
        sentences.truncate(SENTENCES_MAX);
        sentences.push(format!("So it is with {more} more {what}."));
    }
    sentences
}

fn differing_keys<'a>(ring: &Ring, look: &LastLook<'a>) -> Vec<Differing<'a>> {
    let mut by_key: BTreeMap<&Key, BTreeMap<NodeId, &LocalEntry>> = BTreeMap::new();
    for (&node, scan) in look.scans {
        for entry in scan.iter().flatten() {
            by_key.entry(&entry.key).or_default().insert(node, entry);
        }
    }
    let looked_at = |node: &NodeId| look.scans.get(node).is_some_and(Result::is_ok);
    let differing = by_key.into_iter().filter_map(|(key, copies)| {
        let all_deleted = copies.values().all(|entry| entry.value.is_none());
        if look.tombstones_collected && all_deleted {
            return None;
        }
        let newest = copies.values().copied().max_by_key(|entry| (entry.stamp, &entry.value))?;
        let holds_newest = |node: &NodeId| {
            copies.get(node).is_some_and(|copy| (copy.stamp, &copy.value) == (newest.stamp, &newest.value))
        };
        let owners = ring.replicas(key).iter().copied().filter(looked_at);
        let (mut ahead, mut behind): (Vec<NodeId>, Vec<NodeId>) = owners.partition(holds_newest);
        ahead.sort_unstable();
        behind.sort_unstable();
        (!behind.is_empty()).then_some(Differing { key, behind, ahead, newest, copies })
    });
    differing.collect()
}

/// A sentence for each set of nodes that is behind another.
fn behind(differing: &[Differing<'_>]) -> Vec<String> {
    let mut groups: BTreeMap<(&[NodeId], &[NodeId]), Vec<&Differing<'_>>> = BTreeMap::new();
    for key in differing {
        groups.entry((&key.behind, &key.ahead)).or_default().push(key);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, keys)| std::cmp::Reverse(keys.len()));
    let told = groups.into_iter().map(|((behind, ahead), keys)| {
        let named = keys.iter().take(KEYS_NAMED_MAX).map(|key| {
            let held = key.behind.iter().map(|node| format!("{node} {}", held(key.copies.get(node).copied())));
            let newest = held_words(key.newest);
            format!("{} ({}; newest: {newest})", key.key.0.escape_ascii(), held.collect::<Vec<_>>().join(", "))
        });
        let named = named.collect::<Vec<_>>().join(", ");
        let more = keys.len().saturating_sub(KEYS_NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let (are, behind) = (if behind.len() == 1 { "is" } else { "are" }, list(behind.iter()));
        let than = if ahead.is_empty() { "any of their replicas".to_owned() } else { list(ahead.iter()) };
        let count = keys.len();
        let keys = if count == 1 { "key" } else { "keys" };
        format!("{behind} {are} behind {than} on {count} {keys}: {named}{more}.")
    });
    told.collect()
}

fn held(copy: Option<&LocalEntry>) -> String {
    copy.map_or_else(|| "holds nothing".to_owned(), |copy| format!("holds {}", held_words(copy)))
}

fn held_words(entry: &LocalEntry) -> String {
    match &entry.value {
        None => "a tombstone".to_owned(),
        Some(value) => match decode_value(value) {
            Ok(number) => number.to_string(),
            Err(_) => format!("{} bytes nobody wrote", value.0.len()),
        },
    }
}

/// Nodes that hold keys they do not replicate.
fn strangers(ring: &Ring, scans: &Scans) -> Vec<String> {
    let told = scans.iter().filter_map(|(&node, scan)| {
        let foreign = scan.iter().flatten().filter(|entry| !ring.is_replica(node, &entry.key)).count();
        (foreign > 0).then(|| format!("{node} holds {foreign} keys that it does not replicate."))
    });
    told.collect()
}

/// Pairs of nodes whose data differ in a range whose Merkle roots agree: an exchange finds nothing there.
fn unseen_by_trees(ring: &Ring, differing: &[Differing<'_>], statuses: &Statuses) -> Vec<String> {
    let mut unseen: BTreeMap<(NodeId, NodeId), Vec<&Key>> = BTreeMap::new();
    for key in differing {
        let range = ring.range_at(ring.token(key.key)).id().0;
        let root = |node: NodeId| {
            let status = statuses.get(&node)?.as_ref().ok()?;
            status.merkle_roots.iter().find(|(id, _)| *id == range).map(|(_, root)| *root)
        };
        for &behind in &key.behind {
            for &ahead in &key.ahead {
                if root(behind).is_some_and(|own| root(ahead) == Some(own)) {
                    unseen.entry((behind, ahead)).or_default().push(key.key);
                }
            }
        }
    }
    let told = unseen.into_iter().map(|((behind, ahead), keys)| {
        let first = keys[0].0.escape_ascii();
        let others = match keys.len() {
            1 => String::new(),
            many => format!(" and {} more", many - 1),
        };
        format!(
            "The Merkle roots of {behind} and {ahead} agree where {first}{others} differ: no exchange will find that."
        )
    });
    told.collect()
}

/// What the exchanges of these nodes came to lately, and what is in their way.
fn exchanges(nodes: &BTreeSet<NodeId>, look: &LastLook<'_>) -> Vec<String> {
    let told = nodes.iter().filter_map(|&node| {
        let status = look.statuses.get(&node)?.as_ref().ok()?;
        let before = look.before.and_then(|(statuses, ago)| Some((statuses.get(&node)?.as_ref().ok()?, ago)));
        // Another process counts from zero.
        let before = before.filter(|(before, _)| before.incarnation == status.incarnation);
        let count = |status: &StatusReport, name: &str| status.counters.get(name).copied().unwrap_or(0);
        let lately = |name: &str| {
            count(status, name) - before.map_or(0, |(before, _)| count(before, name)).min(count(status, name))
        };
        let when = before.map_or_else(
            || "since its start".to_owned(),
            |(_, ago)| format!("in the last {:.1} s", ago as f64 / 1e9),
        );
        let sync = |name: &str| lately(&format!("sync_{name}"));
        let mut sentence = format!(
            "{node} {when}: {} exchanges started, {} finished, {} given up, {} ranges found to differ, {} versions taken over",
            sync("sessions_started"),
            sync("sessions_finished"),
            sync("sessions_abandoned"),
            sync("ranges_differing"),
            sync("keys_applied"),
        );
        let dropped = status.counters.keys().filter(|name| name.starts_with("transport_dropped"));
        let dropped: u64 = dropped.map(|name| lately(name)).sum();
        if dropped > 0 {
            sentence.push_str(&format!(", {dropped} messages dropped"));
        }
        let in_work = count(status, "requests_in_work");
        if in_work > 0 {
            sentence.push_str(&format!(", {in_work} requests still in work"));
        }
        Some(sentence + ".")
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use hearsay_core::{PeerStatus, WallTime};

    use super::super::client::encode_value;
    use super::*;

    fn n(number: u16) -> NodeId {
        NodeId(number)
    }

    fn cluster() -> ClusterConfig {
        ClusterConfig { members: vec![n(1), n(2), n(3)], ..ClusterConfig::default() }
    }

    fn entry(key: &str, stamp: u64, value: Option<u64>) -> LocalEntry {
        let value = value.map(encode_value);
        LocalEntry { key: Key(key.as_bytes().to_vec()), stamp: WallTime(stamp), value }
    }

    fn status(node: u16, root: u8, started: u64) -> StatusReport {
        let ring = Ring::new(&cluster().members, cluster().vnodes, cluster().replication);
        let peers = (1..=3).filter(|&peer| peer != node);
        StatusReport {
            node: n(node),
            incarnation: 1,
            wall: WallTime(0),
            ready: true,
            catching_up_from: Vec::new(),
            peers: peers.map(|peer| PeerStatus { peer: n(peer), linked: true, alive: true }).collect(),
            keys: 0,
            state_digest: [0; 32],
            merkle_roots: ring.ranges().map(|range| (range.id().0, [root; 32])).collect(),
            counters: [("sync_sessions_started".to_owned(), started)].into(),
            overlay: None,
        }
    }

    fn statuses(roots: [u8; 3], started: u64) -> Statuses {
        (1..).zip(roots).map(|(node, root)| (n(node), Ok(status(node, root, started)))).collect()
    }

    fn scans(nodes: [&[LocalEntry]; 3]) -> Scans {
        (1..).map(NodeId).zip(nodes.map(|entries| Ok(entries.to_vec()))).collect()
    }

    fn told(scans: &Scans, statuses: &Statuses) -> Vec<String> {
        let before = self::statuses([1, 1, 1], 2);
        let look = LastLook { scans, tombstones_collected: false, statuses, before: Some((&before, 15_000_000_000)) };
        let ring = Ring::new(&cluster().members, cluster().vnodes, cluster().replication);
        pending_on(&cluster(), &ring, &look)
    }

    #[test]
    fn keys_links_and_exchanges_are_named_with_their_nodes() {
        let (old, new, gone) = (entry("k1", 4, Some(6)), entry("k1", 5, Some(7)), entry("k2", 9, None));
        let scans = scans([&[new.clone(), gone.clone()], &[new, gone], &[old]]);
        let mut seen = statuses([1, 1, 2], 10);
        seen.get_mut(&n(3)).unwrap().as_mut().unwrap().peers[0].linked = false;
        let expected = [
            "n3 is behind n1 n2 on 2 keys: k1 (n3 holds 6; newest: 7), k2 (n3 holds nothing; newest: a tombstone).",
            "n3 has no link to n1.",
            "n1 in the last 15.0 s: 8 exchanges started, 0 finished, 0 given up, 0 ranges found to differ, 0 versions taken over.",
            "n2 in the last 15.0 s: 8 exchanges started, 0 finished, 0 given up, 0 ranges found to differ, 0 versions taken over.",
            "n3 in the last 15.0 s: 8 exchanges started, 0 finished, 0 given up, 0 ranges found to differ, 0 versions taken over.",
        ];
        assert_eq!(told(&scans, &seen), expected);
    }

    #[test]
    fn trees_that_do_not_see_a_difference_are_told() {
        let new = entry("k1", 5, Some(7));
        let scans = scans([std::slice::from_ref(&new), std::slice::from_ref(&new), &[]]);
        let told = told(&scans, &statuses([1, 2, 1], 2));
        let unseen = "The Merkle roots of n3 and n1 agree where k1 differ: no exchange will find that.";
        assert!(told.iter().any(|sentence| sentence == unseen), "{told:#?}");
    }

    #[test]
    fn what_is_long_is_counted() {
        let keys: Vec<LocalEntry> = (0..40).map(|key| entry(&format!("k{key}"), 5, Some(key + 1))).collect();
        let told = told(&scans([&keys, &keys, &[]]), &statuses([1, 1, 2], 2));
        assert!(
            told[0].starts_with("n3 is behind n1 n2 on 40 keys: k0 (") && told[0].ends_with(" and 35 more."),
            "{told:?}"
        );
    }

    #[test]
    fn silence_is_pending_too() {
        let mut scans = scans([&[], &[], &[]]);
        scans.insert(n(2), Err("timed out".to_owned()));
        let mut seen = statuses([1, 1, 1], 2);
        seen.insert(n(2), Err("timed out".to_owned()));
        let told = told(&scans, &seen);
        assert_eq!(told[..2], ["n2 could not be looked at: timed out.", "n2 gives no status (timed out)."]);
    }
}
