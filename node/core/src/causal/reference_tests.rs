//! The data types against sets of dots.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::{Key, NodeId, Value};

fn actor(node: u16) -> ActorId {
    ActorId { node: NodeId(node), life: u64::from(node) * 1_000 }
}

fn dot(node: u16, counter: u64) -> Dot {
    Dot { actor: actor(node), counter }
}

fn clock_of(dots: &BTreeSet<Dot>) -> NodeClock {
    let mut clock = NodeClock::default();
    for dot in dots {
        clock.add(*dot);
    }
    clock
}

fn some_dots(counter_max: u64) -> impl Strategy<Value = BTreeSet<Dot>> {
    prop::collection::btree_set((1_u16..4, 1..counter_max).prop_map(|(node, counter)| dot(node, counter)), 0..150)
}

fn recoded<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
    postcard::from_bytes(&postcard::to_allocvec(value).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_clock_is_the_set_of_its_dots(dots in some_dots(200), order in any::<prop::sample::Index>()) {
        let mut clock = NodeClock::default();
        let mut rotated: Vec<Dot> = dots.iter().copied().collect();
        if !rotated.is_empty() {
            let by = order.index(rotated.len());
            rotated.rotate_left(by);
        }
        for dot in rotated {
            prop_assert!(clock.add(dot));
            prop_assert!(!clock.add(dot), "a second time");
        }
        prop_assert_eq!(&clock, &clock_of(&dots), "the order left a trace");
        prop_assert_eq!(&recoded(&clock), &clock);
        for node in 1..4 {
            let base = (1..).find(|counter| !dots.contains(&dot(node, *counter))).unwrap() - 1;
            prop_assert_eq!(clock.base(actor(node)), base);
            for counter in 0..210 {
                prop_assert_eq!(clock.contains(dot(node, counter)), dots.contains(&dot(node, counter)));
            }
        }
    }

    #[test]
    fn clocks_join_as_sets_do(a in some_dots(150), b in some_dots(150), node in 1_u16..4, base in 0_u64..150) {
        let mut joined = clock_of(&a);
        joined.join(&clock_of(&b));
        prop_assert_eq!(&joined, &clock_of(&a.union(&b).copied().collect()));

        let mut one = clock_of(&a);
        one.join_entry(actor(node), &clock_of(&b));
        let theirs = b.iter().filter(|dot| dot.actor == actor(node));
        prop_assert_eq!(&one, &clock_of(&a.iter().chain(theirs).copied().collect()));

        let mut raised = clock_of(&a);
        raised.raise(actor(node), base);
        prop_assert_eq!(&raised, &clock_of(&a.iter().copied().chain((1..=base).map(|c| dot(node, c))).collect()));
    }

    #[test]
    fn a_shortened_clock_claims_no_more(dots in some_dots(2_000), words_max in 0_usize..20) {
        let (clock, all) = (clock_of(&dots).with_words_max(words_max), clock_of(&dots));
        prop_assert!(clock.words() <= words_max);
        prop_assert_eq!(clock.bases(), all.bases());
        prop_assert!(dots.iter().filter(|dot| !clock.contains(**dot)).count() == 0 || all.words() > words_max);
        for counter in 1..2_000 {
            prop_assert!(!clock.contains(dot(2, counter)) || all.contains(dot(2, counter)));
        }
    }

    #[test]
    fn the_log_names_what_a_clock_lacks_page_by_page(
        logged in some_dots(100), known in some_dots(100), bases in prop::collection::vec(0_u64..60, 3), page in 1_usize..9,
    ) {
        let mut log = DotLog::default();
        for dot in &logged {
            log.insert(*dot, Key(vec![dot.counter as u8]));
        }
        let mut clock = clock_of(&known);
        for (node, base) in (1..).zip(bases) {
            clock.raise(actor(node), base);
        }
        let mut found = Vec::new();
        while let Some(last) = log.missing(&clock, found.last().copied()).take(page).map(|(dot, _)| dot).last() {
            found.extend(log.missing(&clock, found.last().copied()).take(page).map(|(dot, _)| dot));
            prop_assert_eq!(found.last(), Some(&last));
        }
        let lacking: Vec<Dot> = logged.iter().copied().filter(|dot| !clock.contains(*dot)).collect();
        prop_assert_eq!(found, lacking);
    }
}

