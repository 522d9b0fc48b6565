//! A simulated cluster that is led step by step, for scenarios that no plan can express: requests of one client, processes killed and
//! started, time that passes. The same node code, links and disks as in every simulated run.

use std::collections::{BTreeMap, BTreeSet};

use hearsay_core::{ClientRequest, ClientResponse, ClusterConfig, NodeId, Planted};

use super::connection::{ConnectionId, Party, Side};
use super::run_hash::Watch;
use super::settings::{MILLISECOND, SECOND, Settings};
use super::world::{ClientEvent, Step, World};

/// Longest wait for a connection, as of real clients.
const CONNECT_TIMEOUT: u64 = SECOND;
/// Requests under way at once.
const UNDER_WAY_MAX: usize = 256;

/// The cluster.
#[derive(Debug)]
pub(crate) struct SimulatedCluster {
    world: World,
    connections: BTreeMap<NodeId, ConnectionId>,
    calls: u64,
}

impl SimulatedCluster {
    /// Starts every node; none of them is waited for.
    ///
    /// # Errors
    /// A configuration that can't work, as a sentence.
    pub(crate) fn new(config: &ClusterConfig, seed: u64, planted: Planted) -> Result<SimulatedCluster, String> {
        let world = World::new(config, seed, Settings::default(), Watch::default());
        let mut world = world.map_err(|error| error.to_string())?.with(planted);
        for &node in &config.members {
            let started = world.start(node);
            assert!(started, "nothing runs in a new world");
        }
        Ok(SimulatedCluster { world, connections: BTreeMap::new(), calls: 0 })
    }

    /// Kills a node. Its disk stays.
    pub(crate) fn kill(&mut self, node: NodeId) {
        self.hang_up(node);
        self.world.kill(node);
    }

    /// Starts a node that was killed.
    pub(crate) fn start(&mut self, node: NodeId) {
        self.world.start(node);
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, milliseconds: u64) {
        let until = self.world.now() + milliseconds * MILLISECOND;
        while self.world.queue.next_time().is_some_and(|next| next < until) {
            for event in self.step() {
                self.forget_lost(&event);
            }
        }
        self.world.queue.wait_until(until);
    }

    /// Asks, many at once, and waits for every answer for at most so long.
    ///
    /// # Errors
    /// Of a request: nobody answered it, as a sentence.
    pub(crate) fn requests(
        &mut self,
        requests: Vec<(NodeId, ClientRequest)>,
        timeout_ms: u64,
    ) -> Vec<Result<ClientResponse, String>> {
        let nodes: BTreeSet<NodeId> = requests.iter().map(|(node, _)| *node).collect();
        let unreachable: BTreeMap<NodeId, String> =
            nodes.into_iter().filter_map(|node| Some((node, self.connect(node).err()?))).collect();
        let mut answers = Vec::with_capacity(requests.len());
        let mut under_way: BTreeMap<u64, (usize, NodeId)> = BTreeMap::new();
        let mut waiting = requests.into_iter().enumerate();
        let deadline = self.world.now() + timeout_ms * MILLISECOND;
        loop {
            while under_way.len() < UNDER_WAY_MAX
                && let Some((place, (node, request))) = waiting.next()
            {
                answers.push(Err(format!("{node} did not answer within {timeout_ms} ms")));
                match (unreachable.get(&node), self.connections.get(&node)) {
                    (None, Some(&connection)) => {
                        self.calls += 1;
                        under_way.insert(self.calls, (place, node));
                        self.world.send_request(connection, self.calls, request);
                    }
                    (reason, _) => {
                        let reason = reason.map_or("the connection was lost", String::as_str);
                        answers[place] = Err(format!("not sent to {node}: {reason}"));
                    }
                }
            }
            if under_way.is_empty() {
                return answers;
            }
            if self.world.now() >= deadline || self.world.died().is_some() {
                let rest = waiting.map(|(_, (node, _))| Err(format!("not sent to {node}: the time was over")));
                answers.extend(rest);
                return answers;
            }
            for event in self.step() {
                self.forget_lost(&event);
                match event {
                    ClientEvent::Response { call, response, .. } => {
                        if let Some((place, _)) = under_way.remove(&call) {
                            answers[place] = Ok(response);
                        }
                    }
                    ClientEvent::Lost { slot, reason, .. } => under_way.retain(|_, (place, node)| {
                        let lost = u32::from(node.0) == slot;
                        if lost {
                            answers[*place] = Err(format!("unknown: connection lost: {reason}"));
                        }
                        !lost
                    }),
                    ClientEvent::Connected { .. } => {}
                }
            }
        }
    }

