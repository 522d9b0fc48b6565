//! Group commit: a thread that makes write batches durable while the driver goes on.
//!
//! The driver gathers batches and gets a ticket for each; while one commit is under way the next group gathers. Tickets
//! become durable in order. After a failed commit nothing becomes durable any more: the driver must stop without releasing
//! what waits.
//!
//! A commit costs much and a batch in it little, so a group may wait for others to join it: those whose batches the last
//! commit has made durable will write again within moments. With less than half of what is in work gathered, the thread waits
//! for the half, at most [`GATHER_WITHIN`]; so two groups of one size take turns, one on the disk and one on the wire. A writer
//! that is alone never waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use hearsay_core::WriteBatch;
use tokio::sync::Notify;

use crate::counters::Counters;
use crate::group::Group;
use crate::store::{Store, StoreError};

/// How long a group may wait for the half of what is in work: about what a commit takes on a good disk.
const GATHER_WITHIN: Duration = Duration::from_micros(250);

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
struct Gathered {
    /// Bounded by the outputs that the driver lets wait for the disk.
    group: Group,
    /// Batches at which the thread wants to be woken; 0 while it is at work.
    wanted: usize,
    closing: bool,
}

#[derive(Debug, Default)]
struct Shared {
    gathered: Mutex<Gathered>,
    filled: Condvar,
    durable: AtomicU64,
    failure: Mutex<Option<StoreError>>,
    progress: Notify,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The driver's end of the commit thread.
#[derive(Debug)]
pub(crate) struct Committer {
    shared: Arc<Shared>,
    /// Batches of the driver's current turn, not yet handed over: one lock and at most one wake-up a turn.
    turn: Group,
    last: Ticket,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread, which owns the store until [`Committer::finish`].
    pub(crate) fn start(mut store: Store, counters: Arc<Counters>) -> std::io::Result<Committer> {
        Committer::start_with(counters, GATHER_WITHIN, move |group| store.apply(group))
    }

