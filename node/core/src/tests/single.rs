//! One replica, input by input: (inputs) -> (what is made durable, sent, answered).
//!
//! The node under test is n1 of a cluster in which every node holds every key.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::cluster::key;
use crate::causal::CausalMessage;
use crate::message::{OperationId, PeerMessage, ReadAnswer, ScanAnswer, SyncMessage};
use crate::table::version_digest;
use crate::*;

const MS: u64 = 1_000_000;
const WALL: u64 = 1_700_000_000_000_000_000;
const A: NodeId = NodeId(2);
const B: NodeId = NodeId(3);

struct Single {
    replica: Replica,
    ms: u64,
    requests: u64,
}

fn config() -> ClusterConfig {
    ClusterConfig { members: vec![NodeId(1), A, B], merkle_interval_ms: 0, ..ClusterConfig::default() }
}

impl Single {
    /// n1 with what it stored before, having caught up, linked to both others.
    fn new(config: ClusterConfig, stored: &[(Key, Version)]) -> Single {
        let mut entries: Vec<_> = stored
            .iter()
            .map(|(key, version)| (store_codec::data_key(key), store_codec::data_value(version)))
            .collect();
        entries.push(store_codec::caught_up_entry(crate::cluster::ring_fingerprint(&config)));
        let mut single = Single::boot(config, entries);
        for peer in [A, B] {
            single.input(Input::Link { peer, state: Link::Up });
        }
        single
    }

    fn boot(config: ClusterConfig, entries: Vec<(Vec<u8>, Vec<u8>)>) -> Single {
        let now = Now { time: Time(0), wall: WallTime(WALL) };
        let recovered = RecoveredState { entries };
        let (replica, _) = Replica::boot(config, NodeId(1), 77, recovered, [3; 32], now).expect("boot");
        Single { replica, ms: 0, requests: 0 }
    }

    fn input(&mut self, input: Input) -> Output {
        let now = Now { time: Time(self.ms * MS), wall: WallTime(WALL + self.ms * MS) };
        self.replica.handle(now, input)
    }

    fn client(&mut self, request: ClientRequest) -> Output {
        self.requests += 1;
        self.input(Input::Client { request_id: RequestId(self.requests), request })
    }

    fn get(&mut self, level: Level) -> Output {
        self.client(ClientRequest::Get { key: key("k"), level })
    }

    fn put(&mut self, level: Level) -> Output {
        self.client(ClientRequest::Put { key: key("k"), value: Value(b"v".to_vec()), level })
    }

    fn peer(&mut self, from: NodeId, message: PeerMessage) -> Output {
        self.input(Input::Peer { from, message })
    }

    fn ack(&mut self, from: NodeId, operation: OperationId) -> Output {
        self.peer(from, PeerMessage::WriteAck { operation })
    }

    fn reply(&mut self, from: NodeId, operation: OperationId, answer: ReadAnswer) -> Output {
        self.peer(from, PeerMessage::ReadReply { operation, answer })
    }

    /// Lets time pass, deadline by deadline, while the others send heartbeats; all outputs in one.
    fn pass_ms(&mut self, ms: u64) -> Output {
        let until = self.ms + ms;
        let mut all = Output::default();
        while self.ms < until {
            self.ms += 1;
            for peer in [A, B] {
                self.peer(peer, PeerMessage::Heartbeat);
            }
            if self.replica.next_deadline().is_some_and(|at| at.0 <= self.ms * MS) {
                let output = self.input(Input::Deadline);
                all.durable.puts.extend(output.durable.puts);
                all.send.extend(output.send.into_iter().filter(|send| send.message != PeerMessage::Heartbeat));
                all.reply.extend(output.reply);
            }
        }
        all
    }

    fn counter(&mut self, name: &str) -> u64 {
        self.replica.status().counters[name]
    }
}

fn version(stamp: u64) -> Version {
    Version { stamp: WallTime(WALL - 1_000 + stamp), value: Some(Value(format!("v{stamp}").into_bytes())) }
}

fn digest(version: &Version) -> ReadAnswer {
    ReadAnswer::Digest(version_digest(&key("k"), Some(version)))
}

