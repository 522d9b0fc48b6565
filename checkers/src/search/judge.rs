//! From objects to verdicts.

use super::append::AppendModel;
use super::core::{Core, core};
use super::frontier::{Called, Effect, Ended, Limits, SequentialModel};
use super::recorded::{Calls, Object, Told, objects, objects_of_history};
use super::register::{CasRegister, LastVersions, RegisterCall};
use super::touching::{Touched, Touching, linearize_touching};
use crate::chunks::{Access, Fit, fit_last_two};
use crate::explain::{counted, sentence};
use crate::parallel;
use crate::record::{Datum, Recording};
use crate::{Budget, CheckOptions, History, Judgement, Verdict};

/// States that are few enough to begin from any of them.
const ANY_STATE_MAX: usize = 64;
/// Calls of which a search tells why they have no order.
const EXPLAINED_CALLS_MAX: usize = 64;
/// Its steps.
const EXPLAINED_STEPS_MAX: u64 = 2_000_000;
/// What the reason begins with where there is no evidence.
const NOTHING_SEEN: &str = "No operation could have returned anything else";
/// Operations that an explanation names.
const NAMED_MAX: usize = 8;

/// What was found about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    Holds,
    Violated {
        /// Position of the call that can't have ended as it did.
        failed: usize,
        core: Core,
    },
    Unknown(String),
}

/// Judges one object from any of the states in `initial`; `any` are all the states that there can be, if they are few.
pub(crate) fn judge_object<M: SequentialModel>(
    model: &M,
    initial: &[M::State],
    any: Option<&[M::State]>,
    calls: &[Called<M::Call>],
    touching: Option<&Touching>,
    budget: &Budget,
) -> Judged
where
    M::Call: Clone,
{
    match linearize_touching(model, initial, calls, touching, Limits { budget }) {
        Touched::Ended(Ended::Linearizable) => Judged::Holds,
        Touched::Ended(Ended::Impossible(failed)) => {
            Judged::Violated { failed, core: core(model, initial, any, calls, failed) }
        }
        Touched::Ended(Ended::Unknown(reason)) => Judged::Unknown(reason),
        Touched::Impossible { failed, core } => Judged::Violated { failed, core },
    }
}

/// Judges a recording of registers with compare-and-set, or of texts, key by key.
///
/// # Errors
/// It is no such recording: why.
pub(crate) fn judge_recording(checker: &str, recording: &Recording, options: &CheckOptions) -> Result<Verdict, String> {
    let objects = objects(recording)?;
    let mut verdict = Verdict::new(checker);
    verdict.assumptions.push("The order of the records is their order in real time.".to_owned());
    if recording.no_real_time {
        return Ok(verdict.because(Judgement::Unknown, "The history says nothing about real time."));
    }
    Ok(judge_objects(&objects, options, verdict))
}

/// Judges the keys of a history whose values are not unique, and adds what is found to the verdict on all other keys.
pub(crate) fn judge_equal_values(history: &History, options: &CheckOptions, others: Verdict) -> Verdict {
    let objects = objects_of_history(history);
    let mut verdict = Verdict::new(&others.checker);
    verdict.assumptions.push("All clients take their times from one clock.".to_owned());
    let mut verdict = judge_objects(&objects, options, verdict);
    if verdict.judgement == Judgement::Holds && others.judgement == Judgement::Holds {
        verdict.explanation.extend(others.explanation);
    }
    for (name, count) in others.evidence {
        *verdict.evidence.entry(name).or_default() += count;
    }
    verdict
}

