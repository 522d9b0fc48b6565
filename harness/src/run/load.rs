//! The load of a run: all clients at once, and the final reads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use anyhow::Context;
use hearsay_core::{Conflict, NodeId};
use hearsay_workloads::{Action, Level};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::plan::{Plan, PlannedOperation, members_at_end};
use crate::recorder::{Recorder, RecorderError};

use super::client::{ClientProcess, ClientSettings, Connections, drive};
use super::cluster::Cluster;
use super::final_reads::read_all;
use super::stop::Stop;

/// What the load of a run needs to know of its plan.
#[derive(Clone, Debug)]
pub struct Load {
    settings: ClientSettings,
    timeout: Duration,
    clients: u32,
    readers: Vec<NodeId>,
}

/// Nodes that the final reads go through, at most; of more nodes, as many that lie evenly between them.
const READERS_MAX: usize = 250;

/// What was left undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undone {
    /// Overdue, so never started.
    pub skipped: u64,
    /// Still to come when the load ended.
    pub remaining: u64,
}

impl Load {
    /// Of a plan.
    pub fn of(plan: &Plan) -> Load {
        let register = plan.workload.load();
        let settings = ClientSettings {
            kind: plan.workload.kind(),
            causal: plan.cluster.conflict == Conflict::Dcc,
            value_bytes: usize::try_from(register.value_bytes).unwrap_or(usize::MAX),
            read_level: node_level(register.read_level),
            write_level: node_level(register.write_level),
            read_primaries: register.read_primaries.map(node_level),
            write_primaries: register.write_primaries.map(node_level),
            overdue_skip_ms: register.overdue_skip_ms,
        };
        let timeout = Duration::from_millis(register.client_timeout_ms);
        let members = members_at_end(plan);
        let count = members.len().min(READERS_MAX);
        let readers = (0..count).map(|reader| members[reader * members.len() / count]).collect();
        Load { settings, timeout, clients: register.clients, readers }
    }

    /// Longest wait of a client for an answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What all its clients have in common.
    pub fn settings(&self) -> ClientSettings {
        self.settings
    }

    /// Clients take the first slots, the final readers the rest.
    pub fn slots(&self) -> u64 {
        u64::from(self.clients) + self.readers.len() as u64
    }

    /// The nodes that the final reads go through, each with the slot of its reader.
    pub fn readers(&self) -> impl Iterator<Item = (NodeId, u64)> + '_ {
        self.readers.iter().copied().zip(u64::from(self.clients)..)
    }

    /// Runs all clients until they are done or have a reason to stop.
    ///
    /// # Errors
    /// The recorder has stopped.
    pub async fn run(
        &self,
        plan: &Plan,
        cluster: &Cluster,
        recorder: &Recorder,
        stop: &watch::Receiver<Option<Stop>>,
    ) -> anyhow::Result<Undone> {
        let mut clients = JoinSet::new();
        for (client, operations) in operations_by_client(plan) {
            let process = ClientProcess::new(u64::from(client), self.slots(), self.settings, operations);
            let connections = Connections::new(cluster.clients.clone(), cluster.addresses.clone());
            clients.spawn(drive(process, connections, recorder.clone(), recorder.start(), self.timeout, stop.clone()));
        }
        let mut undone = Undone::default();
        while let Some(ended) = clients.join_next().await {
            match ended.context("a client's task ended")? {
                Ok(client) => {
                    undone.skipped += client.skipped();
                    undone.remaining += client.remaining() as u64;
                }
                // Everybody hears of it through the recorder itself.
                Err(RecorderError::Write { .. } | RecorderError::Overflow { .. }) => {}
            }
        }
        Ok(undone)
    }

    /// Reads every key of the plan through every node, or through many. How many of these reads never got an answer.
    ///
    /// # Errors
    /// The recorder has stopped.
    pub async fn final_reads(&self, plan: &Plan, cluster: &Cluster, recorder: &Recorder) -> anyhow::Result<usize> {
        let keys = keys_of(plan);
        let mut readers = JoinSet::new();
        for (node, slot) in self.readers() {
            let connections = Connections::new(cluster.clients.clone(), cluster.addresses.clone());
            let (keys, recorder, settings, timeout) = (keys.clone(), recorder.clone(), self.settings, self.timeout);
            let slots = (slot, self.slots());
            readers.spawn(async move { read_all(slots, settings, node, &keys, connections, &recorder, timeout).await });
        }
        let mut unanswered = 0;
        while let Some(ended) = readers.join_next().await {
            unanswered += ended.context("a reader's task ended")??;
        }
        Ok(unanswered)
    }
}

/// The operations of each client.
pub(crate) fn operations_by_client(plan: &Plan) -> BTreeMap<u32, VecDeque<PlannedOperation>> {
    let mut by_client: BTreeMap<u32, VecDeque<_>> = BTreeMap::new();
    for operation in &plan.operations {
        by_client.entry(operation.client).or_default().push_back(operation.clone());
    }
    by_client
}

/// Every key of a plan.
pub(crate) fn keys_of(plan: &Plan) -> BTreeSet<String> {
    let actions = plan.operations.iter().map(|operation| &operation.action);
    actions.filter(|action| !matches!(action, Action::Scan { .. })).map(|action| action.key().to_owned()).collect()
}

/// The node's own type for the same thing.
fn node_level(level: Level) -> hearsay_core::Level {
    match level {
        Level::One => hearsay_core::Level::One,
        Level::Two => hearsay_core::Level::Two,
        Level::Three => hearsay_core::Level::Three,
        Level::Quorum => hearsay_core::Level::Quorum,
        Level::All => hearsay_core::Level::All,
        Level::Count(count) => hearsay_core::Level::Count(count),
        Level::Any => hearsay_core::Level::Any,
    }
}
