//! Processes: pauses, crashes, the disk under them, timers, clients, and faults that overlap.

use std::collections::VecDeque;

use hearsay_checkers::EventType;
use hearsay_core::{Key, Level};
use hearsay_workloads::Action;

use super::*;
use crate::plan::{Fault, PlannedFault, PlannedOperation};
use crate::run::client::{ClientSettings, encode_value};
use crate::sim::clients::Clients;
use crate::sim::faults::Faults;
use crate::sim::node::Process;
use crate::sim::run::{Recording, Wake};
use crate::sim::settings::MILLISECOND;
use crate::sim::world::ClientEvent;

#[test]
fn heartbeats_go_out_at_their_interval() {
    let mut world = settled(2, Settings::default());
    let sent = |world: &mut World| status(world, 1).counters["heartbeats_sent"];
    let before = sent(&mut world);
    pass(&mut world, 10 * SECOND);
    let count = sent(&mut world) - before;
    assert!((39..=41).contains(&count), "{count} heartbeats in ten seconds at one per 250 ms");
}

#[test]
fn a_paused_process_handles_nothing_and_then_what_waited() {
    let mut world = settled(3, Settings::default());
    let handled = |world: &World| world.nodes[place(n(2))].handled;
    assert!(world.pause(n(2)) && !world.pause(n(2)));
    let before = handled(&world);
    pass(&mut world, SECOND);
    assert_eq!(handled(&world), before);
    assert_eq!(world.ask(n(2), ClientRequest::Status).unwrap_err(), "it is paused");
    let waiting = world.nodes[place(n(2))].waiting.len();
    assert!(waiting >= 8, "{waiting}: two peers have sent four heartbeats each");
    assert!(world.proceed(n(2)) && !world.proceed(n(2)));
    assert!(handled(&world) >= before + 8);
    pass(&mut world, SECOND);
    assert!(linked(&mut world, 1, 2), "a second is too short to lose a link");
    assert!(world.pause(n(2)));
    pass(&mut world, 5 * SECOND);
    assert!(!linked(&mut world, 1, 2));
    assert!(world.proceed(n(2)));
    pass(&mut world, 2 * SECOND);
    assert!(linked(&mut world, 1, 2) && linked(&mut world, 2, 1));
}

#[test]
fn what_waits_for_a_paused_process_is_bounded() {
    let mut settings = Settings::default();
    // What is lost on the way comes too late for this count.
    settings.link.loss_per_million = 0;
    let mut world = settled(1, settings);
    assert!(world.pause(n(1)));
    for slot in 0..20_000 {
        world.dial(Party::Client(slot), n(1));
    }
    pass(&mut world, 10 * MILLISECOND);
    let waiting = world.nodes[place(n(1))].waiting.len();
    assert_eq!(waiting, 16_384);
    assert!(world.proceed(n(1)));
    assert_eq!(status(&mut world, 1).counters["transport_dropped_waiting"], 20_000 - 16_384);
    pass(&mut world, SECOND);
    let connected = std::iter::from_fn(|| world.next_client_event()).count();
    assert_eq!(connected, 20_000, "a dialler tries again");
}

#[test]
fn a_node_whose_replica_breaks_is_the_end_of_a_run() {
    let mut world = settled(3, Settings::default());
    world.dies(n(2), "an invariant is broken".to_owned());
    world.dies(n(3), "so is another".to_owned());
    pass(&mut world, 10 * MILLISECOND);
    assert_eq!(world.died(), Some(&(n(2), "an invariant is broken".to_owned())));
}

#[test]
fn a_power_cut_loses_what_was_not_synced_and_nothing_else() {
    let mut settings = Settings::default();
    settings.disk.sync_ns = 500 * MILLISECOND;
    let mut world = settled(1, settings);
    let put = |world: &mut World, key: &str| {
        let connection = world.dial(Party::Client(0), n(1));
        while !matches!(world.next_client_event(), Some(ClientEvent::Connected { .. })) {
            world.step();
        }
        let (key, value) = (Key(key.as_bytes().to_vec()), encode_value(1));
        world.send_request(connection, 1, ClientRequest::Put { key, value, level: Level::One });
    };
    let answers = |world: &mut World| {
        std::iter::from_fn(|| world.next_client_event())
            .filter(|event| matches!(event, ClientEvent::Response { .. }))
            .count()
    };
    put(&mut world, "kept");
    pass(&mut world, 2 * SECOND);
    assert_eq!(answers(&mut world), 1);
    put(&mut world, "in flight");
    pass(&mut world, 100 * MILLISECOND);
    put(&mut world, "gathering");
    pass(&mut world, 100 * MILLISECOND);
    assert_eq!(answers(&mut world), 0, "nothing is acknowledged before it is synced");
    let loss = world.cut_power(n(1), None).unwrap();
    assert_eq!((loss.kept, loss.lost), (0, 2));
    assert!(world.start(n(1)));
    pass(&mut world, 2 * SECOND);
    assert_eq!(status(&mut world, 1).keys, 1);
    assert_eq!(answers(&mut world), 0, "a dead process answers nobody");
}

fn fault(id: &str, fault: Fault) -> PlannedFault {
    PlannedFault { id: id.to_owned(), at_ms: 0, duration_ms: 1, fault }
}

