//! A process that leaves in order, as the real node does: it takes no further requests, answers those it has taken, has all on
//! its disk, tells peers and clients, and is gone.
//!
//! States: `Running` -> leaving (still running) -> answers have arrived -> `Down`. A crash ends it at any time.

use hearsay_core::{ClientError, ClientErrorKind, ClientResponse, Lane, NodeId};

use super::connection::{ConnectionId, Frame, Party, Side};
use super::node::Process;
use super::settings::MILLISECOND;
use super::world::{Event, World, place};

/// Between two looks whether all is answered.
const LOOK_INTERVAL: u64 = MILLISECOND;
/// How much longer than a request can take at the coordinator it is waited for, as in the node's driver.
const DRAIN_MARGIN: u64 = 1_000 * MILLISECOND;
/// How long answers are given to arrive, as in the node.
const ACKNOWLEDGED_WITHIN: u64 = 30 * MILLISECOND;

/// A process on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    /// When it was asked to.
    since: u64,
    /// It gives up on what is not answered by then.
    until: u64,
    /// When its answers have arrived. From the moment on that this is known it takes no input any more.
    gone_at: Option<u64>,
}

/// How a process ended that was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// From the order to the end, nanoseconds.
    pub(super) took: u64,
    /// Requests taken and not answered. None: exit code 0.
    pub(super) unanswered: u64,
}

impl World {
    /// Asks a process to end in order; false when none runs.
    pub(super) fn leave(&mut self, id: NodeId) -> bool {
        let now = self.now();
        let until = now + self.request_timeout() + DRAIN_MARGIN;
        let node = &mut self.nodes[place(id)];
        if node.process != Process::Running || node.leaving.is_some() {
            return false;
        }
        node.leaving = Some(Leaving { since: now, until, gone_at: None });
        node.left = None;
        let starts = node.starts;
        self.queue.push(now, Event::Leaving { node: id, starts });
        true
    }

    /// Looks whether a process that leaves is done.
    pub(super) fn leaving(&mut self, id: NodeId, starts: u64) {
        let now = self.now();
        let node = &mut self.nodes[place(id)];
        let Some(leaving) = node.leaving.as_mut().filter(|_| node.starts == starts) else { return };
        let synced = node.unreleased.is_empty() && node.disk.is_durable(node.disk.last());
        if leaving.gone_at.is_none() && (node.asking.is_empty() || leaving.until <= now) {
            leaving.gone_at = Some(now + ACKNOWLEDGED_WITHIN);
        }
        let next = match leaving.gone_at {
            Some(at) if at <= now && synced => return self.gone(id),
            Some(at) => at.max(now + LOOK_INTERVAL),
            None => now + LOOK_INTERVAL,
        };
        self.queue.push(next, Event::Leaving { node: id, starts });
    }

    /// Closes everything and ends the process.
    fn gone(&mut self, id: NodeId) {
        let now = self.now();
        for connection in self.connections.of_node(id) {
            for side in [Side::Dialler, Side::Acceptor] {
                let known = self.connections.get_mut(connection);
                if let Some(known) = known.filter(|known| known.is_open(side) && known.party(side) == Party::Node(id)) {
                    known.dialling = false;
                    self.close(connection, side, false);
                }
            }
        }
        let node = &mut self.nodes[place(id)];
        let leaving = node.leaving.expect("it is leaving");
        let unanswered = node.asking.len() as u64;
        if let Some(replica) = &node.replica {
            self.marks.add(&replica.marks());
        }
        node.forget();
        node.left = Some(Left { took: now - leaving.since, unanswered });
    }

    /// Whether a process takes nothing any more: all that is left of it is what it has yet to store.
    pub(super) fn is_deaf(&self, id: NodeId) -> bool {
        self.nodes[place(id)].leaving.is_some_and(|leaving| leaving.gone_at.is_some())
    }

    /// Tells a client that its request was not taken.
    pub(super) fn refuse_request(&mut self, connection: ConnectionId, id: NodeId, call: u64) {
        let message = format!("{id} is stopping and takes no further requests: ask another node");
        let response = ClientResponse::Failed(ClientError { kind: ClientErrorKind::Unavailable, message });
        let bytes = self.hash.reply(call, &response);
        self.send_frame(connection, Side::Acceptor, Lane::Data, Frame::Response(call, Box::new(response)), bytes);
    }
}
