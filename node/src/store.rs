//! The store on disk: a table, and four journals in front of it.
//!
//! A group of changes (`store.journal-0` to `-3`, see [`crate::journal`] and [`crate::group`]) costs one write and one sync,
//! where a commit of the table (`store.redb`, see [`crate::table`]) costs three to four times the processor time (measured
//! with groups of 8 and 32 writes) and one page per key.
//!
//! *Two groups at a time*: groups have numbers; even ones go into one journal, odd ones into another, so that one is written
//! and synced while the one before still is. A group is placed only after the last but one before it is durable, and says
//! whether the one before it was, too. So after a power cut at most the last two groups can be half there or behind a hole,
//! and neither was acknowledged: groups are acknowledged in their order. More than one group behind a hole, or one that
//! knew the missing one durable, is damage.
//!
//! *Laps*: when a journal is full, the groups go on in the other two, and a thread brings those of the full pair into the table
//! with one commit, the last change of each key only. That very commit counts up the lap, so the pair's journals begin anew:
//! what is in them counts for nothing under another lap. Lap `l` is in pair `l % 2`; the table says which lap its next group
//! is in, and the other pair holds the lap behind it, or nothing. A lap begins only when the last but one before it is in
//! the table: writers wait for that, and a counter says so.
//!
//! What is stored is the table, and over it the groups of its lap and the next, in the order of their numbers. A store that
//! was not closed is brought into its table when it is opened.
//!
//! What has changed on the disk since it was written is noticed at boot: a damaged store is refused, never served. Left out:
//! a bit that rots in the last group of all, or in the last two where they were under way together, can't be told from a power
//! cut.
//!
//! Invariants: one process at a time has it open; a group of batches is applied as a whole or not at all and is durable when
//! [`Store::write`] returns; a file's first byte is written after its name is durable; the journals have their titles before
//! the table is made, so one without the other tells of damage; a lap is overwritten only after a durable commit of the
//! table that has its groups. All of it is read at boot; afterwards the replica's memory is what reads are answered from.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use hearsay_core::RecoveredState;
use redb::DatabaseError;

use crate::commit::{Disk, Place};
use crate::counters::Counters;
use crate::group::{Change, Group, decode};
use crate::journal::{Journal, record_bytes};
use crate::table::{Entries, Latest, Table, damaged};

/// Groups that may be under way at once, each in a journal of its own.
pub(crate) const LANES: usize = 2;
/// Two laps: one takes groups while the other is brought into the table.
const JOURNALS: usize = 2 * LANES;
/// Bytes of a journal above which its lap ends: bounds what a boot and a fold hold in memory.
const JOURNAL_BYTES_MAX: usize = 1 << 20;

/// A store that can't be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data directory can't be made.
    #[error("the data directory {0} can't be made: {1}")]
    Directory(PathBuf, std::io::Error),
    /// Another process has it.
    #[error("another process has {0} open: stop that process, or give this node a data directory of its own")]
    InUse(PathBuf),
    /// What is on the disk is not what this release has written.
    #[error(
        "the store {0} is damaged, or of another release ({1}): start the release that wrote it, or move the data \
         directory away to start empty and catch up from the other replicas"
    )]
    Damaged(PathBuf, String),
    /// Anything else.
    #[error("the store {0} can't be {1}: {2}")]
    Failed(PathBuf, &'static str, Box<redb::Error>),
}

/// Makes the directory and empty files in it, and has their names on the disk before anything that is acknowledged goes into
/// a file: files are synced alone, and a power cut may take a name that was never synced, with all that is behind it.
fn make(directory: &Path, files: impl IntoIterator<Item = PathBuf>) -> std::io::Result<()> {
    let there = directory.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new(""));
    std::fs::create_dir_all(directory)?;
    for file in files {
        File::options().write(true).create(true).truncate(false).open(file)?;
    }
    for made in directory.ancestors() {
        // The empty path is the working directory of a relative one.
        File::open(if made.as_os_str().is_empty() { Path::new(".") } else { made })?.sync_all()?;
        if made == there {
            break;
        }
    }
    Ok(())
}

