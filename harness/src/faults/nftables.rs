//! Partitions by nftables, spoken over netlink: nothing needs to be installed and no process is started.
//!
//! ```text
//! table ip hearsay {
//!     set blocked { type ipv4_addr . ipv4_addr }
//!     set dropped { type ipv4_addr . ipv4_addr; flags dynamic }
//!     chain cut     { add @dropped { ip saddr . ip daddr counter }
//!                     drop }
//!     chain forward { type filter hook forward priority 0; ip saddr . ip daddr @blocked jump cut }
//!     chain output  { type filter hook output  priority 0; ip saddr . ip daddr @blocked jump cut }
//! }
//! ```
//!
//! Sources: linux/netfilter/nf_tables.h, and `nft --debug=netlink` for the shape of the expressions.
//!
//! A change is the difference to what is in force, in one batch: the kernel makes a batch visible by switching its generation, so a packet
//! sees the old set or the new one. Counters are made by the packets that need them, in a set of their own: with a counter in
//! each blocked element a change of 20,000 takes three times as long, and a pair would lose its count when it is unblocked. Counting and
//! dropping are two rules, because a rule ends early when there is no memory for a new counter, and the packet must be dropped still.
//!
//! Invariant: `in_force` is what the kernel accepted last; a refused batch changes neither.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use rtnetlink::sys::protocols::NETLINK_NETFILTER;

use super::firewall::{Firewall, FirewallError, Pair};
use crate::sandbox::netlink::{APPEND, Batch, CREATE, Netlink, NetlinkError, Writer, attribute, attributes};

const TABLE: &str = "hearsay";
const BLOCKED: &str = "blocked";
const BLOCKED_ID: u32 = 1;
const DROPPED: &str = "dropped";
const DROPPED_ID: u32 = 2;
const CUT: &str = "cut";

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const FAMILY_IPV4: u8 = 2;
const FAMILY_BYTES: usize = 4;

const fn kind(message: u16) -> u16 {
    SUBSYSTEM << 8 | message
}
const NEW_TABLE: u16 = kind(0);
const DELETE_TABLE: u16 = kind(2);
const NEW_CHAIN: u16 = kind(3);
const NEW_RULE: u16 = kind(6);
const NEW_SET: u16 = kind(9);
const NEW_ELEMENTS: u16 = kind(12);
const GET_ELEMENTS: u16 = kind(13);
const DELETE_ELEMENTS: u16 = kind(14);

/// Attributes of element lists.
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_EXPRESSION: u16 = 7;
const ELEMENT_EXPRESSIONS: u16 = 11;
const DATA_VALUE: u16 = 1;
const EXPRESSION_NAME: u16 = 1;
const EXPRESSION_DATA: u16 = 2;
const COUNTER_PACKETS: u16 = 2;

/// An element takes 20 bytes, and a list of them 65,535 at most.
const ELEMENTS_PER_MESSAGE: usize = 3_000;
const REGISTER: u32 = 1;
const ADDRESSES_BYTES: u32 = 8;
/// `NFT_SET_EVAL`: packets add elements.
const SET_OF_PACKETS: u32 = 0x20;
/// Pairs that may ever lose packets in one sandbox. Beyond it packets are still dropped, but not counted.
const COUNTERS_MAX: usize = 1 << 20;
const HOOK_FORWARD: u32 = 2;
const HOOK_OUTPUT: u32 = 3;

/// The nftables firewall of one network namespace.
pub struct Nftables {
    netlink: Netlink,
    in_force: BTreeSet<Pair>,
    pairs_max: usize,
}

