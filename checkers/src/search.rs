//! Linearizability of one object of any deterministic data type, by search over a frontier.
//!
//! The history is gone through event by event. The *frontier* holds every way in which what has happened so far can be
//! explained: a state, and what became of each operation under way. An operation is made to take effect only when it has
//! to, just before its end (just-in-time linearization: Lowe, *Testing for linearizability*, 2017, after Wing and Gong
//! 1993). So memory depends on how many operations are under way at once, not on the length of the history.
//!
//! What keeps the frontier small, each a relation "can explain all that the other can":
//!
//! - a read takes effect as soon as the state fits it;
//! - when a write that overwrites everything takes effect, every other such write under way is *free*: it may have been
//!   just before, unseen. A free operation need not take effect any more, and still may;
//! - an indeterminate operation is free from the beginning;
//! - of operations that do the same, the one that ends first goes first;
//! - a way that needs more than another with the same state is dropped ([`frontier`]).
//!
//! A budget of steps and memory and the caller's deadline bound it; beyond them the answer is `unknown`. A violation is
//! made small ([`core`]): the latest moment from which on no state explains the rest, and the fewest operations needed for that.
//!
//! ```
//! use hearsay_checkers::Budget;
//! use hearsay_checkers::search::{Called, CasRegister, Ended, Limits, RegisterCall, linearize};
//!
//! let call = |call, began, ended| Called { call, began, ended: Some(ended), optional: false };
//! let swap = call(RegisterCall::CompareAndSet(0, 1), 0, 10);
//! let budget = Budget { steps_max: 1_000, ..Budget::default() };
//! let limits = || Limits { budget: &budget };
//! let during = [swap.clone(), call(RegisterCall::Read(0), 5, 15)];
//! let after = [swap, call(RegisterCall::Read(0), 20, 30)];
//! assert_eq!(linearize(&CasRegister, &[0], &during, limits()), Ended::Linearizable);
//! assert_eq!(linearize(&CasRegister, &[0], &after, limits()), Ended::Impossible(1));
//! ```

mod append;
mod core;
mod frontier;
mod judge;
mod recorded;
mod register;
mod touching;

pub use append::{AppendCall, AppendModel};
pub use frontier::{Called, Effect, Ended, Limits, SequentialModel, linearize};
pub(crate) use judge::{Counted, confirm, is_linearizable, judge_equal_values, judge_last_two, judge_recording};
pub use register::{CasRegister, LastVersions, RegisterCall};
