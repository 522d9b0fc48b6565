//! The test bodies. Times are milliseconds from the start of the load.

use hearsay::plan::{ClockSkew, Disk, Fault};
use hearsay_checkers::{EventType, Function};

use crate::support::{
    LATE_MS, REQUEST_TIMEOUT_MS, Shape, WARMUP_MS, World, blocks, everywhere, fault, n, observe, plan, read, write,
};

/// A test body.
pub(crate) type Body = fn(&dyn World);

/// All of them.
pub(crate) const BODIES: &[(&str, Body)] = &[
    ("a_blocked_pair_hears_nothing_and_then_all_of_it", partition),
    ("what_a_broken_connection_had_not_delivered_is_lost", broken_connection),
    ("one_way_the_other_way_is_open", one_way),
    ("what_was_acknowledged_survives_a_crash_of_all", crash),
    ("both_time_outs_come_in_time_and_leave_the_outcome_open", time_outs),
    ("who_is_paused_answers_afterwards", pause),
    ("who_leaves_answers_what_it_has_taken", leave),
    ("with_a_clock_behind_the_later_write_loses", clock),
    (LANE_ORDER, crate::traffic::lane_order),
    ("a_lost_datagram_stays_lost_and_a_stream_loses_nothing", crate::traffic::datagrams),
];

const LANE_ORDER: &str = "bulk_delays_neither_requests_nor_heartbeats";

/// They fill a line for seconds, and a machine that does not come round to it for so long fails them as a broken link does.
pub(crate) const TRIED_AGAIN: &[&str] = &[LANE_ORDER];

/// Both ways between n1 and the others.
const ISOLATED: [(u16, u16); 4] = [(1, 2), (2, 1), (1, 3), (3, 1)];

/// Shorter than the idle time-out: the streams go on where they stood.
fn partition(world: &dyn World) {
    let shape = Shape { faults_ms: 3_500, ..Shape::default() };
    let plan = plan(
        &shape,
        vec![fault(WARMUP_MS, 2_000, blocks(&ISOLATED))],
        vec![
            read(100, 0, 1, "warm"),
            read(100, 1, 2, "warm"),
            write(1_000, 0, 1, "a", 1),
            write(1_000, 1, 2, "b", 2),
            read(1_500, 0, 1, "b"),
            read(1_500, 1, 2, "a"),
            read(3_500, 0, 1, "b"),
            read(3_500, 1, 2, "a"),
        ],
    );
    let observed = observe(world, &plan);
    for (key, value) in [("a", 1), ("b", 2)] {
        let seen = observed.on(key, plan.phases.load_ms());
        let ended: Vec<_> = seen.iter().map(|seen| (seen.kind(), seen.ended.value)).collect();
        let ok = |value| (EventType::Ok, value);
        assert_eq!(ended[1..], [ok(None), ok(Some(value))], "{key}: {seen:#?}");
        assert_eq!(ended[0].0, EventType::Ok);
        assert_eq!(observed.held(key), everywhere(value), "{key}");
    }
}

/// Longer than the idle time-out.
fn broken_connection(world: &dyn World) {
    let shape = Shape { faults_ms: 9_000, ..Shape::default() };
    let plan = plan(
        &shape,
        vec![fault(WARMUP_MS, 6_000, blocks(&ISOLATED))],
        vec![read(100, 0, 1, "warm"), write(700, 0, 1, "a", 1), write(8_500, 0, 1, "b", 2)],
    );
    let observed = observe(world, &plan);
    assert_eq!(observed.on("a", plan.phases.load_ms())[0].kind(), EventType::Ok);
    assert_eq!(observed.held("a"), [("n1".to_owned(), Some(1))], "nobody has sent it again");
    assert_eq!(observed.held("b"), everywhere(2), "there are new connections");
}

/// What n1 sends arrives, and it hears no answer.
fn one_way(world: &dyn World) {
    let shape = Shape { write_level: "two", faults_ms: 3_000, ..Shape::default() };
    let plan = plan(
        &shape,
        vec![fault(WARMUP_MS, 2_200, blocks(&[(2, 1), (3, 1)]))],
        vec![read(100, 0, 1, "warm"), read(100, 1, 2, "warm"), write(800, 0, 1, "a", 1), read(1_600, 1, 2, "a")],
    );
    let observed = observe(world, &plan);
    let seen = observed.on("a", plan.phases.load_ms());
    assert_eq!(seen[0].kind(), EventType::Info, "{:?}", seen[0]);
    assert_eq!((seen[1].kind(), seen[1].ended.value), (EventType::Ok, Some(1)), "{:?}", seen[1]);
    assert_eq!(observed.held("a"), everywhere(1));
}

/// Every client writes a key of its own, one value after the other.
fn crash(world: &dyn World) {
    const CLIENTS: u32 = 6;
    let shape = Shape { write_level: "all", faults_ms: 3_500, ..Shape::default() };
    let values = |client: u32| (0_u64..40).map(move |step| (step, u64::from(client) * 1_000 + step + 1));
    let operations = (0..CLIENTS).flat_map(|client| {
        let node = u16::try_from(client % 3 + 1).expect("three nodes");
        values(client).map(move |(step, value)| write(200 + 40 * step, client, node, &format!("k{client}"), value))
    });
    let nodes = vec![n(1), n(2), n(3)];
    let plan = plan(&shape, vec![fault(1_200, 2_000, Fault::Crash { nodes })], operations.collect());
    let observed = observe(world, &plan);
    for client in 0..CLIENTS {
        let key = format!("k{client}");
        let seen = observed.on(&key, plan.phases.load_ms());
        let acknowledged = seen.iter().filter(|seen| seen.kind() == EventType::Ok);
        let last = acknowledged.filter_map(|seen| seen.begun.value).max().expect("some were acknowledged");
        let held = observed.held(&key);
        assert_eq!(held.len(), 3, "{key}: {held:?}");
        for (node, value) in held {
            // One without an answer may have come later.
            assert!(value >= Some(last), "{node} holds {value:?} under {key}, and {last} was acknowledged by all");
        }
    }
}

