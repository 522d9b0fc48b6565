//! Node processes: started in their namespaces, killed, paused, started again, and watched.
//!
//! One watching thread a process waits for its end. Invariants: a signal is only ever sent to a process that was not reaped yet
//! (the end is first seen without reaping, then recorded under the same lock that signals take); **an end that nobody asked for
//! is reported at once**, with the end of the log, and so is one that came differently than asked (a node that panicked just
//! before its SIGKILL).
//!
//! Nodes get a process group of their own, so that Ctrl-C at the terminal is none of their business. Not here: what a fault
//! is, and whether it bit ([`crate::faults::injector`]).

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hearsay_core::NodeId;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::enter::MARKER;
use super::network::Network;
use super::procfs;
use crate::disk::Disk;

/// How long a killed process may take to be reaped, and a stopped one to stand still.
const SIGNAL_PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_micros(200);
/// Exit code of a Rust program that panicked.
const PANICKED: i32 = 101;
const LOG_TAIL_BYTES: u64 = 8 * 1024;
const LOG_TAIL_LINES: usize = 40;
/// Deaths that wait to be read by the run. A run ends at the first, so more are only counted.
const DEATHS_WAITING_MAX: usize = 64;

/// Makes the command that starts a node.
pub type CommandFactory = Arc<dyn Fn(NodeId) -> Command + Send + Sync>;

/// Where processes are started.
pub trait Place: Send + Sync {
    /// Starts a command as this node.
    fn spawn(&self, node: NodeId, command: Command) -> io::Result<Child>;
}

impl Place for Network {
    fn spawn(&self, node: NodeId, command: Command) -> io::Result<Child> {
        self.spawn_in_node(node, command)
    }
}

/// The place where the harness is: no namespace of its own. For tests.
#[derive(Clone, Copy, Debug)]
pub struct Here;

impl Place for Here {
    fn spawn(&self, _node: NodeId, mut command: Command) -> io::Result<Child> {
        command.spawn()
    }
}

/// Where a node keeps what.
#[derive(Clone, Debug)]
pub struct NodePlaces {
    /// Standard output and error are appended here.
    pub log: PathBuf,
    /// Its disk, which only the node writes to. A wipe removes everything in it, so no keys or configuration belong here.
    pub disk: DiskPlace,
}

/// A node's disk.
#[derive(Clone, Debug)]
pub enum DiskPlace {
    /// A directory. It loses nothing.
    Plain(PathBuf),
    /// One that can lose power.
    Served(Arc<Disk>),
}

impl DiskPlace {
    /// Where the node finds it.
    pub fn path(&self) -> &Path {
        match self {
            DiskPlace::Plain(path) => path,
            DiskPlace::Served(disk) => disk.path(),
        }
    }
}

/// A node process that ended without being asked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeDied {
    /// Which node.
    pub node: NodeId,
    /// Its process.
    pub pid: u32,
    /// How it ended, in words: `exit status: 101`, `signal: 6 (SIGABRT)`.
    pub status: String,
    /// The end of its log; a panic's message is here.
    pub log_tail: String,
}

impl std::fmt::Display for NodeDied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ended by itself ({}); the end of its log:\n{}", self.node, self.status, self.log_tail)
    }
}

/// What could not be done with a node process.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// No such node.
    #[error("{0} is not one of the nodes")]
    Unknown(NodeId),
    /// It runs already.
    #[error("{0} is running already")]
    Running(NodeId),
    /// It does not run.
    #[error("{0} is not running")]
    NotRunning(NodeId),
    /// The system refused.
    #[error("{what} of {node}: {source}")]
    System {
        /// The step.
        what: String,
        /// The node.
        node: NodeId,
        /// The system's word.
        source: io::Error,
    },
    /// A signal that had no effect in time.
    #[error("{node} (process {pid}) was sent {signal}, but after {waited_ms} ms it {state}")]
    Unmoved {
        /// The node.
        node: NodeId,
        /// Its process.
        pid: u32,
        /// What it was sent.
        signal: &'static str,
        /// How long we waited.
        waited_ms: u64,
        /// What it was still seen doing.
        state: String,
    },
}

/// How a process ended that was asked to.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its process.
    pub pid: u32,
    /// Its status.
    pub status: ExitStatus,
    /// From the signal to the reaped process.
    pub took: Duration,
}

