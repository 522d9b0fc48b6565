//! A set that is read all the time: the life of each element (Jepsen's `checker/set-full`).
//!
//! An element is *known* from the acknowledgement of its add on, or from the end of the first read that held it. By the
//! last reads that held it and that lacked it (by their beginnings) it is *stable* (held last), *lost* (known, and lacked
//! by a read that began later and after every read that held it) or *never read*. A stable element that a read lacked
//! after it was known is *stale*; its stable latency is the time until that read began. An element twice in one read
//! breaks the model, and so does one that nobody added. Stale elements break it only where the set is expected to be
//! linearizable ([`crate::DataOptions::set_linearizable`]). No stable element and nothing broken: unknown.

use std::collections::BTreeMap;

use super::set::is_add;
use crate::data;
use crate::explain::{counted, sentence};
use crate::record::{Datum, RecordedOperation};
use crate::{Case, CheckOptions, Judgement, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "set-full";

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    let linearizable = options.data.set_linearizable;
    data::judge(NAME, case, |operations, verdict| check_one(operations, verdict, linearizable))
}

#[derive(Default)]
struct Element<'o, 'r> {
    add: Option<&'o RecordedOperation<'r>>,
    /// Position and time of being known.
    known: Option<(u32, Option<u64>)>,
    last_present: Option<&'o RecordedOperation<'r>>,
    last_absent: Option<&'o RecordedOperation<'r>>,
    /// Number of the last read that held it, so that one read is one pass.
    seen: usize,
}

impl<'o, 'r> Element<'o, 'r> {
    fn known_at(&mut self, position: Option<u32>, time: Option<u64>) {
        if let Some(position) = position
            && self.known.is_none_or(|(known, _)| position < known)
        {
            self.known = Some((position, time));
        }
    }

    fn latency(&self, until: Option<&RecordedOperation<'_>>) -> Option<f64> {
        let (_, known) = self.known?;
        until.map_or(Some(0.0), |until| data::ms_between(known, until.invoked_at()))
    }
}

