//! A hash table of positions in a list that the caller owns: for interning. Deterministic, since nothing is ever iterated
//! and the hash has no random seed. Bounded by what the caller puts in.

/// Positions by a hash of what they stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// `EMPTY` or a position; the length is a power of two.
    slots: Vec<u32>,
    used: usize,
}

const EMPTY: u32 = u32::MAX;

impl Table {
    /// A table with room for so many positions.
    pub(crate) fn with_capacity(positions: usize) -> Table {
        Table { slots: vec![EMPTY; (positions * 2).next_power_of_two().max(16)], used: 0 }
    }

    /// The position that `is_it` accepts, or `new`, which is put in then. `hash_of` gives the hash of a position that is in.
    pub(crate) fn find_or_insert(
        &mut self,
        hash: u64,
        new: u32,
        is_it: impl Fn(u32) -> bool,
        hash_of: impl Fn(u32) -> u64,
    ) -> u32 {
        if self.used * 2 >= self.slots.len() {
            self.grow(hash_of);
        }
        let mask = self.slots.len() - 1;
        let mut at = spread(hash) as usize & mask;
        loop {
            match self.slots[at] {
                EMPTY => {
                    self.slots[at] = new;
                    self.used += 1;
                    return new;
                }
                known if is_it(known) => return known,
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// The position that `is_it` accepts.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut at = spread(hash) as usize & mask;
        loop {
            match self.slots[at] {
                EMPTY => return None,
                known if is_it(known) => return Some(known),
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Takes all positions out, and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.slots.fill(EMPTY);
        self.used = 0;
    }

    fn grow(&mut self, hash_of: impl Fn(u32) -> u64) {
        let length = (self.slots.len() * 2).max(16);
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; length]);
        for position in old.into_iter().filter(|position| *position != EMPTY) {
            let mut at = spread(hash_of(position)) as usize & (length - 1);
            while self.slots[at] != EMPTY {
                at = (at + 1) & (length - 1);
            }
            self.slots[at] = position;
        }
    }
}

/// The bits of a hash, mixed so that the low ones depend on all.
fn spread(hash: u64) -> u64 {
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// A hash of bytes.
pub(crate) fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
        hash = (hash ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25);
        hash ^= hash >> 35;
    }
    for byte in chunks.remainder() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

/// A hash of two numbers.
pub(crate) fn hash_pair(a: u64, b: u64) -> u64 {
    (a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b).wrapping_mul(0x9fb2_1c65_1e98_df25)
}

/// Texts by number, each kept once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interner {
    texts: Vec<Box<str>>,
    table: Table,
    last: u32,
}

impl Interner {
    /// The number of a text.
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        // The same key twice in a row is common: an invocation and its completion.
        if self.texts.get(self.last as usize).is_some_and(|last| **last == *text) {
            return self.last;
        }
        let texts = &self.texts;
        let new = texts.len() as u32;
        let is_it = |known: u32| &*texts[known as usize] == text;
        let hash_of = |known: u32| hash_bytes(texts[known as usize].as_bytes());
        let number = self.table.find_or_insert(hash_bytes(text.as_bytes()), new, is_it, hash_of);
        if number == new {
            self.texts.push(text.into());
        }
        self.last = number;
        number
    }

    /// All texts so far, by number.
    pub(crate) fn texts(&self) -> &[Box<str>] {
        &self.texts
    }

    /// All texts, by number.
    pub(crate) fn into_texts(self) -> Vec<Box<str>> {
        self.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_get_one_number_each_however_many_there_are() {
        let mut interner = Interner::default();
        let numbers: Vec<u32> = (0..5_000).map(|key| interner.number(&format!("key-{key}"))).collect();
        assert_eq!(numbers, (0..5_000).collect::<Vec<u32>>());
        assert!((0..5_000).rev().all(|key| interner.number(&format!("key-{key}")) == key));
        assert_eq!(&*interner.into_texts()[4_321], "key-4321");
    }
}
