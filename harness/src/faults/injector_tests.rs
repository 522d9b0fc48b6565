//! Process faults on shell scripts, with a firewall that only remembers. What packets do is tested in `harness/tests/kernel`.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;
use crate::plan::PartitionShape;
use crate::sandbox::process::{CommandFactory, DiskPlace, Here, NodePlaces};

/// Remembers what it was told, and forgets a pair where a test wants a kernel that lies.
#[derive(Default)]
struct Memory {
    blocked: BTreeSet<Pair>,
    forgets: bool,
}

impl Firewall for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }
    fn apply(&mut self, blocked: &BTreeSet<Pair>) -> Result<(), FirewallError> {
        self.blocked = blocked.iter().skip(usize::from(self.forgets)).copied().collect();
        Ok(())
    }
    fn blocked(&mut self) -> Result<BTreeSet<Pair>, FirewallError> {
        Ok(self.blocked.clone())
    }
    fn drops(&mut self) -> Result<BTreeMap<Pair, u64>, FirewallError> {
        Ok(self.blocked.iter().map(|&pair| (pair, 5)).collect())
    }
}

struct Fixture {
    injector: Injector,
    nodes: Nodes,
    directory: tempfile::TempDir,
    _deaths: tokio::sync::mpsc::Receiver<crate::sandbox::NodeDied>,
}

/// Two nodes that write a file to their disk and then keep a CPU busy.
fn fixture(firewall: Memory) -> Fixture {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = |node: NodeId| directory.path().join(format!("disk-{node}"));
    let places = |node: NodeId| {
        (node, NodePlaces { log: directory.path().join(format!("{node}.log")), disk: DiskPlace::Plain(disk(node)) })
    };
    let base = directory.path().to_path_buf();
    let factory: CommandFactory = Arc::new(move |node| {
        let mut command = Command::new("sh");
        command.args(["-c", "mkdir -p sub; echo 1234567 > sub/file; while :; do :; done"]);
        command.current_dir(base.join(format!("disk-{node}")));
        command
    });
    let (nodes, deaths) = Nodes::new(Arc::new(Here), factory, [NodeId(1), NodeId(2)].map(places).into());
    for node in [NodeId(1), NodeId(2)] {
        nodes.start(node).expect("starting");
        let file = disk(node).join("sub/file");
        until(|| fs::read(&file).is_ok_and(|content| content.len() == 8));
    }
    Fixture { injector: Injector::new(Box::new(firewall), nodes.clone()), nodes, directory, _deaths: deaths }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.nodes.kill(&self.nodes.running());
    }
}

