//! Reads values out of the tree and collects mistakes instead of stopping at the first.
//!
//! Every function gives `None` after it noted a mistake, so that what depends on the value is left unchecked rather than
//! reported twice.

use std::ops::RangeInclusive;

use super::mistakes::{Mistake, Place};
use super::tree::{Key, Node, Value};
use super::types::Span;

/// A key that a map may have, and what it means.
pub type KeyDoc = (&'static str, &'static str);

/// Longest duration, in milliseconds, of whatever is waited for: an hour.
pub(super) const DURATION_MAX_MS: u64 = 3_600_000;

const DURATIONS_ALLOWED: &str = "a number with its unit: 1500ms, 5s, 2m, 1h";

/// Collects the mistakes.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) mistakes: Vec<Mistake>,
}

/// A map whose keys are known.
pub(super) struct Fields<'a> {
    /// Where the map begins.
    pub(super) place: Place,
    /// What it is, such as `cluster`.
    name: &'a str,
    keys: &'static [KeyDoc],
    entries: &'a [(Key, Node)],
}

impl<'a> Fields<'a> {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'a Node> {
        assert!(self.keys.iter().any(|(known, _)| *known == key), "{key} is missing in the keys of {}", self.name);
        self.entries.iter().find(|(found, _)| found.name == key).map(|(_, node)| node)
    }

    /// The value of a key that may not be left out.
    pub(super) fn need(&self, key: &'static str, reader: &mut Reader) -> Option<&'a Node> {
        let found = self.get(key);
        if found.is_none() {
            let meaning = self.keys.iter().find(|(known, _)| *known == key).map_or("", |(_, meaning)| meaning);
            let mistake = Mistake::new(self.place, format!("{} has no `{key}`", self.name));
            reader.note(mistake.mend(format!("add `{key}`: {meaning}")));
        }
        found
    }
}

