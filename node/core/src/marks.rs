//! Marks of rare branches: which of them were ever taken. Tests and campaigns that never get to a branch say nothing about
//! it; a mark makes that visible.
//!
//! A mark is a count in a fixed array: no memory is asked for, nothing in the protocol reads it, and two replicas share
//! nothing. A branch that every run takes needs no mark.

/// What it takes to get to a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Faults, load and time.
    Faults,
    /// A client or a peer that does what ours never do, or a limit far above the load of our campaigns.
    Strangers,
}

/// Declares [`Mark`] once: a sentence, the variant, its name in reports, and what it takes.
macro_rules! marks {
    ($(#[doc = $sentence:literal] $mark:ident = $name:literal, $reach:ident;)+) => {
        /// A rare branch.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mark {
            $(#[doc = $sentence] $mark,)+
        }

        impl Mark {
            /// Every mark.
            pub const ALL: &'static [Mark] = &[$(Mark::$mark,)+];

            /// Its name in reports.
            pub fn name(self) -> &'static str {
                match self { $(Mark::$mark => $name,)+ }
            }

            /// What it means, as a sentence.
            pub fn sentence(self) -> &'static str {
                match self { $(Mark::$mark => $sentence.trim_ascii(),)+ }
            }

            /// What it takes to get there.
            pub fn reach(self) -> Reach {
                match self { $(Mark::$mark => Reach::$reach,)+ }
            }
        }
    };
}

marks! {
    // Coordination.
    /// A request was refused for the length of its key or value.
    SizeRefused = "size_refused", Strangers;
    /// A request was refused because its level is above the replication.
    LevelRefused = "level_refused", Strangers;
    /// A request was refused because too many were in work.
    Overloaded = "overloaded", Strangers;
    /// A write was refused because too few replicas were usable.
    WriteUnavailable = "write_unavailable", Faults;
    /// A read was refused because too few replicas were usable.
    ReadUnavailable = "read_unavailable", Faults;
    /// A write left out a replica that was held for dead.
    WriteSkipsDead = "write_skips_dead", Faults;
    /// A coordinator that is no replica of the key took a write.
    WriteFromOutside = "write_from_outside", Faults;
    /// A stamp was raised above the wall clock, which stood still, went back or gave the same time twice.
    StampRaised = "stamp_raised", Faults;
    /// The time of a write ran out with some acknowledgements missing.
    WriteTimedOut = "write_timed_out", Faults;
    /// The time of a read ran out before enough replicas had answered.
    ReadTimedOut = "read_timed_out", Faults;
    /// The time of a read ran out while it waited for its repairs.
    RepairTimedOut = "repair_timed_out", Faults;
    /// An acknowledgement came for work that was over.
    AckLate = "ack_late", Faults;
    /// An acknowledgement came a second time, or from a replica that was not asked.
    AckUnexpected = "ack_unexpected", Strangers;
    /// A read was answered by a replica when it was over.
    ReplyLate = "reply_late", Faults;
    /// A read was answered by a further replica while its repairs were under way.
    ReplyDuringRepair = "reply_during_repair", Faults;
    /// A read was answered a second time, or by a replica that was not asked.
    ReplyUnexpected = "reply_unexpected", Faults;
    /// A coordinator left out its own copy, because it has not caught up.
    OwnCopyLeftOut = "own_copy_left_out", Faults;
    /// A replica that has not caught up was asked, and said so to the coordinator.
    ReplicaNotReady = "replica_not_ready", Faults;
    /// The first answers of a read did not agree.
    DigestMismatch = "digest_mismatch", Faults;
    /// The answers did not agree, but the versions asked for afterwards did.
    MismatchGone = "mismatch_gone", Faults;
    /// The replica asked for the version was no help, so one that gave a digest was asked for it.
    VersionElsewhere = "version_elsewhere", Faults;
    /// The newest version of a read was an expired tombstone, which is not spread.
    ExpiredNotSpread = "expired_not_spread", Faults;
    /// A read repaired the coordinator's own copy.
    RepairedOwnCopy = "repaired_own_copy", Faults;
    /// A read repaired after it had answered.
    RepairAsync = "repair_async", Faults;
    /// A read with a difference was answered without a repair, as configured.
    RepairLeftOut = "repair_left_out", Faults;
    /// A read waited for its repairs.
    RepairWaits = "repair_waits", Faults;
    /// A read with a difference need not wait: enough replicas held the newest version already.
    RepairNeedsNoWait = "repair_needs_no_wait", Faults;
    /// A repair was sent to a further replica, because the first ones were silent.
    RepairWidened = "repair_widened", Faults;
    /// A further replica was asked, because the first ones were silent or had not caught up.
    ReadWidened = "read_widened", Faults;
    /// Silent replicas were asked again, because there was no further one.
    ReadAskedAgain = "read_asked_again", Faults;
    /// A read was given up, because too few replicas had caught up.
    ReadGivenUp = "read_given_up", Faults;

    // Storing.
    /// A version came that was stored already.
    VersionAgain = "version_again", Faults;
    /// A version came that was older than the stored one.
    VersionOlder = "version_older", Faults;
    /// Two versions of a key had the same stamp and were not the same.
    StampTie = "stamp_tie", Faults;
    /// An expired tombstone came for a key of which nothing is stored, and was not taken.
    TombstoneRefused = "tombstone_refused", Faults;
    /// A tombstone was removed after its grace.
    TombstoneCollected = "tombstone_collected", Faults;
    /// A sweep stopped at its limit and went on the next time.
    SweepInPieces = "sweep_in_pieces", Faults;
    /// A local scan was cut to its size limit.
    ScanCut = "scan_cut", Faults;
    /// A replica refused a read, because it has not caught up.
    ReadRefused = "read_refused", Faults;
    /// A message was about a key that this node does not replicate.
    NotOwned = "not_owned", Strangers;
    /// A message had impossible content, or came from no member.
    Invalid = "invalid", Strangers;

    // Starting.
    /// A node started with what it had stored before.
    BootWithData = "boot_with_data", Faults;
    /// A node that had not caught up before it ended started again.
    BootWhileCatchingUp = "boot_while_catching_up", Faults;
    /// A node started with the mark of another ring and compared itself anew.
    BootWithOtherRing = "boot_with_other_ring", Strangers;

    // Failure detection.
    /// A node noticed that it had itself been stopped.
    OwnPause = "own_pause", Faults;
    /// A linked peer was silent for too long.
    SilentPeer = "silent_peer", Faults;
    /// A peer that was held for dead spoke again on the same link.
    PeerRevived = "peer_revived", Faults;
    /// A peer without a link was tried, and nothing came of it in time.
    TryFailed = "try_failed", Faults;

    // Anti-entropy.
    /// A session ended because no answer came in time.
    SessionTimedOut = "session_timed_out", Faults;
    /// A session ended with the link to its peer.
    SessionLostLink = "session_lost_link", Faults;
    /// A session ended because its peer was held for dead.
    SessionPeerDead = "session_peer_dead", Faults;
    /// A requested session waited, because its peer was not alive.
    RequestWaits = "request_waits", Faults;
    /// A requested session waited for the end of another with the same peer.
    RequestBehindSession = "request_behind_session", Faults;
    /// A requested session waited, because too many ran.
    RequestOverLimit = "request_over_limit", Faults;
    /// The schedule started no session, because enough ran.
    ScheduleBusy = "schedule_busy", Faults;
    /// The schedule started no session, because no peer was alive and free.
    ScheduleAlone = "schedule_alone", Faults;
    /// An answer came that no session waited for.
    SyncAnswerLate = "sync_answer_late", Faults;
    /// A question or a sender was not valid.
    SyncInvalid = "sync_invalid", Strangers;
    /// A leaf was compared in several pages, because it was too large for one.
    LeafInPages = "leaf_in_pages", Faults;
    /// An answer about leaves was cut to its size limit.
    LeavesReplyCut = "leaves_reply_cut", Faults;
    /// Both sides sent each other their version, because the stamps were equal.
    SyncTie = "sync_tie", Faults;
    /// A version that the peer wanted was gone when its turn came.
    WantedGone = "wanted_gone", Faults;
    /// The versions that the peer wanted took several messages.
    ValuesInPieces = "values_in_pieces", Faults;
    /// A session waited with its next question, because enough payload was moved lately.
    SessionPaced = "session_paced", Faults;

    // Causality.
    /// A write was refused for a causal context that no read of the key returned.
    ContextRefused = "context_refused", Strangers;
    /// A write was refused because of too many siblings that it has not seen.
    SiblingsRefused = "siblings_refused", Strangers;
    /// A message of an exchange of bitmap version vectors came too late, or was not valid.
    ExchangeIgnored = "exchange_ignored", Faults;
    /// An exchange of bitmap version vectors needed a full comparison first.
    ExchangeCompares = "exchange_compares", Faults;

    // Metadata.
    /// A node went on with other options of the cluster.
    OptionApplied = "option_applied", Faults;
    /// An exchange of digests brought what the broadcast of a change had not.
    MetadataExchanged = "metadata_exchanged", Faults;
    /// A node heard of itself what it had not said, and raised its incarnation.
    IncarnationRaised = "incarnation_raised", Faults;
    /// Members came or went by the metadata.
    MembersChanged = "members_changed", Strangers;
    // Members that come and go.
    /// A message came from a node that has other members in view.
    OtherView = "other_view", Faults;
    /// A request was done again, because the members changed.
    RequestAgain = "request_again", Faults;
    /// A new owner took a write and did not acknowledge it.
    WriteUnsure = "write_unsure", Faults;
    /// Two changes of the ring were under way at once.
    TwoChanges = "two_changes", Faults;
}

