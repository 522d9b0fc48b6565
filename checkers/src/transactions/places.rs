//! Written values by their place: a table of numbers, without hashing where values are close to each other.
//!
//! Clients count what they write, key by key or all over, so that values that are written or read at about the same time
//! lie side by side. The table is chosen by the span of the values: one part for each key where all parts together are not
//! much longer than there are values, else one for all keys. What finds its place taken, or has none, is hashed.

use super::intern::Pairs;

/// Places for each value that is written.
const PLACES_PER_VALUE: u64 = 4;
const NONE: u32 = u32::MAX;

/// What is written: how much, and between which values.
pub(super) struct Written {
    count: u64,
    /// Of each key: the smallest and the greatest value.
    spans: Vec<(i64, i64)>,
}

impl Written {
    pub(super) fn new(keys: usize) -> Written {
        Written { count: 0, spans: vec![(i64::MAX, i64::MIN); keys] }
    }

    pub(super) fn add(&mut self, key: u32, value: i64) {
        self.count += 1;
        let span = &mut self.spans[key as usize];
        *span = (span.0.min(value), span.1.max(value));
    }

    pub(super) fn count(&self) -> usize {
        self.count as usize
    }
}

/// The numbers of keys with values.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Of each key: its smallest value, the place of that and how many places there are.
    parts: Vec<(i64, u32, u32)>,
    table: Vec<u32>,
    /// Of what the table does not have: their numbers.
    others: Pairs,
    numbers: Vec<u32>,
}

impl Places {
    pub(super) fn new(written: Written) -> Places {
        let length = |(least, greatest): (i64, i64)| match greatest.checked_sub(least) {
            _ if least > greatest => 0,
            Some(length) => length.unsigned_abs().saturating_add(1),
            None => u64::MAX,
        };
        let longest = (PLACES_PER_VALUE * written.count).min(u64::from(NONE));
        let all = written.spans.iter().fold((i64::MAX, i64::MIN), |all, span| (all.0.min(span.0), all.1.max(span.1)));
        let by_key = written.spans.iter().fold(0, |sum: u64, span| sum.saturating_add(length(*span)));
        let mut parts = Vec::new();
        let mut places = 0;
        if by_key <= longest {
            for span in written.spans {
                let length = length(span);
                parts.push((span.0, places as u32, length as u32));
                places += length;
            }
        } else if length(all) <= longest {
            places = length(all);
            parts = vec![(all.0, 0, places as u32); written.spans.len()];
        } else {
            parts = vec![(0, 0, 0); written.spans.len()];
        }
        Places { parts, table: vec![NONE; places as usize], others: Pairs::default(), numbers: Vec::new() }
    }

    fn place(&self, key: u32, value: i64) -> Option<usize> {
        let (least, first, length) = self.parts[key as usize];
        let at = value.checked_sub(least).filter(|at| (0..i64::from(length)).contains(at))?;
        Some(first as usize + at as usize)
    }

    /// The number of a key with a value; `key_of` gives the key of a number.
    pub(super) fn find(&self, key: u32, value: i64, key_of: impl Fn(u32) -> u32) -> Option<u32> {
        let known = self.place(key, value).map(|place| self.table[place]);
        match known {
            Some(NONE) => None,
            Some(number) if key_of(number) == key => Some(number),
            _ => self.others.find(u64::from(key), value as u64).map(|other| self.numbers[other as usize]),
        }
    }

    /// Adds a key with a value.
    ///
    /// # Errors
    /// It has a number: which.
    pub(super) fn add(&mut self, key: u32, value: i64, number: u32, key_of: impl Fn(u32) -> u32) -> Result<(), u32> {
        if let Some(place) = self.place(key, value) {
            match self.table[place] {
                NONE => {
                    self.table[place] = number;
                    return Ok(());
                }
                known if key_of(known) == key => return Err(known),
                _ => {}
            }
        }
        let (other, is_new) = self.others.number(u64::from(key), value as u64);
        if !is_new {
            return Err(self.numbers[other as usize]);
        }
        self.numbers.push(number);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Places, Written};

    #[test]
    fn all_that_was_written_is_found_and_nothing_else() {
        type Shape = (&'static str, fn(i64) -> (u32, i64));
        let shapes: [Shape; 6] = [
            ("counted by key", |at| ((at % 7) as u32, at / 7)),
            ("counted all over", |at| ((at * at % 7) as u32, at)),
            ("the same values of two keys, counted all over", |at| ((at % 7) as u32, at / 2 * 3)),
            ("spread", |at| ((at % 7) as u32, at.wrapping_mul(0x2545_f491_4f6c_dd1d))),
            ("both ends", |at| ((at % 3) as u32, if at % 2 == 0 { i64::MIN + at } else { i64::MAX - at })),
            ("twice", |at| ((at % 5) as u32, at % 500)),
        ];
        for (shape, pair) in shapes {
            let pairs: Vec<(u32, i64)> = (0..1_000).map(pair).collect();
            let mut written = Written::new(8);
            pairs.iter().for_each(|(key, value)| written.add(*key, *value));
            let mut places = Places::new(written);
            let (mut known, mut keys) = (BTreeMap::new(), Vec::new());
            for (key, value) in &pairs {
                let number = keys.len() as u32;
                let added = places.add(*key, *value, number, |number| keys[number as usize]);
                let first = *known.entry((*key, *value)).or_insert(number);
                assert_eq!(added, if first == number { Ok(()) } else { Err(first) }, "{shape}: {key} = {value}");
                if added.is_ok() {
                    keys.push(*key);
                }
            }
            for (key, value) in pairs {
                for (key, value) in [(key, value), (key, value.wrapping_add(1)), (7, value), (0, i64::MAX)] {
                    let found = places.find(key, value, |number| keys[number as usize]);
                    assert_eq!(found, known.get(&(key, value)).copied(), "{shape}: {key} = {value}");
                }
            }
        }
    }
}
