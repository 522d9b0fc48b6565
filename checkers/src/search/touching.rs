//! Operations of one session whose times touch: the first ended at the very time at which the next began.
//!
//! The search orders two calls by their times only, and takes those that touch as overlapping, which they may be across
//! sessions. Within a session the first comes first all the same. What the search says is therefore certain when it finds no
//! order; when it finds one, it is asked again with times that put every such pair apart. These may order too much, since
//! what touches both calls can overlap both. An order that is found so is an order; where none is, all orders are tried,
//! as long as the calls are few; where they are many, it is not known.

use std::collections::BTreeSet;

use super::core::Core;
use super::frontier::{Called, Effect, Ended, Limits, SequentialModel, linearize};
use crate::chunks::Access;

/// Calls of which all orders are tried.
const CALLS_MAX: usize = 128;
/// Places looked at in one try.
const PLACES_MAX: usize = 100_000;

/// What sessions say about calls that touch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Touching {
    /// Of each call: the one of its session that ended when it began.
    before: Vec<Option<u32>>,
    /// Of each call: beginning and end with such pairs apart.
    apart: Vec<(u64, Option<u64>)>,
}

impl Touching {
    /// Of calls in the order of the history: session, beginning, end; `None`: no two calls of a session touch.
    pub(crate) fn new(calls: &[(u64, u64, Option<u64>)]) -> Option<Touching> {
        let mut last = std::collections::BTreeMap::<u64, (u32, u64, u64)>::new();
        let mut before = Vec::with_capacity(calls.len());
        let mut moments = Vec::with_capacity(calls.len());
        for (at, (session, began, ended)) in (0_u32..).zip(calls) {
            let touched = last.get(session).filter(|(_, end, _)| end == began);
            before.push(touched.map(|(call, ..)| *call));
            // At one time: what begins afresh, its ends, what begins after those ends, and so on.
            let place = touched.map_or(0, |(.., place)| place + 1);
            let end_place = if *ended == Some(*began) { place } else { 0 };
            moments.push(((*began, 2 * place), ended.map(|ended| (ended, 2 * end_place + 1))));
            if let Some(ended) = ended {
                last.insert(*session, (at, *ended, end_place));
            } else {
                last.remove(session);
            }
        }
        if before.iter().all(Option::is_none) {
            return None;
        }
        let mut all: Vec<(u64, u64)> =
            moments.iter().flat_map(|(began, ended)| [Some(*began), *ended]).flatten().collect();
        all.sort_unstable();
        all.dedup();
        let place = |moment: (u64, u64)| all.binary_search(&moment).expect("every moment is in") as u64;
        let apart = moments.iter().map(|(began, ended)| (place(*began), ended.map(place))).collect();
        Some(Touching { before, apart })
    }

    /// The same accesses with such pairs apart.
    pub(crate) fn put_apart(&self, accesses: &[Access]) -> Vec<Access> {
        let apart = |(access, (began, ended)): (&Access, &(u64, Option<u64>))| Access {
            began: *began,
            ended: *ended,
            ..*access
        };
        accesses.iter().zip(&self.apart).map(apart).collect()
    }
}

/// What is known of calls some of which touch.
pub(crate) enum Touched {
    /// As the search ended.
    Ended(Ended),
    /// There is no order, by what sessions say.
    Impossible { failed: usize, core: Core },
}

/// Whether the calls have an order that keeps sessions too.
pub(crate) fn linearize_touching<M: SequentialModel>(
    model: &M,
    initial: &[M::State],
    calls: &[Called<M::Call>],
    touching: Option<&Touching>,
    limits: Limits<'_>,
) -> Touched
where
    M::Call: Clone,
{
    let ended = linearize(model, initial, calls, limits);
    let Some(touching) = touching.filter(|_| ended == Ended::Linearizable) else { return Touched::Ended(ended) };
    let apart = calls.iter().zip(&touching.apart).map(|(call, (began, ended))| Called {
        began: *began,
        ended: *ended,
        ..call.clone()
    });
    match linearize(model, initial, &apart.collect::<Vec<_>>(), limits) {
        Ended::Impossible(_) => {}
        ended => return Touched::Ended(ended),
    }
    let orders = Orders { model, initial, calls, before: &touching.before };
    let everything = vec![true; calls.len()];
    match orders.exist(&everything) {
        Some(true) => Touched::Ended(Ended::Linearizable),
        Some(false) => {
            let (failed, needed) = orders.shortest(everything);
            Touched::Impossible { failed, core: Core { needed, others: Vec::new(), from_any_state: false } }
        }
        None => Touched::Ended(Ended::Unknown(
            "Operations of one session begin at the same moment as others end, and whether their order in the session \
             fits takes too long to find out."
                .to_owned(),
        )),
    }
}