/// What was seen of a paused or continued process.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Its process.
    pub pid: u32,
    /// Its threads.
    pub threads: u64,
    /// CPU time used so far, nanoseconds.
    pub cpu_ns: u64,
    /// From the signal to the seen effect.
    pub took: Duration,
}

/// All node processes of a run. Clones are the same nodes.
#[derive(Clone)]
pub struct Nodes {
    shared: Arc<Shared>,
}

struct Shared {
    place: Arc<dyn Place>,
    factory: CommandFactory,
    slots: Mutex<BTreeMap<NodeId, Slot>>,
    ended: Condvar,
    deaths: mpsc::Sender<NodeDied>,
    deaths_dropped: AtomicU64,
}

struct Slot {
    places: NodePlaces,
    starts: u64,
    running: Option<Running>,
    last: Option<(u64, u32, ExitStatus)>,
    retires: bool,
}

struct Running {
    pid: u32,
    start: u64,
    asked_to_end: bool,
    excused: bool,
}

impl Nodes {
    /// Nodes that don't run yet, and the stream of those that end by themselves.
    pub fn new(
        place: Arc<dyn Place>,
        factory: CommandFactory,
        places: BTreeMap<NodeId, NodePlaces>,
    ) -> (Nodes, mpsc::Receiver<NodeDied>) {
        let (deaths, receiver) = mpsc::channel(DEATHS_WAITING_MAX);
        let slots = places
            .into_iter()
            .map(|(node, places)| (node, Slot { places, starts: 0, running: None, last: None, retires: false }));
        let shared = Shared {
            place,
            factory,
            slots: Mutex::new(slots.collect()),
            ended: Condvar::new(),
            deaths,
            deaths_dropped: AtomicU64::new(0),
        };
        (Nodes { shared: Arc::new(shared) }, receiver)
    }

    /// Starts a node; its process.
    pub fn start(&self, node: NodeId) -> Result<u32, ProcessError> {
        let failed = |what: String| move |source| ProcessError::System { what, node, source };
        // Held while starting: a second start, or a kill, of the same node waits its turn.
        let mut slots = self.shared.lock();
        let slot = slots.get_mut(&node).ok_or(ProcessError::Unknown(node))?;
        if slot.running.is_some() {
            return Err(ProcessError::Running(node));
        }
        if let DiskPlace::Plain(path) = &slot.places.disk {
            fs::create_dir_all(path).map_err(failed(format!("can't make the disk {}", path.display())))?;
        }
        let log =
            open_log(&slot.places.log).map_err(failed(format!("can't open the log {}", slot.places.log.display())))?;
        let second = log.try_clone().map_err(failed("can't open the log twice".to_string()))?;
        let mut command = (self.shared.factory)(node);
        command.stdin(Stdio::null()).stdout(log).stderr(second).env_remove(MARKER).process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let child =
            self.shared.place.spawn(node, command).map_err(failed(format!("can't start the process `{program}`")))?;
        let pid = child.id();
        slot.starts += 1;
        let start = slot.starts;
        slot.running = Some(Running { pid, start, asked_to_end: false, excused: false });
        drop(slots);
        let shared = Arc::clone(&self.shared);
        std::thread::Builder::new()
            .name(format!("watch-{node}"))
            .stack_size(128 * 1024)
            .spawn(move || shared.watch(node, start, child))
            .map_err(failed("can't start the watching thread".to_string()))?;
        Ok(pid)
    }

    /// Kills nodes with SIGKILL, all at once, and waits until they are reaped.
    pub fn kill(&self, nodes: &[NodeId]) -> Result<Vec<(NodeId, Ended)>, ProcessError> {
        self.kill_and(nodes, || {})
    }

    /// As [`Nodes::kill`]; does something between the signals and the wait: what a dying process waits for itself.
    pub fn kill_and(&self, nodes: &[NodeId], signalled: impl FnOnce()) -> Result<Vec<(NodeId, Ended)>, ProcessError> {
        self.end(nodes, Signal::SIGKILL, SIGNAL_PATIENCE, signalled)
    }

    /// From now on a running node may end by itself with an error, though not by a panic: that is no unexpected death.
    pub fn excuse(&self, node: NodeId) -> Result<(), ProcessError> {
        let mut slots = self.shared.lock();
        let slot = slots.get_mut(&node).ok_or(ProcessError::Unknown(node))?;
        slot.running.as_mut().ok_or(ProcessError::NotRunning(node))?.excused = true;
        Ok(())
    }

