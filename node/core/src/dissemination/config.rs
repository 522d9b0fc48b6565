//! The knobs of dissemination. Durations are milliseconds on the monotonic clock.

use alloc::format;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{ConfigError, NodeId};

/// Which protocol spreads news.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BroadcastKind {
    /// The origin sends to all members.
    Direct,
    /// Nothing but the periodic exchange.
    Periodic,
    /// Rumor mongering.
    Rumor,
    /// A static spanning tree.
    Tree,
    /// Plumtree.
    #[default]
    Plumtree,
}

/// Whom a node talks to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MembershipKind {
    /// All members.
    Full,
    /// A partial view of them.
    #[default]
    HyParView,
}

/// Which way news go in a contact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From who makes the contact.
    Push,
    /// To who makes the contact.
    Pull,
    /// Both ways.
    #[default]
    PushPull,
}

impl Direction {
    /// Whether who makes the contact sends.
    pub fn pushes(self) -> bool {
        self != Direction::Pull
    }
    /// Whether who makes the contact receives.
    pub fn pulls(self) -> bool {
        self != Direction::Push
    }
}

/// Which contacts cost interest in a rumor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interest {
    /// All.
    Blind,
    /// Those in which the other knew it.
    #[default]
    Feedback,
}

/// How interest is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossBy {
    /// With probability 1/k at each such contact.
    Coin,
    /// After k such contacts.
    #[default]
    Counter,
}

/// Rumor mongering.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RumorConfig {
    /// Which way rumors go.
    pub direction: Direction,
    /// Which contacts cost interest.
    pub interest: Interest,
    /// How it is lost.
    pub loss_by: LossBy,
    /// The k of both.
    pub k: u32,
    /// Contacts of a node in a round.
    pub fan_out: usize,
    /// Between two rounds.
    pub round_ms: u64,
}

impl Default for RumorConfig {
    fn default() -> RumorConfig {
        RumorConfig {
            direction: Direction::Push,
            interest: Interest::Feedback,
            loss_by: LossBy::Counter,
            k: 3,
            fan_out: 1,
            round_ms: 100,
        }
    }
}

/// The periodic exchange of digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExchangeConfig {
    /// Which way.
    pub direction: Direction,
    /// Between two exchanges that a node starts; 0 switches it off.
    pub interval_ms: u64,
    /// Partners in each.
    pub fan_out: usize,
}

impl Default for ExchangeConfig {
    fn default() -> ExchangeConfig {
        ExchangeConfig { direction: Direction::PushPull, interval_ms: 2_000, fan_out: 1 }
    }
}

/// The static tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TreeConfig {
    /// Children of a node.
    pub fan_out: usize,
}

impl Default for TreeConfig {
    fn default() -> TreeConfig {
        TreeConfig { fan_out: 4 }
    }
}

/// Plumtree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlumtreeConfig {
    /// How long announcements wait for company.
    pub announce_delay_ms: u64,
    /// How long an announced message may take by the tree, at most, before it is asked for; the node learns how long it does.
    pub graft_timeout_ms: u64,
    /// The least that it may learn.
    pub graft_timeout_min_ms: u64,
    /// How long each further announcer has to answer before the next is asked.
    pub graft_retry_ms: u64,
    /// How long a message that never comes is remembered as missing.
    pub missing_ms: u64,
    /// How old a message may be to be announced to a new neighbour.
    pub recent_ms: u64,
    /// How many hops shorter an announced way must be to replace the one that delivered.
    pub threshold: u16,
}

impl Default for PlumtreeConfig {
    fn default() -> PlumtreeConfig {
        PlumtreeConfig {
            announce_delay_ms: 20,
            graft_timeout_ms: 300,
            graft_timeout_min_ms: 40,
            graft_retry_ms: 100,
            missing_ms: 30_000,
            recent_ms: 30_000,
            threshold: 7,
        }
    }
}

