//! What is stored under each key at the end, and which acknowledged changes are certainly missing from it.
//!
//! An acknowledged write or delete may be superseded by a change that is concurrent with it or later. It is lost when
//! everything that is still held is certainly older: settled (acknowledged or read) before the lost one even began. That
//! uses the order of writes in real time; without that assumption only an absent key that was never deleted is certain.

use std::collections::BTreeMap;

use crate::explain::{at, listed, value};
use crate::key_history::{KeyHistory, Origin};
use crate::{Case, FinalEntry, Function, OpIndex};

/// A key with all that is known about it.
#[derive(Debug)]
pub(crate) struct FinalKey<'c> {
    pub(crate) key: &'c str,
    /// `None`: the history does not know the key.
    pub(crate) history: Option<&'c KeyHistory<'c>>,
    /// By node.
    pub(crate) entries: Vec<&'c FinalEntry>,
}

/// Every key of the history or of the final state, in order.
pub(crate) fn final_keys<'c>(case: &'c Case, histories: &'c [KeyHistory<'c>]) -> Vec<FinalKey<'c>> {
    let mut keys: BTreeMap<&str, FinalKey<'c>> = BTreeMap::new();
    for history in histories {
        keys.insert(history.key, FinalKey { key: history.key, history: Some(history), entries: Vec::new() });
    }
    for entry in case.final_state.iter().flat_map(|state| &state.entries) {
        let key = keys.entry(&entry.key);
        key.or_insert_with(|| FinalKey { key: &entry.key, history: None, entries: Vec::new() }).entries.push(entry);
    }
    let mut keys: Vec<FinalKey<'c>> = keys.into_values().collect();
    keys.iter_mut().for_each(|key| key.entries.sort_by(|a, b| a.node.cmp(&b.node)));
    keys
}

impl FinalKey<'_> {
    /// `n1 and n2 hold 7, n3 holds null`; for a key without entries `no node holds it`.
    pub(crate) fn holders(&self) -> String {
        let mut by_value: BTreeMap<Option<u64>, Vec<&str>> = BTreeMap::new();
        for entry in &self.entries {
            by_value.entry(entry.value).or_default().push(&entry.node);
        }
        if by_value.is_empty() {
            return "no node holds it".to_owned();
        }
        let groups = by_value.iter().rev().map(|(held, nodes)| {
            let what = held.map_or_else(|| "a tombstone".to_owned(), |held| held.to_string());
            format!("{} {} {what}", listed(nodes), if nodes.len() == 1 { "holds" } else { "hold" })
        });
        groups.collect::<Vec<_>>().join(", ")
    }
}

/// An acknowledged change that is certainly missing.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    /// Why it is certain, in sentences. The first has a gap for what is there instead.
    claim: String,
    proof: String,
    pub(crate) operations: Vec<OpIndex>,
}

impl Lost {
    /// The story, where `instead` says what is there, such as `n1 and n2 hold 7`.
    pub(crate) fn tell(&self, instead: &str) -> Vec<String> {
        vec![format!("{}: {instead}.", self.claim), self.proof.clone()]
    }
}

/// What became of the acknowledged changes of a key that no other acknowledged change certainly replaced.
#[derive(Debug, Default)]
pub(crate) struct Survival {
    /// Certainly missing, newest first.
    pub(crate) lost: Vec<Lost>,
    /// Not held, and held instead is a concurrent one: what last-write-wins may do.
    pub(crate) superseded: u64,
}

/// Looks for acknowledged changes that are missing from `held`: the different values (`None`: nothing) that are there.
pub(crate) fn survival(key: &KeyHistory<'_>, held: &[Option<u64>], real_time_writes: bool) -> Survival {
    let settled_writes = key.settled_writes();
    let writes = key.writes.iter().zip(&settled_writes).map(|(write, (settled, _))| (*write, *settled));
    let deletes = key.deletes.iter().map(|delete| (*delete, key.operation(*delete).acknowledged().unwrap_or(u64::MAX)));
    let mut acknowledged: Vec<(u32, u64)> =
        writes.chain(deletes).filter(|(change, _)| key.operation(*change).acknowledged().is_some()).collect();
    let newest_begun = acknowledged.iter().map(|(change, _)| key.operation(*change).invoked).max().unwrap_or_default();
    acknowledged.retain(|(_, settled)| *settled >= newest_begun);
    acknowledged.sort_by_key(|(change, _)| std::cmp::Reverse((key.operation(*change).invoked, *change)));
    let last_delete_end =
        key.deletes.iter().map(|delete| key.operation(*delete).acknowledged().unwrap_or(u64::MAX)).max();
    let origin_of = |held: u64| match key.origin(held, u64::MAX) {
        Origin::Written(at) => Some(settled_writes[at as usize]),
        _ => None,
    };
    let mut survival = Survival::default();
    for (change, _) in acknowledged {
        let operation = key.operation(change);
        let is_delete = operation.f == Function::Delete;
        let is_older = |held: &Option<u64>| match held {
            Some(held) => real_time_writes && origin_of(*held).is_some_and(|(settled, _)| settled < operation.invoked),
            None if is_delete => false,
            None => last_delete_end.is_none_or(|end| real_time_writes && end < operation.invoked),
        };
        if held.is_empty() || !held.iter().all(is_older) {
            let its_own = if is_delete { None } else { operation.value };
            survival.superseded += u64::from(!held.contains(&its_own));
            continue;
        }
        let when = at(operation.acknowledged().unwrap_or_default());
        let (process, index) = (operation.process, operation.index);
        let what = value(operation.value);
        let claim = if is_delete {
            format!(
                "Key {}: {process} deleted it, acknowledged at {when} ({index}), and a deleted value is back",
                key.key
            )
        } else {
            format!("Key {}: {process} wrote {what}, acknowledged at {when} ({index}), and it is lost", key.key)
        };
        let begun = at(operation.invoked);
        let it = if is_delete { "the delete".to_owned() } else { format!("the write of {what}") };
        let mut operations = vec![index];
        let mut reasons = Vec::new();
        for held in held {
            match held.and_then(|held| origin_of(held).map(|(settled, by)| (held, settled, key.operation(by)))) {
                Some((held, settled, by)) => {
                    operations.push(by.index);
                    let did = if by.f == Function::Read { "had read" } else { "had written" };
                    let settled = at(settled);
                    reasons.push(format!("{held} is older: {} {did} it by {settled} ({})", by.process, by.index));
                }
                None if last_delete_end.is_none() => reasons.push("nothing was deleted".to_owned()),
                None => reasons.push("every delete had been acknowledged".to_owned()),
            }
        }
        let mut proof = crate::explain::sentence(&listed(&reasons));
        if last_delete_end.is_some() || held.iter().any(Option::is_some) {
            proof.push_str(&format!(", before {it} began at {begun}"));
        }
        proof.push('.');
        survival.lost.push(Lost { claim, proof, operations });
    }
    survival
}
