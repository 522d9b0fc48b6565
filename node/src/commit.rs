//! Group commit: threads that make write batches durable while the driver goes on.
//!
//! The driver gathers batches and gets a ticket for each; while commits are under way the next group gathers. Groups are
//! numbered, and two threads take them in turns, so that one group is written and synced while the one before still is. What
//! is told the driver keeps the order: a group whose sync is done waits for the one before. So nothing is seen of a group
//! before all groups that it may rest on are durable. A thread takes no group before its own last one and the one before that
//! are durable: at most two groups are under way. After a failed commit nothing becomes durable any more: the driver must stop
//! without releasing what waits.
//!
//! A commit costs much and a batch in it little, so a group may wait for others to join it: those whose batches the last
//! commits have made durable will write again within moments. With less than its share of what is in work gathered, the thread
//! waits for that, at most [`GATHER_WITHIN`]. A group that finds no other under way goes at once: so does each of a writer that
//! is alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hearsay_core::WriteBatch;
use tokio::sync::Notify;

use crate::counters::Counters;
use crate::group::Group;
use crate::store::{LANES, Store, StoreError};

/// How long a group may wait for its share of what is in work: about what a commit takes on a good disk.
const GATHER_WITHIN: Duration = Duration::from_micros(250);
/// Into how many groups what is in work is divided: two are on the disk and the rest on the wire. Against four shares, three
/// of which the first on an idle disk goes at once gave 7 % more writes with 64 in flight, for 12 % less processor time each.
const SHARES: usize = 3;

/// Where a group goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Behind the others of this lap, while the one before may still be under way.
    Lap(u64),
    /// It is written when all before it are durable, and no other while it is.
    Alone,
}

/// What makes groups durable.
pub(crate) trait Disk: Send + Sync + 'static {
    /// The number of the first group.
    fn next(&self) -> u64;

    /// Finds the place of a group; called in the order of the numbers, each when all but the two before are durable.
    ///
    /// # Errors
    /// No further group can be written.
    fn place(&self, number: u64, group: &Group, counters: &Counters) -> Result<Place, StoreError>;

    /// Makes a group durable as a whole; all before `settled` are. Two at a time may be under way, unless one goes alone.
    ///
    /// # Errors
    /// The disk refused; nothing of the group may be taken for durable.
    fn write(&self, number: u64, settled: u64, place: Place, group: &Group) -> Result<(), StoreError>;

    /// All groups before this one are durable.
    fn settled(&self, settled: u64);
}

/// Orders the batches: a ticket is durable when all lower ones are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

#[cfg(test)]
impl Ticket {
    pub(crate) fn for_test(number: u64) -> Ticket {
        Ticket(number)
    }
}

#[derive(Debug, Default)]
struct State {
    /// Gathers. Bounded by the outputs that the driver lets wait for the disk.
    group: Group,
    /// Batches at which the thread whose turn it is wants to be woken; 0 while none waits.
    wanted: usize,
    /// The group whose turn it is: its thread gathers it and finds its place.
    turn: u64,
    /// The first group that is not durable.
    settled: u64,
    /// Batches of the group behind that one, if it is durable.
    ahead: Option<usize>,
    /// Batches of the groups that are under way.
    under_way: usize,
    /// Batches of the groups that became durable last: their writers may write again.
    answered: usize,
    closing: bool,
    failed: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// For the thread whose turn it is.
    filled: Condvar,
    /// For the other.
    passed: Condvar,
    /// Batches of all groups before the first that is not durable.
    durable: AtomicU64,
    failure: Mutex<Option<StoreError>>,
    progress: Notify,
    counters: Arc<Counters>,
    gather_within: Duration,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The driver's end of the commit threads.
#[derive(Debug)]
pub(crate) struct Committer {
    shared: Arc<Shared>,
    /// Batches of the driver's current turn, not yet handed over: one lock and at most one wake-up a turn.
    turn: Group,
    last: Ticket,
    threads: Vec<JoinHandle<()>>,
}

impl Committer {
    /// Starts the threads, which own the store until [`Committer::finish`].
    pub(crate) fn start(store: Store, counters: Arc<Counters>) -> std::io::Result<Committer> {
        Committer::start_with(counters, GATHER_WITHIN, store)
    }

