//! One of the store's journals: groups of changes, one behind the other in a file, each durable before the next is written.
//!
//! The file is a title and behind it a log of the crate `wal-db`: every record carries a checksum, and is the number of a
//! group, the number before which all groups were durable when it was written (8 bytes each, small end first), and the
//! group's bytes; see [`crate::group`]. A group costs one write and one sync, where a commit of redb writes seven pages or
//! more and frees as many.
//!
//! The file is never cut: a journal whose groups are in the table begins a new *lap* and overwrites the one before. A sync of
//! bytes that were there already changes no metadata, so the file system has nothing of its own to commit (measured: two
//! thirds of the time of a sync behind an append). What tells a lap's records from those of the laps before is its mask: all
//! bytes of the log are on the disk combined with bytes made of the lap's number, so what another lap has left is as noise
//! to the log's checksums, whole records included. Nothing has to be erased, and so nothing can be half erased. The number of
//! the lap is in the table, and changes there in the very commit that has the groups.
//!
//! A record that is not whole and has only noise behind it is a group whose sync a power cut has met: nobody was told that it
//! is durable, and it is cut off. One that is not whole before another that is, is damage: the log is refused.
//!
//! Left out: a bit that rots in the very last group can't be told from a power cut. So the store folds its journal when it is
//! closed, and only a node that was killed leaves one.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wal_db::{OpenPolicy, Wal, WalConfig, WalError, WalStore};

/// What the file begins with. Without it no group was ever written.
const TITLE: &[u8; 32] = b"hearsay journal 2: groups behind";
/// Where the log begins.
pub(crate) const LOG_AT: usize = TITLE.len();
/// Bytes of the two numbers before a group.
const NUMBERS_BYTES: usize = 16;
/// What the log adds to each record: a checksum and its length.
const RECORD_HEAD_BYTES: usize = 8;

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Arc<File>,
    has_begun: bool,
    config: WalConfig,
    wal: Wal<Lap>,
}

impl Journal {
    /// Opens, or makes, the file; cuts off a group that is half there. `bytes_max`: no record of [`record_bytes`] is longer.
    ///
    /// # Errors
    /// The disk refuses, or the file is damaged.
    pub(crate) fn open(path: &Path, lap: u64, bytes_max: usize) -> Result<Journal> {
        let bytes_max = u32::try_from(bytes_max).expect("far below 4 GiB");
        let config = WalConfig::new().with_max_record_size(bytes_max).with_open_policy(OpenPolicy::Strict);
        let file = Arc::new(File::options().read(true).write(true).create(true).truncate(false).open(path)?);
        let mut title = [0; LOG_AT];
        let bytes = file.metadata()?.len();
        let has_begun = bytes >= LOG_AT as u64 && {
            file.read_exact_at(&mut title, 0)?;
            title == *TITLE
        };
        let behind = if has_begun { bytes - LOG_AT as u64 } else { 0 };
        let wal = Wal::with_store_and_config(Lap::new(&file, lap, behind), config).map_err(said)?;
        Ok(Journal { file, has_begun, config, wal })
    }

