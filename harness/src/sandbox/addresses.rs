//! Every address of a sandbox's network, chosen in this one place.
//!
//! | who | address | interface in the router |
//! |---|---|---|
//! | the harness itself (the router's own namespace) | 10.64.0.1 | `lo` |
//! | all clients | 10.65.0.1 | `clients` |
//! | node n*k* | 10.66.*k / 256*.*k mod 256* | `n`*k* |
//!
//! The network is the sandbox's own, so these can't collide with the host's. Hardware addresses follow the same numbers, so that
//! neighbour entries can be written down before anything is sent.

use std::net::Ipv4Addr;

use hearsay_core::NodeId;

use crate::plan::Endpoint;

/// The harness's own address: traffic to and from it is never part of a partition.
pub const HARNESS: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);
/// The address of all clients.
pub const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 65, 0, 1);

/// The address of a node.
pub fn node(node: NodeId) -> Ipv4Addr {
    let [high, low] = node.0.to_be_bytes();
    Ipv4Addr::new(10, 66, high, low)
}

/// The address of one end of a partition.
pub fn endpoint(endpoint: Endpoint) -> Ipv4Addr {
    match endpoint {
        Endpoint::Node(id) => node(id),
        Endpoint::Clients => CLIENTS,
    }
}

/// Who has an address; `None` for strangers and for the harness.
pub fn owner(address: Ipv4Addr) -> Option<Endpoint> {
    match address.octets() {
        [10, 66, high, low] => Some(Endpoint::Node(NodeId(u16::from_be_bytes([high, low])))),
        _ if address == CLIENTS => Some(Endpoint::Clients),
        _ => None,
    }
}

/// Name of the router's end of the pair towards `endpoint`.
pub(crate) fn interface(endpoint: Endpoint) -> String {
    endpoint.to_string()
}

/// Index of the router's end of the pair towards `endpoint`.
pub(crate) fn interface_index(endpoint: Endpoint) -> u32 {
    match endpoint {
        Endpoint::Clients => 10,
        Endpoint::Node(NodeId(number)) => 100 + u32::from(number),
    }
}

/// Hardware address of the router's end (`near`) or of the far end. Locally administered, as the second-lowest bit says.
pub(crate) fn hardware(endpoint: Endpoint, near: bool) -> [u8; 6] {
    let [_, kind, high, low] = self::endpoint(endpoint).octets();
    [0x02, 0x48, u8::from(near), kind, high, low]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_distinct_and_lead_back() {
        let mut seen = std::collections::BTreeSet::from([HARNESS]);
        let ends = (0..=1000).map(|number| Endpoint::Node(NodeId(number))).chain([Endpoint::Clients]);
        for end in ends {
            assert!(seen.insert(endpoint(end)), "{end} shares its address");
            assert_eq!(owner(endpoint(end)), Some(end));
            assert_ne!(hardware(end, true), hardware(end, false));
        }
        assert_eq!(owner(HARNESS), None);
        assert_eq!(node(NodeId(300)), Ipv4Addr::new(10, 66, 1, 44));
    }
}
