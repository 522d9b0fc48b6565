//! What shares a link: lanes while one of them has more to send than the line takes, and datagrams beside streams.

use hearsay::plan::{Distribution, Endpoint, Fault, LinkConditions, LinkScope, PlannedFault, PlannedOperation};
use hearsay_checkers::EventType;

use crate::support::{Observed, Sample, Shape, World, everywhere, fault, n, observe, plan, read, write};

fn links(pairs: &[(u16, u16)], conditions: LinkConditions) -> Fault {
    let ends = |&(from, to): &(u16, u16)| (Endpoint::Node(n(from)), Endpoint::Node(n(to)));
    Fault::Links { scope: LinkScope::RandomPairs, impaired: pairs.iter().map(ends).collect(), conditions }
}

/// How long operations on these keys took, milliseconds, in order of length; every one of them succeeded.
fn latencies(observed: &Observed, prefix: &str, load_ms: u64) -> Vec<u64> {
    let of_them = observed.operations.iter().filter(|seen| seen.begun.key.starts_with(prefix));
    let mut took: Vec<u64> = of_them
        .filter(|seen| seen.begun.time < load_ms * 1_000_000)
        .map(|seen| {
            assert_eq!(seen.kind(), EventType::Ok, "{} waits too long: {}", seen.begun.key, seen.error());
            seen.took_ms()
        })
        .collect();
    took.sort_unstable();
    took
}

/// n3 lost its disk and fetches everything over lines of 2 Mbit/s, in frames of a quarter of a megabyte, each a second long.
/// Writes that need its acknowledgement meanwhile take the time of an idle line, and of what is on the line already: one part of
/// a frame, or the packets that wait at the line for a tenth of a second at most. Heartbeats come as they should.
///
/// The writes take three quarters of the line from n1. A link that sends first what came first keeps them waiting, and so does one
/// that gives each lane its turn: half of the line is not enough for them.
pub(crate) fn lane_order(world: &dyn World) {
    const KEYS: u64 = 1_600;
    const CLIENTS: u64 = 8;
    /// Of these writes a hundred and eighty begin in a second, a kilobyte each. As many clients: none of them waits for another.
    const HEAVY: u64 = 360;
    const NARROW: LinkConditions = LinkConditions {
        latency_ms: 0,
        jitter_ms: 0,
        distribution: Distribution::Uniform,
        loss_per_million: 0,
        duplicate_per_million: 0,
        reorder_per_million: 0,
        bandwidth_bytes_per_s: 250_000,
        queue_ms: 100,
    };
    /// On the line already, and a busy machine.
    const IN_FRONT_MS: u64 = 300;
    const BUSY_MS: std::ops::Range<u64> = 5_200..7_200;
    let shape = Shape {
        write_level: "all",
        merkle_interval_ms: 200,
        faults_ms: 15_000,
        client_timeout_ms: 2_000,
        clients: u32::try_from(CLIENTS + HEAVY).expect("few clients"),
        ..Shape::default()
    };
    let filling = (0..KEYS).map(|at| {
        // A long key, as the bytes that are to be moved.
        let key = format!("{at:0>1000}");
        write(200 + at / CLIENTS * 15, (at % CLIENTS) as u32, (at % 2 + 1) as u16, &key, at + 1)
    });
    let busy_for_ms = BUSY_MS.end - BUSY_MS.start;
    let heavy = (0..HEAVY).map(|at| {
        let key = format!("heavy{at:0>995}");
        write(BUSY_MS.start + at * busy_for_ms / HEAVY, (CLIENTS + at) as u32, 1, &key, 200_000 + at)
    });
    let probe = |prefix: &str, at_ms: u64| write(at_ms, 0, 1, &format!("{prefix}{at_ms}"), 100_000 + at_ms);
    let mut operations: Vec<PlannedOperation> = filling.collect();
    operations.extend(heavy);
    operations.extend(BUSY_MS.step_by(100).map(|at_ms| probe("busy", at_ms)));
    operations.extend((13_500..14_500).step_by(100).map(|at_ms| probe("idle", at_ms)));
    let wipe = fault(4_300, 4_500, Fault::Wipe { node: n(3) });
    let narrow = PlannedFault { id: "f2".to_owned(), ..fault(4_000, 14_800, links(&[(1, 3), (2, 3)], NARROW)) };
    let plan = plan(&shape, vec![narrow, wipe], operations);
    let observed = observe(world, &plan);
    let load_ms = plan.phases.load_ms();

    let ms = |sample: &Sample| sample.time / 1_000_000;
    let of_n3: Vec<&Sample> = observed.samples.iter().filter(|sample| sample.node == "n3").collect();
    let behind: Vec<_> =
        of_n3.iter().filter(|sample| ms(sample) >= BUSY_MS.start - 500 && (1..KEYS).contains(&sample.keys)).collect();
    let until_ms = behind.last().map_or(0, |sample| ms(sample));
    let meanwhile = BUSY_MS.step_by(100).filter(|at_ms| *at_ms < until_ms).count();
    assert!(meanwhile >= 8, "n3 lacks keys until {until_ms} ms only: the line was not full for long enough");
    if let (Some(first), Some(last)) = (behind.first(), behind.last()) {
        let heard = last.count("heartbeats_received") - first.count("heartbeats_received");
        let due = 2 * (ms(last) - ms(first)) / shape.heartbeat_interval_ms;
        assert!(heard >= due / 2, "{heard} of about {due} heartbeats came while the line was full");
    }
    let of_load = observed.operations.iter().filter(|seen| seen.begun.time < load_ms * 1_000_000);
    let came =
        of_load.filter(|seen| seen.begun.key.starts_with("heavy") && seen.kind() == EventType::Ok).count() as u64;
    assert!(came >= HEAVY * 9 / 10, "{came} of {HEAVY} writes came through beside bulk");
    let (busy, idle) = (latencies(&observed, "busy", load_ms), latencies(&observed, "idle", load_ms));
    let half = |took: &[u64]| took[took.len() / 2];
    let (half_busy, half_idle) = (half(&busy), half(&idle));
    assert!(
        half_busy <= half_idle + IN_FRONT_MS,
        "{half_busy} ms beside bulk, {half_idle} ms without: {busy:?}, {idle:?}"
    );
}

