//! What repair costs: Merkle trees and bitmap version vectors on a million keys, in one process, without a network. Every message is
//! encoded and decoded as on the wire.
//!
//! `cargo bench -p hearsay-core --bench repair`; times are the processor's. A number behind `--` is the number of keys, in place of a million.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use hearsay_core::anti_entropy::{AntiEntropy, SessionReport, SyncHost};
use hearsay_core::causal::{CausalConfig, CausalContent, CausalStore, ExchangeMessage, Exchanges, VersionVector};
use hearsay_core::message::{PeerMessage, SyncMessage};
use hearsay_core::ring::Ring;
use hearsay_core::table::Table;
use hearsay_core::{ClusterConfig, Key, NodeId, Planted, Time, Value, Version, WallTime, WriteBatch, codec};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const DIFFERING: usize = 1_000;
const VALUE_BYTES: usize = 100;

fn main() {
    let keys = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(1_000_000_usize);
    println!(
        "{keys} keys of 10 bytes with values of {VALUE_BYTES}, {DIFFERING} of them differing; 2 nodes, 2 replicas"
    );
    merkle(keys);
    version_vectors(keys);
}

fn key(number: usize) -> Key {
    Key(format!("{number:010}").into_bytes())
}

fn version(stamp: u64) -> Version {
    Version { stamp: WallTime(stamp), value: Some(Value(vec![stamp as u8; VALUE_BYTES])) }
}

/// Numbers below `keys`, spread, none twice: it is prime to every number of keys that is not its multiple.
fn spread(index: usize, keys: usize) -> usize {
    (index * 7_368_787) % keys
}

/// Resident memory of this process, in bytes; 0 where the system does not tell.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}

/// Time of the processor that this thread has used, so that a busy machine shows in no figure; the wall clock where the system does
/// not tell.
struct Began(Instant, Option<u64>);

impl Began {
    fn now() -> Began {
        Began(Instant::now(), Began::used_ns())
    }

    fn used_ns() -> Option<u64> {
        std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
    }

    fn seconds(&self) -> f64 {
        match (self.1, Began::used_ns()) {
            (Some(before), Some(after)) => (after - before) as f64 / 1e9,
            _ => self.0.elapsed().as_secs_f64(),
        }
    }
}

fn each_us(began: &Began, count: usize) -> f64 {
    began.seconds() * 1e6 / count as f64
}

struct Host {
    table: Table,
    sent: Vec<SyncMessage>,
}

impl SyncHost for Host {
    type Stored = Version;
    const JOINS: bool = false;
    fn merge(&mut self, key: Key, version: Version) -> bool {
        self.table.merge(key, version)
    }
    fn outgoing(&self, key: &Key) -> Option<Version> {
        self.table.get(key).cloned()
    }
    fn table(&mut self) -> &mut Table {
        &mut self.table
    }
    fn table_ref(&self) -> &Table {
        &self.table
    }
    fn send(&mut self, _to: NodeId, message: SyncMessage) {
        self.sent.push(message);
    }
    fn alive(&self, _peer: NodeId) -> bool {
        true
    }
}

fn merkle(keys: usize) {
    let depth = ClusterConfig::default().merkle_depth;
    let ring = Ring::new(&[A, B], 8, 2);
    let before = resident();
    let mut table: Table = Table::new(&ring.owned_token_ranges(A), depth);
    for number in 0..keys {
        table.merge(key(number), version(1));
    }
    table.merkle_roots();
    let each = (resident().saturating_sub(before)) / keys.max(1);
    println!("memory            lww {each} bytes a key in the table, trees of depth {depth} included");

    let updates = keys.min(200_000);
    let mut map: BTreeMap<Key, Version> = (0..keys).map(|number| (key(number), version(1))).collect();
    let chosen: Vec<(Key, Version)> = (0..updates).map(|index| (key(spread(index, keys)), version(2))).collect();
    let again = chosen.clone();
    let began = Began::now();
    for (key, version) in again {
        map.insert(key, version);
    }
    let reference_us = each_us(&began, updates);
    drop(map);
    let began = Began::now();
    for (key, version) in chosen {
        assert!(table.merge(key, version));
    }
    let merge_us = each_us(&began, updates);
    let began = Began::now();
    table.merkle_roots();
    let refresh_us = each_us(&began, updates);
    println!(
        "merkle update     {merge_us:.2} us a write with its leaf, {refresh_us:.2} us a write for the roots afterwards; a plain map takes {reference_us:.2} us"
    );

    let sync =
        |node: NodeId| AntiEntropy::new(&ring, node, 0, u64::from(node.0), ChaCha8Rng::from_seed([1; 32]), Time(0));
    let (mut a, mut b) = (sync(A), sync(B));
    let mut mine = Host { table: table.clone(), sent: Vec::new() };
    let mut theirs = Host { table, sent: Vec::new() };
    for index in 0..DIFFERING.min(keys) {
        let side = if index % 2 == 0 { &mut mine } else { &mut theirs };
        side.table.merge(key(spread(index, keys)), version(3));
    }
    let (mut bytes, mut compared) = (0, 0);
    let began = Began::now();
    let report: SessionReport = {
        a.request_session(Time(0), B, &mut mine);
        loop {
            if let Some(report) = a.take_finished().pop() {
                break report;
            }
            let wire = |message: SyncMessage, bytes: &mut usize| {
                let frame = codec::encode(&PeerMessage::Sync(message));
                *bytes += frame.len();
                match codec::decode(&frame).expect("an own frame") {
                    PeerMessage::Sync(message) => message,
                    _ => unreachable!("a sync message went in"),
                }
            };
            let question = wire(mine.sent.pop().expect("a session asks"), &mut bytes);
            if let SyncMessage::Leaves { pages, .. } = &question {
                compared += pages.iter().map(|page| page.entries.len()).sum::<usize>();
            }
            b.on_sync(Time(0), A, question, &mut theirs);
            let answer = wire(theirs.sent.pop().expect("an answer"), &mut bytes);
            a.on_sync(Time(0), B, answer, &mut mine);
        }
    };
    let seconds = began.seconds();
    assert_eq!(mine.table.state_digest(), theirs.table.state_digest(), "the session repaired all of it");
    let payload = DIFFERING * (10 + VALUE_BYTES);
    println!(
        "merkle repair     {:.3} s, {} questions, {} leaves, {:.1} keys exchanged for each that differs, {bytes} bytes: {:.2} times what differs",
        seconds,
        report.rounds,
        report.leaves_compared,
        (compared as u64 + report.keys_sent + report.keys_received) as f64 / DIFFERING as f64,
        bytes as f64 / payload as f64
    );
}

