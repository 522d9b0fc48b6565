//! YAML as a tree in which every node knows where it stands, so that *every* mistake of a file can be reported with its
//! line and column, also one that only shows when two values are compared.
//!
//! Typed deserialization stops at the first mistake; reading a tree does not.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use super::mistakes::{Mistake, Place};

/// A node of a YAML file with its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What stands there. Scalars are kept as the YAML core schema resolves them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(Key, Node)>),
}

/// A key of a map with its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub(super) place: Place,
    pub(super) name: String,
}

impl Node {
    /// Parses a whole file.
    pub(super) fn parse(text: &str) -> Result<Node, Mistake> {
        // `off` and `yes` are words here, not flags.
        let options = serde_yaml::options! { strict_booleans: true };
        serde_yaml::from_str_with_options::<Node>(text, options).map_err(|error| {
            let place = error.location().map_or(Place { line: 1, column: 1 }, Place::from);
            let message = error.without_snippet().to_string();
            Mistake::new(place, format!("this is no YAML: {}", first_line(&message)))
        })
    }

    /// What it is, for messages: `the number 5`, `a list`, ...
    pub(super) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(flag) => format!("the flag {flag}"),
            Value::Integer(number) => format!("the number {number}"),
            Value::Float(number) => format!("the number {number}"),
            Value::Text(text) => format!("`{text}`"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map of keys".to_owned(),
        }
    }
}

/// The parser repeats the place in its messages; ours stands in front already.
fn first_line(message: &str) -> &str {
    let line = message.lines().next().unwrap_or_default();
    let behind_place = line.strip_prefix("error: ").unwrap_or(line);
    // Neither the place again, nor advice to those who call the parser.
    let end = [" at line ", ", set DuplicateKeyPolicy"].iter().filter_map(|part| behind_place.find(part)).min();
    end.map_or(behind_place, |end| &behind_place[..end])
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Node { place: spanned.referenced.into(), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Key { place: spanned.referenced.into(), name: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }
    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }
    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Integer(number.into()))
    }
    fn visit_i128<E: de::Error>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u64, column: u64) -> Place {
        Place { line, column }
    }

    #[test]
    fn every_node_and_key_knows_its_place() {
        let text = "# a comment\none: 1\ntwo:\n  - {three: off, four: 5s}\n  - ~\n  - 'x: y'\n  - 1.5\n  - true\n";
        let root = Node::parse(text).expect("it parses");
        let Value::Map(map) = root.value else { panic!("{root:?}") };
        assert_eq!(map[0].0, Key { place: at(2, 1), name: "one".into() });
        assert_eq!(map[0].1, Node { place: at(2, 6), value: Value::Integer(1) });
        let Value::List(list) = &map[1].1.value else { panic!("{map:?}") };
        let Value::Map(inner) = &list[0].value else { panic!("{list:?}") };
        assert_eq!(inner[0].0, Key { place: at(4, 6), name: "three".into() });
        assert_eq!(inner[0].1, Node { place: at(4, 13), value: Value::Text("off".into()) });
        assert_eq!(inner[1].1, Node { place: at(4, 24), value: Value::Text("5s".into()) });
        assert_eq!(list[1].value, Value::Null);
        assert_eq!(list[2], Node { place: at(6, 5), value: Value::Text("x: y".into()) });
        assert_eq!(list[3].value, Value::Float(1.5));
        assert_eq!(list[4].value, Value::Bool(true));
    }

    #[test]
    fn broken_yaml_names_its_place() {
        for (text, place, part) in [
            ("a: [1, 2\nb: 3\n", at(2, 2), "YAML"),
            ("a: 1\nb: 2\na: 3\n", at(3, 1), "duplicate"),
            ("a:\n\tb: 2\n", at(2, 2), "YAML"),
        ] {
            let mistake = Node::parse(text).expect_err(text);
            assert_eq!(mistake.place, place, "{mistake:?}");
            assert!(mistake.what.contains(part), "{mistake:?}");
        }
        assert_eq!(Node::parse("").expect("nothing is YAML").value, Value::Null);
        assert!(Node::parse(&"[".repeat(100_000)).is_err(), "deep nesting is bounded");
    }
}
