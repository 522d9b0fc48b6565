//! What this machine can do for a run, and the command that mends what it can't.
//!
//! Namespaces, the star network and both firewalls are not guessed from versions: a probe makes a sandbox of its own, tries them, and
//! reports. The rest is read from `/proc`. [`examine`] changes nothing and leaves nothing behind; it needs a program whose `main`
//! begins with [`resume`](super::resume), because the probe is this program run again.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::time::Duration;

use hearsay_core::NodeId;
use nix::sys::resource::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

use super::enter::{Sandbox, namespace_mend, run_probe};
use super::network::Network;
use crate::disk::{Disk, DiskKind, unavailable};
use crate::faults::firewall::{Firewall, FirewallKind};
use crate::faults::iptables::Iptables;
use crate::faults::nftables::Nftables;
use crate::links::Emulator;
use crate::plan::Endpoint;

/// Files that the harness opens for each node (namespace, log, connections, pipes), with room to spare.
const FILES_PER_NODE: u64 = 16;
const FILES_BASE: u64 = 256;
/// Threads of a node and of the harness for it.
const TASKS_PER_NODE: u64 = 16;
/// Memory of a node in use, MiB; an idle one takes a third.
const MEMORY_PER_NODE_MIB: u64 = 30;
const MEMORY_BASE_MIB: u64 = 256;
const KERNEL_OLDEST: (u32, u32) = (5, 7);

/// What a run asks of the machine.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    /// Nodes it starts.
    pub nodes: usize,
    /// Firewall it was told to use.
    pub firewall: FirewallKind,
    /// Disks it was told to use.
    pub disks: DiskKind,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// Whether it will do.
    pub ok: bool,
    /// Whether a run with these needs is impossible without it.
    pub required: bool,
    /// What it is needed for.
    pub needed_for: String,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when nothing need be done.
    pub mend: String,
}

impl Check {
    fn new(name: &str, needed_for: &str, required: bool) -> Check {
        Check {
            name: name.to_string(),
            ok: false,
            required,
            needed_for: needed_for.to_string(),
            found: String::new(),
            mend: String::new(),
        }
    }

    fn verdict(mut self, ok: bool, found: impl Into<String>, mend: impl Into<String>) -> Check {
        self.ok = ok;
        self.found = found.into();
        self.mend = if ok { String::new() } else { mend.into() };
        self
    }

    /// True when a run can't be started because of it.
    pub fn hinders(&self) -> bool {
        self.required && !self.ok
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = match (self.ok, self.required) {
            (true, _) => "ok     ",
            (false, true) => "MISSING",
            (false, false) => "without",
        };
        write!(f, "{mark} {}: {}", self.name, self.found)?;
        match self.ok {
            true => Ok(()),
            false => write!(f, "\n        needed for {}\n        mend: {}", self.needed_for, self.mend),
        }
    }
}

/// What the probe found, inside.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Probe {
    veth: Option<String>,
    nftables: Option<String>,
    iptables: Option<String>,
    disks: Option<String>,
    tun: Option<String>,
}

/// Looks at everything that a run with these needs uses.
pub fn examine(needs: Needs) -> Vec<Check> {
    let mut checks = vec![kernel()];
    let probed = run_probe().map_err(|error| error.to_string()).and_then(|printed| {
        serde_json::from_slice::<Probe>(&printed).map_err(|error| {
            format!("the probe's answer can't be read ({error}): does main begin with sandbox::resume?")
        })
    });
    let namespaces = Check::new("namespaces", "running nodes apart from the host", true);
    match probed {
        Ok(probe) => {
            let how = if nix::unistd::Uid::effective().is_root() { "as root" } else { "with a user namespace" };
            checks.push(namespaces.verdict(true, format!("user, pid, mount, net, ipc, uts: made {how}"), ""));
            checks.push(disk_check(probe.disks.clone(), needs.disks));
            checks.extend(network_checks(probe, needs.firewall));
        }
        Err(error) => checks.push(namespaces.verdict(false, error, namespace_mend())),
    }
    checks.extend([files(needs.nodes), tasks(needs.nodes), memory(needs.nodes), freeze()]);
    checks
}

