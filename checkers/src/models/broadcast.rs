//! Reliable broadcast: every message to every node, once (Hadzilacos and Toueg, 1994; Cachin, Guerraoui and Rodrigues,
//! *Introduction to Reliable and Secure Distributed Programming*, 2011, chapter 3).
//!
//! Operations `publish` (or `broadcast`) give a message to the node in their `:node`; each `deliver` is one or several
//! messages (a list) that the node in its `:node` handed to its application, or a map with `:message` and `:hops`. Records
//! `crash` of a named process say which nodes (`:value`) are not correct. `delivered` is a list of all that the node delivered since
//! it started, asked for afterwards: it says nothing of latency. A node may be named with its process, as `n3#2`: each process is
//! a node of its own, and a publish to `n3` is owed to the process that acknowledged it. Judged are:
//!
//! - *no creation* (integrity): nothing is delivered that nobody published before;
//! - *no duplication*: no node delivers a message twice;
//! - *validity*: a correct node delivers what it published itself;
//! - *agreement*: what one node delivered, every correct node delivers.
//!
//! The last two may need more time, so a history must go on until the messages have spread; they are liveness. A message
//! whose publish is indeterminate may be delivered or not, but by all or none. Latency is from the beginning of the
//! publish to each delivery. Unknown: nothing was delivered, or fewer than two nodes are known.

use std::collections::{BTreeMap, BTreeSet};

use crate::data;
use crate::explain::{counted, sentence};
use crate::record::{Datum, Process, Record, Recording};
use crate::{Case, CheckOptions, EventType, Judgement, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "broadcast";

/// Judges a case.
pub(crate) fn check(case: &Case, _options: &CheckOptions) -> Verdict {
    let verdict = Verdict::new(NAME);
    match &case.recording {
        Some(recording) => Broadcast::of(recording).judge(verdict),
        None => verdict.because(Judgement::Unknown, "There is no recording whose values are data."),
    }
}

/// A published message.
struct Message<'r> {
    /// Position of its first invocation.
    began: usize,
    publish: &'r Record,
    acknowledged: bool,
    /// The node, with its process if that is known.
    origin: String,
}

#[derive(Default)]
struct Broadcast<'r> {
    messages: BTreeMap<&'r Datum, Message<'r>>,
    /// First delivery by message and node, with its hops.
    deliveries: BTreeMap<&'r Datum, BTreeMap<String, (usize, &'r Record)>>,
    nodes: BTreeSet<String>,
    crashed: BTreeSet<String>,
    twice: Vec<(&'r Datum, &'r Record, &'r Record)>,
    delivered: u64,
    hops: BTreeMap<&'r Datum, i64>,
}

/// The node of a record: as it says, else its process.
fn node_of(record: &Record) -> String {
    match (&record.node, &record.process) {
        (Some(node), _) => node.to_string(),
        (None, Process::Named(name)) => name.to_string(),
        (None, process) => process.to_string(),
    }
}

/// The messages of a delivery, each with its hops.
fn messages_of(value: &Datum) -> Vec<(&Datum, Option<i64>)> {
    match (value.get("message"), value.items()) {
        (Some(message), _) => vec![(message, value.get("hops").and_then(Datum::as_int))],
        (None, Some(items)) => items.iter().flat_map(messages_of).collect(),
        (None, None) if value.is_nil() => Vec::new(),
        (None, None) => vec![(value, None)],
    }
}

