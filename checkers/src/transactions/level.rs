//! Anomalies, and the isolation levels that forbid them.
//!
//! A level is defined by the cycles of dependencies that it forbids ([`Cycles`]) and by the [`Scope`] of the order that it
//! promises beyond dependencies: none, within sessions, or in real time. Edges are ww (a later version of the same key),
//! wr (read from), rw (read what was overwritten), and those of the scope.

use std::fmt;

/// What a level promises about order beyond the dependencies of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Nothing.
    Plain,
    /// Transactions of a session follow each other.
    Session,
    /// A transaction follows all that had completed when it was invoked.
    RealTime,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 3] = [Scope::Plain, Scope::Session, Scope::RealTime];
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anomaly {
    /// A read returned what nobody wrote.
    GarbageRead,
    /// A transaction read what it wrote itself only afterwards.
    FutureRead,
    /// A list contains an element twice.
    DuplicateElements,
    /// Two reads of a list of which none is a prefix of the other.
    IncompatibleOrder,
    /// The order of the versions of one key, as it follows from what is assumed about keys, contradicts itself.
    CyclicVersions,
    /// A transaction read what an aborted one wrote.
    G1a,
    /// A transaction read what its writer itself overwrote.
    G1b,
    /// A committed transaction wrote on top of what an aborted one wrote.
    DirtyUpdate,
    /// A transaction did not see its own writes.
    Internal,
    /// A transaction read a key twice and saw different versions.
    UnrepeatableRead,
    /// Two transactions read the same version and both wrote the key.
    LostUpdate,
    /// A transaction reads a version although it has seen (by read committed's rule) a later one, within itself.
    NonMonotonicRead(Scope),
    /// A transaction saw only a part of what another one wrote.
    FracturedRead(Scope),
    /// A transaction reads a version older than one that it causally follows.
    CausalityViolation,
    /// A cycle of ww edges: a dirty write.
    G0(Scope),
    /// A cycle of ww and wr edges with at least one wr: circular information flow.
    G1c(Scope),
    /// A cycle with exactly one rw edge: read skew.
    GSingle(Scope),
    /// A cycle with several rw edges, none next to another: what snapshot isolation forbids.
    GNonadjacent(Scope),
    /// A cycle with rw edges next to each other: write skew.
    G2Item(Scope),
    /// No order of the transactions explains all reads; found by trying all of them.
    NoOrder(Scope),
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, scope) = match self {
            Anomaly::GarbageRead => ("garbage-read", Scope::Plain),
            Anomaly::FutureRead => ("future-read", Scope::Plain),
            Anomaly::DuplicateElements => ("duplicate-elements", Scope::Plain),
            Anomaly::IncompatibleOrder => ("incompatible-order", Scope::Plain),
            Anomaly::CyclicVersions => ("cyclic-versions", Scope::Plain),
            Anomaly::G1a => ("G1a", Scope::Plain),
            Anomaly::G1b => ("G1b", Scope::Plain),
            Anomaly::DirtyUpdate => ("dirty-update", Scope::Plain),
            Anomaly::Internal => ("internal", Scope::Plain),
            Anomaly::UnrepeatableRead => ("unrepeatable-read", Scope::Plain),
            Anomaly::LostUpdate => ("lost-update", Scope::Plain),
            Anomaly::NonMonotonicRead(scope) => ("non-monotonic-read", *scope),
            Anomaly::FracturedRead(scope) => ("fractured-read", *scope),
            Anomaly::CausalityViolation => ("causality-violation", Scope::Plain),
            Anomaly::G0(scope) => ("G0", *scope),
            Anomaly::G1c(scope) => ("G1c", *scope),
            Anomaly::GSingle(scope) => ("G-single", *scope),
            Anomaly::GNonadjacent(scope) => ("G-nonadjacent", *scope),
            Anomaly::G2Item(scope) => ("G2-item", *scope),
            Anomaly::NoOrder(scope) => ("no-order", *scope),
        };
        f.write_str(name)?;
        f.write_str(match scope {
            Scope::Plain => "",
            Scope::Session => "-process",
            Scope::RealTime => "-realtime",
        })
    }
}

