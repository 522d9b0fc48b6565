//! Every event of a run, one by one, for whoever looks for the first that differs between two runs: when, where, a digest
//! of all of it, and words where they are wanted.
//!
//! They leave in chunks over a bounded channel; what is done with them is the receiver's affair (it writes them to a file,
//! or compares them with another run's). When it has gone away, the run goes on without.

use std::fmt::Write;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use hearsay_core::message::{PeerMessage, ReadAnswer, ScanAnswer, SyncMessage};
use hearsay_core::{
    ClientRequest, ClientResponse, Event as NodeEvent, Input, Key, KeyRange, Lane, Link, NodeId, Value, Version,
    WriteBatch, stored_key, stored_version,
};

/// Events that leave together.
const CHUNK: usize = 1_024;
/// Chunks that may wait for the receiver.
const CHUNKS_WAITING: usize = 4;
/// Bytes of words kept of an event.
const WORDS_MAX: usize = 4_096;

/// An event of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedEvent {
    /// Nanoseconds of the world.
    pub time: u64,
    /// Its number in the order of planning; of a line of the history or on a fault, that of the event before it.
    pub sequence: u64,
    /// The node that handles it; `None`: a line of the history or on a fault.
    pub node: Option<NodeId>,
    /// Of everything that goes in and comes out.
    pub digest: u64,
    /// What goes in and what comes out, where words are wanted.
    pub words: Vec<String>,
}

/// Where a run sends its events.
#[derive(Debug)]
pub struct Events {
    sender: SyncSender<Vec<LoggedEvent>>,
    /// By position, from 0.
    worded: Range<u64>,
    count: u64,
    chunk: Vec<LoggedEvent>,
    words_bytes: usize,
    /// Where the bytes of the event begin in the buffer of the hash.
    begin: usize,
}

impl Events {
    /// Events and their receiver. `worded`: the positions of those that get words.
    pub fn channel(worded: Range<u64>) -> (Events, Receiver<Vec<LoggedEvent>>) {
        let (sender, receiver) = sync_channel(CHUNKS_WAITING);
        (Events { sender, worded, count: 0, chunk: Vec::new(), words_bytes: 0, begin: 0 }, receiver)
    }

    /// An event begins, at this place of the buffer.
    pub(super) fn begin(&mut self, (time, sequence): (u64, u64), node: Option<NodeId>, begin: usize) {
        self.chunk.push(LoggedEvent { time, sequence, node, digest: 0, words: Vec::new() });
        self.count += 1;
        self.words_bytes = 0;
        self.begin = begin;
    }

    /// The buffer begins anew, and with it the event under way.
    pub(super) fn moved_to(&mut self, begin: usize) {
        self.begin = begin;
    }

    /// The event under way has ended; false: nobody listens any more.
    pub(super) fn end(&mut self, buffer: &[u8]) -> bool {
        let Some(last) = self.chunk.last_mut().filter(|_| self.begin <= buffer.len()) else { return true };
        let hash = blake3::hash(&buffer[self.begin..]);
        last.digest = u64::from_le_bytes(hash.as_bytes()[..8].try_into().expect("eight bytes"));
        self.begin = usize::MAX;
        self.chunk.len() < CHUNK || self.sender.send(std::mem::take(&mut self.chunk)).is_ok()
    }

    /// The run has ended.
    pub(super) fn finish(mut self, buffer: &[u8]) {
        if self.end(buffer) {
            // Nobody listening is nobody's loss.
            let _ = self.sender.send(self.chunk);
        }
    }

    /// Says something about the event under way.
    pub(super) fn say(&mut self, words: impl FnOnce() -> String) {
        if self.count == 0 || !self.worded.contains(&(self.count - 1)) || self.words_bytes > WORDS_MAX {
            return;
        }
        if let Some(last) = self.chunk.last_mut() {
            let mut words = words();
            if let Some((at, _)) = words.char_indices().nth(WORDS_MAX) {
                words.truncate(at);
                words.push_str(" ...");
            }
            self.words_bytes += words.len();
            last.words.push(words);
        }
    }
}

/// What a node takes.
pub(super) fn input(input: &Input, number: u64) -> String {
    match input {
        Input::Peer { from, message: said } => format!("takes message {number} of {from}: {}", message(said)),
        Input::Client { request_id, request: asked } => format!("takes request {}: {}", request_id.0, request(asked)),
        Input::Deadline => "takes a deadline".to_owned(),
        Input::Link { peer, state: Link::Up } => format!("hears that its link to {peer} is up"),
        Input::Link { peer, state: Link::Down } => format!("hears that its link to {peer} is down"),
    }
}