#[test]
fn a_node_that_two_faults_hold_down_starts_with_the_last() {
    let mut world = settled(3, Settings::default());
    let mut faults = Faults::default();
    let (one, both) =
        (fault("f1", Fault::Crash { nodes: vec![n(1)] }), fault("f2", Fault::Crash { nodes: vec![n(1), n(2)] }));
    assert_eq!(faults.inject(&mut world, &one).bit, Some(true));
    let second = faults.inject(&mut world, &both);
    assert_eq!(second.bit, Some(false), "n1 was down already: {second:?}");
    faults.heal(&mut world, &one);
    assert_eq!(world.nodes[place(n(1))].process, Process::Down);
    let healed = faults.heal(&mut world, &both);
    assert_eq!(healed.healed, Some(true));
    pass(&mut world, SECOND);
    assert!(status(&mut world, 1).ready && status(&mut world, 2).ready);
}

#[test]
fn partitions_in_force_add_up_and_a_silent_one_did_not_bite() {
    let mut world = settled(3, Settings::default());
    let mut faults = Faults::default();
    let cut = |id: &str, pairs: &[Pair]| {
        let shape = crate::plan::PartitionShape::Halves;
        fault(id, Fault::Partition { shape, blocked: pairs.to_vec() })
    };
    let (first, second) = (cut("f1", &[pair(1, 2)]), cut("f2", &[pair(1, 2), pair(2, 1)]));
    faults.inject(&mut world, &first);
    faults.inject(&mut world, &second);
    let healed = faults.heal(&mut world, &second);
    assert_eq!((healed.bit, healed.numbers["packets_dropped"]), (Some(false), 0), "no time has passed");
    pass(&mut world, SECOND);
    let healed = faults.heal(&mut world, &first);
    assert!(healed.bit == Some(true) && healed.numbers["packets_dropped"] > 0, "{healed:?}");
    pass(&mut world, SECOND);
    assert_eq!(world.wire.dropped().get(&pair(2, 1)), None, "it was blocked for no time at all");
}

#[test]
fn a_wipe_leaves_an_empty_disk_and_a_paused_node_can_be_killed() {
    let mut world = settled(3, Settings::default());
    let mut faults = Faults::default();
    let pause = fault("f1", Fault::Pause { nodes: vec![n(3)] });
    let wipe = fault("f2", Fault::Wipe { node: n(3) });
    faults.inject(&mut world, &pause);
    let wiped = faults.inject(&mut world, &wipe);
    assert_eq!(wiped.bit, Some(true));
    assert!(wiped.numbers["entries_removed"] > 0);
    assert_eq!(faults.heal(&mut world, &wipe).healed, Some(true));
    pass(&mut world, SECOND);
    let healed = faults.heal(&mut world, &pause);
    assert!(healed.sentences[0].contains("another fault killed it"), "{healed:?}");
    assert_eq!(status(&mut world, 3).counters["transport_links_down"], 0, "it is a new process");
}

/// What a client of n1 records for one write, while `trouble` happens to the node.
fn outcome_of_a_write(trouble: impl Fn(&mut World, u64)) -> (EventType, String) {
    let mut world = settled(1, Settings::default());
    let mut recording = Recording::starting_at(world.now());
    let mut clients = Clients::new(2_000);
    let settings = ClientSettings {
        kind: hearsay_workloads::DataKind::Register,
        causal: false,
        value_bytes: 0,
        read_level: Level::One,
        write_level: Level::One,
        read_primaries: None,
        write_primaries: None,
        overdue_skip_ms: 10_000,
    };
    let action = |value| Action::Write { key: "k".to_owned(), value };
    let operation = |at_ms, value| PlannedOperation { at_ms, client: 0, node: n(1), action: action(value) };
    // The first makes the connection, so that the second finds one.
    let operations: VecDeque<_> = [operation(0, 1), operation(100, 2)].into();
    clients.add(&mut world, (0, 1), settings, operations, None);
    let began = world.now();
    while !clients.are_done() {
        let passed = world.now() - began;
        trouble(&mut world, passed);
        match world.step() {
            Step::Wake(Wake::Client(slot)) => clients.act(&mut world, &mut recording, slot),
            Step::Wake(Wake::CallTimeout(slot, call)) => clients.call_timeout(&mut world, &mut recording, slot, call),
            Step::Wake(Wake::ConnectTimeout(slot, call)) => {
                clients.connect_timeout(&mut world, &mut recording, slot, call);
            }
            Step::Wake(other) => panic!("{other:?} was not planned"),
            Step::World => {}
            Step::Nothing => panic!("nothing is to come"),
        }
        while let Some(event) = world.next_client_event() {
            clients.hear(&mut world, &mut recording, event);
        }
    }
    let last = recording.events().last().unwrap().clone();
    assert_eq!(last.value, Some(2));
    (last.kind, last.error.unwrap_or_default())
}

#[test]
fn a_client_knows_what_certainly_did_not_leave() {
    let (kind, _) = outcome_of_a_write(|_, _| {});
    assert_eq!(kind, EventType::Ok);
    // Cut off before it asks, with a connection: it may have arrived.
    let blocked = (Endpoint::Clients, Endpoint::Node(n(1)));
    let (kind, error) = outcome_of_a_write(|world, passed| {
        if passed >= 50 * MILLISECOND {
            world.wire.block([blocked].into());
        }
    });
    assert!(kind == EventType::Info && error.contains("n1 did not answer within 2000 ms"), "{kind:?}: {error}");
    // Without a connection it certainly did not.
    let (kind, error) = outcome_of_a_write(|world, _| world.wire.block([blocked].into()));
    assert!(kind == EventType::Fail && error.contains("no connection to n1"), "{kind:?}: {error}");
    // A process that came back knows nothing of the request, nor of the connection.
    let (kind, error) = outcome_of_a_write(|world, passed| {
        if passed >= 300 * MILLISECOND {
            world.start(n(1));
        } else if passed >= 50 * MILLISECOND {
            world.kill(n(1));
        }
    });
    assert!(kind == EventType::Info && error.contains("reset by peer"), "{kind:?}: {error}");
}
