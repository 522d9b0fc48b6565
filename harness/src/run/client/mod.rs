//! The clients of a run. What a client does is a state machine without I/O ([`ClientProcess`]); [`drive`] lets one act
//! over the network.

mod collections;
mod connections;
mod drive;
mod news;
mod process;
mod values;

pub use connections::Connections;
pub use drive::drive;
pub use news::{entries_of_node, looks_at_node};
pub use process::{Call, CallError, ClientProcess, ClientSettings, Next};
pub use values::{FOREIGN_VALUE, decode_value, encode_value, encode_value_of};