/// Hands on every change of a group in the journal.
fn replay<'a>(number: u64, group: &'a [u8], mut take: impl FnMut(Change<'a>)) -> Result<(), redb::Error> {
    let mut rest = group;
    while !rest.is_empty() {
        let Some((change, behind)) = decode(rest) else {
            return Err(damaged(format_args!("group {number} can't be read")));
        };
        take(change);
        rest = behind;
    }
    Ok(())
}

/// The journal of a group.
fn journal_of(lap: u64, number: u64) -> usize {
    (lap % 2) as usize * LANES + (number % LANES as u64) as usize
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The open store.
#[derive(Debug)]
pub(crate) struct Store {
    files: Arc<Files>,
    laps: Mutex<Laps>,
    /// No write has failed.
    is_well: AtomicBool,
    journal_bytes_max: usize,
}

/// What the threads share that write groups and that bring them into the table.
#[derive(Debug)]
struct Files {
    path: PathBuf,
    table: Table,
    journals: [Mutex<Journal>; JOURNALS],
}

#[derive(Debug)]
struct Laps {
    /// Something was written, ever.
    has_table: bool,
    /// The lap that takes groups.
    lap: u64,
    /// Bytes in its journals, those of groups under way included.
    used: [usize; LANES],
    /// The next group.
    next: u64,
    /// All groups before it are durable.
    settled: u64,
    /// The first group of this lap, until the lap before is durable and is being brought into the table.
    sealed: Option<u64>,
    /// Brings the lap before into the table.
    folding: Option<JoinHandle<Result<(), redb::Error>>>,
}

impl Store {
    /// Opens, or makes, the files in `directory` and reads all of them.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) fn open(directory: &Path) -> Result<(Store, RecoveredState), StoreError> {
        Store::open_with(directory, JOURNAL_BYTES_MAX)
    }

    fn open_with(directory: &Path, journal_bytes_max: usize) -> Result<(Store, RecoveredState), StoreError> {
        let path = directory.join("store.redb");
        let journal_path = |index| directory.join(format!("store.journal-{index}"));
        if !path.exists() {
            make(directory, (0..JOURNALS).map(journal_path).chain([path.clone()]))
                .map_err(|error| StoreError::Directory(directory.to_owned(), error))?;
        }
        let table = match Table::open(&path) {
            Ok(table) => table,
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(StoreError::InUse(path)),
            Err(error) => return Err(refusal(path, "opened", error.into())),
        };
        let contents = table.read().map_err(|error| refusal(path.clone(), "read", error))?;
        let has_table = contents.is_some();
        let mut contents = contents.unwrap_or_default();
        // Behind the lock that the table has: another process's journals are not touched.
        let open = |pair: u64, lane: u64| {
            let lap = contents.lap + (contents.lap + pair) % 2;
            let journal = Journal::open(&journal_path(journal_of(lap, lane)), lap, journal_bytes_max);
            journal.map(Mutex::new).map_err(|error| refusal(path.clone(), "opened", redb::Error::Io(error)))
        };
        let journals = [open(0, 0)?, open(0, 1)?, open(1, 0)?, open(1, 1)?];
        let files = Files { path, table, journals };
        let recovered = if has_table {
            files.recover(&mut contents.entries, contents.next)
        } else {
            files.expect_no_group().map(|()| Recovered::default())
        };
        let Recovered { latest, next, has_groups } =
            recovered.map_err(|error| refusal(files.path.clone(), "read", error))?;
        let (mut lap, next) = (contents.lap, if has_table { next } else { 0 });
        if has_groups {
            // What was left behind a hole must never be read as what will be written under its number.
            lap += 2;
            let begun = files.table.commit(&latest, next, lap).and_then(|()| files.begin_laps([lap, lap + 1]));
            begun.map_err(|error| refusal(files.path.clone(), "written", error))?;
        }
        let laps = Laps { has_table, lap, used: [0; LANES], next, settled: next, sealed: None, folding: None };
        let store =
            Store { files: Arc::new(files), laps: Mutex::new(laps), is_well: AtomicBool::new(true), journal_bytes_max };
        Ok((store, RecoveredState { entries: contents.entries.into_iter().collect() }))
    }

    /// Waits until the lap before is in the table. All its groups are durable.
    fn wait_for_fold(&self, laps: &mut Laps) -> Result<(), StoreError> {
        if let Some(folding) = laps.folding.take() {
            self.written(folding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))?;
        }
        match laps.sealed.take() {
            Some(first) => {
                assert!(first <= laps.settled, "the lap before group {first} is folded before it is durable");
                self.written(self.files.fold(laps.lap - 1, first, None))
            }
            None => Ok(()),
        }
    }

    /// Takes note of a write that has failed.
    fn written(&self, result: Result<(), redb::Error>) -> Result<(), StoreError> {
        self.is_well.fetch_and(result.is_ok(), Ordering::AcqRel);
        result.map_err(|error| refusal(self.files.path.clone(), "written", error))
    }

    /// Brings a group into the table, and with it all before, which are durable.
    fn write_through(&self, number: u64, group: &[u8]) -> Result<(), StoreError> {
        self.settled(number);
        let mut laps = lock(&self.laps);
        self.wait_for_fold(&mut laps)?;
        if !laps.has_table {
            self.written(self.files.begin())?;
        }
        self.written(self.files.fold(laps.lap, number + 1, Some((number, group))))?;
        laps.has_table = true;
        laps.lap += 1;
        laps.used = [0; LANES];
        Ok(())
    }
}