    /// As [`Committer::start`], with any disk, and another bound on how long a group waits for others to join it.
    pub(crate) fn start_with(
        counters: Arc<Counters>,
        gather_within: Duration,
        disk: impl Disk,
    ) -> std::io::Result<Committer> {
        let next = disk.next();
        let shared = Arc::new(Shared {
            state: Mutex::new(State { turn: next, settled: next, ..State::default() }),
            filled: Condvar::new(),
            passed: Condvar::new(),
            durable: AtomicU64::new(0),
            failure: Mutex::new(None),
            progress: Notify::new(),
            counters,
            gather_within,
        });
        let mut committer =
            Committer { shared, turn: Group::default(), last: Ticket(0), threads: Vec::with_capacity(LANES) };
        let disk = Arc::new(disk);
        for lane in 0..LANES as u64 {
            let (shared, disk) = (Arc::clone(&committer.shared), Arc::clone(&disk));
            let thread = std::thread::Builder::new().name(format!("commit-{lane}")).stack_size(512 << 10);
            committer.threads.push(thread.spawn(move || commit_loop(lane, &shared, &*disk))?);
        }
        Ok(committer)
    }

    /// Takes a batch into the group that gathers.
    pub(crate) fn gather(&mut self, batch: &WriteBatch) -> Ticket {
        self.turn.push(batch);
        self.last = Ticket(self.last.0 + 1);
        self.last
    }

    /// The ticket of the last batch gathered: what an output without a batch has to wait for.
    pub(crate) fn last(&self) -> Ticket {
        self.last
    }

    /// Hands the turn's batches to the threads.
    pub(crate) fn submit(&mut self) {
        if self.turn.len() == 0 {
            return;
        }
        let mut state = lock(&self.shared.state);
        let before = state.group.len();
        state.group.append(&mut self.turn);
        let wakes = before < state.wanted && state.wanted <= state.group.len();
        drop(state);
        if wakes {
            self.shared.filled.notify_one();
        }
    }

    /// Whether the batch of `ticket`, and all before, are durable.
    pub(crate) fn is_durable(&self, ticket: Ticket) -> bool {
        ticket.0 <= self.shared.durable.load(Ordering::Acquire)
    }

    /// Returns after the threads have made progress since the last call.
    pub(crate) async fn progress(&self) {
        self.shared.progress.notified().await;
    }

    /// Why no further batch becomes durable, once; `None` while all is well.
    pub(crate) fn failure(&self) -> Option<StoreError> {
        lock(&self.shared.failure).take()
    }

