//! Times, for people: `cargo test --release -p hearsay --test kernel -- mode:measure 200`; with `mode:measure disks` those of a
//! 4 KiB write and its fdatasync on a served disk, in memory and in the working directory.

use std::collections::BTreeSet;
use std::process::{Command, ExitCode};
use std::time::Instant;

use hearsay::disk::Disk;
use hearsay::faults::firewall::pairs_max;
use hearsay::faults::iptables::Iptables;
use hearsay::faults::{FirewallKind, Pair};
use hearsay::sandbox::{Network, Sandbox, addresses};
use hearsay_core::NodeId;

const REPEATS: u16 = 9;

pub(crate) fn measure(sandbox: &Sandbox, words: &[String]) -> ExitCode {
    if words.first().is_some_and(|word| word == "disks") {
        return measure_disks(sandbox);
    }
    let count: u16 = words.first().and_then(|word| word.parse().ok()).unwrap_or(5);
    let nodes: Vec<NodeId> = (1..=count).map(NodeId).collect();
    let began = Instant::now();
    let _network = Network::create(sandbox, &nodes).expect("the network");
    println!("network of {count} nodes: {:.1} ms", began.elapsed().as_secs_f64() * 1e3);
    let mut kinds = vec![FirewallKind::Nftables];
    if Iptables::installed() {
        kinds.push(FirewallKind::Iptables);
    }
    for kind in kinds {
        let mut firewall = kind.open(pairs_max(nodes.len())).expect("the firewall");
        let mut times = Vec::new();
        let mut steps = Vec::new();
        for turn in 0..REPEATS {
            steps.extend([
                ("block", halves(count, turn)),
                ("change", halves(count, turn + count / 3)),
                ("heal", BTreeSet::new()),
            ]);
        }
        for (step, set) in steps {
            let began = Instant::now();
            firewall.apply(&set).expect("applying");
            times.push((step, began.elapsed()));
        }
        for step in ["block", "change", "heal"] {
            let mut of_step: Vec<_> = times.iter().filter(|(name, _)| *name == step).map(|(_, time)| *time).collect();
            of_step.sort();
            let (median, worst) = (of_step[of_step.len() / 2], of_step[of_step.len() - 1]);
            println!("  {} {step}: median {median:?}, worst {worst:?}", firewall.name());
        }
    }
    ExitCode::SUCCESS
}

fn measure_disks(sandbox: &Sandbox) -> ExitCode {
    let memory = sandbox.scratch().join("measure");
    std::fs::create_dir_all(&memory).expect("a directory");
    let here = tempfile::tempdir_in(".").expect("a directory that can be written");
    let disk = Disk::serve(sandbox, "measure").expect("a disk");
    for turn in 1..=3 {
        for (what, directory) in [("served", disk.path()), ("memory", &memory), ("this directory", here.path())] {
            let mut command = Command::new("/proc/self/exe");
            command.arg("disk-client").arg("measure").arg(directory).env_remove(hearsay::sandbox::enter::MARKER);
            let output = command.output().expect("a client");
            println!("turn {turn}, {what}: {}", String::from_utf8_lossy(&output.stdout).trim());
        }
    }
    ExitCode::SUCCESS
}

/// A half of the nodes against the rest, both ways.
fn halves(count: u16, turn: u16) -> BTreeSet<Pair> {
    let side = |number: u16| (number + turn) % count < count / 2;
    let all = (1..=count).flat_map(|a| (1..=count).map(move |b| (a, b)));
    all.filter(|&(a, b)| side(a) != side(b))
        .map(|(a, b)| (addresses::node(NodeId(a)), addresses::node(NodeId(b))))
        .collect()
}