pub(super) fn send(to: NodeId, lane: Lane, number: u64, said: &PeerMessage) -> String {
    let lane = format!("{lane:?}").to_lowercase();
    format!("sends message {number} to {to} on the {lane} lane: {}", message(said))
}

pub(super) fn durable(batch: &WriteBatch) -> String {
    let puts = batch.puts.iter().map(|(key, value)| match stored_version(key, value) {
        Some((key, stored)) => version(&key, &stored),
        None => format!("\"{}\"", key.escape_ascii()),
    });
    let deletes = batch.deletes.iter().map(|key| match stored_key(key) {
        Some(key) => format!("nothing for {}", text(&key)),
        None => format!("nothing for \"{}\"", key.escape_ascii()),
    });
    format!("stores {}", puts.chain(deletes).collect::<Vec<_>>().join(", "))
}

pub(super) fn reply(request: u64, response: &ClientResponse) -> String {
    let said = match response {
        ClientResponse::Written { stamp } => format!("written, stamp {}", stamp.0),
        ClientResponse::Read { value: read, stamp } => {
            let read = read.as_ref().map_or("nothing".to_owned(), value);
            format!("{read}, stamp {}", stamp.map_or("none".to_owned(), |stamp| stamp.0.to_string()))
        }
        ClientResponse::Failed(error) => format!("failed: {}", error.message),
        ClientResponse::Siblings { values, .. } => {
            format!("{} siblings {}", values.len(), values.iter().map(value).collect::<Vec<_>>().join(", "))
        }
        ClientResponse::Status(status) => format!("its status: {status:?}"),
        ClientResponse::Entries { entries, more } => format!("{} entries, more: {more}", entries.len()),
        ClientResponse::Repaired { done, left_out } => format!("repaired {done:?}, left out {left_out:?}"),
        ClientResponse::Rows { rows, next } => {
            format!("{} rows, {}", rows.len(), if next.is_some() { "more behind" } else { "no more" })
        }
        ClientResponse::Published { id } => format!("published, number {} of {}", id.sequence, id.origin),
        ClientResponse::Deliveries { deliveries, missed, .. } => {
            format!("{} deliveries, {missed} missed", deliveries.len())
        }
        ClientResponse::Members { members, more } => format!("{} members, more: {more}", members.len()),
        ClientResponse::Options { options, more } => format!("{} options, more: {more}", options.len()),
        ClientResponse::OptionSet { version } => format!("changed, version {version}"),
        ClientResponse::Overlay(report) => format!("{} neighbours", report.active.len()),
        ClientResponse::Replicas(nodes) => format!("the replicas {nodes:?}"),
    };
    format!("answers request {request}: {said}")
}

pub(super) fn event(event: &NodeEvent) -> String {
    match event {
        NodeEvent::PeerUp(peer) => format!("holds {peer} for alive"),
        NodeEvent::PeerDown(peer) => format!("holds {peer} for dead"),
        NodeEvent::CatchingUp => "is catching up".to_owned(),
        NodeEvent::CaughtUp => "has caught up".to_owned(),
        NodeEvent::Warning(sentence) => format!("warns: {sentence}"),
    }
}

fn range(keys: &KeyRange) -> String {
    let to = keys.to.as_ref().map_or("the end".to_owned(), |to| to.0.escape_ascii().to_string());
    format!("from {} to {to}", keys.from.0.escape_ascii())
}

fn text(key: &Key) -> String {
    key.0.escape_ascii().to_string()
}

fn value(value: &Value) -> String {
    value.0.escape_ascii().to_string()
}

fn version(key: &Key, version: &Version) -> String {
    let stored = version.value.as_ref().map_or("deleted".to_owned(), value);
    format!("{}={stored} (stamp {})", text(key), version.stamp.0)
}

fn versions(entries: &[(Key, Version)]) -> String {
    entries.iter().map(|(key, stored)| version(key, stored)).collect::<Vec<_>>().join(", ")
}