    /// Commits what was gathered and closes the store.
    pub(crate) fn finish(&mut self) -> Result<(), StoreError> {
        self.submit();
        self.shared.close();
        for thread in self.threads.drain(..) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        self.failure().map_or(Ok(()), Err)
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    fn close(&self) {
        lock(&self.state).closing = true;
        self.filled.notify_all();
        self.passed.notify_all();
    }

    /// Waits until it is this thread's turn, and takes the group that has gathered by then, or soon after; `None` when there
    /// is none and never will be. The turn is not passed on.
    fn next_group(&self, lane: u64, group: &mut Group) -> Option<u64> {
        let is_open = |state: &State| !state.failed && (!state.closing || state.group.len() > 0);
        let waits = |state: &mut State| is_open(state) && state.turn % LANES as u64 != lane;
        let mut state = self.passed.wait_while(lock(&self.state), waits).unwrap_or_else(PoisonError::into_inner);
        let in_work = state.group.len() + state.under_way + std::mem::take(&mut state.answered);
        let share = if state.under_way == 0 { 1 } else { in_work / SHARES };
        // Woken by the driver no sooner than there are as many: not by each batch.
        let short = |state: &mut State| state.group.len() < state.wanted && !state.closing && !state.failed;
        state.wanted = share;
        state = match self.filled.wait_timeout_while(state, self.gather_within, short) {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        };
        state.wanted = 1;
        state = self.filled.wait_while(state, short).unwrap_or_else(PoisonError::into_inner);
        state.wanted = 0;
        if !is_open(&state) {
            return None;
        }
        group.append(&mut state.group);
        state.under_way += group.len();
        Some(state.turn)
    }

    /// Lets the other thread take the next group.
    fn pass_on(&self) {
        lock(&self.state).turn += 1;
        self.passed.notify_one();
    }

    /// The first group that is not durable; if `alone` is said, after waiting until it is that one.
    fn settled(&self, alone: Option<u64>) -> Option<u64> {
        let waits = |state: &mut State| !state.failed && alone.is_some_and(|number| state.settled < number);
        let state = self.passed.wait_while(lock(&self.state), waits).unwrap_or_else(PoisonError::into_inner);
        (!state.failed).then_some(state.settled)
    }

    /// Takes note of a durable group, and tells the driver what is durable with all before it; the first group that is not.
    fn done(&self, number: u64, batches: usize) -> u64 {
        let mut state = lock(&self.state);
        state.under_way -= batches;
        if number != state.settled {
            assert!(number == state.settled + 1 && state.ahead.is_none(), "more than two groups are under way");
            state.ahead = Some(batches);
            return state.settled;
        }
        let ahead = state.ahead.take();
        let released = batches + ahead.unwrap_or(0);
        state.settled += 1 + u64::from(ahead.is_some());
        state.answered += released;
        let settled = state.settled;
        drop(state);
        self.passed.notify_one();
        self.durable.fetch_add(released as u64, Ordering::Release);
        self.progress.notify_one();
        settled
    }

    fn fail(&self, error: StoreError) {
        lock(&self.failure).get_or_insert(error);
        lock(&self.state).failed = true;
        self.filled.notify_all();
        self.passed.notify_all();
        self.progress.notify_one();
    }
}

fn commit_loop(lane: u64, shared: &Shared, disk: &impl Disk) {
    let mut group = Group::default();
    while let Some(number) = shared.next_group(lane, &mut group) {
        match commit(shared, disk, number, &group) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return shared.fail(error),
        }
        shared.counters.store_commits.one();
        shared.counters.store_batches.many(group.len() as u64);
        let settled = shared.done(number, group.len());
        disk.settled(settled);
        group.clear();
    }
}

/// Makes a group durable and passes the turn on; `false`: the other thread has failed.
fn commit(shared: &Shared, disk: &impl Disk, number: u64, group: &Group) -> Result<bool, StoreError> {
    let place = disk.place(number, group, &shared.counters)?;
    let alone = place == Place::Alone;
    if !alone {
        shared.pass_on();
    }
    let Some(settled) = shared.settled(alone.then_some(number)) else { return Ok(false) };
    disk.write(number, settled, place, group)?;
    if alone {
        shared.pass_on();
    }
    Ok(true)
}

/// For tests: a disk that is a function, and takes one group at a time.
#[cfg(test)]
pub(crate) struct InTurn<F>(Mutex<F>);

#[cfg(test)]
impl<F: FnMut(&Group) -> Result<(), StoreError> + Send + 'static> InTurn<F> {
    pub(crate) fn new(apply: F) -> InTurn<F> {
        InTurn(Mutex::new(apply))
    }
}

#[cfg(test)]
impl<F: FnMut(&Group) -> Result<(), StoreError> + Send + 'static> Disk for InTurn<F> {
    fn next(&self) -> u64 {
        0
    }
    fn place(&self, _number: u64, _group: &Group, _counters: &Counters) -> Result<Place, StoreError> {
        Ok(Place::Alone)
    }
    fn write(&self, _number: u64, _settled: u64, _place: Place, group: &Group) -> Result<(), StoreError> {
        lock(&self.0)(group)
    }
    fn settled(&self, _settled: u64) {}
}

#[cfg(test)]
#[path = "commit_tests.rs"]
mod tests;
