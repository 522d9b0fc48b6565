//! Cutting links: a set of blocked (source, destination) pairs in the router, replaced as a whole.
//!
//! Two ways to do it, one contract: [`nftables`](super::nftables) over netlink, which needs nothing installed, and
//! [`iptables`](super::iptables). Both answer to the same conformance test (`harness/tests/kernel.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::iptables::Iptables;
use super::nftables::Nftables;

/// Packets from the first to the second address. One-way: the way back is another pair.
pub type Pair = (Ipv4Addr, Ipv4Addr);

/// Drops the packets of blocked pairs in the namespace it was opened in, forwarded ones and its own.
pub trait Firewall: Send {
    /// What it is called on the command line and in reports.
    fn name(&self) -> &'static str;

    /// Blocks exactly these pairs from now on, in one transaction: no packet of a pair that was blocked before and is blocked
    /// after passes meanwhile. On an error nothing has changed.
    fn apply(&mut self, blocked: &BTreeSet<Pair>) -> Result<(), FirewallError>;

    /// The blocked pairs as the kernel has them.
    fn blocked(&mut self) -> Result<BTreeSet<Pair>, FirewallError>;

    /// Packets dropped of each pair since the firewall was opened. Pairs that lost none may be missing.
    fn drops(&mut self) -> Result<BTreeMap<Pair, u64>, FirewallError>;
}

/// Which firewall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum FirewallKind {
    /// nftables, or iptables where the kernel has no nftables.
    #[default]
    Auto,
    /// nftables over netlink; nothing needs to be installed.
    Nftables,
    /// The iptables programs.
    Iptables,
}

impl FirewallKind {
    /// Opens it in this thread's network namespace, with nothing blocked, for at most `pairs_max` blocked pairs.
    pub fn open(self, pairs_max: usize) -> Result<Box<dyn Firewall>, FirewallError> {
        match self {
            FirewallKind::Nftables => Ok(Box::new(Nftables::open(pairs_max)?)),
            FirewallKind::Iptables => Ok(Box::new(Iptables::open(pairs_max)?)),
            FirewallKind::Auto => match Nftables::open(pairs_max) {
                Ok(nftables) => Ok(Box::new(nftables)),
                Err(first) => match Iptables::open(pairs_max) {
                    Ok(iptables) => Ok(Box::new(iptables)),
                    Err(second) => Err(FirewallError::Neither { nftables: first.into(), iptables: second.into() }),
                },
            },
        }
    }
}

/// How many pairs a cluster can block at most: everybody from everybody, clients included.
pub fn pairs_max(nodes: usize) -> usize {
    (nodes + 1) * nodes
}

/// A firewall that could not be set up, changed or read.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// The kernel said no to nftables.
    #[error("nftables: {what}: {reason}")]
    Nftables {
        /// The step.
        what: &'static str,
        /// The kernel's words.
        reason: String,
    },
    /// The iptables programs are missing.
    #[error("iptables: the program `{0}` is missing: `apt-get install iptables`, or use --firewall nftables")]
    Missing(&'static str),
    /// An iptables program failed.
    #[error("iptables: {what}: {reason}")]
    Iptables {
        /// The step.
        what: &'static str,
        /// What the program said.
        reason: String,
    },
    /// More pairs than it was opened for.
    #[error("{wanted} pairs to block, but the firewall was opened for {most}")]
    TooMany {
        /// How many pairs.
        wanted: usize,
        /// How many it was opened for.
        most: usize,
    },
    /// Neither way works.
    #[error("no firewall works here. {nftables}. {iptables}")]
    Neither {
        /// Why not nftables.
        nftables: Box<FirewallError>,
        /// Why not iptables.
        iptables: Box<FirewallError>,
    },
}