/// Orders the operations on keys whose versions show no violation. What contradicts the verdict on them, or can't be found
/// out, replaces it; the evidence stays.
pub(crate) fn confirm(history: &History, options: &CheckOptions, verdict: Verdict) -> Verdict {
    let objects = objects_of_history(history);
    let begun = Verdict { assumptions: verdict.assumptions.clone(), ..Verdict::new(&verdict.checker) };
    let found = judge_objects(&objects, options, begun);
    match found.judgement {
        Judgement::Violated => Verdict { evidence: verdict.evidence, ..found },
        // That nothing was seen after a change says nothing about the order.
        Judgement::Unknown if !found.explanation.iter().any(|reason| reason.starts_with(NOTHING_SEEN)) => {
            Verdict { explanation: Vec::new(), ..verdict }.because(Judgement::Unknown, found.explanation.join(" "))
        }
        Judgement::Unknown | Judgement::Holds => verdict,
    }
}

/// Whether the operations on the one key of this history are known to fit one order.
pub(crate) fn is_linearizable(of_key: &History, budget: &Budget) -> bool {
    objects_of_history(of_key).iter().all(|object| match &object.calls {
        Calls::Register { calls, touching, .. } => {
            let found = linearize_touching(&CasRegister, &[0], calls, touching.as_ref(), Limits { budget });
            matches!(found, Touched::Ended(Ended::Linearizable))
        }
        Calls::Text(_) => false,
    })
}

/// What was found about keys that were judged before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) keys: u64,
    pub(crate) operations: u64,
    /// Operations that saw what was there after a change.
    pub(crate) observations: u64,
}

/// Judges whether each read of a history may be of one of the last two versions. Of the keys that are counted in `before`
/// that is known.
pub(crate) fn judge_last_two(checker: &str, history: &History, options: &CheckOptions, before: Counted) -> Verdict {
    let objects = objects_of_history(history);
    let mut verdict = Verdict::new(checker);
    verdict.assumptions.push("All clients take their times from one clock.".to_owned());
    judge_each(&objects, verdict, options, "not-2-atomic", before, |object| match &object.calls {
        Calls::Register { calls, touching, .. } => {
            let judged = judge_last_two_of(calls, touching.as_ref(), &options.budget);
            (judged, count_observations(&CasRegister, calls), None)
        }
        Calls::Text(_) => (Judged::Unknown("It is no register.".to_owned()), 0, None),
    })
}

fn judge_last_two_of(calls: &[Called<RegisterCall>], touching: Option<&Touching>, budget: &Budget) -> Judged {
    let two = LastVersions { versions: 2 };
    let by_search =
        |calls: &[Called<RegisterCall>], budget: &Budget| judge_object(&two, &[vec![0]], None, calls, touching, budget);
    if calls.len() as u64 > budget.steps_max {
        return Judged::Unknown(format!("The budget of {} steps ended.", budget.steps_max));
    }
    if budget.is_over() {
        return Judged::Unknown("The time for judging ended.".to_owned());
    }
    let accesses: Vec<Access> = calls.iter().map(access).collect();
    match fit_last_two(&accesses) {
        Fit::Fits => match touching {
            None => Judged::Holds,
            // Such calls put apart may be ordered too much: an order of them is one, and none says nothing.
            Some(touching) if fit_last_two(&touching.put_apart(&accesses)) == Fit::Fits => Judged::Holds,
            Some(_) => by_search(calls, budget),
        },
        Fit::Breaks(chosen) => {
            // The search tells it best, and may take long where the zones do not.
            let short = Budget { steps_max: budget.steps_max.min(EXPLAINED_STEPS_MAX), ..budget.clone() };
            if calls.len() <= EXPLAINED_CALLS_MAX
                && let violated @ Judged::Violated { .. } = by_search(calls, &short)
            {
                return violated;
            }
            let of_them: Vec<Called<RegisterCall>> = chosen.iter().map(|at| calls[*at].clone()).collect();
            if let Judged::Violated { failed, core } = judge_object(&two, &[vec![0]], None, &of_them, None, &short) {
                let positions = |all: Vec<usize>| all.into_iter().map(|at| chosen[at]).collect();
                let core = Core { needed: positions(core.needed), others: positions(core.others), ..core };
                return Judged::Violated { failed: chosen[failed], core };
            }
            let failed = chosen.iter().copied().max_by_key(|at| (calls[*at].ended.unwrap_or(0), *at));
            let core = Core { needed: chosen, others: Vec::new(), from_any_state: false };
            Judged::Violated { failed: failed.expect("what has no order is not nothing"), core }
        }
        Fit::Unsure => {
            // What one version explains, two do.
            let one = linearize_touching(&CasRegister, &[0], calls, touching, Limits { budget });
            if matches!(one, Touched::Ended(Ended::Linearizable)) {
                return Judged::Holds;
            }
            by_search(calls, budget)
        }
    }
}