fn check_one(operations: &[RecordedOperation<'_>], mut verdict: Verdict, linearizable: bool) -> Verdict {
    let mut elements: BTreeMap<&Datum, usize> = BTreeMap::new();
    let mut states: Vec<Element<'_, '_>> = Vec::new();
    let mut values: Vec<&Datum> = Vec::new();
    for add in operations.iter().filter(|operation| is_add(operation)) {
        let at = *elements.entry(add.argument()).or_insert_with(|| {
            states.push(Element::default());
            values.push(add.argument());
            states.len() - 1
        });
        states[at].add.get_or_insert(add);
        if add.is_ok() {
            states[at].known_at(add.ended, add.ended_at());
        }
    }
    let reads: Vec<(&RecordedOperation<'_>, &[Datum])> = operations
        .iter()
        .filter(|operation| operation.f() == "read" && operation.is_ok())
        .filter_map(|read| Some((read, read.value().items()?)))
        .collect();
    let mut unexpected: BTreeMap<&Datum, &RecordedOperation<'_>> = BTreeMap::new();
    let mut duplicated: BTreeMap<&Datum, (&RecordedOperation<'_>, u64)> = BTreeMap::new();
    // Operations come in the order of their beginnings, so the last one to be seen is the last to begin.
    for (number, (read, items)) in reads.iter().enumerate() {
        let number = number + 1;
        for item in *items {
            let Some(at) = elements.get(item).copied() else {
                unexpected.entry(item).or_insert(read);
                continue;
            };
            let state = &mut states[at];
            if std::mem::replace(&mut state.seen, number) == number {
                duplicated.entry(item).or_insert((read, 1)).1 += 1;
                continue;
            }
            state.last_present = Some(read);
            state.known_at(read.ended, read.ended_at());
        }
        for state in states.iter_mut().filter(|state| state.seen != number) {
            state.last_absent = Some(read);
        }
    }
    let began = |read: Option<&RecordedOperation<'_>>| read.map(|read| read.began);
    let (mut stable, mut lost, mut stale, mut never) = (0_u64, Vec::new(), Vec::new(), 0_u64);
    let (mut stable_latencies, mut lost_latencies) = (Vec::new(), Vec::new());
    for (at, state) in states.iter().enumerate() {
        let (present, absent) = (began(state.last_present), began(state.last_absent));
        let after_known = state.known.is_some_and(|(known, _)| absent > Some(known));
        if present.is_some() && present > absent {
            stable += 1;
            let missed = state.last_absent.filter(|_| after_known);
            stable_latencies.extend(state.latency(missed));
            stale.extend(missed.map(|_| at));
        } else if after_known {
            lost_latencies.extend(state.latency(state.last_present));
            lost.push(at);
        } else {
            never += 1;
        }
    }
    verdict.count("elements", states.len() as u64);
    verdict.count("reads", reads.len() as u64);
    verdict.count("stable", stable);
    verdict.count("lost", lost.len() as u64);
    verdict.count("never_read", never);
    verdict.count("stale", stale.len() as u64);
    verdict.count("duplicated", duplicated.len() as u64);
    verdict.count("unexpected", unexpected.len() as u64);
    data::distribution(&mut verdict, "stable_latency", stable_latencies);
    data::distribution(&mut verdict, "lost_latency", lost_latencies);

    let told = |verdict: &mut Verdict, at: usize| {
        let state = &states[at];
        let Some(absent) = state.last_absent else { return };
        if let Some(add) = state.add {
            let acknowledged = if add.is_ok() { ", and that was acknowledged" } else { "" };
            verdict.involve(add.index());
            verdict.explanation.push(format!("{} added {}{acknowledged}.", sentence(&data::who(add)), values[at]));
        }
        if let Some(present) = state.last_present {
            verdict.involve(present.index());
            verdict.explanation.push(format!("{} read it.", sentence(&data::who(present))));
        }
        verdict.involve(absent.index());
        verdict.explanation.push(format!("{} did not read it, though it was known.", sentence(&data::who(absent))));
    };
    let elements_of = |these: &[usize]| data::some(these.iter().map(|at| values[*at]));
    verdict.violations = (lost.len() + duplicated.len() + unexpected.len()) as u64;
    verdict.violations += if linearizable { stale.len() as u64 } else { 0 };
    if let Some(first) = lost.first() {
        verdict.found("lost", lost.len() as u64);
        told(&mut verdict, *first);
        verdict.explanation.push(format!("Lost for good: {}.", elements_of(&lost)));
    }
    if let Some((element, (read, times))) = duplicated.first_key_value() {
        verdict.found("duplicated", duplicated.len() as u64);
        verdict.involve(read.index());
        let others = data::some(duplicated.keys().copied());
        verdict.explanation.push(format!(
            "{} read {element} {times} times at once; duplicated at some time: {others}.",
            sentence(&data::who(read))
        ));
    }
    if let Some((element, read)) = unexpected.first_key_value() {
        verdict.found("unexpected", unexpected.len() as u64);
        verdict.involve(read.index());
        let others = data::some(unexpected.keys().copied());
        let reader = sentence(&data::who(read));
        verdict.explanation.push(format!("{reader} read {element}, which nobody added; in all: {others}."));
    }
    if linearizable && let Some(first) = stale.first() {
        verdict.found("stale", stale.len() as u64);
        told(&mut verdict, *first);
        verdict.explanation.push(format!("Stale for a while: {}.", elements_of(&stale)));
    }
    if verdict.violations > 0 {
        verdict.judgement = Judgement::Violated;
        return verdict;
    }
    if stable == 0 {
        let reason = format!("No element of {} was read after it was known.", counted(states.len() as u64, "add"));
        return verdict.because(Judgement::Unknown, reason);
    }
    let staleness = match stale.len() {
        0 => String::new(),
        stale => format!("; stale for a while, as the model allows: {stale}"),
    };
    let reads = counted(reads.len() as u64, "read");
    let elements = counted(states.len() as u64, "element");
    let sentence = format!("{reads}: {stable} of {elements} stable at the end, none lost{staleness}.");
    verdict.because(Judgement::Holds, sentence)
}
