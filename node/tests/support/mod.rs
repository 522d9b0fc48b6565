//! Real node processes on loopback addresses of their own, and patience.
#![allow(dead_code, unreachable_pub)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use hearsay_core::{ClientRequest, ClientResponse, Key, Level, NodeId, StatusReport, Value};
use hearsay_node::certificates::{Authority, Identity};
use hearsay_node::client::{ClientConnection, ClientEndpoint};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub const BINARY: &str = env!("CARGO_BIN_EXE_hearsay-node");
/// Long enough for a busy machine; polls end as soon as they can.
pub const DEADLINE: Duration = Duration::from_secs(30);
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// A cluster's files, and the processes started so far.
pub struct Cluster {
    pub directory: tempfile::TempDir,
    pub authority: Authority,
    pub client: Identity,
    pub addresses: Vec<SocketAddr>,
    pub processes: Vec<Option<Child>>,
}

/// Addresses that no other test of this or another process uses: clients and strangers live on 127.0.0.1.
fn addresses(nodes: u16) -> Vec<SocketAddr> {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let test = NEXT.fetch_add(1, Ordering::Relaxed);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let host = Ipv4Addr::new(127, 1 + high % 250, low, test);
    (1..=nodes).map(|id| SocketAddr::from((host, 7100 + id))).collect()
}

impl Cluster {
    /// Writes the files of a cluster; `settings` is the YAML behind `settings:`.
    pub fn new(nodes: u16, settings: &str) -> Cluster {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::generate("demo").unwrap();
        authority.write(directory.path()).unwrap();
        let client = authority.client("client").unwrap();
        client.write(directory.path(), "client").unwrap();
        let addresses = addresses(nodes);
        let members: String =
            addresses.iter().enumerate().map(|(at, address)| format!("  n{}: {address}\n", at + 1)).collect();
        for id in 1..=nodes {
            let node = NodeId(id);
            authority.node(node).unwrap().write(directory.path(), &node.to_string()).unwrap();
            let yaml = format!(
                "cluster: demo\nnode: {node}\ndata: data-{node}\ncertificates: {{ authority: ca.pem, certificate: \
                 {node}.pem, key: {node}.key }}\nmembers:\n{members}settings: {settings}\n"
            );
            std::fs::write(directory.path().join(format!("{node}.yaml")), yaml).unwrap();
        }
        let processes = addresses.iter().map(|_| None).collect();
        Cluster { directory, authority, client, addresses, processes }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn command(&self, id: u16) -> Command {
        let mut command = Command::new(BINARY);
        command.arg("--config").arg(self.path(&format!("n{id}.yaml")));
        command
    }

    /// Starts a node by a command of the caller's; its log goes behind the earlier ones.
    pub fn spawn(&mut self, id: u16, mut command: Command) {
        let log = std::fs::File::options().create(true).append(true).open(self.path(&format!("n{id}.log"))).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.processes[usize::from(id) - 1] = Some(child);
    }

    pub fn start(&mut self, id: u16) {
        let command = self.command(id);
        self.spawn(id, command);
    }

    pub fn start_all(&mut self) {
        for id in 1..=self.addresses.len() as u16 {
            self.start(id);
        }
    }

    fn child(&mut self, id: u16) -> &mut Child {
        self.processes[usize::from(id) - 1].as_mut().expect("started")
    }

    pub fn pid(&mut self, id: u16) -> u32 {
        self.child(id).id()
    }

    pub fn signal(&mut self, id: u16, signal: Signal) {
        let pid = Pid::from_raw(self.child(id).id() as i32);
        kill(pid, signal).unwrap();
    }

    /// SIGKILL, and wait until it is gone.
    pub fn kill(&mut self, id: u16) {
        let child = self.child(id);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// As [`Cluster::wait`], while the tasks of the test go on.
    pub async fn wait_async(&mut self, id: u16) -> ExitStatus {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child(id).try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "n{id} still runs; its log:\n{}", self.log(id));
            tokio::time::sleep(Duration::from_millis(2)).await; // poll
        }
    }

