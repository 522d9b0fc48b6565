//! Dotted causal containers: what a replica stores under a key.
//!
//! The vector covers every dot of the key that this container knows of. A dot that is covered and not among the values is
//! overwritten. So joining two containers needs no tombstones: a value lives if both hold it, or one holds it and the other
//! has never heard of it.
//!
//! *Strip* and *fill*: the stored vector leaves out what the node's clock covers by its bases, and gets it back when it is read or
//! sent. A container without values whose stripped vector is empty says nothing that the clock does not: it is removed.
//!
//! Invariants: values ascend by dot and every dot is covered by the vector *once filled*; fill after strip with the same clock, or
//! a later one of the same node, loses nothing.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{ActorId, Dot, NodeClock, VersionVector};
use crate::{NodeId, Value};

/// A dotted causal container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawContainer")]
pub struct Container {
    values: Vec<(Dot, Value)>,
    vector: VersionVector,
}

#[derive(Deserialize)]
struct RawContainer {
    values: Vec<(Dot, Value)>,
    vector: VersionVector,
}

impl TryFrom<RawContainer> for Container {
    type Error = &'static str;
    fn try_from(RawContainer { values, vector }: RawContainer) -> Result<Container, Self::Error> {
        if !values.is_sorted_by(|a, b| a.0 < b.0) || values.iter().any(|(dot, _)| dot.counter == 0) {
            return Err("a container that is out of order");
        }
        Ok(Container { values, vector })
    }
}

impl Container {
    /// Values that no write has overwritten yet, ascending by dot: more than one are *siblings*.
    pub fn values(&self) -> &[(Dot, Value)] {
        &self.values
    }

    /// Their dots, ascending.
    pub fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.values.iter().map(|(dot, _)| *dot)
    }

    /// What it knows of besides the node's clock.
    pub fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.vector.is_empty()
    }

    /// Whether the dot is among the values, or known to be overwritten.
    pub fn accounts_for(&self, dot: Dot) -> bool {
        self.vector.contains(dot) || self.dots().any(|held| held == dot)
    }

    /// Bytes of the values together.
    pub fn payload_bytes(&self) -> usize {
        self.values.iter().map(|(_, value)| value.0.len()).sum()
    }

    /// A write that has seen `context`: what the context covers is overwritten. Without a value it is a delete, which has a
    /// dot like any other write: that is how it travels. The container must be filled.
    pub fn write(&mut self, context: &VersionVector, dot: Dot, value: Option<Value>) {
        self.values.retain(|(held, _)| !context.contains(*held));
        self.vector.join(context);
        self.vector.raise(dot.actor, dot.counter);
        if let Some(value) = value {
            self.insert(dot, value);
        }
    }

    /// Takes over what another container of this key knows. Both must be filled.
    pub fn join(&mut self, other: &Container) {
        let news = |(dot, _): &&(Dot, Value)| !self.vector.contains(*dot) && !self.dots().any(|held| held == *dot);
        let news: Vec<(Dot, Value)> = other.values.iter().filter(news).cloned().collect();
        self.values.retain(|(dot, _)| !other.vector.contains(*dot) || other.dots().any(|held| held == *dot));
        for (dot, value) in news {
            self.insert(dot, value);
        }
        self.vector.join(&other.vector);
    }

    /// Leaves out of the vector what the bases of the node's clock cover.
    pub fn strip(&mut self, clock: &NodeClock) {
        self.vector.retain(|actor, counter| counter > clock.base(actor));
    }

    /// Puts back into the vector what the clock covers by its bases: of the key's replicas, for nobody else made a dot of this key.
    pub fn fill(&mut self, clock: &NodeClock, replicas: &[NodeId]) {
        for actor in clock.actors().filter(|actor| replicas.contains(&actor.node)) {
            self.vector.raise(actor, clock.base(actor));
        }
    }

    fn insert(&mut self, dot: Dot, value: Value) {
        if let Err(place) = self.values.binary_search_by_key(&dot, |(held, _)| *held) {
            self.values.insert(place, (dot, value));
        }
    }

    /// Whether it is what a replica sends: filled, so that the vector covers each dot, and all of it made by these replicas.
    pub fn is_whole(&self, replicas: &[NodeId]) -> bool {
        let of = |actor: ActorId| replicas.contains(&actor.node);
        self.dots().all(|dot| self.vector.contains(dot)) && self.vector.iter().all(|(actor, _)| of(actor))
    }
}

impl crate::table::Record for Container {
    /// Dots and values, and not the vector: what two replicas know beyond the values differs while they agree.
    fn hash_canonical(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&[3]);
        hasher.update(&(self.values.len() as u64).to_be_bytes());
        for (Dot { actor, counter }, value) in &self.values {
            hasher.update(&actor.node.0.to_be_bytes());
            hasher.update(&actor.life.to_be_bytes());
            hasher.update(&counter.to_be_bytes());
            hasher.update(&(value.0.len() as u64).to_be_bytes());
            hasher.update(&value.0);
        }
    }
    fn stamp(&self) -> u64 {
        0
    }
    fn payload_bytes(&self) -> usize {
        // A dot and a vector entry take at most 23 bytes, a length 5.
        self.payload_bytes() + 28 * self.values.len() + 23 * self.vector.len()
    }
    fn is_storable(&self) -> bool {
        self.values.iter().all(|(_, value)| value.0.len() <= Value::LENGTH_MAX)
    }
    fn is_absent(&self) -> bool {
        self.values.is_empty()
    }
}
