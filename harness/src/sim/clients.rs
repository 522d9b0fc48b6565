//! The clients: the same state machine as in a run on real processes, over connections of the simulated world, with the
//! real client's account of what became of a request: *not sent* while no connection was made, *unknown* after.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hearsay_checkers::EventType;
use hearsay_core::{ClientRequest, ClientResponse, NodeId};

use crate::plan::PlannedOperation;
use crate::run::client::{CallError, ClientProcess, ClientSettings, Next};

use super::connection::{ConnectionId, Party, Side};
use super::run::{Recording, Wake};
use super::settings::SECOND;
use super::world::{ClientEvent, Event, World};

/// Longest wait for a connection, as of real clients.
const CONNECT_TIMEOUT: u64 = SECOND;

/// All clients, and the readers after them.
#[derive(Debug)]
pub(super) struct Clients {
    clients: BTreeMap<u32, Client>,
    /// Longest wait for an answer, nanoseconds.
    timeout: u64,
    /// Calls so far, over all clients.
    calls: u64,
    /// Idle clients start nothing any more.
    stopping: bool,
    busy: usize,
}

#[derive(Debug)]
struct Client {
    process: ClientProcess,
    connections: BTreeMap<NodeId, ConnectionId>,
    call: Option<Call>,
    /// Of a reader: keys without an answer. A key that has one is not read again.
    unanswered: Option<BTreeSet<String>>,
    done: bool,
}

#[derive(Debug)]
struct Call {
    number: u64,
    node: NodeId,
    connection: ConnectionId,
    /// Until there is a connection.
    unsent: Option<ClientRequest>,
    began: u64,
}

impl Clients {
    /// None yet.
    pub(super) fn new(timeout_ms: u64) -> Clients {
        Clients { clients: BTreeMap::new(), timeout: timeout_ms * 1_000_000, calls: 0, stopping: false, busy: 0 }
    }

    /// A client of `slot` (of `slots`). With `keys` it is a reader: done when every key has an answer.
    pub(super) fn add(
        &mut self,
        world: &mut World,
        (slot, slots): (u32, u64),
        settings: ClientSettings,
        operations: VecDeque<PlannedOperation>,
        keys: Option<BTreeSet<String>>,
    ) {
        let process = ClientProcess::new(u64::from(slot), slots, settings, operations);
        let client = Client { process, connections: BTreeMap::new(), call: None, unanswered: keys, done: false };
        let before = self.clients.insert(slot, client);
        assert!(before.is_none(), "a slot has one client");
        self.busy += 1;
        world.queue.push(world.now(), Event::Wake(Wake::Client(slot)));
    }

    /// Whether every client is done.
    pub(super) fn are_done(&self) -> bool {
        self.busy == 0
    }

