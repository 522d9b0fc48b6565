//! The cluster of a run: certificates, configurations, processes, and the two ways to talk to it: the clients', which
//! faults may cut, and the harness's own, which they may not.

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use hearsay_core::NodeId;
use hearsay_node::certificates::Authority;
use hearsay_node::client::ClientEndpoint;
use hearsay_node::config::{CertificatePaths, JoinConfig, Member, NodeConfig};
use tokio::sync::mpsc;

use crate::disk::{Disk, DiskKind};
use crate::plan::{Fault, Plan};
use crate::sandbox::{DiskPlace, Network, NodeDied, NodePlaces, Nodes, Sandbox};
use crate::store::RunDirectory;

use super::observer::Observer;
use super::ring::all_nodes;

/// Port of every node; each has an address of its own.
const PORT: u16 = 7100;
/// Name of the cluster in its certificates.
const CLUSTER: &str = "hearsay";
/// Nodes are started at once, and each has a store to make: on two cores a large cluster takes its time.
const READY_WITHIN_BASE: Duration = Duration::from_secs(30);
const READY_WITHIN_PER_NODE: Duration = Duration::from_millis(300);
/// Longest wait for an orderly end of a node.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Disks that can lose power.
type Disks = BTreeMap<NodeId, Arc<Disk>>;

/// A running cluster.
pub struct Cluster {
    /// The network it is in.
    pub network: Arc<Network>,
    /// Its processes.
    pub nodes: Nodes,
    /// The harness's eyes.
    pub observer: Arc<Observer>,
    /// The clients' socket.
    pub clients: Arc<ClientEndpoint>,
    /// Where clients reach the nodes.
    pub addresses: Arc<BTreeMap<NodeId, SocketAddr>>,
    /// Why the nodes' disks are plain directories, where they were to be more.
    pub plain_disks: Option<String>,
    /// Where the nodes look for the correction of their wall clocks; empty: they don't.
    pub clock_files: BTreeMap<NodeId, PathBuf>,
}

impl Cluster {
    /// Makes network, certificates and configurations, and starts all nodes. They are not ready yet; those that end
    /// by themselves come out of the channel.
    ///
    /// # Errors
    /// Anything of it failed; what was started ends with the sandbox.
    pub fn start(
        plan: &Plan,
        directory: &RunDirectory,
        sandbox: &Sandbox,
        disks: DiskKind,
    ) -> anyhow::Result<(Cluster, mpsc::Receiver<NodeDied>)> {
        let nodes: Vec<NodeId> = all_nodes(plan).into_iter().collect();
        let members = &nodes;
        let network = Arc::new(Network::create(sandbox, members).context("the network could not be made")?);
        let address = |&node: &NodeId| (node, SocketAddr::from((network.node_address(node), PORT)));
        let addresses: Arc<BTreeMap<_, _>> = Arc::new(members.iter().map(address).collect());

        let authority = Authority::generate(CLUSTER).context("the cluster's certificates could not be made")?;
        let configurations = sandbox.scratch().join("nodes");
        fs::create_dir_all(&configurations)
            .with_context(|| format!("{} could not be made", configurations.display()))?;
        let authority_path = configurations.join("ca.pem");
        fs::write(&authority_path, authority.certificate_pem())
            .with_context(|| format!("{} could not be written", authority_path.display()))?;
        // Nodes start elsewhere: relative paths would depend on it.
        let absolute = |path: &Path| std::path::absolute(path).with_context(|| format!("no such path: {path:?}"));
        let (data, logs) = (absolute(&directory.data())?, absolute(&directory.logs())?);
        let (mut disks, plain_disks) = make_disks(members, sandbox, disks)?;
        let skewed = plan.faults.iter().any(|planned| matches!(planned.fault, Fault::Clock { .. }));
        let clock_file = |&node: &NodeId| (node, configurations.join(format!("{node}.clock")));
        let clock_files: BTreeMap<_, _> =
            if skewed { members.iter().map(clock_file).collect() } else { BTreeMap::new() };
        let mut places = BTreeMap::new();
        for &node in members {
            let name = node.to_string();
            authority.node(node)?.write(&configurations, &name)?;
            let disk = disks.remove(&node).map_or_else(|| DiskPlace::Plain(data.join(&name)), DiskPlace::Served);
            let config = NodeConfig {
                join: join_of(plan, node, addresses[&node]),
                cluster: CLUSTER.to_owned(),
                node: Member(node),
                listen: None,
                data: disk.path().to_owned(),
                certificates: CertificatePaths {
                    authority: authority_path.clone(),
                    certificate: configurations.join(format!("{name}.pem")),
                    key: configurations.join(format!("{name}.key")),
                },
                members: plan.cluster.members.iter().map(|&node| (Member(node), addresses[&node])).collect(),
                settings: hearsay_core::ClusterConfig { members: Vec::new(), ..plan.cluster.clone() },
                clock_correction: clock_files.get(&node).cloned(),
                log: "info".to_owned(),
            };
            let path = configurations.join(format!("{name}.yaml"));
            let text = config.to_yaml().map_err(|reason| anyhow!("{}: {reason}", path.display()))?;
            fs::write(&path, text).with_context(|| format!("{} could not be written", path.display()))?;
            places.insert(node, NodePlaces { log: logs.join(format!("{name}.log")), disk });
        }

        let planted = plan.planted.clone();
        let factory = Arc::new(move |node: NodeId| {
            // This program is a node as well; by this name it is found even after a rebuild has replaced its file.
            let mut command = Command::new("/proc/self/exe");
            command.arg("node").arg("--config").arg(configurations.join(format!("{node}.yaml")));
            if let Some(bug) = &planted {
                command.arg("--plant").arg(bug);
            }
            command
        });
        let (nodes, died) = Nodes::new(Arc::clone(&network) as _, factory, places);
        for &node in &plan.cluster.members {
            nodes.start(node)?;
        }

        let endpoint = |name: &str, socket: UdpSocket| -> anyhow::Result<Arc<ClientEndpoint>> {
            let identity = authority.client(name)?;
            Ok(Arc::new(ClientEndpoint::new(socket, &identity, authority.certificate_pem(), CLUSTER)?))
        };
        let own_socket = UdpSocket::bind((network.harness_address(), 0)).context("no socket for the harness itself")?;
        let observer = Arc::new(Observer::new(endpoint("harness", own_socket)?, &addresses));
        let clients_socket = network.clients_socket().context("no socket for the clients")?;
        let clients = endpoint("clients", clients_socket)?;
        Ok((Cluster { network, nodes, observer, clients, addresses, clock_files, plain_disks }, died))
    }