#[test]
fn a_dot_far_ahead_costs_one_word_and_the_last_one_does_not_overflow() {
    let mut clock = NodeClock::default();
    for counter in [u64::MAX, u64::MAX - 1, 1 << 40, 2, 1] {
        assert!(clock.add(dot(1, counter)));
        assert!(clock.contains(dot(1, counter)));
    }
    assert_eq!((clock.base(actor(1)), clock.words()), (2, 2));
    clock.raise(actor(1), u64::MAX);
    assert!(clock.contains(dot(1, 77)) && clock.words() == 0);
}

#[test]
fn an_unordered_vector_or_container_from_outside_is_refused() {
    let twice = vec![(actor(1), 5_u64), (actor(1), 6)];
    assert!(postcard::from_bytes::<VersionVector>(&postcard::to_allocvec(&twice).unwrap()).is_err());
    let backwards = (vec![(dot(2, 1), Value(vec![])), (dot(1, 1), Value(vec![]))], Vec::<(ActorId, u64)>::new());
    assert!(postcard::from_bytes::<Container>(&postcard::to_allocvec(&backwards).unwrap()).is_err());
}

#[test]
fn a_late_message_of_a_former_life_changes_no_row() {
    let (old, new) = (ActorId { node: NodeId(1), life: 1 }, ActorId { node: NodeId(1), life: 2 });
    let known = clock_of(&BTreeSet::from([dot(2, 1)]));
    let mut watermarks = Watermarks::default();
    assert!(watermarks.hear(old, &known));
    assert!(watermarks.knows(NodeId(1), dot(2, 1)));
    assert!(watermarks.hear(new, &NodeClock::default()));
    assert!(!watermarks.knows(NodeId(1), dot(2, 1)), "the new life knows nothing yet");
    assert!(!watermarks.hear(old, &known), "a late message");
    assert!(!watermarks.knows(NodeId(1), dot(2, 1)));
}

/// A key's replica by sets: the dots it has seen of the key, and those among them whose values live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Naive {
    seen: BTreeSet<Dot>,
    live: BTreeSet<Dot>,
}

impl Naive {
    fn join(&mut self, other: &Naive) {
        let live = |dot: &Dot| {
            (self.live.contains(dot) || other.live.contains(dot))
                && (self.live.contains(dot) || !self.seen.contains(dot))
                && (other.live.contains(dot) || !other.seen.contains(dot))
        };
        self.live = self.live.union(&other.live).copied().filter(live).collect();
        self.seen.extend(other.seen.iter().copied());
    }
}

/// Replicas 1 to 3 of one key, each as a container, and as sets. Writes have seen what some replica had, then or earlier.
#[derive(Default)]
struct Pair {
    container: BTreeMap<u16, Container>,
    naive: BTreeMap<u16, Naive>,
    counters: BTreeMap<u16, u64>,
    contexts: Vec<(VersionVector, BTreeSet<Dot>)>,
}

