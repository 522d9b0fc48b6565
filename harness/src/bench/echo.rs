//! The reference for every key-value figure: a bare quinn echo. One bidirectional stream per request, as the node's client
//! protocol has it; mutual TLS of the same strength; a process of its own on a current-thread runtime, as the node is.
//!
//! Left out on purpose: everything else. What it reaches is what the transport alone can do on this machine, now.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use hearsay_node::certificates::Identity;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

/// Protocol name of the echo: neither a client nor a peer of the cluster.
const PROTOCOL: &[u8] = b"hearsay-echo/1";
/// Longest echoed message, bytes.
const MESSAGE_LENGTH_MAX: usize = 1 << 20;

fn roots(authority_pem: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority_pem.as_bytes()).context("the authority's certificate")?)?;
    Ok(roots)
}

fn chain(identity: &Identity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let certificate = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).context("the certificate")?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).context("the key")?;
    Ok((vec![certificate], key))
}

/// Serves until the process ends. Prints its port on stdout first.
///
/// # Errors
/// What rustls, quinn or the socket say.
pub(super) async fn serve(authority_pem: &str, identity: &Identity) -> Result<()> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority_pem)?), provider.clone()).build()?;
    let (certificates, key) = chain(identity)?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates, key)?;
    tls.alpn_protocols = vec![PROTOCOL.to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let endpoint = quinn::Endpoint::server(config, SocketAddr::from(([127, 0, 0, 1], 0)))?;
    println!("{}", endpoint.local_addr()?.port());
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                tokio::spawn(async move {
                    if let Ok(message) = receive.read_to_end(MESSAGE_LENGTH_MAX).await
                        && send.write_all(&message).await.is_ok()
                    {
                        // A client that is gone by now has nothing left to be told.
                        let _ = send.finish();
                    }
                });
            }
        });
    }
    Ok(())
}

/// A client of the echo.
pub(super) struct EchoClient {
    connection: quinn::Connection,
    // Dropping the endpoint would end the connection.
    _endpoint: quinn::Endpoint,
}

impl EchoClient {
    /// Connects to the echo of `server_name` on a loopback port.
    ///
    /// # Errors
    /// What rustls, quinn or the socket say.
    pub(super) async fn connect(
        port: u16,
        server_name: &str,
        authority_pem: &str,
        identity: &Identity,
    ) -> Result<EchoClient> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (certificates, key) = chain(identity)?;
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots(authority_pem)?)
            .with_client_auth_cert(certificates, key)?;
        tls.alpn_protocols = vec![PROTOCOL.to_vec()];
        let mut endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)));
        let connection = endpoint.connect(SocketAddr::from(([127, 0, 0, 1], port)), server_name)?.await?;
        Ok(EchoClient { connection, _endpoint: endpoint })
    }

    /// Sends `message` and waits for all of it to come back.
    ///
    /// # Errors
    /// The connection broke, or something else came back.
    pub(super) async fn echo(&self, message: &[u8]) -> Result<()> {
        let (mut send, mut receive) = self.connection.open_bi().await?;
        send.write_all(message).await?;
        send.finish()?;
        let answer = receive.read_to_end(MESSAGE_LENGTH_MAX).await?;
        anyhow::ensure!(answer == message, "the echo changed the message");
        Ok(())
    }
}
