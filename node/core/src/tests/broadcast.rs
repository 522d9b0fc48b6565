//! Broadcasts through whole replicas: published by a client of one, fetched by a client of another.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use crate::dissemination::{BroadcastKind, DisseminationConfig, MembershipKind, Payload};
use crate::message::PeerMessage;
use crate::*;

/// Replicas whose messages arrive at once; nothing is lost but what goes to a node that is cut off.
struct Room {
    replicas: Vec<Replica>,
    ms: u64,
    cut_off: Option<NodeId>,
}

impl Room {
    fn new(nodes: u16, dissemination: Option<DisseminationConfig>) -> Room {
        let members: Vec<NodeId> = (1..=nodes).map(NodeId).collect();
        let heartbeat_timeout_ms = 3_600_000; // No links are told here: nobody is to be held for dead for that.
        let config =
            ClusterConfig { members: members.clone(), dissemination, heartbeat_timeout_ms, ..ClusterConfig::default() };
        let mut room = Room { replicas: Vec::new(), ms: 0, cut_off: None };
        let mut sent = Vec::new();
        for node in members {
            let (replica, output) =
                Replica::boot(config.clone(), node, 7, RecoveredState::default(), [node.0 as u8; 32], room.now())
                    .expect("a good configuration");
            room.replicas.push(replica);
            sent.extend(output.send.into_iter().map(|send| (node, send)));
        }
        room.carry(sent.into());
        room
    }

    fn now(&self) -> Now {
        let ns = self.ms * 1_000_000;
        Now { time: Time(ns), wall: WallTime(1_700_000_000_000_000_000 + ns) }
    }

    fn carry(&mut self, mut sent: VecDeque<(NodeId, Send)>) {
        while let Some((from, Send { to, message, .. })) = sent.pop_front() {
            if self.cut_off.is_some_and(|node| node == to || node == from) {
                continue;
            }
            let now = self.now();
            let output = self.replicas[usize::from(to.0) - 1].handle(now, Input::Peer { from, message });
            sent.extend(output.send.into_iter().map(|send| (to, send)));
        }
    }

    fn wait_ms(&mut self, milliseconds: u64) {
        for _ in 0..milliseconds.div_ceil(10) {
            self.ms += 10;
            for place in 0..self.replicas.len() {
                if self.replicas[place].next_deadline().is_some_and(|at| at <= self.now().time) {
                    let now = self.now();
                    let output = self.replicas[place].handle(now, Input::Deadline);
                    let node = NodeId(place as u16 + 1);
                    self.carry(output.send.into_iter().map(|send| (node, send)).collect());
                }
            }
        }
    }

    fn ask(&mut self, node: u16, request: ClientRequest) -> ClientResponse {
        let now = self.now();
        let mut output =
            self.replicas[usize::from(node) - 1].handle(now, Input::Client { request_id: RequestId(1), request });
        self.carry(output.send.into_iter().map(|send| (NodeId(node), send)).collect());
        output.reply.remove(0).1
    }

    fn texts(&mut self, node: u16) -> Vec<Vec<u8>> {
        match self.ask(node, ClientRequest::Deliveries { after: 0, limit: 1_000 }) {
            ClientResponse::Deliveries { deliveries, missed: 0, .. } => {
                deliveries.into_iter().map(|delivered| delivered.payload.0).collect()
            }
            other => panic!("{other:?}"),
        }
    }
}

fn publish(text: &str) -> ClientRequest {
    ClientRequest::Publish { payload: Value(text.as_bytes().to_vec()) }
}

fn protocols() -> Vec<DisseminationConfig> {
    let with = |protocol, membership| DisseminationConfig { protocol, membership, ..DisseminationConfig::default() };
    vec![
        with(BroadcastKind::Direct, MembershipKind::Full),
        with(BroadcastKind::Periodic, MembershipKind::HyParView),
        with(BroadcastKind::Rumor, MembershipKind::Full),
        with(BroadcastKind::Tree, MembershipKind::Full),
        with(BroadcastKind::Plumtree, MembershipKind::HyParView),
        with(BroadcastKind::Plumtree, MembershipKind::Full),
    ]
}

#[test]
fn every_protocol_brings_what_is_published_to_every_node() {
    for config in protocols() {
        let mut room = Room::new(20, Some(config.clone()));
        room.wait_ms(5_000);
        assert!(matches!(room.ask(3, publish("one")), ClientResponse::Published { .. }));
        assert!(matches!(room.ask(17, publish("two")), ClientResponse::Published { .. }));
        room.wait_ms(30_000);
        for node in 1..=20 {
            let mut texts = room.texts(node);
            texts.sort();
            assert_eq!(texts, [b"one".to_vec(), b"two".to_vec()], "n{node}, {:?}", config.protocol);
        }
    }
}

