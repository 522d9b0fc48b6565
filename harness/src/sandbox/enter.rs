//! Entering a sandbox: three processes, one program.
//!
//! ```text
//! supervisor   the process that the person started. Unshares user (when not root), pid, mount, net, ipc and uts
//!   |          namespaces, forwards SIGINT and SIGTERM, waits, returns the exit code
//!  init        pid 1 of the new PID namespace: mounts, loopback, limits; then reaps orphans and waits for the harness
//!   |
//! harness      the program itself, `Role::Inside`; nodes and clients are its children
//! ```
//!
//! Forking is unsafe in Rust, so each step runs `/proc/self/exe` again with the same arguments and one environment variable
//! that says which step it is. [`resume`] (or [`enter`]) therefore belongs at the very start of `main`, before any thread.
//!
//! Invariants:
//! - **The end of init is the end of everything inside**: the kernel kills every process of a PID namespace with its first
//!   process, double forks included, and namespaces, mounts, interfaces and rules go with the last process in them.
//! - **Init does not outlive its supervisor.** The death signal covers every moment after it was asked for; a pipe whose
//!   writing end only the supervisor holds covers the moments before.
//! - **Orphans are reaped without stealing an exit status**: they are adopted by init, the children of the harness are not. That
//!   is why init is a process of its own.
//! - Init's signals are blocked from before it starts, so that none is lost; a blocked signal reaches even a first process.
//!
//! Not here: a cgroup. A cgroup is a directory on the host, and would stay behind after `kill -9`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, getpid, getppid, pipe2};
use rtnetlink::LinkMessageBuilder;
use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use super::doctor;
use super::netlink::{Batch, Netlink, NetlinkError};
use super::network::push;

/// The environment variable that tells a re-executed program which step it is. Not passed on to nodes.
pub const MARKER: &str = "HEARSAY_SANDBOX";

/// The sandbox's own memory, over the host's `/run`, which nothing inside needs.
const RUN: &str = "/run";
const SCRATCH: &str = "/run/hearsay";
/// Exit code when the harness itself failed.
const HARNESS_FAILED: u8 = 70;
/// A further signal so soon after the first is no further order.
pub(crate) const SAME_ORDER_WITHIN: Duration = Duration::from_millis(500);
const EXECUTABLE: &str = "/proc/self/exe";

/// Which of the processes this one is.
#[derive(Debug)]
pub enum Role {
    /// The harness proper, inside.
    Inside(Sandbox),
    /// The outer process, after everything inside has ended: `main` returns this code.
    Supervisor(ExitCode),
}

/// Proof of being inside a sandbox.
#[derive(Debug)]
pub struct Sandbox {
    _private: (),
}

impl Sandbox {
    /// For the steps in here that know they are inside.
    pub(super) fn inside() -> Sandbox {
        Sandbox { _private: () }
    }

    /// A directory in memory that ends with the sandbox: configurations, keys, node disks where memory will do.
    pub fn scratch(&self) -> &Path {
        Path::new(SCRATCH)
    }
}

/// Why there is no sandbox. The message names the mend.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Namespaces were refused.
    #[error("can't make the sandbox's namespaces: {errno}. {mend}")]
    Namespaces {
        /// The system's word.
        errno: Errno,
        /// What to do about it.
        mend: String,
    },
    /// A step of setting it up failed.
    #[error("can't set up the sandbox: {what}: {source}. {mend}")]
    Setup {
        /// Which step.
        what: String,
        /// The system's word.
        source: io::Error,
        /// What to do about it.
        mend: String,
    },
    /// The variable is set, but this process is in no sandbox.
    #[error("{MARKER} is set to `{0}`, but this is no step of entering a sandbox: unset {MARKER}")]
    Marker(String),
    /// The working directory would vanish.
    #[error(
        "the working directory {0} is below {RUN}, which is replaced inside the sandbox: change to another directory"
    )]
    WorkingDirectory(PathBuf),
}