impl Disk for Store {
    fn next(&self) -> u64 {
        lock(&self.laps).next
    }

    fn place(&self, number: u64, group: &Group, counters: &Counters) -> Result<Place, StoreError> {
        let mut laps = lock(&self.laps);
        assert!(laps.next == number, "group {number} is placed where {} belongs", laps.next);
        laps.next += 1;
        let is_folded = laps.folding.as_ref().is_none_or(JoinHandle::is_finished);
        if is_folded && laps.sealed.is_none() {
            // A fold that failed is heard of now, not when the lap is full.
            self.wait_for_fold(&mut laps)?;
        }
        let bytes = record_bytes(group.encoded());
        if !laps.has_table || bytes > self.journal_bytes_max {
            return Ok(Place::Alone);
        }
        let lane = (number % LANES as u64) as usize;
        if laps.used[lane] + bytes > self.journal_bytes_max {
            if !is_folded {
                counters.store_fold_waits.one();
            }
            self.wait_for_fold(&mut laps)?;
            laps.sealed = Some(number);
            laps.lap += 1;
            laps.used = [0; LANES];
        }
        laps.used[lane] += bytes;
        Ok(Place::Lap(laps.lap))
    }

    fn write(&self, number: u64, settled: u64, place: Place, group: &Group) -> Result<(), StoreError> {
        match place {
            Place::Lap(lap) => {
                let mut journal = lock(&self.files.journals[journal_of(lap, number)]);
                self.written(journal.append(number, settled, group.encoded()).map_err(redb::Error::Io))
            }
            Place::Alone => {
                assert!(settled == number, "group {number} goes alone, and all before {settled} alone are durable");
                self.write_through(number, group.encoded())
            }
        }
    }

    fn settled(&self, settled: u64) {
        let mut laps = lock(&self.laps);
        laps.settled = laps.settled.max(settled);
        if let Some(first) = laps.sealed.filter(|first| *first <= laps.settled) {
            let (files, lap) = (Arc::clone(&self.files), laps.lap - 1);
            let fold = std::thread::Builder::new().name("fold".into()).stack_size(512 << 10);
            // Without a thread the next group tries again, or whoever has to wait does it.
            if let Ok(folding) = fold.spawn(move || files.fold(lap, first, None)) {
                laps.sealed = None;
                laps.folding = Some(folding);
            }
        }
    }
}

impl Drop for Store {
    /// The table notices more damage than a journal can; see there.
    fn drop(&mut self) {
        if !self.is_well.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = self.close() {
            tracing::warn!("the store was not tidied up, nothing of it is lost: {error}");
        }
    }
}

impl Store {
    /// Brings all groups into the table. All are durable.
    fn close(&self) -> Result<(), StoreError> {
        let next = lock(&self.laps).next;
        self.settled(next);
        let mut laps = lock(&self.laps);
        self.wait_for_fold(&mut laps)?;
        if laps.used == [0; LANES] {
            return Ok(());
        }
        self.written(self.files.fold(laps.lap, next, None))
    }
}

