//! One conformance test for every firewall.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hearsay::faults::firewall::pairs_max;
use hearsay::faults::iptables::Iptables;
use hearsay::faults::{Firewall, FirewallError, FirewallKind, Pair};
use hearsay::plan::Endpoint;
use hearsay::sandbox::addresses;

use crate::NODES;
use crate::network::{node, socket};
use crate::support::{Case, Context, Outcome, until};

const CHANGES_UNDER_FLOOD: usize = 200;
const PACKETS_UNDER_FLOOD: u64 = 30_000;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        ("firewall_conformance_nftables", |context| conforms(context, FirewallKind::Nftables)),
        ("firewall_conformance_iptables", |context| match Iptables::installed() {
            true => conforms(context, FirewallKind::Iptables),
            false if std::env::var_os("HEARSAY_REQUIRE_IPTABLES").is_some_and(|value| value == "1") => {
                panic!("HEARSAY_REQUIRE_IPTABLES=1, but iptables is not installed")
            }
            false => Outcome::Skipped("iptables is not installed (apt-get install iptables)"),
        }),
        ("nftables_counts_every_packet_over_changes", counts_every_packet),
    ]
}

fn conforms(context: &Context, kind: FirewallKind) -> Outcome {
    let mut firewall = kind.open(pairs_max(usize::from(NODES))).expect("opening the firewall");
    assert!(firewall.blocked().expect("reading it back").is_empty(), "an opened firewall blocks nothing");
    blocks_exactly(context, firewall.as_mut());
    leaks_nothing(context, firewall.as_mut());
    takes_the_largest_partitions(firewall.as_mut());
    refuses_too_many(kind);
    // Whoever opens it after a harness that failed begins with nothing.
    let mut firewall = kind.open(16).expect("opening the firewall again");
    firewall.apply(&BTreeSet::from([pair(1, 2)])).expect("blocking");
    let mut firewall = kind.open(16).expect("opening the firewall a third time");
    assert!(firewall.blocked().expect("reading it back").is_empty());
    Outcome::Passed
}

fn pair(from: u16, to: u16) -> Pair {
    (addresses::endpoint(node(from)), addresses::endpoint(node(to)))
}

/// Every directed pair of five ends is probed under every set: blocked ones are counted by the kernel and don't arrive, the
/// others arrive.
fn blocks_exactly(context: &Context, firewall: &mut dyn Firewall) {
    let ends = [node(1), node(2), node(3), node(200), Endpoint::Clients];
    let sockets = ends.map(|end| socket(context, end));
    let all: BTreeSet<Pair> =
        (0..5).flat_map(|a| (0..5).filter(move |b| a != *b).map(move |b| (a, b))).map(ends_of(&ends)).collect();
    let isolated: BTreeSet<Pair> =
        all.iter().filter(|(a, b)| [a, b].contains(&&addresses::endpoint(node(3)))).copied().collect();
    let both_ways = BTreeSet::from([pair(1, 2), pair(2, 1), (addresses::CLIENTS, pair(1, 2).0)]);
    let sets = [BTreeSet::from([pair(1, 2)]), both_ways, isolated, all, BTreeSet::from([pair(2, 1)]), BTreeSet::new()];
    for (round, blocked) in sets.into_iter().enumerate() {
        firewall.apply(&blocked).expect("applying");
        assert_eq!(firewall.blocked().expect("reading it back"), blocked, "round {round}");
        let before = firewall.drops().expect("counters");
        let mut passing = Vec::new();
        for (a, from) in sockets.iter().enumerate() {
            for (b, to) in sockets.iter().enumerate().filter(|(b, _)| *b != a) {
                from.send_to(&[round as u8, a as u8], to.local_addr().expect("an address")).expect("sending");
                if !blocked.contains(&ends_of(&ends)((a, b))) {
                    passing.push((a, b));
                }
            }
        }
        for (b, to) in sockets.iter().enumerate() {
            let mut wanted: BTreeSet<usize> =
                passing.iter().filter(|(_, to)| *to == b).map(|(from, _)| *from).collect();
            while !wanted.is_empty() {
                let mut buffer = [0; 8];
                to.recv(&mut buffer)
                    .unwrap_or_else(|error| panic!("round {round}: {} got nothing from {wanted:?}: {error}", ends[b]));
                assert_eq!(usize::from(buffer[0]), round, "{} got a packet of an earlier round", ends[b]);
                assert!(wanted.remove(&usize::from(buffer[1])), "round {round}: {} got a blocked packet", ends[b]);
            }
        }
        // Once the kernel has counted a packet as dropped, it can't arrive any more.
        until("the drop counters", || {
            let drops = firewall.drops().map_err(|error| error.to_string())?;
            let counted = |pair| drops.get(pair).unwrap_or(&0) - before.get(pair).unwrap_or(&0);
            match blocked.iter().find(|pair| counted(pair) != 1) {
                None => Ok(()),
                Some(pair) => Err(format!("round {round}: {pair:?} counted {}", counted(pair))),
            }
        });
        assert!(sockets.iter().all(is_drained), "round {round}: a blocked packet arrived");
    }
}

fn ends_of(ends: &[Endpoint; 5]) -> impl Fn((usize, usize)) -> Pair {
    let addresses = ends.map(addresses::endpoint);
    move |(a, b)| (addresses[a], addresses[b])
}

