//! What nodes say to each other to spread news.
//!
//! Lists in messages are bounded when they are made (`IDS_MAX`, `BATCH_BYTES_MAX`): what is longer is split into several
//! messages, never refused.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::NodeId;

/// Most message ids in one list of a message.
pub(super) const IDS_MAX: usize = 512;
/// Most bytes of payload in one message that carries several.
pub(super) const BATCH_BYTES_MAX: usize = 64 * 1024;

/// Names a broadcast, in the whole cluster and for ever: a restarted node has another incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// Who published it.
    pub origin: NodeId,
    /// Of the origin's process.
    pub incarnation: u64,
    /// From 0, without gaps.
    pub sequence: u64,
}

/// What a broadcast carries: up to [`Payload::LENGTH_MAX`] bytes, shared by all who hold it in one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload(pub Arc<[u8]>);

impl Payload {
    /// Longest payload, in bytes.
    pub const LENGTH_MAX: usize = 16 * 1024;
    /// The same with the byte in front by which the node tells applications' broadcasts from its own.
    pub const TAGGED_MAX: usize = Payload::LENGTH_MAX + 1;
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Payload, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Payload;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Payload, E> {
                Ok(Payload(Arc::from(bytes)))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

/// A broadcast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its name.
    pub id: MessageId,
    /// Its content.
    pub payload: Payload,
}

/// A message of this layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DisseminationMessage {
    /// A broadcast on its way: `direct`, `tree`, and `plumtree`'s GOSSIP.
    Gossip {
        /// Hops it has travelled when it arrives.
        round: u16,
        /// The broadcast.
        message: Message,
    },
    /// Rumor mongering.
    Rumor(RumorMessage),
    /// Digest exchange.
    Exchange(ExchangeMessage),
    /// Plumtree.
    Plumtree(PlumtreeMessage),
    /// HyParView.
    HyParView(HyParViewMessage),
}

/// Rumor mongering (Demers and others 1987).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RumorMessage {
    /// Rumors that the sender is infective with, pushed or in answer to a pull.
    Rumors {
        /// Each with the hops it has travelled when it arrives.
        rumors: Vec<(u16, Message)>,
        /// Whether the sender wants to hear which of them were news.
        feedback: bool,
    },
    /// Which of the rumors were news to the receiver, and which were not.
    Feedback {
        /// News.
        needed: Vec<MessageId>,
        /// Known already.
        known: Vec<MessageId>,
    },
    /// Send me what you are infective with.
    Pull,
}

/// Digest exchange: who asks gets an offer, who is offered wants, who is wanted from sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExchangeMessage {
    /// Offer me what you hold.
    Ask,
    /// What I hold and may send.
    Offer {
        /// Ids, ascending.
        ids: Vec<MessageId>,
    },
    /// Send me these.
    Want {
        /// Ids, ascending.
        ids: Vec<MessageId>,
    },
    /// What was wanted.
    Messages {
        /// Each with the hops it has travelled when it arrives.
        messages: Vec<(u16, Message)>,
    },
}

/// Plumtree (Leitao, Pereira, Rodrigues 2007); its GOSSIP is [`DisseminationMessage::Gossip`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlumtreeMessage {
    /// The sender has these.
    IHave {
        /// Each with the hops it had travelled when the sender got it.
        announced: Vec<(MessageId, u16)>,
    },
    /// Send me that, and from now on everything.
    Graft {
        /// What is missing; `None`: only the link is to become eager.
        id: Option<MessageId>,
    },
    /// Announce to me instead of sending.
    Prune,
}

/// How much a node needs a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Priority {
    /// Taken only if a slot of the active view is free.
    Low,
    /// Never refused, and answered with who was put out: the sender trades a neighbour to mix the overlay.
    Swap,
    /// Never refused: the sender has no neighbour, is new, or reaches over to an overlay that was parted.
    High,
}

/// HyParView (Leitao, Pereira, Rodrigues 2007).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HyParViewMessage {
    /// I am new here.
    Join,
    /// That node is new here; a random walk.
    ForwardJoin {
        /// The new node.
        node: NodeId,
        /// Hops that are left.
        ttl: u8,
    },
    /// Take me into your active view.
    Neighbor {
        /// How much it matters.
        priority: Priority,
    },
    /// Answer to a JOIN or a NEIGHBOR.
    NeighborReply {
        /// Whether the sender is now in the receiver's active view.
        accepted: bool,
        /// Who was put out for a swap.
        replaced: Option<NodeId>,
    },
    /// I have removed you from my active view (or you are not in it).
    Disconnect {
        /// Who may take my place in yours, the first above all.
        alternatives: Vec<NodeId>,
    },
    /// A sample of views; a random walk.
    Shuffle {
        /// Who began it.
        origin: NodeId,
        /// Hops that are left.
        ttl: u8,
        /// The origin's sample, itself included.
        nodes: Vec<NodeId>,
    },
    /// The sample in return, straight to the origin.
    ShuffleReply {
        /// The sample.
        nodes: Vec<NodeId>,
    },
}

impl DisseminationMessage {
    /// How many broadcasts it carries.
    pub fn payloads(&self) -> usize {
        match self {
            DisseminationMessage::Gossip { .. } => 1,
            DisseminationMessage::Rumor(RumorMessage::Rumors { rumors, .. }) => rumors.len(),
            DisseminationMessage::Exchange(ExchangeMessage::Messages { messages }) => messages.len(),
            _ => 0,
        }
    }

    /// Bytes of its encoding, without frame and transport.
    pub fn bytes(&self) -> usize {
        let size = postcard::ser_flavors::Size::default();
        postcard::serialize_with_flavor(self, size).expect("messages of this crate always serialize")
    }
}

/// Splits broadcasts into lists whose payloads stay below `BATCH_BYTES_MAX`.
pub(super) fn batches(messages: Vec<(u16, Message)>) -> Vec<Vec<(u16, Message)>> {
    let (mut all, mut batch, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (round, message) in messages {
        let length = message.payload.0.len() + 32;
        if !batch.is_empty() && bytes + length > BATCH_BYTES_MAX {
            all.push(core::mem::take(&mut batch));
            bytes = 0;
        }
        bytes += length;
        batch.push((round, message));
    }
    if !batch.is_empty() {
        all.push(batch);
    }
    all
}