fn network_checks(probe: Probe, firewall: FirewallKind) -> Vec<Check> {
    let works = |problem: Option<String>| match problem {
        None => (true, "tried in a sandbox, works".to_string()),
        Some(problem) => (false, problem),
    };
    let (veth, found) = works(probe.veth);
    let veth = Check::new("veth", "the network between the nodes", true).verdict(veth, found, "sudo modprobe veth");
    let (nftables, found_nftables) = works(probe.nftables);
    let (iptables, found_iptables) = works(probe.iptables);
    let nftables_required = firewall == FirewallKind::Nftables || firewall == FirewallKind::Auto && !iptables;
    let iptables_required = firewall == FirewallKind::Iptables;
    let nft = Check::new("nftables", "partitions", nftables_required).verdict(
        nftables,
        found_nftables,
        "sudo modprobe nf_tables, or use --firewall iptables",
    );
    let legacy = Check::new("iptables", "partitions with --firewall iptables", iptables_required).verdict(
        iptables,
        found_iptables,
        "sudo apt-get install iptables",
    );
    let (tun, found) = works(probe.tun);
    let tun = Check::new("tun", "bad links, which are left out without it", false).verdict(
        tun,
        found,
        "sudo modprobe tun; sudo chmod 666 /dev/net/tun; in a container, --device /dev/net/tun",
    );
    vec![veth, nft, legacy, tun]
}

fn disk_check(problem: Option<String>, disks: DiskKind) -> Check {
    let mend =
        unavailable().map_or_else(|| "use Linux 4.18 or newer, or run it with sudo".to_owned(), |(_, mend)| mend);
    Check::new(
        "disks that lose power",
        "power cuts that lose what was not synced, slow and failing disks; without it a power cut is only a kill",
        disks == DiskKind::Served,
    )
    .verdict(problem.is_none(), problem.unwrap_or_else(|| "tried in a sandbox, works".to_owned()), mend)
}

/// Runs inside the probe's sandbox: tries things, prints what it found as JSON, returns the exit code.
pub(super) fn probe() -> i32 {
    let mut probe = Probe { tun: Emulator::open().err(), ..Probe::default() };
    let nodes = [NodeId(1), NodeId(2)];
    let network = Network::create(&Sandbox::inside(), &nodes).map_err(|error| error.to_string());
    match &network {
        Ok(network) => {
            probe.veth = passes(network).err().map(|error| format!("no packet came through: {error}"));
            probe.nftables = Nftables::open(16).map_err(|e| e.to_string()).and_then(|f| cuts(f, network)).err();
            probe.iptables = Iptables::open(16).map_err(|e| e.to_string()).and_then(|f| cuts(f, network)).err();
        }
        Err(error) => {
            probe.veth = Some(error.clone());
            probe.nftables = Nftables::open(16).err().map(|error| error.to_string());
            probe.iptables = Iptables::open(16).err().map(|error| error.to_string());
        }
    }
    probe.disks = Disk::serve(&Sandbox::inside(), "probe").err().map(|error| error.to_string());
    match serde_json::to_string(&probe) {
        Ok(text) => {
            println!("{text}");
            0
        }
        Err(_) => 1,
    }
}

/// One packet from n1 to n2.
fn passes(network: &Network) -> io::Result<()> {
    let ends = [1, 2].map(|number| network.socket_at(Endpoint::Node(NodeId(number)), 0));
    let [Ok(first), Ok(second)] = ends else { return Err(io::Error::other("no sockets in the nodes' namespaces")) };
    second.set_read_timeout(Some(Duration::from_secs(2)))?;
    first.send_to(b"probe", second.local_addr()?)?;
    second.recv(&mut [0; 16]).map(|_| ())
}

/// Blocks n1 to n2, and asks the kernel whether it dropped a packet of it. Unblocked again afterwards.
fn cuts(mut firewall: impl Firewall, network: &Network) -> Result<(), String> {
    let pair = (network.node_address(NodeId(1)), network.node_address(NodeId(2)));
    let mut attempt = || -> Result<u64, String> {
        firewall.apply(&BTreeSet::from([pair])).map_err(|e| e.to_string())?;
        let socket = network.socket_at(Endpoint::Node(NodeId(1)), 0).map_err(|e| e.to_string())?;
        // Dropped in the forwarding router, before this returns.
        let _ = socket.send_to(b"probe", (pair.1, 9));
        let drops = firewall.drops().map_err(|e| e.to_string())?.get(&pair).copied().unwrap_or(0);
        firewall.apply(&BTreeSet::new()).map_err(|e| e.to_string())?;
        Ok(drops)
    };
    match attempt()? {
        0 => Err("accepted the rules, but dropped no packet".to_string()),
        _ => Ok(()),
    }
}

