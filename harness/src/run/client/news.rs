//! Broadcasts and cluster options as clients see them: numbers that are published, and what each node has of them.
//!
//! | | published as | what a node has |
//! |---|---|---|
//! | broadcasts | a payload, the number in decimal | what it delivered, with its process: another process begins anew |
//! | options | an option `schema.tN` of its own | its options of that kind; they are durable, whatever the process |
//!
//! Shared options are called `schema.sharedN`, and read by themselves.

use hearsay_core::{ClientRequest, ClientResponse, Key, KnownMember, LocalEntry, NodeId, Value, WallTime};
use hearsay_workloads::{DataKind, NEWS};

use super::values::{decode_value, encode_value};

/// As many as a node gives at once, of either.
const ALL: u32 = 100_000;

/// What a node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// News, and where: the node, with its process where that matters.
    News(Vec<u64>, String),
    /// The value of a shared option.
    Shared(Option<u64>),
}

/// The request that publishes a number, or changes a shared option to it.
pub(super) fn publish(kind: DataKind, key: &str, value: u64) -> ClientRequest {
    match (kind, key) {
        (DataKind::Broadcast, _) => ClientRequest::Publish { payload: encode_value(value) },
        (_, NEWS) => ClientRequest::SetOption { name: format!("schema.t{value}"), value: value.to_string() },
        (_, shared) => ClientRequest::SetOption { name: format!("schema.{shared}"), value: value.to_string() },
    }
}

/// The request for all that a node has.
pub(super) fn news_of_node(kind: DataKind) -> ClientRequest {
    match kind {
        DataKind::Broadcast => ClientRequest::Deliveries { after: 0, limit: ALL },
        _ => ClientRequest::Options { after: None, limit: ALL },
    }
}

/// The requests for all that nodes are compared by.
pub fn looks_at_node(kind: DataKind) -> Vec<ClientRequest> {
    match kind {
        DataKind::Broadcast => vec![news_of_node(kind)],
        _ => vec![news_of_node(kind), ClientRequest::Members { after: None, limit: ALL }],
    }
}

/// What the answer says.
///
/// # Errors
/// It does not say all, or something that no client published, as a sentence.
pub(super) fn heard(key: &str, node: &str, response: ClientResponse) -> Result<Heard, String> {
    match response {
        ClientResponse::Deliveries { deliveries, missed, incarnation, .. } => {
            complete(missed)?;
            let numbers =
                deliveries.iter().map(|delivered| decode_value(&delivered.payload)).collect::<Result<_, _>>()?;
            Ok(Heard::News(numbers, process(node, incarnation)))
        }
        ClientResponse::Options { more: true, .. } => Err("the node has more options than one answer holds".to_owned()),
        ClientResponse::Options { options, .. } => {
            let number = |text: &str| decode_value(&Value(text.as_bytes().to_vec()));
            if key != NEWS {
                let shared = options.iter().find(|row| row.name.strip_prefix("schema.") == Some(key));
                return Ok(Heard::Shared(shared.map(|row| number(&row.option.value)).transpose()?));
            }
            let tables = options.iter().filter(|row| row.name.starts_with("schema.t"));
            let numbers = tables.map(|row| number(&row.option.value)).collect::<Result<_, _>>()?;
            Ok(Heard::News(numbers, node.to_owned()))
        }
        _ => Err("the node gave another request's answer".to_owned()),
    }
}

/// The process of a node, as histories name it.
pub(super) fn process(node: &str, incarnation: u64) -> String {
    format!("{node}#{incarnation:x}")
}

/// An answer to one of [`looks_at_node`] as entries of a store, so that nodes are compared as replicas are. Whoever is looked at
/// lives, so a failure mark is wrong: its entry has the stamp of the node that believes it, and no two nodes agree on it.
///
/// # Errors
/// As a sentence: it does not say all.
pub fn entries_of_node(node: NodeId, response: ClientResponse) -> Result<Vec<LocalEntry>, String> {
    let mut entries: Vec<LocalEntry> = match response {
        ClientResponse::Deliveries { deliveries, missed, .. } => {
            complete(missed)?;
            let entry = |payload: Value| LocalEntry {
                key: Key([b"news ", payload.0.as_slice()].concat()),
                stamp: WallTime(0),
                value: Some(payload),
            };
            deliveries.into_iter().map(|delivered| entry(delivered.payload)).collect()
        }
        ClientResponse::Options { options, more: false } => options
            .into_iter()
            .map(|row| LocalEntry {
                // As clients call the shared ones.
                key: Key(row.name.trim_start_matches("schema.").as_bytes().to_vec()),
                stamp: WallTime(row.option.version << 16 | u64::from(row.option.origin.0)),
                value: Some(Value(row.option.value.into_bytes())),
            })
            .collect(),
        ClientResponse::Members { members, more: false } => {
            let entry = |what: &str, of: NodeId, stamp: u64, value: u64| LocalEntry {
                key: Key(format!("member {of} {what}").into_bytes()),
                stamp: WallTime(stamp),
                value: Some(encode_value(value)),
            };
            let mut entries = Vec::new();
            for KnownMember { member, down } in members {
                entries.push(entry("incarnation", member.node, member.incarnation, member.incarnation));
                entries.extend(down.map(|by| entry("held for dead", member.node, node.0.into(), by.0.into())));
            }
            entries
        }
        ClientResponse::Failed(error) => return Err(error.message),
        _ => return Err(format!("{node} gave another request's answer, or not all")),
    };
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries.dedup_by(|a, b| a.key == b.key);
    Ok(entries)
}