/// Sends in short: `n2 write`, `n3 read`, `n2 digest`.
fn sends(output: &Output) -> Vec<String> {
    let name = |message: &PeerMessage| match message {
        PeerMessage::Heartbeat => "heartbeat",
        PeerMessage::Write { .. } => "write",
        PeerMessage::WriteAck { .. } => "ack",
        PeerMessage::Read { digest_only: false, .. } => "read",
        PeerMessage::Read { digest_only: true, .. } => "digest",
        PeerMessage::ReadReply { .. } => "reply",
        PeerMessage::Sync(_) => "sync",
        PeerMessage::Causal(_) => "causal",
        PeerMessage::StandInWrite { .. } => "stand-in write",
        PeerMessage::StandInRead { .. } => "stand-in read",
        PeerMessage::Merge { .. } => "merge",
        PeerMessage::MergeAck { .. } => "merge ack",
        PeerMessage::Scan { .. } => "scan",
        PeerMessage::ScanReply { .. } => "page",
        PeerMessage::Dissemination(_) => "dissemination",
        PeerMessage::Metadata(_) => "metadata",
        PeerMessage::InView { .. } => "in another view",
        PeerMessage::Ring(_) => "ring",
    };
    output.send.iter().map(|send| format!("{} {}", send.to, name(&send.message))).collect()
}

fn operation(output: &Output) -> OperationId {
    match output.send.first().map(|send| &send.message) {
        Some(PeerMessage::Write { operation, .. } | PeerMessage::Read { operation, .. }) => *operation,
        other => panic!("no operation in {other:?}"),
    }
}