    /// As [`Committer::start`], with any disk, and another bound on how long a group waits for others to join it.
    pub(crate) fn start_with(
        counters: Arc<Counters>,
        gather_within: Duration,
        apply: impl FnMut(&Group) -> Result<(), StoreError> + Send + 'static,
    ) -> std::io::Result<Committer> {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("commit".into()).stack_size(512 << 10).spawn({
            let shared = Arc::clone(&shared);
            move || commit_loop(&shared, &counters, gather_within, apply)
        })?;
        Ok(Committer { shared, turn: Group::default(), last: Ticket(0), thread: Some(thread) })
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

    /// Hands the turn's batches to the thread.
    pub(crate) fn submit(&mut self) {
        if self.turn.len() == 0 {
            return;
        }
        let mut gathered = lock(&self.shared.gathered);
        let before = gathered.group.len();
        gathered.group.append(&mut self.turn);
        let wakes = before < gathered.wanted && gathered.wanted <= gathered.group.len();
        drop(gathered);
        if wakes {
            self.shared.filled.notify_one();
        }
    }

    /// Whether the batch of `ticket`, and all before, are durable.
    pub(crate) fn is_durable(&self, ticket: Ticket) -> bool {
        ticket.0 <= self.shared.durable.load(Ordering::Acquire)
    }

    /// Returns after the thread has made progress since the last call.
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
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
        {
            std::panic::resume_unwind(panic);
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
        lock(&self.gathered).closing = true;
        self.filled.notify_one();
    }

    /// Exchanges `done`, the group that was committed last, for the next one; false when there is none and never will be.
    fn next_group(&self, done: &mut Group, gather_within: Duration) -> bool {
        let mut gathered = lock(&self.gathered);
        let half = (gathered.group.len() + done.len()) / 2;
        done.clear();
        // Woken by the driver no sooner than there are as many: not by each batch.
        let short = |gathered: &mut Gathered| gathered.group.len() < gathered.wanted && !gathered.closing;
        gathered.wanted = half;
        gathered = match self.filled.wait_timeout_while(gathered, gather_within, short) {
            Ok((gathered, _)) => gathered,
            Err(poisoned) => poisoned.into_inner().0,
        };
        gathered.wanted = 1;
        gathered = self.filled.wait_while(gathered, short).unwrap_or_else(PoisonError::into_inner);
        gathered.wanted = 0;
        done.append(&mut gathered.group);
        done.len() > 0
    }
}

fn commit_loop(
    shared: &Shared,
    counters: &Counters,
    gather_within: Duration,
    mut apply: impl FnMut(&Group) -> Result<(), StoreError>,
) {
    let mut group = Group::default();
    while shared.next_group(&mut group, gather_within) {
        if let Err(error) = apply(&group) {
            *lock(&shared.failure) = Some(error);
            shared.progress.notify_one();
            return;
        }
        counters.store_commits.one();
        counters.store_batches.many(group.len() as u64);
        shared.durable.fetch_add(group.len() as u64, Ordering::Release);
        shared.progress.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn batch(key: u8) -> WriteBatch {
        WriteBatch { puts: vec![(vec![key], vec![])], deletes: vec![] }
    }

    /// A disk that takes each group only when told to, behind a thread that waits for the half of what is in work for so long.
    struct Gated {
        committer: Committer,
        begun: mpsc::Receiver<usize>,
        allow: mpsc::Sender<bool>,
        counters: Arc<Counters>,
    }

    impl Gated {
        fn new(gather_within: Duration) -> Gated {
            let (began, begun) = mpsc::channel();
            let (allow, allowed) = mpsc::channel();
            let counters = Arc::new(Counters::default());
            let committer = Committer::start_with(Arc::clone(&counters), gather_within, move |group: &Group| {
                began.send(group.len()).unwrap();
                match allowed.recv() {
                    Ok(true) => Ok(()),
                    _ => Err(StoreError::Directory("disk".into(), std::io::ErrorKind::StorageFull.into())),
                }
            });
            Gated { committer: committer.unwrap(), begun, allow, counters }
        }

        fn gather(&mut self, batches: u8) -> Vec<Ticket> {
            let tickets = (0..batches).map(|key| self.committer.gather(&batch(key))).collect();
            self.committer.submit();
            tickets
        }

        /// The disk is at work on `first` batches, and `second` wait.
        fn at_work(gather_within: Duration, first: u8, second: u8) -> Gated {
            let mut gated = Gated::new(gather_within);
            gated.gather(1);
            assert_eq!(gated.begun.recv(), Ok(1));
            gated.gather(first);
            gated.allow.send(true).unwrap();
            assert_eq!(gated.begun.recv(), Ok(usize::from(first)));
            gated.gather(second);
            gated
        }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn the_next_group_gathers_while_one_commits() {
        let mut gated = Gated::new(GATHER_WITHIN);
        let first = gated.gather(1)[0];
        assert_eq!(gated.begun.recv(), Ok(1));
        let later = gated.gather(4);
        assert!(!gated.committer.is_durable(first));
        gated.allow.send(true).unwrap();
        assert_eq!(gated.begun.recv(), Ok(4), "all that gathered during the first commit goes into the second");
        runtime().block_on(gated.committer.progress());
        assert!(gated.committer.is_durable(first));
        assert!(!gated.committer.is_durable(later[0]));
        gated.allow.send(true).unwrap();
        gated.committer.finish().unwrap();
        assert!(gated.committer.is_durable(later[3]));
        assert_eq!((gated.counters.store_commits.count(), gated.counters.store_batches.count()), (2, 5));
    }

    #[test]
    fn after_a_failure_nothing_becomes_durable() {
        let mut gated = Gated::new(GATHER_WITHIN);
        let first = gated.gather(1)[0];
        assert_eq!(gated.begun.recv(), Ok(1));
        let second = gated.gather(1)[0];
        gated.allow.send(false).unwrap();
        drop(gated.allow);
        runtime().block_on(gated.committer.progress());
        assert!(gated.committer.finish().is_err());
        assert!(!gated.committer.is_durable(first) && !gated.committer.is_durable(second));
    }

    /// For ever, as far as a test goes.
    const LONG: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_small_group_waits_for_the_half_of_what_is_in_work() {
        let mut gated = Gated::at_work(LONG, 8, 2);
        gated.allow.send(true).unwrap();
        while lock(&gated.committer.shared.gathered).wanted != 5 {
            assert_eq!(gated.begun.try_recv(), Err(mpsc::TryRecvError::Empty), "it waits for the half of 10");
            std::thread::yield_now();
        }
        gated.gather(2);
        gated.gather(6);
        assert_eq!(gated.begun.recv(), Ok(10), "not the 2 or the 4 that were there before the half of 10 or more was");
        // One that writes alone, and writes again once it hears, never waits.
        for _ in 0..2 {
            gated.allow.send(true).unwrap();
            runtime().block_on(gated.committer.progress());
            gated.gather(10);
            assert_eq!(gated.begun.recv(), Ok(10));
        }
    }

    #[test]
    fn a_writer_that_is_alone_never_waits() {
        let mut gated = Gated::new(LONG);
        for _ in 0..3 {
            gated.gather(1);
            assert_eq!(gated.begun.recv(), Ok(1));
            gated.allow.send(true).unwrap();
        }
    }

    #[test]
    fn the_wait_for_the_half_ends_with_its_time_and_with_the_store() {
        let gated = Gated::at_work(Duration::ZERO, 8, 2);
        gated.allow.send(true).unwrap();
        assert_eq!(gated.begun.recv(), Ok(2), "those who were answered may write no more");
        let mut gated = Gated::at_work(LONG, 8, 2);
        gated.allow.send(true).unwrap();
        gated.allow.send(true).unwrap();
        gated.committer.finish().unwrap();
        assert_eq!(gated.counters.store_batches.count(), 11);
    }
}