    /// The first node whose replica broke an invariant of its own, with its last words.
    pub(crate) fn died(&self) -> Option<String> {
        self.world.died().map(|(node, words)| format!("{node} ended by itself: {words}"))
    }

    fn connect(&mut self, node: NodeId) -> Result<(), String> {
        if self.connections.contains_key(&node) {
            return Ok(());
        }
        let connection = self.world.dial(Party::Client(u32::from(node.0)), node);
        let deadline = self.world.now() + CONNECT_TIMEOUT;
        while self.world.now() < deadline && self.world.queue.next_time().is_some() {
            for event in self.step() {
                match event {
                    ClientEvent::Connected { connection: made, .. } if made == connection => {
                        self.connections.insert(node, connection);
                        return Ok(());
                    }
                    ClientEvent::Lost { connection: lost, reason, .. } if lost == connection => {
                        return Err(reason.to_owned());
                    }
                    event => self.forget_lost(&event),
                }
            }
        }
        self.world.close(connection, Side::Dialler, false);
        Err("no answer to the handshake".to_owned())
    }

    fn hang_up(&mut self, node: NodeId) {
        if let Some(connection) = self.connections.remove(&node) {
            self.world.close(connection, Side::Dialler, false);
        }
    }

    fn forget_lost(&mut self, event: &ClientEvent) {
        if let ClientEvent::Lost { connection, .. } = event {
            self.connections.retain(|_, known| known != connection);
        }
    }

    /// One event, and what the client hears of it.
    fn step(&mut self) -> Vec<ClientEvent> {
        match self.world.step() {
            Step::Nothing | Step::World => {}
            Step::Wake(wake) => unreachable!("nobody asked to be woken: {wake:?}"),
        }
        std::iter::from_fn(|| self.world.next_client_event()).collect()
    }
}

#[cfg(test)]
mod tests {
    use hearsay_core::{Key, Level, Value};

    use super::*;

    #[test]
    fn a_client_is_answered_and_a_killed_node_is_not() {
        let config = ClusterConfig { members: (1..=3).map(NodeId).collect(), ..ClusterConfig::default() };
        let mut cluster = SimulatedCluster::new(&config, 1, Planted::NONE).expect("a cluster");
        cluster.pass(5_000);
        let put = |n: u8| ClientRequest::Put { key: Key(vec![n]), value: Value(vec![n]), level: Level::Quorum };
        // More than may be under way at once.
        let many = (0..600_u16).map(|n| (NodeId(n % 3 + 1), put(n as u8))).collect();
        let answers = cluster.requests(many, 10_000);
        assert_eq!(answers.len(), 600);
        assert!(answers.iter().all(|answer| matches!(answer, Ok(ClientResponse::Written { .. }))), "{answers:?}");
        cluster.kill(NodeId(3));
        let answers = cluster.requests(vec![(NodeId(3), put(1)), (NodeId(1), put(2))], 10_000);
        assert!(answers[0].is_err(), "{answers:?}");
        assert!(matches!(answers[1], Ok(ClientResponse::Written { .. })), "{answers:?}");
        cluster.start(NodeId(3));
        cluster.pass(5_000);
        let answers = cluster.requests(vec![(NodeId(3), ClientRequest::Status)], 10_000);
        assert!(matches!(&answers[0], Ok(ClientResponse::Status(status)) if status.ready), "{answers:?}");
    }
}
