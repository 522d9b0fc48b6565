//! Wall clocks that are off, and processes that leave in order and join again.

use super::*;
use crate::campaign;
use crate::exit::Outcome;
use crate::plan::{ClockSkew, Disk, Fault, PlannedFault, make_plan};
use crate::report::render;
use crate::sim::connection::Frame;
use crate::sim::faults::Faults;
use crate::sim::leave::Left;
use crate::sim::node::Process;
use crate::sim::settings::{ClockSettings, MILLISECOND};
use crate::sim::simulate;
use crate::sim::world::ClientEvent;
use hearsay_core::{ClientErrorKind, Key, Level, Value, WallTime};

fn fault(id: &str, fault: Fault) -> PlannedFault {
    PlannedFault { id: id.to_owned(), at_ms: 0, duration_ms: 1, fault }
}

fn as_expected(campaign: &str, seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        let plan = make_plan(&campaign::load(campaign).unwrap(), seed);
        let report = simulate(&plan, Settings::default()).report(&plan, String::new(), String::new());
        assert_eq!(report.outcome, Outcome::AsExpected, "{}", render(&report));
        assert!(report.faults.iter().all(|fault| fault.bit && fault.healed), "{}", render(&report));
    }
}

#[test]
fn clock_skew_loses_later_writes_and_is_caught() {
    as_expected("clock-skew", 1..=4);
}

#[test]
fn churn_is_as_expected() {
    as_expected("churn", 1..=4);
}

#[test]
fn a_clock_is_off_while_the_fault_lasts_and_stamps_grow_all_the_same() {
    let mut world = settled(1, Settings::default());
    let mut faults = Faults::default();
    let skew = ClockSkew { node: n(1), offset_ns: -5_000_000_000, drift_ppb: 1_000_000 };
    let clock = fault("f1", Fault::Clock { clocks: vec![skew] });
    let ahead = |world: &mut World| {
        let truth = ClockSettings::default().now(world.now()).wall.0;
        status(world, 1).wall.0 as i64 - truth as i64
    };
    let write = |world: &mut World| {
        let request = ClientRequest::Put { key: Key(b"k".to_vec()), value: Value(b"v".to_vec()), level: Level::One };
        match world.ask(n(1), request).expect("a node of one answers at once") {
            ClientResponse::Written { stamp } => stamp,
            other => panic!("{other:?}"),
        }
    };
    let first = write(&mut world);
    assert_eq!(ahead(&mut world), 0);
    faults.inject(&mut world, &clock);
    assert_eq!(ahead(&mut world), -5_000_000_000);
    let second = write(&mut world);
    assert_eq!(second, WallTime(first.0 + 1), "behind by seconds, and yet newer than the last");
    pass(&mut world, 2 * SECOND);
    assert_eq!(ahead(&mut world), -5_000_000_000 + 2_000_000);
    assert_eq!(faults.heal(&mut world, &clock).healed, Some(true));
    assert_eq!(ahead(&mut world), 0);
    assert!(write(&mut world) > second);
}

/// Asks n1 for a write at this level over a connection of a client's own; the answer comes as a client event.
fn begin_write(world: &mut World, connection: ConnectionId, call: u64, level: Level) {
    let key = Key(format!("k{call}").into_bytes());
    world.send_request(connection, call, ClientRequest::Put { key, value: Value(b"v".to_vec()), level });
}

