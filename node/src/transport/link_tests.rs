//! A process that is asked whether it is there.

use std::net::Ipv4Addr;

use super::*;
use crate::certificates::Authority;
use crate::transport::settings;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The other side is a runtime on a thread of its own; once that has ended, nobody is there who could answer.
#[test]
fn a_process_that_answers_is_told_from_one_that_does_not() {
    let authority = Authority::generate("demo").unwrap();
    let [here, there] = [1, 2].map(|id| authority.node(NodeId(id)).unwrap());
    let crypto = tls::accepting(&there, authority.certificate_pem()).unwrap();
    let mut accepting = quinn::ServerConfig::with_crypto(crypto);
    accepting.transport_config(settings::transport(PEER_STREAMS_MAX, false));
    let (address, listens) = std::sync::mpsc::channel();
    let (silence, silenced) = oneshot::channel::<()>();
    let process = std::thread::spawn(move || {
        let runtime = runtime();
        let held = runtime.block_on(async {
            let endpoint = quinn::Endpoint::server(accepting, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            address.send(endpoint.local_addr().unwrap()).unwrap();
            let connection = endpoint.accept().await.unwrap().await.unwrap();
            let stream = connection.accept_uni().await.unwrap();
            silenced.await.unwrap();
            (endpoint, connection, stream)
        });
        (runtime, held)
    });
    let from = listens.recv().unwrap();
    // Given back, because a runtime may not end within another.
    let _held = runtime().block_on(async {
        let endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let crypto = tls::dialling(&here, authority.certificate_pem(), tls::ALPN_PEER, None).unwrap();
        let config = quinn::ClientConfig::new(crypto);
        let connecting = endpoint.connect_with(config, from, &names::node_name("demo", NodeId(2))).unwrap();
        let connection = connecting.await.unwrap();
        let queues = Arc::new(LANES.map(LaneQueue::new));
        let mut writer = connection.open_uni().await.unwrap();
        let rival = Rival { link: LinkId::for_test(1), from, connection, queues: Arc::clone(&queues) };
        tokio::spawn(async move { write(&mut writer, &queues[0]).await });
        for _ in 0..3 {
            assert!(answers(&rival).await);
        }
        silence.send(()).unwrap();
        let held = process.join().unwrap();
        // What was sent before may still come in.
        let mut silent = false;
        for _ in 0..4 {
            silent |= !answers(&rival).await;
        }
        assert!(silent);
        rival.connection.close(code::STOPPING, b"");
        assert!(!answers(&rival).await, "a closed one is not asked");
        held
    });
}
