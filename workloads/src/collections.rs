//! The workloads of sets and counters: elements and amounts are added to keys that hold many of them at once.
//!
//! Load, keys and coordinators are those of a register workload ([`RegisterSpec`]), whose writes stand for adds and whose
//! deletes for removals. An *update* is a read, and right behind it an add by the same client through the same node: it
//! replaces what that read returned (`dcc`: with its context, so that siblings become one; `lww`: whatever came in between
//! is lost). A removal follows a read in the same way.
//!
//! Invariants: an element is added only once in a run; whether an add is an update comes from a stream of its own.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::{Action, GeneratedOperation, RegisterSpec, stream};

/// Parameters of the set workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetSpec {
    /// Load and keys; of the mix, `write` stands for adds and `delete` for removals.
    pub load: RegisterSpec,
    /// Of a hundred adds so many are updates. Zero where elements are removed: an update writes what it has read once more, and
    /// so would bring back what is removed meanwhile.
    pub updates_percent: u32,
}

/// Parameters of the counter workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CounterSpec {
    /// Load and keys; of the mix, `write` stands for adds, and there are no deletes.
    pub load: RegisterSpec,
    /// Of a hundred adds so many are updates.
    pub updates_percent: u32,
}

/// Largest amount that is added at once.
const AMOUNT_MAX: u64 = 5;

impl SetSpec {
    /// The checkers that can judge the history of sets that only grow.
    pub const CHECKERS: &'static [&'static str] = &["set", "set-full", "convergence", "availability"];
    /// The checkers that can judge the history of sets from which elements are removed.
    pub const CHECKERS_OF_REMOVALS: &'static [&'static str] = &["removals", "convergence", "availability"];

    /// The checkers that can judge its history.
    pub fn checkers(&self) -> &'static [&'static str] {
        if self.load.mix.delete > 0 { Self::CHECKERS_OF_REMOVALS } else { Self::CHECKERS }
    }

    /// All operations, by client, then time.
    ///
    /// # Panics
    /// As [`RegisterSpec::generate`].
    pub fn generate(&self, nodes: u16, load_ms: u64, seed: u64) -> Vec<GeneratedOperation> {
        let operations = self.load.generate(nodes, load_ms, seed);
        collections(operations, self.updates_percent, seed, |value| value)
    }
}

impl CounterSpec {
    /// The checkers that can judge the history of counters.
    pub const CHECKERS: &'static [&'static str] = &["counter", "convergence", "availability"];

    /// All operations, by client, then time.
    ///
    /// # Panics
    /// As [`RegisterSpec::generate`].
    pub fn generate(&self, nodes: u16, load_ms: u64, seed: u64) -> Vec<GeneratedOperation> {
        let operations = self.load.generate(nodes, load_ms, seed);
        collections(operations, self.updates_percent, seed, |value| value % AMOUNT_MAX + 1)
    }
}

/// Writes become adds or updates, deletes removals, each after the read that it needs. `value` makes an element or amount of
/// a number that is unique over the run.
fn collections(
    operations: Vec<GeneratedOperation>,
    updates_percent: u32,
    seed: u64,
    value: impl Fn(u64) -> u64,
) -> Vec<GeneratedOperation> {
    let mut updates = stream(seed, "update", 0);
    let mut all = Vec::with_capacity(operations.len());
    for operation in operations {
        let read = |key: &String| GeneratedOperation { action: Action::Read { key: key.clone() }, ..operation.clone() };
        let action = match &operation.action {
            Action::Write { key, value: number } if updates.random_range(0..100) < updates_percent => {
                all.push(read(key));
                Action::Update { key: key.clone(), value: value(*number) }
            }
            Action::Write { key, value: number } => Action::Add { key: key.clone(), value: value(*number) },
            Action::Delete { key } => {
                all.push(read(key));
                Action::Remove { key: key.clone() }
            }
            other => other.clone(),
        };
        all.push(GeneratedOperation { action, ..operation });
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{KeyChoice, Level, Mix};

    fn load(mix: Mix) -> RegisterSpec {
        RegisterSpec {
            keys: 10,
            clients: 4,
            rate_per_s: 200,
            mix,
            read_level: Level::Quorum,
            write_level: Level::Quorum,
            sticky_clients: 0,
            key_choice: KeyChoice::Uniform,
            key_life_ms: 0,
            hot: None,
            value_bytes: 0,
            read_primaries: None,
            write_primaries: None,
            success_in_faults_percent: None,
            client_timeout_ms: 2_000,
            overdue_skip_ms: 1_000,
        }
    }

    #[test]
    fn their_checkers_exist() {
        for name in [SetSpec::CHECKERS, SetSpec::CHECKERS_OF_REMOVALS, CounterSpec::CHECKERS].concat() {
            assert!(hearsay_checkers::find(name).is_some(), "no checker is called {name}");
        }
    }

    #[test]
    fn elements_are_unique_and_updates_and_removals_follow_a_read() {
        let load = load(Mix { read: 40, write: 50, delete: 10 });
        let operations = SetSpec { load, updates_percent: 50 }.generate(5, 20_000, 7);
        assert!(operations.is_sorted_by_key(|operation| (operation.client, operation.at_ms)));
        let mut elements = BTreeSet::new();
        let (mut blind, mut updates, mut removals) = (0, 0, 0);
        for pair in operations.windows(2) {
            let needs_read = match &pair[1].action {
                Action::Add { value, .. } => {
                    blind += 1;
                    assert!(elements.insert(*value), "{value} is added twice");
                    false
                }
                Action::Update { value, .. } => {
                    updates += 1;
                    assert!(elements.insert(*value), "{value} is added twice");
                    true
                }
                Action::Remove { .. } => {
                    removals += 1;
                    true
                }
                Action::Read { .. } => false,
                other => panic!("{other} is of no set"),
            };
            if needs_read {
                let read = GeneratedOperation {
                    action: Action::Read { key: pair[1].action.key().to_owned() },
                    ..pair[1].clone()
                };
                assert_eq!(pair[0], read);
            }
        }
        assert!((800..1_200).contains(&blind) && (800..1_200).contains(&updates), "{blind} {updates}");
        assert!(removals > 250, "{removals}");
    }

    #[test]
    fn amounts_are_small_and_differ() {
        let load = load(Mix { read: 20, write: 80, delete: 0 });
        let operations = CounterSpec { load, updates_percent: 100 }.generate(5, 5_000, 7);
        let amount = |operation: &GeneratedOperation| match operation.action {
            Action::Update { value, .. } => Some(value),
            _ => None,
        };
        let amounts: BTreeSet<u64> = operations.iter().filter_map(amount).collect();
        assert_eq!(amounts, (1..=AMOUNT_MAX).collect());
    }
}
