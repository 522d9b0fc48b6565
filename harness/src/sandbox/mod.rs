//! Where real processes run: namespaces that end with the harness, a star network inside them, and the processes themselves.
//!
//! Invariants:
//! - **Nothing leaks onto the host.** Every process, interface, rule and mount lives in namespaces that the kernel takes down
//!   when the sandbox's first process ends, and that process ends with its supervisor, `kill -9` included.
//! - Nothing is written outside [`Sandbox::scratch`], which is memory and private to the sandbox.
//! - No unsafe code: instead of forking, the program runs itself again (see [`enter`](mod@enter)).
//!
//! Not here: what is done to the processes and the network ([`crate::faults`]), and when.

pub mod addresses;
pub mod doctor;
pub mod enter;
pub(crate) mod netlink;
pub mod network;
pub mod process;
mod procfs;

pub use enter::{Role, Sandbox, SandboxError, enter, resume, supervise};
pub use network::{Network, NetworkError};
pub use process::{CommandFactory, DiskPlace, NodeDied, NodePlaces, Nodes, Place, ProcessError};
