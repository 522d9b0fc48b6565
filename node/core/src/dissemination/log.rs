//! What a node has received (so that nothing is delivered twice) and what it still holds (so that it can pass it on).
//!
//! *Received* is a window per origin and incarnation: everything below `base`, and some above. *Held* is an archive of recent
//! broadcasts, bounded in number, bytes and age.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use super::message::{Message, MessageId, Payload};
use crate::{NodeId, Time};

/// Most origins (with their incarnations) whose broadcasts are told apart; the one that was silent the longest goes first.
pub const WINDOWS_MAX: usize = 16_384;
/// How far ahead of the first gap a broadcast may be; gaps further behind are given up.
pub const SPAN: u64 = 4_096;
/// Most broadcasts held.
pub const HELD_MAX: usize = 4_096;
/// Most bytes of payload held.
pub const HELD_BYTES_MAX: usize = 4 << 20;
/// How long a broadcast is held.
pub const HELD_MS: u64 = 60_000;

#[derive(Debug, Default)]
struct Window {
    /// Everything below was received or given up.
    base: u64,
    /// Received ones from `base` on, ascending.
    above: Vec<u64>,
    used: u64,
}

/// A broadcast that is held.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its content.
    pub payload: Payload,
    /// Hops it travelled to this node; 0 at its origin.
    pub round: u16,
    /// Who it came from; `None` at its origin.
    pub from: Option<NodeId>,
    /// When it came.
    pub at: Time,
}

/// Both.
#[derive(Debug, Default)]
pub struct MessageLog {
    windows: BTreeMap<(NodeId, u64), Window>,
    uses: u64,
    held: BTreeMap<MessageId, Held>,
    order: VecDeque<(Time, MessageId)>,
    bytes: usize,
    /// Broadcasts that were given up.
    pub(super) given_up: u64,
    /// Broadcasts that had to leave the archive early.
    pub(super) overflows: u64,
}

impl MessageLog {
    /// Whether it was received before, or given up.
    pub fn is_known(&self, id: MessageId) -> bool {
        self.windows
            .get(&(id.origin, id.incarnation))
            .is_some_and(|window| id.sequence < window.base || window.above.binary_search(&id.sequence).is_ok())
    }

    /// Takes a broadcast; whether it was news.
    pub(super) fn take(&mut self, now: Time, message: &Message, round: u16, from: Option<NodeId>) -> bool {
        if !self.note(message.id) {
            return false;
        }
        let length = message.payload.0.len();
        self.held.insert(message.id, Held { payload: message.payload.clone(), round, from, at: now });
        self.order.push_back((now, message.id));
        self.bytes += length;
        while self.held.len() > HELD_MAX || self.bytes > HELD_BYTES_MAX {
            self.drop_oldest();
            self.overflows += 1;
        }
        true
    }

    /// Notes an id; whether it was new.
    fn note(&mut self, id: MessageId) -> bool {
        let place = (id.origin, id.incarnation);
        if !self.windows.contains_key(&place) && self.windows.len() >= WINDOWS_MAX {
            let oldest = self.windows.iter().min_by_key(|(_, window)| window.used).map(|(place, _)| *place);
            self.windows.remove(&oldest.expect("the table is full"));
            self.given_up += 1;
        }
        self.uses += 1;
        let window = self.windows.entry(place).or_default();
        window.used = self.uses;
        if id.sequence < window.base {
            return false;
        }
        let Err(position) = window.above.binary_search(&id.sequence) else { return false };
        window.above.insert(position, id.sequence);
        let least = id.sequence.saturating_sub(SPAN - 1);
        if least > window.base {
            let passed = window.above.partition_point(|sequence| *sequence < least);
            self.given_up += least - window.base - passed as u64;
            window.above.drain(..passed);
            window.base = least;
        }
        let mut next = window.base;
        let contiguous = window
            .above
            .iter()
            .take_while(|&&sequence| {
                sequence == {
                    next += 1;
                    next - 1
                }
            })
            .count();
        window.above.drain(..contiguous);
        window.base += contiguous as u64;
        true
    }

    /// What is held under `id`.
    pub fn held(&self, id: MessageId) -> Option<&Held> {
        self.held.get(&id)
    }