    /// How long the nodes may take until all of them serve.
    pub fn ready_within(&self) -> Duration {
        READY_WITHIN_BASE + READY_WITHIN_PER_NODE * u32::try_from(self.addresses.len()).unwrap_or(u32::MAX)
    }

    /// Ends all nodes.
    ///
    /// # Errors
    /// A process that even SIGKILL did not end.
    pub async fn stop(&self) -> anyhow::Result<()> {
        let nodes = self.nodes.clone();
        tokio::task::spawn_blocking(move || nodes.stop_all(STOP_PATIENCE)).await??;
        Ok(())
    }

    /// Whether the nodes' disks are plain directories.
    pub fn has_plain_disks(&self) -> bool {
        self.disks().next().is_none()
    }

    /// Nodes whose disk was full, at some time.
    pub fn full_disks(&self) -> Vec<NodeId> {
        self.disks().filter(|(_, disk)| disk.was_full()).map(|(node, _)| node).collect()
    }

    /// Copies disks that are in memory to where those lie that are not, for people to look at.
    ///
    /// # Errors
    /// They can't be written there.
    pub fn export_disks(&self, directory: &RunDirectory) -> anyhow::Result<()> {
        for (node, disk) in self.disks() {
            let to = directory.data().join(node.to_string());
            let copied = fs::create_dir_all(&to).and_then(|()| disk.export(&to));
            copied.with_context(|| format!("the disk of {node} can't be copied to {}", to.display()))?;
        }
        Ok(())
    }

    fn disks(&self) -> impl Iterator<Item = (NodeId, Arc<Disk>)> {
        self.addresses.keys().filter_map(|&node| match self.nodes.places(node)?.disk {
            DiskPlace::Served(disk) => Some((node, disk)),
            DiskPlace::Plain(_) => None,
        })
    }
}

/// How a node comes into the cluster that is no member at the start.
fn join_of(plan: &Plan, node: NodeId, address: SocketAddr) -> Option<JoinConfig> {
    let replaced = plan.faults.iter().find_map(|planned| match planned.fault {
        Fault::Replace { node: dead, by } if by == node => Some(Member(dead)),
        _ => None,
    });
    let join = JoinConfig { address, replaces: replaced };
    (!plan.cluster.members.contains(&node)).then_some(join)
}

/// Disks that can lose power, if they are wanted; or why there are none although they are.
fn make_disks(members: &[NodeId], sandbox: &Sandbox, kind: DiskKind) -> anyhow::Result<(Disks, Option<String>)> {
    if kind == DiskKind::Plain {
        return Ok((Disks::new(), None));
    }
    let mut disks = Disks::new();
    for &node in members {
        match Disk::serve(sandbox, &node.to_string()) {
            Ok(disk) => drop(disks.insert(node, Arc::new(disk))),
            Err(error) if kind == DiskKind::Auto => return Ok((Disks::new(), Some(error.to_string()))),
            Err(error) => return Err(error.into()),
        }
    }
    Ok((disks, None))
}
