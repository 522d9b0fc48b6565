//! The life of a sandbox, from outside: exit codes, signals, and nothing left behind after any end.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::UdpSocket;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

use hearsay::disk::{Disk, DiskKind};
use hearsay::faults::FirewallKind;
use hearsay::plan::Endpoint;
use hearsay::sandbox::doctor::{self, Check, Needs};
use hearsay::sandbox::{Network, Sandbox};
use hearsay_core::NodeId;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::support::{Case, Outcome, scratch_directory, until};

const TAG: &str = "HEARSAY_TEST_TAG";
const KILLS: u64 = 14;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        ("exit_codes_come_out_of_the_sandbox", |_| exit_codes()),
        ("a_signal_reaches_the_harness_once_and_a_second_ends_it", |_| signals()),
        ("nothing_is_left_after_kill_9_at_any_moment", |_| nothing_left(Signal::SIGKILL)),
        ("nothing_is_left_after_an_interrupt_at_any_moment", |_| nothing_left(Signal::SIGINT)),
        ("nothing_is_left_when_the_harness_dies", |_| harness_dies()),
        ("orphans_are_reaped_and_no_status_is_stolen", |_| orphans()),
        ("the_doctor_finds_this_machine_fit", |_| doctor_is_content()),
        ("the_first_packets_of_a_new_network_arrive", |_| first_packets()),
        ("a_marker_set_by_hand_is_refused", |_| stray_marker()),
        ("a_sandbox_in_a_sandbox", |_| nested()),
    ]
}

/// What runs inside, for these cases.
pub(crate) fn victim(sandbox: &Sandbox, words: &[String]) -> ExitCode {
    match words.first().map(String::as_str) {
        Some("exit-3") => ExitCode::from(3),
        Some("up") => {
            let nodes: Vec<NodeId> = (1..=5).map(NodeId).collect();
            let network = Network::create(sandbox, &nodes).expect("the network");
            let mut firewall = FirewallKind::Nftables.open(64).expect("the firewall");
            let pair = (network.node_address(nodes[0]), network.node_address(nodes[1]));
            firewall.apply(&BTreeSet::from([pair])).expect("blocking");
            fs::write(sandbox.scratch().join("file"), "content").expect("writing to the scratch directory");
            // Where /dev/fuse can't be opened there is no mount to leave behind.
            let disks: Vec<Disk> =
                nodes.iter().filter_map(|node| Disk::serve(sandbox, &node.to_string()).ok()).collect();
            disks.iter().for_each(Disk::hold);
            let mut children = Vec::new();
            for &node in &nodes {
                let mut command = Command::new("sh");
                // The second one has forked twice, and ignores what asks it to end.
                // One of its processes waits for a disk that holds its syncs.
                let script = "dd if=/dev/zero of=/run/hearsay/disks/$0/file bs=4k count=1 conv=fsync 2> /dev/null & \
                              sleep 1000 & (trap '' TERM INT HUP; setsid sleep 1000 &) ; wait";
                command.args(["-c", script, &node.to_string()]);
                children.push(network.spawn_in_node(node, command).expect("a process in a node"));
            }
            say("up");
            wait_for_signal(&[]);
            drop((children, disks));
            ExitCode::SUCCESS
        }
        Some("count-signals") => {
            let both = [Signal::SIGTERM, Signal::SIGINT];
            let set: SigSet = both.into_iter().collect();
            set.thread_block().expect("blocking");
            say("ready");
            let signal = set.wait().expect("a signal");
            say(&format!("got {signal}"));
            wait_for_signal(&both);
            ExitCode::SUCCESS
        }
        Some("first-packets") => {
            // The pair made last has the least time to become active.
            let network = Network::create(sandbox, &[NodeId(1)]).expect("the network");
            let to = network.socket_at(Endpoint::Node(NodeId(1)), 0).expect("a socket");
            let from = UdpSocket::bind((network.harness_address(), 0)).expect("a socket");
            from.send_to(b"first", to.local_addr().expect("an address")).expect("sending");
            to.set_read_timeout(Some(Duration::from_secs(2))).expect("a time-out");
            to.recv(&mut [0; 8]).expect("the first packet");
            ExitCode::SUCCESS
        }
        Some("orphans") => orphans_inside(),
        Some("nested") => {
            let code = Command::new("/proc/self/exe")
                .args(["mode:victim", "exit-3"])
                .env_remove(hearsay::sandbox::enter::MARKER)
                .status()
                .expect("a sandbox in a sandbox");
            ExitCode::from(code.code().map_or(99, |code| code as u8))
        }
        other => panic!("no such victim: {other:?}"),
    }
}

