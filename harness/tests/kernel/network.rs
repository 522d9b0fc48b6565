//! The star network.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::process::{Command, Stdio};

use hearsay::plan::Endpoint;
use hearsay::sandbox::addresses;
use hearsay_core::NodeId;

use crate::NODES;
use crate::support::{Case, Context, Outcome, PATIENCE};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        ("everybody_reaches_everybody_under_their_own_address", everybody_reaches_everybody),
        ("the_harness_reaches_every_node_and_is_reached", the_harness_reaches_every_node),
        ("processes_start_in_their_nodes_namespace", processes_start_in_their_namespace),
        ("an_unknown_node_is_an_error", unknown_node),
    ]
}

pub(crate) fn node(number: u16) -> Endpoint {
    Endpoint::Node(NodeId(number))
}

pub(crate) fn socket(context: &Context, end: Endpoint) -> UdpSocket {
    let socket = context.network().socket_at(end, 0).expect("a socket in the namespace");
    socket.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    socket
}

fn reaches(from: &UdpSocket, to: &UdpSocket, text: &str) {
    from.send_to(text.as_bytes(), to.local_addr().expect("an address")).expect("sending");
    let mut buffer = [0; 64];
    let (length, sender) = to.recv_from(&mut buffer).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(&buffer[..length], text.as_bytes());
    assert_eq!(sender, from.local_addr().expect("an address"), "{text}: the sender's address");
}

fn everybody_reaches_everybody(context: &Context) -> Outcome {
    let ends = [Endpoint::Clients, node(1), node(2), node(100), node(NODES)];
    let sockets = ends.map(|end| socket(context, end));
    for (from, a) in ends.iter().zip(&sockets) {
        for (to, b) in ends.iter().zip(&sockets) {
            if from != to {
                reaches(a, b, &format!("{from} to {to}"));
            }
        }
    }
    assert_eq!(
        context.network().clients_socket().expect("a socket").local_addr().expect("an address").ip(),
        addresses::CLIENTS
    );
    Outcome::Passed
}

fn the_harness_reaches_every_node(context: &Context) -> Outcome {
    let harness = UdpSocket::bind((context.network().harness_address(), 0)).expect("the harness's address");
    harness.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    // Unbound, so the route decides about the source address.
    let anywhere = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    for number in 1..=NODES {
        let there = socket(context, node(number));
        reaches(&harness, &there, &format!("harness to n{number}"));
        reaches(&there, &harness, &format!("n{number} to harness"));
        anywhere.send_to(b"?", there.local_addr().expect("an address")).expect("sending");
        let (_, sender) = there.recv_from(&mut [0; 8]).expect("a packet from the harness");
        assert_eq!(sender.ip(), addresses::HARNESS);
    }
    Outcome::Passed
}

fn processes_start_in_their_namespace(context: &Context) -> Outcome {
    let mut seen = BTreeSet::new();
    let own = std::fs::read_link("/proc/self/ns/net").expect("own namespace");
    seen.insert(own.display().to_string());
    for number in 1..=3 {
        let mut command = Command::new("readlink");
        command.arg("/proc/self/ns/net").stdout(Stdio::piped());
        let child = context.network().spawn_in_node(NodeId(number), command).expect("starting readlink");
        let output = child.wait_with_output().expect("its output");
        assert!(seen.insert(String::from_utf8_lossy(&output.stdout).trim().to_string()), "n{number} shares: {seen:?}");
    }
    // The thread that starts processes changes namespaces, and nobody else.
    assert_eq!(std::fs::read_link("/proc/thread-self/ns/net").expect("own namespace"), own);
    Outcome::Passed
}

fn unknown_node(context: &Context) -> Outcome {
    let error = context.network().socket_at(node(NODES + 1), 0).expect_err("no such node");
    assert!(error.to_string().contains("n201 is not part of this network"), "{error}");
    Outcome::Passed
}
