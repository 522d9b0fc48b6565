//! Sets and counters as values of the cluster, and what a client remembers of them between a read and the write behind it.
//!
//! | | stored | siblings together | an update writes |
//! |---|---|---|---|
//! | set | `4,17,311` | the union | what was read and the element |
//! | counter, `dcc` | `c2=9,c5=12`: what each client added so far | of each client the largest | what was read, with its own part |
//! | counter, `lww` | `21` | - | what was read and the amount |
//!
//! A blind add under `dcc` writes the element or the client's own part alone, as a sibling. Under `lww` whatever a write does not
//! repeat is lost: that is what such a run shows.
//!
//! Invariants: a client's own part counts everything it ever added but for what certainly failed; a read is used by one write
//! only. Text without line ends, since the siblings of a key are listed a line each.

use std::collections::{BTreeMap, BTreeSet};

use hearsay_core::{ClientRequest, Key, Level, Value};
use hearsay_workloads::DataKind;

use super::values::foreign;

/// Stands for bytes that no client wrote: an element that nobody added, a sum that nobody reached.
const FOREIGN_NUMBER: u64 = i64::MAX as u64;

/// What is in a set or counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The elements of a set.
    Elements(BTreeSet<u64>),
    /// What each client, by its slot, added to a counter.
    Parts(BTreeMap<u64, u64>),
    /// A counter that is one number.
    Sum(u64),
}

impl Content {
    /// Of all siblings (or the one value, or none). With what is wrong about it, if something is.
    pub(super) fn decode(kind: DataKind, causal: bool, values: &[Value]) -> (Content, Option<String>) {
        let decoded = values.iter().try_fold(Content::empty(kind, causal), |content, value| {
            let text = std::str::from_utf8(&value.0).ok();
            text.and_then(|text| content.with(text)).ok_or_else(|| foreign(value))
        });
        match decoded {
            Ok(content) => (content, None),
            Err(corrupt) if kind == DataKind::Set => (Content::Elements([FOREIGN_NUMBER].into()), Some(corrupt)),
            Err(corrupt) => (Content::Sum(FOREIGN_NUMBER), Some(corrupt)),
        }
    }

    fn empty(kind: DataKind, causal: bool) -> Content {
        match kind {
            DataKind::Register | DataKind::Broadcast | DataKind::Options => unreachable!("{kind:?} is no collection"),
            DataKind::Set => Content::Elements(BTreeSet::new()),
            DataKind::Counter if causal => Content::Parts(BTreeMap::new()),
            DataKind::Counter => Content::Sum(0),
        }
    }

    /// Together with a sibling; `None`: it is none.
    fn with(mut self, text: &str) -> Option<Content> {
        match &mut self {
            Content::Elements(elements) => {
                for element in text.split(',') {
                    elements.insert(number(element)?);
                }
            }
            Content::Parts(parts) => {
                for part in text.split(',') {
                    let (slot, sum) = part.strip_prefix('c')?.split_once('=')?;
                    let of_slot = parts.entry(number(slot)?).or_default();
                    *of_slot = number(sum)?.max(*of_slot);
                }
            }
            Content::Sum(sum) => *sum = number(text)?,
        }
        Some(self)
    }

    fn encode(&self) -> Value {
        let text = match self {
            Content::Elements(elements) => listed(elements.iter().map(u64::to_string)),
            Content::Parts(parts) => listed(parts.iter().map(|(slot, sum)| format!("c{slot}={sum}"))),
            Content::Sum(sum) => sum.to_string(),
        };
        Value(text.into_bytes())
    }

    /// The value of a counter.
    pub(super) fn sum(&self) -> u64 {
        match self {
            Content::Elements(elements) => elements.len() as u64,
            Content::Parts(parts) => parts.values().sum(),
            Content::Sum(sum) => *sum,
        }
    }

    /// The elements of a set.
    pub(super) fn elements(&self) -> Vec<u64> {
        match self {
            Content::Elements(elements) => elements.iter().copied().collect(),
            Content::Parts(_) | Content::Sum(_) => Vec::new(),
        }
    }
}

/// What a read returned.
#[derive(Clone, Debug)]
struct Seen {
    content: Content,
    /// With `dcc`.
    context: Option<Vec<u8>>,
}

/// What one client knows of the sets or counters.
#[derive(Debug, Default)]
pub(super) struct Collections {
    /// Its last read of each key, until a write uses it.
    seen: BTreeMap<String, Seen>,
    /// What it added to each counter, unless that certainly failed.
    own: BTreeMap<String, u64>,
}

impl Collections {
    /// A read returned this.
    pub(super) fn saw(&mut self, key: &str, content: Content, context: Option<Vec<u8>>) {
        self.seen.insert(key.to_owned(), Seen { content, context });
    }

