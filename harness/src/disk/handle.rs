//! A disk as the harness has it in hand: mounted for a node, held, cut off, slowed, refused, wiped, looked at.
//!
//! What a sync meets:
//!
//! | mode | a sync |
//! |---|---|
//! | well | is done and answered at once |
//! | holding | waits; released by healing, refused by a power cut |
//! | slow | waits so long, then is done and answered |
//! | refusing | does nothing and answers EIO |
//! | off | EIO, as does everything else |

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use fuser::{Config, Errno, ReplyEmpty, Session, SessionACL};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::pages::PAGE;
use super::served::{Listings, Served};
use super::tree::{Ino, Kind, ROOT, Tree};
use super::volume::{Loss, Volume};
use crate::sandbox::Sandbox;

const DEVICE: &str = "/dev/fuse";
/// What `/proc/mounts` calls a disk.
const MOUNT_TYPE: &str = "fuse.hearsay";
/// Room of a disk. It is memory, taken as it is used.
pub(super) const DISK_BYTES_MAX: u64 = 512 << 20;
/// Syncs that wait at most: one for each thread of a process, so there are never so many.
const WAITING_MAX: usize = 4_096;
/// Stack of a serving thread.
const STACK_BYTES: usize = 512 << 10;

/// What the nodes of a run keep their stores on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DiskKind {
    /// Served where this machine can do it, plain otherwise
    #[default]
    Auto,
    /// Disks that can lose power; needs /dev/fuse
    Served,
    /// Plain directories: they lose nothing, so a power cut is only a kill
    Plain,
}

impl std::fmt::Display for DiskKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            DiskKind::Auto => "auto",
            DiskKind::Served => "served",
            DiskKind::Plain => "plain",
        })
    }
}

/// A disk that can't be made or looked at.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The device can't be opened.
    #[error("{0}")]
    Unavailable(String),
    /// A step failed.
    #[error("{what} {path}: {source}")]
    System {
        /// The step.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

/// Why this machine can't serve disks, and the mend; `None`: it can, as far as the device tells.
pub fn unavailable() -> Option<(String, String)> {
    let error = device().err()?;
    Some(match error.kind() {
        io::ErrorKind::NotFound => {
            (format!("{DEVICE} is missing"), format!("sudo modprobe fuse; in a container, --device {DEVICE}"))
        }
        io::ErrorKind::PermissionDenied => {
            (format!("this user may not open {DEVICE}"), format!("sudo chmod 666 {DEVICE}, or run it with sudo"))
        }
        _ => (format!("{DEVICE} can't be opened: {error}"), format!("in a container, --device {DEVICE}")),
    })
}

fn device() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(DEVICE)
}

/// Syncs of a disk since something began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncTimes {
    /// Done.
    pub count: u64,
    /// From being asked for to being answered, all together.
    pub total: Duration,
    /// The quickest of them.
    pub shortest: Duration,
    /// Refused.
    pub refused: u64,
}

impl SyncTimes {
    fn add(&mut self, took: Duration) {
        self.shortest = if self.count == 0 { took } else { self.shortest.min(took) };
        self.count += 1;
        self.total += took;
    }
}

/// A power cut: the power is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Syncs that were being held.
    pub syncs_held: u64,
    /// For how long they were.
    pub held_for: Duration,
}

/// What a sync meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Well,
    Holding { since: Instant },
    Slow { by: Duration },
    Refusing,
    Off,
}

/// A sync that waits.
struct Waiting {
    ino: Ino,
    asked: Instant,
    reply: ReplyEmpty,
}

pub(super) struct State {
    pub(super) volume: Volume,
    pub(super) listings: Listings,
    mode: Mode,
    waiting: VecDeque<Waiting>,
    times: SyncTimes,
}

impl State {
    pub(super) fn is_off(&self) -> bool {
        self.mode == Mode::Off
    }

    fn finish(&mut self, waiting: Waiting) {
        self.volume.sync(waiting.ino);
        self.times.add(waiting.asked.elapsed());
        waiting.reply.ok();
    }
}

