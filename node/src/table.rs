//! The store's table: a redb file with every key's value, and which groups and laps of the journals are in it.
//!
//! | table | key | value |
//! |---|---|---|
//! | `replica` | the replica's key | checksum; its value |
//! | `meta` | `next` | checksum; number of the first group that is not in the table |
//! | `meta` | `lap` | checksum; number of the lap that begins with that group (see [`crate::store`]) |
//!
//! redb notices a commit that is half on the disk, and goes back to the one before. What has changed on the disk since is
//! noticed when all of it is read, by the checksums and by counting.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use redb::{
    Database, DatabaseError, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    TableError,
};

use crate::group::encode;

/// The first 8 bytes of [`checksum`].
type Checksum = u64;
const ENTRIES: TableDefinition<'static, &[u8], (Checksum, &[u8])> = TableDefinition::new("replica");
const META: TableDefinition<'static, &str, (Checksum, u64)> = TableDefinition::new("meta");
/// Keys in [`META`].
const NEXT: &str = "next";
const LAP: &str = "lap";
/// Bytes of redb's page cache. Written pages stay in it until the commit, so it also carries a group of writes.
const CACHE_BYTES: usize = 2 << 20;

pub(crate) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;
/// The last change of each key: its value, or `None` for a deletion.
pub(crate) type Latest = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The open table.
#[derive(Debug)]
pub(crate) struct Table(Database);

/// All that is in it.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) entries: Entries,
    /// The first group that is not in it.
    pub(crate) next: u64,
    /// The lap that begins with that group.
    pub(crate) lap: u64,
}

impl Table {
    /// Opens, or makes, the file.
    pub(crate) fn open(path: &Path) -> Result<Table, DatabaseError> {
        Database::builder().set_cache_size(CACHE_BYTES).create(path).map(Table)
    }

    /// Reads all of it; `None`: nothing was ever written.
    pub(crate) fn read(&self) -> Result<Option<Contents>, redb::Error> {
        let reading = self.0.begin_read()?;
        if reading.list_tables()?.next().is_none() {
            return Ok(None);
        }
        let mut entries = BTreeMap::new();
        let table = reading.open_table(ENTRIES).map_err(not_there)?;
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
        Ok(Some(Contents { entries, next: number(NEXT, "next group")?, lap: number(LAP, "lap")? }))
    }

    /// Brings changes into it, durably, all or nothing; says with them that all groups before `next` are in it, and in which
    /// lap that one is.
    pub(crate) fn commit(&self, changes: &Latest, next: u64, lap: u64) -> Result<(), redb::Error> {
        let mut writing = self.0.begin_write()?;
        writing.set_durability(Durability::Immediate)?;
        let mut table = writing.open_table(ENTRIES)?;
        for (key, value) in changes {
            match value {
                Some(value) => {
                    let sum = entry_checksum(key, value);
                    table.insert(key.as_slice(), (sum, value.as_slice()))?;
                }
                None => drop(table.remove(key.as_slice())?),
            }
        }
        drop(table);
        let mut meta = writing.open_table(META)?;
        for (name, number) in [(NEXT, next), (LAP, lap)] {
            meta.insert(name, (checksum(&number.to_le_bytes()), number))?;
        }
        drop(meta);
        Ok(writing.commit()?)
    }
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

pub(crate) fn damaged(what: fmt::Arguments<'_>) -> redb::Error {
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
impl Table {
    /// Lets no commit begin until what it returns is dropped.
    pub(crate) fn hold(&self) -> redb::WriteTransaction {
        self.0.begin_write().unwrap()
    }

    /// Makes the number of the next group one whose checksum is another's.
    pub(crate) fn forge_next(&self) {
        let writing = self.0.begin_write().unwrap();
        writing.open_table(META).unwrap().insert(NEXT, (checksum(b"of something else"), 7)).unwrap();
        writing.commit().unwrap();
    }
}