/// The reader's answer in short: the stamp above the base, or the kind of failure.
fn answer(output: &Output) -> Option<Result<u64, ClientErrorKind>> {
    match output.reply.as_slice() {
        [] => None,
        [(_, ClientResponse::Read { stamp, .. })] => Some(Ok(stamp.map_or(0, |stamp| stamp.0 - (WALL - 1_000)))),
        [(_, ClientResponse::Written { .. })] => Some(Ok(0)),
        [(_, ClientResponse::Failed(error))] => Some(Err(error.kind)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_write_is_durable_here_in_the_output_that_sends_it_and_distinct_acknowledgements_count() {
    let mut node = Single::new(config(), &[]);
    let output = node.put(Level::All);
    assert_eq!(sends(&output), ["n2 write", "n3 write"]);
    assert_eq!(output.durable.puts.len(), 1);
    assert_eq!(answer(&output), None);
    let id = operation(&output);
    assert_eq!(answer(&node.ack(A, id)), None);
    assert_eq!(answer(&node.ack(A, id)), None, "the same node again");
    assert_eq!(node.counter("replies_unexpected"), 1);
    assert_eq!(answer(&node.ack(B, id)), Some(Ok(0)));
    assert_eq!(answer(&node.ack(B, id)), None);
    assert_eq!(node.counter("replies_late"), 1);
    assert_eq!(node.counter("requests_in_work"), 0);
}

#[test]
fn an_acknowledgement_to_a_former_self_counts_for_nothing() {
    let mut former = Single::new(config(), &[]);
    let id = operation(&former.put(Level::All));
    let now = Now { time: Time(0), wall: WallTime(WALL) };
    let (replica, _) = Replica::boot(config(), NodeId(1), 78, RecoveredState::default(), [3; 32], now).expect("boot");
    let mut node = Single { replica, ms: 0, requests: 0 };
    node.put(Level::All);
    assert_eq!(answer(&node.ack(A, id)), None);
    assert_eq!(answer(&node.ack(B, id)), None);
    assert_eq!(node.counter("replies_late"), 2);
}

#[test]
fn a_request_that_can_not_be_met_fails_before_anything_happens() {
    type Prepare = fn(&mut Single);
    let nothing: Prepare = |_| {};
    let one_down: Prepare = |node| drop(node.input(Input::Link { peer: A, state: Link::Down }));
    let long_key = Key(vec![0; Key::LENGTH_MAX + 1]);
    let put = |key: Key, length: usize, level| ClientRequest::Put { key, value: Value(vec![0; length]), level };
    let get = |key: Key, level| ClientRequest::Get { key, level };
    use ClientErrorKind::*;
    let table = [
        (nothing, put(Key(vec![]), 1, Level::One), Refused, "0 bytes"),
        (nothing, put(long_key.clone(), 1, Level::One), Refused, "1025 bytes"),
        (nothing, put(key("k"), Value::LENGTH_MAX + 1, Level::One), Refused, "65537 bytes"),
        (nothing, put(key("k"), 1, Level::Count(4)), Refused, "each key has 3"),
        (nothing, put(key("k"), 1, Level::Count(0)), Refused, "from 1 to 3"),
        (nothing, get(Key(vec![]), Level::One), Refused, "0 bytes"),
        (nothing, get(key("k"), Level::Count(9)), Refused, "each key has 3"),
        (nothing, ClientRequest::LocalScan { after: None, limit: 0 }, Refused, "at least one"),
        (one_down, put(key("k"), 1, Level::All), Unavailable, "can reach 2"),
        (one_down, get(key("k"), Level::All), Unavailable, "can reach 2"),
    ];
    for (prepare, request, kind, sentence) in table {
        let mut node = Single::new(config(), &[]);
        prepare(&mut node);
        let output = node.client(request.clone());
        assert!(output.send.is_empty() && output.durable.is_empty(), "{request:?}");
        let [(_, ClientResponse::Failed(error))] = output.reply.as_slice() else { panic!("{output:?}") };
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(error.message.contains(sentence), "{error:?} should say {sentence}");
    }
}

#[test]
fn requests_in_work_are_bounded_and_end_with_their_time() {
    let mut node = Single::new(ClusterConfig { requests_max: 2, ..config() }, &[]);
    assert_eq!(answer(&node.put(Level::All)), None);
    assert_eq!(answer(&node.get(Level::All)), None);
    for output in [node.put(Level::All), node.get(Level::One)] {
        assert_eq!(answer(&output), Some(Err(ClientErrorKind::Overloaded)));
        assert!(output.send.is_empty() && output.durable.is_empty());
    }
    let output = node.pass_ms(1_000);
    assert_eq!(output.reply.len(), 2);
    assert_eq!(node.counter("requests_timed_out"), 2);
    assert_eq!(node.replica.timers.len(), 2, "the heartbeat and the sweep");
    assert_eq!(answer(&node.put(Level::One)), Some(Ok(0)));
}

#[test]
fn a_write_goes_on_to_replicas_that_are_not_needed_but_not_to_the_dead() {
    let mut node = Single::new(config(), &[]);
    assert_eq!(sends(&node.put(Level::One)), ["n2 write", "n3 write"]);
    node.input(Input::Link { peer: A, state: Link::Down });
    assert_eq!(sends(&node.put(Level::One)), ["n3 write"]);
}

#[test]
fn the_replica_side_acknowledges_newer_and_older_versions_and_ignores_what_is_not_its_own() {
    let mut node = Single::new(config(), &[(key("k"), version(5))]);
    for (stamp, puts) in [(6, 1), (5, 0)] {
        let write = PeerMessage::Write { operation: OperationId(9), key: key("k"), version: version(stamp) };
        let output = node.peer(A, write);
        assert_eq!((sends(&output), output.durable.puts.len()), (vec!["n2 ack".into()], puts));
    }
    let invalid = [
        PeerMessage::Write { operation: OperationId(9), key: Key(vec![]), version: version(1) },
        PeerMessage::Write {
            operation: OperationId(9),
            key: key("k"),
            version: Version { stamp: WallTime(1), value: Some(Value(vec![0; Value::LENGTH_MAX + 1])) },
        },
        PeerMessage::Read { operation: OperationId(9), key: Key(vec![]), digest_only: true },
    ];
    for message in invalid {
        let output = node.peer(A, message);
        assert!(output.send.is_empty() && output.durable.is_empty());
    }
    let output = node.peer(NodeId(99), PeerMessage::Heartbeat);
    assert!(output.send.is_empty());
    assert_eq!(node.counter("messages_invalid"), 4);

    let alone = ClusterConfig { replication: 1, ..config() };
    let mut node = Single::new(alone, &[]);
    let foreign = (0..).map(|i| key(&format!("{i}"))).find(|key| !node.replica.store.owns(key)).expect("one of them");
    let write = PeerMessage::Write { operation: OperationId(9), key: foreign.clone(), version: version(1) };
    let read = PeerMessage::Read { operation: OperationId(9), key: foreign, digest_only: false };
    for message in [write, read] {
        let output = node.peer(A, message);
        assert!(output.send.is_empty() && output.durable.is_empty());
    }
    assert_eq!(node.counter("messages_not_owned"), 2);
}

#[test]
fn a_read_of_a_container_that_has_no_place_here_is_not_answered() {
    let read = |key| PeerMessage::Causal(CausalMessage::Read { operation: OperationId(9), key, digest_only: false });
    let alone = ClusterConfig { replication: 1, conflict: Conflict::Dcc, ..config() };
    let mut node = Single::new(alone, &[]);
    let owns = |node: &Single, key: &Key| node.replica.dcc.as_ref().expect("it is dcc").store.owns(key);
    let keys: Vec<Key> = (0..100).map(|i| key(&format!("{i}"))).collect();
    let (own, foreign): (Vec<Key>, Vec<Key>) = keys.into_iter().partition(|key| owns(&node, key));
    for key in [Key(vec![]), foreign[0].clone()] {
        let output = node.peer(A, read(key));
        assert!(output.send.is_empty() && output.durable.is_empty());
    }
    assert_eq!((node.counter("messages_invalid"), node.counter("messages_not_owned")), (1, 1));
    assert_eq!(node.peer(A, read(own[0].clone())).send.len(), 1);
}

#[test]
fn a_quorum_read_takes_its_own_copy_and_one_digest() {
    let mut node = Single::new(config(), &[(key("k"), version(5))]);
    let output = node.get(Level::Quorum);
    let [send] = output.send.as_slice() else { panic!("{output:?}") };
    assert!(matches!(send.message, PeerMessage::Read { digest_only: true, .. }));
    assert_eq!(answer(&node.reply(send.to, operation(&output), digest(&version(5)))), Some(Ok(5)));
}

#[test]
fn both_other_replicas_are_chosen_in_turn() {
    let mut node = Single::new(config(), &[]);
    let mut chosen = [0, 0];
    for _ in 0..64 {
        chosen[usize::from(node.get(Level::Quorum).send[0].to == B)] += 1;
    }
    assert!(chosen.iter().all(|count| *count > 10), "{chosen:?}");
}

/// A read at `level` in which n1 holds version 5 and the first other replica asked answers version `other`, digest first.
/// Answers that replica, the operation, and the output of the merge.
fn mismatch(node: &mut Single, other: u64) -> (NodeId, OperationId, Output) {
    let output = node.get(Level::Quorum);
    let (peer, id) = (output.send[0].to, operation(&output));
    let output = node.reply(peer, id, digest(&version(other)));
    assert_eq!(sends(&output), [format!("{peer} read")]);
    assert_eq!(answer(&output), None);
    let output = node.reply(peer, id, ReadAnswer::Full(Some(version(other))));
    (peer, id, output)
}

#[test]
fn blocking_repair_of_its_own_stale_copy_is_durable_before_the_answer_and_waits_for_nobody() {
    let mut node = Single::new(config(), &[(key("k"), version(5))]);
    let (_, _, output) = mismatch(&mut node, 6);
    assert_eq!(output.durable.puts.len(), 1);
    assert_eq!(answer(&output), Some(Ok(6)));
    assert!(output.send.is_empty());
}

#[test]
fn blocking_repair_answers_after_the_stale_replica_acknowledged() {
    let mut node = Single::new(config(), &[(key("k"), version(5))]);
    let (peer, id, output) = mismatch(&mut node, 4);
    assert_eq!(sends(&output), [format!("{peer} write")]);
    assert_eq!(answer(&output), None);
    let third = if peer == A { B } else { A };
    assert_eq!(answer(&node.ack(third, id)), None, "it was sent nothing");
    assert_eq!(answer(&node.ack(peer, id)), Some(Ok(5)));
}

#[test]
fn a_slow_repair_goes_to_further_replicas_and_those_count() {
    let mut node = Single::new(config(), &[(key("k"), version(5))]);
    let (peer, id, _) = mismatch(&mut node, 4);
    let third = if peer == A { B } else { A };
    let output = node.pass_ms(200);
    assert_eq!(sends(&output), [format!("{third} write")]);
    assert_eq!(sends(&node.pass_ms(200)), Vec::<String>::new(), "once");
    assert_eq!(answer(&node.ack(third, id)), Some(Ok(5)));
    assert_eq!(node.counter("read_repairs_widened"), 1);
}

#[test]
fn a_repair_that_nobody_acknowledges_ends_in_a_timeout() {
    let mut node = Single::new(config(), &[(key("k"), version(5))]);
    mismatch(&mut node, 4);
    assert_eq!(answer(&node.pass_ms(1_000)), Some(Err(ClientErrorKind::Timeout)));
}

#[test]
fn async_repair_answers_at_once_and_none_sends_nothing() {
    for (read_repair, repairs) in [(ReadRepair::Async, 1), (ReadRepair::None, 0)] {
        let mut node = Single::new(ClusterConfig { read_repair, ..config() }, &[(key("k"), version(5))]);
        let (_, _, output) = mismatch(&mut node, 4);
        assert_eq!(answer(&output), Some(Ok(5)));
        assert_eq!(output.send.len(), repairs);
    }
}

#[test]
fn a_silent_replica_is_backed_by_another_after_the_patience() {
    let mut node = Single::new(config(), &[(key("k"), version(5))]);
    let output = node.get(Level::Quorum);
    let (silent, id) = (output.send[0].to, operation(&output));
    let other = if silent == A { B } else { A };
    assert_eq!(sends(&node.pass_ms(199)), Vec::<String>::new());
    assert_eq!(sends(&node.pass_ms(1)), [format!("{other} read")]);
    assert_eq!(answer(&node.reply(other, id, ReadAnswer::Full(Some(version(5))))), Some(Ok(5)));
}

#[test]
fn a_replica_that_has_not_caught_up_is_replaced_at_once_and_never_counted() {
    let mut node = Single::new(config(), &[(key("k"), version(5))]);
    let output = node.get(Level::Quorum);
    let (first, id) = (output.send[0].to, operation(&output));
    let other = if first == A { B } else { A };
    let output = node.reply(first, id, ReadAnswer::CatchingUp);
    assert_eq!((sends(&output), answer(&output)), (vec![format!("{other} read")], None));
    let output = node.reply(other, id, ReadAnswer::CatchingUp);
    assert_eq!(answer(&output), Some(Err(ClientErrorKind::Unavailable)));
}

#[test]
fn an_expired_tombstone_is_no_reason_to_repair_absence_but_still_repairs_older_values() {
    let old = |value: Option<Value>, age_ms: u64| Version { stamp: WallTime(WALL - age_ms * MS), value };
    let grace = ClusterConfig { tombstone_grace_ms: 1_000, ..config() };
    let tombstone = old(None, 2_000);
    let alive = old(Some(Value(b"x".to_vec())), 3_000);
    for (other, writes) in [(None, 0), (Some(alive), 1)] {
        let mut node = Single::new(grace.clone(), &[(key("k"), tombstone.clone())]);
        let output = node.get(Level::Quorum);
        let (peer, id) = (output.send[0].to, operation(&output));
        let digest = ReadAnswer::Digest(version_digest(&key("k"), other.as_ref()));
        node.reply(peer, id, digest);
        let output = node.reply(peer, id, ReadAnswer::Full(other));
        assert_eq!(output.send.len(), writes);
        assert_eq!(output.reply.len(), 1 - writes);
    }
}

#[test]
fn a_node_without_its_mark_is_not_ready_and_one_with_the_mark_of_another_ring_neither() {
    let node = Single::boot(config(), vec![]);
    assert!(!node.replica.is_ready());
    let other_ring = crate::cluster::ring_fingerprint(&ClusterConfig { vnodes: 9, ..config() });
    let mut node = Single::boot(config(), vec![store_codec::caught_up_entry(other_ring)]);
    assert!(!node.replica.is_ready());
    let read = PeerMessage::Read { operation: OperationId(9), key: key("k"), digest_only: false };
    let output = node.peer(A, read);
    let reply = PeerMessage::ReadReply { operation: OperationId(9), answer: ReadAnswer::CatchingUp };
    assert_eq!(output.send.last().map(|send| &send.message), Some(&reply));
}

#[test]
fn a_store_of_another_node_is_refused() {
    let now = Now::default();
    let recovered = RecoveredState { entries: vec![store_codec::identity_entry(A)] };
    let error = Replica::boot(config(), NodeId(1), 1, recovered, [0; 32], now).expect_err("the store of n2");
    assert!(error.0.contains("belongs to n2"), "{error}");
}

#[test]
fn the_first_output_reaches_for_the_neighbours() {
    let now = Now::default();
    let (_, output) = Replica::boot(config(), NodeId(1), 1, RecoveredState::default(), [0; 32], now).expect("boot");
    assert_eq!(sends(&output), ["n2 heartbeat", "n3 heartbeat"]);
    assert!(output.send.iter().all(|send| send.lane == Lane::Control));
}

fn any_version() -> impl Strategy<Value = Version> {
    let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
    (any::<u64>(), value).prop_map(|(stamp, value)| Version { stamp: WallTime(stamp), value: value.map(Value) })
}

fn any_message() -> impl Strategy<Value = PeerMessage> {
    let key = || proptest::collection::vec(any::<u8>(), 0..4).prop_map(Key);
    let answer = prop_oneof![
        proptest::option::of(any_version()).prop_map(ReadAnswer::Full),
        any::<[u8; 16]>().prop_map(ReadAnswer::Digest),
        Just(ReadAnswer::CatchingUp),
    ];
    prop_oneof![
        Just(PeerMessage::Heartbeat),
        (any::<u64>(), key(), any_version()).prop_map(|(id, key, version)| PeerMessage::Write {
            operation: OperationId(id),
            key,
            version
        }),
        any::<u64>().prop_map(|id| PeerMessage::WriteAck { operation: OperationId(id) }),
        (any::<u64>(), key(), any::<bool>()).prop_map(|(id, key, digest_only)| PeerMessage::Read {
            operation: OperationId(id),
            key,
            digest_only
        }),
        (any::<u64>(), answer).prop_map(|(id, answer)| PeerMessage::ReadReply { operation: OperationId(id), answer }),
        (any::<u64>(), proptest::collection::vec((key(), any_version()), 0..3))
            .prop_map(|(session, entries)| PeerMessage::Sync(SyncMessage::Values { question: session, entries })),
        any::<u64>().prop_map(|session| PeerMessage::Sync(SyncMessage::ValuesAck { question: session })),
        any_message_of_the_data_plane(),
    ]
}

fn any_message_of_the_data_plane() -> impl Strategy<Value = PeerMessage> {
    let key = || proptest::collection::vec(any::<u8>(), 0..4).prop_map(Key);
    let bound = || proptest::collection::vec(any::<u8>(), 0..3).prop_map(KeyBound);
    let id = || any::<u64>().prop_map(OperationId);
    let entries = || proptest::collection::vec((key(), any_version()), 0..3);
    let answer = prop_oneof![
        (entries(), any::<bool>()).prop_map(|(entries, more)| ScanAnswer::Page { entries, more }),
        Just(ScanAnswer::CatchingUp),
    ];
    prop_oneof![
        (id(), 0u16..5, key(), any_version()).prop_map(|(operation, owner, key, version)| PeerMessage::StandInWrite {
            operation,
            owner: NodeId(owner),
            key,
            version
        }),
        (id(), 0u16..5, key(), any::<bool>()).prop_map(|(operation, owner, key, digest_only)| {
            PeerMessage::StandInRead { operation, owner: NodeId(owner), key, digest_only }
        }),
        (id(), entries()).prop_map(|(operation, entries)| PeerMessage::Merge { operation, entries }),
        (id(), proptest::collection::vec(any::<u32>(), 0..3))
            .prop_map(|(operation, foreign)| PeerMessage::MergeAck { operation, foreign }),
        (id(), bound(), proptest::option::of(bound()), any::<u32>()).prop_map(|(operation, from, to, limit)| {
            PeerMessage::Scan { operation, range: KeyRange { from, to }, limit }
        }),
        (id(), bound(), answer).prop_map(|(operation, from, answer)| PeerMessage::ScanReply {
            operation,
            from,
            answer
        }),
    ]
}

proptest! {
    #[test]
    fn a_message_survives_the_wire(message in any_message()) {
        prop_assert_eq!(codec::decode::<PeerMessage>(&codec::encode(&message)), Ok(message));
    }

    #[test]
    fn garbage_frames_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = codec::decode::<PeerMessage>(&bytes);
        let frame = [&[codec::FRAME_VERSION][..], &bytes].concat();
        if let Ok(message) = codec::decode::<PeerMessage>(&frame) {
            // Whatever decodes may be handed to a replica.
            Single::new(config(), &[]).peer(A, message);
        }
        let _ = codec::decode::<ClientRequest>(&frame);
    }

    #[test]
    fn no_sequence_of_messages_panics_or_answers_more_than_it_was_asked(
        messages in proptest::collection::vec((1u16..6, any_message(), any::<bool>()), 0..60),
    ) {
        let mut node = Single::new(config(), &[(key("k"), version(5))]);
        let output = node.get(Level::All);
        let id = operation(&output);
        let mut replies = 0;
        for (from, message, aimed) in messages {
            let message = match message {
                PeerMessage::ReadReply { answer, .. } if aimed => PeerMessage::ReadReply { operation: id, answer },
                PeerMessage::WriteAck { .. } if aimed => PeerMessage::WriteAck { operation: id },
                other => other,
            };
            replies += node.peer(NodeId(from), message).reply.len();
        }
        replies += node.pass_ms(1_100).reply.len();
        prop_assert_eq!(replies, 1);
    }
}
