//! TLS: who may talk to whom, as configurations of rustls for QUIC.
//!
//! Invariants: both sides show a certificate of the cluster's authority; TLS 1.3 only; no session resumption and no 0-RTT,
//! so every connection proves its identity anew; the two protocols are told apart by ALPN.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::certificates::Identity;
use crate::names::{self, Subject};

/// ALPN of the protocol between nodes.
pub const ALPN_PEER: &[u8] = b"hearsay-peer/1";
/// ALPN of the protocol between client and node.
pub const ALPN_CLIENT: &[u8] = b"hearsay-client/1";

/// Certificates or keys that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// PEM text without what it should hold.
    #[error("the {what} is not readable as PEM: {reason}")]
    Pem {
        /// Which of the inputs.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Certificate, key and authority do not fit together.
    #[error("the certificate, its key and the authority do not fit together: {0}")]
    Unfit(String),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Random bytes of the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The node can't run without: there is no weaker source to fall back to.
    provider().secure_random.fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// The certificates in `pem`.
pub(crate) fn chain(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(TlsError::Pem { what, reason: "no certificate in it".into() }),
        Err(error) => Err(TlsError::Pem { what, reason: error.to_string() }),
    }
}

fn key(identity: &Identity) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes())
        .map_err(|error| TlsError::Pem { what: "private key", reason: error.to_string() })
}

fn roots(authority_pem: &str) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain("authority's certificate", authority_pem)? {
        roots.add(certificate).map_err(unfit)?;
    }
    Ok(Arc::new(roots))
}

fn unfit(error: impl ToString) -> TlsError {
    TlsError::Unfit(error.to_string())
}

/// For accepting both protocols.
pub(crate) fn accepting(identity: &Identity, authority_pem: &str) -> Result<Arc<QuicServerConfig>, TlsError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(authority_pem)?, provider()).build().map_err(unfit)?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unfit)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain("certificate", &identity.certificate_pem)?, key(identity)?)
        .map_err(unfit)?;
    config.alpn_protocols = vec![ALPN_PEER.to_vec(), ALPN_CLIENT.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    QuicServerConfig::try_from(config).map(Arc::new).map_err(unfit)
}

/// For dialling with one protocol. The other side's name is checked against the name given to `connect`; with `any_node_of`
/// any node of that cluster will do, whatever the name given.
pub(crate) fn dialling(
    identity: &Identity,
    authority_pem: &str,
    alpn: &[u8],
    any_node_of: Option<&str>,
) -> Result<Arc<QuicClientConfig>, TlsError> {
    let by_name: Arc<dyn ServerCertVerifier> =
        WebPkiServerVerifier::builder_with_provider(roots(authority_pem)?, provider()).build().map_err(unfit)?;
    let verifier = match any_node_of {
        Some(cluster) => Arc::new(AnyNode { cluster: cluster.to_owned(), by_name }),
        None => by_name,
    };
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unfit)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(chain("certificate", &identity.certificate_pem)?, key(identity)?)
        .map_err(unfit)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    QuicClientConfig::try_from(config).map(Arc::new).map_err(unfit)
}

/// Accepts every node of one cluster: for a person who knows an address, but not which node listens there. The chain and
/// the validity are checked by the ordinary verifier, against the name that the certificate itself claims.
#[derive(Debug)]
struct AnyNode {
    cluster: String,
    by_name: Arc<dyn ServerCertVerifier>,
}

impl ServerCertVerifier for AnyNode {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let name = match names::subject(end_entity, &self.cluster) {
            Ok(Subject::Node(node)) => names::node_name(&self.cluster, node),
            Ok(Subject::Client(_)) => {
                return Err(rustls::Error::General("a client's certificate, not a node's".into()));
            }
            Err(reason) => return Err(rustls::Error::General(reason)),
        };
        let name = ServerName::try_from(name).map_err(|error| rustls::Error::General(error.to_string()))?;
        self.by_name.verify_server_cert(end_entity, intermediates, &name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_name.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_name.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_name.supported_verify_schemes()
    }
}

/// The certificate the other side of a connection showed, and the protocol it chose.
pub(crate) fn other_side(connection: &quinn::Connection) -> Option<(CertificateDer<'static>, Vec<u8>)> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    let data = connection.handshake_data()?.downcast::<quinn::crypto::rustls::HandshakeData>().ok()?;
    Some((chain.first()?.clone(), data.protocol?))
}
