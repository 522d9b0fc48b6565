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

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

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
use super::netlink::{Batch, CREATE, EXCL, Netlink, NetlinkError, attribute};
use crate::plan::Endpoint;

const NAMESPACE: &str = "/proc/thread-self/ns/net";
const LOOPBACK_INDEX: u32 = 1;
const FAR_INDEX: u32 = 2;
const FAR_NAME: &str = "eth0";
/// The router's side of this many nodes goes into one buffer.
const ROUTER_BATCH_NODES: usize = 64;
const ACTIVE_WITHIN: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(1);

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
        let made: Result<Vec<_>, _> = std::thread::scope(|scope| {
            let spokes = || ends.iter().map(|&end| Ok((end, spoke(end, router.as_raw_fd())?))).collect();
            scope.spawn(spokes).join().expect("making namespaces does not panic")
        });
        let failed = |source| NetworkError::netlink("can't set up the router", source);
        let mut netlink = Netlink::open(NETLINK_ROUTE).map_err(failed)?;
        for ends in ends.chunks(ROUTER_BATCH_NODES) {
            let mut batch = Batch::default();
            for &end in ends {
                router_side(&mut batch, end);
            }
            let last = batch.len() - 1;
            netlink.execute(batch, last).map_err(failed)?;
        }
        // The router's ends first: of a pair, the kernel activates the end that comes up last at once and the other later, in a
        // worker of its own. Until then it drops every packet. All of the router's ends can be watched with one question.
        let mut spokes = BTreeMap::new();
        for (end, (namespace, mut inside)) in made? {
            far_side(&mut inside, end)
                .map_err(|e| NetworkError::netlink(format!("can't set up the network of {end}"), e))?;
            spokes.insert(end, namespace);
        }
        wait_until_active(&mut netlink, &ends)?;
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

/// One spoke: a fresh namespace for this thread, the pair of interfaces, and a socket to set up its far side.
fn spoke(end: Endpoint, router: RawFd) -> Result<(File, Netlink), NetworkError> {
    let failed = |what: &str| format!("{what} of {end}");
    unshare(CloneFlags::CLONE_NEWNET).map_err(|e| NetworkError::new(failed("can't make the network namespace"), e))?;
    without_ipv6();
    let namespace = File::open(NAMESPACE).map_err(|e| NetworkError::new(failed("can't open the namespace"), e))?;
    let mut batch = Batch::default();
    push(&mut batch, Change::NewLink(pair(end, router)), CREATE | EXCL);
    let mut netlink =
        Netlink::open(NETLINK_ROUTE).map_err(|e| NetworkError::netlink(failed("can't set up the network"), e))?;
    netlink.execute(batch, 0).map_err(|e| NetworkError::netlink(failed("can't make the pair of interfaces"), e))?;
    Ok((namespace, netlink))
}

/// Everything inside a spoke's namespace. Coming up is a message of its own: a pair made with the flag set answers ENOTCONN.
fn far_side(netlink: &mut Netlink, end: Endpoint) -> Result<(), NetlinkError> {
    let mut batch = Batch::default();
    push(&mut batch, up(LOOPBACK_INDEX), 0);
    push(&mut batch, up(FAR_INDEX), 0);
    push(&mut batch, address(FAR_INDEX, addresses::endpoint(end)), CREATE | EXCL);
    push(&mut batch, neighbour(FAR_INDEX, addresses::HARNESS, addresses::hardware(end, true)), CREATE | EXCL);
    push(&mut batch, route(FAR_INDEX, addresses::HARNESS, addresses::endpoint(end)), CREATE | EXCL);
    let default = RouteMessageBuilder::<Ipv4Addr>::new().gateway(addresses::HARNESS).output_interface(FAR_INDEX);
    push(&mut batch, Change::NewRoute(default.build()), CREATE | EXCL);
    let last = batch.len() - 1;
    netlink.execute(batch, last)
}

/// Waits until the router's end of every pair is operational. The queueing discipline would not tell: it is shown before it is used.
fn wait_until_active(netlink: &mut Netlink, ends: &[Endpoint]) -> Result<(), NetworkError> {
    const GET_LINK: u16 = 18;
    const HEADER_BYTES: usize = 16;
    const ATTRIBUTE_STATE: u16 = 16;
    const STATE_UP: u8 = 6;
    let wanted: BTreeSet<u32> = ends.iter().map(|&end| addresses::interface_index(end)).collect();
    let began = Instant::now();
    loop {
        let active = netlink.dump(
            GET_LINK,
            |m| m.fixed(&[0; HEADER_BYTES]),
            |active: &mut BTreeSet<u32>, body| {
                let index = body.get(4..8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes);
                let state = body.get(HEADER_BYTES..).and_then(|attributes| attribute(attributes, ATTRIBUTE_STATE));
                if state == Some(&[STATE_UP]) {
                    active.insert(index);
                }
            },
        );
        let active = active.map_err(|e| NetworkError::netlink("can't list the router's interfaces", e))?;
        let missing = wanted.difference(&active).count();
        if missing == 0 {
            return Ok(());
        }
        if began.elapsed() > ACTIVE_WITHIN {
            let waited =
                format!("after {} s, {missing} of {} interfaces are not active", ACTIVE_WITHIN.as_secs(), wanted.len());
            return Err(NetworkError::new("can't bring up the network", io::Error::other(waited)));
        }
        std::thread::sleep(POLL);
    }
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
pub(crate) fn push(batch: &mut Batch, change: Change, flags: u16) {
    let kind = NetlinkPayload::InnerMessage(change.clone()).message_type();
    batch.raw(kind, flags, change.buffer_len(), |bytes| change.serialize(bytes));
}