/// n2 and n3 stand still: n1 gives up on them, and a client on n2.
fn time_outs(world: &dyn World) {
    let shape = Shape {
        read_level: "two",
        write_level: "two",
        heartbeat_timeout_ms: 10_000,
        faults_ms: 4_000,
        ..Shape::default()
    };
    let plan = plan(
        &shape,
        vec![fault(WARMUP_MS, 2_600, Fault::Pause { nodes: vec![n(2), n(3)] })],
        vec![
            read(100, 0, 1, "warm"),
            read(100, 1, 2, "warm"),
            write(900, 0, 1, "a", 1),
            write(900, 1, 2, "b", 2),
            read(4_000, 0, 1, "a"),
        ],
    );
    let observed = observe(world, &plan);
    let load_ms = plan.phases.load_ms();
    let (by_coordinator, by_client) = (observed.on("a", load_ms), observed.on("b", load_ms));
    for (seen, wanted_ms) in [(by_coordinator[0], REQUEST_TIMEOUT_MS), (by_client[0], shape.client_timeout_ms)] {
        assert_eq!(seen.kind(), EventType::Info, "{seen:?}");
        assert!((wanted_ms..wanted_ms + LATE_MS).contains(&seen.took_ms()), "{wanted_ms} ms: {seen:?}");
    }
    assert!(by_client[0].error().contains("n2 did not answer within"), "{}", by_client[0].error());
    assert_eq!((by_coordinator[1].kind(), by_coordinator[1].ended.value), (EventType::Ok, Some(1)));
    // What the two were sent while they stood still was taken afterwards.
    assert_eq!(observed.held("a"), everywhere(1));
}

/// A patient client gets its answer once the node goes on.
fn pause(world: &dyn World) {
    let shape = Shape { client_timeout_ms: 4_000, faults_ms: 2_500, ..Shape::default() };
    let plan = plan(
        &shape,
        vec![fault(WARMUP_MS, 1_700, Fault::Pause { nodes: vec![n(1)] })],
        vec![read(100, 0, 1, "warm"), write(900, 0, 1, "a", 1)],
    );
    let observed = observe(world, &plan);
    let seen = observed.on("a", plan.phases.load_ms())[0];
    assert_eq!(seen.kind(), EventType::Ok, "{seen:?}");
    let healed = observed.faults[0].to.expect("it was healed") / 1_000_000;
    let ended = seen.ended.time / 1_000_000;
    assert!((1_690..healed + LATE_MS).contains(&ended), "ended at {ended}, healed at {healed}: {seen:?}");
    assert_eq!(observed.held("a"), everywhere(1));
}

/// Clients ask n1 every few milliseconds, also in the moment in which it has answered all and goes: its farewell comes before
/// its end, so none may be left in doubt.
fn leave(world: &dyn World) {
    const CLIENTS: u32 = 6;
    let shape = Shape { write_level: "quorum", faults_ms: 4_000, ..Shape::default() };
    let write_of = |client: u32, step: u64| {
        let value = u64::from(client) * 1_000 + step + 1;
        write(200 + 25 * step + 4 * u64::from(client), client, 1, &format!("k{client}"), value)
    };
    let operations = (0..CLIENTS).flat_map(|client| (0..160).map(move |step| write_of(client, step)));
    let left = Fault::Leave { nodes: vec![n(1)], join: Disk::Kept };
    let plan = plan(&shape, vec![fault(1_200, 2_000, left)], operations.collect());
    let observed = observe(world, &plan);
    let load_ms = plan.phases.load_ms();
    let (mut refused, mut again) = (0, 0);
    for client in 0..CLIENTS {
        for seen in observed.on(&format!("k{client}"), load_ms) {
            assert_ne!(seen.kind(), EventType::Info, "in doubt: {seen:?}");
            assert_eq!(seen.begun.f, Function::Write);
            refused += u32::from(seen.kind() == EventType::Fail);
            again += u32::from(seen.kind() == EventType::Ok && seen.begun.time > 2_200 * 1_000_000);
        }
    }
    assert!(refused > 0, "it was not away");
    assert!(again > 0, "it has not come back");
}

/// Last-write-wins by the clocks of the coordinators.
fn clock(world: &dyn World) {
    let shape = Shape { write_level: "all", faults_ms: 4_500, ..Shape::default() };
    let skew = ClockSkew { node: n(1), offset_ns: -20_000_000_000, drift_ppb: 0 };
    let plan = plan(
        &shape,
        vec![fault(WARMUP_MS, 3_000, Fault::Clock { clocks: vec![skew] })],
        vec![
            write(1_500, 0, 2, "a", 1),
            write(2_000, 0, 1, "a", 2),
            read(2_500, 0, 3, "a"),
            write(4_000, 0, 1, "a", 3),
            read(4_500, 0, 3, "a"),
        ],
    );
    let observed = observe(world, &plan);
    let seen = observed.on("a", plan.phases.load_ms());
    assert!(seen.iter().all(|seen| seen.kind() == EventType::Ok), "{seen:#?}");
    assert_eq!(seen[2].ended.value, Some(1), "the later write was stamped by a clock that is behind");
    assert_eq!(seen[4].ended.value, Some(3), "the clock is right again");
    assert_eq!(observed.held("a"), everywhere(3));
}
