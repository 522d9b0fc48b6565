//! The store on disk: a redb file with the table, and a journal in front of it.
//!
//! | where | key | value |
//! |---|---|---|
//! | `store.redb`, table `replica` | the replica's key | checksum; its value |
//! | `store.redb`, table `meta` | `next` | checksum; number of the first group that is not in the table |
//! | `store.redb`, table `meta` | `lap` | checksum; number of the journal's lap, whose groups begin with that one |
//! | `store.journal` | number of the group, counting up | what the group changes, in order (see [`crate::group`]) |
//!
//! A group goes to the end of the journal: one write and one sync, where a commit of redb costs three to four times the
//! processor time (measured with groups of 8 and 32 writes) and one page per key. When the journal is full, it and the group
//! are folded into the table with one commit, the last change of each key only, and with that very commit the journal begins
//! anew. What is stored is the table, and over it the journal in its order.
//!
//! redb notices a commit that is half on the disk, and goes back to the one before; the journal ([`crate::journal`]) cuts off
//! a group that is half there. What has changed on the disk since is noticed at boot, by the checksums and by counting: a
//! damaged store is refused, never served.
//!
//! Invariants: one process at a time has it open; a group of batches is applied as a whole or not at all and is durable when
//! [`Store::apply`] returns; a file's first byte is written after its name is durable; the journal has its first record
//! before the table is made, so one without the other tells of damage. All of it is read at boot; afterwards the replica's
//! memory is what reads are answered from, so the cache is small.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use hearsay_core::RecoveredState;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    TableError,
};

use crate::group::{Change, Group, decode, encode};
use crate::journal::Journal;

/// The first 8 bytes of [`checksum`].
type Checksum = u64;
const TABLE: TableDefinition<'static, &[u8], (Checksum, &[u8])> = TableDefinition::new("replica");
const META: TableDefinition<'static, &str, (Checksum, u64)> = TableDefinition::new("meta");
/// Key in [`META`].
const NEXT: &str = "next";
/// Key in [`META`].
const LAP: &str = "lap";
/// Bytes of the journal above which it is folded: bounds what a boot and a fold hold in memory.
const JOURNAL_BYTES_MAX: usize = 1 << 20;
/// Bytes of redb's page cache. Written pages stay in it until the commit, so it also carries a group of writes.
const CACHE_BYTES: usize = 2 << 20;

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

/// The open store.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    database: Database,
    journal: Journal,
    /// Number of the journal's lap.
    lap: u64,
    /// Nothing was ever written.
    is_new: bool,
    /// It was read, and no write has failed since.
    is_well: bool,
    /// Number of the next group.
    next: u64,
    journal_bytes_max: usize,
}

