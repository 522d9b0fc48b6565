//! Every checker by name. `list`, campaigns and `check --model` read this.

use thiserror::Error;

use crate::models::{
    acknowledged_writes, availability, bank, broadcast, convergence, counter, linearizable, long_fork,
    monotonic_quorum_reads, monotonic_reads, queue, read_your_writes, set, set_full, total_queue, unique_ids, views,
};
use crate::{Case, CheckOptions, Verdict};

/// A checker.
#[derive(Clone, Copy, Debug)]
pub struct Checker {
    /// What it is called in campaigns and verdicts.
    pub name: &'static str,
    /// What holds when it says `holds`, in one sentence.
    pub meaning: &'static str,
    /// Where the model comes from.
    pub source: &'static str,
    /// Judges a case.
    pub check: fn(&Case, &CheckOptions) -> Verdict,
}

const CHECKERS: &[Checker] = &[
    Checker {
        name: monotonic_reads::NAME,
        meaning: "No session reads an older version than it has read before.",
        source: "Terry et al., Session guarantees for weakly consistent replicated data, 1994",
        check: monotonic_reads::check,
    },
    Checker {
        name: monotonic_quorum_reads::NAME,
        meaning: "A read that begins after another has ended, in any session, returns no older version.",
        source: "Petrov, Database Internals, 2019, chapter 12 (blocking read repair)",
        check: monotonic_quorum_reads::check,
    },
    Checker {
        name: read_your_writes::NAME,
        meaning: "After its own acknowledged write a session reads that version or a newer one.",
        source: "Terry et al., Session guarantees for weakly consistent replicated data, 1994",
        check: read_your_writes::check,
    },
    Checker {
        name: linearizable::NAME,
        meaning: "Each register behaves as one copy: every operation takes effect at one moment while it is under way.",
        source: "Herlihy and Wing, 1990; Gibbons and Korach, Testing shared memories, 1997 (known reads-from)",
        check: linearizable::check,
    },
    Checker {
        name: convergence::NAME,
        meaning: "After healing all replicas of a key become equal, and equal to something written and not overwritten.",
        source: "Shapiro et al., Conflict-free replicated data types, 2011 (strong eventual consistency)",
        check: convergence::check,
    },
    Checker {
        name: acknowledged_writes::NAME,
        meaning: "No acknowledged write or delete is lost: what is stored at the end is not older than it.",
        source: "Kingsbury, Jepsen: lost updates",
        check: acknowledged_writes::check,
    },
    Checker {
        name: availability::NAME,
        meaning: "Enough operations succeed while no fault is in force, and outages stay within bounds.",
        source: "Kingsbury, Jepsen: checker/stats and checker/perf",
        check: availability::check,
    },
    Checker {
        name: set::NAME,
        meaning: "At the end a set holds every element whose add was acknowledged, and nothing that nobody added.",
        source: "Kingsbury, Jepsen: checker/set",
        check: set::check,
    },
    Checker {
        name: set_full::NAME,
        meaning: "An element that is known to be in a set stays there, once.",
        source: "Kingsbury, Jepsen: checker/set-full",
        check: set_full::check,
    },
    Checker {
        name: counter::NAME,
        meaning: "Each read of a counter lies between what had surely been added and what may have been.",
        source: "Kingsbury, Jepsen: checker/counter",
        check: counter::check,
    },
    Checker {
        name: queue::NAME,
        meaning: "Every dequeue returns something that was enqueued and is not dequeued yet.",
        source: "Kingsbury, Jepsen: checker/queue",
        check: queue::check,
    },
    Checker {
        name: total_queue::NAME,
        meaning: "What goes into a queue comes out of it.",
        source: "Kingsbury, Jepsen: checker/total-queue",
        check: total_queue::check,
    },
    Checker {
        name: unique_ids::NAME,
        meaning: "No id is given out twice.",
        source: "Kingsbury, Jepsen: checker/unique-ids",
        check: unique_ids::check,
    },
    Checker {
        name: bank::NAME,
        meaning: "Transfers never change the total of all balances, and no balance is negative.",
        source: "Kingsbury, Jepsen: tests.bank",
        check: bank::check,
    },
    Checker {
        name: long_fork::NAME,
        meaning: "Of two reads of the same keys one saw all that the other saw.",
        source: "Kingsbury, Jepsen: tests.long-fork; Sovran et al., Walter, 2011",
        check: long_fork::check,
    },
    Checker {
        name: broadcast::NAME,
        meaning: "Every message reaches every correct node, once, and none is made up.",
        source: "Hadzilacos and Toueg, 1994; Cachin, Guerraoui and Rodrigues, 2011, chapter 3",
        check: broadcast::check,
    },
    Checker {
        name: views::NAME,
        meaning: "Partial views are disjoint, bounded, symmetric and connect all nodes.",
        source: "Leitao, Pereira and Rodrigues, HyParView, 2007",
        check: views::check,
    },
];

/// All checkers.
pub fn checkers() -> &'static [Checker] {
    CHECKERS
}

/// The checker of that name.
pub fn find(name: &str) -> Option<&'static Checker> {
    CHECKERS.iter().find(|checker| checker.name == name)
}

/// A name that no checker has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no checker `{name}`: the checkers are {known}", known = known_names())]
pub struct UnknownChecker {
    /// The name.
    pub name: String,
}

fn known_names() -> String {
    let names: Vec<&str> = CHECKERS.iter().map(|checker| checker.name).collect();
    crate::explain::listed(&names)
}

/// Judges a case by the named checkers, in that order.
///
/// # Errors
/// A name that no checker has; then nothing was judged.
pub fn judge<S: AsRef<str>>(case: &Case, names: &[S], options: &CheckOptions) -> Result<Vec<Verdict>, UnknownChecker> {
    let checkers = names.iter().map(|name| {
        let name = name.as_ref();
        find(name).ok_or_else(|| UnknownChecker { name: name.to_owned() })
    });
    let checkers = checkers.collect::<Result<Vec<_>, _>>()?;
    Ok(checkers.into_iter().map(|checker| (checker.check)(case, options)).collect())
}