/// Waits for ever: signals other than the blocked ones end the process.
fn wait_for_signal(blocked: &[Signal]) {
    let mut never: SigSet = blocked.iter().copied().collect();
    never.add(Signal::SIGUSR2);
    never.thread_block().expect("blocking");
    let only: SigSet = [Signal::SIGUSR2].into_iter().collect();
    let _ = only.wait();
}

fn say(text: &str) {
    println!("{text}");
    std::io::stdout().flush().expect("standard output");
}

struct Victim {
    supervisor: Child,
    output: BufReader<ChildStdout>,
    tag: String,
    temporary: std::path::PathBuf,
}

impl Victim {
    fn start(what: &str, number: u64) -> Victim {
        let tag = format!("{}-{what}-{number}", std::process::id());
        let temporary = scratch_directory(&tag);
        let mut supervisor = Command::new("/proc/self/exe")
            .args(["mode:victim", what])
            .env(TAG, &tag)
            .env("TMPDIR", &temporary)
            .stdout(Stdio::piped())
            .spawn()
            .expect("starting the victim");
        let output = BufReader::new(supervisor.stdout.take().expect("its output"));
        Victim { supervisor, output, tag, temporary }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line of the victim");
        line.trim().to_string()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.supervisor.id() as i32), signal).expect("signalling the supervisor");
    }

    fn code(&mut self) -> Option<i32> {
        self.supervisor.wait().expect("the supervisor's status").code()
    }

    /// Processes of this victim, wherever they are: the tag is in their environment.
    fn processes(&self) -> Vec<u32> {
        let wanted = format!("{TAG}={}", self.tag).into_bytes();
        let tagged = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == wanted)
        };
        pids().into_iter().filter(tagged).collect()
    }

    /// Namespaces of this victim, and every process in one of them. Not their numbers alone: the kernel gives the number of an ended
    /// namespace to the next one, and that may be another sandbox on this machine.
    fn holders(&self) -> Holders {
        let own = namespaces_of(std::process::id());
        let names: BTreeSet<String> =
            self.processes().into_iter().flat_map(namespaces_of).filter(|name| !own.contains(name)).collect();
        let inside = |pid: &u32| !namespaces_of(*pid).is_disjoint(&names);
        let processes = pids().into_iter().filter(inside).map(|pid| (pid, started(pid))).collect();
        Holders { names, processes }
    }

    fn assert_nothing_left(&self, before: &Holders) {
        until("the end of every process", || match self.processes() {
            left if left.is_empty() => Ok(()),
            left => Err(format!("processes {left:?} are left")),
        });
        until("the end of every namespace", || {
            let left = |&&(pid, start): &&(u32, Option<u64>)| {
                start == started(pid) && !namespaces_of(pid).is_disjoint(&before.names)
            };
            match before.processes.iter().find(left) {
                None => Ok(()),
                Some((pid, _)) => Err(format!("process {pid} still holds its namespaces")),
            }
        });
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
        let ours = |line: &str| line.contains("- tmpfs hearsay") || line.contains("- fuse.hearsay");
        assert!(!mounts.lines().any(ours), "a mount is left:\n{mounts}");
        let files: Vec<_> = fs::read_dir(&self.temporary).expect("the directory for temporary files").collect();
        assert!(files.is_empty(), "temporary files are left: {files:?}");
        assert!(!fs::exists("/run/hearsay").expect("looking for /run/hearsay"), "/run/hearsay is left on the host");
    }
}

#[derive(Debug)]
struct Holders {
    names: BTreeSet<String>,
    /// With their start times, as their numbers are used again, too.
    processes: Vec<(u32, Option<u64>)>,
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

fn pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// When a process started, in ticks since boot.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// None for one that has ended and waits for the host's init to notice: only its number is left of it.
fn namespaces_of(pid: u32) -> BTreeSet<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    if stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z')) {
        return BTreeSet::new();
    }
    let kinds = ["net", "mnt", "pid", "ipc", "uts", "user"];
    let links = kinds.iter().filter_map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok());
    links.map(|link| link.display().to_string()).collect()
}

fn exit_codes() -> Outcome {
    assert_eq!(Victim::start("exit-3", 0).code(), Some(3));
    Outcome::Passed
}

