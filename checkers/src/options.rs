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
    /// What broadcasts may cost.
    pub gossip: GossipBounds,
    /// Longest staleness that is allowed, milliseconds; `None`: it is measured only.
    pub staleness_ms_max: Option<f64>,
    /// How much work a model may do whose work can explode; beyond it the verdict is `unknown`, with the reason.
    pub budget: Budget,
    /// Threads that may judge keys side by side, where a model judges each key by itself. Verdicts are the same to the bit.
    pub threads: u64,
    /// How transactions are judged.
    pub transactions: crate::transactions::TransactionOptions,
}

impl Default for CheckOptions {
    fn default() -> CheckOptions {
        CheckOptions {
            real_time_writes: true,
            tombstones_collected: false,
            fault_aftermath: 2_000_000_000,
            availability: AvailabilityBounds::default(),
            data: DataOptions::default(),
            gossip: GossipBounds::default(),
            staleness_ms_max: None,
            budget: Budget::default(),
            threads: 1,
            transactions: crate::transactions::TransactionOptions::default(),
        }
    }
}

/// Limits of a model's work, for each verdict.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Steps, each of some nanoseconds.
    pub steps_max: u64,
    /// Bytes for what is remembered beside the history.
    pub memory_bytes_max: u64,
    /// Asked every now and then whether to end: a caller with a clock puts its deadline here. Checkers have no clock.
    #[serde(skip)]
    pub stop: Option<Stop>,
}

/// Says whether the time is over.
pub type Stop = std::sync::Arc<StopFn>;

/// What a [`Stop`] calls.
pub struct StopFn(Box<dyn Fn() -> bool + Send + Sync>);

impl StopFn {
    /// A stop that asks this.
    pub fn new(is_over: impl Fn() -> bool + Send + Sync + 'static) -> Stop {
        std::sync::Arc::new(StopFn(Box::new(is_over)))
    }
}

impl std::fmt::Debug for StopFn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StopFn")
    }
}

impl Budget {
    /// Whether the caller wants an end.
    pub fn is_over(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| (stop.0)())
    }
}

impl PartialEq for Budget {
    fn eq(&self, other: &Budget) -> bool {
        (self.steps_max, self.memory_bytes_max, self.stop.is_some())
            == (other.steps_max, other.memory_bytes_max, other.stop.is_some())
    }
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { steps_max: 2_000_000_000, memory_bytes_max: 2 << 30, stop: None }
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

/// What broadcasts may cost, in percent of the deliveries of all nodes; `None`: it is counted, not judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GossipBounds {
    /// Payloads received that were known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicates_percent: Option<u32>,
    /// Broadcasts asked for that the tree did not bring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grafts_percent: Option<u32>,
    /// Messages without a payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_percent: Option<u32>,
    /// Neighbours put out for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evictions_percent: Option<u32>,
    /// Incarnations that members raised because of what others said of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incarnations_percent: Option<u32>,
    /// Entries in tables at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_percent: Option<u32>,
}

impl GossipBounds {
    /// Whether nothing is bounded.
    pub fn is_none(&self) -> bool {
        *self == GossipBounds::default()
    }
}
