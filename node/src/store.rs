//! The store on disk: one redb file with two tables.
//!
//! | table | key | value |
//! |---|---|---|
//! | `replica` | the replica's key | checksum; its value |
//! | `journal` | number of the group, counting up | checksum; what the group changes, in order (see [`crate::group`]) |
//!
//! A group goes into the journal, as one entry at its end: that copies, checksums and writes a handful of pages, where changing
//! each key's own leaf takes one page per key. When the journal is full, it and the group are folded into the table with the
//! same commit, the last change of each key only. What is stored is the table, and over it the journal in its order.
//!
//! redb notices a commit that is half on the disk, and goes back to the one before. What has changed on the disk since is
//! noticed here, at boot, by the checksums and by counting: a damaged store is refused, never served.
//!
//! Invariants: one process at a time has it open; a group of batches is applied in one transaction and is durable when
//! [`Store::apply`] returns. All of it is read at boot; afterwards the replica's memory is what reads are answered from, so
//! the cache is small.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use hearsay_core::RecoveredState;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    TableError, WriteTransaction,
};

use crate::group::{Change, Group, decode, encode};

/// The first 8 bytes of [`checksum`].
type Checksum = u64;
const TABLE: TableDefinition<'static, &[u8], (Checksum, &[u8])> = TableDefinition::new("replica");
const JOURNAL: TableDefinition<'static, u64, (Checksum, &[u8])> = TableDefinition::new("journal");
/// Bytes of all groups in the journal above which it is folded: bounds what a boot and a fold hold in memory.
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
    /// Nothing was ever written.
    is_new: bool,
    /// Number of the next group in the journal.
    next: u64,
    journal_bytes: usize,
    journal_bytes_max: usize,
}

/// Makes the directory and an empty file in it, and has their names on the disk before anything that is acknowledged goes into
/// the file: redb syncs the file alone, and a power cut may take a name that was never synced, with all that is behind it.
fn make(directory: &Path, file: &Path) -> std::io::Result<()> {
    let there = directory.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new(""));
    std::fs::create_dir_all(directory)?;
    File::options().write(true).create(true).truncate(false).open(file)?;
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