impl SandboxError {
    fn setup(what: impl Into<String>, source: impl Into<io::Error>) -> SandboxError {
        let (what, source) = (what.into(), source.into());
        let mend = match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM | Errno::EACCES) => namespace_mend(),
            _ => "`hearsay doctor` says what this machine can do".to_string(),
        };
        SandboxError::Setup { what, source, mend }
    }
}

/// Enters a sandbox: returns inside it, or, in the outer process, after it has ended. Call it before starting any thread.
pub fn enter() -> Result<Role, SandboxError> {
    match resume()? {
        Some(sandbox) => Ok(Role::Inside(sandbox)),
        None => supervise().map(Role::Supervisor),
    }
}

/// Continues entering a sandbox in a re-executed process: `None` outside, the sandbox inside. Init and the doctor's probe end
/// in here. The first thing in `main` of every program that uses sandboxes.
pub fn resume() -> Result<Option<Sandbox>, SandboxError> {
    let Some(marker) = std::env::var_os(MARKER) else { return Ok(None) };
    let stray = || SandboxError::Marker(marker.to_string_lossy().into_owned());
    let marker = marker.to_str().ok_or_else(stray)?;
    match marker.split(':').collect::<Vec<_>>()[..] {
        ["init", lifeline, next] if getpid().as_raw() == 1 => {
            let lifeline = lifeline.parse().map_err(|_| stray())?;
            let code = init(lifeline, next)?;
            std::process::exit(code);
        }
        ["inside"] if getppid().as_raw() == 1 => {
            unblock_signals();
            Ok(Some(Sandbox::inside()))
        }
        ["outer-probe"] => {
            let mut init = Inner::spawn("probe")?;
            let status = init.child.wait().map_err(|e| SandboxError::setup("waiting for the probe", e))?;
            std::process::exit(i32::from(outer_code(status)));
        }
        ["probe"] if getppid().as_raw() == 1 => {
            unblock_signals();
            std::process::exit(doctor::probe());
        }
        _ => Err(stray()),
    }
}

/// Makes a sandbox, runs this program inside it with the same arguments, and returns its exit code once nothing of it is left.
///
/// SIGINT, SIGTERM and SIGHUP are passed on the first time, for an orderly end; the next one ends everything at once. What
/// comes within half a second of the first is the same order given twice, as by `timeout` (to the process and to its group).
pub fn supervise() -> Result<ExitCode, SandboxError> {
    let directory = std::env::current_dir().unwrap_or_default();
    if directory.starts_with(RUN) {
        return Err(SandboxError::WorkingDirectory(directory));
    }
    let mut init = Inner::spawn("inside")?;
    let mut interrupted: Option<Instant> = None;
    let status = loop {
        match init.signals.wait() {
            Ok(Signal::SIGCHLD) => {}
            Ok(signal) => {
                let signal = if signal == Signal::SIGHUP { Signal::SIGTERM } else { signal };
                let pass_on = match interrupted {
                    None => Some(signal),
                    Some(first) if first.elapsed() < SAME_ORDER_WITHIN => None,
                    Some(_) => Some(Signal::SIGKILL),
                };
                interrupted.get_or_insert_with(Instant::now);
                if let Some(signal) = pass_on {
                    // Fails only when init has ended, which the next lines notice.
                    let _ = kill(init.pid(), signal);
                }
            }
            Err(error) => return Err(SandboxError::setup("waiting for signals", error)),
        }
        if let Some(status) = init.child.try_wait().map_err(|e| SandboxError::setup("waiting for the sandbox", e))? {
            break status;
        }
    };
    Ok(ExitCode::from(outer_code(status)))
}

/// Runs the doctor's probe in a sandbox of its own. What it printed, or what kept it from running.
pub(super) fn run_probe() -> Result<Vec<u8>, SandboxError> {
    // A process of its own does the unsharing: this one may have threads, and must stay where it is.
    let output = Command::new(EXECUTABLE)
        .env(MARKER, "outer-probe")
        .output()
        .map_err(|e| SandboxError::setup("starting the probe", e))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
            Err(SandboxError::Setup {
                what: "the probe ended".to_string(),
                source: io::Error::other(format!("{} ({said})", output.status)),
                mend: namespace_mend(),
            })
        }
    }
}

