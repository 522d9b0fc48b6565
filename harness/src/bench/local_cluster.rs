//! Nodes and an echo as processes of their own on loopback, for measurements that need no sandbox. Everything ends when
//! the value is dropped; the files are in a temporary folder that goes with it.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use hearsay_core::{ClientRequest, ClientResponse, ClusterConfig, NodeId};
use hearsay_node::certificates::{Authority, Identity};
use hearsay_node::client::{ClientConnection, ClientEndpoint};
use hearsay_node::config::{CertificatePaths, Member, NodeConfig};

/// How long the processes may take to serve.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Name of the cluster.
const CLUSTER: &str = "bench";

/// Arguments of the hidden command that serves the echo.
#[derive(Args, Debug)]
pub struct EchoServerArgs {
    /// Folder with `ca.pem`, `echo.pem` and `echo.key`.
    certificates: PathBuf,
}

/// Serves the echo until the process is ended.
///
/// # Errors
/// Certificates that can't be read, or what the transport says.
pub fn serve_echo(arguments: &EchoServerArgs) -> Result<()> {
    let folder = &arguments.certificates;
    let authority = std::fs::read_to_string(folder.join("ca.pem")).context("ca.pem")?;
    let identity = Identity::read(&folder.join("echo.pem"), &folder.join("echo.key"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(super::echo::serve(&authority, &identity))
}

/// A process that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Real nodes on loopback.
pub(crate) struct LocalCluster {
    processes: Vec<Process>,
    members: BTreeMap<Member, SocketAddr>,
    authority: Authority,
    client: Identity,
    endpoint: ClientEndpoint,
    folder: tempfile::TempDir,
}

impl LocalCluster {
    /// Starts `nodes` nodes that keep `replication` replicas and waits until all of them are ready.
    ///
    /// # Errors
    /// A process that does not start or is not ready in time.
    pub(super) async fn start(nodes: u16, replication: u8) -> Result<LocalCluster> {
        LocalCluster::start_with(nodes, ClusterConfig { replication, ..ClusterConfig::default() }).await
    }

    /// The same with these settings, whose members are left out of account.
    ///
    /// # Errors
    /// As [`LocalCluster::start`].
    pub(crate) async fn start_with(nodes: u16, settings: ClusterConfig) -> Result<LocalCluster> {
        let settings = ClusterConfig { members: Vec::new(), ..settings };
        let folder = tempfile::tempdir()?;
        let authority = Authority::generate(CLUSTER)?;
        let client = authority.client("bench")?;
        let members: BTreeMap<Member, SocketAddr> =
            free_ports(nodes)?.into_iter().zip(1..).map(|(address, id)| (Member(NodeId(id)), address)).collect();
        std::fs::write(folder.path().join("ca.pem"), authority.certificate_pem())?;
        let mut processes = Vec::new();
        for &member in members.keys() {
            let name = member.0.to_string();
            authority.node(member.0)?.write(folder.path(), &name)?;
            let config = NodeConfig {
                join: None,
                clock_correction: None,
                cluster: CLUSTER.to_string(),
                node: member,
                listen: None,
                data: folder.path().join(format!("{name}-data")),
                certificates: CertificatePaths {
                    authority: folder.path().join("ca.pem"),
                    certificate: folder.path().join(format!("{name}.pem")),
                    key: folder.path().join(format!("{name}.key")),
                },
                members: members.clone(),
                settings: settings.clone(),
                log: "warn".to_string(),
            };
            std::fs::write(config_path(&folder, member.0), serde_yaml::to_string(&config)?)?;
            processes.push(spawn(&folder, member.0)?);
        }
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        let endpoint = ClientEndpoint::new(socket, &client, authority.certificate_pem(), CLUSTER)?;
        let cluster = LocalCluster { processes, members, authority, client, endpoint, folder };
        cluster.wait_until_ready().await?;
        Ok(cluster)
    }

    /// Kills a node. Its disk stays.
    pub(crate) fn kill(&mut self, node: NodeId) {
        let Process(child) = &mut self.processes[usize::from(node.0) - 1];
        // It may have ended by itself; then there is nothing left to end.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Starts a node again that was killed, with its disk. It is not waited for.
    ///
    /// # Errors
    /// The process does not start.
    pub(crate) fn start_again(&mut self, node: NodeId) -> Result<()> {
        self.processes[usize::from(node.0) - 1] = spawn(&self.folder, node)?;
        Ok(())
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        for &member in self.members.keys() {
            loop {
                let status = match self.connect(member.0).await {
                    Ok(connection) => connection.request(&ClientRequest::Status, Duration::from_secs(1)).await,
                    Err(_) if Instant::now() < deadline => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                    Err(error) => return Err(error.context(format!("{} does not answer", member.0))),
                };
                match status {
                    Ok(ClientResponse::Status(status)) if status.ready => break,
                    other if Instant::now() >= deadline => bail!("{} is not ready: {other:?}", member.0),
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        }
        Ok(())
    }

    /// A connection to a node.
    ///
    /// # Errors
    /// The node can't be reached.
    pub(crate) async fn connect(&self, node: NodeId) -> Result<ClientConnection> {
        let address = self.members.get(&Member(node)).with_context(|| format!("{node} is no member"))?;
        Ok(self.endpoint.connect(node, *address, Duration::from_secs(1)).await?)
    }

    /// Starts an echo beside the nodes: its port and the name in its certificate.
    ///
    /// # Errors
    /// The process does not start.
    pub(super) async fn start_echo(&mut self) -> Result<(u16, String)> {
        // A server needs a node's certificate; no node of the cluster has this number.
        let node = NodeId(u16::MAX);
        let identity = self.authority.node(node)?;
        identity.write(self.folder.path(), "echo")?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg("bench-echo-server")
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("the echo's output")?;
        self.processes.push(Process(child));
        let mut line = String::new();
        std::io::BufReader::new(output).read_line(&mut line)?;
        Ok((line.trim().parse().context("the echo's port")?, format!("{node}.{CLUSTER}.node.hearsay")))
    }

    /// Process number of a node, from 1 on; the echo comes after the nodes.
    pub(super) fn process(&self, number: usize) -> u32 {
        self.processes[number - 1].0.id()
    }

    /// The certificate of the cluster's authority.
    pub(super) fn authority_pem(&self) -> &str {
        self.authority.certificate_pem()
    }

    /// The identity of the benchmark.
    pub(super) fn client_identity(&self) -> &Identity {
        &self.client
    }
}

fn config_path(folder: &tempfile::TempDir, node: NodeId) -> PathBuf {
    folder.path().join(format!("{node}.yaml"))
}

fn spawn(folder: &tempfile::TempDir, node: NodeId) -> Result<Process> {
    let path = config_path(folder, node);
    let program = std::env::current_exe()?;
    Ok(Process(Command::new(program).arg("node").arg("--config").arg(path).stdin(Stdio::null()).spawn()?))
}

/// Loopback addresses that were free a moment ago.
fn free_ports(count: u16) -> Result<Vec<SocketAddr>> {
    let sockets: Result<Vec<UdpSocket>, _> = (0..count).map(|_| UdpSocket::bind(("127.0.0.1", 0))).collect();
    Ok(sockets?.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?)
}
