//! How an [`Event`] stands in JSON: its value is a number, `null`, or a list.

use std::fmt;

use serde::de::{SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Event, EventType, Function, Items, ProcessId};

#[derive(Serialize, Deserialize)]
pub(super) struct EventLine {
    index: u64,
    time: u64,
    #[serde(rename = "type")]
    kind: EventType,
    process: ProcessId,
    f: Function,
    key: String,
    #[serde(default)]
    value: LineValue,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Default)]
enum LineValue {
    #[default]
    Nothing,
    Number(u64),
    Items(Items),
}

impl From<Event> for EventLine {
    fn from(event: Event) -> EventLine {
        let Event { index, time, kind, process, f, key, value, items, node, error } = event;
        let value = match (items, value) {
            (Some(items), _) => LineValue::Items(items),
            (None, Some(number)) => LineValue::Number(number),
            (None, None) => LineValue::Nothing,
        };
        EventLine { index, time, kind, process, f, key, value, node, error }
    }
}

impl From<EventLine> for Event {
    fn from(line: EventLine) -> Event {
        let EventLine { index, time, kind, process, f, key, value, node, error } = line;
        let (value, items) = match value {
            LineValue::Nothing => (None, None),
            LineValue::Number(number) => (Some(number), None),
            LineValue::Items(items) => (None, Some(items)),
        };
        Event { index, time, kind, process, f, key, value, items, node, error }
    }
}

impl Serialize for LineValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            LineValue::Nothing => serializer.serialize_none(),
            LineValue::Number(number) => serializer.serialize_u64(*number),
            LineValue::Items(items) => items.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for LineValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<LineValue, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = LineValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("u64, null or a list")
    }

    fn visit_unit<E>(self) -> Result<LineValue, E> {
        Ok(LineValue::Nothing)
    }

    fn visit_u64<E>(self, number: u64) -> Result<LineValue, E> {
        Ok(LineValue::Number(number))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<LineValue, A::Error> {
        Items::deserialize(SeqAccessDeserializer::new(list)).map(LineValue::Items)
    }
}