    /// The write that adds to `key`; with `is_update` it replaces what was seen last.
    pub(super) fn add(
        &mut self,
        (kind, causal): (DataKind, bool),
        (key, value, is_update): (&str, u64, bool),
        slot: u64,
        level: Level,
    ) -> ClientRequest {
        let seen = if is_update { self.seen.remove(key) } else { None };
        let (content, context) = match seen {
            Some(Seen { content, context }) => (content, context),
            None => (Content::empty(kind, causal), None),
        };
        let content = match content {
            Content::Elements(mut elements) => {
                elements.insert(value);
                Content::Elements(elements)
            }
            Content::Parts(mut parts) => {
                let own = self.own.entry(key.to_owned()).or_default();
                *own += value;
                parts.insert(slot, *own);
                Content::Parts(parts)
            }
            Content::Sum(sum) => Content::Sum(sum.saturating_add(value)),
        };
        let (of, value) = (Key(key.as_bytes().to_vec()), content.encode());
        match context {
            Some(context) => ClientRequest::Write { key: of, value: Some(value), level, context },
            None => ClientRequest::Put { key: of, value, level },
        }
    }

    /// An add to a counter certainly failed.
    pub(super) fn failed(&mut self, key: &str, value: u64) {
        if let Some(own) = self.own.get_mut(key) {
            *own = own.saturating_sub(value);
        }
    }

    /// The delete that removes what was seen last, with those elements; `None`: nothing was seen.
    pub(super) fn remove(&mut self, key: &str, level: Level) -> Option<(ClientRequest, Vec<u64>)> {
        let Seen { content, context } = self.seen.remove(key)?;
        let elements = content.elements();
        if elements.is_empty() {
            return None;
        }
        let of = Key(key.as_bytes().to_vec());
        let request = match context {
            Some(context) => ClientRequest::Write { key: of, value: None, level, context },
            None => ClientRequest::Delete { key: of, level },
        };
        Some((request, elements))
    }
}

/// Exactly as it is written: no sign, no leading zero.
fn number(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|number| number.to_string() == text)
}

fn listed(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: (DataKind, bool) = (DataKind::Set, true);
    const COUNTER: (DataKind, bool) = (DataKind::Counter, true);

    fn decode((kind, causal): (DataKind, bool), texts: &[&str]) -> (Content, Option<String>) {
        let values: Vec<Value> = texts.iter().map(|text| Value(text.as_bytes().to_vec())).collect();
        Content::decode(kind, causal, &values)
    }

    fn written(request: &ClientRequest) -> (String, Option<Vec<u8>>) {
        let (value, context) = match request {
            ClientRequest::Put { value, .. } => (value, None),
            ClientRequest::Write { value: Some(value), context, .. } => (value, Some(context.clone())),
            other => panic!("{other:?} writes no value"),
        };
        (String::from_utf8(value.0.clone()).unwrap(), context)
    }

    #[test]
    fn siblings_are_taken_together() {
        assert_eq!(decode(SET, &["3,5", "4", "5"]).0.elements(), [3, 4, 5]);
        assert_eq!(decode(COUNTER, &["c1=3,c2=9", "c1=5"]).0.sum(), 14);
        assert_eq!(decode((DataKind::Counter, false), &["21"]).0.sum(), 21);
        assert_eq!(decode(SET, &[]).0.elements(), [0; 0]);
        for (kind, texts) in [(SET, &["3,,5"][..]), (SET, &["3", ""]), (COUNTER, &["c1=3,c2"]), (COUNTER, &["1=3"])] {
            let (content, wrong) = decode(kind, texts);
            assert!(wrong.is_some_and(|wrong| wrong.contains("no client wrote")), "{texts:?}");
            assert!(content.sum() == FOREIGN_NUMBER || content.elements() == [FOREIGN_NUMBER]);
        }
    }

    #[test]
    fn an_update_replaces_what_was_seen_once_and_a_blind_add_nothing() {
        let mut client = Collections::default();
        client.saw("k", decode(SET, &["3", "4"]).0, Some(vec![7]));
        let add =
            |client: &mut Collections, value, update| written(&client.add(SET, ("k", value, update), 2, Level::Quorum));
        assert_eq!(add(&mut client, 5, false), ("5".to_owned(), None));
        assert_eq!(add(&mut client, 6, true), ("3,4,6".to_owned(), Some(vec![7])));
        assert_eq!(add(&mut client, 8, true), ("8".to_owned(), None));
    }

    #[test]
    fn a_clients_own_part_counts_all_but_what_failed() {
        let mut client = Collections::default();
        let add = |client: &mut Collections, value, update| {
            written(&client.add(COUNTER, ("k", value, update), 2, Level::Quorum)).0
        };
        assert_eq!(add(&mut client, 5, false), "c2=5");
        assert_eq!(add(&mut client, 1, false), "c2=6");
        client.failed("k", 1);
        client.saw("k", decode(COUNTER, &["c1=9,c2=4"]).0, Some(vec![7]));
        assert_eq!(add(&mut client, 2, true), "c1=9,c2=7");
    }

    #[test]
    fn only_what_was_seen_is_removed() {
        let mut client = Collections::default();
        assert_eq!(client.remove("k", Level::Quorum), None);
        client.saw("k", decode(SET, &[]).0, Some(vec![7]));
        assert_eq!(client.remove("k", Level::Quorum), None);
        client.saw("k", decode(SET, &["3", "4"]).0, Some(vec![7]));
        let (request, elements) = client.remove("k", Level::Quorum).unwrap();
        assert_eq!(elements, [3, 4]);
        assert!(matches!(request, ClientRequest::Write { value: None, context, .. } if context == [7]));
    }
}
