//! The store's journal: groups of changes, one behind the other in a file, each durable before the next is written.
//!
//! The file is a log of the crate `wal-db`: every record carries a checksum. The first record says whose journal it is, each
//! further one is the number of a group (8 bytes, small end first) and the group's bytes; see [`crate::group`]. A group costs
//! one write and one sync, where a commit of redb writes seven pages or more and frees as many.
//!
//! A record that is not whole at the end of the log is a group whose sync a power cut has met: nobody was told that it is
//! durable, and it is cut off. One that is not whole before another that is, is damage: the log is refused.
//!
//! Left out: a bit that rots in the very last group can't be told from a power cut. So the store folds its journal when it is
//! closed, and only a node that was killed leaves one.

use std::io::{Error, ErrorKind, Result};
use std::path::Path;

use wal_db::{Lsn, OpenPolicy, Wal, WalConfig, WalError};

/// What the first record holds.
const TITLE: &[u8] = b"hearsay journal 1";
/// Bytes of a group's number.
const NUMBER_BYTES: usize = 8;
/// What the log adds to each record: a checksum and its length.
const RECORD_HEAD_BYTES: usize = 8;
/// Where the first record begins.
const FIRST: Lsn = Lsn::new(0);

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    wal: Wal,
}

impl Journal {
    /// Opens, or makes, the file; cuts off a group that is half there. `group_bytes_max`: no group is longer.
    ///
    /// # Errors
    /// The disk refuses, or the file is damaged.
    pub(crate) fn open(path: &Path, group_bytes_max: usize) -> Result<Journal> {
        let bytes_max = u32::try_from(NUMBER_BYTES + group_bytes_max.max(TITLE.len())).expect("far below 4 GiB");
        let config = WalConfig::new().with_max_record_size(bytes_max).with_open_policy(OpenPolicy::Strict);
        Ok(Journal { wal: Wal::open_with(path, config).map_err(said)? })
    }

    /// Whether it has its first record: without it no group was ever written.
    pub(crate) fn has_begun(&self) -> bool {
        !self.wal.is_empty()
    }

    /// Writes the first record, if it is not there.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn begin(&mut self) -> Result<()> {
        if self.has_begun() {
            return Ok(());
        }
        self.wal.append_and_sync(TITLE).map(|_at| ()).map_err(said)
    }

    /// Makes a group durable.
    ///
    /// # Errors
    /// The disk refuses; the group may be there or not.
    pub(crate) fn append(&mut self, number: u64, group: &[u8]) -> Result<()> {
        assert!(self.has_begun(), "the first record is not a group");
        let mut record = Vec::with_capacity(NUMBER_BYTES + group.len());
        record.extend_from_slice(&number.to_le_bytes());
        record.extend_from_slice(group);
        self.wal.append_and_sync(&record).map(|_at| ()).map_err(said)
    }

    /// Hands on every group with its number, in order.
    ///
    /// # Errors
    /// The disk refuses, a record is not what was written, or what `take` says.
    pub(crate) fn read<E: From<Error>>(
        &self,
        mut take: impl FnMut(u64, &[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let damaged = |what| Error::new(ErrorKind::InvalidData, what);
        let mut records = self.wal.iter().map_err(said)?.map(|record| record.map_err(said));
        match records.next().transpose()? {
            Some(title) if title.data() != TITLE => return Err(damaged("the journal does not begin as one").into()),
            _ => {}
        }
        for record in records {
            let record = record?;
            let number = record.data().split_first_chunk();
            let (number, group) = number.ok_or_else(|| damaged("a record of the journal has no number"))?;
            take(u64::from_le_bytes(*number), group)?;
        }
        Ok(())
    }

    /// Takes all groups away.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn clear(&mut self) -> Result<()> {
        self.wal.truncate_after(FIRST).map_err(said)
    }

    /// Bytes on the disk with another group.
    pub(crate) fn bytes_with(&self, group: &[u8]) -> usize {
        self.bytes() + RECORD_HEAD_BYTES + NUMBER_BYTES + group.len()
    }

    /// Bytes on the disk.
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.wal.len()).expect("the store keeps it small")
    }

    /// Whether there is no group in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes() <= RECORD_HEAD_BYTES + TITLE.len()
    }
}

/// What the log says, as an error of its file.
fn said(error: WalError) -> Error {
    match error {
        WalError::Io { source, .. } => source,
        WalError::Corruption { .. } => Error::new(ErrorKind::InvalidData, format!("journal: {error}")),
        error => Error::other(error),
    }
}