fn signals() -> Outcome {
    for (sent, got) in
        [(Signal::SIGTERM, "got SIGTERM"), (Signal::SIGINT, "got SIGINT"), (Signal::SIGHUP, "got SIGTERM")]
    {
        let mut victim = Victim::start("count-signals", sent as u64);
        assert_eq!(victim.line(), "ready");
        let began = std::time::Instant::now();
        // `timeout` sends it to the process and to its group: one order all the same.
        victim.signal(sent);
        victim.signal(sent);
        assert_eq!(victim.line(), got);
        let before = victim.holders();
        assert!(before.names.len() >= 5 && before.processes.len() >= 3, "{before:?}");
        assert!(
            victim.supervisor.try_wait().expect("its status").is_none(),
            "the first signal is for the harness to decide on"
        );
        // A person who insists does so some time later.
        until("the end by force", || {
            victim.signal(sent);
            match victim.supervisor.try_wait().expect("its status") {
                Some(_) => Ok(()),
                None => Err("it goes on".to_owned()),
            }
        });
        assert!(began.elapsed() >= Duration::from_millis(500), "the second order came too soon to be one");
        assert_eq!(victim.code(), Some(70), "ended by force");
        victim.assert_nothing_left(&before);
    }
    Outcome::Passed
}

/// The moments are spread over the time that it takes to come up, and beyond.
fn nothing_left(signal: Signal) -> Outcome {
    let mut up = 0;
    for number in 0..KILLS {
        let mut victim = Victim::start("up", number);
        if number + 4 >= KILLS {
            assert_eq!(victim.line(), "up");
            up += 1;
            until("supervisor, init, harness and three for each node", || match victim.processes() {
                processes if processes.len() >= 3 + 5 * 3 => Ok(()),
                processes => Err(format!("only {processes:?}")),
            });
        } else {
            // The moment is the parameter of this case, not a wait for a state.
            std::thread::sleep(Duration::from_millis(number * number)); // the case itself
        }
        let before = victim.holders();
        victim.signal(signal);
        victim.code();
        victim.assert_nothing_left(&before);
    }
    assert_eq!(up, 4);
    Outcome::Passed
}

fn harness_dies() -> Outcome {
    let mut victim = Victim::start("up", 1000);
    assert_eq!(victim.line(), "up");
    let before = victim.holders();
    // By pid: supervisor, init, harness.
    let mut processes = victim.processes();
    processes.sort_unstable();
    kill(Pid::from_raw(processes[2] as i32), Signal::SIGKILL).expect("killing the harness");
    assert_eq!(victim.code(), Some(70));
    victim.assert_nothing_left(&before);
    Outcome::Passed
}

fn orphans() -> Outcome {
    assert_eq!(Victim::start("orphans", 0).code(), Some(0));
    Outcome::Passed
}

fn orphans_inside() -> ExitCode {
    for number in 0..40 {
        let script = format!("(setsid sh -c 'sleep 0.0{}' &) ; exit {}", number % 10, number + 1);
        let status = Command::new("sh").args(["-c", &script]).status().expect("a child");
        assert_eq!(status.code(), Some(number + 1), "the status of our own child was taken by somebody else");
    }
    until("every orphan reaped", || {
        let left: Vec<u32> = pids().into_iter().filter(|pid| ![1, std::process::id()].contains(pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} are left")) }
    });
    ExitCode::SUCCESS
}

fn doctor_is_content() -> Outcome {
    let checks = doctor::examine(Needs { nodes: 5, firewall: FirewallKind::Nftables, disks: DiskKind::Auto });
    let hindering: Vec<&Check> = checks.iter().filter(|check| check.hinders()).collect();
    assert!(hindering.is_empty(), "{hindering:#?}");
    for name in ["namespaces", "veth", "nftables", "iptables", "open files", "processes", "memory", "kernel"] {
        assert!(checks.iter().any(|check| check.name == name), "no check of {name}");
    }
    for check in &checks {
        println!("  {check}");
    }
    Outcome::Passed
}

fn nested() -> Outcome {
    assert_eq!(Victim::start("nested", 0).code(), Some(3));
    Outcome::Passed
}

fn first_packets() -> Outcome {
    for number in 0..60 {
        assert_eq!(Victim::start("first-packets", number).code(), Some(0), "network {number}");
    }
    Outcome::Passed
}

fn stray_marker() -> Outcome {
    for marker in ["inside", "probe", "init:3:inside", "init:x:inside", "nonsense", ""] {
        let output = Command::new("/proc/self/exe")
            .args(["mode:victim", "exit-3"])
            .env(hearsay::sandbox::enter::MARKER, marker)
            .output()
            .expect("running with a stray marker");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(101), "{marker}: {said}");
        assert!(said.contains("unset HEARSAY_SANDBOX"), "{marker}: {said}");
    }
    Outcome::Passed
}
