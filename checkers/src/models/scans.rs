//! Scans of ranges of registers beside writes and deletes: what a scan returned is what reads of each register in its
//! range could have returned while it ran, none left out (short-read protection; Petrov, *Database Internals*, 2019,
//! chapter 12).
//!
//! A scan names a prefix and the most rows it may return; its rows are in order of the names (by bytes). Fewer rows than
//! the limit say that there is nothing more in the range; as many say nothing of what comes behind the last. A register is
//! *missing* if a write of it was acknowledged before the scan began and every delete is certainly older than that write
//! or began after the scan ended. It is *resurrected* if a delete was acknowledged before, and every write is certainly older
//! than that delete or began later. A value is *stale* if another change, begun after it was acknowledged, was itself
//! acknowledged before the scan began. *Unwritten* values, rows out of order, twice, outside of the range or beyond the limit
//! break it, too. Uses the order of changes in real time. Order is that of the recording.

use std::collections::BTreeMap;

use crate::data;
use crate::explain::{counted, sentence};
use crate::record::{Datum, RecordedOperation};
use crate::{Case, CheckOptions, Judgement, Outcome, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "scans";

/// A write or delete that may have happened.
struct Change<'o, 'r> {
    operation: &'o RecordedOperation<'r>,
    /// `None`: a delete.
    value: Option<&'r Datum>,
}

impl Change<'_, '_> {
    fn is_acknowledged_before(&self, position: u32) -> bool {
        self.operation.is_ok() && self.operation.ended < Some(position)
    }

    /// Certainly older than what began there.
    fn is_over_before(&self, position: u32) -> bool {
        self.operation.ended.is_some_and(|ended| ended < position)
    }
}

/// Something wrong: kind, the register, the change that it contradicts, and a sentence on the scan.
struct Wrong<'o, 'r> {
    kind: &'static str,
    scan: &'o RecordedOperation<'r>,
    change: Option<&'o RecordedOperation<'r>>,
    /// What the scan did, after its name.
    did: String,
}

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    let mut verdict = Verdict::new(NAME);
    let Some(recording) = &case.recording else {
        return verdict.because(Judgement::Unknown, "There is no recording whose values are data.");
    };
    if !options.real_time_writes {
        let reason = "What a scan must return follows from real time, and writes are said not to follow it.";
        return verdict.because(Judgement::Unknown, reason);
    }
    let operations = match recording.operations() {
        Ok(operations) => operations.all,
        Err(error) => {
            let problem = sentence(&error.to_string());
            return verdict.because(Judgement::Unknown, format!("{problem}, so nothing can be judged."));
        }
    };
    verdict.assumptions.push("A write that was acknowledged before another one began is older than it.".to_owned());
    let mut registers: BTreeMap<&str, Vec<Change<'_, '_>>> = BTreeMap::new();
    for operation in &operations {
        let Some(key) = operation.key().and_then(Datum::as_name) else { continue };
        let value = match operation.f() {
            _ if operation.outcome == Outcome::Fail => continue,
            "write" => Some(operation.argument()),
            "delete" => None,
            _ => continue,
        };
        registers.entry(key).or_default().push(Change { operation, value });
    }
    let scans = operations.iter().filter(|operation| operation.f() == "scan" && operation.is_ok());
    let (mut judged, mut due, mut away, mut full) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut wrong = Vec::new();
    for scan in scans {
        let (Some(prefix), Some(rows)) = (scan.key().and_then(Datum::as_name), rows_of(scan)) else {
            let reason = format!("{} returned {}: expected rows.", sentence(&data::who(scan)), scan.value());
            return verdict.because(Judgement::Unknown, reason);
        };
        let limit = scan.argument().as_int().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        judged += 1;
        full += u64::from(rows.len() >= limit);
        wrong.extend(misplaced(scan, prefix, limit, &rows));
        let until = if rows.len() >= limit { rows.last().map(|(key, _)| *key) } else { None };
        let in_range = registers.range(prefix..).take_while(|(key, _)| key.starts_with(prefix));
        let in_range = in_range.filter(|(key, _)| until.is_none_or(|until| **key <= until));
        let returned: BTreeMap<&str, &Datum> = rows.iter().copied().collect();
        for (key, changes) in in_range {
            let ended = scan.ended.expect("a scan that is ok has ended");
            match returned.get(key) {
                Some(value) => wrong.extend(wrong_value(scan, key, value, changes, ended)),
                None => {
                    let live = changes.iter().filter(|change| change.value.is_some());
                    let mut live = live.filter(|write| {
                        let survives = |delete: &Change<'_, '_>| {
                            delete.is_over_before(write.operation.began) || delete.operation.began > ended
                        };
                        write.is_acknowledged_before(scan.began)
                            && changes.iter().filter(|change| change.value.is_none()).all(survives)
                    });
                    away += u64::from(!changes.is_empty());
                    wrong.extend(live.next().map(|write| Wrong {
                        kind: "missing",
                        scan,
                        change: Some(write.operation),
                        did: format!("did not return {key}, which nobody had begun to delete since"),
                    }));
                }
            }
        }
        due += returned.len() as u64;
        wrong.extend(rows.iter().filter(|(key, _)| !registers.contains_key(key)).map(|(key, value)| Wrong {
            kind: "unwritten",
            scan,
            change: None,
            did: format!("returned {key} = {value}, and nobody wrote {key}"),
        }));
    }
    verdict.count("scans", judged);
    verdict.count("scans_up_to_limit", full);
    verdict.count("rows", due);
    verdict.count("rows_away", away);
    verdict.violations = wrong.len() as u64;
    if !wrong.is_empty() {
        verdict.judgement = Judgement::Violated;
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        wrong.iter().for_each(|wrong| *kinds.entry(wrong.kind).or_default() += 1);
        kinds.iter().for_each(|(kind, count)| verdict.found(kind, *count));
        for kind in kinds.keys() {
            let first = wrong.iter().find(|wrong| wrong.kind == *kind).expect("of a kind that was found");
            tell(&mut verdict, first);
        }
        return verdict;
    }
    if due == 0 {
        return verdict.because(Judgement::Unknown, format!("{} returned no row.", sentence(&counted(judged, "scan"))));
    }
    let sentence = format!(
        "{} judged, {full} of them up to their limit: {}, none missing, stale or back from a delete.",
        counted(judged, "scan"),
        counted(due, "row"),
    );
    verdict.because(Judgement::Holds, sentence)
}