impl Anomaly {
    /// What it is, in a few words.
    pub fn meaning(self) -> &'static str {
        match self {
            Anomaly::GarbageRead => "a read of what nobody wrote",
            Anomaly::FutureRead => "a read of what the transaction wrote only afterwards",
            Anomaly::DuplicateElements => "an element twice in a list",
            Anomaly::IncompatibleOrder => "two lists of one key that contradict each other",
            Anomaly::CyclicVersions => "an order of versions that contradicts itself",
            Anomaly::G1a => "a read of what was aborted",
            Anomaly::G1b => "a read of what its writer overwrote itself",
            Anomaly::DirtyUpdate => "a write on top of what was aborted",
            Anomaly::Internal => "a transaction that does not see its own writes",
            Anomaly::UnrepeatableRead => "two versions of a key in one transaction",
            Anomaly::LostUpdate => "an update made from a version that another one replaced",
            Anomaly::NonMonotonicRead(_) => "a read older than an earlier one of the same transaction allows",
            Anomaly::FracturedRead(_) => "a transaction seen in part",
            Anomaly::CausalityViolation => "a read older than what the reader causally follows",
            Anomaly::G0(_) => "dirty writes",
            Anomaly::G1c(_) => "circular information flow",
            Anomaly::GSingle(_) => "read skew",
            Anomaly::GNonadjacent(_) => "skew that snapshots forbid",
            Anomaly::G2Item(_) => "write skew",
            Anomaly::NoOrder(_) => "no order explains all reads",
        }
    }
}

/// Which cycles a level forbids. `deps` are ww, wr and the edges of the scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cycles {
    /// Of ww and the scope.
    Writes,
    /// Of deps.
    Deps,
    /// Read committed in the sense of Biswas and Enea: what was read earlier in a transaction is older than what is read later.
    CommittedReads,
    /// Read atomic: whatever is read directly is seen as a whole.
    AtomicReads,
    /// Causal: whatever is followed, in any number of steps, is seen.
    Causal,
    /// Of deps with at most one rw.
    OneRw,
    /// With each rw after a wr or an edge of the scope.
    Prefix,
    /// Without rw next to rw.
    Nonadjacent,
    /// All.
    Any,
}

/// An isolation level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "`meaning` says it of each")]
pub enum Level {
    ReadUncommitted,
    ReadCommitted,
    SessionReadCommitted,
    ReadAtomic,
    SessionReadAtomic,
    Causal,
    ConsistentView,
    ParallelSnapshotIsolation,
    Prefix,
    SnapshotIsolation,
    SessionSnapshotIsolation,
    StrongSnapshotIsolation,
    Serializable,
    SessionSerializable,
    StrictSerializable,
}

impl Level {
    /// All levels; none comes before one that it implies.
    pub const ALL: [Level; 15] = [
        Level::ReadUncommitted,
        Level::ReadCommitted,
        Level::SessionReadCommitted,
        Level::ReadAtomic,
        Level::SessionReadAtomic,
        Level::Causal,
        Level::ConsistentView,
        Level::ParallelSnapshotIsolation,
        Level::Prefix,
        Level::SnapshotIsolation,
        Level::SessionSnapshotIsolation,
        Level::StrongSnapshotIsolation,
        Level::Serializable,
        Level::SessionSerializable,
        Level::StrictSerializable,
    ];