impl Reader {
    pub(super) fn note(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    /// Notes a mistake, with the nearest of the right words as its mend.
    pub(super) fn note_nearest(&mut self, mistake: Mistake, word: &str, candidates: &[&str]) {
        self.note(with_nearest(mistake, word, candidates.iter().copied()));
    }

    pub(super) fn wrong_type(&mut self, node: &Node, name: &str, allowed: impl Into<String>) {
        let what = format!("{name} can't be {}", node.describe());
        self.note(Mistake::new(node.place, what).allowed(allowed));
    }

    /// A map with known keys; unknown ones are noted.
    pub(super) fn fields<'a>(&mut self, node: &'a Node, name: &'a str, keys: &'static [KeyDoc]) -> Option<Fields<'a>> {
        let allowed = || join(keys.iter().map(|(key, _)| *key));
        let Value::Map(entries) = &node.value else {
            self.wrong_type(node, name, format!("a map with the keys {}", allowed()));
            return None;
        };
        for (key, _) in entries {
            if !keys.iter().any(|(known, _)| *known == key.name) {
                let mistake = Mistake::new(key.place, format!("{name} has no key `{}`", key.name)).allowed(allowed());
                self.note(with_nearest(mistake, &key.name, keys.iter().map(|(key, _)| *key)));
            }
        }
        // Of an empty or nested map the place is where its first key would be: the line is what matters.
        Some(Fields { place: node.place, name, keys, entries })
    }

    /// A map with exactly one key, out of known ones: (key, value).
    pub(super) fn choice<'a>(
        &mut self,
        node: &'a Node,
        name: &str,
        choices: &'static [KeyDoc],
    ) -> Option<(&'a Key, &'a Node)> {
        let allowed = || format!("one of {}", join(choices.iter().map(|(key, _)| *key)));
        let Value::Map(entries) = &node.value else {
            let example = choices[0].0;
            let allowed = format!("{}, with its parameters, such as {{{example}: {{...}}}}", allowed());
            self.wrong_type(node, &format!("a {name}"), allowed);
            return None;
        };
        let mut known = None;
        for (key, value) in entries {
            if !choices.iter().any(|(choice, _)| *choice == key.name) {
                let mistake = Mistake::new(key.place, format!("there is no {name} `{}`", key.name)).allowed(allowed());
                self.note(with_nearest(mistake, &key.name, choices.iter().map(|(key, _)| *key)));
            } else if known.is_some() {
                let mistake = Mistake::new(key.place, format!("`{}` is a second {name} in the same place", key.name));
                self.note(
                    mistake.allowed(allowed()).mend("only one is possible here; in a list, begin a new item with `-`"),
                );
            } else {
                known = Some((key, value));
            }
        }
        if entries.is_empty() {
            self.note(Mistake::new(node.place, format!("no {name} is given")).allowed(allowed()));
        }
        known
    }

    pub(super) fn list<'a>(&mut self, node: &'a Node, name: &str, allowed: &str) -> Option<&'a [Node]> {
        match &node.value {
            Value::List(items) if items.is_empty() => {
                self.note(Mistake::new(node.place, format!("{name} is empty")).allowed(allowed));
                None
            }
            Value::List(items) => Some(items),
            _ => {
                self.wrong_type(node, name, allowed);
                None
            }
        }
    }

    /// A list, or a single item without the brackets.
    pub(super) fn one_or_more<'a>(&mut self, node: &'a Node, name: &str, allowed: &str) -> Option<&'a [Node]> {
        match &node.value {
            Value::List(_) => self.list(node, name, allowed),
            _ => Some(std::slice::from_ref(node)),
        }
    }

    pub(super) fn map<'a>(&mut self, node: &'a Node, name: &str, allowed: &str) -> Option<&'a [(Key, Node)]> {
        match &node.value {
            Value::Map(entries) if !entries.is_empty() => Some(entries),
            _ => {
                self.wrong_type(node, name, allowed);
                None
            }
        }
    }

    /// A whole number in a range.
    pub(super) fn number<T>(&mut self, node: &Node, name: &str, range: RangeInclusive<u64>) -> Option<T>
    where
        T: TryFrom<u64>,
    {
        let allowed = format!("a whole number from {} to {}", range.start(), range.end());
        let Value::Integer(number) = node.value else {
            self.wrong_type(node, name, allowed);
            return None;
        };
        let inside = u64::try_from(number).ok().filter(|number| range.contains(number));
        if inside.is_none() {
            self.note(Mistake::new(node.place, format!("{name} can't be {number}")).allowed(allowed));
        }
        inside.and_then(|number| T::try_from(number).ok())
    }

    /// A whole number, or a smallest and a largest such as `[3, 7]`.
    pub(super) fn range<T>(&mut self, node: &Node, name: &str, range: RangeInclusive<u64>) -> Option<(T, T)>
    where
        T: TryFrom<u64> + Copy + PartialOrd,
    {
        let Value::List(ends) = &node.value else {
            return self.number(node, name, range).map(|number: T| (number, number));
        };
        let allowed = format!("a smallest and a largest from {} to {}, such as [3, 7]", range.start(), range.end());
        let [least, most] = ends.as_slice() else {
            self.note(Mistake::new(node.place, format!("{name} has {} numbers", ends.len())).allowed(allowed));
            return None;
        };
        let (least, most) = (self.number::<T>(least, name, range.clone()), self.number::<T>(most, name, range));
        let (least, most) = (least?, most?);
        if least > most {
            let mistake = Mistake::new(node.place, format!("{name} has its largest before its smallest"));
            self.note(mistake.allowed(allowed).mend("exchange the two"));
            return None;
        }
        Some((least, most))
    }

    pub(super) fn text<'a>(&mut self, node: &'a Node, name: &str, allowed: &str) -> Option<&'a str> {
        match &node.value {
            Value::Text(text) => Some(text),
            _ => {
                self.wrong_type(node, name, allowed);
                None
            }
        }
    }

    /// A word, or a number written as one, that `parse` understands.
    pub(super) fn word<T>(
        &mut self,
        node: &Node,
        name: &str,
        allowed: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let word = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            _ => {
                self.wrong_type(node, name, allowed);
                return None;
            }
        };
        let parsed = parse(&word);
        if parsed.is_none() {
            let mistake = Mistake::new(node.place, format!("{name} can't be `{word}`")).allowed(allowed);
            self.note(with_nearest(mistake, &word, allowed.split(", ")));
        }
        parsed
    }

    /// A flag.
    pub(super) fn flag(&mut self, node: &Node, name: &str) -> Option<bool> {
        match &node.value {
            Value::Bool(flag) => Some(*flag),
            _ => {
                self.wrong_type(node, name, "true, false");
                None
            }
        }
    }

    /// A duration in milliseconds.
    pub(super) fn duration_ms(&mut self, node: &Node, name: &str, range_ms: RangeInclusive<u64>) -> Option<u64> {
        let Value::Text(text) = &node.value else {
            self.wrong_type(node, name, DURATIONS_ALLOWED);
            if let (Value::Integer(number), Some(mistake)) = (&node.value, self.mistakes.last_mut()) {
                mistake.mend = Some(format!("add the unit: {number}s or {number}ms"));
            }
            return None;
        };
        let Some(duration_ms) = parse_duration_ms(text) else {
            self.note(Mistake::new(node.place, format!("{name} can't be `{text}`")).allowed(DURATIONS_ALLOWED));
            return None;
        };
        if !range_ms.contains(&duration_ms) {
            let allowed = format!("from {} to {}", show_ms(*range_ms.start()), show_ms(*range_ms.end()));
            let way = if duration_ms < *range_ms.start() { "short" } else { "long" };
            self.note(Mistake::new(node.place, format!("{name} is too {way}: {text}")).allowed(allowed));
            return None;
        }
        Some(duration_ms)
    }

    /// `3s`, or `[2s, 4s]` for anything between.
    pub(super) fn span(&mut self, node: &Node, name: &str, range_ms: RangeInclusive<u64>) -> Option<Span> {
        const ALLOWED: &str = "a duration such as 3s, or a shortest and a longest such as [2s, 4s]";
        match &node.value {
            Value::List(ends) => {
                let [shortest, longest] = ends.as_slice() else {
                    let what = format!("{name} has {} durations", ends.len());
                    self.note(Mistake::new(node.place, what).allowed(ALLOWED));
                    return None;
                };
                let min_ms = self.duration_ms(shortest, name, range_ms.clone());
                let max_ms = self.duration_ms(longest, name, range_ms);
                let span = Span { min_ms: min_ms?, max_ms: max_ms? };
                if span.min_ms > span.max_ms {
                    let what = format!("{name} has its longest before its shortest");
                    self.note(Mistake::new(node.place, what).allowed(ALLOWED).mend("exchange the two"));
                    return None;
                }
                Some(span)
            }
            Value::Text(_) => {
                self.duration_ms(node, name, range_ms).map(|length_ms| Span { min_ms: length_ms, max_ms: length_ms })
            }
            _ => {
                self.wrong_type(node, name, ALLOWED);
                None
            }
        }
    }
}

