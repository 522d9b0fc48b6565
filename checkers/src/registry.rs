//! Every checker by name. `list`, campaigns and `check --model` read this.

use thiserror::Error;

use crate::models::{
    acknowledged_writes, availability, causal, causal_convergence, causal_memory, convergence, linearizable,
    monotonic_quorum_reads, monotonic_reads, monotonic_writes, pram, read_your_writes, regular, safe, sequential,
    writes_follow_reads,
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
        name: monotonic_writes::NAME,
        meaning: "Who sees a write of a session also sees that session's writes before it, in their order.",
        source: "Terry et al., Session guarantees for weakly consistent replicated data, 1994",
        check: monotonic_writes::check,
    },
    Checker {
        name: writes_follow_reads::NAME,
        meaning: "Who sees a write also sees what its session had read before, and the write is newer than that.",
        source: "Terry et al., Session guarantees for weakly consistent replicated data, 1994",
        check: writes_follow_reads::check,
    },
    Checker {
        name: pram::NAME,
        meaning: "Each session sees the writes of every other session in the order of that session, and its own at once.",
        source: "Lipton and Sandberg, PRAM: a scalable shared memory, 1988",
        check: pram::check,
    },
    Checker {
        name: causal::NAME,
        meaning: "No read returns a version that is causally before another one that its session knew of (CC).",
        source: "Bouajjani, Enea, Guerraoui and Hamza, On verifying causal consistency, 2017",
        check: causal::check,
    },
    Checker {
        name: causal_convergence::NAME,
        meaning: "Causal consistency, and all sessions order concurrent versions alike (CCv, causal+).",
        source: "Bouajjani, Enea, Guerraoui and Hamza, On verifying causal consistency, 2017",
        check: causal_convergence::check,
    },
    Checker {
        name: causal_memory::NAME,
        meaning: "Causal consistency, and each session's reads fit one order of all that it knows of (CM).",
        source: "Ahamad et al., Causal memory, 1995; Bouajjani et al., On verifying causal consistency, 2017",
        check: causal_memory::check,
    },
    Checker {
        name: sequential::NAME,
        meaning: "Each register by itself has one order of all operations that keeps every session's order.",
        source: "Lamport, How to make a multiprocessor computer that correctly executes multiprocess programs, 1979",
        check: sequential::check,
    },
    Checker {
        name: safe::NAME,
        meaning: "A read that overlaps no write returns a version that was not overwritten before it began.",
        source: "Lamport, On interprocess communication, 1986",
        check: safe::check,
    },
    Checker {
        name: regular::NAME,
        meaning: "A read returns a version that was written while it ran, or was not overwritten before it began.",
        source: "Lamport, On interprocess communication, 1986; Shao et al., Multiwriter consistency conditions, 2011",
        check: regular::check,
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
