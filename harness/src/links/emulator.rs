//! Bad links on real processes: packets of bad pairs are routed into a TUN device ([`super::tun`], [`super::routes`]); a
//! thread holds, loses and doubles them, and writes them back.
//!
//! ```text
//! n1 -> router --bad pair--> TUN -> the emulator's queue -> TUN -> router -> n2
//!              \--good pair-----------------------------------------------/
//! ```
//!
//! Both ways through the router pass its forward hook: what is held here still meets a partition that began meanwhile.
//! Invariants: packets leave in the order of their times; the queue is bounded, and what does not fit is lost and counted;
//! a thread that ended is an error of every later call, never a fault that silently went away.
//!
//! Draws are seeded by the plan; which packet meets which draw is up to the kernel's order of packets.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hearsay_workloads::stream;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use rand::Rng;
use rand_chacha::ChaCha12Rng;

use super::Tally;
use super::line::Line;
use super::routes::Routes;
use super::tun::Tun;
use crate::faults::Pair;
use crate::plan::{Endpoint, LinkConditions};
use crate::sandbox::addresses;

/// Packets held at once, over all links.
const HELD_MAX: usize = 32_768;
/// Largest packet of a link.
const PACKET_BYTES_MAX: usize = 2_048;
/// Packets taken in before those that are due leave.
const READS_MAX: usize = 64;
/// The thread looks at least this often whether it is to end.
const LOOK: Duration = Duration::from_millis(20);
/// And at most this often whether packets are due: what is due together leaves together.
const LOOK_LEAST: Duration = Duration::from_micros(100);
const IPV4_SOURCE: usize = 12;
const IPV4_DESTINATION: usize = 16;
const IPV4_HEADER_BYTES: usize = 20;

/// Bad links that could not be made, or that did not last.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The kernel refused routes.
    #[error("packets can't be led through the emulator: {0}")]
    Routes(String),
    /// Probes can't be sent.
    #[error("links can't be probed: {0}")]
    Probe(String),
    /// The thread ended.
    #[error("the emulator of bad links ended, so the links became good by themselves: {0}")]
    Ended(String),
}

/// Makes links bad, in the network namespace it was opened in.
pub struct Emulator {
    state: Arc<Mutex<State>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    routes: Routes,
    faults: BTreeMap<String, Vec<(Endpoint, Endpoint)>>,
}

/// What the thread works on.
struct State {
    began: Instant,
    lines: BTreeMap<Pair, (Arc<str>, Line<ChaCha12Rng>)>,
    tallies: BTreeMap<Arc<str>, Tally>,
    held: BinaryHeap<Reverse<Held>>,
    taken: u64,
    failed: Option<String>,
}

/// A packet in the queue, ordered by its time, then by its arrival.
struct Held {
    out_ns: u64,
    number: u64,
    arrived_ns: u64,
    /// Whose it is; `None`: its link is good again.
    fault: Option<Arc<str>>,
    packet: Vec<u8>,
}

impl Emulator {
    /// One with no bad links yet.
    ///
    /// # Errors
    /// Why this machine can't have one, with the mend.
    pub fn open() -> Result<Emulator, String> {
        let tun = Tun::open()?;
        let routes = Routes::open(tun.index()).map_err(|error| format!("routes can't be set: {error}"))?;
        let state = State {
            began: Instant::now(),
            lines: BTreeMap::new(),
            tallies: BTreeMap::new(),
            held: BinaryHeap::new(),
            taken: 0,
            failed: None,
        };
        let (state, end) = (Arc::new(Mutex::new(state)), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (state, end) = (Arc::clone(&state), Arc::clone(&end));
            let emulate = move || {
                let ended = run(&tun, &state, &end);
                let reason = ended.err().map_or_else(|| "it was told to end".to_owned(), |error| error.to_string());
                lock(&state).failed = Some(reason);
            };
            std::thread::Builder::new()
                .name("bad-links".to_owned())
                .spawn(emulate)
                .map_err(|error| format!("the emulator's thread can't be started: {error}"))?
        };
        Ok(Emulator { state, end, thread: Some(thread), routes, faults: BTreeMap::new() })
    }

