//! Asks nodes about themselves: the harness's own eyes, over a path that no fault touches, and a look along the
//! clients' path.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use hearsay_core::{ClientRequest, ClientResponse, LocalEntry, NodeId, OverlayReport, RingReport, StatusReport};
use hearsay_node::client::{ClientConnection, ClientEndpoint};
use hearsay_workloads::DataKind;
use tokio::sync::Mutex;

use super::client::{entries_of_node, looks_at_node};
use super::clocks::{Reading, Readings};
use super::convergence::Scans;
use super::proof::Statuses;
use super::ring::Rings;

/// Longest wait for a connection or an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(1_000);
/// Longest wait for a repair that compares everything.
const REPAIR_TIMEOUT: Duration = Duration::from_secs(20);
/// Looks at a wall clock, of which one counts.
const CLOCK_LOOKS: u32 = 3;
/// Entries asked for at a time.
const SCAN_PAGE: u32 = 1_000;
/// Entries of one node that are looked at; a run with more is beyond what its memory is meant for.
const SCAN_ENTRIES_MAX: usize = 5_000_000;

/// Asks every node about itself.
#[derive(Debug)]
pub struct Observer {
    endpoint: Arc<ClientEndpoint>,
    nodes: BTreeMap<NodeId, Observed>,
}

#[derive(Debug)]
struct Observed {
    address: SocketAddr,
    connection: Mutex<Option<ClientConnection>>,
}

impl Observer {
    /// Nothing is asked yet. The endpoint's socket decides which path is taken.
    pub fn new(endpoint: Arc<ClientEndpoint>, addresses: &BTreeMap<NodeId, SocketAddr>) -> Observer {
        let observed = |&address| Observed { address, connection: Mutex::new(None) };
        let nodes = addresses.iter().map(|(&node, address)| (node, observed(address))).collect();
        Observer { endpoint, nodes }
    }

    /// What each of these nodes says about itself, asked at once.
    pub async fn statuses(&self, nodes: impl IntoIterator<Item = NodeId>) -> Statuses {
        let asked = nodes.into_iter().map(|node| async move { (node, self.status(node).await) });
        join_all(asked).await.into_iter().collect()
    }

    /// What one node says about itself.
    ///
    /// # Errors
    /// It gave no answer, as a sentence.
    pub async fn status(&self, node: NodeId) -> Result<StatusReport, String> {
        match self.ask(node, &ClientRequest::Status).await? {
            ClientResponse::Status(report) if report.node == node => Ok(report),
            ClientResponse::Status(report) => Err(format!("{} answered in its place", report.node)),
            _ => Err("it gave another request's answer".to_owned()),
        }
    }

    /// What each of these nodes says of its ring, asked at once.
    pub async fn rings(&self, nodes: impl IntoIterator<Item = NodeId>) -> Rings {
        let asked = nodes.into_iter().map(|node| async move { (node, self.ring(node, &ClientRequest::Ring).await) });
        join_all(asked).await.into_iter().collect()
    }

    /// Tells a node to leave for good.
    ///
    /// # Errors
    /// It gave no answer, or does not leave, as a sentence.
    pub async fn retire(&self, node: NodeId) -> Result<RingReport, String> {
        self.ring(node, &ClientRequest::Leave).await
    }

    async fn ring(&self, node: NodeId, request: &ClientRequest) -> Result<RingReport, String> {
        match self.ask(node, request).await? {
            ClientResponse::Ring(report) => Ok(report),
            ClientResponse::Failed(error) => Err(error.message),
            _ => Err("it gave another request's answer".to_owned()),
        }
    }

    /// What one node says of its place in the overlay.
    ///
    /// # Errors
    /// It gave no answer, or has no overlay, as a sentence.
    pub async fn overlay(&self, node: NodeId) -> Result<OverlayReport, String> {
        match self.ask(node, &ClientRequest::Overlay).await? {
            ClientResponse::Overlay(report) if report.node == node => Ok(report),
            ClientResponse::Overlay(report) => Err(format!("{} answered in its place", report.node)),
            ClientResponse::Failed(error) => Err(error.message),
            _ => Err("it gave another request's answer".to_owned()),
        }
    }