fn is_drained(socket: &UdpSocket) -> bool {
    socket.set_nonblocking(true).expect("non-blocking");
    let empty = matches!(socket.recv(&mut [0; 8]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    socket.set_nonblocking(false).expect("blocking");
    empty
}

/// A flood on a pair that stays blocked, while everything else changes: nothing comes through.
fn leaks_nothing(context: &Context, firewall: &mut dyn Firewall) {
    let sets = [
        BTreeSet::from([pair(1, 2), pair(2, 3), pair(3, 1)]),
        (2..=20).map(|to| pair(1, to)).collect::<BTreeSet<Pair>>(),
    ];
    let (from, to) = (socket(context, node(1)), socket(context, node(2)));
    let before = firewall.drops().expect("counters");
    firewall.apply(&sets[0]).expect("applying");
    let (changes, sent) = under_flood(&from, to.local_addr().expect("an address"), |change| {
        firewall.apply(&sets[(change + 1) % 2]).expect("changing");
    });
    let drops = until("the flood's drops", || match firewall.drops() {
        Ok(drops) => drops
            .get(&pair(1, 2))
            .map(|drops| drops - before.get(&pair(1, 2)).unwrap_or(&0))
            .filter(|drops| *drops > 0)
            .ok_or_else(|| "no drops".to_string()),
        Err(error) => Err(error.to_string()),
    });
    assert!(drops <= sent, "{drops} drops counted of {sent} packets sent");
    assert!(is_drained(&to), "a packet of a pair that was blocked before and after a change came through");
    println!("  {}: {changes} changes under {sent} packets, none came through", firewall.name());
    firewall.apply(&BTreeSet::new()).expect("unblocking");
    from.send_to(b"now", to.local_addr().expect("an address")).expect("sending");
    let mut buffer = [0; 8];
    assert_eq!(to.recv(&mut buffer).expect("a packet after the heal"), 3);
}

/// Sends as fast as possible while changes are made, until there were enough of both; how many of each.
fn under_flood(from: &UdpSocket, to: SocketAddr, mut change: impl FnMut(usize)) -> (usize, u64) {
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let changes = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                sent.fetch_add(u64::from(from.send_to(b"flood", to).is_ok()), Ordering::Relaxed);
            }
        });
        let mut changes = 0;
        while changes < CHANGES_UNDER_FLOOD || sent.load(Ordering::Relaxed) < PACKETS_UNDER_FLOOD {
            change(changes);
            changes += 1;
        }
        stop.store(true, Ordering::Relaxed);
        changes
    });
    (changes, sent.into_inner())
}

fn takes_the_largest_partitions(firewall: &mut dyn Firewall) {
    let ring = majorities_ring(0);
    assert!(ring.len() > 19_000);
    for (what, set) in [("first ring", ring), ("another ring", majorities_ring(7)), ("heal", BTreeSet::new())] {
        let began = Instant::now();
        firewall.apply(&set).expect("applying");
        let took = began.elapsed();
        assert!(firewall.blocked().expect("reading it back") == set, "{what}: the kernel has another set");
        println!("  {}: {what} of {} pairs in {:.1} ms", firewall.name(), set.len(), took.as_secs_f64() * 1e3);
        // Generous: this is no measurement, but seconds would be a defect.
        assert!(took < Duration::from_secs(5), "{what} took {took:?}");
    }
}

/// Every node sees the half of the ring that lies around it; the shift makes another one of the same size.
pub(crate) fn majorities_ring(shift: u16) -> BTreeSet<Pair> {
    let away = |a: u16, b: u16| (a + NODES - b) % NODES;
    let seat = |number: u16| number * 3 % NODES + if number.is_multiple_of(2) { shift } else { 0 };
    (1..=NODES)
        .flat_map(|a| (1..=NODES).map(move |b| (a, b)))
        .filter(|&(a, b)| {
            a != b && away(seat(a) % NODES, seat(b) % NODES).min(away(seat(b) % NODES, seat(a) % NODES)) > NODES / 4
        })
        .map(|(a, b)| pair(a, b))
        .collect()
}

fn refuses_too_many(kind: FirewallKind) {
    let mut small = kind.open(2).expect("opening a small firewall");
    let two = BTreeSet::from([pair(1, 2), pair(2, 1)]);
    small.apply(&two).expect("two pairs fit");
    let three = BTreeSet::from([pair(1, 2), pair(2, 1), pair(1, 3)]);
    let refused = small.apply(&three);
    assert!(matches!(refused, Err(FirewallError::TooMany { wanted: 3, most: 2 })), "{refused:?}");
    assert_eq!(small.blocked().expect("reading it back"), two, "a refused change changed something");
    let others = BTreeSet::from([pair(3, 4), pair(4, 3)]);
    small.apply(&others).expect("a full set can be replaced by another full one");
    assert_eq!(small.blocked().expect("reading it back"), others);
}

/// One packet for each change, none is missing, and the count outlives the block.
fn counts_every_packet(context: &Context) -> Outcome {
    let mut firewall = FirewallKind::Nftables.open(64).expect("opening the firewall");
    let (from, to) = (socket(context, node(1)), socket(context, node(2)));
    for change in 0..50 {
        let other = 3 + change % 2;
        firewall.apply(&BTreeSet::from([pair(1, 2), pair(1, other)])).expect("changing");
        from.send_to(b"count", to.local_addr().expect("an address")).expect("sending");
    }
    until("fifty drops", || {
        let drops = firewall.drops().map_err(|error| error.to_string())?.get(&pair(1, 2)).copied().unwrap_or(0);
        if drops == 50 { Ok(()) } else { Err(format!("{drops} drops counted")) }
    });
    firewall.apply(&BTreeSet::new()).expect("unblocking");
    assert_eq!(firewall.drops().expect("counters")[&pair(1, 2)], 50);
    Outcome::Passed
}
