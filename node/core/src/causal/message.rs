//! What nodes say to each other under the policy `dcc`.

use serde::{Deserialize, Serialize};

use super::{Container, ExchangeMessage, Update, VersionVector};
use crate::message::{OperationId, SyncMessage};
use crate::{ClientError, Key, Value};

/// A message of the policy `dcc`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CausalMessage {
    /// Join this, make it durable, acknowledge. Writes and read repairs alike. Data lane.
    Write {
        /// Comes back in the acknowledgement.
        operation: OperationId,
        /// The container, filled.
        update: Update,
    },
    /// That update is durable here. Data lane.
    WriteAck {
        /// The operation of the write.
        operation: OperationId,
    },
    /// Tell me what you know of this key. Data lane.
    Read {
        /// Comes back in the answer.
        operation: OperationId,
        /// The key; the receiver must be one of its replicas.
        key: Key,
        /// Only the digest of the values.
        digest_only: bool,
    },
    /// Answer to a read. Data lane.
    ReadReply {
        /// The operation of the read.
        operation: OperationId,
        /// What is known, durably.
        answer: CausalAnswer,
    },
    /// Coordinate this write: only a replica of the key can make a dot for it. Data lane.
    Forward {
        /// Comes back in the answer.
        operation: OperationId,
        /// The key; the receiver must be one of its replicas.
        key: Key,
        /// `None` deletes.
        value: Option<Value>,
        /// What the client has seen; `None`: all that the receiver has.
        seen: Option<VersionVector>,
        /// Acknowledgements to wait for.
        needed: u8,
    },
    /// What became of it. Data lane.
    Forwarded {
        /// The operation of the forwarded write.
        operation: OperationId,
        /// `None`: it is durable on as many replicas as were asked for.
        error: Option<ClientError>,
    },
    /// Bitmap version vectors. Bulk lane.
    Exchange(ExchangeMessage),
    /// Merkle anti-entropy. Bulk lane.
    Sync(SyncMessage<Container>),
}

/// What a replica answers to a read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CausalAnswer {
    /// The container, filled.
    Full(Container),
    /// Digest of its values.
    Digest([u8; 16]),
    /// The replica has not caught up yet and must not be counted.
    CatchingUp,
}
