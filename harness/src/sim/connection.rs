//! A connection: two sides, two directions, three ordered lanes in each.
//!
//! ```text
//! dialler: Initial ->            <- Accepted          one round trip: a client may ask now
//!          Hello (control) ->    <- Hello (control)   between nodes: the acceptor's link is up after one and a half
//!                                                     round trips, the dialler's after two
//! ```
//!
//! A side ends by itself, without the other hearing of it, after the idle time-out; with a word when it is closed on purpose; and
//! it hears of a peer that no longer knows the connection (its process is another one) as soon as it sends something.
//! Types only; what moves them is in [`super::wire`] (streams) and [`super::links`] (who is whose link).

use std::collections::VecDeque;

use hearsay_core::message::PeerMessage;
use hearsay_core::{ClientRequest, ClientResponse, Lane, NodeId};

use crate::plan::Endpoint;

use super::noise::Noise;
use super::settings::{LANE_BYTES_MAX, LANE_FRAMES_MAX};

/// Names a connection for the life of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnectionId {
    pub(super) place: u32,
    pub(super) generation: u32,
}

/// Whoever can hold a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    Node(NodeId),
    /// A client's slot.
    Client(u32),
}

impl Party {
    /// Where partitions see it.
    pub(super) fn endpoint(self) -> Endpoint {
        match self {
            Party::Node(node) => Endpoint::Node(node),
            Party::Client(_) => Endpoint::Clients,
        }
    }
}

/// One of the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Dialler = 0,
    Acceptor = 1,
}

impl Side {
    pub(super) fn other(self) -> Side {
        match self {
            Side::Dialler => Side::Acceptor,
            Side::Acceptor => Side::Dialler,
        }
    }
}

/// What travels on a stream, in order.
#[derive(Clone, Debug)]
pub(super) enum Frame {
    Hello,
    /// Nothing; its sender wants to know whether the connection lives.
    Probe,
    /// With the number that stands for it in the run's hash.
    Message(u64, PeerMessage),
    /// With the number of the client's call.
    Request(u64, ClientRequest),
    /// With the number of the client's call.
    ///
    /// Boxed: a status report is far larger than all else, and every event would have its size.
    Response(u64, Box<ClientResponse>),
}

/// What travels from side to side.
#[derive(Clone, Debug)]
pub(super) enum Packet {
    /// The dialler's first.
    Initial,
    /// The answer to it.
    Accepted,
    /// On a stream, with its bytes.
    Frame(Lane, Frame, u32),
    /// A message that may be lost, with the number that stands for it in the run's hash.
    Datagram(u64, PeerMessage),
    /// "I live."
    Ping,
    /// "I know no such connection."
    Reset,
    /// It was closed on purpose; `duplicate`: in favour of another of the same pair.
    Close { duplicate: bool },
}

/// What one side knows of its connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct End {
    /// It holds the connection.
    pub(super) open: bool,
    /// Between nodes: it is this side's link. Of a client: the handshake is done.
    pub(super) up: bool,
    /// When it heard of the other side last.
    pub(super) heard: u64,
}

#[derive(Debug)]
struct Waiting {
    frame: Frame,
    bytes: u32,
    left: u32,
}

/// What waits to be sent, per lane.
#[derive(Debug, Default)]
pub(super) struct LaneQueues {
    lanes: [VecDeque<Waiting>; 3],
    bytes: [usize; 3],
    /// So many at the front of each lane were on their way already, and went back. They do not count for the limits.
    returned: [usize; 3],
}

/// A frame taken out of its queue.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) lane: Lane,
    pub(super) frame: Frame,
    pub(super) bytes: u32,
    /// Bytes that have not been on the line yet: only the last of its parts makes it arrive.
    pub(super) left: u32,
    /// It had been on its way before.
    pub(super) returned: bool,
}

/// A lane's place in tables.
pub(super) fn lane_index(lane: Lane) -> usize {
    match lane {
        Lane::Control => 0,
        Lane::Data => 1,
        Lane::Bulk => 2,
    }
}

const LANES: [Lane; 3] = [Lane::Control, Lane::Data, Lane::Bulk];

impl LaneQueues {
    /// Queues a frame of `bytes`; false when the lane is full.
    pub(super) fn push(&mut self, lane: Lane, frame: Frame, bytes: u32) -> bool {
        let at = lane_index(lane);
        let size = self.bytes[at] + bytes as usize;
        if self.lanes[at].len() - self.returned[at] >= LANE_FRAMES_MAX[at] || size > LANE_BYTES_MAX[at] {
            return false;
        }
        self.bytes[at] = size;
        self.lanes[at].push_back(Waiting { frame, bytes, left: bytes });
        true
    }

