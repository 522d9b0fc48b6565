//! A small cluster that a scenario leads step by step: requests, kills, starts. In the simulator, or as processes on loopback.
//!
//! What diverges here diverges exactly: a node is killed, the others take writes, it starts again with its disk. Nothing but what
//! the scenario switches on repairs it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use hearsay_core::{
    ClientErrorKind, ClientRequest, ClientResponse, ClusterConfig, Key, Level, LocalEntry, NodeId, RepairReport,
    StatusReport, Value,
};
use hearsay_node::client::ClientConnection;

use super::Options;
use crate::bench::local_cluster::LocalCluster;
use crate::campaign;
use crate::sim::SimulatedCluster;

/// Longest wait for a request of the scenario.
const REQUEST_TIMEOUT_MS: u64 = 60_000;
/// Longest wait for a state of the cluster, in looks of [`LOOK_MS`].
const LOOKS_MAX: u64 = 1_500;
/// Between two looks.
const LOOK_MS: u64 = 40;
/// Requests of the real client under way at once.
const UNDER_WAY_MAX: usize = 64;
/// Entries asked of a node at a time.
const SCAN_PAGE: u32 = 1_000;
/// Rows of a table are made with the same seed.
const SEED: u64 = 1;

/// The cluster of a scenario.
pub(super) struct Stage {
    world: World,
    down: Vec<NodeId>,
    nodes: Vec<NodeId>,
}

enum World {
    Simulated(Box<SimulatedCluster>),
    Real {
        runtime: tokio::runtime::Runtime,
        cluster: Box<LocalCluster>,
        connections: BTreeMap<NodeId, ClientConnection>,
    },
}

/// The settings of a campaign's cluster: scenarios and campaigns of a claim have them in common.
pub(super) fn cluster_of(campaign: &str) -> Result<ClusterConfig, String> {
    campaign::load(campaign).map(|campaign| campaign.cluster).map_err(|error| error.to_string())
}

/// Counters of all nodes that run, added up. Differences are taken between times with no start in between.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted(BTreeMap<String, u64>);

impl Counted {
    /// How often; 0 for what was never counted.
    pub(super) fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// What came on top since.
    pub(super) fn since(&self, before: &Counted) -> Counted {
        Counted(self.0.iter().map(|(name, count)| (name.clone(), count.saturating_sub(before.of(name)))).collect())
    }

    /// Sum of the counters called so.
    pub(super) fn sum(&self, names: &[&str]) -> u64 {
        names.iter().map(|name| self.of(name)).sum()
    }
}

