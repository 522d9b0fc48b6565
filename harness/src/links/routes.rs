//! The way of packets through the router: those of bad pairs go through the emulator, all others straight on.
//!
//! Every source of bad pairs has a routing table of its own, asked first for what comes in from it (`iif n1 lookup 1101`).
//! It has a route into the TUN device for each destination that is bad from there; for all others the search goes on in
//! the main table. What the emulator writes comes in from the TUN device, so it meets no such rule, and passes the
//! forward hook again on its way out. Looking up costs a rule per bad source, and nothing per pair.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use rtnetlink::packet_route::RouteNetlinkMessage as Change;
use rtnetlink::packet_route::route::{RouteMessage, RouteScope};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::{LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

use crate::plan::Endpoint;
use crate::sandbox::addresses;
use crate::sandbox::netlink::{Batch, CREATE, EXCL, Netlink, NetlinkError, attribute};
use crate::sandbox::network::push;

const NEW_RULE: u16 = 32;
const DELETE_RULE: u16 = 33;
const GET_RULES: u16 = 34;
const FAMILY_IPV4: u8 = 2;
const ACTION_TO_TABLE: u8 = 1;
const RULE_HEADER_BYTES: usize = 12;
const RULE_INTERFACE: u16 = 3;
const RULE_PRIORITY: u16 = 6;
const RULE_TABLE: u16 = 15;
/// Before the main table's 32766, behind the local table's 0.
const PRIORITY: u32 = 1_000;
/// Tables are numbered from here, by index of the source's interface.
const TABLE_BASE: u32 = 1_000;
/// Routes in one buffer.
const BATCH_MAX: usize = 1_000;

/// Brings an interface up.
pub(super) fn bring_up(index: u32) -> Result<(), NetlinkError> {
    let mut batch = Batch::default();
    let up = LinkMessageBuilder::<LinkUnspec>::new().index(index).up().build();
    push(&mut batch, Change::SetLink(up), 0);
    Netlink::open(NETLINK_ROUTE)?.execute(batch, 0)
}

/// The routes of bad pairs, in the network namespace it was opened in.
pub(super) struct Routes {
    netlink: Netlink,
    device: u32,
    destinations: BTreeMap<Endpoint, BTreeSet<Endpoint>>,
}

impl Routes {
    /// None yet; all will lead into this interface.
    pub(super) fn open(device: u32) -> Result<Routes, NetlinkError> {
        Ok(Routes { netlink: Netlink::open(NETLINK_ROUTE)?, device, destinations: BTreeMap::new() })
    }

    /// Leads these pairs through the emulator. They did not go there before.
    pub(super) fn divert(&mut self, pairs: &[(Endpoint, Endpoint)]) -> Result<(), NetlinkError> {
        // Routes first: a rule whose table is empty would cost a look for nothing, the other way round costs nothing.
        for pairs in pairs.chunks(BATCH_MAX) {
            let mut batch = Batch::default();
            for &(from, to) in pairs {
                push(&mut batch, Change::NewRoute(self.route(from, to)), CREATE | EXCL);
            }
            self.execute(batch)?;
        }
        let mut batch = Batch::default();
        for &(from, to) in pairs {
            let destinations = self.destinations.entry(from).or_default();
            if destinations.is_empty() {
                rule(&mut batch, NEW_RULE, CREATE | EXCL, from);
            }
            destinations.insert(to);
        }
        self.execute(batch)
    }

    /// Leads these pairs straight on again.
    pub(super) fn straighten(&mut self, pairs: &[(Endpoint, Endpoint)]) -> Result<(), NetlinkError> {
        let mut rules = Batch::default();
        for (from, to) in pairs {
            let destinations = self.destinations.entry(*from).or_default();
            destinations.remove(to);
            if destinations.is_empty() {
                self.destinations.remove(from);
                rule(&mut rules, DELETE_RULE, 0, *from);
            }
        }
        self.execute(rules)?;
        for pairs in pairs.chunks(BATCH_MAX) {
            let mut batch = Batch::default();
            for &(from, to) in pairs {
                push(&mut batch, Change::DelRoute(self.route(from, to)), 0);
            }
            self.execute(batch)?;
        }
        Ok(())
    }

    /// Whether the kernel has exactly the rules that the diverted pairs need.
    pub(super) fn is_as_wanted(&mut self) -> Result<bool, NetlinkError> {
        let seen = self.netlink.dump(
            GET_RULES,
            |m| m.fixed(&[FAMILY_IPV4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            |seen: &mut BTreeSet<u32>, body| {
                let attributes = body.get(RULE_HEADER_BYTES..).unwrap_or(&[]);
                let number = |kind| {
                    attribute(attributes, kind).and_then(|value| value.try_into().ok()).map_or(0, u32::from_ne_bytes)
                };
                if number(RULE_PRIORITY) == PRIORITY {
                    seen.insert(number(RULE_TABLE));
                }
            },
        )?;
        Ok(seen == self.destinations.keys().map(|&from| table(from)).collect())
    }

    fn route(&self, from: Endpoint, to: Endpoint) -> RouteMessage {
        RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(addresses::endpoint(to), 32)
            .output_interface(self.device)
            .scope(RouteScope::Link)
            .table_id(table(from))
            .build()
    }

    fn execute(&mut self, batch: Batch) -> Result<(), NetlinkError> {
        match batch.len() {
            0 => Ok(()),
            messages => self.netlink.execute(batch, messages - 1),
        }
    }
}

fn table(from: Endpoint) -> u32 {
    TABLE_BASE + addresses::interface_index(from)
}

fn rule(batch: &mut Batch, kind: u16, flags: u16, from: Endpoint) {
    batch.message(kind, flags, |m| {
        // Family, lengths of addresses, type of service, table (too large for here), two reserved, action, flags.
        m.fixed(&[FAMILY_IPV4, 0, 0, 0, 0, 0, 0, ACTION_TO_TABLE, 0, 0, 0, 0]);
        m.text(RULE_INTERFACE, &addresses::interface(from));
        m.bytes(RULE_PRIORITY, &PRIORITY.to_ne_bytes());
        m.bytes(RULE_TABLE, &table(from).to_ne_bytes());
    });
}
