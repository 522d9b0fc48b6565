//! What a bad link does to packets: the numbers of a plan, and the draw of one packet's fate. Pure; both worlds use it.
//!
//! The words are those of `tc-netem`: latency and jitter, loss, duplication, reordering (a share of the packets does not
//! wait, and so overtakes those that do), bandwidth. Draws are made with whole numbers alone, so that they are the same
//! on every machine, and every packet takes the same count of them, whatever its fate.
//!
//! Left out: corruption (QUIC turns it into loss), correlation between the fates of neighbouring packets.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use hearsay_core::NodeId;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::Endpoint;

const MILLISECOND_NS: u64 = 1_000_000;
const MILLION: u64 = 1_000_000;
/// Of a `pareto` jitter: half of all packets get at most this share of the jitter, one in about twenty gets all of it.
const PARETO_MEDIAN_SHARE: u64 = 20;

/// Longest latency, and longest jitter. Above, connections break: that is a partition's work.
pub const LINK_DELAY_MAX_MS: u64 = 1_000;
/// How long a packet may wait for the line of a bad link, at most.
pub const LINK_QUEUE_MS: u64 = 2_000;
/// Largest share of packets that are lost, duplicated or reordered. Above, connections break: that is a partition's work.
pub const LINK_SHARE_MAX_PER_MILLION: u32 = 500_000;
/// Bandwidths, bytes per second: 64 kbit/s to 10 Gbit/s.
pub const LINK_BANDWIDTH_BYTES_PER_S: RangeInclusive<u64> = 8_000..=1_250_000_000;

/// Which links of a cluster are bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkScope {
    /// Every link between two nodes, both ways.
    Nodes,
    /// The links between clients and nodes, both ways.
    Clients,
    /// Every link there is.
    All,
    /// The links between one node and the others, both ways.
    OneNode,
    /// A random half of the directed links between nodes: a way may be bad, and the way back good.
    RandomPairs,
}

impl LinkScope {
    /// All of them.
    pub const ALL: [LinkScope; 5] =
        [LinkScope::Nodes, LinkScope::Clients, LinkScope::All, LinkScope::OneNode, LinkScope::RandomPairs];

    /// Fewest nodes that have such links.
    pub fn nodes_min(self) -> u16 {
        match self {
            LinkScope::Clients | LinkScope::All => 1,
            LinkScope::Nodes | LinkScope::OneNode | LinkScope::RandomPairs => 2,
        }
    }

    /// Draws the directed pairs of n1 to n(`nodes`), in order.
    pub(super) fn draw_pairs(self, nodes: u16, random: &mut impl Rng) -> Vec<(Endpoint, Endpoint)> {
        let node = |number| Endpoint::Node(NodeId(number));
        let between_nodes = || {
            let ordered = (1..=nodes).flat_map(|from| (1..=nodes).map(move |to| (from, to)));
            ordered.filter(|(from, to)| from != to).map(|(from, to)| (node(from), node(to)))
        };
        let with_clients =
            || (1..=nodes).flat_map(|number| [(Endpoint::Clients, node(number)), (node(number), Endpoint::Clients)]);
        let pairs: BTreeSet<_> = match self {
            LinkScope::Nodes => between_nodes().collect(),
            LinkScope::Clients => with_clients().collect(),
            LinkScope::All => between_nodes().chain(with_clients()).collect(),
            LinkScope::OneNode => {
                let one = node(random.random_range(1..=nodes));
                between_nodes().filter(|(from, to)| [from, to].contains(&&one)).collect()
            }
            LinkScope::RandomPairs => {
                let mut pairs: Vec<_> = between_nodes().collect();
                pairs.shuffle(random);
                pairs.truncate(pairs.len() / 2);
                pairs.into_iter().collect()
            }
        };
        assert!(!pairs.is_empty(), "{nodes} nodes have no links of the scope {self}");
        pairs.into_iter().collect()
    }
}

impl fmt::Display for LinkScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LinkScope::Nodes => "nodes",
            LinkScope::Clients => "clients",
            LinkScope::All => "all",
            LinkScope::OneNode => "one-node",
            LinkScope::RandomPairs => "random-pairs",
        })
    }
}

impl FromStr for LinkScope {
    type Err = ();
    fn from_str(text: &str) -> Result<LinkScope, ()> {
        LinkScope::ALL.into_iter().find(|scope| scope.to_string() == text).ok_or(())
    }
}

/// How the jitter of packets is distributed between nothing and all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// Evenly.
    #[default]
    Uniform,
    /// Around half of it (the mean of four even draws).
    Normal,
    /// A long tail: half of the packets get a twentieth of it at most, one in about twenty gets all of it.
    Pareto,
}

