//! The store: one directory per run, written as the run goes on, so that what is there after a crash tells the story
//! up to the crash.
//!
//! ```text
//! store/<campaign>/<time>-<seed>/
//!   plan.yaml          what was to happen; written first, replays the run
//!   history.jsonl      what the clients saw, as it happened
//!   faults.jsonl       what was done to the cluster, with the evidence, as it happened
//!   metrics.jsonl      the nodes' counters, every second
//!   phases.json        phases and fault windows, for the checkers
//!   final_state.json   what every node stored at the end
//!   verdict.json       the report for programs
//!   report.txt         the report for people
//!   logs/n1.log ...    what the nodes said
//!   data/n1 ...        their disks; removed when all was as expected
//! store/latest         the newest run
//! ```

mod case;
mod jsonl;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use case::{Observed, load_case, load_json};
pub(crate) use case::{needs_recording, recording_of};
pub use jsonl::JsonLines;

/// Why the store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or directory could not be made, written or read.
    #[error("{action} {path}: {source}")]
    Io {
        /// Such as `can't write`.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file of a run does not hold what it should.
    #[error("{path} is damaged: {reason}; it is written by `hearsay run`, not by hand")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Where in it and why.
        reason: String,
    },
    /// The history can't be read.
    #[error("{path}: {reason}")]
    History {
        /// Which.
        path: PathBuf,
        /// Where in it and why.
        reason: String,
    },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io { action, path: path.to_owned(), source }
}

/// The directory of one run.
#[derive(Clone, Debug)]
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// Makes `store/<campaign>/<time>-<seed>/` with its sub-directories and points `store/latest` at it.
    ///
    /// # Errors
    /// The store can't be written.
    pub fn create(store: &Path, campaign: &str, time: &str, seed: u64) -> Result<RunDirectory, StoreError> {
        let parent = store.join(campaign);
        fs::create_dir_all(&parent).map_err(failed("can't make", &parent))?;
        let mut name = format!("{time}-{seed}");
        // Two runs of one seed within a second.
        for attempt in 2.. {
            let path = parent.join(&name);
            match fs::create_dir(&path) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 1000 => {
                    name = format!("{time}-{seed}-{attempt}");
                }
                Err(error) => return Err(failed("can't make", &path)(error)),
            }
        }
        let directory = RunDirectory { path: parent.join(&name) };
        for path in [directory.logs(), directory.data()] {
            fs::create_dir(&path).map_err(failed("can't make", &path))?;
        }
        point_latest(store, &Path::new(campaign).join(&name))?;
        Ok(directory)
    }

    /// An existing run.
    pub fn open(path: &Path) -> RunDirectory {
        RunDirectory { path: path.to_owned() }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// What was to happen.
    pub fn plan(&self) -> PathBuf {
        self.path.join("plan.yaml")
    }
    /// What the clients saw.
    pub fn history(&self) -> PathBuf {
        self.path.join("history.jsonl")
    }
    /// What was done to the cluster.
    pub fn faults(&self) -> PathBuf {
        self.path.join("faults.jsonl")
    }
    /// Counters over time.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }
    /// Phases and fault windows.
    pub fn phases(&self) -> PathBuf {
        self.path.join("phases.json")
    }
    /// What every node stored at the end.
    pub fn final_state(&self) -> PathBuf {
        self.path.join("final_state.json")
    }
    /// The report for programs.
    pub fn verdict(&self) -> PathBuf {
        self.path.join("verdict.json")
    }
    /// The report for people.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.txt")
    }
    /// Directory of what the nodes said.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }
    /// Directory of the nodes' disks.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// Removes the nodes' disks.
    ///
    /// # Errors
    /// They can't be removed.
    pub fn remove_data(&self) -> Result<(), StoreError> {
        let data = self.data();
        match fs::remove_dir_all(&data) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("can't remove", &data)(error)),
            _ => Ok(()),
        }
    }
}

/// Writes a file so that a reader sees all of it or nothing.
///
/// # Errors
/// It can't be written.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let partial = path.with_extension("partial");
    let written = fs::write(&partial, content).and_then(|()| fs::rename(&partial, path));
    written.map_err(|error| {
        // A part of it is of no use to anybody, and on a full disk in the way.
        let _ = fs::remove_file(&partial);
        failed("can't write", path)(error)
    })
}

/// Writes a value as indented JSON with [`write_whole`].
///
/// # Errors
/// It can't be written.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), StoreError> {
    let mut text = serde_json::to_vec_pretty(value).expect("the store's own types always serialize");
    text.push(b'\n');
    write_whole(path, &text)
}

fn point_latest(store: &Path, target: &Path) -> Result<(), StoreError> {
    let latest = store.join("latest");
    // By renaming, so that `latest` always points somewhere.
    let next = store.join(format!(".latest-{}", std::process::id()));
    let _ = fs::remove_file(&next);
    std::os::unix::fs::symlink(target, &next).map_err(failed("can't make", &next))?;
    fs::rename(&next, &latest).map_err(|error| {
        let _ = fs::remove_file(&next);
        failed("can't replace", &latest)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_second_and_seed_do_not_share_a_directory() {
        let store = tempfile::tempdir().unwrap();
        let first = RunDirectory::create(store.path(), "quickstart", "20260102T030405", 7).unwrap();
        let second = RunDirectory::create(store.path(), "quickstart", "20260102T030405", 7).unwrap();
        assert_eq!(first.path(), store.path().join("quickstart/20260102T030405-7"));
        assert_eq!(second.path(), store.path().join("quickstart/20260102T030405-7-2"));
        let latest = fs::canonicalize(store.path().join("latest")).unwrap();
        assert_eq!(latest, fs::canonicalize(second.path()).unwrap());
        assert!(second.logs().is_dir() && second.data().is_dir());
        second.remove_data().unwrap();
        second.remove_data().unwrap();
        assert!(!second.data().exists());
    }

    #[test]
    fn nothing_is_left_of_a_file_that_could_not_be_written() {
        let store = tempfile::tempdir().unwrap();
        let path = store.path().join("verdict.json");
        // A directory in its place is as good as a full disk, and needs no disk of its own.
        fs::create_dir(&path).unwrap();
        let error = write_whole(&path, b"{}").unwrap_err().to_string();
        assert!(error.contains("verdict.json"), "{error}");
        let left: Vec<_> = fs::read_dir(store.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["verdict.json"]);
    }

    #[test]
    fn a_store_that_is_a_file_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = RunDirectory::create(file.path(), "quickstart", "20260102T030405", 7).unwrap_err();
        assert!(error.to_string().contains(&*file.path().to_string_lossy()), "{error}");
    }
}
