//! The star network: the sandbox's own network namespace is the router, every node has a namespace of its own, and so have
//! the clients.
//!
//! ```text
//!   node n1 [eth0] ----- [n1] router [clients] ----- [eth0] all clients
//!   node n2 [eth0] ----- [n2]  (lo: the harness's own address)
//! ```
//!
//! Every packet between two nodes, or between clients and nodes, passes the router's forward hook, where partitions are
//! made. Traffic of the harness itself (status calls, proof of healing) starts in the router and is never forwarded.
//!
//! Made over netlink in one buffer a node; indexes, hardware addresses and neighbours are chosen beforehand, so nothing is asked for and no
//! ARP is ever sent. Invariants: a namespace lives exactly as long as this value or a process in it, and has no name on
//! the host. Not here: which packets are dropped ([`crate::faults::firewall`]).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::process::{Child, Command};

use hearsay_core::NodeId;
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::packet_core::{NetlinkPayload, NetlinkSerializable};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::RouteNetlinkMessage as Change;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute};
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::{AddressMessageBuilder, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::addresses;
use super::enter::{Sandbox, without_ipv6};
use super::netlink::{Batch, CREATE, EXCL, Netlink, NetlinkError};
use crate::plan::Endpoint;

const NAMESPACE: &str = "/proc/thread-self/ns/net";
const LOOPBACK_INDEX: u32 = 1;
const FAR_INDEX: u32 = 2;
const FAR_NAME: &str = "eth0";
/// The router's side of this many nodes goes into one buffer.
const ROUTER_BATCH_NODES: usize = 64;

/// A network that could not be made or used.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct NetworkError {
    what: String,
    source: io::Error,
}

impl NetworkError {
    fn new(what: impl Into<String>, source: impl Into<io::Error>) -> NetworkError {
        NetworkError { what: what.into(), source: source.into() }
    }

    fn netlink(what: impl Into<String>, source: NetlinkError) -> NetworkError {
        let what = match nix::errno::Errno::from_raw(source.errno()) {
            nix::errno::Errno::EOPNOTSUPP => format!("{} (this kernel has no veth: `modprobe veth`)", what.into()),
            _ => what.into(),
        };
        NetworkError::new(what, io::Error::other(source))
    }
}

/// The network of one sandbox. Dropping it closes the namespaces that no process is in.
#[derive(Debug)]
pub struct Network {
    spokes: BTreeMap<Endpoint, File>,
}

impl Network {
    /// Makes the network for these nodes, and the clients' namespace. Once per sandbox.
    pub fn create(_inside: &Sandbox, nodes: &[NodeId]) -> Result<Network, NetworkError> {
        let router = File::open(NAMESPACE).map_err(|e| NetworkError::new("can't open the router's namespace", e))?;
        let ends: Vec<Endpoint> =
            std::iter::once(Endpoint::Clients).chain(nodes.iter().copied().map(Endpoint::Node)).collect();
        harness_address().map_err(|e| NetworkError::netlink("can't give the harness its address", e))?;
        // A thread of its own makes the namespaces: it is in the last of them when it ends, and nobody else is disturbed.
        let made: Result<BTreeMap<_, _>, _> = std::thread::scope(|scope| {
            let spokes = || ends.iter().map(|&end| Ok((end, spoke(end, router.as_raw_fd())?))).collect();
            scope.spawn(spokes).join().expect("making namespaces does not panic")
        });
        let spokes = made?;
        for ends in ends.chunks(ROUTER_BATCH_NODES) {
            let mut batch = Batch::default();
            for &end in ends {
                router_side(&mut batch, end);
            }
            let last = batch.len() - 1;
            Netlink::open(NETLINK_ROUTE)
                .and_then(|mut netlink| netlink.execute(batch, last))
                .map_err(|e| NetworkError::netlink("can't set up the router", e))?;
        }
        Ok(Network { spokes })
    }

    /// Address of a node, whether it is part of this network or not.
    pub fn node_address(&self, node: NodeId) -> Ipv4Addr {
        addresses::node(node)
    }

    /// Address of all clients.
    pub fn client_address(&self) -> Ipv4Addr {
        addresses::CLIENTS
    }

    /// Address of the harness, reachable from every node, outside all partitions.
    pub fn harness_address(&self) -> Ipv4Addr {
        addresses::HARNESS
    }

    /// Starts a process in a node's namespace.
    pub fn spawn_in_node(&self, node: NodeId, command: Command) -> io::Result<Child> {
        self.spawn_at(Endpoint::Node(node), command)
    }

    /// Starts a process in the namespace of a node or of the clients.
    pub fn spawn_at(&self, end: Endpoint, mut command: Command) -> io::Result<Child> {
        self.within(end, move || command.spawn())
    }

    /// A socket in the clients' namespace, bound to its address and a free port. It stays there, whichever thread uses it.
    pub fn clients_socket(&self) -> io::Result<UdpSocket> {
        self.socket_at(Endpoint::Clients, 0)
    }