/// What the journals say.
#[derive(Default)]
struct Recovered {
    latest: Latest,
    /// The group behind the last one that counts.
    next: u64,
    /// There are groups, be it such that do not count.
    has_groups: bool,
}

impl Files {
    /// Brings the groups of a lap, and one behind them, into the table; the next is `next`, in the lap behind. Begins the lap
    /// after that one.
    fn fold(&self, lap: u64, next: u64, last: Option<(u64, &[u8])>) -> Result<(), redb::Error> {
        let mut groups = BTreeMap::new();
        for lane in 0..LANES as u64 {
            lock(&self.journals[journal_of(lap, lane)]).read(|number, _, group| {
                groups.insert(number, group.to_vec());
                Ok::<_, redb::Error>(())
            })?;
        }
        groups.extend(last.map(|(number, group)| (number, group.to_vec())));
        let mut latest = Latest::new();
        for (number, group) in &groups {
            assert!(*number < next, "group {number} in a lap that ends before {next}");
            replay(*number, group, |(key, value)| drop(latest.insert(key.to_vec(), value.map(<[u8]>::to_vec))))?;
        }
        drop(groups);
        self.table.commit(&latest, next, lap + 1)?;
        self.begin_laps([lap + 2])
    }

    fn begin_laps(&self, laps: impl IntoIterator<Item = u64>) -> Result<(), redb::Error> {
        for lap in laps {
            for lane in 0..LANES as u64 {
                lock(&self.journals[journal_of(lap, lane)]).begin_lap(lap).map_err(redb::Error::Io)?;
            }
        }
        Ok(())
    }

    /// Writes the journals' titles.
    fn begin(&self) -> Result<(), redb::Error> {
        self.journals.iter().try_for_each(|journal| lock(journal).begin()).map_err(redb::Error::Io)
    }

    fn expect_no_group(&self) -> Result<(), redb::Error> {
        let group_alone = |number, _, _: &[u8]| Err(damaged(format_args!("group {number} has no table")));
        self.journals.iter().try_for_each(|journal| lock(journal).read(group_alone))
    }

    /// Reads the journals of a table whose next group is `next`, and brings their changes into `entries`.
    fn recover(&self, entries: &mut Entries, mut next: u64) -> Result<Recovered, redb::Error> {
        let mut groups = BTreeMap::new();
        for (index, journal) in self.journals.iter().enumerate() {
            let journal = lock(journal);
            if !journal.has_begun() {
                return Err(damaged(format_args!("the journal {index} is gone, or does not begin as one")));
            }
            journal.read(|number, settled, group| {
                let is_here = number % LANES as u64 == (index % LANES) as u64;
                if !is_here || groups.insert(number, (settled, group.to_vec())).is_some() {
                    return Err(damaged(format_args!("group {number} is not the one that belongs there")));
                }
                Ok(())
            })?;
        }
        let mut recovered = Recovered { has_groups: !groups.is_empty(), ..Recovered::default() };
        for (number, (settled, group)) in &groups {
            if *number != next {
                // The power went while the two were under way: neither was acknowledged.
                let is_hole = *number == next + 1
                    && *settled == next
                    && groups.last_key_value().is_some_and(|(last, _)| last == number);
                if is_hole {
                    break;
                }
                return Err(damaged(format_args!("group {number} is not the one that belongs there, {next} is")));
            }
            next += 1;
            replay(*number, group, |(key, value)| {
                match value {
                    Some(value) => drop(entries.insert(key.to_vec(), value.to_vec())),
                    None => drop(entries.remove(key)),
                }
                recovered.latest.insert(key.to_vec(), value.map(<[u8]>::to_vec));
            })?;
        }
        recovered.next = next;
        Ok(recovered)
    }
}

/// What redb says, with the mend where it is known.
fn refusal(path: PathBuf, doing: &'static str, error: redb::Error) -> StoreError {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        redb::Error::Corrupted(what) => StoreError::Damaged(path, what),
        redb::Error::Io(error) if matches!(error.kind(), InvalidData | UnexpectedEof) => {
            StoreError::Damaged(path, error.to_string())
        }
        error @ (redb::Error::TableTypeMismatch { .. } | redb::Error::UpgradeRequired(_)) => {
            StoreError::Damaged(path, error.to_string())
        }
        error => StoreError::Failed(path, doing, Box::new(error)),
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