    /// From now on every process of this node may end by itself, though not by a panic or a signal: it was told to leave for good.
    pub fn retire(&self, node: NodeId) -> Result<(), ProcessError> {
        let mut slots = self.shared.lock();
        slots.get_mut(&node).ok_or(ProcessError::Unknown(node))?.retires = true;
        Ok(())
    }

    /// How the last process of a node ended that is there no more; `None` while one runs, or before the first.
    pub fn last_end(&self, node: NodeId) -> Option<ExitStatus> {
        let slots = self.shared.lock();
        let slot = slots.get(&node)?;
        let (start, _, status) = slot.last?;
        (slot.running.is_none() && start == slot.starts).then_some(status)
    }

    /// Asks nodes to end, with SIGTERM, all at once, and waits until they are reaped.
    ///
    /// # Errors
    /// [`ProcessError::Unmoved`] when one of them still runs after `patience`.
    pub fn stop(&self, nodes: &[NodeId], patience: Duration) -> Result<Vec<(NodeId, Ended)>, ProcessError> {
        self.end(nodes, Signal::SIGTERM, patience, || {})
    }

    /// Ends nodes in an orderly way, SIGTERM and then a wait; whoever is left is killed. Those not running are passed over.
    pub fn stop_all(&self, patience: Duration) -> Result<Vec<(NodeId, Ended)>, ProcessError> {
        let running = self.running();
        // A paused process takes no SIGTERM.
        for &node in &running {
            let _ = self.signal(node, Signal::SIGCONT, false);
        }
        match self.end(&running, Signal::SIGTERM, patience, || {}) {
            Err(ProcessError::Unmoved { .. }) => self.kill(&self.running()),
            other => other,
        }
    }

    /// Stops a node with SIGSTOP and waits until every one of its threads stands still.
    pub fn pause(&self, node: NodeId) -> Result<Standing, ProcessError> {
        self.stand(node, Signal::SIGSTOP, "SIGSTOP", |seen| seen.stopped == seen.count)
    }

    /// Lets a paused node go on and waits until none of its threads stands still.
    pub fn proceed(&self, node: NodeId) -> Result<Standing, ProcessError> {
        self.stand(node, Signal::SIGCONT, "SIGCONT", |seen| seen.stopped == 0)
    }

    /// Threads that are stopped, all threads, and the CPU time used, of a running node.
    pub fn look(&self, node: NodeId) -> Result<(u64, u64, u64), ProcessError> {
        let pid = self.pid(node).ok_or(ProcessError::NotRunning(node))?;
        let seen = procfs::threads(pid).map_err(|source| unreadable(node, pid, source))?;
        Ok((seen.stopped, seen.count, seen.cpu_ns))
    }

    /// The process of a node, if it runs.
    pub fn pid(&self, node: NodeId) -> Option<u32> {
        Some(self.shared.lock().get(&node)?.running.as_ref()?.pid)
    }

    /// Nodes that run now.
    pub fn running(&self) -> Vec<NodeId> {
        self.shared.lock().iter().filter(|(_, slot)| slot.running.is_some()).map(|(&node, _)| node).collect()
    }

    /// How often a node was started.
    pub fn starts(&self, node: NodeId) -> u64 {
        self.shared.lock().get(&node).map_or(0, |slot| slot.starts)
    }

    /// Where a node keeps what.
    pub fn places(&self, node: NodeId) -> Option<NodePlaces> {
        self.shared.lock().get(&node).map(|slot| slot.places.clone())
    }

    /// Unexpected ends that found no room in the stream.
    pub fn deaths_dropped(&self) -> u64 {
        self.shared.deaths_dropped.load(Ordering::Relaxed)
    }

    /// The end of a node's log.
    pub fn log_tail(&self, node: NodeId) -> String {
        self.places(node).map(|places| log_tail(&places.log)).unwrap_or_default()
    }

