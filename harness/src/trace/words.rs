//! Messages, requests and answers in a few words.

use hearsay_checkers::{Event as HistoryEvent, EventType, Function, Operation, Outcome};
use hearsay_core::message::ReadAnswer;
use hearsay_core::{ClientResponse, Event as NodeEvent, Key, Value, Version};

use crate::run::client::decode_value;
use crate::sim::{Hindrance, Say};

/// Such as `k7`.
pub(super) fn key(key: &Key) -> String {
    String::from_utf8_lossy(&key.0).into_owned()
}

fn value(value: &Value) -> String {
    decode_value(value).map_or_else(|_| format!("\"{}\"", value.0.escape_ascii()), |number| number.to_string())
}

/// Such as `k7=311`.
pub(super) fn version(of: &Key, version: &Version) -> String {
    match &version.value {
        Some(stored) => format!("{}={}", key(of), value(stored)),
        None => format!("{} deleted", key(of)),
    }
}

/// What an invocation asks.
pub(super) fn invocation(event: &HistoryEvent) -> String {
    let value = event.value.map_or(String::new(), |value| format!("={value}"));
    format!("{} {}{value}", event.f.as_str(), event.key)
}

/// What a client hears.
pub(super) fn response(of: &str, response: &ClientResponse) -> String {
    match response {
        ClientResponse::Written { .. } => "done".to_owned(),
        ClientResponse::Read { value: Some(read), .. } => format!("{of}={}", value(read)),
        ClientResponse::Read { value: None, stamp: Some(_) } => format!("{of} is deleted"),
        ClientResponse::Read { value: None, stamp: None } => format!("{of}: nothing"),
        ClientResponse::Failed(error) => error.message.clone(),
        ClientResponse::Siblings { values, .. } if values.is_empty() => format!("{of}: nothing"),
        ClientResponse::Siblings { values, .. } => {
            format!("{of}={}", values.iter().map(value).collect::<Vec<_>>().join(" and "))
        }
        ClientResponse::Status(_)
        | ClientResponse::Entries { .. }
        | ClientResponse::Repaired { .. }
        | ClientResponse::Replicas(_)
        | ClientResponse::Published { .. }
        | ClientResponse::Deliveries { .. }
        | ClientResponse::Members { .. }
        | ClientResponse::Options { .. }
        | ClientResponse::OptionSet { .. }
        | ClientResponse::Overlay(_)
        | ClientResponse::Rows { .. } => "answer".to_owned(),
    }
}

/// What a node says to another about a key; `repair`: a write that a read caused.
pub(super) fn say(say: &Say, of: &str, repair: bool) -> String {
    match say {
        Say::Write(_, of, written) if repair => format!("repair: {}", version(of, written)),
        Say::Write(_, of, written) => match &written.value {
            Some(_) => format!("write {}", version(of, written)),
            None => format!("delete {}", key(of)),
        },
        Say::Ack(_) if repair => "repaired, durably".to_owned(),
        Say::Ack(_) => "stored, durably".to_owned(),
        Say::Read(_, of, false) => format!("read {}", key(of)),
        Say::Read(_, of, true) => format!("digest of {}?", key(of)),
        Say::Answer(_, ReadAnswer::Full(Some(read))) => version(&Key(of.as_bytes().to_vec()), read),
        Say::Answer(_, ReadAnswer::Full(None)) => format!("{of}: nothing"),
        Say::Answer(_, ReadAnswer::Digest(digest)) => format!("digest {:02x}{:02x}", digest[0], digest[1]),
        Say::Answer(_, ReadAnswer::CatchingUp) => "not caught up, can't say".to_owned(),
        Say::Lists(of) => format!("anti-entropy: compares a leaf with {}", key(of)),
        Say::Wants(of) => format!("anti-entropy: wants {}", key(of)),
        Say::Hands(of, version_) => format!("anti-entropy: {}", version(of, version_)),
    }
}

/// Why something did not arrive.
pub(super) fn lost(why: Option<Hindrance>) -> &'static str {
    match why {
        Some(Hindrance::Blocked) => "blocked, never arrives",
        Some(Hindrance::NobodyThere) => "the receiver is down, never arrives",
        Some(Hindrance::NoLink) => "no link, dropped",
        Some(Hindrance::ConnectionLost) => "lost with its connection",
        Some(Hindrance::Lost) => "lost",
        None => "never arrives",
    }
}

/// How late something is, and why.
pub(super) fn late(why: Option<Hindrance>, nanoseconds: u64) -> String {
    let why = match why {
        Some(Hindrance::Blocked) => "blocked, ",
        Some(Hindrance::NobodyThere) => "the receiver is down, ",
        Some(Hindrance::NoLink | Hindrance::ConnectionLost | Hindrance::Lost) | None => "",
    };
    format!("{why}arrives {} later", length(nanoseconds))
}

/// A line of a node's log.
pub(super) fn event(event: &NodeEvent) -> String {
    match event {
        NodeEvent::PeerUp(peer) => format!("holds {peer} for alive"),
        NodeEvent::PeerDown(peer) => format!("holds {peer} for dead"),
        NodeEvent::CatchingUp => "catches up".to_owned(),
        NodeEvent::CaughtUp => "has caught up".to_owned(),
        NodeEvent::Warning(sentence) => sentence.clone(),
    }
}

/// An operation of a history in a line.
pub(super) fn operation(operation: &Operation) -> String {
    let Operation { index, process, f, key, value, invoked, completed, outcome, node, error } = operation;
    let value = match (f, value, outcome) {
        (Function::Write | Function::Add, Some(value), _) => format!("={value}"),
        (Function::Read, Some(value), Outcome::Ok) => format!(" -> {value}"),
        (Function::Read, None, Outcome::Ok) => " -> nothing".to_owned(),
        _ => String::new(),
    };
    let node = node.as_ref().map_or(String::new(), |node| format!(" at {node}"));
    let ended = completed.map_or(String::new(), |time| format!(" to {}", seconds(time)));
    let error = error.as_ref().map_or(String::new(), |error| format!(": {error}"));
    let kind = match outcome {
        Outcome::Ok => EventType::Ok,
        Outcome::Fail => EventType::Fail,
        Outcome::Info => EventType::Info,
    };
    format!(
        "{index}: {} {key}{value}, {process}{node}, {}{ended} s, {}{error}",
        f.as_str(),
        seconds(*invoked),
        kind.as_str()
    )
}

/// Nanoseconds as seconds, to the microsecond.
pub(super) fn seconds(nanoseconds: u64) -> String {
    format!("{}.{:06}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000 / 1_000)
}

/// Nanoseconds as a length of time.
pub(super) fn length(nanoseconds: u64) -> String {
    match nanoseconds {
        0..1_000_000 => format!("{} us", nanoseconds / 1_000),
        1_000_000..1_000_000_000 => format!("{:.1} ms", nanoseconds as f64 / 1e6),
        _ => format!("{:.1} s", nanoseconds as f64 / 1e9),
    }
}
