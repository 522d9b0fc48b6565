//! The register workload: put, get and delete on a few keys.
//!
//! Open loop: the times of a client's operations are drawn in advance, whatever the cluster does, so that a slow cluster
//! is not asked less. Values count up over the whole run, so that a value names its write. With few keys, a write is soon
//! followed by reads of the same key by other clients at other coordinators: what stale replicas need to be seen.
//!
//! Invariant: times, kinds, keys and coordinators come from separate streams per client. Neither faults nor other
//! clients shift them.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::{Action, GeneratedOperation, Level, OPERATIONS_MAX, stream};

/// Parameters of the register workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterSpec {
    /// Number of registers in use at a time; they are called `k0`, `k1`, ...
    pub keys: u32,
    /// Number of clients. Each does one operation at a time.
    pub clients: u32,
    /// Operations per second of all clients together.
    pub rate_per_s: u32,
    /// How often each kind of operation is drawn.
    pub mix: Mix,
    /// Level of reads.
    pub read_level: Level,
    /// Level of writes and deletes.
    pub write_level: Level,
    /// So many of the clients keep to one coordinator each; the others draw a coordinator for every operation.
    pub sticky_clients: u32,
    /// How keys are drawn.
    pub key_choice: KeyChoice,
    /// After so long, in milliseconds, all keys are left and as many fresh ones take their place; 0: never. What a replica
    /// missed of a key that nobody reads any more, only anti-entropy brings.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub key_life_ms: u64,
    /// A share of the operations goes to a few keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hot: Option<Hot>,
    /// Least bytes of a stored value: shorter ones are padded. 0: as short as it goes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub value_bytes: u64,
    /// Of the replicas that a read asks so many must be the key's own, no stand-ins (Riak's PR).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_primaries: Option<Level>,
    /// Of the replicas that acknowledge a write so many must be the key's own (Riak's PW).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_primaries: Option<Level>,
    /// So many percent of the operations have to succeed while there are faults: what the checker availability judges by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_in_faults_percent: Option<u8>,
    /// How long a client waits before it records an operation as unknown, in milliseconds.
    pub client_timeout_ms: u64,
    /// An operation that could start only so much too late, in milliseconds, is skipped and counted.
    pub overdue_skip_ms: u64,
}

/// Weights of the kinds of operations. At least one is above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// Weight of reads.
    pub read: u32,
    /// Weight of writes.
    pub write: u32,
    /// Weight of deletes.
    pub delete: u32,
}

/// How keys are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyChoice {
    /// All alike.
    Uniform,
    /// The i-th key with weight 1/i: the first ones are hot.
    Zipf,
}

/// Keys that are asked more often than others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hot {
    /// The first so many.
    pub keys: u32,
    /// Operations of a hundred that go to one of them; the others go to the other keys.
    pub share_percent: u32,
}