/// Makes the directory and empty files in it, and has their names on the disk before anything that is acknowledged goes into
/// a file: files are synced alone, and a power cut may take a name that was never synced, with all that is behind it.
fn make(directory: &Path, files: [&Path; 2]) -> std::io::Result<()> {
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

fn checksum(encoded: &[u8]) -> Checksum {
    let hash = blake3::hash(encoded);
    let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash is longer");
    Checksum::from_le_bytes(*first)
}

/// Of an entry of the table.
fn entry_checksum(key: &[u8], value: &[u8]) -> Checksum {
    let mut encoded = Vec::new();
    encode((key, Some(value)), &mut encoded);
    checksum(&encoded)
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

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// What redb's file says.
#[derive(Default)]
struct Table {
    entries: Entries,
    /// The first group that is not in it.
    next: u64,
    /// The journal's lap.
    lap: u64,
}

/// Reads all of the table; `None`: nothing was ever written.
fn read_table(database: &Database) -> Result<Option<Table>, redb::Error> {
    let reading = database.begin_read()?;
    if reading.list_tables()?.next().is_none() {
        return Ok(None);
    }
    let mut entries = BTreeMap::new();
    let table = reading.open_table(TABLE).map_err(not_there)?;
    for entry in table.iter()? {
        let (key, value) = entry?;
        let (key, (sum, value)) = (key.value(), value.value());
        if sum != entry_checksum(key, value) {
            return Err(damaged(format_args!("the checksum of entry {} does not fit", entries.len())));
        }
        entries.insert(key.to_vec(), value.to_vec());
    }
    if entries.len() as u64 != table.len()? {
        return Err(damaged(format_args!("{} entries of {}", entries.len(), table.len()?)));
    }
    let meta = reading.open_table(META).map_err(not_there)?;
    let number = |name, what| match meta.get(name)?.map(|entry| entry.value()) {
        Some((sum, number)) if sum == checksum(&number.to_le_bytes()) => Ok(number),
        Some(_) => Err(damaged(format_args!("the checksum of its {what} does not fit"))),
        None => Err(damaged(format_args!("it does not say its {what}"))),
    };
    Ok(Some(Table { entries, next: number(NEXT, "next group")?, lap: number(LAP, "journal's lap")? }))
}

impl Store {
    /// Opens, or makes, `store.redb` and `store.journal` in `directory` and reads all of them.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) fn open(directory: &Path) -> Result<(Store, RecoveredState), StoreError> {
        Store::open_with(directory, JOURNAL_BYTES_MAX)
    }

    fn open_with(directory: &Path, journal_bytes_max: usize) -> Result<(Store, RecoveredState), StoreError> {
        let path = directory.join("store.redb");
        let journal_path = directory.join("store.journal");
        if !path.exists() {
            make(directory, [&journal_path, &path])
                .map_err(|error| StoreError::Directory(directory.to_owned(), error))?;
        }
        let database = match Database::builder().set_cache_size(CACHE_BYTES).create(&path) {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(StoreError::InUse(path)),
            Err(error) => return Err(refusal(path, "opened", error.into())),
        };
        let table = read_table(&database).map_err(|error| refusal(path.clone(), "read", error))?;
        let is_new = table.is_none();
        let Table { entries, next, lap } = table.unwrap_or_default();
        // Behind the lock that the database has: another process's journal is not touched.
        let journal = match Journal::open(&journal_path, lap, journal_bytes_max) {
            Ok(journal) => journal,
            Err(error) => return Err(refusal(path, "opened", redb::Error::Io(error))),
        };
        let mut store = Store { path, database, journal, lap, is_new, is_well: false, next, journal_bytes_max };
        let entries = store.read_journal(entries).map_err(|error| refusal(store.path.clone(), "read", error))?;
        store.is_well = true;
        Ok((store, RecoveredState { entries: entries.into_iter().collect() }))
    }

    /// What is stored: the table's entries, and over them the journal's.
    fn read_journal(&mut self, mut entries: Entries) -> Result<Entries, redb::Error> {
        if !self.is_new && !self.journal.has_begun() {
            return Err(damaged(format_args!("the journal is gone, or does not begin as one")));
        }
        let (is_new, next) = (self.is_new, &mut self.next);
        self.journal.read(|number, group| {
            if is_new {
                return Err(damaged(format_args!("group {number} has no table")));
            }
            if number != *next {
                return Err(damaged(format_args!("group {number} is not the one that belongs there")));
            }
            *next += 1;
            replay(number, group, |(key, value)| match value {
                Some(value) => drop(entries.insert(key.to_vec(), value.to_vec())),
                None => drop(entries.remove(key)),
            })
        })?;
        Ok(entries)
    }

    /// Makes a group of batches durable, in order, all or nothing.
    ///
    /// # Errors
    /// The disk refused; nothing of the group may be taken for durable.
    pub(crate) fn apply(&mut self, group: &Group) -> Result<(), StoreError> {
        let written = self.write(group.encoded());
        self.is_well &= written.is_ok();
        written.map_err(|error| refusal(self.path.clone(), "written", error))
    }

    fn write(&mut self, encoded: &[u8]) -> Result<(), redb::Error> {
        if !self.is_new && self.journal.bytes_with(encoded) <= self.journal_bytes_max {
            self.journal.append(self.next, encoded)?;
            self.next += 1;
            return Ok(());
        }
        self.journal.begin()?;
        self.fold(encoded, self.next + 1)
    }

    /// Brings the journal and a group behind it into the table and begins the journal anew; the next group has the number `next`.
    fn fold(&mut self, group: &[u8], next: u64) -> Result<(), redb::Error> {
        let mut latest = BTreeMap::<Vec<u8>, Option<Vec<u8>>>::new();
        let mut add = |(key, value): Change<'_>| drop(latest.insert(key.to_vec(), value.map(<[u8]>::to_vec)));
        self.journal.read(|number, group| replay(number, group, &mut add))?;
        replay(self.next, group, add)?;
        let mut writing = self.database.begin_write()?;
        writing.set_durability(Durability::Immediate)?;
        let mut table = writing.open_table(TABLE)?;
        for (key, value) in &latest {
            match value {
                Some(value) => {
                    let sum = entry_checksum(key, value);
                    table.insert(key.as_slice(), (sum, value.as_slice()))?;
                }
                None => drop(table.remove(key.as_slice())?),
            }
        }
        drop(table);
        let lap = self.lap + 1;
        let mut meta = writing.open_table(META)?;
        for (name, number) in [(NEXT, next), (LAP, lap)] {
            meta.insert(name, (checksum(&number.to_le_bytes()), number))?;
        }
        drop(meta);
        writing.commit()?;
        self.journal.begin_lap(lap)?;
        (self.next, self.lap) = (next, lap);
        self.is_new = false;
        Ok(())
    }
}

impl Drop for Store {
    /// The table notices more damage than a journal can; see there.
    fn drop(&mut self) {
        if !self.is_well || self.journal.is_empty() {
            return;
        }
        if let Err(error) = self.fold(&[], self.next) {
            tracing::warn!("the store was not tidied up, nothing of it is lost: {error}");
        }
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

fn damaged(what: fmt::Arguments<'_>) -> redb::Error {
    redb::Error::Corrupted(what.to_string())
}

/// The tables are made together: one alone tells of damage.
fn not_there(error: TableError) -> redb::Error {
    match error {
        TableError::TableDoesNotExist(table) => damaged(format_args!("there is no table {table}")),
        error => error.into(),
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