fn request(request: &ClientRequest) -> String {
    match request {
        ClientRequest::Put { key, value: written, level } => format!("put {}={} at {level}", text(key), value(written)),
        ClientRequest::Get { key, level } => format!("get {} at {level}", text(key)),
        ClientRequest::Delete { key, level } => format!("delete {} at {level}", text(key)),
        ClientRequest::Status => "status".to_owned(),
        ClientRequest::Repair => "repair".to_owned(),
        ClientRequest::LocalScan { after, limit } => {
            format!("scan behind {}, at most {limit}", after.as_ref().map_or("the start".to_owned(), text))
        }
        ClientRequest::PutWith { key, value: written, options } => {
            let written = written.as_ref().map_or("deleted".to_owned(), value);
            format!("put {}={written} with {options:?}", text(key))
        }
        ClientRequest::GetWith { key, options } => format!("get {} with {options:?}", text(key)),
        ClientRequest::Scan { range: keys, limit, level } => {
            format!("scan {}, at most {limit} at {level}", range(keys))
        }
        ClientRequest::Publish { payload } => format!("publish {}", value(payload)),
        ClientRequest::Deliveries { after, limit } => format!("deliveries behind {after}, at most {limit}"),
        ClientRequest::Members { after, limit } => format!("members behind {after:?}, at most {limit}"),
        ClientRequest::Options { after, limit } => format!("options behind {after:?}, at most {limit}"),
        ClientRequest::SetOption { name, value } => format!("set option {name} to {value}"),
        ClientRequest::Overlay => "overlay".to_owned(),
        ClientRequest::Locate { key } => format!("locate {}", text(key)),
        ClientRequest::Write { key, value: written, level, context } => {
            let written = written.as_ref().map_or("nothing".to_owned(), value);
            format!("write {}={written} at {level}, context {}", text(key), hexadecimal(context))
        }
    }
}

fn message(message: &PeerMessage) -> String {
    match message {
        PeerMessage::Heartbeat => "heartbeat".to_owned(),
        PeerMessage::Write { operation, key, version: written } => {
            format!("write {} for {:x}", version(key, written), operation.0)
        }
        PeerMessage::WriteAck { operation } => format!("acknowledgement of {:x}", operation.0),
        PeerMessage::Read { operation, key, digest_only } => {
            let what = if *digest_only { "the digest of " } else { "" };
            format!("read {what}{} for {:x}", text(key), operation.0)
        }
        PeerMessage::ReadReply { operation, answer } => {
            let answer = match answer {
                ReadAnswer::Full(None) => "nothing".to_owned(),
                ReadAnswer::Full(Some(Version { stamp, value: stored })) => {
                    let stored = stored.as_ref().map_or("deleted".to_owned(), value);
                    format!("{stored} (stamp {})", stamp.0)
                }
                ReadAnswer::Digest(digest) => hexadecimal(digest),
                ReadAnswer::CatchingUp => "catching up".to_owned(),
            };
            format!("answer to {:x}: {answer}", operation.0)
        }
        PeerMessage::Dissemination(message) => format!("dissemination: {message:?}"),
        PeerMessage::Metadata(message) => format!("metadata: {message:?}"),
        PeerMessage::Sync(message) => sync(message),
        PeerMessage::Causal(message) => format!("{message:?}"),
        PeerMessage::StandInWrite { operation, owner, key, version: written } => {
            format!("write {} in place of {owner} for {:x}", version(key, written), operation.0)
        }
        PeerMessage::StandInRead { operation, owner, key, digest_only } => {
            let what = if *digest_only { "the digest of " } else { "" };
            format!("read {what}{} in place of {owner} for {:x}", text(key), operation.0)
        }
        PeerMessage::Merge { operation, entries } => format!("merge {:x}: {}", operation.0, versions(entries)),
        PeerMessage::MergeAck { operation, foreign } => {
            format!("merged {:x}, without {foreign:?}", operation.0)
        }
        PeerMessage::Scan { operation, range: keys, limit } => {
            format!("scan {}, at most {limit} for {:x}", range(keys), operation.0)
        }
        PeerMessage::ScanReply { operation, from, answer } => {
            let answer = match answer {
                ScanAnswer::Page { entries, more } => format!("{}, more: {more}", versions(entries)),
                ScanAnswer::CatchingUp => "catching up".to_owned(),
            };
            format!("page from {} for {:x}: {answer}", from.0.escape_ascii(), operation.0)
        }
    }
}

fn sync(message: &SyncMessage) -> String {
    match message {
        SyncMessage::Nodes { question, nodes } => format!("sync {question:x}: hashes of {} tree nodes", nodes.len()),
        SyncMessage::NodesDiffer { question, differ } => format!("sync {question:x}: {differ:?} differ"),
        SyncMessage::Leaves { question, pages } => {
            let keys: Vec<String> = pages.iter().flat_map(|page| &page.entries).map(|entry| text(&entry.key)).collect();
            format!("sync {question:x}: {} leaves with {}", pages.len(), keys.join(" "))
        }
        SyncMessage::LeavesReply { question, push, want, resume } => {
            let want: Vec<String> = want.iter().map(text).collect();
            let cut = if resume.is_some() { ", cut" } else { "" };
            format!("sync {question:x}: hands {}; wants {}{cut}", versions(push), want.join(" "))
        }
        SyncMessage::Values { question, entries } => format!("sync {question:x}: hands {}", versions(entries)),
        SyncMessage::ValuesAck { question } => format!("sync {question:x}: taken"),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all that is written");
        text
    })
}