fn until(reached: impl Fn() -> bool) {
    let began = Instant::now();
    while !reached() {
        assert!(began.elapsed() < Duration::from_secs(20), "not reached in time");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn planned(id: &str, fault: Fault) -> PlannedFault {
    PlannedFault { id: id.to_string(), at_ms: 0, duration_ms: 1, fault }
}

#[test]
fn a_crash_says_signal_9_and_its_heal_runs_a_new_process() {
    let mut f = fixture(Memory::default());
    let before = f.nodes.pid(NodeId(1));
    let crash = planned("f1", Fault::Crash { nodes: vec![NodeId(1), NodeId(2)] });
    let made = f.injector.inject(&crash).expect("injecting");
    assert_eq!(made.bit, Some(true), "{made:?}");
    assert!(made.sentences.iter().any(|sentence| sentence.contains("signal: 9")), "{made:?}");
    assert_eq!(f.injector.down(), BTreeSet::from([NodeId(1), NodeId(2)]));
    assert_eq!(f.nodes.running(), []);
    let healed = f.injector.heal(&crash).expect("healing");
    assert_eq!((healed.bit, healed.healed), (Some(true), Some(true)));
    assert_ne!(f.nodes.pid(NodeId(1)), before);
    assert_eq!(f.nodes.running().len(), 2);
    let line = serde_json::to_string(&healed).expect("serialising");
    assert_eq!(serde_json::from_str::<Evidence>(&line).expect("reading back"), healed);
}

#[test]
fn a_crash_of_a_node_that_is_down_did_not_bite() {
    let mut f = fixture(Memory::default());
    let first = planned("f1", Fault::Crash { nodes: vec![NodeId(1)] });
    let second = planned("f2", Fault::Crash { nodes: vec![NodeId(1)] });
    f.injector.inject(&first).expect("injecting");
    assert_eq!(f.injector.inject(&second).expect("injecting").bit, Some(false));
    f.injector.heal(&first).expect("healing");
    assert_eq!(f.nodes.pid(NodeId(1)), None, "the second fault still holds it");
    assert_eq!(f.injector.heal(&second).expect("healing").healed, Some(true));
    assert!(f.nodes.pid(NodeId(1)).is_some());
}

#[test]
fn a_pause_stops_all_threads_and_takes_no_cpu_time() {
    let mut f = fixture(Memory::default());
    let pause = planned("f1", Fault::Pause { nodes: vec![NodeId(1)] });
    let made = f.injector.inject(&pause).expect("injecting");
    assert_eq!(made.bit, None, "only the end can tell");
    // The other one is busy all the time, so time has passed when it has used some.
    let (_, _, start) = f.nodes.look(NodeId(2)).expect("looking");
    until(|| f.nodes.look(NodeId(2)).is_ok_and(|(_, _, cpu_ns)| cpu_ns > start + 20_000_000));
    let healed = f.injector.heal(&pause).expect("healing");
    assert_eq!((healed.bit, healed.healed), (Some(true), Some(true)), "{healed:?}");
    assert_eq!(f.nodes.look(NodeId(1)).expect("looking").0, 0);
}

#[test]
fn a_pause_that_somebody_else_ended_did_not_bite() {
    let mut f = fixture(Memory::default());
    let pause = planned("f1", Fault::Pause { nodes: vec![NodeId(1)] });
    f.injector.inject(&pause).expect("injecting");
    let pid = Pid::from_raw(f.nodes.pid(NodeId(1)).expect("running") as i32);
    let (_, _, start) = f.nodes.look(NodeId(1)).expect("looking");
    kill(pid, Signal::SIGCONT).expect("continuing behind its back");
    until(|| f.nodes.look(NodeId(1)).is_ok_and(|(_, _, cpu_ns)| cpu_ns > start + 20_000_000));
    // Stopped again: only the CPU time gives it away.
    kill(pid, Signal::SIGSTOP).expect("stopping");
    until(|| f.nodes.look(NodeId(1)).is_ok_and(|(stopped, threads, _)| stopped == threads));
    let healed = f.injector.heal(&pause).expect("healing");
    assert_eq!((healed.bit, healed.healed), (Some(false), Some(true)), "{healed:?}");
}

#[test]
fn a_paused_node_can_be_killed_and_two_pauses_end_one_by_one() {
    let mut f = fixture(Memory::default());
    let first = planned("f1", Fault::Pause { nodes: vec![NodeId(1), NodeId(2)] });
    let second = planned("f2", Fault::Pause { nodes: vec![NodeId(2)] });
    let crash = planned("f3", Fault::Crash { nodes: vec![NodeId(1)] });
    for fault in [&first, &second, &crash] {
        f.injector.inject(fault).expect("injecting");
    }
    assert_eq!(f.injector.heal(&crash).expect("healing").bit, Some(true));
    let healed = f.injector.heal(&first).expect("healing");
    assert!(healed.sentences.iter().any(|sentence| sentence.contains("another fault killed it")), "{healed:?}");
    let (stopped, threads, _) = f.nodes.look(NodeId(2)).expect("looking");
    assert_eq!(stopped, threads, "the second pause still holds it");
    f.injector.heal(&second).expect("healing");
    assert_eq!(f.nodes.look(NodeId(2)).expect("looking").0, 0);
}

#[test]
fn a_wipe_removes_everything_and_says_how_much() {
    let mut f = fixture(Memory::default());
    let wipe = planned("f1", Fault::Wipe { node: NodeId(1) });
    let made = f.injector.inject(&wipe).expect("injecting");
    assert_eq!(made.bit, Some(true), "{made:?}");
    assert_eq!((made.numbers["files_removed"], made.numbers["bytes_removed"]), (1, 8));
    let disk = f.directory.path().join("disk-n1");
    assert_eq!(fs::read_dir(&disk).expect("the disk").count(), 0);
    assert!(f.directory.path().join("disk-n2/sub/file").exists(), "only its own disk");
    let healed = f.injector.heal(&wipe).expect("healing");
    assert_eq!((healed.bit, healed.healed), (Some(true), Some(true)), "{healed:?}");
}

#[test]
fn a_wiped_disk_that_fills_by_itself_did_not_bite() {
    let mut f = fixture(Memory::default());
    let wipe = planned("f1", Fault::Wipe { node: NodeId(1) });
    f.injector.inject(&wipe).expect("injecting");
    fs::write(f.directory.path().join("disk-n1/ghost"), "x").expect("writing");
    assert_eq!(f.injector.heal(&wipe).expect("healing").bit, Some(false));
}

#[test]
fn a_partition_that_the_kernel_does_not_have_did_not_bite() {
    let mut f = fixture(Memory { forgets: true, ..Memory::default() });
    let blocked = vec![(Endpoint::Node(NodeId(1)), Endpoint::Clients), (Endpoint::Clients, Endpoint::Node(NodeId(1)))];
    let partition = planned("f1", Fault::Partition { shape: PartitionShape::Clients, blocked });
    let made = f.injector.inject(&partition).expect("injecting");
    assert_eq!(made.bit, Some(false), "{made:?}");
    assert_eq!(f.injector.heal(&partition).expect("healing").bit, Some(false));
}

#[test]
fn faults_are_made_once_and_healed_once() {
    let mut f = fixture(Memory::default());
    let crash = planned("f1", Fault::Crash { nodes: vec![NodeId(1)] });
    assert!(matches!(f.injector.heal(&crash), Err(FaultError::Order { .. })));
    f.injector.inject(&crash).expect("injecting");
    assert!(matches!(f.injector.inject(&crash), Err(FaultError::Order { .. })));
    assert_eq!(f.injector.in_force(), ["f1"]);
    f.injector.heal(&crash).expect("healing");
    assert!(f.injector.in_force().is_empty());
}
