//! Regular and safe registers: each read by itself against the intervals of the writes, O(n log n).
//!
//! A write may be what a read returned if it began before the read ended and no other write lies wholly between it and the
//! read. So of all writes that were over before the read began, the latest beginning decides: a write that was over
//! before that is overwritten.

use crate::explain::{NO_EVIDENCE, counted};
use crate::registers::{Clock, OPEN, RegisterOp, Registers};
use crate::{Function, Judgement, Verdict};

/// What a read is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    Regular,
    /// Nothing for a read that overlaps a write.
    Safe,
}

/// The writes and deletes of a key.
struct Changes<'h> {
    ops: &'h [RegisterOp],
    /// By end; and the latest beginning up to each, with its operation.
    by_end: Vec<(u64, u32)>,
    latest: Vec<(u64, u32)>,
    by_begin: Vec<u64>,
    /// Sorted by value and beginning, with the latest end of that value up to each.
    by_value: Vec<(Option<u64>, u64, u64, u32)>,
    /// Value, beginning, operation; sorted.
    touching: Vec<(Option<u64>, u64, u32)>,
}

impl<'h> Changes<'h> {
    fn new(ops: &'h [RegisterOp], changes: &[u32]) -> Changes<'h> {
        let op = |at: u32| &ops[at as usize];
        let mut by_end: Vec<(u64, u32)> = changes.iter().map(|at| (op(*at).completed, *at)).collect();
        by_end.sort_unstable();
        let mut newest = (0, u32::MAX);
        let latest = by_end.iter().map(|(_, at)| {
            if newest.1 == u32::MAX || op(*at).invoked > newest.0 {
                newest = (op(*at).invoked, *at);
            }
            newest
        });
        let latest = latest.collect();
        let mut by_begin: Vec<u64> = changes.iter().map(|at| op(*at).invoked).collect();
        by_begin.sort_unstable();
        let mut by_value: Vec<(Option<u64>, u64, u64, u32)> =
            changes.iter().map(|at| (op(*at).value(), op(*at).invoked, op(*at).completed, *at)).collect();
        by_value.sort_unstable();
        let touching = by_value.iter().map(|(value, begin, _, at)| (*value, *begin, *at)).collect();
        for at in 1..by_value.len() {
            if by_value[at - 1].0 == by_value[at].0 && by_value[at - 1].2 > by_value[at].2 {
                (by_value[at].2, by_value[at].3) = (by_value[at - 1].2, by_value[at - 1].3);
            }
        }
        Changes { ops, by_end, latest, by_begin, by_value, touching }
    }

    /// The write that was over before the read began and began last.
    fn newest_before(&self, read: &RegisterOp) -> Option<&RegisterOp> {
        let over = self.by_end.partition_point(|(end, _)| *end < read.invoked);
        over.checked_sub(1).map(|last| &self.ops[self.latest[last].1 as usize])
    }

    fn overlaps(&self, read: &RegisterOp) -> bool {
        let begun = self.by_begin.partition_point(|begin| *begin <= read.completed);
        let over = self.by_end.partition_point(|(end, _)| *end < read.invoked);
        begun > over
    }

    /// Of the writes of the value that began before the read ended, the one that ended last.
    fn candidate(&self, read: &RegisterOp) -> Option<&RegisterOp> {
        let value = read.value();
        let before = self.by_value.partition_point(|(known, begin, _, _)| (*known, *begin) < (value, read.completed));
        let earlier = self.by_value[..before].last().filter(|(known, ..)| *known == value);
        // What begins at the moment of the read's end overlaps it, unless the reader itself begins it then.
        let touching = self.touching[self.touching.partition_point(|place| *place < (value, read.completed, 0))..]
            .iter()
            .take_while(|(known, begin, _)| (*known, *begin) == (value, read.completed))
            .map(|(_, _, at)| &self.ops[*at as usize])
            .filter(|write| write.session != read.session || write.index < read.index);
        earlier.map(|last| &self.ops[last.3 as usize]).into_iter().chain(touching).max_by_key(|write| write.completed)
    }

    /// Whether the read may return what it did; else the write that it returned, if any, and the one that it missed.
    fn judge(&self, read: &RegisterOp) -> Result<(), (Option<&RegisterOp>, Option<&RegisterOp>)> {
        let newest = self.newest_before(read);
        if read.absent && newest.is_none() {
            return Ok(());
        }
        match (self.candidate(read), newest) {
            (Some(candidate), Some(newest)) if candidate.completed < newest.invoked => {
                Err((Some(candidate), Some(newest)))
            }
            (Some(_), _) => Ok(()),
            (None, newest) => Err((None, newest)),
        }
    }
}

/// Judges registers read by read.
pub(crate) fn judge(checker: &str, promise: Promise, registers: &Registers) -> Verdict {
    let mut verdict = Verdict::new(checker);
    verdict.assumptions.push("All clients take their times from one clock.".to_owned());
    if registers.clock == Clock::Nothing {
        return verdict.because(Judgement::Unknown, "The history says nothing about real time.");
    }
    let mut changes = vec![Vec::new(); registers.keys.len()];
    for (at, op) in registers.ops.iter().enumerate().filter(|(_, op)| op.is_change()) {
        changes[op.key as usize].push(at as u32);
    }
    let changes: Vec<Changes<'_>> = changes.iter().map(|changes| Changes::new(&registers.ops, changes)).collect();
    let (mut reads, mut judged, mut possibly_stale) = (0_u64, 0_u64, 0_u64);
    let (mut stale, mut thin_air) = (0_u64, 0_u64);
    let mut clearest: Option<(&RegisterOp, Option<&RegisterOp>, Option<&RegisterOp>)> = None;
    for read in registers.ops.iter().filter(|op| op.is_read()) {
        reads += 1;
        let changes = &changes[read.key as usize];
        if promise == Promise::Safe && changes.overlaps(read) {
            continue;
        }
        judged += 1;
        possibly_stale += u64::from(changes.newest_before(read).is_some());
        if let Err((returned, missed)) = changes.judge(read) {
            let is_known = returned.is_some() || read.absent;
            *if is_known { &mut stale } else { &mut thin_air } += 1;
            if clearest.is_none() {
                clearest = Some((read, returned, missed));
            }
        }
    }
    verdict.count("operations_judged", registers.ops.iter().filter(|op| op.is_read() || op.is_change()).count() as u64);
    verdict.count("reads_judged", judged);
    verdict.count("reads_possibly_stale", possibly_stale);
    verdict.count("reads_stale", stale);
    verdict.count("reads_impossible", thin_air);
    if let Some((read, returned, missed)) = clearest {
        let first = if returned.is_some() || read.absent { ("stale-read", stale) } else { ("thin-air", thin_air) };
        let second = if first.0 == "stale-read" { ("thin-air", thin_air) } else { ("stale-read", stale) };
        [first, second]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .for_each(|(kind, count)| verdict.found(kind, count));
        verdict.violations = stale + thin_air;
        verdict.judgement = Judgement::Violated;
        explain(&mut verdict, registers, read, returned, missed);
        return verdict;
    }
    if possibly_stale == 0 {
        let reason = match promise {
            Promise::Regular => {
                format!("{NO_EVIDENCE}: of {}, none began after a write.", counted(reads, "read"))
            }
            Promise::Safe => {
                format!("{NO_EVIDENCE}: of {}, none began after a write and overlapped none.", counted(reads, "read"))
            }
        };
        return verdict.because(Judgement::Unknown, reason);
    }
    let sentence = format!(
        "{} of {} judged, {possibly_stale} of them could have been stale, and none was.",
        counted(judged, "read"),
        counted(registers.keys.len() as u64, "key"),
    );
    verdict.because(Judgement::Holds, sentence)
}

fn explain(
    verdict: &mut Verdict,
    registers: &Registers,
    read: &RegisterOp,
    returned: Option<&RegisterOp>,
    missed: Option<&RegisterOp>,
) {
    let (key, value) = (registers.key_of(read), registers.text_of(read.value()));
    verdict.explanation.push(format!("Key {key}: {} read {value} ({}).", read.process, read.index));
    verdict.involve(read.index);
    if returned.is_none() && !read.absent {
        verdict.explanation.push(format!("Nobody had begun to write {value} by then."));
        return;
    }
    let did = |op: &RegisterOp| match op.f {
        Function::Delete => format!("deleted it ({})", op.index),
        _ => format!("wrote {} ({})", registers.text_of(op.value()), op.index),
    };
    if let Some(returned) = returned {
        verdict.involve(returned.index);
        verdict.explanation.push(crate::explain::sentence(&format!("{} {}.", returned.process, did(returned))));
    }
    if let Some(missed) = missed {
        verdict.involve(missed.index);
        let after = if returned.is_some() { "after that" } else { "before that read" };
        let after = if returned.is_some_and(|op| op.completed != OPEN) { "only after that was over" } else { after };
        verdict.explanation.push(crate::explain::sentence(&format!(
            "{} {} {after}, and it was over before the read began: {value} was no longer there.",
            missed.process,
            did(missed)
        )));
    }
}
