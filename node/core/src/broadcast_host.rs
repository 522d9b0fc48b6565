//! Dissemination within the replica: what the layer wants sent goes out on the control lane, and what it delivers waits in an
//! inbox until a client of this node fetches it.
//!
//! The inbox is a window over all that was delivered here, numbered from 1 since the start of the process: what is too old or too
//! much goes, and who fetches too late hears how much was missed. Nothing of it is durable: a broadcast is news, not data.
//!
//! Changes of the cluster metadata travel the same way; a byte in front of each payload says which of both it is.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::dissemination::{Dissemination, DisseminationInput, DisseminationMessage, Effects, Payload, Peers};
use crate::message::PeerMessage;
use crate::metadata::{Name, Record};
use crate::overlay_report::BROADCASTS_MAX;
use crate::{
    ClientError, ClientErrorKind, ClientResponse, ClusterConfig, Delivered, Lane, Link, NodeId, Now, OverlayBroadcast,
    OverlayPeer, OverlayReport, Planted, Replica, Time, Value,
};

/// Most broadcasts in the inbox.
const INBOX_MAX: usize = 4_096;
/// Most bytes of payload in the inbox.
const INBOX_BYTES_MAX: usize = 4 << 20;
/// Most bytes of payload in one answer.
const PAGE_BYTES_MAX: usize = 256 << 10;

/// First byte of a payload: it is an application's.
const APPLICATION: u8 = 0;
/// First byte of a payload: it is a list of metadata records.
const METADATA: u8 = 1;

/// The layer and the inbox.
#[derive(Debug)]
pub(crate) struct BroadcastHost {
    layer: Dissemination,
    inbox: VecDeque<Delivered>,
    bytes: usize,
    /// How many were delivered.
    count: u64,
    /// Changes of the metadata that were delivered and wait for the end of this input.
    announced: Vec<Vec<(Name, Record)>>,
    /// Payloads that are neither.
    malformed: u64,
}

impl BroadcastHost {
    /// The layer at the start of a node, if the configuration has one, and what it wants done first.
    pub(crate) fn start(
        config: &ClusterConfig,
        planted: Planted,
        identity: NodeId,
        incarnation: u64,
        seed: &[u8; 32],
        now: Now,
    ) -> Option<(Box<BroadcastHost>, Effects)> {
        let dissemination = config.dissemination.as_ref()?;
        let mut members = config.members.clone();
        members.sort_unstable();
        let members = Arc::from(members);
        let (layer, effects) =
            Dissemination::new(dissemination, planted, identity, incarnation, members, seed, now.time);
        let (inbox, announced) = (VecDeque::new(), Vec::new());
        Some((Box::new(BroadcastHost { layer, inbox, bytes: 0, count: 0, announced, malformed: 0 }), effects))
    }

    pub(crate) fn layer(&self) -> &Dissemination {
        &self.layer
    }

    fn deliver(&mut self, effects: &mut Effects) {
        for delivery in effects.delivered.drain(..) {
            let payload = match delivery.message.payload.0.split_first() {
                Some((&APPLICATION, payload)) => Value(payload.to_vec()),
                Some((&METADATA, records)) => {
                    match postcard::from_bytes(records) {
                        Ok(records) => self.announced.push(records),
                        Err(_) => self.malformed += 1,
                    }
                    continue;
                }
                _ => {
                    self.malformed += 1;
                    continue;
                }
            };
            self.count += 1;
            self.bytes += payload.0.len();
            self.inbox.push_back(Delivered { number: self.count, id: delivery.message.id, payload });
        }
        while self.inbox.len() > INBOX_MAX || self.bytes > INBOX_BYTES_MAX {
            let oldest = self.inbox.pop_front().expect("it is too full");
            self.bytes -= oldest.payload.0.len();
        }
    }

    fn fetch(&self, after: u64, limit: usize) -> ClientResponse {
        let first = self.count + 1 - self.inbox.len() as u64;
        let begin = (after.saturating_add(1)).clamp(first, self.count + 1);
        let mut bytes = 0;
        let deliveries: Vec<Delivered> = self
            .inbox
            .iter()
            .skip((begin - first) as usize)
            .take(limit)
            .take_while(|delivered| {
                bytes += delivered.payload.0.len();
                bytes <= PAGE_BYTES_MAX
            })
            .cloned()
            .collect();
        let next = deliveries.last().map_or(begin - 1, |last| last.number);
        let missed = begin.saturating_sub(after.saturating_add(1));
        ClientResponse::Deliveries { deliveries, next, missed, incarnation: self.layer.incarnation() }
    }
}

/// A payload with the byte in front that says what it is.
fn tagged(tag: u8, content: &[u8]) -> Payload {
    assert!(content.len() < Payload::TAGGED_MAX, "a payload of {} bytes was made", content.len());
    Payload(core::iter::once(tag).chain(content.iter().copied()).collect())
}

fn refused(message: &str) -> ClientResponse {
    ClientResponse::Failed(ClientError { kind: ClientErrorKind::Refused, message: message.into() })
}