    /// Clients that are idle start nothing any more; open operations come to their end.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        let idle = self.clients.values_mut().filter(|client| !client.done && client.call.is_none());
        for client in idle {
            client.done = true;
            self.busy -= 1;
        }
    }

    /// Makes room for the readers: operations that were skipped, and that were still to come.
    pub(super) fn clear(&mut self, world: &mut World) -> (u64, u64) {
        assert!(self.are_done(), "clients leave when they are done");
        let mut undone = (0, 0);
        for client in std::mem::take(&mut self.clients).into_values() {
            undone.0 += client.process.skipped();
            undone.1 += client.process.remaining() as u64;
            for connection in client.connections.into_values() {
                world.close(connection, Side::Dialler, false);
            }
        }
        self.stopping = false;
        undone
    }

    /// A client is due, or free.
    pub(super) fn act(&mut self, world: &mut World, recording: &mut Recording, slot: u32) {
        let Some(client) = self.clients.get_mut(&slot) else { return };
        if client.done || client.call.is_some() {
            return;
        }
        loop {
            let next = if self.stopping { Next::Done } else { client.process.next(recording.time(world.now())) };
            match next {
                Next::Done => {
                    client.done = true;
                    self.busy -= 1;
                    return;
                }
                Next::Wait { until } => {
                    world.queue.push(recording.world_time(until), Event::Wake(Wake::Client(slot)));
                    return;
                }
                Next::Start(call) => {
                    let answered = |keys: &BTreeSet<String>| !keys.contains(&call.invocation.key);
                    if client.unanswered.as_ref().is_some_and(answered) {
                        client.process.withdraw();
                        continue;
                    }
                    recording.record(world, call.invocation);
                    self.calls += 1;
                    let number = self.calls;
                    let began = world.now();
                    world.hash.tape(|tape| tape.call(began, number, slot, call.node));
                    let known = client.connections.get(&call.node).copied();
                    let (connection, unsent) = match known {
                        Some(connection) => {
                            world.send_request(connection, number, call.request);
                            (connection, None)
                        }
                        None => {
                            let connection = world.dial(Party::Client(slot), call.node);
                            let at = began + CONNECT_TIMEOUT.min(self.timeout);
                            world.queue.push(at, Event::Wake(Wake::ConnectTimeout(slot, number)));
                            (connection, Some(call.request))
                        }
                    };
                    world.queue.push(began + self.timeout, Event::Wake(Wake::CallTimeout(slot, number)));
                    client.call = Some(Call { number, node: call.node, connection, unsent, began });
                    return;
                }
            }
        }
    }

    /// A client hears something.
    pub(super) fn hear(&mut self, world: &mut World, recording: &mut Recording, event: ClientEvent) {
        match event {
            ClientEvent::Connected { slot, connection } => {
                let Some(client) = self.clients.get_mut(&slot) else { return };
                let Some(call) = client.call.as_mut().filter(|call| call.connection == connection) else { return };
                client.connections.insert(call.node, connection);
                if let Some(request) = call.unsent.take() {
                    world.send_request(connection, call.number, request);
                }
            }
            ClientEvent::Response { slot, connection, call, response } => {
                let open = self.clients.get(&slot).and_then(|client| client.call.as_ref());
                if open.is_some_and(|open| open.number == call && open.connection == connection) {
                    self.complete(world, recording, slot, Ok(response));
                }
            }
            ClientEvent::Lost { slot, connection, reason } => {
                let Some(client) = self.clients.get_mut(&slot) else { return };
                client.connections.retain(|_, known| *known != connection);
                let Some(call) = client.call.as_ref().filter(|call| call.connection == connection) else { return };
                let error = match call.unsent {
                    Some(_) => CallError::NotSent(format!("not sent: no connection to {}: {reason}", call.node)),
                    None => CallError::Unknown(format!("unknown: connection lost: {reason}")),
                };
                self.complete(world, recording, slot, Err(error));
            }
        }
    }

    /// No connection was made in time.
    pub(super) fn connect_timeout(&mut self, world: &mut World, recording: &mut Recording, slot: u32, number: u64) {
        let Some(call) = self.open_call(slot, number).filter(|call| call.unsent.is_some()) else { return };
        let (connection, node, waited) = (call.connection, call.node, (world.now() - call.began) / 1_000_000);
        world.close(connection, Side::Dialler, false);
        let reason = format!("not sent: no connection to {node}: no answer within {waited} ms");
        self.complete(world, recording, slot, Err(CallError::NotSent(reason)));
    }

    /// No answer came in time.
    pub(super) fn call_timeout(&mut self, world: &mut World, recording: &mut Recording, slot: u32, number: u64) {
        let timeout_ms = self.timeout / 1_000_000;
        let Some(call) = self.open_call(slot, number) else { return };
        let (connection, node) = (call.connection, call.node);
        // The next request starts with a fresh handshake, as with real clients.
        if let Some(client) = self.clients.get_mut(&slot) {
            client.connections.remove(&node);
        }
        world.close(connection, Side::Dialler, false);
        let reason = format!("unknown: {node} did not answer within {timeout_ms} ms");
        self.complete(world, recording, slot, Err(CallError::Unknown(reason)));
    }

    fn open_call(&self, slot: u32, number: u64) -> Option<&Call> {
        self.clients.get(&slot)?.call.as_ref().filter(|call| call.number == number)
    }

    fn complete(
        &mut self,
        world: &mut World,
        recording: &mut Recording,
        slot: u32,
        result: Result<ClientResponse, CallError>,
    ) {
        let Some(client) = self.clients.get_mut(&slot) else { return };
        client.call = None;
        let completion = client.process.complete(result);
        if let Some(unanswered) = &mut client.unanswered
            && completion.kind == EventType::Ok
        {
            unanswered.remove(&completion.key);
        }
        recording.record(world, completion);
        self.act(world, recording, slot);
    }
}
