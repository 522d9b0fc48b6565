//! Transactions: which isolation levels a history of transactions satisfies, which it breaks, and why.
//!
//! The way of a history: [`TransactionHistory`] (lists that are appended to, registers that are written, or both) -> what
//! was read from whom and in which order versions followed each other (`lists`, `registers`) -> a graph of dependencies
//! (`graph`, `precedence`) -> cycles (`cycles`) -> levels ([`Level`]) with sentences (`story`) and a picture.
//!
//! Sources: Adya, Weak consistency, 1999 (phenomena); Cerone, Bernardi and Gotsman 2015 and Cerone and Gotsman 2018 (levels
//! by allowed cycles); Biswas and Enea 2019 and Moldt et al. 2025 (polynomial levels of registers); Kingsbury and Alvaro,
//! Elle, 2020 (inferring the order of versions from lists, explanations).
//!
//! Invariants: values are unique per key (where they are not, the verdict is unknown); what is violated is violated under
//! every order of versions that the history allows; what holds has an order of versions that shows it. Predicates are left
//! out: reads are of single keys, so repeatable read and serializability are the same here.
//!
//! ```
//! use hearsay_checkers::transactions::{Anomaly, Level, Scope, analyse, notation};
//! use hearsay_checkers::{CheckOptions, Judgement};
//!
//! // Write skew: each of two transactions reads what the other one changes.
//! let text = "p0 txn r(x)=[] append(y,1) [0..10]\np1 txn r(y)=[] append(x,1) [0..10]\np2 txn r(x)=[1] r(y)=[1] [20..30]";
//! let history = notation::transactions(text).unwrap();
//! let analysis = analyse(&history, &CheckOptions::default());
//! assert_eq!(analysis.level(Level::SnapshotIsolation).judgement, Judgement::Holds);
//! assert_eq!(analysis.level(Level::Serializable).judgement, Judgement::Violated);
//! assert!(analysis.findings.iter().any(|finding| finding.anomaly == Anomaly::G2Item(Scope::Plain)));
//! ```

mod analysis;
mod axioms;
pub(crate) mod checker;
mod convert;
mod cycles;
mod graph;
mod history;
mod intern;
mod level;
mod lists;
pub mod notation;
mod observed;

mod picture;
mod places;
mod precedence;
mod registers;
mod schedule;
mod search;
mod story;

pub use analysis::{Analysis, Finding, FindingEdge, LevelVerdict, TransactionOptions, analyse};
pub(crate) use convert::Converter;
pub use convert::TransactionsError;
pub use history::{
    HistoryTooLarge, Key, List, MicroOp, Transaction, TransactionHistory, TransactionHistoryBuilder, TransactionId,
    Value,
};
pub use level::{Anomaly, Level, Scope};
pub use picture::anomaly_svg;
