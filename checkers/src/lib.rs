//! Histories and the pure functions that judge them.
//!
//! A checker is a pure function: [`Case`] in, [`Verdict`] out. It shares no code with the system it judges, and infers
//! the order of versions from the history alone. [`judge`] runs checkers by name; [`checkers`] lists them.
//!
//! The way of a history: `history.jsonl` ([`read_jsonl`]) -> [`Event`]s -> [`History`] (validated) -> operations by key
//! (`key_history`) -> what is known about the order of versions (`version_graph`, `order`) -> a verdict in sentences.
//! Files that are larger than memory are judged as they are read ([`stream`]).
//!
//! Registers, here in the short form of [`dsl`]: sessions, causality, regular, linearizable, staleness.
//!
//! ```
//! use hearsay_checkers::{CheckOptions, Judgement, dsl, judge};
//!
//! let history = "p1 w x=5 [0..10]\np1 w x=7 [20..30]\np3 r x=7 [40..50]\np3 r x=5 [60..70]";
//! let case = dsl::case(history).unwrap();
//! let verdicts = judge(&case, &["monotonic-reads", "read-your-writes"], &CheckOptions::default()).unwrap();
//! assert_eq!((verdicts[0].judgement, verdicts[0].kinds[0].kind.as_str()), (Judgement::Violated, "stale-read"));
//! // Nobody read what it had written itself: that is not known, and not green.
//! assert_eq!(verdicts[1].judgement, Judgement::Unknown);
//! ```
//!
//! What replicas held at the end: convergence and acknowledged writes.
//!
//! ```
//! use hearsay_checkers::{CheckOptions, Judgement, dsl, judge};
//!
//! let run = "p1 w x=5 [0..10]\np2 w x=7 [20..30]\n\
//!            final replication=2 converged=100 deadline=1000\nfinal n1 x=5\nfinal n2 x=5";
//! let verdicts = judge(&dsl::case(run).unwrap(), &["acknowledged-writes"], &CheckOptions::default()).unwrap();
//! assert_eq!((verdicts[0].judgement, verdicts[0].kinds[0].kind.as_str()), (Judgement::Violated, "lost-write"));
//! ```
//!
//! Other data types, from a file of another system: sets, counters, queues, ids, banks, broadcasts.
//!
//! ```
//! use hearsay_checkers::import::{ImportOptions, read_recording};
//! use hearsay_checkers::{Case, CheckOptions, Judgement, applicable, judge};
//!
//! let file = "{:process 0, :type :invoke, :f :add, :value 1}\n{:process 0, :type :ok, :f :add, :value 1}\n\
//!             {:process 0, :type :invoke, :f :read, :value nil}\n{:process 0, :type :ok, :f :read, :value []}\n";
//! let recording = read_recording(file.as_bytes(), &ImportOptions::default()).unwrap();
//! let models = applicable(&recording);
//! assert_eq!(models, ["set", "set-full"]);
//! let case = Case { recording: Some(recording), ..Case::default() };
//! let verdicts = judge(&case, &models, &CheckOptions::default()).unwrap();
//! assert!(verdicts.iter().all(|verdict| verdict.judgement == Judgement::Violated));
//! ```

mod applicable;
mod case;
mod causal;
mod chunks;
mod data;
pub mod dsl;
mod explain;
pub mod export;
mod fast;
mod final_keys;
mod history;
pub mod import;
mod intervals;
mod key_history;
mod lattice;
mod models;
mod null_reads;
mod options;
mod order;
mod parallel;
mod picture;
pub mod record;
mod register_models;
pub mod registers;
mod registry;
pub mod search;
pub mod stream;
mod table;
pub mod transactions;
mod verdict;
mod version_graph;
mod version_order;
mod version_story;
mod zones;

pub use applicable::{applicable, models_of};
pub use case::{Case, DotLog, FaultWindow, FinalEntry, FinalNode, FinalState, Gossip, Phase, SecondExchange};
pub use history::{
    Event, EventType, Function, History, HistoryBuilder, HistoryError, Items, OpIndex, Operation, Outcome, ProcessId,
    ReadError, read_jsonl,
};
pub use lattice::{Lattice, Standing, strongest};
pub use options::{AvailabilityBounds, Budget, CheckOptions, DataOptions, GossipBounds, Stop, StopFn};
pub use picture::{timeline_svg, violation_svg};
pub use register_models::{REGISTER_MODELS, RegisterModel};
pub use registers::registers_from_jsonl;
pub use registry::{Checker, UnknownChecker, checkers, find, judge};
pub use verdict::{Judgement, KindCount, Verdict};