    /// What waits, lane by lane.
    pub(super) fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.lanes.iter().flatten().map(|waiting| &waiting.frame)
    }

    /// Puts back what was just taken.
    pub(super) fn put_back(&mut self, queued: Queued) {
        let at = lane_index(queued.lane);
        if queued.returned {
            self.returned[at] += 1;
        } else {
            self.bytes[at] += queued.bytes as usize;
        }
        let Queued { frame, bytes, left, .. } = queued;
        self.lanes[at].push_front(Waiting { frame, bytes, left });
    }

    /// Takes in what was on its way and did not arrive, behind those of its lane that came back before. There are at most as
    /// many as were on their way.
    pub(super) fn give_back(&mut self, lane: Lane, frame: Frame, bytes: u32) {
        let at = lane_index(lane);
        self.lanes[at].insert(self.returned[at], Waiting { frame, bytes, left: bytes });
        self.returned[at] += 1;
    }

    /// Whether frames of this lane came back.
    pub(super) fn has_returned(&self, lane: Lane) -> bool {
        self.returned[lane_index(lane)] > 0
    }

    /// Whether frames of any lane came back.
    pub(super) fn any_returned(&self) -> bool {
        self.returned.iter().any(|&count| count > 0)
    }

    /// The first frame of the lane with the highest priority that has one.
    pub(super) fn pop(&mut self) -> Option<Queued> {
        let lane = LANES.into_iter().find(|&lane| !self.lanes[lane_index(lane)].is_empty())?;
        let at = lane_index(lane);
        let Waiting { frame, bytes, left } = self.lanes[at].pop_front()?;
        let returned = self.returned[at] > 0;
        if returned {
            self.returned[at] -= 1;
        } else {
            self.bytes[at] -= bytes as usize;
        }
        Some(Queued { lane, frame, bytes, left, returned })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(VecDeque::is_empty)
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }
}

/// The way from one side to the other.
#[derive(Debug)]
pub(super) struct Direction {
    pub(super) queues: LaneQueues,
    /// When the last frame of each lane arrives: none overtakes it.
    pub(super) last_arrival: [u64; 3],
    /// The sender's line is busy until then.
    pub(super) busy_until: u64,
    /// An event will send what is queued.
    pub(super) draining: bool,
    /// Nothing gets through; what is queued is tried again from time to time.
    pub(super) stalled: bool,
    /// Tells the retry that is meant from those that were overtaken by events.
    pub(super) retry: u32,
    /// Retries so far without an answer.
    pub(super) retries: u32,
    /// A fresh packet got through: the retry is near.
    pub(super) nudged: bool,
    /// Frames on their way.
    pub(super) in_flight: u32,
    /// Of the frames on streams.
    pub(super) noise: Noise,
    /// Of what is outside of the streams. Its own, so that a heartbeat shifts nothing else.
    pub(super) loose_noise: Noise,
}

impl Direction {
    pub(super) fn new(noise: Noise, loose_noise: Noise) -> Direction {
        Direction {
            queues: LaneQueues::default(),
            last_arrival: [0; 3],
            busy_until: 0,
            draining: false,
            stalled: false,
            retry: 0,
            retries: 0,
            nudged: false,
            in_flight: 0,
            noise,
            loose_noise,
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    /// By [`Side`].
    pub(super) parties: [Party; 2],
    pub(super) ends: [End; 2],
    /// By the side that sends.
    pub(super) directions: [Direction; 2],
    /// The starts of the processes at both ends, by [`Side`]; 0 for a client.
    pub(super) incarnations: [u64; 2],
    /// Counts among the dials of its dialler.
    pub(super) dialling: bool,
    /// The dialler has heard the acceptor's answer.
    pub(super) answered: bool,
    /// What reached a dialler whose own hello was not answered yet.
    pub(super) early: Vec<(Lane, Frame)>,
}

impl Connection {
    pub(super) fn party(&self, side: Side) -> Party {
        self.parties[side as usize]
    }
    pub(super) fn end(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }
    pub(super) fn is_open(&self, side: Side) -> bool {
        self.ends[side as usize].open
    }
    /// The way that starts at `side`.
    pub(super) fn direction(&mut self, side: Side) -> &mut Direction {
        &mut self.directions[side as usize]
    }
    /// Whether both ends are nodes.
    pub(super) fn between_nodes(&self) -> bool {
        matches!(self.parties, [Party::Node(_), Party::Node(_)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_bounded_and_taken_by_priority() {
        let mut queues = LaneQueues::default();
        for lane in [Lane::Bulk, Lane::Control, Lane::Data, Lane::Control] {
            assert!(queues.push(lane, Frame::Probe, 9));
        }
        let taken: Vec<_> = std::iter::from_fn(|| queues.pop().map(|queued| queued.lane)).collect();
        assert_eq!(taken, [Lane::Control, Lane::Control, Lane::Data, Lane::Bulk]);
        assert!(queues.is_empty());
        for lane in LANES {
            let at = lane_index(lane);
            let frames =
                std::iter::repeat_with(|| queues.push(lane, Frame::Probe, 1)).take_while(|&taken| taken).count();
            assert_eq!(frames, LANE_FRAMES_MAX[at]);
            while queues.pop().is_some() {}
            assert!(queues.push(lane, Frame::Probe, LANE_BYTES_MAX[at] as u32));
            assert!(!queues.push(lane, Frame::Probe, 1), "{lane:?} takes more bytes than it may");
            while queues.pop().is_some() {}
        }
    }
}
