//! Exchanges between two nodes, page by page.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::codec;
use crate::ring::Ring;
use crate::{Key, NodeId, Planted, Time, Value, WriteBatch};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
/// Key and value, in bytes.
const PAYLOAD: usize = 10 + 100;

struct Node {
    store: CausalStore,
    exchanges: Exchanges,
}

fn node(id: NodeId, planted: Planted) -> Node {
    let ring = Arc::new(Ring::new(&[A, B], 2, 2));
    let config = CausalConfig { merkle_depth: 4, log_max: 100_000, planted };
    let content = CausalContent::default();
    let life = 0xdead_beef_0000_0000 | u64::from(id.0);
    let store = CausalStore::open(id, life, ring, config, content, &mut WriteBatch::default());
    Node { store, exchanges: Exchanges::new(u64::from(id.0)) }
}

fn write(node: &mut Node, number: usize) {
    let key = Key(format!("{number:010}").into_bytes());
    let value = Value(vec![number as u8; PAYLOAD - 10]);
    node.store.write(&key, Some(value), &VersionVector::default(), &mut WriteBatch::default());
}

/// B's answer to A's question, and A's to that.
fn turn(a: &mut Node, b: &mut Node, request: ExchangeMessage) -> (ExchangeMessage, Reaction) {
    let mut durable = WriteBatch::default();
    let reaction = b.exchanges.on_message(Time(0), A, request, &mut b.store, &mut durable).expect("a question");
    let answer = reaction.send.expect("an answer");
    let reaction = a.exchanges.on_message(Time(0), B, answer.clone(), &mut a.store, &mut durable).expect("awaited");
    (answer, reaction)
}

/// Both have compared everything: nothing, as yet.
fn compared(planted: Planted) -> (Node, Node) {
    let (mut a, mut b) = (node(A, planted), node(B, planted));
    let request = a.exchanges.start(Time(0), B, &a.store).expect("none is running");
    let (answer, reaction) = turn(&mut a, &mut b, request);
    assert!(matches!(answer, ExchangeMessage::CompareFirst { .. }), "strangers: {answer:?}");
    assert_eq!(reaction.outcome, Some(ExchangeOutcome::Compare));
    a.exchanges.on_compared(B);
    (a, b)
}

/// Carries an exchange to its end; the pages and their bytes on the wire.
fn exchange(a: &mut Node, b: &mut Node) -> (usize, usize) {
    let (mut pages, mut bytes) = (0, 0);
    let mut request = a.exchanges.start(Time(0), B, &a.store);
    while let Some(question) = request {
        bytes += codec::encode(&question).len();
        let (answer, reaction) = turn(a, b, question);
        bytes += codec::encode(&answer).len();
        pages += 1;
        assert!(reaction.send.is_some() || reaction.outcome == Some(ExchangeOutcome::Finished));
        request = reaction.send;
    }
    (pages, bytes)
}

fn pages_of_a_long_exchange(planted: Planted) -> Result<(), &'static str> {
    const COUNT: usize = 5_000;
    let (mut a, mut b) = compared(planted);
    (0..COUNT).for_each(|number| write(&mut b, number));
    let (pages, _) = exchange(&mut a, &mut b);
    if a.store.table().state_digest() != b.store.table().state_digest() {
        return Err("the stores differ");
    }
    assert!(pages >= 3, "{pages}");
    assert_eq!(a.store.clock().base(b.store.actor()), COUNT as u64);
    // A's next question tells B that A knows all of it, and its log is empty.
    exchange(&mut a, &mut b);
    for node in [&mut a, &mut b] {
        (0..10).for_each(|_| node.store.prune_step(&mut WriteBatch::default()));
    }
    assert_eq!((a.store.log().len(), b.store.log().len()), (0, 0));
    Ok(())
}