    /// What the wall clocks of these nodes show, asked at once; of a few looks at each the one that took least.
    pub async fn clocks(&self, nodes: impl IntoIterator<Item = NodeId>) -> Readings {
        let asked = nodes.into_iter().map(|node| async move { (node, self.clock(node).await) });
        join_all(asked).await.into_iter().collect()
    }

    async fn clock(&self, node: NodeId) -> Result<Reading, String> {
        let now_ns = || {
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
        };
        let mut best: Option<Reading> = None;
        for _ in 0..CLOCK_LOOKS {
            let asked_ns = now_ns();
            let wall = self.status(node).await?.wall;
            let reading = Reading::between(asked_ns, wall.0, now_ns());
            if best.is_none_or(|best| reading.uncertainty_ns < best.uncertainty_ns) {
                best = Some(reading);
            }
        }
        Ok(best.expect("there is at least one look"))
    }

    /// Has a node compare everything with its neighbours, and repair.
    ///
    /// # Errors
    /// It gave no answer, as a sentence.
    pub async fn repair(&self, node: NodeId) -> Result<ClientResponse, String> {
        self.ask_within(node, &ClientRequest::Repair, REPAIR_TIMEOUT).await
    }

    /// What each of these nodes stores itself (of news: has), asked at once.
    pub async fn scans(&self, nodes: impl IntoIterator<Item = NodeId>, kind: DataKind) -> Scans {
        let asked = nodes.into_iter().map(|node| async move {
            let scan = if kind.is_news() { self.news(node, kind).await } else { self.scan(node).await };
            (node, scan)
        });
        join_all(asked).await.into_iter().collect()
    }

    async fn news(&self, node: NodeId, kind: DataKind) -> Result<Vec<LocalEntry>, String> {
        let mut all = Vec::new();
        for request in looks_at_node(kind) {
            all.extend(entries_of_node(node, self.ask(node, &request).await?)?);
        }
        Ok(all)
    }

    async fn scan(&self, node: NodeId) -> Result<Vec<LocalEntry>, String> {
        let mut all: Vec<LocalEntry> = Vec::new();
        loop {
            let after = all.last().map(|entry| entry.key.clone());
            match self.ask(node, &ClientRequest::LocalScan { after: after.clone(), limit: SCAN_PAGE }).await? {
                ClientResponse::Entries { entries, more } => {
                    let ascending = entries.is_sorted_by(|a, b| a.key < b.key);
                    if !ascending || entries.first().is_some_and(|first| Some(&first.key) <= after.as_ref()) {
                        return Err("its keys came out of order".to_owned());
                    }
                    if more && entries.is_empty() {
                        return Err("it promised more entries and gave none".to_owned());
                    }
                    all.extend(entries);
                    if !more {
                        return Ok(all);
                    }
                    if all.len() > SCAN_ENTRIES_MAX {
                        return Err(format!("it stores more than {SCAN_ENTRIES_MAX} entries"));
                    }
                }
                ClientResponse::Failed(error) => return Err(error.message),
                _ => return Err("it gave another request's answer".to_owned()),
            }
        }
    }

    async fn ask(&self, node: NodeId, request: &ClientRequest) -> Result<ClientResponse, String> {
        self.ask_within(node, request, ANSWER_TIMEOUT).await
    }

    async fn ask_within(
        &self,
        node: NodeId,
        request: &ClientRequest,
        timeout: Duration,
    ) -> Result<ClientResponse, String> {
        let observed = self.nodes.get(&node).expect("only members are asked");
        // Held while connecting, so that two questions make one connection.
        let mut held = observed.connection.lock().await;
        let connection = match held.as_ref().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection.clone(),
            None => {
                let connected = self.endpoint.connect(node, observed.address, ANSWER_TIMEOUT).await;
                held.insert(connected.map_err(|error| error.to_string())?).clone()
            }
        };
        drop(held);
        let answer = connection.request(request, timeout).await;
        if answer.is_err() {
            *observed.connection.lock().await = None;
        }
        answer.map_err(|error| error.to_string())
    }
}