    /// Whether it has its title.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Writes the title, if it is not there, and has it on the disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn begin(&mut self) -> Result<()> {
        if !self.has_begun {
            self.file.write_all_at(TITLE, 0)?;
            self.file.sync_data()?;
            self.has_begun = true;
        }
        Ok(())
    }

    /// Makes a group durable. All groups before `settled` are.
    ///
    /// # Errors
    /// The disk refuses; the group may be there or not.
    pub(crate) fn append(&mut self, number: u64, settled: u64, group: &[u8]) -> Result<()> {
        assert!(self.has_begun, "the title goes before any group");
        let mut record = Vec::with_capacity(NUMBERS_BYTES + group.len());
        record.extend_from_slice(&number.to_le_bytes());
        record.extend_from_slice(&settled.to_le_bytes());
        record.extend_from_slice(group);
        self.wal.append_and_sync(&record).map(|_at| ()).map_err(said)
    }

    /// Hands on every group with its two numbers, in order.
    ///
    /// # Errors
    /// The disk refuses, a record is not what was written, or what `take` says.
    pub(crate) fn read<E: From<Error>>(
        &self,
        mut take: impl FnMut(u64, u64, &[u8]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        for record in self.wal.iter().map_err(said)? {
            let record = record.map_err(said)?;
            let numbers = record.data().split_first_chunk().and_then(|(number, rest)| {
                let (settled, group) = rest.split_first_chunk()?;
                Some((u64::from_le_bytes(*number), u64::from_le_bytes(*settled), group))
            });
            let (number, settled, group) =
                numbers.ok_or_else(|| Error::new(ErrorKind::InvalidData, "a record of the journal has no numbers"))?;
            take(number, settled, group)?;
        }
        Ok(())
    }

    /// Begins a new lap without a group. The table has those of the lap before, and the number of the new one, durably.
    ///
    /// # Errors
    /// None that an empty log is known to give.
    pub(crate) fn begin_lap(&mut self, lap: u64) -> Result<()> {
        self.wal = Wal::with_store_and_config(Lap::new(&self.file, lap, 0), self.config).map_err(said)?;
        Ok(())
    }

    /// Bytes of the lap.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.wal.len()).expect("the store keeps it small")
    }
}

/// Bytes that a group adds to a lap.
pub(crate) fn record_bytes(group: &[u8]) -> usize {
    RECORD_HEAD_BYTES + NUMBERS_BYTES + group.len()
}

/// The file behind its title, as the log of one lap sees it.
#[derive(Debug)]
struct Lap {
    file: Arc<File>,
    mask: [u8; Lap::MASK_BYTES],
    /// Where what the lap may have written ends.
    end: AtomicU64,
}

impl Lap {
    const MASK_BYTES: usize = 64;

    fn new(file: &Arc<File>, lap: u64, end: u64) -> Lap {
        let mut mask = [0; Lap::MASK_BYTES];
        blake3::Hasher::new().update(TITLE).update(&lap.to_le_bytes()).finalize_xof().fill(&mut mask);
        Lap { file: Arc::clone(file), mask, end: AtomicU64::new(end) }
    }

    fn mask(&self, offset: u64, bytes: &mut [u8]) {
        let mut mask = self.mask;
        mask.rotate_left((offset % Lap::MASK_BYTES as u64) as usize);
        for chunk in bytes.chunks_mut(Lap::MASK_BYTES) {
            chunk.iter_mut().zip(&mask).for_each(|(byte, mask)| *byte ^= mask);
        }
    }
}

impl WalStore for Lap {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> wal_db::Result<()> {
        let mut masked = bytes.to_vec();
        self.mask(offset, &mut masked);
        self.file.write_all_at(&masked, LOG_AT as u64 + offset)?;
        self.end.fetch_max(offset + bytes.len() as u64, Ordering::AcqRel);
        Ok(())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> wal_db::Result<usize> {
        let there = self.end.load(Ordering::Acquire).saturating_sub(offset);
        let wanted = buffer.len().min(usize::try_from(there).unwrap_or(usize::MAX));
        let read = &mut buffer[..wanted];
        self.file.read_exact_at(read, LOG_AT as u64 + offset)?;
        self.mask(offset, read);
        Ok(wanted)
    }

    /// What is behind stays there: it is overwritten, or noise to the next lap.
    fn truncate(&self, bytes: u64) -> wal_db::Result<()> {
        self.end.fetch_min(bytes, Ordering::AcqRel);
        Ok(())
    }

    fn sync(&self) -> wal_db::Result<()> {
        Ok(self.file.sync_data()?)
    }

    fn len(&self) -> wal_db::Result<u64> {
        Ok(self.end.load(Ordering::Acquire))
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