#[derive(Clone, Debug)]
enum Step {
    Read(u16),
    Write(u16, Option<prop::sample::Index>, bool),
    Join(u16, u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let node = || 1_u16..4;
    let step = prop_oneof![
        node().prop_map(Step::Read),
        (node(), prop::option::of(any::<prop::sample::Index>()), any::<bool>())
            .prop_map(|(node, context, delete)| Step::Write(node, context, delete)),
        (node(), node()).prop_map(|(from, to)| Step::Join(from, to)),
    ];
    prop::collection::vec(step, 0..40)
}

impl Pair {
    fn run(steps: Vec<Step>) -> Pair {
        let mut pair = Pair::default();
        for step in steps {
            match step {
                Step::Read(node) => {
                    let vector = pair.container.entry(node).or_default().vector().clone();
                    pair.contexts.push((vector, pair.naive.entry(node).or_default().seen.clone()));
                }
                Step::Write(node, context, delete) => {
                    let context = context.filter(|_| !pair.contexts.is_empty());
                    let (vector, seen) = context.map(|i| i.get(&pair.contexts).clone()).unwrap_or_default();
                    let counter = pair.counters.entry(node).or_default();
                    *counter += 1;
                    let dot = dot(node, *counter);
                    let value = (!delete).then(|| Value(vec![node as u8, *counter as u8]));
                    pair.container.entry(node).or_default().write(&vector, dot, value);
                    let naive = pair.naive.entry(node).or_default();
                    naive.live.retain(|dot| !seen.contains(dot));
                    naive.seen.extend(seen);
                    naive.seen.insert(dot);
                    if !delete {
                        naive.live.insert(dot);
                    }
                }
                Step::Join(from, to) => {
                    let other = pair.container.entry(from).or_default().clone();
                    pair.container.entry(to).or_default().join(&other);
                    let other = pair.naive.entry(from).or_default().clone();
                    pair.naive.entry(to).or_default().join(&other);
                }
            }
        }
        pair
    }

    fn containers(&self) -> [Container; 3] {
        [1, 2, 3].map(|node| self.container.get(&node).cloned().unwrap_or_default())
    }
}

fn joined(a: &Container, b: &Container) -> Container {
    let mut joined = a.clone();
    joined.join(b);
    joined
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn containers_hold_what_sets_of_dots_hold(steps in steps()) {
        let pair = Pair::run(steps);
        for (node, container) in &pair.container {
            let naive = &pair.naive[node];
            prop_assert_eq!(container.dots().collect::<BTreeSet<Dot>>(), naive.live.clone());
            for other in 1..4 {
                // What the vector covers was seen or, being of another key or lost, never made here.
                let seen = naive.seen.iter().filter(|dot| dot.actor == actor(other)).map(|dot| dot.counter).max();
                prop_assert_eq!(container.vector().get(actor(other)), seen.unwrap_or(0));
            }
            prop_assert!(container.is_whole(&[NodeId(1), NodeId(2), NodeId(3)]));
            prop_assert_eq!(&recoded(container), container);
        }
    }

    #[test]
    fn join_is_idempotent_commutative_and_associative(steps in steps()) {
        let [a, b, c] = Pair::run(steps).containers();
        prop_assert_eq!(joined(&a, &a), a.clone());
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(joined(&joined(&a, &b), &b), joined(&a, &b));
    }

    /// A node whose clock has accounted for what its container has seen, and for dots of other keys.
    #[test]
    fn strip_then_fill_loses_nothing(steps in steps(), others in some_dots(20), later in some_dots(20)) {
        let nodes = [NodeId(1), NodeId(2), NodeId(3)];
        for container in Pair::run(steps).containers() {
            let mut clock = clock_of(&others);
            for (actor, counter) in container.vector().iter() {
                clock.raise(actor, counter);
            }
            let mut stripped = container.clone();
            stripped.strip(&clock);
            prop_assert!(stripped.vector().is_empty(), "all of it lies below the bases");
            prop_assert_eq!(stripped.values(), container.values());
            clock.join(&clock_of(&later));
            stripped.fill(&clock, &nodes);
            prop_assert!(container.vector().iter().all(|(actor, counter)| stripped.vector().get(actor) >= counter));
            prop_assert_eq!(joined(&stripped, &container), stripped.clone());

            let mut strange = container.clone();
            strange.strip(&clock_of(&others));
            for (actor, counter) in container.vector().iter() {
                let kept = strange.vector().get(actor);
                prop_assert_eq!(kept, if counter > clock_of(&others).base(actor) { counter } else { 0 });
            }
        }
    }

    #[test]
    fn fill_is_of_the_replicas_of_the_key_only(others in some_dots(20)) {
        let mut container = Container::default();
        container.fill(&clock_of(&others), &[NodeId(1), NodeId(3)]);
        prop_assert_eq!(container.vector().get(actor(2)), 0);
        prop_assert_eq!(container.vector().get(actor(1)), clock_of(&others).base(actor(1)));
    }
}
