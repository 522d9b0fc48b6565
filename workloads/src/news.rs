//! The workloads of broadcasts and of cluster options: every client publishes numbers, and at the end every node says which it
//! has.
//!
//! A broadcast is an *add* to the key [`NEWS`], of which each node keeps a copy of its own; the final *read* is that copy. With
//! options every number is an option of its own, as if each were the creation of a table, and some changes overwrite one of few
//! shared options instead (*writes*), so that changes of one option travel at once.
//!
//! Load and coordinators are those of a register workload. One publisher: one client that keeps to one node.

use hearsay_checkers::GossipBounds;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::{Action, GeneratedOperation, RegisterSpec, stream};

/// The key that news is added to.
pub const NEWS: &str = "news";
/// Options that changes share.
const SHARED: u64 = 3;

/// Parameters of both workloads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewsSpec {
    /// The load; all of the mix are writes.
    pub load: RegisterSpec,
    /// Of a hundred changes of options so many are of shared ones; 0 for broadcasts.
    pub shared_percent: u32,
    /// What broadcasts may cost; the checker `gossip-cost` judges it.
    #[serde(default, skip_serializing_if = "GossipBounds::is_none")]
    pub at_most: GossipBounds,
}

impl NewsSpec {
    /// The checkers that can judge its history.
    pub const CHECKERS: &'static [&'static str] = &["broadcast", "convergence", "availability"];

    /// All operations, by client, then time.
    ///
    /// # Panics
    /// As [`RegisterSpec::generate`].
    pub fn generate(&self, nodes: u16, load_ms: u64, seed: u64) -> Vec<GeneratedOperation> {
        let mut shared = stream(seed, "shared", 0);
        let mut operations = self.load.generate(nodes, load_ms, seed);
        for operation in &mut operations {
            let Action::Write { value, .. } = operation.action else { continue };
            operation.action = match shared.random_range(0..100) < self.shared_percent {
                true => Action::Write { key: format!("shared{}", value % SHARED), value },
                false => Action::Add { key: NEWS.to_owned(), value },
            };
        }
        operations
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{KeyChoice, Level, Mix};

    fn spec(shared_percent: u32) -> NewsSpec {
        let load = RegisterSpec {
            keys: 1,
            clients: 4,
            rate_per_s: 100,
            mix: Mix { read: 0, write: 1, delete: 0 },
            read_level: Level::One,
            write_level: Level::One,
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
        };
        NewsSpec { load, shared_percent, at_most: GossipBounds::default() }
    }

    #[test]
    fn every_number_is_published_once_and_some_changes_share_an_option() {
        let broadcasts = spec(0).generate(5, 10_000, 7);
        let numbers: BTreeSet<u64> = broadcasts
            .iter()
            .map(|operation| match &operation.action {
                Action::Add { key, value } if key == NEWS => *value,
                other => panic!("{other} is no broadcast"),
            })
            .collect();
        assert_eq!(numbers.len(), broadcasts.len());
        let options = spec(20).generate(5, 10_000, 7);
        let shared: BTreeSet<&str> =
            options.iter().map(|operation| operation.action.key()).filter(|key| *key != NEWS).collect();
        assert_eq!(shared.into_iter().collect::<Vec<_>>(), ["shared0", "shared1", "shared2"]);
        assert_eq!(options, spec(20).generate(5, 10_000, 7));
    }

    #[test]
    fn its_checkers_exist() {
        for name in NewsSpec::CHECKERS {
            assert!(hearsay_checkers::find(name).is_some(), "no checker is called {name}");
        }
    }
}
