//! What is done to real processes and their network, with the evidence that it was.
//!
//! Invariants: **a partition change is one atomic kernel transaction**; **every fault carries evidence** that it bit and that it
//! was healed, and nothing here takes its own success for granted: it reads back from the kernel.
//!
//! Not here: when faults happen (the plan), and whether the cluster is well again (the run's proof of healing).

mod disk_faults;
pub mod evidence;
pub mod firewall;
pub mod injector;
pub mod iptables;
pub mod nftables;

pub(crate) use disk_faults::UNSYNCED_WITHIN;
pub use evidence::{Evidence, Step};
pub use firewall::{Firewall, FirewallError, FirewallKind, Pair};
pub use injector::{FaultError, Injector};
