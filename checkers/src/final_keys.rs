//! What is stored under each key at the end, and which acknowledged changes are certainly missing from it.
//!
//! An acknowledged write or delete may be superseded by a change that is concurrent with it or later. It is lost when
//! everything that is still held is certainly older: settled (acknowledged or read) before the lost one even began. That
//! uses the order of writes in real time; without that assumption only an absent key that was never deleted is certain.

use std::collections::BTreeMap;

use crate::explain::{at, listed, value};
use crate::key_history::{KeyHistory, Origin};
use crate::{Case, FinalEntry, Function, OpIndex};

/// Letters of a set or counter that an explanation shows.
const CONTENT_SHOWN: usize = 60;

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
        let mut by_value: BTreeMap<(Option<u64>, Option<&str>), Vec<&str>> = BTreeMap::new();
        for entry in &self.entries {
            by_value.entry((entry.value, entry.content.as_deref())).or_default().push(&entry.node);
        }
        if by_value.is_empty() {
            return "no node holds it".to_owned();
        }
        let groups = by_value.iter().rev().map(|((held, content), nodes)| {
            let what = match (held, content) {
                (_, Some(content)) => shortened(content),
                (Some(held), None) => held.to_string(),
                (None, None) => "a tombstone".to_owned(),
            };
            format!("{} {} {what}", listed(nodes), if nodes.len() == 1 { "holds" } else { "hold" })
        });
        groups.collect::<Vec<_>>().join(", ")
    }
}

/// The end of a content, where what differs was added last.
fn shortened(content: &str) -> String {
    let letters = content.chars().count();
    match letters.checked_sub(CONTENT_SHOWN) {
        None | Some(0) => format!("`{content}`"),
        Some(left_out) => format!("`..{}`", content.chars().skip(left_out).collect::<String>()),
    }
}

/// An acknowledged change that is certainly missing.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    claim: String,
    /// The kind of violation that it is.
    pub(crate) kind: &'static str,
    /// What it is called when it is not there any more.
    gone: &'static str,
    /// Why it is certain, in sentences.
    proof: Vec<String>,
    pub(crate) operations: Vec<OpIndex>,
}

impl Lost {
    /// The story, where `held` says what is stored instead, such as `n1 and n2 hold 7`.
    pub(crate) fn tell_held(&self, held: &str) -> Vec<String> {
        [vec![format!("{}, and {}: {held}.", self.claim, self.gone)], self.proof.clone()].concat()
    }

    /// The story, where `read` says what a read returned, such as `process 3 read 5`.
    pub(crate) fn tell_read(&self, read: &str) -> Vec<String> {
        [vec![format!("{}, but {read}.", self.claim)], self.proof.clone()].concat()
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
            // A delete explains it, the one at hand included.
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
        let did = if is_delete { "deleted it".to_owned() } else { format!("wrote {what}") };
        let claim = format!("Key {}: {process} {did}, acknowledged at {when} ({index})", key.key);
        let (kind, gone) =
            if is_delete { ("resurrection", "a deleted value is back") } else { ("lost-write", "it is lost") };
        let it = if is_delete { "the delete".to_owned() } else { format!("the write of {what}") };
        let mut operations = vec![index];
        let mut reasons = Vec::new();
        for held in held.iter().rev() {
            match held.and_then(|held| origin_of(held).map(|(settled, by)| (held, settled, key.operation(by)))) {
                Some((held, settled, by)) => {
                    operations.push(by.index);
                    let did = if by.f == Function::Read { "had read" } else { "had written" };
                    let settled = at(settled);
                    reasons.push(format!("{held} is older: {} {did} it by {settled} ({})", by.process, by.index));
                }
                None => reasons
                    .extend(last_delete_end.map(|end| format!("the last delete had been acknowledged by {}", at(end)))),
            }
        }
        let mut proof = Vec::new();
        if !reasons.is_empty() {
            let reasons = crate::explain::sentence(&listed(&reasons));
            proof.push(format!("{reasons}, before {it} began at {}.", at(operation.invoked)));
        }
        if held.contains(&None) && last_delete_end.is_none() {
            proof.push("Nothing was deleted.".to_owned());
        }
        survival.lost.push(Lost { kind, claim, gone, proof, operations });
    }
    survival
}
