//! Faults on real processes in the real network: what the evidence says must be what the kernel does.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hearsay::faults::{FirewallKind, Injector};
use hearsay::plan::{Endpoint, Fault, PartitionShape, PlannedFault};
use hearsay::sandbox::Nodes;
use hearsay::sandbox::process::Here;

use crate::network::{node, socket};
use crate::support::{Case, Context, Outcome, until};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        ("a_partition_that_dropped_packets_bit", partition_bites),
        ("a_partition_without_traffic_did_not_bite", partition_without_traffic),
        ("overlapping_partitions_heal_one_by_one", overlapping_partitions),
    ]
}

fn injector() -> Injector {
    let firewall = FirewallKind::Nftables.open(1_000).expect("the firewall");
    let (nodes, _) = Nodes::new(Arc::new(Here), Arc::new(|_| Command::new("true")), BTreeMap::new());
    Injector::new(firewall, nodes)
}

fn partition(id: &str, blocked: &[(Endpoint, Endpoint)]) -> PlannedFault {
    let fault = Fault::Partition { shape: PartitionShape::IsolateOne, blocked: blocked.to_vec() };
    PlannedFault { id: id.to_string(), at_ms: 0, duration_ms: 1, fault }
}

fn send(context: &Context, from: Endpoint, to: Endpoint) {
    let target = socket(context, to);
    socket(context, from).send_to(b"x", target.local_addr().expect("an address")).expect("sending");
}

fn arrives(context: &Context, from: Endpoint, to: Endpoint) -> bool {
    let target = socket(context, to);
    target.set_read_timeout(Some(Duration::from_millis(300))).expect("a read timeout");
    socket(context, from).send_to(b"x", target.local_addr().expect("an address")).expect("sending");
    target.recv(&mut [0; 8]).is_ok()
}

fn partition_bites(context: &Context) -> Outcome {
    let mut injector = injector();
    let fault = partition("f1", &[(node(1), node(2)), (node(2), node(1)), (node(1), node(3))]);
    let made = injector.inject(&fault).expect("injecting");
    assert_eq!((made.bit, made.healed), (None, None));
    assert_eq!(made.numbers["blocked_pairs"], 3);
    for _ in 0..3 {
        send(context, node(1), node(2));
    }
    send(context, node(2), node(1));
    until("no way through", || if arrives(context, node(1), node(2)) { Err("it arrived".to_string()) } else { Ok(()) });
    let healed = injector.heal(&fault).expect("healing");
    assert_eq!((healed.bit, healed.healed), (Some(true), Some(true)));
    assert!(healed.numbers["packets_dropped"] >= 5, "{healed:?}");
    assert_eq!(healed.numbers["pairs_without_drops"], 1);
    assert!(healed.sentences.iter().any(|sentence| sentence.contains("n1 to n3")), "{:?}", healed.sentences);
    assert!(arrives(context, node(1), node(2)), "healed, yet blocked");
    Outcome::Passed
}

fn partition_without_traffic(_context: &Context) -> Outcome {
    let mut injector = injector();
    let fault = partition("f1", &[(node(150), node(151))]);
    injector.inject(&fault).expect("injecting");
    let healed = injector.heal(&fault).expect("healing");
    assert_eq!((healed.bit, healed.healed), (Some(false), Some(true)), "{healed:?}");
    Outcome::Passed
}

fn overlapping_partitions(context: &Context) -> Outcome {
    let mut injector = injector();
    let first = partition("f1", &[(node(1), node(2)), (node(1), node(3))]);
    let second = partition("f2", &[(node(1), node(2)), (Endpoint::Clients, node(1))]);
    injector.inject(&first).expect("injecting");
    send(context, node(1), node(2));
    injector.inject(&second).expect("injecting");
    assert!(!arrives(context, Endpoint::Clients, node(1)));
    let healed = injector.heal(&first).expect("healing");
    assert_eq!((healed.bit, healed.healed), (Some(true), Some(true)));
    assert!(arrives(context, node(1), node(3)), "only the first partition blocked this");
    assert!(!arrives(context, node(1), node(2)), "the second partition still blocks this");
    let healed = injector.heal(&second).expect("healing");
    assert_eq!((healed.bit, healed.healed), (Some(true), Some(true)));
    // The packet of before its time is not counted: one of each, clients to n1 and n1 to n2.
    assert_eq!(healed.numbers["packets_dropped"], 2, "{healed:?}");
    assert!(arrives(context, node(1), node(2)) && arrives(context, Endpoint::Clients, node(1)));
    Outcome::Passed
}
