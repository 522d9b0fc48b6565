//! Numbers for names and for written values: open hashing into vectors.
//!
//! A tree would do, ten times slower. Nothing iterates over the slots, so the order of hashing shows nowhere: numbers are
//! given in the order of arrival.

const EMPTY: u32 = u32::MAX;

/// Mixes all bits of a number into the high ones (a step of splitmix64).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

fn hashed(bytes: &[u8]) -> u64 {
    let mut hash = bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mixed(hash ^ u64::from_le_bytes(word)).rotate_left(23);
    }
    hash
}

/// Slots of item numbers, found by hash and compared by the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Slots {
    slots: Vec<u32>,
    used: usize,
}

impl Slots {
    fn find(&self, hash: u64, is_same: impl Fn(u32) -> bool) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut at = (hash >> 32) as usize & mask;
        loop {
            match self.slots[at] {
                EMPTY => return None,
                item if is_same(item) => return Some(item),
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn insert(&mut self, hash: u64, item: u32, hash_of: impl Fn(u32) -> u64) {
        if self.used * 2 >= self.slots.len() {
            let size = (self.slots.len() * 2).max(16);
            let old = std::mem::replace(&mut self.slots, vec![EMPTY; size]);
            for item in old.into_iter().filter(|item| *item != EMPTY) {
                self.put(hash_of(item), item);
            }
        }
        self.put(hash, item);
        self.used += 1;
    }

    fn put(&mut self, hash: u64, item: u32) {
        let mask = self.slots.len() - 1;
        let mut at = (hash >> 32) as usize & mask;
        while self.slots[at] != EMPTY {
            at = (at + 1) & mask;
        }
        self.slots[at] = item;
    }
}

/// Names with numbers from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    names: Vec<String>,
    slots: Slots,
}

impl Names {
    /// The number of a name, a new one if it has none yet.
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        let hash = hashed(name.as_bytes());
        if let Some(known) = self.slots.find(hash, |item| self.names[item as usize] == name) {
            return known;
        }
        let item = u32::try_from(self.names.len()).expect("fewer names than operations, which are counted");
        self.names.push(name.to_owned());
        let names = &self.names;
        self.slots.insert(hash, item, |item| hashed(names[item as usize].as_bytes()));
        item
    }

    pub(crate) fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}

/// Pairs of numbers (a key and a value, a process) with numbers from 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs {
    pairs: Vec<(u64, u64)>,
    slots: Slots,
}

fn pair_hash((first, second): (u64, u64)) -> u64 {
    mixed(mixed(first.wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ second)
}

impl Pairs {
    pub(crate) fn find(&self, first: u64, second: u64) -> Option<u32> {
        let pair = (first, second);
        self.slots.find(pair_hash(pair), |item| self.pairs[item as usize] == pair)
    }

    /// The number of a pair, and whether it is new.
    pub(crate) fn number(&mut self, first: u64, second: u64) -> (u32, bool) {
        if let Some(known) = self.find(first, second) {
            return (known, false);
        }
        let pair = (first, second);
        let item = u32::try_from(self.pairs.len()).expect("fewer pairs than operations, which are counted");
        self.pairs.push(pair);
        let pairs = &self.pairs;
        self.slots.insert(pair_hash(pair), item, |item| pair_hash(pairs[item as usize]));
        (item, true)
    }
}

#[cfg(test)]
mod tests {
    use super::{Names, Pairs};

    #[test]
    fn names_and_pairs_keep_the_numbers_of_their_arrival() {
        let (mut names, mut pairs) = (Names::default(), Pairs::default());
        for round in 0..2 {
            for number in 0..1_000_u32 {
                assert_eq!(names.number(&format!("key {number}")), number);
                assert_eq!(pairs.number(u64::from(number % 7), u64::from(number)), (number, round == 0));
            }
        }
        assert_eq!((names.len(), names.name(31)), (1_000, "key 31"));
        assert_eq!((pairs.find(3, 10), pairs.find(4, 10)), (Some(10), None));
    }
}
