//! A run on real processes: clients, faults, proofs, convergence, judgement. What decides is pure ([`client`]'s process,
//! [`timeline`], [`proof`], [`convergence`]); around it is as little as possible that does I/O.

pub mod client;
mod clock_watch;
pub mod clocks;
pub mod cluster;
pub mod convergence;
pub mod end_state;
pub mod evidence_text;
pub mod execute;
pub mod final_reads;
pub mod judge;
pub mod load;
pub mod metrics;
pub mod nemesis;
pub mod observer;
pub mod pending;
pub mod proof;
pub mod ring;
pub mod stop;
pub mod timeline;