    /// A socket in the namespace of a node or of the clients, bound to its address.
    pub fn socket_at(&self, end: Endpoint, port: u16) -> io::Result<UdpSocket> {
        self.within(end, || UdpSocket::bind((addresses::endpoint(end), port)))
    }

    /// Runs something in a thread inside another namespace: what it opens and whom it starts belongs there.
    fn within<T: Send>(&self, end: Endpoint, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let Some(namespace) = self.spokes.get(&end) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{end} is not part of this network")));
        };
        std::thread::scope(|scope| {
            let inside = || {
                setns(namespace, CloneFlags::CLONE_NEWNET)?;
                work()
            };
            std::thread::Builder::new().spawn_scoped(scope, inside)?.join().expect("work in a namespace does not panic")
        })
    }
}

/// One spoke: a fresh namespace for this thread, the pair of interfaces, and everything on its far side.
fn spoke(end: Endpoint, router: RawFd) -> Result<File, NetworkError> {
    let failed = |what: &str| format!("{what} of {end}");
    unshare(CloneFlags::CLONE_NEWNET).map_err(|e| NetworkError::new(failed("can't make the network namespace"), e))?;
    without_ipv6();
    let namespace = File::open(NAMESPACE).map_err(|e| NetworkError::new(failed("can't open the namespace"), e))?;
    let mut batch = Batch::default();
    push(&mut batch, Change::NewLink(pair(end, router)), CREATE | EXCL);
    // Not up at once: a pair made with the flag set answers ENOTCONN, its other half not being there yet.
    push(&mut batch, up(LOOPBACK_INDEX), 0);
    push(&mut batch, up(FAR_INDEX), 0);
    push(&mut batch, address(FAR_INDEX, addresses::endpoint(end)), CREATE | EXCL);
    push(&mut batch, neighbour(FAR_INDEX, addresses::HARNESS, addresses::hardware(end, true)), CREATE | EXCL);
    push(&mut batch, route(FAR_INDEX, addresses::HARNESS, addresses::endpoint(end)), CREATE | EXCL);
    let default = RouteMessageBuilder::<Ipv4Addr>::new().gateway(addresses::HARNESS).output_interface(FAR_INDEX);
    push(&mut batch, Change::NewRoute(default.build()), CREATE | EXCL);
    let last = batch.len() - 1;
    Netlink::open(NETLINK_ROUTE)
        .and_then(|mut netlink| netlink.execute(batch, last))
        .map_err(|e| NetworkError::netlink(failed("can't set up the network"), e))?;
    Ok(namespace)
}

fn router_side(batch: &mut Batch, end: Endpoint) {
    let (index, far) = (addresses::interface_index(end), addresses::endpoint(end));
    push(batch, up(index), 0);
    push(batch, neighbour(index, far, addresses::hardware(end, false)), CREATE | EXCL);
    push(batch, route(index, far, addresses::HARNESS), CREATE | EXCL);
}

fn harness_address() -> Result<(), NetlinkError> {
    let mut batch = Batch::default();
    push(&mut batch, address(LOOPBACK_INDEX, addresses::HARNESS), CREATE | EXCL);
    Netlink::open(NETLINK_ROUTE)?.execute(batch, 0)
}

fn pair(end: Endpoint, router: RawFd) -> rtnetlink::packet_route::link::LinkMessage {
    let near = LinkMessageBuilder::<LinkUnspec>::new()
        .name(addresses::interface(end))
        .index(addresses::interface_index(end))
        .address(addresses::hardware(end, true).to_vec())
        .append_extra_attribute(LinkAttribute::NetNsFd(router))
        .build();
    LinkMessageBuilder::<LinkVeth>::new(FAR_NAME, "")
        .set_info_data(InfoData::Veth(InfoVeth::Peer(near)))
        .index(FAR_INDEX)
        .address(addresses::hardware(end, false).to_vec())
        .build()
}

fn up(index: u32) -> Change {
    Change::SetLink(LinkMessageBuilder::<LinkUnspec>::new().index(index).up().build())
}

fn address(index: u32, address: Ipv4Addr) -> Change {
    Change::NewAddress(AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address, 32).build())
}

fn route(index: u32, to: Ipv4Addr, from: Ipv4Addr) -> Change {
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(to, 32)
        .output_interface(index)
        .scope(RouteScope::Link)
        .pref_source(from);
    Change::NewRoute(route.build())
}

fn neighbour(index: u32, address: Ipv4Addr, hardware: [u8; 6]) -> Change {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.kind = RouteType::Unspec;
    message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(address)));
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(hardware.to_vec()));
    Change::NewNeighbour(message)
}

/// Appends a change to a buffer.
pub(super) fn push(batch: &mut Batch, change: Change, flags: u16) {
    let kind = NetlinkPayload::InnerMessage(change.clone()).message_type();
    batch.raw(kind, flags, change.buffer_len(), |bytes| change.serialize(bytes));
}