impl Nftables {
    /// Makes the table, with nothing blocked. An older table of this name is replaced.
    pub fn open(pairs_max: usize) -> Result<Nftables, FirewallError> {
        let mut netlink = Netlink::open(NETLINK_NETFILTER).map_err(refused("can't reach the kernel"))?;
        let mut batch = Batch::default();
        // Made, removed and made again: the way to remove a table that may not be there.
        for message in [NEW_TABLE, DELETE_TABLE, NEW_TABLE] {
            object(&mut batch, message, CREATE, |m| m.text(1, TABLE));
        }
        // Twice, as a change may hold the old and the new pairs.
        object(&mut batch, NEW_SET, CREATE, |m| define_set(m, (BLOCKED, BLOCKED_ID), 0, pairs_max * 2));
        object(&mut batch, NEW_SET, CREATE, |m| define_set(m, (DROPPED, DROPPED_ID), SET_OF_PACKETS, COUNTERS_MAX));
        object(&mut batch, NEW_CHAIN, CREATE, |m| define_chain(m, CUT, None));
        object(&mut batch, NEW_RULE, CREATE | APPEND, |m| define_rule(m, CUT, &[&load_addresses, &count]));
        object(&mut batch, NEW_RULE, CREATE | APPEND, |m| define_rule(m, CUT, &[&drop_packet]));
        for (chain, hook) in [("forward", HOOK_FORWARD), ("output", HOOK_OUTPUT)] {
            object(&mut batch, NEW_CHAIN, CREATE, |m| define_chain(m, chain, Some(hook)));
            let expressions: [Expression<'_>; 3] = [&load_addresses, &look_up, &jump_to_cut];
            object(&mut batch, NEW_RULE, CREATE | APPEND, |m| define_rule(m, chain, &expressions));
        }
        transact(&mut netlink, batch)
            .map_err(refused("can't make the table (`modprobe nf_tables`, or --firewall iptables)"))?;
        Ok(Nftables { netlink, in_force: BTreeSet::new(), pairs_max })
    }

    fn elements(&mut self, set: &str) -> Result<BTreeMap<Pair, u64>, NetlinkError> {
        let ask = |m: &mut Writer<'_>| {
            family(m, 0);
            m.text(LIST_TABLE, TABLE);
            m.text(LIST_SET, set);
        };
        self.netlink.dump(GET_ELEMENTS, ask, |found: &mut BTreeMap<Pair, u64>, body| {
            let list = body.get(FAMILY_BYTES..).and_then(|body| attribute(body, LIST_ELEMENTS)).unwrap_or(&[]);
            found.extend(attributes(list).filter_map(|(_, element)| parse_element(element)));
        })
    }
}

impl Firewall for Nftables {
    fn name(&self) -> &'static str {
        "nftables"
    }

    fn apply(&mut self, blocked: &BTreeSet<Pair>) -> Result<(), FirewallError> {
        if blocked.len() > self.pairs_max {
            return Err(FirewallError::TooMany { wanted: blocked.len(), most: self.pairs_max });
        }
        let gone: Vec<Pair> = self.in_force.difference(blocked).copied().collect();
        let new: Vec<Pair> = blocked.difference(&self.in_force).copied().collect();
        let mut batch = Batch::default();
        for (message, flags, pairs) in [(DELETE_ELEMENTS, 0, &gone), (NEW_ELEMENTS, CREATE, &new)] {
            for pairs in pairs.chunks(ELEMENTS_PER_MESSAGE) {
                object(&mut batch, message, flags, |m| list_elements(m, pairs));
            }
        }
        if batch.len() > 0 {
            transact(&mut self.netlink, batch).map_err(refused("can't change the blocked pairs"))?;
            self.in_force.clone_from(blocked);
        }
        Ok(())
    }

    fn blocked(&mut self) -> Result<BTreeSet<Pair>, FirewallError> {
        let elements = self.elements(BLOCKED).map_err(refused("can't read the blocked pairs"))?;
        Ok(elements.into_keys().collect())
    }

    fn drops(&mut self) -> Result<BTreeMap<Pair, u64>, FirewallError> {
        self.elements(DROPPED).map_err(refused("can't read the counters"))
    }
}

fn refused(what: &'static str) -> impl Fn(NetlinkError) -> FirewallError {
    move |error| FirewallError::Nftables { what, reason: error.to_string() }
}