impl FromStr for Distribution {
    type Err = ();
    fn from_str(text: &str) -> Result<Distribution, ()> {
        match text {
            "uniform" => Ok(Distribution::Uniform),
            "normal" => Ok(Distribution::Normal),
            "pareto" => Ok(Distribution::Pareto),
            _ => Err(()),
        }
    }
}

/// What a bad link does to each of its packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkConditions {
    /// Every packet is held so long.
    pub latency_ms: u64,
    /// And up to so much longer.
    pub jitter_ms: u64,
    /// How the jitter is distributed.
    pub distribution: Distribution,
    /// So many of a million packets are lost.
    pub loss_per_million: u32,
    /// So many of a million packets come twice.
    pub duplicate_per_million: u32,
    /// So many of a million packets are not held at all, and overtake those that are.
    pub reorder_per_million: u32,
    /// Bytes per second; 0: no limit.
    pub bandwidth_bytes_per_s: u64,
    /// A packet that would wait longer than this for the line is lost; 0: [`LINK_QUEUE_MS`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub queue_ms: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What happens to one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// It never arrives.
    pub lost: bool,
    /// It arrives twice.
    pub duplicated: bool,
    /// It is held so long, besides the time that the bandwidth takes, nanoseconds.
    pub delay_ns: u64,
}

impl LinkConditions {
    /// How long a packet may wait for the line, nanoseconds.
    pub fn queue_ns(&self) -> u64 {
        let queue_ms = if self.queue_ms == 0 { LINK_QUEUE_MS } else { self.queue_ms };
        queue_ms * MILLISECOND_NS
    }

    /// Whether packets are held at all.
    pub fn delays(&self) -> bool {
        self.latency_ms > 0 || self.jitter_ms > 0 || self.bandwidth_bytes_per_s > 0
    }

    /// Whether they do anything.
    pub fn is_bad(&self) -> bool {
        self.delays() || self.loss_per_million > 0 || self.duplicate_per_million > 0
    }

    /// Draws what happens to the next packet.
    pub fn draw(&self, random: &mut impl Rng) -> Fate {
        let [first, second, third] = [random.next_u64(), random.next_u64(), random.next_u64()];
        let happens = |bits: u64, per_million: u32| ((bits & 0xffff_ffff) * MILLION) >> 32 < u64::from(per_million);
        let ahead = happens(second, self.reorder_per_million);
        Fate {
            lost: happens(first, self.loss_per_million),
            duplicated: happens(first >> 32, self.duplicate_per_million),
            delay_ns: if ahead { 0 } else { self.latency_ms * MILLISECOND_NS + self.jitter_ns(third) },
        }
    }

    fn jitter_ns(&self, bits: u64) -> u64 {
        let whole_ns = self.jitter_ms * MILLISECOND_NS;
        let share = |bits: u64, of_bits: u32| {
            let scaled = (u128::from(bits) * u128::from(whole_ns)) >> of_bits;
            u64::try_from(scaled).expect("a share of it is not more than it")
        };
        match self.distribution {
            Distribution::Uniform => share(bits >> 32, 32),
            Distribution::Normal => (0..4).map(|part| share((bits >> (16 * part)) & 0xffff, 16)).sum::<u64>() / 4,
            Distribution::Pareto => {
                // Lomax with the exponent 1: the median is the scale.
                let inverse = (1_u64 << 32) / ((bits >> 32) + 1);
                let longer = (whole_ns / PARETO_MEDIAN_SHARE).saturating_mul(inverse - 1);
                // `inverse` is a whole number: what is between two of them is drawn evenly.
                let between = ((bits & 0xffff_ffff) * (whole_ns / PARETO_MEDIAN_SHARE)) >> 32;
                longer.saturating_add(between).min(whole_ns)
            }
        }
    }

    /// What a packet of so many bytes takes of the line, nanoseconds.
    pub fn transmission_ns(&self, bytes: u32) -> u64 {
        match self.bandwidth_bytes_per_s {
            0 => 0,
            bandwidth => u64::from(bytes) * 1_000_000_000 / bandwidth,
        }
    }

    /// What about half of the packets are held, nanoseconds.
    pub fn usual_ns(&self) -> u64 {
        let share = match self.distribution {
            Distribution::Uniform | Distribution::Normal => 2,
            Distribution::Pareto => PARETO_MEDIAN_SHARE,
        };
        self.latency_ms * MILLISECOND_NS + self.jitter_ms * MILLISECOND_NS / share
    }