    /// The level of that name.
    pub fn find(name: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name() == name)
    }

    /// What the checker of this level is called.
    pub const fn name(self) -> &'static str {
        match self {
            Level::ReadUncommitted => "read-uncommitted",
            Level::ReadCommitted => "read-committed",
            Level::SessionReadCommitted => "session-read-committed",
            Level::ReadAtomic => "read-atomic",
            Level::SessionReadAtomic => "session-read-atomic",
            Level::Causal => "transactional-causal",
            Level::ConsistentView => "consistent-view",
            Level::ParallelSnapshotIsolation => "parallel-snapshot-isolation",
            Level::Prefix => "prefix-consistency",
            Level::SnapshotIsolation => "snapshot-isolation",
            Level::SessionSnapshotIsolation => "strong-session-snapshot-isolation",
            Level::StrongSnapshotIsolation => "strong-snapshot-isolation",
            Level::Serializable => "serializable",
            Level::SessionSerializable => "strong-session-serializable",
            Level::StrictSerializable => "strict-serializable",
        }
    }

    /// What holds when the level holds, in one sentence.
    pub const fn meaning(self) -> &'static str {
        match self {
            Level::ReadUncommitted => "Transactions write in one order: no cycle of overwrites (G0).",
            Level::ReadCommitted => {
                "Reads are of committed, final versions, and information flows in one direction (no G1a, G1b, G1c)."
            }
            Level::SessionReadCommitted => {
                "Read committed, sessions in order, and later reads of a transaction are not older than earlier ones."
            }
            Level::ReadAtomic => "A transaction that sees one write of another sees all of them (no fractured reads).",
            Level::SessionReadAtomic => "Read atomic, and transactions see all that their session has done before.",
            Level::Causal => "Transactions see all that they causally follow, by reads and by sessions.",
            Level::ConsistentView => {
                "Each transaction sees a consistent view: no cycle with at most one rw edge (PL-2+)."
            }
            Level::ParallelSnapshotIsolation => {
                "Causal, and no update is lost: snapshots that may be taken in different orders at different sites."
            }
            Level::Prefix => {
                "Snapshots, sessions in order, of a prefix of one order of all commits; updates may get lost."
            }
            Level::SnapshotIsolation => {
                "Snapshots of a prefix of all commits, and of two concurrent writers of a key only one commits (write skew may happen)."
            }
            Level::SessionSnapshotIsolation => {
                "Snapshot isolation, and snapshots contain what the session has done before."
            }
            Level::StrongSnapshotIsolation => {
                "Snapshot isolation, and snapshots contain all that had completed when the transaction began."
            }
            Level::Serializable => "Transactions behave as if executed one after the other, in any order.",
            Level::SessionSerializable => "Serializable, in an order that keeps the order of each session.",
            Level::StrictSerializable => {
                "Serializable, in an order that keeps real time: one copy, one transaction at a time."
            }
        }
    }

    /// Where the definition comes from.
    pub const fn source(self) -> &'static str {
        match self {
            Level::ReadUncommitted | Level::ReadCommitted => "Adya, Weak consistency, 1999 (PL-1, PL-2)",
            Level::SessionReadCommitted => {
                "Biswas and Enea, On the complexity of checking transactional consistency, 2019"
            }
            Level::ReadAtomic => "Bailis et al., Scalable atomic visibility with RAMP transactions, 2014",
            Level::SessionReadAtomic | Level::Causal => {
                "Cerone, Bernardi and Gotsman, A framework for transactional consistency models, 2015; Biswas and Enea, 2019"
            }
            Level::ConsistentView => "Adya, Weak consistency, 1999 (PL-2+)",
            Level::ParallelSnapshotIsolation => {
                "Sovran et al., Walter, 2011; Cerone and Gotsman, Analysing snapshot isolation, 2018"
            }
            Level::Prefix => "Cerone and Gotsman, Analysing snapshot isolation, 2018; Biswas and Enea, 2019",
            Level::SnapshotIsolation => {
                "Berenson et al., 1995; Adya, 1999; Cerone and Gotsman, Analysing snapshot isolation, 2018"
            }
            Level::SessionSnapshotIsolation | Level::StrongSnapshotIsolation => {
                "Daudjee and Salem, Lazy database replication with snapshot isolation, 2006"
            }
            Level::Serializable => "Papadimitriou, 1979; Adya, 1999 (PL-3)",
            Level::SessionSerializable => "Daudjee and Salem, Lazy database replication with ordering guarantees, 2004",
            Level::StrictSerializable => "Papadimitriou, 1979; Herlihy and Wing, Linearizability, 1990",
        }
    }

    /// The levels next below: what it implies.
    pub fn implies(self) -> &'static [Level] {
        match self {
            Level::ReadUncommitted => &[],
            Level::ReadCommitted => &[Level::ReadUncommitted],
            Level::SessionReadCommitted | Level::ReadAtomic => &[Level::ReadCommitted],
            Level::SessionReadAtomic => &[Level::SessionReadCommitted, Level::ReadAtomic],
            Level::Causal => &[Level::SessionReadAtomic],
            Level::ConsistentView => &[Level::ReadAtomic],
            Level::ParallelSnapshotIsolation => &[Level::Causal, Level::ConsistentView],
            Level::Prefix => &[Level::Causal],
            Level::SnapshotIsolation => &[Level::ConsistentView],
            Level::SessionSnapshotIsolation => {
                &[Level::SnapshotIsolation, Level::ParallelSnapshotIsolation, Level::Prefix]
            }
            Level::StrongSnapshotIsolation => &[Level::SessionSnapshotIsolation],
            Level::Serializable => &[Level::SnapshotIsolation],
            Level::SessionSerializable => &[Level::Serializable, Level::SessionSnapshotIsolation],
            Level::StrictSerializable => &[Level::SessionSerializable, Level::StrongSnapshotIsolation],
        }
    }

    /// The order that it promises beyond dependencies.
    pub fn scope(self) -> Scope {
        match self {
            Level::ReadUncommitted
            | Level::ReadCommitted
            | Level::ReadAtomic
            | Level::ConsistentView
            | Level::SnapshotIsolation
            | Level::Serializable => Scope::Plain,
            Level::SessionReadCommitted
            | Level::SessionReadAtomic
            | Level::Causal
            | Level::ParallelSnapshotIsolation
            | Level::Prefix
            | Level::SessionSnapshotIsolation
            | Level::SessionSerializable => Scope::Session,
            Level::StrongSnapshotIsolation | Level::StrictSerializable => Scope::RealTime,
        }
    }

    pub(crate) fn is_real_time(self) -> bool {
        self.scope() == Scope::RealTime
    }

    pub(crate) fn keeps_sessions(self) -> bool {
        self.scope() != Scope::Plain
    }

    pub(crate) fn cycles(self) -> Cycles {
        match self {
            Level::ReadUncommitted => Cycles::Writes,
            Level::ReadCommitted => Cycles::Deps,
            Level::SessionReadCommitted => Cycles::CommittedReads,
            Level::ReadAtomic | Level::SessionReadAtomic => Cycles::AtomicReads,
            Level::Causal => Cycles::Causal,
            Level::ConsistentView | Level::ParallelSnapshotIsolation => Cycles::OneRw,
            Level::Prefix => Cycles::Prefix,
            Level::SnapshotIsolation | Level::SessionSnapshotIsolation | Level::StrongSnapshotIsolation => {
                Cycles::Nonadjacent
            }
            Level::Serializable | Level::SessionSerializable | Level::StrictSerializable => Cycles::Any,
        }
    }

    /// Whether it forbids this anomaly, one that is not a cycle.
    pub(crate) fn forbids(self, anomaly: Anomaly) -> bool {
        let cycles = self.cycles();
        match anomaly {
            Anomaly::GarbageRead | Anomaly::FutureRead | Anomaly::DuplicateElements => true,
            Anomaly::IncompatibleOrder | Anomaly::G1a | Anomaly::G1b | Anomaly::DirtyUpdate => cycles >= Cycles::Deps,
            Anomaly::Internal => cycles >= Cycles::CommittedReads,
            Anomaly::UnrepeatableRead => cycles >= Cycles::AtomicReads,
            Anomaly::LostUpdate => cycles >= Cycles::OneRw && cycles != Cycles::Prefix,
            _ => false,
        }
    }
}