impl<'r> Broadcast<'r> {
    fn of(recording: &'r Recording) -> Broadcast<'r> {
        let mut all = Broadcast::default();
        for (position, record) in recording.records.iter().enumerate() {
            match (record.f.as_ref(), record.kind) {
                ("publish" | "broadcast", EventType::Invoke) => {
                    all.nodes.insert(node_of(record));
                    let origin = node_of(record);
                    let message = Message { began: position, publish: record, acknowledged: false, origin };
                    all.messages.entry(&record.value).or_insert(message);
                }
                ("publish" | "broadcast", EventType::Ok) => {
                    if let Some(message) = all.messages.get_mut(&record.value) {
                        message.acknowledged = true;
                        let process = node_of(record);
                        if process.contains('#') {
                            message.origin = process;
                        }
                    }
                }
                ("deliver" | "delivered", EventType::Ok) => all.deliver(position, record),
                ("crash" | "kill", _) => {
                    let nodes = record.value.items().unwrap_or(std::slice::from_ref(&record.value));
                    all.crashed.extend(nodes.iter().filter_map(Datum::as_name).map(str::to_owned));
                }
                _ => {}
            }
        }
        // Where processes delivered, the nodes are the processes that said so.
        if all.nodes.iter().any(|node| node.contains('#')) {
            all.nodes.retain(|node| node.contains('#'));
        }
        all
    }

    fn deliver(&mut self, position: usize, record: &'r Record) {
        let node = node_of(record);
        for (message, hops) in messages_of(&record.value) {
            self.delivered += 1;
            let of_message = self.deliveries.entry(message).or_default();
            match of_message.get(&node) {
                Some((_, before)) => self.twice.push((message, before, record)),
                None => {
                    of_message.insert(node.clone(), (position, record));
                }
            }
            if let Some(hops) = hops {
                let last = self.hops.entry(message).or_insert(hops);
                *last = hops.max(*last);
            }
        }
        self.nodes.insert(node);
    }

    fn judge(&self, mut verdict: Verdict) -> Verdict {
        let correct: Vec<&String> = self.nodes.difference(&self.crashed).collect();
        let mut created: Vec<(&Datum, &Record, bool)> = Vec::new();
        let mut latencies = Vec::new();
        for (message, of_message) in &self.deliveries {
            for (position, record) in of_message.values() {
                match self.messages.get(message) {
                    Some(published) if published.began < *position && record.f.as_ref() == "delivered" => {}
                    Some(published) if published.began < *position => {
                        latencies.extend(data::ms_between(published.publish.time, record.time));
                    }
                    published => created.push((message, record, published.is_some())),
                }
            }
        }
        // Missing at a correct node: published there and acknowledged, or delivered anywhere.
        let (mut invalid, mut disagreed) = (Vec::new(), Vec::new());
        let nobody = BTreeMap::new();
        for (message, published) in &self.messages {
            let of_message = self.deliveries.get(message).unwrap_or(&nobody);
            for node in correct.iter().filter(|node| !of_message.contains_key(node.as_str())) {
                if published.acknowledged && ***node == published.origin {
                    invalid.push((*message, *node));
                } else if !of_message.is_empty() {
                    disagreed.push((*message, *node));
                }
            }
        }
        let everywhere = self.messages.keys().filter(|message| {
            let of_message = self.deliveries.get(*message).unwrap_or(&nobody);
            correct.iter().all(|node| of_message.contains_key(node.as_str()))
        });
        verdict.count("messages", self.messages.len() as u64);
        verdict.count("nodes", self.nodes.len() as u64);
        verdict.count("correct_nodes", correct.len() as u64);
        verdict.count("deliveries", self.delivered);
        verdict.count("delivered_everywhere", everywhere.count() as u64);
        verdict.count("duplicates", self.twice.len() as u64);
        verdict.count("created", created.len() as u64);
        verdict.count("missing_at_origin", invalid.len() as u64);
        verdict.count("missing", disagreed.len() as u64);
        data::distribution(&mut verdict, "latency", latencies);
        if let Some(last_hop) = self.hops.values().max() {
            verdict.measure("last_hop_mean", self.hops.values().sum::<i64>() as f64 / self.hops.len() as f64);
            verdict.measure("last_hop_max", *last_hop as f64);
        }
        if let Some((message, record, published)) = created.first() {
            verdict.found("created", created.len() as u64);
            verdict.involve(record.op_index());
            let why = if *published { "before anybody began to publish it" } else { "which nobody published" };
            let index = record.op_index();
            verdict.explanation.push(format!("Node {} delivered {message} ({index}), {why}.", node_of(record)));
        }
        if let Some((message, before, record)) = self.twice.first() {
            verdict.found("duplicate", self.twice.len() as u64);
            verdict.involve(before.op_index());
            verdict.involve(record.op_index());
            let (first, second) = (before.op_index(), record.op_index());
            verdict
                .explanation
                .push(format!("Node {} delivered {message} twice ({first} and {second}).", node_of(record)));
        }
        let safe = verdict.kinds.is_empty();
        for (kind, missing, origin) in [("missing-at-origin", &invalid, true), ("missing", &disagreed, false)] {
            let Some((message, node)) = missing.first() else { continue };
            verdict.found(kind, missing.len() as u64);
            verdict.involve(self.messages[message].publish.op_index());
            let delivered = self.deliveries.get(message).and_then(|of_message| of_message.first_key_value());
            let why = match (origin, delivered) {
                (false, Some((other, (_, record)))) => format!("node {other} delivered it ({})", record.op_index()),
                _ => "it was published there and acknowledged".to_owned(),
            };
            verdict.explanation.push(format!("Node {node} never delivered {message}, though {why}."));
        }
        verdict.violations = verdict.kinds.iter().map(|kind| kind.count).sum();
        if verdict.violations > 0 {
            verdict.liveness = safe;
            verdict.judgement = Judgement::Violated;
            return verdict;
        }
        if self.delivered == 0 || self.nodes.len() < 2 {
            return verdict.because(Judgement::Unknown, "Fewer than two nodes took part, or nothing was delivered.");
        }
        let deliveries = sentence(&counted(self.delivered, "delivery").replace("deliverys", "deliveries"));
        let messages = counted(self.messages.len() as u64, "message");
        verdict.because(
            Judgement::Holds,
            format!(
                "{deliveries} of {messages} at {}: none twice, none made up, none missing.",
                counted(self.nodes.len() as u64, "node")
            ),
        )
    }
}
