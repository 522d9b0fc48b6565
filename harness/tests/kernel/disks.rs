//! Disks that can lose power, under real processes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hearsay::disk::{Disk, unavailable};
use hearsay::faults::{FirewallKind, Injector};
use hearsay::plan::{Fault, PlannedFault};
use hearsay::sandbox::process::Here;
use hearsay::sandbox::{DiskPlace, NodeDied, NodePlaces, Nodes};
use hearsay_core::NodeId;

use crate::disk_client::BLOCK;
use crate::support::{Case, Context, Outcome, until};

const SEEDS: u64 = 12;
const STEPS: u64 = 600;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        ("a_disk_does_what_a_plain_directory_does", |context| with_disk(context, "same", same_as_plain)),
        ("a_kill_keeps_and_a_power_cut_loses_what_was_not_synced", |context| with_disk(context, "loss", loses)),
        ("a_lock_ends_with_its_process", |context| with_disk(context, "lock", locks)),
        ("a_power_cut_kills_a_node_that_waits_for_a_sync", |context| with_disk(context, "cut", power_cut)),
        ("a_slow_disk_is_measured_and_healed", |context| with_disk(context, "slow", slow)),
        ("a_node_whose_disk_fails_may_end", |context| with_disk(context, "fail", failing)),
        ("a_wiped_disk_is_empty_and_can_be_used_again", |context| with_disk(context, "wipe", wiped)),
    ]
}

fn with_disk(context: &Context<'_>, name: &str, case: fn(&Arc<Disk>, &Path)) -> Outcome {
    if unavailable().is_some() {
        return Outcome::Skipped("this user may not open /dev/fuse (chmod 666 /dev/fuse)");
    }
    let sandbox = context.sandbox.expect("this case runs inside of a sandbox");
    let disk = Arc::new(Disk::serve(sandbox, name).expect("a disk"));
    let plain = sandbox.scratch().join("plain").join(name);
    fs::create_dir_all(&plain).expect("a plain directory");
    case(&disk, &plain);
    Outcome::Passed
}

fn client(words: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg("disk-client").args(words).env_remove(hearsay::sandbox::enter::MARKER);
    command
}

fn path(disk: &Disk) -> &str {
    disk.path().to_str().expect("UTF-8")
}

/// Starts one, and waits for its first line.
fn start(words: &[&str]) -> (Child, String, BufReader<ChildStdout>) {
    let mut child = client(words).stdout(Stdio::piped()).spawn().expect("a client");
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    (child, line.trim().to_owned(), output)
}

fn same_as_plain(disk: &Arc<Disk>, plain: &Path) {
    for seed in 0..SEEDS {
        let run = |directory: &str| {
            let output = client(&["random", directory, &seed.to_string(), &STEPS.to_string()]).output();
            String::from_utf8(output.expect("a client").stdout).expect("UTF-8")
        };
        let (served, expected) = (run(path(disk)), run(plain.to_str().expect("UTF-8")));
        assert!(expected.lines().count() as u64 >= STEPS, "{expected}");
        for (served, expected) in served.lines().zip(expected.lines()) {
            assert_eq!(served, expected, "seed {seed}: first the disk, then the plain directory");
        }
        assert_eq!(served.len(), expected.len());
        // What it left, as the harness sees it.
        let copy = plain.with_extension("copy");
        fs::create_dir(&copy).expect("a directory");
        disk.export(&copy).expect("a copy");
        let seen = crate::disk_client::tree(&copy, Path::new("")).expect("the copy");
        let names = |lines: &[String]| -> Vec<String> {
            lines.iter().map(|line| line.split_whitespace().next().unwrap_or_default().to_owned()).collect()
        };
        let left = crate::disk_client::tree(plain, Path::new("")).expect("what is left");
        assert_eq!(names(&seen), names(&left));
        fs::remove_dir_all(&copy).expect("removing the copy");
        fs::remove_dir_all(plain).expect("removing what is left");
        fs::create_dir(plain).expect("a plain directory");
        disk.wipe();
    }
}

fn exported(disk: &Disk, plain: &Path) -> BTreeMap<String, Vec<u8>> {
    let _ = fs::remove_dir_all(plain);
    fs::create_dir_all(plain).expect("a directory");
    disk.export(plain).expect("a copy");
    let entries = fs::read_dir(plain).expect("the copy").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| (entry.file_name().into_string().expect("UTF-8"), fs::read(entry.path()).expect("a file")))
        .collect()
}

fn loses(disk: &Arc<Disk>, plain: &Path) {
    let blocks = |count: u8| -> Vec<u8> { (1..=count).flat_map(|block| [block; BLOCK]).collect() };
    let (mut child, line, _output) = start(&["count", path(disk)]);
    assert_eq!(line, "written");
    child.kill().expect("killing it");
    child.wait().expect("its end");
    assert_eq!(exported(disk, plain), [("renamed".to_owned(), blocks(5))].into(), "a kill loses nothing");
    disk.wipe();

    let (mut child, ..) = start(&["count", path(disk)]);
    assert!(disk.has_unsynced());
    child.kill().expect("killing it");
    disk.cut();
    child.wait().expect("its end");
    let loss = disk.restore(None);
    assert_eq!((loss.bytes_lost, loss.changes_lost, loss.files), (2 * BLOCK as u64, 1, 1));
    assert_eq!(exported(disk, plain), [("count".to_owned(), blocks(3))].into(), "only what was synced is left");
    // The kernel sees it, too: the next process finds three blocks and appends its own.
    let (mut child, ..) = start(&["count", path(disk)]);
    child.kill().expect("killing it");
    child.wait().expect("its end");
    let expected = [blocks(3), blocks(5)].concat();
    assert_eq!(exported(disk, plain), [("renamed".to_owned(), expected)].into());
}