/// What the serving thread and the harness share.
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process asks for a sync.
    pub(super) fn sync(&self, ino: Ino, reply: ReplyEmpty) {
        let mut state = self.lock();
        let waiting = Waiting { ino, asked: Instant::now(), reply };
        match state.mode {
            Mode::Well => state.finish(waiting),
            Mode::Holding { .. } | Mode::Slow { .. } if state.waiting.len() < WAITING_MAX => {
                state.waiting.push_back(waiting);
                drop(state);
                self.changed.notify_all();
            }
            Mode::Holding { .. } | Mode::Slow { .. } => waiting.reply.error(Errno::ENOMEM),
            Mode::Refusing | Mode::Off => {
                state.times.refused += 1;
                waiting.reply.error(Errno::EIO);
            }
        }
    }

    /// Finishes slow syncs in their time, until the disk is not slow any more.
    fn finish_slow(&self) {
        let mut state = self.lock();
        while let Mode::Slow { by } = state.mode {
            let now = Instant::now();
            let due = state.waiting.front().map(|first| first.asked + by);
            match due {
                Some(due) if due <= now => {
                    let first = state.waiting.pop_front().expect("it was there");
                    state.finish(first);
                }
                Some(due) => {
                    state = self.changed.wait_timeout(state, due - now).unwrap_or_else(PoisonError::into_inner).0;
                }
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// A disk. Dropping it unmounts it.
pub struct Disk {
    shared: Arc<Shared>,
    mountpoint: PathBuf,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").field("mountpoint", &self.mountpoint).finish_non_exhaustive()
    }
}

impl Disk {
    /// Makes an empty one and mounts it at `disks/NAME` in the sandbox's scratch directory.
    ///
    /// # Errors
    /// There is no FUSE here, or the system refuses a step.
    pub fn serve(sandbox: &Sandbox, name: &str) -> Result<Disk, DiskError> {
        let mountpoint = sandbox.scratch().join("disks").join(name);
        let failed = |what| {
            let path = mountpoint.clone();
            move |source: io::Error| DiskError::System { what, path, source }
        };
        fs::create_dir_all(&mountpoint).map_err(failed("can't make the directory"))?;
        let device = device().map_err(|error| {
            DiskError::Unavailable(unavailable().map_or_else(|| error.to_string(), |(reason, _)| reason))
        })?;
        let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
        let options = format!("fd={},rootmode=40755,user_id={uid},group_id={gid}", device.as_raw_fd());
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
        mount(Some("hearsay"), &mountpoint, Some(MOUNT_TYPE), flags, Some(options.as_str()))
            .map_err(|errno| failed("can't mount a disk at")(errno.into()))?;
        let state = State {
            volume: Volume::new(DISK_BYTES_MAX),
            listings: Listings::default(),
            mode: Mode::Well,
            waiting: VecDeque::new(),
            times: SyncTimes::default(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        // From here on dropping it unmounts.
        let disk = Disk { shared: Arc::clone(&shared), mountpoint: mountpoint.clone() };
        let session = Session::from_fd(Served { shared }, OwnedFd::from(device), SessionACL::Owner, Config::default())
            .map_err(failed("the kernel does not take the disk at"))?;
        std::thread::Builder::new()
            .name(format!("disk-{name}"))
            .stack_size(STACK_BYTES)
            // It ends with the mount. If it fails, processes that use the disk are told by the kernel.
            .spawn(move || drop(session.run()))
            .map_err(failed("can't start the thread that serves"))?;
        Ok(disk)
    }

    /// Where it is mounted. Not for the harness to look into.
    pub fn path(&self) -> &Path {
        &self.mountpoint
    }

    /// From now on no sync comes to its end.
    pub fn hold(&self) {
        self.set(Mode::Holding { since: Instant::now() });
    }

    /// Whether a power cut would lose anything, or keeps somebody waiting.
    pub fn has_unsynced(&self) -> bool {
        let state = self.shared.lock();
        state.volume.has_unsynced() || !state.waiting.is_empty()
    }

    /// Cuts the power: everything fails until [`Disk::restore`], and syncs that wait are refused, so that whoever waits for one
    /// can die.
    pub fn cut(&self) -> Cut {
        let mut state = self.shared.lock();
        let held_for = match state.mode {
            Mode::Holding { since } => since.elapsed(),
            Mode::Well | Mode::Slow { .. } | Mode::Refusing | Mode::Off => Duration::ZERO,
        };
        state.mode = Mode::Off;
        let waiting = std::mem::take(&mut state.waiting);
        let cut = Cut { syncs_held: waiting.len() as u64, held_for };
        drop(state);
        self.shared.changed.notify_all();
        waiting.into_iter().for_each(|waiting| waiting.reply.error(Errno::EIO));
        cut
    }

    /// Switches the power on again: what was not synced is gone, or torn as drawn from a seed. Only when no process uses the disk
    /// any more.
    pub fn restore(&self, torn: Option<u64>) -> Loss {
        let mut state = self.shared.lock();
        let mut random = torn.map(ChaCha8Rng::seed_from_u64);
        let mut draw = random.as_mut().map(|random| move |below: u64| random.next_u64() % below);
        let loss = state.volume.cut(draw.as_mut().map(|draw| draw as &mut dyn FnMut(u64) -> u64));
        state.mode = Mode::Well;
        loss
    }

    /// From now on every sync takes so much longer; the times until now.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn slow(&self, by: Duration) -> io::Result<SyncTimes> {
        let times = self.set(Mode::Slow { by });
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("slow-disk".to_owned()).stack_size(STACK_BYTES);
        thread.spawn(move || shared.finish_slow())?;
        Ok(times)
    }

    /// From now on every sync is refused; the times until now.
    pub fn refuse(&self) -> SyncTimes {
        self.set(Mode::Refusing)
    }

    /// From now on it is well: syncs that wait are done. The times since it was made unwell.
    pub fn heal(&self) -> SyncTimes {
        self.set(Mode::Well)
    }

    /// Syncs since its mode was set last.
    pub fn times(&self) -> SyncTimes {
        self.shared.lock().times
    }

    /// Changes the mode; the times of the former one.
    fn set(&self, mode: Mode) -> SyncTimes {
        let mut state = self.shared.lock();
        let times = std::mem::take(&mut state.times);
        // Sooner than they would have been: they count for neither mode.
        for waiting in std::mem::take(&mut state.waiting) {
            state.finish(waiting);
        }
        state.times = SyncTimes::default();
        state.mode = mode;
        drop(state);
        self.shared.changed.notify_all();
        times
    }

    /// Files, and their bytes.
    pub fn contents(&self) -> (u64, u64) {
        self.shared.lock().volume.contents()
    }

    /// Removes everything, durably; how many files and bytes there were. Only when no process uses the disk.
    pub fn wipe(&self) -> (u64, u64) {
        self.shared.lock().volume.wipe()
    }

    /// Whether a process was ever told that it is full. It has room for 512 MiB.
    pub fn was_full(&self) -> bool {
        self.shared.lock().volume.was_full()
    }

    /// Copies everything into a directory that exists, for people to look at.
    ///
    /// # Errors
    /// It can't be written.
    pub fn export(&self, to: &Path) -> io::Result<()> {
        let tree = self.shared.lock().volume.tree().clone();
        export(&tree, ROOT, to)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.cut();
        // Gone already, or still in use by somebody who will end: then it goes with them.
        let _ = umount2(&self.mountpoint, MntFlags::MNT_DETACH);
    }
}

fn export(tree: &Tree, directory: Ino, to: &Path) -> io::Result<()> {
    for (name, &ino) in tree.directory(directory).into_iter().flatten() {
        let path = to.join(name);
        match tree.get(ino).map(|inode| &inode.kind) {
            Some(Kind::Directory { .. }) => {
                fs::create_dir(&path)?;
                export(tree, ino, &path)?;
            }
            Some(Kind::File(pages)) => {
                let file = File::create(&path)?;
                file.set_len(pages.length())?;
                for (page, content) in pages.iter() {
                    let from = page * PAGE as u64;
                    file.write_all_at(&content[..pages.bytes_of(page)], from)?;
                }
            }
            Some(Kind::Link(target)) => std::os::unix::fs::symlink(target, &path)?,
            None => {}
        }
    }
    Ok(())
}
