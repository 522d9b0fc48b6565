//! How the causal store lies on the disk, beside the entries of `store_codec`.
//!
//! | store key | store value |
//! |---|---|
//! | `m` `life` | the life of this node's actor, 8 bytes big endian |
//! | `m` `log_mark` | drops of the dot log so far, 8 bytes big endian |
//! | `c` actor | the clock's entry of this actor, postcard; the log's dots of it belong to it as well |
//! | `l` actor, counter (8 bytes big endian) | the key that the dot belongs to |
//! | `x` actor | mark of that neighbour's log when everything was last compared with it, 8 bytes big endian |
//! | `d` key | format byte 2, the stripped container, postcard |
//!
//! An actor is its node (2 bytes) and its life (8 bytes), big endian.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{ActorId, Container, Dot, NodeClock};
use crate::{Key, NodeId, WriteBatch, store_codec};

/// First byte of a stored container; last-write-wins versions have another.
pub(crate) const FORMAT: u8 = 2;
const LIFE: &[u8] = b"mlife";
const LOG_MARK: &[u8] = b"mlog_mark";
const CLOCK: u8 = b'c';
const LOG: u8 = b'l';
const COMPARED: u8 = b'x';

type Entry = (Vec<u8>, Vec<u8>);

/// What a disk holds of a causal store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CausalContent {
    /// The life of the node's actor; `None`: the disk is empty.
    pub life: Option<u64>,
    /// Drops of the dot log.
    pub log_mark: u64,
    /// The clock without the dots of the log.
    pub clock: NodeClock,
    /// The dot log.
    pub log: BTreeMap<Dot, Key>,
    /// Marks of neighbours' logs.
    pub compared: BTreeMap<ActorId, u64>,
    /// The containers.
    pub containers: Vec<(Key, Container)>,
}

impl CausalContent {
    /// The clock with the dots of the log.
    pub fn whole_clock(&self) -> NodeClock {
        let mut clock = self.clock.clone();
        for dot in self.log.keys() {
            clock.add(*dot);
        }
        clock
    }

    /// Takes an entry of the store. `None`: it is none of a causal store, or not readable.
    pub fn take(&mut self, store_key: &[u8], store_value: &[u8]) -> Option<()> {
        if store_key == LIFE {
            self.life = Some(number(store_value)?);
        } else if store_key == LOG_MARK {
            self.log_mark = number(store_value)?;
        } else if let Some(key) = store_codec::stored_key(store_key) {
            self.containers.push((key, decode_container(store_value)?));
        } else {
            let (&kind, rest) = store_key.split_first()?;
            let (actor, rest) = actor(rest)?;
            match (kind, rest) {
                (CLOCK, []) => {
                    let clock: NodeClock = postcard::from_bytes(store_value).ok()?;
                    self.clock.join_entry(actor, &clock);
                }
                (COMPARED, []) => drop(self.compared.insert(actor, number(store_value)?)),
                (LOG, counter) => {
                    let counter = number(counter).filter(|counter| *counter > 0)?;
                    let key = Key(store_value.to_vec());
                    ((1..=Key::LENGTH_MAX).contains(&key.0.len())).then_some(())?;
                    self.log.insert(Dot { actor, counter }, key);
                }
                _ => return None,
            }
        }
        Some(())
    }
}

/// Puts an entry into a batch whose deletes are carried out after its puts.
pub(super) fn put(durable: &mut WriteBatch, (key, value): Entry) {
    durable.deletes.retain(|deleted| *deleted != key);
    durable.puts.push((key, value));
}

pub(super) fn life_entry(life: u64) -> Entry {
    (LIFE.to_vec(), life.to_be_bytes().to_vec())
}

pub(super) fn log_mark_entry(mark: u64) -> Entry {
    (LOG_MARK.to_vec(), mark.to_be_bytes().to_vec())
}

pub(super) fn clock_entry(actor: ActorId, clock: &NodeClock) -> Entry {
    let entry = postcard::to_allocvec(&clock.entry(actor)).expect("a clock always serializes");
    (actor_key(CLOCK, actor), entry)
}

pub(super) fn log_key(dot: Dot) -> Vec<u8> {
    let mut key = actor_key(LOG, dot.actor);
    key.extend_from_slice(&dot.counter.to_be_bytes());
    key
}

pub(super) fn log_entry(dot: Dot, key: &Key) -> Entry {
    (log_key(dot), key.0.clone())
}

pub(super) fn compared_key(actor: ActorId) -> Vec<u8> {
    actor_key(COMPARED, actor)
}

pub(super) fn compared_entry(actor: ActorId, mark: u64) -> Entry {
    (compared_key(actor), mark.to_be_bytes().to_vec())
}

pub(super) fn container_key(key: &Key) -> Vec<u8> {
    store_codec::data_key(key)
}

pub(super) fn container_value(container: &Container) -> Vec<u8> {
    postcard::to_extend(container, alloc::vec![FORMAT]).expect("a container always serializes")
}

/// The container in a stored value; `None`: it holds something else.
pub(crate) fn decode_container(store_value: &[u8]) -> Option<Container> {
    match store_value.split_first() {
        Some((&FORMAT, body)) => match postcard::take_from_bytes(body) {
            Ok((container, [])) => Some(container),
            _ => None,
        },
        _ => None,
    }
}

fn actor_key(kind: u8, actor: ActorId) -> Vec<u8> {
    let mut key = alloc::vec![kind];
    key.extend_from_slice(&actor.node.0.to_be_bytes());
    key.extend_from_slice(&actor.life.to_be_bytes());
    key
}

fn actor(bytes: &[u8]) -> Option<(ActorId, &[u8])> {
    let (node, rest) = bytes.split_first_chunk::<2>()?;
    let (life, rest) = rest.split_first_chunk::<8>()?;
    Some((ActorId { node: NodeId(u16::from_be_bytes(*node)), life: u64::from_be_bytes(*life) }, rest))
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}
