//! How QUIC is tuned: for many idle links within little memory, and for noticing dead ones soon.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::HmacKey;
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use rustls_pki_types::pem::PemObject;

use crate::certificates::Identity;

/// Silence after which a connection is taken for dead.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(3);
/// The dialling side breaks silence this often; the other side need not.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// How long a handshake may take before the dial is given up.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the other side may take for its hello, or for a request once its stream is open, or for taking the answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How long a linked process may take to answer before another one of the same identity, from another address, has its place.
pub(crate) const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Streams a client may have open: its requests in flight on one connection.
pub(crate) const CLIENT_STREAMS_MAX: u32 = 128;
/// Bytes of datagrams that wait on either side of a connection: some hundred heartbeats.
const DATAGRAM_BYTES_MAX: usize = 16 << 10;

/// Streams a node may have open at a client: its farewell.
pub(crate) const NODE_STREAMS_MAX: u32 = 1;
/// Streams a peer may have open: one per lane.
pub(crate) const PEER_STREAMS_MAX: u32 = 3;
/// Client connections of one node.
pub(crate) const CLIENTS_MAX: usize = 1_024;
/// Client requests in work at one node, over all connections.
pub(crate) const REQUESTS_MAX: usize = 8_192;
/// Handshakes under way at one node.
pub(crate) const HANDSHAKES_MAX: usize = 512;

/// Codes with which connections and streams are closed.
pub(crate) mod code {
    use quinn::VarInt;

    /// The node or client stops.
    pub(crate) const STOPPING: VarInt = VarInt::from_u32(0);
    /// Wrong certificate, role, cluster, configuration or version.
    pub(crate) const REFUSED: VarInt = VarInt::from_u32(1);
    /// The pair has another connection.
    pub(crate) const DUPLICATE: VarInt = VarInt::from_u32(2);
    /// Something was sent that is not of the protocol.
    pub(crate) const PROTOCOL: VarInt = VarInt::from_u32(3);
    /// A limit was reached; nothing was done.
    pub(crate) const BUSY: VarInt = VarInt::from_u32(4);
    /// Too slow, or no longer wanted.
    pub(crate) const ABANDONED: VarInt = VarInt::from_u32(5);
    /// The node is stopping and has not taken the request.
    pub(crate) const NOT_TAKEN: VarInt = VarInt::from_u32(7);
    /// A newer connection of the pair takes over.
    pub(crate) const REPLACED: VarInt = VarInt::from_u32(6);
    /// Another process of the dialler's identity is linked and answers.
    pub(crate) const CONTESTED: VarInt = VarInt::from_u32(8);
    /// The link was not used for long.
    pub(crate) const UNUSED: VarInt = VarInt::from_u32(7);
}

/// For both directions. `streams_in`: unidirectional streams the other side may open from the start.
pub(crate) fn transport(streams_in: u32, keep_alive: bool) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(streams_in))
        .max_idle_timeout(Some(IdleTimeout::try_from(IDLE_TIMEOUT).expect("the idle time-out fits")))
        .keep_alive_interval(keep_alive.then_some(KEEP_ALIVE))
        // A LAN: lost first packets are sent again after 3 times this.
        .initial_rtt(Duration::from_millis(20))
        .stream_receive_window(VarInt::from_u32(1 << 20))
        .receive_window(VarInt::from_u32(4 << 20))
        .send_window(4 << 20)
        .crypto_buffer_size(16 << 10)
        .datagram_receive_buffer_size(Some(DATAGRAM_BYTES_MAX))
        .datagram_send_buffer_size(DATAGRAM_BYTES_MAX);
    Arc::new(config)
}

/// The same identity recognises the connections of its former process and resets them at once, so that the other side need
/// not wait for the idle time-out to notice a restart.
pub(crate) fn endpoint(identity: &Identity) -> EndpointConfig {
    let secret = rustls_pki_types::PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
        .map_or_else(|_| identity.key_pem.clone().into_bytes(), |key| key.secret_der().to_vec());
    let reset_key = blake3::derive_key("hearsay 2026-11 stateless reset", &secret);
    let mut config = EndpointConfig::new(Arc::new(ResetKey(reset_key)));
    config
        .cid_generator(|| Box::new(RandomCids))
        // All former peers of a restarted node speak up within moments, and each should hear of it.
        .min_reset_interval(Duration::from_millis(1));
    config
}

/// Random connection ids of one fixed length: the reset token of an unknown one follows from [`ResetKey`] alone.
#[derive(Debug)]
struct RandomCids;

const CID_BYTES: usize = 8;

impl ConnectionIdGenerator for RandomCids {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&crate::tls::random::<CID_BYTES>())
    }

    fn cid_len(&self) -> usize {
        CID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(blake3::keyed_hash(&self.0, data).as_bytes());
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), quinn::crypto::CryptoError> {
        let signature: [u8; blake3::OUT_LEN] = signature.try_into().map_err(|_| quinn::crypto::CryptoError)?;
        // Comparing hashes takes the same time whatever they hold.
        if blake3::keyed_hash(&self.0, data) == blake3::Hash::from_bytes(signature) {
            Ok(())
        } else {
            Err(quinn::crypto::CryptoError)
        }
    }
}
