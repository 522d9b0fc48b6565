//! A counter that begins at zero (Jepsen's `checker/counter`).
//!
//! A read must return no less than the sum of what had certainly been added when it began, and no more than the sum of
//! what may have been added when it ended. Adds that failed count for nothing; indeterminate ones may count from their
//! beginning on. Decrements (negative adds) lower both bounds: the lower one from their beginning on, the upper one only
//! when they had ended before the read began. A history without reads holds, as in Jepsen: nothing
//! contradicts it, and the sentence says so. Unknown: no operation was acknowledged, or a value is no whole number.

use crate::data;
use crate::explain::{counted, sentence};
use crate::record::RecordedOperation;
use crate::{Case, CheckOptions, Judgement, Outcome, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "counter";

/// Judges a case.
pub(crate) fn check(case: &Case, _options: &CheckOptions) -> Verdict {
    data::judge(NAME, case, check_one)
}

/// What happens at one position of the recording.
enum Step {
    AddBegins(i64),
    AddEnds(i64),
    ReadBegins(usize),
    ReadEnds(usize),
}

/// Sums of increments and decrements.
#[derive(Clone, Copy, Default)]
struct Sums {
    begun_up: i128,
    begun_down: i128,
    done_up: i128,
    done_down: i128,
}

fn check_one(operations: &[RecordedOperation<'_>], mut verdict: Verdict) -> Verdict {
    let mut steps: Vec<(u32, u8, Step)> = Vec::new();
    let mut reads: Vec<(&RecordedOperation<'_>, i128)> = Vec::new();
    let (mut adds, mut acknowledged) = (0_u64, 0_u64);
    for operation in operations {
        let adds_what = match operation.f() {
            "add" | "increment" | "inc" => operation.argument().as_int().or(operation.argument().is_nil().then_some(1)),
            "read" if operation.is_ok() => {
                let Some(value) = operation.value().as_int() else {
                    let value = operation.value();
                    let reason = format!("{} read {value}, which is no whole number.", sentence(&data::who(operation)));
                    return verdict.because(Judgement::Unknown, reason);
                };
                acknowledged += 1;
                let ended = operation.ended.expect("an operation that is ok has ended");
                steps.push((operation.began, 1, Step::ReadBegins(reads.len())));
                steps.push((ended, 1, Step::ReadEnds(reads.len())));
                reads.push((operation, i128::from(value)));
                continue;
            }
            _ => continue,
        };
        let Some(amount) = adds_what else {
            let value = operation.argument();
            let reason = format!("{} added {value}, which is no whole number.", sentence(&data::who(operation)));
            return verdict.because(Judgement::Unknown, reason);
        };
        if operation.outcome == Outcome::Fail {
            continue;
        }
        adds += 1;
        // What touches a read counts in its favour.
        steps.push((operation.began, 0, Step::AddBegins(amount)));
        if operation.is_ok() {
            acknowledged += 1;
            steps.push((operation.ended.expect("an operation that is ok has ended"), 2, Step::AddEnds(amount)));
        }
    }
    steps.sort_by_key(|(position, order, _)| (*position, *order));
    let mut sums = Sums::default();
    let mut sure_before = vec![Sums::default(); reads.len()];
    let mut broken: Vec<(usize, i128, i128)> = Vec::new();
    let mut widest = 0;
    for (_, _, step) in steps {
        match step {
            Step::AddBegins(amount) if amount >= 0 => sums.begun_up += i128::from(amount),
            Step::AddBegins(amount) => sums.begun_down += i128::from(amount),
            Step::AddEnds(amount) if amount >= 0 => sums.done_up += i128::from(amount),
            Step::AddEnds(amount) => sums.done_down += i128::from(amount),
            Step::ReadBegins(at) => sure_before[at] = sums,
            Step::ReadEnds(at) => {
                let value = reads[at].1;
                let lowest = sure_before[at].done_up + sums.begun_down;
                let highest = sums.begun_up + sure_before[at].done_down;
                widest = widest.max(highest - lowest);
                if value < lowest || value > highest {
                    broken.push((at, lowest, highest));
                }
            }
        }
    }
    verdict.count("adds", adds);
    verdict.count("reads", reads.len() as u64);
    verdict.count("reads_out_of_bounds", broken.len() as u64);
    verdict.measure("bounds_width_max", widest as f64);
    verdict.violations = broken.len() as u64;
    if let Some((at, lowest, highest)) = broken.first() {
        let (read, value) = reads[*at];
        let low = broken.iter().filter(|(at, lowest, _)| reads[*at].1 < *lowest).count() as u64;
        let high = broken.len() as u64 - low;
        let mut kinds = [("too-low", low), ("too-high", high)];
        if value > *highest {
            kinds.reverse();
        }
        kinds.into_iter().filter(|(_, count)| *count > 0).for_each(|(kind, count)| verdict.found(kind, count));
        verdict.involve(read.index());
        let reader = sentence(&data::who(read));
        verdict.explanation.push(format!("{reader} read {value}."));
        return verdict.because(
            Judgement::Violated,
            if value < *lowest {
                format!(
                    "It can't have been less than {lowest}: that much had been added and acknowledged before it began."
                )
            } else {
                format!("It can't have been more than {highest}: no more had been begun to be added when it ended.")
            },
        );
    }
    if acknowledged == 0 {
        return verdict.because(Judgement::Unknown, "No add and no read of a counter was acknowledged.");
    }
    if reads.is_empty() {
        let adds = counted(adds, "add");
        return verdict
            .because(Judgement::Holds, format!("{adds}, and it was never read: nothing contradicts the model."));
    }
    let reads = counted(reads.len() as u64, "read");
    verdict.because(Judgement::Holds, format!("{reads}, all within what {} allow.", counted(adds, "add")))
}
