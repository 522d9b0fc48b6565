//! What a stranger, a foreigner, a liar or a broken program may send: refused, counted, and nobody else disturbed.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hearsay_core::codec::{self, FRAME_LENGTH_MAX};
use hearsay_core::{ClientRequest, ClientResponse, Level, NodeId, StatusReport};
use hearsay_node::certificates::{Authority, Identity};
use hearsay_node::client::{ClientConnection, ClientEndpoint, RequestError};
use hearsay_node::tls::{ALPN_CLIENT, ALPN_PEER};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, ReadError, ReadToEndError, VarInt};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::Serialize;
use support::{Cluster, DEADLINE, TIMEOUT, get, is_whole, put, socket, status};

/// The hello as the wire has it.
#[derive(Clone, Serialize)]
struct Hello {
    cluster: String,
    node: NodeId,
    incarnation: u64,
    config_digest: [u8; 32],
}

/// A cluster of three with one good client, and counters as they were before.
struct Scene {
    cluster: Cluster,
    _endpoint: ClientEndpoint,
    good: ClientConnection,
}

impl Scene {
    async fn new() -> Scene {
        let mut cluster = Cluster::new(3, "{}");
        let (endpoint, mut connections) = cluster.serve().await;
        Scene { cluster, _endpoint: endpoint, good: connections.swap_remove(0) }
    }

    /// A connection to n1 with a certificate and a protocol of choice; no manners enforced.
    async fn raw(&self, identity: &Identity, alpn: &[u8]) -> Result<Connection, ConnectionError> {
        let certificates = CertificateDer::pem_slice_iter(identity.certificate_pem.as_bytes()).map(Result::unwrap);
        let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
        let builder = self.builder();
        self.dial(builder.with_client_auth_cert(certificates.collect(), key).unwrap(), alpn).await
    }

    async fn without_certificate(&self) -> Result<Connection, ConnectionError> {
        self.dial(self.builder().with_no_client_auth(), ALPN_CLIENT).await
    }

    fn builder(&self) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.cluster.authority.certificate_pem().as_bytes()).unwrap())
            .unwrap();
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
    }

    async fn dial(&self, mut config: rustls::ClientConfig, alpn: &[u8]) -> Result<Connection, ConnectionError> {
        config.alpn_protocols = vec![alpn.to_vec()];
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
        let mut transport = quinn::TransportConfig::default();
        transport.keep_alive_interval(Some(Duration::from_millis(500)));
        config.transport_config(Arc::new(transport));
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint = quinn::Endpoint::new(quinn::EndpointConfig::default(), None, socket(), runtime).unwrap();
        endpoint.connect_with(config, self.cluster.address(1), "n1.demo.node.hearsay").unwrap().await
    }

    async fn raw_client(&self) -> Connection {
        self.raw(&self.cluster.client, ALPN_CLIENT).await.unwrap()
    }

    async fn raw_peer(&self, certificate_of: u16) -> Connection {
        let identity = self.cluster.authority.node(NodeId(certificate_of)).unwrap();
        self.raw(&identity, ALPN_PEER).await.unwrap()
    }

    fn hello(&self, node: u16) -> Hello {
        Hello { cluster: "demo".into(), node: NodeId(node), incarnation: 1, config_digest: [0; 32] }
    }

    /// Waits for the counter to reach `count`, and sees to it that the cluster is as good as before.
    async fn counted(&self, name: &str, count: u64) -> StatusReport {
        let what = format!("{name} at {count}");
        self.cluster.until(&self.good, &what, |report| report.counters[name] >= count).await;
        let report = status(&self.good).await;
        assert_eq!(report.counters[name], count, "{name}");
        assert!(is_whole(&report), "{report:?}");
        assert_eq!(report.counters["transport_links_down"], 0, "no link was disturbed");
        let response = self.good.request(&put("still", "serving", Level::All), TIMEOUT).await.unwrap();
        assert!(matches!(response, ClientResponse::Written { .. }), "{response:?}");
        assert_eq!(get(&self.good, "still", Level::All).await.as_deref(), Some("serving"));
        report
    }
}