const SWITCHED_OFF: &str =
    "this cluster has no dissemination: add `dissemination: {protocol: plumtree}` to its settings";

impl Replica {
    /// Something for the layer; ignored and counted without one.
    pub(crate) fn on_dissemination(&mut self, input: DisseminationInput) {
        let Some(mut host) = self.broadcast.take() else {
            self.counters.messages_invalid += u64::from(matches!(input, DisseminationInput::Peer { .. }));
            return;
        };
        let effects = host.layer.handle(self.now.time, input);
        self.carry_out_dissemination(&mut host, effects);
        let announced = core::mem::take(&mut host.announced);
        self.counters.messages_invalid += core::mem::take(&mut host.malformed);
        self.broadcast = Some(host);
        for records in announced {
            self.on_announced(records);
        }
    }

    /// Broadcasts records of the metadata: at most a payload's length.
    pub(crate) fn announce(&mut self, records: &[(Name, Record)]) {
        self.on_dissemination(DisseminationInput::Publish(tagged(
            METADATA,
            &postcard::to_allocvec(records).expect("what this crate makes always serializes"),
        )));
    }

    /// Sends and delivers. Peers that are no members, named by some other node, can't be reached, and the layer hears so.
    pub(crate) fn carry_out_dissemination(&mut self, host: &mut BroadcastHost, mut effects: Effects) {
        let mut unknown: Vec<NodeId> = Vec::new();
        loop {
            host.deliver(&mut effects);
            for (to, message) in effects.send {
                if self.ring.is_member(to) {
                    self.send(to, Lane::Control, PeerMessage::Dissemination(message));
                } else {
                    self.counters.messages_invalid += 1;
                    unknown.push(to);
                }
            }
            let Some(peer) = unknown.pop() else { return };
            effects = host.layer.handle(self.now.time, DisseminationInput::Link { peer, state: Link::Down });
        }
    }

    pub(crate) fn on_dissemination_message(&mut self, from: NodeId, message: DisseminationMessage) {
        self.on_dissemination(DisseminationInput::Peer { from, message });
    }

    pub(crate) fn dissemination_deadline(&self) -> Option<Time> {
        self.broadcast.as_ref().and_then(|host| host.layer.next_deadline())
    }

    /// Whether the overlay needs the link to `peer`.
    pub(crate) fn is_overlay_neighbour(&self, peer: NodeId) -> bool {
        self.broadcast.as_ref().is_some_and(|host| host.layer.peers().contains(peer))
    }

    pub(crate) fn publish(&mut self, payload: Value) -> ClientResponse {
        let Some(host) = &self.broadcast else { return self.refuse_broadcast(SWITCHED_OFF) };
        if payload.0.len() > Payload::LENGTH_MAX {
            let (length, most) = (payload.0.len(), Payload::LENGTH_MAX);
            return self.refuse_broadcast(&format!("the payload has {length} bytes, the limit is {most}: split it"));
        }
        let id = host.layer.next_id();
        self.on_dissemination(DisseminationInput::Publish(tagged(APPLICATION, &payload.0)));
        ClientResponse::Published { id }
    }

    pub(crate) fn deliveries(&mut self, after: u64, limit: u32) -> ClientResponse {
        match &self.broadcast {
            None => self.refuse_broadcast(SWITCHED_OFF),
            Some(_) if limit == 0 => self.refuse_broadcast("the limit is 0: ask for at least one broadcast"),
            Some(host) => host.fetch(after, limit as usize),
        }
    }

    /// Its neighbours, and how the newest broadcasts came.
    pub(crate) fn overlay(&mut self) -> ClientResponse {
        match self.overlay_report(BROADCASTS_MAX) {
            Some(report) => ClientResponse::Overlay(report),
            None => self.refuse_broadcast(SWITCHED_OFF),
        }
    }

    /// The same with so many broadcasts at most; `None`: there is no dissemination.
    pub(crate) fn overlay_report(&self, broadcasts_max: usize) -> Option<OverlayReport> {
        let layer = &self.broadcast.as_ref()?.layer;
        let eager = layer.links().map_or(&[][..], |(eager, _)| eager);
        let active = layer.peers().iter().map(|peer| OverlayPeer { peer, eager: eager.contains(&peer) }).collect();
        let broadcasts = layer.log().ids().rev().take(broadcasts_max).filter_map(|id| {
            let held = layer.log().held(id)?;
            let age_us = self.now.time.0.saturating_sub(held.at.0) / 1_000;
            Some(OverlayBroadcast { id, from: held.from, hops: held.round, age_us })
        });
        Some(OverlayReport {
            node: self.identity,
            incarnation: self.incarnation,
            is_full: matches!(layer.peers(), Peers::All { .. }),
            active,
            passive: layer.passive_view().to_vec(),
            broadcasts: broadcasts.collect(),
        })
    }

    fn refuse_broadcast(&mut self, message: &str) -> ClientResponse {
        self.counters.requests_refused += 1;
        refused(message)
    }
}