fn complete(missed: u64) -> Result<(), String> {
    if missed > 0 {
        return Err(format!("the node has forgotten {missed} of its deliveries: publish less"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hearsay_core::dissemination::MessageId;
    use hearsay_core::metadata::{Member, OptionRecord};
    use hearsay_core::{Delivered, NodeOption};

    use super::*;

    fn deliveries(numbers: &[&str], missed: u64) -> ClientResponse {
        let id = MessageId { origin: NodeId(1), incarnation: 1, sequence: 0 };
        let delivered = |text: &&str| Delivered { number: 1, id, payload: Value(text.as_bytes().to_vec()) };
        let deliveries = numbers.iter().map(delivered).collect();
        ClientResponse::Deliveries { deliveries, next: 0, missed, incarnation: 0x2a }
    }

    fn options(rows: &[(&str, &str)], more: bool) -> ClientResponse {
        let row = |(name, value): &(&str, &str)| {
            let option = OptionRecord { version: 2, origin: NodeId(3), value: (*value).to_owned() };
            NodeOption { name: (*name).to_owned(), option }
        };
        ClientResponse::Options { options: rows.iter().map(row).collect(), more }
    }

    #[test]
    fn what_a_node_delivered_is_of_its_process_and_what_it_keeps_is_not() {
        let news = heard(NEWS, "n3", deliveries(&["7", "9", "7"], 0));
        assert_eq!(news, Ok(Heard::News(vec![7, 9, 7], "n3#2a".to_owned())));
        let rows = [("schema.shared1", "5"), ("schema.t7", "7"), ("read_repair", "async")];
        assert_eq!(heard(NEWS, "n3", options(&rows, false)), Ok(Heard::News(vec![7], "n3".to_owned())));
        assert_eq!(heard("shared1", "n3", options(&rows, false)), Ok(Heard::Shared(Some(5))));
        assert_eq!(heard("shared2", "n3", options(&rows, false)), Ok(Heard::Shared(None)));
    }

    #[test]
    fn half_an_answer_is_none() {
        for (response, why) in [
            (deliveries(&["7"], 3), "forgotten 3"),
            (options(&[], true), "more options"),
            (deliveries(&["x"], 0), "no client wrote"),
            (ClientResponse::Replicas(Vec::new()), "another request's"),
        ] {
            assert!(heard(NEWS, "n3", response).is_err_and(|error| error.contains(why)), "{why}");
        }
        assert!(entries_of_node(NodeId(1), deliveries(&["7"], 1)).is_err());
        assert!(entries_of_node(NodeId(1), options(&[], true)).is_err());
    }

    #[test]
    fn nodes_are_compared_by_what_they_have_however_often() {
        let entries = entries_of_node(NodeId(1), deliveries(&["9", "7", "9"], 0)).unwrap();
        let keys: Vec<&[u8]> = entries.iter().map(|entry| entry.key.0.as_slice()).collect();
        assert_eq!(keys, [b"news 7", b"news 9"]);
        let entries = entries_of_node(NodeId(1), options(&[("schema.t7", "7")], false)).unwrap();
        assert_eq!(entries[0].stamp, WallTime(2 << 16 | 3));
        let known = |down| KnownMember { member: Member { incarnation: 4, ..Member::configured(NodeId(3), 8) }, down };
        let entries = |at: u16, down| {
            let response = ClientResponse::Members { members: vec![known(down)], more: false };
            entries_of_node(NodeId(at), response).unwrap()
        };
        assert_eq!(entries(1, None), entries(2, None));
        assert_ne!(entries(1, Some(NodeId(5))), entries(2, Some(NodeId(5))), "no two agree on a mark");
    }
}