    fn end(
        &self,
        nodes: &[NodeId],
        signal: Signal,
        patience: Duration,
        signalled: impl FnOnce(),
    ) -> Result<Vec<(NodeId, Ended)>, ProcessError> {
        let began = Instant::now();
        let signals: Result<Vec<_>, ProcessError> =
            nodes.iter().map(|&node| Ok((node, self.signal(node, signal, true)?))).collect();
        signalled();
        let waited_for = signals?;
        let mut ended = Vec::new();
        for (node, (start, pid)) in waited_for {
            let mut slots = self.shared.lock();
            let (status, took) = loop {
                let slot = slots.get(&node).ok_or(ProcessError::Unknown(node))?;
                if let Some((last, _, status)) = slot.last
                    && last == start
                {
                    break (status, began.elapsed());
                }
                let Some(left) = patience.checked_sub(began.elapsed()) else {
                    return Err(unmoved(node, pid, signal.as_str(), patience, "still runs".to_string()));
                };
                slots = self.shared.ended.wait_timeout(slots, left).unwrap_or_else(PoisonError::into_inner).0;
            };
            ended.push((node, Ended { pid, status, took }));
        }
        Ok(ended)
    }

    /// Sends a signal to a process that is certainly still ours; which start of the node it was, and its pid.
    fn signal(&self, node: NodeId, signal: Signal, ends: bool) -> Result<(u64, u32), ProcessError> {
        let mut slots = self.shared.lock();
        let slot = slots.get_mut(&node).ok_or(ProcessError::Unknown(node))?;
        let running = slot.running.as_mut().ok_or(ProcessError::NotRunning(node))?;
        running.asked_to_end |= ends;
        kill(Pid::from_raw(running.pid as i32), signal).map_err(|errno| ProcessError::System {
            what: format!("can't send {signal}"),
            node,
            source: errno.into(),
        })?;
        Ok((running.start, running.pid))
    }

    fn stand(
        &self,
        node: NodeId,
        signal: Signal,
        name: &'static str,
        reached: impl Fn(&procfs::Threads) -> bool,
    ) -> Result<Standing, ProcessError> {
        let began = Instant::now();
        let (_, pid) = self.signal(node, signal, false)?;
        loop {
            let seen = procfs::threads(pid).map_err(|source| unreadable(node, pid, source))?;
            let took = began.elapsed();
            if reached(&seen) {
                return Ok(Standing { pid, threads: seen.count, cpu_ns: seen.cpu_ns, took });
            }
            if took > SIGNAL_PATIENCE {
                let state = format!("had {} of {} threads stopped", seen.stopped, seen.count);
                return Err(unmoved(node, pid, name, SIGNAL_PATIENCE, state));
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self, node: NodeId, start: u64, mut child: Child) {
        let pid = child.id();
        let seen = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        while let Err(nix::errno::Errno::EINTR) = waitid(Id::Pid(Pid::from_raw(pid as i32)), seen) {}
        let mut slots = self.lock();
        let slot = slots.get_mut(&node).expect("slots are never removed");
        let status = match child.wait() {
            Ok(status) => status,
            // Somebody else reaped our child: a defect of the harness, told like a death without a known status.
            Err(_) => ExitStatus::from_raw(0xff00),
        };
        let running = slot.running.take();
        let asked = running.as_ref().is_some_and(|running| running.asked_to_end);
        let excused = running.is_some_and(|running| running.excused);
        slot.last = Some((start, pid, status));
        let log = slot.places.log.clone();
        let slot_retires = slot.retires;
        drop(slots);
        self.ended.notify_all();
        let as_asked = asked && (matches!(status.signal(), Some(9 | 15)) || status.success());
        // With an error where requests in work found no answer before its time was over, as in the middle of a partition.
        let retired = slot_retires && status.code().is_some_and(|code| code != PANICKED);
        let as_excused = excused && status.code().is_some_and(|code| code != 0 && code != PANICKED);
        if !as_asked && !as_excused && !retired {
            let died = NodeDied { node, pid, status: status.to_string(), log_tail: log_tail(&log) };
            if self.deaths.try_send(died).is_err() {
                self.deaths_dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

fn unmoved(node: NodeId, pid: u32, signal: &'static str, patience: Duration, state: String) -> ProcessError {
    ProcessError::Unmoved { node, pid, signal, waited_ms: patience.as_millis() as u64, state }
}

fn unreadable(node: NodeId, pid: u32, source: io::Error) -> ProcessError {
    ProcessError::System { what: format!("can't read the state of process {pid}"), node, source }
}

fn open_log(path: &Path) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// The last lines of a file, at most 8 KiB; empty when it can't be read.
pub fn log_tail(path: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        let from = length.saturating_sub(LOG_TAIL_BYTES);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let mut lines: Vec<&str> = text.lines().collect();
        if from > 0 && lines.len() > 1 {
            // Most likely cut in the middle.
            lines.remove(0);
        }
        Ok(lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n"))
    };
    read().unwrap_or_default()
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
