//! The catalogue: each planted bug with the system that made the mistake and the campaign that finds it.

use hearsay_core::Bug;

/// A planted bug and how it is found.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The bug.
    pub bug: Bug,
    /// The system that made this mistake, or one like it; `-`: none that is known.
    pub seen_in: &'static str,
    /// Where that is written; `None`: no report at hand.
    pub source: Option<&'static str>,
    /// The campaign that finds it.
    pub campaign: &'static str,
    /// The checker that has to find it; others may, too.
    pub checker: &'static str,
    /// Seeds within which it has to be found.
    pub within: u64,
}

/// The case of a bug; `None`: no campaign can find it, see [`Bug::WITHOUT_CAMPAIGN`].
pub fn case(bug: Bug) -> Option<&'static Case> {
    CASES.iter().find(|case| case.bug == bug)
}

/// All of them.
pub const CASES: [Case; Bug::ALL.len() - Bug::WITHOUT_CAMPAIGN.len()] = [
    Case {
        bug: Bug::AcknowledgeBeforeDurable,
        seen_in: "NATS JetStream",
        source: Some("https://github.com/nats-io/nats-server/issues/7564"),
        campaign: "power-cuts",
        checker: "linearizable",
        within: 3,
    },
    Case {
        bug: Bug::UpdateNotLogged,
        seen_in: "etcd 3.5",
        source: Some("https://github.com/etcd-io/etcd/issues/13766"),
        campaign: "quickstart",
        checker: "acknowledged-writes",
        within: 4,
    },
    Case {
        bug: Bug::RestartForgetsTombstones,
        seen_in: "Riak's Bitcask",
        source: Some("https://github.com/basho/bitcask/issues/82"),
        campaign: "tombstones",
        checker: "linearizable",
        within: 6,
    },
    Case {
        bug: Bug::RestartReusesStamps,
        seen_in: "Riak",
        source: Some("https://github.com/basho/riak_kv/issues/679"),
        campaign: "quickstart",
        checker: "acknowledged-writes",
        within: 4,
    },
    Case {
        bug: Bug::DroppedButAcknowledged,
        seen_in: "Weaviate",
        source: Some("https://github.com/weaviate/weaviate/pull/9134"),
        campaign: "quickstart",
        checker: "linearizable",
        within: 4,
    },
    Case {
        bug: Bug::ReplicaCountedTwice,
        seen_in: "xraft",
        source: Some("https://github.com/xnnyygn/xraft/issues/27"),
        campaign: "quickstart",
        checker: "linearizable",
        within: 4,
    },
    Case {
        bug: Bug::DeadReplicaCounts,
        seen_in: "MongoDB 2.4",
        source: Some("https://aphyr.com/posts/286-call-me-maybe-final-thoughts"),
        campaign: "quickstart",
        checker: "linearizable",
        within: 4,
    },
    Case {
        bug: Bug::TimeoutReportedAsFailed,
        seen_in: "RethinkDB",
        source: Some("https://github.com/rethinkdb/rethinkdb/issues/2039"),
        campaign: "one-way",
        checker: "linearizable",
        within: 2,
    },
    Case {
        bug: Bug::RetryRestamped,
        seen_in: "etcd's jetcd",
        source: Some("https://github.com/etcd-io/jetcd/issues/1444"),
        campaign: "one-way",
        checker: "linearizable",
        within: 2,
    },
    Case {
        bug: Bug::DeleteKeepsStamp,
        seen_in: "Tephra (HBase)",
        source: Some("https://github.com/cdapio/tephra/pull/55"),
        campaign: "quickstart",
        checker: "acknowledged-writes",
        within: 4,
    },
    Case {
        bug: Bug::TieBrokenByArrival,
        seen_in: "Super Productivity",
        source: Some("https://github.com/super-productivity/super-productivity/issues/9024"),
        campaign: "quickstart",
        checker: "linearizable",
        within: 4,
    },
    Case {
        bug: Bug::DigestMismatchIgnored,
        seen_in: "-",
        source: None,
        campaign: "quickstart",
        checker: "monotonic-quorum-reads",
        within: 4,
    },
    Case {
        bug: Bug::StaleDigest,
        seen_in: "Riak",
        source: Some("https://github.com/basho/riak_core/pull/792"),
        campaign: "quickstart",
        checker: "monotonic-quorum-reads",
        within: 4,
    },
    Case {
        bug: Bug::DigestWithoutStamp,
        seen_in: "ScyllaDB",
        source: Some("https://github.com/scylladb/scylladb/issues/182"),
        campaign: "quickstart",
        checker: "convergence",
        within: 8,
    },
    Case {
        bug: Bug::OldestWins,
        seen_in: "Weaviate",
        source: Some("https://github.com/weaviate/weaviate/pull/12361"),
        campaign: "quickstart",
        checker: "monotonic-quorum-reads",
        within: 4,
    },
    Case {
        bug: Bug::RepairAfterAnswer,
        seen_in: "Cassandra",
        source: Some("https://cassandra.apache.org/doc/latest/operating/read_repair.html"),
        campaign: "slow-links",
        checker: "monotonic-quorum-reads",
        within: 3,
    },
    Case {
        bug: Bug::DowngradedRead,
        seen_in: "Cassandra's drivers",
        source: Some(
            "https://docs.datastax.com/en/drivers/csharp/3.11/html/T_Cassandra_DowngradingConsistencyRetryPolicy.htm",
        ),
        campaign: "quickstart",
        checker: "linearizable",
        within: 4,
    },
    Case {
        bug: Bug::MerkleMissesDeletes,
        seen_in: "Riak",
        source: Some("https://github.com/basho/riak_kv/pull/477"),
        campaign: "quickstart",
        checker: "convergence",
        within: 4,
    },
    Case {
        bug: Bug::MerkleLastChildSkipped,
        seen_in: "Riak",
        source: Some("https://github.com/basho/riak_core/pull/828"),
        campaign: "quickstart",
        checker: "convergence",
        within: 4,
    },
    Case {
        bug: Bug::ExchangeMergesNothing,
        seen_in: "Riak's ensembles",
        source: Some("https://github.com/basho/riak_ensemble/issues/65"),
        campaign: "quickstart",
        checker: "convergence",
        within: 4,
    },
    Case {
        bug: Bug::TombstoneDroppedEarly,
        seen_in: "ScyllaDB",
        source: Some("https://github.com/scylladb/scylladb/pull/31271"),
        campaign: "quickstart",
        checker: "linearizable",
        within: 4,
    },
    Case {
        bug: Bug::EmptyNodeAnswers,
        seen_in: "M3DB",
        source: Some("https://github.com/m3db/m3/pull/3088"),
        campaign: "disk-loss",
        checker: "linearizable",
        within: 3,
    },
    Case {
        bug: Bug::DeadForEver,
        seen_in: "Akka",
        source: Some("https://github.com/akka/akka-core/issues/18067"),
        campaign: "one-way",
        checker: "convergence",
        within: 4,
    },
    Case {
        bug: Bug::HintRemovedUnsent,
        seen_in: "Affinidi's messaging",
        source: Some("https://github.com/affinidi/affinidi-tdk-rs/pull/606"),
        campaign: "hints",
        checker: "convergence",
        within: 3,
    },
    Case {
        bug: Bug::HintAckRemovesNewer,
        seen_in: "Riak",
        source: Some("https://github.com/basho/riak_kv/issues/1754"),
        campaign: "hints",
        checker: "convergence",
        within: 8,
    },
    Case {
        bug: Bug::HintKeepsOldest,
        seen_in: "-",
        source: None,
        campaign: "hints",
        checker: "convergence",
        within: 3,
    },
    Case {
        bug: Bug::HintCounts,
        seen_in: "-",
        source: None,
        campaign: "strict-hints",
        checker: "linearizable",
        within: 3,
    },
    Case {
        bug: Bug::ExpiredHintSent,
        seen_in: "ScyllaDB",
        source: Some("https://github.com/scylladb/scylladb/issues/23712"),
        campaign: "hint-grace",
        checker: "acknowledged-writes",
        within: 3,
    },
    Case {
        bug: Bug::StandInNotRead,
        seen_in: "-",
        source: None,
        campaign: "stand-ins",
        checker: "availability",
        within: 2,
    },
    Case {
        bug: Bug::StandInCountsAsPrimary,
        seen_in: "-",
        source: None,
        campaign: "primaries",
        checker: "linearizable",
        within: 3,
    },
    Case {
        bug: Bug::SpeculativeCountsTwice,
        seen_in: "-",
        source: None,
        campaign: "speculative",
        checker: "linearizable",
        within: 3,
    },
    Case {
        bug: Bug::ExchangeMergesAllEntries,
        seen_in: "-",
        source: None,
        campaign: "dot-log",
        checker: "convergence",
        within: 3,
    },
    Case {
        bug: Bug::ExchangeClaimsFirstPage,
        seen_in: "-",
        source: None,
        campaign: "dot-pages",
        checker: "convergence",
        within: 5,
    },
    Case {
        bug: Bug::DotLogPrunedEarly,
        seen_in: "PortOS",
        source: Some("https://github.com/atomantic/PortOS/issues/1077"),
        campaign: "dot-log",
        checker: "convergence",
        within: 3,
    },
    Case {
        bug: Bug::LogGoneUnnoticed,
        seen_in: "-",
        source: None,
        campaign: "dot-log",
        checker: "convergence",
        within: 3,
    },
    Case {
        bug: Bug::StripWithoutFill,
        seen_in: "-",
        source: None,
        campaign: "siblings",
        checker: "convergence",
        within: 2,
    },
    Case {
        bug: Bug::ClockBeforeFill,
        seen_in: "-",
        source: None,
        campaign: "siblings",
        checker: "convergence",
        within: 2,
    },
    Case {
        bug: Bug::CounterReused,
        seen_in: "Riak",
        source: Some("https://github.com/basho/riak_kv/issues/679"),
        campaign: "siblings",
        checker: "convergence",
        within: 4,
    },
    Case {
        bug: Bug::EmptyContainerRemovedEarly,
        seen_in: "-",
        source: None,
        campaign: "removed",
        checker: "convergence",
        within: 2,
    },
    Case {
        bug: Bug::MerklePageEndSkipped,
        seen_in: "-",
        source: None,
        campaign: "merkle-pages",
        checker: "convergence",
        within: 2,
    },
    Case {
        bug: Bug::AnyWithoutHint,
        seen_in: "-",
        source: None,
        campaign: "any-level",
        checker: "acknowledged-writes",
        within: 3,
    },
    Case {
        bug: Bug::ReadPrimariesIgnored,
        seen_in: "-",
        source: None,
        campaign: "primaries",
        checker: "linearizable",
        within: 3,
    },
    Case {
        bug: Bug::ContextIgnored,
        seen_in: "Riak",
        source: Some("https://github.com/basho/riak_kv/pull/746"),
        campaign: "seen-writes",
        checker: "availability",
        within: 2,
    },
    Case {
        bug: Bug::DeletesNotHinted,
        seen_in: "-",
        source: None,
        campaign: "hints",
        checker: "convergence",
        within: 3,
    },
    Case { bug: Bug::LateNotHinted, seen_in: "-", source: None, campaign: "hints", checker: "convergence", within: 3 },
    Case {
        bug: Bug::StandInNeverHandsOver,
        seen_in: "Riak",
        source: Some("https://github.com/basho/riak_core/issues/154"),
        campaign: "sloppy",
        checker: "acknowledged-writes",
        within: 4,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_has_one_case_with_a_known_campaign_and_checker() {
        for bug in Bug::ALL {
            let cases = CASES.iter().filter(|case| case.bug == bug).count();
            assert_eq!(cases + usize::from(Bug::WITHOUT_CAMPAIGN.contains(&bug)), 1, "{}", bug.name());
            let Some(&Case { campaign, checker, within, .. }) = case(bug) else { continue };
            let campaign = crate::campaign::load(campaign).expect("a campaign that ships");
            assert!(campaign.expect.contains_key(checker), "{}: {checker} does not judge there", bug.name());
            assert!((1..=10).contains(&within), "{}", bug.name());
        }
    }
}