/// `a, b, c`.
pub(super) fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().collect::<Vec<_>>().join(", ")
}

/// A duration on the command line, written as in a campaign.
///
/// # Errors
/// It is none; what is allowed.
pub(crate) fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let duration_ms = parse_duration_ms(text).ok_or_else(|| format!("allowed: {DURATIONS_ALLOWED}"))?;
    Ok(std::time::Duration::from_millis(duration_ms))
}

/// `1500ms`, `5s`, `2m`, `1h`, `10d` in milliseconds.
fn parse_duration_ms(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// The shortest way to write a duration.
pub(super) fn show_ms(duration_ms: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let fits = units.into_iter().find(|(factor, _)| duration_ms > 0 && duration_ms.is_multiple_of(*factor));
    match fits {
        Some((factor, unit)) => format!("{}{unit}", duration_ms / factor),
        None if duration_ms > 10_000 => format!("{}.{}s", duration_ms / 1000, duration_ms % 1000 / 100),
        None => format!("{duration_ms}ms"),
    }
}

fn with_nearest<'a>(mistake: Mistake, word: &str, candidates: impl Iterator<Item = &'a str>) -> Mistake {
    let nearest = candidates.map(|candidate| (edits(word, candidate), candidate)).min();
    match nearest {
        // Two exchanged letters are a slip; half of the word wrong is another word.
        Some((distance, candidate)) if distance <= 2 && distance * 2 < candidate.len() => {
            mistake.mend(format!("write `{candidate}`?"))
        }
        _ => mistake,
    }
}

/// Levenshtein's distance, by bytes.
fn edits(one: &str, other: &str) -> usize {
    let other = other.as_bytes();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate().take(64) {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_a_unit() {
        let good =
            [("1500ms", 1500), ("5s", 5_000), ("2m", 120_000), ("1h", 3_600_000), ("10d", 864_000_000), ("0s", 0)];
        for (text, duration_ms) in good {
            assert_eq!(parse_duration_ms(text), Some(duration_ms), "{text}");
        }
        for bad in ["", "5", "s", "5 s", "-5s", "1.5s", "5sec", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse_duration_ms(bad), None, "{bad}");
        }
        for (duration_ms, text) in [(0, "0ms"), (1500, "1500ms"), (60_000, "1m"), (61_000, "61s"), (38_240, "38.2s")] {
            assert_eq!(show_ms(duration_ms), text);
        }
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("replicaton", "replication"), 1);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
