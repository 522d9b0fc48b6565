//! Every checker by name. `list`, campaigns and `check --model` read this.

use thiserror::Error;

use crate::applicable::is_of_registers;
use crate::models::{
    acknowledged_writes, availability, bank, broadcast, causal, causal_convergence, causal_memory, convergence,
    counter, dot_log_bounded, gossip_cost, hints_drained, linearizable, long_fork, monotonic_quorum_reads,
    monotonic_reads, monotonic_writes, pram, queue, read_your_writes, regular, removals, safe, scans,
    second_exchange_empty, sequential, set, set_full, staleness, total_queue, two_atomic, unique_ids, views,
    writes_follow_reads,
};
use crate::record::Recording;
use crate::registers::{ZERO_AT_FIRST, begins_as_zero};
use crate::transactions::{Level, checker::checker};
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
        name: two_atomic::NAME,
        meaning: "One order of all operations keeps real time, and each read returns one of the last two versions.",
        source: "Golab, Hurwitz and Li, On the k-atomicity-verification problem, 2013",
        check: two_atomic::check,
    },
    Checker {
        name: staleness::NAME,
        meaning: "What was read is no staler than allowed; how stale is measured in time, versions, and Delta.",
        source: "Golab, Li and Shah, Analyzing consistency properties for fun and profit, 2011",
        check: staleness::check,
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
        name: hints_drained::NAME,
        meaning: "At the end no node keeps writes for another any more.",
        source: "DeCandia et al., Dynamo, 2007, section 4.6 (hinted handoff)",
        check: hints_drained::check,
    },
    Checker {
        name: dot_log_bounded::NAME,
        meaning: "At the end next to nothing is left in the dot logs: they are pruned by what others are known to have.",
        source: "Goncalves et al., DottedDB, 2017 (bitmap version vectors)",
        check: dot_log_bounded::check,
    },
    Checker {
        name: gossip_cost::NAME,
        meaning: "Broadcasts cost no more than the campaign states: duplicates, requests, control messages, what tables keep.",
        source: "Leitão et al., Epidemic broadcast trees, 2007; Demers et al., Epidemic algorithms, 1987",
        check: gossip_cost::check,
    },
    Checker {
        name: second_exchange_empty::NAME,
        meaning: "Of two comparisons of all replicas in a row, without load, the second finds no difference.",
        source: "Demers et al., Epidemic algorithms, 1987; DeCandia et al., Dynamo, 2007, section 4.7 (Merkle trees)",
        check: second_exchange_empty::check,
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
        name: removals::NAME,
        meaning: "What was added to a set is there until its removal begins, and never again after that was acknowledged.",
        source: "Shapiro et al., Conflict-free replicated data types, 2011 (observed-remove set)",
        check: removals::check,
    },
    Checker {
        name: scans::NAME,
        meaning: "A scan returns what reads of each register in its range could have, in order, none left out.",
        source: "Petrov, Database Internals, 2019, chapter 12 (short-read protection); Lamport, On interprocess communication, 1986",
        check: scans::check,
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
    checker::<{ Level::ReadUncommitted as usize }>(),
    checker::<{ Level::ReadCommitted as usize }>(),
    checker::<{ Level::SessionReadCommitted as usize }>(),
    checker::<{ Level::ReadAtomic as usize }>(),
    checker::<{ Level::SessionReadAtomic as usize }>(),
    checker::<{ Level::Causal as usize }>(),
    checker::<{ Level::ConsistentView as usize }>(),
    checker::<{ Level::ParallelSnapshotIsolation as usize }>(),
    checker::<{ Level::Prefix as usize }>(),
    checker::<{ Level::SnapshotIsolation as usize }>(),
    checker::<{ Level::SessionSnapshotIsolation as usize }>(),
    checker::<{ Level::StrongSnapshotIsolation as usize }>(),
    checker::<{ Level::Serializable as usize }>(),
    checker::<{ Level::SessionSerializable as usize }>(),
    checker::<{ Level::StrictSerializable as usize }>(),
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
    let is_zero = |recording: &Recording| case.history.operations.is_empty() && begins_as_zero(recording);
    let begins_as_zero = case.recording.as_ref().is_some_and(is_zero);
    let check = |checker: &Checker| {
        let mut verdict = (checker.check)(case, options);
        if begins_as_zero && is_of_registers(checker.name) {
            verdict.assumptions.retain(|assumption| !assumption.contains("held 0 at the beginning"));
            verdict.assumptions.push(ZERO_AT_FIRST.to_owned());
        }
        verdict
    };
    Ok(checkers.into_iter().map(check).collect())
}
