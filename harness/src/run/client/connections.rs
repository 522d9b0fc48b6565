//! A client's connections: one per node, made when first needed, left when it gave no answer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearsay_core::{ClientRequest, ClientResponse, NodeId};
use hearsay_node::client::{ClientConnection, ClientEndpoint, RequestError};

use super::CallError;

/// Longest wait for a connection. Shorter than what a client waits for an answer, so that a client that is cut off
/// mostly learns that its request certainly did not leave.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_000);

/// The connections of one client.
#[derive(Debug)]
pub struct Connections {
    endpoint: Arc<ClientEndpoint>,
    addresses: Arc<BTreeMap<NodeId, SocketAddr>>,
    open: BTreeMap<NodeId, ClientConnection>,
}

impl Connections {
    /// None yet. `endpoint` may be shared with other clients, connections are not.
    pub fn new(endpoint: Arc<ClientEndpoint>, addresses: Arc<BTreeMap<NodeId, SocketAddr>>) -> Connections {
        Connections { endpoint, addresses, open: BTreeMap::new() }
    }

    /// Asks `node`, connecting first where needed, within `timeout` in all.
    ///
    /// # Errors
    /// Whether the request certainly never left, or nobody knows.
    pub async fn call(
        &mut self,
        node: NodeId,
        request: &ClientRequest,
        timeout: Duration,
    ) -> Result<ClientResponse, CallError> {
        let deadline = Instant::now() + timeout;
        let connection = match self.open.get(&node).filter(|connection| !connection.is_closed()) {
            Some(connection) => connection.clone(),
            None => {
                let address = self.addresses.get(&node).expect("a plan names members only");
                let connected = self.endpoint.connect(node, *address, timeout.min(CONNECT_TIMEOUT)).await;
                // Whatever keeps a connection from being made, nothing was asked on it.
                let connection = connected.map_err(|error| CallError::NotSent(error.to_string()))?;
                self.open.insert(node, connection.clone());
                connection
            }
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = connection.request(request, left).await;
        if answer.is_err() {
            // Its peer may be dead or cut off: the next request starts with a fresh handshake instead of this
            // connection's backed-off timers.
            self.open.remove(&node);
        }
        answer.map_err(|error| match error {
            RequestError::NotSent(_) => CallError::NotSent(error.to_string()),
            RequestError::Unknown(_) => CallError::Unknown(error.to_string()),
        })
    }
}
