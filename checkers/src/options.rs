//! What a caller may choose about the judging.

use serde::{Deserialize, Serialize};

/// Assumptions that can be switched, and bounds. The defaults fit a cluster whose nodes share one clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckOptions {
    /// Whether a write (or delete) that was finished, or seen by a read, before another one began is older than it. True
    /// for last-write-wins while the clocks of the nodes agree; with skewed clocks the later write may lose.
    pub real_time_writes: bool,
    /// Whether replicas may have removed tombstones by the time the final state was looked at: then a replica without an
    /// entry equals one with a tombstone.
    pub tombstones_collected: bool,
    /// Nanoseconds after the end of a fault in which a read still counts as close to it, in the evidence.
    pub fault_aftermath: u64,
    /// What the availability checker expects.
    pub availability: AvailabilityBounds,
    /// What is expected of other data types than registers.
    pub data: DataOptions,
}

impl Default for CheckOptions {
    fn default() -> CheckOptions {
        CheckOptions {
            real_time_writes: true,
            tombstones_collected: false,
            fault_aftermath: 2_000_000_000,
            availability: AvailabilityBounds::default(),
            data: DataOptions::default(),
        }
    }
}

/// Expected availability. Shares are of all operations begun, 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AvailabilityBounds {
    /// Least share of successes in every phase without faults (`warmup`, `healed`, `final-reads`).
    pub success_share_calm_min: f64,
    /// Least share of successes in the phase with faults; `None`: not judged.
    pub success_share_faults_min: Option<f64>,
    /// Longest time without any success while operations are begun, milliseconds; `None`: not judged.
    pub outage_ms_max: Option<u64>,
    /// Fewest operations in a phase that is judged; below, nothing is said about it.
    pub operations_min: u64,
}

impl Default for AvailabilityBounds {
    fn default() -> AvailabilityBounds {
        AvailabilityBounds {
            success_share_calm_min: 0.99,
            success_share_faults_min: None,
            outage_ms_max: None,
            operations_min: 20,
        }
    }
}

/// What is expected of banks, sets and views.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataOptions {
    /// Total of all balances of a bank; `None`: that of its first read.
    pub bank_total: Option<i64>,
    /// Whether balances may be negative.
    pub bank_negative_balances: bool,
    /// Whether a set that is read all the time must be linearizable, so that a stale read breaks it.
    pub set_linearizable: bool,
    /// Most peers in an active view.
    pub view_active_max: u64,
    /// Most peers in a passive view.
    pub view_passive_max: u64,
}

impl Default for DataOptions {
    fn default() -> DataOptions {
        DataOptions {
            bank_total: None,
            bank_negative_balances: false,
            set_linearizable: false,
            view_active_max: 5,
            view_passive_max: 30,
        }
    }
}