/// How often each branch was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks([u64; Mark::ALL.len()]);

impl Default for Marks {
    fn default() -> Marks {
        Marks([0; Mark::ALL.len()])
    }
}

impl Marks {
    /// Notes that the branch was taken.
    pub(crate) fn hit(&mut self, mark: Mark) {
        self.0[mark as usize] += 1;
    }

    /// How often it was taken.
    pub fn count(&self, mark: Mark) -> u64 {
        self.0[mark as usize]
    }

    /// Adds what another replica, or another process of the same, has counted.
    pub fn add(&mut self, other: &Marks) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// The marks that were hit, with their counts.
    pub fn hits(&self) -> impl Iterator<Item = (Mark, u64)> {
        Mark::ALL.iter().map(|&mark| (mark, self.count(mark))).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_sentences_are_sentences() {
        let names: BTreeSet<&str> = Mark::ALL.iter().map(|mark| mark.name()).collect();
        assert_eq!(names.len(), Mark::ALL.len());
        for mark in Mark::ALL {
            let (name, sentence) = (mark.name(), mark.sentence());
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert!(sentence.starts_with(|c: char| c.is_ascii_uppercase()) && sentence.ends_with('.'), "{sentence}");
        }
    }

    #[test]
    fn marks_of_several_replicas_add_up() {
        let mut one = Marks::default();
        one.hit(Mark::StampTie);
        let mut both = one.clone();
        one.hit(Mark::OwnPause);
        both.add(&one);
        assert_eq!(both.hits().collect::<alloc::vec::Vec<_>>(), [(Mark::StampTie, 2), (Mark::OwnPause, 1)]);
    }
}