/// Names and values.
fn rows_of<'r>(scan: &RecordedOperation<'r>) -> Option<Vec<(&'r str, &'r Datum)>> {
    let row = |row: &'r Datum| match row.as_list()? {
        [key, value] => Some((key.as_name()?, value)),
        _ => None,
    };
    scan.result()?.as_list()?.iter().map(row).collect()
}

/// What is wrong with the order and number of rows.
fn misplaced<'o, 'r>(
    scan: &'o RecordedOperation<'r>,
    prefix: &str,
    limit: usize,
    rows: &[(&str, &Datum)],
) -> Vec<Wrong<'o, 'r>> {
    let mut all = Vec::new();
    let mut wrong = |kind, did| all.push(Wrong { kind, scan, change: None, did });
    if rows.len() > limit {
        wrong("over-limit", format!("returned {}, and may return {limit}", counted(rows.len() as u64, "row")));
    }
    if let Some(pair) = rows.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
        wrong("out-of-order", format!("returned {} behind {}", pair[1].0, pair[0].0));
    }
    if let Some((key, _)) = rows.iter().find(|(key, _)| !key.starts_with(prefix)) {
        wrong("out-of-range", format!("returned {key}, which does not begin with {prefix}"));
    }
    all
}

/// Why a register can't have had that value.
fn wrong_value<'o, 'r>(
    scan: &'o RecordedOperation<'r>,
    key: &str,
    value: &Datum,
    changes: &[Change<'o, 'r>],
    ended: u32,
) -> Option<Wrong<'o, 'r>> {
    let written = changes.iter().find(|change| change.value == Some(value) && change.operation.began < ended);
    let Some(written) = written else {
        let did = format!("returned {key} = {value}, which nobody had written there");
        return Some(Wrong { kind: "unwritten", scan, change: None, did });
    };
    let newer = changes
        .iter()
        .find(|change| change.is_acknowledged_before(scan.began) && written.is_over_before(change.operation.began))?;
    let gone = newer.value.is_none();
    let (kind, what) = if gone { ("resurrected", "deleted") } else { ("stale", "overwritten") };
    let did = format!("returned {key} = {value}, which was {what} before it began");
    Some(Wrong { kind, scan, change: Some(newer.operation), did })
}

fn tell(verdict: &mut Verdict, wrong: &Wrong<'_, '_>) {
    if let Some(change) = wrong.change {
        verdict.involve(change.index());
        let key = change.key().and_then(Datum::as_name).unwrap_or_default();
        let did = match change.f() {
            "write" => format!("wrote {key} = {}", change.argument()),
            _ => format!("deleted {key}"),
        };
        let who = sentence(&data::who(change));
        verdict.explanation.push(format!("{who} {did}, and that was acknowledged."));
    }
    verdict.involve(wrong.scan.index());
    let prefix = wrong.scan.key().and_then(Datum::as_name).unwrap_or_default();
    let who = sentence(&data::who(wrong.scan));
    verdict.explanation.push(format!("{who} scanned {prefix}: it {}.", wrong.did));
}