/// Hands on every change of a group in the journal, if they are what was written.
fn replay<'a>(
    number: u64,
    (sum, encoded): (Checksum, &'a [u8]),
    mut take: impl FnMut(Change<'a>),
) -> Result<(), redb::Error> {
    if sum != checksum(encoded) {
        return Err(damaged(format_args!("the checksum of group {number} does not fit")));
    }
    let mut rest = encoded;
    while !rest.is_empty() {
        let Some((change, behind)) = decode(rest) else {
            return Err(damaged(format_args!("group {number} can't be read")));
        };
        take(change);
        rest = behind;
    }
    Ok(())
}

impl Store {
    /// Opens, or makes, `store.redb` in `directory` and reads all of it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) fn open(directory: &Path) -> Result<(Store, RecoveredState), StoreError> {
        Store::open_with(directory, JOURNAL_BYTES_MAX)
    }

    fn open_with(directory: &Path, journal_bytes_max: usize) -> Result<(Store, RecoveredState), StoreError> {
        let path = directory.join("store.redb");
        if !path.exists() {
            make(directory, &path).map_err(|error| StoreError::Directory(directory.to_owned(), error))?;
        }
        let database = match Database::builder().set_cache_size(CACHE_BYTES).create(&path) {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(StoreError::InUse(path)),
            Err(error) => return Err(refusal(path, "opened", error.into())),
        };
        let mut store = Store { path, database, is_new: true, next: 0, journal_bytes: 0, journal_bytes_max };
        let recovered = store.read_all().map_err(|error| refusal(store.path.clone(), "read", error))?;
        Ok((store, recovered))
    }

    fn read_all(&mut self) -> Result<RecoveredState, redb::Error> {
        let reading = self.database.begin_read()?;
        if reading.list_tables()?.next().is_none() {
            return Ok(RecoveredState::default());
        }
        let mut stored = BTreeMap::new();
        let table = reading.open_table(TABLE).map_err(not_there)?;
        for entry in table.iter()? {
            let (key, value) = entry?;
            let (key, (sum, value)) = (key.value(), value.value());
            if sum != entry_checksum(key, value) {
                return Err(damaged(format_args!("the checksum of entry {} does not fit", stored.len())));
            }
            stored.insert(key.to_vec(), value.to_vec());
        }
        if stored.len() as u64 != table.len()? {
            return Err(damaged(format_args!("{} entries of {}", stored.len(), table.len()?)));
        }
        let journal = reading.open_table(JOURNAL).map_err(not_there)?;
        let mut groups = 0;
        for entry in journal.iter()? {
            let (number, entry) = entry?;
            let number = number.value();
            if groups != 0 && self.next != number {
                return Err(damaged(format_args!("group {} is missing", self.next)));
            }
            groups += 1;
            self.next = number + 1;
            self.journal_bytes += entry.value().1.len();
            replay(number, entry.value(), |(key, value)| match value {
                Some(value) => drop(stored.insert(key.to_vec(), value.to_vec())),
                None => drop(stored.remove(key)),
            })?;
        }
        if groups != journal.len()? {
            return Err(damaged(format_args!("{groups} groups of {}", journal.len()?)));
        }
        self.is_new = false;
        Ok(RecoveredState { entries: stored.into_iter().collect() })
    }

    /// Makes a group of batches durable, in order, all or nothing.
    ///
    /// # Errors
    /// The disk refused; nothing of the group may be taken for durable.
    pub(crate) fn apply(&mut self, group: &Group) -> Result<(), StoreError> {
        self.write(group.encoded()).map_err(|error| refusal(self.path.clone(), "written", error))
    }

    fn write(&mut self, encoded: &[u8]) -> Result<(), redb::Error> {
        let mut writing = self.database.begin_write()?;
        writing.set_durability(Durability::Immediate)?;
        let journal_bytes = self.journal_bytes + encoded.len();
        let fits = journal_bytes <= self.journal_bytes_max;
        let entry = (checksum(encoded), encoded);
        if fits {
            writing.open_table(JOURNAL)?.insert(self.next, entry)?;
            if self.is_new {
                writing.open_table(TABLE)?;
            }
        } else {
            fold(&writing, self.next, entry)?;
        }
        writing.commit()?;
        self.is_new = false;
        self.next += 1;
        self.journal_bytes = if fits { journal_bytes } else { 0 };
        Ok(())
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

/// Brings the journal and a group behind it into the table and empties the journal.
fn fold(writing: &WriteTransaction, number: u64, group: (Checksum, &[u8])) -> Result<(), redb::Error> {
    let mut latest = BTreeMap::<Vec<u8>, Option<Vec<u8>>>::new();
    let mut add = |(key, value): Change<'_>| drop(latest.insert(key.to_vec(), value.map(<[u8]>::to_vec)));
    for entry in writing.open_table(JOURNAL)?.iter()? {
        let (number, entry) = entry?;
        replay(number.value(), entry.value(), &mut add)?;
    }
    replay(number, group, add)?;
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
    writing.delete_table(JOURNAL)?;
    writing.open_table(JOURNAL)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use hearsay_core::WriteBatch;
    use proptest::prelude::*;

    use super::*;

    fn put(key: &str, value: &str) -> WriteBatch {
        WriteBatch { puts: vec![(key.into(), value.into())], deletes: vec![] }
    }

    fn group(batches: &[WriteBatch]) -> Group {
        let mut group = Group::default();
        batches.iter().for_each(|batch| group.push(batch));
        group
    }

    #[test]
    fn what_was_applied_is_read_back_in_the_order_of_the_batches() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("new").join("deep");
        let (mut store, recovered) = Store::open(&data).unwrap();
        assert!(recovered.entries.is_empty());
        let deletion = WriteBatch { puts: vec![("c".into(), "3".into())], deletes: vec!["b".into(), "absent".into()] };
        store.apply(&group(&[put("a", "old"), put("b", "2"), put("a", "new"), deletion])).unwrap();
        drop(store);
        let (_store, recovered) = Store::open(&data).unwrap();
        assert_eq!(recovered.entries, [("a".into(), "new".into()), ("c".into(), "3".into())]);
    }

    fn batch() -> impl Strategy<Value = WriteBatch> {
        let key = || proptest::collection::vec(0_u8..4, 1..3);
        let puts = proptest::collection::vec((key(), proptest::collection::vec(any::<u8>(), 0..30)), 0..4);
        (puts, proptest::collection::vec(key(), 0..2)).prop_map(|(puts, deletes)| WriteBatch { puts, deletes })
    }

    proptest! {
        // Each case syncs a file some dozens of times.
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Journals that fold with every group, now and then, and never; a boot after every few groups.
        #[test]
        fn what_is_read_back_is_what_a_map_would_hold(
            boots in proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(batch(), 1..4), 0..6), 1..4),
            journal_bytes_max in prop_oneof![Just(0_usize), 1_usize..200, Just(JOURNAL_BYTES_MAX)],
        ) {
            let directory = tempfile::tempdir().unwrap();
            let mut model = BTreeMap::new();
            for groups in boots {
                let (mut store, recovered) = Store::open_with(directory.path(), journal_bytes_max).unwrap();
                prop_assert_eq!(recovered.entries, model.clone().into_iter().collect::<Vec<_>>());
                for batches in groups {
                    store.apply(&group(&batches)).unwrap();
                    for batch in batches {
                        model.extend(batch.puts);
                        batch.deletes.iter().for_each(|key| drop(model.remove(key)));
                    }
                    prop_assert!(store.journal_bytes <= journal_bytes_max);
                }
            }
            let (_, recovered) = Store::open_with(directory.path(), journal_bytes_max).unwrap();
            prop_assert_eq!(recovered.entries, model.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_store_in_use_is_refused_with_the_mend() {
        let directory = tempfile::tempdir().unwrap();
        let (_store, _) = Store::open(directory.path()).unwrap();
        let error = Store::open(directory.path()).unwrap_err();
        assert!(matches!(error, StoreError::InUse(_)), "{error}");
        assert!(error.to_string().contains("another process"), "{error}");
    }

    /// A store of 50 keys, of which the table and the journal hold some each, as bytes; and what is in it.
    fn specimen() -> (tempfile::TempDir, PathBuf, Vec<u8>, RecoveredState) {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open_with(directory.path(), 4_000).unwrap();
        for number in 0..60_u32 {
            let value = "v".repeat(200 + number as usize);
            store.apply(&group(&[put(&format!("key-{:03}", number * 7 % 50), &value)])).unwrap();
        }
        assert!(store.journal_bytes > 0);
        drop(store);
        let (store, recovered) = Store::open(directory.path()).unwrap();
        drop(store);
        let path = directory.path().join("store.redb");
        let file = std::fs::read(&path).unwrap();
        (directory, path, file, recovered)
    }

    /// redb itself panics over some damage, which ends the node as loudly.
    #[test]
    fn a_flipped_byte_is_never_served() {
        let (directory, path, file, whole) = specimen();
        let mut refused = 0;
        for at in (0..file.len()).step_by(499) {
            let mut flipped = file.clone();
            flipped[at] ^= 0x55;
            std::fs::write(&path, &flipped).unwrap();
            match std::panic::catch_unwind(|| Store::open(directory.path())) {
                Ok(Ok((_, recovered))) => assert_eq!(recovered.entries, whole.entries, "byte {at}"),
                Ok(Err(error)) => {
                    refused += usize::from(matches!(error, StoreError::Damaged(..)));
                }
                Err(_) => {}
            }
        }
        assert!(refused > 20, "only {refused}");
    }

    #[test]
    fn a_damaged_store_is_refused_with_the_mend() {
        let (directory, path, file, _) = specimen();
        let value = file.windows(100).position(|window| window == [b'v'; 100]).unwrap();
        let mut flipped = file.clone();
        // Every copy of the pages, so that it does not matter which of them are in use.
        flipped[value..].iter_mut().filter(|byte| **byte == b'v').for_each(|byte| *byte = b'w');
        for damaged in [&flipped[..], &file[..file.len() / 2], b"another file"] {
            std::fs::write(&path, damaged).unwrap();
            let error = Store::open(directory.path()).unwrap_err();
            assert!(matches!(error, StoreError::Damaged(..)), "{error}");
            assert!(error.to_string().contains("store.redb is damaged"), "{error}");
            assert!(error.to_string().contains("move the data directory away"), "{error}");
        }
    }
}
