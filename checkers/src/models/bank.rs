//! Money moves and stays (Jepsen's `tests.bank`): transfers between accounts, and reads of all of them at once.
//!
//! Every `ok` read is a map of accounts to balances. It may name no other accounts than the bank has, no balance may be
//! missing, the total never changes, and balances are not negative unless that is allowed. The accounts and the total are
//! options ([`crate::DataOptions`]); without them the first read is taken for what they are, which the verdict says.
//! Unknown: no read, or only the one that the expectation comes from.

use crate::data;
use crate::explain::{counted, sentence};
use crate::record::{Datum, RecordedOperation};
use crate::{Case, CheckOptions, DataOptions, Judgement, Outcome, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "bank";

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    data::judge(NAME, case, |operations, verdict| check_one(operations, verdict, &options.data))
}

const KINDS: [&str; 4] = ["unexpected-account", "missing-balance", "wrong-total", "negative-balance"];

fn check_one(operations: &[RecordedOperation<'_>], mut verdict: Verdict, options: &DataOptions) -> Verdict {
    let reads: Vec<(&RecordedOperation<'_>, &[(Datum, Datum)])> = operations
        .iter()
        .filter(|operation| operation.f() == "read" && operation.is_ok())
        .filter_map(|read| Some((read, read.value().entries()?)))
        .collect();
    let Some((first, accounts)) = reads.first().copied() else {
        return verdict.because(Judgement::Unknown, "No read of the accounts was ok.");
    };
    let total_of =
        |entries: &[(Datum, Datum)]| entries.iter().filter_map(|(_, balance)| balance.as_int()).map(i128::from).sum();
    let total: i128 = options.bank_total.map_or_else(|| total_of(accounts), i128::from);
    if options.bank_total.is_none() {
        let read = first.index();
        let assumption = format!(
            "The bank has the {} accounts and the total of {total} of its first read ({read}).",
            accounts.len()
        );
        verdict.assumptions.push(assumption);
    }
    let mut counts = [0_u64; 4];
    let mut told: Option<(usize, String)> = None;
    for (read, entries) in &reads {
        let known = |account: &Datum| accounts.binary_search_by(|(known, _)| known.cmp(account)).is_ok();
        let strange: Vec<&Datum> =
            entries.iter().map(|(account, _)| account).filter(|account| !known(account)).collect();
        let missing: Vec<&Datum> =
            entries.iter().filter(|(_, balance)| balance.as_int().is_none()).map(|(account, _)| account).collect();
        let negative: Vec<&(Datum, Datum)> =
            entries.iter().filter(|(_, balance)| balance.as_int().is_some_and(|balance| balance < 0)).collect();
        let sum: i128 = total_of(entries);
        let who = || sentence(&data::who(read));
        // As in Jepsen, the first of these that applies.
        let found = if !strange.is_empty() {
            (0, format!("{} read account {}, which the bank does not have.", who(), data::some(strange)))
        } else if !missing.is_empty() {
            (1, format!("{} read no balance for account {}.", who(), data::some(missing)))
        } else if sum != total {
            (2, format!("{} read a total of {sum}; it should be {total}.", who()))
        } else if let (Some((account, balance)), false) = (negative.first(), options.bank_negative_balances) {
            (3, format!("{} read a balance of {balance} for account {account}.", who()))
        } else {
            continue;
        };
        counts[found.0] += 1;
        if told.is_none() {
            verdict.involve(read.index());
            told = Some(found);
        }
    }
    let count = |f: &str, outcome| {
        operations.iter().filter(|operation| operation.f() == f && operation.outcome == outcome).count() as u64
    };
    verdict.count("reads", reads.len() as u64);
    verdict.count("accounts", accounts.len() as u64);
    verdict.measure("total", total as f64);
    verdict.count("transfers", count("transfer", Outcome::Ok));
    verdict.count("transfers_indeterminate", count("transfer", Outcome::Info));
    verdict.violations = counts.iter().sum();
    if let Some((kind, told)) = told {
        verdict.found(KINDS[kind], counts[kind]);
        for (kind, count) in KINDS.iter().zip(counts) {
            if count > 0 && !verdict.kinds.iter().any(|known| known.kind == *kind) {
                verdict.found(kind, count);
            }
        }
        if kind == 2 && options.bank_total.is_none() {
            verdict.involve(first.index());
            verdict.explanation.push(format!("{} read a total of {total}.", sentence(&data::who(first))));
        }
        return verdict.because(Judgement::Violated, told);
    }
    if reads.len() < 2 && options.bank_total.is_none() {
        return verdict.because(Judgement::Unknown, "The accounts were read once: there is nothing to compare with.");
    }
    let reads = counted(reads.len() as u64, "read");
    verdict.because(Judgement::Holds, format!("{reads}, each with a total of {total}."))
}
