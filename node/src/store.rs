//! The store on disk: one redb file, one table of bytes to bytes.
//!
//! Invariants: one process at a time has it open; a group of batches is applied in one transaction and is durable when
//! [`Store::apply`] returns. All of it is read at boot; afterwards the replica's memory is what reads are answered from, so
//! the cache is small.

use std::path::{Path, PathBuf};

use hearsay_core::{RecoveredState, WriteBatch};
use redb::{Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, TableDefinition};

const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("replica");
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
    /// Anything else.
    #[error("the store {0} can't be {1}: {2}")]
    Failed(PathBuf, &'static str, Box<redb::Error>),
}

/// The open store.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    database: Database,
}

impl Store {
    /// Opens, or makes, `store.redb` in `directory` and reads all of it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) fn open(directory: &Path) -> Result<(Store, RecoveredState), StoreError> {
        std::fs::create_dir_all(directory).map_err(|error| StoreError::Directory(directory.to_owned(), error))?;
        let path = directory.join("store.redb");
        let database = match Database::builder().set_cache_size(CACHE_BYTES).create(&path) {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(StoreError::InUse(path)),
            Err(error) => return Err(StoreError::Failed(path, "opened", Box::new(error.into()))),
        };
        let store = Store { path, database };
        let recovered =
            store.read_all().map_err(|error| StoreError::Failed(store.path.clone(), "read", Box::new(error)))?;
        Ok((store, recovered))
    }

    fn read_all(&self) -> Result<RecoveredState, redb::Error> {
        let reading = self.database.begin_read()?;
        let table = match reading.open_table(TABLE) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(RecoveredState::default()),
            Err(error) => return Err(error.into()),
        };
        let mut entries = Vec::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            entries.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(RecoveredState { entries })
    }

    /// Makes a group of batches durable, in order, all or nothing.
    ///
    /// # Errors
    /// The disk refused; nothing of the group may be taken for durable.
    pub(crate) fn apply(&self, group: &[WriteBatch]) -> Result<(), StoreError> {
        self.write(group).map_err(|error| StoreError::Failed(self.path.clone(), "written", Box::new(error)))
    }

    fn write(&self, group: &[WriteBatch]) -> Result<(), redb::Error> {
        let mut writing = self.database.begin_write()?;
        writing.set_durability(Durability::Immediate)?;
        {
            let mut table = writing.open_table(TABLE)?;
            for batch in group {
                for (key, value) in &batch.puts {
                    table.insert(key.as_slice(), value.as_slice())?;
                }
                for key in &batch.deletes {
                    table.remove(key.as_slice())?;
                }
            }
        }
        writing.commit()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> WriteBatch {
        WriteBatch { puts: vec![(key.into(), value.into())], deletes: vec![] }
    }

    #[test]
    fn what_was_applied_is_read_back_in_the_order_of_the_batches() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("new").join("deep");
        let (store, recovered) = Store::open(&data).unwrap();
        assert!(recovered.entries.is_empty());
        let deletion = WriteBatch { puts: vec![("c".into(), "3".into())], deletes: vec!["b".into(), "absent".into()] };
        store.apply(&[put("a", "old"), put("b", "2"), put("a", "new"), deletion]).unwrap();
        drop(store);
        let (_store, recovered) = Store::open(&data).unwrap();
        assert_eq!(recovered.entries, [("a".into(), "new".into()), ("c".into(), "3".into())]);
    }

    #[test]
    fn a_store_in_use_is_refused_with_the_mend() {
        let directory = tempfile::tempdir().unwrap();
        let (_store, _) = Store::open(directory.path()).unwrap();
        let error = Store::open(directory.path()).unwrap_err();
        assert!(matches!(error, StoreError::InUse(_)), "{error}");
        assert!(error.to_string().contains("another process"), "{error}");
    }
}