    /// Makes these pairs bad. They were good before: plans are checked for that.
    ///
    /// # Errors
    /// The kernel refused, or the emulator has ended.
    pub fn impair(
        &mut self,
        seed: u64,
        fault: &str,
        pairs: &[(Endpoint, Endpoint)],
        conditions: LinkConditions,
    ) -> Result<(), LinkError> {
        self.check()?;
        {
            let seed = stream(seed, "bad-links", fault_number(fault)).next_u64();
            let mut state = lock(&self.state);
            let shared: Arc<str> = fault.into();
            state.tallies.insert(Arc::clone(&shared), Tally::default());
            for &(from, to) in pairs {
                let pair = (addresses::endpoint(from), addresses::endpoint(to));
                let name = u64::from(u32::from(pair.0)) << 32 | u64::from(u32::from(pair.1));
                let draws = stream(seed, "bad-link", name);
                let former = state.lines.insert(pair, (Arc::clone(&shared), Line::new(conditions, draws)));
                assert!(former.is_none(), "{from} to {to} is bad by two faults");
            }
        }
        self.faults.insert(fault.to_owned(), pairs.to_vec());
        self.routes.divert(pairs).map_err(|error| LinkError::Routes(error.to_string()))
    }

    /// Makes the pairs of a fault good again, and lets go what is still held. What it did.
    ///
    /// # Errors
    /// The kernel refused, or the emulator has ended meanwhile.
    pub fn restore(&mut self, fault: &str) -> Result<Tally, LinkError> {
        self.check()?;
        let pairs = self.faults.remove(fault).expect("it was impaired before");
        self.routes.straighten(&pairs).map_err(|error| LinkError::Routes(error.to_string()))?;
        let mut state = lock(&self.state);
        state.lines.retain(|_, (of, _)| &**of != fault);
        // What is held leaves now, in its order: the thread finds it due.
        let held = std::mem::take(&mut state.held).into_iter().map(|Reverse(mut held)| {
            if held.fault.as_deref() == Some(fault) {
                held.fault = None;
                held.out_ns = 0;
            }
            Reverse(held)
        });
        state.held = held.collect();
        Ok(state.tallies.remove(fault).expect("it was impaired before"))
    }

    /// Whether the kernel leads exactly the bad pairs through the emulator.
    ///
    /// # Errors
    /// The kernel can't be asked.
    pub fn is_as_wanted(&mut self) -> Result<bool, LinkError> {
        self.routes.is_as_wanted().map_err(|error| LinkError::Routes(error.to_string()))
    }

    /// Packets that are to leave now, because their links are good again.
    fn leaving(&self) -> usize {
        lock(&self.state).held.iter().filter(|Reverse(held)| held.fault.is_none()).count()
    }

    /// Bad pairs.
    pub fn pairs(&self) -> usize {
        self.faults.values().map(Vec::len).sum()
    }