/// Three packets in ten are lost between the nodes. Of the heartbeats as many are, for good; of the writes on the streams none.
pub(crate) fn datagrams(world: &dyn World) {
    const LOST: LinkConditions = LinkConditions {
        latency_ms: 0,
        jitter_ms: 0,
        distribution: Distribution::Uniform,
        loss_per_million: 300_000,
        duplicate_per_million: 0,
        reorder_per_million: 0,
        bandwidth_bytes_per_s: 0,
        queue_ms: 0,
    };
    const ALL: [(u16, u16); 6] = [(1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)];
    let shape = Shape { heartbeat_interval_ms: 20, faults_ms: 7_000, ..Shape::default() };
    let writes = (0..50).map(|step| write(1_200 + 60 * step, 1, 1, &format!("k{step}"), step + 1));
    let warm = [read(100, 0, 1, "warm"), read(100, 1, 2, "warm")];
    let operations = warm.into_iter().chain(writes).collect();
    let plan = plan(&shape, vec![fault(1_000, 5_500, links(&ALL, LOST))], operations);
    let observed = observe(world, &plan);
    let (mut sent, mut received) = (0, 0);
    for node in ["n1", "n2", "n3"] {
        let inside = |sample: &&Sample| sample.node == node && (1_100_000_000..5_500_000_000).contains(&sample.time);
        let samples: Vec<&Sample> = observed.samples.iter().filter(inside).collect();
        assert!(samples.len() >= 3, "{node} was looked at {} times", samples.len());
        let grown = |name: &str| samples[samples.len() - 1].count(name) - samples[0].count(name);
        sent += grown("transport_datagrams_sent");
        received += grown("transport_datagrams_received");
    }
    assert!(sent >= 300, "{sent} datagrams");
    let share = 100 - 100 * received.min(sent) / sent;
    assert!((15..45).contains(&share), "{share} % of {sent} datagrams were lost, and 30 % of the packets");
    for step in 0..50 {
        assert_eq!(observed.held(&format!("k{step}")), everywhere(step + 1), "a stream lost a write");
    }
}