#[test]
fn a_long_exchange_comes_in_pages_and_ends_with_equal_stores_and_empty_logs() {
    assert_eq!(pages_of_a_long_exchange(Planted::NONE), Ok(()));
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_claim_after_the_first_page_is_found() {
    let planted = Planted(Some(PLANTED));
    let found = std::panic::catch_unwind(|| pages_of_a_long_exchange(planted));
    assert!(!matches!(found, Ok(Ok(()))));
}

#[test]
fn the_bytes_of_an_exchange_are_little_more_than_what_differs() {
    let (mut a, mut b) = compared(Planted::NONE);
    (0..20_000).for_each(|number| write(&mut b, number));
    exchange(&mut a, &mut b);
    for number in (0..20_000).step_by(20) {
        let key = Key(format!("{number:010}").into_bytes());
        let seen = b.store.get(&key).vector().clone();
        b.store.write(&key, Some(Value(vec![1; 100])), &seen, &mut WriteBatch::default());
    }
    let (_, bytes) = exchange(&mut a, &mut b);
    let differing = 1_000 * PAYLOAD;
    assert!(bytes * 10 <= differing * 13, "{bytes} bytes for {differing}");
    let (pages, bytes) = exchange(&mut a, &mut b);
    assert!(pages == 1 && bytes < 200, "nothing differs: {pages} pages, {bytes} bytes");
}

#[test]
fn an_exchange_cut_off_claims_nothing_and_a_late_page_is_not_taken() {
    let (mut a, mut b) = compared(Planted::NONE);
    (0..5_000).for_each(|number| write(&mut b, number));
    let request = a.exchanges.start(Time(0), B, &a.store).expect("none is running");
    assert!(a.exchanges.start(Time(0), B, &a.store).is_none(), "one at a time");
    let (first, _) = turn(&mut a, &mut b, request);
    assert!(a.store.clock().base(b.store.actor()) < 5_000);
    a.exchanges.expire(Time(u64::MAX));
    assert!(!a.exchanges.is_running(B));
    let mut durable = WriteBatch::default();
    assert_eq!(a.exchanges.on_message(Time(0), B, first, &mut a.store, &mut durable), None);
    assert!(durable.is_empty());
    exchange(&mut a, &mut b);
    assert_eq!(a.store.clock().base(b.store.actor()), 5_000);
}

#[test]
fn a_comparison_with_a_store_that_was_lost_since_does_not_count() {
    let (mut a, mut b) = compared(Planted::NONE);
    write(&mut b, 1);
    // B loses its disk between the comparison and the answer that would confirm it.
    let ring = Arc::new(Ring::new(&[A, B], 2, 2));
    let config = CausalConfig { merkle_depth: 4, log_max: 100, planted: Planted::NONE };
    b.store = CausalStore::open(B, 99, ring, config, CausalContent::default(), &mut WriteBatch::default());
    let request = a.exchanges.start(Time(0), B, &a.store).expect("none is running");
    let (answer, _) = turn(&mut a, &mut b, request);
    assert!(matches!(answer, ExchangeMessage::CompareFirst { .. }), "{answer:?}");
}

#[test]
fn an_update_that_claims_what_nobody_made_changes_nothing() {
    let (mut a, b) = compared(Planted::NONE);
    let update = |dot: Dot, vector: VersionVector, dots: Vec<Dot>| {
        let mut container = Container::default();
        container.write(&vector, dot, Some(Value(vec![1])));
        Update { key: Key(b"k".to_vec()), container, dots }
    };
    let none = VersionVector::default;
    let (mine, theirs) = (a.store.actor(), b.store.actor());
    let stranger = ActorId { node: NodeId(9), life: 1 };
    let dot = |actor, counter| Dot { actor, counter };
    let mut empty_key = update(dot(theirs, 1), none(), vec![]);
    empty_key.key = Key(vec![]);
    let bad = [
        update(dot(mine, 1), none(), vec![]),
        update(dot(stranger, 1), none(), vec![]),
        update(dot(theirs, 1), [(stranger, 4)].into_iter().collect(), vec![]),
        update(dot(theirs, 1), none(), vec![dot(theirs, 7)]),
        update(dot(theirs, 1), none(), vec![dot(mine, 1)]),
        empty_key,
    ];
    let count = bad.len() as u64;
    for update in bad {
        let mut durable = WriteBatch::default();
        assert_eq!(a.store.apply(update.clone(), &mut durable), None, "{update:?}");
        assert!(durable.is_empty());
    }
    assert_eq!(a.store.counters().updates_invalid, count);
    let good = update(dot(theirs, 1), none(), vec![]);
    assert_eq!(a.store.apply(good.clone(), &mut WriteBatch::default()), Some(true));
    assert_eq!(a.store.apply(good, &mut WriteBatch::default()), Some(false), "a second time");
}

#[test]
fn siblings_nobody_merges_are_refused_at_the_bound() {
    let mut a = node(A, Planted::NONE);
    let (key, none) = (Key(b"k".to_vec()), VersionVector::default());
    for number in 0..SIBLINGS_MAX {
        let value = Some(Value(vec![number as u8]));
        assert_eq!(a.store.check_write(&key, &none, value.as_ref()), Ok(()));
        a.store.write(&key, value, &none, &mut WriteBatch::default());
    }
    let value = Value(vec![0]);
    assert_eq!(a.store.check_write(&key, &none, Some(&value)), Err(WriteRefused::Siblings(SIBLINGS_MAX)));
    let seen = a.store.get(&key).vector().clone();
    assert_eq!(a.store.check_write(&key, &seen, Some(&value)), Ok(()));
    a.store.write(&key, Some(value), &seen, &mut WriteBatch::default());
    let large = Value(vec![0; Value::LENGTH_MAX]);
    assert_eq!(a.store.check_write(&key, &none, Some(&large)), Err(WriteRefused::Siblings(1)), "together too long");
    assert_eq!(a.store.get(&key).values().len(), 1);
}

/// What paging finds.
#[cfg(feature = "planted-bugs")]
pub(crate) const PLANTED: crate::Bug = crate::Bug::ExchangeClaimsFirstPage;