fn locks(disk: &Arc<Disk>, _: &Path) {
    let (mut holder, line, _output) = start(&["lock", path(disk)]);
    assert_eq!(line, "locked");
    let (mut other, line, _output) = start(&["lock", path(disk)]);
    assert!(line.starts_with("failed: "), "{line}");
    other.wait().expect("its end");
    holder.kill().expect("killing it");
    holder.wait().expect("its end");
    let (mut next, line, _output) = start(&["lock", path(disk)]);
    assert_eq!(line, "locked");
    next.kill().expect("killing it");
    next.wait().expect("its end");
}

struct Fixture {
    injector: Injector,
    nodes: Nodes,
    deaths: tokio::sync::mpsc::Receiver<NodeDied>,
}

/// A node that writes and syncs, and ends at the first error.
fn fixture(disk: &Arc<Disk>, plain: &Path) -> Fixture {
    let directory = path(disk).to_owned();
    let factory = Arc::new(move |_| client(&["sync", &directory]));
    let places = NodePlaces { log: plain.join("log"), disk: DiskPlace::Served(Arc::clone(disk)) };
    let (nodes, deaths) = Nodes::new(Arc::new(Here), factory, [(NodeId(1), places)].into());
    nodes.start(NodeId(1)).expect("starting it");
    let firewall = FirewallKind::Nftables.open(16).expect("the firewall");
    let fixture = Fixture { injector: Injector::new(firewall, nodes.clone()), nodes, deaths };
    syncs(disk);
    fixture
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.nodes.kill(&self.nodes.running());
    }
}

fn syncs(disk: &Disk) {
    let before = disk.times().count;
    until("a few syncs", || match disk.times().count {
        count if count > before + 3 => Ok(()),
        count => Err(format!("{count}")),
    });
}

fn planned(fault: Fault) -> PlannedFault {
    PlannedFault { id: "f1".to_owned(), at_ms: 0, duration_ms: 1, fault }
}

fn power_cut(disk: &Arc<Disk>, plain: &Path) {
    let mut fixture = fixture(disk, plain);
    for torn in [false, true] {
        let fault = planned(Fault::PowerCut { nodes: vec![NodeId(1)], hold_ms: 500, torn, seed: 7 });
        let made = fixture.injector.inject(&fault).expect("a power cut");
        assert_eq!(made.bit, Some(true), "{made:?}");
        assert_eq!(made.numbers["syncs_held"], 1, "{made:?}");
        assert!(made.numbers["held_us"] >= 500_000, "{made:?}");
        assert_eq!(made.numbers["bytes_lost"] + made.numbers["bytes_kept"], BLOCK as u64, "{made:?}");
        assert!(made.sentences.iter().any(|sentence| sentence.contains("signal: 9")), "{made:?}");
        assert_eq!(fixture.nodes.running(), []);
        let healed = fixture.injector.heal(&fault).expect("power");
        assert_eq!((healed.bit, healed.healed), (Some(true), Some(true)), "{healed:?}");
        syncs(disk);
    }
    assert!(fixture.deaths.try_recv().is_err(), "it was killed, it did not die");
}

fn slow(disk: &Arc<Disk>, plain: &Path) {
    let mut fixture = fixture(disk, plain);
    let fault = planned(Fault::SlowDisk { nodes: vec![NodeId(1)], sync_ms: 30 });
    let made = fixture.injector.inject(&fault).expect("a slow disk");
    syncs(disk);
    let healed = fixture.injector.heal(&fault).expect("a quick disk");
    assert_eq!((healed.bit, healed.healed), (Some(true), Some(true)), "{healed:?}");
    assert!(healed.numbers["sync_shortest_us"] >= 30_000, "{healed:?}");
    assert!(made.numbers["sync_mean_us"] < 30_000, "{made:?}");
    syncs(disk);
    assert!(disk.times().shortest < Duration::from_millis(30));
}

fn failing(disk: &Arc<Disk>, plain: &Path) {
    let mut fixture = fixture(disk, plain);
    let fault = planned(Fault::FailingDisk { nodes: vec![NodeId(1)] });
    fixture.injector.inject(&fault).expect("a failing disk");
    until("the end of the node", || match fixture.nodes.running()[..] {
        [] => Ok(()),
        _ => Err("it runs".to_owned()),
    });
    let healed = fixture.injector.heal(&fault).expect("a disk that is well");
    assert_eq!((healed.bit, healed.healed), (Some(true), Some(true)), "{healed:?}");
    assert_eq!((healed.numbers["syncs_refused"], healed.numbers["ended_by_themselves"]), (1, 1), "{healed:?}");
    syncs(disk);
    assert!(fixture.deaths.try_recv().is_err(), "it was excused");
}

fn wiped(disk: &Arc<Disk>, plain: &Path) {
    let mut fixture = fixture(disk, plain);
    let fault = planned(Fault::Wipe { node: NodeId(1) });
    let made = fixture.injector.inject(&fault).expect("a wipe");
    assert_eq!(made.bit, Some(true), "{made:?}");
    assert_eq!((made.numbers["files_removed"], made.numbers["bytes_removed"]), (1, BLOCK as u64), "{made:?}");
    assert_eq!(disk.contents(), (0, 0));
    let healed = fixture.injector.heal(&fault).expect("a new start");
    assert_eq!((healed.bit, healed.healed), (Some(true), Some(true)), "{healed:?}");
    syncs(disk);
    assert_eq!(disk.contents(), (1, BLOCK as u64));
}
