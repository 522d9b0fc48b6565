//! Bad links in the real network: what the evidence says must be what packets got.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearsay::faults::{FaultError, FirewallKind, Injector};
use hearsay::links::BadLinks;
use hearsay::plan::{Endpoint, Fault, LinkConditions, LinkScope, PartitionShape, PlannedFault};
use hearsay::sandbox::Nodes;
use hearsay::sandbox::process::Here;

use crate::network::{node, socket};
use crate::support::{Case, Context, Outcome, PATIENCE, until};

const WITHOUT: &str = "this user gets no TUN device (chmod 666 /dev/net/tun)";
/// On a machine that is busy a good link may take so long.
const QUICK: Duration = Duration::from_millis(25);

pub(crate) fn cases() -> Vec<Case> {
    vec![
        ("a_bad_link_holds_packets_one_way_and_is_good_again", |c| with_links(c, holds_one_way)),
        ("a_bad_link_loses_doubles_and_reorders_as_planned", |c| with_links(c, loses_doubles_reorders)),
        ("a_narrow_link_takes_its_time", |c| with_links(c, narrow)),
        ("a_held_packet_does_not_cross_a_new_partition", |c| with_links(c, held_packet_meets_partition)),
        ("what_is_held_at_the_healing_leaves_at_once", |c| with_links(c, held_at_the_healing)),
        ("clients_can_have_bad_links_and_idle_ones_did_not_bite", |c| with_links(c, clients_and_idle_links)),
        ("an_emulator_that_ended_is_an_error", |c| with_links(c, ended_emulator)),
        ("without_a_device_bad_links_are_left_out", left_out),
    ]
}

fn injector(links: Result<BadLinks, String>) -> Injector {
    let firewall = FirewallKind::Nftables.open(1_000).expect("the firewall");
    let (nodes, _) = Nodes::new(Arc::new(Here), Arc::new(|_| Command::new("true")), BTreeMap::new());
    Injector::new(firewall, nodes).with_links(links)
}

fn with_links(context: &Context, test: fn(&Context, Injector)) -> Outcome {
    match BadLinks::open(context.shared_network(), 7) {
        Ok(links) => {
            test(context, injector(Ok(links)));
            Outcome::Passed
        }
        Err(reason) if nix::unistd::Uid::effective().is_root() && real_root() => panic!("{reason}"),
        Err(reason) => {
            assert!(reason.contains("/dev/net/tun") && reason.contains('`'), "no mend: {reason}");
            Outcome::Skipped(WITHOUT)
        }
    }
}

/// Root of the machine, not only of its own user namespace.
fn real_root() -> bool {
    std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.trim_end().ends_with("4294967295"))
}

fn bad(id: &str, impaired: &[(Endpoint, Endpoint)], conditions: LinkConditions) -> PlannedFault {
    let fault = Fault::Links { scope: LinkScope::Nodes, impaired: impaired.to_vec(), conditions };
    PlannedFault { id: id.to_string(), at_ms: 0, duration_ms: 1, fault }
}

fn latency(latency_ms: u64) -> LinkConditions {
    LinkConditions { latency_ms, ..LinkConditions::default() }
}

struct Way {
    from: UdpSocket,
    to: UdpSocket,
}

impl Way {
    fn of(context: &Context, from: Endpoint, to: Endpoint) -> Way {
        Way { from: socket(context, from), to: socket(context, to) }
    }

    fn send(&self, number: u16) {
        self.from.send_to(&number.to_be_bytes(), self.to.local_addr().expect("an address")).expect("sending");
    }

