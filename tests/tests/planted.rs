//! Every planted bug is found within its number of seeds, by the checker that has to find it, and the same runs without it
//! are as expected; one of them is tried on real processes, too.
//!
//! Only with the feature: `cargo test -p hearsay-tests --features planted-bugs --test planted`.
#![cfg(feature = "planted-bugs")]

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hearsay_tests::{Workplace, small_campaign};

use hearsay::planted::{CASES, Case, FIRST_SEED, ShrunkBug, case, hunt, is_as_expected, seeds, shrink_planted};
use hearsay::shrink::Budget;
use hearsay_core::Bug;

/// Runs without a bug that were made already: campaigns are shared.
static WITHOUT: Mutex<BTreeMap<(&str, u64), bool>> = Mutex::new(BTreeMap::new());

fn as_expected_without(campaign: &'static str, seed: u64) -> bool {
    let known = || WITHOUT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(&good) = known().get(&(campaign, seed)) {
        return good;
    }
    let good = is_as_expected(campaign, seed).expect("a campaign that ships");
    known().insert((campaign, seed), good);
    good
}

fn is_found_and_nothing_without_it(bug: Bug) {
    let case = case(bug).expect("it is tested here because a campaign finds it");
    let found = hunt(case).expect("a campaign that ships");
    let (campaign, within, checker) = (case.campaign, case.within, case.checker);
    assert!(found.is_some(), "{}: {checker} did not find it in {within} seeds of {campaign}", bug.name());
    for seed in seeds(case) {
        assert!(as_expected_without(campaign, seed), "{campaign} with seed {seed} and no bug is not as expected");
    }
}

macro_rules! tests {
    ($($name:ident = $bug:ident,)+) => {
        $(#[test]
        fn $name() {
            is_found_and_nothing_without_it(Bug::$bug);
        })+

        #[test]
        fn every_bug_has_its_test() {
            let tested = [$(Bug::$bug),+];
            for case in CASES {
                assert!(tested.contains(&case.bug), "{}", case.bug.name());
            }
        }
    };
}

tests! {
    acknowledge_before_durable = AcknowledgeBeforeDurable,
    update_not_logged = UpdateNotLogged,
    restart_forgets_tombstones = RestartForgetsTombstones,
    restart_reuses_stamps = RestartReusesStamps,
    dropped_but_acknowledged = DroppedButAcknowledged,
    replica_counted_twice = ReplicaCountedTwice,
    dead_replica_counts = DeadReplicaCounts,
    timeout_reported_as_failed = TimeoutReportedAsFailed,
    retry_restamped = RetryRestamped,
    delete_keeps_stamp = DeleteKeepsStamp,
    tie_broken_by_arrival = TieBrokenByArrival,
    digest_mismatch_ignored = DigestMismatchIgnored,
    stale_digest = StaleDigest,
    digest_without_stamp = DigestWithoutStamp,
    oldest_wins = OldestWins,
    repair_after_answer = RepairAfterAnswer,
    downgraded_read = DowngradedRead,
    merkle_misses_deletes = MerkleMissesDeletes,
    merkle_last_child_skipped = MerkleLastChildSkipped,
    exchange_merges_nothing = ExchangeMergesNothing,
    tombstone_dropped_early = TombstoneDroppedEarly,
    empty_node_answers = EmptyNodeAnswers,
    dead_for_ever = DeadForEver,
    hint_removed_unsent = HintRemovedUnsent,
    hint_ack_removes_newer = HintAckRemovesNewer,
    hint_keeps_oldest = HintKeepsOldest,
    broadcast_delivered_twice = BroadcastDeliveredTwice,
    exchange_never_started = ExchangeNeverStarted,
    missing_without_timer = MissingWithoutTimer,
    new_neighbour_hears_nothing = NewNeighbourHearsNothing,
    lost_peers_forgotten = LostPeersForgotten,
    options_share_a_version = OptionsShareAVersion,
    no_short_read_protection = NoShortReadProtection,
    siblings_dropped = SiblingsDropped,
    split_drops_tail = SplitDropsTail,
    failure_not_refuted = FailureNotRefuted,
    metadata_never_exchanged = MetadataNeverExchanged,
    options_not_durable = OptionsNotDurable,
    hint_counts = HintCounts,
    expired_hint_sent = ExpiredHintSent,
    stand_in_not_read = StandInNotRead,
    stand_in_counts_as_primary = StandInCountsAsPrimary,
    speculative_counts_twice = SpeculativeCountsTwice,
    exchange_merges_all_entries = ExchangeMergesAllEntries,
    exchange_claims_first_page = ExchangeClaimsFirstPage,
    dot_log_pruned_early = DotLogPrunedEarly,
    log_gone_unnoticed = LogGoneUnnoticed,
    strip_without_fill = StripWithoutFill,
    clock_before_fill = ClockBeforeFill,
    counter_reused = CounterReused,
    empty_container_removed_early = EmptyContainerRemovedEarly,
    merkle_page_end_skipped = MerklePageEndSkipped,
    any_without_hint = AnyWithoutHint,
    read_primaries_ignored = ReadPrimariesIgnored,
    context_ignored = ContextIgnored,
    deletes_not_hinted = DeletesNotHinted,
    late_not_hinted = LateNotHinted,
    stand_in_never_hands_over = StandInNeverHandsOver,
    walk_never_ends = WalkNeverEnds,
    lost_neighbour_stays_eager = LostNeighbourStaysEager,
    rejoin_on_each_loss = RejoinOnEachLoss,
    rumor_never_removed = RumorNeverRemoved,
    removed_rumor_returns = RemovedRumorReturns,
    failure_mark_outlives = FailureMarkOutlives,
    option_tie_by_arrival = OptionTieByArrival,
    roots_count_records = RootsCountRecords,
    graft_not_answered = GraftNotAnswered,
    announcement_not_sent = AnnouncementNotSent,
    lazy_neighbour_pushed = LazyNeighbourPushed,
    leaves_too_early = LeavesTooEarly,
}