/// Init, as its supervisor sees it.
struct Inner {
    child: std::process::Child,
    signals: SigSet,
    /// The pipe that init reads from; its end is ours.
    _lifeline: std::os::fd::OwnedFd,
}

impl Inner {
    fn spawn(next: &str) -> Result<Inner, SandboxError> {
        unshare_all()?;
        let signals = watched_signals();
        let mut blocked = signals;
        // The sandbox is no foreground job of the terminal; with this blocked it may write there all the same.
        blocked.add(Signal::SIGTTOU);
        blocked.thread_block().map_err(|e| SandboxError::setup("blocking signals", e))?;
        let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(|e| SandboxError::setup("making a pipe", e))?;
        fcntl(&reader, FcntlArg::F_SETFD(FdFlag::empty())).map_err(|e| SandboxError::setup("sharing a pipe", e))?;
        let lifeline = std::os::fd::AsRawFd::as_raw_fd(&reader);
        let mut command = itself();
        // A process group of its own: Ctrl-C reaches the supervisor alone, and is then passed on once.
        command.env(MARKER, format!("init:{lifeline}:{next}")).process_group(0);
        let child = command.spawn().map_err(|e| SandboxError::setup("running this program again", e))?;
        Ok(Inner { child, signals, _lifeline: writer })
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }
}

fn itself() -> Command {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| OsString::from("hearsay"));
    let mut command = Command::new(EXECUTABLE);
    command.arg0(name).args(arguments);
    command
}

fn watched_signals() -> SigSet {
    [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect()
}

fn unblock_signals() {
    // Can't fail: the set is a constant.
    let _ = watched_signals().thread_unblock();
}

fn outer_code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => {
            eprintln!("hearsay: the sandbox was ended by signal {signal}");
            HARNESS_FAILED
        }
        (None, None) => HARNESS_FAILED,
    }
}

fn unshare_all() -> Result<(), SandboxError> {
    let flags = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    let (uid, gid) = (Uid::effective(), Gid::effective());
    if uid.is_root() {
        match unshare(flags) {
            Ok(()) => return Ok(()),
            // Root of a container without the capability: a user namespace may still be allowed.
            Err(Errno::EPERM) => {}
            Err(errno) => return Err(SandboxError::Namespaces { errno, mend: namespace_mend() }),
        }
    }
    unshare(flags | CloneFlags::CLONE_NEWUSER)
        .map_err(|errno| SandboxError::Namespaces { errno, mend: namespace_mend() })?;
    let write = |path: &str, text: String| {
        fs::write(path, text).map_err(|error| SandboxError::setup(format!("writing {path}"), error))
    };
    write("/proc/self/setgroups", "deny".to_string())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))
}

/// What a person can do about refused namespaces, from the settings that are known to refuse them.
pub(super) fn namespace_mend() -> String {
    let setting = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_string());
    if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
        return "AppArmor restricts unprivileged user namespaces (kernel.apparmor_restrict_unprivileged_userns = 1, the default of \
                Ubuntu 24.04): run it with sudo, or `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
            .to_string();
    }
    if setting("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") {
        return "unprivileged user namespaces are switched off: run it with sudo, or `sudo sysctl kernel.unprivileged_userns_clone=1`"
            .to_string();
    }
    if setting("/proc/sys/user/max_user_namespaces").as_deref() == Some("0") {
        return "user namespaces are switched off: run it with sudo, or `sudo sysctl user.max_user_namespaces=10000`"
            .to_string();
    }
    "Run it with sudo; in a container, allow it namespaces (docker run --privileged)".to_string()
}