    /// What arrives until nothing has for so long.
    fn received(&self, silence: Duration) -> Vec<u16> {
        self.to.set_read_timeout(Some(silence)).expect("a read timeout");
        let mut numbers = Vec::new();
        let mut buffer = [0; 2];
        loop {
            match self.to.recv(&mut buffer) {
                Ok(_) => numbers.push(u16::from_be_bytes(buffer)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return numbers,
                Err(error) => panic!("receiving: {error}"),
            }
        }
    }

    /// How long one packet takes.
    fn takes(&self) -> Duration {
        self.to.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        let began = Instant::now();
        self.send(0);
        self.to.recv(&mut [0; 2]).expect("the packet");
        began.elapsed()
    }

    /// The quickest of a few, as machines are busy.
    fn is_quick(&self) -> bool {
        (0..20).any(|_| self.takes() < QUICK)
    }
}

fn holds_one_way(context: &Context, mut injector: Injector) {
    let (there, back, other) =
        (Way::of(context, node(1), node(2)), Way::of(context, node(2), node(1)), Way::of(context, node(1), node(3)));
    let fault = bad("f1", &[(node(1), node(2))], latency(60));
    let made = injector.inject(&fault).expect("injecting");
    assert_eq!((made.bit, made.healed, made.left_out.as_ref()), (None, None, None), "{made:?}");
    assert!(made.numbers["probe_before_us"] < 25_000, "{made:?}");
    for _ in 0..5 {
        let took = there.takes();
        assert!(took >= Duration::from_millis(60), "{took:?}");
    }
    assert!(back.is_quick() && other.is_quick(), "only one direction of one pair is bad");
    let healed = injector.heal(&fault).expect("healing");
    assert_eq!((healed.bit, healed.healed), (Some(true), Some(true)), "{healed:?}");
    assert_eq!((healed.numbers["packets"], healed.numbers["packets_held"]), (5, 5), "{healed:?}");
    assert!((60_000..1_000_000).contains(&healed.numbers["delay_p50_us"]), "{healed:?}");
    assert!(there.is_quick());
}

fn loses_doubles_reorders(context: &Context, mut injector: Injector) {
    const COUNT: u16 = 1_000;
    let way = Way::of(context, node(1), node(2));
    let conditions = LinkConditions {
        latency_ms: 5,
        jitter_ms: 20,
        loss_per_million: 200_000,
        duplicate_per_million: 100_000,
        ..LinkConditions::default()
    };
    let fault = bad("f1", &[(node(1), node(2))], conditions);
    injector.inject(&fault).expect("injecting");
    let mut received = Vec::new();
    // A socket's buffer is small: some at a time.
    for number in 0..COUNT {
        way.send(number);
        if number % 100 == 99 {
            received.extend(way.received(Duration::from_millis(200)));
        }
    }
    let healed = injector.heal(&fault).expect("healing");
    assert_eq!((healed.bit, healed.healed), (Some(true), Some(true)), "{healed:?}");
    let distinct: BTreeSet<u16> = received.iter().copied().collect();
    let lost = usize::from(COUNT) - distinct.len();
    let doubled = received.len() - distinct.len();
    let overtaken = received.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!((140..=260).contains(&lost), "{lost} lost");
    assert!((50..=120).contains(&doubled), "{doubled} doubled");
    assert!(overtaken > 50, "{overtaken} overtaken");
    assert_eq!(healed.numbers["packets"], u64::from(COUNT));
    assert_eq!((healed.numbers["packets_lost"], healed.numbers["packets_overflowed"]), (lost as u64, 0));
    assert_eq!(healed.numbers["packets_duplicated"], doubled as u64);
    assert!(healed.numbers["packets_reordered"] > 0, "{healed:?}");
}

fn narrow(context: &Context, mut injector: Injector) {
    let way = Way::of(context, node(1), node(2));
    // 20 packets of 30 bytes at 8 kB/s: 75 ms.
    let narrow = LinkConditions { bandwidth_bytes_per_s: 8_000, ..LinkConditions::default() };
    let fault = bad("f1", &[(node(1), node(2))], narrow);
    injector.inject(&fault).expect("injecting");
    let began = Instant::now();
    (0..20).for_each(|number| way.send(number));
    way.to.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    (0..20).for_each(|_| {
        way.to.recv(&mut [0; 2]).expect("a packet");
    });
    assert!(began.elapsed() >= Duration::from_millis(70), "{:?}", began.elapsed());
    assert_eq!(injector.heal(&fault).expect("healing").bit, Some(true));
}

fn held_packet_meets_partition(context: &Context, mut injector: Injector) {
    let way = Way::of(context, node(1), node(2));
    let slow = bad("f1", &[(node(1), node(2))], latency(500));
    let cut = Fault::Partition { shape: PartitionShape::OneWay, blocked: vec![(node(1), node(2))] };
    let cut = PlannedFault { id: "f2".to_string(), at_ms: 0, duration_ms: 1, fault: cut };
    injector.inject(&slow).expect("injecting");
    let began = Instant::now();
    (0..10).for_each(|number| way.send(number));
    injector.inject(&cut).expect("injecting");
    assert!(began.elapsed() < Duration::from_millis(450), "the partition came too late to prove anything");
    assert_eq!(way.received(Duration::from_secs(1)), [] as [u16; 0], "a held packet crossed the partition");
    let healed = injector.heal(&cut).expect("healing");
    assert_eq!(healed.bit, Some(true));
    assert_eq!(healed.numbers["packets_dropped"], 10, "{healed:?}");
    way.send(11);
    assert_eq!(way.received(Duration::from_secs(1)), [11]);
    let healed = injector.heal(&slow).expect("healing");
    assert_eq!((healed.bit, healed.healed), (Some(true), Some(true)), "{healed:?}");
}

fn held_at_the_healing(context: &Context, mut injector: Injector) {
    let way = Way::of(context, node(1), node(2));
    let fault = bad("f1", &[(node(1), node(2)), (node(2), node(1))], latency(1_000));
    injector.inject(&fault).expect("injecting");
    let began = Instant::now();
    (0..10).for_each(|number| way.send(number));
    let healed = injector.heal(&fault).expect("healing");
    assert_eq!(healed.healed, Some(true), "{healed:?}");
    assert_eq!(way.received(Duration::from_millis(100)), (0..10).collect::<Vec<_>>(), "in their order");
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
}

fn clients_and_idle_links(context: &Context, mut injector: Injector) {
    let way = Way::of(context, Endpoint::Clients, node(3));
    let clients = bad("f1", &[(Endpoint::Clients, node(3))], latency(40));
    let idle = bad("f2", &[(node(4), node(5))], latency(40));
    injector.inject(&clients).expect("injecting");
    injector.inject(&idle).expect("injecting");
    assert!(way.takes() >= Duration::from_millis(40));
    assert_eq!(injector.heal(&clients).expect("healing").bit, Some(true));
    let healed = injector.heal(&idle).expect("healing");
    assert_eq!((healed.bit, healed.healed), (Some(false), Some(true)), "{healed:?}");
}

fn ended_emulator(context: &Context, mut injector: Injector) {
    let way = Way::of(context, node(1), node(2));
    let fault = bad("f1", &[(node(1), node(2))], latency(40));
    injector.inject(&fault).expect("injecting");
    if Command::new("ip").args(["link", "delete", "bad-links"]).status().is_err() {
        // Without the program, nobody here takes the device away; the fault heals as ever.
        injector.heal(&fault).expect("healing");
        return;
    }
    assert!(way.is_quick(), "without its device the fault is gone");
    let error =
        until("the end of the emulator", || match injector.inject(&bad("f2", &[(node(3), node(4))], latency(1))) {
            Err(error @ FaultError::Links { .. }) => Ok(error.to_string()),
            other => Err(format!("{other:?}")),
        });
    assert!(error.contains("became good by themselves") || error.contains("led through the emulator"), "{error}");
    assert!(matches!(injector.heal(&fault), Err(FaultError::Links { .. })));
}

fn left_out(context: &Context) -> Outcome {
    let mut injector = injector(Err("no device: get one".to_string()));
    let fault = bad("f1", &[(node(1), node(2))], latency(40));
    let made = injector.inject(&fault).expect("a fault that is left out is no error");
    assert_eq!((made.left_out.as_deref(), made.bit), (Some("no device: get one"), None));
    assert!(injector.in_force().is_empty());
    assert!(Way::of(context, node(1), node(2)).is_quick());
    Outcome::Passed
}
