//! A process that is asked whether it is there, and datagrams on connections that take them and on others.

use std::net::Ipv4Addr;

use super::*;
use crate::certificates::Authority;
use crate::transport::links::{Carrier, Datagram};
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

/// A connection dialled to a process whose QUIC is tuned so, and what keeps it.
async fn connected(to: Arc<quinn::TransportConfig>) -> (Connection, Connection, [quinn::Endpoint; 2]) {
    let authority = Authority::generate("demo").unwrap();
    let [here, there] = [1, 2].map(|id| authority.node(NodeId(id)).unwrap());
    let mut accepting = quinn::ServerConfig::with_crypto(tls::accepting(&there, authority.certificate_pem()).unwrap());
    accepting.transport_config(to);
    let server = quinn::Endpoint::server(accepting, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let client = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let crypto = tls::dialling(&here, authority.certificate_pem(), tls::ALPN_PEER, None).unwrap();
    let mut config = quinn::ClientConfig::new(crypto);
    config.transport_config(settings::transport(PEER_STREAMS_MAX, true));
    let address = server.local_addr().unwrap();
    let connecting = client.connect_with(config, address, &names::node_name("demo", NodeId(2))).unwrap();
    let (dialled, accepted) = tokio::join!(connecting, async { server.accept().await.unwrap().await });
    (dialled.unwrap(), accepted.unwrap(), [server, client])
}

#[test]
fn a_heartbeat_goes_as_a_datagram_to_who_takes_some_and_to_nobody_else() {
    let heartbeat = codec::encode(&PeerMessage::Heartbeat);
    runtime().block_on(async {
        let (here, there, _ends) = connected(settings::transport(PEER_STREAMS_MAX, false)).await;
        assert_eq!(Carrier::send_datagram(&here, &heartbeat), Datagram::Sent);
        let came = there.read_datagram().await.unwrap();
        assert_eq!(message_of(&came).unwrap(), PeerMessage::Heartbeat);
        assert_eq!(Carrier::send_datagram(&here, &[0; 2_000]), Datagram::Unfit, "longer than a packet");
        let none_leaves_before_the_next_await = (0..100_000).map(|_| Carrier::send_datagram(&here, &[0; 1_000]));
        let waiting = none_leaves_before_the_next_await.take_while(|sent| *sent == Datagram::Sent).count();
        assert!((8..100).contains(&waiting), "{waiting} wait");
        assert_eq!(Carrier::send_datagram(&here, &[0; 1_000]), Datagram::Full);
        here.close(code::STOPPING, b"");
        assert_eq!(Carrier::send_datagram(&here, &heartbeat), Datagram::Unfit, "to be counted with what is lost");

        let mut without = quinn::TransportConfig::default();
        without.datagram_receive_buffer_size(None);
        let (here, _there, _ends) = connected(Arc::new(without)).await;
        assert_eq!(Carrier::send_datagram(&here, &heartbeat), Datagram::Unfit);
    });
}

#[test]
fn what_may_not_be_lost_is_refused_in_a_datagram() {
    let message = PeerMessage::WriteAck { operation: hearsay_core::message::OperationId(1) };
    assert!(matches!(message_of(&codec::encode(&message)), Err(End::Datagram)));
    assert!(matches!(message_of(&[]), Err(End::Frame(error)) if error.is_violation()));
}
