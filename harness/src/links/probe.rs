//! Probes: packets of the harness's own from one node's place to another's, to see how long the way takes.
//!
//! They go through the router as the nodes' packets do, but no node has a part in it: a crashed or paused one does not
//! disturb them.

use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::plan::Endpoint;
use crate::sandbox::Network;

/// Pairs that are probed of one fault, at most.
const PAIRS_MAX: usize = 4;
/// Packets per pair.
const PACKETS: u64 = 5;
/// A packet that takes longer is lost.
const WITHIN: Duration = Duration::from_millis(100);

/// Sends probes.
pub struct Probes {
    network: Arc<Network>,
    sockets: BTreeMap<Endpoint, UdpSocket>,
    sent: u64,
}

impl Probes {
    /// None sent yet.
    pub fn new(network: Arc<Network>) -> Probes {
        Probes { network, sockets: BTreeMap::new(), sent: 0 }
    }

    /// The median of the times that packets took over some of these pairs, one way; `None`: none arrived.
    ///
    /// # Errors
    /// There is no such place, or the system refuses a socket.
    pub fn one_way(&mut self, pairs: &[(Endpoint, Endpoint)]) -> io::Result<Option<Duration>> {
        let step = pairs.len().div_ceil(PAIRS_MAX).max(1);
        let mut times = Vec::new();
        for &(from, to) in pairs.iter().step_by(step) {
            for _ in 0..PACKETS {
                times.extend(self.probe(from, to)?);
            }
        }
        times.sort_unstable();
        Ok(times.get(times.len() / 2).copied())
    }

    fn probe(&mut self, from: Endpoint, to: Endpoint) -> io::Result<Option<Duration>> {
        for end in [from, to] {
            if !self.sockets.contains_key(&end) {
                let socket = self.network.socket_at(end, 0)?;
                socket.set_read_timeout(Some(WITHIN))?;
                self.sockets.insert(end, socket);
            }
        }
        let (source, destination) = (&self.sockets[&from], &self.sockets[&to]);
        self.sent += 1;
        let packet = self.sent.to_be_bytes();
        let address = destination.local_addr()?;
        let began = Instant::now();
        source.send_to(&packet, address)?;
        let mut buffer = [0; 16];
        while began.elapsed() < WITHIN {
            match destination.recv(&mut buffer) {
                Ok(bytes) if buffer[..bytes] == packet => return Ok(Some(began.elapsed())),
                // An earlier one that came late.
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}
