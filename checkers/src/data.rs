//! What the models of other data types than registers share: operations of a recording, key by key, and words for them.
//!
//! A recording with keys ([`crate::record::Recording::split_keys`]) is judged key by key, as Jepsen's independent tests
//! are: violated if one key is, else unknown if one is, else it holds. Order is that of the recording, not of its clocks.

use std::collections::BTreeMap;

use crate::record::{Datum, RecordedOperation, Recording};
use crate::{Case, Judgement, Verdict};

/// Elements named in a sentence; the rest is counted.
const NAMED_MAX: usize = 5;

/// Judges each key of a case's recording by `check`, which gets the operations in the order of their beginnings and a
/// verdict without a judgement, and ends it.
pub(crate) fn judge(name: &str, case: &Case, check: impl Fn(&[RecordedOperation<'_>], Verdict) -> Verdict) -> Verdict {
    let verdict = Verdict::new(name);
    let Some(recording) = &case.recording else {
        return verdict.because(Judgement::Unknown, "There is no recording whose values are data.");
    };
    let operations = match recording.operations() {
        Ok(operations) => operations,
        Err(error) => {
            let problem = crate::explain::sentence(&error.to_string());
            return verdict.because(Judgement::Unknown, format!("{problem}, so nothing can be judged."));
        }
    };
    let mut keys: BTreeMap<Option<&Datum>, Vec<RecordedOperation<'_>>> = BTreeMap::new();
    for operation in operations.all {
        keys.entry(operation.key()).or_default().push(operation);
    }
    if keys.len() <= 1 {
        let only = keys.into_values().next().unwrap_or_default();
        return check(&only, verdict);
    }
    let of_keys = keys.iter().map(|(key, operations)| (*key, check(operations, Verdict::new(name))));
    combine(verdict, of_keys.collect())
}

/// One verdict over all keys. The explanation is that of the first key with the worst judgement.
fn combine(mut verdict: Verdict, of_keys: Vec<(Option<&Datum>, Verdict)>) -> Verdict {
    let count = |judgement| of_keys.iter().filter(|(_, of_key)| of_key.judgement == judgement).count() as u64;
    let (violated, unknown) = (count(Judgement::Violated), count(Judgement::Unknown));
    let worst = match (violated, unknown) {
        (1.., _) => Judgement::Violated,
        (0, 1..) => Judgement::Unknown,
        (0, 0) => Judgement::Holds,
    };
    let keys = of_keys.len() as u64;
    let mut told = false;
    for (key, of_key) in of_keys {
        for (name, number) in of_key.evidence {
            let sum = verdict.evidence.entry(name.clone()).or_default();
            *sum = if name.ends_with("_ms") || name.ends_with("_max") { sum.max(number) } else { *sum + number };
        }
        verdict.violations += of_key.violations;
        if of_key.judgement == worst && !told {
            told = true;
            let key = key.map_or_else(|| "Without a key".to_owned(), |key| format!("Key {key}"));
            verdict.explanation = of_key.explanation;
            if let Some(first) = verdict.explanation.first_mut() {
                let all = if worst == Judgement::Holds { format!("All {keys} keys hold. ") } else { String::new() };
                *first = format!("{all}{key}: {first}");
            }
            verdict.operations = of_key.operations;
            verdict.liveness = of_key.liveness;
            let mut kinds = of_key.kinds;
            kinds.append(&mut verdict.kinds);
            verdict.kinds.clear();
            kinds.into_iter().for_each(|kind| verdict.found(&kind.kind, kind.count));
            verdict.assumptions = of_key.assumptions;
        } else {
            of_key.kinds.into_iter().for_each(|kind| verdict.found(&kind.kind, kind.count));
        }
    }
    verdict.count("keys", keys);
    let of = |count: u64, what: &str| format!("{count} of {keys} keys {what}.");
    verdict.explanation.extend(match worst {
        Judgement::Violated => Some(of(violated, if violated == 1 { "breaks the model" } else { "break the model" })),
        Judgement::Unknown => Some(of(unknown, "can't be judged")),
        Judgement::Holds => None,
    });
    verdict.judgement = worst;
    verdict
}

/// Names of functions that occur in client operations.
pub(crate) fn functions(recording: &Recording) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for record in recording.client_records() {
        if !names.contains(&record.f.as_ref()) && names.len() < 64 {
            names.push(&record.f);
        }
    }
    names
}

/// `process 3 (op 912)`, or with a time `process 3 at 12.301 s (op 912)`.
pub(crate) fn who(operation: &RecordedOperation<'_>) -> String {
    let at = operation.invoked_at().map_or_else(String::new, |time| format!(" at {}", crate::explain::at(time)));
    format!("{}{at} ({})", operation.process(), operation.index())
}

/// `1, 2, 3 and 4 more`.
pub(crate) fn some<'d>(elements: impl IntoIterator<Item = &'d Datum>) -> String {
    let mut elements = elements.into_iter();
    let named: Vec<String> = elements.by_ref().take(NAMED_MAX).map(ToString::to_string).collect();
    match elements.count() {
        0 => crate::explain::listed(&named),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Milliseconds between two times, if both are known.
pub(crate) fn ms_between(from: Option<u64>, to: Option<u64>) -> Option<f64> {
    Some(to?.saturating_sub(from?) as f64 / 1e6)
}

/// Writes median, 99th percentile and maximum of latencies in milliseconds as evidence.
pub(crate) fn distribution(verdict: &mut Verdict, name: &str, mut latencies: Vec<f64>) {
    latencies.sort_by(f64::total_cmp);
    for (percent, suffix) in [(50, "p50_ms"), (99, "p99_ms"), (100, "max_ms")] {
        let rank = (latencies.len() * percent).div_ceil(100).max(1);
        if let Some(latency) = latencies.get(rank - 1) {
            verdict.measure(format!("{name}_{suffix}"), *latency);
        }
    }
}