    /// Waits for the end of a node's process.
    pub fn wait(&mut self, id: u16) -> ExitStatus {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child(id).try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "n{id} still runs; its log:\n{}", self.log(id));
            std::thread::sleep(Duration::from_millis(2)); // poll
        }
    }

    pub fn log(&self, id: u16) -> String {
        std::fs::read_to_string(self.path(&format!("n{id}.log"))).unwrap_or_default()
    }

    pub fn address(&self, id: u16) -> SocketAddr {
        self.addresses[usize::from(id) - 1]
    }

    /// An endpoint with the good client's certificate.
    pub fn endpoint(&self) -> ClientEndpoint {
        ClientEndpoint::new(socket(), &self.client, self.authority.certificate_pem(), "demo").unwrap()
    }

    /// Connects when the node is up.
    pub async fn connect(&self, endpoint: &ClientEndpoint, id: u16) -> ClientConnection {
        self.connect_at(endpoint, id, self.address(id)).await
    }

    /// Connects when the node is up at another address than the configured one.
    pub async fn connect_at(&self, endpoint: &ClientEndpoint, id: u16, address: SocketAddr) -> ClientConnection {
        let end = Instant::now() + DEADLINE;
        loop {
            match endpoint.connect(NodeId(id), address, Duration::from_millis(300)).await {
                Ok(connection) => return connection,
                Err(error) if Instant::now() < end => {
                    drop(error);
                    tokio::time::sleep(Duration::from_millis(10)).await; // poll
                }
                Err(error) => panic!("n{id} can't be reached: {error}; its log:\n{}", self.log(id)),
            }
        }
    }

    /// Waits until a node's status is as wanted; `what` is said when it never is.
    pub async fn until(
        &self,
        connection: &ClientConnection,
        what: &str,
        wanted: impl Fn(&StatusReport) -> bool,
    ) -> StatusReport {
        let end = Instant::now() + DEADLINE;
        loop {
            let report = status(connection).await;
            if wanted(&report) {
                return report;
            }
            let id = connection.node().0;
            assert!(Instant::now() < end, "n{id} never: {what}: {report:#?}\nits log:\n{}", self.log(id));
            tokio::time::sleep(Duration::from_millis(10)).await; // poll
        }
    }

    /// Starts all nodes and waits until each is ready and linked with all others.
    pub async fn serve(&mut self) -> (ClientEndpoint, Vec<ClientConnection>) {
        self.start_all();
        let endpoint = self.endpoint();
        let mut connections = Vec::new();
        for id in 1..=self.addresses.len() as u16 {
            let connection = self.connect(&endpoint, id).await;
            self.until(&connection, "ready with all links", is_whole).await;
            connections.push(connection);
        }
        (endpoint, connections)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.processes.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for id in 1..=self.addresses.len() as u16 {
                eprintln!("--- log of n{id}:\n{}", self.log(id));
            }
        }
    }
}

pub fn is_whole(report: &StatusReport) -> bool {
    report.ready && report.peers.iter().all(|peer| peer.linked && peer.alive)
}

pub fn socket() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

pub async fn status(connection: &ClientConnection) -> StatusReport {
    match connection.request(&ClientRequest::Status, TIMEOUT).await.unwrap() {
        ClientResponse::Status(report) => report,
        other => panic!("{other:?}"),
    }
}

pub fn put(key: &str, value: &str, level: Level) -> ClientRequest {
    ClientRequest::Put { key: Key(key.into()), value: Value(value.into()), level }
}

pub async fn get(connection: &ClientConnection, key: &str, level: Level) -> Option<String> {
    let request = ClientRequest::Get { key: Key(key.into()), level };
    match connection.request(&request, TIMEOUT).await.unwrap() {
        ClientResponse::Read { value, .. } => value.map(|value| String::from_utf8(value.0).unwrap()),
        other => panic!("get {key}: {other:?}"),
    }
}

/// Runs the binary to its end.
pub fn run(arguments: &[&str], directory: &Path) -> (Option<i32>, String, String) {
    let output = Command::new(BINARY).args(arguments).current_dir(directory).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}