struct Node {
    store: CausalStore,
    exchanges: Exchanges,
}

fn node(id: NodeId) -> Node {
    let ring = Arc::new(Ring::new(&[A, B], 8, 2));
    let merkle_depth = ClusterConfig::default().merkle_depth;
    let config = CausalConfig { merkle_depth, log_max: 10_000_000, planted: Planted::NONE };
    let life = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(id.0));
    let content = CausalContent::default();
    Node {
        store: CausalStore::open(id, life, ring, config, content, &mut WriteBatch::default()),
        exchanges: Exchanges::new(life),
    }
}

/// One exchange of A with B; pages and bytes on the wire.
fn exchange(a: &mut Node, b: &mut Node) -> (usize, usize) {
    let (mut pages, mut bytes) = (0, 0);
    let wire = |message: ExchangeMessage, bytes: &mut usize| -> ExchangeMessage {
        let frame = codec::encode(&message);
        *bytes += frame.len();
        codec::decode(&frame).expect("an own frame")
    };
    let mut request = a.exchanges.start(Time(0), B, &a.store);
    while let Some(question) = request {
        let mut durable = WriteBatch::default();
        let question = wire(question, &mut bytes);
        let reaction = b.exchanges.on_message(Time(0), A, question, &mut b.store, &mut durable);
        let answer = wire(reaction.and_then(|reaction| reaction.send).expect("an answer"), &mut bytes);
        let reaction = a.exchanges.on_message(Time(0), B, answer, &mut a.store, &mut durable).expect("awaited");
        request = reaction.send;
        pages += 1;
    }
    (pages, bytes)
}

fn version_vectors(keys: usize) {
    let (mut a, mut b) = (node(A), node(B));
    // Both are empty, so that all is compared.
    exchange(&mut a, &mut b);
    a.exchanges.on_compared(B);
    let before = resident();
    let write = |node: &mut Node, number: usize, stamp: u8| {
        let seen: VersionVector = node.store.get(&key(number)).vector().clone();
        node.store.write(&key(number), Some(Value(vec![stamp; VALUE_BYTES])), &seen, &mut WriteBatch::default());
    };
    let began = Began::now();
    for number in 0..keys {
        write(&mut b, number, 1);
    }
    let write_us = each_us(&began, keys);
    let logged = b.store.log().len();
    let with_log = resident().saturating_sub(before) / keys.max(1);
    exchange(&mut a, &mut b);
    let settle = |a: &mut Node, b: &mut Node| {
        // A's next question says that it knows all; B forgets the log in steps.
        exchange(a, b);
        while !b.store.log().is_empty() || !a.store.log().is_empty() {
            a.store.prune_step(&mut WriteBatch::default());
            b.store.prune_step(&mut WriteBatch::default());
        }
    };
    settle(&mut a, &mut b);
    println!(
        "memory            dcc {with_log} bytes a key, its log entry included ({logged} logged); {write_us:.2} us a write"
    );
    for index in 0..DIFFERING.min(keys) {
        write(&mut b, spread(index, keys), 2);
    }
    let began = Began::now();
    let (pages, bytes) = exchange(&mut a, &mut b);
    let seconds = began.seconds();
    assert_eq!(a.store.table().state_digest(), b.store.table().state_digest(), "the exchange repaired all of it");
    let payload = DIFFERING * (10 + VALUE_BYTES);
    println!(
        "version vectors   {seconds:.3} s, {pages} pages, {bytes} bytes: {:.2} times what differs",
        bytes as f64 / payload as f64
    );
}