/// All orders of some of the calls, tried one by one (Wing and Gong 1993).
struct Orders<'o, M: SequentialModel> {
    model: &'o M,
    initial: &'o [M::State],
    calls: &'o [Called<M::Call>],
    before: &'o [Option<u32>],
}

impl<M: SequentialModel> Orders<'_, M> {
    /// Whether the chosen calls have an order; `None`: that takes too long.
    fn exist(&self, chosen: &[bool]) -> Option<bool> {
        if self.calls.len() > CALLS_MAX {
            return None;
        }
        let bit = |at: usize| 1_u128 << at;
        let of = |wanted: &dyn Fn(usize) -> bool| {
            (0..self.calls.len()).filter(|at| wanted(*at)).map(bit).fold(0, |all, bit| all | bit)
        };
        let out = of(&|at| !chosen[at]);
        let required = of(&|at| chosen[at] && self.calls[at].ended.is_some());
        let earlier: Vec<u128> = (0..self.calls.len())
            .map(|at| {
                of(&|other| {
                    let over = self.calls[other].ended.is_some_and(|ended| ended < self.calls[at].began);
                    other != at && (over || self.before[at] == Some(other as u32))
                })
            })
            .collect();
        let mut states: Vec<M::State> = Vec::new();
        let mut number = |state: M::State| {
            let known = states.iter().position(|known| *known == state);
            known.unwrap_or_else(|| {
                states.push(state.clone());
                states.len() - 1
            })
        };
        let mut seen: BTreeSet<(u128, usize)> = BTreeSet::new();
        let mut open: Vec<(u128, usize, M::State)> = Vec::new();
        for state in self.initial {
            let place = (out, number(state.clone()));
            if seen.insert(place) {
                open.push((place.0, place.1, state.clone()));
            }
        }
        while let Some((done, _, state)) = open.pop() {
            if required & !done == 0 {
                return Some(true);
            }
            if seen.len() > PLACES_MAX {
                return None;
            }
            for at in (0..self.calls.len()).filter(|at| done & bit(*at) == 0 && earlier[*at] & !done == 0) {
                let Some(after) = self.model.step(&state, &self.calls[at].call) else { continue };
                let place = (done | bit(at), number(after.clone()));
                if seen.insert(place) {
                    open.push((place.0, place.1, after));
                }
            }
        }
        Some(false)
    }

    /// Of calls without an order: the last one to end of a short beginning that has none, and what of it is needed.
    fn shortest(&self, mut chosen: Vec<bool>) -> (usize, Vec<usize>) {
        let has_none = |chosen: &[bool]| self.exist(chosen) == Some(false);
        let mut by_end: Vec<usize> = (0..self.calls.len()).filter(|at| self.calls[*at].ended.is_some()).collect();
        by_end.sort_by_key(|at| self.calls[*at].ended);
        // A call that has not ended says nothing if it observes, and is kept if it changes, since it may have been seen.
        let observes = |at: usize| self.model.effect(&self.calls[at].call) == Effect::Observes;
        for at in by_end.iter().rev().copied().filter(|at| observes(*at)) {
            chosen[at] = false;
            chosen[at] = !has_none(&chosen);
        }
        for at in (0..self.calls.len()).filter(|at| !observes(*at)).rev() {
            let follows = self.before.iter().zip(&chosen).any(|(before, kept)| *kept && *before == Some(at as u32));
            // A change is left out where nobody can have seen it: nothing that is left could have begun before its end.
            let kept_after = |other: usize| {
                chosen[other] && other != at && self.calls[at].began <= self.calls[other].ended.unwrap_or(u64::MAX)
            };
            if !follows && !(0..self.calls.len()).any(kept_after) {
                chosen[at] = false;
                chosen[at] = !has_none(&chosen);
            }
        }
        let last = by_end.iter().rev().copied().find(|at| chosen[*at]).expect("what has no order has an end");
        (last, (0..self.calls.len()).filter(|at| chosen[*at] && self.calls[*at].ended.is_some()).collect())
    }
}