/// The reason with which the node closes a connection.
async fn closed(connection: &Connection) -> String {
    match tokio::time::timeout(DEADLINE, connection.closed()).await.expect("the node closes the connection") {
        ConnectionError::ApplicationClosed(close) => String::from_utf8(close.reason.to_vec()).unwrap(),
        other => panic!("{other}"),
    }
}

fn frame(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// Sends bytes as the control stream of a peer.
async fn control(connection: &Connection, bytes: &[u8]) -> quinn::SendStream {
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(&[&[0], bytes].concat()).await.unwrap();
    stream
}

/// Sends bytes as a client's request; the code with which the node refuses.
async fn refused_request(connection: &Connection, bytes: &[u8]) -> VarInt {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    // The node may stop the stream before it has taken all.
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    match receive.read_to_end(FRAME_LENGTH_MAX).await {
        Err(ReadToEndError::Read(ReadError::Reset(code))) => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn foreign_certificates_are_refused_in_the_handshake_or_by_name() {
    let scene = Scene::new().await;
    let stranger = Authority::generate("demo").unwrap();
    let foreign = stranger.client("client").unwrap();

    // Another authority, the same names. The dialler sees the refusal once it tries to do something.
    let endpoint = ClientEndpoint::new(socket(), &foreign, scene.cluster.authority.certificate_pem(), "demo").unwrap();
    let outcome = async {
        let connection = endpoint.connect(NodeId(1), scene.cluster.address(1), TIMEOUT).await?;
        connection.request(&ClientRequest::Status, TIMEOUT).await
    };
    assert!(matches!(outcome.await, Err(RequestError::NotSent(_))));
    scene.counted("transport_handshakes_failed", 1).await;
    for node in [stranger.node(NodeId(2)).unwrap(), stranger.client("x").unwrap()] {
        if let Ok(connection) = scene.raw(&node, ALPN_PEER).await {
            connection.closed().await;
        }
    }
    if let Ok(connection) = scene.without_certificate().await {
        connection.closed().await;
    }
    assert!(scene.raw(&scene.cluster.client, b"http/0.9").await.is_err());
    scene.counted("transport_handshakes_failed", 5).await;

    // A node that does not trust this cluster's authority is not trusted by its clients either.
    let other = ClientEndpoint::new(socket(), &scene.cluster.client, stranger.certificate_pem(), "demo").unwrap();
    let error = other.connect(NodeId(1), scene.cluster.address(1), TIMEOUT).await.unwrap_err();
    assert!(matches!(error, RequestError::NotSent(_)), "{error}");
}

#[tokio::test]
async fn the_same_authority_does_not_open_another_cluster() {
    let scene = Scene::new().await;
    // The same key signs for a cluster of another name.
    let other = Authority::read(scene.cluster.directory.path(), "other").unwrap();
    let connection = scene.raw(&other.client("client").unwrap(), ALPN_CLIENT).await.unwrap();
    assert!(closed(&connection).await.contains("no node or client of cluster \"demo\""));
    let connection = scene.raw(&other.node(NodeId(2)).unwrap(), ALPN_PEER).await.unwrap();
    assert!(closed(&connection).await.contains("no node or client of cluster \"demo\""));
    scene.counted("transport_refused_identity", 2).await;

    let endpoint =
        ClientEndpoint::new(socket(), &scene.cluster.client, scene.cluster.authority.certificate_pem(), "other")
            .unwrap();
    for error in [
        endpoint.connect(NodeId(1), scene.cluster.address(1), TIMEOUT).await.unwrap_err(),
        endpoint.connect_any(scene.cluster.address(1), TIMEOUT).await.unwrap_err(),
    ] {
        assert!(matches!(error, RequestError::NotSent(_)), "{error}");
    }
    // Nor does a node pass for another of the same cluster.
    let endpoint = scene.cluster.endpoint();
    assert!(endpoint.connect(NodeId(2), scene.cluster.address(1), TIMEOUT).await.is_err());
    assert_eq!(endpoint.connect_any(scene.cluster.address(2), TIMEOUT).await.unwrap().node(), NodeId(2));
}

#[tokio::test]
async fn roles_are_kept_apart() {
    let scene = Scene::new().await;
    let client_as_peer = scene.raw(&scene.cluster.client, ALPN_PEER).await.unwrap();
    assert!(closed(&client_as_peer).await.contains("may not speak the protocol between nodes"));
    let node_as_client = scene.raw(&scene.cluster.authority.node(NodeId(2)).unwrap(), ALPN_CLIENT).await.unwrap();
    assert!(closed(&node_as_client).await.contains("may not speak as a client"));
    for id in [1, 4] {
        assert!(closed(&scene.raw_peer(id).await).await.contains("no other member"), "n{id}");
    }
    scene.counted("transport_refused_identity", 4).await;
    // Refused before a stream could be opened: nothing that was sent can have been heard.
    let endpoint = ClientEndpoint::new(
        socket(),
        &scene.cluster.authority.node(NodeId(2)).unwrap(),
        scene.cluster.authority.certificate_pem(),
        "demo",
    );
    let connection = endpoint.unwrap().connect(NodeId(1), scene.cluster.address(1), TIMEOUT).await.unwrap();
    let error = connection.request(&put("k", "v", Level::One), TIMEOUT).await.unwrap_err();
    assert!(matches!(&error, RequestError::NotSent(reason) if reason.contains("as a client")), "{error}");
}

#[tokio::test]
async fn a_lying_or_broken_hello_is_refused() {
    let scene = Scene::new().await;
    let cases = [
        ("certificate is that of n3", 3, codec::encode(&scene.hello(2))),
        ("of cluster \"demo2\"", 2, codec::encode(&Hello { cluster: "demo2".into(), ..scene.hello(2) })),
        ("configuration of the cluster differs", 2, codec::encode(&scene.hello(2))),
        ("not a message of this protocol", 2, vec![codec::FRAME_VERSION, 200, 200, 200]),
        ("version 99", 2, [&[99], &codec::encode(&scene.hello(2))[1..]].concat()),
    ];
    for (at, (reason, certificate, hello)) in cases.into_iter().enumerate() {
        let connection = scene.raw_peer(certificate).await;
        let _stream = control(&connection, &frame(&hello)).await;
        let said = closed(&connection).await;
        assert!(said.contains(reason), "{said:?} instead of {reason:?}");
        scene.counted("transport_refused_hello", at as u64 + 1).await;
    }
    let connection = scene.raw_peer(2).await;
    let _stream = control(&connection, &(FRAME_LENGTH_MAX as u32 + 1).to_be_bytes()).await;
    assert!(closed(&connection).await.contains("the limit is"));
    let connection = scene.raw_peer(2).await;
    let mut stream = control(&connection, &[0, 0, 0, 9, codec::FRAME_VERSION]).await;
    stream.finish().unwrap();
    assert!(closed(&connection).await.contains("ended within a frame"));
    let connection = scene.raw_peer(2).await;
    let mut stream = connection.open_uni().await.unwrap();
    stream.write_all(&[7]).await.unwrap();
    assert!(closed(&connection).await.contains("not a message"));
    let report = scene.counted("transport_refused_hello", 8).await;
    let count = |name: &str| report.counters[name];
    assert_eq!(count("transport_frames_oversized"), 1);
    assert_eq!(count("transport_frames_truncated"), 1);
    assert_eq!(count("transport_frames_version"), 1);
    assert_eq!(count("transport_frames_malformed"), 2);
}

#[tokio::test]
async fn broken_requests_end_their_stream_alone() {
    let scene = Scene::new().await;
    let connection = scene.raw_client().await;
    let good = codec::encode(&put("key", "value", Level::Quorum));
    let protocol = VarInt::from_u32(3);

    assert_eq!(refused_request(&connection, &[codec::FRAME_VERSION, 250, 1, 2, 3]).await, protocol);
    assert_eq!(refused_request(&connection, &good[..good.len() - 1]).await, protocol);
    assert_eq!(refused_request(&connection, &[&good[..], &[0]].concat()).await, protocol);
    scene.counted("transport_frames_malformed", 3).await;
    assert_eq!(refused_request(&connection, &[]).await, protocol);
    scene.counted("transport_frames_truncated", 1).await;
    assert_eq!(refused_request(&connection, &vec![codec::FRAME_VERSION; FRAME_LENGTH_MAX + 1]).await, protocol);
    scene.counted("transport_frames_oversized", 1).await;
    assert_eq!(refused_request(&connection, &[&[codec::FRAME_VERSION + 1], &good[1..]].concat()).await, protocol);
    scene.counted("transport_frames_version", 1).await;

    // The same connection still carries good requests.
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(&good).await.unwrap();
    send.finish().unwrap();
    let answer = receive.read_to_end(FRAME_LENGTH_MAX).await.unwrap();
    assert!(matches!(codec::decode(&answer), Ok(ClientResponse::Written { .. })));
    let report = scene.counted("transport_requests_abandoned", 0).await;
    assert_eq!(report.counters["transport_frames_malformed"], 3);
}

#[tokio::test]
async fn abandoned_requests_free_their_stream() {
    let scene = Scene::new().await;
    let connection = scene.raw_client().await;
    let half = codec::encode(&put("key", "value", Level::Quorum));
    // Far more than the node lets a client have open at once: each must give its place back.
    for number in 1..=300_u32 {
        let opened = tokio::time::timeout(DEADLINE, connection.open_bi()).await;
        let (mut send, mut receive) = opened.expect("a stream is free again").unwrap();
        send.write_all(&half[..half.len() / 2]).await.unwrap();
        send.reset(VarInt::from_u32(number)).unwrap();
        receive.stop(VarInt::from_u32(number)).unwrap();
    }
    scene.counted("transport_requests_abandoned", 300).await;
}

#[tokio::test]
async fn a_client_may_have_so_many_requests_in_flight_and_no_more() {
    let scene = Scene::new().await;
    let connection = scene.raw_client().await;
    let mut open = Vec::new();
    for _ in 0..128 {
        let (mut send, receive) = connection.open_bi().await.unwrap();
        send.write_all(&[codec::FRAME_VERSION]).await.unwrap();
        open.push((send, receive));
    }
    let began = Instant::now();
    let another = tokio::time::timeout(Duration::from_millis(300), connection.open_bi()).await;
    assert!(another.is_err(), "stream 129 after {:?}", began.elapsed());
    // Slow clients do not keep their streams for ever, and keep nobody else from being served.
    scene.counted("transport_requests_abandoned", 128).await;
}

#[tokio::test]
async fn noise_on_the_socket_disturbs_nobody() {
    let scene = Scene::new().await;
    let noise = socket();
    let mut random = 1_u64;
    for length in (1..1_400).step_by(7) {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 56) as u8
            })
            .collect();
        noise.send_to(&bytes, scene.cluster.address(1)).unwrap();
    }
    scene.counted("transport_handshakes_failed", 0).await;
}

