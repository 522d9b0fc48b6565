//! Planted bugs: mistakes that real systems made, to be switched on one at a time, so that the checkers can show that they
//! are not blind.
//!
//! Only with the cargo feature `planted-bugs` is there anything here. Without it [`Planted`] is empty and `planted!` is
//! `false`, so that nothing of a bug is in the program.
//!
//! A bug is one `planted!` expression at the place of the mistake, and one line in [`Bug`]. Who made the mistake, and
//! which campaign has to find it, is in the harness's catalogue.

/// The bug that a replica has, if any. Chosen when it boots; copied into the parts that ask for it.
#[cfg(not(feature = "planted-bugs"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted;

/// The bug that a replica has, if any. Chosen when it boots; copied into the parts that ask for it.
#[cfg(feature = "planted-bugs")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted(pub Option<Bug>);

impl Planted {
    /// No bug.
    #[cfg(not(feature = "planted-bugs"))]
    pub const NONE: Planted = Planted;

    /// No bug.
    #[cfg(feature = "planted-bugs")]
    pub const NONE: Planted = Planted(None);

    /// The bug of that name; `None`: this build knows none of that name.
    #[cfg(not(feature = "planted-bugs"))]
    pub fn named(_name: &str) -> Option<Planted> {
        None
    }

    /// The bug of that name; `None`: this build knows none of that name.
    #[cfg(feature = "planted-bugs")]
    pub fn named(name: &str) -> Option<Planted> {
        Bug::ALL.into_iter().find(|bug| bug.name() == name).map(|bug| Planted(Some(bug)))
    }
}

/// Whether `Planted` is this bug.
#[cfg(not(feature = "planted-bugs"))]
#[macro_export]
macro_rules! planted {
    ($planted:expr, $bug:ident) => {{
        let _: $crate::Planted = $planted;
        false
    }};
}

/// Whether `Planted` is this bug.
#[cfg(feature = "planted-bugs")]
#[macro_export]
macro_rules! planted {
    ($planted:expr, $bug:ident) => {
        $planted.0 == Some($crate::Bug::$bug)
    };
}

/// Makes the enum, its list and its names of one table.
#[cfg(feature = "planted-bugs")]
macro_rules! bugs {
    ($($(#[doc = $meaning:literal])+ $bug:ident = $name:literal,)+) => {
        /// Bugs that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug {
            $($(#[doc = $meaning])+ $bug,)+
        }

        impl Bug {
            /// All of them.
            pub const ALL: [Bug; [$(Bug::$bug),+].len()] = [$(Bug::$bug),+];

            /// Those that the tests of this crate find and no campaign can: its clients never ask what shows them.
            pub const WITHOUT_CAMPAIGN: &[Bug] = WITHOUT_CAMPAIGN;

            /// What it is called on command lines and in reports.
            pub fn name(self) -> &'static str {
                match self {
                    $(Bug::$bug => $name,)+
                }
            }

            /// What is wrong, as a sentence without its end.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Bug::$bug => concat!($($meaning),+).trim_ascii(),)+
                }
            }
        }
    };
}

#[cfg(feature = "planted-bugs")]
const WITHOUT_CAMPAIGN: &[Bug] = &[
    Bug::ExpiredTombstoneSpread,
    Bug::PruneNotSent,
    Bug::SenderStaysLazy,
    Bug::DisconnectNamesNobody,
    Bug::JoinStaysWithContact,
    Bug::JoinServesUnsure,
    Bug::PendingNotWritten,
    Bug::DropsTooEarly,
    Bug::PendingCounts,
    Bug::OtherViewServed,
    Bug::UnsureAcknowledges,
    Bug::CollectedMemberRevived,
    Bug::StateMovesBackward,
    Bug::ForeignIncarnation,
    Bug::IncarnationNotDurable,
];