/// HyParView. The sizes are the paper's for 10,000 nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HyParViewConfig {
    /// Size of the active view: fan-out + 1.
    pub active_max: usize,
    /// Size of the passive view.
    pub passive_max: usize,
    /// Active random walk length: hops of a FORWARDJOIN.
    pub arwl: u8,
    /// Passive random walk length: hops left when a FORWARDJOIN also enters the passive view.
    pub prwl: u8,
    /// Active peers in a shuffle.
    pub shuffle_active: usize,
    /// Passive peers in a shuffle.
    pub shuffle_passive: usize,
    /// Hops of a shuffle.
    pub shuffle_ttl: u8,
    /// Between two shuffles.
    pub shuffle_interval_ms: u64,
    /// How long an answer to JOIN or NEIGHBOR is awaited.
    pub neighbor_timeout_ms: u64,
    /// Before candidates that were all tried in vain are tried again; doubles up to 32 times as much.
    pub replenish_interval_ms: u64,
    /// Before peers whose link broke, and other contacts, are tried again; doubles up to 8 times as much.
    pub probe_interval_ms: u64,
    /// Before a node trades a neighbour to mix the overlay; four times as much after each trade, up to 1024 times. 0: never.
    pub swap_interval_ms: u64,
    /// Whom to join through. Empty: the first members.
    pub contacts: Vec<NodeId>,
}

impl Default for HyParViewConfig {
    fn default() -> HyParViewConfig {
        HyParViewConfig {
            active_max: 5,
            passive_max: 30,
            arwl: 6,
            prwl: 3,
            shuffle_active: 3,
            shuffle_passive: 4,
            shuffle_ttl: 6,
            shuffle_interval_ms: 10_000,
            neighbor_timeout_ms: 1_000,
            replenish_interval_ms: 1_000,
            probe_interval_ms: 10_000,
            swap_interval_ms: 4_000,
            contacts: Vec::new(),
        }
    }
}

/// The whole layer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DisseminationConfig {
    /// How news spreads.
    pub protocol: BroadcastKind,
    /// Whom a node talks to.
    pub membership: MembershipKind,
    /// The exchange behind every protocol; the whole of `periodic`.
    pub exchange: ExchangeConfig,
    /// Of `rumor`.
    pub rumor: RumorConfig,
    /// Of `tree`.
    pub tree: TreeConfig,
    /// Of `plumtree`.
    pub plumtree: PlumtreeConfig,
    /// Of `hyparview`.
    pub hyparview: HyParViewConfig,
}

impl DisseminationConfig {
    /// Checks everything that a protocol relies on. The first mistake is answered.
    ///
    /// # Errors
    /// What is wrong, where, and the mend, as one sentence.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let hyparview = self.membership == MembershipKind::HyParView;
        let views = &self.hyparview;
        let mistakes = [
            (
                hyparview && matches!(self.protocol, BroadcastKind::Direct | BroadcastKind::Tree),
                "protocol direct and tree reach all members by themselves: set membership to full",
            ),
            (
                self.protocol == BroadcastKind::Periodic && self.exchange.interval_ms == 0,
                "protocol periodic is nothing without exchange: set exchange.interval_ms above 0",
            ),
            (self.exchange.fan_out == 0, "exchange.fan_out is 0: choose at least 1"),
            (self.rumor.k == 0, "rumor.k is 0: choose at least 1"),
            (self.rumor.fan_out == 0, "rumor.fan_out is 0: choose at least 1"),
            (self.rumor.round_ms == 0, "rumor.round_ms is 0: choose at least 1"),
            (self.tree.fan_out == 0, "tree.fan_out is 0: choose at least 1"),
            (
                [self.plumtree.graft_timeout_ms, self.plumtree.graft_retry_ms, self.plumtree.missing_ms].contains(&0),
                "plumtree.graft_timeout_ms, graft_retry_ms or missing_ms is 0: choose at least 1",
            ),
            (views.active_max == 0, "hyparview.active_max is 0: choose at least 1"),
            (views.active_max > 64, "hyparview.active_max is above 64: choose membership full"),
            (
                views.passive_max > 1_000 || views.passive_max < views.active_max,
                "hyparview.passive_max is not between active_max and 1000: choose about six times active_max",
            ),
            (
                [
                    views.shuffle_interval_ms,
                    views.neighbor_timeout_ms,
                    views.replenish_interval_ms,
                    views.probe_interval_ms,
                ]
                .contains(&0),
                "an interval or timeout of hyparview is 0: choose at least 1",
            ),
        ];
        match mistakes.iter().find(|(wrong, _)| *wrong) {
            Some((_, sentence)) => Err(ConfigError(format!("dissemination: {sentence}"))),
            None => Ok(()),
        }
    }
}