/// Appends a message about an object of the IPv4 family, opening the transaction before the first.
fn object(batch: &mut Batch, kind: u16, flags: u16, fill: impl FnOnce(&mut Writer<'_>)) {
    if batch.len() == 0 {
        batch.message(BATCH_BEGIN, 0, |m| family(m, SUBSYSTEM));
    }
    batch.message(kind, flags, |m| {
        family(m, 0);
        fill(m);
    });
}

/// Closes the transaction and sends it.
fn transact(netlink: &mut Netlink, mut batch: Batch) -> Result<(), NetlinkError> {
    let last = batch.len() - 1;
    batch.message(BATCH_END, 0, |m| family(m, SUBSYSTEM));
    // The end itself is acknowledged by newer kernels only; an answer to the last change comes after the commit as well.
    netlink.execute(batch, last)
}

fn family(m: &mut Writer<'_>, resource: u16) {
    let [high, low] = resource.to_be_bytes();
    m.fixed(&[if resource == 0 { FAMILY_IPV4 } else { 0 }, 0, high, low]);
}

fn define_set(m: &mut Writer<'_>, (name, id): (&str, u32), flags: u32, elements_max: usize) {
    // nft's number of ipv4_addr is 7, a concatenation shifts by six bits; only for people who list the set.
    const PAIR_OF_ADDRESSES: u32 = 7 << 6 | 7;
    m.text(1, TABLE);
    m.text(2, name);
    m.be32(3, flags);
    m.be32(4, PAIR_OF_ADDRESSES);
    m.be32(5, ADDRESSES_BYTES);
    // Its size beforehand gives the fixed hash table, without resizing.
    m.nested(9, |m| m.be32(1, u32::try_from(elements_max.max(1)).unwrap_or(u32::MAX)));
    m.be32(10, id);
}

/// A chain in one of netfilter's hooks, or one to jump to.
fn define_chain(m: &mut Writer<'_>, name: &str, hook: Option<u32>) {
    m.text(1, TABLE);
    m.text(3, name);
    if let Some(hook) = hook {
        m.nested(4, |m| {
            m.be32(1, hook);
            m.be32(2, 0);
        });
        m.text(7, "filter");
    }
}

type Expression<'a> = &'a dyn Fn(&mut Writer<'_>);

fn define_rule(m: &mut Writer<'_>, chain: &str, expressions: &[Expression<'_>]) {
    m.text(1, TABLE);
    m.text(2, chain);
    m.nested(4, |m| expressions.iter().for_each(|expression| m.nested(1, expression)));
}

/// `ip saddr . ip daddr`: they lie side by side in the header.
fn load_addresses(m: &mut Writer<'_>) {
    const NETWORK_HEADER: u32 = 1;
    const ADDRESSES_OFFSET: u32 = 12;
    expression(m, "payload", |m| {
        m.be32(1, REGISTER);
        m.be32(2, NETWORK_HEADER);
        m.be32(3, ADDRESSES_OFFSET);
        m.be32(4, ADDRESSES_BYTES);
    });
}

/// `@blocked`
fn look_up(m: &mut Writer<'_>) {
    expression(m, "lookup", |m| {
        m.text(1, BLOCKED);
        m.be32(2, REGISTER);
        m.be32(4, BLOCKED_ID);
    });
}

/// `add @dropped { ... counter }`
fn count(m: &mut Writer<'_>) {
    // Adding what is there counts as well; updating is for sets with a time-out.
    const ADD: u32 = 0;
    expression(m, "dynset", |m| {
        m.text(1, DROPPED);
        m.be32(2, DROPPED_ID);
        m.be32(3, ADD);
        m.be32(4, REGISTER);
        m.nested(7, |m| expression(m, "counter", |_| ()));
    });
}

fn jump_to_cut(m: &mut Writer<'_>) {
    const JUMP: i32 = -3;
    verdict(m, |m| {
        m.be32(1, JUMP as u32);
        m.text(2, CUT);
    });
}

fn drop_packet(m: &mut Writer<'_>) {
    const DROP: u32 = 0;
    verdict(m, |m| m.be32(1, DROP));
}

fn verdict(m: &mut Writer<'_>, fill: impl FnOnce(&mut Writer<'_>)) {
    const VERDICT_REGISTER: u32 = 0;
    expression(m, "immediate", |m| {
        m.be32(1, VERDICT_REGISTER);
        m.nested(2, |m| m.nested(2, fill));
    });
}

fn expression(m: &mut Writer<'_>, name: &str, fill: impl FnOnce(&mut Writer<'_>)) {
    m.text(EXPRESSION_NAME, name);
    m.nested(EXPRESSION_DATA, fill);
}

fn list_elements(m: &mut Writer<'_>, pairs: &[Pair]) {
    m.text(LIST_TABLE, TABLE);
    m.text(LIST_SET, BLOCKED);
    m.nested(LIST_ELEMENTS, |m| {
        for (source, destination) in pairs {
            let mut key = [0; 8];
            key[..4].copy_from_slice(&source.octets());
            key[4..].copy_from_slice(&destination.octets());
            m.nested(ELEMENT, |m| m.nested(ELEMENT_KEY, |m| m.bytes(DATA_VALUE, &key)));
        }
    });
}

/// The pair of an element and the packets it counted.
fn parse_element(element: &[u8]) -> Option<(Pair, u64)> {
    let key: [u8; 8] = attribute(attribute(element, ELEMENT_KEY)?, DATA_VALUE)?.try_into().ok()?;
    let [a, b, c, d, e, f, g, h] = key;
    let counter = attribute(element, ELEMENT_EXPRESSION)
        .or_else(|| attributes(attribute(element, ELEMENT_EXPRESSIONS)?).next().map(|(_, first)| first));
    let packets = counter
        .and_then(|counter| attribute(attribute(counter, EXPRESSION_DATA)?, COUNTER_PACKETS)?.try_into().ok())
        .map_or(0, u64::from_be_bytes);
    Some(((Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h)), packets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_list_of_elements_fits_into_one_attribute() {
        // `list_elements` asserts the 65,535 bytes; this is the largest list that `apply` hands it.
        let pairs = vec![(Ipv4Addr::LOCALHOST, Ipv4Addr::BROADCAST); ELEMENTS_PER_MESSAGE];
        let mut batch = Batch::default();
        object(&mut batch, NEW_ELEMENTS, CREATE, |m| list_elements(m, &pairs));
        assert!(batch.size_bytes() > 60_000);
    }

    #[test]
    fn a_short_element_is_no_pair() {
        assert_eq!(parse_element(&[]), None);
        assert_eq!(parse_element(&[8, 0, 1, 0, 1, 2, 3, 4]), None);
    }
}