/// A call of a history, where nothing is compared and set.
fn access(call: &Called<RegisterCall>) -> Access {
    let (is_read, value) = match call.call {
        RegisterCall::Read(value) => (true, value),
        RegisterCall::Write(value) | RegisterCall::CompareAndSet(_, value) => (false, value),
    };
    Access { value: Some(u64::from(value)).filter(|value| *value > 0), is_read, began: call.began, ended: call.ended }
}

fn judge_objects(objects: &[Object], options: &CheckOptions, verdict: Verdict) -> Verdict {
    let saw_nil = |call: &Called<RegisterCall>| call.call == RegisterCall::Read(0);
    let any_nil = objects.iter().any(|object| match &object.calls {
        Calls::Register { calls, .. } => calls.iter().any(saw_nil),
        Calls::Text(_) => false,
    });
    judge_each(objects, verdict, options, "not-linearizable", Counted::default(), |object| match &object.calls {
        Calls::Register { calls, values, touching } => {
            judge_register(calls, values, touching.as_ref(), any_nil, &options.budget)
        }
        Calls::Text(calls) => {
            let judged = judge_object(&AppendModel, &["".into()], None, calls, None, &options.budget);
            (judged, count_observations(&AppendModel, calls), None)
        }
    })
}

/// What was found about an object, how many operations saw something, and what had to be assumed for it.
type OfObject = (Judged, u64, Option<&'static str>);

fn judge_each(
    objects: &[Object],
    mut verdict: Verdict,
    options: &CheckOptions,
    kind: &str,
    before: Counted,
    judge: impl Fn(&Object) -> OfObject + Sync,
) -> Verdict {
    let Counted { mut keys, mut operations, mut observations } = before;
    keys += objects.len() as u64;
    let mut unknown = None;
    let mut clearest: Option<(usize, &Object, usize, Core)> = None;
    let mut violated = 0;
    for (object, of_object) in objects.iter().zip(parallel::map(objects, options.threads, judge)) {
        operations += object.told.len() as u64;
        let (judged, evidence, assumption) = of_object;
        observations += evidence;
        if let Some(assumption) = assumption
            && !verdict.assumptions.iter().any(|known| known == assumption)
        {
            verdict.assumptions.push(assumption.to_owned());
        }
        match judged {
            Judged::Holds => {}
            Judged::Unknown(reason) => {
                unknown.get_or_insert_with(|| match &object.key {
                    Some(key) => format!("Key {key}: {reason}"),
                    None => reason,
                });
            }
            Judged::Violated { failed, core } => {
                violated += 1;
                if clearest.as_ref().is_none_or(|(needed, ..)| core.needed.len() < *needed) {
                    clearest = Some((core.needed.len(), object, failed, core));
                }
            }
        }
    }
    verdict.count("keys_judged", keys);
    verdict.count("operations_judged", operations);
    verdict.count("reads_judged", observations);
    if let Some((_, object, failed, core)) = clearest {
        verdict.judgement = Judgement::Violated;
        verdict.violations = violated;
        verdict.found(kind, violated);
        verdict.explanation = tell_core(object.key.as_deref(), &object.told, failed, &core);
        for at in named(&core, failed) {
            verdict.involve(object.told[at].index);
        }
        return verdict;
    }
    if let Some(reason) = unknown {
        return verdict.because(Judgement::Unknown, reason);
    }
    if observations == 0 {
        let reason = format!(
            "{NOTHING_SEEN}: of {}, none saw the object after a change of it.",
            counted(operations, "operation")
        );
        return verdict.because(Judgement::Unknown, reason);
    }
    let sentence = format!(
        "{} on {} judged, {observations} of them saw what was there after a change, and one order explains all.",
        counted(operations, "operation"),
        counted(keys, "key"),
    );
    verdict.because(Judgement::Holds, sentence)
}

/// A register begins as nil; if that can't be and nobody ever read nil of any (`any_nil`), as 0 where 0 is one of its
/// values, as systems under test often do.
fn judge_register(
    calls: &[Called<RegisterCall>],
    values: &[Datum],
    touching: Option<&Touching>,
    any_nil: bool,
    budget: &Budget,
) -> OfObject {
    let evidence = count_observations(&CasRegister, calls);
    let any: Option<Vec<u32>> = (values.len() <= ANY_STATE_MAX).then(|| (0..values.len() as u32).collect());
    let zero = values.iter().position(|value| *value == Datum::Int(0)).filter(|_| !any_nil);
    match linearize_touching(&CasRegister, &[0], calls, touching, Limits { budget }) {
        Touched::Ended(Ended::Linearizable) => (Judged::Holds, evidence, None),
        Touched::Ended(Ended::Unknown(reason)) => (Judged::Unknown(reason), evidence, None),
        Touched::Impossible { failed, core } if zero.is_none() => (Judged::Violated { failed, core }, evidence, None),
        Touched::Ended(Ended::Impossible(_)) | Touched::Impossible { .. } => {
            let initial = zero.map_or(0, |zero| zero as u32);
            let judged = judge_object(&CasRegister, &[initial], any.as_deref(), calls, touching, budget);
            (judged, evidence, zero.map(|_| "The register held 0 at the beginning."))
        }
    }
}

/// Calls whose result depends on the state, and that began after a change had ended.
fn count_observations<M: SequentialModel>(model: &M, calls: &[Called<M::Call>]) -> u64 {
    let changes = calls.iter().filter(|call| model.effect(&call.call) != Effect::Observes);
    let Some(first) = changes.filter_map(|call| call.ended).min() else { return 0 };
    let sees = |call: &&Called<M::Call>| model.effect(&call.call) == Effect::Observes && call.ended.is_some();
    calls.iter().filter(sees).filter(|call| call.began > first).count() as u64
}

/// The needed calls, the one that can't have been last, as far as they are told.
pub(crate) fn named(core: &Core, failed: usize) -> Vec<usize> {
    let mut named: Vec<usize> = core.needed.iter().copied().filter(|at| *at != failed).collect();
    if named.len() > NAMED_MAX {
        named.drain(..named.len() - NAMED_MAX);
    }
    named.push(failed);
    named
}

/// A violation in sentences.
pub(crate) fn tell_core(key: Option<&str>, told: &[Told], failed: usize, core: &Core) -> Vec<String> {
    let named = named(core, failed);
    let mut sentences = Vec::new();
    let place = key.map_or_else(String::new, |key| format!("Key {key}: "));
    for (at, call) in named.iter().enumerate() {
        let Told { index, process, did } = &told[*call];
        let text = format!("{process} {did} ({index}).");
        sentences.push(if at == 0 {
            format!("{place}{}", if place.is_empty() { sentence(&text) } else { text })
        } else {
            sentence(&text)
        });
    }
    let left = core.needed.len().saturating_sub(named.len());
    let more = if left > 0 { format!(" and {} before them", counted(left as u64, "operation")) } else { String::new() };
    let others = match core.others.len() {
        0 => String::new(),
        count => format!(", whether or not {} happened", counted(count as u64, "other")),
    };
    let these = if named.len() == 1 && left == 0 { "that".to_owned() } else { format!("these{more}") };
    sentences.push(if core.from_any_state {
        format!("Whatever was there before, no order of {these}, each between its beginning and its end, gives that result{others}.")
    } else {
        format!("No order of {these}, each between its beginning and its end, gives that result{others}.")
    });
    sentences
}