fn kernel() -> Check {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_string();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let (major, minor) = KERNEL_OLDEST;
    Check::new("kernel", "counters on the elements of an nftables set", false).verdict(
        version >= KERNEL_OLDEST,
        format!("Linux {release}"),
        format!("use Linux {major}.{minor} or newer"),
    )
}

fn files(nodes: usize) -> Check {
    let wanted = FILES_BASE + FILES_PER_NODE * nodes as u64;
    let most = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| hard);
    Check::new("open files", "connections, logs and namespaces", true).verdict(
        most >= wanted,
        format!("{most} allowed, {wanted} wanted for {nodes} nodes"),
        format!("ulimit -Hn {wanted} (as root), or `nofile` in /etc/security/limits.conf"),
    )
}

fn tasks(nodes: usize) -> Check {
    let wanted = 64 + TASKS_PER_NODE * nodes as u64;
    let user = getrlimit(Resource::RLIMIT_NPROC).map_or(u64::MAX, |(soft, _)| soft);
    let system = number("/proc/sys/kernel/pid_max").unwrap_or(u64::MAX);
    let cgroup = cgroup_pids_max().unwrap_or(u64::MAX);
    let most = user.min(system).min(cgroup);
    Check::new("processes", "nodes and their threads", true).verdict(
        most >= wanted,
        format!("{most} allowed, {wanted} wanted for {nodes} nodes"),
        format!("ulimit -u {wanted}; sudo sysctl kernel.pid_max=4194304; in a container, --pids-limit={wanted}"),
    )
}

fn memory(nodes: usize) -> Check {
    let wanted = MEMORY_BASE_MIB + MEMORY_PER_NODE_MIB * nodes as u64;
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let available =
        line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap_or(0) / 1024;
    Check::new("memory", "nodes, their disks in memory, and the history", true).verdict(
        available >= wanted,
        format!("{available} MiB available, {wanted} MiB wanted for {nodes} nodes"),
        "run fewer nodes, or free some memory",
    )
}

/// Only told: pauses use SIGSTOP, because a cgroup is a directory on the host that would outlive a killed harness.
fn freeze() -> Check {
    let there = ["/sys/fs/cgroup/cgroup.controllers", "/sys/fs/cgroup/unified/cgroup.controllers"];
    let there = there.iter().any(|path| fs::exists(path).unwrap_or(false));
    Check::new(
        "cgroup freezer",
        "pausing third-party servers; the pauses of nodes use SIGSTOP and don't need it",
        false,
    )
    .verdict(
        there,
        if there { "cgroup v2 is mounted" } else { "no cgroup v2 is mounted" },
        "mount -t cgroup2 none /sys/fs/cgroup",
    )
}

fn cgroup_pids_max() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    number(&format!("/sys/fs/cgroup{}/pids.max", own.trim_end_matches('/')))
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_nodes_are_refused_with_a_mend() {
        let check = memory(10_000_000);
        assert!(check.hinders() && !check.mend.is_empty(), "{check:?}");
        assert!(check.to_string().contains("mend: run fewer nodes"), "{check}");
        assert!(files(1_000_000_000).hinders());
        assert!(tasks(1_000_000_000).hinders());
        assert!(memory(1).ok && files(1).ok && tasks(1).ok);
    }

    #[test]
    fn only_the_chosen_firewall_is_required() {
        let probe = || Probe { nftables: Some("no".to_string()), iptables: Some("no".to_string()), ..Probe::default() };
        let hindering = |firewall| -> Vec<String> {
            network_checks(probe(), firewall).into_iter().filter(Check::hinders).map(|check| check.name).collect()
        };
        assert_eq!(hindering(FirewallKind::Nftables), ["nftables"]);
        assert_eq!(hindering(FirewallKind::Iptables), ["iptables"]);
        assert_eq!(hindering(FirewallKind::Auto), ["nftables"]);
        let works = Probe { iptables: None, ..probe() };
        assert!(network_checks(works, FirewallKind::Auto).iter().all(|check| !check.hinders()));
    }

    #[test]
    fn disks_that_lose_power_are_only_required_when_asked_for() {
        let refused = || Some("no /dev/fuse".to_owned());
        assert!(disk_check(refused(), DiskKind::Served).hinders());
        for disks in [DiskKind::Auto, DiskKind::Plain] {
            let check = disk_check(refused(), disks);
            assert!(!check.hinders() && !check.ok && check.to_string().contains("only a kill"), "{check}");
        }
        assert!(disk_check(None, DiskKind::Served).ok);
    }
}
