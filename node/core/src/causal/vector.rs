//! Version vectors: per actor, all of its dots up to a counter.
//!
//! Invariant: ascending by actor, no actor twice, no counter 0. What comes from outside is checked when it is decoded.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{ActorId, Dot};

/// A version vector. The derived equality is that of the dots covered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(ActorId, u64)>")]
pub struct VersionVector(Vec<(ActorId, u64)>);

impl VersionVector {
    /// Whether it covers nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Actors with a counter.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The counter up to which the actor's dots are covered, 0 for none.
    pub fn get(&self, actor: ActorId) -> u64 {
        self.place(actor).map_or(0, |place| self.0[place].1)
    }

    /// Whether it covers the dot.
    pub fn contains(&self, dot: Dot) -> bool {
        dot.counter <= self.get(dot.actor)
    }

    /// Covers the actor's dots up to `counter`, and what it covered before.
    pub fn raise(&mut self, actor: ActorId, counter: u64) {
        match self.place(actor) {
            Ok(place) => self.0[place].1 = self.0[place].1.max(counter),
            Err(place) if counter > 0 => self.0.insert(place, (actor, counter)),
            Err(_) => {}
        }
    }

    /// Covers what either covers.
    pub fn join(&mut self, other: &VersionVector) {
        for (actor, counter) in other.iter() {
            self.raise(actor, counter);
        }
    }

    /// Keeps the entries for which this is true.
    pub fn retain(&mut self, mut keep: impl FnMut(ActorId, u64) -> bool) {
        self.0.retain(|(actor, counter)| keep(*actor, *counter));
    }

    /// The entries, ascending by actor.
    pub fn iter(&self) -> impl Iterator<Item = (ActorId, u64)> + '_ {
        self.0.iter().copied()
    }

    fn place(&self, actor: ActorId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&actor, |(actor, _)| *actor)
    }
}

impl TryFrom<Vec<(ActorId, u64)>> for VersionVector {
    type Error = &'static str;
    fn try_from(entries: Vec<(ActorId, u64)>) -> Result<VersionVector, Self::Error> {
        if !entries.is_sorted_by(|a, b| a.0 < b.0) || entries.iter().any(|(_, counter)| *counter == 0) {
            return Err("a version vector that is out of order");
        }
        Ok(VersionVector(entries))
    }
}

impl FromIterator<(ActorId, u64)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (ActorId, u64)>>(entries: I) -> VersionVector {
        let mut vector = VersionVector::default();
        for (actor, counter) in entries {
            vector.raise(actor, counter);
        }
        vector
    }
}
