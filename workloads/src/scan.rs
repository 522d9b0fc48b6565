//! The workload of ranges: registers in groups, written, deleted and read one by one, and scanned group by group.
//!
//! A key is called `g2/k17`; scans name a group's prefix, now and then that of all, and a limit. Everything else is as
//! with registers: the same operations on the same keys at the same times, with scans in place of some reads.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::{Action, GeneratedOperation, RegisterSpec, stream};

/// Parameters of the scan workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanSpec {
    /// Load and keys.
    pub load: RegisterSpec,
    /// Of a hundred reads so many are scans.
    pub scans_percent: u32,
    /// Groups of keys.
    pub groups: u32,
    /// A scan may return from 1 up to so many rows.
    pub limit_max: u32,
}

/// Of a hundred scans so many are of all groups.
const ALL_GROUPS_PERCENT: u32 = 10;

impl ScanSpec {
    /// The checkers that can judge the history of scanned registers.
    pub const CHECKERS: &'static [&'static str] = &[
        "scans",
        "monotonic-reads",
        "monotonic-quorum-reads",
        "read-your-writes",
        "linearizable",
        "convergence",
        "acknowledged-writes",
        "availability",
    ];

    /// All operations, by client, then time.
    ///
    /// # Panics
    /// As [`RegisterSpec::generate`], and without groups or with a limit of zero.
    pub fn generate(&self, nodes: u16, load_ms: u64, seed: u64) -> Vec<GeneratedOperation> {
        assert!(self.groups > 0 && self.limit_max > 0, "nothing to scan: {self:?}");
        let mut operations = self.load.generate(nodes, load_ms, seed);
        let mut which = stream(seed, "scan-which", 0);
        for operation in &mut operations {
            let group = self.group_of(operation.action.key());
            let grouped = |key: &str| format!("g{group}/{key}");
            operation.action = match &operation.action {
                Action::Read { .. } if which.random_range(0..100) < self.scans_percent => {
                    let all = which.random_range(0..100) < ALL_GROUPS_PERCENT;
                    let key = if all { "g".to_owned() } else { format!("g{group}/") };
                    Action::Scan { key, limit: which.random_range(1..=self.limit_max).into() }
                }
                Action::Read { key } => Action::Read { key: grouped(key) },
                Action::Write { key, value } => Action::Write { key: grouped(key), value: *value },
                Action::Delete { key } => Action::Delete { key: grouped(key) },
                other => unreachable!("{other} is of no register"),
            };
        }
        operations
    }

    fn group_of(&self, key: &str) -> u64 {
        let number: u64 = key[1..].parse().expect("keys are numbered");
        number % u64::from(self.groups)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{KeyChoice, Level, Mix};

    #[test]
    fn its_checkers_exist() {
        for name in ScanSpec::CHECKERS {
            assert!(hearsay_checkers::find(name).is_some(), "no checker is called {name}");
        }
    }

    #[test]
    fn scans_take_the_place_of_reads_and_meet_the_groups() {
        let load = RegisterSpec {
            keys: 40,
            clients: 5,
            rate_per_s: 300,
            mix: Mix { read: 60, write: 30, delete: 10 },
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
        };
        let registers = load.generate(5, 20_000, 7);
        let spec = ScanSpec { load, scans_percent: 50, groups: 4, limit_max: 12 };
        let operations = spec.generate(5, 20_000, 7);
        assert_eq!(operations.len(), registers.len());
        let (mut scans, mut limits, mut prefixes) = (0, BTreeSet::new(), BTreeSet::new());
        for (operation, register) in operations.iter().zip(&registers) {
            match &operation.action {
                Action::Scan { key, limit } => {
                    assert!(matches!(register.action, Action::Read { .. }));
                    scans += 1;
                    limits.insert(*limit);
                    prefixes.insert(key.clone());
                }
                action => assert!(action.key().ends_with(&format!("/{}", register.action.key())), "{action}"),
            }
        }
        assert!((1_600..2_000).contains(&scans), "{scans}");
        assert_eq!(limits, (1..=12).collect());
        assert_eq!(prefixes.into_iter().collect::<Vec<_>>(), ["g", "g0/", "g1/", "g2/", "g3/"]);
    }
}