/// A process that ends with the test.
struct Process(std::process::Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a node holds itself under a key.
async fn held(connection: &ClientConnection, key: &str) -> Option<String> {
    let scan = ClientRequest::LocalScan { after: None, limit: 1_000 };
    match connection.request(&scan, TIMEOUT).await.unwrap() {
        ClientResponse::Entries { entries, more: false } => {
            let entry = entries.into_iter().find(|entry| entry.key.0 == key.as_bytes())?;
            entry.value.map(|value| String::from_utf8(value.0).unwrap())
        }
        other => panic!("{other:?}"),
    }
}

/// A second process with the certificate of n2.
struct Second {
    process: Process,
    address: std::net::SocketAddr,
    log: std::path::PathBuf,
}

impl Second {
    fn start(scene: &Scene, log: &str) -> Second {
        let address = std::net::SocketAddr::new(scene.cluster.address(2).ip(), 7999);
        let log = scene.cluster.path(log);
        let mut command = scene.cluster.command(2);
        command.args(["--listen", &address.to_string(), "--data", "second-data"]);
        command.current_dir(scene.cluster.directory.path()).stderr(std::fs::File::create(&log).unwrap());
        Second { process: Process(command.spawn().unwrap()), address, log }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it has ended by itself with a sentence that names both addresses and the mend.
    async fn ends(mut self, first: std::net::SocketAddr) {
        let end = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.process.0.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "it serves on:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await; // poll
        };
        assert_eq!(status.code(), Some(1), "{}", self.log());
        let log = self.log();
        let last = log.lines().last().unwrap_or_default();
        let (there, here) = (format!("the one at {first}"), format!("this one is at {}", self.address));
        for said in ["n2 stops", "two processes say that they are n2", &there, &here, "stop one of them"] {
            assert!(last.contains(said), "{said:?}: {last}");
        }
    }
}

#[tokio::test]
async fn a_second_process_of_one_identity_ends_while_the_first_lives_and_takes_over_when_it_is_gone() {
    let mut scene = Scene::new().await;
    let endpoint = scene.cluster.endpoint();
    let observer = scene.cluster.connect(&endpoint, 3).await;
    let first_at = scene.cluster.address(2);
    let second = Second::start(&scene, "second.log");
    let elsewhere = second.address;
    // It serves at first; what it is asked once it has ended is certainly not done.
    second.ends(first_at).await;
    assert!(endpoint.connect(NodeId(2), elsewhere, Duration::from_millis(300)).await.is_err());

    let contested = |report: &StatusReport| report.counters["transport_identity_contested"] > 0;
    let reports = [status(&scene.good).await, status(&observer).await];
    assert!(reports.iter().any(contested), "{reports:?}");
    for report in reports {
        assert!(is_whole(&report), "{report:?}");
        assert_eq!(report.counters["transport_links_down"], 0, "no link was disturbed");
    }
    let refused = format!("this one is at {elsewhere}");
    assert!([1, 3].iter().any(|id| scene.cluster.log(*id).contains(&refused)), "{}", scene.cluster.log(1));
    let response = scene.good.request(&put("for", "the first", Level::All), TIMEOUT).await.unwrap();
    assert!(matches!(response, ClientResponse::Written { .. }), "{response:?}");
    let first = scene.cluster.connect(&endpoint, 2).await;
    assert_eq!(held(&first, "for").await.as_deref(), Some("the first"));

    // Without the first, the second has its place, and catches up.
    scene.cluster.kill(2);
    let again = Second::start(&scene, "second-again.log");
    let second = scene.cluster.connect_at(&endpoint, 2, elsewhere).await;
    scene.cluster.until(&second, "the second n2 ready with all links", is_whole).await;
    scene.cluster.until(&scene.good, "all links", is_whole).await;
    let response = scene.good.request(&put("for", "the second", Level::All), TIMEOUT).await.unwrap();
    assert!(matches!(response, ClientResponse::Written { .. }), "{response:?}");
    assert_eq!(held(&second, "for").await.as_deref(), Some("the second"));

    // The one where the configuration of all says that n2 is needs to ask nobody, and the second ends.
    scene.cluster.start(2);
    let first = scene.cluster.connect(&endpoint, 2).await;
    scene.cluster.until(&first, "the first n2 ready with all links", is_whole).await;
    scene.cluster.until(&scene.good, "all links", is_whole).await;
    again.ends(first_at).await;
}
