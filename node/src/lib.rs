//! The real node.
pub mod certificates;
mod clock;
mod commit;
pub mod config;
pub mod counters;
pub mod logs;
pub mod names;
mod store;
pub mod tls;
