//! The node clock, a bitmap version vector: per actor a base, up to which every dot is accounted for, and a bitmap of single dots
//! above it.
//!
//! The bitmap is kept in words of 64 dots at fixed places, the words without a dot left out: a gap of any length costs nothing,
//! and a dot far ahead of the base, which anybody may send, costs one word.
//!
//! Invariant (normal form): the dot behind the base is not set, no dot up to the base is, and no word is zero. So clocks of equal
//! dots are equal.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{ActorId, Dot, VersionVector};

const WORD: u64 = 64;

/// Dots of one actor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    base: u64,
    /// Bit `i` of word `w` is dot `64 w + i + 1`.
    words: BTreeMap<u64, u64>,
}

impl Entry {
    fn contains(&self, counter: u64) -> bool {
        counter <= self.base || self.words.get(&((counter - 1) / WORD)).is_some_and(|word| word & bit(counter) != 0)
    }

    fn set(&mut self, counter: u64) {
        if counter > self.base {
            *self.words.entry((counter - 1) / WORD).or_default() |= bit(counter);
            self.normalise();
        }
    }

    fn raise(&mut self, base: u64) {
        self.base = self.base.max(base);
        self.normalise();
    }

    fn normalise(&mut self) {
        loop {
            let first = self.base / WORD;
            while self.words.first_key_value().is_some_and(|(place, word)| *place < first || *word == 0) {
                self.words.pop_first();
            }
            let Some(word) = self.words.get_mut(&first) else { break };
            // What the base covers is no bit any more; what follows it without a gap moves the base.
            let covered = self.base % WORD;
            *word = *word >> covered << covered;
            let run = u64::from((*word >> covered).trailing_ones());
            if run == 0 {
                if *word == 0 {
                    self.words.remove(&first);
                }
                break;
            }
            self.base = self.base.saturating_add(run);
        }
    }
}

fn bit(counter: u64) -> u64 {
    1 << ((counter - 1) % WORD)
}

/// A node clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(ActorId, Entry)>", into = "Vec<(ActorId, Entry)>")]
pub struct NodeClock(BTreeMap<ActorId, Entry>);

impl NodeClock {
    /// Whether the dot is accounted for. No actor makes a dot 0.
    pub fn contains(&self, dot: Dot) -> bool {
        dot.counter > 0 && self.0.get(&dot.actor).is_some_and(|entry| entry.contains(dot.counter))
    }

    /// The counter up to which every dot of the actor is accounted for.
    pub fn base(&self, actor: ActorId) -> u64 {
        self.0.get(&actor).map_or(0, |entry| entry.base)
    }

    /// Accounts for one dot; whether it was not before.
    pub fn add(&mut self, dot: Dot) -> bool {
        let added = dot.counter > 0 && !self.contains(dot);
        if added {
            self.0.entry(dot.actor).or_default().set(dot.counter);
        }
        added
    }

    /// Accounts for every dot of the actor up to `base`.
    pub fn raise(&mut self, actor: ActorId, base: u64) {
        if base > 0 {
            self.0.entry(actor).or_default().raise(base);
        }
    }

    /// Accounts for the dots of another clock's entry.
    pub fn join_entry(&mut self, actor: ActorId, other: &NodeClock) {
        if let Some(theirs) = other.0.get(&actor) {
            let mine = self.0.entry(actor).or_default();
            for (place, word) in &theirs.words {
                *mine.words.entry(*place).or_default() |= word;
            }
            mine.raise(theirs.base);
        }
    }

    /// Accounts for the dots of another clock.
    pub fn join(&mut self, other: &NodeClock) {
        for actor in other.0.keys() {
            self.join_entry(*actor, other);
        }
    }

    /// One actor's entry alone.
    pub fn entry(&self, actor: ActorId) -> NodeClock {
        NodeClock(self.0.get(&actor).map(|entry| (actor, entry.clone())).into_iter().collect())
    }

    /// The bases alone.
    pub fn bases(&self) -> VersionVector {
        self.actors().map(|actor| (actor, self.base(actor))).collect()
    }

    /// Every actor that made a dot of this clock, ascending.
    pub fn actors(&self) -> impl Iterator<Item = ActorId> + '_ {
        self.0.keys().copied()
    }

    /// Words of the bitmaps together: what the clock takes besides its bases.
    pub fn words(&self) -> usize {
        self.0.values().map(|entry| entry.words.len()).sum()
    }

    /// The same with at most so many words of bitmaps, the highest left out: a clock that claims less.
    pub fn with_words_max(&self, mut words_max: usize) -> NodeClock {
        let mut clock = self.clone();
        for entry in clock.0.values_mut() {
            while entry.words.len() > words_max {
                entry.words.pop_last();
            }
            words_max -= entry.words.len();
        }
        clock
    }
}

impl From<Vec<(ActorId, Entry)>> for NodeClock {
    /// Whatever comes from outside is brought to normal form.
    fn from(entries: Vec<(ActorId, Entry)>) -> NodeClock {
        let mut clock = NodeClock(entries.into_iter().collect());
        for entry in clock.0.values_mut() {
            // No word may stand where its dots would have no number.
            entry.words.retain(|place, word| *word != 0 && *place < u64::MAX / WORD);
            entry.normalise();
        }
        clock.0.retain(|_, entry| entry.base > 0 || !entry.words.is_empty());
        clock
    }
}

impl From<NodeClock> for Vec<(ActorId, Entry)> {
    fn from(clock: NodeClock) -> Vec<(ActorId, Entry)> {
        clock.0.into_iter().collect()
    }
}