#[test]
fn a_campaign_that_fails_without_the_bug_says_nothing_of_it() {
    let found = case(Bug::StaleDigest).expect("a campaign finds it");
    let elsewhere = Case { campaign: "stale-reads", checker: "monotonic-reads", ..*found };
    let budget = Budget { until: None, processor: None, trials_max: 10 };
    let refused = shrink_planted(&elsewhere, 4, 1, budget).expect_err("reads go backward there anyway").to_string();
    assert!(refused.starts_with("stale-reads with seed 4 shows the same without the bug"), "{refused}");
}

/// What is left of its campaign is small, replays, and does not fail without the bug.
fn shrinks_to_the_bone(bug: Bug) {
    let budget = Budget { until: None, processor: None, trials_max: 700 };
    let shrunk = shrink_planted(case(bug).expect("a campaign finds it"), FIRST_SEED, 1, budget)
        .expect("the first seed finds it");
    let ShrunkBug { before, after, plan, replays, needs_bug, anomaly, .. } = shrunk;
    assert!(before.faults >= 10 && before.operations > 10_000, "{before:?}");
    assert!(after.faults <= 5 && after.operations <= 20, "{}: {anomaly} needs {after:?}", bug.name());
    assert!(replays, "{}: {anomaly} does not come again:\n{}", bug.name(), plan.to_yaml());
    assert!(needs_bug, "{anomaly} comes without {}, too:\n{}", bug.name(), plan.to_yaml());
}

macro_rules! shrinking_tests {
    ($($name:ident = $bug:ident,)+) => {
        $(#[test]
        fn $name() {
            shrinks_to_the_bone(Bug::$bug);
        })+
    };
}

// The quickest third: `hearsay planted --shrink` takes all of them.
shrinking_tests! {
    an_early_acknowledgement_shrinks = AcknowledgeBeforeDurable,
    a_time_out_called_failure_shrinks = TimeoutReportedAsFailed,
    a_retry_under_a_new_stamp_shrinks = RetryRestamped,
    a_delete_that_keeps_its_stamp_shrinks = DeleteKeepsStamp,
    a_downgraded_read_shrinks = DowngradedRead,
    a_tree_that_misses_deletes_shrinks = MerkleMissesDeletes,
    a_tree_without_its_last_children_shrinks = MerkleLastChildSkipped,
    an_exchange_that_merges_nothing_shrinks = ExchangeMergesNothing,
    a_node_that_answers_empty_shrinks = EmptyNodeAnswers,
}

/// Durability is lost without a power cut: what a killed node reads back is older than what it acknowledged.
#[test]
fn a_plan_that_fails_in_the_simulator_fails_on_real_processes_and_only_with_the_bug() {
    let place = Workplace::new();
    let faults = "  between: [300ms, 500ms]\n  kinds:\n    - crash: {nodes: all, for: 500ms}";
    let phases = "{warmup: 1s, faults: 4s, healed: 1s, converge_within: 30s}";
    place.file("small.yaml", &small_campaign(faults, phases));
    let planted = ["run", "small.yaml", "--sim", "--seed", "1", "--plant", "update-not-logged"];
    place.run(&planted).expect_code(1).expect_words("THE BUG update-not-logged IS PLANTED");
    let plan = std::fs::read_to_string(place.latest().join("plan.yaml")).expect("the plan is stored");
    let with = place.file("with.yaml", &plan);
    let without = place.file("without.yaml", &plan.replace("planted: update-not-logged\n", ""));
    let run = |plan: &std::path::Path| place.run(&["run", "--json", "--plan", &plan.display().to_string()]);
    let ended = run(&with);
    ended.expect_code(1);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).expect("a report");
    assert_eq!(report["planted"], "update-not-logged");
    let verdicts = report["verdicts"].as_array().expect("verdicts");
    let violated = verdicts.iter().filter(|judged| judged["outcome"] == "violation");
    let violated: Vec<&str> = violated.filter_map(|judged| judged["verdict"]["checker"].as_str()).collect();
    assert!(violated.contains(&"monotonic-quorum-reads"), "{violated:?}");
    let ended = run(&without);
    ended.expect_code(0);
    assert!(!ended.stdout.contains("planted"), "{}", ended.stdout);
}