#[test]
fn who_was_cut_off_hears_of_it_later() {
    for config in protocols() {
        let mut room = Room::new(10, Some(config.clone()));
        room.wait_ms(5_000);
        room.cut_off = Some(NodeId(9));
        room.ask(1, publish("news"));
        room.wait_ms(3_000);
        assert_eq!(room.texts(9), Vec::<Vec<u8>>::new());
        room.cut_off = None;
        room.wait_ms(30_000);
        assert_eq!(room.texts(9), [b"news".to_vec()], "{:?}", config.protocol);
    }
}

#[test]
fn a_node_reports_its_place_in_the_overlay() {
    let mut room = Room::new(20, Some(DisseminationConfig::default()));
    room.wait_ms(5_000);
    let ClientResponse::Published { id } = room.ask(3, publish("one")) else { panic!("not published") };
    room.wait_ms(2_000);
    let mut parents = 0;
    for node in 1..=20 {
        let ClientResponse::Overlay(report) = room.ask(node, ClientRequest::Overlay) else { panic!("no report") };
        assert_eq!(report.node, NodeId(node));
        assert!((1..=5).contains(&report.active.len()), "{report:?}");
        assert!(report.active.is_sorted_by_key(|neighbour| neighbour.peer));
        let broadcast = report.broadcasts.iter().find(|broadcast| broadcast.id == id).expect("it came");
        assert_eq!(broadcast.from.is_none(), node == 3);
        assert_eq!(broadcast.hops == 0, node == 3);
        assert!((1_000_000..=2_000_000).contains(&broadcast.age_us), "{broadcast:?}");
        parents += usize::from(broadcast.from.is_some_and(|from| {
            let link = report.active.iter().find(|neighbour| neighbour.peer == from);
            link.is_some_and(|link| link.eager)
        }));
    }
    // Some links were traded meanwhile.
    assert!((15..=19).contains(&parents), "the way that news came is an eager link: {parents} of 19");
    let mut without = Room::new(3, None);
    assert!(matches!(without.ask(1, ClientRequest::Overlay), ClientResponse::Failed(_)));
}

#[test]
fn the_inbox_is_a_window_and_says_what_was_missed() {
    let mut room = Room::new(3, Some(DisseminationConfig::default()));
    for number in 0..5_000 {
        room.ask(1, publish(&alloc::format!("{number}")));
    }
    let ClientResponse::Deliveries { deliveries, next, missed, .. } =
        room.ask(1, ClientRequest::Deliveries { after: 10, limit: 3 })
    else {
        panic!("no deliveries");
    };
    let numbers: Vec<u64> = deliveries.iter().map(|delivered| delivered.number).collect();
    assert_eq!((numbers, next, missed), (vec![905, 906, 907], 907, 894));
    let last = room.ask(1, ClientRequest::Deliveries { after: 5_000, limit: 3 });
    assert_eq!(last, ClientResponse::Deliveries { deliveries: vec![], next: 5_000, missed: 0, incarnation: 7 });
}

#[test]
fn what_can_never_be_is_refused() {
    let refused = |response: ClientResponse, why: &str| match response {
        ClientResponse::Failed(error) => {
            assert_eq!(error.kind, ClientErrorKind::Refused);
            assert!(error.message.contains(why), "{}", error.message);
        }
        other => panic!("{other:?}"),
    };
    let mut without = Room::new(3, None);
    refused(without.ask(1, publish("x")), "no dissemination");
    refused(without.ask(1, ClientRequest::Deliveries { after: 0, limit: 1 }), "no dissemination");
    let mut room = Room::new(3, Some(DisseminationConfig::default()));
    let long = ClientRequest::Publish { payload: Value(vec![0; Payload::LENGTH_MAX + 1]) };
    refused(room.ask(1, long), "split it");
    refused(room.ask(1, ClientRequest::Deliveries { after: 0, limit: 0 }), "at least one");
}

#[test]
fn nodes_that_a_peer_made_up_are_not_sent_to() {
    use crate::dissemination::{DisseminationMessage, HyParViewMessage, Priority};
    let mut room = Room::new(3, Some(DisseminationConfig::default()));
    let now = room.now();
    let message = HyParViewMessage::ShuffleReply { nodes: vec![NodeId(77), NodeId(0), NodeId(78)] };
    let made_up = |message| PeerMessage::Dissemination(DisseminationMessage::HyParView(message));
    let replica = &mut room.replicas[0];
    let mut sent = replica.handle(now, Input::Peer { from: NodeId(2), message: made_up(message) }).send;
    let message = HyParViewMessage::Neighbor { priority: Priority::High };
    sent.extend(replica.handle(now, Input::Peer { from: NodeId(3), message: made_up(message) }).send);
    assert!(sent.iter().all(|send| send.to.0 <= 3), "{sent:?}");
}