impl Stage {
    /// Starts the cluster and waits until every node is ready and holds the others for alive.
    ///
    /// # Errors
    /// What did not start, as a sentence.
    pub(super) fn start(config: &ClusterConfig, options: &Options) -> Result<Stage, String> {
        let nodes = config.members.clone();
        if let (true, Some(bug)) = (options.real, &options.plant) {
            return Err(format!("{bug} can't be planted in this scenario's processes: leave --real out"));
        }
        let world = if options.real {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| format!("the runtime could not be started: {error}"))?;
            let count = u16::try_from(nodes.len()).expect("few nodes");
            let cluster = runtime.block_on(LocalCluster::start_with(count, config.clone()));
            let cluster = Box::new(cluster.map_err(|error| format!("the nodes did not start: {error:#}"))?);
            World::Real { runtime, cluster, connections: BTreeMap::new() }
        } else {
            World::Simulated(Box::new(SimulatedCluster::new(config, SEED, options.planted())?))
        };
        let mut stage = Stage { world, down: Vec::new(), nodes };
        stage.wait_until_settled()?;
        Ok(stage)
    }

    /// Asks, many at once; an answer that says that the request failed is no error.
    pub(super) fn requests(&mut self, requests: Vec<(NodeId, ClientRequest)>) -> Vec<Result<ClientResponse, String>> {
        match &mut self.world {
            World::Simulated(cluster) => cluster.requests(requests, REQUEST_TIMEOUT_MS),
            World::Real { runtime, cluster, connections } => runtime.block_on(async {
                for (node, _) in &requests {
                    if connections.get(node).is_none_or(ClientConnection::is_closed)
                        && let Ok(connection) = cluster.connect(*node).await
                    {
                        connections.insert(*node, connection);
                    }
                }
                let connections = &*connections;
                let timeout = Duration::from_millis(REQUEST_TIMEOUT_MS);
                let calls = requests.into_iter().map(|(node, request)| async move {
                    let connection = connections.get(&node).ok_or_else(|| format!("{node} can't be reached"))?;
                    connection.request(&request, timeout).await.map_err(|error| error.to_string())
                });
                futures::stream::iter(calls).buffered(UNDER_WAY_MAX).collect().await
            }),
        }
    }

    /// Asks one node.
    ///
    /// # Errors
    /// No answer, as a sentence.
    pub(super) fn request(&mut self, node: NodeId, request: ClientRequest) -> Result<ClientResponse, String> {
        let answer = self.requests(vec![(node, request)]).remove(0);
        self.check_alive()?;
        answer
    }

    /// Asks; every request has to be carried out.
    ///
    /// # Errors
    /// The first that was not, as a sentence.
    pub(super) fn carry_out(&mut self, requests: Vec<(NodeId, ClientRequest)>) -> Result<Vec<ClientResponse>, String> {
        let answers = self.requests(requests);
        self.check_alive()?;
        answers
            .into_iter()
            .map(|answer| match answer? {
                ClientResponse::Failed(error) => Err(format!("a request of the scenario failed: {}", error.message)),
                response => Ok(response),
            })
            .collect()
    }

    /// Writes a value of so many bytes under each key; the nodes take turns in coordinating.
    ///
    /// # Errors
    /// A write that was not acknowledged.
    pub(super) fn put(
        &mut self,
        coordinators: &[NodeId],
        keys: &[Key],
        value: &Value,
        level: Level,
    ) -> Result<(), String> {
        let puts = keys
            .iter()
            .zip(coordinators.iter().cycle())
            .map(|(key, node)| (*node, ClientRequest::Put { key: key.clone(), value: value.clone(), level }));
        self.carry_out(puts.collect()).map(|_| ())
    }

    /// Reads every key at one node.
    ///
    /// # Errors
    /// A read that failed.
    pub(super) fn read(&mut self, node: NodeId, keys: &[Key], level: Level) -> Result<(), String> {
        let reads = keys.iter().map(|key| (node, ClientRequest::Get { key: key.clone(), level }));
        self.carry_out(reads.collect()).map(|_| ())
    }

    /// Kills a node and waits until the others hold it for dead.
    ///
    /// # Errors
    /// They don't in time.
    pub(super) fn kill(&mut self, node: NodeId) -> Result<(), String> {
        self.kill_unnoticed(node);
        self.wait_until_settled()
    }

    /// Kills a node; the others learn of it in their own time.
    pub(super) fn kill_unnoticed(&mut self, node: NodeId) {
        self.down.push(node);
        match &mut self.world {
            World::Simulated(cluster) => cluster.kill(node),
            World::Real { cluster, connections, .. } => {
                connections.remove(&node);
                cluster.kill(node);
            }
        }
    }

    /// Starts a killed node with its disk and waits until it is ready and all hold each other for alive.
    ///
    /// # Errors
    /// Not in time.
    pub(super) fn start_again(&mut self, node: NodeId) -> Result<(), String> {
        self.down.retain(|down| *down != node);
        match &mut self.world {
            World::Simulated(cluster) => cluster.start(node),
            World::Real { cluster, .. } => {
                cluster.start_again(node).map_err(|error| format!("{node} did not start again: {error:#}"))?;
            }
        }
        self.wait_until_settled()
    }

    /// Lets a little time pass.
    pub(super) fn pass(&mut self, milliseconds: u64) {
        match &mut self.world {
            World::Simulated(cluster) => cluster.pass(milliseconds),
            World::Real { .. } => std::thread::sleep(Duration::from_millis(milliseconds)),
        }
    }

    /// Looks again and again until it is so.
    ///
    /// # Errors
    /// It is not in time; `what` says what was awaited.
    pub(super) fn wait_until(
        &mut self,
        what: &str,
        mut is_so: impl FnMut(&mut Stage) -> Result<bool, String>,
    ) -> Result<(), String> {
        for _ in 0..LOOKS_MAX {
            self.check_alive()?;
            if is_so(self)? {
                return Ok(());
            }
            self.pass(LOOK_MS);
        }
        Err(format!("{what}: not within {} s", LOOKS_MAX * LOOK_MS / 1_000))
    }

    /// Every running node is ready, alive to the others, and the killed ones are dead to them.
    fn wait_until_settled(&mut self) -> Result<(), String> {
        self.wait_until("the nodes know who is there", |stage| {
            let Ok(statuses) = stage.statuses() else { return Ok(false) };
            Ok(statuses.iter().all(|status| {
                status.ready && status.peers.iter().all(|peer| peer.alive != stage.down.contains(&peer.peer))
            }))
        })
    }

    fn statuses(&mut self) -> Result<Vec<StatusReport>, String> {
        let running: Vec<NodeId> = self.nodes.iter().copied().filter(|node| !self.down.contains(node)).collect();
        let answers = self.requests(running.into_iter().map(|node| (node, ClientRequest::Status)).collect());
        answers
            .into_iter()
            .map(|answer| match answer? {
                ClientResponse::Status(status) => Ok(status),
                other => Err(format!("another request's answer: {other:?}")),
            })
            .collect()
    }

    /// The counters of all running nodes.
    ///
    /// # Errors
    /// A node that does not answer.
    pub(super) fn counted(&mut self) -> Result<Counted, String> {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for (name, count) in self.statuses()?.into_iter().flat_map(|status| status.counters) {
            *sums.entry(name).or_default() += count;
        }
        Ok(Counted(sums))
    }

    /// What a node stores itself.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn scan(&mut self, node: NodeId) -> Result<BTreeMap<Key, LocalEntry>, String> {
        let mut all: BTreeMap<Key, LocalEntry> = BTreeMap::new();
        loop {
            let after = all.last_key_value().map(|(key, _)| key.clone());
            match self.request(node, ClientRequest::LocalScan { after, limit: SCAN_PAGE })? {
                ClientResponse::Entries { entries, more } => {
                    if more && entries.is_empty() {
                        return Err(format!("{node} promised more entries and gave none"));
                    }
                    all.extend(entries.into_iter().map(|entry| (entry.key.clone(), entry)));
                    if !more {
                        return Ok(all);
                    }
                }
                other => return Err(format!("another request's answer: {other:?}")),
            }
        }
    }

    /// Has a node compare itself with its neighbours now.
    ///
    /// # Errors
    /// It could not with all.
    pub(super) fn repair(&mut self, node: NodeId) -> Result<Vec<RepairReport>, String> {
        match self.request(node, ClientRequest::Repair)? {
            ClientResponse::Repaired { done, left_out } if left_out.is_empty() => Ok(done),
            ClientResponse::Repaired { left_out, .. } => Err(format!("the repair left out {left_out:?}")),
            other => Err(format!("another request's answer: {other:?}")),
        }
    }

    /// A node that broke an invariant of its own ends the scenario.
    fn check_alive(&self) -> Result<(), String> {
        match &self.world {
            World::Simulated(cluster) => cluster.died().map_or(Ok(()), Err),
            World::Real { .. } => Ok(()),
        }
    }
}

/// So many keys, named alike.
pub(super) fn keys(prefix: &str, count: usize) -> Vec<Key> {
    (0..count).map(|number| Key(format!("{prefix}{number:06}").into_bytes())).collect()
}

/// A value of so many bytes.
pub(super) fn value(bytes: usize, fill: u8) -> Value {
    Value(vec![fill; bytes])
}

/// How a request ended, in a word or two.
pub(super) fn ending(answer: &Result<ClientResponse, String>) -> &'static str {
    match answer {
        Ok(ClientResponse::Failed(error)) => match error.kind {
            ClientErrorKind::Refused => "refused",
            ClientErrorKind::Unavailable => "unavailable",
            ClientErrorKind::Overloaded => "overloaded",
            ClientErrorKind::Timeout => "timed out",
        },
        Ok(ClientResponse::Written { .. }) => "written",
        Ok(ClientResponse::Read { value: Some(_), .. }) => "value",
        Ok(ClientResponse::Read { value: None, .. }) => "nothing",
        Ok(_) => "other",
        Err(_) => "no answer",
    }
}