/// The first process of the PID namespace: prepares the place, runs the program, reaps, and ends with it.
fn init(lifeline: i32, next: &str) -> Result<i32, SandboxError> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(|e| SandboxError::setup("asking for a death signal", e))?;
    hold_lifeline(lifeline)?;
    mounts()?;
    fs::create_dir(SCRATCH).map_err(|e| SandboxError::setup(format!("making {SCRATCH}"), e))?;
    loopback().map_err(|e| SandboxError::setup("bringing up loopback", io::Error::other(e)))?;
    for (path, value) in [
        ("/proc/sys/net/ipv4/ip_forward", "1"),
        ("/proc/sys/net/ipv4/conf/all/rp_filter", "0"),
        ("/proc/sys/net/ipv4/conf/default/rp_filter", "0"),
    ] {
        fs::write(path, value).map_err(|e| SandboxError::setup(format!("writing {path}"), e))?;
    }
    without_ipv6();
    raise_limits();
    let child = itself().env(MARKER, next).spawn().map_err(|e| SandboxError::setup("running this program again", e))?;
    reap_until_end(Pid::from_raw(child.id() as i32))
}

/// Ends this process when the supervisor's end of the pipe closes, whatever the reason.
fn hold_lifeline(number: i32) -> Result<(), SandboxError> {
    // Opened anew through /proc: a file of our own, closed on exec, where a bare number would need unsafe code.
    let mut pipe = fs::File::open(format!("/proc/self/fd/{number}"))
        .map_err(|e| SandboxError::setup("opening the lifeline", e))?;
    nix::unistd::close(number).map_err(|e| SandboxError::setup("closing the inherited lifeline", e))?;
    let watch = move || {
        // Nothing is ever written: this returns when the other end is gone.
        let _ = pipe.read(&mut [0; 1]);
        std::process::exit(i32::from(HARNESS_FAILED));
    };
    std::thread::Builder::new()
        .name("lifeline".to_string())
        .spawn(watch)
        .map_err(|e| SandboxError::setup("starting the lifeline's thread", e))?;
    Ok(())
}

fn mounts() -> Result<(), SandboxError> {
    let none = None::<&str>;
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|e| SandboxError::setup("making mounts private", e))?;
    mount(Some("proc"), "/proc", Some("proc"), quiet | MsFlags::MS_NOEXEC, none)
        .map_err(|e| SandboxError::setup("mounting a fresh /proc", e))?;
    mount(Some("hearsay"), RUN, Some("tmpfs"), quiet, Some("mode=755"))
        .map_err(|e| SandboxError::setup(format!("mounting memory on {RUN}"), e))
}

fn loopback() -> Result<(), NetlinkError> {
    let mut batch = Batch::default();
    let up = LinkMessageBuilder::<LinkUnspec>::new().index(1).up().build();
    push(&mut batch, RouteNetlinkMessage::SetLink(up), 0);
    Netlink::open(NETLINK_ROUTE)?.execute(batch, 0)
}

/// Switches IPv6 off for interfaces made later in this thread's network namespace: no address, no chatter, quicker to bring up.
/// A kernel without IPv6 has nothing to switch off.
pub(super) fn without_ipv6() {
    let _ = fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
}

/// Open files up to what is allowed: 200 nodes mean thousands of descriptors, and the default is often 1,024.
fn raise_limits() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

fn reap_until_end(harness: Pid) -> Result<i32, SandboxError> {
    let signals = watched_signals();
    loop {
        loop {
            let code = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == harness => code,
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == harness => {
                    eprintln!("hearsay: the harness was ended by {signal}");
                    i32::from(HARNESS_FAILED)
                }
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(error) => return Err(SandboxError::setup("reaping", error)),
            };
            return Ok(code);
        }
        match signals.wait() {
            Ok(Signal::SIGCHLD) => {}
            // Fails only when the harness has just ended, and then SIGCHLD follows.
            Ok(signal) => drop(kill(harness, signal)),
            Err(error) => return Err(SandboxError::setup("waiting for signals", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_their_mend() {
        let error = SandboxError::setup("mounting", Errno::EPERM).to_string();
        assert!(error.contains("sudo"), "{error}");
        let error = SandboxError::setup("mounting", Errno::ENOENT).to_string();
        assert!(error.contains("hearsay doctor"), "{error}");
    }
}