#[test]
fn who_leaves_answers_what_it_has_taken_and_refuses_the_rest() {
    let mut world = settled(3, Settings::default());
    let connection = world.dial(Party::Client(0), n(1));
    pass(&mut world, 50 * MILLISECOND);
    assert!(matches!(world.next_client_event(), Some(ClientEvent::Connected { .. })));
    // The others stand still for a while, so that a write at quorum has to wait.
    assert!(world.pause(n(2)) && world.pause(n(3)));
    begin_write(&mut world, connection, 1, Level::Quorum);
    pass(&mut world, 10 * MILLISECOND);
    assert!(world.leave(n(1)) && !world.leave(n(1)));
    begin_write(&mut world, connection, 2, Level::One);
    pass(&mut world, 100 * MILLISECOND);
    assert_eq!(world.nodes[place(n(1))].process, Process::Running, "it waits for its answer");
    let refused = world.next_client_event();
    let Some(ClientEvent::Response { call: 2, response: ClientResponse::Failed(error), .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(error.kind, ClientErrorKind::Unavailable);
    assert!(world.proceed(n(2)) && world.proceed(n(3)));
    pass(&mut world, 200 * MILLISECOND);
    let answered = world.next_client_event();
    let written = |event: &Option<ClientEvent>| {
        matches!(event, Some(ClientEvent::Response { call: 1, response: ClientResponse::Written { .. }, .. }))
    };
    assert!(written(&answered), "{answered:?}");
    assert!(matches!(world.next_client_event(), Some(ClientEvent::Lost { reason: "closed by peer", .. })));
    let node = &world.nodes[place(n(1))];
    assert_eq!(node.process, Process::Down);
    assert!(matches!(node.left, Some(Left { unanswered: 0, .. })), "{:?}", node.left);
    assert!(!linked(&mut world, 2, 1) && !linked(&mut world, 3, 1), "its peers were told");
}

#[test]
fn what_was_to_be_stored_is_on_the_disk_before_the_end() {
    let mut settings = Settings::default();
    settings.disk.sync_ns = 10 * SECOND;
    settings.disk.jitter_ns = 0;
    settings.disk.hiccups_per_thousand = 0;
    let config = ClusterConfig { members: vec![n(1)], replication: 1, ..ClusterConfig::default() };
    let mut world = World::new(&config, 7, settings, Watch::default()).unwrap();
    assert!(world.start(n(1)));
    pass(&mut world, 15 * SECOND);
    let connection = world.dial(Party::Client(0), n(1));
    pass(&mut world, 50 * MILLISECOND);
    begin_write(&mut world, connection, 1, Level::One);
    pass(&mut world, 50 * MILLISECOND);
    assert!(world.leave(n(1)));
    pass(&mut world, 5 * SECOND);
    assert_eq!(world.nodes[place(n(1))].process, Process::Running, "what it was told to store is not on the disk yet");
    pass(&mut world, 7 * SECOND);
    let node = &world.nodes[place(n(1))];
    assert_eq!((node.process, node.disk.entries() > 0), (Process::Down, true));
    assert!(matches!(node.left, Some(Left { unanswered: 0, took }) if took > 9 * SECOND), "{:?}", node.left);
}

#[test]
fn one_that_joins_empty_catches_up() {
    let mut world = settled(3, Settings::default());
    let mut faults = Faults::default();
    let leave = fault("f1", Fault::Leave { nodes: vec![n(2)], join: Disk::Empty });
    let mut evidence = faults.inject(&mut world, &leave);
    assert_eq!(evidence.bit, None, "it has not ended yet");
    assert!(faults.left(&mut world, &leave, &mut evidence).is_none());
    pass(&mut world, 100 * MILLISECOND);
    assert!(faults.left(&mut world, &leave, &mut evidence).is_some());
    assert_eq!(evidence.bit, Some(true), "{evidence:?}");
    assert!(evidence.numbers["entries_removed"] > 0);
    let healed = faults.heal(&mut world, &leave);
    assert_eq!((healed.bit, healed.healed), (Some(true), Some(true)), "{healed:?}");
    pass(&mut world, 2 * SECOND);
    assert!(status(&mut world, 2).ready && linked(&mut world, 1, 2));
}

#[test]
fn a_node_that_is_down_can_not_leave() {
    let mut world = settled(3, Settings::default());
    let mut faults = Faults::default();
    assert!(world.kill(n(2)).is_some());
    let leave = fault("f1", Fault::Leave { nodes: vec![n(1), n(2)], join: Disk::Kept });
    let mut evidence = faults.inject(&mut world, &leave);
    pass(&mut world, 100 * MILLISECOND);
    assert!(faults.left(&mut world, &leave, &mut evidence).is_some());
    assert_eq!(evidence.bit, Some(false), "{evidence:?}");
}

#[test]
fn a_crash_ends_a_process_that_is_leaving() {
    let mut world = settled(3, Settings::default());
    assert!(world.leave(n(1)));
    assert!(world.kill(n(1)).is_some());
    assert!(world.start(n(1)));
    pass(&mut world, SECOND);
    assert!(status(&mut world, 1).ready, "the new process knows nothing of the order");
    let (connection, side) = link(&world, 1, 2).expect("it is linked again");
    world.send_frame(connection, side, hearsay_core::Lane::Control, Frame::Probe, 10);
}

#[test]
fn who_leaves_in_the_middle_of_a_sync_has_a_disk_that_works_when_it_joins() {
    let mut world = settled(3, Settings::default());
    let connection = world.dial(Party::Client(0), n(2));
    pass(&mut world, 50 * MILLISECOND);
    assert!(world.leave(n(1)));
    // Others keep it busy until its last moment.
    for call in 0..400 {
        begin_write(&mut world, connection, call, Level::Quorum);
        pass(&mut world, MILLISECOND / 4);
    }
    assert_eq!(world.nodes[place(n(1))].process, Process::Down);
    let disk = &world.nodes[place(n(1))].disk;
    assert!(disk.is_durable(disk.last()), "nothing is left half done");
    assert!(world.start(n(1)));
    pass(&mut world, SECOND);
    let connection = world.dial(Party::Client(1), n(1));
    while world.next_client_event().is_some() {}
    pass(&mut world, 50 * MILLISECOND);
    begin_write(&mut world, connection, 1_000, Level::All);
    pass(&mut world, 100 * MILLISECOND);
    let answers: Vec<_> = std::iter::from_fn(|| world.next_client_event()).collect();
    let written = |event: &ClientEvent| {
        matches!(event, ClientEvent::Response { call: 1_000, response: ClientResponse::Written { .. }, .. })
    };
    assert!(answers.iter().any(written), "{answers:?}");
}
