//! Group commit: a thread that makes write batches durable while the driver goes on.
//!
//! The driver gathers batches and gets a ticket for each; while one commit is under way the next group gathers. Tickets
//! become durable in order. After a failed commit nothing becomes durable any more: the driver must stop without releasing
//! what waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use hearsay_core::WriteBatch;
use tokio::sync::Notify;

use crate::counters::Counters;
use crate::store::{Store, StoreError};

/// Most batches of one group: bounds how long a commit can take.
const GROUP_BATCHES_MAX: usize = 8_192;

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
    batches: Vec<WriteBatch>,
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
    /// Batches of the driver's current turn, not yet handed over: one lock and one wake-up a turn.
    turn: Vec<WriteBatch>,
    last: Ticket,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread, which owns the store until [`Committer::finish`].
    pub(crate) fn start(mut store: Store, counters: Arc<Counters>) -> std::io::Result<Committer> {
        Committer::start_with(counters, move |group| store.apply(group))
    }

    /// As [`Committer::start`], with any disk.
    pub(crate) fn start_with(
        counters: Arc<Counters>,
        apply: impl FnMut(&[WriteBatch]) -> Result<(), StoreError> + Send + 'static,
    ) -> std::io::Result<Committer> {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("commit".into()).stack_size(512 << 10).spawn({
            let shared = Arc::clone(&shared);
            move || commit_loop(&shared, &counters, apply)
        })?;
        Ok(Committer { shared, turn: Vec::new(), last: Ticket(0), thread: Some(thread) })
    }

    /// Takes a batch into the group that gathers.
    pub(crate) fn gather(&mut self, batch: WriteBatch) -> Ticket {
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
        if self.turn.is_empty() {
            return;
        }
        lock(&self.shared.gathered).batches.append(&mut self.turn);
        self.shared.filled.notify_one();
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
        lock(&self.shared.gathered).closing = true;
        self.shared.filled.notify_one();
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
        lock(&self.shared.gathered).closing = true;
        self.shared.filled.notify_one();
    }
}

fn commit_loop(shared: &Shared, counters: &Counters, mut apply: impl FnMut(&[WriteBatch]) -> Result<(), StoreError>) {
    loop {
        let group: Vec<WriteBatch> = {
            let mut gathered = lock(&shared.gathered);
            loop {
                if !gathered.batches.is_empty() {
                    let size = gathered.batches.len().min(GROUP_BATCHES_MAX);
                    let rest = gathered.batches.split_off(size);
                    break std::mem::replace(&mut gathered.batches, rest);
                }
                if gathered.closing {
                    return;
                }
                gathered = shared.filled.wait(gathered).unwrap_or_else(PoisonError::into_inner);
            }
        };
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

    /// A disk that takes each group only when told to.
    fn gated() -> (Committer, mpsc::Receiver<usize>, mpsc::Sender<bool>, Arc<Counters>) {
        let (began, begun) = mpsc::channel();
        let (allow, allowed) = mpsc::channel();
        let counters = Arc::new(Counters::default());
        let committer = Committer::start_with(Arc::clone(&counters), move |group: &[WriteBatch]| {
            began.send(group.len()).unwrap();
            match allowed.recv() {
                Ok(true) => Ok(()),
                _ => Err(StoreError::Directory("disk".into(), std::io::ErrorKind::StorageFull.into())),
            }
        });
        (committer.unwrap(), begun, allow, counters)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn the_next_group_gathers_while_one_commits() {
        let (mut committer, begun, allow, counters) = gated();
        let first = committer.gather(batch(1));
        committer.submit();
        assert_eq!(begun.recv().unwrap(), 1);
        let later: Vec<Ticket> = (2..=5).map(|key| committer.gather(batch(key))).collect();
        committer.submit();
        assert!(!committer.is_durable(first));
        allow.send(true).unwrap();
        assert_eq!(begun.recv().unwrap(), 4, "all that gathered during the first commit goes into the second");
        runtime().block_on(committer.progress());
        assert!(committer.is_durable(first));
        assert!(!committer.is_durable(later[0]));
        allow.send(true).unwrap();
        committer.finish().unwrap();
        assert!(committer.is_durable(later[3]));
        assert_eq!((counters.store_commits.count(), counters.store_batches.count()), (2, 5));
    }

    #[test]
    fn after_a_failure_nothing_becomes_durable() {
        let (mut committer, begun, allow, _) = gated();
        let first = committer.gather(batch(1));
        committer.submit();
        assert_eq!(begun.recv().unwrap(), 1);
        let second = committer.gather(batch(2));
        committer.submit();
        allow.send(false).unwrap();
        drop(allow);
        runtime().block_on(committer.progress());
        assert!(committer.finish().is_err());
        assert!(!committer.is_durable(first) && !committer.is_durable(second));
    }
}