#[cfg(feature = "planted-bugs")]
bugs! {
    /// a node answers before what it states is on the disk
    AcknowledgeBeforeDurable = "acknowledge-before-durable",
    /// an overwritten value is replaced in memory and never on the disk
    UpdateNotLogged = "update-not-logged",
    /// a node that restarts with its disk reads no tombstones
    RestartForgetsTombstones = "restart-forgets-tombstones",
    /// a restarted node goes on stamping from the newest stamp in its store instead of its clock
    RestartReusesStamps = "restart-reuses-stamps",
    /// a replica acknowledges a write that it dropped under load
    DroppedButAcknowledged = "dropped-but-acknowledged",
    /// a coordinator counts its own copy of a write twice
    ReplicaCountedTwice = "replica-counted-twice",
    /// a replica that is held for dead counts toward a write's level
    DeadReplicaCounts = "dead-replica-counts",
    /// a write that timed out is reported as failed
    TimeoutReportedAsFailed = "timeout-reported-as-failed",
    /// a write that timed out is sent again under a new stamp
    RetryRestamped = "retry-restamped",
    /// a delete takes the stamp of what it deletes, and loses the tie
    DeleteKeepsStamp = "delete-keeps-stamp",
    /// at equal stamps the version that arrives last wins, and stamps have whole milliseconds
    TieBrokenByArrival = "tie-broken-by-arrival",
    /// a digest mismatch is ignored, and the one full answer is returned
    DigestMismatchIgnored = "digest-mismatch-ignored",
    /// a replica's stored digest is not made anew when the value is overwritten
    StaleDigest = "stale-digest",
    /// digests cover the value and not its stamp
    DigestWithoutStamp = "digest-without-stamp",
    /// of answers that differ the oldest is returned
    OldestWins = "oldest-wins",
    /// blocking read repair answers first and repairs afterwards
    RepairAfterAnswer = "repair-after-answer",
    /// a read that has waited too long is answered from the replicas that did answer
    DowngradedRead = "downgraded-read",
    /// the Merkle tree is not updated on a delete
    MerkleMissesDeletes = "merkle-misses-deletes",
    /// the last child of each Merkle node that is descended from is never compared
    MerkleLastChildSkipped = "merkle-last-child-skipped",
    /// versions that a Merkle exchange brings are not merged
    ExchangeMergesNothing = "exchange-merges-nothing",
    /// the grace of tombstones is taken for nanoseconds
    TombstoneDroppedEarly = "tombstone-dropped-early",
    /// a node that lost its disk answers reads before it has caught up
    EmptyNodeAnswers = "empty-node-answers",
    /// a node that was once held for dead is never used again
    DeadForEver = "dead-for-ever",
    /// a broadcast that comes again is delivered again
    BroadcastDeliveredTwice = "broadcast-delivered-twice",
    /// a node starts no exchange of digests
    ExchangeNeverStarted = "exchange-never-started",
    /// a rumor is never lost interest in
    RumorNeverRemoved = "rumor-never-removed",
    /// a rumor that was removed is hot again when it is heard again
    RemovedRumorReturns = "removed-rumor-returns",
    /// who sends what is known is made lazy and not told
    PruneNotSent = "prune-not-sent",
    /// the lazy link over which news came stays lazy
    SenderStaysLazy = "sender-stays-lazy",
    /// a broadcast that was announced is never asked for
    MissingWithoutTimer = "missing-without-timer",
    /// a new neighbour does not hear what was broadcast lately
    NewNeighbourHearsNothing = "new-neighbour-hears-nothing",
    /// a neighbour whose link broke stays in the broadcast tree
    LostNeighbourStaysEager = "lost-neighbour-stays-eager",
    /// every lost neighbour is replaced at another's expense
    RejoinOnEachLoss = "rejoin-on-each-loss",
    /// who is put out of an active view is not told of anybody else
    DisconnectNamesNobody = "disconnect-names-nobody",
    /// a contact keeps a newcomer to itself
    JoinStaysWithContact = "join-stays-with-contact",
    /// a random walk does not look at the hops that are left
    WalkNeverEnds = "walk-never-ends",
    /// a peer whose link broke is never tried again
    LostPeersForgotten = "lost-peers-forgotten",
    /// a hint is removed when it is sent, not when its owner has it on the disk
    HintRemovedUnsent = "hint-removed-unsent",
    /// the acknowledgement of a hint removes the newer one that came meanwhile
    HintAckRemovesNewer = "hint-ack-removes-newer",
    /// a second hint for a key does not replace the first
    HintKeepsOldest = "hint-keeps-oldest",
    /// a hint counts toward every level
    HintCounts = "hint-counts",
    /// a hint is handed over however old it is
    ExpiredHintSent = "expired-hint-sent",
    /// what a stand-in took is not read
    StandInNotRead = "stand-in-not-read",
    /// a stand-in counts as one of the key's own replicas
    StandInCountsAsPrimary = "stand-in-counts-as-primary",
    /// read repair spreads expired tombstones
    ExpiredTombstoneSpread = "expired-tombstone-spread",
    /// the answer of a replica counts twice once a further one was asked
    SpeculativeCountsTwice = "speculative-counts-twice",
    /// what a replica left out of a page because of its limit counts as not stored
    NoShortReadProtection = "no-short-read-protection",
    /// an exchange takes over the peer's whole clock, not only the peer's own entry
    ExchangeMergesAllEntries = "exchange-merges-all-entries",
    /// an exchange accounts for all of the peer's dots when the first of several pages has come
    ExchangeClaimsFirstPage = "exchange-claims-first-page",
    /// a dot is forgotten when one replica is known to know it
    DotLogPrunedEarly = "dot-log-pruned-early",
    /// a node is served from a log that no longer reaches back to what it lacks
    LogGoneUnnoticed = "log-gone-unnoticed",
    /// containers are stripped by the clock and not filled again
    StripWithoutFill = "strip-without-fill",
    /// a dot enters the clock before the stored container was filled with it
    ClockBeforeFill = "clock-before-fill",
    /// a node that lost its disk goes on as the same actor, and counts its dots from 1 again
    CounterReused = "counter-reused",
    /// a write overwrites all siblings, also those that its client has not seen
    SiblingsDropped = "siblings-dropped",
    /// a container without values is removed while its vector still tells something
    EmptyContainerRemovedEarly = "empty-container-removed-early",
    /// a node that joins serves its ranges without having made sure of them
    JoinServesUnsure = "join-serves-unsure",
    /// writes are not sent to the nodes that will own the key
    PendingNotWritten = "pending-not-written",
    /// a leaving node ends before those that take its ranges have them
    LeavesTooEarly = "leaves-too-early",
    /// a former owner drops its keys as soon as another one enters
    DropsTooEarly = "drops-too-early",
    /// the acknowledgement of a node that will own the key counts like an owner's
    PendingCounts = "pending-counts",
    /// a replica carries out requests of coordinators that know other owners
    OtherViewServed = "other-view-served",
    /// a new owner acknowledges writes before it has made sure of their range
    UnsureAcknowledges = "unsure-acknowledges",
    /// a member that left and was collected returns when somebody still names it
    CollectedMemberRevived = "collected-member-revived",
    /// of two states of a member in one incarnation the one that arrives last is kept
    StateMovesBackward = "state-moves-backward",
    /// a failure mark stays when the member has raised its incarnation
    FailureMarkOutlives = "failure-mark-outlives",
    /// of two changes of an option that travelled at once each node keeps the one that arrives last
    OptionTieByArrival = "option-tie-by-arrival",
    /// all options share one version, and what is not above it is taken for old
    OptionsShareAVersion = "options-share-a-version",
    /// nodes compare how many records they have, and not their content
    RootsCountRecords = "roots-count-records",
    /// the last of several messages that records are split into is not sent
    SplitDropsTail = "split-drops-tail",
    /// a member that is heard again gets its incarnation raised by whoever hears it
    ForeignIncarnation = "foreign-incarnation",
    /// a raised incarnation is announced and not written to the disk
    IncarnationNotDurable = "incarnation-not-durable",
    /// a node that others hold for dead does not contradict
    FailureNotRefuted = "failure-not-refuted",
    /// digests of the metadata are never exchanged
    MetadataNeverExchanged = "metadata-never-exchanged",
    /// options are kept in memory only
    OptionsNotDurable = "options-not-durable",
    /// what lies behind the end of a page of a Merkle leaf is never compared
    MerklePageEndSkipped = "merkle-page-end-skipped",
    /// a write at level any is acknowledged though there was no room for its hint
    AnyWithoutHint = "any-without-hint",
    /// a read that asks for the key's own replicas is answered by stand-ins
    ReadPrimariesIgnored = "read-primaries-ignored",
    /// the context of a write is ignored: nothing that was seen is replaced
    ContextIgnored = "context-ignored",
    /// no hint is kept of a delete
    DeletesNotHinted = "deletes-not-hinted",
    /// a replica that is late, and not held for dead, is kept no hint
    LateNotHinted = "late-not-hinted",
    /// a stand-in keeps what it took, and hands nothing over
    StandInNeverHandsOver = "stand-in-never-hands-over",
    /// who is asked for a broadcast that is missed makes the link eager and does not send it
    GraftNotAnswered = "graft-not-answered",
    /// broadcasts are never announced to lazy neighbours
    AnnouncementNotSent = "announcement-not-sent",
    /// news is pushed to lazy neighbours, too
    LazyNeighbourPushed = "lazy-neighbour-pushed",
}

#[cfg(all(test, feature = "planted-bugs"))]
mod tests {
    use super::*;

    #[test]
    fn names_name_one_bug_each() {
        for bug in Bug::ALL {
            assert_eq!(Planted::named(bug.name()), Some(Planted(Some(bug))));
            assert!(bug.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", bug.name());
            assert!(!bug.meaning().starts_with(' ') && !bug.meaning().ends_with(['.', ' ']), "{}", bug.meaning());
        }
        assert_eq!(Planted::named("no-such"), None);
    }
}