    /// A held broadcast as it is sent on: with the hops it has when it arrives.
    pub(super) fn to_send(&self, id: MessageId) -> Option<(u16, Message)> {
        let held = self.held.get(&id)?;
        Some((held.round.saturating_add(1), Message { id, payload: held.payload.clone() }))
    }

    /// Ids of all that is held, in the order of their coming.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = MessageId> + '_ {
        self.order.iter().map(|(_, id)| *id)
    }

    /// Ids of the newest `count` that came at `since` or later, newest first.
    pub(super) fn recent(&self, since: Time, count: usize) -> impl Iterator<Item = MessageId> + '_ {
        self.order.iter().rev().take_while(move |(at, _)| *at >= since).take(count).map(|(_, id)| *id)
    }

    /// Lets go of what is too old.
    pub(super) fn expire(&mut self, now: Time) {
        while self.order.front().is_some_and(|(at, _)| now.since_ms(*at) >= HELD_MS) {
            self.drop_oldest();
        }
    }

    /// When something may be let go.
    pub(super) fn next_expiry(&self) -> Option<Time> {
        self.order.front().map(|(at, _)| at.plus_ms(HELD_MS))
    }

    fn drop_oldest(&mut self) {
        let (_, id) = self.order.pop_front().expect("what is held is in order");
        let held = self.held.remove(&id).expect("what is in order is held");
        self.bytes -= held.payload.0.len();
    }

    /// How many origins are told apart.
    pub fn windows(&self) -> usize {
        self.windows.len()
    }

    /// How many broadcasts are held, and the bytes of their payloads.
    pub fn size(&self) -> (usize, usize) {
        (self.held.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::sync::Arc;
    use alloc::vec;

    use rand::RngExt;

    use super::*;
    use crate::rng::sub_stream;

    fn message(origin: u16, sequence: u64, length: usize) -> Message {
        let id = MessageId { origin: NodeId(origin), incarnation: 1, sequence };
        Message { id, payload: Payload(Arc::from(vec![0_u8; length])) }
    }

    #[test]
    fn each_broadcast_is_news_once_in_whatever_order() {
        let mut rng = sub_stream(&[1; 32], "log");
        let (mut log, mut seen) = (MessageLog::default(), BTreeSet::new());
        for _ in 0..4_000 {
            let message = message(1, rng.random_range(0..1_000), 1);
            assert_eq!(log.is_known(message.id), seen.contains(&message.id));
            assert_eq!(log.take(Time(0), &message, 1, None), seen.insert(message.id));
        }
        for sequence in 0..1_000 {
            log.take(Time(0), &message(1, sequence, 1), 1, None);
        }
        let window = &log.windows[&(NodeId(1), 1)];
        assert!(window.base == 1_000 && window.above.is_empty(), "what is contiguous takes no memory: {window:?}");
        assert_eq!(log.given_up, 0);
    }

    #[test]
    fn a_gap_is_given_up_when_its_origin_is_far_ahead() {
        let mut log = MessageLog::default();
        for sequence in [0, 2, SPAN + 2] {
            assert!(log.take(Time(0), &message(1, sequence, 1), 1, None));
        }
        assert!(!log.take(Time(0), &message(1, 1, 1), 1, None), "too late");
        assert!(log.take(Time(0), &message(1, 3, 1), 1, None), "still in time");
        assert_eq!(log.given_up, 1);
        assert!(log.windows[&(NodeId(1), 1)].above.len() as u64 <= SPAN);
    }

    #[test]
    fn windows_and_archive_are_bounded() {
        let mut log = MessageLog::default();
        for origin in 1..=WINDOWS_MAX as u16 + 10 {
            log.take(Time(0), &message(origin, 0, 10), 1, None);
        }
        assert_eq!(log.windows(), WINDOWS_MAX);
        assert!(!log.is_known(message(1, 0, 0).id), "the one that was silent the longest went");
        assert_eq!(log.size().0, HELD_MAX);
        for sequence in 0..1_000 {
            log.take(Time(1), &message(40_000, sequence, Payload::LENGTH_MAX), 1, None);
        }
        assert!(log.size().1 <= HELD_BYTES_MAX);
        assert!(log.overflows > 0);
        log.expire(Time(2).plus_ms(HELD_MS));
        assert_eq!((log.size(), log.next_expiry()), ((0, 0), None));
    }
}
