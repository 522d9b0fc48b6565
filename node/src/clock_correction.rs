//! An operator's correction of the wall clock: for a machine whose clock is known to be off and can't be set. A small file
//! of its own, as a drift file is, read again whenever it changes:
//!
//! ```yaml
//! offset_ns: -2000000000   # what to add to the machine's wall clock at the reference
//! drift_ppb: 500000        # and so many nanoseconds for every second since then
//! reference_ns: 1767225600000000000   # the reference: nanoseconds since 1970 on the machine's wall clock
//! ```
//!
//! A missing file means no correction. Only the stamps of writes and the age of tombstones follow the wall clock; timers
//! take the monotonic one, which is never corrected. Stamps of a coordinator grow whatever the wall clock does.
//!
//! Whoever writes the file replaces it as a whole (write another, rename it): a file that can't be understood is warned of,
//! and the correction stays what it was.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hearsay_core::WallTime;
use serde::{Deserialize, Serialize};

/// How often the file is looked at.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Longest file, in bytes.
const FILE_SIZE_MAX: u64 = 4_096;

/// How far the machine's wall clock is from the one that the node is to follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    /// To be added at the reference, nanoseconds.
    pub offset_ns: i64,
    /// To be added for every second since then, nanoseconds: parts per thousand million.
    #[serde(default)]
    pub drift_ppb: i64,
    /// When that was, on the machine's wall clock: nanoseconds since 1970.
    #[serde(default)]
    pub reference_ns: u64,
}

/// A file that holds no correction.
#[derive(Debug, thiserror::Error)]
#[error(
    "the clock correction {} can't be used: {reason}; it holds offset_ns, drift_ppb and reference_ns, or is missing for none",
    path.display()
)]
pub struct CorrectionError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl Correction {
    /// The corrected wall clock when the machine's shows `wall`.
    pub fn applied_to(self, wall: WallTime) -> WallTime {
        let since_ns = i128::from(wall.0) - i128::from(self.reference_ns);
        let drifted = since_ns * i128::from(self.drift_ppb) / 1_000_000_000;
        let corrected = i128::from(wall.0) + i128::from(self.offset_ns) + drifted;
        WallTime(u64::try_from(corrected.max(0)).unwrap_or(u64::MAX))
    }

    /// Replaces the file at `path` as a whole.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(self, path: &Path) -> io::Result<()> {
        let text = serde_yaml::to_string(&self).map_err(io::Error::other)?;
        let fresh = path.with_extension("fresh");
        std::fs::write(&fresh, text)?;
        std::fs::rename(&fresh, path)
    }
}

/// The correction that a file holds, kept up to date.
#[derive(Debug)]
pub(crate) struct CorrectionFile {
    path: PathBuf,
    /// What tells one file from the next in its place.
    seen: Option<(u64, u64, i64, i64)>,
    current: Arc<Mutex<Correction>>,
}

impl CorrectionFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// It is there and holds no correction: a node that starts is told at once.
    pub(crate) fn open(path: &Path) -> Result<CorrectionFile, CorrectionError> {
        let mut file = CorrectionFile { path: path.to_owned(), seen: None, current: Arc::default() };
        file.look()?;
        Ok(file)
    }

    /// The correction, for the clock.
    pub(crate) fn shared(&self) -> Arc<Mutex<Correction>> {
        Arc::clone(&self.current)
    }

    /// Follows the file for as long as the process runs.
    pub(crate) async fn follow(mut self) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.look() {
                Ok(None) => {}
                Ok(Some(Correction { offset_ns, drift_ppb, .. })) => {
                    tracing::info!("the wall clock is corrected by {offset_ns} ns and {drift_ppb} ppb from now on");
                }
                Err(error) => tracing::warn!("{error}; the correction stays what it was"),
            }
        }
    }

    /// The new correction, when there is one. A file that can't be used is told of once.
    fn look(&mut self) -> Result<Option<Correction>, CorrectionError> {
        let metadata = std::fs::metadata(&self.path);
        let identity = |found: Metadata| (found.ino(), found.len(), found.mtime(), found.mtime_nsec());
        let seen = match metadata {
            Ok(found) => Some(identity(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(self.error(&error)),
        };
        if seen == self.seen {
            return Ok(None);
        }
        self.seen = seen;
        let correction = if seen.is_some() { self.read()? } else { Correction::default() };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = correction;
        Ok(Some(correction))
    }

    fn read(&self) -> Result<Correction, CorrectionError> {
        let mut text = String::new();
        let file = File::open(&self.path).map_err(|error| self.error(&error))?;
        file.take(FILE_SIZE_MAX).read_to_string(&mut text).map_err(|error| self.error(&error))?;
        serde_yaml::from_str(&text).map_err(|error| self.error(&error))
    }

    fn error(&self, reason: &dyn std::fmt::Display) -> CorrectionError {
        CorrectionError { path: self.path.clone(), reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn offset_and_drift_count_from_the_reference() {
        let ahead = Correction { offset_ns: 5, drift_ppb: 2, reference_ns: 100 * SECOND };
        assert_eq!(ahead.applied_to(WallTime(100 * SECOND)), WallTime(100 * SECOND + 5));
        assert_eq!(ahead.applied_to(WallTime(110 * SECOND)), WallTime(110 * SECOND + 5 + 20));
        assert_eq!(
            ahead.applied_to(WallTime(90 * SECOND)),
            WallTime(90 * SECOND + 5 - 20),
            "before the reference, too"
        );
        let behind = Correction { offset_ns: i64::MIN, ..Correction::default() };
        assert_eq!(behind.applied_to(WallTime(7)), WallTime(0), "no clock shows a time before 1970");
    }

    #[test]
    fn a_file_is_followed_and_a_bad_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("n1.clock");
        let mut file = CorrectionFile::open(&path).unwrap();
        let shared = file.shared();
        let current = || *shared.lock().unwrap();
        assert_eq!((file.look().unwrap(), current()), (None, Correction::default()), "a missing file is none");
        let correction = Correction { offset_ns: -2_000_000_000, drift_ppb: 500_000, reference_ns: 17 };
        correction.write(&path).unwrap();
        assert_eq!(file.look().unwrap(), Some(correction));
        assert_eq!(current(), correction);
        assert_eq!(file.look().unwrap(), None, "it has not changed since");
        std::fs::write(&path, "offset_ns: soon").unwrap();
        let error = file.look().unwrap_err().to_string();
        assert!(error.contains("n1.clock") && error.contains("offset_ns"), "{error}");
        assert_eq!((file.look().unwrap(), current()), (None, correction), "told once, and nothing changed");
        assert!(CorrectionFile::open(&path).is_err(), "a node that starts with it is told");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.look().unwrap(), Some(Correction::default()));
    }
}
