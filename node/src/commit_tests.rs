//! Tests of group commit: order, failure, how long a group gathers, and two groups at a time.

use std::collections::BTreeMap;
use std::sync::mpsc;

use super::*;

fn batch(key: u8) -> WriteBatch {
    WriteBatch { puts: vec![(vec![key], vec![])], deletes: vec![] }
}

/// A disk that takes each group only when told to, behind threads that wait for their share of what is in work for so long.
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
        let committer = Committer::start_with(
            Arc::clone(&counters),
            gather_within,
            InTurn::new(move |group: &Group| {
                began.send(group.len()).unwrap();
                match allowed.recv() {
                    Ok(true) => Ok(()),
                    _ => Err(StoreError::Directory("disk".into(), std::io::ErrorKind::StorageFull.into())),
                }
            }),
        );
        Gated { committer: committer.unwrap(), begun, allow, counters }
    }

    fn gather(&mut self, batches: u8) -> Vec<Ticket> {
        let tickets = (0..batches).map(|key| self.committer.gather(&batch(key))).collect();
        self.committer.submit();
        tickets
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
fn beside_another_a_small_group_waits_for_its_share_of_what_is_in_work() {
    let (disk, mut committer) = Paired::start_within(LONG);
    gather(&mut committer, 14);
    assert_eq!(disk.begun(0), (5, 5, 14), "nothing is under way: it goes at once");
    Paired::until_wanted(&committer, 14 / 3);
    gather(&mut committer, 2);
    gather(&mut committer, 1);
    assert_eq!((lock(&disk.0.0).begun.len(), lock(&committer.shared.state).wanted), (1, 4), "3 are less than a third");
    gather(&mut committer, 6);
    assert_eq!(disk.begun(1), (6, 5, 9), "not the 2 or the 3 that were there before a third or more was");
    (5..=6).for_each(|number| disk.finish(number, true));
    committer.finish().unwrap();
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
fn the_wait_for_the_share_ends_with_its_time_and_with_the_store() {
    let (disk, mut committer) = Paired::start_within(Duration::ZERO);
    gather(&mut committer, 14);
    disk.begun(0);
    gather(&mut committer, 2);
    assert_eq!(disk.begun(1).2, 2, "its time is over, though the other is under way");
    (5..=6).for_each(|number| disk.finish(number, true));
    committer.finish().unwrap();
    let (disk, mut committer) = Paired::start_within(LONG);
    gather(&mut committer, 14);
    disk.begun(0);
    Paired::until_wanted(&committer, 4);
    let last = gather(&mut committer, 2);
    (5..=6).for_each(|number| disk.finish(number, true));
    committer.finish().unwrap();
    assert!(committer.is_durable(last));
}

/// A disk that takes two groups at a time and finishes each when told to, by its number.
#[derive(Clone, Default)]
struct Paired(Arc<(Mutex<PairedState>, Condvar)>);

#[derive(Default)]
struct PairedState {
    /// Number, how many before it are durable, batches.
    begun: Vec<(u64, u64, usize)>,
    allowed: BTreeMap<u64, bool>,
    settled: Vec<u64>,
}

impl Disk for Paired {
    fn next(&self) -> u64 {
        5
    }
    fn place(&self, _number: u64, _group: &Group, _counters: &Counters) -> Result<Place, StoreError> {
        Ok(Place::Lap(0))
    }
    fn write(&self, number: u64, settled: u64, _place: Place, group: &Group) -> Result<(), StoreError> {
        let (state, changed) = &*self.0;
        let mut state = lock(state);
        state.begun.push((number, settled, group.len()));
        changed.notify_all();
        let state = changed.wait_while(state, |state| !state.allowed.contains_key(&number)).unwrap();
        match state.allowed[&number] {
            true => Ok(()),
            false => Err(StoreError::Directory("disk".into(), std::io::ErrorKind::StorageFull.into())),
        }
    }
    fn settled(&self, settled: u64) {
        let (state, changed) = &*self.0;
        lock(state).settled.push(settled);
        changed.notify_all();
    }
}

impl Paired {
    fn start() -> (Paired, Committer) {
        Paired::start_within(Duration::ZERO)
    }

    fn start_within(gather_within: Duration) -> (Paired, Committer) {
        let disk = Paired::default();
        (disk.clone(), Committer::start_with(Arc::default(), gather_within, disk).unwrap())
    }

    /// Waits until the thread whose turn it is waits for so many batches.
    fn until_wanted(committer: &Committer, batches: usize) {
        let begun = std::time::Instant::now();
        while lock(&committer.shared.state).wanted != batches {
            assert!(begun.elapsed() < Duration::from_secs(60), "no thread waits for {batches}");
            std::thread::yield_now();
        }
    }

    fn finish(&self, number: u64, well: bool) {
        lock(&self.0.0).allowed.insert(number, well);
        self.0.1.notify_all();
    }

    /// Waits until the disk has been told so often what is durable, and so many groups were begun.
    fn until<T>(&self, wanted: impl Fn(&PairedState) -> Option<T>) -> T {
        let state = lock(&self.0.0);
        let within = Duration::from_secs(60);
        let (state, _) = self.0.1.wait_timeout_while(state, within, |state| wanted(state).is_none()).unwrap();
        wanted(&state).expect("it never came")
    }

    /// What the `index`th group to begin was.
    fn begun(&self, index: usize) -> (u64, u64, usize) {
        self.until(|state| state.begun.get(index).copied())
    }
}

fn gather(committer: &mut Committer, batches: u8) -> Ticket {
    let last = (0..batches).map(|key| committer.gather(&batch(key))).last().unwrap();
    committer.submit();
    last
}

#[test]
fn two_groups_are_under_way_and_the_second_is_released_behind_the_first() {
    let (disk, mut committer) = Paired::start();
    let first = gather(&mut committer, 3);
    assert_eq!(disk.begun(0), (5, 5, 3));
    let second = gather(&mut committer, 2);
    assert_eq!(disk.begun(1), (6, 5, 2), "it knows that the one before is not durable yet");
    let third = gather(&mut committer, 1);
    disk.finish(6, true);
    assert_eq!(disk.until(|state| state.settled.first().copied()), 5, "nothing is durable with all before it");
    assert!(!committer.is_durable(first) && !committer.is_durable(second));
    assert_eq!(lock(&disk.0.0).begun.len(), 2, "the third waits for the first, though the second is done");
    disk.finish(5, true);
    runtime().block_on(committer.progress());
    assert!(committer.is_durable(first) && committer.is_durable(second) && !committer.is_durable(third));
    assert_eq!(disk.begun(2), (7, 7, 1));
    disk.finish(7, true);
    committer.finish().unwrap();
    assert!(committer.is_durable(third));
}

#[test]
fn a_group_knows_when_the_one_before_is_durable() {
    let (disk, mut committer) = Paired::start();
    for number in 5..9 {
        let ticket = gather(&mut committer, 1);
        assert_eq!(disk.begun(number - 5), (number as u64, number as u64, 1));
        disk.finish(number as u64, true);
        while !committer.is_durable(ticket) {
            runtime().block_on(committer.progress());
        }
    }
    committer.finish().unwrap();
}

#[test]
fn what_is_behind_a_failed_group_never_becomes_durable() {
    let (disk, mut committer) = Paired::start();
    let first = gather(&mut committer, 1);
    disk.begun(0);
    let second = gather(&mut committer, 1);
    disk.begun(1);
    let third = gather(&mut committer, 1);
    disk.finish(6, true);
    disk.until(|state| state.settled.first().copied());
    disk.finish(5, false);
    assert!(committer.finish().is_err());
    assert!([first, second, third].iter().all(|ticket| !committer.is_durable(*ticket)));
    assert_eq!(lock(&disk.0.0).begun.len(), 2, "no group was begun behind the failed one");
}

#[test]
fn what_is_before_a_failed_group_still_becomes_durable() {
    let (disk, mut committer) = Paired::start();
    let first = gather(&mut committer, 1);
    disk.begun(0);
    let second = gather(&mut committer, 1);
    disk.begun(1);
    disk.finish(6, false);
    while !lock(&committer.shared.state).failed {
        std::thread::yield_now();
    }
    disk.finish(5, true);
    assert!(committer.finish().is_err());
    assert!(committer.is_durable(first) && !committer.is_durable(second));
}