impl RegisterSpec {
    /// The checkers that can judge the history of registers.
    pub const CHECKERS: &'static [&'static str] = &[
        "monotonic-reads",
        "monotonic-quorum-reads",
        "read-your-writes",
        "linearizable",
        "convergence",
        "acknowledged-writes",
        "availability",
    ];

    /// Further consistency models that a history of registers can be judged by. They take time, and few campaigns promise
    /// them, so they judge where one expects them.
    pub fn models() -> impl Iterator<Item = &'static str> {
        let all = hearsay_checkers::REGISTER_MODELS.iter().map(|model| model.name);
        all.filter(|name| !Self::CHECKERS.contains(name))
    }

    /// All operations, by client, then time.
    ///
    /// # Panics
    ///
    /// When `nodes`, `keys`, `clients`, `rate_per_s` or all of the mix is zero, or there would be more than
    /// [`OPERATIONS_MAX`]: who parsed the parameters has refused that.
    pub fn generate(&self, nodes: u16, load_ms: u64, seed: u64) -> Vec<GeneratedOperation> {
        assert!(nodes > 0 && self.keys > 0 && self.clients > 0 && self.rate_per_s > 0, "an empty workload: {self:?}");
        assert!(self.sticky_clients <= self.clients, "more clients stick than there are: {self:?}");
        assert!(load_ms.saturating_mul(u64::from(self.rate_per_s)) / 1000 <= OPERATIONS_MAX, "too many: {self:?}");
        let keys = Weighted::new((0..self.keys).map(|key| (key, self.key_weight(key))));
        let first_home = stream(seed, "register-home", 0).random_range(0..u32::from(nodes));
        let mut operations = Vec::new();
        for client in 0..self.clients {
            let home = (client < self.sticky_clients)
                .then(|| u16::try_from((first_home + client) % u32::from(nodes)).expect("below a u16"));
            self.generate_client(client, home, nodes, load_ms, seed, &keys, &mut operations);
        }
        number_the_writes(&mut operations);
        operations
    }

    #[expect(clippy::too_many_arguments, reason = "one call; a struct for it would only rename them")]
    fn generate_client(
        &self,
        client: u32,
        home: Option<u16>,
        nodes: u16,
        load_ms: u64,
        seed: u64,
        keys: &Weighted<u32>,
        operations: &mut Vec<GeneratedOperation>,
    ) {
        let index = u64::from(client);
        let mut when = stream(seed, "register-when", index);
        let mut what = stream(seed, "register-what", index);
        let mut where_to = stream(seed, "register-where", index);
        let mut which = stream(seed, "register-which", index);
        let Mix { read, write, delete } = self.mix;
        let mix = Weighted::new(
            [(Kind::Read, read), (Kind::Write, write), (Kind::Delete, delete)].map(|(kind, w)| (kind, u64::from(w))),
        );
        let gap_us = (u64::from(self.clients) * 1_000_000 / u64::from(self.rate_per_s)).max(2);
        let mut at_us = when.random_range(0..gap_us);
        while at_us < load_ms * 1000 {
            let drawn_node = where_to.random_range(0..nodes);
            let life = (at_us / 1000).checked_div(self.key_life_ms).unwrap_or(0);
            let key = key_name(u64::from(keys.draw(&mut which)) + life * u64::from(self.keys));
            let action = match mix.draw(&mut what) {
                Kind::Read => Action::Read { key },
                Kind::Write => Action::Write { key, value: 0 },
                Kind::Delete => Action::Delete { key },
            };
            operations.push(GeneratedOperation {
                at_ms: at_us / 1000,
                client,
                node: home.unwrap_or(drawn_node),
                action,
            });
            at_us += when.random_range(gap_us / 2..=gap_us + gap_us / 2);
        }
    }

    fn key_weight(&self, key: u32) -> u64 {
        if let Some(Hot { keys, share_percent }) = self.hot {
            // Each share in equal parts among its keys: multiplied out, so that no part is rounded.
            let (hot, cold) = (u64::from(keys), u64::from(self.keys.saturating_sub(keys)).max(1));
            let share = u64::from(share_percent.min(100));
            return if key < keys { share * cold } else { (100 - share) * hot };
        }
        match self.key_choice {
            KeyChoice::Uniform => 1,
            KeyChoice::Zipf => 1_000_000_000 / (u64::from(key) + 1),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Things to draw from, with the sum of the weights up to and including each.
struct Weighted<T> {
    cumulated: Vec<(u64, T)>,
    total: u64,
}

impl<T: Copy> Weighted<T> {
    fn new(weights: impl IntoIterator<Item = (T, u64)>) -> Weighted<T> {
        let mut total = 0;
        let cumulated = weights.into_iter().map(|(thing, weight)| {
            total += weight;
            (total, thing)
        });
        let cumulated = cumulated.collect();
        assert!(total > 0, "nothing to draw from: every weight is zero");
        Weighted { cumulated, total }
    }

    fn draw(&self, random: &mut impl Rng) -> T {
        let at = random.random_range(0..self.total);
        let position = self.cumulated.partition_point(|(until, _)| *until <= at);
        self.cumulated[position].1
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Read,
    Write,
    Delete,
}

fn key_name(key: u64) -> String {
    format!("k{key}")
}

/// Values count up from 1 in the order of time, over all clients and keys.
fn number_the_writes(operations: &mut [GeneratedOperation]) {
    let mut order: Vec<usize> = (0..operations.len()).collect();
    order.sort_by_key(|&position| (operations[position].at_ms, operations[position].client));
    let mut next = 1;
    for position in order {
        if let Action::Write { value, .. } = &mut operations[position].action {
            *value = next;
            next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn spec() -> RegisterSpec {
        RegisterSpec {
            keys: 30,
            clients: 10,
            rate_per_s: 500,
            mix: Mix { read: 50, write: 45, delete: 5 },
            read_level: Level::Quorum,
            write_level: Level::Quorum,
            sticky_clients: 2,
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
    fn its_checkers_exist() {
        for name in RegisterSpec::CHECKERS.iter().copied().chain(RegisterSpec::models()) {
            assert!(hearsay_checkers::find(name).is_some(), "no checker is called {name}");
        }
    }

    #[test]
    fn equal_seeds_give_equal_operations_and_others_do_not() {
        assert_eq!(spec().generate(5, 4_000, 7), spec().generate(5, 4_000, 7));
        assert_ne!(spec().generate(5, 4_000, 7), spec().generate(5, 4_000, 8));
    }

    #[test]
    fn operations_come_by_client_then_time_and_within_the_load() {
        let operations = spec().generate(5, 4_000, 7);
        assert!(operations.is_sorted_by_key(|operation| (operation.client, operation.at_ms)));
        assert!(operations.iter().all(|operation| operation.at_ms < 4_000 && operation.node < 5));
        let clients: BTreeSet<u32> = operations.iter().map(|operation| operation.client).collect();
        assert_eq!(clients.len(), 10);
    }

    #[test]
    fn the_rate_and_the_mix_are_met() {
        let operations = spec().generate(5, 60_000, 7);
        let share = |kind: fn(&Action) -> bool| {
            operations.iter().filter(|operation| kind(&operation.action)).count() as f64 / operations.len() as f64
        };
        assert!((29_000..31_000).contains(&operations.len()), "{} operations", operations.len());
        assert!((share(|action| matches!(action, Action::Read { .. })) - 0.5).abs() < 0.02);
        assert!((share(|action| matches!(action, Action::Delete { .. })) - 0.05).abs() < 0.01);
    }

    #[test]
    fn keys_are_left_for_fresh_ones_at_the_end_of_their_life() {
        let operations = RegisterSpec { key_life_ms: 5_000, ..spec() }.generate(5, 20_000, 7);
        for operation in &operations {
            let key = operation.action.key();
            let number: u64 = key[1..].parse().expect("keys are numbered");
            assert_eq!(number / 30, operation.at_ms / 5_000, "{key} is used at {} ms", operation.at_ms);
        }
        let keys: BTreeSet<&str> = operations.iter().map(|operation| operation.action.key()).collect();
        assert_eq!(keys.len(), 120);
    }

    #[test]
    fn hot_keys_get_their_share() {
        let spec = RegisterSpec { hot: Some(Hot { keys: 2, share_percent: 80 }), ..spec() };
        let operations = spec.generate(5, 60_000, 7);
        let hot = operations.iter().filter(|operation| ["k0", "k1"].contains(&operation.action.key())).count();
        let share = hot as f64 / operations.len() as f64;
        assert!((share - 0.8).abs() < 0.02, "{share}");
        let all = RegisterSpec { hot: Some(Hot { keys: 30, share_percent: 80 }), ..spec };
        assert!(!all.generate(5, 1_000, 7).is_empty(), "all keys hot are all alike");
    }

    #[test]
    fn values_are_unique_over_the_run() {
        let operations = spec().generate(5, 20_000, 7);
        let mut seen = BTreeSet::new();
        for operation in &operations {
            if let Action::Write { value, .. } = operation.action {
                assert!(value > 0 && seen.insert(value), "{value} is written twice");
            }
        }
        assert!(seen.len() > 4_000);
    }

    #[test]
    fn sticky_clients_keep_to_a_node_of_their_own_and_the_others_roam() {
        let mut nodes: BTreeMap<u32, BTreeSet<u16>> = BTreeMap::new();
        for operation in spec().generate(5, 10_000, 7) {
            nodes.entry(operation.client).or_default().insert(operation.node);
        }
        for (client, nodes) in &nodes {
            assert_eq!(nodes.len(), if *client < 2 { 1 } else { 5 }, "client {client}: {nodes:?}");
        }
        assert_ne!(nodes[&0], nodes[&1]);
    }

    #[test]
    fn zipf_makes_the_first_key_hot() {
        let zipf = RegisterSpec { key_choice: KeyChoice::Zipf, ..spec() };
        let share = |spec: &RegisterSpec| {
            let operations = spec.generate(5, 20_000, 7);
            operations.iter().filter(|operation| operation.action.key() == "k0").count() as f64
                / operations.len() as f64
        };
        // The 30th harmonic number is 3.99: the first key gets a quarter.
        assert!((share(&zipf) - 0.25).abs() < 0.03, "{}", share(&zipf));
        assert!((share(&spec()) - 1.0 / 30.0).abs() < 0.01, "{}", share(&spec()));
    }

    #[test]
    fn a_longer_load_or_another_mix_keeps_the_times_and_places() {
        let short = spec().generate(5, 4_000, 7);
        let reads = RegisterSpec { mix: Mix { read: 1, write: 0, delete: 0 }, ..spec() }.generate(5, 8_000, 7);
        let places = |operations: &[GeneratedOperation]| -> Vec<(u64, u32, u16, String)> {
            let short = operations.iter().filter(|operation| operation.at_ms < 4_000);
            short.map(|o| (o.at_ms, o.client, o.node, o.action.key().to_owned())).collect()
        };
        assert_eq!(places(&short), places(&reads));
    }
}