    /// The longest that a packet is held, besides the time that the bandwidth takes, nanoseconds.
    pub fn longest_ns(&self) -> u64 {
        (self.latency_ms + self.jitter_ms) * MILLISECOND_NS
    }
}

#[cfg(test)]
mod tests {
    use hearsay_workloads::stream;

    use super::*;

    const DRAWS: usize = 20_000;

    fn fates(conditions: LinkConditions) -> Vec<Fate> {
        let mut random = stream(1, "test", 0);
        std::iter::repeat_with(|| conditions.draw(&mut random)).take(DRAWS).collect()
    }

    /// The delays' given percentile, in milliseconds.
    fn percentiles(conditions: LinkConditions, wanted: [usize; 3]) -> [u64; 3] {
        let mut delays: Vec<u64> = fates(conditions).iter().map(|fate| fate.delay_ns).collect();
        delays.sort_unstable();
        wanted.map(|percent| delays[(DRAWS - 1) * percent / 100] / MILLISECOND_NS)
    }

    #[test]
    fn delays_follow_their_distribution() {
        let of = |distribution| {
            let conditions = LinkConditions { latency_ms: 100, jitter_ms: 1_000, distribution, ..Default::default() };
            let [least, median, most] = percentiles(conditions, [0, 50, 100]);
            assert!(least >= 100 && most <= 1_100, "{distribution:?}: {least} to {most}");
            (median, percentiles(conditions, [10, 90, 95]))
        };
        let (median, [low, high, _]) = of(Distribution::Uniform);
        assert!((580..=620).contains(&median) && (180..=220).contains(&low) && (980..=1_020).contains(&high));
        let (median, [low, high, _]) = of(Distribution::Normal);
        assert!((580..=620).contains(&median) && low > 350 && high < 850, "{low} {median} {high}");
        let (median, [low, high, almost_all]) = of(Distribution::Pareto);
        assert!((130..=170).contains(&median) && low < 130 && high > 400 && almost_all > 800, "{median} {high}");
    }

    #[test]
    fn shares_are_as_planned_and_do_not_shift_each_other() {
        let all = LinkConditions {
            latency_ms: 10,
            loss_per_million: 10_000,
            duplicate_per_million: 50_000,
            reorder_per_million: 200_000,
            ..Default::default()
        };
        let count = |fates: &[Fate], is: fn(&Fate) -> bool| fates.iter().filter(|fate| is(fate)).count();
        let drawn = fates(all);
        assert!((140..=260).contains(&count(&drawn, |fate| fate.lost)));
        assert!((850..=1_150).contains(&count(&drawn, |fate| fate.duplicated)));
        assert!((3_700..=4_300).contains(&count(&drawn, |fate| fate.delay_ns == 0)));
        let without = fates(LinkConditions { loss_per_million: 0, ..all });
        assert_eq!(count(&without, |fate| fate.lost), 0);
        assert!(drawn.iter().zip(&without).all(|(one, other)| one.delay_ns == other.delay_ns));
        let certain = fates(LinkConditions { loss_per_million: 1_000_000, ..all });
        assert_eq!(count(&certain, |fate| fate.lost), DRAWS);
    }

    #[test]
    fn scopes_are_the_pairs_they_say() {
        let draw = |scope: LinkScope, nodes| scope.draw_pairs(nodes, &mut stream(3, "test", 0));
        assert_eq!(draw(LinkScope::Nodes, 5).len(), 20);
        assert_eq!(draw(LinkScope::Clients, 5).len(), 10);
        assert_eq!(draw(LinkScope::All, 5).len(), 30);
        assert_eq!(draw(LinkScope::RandomPairs, 5).len(), 10);
        let one = draw(LinkScope::OneNode, 5);
        assert_eq!(one.len(), 8);
        assert!((1..=5).any(|node| one.iter().all(|(from, to)| {
            let node = Endpoint::Node(NodeId(node));
            *from == node || *to == node
        })));
        for scope in LinkScope::ALL {
            let pairs = draw(scope, scope.nodes_min().max(2));
            assert!(pairs.is_sorted() && pairs.iter().all(|(from, to)| from != to), "{scope}: {pairs:?}");
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
    }

    #[test]
    fn a_line_is_busy_as_long_as_its_bandwidth_says() {
        let line = LinkConditions { bandwidth_bytes_per_s: 125_000, ..Default::default() };
        assert_eq!(line.transmission_ns(1_250), 10 * MILLISECOND_NS);
        assert_eq!(LinkConditions::default().transmission_ns(1_250), 0);
        assert!(line.is_bad() && !LinkConditions::default().is_bad());
    }
}