    /// Waits until nothing is held for links that are good again; false when it takes longer.
    pub fn drained_within(&self, within: Duration) -> bool {
        let began = Instant::now();
        while self.leaving() > 0 {
            if began.elapsed() > within {
                return false;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        true
    }

    fn check(&self) -> Result<(), LinkError> {
        match &lock(&self.state).failed {
            Some(reason) => Err(LinkError::Ended(reason.clone())),
            None if self.thread.as_ref().is_none_or(JoinHandle::is_finished) => {
                Err(LinkError::Ended("its thread is gone".to_owned()))
            }
            None => Ok(()),
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It looks for the end all the time; if it panicked, whoever called it last was told.
            let _ = thread.join();
        }
    }
}

fn fault_number(fault: &str) -> u64 {
    fault.bytes().fold(0, |number: u64, byte| number.wrapping_mul(257).wrapping_add(u64::from(byte)))
}

/// The thread: takes packets in, lets those go that are due.
fn run(tun: &Tun, state: &Mutex<State>, end: &AtomicBool) -> io::Result<()> {
    let mut buffer = [0; PACKET_BYTES_MAX];
    let mut due = Vec::new();
    while !end.load(Ordering::Relaxed) {
        let timeout = lock(state).until_next();
        let mut wanted = [PollFd::new(tun.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut wanted, Some(TimeSpec::from_duration(timeout)), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        for _ in 0..READS_MAX {
            let Some(packet) = tun.read(&mut buffer)? else { break };
            lock(state).take(packet);
        }
        lock(state).take_due(&mut due);
        for held in due.drain(..) {
            let sent = tun.write(&held.packet)?;
            lock(state).left(&held, sent);
        }
    }
    Ok(())
}

impl State {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn until_next(&self) -> Duration {
        match self.held.peek() {
            Some(Reverse(next)) => {
                Duration::from_nanos(next.out_ns.saturating_sub(self.now_ns())).clamp(LOOK_LEAST, LOOK)
            }
            None => LOOK,
        }
    }

    /// A packet came in.
    fn take(&mut self, packet: &[u8]) {
        let Some(pair) = pair_of(packet) else { return };
        let now_ns = self.now_ns();
        let Some((fault, line)) = self.lines.get_mut(&pair) else {
            // Its link has just become good.
            return self.hold(now_ns, now_ns, None, packet);
        };
        let tally = self.tallies.get_mut(fault).expect("every bad link belongs to a fault in force");
        if self.held.len() >= HELD_MAX {
            tally.packets += 1;
            tally.overflowed += 1;
            return;
        }
        let bytes = u32::try_from(packet.len()).expect("a packet is smaller than its buffer");
        let Some(passage) = line.take(tally, now_ns, bytes) else { return };
        let fault = Arc::clone(fault);
        for _ in 0..=u32::from(passage.duplicated) {
            self.hold(now_ns, passage.out_ns, Some(Arc::clone(&fault)), packet);
        }
    }

    fn hold(&mut self, arrived_ns: u64, out_ns: u64, fault: Option<Arc<str>>, packet: &[u8]) {
        self.taken += 1;
        self.held.push(Reverse(Held { out_ns, number: self.taken, arrived_ns, fault, packet: packet.to_vec() }));
    }

    fn take_due(&mut self, due: &mut Vec<Held>) {
        let now_ns = self.now_ns();
        while self.held.peek().is_some_and(|Reverse(next)| next.out_ns <= now_ns) {
            due.extend(self.held.pop().map(|Reverse(held)| held));
        }
    }

    /// A packet left, or found no room.
    fn left(&mut self, held: &Held, sent: bool) {
        let now_ns = self.now_ns();
        let Some(tally) = held.fault.as_ref().and_then(|fault| self.tallies.get_mut(fault)) else { return };
        if sent {
            tally.delayed(now_ns - held.arrived_ns);
        } else {
            tally.overflowed += 1;
        }
    }
}

/// Who sent a packet to whom; `None`: it is no IPv4 packet.
fn pair_of(packet: &[u8]) -> Option<Pair> {
    if packet.len() < IPV4_HEADER_BYTES || packet[0] >> 4 != 4 {
        return None;
    }
    let address = |at: usize| -> Option<Ipv4Addr> {
        let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets))
    };
    Some((address(IPV4_SOURCE)?, address(IPV4_DESTINATION)?))
}

impl PartialEq for Held {
    fn eq(&self, other: &Held) -> bool {
        self.number == other.number
    }
}
impl Eq for Held {}
impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Held) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Held {
    fn cmp(&self, other: &Held) -> std::cmp::Ordering {
        (self.out_ns, self.number).cmp(&(other.out_ns, other.number))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_ipv4_packets_have_a_pair() {
        let mut packet = vec![0x45; IPV4_HEADER_BYTES];
        packet[IPV4_SOURCE..].copy_from_slice(&[10, 66, 0, 1, 10, 65, 0, 1]);
        assert_eq!(pair_of(&packet), Some((Ipv4Addr::new(10, 66, 0, 1), Ipv4Addr::new(10, 65, 0, 1))));
        assert_eq!(pair_of(&packet[..19]), None);
        packet[0] = 0x60;
        assert_eq!(pair_of(&packet), None);
        assert_eq!(pair_of(&[]), None);
    }
}
